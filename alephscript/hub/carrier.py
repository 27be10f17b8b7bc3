"""Carrying out what a mesh decides: the part that hubs on any transport share.

A carrier owns one `Mesh` and its clock. Subclasses send; they decide nothing.
"""

from __future__ import annotations

import abc
from collections.abc import Iterable

from alephscript.deadlines import Deadlines
from alephscript.routing import Acknowledge, Arm, Effect, Emit, Mesh

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
            if isinstance(effect, Emit):
                self.emit(effect)
            elif isinstance(effect, Acknowledge):
                self.acknowledge(effect)
            elif isinstance(effect, Arm):
                self._deadlines.set(effect.request, effect.seconds)
            else:
                self._deadlines.forget(effect.request)

    def close(self) -> None:
        """Forget all deadlines; nothing is sent any more."""
        self._deadlines.close()

    def _expire(self, request: int) -> None:
        self.carry(self.mesh.expired(request))
