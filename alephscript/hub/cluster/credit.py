"""How much of its time a hub gives each other one that asks who is here.

A hub that keeps to `surveys` asks again four times later than the last answer took, and so takes at
most a fifth of this hub's time. Whoever asks more than that floods.

May go in: whose question is still answered. May not: what is answered (`cluster`). Pure: no clock.
"""

from __future__ import annotations

__all__ = ["SurveyCredit"]

_SHARE = 0.25
"""Of its time, that a hub gives each other one; more than any takes that keeps to its pauses."""

_MOST_SECONDS = 0.5
"""What a hub that has not asked for long may take at once: questions may have waited in Redis."""


class SurveyCredit:
    """Seconds that other hubs may still take, by their names."""

    def __init__(self) -> None:
        self._left: dict[str, tuple[float, float]] = {}  # seconds, and when they were counted

    def has(self, hub: str, now: float) -> bool:
        """Whether a hub's question is still to be answered."""
        return self._count(hub, now) > 0

    def spend(self, hub: str, seconds: float, now: float) -> None:
        """Take note of the time that an answer took."""
        self._left[hub] = self._count(hub, now) - seconds, now

    def forget(self, hub: str) -> None:
        """Forget a hub that is gone."""
        self._left.pop(hub, None)

    def _count(self, hub: str, now: float) -> float:
        left, counted_at = self._left.get(hub, (_MOST_SECONDS, now))
        return min(_MOST_SECONDS, left + (now - counted_at) * _SHARE)
