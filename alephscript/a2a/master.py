"""`A2aMaster`: an A2A agent as the master of a room, each of its skills a capability.

May go in: what a mesh asks of an agent. May not: the connection to that agent (`agent`), what it
says (`foreign`).
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

from a2a.types import InvalidParamsError
from a2a.utils.errors import A2AError

from alephscript.a2a.agent import Agent, AgentUnreachable, connect, describe_failure
from alephscript.a2a.foreign import (
    INPUT,
    Answer,
    ForeignSkill,
    make_answer,
    make_message,
    read_skills,
)
from alephscript.client.declaring import Capability
from alephscript.client.jobs import Job, current_job
from alephscript.client.messages import Question, Request
from alephscript.doors.master import ForeignMaster
from alephscript.doors.upstream import without_password
from alephscript.errors import (
    CapabilityError,
    ConnectionRefused,
    InvalidPayload,
    NoAnswerer,
    RequestError,
)
from alephscript.links.transport import Transport
from alephscript.protocol import events

__all__ = ["A2aMaster"]


class A2aMaster(ForeignMaster[Agent]):
    """The master of a room that offers the skills of an A2A agent.

    ::

        async with A2aMaster("http://127.0.0.1:9999", room="TRAVEL", hub=url):
            ...

    Each skill is a capability: its id in upper case, its own id an alias. The payload goes as data,
    or as text where the agent takes no other; the message's metadata name the skill. The answer is
    the data or the text of the agent's only artifact, else ``{"artifacts": […]}``; whoever asks for
    a stream gets each part as it comes. Progress comes through, cancelling goes through.

    Skills that come and go change what is offered. If the agent dies, open requests end with
    `MasterLost` at once, the client resigns, and it serves again when the agent is reached again.

    Args:
        agent: The agent's address: its card is below it, at ``/.well-known/agent-card.json``.
        room: The room.
        hub: The hub, as for `alephscript.AlephScriptClient`.
        headers: Headers of each request to the agent, such as ``Authorization``.
        options: Further options of the client; with ``retry_open`` an agent that is not there yet
            is waited for, too, and ``backoff`` is for both.

    Raises:
        AgentUnreachable: At entering: there is no such agent, or its card cannot be used.
    """

    def __init__(
        self,
        agent: str,
        *,
        room: str,
        hub: str | Transport = events.DEFAULT_URL,
        headers: Mapping[str, str] | None = None,
        **options: Any,
    ) -> None:
        self._at = agent
        self._headers = dict(headers or {})
        self._skills: dict[str, ForeignSkill] = {}
        name = f"the A2A agent {without_password(agent)}"
        super().__init__(room=room, hub=hub, server=name, **options)

    # Serving

    async def ask_skill(self, request: Request[Any]) -> Any:
        """Answer a request by a task of the agent: its answer, or its parts as they come."""
        agent, skill = self._present(), self._skills.get(request.capability)
        if skill is None:
            raise CapabilityError("unknown_capability", f"{request.capability} has gone")
        job = current_job.get()
        if isinstance(job, Job) and job.request.meta.parts > 0:
            return self._ask(agent, skill, request)
        if skill.streams:
            async with contextlib.aclosing(self._ask(agent, skill, request)) as parts:
                return [each async for each in parts]
        answer = Answer()
        async with contextlib.aclosing(self._follow(agent, skill, request, answer)) as changes:
            async for _ in changes:
                pass
        with _failures():
            result = answer.result()
        # An object that has an error is a failure, unless it says that it is none.
        return {"success": True, **result} if isinstance(result, dict) else result

    async def _ask(
        self, agent: Agent, skill: ForeignSkill, request: Request[Any]
    ) -> AsyncGenerator[Any, None]:
        """Iterate over the parts of an answer as they come."""
        answer = Answer(in_parts=True)
        is_silent = True
        async with contextlib.aclosing(self._follow(agent, skill, request, answer)) as changes:
            async for _ in changes:
                with _failures():
                    for item in answer.items():
                        is_silent = False
                        yield item
        with _failures():
            answer.check()
            result = answer.result() if is_silent else None
        if result is not None:
            yield result

    async def _follow(
        self, agent: Agent, skill: ForeignSkill, request: Request[Any], answer: Answer
    ) -> AsyncGenerator[None, None]:
        """Ask, and iterate over changes of the answer; progress goes to the asker.

        Raises:
            CapabilityError: The agent refused, or is gone.
        """
        said = None
        try:
            message = make_message(request.payload, skill)
            while True:
                async with contextlib.aclosing(agent.ask(message, answer)) as changes:
                    async for _ in changes:
                        progress = answer.progress()
                        if progress is not None and progress != said:
                            said = progress
                            request.progress(progress.fraction, progress.message)
                        yield
                question = answer.question()
                if question is None:
                    break
                reply = await _ask_back(agent, answer, request, question)
                message = make_answer(reply, skill, answer)
                answer.go_on()
        except RequestError:
            raise  # some are a ConnectionError, too: of the asker's link, and not of the agent
        except ConnectionError as error:
            raise self._gone(delivered=not isinstance(error, ConnectionRefusedError)) from None
        except Exception as error:  # noqa: BLE001 - of whatever a stranger has answered
            words, details = describe_failure(error)
            refused = isinstance(error, InvalidParamsError)
            code = InvalidPayload.code if refused else "a2a_error"
            if not isinstance(error, A2AError):
                words = f"the agent's answer is no A2A: {words}"
            raise CapabilityError(code, words, details) from None

    # Offering

    def _connect(self) -> AbstractAsyncContextManager[Agent]:
        return connect(self._at, self._headers)

    def _unreachable(self, reason: str) -> ConnectionRefused:
        return AgentUnreachable(without_password(self._at), reason)

    async def _capabilities(self, server: Agent) -> list[Capability]:
        skills = {each.id: each for each in read_skills(server.card)}
        described = [(each.id, each.description) for each in skills.values()]
        found, names = self._name_all(described, "ask_skill")
        self._skills = {name: skills[each] for name, each in names.items()}
        return found


async def _ask_back(
    agent: Agent, answer: Answer, request: Request[Any], question: Question[Any]
) -> Any:
    """Have the asker answer what the agent asks.

    Returns:
        The answer, or the error by which the asker refuses the question of another mesh.

    Raises:
        CapabilityError: The asker takes no questions, or refuses an agent's; ``details`` name the
            task, which can be gone on with.
    """
    try:
        reply = await request.ask(question)
    except (NoAnswerer, CapabilityError) as error:
        if question.capability != INPUT:
            return error
        if isinstance(error, NoAnswerer):
            answer.check()
        agent.give_up(answer)
        raise
    except BaseException:
        agent.give_up(answer)
        raise
    return reply["result"] if reply.keys() == {"result"} else reply


@contextlib.contextmanager
def _failures() -> Any:
    """Turn what is no JSON into an error with a code."""
    try:
        yield
    except ValueError as error:
        raise CapabilityError("a2a_error", f"the agent's answer is no JSON: {error}") from None
