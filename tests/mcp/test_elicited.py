"""What an MCP server asks during a call, asked of whoever has asked the mesh."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any, Literal

import pytest
from mcp import StdioServerParameters
from mcp.client.client import Client
from mcp.server.mcpserver import Context, MCPServer
from mcp_types import ElicitResult
from pydantic import BaseModel

from alephscript import AlephScriptClient, CapabilityError, Question
from alephscript.mcp import McpMaster, MeshServer, elicited, upstream
from alephscript.testing import InMemoryMesh
from tests.mcp.test_eliciting import MODES, Sender
from tests.support.a2a_peers import serving
from tests.support.tools import ROOT

pytestmark = pytest.mark.anyio

Mode = Literal["auto", "legacy"]


class Name(BaseModel):
    """What somebody is called."""

    name: str
    times: int = 1


def make_server() -> MCPServer:
    """A server that asks."""
    server = MCPServer("curious", version="1", log_level="ERROR")
    seen: list[ElicitResult] = []

    @server.tool()
    async def greet(ctx: Context[Any, Any], how: str) -> str:
        """Greet whoever says a name."""
        result = await ctx.elicit(f"{how}, who?", Name)
        if result.action != "accept":
            return result.action
        return f"{how} {result.data.name}" * result.data.times

    @server.tool()
    async def often(ctx: Context[Any, Any], times: int) -> int:
        """Ask many times; say how often there was an answer."""
        results = [await ctx.elicit(f"{each}?", Name) for each in range(times)]
        return sum(each.action == "accept" for each in results)

    @server.tool()
    async def visit(ctx: Context[Any, Any]) -> str:
        """Send somebody to an address."""
        result = await ctx.session.elicit_url("log in", "https://x.example", "1", ctx.request_id)
        seen.append(result)
        return f"{result.action}: {(result.meta or {}).get(elicited.REASON)}"

    return server


@contextlib.asynccontextmanager
async def mastered(
    mesh: InMemoryMesh, server: upstream.Server, mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[AlephScriptClient]:
    """A client of a mesh that has a server as a master."""
    monkeypatch.setattr(upstream, "Client", functools.partial(Client, mode=mode))
    async with (
        asyncio.timeout(30),
        McpMaster(server, room="R", hub=mesh, max_in_flight=10),
        AlephScriptClient(mesh) as client,
    ):
        yield client


def answering(answer: Any, told: list[Question[Any]] | None = None) -> Callable[[Any], Any]:
    """What answers each question the same, or refuses."""

    def on_ask(question: Question[Any]) -> Any:
        if told is not None:
            told.append(question)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return on_ask


DECLINED = CapabilityError("declined", "no", [{"action": "decline"}])
CANCELLED = CapabilityError("declined", "no", [{"action": "cancel"}])
ANSWERS: list[tuple[Any, str]] = [
    ({"name": "Ana"}, "hello Ana"),
    ({"name": "Ana", "times": 2}, "hello Anahello Ana"),
    (DECLINED, "decline"),
    (CANCELLED, "cancel"),
    (CapabilityError("busy", "no"), "decline"),
    ({"name": {"first": "Ana"}}, "decline"),
    (None, "decline"),
]


async def test_a_form_is_a_question_and_its_answer_comes_back(
    mesh: InMemoryMesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the server's words and schema; whoever takes no questions declines."""
    told: list[Question[Any]] = []
    async with mastered(mesh, make_server(), "legacy", monkeypatch) as client:
        for answer, result in ANSWERS:
            on_ask = None if answer is None else answering(answer, told)
            answered = await client.request("GREET", {"how": "hello"}, on_ask=on_ask)
            assert answered == {"result": result}, answer
    assert (told[0].capability, told[0].payload) == ("MCP_INPUT", {"text": "hello, who?"})
    assert told[0].reply is not None
    assert told[0].reply["properties"]["name"]["type"] == "string"


@pytest.mark.parametrize("mode", MODES)
async def test_a_question_goes_through_two_doors(
    mesh: InMemoryMesh, monkeypatch: pytest.MonkeyPatch, mode: Mode
) -> None:
    """Of a capability behind an MCP server behind a mesh; and so does a refusal."""
    async with (
        Sender(mesh),
        mastered(mesh, MeshServer(mesh, rooms=["POST"]), mode, monkeypatch) as client,
    ):
        while not [each for each in await client.discover() if each.room == "R"]:
            pass
        ask = functools.partial(client.request, "SEND", {}, room="R")
        answer = {"isGiven": True, "weights": "[1, 2]"}
        assert await ask(on_ask=answering(answer)) == {"sent": True, "weights": [1, 2]}
        with pytest.raises(CapabilityError) as error:
            await ask(on_ask=answering(CANCELLED))
        assert (error.value.code, error.value.details) == ("declined", [{"action": "cancel"}])
        with pytest.raises(CapabilityError, match="did not agree"):
            await ask()


@pytest.mark.parametrize(
    "transport", ["memory", "http", pytest.param("stdio", marks=pytest.mark.slow)]
)
async def test_a_question_goes_to_whoever_it_is_about(
    mesh: InMemoryMesh, monkeypatch: pytest.MonkeyPatch, transport: str
) -> None:
    """Where that cannot be known, as several have asked, it goes to nobody."""
    both = asyncio.Barrier(2)
    asked: list[str] = []

    async def ask(client: AlephScriptClient, name: str) -> Any:
        async def answer(question: Question[Any]) -> dict[str, str]:
            asked.append(question["text"])
            await both.wait()
            return {"name": name}

        payload = {"how": name}
        return (await client.request("GREET", payload, on_ask=answer, timeout=20))["result"]

    async with contextlib.AsyncExitStack() as stack:
        server: upstream.Server = make_server()
        if transport == "http":
            app = make_server().streamable_http_app()
            server = f"{await stack.enter_async_context(serving(lambda _: app))}/mcp"
        elif transport == "stdio":
            run = "from tests.mcp.test_elicited import make_server; make_server().run('stdio')"
            server = StdioServerParameters(
                command=sys.executable, args=["-c", run], env={"PYTHONPATH": str(ROOT)}
            )
        client = await stack.enter_async_context(mastered(mesh, server, "legacy", monkeypatch))
        told = list(await asyncio.gather(ask(client, "Ana"), ask(client, "Eva")))
        if transport == "stdio":
            assert (told, asked) == (["decline", "decline"], [])
            both = asyncio.Barrier(1)
            assert await ask(client, "Eva") == "Eva Eva"
        else:
            assert (told, sorted(asked)) == (["Ana Ana", "Eva Eva"], ["Ana, who?", "Eva, who?"])


async def test_what_is_no_form_is_declined_with_a_sentence(
    mesh: InMemoryMesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An address to open, forms without end, a form that is too large."""
    async with mastered(mesh, make_server(), "legacy", monkeypatch) as client:
        on_ask = answering({"name": "Ana"})
        told = await client.request("VISIT", on_ask=on_ask)
        assert told == {
            "result": "decline: nobody here opens an address for a server; ask by a form"
        }
        assert await client.request("OFTEN", {"times": 40}, on_ask=on_ask) == {"result": 32}
        monkeypatch.setattr(elicited, "_MOST_CHARACTERS", 10)
        assert await client.request("OFTEN", {"times": 1}, on_ask=on_ask) == {"result": 0}


async def test_a_question_ends_with_the_call(
    mesh: InMemoryMesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever is asked hears no more of it."""
    asked, given_up = asyncio.Event(), asyncio.Event()

    async def wait(_: Question[Any]) -> None:
        asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            given_up.set()

    async with mastered(mesh, make_server(), "legacy", monkeypatch) as client:
        asking = asyncio.create_task(client.request("GREET", {"how": "hello"}, on_ask=wait))
        await asked.wait()
        asking.cancel()
        await given_up.wait()
        answered = await client.request("GREET", {"how": "hi"}, on_ask=answering({"name": "Ana"}))
        assert answered == {"result": "hi Ana"}
