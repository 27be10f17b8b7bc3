"""Requests of A2A clients, whichever binding they come by, as requests of the mesh.

May go in: what each operation of A2A does. May not: HTTP (`server`), how a message is read
(`asking`).
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections import Counter
from collections.abc import AsyncGenerator, Iterator
from typing import NoReturn

from a2a.server.context import ServerCallContext
from a2a.server.request_handlers.request_handler import RequestHandler, validate_request_params
from a2a.types import (
    AgentCard,
    CancelTaskRequest,
    DeleteTaskPushNotificationConfigRequest,
    ExtendedAgentCardNotConfiguredError,
    GetExtendedAgentCardRequest,
    GetTaskPushNotificationConfigRequest,
    GetTaskRequest,
    InternalError,
    InvalidParamsError,
    ListTaskPushNotificationConfigsRequest,
    ListTaskPushNotificationConfigsResponse,
    ListTasksRequest,
    ListTasksResponse,
    Message,
    PushNotificationNotSupportedError,
    Role,
    SendMessageRequest,
    SubscribeToTaskRequest,
    Task,
    TaskNotCancelableError,
    TaskPushNotificationConfig,
    TaskState,
    UnsupportedOperationError,
)
from a2a.utils.task import apply_history_length, validate_history_length

from alephscript.a2a.asked import ask, fail
from alephscript.a2a.asking import read_message, takes_data
from alephscript.a2a.durable import LONGEST_CONTEXT, NO_HUB, Mark, MeshTask, MeshTasks
from alephscript.a2a.members import Agent
from alephscript.a2a.tasks import Event, KnownTask, Owner, Tasks, page_of
from alephscript.client.lifecycle import State
from alephscript.errors import ContractError, Overloaded, RequestError, UnknownEvent

__all__ = ["AGENT", "MeshHandler"]

AGENT = "agent"
"""Key of a call's state: the agent that is asked, as its asker sees it."""

_LONGEST_ID = 256


class MeshHandler(RequestHandler):
    """Answers A2A clients by asking a mesh.

    Args:
        timeout: Seconds that a task may take whose capability does not say.

    Attributes:
        tasks: The tasks of this process that are known.
    """

    def __init__(self, timeout: float) -> None:
        self.tasks = Tasks()
        self._kept = MeshTasks(timeout)
        self._working: Counter[str] = Counter()

    def is_busy(self, member: str) -> bool:
        """Whether a member asks for somebody, or waits."""
        return self._working[member] > 0 or self.tasks.is_busy(member)

    async def close(self) -> None:
        """Cancel the tasks of this process, and wait for no others any more."""
        self._kept.close()
        await self.tasks.close()

    @contextlib.contextmanager
    def _at_work(self, agent: Agent) -> Iterator[None]:
        self._working[agent.member] += 1
        try:
            yield
        finally:
            self._working[agent.member] -= 1
            if not self._working[agent.member]:
                del self._working[agent.member]

    # Messages

    @validate_request_params
    async def on_message_send(
        self, params: SendMessageRequest, context: ServerCallContext
    ) -> Task | Message:
        """Ask, and answer with the task when it is over, or at once if that is wanted."""
        agent: Agent = context.state[AGENT]
        with self._at_work(agent):
            task = await self._begin(params, agent)
            if not params.configuration.return_immediately:
                await task.settled()
        return apply_history_length(task.write(), params.configuration)

    @validate_request_params
    async def on_message_send_stream(
        self, params: SendMessageRequest, context: ServerCallContext
    ) -> AsyncGenerator[Event, None]:
        """Ask, and answer with the task and all that becomes of it."""
        agent: Agent = context.state[AGENT]
        with self._at_work(agent):
            task = await self._begin(params, agent)
            async for event in task.follow():
                is_task = isinstance(event, Task)
                yield apply_history_length(event, params.configuration) if is_task else event

    async def _begin(self, params: SendMessageRequest, agent: Agent) -> KnownTask | MeshTask:
        """Begin to ask.

        Raises:
            A2AError: The message asks for nothing that this agent does.
        """
        validate_history_length(params.configuration)
        if params.configuration.HasField("task_push_notification_config"):
            _refuse_push()
        message = params.message
        if message.role != Role.ROLE_USER:
            raise InvalidParamsError("A message to an agent has the role ROLE_USER.")
        if max(len(message.message_id), len(message.task_id)) > _LONGEST_ID:
            raise InvalidParamsError(f"An id has at most {_LONGEST_ID} characters.")
        if len(message.context_id) > LONGEST_CONTEXT:
            raise InvalidParamsError(f"A contextId has at most {LONGEST_CONTEXT} characters.")
        if message.task_id:
            return await self._go_on(message, agent)
        await agent.first_look()
        if agent.client.state is not State.READY:
            raise InternalError(f"not_connected: {NO_HUB}", {"code": "not_connected"})
        skill, payload = read_message(params, agent.skills)
        asked = Message()
        asked.CopyFrom(message)
        asked.context_id = message.context_id or str(uuid.uuid4())
        wants_data = takes_data(params)
        if not skill.offer.streams:
            mark = Mark(asked.context_id, wants_data)
            try:
                return await self._kept.submit(agent.client, skill, payload, mark, asked)
            except UnknownEvent:
                pass  # of a hub that keeps no tasks
            except (ContractError, RequestError) as error:
                task = self._know(asked, agent)
                fail(task, error)
                return task
        task = self._know(asked, agent)
        task.runner = asyncio.create_task(
            ask(task, agent.client, skill, payload, wants_data=wants_data)
        )
        # A task that is cancelled before its first step runs no line of its own.
        task.runner.add_done_callback(lambda _: task.become(TaskState.TASK_STATE_CANCELED))
        return task

    def _know(self, asked: Message, agent: Agent) -> KnownTask:
        """Know of a task of this process.

        Raises:
            InternalError: There are too many that run.
        """
        asked.task_id = str(uuid.uuid4())
        task = KnownTask(_owner(agent), asked)
        try:
            self.tasks.add(task)
        except Overloaded as error:
            raise InternalError(f"overloaded: {error.message}", {"code": error.code}) from None
        return task

    async def _go_on(self, message: Message, agent: Agent) -> KnownTask | MeshTask:
        """Take an answer to what a task asks.

        Raises:
            A2AError: The task does not ask, or there is none.
        """
        task = await self._find(message.task_id, agent)
        if message.context_id and message.context_id != task.context_id:
            raise InvalidParamsError("The task belongs to another context.")
        if not task.is_asking:
            state = TaskState.Name(task.status.state)
            raise UnsupportedOperationError(
                f"The task is in state {state} and takes no message; leave taskId out to ask anew."
            )
        answer = Message()
        answer.CopyFrom(message)
        answer.context_id = task.context_id
        await task.go_on(answer)
        return task

    # Tasks

    async def _find(self, id: str, agent: Agent) -> KnownTask | MeshTask:
        """Find a task of this process, or of the mesh.

        Raises:
            A2AError: The asker has none of that name.
        """
        known = self.tasks.find(id, _owner(agent))
        return known or await self._kept.find(agent.client, id, agent.room)

    @validate_request_params
    async def on_get_task(self, params: GetTaskRequest, context: ServerCallContext) -> Task:
        """Answer with a task as it is."""
        validate_history_length(params)
        task = await self._find(params.id, context.state[AGENT])
        return apply_history_length(task.write(), params)

    @validate_request_params
    async def on_list_tasks(
        self, params: ListTasksRequest, context: ServerCallContext
    ) -> ListTasksResponse:
        """Answer with a page of the asker's tasks."""
        validate_history_length(params)
        agent: Agent = context.state[AGENT]
        kept = await self._kept.list(agent.client, agent.room)
        page = page_of([*self.tasks.of(_owner(agent)), *kept], params)
        made = ListTasksResponse(
            next_page_token=page.next_token, page_size=page.size, total_size=page.total
        )
        for each in page.tasks:
            if params.include_artifacts and isinstance(each, MeshTask):
                await each.complete()
            written = each.write(with_artifacts=params.include_artifacts)
            made.tasks.append(apply_history_length(written, params))
        return made

    @validate_request_params
    async def on_cancel_task(self, params: CancelTaskRequest, context: ServerCallContext) -> Task:
        """Cancel a request, at its master too."""
        task = await self._find(params.id, context.state[AGENT])
        if task.is_over:
            raise TaskNotCancelableError(f"The task is over: {TaskState.Name(task.status.state)}.")
        await task.cancel()
        return task.write()

    @validate_request_params
    async def on_subscribe_to_task(
        self, params: SubscribeToTaskRequest, context: ServerCallContext
    ) -> AsyncGenerator[Event, None]:
        """Answer with a task and all that becomes of it from now on."""
        agent: Agent = context.state[AGENT]
        task = await self._find(params.id, agent)
        if task.is_over:
            state = TaskState.Name(task.status.state)
            raise UnsupportedOperationError(f"The task is over: {state}; get it instead.")
        with self._at_work(agent):
            async for event in task.follow():
                yield event

    # Cards and notifications

    async def on_get_extended_agent_card(
        self,
        params: GetExtendedAgentCardRequest,  # noqa: ARG002
        context: ServerCallContext,
    ) -> AgentCard:
        """Answer with the card that an asker with a token sees."""
        agent: Agent = context.state[AGENT]
        if not agent.is_guarded:
            raise ExtendedAgentCardNotConfiguredError
        await agent.first_look()
        return agent.card()

    async def on_create_task_push_notification_config(
        self,
        params: TaskPushNotificationConfig,  # noqa: ARG002
        context: ServerCallContext,  # noqa: ARG002
    ) -> TaskPushNotificationConfig:
        """Refuse: nothing is pushed."""
        _refuse_push()

    async def on_get_task_push_notification_config(
        self,
        params: GetTaskPushNotificationConfigRequest,  # noqa: ARG002
        context: ServerCallContext,  # noqa: ARG002
    ) -> TaskPushNotificationConfig:
        """Refuse: nothing is pushed."""
        _refuse_push()

    async def on_list_task_push_notification_configs(
        self,
        params: ListTaskPushNotificationConfigsRequest,  # noqa: ARG002
        context: ServerCallContext,  # noqa: ARG002
    ) -> ListTaskPushNotificationConfigsResponse:
        """Refuse: nothing is pushed."""
        _refuse_push()

    async def on_delete_task_push_notification_config(
        self,
        params: DeleteTaskPushNotificationConfigRequest,  # noqa: ARG002
        context: ServerCallContext,  # noqa: ARG002
    ) -> None:
        """Refuse: nothing is pushed."""
        _refuse_push()


def _refuse_push() -> NoReturn:
    raise PushNotificationNotSupportedError(
        "This agent pushes no notifications; stream, subscribe to the task, or get it."
    )


def _owner(agent: Agent) -> Owner:
    return Owner(agent.member, agent.room)
