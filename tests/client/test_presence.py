"""Presence, as clients see it: in memory, over websockets, polling and two hubs."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest

from alephscript import (
    AlephScriptClient,
    Event,
    EventStream,
    Member,
    State,
    capability,
    observe,
    on,
)
from alephscript.errors import UnknownEvent
from alephscript.testing import InMemoryMesh
from tests.support.meshes import MeshUnderTest
from tests.support.servers import hub_behind

pytestmark = pytest.mark.anyio

ROOM = "AAIA_ROOM"


class Bot(AlephScriptClient):
    """Masters the room, and is in it."""

    rooms = (ROOM,)

    @capability("ECHO")
    async def echo(self, number: Any) -> Any:
        """Say it again."""
        return number


class Guard(AlephScriptClient):
    """Notes who comes and goes."""

    rooms = observe(ROOM, presence=True)

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.seen: list[Any] = []
        self.changed = asyncio.Event()

    @on("MEMBER_JOINED")
    async def joined(self, event: Event[Member]) -> None:
        """Note it."""
        self.seen.append(event.data)
        self.changed.set()

    @on("MEMBER_LEFT")
    async def left(self, event: Event[dict[str, Any]]) -> None:
        """Note it."""
        self.seen.append((event.data["usuario"], event.data["reason"]))
        self.changed.set()

    async def has_seen(self, count: int) -> list[Any]:
        """What it has noted, when it is so much."""
        async with asyncio.timeout(5):
            while len(self.seen) < count:
                self.changed.clear()
                await self.changed.wait()
        return self.seen


async def change(stream: EventStream) -> tuple[str, Any]:
    """The next change that is heard, and of whom."""
    async with asyncio.timeout(5):
        event = await anext(stream)
    assert event.data["room"] == event.room == ROOM
    word = "+" if event.name == "MEMBER_JOINED" else event.data["reason"]
    return word, event.data["usuario"] + event.data["sesion"]


async def test_whoever_asks_hears_who_comes_and_goes(mesh: MeshUnderTest) -> None:
    """At whichever hub, once each, and knows who is there."""
    watcher = await mesh.open(usuario="watcher", sesion="1")
    stream = watcher.events(ROOM, "MEMBER_JOINED", "MEMBER_LEFT")
    early = await mesh.open(Bot, usuario="early", sesion="1")
    await watcher.subscribe(ROOM, presence=True)
    there = [Member("early", "1"), Member("watcher", "1")]
    assert sorted(await watcher.members(ROOM), key=lambda each: each.usuario) == there
    for number in range(4):
        async with mesh.make(Bot, usuario="bot", sesion=f"{number}") as bot:
            assert await change(stream) == ("+", f"bot{number}")
            assert Member("bot", f"{number}") in await watcher.members(ROOM)
            assert Member("bot", f"{number}") in await early.members(ROOM)
            if number % 2:
                await bot.unsubscribe(ROOM)
                assert await change(stream) == ("unsubscribed", f"bot{number}")
        if not number % 2:
            assert await change(stream) == ("disconnected", f"bot{number}")
    assert len(stream) == 0
    await early.close()
    assert await change(stream) == ("disconnected", "early1")
    assert await watcher.members(ROOM) == [Member("watcher", "1")]


async def test_a_class_says_that_it_wants_to_know(mesh: MeshUnderTest) -> None:
    """On every connection; a member may be read by its contract."""
    guard = await mesh.open(Guard)
    bot = await mesh.open(Bot, usuario="bot", sesion="1")
    assert await guard.has_seen(1) == [Member("bot", "1")]
    await bot.close()
    assert await guard.has_seen(2) == [Member("bot", "1"), ("bot", "disconnected")]


async def test_whoever_does_not_ask_hears_nothing(mesh: MeshUnderTest) -> None:
    """Not even of its neighbours."""
    client = await mesh.open(usuario="client")
    await client.subscribe(ROOM)
    stream = client.events()
    async with mesh.make(Bot, usuario="bot"):
        await client.members(ROOM)
    await client.members(ROOM)
    names = {event.name for _ in range(len(stream)) if (event := stream.take())}
    assert names <= {"MASTER_CHANGED"}


async def test_members_of_a_room_that_there_is_not(mesh: MeshUnderTest) -> None:
    """Nobody is there."""
    client = await mesh.open()
    assert await client.members("NOWHERE") == []


async def test_a_cut_link_is_told_and_so_is_the_way_back() -> None:
    """The watcher's own, too: it asks again, and is told what others do then."""
    async with (
        InMemoryMesh() as mesh,
        Bot(mesh, usuario="bot", sesion="1", backoff=lambda: iter([0.0] * 99)) as bot,
        mesh.observer(ROOM, presence=True) as observer,
    ):
        link: Any = bot._alephscript_session._channel.link  # type: ignore[union-attr]
        link.drop("cut")
        event = await observer.expect("MEMBER_LEFT", usuario="bot", sesion="1", room=ROOM)
        assert event.data["reason"] == "link_lost"
        await observer.expect("MEMBER_JOINED", usuario="bot", sesion="1", room=ROOM)
        await bot.ready()
        await bot.register("other")
        await observer.expect("MEMBER_LEFT", usuario="bot", reason="renamed")
        await observer.expect("MEMBER_JOINED", usuario="other")


@pytest.mark.parametrize("door", ["own port", "uvicorn"])
async def test_a_websocket_that_is_closed_by_the_rules_was_not_lost(door: str) -> None:
    """A stock client for Python says no other goodbye; a page that is left, 1001 alone."""
    goodbyes = {"1000": "disconnected", "1001": "disconnected", "1011": "link_lost"}
    async with (
        hub_behind(door) as hub,
        AlephScriptClient(hub.url) as watcher,
        aiohttp.ClientSession() as http,
    ):
        await watcher.subscribe(ROOM, presence=True)
        stream = watcher.events(ROOM, "MEMBER_LEFT")
        address = f"{hub.url}/socket.io/?EIO=4&transport=websocket"
        for code, reason in goodbyes.items():
            socket = await http.ws_connect(address)
            await enter(socket, code)
            await socket.close(code=int(code))
            assert await change(stream) == (reason, f"stock{code}")
        socket = await http.ws_connect(address)
        await enter(socket, "-1")
        await socket.send_str("1")  # Engine.IO's
        assert await change(stream) == ("disconnected", "stock-1")
        await socket.close()


async def enter(socket: aiohttp.ClientWebSocketResponse, sesion: str) -> None:
    """Come into the room, as a stock client does."""
    await socket.send_str("40/runtime,")
    registration = f'{{"usuario":"stock","sesion":"{sesion}"}}'
    await socket.send_str(f'42/runtime,["CLIENT_REGISTER",{registration}]')
    await socket.send_str(f'42/runtime,1["CLIENT_SUSCRIBE",{{"room":"{ROOM}"}}]')
    while not (await socket.receive_str()).startswith("43/runtime,1"):
        pass


async def test_a_watcher_hears_again_after_its_own_reconnection() -> None:
    """Without asking again."""
    async with (
        InMemoryMesh() as mesh,
        Guard(mesh, backoff=lambda: iter([0.0] * 99)) as guard,
    ):
        await guard.subscribe(ROOM)  # further subscriptions change nothing
        states = guard.states()
        await anext(states)
        mesh.cut()
        assert [await anext(states), await anext(states)] == [State.RECONNECTING, State.READY]
        async with Bot(mesh, usuario="bot", sesion="1"):
            assert await guard.has_seen(1) == [Member("bot", "1")]


async def test_nobody_can_pose_as_the_hub(mesh: MeshUnderTest) -> None:
    """Who comes and goes is the hub's own word."""
    client = await mesh.open()
    for event in ("MEMBER_JOINED", "MEMBER_LEFT"):
        with pytest.raises(UnknownEvent):
            await client.broadcast(event, {"usuario": "x"}, room=ROOM)
