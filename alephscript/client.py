"""`AlephScriptClient`: subclass it, decorate methods, run it.

A client owns one session at a time and replaces it when it is lost: connect, register,
subscribe, make master, and only then READY. Requests and events that come in are given to the
class's capabilities and listeners; what a method does with them costs nobody else anything.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import random
import signal
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from enum import Enum
from types import TracebackType
from typing import Any, ClassVar, Self, TypeVar, overload

import attrs

from alephscript import contracts, loops, serving, wire
from alephscript.capabilities import Declarations, Event, Listener, Room, collect
from alephscript.errors import (
    AlephScriptError,
    Closed,
    ConnectionRefused,
    DeadlineExceeded,
    InvalidPayload,
    NotConnected,
    PayloadTooLarge,
    RequestError,
    StateError,
    UnknownCapability,
    UnknownEvent,
    error_from_answer,
)
from alephscript.session import Incoming, Session
from alephscript.streams import EventStream
from alephscript.transport import Transport
from alephscript.wire import Answer

__all__ = ["AlephScriptClient", "State", "full_jitter"]

logger = logging.getLogger("alephscript.client")

R = TypeVar("R")
Auth = Mapping[str, Any] | Callable[[], Mapping[str, Any] | Awaitable[Mapping[str, Any]]]


class State(Enum):
    """Where a client is in its life."""

    NEW = "new"
    CONNECTING = "connecting"
    READY = "ready"
    RECONNECTING = "reconnecting"
    CLOSED = "closed"


class _Unset(Enum):
    UNSET = "unset"


_UNSET = _Unset.UNSET


def full_jitter(*, first: float = 0.2, most: float = 20.0) -> Iterator[float]:
    """Delays between attempts to reconnect, in seconds, spread so that clients come back apart."""
    ceiling = first
    while True:
        yield random.uniform(0, ceiling)  # noqa: S311 - not a secret
        ceiling = min(most, ceiling * 2)


class AlephScriptClient:
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
        hub: The hub's address, or a `Transport` such as `alephscript.testing.InMemoryMesh`.
        usuario: Who it registers as; the class's name by default.
        sesion: Which of its instances it is; made up by default.
        extras: Further fields of the registration, shown to others.
        namespace: The hub's namespace.
        auth: The handshake's ``auth``, or a function, plain or async, that is asked for it at
            each connection.
        transports: ``websocket``, ``polling`` or both, where ``hub`` is an address.
        timeout: Seconds that a request may take unless it says otherwise.
        connect_timeout: Seconds that one attempt to connect and register may take.
        retry_open: Whether opening keeps trying while no hub is there, as services want it,
            instead of raising.
        acknowledges: Whether the hub acknowledges; None finds out.
        backoff: Makes the delays between attempts to reconnect.

    Attributes:
        rooms: Where instances are on every connection. A name is subscribed to and mastered;
            `observe` only subscribes.
        declarations: What the class offers and listens to.
    """

    rooms: ClassVar[tuple[str | Room, ...]] = ()
    declarations: ClassVar[Declarations] = Declarations((), {}, {})

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.declarations = collect(cls)

    def __init__(
        self,
        hub: str | Transport = wire.DEFAULT_URL,
        *,
        usuario: str | None = None,
        sesion: str | None = None,
        extras: Mapping[str, Any] | None = None,
        namespace: str = wire.RUNTIME,
        auth: Auth | None = None,
        transports: tuple[str, ...] = ("websocket",),
        timeout: float | None = wire.DEFAULT_TIMEOUT,
        connect_timeout: float = 10.0,
        retry_open: bool = False,
        acknowledges: bool | None = None,
        backoff: Callable[[], Iterator[float]] = full_jitter,
    ) -> None:
        self.usuario = usuario or type(self).__name__
        self.sesion = sesion or uuid.uuid4().hex[:8]
        self._extras = dict(extras or {})
        self._hub = hub
        self._transports = transports
        self._namespace = namespace
        self._auth = auth
        self._timeout = timeout
        self._connect_timeout = connect_timeout
        self._retry_open = retry_open
        self._acknowledges = acknowledges
        self._backoff = backoff
        declared = self.declarations
        self._rooms = dict.fromkeys(room.name for room in declared.rooms)
        self._masters = {
            room.name: declared.features(room.name) for room in declared.rooms if room.mastered
        }
        self._state = State.NEW
        self._session: Session | None = None
        self._failure: AlephScriptError | None = None
        self._streams: dict[EventStream, None] = {}
        self._jobs: set[asyncio.Task[None]] = set()
        self._supervisor: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None
        self._changed = asyncio.Condition()

    # Life

    @property
    def state(self) -> State:
        """Where it is in its life."""
        return self._state

    async def __aenter__(self) -> Self:
        if self._state is not State.NEW:
            raise StateError(f"this client is {self._state.value} already; make another one")
        await self._become(State.CONNECTING)
        for listeners in self.declarations.listeners.values():
            for listener in listeners:
                if listener.ordered:
                    self._spawn(self._hear_in_order(listener))
        self._supervisor = asyncio.create_task(self._supervise())
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

    async def ready(self) -> None:
        """Wait until the client is registered, in its rooms, and their master.

        Raises:
            ConnectionRefused: The hub refused it, for good.
            StateError: It is not open.
        """
        if self._state is State.NEW:
            raise StateError("this client is not open; use `async with`, or run()")
        async with self._changed:
            await self._changed.wait_for(lambda: self._state in (State.READY, State.CLOSED))
        if self._state is State.CLOSED:
            raise self._failure or StateError("this client is closed; make another one")

    async def close(self) -> None:
        """Leave the mesh: running capabilities are cancelled, waiting requests end as closed."""
        if self._closing is None:
            # A task of its own, because who closes from within may be cancelled by the closing.
            self._closing = asyncio.create_task(self._close(asyncio.current_task()))
        await asyncio.shield(self._closing)

    async def _close(self, closer: asyncio.Task[Any] | None) -> None:
        await self._become(State.CLOSED)
        ending = [t for t in (self._supervisor, *self._jobs) if t is not None and t is not closer]
        self._supervisor = None
        session, self._session = self._session, None
        for task in ending:
            task.cancel()
        if session is not None:
            await session.close()
        if ending:
            await asyncio.wait(ending)
        self._end_streams()

    async def run_forever(self) -> None:
        """Serve until closed, cancelled or refused for good; opens the client if it is new.

        Raises:
            ConnectionRefused: The hub refused it, for good.
        """
        if self._state is State.NEW:
            async with self:
                await self.run_forever()
            return
        async with self._changed:
            await self._changed.wait_for(lambda: self._state is State.CLOSED)
        if self._failure is not None:
            raise self._failure

    def run(self) -> None:
        """Serve until SIGINT or SIGTERM, from a script: owns the event loop and the signals.

        Raises:
            ConnectionRefused: There is no hub, or it refused the client.
        """

        async def main() -> None:
            loop = asyncio.get_running_loop()
            serving_task = asyncio.ensure_future(self.run_forever())
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, serving_task.cancel)
            with contextlib.suppress(asyncio.CancelledError):
                await serving_task

        loops.run(main())

    # Asking

    @overload
    async def request(
        self,
        request: contracts.RequestFor[R],
        /,
        *,
        room: str | None = None,
        timeout: float | _Unset | None = _UNSET,
    ) -> R: ...
    @overload
    async def request(
        self,
        capability: str,
        payload: Any = None,
        /,
        *,
        room: str | None = None,
        timeout: float | _Unset | None = _UNSET,
        reply: type[R],
    ) -> R: ...
    @overload
    async def request(
        self,
        capability: str,
        payload: Any = None,
        /,
        *,
        room: str | None = None,
        timeout: float | _Unset | None = _UNSET,
    ) -> dict[str, Any]: ...
    async def request(
        self,
        request: str | contracts.RequestFor[Any],
        payload: Any = None,
        /,
        *,
        room: str | None = None,
        timeout: float | _Unset | None = _UNSET,
        reply: Any = None,
    ) -> Any:
        """Ask a capability and wait for its answer.

        Args:
            request: Name of the capability, or a typed request that names it.
            payload: With a name: a JSON value, or a contract.
            room: The room to ask; by default one that offers the capability.
            timeout: Seconds to wait, None for as long as the hub does. Inside a capability, at
                most what remains of the request that is being served.
            reply: With a name: the contract to decode the answer to.

        Returns:
            The answer's fields without ``success``; with a typed request or ``reply``, that type.

        Raises:
            RequestError: The request failed; the subclass and ``code`` say why.
            ContractError: The payload has no wire form, or the answer does not fit the reply.
        """
        if isinstance(request, str):
            event, payload = wire.capability_event(request), {} if payload is None else payload
        else:
            event, payload = wire.capability_event(request.capability), request
            reply = contracts.reply_type(type(request))
        wire.check_event(event)
        data = contracts.encode(payload)
        seconds = self._seconds(event, timeout)
        answer = await self._ready_session().ask(event, data, room=room, timeout=seconds)
        if wire.is_failure(answer):
            raise error_from_answer(answer)
        fields = {key: value for key, value in answer.items() if key != "success"}
        return fields if reply is None else contracts.decode(fields, reply)

    async def server_state(self) -> dict[str, Any]:
        """Who is where and who masters what, as SET_SERVER_STATE tells it."""
        answer = await self._ready_session().server_state(self._timeout or wire.DEFAULT_TIMEOUT)
        return {key: value for key, value in answer.items() if key != "success"}

    # Being somewhere

    async def register(self, usuario: str, sesion: str | None = None, **extras: Any) -> None:
        """Be somebody else from now on, on every connection.

        Raises:
            RequestError: The hub refused it.
        """
        sesion = sesion or self.sesion
        await self._ready_session().register(_registration(usuario, sesion, extras))
        self.usuario, self.sesion, self._extras = usuario, sesion, extras

    async def subscribe(self, room: str) -> None:
        """Be in a room, on every connection from now on.

        Raises:
            RequestError: The hub refused it.
        """
        await self._ready_session().subscribe(wire.room_name(room))
        self._rooms[room] = None

    async def unsubscribe(self, room: str) -> None:
        """Leave a room; what the client masters, it goes on mastering."""
        self._rooms.pop(room, None)
        await self._ready_session().unsubscribe(wire.room_name(room))

    async def make_master(self, room: str, features: tuple[str, ...] | None = None) -> None:
        """Become the master of a room, on every connection from now on.

        Args:
            room: The room.
            features: What to declare; by default the class's capabilities for that room.

        Raises:
            RequestError: The hub refused it.
        """
        offered = self.declarations.features(room) if features is None else features
        await self._ready_session().make_master(wire.room_name(room), offered)
        self._masters[room] = offered

    # Saying and hearing

    async def broadcast(self, event: str, data: Any = None, *, room: str | None = None) -> None:
        """Tell a room what happened; whoever is in it hears it, the client itself included.

        Args:
            event: Name of the event.
            data: A contract or a JSON value.
            room: The room; by default the first of the client's.

        Raises:
            NotConnected: There is no link; nothing was sent.
            RequestError: The event's name or data can not be sent.
        """
        if room is None:
            room = next(iter(self._rooms), None)
            if room is None:
                raise StateError("this client is in no room; say which one: broadcast(…, room=…)")
        name = wire.check_event(event)
        self._ready_session().broadcast(wire.room_name(room), name, contracts.encode(data))

    def events(self, room: str | None = None, *names: str, buffer: int = 1024) -> EventStream:
        """What is said, as an async iterator, from now on and across reconnections.

        Args:
            room: Only this room; None for all that the client is in.
            names: Only events of these names; none for all.
            buffer: How many unread events are kept before the oldest are dropped.
        """
        stream = EventStream(
            room=room,
            names=frozenset(names),
            buffer=buffer,
            on_close=lambda closed: self._streams.pop(closed, None),
        )
        self._streams[stream] = None
        if self._state is State.CLOSED:
            stream.close()
        return stream

    # Inside

    async def _become(self, state: State) -> None:
        async with self._changed:
            self._state = state
            self._changed.notify_all()

    def _end_streams(self) -> None:
        for stream in list(self._streams):
            stream.close()

    def _ready_session(self) -> Session:
        if self._session is not None:
            return self._session
        if self._state is State.NEW:
            raise StateError("this client is not open; use `async with`, or run()")
        if self._state is State.CLOSED:
            raise Closed("this client is closed; make another one")
        raise NotConnected("there is no link to the hub at the moment; nothing was sent")

    def _seconds(self, event: str, timeout: float | _Unset | None) -> float | None:
        """What a request may take: its own limit, or what remains of the one being served."""
        own = self._timeout if isinstance(timeout, _Unset) else timeout
        ends = serving.deadline.get()
        if ends == float("inf"):
            return own
        remaining = ends - asyncio.get_running_loop().time()
        if remaining <= 0:
            raise DeadlineExceeded(f"no time is left to ask {event}", [{"delivered": False}])
        return remaining if own is None else min(own, remaining)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._jobs.add(task)
        task.add_done_callback(self._jobs.discard)

    async def _supervise(self) -> None:
        delays = self._backoff()
        while True:
            try:
                session = await self._establish()
            except AlephScriptError as error:
                opening = self._state is State.CONNECTING and not self._retry_open
                if opening or (isinstance(error, ConnectionRefused) and error.fatal):
                    self._failure = error
                    await self._become(State.CLOSED)
                    self._end_streams()
                    return
                logger.debug("no session yet: %s", error)
            else:
                logger.info("%s is ready on %s", self.usuario, self._namespace)
                delays = self._backoff()
                self._session = session
                session.release()
                await self._become(State.READY)
                await session.gone.wait()
                self._session = None
                logger.info("%s lost its link to the hub; reconnecting", self.usuario)
                await self._become(State.RECONNECTING)
            await asyncio.sleep(next(delays))

    async def _establish(self) -> Session:
        transport = self._transport()
        session = Session(self._take)
        try:
            auth = await self._credentials()
        except Exception as exc:
            logger.exception("the auth provider failed")
            raise ConnectionRefused(str(self._hub), "the auth provider failed") from exc
        try:
            await session.open(
                transport,
                namespace=self._namespace,
                auth=auth,
                registration=_registration(self.usuario, self.sesion, self._extras),
                rooms=list(self._rooms),
                masters=dict(self._masters),
                timeout=self._connect_timeout,
                acknowledges=self._acknowledges,
            )
        except AlephScriptError:
            raise
        except Exception as exc:
            logger.exception("the transport failed")
            raise ConnectionRefused(str(self._hub), f"the transport failed: {exc!r}") from exc
        return session

    def _transport(self) -> Transport:
        if not isinstance(self._hub, str):
            return self._hub
        # Imported here: heavy, and memory needs none of it.
        if self._transports == ("websocket",):
            with contextlib.suppress(ModuleNotFoundError):
                from alephscript._picows import PicowsTransport

                return PicowsTransport(self._hub)
        from alephscript._socketio import SocketIOTransport

        return SocketIOTransport(self._hub, transports=self._transports)

    async def _credentials(self) -> Mapping[str, Any] | None:
        if self._auth is None or isinstance(self._auth, Mapping):
            return self._auth
        given = self._auth()
        return dict((await given if inspect.isawaitable(given) else given) or {})

    def _take(self, session: Session, incoming: Incoming) -> None:
        """Give what came in to whom it concerns; on the loop, in order of arrival."""
        if incoming.event.startswith("GET_"):
            self._spawn(self._serve(session, incoming))
            return
        if incoming.event in wire.CONFIRMATIONS:
            return
        listeners = self.declarations.listeners.get(incoming.event, ())
        if incoming.ack is not None:
            known = listeners or self._streams
            answer = wire.success() if known else UnknownEvent("nobody listens").answer()
            session.answer(incoming, answer)
        data = incoming.data
        if incoming.event.startswith("SET_") and isinstance(data, dict):
            data = {key: value for key, value in data.items() if key != "sender"}
        event = Event(incoming.room, incoming.event, data, incoming.sender)
        for stream in list(self._streams):
            stream.offer(event)
        for listener in listeners:
            # A stock hub does not say the room: then any may be meant, as in streams.
            if not listener.ordered and (not event.room or listener.room in (None, event.room)):
                self._spawn(self._hear(listener, event))

    async def _serve(self, session: Session, incoming: Incoming) -> None:
        name = wire.capability_name(incoming.event)
        capability = self.declarations.capabilities.get(name)
        answer: Answer
        if capability is None:
            answer = UnknownCapability(f"{self.usuario} has no capability {name}").answer()
        else:
            answer = await serving.serve(
                capability,
                getattr(self, capability.attribute),
                incoming.data,
                room=incoming.room,
                caller=incoming.sender,
                id=incoming.id,
                seconds=incoming.seconds,
            )
        try:
            try:
                # A stock hub tells the room anyway: there, the answer is that event.
                if capability and capability.announce and session.acknowledges:
                    self._announce(session, incoming, answer)
                session.answer(incoming, answer)
            except (InvalidPayload, PayloadTooLarge) as error:  # a text or a detail without JSON
                session.answer(incoming, serving.internal(name, error))
        except RequestError as error:
            logger.debug("the answer to %s found no link: %s", incoming.event, error)

    def _announce(self, session: Session, incoming: Incoming, answer: Answer) -> None:
        if incoming.room and not wire.is_failure(answer):
            event = wire.answer_event(incoming.event)
            session.broadcast(incoming.room, event, answer)

    async def _hear_in_order(self, listener: Listener) -> None:
        async with self.events(listener.room, listener.event) as stream:
            async for event in stream:
                await self._hear(listener, event)

    async def _hear(self, listener: Listener, event: Event[Any]) -> None:
        serving.deadline.set(float("inf"))  # not that of whoever said it while serving
        try:
            if listener.data is not None:
                event = attrs.evolve(event, data=contracts.decode(event.data, listener.data))
            method = getattr(self, listener.attribute)
            await serving.in_thread_or_loop(method, event, blocking=listener.blocking)
        except Exception:
            logger.exception("%s.%s failed on an event", self.usuario, listener.attribute)


def _registration(usuario: str, sesion: str, extras: Mapping[str, Any]) -> dict[str, Any]:
    return {**extras, "usuario": usuario, "sesion": sesion, "protocol": wire.PROTOCOL}
