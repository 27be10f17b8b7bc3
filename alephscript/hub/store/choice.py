"""Where a hub keeps what outlives its requests, if it shares no Redis: in memory, or in a folder.

May go in: which store, which log and which values a hub has by its options. May not: how they keep
anything (a file each, beside this one), what hubs share (`cluster.membership`).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from alephscript.hub.options import LogOptions
from alephscript.hub.store.logs import LOG_BYTES, MEMORY_BYTES, Log, MemoryLog
from alephscript.hub.store.memory import MemoryStore
from alephscript.hub.store.store import Store

if TYPE_CHECKING:
    from alephscript.hub.store.values import ValueStore

__all__ = ["make_log", "make_store", "make_values"]

# Imported where they are made: only a hub with a folder needs SQLite.


def make_store(data: Path | str | None, keep_seconds: float) -> Store:
    """Make the journal of tasks."""
    if data is None:
        return MemoryStore(keep_seconds)
    from alephscript.hub.store.sqlite import SqliteStore

    return SqliteStore(Path(data), keep_seconds=keep_seconds)


def make_values(data: Path | str) -> ValueStore:
    """Make the file of retained values."""
    from alephscript.hub.store.values import ValueStore

    return ValueStore(Path(data))


def make_log(data: Path | str | None, options: LogOptions) -> Log:
    """Make the log of rooms."""
    if data is None:
        size = options.size or MEMORY_BYTES
        return MemoryLog(keep_seconds=options.seconds, keep_bytes=size)
    from alephscript.hub.store.sqlite_log import SqliteLog

    size = options.size or LOG_BYTES
    return SqliteLog(Path(data), keep_seconds=options.seconds, keep_bytes=size)
