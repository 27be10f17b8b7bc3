"""MCP servers as masters: what a mesh gets of their tools, and what becomes of those that die."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from mcp import StdioServerParameters
from mcp.client.client import Client

from alephscript import (
    AlephScriptClient,
    CapabilityError,
    InvalidPayload,
    MasterLost,
    Progress,
)
from alephscript.mcp import McpMaster
from alephscript.mcp.upstream import ServerUnreachable
from alephscript.testing import InMemoryMesh
from tests.support import mcp_server
from tests.support.mcp_peers import client_of, tools_of, until
from tests.support.mcp_server import Waits, make_server

pytestmark = pytest.mark.anyio

PROGRAM = str(Path(mcp_server.__file__))
STDIO = StdioServerParameters(command=sys.executable, args=[PROGRAM])


def often() -> Iterator[float]:
    """Delays between attempts to connect."""
    while True:
        yield 0.05


@pytest.fixture
async def client(mesh: InMemoryMesh) -> AsyncIterator[AlephScriptClient]:
    """A client of the mesh."""
    async with asyncio.timeout(40), AlephScriptClient(mesh) as client:
        yield client


async def offered(client: AlephScriptClient, name: str, *, is_there: bool = True) -> None:
    """Wait until a capability is offered, or is not any more."""
    changes = client.watch_masters()
    waiting = asyncio.ensure_future(anext(changes))
    while (name in {each.capability for each in await client.discover()}) is not is_there:
        await asyncio.wait({waiting}, timeout=0.2)
        if waiting.done():
            waiting = asyncio.ensure_future(anext(changes))
    waiting.cancel()
    await asyncio.wait({waiting})


async def asked(client: AlephScriptClient, name: str, payload: Any = None) -> dict[str, Any]:
    """Ask until the server is there."""
    while True:
        try:
            return await client.request(name, payload, wait_for_master=True, timeout=20)
        except MasterLost:  # it has not resigned yet
            await asyncio.sleep(0)


async def test_each_tool_is_a_capability_with_its_schemas(
    mesh: InMemoryMesh, client: AlephScriptClient
) -> None:
    """In upper case, its own name an alias, its hints those of the server."""
    server = make_server()
    async with McpMaster(server, room="R", hub=mesh), Client(server) as direct:
        offers = {each.capability: each for each in await client.discover()}
        tools = await tools_of(direct)
        assert {"ADD", "WAIT", "PID", "FAIL", "MCP_READ_RESOURCE", "MCP_GET_PROMPT"} <= {*offers}
        add = offers["ADD"]
        assert (add.request, add.reply) == (tools["add"].input_schema, tools["add"].output_schema)
        assert (add.summary, add.read_only, add.room) == ("Add two numbers.", True, "R")
        for name in ("ADD", "add"):
            answer = await client.request(name, {"a": 1, "b": 2}, room="R")
            assert answer == {"result": 3}


async def test_names_that_collide_are_told(
    mesh: InMemoryMesh, client: AlephScriptClient, caplog: pytest.LogCaptureFixture
) -> None:
    """And each tool can be asked."""
    with caplog.at_level(logging.WARNING, "alephscript.doors"):
        async with McpMaster(make_server(), room="R", hub=mesh):
            assert await client.request("Add", {"a": 7}, room="R") == {"result": 7}
    assert "the name Add of the MCP server trial is taken" in caplog.text
    assert "it is offered as Add alone" in caplog.text


async def test_resources_and_prompts_are_capabilities(
    mesh: InMemoryMesh, client: AlephScriptClient
) -> None:
    """Which list what there is where nothing is named."""
    async with McpMaster(make_server(), room="R", hub=mesh):
        listed = await client.request("MCP_READ_RESOURCE")
        assert [each["uri"] for each in listed["resources"]] == ["trial://text"]
        read = await client.request("MCP_READ_RESOURCE", {"uri": "trial://text"})
        assert read["contents"][0]["text"] == "hello"
        prompts = await client.request("MCP_GET_PROMPT")
        assert [each["name"] for each in prompts["prompts"]] == ["greet"]
        asked = {"name": "greet", "arguments": {"who": "you"}}
        prompt = await client.request("MCP_GET_PROMPT", asked)
        assert prompt["messages"][0]["content"]["text"] == "hello you"


async def test_failures_have_codes(mesh: InMemoryMesh, client: AlephScriptClient) -> None:
    """Of a tool, of the protocol, of a payload."""
    async with McpMaster(make_server(), room="R", hub=mesh):
        with pytest.raises(CapabilityError, match="there is no ink") as tool:
            await client.request("FAIL", {"how": "tool"})
        assert tool.value.code == "tool_failed"
        with pytest.raises(CapabilityError, match="out of ink") as protocol:
            await client.request("FAIL", {"how": "protocol"})
        assert protocol.value.code == "mcp_error"
        assert protocol.value.details == [{"code": -32050, "data": {"left": 0}}]
        with pytest.raises(InvalidPayload):
            await client.request("ADD", [1])
        with pytest.raises(InvalidPayload):
            await client.request("MCP_READ_RESOURCE", {"uri": "trial://none"})


async def test_progress_comes_through_and_cancelling_goes_through(
    mesh: InMemoryMesh, client: AlephScriptClient
) -> None:
    """To the tool."""
    waits, told = Waits(), asyncio.Queue[Progress]()
    async with McpMaster(make_server(waits), room="R", hub=mesh):
        asking = asyncio.ensure_future(client.request("WAIT", on_progress=told.put_nowait))
        assert await told.get() == Progress(0.5, "half way")
        asking.cancel()
        await waits.cancelled.wait()


@pytest.mark.slow
@pytest.mark.parametrize("server", ["memory", "stdio"])
async def test_tools_that_come_change_what_is_offered(
    mesh: InMemoryMesh, client: AlephScriptClient, server: str
) -> None:
    """While the master serves; MCP clients of the mesh hear of it."""
    at = make_server() if server == "memory" else STDIO
    async with McpMaster(at, room="R", hub=mesh), client_of(mesh) as other:
        assert "GROWN" not in await tools_of(other)
        assert await client.request("GROW") == {"result": "done"}
        await until(other, "GROWN")
        assert await client.request("GROWN") == {"result": "grown"}


@pytest.mark.slow
async def test_a_server_that_dies_ends_what_it_had_in_hand_and_is_started_again(
    mesh: InMemoryMesh, client: AlephScriptClient
) -> None:
    """With the room resigned meanwhile."""
    told: asyncio.Queue[Progress] = asyncio.Queue()
    async with McpMaster(STDIO, room="R", hub=mesh, backoff=often):
        pid = (await client.request("PID"))["result"]
        asking = asyncio.ensure_future(client.request("WAIT", on_progress=told.put_nowait))
        await told.get()
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(MasterLost, match="MCP server"):
            await asking
        assert (await asked(client, "PID"))["result"] != pid


@pytest.mark.slow
async def test_a_server_that_is_killed_over_http_is_reached_again(
    mesh: InMemoryMesh, client: AlephScriptClient, port: int
) -> None:
    """At the same address."""
    url = f"http://127.0.0.1:{port}/mcp"
    told: asyncio.Queue[Progress] = asyncio.Queue()
    process = await start(port)
    try:
        async with McpMaster(url, room="R", hub=mesh, retry_open=True, backoff=often):
            await offered(client, "WAIT")
            asking = asyncio.ensure_future(client.request("WAIT", on_progress=told.put_nowait))
            await told.get()
            process.kill()
            await process.wait()
            with pytest.raises(MasterLost):
                await asking
            await offered(client, "WAIT", is_there=False)
            process = await start(port)
            assert await asked(client, "ADD", {"a": 1, "b": 2}) == {"result": 3}
    finally:
        process.kill()
        await process.wait()


async def start(port: int) -> asyncio.subprocess.Process:
    """Start the server on a port."""
    return await asyncio.create_subprocess_exec(sys.executable, PROGRAM, str(port))


async def test_a_server_that_cannot_be_started_is_said(mesh: InMemoryMesh) -> None:
    """With its command and the reason."""
    nothing = StdioServerParameters(command="/no/such/program")
    with pytest.raises(ServerUnreachable, match="/no/such/program"):
        async with McpMaster(nothing, room="R", hub=mesh):
            pass


async def test_a_hub_that_comes_back_is_told_what_is_offered(client: AlephScriptClient) -> None:
    """Of today, not of the day when it went."""
    other = InMemoryMesh()
    async with (
        other,
        McpMaster(make_server(), room="R", hub=other, backoff=often) as master,
        AlephScriptClient(other, backoff=often) as asker,
    ):
        await other.kill()
        await other.restart()
        await master.ready()
        await asker.ready()
        added = await asker.request("ADD", {"a": 1, "b": 1}, wait_for_master=True)
        assert added == {"result": 2}
