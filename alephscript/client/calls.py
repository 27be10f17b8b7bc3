"""Values on their way between a client and its hub: a call goes out, a delivery comes in.

May go in: values that are the same in every dialect, and the reading of an acknowledgement. May
not: how a hub is spoken to (`dialects`), who serves a request (`serving`).

Pure: no socket, no clock.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import msgspec

from alephscript import contracts
from alephscript.errors import DeadlineExceeded, InvalidPayload, RequestError
from alephscript.protocol import events
from alephscript.protocol.events import Answer
from alephscript.protocol.json import parse_json

__all__ = [
    "NO_META",
    "Answers",
    "Call",
    "Delivery",
    "HubMeta",
    "TaskMeta",
    "make_late_error",
    "read_answer",
]


class TaskMeta(msgspec.Struct, rename=contracts.wire_key, frozen=True):
    """What a native hub says of the task that a request is a run of.

    Attributes:
        id: The task.
        run: Names the run, to the hub and to this client alone.
        attempt: Counts the runs of the task.
        checkpoint: What the run before has kept, unread.
    """

    id: str
    run: str
    attempt: int = 1
    checkpoint: msgspec.Raw = msgspec.Raw(b"null")


class HubMeta(msgspec.Struct, rename=contracts.wire_key, frozen=True):
    """The meta object of a native hub: what it says about an event or a request.

    Attributes:
        id: A request's number, empty where there is none.
        room: The room, empty where the hub does not say.
        caller: Name of the member that asks.
        sender: Name of the member that said the event.
        timeout_ms: How long the asker waits, None if it does not say.
        number: The event's number in the log or the history of its room.
        history: Name of that log; empty if it is a history.
        retained: Whether the event was said before, and is told as the last of its name.
        at: When the hub took the event, milliseconds since 1970; None if it does not say.
        request: Number of the call of this client that a part or a progress belongs to.
        parts: How many parts of an answer the asker takes; 0 if it knows no parts.
        chain: Numbers of the requests that led to this one.
        answers: Whether the asker answers what the master asks back.
        priority: How soon the request is to have its turn; the hub has seen that it may.
        traceparent: The trace that the request belongs to, as W3C Trace Context says it.
        tracestate: What tracing systems add to that.
        task: The task that a request is a run of, None for a plain request.
    """

    id: str = ""
    room: str = ""
    caller: str = ""
    sender: str = ""
    timeout_ms: float | None = None
    number: int | None = None
    history: str = ""
    retained: bool = False
    at: float | None = None
    request: int | None = None
    parts: int = 0
    chain: tuple[str, ...] = ()
    answers: bool = False
    priority: int = 0
    traceparent: str | None = None
    tracestate: str | None = None
    task: TaskMeta | None = None

    @property
    def trace_context(self) -> dict[str, str]:
        """The keys of the trace, as they are on the wire."""
        fields = {"traceparent": self.traceparent, "tracestate": self.tracestate}
        return {key: value for key, value in fields.items() if value is not None}


NO_META = HubMeta()


class Delivery(msgspec.Struct, eq=False):
    """Something that the hub sent: an event of a room, or a request to serve.

    Attributes:
        event: Name of the event.
        data: Its data, without the envelope that core hubs wrap around a request; unread
            (`msgspec.Raw`) if it is a request of a native hub.
        ack: The number to acknowledge under, None if no acknowledgement is wanted.
        meta: What else the hub says about it.
        room: The room, empty where the hub does not say.
        sender: Name of the member that says or asks it, empty where the hub does not say.
        id: A request's number, empty where there is none.
        own_id: The ``requestId`` by which a core asker recognises its answer.
    """

    event: str
    data: Any
    ack: int | None
    meta: HubMeta
    room: str
    sender: str
    id: str
    own_id: Any = None


class Answers(Protocol):
    """Whoever answers what the master of a call asks back."""

    def take(self, question: Delivery, send: Callable[[bytes | None], None]) -> None:
        """Answer a question: ``send`` is called once, with None if it was cancelled."""
        ...

    def cancel(self, id: str) -> bool:
        """Stop answering a question; return whether it was under way."""
        ...

    def close(self) -> None:
        """Stop answering: the call has ended."""
        ...


class Call(msgspec.Struct, eq=False):
    """A request that this client asks.

    Attributes:
        event: ``GET_`` and the capability's name.
        data: JSON text of the payload; empty once it was sent, which is once only: it may be large.
        room: The room to ask; None leaves it to the hub.
        timeout: Seconds to wait, None for as long as the hub does.
        meta: What else the hub is told, where it understands that.
        on_progress: Called with what the master reports meanwhile.
        idle: Seconds that may pass without a sign of life, None for the whole time.
        answers: Answers what the master asks back; None if nobody does.
    """

    event: str
    data: bytes
    room: str | None = None
    timeout: float | None = None
    meta: Mapping[str, Any] = {}
    on_progress: Callable[[Any], None] | None = None
    idle: float | None = None
    answers: Answers | None = None

    @property
    def patience(self) -> float | None:
        """Seconds until the call ends where nothing is heard before the answer; None for ever."""
        if self.idle is None or (self.timeout is not None and self.timeout <= self.idle):
            return self.timeout
        return self.idle

    def make_late_error(self) -> DeadlineExceeded:
        """Make the error of this call if `patience` was in vain."""
        if self.patience == self.timeout:
            return make_late_error(self.event, self.timeout)
        return self.make_idle_error()

    def make_idle_error(self) -> DeadlineExceeded:
        """Make the error of this call if nothing was heard of it for too long."""
        message = f"nothing was heard of {self.event} for {self.idle:g} s"
        return DeadlineExceeded(message, [{"delivered": None, "idle": True}])

    def with_meta(self, meta: Mapping[str, Any]) -> Call:
        """Return the same call with more to tell the hub."""
        return msgspec.structs.replace(self, meta={**self.meta, **meta})


def read_answer(payload: bytes) -> Answer:
    """Read the answer, failed or not, that an acknowledgement brings.

    Args:
        payload: A JSON array, unchecked; any other text is read as a failed answer.
    """
    try:
        args = parse_json(payload)
    except RequestError as error:
        return error.answer()
    if not isinstance(args, list):
        return InvalidPayload("the answer is no JSON array").answer()
    return events.normalise(args)


def make_late_error(event: str, timeout: float | None) -> DeadlineExceeded:
    """Make the error of a call that had no answer in its time; nobody knows whether it ran."""
    timeout = timeout or 0.0
    return DeadlineExceeded(f"no answer to {event} within {timeout:g} s", [{"delivered": None}])
