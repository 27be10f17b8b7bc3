"""A registry in Redis or Valkey.

Each decision is a script, and counts up one number (`scripts`, `notices`). A hub lives by a lease
(decision 0033). A hub is removed, its masters with it, by the first that sees that the lease has
run out or that nobody listens to the hub's channel any more. A hub that was removed and comes back
(its process was stopped for a while) has another generation, and commands in the name of the old
one are refused.

All commands go through one queue and one connection, so what one hub does keeps its order. What
waits is sent at the end of a turn of the loop, what is for one hub in one message (decision 0047).

May go in: when commands are sent, lease, subscriptions. May not: how records and frames are written
(`frames`), what a command says (`scripts`), what comes (`hearing`, `notices`), how Redis is reached
and spoken to (`opening`, `resp`), or what follows from a decision (`cluster`). Over 500 lines,
because joining, serving and drifting share what a hub knows of Redis.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable, Collection, Sequence
from typing import Any

from alephscript.diagnostics.redaction import redacted
from alephscript.hub.cluster.commands import Command, CommandQueue, Done
from alephscript.hub.cluster.deciding import OpenClaim, OpenClaims
from alephscript.hub.cluster.frames import (
    read_standings,
    read_trusted_hubs,
    read_values,
    write_frames_head,
    write_head,
    write_item,
    write_single,
)
from alephscript.hub.cluster.hearing import Hearing
from alephscript.hub.cluster.notices import Adrift, Notices, Uncertain
from alephscript.hub.cluster.opening import Place, database_of, open_connection
from alephscript.hub.cluster.registry import RegistryListener
from alephscript.hub.cluster.resp import Commands, RedisConnection, Refused
from alephscript.hub.cluster.scripts import Scripts
from alephscript.hub.cluster.shards import Shards, find_place, find_slots
from alephscript.hub.cluster.signing import OPEN, Seals
from alephscript.hub.cluster.subscriptions import SUBSCRIBE, UNSUBSCRIBE, Subscriptions
from alephscript.mesh.effects import Claim, Release, Retain

__all__ = ["RedisRegistry"]

logger = logging.getLogger("alephscript.hub.redis")

_BEAT_SECONDS = 0.5
_BUSY_BEAT_SECONDS = 0.05
"""Between two beats while a request here waits for another hub: the loss of that hub ends it."""

_TIMEOUT_SECONDS = 1.0


class RedisRegistry:
    """A registry in Redis; see `alephscript.hub.cluster.registry.Registry`.

    Args:
        url: ``redis://[[username]:[password]@]host:port/database``, or ``rediss://``.
        prefix: The text that keys and channels begin with; meshes of different prefixes do not
            meet.
        seals: Signs what is written, and looks at what is read.
        version: This hub's version, which the others are told.
        log: The rooms that have a log there; ``*`` for all.
    """

    def __init__(
        self,
        url: str,
        *,
        prefix: str = "alephscript",
        seals: Seals = OPEN,
        version: str = "",
        log: Collection[str] = (),
    ) -> None:
        self.url = url
        self.refuse: Callable[[Exception], None] = lambda _: None
        self.call_when_read: Callable[[Callable[[], None]], Any] = lambda call: (
            asyncio.get_running_loop().call_soon(call)
        )
        self._seals = seals
        prefix = f"{prefix}:{database_of(url)}"  # channels know nothing of databases
        self._scripts = Scripts(seals, prefix, version)
        self._claims = OpenClaims()
        self._subscriptions = Subscriptions()
        self._notices = Notices(seals, version, self._refuse, self._claims.finish)
        self._hearing = Hearing(
            seals,
            prefix,
            self._subscriptions,
            self._refuse,
            self._notices.follow,
            self._subscribed,
            log,
        )
        self._shards: Shards | None = None  # in a Redis Cluster
        self._sharded = ""  # S, what commands of channels begin with in a cluster
        self._is_known = False  # whether the Redis is a cluster
        self.is_busy: Callable[[], bool] = lambda: False
        self._hub = ""
        self._listener: RegistryListener
        self._commands: Commands | None = None
        self._channels: RedisConnection | None = None
        self._head = b""
        self._heads: dict[str, bytes] = {}  # of messages of frames, by namespace
        self._released: list[tuple[str, Release]] | None = None  # while the hub joins
        self._unconfirmed = 0
        self._confirmed: asyncio.Future[None]
        self._steps: list[tuple[str, bytes]] = []
        self._is_flushing = False
        self._is_full = False  # whether commands wait for replies to others
        self._beat_now = asyncio.Event()
        self._queue = CommandQueue(self._return, self._sign_message if seals else None)
        self._is_up = False
        self._task: asyncio.Task[None] | None = None

    async def open(self, hub: str, listener: RegistryListener) -> None:
        """Join the hubs of the mesh; see `Registry`."""
        self._hub, self._listener = hub, listener
        self._scripts.hub = self._notices.hub = hub
        self._notices.listener = self._hearing.listener = listener
        self._head = write_head(hub)
        self._heads.clear()
        try:
            await self._join()
        except (Refused, OSError, TimeoutError, Adrift) as exc:
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
            with contextlib.suppress(Refused, OSError, TimeoutError):
                assert self._commands is not None
                leaving = [self._scripts.leave()]
                await self._commands.execute(leaving, before=self._queue.take_all())
        self._claims.close()
        await self._hang_up()

    def _refuse(self, exc: Exception) -> None:
        self.refuse(exc)  # whoever is told by then

    # What a hub asks for

    def claim(self, namespace: str, claim: Claim, done: Callable[[int | None], None]) -> None:
        """Make a peer master of a room; see `Registry`."""
        waiting = self._claims.add(namespace, claim, done)
        if self._is_up:
            self._put_claim(waiting)

    def release(self, namespace: str, release: Release) -> None:
        """Make a peer master of a room no longer; see `Registry`."""
        if self._is_up:
            self._put(self._scripts.release(namespace, release), None)
        elif self._released is not None:
            self._released.append((namespace, release))

    def retain(self, namespace: str, effect: Retain, undone: Callable[[], None]) -> None:
        """Decide that a value is the last one of its event; see `Registry`."""

        def done(result: Any) -> None:
            if isinstance(result, Exception):
                undone()
            elif result == 0:
                self._beat_now.set()  # refused: this hub may have been removed, the beat will say

        self._put(self._scripts.retain(namespace, effect), done)

    def append(
        self, namespace: str, room: str, words: tuple[Any, ...], done: Callable[[Any], None]
    ) -> None:
        """Put what is said in a room into its log; see `append.lua`.

        Args:
            namespace: The room's namespace.
            room: The room.
            words: What the script is told besides.
            done: Told the script's result, or what was raised.
        """

        def told(result: Any) -> None:
            if result == 0:
                self._beat_now.set()  # refused: this hub may have been removed, the beat will say
            done(result)

        self._put(self._scripts.append(namespace, room, words), told)

    def send(self, hub: str, namespace: str, frame: Sequence[Any]) -> None:
        """Send a frame to another hub; see `Registry`."""
        if hub in self._notices.earlier:
            head, item = self._head, write_item((namespace, *frame))
        else:
            head, item = self._heads.get(namespace, b""), write_item(frame)
            if not head:
                head = self._heads[namespace] = write_frames_head(self._hub, namespace)
        returned = (hub, namespace, frame) if frame[0] == "ask" else None
        if hub in self._notices.before:
            self._send_single(hub, item, returned)
        # No call that does nothing: frames are many.
        elif self._is_up and self._queue.put_frame(hub, head, item, returned):
            if not self._is_flushing:
                self._flush_soon()
        elif returned is not None:
            asyncio.get_running_loop().call_soon(self._listener.undelivered, *returned)

    def _send_single(self, hub: str, item: bytes, returned: tuple[Any, ...] | None) -> None:
        """Send a frame to a hub that reads no messages of several."""

        def done(listeners: Any) -> None:
            if listeners == 0 or isinstance(listeners, Exception):
                self._return(listeners, [] if returned is None else [returned])

        self._put(("PUBLISH", f"{self._queue.hubs}{hub}", write_single(self._hub, item)), done)

    def _return(self, listeners: Any, frames: Sequence[Any]) -> None:
        """Give back what nobody was there to take."""
        if listeners == 0:
            self._beat_now.set()  # the hub is gone: the beat removes it
        for frame in frames:
            self._listener.undelivered(*frame)

    def say(self, namespace: str, room: str, data: bytes) -> None:
        """Send something to all hubs that subscribed to a room; see `Registry`."""
        channel = self._hearing.channel_of(namespace, room)
        if self._notices.before:
            self._put(("PUBLISH", channel, write_single(self._hub, data)), None)
        elif (
            self._is_up
            and self._shards is not None
            and not channel.startswith(self._hearing.home)  # `_is_elsewhere`, without the call
        ):
            self._shards.say(channel, self._head, data)
        elif self._is_up and not self._queue.is_full:
            self._queue.put_announcement(channel, self._head, data)
            self._flush_soon()

    def subscribe(self, namespace: str, room: str, done: Callable[[], None]) -> None:
        """Receive from now on what other hubs say in a room; see `Registry`."""
        channel = self._hearing.channel_of(namespace, room)
        if not self._is_up:
            self._subscriptions.add(channel)  # `_join` subscribes to it
            done()
            return
        self._subscriptions.wait(channel, done)
        self._steps.append((SUBSCRIBE, channel))
        self._flush_soon()

    def unsubscribe(self, namespace: str, room: str) -> None:
        """Stop receiving what other hubs say in a room; see `Registry`."""
        channel = self._hearing.channel_of(namespace, room)
        self._subscriptions.remove(channel)
        if self._is_up:
            self._steps.append((UNSUBSCRIBE, channel))
            self._flush_soon()

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
        why = str(exc) if isinstance(exc, Adrift) else type(exc).__name__
        logger.warning(
            "adrift: %s; local work goes on", why, extra={"hub": self._hub, "reason": why}
        )
        if not isinstance(exc, Refused | OSError | TimeoutError | Adrift):
            logger.error("the registry failed", exc_info=redacted(exc), extra={"hub": self._hub})

    async def _join_again(self) -> None:
        last = None
        while True:
            # Many hubs come back at the same time, to a Redis that has just begun.
            await asyncio.sleep(_pause())
            try:
                await self._join()
            except (Refused, OSError, TimeoutError, Adrift):
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
        parts = [self._hear, self._beat, self._write]
        if self._shards is not None:
            parts.append(self._shards.keep)
        tasks = [loop.create_task(each()) for each in parts]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                if task.cancelled():
                    raise Adrift("a task of the registry was cancelled")
                task.result()
        finally:
            await _end(*tasks)

    async def _join(self) -> None:
        """Listen, then take part, then look around: nothing that is decided can be missed."""
        # `_go_adrift` has told those that waited for a subscription; nobody waits for these.
        async with asyncio.timeout(_TIMEOUT_SECONDS * 3):
            place = await self._look_for_nodes()
            self._queue.hubs = f"{self._scripts.prefix}:to:"
            self._hearing.mine = f"{self._queue.hubs}{self._hub}".encode()
            self._hearing.notices = f"{self._scripts.prefix}:notices".encode()
            heard = {each for each in self._subscriptions if not self._is_elsewhere(each)}
            listened = [self._hearing.mine, self._hearing.notices, *heard]
            writer = await open_connection(self.url, _TIMEOUT_SECONDS, place)
            self._commands = commands = Commands(self._answered, writer)
            writer = await open_connection(self.url, _TIMEOUT_SECONDS, place)
            self._channels = channels = RedisConnection(self._hearing.take, writer)
            commands.resume()
            self._unconfirmed = len(listened)
            self._confirmed = asyncio.get_running_loop().create_future()
            channels.write((self._sharded + SUBSCRIBE, *listened))
            channels.resume()
            await channels.wait_for(self._confirmed)
            await self._scripts.load(commands)
            (generation,) = await commands.execute([self._scripts.join(self._notices.seq)])
            self._scripts.generation = str(generation).encode()
            self._released = []  # what is claimed now may be given up before all is known here
            claims = [self._scripts.claim(*each) for each in self._listener.reclaims()]
            dump = self._scripts.dump()
            *_, (seq, rooms, hubs, kept, came) = await commands.execute([*claims, dump])
        self._queue.take_all()
        self._is_up = True
        self._catch_up(heard)
        notices = self._notices
        others = read_trusted_hubs(hubs, came, self._seals, notices.skip) - {self._hub}
        notices.begin(seq, others)
        source, values = read_values(kept, self._seals, notices.skip)
        is_lost, notices.source = source != notices.source, source
        standings = read_standings(rooms, self._seals, notices.skip)
        self._listener.resynchronise(others, standings, values, is_lost=is_lost)
        released, self._released = self._released or (), None
        for namespace, release in released:
            self.release(namespace, release)
        for waiting in self._claims:
            self._put_claim(waiting)

    def _catch_up(self, heard: set[bytes]) -> None:
        """Hear the rooms that members have entered, and no other, since the hub began to join."""
        wanted = {each for each in self._subscriptions if not self._is_elsewhere(each)}
        self._steps = [(SUBSCRIBE, each) for each in wanted - heard]
        self._steps += [(UNSUBSCRIBE, each) for each in heard - wanted]
        if self._shards is not None:
            self._shards.catch_up()

    async def _look_for_nodes(self) -> Place | None:
        """Find the node that has the registry, and connect to those that have rooms.

        Returns:
            None for a Redis that is no cluster.
        """
        if self._is_known and self._shards is None:
            return None
        places = () if self._shards is None else self._shards.places
        slots = await find_slots(self.url, _TIMEOUT_SECONDS, places)
        self._is_known = True
        if slots is None:
            return None
        if self._shards is None:
            # All of the registry is in one slot, with the channels of hubs, so that what is said
            # there keeps its order; rooms' channels are wherever they are.
            self._scripts.prefix = f"{{{self._scripts.prefix}}}"
            self._hearing.home = self._scripts.prefix.encode()
            self._sharded, self._queue.publish = "S", "SPUBLISH"
            self._shards = Shards(
                self.url,
                _TIMEOUT_SECONDS,
                lambda: filter(self._is_elsewhere, self._subscriptions),
                self._hearing.take_from_room,
                self._subscriptions.confirm,
                self._sign_message if self._seals else None,
            )
        await self._shards.open(slots)
        return find_place(slots, self._scripts.prefix.encode())

    def _is_elsewhere(self, channel: bytes) -> bool:
        """Whether a room's channel is wherever its own slot is, and not where the registry is."""
        return self._shards is not None and not channel.startswith(self._hearing.home)

    def _go_adrift(self) -> None:
        self._is_up = False
        sent: list[Command] = []
        if self._commands is not None:
            sent.extend(self._commands.awaited)
            self._commands.awaited.clear()
        left = self._queue.take_all()
        self._claims.reset()
        self._listener.go_adrift()
        for commands, error in ((sent, Uncertain()), (left, Adrift())):
            for command in commands:
                if command.done is not None:
                    command.done(error)
        self._subscriptions.reset()

    async def _hang_up(self) -> None:
        self._released = None
        if self._shards is not None:
            self._shards.close()
        connections = (self._commands, self._channels)
        self._commands = self._channels = None
        for each in connections:
            if each is not None:
                each.fail(ConnectionError("closed"))
        await asyncio.sleep(0)  # in which their sockets are closed

    async def _write(self) -> None:
        """Send what waits, until Redis is away."""
        assert self._commands is not None
        self._flush_soon()
        await self._commands.until_ended()

    def _flush_soon(self) -> None:
        """Send what waits at the end of this turn of the loop: all that it brings together.

        Where nothing is under way, it leaves as soon as what is read now is handled: under load
        something always is, and one request alone is answered the sooner.
        """
        if not self._is_flushing:
            self._is_flushing = True
            if self._commands is not None and self._commands.awaited:
                asyncio.get_running_loop().call_soon(self._send_waiting)
            else:
                self.call_when_read(self._send_waiting)

    def _send_waiting(self) -> None:
        self._is_flushing = False
        commands, channels = self._commands, self._channels
        if commands is None or channels is None or not self._is_up:
            return
        try:
            if self._steps:
                joined, left = self._subscriptions.reduce(self._steps)
                self._steps.clear()
                if self._shards is not None:
                    self._shards.subscribe(filter(self._is_elsewhere, joined))
                    self._shards.unsubscribe(filter(self._is_elsewhere, left))
                for verb, steps in ((SUBSCRIBE, joined), (UNSUBSCRIBE, left)):
                    here = [each for each in steps if not self._is_elsewhere(each)]
                    if here:
                        channels.write((self._sharded + verb, *here))
            batch = self._queue.take(len(commands.awaited), commands.bytes)
            if batch:
                commands.send(batch)
            self._is_full = bool(self._queue)
        except Exception as exc:  # noqa: BLE001 - whatever it was, this hub joins again
            commands.fail(exc)

    def _answered(self, command: Command, reply: Any) -> None:
        if command.done is not None:
            command.done(reply)
        if self._is_full:
            self._flush_soon()

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

            self._queue.put_first(self._scripts.beat(), done)
            self._flush_soon()
            async with asyncio.timeout(_TIMEOUT_SECONDS * 2):
                silent = await beaten
            if silent == 0:
                raise Adrift("others took this hub for dead")
            for hub in () if silent == 1 else silent:
                self._put(self._scripts.remove(hub.decode(errors="replace")), None)

    async def _hear(self) -> None:
        """Take what comes, until Redis is away."""
        assert self._channels is not None
        self._channels.resume()
        await self._channels.until_ended()

    def _subscribed(self, channel: bytes) -> None:
        """Take a channel that is heard from now on."""
        if not self._unconfirmed:
            self._subscriptions.confirm(channel)
            return
        self._unconfirmed -= 1
        if not self._unconfirmed:
            assert self._channels is not None
            self._channels.pause()  # until this hub has taken part
            if not self._confirmed.done():
                self._confirmed.set_result(None)

    # Claims

    def _put_claim(self, waiting: OpenClaim) -> None:
        def decide(pong: Any, seq: int, epoch: int) -> None:
            if not isinstance(pong, Exception):
                self._claims.decide(waiting, seq, epoch)
                self._claims.finish(self._notices.seq)

        def done(result: Any) -> None:
            if isinstance(result, list):
                # When Redis answers once more it has told all hubs: who hears that a member masters
                # a room may ask for that at another one.
                self._put(("PING",), lambda pong: decide(pong, *result))
            elif not isinstance(result, Exception):
                self._beat_now.set()  # refused: this hub may have been removed, the beat will say

        self._put(self._scripts.claim(waiting.namespace, waiting.claim), done)

    def _sign_message(self, channel: str | bytes, message: bytes) -> bytes:
        return self._seals.sign_once("message", channel, message)

    # Commands

    def _put(self, command: tuple[Any, ...], done: Done | None) -> None:
        if self._queue.is_full or not self._is_up:
            if done is not None:
                asyncio.get_running_loop().call_soon(done, Adrift("Redis is out of reach"))
            return
        self._queue.put(command, done)
        self._flush_soon()


def _pause() -> float:
    return random.uniform(0.05, 0.3)  # noqa: S311 - no secret


async def _end(*tasks: asyncio.Task[None]) -> None:
    """End tasks; several times, as redis-py loses a cancellation that comes with an answer."""
    running = set(tasks)
    while running:
        for task in running:
            task.cancel()
        _, running = await asyncio.wait(running, timeout=0.2)
