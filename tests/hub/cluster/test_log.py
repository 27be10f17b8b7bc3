"""The log that hubs share: one order for all, and what becomes of it when Redis is away."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import attrs
import pytest

from alephscript import AlephScriptClient, EventStream, Gap, Overloaded, Position
from alephscript.hub import Hub
from tests.support.meshes import at_once
from tests.support.redis import RedisCluster, RedisServer

pytestmark = [pytest.mark.anyio, pytest.mark.peers]

ROOM = "AAIA_ROOM"


@pytest.fixture(autouse=True)
def errors_logged() -> None:
    """What goes wrong with Redis is an error of the hub's log."""


@attrs.frozen
class Pair:
    """Two hubs, and a member at each."""

    hubs: tuple[Hub, Hub]
    members: tuple[AlephScriptClient, AlephScriptClient]


@pytest.fixture
async def pair(own_redis: RedisServer) -> AsyncIterator[Pair]:
    """Two hubs on a Redis that the test may stop."""
    async with AsyncExitStack() as stack:
        url = own_redis.url()
        hubs = [await stack.enter_async_context(Hub(port=0, redis=url, log=["*"])) for _ in "ab"]
        members = [
            await stack.enter_async_context(AlephScriptClient(hub.url, backoff=at_once))
            for hub in hubs
        ]
        for each in members:
            await each.subscribe(ROOM)
        yield Pair((hubs[0], hubs[1]), (members[0], members[1]))


async def heard(stream: EventStream, count: int) -> list[Any]:
    """The next events: data and position."""
    async with asyncio.timeout(20):
        events = [await anext(stream) for _ in range(count)]
    return [(each.data, each.position) for each in events]


async def test_all_members_hear_one_order_which_is_the_logs(pair: Pair) -> None:
    """Whichever hub they are at, and whichever hub an event was said at."""
    streams = [each.events(ROOM) for each in pair.members]

    async def speak(member: AlephScriptClient, begin: int) -> None:
        for number in range(begin, begin + 200):
            await member.broadcast("TICK", number, room=ROOM, confirm=number % 20 == 0)
            if number % 7 == 0:
                await asyncio.sleep(0)

    async with asyncio.TaskGroup() as tasks:
        for begin, member in zip((0, 1000), pair.members, strict=True):
            tasks.create_task(speak(member, begin))
    one, other = [await heard(each, 400) for each in streams]
    assert one == other
    numbers = [data for data, _ in one]
    for begin in (0, 1000):
        assert [each for each in numbers if begin <= each < begin + 200] == list(
            range(begin, begin + 200)
        )
    async with AlephScriptClient(pair.hubs[1].url) as reader:
        assert await heard(reader.events(ROOM, since="1h"), 400) == one


async def test_events_go_on_without_redis_and_the_log_says_where_its_hole_is(
    pair: Pair, own_redis: RedisServer
) -> None:
    """Redis stands still for a while; each hub's members hear theirs, without a position."""
    here = pair.members[0]
    plain, since = here.events(ROOM), here.events(ROOM, since="1h")
    await here.broadcast("TICK", 1, room=ROOM, confirm=True)
    for stream in (plain, since):
        ((data, position),) = await heard(stream, 1)
        assert data == 1
        assert isinstance(position, Position)
    own_redis.send(signal.SIGSTOP)
    with pytest.raises(Overloaded, match="Redis is out of reach"):
        await here.broadcast("TICK", 2, room=ROOM, confirm=True)
    assert await heard(plain, 1) == [(2, None)]
    assert await heard(since, 1) == [(2, None)]
    assert "takes nothing" in str(pair.hubs[0]._engine.trouble)
    own_redis.send(signal.SIGCONT)
    async with asyncio.timeout(20):
        for hub in pair.hubs:
            while hub._engine.find_obstacle() is not None:  # noqa: ASYNC110 - it says nothing
                await asyncio.sleep(0.02)
        await here.broadcast("TICK", 3, room=ROOM, confirm=True)
    told = [data for data, _ in await heard(pair.members[1].events(ROOM, since="1h"), 3)]
    # Redis may have done what was asked before it stood still.
    assert told in ([1, Gap(1), 3], [1, 2, Gap(1)])
    assert pair.hubs[0]._engine.trouble is None


async def test_a_redis_that_has_lost_its_data_begins_another_log(
    pair: Pair, own_redis: RedisServer
) -> None:
    """Positions before are known as another log's; members hear on."""
    here, there = pair.members
    before = await here.broadcast("TICK", 1, room=ROOM, confirm=True)
    stream = there.events(ROOM, since="1h")
    assert [data for data, _ in await heard(stream, 1)] == [1]
    own_redis.kill()
    own_redis.start()
    after = None
    async with asyncio.timeout(30):
        while after is None:
            try:
                after = await here.broadcast("TICK", 2, room=ROOM, confirm=True)
            except Overloaded:
                await asyncio.sleep(0.05)
    assert isinstance(before, Position)
    assert isinstance(after, Position)
    assert after.history != before.history
    async with AlephScriptClient(pair.hubs[1].url) as reader:
        again = reader.events(ROOM, since=before)
        assert [data for data, _ in await heard(again, 1)] == [Gap(None)]


async def test_a_log_is_signed_where_hubs_have_a_key(
    own_redis: RedisServer, tmp_path: Path
) -> None:
    """What somebody else puts into a stream, or tells of it, is no event; it leaves a hole."""
    key = tmp_path / "key"
    key.write_text("a secret of hubs\n")
    url = own_redis.url()
    database = url.rpartition("/")[2]
    options: dict[str, Any] = {"redis": url, "log": [ROOM], "cluster_key": key}
    async with (
        Hub(port=0, **options) as one,
        Hub(port=0, **options) as other,
        AlephScriptClient(one.url) as speaker,
        AlephScriptClient(other.url) as listener,
    ):
        await listener.subscribe(ROOM)
        live = listener.events(ROOM)
        await speaker.broadcast("TICK", 1, room=ROOM, confirm=True)
        assert [data for data, _ in await heard(live, 1)] == [1]
        (stream,) = own_redis.command("-n", database, "keys", "*log:of:*").split(":", 1)[1:]
        assert stream
        item = '["TICK","forged","speaker",1,"mx",1]'
        name = f"alephscript:{database}"
        field = f"/runtime\n{ROOM}"
        own_redis.command(
            *("-n", database, "xadd", f"{name}:log:of:{field}", "0-2"),
            *("e", item, "a", "1", "l", "0", "s", "10"),
        )
        own_redis.command("-n", database, "hset", f"{name}:log:last", field, "2")
        own_redis.command("-n", database, "publish", f"{name}:in:{field}", f"Lx\n2\n0\n{item}")
        await speaker.broadcast("TICK", 3, room=ROOM, confirm=True)
        assert [data for data, _ in await heard(live, 1)] == [3]
        async with AlephScriptClient(other.url) as reader:
            told = [data for data, _ in await heard(reader.events(ROOM, since="1970-01-01"), 3)]
        assert told == [1, Gap(1), 3]
        assert other._engine.refusals["hub_signature"] >= 1


async def test_what_redis_refuses_is_said_at_once(pair: Pair, own_redis: RedisServer) -> None:
    """As its memory is full; nobody waits for an answer that never comes."""
    own_redis.command("config", "set", "maxmemory", "1")
    async with asyncio.timeout(5):
        with pytest.raises(Overloaded):
            await pair.members[0].broadcast("TICK", 1, room=ROOM, confirm=True)
    own_redis.command("config", "set", "maxmemory", "0")
    async with asyncio.timeout(10):
        while pair.hubs[0]._engine.why_not_ready:  # noqa: ASYNC110 - nobody says when
            await asyncio.sleep(0.01)
    await pair.members[0].broadcast("TICK", 2, room=ROOM, confirm=True)


@pytest.mark.parametrize("is_there", [True, False], ids=["there", "not there"])
async def test_an_event_of_which_redis_has_said_nothing_yet_is_heard_once(
    pair: Pair, is_there: bool
) -> None:
    """Its hub looks for it when the link stands again, and puts it there if it is not."""
    here, there = (each.events(ROOM) for each in pair.members)
    assert pair.hubs[0]._membership is not None
    registry: Any = pair.hubs[0]._membership.cluster._registry
    commands = registry._commands
    if is_there:
        commands.pause()
    else:
        commands.send = commands.awaited.extend
    saying = asyncio.create_task(pair.members[0].broadcast("TICK", 1, room=ROOM, confirm=True))
    if is_there:
        assert [data for data, _ in await heard(there, 1)] == [1]
    else:
        async with asyncio.timeout(10):
            while not commands.awaited:  # noqa: ASYNC110 - until it was as good as sent
                await asyncio.sleep(0.01)
    commands.fail(ConnectionError("cut"))
    async with asyncio.timeout(10):
        position = await saying
    await pair.members[1].broadcast("TICK", 2, room=ROOM, confirm=True)
    assert [data for data, _ in await heard(there, 2 - is_there)] == [1, 2][is_there:]
    told = await heard(here, 2)
    assert [data for data, _ in told] == [1, 2]
    assert told[0][1] == position


async def _speak(member: AlephScriptClient, number: int, confirmed: list[int]) -> None:
    while True:
        number += 1
        with contextlib.suppress(Overloaded):
            await member.broadcast("TICK", number, room=ROOM, confirm=True)
            confirmed.append(number)
        await asyncio.sleep(0.001)


async def _hear(stream: EventStream) -> list[int]:
    """What the log has of a stream until END."""
    told: list[int] = []
    async with asyncio.timeout(20):
        async for event in stream:
            if event.name == "END":
                break
            if event.name == "TICK" and event.position is not None:
                told.append(event.data)
    return told


@pytest.mark.slow
@pytest.mark.parametrize("key", [False, True], ids=["without a key", "with a key"])
async def test_a_cluster_keeps_a_log_whose_slot_may_move(
    redis_cluster: RedisCluster, tmp_path: Path, key: bool
) -> None:
    """All hear one order, with all that was confirmed in it."""
    (tmp_path / "key").write_text("a secret of hubs")
    options: dict[str, Any] = {
        "redis": redis_cluster.url,
        "log": [ROOM],
        "cluster_key": tmp_path / "key" if key else None,
    }
    async with AsyncExitStack() as stack:
        hubs = [await stack.enter_async_context(Hub(port=0, **options)) for _ in "ab"]
        members = [await stack.enter_async_context(AlephScriptClient(hub.url)) for hub in hubs]
        for each in members:
            await each.subscribe(ROOM)
        streams = [each.events(ROOM) for each in members]
        confirmed: list[int] = []
        speaking = [
            asyncio.create_task(_speak(each, 100_000 * number, confirmed))
            for number, each in enumerate(members, 1)
        ]
        for to in (*redis_cluster.nodes[1:], None):
            enough = len(confirmed) + 100
            async with asyncio.timeout(20):
                while len(confirmed) < enough:  # noqa: ASYNC110 - until all goes on again
                    await asyncio.sleep(0.01)
            if to is not None:
                await asyncio.to_thread(redis_cluster.move, "{alephscript:0}", to)
        for task in speaking:
            task.cancel()
        await asyncio.gather(*speaking, return_exceptions=True)
        await members[0].broadcast("END", None, room=ROOM, confirm=True)
        told = [await _hear(each) for each in streams]
        kept = await _hear(members[1].events(ROOM, since="1h"))
        assert set(confirmed) <= set(kept)
        assert told == [kept, kept]
        assert [hub._engine.refusals for hub in hubs] == [{}, {}]
