"""Faults between clients and a mesh, put in by hand."""

from __future__ import annotations

import abc
import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

from alephscript.errors import RequestError, StateError
from alephscript.hub.carrier import Carrier
from alephscript.links.transport import Link, Receiver
from alephscript.mesh.effects import Effect
from alephscript.mesh.mesh import Mesh
from alephscript.protocol import events
from alephscript.protocol.json import read_value
from alephscript.testing.observing import Observer

__all__ = ["FaultInjector"]


class FaultInjector(abc.ABC):
    """A mesh that can be meddled with; see `InMemoryMesh` and `HubMesh`."""

    def __init__(self, carriers: Sequence[Any]) -> None:
        self._meddle_with(carriers)

    def _meddle_with(self, carriers: Sequence[Carrier]) -> None:
        self._seconds = 0.0
        self._lost: frozenset[str] = frozenset()
        for carrier in carriers:
            carrier.mesh = cast("Mesh", _Meddling(self, carrier, carrier.mesh))

    @abc.abstractmethod
    async def connect(
        self,
        receiver: Receiver,
        *,
        namespace: str,
        auth: Mapping[str, Any] | None,
        timeout: float,
    ) -> Link:
        """Open a link; see `alephscript.links.transport.Transport.connect`."""

    @abc.abstractmethod
    def cut(self) -> None:
        """Cut every link; clients may connect again at once."""

    @abc.abstractmethod
    async def kill(self) -> None:
        """Die, as a hub that is killed."""

    @abc.abstractmethod
    async def restart(self) -> None:
        """Be there again, with an empty mesh."""

    def advance(self, seconds: float) -> None:
        """Let time pass for everything on this event loop: deadlines and delays that it ends, end.

        Raises:
            StateError: It is an event loop whose time cannot be set (uvloop).
        """
        loop = asyncio.get_running_loop()
        if not isinstance(loop, asyncio.BaseEventLoop):  # others read no clock of Python's
            raise StateError("the time of this event loop cannot be set; use asyncio's")
        passed = getattr(loop, "_alephscript_passed", 0.0) + seconds
        loop._alephscript_passed = passed  # type: ignore[attr-defined]  # noqa: SLF001
        loop.time = lambda: time.monotonic() + passed  # type: ignore[method-assign]

    def delay(self, seconds: float) -> None:
        """Have whatever clients send arrive later, in order; 0 ends that."""
        self._seconds = seconds

    def drop(self, *events: str) -> None:
        """Lose events of these names, inside ROOM_MESSAGE too; none at all ends that."""
        self._lost = frozenset(events)

    @asynccontextmanager
    async def observer(self, *rooms: str) -> AsyncIterator[Observer]:
        """Somebody who is in these rooms and notes what is said there."""
        async with Observer.watching(self, rooms) as observer:
            yield observer

    def _loses(self, event: Any, args: Sequence[Any]) -> bool:
        if not self._lost:
            return False
        if event == events.HubEvent.ROOM_MESSAGE and args:
            try:
                said = read_value(args[0])
            except RequestError:
                return False
            event = said.get("event") if isinstance(said, dict) else None
        return event in self._lost


class _Meddling:
    """A mesh whose inputs come late, or not at all."""

    def __init__(self, meddled: FaultInjector, carrier: Carrier, mesh: Mesh) -> None:
        self._meddled = meddled
        self._carrier = carrier
        self._mesh = mesh

    def __getattr__(self, name: str) -> Any:
        return getattr(self._mesh, name)

    def received(
        self, sid: str, event: Any, args: Any = (), ack: int | None = None
    ) -> list[Effect]:
        if self._meddled._loses(event, args):  # noqa: SLF001 - of one module
            return []
        return self._later("received", sid, event, args, ack)

    def acknowledged(self, sid: str, request: int, args: Any = ()) -> list[Effect]:
        return self._later("acknowledged", sid, request, args)

    def _later(self, name: str, *arguments: Any) -> list[Effect]:
        act = getattr(self._mesh, name)
        seconds = self._meddled._seconds  # noqa: SLF001 - of one module
        if not seconds:
            effects: list[Effect] = act(*arguments)
            return effects
        loop = asyncio.get_running_loop()
        loop.call_later(seconds, lambda: self._carrier.carry(act(*arguments)))
        return []
