"""`AlephScriptClient`: subclass it, decorate methods, run it.

Here the parts are put together: `lifecycle` keeps a session open, `connecting` opens each, `inbox`
takes what it brings, `serving` runs the class's capabilities, `listening` its listeners. The calls
that a client offers are those of the classes under it: `asking`, `tasks`, `membership`, `speaking`,
`exploring`.

May go in: a client's life, what a user calls for it, and which part does what. May not: doing it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NoReturn, Self

from alephscript.client import environment, running, surveying
from alephscript.client.arguments import check_count, check_seconds, check_text
from alephscript.client.connecting import Connector
from alephscript.client.credentials import Auth
from alephscript.client.declaring import Declarations, RoomRole, collect, summary
from alephscript.client.discovery import MasterChange
from alephscript.client.exploring import Explorer
from alephscript.client.hooks import Hooks
from alephscript.client.inbox import Inbox
from alephscript.client.lifecycle import Lifecycle, State, full_jitter
from alephscript.client.listening import Listening
from alephscript.client.mastering import Mastering
from alephscript.client.membership import write_registration
from alephscript.client.methods import check_instance, gives_way
from alephscript.client.middleware import Middleware
from alephscript.client.offline import OfflineBuffer
from alephscript.client.serving import Service
from alephscript.client.session import HubSession
from alephscript.client.streams import Streams
from alephscript.client.telling import Patience, describe_place
from alephscript.diagnostics import debugging, tracing
from alephscript.errors import AlephScriptError, StateError
from alephscript.links.transport import Transport
from alephscript.protocol import events
from alephscript.protocol.events import Position

__all__ = ["AlephScriptClient"]

logger = logging.getLogger("alephscript.client")

_DRAIN_SECONDS = 10.0
"""The time that `run` leaves to requests after a SIGTERM."""


class AlephScriptClient(Explorer):
    """A member of an AlephScript mesh.

    ::

        class Greeter(AlephScriptClient):
            rooms = ("LOBBY",)

            @capability("GREET")
            async def greet(self, request: dict[str, Any]) -> dict[str, Any]:
                return {"text": f"hello {request['who']}"}

        async with Greeter("http://127.0.0.1:3010"):
            ...

    Args:
        hub: The hub's address, or a `Transport` such as `alephscript.testing.InMemoryMesh`; by
            default what ``ALEPHSCRIPT_URL`` names, else ``http://127.0.0.1:3010``. An address may
            go without ``http://``, and end in the namespace; another path is that at which a proxy
            has the hub.
        usuario: The name to register; the class's name by default.
        sesion: Which instance of that name the client is; made up by default.
        extras: Further fields of the registration, which the server state shows in each room of the
            client. They cannot stand for ``usuario``, ``sesion`` and ``protocol``; `register`
            replaces them all.
        namespace: The hub's namespace.
        auth: The handshake's ``auth``, or a token alone, or a function, plain or async, that gives
            either: it is called before each attempt to connect, and has to return within
            ``connect_timeout`` seconds. By default the token that ``ALEPHSCRIPT_TOKEN`` has.
        token: The same as ``auth={"token": …}``.
        tls: What an ``https`` hub's certificate is checked with; the system's authorities by
            default.
        transports: ``websocket``, ``polling`` or both, where ``hub`` is an address.
        timeout: Seconds that a request may take unless it says otherwise; None leaves them to the
            hub. Streams have a timeout of their own.
        connect_timeout: Seconds that one attempt to connect and register may take.
        retry_open: Whether opening keeps trying while no hub is there, as services want it,
            instead of raising.
        wait: Whether opening waits for the hub. False opens at once, and keeps trying: for
            applications that do without a mesh until there is one. Until then requests are
            `NotConnected`.
        acknowledges: Whether the hub acknowledges; None finds out.
        backoff: Makes the delays between attempts to reconnect.
        when_offline: What becomes of requests and broadcasts while there is no link: ``fail`` at
            once with `NotConnected`, or ``wait`` for the link: requests until their deadline,
            broadcasts in a buffer.
        offline_buffer: Broadcasts that wait for the link at most; further ones are `Overloaded`.
        max_in_flight: Requests that all capabilities together serve at once, at the most. A plain
            ``def`` whose request has ended counts until its thread has.
        redact_errors: Whether the log has only types and places of exceptions, and not what they
            say, which may quote payloads and secrets; by default if ``ALEPHSCRIPT_REDACT`` is 1.
            What crosses to askers never has it.

    Raises:
        ContractError: An argument is not what it has to be.

    Attributes:
        rooms: The rooms of each instance, on every connection. A name is subscribed to and
            mastered; `observe` only subscribes.
        says: Events that instances say in their first room, with the contracts of their data. This
            is documentation (`alephscript.asyncapi`); `broadcast` says them.
        middleware: Functions around each request that instances serve, the first outermost:
            ``async def trace(request, call_next): return await call_next(request)``. Payloads are
            decoded by then; what a function raises is an answer, as from a method.
        declarations: What the class offers and listens to.
        usuario: The name that the client registers.
        sesion: Which instance of that name the client is.
    """

    rooms: ClassVar[tuple[str | RoomRole, ...]] = ()
    says: ClassVar[Mapping[str, Any]] = {}
    middleware: ClassVar[Sequence[Middleware]] = ()
    declarations: Declarations = Declarations((), {}, {})

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.declarations = collect(cls, AlephScriptClient)

    def __init__(
        self,
        hub: str | Transport = environment.DEFAULT_HUB,
        *,
        usuario: str | None = None,
        sesion: str | None = None,
        extras: Mapping[str, Any] | None = None,
        namespace: str = events.RUNTIME,
        auth: Auth | None = None,
        token: str | None = None,
        tls: ssl.SSLContext | None = None,
        transports: tuple[str, ...] = ("websocket",),
        timeout: float | None = events.DEFAULT_TIMEOUT,
        connect_timeout: float = 10.0,
        retry_open: bool = False,
        wait: bool = True,
        acknowledges: bool | None = None,
        backoff: Callable[[], Iterator[float]] = full_jitter,
        when_offline: Literal["fail", "wait"] = "fail",
        offline_buffer: int = 1024,
        max_in_flight: int = 1024,
        redact_errors: bool | None = None,
    ) -> None:
        where = type(self).__name__
        redact = environment.redacts() if redact_errors is None else redact_errors
        check_text(where, "usuario", usuario)
        check_text(where, "sesion", sesion)
        check_seconds(where, "timeout", timeout)
        check_seconds(where, "connect_timeout", connect_timeout)
        check_count(where, "offline_buffer", offline_buffer, 0)
        check_count(where, "max_in_flight", max_in_flight, 1)
        self.usuario = usuario or type(self).__name__
        self.sesion = sesion or uuid.uuid4().hex[:8]
        self._alephscript_extras = dict(extras or {})
        self._alephscript_namespace = namespace
        self._alephscript_max_in_flight = max_in_flight
        self._alephscript_offline = OfflineBuffer(offline_buffer)
        declared = self.declarations
        # By name, whether the client wants to hear who comes and goes.
        self._alephscript_rooms = {room.name: room.presence for room in declared.rooms}
        self._alephscript_masters = {
            room.name: declared.mastery(room.name, room.group)
            for room in declared.rooms
            if room.mastered
        }
        self._alephscript_connector = Connector(
            environment.choose_hub(hub),
            transports=transports,
            tls=tls,
            namespace=namespace,
            auth=auth,
            token=token,
            timeout=connect_timeout,
            acknowledges=acknowledges,
            watch=debugging.watch_links(self.usuario + self.sesion),
            redact=redact,
        )
        life = Lifecycle(
            self._alephscript_establish,
            began=self._alephscript_began,
            ended=self._alephscript_ended,
            backoff=backoff,
            retry_open=retry_open or not wait,
            patience=Patience(self.usuario, self._alephscript_connector.address, redact=redact),
            redact=redact,
        )
        self._alephscript_waits = wait
        self._alephscript_hooks = Hooks(self.usuario, redact=redact)
        self._alephscript_mastering = Mastering(
            self._alephscript_masters,
            self._alephscript_rooms,
            who=lambda: (self.usuario, self.sesion),
            displaced=lambda change: self._alephscript_hooks.start(
                "on_displaced", lambda: self.on_displaced(change)
            ),
        )
        super().__init__(
            life,
            timeout=timeout,
            when_offline=when_offline,
            tracing=tracing.trace_client(),
            redact=redact,
        )
        self._alephscript_streams = Streams()
        self._alephscript_positions: dict[str, Position] = {}
        # Made when the client is opened: they belong to its event loop.
        self._alephscript_service: Service | None = None
        self._alephscript_listening: Listening | None = None
        self._alephscript_session_inbox: Inbox | None = None
        self._alephscript_closing: asyncio.Task[None] | None = None
        self._alephscript_draining: asyncio.Task[None] | None = None

    # Life

    @property
    def state(self) -> State:
        """The state of the client's life."""
        return self._alephscript_life.state

    def states(self) -> AsyncIterator[State]:
        """Iterate over the present state, and each one after it, until the client is closed."""
        return self._alephscript_life.states()

    async def __aenter__(self) -> Self:
        check_instance(self, AlephScriptClient)
        self._alephscript_life.open()
        service = self._alephscript_service = Service(
            self,
            self.declarations.capabilities,
            name=self.usuario,
            max_in_flight=self._alephscript_max_in_flight,
            tracing=self._alephscript_tracing,
            middleware=self.middleware,
            offered=self.declarations.features,
        )
        description = surveying.SelfDescription(
            summary=summary(type(self).__doc__), service=service
        )
        self._alephscript_session_inbox = Inbox(
            service, self._alephscript_streams, description, self._alephscript_mastering
        )
        listeners = [each for group in self.declarations.listeners.values() for each in group]
        self._alephscript_listening = Listening(
            self, listeners, name=self.usuario, redact=self._alephscript_redact
        )
        self._alephscript_listening.open(self._alephscript_streams)
        if not self._alephscript_waits:
            return self
        try:
            await self.ready()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    if not TYPE_CHECKING:  # type checkers say by themselves that there is no `with`

        def __enter__(self) -> NoReturn:
            raise StateError(
                "this client is asynchronous: `async with`; code that blocks takes "
                "`with alephscript.sync.AlephScriptClient(…)`"
            )

        def __exit__(self, *exc_info: object) -> None:
            """Stand beside `__enter__`, which `with` looks for second."""

    async def on_connected(self) -> None:
        """Do something each time the client is registered, in its rooms, and their master.

        Does nothing unless a class overrides it. Runs beside everything else; an exception is
        logged.
        """

    async def on_displaced(self, change: MasterChange) -> None:
        """Do something when another master has taken a room over.

        The client stands by, and masters the room again when the other is gone. Does nothing unless
        a class overrides it. Runs beside everything else; an exception is logged.

        Args:
            change: The room, and the other's name, None on a stock hub that does not tell.
        """

    async def on_closing(self) -> None:
        """Do something before the client leaves, while there is a link if there was one.

        Does nothing unless a class overrides it. The closing waits 5 s for it; an exception is
        logged.
        """

    async def ready(self) -> None:
        """Wait until the client is registered, in its rooms, and their master.

        Raises:
            ConnectionRefused: The hub refused the client, for good.
            StateError: The client is not open.
        """
        await self._alephscript_life.ready()

    async def close(self) -> None:
        """Leave the mesh: running capabilities are cancelled, waiting requests end as closed.

        A capability that ignores its cancellation is waited for 5 s, and then left alone.

        Raises:
            StateError: The client was opened on another event loop.
        """
        self._alephscript_life.check_loop()
        if self._alephscript_closing is None:
            # A task of its own: a method that closes its client is cancelled by the closing.
            self._alephscript_closing = asyncio.create_task(
                self._alephscript_close(asyncio.current_task())
            )
        await asyncio.shield(self._alephscript_closing)

    async def _alephscript_close(self, closer: asyncio.Task[Any] | None) -> None:
        is_open = self.state not in (State.NEW, State.CLOSED)
        if is_open and type(self).on_closing is not AlephScriptClient.on_closing:
            await self._alephscript_hooks.run_last("on_closing", self.on_closing)
        # Begin with the link, so that calls that wait, and later ones, fail with `Closed`.
        closing = asyncio.ensure_future(self._alephscript_life.close())
        await asyncio.sleep(0)
        if self._alephscript_service is not None:
            await self._alephscript_service.close(spare=closer)
        if self._alephscript_listening is not None:
            await self._alephscript_listening.close(spare=closer)
        await self._alephscript_hooks.close(spare=closer)
        await closing
        self._alephscript_streams.close()

    async def drain(self, timeout: float | None = None) -> None:
        """Leave the mesh in peace: take no more requests, finish those that run, then close.

        A capability may drain its own client: all others are finished first, and the client is
        closed when the capability itself has answered.

        Args:
            timeout: Seconds that those may take, None for as long as they need; requests that
                have not finished by then are cancelled.

        Raises:
            ContractError: The timeout is no number.
            StateError: The client was opened on another event loop.
        """
        check_seconds("drain", "timeout", timeout)
        self._alephscript_life.check_loop()
        session = self._alephscript_life.session
        masters = list(self._alephscript_masters)
        self._alephscript_masters.clear()
        with contextlib.suppress(AlephScriptError):
            if session is not None:
                for room in masters:
                    await session.dialect.resign(room)
        if self._alephscript_service is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    await self._alephscript_service.drain()
            if self._alephscript_service.own_job() is not None:
                # The link has to last until the answer is out, and those of others that drain.
                closing = asyncio.create_task(self._alephscript_close_after(timeout))
                self._alephscript_draining = closing
                return
        await self.close()

    async def _alephscript_close_after(self, timeout: float | None) -> None:
        assert self._alephscript_service is not None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._alephscript_service.finish()
        await self.close()

    async def run_forever(self) -> None:
        """Serve until closed, cancelled or refused for good; opens the client if it is new.

        A client that is closed before there was a hub has served, too.

        Raises:
            ConnectionRefused: The hub refused the client, for good.
        """
        if self.state is State.NEW:
            is_open = False
            try:
                async with self:
                    is_open = True
                    await self.run_forever()
            except StateError:
                if is_open or self._alephscript_closing is None:
                    raise
            return
        await self._alephscript_life.until(State.CLOSED)
        if self._alephscript_life.failure is not None:
            raise self._alephscript_life.failure

    @gives_way
    def run(self) -> None:
        """Serve from a script until SIGINT, or SIGTERM, which lets requests finish (10 s).

        A subclass may have a capability by this name; ``AlephScriptClient.run(bot)`` serves then.

        Owns the event loop and both signals, whose handlers are what they were before when it
        returns. A SIGINT cancels what runs, and waits for plain methods; a second one ends the
        program at once.

        Raises:
            ConnectionRefused: There is no hub, or it refused the client. Caught by nobody, the
                error ends the program with status 1 and its sentence, without a traceback.
            StateError: An event loop runs here, or this is not the main thread, which alone hears
                signals; `run_forever` wants neither.
        """
        running.run(self, _DRAIN_SECONDS)

    # Inside

    def _alephscript_declare(self, declarations: Declarations) -> None:
        """Serve what these declare from now on; hubs hear of that by `make_master`."""
        self.declarations = declarations
        if self._alephscript_service is not None:
            self._alephscript_service.offer(declarations.capabilities)

    @property
    def _alephscript_session(self) -> HubSession | None:
        return self._alephscript_life.session

    def _alephscript_began(self, session: HubSession) -> None:
        where = describe_place(
            self._alephscript_connector.address,
            rooms=self._alephscript_rooms,
            masters=self._alephscript_masters,
            declared=self.declarations,
        )
        logger.info(
            "%s is ready: %s",
            self.usuario,
            where,
            extra={"usuario": self.usuario, "namespace": self._alephscript_namespace},
        )
        self._alephscript_offline.flush(session.dialect)
        self._alephscript_mastering.begin(session)
        session.release()
        if type(self).on_connected is not AlephScriptClient.on_connected:
            self._alephscript_hooks.start("on_connected", self.on_connected)

    def _alephscript_ended(self, session: HubSession) -> None:
        change = "has left" if self.state is State.CLOSED else "lost its link to"
        logger.info(
            "%s %s the hub",
            self.usuario,
            change,
            extra={"usuario": self.usuario, "namespace": self._alephscript_namespace},
        )
        self._alephscript_mastering.end()
        if self._alephscript_service is not None:
            self._alephscript_service.lose(session)

    async def _alephscript_establish(self) -> HubSession:
        assert self._alephscript_session_inbox is not None
        return await self._alephscript_connector.open_session(
            self._alephscript_session_inbox,
            self._alephscript_positions,
            registration=write_registration(self.usuario, self.sesion, self._alephscript_extras),
            rooms=dict(self._alephscript_rooms),
            masters=dict(self._alephscript_masters),
            displaced=set(self._alephscript_mastering.displaced),
        )
