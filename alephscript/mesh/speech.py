"""What is said in rooms: told to members, kept for later ones, passed on to other hubs.

May go in: who hears an event and in which form, and which value is kept of one. May not: who is in
a room (`rooms`), how much is kept (`history`, `retained`), whether a peer may speak (`desks`).
Pure: no socket, no clock.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any

from alephscript.errors import LimitExceeded
from alephscript.mesh.effects import Effect, Emit, Retain, ToRoom
from alephscript.mesh.history import History
from alephscript.mesh.peers import Peer
from alephscript.mesh.retained import Retained, RetainedValue, is_told_again, make_value
from alephscript.mesh.rooms import Room, Rooms
from alephscript.protocol import events
from alephscript.protocol.positions import Since

__all__ = ["Speech"]


class Speech:
    """What is said in rooms.

    Args:
        rooms: The rooms and their members.
        retained_bytes: Bytes of retained values that a room may keep.
        retain: Events that are retained whoever says them; see `Retained`.

    Attributes:
        retained: The last values of events, for those who subscribe later.
        keep: Keeps a value of a room in place of the one before; `put_value`, unless hubs agree.
        keep_quietly: The same where the room hears of the value in another way.
        report_unheard: Told of each event that is said in a room where nobody of this hub is, and
            of the room.
        is_kept: Whether retained values outlive this hub, so that somebody wants to hear of them.
    """

    def __init__(
        self, rooms: Rooms, retained_bytes: int, retain: Mapping[str, frozenset[str]]
    ) -> None:
        self.retained = Retained(retained_bytes, retain)
        self.keep: Callable[[str, str, RetainedValue], list[Effect]] = self.put_value
        self.keep_quietly = self.keep
        self.report_unheard: Callable[[str, str], None] = lambda _event, _room: None
        self.is_kept = False
        self._rooms = rooms
        self._peers = rooms.peers
        self._has_histories = rooms.has_histories

    def say(
        self,
        to: Iterable[str],
        message: events.RoomMessage,
        data: Any,
        sender: str,
        speaker: Hashable = None,
    ) -> list[Effect]:
        """Say something to members here, and to the room at all other hubs; see `tell`."""
        if not self._rooms.is_federated:
            return self.tell(to, message, data, sender, speaker)
        at = self._rooms.milliseconds()
        effects = self.tell(to, message, data, sender, speaker, at=at)
        said = (message.event, data, sender)
        effects.append(ToRoom(message.room, (*said, at) if at else said))
        return effects

    def say_and_retain(
        self,
        to: Iterable[str],
        message: events.RoomMessage,
        data: Any,
        sender: str,
        speaker: Hashable = None,
        *,
        is_asked: bool = True,
    ) -> list[Effect]:
        """Say something as `say` does, and keep it for those who enter the room later.

        Raises:
            LimitExceeded: Too much is kept already, and the speaker has asked for it; nothing was
                said. Without having asked a speaker is heard, and nothing is kept.
        """
        value, at = (
            self.make_value(message, data, sender, is_asked=is_asked),
            self._rooms.milliseconds(),
        )
        effects = self.tell(to, message, data, sender, speaker, at=at)
        self.note_place(message.room, value)
        return effects + self.keep(message.room, message.event, value)

    def make_value(
        self, message: events.RoomMessage, data: Any, sender: str, *, is_asked: bool
    ) -> RetainedValue:
        """Make the value that is kept of an event; arguments and errors as `say_and_retain`."""
        value = make_value(data, sender, self._rooms.milliseconds())
        try:
            self.retained.check(message.room, message.event, value)
        except LimitExceeded:
            if is_asked:
                raise
            # What is kept is the last value, or none; never one before the last.
            value = RetainedValue(None, sender, value.at)
        return value

    def note_place(self, room: str, value: RetainedValue) -> None:
        """Note where the history of a room has the event of a value, which was said just now."""
        history = self._rooms.history_of(room)
        if history is not None:
            value.place = (history.number, history.last)

    def put_value(self, room: str, event: str, value: RetainedValue) -> list[Effect]:
        """Keep a value at this hub alone, and have older ones forgotten for it."""
        if value.data is None and self.retained.get(room, event) is None:
            return []
        changes = [(room, event, value)]
        for other in self.retained.put(room, event, value):
            self.retained.drop(*other)
            changes.append((*other, RetainedValue(None, "")))
        return [Retain(*each) for each in changes] if self.is_kept else []

    def tell_retained(
        self, peer: Peer, room: Room, since: int | None, log_since: Since | None = None
    ) -> list[Effect]:
        """Tell a peer the last values of a room.

        Args:
            peer: The peer.
            room: The room.
            since: The number in the room's history after which events are told anyway; None if
                none are.
            log_since: From where they are told from the room's log; None if none are.
        """
        effects: list[Effect] = []
        for event, value in self.retained.of(room.name):
            if log_since is not None and is_told_again(value, log_since, self._rooms.now):
                continue
            if since is None or not _is_kept_after(value, room.history, since):
                effects += self.tell_value([peer.sid], room.name, event, value)
        return effects

    def tell_value(
        self, to: Iterable[str], room: str, event: str, value: RetainedValue
    ) -> list[Effect]:
        """Tell members here the last value of an event, as one that was said before."""
        message = events.RoomMessage(event, room, None, {})
        at, data = value.at, value.data
        return self.tell(to, message, data, value.sender, is_echo=True, at=at, is_retained=True)

    def tell(
        self,
        to: Iterable[str],
        message: events.RoomMessage,
        data: Any,
        sender: str,
        speaker: Hashable = None,
        *,
        is_echo: bool = False,
        number: int | None = None,
        at: int = 0,
        is_retained: bool = False,
        history: str = "",
    ) -> list[Effect]:
        """Tell members here an event of a room.

        Peers that read the meta also learn which room it is and who says it (decision 0012).

        Args:
            to: Socket ids of those who hear it.
            message: The event and the room.
            data: What is said.
            sender: Name of the peer that says it.
            speaker: Whose share of the room's history it takes; None for the hub itself.
            is_echo: Whether it was said before, to others.
            number: The number under which the room's history has it, if it was said before.
            at: When the event was said, in milliseconds since 1970; 0 for now.
            is_retained: Whether it is told as the last value of what was said before.
            history: Name of the room's log, if that has the event.
        """
        # Two events however many hear one: each is written as JSON and framed once.
        plain: list[str] = []
        with_meta: list[str] = []
        peers = self._peers
        for sid in to:
            (with_meta if peers[sid].reads_meta else plain).append(sid)
        keeps = self._has_histories and not is_echo  # no call where no history is kept
        if keeps:
            at = at or self._rooms.milliseconds()
            number = self._remember(message, data, sender, speaker, at)
        effects: list[Effect] = []
        if plain:
            effects.append(Emit(tuple(plain), message.event, (data,)))
        if with_meta:
            meta: dict[str, Any] = {"room": message.room, "sender": sender}
            if number is not None:
                meta["number"] = number
            if at:
                meta["at"] = at
            elif self._rooms.now:
                meta["at"] = int(self._rooms.now * 1000)
            if is_retained:
                meta["retained"] = True
            if history:
                meta["history"] = history
            effects.append(Emit(tuple(with_meta), message.event, (data, meta)))
        return effects

    def _remember(
        self, message: events.RoomMessage, data: Any, sender: str, speaker: Hashable, at: int
    ) -> int | None:
        """Keep an event in the history of its room, if there is one, and return its number."""
        history = self._rooms.history_of(message.room)
        return None if history is None else history.add(message.event, data, sender, speaker, at)


def _is_kept_after(value: RetainedValue, history: History | None, since: int) -> bool:
    """Whether a history has the event of a value, after a number."""
    if history is None or value.place is None or value.place[0] != history.number:
        return False
    number = value.place[1]
    return number > since and number > since + history.missed(since)
