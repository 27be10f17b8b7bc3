"""A task that has not ended, as a mesh has it before it; and what the texts about it mean.

May go in: what is known of one task, and rules that need nothing else. May not: anything that has
an effect.
"""

from __future__ import annotations

from typing import Any

import msgspec

from alephscript.errors import Overloaded, error_from_answer
from alephscript.mesh.dialects import TaskDialect
from alephscript.mesh.peers import Master, OpenRequest, Peer
from alephscript.mesh.records import Record
from alephscript.protocol import events
from alephscript.protocol.events import Answer
from alephscript.protocol.json import read_value

__all__ = [
    "Place",
    "Task",
    "has_not_run",
    "make_answer",
    "make_error",
    "read_progress",
    "usuario_of",
]

Place = tuple[str, str]
"""What a task waits for: ``room`` and its name, or ``capability`` and its name."""


class Task:
    """A task that has not ended.

    Attributes:
        record: As it will be once everything is kept.
        shown: As it was kept last, which is what others may know.
        peer: Its part as an asker.
        request: Its present run, None between runs.
        question: What the run asks back, None while it asks nothing.
        at: The master of its present run, or of its last one.
        run: The run that its master may still bring along; empty if there is none.
        is_busy: Whether it is on the way to its next run.
        is_starting: Whether its next run is being written down.
        is_over: Whether it has ended, which may not be kept yet.
    """

    __slots__ = (
        "at",
        "is_busy",
        "is_over",
        "is_starting",
        "peer",
        "question",
        "record",
        "request",
        "run",
        "shown",
    )

    def __init__(self, record: Record, dialect: TaskDialect) -> None:
        self.record = self.shown = record
        submitter = record.submitter
        self.peer = Peer(f"task {record.id}", "", dialect, submitter.identity)
        self.peer.rename(submitter.name)
        rooms = submitter.members if not record.room else (record.room, *submitter.members)
        self.peer.rooms.update(dict.fromkeys(rooms))
        self.request: OpenRequest | None = None
        self.question: OpenRequest | None = None
        self.at: Master | None = None
        self.run = ""
        self.is_busy = False
        self.is_starting = False
        self.is_over = False

    @property
    def places(self) -> tuple[Place, ...]:
        """Where it is looked for: by its room, or where none is named, by its capability."""
        record = self.record
        if record.room:
            return (("room", record.room),)
        return (("capability", record.capability),)


def usuario_of(peer: Peer) -> str:
    """Name a master as its next process will be named, too; empty if that is not known."""
    return "" if peer.registration is None else peer.registration.usuario


def make_error(record: Record, answer: Answer) -> dict[str, Any]:
    """Make the error of a task of a failed answer, with the task's last checkpoint."""
    details = answer.get("details")
    details = list(details) if isinstance(details, list) else []
    if record.has_checkpoint:
        about = {"checkpoint": record.checkpoint}
        if details and isinstance(details[0], dict):
            details[0] = {**details[0], **about}
        else:
            details.insert(0, about)
    error = {"error": answer["error"], "code": answer["code"], "details": details}
    is_retryable = answer.get("retryable") is True
    if is_retryable != error_from_answer(error).retryable:  # else the code says so
        error["retryable"] = is_retryable
    return error


def make_answer(reply: msgspec.Raw) -> Answer:
    """Make the answer to a question of what somebody has answered, or refuses by."""
    fields = read_value(reply)
    if isinstance(fields, dict) and fields.get("success") is False:
        told = fields.get("error"), fields.get("code")
        if all(isinstance(each, str) for each in told):
            return fields
    return {**events.make_success(fields), "success": True}


def has_not_run(answer: Answer) -> bool:
    """Whether a master has refused a request that it may take later."""
    if answer.get("code") != Overloaded.code:
        return False
    details = answer.get("details")
    first = details[0] if isinstance(details, list) and details else None
    return isinstance(first, dict) and first.get("delivered") is False


def read_progress(data: Any) -> dict[str, Any] | None:
    """Read what a master reports; None if it makes no sense."""
    fraction = data.get("fraction") if isinstance(data, dict) else None
    if not isinstance(fraction, int | float) or isinstance(fraction, bool):
        return None
    message = data.get("message")
    return {"fraction": fraction, "message": message[:1000] if isinstance(message, str) else ""}
