"""A request is one trace, from who asks over the hub to who answers and what that one asks."""

from __future__ import annotations

import asyncio
import itertools
import logging
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from typing import Any

import httpx2
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanContext, SpanKind, StatusCode

from alephscript import (
    AlephScriptClient,
    CapabilityError,
    NoMaster,
    Progress,
    RequestError,
    capability,
)
from alephscript.hub import Hub
from alephscript.hub.tracing import trace_hub
from alephscript.mesh.effects import Deliver
from alephscript.mesh.federation import Entry
from alephscript.mesh.mesh import Mesh
from alephscript.mesh.meta import parse_meta
from alephscript.protocol import events
from alephscript.testing import InMemoryMesh
from tests.support.node import json_of, node_process

pytestmark = pytest.mark.anyio

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

Open = Callable[..., Any]


class Exported:
    """The spans that have ended."""

    def __init__(self, exporter: InMemorySpanExporter) -> None:
        self._exporter = exporter

    def all(self) -> list[ReadableSpan]:
        """In the order in which they ended."""
        return list(self._exporter.get_finished_spans())

    def of(self, name: str) -> list[ReadableSpan]:
        """Those of a name, outermost first."""
        found = [each for each in self.all() if each.name == name]
        return sorted(found, key=lambda each: each.start_time or 0)


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> TracerProvider:
    """The process's tracer provider, for the time of a test."""
    provider = TracerProvider()
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    return provider


@pytest.fixture
def spans(provider: TracerProvider) -> Iterator[Exported]:
    """What is exported."""
    exporter = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    yield Exported(exporter)
    provider.shutdown()


@pytest.fixture(params=["memory", "websocket", "polling"])
async def opened(
    request: pytest.FixtureRequest, anyio_backend: str, spans: Exported
) -> AsyncIterator[Open]:
    """Opens clients on a mesh that is traced, closed when the test ends."""
    async with AsyncExitStack() as stack:
        kind = request.param
        mesh: Any = InMemoryMesh() if kind == "memory" else Hub(port=0)
        await stack.enter_async_context(mesh)
        options: dict[str, Any] = {} if kind == "memory" else {"transports": (kind,)}
        hub = mesh if kind == "memory" else mesh.url

        async def open_client(cls: type[AlephScriptClient] = AlephScriptClient, **more: Any) -> Any:
            return await stack.enter_async_context(cls(hub, **options, **more))

        yield open_client


class Inner(AlephScriptClient):
    """Answers at once."""

    rooms = ("INNER_ROOM",)

    @capability("INNER")
    async def inner(self, payload: dict[str, Any]) -> dict[str, Any]:
        """Say it back."""
        return {"said": payload}


class Fragile(AlephScriptClient):
    """Works until it is told to end."""

    rooms = ("FRAGILE_ROOM",)

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.begun, self.is_over = asyncio.Event(), asyncio.Event()

    @capability("FRAGILE", idempotent=True)
    async def work(self, payload: dict[str, Any]) -> dict[str, Any]:
        """Take a while."""
        self.begun.set()
        await self.is_over.wait()
        return payload


class Outer(AlephScriptClient):
    """Asks another one, and fails on demand."""

    rooms = ("OUTER_ROOM",)

    @capability("OUTER")
    async def outer(self, payload: dict[str, Any]) -> dict[str, Any]:
        """Pass it on."""
        return await self.request("INNER", payload)

    @capability("COUNT")
    async def count(self, payload: dict[str, Any]) -> AsyncIterator[int]:
        """Ask between the parts."""
        for number in range(payload["to"]):
            await self.request("INNER", {})
            yield number

    @capability("WORK")
    def work(self) -> dict[str, Any]:
        """In a worker thread."""
        context = trace.get_current_span().get_span_context()
        return {"span": context.span_id}

    @capability("REFUSE")
    async def refuse(self, payload: dict[str, Any]) -> None:
        """Say why, with what is nobody's business."""
        raise CapabilityError("not_today", f"refused {payload}", [payload])

    @capability("BREAK")
    async def fail(self, payload: dict[str, Any]) -> None:
        """Fail on what it was given."""
        raise ValueError(payload)


def parent(span: ReadableSpan) -> int | None:
    """The id of the span that it belongs to."""
    return None if span.parent is None else span.parent.span_id


def told(span: ReadableSpan) -> dict[str, Any]:
    """Its attributes."""
    return dict(span.attributes or {})


def context(span: ReadableSpan) -> SpanContext:
    """What identifies it."""
    found: SpanContext = span.context
    return found


def is_chain(spans: list[ReadableSpan]) -> bool:
    """Whether each span belongs to the one before it."""
    return all(
        parent(below) == context(above).span_id for above, below in itertools.pairwise(spans)
    )


def all_that_is_told(spans: Exported) -> str:
    """Everything that leaves the process."""
    return "".join(each.to_json() for each in spans.all())


async def test_a_request_and_what_its_master_asks_are_one_trace(
    opened: Open, spans: Exported
) -> None:
    """Asker, hub, master, and the same again for the request in between."""
    await opened(Inner)
    await opened(Outer)
    asker = await opened()
    await asker.request("OUTER", {"x": 1})
    found = [*spans.of("OUTER"), *spans.of("INNER")]
    assert [each.kind for each in found] == [SpanKind.CLIENT, SpanKind.SERVER, SpanKind.SERVER] * 2
    assert is_chain(found)
    assert parent(found[0]) is None
    assert {each.status.status_code for each in found} == {StatusCode.UNSET}
    assert {told(each)["rpc.system"] for each in found} == {"alephscript"}
    assert [told(each)["rpc.method"] for each in found] == ["OUTER"] * 3 + ["INNER"] * 3
    rooms = [told(each).get("alephscript.room") for each in found]
    assert rooms == [None, "OUTER_ROOM", "OUTER_ROOM", None, "INNER_ROOM", "INNER_ROOM"]


async def test_the_runs_of_a_task_are_of_the_trace_of_its_submitter(
    opened: Open, spans: Exported
) -> None:
    """The first master goes in it: each attempt is a span at the hub, and one at its master."""
    first = await opened(Fragile)
    submitter = await opened()
    task = await submitter.submit("FRAGILE", {})
    await first.begun.wait()
    await first.close()
    second = await opened(Fragile)
    second.is_over.set()
    await task.result()
    asking, *runs = spans.of("FRAGILE")
    assert asking.kind is SpanKind.CLIENT
    at_hub = [each for each in runs if parent(each) == context(asking).span_id]
    at_masters = [each for each in runs if each not in at_hub]
    assert len(at_hub) == 2
    assert {parent(each) for each in at_masters} == {context(each).span_id for each in at_hub}
    assert {context(each).trace_id for each in runs} == {context(asking).trace_id}


async def test_a_request_belongs_to_the_span_that_it_is_asked_in(
    opened: Open, spans: Exported, provider: TracerProvider
) -> None:
    """An application's own spans are above ours at the asker, and below at the master."""
    await opened(Outer)
    asker = await opened()
    with provider.get_tracer("application").start_as_current_span("mine"):
        answer = await asker.request("WORK")
    [mine], [asking, hub, serving] = spans.of("mine"), spans.of("WORK")
    assert is_chain([mine, asking, hub, serving])
    assert answer["span"] == context(serving).span_id


async def test_a_stream_is_a_trace_that_leaves_its_reader_alone(
    opened: Open, spans: Exported
) -> None:
    """Its span is open until the last part; what the reader does in between is not of it."""
    await opened(Inner)
    await opened(Outer)
    asker = await opened()
    async for _ in asker.stream("COUNT", {"to": 2}):
        assert trace.get_current_span() is trace.INVALID_SPAN
        assert SpanKind.CLIENT not in [each.kind for each in spans.of("COUNT")]
    asking, hub, serving = spans.of("COUNT")
    assert is_chain([asking, hub, serving])
    inner = spans.of("INNER")
    assert [parent(each) for each in inner[::3]] == [context(serving).span_id] * 2
    assert {context(each).trace_id for each in inner} == {context(asking).trace_id}


async def test_a_stream_that_is_left_was_cancelled(opened: Open, spans: Exported) -> None:
    """At all three."""
    await opened(Inner)
    await opened(Outer)
    asker = await opened()
    parts = asker.stream("COUNT", {"to": 10_000})
    async for _ in parts:
        break
    await parts.aclose()
    await asker.request("INNER")  # the hub works in order
    while len(spans.of("COUNT")) < 3:
        await asker.request("INNER")
    assert [told(each)["error.type"] for each in spans.of("COUNT")] == ["cancelled"] * 3


@pytest.mark.parametrize(
    ("name", "code"), [("REFUSE", "not_today"), ("BREAK", "internal"), ("INNER", "invalid_payload")]
)
async def test_a_failure_shows_its_code_and_nothing_else(
    name: str, code: str, opened: Open, spans: Exported
) -> None:
    """No payload, no sentence, nobody's name."""

    class Typed(AlephScriptClient):
        rooms = ("T",)

        @capability("INNER")
        async def inner(self, payload: Progress) -> None:
            """Never called."""

    await opened(Outer, usuario="SECRET_BOT")
    await opened(Typed, usuario="SECRET_BOT")
    asker = await opened(usuario="SECRET_ASKER")
    with pytest.raises(RequestError):
        await asker.request(name, {"token": "SECRET"})
    found = spans.of(name)
    assert [each.kind for each in found] == [SpanKind.CLIENT, SpanKind.SERVER, SpanKind.SERVER]
    assert [told(each)["error.type"] for each in found] == [code] * 3
    assert {each.status.status_code for each in found} == {StatusCode.ERROR}
    assert "SECRET" not in all_that_is_told(spans)


async def test_the_record_of_a_failure_is_logged_in_its_span(
    opened: Open, spans: Exported, caplog: pytest.LogCaptureFixture
) -> None:
    """So that whoever puts traces into the log finds it there."""
    within = []

    def note(record: logging.LogRecord) -> bool:
        within.append((record.levelname, trace.get_current_span().get_span_context()))
        return True

    caplog.handler.addFilter(note)
    await opened(Outer)
    asker = await opened()
    with pytest.raises(RequestError):
        await asker.request("BREAK", {})
    caplog.handler.removeFilter(note)
    assert ("ERROR", context(spans.of("BREAK")[-1])) in within


async def test_a_request_that_nobody_answers_ends_where_it_got(
    opened: Open, spans: Exported
) -> None:
    """Refused at once it is the asker's span alone; waiting for a master, the hub's too."""
    asker = await opened()
    waiting = asyncio.create_task(asker.request("INNER", {}, wait_for_master=True))
    for _ in range(2):  # the second is sent, and so refused, after the one that waits
        with pytest.raises(NoMaster):
            await asker.request("NOTHING")
    for asking in spans.of("NOTHING"):
        assert asking.kind is SpanKind.CLIENT
        assert told(asking)["error.type"] == "no_master"
    await opened(Inner)
    await waiting
    found = spans.of("INNER")
    assert is_chain(found)
    rooms = [told(each).get("alephscript.room") for each in found]
    assert rooms == [None, "INNER_ROOM", "INNER_ROOM"]


async def test_what_waits_for_its_turn_stays_in_its_own_trace(
    opened: Open, spans: Exported, provider: TracerProvider
) -> None:
    """Although it is begun by the end of another one."""

    class Narrow(AlephScriptClient):
        rooms = ("NARROW",)

        @capability("ONE", max_in_flight=1, queue=10)
        async def one(self) -> dict[str, Any]:
            await asyncio.sleep(0)
            return {"trace": trace.get_current_span().get_span_context().trace_id}

    await opened(Narrow)
    asker = await opened()

    async def ask() -> bool:
        with provider.get_tracer("application").start_as_current_span("mine") as span:
            answer = await asker.request("ONE")
        return bool(answer["trace"] == span.get_span_context().trace_id)

    assert await asyncio.gather(*(ask() for _ in range(5))) == [True] * 5


async def test_a_master_that_closes_ends_its_span(opened: Open, spans: Exported) -> None:
    """And the hub's, and the asker's."""
    begun = asyncio.Event()

    class Slow(AlephScriptClient):
        rooms = ("SLOW",)

        @capability("SLOW")
        async def slow(self) -> None:
            begun.set()
            await asyncio.Event().wait()

    master = await opened(Slow)
    asker = await opened()
    asking = asyncio.create_task(asker.request("SLOW"))
    await begun.wait()
    await master.close()
    with pytest.raises(RequestError):
        await asking
    codes = [told(each)["error.type"] for each in spans.of("SLOW")]
    assert codes == ["master_lost", "master_lost", "cancelled"]


async def test_a_node_master_is_traced_up_to_the_hub(
    node: str, anyio_backend: str, spans: Exported
) -> None:
    """It is told no meta, so the trace ends before it."""
    async with Hub(port=0) as hub:
        master = node_process(node, "master.mjs", "--url", hub.url)
        async with AlephScriptClient(hub.url) as asker, master as process:
            await json_of(process, until=lambda line: line.get("ready", False))
            await asker.request("ECHO", {"x": 1})
            with pytest.raises(CapabilityError):
                await asker.request("ECHO", {"fail": True})
            asked = await json_of(process, until=lambda line: line.get("event") == "GET_ECHO")
    assert asked["args"] == [{"x": 1}]
    first, second = spans.of("ECHO")[:2], spans.of("ECHO")[2:]
    for found in (first, second):
        assert [each.kind for each in found] == [SpanKind.CLIENT, SpanKind.SERVER]
        assert is_chain(found)
    assert [told(each).get("error.type") for each in second] == ["error", "error"]


def test_each_hub_of_several_has_its_span(provider: TracerProvider, spans: Exported) -> None:
    """The asker's hub tells the master's hub which one is above."""
    meshes = {name: Mesh() for name in "AB"}
    tracings = {}
    for name, mesh in meshes.items():
        mesh.federate(name)
        made = trace_hub(mesh.requests)
        assert made is not None
        tracings[name] = made
    here, there = meshes["A"], meshes["B"]
    for mesh, sid in ((here, "asker"), (there, "master")):
        mesh.connected(sid)
        mesh.received(sid, "CLIENT_REGISTER", [{"usuario": sid, "protocol": events.PROTOCOL}])
    declared = events.parse_declaration({"room": "R", "features": ["X"]})
    for mesh in meshes.values():
        assert mesh.federation is not None
        mesh.federation.apply_decision("R", 1, [Entry("B", "master", "b", declared, is_core=False)])
    meta = {"traceparent": TRACEPARENT}
    [asked] = map(tracings["A"].follow, here.received("asker", "GET_X", [{}, meta], 1))
    assert there.federation is not None
    frame = asked.frame  # type: ignore[union-attr]
    [put] = map(tracings["B"].follow, there.federation.received("A", frame))
    assert isinstance(put, Deliver)
    master = put.args[1]
    for effect in there.acknowledged("master", put.request, [{"success": True}]):
        tracings["B"].follow(effect)
    tracings["A"].close()
    above, below = spans.of("X")
    assert is_chain([above, below])
    assert f"{parent(above):016x}" == TRACEPARENT.split("-")[2]
    assert master["traceparent"].split("-")[2] == f"{context(below).span_id:016x}"
    assert told(above)["error.type"] == "closed"


@pytest.mark.parametrize(
    "said",
    [
        {"traceparent": 1},
        {"traceparent": None},
        {"traceparent": TRACEPARENT.upper()},
        {"traceparent": TRACEPARENT + "\n"},
        {"traceparent": TRACEPARENT + "-00"},
        {"traceparent": TRACEPARENT * 1000},
        {"traceparent": "ff" + TRACEPARENT[2:]},
        {"traceparent": f"00-{'0' * 32}-b7ad6b7169203331-01"},
        {"traceparent": f"00-0af7651916cd43dd8448eb211c80319c-{'0' * 16}-01"},
        {"tracestate": "a=1"},
    ],
    ids=str,
)
def test_a_trace_that_is_said_wrongly_counts_as_not_said(said: Mapping[str, Any]) -> None:
    """The request goes on without."""
    assert parse_meta({**said, "tracestate": "a=1", "parts": 3}).extras == {"parts": 3}


@pytest.mark.parametrize("state", ["", "a=1" * 200, "a=\n", "a=é", 1, None], ids=repr)
def test_a_trace_is_passed_on_without_a_state_that_is_none(state: Any) -> None:
    """Where it comes from matters more than what vendors add."""
    assert parse_meta({"traceparent": TRACEPARENT, "tracestate": state}).extras == {
        "traceparent": TRACEPARENT
    }


def test_a_trace_is_passed_on_as_it_is_said() -> None:
    """By a hub that traces nothing."""
    said = {"traceparent": TRACEPARENT, "tracestate": "congo=t61rcWkgMzE,rojo=00f067aa0ba902b7"}
    mesh = Mesh()
    for sid in ("asker", "master"):
        mesh.connected(sid)
        mesh.received(sid, "CLIENT_REGISTER", [{"usuario": sid, "protocol": events.PROTOCOL}])
    mesh.received("master", "MAKE_MASTER", [{"room": "R", "features": ["X"]}])
    [asked] = mesh.received("asker", "GET_X", [{}, said], 1)
    assert isinstance(asked, Deliver)
    assert {key: asked.args[1][key] for key in events.TRACE_CONTEXT} == said


def test_nobody_is_asked_to_trace_unless_a_provider_is_set_up() -> None:
    """OpenTelemetry is not even imported; its API alone changes nothing."""
    program = """
import sys
from alephscript import AlephScriptClient
from alephscript.diagnostics import tracing
from alephscript.hub import Hub

Hub(port=0), AlephScriptClient()
print(tracing.trace_client(), [name for name in sys.modules if "opentelemetry" in name])
from opentelemetry import trace
print(tracing.trace_client())
trace.set_tracer_provider(trace.NoOpTracerProvider())
print(tracing.trace_client())
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stdout.splitlines() == ["None []", "None", "None"]


@pytest.mark.parametrize("parent", [TRACEPARENT, "nonsense", None])
async def test_a_request_by_http_joins_the_trace_of_its_header(
    spans: Exported, parent: str | None
) -> None:
    """From the hub on; a header that is none is no trace."""
    async with (
        Hub(port=0) as hub,
        Inner(hub.url),
        httpx2.AsyncClient(base_url=hub.url) as http,
    ):
        headers = {} if parent is None else {"traceparent": parent}
        response = await http.post("/mesh/rooms/INNER_ROOM/INNER", json={}, headers=headers)
        assert response.status_code == 200
    at_hub, at_master = spans.of("INNER")
    assert at_hub.context.trace_id == at_master.context.trace_id
    assert (at_hub.parent is not None) == (parent == TRACEPARENT)
    if at_hub.parent is not None:
        assert f"{at_hub.parent.trace_id:032x}" == TRACEPARENT.split("-")[1]
