"""The open requests that one peer is to answer, by room, by event and by their askers' marks.

Few peers need that: those that answer by events, and those that another master displaces. So it is
made when it is first asked for, and kept up to date while the peer has open requests. Without it
each SET_ and each declaration would go through all that the peer has to answer.

May go in: finding open requests. May not: which of them an event answers (`answers`), or what
becomes of them (`requests`). Pure: no socket, no clock.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, Protocol

from alephscript.protocol.json import write_json

__all__ = ["Candidates", "Served", "Serving"]


class Served(Protocol):
    """An open request, as far as it is found by something."""

    number: int
    room: str

    @property
    def answer_seen(self) -> bool:
        """Whether an event has answered it."""
        ...

    @property
    def event(self) -> str:
        """``GET_`` and the capability."""
        ...

    @property
    def payload_id(self) -> Any:
        """The asker's mark in the payload."""
        ...


class Candidates:
    """Open requests that one event may answer, in order.

    Attributes:
        all: All of them, by number.
        unseen: Those that no event has answered yet.
    """

    __slots__ = ("all", "unseen")

    def __init__(self) -> None:
        self.all: dict[int, Any] = {}
        self.unseen: dict[int, Any] = {}

    def add(self, request: Served) -> None:
        """Add a request."""
        self.all[request.number] = request
        if not request.answer_seen:
            self.unseen[request.number] = request

    def remove(self, number: int) -> None:
        """Remove a request; one that is not there is no error."""
        self.all.pop(number, None)
        self.unseen.pop(number, None)


class _Event:
    """The open requests of one room and event."""

    __slots__ = ("_by_mark", "_marks", "all")

    def __init__(self) -> None:
        self.all = Candidates()
        self._by_mark: dict[Any, Candidates] = {}
        self._marks: dict[int, Any] | None = None  # by number; payloads are read if that is needed

    def add(self, request: Served) -> None:
        self.all.add(request)
        if self._marks is not None:
            self._mark(request)

    def remove(self, request: Served) -> None:
        number = request.number
        self.all.remove(number)
        if self._marks is not None:
            mark = self._marks.pop(number, None)
            candidates = self._by_mark.get(mark)
            if candidates is not None:
                candidates.remove(number)
                if not candidates.all:
                    del self._by_mark[mark]

    def note_seen(self, number: int) -> None:
        self.all.unseen.pop(number, None)
        if self._marks is not None and number in self._marks:
            self._by_mark[self._marks[number]].unseen.pop(number, None)

    def find(self, mark: Any) -> Candidates:
        if self._marks is None:
            self._marks = {}
            for request in self.all.all.values():
                self._mark(request)
        return self._by_mark.get(_key_of(mark)) or Candidates()

    def _mark(self, request: Served) -> None:
        assert self._marks is not None
        mark = self._marks[request.number] = _key_of(request.payload_id)
        candidates = self._by_mark.get(mark)
        if candidates is None:
            candidates = self._by_mark[mark] = Candidates()
        candidates.add(request)


class Serving:
    """The open requests of one peer that is to answer them.

    Args:
        requests: Those that are open already.
    """

    __slots__ = ("_rooms", "_rooms_of")

    def __init__(self, requests: Iterable[Served]) -> None:
        self._rooms: dict[str, dict[str, _Event]] = {}
        self._rooms_of: dict[str, dict[str, None]] = {}  # by event
        for request in requests:
            self.add(request)

    def add(self, request: Served) -> None:
        """Add a request that the peer is to answer."""
        by_event = self._rooms.setdefault(request.room, {})
        event = by_event.get(request.event)
        if event is None:
            event = by_event[request.event] = _Event()
            self._rooms_of.setdefault(request.event, {})[request.room] = None
        event.add(request)

    def remove(self, request: Served) -> None:
        """Remove a request that has ended, or got another master."""
        by_event = self._rooms.get(request.room, {})
        event = by_event.get(request.event)
        if event is None:
            return
        event.remove(request)
        if not event.all.all:
            del by_event[request.event]
            rooms = self._rooms_of[request.event]
            del rooms[request.room]
            if not rooms:
                del self._rooms_of[request.event]
            if not by_event:
                del self._rooms[request.room]

    def note_seen(self, request: Served) -> None:
        """Note that an event has answered a request, which is open all the same."""
        event = self._rooms.get(request.room, {}).get(request.event)
        if event is not None:
            event.note_seen(request.number)

    def in_room(self, room: str) -> list[Any]:
        """List the requests of a room, in order."""
        by_event = self._rooms.get(room, {})
        numbers = {
            number: each for one in by_event.values() for number, each in one.all.all.items()
        }
        return [numbers[number] for number in sorted(numbers)]

    def rooms_of(self, event: str) -> Collection[str]:
        """Name the rooms in which an event has asked for something."""
        return self._rooms_of.get(event, ())

    def of_event(self, room: str, event: str) -> Candidates:
        """Find the requests of a room by the event that asked them."""
        found = self._rooms.get(room, {}).get(event)
        return Candidates() if found is None else found.all

    def of_mark(self, room: str, event: str, mark: Any) -> Candidates:
        """Find those of them whose payload has a mark; None finds those that have none."""
        found = self._rooms.get(room, {}).get(event)
        return Candidates() if found is None else found.find(mark)


def _key_of(mark: Any) -> Any:
    """Make a key of a mark, any JSON."""
    return write_json(mark) if isinstance(mark, dict | list) else mark
