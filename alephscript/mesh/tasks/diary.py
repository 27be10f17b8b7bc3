"""The diary of tasks: what masters say of their runs.

May go in: what an answer, a loss, progress, a checkpoint or a question means for a task. May not:
how a request is put to a master (`dispatch`), who may ask about a task (the desk of tasks).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from alephscript.errors import PayloadTooLarge
from alephscript.mesh.audience import Audience
from alephscript.mesh.dialects import TaskDiary
from alephscript.mesh.effects import Arm, Effect, Wake
from alephscript.mesh.peers import OpenRequest
from alephscript.mesh.requests import Requests
from alephscript.mesh.tasks.dispatch import Dispatch
from alephscript.mesh.tasks.ledger import Ledger
from alephscript.mesh.tasks.queue import TaskQueue
from alephscript.mesh.tasks.returning import Returning
from alephscript.mesh.tasks.steps import Steps
from alephscript.mesh.tasks.task import Task, has_not_run, make_answer, make_error, read_progress
from alephscript.protocol import events
from alephscript.protocol.events import Answer, HubEvent
from alephscript.protocol.json import read_value
from alephscript.protocol.tasks import (
    ASKING,
    DONE,
    FAILED,
    RUNNING,
    TaskReply,
    check_checkpoint,
    check_depth,
    split_fields,
)

__all__ = ["Diary"]

_AGAIN_SECONDS = 1.0
"""When a task is put again to a master whose queue was full."""

_SUCCESS = b'{"success":true'


class Diary(TaskDiary):
    """Writes down what masters say of the runs of tasks.

    Args:
        ledger: The tasks.
        queue: Those that wait for a master.
        steps: How each step is kept.
        dispatch: How tasks are put to masters.
        returning: What becomes of tasks whose masters are lost.
        requests: Through which tasks ask.
        audience: Who hears of what becomes of tasks.
    """

    def __init__(
        self,
        ledger: Ledger,
        queue: TaskQueue,
        steps: Steps,
        dispatch: Dispatch,
        returning: Returning,
        requests: Requests,
        audience: Audience,
    ) -> None:
        self._ledger = ledger
        self._queue = queue
        self._steps = steps
        self._dispatch = dispatch
        self._returning = returning
        self._requests = requests
        self._audience = audience

    def answered(self, request: OpenRequest, answer: Answer | msgspec.Raw) -> list[Effect]:
        """End a task with the answer of its request, unless the master has not begun with it."""
        task = self._task_of(request)
        task.request = task.question = None
        if task.is_over:
            return []
        place = ("room", request.room)
        again = self._dispatch.fill(place, ("capability", request.capability))
        text = bytes(answer) if isinstance(answer, msgspec.Raw) else msgspec.json.encode(answer)
        try:
            check_depth(text, "an answer")
        except PayloadTooLarge as error:
            return self._steps.fail(task, error) + again
        if text.startswith(_SUCCESS):
            # Without reading it: `{"success":true,…}` loses its first field.
            rest = text[len(_SUCCESS) :].lstrip(b", \t\r\n")
            return self._steps.end(task, DONE, result=msgspec.Raw(b"{" + rest)) + again
        fields = dict(read_value(answer))
        if not events.is_failure(fields):
            del fields["success"]
            result = msgspec.Raw(msgspec.json.encode(fields))
            return self._steps.end(task, DONE, result=result) + again
        if has_not_run(fields):
            wake = Wake(("again", request.room), _AGAIN_SECONDS)
            self._queue.unready(place)
            return [*again, *self._dispatch.queue_again(task, is_counted=False), wake]
        return self._steps.end(task, FAILED, error=make_error(task.record, fields)) + again

    def lost(self, request: OpenRequest) -> list[Effect]:
        """Put a task whose master is lost to the next one, if running twice does no harm."""
        task = self._task_of(request)
        task.request = task.question = None
        assert request.master is not None
        return self._returning.lose(task, request.master.peer)

    def noted(self, request: OpenRequest, event: str, data: Any) -> list[Effect]:
        """Keep progress and checkpoints."""
        task = self._task_of(request)
        if task.is_over:
            return []
        if event == HubEvent.REQUEST_PROGRESS:
            progress = read_progress(read_value(data))
            if progress is None:
                return []
            effects = self._steps.keep(task, None, progress=progress)
            return effects + self._audience.tell(task.shown)
        if event == HubEvent.REQUEST_CHECKPOINT:
            return self._note_checkpoint(task, data)
        return []

    def _note_checkpoint(self, task: Task, data: Any) -> list[Effect]:
        fields = split_fields(data)
        number, checkpoint = read_value(fields.get("number")), fields.get("checkpoint")
        told = {"run": task.record.run, "number": number}
        if not isinstance(checkpoint, msgspec.Raw):
            checkpoint = msgspec.Raw(msgspec.json.encode(checkpoint))
        try:
            check_checkpoint(bytes(checkpoint))
        except PayloadTooLarge as error:
            return self._steps.confirm(task, {**told, **error.answer()})
        return self._steps.keep(
            task,
            lambda: self._steps.confirm(task, told),
            checkpoint=msgspec.Raw(bytes(checkpoint)),
        )

    def asked(self, question: OpenRequest, seconds: float) -> Effect:
        """Keep what a run asks back, for whoever may answer it; or repeat an answer that is kept.

        A master that was away asks anew what it has asked before, under the same number.
        """
        assert question.about is not None
        task = self._task_of(question.about)
        record = task.record
        task.question = question
        fields = dict(split_fields(question.question.data))
        number = read_value(fields.pop("number", 0))
        changes: dict[str, Any] = {}
        is_answered = record.replied == number != 0
        if not is_answered:
            told = {key: read_value(value) for key, value in fields.items()}
            changes = {"state": ASKING, "question": told, "asked": number}

        def go_on() -> list[Effect]:
            effects = self._audience.tell(task.shown)
            if self._requests.get(question.number) is not question:
                return effects
            if is_answered:
                return effects + self._requests.end(question, make_answer(record.reply))
            return [Arm(question.number, seconds), *effects]

        (effect,) = self._steps.keep(task, go_on, **changes)
        return effect

    def unasked(self, question: OpenRequest, reason: str) -> list[Effect]:
        """Have a task ask nothing any more: its run has given the question up."""
        if question.about is None or reason == "asker_lost":
            # The run has ended, or its master is lost: whoever takes notice of that says what
            # becomes of the task, and of its question, which may be answered meanwhile.
            return []
        task = self._task_of(question.about)
        if task.question is not question or task.is_over:
            return []
        task.question = None
        return self._steps.keep(
            task, lambda: self._audience.tell(task.shown), state=RUNNING, question=None
        )

    def reply(self, task: Task, reply: TaskReply, then: Callable[[], list[Effect]]) -> list[Effect]:
        """Give a run the answer to its question, now or when its master is back.

        Args:
            task: A task that asks something.
            reply: The answer.
            then: Called when the answer cannot be lost any more.
        """
        if reply.repeats(task.record.reply_key):
            return self._steps.keep(task, then)
        # The run may give this question up, and ask the next one, before the answer is kept.
        question = task.question

        def go_on() -> list[Effect]:
            effects = then() + self._audience.tell(task.shown)
            if question is None or self._requests.get(question.number) is not question:
                return effects
            return effects + self._requests.end(question, make_answer(reply.payload))

        return self._steps.keep(
            task,
            go_on,
            state=RUNNING,
            question=None,
            replied=task.record.asked,
            reply=reply.payload,
            reply_key=reply.key,
        )

    def _task_of(self, request: OpenRequest) -> Task:
        task = self._ledger.get(request.asker.sid.removeprefix("task "))
        assert task is not None
        return task
