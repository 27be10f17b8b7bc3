"""Many deadlines on few timers: what ends in the same few milliseconds shares one.

May go in: timers of the event loop. May not: what the deadlines are of; clients have them of
acknowledgements, hubs of requests.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

__all__ = ["Deadlines"]

K = TypeVar("K", bound=Hashable)

_GRAIN = 0.02
"""Seconds whose deadlines share a timer; a deadline passes at most so much late, never early."""


class Deadlines(Generic[K]):
    """Deadlines by key, and a call for each that passes.

    Setting and forgetting a deadline is a dict entry each; the loop sees one timer a grain of time.
    A grain that nothing is left of is gone with its timer, except for the newest one: requests that
    come one after the other share it, as those do that come at once.

    Args:
        passed: Called with the key, on the event loop; the key is forgotten already.
    """

    def __init__(self, passed: Callable[[K], None]) -> None:
        self._passed = passed
        self._loop: asyncio.AbstractEventLoop | None = None
        self._grains: dict[int, _Grain[K]] = {}
        self._grain_of: dict[K, _Grain[K]] = {}
        self._newest: _Grain[K] | None = None

    def __len__(self) -> int:
        return len(self._grain_of)

    def set(self, key: K, seconds: float) -> None:
        """Set a key's deadline, so many seconds from now; a key has no more than one."""
        loop = self._loop
        if loop is None:
            # Kept, since get_running_loop() is a system call on some Pythons.
            loop = self._loop = asyncio.get_running_loop()
        number = int((loop.time() + seconds) / _GRAIN) + 1
        if key in self._grain_of:
            self.forget(key)
        grain = self._grains.get(number)
        if grain is None:
            timer = loop.call_at(number * _GRAIN, self._ring, number)
            grain = self._grains[number] = _Grain(number, timer)
            newest, self._newest = self._newest, grain
            if newest is not None and not newest.keys:
                self._drop(newest)
        grain.keys[key] = None
        self._grain_of[key] = grain

    def forget(self, key: K) -> None:
        """Forget a key's deadline; a key without a deadline is no error."""
        grain = self._grain_of.pop(key, None)
        if grain is not None:
            grain.keys.pop(key, None)
            if not grain.keys and grain is not self._newest:
                self._drop(grain)

    def remaining(self, key: K) -> float:
        """Return the seconds until a key's deadline; 0.0 if it has passed, or there is none."""
        grain = self._grain_of.get(key)
        if grain is None:
            return 0.0
        return max(0.0, grain.number * _GRAIN - asyncio.get_running_loop().time())

    def close(self) -> None:
        """Forget all deadlines."""
        for grain in self._grains.values():
            grain.timer.cancel()
        self._grains.clear()
        self._grain_of.clear()
        self._newest = None
        self._loop = None

    def _drop(self, grain: _Grain[K]) -> None:
        """Keep nothing of a grain that has no keys, unless it rings just now."""
        if self._grains.get(grain.number) is grain:
            del self._grains[grain.number]
            grain.timer.cancel()

    def _ring(self, number: int) -> None:
        grain = self._grains.pop(number)
        if grain is self._newest:
            self._newest = None
        for key in list(grain.keys):
            # An earlier key's callback may have ended this one, or set it anew.
            if self._grain_of.get(key) is grain:
                del self._grain_of[key]
                self._passed(key)


class _Grain(Generic[K]):
    """The keys whose deadlines share a timer."""

    __slots__ = ("keys", "number", "timer")

    def __init__(self, number: int, timer: asyncio.TimerHandle) -> None:
        self.number = number
        self.timer = timer
        self.keys: dict[K, None] = {}
