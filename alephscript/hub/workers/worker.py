"""A hub that is one of several processes on a port.

May go in: what a hub does differently as a worker. May not: starting processes (`cli.workers`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alephscript.hub.server import Hub
from alephscript.hub.workers.places import mark_of
from alephscript.hub.workers.pulse import Pulse
from alephscript.hub.workers.siblings import Siblings

__all__ = ["Worker"]


class Worker(Hub):
    """A worker.

    Args:
        folder: The folder of the port's workers, which is theirs alone.
        number: The worker's number, from 0.
        workers: How many there are.
        options: The arguments of `Hub`.
    """

    def __init__(self, folder: Path, number: int, workers: int, **options: Any) -> None:
        self._folder = folder
        self._number = number
        self._workers = workers
        self._pulse: Pulse | None = None
        super().__init__(**options, reuse_port=True)

    def _siblings(self) -> Siblings:
        self._engine.id_mark = mark_of(self._number)
        self._pulse = Pulse(self._folder, self._workers)
        self._pulse.beat(self._number)
        return Siblings(self._folder, self._number, self._workers, self._pulse)

    async def close(self) -> None:
        """Close; see `Hub.close`."""
        await super().close()
        if self._pulse is not None:  # until now: a hub that drains is alive
            self._pulse.close()
