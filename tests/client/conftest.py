"""The mesh that every contract is kept on: in memory, over websockets, over polling."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from typing import Any, TypeVar

import pytest

from alephscript import AlephScriptClient
from alephscript.hub import Hub
from alephscript.testing import InMemoryMesh

C = TypeVar("C", bound=AlephScriptClient)


def at_once() -> Iterator[float]:
    """Delays between attempts to reconnect, for tests: hardly any."""
    while True:
        yield 0.01


class MeshUnderTest:
    """A hub that can die and come back, and the clients that are on it.

    Args:
        kind: ``memory``, or the transport of a hub on a socket.

    Attributes:
        kind: As given.
        options: What clients are to be given besides the hub.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.options: dict[str, Any] = {"backoff": at_once}
        if kind != "memory":
            self.options["transports"] = (kind,)
        self._memory = InMemoryMesh()
        self._hub: Hub | None = None
        self._url = ""
        self._clients = AsyncExitStack()

    @property
    def hub(self) -> Any:
        """What clients take as first argument."""
        return self._memory if self.kind == "memory" else self._url

    async def start(self) -> None:
        """The hub is there, under its old address if it had one."""
        if self.kind == "memory":
            await self._memory.start()
            return
        port = int(self._url.rpartition(":")[2]) if self._url else 0
        self._hub = await Hub(port=port).__aenter__()
        self._url = self._hub.url

    async def stop(self) -> None:
        """The hub dies."""
        if self.kind == "memory":
            await self._memory.stop()
        elif self._hub is not None:
            await self._hub.close()

    def make(self, cls: type[C] = AlephScriptClient, **options: Any) -> C:  # type: ignore[assignment]
        """A client of this mesh that is not open yet."""
        return cls(self.hub, **{**self.options, **options})

    async def open(self, cls: type[C] = AlephScriptClient, **options: Any) -> C:  # type: ignore[assignment]
        """A client that is ready, and closed when the test ends."""
        return await self._clients.enter_async_context(self.make(cls, **options))

    async def end(self) -> None:
        """Close every client, then the hub."""
        await self._clients.aclose()
        await self.stop()


@pytest.fixture(params=["memory", "websocket", "polling"])
async def mesh(request: pytest.FixtureRequest, anyio_backend: str) -> AsyncIterator[MeshUnderTest]:
    """A mesh without anybody in it."""
    mesh = MeshUnderTest(request.param)
    await mesh.start()
    try:
        yield mesh
    finally:
        await mesh.end()
