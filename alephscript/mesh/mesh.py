"""The mesh as a state machine: one input in, a list of effects out.

Theory of operation. A `Mesh` is one namespace of one hub. It knows its peers (by the socket id
that the shell gave them), their rooms, each room's masters and every request that waits for an
answer. A shell feeds it what happens and carries out the `effects` that it returns, in order:

===================  ==========================================================
input                what it means
===================  ==========================================================
`connected`          a socket joined the namespace
`received`           a socket sent an event, perhaps asking for acknowledgement
`acknowledged`       a socket acknowledged an `Ask`
`expired`            a deadline that `Ask` or `Arm` set has passed
`disconnected`       a socket is gone, however it went
===================  ==========================================================

A request is born by a GET_ event, direct or inside ROOM_MESSAGE, and ends by the first of: the
master's acknowledgement; for stock masters a SET_ of the same name from the master's socket; its
deadline; its cancellation; the loss of its asker; the loss or displacement of its master, unless
the capability is idempotent and somebody else serves it. One that may wait for a master waits
here, unasked. What comes later is counted and dropped.

Whoever masters a room declared itself in one of two dialects and is spoken to in that one: after
a direct MAKE_MASTER it gets ``GET_X payload`` and acknowledges; after a ROOM_MESSAGE it gets the
whole envelope and may answer with a SET_X to the room. An asker that wants no acknowledgement
sees the answer as one SET_X event.

Peers that announced `events.PROTOCOL` get a meta object as second argument, may send one with a
direct GET_, cancel, stream and report (docs/reference/protocol.md, "Meta").

All mesh state changes here and nowhere else. Pure: no socket, no clock, no task. Arguments may
come unread (`msgspec.Raw`): what is only passed on stays so, what matters is read.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from alephscript.errors import (
    DeadlineExceeded,
    PermissionDenied,
    RequestError,
    StateError,
    UnknownEvent,
)
from alephscript.mesh.access import Identity
from alephscript.mesh.effects import Acknowledge, Denied, Effect, Emit, Release, SurveyHubs, ToHub
from alephscript.mesh.federation import Federation
from alephscript.mesh.history import History
from alephscript.mesh.limits import DEFAULT_LIMITS, Limits
from alephscript.mesh.masters import Master
from alephscript.mesh.requests import (
    NO_META,
    OpenRequest,
    Requests,
    answer_of,
    cancellation,
    is_count,
    meta_of,
    request_of,
)
from alephscript.mesh.rooms import Authorize, Peer, Room, Rooms
from alephscript.protocol import events
from alephscript.protocol.events import HubEvent
from alephscript.protocol.json import read_value

__all__ = ["Mesh"]


_Handler = Callable[["Mesh", Peer, Sequence[Any], int | None], list[Effect]]


class Mesh:
    """One namespace of a hub.

    Args:
        namespace: Its name, ``/runtime`` or ``/``.
        default_timeout: Seconds that a request may take when its asker names none.
        require_subscription: Whether an asker has to be in the room that it asks.
        history: Events of each room that are kept for who was away; 0 keeps none.
        history_bytes: How many bytes of them, of each room.
        incarnation: Names this hub's histories, so that numbers of another one are known as such.
        limits: How much one peer may have.
        authorize: What each may do in a room; None lets all do everything.

    Attributes:
        rooms: Who is where.
        requests: What waits for an answer.
        late_answers: Answers dropped because their request had ended, or never was theirs.
        federation: The other hubs of this mesh, if there may be any.
    """

    def __init__(
        self,
        namespace: str = events.RUNTIME,
        *,
        default_timeout: float = events.DEFAULT_TIMEOUT,
        require_subscription: bool = False,
        history: int = 0,
        history_bytes: int = 1_000_000,
        incarnation: str = "",
        limits: Limits = DEFAULT_LIMITS,
        authorize: Authorize | None = None,
    ) -> None:
        self.namespace = namespace
        self.late_answers = 0
        self.rooms = Rooms(
            require_subscription=require_subscription,
            history=history,
            history_bytes=history_bytes,
            limits=limits,
            authorize=authorize,
        )
        self.requests = Requests(
            self.rooms,
            namespace=namespace,
            default_timeout=default_timeout,
            most=limits.requests_per_client,
        )
        self.federation: Federation | None = None
        self._incarnation = incarnation
        self._peers = self.rooms.peers

    @property
    def clients(self) -> int:
        """How many sockets are connected."""
        return len(self._peers)

    # Inputs

    def connected(
        self, sid: str, engine_id: str = "", identity: Identity | None = None
    ) -> list[Effect]:
        """A socket joined.

        Args:
            sid: Its id, unique among the living.
            engine_id: Its transport's id, shown in SET_SERVER_STATE only.
            identity: Who it is, if the hub asks that.

        Raises:
            StateError: The id is taken, which only a broken shell can bring about.
        """
        if sid in self._peers:
            raise StateError(f"socket {sid} is connected already")
        self._peers[sid] = Peer(sid, engine_id or sid, identity)
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
            if type(event) is str:
                handler = _HANDLERS.get(event)
                if handler is not None:
                    return handler(self, peer, args, ack)
            payload = args[0] if args else {}
            meta = meta_of(args[1]) if len(args) > 1 and peer.speaks_meta else NO_META
            name = _asking(event) if type(event) is str else events.check_event(event)
            question = events.RoomMessage(name, "", payload, _NOTHING)
            return self.requests.ask(peer, question, meta.room, ack, meta)
        except PermissionDenied as error:
            (detail,) = error.details
            return [
                _denied(sid, event, error.message, detail["room"]),
                *self.refused(sid, ack, error),
            ]
        except RequestError as error:
            effects = self.refused(sid, ack, error)
            if self.rooms.is_guarded and any(each.get("path") == "room" for each in error.details):
                effects.insert(0, _denied(sid, event, "room required", None))
            return effects

    def refused(self, sid: str, ack: int | None, error: RequestError) -> list[Effect]:
        """A socket sent what could not even be read, or may not be done."""
        if ack is None or sid not in self._peers:
            return []
        return [Acknowledge(sid, ack, error.answer())]

    def acknowledged(self, sid: str, request: int, args: Sequence[Any] = ()) -> list[Effect]:
        """A socket answered an `Ask`; answers of others are dropped."""
        peer = self._peers.get(sid)
        pending = None if peer is None else peer.serving.get(request)
        if pending is None:
            self.late_answers += 1
            return []
        return self.requests.end(pending, answer_of(pending, args))

    def expired(self, request: int) -> list[Effect]:
        """The deadline of a request passed."""
        pending = self.requests.get(request)
        if pending is None:
            return []
        if pending.master is None:
            message = f"nobody came in time to answer {pending.event}"
        else:
            message = f"{pending.room} did not answer {pending.event} in time"
        delivered = [{"delivered": pending.master is not None}]
        effects = cancellation(pending, "deadline")
        return effects + self.requests.end(pending, DeadlineExceeded(message, delivered).answer())

    def disconnected(self, sid: str) -> list[Effect]:
        """A socket is gone: its requests end, its rooms forget it, nothing of it stays."""
        peer = self._peers.pop(sid, None)
        if peer is None:
            return []
        effects = self.abandoned(peer)
        for name in list(peer.rooms):
            effects += self.rooms.leave(peer, name)
        rooms = [room for name in peer.masters if (room := self.rooms.get(name))]
        for room in rooms:
            effects += self.rooms.withdraw(peer, room)
        for request in list(peer.serving.values()):
            effects += self.requests.lost(request, f"the master of {request.room} is gone")
        for room in rooms:
            self.rooms.drop_if_empty(room)
        return effects

    def abandoned(self, peer: Peer) -> list[Effect]:
        """An asker is gone: nobody waits for its answers any more."""
        effects: list[Effect] = []
        for request in list(peer.asked.values()):
            if request.master is not None and request.master.peer is not peer:
                effects += cancellation(request, "asker_lost")
            effects += self.requests.forget(request, "asker_lost")
        return effects

    def federate(self, hub: str) -> Federation:
        """Be one of several hubs from now on; before anybody is connected.

        Args:
            hub: This hub's name, without ``~``.
        """
        self.rooms.is_federated = True
        self.federation = Federation(self, hub)
        return self.federation

    # Who is there

    def _register(self, peer: Peer, args: Sequence[Any], ack: int | None) -> list[Effect]:
        said, identity = _first(args), peer.identity
        if identity is not None and isinstance(said, dict):
            usuario = identity.usuario or said.get("usuario") or identity.suggested
            said = {**said, "usuario": usuario}
        peer.registration = events.parse_registration(said)
        peer.name = peer.registration.name
        peer.speaks_meta = peer.registration.speaks_meta
        return _acknowledge(peer, ack, {"protocol": events.PROTOCOL, "socketId": peer.sid})

    def _subscribe(self, peer: Peer, args: Sequence[Any], ack: int | None) -> list[Effect]:
        wanted = events.parse_subscription(_first(args))
        if wanted.out:
            return self._unsubscribe(peer, args, ack)
        self.rooms.check(peer, "subscribe", wanted.room)
        room = self.rooms.made(wanted.room)
        is_new = peer.sid not in room.members
        attend = self.rooms.enter(peer, room)
        told = {"room": wanted.room}
        effects: list[Effect] = [
            *attend,
            Emit((peer.sid,), HubEvent.SUBSCRIBE_OK, (told,)),
            Emit((peer.sid,), HubEvent.ROOM_JOINED, (told,)),
        ]
        answer: dict[str, Any] = dict(told)
        if room.history is not None and peer.speaks_meta:
            history = f"{self._incarnation}.{room.history.number}"
            answer |= {"history": history, "number": room.history.last}
            if wanted.since is not None and is_new:
                missed, replayed = self._replay(peer, room, room.history, wanted.since)
                answer["missed"] = missed
                effects += replayed
        elif wanted.since is not None:
            answer["missed"] = None
        return effects + _acknowledge(peer, ack, answer)

    def _replay(
        self, peer: Peer, room: Room, history: History, since: events.Position
    ) -> tuple[int | None, list[Effect]]:
        """How many events cannot be had any more, None if that is not known; and the others."""
        if since.history != f"{self._incarnation}.{history.number}" or since.number > history.last:
            return None, []
        told: list[Effect] = [
            Emit(
                (peer.sid,),
                said.event,
                (said.data, {"room": room.name, "sender": said.sender, "number": said.number}),
            )
            for said in history.since(since.number)
        ]
        return history.missed(since.number), told

    def _unsubscribe(self, peer: Peer, args: Sequence[Any], ack: int | None) -> list[Effect]:
        told = {"room": events.parse_subscription(_first(args)).room}
        return [
            *self.rooms.leave(peer, told["room"]),
            Emit((peer.sid,), HubEvent.ROOM_LEFT, (told,)),
            *_acknowledge(peer, ack, told),
        ]

    def _make_master(self, peer: Peer, args: Sequence[Any], ack: int | None) -> list[Effect]:
        return self._appoint(peer, events.parse_declaration(_first(args)), ack, by_envelope=False)

    def _appoint(
        self, peer: Peer, declared: events.Declaration, ack: int | None, *, by_envelope: bool
    ) -> list[Effect]:
        if declared.out:
            return self._resign(peer, declared.room, ack)
        self.rooms.check(peer, "master", declared.room)
        room = self.rooms.made(declared.room)
        if self.federation is not None:
            self.rooms.check_mastering(peer, room)
            self.rooms.drop_if_empty(room)
            return self.federation.claim(Master(peer, declared, by_envelope), ack)
        told, displaced = self.rooms.declare(room, Master(peer, declared, by_envelope))
        answer = {
            "room": room.name,
            "features": list(declared.features),
            "epoch": room.masters.epoch,
        }
        effects = _acknowledge(peer, ack, answer) + told
        for each in displaced:
            for request in [it for it in each.serving.values() if it.room == room.name]:
                effects += cancellation(request, "displaced")
                effects += self.requests.lost(request, f"another master took over {room.name}")
        return effects + self.requests.ask_who_waits()

    def _resign(self, peer: Peer, name: str, ack: int | None) -> list[Effect]:
        effects = _acknowledge(peer, ack, {"room": name})
        room = self.rooms.get(name)
        if room is not None and name in peer.masters:
            effects += self.rooms.withdraw(peer, room)
            self.rooms.drop_if_empty(room)
        elif self.federation is not None:
            effects.append(Release(peer.sid, name))  # of what was declared a moment ago, perhaps
        return effects

    # What is said in a room

    def _room_message(self, peer: Peer, args: Sequence[Any], ack: int | None) -> list[Effect]:
        message = events.parse_room_message(args[0] if args else None)
        event = message.event
        if event.startswith("GET_"):
            if event == HubEvent.GET_SERVER_STATE:
                return self._server_state(peer, args, ack)
            return self._asked_by_envelope(peer, message, ack)
        if event == HubEvent.MAKE_MASTER:
            declared = events.parse_declaration(read_value(message.data), room=message.room)
            return self._appoint(peer, declared, ack, by_envelope=True)
        self.rooms.check(peer, "speak", message.room, event)
        if event.startswith("SET_"):
            return self._answered_by_event(peer, message, ack)
        members = self.rooms.members(message.room)
        told = self.rooms.say(members, message, message.data, peer.name)
        return told + _acknowledge(peer, ack, {"room": message.room, "members": len(members)})

    def _answered_by_event(
        self, peer: Peer, message: events.RoomMessage, ack: int | None
    ) -> list[Effect]:
        others = [member for member in self.rooms.members(message.room) if member != peer.sid]
        said = read_value(message.data)
        fields = events.spread(said)
        answer = {**fields, "sender": peer.sid}
        told = self.rooms.say(others, message, answer, peer.name)
        request, certain = self._answered(peer, message, fields)
        if request is not None:
            request.answer_seen = True
            if (
                request.ack is None
                and request.asker.hub is None
                and request.asker.sid not in (*others, peer.sid)
            ):
                # Outside the room it would never see the answer that it waits for.
                to = [request.asker.sid]
                told += self.rooms.tell(to, message, answer, peer.name, is_echo=True)
            if certain and not peer.speaks_meta:
                told += self.requests.end(request, events.normalise([said]))
        return told + _acknowledge(peer, ack, {"room": message.room, "members": len(others)})

    def _answered(
        self, peer: Peer, message: events.RoomMessage, fields: Mapping[str, Any]
    ) -> tuple[OpenRequest | None, bool]:
        """The request that a SET_ of a room's master answers, and whether that is certain."""
        in_flight = [
            request
            for request in peer.serving.values()
            if request.room == message.room and events.answer_event(request.event) == message.event
        ]
        named = read_value(message.extras.get("requestId"))
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
            oldest is not None and oldest.master is not None and oldest.master.by_envelope
        )
        return oldest, certain

    # What is request_of

    def _asked_of_member(
        self, peer: Peer, args: Sequence[Any], ack: int | None, *, event: str
    ) -> list[Effect]:
        meta = meta_of(args[1]) if len(args) > 1 and peer.speaks_meta else NO_META
        question = events.RoomMessage(event, "", args[0] if args else {}, _NOTHING)
        member = self._member(meta.member, peer)
        return self.requests.ask_member(peer, question, member, ack, meta)

    def _member(self, sid: Any, asker: Peer) -> Peer | None:
        if not isinstance(sid, str):
            return None
        member = self._peers.get(sid)
        if member is None:
            return None if self.federation is None else self.federation.member(sid)
        return member if self.sees(asker, member) else None

    def _asked_by_envelope(
        self, peer: Peer, message: events.RoomMessage, ack: int | None
    ) -> list[Effect]:
        self.rooms.check(peer, "ask", message.room, events.capability_name(message.event))
        if ack is None:
            room = self.rooms.get(message.room)
            if room is not None and any(each.peer is peer for each in room.masters.serving):
                return []  # as stock hubs do: a master hears no echo of its own question
        return self.requests.ask(peer, message, message.room, ack, NO_META)

    # What is said about a request

    def _cancel_request(self, peer: Peer, args: Sequence[Any], ack: int | None) -> list[Effect]:
        effects = _acknowledge(peer, ack, {})
        request = request_of(peer, _first(args))
        if request is not None:
            effects += cancellation(request, "cancelled")
            effects += self.requests.forget(request, "cancelled")
        return effects

    def _more_parts(self, peer: Peer, args: Sequence[Any], ack: int | None) -> list[Effect]:
        effects = _acknowledge(peer, ack, {})
        said = _first(args)
        request = request_of(peer, said)
        if request is None or request.master is None or not is_count(said.get("parts")):
            return effects
        master = request.master.peer
        if master.hub is not None:
            frame = ("more", request.number, peer.sid, said["parts"])
            return [*effects, ToHub(master.hub, frame)]
        told = {"id": str(request.number), "parts": said["parts"]}
        return [*effects, Emit((master.sid,), HubEvent.REQUEST_MORE, (told,))]

    def _part(self, peer: Peer, args: Sequence[Any], ack: int | None) -> list[Effect]:
        return _acknowledge(peer, ack, {}) + self._to_asker(HubEvent.REQUEST_PART, peer, args)

    def _progress(self, peer: Peer, args: Sequence[Any], ack: int | None) -> list[Effect]:
        return _acknowledge(peer, ack, {}) + self._to_asker(HubEvent.REQUEST_PROGRESS, peer, args)

    def _to_asker(self, event: str, peer: Peer, args: Sequence[Any]) -> list[Effect]:
        """Pass on what a master says about a request that it serves."""
        meta = read_value(args[1]) if len(args) > 1 else None
        number = meta.get("id") if isinstance(meta, dict) else None
        if not (isinstance(number, str) and number.isdecimal() and len(number) < _DIGITS):
            return []
        request = peer.serving.get(int(number))
        if request is None or not request.asker.speaks_meta or request.ack is None:
            return []
        if request.asker.hub is not None:
            return [ToHub(request.asker.hub, ("note", request.ack, peer.sid, event, args[0]))]
        return [Emit((request.asker.sid,), event, (args[0], {"request": request.ack}))]

    # What the hub itself answers

    def _server_state(self, peer: Peer, _: Sequence[Any], ack: int | None) -> list[Effect]:
        if self.federation is not None and self.federation.hubs:
            return [SurveyHubs(peer.sid, ack, HubEvent.GET_SERVER_STATE, None)]
        return self.tell_state(peer, ack, [])

    def tell_state(self, peer: Peer, ack: int | None, others: Sequence[Peer]) -> list[Effect]:
        """Answer GET_SERVER_STATE.

        Args:
            peer: Who asks.
            ack: Its acknowledgement id, None if it wants none.
            others: Who is at other hubs.
        """
        state = self.state_for(peer.sid, others)
        return [
            Emit((peer.sid,), HubEvent.SET_SERVER_STATE, (state,)),
            *_acknowledge(peer, ack, state),
        ]

    def state_for(self, sid: str, others: Sequence[Peer] = ()) -> dict[str, Any]:
        """SET_SERVER_STATE as one socket gets it; ``master`` and ``features`` are ours."""
        peer = self._peers[sid]
        sesiones: dict[str, list[str]] = {}
        members: dict[str, list[Peer]] = {}
        for room in self.rooms:
            members[room.name] = [self._peers[member] for member in room.members]
        for other in others:
            for name in other.rooms:
                members.setdefault(name, []).append(other)
        seen = [each for each in (*self._peers.values(), *others) if self.sees(peer, each)]
        registered = [each.registration for each in seen if each.registration]
        for each in registered:
            sesiones.setdefault(each.usuario, []).append(each.sesion)
        return {
            "action": HubEvent.SET_SERVER_STATE.value,
            "socketId": peer.sid,
            "clientId": peer.engine_id,
            "clients": len(seen),
            "sockets": [],
            "socketsPerNamespace": [
                {
                    "name": self.namespace,
                    "socketsCount": len(seen),
                    "sockets": [{"id": f"/{each.name}"} for each in registered],
                }
            ],
            "miembros": [{"usuario": u, "sesiones": s} for u, s in sesiones.items()],
            "rooms": [
                self._room_state(name, inside)
                for name, inside in members.items()
                if self.rooms.may(peer, "subscribe", name)
            ],
        }

    def _capabilities(self, peer: Peer, args: Sequence[Any], ack: int | None) -> list[Effect]:
        """Who offers what: of one room or all, of one name or all."""
        wanted = _first(args)
        wanted = wanted if isinstance(wanted, dict) else {}
        offers = [
            offer
            for room in self.rooms
            if wanted.get("room") in (None, room.name) and self.rooms.may(peer, "ask", room.name)
            for offer in _offers(room)
            if wanted.get("capability") in (None, offer["capability"])
        ]
        return _acknowledge(peer, ack, {"offers": offers})

    def _members_of(self, peer: Peer, args: Sequence[Any], ack: int | None) -> list[Effect]:
        """Who is in a room, or connected: those of our protocol, by socket id."""
        wanted = _first(args)
        room = wanted.get("room") if isinstance(wanted, dict) else None
        if room is not None:
            self.rooms.check(peer, "subscribe", events.check_room_name(room))
        if self.federation is not None and self.federation.hubs:
            return [SurveyHubs(peer.sid, ack, HubEvent.GET_MEMBERS, room)]
        return self.tell_members(peer, ack, room, [])

    def tell_members(
        self, peer: Peer, ack: int | None, room: str | None, others: Sequence[Peer]
    ) -> list[Effect]:
        """Answer GET_MEMBERS.

        Args:
            peer: Who asks.
            ack: Its acknowledgement id, None if it wants none.
            room: The room that it asks about, None for all.
            others: Who is at other hubs.
        """
        sids = self._peers if room is None else self.rooms.members(room)
        found = [*(self._peers[sid] for sid in sids)]
        found += [each for each in others if room is None or room in each.rooms]
        members = [
            {"id": each.sid, "name": each.name}
            for each in found
            if each.speaks_meta and self.sees(peer, each)
        ]
        return _acknowledge(peer, ack, {"members": members})

    def sees(self, peer: Peer, other: Peer) -> bool:
        """Whether one may know of another: they may meet in a room that the other is in."""
        may = self.rooms.may
        if peer is other or may(peer, "subscribe", events.EVERY_ROOM):
            return True
        rooms = (*other.rooms, *other.masters)
        return any(may(peer, "subscribe", name) for name in rooms)

    def _room_state(self, name: str, members: Sequence[Peer]) -> dict[str, Any]:
        room = self.rooms.get(name)
        serving = room.masters.serving if room else ()
        return {
            "roomId": name,
            "miembros": [
                {
                    **registration.extras,
                    "usuario": registration.usuario,
                    "sesion": registration.sesion,
                    "name": registration.name,
                }
                for member in members
                if (registration := member.registration)
            ],
            "master": serving[0].peer.name if serving else None,
            "masters": [each.peer.name for each in serving],
            "epoch": room.masters.epoch if room else 0,
            "features": list(
                dict.fromkeys(name for each in serving for name in each.declared.features)
            ),
        }


_HANDLERS: Mapping[str, _Handler] = {
    HubEvent.CLIENT_REGISTER: Mesh._register,  # noqa: SLF001
    HubEvent.CLIENT_SUBSCRIBE: Mesh._subscribe,  # noqa: SLF001
    HubEvent.CLIENT_UNSUBSCRIBE: Mesh._unsubscribe,  # noqa: SLF001
    HubEvent.MAKE_MASTER: Mesh._make_master,  # noqa: SLF001
    HubEvent.ROOM_MESSAGE: Mesh._room_message,  # noqa: SLF001
    HubEvent.CANCEL_REQUEST: Mesh._cancel_request,  # noqa: SLF001
    HubEvent.REQUEST_MORE: Mesh._more_parts,  # noqa: SLF001
    HubEvent.REQUEST_PART: Mesh._part,  # noqa: SLF001
    HubEvent.REQUEST_PROGRESS: Mesh._progress,  # noqa: SLF001
    HubEvent.GET_SERVER_STATE: Mesh._server_state,  # noqa: SLF001
    HubEvent.GET_CAPABILITIES: Mesh._capabilities,  # noqa: SLF001
    HubEvent.GET_MEMBERS: Mesh._members_of,  # noqa: SLF001
    **{
        event: functools.partial(Mesh._asked_of_member, event=event)  # noqa: SLF001
        for event in events.MEMBER_EVENTS
    },
}


@functools.lru_cache(maxsize=1024)
def _asking(event: str) -> str:
    """A question's name; a mesh has few of them, and asks each often.

    Raises:
        UnknownEvent: Nobody can be request_of that.
    """
    name = events.check_event(event)
    if not name.startswith("GET_"):
        raise UnknownEvent(f"the hub has no meaning for {name}; to tell a room, send ROOM_MESSAGE")
    return name


def _acknowledge(peer: Peer, ack: int | None, fields: Mapping[str, Any]) -> list[Effect]:
    return [] if ack is None else [Acknowledge(peer.sid, ack, events.make_success(fields))]


def _offers(room: Room) -> list[dict[str, Any]]:
    """What is offered in a room, by whom."""
    found: dict[str, dict[str, Any]] = {}
    for master in room.masters.serving:
        declared = master.declared
        for feature in declared.features:
            name = events.capability_name(feature)
            offer = found.setdefault(
                name,
                {
                    "room": room.name,
                    "capability": name,
                    "masters": [],
                    "group": declared.group,
                    "epoch": room.masters.epoch,
                    **declared.descriptions.get(feature, {}),
                },
            )
            offer["masters"].append(master.peer.name)
    return list(found.values())


def _denied(sid: str, event: Any, reason: str, room: str | None) -> Denied:
    action = "subscribe" if event == HubEvent.CLIENT_SUBSCRIBE else "room_message"
    return Denied(sid, reason, room, action)


def _first(args: Sequence[Any]) -> Any:
    return read_value(args[0]) if args else None


_NOTHING: dict[str, Any] = {}
_DIGITS = 16
