"""Carrying out what a mesh decides: the part that hubs on any transport share.

A carrier owns one `Mesh` and its clock. Subclasses send; they decide nothing.
"""

from __future__ import annotations

import abc
from collections.abc import Iterable

from alephscript.deadlines import Deadlines
from alephscript.routing import Acknowledge, Arm, Disarm, Effect, Emit, Mesh

__all__ = ["Carrier"]


class Carrier(abc.ABC):
    """Feeds a mesh's effects to a transport, in order, without awaiting in between.

    Args:
        mesh: The namespace to serve.
    """

    def __init__(self, mesh: Mesh) -> None:
        self.mesh = mesh
        self._deadlines = Deadlines(self._expire)

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
                    self._deadlines.set(request, seconds)
                case Disarm(request):
                    self._deadlines.forget(request)

    def close(self) -> None:
        """Forget all deadlines; nothing is sent any more."""
        self._deadlines.close()

    def _expire(self, request: int) -> None:
        self.carry(self.mesh.expired(request))
