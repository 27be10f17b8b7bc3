"""The desk of members: registering, and coming into rooms and out of them.

May go in: what CLIENT_ events mean, and what a member is told when it enters. May not: who is in a
room (`rooms`), what a history or a log has kept (`history`, `log`), who is told of that
(`presence`). Pure: no socket, no clock.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from alephscript.errors import LimitExceeded
from alephscript.mesh.budget import NO_MEMORY, weigh
from alephscript.mesh.desks.desk import Handler, read_first
from alephscript.mesh.dialects import Dialects
from alephscript.mesh.effects import Effect, Emit
from alephscript.mesh.history import History
from alephscript.mesh.log import Logs
from alephscript.mesh.peers import Peer, acknowledge
from alephscript.mesh.presence import Reason, member_of
from alephscript.mesh.rooms import Room, Rooms
from alephscript.mesh.speech import Speech
from alephscript.protocol import events
from alephscript.protocol.events import HubEvent
from alephscript.protocol.positions import Position, Since

__all__ = ["MemberDesk"]


class MemberDesk:
    """What members say of themselves.

    Args:
        rooms: The rooms and their members.
        speech: Where members are told what is kept.
        logs: The rooms of which all is kept.
        dialects: Chooses how a peer is spoken to.
        greet: Called with each peer that has registered.
    """

    def __init__(
        self,
        rooms: Rooms,
        speech: Speech,
        logs: Logs,
        dialects: Dialects,
        greet: Callable[[Peer], None],
    ) -> None:
        self._rooms = rooms
        self._speech = speech
        self._logs = logs
        self._dialects = dialects
        self._greet = greet
        self.handlers: dict[str, Handler] = {
            HubEvent.CLIENT_REGISTER: self._register,
            HubEvent.CLIENT_SUBSCRIBE: self._subscribe,
            HubEvent.CLIENT_UNSUBSCRIBE: self._unsubscribe,
        }

    def leave(self, peer: Peer, room: str, reason: Reason) -> list[Effect]:
        """Take a member out of a room; see `Rooms.leave`."""
        effects = self._rooms.leave(peer, room, reason)
        if self._logs.names:
            self._logs.leave(peer.sid, room)
        return effects

    def _register(self, peer: Peer, args: Sequence[Any], ack: int | None) -> list[Effect]:
        payload, identity = read_first(args), peer.identity
        if identity is not None and isinstance(payload, dict):
            usuario = identity.usuario or payload.get("usuario") or identity.suggested
            payload = {**payload, "usuario": usuario}
        registration = events.parse_registration(payload)
        if not peer.account.keep("registration", weigh(registration.extras)):
            raise LimitExceeded(NO_MEMORY)
        before = member_of(peer)
        peer.register(registration, self._dialects.choose(registration))
        self._greet(peer)
        effects = acknowledge(peer, ack, {"protocol": events.PROTOCOL, "socketId": peer.sid})
        return effects + self._rooms.presences.renamed(peer, before)

    def _subscribe(self, peer: Peer, args: Sequence[Any], ack: int | None) -> list[Effect]:
        subscription = events.parse_subscription(read_first(args))
        if subscription.out:
            return self._unsubscribe(peer, args, ack)
        self._rooms.check(peer, "subscribe", subscription.room)
        room = self._rooms.get_or_create(subscription.room)
        is_new = peer.sid not in room.members
        if self._logs.names and self._logs.keeps(room.name):
            return self._subscribe_to_log(peer, room, subscription, ack, is_new=is_new)
        history = room.history
        since, missed = self._find(history, subscription.since)
        replays = is_new and since is not None and self._knows(history, since)
        # Before the room is entered: where that takes other hubs, what comes after it waits.
        heard = since.number if replays and since else None
        entering = self._speech.tell_retained(peer, room, heard) + self._rooms.enter(peer, room)
        payload = {"room": room.name}
        effects: list[Effect] = [
            Emit((peer.sid,), HubEvent.SUBSCRIBE_OK, (payload,)),
            Emit((peer.sid,), HubEvent.ROOM_JOINED, (payload,)),
        ]
        fields: dict[str, Any] = dict(payload)
        if history is not None and peer.reads_meta:
            fields["history"] = self._rooms.name_of(history)
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
        watching = self._rooms.presences.watch(peer, room.name, room.members)
        return [*watching, *self._rooms.presences.when_known(peer, room.name, effects)]

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
        entering = self._speech.tell_retained(peer, room, None, since)
        entering += self._rooms.enter(peer, room)
        payload = {"room": room.name}
        effects: list[Effect] = [
            Emit((peer.sid,), HubEvent.SUBSCRIBE_OK, (payload,)),
            Emit((peer.sid,), HubEvent.ROOM_JOINED, (payload,)),
        ]
        if is_new or (since is not None and not since.resumes):
            answer = functools.partial(self._confirm_subscription, peer, ack, payload)
            effects += self._logs.enter(peer, room, since, answer)
        else:
            effects += acknowledge(peer, ack, payload | self._logs.describe(peer, room.name))
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
        at = since.resolve(self._rooms.now)
        if at is None:
            return since.position, 0
        number, missed = history.find(at)
        return Position(self._rooms.name_of(history), number), missed

    def _knows(self, history: History | None, since: Position) -> bool:
        """Whether a position is one in a history."""
        if history is None or since.history != self._rooms.name_of(history):
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
        payload = {"room": events.parse_subscription(read_first(args)).room}
        return [
            *self.leave(peer, payload["room"], "unsubscribed"),
            Emit((peer.sid,), HubEvent.ROOM_LEFT, (payload,)),
            *acknowledge(peer, ack, payload),
        ]
