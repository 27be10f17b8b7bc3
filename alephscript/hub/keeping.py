"""The tasks of one namespace at their journal: effects become calls of it, its calls inputs.

May go in: how effects about tasks are carried out, and the clock that a mesh has not. May not: a
decision, which is the mesh's; how records are kept (`store`).
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Callable, Iterable, Sequence

from alephscript.errors import RequestError
from alephscript.hub.store.memory import MemoryStore
from alephscript.hub.store.store import SharedStore, Store
from alephscript.links.deadlines import Deadlines
from alephscript.mesh.effects import Effect, Keep, Look, Take, Wake, WakeKey
from alephscript.mesh.records import Record
from alephscript.mesh.tasks import Tasks

__all__ = ["Keeper"]


class Keeper:
    """Carries out what the tasks of a mesh want.

    Args:
        tasks: The tasks.
        carry: Carries out the effects that come of inputs.

    Attributes:
        store: The journal; in memory unless something else is said before `open`.
    """

    def __init__(self, tasks: Tasks, carry: Callable[[Iterable[Effect]], None]) -> None:
        self.store: Store = MemoryStore()
        self._tasks = tasks
        self._carry = carry
        self._wakes: Deadlines[WakeKey] = Deadlines(self._wake)
        # The time of the day as the loop goes on from it: a clock that is set changes no deadline.
        self._ahead: float | None = None
        tasks.clock = self._time

    def load(self, records: Sequence[Record]) -> None:
        """Go on with the tasks of this namespace that had not ended."""
        self._carry(self._tasks.load(r for r in records if r.namespace == self._tasks.namespace))

    def close(self) -> None:
        """Leave all tasks as they stand in the journal."""
        self._carry(self._tasks.suspend())
        self._wakes.close()

    def keep(self, effect: Keep) -> None:
        """Have the journal keep a record."""
        number = effect.number
        done = functools.partial(self._kept, number) if number else None
        self.store.keep(effect.record, done, is_new=effect.is_new)

    def look(self, effect: Look) -> None:
        """Look up records in the journal."""
        done = functools.partial(self._found, effect.number)
        self.store.look(self._tasks.namespace, effect, done)

    def take(self, effect: Take) -> None:
        """Take over tasks of other hubs, where the journal is one of several hubs."""
        if isinstance(self.store, SharedStore):
            self.store.take_runs(effect.runs, functools.partial(self._found, effect.number))
        else:
            self._found(effect.number, [], None)

    def notice(self, id: str, hub: str) -> None:
        """Hear that some hub has kept a task."""
        self._carry(self._tasks.noticed(id, hub))

    def catch_up(self) -> None:
        """Look after what other hubs may have kept, and nobody has told."""
        self._carry(self._tasks.catch_up())

    def wake(self, effect: Wake) -> None:
        """Set a time, or forget one."""
        if effect.seconds is None:
            self._wakes.forget(effect.key)
        else:
            self._wakes.set(effect.key, effect.seconds)

    def _kept(self, number: int, standing: Record | None, error: RequestError | None) -> None:
        self._carry(self._tasks.kept(number, standing, error))

    def _found(self, number: int, records: Sequence[Record], error: RequestError | None) -> None:
        self._carry(self._tasks.found(number, records, error))

    def _wake(self, key: WakeKey) -> None:
        self._carry(self._tasks.woken(key))

    def _time(self) -> float:
        now = asyncio.get_running_loop().time()
        if self._ahead is None:
            self._ahead = time.time() - now
        return now + self._ahead
