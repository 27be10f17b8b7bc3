"""The journal in a file of SQLite: tasks outlive the hub's process, and the machine's.

Theory of operation. One thread writes, another one reads; the event loop waits for neither. What
has come since the last transaction makes the next one, so that many records share the disk's
slowest step. A record is reported as kept when its transaction is on the disk (WAL, synchronous).

If the disk takes nothing, new tasks are refused one by one, and all other records wait in order,
and are tried again. A file that is damaged is put aside, and a fresh one begun: with the tasks that
have not ended, as far as this hub knows them, and without those that have.

Over 500 lines, because what is written, refused and put aside hangs together.

May go in: what is particular to SQLite. May not: what a journal is (`store`).
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import queue
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import attrs
import msgspec

from alephscript.diagnostics.redaction import redacted
from alephscript.errors import Overloaded, RequestError
from alephscript.hub.store.folder import Folder
from alephscript.hub.store.sqlite_file import (
    connect,
    connect_or_begin_anew,
    files_of,
    is_damaged,
    put_aside,
    transaction,
)
from alephscript.hub.store.sqlite_threads import Threads
from alephscript.hub.store.store import (
    KEEP_BYTES,
    KEEP_SECONDS,
    Found,
    Kept,
    StoreUnavailable,
    make_clock,
    report_recovery,
    report_trouble,
    report_unreadable,
)
from alephscript.mesh.effects import Look
from alephscript.mesh.records import Record

__all__ = ["SqliteStore"]

logger = logging.getLogger("alephscript.hub")

_FILE = "tasks.db"

_VERSION = 1
"""The form of the file; one of a later version is left as it is."""

_SCHEMA = f"""
PRAGMA user_version = {_VERSION};
CREATE TABLE IF NOT EXISTS tasks (
    id TEXT PRIMARY KEY, namespace TEXT NOT NULL, owner TEXT NOT NULL, mark TEXT,
    room TEXT NOT NULL, state TEXT NOT NULL, created REAL NOT NULL, updated REAL NOT NULL,
    ended INTEGER NOT NULL, bytes INTEGER NOT NULL, record BLOB NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS by_mark ON tasks (namespace, owner, mark) WHERE mark IS NOT NULL;
CREATE INDEX IF NOT EXISTS by_time ON tasks (namespace, created, id);
CREATE INDEX IF NOT EXISTS by_room ON tasks (namespace, room, created, id);
CREATE INDEX IF NOT EXISTS by_state ON tasks (namespace, state, created, id, room);
CREATE INDEX IF NOT EXISTS alive ON tasks (created) WHERE ended = 0;
CREATE INDEX IF NOT EXISTS past ON tasks (updated, bytes) WHERE ended = 1;
"""

_PUT = """
INSERT INTO tasks VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET
    room = excluded.room, state = excluded.state, updated = excluded.updated,
    ended = excluded.ended, bytes = excluded.bytes, record = excluded.record
WHERE ended = 0
"""

_MOST_IN_A_BATCH = 1000
_AGAIN_SECONDS = 0.5
"""How long the writer waits before it tries anew what the disk did not take."""

_LAZY_SECONDS = 1.0
"""How long a record may wait that nothing waits for."""

_SWEEP_SECONDS = 60.0
_SWEEP_ROWS = 5000
"""Tasks that are forgotten in one transaction."""

_NOT_DELIVERED = [{"delivered": False}]


@attrs.define(eq=False)
class _Entry:
    """A record that is to be kept."""

    record: Record
    done: Kept | None
    is_new: bool
    standing: Record | None = None


class _RemovedError(sqlite3.DatabaseError):
    """Somebody has removed the file."""

    sqlite_errorcode = sqlite3.SQLITE_NOTADB


class _Backlog:
    """What the writer has still to write.

    Attributes:
        ready: What the next transactions write, in order.
    """

    def __init__(self) -> None:
        self.ready: deque[_Entry] = deque()
        self._lazy: dict[str, _Entry] = {}
        self._lazy_since: float | None = None
        self._is_stuck = False
        self._is_closing = False

    @property
    def is_done(self) -> bool:
        """Whether the journal is to be closed, and all is written that can be."""
        return self._is_closing and (not self.ready or self._is_stuck)

    def patience(self) -> float:
        """Return how many seconds the writer may wait for more."""
        if self.ready:
            return _AGAIN_SECONDS if self._is_stuck else 0.0
        if self._lazy_since is not None:
            return max(0.0, self._lazy_since + _LAZY_SECONDS - time.monotonic())
        return _SWEEP_SECONDS

    def add(self, entry: _Entry | None) -> None:
        """Add a record; None closes the journal."""
        if entry is None:
            self._is_closing = True
        elif entry.done is None:
            self._lazy[entry.record.id] = entry
            self._lazy_since = self._lazy_since or time.monotonic()
        else:
            self._lazy.pop(entry.record.id, None)  # which this one is newer than
            self.ready.append(entry)

    def ripen(self) -> None:
        """Write what nothing waits for, if it has waited long enough."""
        if self._lazy_since is None:
            return
        if self._is_closing or time.monotonic() >= self._lazy_since + _LAZY_SECONDS:
            self.ready.extend(self._lazy.values())
            self._lazy.clear()
            self._lazy_since = None

    def done(self, count: int) -> None:
        """Forget the first that were ready: they are written."""
        for _ in range(count):
            self.ready.popleft()
        self._is_stuck = False

    def refuse_new(self) -> list[_Entry]:
        """Take out the new tasks, since nothing can be written; the others are tried again."""
        refused = [each for each in self.ready if each.is_new]
        self.ready = deque(each for each in self.ready if not each.is_new)
        self._is_stuck = True
        return refused


class SqliteStore:
    """Keeps records in ``tasks.db`` of a folder.

    Args:
        folder: The folder, which the store has for itself.
        keep_seconds: How long tasks that have ended are kept.
        keep_bytes: How many bytes of them.

    Attributes:
        outlives_hub: True.
        trouble: What is wrong with the journal, None if nothing is.
    """

    outlives_hub = True

    def __init__(
        self,
        folder: Path,
        *,
        keep_seconds: float = KEEP_SECONDS,
        keep_bytes: int = KEEP_BYTES,
    ) -> None:
        self.trouble: str | None = None
        self._folder = Folder(folder)
        self._path = folder / _FILE
        self._keep_seconds = keep_seconds
        self._clock = make_clock()
        self._keep_bytes = keep_bytes
        self._entries: queue.SimpleQueue[_Entry | None] = queue.SimpleQueue()
        self._threads = Threads(self._path, "journal", lambda: self._entries.put(None))
        # The records of tasks that have not ended, which a fresh file has to have; the writer's.
        self._alive: dict[str, Record] = {}
        self._damaged = threading.Event()
        self._inode = 0
        self._aside: Path | None = None

    async def open(self) -> Sequence[Record]:
        """See `Store.open`."""
        opened: asyncio.Future[Sequence[Record]] = asyncio.get_running_loop().create_future()
        self._entries = queue.SimpleQueue()
        self._threads.begin(lambda: self._write_all(opened))
        try:
            return await opened
        except BaseException:
            await self.close()
            raise

    def keep(self, record: Record, done: Kept | None, *, is_new: bool) -> None:
        """See `Store.keep`."""
        self._entries.put(_Entry(record, done, is_new))

    def look(self, namespace: str, query: Look, done: Found) -> None:
        """See `Store.look`."""
        self._threads.read(lambda: self._look(namespace, query, done))

    async def close(self) -> None:
        """See `Store.close`."""
        await self._threads.close()

    def _tell(self, tell: Callable[[], None]) -> None:
        """Do something on the event loop, if there still is one."""
        if not self._threads.tell(tell):
            logger.debug(
                "the journal of tasks has nobody to report to", extra={"file": str(self._path)}
            )

    # The writer's thread

    def _write_all(self, opened: asyncio.Future[Sequence[Record]]) -> None:
        try:
            self._folder.open()
        except StoreUnavailable as exc:
            self._tell(_setter(opened, error=exc))
            return
        try:
            database = self._open_file()
            self._tell(_setter(opened, list(self._alive.values())))
            self._write_until_closed(database)
        except StoreUnavailable as exc:
            self._tell(_setter(opened, error=exc))
        except BaseException as exc:
            logger.error(
                "the journal of tasks has ended",
                exc_info=redacted(exc),
                extra={"file": str(self._path)},
            )
            self.trouble = f"the journal of tasks has ended: {exc}"
            while (entry := self._entries.get()) is not None:
                self._refuse([entry] if entry.is_new else [], exc)
        finally:
            self._folder.close()

    def _open_file(self) -> sqlite3.Connection:
        try:
            return connect_or_begin_anew(self._connect, self._begin_anew)
        except StoreUnavailable:
            raise
        except (sqlite3.Error, OSError) as exc:
            raise StoreUnavailable(
                f"cannot keep tasks in {self._path}: {exc}; choose another folder (--data)"
            ) from exc

    def _connect(self) -> sqlite3.Connection:
        database = connect(self._path)
        try:
            database.execute("PRAGMA synchronous = FULL")
            self._check_version(database)
            database.executescript(_SCHEMA)
            self._inode = self._path.stat().st_ino
            rows = database.execute("SELECT record FROM tasks WHERE ended = 0 ORDER BY created")
            self._alive = {each.id: each for each in map(_read, rows) if each is not None}
        except BaseException:
            database.close()
            raise
        return database

    def _check_version(self, database: sqlite3.Connection) -> None:
        (version,) = database.execute("PRAGMA user_version").fetchone()
        if version > _VERSION:
            raise StoreUnavailable(
                f"{self._path} is of a later version; update alephscript, or choose another "
                "folder (--data)"
            )

    def _begin_anew(self, exc: BaseException) -> sqlite3.Connection:
        """Put a damaged file aside, and begin a fresh one.

        Raises:
            StoreUnavailable: Another hub has the folder, which was removed meanwhile.
            OSError: The folder cannot be written.
            sqlite3.Error: The same.
        """
        if isinstance(exc, _RemovedError):
            self._folder.close()
            self._folder.open()
        self._aside = put_aside(self._path) or self._aside
        alive = self._alive
        try:
            with contextlib.ExitStack() as undo:
                database = self._connect()
                undo.callback(database.close)
                with transaction(database):
                    for record in alive.values():
                        _put(database, record)
                undo.pop_all()
        except BaseException:
            for path in files_of(
                self._path
            ):  # half of one is none: the next attempt begins another one
                path.unlink(missing_ok=True)
            raise
        finally:
            self._alive = alive
        self._damaged.set()
        left = "" if self._aside is None else f"; it was put aside as {self._aside}"
        self.trouble = f"the journal of tasks was damaged ({exc}){left}"
        logger.error("%s, and a fresh one was begun", self.trouble, extra={"file": str(self._path)})
        return database

    def _write_until_closed(self, database: sqlite3.Connection) -> None:
        backlog = _Backlog()
        swept = time.monotonic()
        try:
            while not backlog.is_done:
                for entry in self._take(backlog.patience()):
                    backlog.add(entry)
                backlog.ripen()
                if backlog.ready:
                    database = self._write(database, backlog)
                if time.monotonic() >= swept + _SWEEP_SECONDS:
                    swept = time.monotonic()
                    self._sweep(database)
        except BaseException as exc:
            self._refuse(backlog.refuse_new(), exc)
            raise
        finally:
            database.close()
        if backlog.ready:
            count = len(backlog.ready)
            logger.error("%d changes of tasks could not be kept", count, extra={"count": count})

    def _take(self, wait: float) -> list[_Entry | None]:
        """Take what is to be kept, all that has come, after having waited for the first."""
        taken: list[_Entry | None] = []
        try:
            taken.append(self._entries.get(wait > 0, wait) if wait else self._entries.get_nowait())
            while len(taken) < _MOST_IN_A_BATCH:
                taken.append(self._entries.get_nowait())
        except queue.Empty:
            pass
        return taken

    def _write(self, database: sqlite3.Connection, backlog: _Backlog) -> sqlite3.Connection:
        """Write what is ready, in one transaction; return the file that is written now."""
        batch = list(itertools.islice(backlog.ready, _MOST_IN_A_BATCH))
        try:
            self._check_present()
            with transaction(database):
                for entry in batch:
                    self._apply(database, entry)
        except sqlite3.DatabaseError as exc:
            if not is_damaged(exc):
                self._refuse_new(backlog, exc)
                return database
            database.close()
            try:
                return self._begin_anew(exc)
            except (sqlite3.Error, OSError) as failure:  # it is tried again
                self._refuse_new(backlog, failure)
                return database
        backlog.done(len(batch))
        self._note(batch)
        if self.trouble is not None and not self._damaged.is_set():
            report_recovery(self._path)
            self.trouble = None
        return database

    def _check_present(self) -> None:
        """Check that nobody has taken the file away, into which SQLite would go on writing.

        Raises:
            _RemovedError: The file is not there any more, or is another one.
        """
        try:
            if self._path.stat().st_ino == self._inode:
                return
        except OSError:
            pass
        raise _RemovedError(f"{self._path} was removed")

    def _apply(self, database: sqlite3.Connection, entry: _Entry) -> None:
        record = entry.record
        entry.standing = None
        if entry.is_new and record.key is not None:
            row = database.execute(
                "SELECT record FROM tasks WHERE namespace = ? AND owner = ? AND mark = ?",
                (record.namespace, record.owner, record.key),
            ).fetchone()
            entry.standing = None if row is None else _read(row)
            if entry.standing is not None:
                return
        if not _put(database, record):
            row = database.execute("SELECT record FROM tasks WHERE id = ?", (record.id,)).fetchone()
            entry.standing = _read(row)

    def _note(self, batch: Sequence[_Entry]) -> None:
        """Report what is on the disk now."""
        for entry in batch:
            record = entry.record
            if entry.standing is not None:
                continue
            if record.has_ended:
                self._alive.pop(record.id, None)
            else:
                self._alive[record.id] = record

        def tell() -> None:
            for entry in batch:
                if entry.done is not None:
                    entry.done(entry.standing, None)

        self._tell(tell)

    def _refuse_new(self, backlog: _Backlog, exc: Exception) -> None:
        """Refuse the new tasks that wait; what is to be kept of others waits on."""
        if self.trouble is None:
            self.trouble = report_trouble(exc)
        self._refuse(backlog.refuse_new(), exc)

    def _refuse(self, refused: Sequence[_Entry], exc: BaseException) -> None:
        error = Overloaded(f"the hub cannot keep tasks at the moment: {exc}", _NOT_DELIVERED)

        def tell() -> None:
            for each in refused:
                if each.done is not None:
                    each.done(None, error)

        self._tell(tell)

    def _sweep(self, database: sqlite3.Connection) -> None:
        """Forget tasks that ended long ago, and the oldest of those that take too much."""
        try:
            since = self._clock() - self._keep_seconds
            (kept,) = database.execute("SELECT total(bytes) FROM tasks WHERE ended = 1").fetchone()
            too_much = kept - self._keep_bytes
            while True:
                rows = database.execute(
                    "SELECT rowid, updated, bytes FROM tasks WHERE ended = 1 "
                    "ORDER BY updated LIMIT ?",
                    (_SWEEP_ROWS,),
                ).fetchall()
                old = []
                for rowid, updated, size in rows:
                    if updated >= since and too_much <= 0:
                        break
                    too_much -= size
                    old.append((rowid,))
                with transaction(database):
                    database.executemany("DELETE FROM tasks WHERE rowid = ?", old)
                if len(old) < _SWEEP_ROWS:
                    return
        except sqlite3.DatabaseError as exc:
            logger.error(
                "old tasks could not be forgotten",
                exc_info=redacted(exc),
                extra={"file": str(self._path)},
            )

    # The reader's thread

    def _look(self, namespace: str, query: Look, done: Found) -> None:
        records: Sequence[Record] = ()
        error: RequestError | None = None
        try:
            reading = self._threads.connect(anew=self._damaged.is_set())
            text, values = _write_query(namespace, query)
            rows = reading.execute(text, values)
            records = [each for each in map(_read, rows) if each is not None]
        except sqlite3.DatabaseError as exc:
            error = report_unreadable(exc)
        self._tell(lambda: done(records, error))


def _put(database: sqlite3.Connection, record: Record) -> bool:
    """Put a record in place of the one that there is; return False if that one has ended."""
    fields = (
        record.id,
        record.namespace,
        record.owner,
        record.key,
        record.room,
        record.state,
        record.created,
        record.updated,
        record.has_ended,
        record.size,
        msgspec.json.encode(record),
    )
    return database.execute(_PUT, fields).rowcount > 0


def _write_query(namespace: str, query: Look) -> tuple[str, tuple[Any, ...]]:
    if query.id is not None:
        return "SELECT record FROM tasks WHERE id = ?", (query.id,)
    conditions, values = ["namespace = ?"], [namespace]
    for column, value in (("state", query.state), ("room", query.room)):
        if value is not None:
            conditions.append(f"{column} = ?")
            values.append(value)
    if query.before is not None:
        conditions.append("(created, id) < (?, ?)")
        values.extend(query.before)  # type: ignore[arg-type]
    where = " AND ".join(conditions)
    text = f"SELECT record FROM tasks WHERE {where} ORDER BY created DESC, id DESC LIMIT ?"  # noqa: S608 - no value is in it
    return text, (*values, query.most)


def _read(row: tuple[bytes]) -> Record | None:
    """Read a record; None for one that cannot be read, of which the log tells."""
    try:
        return _decode(row[0])
    except msgspec.DecodeError as exc:
        logger.error(
            "a task of the journal cannot be read, and is left out: %s",
            exc,
            extra={"error": str(exc)},
        )
        return None


_decode = msgspec.json.Decoder(Record).decode


def _setter(
    future: asyncio.Future[Sequence[Record]],
    result: Sequence[Record] = (),
    error: Exception | None = None,
) -> Callable[[], None]:
    def set_it() -> None:
        if future.done():
            return
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)

    return set_it
