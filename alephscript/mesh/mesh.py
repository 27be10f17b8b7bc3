"""The mesh as a state machine: one input in, a list of effects out.

Theory of operation. A `Mesh` is one namespace of one hub. It knows its peers (by the socket id
that the shell gave them), their rooms, each room's masters and every request that waits for an
answer. A shell feeds it what happens and carries out the `effects` that it returns, in order
(decision 0001). An input is named by what has happened:

===================  ==========================================================
input                meaning
===================  ==========================================================
`connected`          a socket joined the namespace
`received`           a socket sent an event, perhaps asking for acknowledgement
`refused`            a socket sent something that is not taken
`acknowledged`       a socket acknowledged a `Deliver`
`expired`            a deadline that `Deliver` or `Arm` set has passed
`idled`              the time that `ArmIdle` set has passed
`resumed`            others had their turn, as `Resume` wanted
`disconnected`       a socket is gone, however it went
===================  ==========================================================

What happens to the journal of tasks are inputs, too: of `Tasks`.

A request is born by a GET_ event, direct or inside ROOM_MESSAGE, and ends by the first of: the
master's acknowledgement; for documented and core masters a SET_ of the same name from the master's
socket; its deadline; its cancellation; the loss of its asker; the loss or displacement of its
master, unless the capability is idempotent and another master serves it. A request that may wait
for a master waits here, unasked. Answers that come later are counted and dropped.

Each peer is spoken to in its dialect, which `dialects` chooses when a peer registers, declares or
asks. Native peers get a meta object as second argument, may send one with a direct GET_ or, naming
the room, with an event to be said there, cancel, stream and report (docs/reference/protocol.md,
"Meta").

May go in: inputs, and what each event of a peer means. May not: a rule that another module of this
folder is about. All mesh state changes in this folder and nowhere else. Pure: no socket, no clock,
no task. Arguments may come unread (`msgspec.Raw`): what is only passed on stays so, what matters is
read (decision 0004). Over 500 lines, because each event of a peer has its handler here.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from alephscript.errors import (
    LimitExceeded,
    PermissionDenied,
    RequestError,
    StateError,
    UnknownEvent,
)
from alephscript.mesh.access import Identity
from alephscript.mesh.answers import match_answer
from alephscript.mesh.budget import ROOM_BYTES, Budget, weigh
from alephscript.mesh.desk import TaskDesk
from alephscript.mesh.dialects import Dialects
from alephscript.mesh.drops import Drops
from alephscript.mesh.effects import Acknowledge, Effect, Emit, SurveyHubs
from alephscript.mesh.federation import Federation
from alephscript.mesh.history import History
from alephscript.mesh.limits import DEFAULT_LIMITS, Limits
from alephscript.mesh.log import Logs
from alephscript.mesh.meta import NO_META, RequestMeta, is_part_count, parse_meta, parse_number
from alephscript.mesh.peers import Master, Peer, acknowledge
from alephscript.mesh.presence import Reason, member_of
from alephscript.mesh.recording import Recording
from alephscript.mesh.reports import Reports
from alephscript.mesh.requests import Requests
from alephscript.mesh.retained import wants_retaining
from alephscript.mesh.rooms import Authorize, Room, Rooms
from alephscript.mesh.tasks import Tasks
from alephscript.protocol import events
from alephscript.protocol.events import HubEvent
from alephscript.protocol.json import read_value
from alephscript.protocol.positions import Position, Since

__all__ = ["Mesh"]

_Handler = Callable[[Peer, Sequence[Any], int | None], list[Effect]]
"""Takes the peer that sent an event, the event's arguments, and the acknowledgement id."""

# Kept: a member of an enum costs 0.1 µs and more to look up where Python is older than 3.12.
_GET_SERVER_STATE, _MAKE_MASTER = HubEvent.GET_SERVER_STATE, HubEvent.MAKE_MASTER
_RELEASE_MASTER, _REQUEST_PART = HubEvent.RELEASE_MASTER, HubEvent.REQUEST_PART

_Saying = Callable[[Collection[str], events.RoomMessage, Any, str, Hashable], list[Effect]]
"""Says something in a room: `Rooms.say`, or what does more."""

_NO_EXTRAS: dict[str, Any] = {}
"""Shared by all direct questions, which have no envelope with further keys."""

_RETAINING: dict[str, Any] = {"retain": True}
"""The further keys of an envelope, where a native peer has said in the meta what they say."""


class Mesh:
    """One namespace of a hub.

    Args:
        namespace: Its name, ``/runtime`` or ``/``.
        default_timeout: Seconds that a request may take when its asker names no deadline.
        require_subscription: Whether an asker has to be in the room that it asks.
        history: Events of each room that are kept for clients that reconnect; 0 keeps none.
        history_bytes: How many bytes of them are kept, of each room.
        incarnation: Names this hub's histories, so that numbers of another one are known as such.
        limits: How much one peer may have.
        authorize: The rule of what each identity may do in a room; None lets all do everything.
        budget: What all peers may have kept; namespaces of one hub share it.
        retain: Events that are retained whoever says them, by room; `*` stands for all.
        log: Rooms that have a log; ``*`` for all.

    Attributes:
        budget: As given.
        rooms: The rooms and their members.
        requests: The open requests.
        tasks: The tasks that have not ended.
        logs: The rooms of which all is kept that members say.
        reports: What the hub tells about itself.
        recording: Who records what happens in rooms.
        drops: What was not taken, and its sender was not told of.
        federation: The other hubs of this mesh, if there may be any.
        report_unheard: Told of each event that is said in a room where nobody of this hub is, and
            of the room.
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
        budget: Budget | None = None,
        retain: Mapping[str, frozenset[str]] | None = None,
        log: Iterable[str] = (),
    ) -> None:
        self.namespace = namespace
        self.budget = budget or Budget(limits)
        self.rooms = Rooms(
            require_subscription=require_subscription,
            history=history,
            history_bytes=history_bytes,
            limits=limits,
            authorize=authorize,
            retain=retain,
            incarnation=incarnation,
        )
        self.logs = Logs(self.rooms, log)
        if self.logs.names:
            self.rooms.has_log = self.logs.keeps
        self.requests = Requests(
            self.rooms,
            self.budget,
            default_timeout=default_timeout,
            most=limits.requests_per_client,
        )
        self.tasks = Tasks(namespace, self.rooms, self.requests, limits)
        self.reports = Reports(self.rooms, namespace, limits.backlog_bytes)
        self.recording = Recording(self.rooms, self.requests)
        self.drops = Drops()
        self.federation: Federation | None = None
        self.report_unheard: Callable[[str, str], None] = lambda _event, _room: None
        self._dialects = Dialects(self.rooms, namespace)
        self._peers = self.rooms.peers
        self._retained = self.rooms.retained
        self._desk = TaskDesk(self.tasks, self.rooms)
        handlers: dict[str, _Handler] = {
            HubEvent.CLIENT_REGISTER: self._register,
            HubEvent.CLIENT_SUBSCRIBE: self._subscribe,
            HubEvent.CLIENT_UNSUBSCRIBE: self._unsubscribe,
            HubEvent.MAKE_MASTER: self._make_master,
            HubEvent.RELEASE_MASTER: self._release_master,
            HubEvent.ROOM_MESSAGE: self._open_envelope,
            HubEvent.RECORD_ROOMS: self._record,
            HubEvent.CANCEL_REQUEST: self._cancel_request,
            HubEvent.REQUEST_MORE: self._grant_parts,
            HubEvent.REQUEST_PART: functools.partial(self._note, HubEvent.REQUEST_PART),
            HubEvent.REQUEST_PROGRESS: functools.partial(self._note, HubEvent.REQUEST_PROGRESS),
            HubEvent.GET_ASKER_ANSWER: self._ask_back,
            HubEvent.REQUEST_CHECKPOINT: functools.partial(self._note, HubEvent.REQUEST_CHECKPOINT),
            **self._desk.handlers,
            HubEvent.GET_SERVER_STATE: self._report_state,
            HubEvent.GET_CAPABILITIES: self._report_capabilities,
            HubEvent.GET_MEMBERS: self._report_members,
            HubEvent.GET_ROOM_LOG: self._read_log,
            **{event: functools.partial(self._ask_member, event) for event in events.MEMBER_EVENTS},
        }
        # Bound once, handlers and the look-up: each event needs both.
        self._find_handler = handlers.get

    @property
    def clients(self) -> int:
        """How many sockets are connected."""
        return len(self._peers)

    @property
    def late_answers(self) -> int:
        """How many answers were dropped; see `Requests`."""
        return self.requests.late_answers

    def federate(self, hub: str) -> Federation:
        """Make this one of several hubs from now on; before any socket is connected.

        Args:
            hub: This hub's name, without ``~``.
        """
        self.rooms.is_federated = True
        self.federation = Federation(
            hub,
            self.rooms,
            self.requests,
            self.reports,
            self.recording,
            self._dialects,
            self.budget,
        )
        self.federation.act_on_task = self._desk.elsewhere
        self.tasks.hub, self.tasks.hubs = hub, self.federation.hubs
        return self.federation

    # Inputs

    def connected(
        self, sid: str, engine_id: str = "", identity: Identity | None = None
    ) -> list[Effect]:
        """Take a socket that joined.

        Args:
            sid: Its id, unique among the living.
            engine_id: Its transport's id, shown in SET_SERVER_STATE only.
            identity: Its identity, if the hub asks for one.

        Raises:
            StateError: The id is taken, which only a broken shell can bring about.
        """
        if sid in self._peers:
            raise StateError(f"socket {sid} is connected already")
        dialect, account = self._dialects.documented, self.budget.open()
        self._peers[sid] = Peer(sid, engine_id or sid, dialect, identity, account=account)
        return []

    def received(
        self, sid: str, event: Any, args: Sequence[Any] = (), ack: int | None = None
    ) -> list[Effect]:
        """Take an event that a socket sent.

        Args:
            sid: The sender's id; a socket that is not connected is ignored.
            event: The event's name as it came, of any type.
            args: The arguments after the name, any JSON, read or unread.
            ack: The acknowledgement id, None if the sender wants no acknowledgement.
        """
        peer = self._peers.get(sid)
        if peer is None:
            return []
        try:
            # Any JSON may stand for a name; check_event raises for what is no string.
            name = event if type(event) is str else events.check_event(event)
            handle = self._find_handler(name)
            if handle is not None:
                return handle(peer, args, ack)
            # Any other event is a direct question: most events are, so no call lies in between.
            reads_meta = len(args) > 1 and peer.reads_meta
            meta = parse_meta(args[1]) if reads_meta else NO_META
            if meta.room is not None and not name.startswith("GET_"):
                room = events.check_room_name(meta.room)
                extras = _RETAINING if meta.retain else _NO_EXTRAS
                message = events.RoomMessage(_check_often(name), room, args[0], extras)
                return self._say(peer, message, ack)
            capability = _capability_of(name)
            question = events.RoomMessage(name, "", args[0] if args else {}, _NO_EXTRAS)
            return self.requests.ask(peer, question, capability, meta.room, ack, meta)
        except RequestError as error:
            return self.rooms.deny(peer, event, error) + self.refused(sid, ack, error, event)

    def refused(
        self, sid: str, ack: int | None, error: RequestError, event: Any = None
    ) -> list[Effect]:
        """Answer a socket that sent what cannot be read, or may not be done.

        Args:
            sid: The sender's id.
            ack: The acknowledgement id; None if the sender wants none, and so hears nothing.
            error: What is wrong.
            event: The event's name as it came, of any type; None if it cannot be read.
        """
        if sid not in self._peers:
            return []
        if ack is None:
            self.drops.count(event, error.code)
            return []
        return [Acknowledge(sid, ack, error.answer())]

    def acknowledged(self, sid: str, request: int, args: Sequence[Any] = ()) -> list[Effect]:
        """Take a master's answer to a `Deliver`; answers of others are dropped."""
        peer = self._peers.get(sid)
        answered = None if peer is None else peer.serving.get(request)
        if peer is None or answered is None:
            self.requests.late_answers += 1
            return []
        return self.requests.end(answered, peer.dialect.read_answer(answered, args))

    def expired(self, request: int) -> list[Effect]:
        """End a request whose deadline passed."""
        expired = self.requests.get(request)
        return [] if expired is None else self.requests.expire(expired)

    def idled(self, request: int) -> list[Effect]:
        """End a request that has given no sign of life."""
        idle = self.requests.get(request)
        return [] if idle is None else self.requests.give_up(idle)

    def resumed(self) -> list[Effect]:
        """Go on with work that was left for later."""
        return self.requests.resume() + self.reports.resume()

    def disconnected(self, sid: str, reason: Reason = "link_lost") -> list[Effect]:
        """Forget a socket that is gone: its requests end, its rooms lose it.

        Args:
            sid: Its id; one that is not connected is no error.
            reason: What those are told who want to know who leaves.
        """
        peer = self._peers.pop(sid, None)
        if peer is None:
            return []
        effects = self.requests.abandon(peer) + self.tasks.audience.leave(sid)
        effects += self.recording.leave(sid)
        for name in list(peer.rooms):
            effects += self._leave(peer, name, reason)
        mastered = (*peer.mastered, *peer.displaced)
        rooms = [room for name in mastered if (room := self.rooms.get(name))]
        for room in rooms:
            effects += self.rooms.withdraw(peer, room)
        for request in list(peer.serving.values()):
            effects += self.requests.lose(request, f"the master of {request.room} is gone")
        for room in rooms:
            effects += self._after_withdrawal(room)
        peer.account.close()
        return effects

    # Registering and subscribing

    def _register(self, peer: Peer, args: Sequence[Any], ack: int | None) -> list[Effect]:
        payload, identity = _read_first(args), peer.identity
        if identity is not None and isinstance(payload, dict):
            usuario = identity.usuario or payload.get("usuario") or identity.suggested
            payload = {**payload, "usuario": usuario}
        registration = events.parse_registration(payload)
        if not peer.account.keep("registration", weigh(registration.extras)):
            raise LimitExceeded("what this client makes the hub keep takes too much memory already")
        before = member_of(peer)
        peer.register(registration, self._dialects.choose(registration))
        self._desk.greet(peer)
        effects = acknowledge(peer, ack, {"protocol": events.PROTOCOL, "socketId": peer.sid})
        return effects + self.rooms.presences.renamed(peer, before)

    def _subscribe(self, peer: Peer, args: Sequence[Any], ack: int | None) -> list[Effect]:
        subscription = events.parse_subscription(_read_first(args))
        if subscription.out:
            return self._unsubscribe(peer, args, ack)
        self.rooms.check(peer, "subscribe", subscription.room)
        room = self.rooms.get_or_create(subscription.room)
        is_new = peer.sid not in room.members
        if self.logs.names and self.logs.keeps(room.name):
            return self._subscribe_to_log(peer, room, subscription, ack, is_new=is_new)
        history = room.history
        since, missed = self._find(history, subscription.since)
        replays = is_new and since is not None and self._knows(history, since)
        # Before the room is entered: where that takes other hubs, what comes after it waits.
        retained = self.rooms.tell_retained(peer, room, since.number if replays and since else None)
        entering = retained + self.rooms.enter(peer, room)
        payload = {"room": room.name}
        effects: list[Effect] = [
            Emit((peer.sid,), HubEvent.SUBSCRIBE_OK, (payload,)),
            Emit((peer.sid,), HubEvent.ROOM_JOINED, (payload,)),
        ]
        fields: dict[str, Any] = dict(payload)
        if history is not None and peer.reads_meta:
            fields["history"] = self.rooms.name_of(history)
            fields["number"] = history.last
            if since is not None and is_new:
                if missed == 0:
                    missed = history.missed(since.number) if replays else None
                fields["missed"] = missed
                effects += self._replay(peer, room, history, since) if replays else []
        elif replays and history is not None and since is not None:
            effects += self._replay(peer, room, history, since)
        elif subscription.since is not None:
            fields["missed"] = None
        effects += acknowledge(peer, ack, fields)
        return entering + self._watch(peer, room, subscription, effects)

    def _watch(
        self,
        peer: Peer,
        room: Room,
        subscription: events.Subscription,
        effects: list[Effect],
    ) -> list[Effect]:
        """Tell a peer who comes and goes, if it wants that, before what it is told then."""
        if not subscription.presence:
            return effects
        watching = self.rooms.presences.watch(peer, room.name, room.members)
        return [*watching, *self.rooms.presences.when_known(peer, room.name, effects)]

    def _subscribe_to_log(
        self,
        peer: Peer,
        room: Room,
        subscription: events.Subscription,
        ack: int | None,
        *,
        is_new: bool,
    ) -> list[Effect]:
        since = subscription.since
        entering = self.rooms.tell_retained(peer, room, None, since)
        entering += self.rooms.enter(peer, room)
        payload = {"room": room.name}
        effects: list[Effect] = [
            Emit((peer.sid,), HubEvent.SUBSCRIBE_OK, (payload,)),
            Emit((peer.sid,), HubEvent.ROOM_JOINED, (payload,)),
        ]
        if is_new or (since is not None and not since.resumes):
            answer = functools.partial(self._confirm_subscription, peer, ack, payload)
            effects += self.logs.enter(peer, room, since, answer)
        else:
            effects += acknowledge(peer, ack, payload | self.logs.describe(peer, room.name))
        return entering + self._watch(peer, room, subscription, effects)

    def _confirm_subscription(
        self, peer: Peer, ack: int | None, payload: dict[str, Any], place: dict[str, Any]
    ) -> list[Effect]:
        return acknowledge(peer, ack, payload | place)

    def _find(
        self, history: History | None, since: Since | None
    ) -> tuple[Position | None, int | None]:
        """Find the position that is meant, and how many events before it may be lost."""
        if since is None or history is None:
            return None, 0
        at = since.resolve(self.rooms.now)
        if at is None:
            return since.position, 0
        number, missed = history.find(at)
        return Position(self.rooms.name_of(history), number), missed

    def _knows(self, history: History | None, since: Position) -> bool:
        """Whether a position is one in a history."""
        if history is None or since.history != self.rooms.name_of(history):
            return False
        return since.number <= history.last

    def _replay(self, peer: Peer, room: Room, history: History, since: Position) -> list[Effect]:
        """Repeat to a member the events after a position, as far as they are kept."""
        effects: list[Effect] = []
        for past in history.since(since.number):
            meta: dict[str, Any] = {"room": room.name, "sender": past.sender, "number": past.number}
            if past.at:
                meta["at"] = past.at
            args = (past.data, meta) if peer.reads_meta else (past.data,)
            effects.append(Emit((peer.sid,), past.event, args))
        return effects

    def _unsubscribe(self, peer: Peer, args: Sequence[Any], ack: int | None) -> list[Effect]:
        payload = {"room": events.parse_subscription(_read_first(args)).room}
        return [
            *self._leave(peer, payload["room"], "unsubscribed"),
            Emit((peer.sid,), HubEvent.ROOM_LEFT, (payload,)),
            *acknowledge(peer, ack, payload),
        ]

    def _leave(self, peer: Peer, room: str, reason: Reason) -> list[Effect]:
        effects = self.rooms.leave(peer, room, reason)
        if self.logs.names:
            self.logs.leave(peer.sid, room)
        return effects

    # Mastering

    def _make_master(self, peer: Peer, args: Sequence[Any], ack: int | None) -> list[Effect]:
        declared = events.parse_declaration(_read_first(args))
        return self._declare(Master(peer, declared, is_core=False), ack)

    def _declare(self, master: Master, ack: int | None) -> list[Effect]:
        peer, declared = master.peer, master.declared
        if declared.out:
            return self._resign(peer, declared.room, ack)
        self.rooms.check(peer, "master", declared.room)
        room = self.rooms.get_or_create(declared.room)
        if self.federation is not None:
            self.rooms.check_mastering(master, room, self.federation.claimed_rooms(peer))
            self.rooms.drop_if_empty(room)
            return self.federation.claim(master, ack)
        announced, displaced = self.rooms.declare(room, master)
        fields: dict[str, Any] = {
            "room": room.name,
            "features": list(declared.features),
            "epoch": room.masters.epoch,
        }
        if room.name in peer.displaced:
            fields["displaced"] = True
        effects = acknowledge(peer, ack, fields) + announced
        for each in displaced:
            effects += self.requests.displace(each, room.name)
        return effects + self.requests.put_waiting(room)

    def _resign(self, peer: Peer, name: str, ack: int | None) -> list[Effect]:
        effects = acknowledge(peer, ack, {"room": name})
        if self.federation is not None:
            self.federation.resign(peer, name)  # a claim may be on its way
        room = self.rooms.get(name)
        if room is not None and (name in peer.mastered or name in peer.displaced):
            effects += self.rooms.withdraw(peer, room) + self._after_withdrawal(room)
        return effects

    def _after_withdrawal(self, room: Room) -> list[Effect]:
        """Let a master that takes over have what waits for one; forget a room without any."""
        effects = self.requests.put_waiting(room) if room.masters.serving else []
        self.rooms.drop_if_empty(room)
        return effects

    def _release_master(self, peer: Peer, args: Sequence[Any], ack: int | None) -> list[Effect]:
        meta = parse_meta(args[1]) if len(args) > 1 and peer.reads_meta else NO_META
        if meta.room is None:
            return self._resign(peer, events.parse_subscription(_read_first(args)).room, ack)
        room = events.check_room_name(meta.room)
        message = events.RoomMessage(_RELEASE_MASTER, room, args[0], _NO_EXTRAS)
        return self._say(peer, message, ack)

    # What is said in a room

    def _open_envelope(self, peer: Peer, args: Sequence[Any], ack: int | None) -> list[Effect]:
        """Take a ROOM_MESSAGE, by the event inside it."""
        message = events.parse_room_message(args[0] if args else None)
        event = message.event
        if event.startswith("GET_"):
            if event == _GET_SERVER_STATE:
                return self._report_state(peer, args, ack)
            return self._ask_room(peer, message, ack)
        if event == _MAKE_MASTER:
            declared = events.parse_declaration(read_value(message.data), room=message.room)
            return self._declare(Master(peer, declared, is_core=True), ack)
        return self._say(peer, message, ack)

    def _say(self, peer: Peer, message: events.RoomMessage, ack: int | None) -> list[Effect]:
        """Tell a room an event, in whichever form it came (decision 0037)."""
        self.rooms.check(peer, "speak", message.room, message.event)
        if self.requests.recorder is not None:
            self.requests.recorder.said(peer, message)
        say: _Saying = self.rooms.say
        if self.logs.names and self.logs.keeps(message.room):
            say, ack = self._log_saying(peer, message, ack), None  # acknowledged by the log
        elif "retain" in message.extras or self._retained.rules:  # of most events neither is true
            say = self._choose_saying(message)
        if message.event.startswith("SET_"):
            return self._say_answer(peer, message, ack, say)
        effects: list[Effect] = []
        if message.event == _RELEASE_MASTER:  # the room hears it besides, as on upstream's hubs
            effects = self._resign(peer, message.room, None)
        room = self.rooms.get(message.room)
        members: dict[str, None] = {}
        if room is not None:
            room.active_at, members = self.rooms.now, room.members
        if not members:
            self.report_unheard(message.event, message.room)
        effects += say(members, message, message.data, peer.name, peer.account)
        if ack is None:  # as with most events: no call to add nothing
            return effects
        return effects + acknowledge(peer, ack, self._describe_said(message.room, len(members)))

    def _describe_said(self, room: str, members: int) -> dict[str, Any]:
        """Describe an event that was said just now to the peer that said it."""
        history = self.rooms.history_of(room)
        if history is None:
            return {"room": room, "members": members}
        position = Position(self.rooms.name_of(history), history.last)
        place = {"history": position.history, "number": position.number, "position": str(position)}
        return {"room": room, "members": members, **place}

    def _log_saying(self, peer: Peer, message: events.RoomMessage, ack: int | None) -> _Saying:
        """Say an event by way of the log of its room."""
        value = None
        if "retain" in message.extras or self._retained.rules:
            is_asked = wants_retaining(message)
            if is_asked or self._retained.has_rule(message):
                value = functools.partial(self.rooms.make_value, is_asked=is_asked)
        return functools.partial(self.logs.say, peer, ack, value)

    def _choose_saying(self, message: events.RoomMessage) -> _Saying:
        """Choose whether an event is only said, or retained as well."""
        if wants_retaining(message):
            return self.rooms.say_and_retain
        if self._retained.has_rule(message):
            return functools.partial(self.rooms.say_and_retain, is_asked=False)
        return self.rooms.say

    def _ask_room(self, peer: Peer, message: events.RoomMessage, ack: int | None) -> list[Effect]:
        capability = events.capability_name(message.event)
        self.rooms.check(peer, "ask", message.room, capability)
        if ack is None:
            room = self.rooms.get(message.room)
            if room is not None and any(each.peer is peer for each in room.masters.serving):
                return []  # as upstream's hubs do: a master hears no echo of its own question
        return self.requests.ask(peer, message, capability, message.room, ack, NO_META)

    def _say_answer(
        self, peer: Peer, message: events.RoomMessage, ack: int | None, say: _Saying
    ) -> list[Effect]:
        """Tell a SET_ to all members but its sender; it may answer a request."""
        room = self.rooms.get(message.room)
        others: list[str] = []
        if room is not None:
            room.active_at = self.rooms.now
            others = [member for member in room.members if member != peer.sid]
        value = read_value(message.data)
        fields = events.spread(value)
        payload = {**fields, "sender": peer.sid}
        effects = say(others, message, payload, peer.name, peer.account)
        match = match_answer(peer, message, fields)
        request = match.request
        if request is not None and request.master is not None:
            request.answer_room = message.room
            peer.find_served().note_seen(request)
            effects += request.dialect.echo(request, message, payload, peer.name)
            if request.master.dialect.is_answered_by_event(is_certain=match.is_certain):
                effects += self.requests.end(request, events.normalise([value]))
        return effects + acknowledge(peer, ack, self._describe_said(message.room, len(others)))

    # What is said about a request

    def _cancel_request(self, peer: Peer, args: Sequence[Any], ack: int | None) -> list[Effect]:
        effects = acknowledge(peer, ack, {})
        request = peer.find_request(_read_first(args))
        return effects if request is None else effects + self.requests.cancel(request, "cancelled")

    def _grant_parts(self, peer: Peer, args: Sequence[Any], ack: int | None) -> list[Effect]:
        effects = acknowledge(peer, ack, {})
        fields = _read_first(args)
        request = peer.find_request(fields)
        if request is None or not is_part_count(fields.get("parts")):
            return effects
        return effects + self.requests.grant(request, fields["parts"])

    def _note(self, event: str, peer: Peer, args: Sequence[Any], ack: int | None) -> list[Effect]:
        """Pass on to an asker a part of its answer, or progress."""
        effects = acknowledge(peer, ack, {})
        meta = read_value(args[1]) if len(args) > 1 else None
        number = parse_number(meta.get("id") if isinstance(meta, dict) else None)
        request = None if number is None else peer.serving.get(number)
        if request is None:
            return effects
        if event == _REQUEST_PART:
            overrun = self.requests.spend(request)
            if overrun is not None:
                return effects + overrun
        if self.requests.recorder is not None:
            self.requests.recorder.noted(request, event, args[0])
        if request.meta.idle is not None:
            effects += self.requests.note_life(request, event)
        return effects + request.dialect.note(request, event, args[0])

    def _ask_back(self, peer: Peer, args: Sequence[Any], ack: int | None) -> list[Effect]:
        """Pass on a master's question to the asker of a request that the master serves."""
        unread = args[1] if len(args) > 1 and peer.reads_meta else None
        fields = read_value(unread)
        name = fields.get("id") if isinstance(fields, dict) else None
        number = parse_number(name)
        about = None if number is None else peer.serving.get(number)
        meta = RequestMeta(seconds=parse_meta(unread).seconds, extras={"chain": [name]})
        question = events.RoomMessage(HubEvent.GET_ASKER_ANSWER, "", args[0] if args else {}, {})
        return self.requests.ask_back(peer, question, about, ack, meta)

    # Recording

    def _record(self, peer: Peer, args: Sequence[Any], ack: int | None) -> list[Effect]:
        """Let a peer record rooms: what others ask and are answered, which is an admin's to see."""
        rooms = events.parse_recording(_read_first(args))
        for room in rooms:
            self.rooms.check(peer, "subscribe", room)
            if self.rooms.is_guarded and not (peer.identity and peer.identity.is_admin):
                detail = {"room": room, "action": "record"}
                raise PermissionDenied(f"only an admin may record: {room}", [detail])
        if not peer.account.keep("record", sum(ROOM_BYTES + len(each) for each in rooms)):
            raise LimitExceeded("what this client makes the hub keep takes too much memory already")
        answer = acknowledge(peer, ack, {"rooms": list(rooms)})
        return answer + self.recording.record(peer, rooms)

    # What is asked about the hub, or about a member

    def _report_state(self, peer: Peer, _: Sequence[Any], ack: int | None) -> list[Effect]:
        question = SurveyHubs(peer.sid, ack, HubEvent.GET_SERVER_STATE, None)
        if self.federation is not None and self.federation.hubs:
            return [question]
        return self.reports.give(peer, lambda: self.reports.answer_survey(peer, question, []))

    def _report_capabilities(
        self, peer: Peer, args: Sequence[Any], ack: int | None
    ) -> list[Effect]:
        query = _read_first(args)
        return self.reports.give(peer, lambda: self.reports.tell_capabilities(peer, ack, query))

    def _report_members(self, peer: Peer, args: Sequence[Any], ack: int | None) -> list[Effect]:
        query = _read_first(args)
        query = query if isinstance(query, dict) else {}
        room, presence = query.get("room"), query.get("presence") is True
        if room is not None or presence:
            self.rooms.check(peer, "subscribe", events.check_room_name(room))
        question = SurveyHubs(peer.sid, ack, HubEvent.GET_MEMBERS, room, presence)
        if self.federation is not None and self.federation.hubs:
            return [question]
        return self.reports.give(peer, lambda: self.reports.answer_survey(peer, question, []))

    def _read_log(self, peer: Peer, args: Sequence[Any], ack: int | None) -> list[Effect]:
        return self.logs.ask(peer, ack, _read_first(args))

    def _ask_member(
        self, event: str, peer: Peer, args: Sequence[Any], ack: int | None
    ) -> list[Effect]:
        reads_meta = len(args) > 1 and peer.reads_meta
        meta = parse_meta(args[1]) if reads_meta else NO_META
        question = events.RoomMessage(event, "", args[0] if args else {}, _NO_EXTRAS)
        member = self._find_member(peer, meta.member)
        if meta.room is not None:
            meta = msgspec.structs.replace(meta, room=None)  # any JSON, of which nothing is kept
        return self.requests.ask_member(peer, question, member, ack, meta)

    def _find_member(self, asker: Peer, sid: Any) -> Peer | None:
        """Find a member by its socket id, if the asker may know of it."""
        if not isinstance(sid, str):
            return None
        member = self._peers.get(sid)
        if member is None:
            return None if self.federation is None else self.federation.member(sid)
        return member if self.reports.sees(asker, member) else None


@functools.lru_cache(maxsize=1024)
def _capability_of(event: str) -> str:
    """The capability that a direct event asks for.

    Cached, as a mesh has few questions and hears each often: it saves checking the name.

    Raises:
        UnknownEvent: The event is no question, or a name that some peer would not survive.
    """
    name = events.check_event(event)
    if not name.startswith("GET_"):
        raise UnknownEvent(f"the hub has no meaning for {name}; to tell a room, send ROOM_MESSAGE")
    return events.capability_name(name)


# Cached for the reason that `_capability_of` is.
_check_often = functools.lru_cache(maxsize=1024)(events.check_event)


def _read_first(args: Sequence[Any]) -> Any:
    return read_value(args[0]) if args else None
