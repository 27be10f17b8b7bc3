"""How often a hub says the same of other hubs: a burst of nonsense is no burst of log lines.

May go in: the time between two lines. May not: the lines, which are where their reason is.
"""

from __future__ import annotations

import time

__all__ = ["Pace"]

_SECONDS = 1.0
"""Least time between two lines of one kind."""


class Pace:
    """The lines of one kind."""

    def __init__(self) -> None:
        self._said_at = float("-inf")

    def is_due(self) -> bool:
        """Whether a line may be said now, which then counts as said."""
        now = time.monotonic()
        if now - self._said_at < _SECONDS:
            return False
        self._said_at = now
        return True
