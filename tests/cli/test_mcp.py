"""``alephscript mcp`` and ``serve --mcp``, as processes between a hub and the SDK's own client."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from mcp import StdioServerParameters
from mcp.client.client import Client

from alephscript import AlephScriptClient, capability
from alephscript.cli import main
from alephscript.testing import HubMesh
from tests.support import mcp_server
from tests.support.mcp_peers import tools_of

pytestmark = pytest.mark.anyio

PROGRAM = str(Path(mcp_server.__file__))
ALEPHSCRIPT = (sys.executable, "-m", "alephscript")


class Greeter(AlephScriptClient):
    """Greets."""

    rooms = ("LOBBY",)

    @capability("GREET", read_only=True)
    async def greet(self, request: dict[str, str]) -> dict[str, str]:
        """Greet somebody."""
        return {"text": f"hello {request.get('who')}"}


@contextlib.asynccontextmanager
async def running(*arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A command that runs until the end of the block."""
    process = await asyncio.create_subprocess_exec(
        *ALEPHSCRIPT, *arguments, stderr=asyncio.subprocess.PIPE
    )
    try:
        yield process
    finally:
        process.terminate()
        await process.communicate()
    assert process.returncode == 0


async def read_until(process: asyncio.subprocess.Process, text: bytes) -> None:
    """Read what a process logs until a text comes."""
    assert process.stderr is not None
    async for line in process.stderr:
        if text in line:
            return
    pytest.fail(f"{text!r} was not logged")


@pytest.mark.slow
async def test_a_mesh_is_served_on_stdio_and_over_http(port: int) -> None:
    """Of any room, or of the named ones."""
    async with asyncio.timeout(50), HubMesh() as hub, Greeter(hub.url):
        arguments = ["-m", "alephscript", "mcp", "--url", hub.url]
        stdio = StdioServerParameters(command=sys.executable, args=arguments, env={**os.environ})
        async with Client(stdio) as client:
            assert {*await tools_of(client)} == {"GREET"}
            greeting = await client.call_tool("GREET", {"who": "you"})
            assert greeting.structured_content == {"text": "hello you"}
        options = ("--url", hub.url, "--http", str(port), "--room", "LOBBY")
        async with running("mcp", *options) as process:
            await read_until(process, b"listening on")
            async with Client(f"http://127.0.0.1:{port}/mcp") as client:
                assert {*await tools_of(client)} == {"GREET", "recent_events"}


@pytest.mark.slow
async def test_the_tools_of_a_server_are_served_by_its_command_or_at_its_address(
    port: int,
) -> None:
    """And ended with the command."""
    async with asyncio.timeout(50), HubMesh() as hub, AlephScriptClient(hub.url) as client:
        command = ("--mcp", "--", sys.executable, PROGRAM)
        async with running("serve", "--url", hub.url, "--room", "R", *command):
            added = await client.request(
                "ADD", {"a": 1, "b": 2}, room="R", wait_for_master=True, timeout=40
            )
            assert added == {"result": 3}
        server = await asyncio.create_subprocess_exec(sys.executable, PROGRAM, str(port))
        try:
            address = f"http://127.0.0.1:{port}/mcp"
            async with running("serve", "--mcp", address, "--room", "S", "--url", hub.url):
                added = await client.request(
                    "ADD", {"a": 1, "b": 2}, room="S", wait_for_master=True, timeout=40
                )
                assert json.dumps(added) == '{"result": 3}'
        finally:
            server.terminate()
            await server.wait()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--room", "R", "--mcp"), "write the address of an MCP server behind --mcp"),
        (("--room", "R", "--mcp", "http://x/mcp", "--", "cat"), "or its command behind --"),
        (("X", "--room", "R", "--mcp", "http://x/mcp"), "leave the CAPABILITY out"),
        (("--room", "R", "--mcp", "--", "/no/such/program"), "there is no program"),
        (("--room", "R", "--", "cat"), "name the capability, or write --mcp"),
    ],
)
def test_a_command_line_that_names_no_server_says_what_to_write(
    arguments: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """In one sentence."""
    assert main(["serve", *arguments]) in (1, 2)
    assert told in capsys.readouterr().err
