"""What a mesh was sent and did not take, without anybody having been told: counts, by event.

Names come from strangers, so there is a bound to how many are told apart, and to their length.

May go in: counting. May not: logging, which is the shell's, or what is dropped (`mesh`). Pure: no
socket, no clock.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from alephscript.protocol import events

__all__ = ["NAMELESS", "OTHERS", "Drops"]

OTHERS = "(other)"
"""Stands for the names beyond the bound."""

NAMELESS = "(nameless)"
"""Stands for what has no name that an event may have."""

_MOST_NAMES = 100


class Drops:
    """The events of one mesh that were dropped.

    Attributes:
        counts: How many were dropped, by event and reason.
        report: Called with event and reason when both are seen together for the first time.
    """

    def __init__(self) -> None:
        self.counts: dict[tuple[str, str], int] = {}
        self.report: Callable[[str, str], None] = _say_nothing

    def count(self, event: Any, reason: str) -> None:
        """Count an event.

        Args:
            event: Its name as it came, of any type.
            reason: An error's code, or a word of the same kind.
        """
        is_name = isinstance(event, str) and 0 < len(event) <= events.MAX_NAME
        key = (event if is_name else NAMELESS, reason)
        if key not in self.counts:
            if len(self.counts) >= _MOST_NAMES:
                key = (OTHERS, reason)
            if key not in self.counts:
                self.counts[key] = 0
                self.report(*key)
        self.counts[key] += 1

    def snapshot(self) -> list[dict[str, Any]]:
        """Describe all counts as plain data."""
        return [
            {"event": event, "reason": reason, "count": count}
            for (event, reason), count in self.counts.items()
        ]


def _say_nothing(event: str, reason: str) -> None:
    """Leave it at the count: there is no log."""
