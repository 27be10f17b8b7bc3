"""The log of rooms in a file of SQLite.

Theory of operation. One thread writes, another one reads; the event loop waits for neither. What
has come since the last transaction makes the next one, so that many events share the disk's slowest
step; an event is reported when its transaction is on the disk (WAL, synchronous).

If the disk takes nothing, events are reported as not kept, at once, and counted. Their hole is an
entry of its own, in their place, as soon as the disk takes something. A file that is damaged is put
aside, and a fresh log begun, which has another name.

May go in: what is particular to SQLite. May not: what a log is (`logs`). Over 500 lines, because
what is written, lost, dropped and read shares what is known of rooms.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import queue
import secrets
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from operator import length_hint
from pathlib import Path
from typing import NamedTuple

import attrs
import msgspec

from alephscript.diagnostics.redaction import redacted
from alephscript.errors import RequestError
from alephscript.hub.store.logs import (
    LOG_BYTES,
    LOG_SECONDS,
    MOST_ROOMS,
    Appended,
    PageRead,
    bound_page,
    name_history,
    not_kept,
    report_log_recovery,
    report_log_trouble,
    weigh_entry,
)
from alephscript.hub.store.sqlite_file import (
    connect,
    connect_or_begin_anew,
    is_damaged,
    put_aside,
    transaction,
)
from alephscript.hub.store.sqlite_threads import Threads
from alephscript.hub.store.store import StoreUnavailable
from alephscript.mesh.effects import ReadLog
from alephscript.mesh.pages import LogEntry, LogPage

__all__ = ["SqliteLog"]

logger = logging.getLogger("alephscript.hub")

_FILE = "log.db"

_SCHEMA = """
CREATE TABLE IF NOT EXISTS log (name TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS rooms (
    id INTEGER PRIMARY KEY, namespace TEXT NOT NULL, name TEXT NOT NULL,
    first INTEGER NOT NULL, last INTEGER NOT NULL, bytes INTEGER NOT NULL, gone INTEGER NOT NULL,
    UNIQUE (namespace, name)
);
CREATE TABLE IF NOT EXISTS events (
    place INTEGER PRIMARY KEY, at INTEGER NOT NULL, event TEXT NOT NULL, sender TEXT NOT NULL,
    data BLOB NOT NULL, lost INTEGER
);
"""

_PUT_ROOM = """
INSERT INTO rooms VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET
    first = excluded.first, last = excluded.last, bytes = excluded.bytes, gone = excluded.gone
"""
_ROOMS = "SELECT namespace, name, id, first, last, bytes, gone FROM rooms"
_PUT = "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?)"
_COLUMNS = "SELECT place, event, data, sender, at, lost FROM events WHERE place"
_AFTER = f"{_COLUMNS} > ? AND place < ? ORDER BY place LIMIT ?"
_BEFORE = f"{_COLUMNS} < ? AND place > ? ORDER BY place DESC LIMIT ?"

_ROOM = 1 << 44
"""What the number of a room counts in the place of an entry, beside the number of the entry: a key
that is one number takes half the time of two."""

_MOST_IN_A_BATCH = 2000
_MOST_WAITING = 64_000_000
"""Bytes that may wait for the disk; what comes beyond is not kept."""

_AGAIN_SECONDS = 0.5
"""How long nothing is tried after the disk took nothing."""

_SWEEP_SECONDS = 60.0
_SWEEP_ROOMS = 200
_SWEEP_ROWS = 2000
"""Entries that are dropped in one transaction."""

_NOTHING = msgspec.Raw(b"null")


_Key = tuple[str, str]
"""Namespace and room."""


class _Waiting(NamedTuple):
    """An event that is to be kept; without `done` one that is lost already."""

    room: _Key
    entry: LogEntry
    size: int
    done: Appended | None


@attrs.define(eq=False)
class _Room:
    """What is known of a room's entries."""

    id: int
    first: int = 1
    last: int = 0
    bytes: int = 0
    gone: int = -1


class SqliteLog:
    """Keeps rooms in ``log.db`` of a folder that the hub has for itself.

    Args:
        folder: The folder.
        keep_seconds: How long events are kept.
        keep_bytes: How many bytes of them.

    Attributes:
        is_shared: False.
        trouble: What is wrong with the log, None if nothing is.
    """

    is_shared = False

    def __init__(
        self,
        folder: Path,
        *,
        keep_seconds: float = LOG_SECONDS,
        keep_bytes: int = LOG_BYTES,
    ) -> None:
        self.trouble: str | None = None
        self._path = folder / _FILE
        self._keep_seconds = keep_seconds
        self._keep_bytes = keep_bytes
        self._entries: queue.SimpleQueue[_Waiting | BaseException | None] = queue.SimpleQueue()
        self._waiting_bytes = 0  # the loop's
        self._threads = Threads(self._path, "log", lambda: self._entries.put(None))
        self._name = ""
        self._read_name = ""  # of the log that the reader has open
        # The writer's alone.
        self._rooms: dict[_Key, _Room] = {}
        self._bytes = 0
        self._lost: Counter[_Key] = Counter()  # since the last entry that was written
        self._sweeping: Iterator[_Room] = iter(())
        self._is_damaged = False
        self._stuck_until = 0.0

    async def open(self) -> None:
        """See `Log.open`."""
        self._entries = queue.SimpleQueue()
        try:
            database = await asyncio.to_thread(
                connect_or_begin_anew, self._connect, self._begin_anew
            )
        except (sqlite3.Error, OSError) as exc:
            raise StoreUnavailable(
                f"cannot keep a log in {self._path}: {exc}; choose another folder (--data)"
            ) from exc
        self._threads.begin(lambda: self._write_all(database))

    def append(self, namespace: str, room: str, entry: LogEntry, done: Appended) -> None:
        """See `Log.append`."""
        size, key = weigh_entry(entry), (namespace, room)
        if key not in self._rooms and len(self._rooms) >= MOST_ROOMS:
            done("", 0, not_kept(f"it has {MOST_ROOMS} rooms, and takes no other one"))
            return
        if self._waiting_bytes + size > _MOST_WAITING:
            self._entries.put(_Waiting(key, entry, size, None))
            done("", 0, not_kept("too much waits for the disk"))
            return
        self._waiting_bytes += size
        self._entries.put(_Waiting(key, entry, size, done))

    def read(self, namespace: str, query: ReadLog, done: PageRead) -> None:
        """See `Log.read`."""
        self._threads.read(lambda: self._read(namespace, query, done))

    async def close(self) -> None:
        """See `Log.close`."""
        await self._threads.close()

    # The writer's thread, once the file is open

    def _connect(self) -> sqlite3.Connection:
        database = connect(self._path)
        try:
            database.execute("PRAGMA synchronous = FULL")
            database.executescript(_SCHEMA)
            row = database.execute("SELECT name FROM log").fetchone()
            if row is None:
                row = (secrets.token_hex(8),)
                database.execute("INSERT INTO log VALUES (?)", row)
            rooms = database.execute(_ROOMS)
            self._rooms = {(ns, name): _Room(*fields) for ns, name, *fields in rooms}
            (self._name,) = row
            self._bytes = sum(each.bytes for each in self._rooms.values())
        except BaseException:
            database.close()
            raise
        return database

    def _begin_anew(self, exc: BaseException) -> sqlite3.Connection:
        """Put a damaged file aside, and begin a fresh one."""
        aside = put_aside(self._path)
        self.trouble = f"the log of rooms was damaged ({exc}); it was put aside as {aside}"
        logger.error("%s, and a fresh one was begun", self.trouble, extra={"file": str(aside)})
        self._is_damaged = True
        return self._connect()

    def _write_all(self, database: sqlite3.Connection) -> None:
        try:
            self._write_until_closed(database)
        except BaseException as exc:
            self.trouble = f"the log of rooms has ended: {exc}"
            logger.error(
                "the log of rooms has ended",
                exc_info=redacted(exc),
                extra={"file": str(self._path)},
            )
            self._refuse_all(exc)

    def _refuse_all(self, exc: BaseException) -> None:
        """Report all that comes as not kept, until the log is closed."""
        while (waiting := self._entries.get()) is not None:
            if isinstance(waiting, _Waiting):
                self._report([waiting], not_kept(exc))

    def _write_until_closed(self, database: sqlite3.Connection) -> None:
        swept = time.monotonic()
        is_closing = False
        try:
            while not is_closing:
                batch: list[_Waiting] = []
                for each in self._take():
                    if each is None:
                        is_closing = True
                    elif isinstance(each, BaseException):
                        database.close()
                        database = self._begin_anew(each)
                    else:
                        batch.append(each)
                if batch or self._lost:
                    database = self._write(database, batch)
                if time.monotonic() >= swept + _SWEEP_SECONDS:
                    swept = time.monotonic()
                    self._sweeping = iter(list(self._rooms.values()))
                self._sweep(database)
        finally:
            database.close()

    def _take(self) -> Sequence[_Waiting | BaseException | None]:
        """Take what is to be kept, all that has come, after having waited for the first."""
        wait = 0.02 if length_hint(self._sweeping) else _SWEEP_SECONDS
        if self._stuck_until:
            wait = max(0.001, self._stuck_until - time.monotonic())
        entries = self._entries
        try:
            first = entries.get(timeout=wait)
        except queue.Empty:
            return []
        # All that has come: nobody else takes any.
        count = min(entries.qsize(), _MOST_IN_A_BATCH)
        return [first, *(entries.get_nowait() for _ in range(count))]

    def _write(self, database: sqlite3.Connection, batch: list[_Waiting]) -> sqlite3.Connection:
        """Write what was taken, in one transaction; return the file that is written now."""
        if time.monotonic() < self._stuck_until:
            self._lose(batch, self.trouble)
            return database
        keys = {each.room for each in batch} | self._lost.keys()
        before = {key: attrs.evolve(self._room(key)) for key in keys}
        bytes_before, lost_before = self._bytes, self._lost.copy()
        try:
            with transaction(database):
                self._put(database, batch, keys)
        except sqlite3.Error as exc:
            self._rooms.update(before)
            self._bytes, self._lost = bytes_before, lost_before
            if is_damaged(exc):
                database.close()
                self._lose(batch, exc)
                return self._begin_anew(exc)
            if self.trouble is None:
                self.trouble = report_log_trouble(exc)
            self._stuck_until = time.monotonic() + _AGAIN_SECONDS
            self._lose(batch, exc)
            return database
        if self._stuck_until:
            self._stuck_until = 0.0
            if not self._is_damaged:
                report_log_recovery(self._path)
                self.trouble = None
        if self._bytes > self._keep_bytes:
            self._shrink(database)
        self._report(batch, None)
        return database

    def _room(self, key: _Key) -> _Room:
        room = self._rooms.get(key)
        if room is None:
            room = self._rooms[key] = _Room(len(self._rooms) + 1)
        return room

    def _put(
        self,
        database: sqlite3.Connection,
        batch: list[_Waiting],
        keys: Collection[_Key],
    ) -> None:
        at = int(time.time() * 1000)
        rows = [self._add_hole(key, at) for key in list(self._lost)]
        before, room, begin, total = None, None, 0, 0
        for key, entry, size, done in batch:
            if done is None:
                self._lost[key] += 1
                continue
            if key in self._lost:
                rows.append(self._add_hole(key, entry.at))
            if key != before:
                before, room = key, self._rooms[key]
                begin = room.id * _ROOM
            # `_add`, without the call: each event comes by here.
            assert room is not None
            number = entry.number = room.last = room.last + 1
            room.bytes += size
            total += size
            data = bytes(entry.data)
            rows.append((begin + number, entry.at, entry.event, entry.sender, data, None))
        self._bytes += total
        database.executemany(_PUT, rows)
        changed = ((key, self._rooms[key]) for key in keys)
        database.executemany(
            _PUT_ROOM,
            [
                (each.id, *key, each.first, each.last, each.bytes, each.gone)
                for key, each in changed
            ],
        )

    def _add_hole(self, key: _Key, at: int) -> tuple[object, ...]:
        """Give the hole of a room its number, and return its row."""
        room = self._rooms[key]
        hole = LogEntry(0, "", _NOTHING, "", at, self._lost.pop(key))
        size = weigh_entry(hole)
        room.last += 1
        room.bytes += size
        self._bytes += size
        return room.id * _ROOM + room.last, at, "", "", b"null", hole.lost

    def _lose(self, batch: list[_Waiting], why: object) -> None:
        """Count what is not kept, and report it."""
        for each in batch:
            self._lost[each.room] += 1
            each.entry.number = 0
        self._report(batch, not_kept(why))

    def _report(self, batch: list[_Waiting], error: RequestError | None) -> None:
        name = self._name

        def tell() -> None:
            self._waiting_bytes -= sum(each.size for each in batch if each.done is not None)
            for (namespace, room), entry, _, done in batch:
                if done is None:
                    continue
                if error is None:
                    done(name_history(name, namespace, room), entry.number, None)
                else:
                    done("", 0, error)

        self._threads.tell(tell)

    def _sweep(self, database: sqlite3.Connection) -> None:
        """Drop what is too old, of some rooms at a time."""
        since = int((time.time() - self._keep_seconds) * 1000)
        for room in itertools.islice(self._sweeping, _SWEEP_ROOMS):
            while self._drop(database, room, lambda at: at < since) == _SWEEP_ROWS:
                pass

    def _shrink(self, database: sqlite3.Connection) -> None:
        """Drop the oldest entries of the largest rooms, so that there is room for more."""
        enough = self._keep_bytes * 0.95
        while self._bytes > enough:
            largest = max(self._rooms.values(), key=lambda each: each.bytes)
            if not self._drop(database, largest, lambda _: self._bytes > enough):
                return

    def _drop(
        self, database: sqlite3.Connection, room: _Room, is_old: Callable[[int], bool]
    ) -> int:
        """Drop the oldest entries of a room, as many as one transaction may; return how many."""
        before, bytes_before = attrs.evolve(room), self._bytes
        count = 0
        try:
            begin = room.id * _ROOM
            places = (begin + room.first - 1, begin + _ROOM, _SWEEP_ROWS)
            rows = database.execute(_AFTER, places).fetchall()
            for entry in map(_entry, rows):
                if not is_old(entry.at):
                    break
                count += 1
                room.first = entry.number + 1
                room.bytes -= weigh_entry(entry)
                self._bytes -= weigh_entry(entry)
                room.gone = max(room.gone, entry.at)
            if count:
                with transaction(database):
                    database.execute(
                        "DELETE FROM events WHERE place >= ? AND place < ?",
                        (begin, begin + room.first),
                    )
                    database.execute(
                        "UPDATE rooms SET first = ?, bytes = ?, gone = ? WHERE id = ?",
                        (room.first, room.bytes, room.gone, room.id),
                    )
        except sqlite3.Error as exc:
            room.first, room.bytes, room.gone = before.first, before.bytes, before.gone
            self._bytes = bytes_before
            logger.error(
                "old events could not be dropped",
                exc_info=redacted(exc),
                extra={"file": str(self._path)},
            )
            return 0
        return count

    # The reader's thread

    def _read(self, namespace: str, query: ReadLog, done: PageRead) -> None:
        page = None
        try:
            name = self._name
            reading = self._threads.connect(anew=self._read_name != name)  # it was put aside
            self._read_name = name
            page = _read_page(reading, name, namespace, query)
        except sqlite3.Error as exc:
            logger.error("the log of rooms cannot be read: %s", exc, extra={"error": str(exc)})
            if is_damaged(exc):
                self._entries.put(exc)
        self._threads.tell(lambda: done(page))


def _entry(row: tuple[int, str, bytes, str, int, int | None]) -> LogEntry:
    place, event, data, sender, at, lost = row
    return LogEntry(place % _ROOM, event, msgspec.Raw(data), sender, at, lost or 0)


def _read_page(database: sqlite3.Connection, log: str, namespace: str, query: ReadLog) -> LogPage:
    history = name_history(log, namespace, query.room)
    row = database.execute(
        "SELECT id, first, last, gone FROM rooms WHERE namespace = ? AND name = ?",
        (namespace, query.room),
    ).fetchone()
    room, first, last, gone = row or (0, 1, 0, -1)
    begin_of_room = room * _ROOM
    if query.before is not None:
        before = begin_of_room + min(query.before, _ROOM - 1)
        rows = database.execute(_BEFORE, (before, begin_of_room, query.most))
        entries = bound_page(map(_entry, rows), query.most)[::-1]
        begin = entries[0].number - 1 if entries else first - 1
        return LogPage(history, entries, begin, first, last)
    begin, has_lost = last, False
    if query.at is not None:
        begin, has_lost = _find(database, room, first, last, query.at), gone >= query.at
    elif query.after is not None:
        begin = query.after
    after = begin_of_room + min(max(begin, 0), _ROOM - 1)
    rows = database.execute(_AFTER, (after, begin_of_room + _ROOM, query.most))
    return LogPage(history, bound_page(map(_entry, rows), query.most), begin, first, last, has_lost)


def _find(database: sqlite3.Connection, room: int, first: int, last: int, at: int) -> int:
    """Find the number before the first entry that was said at a time, or later: by halves."""
    low, high = first, last + 1
    while low < high:
        middle = (low + high) // 2
        row = database.execute(
            "SELECT at FROM events WHERE place >= ? AND place < ? ORDER BY place LIMIT 1",
            (room * _ROOM + middle, (room + 1) * _ROOM),
        ).fetchone()
        if row is None or row[0] >= at:
            high = middle
        else:
            low = middle + 1
    return low - 1
