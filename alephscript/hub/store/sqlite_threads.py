"""The threads of a file of SQLite: one writes, another one reads; the event loop waits for neither.

May go in: when they begin and end, and how they report to the loop. May not: what is kept in the
file (`sqlite`, `sqlite_log`, `values`).
"""

from __future__ import annotations

import asyncio
import atexit
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from alephscript.hub.store.sqlite_file import connect

__all__ = ["Threads"]


class Threads:
    """A writer and a reader, which end when the file is closed, or else with the program.

    Args:
        path: The file.
        name: A word for what is kept in the file.
        stop: Called from any thread, has the writer end as soon as all is written that was taken.
    """

    def __init__(self, path: Path, name: str, stop: Callable[[], None]) -> None:
        self._path = path
        self._name = name
        self._stop = stop
        self._loop: asyncio.AbstractEventLoop | None = None
        self._writer: threading.Thread | None = None
        self._readers: ThreadPoolExecutor | None = None
        self._reading: sqlite3.Connection | None = None

    def begin(self, write: Callable[[], None]) -> None:
        """Begin to write; to be called in the event loop that is reported to."""
        self._loop = asyncio.get_running_loop()
        self._readers = ThreadPoolExecutor(1, f"alephscript-{self._name}-reader")
        # A daemon: a program ends although its hub was not closed, by `_end`.
        self._writer = threading.Thread(target=write, name=f"alephscript-{self._name}", daemon=True)
        self._writer.start()
        atexit.register(self._end)

    def read(self, read: Callable[[], None]) -> None:
        """Have the reader do something."""
        assert self._readers is not None
        self._readers.submit(read)

    def connect(self, *, anew: bool) -> sqlite3.Connection:
        """Return the reader's connection; for the reader alone.

        Args:
            anew: Whether the file is another one than before.

        Raises:
            sqlite3.Error: The file cannot be opened.
        """
        if self._reading is not None and anew:
            self._reading.close()
            self._reading = None
        if self._reading is None:
            self._reading = connect(self._path)
        return self._reading

    def tell(self, tell: Callable[[], None]) -> bool:
        """Have the event loop do something; return False if it has ended."""
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(tell)
        except RuntimeError:
            return False
        return True

    async def close(self) -> None:
        """Write what was taken, and end; safe to call twice."""
        await asyncio.to_thread(self._end)

    def _end(self) -> None:
        atexit.unregister(self._end)
        writer, self._writer = self._writer, None
        readers, self._readers = self._readers, None
        if writer is None or readers is None:
            return
        self._stop()
        writer.join()
        readers.shutdown()
        if self._reading is not None:
            self._reading.close()
            self._reading = None
