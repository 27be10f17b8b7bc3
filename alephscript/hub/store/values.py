"""Retained values in a file of SQLite, so that they outlive the hub.

Theory of operation. A thread writes what has changed since its last transaction, each value once
however often it has changed meanwhile; the event loop never waits for the disk. So a value is in
the file some milliseconds after it was said. If the disk takes nothing the changes wait, or, if
they are too many, all values are written anew as soon as it takes something. A file that is damaged
is put aside, and a fresh one is begun with the values that this hub has.

May go in: what is particular to values and to SQLite. May not: which values are kept
(`alephscript.mesh.retained`); tasks (`sqlite`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path

import msgspec

from alephscript.diagnostics.redaction import redacted
from alephscript.hub.store.sqlite_file import connect_or_begin_anew, is_damaged, put_aside
from alephscript.hub.store.sqlite_threads import Threads
from alephscript.hub.store.store import KeptValue, StoreUnavailable
from alephscript.mesh.retained import RetainedValue

__all__ = ["ValueStore"]

logger = logging.getLogger("alephscript.hub")

_FILE = "retained.db"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS retained (
    namespace TEXT, room TEXT, event TEXT, sender TEXT NOT NULL, at INTEGER NOT NULL,
    data BLOB NOT NULL, PRIMARY KEY (namespace, room, event)
)
"""
_PUT = "INSERT OR REPLACE INTO retained VALUES (?, ?, ?, ?, ?, ?)"
_DROP = "DELETE FROM retained WHERE namespace = ? AND room = ? AND event = ?"
_READ = "SELECT namespace, room, event, sender, at, data FROM retained ORDER BY rowid"

_MOST_WAITING = 100_000
"""Changes that wait for the disk before all values are written anew instead."""

_AGAIN_SECONDS = 0.5
"""How long the writer waits before it tries anew what the disk did not take."""

_Key = tuple[str, str, str]


class ValueStore:
    """Keeps values in ``retained.db`` of a folder, which the hub has for itself.

    Args:
        folder: The folder.

    Attributes:
        trouble: What is wrong with the file, a sentence for whoever runs the hub; None if nothing
            is.
    """

    def __init__(self, folder: Path) -> None:
        self.trouble: str | None = None
        self._path = folder / _FILE
        self._all: dict[_Key, RetainedValue] = {}
        self._waiting: dict[_Key, RetainedValue] = {}
        self._writes_all = False
        self._is_closing = False
        self._is_damaged = False
        self._changed = threading.Condition()  # around all of these
        self._threads = Threads(self._path, "retained", self._stop)

    async def open(self) -> Sequence[KeptValue]:
        """See `Values.open`."""
        self._is_closing = False
        try:
            database = await asyncio.to_thread(
                connect_or_begin_anew, self._connect, self._begin_anew
            )
        except (sqlite3.Error, OSError) as exc:
            raise StoreUnavailable(
                f"cannot keep values in {self._path}: {exc}; choose another folder (--data)"
            ) from exc
        self._threads.begin(lambda: self._write_all(database))
        return [(*key, value) for key, value in self._all.items()]

    def keep(self, namespace: str, room: str, event: str, value: RetainedValue) -> None:
        """See `Values.keep`."""
        key = (namespace, room, event)
        with self._changed:
            for values in (self._all, self._waiting):
                values.pop(key, None)  # so that the last one said is the last one written
                values[key] = value
            if value.data is None:
                del self._all[key]
            if len(self._waiting) > _MOST_WAITING:
                self._waiting.clear()
                self._writes_all = True
            self._changed.notify()

    async def close(self) -> None:
        """See `Values.close`."""
        await self._threads.close()

    def _stop(self) -> None:
        with self._changed:
            self._is_closing = True
            self._changed.notify()

    # The writer's thread, once the file is open

    def _write_all(self, database: sqlite3.Connection) -> None:
        try:
            self._write_until_closed(database)
        except BaseException as exc:
            self.trouble = f"the file of retained values has ended: {exc}"
            logger.error(
                "the file of retained values has ended",
                exc_info=redacted(exc),
                extra={"file": str(self._path)},
            )

    def _write_until_closed(self, database: sqlite3.Connection) -> None:
        is_fresh = False
        while True:
            with self._changed:
                while not (self._waiting or self._writes_all or self._is_closing):
                    self._changed.wait()
                if not (self._waiting or self._writes_all):
                    break
                waiting, self._waiting = self._waiting, {}
                anew = self._writes_all
                self._writes_all = False
                if anew:
                    waiting = dict(self._all)
            try:
                _write(database, waiting, anew=anew)
            except sqlite3.Error as exc:
                if is_damaged(exc) and not is_fresh:  # else the disk, and not the file
                    database, is_fresh = self._begin_anew(exc, database), True
                elif not self._put_back(waiting, exc, anew=anew):
                    break
            else:
                is_fresh = False
                if self.trouble is not None and not self._is_damaged:
                    logger.info("retained values are kept again", extra={"file": str(self._path)})
                    self.trouble = None
        database.close()

    def _put_back(
        self, waiting: dict[_Key, RetainedValue], exc: sqlite3.Error, *, anew: bool
    ) -> bool:
        """Wait, and let changes be tried again; return whether that makes sense."""
        if self.trouble is None:
            self.trouble = f"retained values cannot be kept: {exc}"
            logger.error("retained values cannot be kept: %s", exc, extra={"error": str(exc)})
        with self._changed:
            if self._is_closing:
                logger.error(
                    "%d retained values could not be kept",
                    len(waiting),
                    extra={"count": len(waiting)},
                )
                return False
            self._writes_all = self._writes_all or anew
            self._waiting = {} if self._writes_all else {**waiting, **self._waiting}
            self._changed.wait(_AGAIN_SECONDS)
        return True

    def _connect(self) -> sqlite3.Connection:
        """Open the file, and read what is in it."""
        database = sqlite3.connect(self._path, timeout=10.0, check_same_thread=False)
        try:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute(_SCHEMA)
            self._all = {
                (namespace, room, event): RetainedValue(msgspec.Raw(data), sender, at)
                for namespace, room, event, sender, at, data in database.execute(_READ)
            }
        except BaseException:
            database.close()
            raise
        return database

    def _begin_anew(
        self, exc: BaseException, damaged: sqlite3.Connection | None = None
    ) -> sqlite3.Connection:
        """Put a damaged file aside, and begin a fresh one with the values that are known."""
        if damaged is not None:
            with contextlib.suppress(sqlite3.Error):
                damaged.close()
        aside = put_aside(self._path)
        self.trouble = f"the retained values were damaged ({exc}); they were put aside as {aside}"
        logger.error("%s, and a fresh file was begun", self.trouble, extra={"file": str(aside)})
        self._is_damaged = True
        with self._changed:
            known = self._all
            database = self._connect()
            self._all, self._writes_all = known, True
        return database


def _write(database: sqlite3.Connection, values: dict[_Key, RetainedValue], *, anew: bool) -> None:
    """Write values in one transaction, in place of all that there are if ``anew``."""
    with database:
        if anew:
            database.execute("DELETE FROM retained")
        database.executemany(_DROP, [key for key, each in values.items() if each.data is None])
        database.executemany(
            _PUT,
            [
                (*key, each.sender, each.at, bytes(each.data))
                for key, each in values.items()
                if each.data is not None
            ],
        )
