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

May go in: inputs, the desk that an event belongs to, and direct questions, which are most events.
May not: what another event of a peer means (`alephscript.mesh.desks`), a rule (the other modules of
this folder). All mesh state changes in this folder and nowhere else. Pure: no socket, no clock, no
task. Arguments may come unread (`msgspec.Raw`): what is only passed on stays so, what matters is
read (decision 0004).
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from alephscript.errors import RequestError, StateError, UnknownEvent
from alephscript.mesh.access import Identity
from alephscript.mesh.budget import Budget
from alephscript.mesh.desks.desk import Handler
from alephscript.mesh.desks.masters import MasterDesk
from alephscript.mesh.desks.members import MemberDesk
from alephscript.mesh.desks.reports import ReportDesk
from alephscript.mesh.desks.requests import RequestDesk
from alephscript.mesh.desks.speech import SpeechDesk
from alephscript.mesh.desks.tasks import TaskDesk
from alephscript.mesh.dialects import Dialects
from alephscript.mesh.drops import Drops
from alephscript.mesh.effects import Acknowledge, Effect
from alephscript.mesh.federation import Federation
from alephscript.mesh.limits import DEFAULT_LIMITS, Limits
from alephscript.mesh.log import Logs
from alephscript.mesh.mastering import Mastering
from alephscript.mesh.meta import NO_META, parse_meta
from alephscript.mesh.peers import Peer
from alephscript.mesh.presence import Reason
from alephscript.mesh.recording import Recording
from alephscript.mesh.reports import Reports
from alephscript.mesh.requests import Requests
from alephscript.mesh.rooms import Authorize, Rooms
from alephscript.mesh.speech import Speech
from alephscript.mesh.tasks import Tasks
from alephscript.protocol import events

__all__ = ["Mesh"]

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
        speech: What is said in rooms.
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
            incarnation=incarnation,
        )
        self.speech = Speech(self.rooms, limits.retained_bytes, retain or {})
        self._mastering = Mastering(self.rooms, self.speech, limits.rooms_per_client)
        self.logs = Logs(self.rooms, self.speech, log)
        if self.logs.names:
            self.rooms.has_log = self.logs.keeps
        self.requests = Requests(
            self.rooms,
            self.budget,
            default_timeout=default_timeout,
            most=limits.requests_per_client,
        )
        self.tasks = Tasks(namespace, self.rooms, self.speech, self.requests, limits)
        self.reports = Reports(self.rooms, namespace, limits.backlog_bytes)
        self.recording = Recording(self.rooms, self.requests)
        self._mastering.report = self.recording.mastered
        self.drops = Drops()
        self.federation: Federation | None = None
        self._dialects = Dialects(self.rooms, self.speech, namespace)
        self._peers = self.rooms.peers
        self._tasks_desk = TaskDesk(self.tasks, self.rooms)
        self._members_desk = MemberDesk(
            self.rooms, self.speech, self.logs, self._dialects, self._tasks_desk.greet
        )
        self._masters_desk = MasterDesk(self.rooms, self._mastering, self.requests)
        self._requests_desk = RequestDesk(self.rooms, self.requests, self.reports)
        self._reports_desk = ReportDesk(self.rooms, self.logs, self.reports, self.recording)
        self._speech_desk = SpeechDesk(
            self.rooms,
            self.speech,
            self.requests,
            self.logs,
            self._masters_desk,
            self._reports_desk.report_state,
        )
        handlers: dict[str, Handler] = {
            **self._members_desk.handlers,
            **self._masters_desk.handlers,
            **self._speech_desk.handlers,
            **self._requests_desk.handlers,
            **self._tasks_desk.handlers,
            **self._reports_desk.handlers,
        }
        # Bound once: each event needs one of them.
        self._find_handler = handlers.get
        self._say = self._speech_desk.say

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
            self.speech,
            self._mastering,
            self.requests,
            self.reports,
            self.recording,
            self._dialects,
            self.budget,
        )
        self._masters_desk.federation = self.federation
        self._requests_desk.federation = self.federation
        self._reports_desk.federation = self.federation
        self.federation.act_on_task = self._tasks_desk.elsewhere
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
        peer.is_cut = peer.reads_meta and reason == "link_lost"
        effects = self.requests.abandon(peer) + self.tasks.audience.leave(sid)
        effects += self.recording.leave(sid)
        for name in list(peer.rooms):
            effects += self._members_desk.leave(peer, name, reason)
        mastered = (*peer.mastered, *peer.displaced)
        rooms = [room for name in mastered if (room := self.rooms.get(name))]
        for room in rooms:
            effects += self._mastering.withdraw(peer, room)
        for request in list(peer.serving.values()):
            effects += self.requests.lose(request, f"the master of {request.room} is gone")
        for room in rooms:
            effects += self._masters_desk.after_withdrawal(room)
        peer.account.close()
        return effects


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
