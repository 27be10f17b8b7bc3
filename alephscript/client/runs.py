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
from alephscript.errors import (
    Cancelled,
    RequestError,
    UnknownEvent,
    error_from_answer,
)
from alephscript.protocol.events import HubEvent
from alephscript.protocol.tasks import check_checkpoint

__all__ = ["Runs"]


_AGAIN_SECONDS = 1.0
"""When a hub is asked again that could not say which runs count."""


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
        self._resuming: set[asyncio.Task[None]] = set()

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

    def take(self, session: HubSession, message: Mapping[str, Any]) -> None:
        """Take a hub's TASK_KEPT, or its wish to hear of all runs."""
        name = message.get("run")
        if name is None:
            self._resume_soon(session, 0.0)
        run = self._runs.get(str(name))
        if run is None:
            return
        number = message.get("number")
        if number is None:
            self._give_up(run)
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
            PayloadTooLarge: The checkpoint is too large, or nested too deeply.
        """
        check_checkpoint(checkpoint)
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
        """Offer all runs to the hub of a session; what counts no more is given up.

        A hub that cannot say just now which of them count is asked again.
        """
        offered = list(self._runs.values())
        if not offered:
            return
        try:
            numbers = await _offer(session, [each.name for each in offered])
        except RequestError:
            self._resume_soon(session, _AGAIN_SECONDS)
            return
        for run in offered:
            number = numbers.get(run.name)
            if self._runs.get(run.name) is not run:
                continue  # its end was kept meanwhile
            if isinstance(number, str) and number.isdecimal():
                self._go_on(run, session, number)
            elif number != "":  # of which the hub keeps the end just now
                self._give_up(run)

    def _go_on(self, run: Run, session: HubSession, number: str) -> None:
        """Go on with a run under another number, and repeat what may have been lost."""
        self._move(run.job, session, number)
        run.moved.set()
        if run.waiting:
            session.dialect.send_checkpoint(run.job.request, run.number, run.checkpoint)
        if run.answer is not None:
            answers.send(session, run.job.request, run.answer)

    def _resume_soon(self, session: HubSession, seconds: float) -> None:
        async def resume() -> None:
            await asyncio.sleep(seconds)
            if not session.is_gone.is_set():
                await self.resume(session)

        task = asyncio.get_running_loop().create_task(resume())
        self._resuming.add(task)
        task.add_done_callback(self._resuming.discard)

    def close(self) -> None:
        """Offer nothing any more."""
        for task in self._resuming:
            task.cancel()

    def _give_up(self, run: Run) -> None:
        """Forget a run whose end a hub has, or that counts no more; if it goes on, stop it."""
        self._forget(run)
        if not run.job.is_over:
            self._stop(run.job, Cancelled("this run of a task counts no more"))

    def _forget(self, run: Run) -> None:
        self._runs.pop(run.name, None)
        for future in run.waiting.values():
            future.cancel()


async def _offer(session: HubSession, names: list[str]) -> Mapping[str, Any]:
    """Offer runs to a hub.

    Returns:
        The numbers of the requests of those that count, by name.

    Raises:
        RequestError: The hub cannot say just now.
    """
    if not isinstance(session.dialect, Native):
        return {}
    try:
        answer = await session.dialect.tell(HubEvent.TASK_RESUME, {"runs": names})
    except UnknownEvent:
        return {}  # a hub without tasks
    numbers = answer.get("runs")
    return numbers if isinstance(numbers, dict) else {}
