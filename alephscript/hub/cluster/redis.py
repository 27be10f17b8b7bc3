"""What the hubs of one mesh share, in Redis or Valkey; alone knows redis-py.

Each decision is a script, so that none can be half done, and counts up one number. Every decision
is told to all hubs with its number, so a hub knows that it has missed none. A hub lives by a lease.
It is buried, its masters removed, by whoever sees first that the lease has run out or that nobody
listens to the hub's channel any more; a hub that was buried and comes back (it was stopped for a
while) has another generation, and what it says in the name of the old one is refused.

All commands go through one queue, several a round trip, so what one hub does keeps its order.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import logging
import random
from collections.abc import Callable
from typing import Any

import msgspec
import redis.asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from alephscript.hub.cluster.registry import RegistryListener, Standings
from alephscript.mesh.effects import Claim, Release
from alephscript.mesh.federation import Entry
from alephscript.protocol import events

__all__ = ["RedisRegistry"]

logger = logging.getLogger("alephscript.hub.redis")

_LEASE = 1.5
"""Seconds that a hub is believed to live without saying so."""

_BEAT = 0.5
_BUSY_BEAT = 0.05
_TIMEOUT = 1.0
_CLAIM_SECONDS = 5.0
"""How long a declaration may wait for a registry that cannot be reached."""

_MOST_COMMANDS = 100_000
_OF_EARS = ("SUBSCRIBE", "UNSUBSCRIBE")
_BATCH = 500

_COMMON = """
local prefix = KEYS[1]
local function notice(told)
  told.seq = redis.call('INCR', prefix .. ':seq')
  redis.call('PUBLISH', prefix .. ':notices', cjson.encode(told))
  return told.seq
end
local function load(field)
  local text = redis.call('HGET', prefix .. ':rooms', field)
  if text then return cjson.decode(text) end
  return {epoch = 0, masters = {}}
end
local function serving(masters)
  local names = {}
  for i, master in ipairs(masters) do
    if i == 1 or masters[1][3] == 'shared' then names[#names + 1] = master[2] end
  end
  return table.concat(names, ' ')
end
local function store(field, masters, before, floor)
  local epoch = before.epoch
  if serving(masters) ~= serving(before.masters) then epoch = math.max(epoch, floor) + 1 end
  local record = {epoch = epoch, masters = masters}
  if #masters == 0 then
    redis.call('HDEL', prefix .. ':rooms', field)
  else
    redis.call('HSET', prefix .. ':rooms', field, cjson.encode(record))
  end
  return {notice({kind = 'room', field = field, record = record}), epoch}
end
local function without(masters, gone)
  local kept = {}
  for _, master in ipairs(masters) do
    if not gone(master) then kept[#kept + 1] = master end
  end
  return kept
end
local function bury(hub)
  for _, field in ipairs(redis.call('SMEMBERS', prefix .. ':claims:' .. hub)) do
    local before = load(field)
    local masters = without(before.masters, function(master) return master[1] == hub end)
    if #masters < #before.masters then store(field, masters, before, 0) end
  end
  redis.call('DEL', prefix .. ':claims:' .. hub, prefix .. ':hub:' .. hub)
  if redis.call('SREM', prefix .. ':hubs', hub) == 1 then notice({kind = 'gone', hub = hub}) end
end
"""

_JOIN = """
local hub, lease, floor = ARGV[1], ARGV[2], tonumber(ARGV[3])
if tonumber(redis.call('GET', prefix .. ':seq') or '0') < floor then
  redis.call('SET', prefix .. ':seq', floor)
end
bury(hub)
local generation = notice({kind = 'came', hub = hub})
redis.call('SADD', prefix .. ':hubs', hub)
redis.call('SET', prefix .. ':hub:' .. hub, generation, 'PX', lease)
return generation
"""

_DUMP = """
return {
  tonumber(redis.call('GET', prefix .. ':seq') or '0'),
  redis.call('HGETALL', prefix .. ':rooms'),
  redis.call('SMEMBERS', prefix .. ':hubs'),
}
"""

_BEAT_SCRIPT = """
local hub, generation, lease = ARGV[1], ARGV[2], ARGV[3]
if redis.call('GET', prefix .. ':hub:' .. hub) ~= generation then return 0 end
redis.call('PEXPIRE', prefix .. ':hub:' .. hub, lease)
local heard = redis.call('PUBSUB', 'NUMSUB', prefix .. ':to:' .. hub)
if tonumber(heard[2]) == 0 then return 0 end
for _, other in ipairs(redis.call('SMEMBERS', prefix .. ':hubs')) do
  if other ~= hub then
    local listeners = redis.call('PUBSUB', 'NUMSUB', prefix .. ':to:' .. other)
    if tonumber(listeners[2]) == 0 or redis.call('EXISTS', prefix .. ':hub:' .. other) == 0 then
      bury(other)
    end
  end
end
return 1
"""

_CLAIM = """
local hub, generation, field, sid, group, entry, gently, floor = unpack(ARGV)
if redis.call('GET', prefix .. ':hub:' .. hub) ~= generation then return 0 end
local before = load(field)
if gently == '1' and #before.masters > 0
    and (group == 'single' or before.masters[1][3] ~= group) then
  return 0
end
local found = false
local masters = {}
for _, master in ipairs(before.masters) do
  if master[2] == sid then
    masters[#masters + 1] = {hub, sid, group, entry}
    found = true
  elseif group ~= 'single' and master[3] == group then
    masters[#masters + 1] = master
  end
end
if not found then masters[#masters + 1] = {hub, sid, group, entry} end
redis.call('SADD', prefix .. ':claims:' .. hub, field)
return store(field, masters, before, tonumber(floor))
"""

_RELEASE = """
local hub, generation, field, sid = unpack(ARGV)
if redis.call('GET', prefix .. ':hub:' .. hub) ~= generation then return 0 end
local before = load(field)
local masters = without(before.masters, function(master) return master[2] == sid end)
if #masters == #before.masters then return 0 end
local others = 0
for _, master in ipairs(masters) do if master[1] == hub then others = others + 1 end end
if others == 0 then redis.call('SREM', prefix .. ':claims:' .. hub, field) end
return store(field, masters, before, 0)
"""

_LEAVE = """
bury(ARGV[1])
return 1
"""

_SCRIPTS = {
    "join": _COMMON + _JOIN,
    "dump": _COMMON + _DUMP,
    "beat": _COMMON + _BEAT_SCRIPT,
    "claim": _COMMON + _CLAIM,
    "release": _COMMON + _RELEASE,
    "leave": _COMMON + _LEAVE,
}

Done = Callable[[Any], None]
"""Gets a command's result, or the exception that kept it from being carried out."""


class _Adrift(Exception):
    """This hub is not one of them any more; it has to join again."""


class _Waiting:
    """A claim until its hub was told that it is settled."""

    __slots__ = ("claim", "done", "epoch", "namespace", "seq", "timer")

    def __init__(self, namespace: str, claim: Claim, done: Callable[[int | None], None]) -> None:
        self.namespace = namespace
        self.claim = claim
        self.done = done
        self.seq: int | None = None
        self.epoch = 0
        self.timer: asyncio.TimerHandle | None = None


class RedisRegistry:
    """See `alephscript.hub.cluster.Registry`.

    Args:
        url: ``redis://[[username]:[password]@]host:port/database``, or ``rediss://``.
        prefix: What its keys and channels begin with; meshes with different ones do not meet.
    """

    def __init__(self, url: str, *, prefix: str = "alephscript") -> None:
        self.url = url
        options = redis.ConnectionPool.from_url(url).connection_kwargs
        self._prefix = f"{prefix}:{options.get('db', 0)}"  # channels know nothing of databases
        self.busy: Callable[[], bool] = lambda: False
        self._hub = ""
        self._listener: RegistryListener
        self._seq = 0
        self._generation = b""
        self._shas: dict[str, str] = {}
        self._client: Any = None
        self._ears: Any = None
        self._queue: list[tuple[tuple[Any, ...], Done | None]] = []
        self._wake = asyncio.Event()
        self._kick = asyncio.Event()
        self._is_up = False
        self._claims: dict[int, _Waiting] = {}
        self._numbers = itertools.count()
        self._attended: dict[bytes, Callable[[], None] | None] = {}
        self._task: asyncio.Task[None] | None = None

    async def open(self, hub: str, listener: RegistryListener) -> None:
        """See `Registry`."""
        self._hub, self._listener = hub, listener
        try:
            await self._join()
        except (RedisError, OSError, TimeoutError, _Adrift) as exc:
            await self._hang_up()
            raise ConnectionError(str(exc) or type(exc).__name__) from exc
        self._task = asyncio.get_running_loop().create_task(self._live())

    async def close(self) -> None:
        """See `Registry`."""
        if self._task is None:
            return
        task, self._task = self._task, None
        await _ended(task)
        if self._is_up:
            self._is_up = False
            with contextlib.suppress(RedisError, OSError, TimeoutError):
                commands = [each for each, _ in self._queue]
                self._queue.clear()
                await self._execute([*commands, self._script("leave", self._hub)])
        for waiting in self._claims.values():
            if waiting.timer is not None:
                waiting.timer.cancel()
        self._claims.clear()
        await self._hang_up()

    # What a hub wants

    def claim(self, namespace: str, claim: Claim, done: Callable[[int | None], None]) -> None:
        """See `Registry`."""
        number, waiting = next(self._numbers), _Waiting(namespace, claim, done)
        self._claims[number] = waiting
        loop = asyncio.get_running_loop()
        waiting.timer = loop.call_later(_CLAIM_SECONDS, self._give_up, number)
        if self._is_up:
            self._put_claim(waiting)

    def release(self, namespace: str, release: Release) -> None:
        """See `Registry`."""
        if self._is_up:
            field = _field(namespace, release.room)
            self._put(
                self._script("release", self._hub, self._generation, field, release.sid), None
            )

    def send(self, hub: str, data: bytes, undelivered: Callable[[], None] | None) -> None:
        """See `Registry`."""

        def done(taken: Any) -> None:
            if taken == 0:
                self._kick.set()  # that hub is gone: bury it at once
            if undelivered is not None and (taken == 0 or isinstance(taken, Exception)):
                undelivered()

        self._put(("PUBLISH", f"{self._prefix}:to:{hub}", data), done)

    def say(self, namespace: str, room: str, data: bytes) -> None:
        """See `Registry`."""
        self._put(("PUBLISH", self._channel(namespace, room), data), None)

    def attend(self, namespace: str, room: str, done: Callable[[], None]) -> None:
        """See `Registry`."""
        channel = self._channel(namespace, room)
        if not self._is_up:
            self._attended[channel] = None  # it is subscribed to when the registry is back
            done()
            return
        self._attended[channel] = done
        self._put(("SUBSCRIBE", channel), None)

    def abandon(self, namespace: str, room: str) -> None:
        """See `Registry`."""
        channel = self._channel(namespace, room)
        self._attended.pop(channel, None)
        if self._is_up:
            self._put(("UNSUBSCRIBE", channel), None)

    # How it lives

    async def _live(self) -> None:
        """Serve until cancelled; whenever the registry is out of reach, try to join again."""
        while True:
            try:
                await self._serve()
            except (RedisError, OSError, TimeoutError, _Adrift) as exc:
                why = str(exc) if isinstance(exc, _Adrift) else type(exc).__name__
                logger.warning(
                    "adrift: %s; local work goes on", why, extra={"hub": self._hub, "reason": why}
                )
            self._go_adrift()
            await self._hang_up()
            while True:
                # Many hubs come back at the same time, to a Redis that has just begun.
                await asyncio.sleep(random.uniform(0.05, 0.3))  # noqa: S311 - no secret
                try:
                    await self._join()
                except (RedisError, OSError, TimeoutError, _Adrift):
                    await self._hang_up()
                else:
                    logger.warning("joined again", extra={"hub": self._hub})
                    break

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        tasks = [loop.create_task(each()) for each in (self._hear, self._beat, self._write)]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            await _ended(*tasks)

    async def _join(self) -> None:
        """Listen, then take part, then look around: nothing that is decided can be missed."""
        self._client = self._connected()
        self._ears = self._client.pubsub()
        # What was not attended yet when the link went is attended by now: nobody waits for it.
        channels = [f"{self._prefix}:to:{self._hub}", f"{self._prefix}:notices", *self._attended]
        async with asyncio.timeout(_TIMEOUT * 3):
            await self._ears.subscribe(*channels)
            for _ in channels:
                while (await self._ears.get_message(timeout=_TIMEOUT)) is None:
                    raise TimeoutError("Redis does not answer")
            for name, text in _SCRIPTS.items():
                self._shas[name] = await self._client.script_load(text)
            lease = round(_LEASE * 1000)
            joined = self._script("join", self._hub, lease, self._seq)
            (generation,) = await self._execute([joined])
            self._generation = str(generation).encode()
            own = self._listener.reclaims()
            claims = [self._claim_script(namespace, claim) for namespace, claim in own]
            *_, (seq, rooms, hubs) = await self._execute([*claims, self._script("dump")])
        self._seq = seq
        self._queue.clear()
        self._is_up = True
        others = {hub.decode() for hub in hubs} - {self._hub}
        self._listener.resynchronise(others, _standings(rooms))
        for waiting in self._claims.values():
            self._put_claim(waiting)

    def _go_adrift(self) -> None:
        self._is_up = False
        queue, self._queue = self._queue, []
        self._listener.go_adrift()
        for _, done in queue:
            if done is not None:
                done(_Adrift())
        for channel, attended in list(self._attended.items()):
            self._attended[channel] = None
            if attended is not None:
                attended()
        for waiting in self._claims.values():
            waiting.seq = None

    async def _hang_up(self) -> None:
        client, ears = self._client, self._ears
        self._client = self._ears = None
        for each in (ears, client):
            if each is not None:
                with contextlib.suppress(RedisError, OSError, TimeoutError):
                    await each.aclose()

    async def _write(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._queue:
                batch = self._queue[:_BATCH]
                mine = [command for command, _ in batch if command[0] not in _OF_EARS]
                for verb, *channels in (command for command, _ in batch):
                    if verb == "SUBSCRIBE":
                        await self._ears.subscribe(*channels)
                    elif verb == "UNSUBSCRIBE":
                        await self._ears.unsubscribe(*channels)
                results = iter(await self._execute(mine) if mine else [])
                del self._queue[: len(batch)]  # not before: else they end with what waits
                for command, done in batch:
                    result = None if command[0] in _OF_EARS else next(results)
                    if done is not None:
                        done(result)

    async def _beat(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_BUSY_BEAT if self.busy() else _BEAT):
                    await self._kick.wait()
            self._kick.clear()
            beaten = asyncio.get_running_loop().create_future()

            def done(result: Any, beaten: asyncio.Future[Any] = beaten) -> None:
                if not beaten.done():
                    beaten.set_result(result)

            lease = round(_LEASE * 1000)
            self._put(self._script("beat", self._hub, self._generation, lease), done)
            async with asyncio.timeout(_TIMEOUT * 2):
                if await beaten != 1:
                    raise _Adrift("others took this hub for dead")

    async def _hear(self) -> None:
        notices = f"{self._prefix}:notices".encode()
        mine = f"{self._prefix}:to:{self._hub}".encode()
        rooms = f"{self._prefix}:in:".encode()
        async for message in self._ears.listen():
            kind, channel, data = message["type"], message["channel"], message["data"]
            if kind == "subscribe":
                attended = self._attended.get(channel)
                if attended is not None:
                    self._attended[channel] = None
                    attended()
            elif kind != "message":
                pass
            elif channel == mine:
                self._listener.frame(data)
            elif channel == notices:
                self._notice(data)
            elif channel in self._attended:
                namespace, room = channel.removeprefix(rooms).decode().split("\n", 1)
                self._listener.said(namespace, room, data)
        raise _Adrift("Redis ended the subscription")

    def _notice(self, data: bytes) -> None:
        told = msgspec.json.decode(data)
        seq = int(told["seq"])
        if seq <= self._seq:
            return
        if seq != self._seq + 1:
            raise _Adrift("a decision of the registry was missed")
        self._seq = seq
        kind = told["kind"]
        if kind == "room":
            namespace, room = told["field"].split("\n", 1)
            epoch, entries = _standing(told["record"])
            self._listener.apply_decision(namespace, room, epoch, entries)
            self._tell_claims()
        elif told["hub"] == self._hub:
            if kind == "gone":
                raise _Adrift("others took this hub for dead")
        elif kind == "came":
            self._listener.hub_came(told["hub"])
        else:
            self._listener.hub_gone(told["hub"])

    # Claims

    def _put_claim(self, waiting: _Waiting) -> None:
        def done(result: Any) -> None:
            if isinstance(result, list):
                waiting.seq, waiting.epoch = result
                self._tell_claims()
            elif not isinstance(result, Exception):
                self._kick.set()  # refused: this hub is of an old generation, the beat will say so

        self._put(self._claim_script(waiting.namespace, waiting.claim), done)

    def _tell_claims(self) -> None:
        """Tell those whose claim was settled, and told to the listener."""
        for number, waiting in list(self._claims.items()):
            if waiting.seq is not None and waiting.seq <= self._seq:
                del self._claims[number]
                assert waiting.timer is not None
                waiting.timer.cancel()
                waiting.done(waiting.epoch)

    def _give_up(self, number: int) -> None:
        self._claims.pop(number).done(None)

    def _claim_script(self, namespace: str, claim: Claim) -> tuple[Any, ...]:
        entry = msgspec.json.encode([claim.name, claim.is_core, claim.declared])
        return self._script(
            "claim",
            self._hub,
            self._generation,
            _field(namespace, claim.room),
            claim.sid,
            str(claim.declared["group"]),
            entry,
            "1" if claim.reclaiming else "0",
            claim.epoch,
        )

    # Commands

    def _connected(self) -> Any:
        return redis.Redis.from_url(
            self.url,
            socket_timeout=_TIMEOUT,
            socket_connect_timeout=_TIMEOUT,
            retry=Retry(NoBackoff(), 0),  # a link that is gone means that something was missed
        )

    def _script(self, name: str, *arguments: Any) -> tuple[Any, ...]:
        return ("EVALSHA", self._shas[name], 1, self._prefix, *arguments)

    def _put(self, command: tuple[Any, ...], done: Done | None) -> None:
        if len(self._queue) >= _MOST_COMMANDS or not self._is_up:
            if done is not None:
                asyncio.get_running_loop().call_soon(done, _Adrift("Redis is out of reach"))
            return
        self._queue.append((command, done))
        self._wake.set()

    async def _execute(self, commands: list[tuple[Any, ...]]) -> list[Any]:
        pipeline = self._client.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)
        results: list[Any] = await pipeline.execute()
        return results

    def _channel(self, namespace: str, room: str) -> bytes:
        return f"{self._prefix}:in:{_field(namespace, room)}".encode()


async def _ended(*tasks: asyncio.Task[None]) -> None:
    """End tasks; redis-py loses a cancellation that comes together with an answer."""
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=0.2)


def _field(namespace: str, room: str) -> str:
    return f"{namespace}\n{room}"  # no namespace of a hub has a line end in it


def _standings(pairs: list[bytes]) -> Standings:
    found: dict[tuple[str, str], tuple[int, list[Entry]]] = {}
    for field, record in zip(*(iter(pairs),) * 2, strict=True):
        namespace, room = field.decode().split("\n", 1)
        found[namespace, room] = _standing(msgspec.json.decode(record))
    return found


def _standing(record: Any) -> tuple[int, list[Entry]]:
    masters = record["masters"] or []  # Lua writes an empty table as an object
    return int(record["epoch"]), [_entry(hub, sid, text) for hub, sid, _, text in masters]


@functools.lru_cache(maxsize=4096)
def _entry(hub: str, sid: str, text: str) -> Entry:
    name, is_core, declared = msgspec.json.decode(text)
    return Entry(hub, sid, name, _declaration(msgspec.json.encode(declared)), is_core)


@functools.lru_cache(maxsize=1024)
def _declaration(text: bytes) -> events.Declaration:
    """Instances of one class declare the same, which is kept once."""
    return events.parse_declaration(msgspec.json.decode(text))
