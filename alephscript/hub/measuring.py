"""What a namespace has counted lately, step by step: the past that a chart shows.

The counts of `metering` only grow; here stand their differences, of a bounded number of steps.

May go in: differences of counts. May not: counting (`metering`), a clock (the engine's heartbeat
tells the time), or how figures are shown (`live`).
"""

from __future__ import annotations

from collections import deque
from typing import Any

from alephscript.hub.metering import BOUNDS, OTHER, Meter
from alephscript.mesh.requests import OK

__all__ = ["STEPS", "STEP_SECONDS", "Measurements"]

STEP_SECONDS = 3.0
"""Seconds of one step."""

STEPS = 300
"""Steps that are kept: a quarter of an hour."""

_NOTHING = [0] * len(BOUNDS)


class Measurements:
    """The last steps of one namespace.

    What members are asked about themselves is not counted, nor is what nobody declared.

    Args:
        meter: Counts the namespace's requests.

    Attributes:
        last: The number of the last step; they begin with 1.
    """

    def __init__(self, meter: Meter) -> None:
        self.last = 0
        self._meter = meter
        self._steps: deque[list[Any]] = deque(maxlen=STEPS)
        self._taken_at: float | None = None
        self._counted = _sum(meter)

    def take(self, now: float, in_flight: int) -> None:
        """Add a step, if its time has come.

        Args:
            now: Seconds of any clock that only goes forward.
            in_flight: Requests that wait for an answer.
        """
        if self._taken_at is None:
            self._taken_at = now
        due = int((now - self._taken_at) / STEP_SECONDS)
        if due < 1:
            return
        self._taken_at += due * STEP_SECONDS
        before, self._counted = self._counted, _sum(self._meter)
        ended, failed, buckets = self._counted
        grown = [upto - earlier for upto, earlier in zip(buckets, before[2], strict=True)]
        self._add([ended - before[0], failed - before[1], in_flight, grown])
        # Nobody was connected meanwhile, so that no heart was beating.
        for _ in range(min(due - 1, STEPS)):
            self._add([0, 0, 0, _NOTHING])

    def after(self, number: int) -> list[list[Any]]:
        """List the steps that are kept of those after a number, the latest last.

        Returns:
            For each how many requests ended, how many of them with an error, how many waited for an
            answer at its end, and how many took how long, by `alephscript.hub.metering.BOUNDS`.
        """
        new = max(0, self.last - number)
        return list(self._steps)[-new:] if new else []

    def _add(self, step: list[Any]) -> None:
        self.last += 1
        self._steps.append(step)


def _sum(meter: Meter) -> tuple[int, int, list[int]]:
    """Sum up how many ended, how many of them with an error, and how many took how long."""
    tallies = [tally for name, tally in meter.tallies.items() if name != OTHER]
    ended = sum(sum(tally.ended.values()) for tally in tallies)
    fine = sum(tally.ended.get(OK, 0) for tally in tallies)
    columns = [_NOTHING, *(tally.buckets for tally in tallies)]
    buckets = [sum(column) for column in zip(*columns, strict=True)]
    return ended, ended - fine, buckets
