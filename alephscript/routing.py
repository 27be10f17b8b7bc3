"""The mesh as a state machine: one input in, a list of effects out.

Theory of operation. A `Mesh` is one namespace of one hub. It knows its peers (by the socket id
that the shell gave them), their rooms, each room's master and every request that waits for an
answer. A shell feeds it what happens and carries out what it returns, in order:

===================  ==========================================================
input                what it means
===================  ==========================================================
`connected`          a socket joined the namespace
`received`           a socket sent an event, perhaps asking for acknowledgement
`acknowledged`       a socket acknowledged an `Emit` that carried a request
`expired`            a deadline that `Arm` asked for has passed
`disconnected`       a socket is gone, however it went
===================  ==========================================================

=============  ================================================================
effect         what the shell does
=============  ================================================================
`Emit`         sends an event to one or many sockets; with ``request``, asks for an
               acknowledgement under that number
`Acknowledge`  answers an event that asked for acknowledgement, exactly once each
`Arm`          calls `expired` with the request's number after so many seconds
`Disarm`       forgets that
=============  ================================================================

A request is born by a GET_ event, direct or inside ROOM_MESSAGE, and ends by the first of: the
master's acknowledgement; for stock masters a SET_ of the same name from the master's socket; its
deadline; the loss of its master or its asker. What comes later is counted and dropped.

Whoever masters a room declared itself in one of two dialects and is spoken to in that one: after
a direct MAKE_MASTER it gets ``GET_X payload`` and acknowledges; after a ROOM_MESSAGE it gets the
whole envelope and may answer with a SET_X to the room. An asker that wants no acknowledgement
sees the answer as one SET_X event.

Peers that announced `wire.PROTOCOL` get a meta object as second argument: of a GET_ that they
serve ``{id, room, caller, timeoutMs}``, of what is said in a room ``{room, sender}``. They may
send one with a direct GET_: ``{room, timeoutMs}``.

All mesh state changes here and nowhere else. Pure: no socket, no clock, no task. Arguments may
come unread (`msgspec.Raw`): what is only passed on stays so, what matters is read.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from typing import Any, NamedTuple

import attrs
import msgspec

from alephscript import wire
from alephscript.errors import (
    AmbiguousRoom,
    DeadlineExceeded,
    InvalidPayload,
    MasterLost,
    NoMaster,
    NotSubscribed,
    RequestError,
    StateError,
    UnknownEvent,
)
from alephscript.wire import Answer, HubEvent

__all__ = ["Acknowledge", "Arm", "Disarm", "Effect", "Emit", "Mesh"]


class Emit(NamedTuple):
    """Send an event.

    Attributes:
        to: Socket ids, at least one.
        event: Name of the event.
        args: Its arguments; a single None is an argument too.
        request: Number to ask an acknowledgement under (then ``to`` is one socket), or None.
    """

    to: tuple[str, ...]
    event: str
    args: tuple[Any, ...]
    request: int | None = None


class Acknowledge(NamedTuple):
    """Answer the event that ``sid`` sent with acknowledgement id ``ack``."""

    sid: str
    ack: int
    answer: Answer | msgspec.Raw


class Arm(NamedTuple):
    """Call `Mesh.expired` with this request after so many seconds."""

    request: int
    seconds: float


class Disarm(NamedTuple):
    """The request has ended; its deadline means nothing any more."""

    request: int


Effect = Emit | Acknowledge | Arm | Disarm


class _Dialect(Enum):
    """How a master declared itself, hence how it is asked."""

    DIRECT = "direct"
    ENVELOPE = "envelope"


@attrs.define(eq=False)
class _Peer:
    sid: str
    engine_id: str
    registration: wire.Registration | None = None
    speaks_meta: bool = False
    rooms: dict[str, None] = attrs.Factory(dict)
    masters: dict[str, None] = attrs.Factory(dict)
    asked: dict[int, None] = attrs.Factory(dict)
    serving: dict[int, None] = attrs.Factory(dict)

    @property
    def name(self) -> str:
        return self.registration.name if self.registration else "--"


@attrs.define(eq=False)
class _Room:
    name: str
    members: dict[str, None] = attrs.Factory(dict)
    master: _Peer | None = None
    dialect: _Dialect = _Dialect.DIRECT
    features: tuple[str, ...] = ()


@attrs.define(eq=False)
class _Request:
    """A question on its way; ``ack`` is the asker's acknowledgement id, None if it wants none."""

    number: int
    asker: _Peer
    ack: int | None
    master: _Peer
    room: str
    event: str
    dialect: _Dialect
    own_id: Any = None
    answer_seen: bool = False


_LONGEST_MS = 24 * 3600 * 1000
"""JSON integers have no end, clocks have."""

_Handler = Callable[["Mesh", _Peer, Sequence[Any], int | None], list[Effect]]


class Mesh:
    """One namespace of a hub.

    Args:
        namespace: Its name, ``/runtime`` or ``/``.
        default_timeout: Seconds that a request may take when its asker names none.
        require_subscription: Whether an asker has to be in the room that it asks.

    Attributes:
        late_answers: Answers dropped because their request had ended, or never was theirs.
    """

    def __init__(
        self,
        namespace: str = wire.RUNTIME,
        *,
        default_timeout: float = wire.DEFAULT_TIMEOUT,
        require_subscription: bool = False,
    ) -> None:
        self.namespace = namespace
        self.late_answers = 0
        self._default_timeout = default_timeout
        self._require_subscription = require_subscription
        self._peers: dict[str, _Peer] = {}
        self._rooms: dict[str, _Room] = {}
        self._offers: dict[str, dict[str, None]] = {}  # capability -> rooms that offer it
        self._requests: dict[int, _Request] = {}
        self._numbers = itertools.count(1)  # never 0: an ack id 0 confuses stock peers

    @property
    def clients(self) -> int:
        """How many sockets are connected."""
        return len(self._peers)

    # Inputs

    def connected(self, sid: str, engine_id: str = "") -> list[Effect]:
        """A socket joined.

        Args:
            sid: Its id, unique among the living.
            engine_id: Its transport's id, shown in SET_SERVER_STATE only.

        Raises:
            StateError: The id is taken, which only a broken shell can bring about.
        """
        if sid in self._peers:
            raise StateError(f"socket {sid} is connected already")
        self._peers[sid] = _Peer(sid, engine_id or sid)
        return []

    def received(
        self, sid: str, event: Any, args: Sequence[Any] = (), ack: int | None = None
    ) -> list[Effect]:
        """A socket sent an event.

        Args:
            sid: Who sent it; a socket that is not connected is ignored.
            event: What it sent as the event's name, of any type.
            args: The arguments after the name, any JSON, read or unread.
            ack: The acknowledgement id it wants answered, None if it wants none.
        """
        peer = self._peers.get(sid)
        if peer is None:
            return []
        try:
            name = wire.check_event(event)
            handler = _HANDLERS.get(name)
            if handler is not None:
                return handler(self, peer, args, ack)
            if name.startswith("GET_"):
                return self._asked_directly(peer, name, args, ack)
            raise UnknownEvent(
                f"the hub has no meaning for {name}; to tell a room, send ROOM_MESSAGE"
            )
        except RequestError as error:
            return self.refused(sid, ack, error)

    def refused(self, sid: str, ack: int | None, error: RequestError) -> list[Effect]:
        """A socket sent what could not even be read, or may not be done."""
        if ack is None or sid not in self._peers:
            return []
        return [Acknowledge(sid, ack, error.answer())]

    def acknowledged(self, sid: str, request: int, args: Sequence[Any] = ()) -> list[Effect]:
        """A socket answered an `Emit` that carried a request; answers of others are dropped."""
        pending = self._requests.get(request)
        if pending is None or pending.master.sid != sid:
            self.late_answers += 1
            return []
        return self._end(pending, _answer(pending, args))

    def expired(self, request: int) -> list[Effect]:
        """The deadline of a request passed."""
        pending = self._requests.get(request)
        if pending is None:
            return []
        return self._end(
            pending,
            DeadlineExceeded(
                f"{pending.room} did not answer {pending.event} in time", [{"delivered": True}]
            ).answer(),
        )

    def disconnected(self, sid: str) -> list[Effect]:
        """A socket is gone: its requests end, its rooms forget it, nothing of it stays."""
        peer = self._peers.pop(sid, None)
        if peer is None:
            return []
        effects: list[Effect] = []
        for number in list(peer.asked):
            effects += self._forget(self._requests[number])
        for room in list(peer.rooms):
            self._leave(peer, room)
        for room in list(peer.masters):
            self._withdraw(self._rooms[room])
        for number in list(peer.serving):
            pending = self._requests[number]
            lost = MasterLost(
                f"the master of {pending.room} is gone; {pending.event} may have run",
                [{"delivered": True}],
            )
            effects += self._end(pending, lost.answer())
        return effects

    # Who is there

    def _register(self, peer: _Peer, args: Sequence[Any], ack: int | None) -> list[Effect]:
        peer.registration = wire.registration(_first(args))
        peer.speaks_meta = peer.registration.speaks_meta
        return _acknowledge(peer, ack, {"protocol": wire.PROTOCOL, "socketId": peer.sid})

    def _subscribe(self, peer: _Peer, args: Sequence[Any], ack: int | None) -> list[Effect]:
        wanted = wire.subscription(_first(args))
        if wanted.out:
            return self._unsubscribe(peer, args, ack)
        self._room(wanted.room).members[peer.sid] = None
        peer.rooms[wanted.room] = None
        told = {"room": wanted.room}
        return [
            Emit((peer.sid,), HubEvent.SUBSCRIBE_OK, (told,)),
            Emit((peer.sid,), HubEvent.ROOM_JOINED, (told,)),
            *_acknowledge(peer, ack, told),
        ]

    def _unsubscribe(self, peer: _Peer, args: Sequence[Any], ack: int | None) -> list[Effect]:
        told = {"room": wire.subscription(_first(args)).room}
        self._leave(peer, told["room"])
        return [
            Emit((peer.sid,), HubEvent.ROOM_LEFT, (told,)),
            *_acknowledge(peer, ack, told),
        ]

    def _make_master(self, peer: _Peer, args: Sequence[Any], ack: int | None) -> list[Effect]:
        return self._appoint(peer, wire.declaration(_first(args)), _Dialect.DIRECT, ack)

    def _appoint(
        self, peer: _Peer, declared: wire.Declaration, dialect: _Dialect, ack: int | None
    ) -> list[Effect]:
        # The last declaration wins: a restarted bot takes over before its dead socket is noticed.
        room = self._room(declared.room)
        self._withdraw(room, keep=True)
        room.master, room.dialect, room.features = peer, dialect, declared.features
        peer.masters[room.name] = None
        for feature in declared.features:
            self._offers.setdefault(wire.capability_name(feature), {})[room.name] = None
        return _acknowledge(peer, ack, {"room": room.name, "features": list(declared.features)})

    def _withdraw(self, room: _Room, *, keep: bool = False) -> None:
        for feature in room.features:
            rooms = self._offers.get(wire.capability_name(feature), {})
            rooms.pop(room.name, None)
            if not rooms:
                self._offers.pop(wire.capability_name(feature), None)
        if room.master is not None:
            room.master.masters.pop(room.name, None)
        room.master, room.features = None, ()
        if not keep:
            self._drop_if_empty(room)

    def _room(self, name: str) -> _Room:
        if name in self._peers:
            # Stock hubs let a spy join, or master, another socket's own room.
            raise InvalidPayload("a socket's id is no room", [_at("room", "is a socket's id")])
        room = self._rooms.get(name)
        if room is None:
            room = self._rooms[name] = _Room(name)
        return room

    def _leave(self, peer: _Peer, name: str) -> None:
        peer.rooms.pop(name, None)
        room = self._rooms.get(name)
        if room is not None:
            room.members.pop(peer.sid, None)
            self._drop_if_empty(room)

    def _drop_if_empty(self, room: _Room) -> None:
        if not room.members and room.master is None:
            self._rooms.pop(room.name, None)

    # What is said in a room

    def _room_message(self, peer: _Peer, args: Sequence[Any], ack: int | None) -> list[Effect]:
        message = wire.room_message(args[0] if args else None)
        if message.event == HubEvent.MAKE_MASTER:
            declared = wire.declaration(wire.value(message.data), room=message.room)
            return self._appoint(peer, declared, _Dialect.ENVELOPE, ack)
        if message.event == HubEvent.GET_SERVER_STATE:
            return self._server_state(peer, args, ack)
        if message.event.startswith("GET_"):
            return self._asked_by_envelope(peer, message, ack)
        if message.event.startswith("SET_"):
            return self._answered_by_event(peer, message, ack)
        members = self._members(message.room)
        told = self._tell(members, message, message.data, peer)
        return told + _acknowledge(peer, ack, {"room": message.room, "members": len(members)})

    def _answered_by_event(
        self, peer: _Peer, message: wire.RoomMessage, ack: int | None
    ) -> list[Effect]:
        others = [member for member in self._members(message.room) if member != peer.sid]
        said = wire.value(message.data)
        fields = wire.spread(said)
        answer = {**fields, "sender": peer.sid}
        told = self._tell(others, message, answer, peer)
        request, certain = self._answered(peer, message, fields)
        if request is not None:
            request.answer_seen = True
            if request.ack is None and request.asker.sid not in (*others, peer.sid):
                # Outside the room it would never see the answer that it waits for.
                told += self._tell([request.asker.sid], message, answer, peer)
            if certain and not peer.speaks_meta:
                told += self._end(request, wire.normalised([said]))
        return told + _acknowledge(peer, ack, {"room": message.room, "members": len(others)})

    def _answered(
        self, peer: _Peer, message: wire.RoomMessage, fields: Mapping[str, Any]
    ) -> tuple[_Request | None, bool]:
        """The request that a SET_ of a room's master answers, and whether that is certain."""
        in_flight = [
            request
            for request in map(self._requests.__getitem__, peer.serving)
            if request.room == message.room and wire.answer_event(request.event) == message.event
        ]
        named = wire.value(message.extras.get("requestId"))
        if isinstance(named, str) and named.isdecimal():
            # Ours, echoed with the envelope: that request, or one that has ended already.
            return next((each for each in in_flight if str(each.number) == named), None), True
        own = fields.get("requestId")
        if own is not None:
            same = [each for each in in_flight if each.own_id == own]
            if len(same) == 1:
                return same[0], True
            in_flight = same or [each for each in in_flight if each.own_id is None]
        oldest = next((each for each in in_flight if not each.answer_seen), None)
        # A master that acknowledges answers in its own order: which of several requests its SET_
        # belongs to is a guess, and the acknowledgement will say.
        certain = len(in_flight) == 1 or (
            oldest is not None and oldest.dialect is _Dialect.ENVELOPE
        )
        return oldest, certain

    def _tell(
        self, to: Iterable[str], message: wire.RoomMessage, data: Any, sender: _Peer
    ) -> list[Effect]:
        """Say something in a room; peers of our protocol also learn which room and who said it."""
        stock: list[str] = []
        ours: list[str] = []
        for sid in to:
            (ours if self._peers[sid].speaks_meta else stock).append(sid)
        told: list[Effect] = []
        if stock:
            told.append(Emit(tuple(stock), message.event, (data,)))
        if ours:
            meta = {"room": message.room, "sender": sender.name}
            told.append(Emit(tuple(ours), message.event, (data, meta)))
        return told

    def _members(self, room: str) -> dict[str, None]:
        found = self._rooms.get(room)
        return found.members if found else {}

    # What is asked

    def _asked_directly(
        self, peer: _Peer, event: str, args: Sequence[Any], ack: int | None
    ) -> list[Effect]:
        payload = args[0] if args else {}
        meta = wire.value(args[1]) if len(args) > 1 and peer.speaks_meta else {}
        meta = meta if isinstance(meta, dict) else {}
        try:
            room = self._room_that_answers(peer, event, meta.get("room"))
        except RequestError as error:
            return self._not_asked(peer, event, ack, error)
        question = wire.RoomMessage(event, room.name, payload, {})
        return self._ask(peer, room, question, ack, meta.get("timeoutMs"))

    def _asked_by_envelope(
        self, peer: _Peer, message: wire.RoomMessage, ack: int | None
    ) -> list[Effect]:
        try:
            room = self._room_that_answers(peer, message.event, message.room)
        except RequestError as error:
            return self._not_asked(peer, message.event, ack, error)
        if room.master is peer and ack is None:
            return []  # as stock hubs do: a master hears no echo of its own question
        return self._ask(peer, room, message, ack)

    def _room_that_answers(self, peer: _Peer, event: str, wanted: Any) -> _Room:
        """The room whose master is to answer.

        Raises:
            NoMaster: Nobody offers it, or the room that was named has no master.
            AmbiguousRoom: Several masters offer it in rooms that the asker is not in.
            NotSubscribed: The hub wants askers in the room.
        """
        if wanted is not None:
            room = self._rooms.get(wire.room_name(wanted))
            if room is None or room.master is None:
                raise NoMaster(f"{wanted} has no master")
        else:
            room = self._room_that_offers(peer, event)
        if self._require_subscription and room.name not in peer.rooms:
            raise NotSubscribed(f"subscribe to {room.name} before asking it")
        return room

    def _room_that_offers(self, peer: _Peer, event: str) -> _Room:
        offering = self._offers.get(wire.capability_name(event), {})
        for name in peer.rooms:
            if name in offering:
                return self._rooms[name]
        rooms = [self._rooms[name] for name in offering]
        if not rooms:
            raise NoMaster(f"nobody offers {wire.capability_name(event)}")
        if len({id(room.master) for room in rooms}) > 1:
            names = [room.name for room in rooms]
            raise AmbiguousRoom(
                f"{wire.capability_name(event)} is offered in {', '.join(names)}: name the room",
                names,
            )
        return rooms[0]

    def _not_asked(
        self, peer: _Peer, event: str, ack: int | None, error: RequestError
    ) -> list[Effect]:
        if ack is not None:
            return self.refused(peer.sid, ack, error)
        return [Emit((peer.sid,), wire.answer_event(event), (error.answer(),))]

    def _ask(
        self,
        peer: _Peer,
        room: _Room,
        question: wire.RoomMessage,
        ack: int | None,
        timeout_ms: Any = None,
    ) -> list[Effect]:
        master, event, payload = room.master, question.event, question.data
        assert master is not None
        seconds = _seconds(timeout_ms, self._default_timeout)
        if seconds <= 0:
            error = DeadlineExceeded("the deadline had passed already", [{"delivered": False}])
            return self._not_asked(peer, event, ack, error)
        number = next(self._numbers)
        request = _Request(number, peer, ack, master, room.name, event, room.dialect)
        if not master.speaks_meta and isinstance(read := wire.value(payload), dict):
            request.own_id = read.get("requestId")
        self._requests[number] = request
        peer.asked[number] = master.serving[number] = None
        args: tuple[Any, ...]
        if room.dialect is _Dialect.ENVELOPE:
            args = (
                {
                    **question.extras,
                    "event": event,
                    "room": room.name,
                    "data": payload,
                    "namespace": self.namespace.strip("/"),
                    "requester": peer.sid,
                    "requesterName": peer.name,
                    "requestId": str(number),
                },
            )
        elif master.speaks_meta:
            told = {"id": str(number), "room": room.name, "caller": peer.name}
            args = (payload, {**told, "timeoutMs": round(seconds * 1000)})
        else:
            args = (payload,)
        return [Emit((master.sid,), event, args, number), Arm(number, seconds)]

    def _end(self, request: _Request, answer: Answer | msgspec.Raw) -> list[Effect]:
        """Answer a request, in the way its asker can hear."""
        effects = self._forget(request)
        if request.ack is not None:
            effects.append(Acknowledge(request.asker.sid, request.ack, answer))
        elif not request.answer_seen:
            heard = [m for m in self._members(request.room) if m != request.master.sid]
            if request.asker.sid not in heard:
                heard.append(request.asker.sid)
            event = wire.answer_event(request.event)
            message = wire.RoomMessage(event, request.room, None, {})
            fields = {**wire.value(answer), "sender": request.master.sid}
            effects += self._tell(heard, message, fields, request.master)
        return effects

    def _forget(self, request: _Request) -> list[Effect]:
        del self._requests[request.number]
        request.asker.asked.pop(request.number, None)
        request.master.serving.pop(request.number, None)
        return [Disarm(request.number)]

    # What the hub itself answers

    def _server_state(self, peer: _Peer, _: Sequence[Any], ack: int | None) -> list[Effect]:
        state = self.state_for(peer.sid)
        return [
            Emit((peer.sid,), HubEvent.SET_SERVER_STATE, (state,)),
            *_acknowledge(peer, ack, state),
        ]

    def state_for(self, sid: str) -> dict[str, Any]:
        """SET_SERVER_STATE as one socket gets it; ``master`` and ``features`` are ours."""
        peer = self._peers[sid]
        sesiones: dict[str, list[str]] = {}
        for each in self._registered():
            sesiones.setdefault(each.usuario, []).append(each.sesion)
        return {
            "action": HubEvent.SET_SERVER_STATE.value,
            "socketId": peer.sid,
            "clientId": peer.engine_id,
            "clients": len(self._peers),
            "sockets": [],
            "socketsPerNamespace": [
                {
                    "name": self.namespace,
                    "socketsCount": len(self._peers),
                    "sockets": [{"id": f"/{each.name}"} for each in self._registered()],
                }
            ],
            "miembros": [{"usuario": u, "sesiones": s} for u, s in sesiones.items()],
            "rooms": [self._room_state(room) for room in self._rooms.values()],
        }

    def _room_state(self, room: _Room) -> dict[str, Any]:
        return {
            "roomId": room.name,
            "miembros": [
                {
                    **registration.extras,
                    "usuario": registration.usuario,
                    "sesion": registration.sesion,
                    "name": registration.name,
                }
                for member in room.members
                if (registration := self._peers[member].registration)
            ],
            "master": room.master.name if room.master else None,
            "features": list(room.features),
        }

    def _registered(self) -> list[wire.Registration]:
        return [peer.registration for peer in self._peers.values() if peer.registration]


_HANDLERS: Mapping[str, _Handler] = {
    HubEvent.CLIENT_REGISTER: Mesh._register,  # noqa: SLF001
    HubEvent.CLIENT_SUBSCRIBE: Mesh._subscribe,  # noqa: SLF001
    HubEvent.CLIENT_UNSUBSCRIBE: Mesh._unsubscribe,  # noqa: SLF001
    HubEvent.MAKE_MASTER: Mesh._make_master,  # noqa: SLF001
    HubEvent.ROOM_MESSAGE: Mesh._room_message,  # noqa: SLF001
    HubEvent.GET_SERVER_STATE: Mesh._server_state,  # noqa: SLF001
}


def _acknowledge(peer: _Peer, ack: int | None, fields: Mapping[str, Any]) -> list[Effect]:
    return [] if ack is None else [Acknowledge(peer.sid, ack, wire.success(fields))]


def _first(args: Sequence[Any]) -> Any:
    return wire.value(args[0]) if args else None


def _answer(request: _Request, args: Sequence[Any]) -> Answer | msgspec.Raw:
    """What a master answered, in the shape of answers; a success of our own has it already."""
    if request.ack is not None and request.master.speaks_meta and len(args) == 1:
        (only,) = args
        if isinstance(only, msgspec.Raw) and bytes(only).startswith(_SHAPED):
            return only
    try:
        return wire.normalised([wire.value(each) for each in args])
    except RequestError as error:
        return error.answer()


_SHAPED = (b'{"success":true,', b'{"success":true}')


def _at(path: str, message: str) -> dict[str, str]:
    return {"path": path, "message": message}


def _seconds(milliseconds: Any, default: float) -> float:
    if type(milliseconds) not in (int, float):
        return default
    return float(min(milliseconds, _LONGEST_MS)) / 1000
