"""The steps of a task: its next record, kept before it counts; the end of its run, and of itself.

May go in: what is true of each step, and what ends a run or a task. May not: when a task begins
(`dispatch`), what becomes of one whose hub or master is lost (`returning`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec

from alephscript.errors import Cancelled, DeadlineExceeded, RequestError
from alephscript.mesh.audience import Audience
from alephscript.mesh.effects import Effect, Keep, Wake
from alephscript.mesh.records import Record
from alephscript.mesh.requests import OK, Requests
from alephscript.mesh.rooms import Rooms
from alephscript.mesh.tasks.ledger import Ledger
from alephscript.mesh.tasks.queue import TaskQueue
from alephscript.mesh.tasks.task import Task, make_error
from alephscript.protocol import events
from alephscript.protocol.tasks import CANCELLED, FAILED

__all__ = ["Steps"]

_MOST_CODES = 50
"""Codes of errors that are counted apart."""

_TICK = 0.001
"""Seconds by which a change is later than the one before; times are written to the millisecond."""


class Steps:
    """The steps of all tasks.

    Args:
        ledger: The tasks.
        queue: Those that wait for a master.
        rooms: Where masters are found.
        requests: Through which tasks ask.
        audience: Who hears of what becomes of tasks.

    Attributes:
        ended: How many tasks have ended here, by state and code, ``ok`` for those done.
    """

    def __init__(
        self, ledger: Ledger, queue: TaskQueue, rooms: Rooms, requests: Requests, audience: Audience
    ) -> None:
        self.ended: Counter[tuple[str, str]] = Counter()
        self._ledger = ledger
        self._queue = queue
        self._rooms = rooms
        self._requests = requests
        self._audience = audience

    def keep(
        self, task: Task, then: Callable[[], list[Effect]] | None, **changes: Any
    ) -> list[Effect]:
        """Change a task's record, and go on when that is kept; without `then`, at once.

        Where another hub has taken the task over, it is left to that one.
        """
        ledger, before = self._ledger, task.record
        # Later with each change, so that clients can tell which of two is the newer one.
        now = max(ledger.clock(), before.updated + _TICK)
        record = task.record = msgspec.structs.replace(before, updated=now, **changes)
        ledger.resize(before, record)
        if then is None:
            task.shown = record
            return [Keep(0, record)]

        def kept(standing: Record | None, _: RequestError | None) -> list[Effect]:
            if ledger.get(record.id) is not task:
                return []  # it is another hub's since
            if standing is not None:
                return self.leave(task)
            if task.shown.updated < record.updated:
                task.shown = record
            return then()

        return [ledger.keep(record, kept)]

    def leave(self, task: Task) -> list[Effect]:
        """Leave a task to the hub that has taken it over meanwhile."""
        # Its master offers the run to whichever hub it is at, which takes the task over then.
        effects = [] if task.request is None else self.confirm(task, {})
        effects += self.let_go(task, "moved")
        task.is_over = True
        self._queue.started(task)
        self._remove(task)
        # Who waits here, or watches, is told by what the other hub keeps from now on.
        return [*effects, Wake(("deadline", task.record.id), None)]

    def let_go(self, task: Task, code: str) -> list[Effect]:
        """Forget the request of a run that may go on elsewhere, and tell its master nothing."""
        request, task.request, task.question = task.request, None, None
        if request is None:
            return []
        effects: list[Effect] = []
        for question in list((request.questions or {}).values()):
            effects += self._requests.forget(question, code)
        return effects + self._requests.forget(request, code)

    def suspend(self, task: Task) -> list[Effect]:
        """Leave a task as it stands in the journal."""
        effects = self.let_go(task, "suspended")
        self._remove(task)
        return effects

    def confirm(self, task: Task, payload: dict[str, Any]) -> list[Effect]:
        """Tell the master of a task's run, if it is still there, that something is kept."""
        if task.at is None:
            return []
        peer = task.at.peer
        if not peer.hub and self._rooms.peers.get(peer.sid) is not peer:
            return []  # it is gone, and will be told when it is back
        return peer.dialect.confirm(peer, payload)

    # How a task ends

    def cancel(self, task: Task) -> list[Effect]:
        """End a task that nobody wants any more, and tell its master at once."""
        if task.is_over:
            return []
        effects: list[Effect] = []
        if task.request is not None:
            request, task.request, task.question = task.request, None, None
            effects += self._requests.cancel(request, "cancelled")
        error = Cancelled("the task was cancelled")
        return effects + self.end(task, CANCELLED, error=make_error(task.record, error.answer()))

    def expire(self, task: Task) -> list[Effect]:
        """End a task whose deadline is over."""
        if task.request is not None:
            return self._requests.expire(task.request)
        record = task.record
        event = events.capability_event(record.capability)
        has_begun = bool(record.run) and not task.is_busy
        who = (
            f"{record.room} did not answer {event}"
            if has_begun
            else f"nobody came to answer {event}"
        )
        return self.fail(task, DeadlineExceeded(f"{who} in time", [{"delivered": has_begun}]))

    def fail(self, task: Task, error: RequestError) -> list[Effect]:
        """End a task with an error of the hub."""
        return self.end(task, FAILED, error=make_error(task.record, error.answer()))

    def end(self, task: Task, state: str, **changes: Any) -> list[Effect]:
        """End a task; it is told when that is kept."""
        task.is_over = True
        self._queue.remove(task)
        run = task.run

        def ended() -> list[Effect]:
            self._remove(task)
            self._count_end(task.shown)
            effects: list[Effect] = [*self._audience.answer_all(task.shown)]
            effects += self._audience.tell(task.shown)
            self._audience.forget(task.shown.id)
            return effects + (self.confirm(task, {"run": run}) if run else [])

        effects = self.keep(task, ended, state=state, run="", question=None, **changes)
        name = task.record.id
        return [*effects, Wake(("deadline", name), None), Wake(("return", name), None)]

    def _count_end(self, record: Record) -> None:
        key = (record.state, OK if record.error is None else str(record.error["code"]))
        if key not in self.ended and len(self.ended) >= _MOST_CODES:
            key = (record.state, "(other)")  # masters make codes up
        self.ended[key] += 1

    def _remove(self, task: Task) -> None:
        self._ledger.remove(task)
        self._queue.remove(task)
