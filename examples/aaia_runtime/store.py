"""Sessions in a file of SQLite, so that they outlive the runtime's process.

Theory of operation. A thread writes; the event loop never waits for the disk. What has changed
since the last transaction makes the next one, each session once however often it has changed
meanwhile. If the disk takes nothing the changes wait, and so does whoever wants to know that they
are kept. A file that is damaged is put aside, and a fresh one is begun with the sessions that this
runtime has.

May go in: what is particular to SQLite. May not: what a session is (`sessions`, `records`).
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import attrs

from alephscript import AlephScriptError

__all__ = ["SessionStore", "StoreUnavailable"]

_FILE = "sessions.db"
_LOCK = "sessions.lock"
_VERSION = 1
_SCHEMA = "CREATE TABLE IF NOT EXISTS sessions (id TEXT PRIMARY KEY, state TEXT NOT NULL)"
_PUT = (
    "INSERT INTO sessions VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET state = excluded.state"
    # An update keeps the place of a row, and the rows the order of their making.
)
_DROP = "DELETE FROM sessions WHERE id = ?"

_AGAIN_SECONDS = 0.5
"""How long the writer waits before it tries anew what the disk did not take."""

_CORRUPT = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}

logger = logging.getLogger("aaia")


class StoreUnavailable(AlephScriptError, OSError):
    """Sessions cannot be kept in a folder; the message says why, and what to do."""


@attrs.define
class _Batch:
    """What one transaction writes: how sessions are, None if forgotten, and who is told then."""

    changes: dict[str, str | None]
    told: list[asyncio.Event]
    anew: bool


class SessionStore:
    """Keeps sessions in ``sessions.db`` of a folder that it has for itself.

    Args:
        folder: The folder, made if there is none.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / _FILE
        self._all: dict[str, str] = {}
        self._waiting: dict[str, str | None] = {}
        self._told: list[asyncio.Event] = []
        self._writes_all = False
        self._is_closing = False
        self._changed = threading.Condition()  # around all of these
        self._lock: int | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._writer: threading.Thread | None = None

    async def open(self) -> Sequence[str]:
        """Open the file.

        Returns:
            What was kept of each session, those that were made first first.

        Raises:
            StoreUnavailable: The folder cannot be made or written, or another bot works on it.
        """
        self._loop, self._is_closing = asyncio.get_running_loop(), False
        database = await asyncio.to_thread(self._open)
        # A daemon: a program ends although nobody closed this, by `_end`.
        self._writer = threading.Thread(
            target=self._write_until_closed, args=(database,), name="aaia-sessions", daemon=True
        )
        self._writer.start()
        atexit.register(self._end)
        return list(self._all.values())

    def keep(self, session_id: str, state: str | None) -> asyncio.Event:
        """Keep how a session is, in place of what was kept before; None forgets it.

        Returns:
            What is set when that cannot be lost any more.
        """
        kept = asyncio.Event()
        with self._changed:
            self._waiting[session_id] = state
            if state is None:
                self._all.pop(session_id, None)
            else:
                self._all[session_id] = state
            self._told.append(kept)
            self._changed.notify()
        return kept

    async def close(self) -> None:
        """Write what is still to be written, as far as that is possible, and close the file."""
        await asyncio.to_thread(self._end)

    def _end(self) -> None:
        atexit.unregister(self._end)
        writer, self._writer = self._writer, None
        if writer is not None:
            with self._changed:
                self._is_closing = True
                self._changed.notify()
            writer.join()
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)

    def _open(self) -> sqlite3.Connection:
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(self._folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as exc:
            raise _unavailable(self._folder, exc.strerror or exc) from exc
        try:
            _lock_file(lock)
        except OSError as exc:
            os.close(lock)
            raise StoreUnavailable(
                f"another bot works on {self._folder}; stop that one, or choose another folder "
                "(--data)"
            ) from exc
        try:
            database = self._connect_or_begin_anew()
        except BaseException as exc:
            os.close(lock)
            if isinstance(exc, sqlite3.Error | OSError) and not isinstance(exc, StoreUnavailable):
                raise _unavailable(self._folder, exc) from exc
            raise
        self._lock = lock
        return database

    def _connect_or_begin_anew(self) -> sqlite3.Connection:
        try:
            return self._connect()
        except sqlite3.DatabaseError as exc:
            if not _is_damaged(exc):
                raise
            return self._begin_anew(exc)

    def _connect(self) -> sqlite3.Connection:
        """Open the file, and read what is in it."""
        database = sqlite3.connect(self._path, timeout=10.0, check_same_thread=False)
        try:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = FULL")
            (version,) = database.execute("PRAGMA user_version").fetchone()
            _check_version(self._path, version)
            database.execute(_SCHEMA)
            database.execute(f"PRAGMA user_version = {_VERSION}")
            self._all = dict(database.execute("SELECT id, state FROM sessions ORDER BY rowid"))
        except BaseException:
            database.close()
            raise
        return database

    def _begin_anew(
        self, exc: BaseException, damaged: sqlite3.Connection | None = None
    ) -> sqlite3.Connection:
        """Put a damaged file aside, and begin a fresh one with the sessions that are known."""
        if damaged is not None:
            with contextlib.suppress(sqlite3.Error):
                damaged.close()
        aside = self._path.with_name(f"{_FILE}.damaged-{time.time_ns() // 1_000_000}")
        for suffix in ("", "-wal", "-shm"):
            path = self._path.with_name(_FILE + suffix)
            if path.exists():
                path.rename(aside.with_name(aside.name + suffix))
        logger.error(
            "the sessions were damaged (%s); they were put aside as %s, and a fresh file was begun",
            exc,
            aside,
        )
        with self._changed:
            known = self._all
            database = self._connect()
            self._all, self._writes_all = known, True
        return database

    # The writer's thread

    def _write_until_closed(self, database: sqlite3.Connection) -> None:
        is_stuck = is_fresh = False
        pause = 0.0
        while (batch := self._take(pause)) is not None:
            pause = 0.0
            try:
                _write(database, batch)
            except sqlite3.Error as exc:
                self._put_back(batch)
                if is_stuck and self._is_closing:
                    logger.error("%d sessions could not be kept: %s", len(batch.changes), exc)
                    break
                try:
                    if not _is_damaged(exc) or is_fresh:  # then the disk is, and not the file
                        raise
                    database, is_fresh = self._begin_anew(exc, database), True
                except (sqlite3.Error, OSError) as why:
                    if not is_stuck:
                        logger.error("sessions cannot be kept: %s", why)
                    is_stuck, pause = True, _AGAIN_SECONDS
            else:
                if is_stuck:
                    logger.info("sessions are kept again")
                is_stuck = is_fresh = False
                self._tell(batch.told)
        database.close()

    def _take(self, patience: float) -> _Batch | None:
        """Take what is to be written, as soon as there is something; None to close the file.

        Args:
            patience: Seconds that the disk is left alone before, unless the file is to be closed.
        """
        with self._changed:
            if patience and not self._is_closing:
                self._changed.wait_for(lambda: self._is_closing, patience)
            self._changed.wait_for(lambda: self._told or self._writes_all or self._is_closing)
            if not (self._told or self._writes_all):
                return None
            batch = _Batch(self._waiting, self._told, anew=self._writes_all)
            if batch.anew:
                batch.changes = dict(self._all)
            self._waiting, self._told, self._writes_all = {}, [], False
            return batch

    def _put_back(self, batch: _Batch) -> None:
        with self._changed:
            self._writes_all = self._writes_all or batch.anew
            self._waiting = {**batch.changes, **self._waiting}
            self._told = batch.told + self._told

    def _tell(self, told: Sequence[asyncio.Event]) -> None:
        assert self._loop is not None
        with contextlib.suppress(RuntimeError):  # nobody is there to be told
            self._loop.call_soon_threadsafe(_set_all, told)


def _set_all(events: Sequence[asyncio.Event]) -> None:
    for event in events:
        event.set()


def _write(database: sqlite3.Connection, batch: _Batch) -> None:
    """Write changes in one transaction, in place of all that there is if ``anew``."""
    changes = batch.changes
    with database:
        if batch.anew:
            database.execute("DELETE FROM sessions")
        database.executemany(_DROP, [(key,) for key, state in changes.items() if state is None])
        database.executemany(_PUT, [each for each in changes.items() if each[1] is not None])


def _check_version(path: Path, version: int) -> None:
    if version > _VERSION:
        raise StoreUnavailable(
            f"{path} was written by a newer bot; start that one, or choose another folder (--data)"
        )


def _is_damaged(exc: BaseException) -> bool:
    # A file that could not be begun anew is closed, and has no code.
    code = getattr(exc, "sqlite_errorcode", 0) & 0xFF
    return code in _CORRUPT or isinstance(exc, sqlite3.ProgrammingError)


def _unavailable(folder: Path, why: object) -> StoreUnavailable:
    return StoreUnavailable(
        f"cannot keep sessions in {folder}: {why}; choose another folder (--data)"
    )


def _lock_file(lock: int) -> None:
    """Lock an open file, or raise `OSError`; the lock goes with the process, however it ends."""
    try:
        import fcntl
    except ModuleNotFoundError:  # Windows
        import msvcrt

        msvcrt.locking(lock, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
    else:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
