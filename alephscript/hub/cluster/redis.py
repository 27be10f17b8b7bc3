"""A registry in Redis or Valkey.

Each decision is a script (`*.lua` beside this file, each behind `common.lua`), so that none can be
half done, and counts up one number. Every decision is published to all hubs with its number, so
that a hub knows that it has missed none. A hub lives by a lease (decision 0033). A hub is removed,
its masters with it, by the first that sees that the lease has run out or that nobody listens to the
hub's channel any more. A hub that was removed and comes back (its process was stopped for a while)
has another generation, and commands in the name of the old one are refused.

All commands go through one queue and one connection, so what one hub does keeps its order. What
waits is sent at the end of a turn of the loop, what is for one hub in one message (decision 0047).

May go in: when commands are sent, lease, subscriptions. May not: how records and frames are written
(`frames`), how Redis is reached and spoken to (`opening`, `resp`), or what follows from a decision
(`cluster`). Over 500 lines, because joining, serving and drifting share what a hub knows of Redis.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import importlib.resources
import logging
import random
from collections.abc import Callable, Sequence
from typing import Any

from alephscript.diagnostics.redaction import redacted
from alephscript.hub.cluster.commands import Command, CommandQueue, Done
from alephscript.hub.cluster.deciding import OpenClaim, OpenClaims
from alephscript.hub.cluster.frames import (
    LOGGED,
    MALFORMED,
    HubNotice,
    RoomNotice,
    ValueNotice,
    find_sender,
    master_place,
    read_field,
    read_logged,
    read_notice,
    read_notice_number,
    read_standings,
    read_trusted_hubs,
    read_values,
    reads_kinds,
    reads_messages,
    value_place,
    write_entry,
    write_field,
    write_frames_head,
    write_head,
    write_item,
    write_single,
    write_value,
)
from alephscript.hub.cluster.opening import Place, database_of, open_connection
from alephscript.hub.cluster.pace import Pace
from alephscript.hub.cluster.registry import RegistryListener
from alephscript.hub.cluster.resp import Commands, RedisConnection, Refused
from alephscript.hub.cluster.shards import Shards, find_place, find_slots
from alephscript.hub.cluster.signing import OPEN, Freshness, Seals, Untrusted
from alephscript.hub.cluster.subscriptions import SUBSCRIBE, UNSUBSCRIBE, Subscriptions
from alephscript.mesh.effects import Claim, Release, Retain

__all__ = ["SCRIPTS", "RedisRegistry"]

logger = logging.getLogger("alephscript.hub.redis")

SCRIPTS = ("join", "dump", "beat", "remove", "claim", "release", "retain", "append", "leave")
"""Names of the scripts."""

_LEASE_SECONDS = 1.5
"""How long a hub is believed to live without a sign of it."""

_BEAT_SECONDS = 0.5
_BUSY_BEAT_SECONDS = 0.05
"""Between two beats while a request here waits for another hub: the loss of that hub ends it."""

_TIMEOUT_SECONDS = 1.0
_MESSAGES, _SUBSCRIBED = (b"message", b"smessage"), (b"subscribe", b"ssubscribe")
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
        seals: Signs what is written, and looks at what is read.
        version: This hub's version, which the others are told.
    """

    def __init__(
        self,
        url: str,
        *,
        prefix: str = "alephscript",
        seals: Seals = OPEN,
        version: str = "",
    ) -> None:
        self.url = url
        self.refuse: Callable[[Exception], None] = lambda _: None
        self.call_when_read: Callable[[Callable[[], None]], None]
        self._seals = seals
        self._has_key = bool(seals)
        self._version = version
        self._messages_seen, self._notices_seen = Freshness(), Freshness()
        self._logged_seen = Freshness()
        self._prefix = f"{prefix}:{database_of(url)}"  # channels know nothing of databases
        self._mine = b""
        self._notices = f"{self._prefix}:notices".encode()
        self._rooms = f"{self._prefix}:in:".encode()
        self._shards: Shards | None = None  # in a Redis Cluster
        self._subscribe = SUBSCRIBE
        self._is_known = False  # whether the Redis is a cluster
        self.is_busy: Callable[[], bool] = lambda: False
        self._hub = ""
        self._listener: RegistryListener
        self._seq = 0
        self._generation = b""
        self._source = ""  # names the data in which the registry keeps values
        self._shas: dict[str, str] = {}
        self._commands: Commands | None = None
        self._channels: RedisConnection | None = None
        self._head = b""
        self._heads: dict[str, bytes] = {}  # of messages of frames, by namespace
        self._before: set[str] = set()  # hubs that read no messages of several
        self._earlier: set[str] = set()  # those, and hubs whose frames begin with a namespace
        self._unconfirmed = 0
        self._confirmed: asyncio.Future[None]
        self._steps: list[tuple[str, bytes]] = []
        self._is_flushing = False
        self._skipped: set[int] = set()  # numbers of decisions that made no sense
        self._skips_told = Pace()
        self._beat_now = asyncio.Event()
        self._queue = CommandQueue(self._return, self._sign_message if seals else None)
        self._is_up = False
        self._claims = OpenClaims()
        self._subscriptions = Subscriptions()
        self._task: asyncio.Task[None] | None = None

    async def open(self, hub: str, listener: RegistryListener) -> None:
        """Join the hubs of the mesh; see `Registry`."""
        self._hub, self._listener = hub, listener
        self._head = write_head(hub)
        self._heads.clear()
        try:
            await self._join()
        except (Refused, OSError, TimeoutError, _Adrift) as exc:
            await self._hang_up()
            raise ConnectionError(str(exc) or type(exc).__name__) from exc
        self._start(0)

    @property
    def is_spread(self) -> bool:
        """Whether the Redis is a cluster, which has each room at one of its nodes."""
        return self._shards is not None

    async def close(self) -> None:
        """Leave; see `Registry`."""
        if self._task is None:
            return
        task, self._task = self._task, None
        await _end(task)
        if self._is_up:
            self._is_up = False
            with contextlib.suppress(Refused, OSError, TimeoutError):
                leaving = [self._command("leave", self._hub, self._sign_removal(self._hub))]
                assert self._commands is not None
                await self._commands.execute(leaving, before=self._queue.take_all())
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
                self._command(
                    "release",
                    *(self._hub, self._generation, field, release.sid),
                    self._seals.sign_once("room", f"{self._hub}\n{field}"),
                ),
                None,
            )

    def retain(self, namespace: str, effect: Retain, undone: Callable[[], None]) -> None:
        """Decide that a value is the last one of its event; see `Registry`."""

        def done(result: Any) -> None:
            if isinstance(result, Exception):
                undone()
            elif result == 0:
                self._beat_now.set()  # refused: this hub may have been removed, the beat will say

        value = effect.value
        field = write_field(namespace, f"{effect.room}\n{effect.event}")
        entry = self._seals.sign("value", field, write_value(value, is_quiet=effect.is_quiet))
        command = self._command(
            "retain",
            self._hub,
            self._generation,
            field,
            entry,
            "1" if value.data is None else "0",
            0 if value.is_pending else value.position,
            self._sign_value(field, entry),
        )
        self._put(command, done)

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
        field = write_field(namespace, room)

        def told(result: Any) -> None:
            if result == 0:
                self._beat_now.set()  # refused: this hub may have been removed, the beat will say
            done(result)

        self._put(self._command("append", self._hub, self._generation, field, *words), told)

    def send(self, hub: str, namespace: str, frame: Sequence[Any]) -> None:
        """Send a frame to another hub; see `Registry`."""
        if hub in self._earlier:
            head, item = self._head, write_item((namespace, *frame))
        else:
            head, item = self._heads.get(namespace, b""), write_item(frame)
            if not head:
                head = self._heads[namespace] = write_frames_head(self._hub, namespace)
        returned = (hub, namespace, frame) if frame[0] == "ask" else None
        if hub in self._before:
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
        channel = self._channel(namespace, room)
        if self._before:
            self._put(("PUBLISH", channel, write_single(self._hub, data)), None)
        elif self._is_up and self._shards is not None:
            self._shards.say(channel, self._head, data)
        elif self._is_up and not self._queue.is_full:
            self._queue.put_announcement(channel, self._head, data)
            self._flush_soon()

    def subscribe(self, namespace: str, room: str, done: Callable[[], None]) -> None:
        """Receive from now on what other hubs say in a room; see `Registry`."""
        channel = self._channel(namespace, room)
        if not self._is_up:
            self._subscriptions.add(channel)  # `_join` subscribes to it
            done()
            return
        self._subscriptions.wait(channel, done)
        self._steps.append((SUBSCRIBE, channel))
        self._flush_soon()

    def unsubscribe(self, namespace: str, room: str) -> None:
        """Stop receiving what other hubs say in a room; see `Registry`."""
        channel = self._channel(namespace, room)
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
        why = str(exc) if isinstance(exc, _Adrift) else type(exc).__name__
        logger.warning(
            "adrift: %s; local work goes on", why, extra={"hub": self._hub, "reason": why}
        )
        if not isinstance(exc, Refused | OSError | TimeoutError | _Adrift):
            logger.error("the registry failed", exc_info=redacted(exc), extra={"hub": self._hub})

    async def _join_again(self) -> None:
        last = None
        while True:
            # Many hubs come back at the same time, to a Redis that has just begun.
            await asyncio.sleep(_pause())
            try:
                await self._join()
            except (Refused, OSError, TimeoutError, _Adrift):
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
                    raise _Adrift("a task of the registry was cancelled")
                task.result()
        finally:
            await _end(*tasks)

    async def _join(self) -> None:
        """Listen, then take part, then look around: nothing that is decided can be missed."""
        # `_go_adrift` has told those that waited for a subscription; nobody waits for these.
        async with asyncio.timeout(_TIMEOUT_SECONDS * 3):
            place = await self._look_for_nodes()
            self._queue.hubs = f"{self._prefix}:to:"
            self._mine = f"{self._queue.hubs}{self._hub}".encode()
            listened = [self._mine, self._notices]
            if self._shards is None:
                listened += self._subscriptions
            writer = await open_connection(self.url, _TIMEOUT_SECONDS, place)
            self._commands = commands = Commands(self._answered, writer)
            writer = await open_connection(self.url, _TIMEOUT_SECONDS, place)
            self._channels = channels = RedisConnection(self._take, writer)
            commands.resume()
            self._unconfirmed = len(listened)
            self._confirmed = asyncio.get_running_loop().create_future()
            channels.write((self._subscribe, *listened))
            channels.resume()
            await channels.wait_for(self._confirmed)
            for name in SCRIPTS:
                (self._shas[name],) = await commands.execute([("SCRIPT", "LOAD", _script(name))])
            lease = round(_LEASE_SECONDS * 1000)
            removal = self._sign_removal(self._hub)
            coming = self._seals.sign_once("came", self._hub)
            joined = self._command(
                "join", self._hub, lease, self._seq, removal, coming, self._version
            )
            (generation,) = await commands.execute([joined])
            self._generation = str(generation).encode()
            claims = [self._claim_command(*each) for each in self._listener.reclaims()]
            dump = self._command("dump")
            *_, (seq, rooms, hubs, kept, came) = await commands.execute([*claims, dump])
        self._seq = seq
        self._skipped.clear()
        self._queue.take_all()
        self._steps.clear()
        self._is_up = True
        others = read_trusted_hubs(hubs, came, self._seals, self._skip) - {self._hub}
        self._before = {each for each in others if not reads_messages(each)}
        self._earlier = {each for each in others if not reads_kinds(each)}
        source, values = read_values(kept, self._seals, self._skip)
        is_lost, self._source = source != self._source, source
        standings = read_standings(rooms, self._seals, self._skip)
        self._listener.resynchronise(others, standings, values, is_lost=is_lost)
        for waiting in self._claims:
            self._put_claim(waiting)

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
            self._prefix = f"{{{self._prefix}}}"
            self._notices = f"{self._prefix}:notices".encode()
            self._subscribe, self._queue.publish = "SSUBSCRIBE", "SPUBLISH"
            self._shards = Shards(
                self.url,
                _TIMEOUT_SECONDS,
                self._subscriptions,
                self._take_from_room,
                self._subscriptions.confirm,
                self._sign_message if self._has_key else None,
            )
        await self._shards.open(slots)
        return find_place(slots, self._prefix.encode())

    def _go_adrift(self) -> None:
        self._is_up = False
        left = self._queue.take_all()
        if self._commands is not None:
            left[:0] = self._commands.awaited
            self._commands.awaited.clear()
        self._claims.reset()
        self._listener.go_adrift()
        for command in left:
            if command.done is not None:
                command.done(_Adrift())
        self._subscriptions.reset()

    async def _hang_up(self) -> None:
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
                    self._shards.subscribe(joined)
                    self._shards.unsubscribe(left)
                    joined = left = []
                if joined:
                    channels.write((SUBSCRIBE, *joined))
                if left:
                    channels.write((UNSUBSCRIBE, *left))
            batch = self._queue.take(len(commands.awaited), commands.bytes)
            if batch:
                commands.send(batch)
        except Exception as exc:  # noqa: BLE001 - whatever it was, this hub joins again
            commands.fail(exc)

    def _answered(self, command: Command, reply: Any) -> None:
        if command.done is not None:
            command.done(reply)
        if self._queue:
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

            lease = round(_LEASE_SECONDS * 1000)
            beat = self._command("beat", self._hub, self._generation, lease, int(self._has_key))
            self._queue.put_first(beat, done)
            self._flush_soon()
            async with asyncio.timeout(_TIMEOUT_SECONDS * 2):
                silent = await beaten
            if silent == 0:
                raise _Adrift("others took this hub for dead")
            for hub in () if silent == 1 else silent:
                name = hub.decode(errors="replace")
                removal = self._sign_removal(name)
                self._put(self._command("remove", self._hub, self._generation, hub, removal), None)

    async def _hear(self) -> None:
        """Take what comes, until Redis is away."""
        assert self._channels is not None
        self._channels.resume()
        await self._channels.until_ended()

    def _take(self, message: list[Any]) -> None:
        """Take what comes by a channel."""
        kind, channel, data = message
        if kind in _MESSAGES:
            if channel == self._mine and not self._has_key and not data.startswith(b"*"):
                self._listener.handle_frames(data)
            elif channel == self._notices:
                self._follow(data)
            elif data.startswith(LOGGED):
                self._take_logged(channel, data)
            elif self._has_key or data.startswith(b"*"):
                self._take_signed(channel, data, self._messages_seen)
            else:
                self._hand_over(channel, data)
        elif kind in _SUBSCRIBED:
            if not self._unconfirmed:
                self._subscriptions.confirm(channel)
                return
            self._unconfirmed -= 1
            if not self._unconfirmed:
                assert self._channels is not None
                self._channels.pause()  # until this hub has taken part
                if not self._confirmed.done():
                    self._confirmed.set_result(None)

    def _take_from_room(self, channel: bytes, data: bytes, seen: Freshness) -> None:
        """Take what a node of the cluster has of a room."""
        if self._has_key or data.startswith(b"*"):
            self._take_signed(channel, data, seen)
        else:
            self._hand_over(channel, data)

    def _take_signed(self, channel: bytes, data: bytes, seen: Freshness) -> None:
        try:
            stamp, text = self._seals.verify_once("message", channel, data)
            seen.take(find_sender(text), stamp)
        except Untrusted as exc:
            self.refuse(exc)
        else:
            self._hand_over(channel, text)

    def _take_logged(self, channel: bytes, data: bytes) -> None:
        """Take an entry of a log, which is signed as it stands there."""
        if channel not in self._subscriptions:
            return
        field = channel.removeprefix(self._rooms).decode()
        try:
            logged = read_logged(data, field, self._seals)
            self._logged_seen.take(logged.hub, logged.stamp)
        except MALFORMED as exc:
            self.refuse(exc)
        else:
            self._listener.handle_logged(*read_field(field), logged)

    def _hand_over(self, channel: bytes, message: bytes) -> None:
        if channel == self._mine:
            self._listener.handle_frames(message)
        elif channel in self._subscriptions:
            namespace, room = read_field(channel.removeprefix(self._rooms).decode())
            self._listener.handle_announcements(namespace, room, message)

    def _follow(self, data: bytes) -> None:
        """Do what was decided, in the order of the numbers."""
        try:
            notice, signature = read_notice(data, self._seals, self._skip)
            self._notices_seen.take(signature.by, signature.stamp, signature.about)
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
        else:
            self._follow_hub(notice)

    def _follow_hub(self, notice: HubNotice) -> None:
        """Take notice of a hub that comes or goes."""
        hub = notice.hub
        if hub == self._hub:
            if notice.is_gone:
                raise _Adrift("others took this hub for dead")
        elif notice.is_gone:
            self._before.discard(hub)
            self._earlier.discard(hub)
            self._listener.hub_gone(hub)
        else:
            if not reads_messages(hub):
                self._before.add(hub)
            if not reads_kinds(hub):
                self._earlier.add(hub)
            if notice.version != self._version:
                logger.info(
                    "hub %s has come, of version %s; this hub is of version %s",
                    hub,
                    notice.version or "unknown, an earlier one",
                    self._version,
                    extra={"hub": hub, "version": notice.version},
                )
            self._listener.hub_came(hub)

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
        self.refuse(exc)
        if not isinstance(exc, Untrusted) and self._skips_told.is_due():
            logger.error(
                "a decision of the registry makes no sense",
                exc_info=redacted(exc),
                extra={"hub": self._hub},
            )

    # Claims

    def _put_claim(self, waiting: OpenClaim) -> None:
        def decide(pong: Any, seq: int, epoch: int) -> None:
            if not isinstance(pong, Exception):
                self._claims.decide(waiting, seq, epoch)
                self._claims.finish(self._seq)

        def done(result: Any) -> None:
            if isinstance(result, list):
                # When Redis answers once more it has told all hubs: who hears that a member masters
                # a room may ask for that at another one.
                self._put(("PING",), lambda pong: decide(pong, *result))
            elif not isinstance(result, Exception):
                self._beat_now.set()  # refused: this hub may have been removed, the beat will say

        self._put(self._claim_command(waiting.namespace, waiting.claim), done)

    def _claim_command(self, namespace: str, claim: Claim) -> tuple[Any, ...]:
        field, group = write_field(namespace, claim.room), str(claim.declared["group"])
        place = master_place(field, self._hub, claim.sid, group)
        return self._command(
            "claim",
            self._hub,
            self._generation,
            field,
            claim.sid,
            group,
            self._seals.sign("master", place, write_entry(claim)),
            "1" if claim.reclaiming else "0",
            claim.epoch,
            self._seals.sign_once("room", f"{self._hub}\n{field}"),
        )

    # Signatures

    def _sign_message(self, channel: str | bytes, message: bytes) -> bytes:
        return self._seals.sign_once("message", channel, message)

    def _sign_removal(self, hub: str) -> bytes:
        return self._seals.sign_once("gone", f"{self._hub}\n{hub}")

    def _sign_value(self, field: str, entry: bytes) -> bytes:
        if not self._has_key:
            return b""
        return self._seals.sign_once("value", value_place(self._hub, field, entry.decode()))

    # Commands

    def _command(self, name: str, *arguments: Any) -> tuple[Any, ...]:
        return ("EVALSHA", self._shas[name], 1, self._prefix, *arguments)

    def _put(self, command: tuple[Any, ...], done: Done | None) -> None:
        if self._queue.is_full or not self._is_up:
            if done is not None:
                asyncio.get_running_loop().call_soon(done, _Adrift("Redis is out of reach"))
            return
        self._queue.put(command, done)
        self._flush_soon()

    def _channel(self, namespace: str, room: str) -> bytes:
        return self._rooms + write_field(namespace, room).encode()


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
