"""The runs of tasks at this client, which outlive the link that they came by.

A run that a hub has put to this client goes on when the link to that hub is lost, and so does its
result: both are offered to the hub that the client comes back to, until one of them says that the
result is kept, or that the run counts no more.

May go in: what is kept of runs, and what hubs are told of it. May not: how a run is done
(`worker`), its turn (`serving`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from alephscript.client import answers
from alephscript.client.dialects import Native
from alephscript.client.jobs import Job, Run
from alephscript.client.session import HubSession
from alephscript.errors import Cancelled, PayloadTooLarge, RequestError, error_from_answer
from alephscript.protocol.events import HubEvent
from alephscript.protocol.tasks import MAX_CHECKPOINT

__all__ = ["Runs"]


class Runs:
    """The runs whose ends no hub has kept yet.

    Args:
        stop: Stops a job whose run counts no more.
        move: Has a job belong to another session, under the id of its request there.
    """

    def __init__(
        self,
        *,
        stop: Callable[[Job, RequestError], None],
        move: Callable[[Job, HubSession, str], None],
    ) -> None:
        self._stop = stop
        self._move = move
        self._runs: dict[str, Run] = {}

    def begin(self, job: Job) -> None:
        """Note that a job is the run of a task."""
        about = job.request.meta.task
        assert about is not None
        run = job.run = Run(about.run, job)
        self._runs[run.name] = run

    def end(self, run: Run, answer: bytes | None) -> None:
        """Keep the answer of a run until a hub has it; None if no hub wants one."""
        if answer is None:
            self._forget(run)
        else:
            run.answer = answer

    def take(self, message: Mapping[str, Any]) -> None:
        """Take a hub's TASK_KEPT."""
        run = self._runs.get(str(message.get("run")))
        if run is None:
            return
        number = message.get("number")
        if number is None:
            self._forget(run)
        elif isinstance(number, int):
            error = error_from_answer(message) if "error" in message else None
            for each in [each for each in run.waiting if each <= number]:
                future = run.waiting.pop(each)
                if future.done():
                    continue
                if error is None:
                    future.set_result(None)
                else:
                    future.set_exception(error)

    async def keep(self, job: Job, checkpoint: bytes) -> None:
        """Have the hub keep a checkpoint of a job's run; of a job that is no run, keep nothing.

        Raises:
            PayloadTooLarge: The checkpoint is too large.
        """
        if len(checkpoint) > MAX_CHECKPOINT:
            raise PayloadTooLarge(f"a checkpoint has {MAX_CHECKPOINT} bytes at the most")
        run = job.run
        if run is None or job.is_over:
            return
        run.number += 1
        run.checkpoint = checkpoint
        number, future = run.number, asyncio.get_running_loop().create_future()
        run.waiting[number] = future
        try:
            job.session.dialect.send_checkpoint(job.request, number, checkpoint)
            await future
        finally:
            run.waiting.pop(number, None)

    async def resume(self, session: HubSession) -> None:
        """Offer all runs to the hub of a new session; what counts no more is given up.

        Raises:
            RequestError: The hub did not answer.
        """
        if not self._runs:
            return
        offered = list(self._runs.values())
        numbers: Any = {}
        if isinstance(session.dialect, Native):
            runs = {"runs": [each.name for each in offered]}
            numbers = (await session.dialect.tell(HubEvent.TASK_RESUME, runs)).get("runs")
        for run in offered:
            number = numbers.get(run.name) if isinstance(numbers, dict) else None
            if not isinstance(number, str) or not number.isdecimal():
                if number != "":  # of which the hub keeps the end just now
                    self._give_up(run)
                continue
            self._move(run.job, session, number)
            run.moved.set()
            if run.waiting:
                session.dialect.send_checkpoint(run.job.request, run.number, run.checkpoint)
            if run.answer is not None:
                answers.send(session, run.job.request, run.answer)

    def _give_up(self, run: Run) -> None:
        self._forget(run)
        if not run.job.is_over:
            self._stop(run.job, Cancelled("the hub does not know this run any more"))

    def _forget(self, run: Run) -> None:
        self._runs.pop(run.name, None)
        for future in run.waiting.values():
            future.cancel()
