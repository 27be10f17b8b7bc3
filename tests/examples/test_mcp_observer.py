"""The mesh for MCP clients, seen by the SDK's own client: in memory, on stdio, over HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import socket
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from mcp import StdioServerParameters
from mcp.client.client import Client
from mcp.shared.subscriptions import ResourceUpdated
from mcp_types import TextContent, TextResourceContents

from alephscript import AlephScriptClient, Offer, Request, capability
from alephscript.testing import HubMesh, InMemoryMesh
from examples.mcp_observer import (
    EVENTS,
    MOST_TOOLS,
    OWN_TOOLS,
    MCPObserver,
    ObserverServer,
    as_json,
    input_schema,
    shown,
    tool_name,
)
from examples.persefon_bot import PersefonBot
from tests.support.pages import DOCS, blocks
from tests.support.properties import examples
from tests.support.strangers import OBEYED, ODD_SCHEMAS, SCHEMAS, TEXTS

pytestmark = pytest.mark.anyio

PAGE = DOCS / "how-to" / "mcp.md"

TOOLS = {
    "aaia_list_apps",
    "aaia_create_session",
    "aaia_list_sessions",
    "aaia_list_fias",
    "aaia_step_fia",
    "aaia_get_eferencia",
    "aaia_send_percepto",
    "aaia_query_mundo",
    "aaia_set_fia_state",
    "aaia_destroy_session",
    "recent_events",
}


class Slow(AlephScriptClient):
    """Takes its time, and says how far it is."""

    rooms = ("SLOW",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.running = asyncio.Event()
        self.stopped = asyncio.Event()

    @capability("WAIT_LONG")
    async def wait_long(self, request: Request[dict[str, Any]]) -> None:
        """Wait until cancelled."""
        request.progress(0.5, "half way")
        self.running.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.stopped.set()


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
async def observed(mesh: InMemoryMesh) -> AsyncIterator[tuple[Client, MCPObserver]]:
    """An MCP client of an observer of the mesh."""
    observer = MCPObserver(mesh, backoff=at_once)
    async with asyncio.timeout(20), Client(ObserverServer(observer)) as client:
        yield client, observer


async def names(client: Client) -> set[str]:
    """Names of the tools there are."""
    return {tool.name for tool in (await client.list_tools()).tools}


def text_of(content: object) -> str:
    """The text of a content that has one."""
    assert isinstance(content, TextContent | TextResourceContents), content
    return content.text


async def text(client: Client, tool: str, **arguments: Any) -> Any:
    """What a tool answers, read."""
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, text_of(result.content[0])
    return json.loads(text_of(result.content[0]))


async def offered(observer: MCPObserver, tool: str) -> None:
    """Wait until the mesh offers a tool."""
    changed = asyncio.Event()
    unsubscribe = observer.bus.subscribe(lambda _: changed.set())
    async with asyncio.timeout(5):
        while tool not in observer.offers:
            changed.clear()
            await changed.wait()
    unsubscribe()


async def test_a_session_is_driven_by_the_named_tools(mesh: InMemoryMesh) -> None:
    """From the list of apps to the end of the session."""
    async with PersefonBot(mesh), observed(mesh) as (client, _):
        assert await names(client) >= TOOLS
        apps = await text(client, "aaia_list_apps")
        assert "demo-logica" in {app["id"] for app in apps["apps"]}
        sid = (await text(client, "aaia_create_session", appId="demo-logica"))["session"][
            "sessionId"
        ]
        assert len((await text(client, "aaia_list_fias", sessionId=sid))["fias"]) == 1
        percepto = {"query": "p(X,Y)"}
        await text(client, "aaia_send_percepto", sessionId=sid, tipo="comando", payload=percepto)
        step = await text(client, "aaia_step_fia", sessionId=sid, fiaIndex=0)
        assert len(step["eferencia"]["payload"]["acciones"]) == 3
        again = await text(client, "aaia_get_eferencia", sessionId=sid, fiaIndex=0)
        assert again["eferencia"] == step["eferencia"]
        for state in ("PLAY", "PAUSE", "STOP"):
            change = await text(
                client, "aaia_set_fia_state", sessionId=sid, fiaIndex=0, state=state
            )
            assert change["newState"] == state
        assert (await text(client, "aaia_query_mundo", sessionId=sid))["mundo"]["nombre"]
        assert len((await text(client, "aaia_list_sessions"))["sessions"]) == 1
        await text(client, "aaia_destroy_session", sessionId=sid)
        assert (await text(client, "aaia_list_sessions"))["sessions"] == []


async def test_every_capability_of_the_mesh_is_a_tool_with_its_schema(mesh: InMemoryMesh) -> None:
    """Of masters that this program never heard of, too."""
    async with PersefonBot(mesh), Slow(mesh), observed(mesh) as (client, observer):
        await offered(observer, "WAIT_LONG")
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert tools["WAIT_LONG"].description == "Wait until cancelled."
        assert tools["AAIA_STEP_FIA"].input_schema["required"] == ["sessionId", "fiaIndex"]
        result = await client.call_tool("AAIA_GET_APPS", {})
        assert result.structured_content == json.loads(text_of(result.content[0]))


class Silent:
    """A master of upstream's, by hand: it is only there."""

    def received(self, payload: bytes, ack: int | None) -> None:
        """See `alephscript.Receiver`."""

    def acknowledged(self, number: int, payload: bytes) -> None:
        """See `alephscript.Receiver`."""

    def lost(self, reason: str) -> None:
        """See `alephscript.Receiver`."""


async def test_a_master_that_describes_itself_in_metadata_is_a_tool_with_that(
    mesh: InMemoryMesh,
) -> None:
    """Summary, tags, and both schemas."""
    asks = {"type": "object", "properties": {"n": {"type": "integer"}}}
    answers = {"type": "object", "properties": {"m": {"type": "integer"}}}
    card = {"id": "HALVE", "description": "Half of it.", "inputSchema": asks}
    card |= {"outputSchema": answers, "tags": ["sums", "small"]}
    link = await mesh.connect(Silent(), namespace="/runtime", auth=None, timeout=1)
    declared = {"features": ["GET_HALVE"], "metadata": {"capabilities": [card]}}
    said = {"event": "MAKE_MASTER", "room": "R", "data": declared}
    link.send(json.dumps(["ROOM_MESSAGE", said]).encode(), 1)
    async with observed(mesh) as (client, observer):
        await offered(observer, "HALVE")
        (tool,) = [each for each in (await client.list_tools()).tools if each.name == "HALVE"]
        assert tool.description == "Half of it. (sums, small)"
        required: dict[str, Any] = {"required": []}  # as the observer shows each schema
        assert (tool.input_schema, tool.output_schema) == (asks | required, answers)


async def test_all_thirteen_capabilities_of_the_bot_can_be_called(mesh: InMemoryMesh) -> None:
    """By their own names, on a session from its beginning to its end."""
    async with PersefonBot(mesh), observed(mesh) as (client, observer):
        await offered(observer, "AAIA_QUERY_MUNDO")

        async def call(tool: str, **arguments: Any) -> Any:
            called.add(tool)
            return await text(client, tool, **arguments)

        called: set[str] = set()
        await call("AAIA_GET_APPS")
        session = (await call("AAIA_CREATE_SESSION", appId="demo-logica"))["session"]
        of_session = {"sessionId": session["sessionId"]}
        of_fia = {**of_session, "fiaIndex": 0}
        await call("AAIA_LIST_SESSIONS")
        await call("AAIA_LIST_FIAS", **of_session)
        percepto = {"tipo": "comando", "fuente": "mcp", "payload": {"query": "p(X,Y)"}}
        await call("AAIA_SEND_PERCEPTO", **of_session, percepto=percepto)
        for state in ("START", "PLAY", "PAUSE", "STEP", "STOP"):
            await call(f"AAIA_{state}_FIA", **of_fia)
        await call("AAIA_GET_EFERENCIA", **of_fia)
        await call("AAIA_QUERY_MUNDO", **of_session)
        await call("AAIA_DESTROY_SESSION", **of_session)
        in_room = {name for name, each in observer.offers.items() if each.room == "AAIA_ROOM"}
        assert called == in_room - {"LIST_OF_THREADS"}
        assert len(called) == 13


async def test_tools_come_and_go_with_their_masters(mesh: InMemoryMesh) -> None:
    """And MCP clients that listen are told."""
    async with observed(mesh) as (client, observer):
        await observer.ready()
        assert await names(client) == TOOLS
        async with client.listen(tools_list_changed=True) as changes:
            async with Slow(mesh):
                await anext(aiter(changes))
                assert "WAIT_LONG" in await names(client)
            await anext(aiter(changes))
            assert await names(client) == TOOLS


async def test_what_is_said_in_the_room_is_a_resource_with_updates(mesh: InMemoryMesh) -> None:
    """And a tool, for clients that cannot listen."""
    async with PersefonBot(mesh) as bot, observed(mesh) as (client, observer):
        await observer.ready()
        async with client.listen(resource_subscriptions=[EVENTS]) as updates:
            await bot.broadcast("NEWS", {"n": 1}, room="AAIA_ROOM")
            update = await anext(aiter(updates))
        assert isinstance(update, ResourceUpdated)
        assert str(update.uri) == EVENTS
        read = json.loads(text_of((await client.read_resource(EVENTS)).contents[0]))
        assert (read[-1]["event"], read[-1]["data"]) == ("NEWS", {"n": 1})
        assert await text(client, "recent_events", since=read[-1]["number"] - 1) == [read[-1]]
        assert await text(client, "recent_events", since=read[-1]["number"]) == []


async def test_the_named_resources_and_prompts_are_there(mesh: InMemoryMesh) -> None:
    """As the AAIA server's users expect them."""
    async with PersefonBot(mesh), observed(mesh) as (client, observer):
        await observer.ready()
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


async def test_failures_are_tool_errors_with_their_code(mesh: InMemoryMesh) -> None:
    """Of its own tools and of the mesh's."""
    async with PersefonBot(mesh), observed(mesh) as (client, observer):
        await offered(observer, "AAIA_STEP_FIA")
        for tool in ("aaia_step_fia", "AAIA_STEP_FIA"):
            result = await client.call_tool(tool, {"sessionId": "none", "fiaIndex": 0})
            assert result.is_error
            assert "session_not_found" in text_of(result.content[0])
        wrong = await client.call_tool("AAIA_STEP_FIA", {"sessionId": 7})
        assert "invalid_payload" in text_of(wrong.content[0])
        assert "fiaIndex" in text_of(wrong.content[0])
        assert (await client.call_tool("NO_SUCH_TOOL", {})).is_error


async def test_a_hub_that_is_down_is_said_and_the_server_comes_back_with_it() -> None:
    """It need not be there when the server starts, and may be started again."""
    mesh = InMemoryMesh()
    async with observed(mesh) as (client, observer):
        missing = await client.call_tool("aaia_list_apps", {})
        assert missing.is_error
        assert "no hub" in text_of(missing.content[0])
        async with mesh:
            await observer.ready()
            async with PersefonBot(mesh, backoff=at_once):
                assert (await text(client, "aaia_list_apps"))["apps"]
                await offered(observer, "AAIA_GET_APPS")
                await mesh.kill()
                gone = await client.call_tool("aaia_list_apps", {})
                assert gone.is_error
                assert await names(client) == TOOLS
                await mesh.restart()
                await offered(observer, "AAIA_GET_APPS")
                assert (await text(client, "aaia_list_apps"))["apps"]


async def test_cancelling_a_call_cancels_the_request_and_progress_comes_through(
    mesh: InMemoryMesh,
) -> None:
    """Both ways through MCP and the mesh."""
    told: list[tuple[float, str | None]] = []
    heard = asyncio.Event()

    async def note(progress: float, total: float | None, message: str | None) -> None:
        told.append((progress, message))
        heard.set()

    async with Slow(mesh) as slow, observed(mesh) as (client, observer):
        await offered(observer, "WAIT_LONG")
        call = asyncio.ensure_future(client.call_tool("WAIT_LONG", {}, progress_callback=note))
        await slow.running.wait()
        await heard.wait()
        assert told == [(0.5, "half way")]
        call.cancel()
        await slow.stopped.wait()


@pytest.mark.slow
async def test_it_serves_on_stdio(hub: HubMesh, bot: PersefonBot) -> None:
    """As MCP clients start it that are told what its page tells them."""
    [told] = [json.loads(block.text) for block in blocks(PAGE) if block.language == "json"]
    settings = told["mcpServers"]["aaia"]
    assert settings["command"] == "python"
    *arguments, url = settings["args"]
    assert url == "http://127.0.0.1:3010"
    server = StdioServerParameters(command=sys.executable, args=[*arguments, hub.url])
    async with asyncio.timeout(40), Client(server) as client:
        for _ in range(100):
            result = await client.call_tool("aaia_list_apps", {})
            if not result.is_error:  # its link to the hub is made meanwhile
                break
        assert json.loads(text_of(result.content[0]))["apps"]


async def test_it_serves_over_http(hub: HubMesh, bot: PersefonBot) -> None:
    """On loopback, at /mcp."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    async with asyncio.timeout(40):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "examples.mcp_observer"),
            *("--url", hub.url, "--http", str(port)),
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            assert process.stderr is not None
            async for line in process.stderr:
                if b"running on" in line:
                    break
            async with Client(f"http://127.0.0.1:{port}/mcp") as client:
                assert await names(client) >= TOOLS
                for _ in range(100):
                    result = await client.call_tool("aaia_list_apps", {})
                    if not result.is_error:
                        break
                assert json.loads(text_of(result.content[0]))["apps"]
        finally:
            process.terminate()
            await process.communicate()


def test_its_own_tools_are_known_by_name() -> None:
    """So that no capability can take their place."""
    assert set(OWN_TOOLS) == TOOLS


@given(st.lists(st.tuples(TEXTS, TEXTS | st.sampled_from(OWN_TOOLS)), max_size=20))
@settings(max_examples=examples(100))
def test_every_tool_has_a_name_of_its_own(offers: list[tuple[str, str]]) -> None:
    """As MCP clients take it, whatever strangers call their rooms and capabilities."""
    taken = set(OWN_TOOLS)
    for room, name in offers:
        made = tool_name(Offer(room, name, (), "single", 1), taken)
        assert re.fullmatch(r"[A-Za-z0-9_-]{1,64}", made)
        assert made not in taken
        taken.add(made)
    assert len(taken) <= MOST_TOOLS


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_tool_takes_an_object_whatever_its_schema(name: str) -> None:
    """A schema that a client does not take would cost the model all tools."""
    schema = input_schema(SCHEMAS[name])
    assert schema["type"] == "object"
    assert len(as_json(schema)) < 60_000


@given(TEXTS, ODD_SCHEMAS)
@settings(max_examples=examples(100))
def test_a_model_reads_no_control_characters(text: str, schema: Any) -> None:
    """In what strangers say."""
    for said in (shown(text), as_json({text: [text, schema]}), as_json(input_schema(schema))):
        assert OBEYED.search(said) is None
