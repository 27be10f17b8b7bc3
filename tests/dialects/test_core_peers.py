"""On a stock Node hub: peers that speak its dialect by hand, and what the hub leaves unsaid."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any, NamedTuple

import attrs
import pytest
import socketio

from alephscript import (
    AlephScriptClient,
    CapabilityError,
    DeadlineExceeded,
    Event,
    Request,
    RequestError,
    capability,
    observe,
    on,
)
from tests.support.node import line_of, node_process

pytestmark = pytest.mark.anyio


class StockHub(NamedTuple):
    """A stock hub, and which."""

    url: str
    dialect: str


@pytest.fixture(params=["core", "zeus"])
async def hub(request: pytest.FixtureRequest, node: str) -> AsyncIterator[StockHub]:
    """A hub that acknowledges nothing."""
    arguments = ("--port", "0", "--dialect", request.param)
    async with node_process(node, "upstream_hub.mjs", *arguments) as process:
        port = (await line_of(process)).removeprefix("listening ")
        yield StockHub(f"http://127.0.0.1:{port}", request.param)


class Peer:
    """A member that knows nothing of this package: a bare Socket.IO client."""

    def __init__(self) -> None:
        self.sio = socketio.AsyncClient(handle_sigint=False, reconnection=False)
        self.heard: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()
        self.answer: Any = None
        self.sio.on("*", self._hear, namespace="/runtime")

    async def open(self, url: str, *rooms: str, masters: str = "") -> None:
        """Be somebody in these rooms, and the master of one of them."""
        await self.sio.connect(url, namespaces=["/runtime"], transports=["websocket"])
        await self.emit("CLIENT_REGISTER", {"usuario": "peer", "sesion": "-1"})
        for room in rooms:
            await self.emit("CLIENT_SUSCRIBE", {"room": room})
        if masters:
            await self.say("MAKE_MASTER", masters, {"features": []})
        await self.settled(rooms[0])

    async def settled(self, room: str) -> None:
        """Wait until the hub has done what it was told: it works in order."""
        await self.say("PEER_SETTLED", room, None)
        assert (await self.next("PEER_SETTLED"))[0] == "PEER_SETTLED"

    async def emit(self, event: str, data: Any) -> None:
        """Send an event to the hub itself."""
        await self.sio.emit(event, data, namespace="/runtime")

    async def say(self, event: str, room: str, data: Any) -> None:
        """Send an event to a room."""
        await self.emit("ROOM_MESSAGE", {"event": event, "room": room, "data": data})

    async def next(self, prefix: str = "") -> tuple[str, Any]:
        """The next event that begins so."""
        async with asyncio.timeout(5):
            while True:
                event, data = await self.heard.get()
                if event.startswith(prefix):
                    return event, data

    def rest(self, prefix: str = "SET_") -> list[tuple[str, Any]]:
        """What else it has heard by now that begins so."""
        heard = [self.heard.get_nowait() for _ in range(self.heard.qsize())]
        return [each for each in heard if each[0].startswith(prefix)]

    async def _hear(self, event: str, data: Any = None) -> None:
        if event.startswith("GET_") and self.answer is not None:
            await self.answer(event, data)
        self.heard.put_nowait((event, data))


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    """Closes what the test opens."""
    async with AsyncExitStack() as stack:
        yield stack


async def peer_in(stack: AsyncExitStack, hub: StockHub, *rooms: str, masters: str = "") -> Peer:
    """A bare peer that is there."""
    peer = Peer()
    stack.push_async_callback(peer.sio.disconnect)
    await peer.open(hub.url, *rooms, masters=masters)
    return peer


async def client_of(
    stack: AsyncExitStack, hub: StockHub, cls: type[AlephScriptClient], **options: Any
) -> Any:
    """A client that was told what kind of hub this is, and need not find it out."""
    client = cls(hub.url, acknowledges=False, **options)
    return await stack.enter_async_context(client)


@attrs.frozen
class Double:
    """A number to double."""

    value: int


class Doubler(AlephScriptClient):
    """A master of room R."""

    rooms = ("R",)

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.requests: list[Request[Double]] = []

    @capability("DOUBLE")
    async def double(self, request: Request[Double]) -> dict[str, int]:
        """Double."""
        self.requests.append(request)
        return {"value": 2 * request.payload.value}

    @capability("FAIL")
    async def fail(self) -> None:
        """Fail."""
        raise CapabilityError("broken", "as asked", [1])


class InR(AlephScriptClient):
    """A member of room R."""

    rooms = observe("R")


class Ears(AlephScriptClient):
    """Hears in two rooms, listens for one."""

    rooms = observe("R", "Q")

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.heard: asyncio.Queue[tuple[str, Event[Any]]] = asyncio.Queue()

    @on("SAID", room="R")
    async def in_order(self, event: Event[Any]) -> None:
        """Hear."""
        self.heard.put_nowait(("in order", event))

    @on("SAID", room="R", ordered=False)
    async def at_once(self, event: Event[Any]) -> None:
        """Hear."""
        self.heard.put_nowait(("at once", event))


class TestMaster:
    """A Python master, asked by peers that write envelopes."""

    async def test_each_question_gets_one_set_event(
        self, hub: StockHub, stack: AsyncExitStack
    ) -> None:
        """The whole room hears it; the master sees what the envelope says of the asker."""
        master = await client_of(stack, hub, Doubler)
        asker = await peer_in(stack, hub, "R")
        watcher = await peer_in(stack, hub, "R")
        for value in (1, 2, 3):
            await asker.say("GET_DOUBLE", "R", {"value": value})
            for each in (asker, watcher):
                event, answer = await each.next("SET_")
                assert answer.pop("sender")
                assert (event, answer) == ("SET_DOUBLE", {"success": True, "value": 2 * value})
        await asker.settled("R")
        assert (asker.rest(), watcher.rest()) == ([], [])
        caller = "peer-1" if hub.dialect == "core" else ""
        seen = [(each.room, each.caller, each.payload) for each in master.requests]
        assert seen == [("R", caller, Double(value)) for value in (1, 2, 3)]

    async def test_a_request_id_comes_back_as_it_was_given(
        self, hub: StockHub, stack: AsyncExitStack
    ) -> None:
        """With answers and with failures, so that askers can tell theirs."""
        await client_of(stack, hub, Doubler)
        asker = await peer_in(stack, hub, "R")
        for event, data in (("GET_DOUBLE", {"value": 1}), ("GET_FAIL", {}), ("GET_NONE", {})):
            await asker.say(event, "R", {**data, "requestId": "mine"})
            assert (await asker.next("SET_"))[1]["requestId"] == "mine"

    @pytest.mark.parametrize(
        ("event", "data", "code"),
        [
            ("GET_FAIL", None, "broken"),
            ("GET_NONE", {}, "unknown_capability"),
            ("GET_DOUBLE", None, "invalid_payload"),
            ("GET_DOUBLE", [1], "invalid_payload"),
            ("GET_DOUBLE", "text", "invalid_payload"),
            ("GET_DOUBLE", {"value": "two"}, "invalid_payload"),
        ],
    )
    async def test_a_failure_is_a_set_event_too(
        self, hub: StockHub, stack: AsyncExitStack, event: str, data: Any, code: str
    ) -> None:
        """Whatever was sent, the asker is not left waiting."""
        await client_of(stack, hub, Doubler)
        asker = await peer_in(stack, hub, "R")
        await asker.say(event, "R", data)
        name, answer = await asker.next("SET_")
        assert name == event.replace("GET_", "SET_")
        assert (answer["success"], answer["code"]) == (False, code)
        assert isinstance(answer["error"], str)

    async def test_a_second_master_takes_the_room_over(
        self, hub: StockHub, stack: AsyncExitStack
    ) -> None:
        """The first is asked no more, and nobody tells it."""
        first = await client_of(stack, hub, Doubler)
        second = await client_of(stack, hub, Doubler)
        asker = await client_of(stack, hub, InR)
        assert await asker.request("DOUBLE", {"value": 2}, timeout=5) == {"value": 4}
        assert (len(first.requests), len(second.requests)) == (0, 1)


class TestAsker:
    """A Python asker, answered by a master that writes SET_ events by hand."""

    async def test_the_answer_may_have_any_form(self, hub: StockHub, stack: AsyncExitStack) -> None:
        """As the hub spreads it; what says nothing of success has succeeded."""
        master = await peer_in(stack, hub, "R", masters="R")
        asker = await client_of(stack, hub, InR)
        forms: list[tuple[Any, dict[str, Any]]] = [
            ({"a": 1}, {"a": 1}),
            ({"success": True, "a": 1}, {"a": 1}),
            ([1, 2], {"0": 1, "1": 2}),
            (None, {}),
            (7, {}),
        ]
        for sent, got in forms:

            async def answer(_: str, envelope: Any, sent: Any = sent) -> None:
                await master.say("SET_X", envelope["room"], sent)

            master.answer = answer
            assert await asker.request("X", timeout=5) == got

    async def test_an_envelope_that_is_sent_back_is_an_answer(
        self, hub: StockHub, stack: AsyncExitStack
    ) -> None:
        """Stock masters answer by what they got, with another event and other data."""
        master = await peer_in(stack, hub, "R", masters="R")
        asker = await client_of(stack, hub, InR)

        async def answer(_: str, envelope: Any) -> None:
            data = {**envelope["data"], "done": True}
            await master.emit("ROOM_MESSAGE", {**envelope, "event": "SET_X", "data": data})

        master.answer = answer
        assert await asker.request("X", {"a": 1}, timeout=5) == {"a": 1, "done": True}

    async def test_an_error_without_code_is_a_capability_error(
        self, hub: StockHub, stack: AsyncExitStack
    ) -> None:
        """Stock masters send ``{error}`` and no more."""
        master = await peer_in(stack, hub, "R", masters="R")
        asker = await client_of(stack, hub, InR)

        async def answer(_: str, envelope: Any) -> None:
            await master.say("SET_X", "R", {"error": "no such thing"})

        master.answer = answer
        with pytest.raises(CapabilityError, match="no such thing"):
            await asker.request("X", timeout=5)

    async def test_another_s_answer_is_not_taken(
        self, hub: StockHub, stack: AsyncExitStack
    ) -> None:
        """It carries another's mark; the own one comes later, and only then the wait ends."""
        master = await peer_in(stack, hub, "R", masters="R")
        asker = await client_of(stack, hub, InR)

        async def answer(_: str, envelope: Any) -> None:
            own = envelope["data"]["requestId"]
            await master.say("SET_X", "R", {"n": 1, "requestId": "another's"})
            await master.say("SET_X", "R", {"n": 2, "requestId": own})
            await master.say("SET_X", "R", {"n": 3, "requestId": own})

        master.answer = answer
        assert await asker.request("X", timeout=5) == {"n": 2}

    async def test_a_late_answer_is_not_the_next_question_s(
        self, hub: StockHub, stack: AsyncExitStack
    ) -> None:
        """It is marked with the question that was given up."""
        master = await peer_in(stack, hub, "R", masters="R")
        asker = await client_of(stack, hub, InR)
        with pytest.raises(DeadlineExceeded) as caught:
            await asker.request("X", {"n": 1}, timeout=0.05)
        assert caught.value.details == [{"delivered": None}]
        late = (await master.next("GET_X"))[1]["data"]

        async def answer(_: str, envelope: Any) -> None:
            await master.say("SET_X", "R", late)
            await master.say("SET_X", "R", envelope["data"])

        master.answer = answer
        assert await asker.request("X", {"n": 2}, timeout=5) == {"n": 2}

    async def test_two_names_are_asked_at_once(self, hub: StockHub, stack: AsyncExitStack) -> None:
        """Only questions of one name wait for each other."""
        master = await peer_in(stack, hub, "R", masters="R")
        asker = await client_of(stack, hub, InR)

        async def answer(event: str, envelope: Any) -> None:
            if event == "GET_SECOND":  # the first is answered by way of the second
                await master.say("SET_FIRST", "R", {"n": 1})
                await master.say("SET_SECOND", "R", {"n": 2})

        master.answer = answer
        async with asyncio.timeout(5):
            first, second = await asyncio.gather(asker.request("FIRST"), asker.request("SECOND"))
        assert (first, second) == ({"n": 1}, {"n": 2})

    async def test_a_cancelled_question_leaves_nothing_behind(
        self, hub: StockHub, stack: AsyncExitStack
    ) -> None:
        """The next of that name has its turn."""
        await client_of(stack, hub, Doubler)
        asker = await client_of(stack, hub, InR)
        waiting = asyncio.create_task(asker.request("NOBODY", room="R", timeout=60))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert asker._alephscript_session.dialect._waiting == {}
        assert await asker.request("DOUBLE", {"value": 2}, timeout=5) == {"value": 4}

    async def test_a_master_hears_nothing_of_what_it_asks_itself(
        self, hub: StockHub, stack: AsyncExitStack
    ) -> None:
        """The hub leaves the sender out; the time it has is all that it waits."""
        master = await client_of(stack, hub, Doubler)
        with pytest.raises(DeadlineExceeded):
            await master.request("DOUBLE", {"value": 1}, timeout=0.05)
        assert master.requests == []


async def test_the_server_state_is_told_by_core_and_kept_by_zeus(
    hub: StockHub, stack: AsyncExitStack
) -> None:
    """Who is not told learns it in time."""
    client = await client_of(stack, hub, InR, usuario="ada", sesion="1", timeout=1.0)
    if hub.dialect == "core":
        assert "ada" in str(await client.server_state())
    else:
        with pytest.raises(DeadlineExceeded):
            await client.server_state()


async def test_what_stock_hubs_cannot_do_is_absent_and_harms_nothing(
    hub: StockHub, stack: AsyncExitStack
) -> None:
    """An event to be retained is heard by those who are there; members are in core's state."""
    one = await client_of(stack, hub, InR, usuario="one", sesion="1", timeout=1.0)
    two = await client_of(stack, hub, InR, usuario="two", sesion="2", timeout=1.0)
    stream = one.events("R")
    await two.subscribe("R", presence=True)
    if hub.dialect == "core":
        assert sorted(each.usuario for each in await two.members("R")) == ["one", "two"]
        assert await two.members("NOWHERE") == []
    else:
        with pytest.raises(DeadlineExceeded):
            await two.members("R")
    assert await two.broadcast("SAID", 7, room="R", retain=True, confirm=True) is None
    async with asyncio.timeout(5):
        event = await anext(stream)
    assert (event.name, event.data, event.retained, event.position) == ("SAID", 7, False, None)
    assert abs(dt.datetime.now(dt.UTC) - event.at) < dt.timedelta(minutes=1)
    late = await client_of(stack, hub, InR, usuario="late", timeout=1.0)
    heard = late.events("R")
    await late.subscribe("R")
    await late.broadcast("SAID", 8, room="R", confirm=True)
    async with asyncio.timeout(5):
        assert (await anext(heard)).data == 8


async def test_a_listener_to_one_room_hears_what_may_be_from_there(
    hub: StockHub, stack: AsyncExitStack
) -> None:
    """The hub does not say the room, so for who is in two, either may be meant."""
    ears = await client_of(stack, hub, Ears)
    speaker = await peer_in(stack, hub, "R")
    await speaker.say("SAID", "R", {"n": 1})
    async with asyncio.timeout(5):
        heard = dict([await ears.heard.get(), await ears.heard.get()])
    assert set(heard) == {"in order", "at once"}
    assert {(each.room, each.data["n"], each.sender) for each in heard.values()} == {("", 1, "")}


async def test_what_waits_ends_when_the_hub_dies(node: str, stack: AsyncExitStack) -> None:
    """At once, not when its time is over."""
    arguments = ("--port", "0", "--dialect", "core")
    async with node_process(node, "upstream_hub.mjs", *arguments) as process:
        port = (await line_of(process)).removeprefix("listening ")
        hub = StockHub(f"http://127.0.0.1:{port}", "core")
        asker = await client_of(stack, hub, InR)
        waiting = asyncio.create_task(asker.request("NOBODY", timeout=60))
        await asker.server_state()
        process.kill()
        async with asyncio.timeout(5):
            with pytest.raises(RequestError) as caught:
                await waiting
    assert caught.value.code == "link_lost"
