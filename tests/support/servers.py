"""ASGI servers of others, in the test's own event loop, and hubs mounted in their applications."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest
import uvicorn.server
from fastapi import FastAPI

from alephscript.hub import Hub
from tests.support.processes import choose_port

__all__ = [
    "DOORS",
    "SERVERS",
    "MountedHub",
    "Serve",
    "hub_behind",
    "mounted",
    "serve_granian",
    "serve_hypercorn",
    "serve_uvicorn",
]

App = Any
Serve = Callable[..., contextlib.AbstractAsyncContextManager[str]]


async def _nap(seconds: float) -> None:
    await asyncio.sleep(seconds / 20)


# uvicorn naps for 0.1 s between looking whether it is to end, and when it ends: in all a minute.
uvicorn.server.asyncio = cast(Any, SimpleNamespace(**{**vars(asyncio), "sleep": _nap}))


def listening_socket() -> socket.socket:
    """A socket that listens on a free port of loopback."""
    # asyncio turns Nagle's delays, 40 ms each, off only where the protocol is named.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", 0))
    listener.listen(128)
    return listener


def address_of(listener: socket.socket) -> str:
    """Where clients find it."""
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


@asynccontextmanager
async def serve_uvicorn(app: App, **options: Any) -> AsyncIterator[str]:
    """Serve with uvicorn; return the address."""
    listener = listening_socket()
    config = uvicorn.Config(
        app, log_config=None, **{"log_level": "critical", "timeout_graceful_shutdown": 2, **options}
    )
    server = uvicorn.Server(config)
    # Without its signals, which are the test runner's.
    serving = asyncio.create_task(server._serve([listener]))
    try:
        while not server.started:
            assert not serving.done()
            await asyncio.sleep(0.01)
        yield address_of(listener)
    finally:
        server.should_exit = True
        await serving
        listener.close()


@asynccontextmanager
async def serve_hypercorn(app: App, **options: Any) -> AsyncIterator[str]:
    """Serve with hypercorn; return the address."""
    from hypercorn.asyncio import serve
    from hypercorn.config import Config

    listener = listening_socket()
    config = Config()
    config.bind = [f"fd://{listener.fileno()}"]
    config.errorlog = None
    config.graceful_timeout = 2
    for name, value in options.items():
        setattr(config, name, value)
    ended = asyncio.Event()
    serving = asyncio.create_task(
        serve(app, config, shutdown_trigger=cast(Callable[[], Awaitable[None]], ended.wait))
    )
    try:
        yield address_of(listener)
    finally:
        ended.set()
        await serving
        listener.detach()  # hypercorn has closed it


@asynccontextmanager
async def serve_granian(app: App, **options: Any) -> AsyncIterator[str]:
    """Serve with granian; return the address."""
    from granian.constants import Interfaces
    from granian.server.embed import Server

    port = choose_port()  # granian takes no socket of others
    server = Server(
        app,
        address="127.0.0.1",
        port=port,
        interface=Interfaces.ASGI,
        log_enabled=False,
        **options,
    )
    serving = asyncio.create_task(server.serve())
    try:
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except ConnectionRefusedError:
                assert not serving.done()
                await asyncio.sleep(0.01)
                continue
            writer.close()
            break
        yield f"http://127.0.0.1:{port}"
    finally:
        server.stop()  # type: ignore[no-untyped-call]
        await serving


SERVERS: dict[str, Serve] = {
    "uvicorn": serve_uvicorn,
    "hypercorn": serve_hypercorn,
    "granian": serve_granian,
}

DOORS = (
    "own port",
    "uvicorn",
    pytest.param("hypercorn", marks=pytest.mark.slow),
    pytest.param("granian", marks=pytest.mark.slow),
)
"""Where a hub can be: on a port of its own, or mounted at ``/mesh`` in a server of others."""


class MountedHub(Hub):
    """A hub whose address the test knows."""

    address = ""

    @property
    def url(self) -> str:
        """Where clients find it."""
        return self.address


@asynccontextmanager
async def mounted(
    serve: Serve = serve_uvicorn, *, prefix: str = "/mesh", **options: Any
) -> AsyncIterator[MountedHub]:
    """Mount a hub in a FastAPI application that is served, and close it with that."""
    hub = MountedHub(**options)
    app = FastAPI()
    app.mount(prefix, hub.asgi())
    async with serve(app) as url:
        hub.address = url + prefix
        try:
            yield hub
        finally:
            await hub.close()


@asynccontextmanager
async def hub_behind(door: str, **options: Any) -> AsyncIterator[Hub]:
    """Open a hub at one of the `DOORS`."""
    if door in SERVERS:
        async with mounted(SERVERS[door], **options) as hub:
            yield hub
    else:
        async with Hub(port=0, **options) as hub:
            yield hub
