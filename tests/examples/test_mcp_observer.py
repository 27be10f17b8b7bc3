"""AAIA for MCP clients, seen by the SDK's own client: in memory, on stdio, over HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest
from mcp import StdioServerParameters
from mcp.client.client import Client
from mcp.shared.exceptions import MCPError
from mcp.shared.subscriptions import ResourceUpdated
from mcp_types import TextContent, TextResourceContents

from alephscript.testing import HubMesh, InMemoryMesh
from examples.mcp_observer import EVENTS, ObserverServer
from examples.persefon_bot import PersefonBot
from tests.support.pages import DOCS, blocks

pytestmark = pytest.mark.anyio

PAGE = DOCS / "how-to" / "mcp.md"

OWN = {"recent_events", "aaia_send_percepto", "aaia_set_fia_state"}
TOOLS = {
    *OWN,
    "aaia_list_apps",
    "aaia_create_session",
    "aaia_list_sessions",
    "aaia_list_fias",
    "aaia_step_fia",
    "aaia_get_eferencia",
    "aaia_query_mundo",
    "aaia_destroy_session",
}


def at_once() -> Any:
    """Delays between attempts to reconnect: hardly any."""
    while True:
        yield 0.01


@pytest.fixture
async def mesh() -> AsyncIterator[InMemoryMesh]:
    """A mesh without anybody."""
    async with InMemoryMesh() as mesh:
        yield mesh


@contextlib.asynccontextmanager
async def observed(mesh: InMemoryMesh) -> AsyncIterator[Client]:
    """An MCP client of an observer of the mesh."""
    server = ObserverServer(mesh, backoff=at_once)
    async with asyncio.timeout(20), Client(server) as client:
        yield client


async def names(client: Client) -> set[str]:
    """Names of the tools there are."""
    return {tool.name for tool in (await client.list_tools()).tools}


def text_of(content: object) -> str:
    """The text of a content that has one."""
    assert isinstance(content, TextContent | TextResourceContents), content
    return content.text


async def ask(client: Client, tool: str, **arguments: Any) -> Any:
    """What a tool answers."""
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, text_of(result.content[0])
    assert json.loads(text_of(result.content[0])) == result.structured_content
    return result.structured_content


@pytest.fixture
async def client(mesh: InMemoryMesh) -> AsyncIterator[Client]:
    """An MCP client of an observer of a mesh with PersefonBot."""
    async with PersefonBot(mesh), observed(mesh) as client:
        yield client


async def test_each_capability_of_the_bot_is_one_tool(client: Client) -> None:
    """Under the name that AAIA's users know, or inside a tool of the server's own."""
    assert await names(client) >= TOOLS
    assert await names(client) - TOOLS == {"LIST_OF_THREADS"}


async def test_a_model_sees_what_each_tool_does_takes_and_gives(client: Client) -> None:
    """In words, of each argument, too; and which tools change nothing."""
    tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    for tool in tools.values():
        assert tool.description
        assert tool.output_schema
        arguments = tool.input_schema.get("properties", {})
        assert all(each.get("description") for each in arguments.values()), tool.name
    changes = {
        name
        for name, tool in tools.items()
        if tool.annotations is None or not tool.annotations.read_only_hint
    }
    assert changes == {
        *OWN - {"recent_events"},
        "aaia_create_session",
        "aaia_destroy_session",
        "aaia_step_fia",
    }
    assert tools["aaia_destroy_session"].annotations is not None
    assert tools["aaia_destroy_session"].annotations.destructive_hint


async def test_wrong_arguments_of_its_own_tools_are_failures_like_all_others(
    client: Client,
) -> None:
    """Code, message, details; and no page of anybody's documentation."""
    state = await client.call_tool("aaia_set_fia_state", {"sessionId": "s", "fiaIndex": 0})
    percepto = await client.call_tool("aaia_send_percepto", {"tipo": "x"})
    events = await client.call_tool("recent_events", {"since": "x"})
    missing = await client.call_tool("aaia_step_fia", {"sessionId": "none", "fiaIndex": 0})
    for result in (state, percepto, events):
        assert result.is_error
        assert text_of(result.content[0]).startswith("invalid_payload: ")
        assert "http" not in text_of(result.content[0])
    assert text_of(missing.content[0]).startswith("session_not_found: ")


async def test_a_prompt_says_which_argument_is_missing(client: Client) -> None:
    """And which prompts and resources there are not."""
    with pytest.raises(MCPError, match="fiaIndex: missing"):
        await client.get_prompt("aaia_step_cycle", {"sessionId": "s"})
    with pytest.raises(MCPError, match="no prompt"):
        await client.get_prompt("none")
    with pytest.raises(MCPError, match="no resource"):
        await client.read_resource("aaia://none")


async def test_a_session_is_driven_by_the_named_tools(mesh: InMemoryMesh) -> None:
    """From the list of apps to the end of the session."""
    async with PersefonBot(mesh), observed(mesh) as client:
        assert await names(client) >= TOOLS
        apps = await ask(client, "aaia_list_apps")
        assert "demo-logica" in {app["id"] for app in apps["apps"]}
        sid = (await ask(client, "aaia_create_session", appId="demo-logica"))["session"][
            "sessionId"
        ]
        assert len((await ask(client, "aaia_list_fias", sessionId=sid))["fias"]) == 1
        percepto = {"query": "p(X,Y)"}
        await ask(client, "aaia_send_percepto", sessionId=sid, tipo="comando", payload=percepto)
        step = await ask(client, "aaia_step_fia", sessionId=sid, fiaIndex=0)
        assert len(step["eferencia"]["payload"]["acciones"]) == 3
        again = await ask(client, "aaia_get_eferencia", sessionId=sid, fiaIndex=0)
        assert again["eferencia"] == step["eferencia"]
        for state in ("PLAY", "PAUSE", "STOP"):
            change = await ask(client, "aaia_set_fia_state", sessionId=sid, fiaIndex=0, state=state)
            assert change["newState"] == state
        assert (await ask(client, "aaia_query_mundo", sessionId=sid))["mundo"]["nombre"]
        assert len((await ask(client, "aaia_list_sessions"))["sessions"]) == 1
        await ask(client, "aaia_destroy_session", sessionId=sid)
        assert (await ask(client, "aaia_list_sessions"))["sessions"] == []


async def test_what_is_said_in_the_room_is_a_resource_with_updates(mesh: InMemoryMesh) -> None:
    """And a tool, for clients that cannot listen."""
    async with PersefonBot(mesh) as bot, observed(mesh) as client:
        await names(client)  # it has joined the room by then
        async with client.listen(resource_subscriptions=[EVENTS]) as updates:
            await bot.broadcast("NEWS", {"n": 1}, room="AAIA_ROOM")
            update = await anext(aiter(updates))
        assert isinstance(update, ResourceUpdated)
        assert str(update.uri) == EVENTS
        read = json.loads(text_of((await client.read_resource(EVENTS)).contents[0]))
        assert (read[-1]["event"], read[-1]["data"]) == ("NEWS", {"n": 1})
        last = read[-1]["number"]
        assert await ask(client, "recent_events", since=last - 1) == {"events": [read[-1]]}
        assert await ask(client, "recent_events", since=last) == {"events": []}


async def test_the_named_resources_and_prompts_are_there(mesh: InMemoryMesh) -> None:
    """As the AAIA server's users expect them."""
    async with PersefonBot(mesh), observed(mesh) as client:
        apps = await client.read_resource("aaia://apps/catalog")
        catalog = json.loads(text_of(apps.contents[0]))
        assert {"demo-logica", "demo-sbr"} <= {app["id"] for app in catalog}
        sessions = await client.read_resource("aaia://sessions")
        assert json.loads(text_of(sessions.contents[0])) == []
        paradigms = text_of((await client.read_resource("aaia://paradigms")).contents[0])
        assert {each["id"] for each in json.loads(paradigms)} >= {"logica", "sbr", "situada"}
        prompts = {prompt.name for prompt in (await client.list_prompts()).prompts}
        assert prompts == {"aaia_create_session", "aaia_step_cycle", "aaia_paradigms_guide"}
        cycle = await client.get_prompt("aaia_step_cycle", {"sessionId": "s", "fiaIndex": "0"})
        assert "aaia_step_fia" in text_of(cycle.messages[0].content)
        guide = await client.get_prompt("aaia_paradigms_guide")
        assert "Lógica" in text_of(guide.messages[0].content)
        made = await client.get_prompt("aaia_create_session", {"appId": "demo-sbr"})
        assert "demo-sbr" in text_of(made.messages[0].content)


@pytest.mark.slow
async def test_it_serves_on_stdio(hub: HubMesh, bot: PersefonBot) -> None:
    """As MCP clients start it that are told what its page tells them."""
    [_, told] = [json.loads(block.text) for block in blocks(PAGE) if block.language == "json"]
    settings = told["mcpServers"]["aaia"]
    assert settings["command"] == "python"
    *arguments, url = settings["args"]
    assert url == "http://127.0.0.1:3010"
    server = StdioServerParameters(command=sys.executable, args=[*arguments, hub.url])
    async with asyncio.timeout(40), Client(server) as client:
        result = await client.call_tool("aaia_list_apps", {})
        assert json.loads(text_of(result.content[0]))["apps"]


@pytest.mark.slow
async def test_it_serves_over_http(hub: HubMesh, bot: PersefonBot, port: int) -> None:
    """On loopback, at /mcp."""
    async with asyncio.timeout(40):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "examples.mcp_observer"),
            *("--url", hub.url, "--http", str(port)),
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            assert process.stderr is not None
            async for line in process.stderr:
                if b"listening on" in line:
                    break
            async with Client(f"http://127.0.0.1:{port}/mcp") as client:
                assert await names(client) >= TOOLS
                result = await client.call_tool("aaia_list_apps", {})
                assert json.loads(text_of(result.content[0]))["apps"]
        finally:
            process.terminate()
            await process.communicate()
