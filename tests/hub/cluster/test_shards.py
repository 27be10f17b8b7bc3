"""Hubs on a Redis Cluster: rooms are spread over its nodes, which move slots and are lost."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from alephscript import AlephScriptClient, Event, EventStream, RequestError, capability
from alephscript.hub import Hub
from tests.support.redis import RedisCluster

pytestmark = [
    *(pytest.mark.anyio, pytest.mark.timeout(60), pytest.mark.peers, pytest.mark.slow),
]

REGISTRY = "{alephscript:0}"


def channel(room: str) -> str:
    """The channel of a room."""
    return f"alephscript:0:in:/runtime\n{room}"


class Bot(AlephScriptClient):
    """Answers, and tells the room."""

    rooms = ("WORK",)

    @capability("X")
    async def x(self, number: int) -> dict[str, Any]:
        """Say it again."""
        await self.broadcast("HAPPENED", number)
        return {"number": number}


Enter = Callable[..., Awaitable[Any]]


@pytest.fixture
async def enter() -> AsyncIterator[Enter]:
    """Opens hubs and clients until the test ends."""
    async with AsyncExitStack() as stack:
        yield stack.enter_async_context


def rooms_of_all(cluster: RedisCluster) -> list[str]:
    """One room for each node."""
    found: dict[int, str] = {}
    for number in range(100):
        found.setdefault(cluster.node_of(channel(f"R{number}")).port, f"R{number}")
    assert len(found) == 3
    return [found[node.port] for node in cluster.nodes]


async def hears(stream: EventStream, said: AlephScriptClient, room: str) -> None:
    """Wait until what is said in a room is heard: again and again, as it may be lost meanwhile."""
    async with asyncio.timeout(20):
        while True:
            await said.broadcast("AGAIN", None, room=room)
            try:
                async with asyncio.timeout(0.1):
                    event: Event[Any] = await anext(stream)
            except TimeoutError:
                continue
            assert event.name == "AGAIN"
            return


async def asks(asker: AlephScriptClient) -> None:
    """Ask across hubs until there is an answer."""
    async with asyncio.timeout(20):
        while True:
            try:
                assert await asker.request("X", 1, timeout=2) == {"number": 1}
            except RequestError:
                await asyncio.sleep(0.05)
            else:
                return


@pytest.mark.parametrize("key", [False, True], ids=["without a key", "with a key"])
async def test_hubs_on_a_cluster_are_one_mesh_and_read_what_concerns_them(
    redis_cluster: RedisCluster, enter: Enter, tmp_path: Path, key: bool
) -> None:
    """Requests, events, retained values, members, tasks; each room is at its node alone."""
    (tmp_path / "key").write_text("key")
    options = {"port": 0, "cluster_key": tmp_path / "key" if key else None}
    urls = [f"redis://127.0.0.1:{node.port}/0" for node in redis_cluster.nodes]
    one, two, three = [await enter(Hub(redis=url, **options)) for url in urls]  # type: ignore[arg-type]
    rooms = rooms_of_all(redis_cluster)
    here = await enter(AlephScriptClient(one.url, usuario="here"))
    there = await enter(AlephScriptClient(two.url, usuario="there"))
    bot = await enter(Bot(three.url, usuario="bot"))
    for room in rooms:
        stream = here.events(room)
        await here.subscribe(room)
        for number in range(50):
            await there.broadcast("E", number, room=room)
        async with asyncio.timeout(10):
            assert [(await anext(stream)).data for _ in range(50)] == list(range(50))
        await there.broadcast("STATE", room, room=room, retain=True)
        async with asyncio.timeout(10):
            assert (await anext(stream)).data == room
    for node, room in zip(redis_cluster.nodes, rooms, strict=True):
        for each in redis_cluster.nodes:
            heard = each.command("pubsub", "shardnumsub", channel(room)).split()[-1]
            assert heard == ("1" if each is node else "0")
        assert "alephscript:0:in" not in node.command("pubsub", "channels", "*")
    answers = await asyncio.gather(*(here.request("X", number) for number in range(100)))
    assert [each["number"] for each in answers] == list(range(100))
    late = await enter(AlephScriptClient(three.url))
    for room in rooms:
        stream = late.events(room)
        await late.subscribe(room)
        async with asyncio.timeout(10):
            assert (await anext(stream)).data == room
    task = await here.submit("X", 5)
    assert await task.result(timeout=10) == {"number": 5}
    assert {each.usuario for each in await there.members("WORK")} == {"bot"}
    await bot.close()
    with pytest.raises(RequestError):
        await here.request("X", 1)
    assert [hub._engine.refusals for hub in (one, two, three)] == [{}, {}, {}]
    keys = [key for node in redis_cluster.nodes for key in node.command("keys", "*").split("\n")]
    assert all(key.startswith(REGISTRY) for key in keys if key)


async def test_a_slot_that_moves_takes_its_rooms_along(
    redis_cluster: RedisCluster, enter: Enter, caplog: pytest.LogCaptureFixture
) -> None:
    """And back; nobody is adrift, and no other room is touched."""
    one, two = [await enter(Hub(port=0, redis=redis_cluster.url)) for _ in "12"]
    moved, stays, _ = rooms_of_all(redis_cluster)
    here, there = await enter(AlephScriptClient(one.url)), await enter(AlephScriptClient(two.url))
    streams = {}
    for room in (moved, stays):
        streams[room] = here.events(room)
        await here.subscribe(room)
        await hears(streams[room], there, room)
    for to in (redis_cluster.nodes[1], redis_cluster.nodes[2], redis_cluster.nodes[0]):
        redis_cluster.move(channel(moved), to)
        await hears(streams[moved], there, moved)
        heard = to.command("pubsub", "shardnumsub", channel(moved)).split()[-1]
        assert heard == "1"
        await there.broadcast("STAYS", None, room=stays)
        async with asyncio.timeout(10):
            while (await anext(streams[stays])).name != "STAYS":
                pass
    assert not [each for each in caplog.messages if "adrift" in each]


async def test_a_node_that_is_lost_costs_its_own_rooms_alone(
    redis_cluster: RedisCluster, enter: Enter, caplog: pytest.LogCaptureFixture
) -> None:
    """As long as it is away; then they are heard again, and whoever comes is not kept waiting."""
    registry = redis_cluster.node_of(REGISTRY)
    one, two = [await enter(Hub(port=0, redis=f"redis://127.0.0.1:{registry.port}")) for _ in "12"]
    lost = next(each for each in redis_cluster.nodes if each is not registry)
    at = dict(zip(redis_cluster.nodes, rooms_of_all(redis_cluster), strict=True))
    here, there = await enter(AlephScriptClient(one.url)), await enter(AlephScriptClient(two.url))
    await enter(Bot(two.url))
    streams = {}
    for node in (lost, registry):
        streams[node] = here.events(at[node])
        await here.subscribe(at[node])
        await hears(streams[node], there, at[node])
    lost.kill()
    await hears(streams[registry], there, at[registry])
    await asks(here)
    async with asyncio.timeout(5):
        await there.subscribe(at[lost])
    assert one._engine.why_not_ready is two._engine.why_not_ready is None
    lost.start()
    await hears(streams[lost], there, at[lost])
    assert not [each for each in caplog.messages if "adrift" in each]
    assert [each for each in caplog.messages if "a node of the Redis cluster is away" in each]
    caplog.clear()


async def test_the_node_of_the_registry_is_lost_and_comes_back(
    redis_cluster: RedisCluster, enter: Enter, caplog: pytest.LogCaptureFixture
) -> None:
    """As a Redis alone: hubs go adrift, find the cluster by other nodes, and are one again."""
    registry = redis_cluster.node_of(REGISTRY)
    one, two = [await enter(Hub(port=0, redis=f"redis://127.0.0.1:{registry.port}")) for _ in "12"]
    here = await enter(AlephScriptClient(one.url))
    await enter(Bot(two.url))
    await asks(here)
    registry.kill()
    async with asyncio.timeout(10):
        while one._engine.why_not_ready != "adrift":  # noqa: ASYNC110 - nobody says when
            await asyncio.sleep(0.01)
    registry.start()
    await asks(here)
    assert one._engine.why_not_ready is two._engine.why_not_ready is None
    caplog.clear()


@pytest.mark.parametrize("lost", [False, True], ids=["by command", "as its node is lost"])
@pytest.mark.parametrize("name", [REGISTRY, "a room"], ids=["the registry", "a room"])
async def test_a_replica_that_is_promoted_is_followed(
    redis_cluster: RedisCluster,
    enter: Enter,
    caplog: pytest.LogCaptureFixture,
    name: str,
    lost: bool,
) -> None:
    """While hubs run: each request has an answer or a reason, and all goes on at the successor."""
    registry = redis_cluster.node_of(REGISTRY)
    at = dict(zip(redis_cluster.nodes, rooms_of_all(redis_cluster), strict=True))
    node = registry if name == REGISTRY else next(each for each in at if each is not registry)
    replica = redis_cluster.add_replica(node)
    urls = [f"redis://127.0.0.1:{each.port}" for each in redis_cluster.nodes]
    one, two = [await enter(Hub(port=0, redis=url)) for url in urls[:2]]
    here, there = await enter(AlephScriptClient(one.url)), await enter(AlephScriptClient(two.url))
    await enter(Bot(two.url))
    stream = here.events(at[node])
    await here.subscribe(at[node])
    await hears(stream, there, at[node])
    ends: Counter[str] = Counter()
    is_over = False

    async def ask() -> None:
        while not is_over:
            try:
                assert await here.request("X", 1, timeout=5) == {"number": 1}
            except RequestError as error:
                ends[error.code] += 1
                await asyncio.sleep(0.01)
            else:
                ends["ok"] += 1

    asking = [asyncio.create_task(ask()) for _ in range(8)]
    await asks(here)
    if lost:
        node.kill()
    else:
        assert replica.command("cluster", "failover") == "OK"
    async with asyncio.timeout(30):  # the others have to notice, and to vote
        while "role:master" not in replica.command("info", "replication"):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    await hears(stream, there, at[node])
    await asks(here)
    before = ends["ok"]
    async with asyncio.timeout(30):
        while ends["ok"] < before + 8:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    is_over = True
    async with asyncio.timeout(10):
        await asyncio.gather(*asking)
    reasons = {"master_lost", "no_master", "overloaded", "deadline_exceeded"}
    assert set(ends) <= {"ok", *reasons}, ends
    if name != REGISTRY:
        assert set(ends) == {"ok"}  # no request goes by there
    async with asyncio.timeout(10):
        while one._engine.why_not_ready or two._engine.why_not_ready:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    caplog.clear()
