"""A queue of jobs that serves its callers in turn.

A caller that has asked for much waits behind itself, and not before others: deficit round robin,
where each job costs one, since a turn is what a master is short of, whatever its payload weighs
(decision 0041). Within one priority; a job of a higher one goes first.

May go in: the order in which jobs leave, and which one has no room. May not: when a job has its
turn (`serving`), how it runs (`worker`). Pure: no socket, no clock.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Generic, Protocol, TypeVar

from alephscript.client.calls import Delivery

__all__ = ["FairQueue"]


class _HasRequest(Protocol):
    """A job, as far as its turn depends on it."""

    request: Delivery


J = TypeVar("J", bound=_HasRequest)


class FairQueue(Generic[J]):
    """Jobs that wait, each caller's in their order.

    Attributes:
        size: How many jobs wait; kept, since to ask costs a call.
        priority: The highest priority of a job that waits.
        served: The caller whose job began last; its next one goes behind those of all others that
            wait by then. Set by whoever begins jobs, whether they have waited here or not.
    """

    __slots__ = ("_rings", "priority", "served", "size")

    def __init__(self) -> None:
        self.size = 0
        self.priority = 0
        self.served = ""
        # By priority, and by caller; the first caller is the next to be served.
        self._rings: dict[int, OrderedDict[str, deque[J]]] = {}

    def __len__(self) -> int:
        return self.size

    def add(self, job: J) -> None:
        """Add a job behind its caller's others."""
        priority, caller = job.request.meta.priority, job.request.sender
        ring = self._rings.get(priority)
        if ring is None:
            ring = self._rings[priority] = OrderedDict()
            self.priority = max(self._rings)
        jobs = ring.get(caller)
        if jobs is None:
            ring[caller] = deque((job,))
        else:
            jobs.append(job)
        self.size += 1

    def find_next(self) -> J:
        """Find the job whose turn it is; there has to be one."""
        ring, served = self._rings[self.priority], self.served
        if served in ring:
            # Not when it was served: who has come since goes before it.
            ring.move_to_end(served)
        return next(iter(ring.values()))[0]

    def take(self) -> J:
        """Remove and return the job whose turn it is; there has to be one."""
        # As `find_next` and `remove`, without the calls.
        ring, served = self._rings[self.priority], self.served
        if served in ring:
            ring.move_to_end(served)
        caller, jobs = next(iter(ring.items()))
        job = jobs.popleft()
        if not jobs:
            self._drop(self.priority, caller)
        self.size -= 1
        return job

    def remove(self, job: J) -> None:
        """Remove a job that waits."""
        priority, caller = job.request.meta.priority, job.request.sender
        jobs = self._rings[priority][caller]
        jobs.remove(job)
        if not jobs:
            self._drop(priority, caller)
        self.size -= 1

    def choose_refused(self, job: J) -> J:
        """Choose which job is to have no room if another one comes while the queue is full.

        Args:
            job: The one that comes.

        Returns:
            The last one of the caller that has most waiting, of the lowest priority; the one that
            comes, unless its caller has fewer, or its priority is higher.
        """
        priority, caller = job.request.meta.priority, job.request.sender
        lowest = min(self._rings, default=priority)
        if priority < lowest or not self.size:
            return job
        ring = self._rings[lowest]
        longest = max(ring.values(), key=len)
        if priority == lowest and len(longest) <= len(ring.get(caller, ())) + 1:
            return job
        return longest[-1]

    def clear(self) -> None:
        """Forget all jobs."""
        self._rings.clear()
        self.size = self.priority = 0

    def _drop(self, priority: int, caller: str) -> None:
        """Keep nothing of a caller that has no more jobs."""
        ring = self._rings[priority]
        del ring[caller]
        if not ring:
            del self._rings[priority]
            self.priority = max(self._rings, default=0)
