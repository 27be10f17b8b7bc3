"""Faults between clients and a mesh, put in by hand.

May go in: what any mesh for tests can do wrong. May not: how one is reached (`memory`, `real`).
"""

from __future__ import annotations

import abc
import asyncio
import random
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

from alephscript.client.client import AlephScriptClient
from alephscript.errors import RequestError, StateError
from alephscript.hub.carrier import Carrier
from alephscript.links.transport import Link, Receiver
from alephscript.mesh.effects import Effect
from alephscript.mesh.mesh import Mesh
from alephscript.protocol import events
from alephscript.protocol.json import read_value
from alephscript.testing.chaos import Chaos, MakeBot
from alephscript.testing.observing import Observer

__all__ = ["FaultInjector"]


class FaultInjector(abc.ABC):
    """A mesh into which faults can be put; see `InMemoryMesh` and `HubMesh`."""

    def __init__(self, carriers: Sequence[Carrier]) -> None:
        self._random = random.Random()  # noqa: S311 - not a secret
        self._chaos: list[Chaos] = []
        self._inject_into(carriers)

    def _inject_into(self, carriers: Sequence[Carrier]) -> None:
        self._delay_seconds = 0.0
        self._dropped_events: frozenset[str] = frozenset()
        self._carriers_now = list(carriers)
        for carrier in carriers:
            carrier.mesh = cast("Mesh", _FaultyMesh(self, carrier, carrier.mesh))

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
        """Come back, with an empty mesh."""

    def advance(self, seconds: float) -> None:
        """Let time pass for everything on this event loop: deadlines and delays end that it ends.

        Args:
            seconds: How much time.

        Raises:
            StateError: The time of this event loop cannot be set (uvloop).
        """
        loop = asyncio.get_running_loop()
        if not isinstance(loop, asyncio.BaseEventLoop):  # others read no clock of Python's
            raise StateError("the time of this event loop cannot be set; use asyncio's")
        ahead = getattr(loop, "_alephscript_seconds_ahead", 0.0) + seconds
        loop._alephscript_seconds_ahead = ahead  # type: ignore[attr-defined]  # noqa: SLF001
        # asyncio has no way to set its time, but asks for it by `loop.time()` alone, at each turn
        # and for each timer: an attribute of the loop stands before the method of its class. The
        # loop is a test's own, and ends with the test.
        loop.time = lambda: time.monotonic() + ahead  # type: ignore[method-assign]

    def delay(self, seconds: float) -> None:
        """Let all that clients send arrive so many seconds later, in order; 0 ends that."""
        self._delay_seconds = seconds

    def drop(self, *events: str) -> None:
        """Lose events of these names, inside ROOM_MESSAGE, too; no names end that."""
        self._dropped_events = frozenset(events)

    def chaos(
        self,
        *,
        cuts: int = 0,
        kills: int = 0,
        crashes: int = 0,
        takeovers: int = 0,
        bots: Sequence[MakeBot] = (),
        within: float = 10.0,
    ) -> Chaos:
        """Put faults in at moments that are drawn: with ``--mesh=sim`` by the seed.

        The faults begin with the call. ``await`` of what it returns waits for the last one;
        ``async with`` opens the bots before its block, and ends with its block what is left.

        Args:
            cuts: How many links are cut, whosever they are.
            kills: How often the hub is killed, and started again.
            crashes: How often one of the bots is killed, and another one made.
            takeovers: How often another one is made beside one of the bots, which is closed after.
            bots: Functions that make bots; chaos opens and closes these.
            within: Seconds in which all of it happens.

        Raises:
            StateError: There are no bots that could crash, or be taken over.
        """
        chaos = Chaos(
            self,
            cuts=cuts,
            kills=kills,
            crashes=crashes,
            takeovers=takeovers,
            bots=bots,
            within=within,
        )
        self._chaos.append(chaos)
        return chaos

    def pick(self, count: int) -> int:
        """Draw a number below another one."""
        return self._random.randrange(count)

    @property
    def _is_rough(self) -> bool:
        return not all(each.is_over for each in self._chaos)

    async def _end_all_chaos(self) -> None:
        while self._chaos:
            await self._chaos.pop().close()

    def crash_client(self, client: AlephScriptClient) -> None:
        """Have a client hear and say nothing more, as a program that is killed."""
        for carrier in self._carriers_now:
            for sid, peer in list(carrier.mesh.rooms.peers.items()):
                who = peer.registration
                if who and (who.usuario, who.sesion) == (client.usuario, client.sesion):
                    self._crash_peer(sid)

    @abc.abstractmethod
    def present_links(self) -> list[Any]:
        """Return what `cut_link` takes."""

    @abc.abstractmethod
    def cut_link(self, link: Any) -> None:
        """Cut one link."""

    @abc.abstractmethod
    def _crash_peer(self, sid: str) -> None:
        """Cut the link of a peer whose program was killed."""

    @asynccontextmanager
    async def observer(self, *rooms: str, presence: bool = False) -> AsyncIterator[Observer]:
        """Open an observer, which is in these rooms and notes their events.

        Args:
            rooms: The rooms.
            presence: Whether it hears who comes and goes there: MEMBER_JOINED, MEMBER_LEFT.
        """
        async with Observer.watching(self, rooms, presence=presence) as observer:
            yield observer

    def _loses(self, event: Any, args: Sequence[Any]) -> bool:
        if not self._dropped_events:
            return False
        if event == events.HubEvent.ROOM_MESSAGE and args:
            try:
                envelope = read_value(args[0])
            except RequestError:
                return False
            event = envelope.get("event") if isinstance(envelope, dict) else None
        return event in self._dropped_events


class _FaultyMesh:
    """A mesh whose inputs come late, or not at all."""

    def __init__(self, faults: FaultInjector, carrier: Carrier, mesh: Mesh) -> None:
        self._faults = faults
        self._carrier = carrier
        self._mesh = mesh

    def __getattr__(self, name: str) -> Any:
        return getattr(self._mesh, name)

    def received(
        self, sid: str, event: Any, args: Any = (), ack: int | None = None
    ) -> list[Effect]:
        if self._faults._loses(event, args):  # noqa: SLF001 - of one module
            return []
        return self._later("received", sid, event, args, ack)

    def acknowledged(self, sid: str, request: int, args: Any = ()) -> list[Effect]:
        return self._later("acknowledged", sid, request, args)

    def _later(self, name: str, *arguments: Any) -> list[Effect]:
        act = getattr(self._mesh, name)
        seconds = self._faults._delay_seconds  # noqa: SLF001 - of one module
        if not seconds:
            effects: list[Effect] = act(*arguments)
            return effects
        loop = asyncio.get_running_loop()
        loop.call_later(seconds, lambda: self._carrier.carry(act(*arguments)))
        return []
