"""A file of SQLite: opened, known to be damaged, put aside.

May go in: what the files of a folder of data have in common. May not: what is kept in one, what a
fresh one begins with (`sqlite`, `sqlite_log`, `values`).
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

__all__ = ["connect", "connect_or_begin_anew", "files_of", "is_damaged", "put_aside", "transaction"]

_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


def connect(path: Path) -> sqlite3.Connection:
    """Open a file for one writer and readers beside it; transactions are the caller's.

    Raises:
        sqlite3.Error: The file cannot be opened, or is none of SQLite.
    """
    database = sqlite3.connect(path, timeout=10.0, isolation_level=None, check_same_thread=False)
    try:
        database.execute("PRAGMA journal_mode = WAL")
    except BaseException:
        database.close()
        raise
    return database


def connect_or_begin_anew(
    connect: Callable[[], sqlite3.Connection],
    begin_anew: Callable[[sqlite3.Error], sqlite3.Connection],
) -> sqlite3.Connection:
    """Open a file, or a fresh one where that is damaged.

    Args:
        connect: Opens the file.
        begin_anew: Puts it aside, and opens a fresh one; told what is wrong.

    Raises:
        sqlite3.Error: The file cannot be opened, and is not damaged.
    """
    try:
        return connect()
    except sqlite3.DatabaseError as exc:
        if not is_damaged(exc):
            raise
        return begin_anew(exc)


@contextlib.contextmanager
def transaction(database: sqlite3.Connection) -> Iterator[None]:
    """Have all of what is in it written, or nothing."""
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
        database.execute("COMMIT")
    finally:
        if database.in_transaction:
            database.execute("ROLLBACK")


def is_damaged(exc: BaseException) -> bool:
    """Say whether an error is one of the file, and not of the disk."""
    return getattr(exc, "sqlite_errorcode", 0) & 0xFF in _DAMAGED


def files_of(path: Path) -> list[Path]:
    """Return the files that SQLite keeps for one."""
    return [path.with_name(path.name + suffix) for suffix in ("", "-wal", "-shm")]


def put_aside(path: Path) -> Path | None:
    """Rename a file, and what SQLite keeps beside it, with the time in the new name.

    Returns:
        The new path of the file; None if there was nothing to be put aside.

    Raises:
        OSError: The folder cannot be written.
    """
    aside = path.with_name(f"{path.name}.damaged-{time.time_ns() // 1_000_000}")
    was_there = False
    for old, new in zip(files_of(path), files_of(aside), strict=True):
        if old.exists():
            old.rename(new)
            was_there = True
    return aside if was_there else None
