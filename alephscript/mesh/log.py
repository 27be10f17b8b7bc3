"""The log: rooms of which all is kept that members say, and how that is told again.

Theory of operation. What a member says in such a room goes into the log first (`Append`), and is
told to the room with the position that it has there, in the order of the log: what anybody has
heard with a position, the log has (decision 0056). Where several hubs share a log, each hears from
it what all of them have put there. If the log takes nothing, events go on without a position.

Whoever enters such a room hears what comes after the position that its subscription is confirmed
with. With ``since`` what was said before is told first, page by page (`ReadLog`): the next is read
when the peer has taken the one before. Until then the peer is *behind*, and what is said meanwhile
comes to it from the log, too. The same pages answer GET_ROOM_LOG.

A hub that hears a number that is not the next one (it was cut off from the others for a while)
reads what lies between, and tells its members.

May go in: what of a log is told to whom, and when. May not: what was said lately in rooms without a
log (`history`), how a log is kept (`hub.store`). Pure: no socket, no clock. Over 500 lines, because
what is told as it comes and what is told from the log have to meet without a gap.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable, Sequence, Sized
from typing import Any

import msgspec

from alephscript.errors import InvalidPayload, Overloaded, RequestError
from alephscript.mesh.effects import Acknowledge, Append, Effect, Emit, ReadLog
from alephscript.mesh.pages import LogEntry, LogPage
from alephscript.mesh.peers import Peer, acknowledge
from alephscript.mesh.retained import RetainedValue
from alephscript.mesh.rooms import Room, Rooms
from alephscript.mesh.speech import Speech
from alephscript.protocol import events
from alephscript.protocol.json import write_json
from alephscript.protocol.positions import Position, Since, parse_since

__all__ = ["Logs"]

_PAGE = 512
"""Entries that are read at once."""

_READERS = 8
"""Reads that one peer may have under way by GET_ROOM_LOG."""

_GAP = "GAP"

MakeValue = Callable[[events.RoomMessage, Any, str], RetainedValue]
"""Makes what is kept of an event: `Rooms.make_value`."""


class _Said(msgspec.Struct, eq=False):
    """An event on its way into the log, and who waits for that."""

    sid: str
    ack: int | None
    room: str
    entry: LogEntry
    skips: str | None
    members: int
    value: RetainedValue | None


class _Behind(msgspec.Struct, eq=False):
    """A member that is told from the log.

    Attributes:
        since: From where it wanted to hear; None for what comes from now on.
        answer: Acknowledges its subscription, if that is still to be done.
        number: The last number that it was told; None before the first page.
        has_all: Whether the log had no more than that when it was read.
        heard: The last number that was said meanwhile, and is left to the log.
    """

    since: Since | None
    answer: Callable[[dict[str, Any]], list[Effect]] | None
    number: int | None = None
    has_all: bool = False
    heard: int = 0


class _Question(msgspec.Struct, eq=False):
    """A page that a peer has asked for."""

    sid: str
    ack: int | None
    room: str
    since: Since | None


class _Place(msgspec.Struct, eq=False):
    """How far the members of a room here were told, and which of them are behind."""

    number: int | None = None
    history: str = ""
    behind: dict[str, _Behind] = {}
    is_reading: bool = False
    heard: int = 0  # meanwhile, and is left to the log


class Logs:
    """The rooms of a mesh that have a log.

    What returns effects is an input, as in `alephscript.mesh.mesh.Mesh`.

    Args:
        rooms: The rooms.
        speech: Where rooms are told.
        names: Which of them are kept; ``*`` for all.

    Attributes:
        names: As given.
        is_shared: Whether hubs share the log, and hear from it what is said.
    """

    def __init__(self, rooms: Rooms, speech: Speech, names: Iterable[str]) -> None:
        self.names = frozenset(names)
        self.is_shared = False
        self._rooms = rooms
        self._speech = speech
        self._numbers = itertools.count(1)
        self._said: dict[int, _Said] = {}
        self._skips: dict[int, str] = {}  # by number, until the log tells of it
        self._reads: dict[int, _Question | tuple[str, str]] = {}  # else a room and a socket id
        self._readers: Counter[str] = Counter()
        self._places: dict[str, _Place] = {}

    def keeps(self, room: str) -> bool:
        """Whether a room has a log."""
        return room in self.names or "*" in self.names

    # Saying

    def say(
        self,
        peer: Peer,
        ack: int | None,
        make_value: MakeValue | None,
        to: Sized,
        message: events.RoomMessage,
        data: Any,
        sender: str,
        _: Hashable,
    ) -> list[Effect]:
        """Put what a peer says into the log; `appended` tells the room, and acknowledges.

        Args:
            peer: The peer.
            ack: Its acknowledgement id, if it wants one.
            make_value: Makes what is retained of it, if anything is.
            to: Socket ids of those who are to hear it here.
            message: The event and the room.
            data: What is said.
            sender: The peer's name.
        """
        value = None if make_value is None else make_value(message, data, sender)
        number = next(self._numbers)
        raw = data.copy() if isinstance(data, msgspec.Raw) else msgspec.Raw(write_json(data))
        at = self._rooms.milliseconds()
        entry = LogEntry(number, message.event, raw, sender, at)  # a number of its own till then
        skips = peer.sid if message.event.startswith("SET_") else None
        said = _Said(peer.sid, ack, message.room, entry, skips, len(to), value)
        if skips is not None and self.is_shared and message.room in peer.rooms:
            self._skips[number] = skips
        self._said[number] = said
        effects: list[Effect] = [Append(number, message.room, entry)]
        if value is not None:
            effects += self._speech.keep_quietly(message.room, message.event, value)
        return effects

    def appended(
        self, number: int, history: str, place: int, error: RequestError | None = None
    ) -> list[Effect]:
        """Take note that an event is in the log, or cannot be.

        Args:
            number: The number of its `Append`.
            history: Name of the room's log.
            place: The event's number in that log; 0 if it has none.
            error: Why the event is not in the log; it is told to the room all the same.
        """
        said = self._said.pop(number)
        said.entry.number = place
        effects: list[Effect] = []
        if error is not None:
            effects = self._tell(said.room, "", said.entry, said.skips)
        elif not self.is_shared:
            here = self._places.get(said.room)
            if here is not None:  # somebody is there, who is told in the order of the log
                here.number, here.history = place, history
                effects = self._tell(said.room, history, said.entry, said.skips)
        if said.value is not None and place:
            said.value.logged = Position(history, place)
        peer = self._rooms.peers.get(said.sid)
        if peer is None or said.ack is None:
            return effects
        if error is not None:
            return [*effects, Acknowledge(peer.sid, said.ack, error.answer())]
        about = {"room": said.room, "members": said.members, **_describe(history, place)}
        return effects + acknowledge(peer, said.ack, about)

    def heard(
        self, room: str, history: str, entry: LogEntry, number: int | None = None
    ) -> list[Effect]:
        """Tell members here what stands in a log that hubs share.

        Args:
            room: The room.
            history: Name of its log.
            entry: The event.
            number: The number of the `Append`, if this hub has put it there.
        """
        skips = None if number is None else self._skips.pop(number, None)
        return self._hear(room, history, entry, skips)

    def resynchronise(self) -> list[Effect]:
        """Read what was said while this hub could not hear it."""
        effects: list[Effect] = []
        self._skips.clear()
        for room, place in self._places.items():
            if place.number is not None and self._rooms.members(room):
                effects += self._catch_up(room, place)
        return effects

    def _hear(self, room: str, history: str, entry: LogEntry, skips: str | None) -> list[Effect]:
        """Tell the members an entry that comes next, or read what lies between."""
        place = self._places.get(room)
        if place is None:
            return []  # nobody is here
        if place.number is not None and history == place.history:
            if entry.number <= place.number:
                return []
            if place.is_reading or entry.number > place.number + 1:
                place.heard = entry.number
                return self._catch_up(room, place)
        place.number, place.history = entry.number, history
        return self._tell(room, history, entry, skips)

    def _tell(self, room: str, history: str, entry: LogEntry, skips: str | None) -> list[Effect]:
        place = self._places.get(room)
        to: Collection[str] = self._rooms.members(room)
        if skips is not None:
            to = [sid for sid in to if sid != skips]
        if place is not None and place.behind:
            to = [sid for sid in to if self._is_current(place, sid, entry.number)]
        if entry.lost or not to:
            return []
        message = events.RoomMessage(entry.event, room, None, {})
        return self._speech.tell(
            to,
            message,
            entry.data,
            entry.sender,
            is_echo=True,
            number=entry.number or None,
            at=entry.at,
            history=history,
        )

    def _is_current(self, place: _Place, sid: str, number: int) -> bool:
        """Whether a member is told an entry as it comes, and not from the log."""
        behind = place.behind.get(sid)
        if behind is None:
            return True
        if not behind.has_all or not number:
            behind.heard = max(behind.heard, number)
            return not number
        assert behind.number is not None
        if number <= behind.number:
            return False
        del place.behind[sid]
        return True

    def _catch_up(self, room: str, place: _Place) -> list[Effect]:
        if place.is_reading:
            return []
        place.is_reading = True
        number = next(self._numbers)
        self._reads[number] = (room, "")
        return [ReadLog(number, "", room, most=_PAGE, after=place.number)]

    # Subscribing

    def enter(
        self,
        peer: Peer,
        room: Room,
        since: Since | None,
        answer: Callable[[dict[str, Any]], list[Effect]],
    ) -> list[Effect]:
        """Confirm a subscription when it is known where it begins, and tell what was said before.

        Args:
            peer: The peer, a member of the room.
            room: The room.
            since: From where it wants to hear; None for what comes from now on.
            answer: Makes the acknowledgement.
        """
        place = self._places.setdefault(room.name, _Place())
        place.behind[peer.sid] = _Behind(since, answer)
        if since is None:
            return self._read_on(peer.sid, room.name, None, most=0)
        after = None if since.position is None else since.position.number
        return self._read_on(peer.sid, room.name, after, at=since.resolve(self._rooms.now))

    def describe(self, peer: Peer, room: str) -> dict[str, Any]:
        """Describe to a member how far it was told, as far as that is known."""
        place = self._places.get(room)
        if place is None or not place.history:
            return {}
        behind = place.behind.get(peer.sid)
        number = place.number if behind is None else behind.number
        return {} if number is None else _describe(place.history, number)

    def leave(self, sid: str, room: str) -> None:
        """Forget a member of a room."""
        place = self._places.get(room)
        if place is None:
            return
        place.behind.pop(sid, None)
        if not self._rooms.members(room):
            del self._places[room]  # from now on nothing is heard of it, where hubs share a log

    def _read_on(
        self, sid: str, room: str, after: int | None, *, at: int | None = None, most: int = _PAGE
    ) -> list[Effect]:
        number = next(self._numbers)
        self._reads[number] = (room, sid)
        return [ReadLog(number, sid, room, most=most, after=after, at=at)]

    # Reading

    def ask(self, peer: Peer, ack: int | None, query: Any) -> list[Effect]:
        """Answer GET_ROOM_LOG ``{room, since?, before?, most?}`` when the page was read.

        Raises:
            InvalidPayload: The question makes no sense.
            PermissionDenied: The peer may not hear the room.
            Overloaded: The peer reads as much at once as it may.
        """
        query = query if isinstance(query, dict) else {}
        room = events.check_room_name(query.get("room"))
        self._rooms.check(peer, "subscribe", room)
        since = query.get("since")
        begin = None if since is None else parse_since(since)
        before, most = query.get("before"), query.get("most", _PAGE)
        for key, value in (("before", before), ("most", most)):
            if value is not None and (type(value) is not int or not 0 <= value < 10**15):
                raise InvalidPayload(key, [{"path": key, "message": "expected a number"}])
        if self._readers[peer.sid] >= _READERS:
            raise Overloaded(f"a client may read {_READERS} pages of logs at once")
        question = _Question(peer.sid, ack, room, begin)
        after = None if begin is None or begin.position is None else begin.position.number
        at = None if begin is None else begin.resolve(self._rooms.now)
        if begin is None and before is None:
            after = 0
        most = min(most or _PAGE, _PAGE)
        if not self.keeps(room):
            history = self._rooms.history_of(room)
            page = None
            if history is not None:
                name = self._rooms.name_of(history)
                page = history.read(name, most=most, after=after, at=at, before=before)
            return self._answer(question, page)
        number = next(self._numbers)
        self._reads[number] = question
        self._readers[peer.sid] += 1
        return [ReadLog(number, peer.sid, room, most=most, after=after, at=at, before=before)]

    def read(self, number: int, page: LogPage | None) -> list[Effect]:
        """Take a page of a log.

        Args:
            number: The number of its `ReadLog`.
            page: The page; None if the log cannot be read at the moment.
        """
        purpose = self._reads.pop(number)
        if isinstance(purpose, _Question):
            self._readers[purpose.sid] -= 1
            if not self._readers[purpose.sid]:
                del self._readers[purpose.sid]
            if page is None:
                peer = self._rooms.peers.get(purpose.sid)
                error = Overloaded("the log cannot be read at the moment; try again")
                if peer is None or purpose.ack is None:
                    return []
                return [Acknowledge(peer.sid, purpose.ack, error.answer())]
            return self._answer(purpose, page)
        room, sid = purpose
        place = self._places.get(room)
        if place is None:
            return []
        return self._go_on(room, place, page, sid) if sid else self._caught_up(room, place, page)

    def _answer(self, question: _Question, page: LogPage | None) -> list[Effect]:
        peer = self._rooms.peers.get(question.sid)
        if peer is None:
            return []
        fields: dict[str, Any] = {"room": question.room}
        if page is None:
            return acknowledge(peer, question.ack, fields | {"missed": None, "events": []})
        entries, reached, missed = _cut(page, question.since)
        fields |= {
            **_describe(page.history, reached),
            "missed": missed,
            "isEnd": reached >= page.last,
            "first": page.first,
            "last": page.last,
            "events": [_show(each, page.history) for each in entries],
        }
        return acknowledge(peer, question.ack, fields)

    def _go_on(self, room: str, place: _Place, page: LogPage | None, sid: str) -> list[Effect]:
        """Tell a page to a member that is behind, and read the next."""
        behind, peer = place.behind.get(sid), self._rooms.peers.get(sid)
        if behind is None or peer is None:
            return []
        if page is None:  # from here on it hears what comes
            del place.behind[sid]
            return [] if behind.answer is None else behind.answer({"missed": None})
        entries, reached, missed = _cut(page, behind.since)
        if behind.answer is not None:
            effects = self._repeat(peer, room, page.history, entries)
            fields = _describe(page.history, reached)
            if behind.since is not None:
                lost = sum(each.lost for each in entries)
                fields["missed"] = None if missed is None else missed + lost
            effects += behind.answer(fields)
            behind.answer = None
        else:
            effects = [] if missed == 0 else _tell_gap(peer, room, missed)
            effects += self._repeat(peer, room, page.history, entries, tells_gaps=True)
        place.history = page.history
        behind.number = reached
        behind.since = Since(position=Position(page.history, reached))
        heard, behind.heard = behind.heard, 0
        if reached < max(page.last, heard):
            return effects + self._read_on(sid, room, reached)
        behind.has_all = True
        if place.number is None and not self.is_shared:
            place.number = reached
        if place.number is not None and place.number >= reached:
            del place.behind[sid]
        return effects

    def _caught_up(self, room: str, place: _Place, page: LogPage | None) -> list[Effect]:
        """Tell all members what this hub had not heard."""
        place.is_reading = False
        heard, place.heard = place.heard, 0
        if page is None:
            place.number = None
            return []
        if place.number is None or page.history != place.history:  # that one was lost
            place.number, place.history = page.last, page.history
            return []
        effects: list[Effect] = []
        for entry in page.entries:
            if entry.number > place.number:
                place.number = entry.number
                effects += self._tell(room, page.history, entry, None)
        is_behind = place.number < max(page.last, heard)
        return effects + (self._catch_up(room, place) if is_behind else [])

    def _repeat(
        self,
        peer: Peer,
        room: str,
        history: str,
        entries: Sequence[LogEntry],
        *,
        tells_gaps: bool = False,
    ) -> list[Effect]:
        """Tell a peer what was said before."""
        effects: list[Effect] = []
        to = (peer.sid,)
        for entry in entries:
            if entry.lost:
                effects += _tell_gap(peer, room, entry.lost) if tells_gaps else []
                continue
            message = events.RoomMessage(entry.event, room, None, {})
            effects += self._speech.tell(
                to,
                message,
                entry.data,
                entry.sender,
                is_echo=True,
                number=entry.number,
                at=entry.at,
                history=history,
            )
        return effects


def _describe(history: str, number: int) -> dict[str, Any]:
    """Describe a position to a peer."""
    position = Position(history, number)
    return {"history": history, "number": number, "position": str(position)}


def _show(entry: LogEntry, history: str) -> dict[str, Any]:
    """Show an entry, or the hole that it stands for, to a peer that reads the log."""
    place = {"at": entry.at, "number": entry.number}
    if entry.lost:
        return {"lost": entry.lost, **place}
    position = str(Position(history, entry.number))
    return {
        "event": entry.event,
        "data": entry.data,
        "sender": entry.sender,
        **place,
        "position": position,
    }


def _tell_gap(peer: Peer, room: str, missed: int | None) -> list[Effect]:
    """Tell a peer that reads a log that the log does not have all."""
    if not peer.reads_meta:
        return []  # a stock peer knows no such event
    return [Emit((peer.sid,), _GAP, ({"missed": missed}, {"room": room}))]


def _cut(page: LogPage, since: Since | None) -> tuple[Sequence[LogEntry], int, int | None]:
    """Cut a page to what somebody wants to hear.

    Returns:
        The entries; the number that was reached with them; and how many events before them the log
        no longer has, None if that is not known.
    """
    missed: int | None = 0
    entries = page.entries
    if since is not None and since.position is not None:
        position = since.position
        if position.history != page.history or not 0 <= position.number <= page.last:
            return (), page.last, None
        missed = max(0, page.first - position.number - 1)
    elif page.has_lost:
        missed = None
    return entries, entries[-1].number if entries else page.begin, missed
