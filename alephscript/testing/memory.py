"""A mesh in memory, for tests of clients: the hub's own routing without sockets.

::

    async with InMemoryMesh() as mesh, MyBot(mesh) as bot, AlephScriptClient(mesh) as client:
        assert await client.request("GREET", {"who": "you"}) == {"text": "hello you"}

Everything that is sent passes through the wire's JSON, so what works here has a wire form.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar

from alephscript.errors import ConnectionRefused, NotConnected, StateError
from alephscript.hub.carrier import Carrier
from alephscript.links.transport import Link, Receiver
from alephscript.mesh.effects import Acknowledge, Effect
from alephscript.mesh.mesh import Mesh
from alephscript.protocol import events
from alephscript.protocol.json import parse_json, write_json
from alephscript.testing.faults import FaultInjector

__all__ = ["InMemoryMesh"]

T = TypeVar("T")


class InMemoryMesh(FaultInjector):
    """A hub in memory; pass it to clients where they take the hub's address.

    Args:
        default_timeout: Seconds that a request may take when its asker names none.
        require_subscription: Whether an asker has to be in the room that it asks.
        history: Events of each room that are kept for who was away; 0 keeps none.
    """

    def __init__(
        self,
        *,
        default_timeout: float = events.DEFAULT_TIMEOUT,
        require_subscription: bool = False,
        history: int = 0,
    ) -> None:
        self._carriers = {
            namespace: _MemoryCarrier(
                Mesh(
                    namespace,
                    default_timeout=default_timeout,
                    require_subscription=require_subscription,
                    history=history,
                    incarnation="memory",
                )
            )
            for namespace in events.NAMESPACES
        }
        super().__init__(list(self._carriers.values()))
        self._open = False
        self._sids = itertools.count(1)

    async def __aenter__(self) -> Self:
        if self._open:
            raise StateError("this mesh is open already")
        self._open = True
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.kill()

    async def kill(self) -> None:
        """Die: cut every link and take no more; `restart` is a new one."""
        self._open = False
        self.cut()
        await _turn()
        for carrier in self._carriers.values():
            carrier.close()

    async def restart(self) -> None:
        """Be there again, with an empty mesh."""
        self._open = True

    def cut(self) -> None:
        """Cut every link; clients may connect again at once."""
        for carrier in self._carriers.values():
            for link in list(carrier.links.values()):
                link.drop("the connection to the hub ended")

    async def connect(
        self,
        receiver: Receiver,
        *,
        namespace: str,
        auth: Mapping[str, Any] | None,  # noqa: ARG002 - nobody is refused in memory
        timeout: float,  # noqa: ARG002 - nothing here takes time
    ) -> Link:
        """Open a link; see `alephscript.links.transport.Transport.connect`."""
        if not self._open:
            raise ConnectionRefused("memory", "the mesh is not open")
        carrier = self._carriers.get(namespace)
        if carrier is None:
            raise ConnectionRefused("memory", "Invalid namespace", fatal=True)
        return _MemoryLink(carrier, receiver, f"memory-{next(self._sids)}")


class _MemoryCarrier(Carrier):
    def __init__(self, mesh: Mesh) -> None:
        super().__init__(mesh)
        self.links: dict[str, _MemoryLink] = {}

    def emit(self, to: Iterable[str], event: str, args: tuple[Any, ...]) -> None:
        payload = write_json([event, *args])
        for sid in to:
            self.links[sid].later(lambda receiver: receiver.received(payload, None))

    def ask(self, to: str, event: str, args: tuple[Any, ...], request: int) -> None:
        payload = write_json([event, *args])
        self.links[to].later(lambda receiver: receiver.received(payload, request))

    def acknowledge(self, effect: Acknowledge) -> None:
        payload = write_json([effect.answer])
        self.links[effect.sid].later(lambda receiver: receiver.acknowledged(effect.ack, payload))


class _MemoryLink:
    """See `alephscript.links.transport.Link`; a hop takes one turn of the loop, in order."""

    def __init__(self, carrier: _MemoryCarrier, receiver: Receiver, sid: str) -> None:
        self._receiver = receiver
        self._carrier = carrier
        self._sid = sid
        carrier.links[sid] = self
        carrier.carry(carrier.mesh.connected(sid))

    def send(self, payload: bytes, ack: int | None = None) -> None:
        if not self._is_up():
            raise NotConnected("the link to the hub is gone; nothing was sent")
        event, *args = parse_json(payload)
        self._to_mesh(lambda mesh: mesh.received(self._sid, event, args, ack))

    def acknowledge(self, ack: int, payload: bytes) -> None:
        args = parse_json(payload)
        self._to_mesh(lambda mesh: mesh.acknowledged(self._sid, ack, args))

    async def close(self) -> None:
        await _turn()  # what was sent before goes out first
        self.drop("closed")

    def drop(self, reason: str) -> None:
        """End the link from either side."""
        if self._carrier.links.pop(self._sid, None) is not None:
            self._carrier.carry(self._carrier.mesh.disconnected(self._sid))
            self._receiver.lost(reason)

    def later(self, deliver: Callable[[Receiver], None]) -> None:
        """Deliver on the next turn of the loop, unless the link is gone by then."""
        asyncio.get_running_loop().call_soon(self._if_up, deliver, self._receiver)

    def _to_mesh(self, feed: Callable[[Mesh], Iterable[Effect]]) -> None:
        asyncio.get_running_loop().call_soon(
            self._if_up, lambda mesh: self._carrier.carry(feed(mesh)), self._carrier.mesh
        )

    def _if_up(self, act: Callable[[T], None], argument: T) -> None:
        if self._is_up():
            act(argument)

    def _is_up(self) -> bool:
        return self._carrier.links.get(self._sid) is self


async def _turn() -> None:
    await asyncio.sleep(0)
