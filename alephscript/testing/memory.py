"""A mesh in memory, for tests of clients: the hub's own mesh and packets, without sockets.

::

    async with InMemoryMesh() as mesh, MyBot(mesh) as bot, AlephScriptClient(mesh) as client:
        assert await client.request("GREET", {"who": "you"}) == {"text": "hello you"}

Everything that is sent is a packet, so what works here has a wire form.

May go in: what takes the place of connections. May not: rules, which are the mesh's.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from alephscript.errors import ConnectionRefused, NotConnected, StateError
from alephscript.hub.carrier import Carrier
from alephscript.hub.store.logs import MemoryLog
from alephscript.links.transport import Link, Receiver
from alephscript.mesh.mesh import Mesh
from alephscript.mesh.presence import Reason
from alephscript.mesh.retained import parse_rules
from alephscript.protocol import events, packets
from alephscript.protocol.packets import Kind
from alephscript.testing.faults import FaultInjector

__all__ = ["InMemoryMesh"]


class InMemoryMesh(FaultInjector):
    """A hub in memory; pass it to clients where they take the hub's address.

    Args:
        default_timeout: Seconds that a request may take when its asker names none.
        require_subscription: Whether an asker has to be in the room that it asks.
        history: Events of each room that are kept for clients that were away; 0 keeps none.
        retain: Events that are retained whoever says them, as in `alephscript.hub.Hub`.
        log: Rooms of which all is kept that members say, as in a file; ``*`` for all.
    """

    def __init__(
        self,
        *,
        default_timeout: float = events.DEFAULT_TIMEOUT,
        require_subscription: bool = False,
        history: int = 0,
        retain: Sequence[str] = (),
        log: Sequence[str] = (),
    ) -> None:
        self._carriers = {
            namespace: Carrier(
                Mesh(
                    namespace,
                    default_timeout=default_timeout,
                    require_subscription=require_subscription,
                    history=history,
                    incarnation="memory",
                    retain=parse_rules(retain),
                    log=(log,) if isinstance(log, str) else log,
                )
            )
            for namespace in events.NAMESPACES
        }
        for carrier in self._carriers.values():
            carrier.scribe.use(MemoryLog(name="memory"))
        super().__init__(list(self._carriers.values()))
        self._is_open = False
        self._links: dict[str, Any] = {}  # by socket id
        self._sids = itertools.count(1)

    async def __aenter__(self) -> Self:
        if self._is_open:
            raise StateError("this mesh is open already")
        await self.restart()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            await self._end_all_chaos()
        finally:
            await self.kill()

    async def kill(self) -> None:
        """Die: cut every link and take no more until `restart`."""
        self._is_open = False
        for carrier in self._carriers.values():
            carrier.keeper.close()
        self.cut()
        await _turn()
        for carrier in self._carriers.values():
            carrier.close()
            carrier.mesh.speech.retained.clear()

    async def restart(self) -> None:
        """Come back, with an empty mesh, but with the tasks that had not ended."""
        self._is_open = True
        for carrier in self._carriers.values():
            carrier.keeper.load(await carrier.keeper.store.open())

    def cut(self) -> None:
        """Cut every link; clients may connect again at once."""
        for link in list(self._links.values()):
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
        await self._reach()
        if not self._is_open:
            raise ConnectionRefused("memory", "the mesh is not open")
        carrier = self._carriers.get(namespace)
        if carrier is None:
            raise ConnectionRefused("memory", "Invalid namespace", fatal=True)
        sid = f"memory-{next(self._sids)}"
        link = self._make_link(carrier, receiver, sid)
        carrier.joined(sid, _MemoryRecipient(link, sid), None)
        made: Link = link
        return made

    async def _reach(self) -> None:
        """Take the time that it takes to reach the hub."""

    def _make_link(self, carrier: Carrier, receiver: Receiver, sid: str) -> Any:
        return _MemoryLink(self._links, carrier, receiver, sid)

    def present_links(self) -> list[Any]:
        """Return what `cut_link` takes."""
        return list(self._links.values())

    def cut_link(self, link: Any) -> None:
        """Cut one link."""
        link.drop("the connection to the hub ended")

    def _crash_peer(self, sid: str) -> None:
        if sid in self._links:
            self._links[sid].crash()


class _MemoryLink:
    """The client's end: see `alephscript.links.transport.Link`.

    A hop takes one turn of the loop, in order, as nothing sent on a network comes at once.
    """

    def __init__(
        self, links: dict[str, Any], carrier: Carrier, receiver: Receiver, sid: str
    ) -> None:
        self._links = links
        self._receiver = receiver
        self._carrier = carrier
        self._sid = sid
        links[sid] = self

    @property
    def is_up(self) -> bool:
        """Whether neither side has ended the link."""
        return self._links.get(self._sid) is self

    def send(self, payload: bytes, ack: int | None = None) -> None:
        if not self.is_up:
            raise NotConnected("the link to the hub is gone; nothing was sent")
        self._hop(lambda: self._carrier.received(self._sid, ack, payload))

    def acknowledge(self, ack: int, payload: bytes) -> None:
        self._hop(lambda: self._carrier.acknowledged(self._sid, ack, payload))

    async def close(self) -> None:
        await _turn()  # what was sent before goes out first
        self.drop("closed", "disconnected")

    def drop(self, reason: str, told: Reason = "link_lost") -> None:
        """End the link from either side; other members who want to know are told another word."""
        if self._links.pop(self._sid, None) is not None:
            self._carrier.left(self._sid, told)
            self._receiver.lost(reason)

    def crash(self) -> None:
        """End the link as a program that is killed."""
        self.drop("it was killed")

    def deliver(self, kind: Kind, ack: int | None, payload: bytes) -> None:
        """Hand a packet of the mesh to the client."""
        if kind is Kind.EVENT:
            self._hop(lambda: self._receiver.received(payload, ack))
        elif ack is not None:
            self._hop(lambda: self._receiver.acknowledged(ack, payload))

    def _hop(self, act: Callable[[], object]) -> None:
        """Act on the next turn of the loop, unless the link is gone by then."""
        asyncio.get_running_loop().call_soon(self._act_if_up, act)

    def _act_if_up(self, act: Callable[[], object]) -> None:
        if self.is_up:
            act()


class _MemoryRecipient:
    """The mesh's end: see `alephscript.hub.namespace.Recipient`."""

    def __init__(self, link: Any, sid: str) -> None:
        self.id = sid
        self._link = link

    def send(self, message: bytes, frame: bytes | None = None) -> None:  # noqa: ARG002
        kind, _, ack, payload = packets.parse_packet(message)
        self._link.deliver(kind, ack, payload)

    def backlog(self) -> int:
        return 0  # a hop takes a turn of the loop, and no more


async def _turn() -> None:
    await asyncio.sleep(0)
