"""The queue of tasks that wait for a master, found by what they wait for.

May go in: which task is next where. May not: whether there is a master (`dispatch`).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

from alephscript.mesh.tasks.task import Place, Task

__all__ = ["TaskQueue"]


class TaskQueue:
    """Tasks that wait, in order; and places at which some of them may begin now.

    Attributes:
        starting: How many tasks are being written down as started.
    """

    def __init__(self) -> None:
        self.starting = 0
        self._queued: dict[Place, dict[str, Task]] = {}
        self._ready: dict[Place, None] = {}

    def __bool__(self) -> bool:
        return bool(self._queued)

    def add(self, task: Task) -> None:
        """Have a task wait at its places, which are looked at soon."""
        for place in task.places:
            self._queued.setdefault(place, {})[task.record.id] = task
            self._ready[place] = None

    def remove(self, task: Task) -> None:
        """Have a task wait no more."""
        for place in task.places:
            queue = self._queued.get(place)
            if queue is None or task.record.id not in queue:
                continue
            del queue[task.record.id]
            if not queue:
                del self._queued[place]
                self._ready.pop(place, None)

    def has(self, task: Task) -> bool:
        """Whether a task waits."""
        return any(task.record.id in self._queued.get(place, ()) for place in task.places)

    def ready(self, places: Iterable[Place]) -> None:
        """Look at these places soon: something has changed there."""
        for place in places:
            if place in self._queued:
                self._ready[place] = None

    def unready(self, place: Place) -> None:
        """Look at a place no more until something has changed there."""
        self._ready.pop(place, None)

    def next_place(self) -> Place | None:
        """Return the place to look at next; None if there is none."""
        return next(iter(self._ready), None)

    def first(self, place: Place, most: int) -> Sequence[Task]:
        """Return the first tasks that wait at a place."""
        return list(itertools.islice(self._queued.get(place, {}).values(), most))

    def is_empty(self, place: Place) -> bool:
        """Whether nothing waits at a place."""
        return not self._queued.get(place)

    def started(self, task: Task) -> None:
        """Count a task no more that was being started."""
        if task.is_starting:
            self.starting -= 1
            task.is_starting = False

    def rest(self) -> None:
        """Have nothing begin any more."""
        self._ready.clear()
        self.starting = 0
