"""Running the methods of a client's class: which task each runs in, and its outcome.

A request whose method waits for something has a task of its own. One whose method does not, as
its capability's last one did not, costs neither a task nor a turn of the loop: one task, the
common one, runs them one after the other, each in a context of its own. When one of them waits
after all, the common task is its alone, and the others get tasks (decision 0017).

May go in: tasks, contexts, calling methods. May not: which job has its turn (`serving`), what an
outcome looks like (`answers`).
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import inspect
import threading
import time
import types
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Mapping, Sequence
from typing import Any

from alephscript.client import answers
from alephscript.client.answers import Outcome
from alephscript.client.asking_back import ask_back
from alephscript.client.cancelling import cancel
from alephscript.client.jobs import Job, current_job
from alephscript.client.messages import Request
from alephscript.client.middleware import Middleware, wrap
from alephscript.client.queues import FairQueue
from alephscript.client.runs import Runs
from alephscript.client.threads import ThreadRun
from alephscript.diagnostics.tracing import Tracing
from alephscript.errors import CapabilityError, PayloadTooLarge
from alephscript.protocol.json import parse_json

__all__ = ["Worker"]

_MOST_IN_A_ROW = 64
"""Jobs that run back to back before the common task yields to the event loop."""

_LONG_JOB, _LONGEST_ROW = 0.001, 0.02
"""Seconds of one job, and of several in a row, after which it does, too: what others ask has to be
read to have its turn."""

_MOST_GATHERED = 500_000
"""Bytes of a streamed answer that are put into one for askers that know no streams."""


class Worker:
    """Runs jobs that have their turn.

    The state of the common task is in four attributes. `_common` is the task: None before the
    first job, and after a job kept it because its method waits. `_ready` are the jobs that it has
    still to run, as they came; when that takes long and they are of several callers, they stand in
    `_turns` instead, which is None otherwise. Without a common task there are none. `_idle` is the
    future that it awaits while there are none, else None.

    Args:
        owner: The object whose methods they are.
        name: The owner's, for the log.
        tracing: What makes spans of runs, if anything does.
        end: Called with each job that has ended, before its answer goes out.
        runs: The runs of tasks.
        middleware: Functions around each request, the first outermost.
    """

    def __init__(
        self,
        owner: object,
        *,
        name: str,
        tracing: Tracing | None,
        end: Callable[[Job], None],
        runs: Runs,
        middleware: Sequence[Middleware] = (),
    ) -> None:
        self._owner = owner
        self._name = name
        self._tracing = tracing
        self._middleware = middleware
        self._end = end
        self._runs = runs
        self._loop = asyncio.get_running_loop()  # kept: asking is a system call on some Pythons
        self._thread = threading.get_ident()
        # Copied for each run: else a run would have the variables of the task, or of the job whose
        # end began it.
        self._context = contextvars.copy_context()
        self._tasks: set[asyncio.Task[None]] = set()
        self._ready: deque[Job] = deque()
        self._turns: FairQueue[Job] | None = None
        self._common: asyncio.Task[None] | None = None
        self._idle: asyncio.Future[None] | None = None

    def start(self, job: Job) -> None:
        """Run a job, in this turn of the loop or the next."""
        if job.lane.may_wait:
            self._spawn(self._run_alone(job))
            return
        if self._turns is None:
            self._ready.append(job)
        else:
            self._turns.add(job)
        if self._common is None:
            self._common = self._spawn(self._run_ready())
        elif self._idle is not None and not self._idle.done():
            self._idle.set_result(None)

    async def close(self, *, spare: asyncio.Task[Any] | None) -> None:
        """Cancel what runs, and wait until it has ended.

        Args:
            spare: The task that closes, which may be one of them.
        """
        self._ready.clear()
        self._turns = None
        await cancel(self._tasks - {spare}, self._name)

    # Tasks

    def _spawn(self, run: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(run, context=self._context.copy())
        self._tasks.add(task)
        task.add_done_callback(self._task_ended)
        return task

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task is self._common:
            self._give_up_common()

    def _give_up_common(self) -> None:
        """Leave the common task to the job that it runs; the jobs after that get tasks."""
        self._common = self._idle = None
        while self._ready:
            self._spawn(self._run_alone(self._ready.popleft()))
        while self._turns is not None:
            self._spawn(self._run_alone(self._take_in_turn()))

    def _take_turns(self, served: str) -> None:
        """Serve the callers of what is ready in turn until nothing is, if there are several.

        Args:
            served: The caller that was served last.
        """
        ready = self._ready
        if self._turns is None and _are_of_several(ready):
            self._turns = FairQueue()
            self._turns.served = served
            while ready:
                self._turns.add(ready.popleft())

    def _take_in_turn(self) -> Job:
        assert self._turns is not None
        job = self._turns.take()
        self._turns.served = job.request.sender
        if not self._turns.size:
            self._turns = None
        return job

    async def _run_alone(self, job: Job) -> None:
        task = asyncio.current_task()
        assert task is not None
        # A GeneratorExit that the run awaited, such as one raised in a thread, is answered by the
        # run; Python then raises it again here, as it does where a task is closed with its loop.
        with contextlib.suppress(GeneratorExit):
            await self._run_in_context(job, task)

    async def _run_ready(self) -> None:
        """Be the common task: run what is ready, as long as nothing has to wait."""
        task = asyncio.current_task()
        assert task is not None
        in_a_row, clock = 0, time.monotonic
        began = last = clock()
        while not task.cancelling():  # a method may have cancelled it, and not waited
            if not self._ready and self._turns is None:
                self._idle = self._loop.create_future()
                await self._idle
                self._idle = None
                began = last = clock()
            try:
                job = self._ready.popleft() if self._turns is None else self._take_in_turn()
                if await self._run_in_context(job, task):
                    return
            except GeneratorExit:  # see `_run_alone`
                return
            in_a_row += 1
            before, last = last, clock()
            if last - before > _LONG_JOB or last - began > _LONGEST_ROW:
                await asyncio.sleep(0)
                await asyncio.sleep(0)  # sockets are read only behind what was ready before
                self._take_turns(job.request.sender)
                began = last = clock()
            elif in_a_row % _MOST_IN_A_ROW == 0:
                await asyncio.sleep(0)

    @types.coroutine
    def _run_in_context(self, job: Job, task: asyncio.Task[None]) -> Generator[Any, Any, bool]:
        """Run a job in a context of its own, as a task of its own would.

        Drives the run's coroutine by hand, since a task's context cannot be changed. Whatever the
        run awaits is passed on to the task, and whatever wakes the task is passed back.

        Returns:
            Whether the run waited for anything.
        """
        job.task = task
        run = self._run(job) if self._tracing is None else self._run_traced(self._tracing, job)
        enter = self._context.copy().run
        try:
            awaited = enter(run.send, None)
        except StopIteration:
            job.lane.may_wait = False
            return False
        job.lane.may_wait = True
        if task is self._common:
            self._give_up_common()
        while True:
            try:
                value = yield awaited
            except BaseException as exc:  # noqa: BLE001 - it is the run's
                resume: Callable[[], Any] = functools.partial(run.throw, exc)
            else:
                resume = functools.partial(run.send, value)
            try:
                awaited = enter(resume)
            except StopIteration:
                return True

    # Runs

    async def _run_traced(self, tracing: Tracing, job: Job) -> None:
        request = job.request
        trace = request.meta.trace_context
        with tracing.serving(request.event, request.room, trace) as fail:
            outcome = await self._run(job)
            if outcome.code is not None:
                fail(outcome.code)

    async def _run(self, job: Job) -> Outcome:  # noqa: C901, PLR0912 - hot: no call more
        """Call the method, make room for other jobs, and send the answer."""
        current_job.set(job)
        lane, request, clock = job.lane, job.request, self._loop.time
        capability = lane.capability
        began = clock()
        try:
            if job.stop is not None:  # before it had begun
                outcome = answers.write_stop(job.stop)
            else:
                payload = answers.read_payload(capability, request.data)
                request.data = None  # it may be large
                method = getattr(self._owner, capability.attribute)
                arguments: tuple[Any, ...] = ()
                if capability.wants_request:
                    arguments = (self._request(job, payload),)
                elif capability.takes_payload:
                    arguments = (payload,)
                if self._middleware:
                    outcome = await self._call_inside(job, method, payload)
                elif capability.wrapped or capability.blocking:
                    outcome = await _call(job, method, arguments)
                elif capability.streams:
                    outcome = await _stream(job, method(*arguments))
                else:
                    result = await method(*arguments)
                    outcome = answers.write_result(capability, result)
        except BaseException as exc:  # noqa: BLE001 - raised again if it is nobody's failure
            outcome = answers.write_failure(job, exc)
        finally:
            self._end(job)
        if job.run is not None:
            self._runs.end(job.run, outcome.text)
        if outcome.text is not None:
            if job.task is self._common and not self._ready and self._turns is None:
                job.session.hurry()  # no answer follows in this turn
            announces = capability.announce and outcome.code is None
            answers.send(job.session, request, outcome.text, announces=announces)
        lane.note(clock() - began, outcome.code, outcome.message)
        return outcome

    async def _call_inside(self, job: Job, method: Callable[..., Any], payload: Any) -> Outcome:
        """Call a method inside the middleware, which may change, refuse and answer requests."""
        capability = job.lane.capability

        async def serve(request: Request[Any]) -> Any:
            arguments: tuple[Any, ...] = ()
            if capability.wants_request:
                arguments = (request,)
            elif capability.takes_payload:
                arguments = (request.payload,)
            return await _result_of(job, method, arguments)

        result = await wrap(self._middleware, serve)(self._request(job, payload))
        return await _outcome_of(job, result)

    def _request(self, job: Job, payload: Any) -> Request[Any]:
        request, about = job.request, job.request.meta.task

        def send(progress: Mapping[str, Any]) -> None:
            if not job.is_over:
                job.session.dialect.report_progress(request, progress)

        def report(progress: Mapping[str, Any]) -> None:
            if threading.get_ident() == self._thread:
                send(progress)
            else:  # a plain method's: links belong to the loop, which sleeps unless it is woken
                with contextlib.suppress(RuntimeError):  # the loop has ended
                    self._loop.call_soon_threadsafe(send, progress)

        return Request(
            payload,
            job.lane.capability.name,
            request.room,
            request.sender,
            request.id,
            job.ends,
            self._loop.time,
            report,
            functools.partial(ask_back, job),
            functools.partial(self._runs.keep, job),
            None if about is None else parse_json(about.checkpoint),
            about is not None,
        )


def _are_of_several(jobs: deque[Job]) -> bool:
    """Return whether jobs are of several callers or priorities."""
    if not jobs:
        return False
    first = jobs[0].request
    for job in jobs:  # no `any`, which is a call for each
        request = job.request
        if request.sender != first.sender or request.meta.priority != first.meta.priority:
            return True
    return False


async def _call(job: Job, method: Callable[..., Any], arguments: tuple[Any, ...]) -> Outcome:
    """Call a method that may return what it likes: a plain one, or one in another decorator."""
    return await _outcome_of(job, await _result_of(job, method, arguments))


async def _result_of(job: Job, method: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    result: Any
    if job.lane.capability.blocking:
        job.thread = ThreadRun(method, *arguments)
        result = await job.thread.result()
    else:
        result = method(*arguments)
    while inspect.isawaitable(result):
        result = await result
    return result


async def _outcome_of(job: Job, result: Any) -> Outcome:
    if isinstance(result, AsyncGenerator):
        return await _stream(job, result)
    return answers.write_result(job.lane.capability, result)


async def _stream(job: Job, parts: AsyncGenerator[Any, None]) -> Outcome:
    """Send the parts as they come and are granted, or gather them for an asker that knows none."""
    gathered: list[bytes] = []
    size = 0
    knows_parts = job.request.meta.parts > 0
    async with contextlib.aclosing(parts):
        async for part in parts:
            text = answers.write_part(job.lane.capability, part)
            if knows_parts:
                await _take_credit(job)
                job.session.dialect.send_part(job.request, text)
                continue
            gathered.append(text)
            size += len(text)
            if size > _MOST_GATHERED:
                raise CapabilityError(
                    PayloadTooLarge.code, "the parts together are too large: ask for a stream"
                )
    return answers.DONE if knows_parts else answers.write_parts(gathered)


async def _take_credit(job: Job) -> None:
    """Use up credit for one part, waiting for more where there is none (decision 0021)."""
    while job.credit <= 0:
        job.granted = job.granted or asyncio.Event()
        job.granted.clear()
        await job.granted.wait()
    job.credit -= 1
