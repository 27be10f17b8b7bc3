"""The pulse of workers: that each is alive, and how busy it is, in a file that all have in memory.

May go in: writing and reading these figures. May not: what follows from them.

A file in memory and no messages: a worker that hangs answers none, and whoever looks waits for
nobody.
"""

from __future__ import annotations

import asyncio
import mmap
import struct
import time
from pathlib import Path

__all__ = ["BEAT_SECONDS", "Pulse"]

BEAT_SECONDS = 0.5
"""Seconds between two beats of a worker."""

_BEAT = struct.Struct("=Qd")
"""How often a worker's heart has beaten, and the share of a core that it used of late."""


class Pulse:
    """The beats of all workers of a port.

    Args:
        folder: The folder of the workers, which is theirs alone.
        workers: How many workers there are.
    """

    def __init__(self, folder: Path, workers: int) -> None:
        size = _BEAT.size * workers
        with (folder / "pulse").open("a+b") as file:
            file.truncate(size)  # with zeros where there was nothing
            self._beats = mmap.mmap(file.fileno(), size)
        self._timer: asyncio.TimerHandle | None = None

    def beat(self, worker: int) -> None:
        """Beat for a worker from now on, in the running event loop."""
        self._beat(worker, 0.0, time.process_time(), time.monotonic())

    def count(self, worker: int) -> int:
        """Return how often a worker's heart has beaten; 0 if the worker never came so far."""
        beats, _ = self._read(worker)
        return beats

    def load(self, worker: int) -> float:
        """Return the share of a core that a worker used of late, 0 to 1."""
        _, load = self._read(worker)
        return load

    def reset(self, worker: int) -> None:
        """Forget a worker that has ended."""
        _BEAT.pack_into(self._beats, worker * _BEAT.size, 0, 0.0)

    def close(self) -> None:
        """Beat no longer."""
        if self._timer is not None:
            self._timer.cancel()
        self._beats.close()

    def _read(self, worker: int) -> tuple[int, float]:
        beats, load = _BEAT.unpack_from(self._beats, worker * _BEAT.size)
        return beats, load

    def _beat(self, worker: int, load: float, used: float, at: float) -> None:
        _BEAT.pack_into(self._beats, worker * _BEAT.size, self.count(worker) + 1, load)
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(BEAT_SECONDS, self._look, worker, used, at)

    def _look(self, worker: int, used_before: float, before: float) -> None:
        used, now = time.process_time(), time.monotonic()
        self._beat(worker, min((used - used_before) / (now - before), 1.0), used, now)
