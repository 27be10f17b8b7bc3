"""The desk of what is said in rooms.

May go in: events in envelopes and by their own name, answers that are said, and whether what is
said is kept. May not: who hears of it (`speech`), how it is kept (`history`, `log`, `retained`),
which request an answer is for (`answers`). Pure: no socket, no clock.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Hashable, Sequence
from typing import Any

from alephscript.mesh.answers import match_answer
from alephscript.mesh.desks.desk import Handler, read_first
from alephscript.mesh.desks.masters import MasterDesk
from alephscript.mesh.effects import Effect
from alephscript.mesh.log import Logs
from alephscript.mesh.meta import NO_META, parse_meta
from alephscript.mesh.peers import Master, Peer, acknowledge
from alephscript.mesh.requests import Requests
from alephscript.mesh.retained import wants_retaining
from alephscript.mesh.rooms import Rooms
from alephscript.mesh.speech import Speech
from alephscript.protocol import events
from alephscript.protocol.events import HubEvent
from alephscript.protocol.json import read_value
from alephscript.protocol.positions import Position

__all__ = ["SpeechDesk"]

_Saying = Callable[[Collection[str], events.RoomMessage, Any, str, Hashable], list[Effect]]
"""Says something in a room: `Speech.say`, or what does more."""

# Kept: a member of an enum costs 0.1 µs and more to look up where Python is older than 3.12.
_GET_SERVER_STATE, _MAKE_MASTER = HubEvent.GET_SERVER_STATE, HubEvent.MAKE_MASTER
_RELEASE_MASTER = HubEvent.RELEASE_MASTER


class SpeechDesk:
    """What members say.

    Args:
        rooms: The rooms and their members.
        speech: Where rooms are told.
        requests: The open requests.
        logs: The rooms of which all is kept.
        masters: Where masters are declared.
        report_state: Handles the question of how the hub is, which may come in an envelope.
    """

    def __init__(
        self,
        rooms: Rooms,
        speech: Speech,
        requests: Requests,
        logs: Logs,
        masters: MasterDesk,
        report_state: Handler,
    ) -> None:
        self._rooms = rooms
        self._requests = requests
        self._logs = logs
        self._masters = masters
        self._report_state = report_state
        self._speech = speech
        self._retained = speech.retained
        self.handlers: dict[str, Handler] = {
            HubEvent.ROOM_MESSAGE: self._open_envelope,
            HubEvent.RELEASE_MASTER: self._release_master,
        }

    def say(self, peer: Peer, message: events.RoomMessage, ack: int | None) -> list[Effect]:
        """Tell a room an event, in whichever form it came (decision 0037)."""
        self._rooms.check(peer, "speak", message.room, message.event)
        if self._requests.recorder is not None:
            self._requests.recorder.said(peer, message)
        say: _Saying = self._speech.say
        if self._logs.names and self._logs.keeps(message.room):
            say, ack = self._log_saying(peer, message, ack), None  # acknowledged by the log
        elif "retain" in message.extras or self._retained.rules:  # of most events neither is true
            say = self._choose_saying(message)
        if message.event.startswith("SET_"):
            return self._say_answer(peer, message, ack, say)
        effects: list[Effect] = []
        if message.event == _RELEASE_MASTER:  # the room hears it besides, as on upstream's hubs
            effects = self._masters.resign(peer, message.room, None)
        room = self._rooms.get(message.room)
        members: dict[str, None] = {}
        if room is not None:
            room.active_at, members = self._rooms.now, room.members
        if not members:
            self._speech.report_unheard(message.event, message.room)
        effects += say(members, message, message.data, peer.name, peer.account)
        if ack is None:  # as with most events: no call to add nothing
            return effects
        return effects + acknowledge(peer, ack, self._describe_said(message.room, len(members)))

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
            return self._masters.declare(Master(peer, declared, is_core=True), ack)
        return self.say(peer, message, ack)

    def _release_master(self, peer: Peer, args: Sequence[Any], ack: int | None) -> list[Effect]:
        meta = parse_meta(args[1]) if len(args) > 1 and peer.reads_meta else NO_META
        if meta.room is None:
            return self._masters.resign(peer, events.parse_subscription(read_first(args)).room, ack)
        room = events.check_room_name(meta.room)
        message = events.RoomMessage(_RELEASE_MASTER, room, args[0], {})
        return self.say(peer, message, ack)

    def _describe_said(self, room: str, members: int) -> dict[str, Any]:
        """Describe an event that was said just now to the peer that said it."""
        history = self._rooms.history_of(room)
        if history is None:
            return {"room": room, "members": members}
        position = Position(self._rooms.name_of(history), history.last)
        place = {"history": position.history, "number": position.number, "position": str(position)}
        return {"room": room, "members": members, **place}

    def _log_saying(self, peer: Peer, message: events.RoomMessage, ack: int | None) -> _Saying:
        """Say an event by way of the log of its room."""
        value = None
        if "retain" in message.extras or self._retained.rules:
            is_asked = wants_retaining(message)
            if is_asked or self._retained.has_rule(message):
                value = functools.partial(self._speech.make_value, is_asked=is_asked)
        return functools.partial(self._logs.say, peer, ack, value)

    def _choose_saying(self, message: events.RoomMessage) -> _Saying:
        """Choose whether an event is only said, or retained as well."""
        if wants_retaining(message):
            return self._speech.say_and_retain
        if self._retained.has_rule(message):
            return functools.partial(self._speech.say_and_retain, is_asked=False)
        return self._speech.say

    def _ask_room(self, peer: Peer, message: events.RoomMessage, ack: int | None) -> list[Effect]:
        capability = events.capability_name(message.event)
        self._rooms.check(peer, "ask", message.room, capability)
        if ack is None:
            room = self._rooms.get(message.room)
            if room is not None and any(each.peer is peer for each in room.masters.serving):
                return []  # as upstream's hubs do: a master hears no echo of its own question
        return self._requests.ask(peer, message, capability, message.room, ack, NO_META)

    def _say_answer(
        self, peer: Peer, message: events.RoomMessage, ack: int | None, say: _Saying
    ) -> list[Effect]:
        """Tell a SET_ to all members but its sender; it may answer a request."""
        room = self._rooms.get(message.room)
        others: list[str] = []
        if room is not None:
            room.active_at = self._rooms.now
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
                effects += self._requests.end(request, events.normalise([value]))
        return effects + acknowledge(peer, ack, self._describe_said(message.room, len(others)))
