"""A stock Node hub, which acknowledges nothing, and stock Node peers, each a process of its own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from tests.support.processes import choose_port
from tests.support.tools import ROOT

PEERS = ROOT / "tests" / "node"


@asynccontextmanager
async def node_process(node: str, script: str, *arguments: str) -> AsyncIterator[Any]:
    """Run a script of tests/node until the block ends."""
    process = await asyncio.create_subprocess_exec(
        node,
        str(PEERS / script),
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        async with asyncio.timeout(30):
            await process.communicate()


async def line_of(process: Any) -> str:
    """Read the next line that a process prints."""
    async with asyncio.timeout(30):
        return str((await process.stdout.readline()).decode().strip())


async def json_of(process: Any, *, until: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Read lines of JSON that a process prints, up to one that fits."""
    while True:
        message: dict[str, Any] = json.loads(await line_of(process))
        if until(message):
            return message


StartHub = Callable[..., Awaitable[str]]


@pytest.fixture
async def processes() -> AsyncIterator[AsyncExitStack]:
    """Return a stack that ends the processes which the test enters."""
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture(params=["core", "zeus"])
async def stock_hub(request: pytest.FixtureRequest, node: str, processes: AsyncExitStack) -> str:
    """Start a stock hub, and return its address."""
    arguments = ("--port", str(choose_port()), "--dialect", request.param)
    process = await processes.enter_async_context(
        node_process(node, "upstream_hub.mjs", *arguments)
    )
    return f"http://127.0.0.1:{(await line_of(process)).removeprefix('listening ')}"
