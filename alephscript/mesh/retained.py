"""Retained values: the last one of each event of a room, for those who subscribe later.

Theory of operation. A member says an event with ``retain``; its data is kept, in place of what was
kept of the same event in the same room, and told to whoever enters the room. So a room has so many
bytes, and so has all that one member has said, by the name that others see: what exceeds them is
refused, so that nobody's value goes because of somebody else's. All together have so many bytes,
too; there the oldest go, since rooms that nobody uses any more would fill them in the end.

May go in: what is kept of a room, and its bounds. May not: who is told (`speech`), which value is
the last where there are several hubs (`replicas`). Pure: no socket, no clock.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from alephscript.errors import LimitExceeded
from alephscript.protocol.events import RoomMessage
from alephscript.protocol.json import read_value, write_json
from alephscript.protocol.positions import Position, Since

__all__ = [
    "Retained",
    "RetainedValue",
    "is_told_again",
    "make_value",
    "parse_rules",
    "wants_retaining",
]

_EVERY_EVENT = "*"

_VALUE_BYTES = 1000
"""What a value takes besides its texts: itself, and its places in tables."""

_OF_A_SENDER = 4
_OF_ALL = 16

_Key = tuple[str, str]
"""A room and an event."""


class RetainedValue(msgspec.Struct, eq=False):
    """The last value of an event in a room.

    Attributes:
        data: JSON text; None for a value that is forgotten.
        sender: Name of the member that said it.
        at: When the hub took it, milliseconds since 1970; 0 if that is not known.
        stamp: The value's name among hubs; empty where there is one alone.
        place: The number of a history of this hub, and the event's number in it, if it has that.
        position: Where the decision about it stands among those of all hubs; 0 for none.
        logged: Where the log of the room has the event, as far as that is known.
        is_pending: Whether the other hubs are still to say where the value stands.
        is_contested: Whether members here have heard another value since this one was said.
    """

    data: msgspec.Raw | None
    sender: str
    at: int = 0
    stamp: str = ""
    place: tuple[int, int] | None = None
    position: int = 0
    logged: Position | None = None
    is_pending: bool = False
    is_contested: bool = False


def make_value(data: Any, sender: str, at: int) -> RetainedValue:
    """Make the value of what somebody says, read or unread; JSON's null forgets."""
    # A copy: a view would keep the whole message that it came in.
    raw = data.copy() if isinstance(data, msgspec.Raw) else msgspec.Raw(write_json(data))
    return RetainedValue(None if bytes(raw).strip() == b"null" else raw, sender, at)


def is_told_again(value: RetainedValue, since: Since, now: float) -> bool:
    """Whether the log of its room has a value among what somebody wants to hear."""
    logged, position = value.logged, since.position
    if logged is None:
        return False
    if position is None:
        return value.at >= (since.resolve(now) or 0)
    return logged.history == position.history and logged > position


def parse_rules(rules: Iterable[str]) -> dict[str, frozenset[str]]:
    """Parse ``ROOM:EVENT``, ``*`` for all events that are no answers; the events by room.

    A room may have a colon in its name, as zones have.

    Raises:
        ValueError: A rule names no room or no event.
    """
    parsed: dict[str, frozenset[str]] = {}
    for rule in rules:
        room, colon, event = rule.rpartition(":")
        if not (colon and room and event) or room == "*":
            raise ValueError(f"{rule!r} is not ROOM:EVENT; EVENT may be * for all events")
        parsed[room] = parsed.get(room, frozenset()) | {event}
    return parsed


class Retained:
    """The retained values of a mesh.

    Args:
        room_bytes: Bytes that a room may keep.
        rules: Events that are retained whether their sender wants it or not, by room; see
            `parse_rules`.

    Attributes:
        rules: As given.
    """

    def __init__(self, room_bytes: int, rules: Mapping[str, frozenset[str]]) -> None:
        self.rules = rules
        self._room_bytes = room_bytes
        self._rooms: dict[str, OrderedDict[str, RetainedValue]] = {}
        self._order: OrderedDict[_Key, None] = OrderedDict()  # the oldest first
        self._by_room: Counter[str] = Counter()
        self._by_sender: Counter[str] = Counter()
        self._bytes = 0

    def __iter__(self) -> Iterator[tuple[str, str, RetainedValue]]:
        """Iterate over rooms, events and values, the oldest first."""
        return iter([(*key, self._rooms[key[0]][key[1]]) for key in self._order])

    def has_rule(self, message: RoomMessage) -> bool:
        """Whether an event is retained although its sender does not ask for that."""
        events = self.rules.get(message.room, frozenset())
        if message.event in events:
            return True
        return _EVERY_EVENT in events and not message.event.startswith("SET_")

    def get(self, room: str, event: str) -> RetainedValue | None:
        """Get what is kept, if anything is."""
        values = self._rooms.get(room)
        return None if values is None else values.get(event)

    def of(self, room: str) -> Iterator[tuple[str, RetainedValue]]:
        """Iterate over the events and values of a room, in the order in which they were said."""
        return ((event, value) for event, value in self._rooms.get(room, {}).items() if value.data)

    def check(self, room: str, event: str, value: RetainedValue) -> None:
        """Raise if a value may not be kept.

        Raises:
            LimitExceeded: The room, or the member that says it, has too much kept already.
        """
        if value.data is None:
            return
        old, size = self.get(room, event), _size_of(room, event, value)
        freed = 0 if old is None else _size_of(room, event, old)
        most = self._room_bytes
        if self._by_room[room] - freed + size > most:
            raise LimitExceeded(
                f"{room} keeps {most} bytes of retained values at the most; forget some "
                "(data null), or retain less"
            )
        freed = freed if old is not None and old.sender == value.sender else 0
        most *= _OF_A_SENDER
        if self._by_sender[value.sender] - freed + size > most:
            raise LimitExceeded(
                f"of one member {most} bytes of retained values are kept at the most; forget some "
                "(data null), or retain less"
            )

    def put(self, room: str, event: str, value: RetainedValue) -> list[_Key]:
        """Keep a value, or forget what is kept if it has no data and nothing is pending.

        Returns:
            What there is no room for any more, of all rooms: to be forgotten.
        """
        self.drop(room, event)
        if value.data is None and not value.is_pending:
            return []
        self._rooms.setdefault(room, OrderedDict())[event] = value
        self._order[room, event] = None
        self._count(room, value, _size_of(room, event, value))
        return self._find_excess()

    def drop(self, room: str, event: str) -> None:
        """Keep nothing of an event of a room; nothing kept is no error."""
        values = self._rooms.get(room)
        value = values.pop(event, None) if values is not None else None
        if value is None:
            return
        if not values:
            del self._rooms[room]
        del self._order[room, event]
        self._count(room, value, -_size_of(room, event, value))

    def clear(self) -> None:
        """Keep nothing at all."""
        for room, event in list(self._order):
            self.drop(room, event)

    def _find_excess(self) -> list[_Key]:
        excess, left = [], self._bytes - _OF_ALL * self._room_bytes
        for room, event in self._order:
            if left <= 0:
                break
            left -= _size_of(room, event, self._rooms[room][event])
            excess.append((room, event))
        return excess

    def _count(self, room: str, value: RetainedValue, size: int) -> None:
        self._bytes += size
        for counter, key in ((self._by_room, room), (self._by_sender, value.sender)):
            counter[key] += size
            if not counter[key]:
                del counter[key]


def wants_retaining(message: RoomMessage) -> bool:
    """Whether the sender of an event wants its data to be kept."""
    return read_value(message.extras.get("retain")) is True


def _size_of(room: str, event: str, value: RetainedValue) -> int:
    data = 0 if value.data is None else len(value.data)
    return _VALUE_BYTES + data + 4 * (len(room) + len(event) + len(value.sender))
