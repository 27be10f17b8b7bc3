"""`AlephScriptClient`: subclass it, decorate methods, run it.

Thin: `lifecycle` keeps a session open, `serving` runs the class's capabilities, `listening` its
listeners, `session` speaks to the hub. Here they are put together, and asking and saying begin.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import signal
import ssl
import uuid
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from enum import Enum
from types import TracebackType
from typing import Any, ClassVar, Literal, Self, TypeVar, cast, overload

import attrs
import msgspec

from alephscript import contracts
from alephscript.client import loops, serving, surveying
from alephscript.client.declaring import Declarations, Group, RoomRole, collect, summary
from alephscript.client.discovery import MasterChange, MemberStats, Offer, Survey
from alephscript.client.lifecycle import Lifecycle, State, full_jitter
from alephscript.client.listening import Listening
from alephscript.client.messages import GAP, Event, Gap, Progress
from alephscript.client.proxy import Proxy, methods_of
from alephscript.client.session import Call, Delivery, HubSession, read_answer
from alephscript.client.streams import EventStream, Streams
from alephscript.diagnostics import debugging, tracing
from alephscript.diagnostics.redaction import redacted
from alephscript.errors import (
    AlephScriptError,
    ConnectionRefused,
    DeadlineExceeded,
    NotConnected,
    Overloaded,
    StateError,
    UnknownEvent,
    error_from_answer,
)
from alephscript.links import transport_to
from alephscript.links.transport import Transport
from alephscript.protocol import events
from alephscript.protocol.events import HubEvent, Position
from alephscript.protocol.json import write_json

__all__ = ["AlephScriptClient"]

logger = logging.getLogger("alephscript.client")

R = TypeVar("R")
T = TypeVar("T")
Auth = Mapping[str, Any] | Callable[[], Mapping[str, Any] | Awaitable[Mapping[str, Any]]]


class _Unset(Enum):
    UNSET = "unset"


_UNSET = _Unset.UNSET

_DRAIN_SECONDS = 10.0
"""What `run` lets requests finish in after a SIGTERM."""


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
            each connection and may take as long as one.
        tls: What an ``https`` hub's certificate is checked with; the system's authorities by
            default.
        transports: ``websocket``, ``polling`` or both, where ``hub`` is an address.
        timeout: Seconds that a request may take unless it says otherwise.
        connect_timeout: Seconds that one attempt to connect and register may take.
        retry_open: Whether opening keeps trying while no hub is there, as services want it,
            instead of raising.
        acknowledges: Whether the hub acknowledges; None finds out.
        backoff: Makes the delays between attempts to reconnect.
        when_offline: What is asked or said while there is no link: ``fail`` at once with
            `NotConnected`, or ``wait`` for the link: requests until their deadline, broadcasts
            in a buffer.
        offline_buffer: Broadcasts that wait for the link at most; over it they are `Overloaded`.
        max_in_flight: Requests that its capabilities serve at once, at the most.

    Attributes:
        rooms: Where instances are on every connection. A name is subscribed to and mastered;
            `observe` only subscribes.
        says: What instances say in their first room, by event: the contract of its data. It is
            for who reads about the class (`alephscript.asyncapi`); saying is `broadcast`.
        declarations: What the class offers and listens to.
    """

    rooms: ClassVar[tuple[str | RoomRole, ...]] = ()
    says: ClassVar[Mapping[str, Any]] = {}
    declarations: ClassVar[Declarations] = Declarations((), {}, {})

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.declarations = collect(cls)

    def __init__(
        self,
        hub: str | Transport = events.DEFAULT_URL,
        *,
        usuario: str | None = None,
        sesion: str | None = None,
        extras: Mapping[str, Any] | None = None,
        namespace: str = events.RUNTIME,
        auth: Auth | None = None,
        tls: ssl.SSLContext | None = None,
        transports: tuple[str, ...] = ("websocket",),
        timeout: float | None = events.DEFAULT_TIMEOUT,
        connect_timeout: float = 10.0,
        retry_open: bool = False,
        acknowledges: bool | None = None,
        backoff: Callable[[], Iterator[float]] = full_jitter,
        when_offline: Literal["fail", "wait"] = "fail",
        offline_buffer: int = 1024,
        max_in_flight: int = 1024,
    ) -> None:
        self.usuario = usuario or type(self).__name__
        self.sesion = sesion or uuid.uuid4().hex[:8]
        self._watched = debugging.watch_links(self.usuario + self.sesion)
        self._extras = dict(extras or {})
        self._hub = hub
        self._transports = transports
        self._namespace = namespace
        self._auth = auth
        self._tls = tls
        self._timeout = timeout
        self._connect_timeout = connect_timeout
        self._retry_open = retry_open
        self._acknowledges = acknowledges
        self._when_offline = when_offline
        self._offline_buffer = offline_buffer
        self._offline: deque[tuple[str, str, bytes]] = deque()
        self._max_in_flight = max_in_flight
        self._tracing = tracing.trace_client()
        declared = self.declarations
        self._rooms = dict.fromkeys(room.name for room in declared.rooms)
        self._masters = {
            room.name: declared.mastery(room.name, room.group)
            for room in declared.rooms
            if room.mastered
        }
        self._life = Lifecycle(
            self._establish,
            began=self._began,
            ended=self._ended,
            backoff=backoff,
            retry_open=retry_open,
        )
        self._streams = Streams()
        self._positions: dict[str, Position] = {}
        self._service: serving.Service | None = None
        self._listening: Listening | None = None
        self._closing: asyncio.Task[None] | None = None

    # Life

    @property
    def _session(self) -> HubSession | None:
        return self._life.session

    @property
    def state(self) -> State:
        """Where it is in its life."""
        return self._life.state

    def states(self) -> AsyncIterator[State]:
        """Where it is, and each change from then on, until it is closed."""
        return self._life.states()

    async def __aenter__(self) -> Self:
        self._life.open()
        self._opened = asyncio.get_running_loop().time()
        self._service = serving.Service(
            self,
            self.declarations.capabilities,
            name=self.usuario,
            max_in_flight=self._max_in_flight,
            tracing=self._tracing,
        )
        listeners = [each for group in self.declarations.listeners.values() for each in group]
        self._listening = Listening(self, listeners, name=self.usuario)
        self._listening.open(self._streams)
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
        await self._life.ready()

    async def close(self) -> None:
        """Leave the mesh: running capabilities are cancelled, waiting requests end as closed."""
        if self._closing is None:
            # A task of its own, because who closes from within may be cancelled by the closing.
            self._closing = asyncio.create_task(self._close(asyncio.current_task()))
        await asyncio.shield(self._closing)

    async def _close(self, closer: asyncio.Task[Any] | None) -> None:
        # Whoever waits for the link is told, whoever asks from now on, too.
        closing = asyncio.ensure_future(self._life.close())
        await asyncio.sleep(0)
        if self._service is not None:
            await self._service.close(spare=closer)
        if self._listening is not None:
            await self._listening.close(spare=closer)
        await closing
        self._streams.close()

    async def drain(self, timeout: float | None = None) -> None:
        """Leave the mesh in peace: take no more requests, finish those that run, then close.

        Args:
            timeout: Seconds that they may take, None for as long as it needs; what has not
                finished by then is cancelled.
        """
        session = self._life.session
        masters, self._masters = self._masters, {}
        with contextlib.suppress(AlephScriptError):
            if session is not None:
                for room in masters:
                    await session.resign(room)
        if self._service is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    await self._service.drain()
        await self.close()

    async def run_forever(self) -> None:
        """Serve until closed, cancelled or refused for good; opens the client if it is new.

        Raises:
            ConnectionRefused: The hub refused it, for good.
        """
        if self.state is State.NEW:
            async with self:
                await self.run_forever()
            return
        await self._life.until(State.CLOSED)
        if self._life.failure is not None:
            raise self._life.failure

    def run(self) -> None:
        """Serve from a script until SIGINT, or SIGTERM, which lets requests finish (10 s).

        Owns the event loop and both signals.

        Raises:
            ConnectionRefused: There is no hub, or it refused the client.
        """

        async def main() -> None:
            loop = asyncio.get_running_loop()
            running = asyncio.ensure_future(self.run_forever())
            draining: set[asyncio.Future[None]] = set()

            def drain() -> None:
                draining.add(asyncio.ensure_future(self.drain(_DRAIN_SECONDS)))

            loop.add_signal_handler(signal.SIGINT, running.cancel)
            loop.add_signal_handler(signal.SIGTERM, drain)
            with contextlib.suppress(asyncio.CancelledError):
                await running

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
        wait_for_master: bool = False,
        on_progress: Callable[[Progress], None] | None = None,
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
        wait_for_master: bool = False,
        on_progress: Callable[[Progress], None] | None = None,
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
        wait_for_master: bool = False,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> dict[str, Any]: ...
    async def request(
        self,
        request: str | contracts.RequestFor[Any],
        payload: Any = None,
        /,
        *,
        room: str | None = None,
        timeout: float | _Unset | None = _UNSET,
        wait_for_master: bool = False,
        on_progress: Callable[[Progress], None] | None = None,
        reply: Any = None,
    ) -> Any:
        """Ask a capability and wait for its answer.

        It ends by the first of: the answer; no master; the deadline; the loss of the master or
        of the own link; the cancellation of the task that asks, which travels to the master.

        Args:
            request: Name of the capability, or a typed request that names it.
            payload: With a name: a JSON value, or a contract.
            room: The room to ask; by default one that offers the capability.
            timeout: Seconds to wait, None for as long as the hub does. Inside a capability, at
                most what remains of the request that is being served.
            wait_for_master: Whether to wait, until the deadline, for somebody who offers it,
                instead of ending with `NoMaster` at once. Needs a hub of this package.
            on_progress: Called with what the capability reports by `Request.progress`.
            reply: With a name: the contract to decode the answer to.

        Returns:
            The answer's fields without ``success``; with a typed request or ``reply``, that type.

        Raises:
            RequestError: The request failed; the subclass and ``code`` say why.
            ContractError: The payload has no wire form, or the answer does not fit the reply.
        """
        if not isinstance(request, str):
            reply = contracts.reply_type(type(request))
        question = self._question(request, payload, room, timeout, on_progress)
        if wait_for_master:
            question = question.with_meta({"wait": True})
        if self._tracing is None:
            return await self._answer_to(question, reply)
        with self._tracing.asking(question.event, question.room) as trace:
            return await self._answer_to(question.with_meta(trace), reply)

    @overload
    def stream(
        self,
        request: contracts.RequestFor[R],
        /,
        *,
        room: str | None = None,
        timeout: float | None = None,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> AsyncIterator[R]: ...
    @overload
    def stream(
        self,
        capability: str,
        payload: Any = None,
        /,
        *,
        room: str | None = None,
        timeout: float | None = None,
        on_progress: Callable[[Progress], None] | None = None,
        reply: type[R],
    ) -> AsyncIterator[R]: ...
    @overload
    def stream(
        self,
        capability: str,
        payload: Any = None,
        /,
        *,
        room: str | None = None,
        timeout: float | None = None,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> AsyncIterator[Any]: ...
    async def stream(
        self,
        request: str | contracts.RequestFor[Any],
        payload: Any = None,
        /,
        *,
        room: str | None = None,
        timeout: float | None = None,
        on_progress: Callable[[Progress], None] | None = None,
        reply: Any = None,
    ) -> AsyncIterator[Any]:
        """Ask a capability that answers in parts; leaving the loop cancels it.

        ::

            async for part in client.stream("AAIA_PLAY_FIA", {"sessionId": sid, "fiaIndex": 0}):
                ...

        The master sends no more than 64 parts ahead of what was read. A capability that answers
        at once gives one part, its answer.

        Args:
            request: Name of the capability, or a typed request that names it.
            payload: With a name: a JSON value, or a contract.
            room: The room to ask; by default one that offers the capability.
            timeout: Seconds until the last part, None for a day.
            on_progress: Called with what the capability reports by `Request.progress`.
            reply: With a name: the contract to decode each part to.

        Yields:
            The parts; with a typed request or ``reply``, of that type.

        Raises:
            RequestError: The request failed; the subclass and ``code`` say why.
            ContractError: The payload has no wire form, or a part does not fit the reply.
        """
        if not isinstance(request, str):
            reply = contracts.reply_type(type(request))
        timeout = events.LONGEST_TIMEOUT if timeout is None else timeout
        question = self._question(request, payload, room, timeout, on_progress)
        with contextlib.ExitStack() as stack:
            if self._tracing is not None:
                span = self._tracing.asking(question.event, question.room)
                question = question.with_meta(stack.enter_context(span))
            session, question = await self._session_for(question)
            async with contextlib.aclosing(session.stream(question)) as parts:
                async for part in parts:
                    yield part if reply is None else contracts.structure(part, reply)

    def proxy(
        self, cls: type[T], *, room: str | None = None, timeout: float | _Unset | None = _UNSET
    ) -> T:
        """A master's methods, to be called as if it were here.

        ::

            bot = client.proxy(PersefonBot)
            step = await bot.step_fia(StepFIA(session_id=sid, fia_index=0))  # a StepResult

        Args:
            cls: The master's class, or a Protocol with some of its methods; a method that takes a
                `Request` or is a plain ``def`` is better declared in a Protocol, by what it takes
                and gives from afar.
            room: The room to ask; by default one that offers the capability.
            timeout: Seconds to wait, as in `request`.

        Raises:
            DeclarationError: The class offers nothing.
        """
        options: dict[str, Any] = {"room": room}
        if timeout is not _UNSET:
            options["timeout"] = timeout
        return cast("T", Proxy(self, cls.__qualname__, methods_of(cls), options))

    async def server_state(self) -> dict[str, Any]:
        """Who is where and who masters what, as SET_SERVER_STATE tells it."""
        answer = await self._life.present_session().server_state(
            self._timeout or events.DEFAULT_TIMEOUT
        )
        return {key: value for key, value in answer.items() if key != "success"}

    # Finding out

    async def discover(
        self, *, room: str | None = None, capability: str | None = None
    ) -> list[Offer]:
        """Who offers what, with the schemas of what it takes and gives.

        Masters of other packages appear with the names that they declared.

        Args:
            room: Only this room.
            capability: Only this capability.

        Raises:
            UnknownEvent: It is a stock hub, which does not say.
        """
        name = None if capability is None else events.capability_name(capability)
        wanted = {"room": room, "capability": name}
        session, timeout = self._life.present_session(), self._timeout or events.DEFAULT_TIMEOUT
        told = await surveying.read(session, HubEvent.GET_CAPABILITIES, wanted, timeout)
        return contracts.structure(told["offers"], list[Offer])

    async def watch_masters(self) -> AsyncIterator[MasterChange]:
        """Each change, in any room, of who serves there; from now on and across reconnections."""
        with contextlib.closing(self.events(None, HubEvent.MASTER_CHANGED)) as stream:
            if events.EVERY_ROOM not in self._rooms:
                await self.subscribe(events.EVERY_ROOM)
            async for event in stream:
                yield contracts.structure(event.data, MasterChange)

    async def survey(
        self, what: surveying.What = "info", *, room: str | None = None, timeout: float = 2.0
    ) -> Survey:
        """Ask every member of this package's at once what it is, or how it does.

        Args:
            what: ``ping``; ``info``, a `MemberInfo` each; ``stats``, a `MemberStats` each.
            room: Only who is in this room.
            timeout: Seconds after which who has not answered is missing.

        Raises:
            UnknownEvent: It is a stock hub, which does not say who there is.
        """
        return await surveying.survey(self._life.present_session(), what, room, timeout)

    # Being somewhere

    async def register(self, usuario: str, sesion: str | None = None, **extras: Any) -> None:
        """Be somebody else from now on, on every connection.

        Raises:
            RequestError: The hub refused it.
        """
        sesion = sesion or self.sesion
        await self._life.present_session().register(_registration(usuario, sesion, extras))
        self.usuario, self.sesion, self._extras = usuario, sesion, extras

    async def subscribe(self, room: str, *, since: Position | None = None) -> None:
        """Be in a room, on every connection from now on.

        Where the hub keeps a history, what was said while the link was lost comes after the
        reconnection, in order; what it no longer has is told as a `GAP` event.

        Args:
            room: The room.
            since: Hear first what was said since then; `position` says where one is.

        Raises:
            RequestError: The hub refused it.
        """
        if since is not None:
            self._positions[events.check_room_name(room)] = attrs.evolve(since)
        await self._life.present_session().subscribe(events.check_room_name(room))
        self._rooms[room] = None

    def position(self, room: str) -> Position | None:
        """How far a room was heard, to be passed to `subscribe`; None without a history."""
        position = self._positions.get(room)
        return None if position is None else attrs.evolve(position)

    async def unsubscribe(self, room: str) -> None:
        """Leave a room; what the client masters, it goes on mastering."""
        self._rooms.pop(room, None)
        self._positions.pop(room, None)
        await self._life.present_session().unsubscribe(events.check_room_name(room))

    async def make_master(
        self, room: str, features: tuple[str, ...] | None = None, *, group: Group = "single"
    ) -> None:
        """Become the master of a room, or one of its masters, on every connection.

        Args:
            room: The room.
            features: What to declare; by default the class's capabilities for that room.
            group: ``single``: whoever mastered it before is displaced. ``standby``: the first of
                those who stand by serves, the next takes over when it goes. ``shared``: each
                request goes to the one with the fewest in flight. The last declaration decides
                which of these a room is; masters of another group are displaced.

        Raises:
            RequestError: The hub refused it.
        """
        mastery = self.declarations.mastery(events.check_room_name(room), group)
        if features is not None:
            mastery = attrs.evolve(mastery, features=features)
        await self._life.present_session().make_master(room, mastery)
        self._masters[room] = mastery

    async def resign(self, room: str) -> None:
        """Master a room no more, on every connection; requests that run are still answered.

        Raises:
            RequestError: The hub refused it.
        """
        self._masters.pop(room, None)
        await self._life.present_session().resign(events.check_room_name(room))

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
        said = (events.check_room_name(room), events.check_event(event), contracts.write(data))
        try:
            self._life.present_session().broadcast(*said)
        except NotConnected:
            if self._when_offline == "fail":
                raise
            if len(self._offline) >= self._offline_buffer:
                waiting = f"{len(self._offline)} broadcasts wait for the link already"
                raise Overloaded(waiting, [{"delivered": False}]) from None
            self._offline.append(said)

    def events(self, room: str | None = None, *names: str, buffer: int = 1024) -> EventStream:
        """What is said, as an async iterator, from now on and across reconnections.

        Args:
            room: Only this room; None for all that the client is in.
            names: Only events of these names; none for all.
            buffer: How many unread events are kept before the oldest are dropped.
        """
        return self._streams.open(room, frozenset(names), buffer)

    # Inside

    def _question(
        self,
        request: str | contracts.RequestFor[Any],
        payload: Any,
        room: str | None,
        timeout: float | _Unset | None,
        on_progress: Callable[[Progress], None] | None,
    ) -> Call:
        if isinstance(request, str):
            capability, payload = request, {} if payload is None else payload
        else:
            capability, payload = request.capability, request
        event = events.request_event(capability)
        seconds = self._timeout if timeout is _UNSET else timeout
        work = serving.current.get()
        meta: Mapping[str, Any] = _NOTHING
        if work is not None:
            remaining = work.ends - asyncio.get_running_loop().time()
            if remaining <= 0:
                raise DeadlineExceeded(f"no time is left to ask {event}", _NOT_DELIVERED)
            seconds = remaining if seconds is None else min(seconds, remaining)
            meta = {"chain": work.chain}
        if seconds is not None and seconds > events.LONGEST_TIMEOUT:
            seconds = events.LONGEST_TIMEOUT
        report = None
        if on_progress is not None:
            report = _reporter(on_progress, events.capability_name(event))
        return Call(event, contracts.write(payload), room, seconds, meta, report)

    async def _answer_to(self, question: Call, reply: Any) -> Any:
        session = self._life.session
        if session is None:
            session, question = await self._session_for(question)
        payload = await session.ask_unread(question)
        if reply is not None:
            found = contracts.read_reply(payload, reply)
            if found is not None:
                return found
        answer = read_answer(payload)
        if events.is_failure(answer):
            raise error_from_answer(answer)
        del answer["success"]
        return answer if reply is None else contracts.structure(answer, reply)

    async def _session_for(self, question: Call) -> tuple[HubSession, Call]:
        """The session to ask on, and the question with the time that is left by then."""
        if self._when_offline == "fail" or self._life.session is not None:
            return self._life.present_session(), question
        clock = asyncio.get_running_loop().time
        began = clock()
        try:
            async with asyncio.timeout(question.timeout):
                await self._life.until(State.READY)
        except TimeoutError:
            message = f"no link to the hub within {question.timeout:g} s"
            raise DeadlineExceeded(message, _NOT_DELIVERED) from None
        session = self._life.present_session()
        if question.timeout is None:
            return session, question
        left = max(0.001, question.timeout - (clock() - began))
        return session, msgspec.structs.replace(question, timeout=left)

    def _began(self, session: HubSession) -> None:
        logger.info(
            "%s is ready on %s",
            self.usuario,
            self._namespace,
            extra={"usuario": self.usuario, "namespace": self._namespace},
        )
        while self._offline:
            session.broadcast(*self._offline.popleft())
        session.release()

    def _ended(self, session: HubSession) -> None:
        left = "has left" if self.state is State.CLOSED else "lost its link to"
        logger.info(
            "%s %s the hub",
            self.usuario,
            left,
            extra={"usuario": self.usuario, "namespace": self._namespace},
        )
        if self._service is not None:
            self._service.lost(session)

    def _about_itself(self, event: str) -> dict[str, Any]:
        assert self._service is not None
        if event == "GET_MEMBER_INFO":
            uptime = asyncio.get_running_loop().time() - self._opened
            offered, told = self.declarations.capabilities, summary(type(self).__doc__)
            about: Any = surveying.info(self.usuario, self.sesion, offered, told, uptime)
        elif event == "GET_MEMBER_STATS":
            about = MemberStats(self.usuario, self.sesion, self._service.stats())
        else:
            return {}
        return dict(contracts.unstructure(about))

    async def _establish(self) -> HubSession:
        assert self._service is not None
        transport = self._watched(self._transport())
        session = HubSession(_Inbox(self, self._service, self._streams), self._positions)
        try:
            async with asyncio.timeout(self._connect_timeout):
                auth = await self._credentials()
        except TimeoutError as exc:
            seconds = self._connect_timeout
            reason = f"the auth provider said nothing for {seconds:g} s"
            raise ConnectionRefused(str(self._hub), reason) from exc
        except Exception as exc:
            logger.error(
                "the auth provider of %s failed",
                self.usuario,
                exc_info=redacted(exc),
                extra={"usuario": self.usuario, "namespace": self._namespace},
            )
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
            logger.error(
                "the transport of %s failed",
                self.usuario,
                exc_info=redacted(exc),
                extra={"usuario": self.usuario, "namespace": self._namespace},
            )
            raise ConnectionRefused(str(self._hub), f"the transport failed: {exc!r}") from exc
        return session

    def _transport(self) -> Transport:
        if not isinstance(self._hub, str):
            return self._hub
        return transport_to(self._hub, self._transports, self._tls)

    async def _credentials(self) -> Mapping[str, Any] | None:
        if self._auth is None or isinstance(self._auth, Mapping):
            return self._auth
        given = self._auth()
        return dict((await given if inspect.isawaitable(given) else given) or {})


class _Inbox:
    """Gives what a session brings to whom it concerns; on the loop, in order of arrival."""

    def __init__(
        self, client: AlephScriptClient, service: serving.Service, streams: Streams
    ) -> None:
        self._client = client
        self._service = service
        self.cancelled = service.cancelled
        self.wanted = service.wanted
        self._streams = streams

    def asked(self, session: HubSession, request: Delivery) -> None:
        """See `alephscript.client.session.Inbox`."""
        if request.event in events.MEMBER_EVENTS:
            about = self._client._about_itself(request.event)  # noqa: SLF001
            session.answer(request, contracts.write({"success": True, **about}))
        else:
            self._service.take(session, request)

    def told(self, session: HubSession, incoming: Delivery) -> None:
        """See `alephscript.client.session.Inbox`."""
        name = incoming.event
        if name in events.CONFIRMATIONS:
            return
        streams = self._streams.listening(name)
        if incoming.ack is not None:
            answer = events.make_success() if streams else UnknownEvent("nobody listens").answer()
            session.answer(incoming, write_json(answer))
        if not streams:
            return
        data = incoming.data
        if name == GAP:
            data = Gap(data["missed"])
        elif name.startswith("SET_") and isinstance(data, dict):
            data.pop("sender", None)
        event = Event(incoming.room, name, data, incoming.sender)
        for stream in streams:
            stream.offer(event)


def _reporter(on_progress: Callable[[Progress], None], capability: str) -> Callable[[Any], None]:
    def report(data: Any) -> None:
        try:
            on_progress(contracts.structure(data, Progress))
        except Exception as exc:
            logger.error(
                "a callback for the progress of %s failed",
                capability,
                exc_info=redacted(exc),
                extra={"capability": capability},
            )

    return report


_NOTHING: Mapping[str, Any] = {}
_NOT_DELIVERED = [{"delivered": False}]


def _registration(usuario: str, sesion: str, extras: Mapping[str, Any]) -> dict[str, Any]:
    return {**extras, "usuario": usuario, "sesion": sesion, "protocol": events.PROTOCOL}
