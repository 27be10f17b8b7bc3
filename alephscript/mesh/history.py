"""What was said in a room of late, so that who was away for a moment can hear it.

Pure: no socket, no clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any, NamedTuple

__all__ = ["History", "Said"]


class Said(NamedTuple):
    """One thing that was said; ``size`` is in bytes."""

    number: int
    event: str
    data: Any
    sender: str
    size: int


class History:
    """The last things said in a room, by number.

    Args:
        events: How many are kept at the most.
        size: How many bytes of them are kept at the most.
        number: Which of this hub's histories it is.

    Attributes:
        number: As given.
        last: Number of the last thing said, 0 before the first.
    """

    __slots__ = ("_kept", "_most", "_room", "_size", "last", "number")

    def __init__(self, *, events: int, size: int, number: int = 0) -> None:
        self.number = number
        self.last = 0
        self._kept: deque[Said] = deque()
        self._most = events
        self._room = size
        self._size = 0

    def add(self, event: str, data: Any, sender: str, size: int) -> int:
        """Something was said; the number it gets."""
        self.last += 1
        self._kept.append(Said(self.last, event, data, sender, size))
        self._size += size
        while len(self._kept) > self._most or self._size > self._room:
            self._size -= self._kept.popleft().size
        return self.last

    def since(self, number: int) -> Iterator[Said]:
        """What is kept of what was said after a number, in order."""
        return (said for said in self._kept if said.number > number)

    def missed(self, number: int) -> int:
        """How many things said after a number are not kept any more."""
        oldest = self._kept[0].number if self._kept else self.last + 1
        return max(0, oldest - number - 1)
