"""Retained values, as clients see them: in memory, over websockets, polling and two hubs."""

from __future__ import annotations

import asyncio
import datetime as dt
from contextlib import AsyncExitStack
from typing import Any

import attrs
import pytest

from alephscript import (
    AlephScriptClient,
    DeadlineExceeded,
    Event,
    EventStream,
    LimitExceeded,
    NotConnected,
    Position,
    State,
    StateError,
    observe,
    on,
)
from alephscript.hub import Hub, HubError
from alephscript.sync import AlephScriptClient as Blocking
from alephscript.testing import InMemoryMesh
from tests.support.meshes import MeshUnderTest
from tests.support.peers import Stock

pytestmark = pytest.mark.anyio

ROOM = "AAIA_ROOM"


@attrs.frozen
class World:
    """The state of a world."""

    tick: int


class Late(AlephScriptClient):
    """An observer that comes when all has been said."""

    rooms = observe(ROOM)

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.heard: list[Event[World]] = []
        self.has_heard = asyncio.Event()

    @on("MUNDO_STATE")
    async def world(self, event: Event[World]) -> None:
        """Note it."""
        self.heard.append(event)
        self.has_heard.set()


def unread(stream: EventStream) -> list[tuple[str, Any, bool]]:
    """What has come so far."""
    events = [stream.take() for _ in range(len(stream))]
    return [(each.name, each.data, each.retained) for each in events if each is not None]


async def cut(mesh: Any, *clients: AlephScriptClient) -> None:
    """Cut all links, and wait until these clients are back."""
    lives = [each.states() for each in clients]
    for states in lives:
        await anext(states)
    mesh.cut()
    for states in lives:
        assert [await anext(states), await anext(states)] == [State.RECONNECTING, State.READY]


async def said(speaker: AlephScriptClient) -> None:
    """All that this client has said has reached all hubs: it hears of itself by each of them."""
    await speaker.members(ROOM)


async def test_a_late_observer_has_the_last_values(mesh: MeshUnderTest) -> None:
    """By the time that its subscription is confirmed, with sender and time; None forgets."""
    authority = await mesh.open(usuario="authority")
    began = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=1)
    for tick in range(3):
        await authority.broadcast("MUNDO_STATE", World(tick), room=ROOM, retain=True)
    await authority.broadcast("WEATHER", "rain", room=ROOM, retain=True)
    await authority.broadcast("FIA_STEP", 1, room=ROOM)
    await said(authority)
    late = await mesh.open()
    stream = late.events(ROOM)
    await late.subscribe(ROOM)
    event = stream.take()
    assert event is not None
    assert event == Event(ROOM, "MUNDO_STATE", {"tick": 2}, _name(authority), retained=True)
    assert began < event.at <= dt.datetime.now(dt.UTC)
    assert unread(stream) == [("WEATHER", "rain", True)]
    await authority.broadcast("MUNDO_STATE", None, room=ROOM, retain=True)
    event = await anext(stream)
    assert (event.data, event.retained) == (None, False)
    again = await mesh.open()
    stream = again.events(ROOM)
    await again.subscribe(ROOM)
    assert unread(stream) == [("WEATHER", "rain", True)]


async def test_listeners_are_told_by_contract_and_before_what_comes_then(
    mesh: MeshUnderTest,
) -> None:
    """The class's own rooms are subscribed to while the client opens."""
    authority = await mesh.open(usuario="authority")
    await authority.broadcast("MUNDO_STATE", World(1), room=ROOM, retain=True)
    await said(authority)
    late = await mesh.open(Late)
    await authority.broadcast("MUNDO_STATE", World(2), room=ROOM, retain=True)
    async with asyncio.timeout(5):
        while len(late.heard) < 2:
            late.has_heard.clear()
            await late.has_heard.wait()
    assert [(each.data, each.retained) for each in late.heard] == [
        (World(1), True),
        (World(2), False),
    ]


async def test_values_are_heard_in_order_however_fast_they_change(mesh: MeshUnderTest) -> None:
    """Whoever comes in the midst misses nothing after its first value, and hears none twice."""
    authority = await mesh.open(usuario="authority")
    late = [await mesh.open() for _ in range(4)]
    streams = [each.events(ROOM, "MUNDO_STATE") for each in late]

    async def tick() -> None:
        for number in range(300):
            await authority.broadcast("MUNDO_STATE", number, room=ROOM, retain=True)
            if number % 10 == 0:
                await asyncio.sleep(0)

    ticking = asyncio.create_task(tick())
    for each in late:
        await each.subscribe(ROOM)
    await ticking
    async with asyncio.timeout(10):
        for stream in streams:
            numbers = [(await anext(stream)).data]
            while numbers[-1] != 299:
                numbers.append((await anext(stream)).data)
            assert numbers == list(range(numbers[0], 300))


@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_stock_clients_retain_and_are_told(transport: str) -> None:
    """As `ROOM_MESSAGE {retain: true}`, and as a plain event; of presence, too."""
    message = {"event": "MUNDO_STATE", "room": ROOM, "data": {"tick": 1}, "retain": True}
    subscription = {"room": ROOM, "presence": True}
    async with Hub(port=0) as hub, AsyncExitStack() as stack:
        stock, late = Stock("/runtime"), Stock("/runtime")
        for peer in (stock, late):
            options: Any = {"namespaces": ["/runtime"], "transports": [transport]}
            await peer.sio.connect(hub.url, **options)
            stack.push_async_callback(peer.leave)
        await stock.call("ROOM_MESSAGE", message)
        await late.call("CLIENT_SUSCRIBE", subscription)
        assert await late.next() == ("MUNDO_STATE", {"tick": 1})
        await stock.call("CLIENT_REGISTER", {"usuario": "stock", "sesion": "1"})
        await stock.call("CLIENT_SUSCRIBE", subscription)
        member = {"room": ROOM, "usuario": "stock", "sesion": "1"}
        assert await late.next("MEMBER_JOINED") == ("MEMBER_JOINED", member)
        answer = await stock.call("GET_MEMBERS", subscription)
        assert answer["members"] == [
            {"usuario": "--", "sesion": ""},
            {"usuario": "stock", "sesion": "1"},
        ]
        await stock.leave()
        _, gone = await late.next("MEMBER_LEFT")
        # Its websocket may be closed before its goodbye has been sent.
        assert gone.pop("reason") in ("disconnected", "link_lost")
        assert gone == member


async def test_a_reconnection_brings_the_last_value() -> None:
    """It may have changed meanwhile."""
    options: Any = {"backoff": lambda: iter([0.0] * 99)}
    async with (
        InMemoryMesh() as mesh,
        AlephScriptClient(mesh, **options) as authority,
        Late(mesh, **options) as late,
    ):
        await authority.broadcast("MUNDO_STATE", World(1), room=ROOM, retain=True)
        await said(authority)
        await cut(mesh, late, authority)
        await said(authority)
        async with asyncio.timeout(5):
            while [each.retained for each in late.heard] != [False, True]:
                late.has_heard.clear()
                await late.has_heard.wait()


async def test_a_broadcast_that_waits_for_the_link_is_retained_then() -> None:
    """What is kept while there is none keeps its wish."""
    async with (
        InMemoryMesh() as mesh,
        AlephScriptClient(mesh, when_offline="wait", backoff=lambda: iter([0.0] * 99)) as authority,
    ):
        states = authority.states()
        await anext(states)
        mesh.cut()
        assert await anext(states) is State.RECONNECTING
        await authority.broadcast("MUNDO_STATE", 1, room=ROOM, retain=True)
        assert await anext(states) is State.READY
        await said(authority)
        async with AlephScriptClient(mesh) as late:
            stream = late.events(ROOM)
            await late.subscribe(ROOM)
            assert unread(stream) == [("MUNDO_STATE", 1, True)]


async def test_a_confirmed_broadcast_is_at_the_hub(mesh: MeshUnderTest) -> None:
    """Whoever subscribes at that hub then is told it; without a history there is no position."""
    authority = await mesh.open(usuario="authority")
    said_at = await authority.broadcast("MUNDO_STATE", 1, room=ROOM, retain=True, confirm=True)
    assert said_at is None
    await mesh.open()  # at the other hub, where there are two
    late = await mesh.open()
    stream = late.events(ROOM)
    await late.subscribe(ROOM)
    assert unread(stream) == [("MUNDO_STATE", 1, True)]


async def test_a_refusal_is_told_to_whoever_wants_a_confirmation(mesh: MeshUnderTest) -> None:
    """With a sentence that says what to do; without that wish it is counted at the hub."""
    authority = await mesh.open(usuario="authority")
    big = "x" * 600_000
    await authority.broadcast("A", big, room=ROOM, retain=True, confirm=True)
    with pytest.raises(LimitExceeded, match="forget some"):
        await authority.broadcast("B", big, room=ROOM, retain=True, confirm=True)
    await authority.broadcast("B", big, room=ROOM, retain=True)
    await authority.broadcast("B", big, room=ROOM, confirm=True)


@pytest.mark.parametrize("real", [False, True], ids=["memory", "hub"])
async def test_a_confirmed_broadcast_has_the_position_that_its_event_has(real: bool) -> None:
    """Where the hub keeps a history: a client that comes there goes on from it."""
    async with AsyncExitStack() as stack:
        opened: Any = Hub(port=0, history=9) if real else InMemoryMesh(history=9)
        hub = await stack.enter_async_context(opened)
        where = hub.url if real else hub
        speaker = await stack.enter_async_context(AlephScriptClient(where))
        late = await stack.enter_async_context(AlephScriptClient(where))
        await speaker.subscribe(ROOM)
        stream = speaker.events(ROOM)
        for number in range(3):
            position = await speaker.broadcast("SAID", number, room=ROOM, confirm=True)
            event = await anext(stream)
            assert (event.data, event.position) == (number, position)
            assert isinstance(position, Position)
            assert position.number == number + 1
        stream = late.events(ROOM)
        assert position is not None
        await late.subscribe(ROOM, since=attrs.evolve(position, number=1))
        assert unread(stream) == [("SAID", 1, False), ("SAID", 2, False)]


async def test_a_confirmation_waits_for_the_link_no_longer_than_a_request() -> None:
    """Or fails at once, as a request does."""
    async with InMemoryMesh() as mesh:
        for when, error in (("fail", NotConnected), ("wait", DeadlineExceeded)):
            options: Any = {"when_offline": when, "timeout": 0.05}
            async with AlephScriptClient(mesh, **options) as client:
                states = client.states()
                await anext(states)
                await mesh.kill()
                assert await anext(states) is State.RECONNECTING
                with pytest.raises(error):
                    await client.broadcast("SAID", 1, room=ROOM, confirm=True)
            await mesh.restart()


async def test_a_mesh_that_died_has_forgotten() -> None:
    """Its memory is the hub's."""
    async with InMemoryMesh(retain=[f"{ROOM}:*"]) as mesh:
        async with AlephScriptClient(mesh) as authority:
            await authority.broadcast("MUNDO_STATE", 1, room=ROOM)
            await said(authority)
        for kept in ([("MUNDO_STATE", 1, True)], []):
            async with AlephScriptClient(mesh) as late:
                stream = late.events(ROOM)
                await late.subscribe(ROOM)
                assert unread(stream) == kept
            await mesh.kill()
            await mesh.restart()


async def test_a_hub_retains_what_it_is_told_to() -> None:
    """For authorities that know nothing of it; a rule that says nothing is refused."""
    rule = f"{ROOM}:MUNDO_STATE"
    async with Hub(port=0, retain=[rule]) as hub, AlephScriptClient(hub.url) as authority:
        await authority.broadcast("MUNDO_STATE", 1, room=ROOM)
        await authority.broadcast("FIA_STEP", 1, room=ROOM)
        await said(authority)
        stream = authority.events(ROOM)
        await authority.subscribe(ROOM)
        assert unread(stream) == [("MUNDO_STATE", 1, True)]
    for rule in (f"{ROOM}", "*:MUNDO_STATE"):
        with pytest.raises(HubError, match=r"is not ROOM:EVENT"):
            Hub(retain=[rule])


async def test_an_event_is_equal_to_another_one_that_says_the_same() -> None:
    """Whenever that was; its time is one whatever a hub says."""
    one, two = Event("R", "E", 1, "s", sent=1.5), Event("R", "E", 1, "s", sent=1e300)
    assert one == two
    assert hash(one) == hash(two)
    assert one != Event("R", "E", 1, "s", retained=True)
    assert one != 1
    assert one.at == dt.datetime(1970, 1, 1, 0, 0, 1, 500_000, tzinfo=dt.UTC)
    assert two.at.year == 9999


def test_code_that_blocks_does_it_too() -> None:
    """The same words without await."""
    with pytest.raises(StateError):
        Blocking("http://127.0.0.1:1").members(ROOM)


async def test_a_blocking_client_retains() -> None:
    """And finds out who is there."""

    def block(url: str) -> list[Any]:
        with Blocking(url, usuario="me", sesion="1") as client:
            assert client.broadcast("MUNDO_STATE", 1, room=ROOM, retain=True, confirm=True) is None
            events = client.events(ROOM)
            client.subscribe(ROOM, presence=True)
            event = events.next(timeout=5)
            assert event is not None
            return [event.data, event.retained, *client.members(ROOM)]

    async with Hub(port=0) as hub:
        data, retained, member = await asyncio.to_thread(block, hub.url)
    assert (data, retained, member.usuario, member.sesion) == (1, True, "me", "1")


def _name(client: AlephScriptClient) -> str:
    return client.usuario + client.sesion
