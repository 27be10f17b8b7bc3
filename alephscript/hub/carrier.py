"""Carrying out what a mesh decides: the part that hubs on any transport share.

A carrier owns one `Mesh` and its clock. Subclasses send; they decide nothing.
"""

from __future__ import annotations

import abc
import asyncio
from collections.abc import Iterable

from alephscript.routing import Acknowledge, Arm, Disarm, Effect, Emit, Mesh

__all__ = ["Carrier"]


class Carrier(abc.ABC):
    """Feeds a mesh's effects to a transport, in order, without awaiting in between.

    Args:
        mesh: The namespace to serve.
    """

    def __init__(self, mesh: Mesh) -> None:
        self.mesh = mesh
        self._timers: dict[int, asyncio.TimerHandle] = {}

    @abc.abstractmethod
    def emit(self, effect: Emit) -> None:
        """Queue an event to each addressee that is still there."""

    @abc.abstractmethod
    def acknowledge(self, effect: Acknowledge) -> None:
        """Queue an acknowledgement, if its addressee is still there."""

    def carry(self, effects: Iterable[Effect]) -> None:
        """Carry out effects."""
        for effect in effects:
            match effect:
                case Emit():
                    self.emit(effect)
                case Acknowledge():
                    self.acknowledge(effect)
                case Arm(request, seconds):
                    loop = asyncio.get_running_loop()
                    self._timers[request] = loop.call_later(seconds, self._expire, request)
                case Disarm(request):
                    timer = self._timers.pop(request, None)
                    if timer is not None:  # none is left after close()
                        timer.cancel()

    def close(self) -> None:
        """Forget all deadlines; nothing is sent any more."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _expire(self, request: int) -> None:
        self.carry(self.mesh.expired(request))
