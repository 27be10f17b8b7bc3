"""Tasks at whoever submits them: handed over to the hub, asked about, across lost links.

May go in: what a client asks its hub about tasks, and what it waits for. May not: running one
(`runs`), requests that end with their asker (`asking`).
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import functools
import uuid
from collections.abc import AsyncIterator, Mapping
from typing import Any, Generic, Literal, Self, TypeVar, cast, overload

import attrs
import msgspec

from alephscript import contracts
from alephscript.client.arguments import check_seconds
from alephscript.client.asking import Asker, read_request
from alephscript.client.lifecycle import State
from alephscript.client.messages import Event, Progress
from alephscript.client.streams import EventStream, Streams
from alephscript.errors import (
    DeadlineExceeded,
    LinkLost,
    NotConnected,
    RequestError,
    UnknownEvent,
    error_from_answer,
)
from alephscript.protocol import events
from alephscript.protocol.events import Answer, HubEvent
from alephscript.protocol.tasks import DONE, ENDED, LONGEST_TASK, name_question

__all__ = ["Task", "TaskState", "TaskStatus", "Tasks"]

R = TypeVar("R")
T = TypeVar("T")

TaskState = Literal["queued", "running", "asking", "done", "failed", "cancelled"]
"""The states of a task; the last three are for good."""

_ROUND = 20.0
"""Seconds after which a client that waits for a task asks anew: a lost word is no matter."""

_LOOK = 1.0
"""Seconds that the hub has to say that a task has ended, however short the waiting is to be."""

_UNREAD = 1024
"""Changes that wait for a reader; beyond, the oldest are dropped."""


@attrs.frozen
class TaskStatus:
    """How a task is.

    Attributes:
        id: Its id.
        capability: Name of the capability.
        room: The room that is asked; None as long as no master was found.
        state: ``queued``, ``running``, ``asking``, ``done``, ``failed`` or ``cancelled``.
        progress: What its method has reported last.
        question: What its method asks whoever uses `Task.answer`; None if it asks nothing.
        attempts: How many masters have been asked.
        created: When it was submitted.
        updated: When it last changed.
        result: The answer as JSON, once it is done.
        error: The reason why it has failed, or was cancelled; the last checkpoint is under
            ``details[0]["checkpoint"]``.
    """

    id: str
    capability: str
    room: str | None
    state: TaskState
    progress: Progress | None
    question: dict[str, Any] | None
    attempts: int
    created: dt.datetime
    updated: dt.datetime
    result: dict[str, Any] | None = None
    error: RequestError | None = None

    @property
    def has_ended(self) -> bool:
        """Whether the task will never change again."""
        return self.state in ENDED


class Task(Generic[R]):
    """A task at the hub; it goes on whoever looks at it, or does not.

    Attributes:
        id: Its id. Whoever may ask the capability may use it.
    """

    def __init__(self, id: str, client: Tasks, reply: Any = None) -> None:
        self.id = id
        self._client = client
        self._reply = reply
        self._question: dict[str, Any] | None = None  # as it was seen last

    def __repr__(self) -> str:
        return f"<Task {self.id}>"

    async def result(self, timeout: float | None = None) -> R:
        """Wait until the task has ended, across lost links and restarts of the hub.

        Args:
            timeout: Seconds to wait; 0 to have what there is; None for as long as it takes.

        Returns:
            The answer, as `AlephScriptClient.request` would return it.

        Raises:
            TimeoutError: The time is over; the task goes on.
            RequestError: The task has failed, or was cancelled: the subclass and ``code`` say why;
                or there is no such task. A `DeadlineExceeded` is the task's own.
            ContractError: The answer does not fit the reply.
            Closed: The client was closed meanwhile.
        """
        check_seconds("result", "timeout", timeout)
        clock = asyncio.get_running_loop().time
        ends = None if timeout is None else clock() + timeout
        until = None if ends is None else max(ends, clock() + _LOOK)
        while True:
            left = _ROUND if ends is None else min(_ROUND, ends - clock())
            try:
                async with asyncio.timeout_at(until):
                    answer = await self._client._alephscript_ask_task(  # noqa: SLF001 - its half
                        HubEvent.TASK_GET,
                        {"id": self.id, "waitMs": max(0, round(left * 1000))},
                        seconds=max(0.0, left) + events.DEFAULT_TIMEOUT,
                        patience=None,
                    )
            except TimeoutError as error:
                if isinstance(error, DeadlineExceeded):
                    continue  # a hub that says nothing; the link shows in time whether it is there
                raise _goes_on(self.id, timeout) from None
            fields = _task_of(answer)
            if fields["state"] == DONE:
                return cast("R", self._read(fields.get("result")))
            if fields["state"] in ENDED:
                raise error_from_answer(fields["error"])
            if ends is not None and clock() >= ends:
                raise _goes_on(self.id, timeout)

    async def status(self) -> TaskStatus:
        """Ask how the task is.

        Raises:
            RequestError: There is no such task, or there was no answer.
        """
        return await self._ask(HubEvent.TASK_GET)

    async def updates(self) -> AsyncIterator[TaskStatus]:
        """Iterate over how the task is now, and each change of that, until the task has ended.

        Changes that happened while the link was lost are told as one.

        Raises:
            RequestError: There is no such task.
            Closed: The client was closed meanwhile.
        """
        client = self._client
        changes = client._alephscript_streams.open(  # noqa: SLF001 - its half
            None, frozenset({HubEvent.TASK_CHANGED}), _UNREAD
        )
        last: TaskStatus | None = None
        with contextlib.closing(changes):
            while True:
                status = await self._ask(HubEvent.TASK_GET, watch=True, patience=None)
                if status != last:
                    yield status
                last = status
                while not last.has_ended:
                    event = await client._alephscript_next(changes)  # noqa: SLF001 - its half
                    if event is None:
                        break  # the link is lost, or silent: ask
                    fields = _fields_of(event, self.id)
                    if fields is None:
                        continue
                    if fields["state"] in ENDED:
                        break  # members of the room hear of the end without the result
                    status = self._note(_status(fields))
                    if status.updated <= last.updated:
                        continue  # it was said before the hub was asked
                    last = status
                    yield last
                if last.has_ended:
                    return

    async def cancel(self) -> TaskStatus:
        """Cancel the task; one that has ended stays as it is.

        Returns:
            How the task is then.

        Raises:
            RequestError: There is no such task, or there was no answer.
        """
        return await self._ask(HubEvent.TASK_CANCEL)

    async def answer(self, answer: Any) -> TaskStatus:
        """Answer what the task's method asks: what this object has last told that it asks, if any.

        Args:
            answer: A contract or a JSON value; or an error, which the method's `Request.ask` is to
                raise in its place.

        Raises:
            Conflict: The method asks nothing, or something else by now.
            RequestError: There is no such task, or there was no answer.
        """
        payload = answer.answer() if isinstance(answer, RequestError) else answer
        fields: dict[str, Any] = {"payload": msgspec.Raw(contracts.write(payload))}
        # Without a key, an answer that is sent again when a link was lost could be that of the
        # next question.
        fields["key"] = uuid.uuid4().hex
        if self._question is not None:
            fields["about"] = name_question(self._question)
        return await self._ask(HubEvent.TASK_ANSWER, **fields)

    async def _ask(
        self, event: str, *, patience: float | None = events.DEFAULT_TIMEOUT, **fields: Any
    ) -> TaskStatus:
        answer = await self._client._alephscript_ask_task(  # noqa: SLF001 - its half
            event, {"id": self.id, **fields}, seconds=events.DEFAULT_TIMEOUT, patience=patience
        )
        return self._note(_status(_task_of(answer)))

    def _note(self, status: TaskStatus) -> TaskStatus:
        question = status.question  # without its payload if it came as a member of the room
        self._question = question if question and "payload" in question else None
        return status

    def _read(self, result: Any) -> Any:
        result = {} if result is None else result
        return result if self._reply is None else contracts.structure_reply(result, self._reply)


class Tasks(Asker):
    """Submits tasks, and finds them again."""

    _alephscript_streams: Streams

    @overload
    async def submit(
        self,
        request: contracts.RequestFor[T],
        /,
        *,
        room: str | None = None,
        timeout: float | None = None,
        key: str | None = None,
    ) -> Task[T]: ...
    @overload
    async def submit(
        self,
        capability: str,
        payload: Any = None,
        /,
        *,
        room: str | None = None,
        timeout: float | None = None,
        key: str | None = None,
    ) -> Task[dict[str, Any]]: ...
    async def submit(
        self,
        request: str | contracts.RequestFor[Any],
        payload: Any = None,
        /,
        *,
        room: str | None = None,
        timeout: float | None = None,
        key: str | None = None,
    ) -> Task[Any]:
        """Hand a request over to the hub as a task, which outlives this client.

        When this returns, the task cannot be lost any more, as far as the hub's journal is durable
        (``Hub(data=…)``). It waits for a master until its deadline.

        ::

            task = await client.submit("AAIA_PLAY_FIA", {"sessionId": sid}, timeout=3600)
            print(task.id)                             # for whoever comes back
            answer = await task.result()

        Args:
            request: Name of the capability, or a typed request that names it.
            payload: With a name: a JSON value, or a contract.
            room: The room to ask; by default one that offers the capability.
            timeout: Seconds that the task may take, waiting included, 30 days at the most; None for
                a day.
            key: Makes submitting idempotent: the same key of the same ``usuario`` (of the same
                identity, where the hub asks for one) gives the same task.

        Raises:
            RequestError: The hub did not take the task; the subclass and ``code`` say why.
            ContractError: The payload has no wire form.
        """
        capability, payload, reply = read_request(request, payload, None)
        check_seconds("submit", "timeout", timeout)
        message: dict[str, Any] = {
            "capability": events.capability_name(events.request_event(capability)),
            "payload": msgspec.Raw(contracts.write(payload)),
            # Made up where none is given: a link that is lost now must not make two tasks of one.
            "key": uuid.uuid4().hex if key is None else key,
        }
        if room is not None:
            message["room"] = room
        if timeout is not None:
            message["timeoutMs"] = round(min(timeout, LONGEST_TASK) * 1000)
        patience = self._alephscript_timeout or events.DEFAULT_TIMEOUT
        submitting = functools.partial(
            self._alephscript_ask_task, HubEvent.TASK_SUBMIT, seconds=patience, patience=patience
        )
        if self._alephscript_tracing is None:
            answer = await submitting(message)
        else:
            event = events.capability_event(message["capability"])
            with self._alephscript_tracing.asking(event, room) as trace:
                answer = await submitting({**message, **trace})
        return Task(_task_of(answer)["id"], self, reply)

    def task(self, id: str) -> Task[dict[str, Any]]:
        """Return a task by its id; whether there is such a task shows when it is asked."""
        return Task(id, self)

    async def tasks(
        self, room: str | None = None, state: TaskState | None = None
    ) -> list[TaskStatus]:
        """List the tasks that this client may use, the newest first, 1,000 at the most.

        Args:
            room: Only tasks of this room.
            state: Only tasks in this state.

        Raises:
            RequestError: There was no answer, or a failed one.
        """
        query = {"room": room, "state": state}
        answer = await self._alephscript_ask_task(
            HubEvent.TASK_LIST,
            {key: value for key, value in query.items() if value is not None},
            seconds=events.DEFAULT_TIMEOUT,
            patience=events.DEFAULT_TIMEOUT,
        )
        listed = answer.get("tasks")
        if not isinstance(listed, list):
            raise _no_tasks()
        return [_status(each) for each in listed]

    # Inside

    async def _alephscript_own_task(self, id: str) -> tuple[TaskStatus, str | None]:
        """Ask how a task is that this client has submitted, in this life or in one before.

        Returns:
            How it is, and the key that it was submitted with.

        Raises:
            RequestError: This client has no such task, or there was no answer.
        """
        fields = _task_of(await self._alephscript_ask_own(HubEvent.TASK_GET, {"id": id}))
        return _status(fields), fields.get("key")

    async def _alephscript_own_tasks(self, room: str | None) -> list[tuple[TaskStatus, str | None]]:
        """List such tasks with their keys, as `tasks` does."""
        query = {} if room is None else {"room": room}
        answer = await self._alephscript_ask_own(HubEvent.TASK_LIST, query)
        listed = answer.get("tasks")
        if not isinstance(listed, list):
            raise _no_tasks()
        return [(_status(each), each.get("key")) for each in listed]

    async def _alephscript_ask_own(self, event: str, query: Mapping[str, Any]) -> Answer:
        return await self._alephscript_ask_task(
            event,
            {**query, "own": True},
            seconds=events.DEFAULT_TIMEOUT,
            patience=events.DEFAULT_TIMEOUT,
        )

    async def _alephscript_ask_task(
        self, event: str, message: Mapping[str, Any], *, seconds: float, patience: float | None
    ) -> Answer:
        """Ask the hub about a task, and again if the link is lost in it: nothing happens twice.

        Args:
            event: The event.
            message: Its payload.
            seconds: How long the hub may take.
            patience: Seconds to wait for a lost link; None for as long as it takes.
        """
        life = self._alephscript_life
        life.check_loop()
        if patience is not None and self._alephscript_when_offline == "fail":
            life.present_session()  # raises if there is none, as for requests
        async with _Patience(patience) as scope:
            while True:
                if life.session is None and life.state is not State.NEW:
                    await life.until(State.READY)
                session = life.present_session()
                scope.stop()
                try:
                    return await session.dialect.tell(event, message, seconds)
                except (LinkLost, NotConnected):
                    scope.start()
                    while life.session is session:
                        await session.is_gone.wait()
                        await asyncio.sleep(0)

    async def _alephscript_next(self, changes: EventStream) -> Event[Any] | None:
        """Return the next event; None if the link is lost, or nothing was said for long."""
        session = self._alephscript_life.session
        if session is None:
            return None
        gone = asyncio.ensure_future(session.is_gone.wait())
        said = asyncio.ensure_future(changes.wait())
        try:
            await asyncio.wait({gone, said}, timeout=_ROUND, return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()
            said.cancel()
        return changes.take()


class _Patience:
    """The time that is waited for links, all times together, and not for answers."""

    def __init__(self, seconds: float | None) -> None:
        self._left = seconds
        self._scope = asyncio.timeout(seconds)
        self._clock = asyncio.get_running_loop().time

    async def __aenter__(self) -> Self:
        await self._scope.__aenter__()
        return self

    def stop(self) -> None:
        """Wait for an answer from now on."""
        when = self._scope.when()
        if when is not None:
            self._left = max(0.0, when - self._clock())
        self._scope.reschedule(None)

    def start(self) -> None:
        """Wait for a link from now on."""
        self._scope.reschedule(None if self._left is None else self._clock() + self._left)

    async def __aexit__(self, *exc_info: object) -> None:
        try:
            await self._scope.__aexit__(*exc_info)  # type: ignore[arg-type]
        except TimeoutError:
            raise NotConnected("the link to the hub did not come back in time") from None


def _task_of(answer: Answer) -> dict[str, Any]:
    """Read the task that an answer tells of."""
    fields = answer.get("task")
    if not isinstance(fields, dict) or not isinstance(fields.get("id"), str):
        raise _no_tasks()
    return fields


def _no_tasks() -> UnknownEvent:
    return UnknownEvent("this hub keeps no tasks; one of alephscript does")


def _fields_of(event: Event[Any], id: str) -> dict[str, Any] | None:
    """Read what a TASK_CHANGED says of a task; None if it is about another one."""
    fields = event.data.get("task") if isinstance(event.data, dict) else None
    return fields if isinstance(fields, dict) and fields.get("id") == id else None


def _status(fields: Mapping[str, Any]) -> TaskStatus:
    progress, error = fields.get("progress"), fields.get("error")
    return TaskStatus(
        id=fields["id"],
        capability=fields["capability"],
        room=fields.get("room"),
        state=fields["state"],
        progress=None
        if progress is None
        else Progress(progress["fraction"], progress.get("message", "")),
        question=fields.get("question"),
        attempts=fields["attempts"],
        created=dt.datetime.fromisoformat(fields["created"]),
        updated=dt.datetime.fromisoformat(fields["updated"]),
        result=fields.get("result"),
        error=None if error is None else error_from_answer(error),
    )


def _goes_on(id: str, timeout: float | None) -> TimeoutError:
    return TimeoutError(f"the task {id} has not ended within {timeout or 0:g} s, and goes on")
