"""What the pages show is what happens."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from alephscript import cli
from alephscript.hub import Hub
from tests.support.node import line_of, node_process
from tests.support.pages import DOCS, PAGES, PORT, Block, blocks, run
from tests.support.terminals import Desk, environment

pytestmark = pytest.mark.anyio

TUTORIAL = DOCS / "tutorial" / "first-bot.md"
STOCK = DOCS / "how-to" / "upstream-hubs.md"
JAVASCRIPT = DOCS / "how-to" / "javascript.md"
PROGRAMS = [
    page
    for page in PAGES
    if page not in (TUTORIAL, STOCK, JAVASCRIPT)
    and any(block.language in ("python", "console") for block in blocks(page))
]

README = DOCS.parent / "README.md"
SOCKET_IO = DOCS.parent / "examples" / "js"


@pytest.mark.parametrize("page", PROGRAMS, ids=lambda page: page.stem)
async def test_a_page_does_what_it_shows(page: Path, tmp_path: Path, port: int) -> None:
    """Its Python is one program, its terminals are real, what it prints is seen."""
    async with Desk(blocks(page), tmp_path, port) as desk:
        await run(page, tmp_path, port, desk.follow)


async def test_a_stock_hub_is_served_as_its_page_shows(
    node: str, tmp_path: Path, port: int
) -> None:
    """On a hub that acknowledges nothing."""
    async with node_process(node, "upstream_hub.mjs", "--port", str(port)) as process:
        assert await line_of(process) == f"listening {port}"
        await run(STOCK, tmp_path, port)


async def test_javascript_peers_do_what_their_page_shows(
    node: str, tmp_path: Path, port: int
) -> None:
    """In Node, on a stock socket.io-client, in the mesh of the tutorial."""
    [greeter] = [block for block in blocks(TUTORIAL) if block.caption == "greeter.py"]
    (tmp_path / "greeter.py").write_text(greeter.text.replace(PORT, str(port)))
    readers = environment(tmp_path, port)
    peers: list[asyncio.subprocess.Process] = []
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(Hub(port=port))
        bot = program(sys.executable, "greeter.py", cwd=tmp_path, environment=readers)
        said = (await stack.enter_async_context(bot)).stderr
        assert said is not None
        ready = f"Greeter is ready: http://127.0.0.1:{port}/runtime, masters LOBBY, offers GREET\n"
        assert await said.readline() == ready.encode()

        async def follow(block: Block) -> None:
            if block.language == "js":
                arguments = (node, "--input-type=module", "--eval", block.text)
                peer = program(*arguments, cwd=SOCKET_IO, environment=readers)
                peers.append(await stack.enter_async_context(peer))
            elif block.language == "text":
                out, _ = await peers[-1].communicate()
                assert out.decode() == block.text

        await run(JAVASCRIPT, tmp_path, port, follow)
    assert peers


@asynccontextmanager
async def program(
    *arguments: str, cwd: Path, environment: Mapping[str, str]
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Something that runs, and is gone afterwards."""
    process = await asyncio.create_subprocess_exec(
        *arguments,
        cwd=cwd,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        await process.communicate()


def commands() -> list[str]:
    """What pages want typed in a shell, or run by a service, of this package's."""
    found: list[str] = []
    for page in (README, *PAGES):
        for block in blocks(page):
            if block.language in ("bash", "console", "ini"):
                typed = (
                    r"(?:^|[ /])(alephscript (?!hub listening).+?)(?: +#.*| &&.*| 2?>.*| \|.*|$)"
                )
                found += re.findall(typed, block.text, re.MULTILINE)
            elif block.language == "dockerfile":
                runs = re.findall(r"^CMD (.+)", block.text, re.MULTILINE)
                commands = map(shlex.join, map(json.loads, runs))
                found += [each for each in commands if each.startswith("alephscript ")]
    return sorted(set(found))


@pytest.mark.parametrize("command", commands())
def test_a_command_that_is_shown_is_one(command: str) -> None:
    """Options come and go; pages that nobody runs would keep them."""
    cli.parser().parse_args(shlex.split(command, comments=True)[1:])
