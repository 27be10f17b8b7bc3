"""`Hub`: the life of a hub, from a bound port to the last closed connection.

May go in: what users set, what listens, and the order of opening and closing. May not: when an
option is refused (`options`), connections (`engine`), requests by HTTP (`http`), or rules (`mesh`).
Over 500 lines, because all that users may set is described in one place.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace, TracebackType
from typing import TYPE_CHECKING, Any, Self

from alephscript.errors import StateError
from alephscript.hub.admin import Admin
from alephscript.hub.admission import Admit, is_loopback, make_admission
from alephscript.hub.asgi import HubAsgi, Serving, make_serving
from alephscript.hub.debugging import watch_connections
from alephscript.hub.engine import Engine
from alephscript.hub.http import HubApp
from alephscript.hub.options import (
    HubError,
    check_numbers,
    read_admin_ui,
    read_keep,
    read_log,
    read_retain,
)
from alephscript.hub.pages import MeshPage
from alephscript.hub.senders import Senders
from alephscript.hub.settling import settle
from alephscript.hub.sockets.listening import Listener, bind, raise_descriptor_limit
from alephscript.hub.sockets.lobby import Arrival, Lobby
from alephscript.hub.store.choice import make_log, make_store, make_values
from alephscript.hub.store.logs import LOG_SECONDS
from alephscript.hub.store.store import StoreUnavailable
from alephscript.hub.workers.siblings import Siblings
from alephscript.mesh.access import Access
from alephscript.mesh.budget import Budget
from alephscript.mesh.limits import DEFAULT_LIMITS, Limits
from alephscript.mesh.mesh import Mesh
from alephscript.protocol import events

if TYPE_CHECKING:
    from alephscript.hub.cluster.cluster import Cluster
    from alephscript.hub.cluster.membership import Membership

__all__ = ["Hub", "HubError"]

_CLOSE_SECONDS = 2.0
"""Longest wait for connections that do not end when the hub closes."""
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


_ADMIN_NEEDS_ACCESS = (
    "the Admin UI shows who is connected; beyond 127.0.0.1 it needs access=SharedToken(…) (--token)"
)


class Hub:
    """A Socket.IO hub for AlephScript meshes, namespaces ``/runtime`` and ``/``.

    ::

        async with Hub(port=0) as hub:
            client = AlephScriptClient(hub.url)

    or, in another application's server, without a port of its own::

        app.mount("/mesh", Hub().asgi())

    Args:
        host: The address to listen on. Others than loopback need ``access``, or ``insecure``.
        port: The port; 0 takes a free one.
        access: The rule for who may come in and what each may do, for example
            `alephscript.mesh.access.SharedToken`; None lets in everybody.
        insecure: Listen beyond loopback, or serve other machines where the hub is mounted, although
            no client has to prove who it is.
        tls: Certificate and key (``ssl.SSLContext.load_cert_chain``); None serves plain HTTP.
        default_timeout: Seconds that a request may take when its asker names no timeout.
        require_subscription: Whether an asker has to be in the room that it asks.
        cors_origins: Browser origins that may connect besides the hub's own, and, to a hub on
            loopback, besides those of pages that are served from loopback; ``"*"`` for all.
        allowed_hosts: Names that the hub goes by besides loopback's: for a hub without ``access``
            behind a proxy, or with a name of its own.
        ping_interval: Seconds between heartbeats.
        ping_timeout: Seconds that a client may take to answer a heartbeat.
        limits: How much one client may take of the hub.
        polling: Serve clients that poll, as stock clients do at first. All polls of a client need
            to reach the same process.
        reuse_port: Let other hubs listen on the same port; the system spreads connections.
        redis: Address of a Redis or Valkey that several hubs share, so that they are one mesh:
            ``redis://127.0.0.1:6379/0``; or of any node of a Redis Cluster (7 or newer).
            Programs that may write there are trusted as hubs are, unless hubs have a key.
        cluster_key: File with the key that these hubs share, one a line: the first one signs all
            that this hub writes to the others and to Redis, and what has a signature by none of
            them is refused. None leaves all unsigned.
        history: Events of each room that are kept for clients that were away for a moment; 0 keeps
            none.
        retain: Events that are retained although their senders know nothing of that, as
            ``ROOM:EVENT``; ``*`` as event means all that are no answers.
        data: Folder in which tasks and retained values are kept, so that they outlive the hub;
            None keeps them in memory, or where there is a Redis, there.
        keep_tasks: Seconds that tasks which have ended are kept.
        log: Rooms of which all is kept that members say, so that it can be heard again; ``*`` for
            all. The log is in ``data``, or where there is a Redis, there; else in memory.
        log_keep: How long that is kept: seconds, or a text such as ``7d``.
        log_bytes: How many bytes of it, of all rooms: a number, or a text such as ``1G``. Beyond,
            the room with the most loses its oldest. By default ``1G``, in memory ``64M``.
        admin_ui: Folder of an installed ``@socket.io/admin-ui``, to be served under ``/admin-ui``;
            beyond loopback this needs ``access``, as the UI shows who is connected.
        mesh_page: Serve the page that shows the mesh at ``/``; beyond loopback only with
            ``access``.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 3010,
        access: Access | None = None,
        insecure: bool = False,
        tls: ssl.SSLContext | None = None,
        default_timeout: float = events.DEFAULT_TIMEOUT,
        require_subscription: bool = False,
        cors_origins: Sequence[str] | str = (),
        allowed_hosts: Sequence[str] = (),
        ping_interval: float = 25.0,
        ping_timeout: float = 20.0,
        limits: Limits = DEFAULT_LIMITS,
        polling: bool = True,
        reuse_port: bool = False,
        redis: str | None = None,
        cluster_key: Path | str | None = None,
        history: int = 0,
        retain: Sequence[str] = (),
        data: Path | str | None = None,
        keep_tasks: float = 86_400.0,
        log: Sequence[str] = (),
        log_keep: float | str = LOG_SECONDS,
        log_bytes: int | str | None = None,
        admin_ui: Path | str | None = None,
        mesh_page: bool = True,
    ) -> None:
        self._host = host
        self._port = port
        self._insecure = insecure
        self._access = access
        self._tls = tls
        self._is_private = access is None and is_loopback(host)
        self._cors_origins = cors_origins
        self._names = [*_LOOPBACK, host, *allowed_hosts] if access is None else None
        self._admit = make_admission(
            cors_origins,
            self._names,
            is_private=self._is_private,
            is_on_loopback=is_loopback(host),
        )
        self._default_timeout = default_timeout
        self._require_subscription = require_subscription
        self._history = history
        self._ping_interval = ping_interval
        self._ping_timeout = ping_timeout
        self._admin_ui = read_admin_ui(admin_ui)
        self._polling = polling
        self._reuse_port = reuse_port
        self._redis = redis
        if cluster_key is not None and redis is None:
            raise HubError(
                "cluster_key=… (--cluster-key) is for hubs that share a Redis; say which: "
                "redis=… (--redis)"
            )
        self._cluster_key = cluster_key
        self._mesh_page = MeshPage() if mesh_page else None
        self._limits = limits
        self._asgi: HubAsgi | None = None
        check_numbers(history, default_timeout, (ping_interval, ping_timeout))
        self._retain = read_retain(retain)
        self._keep_tasks = read_keep(keep_tasks)
        self._log = read_log(log, log_keep, log_bytes)
        self._data = data
        self._make()

    def _make(self) -> None:
        """Make what belongs to one event loop: all that serves."""
        limits, access = self._limits, self._access
        budget = Budget(limits)
        self._engine = Engine(
            {
                namespace: Mesh(
                    namespace,
                    default_timeout=self._default_timeout,
                    require_subscription=self._require_subscription,
                    history=self._history,
                    incarnation=secrets.token_hex(8),
                    limits=limits,
                    authorize=None if access is None else access.authorize,
                    budget=budget,
                    retain=self._retain,
                    log=self._log.rooms,
                )
                for namespace in events.NAMESPACES
            },
            ping_interval=self._ping_interval,
            ping_timeout=self._ping_timeout,
            limits=limits,
            access=access,
        )
        if self._data is not None and self._redis is not None:
            raise HubError(
                "hubs that share a Redis keep tasks and retained values there: leave data (--data) "
                "out"
            )
        if self._data == "":
            raise HubError("data='' (--data) names no folder; the present one is '.'")
        self._engine.use_store(make_store(self._data, self._keep_tasks))
        if self._data is not None and self._redis is None:  # else Redis has what hubs share
            self._engine.use_values(make_values(self._data))
        if self._log.rooms and self._redis is None:
            self._engine.use_log(make_log(self._data, self._log))
        self._engine.make_connection = watch_connections(self._engine.meshes)
        if self._admin_ui is not None:
            self._engine.add_namespace("/admin", Admin(self._engine))
        self._membership: Membership | None = None
        self._server: Listener | None = None
        self._lobby = Lobby(self._engine)
        self._state: Any = SimpleNamespace(connections=set(), tasks=set())  # uvicorn's
        self._closed = asyncio.Event()
        self._starting = asyncio.Lock()
        # The loop in which the hub serves, and the one in which that was ended.
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended_in: asyncio.AbstractEventLoop | None = None
        self._serving: Serving | None = None

    @property
    def url(self) -> str:
        """The address at which clients find the hub.

        Raises:
            StateError: The hub is not open.
        """
        if self._server is None:
            if self._asgi is not None:
                raise StateError(
                    "a mounted hub has no address of its own; clients find it at that of the "
                    "application and the path of the mount, `http://…:8000/mesh`"
                )
            raise StateError("this hub is not open; use `async with Hub(…) as hub`")
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{'http' if self._tls is None else 'https'}://{host}:{self._port}"

    def asgi(self) -> HubAsgi:
        """Return the hub as an ASGI application, the same one each time.

        The hub starts with the application's lifespan or, where nobody tells it of one, with its
        first request; it ends with the lifespan, or with `close` or `drain`. ``host`` and ``port``
        say nothing about it. Without ``access`` other machines are refused, unless ``insecure``.

        Raises:
            HubError: ``tls`` or ``reuse_port`` is given, or the Admin UI would be shown to all.
        """
        if self._tls is not None or self._reuse_port:
            raise HubError(
                "tls=… and reuse_port=… are for a port of the hub's own; leave them to the server "
                "of the application"
            )
        if self._admin_ui is not None and self._access is None and self._insecure:
            raise HubError(_ADMIN_NEEDS_ACCESS)
        if self._asgi is None:
            self._asgi = HubAsgi(self._serve_mounted, self._close_mounted)
        return self._asgi

    async def __call__(self, *_: object) -> None:
        """Refuse to be an ASGI application: `asgi` makes one.

        Raises:
            StateError: Always.
        """
        raise StateError(
            "a Hub is no ASGI application itself; mount or serve what `hub.asgi()` returns: "
            '`app.mount("/mesh", hub.asgi())`'
        )

    async def __aenter__(self) -> Self:
        if self._server is not None:
            raise StateError("this hub is open already")
        self._check_access()
        was_mounted = self._loop is asyncio.get_running_loop()
        await self._start()
        server = None
        try:
            make_protocol, self._state = self._http_protocol()
            raise_descriptor_limit(self._limits.connections)
            server = self._listen(make_protocol)
            # A cancellation has to land somewhere.
            await asyncio.sleep(0)
        except BaseException:
            if server is not None:
                server.close()
            if not was_mounted:
                await self.close()
            raise
        self._server = server
        return self

    def _check_access(self) -> None:
        if self._access is None and not is_loopback(self._host):
            if not self._insecure:
                raise HubError(
                    f"{self._host} is reachable by others and nobody is asked who they are; "
                    "pass access=SharedToken(…) (--token), listen on 127.0.0.1, or pass "
                    "insecure=True (--insecure) if that is meant"
                )
            if self._admin_ui is not None:
                raise HubError(_ADMIN_NEEDS_ACCESS)

    async def _open_store(self) -> None:
        """Open the journal of tasks, and join the other hubs if there are any."""
        if self._redis is not None:
            await self._join(self._redis)
        try:
            await self._engine.open_store()
        except BaseException as exc:
            if self._cluster is not None:
                await self._cluster.close()
            if isinstance(exc, StoreUnavailable):
                raise HubError(str(exc)) from exc
            raise

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close every connection and stop listening; closing twice is no error.

        A mounted hub refuses what comes later, until its application begins a lifespan anew.
        """
        loop, self._loop = self._loop, None
        if loop is None or loop.is_closed():
            return  # with its loop all has ended
        server, self._server = self._server, None
        serving, self._serving = self._serving, None
        self._ended_in = loop
        if server is not None:
            server.close()
            server.end_openings()
        self._engine.close()
        if serving is not None:
            serving.end_requests()
        state = self._state
        for connection in list(state.connections):
            connection.shutdown()
        await settle(
            lambda: (
                not (state.connections or state.tasks or (serving is not None and serving.clocks))
            ),
            _CLOSE_SECONDS,
        )
        for task in state.tasks:
            task.cancel()
        self._engine.close()  # connections that were opened meanwhile
        self._lobby.close()
        if self._cluster is not None:
            await self._cluster.close()
        await self._engine.close_store()
        self._closed.set()

    async def drain(self, timeout: float) -> None:
        """Close in peace: take no more connections and requests, let open requests end.

        Where hubs share a Redis, masters at other hubs take over meanwhile, and what those hubs
        have asked here is put to them.

        Args:
            timeout: Seconds that open requests may take; those that are open then end as if the hub
                were lost.
        """
        if self._loop is not None:
            if self._server is not None:
                self._server.close()
            self._engine.take_requests(take=False)
            if self._cluster is not None:
                self._cluster.hand_over()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    while self._engine.in_flight:  # noqa: ASYNC110 - one loop, once in a hub's life
                        await asyncio.sleep(0.01)
            if self._cluster is not None:
                await self._cluster.settle()
        await self.close()

    async def serve_forever(self) -> None:
        """Serve until cancelled, or closed.

        Raises:
            StateError: The hub is not open.
        """
        if self._loop is None:
            raise StateError("this hub is not open; use `async with Hub(…) as hub`")
        await self._closed.wait()

    async def _start(self) -> None:
        """Start what serves, whoever listens; nothing is done if it serves already.

        Raises:
            StateError: The hub serves in another event loop, which has not ended.
            HubError: Redis cannot be reached, or the journal cannot be opened.
        """
        loop = asyncio.get_running_loop()
        if self._loop is not None and self._loop is not loop and not self._loop.is_closed():
            raise StateError(
                "this hub serves in another event loop, to which its connections belong; make a "
                "Hub for each loop"
            )
        before, left = self._loop or self._ended_in, self._engine
        if before is not None and before is not loop:
            self._make()
        async with self._starting:
            if self._loop is loop:
                return
            if left is not self._engine and self._redis is None:
                await left.close_store()  # its loop ended without a word: it has the folder still
            await self._open_store()
            self._engine.take_requests(take=True)
            self._closed.clear()
            self._loop = loop

    async def _serve_mounted(self, *, is_again: bool = False) -> Serving:
        """Return what serves a mounted hub, which starts if need be.

        Args:
            is_again: Whether a hub that was closed is to be opened again.

        Raises:
            StateError: The hub was closed, or serves in another event loop.
            HubError: Redis cannot be reached, or the journal cannot be opened.
        """
        serving = self._serving
        if serving is not None and self._loop is asyncio.get_running_loop():
            return serving
        ended_in = None if is_again or self._loop is not None else self._ended_in
        if ended_in is not None and not ended_in.is_closed():
            raise StateError("this hub is closed")
        await self._start()
        self._serving = make_serving(
            self._engine,
            self._lobby,
            self._app,
            origins=self._cors_origins,
            names=self._names,
            is_for_all=self._insecure,
        )
        return self._serving

    async def _close_mounted(self) -> None:
        """Close, since the last application in which the hub is mounted ends."""
        if self._server is None:
            await self.close()

    def _app(self, admit: Admit, senders: Senders, *, is_private: bool, is_shown: bool) -> HubApp:
        """Make what answers plain HTTP.

        Args:
            admit: The rule about whose requests are taken.
            senders: The rule about of which session's program a request is.
            is_private: Whether only programs on this machine can ask.
            is_shown: Whether the mesh page is served, if it is at all.
        """
        return HubApp(
            self._engine,
            admit,
            senders,
            polling=self._polling,
            admin_ui=self._admin_ui,
            mesh_page=self._mesh_page if is_shown else None,
            is_private=is_private,
        )

    def _http_protocol(self) -> tuple[Callable[[Arrival], asyncio.BaseProtocol], Any]:
        """Make the factory of each socket's protocol, and uvicorn's list of what is open."""
        # Imported here: only a program that starts a hub needs what serving needs.
        try:
            from alephscript.hub.sockets.protocol import make_factory
        except ModuleNotFoundError as exc:
            raise HubError(
                f"a hub needs {exc.name}; install it with `pip install 'alephscript[hub]'`"
            ) from exc
        senders = Senders()
        app = self._app(
            self._admit,
            senders,
            is_private=self._is_private,
            is_shown=self._access is not None or is_loopback(self._host),
        )
        return make_factory(app, self._engine, self._admit, senders)

    async def _join(self, url: str) -> None:
        """Join the hubs that share a Redis."""
        try:
            from alephscript.hub.cluster.membership import Membership
        except ModuleNotFoundError as exc:
            raise HubError(
                f"redis=… needs {exc.name}; install it with `pip install 'alephscript[redis]'`"
            ) from exc
        if self._membership is None:
            self._membership = Membership(
                self._engine,
                url,
                cluster_key=self._cluster_key,
                keep_tasks=self._keep_tasks,
                log=self._log,
            )
        await self._membership.begin()

    def _listen(self, make_protocol: Callable[[Arrival], asyncio.BaseProtocol]) -> Listener:
        listener = bind(self._host, self._port, is_shared=self._reuse_port)
        self._port = listener.getsockname()[1]
        return Listener(
            listener,
            self._lobby,
            make_protocol,
            tls=self._tls,
            handshake_seconds=self._limits.join_seconds,
            siblings=self._siblings(),
        )

    @property
    def _cluster(self) -> Cluster | None:
        """The hub as one of those that share a Redis, None for a hub alone."""
        return None if self._membership is None else self._membership.cluster

    def _siblings(self) -> Siblings | None:
        """Return the other processes on this port, of which a hub by itself knows nothing."""
        return None
