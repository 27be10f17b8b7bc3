"""Counts of a hub's requests: how they end and how long they take, by capability.

Names come from strangers, so there is a bound to how many are told apart.

May go in: counting. May not: how counts are shown (`metrics`, `engine`).
"""

from __future__ import annotations

import bisect
import math
from typing import Any

__all__ = ["BOUNDS", "OTHER", "Meter", "Tally"]

BOUNDS = (
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    math.inf,
)
"""Seconds: the upper bounds of the buckets that durations are counted in."""

OTHER = "(other)"
"""Stands for capabilities that nobody declared, and for names beyond the bound."""

_MOST_CAPABILITIES = 1000
_MOST_CODES = 50


class Tally:
    """The requests of one capability.

    Attributes:
        ended: How many ended, by code.
        buckets: How many took at most so long, by `BOUNDS`, not summed up.
        seconds: How long they took together.
    """

    __slots__ = ("buckets", "ended", "seconds")

    def __init__(self) -> None:
        self.ended: dict[str, int] = {}
        self.buckets = [0] * len(BOUNDS)
        self.seconds = 0.0


class Meter:
    """Counts the requests of one namespace.

    Attributes:
        tallies: The counts, by capability.
    """

    def __init__(self) -> None:
        self.tallies: dict[str, Tally] = {}

    def count(self, capability: str | None, code: str, seconds: float) -> None:
        """Count a request that has ended.

        Args:
            capability: The capability that was asked, None if nobody declared it.
            code: ``ok``, or an error's code.
            seconds: How long the request was open.
        """
        name = OTHER if capability is None else capability
        tally = self.tallies.get(name)
        if tally is None:
            if len(self.tallies) >= _MOST_CAPABILITIES:
                name = OTHER
            tally = self.tallies.setdefault(name, Tally())
        ended = tally.ended
        if code not in ended and len(ended) >= _MOST_CODES:
            code = OTHER
        ended[code] = ended.get(code, 0) + 1
        tally.buckets[bisect.bisect_left(BOUNDS, seconds)] += 1
        tally.seconds += seconds

    def snapshot(self) -> list[dict[str, Any]]:
        """Describe all counts as plain data.

        Returns:
            For each ``capability``: ``ended``, by code; ``seconds``, with ``count``, ``sum`` and
            ``buckets`` of an upper bound (None: no bound) and how many requests took at most that.
        """
        return [
            {"capability": name, "ended": dict(tally.ended), "seconds": _seconds(tally)}
            for name, tally in self.tallies.items()
        ]


def _seconds(tally: Tally) -> dict[str, Any]:
    count = 0
    buckets: list[list[float | None]] = []
    for bound, within in zip(BOUNDS, tally.buckets, strict=True):
        count += within
        buckets.append([None if bound == math.inf else bound, count])
    return {"count": count, "sum": tally.seconds, "buckets": buckets}
