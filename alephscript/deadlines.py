"""Many deadlines on few timers: what ends in the same few milliseconds shares one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

__all__ = ["Deadlines"]

K = TypeVar("K", bound=Hashable)

_GRAIN = 0.02
"""Seconds that share a timer; a deadline passes at most so much late, never early."""


class Deadlines(Generic[K]):
    """Calls back for each key whose time has come.

    Setting and forgetting one is a dict entry each; the loop sees a timer a grain of time.

    Args:
        passed: Called with the key, on the event loop; the key is forgotten already.
    """

    def __init__(self, passed: Callable[[K], None]) -> None:
        self._passed = passed
        self._grain_of: dict[K, int] = {}
        self._grains: dict[int, dict[K, None]] = {}
        self._timers: dict[int, asyncio.TimerHandle] = {}

    def __len__(self) -> int:
        return len(self._grain_of)

    def set(self, key: K, seconds: float) -> None:
        """Call back for a key after so many seconds; a key has one deadline."""
        loop = asyncio.get_running_loop()
        grain = int((loop.time() + seconds) / _GRAIN) + 1
        if key in self._grain_of:
            self.forget(key)
        keys = self._grains.get(grain)
        if keys is None:
            keys = self._grains[grain] = {}
            self._timers[grain] = loop.call_at(grain * _GRAIN, self._ring, grain)
        keys[key] = None
        self._grain_of[key] = grain

    def forget(self, key: K) -> None:
        """Do not call back for a key; one that is not known is no error."""
        grain = self._grain_of.pop(key, None)
        if grain is not None and grain in self._grains:  # it is not while its keys are called
            self._grains[grain].pop(key, None)

    def remaining(self, key: K) -> float:
        """Seconds until a key's deadline, never below zero; none at all if it has none."""
        grain = self._grain_of.get(key, 0)
        return max(0.0, grain * _GRAIN - asyncio.get_running_loop().time())

    def close(self) -> None:
        """Forget them all."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._grains.clear()
        self._grain_of.clear()

    def _ring(self, grain: int) -> None:
        del self._timers[grain]
        for key in self._grains.pop(grain):
            # An earlier key's callback may have ended this one, or set it anew.
            if self._grain_of.get(key) == grain:
                del self._grain_of[key]
                self._passed(key)
