"""What waits for all clients together, and the bytes of their messages that are not whole yet.

Each client has a bound of its own; these are for many clients of one stranger.

May go in: who has to go, or to wait, when all together are too much. May not: a client's own bound
(`connection`), or how bytes are read and written (`http`, `sockets`).
"""

from __future__ import annotations

import asyncio
from typing import Protocol

__all__ = ["FREE", "Backlogs", "Halves", "Holder", "Laggard"]

FREE = 16_000
"""Bytes of each client that are not looked at."""

_LOOK_SECONDS = 0.02
"""Seconds until somebody has to go: who reads has taken a large event by then."""


class Laggard(Protocol):
    """A client for which something waits."""

    def backlog(self) -> int:
        """Count the bytes that wait for it."""
        ...

    def cut_off(self) -> None:
        """End its connection."""
        ...


class Backlogs:
    """Clients for which much waits.

    Args:
        most: Bytes that may wait for all of them; beyond, those with the most have to go.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._laggards: dict[Laggard, None] = {}

    def note(self, laggard: Laggard) -> None:
        """Look at a client from now on, until it has taken what waits."""
        if not self._laggards:
            asyncio.get_running_loop().call_later(_LOOK_SECONDS, self._look)
        self._laggards[laggard] = None

    def _look(self) -> None:
        waiting = {each: each.backlog() for each in self._laggards}
        self._laggards = {each: None for each, size in waiting.items() if size > FREE}
        total = sum(waiting[each] for each in self._laggards)
        for each in sorted(self._laggards, key=waiting.__getitem__, reverse=True):
            if total <= self._most:
                break
            total -= waiting[each]
            del self._laggards[each]
            each.cut_off()
        if self._laggards:
            asyncio.get_running_loop().call_later(_LOOK_SECONDS, self._look)


class Holder(Protocol):
    """A socket that has brought the beginning of a message."""

    def pause(self) -> None:
        """Read no more."""
        ...

    def resume(self) -> None:
        """Read on."""
        ...

    def end(self) -> None:
        """End the socket."""
        ...


class Halves:
    """Messages that are not whole yet.

    Over the bound sockets have to wait, and the one that keeps the others waiting longest goes.

    Args:
        most: Bytes that they may take; at twice as many a newcomer is ended.
        seconds: Seconds that a message may take while others wait for its room.
    """

    def __init__(self, most: int, seconds: float) -> None:
        self._most = most
        self._seconds = seconds
        self._total = 0
        self._kept: dict[Holder, int] = {}  # the oldest first
        self._paused: dict[Holder, None] = {}
        self._clock: asyncio.TimerHandle | None = None

    def keep(self, holder: Holder, size: int) -> None:
        """Note how much there is of a message."""
        self._total += size - self._kept.get(holder, 0)
        self._kept[holder] = size
        if self._total <= self._most or holder in self._paused:
            return
        if self._total > 2 * self._most:
            holder.end()
        elif len(self._kept) > len(self._paused) + 1:  # somebody has to go on
            self._paused[holder] = None
            holder.pause()
            if self._clock is None:
                self._wind()

    def release(self, holder: Holder) -> None:
        """Forget a message, which is whole or whose socket is gone; safe to call twice."""
        self._total -= self._kept.pop(holder, 0)
        self._paused.pop(holder, None)
        while self._paused and (self._total <= self._most or len(self._paused) == len(self._kept)):
            first = next(iter(self._paused))
            del self._paused[first]
            first.resume()

    def _wind(self) -> None:
        loop = asyncio.get_running_loop()
        self._clock = loop.call_later(self._seconds, self._end_oldest)

    def _end_oldest(self) -> None:
        self._clock = None
        if self._paused:
            next(each for each in self._kept if each not in self._paused).end()
            self._wind()
