"""Tasks on the wire: their states, and what the payload of each TASK_ event must look like.

May go in: names of states and fields, bounds, and parsers that turn any JSON into a frozen message
or raise `InvalidPayload`. May not: what becomes of a task (`alephscript.mesh.tasks`). Pure: no
socket, no clock.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from alephscript.errors import InvalidPayload, PayloadTooLarge, RequestError, UnknownEvent
from alephscript.protocol import events
from alephscript.protocol.json import MAX_DEPTH, is_shallow_utf8, read_value, write_json

__all__ = [
    "ASKING",
    "CANCELLED",
    "DONE",
    "ENDED",
    "FAILED",
    "LONGEST_TASK",
    "MAX_CHECKPOINT",
    "QUEUED",
    "RUNNING",
    "STATES",
    "Lookup",
    "Submission",
    "TaskReply",
    "check_checkpoint",
    "check_depth",
    "name_question",
    "parse_lookup",
    "parse_reply",
    "parse_runs",
    "parse_submission",
    "parse_wait",
    "split_fields",
    "wants_own",
]

QUEUED, RUNNING, ASKING = "queued", "running", "asking"
DONE, FAILED, CANCELLED = "done", "failed", "cancelled"

STATES = (QUEUED, RUNNING, ASKING, DONE, FAILED, CANCELLED)
"""States of a task, in the order in which a task goes through them."""

ENDED = frozenset({DONE, FAILED, CANCELLED})
"""States that a task never leaves."""

LONGEST_TASK = 30 * 24 * 3600.0
"""Seconds that a task may take; it is a day where the submitter says nothing."""

MAX_CHECKPOINT = 262_144
"""Bytes of a checkpoint as JSON: one is written at each step, and repeated in an error."""

_LEVELS = 6
"""Levels around what is told of a task: ``[{"task": {"error": {"details": [{"checkpoint": …``."""

_ID = re.compile(r"[0-9a-zA-Z_-]{1,64}")
_MOST_RUNS = 10_000
"""Runs that one master may take up again at once."""


class Submission(msgspec.Struct, frozen=True):
    """TASK_SUBMIT.

    Attributes:
        capability: Name of the capability, without ``GET_``.
        payload: JSON text of the payload.
        room: The room to ask; None leaves the choice to the hub.
        seconds: How long the task may take; None for a day.
        key: What makes the submitter's repetition of this the same task; None for nothing.
        trace: The trace that it belongs to, as native peers say: ``traceparent``, ``tracestate``.
    """

    capability: str
    payload: msgspec.Raw
    room: str | None
    seconds: float | None
    key: str | None
    trace: Mapping[str, str]


class Lookup(msgspec.Struct, frozen=True):
    """TASK_LIST.

    Attributes:
        room: Only tasks of this room; None for all.
        state: Only tasks in this state; None for all.
        is_own: Only those that the asker has submitted, each with its key, as native peers say.
    """

    room: str | None
    state: str | None
    is_own: bool = False


class TaskReply(msgspec.Struct, frozen=True, omit_defaults=True):
    """TASK_ANSWER: the answer to a task's question.

    Attributes:
        id: The task.
        payload: JSON text of the answer.
        key: What makes a repetition the same answer, as native peers say; empty for nothing.
        about: The question that it is the answer to, by `name_question`, as native peers say; empty
            for whatever is asked.
    """

    id: str
    payload: msgspec.Raw
    key: str = ""
    about: str = ""

    def repeats(self, key: str) -> bool:
        """Whether this is the answer of that key, once more: a link was lost in between."""
        return self.key != "" and self.key == key


def check_checkpoint(text: bytes) -> None:
    """Check the JSON text of a checkpoint.

    Raises:
        PayloadTooLarge: The checkpoint is too large, or nested too deeply.
    """
    if len(text) > MAX_CHECKPOINT:
        raise PayloadTooLarge(f"a checkpoint has {MAX_CHECKPOINT} bytes at the most")
    check_depth(text, "a checkpoint")


def check_depth(text: bytes, what: str) -> None:
    """Check that a part of a task can be told of inside of the whole, and in a list of tasks.

    Args:
        text: JSON text.
        what: Names it, with its article.

    Raises:
        PayloadTooLarge: The text is nested too deeply for that.
    """
    if not is_shallow_utf8(b"[" * _LEVELS + text + b"]" * _LEVELS):
        most = MAX_DEPTH - _LEVELS
        raise PayloadTooLarge(f"{what} of a task is nested {most} levels at the most")


def parse_submission(payload: Any) -> Submission:
    """Parse TASK_SUBMIT ``{capability, payload, room?, timeoutMs?, key?}``.

    Raises:
        InvalidPayload: The payload is no object, or a field of it is not valid.
        UnknownEvent: No capability can have that name.
    """
    fields = split_fields(payload)
    capability = read_value(fields.get("capability"))
    if not isinstance(capability, str) or not capability:
        raise _invalid("capability", "expected the name of a capability")
    event = events.request_event(capability)
    if event in events.ANSWERED_BY_HUB:
        raise UnknownEvent(f"{event} is answered at once, and is no task")
    room, key = read_value(fields.get("room")), _parse_key(fields)
    milliseconds = read_value(fields.get("timeoutMs"))
    seconds = None
    if milliseconds is not None:
        if not _is_number(milliseconds) or milliseconds < 0:
            raise _invalid("timeoutMs", "expected a number of milliseconds")
        seconds = min(milliseconds, LONGEST_TASK * 1000) / 1000
    return Submission(
        capability=events.capability_name(event),
        payload=_raw(fields.get("payload", msgspec.Raw(b"{}"))),
        room=None if room is None else events.check_room_name(room),
        seconds=seconds,
        key=key,
        trace=events.parse_trace_context(
            {name: read_value(fields.get(name)) for name in events.TRACE_CONTEXT}
        ),
    )


def parse_wait(payload: Any) -> tuple[str, float, bool]:
    """Parse TASK_GET ``{id, waitMs?}``, and ``{id}`` of the other events.

    Returns:
        The id; the seconds to wait; and whether the asker wants to hear of each change, as native
        peers say with ``watch``. What can be no id is the empty one, which no task has.

    Raises:
        InvalidPayload: The payload is no object, or a field of it is not valid.
    """
    fields = split_fields(payload)
    wait = read_value(fields.get("waitMs"))
    if wait is not None and (not _is_number(wait) or wait < 0):
        raise _invalid("waitMs", "expected a number of milliseconds")
    seconds = min(wait or 0, events.LONGEST_TIMEOUT * 1000) / 1000
    return _parse_id(fields), seconds, read_value(fields.get("watch")) is True


def parse_lookup(payload: Any) -> Lookup:
    """Parse TASK_LIST ``{room?, state?, own?}``.

    Raises:
        InvalidPayload: The payload is no object, or a field of it is not valid.
    """
    fields = {} if payload is None else split_fields(payload)
    room, state = read_value(fields.get("room")), read_value(fields.get("state"))
    if state is not None and state not in STATES:
        raise _invalid("state", f"expected one of {', '.join(STATES)}")
    room = None if room is None else events.check_room_name(room)
    return Lookup(room, state, wants_own(fields))


def wants_own(payload: Any) -> bool:
    """Whether an asker means only what it has submitted, and wants to have the key back.

    Raises:
        InvalidPayload: The payload is no object.
    """
    return read_value(split_fields(payload).get("own")) is True


def parse_reply(payload: Any) -> TaskReply:
    """Parse TASK_ANSWER ``{id, payload, key?, about?}``.

    Raises:
        InvalidPayload: The payload is no object, or a field of it is not valid.
    """
    fields = split_fields(payload)
    payload = _raw(fields.get("payload", msgspec.Raw(b"{}")))
    about = _parse_key(fields, "about") or ""
    return TaskReply(_parse_id(fields), payload, _parse_key(fields) or "", about)


def parse_runs(payload: Any) -> list[str]:
    """Parse TASK_RESUME ``{runs}``.

    Raises:
        InvalidPayload: The payload is no object, or ``runs`` no list of texts.
    """
    runs = read_value(split_fields(payload).get("runs"))
    if (
        not isinstance(runs, list)
        or len(runs) > _MOST_RUNS
        or not all(isinstance(each, str) for each in runs)
    ):
        raise _invalid("runs", "expected an array of runs")
    return list(dict.fromkeys(runs))


def split_fields(payload: Any) -> Mapping[str, Any]:
    """Split an object into its fields, those of an unread one unread.

    Raises:
        InvalidPayload: The payload is no object.
    """
    if isinstance(payload, dict):
        return payload
    if isinstance(payload, msgspec.Raw):
        try:
            return _split(payload)
        except msgspec.DecodeError:
            pass
    raise _invalid("", "expected an object")


def name_question(question: Mapping[str, Any]) -> str:
    """Name what a task asks; what asks the same has the same name."""
    text = msgspec.json.encode(question, order="sorted")
    return hashlib.blake2b(text, digest_size=16).hexdigest()


def _parse_key(fields: Mapping[str, Any], name: str = "key") -> str | None:
    key = read_value(fields.get(name))
    if key is None or (isinstance(key, str) and 0 < len(key) <= events.MAX_NAME):
        return key
    raise _invalid(name, f"expected a string of 1 to {events.MAX_NAME} characters")


def _parse_id(fields: Mapping[str, Any]) -> str:
    value = read_value(fields.get("id"))
    if not isinstance(value, str):
        raise _invalid("id", "expected the id of a task, a string")
    return value if _ID.fullmatch(value) else ""


def _raw(value: Any) -> msgspec.Raw:
    # A copy, as a value that is not read is a view of the whole message.
    if isinstance(value, msgspec.Raw):
        return msgspec.Raw(bytes(value))
    try:
        return msgspec.Raw(write_json(value))
    except RequestError as error:
        raise _invalid("payload", error.message) from None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _invalid(path: str, message: str) -> InvalidPayload:
    return InvalidPayload(f"{path or 'payload'}: {message}", [{"path": path, "message": message}])


_split = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
