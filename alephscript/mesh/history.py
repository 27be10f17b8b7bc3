"""Recent events of rooms, replayed to clients that reconnect.

A room keeps so many events and so many bytes (`History`). All rooms together keep so many bytes,
and of them one speaker a share (`Archive`): else whoever speaks in many rooms, and leaves them,
would fill the memory. What goes first is the oldest: of the speaker, if it is over its share.

May go in: which events are kept, and which a client has missed. May not: who may hear them.
Pure: no socket, no clock.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict, deque
from collections.abc import Hashable, Iterator
from typing import Any, NamedTuple

import msgspec

from alephscript.mesh.budget import weigh
from alephscript.mesh.pages import LogEntry, LogPage
from alephscript.protocol.json import write_json

__all__ = ["Archive", "History", "PastEvent"]

_EVENT_BYTES = 500
"""What an event takes besides its data: itself, and its places in tables."""

_SHARE = 4
"""One speaker's events may take a fourth of what is kept."""

_Key = tuple[int, int]
"""Number of a history, number of an event in it."""


class PastEvent(NamedTuple):
    """An event that was said in a room; ``size`` in bytes of JSON, ``at`` as in `Speech.tell`."""

    number: int
    event: str
    data: Any
    sender: str
    size: int
    at: int = 0


class Archive:
    """All histories of a mesh.

    Args:
        events: How many events of a room are kept at the most; 0 keeps none of any.
        room_bytes: How many bytes of JSON of a room are kept at the most.
        most_bytes: How many bytes of memory all rooms' events may take.
    """

    def __init__(self, *, events: int, room_bytes: int, most_bytes: int) -> None:
        self.events = events
        self.room_bytes = room_bytes
        self._most_bytes = most_bytes
        self._numbers = itertools.count()
        self._bytes = 0
        self._kept: OrderedDict[_Key, tuple[History, Hashable, int]] = OrderedDict()
        self._speakers: dict[Hashable, _Speaker] = {}

    def open(self) -> History | None:
        """Begin a history, if any are kept."""
        return History(self, next(self._numbers)) if self.events else None

    def note_kept(self, history: History, number: int, speaker: Hashable, size: int) -> None:
        """Count an event that a history keeps, and have older ones dropped for it."""
        key = (history.number, number)
        said = self._speakers.get(speaker)
        if said is None:
            said = self._speakers[speaker] = _Speaker()
        self._kept[key] = (history, speaker, size)
        said.keys[key] = None
        said.bytes += size
        self._bytes += size
        while said.keys and said.bytes > self._most_bytes // _SHARE:
            self._drop(next(iter(said.keys)))
        while self._bytes > self._most_bytes:
            self._drop(next(iter(self._kept)))

    def note_dropped(self, history: History, number: int) -> None:
        """Count an event no more."""
        key = (history.number, number)
        _, speaker, size = self._kept.pop(key)
        said = self._speakers[speaker]
        del said.keys[key]
        said.bytes -= size
        self._bytes -= size
        if not said.keys:
            del self._speakers[speaker]

    def _drop(self, key: _Key) -> None:
        self._kept[key][0].drop_until(key[1])


class _Speaker:
    """What is kept of one speaker, in order."""

    __slots__ = ("bytes", "keys")

    def __init__(self) -> None:
        self.bytes = 0
        self.keys: OrderedDict[_Key, None] = OrderedDict()


class History:
    """The last events of a room, by number.

    Args:
        archive: All histories of the mesh.
        number: Which of this hub's histories it is.

    Attributes:
        number: As given.
        last: Number of the last event, 0 before the first.
    """

    __slots__ = ("_archive", "_kept", "_kept_bytes", "last", "number")

    def __init__(self, archive: Archive, number: int = 0) -> None:
        self.number = number
        self.last = 0
        self._archive = archive
        self._kept: deque[PastEvent] = deque()
        self._kept_bytes = 0

    def add(self, event: str, data: Any, sender: str, speaker: Hashable = None, at: int = 0) -> int:
        """Keep an event, and return the number that it gets.

        Args:
            event: The event's name.
            data: Its data, read or unread.
            sender: Name of the member that says it.
            speaker: Whose share of what is kept it takes; None for the hub itself.
            at: When it was said, in milliseconds since 1970; 0 if that is not known.
        """
        self.last += 1
        if isinstance(data, msgspec.Raw):
            data = data.copy()  # a view would keep the whole message that it came in
            size = len(data)
        else:
            size = len(write_json(data))
        self._kept.append(PastEvent(self.last, event, data, sender, size, at))
        self._kept_bytes += size
        archive = self._archive
        archive.note_kept(self, self.last, speaker, weigh(data) + _EVENT_BYTES)
        while len(self._kept) > archive.events or self._kept_bytes > archive.room_bytes:
            self._drop_oldest()
        return self.last

    def drop_until(self, number: int) -> None:
        """Keep no event up to a number."""
        while self._kept and self._kept[0].number <= number:
            self._drop_oldest()

    def since(self, number: int) -> Iterator[PastEvent]:
        """Iterate over the events after a number that are kept, in order."""
        return (event for event in self._kept if event.number > number)

    def find(self, at: int) -> tuple[int, int | None]:
        """Find the number after which events were said at a time, or later.

        Returns:
            The number; and 0, or None if such events may have been dropped.
        """
        begin = next((each.number - 1 for each in self._kept if each.at >= at), self.last)
        return begin, None if self.missed(0) and begin < self._first else 0

    @property
    def _first(self) -> int:
        return self._kept[0].number if self._kept else self.last + 1

    def read(
        self, name: str, *, most: int, after: int | None, at: int | None, before: int | None
    ) -> LogPage:
        """Read a page as of a log; see `alephscript.mesh.effects.ReadLog`."""
        begin, missed = (after or 0, 0) if at is None else self.find(at)
        kept = [each for each in self._kept if before is not None or each.number > begin]
        if before is not None:
            kept = [each for each in kept if each.number < before][-most:]
            begin = kept[0].number - 1 if kept else 0
        entries = [
            LogEntry(
                each.number, each.event, msgspec.Raw(write_json(each.data)), each.sender, each.at
            )
            for each in kept[:most]
        ]
        return LogPage(name, entries, begin, self._first, self.last, has_lost=missed is None)

    def missed(self, number: int) -> int:
        """Count the events after a number that are not kept any more."""
        return max(0, self._first - number - 1)

    def _drop_oldest(self) -> None:
        dropped = self._kept.popleft()
        self._kept_bytes -= dropped.size
        self._archive.note_dropped(self, dropped.number)
