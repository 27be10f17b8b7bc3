"""What a bridge did not pass on: counts, by direction, name and reason.

Names come from strangers, so there is a bound to how many are told apart.

May go in: counting. May not: what is passed on (`passage`, `side`), logging, which is the bridge's.
Pure: no socket, no clock.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

__all__ = ["OTHERS", "Count", "Counts"]

OTHERS = "(other)"
"""Stands for the names beyond the bound."""

_MOST_NAMES = 100


@attrs.frozen
class Count:
    """How often something was not passed on.

    Attributes:
        direction: ``a_to_b`` or ``b_to_a``.
        name: Name of the event or the capability.
        reason: ``not_allowed``, ``passed_before`` (a bridge has said or asked it), ``overrun`` (too
            much waited), ``missed`` (the link was lost), or the code by which a hub refused it.
        count: How often.
    """

    direction: str
    name: str
    reason: str
    count: int


class Counts:
    """The counts of one bridge.

    Args:
        report: Called with direction, name and reason when they come together for the first time.
    """

    def __init__(self, report: Callable[[str, str, str], None]) -> None:
        self._report = report
        self._counts: dict[tuple[str, str, str], int] = {}

    def count(self, direction: str, name: str, reason: str, by: int = 1) -> None:
        """Count what was not passed on."""
        key = (direction, name, reason)
        if key not in self._counts:
            if len(self._counts) >= _MOST_NAMES:
                key = (direction, OTHERS, reason)
            if key not in self._counts:
                self._counts[key] = 0
                self._report(*key)
        self._counts[key] += by

    def snapshot(self) -> list[Count]:
        """Return all counts, in the order in which they began."""
        return [Count(*key, count) for key, count in self._counts.items()]
