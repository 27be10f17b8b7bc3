"""The mesh that every contract is kept on: memory, simulated, websockets, polling, two hubs."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from typing_extensions import TypeVar

from alephscript import AlephScriptClient
from alephscript.hub import Hub
from alephscript.links.transport import Link, Receiver
from alephscript.protocol.json import parse_json
from alephscript.testing import InMemoryMesh, SimulatedMesh
from tests.support.processes import choose_port

C = TypeVar("C", bound=AlephScriptClient, default=AlephScriptClient)


def at_once() -> Iterator[float]:
    """Delays between attempts to reconnect, for tests: hardly any."""
    while True:
        yield 0.01


class MeshUnderTest:
    """A hub that can die and come back, and the clients that are on it.

    Args:
        kind: ``memory``, ``simulated``, the transport of a hub on a socket, or ``hubs``: clients
            are on two hubs in turn, which share a Redis.
        redis: The address of one.
        seed: Which run is simulated.
        log: Rooms that have a log.
        data: The folder of a hub's data, for kinds with one hub.

    Attributes:
        kind: As given.
        transport: What clients connect by.
        options: What clients are to be given besides the hub.
    """

    def __init__(
        self,
        kind: str,
        redis: str | None = None,
        seed: int = 0,
        *,
        log: Sequence[str] = (),
        data: Path | None = None,
    ) -> None:
        self.kind = kind
        self._redis = redis
        self.transport = "websocket" if kind == "hubs" else kind
        self.options: dict[str, Any] = {"backoff": at_once}
        self._is_in_memory = kind in ("memory", "simulated")
        if not self._is_in_memory:
            self.options["transports"] = (self.transport,)
        self._memory = SimulatedMesh(seed) if kind == "simulated" else InMemoryMesh(log=log)
        self._kept: dict[str, Any] = {"log": log, "data": None if redis else data}
        self._hubs: list[Hub] = []
        self._urls = [""] if redis is None else ["", ""]
        self._turns = itertools.cycle(range(len(self._urls)))
        self._clients = AsyncExitStack()

    @property
    def hub(self) -> Any:
        """What clients take as first argument."""
        return self._memory if self._is_in_memory else self._urls[next(self._turns)]

    async def start(self) -> None:
        """The hub is there, under its old address if it had one."""
        if self._is_in_memory:
            await self._memory.restart()
            return
        for turn, url in enumerate(self._urls):
            port = int(url.rpartition(":")[2]) if url else choose_port()
            hub = await Hub(port=port, redis=self._redis, **self._kept).__aenter__()
            self._hubs.append(hub)
            self._urls[turn] = hub.url

    async def stop(self) -> None:
        """The hub dies."""
        if self._is_in_memory:
            await self._memory.kill()
        while self._hubs:
            await self._hubs.pop().close()

    def make(self, cls: type[C] = AlephScriptClient, **options: Any) -> C:  # type: ignore[assignment]
        """A client of this mesh that is not open yet."""
        return cls(self.hub, **{**self.options, **options})

    async def open(self, cls: type[C] = AlephScriptClient, **options: Any) -> C:  # type: ignore[assignment]
        """A client that is ready, and closed when the test ends."""
        client = self.make(cls, **options)
        await self._clients.enter_async_context(client)
        return client

    async def end(self) -> None:
        """Close every client, then the hub."""
        await self._clients.aclose()
        await self.stop()


class Silent:
    """A hub that takes everything and says nothing, or goes at the first word."""

    url = "silent"

    def __init__(self, *, goes: bool = False) -> None:
        self.goes = goes
        self.sent: list[str] = []

    async def connect(self, receiver: Receiver, **_: Any) -> Link:
        """Open a link."""
        self.receiver = receiver
        return self

    def send(self, payload: bytes, ack: int | None = None) -> None:
        """Take it."""
        self.sent.append(parse_json(payload)[0])
        if self.goes:
            self.receiver.lost("it went")

    def acknowledge(self, ack: int, payload: bytes) -> None:
        """Take it."""

    async def close(self) -> None:
        """End it."""
        self.receiver.lost("closed")


HUBS = pytest.param("hubs", marks=pytest.mark.peers)  # Redis joins them


SIMULATED = pytest.param("simulated", marks=pytest.mark.slow)


@pytest.fixture(params=["memory", SIMULATED, "websocket", "polling", HUBS])
async def mesh(request: pytest.FixtureRequest, anyio_backend: Any) -> AsyncIterator[MeshUnderTest]:
    """A mesh without anybody in it."""
    redis = None
    if request.param == "hubs":
        redis = request.getfixturevalue("shared_redis").url()
    mesh = MeshUnderTest(request.param, redis, zlib.crc32(request.node.nodeid.encode()))
    async with AsyncExitStack() as stack:
        if request.param == "simulated":
            await stack.enter_async_context(mesh.hub)
        try:
            await mesh.start()
            yield mesh
        finally:
            await mesh.end()


@pytest.fixture(params=["memory", "websocket", "polling", HUBS])
async def logged(
    request: pytest.FixtureRequest, anyio_backend: str, tmp_path: Path
) -> AsyncIterator[MeshUnderTest]:
    """A mesh whose rooms all have a log, in memory, in a file, or in Redis."""
    redis = None
    if request.param == "hubs":
        redis = request.getfixturevalue("shared_redis").url()
    mesh = MeshUnderTest(request.param, redis, log=["*"], data=tmp_path)
    try:
        await mesh.start()
        yield mesh
    finally:
        await mesh.end()
