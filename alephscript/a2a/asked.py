"""A request as a task of this process, which ends with the process.

So is asked what streams, as no hub keeps the parts of a stream, and all where the hub keeps no
tasks.

May go in: asking the mesh for a task of this process. May not: what is kept of such a task
(`tasks`), tasks that the mesh keeps itself (`durable`).
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from a2a.types import Artifact, Part, TaskState
from a2a.utils.errors import A2AError

from alephscript.a2a.cards import Skill
from alephscript.a2a.parts import RESULT, artifacts_of, parts_of
from alephscript.a2a.statuses import (
    failure_parts,
    failure_state,
    progress_parts,
    question_parts,
    read_answer,
)
from alephscript.a2a.tasks import KnownTask
from alephscript.client.client import AlephScriptClient
from alephscript.client.messages import Progress, Question
from alephscript.errors import CapabilityError, ContractError, InvalidPayload, RequestError

__all__ = ["ask", "fail"]


async def ask(
    task: KnownTask, client: AlephScriptClient, skill: Skill, payload: Any, *, wants_data: bool
) -> None:
    """Ask the mesh, and have the task become what comes of that."""
    offer = skill.offer

    def report(progress: Progress) -> None:
        task.become(TaskState.TASK_STATE_WORKING, progress_parts(progress))

    task.become(TaskState.TASK_STATE_WORKING)
    options: dict[str, Any] = {"room": offer.room, "on_progress": report}
    options["on_ask"] = lambda question: _ask_back(task, question)
    if offer.timeout_ms is not None:
        options["timeout"] = offer.timeout_ms / 1000
    try:
        if offer.streams:
            append = False
            stream = client.stream(offer.capability, payload, **options)
            async with contextlib.aclosing(stream) as parts:  # type: ignore[type-var]
                async for part in parts:
                    made = Artifact(artifact_id=RESULT, parts=parts_of(part, takes_data=wants_data))
                    task.add(made, append=append, is_last=False)
                    append = True
        else:
            answer = await client.request(offer.capability, payload, **options)
            for artifact in artifacts_of(answer, takes_data=wants_data):
                task.add(artifact)
        task.become(TaskState.TASK_STATE_COMPLETED)
    except asyncio.CancelledError:
        task.become(TaskState.TASK_STATE_CANCELED)
        raise
    except (ContractError, RequestError) as error:
        fail(task, error)
    finally:
        # Whatever else was raised is in the log of asyncio; nobody waits for ever.
        task.become(TaskState.TASK_STATE_FAILED, [Part(text="internal: the door failed")])


async def _ask_back(task: KnownTask, question: Question[Any]) -> Any:
    """Have the asker of a task answer a question; see `AlephScriptClient.request`.

    Raises:
        CapabilityError: The asker refuses.
    """
    words = ""
    while True:
        answer = await task.ask(question_parts(question, words))
        try:
            value = read_answer(answer, question)
        except A2AError as error:
            words = str(error)  # and once more
            continue
        if isinstance(value, CapabilityError):
            raise value
        return value


def fail(task: KnownTask, error: ContractError | RequestError) -> None:
    """Have a task end by an error."""
    if isinstance(error, ContractError):
        error = InvalidPayload(str(error), error.problems)
    task.become(failure_state(error), failure_parts(error))
