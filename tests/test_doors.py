"""One mesh, asked through each of its doors at the same time, by the clients that others wrote."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from mcp import StdioServerParameters
from mcp.client.client import Client
from mcp_types import TextContent

from alephscript import AlephScriptClient
from alephscript.aaia import AAIA_ROOM
from alephscript.hub import Hub
from alephscript.mcp import McpMaster
from examples.persefon_bot import PersefonBot
from tests.support import a2a_peers
from tests.support.node import json_of, node_process
from tests.support.tools import ROOT, skip_for_lack_of

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

Ask = Callable[[str, dict[str, Any]], Awaitable[dict[str, Any]]]
"""Asks a capability of a room through a door, and gives the answer's fields."""


@pytest.fixture
async def hub() -> AsyncIterator[Hub]:
    """A hub on a free port."""
    async with Hub(port=0) as hub:
        yield hub


@contextlib.asynccontextmanager
async def by_python(hub: Hub, room: str, _: str) -> AsyncIterator[Ask]:
    """The client of this package."""
    async with AlephScriptClient(hub.url, usuario="python") as client:
        yield lambda capability, payload: client.request(capability, payload, room=room)


@contextlib.asynccontextmanager
async def by_node(hub: Hub, room: str, node: str) -> AsyncIterator[Ask]:
    """The stock client of Node."""
    options = ("--url", hub.url, "--room", room)
    async with node_process(node, "asker.mjs", *options) as process:
        await json_of(process, until=lambda line: "ready" in line)

        async def ask(capability: str, payload: dict[str, Any]) -> dict[str, Any]:
            event = {"event": f"GET_{capability}", "room": room, "data": payload}
            process.stdin.write(json.dumps(["ROOM_MESSAGE", event]).encode() + b"\n")
            return await json_of(process, until=lambda line: "success" in line)

        yield ask


@contextlib.asynccontextmanager
async def by_curl(hub: Hub, room: str, _: str) -> AsyncIterator[Ask]:
    """curl, by HTTP."""
    curl = shutil.which("curl") or skip_for_lack_of("curl")

    async def ask(capability: str, payload: dict[str, Any]) -> dict[str, Any]:
        process = await asyncio.create_subprocess_exec(
            *(curl, "--silent", "--show-error", "--json", json.dumps(payload)),
            f"{hub.url}/mesh/rooms/{room}/{capability}",
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await process.communicate()
        answer: dict[str, Any] = json.loads(out)
        return answer

    yield ask


@contextlib.asynccontextmanager
async def by_mcp(hub: Hub, room: str, _: str) -> AsyncIterator[Ask]:
    """The MCP SDK's client, of the server that the command line starts."""
    arguments = ["-m", "alephscript", "mcp", "--url", hub.url, "--room", room]
    command = StdioServerParameters(command=sys.executable, args=arguments, cwd=ROOT)
    async with Client(command) as client:

        async def ask(capability: str, payload: dict[str, Any]) -> dict[str, Any]:
            result = await client.call_tool(capability, payload)
            (content,) = result.content
            assert isinstance(content, TextContent)
            assert not result.is_error, content.text
            return result.structured_content or {"result": json.loads(content.text)}

        yield ask


@contextlib.asynccontextmanager
async def by_a2a(hub: Hub, room: str, _: str) -> AsyncIterator[Ask]:
    """The A2A SDK's client, of the agent of the room."""
    async with (
        a2a_peers.agents_of(hub.url) as url,
        a2a_peers.client_of(f"{url}/rooms/{room}", streaming=False) as client,
    ):

        async def ask(capability: str, payload: dict[str, Any]) -> dict[str, Any]:
            message = a2a_peers.message(payload, skill=capability)
            (answer,) = a2a_peers.results_of(await a2a_peers.task_of(client, message))
            return answer if isinstance(answer, dict) else {"result": answer}

        yield ask


DOORS = (by_python, by_node, by_curl, by_mcp, by_a2a)


async def play(ask: Ask) -> tuple[Any, ...]:
    """The seed's flow: a session, a percepto, a step, the mundo, and the end."""
    opened = await ask("AAIA_CREATE_SESSION", {"appId": "demo-logica"})
    session = {"sessionId": opened["session"]["sessionId"]}
    percepto = {"tipo": "comando", "payload": {"query": "p(X,Y)"}}
    sent = await ask("AAIA_SEND_PERCEPTO", {**session, "percepto": percepto})
    step = await ask("AAIA_STEP_FIA", {**session, "fiaIndex": 0})
    mundo = await ask("AAIA_QUERY_MUNDO", {**session, "query": "modelo.ciclo"})
    gone = await ask("AAIA_DESTROY_SESSION", session)
    assert gone["sessionId"] == session["sessionId"]
    solutions = step["eferencia"]["payload"]["meta"]["numSoluciones"]
    return sent["processedBy"], solutions, mundo["result"]


async def test_the_seeds_flow_runs_through_every_door_at_once(hub: Hub, node: str) -> None:
    """With the same answers, and a session for each."""
    async with asyncio.timeout(60), PersefonBot(hub.url), contextlib.AsyncExitStack() as stack:
        doors = [await stack.enter_async_context(by(hub, AAIA_ROOM, node)) for by in DOORS]
        answers = await asyncio.gather(*(play(ask) for ask in doors))
    assert answers == [([0], 3, 2)] * len(DOORS)


async def test_the_tools_of_an_mcp_server_are_asked_through_every_door(hub: Hub, node: str) -> None:
    """The server is a process of its own that knows no mesh."""
    server = StdioServerParameters(
        command=sys.executable, args=[str(ROOT / "tests/support/mcp_server.py")]
    )
    async with (
        asyncio.timeout(60),
        McpMaster(server, room="TRIAL", hub=hub.url),
        contextlib.AsyncExitStack() as stack,
    ):
        doors = [await stack.enter_async_context(by(hub, "TRIAL", node)) for by in DOORS]
        answers = await asyncio.gather(*(ask("ADD", {"a": 1, "b": 2}) for ask in doors))
    assert [each["result"] for each in answers] == [3] * len(DOORS)
