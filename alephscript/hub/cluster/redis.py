"""A registry in Redis or Valkey; alone knows redis-py.

Each decision is a script (`*.lua` beside this file, each behind `common.lua`), so that none can be
half done, and counts up one number. Every decision is published to all hubs with its number, so
that a hub knows that it has missed none. A hub lives by a lease (decision 0033). A hub is removed,
its masters with it, by the first that sees that the lease has run out or that nobody listens to the
hub's channel any more. A hub that was removed and comes back (its process was stopped for a while)
has another generation, and commands in the name of the old one are refused.

All commands go through one queue, several a round trip, so what one hub does keeps its order.

May go in: connections to Redis, queue, lease, subscriptions. May not: how records and frames are
written (`frames`), or what follows from a decision (`cluster`).
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import importlib.resources
import logging
import random
from collections.abc import Callable
from typing import Any

import redis.asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from alephscript.diagnostics.redaction import redacted
from alephscript.hub.cluster.commands import CommandQueue, Done
from alephscript.hub.cluster.deciding import OpenClaim, OpenClaims
from alephscript.hub.cluster.frames import (
    MALFORMED,
    RoomNotice,
    ValueNotice,
    read_field,
    read_notice,
    read_notice_number,
    read_standings,
    read_values,
    write_entry,
    write_field,
    write_value,
)
from alephscript.hub.cluster.pace import Pace
from alephscript.hub.cluster.registry import RegistryListener
from alephscript.hub.cluster.subscriptions import SUBSCRIBE, UNSUBSCRIBE, Subscriptions
from alephscript.mesh.effects import Claim, Release, Retain

__all__ = ["SCRIPTS", "RedisRegistry"]

logger = logging.getLogger("alephscript.hub.redis")

SCRIPTS = ("join", "dump", "beat", "claim", "release", "retain", "leave")
"""Names of the scripts."""

_LEASE_SECONDS = 1.5
"""How long a hub is believed to live without a sign of it."""

_BEAT_SECONDS = 0.5
_BUSY_BEAT_SECONDS = 0.05
"""Between two beats while a request here waits for another hub: the loss of that hub ends it."""

_TIMEOUT_SECONDS = 1.0
_SUBSCRIBING = (SUBSCRIBE, UNSUBSCRIBE)
_MOST_SKIPPED = 1000
"""Decisions of no sense that are remembered, so that none of them counts as missed."""


class _Adrift(Exception):
    """This hub is cut off from the others, and has to join again."""


class RedisRegistry:
    """A registry in Redis; see `alephscript.hub.cluster.registry.Registry`.

    Args:
        url: ``redis://[[username]:[password]@]host:port/database``, or ``rediss://``.
        prefix: The text that keys and channels begin with; meshes of different prefixes do not
            meet.
    """

    def __init__(self, url: str, *, prefix: str = "alephscript") -> None:
        self.url = url
        options = redis.ConnectionPool.from_url(url).connection_kwargs
        self._prefix = f"{prefix}:{options.get('db', 0)}"  # channels know nothing of databases
        self.is_busy: Callable[[], bool] = lambda: False
        self._hub = ""
        self._listener: RegistryListener
        self._seq = 0
        self._generation = b""
        self._source = ""  # names the data in which the registry keeps values
        self._shas: dict[str, str] = {}
        self._client: Any = None
        self._pubsub: Any = None
        self._skipped: set[int] = set()  # numbers of decisions that made no sense
        self._skips_told = Pace()
        self._queue = CommandQueue()
        self._beat_now = asyncio.Event()
        self._is_up = False
        self._claims = OpenClaims()
        self._subscriptions = Subscriptions()
        self._task: asyncio.Task[None] | None = None

    async def open(self, hub: str, listener: RegistryListener) -> None:
        """Join the hubs of the mesh; see `Registry`."""
        self._hub, self._listener = hub, listener
        try:
            await self._join()
        except (RedisError, OSError, TimeoutError, _Adrift) as exc:
            await self._hang_up()
            raise ConnectionError(str(exc) or type(exc).__name__) from exc
        self._start(0)

    async def close(self) -> None:
        """Leave; see `Registry`."""
        if self._task is None:
            return
        task, self._task = self._task, None
        await _end(task)
        if self._is_up:
            self._is_up = False
            with contextlib.suppress(RedisError, OSError, TimeoutError):
                left = [each for each, _ in self._queue.take_all() if each[0] not in _SUBSCRIBING]
                await self._execute([*left, self._command("leave", self._hub)])
        self._claims.close()
        await self._hang_up()

    # What a hub asks for

    def claim(self, namespace: str, claim: Claim, done: Callable[[int | None], None]) -> None:
        """Make a peer master of a room; see `Registry`."""
        waiting = self._claims.add(namespace, claim, done)
        if self._is_up:
            self._put_claim(waiting)

    def release(self, namespace: str, release: Release) -> None:
        """Make a peer master of a room no longer; see `Registry`."""
        if self._is_up:
            field = write_field(namespace, release.room)
            self._put(
                self._command("release", self._hub, self._generation, field, release.sid), None
            )

    def retain(self, namespace: str, effect: Retain, undone: Callable[[], None]) -> None:
        """Decide that a value is the last one of its event; see `Registry`."""

        def done(result: Any) -> None:
            if isinstance(result, Exception):
                undone()
            elif result == 0:
                self._beat_now.set()  # refused: this hub may have been removed, the beat will say

        value = effect.value
        command = self._command(
            "retain",
            self._hub,
            self._generation,
            write_field(namespace, f"{effect.room}\n{effect.event}"),
            write_value(value, is_quiet=effect.is_quiet),
            "1" if value.data is None else "0",
            0 if value.is_pending else value.position,
        )
        self._put(command, done)

    def send(self, hub: str, data: bytes, undelivered: Callable[[], None] | None) -> None:
        """Send a frame to another hub; see `Registry`."""

        def done(listeners: Any) -> None:
            if listeners == 0:
                self._beat_now.set()  # that hub is gone: the beat removes it
            if undelivered is not None and (listeners == 0 or isinstance(listeners, Exception)):
                undelivered()

        self._put(("PUBLISH", f"{self._prefix}:to:{hub}", data), done)

    def say(self, namespace: str, room: str, data: bytes) -> None:
        """Send something to all hubs that subscribed to a room; see `Registry`."""
        self._put(("PUBLISH", self._channel(namespace, room), data), None)

    def subscribe(self, namespace: str, room: str, done: Callable[[], None]) -> None:
        """Receive from now on what other hubs say in a room; see `Registry`."""
        channel = self._channel(namespace, room)
        if not self._is_up:
            self._subscriptions.add(channel)  # `_join` subscribes to it
            done()
            return
        self._subscriptions.wait(channel, done)
        self._put((SUBSCRIBE, channel), None)

    def unsubscribe(self, namespace: str, room: str) -> None:
        """Stop receiving what other hubs say in a room; see `Registry`."""
        channel = self._channel(namespace, room)
        self._subscriptions.remove(channel)
        if self._is_up:
            self._put((UNSUBSCRIBE, channel), None)

    # How it lives

    def _start(self, pause: float) -> None:
        self._task = asyncio.get_running_loop().create_task(self._live(pause))
        self._task.add_done_callback(self._revive)

    def _revive(self, task: asyncio.Task[None]) -> None:
        """Begin anew if the hub's life ends in another way than by `close`."""
        if task is not self._task:
            return
        exc = (None if task.cancelled() else task.exception()) or asyncio.CancelledError()
        if isinstance(exc, KeyboardInterrupt | SystemExit):
            return  # which end the program
        logger.error(
            "adrift: the task of the registry has ended",
            exc_info=redacted(exc),
            extra={"hub": self._hub},
        )
        self._start(_pause())
        self._go_adrift()

    async def _live(self, pause: float) -> None:
        """Serve until cancelled; whenever the registry is out of reach, try to join again.

        Args:
            pause: Seconds to wait before anything else.
        """
        await asyncio.sleep(pause)
        while True:
            if self._is_up:
                try:
                    await self._serve()
                except Exception as exc:  # noqa: BLE001 - whatever it was, this hub joins again
                    self._warn(exc)
            self._go_adrift()
            await self._hang_up()
            await self._join_again()

    def _warn(self, exc: Exception) -> None:
        why = str(exc) if isinstance(exc, _Adrift) else type(exc).__name__
        logger.warning(
            "adrift: %s; local work goes on", why, extra={"hub": self._hub, "reason": why}
        )
        if not isinstance(exc, RedisError | OSError | TimeoutError | _Adrift):
            logger.error("the registry failed", exc_info=redacted(exc), extra={"hub": self._hub})

    async def _join_again(self) -> None:
        last = None
        while True:
            # Many hubs come back at the same time, to a Redis that has just begun.
            await asyncio.sleep(_pause())
            try:
                await self._join()
            except (RedisError, OSError, TimeoutError, _Adrift):
                await self._hang_up()
            except Exception as exc:  # noqa: BLE001 - as above
                if type(exc) is not last:  # once, not several times a second
                    self._warn(exc)
                last = type(exc)
                self._is_up = False
                await self._hang_up()
            else:
                logger.warning("joined again", extra={"hub": self._hub})
                return

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        tasks = [loop.create_task(each()) for each in (self._hear, self._beat, self._write)]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                if task.cancelled():
                    raise _Adrift("a task of the registry was cancelled")
                task.result()
        finally:
            await _end(*tasks)

    async def _join(self) -> None:
        """Listen, then take part, then look around: nothing that is decided can be missed."""
        self._client = self._connected()
        self._pubsub = self._client.pubsub()
        # `_go_adrift` has told those that waited for a subscription; nobody waits for these.
        mine, notices = f"{self._prefix}:to:{self._hub}", f"{self._prefix}:notices"
        channels = [mine, notices, *self._subscriptions]
        async with asyncio.timeout(_TIMEOUT_SECONDS * 3):
            await self._pubsub.subscribe(*channels)
            for _ in channels:
                while (await self._pubsub.get_message(timeout=_TIMEOUT_SECONDS)) is None:
                    raise TimeoutError("Redis does not answer")
            for name in SCRIPTS:
                self._shas[name] = await self._client.script_load(_script(name))
            lease = round(_LEASE_SECONDS * 1000)
            joined = self._command("join", self._hub, lease, self._seq)
            (generation,) = await self._execute([joined])
            self._generation = str(generation).encode()
            claims = [self._claim_command(*each) for each in self._listener.reclaims()]
            *_, (seq, rooms, hubs, kept) = await self._execute([*claims, self._command("dump")])
        self._seq = seq
        self._skipped.clear()
        self._queue.take_all()
        self._is_up = True
        others = {hub.decode(errors="replace") for hub in hubs} - {self._hub}
        source, values = read_values(kept, self._skip)
        is_lost, self._source = source != self._source, source
        standings = read_standings(rooms, self._skip)
        self._listener.resynchronise(others, standings, values, is_lost=is_lost)
        for waiting in self._claims:
            self._put_claim(waiting)

    def _go_adrift(self) -> None:
        self._is_up = False
        queue = self._queue.take_all()
        self._claims.reset()
        self._listener.go_adrift()
        for _, done in queue:
            if done is not None:
                done(_Adrift())
        self._subscriptions.reset()

    async def _hang_up(self) -> None:
        client, pubsub = self._client, self._pubsub
        self._client = self._pubsub = None
        for each in (pubsub, client):
            if each is not None:
                with contextlib.suppress(RedisError, OSError, TimeoutError):
                    await each.aclose()

    async def _write(self) -> None:
        while True:
            await self._queue.wake.wait()
            self._queue.wake.clear()
            while self._queue:
                batch = self._queue.take_batch()
                mine = [command for command, _ in batch if command[0] not in _SUBSCRIBING]
                steps = [
                    (verb, channel) for (verb, channel, *_), _ in batch if verb in _SUBSCRIBING
                ]
                joined, left = self._subscriptions.reduce(steps)
                if joined:
                    await self._pubsub.subscribe(*joined)
                if left:
                    await self._pubsub.unsubscribe(*left)
                results = iter(await self._execute(mine) if mine else [])
                self._queue.answered()  # not before: else what waits ends unanswered
                for command, done in batch:
                    result = None if command[0] in _SUBSCRIBING else next(results)
                    if done is not None:
                        done(result)
                # A turn of the loop: a full queue never lets others wait.
                await asyncio.sleep(0)

    async def _beat(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_BUSY_BEAT_SECONDS if self.is_busy() else _BEAT_SECONDS):
                    await self._beat_now.wait()
            self._beat_now.clear()
            beaten = asyncio.get_running_loop().create_future()

            def done(result: Any, beaten: asyncio.Future[Any] = beaten) -> None:
                if not beaten.done():
                    beaten.set_result(result)

            lease = round(_LEASE_SECONDS * 1000)
            self._queue.put_first(self._command("beat", self._hub, self._generation, lease), done)
            async with asyncio.timeout(_TIMEOUT_SECONDS * 2):
                if await beaten != 1:
                    raise _Adrift("others took this hub for dead")

    async def _hear(self) -> None:
        notices = f"{self._prefix}:notices".encode()
        mine = f"{self._prefix}:to:{self._hub}".encode()
        rooms = f"{self._prefix}:in:".encode()
        async for message in self._pubsub.listen():
            kind, channel, data = message["type"], message["channel"], message["data"]
            if kind == "subscribe":
                self._subscriptions.confirm(channel)
            elif kind != "message":
                pass
            elif channel == mine:
                self._listener.handle_frame(data)
            elif channel == notices:
                self._follow(data)
            elif channel in self._subscriptions:
                namespace, room = read_field(channel.removeprefix(rooms).decode())
                self._listener.handle_announcement(namespace, room, data)
        raise _Adrift("Redis ended the subscription")

    def _follow(self, data: bytes) -> None:
        """Do what was decided, in the order of the numbers."""
        try:
            notice = read_notice(data)
        except MALFORMED as exc:
            self._skip(exc)
            number = read_notice_number(data)
            if number is not None and len(self._skipped) < _MOST_SKIPPED:
                self._skipped.add(number)
            return
        if notice.seq <= self._seq:
            return  # made before this hub joined, and part of what it was told then
        self._count_up(notice.seq)
        if isinstance(notice, RoomNotice):
            self._listener.apply_decision(
                notice.namespace, notice.room, notice.epoch, notice.entries
            )
            self._claims.finish(self._seq)
        elif isinstance(notice, ValueNotice):
            self._source = notice.source
            self._listener.apply_value(
                notice.namespace, notice.room, notice.event, notice.value, is_quiet=notice.is_quiet
            )
        elif notice.hub == self._hub:
            if notice.is_gone:
                raise _Adrift("others took this hub for dead")
        elif notice.is_gone:
            self._listener.hub_gone(notice.hub)
        else:
            self._listener.hub_came(notice.hub)

    def _count_up(self, seq: int) -> None:
        """Take the number of a decision, which has to be the next one that makes sense."""
        while self._seq + 1 < seq and self._seq + 1 in self._skipped:
            self._seq += 1
        if seq != self._seq + 1:
            raise _Adrift("a decision of the registry was missed")
        self._seq = seq
        if self._skipped:
            self._skipped = {each for each in self._skipped if each > seq}

    def _skip(self, exc: Exception) -> None:
        if self._skips_told.is_due():
            logger.error(
                "a decision of the registry makes no sense",
                exc_info=redacted(exc),
                extra={"hub": self._hub},
            )

    # Claims

    def _put_claim(self, waiting: OpenClaim) -> None:
        def done(result: Any) -> None:
            if isinstance(result, list):
                self._claims.decide(waiting, *result)
                self._claims.finish(self._seq)
            elif not isinstance(result, Exception):
                self._beat_now.set()  # refused: this hub may have been removed, the beat will say

        self._put(self._claim_command(waiting.namespace, waiting.claim), done)

    def _claim_command(self, namespace: str, claim: Claim) -> tuple[Any, ...]:
        return self._command(
            "claim",
            self._hub,
            self._generation,
            write_field(namespace, claim.room),
            claim.sid,
            str(claim.declared["group"]),
            write_entry(claim),
            "1" if claim.reclaiming else "0",
            claim.epoch,
        )

    # Commands

    def _connected(self) -> Any:
        return redis.Redis.from_url(
            self.url,
            socket_timeout=_TIMEOUT_SECONDS,
            socket_connect_timeout=_TIMEOUT_SECONDS,
            retry=Retry(NoBackoff(), 0),  # a link that is gone means that something was missed
        )

    def _command(self, name: str, *arguments: Any) -> tuple[Any, ...]:
        return ("EVALSHA", self._shas[name], 1, self._prefix, *arguments)

    def _put(self, command: tuple[Any, ...], done: Done | None) -> None:
        if self._queue.is_full or not self._is_up:
            if done is not None:
                asyncio.get_running_loop().call_soon(done, _Adrift("Redis is out of reach"))
            return
        self._queue.put(command, done)

    async def _execute(self, commands: list[tuple[Any, ...]]) -> list[Any]:
        pipeline = self._client.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)
        results: list[Any] = await pipeline.execute()
        return results

    def _channel(self, namespace: str, room: str) -> bytes:
        return f"{self._prefix}:in:{write_field(namespace, room)}".encode()


def _pause() -> float:
    return random.uniform(0.05, 0.3)  # noqa: S311 - no secret


async def _end(*tasks: asyncio.Task[None]) -> None:
    """End tasks; several times, as redis-py loses a cancellation that comes with an answer."""
    running = set(tasks)
    while running:
        for task in running:
            task.cancel()
        _, running = await asyncio.wait(running, timeout=0.2)


@functools.cache
def _script(name: str) -> str:
    """Read a script from the package."""
    folder = importlib.resources.files("alephscript.hub.cluster")
    return "".join(
        folder.joinpath(f"{part}.lua").read_text(encoding="utf-8") for part in ("common", name)
    )
