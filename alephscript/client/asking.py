"""The asking half of `AlephScriptClient`: requests and streams, from a call to its typed answer.

May go in: what both kinds of asking share: deadlines, waiting for the link, reading the answer.
May not: what a client serves, hears or is (`client`).

The overloads take a third of the file: type checkers need each form of a call written out.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from enum import Enum
from typing import Any, Literal, TypeVar, overload

import msgspec

from alephscript import contracts
from alephscript.client.answering import Answerer
from alephscript.client.arguments import check_seconds, unfit
from alephscript.client.calls import Call, read_answer
from alephscript.client.jobs import current_job
from alephscript.client.lifecycle import Lifecycle, State
from alephscript.client.messages import Progress
from alephscript.client.session import HubSession
from alephscript.diagnostics.redaction import as_logged, ends_program
from alephscript.diagnostics.tracing import Tracing
from alephscript.errors import DeadlineExceeded, DeclarationError, error_from_answer
from alephscript.protocol import events
from alephscript.protocol.text import write_type

__all__ = [
    "USE_CLIENT_TIMEOUT",
    "Asker",
    "UseClientTimeout",
    "explain_request",
    "read_request",
]

logger = logging.getLogger("alephscript.client")

R = TypeVar("R")

_NUMBERS = (float, int, type(None))
_NOT_DELIVERED = [{"delivered": False}]


class UseClientTimeout(Enum):
    """Type of `USE_CLIENT_TIMEOUT`."""

    USE_CLIENT_TIMEOUT = "the timeout that was given to the client"


USE_CLIENT_TIMEOUT = UseClientTimeout.USE_CLIENT_TIMEOUT
"""A request's ``timeout`` when none is passed: the one given to the client."""


class Asker:
    """Asks capabilities on whatever session there is.

    Args:
        life: The client's sessions.
        timeout: Seconds that a request may take unless it says otherwise.
        when_offline: ``fail``, or ``wait`` for the link, while there is none.
        tracing: What makes spans of requests, if anything does.
        redact: Whether the log may not have the texts of exceptions.
    """

    def __init__(
        self,
        life: Lifecycle,
        *,
        timeout: float | None,
        when_offline: Literal["fail", "wait"],
        tracing: Tracing | None,
        redact: bool,
    ) -> None:
        self._alephscript_life = life
        self._alephscript_timeout = timeout
        self._alephscript_when_offline = when_offline
        self._alephscript_tracing = tracing
        self._alephscript_redact = redact

    @overload
    async def request(
        self,
        request: contracts.RequestFor[R],
        /,
        *,
        room: str | None = None,
        timeout: float | UseClientTimeout | None = USE_CLIENT_TIMEOUT,
        wait_for_master: bool = False,
        on_progress: Callable[[Progress], None] | None = None,
        on_ask: Callable[[Any], Any] | None = None,
        idle_timeout: float | None = None,
        priority: int = 0,
    ) -> R: ...
    @overload
    async def request(
        self,
        capability: str,
        payload: Any = None,
        /,
        *,
        room: str | None = None,
        timeout: float | UseClientTimeout | None = USE_CLIENT_TIMEOUT,
        wait_for_master: bool = False,
        on_progress: Callable[[Progress], None] | None = None,
        on_ask: Callable[[Any], Any] | None = None,
        idle_timeout: float | None = None,
        priority: int = 0,
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
        timeout: float | UseClientTimeout | None = USE_CLIENT_TIMEOUT,
        wait_for_master: bool = False,
        on_progress: Callable[[Progress], None] | None = None,
        on_ask: Callable[[Any], Any] | None = None,
        idle_timeout: float | None = None,
        priority: int = 0,
    ) -> dict[str, Any]: ...
    async def request(
        self,
        request: str | contracts.RequestFor[Any],
        payload: Any = None,
        /,
        *,
        room: str | None = None,
        timeout: float | UseClientTimeout | None = USE_CLIENT_TIMEOUT,
        wait_for_master: bool = False,
        on_progress: Callable[[Progress], None] | None = None,
        on_ask: Callable[[Any], Any] | None = None,
        idle_timeout: float | None = None,
        priority: int = 0,
        reply: Any = None,
    ) -> Any:
        """Ask a capability and wait for its answer.

        The request ends by the first of: the answer; no master; the deadline; the loss of the
        master or of this client's link; the cancellation of the task that asks, which travels to
        the master.

        Args:
            request: Name of the capability, or a typed request that names it.
            payload: With a name: a JSON value, or a contract.
            room: The room to ask; by default one that offers the capability.
            timeout: Seconds to wait; by default those that were given to the client. None leaves
                them to the hub: 10 s, unless the hub was set up otherwise. (In `stream`, None is a
                day; in `drain`, as long as it takes.) Inside a capability, at most what remains of
                the request that is being served.
            wait_for_master: Whether to wait, until the deadline, for a link to the hub and for a
                master that offers the capability, instead of ending with `NotConnected` or
                `NoMaster` at once. A hub of another package knows no waiting for a master.
            on_progress: Called with what the capability reports by `Request.progress`.
            on_ask: Called with what the capability asks back by `Request.ask`, and returns, or
                resolves to, the answer: a contract or a JSON value. A plain function runs in a
                worker thread. Gets a `Question`, or the payload alone in the type that it
                annotates. A `CapabilityError` that it raises is the answer of one who refuses.
                Without it `Request.ask` fails at once.
            idle_timeout: Seconds that may pass without progress before the request ends as
                `DeadlineExceeded`, ``details[0]["idle"]``; ``timeout`` bounds the whole all the
                same. No such time passes while a question waits for its answer.
            priority: Which of the requests that wait at a master are served first, -9 to 9; 0 is
                normal. A hub lowers what its `Access` does not allow, without one to 0.
            reply: With a name: the contract to decode the answer to.

        Returns:
            The answer's fields without ``success``; with a typed request or ``reply``, that type.

        Raises:
            RequestError: The request failed; the subclass and ``code`` say why.
            ContractError: The payload has no wire form, or the answer does not fit the reply.
        """
        if not isinstance(request, str):
            try:
                reply = contracts.reply_type(type(request))
            except DeclarationError as error:
                raise explain_request(request, error) from None
        call = self._alephscript_make_call(request, payload, room, timeout, on_progress)
        if wait_for_master:
            call = call.with_meta({"wait": True})
        if on_ask is not None or idle_timeout is not None or priority:
            call = self._alephscript_refine(call, on_ask, idle_timeout, priority)
        if self._alephscript_tracing is not None:
            with self._alephscript_tracing.asking(call.event, call.room) as trace:
                return await self._alephscript_answer_to(call.with_meta(trace), reply)
        # As `_alephscript_answer_to`, which would be resumed with this coroutine each time.
        life = self._alephscript_life
        session = life.session
        if session is None or asyncio.get_running_loop() is not life.loop:
            session, call = await self._alephscript_session_for(call)
        payload = await session.dialect.ask(call)
        if reply is not None:
            value = contracts.read_reply(payload, reply)
            if value is not None:
                return value
        return _read_answered(payload, reply)

    @overload
    def stream(
        self,
        request: contracts.RequestFor[R],
        /,
        *,
        room: str | None = None,
        timeout: float | None = None,
        on_progress: Callable[[Progress], None] | None = None,
        on_ask: Callable[[Any], Any] | None = None,
        idle_timeout: float | None = None,
        priority: int = 0,
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
        on_ask: Callable[[Any], Any] | None = None,
        idle_timeout: float | None = None,
        priority: int = 0,
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
        on_ask: Callable[[Any], Any] | None = None,
        idle_timeout: float | None = None,
        priority: int = 0,
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
        on_ask: Callable[[Any], Any] | None = None,
        idle_timeout: float | None = None,
        priority: int = 0,
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
            timeout: Seconds until the last part, None for a day. The timeout that was given to the
                client is for requests, and does not count here. Inside a capability, at most what
                remains of the request that is being served.
            on_progress: Called with what the capability reports by `Request.progress`.
            on_ask: As in `request`.
            idle_timeout: As in `request`; parts count as progress does, and no time passes while
                there are parts to be read.
            priority: As in `request`.
            reply: With a name: the contract to decode each part to.

        Yields:
            The parts; with a typed request or ``reply``, of that type.

        Raises:
            RequestError: The request failed; the subclass and ``code`` say why.
            ContractError: The payload has no wire form, or a part does not fit the reply.
        """
        if not isinstance(request, str):
            try:
                reply = contracts.reply_type(type(request))
            except DeclarationError as error:
                raise explain_request(request, error) from None
        timeout = events.LONGEST_TIMEOUT if timeout is None else timeout
        call = self._alephscript_make_call(request, payload, room, timeout, on_progress)
        if on_ask is not None or idle_timeout is not None or priority:
            call = self._alephscript_refine(call, on_ask, idle_timeout, priority)
        with contextlib.ExitStack() as stack:
            if self._alephscript_tracing is not None:
                span = self._alephscript_tracing.asking(call.event, call.room)
                call = call.with_meta(stack.enter_context(span))
            session, call = await self._alephscript_session_for(call)
            async with contextlib.aclosing(session.dialect.stream(call)) as parts:
                async for part in parts:
                    yield part if reply is None else contracts.structure(part, reply)

    # Inside

    def _alephscript_make_call(
        self,
        request: str | contracts.RequestFor[Any],
        payload: Any,
        room: str | None,
        timeout: float | UseClientTimeout | None,
        on_progress: Callable[[Progress], None] | None,
    ) -> Call:
        if isinstance(request, str):
            capability, payload = request, {} if payload is None else payload
        else:
            capability, payload = request.capability, request
        event = events.request_event(capability)
        seconds = self._alephscript_timeout if timeout is USE_CLIENT_TIMEOUT else timeout
        if type(seconds) not in _NUMBERS:
            check_seconds("request", "timeout", seconds)
        job = current_job.get()
        meta: dict[str, Any] = {}
        if job is not None:
            remaining = job.ends - asyncio.get_running_loop().time()
            if remaining <= 0:
                raise DeadlineExceeded(f"no time is left to ask {event}", _NOT_DELIVERED)
            seconds = remaining if seconds is None else min(seconds, remaining)
            meta = {"chain": job.chain}
        if seconds is not None and not 0 <= seconds <= events.LONGEST_TIMEOUT:
            # Neither NaN nor an infinity is on any side of a bound.
            check_seconds("request", "timeout", seconds)
            seconds = min(seconds, events.LONGEST_TIMEOUT)
        report = None
        if on_progress is not None:
            if not _is_plain(on_progress):
                raise DeclarationError("on_progress is called, not awaited: give a plain function")
            report = _make_reporter(
                on_progress, events.capability_name(event), redact=self._alephscript_redact
            )
        return Call(event, contracts.write(payload), room, seconds, meta, report)

    def _alephscript_refine(
        self,
        call: Call,
        on_ask: Callable[[Any], Any] | None,
        idle_timeout: float | None,
        priority: int,
    ) -> Call:
        """Return the same call with what few calls have."""
        meta = dict(call.meta)
        answerer = None
        if on_ask is not None:
            name = events.capability_name(call.event)
            answerer = Answerer(on_ask, name, redact=self._alephscript_redact)
            meta["answers"] = True
        check_seconds("request", "idle_timeout", idle_timeout)
        if idle_timeout is not None:
            idle_timeout = min(max(0.0, idle_timeout), events.LONGEST_TIMEOUT)
            meta["idleMs"] = round(idle_timeout * 1000)
        if type(priority) is not int:
            raise unfit("request", "priority", f"a whole number, and not {priority!r}")
        if priority:
            meta["priority"] = max(-events.MAX_PRIORITY, min(priority, events.MAX_PRIORITY))
        return msgspec.structs.replace(call, meta=meta, idle=idle_timeout, answers=answerer)

    async def _alephscript_answer_to(self, call: Call, reply: Any) -> Any:
        life = self._alephscript_life
        session = life.session
        if session is None or asyncio.get_running_loop() is not life.loop:
            session, call = await self._alephscript_session_for(call)
        payload = await session.dialect.ask(call)
        if reply is not None:
            # In one pass over the text, where the answer is a plain success (decision 0022).
            value = contracts.read_reply(payload, reply)
            if value is not None:
                return value
        return _read_answered(payload, reply)

    async def _alephscript_session_for(self, call: Call) -> tuple[HubSession, Call]:
        """Return the session to ask on, and the call with the time that is left by then."""
        self._alephscript_life.check_loop()
        life = self._alephscript_life
        waits = self._alephscript_when_offline == "wait" or "wait" in call.meta
        if not waits or life.session is not None or life.state is State.NEW:
            return life.present_session(), call
        clock = asyncio.get_running_loop().time
        began = clock()
        try:
            async with asyncio.timeout(call.timeout):
                await life.until(State.READY)
        except TimeoutError:
            message = f"no link to the hub within {call.timeout:g} s"
            raise DeadlineExceeded(message, _NOT_DELIVERED) from None
        session = life.present_session()
        if call.timeout is None:
            return session, call
        left = max(0.001, call.timeout - (clock() - began))
        return session, msgspec.structs.replace(call, timeout=left)


def read_request(request: Any, payload: Any, reply: Any) -> tuple[str, Any, Any]:
    """Read what is asked, in either form.

    Returns:
        The name of the capability, the payload, and the type of the answer, None for any JSON.

    Raises:
        DeclarationError: It is neither a name nor a typed request.
    """
    if isinstance(request, str):
        return request, {} if payload is None else payload, reply
    try:
        return request.capability, request, contracts.reply_type(type(request))
    except (AttributeError, DeclarationError) as error:
        if isinstance(error, AttributeError):
            error = DeclarationError(str(error))
        raise explain_request(request, error) from None


def explain_request(request: object, error: DeclarationError) -> DeclarationError:
    """Say what to give in place of what is no request."""
    if isinstance(request, type):
        name = request.__name__
        return DeclarationError(f"{name} is a class: give an instance of it, {name}(…)")
    if hasattr(type(request), "capability"):
        return error
    return DeclarationError(
        f"a request is the name of a capability, or an instance of a RequestFor, and not "
        f"{write_type(request)}"
    )


def _read_answered(payload: bytes, reply: Any) -> Any:
    """Read what a request gives; raise what it failed by."""
    answer = read_answer(payload)
    if events.is_failure(answer):
        raise error_from_answer(answer)
    del answer["success"]
    return answer if reply is None else contracts.structure_reply(answer, reply)


def _make_reporter(
    on_progress: Callable[[Progress], object], capability: str, *, redact: bool
) -> Callable[[Any], None]:
    tasks: set[asyncio.Future[None]] = set()

    def fail(exc: BaseException) -> None:
        if ends_program(exc):
            raise exc
        logger.error(
            "a callback for the progress of %s failed",
            capability,
            exc_info=as_logged(exc, redact=redact),
            extra={"capability": capability},
        )

    async def finish(begun: Awaitable[Any]) -> None:
        try:
            await begun
        except asyncio.CancelledError:
            raise
        except BaseException as exc:  # noqa: BLE001 - raised again if the program ends
            fail(exc)

    def report(data: Any) -> None:
        try:
            begun = on_progress(contracts.structure(data, Progress))
        except BaseException as exc:  # noqa: BLE001 - raised again if the program ends
            fail(exc)
            return
        if inspect.isawaitable(begun):  # of a lambda, whose looks do not tell
            task = asyncio.ensure_future(finish(begun))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    return report


def _is_plain(function: object) -> bool:
    """Return whether a thing may be called, and is nothing that has to be awaited then."""
    call = getattr(function, "__call__", None)  # noqa: B004 - the method itself is looked at
    return callable(function) and not any(map(inspect.iscoroutinefunction, (function, call)))
