"""Tasks put to masters: which of those that wait may begin, and how each begins.

May go in: when a task is put to a master, and what the master is told. May not: what the master
says then (`diary`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from alephscript.errors import MasterLost, NoMaster, RequestError
from alephscript.mesh.audience import Audience
from alephscript.mesh.effects import Effect
from alephscript.mesh.meta import RequestMeta
from alephscript.mesh.peers import Master
from alephscript.mesh.records import NOTHING, Record
from alephscript.mesh.requests import Requests
from alephscript.mesh.rooms import Room, Rooms
from alephscript.mesh.tasks.ledger import Ledger
from alephscript.mesh.tasks.queue import TaskQueue
from alephscript.mesh.tasks.steps import Steps
from alephscript.mesh.tasks.task import Place, Task, usuario_of
from alephscript.protocol import events
from alephscript.protocol.tasks import QUEUED, RUNNING

__all__ = ["ACK", "MOST_ATTEMPTS", "Dispatch"]

MOST_ATTEMPTS = 5
"""Masters that an idempotent task may lose before it ends as lost."""

_MOST_STARTING = 256
"""Tasks whose run is being written down at once; the others' turn comes when these are kept."""

_MOST_AT_MASTER = 1024
"""Requests at one master beyond which tasks stay queued here, where they can wait for days."""

ACK = 1
"""The number under which a task wants to be answered; it has one request at a time."""


class Dispatch:
    """Puts tasks to masters.

    Args:
        ledger: The tasks.
        queue: Those that wait.
        steps: How each step is kept.
        rooms: Where masters are found.
        requests: Through which tasks ask.
        audience: Who hears of what becomes of tasks.
        make_id: Makes the names of runs.
    """

    def __init__(
        self,
        ledger: Ledger,
        queue: TaskQueue,
        steps: Steps,
        rooms: Rooms,
        requests: Requests,
        audience: Audience,
        make_id: Callable[[], str],
    ) -> None:
        self._ledger = ledger
        self._queue = queue
        self._steps = steps
        self._rooms = rooms
        self._requests = requests
        self._audience = audience
        self._make_id = make_id

    @property
    def is_idle(self) -> bool:
        """Whether nothing begins any more, since the hub is closing."""
        return self._ledger.is_resting or self._requests.closing

    def fill(self, *places: Place) -> list[Effect]:
        """Start what waits at places where something has changed."""
        self._queue.ready(places)
        return self.pump()

    def pump(self) -> list[Effect]:
        """Start what can start, as long as the journal has not too much to write."""
        effects: list[Effect] = []
        queue = self._queue
        while queue.starting < _MOST_STARTING and not self.is_idle:
            place = queue.next_place()
            if place is None:
                break
            for task in queue.first(place, _MOST_STARTING - queue.starting):
                started = self._start(task)
                if started is None:  # and so none of this place
                    queue.unready(place)
                    break
                effects += started
            if queue.is_empty(place):
                queue.unready(place)
        return effects

    def queue_again(self, task: Task, *, is_counted: bool) -> list[Effect]:
        """Have a task wait for the next master.

        Args:
            task: The task.
            is_counted: Whether the run that it had counts as an attempt.
        """
        record = task.record
        self._ledger.note_run(task, "")
        task.is_busy = True

        def go_on() -> list[Effect]:
            task.is_busy = False
            if task.is_over:
                return []
            self._queue.add(task)
            return self._audience.tell(task.shown) + self.pump()

        attempts = record.attempts if is_counted else record.attempts - 1
        return self._steps.keep(
            task,
            go_on,
            state=QUEUED,
            attempts=attempts,
            run="",
            question=None,
            asked=0,
            replied=0,
            reply=NOTHING,
        )

    def lose(self, task: Task) -> list[Effect]:
        """Put a task whose master is lost to the next one, if running twice does no harm."""
        record = task.record
        if record.idempotent and record.attempts < MOST_ATTEMPTS:
            return self.queue_again(task, is_counted=True)
        event = events.capability_event(record.capability)
        message = f"the master of {record.room} is gone; {event} may have run"
        return self._steps.fail(task, MasterLost(message, [{"delivered": True}]))

    def make_question(self, record: Record) -> events.RoomMessage:
        """Make the request of a task's run."""
        event = events.capability_event(record.capability)
        return events.RoomMessage(event, record.room, record.payload, {})

    def hold(self, task: Task, master: Master) -> None:
        """Note the request that a task has just begun, and its master."""
        task.request = next(iter(task.peer.requests.values()), None)
        task.at = master

    def _start(self, task: Task) -> list[Effect] | None:
        """Write down that a task is put to the master that serves it; None if there is none."""
        record = task.record
        try:
            room, master = self._choose(task)
        except NoMaster:
            return None
        except RequestError as error:
            # A master came that the submitter may not ask.
            return self._steps.fail(task, error)
        if len(master.peer.serving) + self._queue.starting >= _MOST_AT_MASTER:
            return None
        self._queue.remove(task)
        task.is_busy = task.is_starting = True
        self._queue.starting += 1
        return self._steps.keep(
            task,
            lambda: self._deliver(task),
            state=RUNNING,
            room=room.name,
            attempts=record.attempts + 1,
            idempotent=master.is_idempotent(record.capability),
            master=usuario_of(master.peer),
            run=self._make_id(),
        )

    def _choose(self, task: Task) -> tuple[Room, Master]:
        record = task.record
        room = self._rooms.choose_room(task.peer, record.capability, record.room or None)
        master = room.masters.pick(record.capability)
        assert master is not None
        return room, master

    def _deliver(self, task: Task) -> list[Effect]:
        """Put a task to its master, now that this is written down."""
        self._queue.started(task)  # unless it is another hub's since
        record = task.record
        if task.is_over or self._ledger.is_resting:
            return self.pump()
        left = record.deadline - self._ledger.clock()
        if left <= 0:
            return self._steps.expire(task) + self.pump()
        task.is_busy = False
        try:
            room, master = self._choose(task)
        except RequestError:
            return self.queue_again(task, is_counted=False) + self.pump()
        if self._requests.closing or master.is_idempotent(record.capability) != record.idempotent:
            return self.queue_again(task, is_counted=False) + self.pump()
        self._ledger.note_run(task, record.run)
        about: dict[str, Any] = {"id": record.id, "run": record.run, "attempt": record.attempts}
        if record.has_checkpoint:
            about["checkpoint"] = record.checkpoint
        meta = RequestMeta(room.name, left, extras={"task": about, "answers": True} | record.trace)
        question = self.make_question(record)
        effects = self._requests.ask_master(task.peer, question, master, ACK, meta)
        self.hold(task, master)
        return effects + self._audience.tell(record) + self.pump()
