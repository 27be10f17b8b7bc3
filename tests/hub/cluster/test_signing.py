"""With a key of the cluster, what no hub has signed for its place and its time counts nowhere."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, strategies as st
from redis import Redis

from alephscript import AlephScriptClient, NoMaster, UnknownTask, capability
from alephscript.hub import Hub, HubError
from alephscript.hub.cluster.signing import OPEN, Freshness, Seals, Untrusted, read_keys
from tests.support.processes import Start

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]

KINDS = ("message", "master")
PLACES = st.text(max_size=8)


@given(st.sampled_from(KINDS), PLACES, st.binary(max_size=40), st.integers(0, 200))
def test_a_signature_is_right_for_its_kind_place_and_text_alone(
    kind: str, place: str, text: bytes, at: int
) -> None:
    """And by one of the keys: no other place, no other kind, and no byte of another value."""
    seals, others = Seals([b"one", b"two"]), Seals([b"three"])
    for sign, verify in ((seals.sign, seals.verify), (seals.sign_once, seals.verify_once)):
        signed = sign(kind, place, text)
        read = verify(kind, place, signed)
        assert (read if isinstance(read, bytes) else read[1]) == text
        at %= len(signed)
        changed = signed[:at] + bytes([signed[at] ^ 1]) + signed[at + 1 :]
        cases: list[tuple[Seals, str, str, bytes]] = [
            (seals, KINDS[kind == KINDS[0]], place, signed),
            (seals, kind, place + "x", signed),
            (seals, kind, place, changed),
            (seals, kind, place, signed[:at]),
            (others, kind, place, signed),
            (OPEN, kind, place, signed),
        ]
        for reader, *wrong in cases:
            with pytest.raises(Untrusted):
                reader.verify(*wrong)  # type: ignore[arg-type]


@given(st.binary(max_size=80))
def test_any_bytes_without_a_signature_are_refused(data: bytes) -> None:
    """Nothing else is raised."""
    for each in (data, b"*" + data, b"*" + b"0" * 32 + data):
        with pytest.raises(Untrusted):
            Seals([b"one"]).verify_once("message", "x", each)


def test_the_first_key_signs_and_each_is_accepted(tmp_path: Path) -> None:
    """So keys are changed one hub after the other: known to all first, used then."""
    file = tmp_path / "keys"
    file.write_bytes(b"\n new \r\n\nold\n")
    both = Seals(read_keys(file))
    assert Seals([b"new"]).verify("value", "x", both.sign("value", "x", b"1")) == b"1"
    assert both.verify("value", "x", Seals([b"old"]).sign("value", "x", b"1")) == b"1"
    with pytest.raises(Untrusted):
        Seals([b"old"]).verify("value", "x", both.sign("value", "x", b"1"))
    file.write_bytes(b" \n\n")
    with pytest.raises(ValueError, match="holds no key"):
        read_keys(file)


@pytest.mark.parametrize("data", [b"\xffa\nb\n\n", b"a\0\nb\0\n", b"\n\x01\n"])
def test_a_file_that_is_no_text_is_one_key(tmp_path: Path, data: bytes) -> None:
    """What lies between two of its bytes that look like ends of lines could be guessed."""
    (tmp_path / "key").write_bytes(data)
    assert read_keys(tmp_path / "key") == [data]


def test_without_a_key_all_is_as_it_is() -> None:
    """Nothing is added, and nothing is asked."""
    assert OPEN.sign("message", "x", b"[]") == OPEN.sign_once("message", "x", b"[]") == b"[]"
    assert OPEN.verify("message", "y", b"[]") == b"[]"
    assert OPEN.verify_once("message", "y", b"[]") == (0, b"[]")
    Freshness().take("x", 0)


@given(st.lists(st.integers(1, 9), max_size=30))
def test_no_stamp_counts_twice(stamps: list[int]) -> None:
    """In the order of each hub; several texts about one thing share a stamp, if they say so."""
    now = 1_000_000_000.0
    seen, last = Freshness(lambda: now), 0
    for stamp in stamps:
        full = int(now * 1e6) + stamp
        if full > last:
            seen.take("x", full, "gone")
            seen.take("x", full, "gone")
            last = full
        with pytest.raises(Untrusted):
            seen.take("x", full)
        with pytest.raises(Untrusted):
            seen.take("x", full, "gone of another")
    seen.take("y", int(now * 1e6) - 59_000_000)
    with pytest.raises(Untrusted):
        seen.take("z", int(now * 1e6) - 61_000_000)


def test_stamps_are_kept_no_longer_than_the_clock_needs() -> None:
    """A cluster whose hubs come and go for years has them in mind for a minute."""
    now = 1_000_000_000.0
    seen = Freshness(lambda: now)
    for number in range(5000):
        now += 1.0
        seen.take(f"hub {number}", int(now * 1e6))
    assert len(seen._last) < 300


def test_stamps_grow_though_the_clock_does_not() -> None:
    """A clock that is set back costs nothing."""
    times = iter([5.0, 5.0, 4.0, 6.0])
    seals = Seals([b"k"], lambda: next(times))
    stamps = [seals.verify_once("message", "x", seals.sign_once("message", "x"))[0] for _ in "1234"]
    assert stamps == [5_000_000, 5_000_001, 5_000_002, 6_000_000]


# With a Redis


class Bot(AlephScriptClient):
    """Answers, and tells the room."""

    rooms = ("R",)

    @capability("X")
    async def x(self, number: int) -> dict[str, Any]:
        """Say it again."""
        await self.broadcast("HAPPENED", number)
        return {"number": number}


class Cluster:
    """Hubs with keys, and somebody who may write to their Redis."""

    def __init__(self, server: Any, folder: Path) -> None:
        self.url = server.url()
        database = int(self.url.rpartition("/")[2])
        self.prefix = f"alephscript:{database}"
        self.redis: Any = Redis(port=server.port, db=database)
        pubsub: Any = self.redis.pubsub
        self.tap: Any = pubsub(ignore_subscribe_messages=True)
        self.tap.psubscribe(f"{self.prefix}:*")
        self._folder = folder
        self._stack = AsyncExitStack()

    async def hub(self, *keys: str) -> Hub:
        """Start a hub with these keys."""
        file = self._folder / "-".join(["keys", *keys])
        file.write_text("\n".join(keys))
        hub = Hub(port=0, redis=self.url, cluster_key=file if keys else None)
        await self.enter(hub)
        return hub

    async def enter(self, each: Any) -> Any:
        """Open a hub or a client until the test ends."""
        return await self._stack.enter_async_context(each)

    async def pair(self) -> tuple[Hub, Hub, AlephScriptClient]:
        """Start two hubs with one key, a master at one and an asker at the other."""
        one, two = await self.hub("key"), await self.hub("key")
        await self.enter(Bot(two.url, usuario="bot", sesion="1"))
        asker = await self.enter(AlephScriptClient(one.url, usuario="asker", sesion="1"))
        return one, two, asker

    def heard(self) -> list[tuple[str, bytes]]:
        """All that was published since the last time."""
        found = []
        for _ in range(5):
            while (message := self.tap.get_message(timeout=0.02)) is not None:
                found.append((message["channel"].decode(), message["data"]))
        return found

    def say(self, channel: str, data: str | bytes | dict[str, Any]) -> None:
        """Publish something, a notice with the next number."""
        if isinstance(data, dict):
            data = json.dumps({**data, "seq": self.redis.incr(f"{self.prefix}:seq")})
        assert self.redis.publish(f"{self.prefix}:{channel}", data) >= 2

    async def close(self) -> None:
        """Close all."""
        await self._stack.aclose()
        self.tap.close()
        self.redis.close()


@asynccontextmanager
async def cluster_of(server: Any, folder: Path) -> AsyncIterator[Cluster]:
    """Open a cluster."""
    cluster = Cluster(server, folder)
    try:
        yield cluster
    finally:
        await cluster.close()


@pytest.fixture
async def cluster(shared_redis: Any, tmp_path: Path) -> AsyncIterator[Cluster]:
    """Hubs with keys."""
    async with cluster_of(shared_redis, tmp_path) as opened:
        yield opened


async def until(true: Callable[[], bool]) -> None:
    """Wait until it is so."""
    async with asyncio.timeout(15):
        while not true():  # noqa: ASYNC110 - nobody says when
            await asyncio.sleep(0.01)


async def goes_on(asker: AlephScriptClient, number: int = 1) -> None:
    """Ask across the hubs, which comes after all that was said before."""
    async with asyncio.timeout(10):
        assert await asker.request("X", number) == {"number": number}


def refusals(*hubs: Hub) -> dict[str, int]:
    """What these hubs have refused of others."""
    counts: dict[str, int] = {}
    for hub in hubs:
        for reason, count in hub._engine.refusals.items():
            counts[reason] = counts.get(reason, 0) + count
    return counts


@pytest.mark.peers
async def test_all_that_hubs_write_is_signed_and_all_works(cluster: Cluster) -> None:
    """Requests, events, retained values, who is there, tasks, masters and hubs that come and go."""
    one, two, asker = await cluster.pair()
    heard = asker.events("R")
    await asker.subscribe("R", presence=True)
    await asyncio.gather(*(goes_on(asker, number) for number in range(50)))
    assert {(await anext(heard)).data for _ in range(50)} == set(range(50))
    await asker.broadcast("STATE", {"a": 1}, room="R", retain=True)
    assert {each.usuario for each in await asker.members("R")} == {"asker", "bot"}
    task = await asker.submit("X", 7)
    assert await task.result(timeout=10) == {"number": 7}
    three = await cluster.hub("key")
    late = await cluster.enter(AlephScriptClient(three.url))
    stream = late.events("R", "STATE")
    await late.subscribe("R")
    assert (await anext(stream)).data == {"a": 1}
    assert [each.capability for each in await late.discover()] == ["X"]
    assert await (await late.submit("X", 8)).result(timeout=10) == {"number": 8}
    await three.close()
    await goes_on(asker)
    said = cluster.heard()
    assert {channel.split(":")[2] for channel, _ in said} == {"to", "in", "notices", "tasks"}
    for channel, data in said:
        if channel.endswith(":notices"):
            assert json.loads(data)["seal"].startswith("*")
        elif channel.endswith(":tasks"):
            assert json.loads(data)[3].startswith("*")
        else:
            assert data.startswith(b"*")
    assert refusals(one, two, three) == {}


@pytest.mark.anyio
async def test_a_hub_that_joins_again_before_it_was_missed_is_known(
    shared_redis: Any, tmp_path: Path
) -> None:
    """What it says of its going and its coming counts in that order."""
    async with cluster_of(shared_redis, tmp_path) as cluster:
        one, two, asker = await cluster.pair()
        assert two._membership is not None
        registry: Any = two._membership.cluster._registry
        for _ in range(2):
            joined = registry._scripts.generation
            registry._commands.fail(ConnectionError("cut"))
            await until(lambda was=joined: registry._scripts.generation != was)  # type: ignore[misc]
            await until(lambda: two._engine.why_not_ready is None)
            await goes_on(asker)
            assert {each.usuario for each in await asker.members("R")} == {"bot"}
        assert one._engine.refusals == two._engine.refusals == {}


@pytest.mark.peers
async def test_whoever_writes_to_redis_is_no_hub(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    """Frames, events and notices of any kind come to nothing, are counted, and said once."""
    one, two, asker = await cluster.pair()
    await asker.subscribe("R")
    heard = asker.events("R")
    await goes_on(asker)
    assert one._cluster is not None
    assert two._cluster is not None
    hub, field = two._cluster.hub, "/runtime\nR"
    ask = ["/runtime", "ask", 1, "s", "R", "GET_X", 5, {}]
    before = refusals(one, two)
    for number, forged in enumerate(
        (
            json.dumps([one._cluster.hub, [ask]]),
            json.dumps([one._cluster.hub, *ask]),
            b"*" + b"0" * 46 + json.dumps([one._cluster.hub, [ask]]).encode(),
            Seals([b"another key"]).sign_once("message", f"{cluster.prefix}:to:{hub}", b'["x",[]]'),
        ),
        1,
    ):
        assert cluster.redis.publish(f"{cluster.prefix}:to:{hub}", forged) == 2
        await until(lambda number=number: refusals(two).get("hub_signature") == number)  # type: ignore[misc]
    cluster.say(f"in:{field}", json.dumps(["zz", [["HAPPENED", "forged", "bot1", 1]]]))
    for notice in (
        {"kind": "gone", "hub": hub},
        {"kind": "gone", "hub": hub, "by": one._cluster.hub, "seal": "*" + "0" * 46, "gone": hub},
        {"kind": "came", "hub": "m000000000000"},
        {"kind": "room", "field": field, "record": {"epoch": 9, "masters": []}},
        {
            "kind": "value",
            "field": f"{field}\nSTATE",
            "entry": '["zz.1","bot1",1,"forged",false]',
            "source": "x",
        },
    ):
        cluster.say("notices", notice)
    cluster.say("tasks", json.dumps(["/runtime", "id", "zz"]))
    await goes_on(asker, 2)
    assert [(await anext(heard)).data for _ in range(2)] == [1, 2]
    assert one._engine.why_not_ready is two._engine.why_not_ready is None
    assert one._cluster.federations["/runtime"].hubs == {hub}
    await until(lambda: refusals(one, two).get("hub_signature", 0) >= 4 + 2 * 7)
    assert refusals(one, two) == {**before, "hub_signature": 4 + 2 * 7}
    told = [each for each in caplog.records if each.levelname in {"WARNING", "ERROR"}]
    assert 1 <= len(told) <= 4
    assert {each.levelname for each in told} == {"WARNING"}
    assert "all hubs need the same --cluster-key" in told[0].getMessage()


@pytest.mark.peers
async def test_what_was_said_once_is_not_said_again(cluster: Cluster) -> None:
    """Neither where it was said nor elsewhere, nor with another number."""
    one, two, asker = await cluster.pair()
    assert one._cluster is not None
    await asker.subscribe("R")
    heard = asker.events("R")
    await asker.broadcast("STATE", 1, room="R", retain=True)
    await asker.broadcast("STATE", 2, room="R", retain=True)
    three = await cluster.hub("key")
    await three.close()
    await goes_on(asker, 1)
    said = cluster.heard()
    for channel, data in said:
        name = channel.removeprefix(f"{cluster.prefix}:")
        if name == "notices":
            cluster.say(name, json.loads(data))
            continue
        cluster.redis.publish(channel, data)
        cluster.redis.publish(f"{cluster.prefix}:to:{one._cluster.hub}", data)
        cluster.redis.publish(f"{cluster.prefix}:in:/runtime\nR", data)
    await goes_on(asker, 2)
    assert [(await anext(heard)).data for _ in range(2)] == [1, 2]
    assert one._engine.why_not_ready is two._engine.why_not_ready is None
    counts = refusals(one, two)
    assert set(counts) == {"hub_signature", "hub_replay"}
    assert counts["hub_replay"] >= len(said)
    late = await cluster.enter(AlephScriptClient(one.url))
    stream = late.events("R", "STATE")
    await late.subscribe("R")
    assert (await anext(stream)).data == 2


@pytest.mark.peers
async def test_what_somebody_puts_into_the_registry_is_left_out(cluster: Cluster) -> None:
    """A hub that comes reads masters, values, hubs and tasks that hubs have written."""
    one, two, asker = await cluster.pair()
    assert two._cluster is not None
    await asker.broadcast("STATE", 1, room="R", retain=True)
    task = await asker.submit("X", 7)
    await task.result(timeout=10)
    key, redis = cluster.prefix, cluster.redis
    record = json.loads(redis.hget(f"{key}:rooms", "/runtime\nR"))
    (master,) = record["masters"]
    hub, sid, group, entry = master
    forged = [hub, f"{hub}~forged", group, entry]
    record["masters"] += [forged, [hub, sid, group, entry[33:]]]
    redis.hset(f"{key}:rooms", "/runtime\nR", json.dumps(record))
    redis.hset(f"{key}:rooms", "/runtime\nS", json.dumps({"epoch": 1, "masters": [master]}))
    # Somebody listens for the hub that there is not, or the next beat of another would remove it.
    cluster.tap.subscribe(f"{key}:to:m000000000000")
    redis.sadd(f"{key}:hubs", "m000000000000")
    redis.set(f"{key}:hub:m000000000000", 5)
    value = redis.hget(f"{key}:retained", "/runtime\nR\nSTATE")
    redis.hset(f"{key}:retained", "/runtime\nR\nOTHER", value)
    redis.hset(f"{key}:retained", "/runtime\nR\nMORE", value[:2] + value[35:])
    text = redis.hget(f"{key}:task:{task.id}", "record")
    redis.hset(f"{key}:task:stolen", mapping={"record": text, "hub": hub, "ended": 1})
    bare = msgspec.json.encode({**json.loads(text[33:]), "id": "forged", "state": "queued"})
    redis.hset(f"{key}:task:forged", mapping={"record": bare, "hub": "zz", "ended": 0})
    redis.hset(f"{key}:tasks-alive", "forged", "zz")
    three = await cluster.hub("key")
    late = await cluster.enter(AlephScriptClient(three.url))
    assert three._cluster is not None
    assert three._cluster.federations["/runtime"].hubs == {
        *(each._cluster.hub for each in (one, two) if each._cluster is not None)
    }
    (offer,) = await late.discover()
    assert (offer.room, offer.masters) == ("R", ("bot1",))
    await goes_on(late)
    stream = late.events("R")
    await late.subscribe("R")
    assert [each.name for each in (stream.take() for _ in range(len(stream))) if each] == ["STATE"]
    for name in ("stolen", "forged"):
        with pytest.raises(UnknownTask):
            await late.task(name).status()
    await until(lambda: refusals(three).get("hub_signature", 0) >= 8)
    assert three._engine.meshes["/runtime"].tasks.count() == {}
    await goes_on(asker)


@pytest.mark.peers
async def test_hubs_of_different_keys_are_no_mesh_and_say_so(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    """Nor those without a key; each goes on with those that have its own."""
    one, _, asker = await cluster.pair()
    wrong, bare = await cluster.hub("other"), await cluster.hub()
    for hub in (wrong, bare):
        lost = await cluster.enter(AlephScriptClient(hub.url))
        with pytest.raises(NoMaster):
            await lost.request("X", 1, room="R")
        assert refusals(hub)["hub_signature"] > 0
        assert hub._engine.why_not_ready is None
        await cluster.enter(type("Elsewhere", (Bot,), {"rooms": ("ELSEWHERE",)})(hub.url))
        assert await lost.request("X", 2) == {"number": 2}
        await goes_on(asker, 3)
    assert [each.room for each in await asker.discover()] == ["R"]
    assert refusals(one)["hub_signature"] > 0
    assert any("this hub has no --cluster-key" in each for each in caplog.messages)
    assert any("the same --cluster-key" in each for each in caplog.messages)
    caplog.clear()


@pytest.mark.peers
async def test_keys_are_changed_one_hub_after_the_other(cluster: Cluster) -> None:
    """With the next one known first, and the one before forgotten last."""
    for ours, theirs in ((["a"], ["a", "b"]), (["a", "b"], ["b", "a"]), (["b", "a"], ["b"])):
        async with AsyncExitStack() as stack:
            one, two = await cluster.hub(*ours), await cluster.hub(*theirs)
            await stack.enter_async_context(Bot(two.url))
            asker = await stack.enter_async_context(AlephScriptClient(one.url))
            await goes_on(asker)
        assert refusals(one, two) == {}
        await one.close()
        await two.close()


@pytest.mark.peers
async def test_a_flood_of_nonsense_costs_the_cluster_nothing(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    """However much of it there is, and whichever way it takes."""
    one, two, asker = await cluster.pair()
    assert one._cluster is not None
    said = cluster.heard()
    assert said
    with cluster.redis.pipeline(transaction=False) as pipe:
        for number in range(1000):
            channel, data = said[number % len(said)]
            pipe.publish(f"{cluster.prefix}:to:{one._cluster.hub}", data[:number] + b"x" * 200)
            pipe.publish(f"{cluster.prefix}:notices", data + b"x")
            pipe.publish(channel, data)
        await asyncio.to_thread(pipe.execute)
    await goes_on(asker)
    assert refusals(one)["hub_signature"] + refusals(one).get("hub_garbage", 0) >= 2000
    assert one._engine.why_not_ready is two._engine.why_not_ready is None
    assert len([each for each in caplog.records if each.levelname in {"ERROR", "WARNING"}]) < 20
    caplog.clear()


# The option


async def test_a_key_that_cannot_be_read_is_said_in_a_sentence(tmp_path: Path) -> None:
    """Before anything is tried; and one that nobody could use."""
    with pytest.raises(HubError, match=r"\(--cluster-key\): .*nowhere"):
        async with Hub(port=0, redis="redis://127.0.0.1:1/0", cluster_key=tmp_path / "nowhere"):
            pass
    (tmp_path / "empty").write_text("\n")
    with pytest.raises(HubError, match="holds no key; `openssl rand -hex 32` makes one"):
        async with Hub(port=0, redis="redis://127.0.0.1:1/0", cluster_key=tmp_path / "empty"):
            pass
    with pytest.raises(HubError, match=r"say which: redis=… \(--redis\)"):
        Hub(port=0, cluster_key=tmp_path / "empty")


@pytest.mark.peers
async def test_the_command_line_and_the_environment_name_the_file(
    cluster: Cluster, start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both hubs are one with a hub of the same key, and it counts what is refused."""
    (tmp_path / "file").write_text("key\n")
    arguments = ("-m", "alephscript", "hub", "--port", "0", "--redis", cluster.url)
    key = str(tmp_path / "file")
    one = await start(*arguments, "--cluster-key", key, ready=b"listening on")
    monkeypatch.setenv("ALEPHSCRIPT_CLUSTER_KEY", key)
    two = await start(*arguments, ready=b"listening on")
    here = await cluster.hub("key")
    await cluster.enter(Bot(here.url))
    for hub in (one, two):
        await goes_on(await cluster.enter(AlephScriptClient(hub.url)))
    await cluster.enter(type("Elsewhere", (Bot,), {"rooms": ("ELSEWHERE",)})(two.url))
    asker = await cluster.enter(AlephScriptClient(one.url))
    assert await asker.request("X", 2, room="ELSEWHERE") == {"number": 2}
    two.send(signal.SIGKILL)  # which the others have to say, and to sign
    async with asyncio.timeout(10):
        while len(await asker.discover()) > 1:  # noqa: ASYNC110 - another process says nothing
            await asyncio.sleep(0.02)
    await goes_on(asker)
    assert refusals(here) == {}
