"""Carrying out what a mesh decides: the part that hubs on any transport share.

A carrier owns one `Mesh` and its clock. Subclasses send; they decide nothing.
"""

from __future__ import annotations

import abc
import datetime as dt
import time
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

from alephscript.hub.metering import Meter
from alephscript.hub.tracing import of_hub
from alephscript.hub.watched_mesh import watched_mesh
from alephscript.links.deadlines import Deadlines
from alephscript.mesh.effects import Acknowledge, Arm, Deliver, Denied, Effect, Emit, Ended, ToHub
from alephscript.mesh.mesh import Mesh

__all__ = ["Carrier", "ClusterPort"]


class ClusterPort(Protocol):
    """Whoever carries out effects that concern other hubs."""

    def carry(self, carrier: Carrier, effect: Effect, left: Iterator[Effect]) -> None:
        """Carry out an effect; what is left of the list may be taken, to be carried out later."""
        ...


class Carrier(abc.ABC):
    """Feeds a mesh's effects to a transport, in order, without awaiting in between.

    Args:
        mesh: The namespace to serve.

    Attributes:
        meter: Counts its requests.
        elsewhere: Where effects go that concern other hubs, if there are any.
    """

    def __init__(self, mesh: Mesh) -> None:
        self.mesh = watched_mesh(mesh)
        self.meter = Meter()
        self.elsewhere: ClusterPort | None = None
        self._asked_at: dict[int, float] = {}
        self._tracing = of_hub(mesh.requests)
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
        left = iter(effects)
        for each in left:
            effect = each if self._tracing is None else self._tracing.follow(each)
            if isinstance(effect, Deliver):
                request, seconds = effect.request, effect.seconds
                self.ask(effect.to, effect.event, effect.args, request)
                if seconds is not None:
                    self._open(request, seconds)
            elif isinstance(effect, Acknowledge):
                self.acknowledge(effect)
            elif isinstance(effect, Ended):
                request = effect.request
                self._deadlines.forget(request)
                now = time.perf_counter()
                took = now - self._asked_at.pop(request, now)
                self.meter.ended(effect.capability, effect.code, took)
            elif isinstance(effect, Emit):
                self.emit(effect.to, effect.event, effect.args)
            elif isinstance(effect, Denied):
                at = dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds")
                told = {"reason": effect.reason, "room": effect.room, "action": effect.action}
                self.emit((effect.to,), "auth_error", ({**told, "timestamp": at},))
            elif isinstance(effect, Arm):
                self._open(effect.request, effect.seconds)
            else:
                if isinstance(effect, ToHub) and effect.seconds is not None:
                    self._open(effect.request, effect.seconds)
                assert self.elsewhere is not None
                self.elsewhere.carry(self, effect, left)

    def close(self) -> None:
        """Forget all deadlines; nothing is sent any more."""
        self._deadlines.close()
        self._asked_at.clear()
        if self._tracing is not None:
            self._tracing.close()

    def _open(self, request: int, seconds: float) -> None:
        self._deadlines.set(request, seconds)
        self._asked_at[request] = time.perf_counter()

    def _expire(self, request: int) -> None:
        self.carry(self.mesh.expired(request))
