"""Tasks that the mesh keeps, as A2A tasks of the same id: they outlive this process, and the hub.

Nothing of them is kept here but the words that were exchanged: whatever is asked about one is asked
of the hub. The key by which a task is submitted says that it came by A2A, and in which context; the
hub tells it to whoever has submitted the task, and to nobody else (decision 0052).

May go in: a mesh's task as A2A writes it. May not: which operation of A2A does what (`handler`),
requests that end with this process (`asked`).
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections import OrderedDict
from collections.abc import AsyncGenerator, Iterator, Sequence
from typing import Any, Self

import attrs
from a2a.types import (
    InternalError,
    Message,
    Part,
    Role,
    Task,
    TaskArtifactUpdateEvent,
    TaskNotCancelableError,
    TaskNotFoundError,
    TaskState,
    TaskStatus,
    TaskStatusUpdateEvent,
    UnsupportedOperationError,
)
from a2a.utils.errors import A2AError

from alephscript.a2a.cards import Skill
from alephscript.a2a.parts import artifacts_of
from alephscript.a2a.statuses import (
    failure_parts,
    failure_state,
    progress_parts,
    question_parts,
    read_answer,
)
from alephscript.a2a.tasks import Event
from alephscript.client.client import AlephScriptClient
from alephscript.client.dialects import Native
from alephscript.client.messages import Question
from alephscript.client.tasks import Task as KeptTask, TaskStatus as KeptStatus
from alephscript.doors.texts import shown
from alephscript.errors import Conflict, NotConnected, RequestError, UnknownEvent, UnknownTask

__all__ = ["LONGEST_CONTEXT", "NO_HUB", "Mark", "MeshTask", "MeshTasks"]

NO_HUB = "there is no hub at the moment; `alephscript hub` starts one"
LONGEST_CONTEXT = 200
"""Characters of a context's name, which is part of a key."""

_KEY = "a2a"
_DATA, _TEXTS = "data", "text"
_GRACE = 10.0
"""Seconds in which a hub tells that the time of a task is over."""
_MOST_TASKS = 1000
_MOST_BYTES = 64_000_000
"""Tasks whose messages are remembered, and bytes of these."""


@attrs.frozen
class Mark:
    """What the key of a task says.

    Attributes:
        context_id: The conversation that the task belongs to.
        takes_data: Whether whoever has asked takes data, and not only texts.
    """

    context_id: str
    takes_data: bool

    def write(self) -> str:
        """Write a key that no other task has."""
        kind = _DATA if self.takes_data else _TEXTS
        return f"{_KEY} {kind} {secrets.token_hex(8)} {self.context_id}"

    @classmethod
    def read(cls, key: str | None) -> Self | None:
        """Read a key; None if the task did not come by A2A."""
        door, kind, _, context_id = [*(key or "").split(" ", 3), "", "", ""][:4]
        if door != _KEY or kind not in (_DATA, _TEXTS) or not context_id:
            return None
        return cls(context_id, kind == _DATA)


class MeshTasks:
    """The tasks that the mesh keeps for a door, and the messages of those that it remembers.

    Args:
        timeout: Seconds that a task may take whose capability does not say.
    """

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        self.closing = asyncio.Event()
        self._messages: OrderedDict[str, list[Message]] = OrderedDict()
        self._size = 0

    async def submit(
        self, client: AlephScriptClient, skill: Skill, payload: Any, mark: Mark, asked: Message
    ) -> MeshTask:
        """Have the mesh begin with a task.

        Args:
            client: Whose task it is.
            skill: The skill that is meant.
            payload: The payload for it.
            mark: What its key is to say.
            asked: The message that it begins with.

        Raises:
            RequestError: The hub did not take it.
            ContractError: The payload has no form in a mesh.
        """
        offer = skill.offer
        limit = self.timeout if offer.timeout_ms is None else offer.timeout_ms / 1000
        key = mark.write()
        task = await client.submit(
            offer.capability, payload, room=offer.room, timeout=limit, key=key
        )
        asked.task_id = task.id
        self.remember(asked)
        return MeshTask(self, task, mark, None, limit)

    async def find(self, client: AlephScriptClient, id: str, room: str) -> MeshTask:
        """Find a task that a client has submitted by A2A, in this life or in one before.

        Args:
            client: The client.
            id: The task.
            room: The room that its agent is; empty for the whole mesh.

        Raises:
            TaskNotFoundError: There is no such task.
            InternalError: The hub does not say.
        """
        try:
            if not _keeps_tasks(client):
                raise UnknownTask
            status, key = await client._alephscript_own_task(id)  # noqa: SLF001 - a door's half
        except RequestError as error:
            raise _reported(error) from None
        mark = Mark.read(key)
        if mark is None or room not in ("", status.room):
            raise _reported(UnknownTask())
        return MeshTask(self, client.task(id), mark, status, self.timeout)

    async def list(self, client: AlephScriptClient, room: str) -> list[MeshTask]:
        """List such tasks, 1,000 at the most; see `find`."""
        try:
            if not _keeps_tasks(client):
                return []
            listed = await client._alephscript_own_tasks(room or None)  # noqa: SLF001 - as above
        except UnknownEvent:
            return []
        except RequestError as error:
            raise _reported(error) from None
        marked = [(status, Mark.read(key)) for status, key in listed]
        return [
            MeshTask(self, client.task(status.id), mark, status, self.timeout)
            for status, mark in marked
            if mark is not None
        ]

    def close(self) -> None:
        """Have nobody here wait any more; the tasks go on."""
        self.closing.set()

    def remember(self, message: Message) -> None:
        """Keep a message of a task, and forget those of others for which there is no room."""
        self._messages.setdefault(message.task_id, []).append(message)
        self._messages.move_to_end(message.task_id)
        self._size += message.ByteSize()
        while len(self._messages) > _MOST_TASKS or self._size > _MOST_BYTES:
            _, forgotten = self._messages.popitem(last=False)
            self._size -= sum(each.ByteSize() for each in forgotten)

    def messages(self, id: str) -> Sequence[Message]:
        """Return the messages of a task that are remembered: a hub keeps none."""
        return self._messages.get(id, ())


class MeshTask:
    """A task of the mesh.

    Args:
        tasks: Those that it belongs to.
        task: The task at its hub.
        mark: What its key says.
        status: How it was told to be; None for a task that has just begun.
        limit: Seconds that it may take.

    Attributes:
        id: Its name, in the mesh and here.
        context_id: The conversation that it belongs to.
    """

    def __init__(
        self,
        tasks: MeshTasks,
        task: KeptTask[Any],
        mark: Mark,
        status: KeptStatus | None,
        limit: float,
    ) -> None:
        self.id = task.id
        self.context_id = mark.context_id
        self._tasks = tasks
        self._task = task
        self._mark = mark
        self._status = status
        self._limit = limit
        self._correction = ""

    # How it is

    @property
    def status(self) -> TaskStatus:
        """How it was last told to be."""
        made = TaskStatus(state=TaskState.TASK_STATE_SUBMITTED)
        status = self._status
        if status is None:
            made.timestamp.GetCurrentTime()
            return made
        state, parts = _STATES[status.state], list[Part]()
        if status.error is not None:
            state, parts = failure_state(status.error), failure_parts(status.error)
        elif self._question is not None:
            parts = question_parts(self._question, self._correction)
        elif not status.has_ended and status.progress is not None:
            parts = progress_parts(status.progress)
        made.state = state
        made.timestamp.FromDatetime(status.updated)
        if parts:
            # The same status is the same message, however often it is asked for.
            moment = f"{status.updated.timestamp():.3f}"
            said = Message(message_id=f"{self.id} {moment}", role=Role.ROLE_AGENT, parts=parts)
            said.task_id, said.context_id = self.id, self.context_id
            made.message.CopyFrom(said)
        return made

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return self._status is not None and self._status.has_ended

    @property
    def is_asking(self) -> bool:
        """Whether it waits for an answer."""
        return self._question is not None

    @property
    def _question(self) -> Question[Any] | None:
        asked = None if self._status is None else self._status.question
        if asked is None or self._status is None or self._status.state != "asking":
            return None
        fields = {key: asked.get(key) for key in ("payload", "request", "reply")}
        summary = str(asked.get("summary") or "")
        return Question(str(asked.get("capability")), summary=summary, **fields)

    def write(self, *, with_artifacts: bool = True) -> Task:
        """Write it as it was last told to be."""
        made = Task(id=self.id, context_id=self.context_id, status=self.status)
        made.history.extend(self._tasks.messages(self.id))
        if with_artifacts and self._status is not None and self._status.state == "done":
            result = self._status.result or {}
            made.artifacts.extend(artifacts_of(result, takes_data=self._mark.takes_data))
        return made

    async def complete(self) -> None:
        """Ask for the result, if the list has left it out: large ones are."""
        if self._status is not None and self._status.state == "done" and not self._status.result:
            with contextlib.suppress(RequestError):
                self._status = await self._task.status()

    # What becomes of it

    async def settled(self) -> None:
        """Wait until it is over, or asks; not for ever, as there may be no hub to say so.

        Raises:
            A2AError: The hub does not know it any more.
        """
        with contextlib.suppress(TimeoutError):
            async with (
                asyncio.timeout(self._limit + _GRACE),
                contextlib.aclosing(self._statuses()) as statuses,
            ):
                async for _ in statuses:
                    pass

    async def follow(self) -> AsyncGenerator[Event, None]:
        """Iterate over the task as it is now, and what becomes of it, until it is over or asks.

        Raises:
            A2AError: The hub does not know it any more.
        """
        is_told = self._status is None or bool(self._correction)
        if is_told:
            yield self.write()
        async with contextlib.aclosing(self._statuses()) as statuses:
            async for _ in statuses:
                for event in self._events() if is_told else [self.write()]:
                    yield event
                is_told = True

    def _events(self) -> Iterator[Event]:
        """Iterate over what is told of the last change."""
        made = self.write()
        for artifact in made.artifacts:
            yield TaskArtifactUpdateEvent(
                task_id=self.id, context_id=self.context_id, artifact=artifact, last_chunk=True
            )
        if made.status.state != TaskState.TASK_STATE_SUBMITTED:
            yield TaskStatusUpdateEvent(
                task_id=self.id, context_id=self.context_id, status=made.status
            )

    async def _statuses(self) -> AsyncGenerator[None, None]:
        """Have each status in turn, up to one that waits for nobody, or until the door closes."""
        if self._correction:
            return
        ended = asyncio.ensure_future(self._tasks.closing.wait())
        updates = self._task.updates()
        try:
            async with contextlib.aclosing(updates):  # type: ignore[type-var]
                while not ended.done():
                    step = asyncio.ensure_future(anext(updates))
                    try:
                        await asyncio.wait({step, ended}, return_when=asyncio.FIRST_COMPLETED)
                    finally:
                        step.cancel()
                        await asyncio.wait({step})
                    if step.cancelled():
                        return
                    self._status = step.result()
                    yield
                    if self.is_over or self.is_asking:
                        return
        except RequestError as error:
            raise _reported(error) from None
        finally:
            ended.cancel()

    # What is done with it

    async def go_on(self, answer: Message) -> None:
        """Take the answer to what it asks.

        Raises:
            A2AError: The hub does not take it.
        """
        assert self._question is not None
        self._tasks.remember(answer)
        try:
            value = read_answer(answer, self._question)
        except A2AError as error:
            self._correction = str(error)  # and once more
            return
        try:
            self._status = await self._task.answer(value)
        except Conflict as error:
            raise UnsupportedOperationError(shown(error.message)) from None
        except RequestError as error:
            raise _reported(error) from None

    async def cancel(self) -> None:
        """Cancel it, at its master too.

        Raises:
            A2AError: It ended before, or the hub does not answer.
        """
        try:
            self._status = await self._task.cancel()
        except RequestError as error:
            raise _reported(error) from None
        if self._status.state != "cancelled":
            state = TaskState.Name(self.status.state)
            raise TaskNotCancelableError(f"The task is over: {state}.")


def _keeps_tasks(client: AlephScriptClient) -> bool:
    """Whether a client's hub keeps tasks; others do not even say that they keep none.

    Raises:
        NotConnected: There is no hub.
    """
    session = client._alephscript_session  # noqa: SLF001 - a door is a client that knows its hub
    if session is None:
        raise NotConnected(NO_HUB)
    return isinstance(session.dialect, Native)


def _reported(error: RequestError) -> A2AError:
    """Write an error of the mesh as one of A2A."""
    if isinstance(error, UnknownTask | UnknownEvent):
        return TaskNotFoundError("There is no such task here, or it is too long ago.")
    message = f"{shown(error.code)}: {shown(error.message)}"
    return InternalError(message, {"code": error.code, "details": error.details})


_STATES = {
    "queued": TaskState.TASK_STATE_SUBMITTED,
    "running": TaskState.TASK_STATE_WORKING,
    "asking": TaskState.TASK_STATE_INPUT_REQUIRED,
    "done": TaskState.TASK_STATE_COMPLETED,
    "failed": TaskState.TASK_STATE_FAILED,
    "cancelled": TaskState.TASK_STATE_CANCELED,
}
