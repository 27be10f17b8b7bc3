"""Saying and hearing: listeners, streams, rooms."""

from __future__ import annotations

import asyncio
from typing import Any

import attrs
import pytest

from alephscript import (
    AlephScriptClient,
    Event,
    EventStream,
    InvalidPayload,
    Request,
    StateError,
    capability,
    observe,
    on,
)
from alephscript.client.jobs import current_job

pytestmark = pytest.mark.anyio


@attrs.frozen
class Move:
    """A step somebody made."""

    by_whom: str
    steps: int


async def take(stream: EventStream, count: int) -> list[Event[Any]]:
    """The next events of a stream, soon."""
    async with asyncio.timeout(5):
        return [await anext(stream) for _ in range(count)]


class Ear(AlephScriptClient):
    """Notes what it hears."""

    rooms = observe("ROOM", "OTHER")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.heard: list[Any] = []
        self.changed = asyncio.Event()

    def note(self, what: Any) -> None:
        """Note something."""
        self.heard.append(what)
        self.changed.set()

    async def has_heard(self, count: int) -> list[Any]:
        """What it heard, once it is so much."""
        async with asyncio.timeout(5):
            while len(self.heard) < count:
                self.changed.clear()
                await self.changed.wait()
        return self.heard


class Typed(Ear):
    """Listens to contracts, and to one room."""

    @on("MOVE")
    async def move(self, event: Event[Move]) -> None:
        """Hear a move."""
        self.note(event)

    @on("NOISE", room="OTHER")
    async def noise(self, event: Event[Any]) -> None:
        """Hear noise in the other room only."""
        self.note((event.room, event.data))


class Touchy(Ear):
    """Fails on some events."""

    @on("SAY")
    async def say(self, event: Event[Any]) -> None:
        """Fail on what is bad."""
        if event.data == "bad":
            raise ValueError("I do not like this")
        if event.data == "cancelled":
            inner = asyncio.get_running_loop().create_future()
            inner.cancel()
            await inner
        self.note(event.data)

    @on("SAY_UNORDERED", ordered=False)
    async def say_unordered(self, event: Event[Any]) -> None:
        """Fail likewise, in a task of its own."""
        await self.say(event)


class Crowd(Ear):
    """Handles events at once, in any order, and in threads."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.all_here = asyncio.Barrier(3)

    @on("COME", ordered=False)
    async def come(self, event: Event[Any]) -> None:
        """Wait for the others: one after the other would never end."""
        async with self.all_here:
            self.note(event.data)

    @on("THREAD")
    def in_a_thread(self, event: Event[Any]) -> None:
        """Hear in a worker thread."""
        self.heard.append(event.data)


async def test_two_hundred_events_come_in_the_order_they_were_said(mesh: Any) -> None:
    """To a listener, to a stream, and to who says them."""

    class Counter(Ear):
        @on("COUNT")
        async def count(self, event: Event[Any]) -> None:
            if event.data % 3 == 0:
                await asyncio.sleep(0)
            self.note(event.data)

    ear = await mesh.open(Counter)
    speaker = await mesh.open()
    await speaker.subscribe("ROOM")
    with_own, streamed = speaker.events(), ear.events("ROOM", "COUNT")
    for number in range(200):
        await speaker.broadcast("COUNT", number)
    assert await ear.has_heard(200) == list(range(200))
    assert [event.data for event in await take(streamed, 200)] == list(range(200))
    assert [event.data for event in await take(with_own, 200)] == list(range(200))


async def test_a_typed_listener_gets_contracts(mesh: Any) -> None:
    """Data that do not fit are logged and passed over; the event says who and where."""
    ear = await mesh.open(Typed)
    speaker = await mesh.open(usuario="speaker", sesion="1")
    await speaker.broadcast("MOVE", {"byWhom": "a", "steps": "many"}, room="ROOM")
    await speaker.broadcast("MOVE", Move("a", 2), room="ROOM")
    (event,) = await ear.has_heard(1)
    assert event == Event("ROOM", "MOVE", Move("a", 2), "speaker1")


async def test_a_listener_may_hear_one_room_only(mesh: Any) -> None:
    """What is said elsewhere does not reach it."""
    ear = await mesh.open(Typed)
    speaker = await mesh.open()
    await speaker.broadcast("NOISE", 1, room="ROOM")
    await speaker.broadcast("NOISE", 2, room="OTHER")
    assert await ear.has_heard(1) == [("OTHER", 2)]


async def test_unordered_listeners_run_at_once(mesh: Any) -> None:
    """Three wait for one another."""
    crowd = await mesh.open(Crowd)
    speaker = await mesh.open()
    for number in range(3):
        await speaker.broadcast("COME", number, room="ROOM")
    assert sorted(await crowd.has_heard(3)) == [0, 1, 2]


async def test_a_plain_listener_runs_in_a_thread(mesh: Any) -> None:
    """In order all the same."""
    crowd = await mesh.open(Crowd)
    speaker = await mesh.open()
    for number in range(3):
        await speaker.broadcast("THREAD", number, room="ROOM")
    async with asyncio.timeout(5):
        while len(crowd.heard) < 3:
            await speaker.server_state()
    assert crowd.heard == [0, 1, 2]


@pytest.mark.parametrize("event", ["SAY", "SAY_UNORDERED"])
@pytest.mark.parametrize("bad", ["bad", "cancelled"])
async def test_a_raising_listener_costs_only_its_event(
    mesh: Any, event: str, bad: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The next event is heard; the failure is logged."""
    ear = await mesh.open(Touchy)
    speaker = await mesh.open()
    for what in (bad, "good"):
        await speaker.broadcast(event, what, room="ROOM")
    assert await ear.has_heard(1) == ["good"]
    assert "failed on an event" in caplog.text


async def test_a_stream_takes_its_room_and_its_names(mesh: Any) -> None:
    """Others pass it by."""
    ear = await mesh.open(Ear)
    speaker = await mesh.open()
    room, names = ear.events("ROOM"), ear.events(None, "A", "B")
    for where, what in (("OTHER", "A"), ("ROOM", "C"), ("ROOM", "B")):
        await speaker.broadcast(what, {"n": 1}, room=where)
    assert [(e.room, e.name) for e in await take(room, 2)] == [("ROOM", "C"), ("ROOM", "B")]
    assert [(e.room, e.name) for e in await take(names, 2)] == [("OTHER", "A"), ("ROOM", "B")]


async def test_a_full_stream_drops_its_oldest_and_counts(mesh: Any) -> None:
    """What is read late is the latest."""
    ear = await mesh.open(Ear)
    speaker = await mesh.open()
    small, whole = ear.events("ROOM", buffer=2), ear.events("ROOM")
    for number in range(5):
        await speaker.broadcast("N", number, room="ROOM")
    await take(whole, 5)
    assert [event.data for event in await take(small, 2)] == [3, 4]
    assert small.dropped == 3


async def test_a_stream_ends_when_its_client_closes(mesh: Any) -> None:
    """After what it holds; one that is asked for later ends at once."""
    ear = await mesh.open(Ear)
    speaker = await mesh.open()
    stream, whole = ear.events(), ear.events()
    await speaker.broadcast("N", 1, room="ROOM")
    await take(whole, 1)
    waiting = asyncio.create_task(anext(whole, None))
    await ear.close()
    async with asyncio.timeout(5):
        assert [event.data async for event in stream] == [1]
        assert await waiting is None
        assert [event async for event in ear.events()] == []


async def test_a_stream_of_a_client_that_was_never_open_ends_with_it(mesh: Any) -> None:
    """Closing is closing."""
    client = mesh.make()
    stream = client.events()
    await client.close()
    async with asyncio.timeout(5):
        assert [event async for event in stream] == []


async def test_what_was_said_right_before_closing_arrives(mesh: Any) -> None:
    """Closing is no way to lose events."""
    ear = await mesh.open(Ear)
    stream = ear.events()
    speaker = await mesh.open()
    for number in range(20):
        await speaker.broadcast("BYE", number, room="ROOM")
    await speaker.close()
    assert [event.data for event in await take(stream, 20)] == list(range(20))


async def test_what_the_hub_confirms_is_no_event(mesh: Any) -> None:
    """SUSCRIBE_OK, room_joined, room_left and SET_SERVER_STATE were said in no room."""
    ear = await mesh.open(Ear)
    stream = ear.events()
    await ear.subscribe("THIRD")
    await ear.server_state()
    await ear.unsubscribe("THIRD")
    await ear.broadcast("ONLY", room="ROOM")
    assert [event.name for event in await take(stream, 1)] == ["ONLY"]


async def test_who_unsubscribes_hears_no_more(mesh: Any) -> None:
    """The other room goes on."""
    ear = await mesh.open(Ear)
    speaker = await mesh.open()
    stream = ear.events()
    await ear.unsubscribe("ROOM")
    await speaker.broadcast("N", 1, room="ROOM")
    await speaker.broadcast("N", 2, room="OTHER")
    assert [event.data for event in await take(stream, 1)] == [2]


async def test_one_says_something_in_the_first_of_its_rooms(mesh: Any) -> None:
    """Or says where."""
    ear = await mesh.open(Ear)
    stream = ear.events()
    await ear.broadcast("HERE")
    assert [(e.room, e.data) for e in await take(stream, 1)] == [("ROOM", None)]
    outsider = await mesh.open()
    with pytest.raises(StateError, match="room="):
        await outsider.broadcast("HERE")
    with pytest.raises(InvalidPayload):
        await outsider.broadcast("HERE", room="")


async def test_a_listener_inherits_no_deadline_from_who_speaks(mesh: Any) -> None:
    """What a capability says while it serves is an event like any other."""

    class Speaker(AlephScriptClient):
        rooms = ("STAGE",)

        @capability("SPEAK")
        async def speak(self, request: Request[Any]) -> None:
            await self.broadcast("SPOKEN", room="ROOM")

    class Clock(Ear):
        @on("SPOKEN")
        async def ordered(self, event: Event[Any]) -> None:
            self.note(current_job.get())

        @on("SPOKEN", ordered=False)
        async def unordered(self, event: Event[Any]) -> None:
            self.note(current_job.get())

    clock = await mesh.open(Clock)
    await mesh.open(Speaker)
    client = await mesh.open()
    await client.request("SPEAK", timeout=3)
    assert await clock.has_heard(2) == [None, None]


async def test_a_listener_may_ask_and_a_listener_may_close(mesh: Any) -> None:
    """Neither blocks itself."""

    class Asker(Ear):
        @on("ASK")
        async def ask(self, event: Event[Any]) -> None:
            self.note(len(await self.server_state()) > 0)

        @on("LEAVE")
        async def leave(self, event: Event[Any]) -> None:
            await self.close()

    asker = await mesh.open(Asker)
    speaker = await mesh.open()
    await speaker.broadcast("ASK", 0, room="ROOM")
    await asker.has_heard(1)
    await speaker.broadcast("LEAVE", room="ROOM")
    async with asyncio.timeout(5):
        await asker.run_forever()
