"""Tasks of this process: what has become of each, for those who wait, come back, or list them.

A task is known as long as there is room. Whoever follows a task reads along what is kept of it, so
that a reader who is slow costs no memory: its artifacts, and its last statuses.

May go in: tasks, who may see them, pages of them. May not: asking the mesh (`asked`), tasks that
the mesh keeps itself (`durable`).
"""

from __future__ import annotations

import asyncio
import uuid
from collections import deque
from collections.abc import AsyncGenerator, Iterable, Sequence
from typing import Protocol

import attrs
from a2a.types import (
    Artifact,
    ListTasksRequest,
    Message,
    Part,
    Role,
    Task,
    TaskArtifactUpdateEvent,
    TaskState,
    TaskStatus,
    TaskStatusUpdateEvent,
)
from a2a.utils.constants import DEFAULT_LIST_TASKS_PAGE_SIZE
from a2a.utils.errors import InvalidParamsError
from a2a.utils.task import (
    ListTasksCursor,
    decode_list_tasks_cursor,
    encode_list_tasks_cursor,
    validate_page_size,
)

from alephscript.errors import Overloaded, PayloadTooLarge

__all__ = ["Event", "KnownTask", "Listed", "Owner", "Page", "Tasks", "is_over", "page_of"]

Event = Task | TaskStatusUpdateEvent | TaskArtifactUpdateEvent

_MOST_KNOWN = 1000
_MOST_RUNNING = 500
_MOST_BYTES = 64_000_000
"""Bytes of the artifacts of all tasks."""
_MOST_BYTES_OF_ONE = 16_000_000
_MOST_STATUSES = 256
"""Statuses of a task that a reader may be behind."""

_OVER = frozenset(
    {
        TaskState.TASK_STATE_COMPLETED,
        TaskState.TASK_STATE_CANCELED,
        TaskState.TASK_STATE_FAILED,
        TaskState.TASK_STATE_REJECTED,
    }
)


def is_over(state: TaskState) -> bool:
    """Whether nothing follows a state."""
    return state in _OVER


@attrs.frozen
class Owner:
    """Whoever may see a task.

    Attributes:
        member: The member of the mesh that asks, by a name that tells nothing of its token.
        room: The room whose agent was asked; empty for the agent of the whole mesh.
    """

    member: str
    room: str


class KnownTask:
    """A request of the mesh as a task.

    Args:
        owner: Whoever may see it.
        asked: The message that it began with, ids filled in.

    Attributes:
        id: The task's name.
        size: Bytes of its artifacts.
        runner: The asyncio task that asks the mesh.
    """

    def __init__(self, owner: Owner, asked: Message) -> None:
        self.owner = owner
        self.id = asked.task_id
        self.size = 0
        self.runner: asyncio.Task[None] | None = None
        self._history = [asked]
        self._answer: asyncio.Future[Message] | None = None
        self._asking = asyncio.Lock()
        self._chunks: list[tuple[int, TaskArtifactUpdateEvent]] = []
        self._number = 0
        self._statuses: deque[tuple[int, TaskStatusUpdateEvent]] = deque(maxlen=_MOST_STATUSES)
        self._changed = asyncio.Event()
        self.status = TaskStatus()
        self.become(TaskState.TASK_STATE_SUBMITTED)

    @property
    def context_id(self) -> str:
        """The conversation that the task belongs to."""
        return self._history[0].context_id

    @property
    def is_over(self) -> bool:
        """Whether the task has ended."""
        return is_over(self.status.state)

    @property
    def is_asking(self) -> bool:
        """Whether the task waits for an answer of its asker."""
        return self.status.state == TaskState.TASK_STATE_INPUT_REQUIRED

    async def ask(self, question: Iterable[Part]) -> Message:
        """Ask the asker, one question after the other, and wait for the answer."""
        async with self._asking:
            self._answer = asyncio.get_running_loop().create_future()
            self.become(TaskState.TASK_STATE_INPUT_REQUIRED, question)
            try:
                return await self._answer
            finally:
                self._answer = None
                if self.is_asking:  # nobody wants to know any more
                    self.become(TaskState.TASK_STATE_WORKING)

    async def go_on(self, answer: Message) -> None:
        """Take the answer to what the task asks."""
        assert self._answer is not None
        self._history.append(answer)
        self.become(TaskState.TASK_STATE_WORKING)
        self._answer.set_result(answer)

    def become(self, state: TaskState, parts: Iterable[Part] = ()) -> None:
        """Have another status, with words about it; a task that is over keeps its own."""
        if self.is_over:
            return
        status = TaskStatus(state=state)
        status.timestamp.GetCurrentTime()
        listed = list(parts)
        if listed:
            status.message.CopyFrom(
                Message(
                    message_id=str(uuid.uuid4()),
                    context_id=self.context_id,
                    task_id=self.id,
                    role=Role.ROLE_AGENT,
                    parts=listed,
                )
            )
        self.status = status
        update = TaskStatusUpdateEvent(task_id=self.id, context_id=self.context_id, status=status)
        self._statuses.append((self._count(), update))

    def add(self, artifact: Artifact, *, append: bool = False, is_last: bool = True) -> None:
        """Have another artifact, or more of one.

        Raises:
            PayloadTooLarge: The task has as many as is kept.
        """
        self.size += artifact.ByteSize()
        if self.size > _MOST_BYTES_OF_ONE:
            raise PayloadTooLarge(f"a task's artifacts have at most {_MOST_BYTES_OF_ONE} bytes")
        update = TaskArtifactUpdateEvent(
            task_id=self.id,
            context_id=self.context_id,
            artifact=artifact,
            append=append,
            last_chunk=is_last,
        )
        self._chunks.append((self._count(), update))

    def _count(self) -> int:
        self._number += 1
        self._changed.set()
        self._changed = asyncio.Event()
        return self._number

    def write(self, *, with_artifacts: bool = True) -> Task:
        """Write the task as it is now."""
        task = Task(id=self.id, context_id=self.context_id, status=self.status)
        task.history.extend(self._history)
        by_id: dict[str, Artifact] = {}
        for _, update in self._chunks if with_artifacts else ():
            known = by_id.get(update.artifact.artifact_id)
            if known is not None and update.append:
                known.parts.extend(update.artifact.parts)
                continue
            task.artifacts.append(update.artifact)
            by_id[update.artifact.artifact_id] = task.artifacts[-1]
        return task

    async def cancel(self) -> None:
        """Cancel the request, at its master too."""
        assert self.runner is not None
        self.runner.cancel()
        await asyncio.wait({self.runner})

    async def settled(self) -> None:
        """Wait until the task is over, or asks."""
        while not (self.is_over or self.is_asking):
            await self._changed.wait()

    async def follow(self) -> AsyncGenerator[Event, None]:
        """Iterate over the task as it is now, and what becomes of it, until it is over or asks."""
        read, told = len(self._chunks), self._number
        yield self.write()
        while True:
            changed, is_last = self._changed, self.is_over or self.is_asking
            new = self._chunks[read:]
            read += len(new)
            said: list[tuple[int, Event]] = [each for each in self._statuses if each[0] > told]
            for number, event in sorted([*new, *said], key=lambda each: each[0]):
                told = number
                yield event
            if is_last:
                return
            await changed.wait()


class Tasks:
    """The tasks that are known, the latest last."""

    def __init__(self) -> None:
        self._known: dict[str, KnownTask] = {}

    def add(self, task: KnownTask) -> None:
        """Know a task, and forget those that are over and for which there is no room.

        Raises:
            Overloaded: There are as many that run as may be.
        """
        running = [each for each in self._known.values() if not each.is_over]
        if len(running) >= _MOST_RUNNING:
            raise Overloaded(f"{_MOST_RUNNING} tasks run already; ask again when some have ended")
        size = sum(each.size for each in self._known.values())
        for each in [each for each in self._known.values() if each.is_over]:
            if len(self._known) < _MOST_KNOWN and size < _MOST_BYTES:
                break
            del self._known[each.id]
            size -= each.size
        self._known[task.id] = task

    def find(self, name: str, owner: Owner) -> KnownTask | None:
        """Find a task of an owner; None if there is none of that name, or none any more."""
        task = self._known.get(name)
        return None if task is None or not _sees(owner, task) else task

    def is_busy(self, member: str) -> bool:
        """Whether a task of a member runs."""
        return any(
            not each.is_over and each.owner.member == member for each in self._known.values()
        )

    def of(self, owner: Owner) -> list[KnownTask]:
        """Return the tasks that an owner sees."""
        return [each for each in self._known.values() if _sees(owner, each)]

    async def close(self) -> None:
        """Cancel what runs."""
        runners = {each.runner for each in self._known.values() if each.runner is not None}
        for runner in runners:
            runner.cancel()
        if runners:
            await asyncio.wait(runners)


class Listed(Protocol):
    """A task in a list, whoever keeps it."""

    @property
    def id(self) -> str:
        """Its name."""

    @property
    def context_id(self) -> str:
        """The conversation that it belongs to."""

    @property
    def status(self) -> TaskStatus:
        """How it is."""

    def write(self, *, with_artifacts: bool = True) -> Task:
        """Write it as it is."""


@attrs.frozen
class Page:
    """A page of a list.

    Attributes:
        tasks: The tasks on it, those first whose status is the latest.
        next_token: The name of the next page, empty if this is the last.
        size: How many there may be on a page.
        total: How many there are on all pages.
    """

    tasks: Sequence[Listed]
    next_token: str
    size: int
    total: int


def page_of(known: Iterable[Listed], asked: ListTasksRequest) -> Page:
    """Find the page of some tasks that is asked for.

    Raises:
        InvalidParamsError: The page is none.
    """
    if asked.HasField("page_size"):
        validate_page_size(asked.page_size)
    after = asked.status_timestamp_after.ToNanoseconds()
    found = [
        each
        for each in known
        if asked.context_id in ("", each.context_id)
        and asked.status in (TaskState.TASK_STATE_UNSPECIFIED, each.status.state)
        and each.status.timestamp.ToNanoseconds() >= after
    ]
    found.sort(key=_place, reverse=True)
    total = len(found)
    if asked.page_token:
        cursor = decode_list_tasks_cursor(asked.page_token)
        if cursor is None:
            raise InvalidParamsError("This is no page token of this agent.")
        found = [each for each in found if (True, *_place(each)) < cursor.sort_key()]
    size = asked.page_size or DEFAULT_LIST_TASKS_PAGE_SIZE
    page, rest = found[:size], found[size:]
    token = ""
    if rest:
        moment, name = _place(page[-1])
        token = encode_list_tasks_cursor(ListTasksCursor(moment, name))
    return Page(page, token, size, total)


def _place(task: Listed) -> tuple[int, str]:
    return task.status.timestamp.ToNanoseconds(), task.id


def _sees(owner: Owner, task: KnownTask) -> bool:
    return owner.member == task.owner.member and owner.room in ("", task.owner.room)
