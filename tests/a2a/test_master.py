"""A2A agents as masters: what a mesh gets of their skills, and what becomes of those that die."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from alephscript import (
    AlephScriptClient,
    CapabilityError,
    InvalidPayload,
    MasterLost,
    Progress,
    Question,
)
from alephscript.a2a import A2aMaster, AgentUnreachable, MeshServer
from alephscript.testing import InMemoryMesh
from tests.a2a.test_server import Odd
from tests.support import a2a_agent
from tests.support.a2a_agent import Waits, make_agent
from tests.support.a2a_peers import serving
from tests.support.mcp_peers import Slow
from tests.support.meshes import at_once

pytestmark = pytest.mark.anyio

PROGRAM = str(Path(a2a_agent.__file__))


@pytest.fixture
async def client(mesh: InMemoryMesh) -> AsyncIterator[AlephScriptClient]:
    """A client of the mesh."""
    async with asyncio.timeout(40), AlephScriptClient(mesh) as client:
        yield client


@contextlib.asynccontextmanager
async def mastered(
    mesh: InMemoryMesh, waits: Waits | None = None, *, streaming: bool = True
) -> AsyncIterator[A2aMaster]:
    """The trial agent as the master of R."""
    async with (
        serving(lambda url: make_agent(f"{url}/", waits, streaming=streaming)) as url,
        A2aMaster(url, room="R", hub=mesh, backoff=at_once) as master,
    ):
        yield master


async def offered(client: AlephScriptClient, name: str, *, is_there: bool = True) -> None:
    """Wait until a capability is offered, or is not any more."""
    async with contextlib.aclosing(client.watch_masters()) as changes:  # type: ignore[type-var]
        waiting = asyncio.ensure_future(anext(changes))
        while (name in {each.capability for each in await client.discover()}) is not is_there:
            await asyncio.wait({waiting}, timeout=0.2)
            if waiting.done():
                waiting = asyncio.ensure_future(anext(changes))
        waiting.cancel()
        await asyncio.wait({waiting})


async def test_each_skill_is_a_capability(mesh: InMemoryMesh, client: AlephScriptClient) -> None:
    """In upper case, its own id an alias, with its words and tags."""
    async with mastered(mesh):
        offers = {each.capability: each for each in await client.discover()}
        assert {"GREET", "ADD", "COUNT", "WAIT"} <= {*offers}
        add = offers["ADD"]
        assert (add.summary, add.tags, add.room) == ("Does add.", ("trial",), "R")
        for name in ("ADD", "add"):
            assert await client.request(name, {"a": 1, "b": 2}, room="R") == {"sum": 3}


async def test_names_that_collide_are_told(
    mesh: InMemoryMesh, client: AlephScriptClient, caplog: pytest.LogCaptureFixture
) -> None:
    """And each skill can be asked."""
    with caplog.at_level(logging.WARNING, "alephscript.doors"):
        async with mastered(mesh):
            assert await client.request("Greet", "you", room="R") == {"result": "hello you"}
    assert "the name Greet of the A2A agent http://127.0.0.1" in caplog.text
    assert "it is offered as Greet alone" in caplog.text


@pytest.mark.parametrize("streaming", [True, False])
async def test_answers_of_all_kinds_come_through(
    mesh: InMemoryMesh, client: AlephScriptClient, *, streaming: bool
) -> None:
    """Messages and tasks, of agents that stream and of others."""
    async with mastered(mesh, streaming=streaming):
        assert await client.request("GREET", "you") == {"result": "hello you"}
        parts = {"parts": [{"text": "a"}, {"raw": "AAE="}]}
        assert await client.request("GREET", parts) == {"result": "hello a"}
        assert await client.request("ADD", {"a": 1, "b": 2}) == {"sum": 3}
        files = (await client.request("FILES"))["artifacts"]
        assert [each.get("name") for each in files] == ["two", "one"]
        assert files[0]["parts"] == [{"raw": "AAE=", "filename": "a"}, {"text": "b"}]
        counted = await client.request("COUNT")
        assert [each["data"] for each in counted["artifacts"][0]["parts"]] == [0, 1, 2]
        assert [part async for part in client.stream("COUNT")] == [0, 1, 2]
        assert [part async for part in client.stream("GREET", "b")] == ["hello b"]


@pytest.mark.parametrize("streaming", [True, False])
async def test_failures_have_codes(
    mesh: InMemoryMesh, client: AlephScriptClient, *, streaming: bool
) -> None:
    """Of an agent, of the protocol, and of one that asks back."""
    async with mastered(mesh, streaming=streaming):
        with pytest.raises(CapabilityError, match="there is no ink") as failed:
            await client.request("FAIL")
        assert failed.value.code == "agent_failed"
        with pytest.raises(InvalidPayload, match="out of ink"):
            await client.request("REFUSE")
        with pytest.raises(CapabilityError, match="which one") as asked:
            await client.request("ASK")
        assert asked.value.code == "input_required"
        assert {*asked.value.details[0]} == {"taskId", "contextId"}
        with pytest.raises(CapabilityError):
            [part async for part in client.stream("FAIL")]


@pytest.mark.parametrize("streaming", [True, False])
async def test_an_agent_that_asks_back_asks_the_asker(
    mesh: InMemoryMesh, client: AlephScriptClient, *, streaming: bool
) -> None:
    """Whose answer goes on with the task; whoever refuses cancels it."""
    waits = Waits()

    def answer(question: Question[dict[str, str]]) -> str:
        assert (question.capability, question["text"]) == ("A2A_INPUT", "which one?")
        return "this one"

    def refuse(_: Question[Any]) -> None:
        raise CapabilityError("not_today", "ask again tomorrow")

    async with mastered(mesh, waits, streaming=streaming):
        assert await client.request("ASK", on_ask=answer) == {"result": "then this one"}
        parts = [part async for part in client.stream("ASK", on_ask=answer)]
        assert parts == ["then this one"]
        with pytest.raises(CapabilityError, match="ask again tomorrow"):
            await client.request("ASK", on_ask=refuse)
        await waits.cancelled.wait()


@pytest.mark.parametrize("streaming", [True, False])
async def test_progress_comes_through_and_cancelling_goes_through(
    mesh: InMemoryMesh, client: AlephScriptClient, *, streaming: bool
) -> None:
    """To the agent."""
    waits, told = Waits(), asyncio.Queue[Progress]()
    async with mastered(mesh, waits, streaming=streaming):
        asking = asyncio.ensure_future(client.request("WAIT", on_progress=told.put_nowait))
        assert (await told.get()).message == "half way"
        asking.cancel()
        await waits.cancelled.wait()
        waits.running.clear()
        waits.cancelled.clear()
        asking = asyncio.ensure_future(client.request("WAIT"))
        await waits.running.wait()
        asking.cancel()
        await waits.cancelled.wait()


@pytest.mark.slow
async def test_skills_that_come_change_what_is_offered(
    mesh: InMemoryMesh, client: AlephScriptClient
) -> None:
    """While the master serves."""
    async with mastered(mesh):
        await client.request("LEARN")
        await offered(client, "LEARNED")


async def start(port: int) -> asyncio.subprocess.Process:
    """Start the agent on a port."""
    return await asyncio.create_subprocess_exec(sys.executable, PROGRAM, str(port))


@pytest.mark.slow
async def test_an_agent_that_dies_ends_what_it_had_in_hand_and_is_reached_again(
    mesh: InMemoryMesh, client: AlephScriptClient, port: int
) -> None:
    """At the same address, with the room resigned meanwhile."""
    url = f"http://127.0.0.1:{port}"
    told: asyncio.Queue[Progress] = asyncio.Queue()
    process = await start(port)
    try:
        async with A2aMaster(url, room="R", hub=mesh, retry_open=True, backoff=at_once):
            await offered(client, "WAIT")
            pid = (await client.request("PID"))["pid"]
            asking = asyncio.ensure_future(client.request("WAIT", on_progress=told.put_nowait))
            other = asyncio.ensure_future(client.request("WAIT", on_progress=told.put_nowait))
            await told.get()
            await told.get()
            os.kill(pid, signal.SIGKILL)
            await process.wait()
            for each in (asking, other):
                with pytest.raises(MasterLost, match="A2A agent"):
                    await each
            await offered(client, "WAIT", is_there=False)
            process = await start(port)
            added = await client.request("ADD", {"a": 1, "b": 2}, wait_for_master=True, timeout=30)
            assert added == {"sum": 3}
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def test_an_agent_that_is_not_there_is_said(mesh: InMemoryMesh) -> None:
    """With its address and the reason, and without a password."""
    with pytest.raises(AgentUnreachable, match=r"http://127\.0\.0\.1:9: ConnectError") as error:
        async with A2aMaster("http://me:secret@127.0.0.1:9", room="R", hub=mesh):
            pass
    assert "secret" not in str(error.value)


async def test_an_agent_of_the_version_before_is_a_master_too(
    mesh: InMemoryMesh, client: AlephScriptClient
) -> None:
    """With progress, streams and cancelling, of a mesh of its own.

    In the same mesh its skills would be those of its master, too, and mean either of them.
    """
    told = asyncio.Queue[Progress]()

    def make(url: str) -> ASGIApp:
        server = MeshServer(other, backoff=at_once)
        old = {**card(f"{url}/"), "url": f"{url}/", "protocolVersion": "0.3.0"}
        old["skills"] = [{**old["skills"][0], "id": each} for each in ("COUNT", "WAIT_LONG")]
        del old["supportedInterfaces"]

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http" and scope["method"] == "GET":
                await JSONResponse(old)(scope, receive, send)
            else:
                await server(scope, receive, send)

        return app

    async with (
        InMemoryMesh() as other,
        Odd(other),
        Slow(other) as slow,
        serving(make) as url,
        A2aMaster(url, room="R", hub=mesh),
    ):
        parts = [each async for each in client.stream("COUNT", 2, room="R")]
        assert parts == [{"number": 0}, {"number": 1}]
        waiting = client.request("WAIT_LONG", room="R", on_progress=told.put_nowait)
        asking = asyncio.ensure_future(waiting)
        assert await told.get() == Progress(0.25, "1 of 4")
        await slow.running.wait()
        asking.cancel()
        await slow.stopped.wait()


async def test_a_hub_that_comes_back_is_told_what_is_offered(client: AlephScriptClient) -> None:
    """As it is now."""
    async with (
        InMemoryMesh() as other,
        mastered(other) as master,
        AlephScriptClient(other, backoff=at_once) as asker,
    ):
        await other.kill()
        await other.restart()
        await master.ready()
        await asker.ready()
        added = await asker.request("ADD", {"a": 1, "b": 1}, wait_for_master=True)
        assert added == {"sum": 2}


def card(url: str, **fields: Any) -> dict[str, Any]:
    """A card of an agent at an address."""
    interface = {"url": url, "protocolBinding": "JSONRPC", "protocolVersion": "1.0"}
    return {
        "name": "odd",
        "supportedInterfaces": [interface],
        "capabilities": {"streaming": True},
        "skills": [{"id": "x", "name": "x", "description": "x", "tags": ["x"]}],
        **fields,
    }


def odd_agent(content: bytes, answer: Callable[[Any], Response] | None = None) -> Starlette:
    """An agent with a card of these bytes, which answers as it likes."""

    async def show(_: Request) -> Response:
        return Response(content, media_type="application/json")

    async def serve(request: Request) -> Response:
        assert answer is not None
        return answer((await request.json())["id"])

    return Starlette(
        routes=[
            Route("/.well-known/agent-card.json", show),
            Route("/", serve, methods=["POST"]),
        ]
    )


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda _: b"[]", "there is no card"),
        (lambda _: b"{", "not valid JSON"),
        (lambda _: b'{"skills": ' + b"[" * 100_000, "nested deeper"),
        (lambda _: b'{"skills": 5}', "there is no card"),
        (lambda _: b'{"skills": [5]}', "there is no card"),
        (lambda _: b"{}", "names no interface"),
        (lambda _: b'{"x": "' + b"x" * 3_000_000 + b'"}', "bytes"),
        (lambda _: json.dumps(card("http://evil.example/")).encode(), "another host or port"),
        (lambda _: json.dumps(card("http://127.0.0.1:1/")).encode(), "another host or port"),
        (lambda _: json.dumps(card("file:///etc/passwd")).encode(), "another host or port"),
    ],
)
async def test_a_card_that_cannot_be_used_is_said(
    mesh: InMemoryMesh, make: Callable[[str], bytes], told: str
) -> None:
    """In a sentence, soon."""
    async with asyncio.timeout(20), serving(lambda url: odd_agent(make(url))) as url:
        with pytest.raises(AgentUnreachable, match=told):
            async with A2aMaster(url, room="R", hub=mesh):
                pass


async def test_of_many_and_odd_skills_those_are_offered_that_can_be(
    mesh: InMemoryMesh, client: AlephScriptClient
) -> None:
    """Bounded, and without names that no capability has."""
    names = ["", "\x00", "é 🦤", "GET_SERVER_STATE", "connect", "x" * 300, "a/b", *("ok" * 2)]
    names += [f"skill{number}" for number in range(5000)]
    skills = [
        {
            "id": name,
            "name": name,
            "description": "long " * 5000 if name == "a/b" else "",
            "tags": [],
        }
        for name in names
    ]
    async with (
        serving(lambda url: odd_agent(json.dumps(card(f"{url}/", skills=skills)).encode())) as url,
        A2aMaster(url, room="R", hub=mesh),
    ):
        offers = {each.capability: each for each in await client.discover()}
        assert {"É 🦤", "A/B", "SKILL0"} <= {*offers}
        assert 400 < len(offers) <= 500
        assert len(offers["A/B"].summary or "") <= 500


ANSWERS: dict[str, Callable[[Any], Response]] = {
    "no JSON": lambda _: PlainTextResponse("hello"),
    "a list": lambda _: Response("[]", media_type="application/json"),
    "nothing": lambda _: Response("{}", media_type="application/json"),
    "an error of nothing": lambda _: Response('{"error": 5}', media_type="application/json"),
    "a result of another type": lambda _: Response('{"result": 5}', media_type="application/json"),
    "a page": lambda _: PlainTextResponse("no", 500),
    "a redirect": lambda _: Response(status_code=307, headers={"location": "http://127.0.0.1:1/"}),
    "a stream of nothing": lambda _: Response("", media_type="text/event-stream"),
    "a stream of odd events": lambda _: Response("data: x\n\n", media_type="text/event-stream"),
    "an event without an end": lambda _: Response(
        "data: " + "x" * 17_000_000, media_type="text/event-stream"
    ),
    "a large answer": lambda _: Response(b" " * 17_000_000, media_type="application/json"),
    "a bomb": lambda _: Response(b"x", headers={"content-encoding": "gzip"}),
    "a part of NaN": lambda _: Response(
        '{"result": {"message": {"messageId": "1", "role": "ROLE_AGENT", '
        '"parts": [{"data": NaN}]}}}',
        media_type="application/json",
    ),
}


async def test_answers_that_are_none_are_errors_with_a_code(
    mesh: InMemoryMesh, client: AlephScriptClient
) -> None:
    """And the agent stays a master."""
    answers = list(ANSWERS.values())

    def answer(number: Any) -> Response:
        return answers[len(asked)](number)

    asked: list[str] = []
    async with (
        serving(lambda url: odd_agent(json.dumps(card(f"{url}/")).encode(), answer)) as url,
        A2aMaster(url, room="R", hub=mesh),
    ):
        for kind in ANSWERS:
            with pytest.raises(CapabilityError) as error:
                await client.request("X", {"a": 1})
            assert error.value.code == "a2a_error", kind
            assert len(error.value.message) < 1100
            asked.append(kind)
