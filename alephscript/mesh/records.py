"""Records of tasks: all that a journal keeps of one, and what of that is told to whom.

May go in: what a record is, and its form on the wire. May not: how a task gets from one state to
the next (`tasks`), where records are kept. Pure: no socket, no clock.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec

from alephscript.mesh.access import Identity
from alephscript.protocol.tasks import ENDED, QUEUED

__all__ = ["NOTHING", "Record", "Submitter", "public_view", "view"]


NOTHING = msgspec.Raw(b"null")
"""Stands for no checkpoint, no result, no reply."""


class Submitter(msgspec.Struct, frozen=True, omit_defaults=True):
    """The client that has submitted a task, as far as that outlives its connection.

    Attributes:
        name: What the master sees as the caller.
        is_known: Whether the hub has authenticated the client.
        usuario: The authenticated name, if there is one.
        rooms: The rooms that it may use; None for all.
        members: The rooms that it was in, which come first where several offer a capability.
    """

    name: str = ""
    is_known: bool = False
    usuario: str | None = None
    rooms: tuple[str, ...] | None = None
    members: tuple[str, ...] = ()

    @property
    def identity(self) -> Identity | None:
        """The client's identity, as rules of access see it."""
        if not self.is_known:
            return None
        rooms = None if self.rooms is None else frozenset(self.rooms)
        return Identity(usuario=self.usuario, rooms=rooms)


class Record(msgspec.Struct, frozen=True, omit_defaults=True):
    """A task as it stands in a journal; each change makes a new one.

    Attributes:
        id: Its id, which nobody can guess.
        namespace: The mesh that it belongs to.
        owner: Whose task it is: an identity, or a name that nobody has proven.
        capability: Name of the capability.
        payload: JSON text of the payload.
        created: When it was submitted, seconds since 1970.
        deadline: When it ends at the latest, seconds since 1970.
        key: The submitter's mark for it; None for none.
        room: The room that is asked; empty as long as that is open.
        submitter: The client that has submitted it.
        state: One of `alephscript.protocol.tasks.STATES`.
        updated: When it last changed, seconds since 1970.
        attempts: How many masters have been asked.
        idempotent: Whether the master that runs it says that running twice does no harm.
        master: The usuario of the master that was asked last.
        run: Names the present run to its master alone; empty between runs.
        progress: ``{fraction, message}`` as last reported.
        question: What its method asks, as GET_ASKER_ANSWER has it; None if it asks nothing.
        asked: The number of the question that the present run has asked last.
        replied: The number of the question that was answered last.
        reply: JSON text of that answer, for a master that was away.
        reply_key: What a repetition of that answer is known by; empty for none.
        checkpoint: JSON text of what the next run begins with; null for nothing.
        result: JSON text of the answer, an object without ``success``; null before.
        error: ``{error, code, details}`` of a task that has failed, or was cancelled.
        hub: The hub that works on it, where there are several.
        trace: The trace that its runs belong to.
    """

    id: str
    namespace: str
    owner: str
    capability: str
    payload: msgspec.Raw
    created: float
    deadline: float
    key: str | None = None
    room: str = ""
    submitter: Submitter = Submitter()
    state: str = QUEUED
    updated: float = 0.0
    attempts: int = 0
    idempotent: bool = False
    master: str = ""
    run: str = ""
    progress: dict[str, Any] | None = None
    question: dict[str, Any] | None = None
    asked: int = 0
    replied: int = 0
    reply: msgspec.Raw = NOTHING
    reply_key: str = ""
    checkpoint: msgspec.Raw = NOTHING
    result: msgspec.Raw = NOTHING
    error: dict[str, Any] | None = None
    hub: str = ""
    trace: dict[str, str] = {}

    @property
    def has_ended(self) -> bool:
        """Whether it never changes again."""
        return self.state in ENDED

    @property
    def size(self) -> int:
        """Bytes that it takes, about."""
        texts = (self.payload, self.checkpoint, self.result, self.reply)
        return 1000 + sum(len(bytes(each)) for each in texts)

    @property
    def has_checkpoint(self) -> bool:
        """Whether some run has kept something."""
        return bytes(self.checkpoint) != b"null"

    @property
    def has_result(self) -> bool:
        """Whether there is an answer."""
        return bytes(self.result) != b"null"


def view(record: Record) -> dict[str, Any]:
    """Make what is told of a task to whoever may ask its capability."""
    fields: dict[str, Any] = {
        "id": record.id,
        "capability": record.capability,
        "room": record.room or None,
        "state": record.state,
        "progress": record.progress,
        "question": record.question,
        "attempts": record.attempts,
        "created": _time(record.created),
        "updated": _time(record.updated),
    }
    if record.has_result:
        fields["result"] = record.result
    if record.error is not None:
        fields["error"] = record.error
    return fields


def public_view(record: Record) -> dict[str, Any]:
    """Make what the members of a task's room hear of it: neither payload, checkpoint nor result."""
    fields = view(record)
    fields.pop("result", None)
    if record.question is not None:
        fields["question"] = {k: v for k, v in record.question.items() if k != "payload"}
    if record.error is not None:
        fields["error"] = {**record.error, "details": []}
    return fields


def _time(seconds: float) -> str:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).isoformat(timespec="milliseconds")
