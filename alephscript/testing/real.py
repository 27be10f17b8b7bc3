"""A hub on a free port, where an `InMemoryMesh` could be.

May go in: the life of that hub. May not: how a hub works (`hub`).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from alephscript.errors import StateError
from alephscript.hub import Hub
from alephscript.links import transport_to
from alephscript.links.transport import Link, Receiver
from alephscript.testing.faults import FaultInjector
from alephscript.testing.virtual import refuse_outside

__all__ = ["HubMesh"]


class HubMesh(FaultInjector):
    """A real hub for tests; pass it to clients where they take the hub's address.

    Args:
        options: As those of `alephscript.hub.Hub`. Heartbeats are a day apart unless they say
            otherwise, so that hours can pass without one (`HubMesh.advance`).
    """

    def __init__(self, **options: Any) -> None:
        self._options = {"port": 0, "ping_interval": 86_400.0, **options}
        self._hub: Hub | None = None
        super().__init__([])

    @property
    def url(self) -> str:
        """The hub's address.

        Raises:
            StateError: The hub is not open.
        """
        if self._hub is None:
            raise StateError("this hub is not there; use `async with HubMesh() as mesh`")
        return self._hub.url

    async def __aenter__(self) -> Self:
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

    def cut(self) -> None:
        """Cut every link; clients may connect again at once."""
        if self._hub is not None:
            for connection in list(self._hub._engine.connections.values()):  # noqa: SLF001 - its other half
                connection.close("it was cut")

    def present_links(self) -> list[Any]:
        """Return what `cut_link` takes."""
        return [] if self._hub is None else list(self._hub._engine.connections.values())  # noqa: SLF001

    def cut_link(self, link: Any) -> None:
        """Cut one link."""
        link.close("it was cut")

    def _crash_peer(self, sid: str) -> None:
        for connection in self.present_links():
            if sid in connection.sids.values():
                connection.close("its program was killed")

    async def kill(self) -> None:
        """Die: links end, and the port listens no more."""
        hub, self._hub = self._hub, None
        if hub is not None:
            self._options["port"] = int(hub.url.rpartition(":")[2])
            await hub.close()

    async def restart(self) -> None:
        """Come back under the same address, with an empty mesh."""
        refuse_outside()
        if self._hub is not None:
            raise StateError("this hub is there already; `kill` it first")
        self._hub = await Hub(**self._options).__aenter__()
        carriers = self._hub._engine.carriers  # noqa: SLF001 - its other half
        self._inject_into(list(carriers.values()))

    async def connect(
        self,
        receiver: Receiver,
        *,
        namespace: str,
        auth: Mapping[str, Any] | None,
        timeout: float,
    ) -> Link:
        """Open a link; see `alephscript.links.transport.Transport.connect`."""
        url = self.url if self._hub else f"http://127.0.0.1:{self._options['port']}"
        transport = transport_to(url)
        return await transport.connect(receiver, namespace=namespace, auth=auth, timeout=timeout)
