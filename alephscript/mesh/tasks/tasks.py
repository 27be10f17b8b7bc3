"""The tasks of a mesh: where inputs about them come in, and how one begins.

May go in: what comes from the shell, from the desk and from changes of masters. May not: what
becomes of a task then, which is the other modules'.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

from alephscript.errors import Overloaded, RequestError
from alephscript.mesh.audience import Audience
from alephscript.mesh.dialects import TaskDialect
from alephscript.mesh.effects import Effect, Wake, WakeKey
from alephscript.mesh.limits import Limits
from alephscript.mesh.peers import Peer
from alephscript.mesh.records import Record
from alephscript.mesh.requests import Requests
from alephscript.mesh.rooms import Room, Rooms
from alephscript.mesh.speech import Speech
from alephscript.mesh.tasks.diary import Diary
from alephscript.mesh.tasks.dispatch import Dispatch
from alephscript.mesh.tasks.ledger import Found, Kept, Ledger
from alephscript.mesh.tasks.queue import TaskQueue
from alephscript.mesh.tasks.returning import Returning
from alephscript.mesh.tasks.steps import Steps
from alephscript.mesh.tasks.task import Place, Task
from alephscript.protocol.tasks import TaskReply

__all__ = ["Tasks"]


class Tasks:
    """The tasks of a mesh that have not ended.

    Args:
        namespace: The mesh's.
        rooms: Where masters are found.
        speech: Where rooms are told.
        requests: Through which tasks ask.
        limits: How much one submitter may have.

    Attributes:
        clock: Gives the time, seconds since 1970; the shell's, as a mesh has no clock.
        make_id: Makes the ids of tasks and runs.
        hub: This hub's name, where there are several.
        hubs: The names of the others that are there.
        audience: Who hears of what becomes of tasks.
        ended: How many tasks have ended here, by state and code, ``ok`` for those done.
    """

    def __init__(
        self, namespace: str, rooms: Rooms, speech: Speech, requests: Requests, limits: Limits
    ) -> None:
        self.namespace = namespace
        self.clock: Callable[[], float] = lambda: 0.0
        self.make_id: Callable[[], str] = lambda: secrets.token_hex(16)
        self.hub = ""
        self.hubs: Collection[str] = ()
        self.audience = audience = Audience(rooms, speech, limits.requests_per_client)
        # The shell gives its clock, and tests their ids, later: hence not these themselves.
        self._ledger = ledger = Ledger(limits, lambda: self.clock())  # noqa: PLW0108
        self._queue = queue = TaskQueue()
        self._steps = steps = Steps(ledger, queue, rooms, requests, audience)
        self._dispatch = dispatch = Dispatch(
            ledger,
            queue,
            steps,
            rooms,
            requests,
            audience,
            lambda: self.make_id(),  # noqa: PLW0108
        )
        self._returning = returning = Returning(
            ledger, queue, steps, dispatch, requests, lambda hub: hub in self.hubs
        )
        self._diary = diary = Diary(ledger, queue, steps, dispatch, returning, requests, audience)
        self._dialect = TaskDialect(diary)
        self.ended = steps.ended
        requests.put_tasks = self._masters_changed

    def __len__(self) -> int:
        return len(self._ledger)

    @property
    def at_masters(self) -> int:
        """How many requests of tasks there are, with what their masters ask back."""
        requests = (each.request for each in self._ledger if each.request is not None)
        return sum(1 + len(each.questions or ()) for each in requests)

    def get(self, id: str) -> Task | None:
        """Get a task that has not ended, or whose end is not kept yet."""
        return self._ledger.get(id)

    def of_owner(self, owner: str) -> list[Task]:
        """List the tasks of a submitter that have not ended."""
        return self._ledger.of_owner(owner)

    def count(self) -> dict[str, int]:
        """Count the tasks that have not ended, by state."""
        return dict(Counter(each.shown.state for each in self._ledger))

    # Inputs of the shell

    def kept(
        self, number: int, standing: Record | None = None, error: RequestError | None = None
    ) -> list[Effect]:
        """Go on after a record was kept.

        Args:
            number: Of the `Keep`.
            standing: The record that stands in its place, if there is one: of the task with the
                same key, or of the same task at another hub.
            error: Why a new task was not kept.
        """
        return self._ledger.kept(number, standing, error)

    def found(
        self, number: int, records: Sequence[Record], error: RequestError | None = None
    ) -> list[Effect]:
        """Go on after records were looked up; the newest come first.

        Args:
            number: Of the `Look`.
            records: The records.
            error: Why they could not be looked up.
        """
        return self._ledger.found(number, records, error)

    def woken(self, key: WakeKey) -> list[Effect]:
        """Go on after the time of a `Wake` has passed."""
        kind, name = key
        if kind == "wait":
            return self._wait_no_longer(int(name))
        if kind == "again":
            return self._dispatch.fill(("room", str(name)))
        task = self._ledger.get(str(name))
        if task is None or task.is_over or self._ledger.is_resting:
            return []
        return self._steps.expire(task) if kind == "deadline" else self._returning.give_up(task)

    def load(self, records: Iterable[Record]) -> list[Effect]:
        """Take up tasks that had not ended when their hub was lost; their masters may come back."""
        self._ledger.is_resting = False
        effects: list[Effect] = []
        for record in records:
            if self._ledger.get(record.id) is None:
                task, deadline = self._add(record)
                effects += [deadline, *self._returning.restore(task)]
        return effects + self._dispatch.pump()

    def suspend(self) -> list[Effect]:
        """Leave all tasks as they stand in the journal: the hub closes, and is not their end."""
        self._ledger.is_resting = True
        effects = [effect for task in self._ledger for effect in self._steps.suspend(task)]
        self._ledger.rest()
        self._queue.rest()
        return effects

    def look(self, then: Found, **query: Any) -> list[Effect]:
        """Look up tasks in the journal, and go on with them; see `Look`."""
        return [self._ledger.look(then, **query)]

    def take_over(
        self, runs: Sequence[str], then: Callable[[RequestError | None], list[Effect]]
    ) -> list[Effect]:
        """Take over the tasks of runs that a master has brought from another hub, and go on.

        Args:
            runs: The runs.
            then: Called with the reason if it cannot be known just now which of them count.
        """
        if not self.hub or not runs:
            return then(None)

        def taken(records: Sequence[Record], error: RequestError | None) -> list[Effect]:
            return self.load(records) + then(error)

        return [self._ledger.take(runs, taken)]

    def noticed(self, id: str, hub: str) -> list[Effect]:
        """Hear that a hub has kept a record of a task: this one, or the one that works on it.

        Args:
            id: The task.
            hub: That hub.
        """
        if hub == self.hub:
            return []
        task = self._ledger.get(id)
        if task is not None:
            return self._steps.leave(task)
        if not self.audience.awaits(id):
            return []

        def found(records: Sequence[Record], _: RequestError | None) -> list[Effect]:
            return [effect for each in records for effect in self.audience.follow(each)]

        return self.look(found, id=id)

    def catch_up(self) -> list[Effect]:
        """Look after all tasks here, and those waited for here: what `noticed` says may be lost."""

        def found(records: Sequence[Record], _: RequestError | None) -> list[Effect]:
            effects: list[Effect] = []
            for each in records:
                if each.hub != self.hub:
                    task = self._ledger.get(each.id)
                    effects += [] if task is None else self._steps.leave(task)
                    effects += self.audience.follow(each)
            return effects

        ids = dict.fromkeys([*(task.record.id for task in self._ledger), *self.audience.ids()])
        return [effect for each in ids for effect in self.look(found, id=each)]

    def _wait_no_longer(self, waiter: int) -> list[Effect]:
        """Answer a peer that has waited long enough for a task, here or at another hub."""
        name = self.audience.task_of(waiter)
        task = self._ledger.get(name)
        if task is not None:
            return self.audience.overdue(waiter, task.shown)

        def found(records: Sequence[Record], _: RequestError | None) -> list[Effect]:
            return [e for each in records for e in self.audience.overdue(waiter, each)]

        return self.look(found, id=name) if name else []

    # Inputs of the mesh

    def submit(self, record: Record, then: Kept) -> list[Effect]:
        """Keep a new task, and begin with it.

        Args:
            record: The task.
            then: Called with the record that is kept, or the reason why none is.

        Raises:
            Overloaded: The submitter has too many tasks that have not ended, or the hub has, or the
                hub is closing.
        """
        if self._dispatch.is_idle:
            raise Overloaded("the hub is closing", [{"delivered": False}])
        self._ledger.check_room(record)
        self._ledger.count(record, 1)

        def kept(standing: Record | None, error: RequestError | None) -> list[Effect]:
            self._ledger.count(record, -1)
            if standing is not None or error is not None:
                return then(standing, error)
            task, deadline = self._add(record)
            effects: list[Effect] = [deadline, *then(record, None), *self.audience.tell(record)]
            self._queue.add(task)
            return effects + self._dispatch.pump()

        return [self._ledger.keep(record, kept, is_new=True)]

    def cancel(self, task: Task) -> list[Effect]:
        """End a task that nobody wants any more, and tell its master at once."""
        return [] if task.is_over else self._steps.cancel(task) + self._dispatch.pump()

    def reply(self, task: Task, reply: TaskReply, then: Callable[[], list[Effect]]) -> list[Effect]:
        """Give a run the answer to its question, now or when its master is back.

        Args:
            task: A task that asks something.
            reply: The answer.
            then: Called when the answer cannot be lost any more.
        """
        return self._diary.reply(task, reply, then)

    def has_run(self, run: str) -> bool:
        """Whether a run is one of a task here."""
        return self._ledger.get_by_run(run) is not None

    def take_up(self, peer: Peer, run: str) -> tuple[list[Effect], str] | None:
        """Take up a run that a master has brought along from a link, or a hub, that was lost.

        Returns:
            Effects, and the id of the request that the run is from now on, empty if its end is
            being kept just now; None if the run counts no more.
        """
        return self._returning.take_up(peer, run)

    def _masters_changed(self, room: Room) -> list[Effect]:
        """Start what waits for the masters that a room has now."""
        effects = self._returning.note_successor(room)
        if not self._queue:
            return effects
        places: list[Place] = [("room", room.name)]
        places += [("capability", each) for each in room.masters.offers]
        return effects + self._dispatch.fill(*places)

    def _add(self, record: Record) -> tuple[Task, Wake]:
        task = Task(record, self._dialect)
        self._ledger.add(task)
        left = max(0.0, record.deadline - self.clock())
        return task, Wake(("deadline", record.id), left)
