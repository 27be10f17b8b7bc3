"""`Hub`: the life of a hub, from a bound port to the last closed connection."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import socket
from collections.abc import Awaitable, Callable, Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from alephscript import wire
from alephscript.errors import AlephScriptError, StateError
from alephscript.routing import Mesh

if TYPE_CHECKING:
    import uvicorn

    from alephscript.hub._socketio import SocketIOServer

__all__ = ["Hub", "HubError"]

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


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
    ) -> None:
        self._host = host
        self._port = port
        self._insecure = insecure
        self._max_bytes = max_bytes
        self._options: dict[str, Any] = {
            "cors_origins": cors_origins,
            "ping_interval": ping_interval,
            "ping_timeout": ping_timeout,
            "max_bytes": max_bytes,
        }
        self._meshes = {
            namespace: Mesh(
                namespace,
                default_timeout=default_timeout,
                require_subscription=require_subscription,
            )
            for namespace in wire.NAMESPACES
        }
        self._server: uvicorn.Server | None = None
        self._socketio: SocketIOServer | None = None
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
        server, self._socketio = self._make()
        listener = self._bind()
        self._server = server
        self._serving = asyncio.ensure_future(server.serve(sockets=[listener]))
        while not server.started and not self._serving.done():  # noqa: ASYNC110 - uvicorn has no event
            await asyncio.sleep(0.005)
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
        if serving is None or self._server is None or self._socketio is None:
            return
        await self._socketio.stop()
        self._server.should_exit = True
        await serving

    async def serve_forever(self) -> None:
        """Serve until cancelled."""
        assert self._serving is not None
        await asyncio.shield(self._serving)

    def _make(self) -> tuple[uvicorn.Server, SocketIOServer]:
        # Only who starts a hub needs what serving needs.
        try:
            import socketio
            import uvicorn

            from alephscript.hub._socketio import SocketIOServer
        except ModuleNotFoundError as exc:
            raise HubError(
                f"a hub needs {exc.name}; install it with `pip install 'alephscript[hub]'`"
            ) from exc

        class Server(uvicorn.Server):  # type: ignore[misc]
            @contextlib.contextmanager
            def capture_signals(self) -> Iterator[None]:
                yield  # signals belong to the program, not to a hub inside it

        shell = SocketIOServer(self._meshes, **self._options)
        config = uvicorn.Config(
            socketio.ASGIApp(shell, other_asgi_app=self._http),
            lifespan="off",
            log_config=None,
            log_level="warning",
            ws_max_size=self._max_bytes,
            ws_per_message_deflate=False,
            timeout_graceful_shutdown=2,
        )
        return Server(config), shell

    def _bind(self) -> socket.socket:
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        # asyncio turns Nagle's delays off only where the protocol is named, here for all accepted.
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((self._host, self._port))
        except OSError as exc:
            listener.close()
            raise HubError(
                f"cannot listen on {self._host}:{self._port}: {exc.strerror}; "
                "is another hub running there? choose another --port"
            ) from exc
        self._port = listener.getsockname()[1]
        return listener

    async def _http(self, scope: Scope, _: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})
            return
        found = scope["path"] == "/healthz"
        clients = sum(mesh.clients for mesh in self._meshes.values())
        body = {"status": "ok", "clients": clients} if found else {"error": "there is no such page"}
        await send(
            {
                "type": "http.response.start",
                "status": 200 if found else 404,
                "headers": [(b"content-type", b"application/json")],
            }
        )
        await send({"type": "http.response.body", "body": json.dumps(body).encode()})


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
