"""Running capabilities: each request that comes in gets one answer, whatever the method does.

A `Service` is a client's workload: bounded, cancellable, drained. A request waits in its
capability's queue until there is room, runs and ends by the first of: the method's result; what
it raises; its deadline; the hub's word that nobody waits any more.

A request whose method waits for something has a task of its own. One whose method does not, as
its capability's last one did not, costs neither a task nor a turn of the loop: one task, the
worker, runs them one after the other, each in a context of its own. When one of them waits after
all, the worker is its alone, and the others get tasks.

Only a `CapabilityError` crosses to the asker as it was raised. A payload that does not fit
never reaches the method; what else the method raises is logged here, under an incident id, and
the asker learns that id and nothing more.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import logging
import uuid
from collections import Counter, deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Mapping
from contextvars import ContextVar
from typing import Any

import anyio.to_thread
import msgspec

from alephscript import contracts
from alephscript.client.declaring import Capability
from alephscript.client.discovery import CapabilityStats
from alephscript.client.messages import Request
from alephscript.client.session import Delivery, HubSession
from alephscript.diagnostics.redaction import redacted
from alephscript.diagnostics.tracing import Tracing
from alephscript.errors import (
    Cancelled,
    CapabilityError,
    ContractError,
    DeadlineExceeded,
    Internal,
    InvalidPayload,
    Overloaded,
    PayloadTooLarge,
    RequestError,
    UnknownCapability,
)
from alephscript.links.deadlines import Deadlines
from alephscript.protocol import events
from alephscript.protocol.json import parse_json, read_value, write_json

__all__ = ["Job", "Service", "current", "in_thread"]

logger = logging.getLogger("alephscript.client")

_NEVER = float("inf")
_MEASURED = 1024
"""Runs of a capability whose times are kept."""

_MOST_IN_A_ROW = 64
"""Requests that are run before others on the loop have their turn."""

_MOST_GATHERED = 500_000
"""Bytes of a streamed answer that are put into one for askers that know no streams."""


class Job(msgspec.Struct, eq=False):
    """One request that is being served, or waits for its turn.

    Attributes:
        session: Where it came from.
        request: What it is.
        lane: Its capability's.
        arrived: When it came, on the loop's clock.
        limit: Seconds that it may take, None for as long as it needs.
        ends: When its deadline is, on the loop's clock; infinite without one.
        key: What it is known by here.
        credit: Parts of the answer that the asker takes.
        has_turn: Whether it runs, or a worker is about to run it.
        task: The worker that runs it.
        stopped: Why it was stopped, None if it was not.
        granted: Set when there is credit again.
    """

    session: HubSession
    request: Delivery
    lane: _Lane
    arrived: float
    limit: float | None
    ends: float
    key: object
    credit: int
    has_turn: bool = False
    task: asyncio.Task[None] | None = None
    stopped: RequestError | None = None
    granted: asyncio.Event | None = None

    @property
    def above(self) -> tuple[str, ...]:
        """Numbers of the requests that led to it."""
        return self.request.meta.chain

    @property
    def chain(self) -> tuple[str, ...]:
        """Numbers of the requests that lead to what it asks, its own last."""
        return (*self.above, self.request.id)


current: ContextVar[Job | None] = ContextVar("alephscript_work", default=None)
"""The request that is being served here: what is asked meanwhile inherits its deadline."""


class _Lane:
    """One capability's runs and those that wait for one to end."""

    __slots__ = (
        "capability",
        "errors",
        "last_error",
        "requests",
        "running",
        "seconds",
        "waiting",
        "waits",
    )

    def __init__(self, capability: Capability) -> None:
        self.capability = capability
        self.running = 0
        self.waiting: deque[Job] = deque()
        self.waits = False  # whether the last run had to wait for something
        self.requests = 0
        self.errors: Counter[str] = Counter()
        self.last_error: str | None = None
        self.seconds: deque[float] = deque(maxlen=_MEASURED)

    def note(self, seconds: float, failure: Mapping[str, Any] | None) -> None:
        """A run has ended."""
        self.requests += 1
        self.seconds.append(seconds)
        if failure is not None:
            self.errors[failure["code"]] += 1
            self.last_error = f"{failure['error']} [{failure['code']}]"

    def stats(self) -> CapabilityStats:
        ordered = sorted(self.seconds)
        p50, p95 = (
            round(ordered[int(len(ordered) * share)] * 1000, 3) if ordered else None
            for share in (0.5, 0.95)
        )
        return CapabilityStats(
            requests=self.requests,
            errors=dict(self.errors),
            in_flight=self.running,
            waiting=len(self.waiting),
            p50_ms=p50,
            p95_ms=p95,
            last_error=self.last_error,
        )

    def is_full(self) -> bool:
        most = self.capability.max_in_flight
        return most is not None and self.running >= most


class Service:
    """A client's capabilities at work.

    Args:
        owner: Whose methods they are.
        capabilities: By name, aliases included.
        name: Who the owner is, for messages.
        max_in_flight: Most runs at once, of all capabilities together.
        tracing: What makes spans of them, if anything does.
    """

    def __init__(
        self,
        owner: object,
        capabilities: Mapping[str, Capability],
        *,
        name: str,
        max_in_flight: int,
        tracing: Tracing | None = None,
    ) -> None:
        self._owner = owner
        self._name = name
        self._most = max_in_flight
        self._tracing = tracing
        lanes = {id(each): _Lane(each) for each in capabilities.values()}
        self._lanes = {name: lanes[id(each)] for name, each in capabilities.items()}
        self._works: dict[object, Job] = {}
        self._queues = list(lanes.values())
        self._running = 0
        self._waiting = 0
        self._deadlines: Deadlines[Job] = Deadlines(self._expire)
        self._loop = asyncio.get_running_loop()  # kept: asking is a system call on some Pythons
        self._tasks: set[asyncio.Task[None]] = set()
        self._ready: deque[Job] = deque()  # have their turn, and wait for the worker
        self._worker: asyncio.Task[None] | None = None
        self._idle: asyncio.Future[None] | None = None  # what it waits for when nothing is
        # Each run has a copy of its own, whoever's end or question it was that began it.
        self._context = contextvars.copy_context()
        self._is_draining = False
        self._is_done = asyncio.Event()
        self._is_done.set()

    def __len__(self) -> int:
        return len(self._works)

    def stats(self) -> dict[str, CapabilityStats]:
        """How each capability did so far, by name."""
        return {lane.capability.name: lane.stats() for lane in self._lanes.values()}

    # What comes in

    def take(self, session: HubSession, request: Delivery) -> None:
        """Serve a request, now or when there is room, or refuse it at once."""
        name = events.capability_name(request.event)
        lane = self._lanes.get(name)
        if lane is None:
            error: RequestError = UnknownCapability(f"{self._name} has no capability {name}")
            self._reply(session, request, write_json(error.answer()))
            return
        if self._is_draining:
            error = Overloaded(f"{self._name} is closing", _NOT_RUN)
            self._reply(session, request, write_json(error.answer()))
            return
        work = _work(session, request, lane, self._loop.time())
        if (self._running >= self._most or lane.is_full()) and not self._is_nested(work):
            if len(lane.waiting) >= lane.capability.queue:
                error = Overloaded(f"the queue of {name} at {self._name} is full", _NOT_RUN)
                self._reply(session, request, write_json(error.answer()))
                return
            lane.waiting.append(work)
            self._waiting += 1
        else:
            self._start(work)
        self._works[work.key] = work
        self._is_done.clear()
        if work.limit is not None:
            self._deadlines.set(work, work.limit)

    def cancelled(self, session: HubSession, id: str, reason: str) -> None:
        """Stop a request that nobody waits for any more, unless it is to be finished."""
        work = self._works.get((session, id))
        if work is not None and (reason != "asker_lost" or _ends_with_its_asker(work)):
            self._stop(work, Cancelled(f"{work.request.event} was cancelled: {reason}"))

    def wanted(self, session: HubSession, id: str, parts: int) -> None:
        """Let a streamed answer go on."""
        work = self._works.get((session, id))
        if work is not None:
            work.credit += parts
            if work.granted is not None:
                work.granted.set()

    def lost(self, session: HubSession) -> None:
        """The link that requests came by is gone, and their askers with it."""
        for work in [each for each in self._works.values() if each.session is session]:
            if _ends_with_its_asker(work):
                self._stop(work, Cancelled("the link to the hub is gone"))

    async def drain(self) -> None:
        """Take nothing more, and wait until what was taken is done."""
        self._is_draining = True
        await self._is_done.wait()

    async def close(self, *, spare: asyncio.Task[Any] | None = None) -> None:
        """Cancel what runs, unanswered.

        Args:
            spare: The task that closes, which may be one of them.
        """
        self._is_draining = True
        for lane in self._queues:
            lane.waiting.clear()
        self._waiting = 0
        self._ready.clear()
        tasks = self._tasks - {spare}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        self._works.clear()
        self._is_done.set()
        self._deadlines.close()

    # Turns

    def _is_nested(self, work: Job) -> bool:
        """Whether something that runs here waits for it: then it cannot wait for that to end."""
        return any((work.session, above) in self._works for above in work.above)

    def _start(self, work: Job) -> None:
        work.has_turn = True
        work.lane.running += 1
        self._running += 1
        if work.lane.waits:
            self._task(self._do(work))
            return
        self._ready.append(work)
        if self._worker is None:
            self._worker = self._task(self._work_off())
        elif self._idle is not None and not self._idle.done():
            self._idle.set_result(None)

    def _stop(self, work: Job, why: RequestError) -> None:
        if work.stopped is not None:
            return
        work.stopped = why
        if work.task is not None:
            work.task.cancel()
        elif not work.has_turn:
            work.lane.waiting.remove(work)
            self._waiting -= 1
            self._forget(work)
            self._reply_stopped(work)

    def _expire(self, work: Job) -> None:
        name = work.lane.capability.name
        if not work.has_turn:
            message, details = f"{name} had no turn within {work.limit:g} s", _NOT_RUN
        else:
            message, details = f"{name} took longer than {work.limit:g} s", _RUN
        self._stop(work, DeadlineExceeded(message, details))

    def _ended(self, work: Job) -> None:
        self._forget(work)
        work.lane.running -= 1
        self._running -= 1
        # Who has waited longest is next, of those that may begin.
        while self._waiting and self._running < self._most:
            ready = [each for each in self._queues if each.waiting and not each.is_full()]
            if not ready:
                break
            lane = min(ready, key=lambda each: each.waiting[0].arrived)
            self._waiting -= 1
            self._start(lane.waiting.popleft())

    def _forget(self, work: Job) -> None:
        self._works.pop(work.key, None)
        self._deadlines.forget(work)
        if not self._works:
            self._is_done.set()

    # Running

    def _task(self, run: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(run, context=self._context.copy())
        self._tasks.add(task)
        task.add_done_callback(self._task_ended)
        return task

    async def _work_off(self) -> None:
        """Do what is ready, one after the other, as long as nothing has to wait."""
        worker = asyncio.current_task()
        assert worker is not None
        in_a_row = 0
        while not worker.cancelling():  # a method may have cancelled it, and not waited
            if not self._ready:
                self._idle = self._loop.create_future()
                await self._idle
                self._idle = None
            if await self._apart(self._ready.popleft(), worker):
                return
            in_a_row += 1
            if in_a_row % _MOST_IN_A_ROW == 0:
                await asyncio.sleep(0)  # others on this loop have their turn, too

    async def _do(self, work: Job) -> None:
        await self._apart(work, asyncio.current_task())

    def _apart(self, work: Job, task: asyncio.Task[None] | None) -> _Apart:
        work.task = task
        run = self._run(work) if self._tracing is None else self._traced(self._tracing, work)
        return _Apart(run, self._context.copy(), work, self._waits)

    def _waits(self, work: Job) -> None:
        """It has something to wait for: its task is its alone."""
        work.lane.waits = True
        if work.task is self._worker:
            self._leave_the_rest()

    def _leave_the_rest(self) -> None:
        self._worker = self._idle = None
        while self._ready:
            self._task(self._do(self._ready.popleft()))

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if self._worker is task:
            self._leave_the_rest()

    async def _traced(self, tracing: Tracing, work: Job) -> str | None:
        """Run in a span."""
        request = work.request
        trace = request.meta.trace_context
        with tracing.serving(request.event, request.room, trace) as fail:
            code = await self._run(work)
            if code is not None:
                fail(code)
        return code

    async def _run(self, work: Job) -> str | None:
        """Run, answer, and make room for others; returns the code of its failure."""
        current.set(work)
        lane, request, clock = work.lane, work.request, self._loop.time
        capability = lane.capability
        began = clock()
        answer = b""
        try:
            if work.stopped is None:
                payload = _decoded(capability, request.data)
                method = getattr(self._owner, capability.attribute)
                arguments = self._arguments(work, payload)
                if capability.streams:
                    answer = await _stream(work, method(*arguments))
                else:
                    if capability.blocking:
                        result = await in_thread(method, *arguments)
                    else:
                        result = await method(*arguments)
                    answer = _encoded(capability, result)
        except BaseException as exc:  # noqa: BLE001 - raised again if it is nobody's failure
            answer = _failure(work, exc)
        finally:
            self._ended(work)
        failure = None
        if not answer:
            assert work.stopped is not None
            failure = work.stopped.answer()
            self._reply_stopped(work)
        else:
            if not answer.startswith(_SUCCESS[:-1]):
                failure = parse_json(answer)
            self._reply(work.session, request, answer, capability)
        lane.note(clock() - began, failure)
        return None if failure is None else str(failure["code"])

    def _arguments(self, work: Job, payload: Any) -> tuple[Any, ...]:
        capability, request = work.lane.capability, work.request
        if not capability.wants_request:
            return (payload,) if capability.takes_payload else ()

        def report(progress: Mapping[str, Any]) -> None:
            if work.session.speaks_meta and work.key in self._works:
                with contextlib.suppress(RequestError):
                    work.session.report(request, progress)

        clock = self._loop.time
        return (
            Request(
                payload,
                capability.name,
                request.room,
                request.sender,
                request.id,
                work.ends,
                clock,
                report,
            ),
        )

    # Answering

    def _reply_stopped(self, work: Job) -> None:
        assert work.stopped is not None
        # Who cancelled has been told already; a deadline is the hub's, too, but on another clock.
        if not isinstance(work.stopped, Cancelled):
            self._reply(work.session, work.request, write_json(work.stopped.answer()))

    def _reply(
        self,
        session: HubSession,
        request: Delivery,
        answer: bytes,
        capability: Capability | None = None,
    ) -> None:
        try:
            try:
                # A stock hub tells the room anyway: there, the answer is that event.
                if capability and capability.announce and session.acknowledges and request.room:
                    _announce(session, request, answer)
                session.answer(request, answer)
            except PayloadTooLarge as error:
                session.answer(request, _internal(request, error))
        except RequestError as error:
            name = events.capability_name(request.event)
            logger.debug(
                "the answer to %s found no link",
                name,
                extra={
                    "capability": name,
                    "room": request.room,
                    "request_id": request.id,
                    "code": error.code,
                },
            )


class _Apart:
    """Awaits a run in a context of its own, as if it were a task's; gives whether it waited.

    Args:
        run: A coroutine.
        context: Where it runs.
        work: What it is about.
        waits: Called with that when it first waits for something.
    """

    __slots__ = ("_context", "_run", "_waits", "_work")

    def __init__(
        self,
        run: Coroutine[Any, Any, Any],
        context: contextvars.Context,
        work: Job,
        waits: Callable[[Job], None],
    ) -> None:
        self._run = run
        self._context = context
        self._work = work
        self._waits = waits

    def __await__(self) -> Generator[Any, Any, bool]:
        enter, run = self._context.run, self._run
        try:
            waited_for = enter(run.send, None)
        except StopIteration:
            self._work.lane.waits = False
            return False
        self._waits(self._work)
        while True:
            try:
                sent = yield waited_for
            except BaseException as exc:  # noqa: BLE001 - it is the run's
                resume: Callable[[], Any] = functools.partial(run.throw, exc)
            else:
                resume = functools.partial(run.send, sent)
            try:
                waited_for = enter(resume)
            except StopIteration:
                return True


def _work(session: HubSession, request: Delivery, lane: _Lane, now: float) -> Job:
    timeout_ms, limit = request.meta.timeout_ms, lane.capability.timeout
    if timeout_ms is not None and (limit is None or timeout_ms < limit * 1000):
        limit = timeout_ms / 1000
    # A stock hub numbers nothing.
    key = (session, request.id) if request.id else request
    ends = _NEVER if limit is None else now + limit
    return Job(session, request, lane, now, limit, ends, key, request.meta.parts)


async def in_thread(function: Callable[..., Any], *args: Any) -> Any:
    """Call a plain function in a worker thread."""
    return await anyio.to_thread.run_sync(function, *args, abandon_on_cancel=True)


async def _stream(work: Job, parts: AsyncGenerator[Any, None]) -> bytes:
    """Send the parts as they come and are wanted, or gather them for an asker who knows none."""
    gathered: list[bytes] = []
    size = 0
    is_wanted = work.request.meta.parts > 0
    async with contextlib.aclosing(parts):
        async for part in parts:
            text = _part(work.lane.capability, part)
            if is_wanted:
                await _turn_to_send(work)
                work.session.part(work.request, text)
                continue
            gathered.append(text)
            size += len(text)
            if size > _MOST_GATHERED:
                raise CapabilityError(
                    PayloadTooLarge.code, "the parts together are too large: ask for a stream"
                )
    if is_wanted:
        return _SUCCESS
    return b'{"success":true,"result":[%b]}' % b",".join(gathered)


async def _turn_to_send(work: Job) -> None:
    while work.credit <= 0:
        work.granted = work.granted or asyncio.Event()
        work.granted.clear()
        await work.granted.wait()
    work.credit -= 1


def _part(capability: Capability, part: Any) -> bytes:
    if capability.reply is not None and type(part) is not capability.reply:
        raise _WrongType(f"yielded a {type(part).__qualname__}, declares {capability.reply!r}")
    return contracts.write(part)


class _Unreadable(Exception):
    """A payload does not fit; ``args`` say why, as an `InvalidPayload`."""


def _decoded(capability: Capability, data: Any) -> Any:
    payload = capability.payload
    # Stock peers send null, or nothing, where there is nothing to say.
    is_nothing = data is None or (isinstance(data, msgspec.Raw) and bytes(data) == b"null")
    try:
        if payload is None:
            return {} if is_nothing else read_value(data)
        if isinstance(data, msgspec.Raw) and not is_nothing:
            return contracts.read(data, payload)
        return contracts.structure({} if is_nothing else data, payload)
    except ContractError as error:
        raise _Unreadable(InvalidPayload(str(error), error.problems)) from None
    except RequestError as error:
        raise _Unreadable(error) from None


def _failure(work: Job, exc: BaseException) -> bytes:
    """The JSON text of what an asker learns of a failure; nothing of one that was stopped.

    Raises:
        BaseException: The same, if the client is closing, or the program ends.
    """
    request = work.request
    if isinstance(exc, _Unreadable):
        return write_json(exc.args[0].answer())
    if isinstance(exc, CapabilityError):
        try:
            return write_json(exc.answer())
        except RequestError as error:  # its details have no JSON form
            return _internal(request, error)
    if isinstance(exc, asyncio.CancelledError):
        assert work.task is not None
        if work.stopped is not None:
            work.task.uncancel()
            return b""
        if work.task.cancelling():
            raise exc
        cancelled = RuntimeError("what it waited for was cancelled")
        cancelled.__cause__ = exc
        return _internal(request, cancelled)
    if not isinstance(exc, Exception):
        raise exc
    if work.stopped is None:
        return _internal(request, exc)
    name = events.capability_name(request.event)
    logger.debug(
        "%s failed after it was stopped",
        name,
        exc_info=redacted(exc),
        extra={"capability": name, "room": request.room, "request_id": request.id},
    )
    return b""


def _encoded(capability: Capability, result: Any) -> bytes:
    """The JSON text of a result as an answer, ``success`` first."""
    if capability.reply is not None and type(result) is not capability.reply:
        raise _WrongType(f"returned a {type(result).__qualname__}, declares {capability.reply!r}")
    if result is None:
        return _SUCCESS
    text = contracts.write(result)
    if not text.startswith(b"{"):
        return b'{"success":true,"result":%b}' % text
    if b'"success"' in text or (b'"error"' in text and capability.reply is None):
        value = parse_json(text)
        answer = (
            events.normalise([value]) if capability.reply is None else events.make_success(value)
        )
        return write_json({"success": answer["success"], **answer})
    return _SUCCESS if text == b"{}" else b'{"success":true,%b' % text[1:]


class _WrongType(TypeError):
    """A method does not give what it declares; says which types, and no value."""


def _internal(request: Delivery, exc: BaseException) -> bytes:
    """Log a failure that is nobody's business outside, and the answer that stands for it."""
    incident = uuid.uuid4().hex[:12]
    name = events.capability_name(request.event)
    why = str(exc) if isinstance(exc, _WrongType) else type(exc).__qualname__
    logger.error(
        "%s failed (%s), incident %s",
        name,
        why,
        incident,
        exc_info=redacted(exc),
        extra={
            "capability": name,
            "room": request.room,
            "request_id": request.id,
            "incident": incident,
            "code": Internal.code,
        },
    )
    error = Internal(f"{name} failed at its master", [{"incident": incident}])
    return write_json(error.answer())


def _announce(session: HubSession, request: Delivery, answer: bytes) -> None:
    if answer.startswith(_SUCCESS[:-1]):
        session.broadcast(request.room, events.answer_event(request.event), answer)


def _ends_with_its_asker(work: Job) -> bool:
    return work.lane.capability.on_asker_lost == "cancel"


_SUCCESS = b'{"success":true}'
_RUN = [{"delivered": True}]
_NOT_RUN = [{"delivered": False}]
