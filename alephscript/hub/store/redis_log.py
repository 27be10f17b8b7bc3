"""The log of rooms in the Redis that hubs share: a stream for each room.

Theory of operation. A script puts what is said into the room's stream and tells all hubs that hear
the room, in one step, so that all of them hear it in the stream's order; the hub that has put it
there hears it so, too. Scripts go the way of all that hubs write to each other (`append`), so that
what one member says and asks keeps its order at other hubs. Pages are read by a connection of their
own, and few at once: whoever reads much keeps nobody else.

While Redis is out of reach, what is said is told at this hub alone, and counted; the hole is an
entry of its own as soon as the hub is back. Whether a log outlives Redis is a matter of its
persistence.

May go in: what is particular to Redis. May not: what a log is (`logs`), how the registry is reached
(`alephscript.hub.cluster.redis`).
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import secrets
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec

from alephscript.hub.cluster.frames import MALFORMED, read_item, write_logged
from alephscript.hub.cluster.notices import Uncertain
from alephscript.hub.cluster.signing import OPEN, Seals
from alephscript.hub.store.logs import (
    LOG_BYTES,
    LOG_SECONDS,
    PAGE_BYTES,
    Appended,
    PageRead,
    name_history,
    not_kept,
    report_log_recovery,
    report_log_trouble,
    weigh_entry,
)
from alephscript.hub.store.redis_node import TROUBLE, RedisNode
from alephscript.hub.store.store import StoreUnavailable
from alephscript.mesh.effects import ReadLog
from alephscript.mesh.pages import LogEntry, LogPage

__all__ = ["AppendCommand", "RedisLog"]

logger = logging.getLogger("alephscript.hub")

AppendCommand = Callable[[str, str, tuple[Any, ...], Callable[[Any], None]], None]
"""Runs `append.lua` for a namespace and a room; tells its result, or an exception."""

_SCRIPTS = ("read_log", "trim_log")
_READS = 4
"""Pages that are read at once."""

_HELD_SECONDS = 1.0
"""How long an event of which nobody knows waits for Redis before it is told without a position."""

_SWEEP_SECONDS = 60.0
_SWEEP_ROWS = 500


class _Held:
    """An event of which nobody knows whether Redis has put it into the log.

    Args:
        put_again: Puts it there unless it is there.
        lose: Counts it as lost.
    """

    timer: asyncio.TimerHandle

    def __init__(self, put_again: Callable[[], None], lose: Callable[[], None]) -> None:
        self.put_again = put_again
        self.lose = lose


class RedisLog:
    """Keeps rooms in Redis Streams.

    Args:
        url: The address of the Redis.
        append: Puts entries into their streams, by way of the registry.
        hub: The name of this hub.
        seals: Signs entries, and looks at the signatures of others.
        keep_seconds: How long events are kept.
        keep_bytes: How many bytes of them.
        prefix: The text that keys begin with.

    Attributes:
        is_shared: True.
        trouble: What is wrong with the log, None if nothing is.
    """

    is_shared = True

    def __init__(
        self,
        url: str,
        append: AppendCommand,
        hub: str,
        *,
        seals: Seals = OPEN,
        keep_seconds: float = LOG_SECONDS,
        keep_bytes: int = LOG_BYTES,
        prefix: str = "alephscript",
    ) -> None:
        self.trouble: str | None = None
        self._node = RedisNode(url, _SCRIPTS, prefix)
        self._append = append
        self._hub = hub
        self._seals = seals
        self._keep_seconds = keep_seconds
        self._keep_bytes = keep_bytes
        self._lost: Counter[tuple[str, str]] = Counter()
        self._held: list[_Held] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._turn = asyncio.Semaphore(_READS)

    async def open(self) -> None:
        """See `Log.open`."""
        try:
            await self._node.open()
        except TROUBLE as exc:
            raise StoreUnavailable(f"cannot keep a log in Redis: {exc}; start one there") from exc
        self._begin(self._sweep())

    def append(self, namespace: str, room: str, entry: LogEntry, done: Appended) -> None:
        """See `Log.append`; the numbers of entries are heard by all hubs."""
        self._fill(namespace, room)
        # By its number the hub knows what it said itself.
        words = self._make_words(namespace, room, entry, entry.number)

        def told(result: Any, *, is_first: bool = True) -> None:
            if isinstance(result, list):
                if self.trouble is not None:
                    report_log_recovery("Redis")
                    self.trouble = None
                done(name_history(result[0].decode(), namespace, room), result[1], None)
                return
            if isinstance(result, Uncertain) and is_first:  # Redis may refuse it each time
                again, once = (*words, "again"), functools.partial(told, is_first=False)
                held = _Held(lambda: self._append(namespace, room, again, once), lose)
                held.timer = asyncio.get_running_loop().call_later(_HELD_SECONDS, lose_held, held)
                self._held.append(held)
            else:
                lose()

        def lose_held(held: _Held) -> None:
            self._held.remove(held)
            held.lose()

        def lose() -> None:
            if self.trouble is None:
                self.trouble = report_log_trouble("Redis is out of reach")
            self._lost[namespace, room] += 1
            done("", 0, not_kept("Redis is out of reach"))

        self._append(namespace, room, words, told)

    def read(self, namespace: str, query: ReadLog, done: PageRead) -> None:
        """See `Log.read`."""
        self._begin(self._read(namespace, query, done))

    def resume(self) -> None:
        """Put into the log what may be there, and note the holes: Redis can be reached again."""
        held, self._held = self._held, []
        for each in held:
            each.timer.cancel()
            each.put_again()
        for namespace, room in list(self._lost):
            self._fill(namespace, room)

    async def close(self) -> None:
        """See `Log.close`."""
        for held in self._held:
            held.timer.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._node.client is not None:
            with contextlib.suppress(*TROUBLE):
                await self._node.client.aclose()

    def _fill(self, namespace: str, room: str) -> None:
        """Put the hole of a room into its log, if it has one."""
        lost = self._lost.pop((namespace, room), 0)
        if not lost:
            return

        def told(result: Any) -> None:
            if not isinstance(result, list):
                self._lost[namespace, room] += lost

        hole = LogEntry(0, "", msgspec.Raw(b"null"), "", int(time.time() * 1000), lost)
        self._append(namespace, room, self._make_words(namespace, room, hole, 0), told)

    def _make_words(
        self, namespace: str, room: str, entry: LogEntry, ticket: int
    ) -> tuple[Any, ...]:
        item = write_logged(entry, self._hub, ticket, f"{namespace}\n{room}", self._seals)
        size = weigh_entry(entry)
        return (_propose_name(), item, entry.at, entry.lost, size, self._keep_bytes)

    def _begin(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _read(self, namespace: str, query: ReadLog, done: PageRead) -> None:
        page = None
        try:
            async with self._turn:
                page = await self._read_page(namespace, query)
        except TROUBLE as exc:
            logger.error("the log of rooms cannot be read: %s", exc, extra={"error": str(exc)})
        done(page)

    async def _read_page(self, namespace: str, query: ReadLog) -> LogPage:
        def word(number: int | None) -> str:
            return "" if number is None else str(number)

        field = f"{namespace}\n{query.room}"
        places = word(query.after), word(query.at), word(query.before)
        command = ("read_log", field, _propose_name(), *places, query.most, PAGE_BYTES)
        ((name, last, gone, first, begin, found),) = await self._node.execute([command])
        entries = [self._read_entry(field, *each) for each in found]
        if query.before is not None:
            entries.reverse()
            begin = entries[0].number - 1 if entries else first - 1
        return LogPage(
            name_history(name.decode(), namespace, query.room),
            entries,
            begin,
            first,
            last,
            has_lost=query.at is not None and gone >= query.at,
        )

    def _read_entry(self, field: str, number: int, item: bytes, at: int, lost: int) -> LogEntry:
        """Read an entry of a stream; what no hub has written there is a hole."""
        try:
            return read_item("", number, lost, item, field, self._seals).entry
        except MALFORMED:
            return LogEntry(number, "", msgspec.Raw(b"null"), "", at, lost or 1)

    async def _sweep(self) -> None:
        """Drop what is older than is kept."""
        while True:
            with contextlib.suppress(*TROUBLE):
                since = int((time.time() - self._keep_seconds) * 1000)
                for field in await self._node.ask(self._list_rooms):
                    is_more = True
                    while is_more:
                        command = ("trim_log", field, since, _SWEEP_ROWS)
                        (is_more,) = await self._node.execute([command])
            await asyncio.sleep(_SWEEP_SECONDS)

    async def _list_rooms(self, client: Any) -> list[bytes]:
        key = f"{self._node.prefix}:log:sizes"
        return [field async for field, _ in client.zscan_iter(key)]


def _propose_name() -> str:
    """Make the name of the log, if there is none yet: another one than before, if that was lost."""
    return secrets.token_hex(8)
