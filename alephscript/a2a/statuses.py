"""What a task's status says: how far it is, what it asks, why it has failed; and what answers it.

May go in: words and data of statuses, whoever keeps the task. May not: tasks.

Pure: no socket, no clock.
"""

from __future__ import annotations

from typing import Any

from a2a.types import Message, Part, TaskState
from google.protobuf.struct_pb2 import Value

from alephscript.a2a.asking import read_value
from alephscript.a2a.parts import (
    PROGRESS,
    QUESTION,
    REFUSED,
    part_of,
    read_failure,
    write_failure,
)
from alephscript.client.messages import Progress, Question
from alephscript.doors.texts import as_json, shown
from alephscript.errors import Cancelled, CapabilityError, RequestError

__all__ = ["failure_parts", "failure_state", "progress_parts", "question_parts", "read_answer"]


def progress_parts(progress: Progress) -> list[Part]:
    """Say how far a task is, in words and as data."""
    said = [Part(text=shown(progress.message))] if progress.message else []
    return [*said, part_of({PROGRESS: progress.fraction})]


def question_parts(question: Question[Any], words: str = "") -> list[Part]:
    """Say what a task asks, in words and as data.

    Args:
        question: The question.
        words: Other words than its own.
    """
    schemas = {"request": question.request, "reply": question.reply}
    known = {key: dict(each) for key, each in schemas.items() if each is not None}
    about = part_of({QUESTION: question.capability, "payload": question.payload, **known})
    own = f"{question.capability}: {question.summary} {as_json(question.payload)}"
    return [Part(text=shown(words or own)), about]


def read_answer(answer: Message, question: Question[Any]) -> Any:
    """Read the message that answers a question.

    Returns:
        The answer, or the `alephscript.CapabilityError` by which it is refused.

    Raises:
        A2AError: The message is no answer; the text says what to write.
    """
    value = read_value(answer, question.reply, question.capability)
    if answer.metadata.fields.get(REFUSED, Value()).bool_value:
        return read_failure(value, "refused") or CapabilityError("refused", shown(str(value)))
    return value


def failure_state(error: RequestError) -> TaskState:
    """Choose the state of a task that has ended by an error."""
    is_cancelled = isinstance(error, Cancelled)
    return TaskState.TASK_STATE_CANCELED if is_cancelled else TaskState.TASK_STATE_FAILED


def failure_parts(error: RequestError) -> list[Part]:
    """Say why a task has failed, in words and with the error's code."""
    text = f"{shown(error.code)}: {shown(error.message)}"
    if error.details:
        text += f" {shown(as_json(error.details))}"
    return [Part(text=text), write_failure(error)]
