"""A method that asks back: its question to the asker of the request that it serves.

May go in: a question from the method to its typed answer. May not: how the asker answers
(`answering`), how a hub is asked (`dialects`).
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from alephscript import contracts
from alephscript.client.arguments import check_seconds
from alephscript.client.asking import read_request
from alephscript.client.calls import Call, read_answer
from alephscript.client.declaring import summary
from alephscript.client.jobs import Job, Run
from alephscript.client.messages import Question
from alephscript.errors import (
    ContractError,
    DeadlineExceeded,
    InvalidPayload,
    LinkLost,
    NoAnswerer,
    NotConnected,
    RequestError,
    error_from_answer,
)
from alephscript.protocol import events
from alephscript.protocol.events import HubEvent
from alephscript.protocol.json import write_json
from alephscript.protocol.tasks import check_depth

__all__ = ["ask_back"]


async def ask_back(job: Job, question: Any, payload: Any, timeout: float | None, reply: Any) -> Any:
    """Ask the asker of a job; see `alephscript.client.messages.Request.ask`.

    What it raises is kept in `Job.unanswered`: a method that does not catch it has failed for a
    reason that lies with its asker, who is told.
    """
    check_seconds("ask", "timeout", timeout)
    passed_on = question if isinstance(question, Question) else None
    if passed_on is not None:
        question, payload = passed_on.capability, passed_on.payload
    name, payload, reply = read_request(question, payload, reply)
    name = events.capability_name(events.request_event(name))
    try:
        text = _write(name, passed_on or question, payload, reply)
        if job.run is None:
            answer = await _put(job, name, text, timeout)
        else:
            answer = await _put_in_turn(job.run, name, text, timeout)
        if events.is_failure(answer):
            raise error_from_answer(answer)
        del answer["success"]
        if reply is None:
            return answer
        try:
            return contracts.structure_reply(answer, reply)
        except ContractError as error:
            message = f"the answer to {name} does not fit: {error}"
            raise InvalidPayload(message, error.problems) from None
    except RequestError as error:
        job.unanswered.append(error)
        raise


async def _put(job: Job, name: str, question: bytes, timeout: float | None) -> events.Answer:
    request = job.request
    if not request.meta.answers:
        asked = job.lane.capability.name
        raise NoAnswerer(f"{asked} asks back ({name}), and its asker takes no questions: on_ask=")
    left = job.ends - asyncio.get_running_loop().time()
    seconds = min(left, events.LONGEST_TIMEOUT, left if timeout is None else timeout)
    late = DeadlineExceeded(
        f"{name} was not answered within {max(round(seconds, 3), 0):g} s", [{"delivered": True}]
    )
    if seconds <= 0:
        raise late
    call = Call(HubEvent.GET_ASKER_ANSWER, question, None, seconds, {"id": request.id})
    try:
        answer = read_answer(await job.session.dialect.ask(call))
    except DeadlineExceeded:
        raise late from None
    if answer.get("code") == DeadlineExceeded.code:
        raise late
    return answer


async def _put_in_turn(
    run: Run, name: str, question: bytes, timeout: float | None
) -> events.Answer:
    """Ask as a run of a task, whose questions are put one after the other."""
    check_depth(question, "a question")
    clock = asyncio.get_running_loop().time
    ends = None if timeout is None else clock() + timeout
    try:
        async with asyncio.timeout_at(ends):
            await run.asking.acquire()
    except TimeoutError:
        raise DeadlineExceeded(
            f"{name} was not asked within {timeout:g} s, after what was asked before",
            [{"delivered": False}],
        ) from None
    try:
        return await _put_of_run(run, name, question, ends)
    finally:
        run.asking.release()


async def _put_of_run(run: Run, name: str, question: bytes, ends: float | None) -> events.Answer:
    """Ask as a run of a task, again at each hub that knows the run, until there is an answer."""
    job, clock = run.job, asyncio.get_running_loop().time
    run.questions += 1
    # By its number the hub knows a question that it has an answer to already.
    numbered = b'{"number":%d,%b' % (run.questions, question[1:])
    while True:
        run.moved.clear()
        left = None if ends is None else ends - clock()
        asking = asyncio.ensure_future(_put(job, name, numbered, left))
        moving = asyncio.ensure_future(run.moved.wait())
        try:
            await asyncio.wait({asking, moving}, return_when=asyncio.FIRST_COMPLETED)
            if not asking.done():
                continue  # another hub knows the run now, and not the question
            try:
                return asking.result()
            except (LinkLost, NotConnected):
                with contextlib.suppress(TimeoutError):  # of which the next try tells
                    async with asyncio.timeout_at(ends):
                        await moving
        finally:
            asking.cancel()
            moving.cancel()


def _write(name: str, question: Any, payload: Any, reply: Any) -> bytes:
    """Write a question with all that is needed to make a form of it."""
    fields: dict[str, Any] = {"capability": name}
    if isinstance(question, Question):
        fields["summary"] = question.summary
        fields["request"], fields["reply"] = question.request, question.reply
    elif not isinstance(question, str):
        fields["summary"] = summary(type(question).__doc__)
        fields["request"] = contracts.json_schema(type(question))
    if reply is not None:
        fields["reply"] = contracts.json_schema(reply)
    text = write_json({key: value for key, value in fields.items() if value})
    return b'%b,"payload":%b}' % (text[:-1], contracts.write(payload))
