"""Broadcasts that wait for the link while there is none.

May go in: keeping them, bounded and in order. May not: whether they are kept at all (`client`).
"""

from __future__ import annotations

import logging
from collections import deque

from alephscript.client.dialects import Dialect
from alephscript.errors import NotConnected, Overloaded, RequestError

__all__ = ["OfflineBuffer"]

logger = logging.getLogger("alephscript.client")


class OfflineBuffer:
    """Broadcasts in the order in which they were said.

    Args:
        bound: How many are kept at the most.
    """

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self._broadcasts: deque[tuple[str, str, bytes, bool]] = deque()

    def keep(self, room: str, event: str, data: bytes, *, retain: bool) -> None:
        """Keep a broadcast until there is a link.

        Raises:
            Overloaded: The buffer is full.
        """
        if len(self._broadcasts) >= self._bound:
            waiting = f"{len(self._broadcasts)} broadcasts wait for the link already"
            raise Overloaded(waiting, [{"delivered": False}])
        self._broadcasts.append((room, event, data, retain))

    def flush(self, dialect: Dialect) -> None:
        """Say what was kept, as far as the link lasts; what the hub cannot take is dropped."""
        while self._broadcasts:
            room, event, data, retain = self._broadcasts[0]
            try:
                dialect.broadcast(room, event, data, retain=retain)
            except NotConnected:
                return  # the rest waits for the next link
            except RequestError as error:
                logger.error(
                    "%s, which waited for the link, was not said in %s (%s)",
                    event,
                    room,
                    error.code,
                    extra={"event": event, "room": room, "code": error.code},
                )
            self._broadcasts.popleft()
