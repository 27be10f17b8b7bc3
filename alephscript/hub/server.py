"""`Hub`: the life of a hub, from a bound port to the last closed connection."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from alephscript import wire
from alephscript.errors import AlephScriptError, StateError
from alephscript.hub.engine import Engine
from alephscript.hub.http import HubApp, admission
from alephscript.routing import Mesh

if TYPE_CHECKING:
    import uvicorn

__all__ = ["Hub", "HubError"]


class HubError(AlephScriptError, OSError):
    """A hub cannot be started as asked; the message says what to change."""


class Hub:
    """A Socket.IO hub for AlephScript meshes, namespaces ``/runtime`` and ``/``.

    ::

        async with Hub(port=0) as hub:
            client = AlephScriptClient(hub.url)

    Args:
        host: The address to listen on. Others than loopback are refused unless ``insecure``.
        port: The port; 0 takes a free one.
        insecure: Listen beyond loopback although nobody is asked who they are.
        default_timeout: Seconds that a request may take when its asker names none.
        require_subscription: Whether an asker has to be in the room that it asks.
        cors_origins: Browser origins that may connect besides the hub's own; ``"*"`` for all.
        ping_interval: Seconds between heartbeats.
        ping_timeout: Seconds that a client may take to answer one.
        max_bytes: The largest message; a client that sends a larger one is disconnected.
        max_backlog: Bytes that may wait for a client; one that reads too slowly is disconnected.
        websockets: The library for them, ``picows`` or ``websockets``; None takes picows if it
            is installed.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 3010,
        insecure: bool = False,
        default_timeout: float = wire.DEFAULT_TIMEOUT,
        require_subscription: bool = False,
        cors_origins: Sequence[str] | str = (),
        ping_interval: float = 25.0,
        ping_timeout: float = 20.0,
        max_bytes: int = 1_000_000,
        max_backlog: int = 4_000_000,
        websockets: str | None = None,
    ) -> None:
        self._host = host
        self._port = port
        self._insecure = insecure
        self._admit = admission(cors_origins)
        self._websockets = websockets
        self._engine = Engine(
            {
                namespace: Mesh(
                    namespace,
                    default_timeout=default_timeout,
                    require_subscription=require_subscription,
                )
                for namespace in wire.NAMESPACES
            },
            ping_interval=ping_interval,
            ping_timeout=ping_timeout,
            max_bytes=max_bytes,
            max_backlog=max_backlog,
        )
        self._server: uvicorn.Server | None = None
        self._serving: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """Where clients find it.

        Raises:
            StateError: It is not open.
        """
        if self._serving is None:
            raise StateError("this hub is not open; use `async with Hub(…) as hub`")
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    async def __aenter__(self) -> Self:
        if self._serving is not None:
            raise StateError("this hub is open already")
        if not (self._insecure or _is_loopback(self._host)):
            raise HubError(
                f"{self._host} is reachable by others and nobody is asked who they are; "
                "listen on 127.0.0.1, or pass insecure=True (--insecure) if that is meant"
            )
        server = self._make()
        listener = self._bind()
        self._server = server
        self._serving = asyncio.ensure_future(server.serve(sockets=[listener]))
        try:
            while not server.started and not self._serving.done():  # noqa: ASYNC110 - it has no event
                await asyncio.sleep(0.005)
        except BaseException:
            await self.close()  # interrupted while opening: nothing may stay behind
            raise
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection and stop listening; closing twice is no error."""
        serving, self._serving = self._serving, None
        if serving is None or self._server is None:
            return
        self._engine.close()
        self._stopping.set()
        await serving
        self._engine.close()  # of who came in between

    async def serve_forever(self) -> None:
        """Serve until cancelled.

        Raises:
            StateError: It is not open.
        """
        if self._serving is None:
            raise StateError("this hub is not open; use `async with Hub(…) as hub`")
        await asyncio.shield(self._serving)

    def _make(self) -> uvicorn.Server:
        # Only who starts a hub needs what serving needs.
        try:
            import uvicorn

            from alephscript.hub.websocket import protocol_class

            websockets = protocol_class(self._engine, self._admit, library=self._websockets)
        except ModuleNotFoundError as exc:
            extra = "fast" if self._websockets == "picows" else "hub"
            raise HubError(
                f"a hub needs {exc.name}; install it with `pip install 'alephscript[{extra}]'`"
            ) from exc

        stopping = self._stopping = asyncio.Event()

        class Server(uvicorn.Server):  # type: ignore[misc]
            @contextlib.contextmanager
            def capture_signals(self) -> Iterator[None]:
                yield  # signals belong to the program, not to a hub inside it

            async def main_loop(self) -> None:
                await stopping.wait()  # uvicorn's own wakes ten times a second

        config = uvicorn.Config(
            HubApp(self._engine, self._admit),
            ws=websockets,
            lifespan="off",
            log_config=None,
            log_level="warning",
            access_log=False,
            date_header=False,
            server_header=False,
            timeout_graceful_shutdown=2,
        )
        return Server(config)

    def _bind(self) -> socket.socket:
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        # asyncio turns Nagle's delays off only where the protocol is named, here for all accepted.
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((self._host, self._port))
            listener.listen()  # now: of two hubs that start at once, one must hear of it
        except OverflowError:
            listener.close()
            raise HubError(f"{self._port} is no port; ports are 0 to 65535") from None
        except OSError as exc:
            listener.close()
            raise HubError(
                f"cannot listen on {self._host}:{self._port}: {exc.strerror}; "
                "is another hub running there? choose another --port"
            ) from exc
        self._port = listener.getsockname()[1]
        return listener


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
