"""Many hubs in one process, in virtual time: all code of theirs is real, their links are not.

Each hub is an engine with its meshes, a cluster, and a registry that speaks RESP, byte for byte, to
something that does what Redis would: its scripts are done in Python here (`SCRIPTS`), which a test
compares with Redis. What travels is counted, and takes half a millisecond of a clock that goes on
when nobody has anything to do.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import itertools
import json
import selectors
from collections import Counter, defaultdict, deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from typing import Any, TypeVar
from unittest import mock

import hiredis
import msgspec

from alephscript.hub.cluster import redis as registries, shards
from alephscript.hub.cluster.cluster import Cluster
from alephscript.hub.cluster.frames import has_kinds, read_message, read_one_by_one
from alephscript.hub.cluster.redis import RedisRegistry
from alephscript.hub.cluster.scripts import SCRIPTS as NAMES, read_script
from alephscript.hub.engine import Engine
from alephscript.mesh.mesh import Mesh
from alephscript.protocol import events

__all__ = ["Member", "SimulatedCluster", "SimulatedHub", "SimulatedRedis", "cluster_of", "run"]

T = TypeVar("T")

LATENCY = 0.0005
NAMESPACE = "/runtime"


# Time


class _NoSockets(selectors.SelectSelector):
    """Waits for nothing: the time until the next timer has passed when it is asked."""

    now = 1_000_000.0

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise RuntimeError("everybody waits, and nothing is to come")
        self.now += max(timeout, 0.0)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock goes on when there is nothing to do."""

    def __init__(self) -> None:
        self._clock = _NoSockets()
        super().__init__(self._clock)

    def time(self) -> float:
        """Return the virtual time."""
        return self._clock.now


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run something in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


# Redis


def _resp(value: Any) -> bytes:
    if value is None:
        return b"$-1\r\n"
    if isinstance(value, Exception):
        return b"-%b\r\n" % str(value).encode()
    if isinstance(value, int):
        return b":%d\r\n" % value
    if isinstance(value, bytes | str):
        data = value.encode() if isinstance(value, str) else value
        return b"$%d\r\n%b\r\n" % (len(data), data)
    return b"*%d\r\n%b" % (len(value), b"".join(map(_resp, value)))


class Link:
    """A connection to the Redis, as the transport that asyncio would give."""

    def __init__(self, redis: SimulatedRedis, hub: str) -> None:
        self.hub = hub
        self.transport = self
        self._redis = redis
        self._reader = hiredis.Reader()
        self._protocol: Any = None
        self._arriving: deque[bytes] = deque()
        self._is_closed = False
        self.channels: dict[bytes, None] = {}

    def set_protocol(self, protocol: Any) -> None:
        """Take what is told of what arrives."""
        self._protocol = protocol

    def write(self, data: bytes) -> None:
        """Send commands."""
        self._redis.bytes_from[self.hub] += len(data)
        asyncio.get_running_loop().call_later(LATENCY, self._feed, data)

    def _feed(self, data: bytes) -> None:
        self._reader.feed(data)
        while not self._is_closed and (words := self._reader.gets()) is not False:
            self._redis.handle(self, words)

    def deliver(self, value: Any) -> None:
        """Let a value arrive, behind those before."""
        data = _resp(value)
        self._redis.bytes_to[self.hub] += len(data)
        self._arriving.append(data)
        if len(self._arriving) == 1:
            asyncio.get_running_loop().call_later(LATENCY, self._arrive)

    def _arrive(self) -> None:
        data = b"".join(self._arriving)
        self._arriving.clear()
        if not self._is_closed:
            self._protocol.data_received(data)

    def pause_reading(self) -> None:
        """Nothing: a reader that is paused keeps what arrives."""

    resume_reading = pause_reading

    def is_closing(self) -> bool:
        """Whether the connection has ended."""
        return self._is_closed

    def abort(self) -> None:
        """End the connection."""
        self._is_closed = True
        for channel in self.channels:
            self._redis.subscribers[channel].pop(self, None)

    close = abort


class SimulatedRedis:
    """A Redis as hubs use it, which counts what they do.

    Attributes:
        commands: How many commands came, by their verb or the name of their script.
        delivered: How many messages hubs were sent, by the first part of their channel.
        frames: How many frames, or things said in a room, were in the messages that came.
        bytes_from, bytes_to: Bytes by hub.
    """

    def __init__(self) -> None:
        self.commands: Counter[str] = Counter()
        self.delivered: Counter[str] = Counter()
        self.frames: Counter[str] = Counter()
        self.bytes_from: Counter[str] = Counter()
        self.bytes_to: Counter[str] = Counter()
        self.subscribers: dict[bytes, dict[Link, None]] = defaultdict(dict)
        self.seq = 0
        self.rooms: dict[str, dict[str, Any]] = {}
        self.hubs: dict[str, tuple[str, float]] = {}
        self.retained: dict[str, str] = {}
        self._scripts = {
            hashlib.sha1(read_script(name).encode()).hexdigest(): name for name in NAMES
        }
        self._prefix = ""

    def count(self) -> Counter[str]:
        """Return all counts so far, in one table."""
        delivered = {f"delivered {name}": count for name, count in self.delivered.items()}
        frames = {f"frames {name}": count for name, count in self.frames.items()}
        sums = {"bytes from hubs": self.bytes_from.total(), "bytes to hubs": self.bytes_to.total()}
        return self.commands + Counter(delivered) + Counter(frames) + Counter(sums)

    def handle(self, link: Link, words: list[bytes]) -> None:
        """Do a command."""
        verb, *arguments = words
        if verb == b"EVALSHA":
            sha, _, prefix, *rest = arguments
            self._prefix, name = prefix.decode(), self._scripts[sha.decode()]
            self.commands[name] += 1
            link.deliver(getattr(self, f"_{name}")(*(each.decode() for each in rest)))
            return
        self.commands[verb.decode()] += 1
        if verb == b"SUBSCRIBE":
            for channel in arguments:
                link.channels[channel] = self.subscribers[channel][link] = None
                link.deliver([b"subscribe", channel, len(link.channels)])
        elif verb == b"UNSUBSCRIBE":
            for channel in arguments:
                link.channels.pop(channel, None)
                self.subscribers[channel].pop(link, None)
                link.deliver([b"unsubscribe", channel, len(link.channels)])
        elif verb == b"PUBLISH":
            link.deliver(self._publish(*arguments))
        elif verb == b"CLUSTER":
            link.deliver(Exception("ERR This instance has cluster support disabled"))
        elif verb == b"SCRIPT":
            link.deliver(hashlib.sha1(arguments[1]).hexdigest())
        else:
            assert verb == b"PING"
            link.deliver(b"PONG")

    def _publish(self, channel: bytes, data: bytes) -> int:
        listeners = self.subscribers[channel]
        kind = channel.decode().split(":")[2]
        self.delivered[kind] += len(listeners)
        if kind != "notices":
            read = read_one_by_one if has_kinds(data) else read_message
            self.frames[kind] += len(read(data)[-1])
        for link in listeners:
            link.deliver([b"message", channel, data])
        return len(listeners)

    # The scripts

    def _notice(self, **decision: Any) -> int:
        self.seq += 1
        text = json.dumps({**decision, "seq": self.seq}, separators=(",", ":"))
        self._publish(f"{self._prefix}:notices".encode(), text.encode())
        return self.seq

    def _lives(self, hub: str, generation: str) -> bool:
        lease = self.hubs.get(hub)
        return lease is not None and lease[0] == generation and lease[1] > self._now()

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

    def _load(self, field: str) -> dict[str, Any]:
        return self.rooms.get(field, {"epoch": 0, "masters": []})

    def _store(
        self, field: str, masters: list[list[str]], before: dict[str, Any], floor: int
    ) -> list[int]:
        epoch = before["epoch"]
        if _serving(masters) != _serving(before["masters"]):
            epoch = max(epoch, floor) + 1
        record = {"epoch": epoch, "masters": masters}
        if masters:
            self.rooms[field] = record
        else:
            self.rooms.pop(field, None)
        return [self._notice(kind="room", field=field, record=record), epoch]

    def _remove_hub(self, hub: str) -> None:
        for field, before in list(self.rooms.items()):
            masters = [each for each in before["masters"] if each[0] != hub]
            if len(masters) < len(before["masters"]):
                self._store(field, masters, before, 0)
        if self.hubs.pop(hub, None) is not None:
            self._notice(kind="gone", hub=hub)

    def _join(self, hub: str, lease: str, _floor: str, _gone: str, _came: str, version: str) -> int:
        self._remove_hub(hub)
        generation = self._notice(kind="came", hub=hub, version=version)
        self.hubs[hub] = str(generation), self._now() + int(lease) / 1000
        return generation

    def _dump(self) -> list[Any]:
        rooms = [each for field, r in self.rooms.items() for each in (field, json.dumps(r))]
        kept = [each for pair in self.retained.items() for each in pair]
        return [self.seq, rooms, list(self.hubs), kept, []]

    def _beat(self, hub: str, generation: str, lease: str, _: str) -> int:
        if not self._lives(hub, generation):
            return 0
        self.hubs[hub] = generation, self._now() + int(lease) / 1000
        for other, (theirs, _until) in list(self.hubs.items()):
            is_heard = self.subscribers[f"{self._prefix}:to:{other}".encode()]
            if other != hub and not (is_heard and self._lives(other, theirs)):
                self._remove_hub(other)
        return 1

    def _claim(self, *given: str) -> list[int] | int:
        hub, generation, field, sid, group, entry, reclaiming, floor, _ = given
        if not self._lives(hub, generation):
            return 0
        before = self._load(field)
        standing, claimed = before["masters"], [hub, sid, group, entry]
        assert reclaiming == "0", "hubs that come back are not simulated"
        place = next((at for at, each in enumerate(standing) if each[1] == sid), None)
        first = len(standing) - len(_top(standing))
        stays = place is not None and place >= first and standing[-1][2] == group
        if stays and claimed in standing:
            return [self.seq, before["epoch"]]
        masters = [each for each in standing if each[1] != sid]
        masters.insert(place if stays and place is not None else len(masters), claimed)
        return self._store(field, masters, before, int(floor))

    def _release(self, hub: str, generation: str, field: str, sid: str, _: str) -> list[int] | int:
        before = self._load(field)
        masters = [each for each in before["masters"] if each[1] != sid]
        if not self._lives(hub, generation) or len(masters) == len(before["masters"]):
            return 0
        return self._store(field, masters, before, 0)

    def _retain(self, hub: str, generation: str, field: str, entry: str, *_: str) -> int:
        if not self._lives(hub, generation):
            return 0
        source = self.retained.setdefault("", f"{hub}:{generation}:{self.seq}")
        seq = self._notice(kind="value", field=field, entry=entry, source=source)
        self.retained[field] = f"{seq} {entry}"
        return seq

    def _leave(self, hub: str, _: str) -> int:
        self._remove_hub(hub)
        return 1


def _top(masters: list[list[str]]) -> list[list[str]]:
    """Those that master a room: the last ones that share a group."""
    if not masters:
        return []
    group, first = masters[-1][2], len(masters) - 1
    while first and group != "single" and masters[first - 1][2] == group:
        first -= 1
    return masters[first:]


def _serving(masters: list[list[str]]) -> list[str]:
    top = _top(masters)
    return [each[1] for each in (top if masters and masters[-1][2] == "shared" else top[:1])]


# Hubs and members


class Member:
    """A member of a hub's mesh: what a hub sends it, and what it sends, without a socket.

    Attributes:
        heard: How many events it was told.
    """

    def __init__(self, hub: SimulatedHub, name: str) -> None:
        self.id = name
        self.sid = f"{hub.cluster.federations[NAMESPACE].prefix}{name}"
        self.heard: Counter[str] = Counter()
        self._carrier = hub.engine.carriers[NAMESPACE]
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._loop = asyncio.get_running_loop()
        self._carrier.joined(self.sid, self, None)

    def backlog(self) -> int:
        """Nothing waits: what it is sent it has."""
        return 0

    async def call(self, event: str, *args: Any) -> Any:
        """Send an event, and wait for the hub's answer."""
        ack = len(self._answers) + 1
        answer = self._answers[ack] = self._loop.create_future()
        self._carrier.received(self.sid, ack, msgspec.json.encode([event, *args]))
        return await answer

    async def enter(self, *rooms: str) -> Member:
        """Register, and subscribe to rooms."""
        fields = {"usuario": self.id, "protocol": events.PROTOCOL}
        assert (await self.call("CLIENT_REGISTER", fields))["success"]
        for room in rooms:
            assert (await self.call("CLIENT_SUSCRIBE", {"room": room}))["success"]
        return self

    async def say(self, room: str, event: str, data: Any) -> None:
        """Say something in a room."""
        assert (await self.call("ROOM_MESSAGE", {"event": event, "room": room, "data": data}))[
            "success"
        ]

    def send(self, message: bytes, _: bytes | None = None) -> None:
        """Take a packet: an answer, a question, which is answered in the next turn, or an event."""
        kind, rest = message[1:2], message[len(b"42/runtime,") :]
        number, _, text = rest.partition(b"[")
        values = msgspec.json.decode(b"[" + text)
        if kind == b"3":
            self._answers[int(number)].set_result(values[0])
        elif number:
            answer = functools.partial(
                self._carrier.acknowledged, self.sid, int(number), b'[{"success":true}]'
            )
            self._loop.call_soon(answer)
        else:
            self.heard[values[0]] += 1


class SimulatedHub:
    """A hub without a port."""

    def __init__(self, url: str = "redis://127.0.0.1:1/0") -> None:
        meshes = {name: Mesh(name, incarnation="sim") for name in events.NAMESPACES}
        self.engine = Engine(meshes, ping_interval=25, ping_timeout=20)
        self.cluster = Cluster(self.engine, RedisRegistry(url))
        self.number = itertools.count().__next__


class SimulatedCluster:
    """Hubs that share a simulated Redis."""

    def __init__(self, redis: SimulatedRedis) -> None:
        self.redis = redis
        self.hubs: list[SimulatedHub] = []
        self._opening = ""

    def link(self, *_: Any) -> Any:
        """Open a connection of the hub that is being opened, in place of `open_connection`."""
        opened = asyncio.get_running_loop().create_future()
        opened.set_result(Link(self.redis, self._opening))
        return opened

    async def grow(self, count: int) -> None:
        """Open hubs until there are so many."""
        while len(self.hubs) < count:
            hub = SimulatedHub()
            self._opening = hub.cluster.hub
            await hub.cluster.open()
            self.hubs.append(hub)

    async def cost(self, act: Callable[[], Coroutine[Any, Any, Any]]) -> Counter[str]:
        """Count what something costs, without the signs of life meanwhile."""
        before = self.redis.count()
        await act()
        await asyncio.sleep(0.05)
        after = self.redis.count()
        after.subtract(before)
        return Counter({name: each for name, each in after.items() if each and name != "beat"})

    async def members(
        self, per_hub: int, rooms: Callable[[int, int], Iterable[str]]
    ) -> list[Member]:
        """Have members come to each hub.

        Args:
            per_hub: How many.
            rooms: Tells which rooms each enters, by the number of its hub and its own.
        """
        made = [
            Member(hub, f"m{at}-{hub.number()}").enter(*rooms(at, number))
            for at, hub in enumerate(self.hubs)
            for number in range(per_hub)
        ]
        return await asyncio.gather(*made)


@asynccontextmanager
async def cluster_of(count: int) -> AsyncIterator[SimulatedCluster]:
    """Open so many hubs."""
    cluster = SimulatedCluster(SimulatedRedis())
    with (
        mock.patch.object(registries, "open_connection", cluster.link),
        mock.patch.object(shards, "open_connection", cluster.link),
    ):
        try:
            await cluster.grow(count)
            yield cluster
        finally:
            for hub in cluster.hubs:
                hub.engine.close()
                await hub.cluster.close()
