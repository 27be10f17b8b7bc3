"""A page in Chromium, driven from Python."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.support.tools import ROOT

DRIVER = ROOT / "tests" / "node" / "browser" / "page.mjs"


class Page:
    """A page that is driven by chains of Playwright's methods, which wait as Playwright does."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def do(self, *chain: list[Any]) -> Any:
        """Call a chain, such as ``do(["getByRole", "button", {"name": "Pause"}], ["click"])``."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(chain).encode() + b"\n")
        answer = json.loads(await self._process.stdout.readline())
        assert "error" not in answer, answer["error"]
        return answer.get("value")

    async def see(self, selector: str, text: str) -> None:
        """Wait until an element shows a text."""
        await self.do(["locator", selector, {"hasText": text}], ["first"], ["waitFor"])

    async def text(self, selector: str) -> str:
        """Read the text of an element."""
        return str(await self.do(["locator", selector], ["innerText"]))

    async def until(self, expression: str) -> None:
        """Wait until an expression of JavaScript is true."""
        await self.do(["until", expression])

    async def problems(self) -> list[str]:
        """List the errors and warnings of the browser."""
        return list(await self.do(["problems"]))

    async def cpu_seconds(self) -> float:
        """Tell how long all processes of the browser have computed so far."""
        return float(await self.do(["cpuSeconds"]))

    async def violations(self) -> list[str]:
        """List what axe finds that keeps people from reading or using the page."""
        return list(await self.do(["violations"]))


@asynccontextmanager
async def browsing(node: str, **options: Any) -> AsyncIterator[Page]:
    """Open a page in a Chromium of its own, with options of Playwright's ``newPage``."""
    process = await asyncio.create_subprocess_exec(
        node,
        DRIVER,
        json.dumps(options),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=2**24,
    )
    try:
        yield Page(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()
