"""The ledger of tasks: all that have not ended, what they take, and what waits for the journal.

May go in: how tasks are found and counted, which input of the journal belongs to which effect. May
not: a task's next step (`steps`).
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from alephscript.errors import Overloaded, RequestError
from alephscript.mesh.effects import Effect, Keep, Look, Take
from alephscript.mesh.limits import Limits
from alephscript.mesh.records import Record
from alephscript.mesh.tasks.task import Task

__all__ = ["Found", "Kept", "Ledger"]

_TASK_BYTES = 2000
"""What a task that has not ended takes besides its record: itself, its peer, places in tables."""

Kept = Callable[[Record | None, RequestError | None], list[Effect]]
"""Goes on after a record was kept, with what stands in its place or why it was not kept."""

Found = Callable[[Sequence[Record], RequestError | None], list[Effect]]
"""Goes on with the records that were looked up, or with why they could not be."""


class Ledger:
    """The tasks that have not ended.

    Args:
        limits: How much one submitter may have.
        clock: Gives the time, seconds since 1970.

    Attributes:
        is_resting: Whether nothing is started or ended any more, since the hub is closing.
        awaited: Tasks at work at masters that are to come back, by id.
    """

    def __init__(self, limits: Limits, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.is_resting = False
        self.awaited: dict[str, Task] = {}
        self._most = limits.requests_per_client
        self._most_bytes = limits.kept_bytes
        self._most_bytes_of_all = 4 * limits.kept_bytes_of_all
        self._tasks: dict[str, Task] = {}
        self._runs: dict[str, Task] = {}
        self._owned: Counter[str] = Counter()
        self._owned_bytes: Counter[str] = Counter()
        self._bytes = 0
        self._numbers = itertools.count(1)
        self._keeping: dict[int, Kept] = {}
        self._looking: dict[int, Found] = {}

    def __len__(self) -> int:
        return len(self._tasks)

    def __iter__(self) -> Iterator[Task]:
        return iter(list(self._tasks.values()))

    def get(self, id: str) -> Task | None:
        """Get a task that has not ended, or whose end is not kept yet."""
        return self._tasks.get(id)

    def get_by_run(self, run: str) -> Task | None:
        """Get the task of a run that a master may still bring along."""
        return self._runs.get(run)

    def of_owner(self, owner: str) -> list[Task]:
        """List the tasks of a submitter."""
        if owner not in self._owned:
            return []
        return [each for each in self._tasks.values() if each.record.owner == owner]

    def add(self, task: Task) -> None:
        """Add a task."""
        self._tasks[task.record.id] = task
        self.count(task.record, 1)

    def remove(self, task: Task) -> None:
        """Remove a task that has ended, or is another hub's."""
        del self._tasks[task.record.id]
        self.awaited.pop(task.record.id, None)
        self.note_run(task, "")
        self.count(task.record, -1)

    def note_run(self, task: Task, run: str) -> None:
        """Note by which name the master of a task may bring its run along; empty for none."""
        self._runs.pop(task.run, None)
        task.run = run
        if run:
            self._runs[run] = task

    # What tasks take

    def check_room(self, record: Record) -> None:
        """Check that a submitter, and the hub, may have a further task.

        Raises:
            Overloaded: One of them has too many tasks that have not ended, or these are too large.
        """
        owner, size = record.owner, record.size + _TASK_BYTES
        if self._owned[owner] >= self._most:
            message = f"{self._most} tasks of this client have not ended yet"
            raise Overloaded(message, [{"delivered": False}])
        if (
            self._owned_bytes[owner] + size > self._most_bytes
            or self._bytes + size > self._most_bytes_of_all
        ):
            message = "the tasks that have not ended take too much memory already"
            raise Overloaded(message, [{"delivered": False}])

    def count(self, record: Record, change: int) -> None:
        """Count a task, 1, or count it no more, -1."""
        owner, size = record.owner, change * (record.size + _TASK_BYTES)
        self._owned[owner] += change
        self._owned_bytes[owner] += size
        self._bytes += size
        if not self._owned[owner]:
            del self._owned[owner], self._owned_bytes[owner]

    def resize(self, before: Record, record: Record) -> None:
        """Count what a task takes from now on."""
        more = record.size - before.size
        self._owned_bytes[record.owner] += more
        self._bytes += more

    # The journal

    def keep(self, record: Record, then: Kept, *, is_new: bool = False) -> Keep:
        """Have a record kept, and go on then; see `Keep`."""
        number = next(self._numbers)
        self._keeping[number] = then
        return Keep(number, record, is_new=is_new)

    def look(self, then: Found, **query: Any) -> Look:
        """Have records looked up, and go on with them; see `Look`."""
        number = next(self._numbers)
        self._looking[number] = then
        return Look(number, **query)

    def take(self, runs: Sequence[str], then: Found) -> Take:
        """Have the tasks of runs taken over from other hubs, and go on with them; see `Take`."""
        number = next(self._numbers)
        self._looking[number] = then
        return Take(number, tuple(runs))

    def kept(
        self, number: int, standing: Record | None, error: RequestError | None
    ) -> list[Effect]:
        """Go on after a record was kept."""
        then = self._keeping.pop(number, None)
        return [] if then is None else then(standing, error)

    def found(
        self, number: int, records: Sequence[Record], error: RequestError | None
    ) -> list[Effect]:
        """Go on after records were looked up."""
        then = self._looking.pop(number, None)
        return [] if then is None else then(records, error)

    def rest(self) -> None:
        """Wait for nothing of the journal any more."""
        self._keeping.clear()
        self._looking.clear()
