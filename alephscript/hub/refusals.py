"""The log of those whom a hub did not let in: who and why, without what they showed.

May go in: how often a refusal is logged. May not: who is refused (`admission`, `joining`), counts
of them (`metering`).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

__all__ = ["RefusalLog"]

logger = logging.getLogger("alephscript.hub")

_MOST = 20
"""Lines in a minute: whoever knocks again and again fills no disk."""

_MINUTE = 60.0
_LONGEST = 128
"""Characters that are logged of what a client wanted, and of a reason."""


class RefusalLog:
    """Logs refusals: each address and reason once a minute, and so many in all.

    Args:
        clock: Tells seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = clock()
        self._told: set[tuple[str, str]] = set()
        self._untold = 0

    def note(self, address: str, wanted: str, reason: str) -> None:
        """Log a refusal, unless it was logged just now or there were too many.

        Args:
            address: The client's, or that of a proxy in front of the hub; empty if nobody asked.
            wanted: The namespace or the page.
            reason: What the client was told.
        """
        now = self._clock()
        if now - self._began >= _MINUTE:
            self._began = now
            self._told.clear()
        key = (address, reason[:_LONGEST])
        if key in self._told or len(self._told) >= _MOST:
            self._untold += 1
            return
        self._told.add(key)
        untold, self._untold = self._untold, 0
        logger.warning(
            "refused %s at %s: %s (and %d like this since the last line)",
            address or "a client",
            wanted[:_LONGEST],
            reason[:_LONGEST],
            untold,
            extra={"address": address, "wanted": wanted[:_LONGEST], "reason": reason[:_LONGEST]},
        )
