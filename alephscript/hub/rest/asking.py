"""Requests of the mesh by HTTP: a body is read as a question, and its answer given.

The answer is the envelope that any asker gets, under the status of its code. A client that takes
server-sent events gets progress and the parts of the answer before that.

May go in: a request's way from its body to its answer. May not: who may ask (`rest`), being a peer
(`visitor`), nor a rule about requests (`mesh`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

import attrs
import msgspec

from alephscript.errors import InvalidPayload, PayloadTooLarge, UnknownCapability, http_status
from alephscript.hub.rest.responder import Responder, write_event
from alephscript.hub.rest.visitor import Heard, Visitor
from alephscript.protocol import events
from alephscript.protocol.events import HubEvent
from alephscript.protocol.json import MAX_DEPTH, is_shallow_utf8, parse_json, read_value

__all__ = [
    "KEEP_ALIVE_SECONDS",
    "Question",
    "answer",
    "put",
    "read_invocation",
    "read_question",
    "write_answer",
]

KEEP_ALIVE_SECONDS = 15.0
"""Seconds of silence after which a stream says that it is there."""

_PARTS = 16
"""Parts of an answer that may be under way; more are granted as the client takes them."""

_NAMES = {HubEvent.REQUEST_PROGRESS: "progress", HubEvent.REQUEST_PART: "part"}
_NULL = b"null"

_MOST_DIGITS = 15


@attrs.frozen
class Question:
    """A request of a capability.

    Attributes:
        event: ``GET_`` and the capability.
        payload: The payload, unread.
        meta: The room, and the milliseconds that the asker waits.
    """

    event: str
    payload: msgspec.Raw
    meta: Mapping[str, Any]

    @property
    def is_null(self) -> bool:
        """Whether the payload is null."""
        return len(self.payload) == len(_NULL) and bytes(self.payload) == _NULL


def read_question(room: str, capability: str, query: bytes, body: bytes) -> Question:
    """Read the request of a capability that the path names.

    Args:
        room: The room.
        capability: The capability.
        query: The query of the address; ``timeoutMs`` of it is read.
        body: The payload.

    Raises:
        InvalidPayload: The body is no JSON, or the timeout no number of milliseconds, or the room
            can be none.
        PayloadTooLarge: The body is nested too deeply.
        UnknownEvent: The capability can be none.
        UnknownCapability: The capability is a question about the hub.
    """
    timeout = _read_query(query)
    return _make_question(room, capability, _decode(body, _read_raw), timeout)


def read_invocation(room: str, body: bytes) -> Question:
    """Read a request whose body names the capability: ``{capability, payload?, timeoutMs?}``.

    Raises:
        InvalidPayload: The body is no such object, or the room can be none.
        PayloadTooLarge: The body is nested too deeply.
        UnknownEvent: The capability can be none.
        UnknownCapability: The capability is a question about the hub.
    """
    fields: dict[str, msgspec.Raw] = _decode(body, _read_fields)
    others = sorted(fields.keys() - {"capability", "payload", "timeoutMs"})
    if others:
        raise _invalid(others[0], "is no field of a request: capability, payload, timeoutMs")
    capability = read_value(fields.get("capability"))
    if not isinstance(capability, str) or not capability:
        raise _invalid("capability", "expected the name of a capability")
    timeout = read_value(fields["timeoutMs"]) if "timeoutMs" in fields else 0
    if not isinstance(timeout, int | float) or isinstance(timeout, bool) or timeout < 0:
        raise _invalid("timeoutMs", "expected a number of milliseconds, 0 or more")
    return _make_question(
        room,
        capability,
        fields.get("payload", _NO_FIELDS),
        timeout if "timeoutMs" in fields else None,
    )


def put(visitor: Visitor, question: Question, headers: Mapping[str, str], *, streams: bool) -> None:
    """Put a question to the mesh, of which its asker becomes a peer.

    Args:
        visitor: The asker.
        question: The question.
        headers: The request's headers, which may say of which trace it is.
        streams: Whether the client takes server-sent events.
    """
    meta = {**question.meta, **events.parse_trace_context(headers)}
    if streams:
        meta["parts"] = _PARTS
    visitor.join()
    visitor.ask(question.event, question.payload, meta)


async def answer(
    visitor: Visitor, responder: Responder, *, streams: bool
) -> tuple[int, bytes] | None:
    """Wait for the answer to the question that was put.

    Args:
        visitor: The asker.
        responder: Where a stream goes.
        streams: Whether the client takes server-sent events.

    Returns:
        The status and the text of the answer; None if it was streamed.
    """
    heard = await _hear_first(visitor, is_patient=not streams)
    if heard is not None and not heard.event:
        status, body = _status_of(heard), bytes(heard.data)
        if status != _OK or not streams:
            return status, body
    await responder.begin_stream()
    await _stream(visitor, heard, responder)
    return None


def write_answer(answer: bytes | msgspec.Raw) -> bytes:
    """Write an answer as the last event of a stream."""
    return write_event("answer", answer)


_OK = 200


async def _hear_first(visitor: Visitor, *, is_patient: bool) -> Heard | None:
    """Hear what decides about the status: the answer, or for a stream whatever comes first.

    Returns:
        None if for a stream nothing has come for a while.
    """
    while True:
        heard = await visitor.hear(None if is_patient else KEEP_ALIVE_SECONDS)
        if heard is None or not heard.event or (not is_patient and heard.event in _NAMES):
            return heard


async def _stream(visitor: Visitor, heard: Heard | None, responder: Responder) -> None:
    taken = 0
    while True:
        if heard is None:
            await responder.keep_alive()
        elif not heard.event:
            await responder.write(write_answer(heard.data))
            await responder.end_stream()
            return
        elif heard.event in _NAMES:
            await responder.write(write_event(_NAMES[HubEvent(heard.event)], heard.data))
            if heard.event == HubEvent.REQUEST_PART:
                taken += 1
                if 2 * taken >= _PARTS:
                    visitor.grant(taken)
                    taken = 0
        heard = await visitor.hear(KEEP_ALIVE_SECONDS)


class _Outcome(msgspec.Struct):
    """What is read of an answer."""

    success: Any = None
    code: Any = None


_read_outcome = msgspec.json.Decoder(_Outcome).decode
_read_raw = msgspec.json.Decoder(msgspec.Raw).decode
_read_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_NO_FIELDS = msgspec.Raw(b"{}")


def _status_of(heard: Heard) -> int:
    outcome = _read_outcome(heard.data)
    return _OK if outcome.success is True else http_status(str(outcome.code))


def _make_question(
    room: str, capability: str, payload: msgspec.Raw, timeout: float | None
) -> Question:
    meta: dict[str, Any] = {"room": events.check_room_name(room)}
    if timeout is not None:
        meta["timeoutMs"] = min(timeout, events.LONGEST_TIMEOUT * 1000)
    event = events.request_event(capability)
    if event in events.ANSWERED_BY_HUB:
        raise UnknownCapability(f"{capability} is no capability of {room}")
    return Question(event, payload, meta)


def _read_query(query: bytes) -> int | None:
    texts = parse_qs(query.decode("latin-1"), keep_blank_values=True).get("timeoutMs")
    if texts is None:
        return None
    text = texts[0]
    if len(texts) > 1 or not (text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS):
        raise _invalid("timeoutMs", "expected one whole number of milliseconds, 0 or more")
    return int(text)


def _decode(body: bytes, decode: Any) -> Any:
    """Decode a body that any peer of the mesh can read."""
    if not body.strip():
        raise _invalid("", "expected JSON, for nothing {}; the body is empty")
    if not is_shallow_utf8(body):
        parse_json(body)  # raises, and says what is wrong
    try:
        return decode(body)
    except RecursionError:
        raise PayloadTooLarge(f"nested deeper than {MAX_DEPTH} levels") from None
    except msgspec.ValidationError:
        raise _invalid("", "expected an object with capability, payload and timeoutMs") from None
    except msgspec.DecodeError as exc:
        raise InvalidPayload(f"not valid JSON: {exc}") from None


def _invalid(path: str, message: str) -> InvalidPayload:
    return InvalidPayload(f"{path or 'payload'}: {message}", [{"path": path, "message": message}])
