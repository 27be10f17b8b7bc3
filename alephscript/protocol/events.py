"""Events: names verbatim, what the payload of each must look like, and the shape of answers.

May go in: names of events, rooms and fields, and parsers that turn any JSON into a frozen message
or raise `InvalidPayload`. May not: JSON as text (`json`), packets (`packets`), who is connected and
who is to hear an event (`mesh`).

Three dialects share a hub. Documented peers send events directly and ask for acknowledgements;
native peers are documented peers that also understand `PROTOCOL`; core peers put everything into
ROOM_MESSAGE and never acknowledge. The hub's own events are named in `vocabulary`. Pure: no socket,
no clock. Over 500 lines, because a name and the check of its payload change together.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import msgspec

from alephscript.errors import InvalidPayload, PayloadTooLarge, UnknownEvent
from alephscript.protocol.json import MAX_DEPTH, is_plain, read_value, write_plain_json
from alephscript.protocol.positions import Position, Since, parse_since
from alephscript.protocol.secrets import without_secrets
from alephscript.protocol.text import has_controls
from alephscript.protocol.vocabulary import HubEvent

__all__ = [
    "ANSWERED_BY_HUB",
    "ASKED_OF_ONE",
    "CONFIRMATIONS",
    "DEFAULT_TIMEOUT",
    "DEFAULT_URL",
    "EVERY_ROOM",
    "FAILURE_SCHEMA",
    "GROUPS",
    "HUB_ONLY",
    "LONGEST_TIMEOUT",
    "MAX_EXTRAS",
    "MAX_NAME",
    "MAX_PRIORITY",
    "MEMBER_EVENTS",
    "NAMESPACES",
    "PROTOCOL",
    "RESERVED",
    "RUNTIME",
    "TRACE_CONTEXT",
    "Answer",
    "Declaration",
    "HubEvent",
    "Position",
    "Registration",
    "RoomMessage",
    "Subscription",
    "answer_event",
    "capability_event",
    "capability_name",
    "check_event",
    "check_room_name",
    "is_failure",
    "make_success",
    "normalise",
    "parse_declaration",
    "parse_recording",
    "parse_registration",
    "parse_room_message",
    "parse_subscription",
    "parse_trace_context",
    "request_event",
    "spread",
]

RUNTIME = "/runtime"
NAMESPACES = (RUNTIME, "/")
DEFAULT_URL = "http://127.0.0.1:3010"

PROTOCOL = "alephscript/1"
"""Value of ``protocol`` in a native peer's CLIENT_REGISTER and in a native hub's answer: both
understand the meta object, second argument of a direct GET_ event."""

DEFAULT_TIMEOUT = 10.0
"""Seconds that a hub waits for a master when the asker names no deadline."""

LONGEST_TIMEOUT = 24 * 3600.0
"""Seconds, a day; a JSON number may be larger than any clock takes."""

MAX_NAME = 256
"""Characters of an event, room, usuario, sesion, capability or error code."""

MAX_PRIORITY = 9
"""The highest priority of a request; the lowest is as far below 0, the normal one."""

MAX_EXTRAS = 4096
"""Bytes of a registration's further fields, which every SET_SERVER_STATE repeats."""

GROUPS = ("single", "standby", "shared")
"""Ways in which several masters may serve one room."""

TRACE_CONTEXT = ("traceparent", "tracestate")
"""Keys of a request's meta that say which trace it belongs to, as W3C Trace Context does."""

_TRACEPARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
)
_NO_CONTROLS = "a name has no control characters"
_TRACESTATE = re.compile(r"[\x20-\x7e]{1,512}")

Answer = dict[str, Any]
"""``{"success": True, …}`` or ``{"success": False, "error", "code", …}``."""


CONFIRMATIONS = frozenset(
    {
        HubEvent.SUBSCRIBE_OK,
        HubEvent.ROOM_JOINED,
        HubEvent.ROOM_LEFT,
        HubEvent.SET_SERVER_STATE,
    }
)
"""Events by which a hub tells one client about that client, or about the hub."""

HUB_ONLY = CONFIRMATIONS | {
    HubEvent.MASTER_CHANGED,
    HubEvent.MEMBER_JOINED,
    HubEvent.MEMBER_LEFT,
    HubEvent.CANCEL_REQUEST,
    HubEvent.REQUEST_PART,
    HubEvent.REQUEST_MORE,
    HubEvent.REQUEST_PROGRESS,
    HubEvent.REQUEST_CHECKPOINT,
    HubEvent.TASK_CHANGED,
    HubEvent.TASK_KEPT,
    HubEvent.ROOM_RECORD,
    "GAP",  # delivered by a native client to itself, after it has missed events
}
"""Events that no client can send into a room, so that nobody can pose as the hub."""

MEMBER_EVENTS = frozenset(
    {HubEvent.GET_MEMBER_PING, HubEvent.GET_MEMBER_INFO, HubEvent.GET_MEMBER_STATS}
)
"""What every client of this package answers about itself; asked of one member, not of a room."""

ASKED_OF_ONE = MEMBER_EVENTS | {HubEvent.GET_ASKER_ANSWER}
"""What one peer is asked, and no room's master."""

ANSWERED_BY_HUB = ASKED_OF_ONE | {
    HubEvent.GET_SERVER_STATE,
    HubEvent.GET_CAPABILITIES,
    HubEvent.GET_MEMBERS,
    HubEvent.GET_ROOM_LOG,
}
"""Requests that the hub or every client answers by itself: no capability can be called so."""

EVERY_ROOM = "*"
"""Pseudo-room whose members receive MASTER_CHANGED of every room."""

RESERVED = frozenset(
    {"connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"}
)
"""Socket.IO's own events: a JavaScript client that receives one drops its connection."""


@attrs.frozen
class Registration:
    """CLIENT_REGISTER: the name that a client gives itself.

    Attributes:
        usuario: The client's name.
        sesion: Suffix that tells clients of one name apart.
        extras: Further fields, kept and shown to others; without what looks like a secret.
        extras_bytes: Bytes of them as JSON, at the most.
    """

    usuario: str
    sesion: str
    extras: Mapping[str, Any]
    extras_bytes: int = attrs.field(default=0, eq=False, repr=False)

    @property
    def name(self) -> str:
        """The name that others see as ``requesterName``."""
        return self.usuario + self.sesion

    @property
    def is_native(self) -> bool:
        """Whether the client speaks the native dialect: it announced `PROTOCOL`."""
        return self.extras.get("protocol") == PROTOCOL


@attrs.frozen
class Subscription:
    """CLIENT_SUSCRIBE.

    Attributes:
        room: The room.
        out: Whether the client leaves the room instead of joining.
        since: From where to tell again what was said in the room; None for no telling.
        presence: Whether the client wants to hear who comes and goes.
    """

    room: str
    out: bool
    since: Since | None = None
    presence: bool = False


@attrs.frozen
class Declaration:
    """MAKE_MASTER: the room and the capability names as declared.

    Attributes:
        room: The room.
        features: Names of capabilities.
        group: ``single``, ``standby`` or ``shared``.
        out: Whether the client stops being a master of the room.
        yields: Whether the client stands by if others master the room.
        descriptions: Descriptions of capabilities, by name.
        says: JSON Schemas of what the master says in the room, by event, as far as they mark
            secrets.
    """

    room: str
    features: tuple[str, ...]
    group: str = "single"
    out: bool = False
    yields: bool = False
    descriptions: Mapping[str, Mapping[str, Any]] = attrs.Factory(dict)
    says: Mapping[str, Mapping[str, Any]] = attrs.Factory(dict)


class RoomMessage(msgspec.Struct, frozen=True, gc=False):
    """ROOM_MESSAGE, the envelope: an event for the members of a room.

    Attributes:
        event: The inner event.
        room: The room.
        data: The inner event's payload.
        extras: The envelope's further keys, passed on to a master.
    """

    event: str
    room: str
    data: Any
    extras: Mapping[str, Any]


def capability_event(capability: str) -> str:
    """Name the event that requests a capability: ``GET_X`` for ``X`` and for ``GET_X``."""
    return capability if capability.startswith("GET_") else f"GET_{capability}"


def capability_name(capability: str) -> str:
    """Reduce a capability's two spellings to one: ``X`` for ``X`` and for ``GET_X``."""
    return capability.removeprefix("GET_")


@functools.lru_cache  # the same few names in every request; bounded, as names may come from peers
def request_event(capability: str) -> str:
    """Name the event that requests a capability, if any peer survives that name.

    Raises:
        UnknownEvent: The name is refused by `check_event`.
    """
    return check_event(capability_event(capability))


def answer_event(event: str) -> str:
    """Name the event that carries the answer in the core dialect: ``SET_X`` for ``GET_X``."""
    return f"SET_{capability_name(event)}"


def check_event(event: Any) -> str:
    """Return an event's name if any peer survives it.

    Raises:
        UnknownEvent: The name is no string, empty, too long, has control characters, or is
            reserved by Socket.IO or the hub.
    """
    if not isinstance(event, str) or not event or len(event) > MAX_NAME:
        raise UnknownEvent(f"an event name is a string of 1 to {MAX_NAME} characters")
    if has_controls(event):
        raise UnknownEvent("an event name has no control characters")
    if event in RESERVED or event in HUB_ONLY:
        raise UnknownEvent(f"{event} is a reserved event name; choose another one")
    return event


def check_room_name(room: Any) -> str:
    """Return a room's name if it may be one.

    Raises:
        InvalidPayload: The name is no string, empty, too long, or has control characters.
    """
    # As `_check_name` does, without the call: each event that is said in a room comes by here.
    if type(room) is str and 0 < len(room) <= MAX_NAME and room.isprintable():
        return room
    return _check_name(room, "room")


def parse_registration(payload: Any) -> Registration:
    """Parse CLIENT_REGISTER ``{usuario, sesion?, …}``.

    Raises:
        InvalidPayload: The payload is no object, or a name in it is not valid.
        PayloadTooLarge: The further fields are too long, or nested too deeply to be repeated.
    """
    fields = _check_object(payload)
    sesion = fields.get("sesion")
    if sesion is None or (isinstance(sesion, int | float) and not isinstance(sesion, bool)):
        sesion = "" if sesion is None else str(sesion)
    extras = {k: v for k, v in fields.items() if k not in ("usuario", "sesion")}
    # Size before nesting: a megabyte is written sooner than looked through.
    extras_bytes = len(write_plain_json(extras))
    if extras_bytes > MAX_EXTRAS or not is_plain(extras, MAX_DEPTH // 2):
        raise PayloadTooLarge(f"what a registration says besides is {MAX_EXTRAS} bytes at most")
    return Registration(
        usuario=_check_name(fields.get("usuario"), "usuario"),
        sesion=sesion if sesion == "" else _check_name(sesion, "sesion"),
        extras=without_secrets(extras),
        extras_bytes=extras_bytes,
    )


def parse_subscription(payload: Any) -> Subscription:
    """Parse CLIENT_SUSCRIBE ``{room, out?, since?, presence?}``.

    Raises:
        InvalidPayload: The payload is no object, or the room or ``since`` is not valid.
    """
    fields = _check_object(payload)
    since = fields.get("since")
    return Subscription(
        room=check_room_name(fields.get("room")),
        out=fields.get("out") is True,
        since=None if since is None else parse_since(since),
        presence=fields.get("presence") is True,
    )


def parse_declaration(payload: Any, *, room: Any = None) -> Declaration:
    """Parse MAKE_MASTER ``{room, features?, group?, out?, yields?, descriptions?, says?}``.

    DevOps peers write ``capabilities`` for ``features``, others describe themselves in ``metadata:
    {capabilities: [{id, description, inputSchema, outputSchema, tags}]}``.

    Args:
        payload: The declaration, as read from JSON.
        room: The envelope's room, where the declaration came in ROOM_MESSAGE.

    Raises:
        InvalidPayload: The payload is no object, or a field of it is not valid.
    """
    fields = _check_object({} if payload is None and room is not None else payload)
    features = fields.get("features")
    described: dict[str, dict[str, Any]] = {}
    if features is None:
        features = fields.get("capabilities") or []
        if _are_objects(features):
            features, described = [], _describe(features)
    if not isinstance(features, list) or not all(
        isinstance(each, str) and 0 < len(each) <= MAX_NAME for each in features
    ):
        raise _invalid("features", f"expected an array of names of 1 to {MAX_NAME} characters")
    group = fields.get("group", "single")
    if group not in GROUPS:
        raise _invalid("group", f"expected one of {', '.join(GROUPS)}")
    metadata = fields.get("metadata")
    if isinstance(metadata, dict) and _are_objects(metadata.get("capabilities")):
        described = _describe(metadata["capabilities"])
    spelt = {capability_name(each): each for each in features}
    described = {spelt.get(capability_name(k), k): each for k, each in described.items()}
    descriptions = fields.get("descriptions", {})
    if not isinstance(descriptions, dict) or not all(
        isinstance(each, dict) for each in descriptions.values()
    ):
        raise _invalid("descriptions", "expected an object of objects")
    if any(map(has_controls, (*features, *descriptions))):
        raise _invalid("features", _NO_CONTROLS)
    says = fields.get("says")
    return Declaration(
        room=check_room_name(fields.get("room") if room is None else room),
        features=tuple(dict.fromkeys([*features, *described])),
        group=group,
        out=fields.get("out") is True,
        yields=fields.get("yields") is True,
        descriptions={
            name: _parse_description(each) for name, each in {**described, **descriptions}.items()
        },
        says={
            event: schema
            for event, schema in (says.items() if isinstance(says, dict) else ())
            if isinstance(schema, dict) and not has_controls(event)
        },
    )


def parse_recording(payload: Any) -> tuple[str, ...]:
    """Parse RECORD_ROOMS ``{rooms[]}``.

    Raises:
        InvalidPayload: The payload is no object, or its rooms are no list of names.
    """
    rooms = _check_object(payload).get("rooms")
    if not isinstance(rooms, list):
        raise _invalid("rooms", "expected an array of rooms")
    return tuple(dict.fromkeys(map(check_room_name, rooms)))


_DESCRIPTION = {
    "summary": str,
    "request": dict,
    "reply": dict,
    "timeoutMs": int,
    "idempotent": bool,
    "readOnly": bool,
    "destructive": bool,
    "streams": bool,
    "tags": list,
}
"""Fields of a capability's description, all of them optional, and their types."""


def _parse_description(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Keep those fields of a capability's description that are known and of the right type."""
    known = {
        key: fields[key] for key, kind in _DESCRIPTION.items() if type(fields.get(key)) is kind
    }
    if not all(isinstance(tag, str) for tag in known.get("tags", ())):
        del known["tags"]
    return known


_UPSTREAMS = {"summary": "description", "request": "inputSchema", "reply": "outputSchema"}
"""Fields of a description, and what masters of upstream call them."""


def _are_objects(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(each, dict) for each in value)


def _describe(capabilities: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Make descriptions, by id, of what a master of upstream says of its capabilities.

    An entry without a name says nothing that could be asked for, and is left out.
    """
    return {
        each["id"]: {
            "tags": each.get("tags"),
            **{ours: each.get(theirs) for ours, theirs in _UPSTREAMS.items()},
        }
        for each in capabilities
        if isinstance(each.get("id"), str)
        and 0 < len(each["id"]) <= MAX_NAME
        and not has_controls(each["id"])
    }


def parse_room_message(payload: Any) -> RoomMessage:
    """Parse ROOM_MESSAGE ``{event, room, data?}``; older peers write ``args`` for ``data``.

    Of an unread payload (`msgspec.Raw`) only event and room are read.

    Raises:
        InvalidPayload: The payload is no object, or its room is not valid.
        UnknownEvent: The inner event's name is not valid, or reserved.
    """
    fields = _split_object(payload)
    event = check_event(read_value(fields.get("event")))
    room = read_value(fields.get("room"))
    if room is None and event == HubEvent.GET_SERVER_STATE:
        room = "*"
    return RoomMessage(
        event=event,
        room=check_room_name(room),
        data=fields["data"] if "data" in fields else fields.get("args"),
        extras={k: v for k, v in fields.items() if k not in ("event", "room", "data", "args")},
    )


def make_success(fields: Any = None) -> Answer:
    """Make the answer to a request that succeeded.

    Args:
        fields: The answer's fields; a value that is no object is put under ``result``.
    """
    if fields is None:
        return {"success": True}
    if isinstance(fields, Mapping):
        return {"success": True, **fields}
    return {"success": True, "result": fields}


def normalise(args: Sequence[Any]) -> Answer:
    """Make one answer object of the arguments that a master acknowledged with.

    No argument, several, or one that is no object: put under ``result``. An object without
    ``success`` is a success unless it has an ``error``. A failure gets the ``error`` and the
    ``code`` that it lacks; a code longer than a name is none.
    """
    value = args[0] if len(args) == 1 else (list(args) or None)
    if not isinstance(value, dict):
        return {"success": True, "result": value}
    if value.get("success") is True:
        return value
    answer = {**value, "success": bool(value.get("success", "error" not in value))}
    if is_failure(answer):
        if not isinstance(answer.get("error"), str):
            answer["error"] = "the master reported a failure"
        code = answer.get("code")
        if not isinstance(code, str) or len(code) > MAX_NAME:
            answer["code"] = "error"  # a hub counts by code, and keeps each
    return answer


def is_failure(answer: Mapping[str, Any]) -> bool:
    """Whether an answer is a failure."""
    return answer["success"] is not True


def parse_trace_context(meta: Mapping[str, Any]) -> dict[str, str]:
    """Keep those keys of a request's meta that say which trace it belongs to, if they are valid."""
    context = {}
    for key, pattern in zip(TRACE_CONTEXT, (_TRACEPARENT, _TRACESTATE), strict=True):
        value = meta.get(key)
        if not isinstance(value, str) or pattern.fullmatch(value) is None:
            break  # a tracestate alone means nothing
        context[key] = value
    return context


_LONGEST_SPREAD = 10_000
"""Characters or items of a value that are spread."""


def spread(data: Any) -> dict[str, Any]:
    """Spread a value into an object, as JavaScript's ``{...data}``; UIs rely on it for SET_.

    Of long texts and lists nothing is left: a megabyte of text would become thirteen.
    """
    if isinstance(data, dict):
        return data
    if isinstance(data, list | str) and len(data) <= _LONGEST_SPREAD:
        return {str(index): item for index, item in enumerate(data)}
    return {}


def _split_object(payload: Any) -> dict[str, Any]:
    """Split an object into its fields, which are unread if the object is."""
    if not isinstance(payload, msgspec.Raw):
        return _check_object(payload)
    try:
        return _split(payload)
    except msgspec.ValidationError:
        raise _invalid("", "expected an object") from None
    except msgspec.DecodeError as exc:
        raise InvalidPayload(f"not valid JSON: {exc}") from None


_split = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def _check_object(payload: Any) -> dict[str, Any]:
    if not isinstance(payload, dict):
        raise _invalid("", "expected an object")
    return payload


def _check_name(value: Any, path: str) -> str:
    if not isinstance(value, str) or not value or len(value) > MAX_NAME:
        raise _invalid(path, f"expected a string of 1 to {MAX_NAME} characters")
    if has_controls(value):
        raise _invalid(path, _NO_CONTROLS)
    return value


def _invalid(path: str, message: str) -> InvalidPayload:
    return InvalidPayload(f"{path or 'payload'}: {message}", [{"path": path, "message": message}])


FAILURE_SCHEMA: dict[str, Any] = {
    "type": "object",
    "description": "Why a request ended without a result.",
    "properties": {
        "success": {"const": False},
        "error": {"type": "string", "description": "A sentence for a person."},
        "code": {"type": "string", "description": "Stable identifier of the reason."},
        "retryable": {"type": "boolean"},
        "details": {"type": "array"},
    },
    "required": ["success", "error", "code"],
}
"""JSON Schema of an answer that is a failure."""
