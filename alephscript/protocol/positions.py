"""Positions in what was said in a room, and the ways to say since when somebody wants to hear it.

============  =====================  ==============================================================
since         is written             means
============  =====================  ==============================================================
a position    as the hub told it     all that stands behind it in its log
a duration    ``10m``                all that was said in the last ten minutes, by the hub's clock
a time        ``2026-01-31T12:00Z``  all that was said from then on; UTC if it names no zone
============  =====================  ==============================================================

May go in: what a position and a time are, as texts and as values. May not: what a hub has of a room
(`mesh`). Pure: no socket, no clock.
"""

from __future__ import annotations

import datetime as dt
import re
from typing import Any

import attrs

from alephscript.errors import InvalidPayload

__all__ = [
    "Position",
    "Since",
    "parse_bytes",
    "parse_duration",
    "parse_position",
    "parse_since",
    "write_since",
]

_POSITION = re.compile(r"([0-9A-Za-z_-]{1,64}\.[0-9]{1,15})\.([0-9]{1,15})", re.ASCII)
_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)(ms|s|m|h|d|w)", re.ASCII)
_SIZE = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,6})?)([kKmMgGtT]?)[bB]?", re.ASCII)
_BYTES = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_EXPECTED = 'expected a duration ("10m"), an ISO time, or a position as the hub told it'
_LARGEST = 10**15
_LONGEST = 100
"""Characters of a time or a position."""


@attrs.frozen(order=False)
class Position:
    """A place in what was said in a room: behind one event, and before the next.

    Positions of one log are in the order in which its events were said; those of two logs have no
    order, and comparing them is a TypeError. As a text (``str``), a position can be kept, and given
    to whatever takes one (``Position.parse``).

    Attributes:
        history: Name of the room's log; a hub that has lost a log gives a new one.
        number: The event's number in that log.
    """

    history: str
    number: int

    @classmethod
    def parse(cls, text: str) -> Position:
        """Read a position that was written with ``str``.

        Raises:
            ValueError: The text is none.
        """
        position = parse_position(text)
        if position is None:
            raise ValueError(f"{text!r} is no position; write one with str(position)")
        return position

    def __str__(self) -> str:
        return f"{self.history}.{self.number}"

    def __lt__(self, other: object) -> bool:
        return self.number < self._number_of(other)

    def __le__(self, other: object) -> bool:
        return self.number <= self._number_of(other)

    def __gt__(self, other: object) -> bool:
        return self.number > self._number_of(other)

    def __ge__(self, other: object) -> bool:
        return self.number >= self._number_of(other)

    def _number_of(self, other: object) -> int:
        if not isinstance(other, Position):
            raise TypeError(f"a position has no order with {type(other).__name__}")
        if other.history != self.history:
            raise TypeError("these positions are of two logs, which have no common order")
        return other.number


@attrs.frozen
class Since:
    """What somebody wants to hear from; one of the three is given.

    Attributes:
        position: What stands behind this position.
        ago: What was said in so many seconds until now.
        at: What was said from then on, in milliseconds since 1970.
        resumes: Whether a client goes on from there by itself, and nobody has asked for it.
    """

    position: Position | None = None
    ago: float | None = None
    at: int | None = None
    resumes: bool = False

    def resolve(self, now: float) -> int | None:
        """Return the time that is meant, in milliseconds since 1970; None where a position is.

        Args:
            now: Seconds since 1970.
        """
        if self.ago is not None:
            return max(0, int((now - self.ago) * 1000))
        return self.at


def parse_position(text: str) -> Position | None:
    """Read a position; None if the text is none."""
    match = _POSITION.fullmatch(text)
    return None if match is None else Position(match[1], int(match[2]))


def parse_duration(text: str) -> float | None:
    """Read a duration such as ``10m`` or ``1.5h``, in seconds; None if the text is none."""
    match = _DURATION.fullmatch(text)
    return None if match is None else float(match[1]) * _SECONDS[match[2]]


def parse_bytes(text: str) -> int | None:
    """Read a size such as ``1G`` or ``1500000``, in bytes; None if the text is none."""
    match = _SIZE.fullmatch(text)
    return None if match is None else int(float(match[1]) * _BYTES[match[2].lower()])


def parse_since(value: Any) -> Since:
    """Read since when somebody wants to hear what was said: any JSON.

    Raises:
        InvalidPayload: The value is none of what the module's table has.
    """
    if isinstance(value, dict):  # as hubs told positions before, and tell them to this package
        history, number = value.get("history"), value.get("number")
        if isinstance(history, str) and type(number) is int and abs(number) < _LARGEST:
            return Since(position=Position(history, number), resumes=True)
    elif isinstance(value, str) and len(value) <= _LONGEST:
        position = parse_position(value)
        if position is not None:
            return Since(position=position)
        seconds = parse_duration(value)
        if seconds is not None:
            return Since(ago=seconds)
        at = _parse_time(value)
        if at is not None:
            return Since(at=at)
    raise InvalidPayload(f"since: {_EXPECTED}", [{"path": "since", "message": _EXPECTED}])


def write_since(since: object) -> str:
    """Write since when somebody wants to hear what was said, from Python's values, for a hub.

    Args:
        since: A position, a datetime (in local time if it names no zone), or a text.

    Raises:
        InvalidPayload: It is none of these.
    """
    if isinstance(since, Position):
        return str(since)
    if isinstance(since, dt.datetime):
        return since.astimezone(dt.UTC).isoformat()
    parse_since(since if isinstance(since, str) else None)
    return str(since)


def _parse_time(text: str) -> int | None:
    try:
        at = dt.datetime.fromisoformat(text)
        at = at if at.tzinfo is not None else at.replace(tzinfo=dt.UTC)
        return max(0, int(at.timestamp() * 1000))
    except (ValueError, OverflowError):
        return None
