"""The interface of a log of rooms, and that log in memory.

May go in: what each log does, and what all of them share. May not: how those do it that outlive the
hub (`sqlite_log`, `redis_log`).
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import logging
import secrets
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from alephscript.errors import Overloaded, RequestError
from alephscript.mesh.effects import ReadLog
from alephscript.mesh.pages import LogEntry, LogPage

__all__ = [
    "LOG_BYTES",
    "LOG_SECONDS",
    "MEMORY_BYTES",
    "MOST_ROOMS",
    "PAGE_BYTES",
    "Appended",
    "Log",
    "MemoryLog",
    "PageRead",
    "bound_page",
    "name_history",
    "not_kept",
    "report_log_recovery",
    "report_log_trouble",
    "weigh_entry",
]

logger = logging.getLogger("alephscript.hub")

LOG_SECONDS = 7 * 86400.0
"""How long events are kept."""

LOG_BYTES = 1_000_000_000
"""Bytes of events of all rooms that are kept; beyond, the room with the most loses its oldest."""

MEMORY_BYTES = 64_000_000
"""The same where the log is in memory."""

MOST_ROOMS = 50_000
"""Rooms of which a log keeps anything: each has its count for as long as there is the log."""

_ENTRY_BYTES = 100
"""What an entry takes besides its texts."""

PAGE_BYTES = 256_000
"""Bytes of data of a page, unless its only entry is larger."""

Appended = Callable[[str, int, RequestError | None], None]
"""Told, on the event loop, the log's name and the number that an event has there, or why none."""

PageRead = Callable[[LogPage | None], None]
"""Told, on the event loop, what was read; None if the log cannot be read."""


class Log(Protocol):
    """A log of rooms: what is said, in order, each with a number that counts up by one.

    Attributes:
        is_shared: Whether hubs share it, so that each hears from it what all have put there.
        trouble: What is wrong with it, a sentence for whoever runs the hub; None if nothing is.
    """

    is_shared: bool
    trouble: str | None

    async def open(self) -> None:
        """Open the log.

        Raises:
            StoreUnavailable: It cannot be opened.
        """
        ...

    def append(self, namespace: str, room: str, entry: LogEntry, done: Appended) -> None:
        """Put an event into the log, in the order of the calls; told when it cannot be lost."""
        ...

    def read(self, namespace: str, query: ReadLog, done: PageRead) -> None:
        """Read a page."""
        ...

    async def close(self) -> None:
        """Put what was given into the log, as far as that is possible, and close it."""
        ...


class MemoryLog:
    """A log that is gone with the hub's process.

    Args:
        name: Names the log; made up by default, so that it is no other one's.
        keep_seconds: How long events are kept.
        keep_bytes: How many bytes of them.

    Attributes:
        is_shared: False.
        trouble: None, always.
    """

    is_shared = False
    trouble: str | None = None

    def __init__(
        self,
        *,
        name: str = "",
        keep_seconds: float = LOG_SECONDS,
        keep_bytes: int = MEMORY_BYTES,
    ) -> None:
        self._keep_seconds = keep_seconds
        self._keep_bytes = keep_bytes
        self._name = name or secrets.token_hex(8)
        self._rooms: dict[tuple[str, str], _Room] = {}
        self._bytes = 0

    async def open(self) -> None:
        """See `Log.open`."""

    def append(self, namespace: str, room: str, entry: LogEntry, done: Appended) -> None:
        """See `Log.append`."""
        kept = self._rooms.get((namespace, room))
        if kept is None:
            if len(self._rooms) >= MOST_ROOMS:
                done("", 0, not_kept(f"it has {MOST_ROOMS} rooms, and takes no other one"))
                return
            kept = self._rooms[namespace, room] = _Room()
        kept.last += 1
        entry.number = kept.last
        kept.entries.append(entry)
        size = weigh_entry(entry)
        kept.bytes += size
        self._bytes += size
        since = (time.time() - self._keep_seconds) * 1000
        while kept.entries and kept.entries[0].at < since and len(kept.entries) > 1:
            self._drop(kept)
        if self._bytes > self._keep_bytes:
            self._shrink()
        done(name_history(self._name, namespace, room), entry.number, None)

    def read(self, namespace: str, query: ReadLog, done: PageRead) -> None:
        """See `Log.read`."""
        kept = self._rooms.get((namespace, query.room)) or _Room()
        first, has_lost = kept.last - len(kept.entries) + 1, False
        found: Iterable[LogEntry] = ()
        begin = kept.last
        if query.before is not None:
            end = max(0, min(query.before, kept.last + 1) - first)
            newest = itertools.islice(reversed(kept.entries), len(kept.entries) - end, None)
            entries = bound_page(newest, query.most)[::-1]
            begin = entries[0].number - 1 if entries else first - 1
            page = LogPage(
                name_history(self._name, namespace, query.room), entries, begin, first, kept.last
            )
            done(page)
            return
        if query.at is not None:
            at = query.at
            later = (each.number for each in kept.entries if each.at >= at)
            begin = next(later, kept.last + 1) - 1
            has_lost = kept.gone_at >= at
        elif query.after is not None:
            begin = query.after
        if query.most:
            found = itertools.islice(kept.entries, max(0, begin + 1 - first), None)
        done(
            LogPage(
                name_history(self._name, namespace, query.room),
                bound_page(found, query.most),
                begin,
                first,
                kept.last,
                has_lost,
            )
        )

    async def close(self) -> None:
        """See `Log.close`."""

    def _shrink(self) -> None:
        while self._bytes > self._keep_bytes * 0.95:
            largest = max(self._rooms.values(), key=lambda each: each.bytes)
            for _ in range(max(1, len(largest.entries) // 20)):
                self._drop(largest)

    def _drop(self, room: _Room) -> None:
        """Forget the oldest entry of a room."""
        entry = room.entries.popleft()
        size = weigh_entry(entry)
        room.bytes -= size
        self._bytes -= size
        room.gone_at = max(room.gone_at, entry.at)


class _Room:
    """The entries of a room, the oldest first."""

    __slots__ = ("bytes", "entries", "gone_at", "last")

    def __init__(self) -> None:
        self.entries: deque[LogEntry] = deque()
        self.last = 0
        self.bytes = 0
        self.gone_at = -1


@functools.lru_cache(maxsize=1024)  # each event of a room needs it
def name_history(log: str, namespace: str, room: str) -> str:
    """Name the log of a room, whose name is the same as long as the log is."""
    digest = hashlib.blake2b(f"{namespace}\n{room}".encode(), digest_size=6).digest()
    return f"{log}.{int.from_bytes(digest)}"


def weigh_entry(entry: LogEntry) -> int:
    """Count the bytes that an entry takes."""
    return len(entry.data) + 4 * (len(entry.event) + len(entry.sender)) + _ENTRY_BYTES


def bound_page(entries: Iterable[LogEntry], most: int) -> Sequence[LogEntry]:
    """Take the entries that make a page, no more of them and no larger ones than it may have."""
    page: list[LogEntry] = []
    size = 0
    for entry in itertools.islice(entries, most):
        size += len(entry.data)
        if page and size > PAGE_BYTES:
            break
        page.append(entry)
    return page


def not_kept(why: object) -> RequestError:
    """Make the error of an event that was told to its room, and is not in the log."""
    return Overloaded(
        f"the room has heard the event, but the log cannot keep it: {why}", [{"delivered": True}]
    )


def report_log_trouble(why: object) -> str:
    """Write to the hub's log that a log takes nothing, and return the sentence."""
    logger.error("the log of rooms takes nothing: %s", why, extra={"error": str(why)})
    return f"the log of rooms takes nothing: {why}"


def report_log_recovery(where: object) -> None:
    """Write to the hub's log that a log takes events again."""
    logger.info("the log of rooms takes events again", extra={"file": str(where)})
