"""What was said in a room, heard again: in memory, over websockets, polling and two hubs."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import Any

import pytest

from alephscript import (
    GAP,
    AlephScriptClient,
    ContractError,
    Event,
    EventStream,
    Gap,
    Position,
    State,
)
from alephscript.hub import Hub
from alephscript.testing import InMemoryMesh
from tests.support.meshes import MeshUnderTest, at_once

pytestmark = pytest.mark.anyio

ROOM = "AAIA_ROOM"


async def next_of(stream: EventStream, count: int) -> list[Any]:
    """The data of the next events, a GAP's as it is."""
    async with asyncio.timeout(10):
        return [(await anext(stream)).data for _ in range(count)]


async def say(speaker: AlephScriptClient, *numbers: int) -> list[Position]:
    """Say these, confirmed, and return where they stand."""
    positions = []
    for number in numbers:
        position = await speaker.broadcast("FIA_STEP", number, room=ROOM, confirm=True)
        assert isinstance(position, Position)
        positions.append(position)
    return positions


async def test_a_confirmed_event_has_a_position_and_can_be_heard_since_then(
    logged: MeshUnderTest,
) -> None:
    """By position, duration, datetime and ISO text; with time, sender and position of each."""
    speaker, reader = await logged.open(usuario="speaker"), await logged.open()
    began = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=1)
    positions = await say(speaker, 1, 2, 3)
    assert positions == sorted(positions)
    assert [Position.parse(str(each)) for each in positions] == positions
    for since in ("10m", began, began.isoformat(), began.replace(tzinfo=None).isoformat() + "Z"):
        stream = reader.events(ROOM, since=since)
        async with asyncio.timeout(10):
            events: list[Event[Any]] = [await anext(stream) for _ in range(3)]
        assert [each.data for each in events] == [1, 2, 3]
        assert [each.position for each in events] == positions
        assert {each.sender for each in events} == {speaker.usuario + speaker.sesion}
        assert all(began < each.at <= dt.datetime.now(dt.UTC) for each in events)
        assert not any(each.retained for each in events)
        assert len(stream) == 0
    assert await next_of(reader.events(ROOM, since=positions[1]), 1) == [3]
    assert await next_of(reader.events(ROOM, since=str(positions[0])), 2) == [2, 3]
    later = reader.events(ROOM, since=began + dt.timedelta(hours=1))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await anext(later)


async def test_what_was_said_is_followed_by_what_is_said(logged: MeshUnderTest) -> None:
    """Whether the client was in the room before, or comes there afterwards."""
    speaker, before, after = [await logged.open() for _ in range(3)]
    await before.subscribe(ROOM)
    positions = await say(speaker, 1, 2)
    streams = [each.events(ROOM, since="1h") for each in (before, after)]
    assert [await next_of(each, 2) for each in streams] == [[1, 2], [1, 2]]
    await say(speaker, 3)
    await after.subscribe(ROOM)
    positions += await say(speaker, 4)
    for stream in streams:
        assert await next_of(stream, 2) == [3, 4]
    plain = before.events(ROOM)
    await say(speaker, 5)
    event = await anext(plain)
    assert event.position is not None
    assert event.position > positions[-1]
    assert event.position == before.position(ROOM)
    assert [await next_of(each, 1) for each in streams] == [[5], [5]]


async def test_names_choose_among_what_was_said(logged: MeshUnderTest) -> None:
    """Nothing else is heard, and nothing is missed for it."""
    speaker, reader = await logged.open(), await logged.open()
    await reader.subscribe(ROOM)
    stream = reader.events(ROOM, "WANTED", since="1h")
    for number in range(6):
        name = "WANTED" if number % 2 else "OTHER"
        await speaker.broadcast(name, number, room=ROOM, confirm=True)
        if number == 3:
            assert await next_of(stream, 2) == [1, 3]
    assert await next_of(stream, 1) == [5]


async def test_a_slow_reader_drops_nothing(logged: MeshUnderTest) -> None:
    """What its buffer has no room for, it reads from the log."""
    speaker, reader = await logged.open(), await logged.open()
    await reader.subscribe(ROOM)
    stream = reader.events(ROOM, since="1h", buffer=3)
    await say(speaker, 0)
    assert await next_of(stream, 1) == [0]
    for number in range(1, 40):
        await speaker.broadcast("FIA_STEP", number, room=ROOM)
    await say(speaker, 40)
    assert await next_of(stream, 40) == list(range(1, 41))
    assert stream.dropped == 0


async def test_a_hub_that_comes_back_goes_on_with_its_positions(logged: MeshUnderTest) -> None:
    """Its readers miss nothing, and hear nothing twice; unless its log was in memory."""
    speaker, reader = await logged.open(), await logged.open()
    await reader.subscribe(ROOM)
    stream = reader.events(ROOM, since="1h")
    (first,) = await say(speaker, 1)
    assert await next_of(stream, 1) == [1]
    await logged.stop()
    await speaker._alephscript_life.until(
        State.RECONNECTING
    )  # else its old link takes what it says
    await logged.start()
    async with asyncio.timeout(10):
        await speaker.ready()
        (second,) = await say(speaker, 2)
        assert await next_of(stream, 1) == [2]
        fresh = await logged.open()
        assert await next_of(fresh.events(ROOM, since=first), 1) == [2]
        if logged.kind != "memory":
            assert second > first


@pytest.mark.parametrize("kind", ["file", "memory"])
async def test_what_is_no_position_of_the_log_is_a_gap(kind: str, tmp_path: Any) -> None:
    """Of another log, or from the future; then comes what is said from then on."""
    data = tmp_path if kind == "file" else None
    async with (
        Hub(port=0, log=[ROOM], data=data) as hub,
        AlephScriptClient(hub.url) as speaker,
        AlephScriptClient(hub.url) as reader,
    ):
        (position,) = await say(speaker, 1)
        await reader.subscribe(ROOM)
        strange = (Position("0f0f.1", 1), Position(position.history, 99), "abc.0.7")
        streams = [reader.events(ROOM, since=each) for each in strange]
        for stream in streams:
            assert await next_of(stream, 1) == [Gap(None)]
        await say(speaker, 2)
        for stream in streams:
            assert await next_of(stream, 1) == [2]


async def test_what_a_room_without_a_log_misses_comes_before_what_it_hears() -> None:
    """Nothing is missing between two events that were heard."""
    async with InMemoryMesh() as mesh, AlephScriptClient(mesh) as client:
        await client.subscribe(ROOM)
        stream = client.events(ROOM, since="10m")
        await client.broadcast("FIA_STEP", 1, room=ROOM, confirm=True)
        assert await next_of(stream, 2) == [Gap(None), 1]
        await client.broadcast("FIA_STEP", 2, room=ROOM, confirm=True)
        assert await next_of(stream, 1) == [2]
        stream = client.events(ROOM, since="10m")
        await client.broadcast("FIA_STEP", 3, room=ROOM, confirm=True)
    assert await next_of(stream, 1) == [3]
    assert await anext(stream, None) is None


async def test_what_is_said_before_a_stream_is_read_is_heard_by_it() -> None:
    """Whatever it reads since: a clock that is ahead of the hub's makes nothing be missed."""
    ahead = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)
    async with InMemoryMesh(log=[ROOM]) as mesh, AlephScriptClient(mesh) as client:
        (position,) = await say(client, 1)
        await client.subscribe(ROOM)
        future, other = Position(position.history, 99), "abc.0.7"
        streams = [client.events(ROOM, since=each) for each in (ahead, future, other)]
        await say(client, 2, 3)
        assert await next_of(streams[0], 2) == [2, 3]
        for stream in streams[1:]:
            assert await next_of(stream, 3) == [Gap(None), 2, 3]
        await say(client, 4)
        for stream in streams:
            assert await next_of(stream, 1) == [4]
            assert len(stream) == 0


@pytest.mark.parametrize("kind", ["file", "memory"])
async def test_what_was_dropped_is_a_gap_with_its_count(kind: str, tmp_path: Any) -> None:
    """As far as it is known: since a time only whether there was any."""
    data = tmp_path if kind == "file" else None
    async with (
        Hub(port=0, log=[ROOM], log_bytes="2k", data=data) as hub,
        AlephScriptClient(hub.url) as speaker,
        AlephScriptClient(hub.url) as reader,
    ):
        positions = await say(speaker, 0, 1)
        for number in range(2, 199):
            await speaker.broadcast("FIA_STEP", number, room=ROOM)
        await say(speaker, 199)
        stream = reader.events(ROOM, since=positions[0])
        gap, first = await next_of(stream, 2)
        assert gap == Gap(first - 1)
        assert first > 100
        assert await next_of(stream, 199 - first) == list(range(first + 1, 200))
        gap, first = await next_of(reader.events(ROOM, since="1h"), 2)
        assert gap == Gap(None)
        (gap,) = await next_of(reader.events(ROOM, GAP, since=positions[1]), 1)
        assert gap.missed >= first - 2


async def test_a_room_without_a_log_is_a_gap_and_then_live() -> None:
    """Of a hub that keeps a history that is what can be heard."""
    async with (
        InMemoryMesh(log=["OTHER"]) as mesh,
        AlephScriptClient(mesh) as speaker,
        AlephScriptClient(mesh) as reader,
    ):
        await reader.subscribe(ROOM)
        stream = reader.events(ROOM, since="10m")
        assert await next_of(stream, 1) == [Gap(None)]
        assert await speaker.broadcast("FIA_STEP", 1, room=ROOM, confirm=True) is None
        assert await next_of(stream, 1) == [1]
    async with (
        InMemoryMesh(history=9) as mesh,
        AlephScriptClient(mesh) as speaker,
        AlephScriptClient(mesh) as reader,
    ):
        await reader.subscribe(ROOM)
        await say(speaker, 1, 2)
        stream = reader.events(ROOM, since="10m")
        assert await next_of(stream, 2) == [1, 2]
        await say(speaker, 3)
        assert await next_of(stream, 1) == [3]


@pytest.mark.parametrize("since", ["soon", "10x", "", 10, True, b"10m", "2026-13-01", {"at": 1}])
async def test_a_time_that_is_none_is_said_at_once(since: Any) -> None:
    """With what would be one."""
    async with InMemoryMesh(log=["*"]) as mesh, AlephScriptClient(mesh) as client:
        with pytest.raises(ContractError, match="10m"):
            client.events(ROOM, since=since)
        with pytest.raises(ContractError, match="room"):
            client.events(since="10m")


async def test_a_client_that_moves_to_another_hub_misses_nothing(shared_redis: Any) -> None:
    """And hears nothing twice: it goes on where it was, from the log that both share."""
    url = shared_redis.url()
    async with (
        Hub(port=0, redis=url, log=["*"]) as one,
        Hub(port=0, redis=url, log=["*"]) as other,
        AlephScriptClient(one.url) as speaker,
        AlephScriptClient(other.url, backoff=at_once) as moving,
    ):
        await moving.subscribe(ROOM)
        plain, stream = moving.events(ROOM), moving.events(ROOM, since="1h")
        await say(speaker, 1, 2)
        assert [await next_of(each, 2) for each in (plain, stream)] == [[1, 2], [1, 2]]
        position = moving.position(ROOM)
        await other.close()
        await say(speaker, 3, 4)
        async with AlephScriptClient(one.url) as moved:
            again = moved.events(ROOM)
            await moved.subscribe(ROOM, since=position)
            assert await next_of(again, 2) == [3, 4]
            await say(speaker, 5)
            assert await next_of(again, 1) == [5]


test_a_client_that_moves_to_another_hub_misses_nothing = pytest.mark.peers(
    test_a_client_that_moves_to_another_hub_misses_nothing
)
