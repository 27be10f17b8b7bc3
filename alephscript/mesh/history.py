"""Recent events of a room, replayed to clients that reconnect.

May go in: which events are kept, and which a client has missed. May not: who may hear them.
Pure: no socket, no clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any, NamedTuple

__all__ = ["History", "PastEvent"]


class PastEvent(NamedTuple):
    """An event that was said in a room; ``size`` is in bytes."""

    number: int
    event: str
    data: Any
    sender: str
    size: int


class History:
    """The last events of a room, by number.

    Args:
        events: How many events are kept at the most.
        size: How many bytes of events are kept at the most.
        number: Which of this hub's histories it is.

    Attributes:
        number: As given.
        last: Number of the last event, 0 before the first.
    """

    __slots__ = ("_kept", "_kept_bytes", "_most_bytes", "_most_events", "last", "number")

    def __init__(self, *, events: int, size: int, number: int = 0) -> None:
        self.number = number
        self.last = 0
        self._kept: deque[PastEvent] = deque()
        self._kept_bytes = 0
        self._most_events = events
        self._most_bytes = size

    def add(self, event: str, data: Any, sender: str, size: int) -> int:
        """Keep an event, and return the number that it gets."""
        self.last += 1
        self._kept.append(PastEvent(self.last, event, data, sender, size))
        self._kept_bytes += size
        while len(self._kept) > self._most_events or self._kept_bytes > self._most_bytes:
            self._kept_bytes -= self._kept.popleft().size
        return self.last

    def since(self, number: int) -> Iterator[PastEvent]:
        """Iterate over the events after a number that are kept, in order."""
        return (event for event in self._kept if event.number > number)

    def missed(self, number: int) -> int:
        """Count the events after a number that are not kept any more."""
        oldest = self._kept[0].number if self._kept else self.last + 1
        return max(0, oldest - number - 1)
