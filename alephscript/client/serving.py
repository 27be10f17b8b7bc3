"""A client's workload: which request has its turn when, bounded, cancellable, drained.

Each request that comes in gets one answer, whatever its method does. It waits in its capability's
lane until there is room and the turn is its caller's (`queues`), runs (`worker`) and ends by the
first of: the method's result; what the method raises; its deadline; the hub's word that nobody
waits any more.

May go in: turns, bounds, deadlines, what stops a job. May not: how a method is run (`worker`), what
an asker gets of it (`answers`).
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from anyio.to_thread import current_default_thread_limiter

from alephscript.client import answers
from alephscript.client.calls import Delivery
from alephscript.client.declaring import Capability
from alephscript.client.discovery import CapabilityStats
from alephscript.client.jobs import Job, Lane, current_job
from alephscript.client.middleware import Middleware
from alephscript.client.runs import Runs
from alephscript.client.session import HubSession
from alephscript.client.worker import Worker
from alephscript.diagnostics.tracing import Tracing
from alephscript.errors import (
    Cancelled,
    DeadlineExceeded,
    Overloaded,
    RequestError,
    UnknownCapability,
)
from alephscript.links.deadlines import Deadlines
from alephscript.protocol import events
from alephscript.protocol.names import did_you_mean, find_near

__all__ = ["Service"]

_NEVER = float("inf")
_MOST_CALLERS = 4096
"""Callers whose last turn is remembered, before all are forgotten."""

_RUN = [{"delivered": True}]
_NOT_RUN = [{"delivered": False}]


class Service:
    """A client's capabilities at work.

    Args:
        owner: The object whose methods they are.
        capabilities: By name, aliases included.
        name: The owner's, for messages.
        max_in_flight: Most runs at once, of all capabilities together.
        tracing: What makes spans of runs, if anything does.
        offered: Tells the names that a room offers; by default each room offers all.

    Attributes:
        capabilities: By name, aliases included.
        runs: The runs of tasks.
    """

    def __init__(
        self,
        owner: object,
        capabilities: Mapping[str, Capability],
        *,
        name: str,
        max_in_flight: int,
        tracing: Tracing | None = None,
        middleware: Sequence[Middleware] = (),
        offered: Callable[[str], Iterable[str]] | None = None,
    ) -> None:
        self._offered = offered or (lambda _: self.capabilities)
        self._name = name
        self._most = max_in_flight
        self._lanes: list[Lane] = []
        self.offer(capabilities)
        self._jobs: dict[object, Job] = {}
        self._running = 0
        self._waiting = 0
        self._begun = 0
        self._last_begun: dict[str, int] = {}  # by caller
        self._deadlines: Deadlines[Job] = Deadlines(self._expire)
        self._loop = asyncio.get_running_loop()  # kept: asking is a system call on some Pythons
        self.runs = Runs(stop=self._stop, move=self._move)
        self._worker = Worker(
            owner,
            name=name,
            tracing=tracing,
            end=self._end,
            runs=self.runs,
            middleware=middleware,
        )
        self._threads = current_default_thread_limiter()
        self._is_draining = False
        self._drainers: set[object] = set()
        # Set once: nothing is taken after that.
        self._is_drained = asyncio.Event()
        self._is_empty = asyncio.Event()

    def __len__(self) -> int:
        return len(self._jobs)

    def offer(self, capabilities: Mapping[str, Capability]) -> None:
        """Offer these capabilities from now on; what runs of others goes on to its end."""
        lanes = {id(each): Lane(each) for each in capabilities.values()}
        at_work = [each for each in self._lanes if each.running or each.waiting]
        self._lanes = [*at_work, *lanes.values()]
        self._lane_of = {f"GET_{name}": lanes[id(each)] for name, each in capabilities.items()}
        self.capabilities = capabilities

    def stats(self) -> dict[str, CapabilityStats]:
        """Return how each capability did so far, by name."""
        return {lane.capability.name: lane.stats() for lane in self._lanes}

    # What comes in

    def take(self, session: HubSession, request: Delivery) -> None:
        """Serve a request, now or when there is room, or refuse it at once."""
        lane = self._lane_of.get(request.event)
        if lane is None:
            name = events.capability_name(request.event)
            # Of the room that was asked: what others offer is not for every asker to know.
            near = did_you_mean(find_near(name, self._offered(request.room)))
            message = f"{self._name} has no capability {name}{near}"
            answers.refuse(session, request, UnknownCapability(message))
            return
        if self._is_draining:
            answers.refuse(session, request, Overloaded(f"{self._name} is closing", _NOT_RUN))
            return
        now = self._loop.time()
        timeout_ms, limit = request.meta.timeout_ms, lane.capability.timeout
        if timeout_ms is not None and (limit is None or timeout_ms < limit * 1000):
            limit = timeout_ms / 1000
        # A core hub may number nothing; nor can it say anything about a request later.
        key = (session, request.id) if request.id else request
        ends = _NEVER if limit is None else now + limit
        job = Job(session, request, lane, now, limit, ends, key, request.meta.parts)
        if lane.capability.blocking:
            # Looked up each time, as an application may change it.
            lane.most = min(lane.bound, self._threads.total_tokens)
        is_full = self._running >= self._most or lane.running >= lane.most
        if is_full and not self._is_nested(job):
            if lane.waiting.size >= lane.capability.queue and not self._make_room(job):
                return
            lane.waiting.add(job)
            self._waiting += 1
        else:
            self._start(job)
        self._jobs[job.key] = job
        if request.meta.task is not None:
            self.runs.begin(job)
        if job.limit is not None:
            self._deadlines.set(job, job.limit)

    def cancel(self, session: HubSession, id: str, reason: str) -> None:
        """Stop a request that nobody waits for any more, unless it is to be finished."""
        job = self._jobs.get((session, id))
        if job is not None and (reason != "asker_lost" or job.ends_with_asker):
            self._stop(job, Cancelled(f"{job.request.event} was cancelled: {reason}"))

    def grant(self, session: HubSession, id: str, parts: int) -> None:
        """Let a streamed answer go on for so many more parts."""
        job = self._jobs.get((session, id))
        if job is not None:
            job.credit += parts
            if job.granted is not None:
                job.granted.set()

    def lose(self, session: HubSession) -> None:
        """Stop what came by a session whose link is gone, and whose askers are lost with it."""
        for job in [each for each in self._jobs.values() if each.session is session]:
            if job.ends_with_asker:
                self._stop(job, Cancelled("the link to the hub is gone"))

    def own_job(self) -> Job | None:
        """Return the job of this service whose method is the caller, if it is one."""
        job = current_job.get()
        return job if isinstance(job, Job) and self._jobs.get(job.key) is job else None

    async def drain(self) -> None:
        """Take nothing more, and wait until what was taken is done.

        A job that drains waits for no other that does: by itself it would be for ever, and two
        would wait for each other. Whoever is no job of this service waits for all.
        """
        self._is_draining = True
        job = self.own_job()
        if job is not None:
            self._drainers.add(job.key)
            self._note_if_drained()
            if len(self._jobs) > len(self._drainers):
                await self._is_drained.wait()
        else:
            await self.finish()

    async def finish(self) -> None:
        """Wait until nothing runs or waits, once nothing more is taken."""
        if self._jobs:
            await self._is_empty.wait()

    async def close(self, *, spare: asyncio.Task[Any] | None = None) -> None:
        """Cancel what runs, unanswered.

        Args:
            spare: The task that closes, which may be one of them.
        """
        self._is_draining = True
        for lane in self._lanes:
            lane.waiting.clear()
        self._waiting = 0
        self.runs.close()
        await self._worker.close(spare=spare)
        self._jobs.clear()
        self._is_drained.set()
        self._is_empty.set()
        self._deadlines.close()

    # Turns

    def _is_nested(self, job: Job) -> bool:
        """Return whether something that runs here waits for a job (decision 0018).

        Such a job cannot wait for that to end.
        """
        return any((job.session, above) in self._jobs for above in job.above)

    def _make_room(self, job: Job) -> bool:
        """Refuse the job that has no room in a full queue; return whether it is another one."""
        refused = job.lane.waiting.choose_refused(job)
        name = events.capability_name(refused.request.event)
        error = Overloaded(f"the queue of {name} at {self._name} is full", _NOT_RUN)
        if refused is job:
            answers.refuse(job.session, job.request, error)
            return False
        self._stop(refused, error)
        return True

    def _start(self, job: Job) -> None:
        job.has_turn = True
        lane = job.lane
        lane.running += 1
        lane.waiting.served = job.request.sender
        self._begun += 1
        self._last_begun[job.request.sender] = self._begun
        if len(self._last_begun) > _MOST_CALLERS:
            self._last_begun.clear()
        self._running += 1
        self._worker.start(job)

    def _end(self, job: Job) -> None:
        """Forget a job that ran, and give its room away once its thread has ended, too."""
        self._forget(job)
        if job.thread is not None and job.thread.is_left_running(
            functools.partial(self._leave, job)
        ):
            return
        if self._waiting:
            self._leave(job)
        else:  # as `_leave`, without the call
            job.lane.running -= 1
            self._running -= 1

    def _leave(self, job: Job) -> None:
        """Give the room of a job to those that wait."""
        job.lane.running -= 1
        self._running -= 1
        while self._waiting and self._running < self._most:
            lane = job.lane
            if lane.waiting.size == self._waiting:  # as mostly: the others have nothing that waits
                if lane.running >= lane.most:
                    break
            else:
                ready = [e for e in self._lanes if e.waiting.size and e.running < e.most]
                if not ready:
                    break
                lane = min(ready, key=self._rank)
            self._waiting -= 1
            self._start(lane.waiting.take())

    def _rank(self, lane: Lane) -> tuple[int, int, float]:
        """Rank a lane among those that have room: callers have their turns across lanes, too."""
        job = lane.waiting.find_next()
        begun = self._last_begun.get(job.request.sender, 0)
        return -job.request.meta.priority, begun, job.arrived

    def _stop(self, job: Job, stop: RequestError) -> None:
        """Stop a job: by cancelling its run, or at once where it has none.

        A job that is about to be run is only marked: `worker` looks when its turn comes.
        """
        if job.stop is not None:
            return
        job.stop = stop
        if job.task is not None:
            job.task.cancel()
        elif not job.has_turn:
            job.lane.waiting.remove(job)
            self._waiting -= 1
            self._forget(job)
            answer = answers.write_stop(stop).text
            if job.run is not None:
                self.runs.end(job.run, answer)
            if answer is not None:
                answers.send(job.session, job.request, answer)

    def _move(self, job: Job, session: HubSession, id: str) -> None:
        """Have the run of a task belong to another session, under the id of its request there."""
        is_open = self._jobs.pop(job.key, None) is not None
        job.session = session
        job.request.id, job.request.ack = id, int(id)
        job.key = (session, id)
        if is_open:
            self._jobs[job.key] = job

    def _expire(self, job: Job) -> None:
        name = job.lane.capability.name
        if not job.has_turn:
            message, details = f"{name} had no turn within {job.limit:g} s", _NOT_RUN
        else:
            message, details = f"{name} took longer than {job.limit:g} s", _RUN
        self._stop(job, DeadlineExceeded(message, details))

    def _forget(self, job: Job) -> None:
        job.is_over = True
        self._jobs.pop(job.key, None)
        self._deadlines.forget(job)
        if self._is_draining:
            self._drainers.discard(job.key)
            self._note_if_drained()

    def _note_if_drained(self) -> None:
        if len(self._jobs) == len(self._drainers):
            self._is_drained.set()
        if not self._jobs:
            self._is_empty.set()
