"""The programs and commands of docs/how-to/asgi.md: each server is started, and reached."""

from __future__ import annotations

import asyncio
import shlex
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from alephscript import AlephScriptClient
from tests.docs.test_other_programs import program
from tests.support.pages import DOCS, blocks
from tests.support.peers import Stock
from tests.support.processes import choose_port
from tests.support.tools import ROOT

pytestmark = pytest.mark.anyio

PAGE = DOCS / "how-to" / "asgi.md"
PORT = "8000"
[COMMANDS] = [block.text.splitlines() for block in blocks(PAGE) if block.language == "bash"]


@asynccontextmanager
async def served(folder: Path, command: str) -> AsyncIterator[tuple[Any, str]]:
    """A server that was started as the page says; the process, and where the hub is."""
    port = str(choose_port())
    for block in blocks(PAGE):
        if block.caption:
            (folder / block.caption).write_text(block.text.replace(PORT, port))
    # A root path is told of what a proxy cuts off; here is none.
    prefix = "" if "--root-path" in command else "/mesh"
    arguments = shlex.split(command.replace(PORT, port))
    async with program(folder, int(port), "-m", *arguments) as server:
        yield server, f"http://127.0.0.1:{port}{prefix}"


@pytest.mark.parametrize("command", COMMANDS)
async def test_a_server_that_is_started_as_shown_has_the_hub_under_its_prefix(
    tmp_path: Path, command: str
) -> None:
    """For our client, a stock client and a browser; SIGTERM ends it, with clients on it."""
    async with asyncio.timeout(50), served(tmp_path, command) as (server, url):
        async with AlephScriptClient(url, retry_open=True) as client:
            await client.subscribe("LOBBY")
            peer = Stock("/runtime")
            await peer.connect(url)  # polling first, as stock clients do
            await peer.say("LOBBY", "SAID", 1)
            assert peer.sio.transport() == "websocket"
            async with aiohttp.ClientSession() as http, http.get(f"{url}/") as page:
                assert (page.status, page.content_type) == (200, "text/html")
            server.send_signal(signal.SIGTERM)
            await peer.gone.wait()
            await peer.leave()
        assert await server.wait() in (0, -signal.SIGTERM)


async def test_a_stock_client_in_node_reaches_it_as_shown(node: str, tmp_path: Path) -> None:
    """And hears what the page says."""
    shown = blocks(PAGE)
    [at] = [number for number, block in enumerate(shown) if block.language == "js"]
    async with (
        asyncio.timeout(50),
        served(tmp_path, COMMANDS[0]) as (_, url),
        AlephScriptClient(url, retry_open=True),
    ):
        port = url.rpartition(":")[2].removesuffix("/mesh")
        process = await asyncio.create_subprocess_exec(
            *(node, "--input-type=module", "--eval", shown[at].text.replace(PORT, port)),
            cwd=ROOT / "examples" / "js",
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await process.communicate()
    assert out.decode() == shown[at + 1].text
