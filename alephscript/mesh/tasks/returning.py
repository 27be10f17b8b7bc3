"""Tasks that have lost their hub, their master, or the link between the two: how they go on.

A hub that comes back has the tasks that had not ended. Those that ran wait a while for their
masters, who name their runs; then they count as lost.

May go in: tasks restored from the journal, runs that masters bring along, and how long these are
waited for. May not: how a task is put to its next master (`dispatch`).
"""

from __future__ import annotations

from collections.abc import Callable

from alephscript.mesh.effects import Effect, Wake
from alephscript.mesh.meta import RequestMeta
from alephscript.mesh.peers import Master, Peer
from alephscript.mesh.requests import Requests
from alephscript.mesh.rooms import Room
from alephscript.mesh.tasks.dispatch import ACK, Dispatch
from alephscript.mesh.tasks.ledger import Ledger
from alephscript.mesh.tasks.queue import TaskQueue
from alephscript.mesh.tasks.steps import Steps
from alephscript.mesh.tasks.task import Task, usuario_of
from alephscript.protocol import events
from alephscript.protocol.tasks import ASKING, QUEUED, RUNNING

__all__ = ["Returning"]

_RETURN_SECONDS = 22.0
"""The time in which a master of a lost hub has to be back with its runs; clients try at least each
8 s, those of earlier versions 20."""

_SUCCESSOR_SECONDS = 3.0
"""The same where another master of that name has come, which seems to be that one, started anew."""

_CUT_SECONDS = 3.0
"""The time in which a master has to be back whose link was lost and whose hub was not. A killed
process looks the same, so its task waits as long for the next one."""


class Returning:
    """How tasks go on that have lost their hub or their master.

    Args:
        ledger: The tasks.
        queue: Those that wait for a master.
        steps: How each step is kept.
        dispatch: How tasks are put to masters.
        requests: Through which tasks ask.
        has_hub: Whether there is another hub of a name.
    """

    def __init__(
        self,
        ledger: Ledger,
        queue: TaskQueue,
        steps: Steps,
        dispatch: Dispatch,
        requests: Requests,
        has_hub: Callable[[str], bool],
    ) -> None:
        self._ledger = ledger
        self._queue = queue
        self._steps = steps
        self._dispatch = dispatch
        self._requests = requests
        self._has_hub = has_hub

    def restore(self, task: Task) -> list[Effect]:
        """Take up a task that had not ended when its hub was lost; its master may come back."""
        record = task.record
        if record.state == QUEUED:
            self._queue.add(task)
            return []
        self._ledger.note_run(task, record.run)
        return self._await_master(task)

    def take_up(self, peer: Peer, run: str) -> tuple[list[Effect], str] | None:
        """Take up a run that a master has brought along from a link, or a hub, that was lost.

        Returns:
            Effects, and the id of the request that the run is from now on, empty if its end is
            being kept just now; None if the run counts no more.
        """
        task = self._ledger.get_by_run(run)
        if task is None or self._ledger.is_resting:
            return None
        effects: list[Effect] = []
        record = task.record
        # The master's new declaration may come later, or never: its run is what counts.
        master = Master(peer, events.Declaration(record.room, (record.capability,)), is_core=False)
        if task.is_over:
            task.at = master  # which is told when the end is kept
            return [], ""
        left = record.deadline - self._ledger.clock()
        if left <= 0:
            return None
        effects += self._steps.let_go(task, "moved")  # a link is gone, which was not noticed yet
        meta = RequestMeta(record.room, left, extras={"answers": True} | record.trace)
        question = self._dispatch.make_question(record)
        effects += self._requests.take_up(task.peer, question, master, ACK, meta)
        self._ledger.awaited.pop(record.id, None)
        effects.append(Wake(("return", record.id), None))
        self._dispatch.hold(task, master)
        assert task.request is not None
        return effects, str(task.request.number)

    def note_successor(self, room: Room) -> list[Effect]:
        """Wait no longer than for a moment if a master was started anew, without its runs."""
        if not self._ledger.awaited:
            return []
        serving = room.masters.serving[0] if room.masters.serving else None
        if serving is None or serving.declared.group != "single" or serving.declared.yields:
            return []
        usuario = usuario_of(serving.peer)
        return [
            Wake(("return", each.record.id), _SUCCESSOR_SECONDS)
            for each in self._ledger.awaited.values()
            if each.record.room == room.name
            and (each.record.master == usuario != "" or _is_at(each, serving.peer))
        ]

    def give_up(self, task: Task) -> list[Effect]:
        """Count the master of a lost hub as lost, too: it has not come back."""
        if task.request is not None or task.record.state not in (RUNNING, ASKING) or task.is_busy:
            return []
        return self._lose(task)

    def lose(self, task: Task, master: Peer) -> list[Effect]:
        """Count the master of a task as lost, unless its link, or its hub, is what is gone."""
        if not task.is_over and master.hub and not self._has_hub(master.hub):
            return self._await_master(task)  # who may come to another hub, with the run
        if not task.is_over and master.is_cut:
            return self._await_master(task, _CUT_SECONDS)
        return self._lose(task)

    def _lose(self, task: Task) -> list[Effect]:
        self._ledger.awaited.pop(task.record.id, None)
        if task.is_over or self._ledger.is_resting:
            return [Wake(("return", task.record.id), None)]
        return self._dispatch.lose(task)

    def _await_master(self, task: Task, seconds: float = _RETURN_SECONDS) -> list[Effect]:
        """Wait for the master of a lost hub, or link, who may come back with its run."""
        self._ledger.awaited[task.record.id] = task
        return [Wake(("return", task.record.id), seconds)]


def _is_at(task: Task, peer: Peer) -> bool:
    """Whether a run is at a peer, whose hub others had lost for a moment."""
    return task.at is not None and task.at.peer.sid == peer.sid
