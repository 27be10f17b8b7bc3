"""Requests of A2A clients, whichever binding they come by, as requests of the mesh.

May go in: what each operation of A2A does. May not: HTTP (`server`), how a message is read
(`asking`).
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncGenerator
from typing import Any, NoReturn

from a2a.server.context import ServerCallContext
from a2a.server.request_handlers.request_handler import RequestHandler, validate_request_params
from a2a.types import (
    AgentCard,
    Artifact,
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
    Part,
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
from a2a.utils.errors import A2AError
from a2a.utils.task import apply_history_length, validate_history_length
from google.protobuf.struct_pb2 import Value

from alephscript.a2a.asking import read_message, read_value, takes_data
from alephscript.a2a.cards import Skill
from alephscript.a2a.members import Agent
from alephscript.a2a.parts import (
    PROGRESS,
    QUESTION,
    REFUSED,
    RESULT,
    artifacts_of,
    part_of,
    parts_of,
    read_failure,
    write_failure,
)
from alephscript.a2a.tasks import Event, KnownTask, Owner, Tasks
from alephscript.client.client import AlephScriptClient
from alephscript.client.lifecycle import State
from alephscript.client.messages import Progress, Question
from alephscript.doors.texts import as_json, shown
from alephscript.errors import (
    Cancelled,
    CapabilityError,
    ContractError,
    InvalidPayload,
    Overloaded,
    RequestError,
)

__all__ = ["AGENT", "MeshHandler"]

AGENT = "agent"
"""Key of a call's state: the agent that is asked, as its asker sees it."""

_LONGEST_ID = 256


class MeshHandler(RequestHandler):
    """Answers A2A clients by asking a mesh.

    Attributes:
        tasks: The tasks that are known.
    """

    def __init__(self) -> None:
        self.tasks = Tasks()

    # Messages

    @validate_request_params
    async def on_message_send(
        self, params: SendMessageRequest, context: ServerCallContext
    ) -> Task | Message:
        """Ask, and answer with the task when it is over, or at once if that is wanted."""
        task = await self._begin(params, context)
        if not params.configuration.return_immediately:
            await task.settled()
        return apply_history_length(task.write(), params.configuration)

    @validate_request_params
    async def on_message_send_stream(
        self, params: SendMessageRequest, context: ServerCallContext
    ) -> AsyncGenerator[Event, None]:
        """Ask, and answer with the task and all that becomes of it."""
        task = await self._begin(params, context)
        async for event in task.follow():
            is_task = isinstance(event, Task)
            yield apply_history_length(event, params.configuration) if is_task else event

    async def _begin(self, params: SendMessageRequest, context: ServerCallContext) -> KnownTask:
        """Begin to ask.

        Raises:
            A2AError: The message asks for nothing that this agent does.
        """
        agent: Agent = context.state[AGENT]
        validate_history_length(params.configuration)
        if params.configuration.HasField("task_push_notification_config"):
            _refuse_push()
        message = params.message
        if message.role != Role.ROLE_USER:
            raise InvalidParamsError("A message to an agent has the role ROLE_USER.")
        if max(map(len, (message.message_id, message.context_id, message.task_id))) > _LONGEST_ID:
            raise InvalidParamsError(f"An id has at most {_LONGEST_ID} characters.")
        if message.task_id:
            return self._go_on(message, agent)
        await agent.first_look()
        if agent.client.state is not State.READY:
            raise InternalError(
                "not_connected: there is no hub at the moment; `alephscript hub` starts one",
                {"code": "not_connected"},
            )
        skill, payload = read_message(params, agent.skills)
        wants_data = takes_data(params)
        asked = Message()
        asked.CopyFrom(message)
        asked.task_id = str(uuid.uuid4())
        asked.context_id = message.context_id or str(uuid.uuid4())
        task = KnownTask(_owner(agent), asked)
        try:
            self.tasks.add(task)
        except Overloaded as error:
            raise InternalError(f"overloaded: {error.message}", {"code": error.code}) from None
        run = _run(task, agent.client, skill, payload, wants_data=wants_data)
        task.runner = asyncio.create_task(run)
        # A task that is cancelled before its first step runs no line of its own.
        task.runner.add_done_callback(lambda _: task.become(TaskState.TASK_STATE_CANCELED))
        return task

    def _go_on(self, message: Message, agent: Agent) -> KnownTask:
        """Take an answer to what a task asks.

        Raises:
            A2AError: The task does not ask, or there is none.
        """
        task = self.tasks.get(message.task_id, _owner(agent))
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
        task.go_on(answer)
        return task

    # Tasks

    @validate_request_params
    async def on_get_task(self, params: GetTaskRequest, context: ServerCallContext) -> Task:
        """Answer with a task as it is."""
        validate_history_length(params)
        task = self.tasks.get(params.id, _owner(context.state[AGENT]))
        return apply_history_length(task.write(), params)

    @validate_request_params
    async def on_list_tasks(
        self, params: ListTasksRequest, context: ServerCallContext
    ) -> ListTasksResponse:
        """Answer with a page of the asker's tasks."""
        validate_history_length(params)
        page = self.tasks.list(params, _owner(context.state[AGENT]))
        written = [apply_history_length(each, params) for each in page.tasks]
        del page.tasks[:]
        page.tasks.extend(written)
        return page

    @validate_request_params
    async def on_cancel_task(self, params: CancelTaskRequest, context: ServerCallContext) -> Task:
        """Cancel a request, at its master too."""
        task = self.tasks.get(params.id, _owner(context.state[AGENT]))
        if task.is_over or task.runner is None:
            raise TaskNotCancelableError(f"The task is over: {TaskState.Name(task.status.state)}.")
        task.runner.cancel()
        await asyncio.wait({task.runner})
        return task.write()

    @validate_request_params
    async def on_subscribe_to_task(
        self, params: SubscribeToTaskRequest, context: ServerCallContext
    ) -> AsyncGenerator[Event, None]:
        """Answer with a task and all that becomes of it from now on."""
        task = self.tasks.get(params.id, _owner(context.state[AGENT]))
        if task.is_over:
            state = TaskState.Name(task.status.state)
            raise UnsupportedOperationError(f"The task is over: {state}; get it instead.")
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


async def _run(
    task: KnownTask, client: AlephScriptClient, skill: Skill, payload: Any, *, wants_data: bool
) -> None:
    """Ask the mesh, and have the task become what comes of that."""
    offer = skill.offer

    def report(progress: Progress) -> None:
        said = [Part(text=shown(progress.message))] if progress.message else []
        fraction = part_of({PROGRESS: progress.fraction})
        task.become(TaskState.TASK_STATE_WORKING, [*said, fraction])

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
    except ContractError as error:
        _fail(task, InvalidPayload(str(error), error.problems))
    except RequestError as error:
        _fail(task, error)
    finally:
        # Whatever else was raised is in the log of asyncio; nobody waits for ever.
        task.become(TaskState.TASK_STATE_FAILED, [Part(text="internal: the door failed")])


async def _ask_back(task: KnownTask, question: Question[Any]) -> Any:
    """Have the asker of a task answer a question; see `AlephScriptClient.request`.

    Raises:
        CapabilityError: The asker refuses.
    """
    schemas = {"request": question.request, "reply": question.reply}
    known = {key: dict(each) for key, each in schemas.items() if each is not None}
    about = part_of({QUESTION: question.capability, "payload": question.payload, **known})
    words = f"{question.capability}: {question.summary} {as_json(question.payload)}"
    while True:
        answer = await task.ask([Part(text=shown(words)), about])
        try:
            value = read_value(answer, question.reply, question.capability)
        except A2AError as error:
            words = str(error)  # and once more
            continue
        if answer.metadata.fields.get(REFUSED, Value()).bool_value:
            raise read_failure(value, "refused") or CapabilityError("refused", shown(str(value)))
        return value


def _fail(task: KnownTask, error: RequestError) -> None:
    """Have a task fail, in words and with the error's code."""
    text = f"{shown(error.code)}: {shown(error.message)}"
    if error.details:
        text += f" {shown(as_json(error.details))}"
    is_cancelled = isinstance(error, Cancelled)
    state = TaskState.TASK_STATE_CANCELED if is_cancelled else TaskState.TASK_STATE_FAILED
    task.become(state, [Part(text=text), write_failure(error)])
