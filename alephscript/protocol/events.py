"""The wire: event, field and room names verbatim, and what each payload must look like.

Three dialects share a hub. DOC peers send events directly and ask for acknowledgements; CORE
peers put everything into ROOM_MESSAGE and never acknowledge; ZEUS peers are CORE peers with
fewer events. Parsers here turn any JSON into a frozen message or raise `InvalidPayload`.

Pure: no socket, no clock. Knows nothing of who is connected; that is `routing`.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

import attrs
import msgspec

from alephscript.errors import InvalidPayload, PayloadTooLarge, UnknownEvent
from alephscript.protocol.json import MAX_DEPTH, is_plain, read_value, write_json

__all__ = [
    "ANSWERED_BY_HUB",
    "CONFIRMATIONS",
    "DEFAULT_TIMEOUT",
    "DEFAULT_URL",
    "EVERY_ROOM",
    "GROUPS",
    "HUB_ONLY",
    "LONGEST_TIMEOUT",
    "MAX_EXTRAS",
    "MAX_NAME",
    "MEMBER_EVENTS",
    "NAMESPACES",
    "PROTOCOL",
    "RESERVED",
    "RUNTIME",
    "TRACE_CONTEXT",
    "Answer",
    "Declaration",
    "HubEvent",
    "MetaKey",
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
"""Announced as ``protocol`` in CLIENT_REGISTER and in the answer to it: this peer understands
the meta object that travels as second argument of a direct GET_ event."""

DEFAULT_TIMEOUT = 10.0
"""Seconds that a hub waits for a master when the asker names no deadline."""

LONGEST_TIMEOUT = 24 * 3600.0
"""Seconds; JSON numbers have no end, clocks have."""

MAX_NAME = 256
"""Characters of an event, room, usuario or sesion."""

MAX_EXTRAS = 4096
"""Bytes of a registration's further fields, which every SET_SERVER_STATE repeats."""


GROUPS = ("single", "standby", "shared")
"""How several masters may be of one room."""

TRACE_CONTEXT = ("traceparent", "tracestate")
"""Keys of a request's meta that say which trace it belongs to, as W3C Trace Context does."""

_TRACEPARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
)
_TRACESTATE = re.compile(r"[\x20-\x7e]{1,512}")

Answer = dict[str, Any]
"""``{"success": True, …}`` or ``{"success": False, "error", "code", …}``."""


class HubEvent(StrEnum):
    """Events that the hub itself understands or sends; members may be spelt right, values not.

    Each says who sends the event to whom, with which payload, and what comes of it. The reference's
    tables are made of that.
    """

    CLIENT_REGISTER = "CLIENT_REGISTER"
    """client → hub: ``{usuario, sesion?, protocol?, …}`` The client says who it is; the answer
    has ``protocol`` and ``socketId``."""

    CLIENT_SUBSCRIBE = "CLIENT_SUSCRIBE"
    """client → hub: ``{room, out?, since?}`` The client enters the room, or leaves it with
    ``out``; the answer has ``room``, and on a hub with a history ``history``, ``number`` and
    ``missed``."""

    CLIENT_UNSUBSCRIBE = "CLIENT_UNSUSCRIBE"
    """client → hub: ``{room}`` The client leaves the room; the answer has ``room``."""

    MAKE_MASTER = "MAKE_MASTER"
    """client → hub: ``{room, features[], group?, out?, descriptions?}`` The client becomes a
    master of the room, or resigns with ``out``; the answer has ``room``, ``features`` and
    ``epoch``."""

    ROOM_MESSAGE = "ROOM_MESSAGE"
    """client → hub: ``{event, room, data}`` The room gets the inner event; the answer has
    ``room`` and ``members``, a count, or is the inner event's own. A request to a core master
    comes in it, too."""

    GET_SERVER_STATE = "GET_SERVER_STATE"
    """client → hub: ``any`` The client asks who is where; the answer is the state, and the
    client gets it as SET_SERVER_STATE, too."""

    GET_CAPABILITIES = "GET_CAPABILITIES"
    """client → hub: ``{room?, capability?}`` The client asks what is offered; the answer has
    ``offers``, a list of ``{room, capability, masters[], group, epoch}`` with what the
    description says besides."""

    GET_MEMBERS = "GET_MEMBERS"
    """client → hub: ``{room?}`` The client asks which native members there are; the answer has
    ``members``, a list of ``{id, name}``."""

    GET_MEMBER_PING = "GET_MEMBER_PING"
    """client → hub → member: ``{}`` A native member, named by ``member`` in the meta, is asked
    for a sign of life; the answer has no fields."""

    GET_MEMBER_INFO = "GET_MEMBER_INFO"
    """client → hub → member: ``{}`` The member says what it is: ``usuario``, ``sesion``,
    ``version``, ``capabilities[]``, ``summary``, ``uptimeMs``."""

    GET_MEMBER_STATS = "GET_MEMBER_STATS"
    """client → hub → member: ``{}`` The member says how it does: ``usuario``, ``sesion`` and,
    by name, ``capabilities``: ``requests``, ``errors``, ``inFlight``, ``waiting``, ``p50Ms``,
    ``p95Ms``, ``lastError``."""

    SET_SERVER_STATE = "SET_SERVER_STATE"
    """hub → client: ``{clients, miembros[], rooms[], …}`` The state that the client asked
    for."""

    SUBSCRIBE_OK = "SUSCRIBE_OK"
    """hub → client: ``{room}`` The client is in the room."""

    ROOM_JOINED = "room_joined"
    """hub → client: ``{room}`` The same, for peers that wait for this name."""

    ROOM_LEFT = "room_left"
    """hub → client: ``{room}`` The client is in the room no more."""

    AUTH_ERROR = "auth_error"
    """hub → client: ``{reason, room, action, timestamp}`` The hub's ``Access`` has refused
    something that the client did in a room; the answer, if it wants one, is
    ``permission_denied``."""

    MASTER_CHANGED = "MASTER_CHANGED"
    """hub → room: ``{room, usuario, epoch}`` Another member serves the room, or none
    (``usuario: null``). Members of the room ``*`` and a displaced master hear it, too."""

    CANCEL_REQUEST = "CANCEL_REQUEST"
    """asker → hub → master: ``{request}`` → ``{id, reason}`` Nobody waits for the request any
    more: ``cancelled``, ``asker_lost``, ``deadline`` or ``displaced``."""

    REQUEST_PART = "REQUEST_PART"
    """master → hub → asker: ``any`` One part of a streamed answer; in the meta ``{id}`` →
    ``{request}``."""

    REQUEST_MORE = "REQUEST_MORE"
    """asker → hub → master: ``{request, parts}`` → ``{id, parts}`` So many more parts are
    granted."""

    REQUEST_PROGRESS = "REQUEST_PROGRESS"
    """master → hub → asker: ``{fraction, message}`` How far a request is; in the meta ``{id}``
    → ``{request}``."""


class MetaKey(StrEnum):
    """Keys of the meta, the second argument of an event between native peers.

    Each says where it is found: in a ``question`` to the hub, in a ``request`` to a master, with an
    ``event`` of a room. The reference's table is made of that.
    """

    ROOM = "room"
    """question, request, event: The room; a question without one leaves its choice to the
    hub."""

    MEMBER = "member"
    """question: Socket id of the member that GET_MEMBER_PING, GET_MEMBER_INFO or
    GET_MEMBER_STATS is for, as GET_MEMBERS gives it."""

    TIMEOUT = "timeoutMs"
    """question, request: Milliseconds that are left, never a time of day; a question without it
    gets the hub's default."""

    WAIT = "wait"
    """question: ``true`` keeps the request at the hub until some master offers the
    capability."""

    PARTS = "parts"
    """question, request: Parts of a streamed answer that the asker grants to begin with, 1 to
    1,024."""

    CHAIN = "chain"
    """question, request: The ids of the requests that led to this one, 16 at the most."""

    TRACEPARENT = "traceparent"
    """question, request: W3C Trace Context."""

    TRACESTATE = "tracestate"
    """question, request: W3C Trace Context, only beside ``traceparent``."""

    ID = "id"
    """request: The hub's name for the request, a string."""

    CALLER = "caller"
    """request: The asker's name; proven on a hub with an ``Access`` that names its clients."""

    SENDER = "sender"
    """event: Name of the member that has sent the event."""

    NUMBER = "number"
    """event: The event's number in the room's history, on a hub that keeps one."""


CONFIRMATIONS = frozenset(
    {
        HubEvent.SUBSCRIBE_OK,
        HubEvent.ROOM_JOINED,
        HubEvent.ROOM_LEFT,
        HubEvent.SET_SERVER_STATE,
    }
)
"""What a hub tells one client about itself; nothing that was said in a room."""

HUB_ONLY = CONFIRMATIONS | {
    HubEvent.MASTER_CHANGED,
    HubEvent.CANCEL_REQUEST,
    HubEvent.REQUEST_PART,
    HubEvent.REQUEST_MORE,
    HubEvent.REQUEST_PROGRESS,
    "GAP",  # what a client of ours tells itself
}
"""What no client can say in a room: anybody could fake the hub's word."""

MEMBER_EVENTS = frozenset(
    {HubEvent.GET_MEMBER_PING, HubEvent.GET_MEMBER_INFO, HubEvent.GET_MEMBER_STATS}
)
"""What every client of this package answers about itself; asked of one member, not of a room."""

ANSWERED_BY_HUB = MEMBER_EVENTS | {
    HubEvent.GET_SERVER_STATE,
    HubEvent.GET_CAPABILITIES,
    HubEvent.GET_MEMBERS,
}
"""What no capability can be called."""

EVERY_ROOM = "*"
"""Whoever is in it hears MASTER_CHANGED of every room."""

RESERVED = frozenset(
    {"connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"}
)
"""A JavaScript client that receives an event of such a name drops its connection."""


@attrs.frozen
class Registration:
    """CLIENT_REGISTER: who a client says it is; ``extras`` are kept and shown to others."""

    usuario: str
    sesion: str
    extras: Mapping[str, Any]

    @property
    def name(self) -> str:
        """What others see as ``requesterName``."""
        return self.usuario + self.sesion

    @property
    def speaks_meta(self) -> bool:
        """Whether the client announced `PROTOCOL`."""
        return self.extras.get("protocol") == PROTOCOL


@attrs.define
class Position:
    """How far a client has heard a room: the history's name, and the number of the last event."""

    history: str
    number: int


@attrs.frozen
class Subscription:
    """CLIENT_SUSCRIBE; ``out`` leaves the room, ``since`` asks for what was missed."""

    room: str
    out: bool
    since: Position | None = None


@attrs.frozen
class Declaration:
    """MAKE_MASTER: the room and the capability names as declared.

    Attributes:
        room: The room.
        features: Names of capabilities.
        group: ``single``, ``standby`` or ``shared``.
        out: Whether the room is mastered no more.
        descriptions: By capability, what its master says of it.
    """

    room: str
    features: tuple[str, ...]
    group: str = "single"
    out: bool = False
    descriptions: Mapping[str, Mapping[str, Any]] = attrs.Factory(dict)


class RoomMessage(msgspec.Struct, frozen=True):
    """ROOM_MESSAGE; ``extras`` are the envelope's further keys, passed on to a master."""

    event: str
    room: str
    data: Any
    extras: Mapping[str, Any]


def capability_event(capability: str) -> str:
    """The event that asks: ``X`` is asked as ``GET_X``, ``GET_X`` as itself."""
    return capability if capability.startswith("GET_") else f"GET_{capability}"


def capability_name(capability: str) -> str:
    """One name for what may be declared as ``X`` or as ``GET_X``."""
    return capability.removeprefix("GET_")


@functools.lru_cache
def request_event(capability: str) -> str:
    """The event that asks, if any peer survives its name.

    Raises:
        UnknownEvent: As `check_event`.
    """
    return check_event(capability_event(capability))


def answer_event(event: str) -> str:
    """The event that carries the answer where nothing is acknowledged: ``SET_X`` for ``GET_X``."""
    return f"SET_{capability_name(event)}"


def check_event(event: Any) -> str:
    """An event name that any peer survives.

    Raises:
        UnknownEvent: It is no string, empty, too long, or reserved by Socket.IO or the hub.
    """
    if not isinstance(event, str) or not event or len(event) > MAX_NAME:
        raise UnknownEvent(f"an event name is a string of 1 to {MAX_NAME} characters")
    if event in RESERVED or event in HUB_ONLY:
        raise UnknownEvent(f"{event} is a reserved event name; choose another one")
    return event


def check_room_name(room: Any) -> str:
    """A room name.

    Raises:
        InvalidPayload: It is no string, empty or too long.
    """
    return _name(room, "room")


def parse_registration(payload: Any) -> Registration:
    """Parse CLIENT_REGISTER ``{usuario, sesion?, …}``.

    Raises:
        InvalidPayload: With every problem in ``details``.
        PayloadTooLarge: Its further fields are too long, or nested too deeply to be repeated.
    """
    fields = _object(payload)
    sesion = fields.get("sesion")
    if sesion is None or (isinstance(sesion, int | float) and not isinstance(sesion, bool)):
        sesion = "" if sesion is None else str(sesion)
    extras = {k: v for k, v in fields.items() if k not in ("usuario", "sesion")}
    if not is_plain(extras, MAX_DEPTH // 2) or len(write_json(extras)) > MAX_EXTRAS:
        raise PayloadTooLarge(f"what a registration says besides is {MAX_EXTRAS} bytes at most")
    return Registration(
        usuario=_name(fields.get("usuario"), "usuario"),
        sesion=sesion if sesion == "" else _name(sesion, "sesion"),
        extras=extras,
    )


def parse_subscription(payload: Any) -> Subscription:
    """Parse CLIENT_SUSCRIBE ``{room, out?, since?: {history, number}}``.

    Raises:
        InvalidPayload: With every problem in ``details``.
    """
    fields = _object(payload)
    since = fields.get("since")
    position = None
    if since is not None:
        history = since.get("history") if isinstance(since, dict) else None
        number = since.get("number") if isinstance(since, dict) else None
        if not isinstance(history, str) or type(number) is not int:
            raise _invalid("since", "expected {history, number} as the hub gave it")
        position = Position(history, number)
    return Subscription(
        room=check_room_name(fields.get("room")), out=fields.get("out") is True, since=position
    )


def parse_declaration(payload: Any, *, room: Any = None) -> Declaration:
    """Parse MAKE_MASTER ``{room, features?, group?, out?, descriptions?}``.

    DevOps peers write ``capabilities`` for ``features``.

    Args:
        payload: What arrived.
        room: The envelope's room, where the declaration came in ROOM_MESSAGE.

    Raises:
        InvalidPayload: With every problem in ``details``.
    """
    fields = _object({} if payload is None and room is not None else payload)
    features = fields.get("features")
    if features is None:
        features = fields.get("capabilities") or []
    if not isinstance(features, list) or not all(isinstance(f, str) and f for f in features):
        raise _invalid("features", "expected an array of capability names")
    group = fields.get("group", "single")
    if group not in GROUPS:
        raise _invalid("group", f"expected one of {', '.join(GROUPS)}")
    told = fields.get("descriptions", {})
    if not isinstance(told, dict) or not all(isinstance(each, dict) for each in told.values()):
        raise _invalid("descriptions", "expected an object of objects")
    return Declaration(
        room=check_room_name(fields.get("room") if room is None else room),
        features=tuple(dict.fromkeys(features)),
        group=group,
        out=fields.get("out") is True,
        descriptions={name: _description(each) for name, each in told.items()},
    )


def _description(told: Mapping[str, Any]) -> dict[str, Any]:
    """What a master says of a capability, without what nobody could read."""
    wanted = {
        "summary": str,
        "request": dict,
        "reply": dict,
        "timeoutMs": int,
        "idempotent": bool,
        "streams": bool,
    }
    return {key: told[key] for key, kind in wanted.items() if type(told.get(key)) is kind}


def parse_room_message(payload: Any) -> RoomMessage:
    """Parse ROOM_MESSAGE ``{event, room, data?}``; older peers write ``args`` for ``data``.

    Of an unread payload (`msgspec.Raw`) only event and room are read.

    Raises:
        InvalidPayload: No object, or no valid room.
        UnknownEvent: The inner event's name is none or reserved.
    """
    fields = _fields(payload)
    event = check_event(read_value(fields.get("event")))
    room = read_value(fields.get("room"))
    if event == HubEvent.GET_SERVER_STATE and room is None:
        room = "*"
    return RoomMessage(
        event=event,
        room=check_room_name(room),
        data=fields["data"] if "data" in fields else fields.get("args"),
        extras={k: v for k, v in fields.items() if k not in ("event", "room", "data", "args")},
    )


def make_success(fields: Any = None) -> Answer:
    """An answer that says yes.

    Args:
        fields: An object's fields; anything else is put under ``result``.
    """
    if fields is None:
        return {"success": True}
    if isinstance(fields, Mapping):
        return {"success": True, **fields}
    return {"success": True, "result": fields}


def normalise(args: Sequence[Any]) -> Answer:
    """One answer object from whatever a master acknowledged with.

    No argument, several, or no object: put under ``result``. An object without ``success``
    succeeded unless it has an ``error``. A failure gets ``error`` and ``code`` if it lacks them.
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
        if not isinstance(answer.get("code"), str):
            answer["code"] = "error"
    return answer


def is_failure(answer: Mapping[str, Any]) -> bool:
    """Whether an answer says no."""
    return answer["success"] is not True


def parse_trace_context(said: Mapping[str, Any]) -> dict[str, str]:
    """What a meta says of the trace that a request belongs to; nothing if it says it wrongly."""
    found = {}
    for key, shape in zip(TRACE_CONTEXT, (_TRACEPARENT, _TRACESTATE), strict=True):
        value = said.get(key)
        if not isinstance(value, str) or shape.fullmatch(value) is None:
            break  # a tracestate alone means nothing
        found[key] = value
    return found


def spread(data: Any) -> dict[str, Any]:
    """What JavaScript's ``{...data}`` makes of a value; UIs rely on it for SET_ events."""
    if isinstance(data, dict):
        return data
    if isinstance(data, list | str):
        return {str(index): item for index, item in enumerate(data)}
    return {}


def _fields(payload: Any) -> dict[str, Any]:
    """An object's fields, unread if it is."""
    if not isinstance(payload, msgspec.Raw):
        return _object(payload)
    try:
        return _unread_fields(payload)
    except msgspec.ValidationError:
        raise _invalid("", "expected an object") from None
    except msgspec.DecodeError as exc:
        raise InvalidPayload(f"not valid JSON: {exc}") from None


_unread_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def _object(payload: Any) -> dict[str, Any]:
    if not isinstance(payload, dict):
        raise _invalid("", "expected an object")
    return payload


def _name(value: Any, path: str) -> str:
    if not isinstance(value, str) or not value or len(value) > MAX_NAME:
        raise _invalid(path, f"expected a string of 1 to {MAX_NAME} characters")
    return value


def _invalid(path: str, message: str) -> InvalidPayload:
    return InvalidPayload(f"{path or 'payload'}: {message}", [{"path": path, "message": message}])
