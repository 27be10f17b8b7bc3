"""A request that is being served: a job, in the lane of its capability.

May go in: what is known of a job, and what is counted of its capability. May not: when a job runs
(`serving`), how (`worker`), what is answered (`answers`).
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from contextvars import ContextVar

import msgspec

from alephscript.client.calls import Delivery
from alephscript.client.declaring import Capability
from alephscript.client.discovery import CapabilityStats
from alephscript.client.queues import FairQueue
from alephscript.client.session import HubSession
from alephscript.client.threads import ThreadRun
from alephscript.errors import RequestError

__all__ = ["Inquiry", "Job", "Lane", "Run", "current_job"]

_MEASURED = 1024
"""Runs of a capability whose times are kept."""


class Job(msgspec.Struct, eq=False):
    """One request that is being served, or waits for its turn.

    Attributes:
        session: The session that the request came by.
        request: The request.
        lane: The lane of its capability.
        arrived: The time of its arrival, on the loop's clock.
        limit: Seconds that the job may take, None for as long as it needs.
        ends: The time of its deadline, on the loop's clock; infinite without one.
        key: Its key in the service, to find the job by when the hub says something about it.
        credit: Parts of the answer that the asker takes.
        has_turn: Whether the job runs, or is about to be run.
        is_over: Whether the job has ended.
        task: The task that runs the job, None before.
        stop: The reason why the job was stopped, None if it was not.
        granted: Set when there is credit again.
        thread: The call of its method in a worker thread, if it has one.
        unanswered: What its method was told in place of answers when it asked back.
        run: The run of a task that the job is; None for a plain request.
    """

    session: HubSession
    request: Delivery
    lane: Lane
    arrived: float
    limit: float | None
    ends: float
    key: object
    credit: int
    has_turn: bool = False
    is_over: bool = False
    task: asyncio.Task[None] | None = None
    stop: RequestError | None = None
    granted: asyncio.Event | None = None
    thread: ThreadRun | None = None
    unanswered: list[RequestError] = []
    run: Run | None = None

    @property
    def above(self) -> tuple[str, ...]:
        """Numbers of the requests that led to this one."""
        return self.request.meta.chain

    @property
    def chain(self) -> tuple[str, ...]:
        """Numbers of the requests that lead to whatever its method asks, its own last."""
        return (*self.above, self.request.id)

    @property
    def ends_with_asker(self) -> bool:
        """True if the job is stopped when its asker's link is lost; tasks outlive theirs."""
        return self.run is None and self.lane.capability.on_asker_lost == "cancel"


class Run:
    """A run of a task, from its request until a hub has kept its end.

    Args:
        name: Its name at the hub.
        job: The job that it is.

    Attributes:
        name: As given.
        job: As given.
        answer: JSON text of its answer, None before.
        number: Counts its checkpoints.
        checkpoint: JSON text of the last one.
        waiting: The futures of those that the hub has not kept yet, by number.
        questions: Counts what its method asks back.
        asking: Held by the question that is put; a task has one at a time.
        moved: Set while the hub of the present session knows the run.
    """

    __slots__ = (
        "answer",
        "asking",
        "checkpoint",
        "job",
        "moved",
        "name",
        "number",
        "questions",
        "waiting",
    )

    def __init__(self, name: str, job: Job) -> None:
        self.name = name
        self.job = job
        self.answer: bytes | None = None
        self.number = 0
        self.checkpoint = b"null"
        self.waiting: dict[int, asyncio.Future[None]] = {}
        self.questions = 0
        self.asking = asyncio.Lock()
        self.moved = asyncio.Event()


class Inquiry(msgspec.Struct, eq=False):
    """A question that is being answered: what is asked meanwhile inherits from it as from a job.

    Attributes:
        ends: The time of its deadline, on the loop's clock.
        above: Numbers of the requests that led to the call that it is about.
        id: Its number.
    """

    ends: float
    above: tuple[str, ...]
    id: str

    @property
    def chain(self) -> tuple[str, ...]:
        """Numbers of the requests that lead to whatever is asked meanwhile, its own last."""
        return (*self.above, self.id)


current_job: ContextVar[Job | Inquiry | None] = ContextVar("alephscript_job", default=None)
"""The job whose method runs in this context, or the question that is answered in it: what is asked
there inherits its deadline and its chain."""


class Lane:
    """One capability's runs, those that wait for one to end, and how the last ones went.

    Args:
        capability: The capability.

    Attributes:
        capability: As given.
        running: How many jobs run.
        bound: How many jobs the capability lets run.
        most: How many may run; of plain methods no more than there are threads for, since jobs
            wait for a thread in the order of their arrival.
        waiting: Jobs that have no turn yet.
        may_wait: Whether the last run had to wait for something: a guess at the next one, by
            which `worker` decides whether to give it a task of its own.
    """

    __slots__ = (
        "_ended",
        "_errors",
        "_last_error",
        "_seconds",
        "bound",
        "capability",
        "may_wait",
        "most",
        "running",
        "waiting",
    )

    def __init__(self, capability: Capability) -> None:
        self.capability = capability
        most = capability.max_in_flight
        self.most = self.bound = float("inf") if most is None else most
        self.running = 0
        self.waiting: FairQueue[Job] = FairQueue()
        self.may_wait = False
        self._ended = 0
        self._errors: Counter[str] = Counter()
        self._last_error: str | None = None
        self._seconds: deque[float] = deque(maxlen=_MEASURED)

    def note(self, seconds: float, code: str | None, message: str) -> None:
        """Count a run that has ended, a failure under its code."""
        self._ended += 1
        self._seconds.append(seconds)
        if code is not None:
            self._errors[code] += 1
            self._last_error = f"{message} [{code}]"

    def stats(self) -> CapabilityStats:
        """Return what was counted."""
        ordered = sorted(self._seconds)
        p50, p95 = (
            round(ordered[int(len(ordered) * share)] * 1000, 3) if ordered else None
            for share in (0.5, 0.95)
        )
        return CapabilityStats(
            requests=self._ended,
            errors=dict(self._errors),
            in_flight=self.running,
            waiting=len(self.waiting),
            p50_ms=p50,
            p95_ms=p95,
            last_error=self._last_error,
        )
