"""Broadcasts that wait for the link while there is none.

May go in: keeping them, bounded and in order. May not: whether they are kept at all (`client`).
"""

from __future__ import annotations

from collections import deque

from alephscript.client.dialects import Dialect
from alephscript.errors import Overloaded

__all__ = ["OfflineBuffer"]


class OfflineBuffer:
    """Broadcasts in the order in which they were said.

    Args:
        bound: How many are kept at the most.
    """

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self._broadcasts: deque[tuple[str, str, bytes]] = deque()

    def keep(self, room: str, event: str, data: bytes) -> None:
        """Keep a broadcast until there is a link.

        Raises:
            Overloaded: The buffer is full.
        """
        if len(self._broadcasts) >= self._bound:
            waiting = f"{len(self._broadcasts)} broadcasts wait for the link already"
            raise Overloaded(waiting, [{"delivered": False}])
        self._broadcasts.append((room, event, data))

    def flush(self, dialect: Dialect) -> None:
        """Say what was kept; raises as `Dialect.broadcast`."""
        while self._broadcasts:
            dialect.broadcast(*self._broadcasts.popleft())
