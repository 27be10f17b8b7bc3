"""Carrying out what a mesh decides: the part that hubs on any transport share.

A carrier owns one `Mesh` and its clock. Subclasses send; they decide nothing.
"""

from __future__ import annotations

import abc
from collections.abc import Iterable
from typing import Any

from alephscript.deadlines import Deadlines
from alephscript.effects import Acknowledge, Ask, Disarm, Effect, Emit
from alephscript.routing import Mesh

__all__ = ["Carrier"]


class Carrier(abc.ABC):
    """Feeds a mesh's effects to a transport, in order, without awaiting in between.

    Args:
        mesh: The namespace to serve.
    """

    def __init__(self, mesh: Mesh) -> None:
        self.mesh = mesh
        self._deadlines = Deadlines(self._expire)
        mesh.requests.remaining = self._deadlines.remaining

    @abc.abstractmethod
    def emit(self, to: Iterable[str], event: str, args: tuple[Any, ...]) -> None:
        """Queue an event to each addressee."""

    @abc.abstractmethod
    def ask(self, to: str, event: str, args: tuple[Any, ...], request: int) -> None:
        """Queue an event to one, asking for an acknowledgement under a number."""

    @abc.abstractmethod
    def acknowledge(self, effect: Acknowledge) -> None:
        """Queue an acknowledgement."""

    def carry(self, effects: Iterable[Effect]) -> None:
        """Carry out effects."""
        for effect in effects:
            if isinstance(effect, Ask):
                self.ask(effect.to, effect.event, effect.args, effect.request)
                if effect.seconds is not None:
                    self._deadlines.set(effect.request, effect.seconds)
            elif isinstance(effect, Acknowledge):
                self.acknowledge(effect)
            elif isinstance(effect, Disarm):
                self._deadlines.forget(effect.request)
            elif isinstance(effect, Emit):
                self.emit(effect.to, effect.event, effect.args)
            else:
                self._deadlines.set(effect.request, effect.seconds)

    def close(self) -> None:
        """Forget all deadlines; nothing is sent any more."""
        self._deadlines.close()

    def _expire(self, request: int) -> None:
        self.carry(self.mesh.expired(request))
