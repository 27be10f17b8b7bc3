"""Tasks of A2A that the mesh keeps: they outlive the door, and the hub."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from a2a.client import Client, ClientCallContext
from a2a.types import (
    CancelTaskRequest,
    GetTaskRequest,
    InternalError,
    InvalidParamsError,
    ListTasksRequest,
    Part,
    SendMessageConfiguration,
    SubscribeToTaskRequest,
    Task,
    TaskNotFoundError,
    TaskState,
    UnsupportedOperationError,
)
from hypothesis import given, strategies as st

from alephscript import AlephScriptClient, CapabilityError, Request, RequestFor, capability
from alephscript.a2a.durable import LONGEST_CONTEXT, Mark
from alephscript.hub import Access, Handshake, Hub, Identity, Refusal
from alephscript.mesh.limits import Limits
from alephscript.protocol.events import MAX_NAME
from alephscript.testing import InMemoryMesh
from tests.support.a2a_peers import (
    agents_of,
    client_of,
    failure_of,
    heard,
    message,
    results_of,
    task_of,
)
from tests.support.meshes import at_once
from tests.support.processes import Start

pytestmark = pytest.mark.anyio

AT_ONCE = SendMessageConfiguration(return_immediately=True)


@attrs.frozen
class Approve(RequestFor[bool], capability="APPROVE"):
    """May it be done?"""

    what: str


class Clerk(AlephScriptClient):
    """Works as long as it has to, and asks back."""

    rooms = ("OFFICE",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, backoff=at_once, **kwargs)
        self.go = asyncio.Event()
        self.working = asyncio.Event()
        self.stopped = asyncio.Event()

    @capability("WORK")
    async def work(self, request: Request[dict[str, Any]]) -> dict[str, Any]:
        """Work until it may end."""
        request.progress(0.5, "half way")
        self.working.set()
        try:
            await self.go.wait()
        finally:
            self.stopped.set()
        return {"did": request.payload}

    @capability("SEND")
    async def send(self, request: Request[dict[str, str]]) -> dict[str, Any]:
        """Send something, if that may be done."""
        try:
            return {"sent": await request.ask(Approve(request.payload["to"]))}
        except CapabilityError as error:
            return {"refused": error.code}


@contextlib.asynccontextmanager
async def asking(
    mesh: InMemoryMesh | str, *, streaming: bool = False, **options: Any
) -> AsyncIterator[Client]:
    """A client of a door of its own."""
    async with agents_of(mesh, **options) as url, client_of(url, streaming=streaming) as client:
        yield client


async def begun(client: Client, *parts: Any, skill: str, **fields: Any) -> Task:
    """A task that has just begun."""
    asked = message(*parts, skill=skill, configuration=AT_ONCE)
    for name, value in fields.items():
        setattr(asked.message, name, value)
    return await task_of(client, asked)


async def drained(events: AsyncIterator[Any]) -> None:
    """Read all that comes."""
    async for _ in events:
        pass


def got(client: Client, task: Task, context: ClientCallContext | None = None) -> Any:
    """The task as it is now."""
    return client.get_task(GetTaskRequest(id=task.id), context=context)


async def test_a_task_outlives_the_door(mesh: InMemoryMesh) -> None:
    """Got, listed, subscribed to and finished at the next one, by the same names."""
    async with Clerk(mesh) as clerk:
        async with asking(mesh) as client:
            task = await begun(client, {"a": 1}, skill="WORK", context_id="mine")
            other = await begun(client, {"a": 2}, skill="WORK")
            await clerk.working.wait()
        async with asking(mesh, streaming=True) as client:
            found = await got(client, task)
            assert (found.id, found.context_id) == (task.id, "mine")
            assert found.status.state == TaskState.TASK_STATE_WORKING
            assert found.status.message.parts[0].text == "half way"
            mine = await client.list_tasks(ListTasksRequest(context_id="mine"))
            assert [each.id for each in mine.tasks] == [task.id]
            listed = await client.list_tasks(ListTasksRequest())
            assert {each.id: each.context_id for each in listed.tasks} == {
                task.id: "mine",
                other.id: other.context_id,
            }
            following = client.subscribe(SubscribeToTaskRequest(id=task.id))
            assert (await anext(following)).task.context_id == "mine"
            clerk.go.set()
            events = [each async for each in following]
            kinds = [each.WhichOneof("payload") for each in events]
            assert kinds[-2:] == ["artifact_update", "status_update"]
            assert events[-1].status_update.status.state == TaskState.TASK_STATE_COMPLETED
        async with asking(mesh, streaming=True) as client:
            assert results_of(await got(client, task)) == [{"did": {"a": 1}}]
            ended = ListTasksRequest(context_id="mine", include_artifacts=True)
            (again,) = (await client.list_tasks(ended)).tasks
            assert results_of(again) == [{"did": {"a": 1}}]
            with pytest.raises(UnsupportedOperationError, match="get it instead"):
                await anext(client.subscribe(SubscribeToTaskRequest(id=task.id)))


@pytest.mark.parametrize("refuses", [False, True])
async def test_a_question_is_answered_at_the_next_door(
    mesh: InMemoryMesh, *, refuses: bool
) -> None:
    """By a value, or by a refusal; one that makes no sense is asked for again."""
    async with Clerk(mesh):
        async with asking(mesh) as client:
            task = await task_of(client, message({"to": "Ana"}, skill="SEND"))
            assert task.status.state == TaskState.TASK_STATE_INPUT_REQUIRED
        async with asking(mesh) as client:
            assert (await got(client, task)).status == task.status
            wrong = message("maybe")
            wrong.message.task_id = task.id
            again = await task_of(client, wrong)
            assert again.status.state == TaskState.TASK_STATE_INPUT_REQUIRED
            assert "APPROVE takes JSON" in again.status.message.parts[0].text
            answer = message({"code": "not_today", "message": "no"} if refuses else True)
            answer.message.task_id = task.id
            if refuses:
                answer.message.metadata.update({"refused": True})
            done = await task_of(client, answer)
            assert results_of(done) == [{"refused": "not_today"} if refuses else {"sent": True}]
            with pytest.raises(UnsupportedOperationError, match="takes no message"):
                await heard(client, answer)


async def test_a_task_is_cancelled_by_the_next_door(mesh: InMemoryMesh) -> None:
    """At its master, too."""
    async with Clerk(mesh) as clerk:
        async with asking(mesh) as client:
            task = await begun(client, {}, skill="WORK")
            await clerk.working.wait()
        async with asking(mesh) as client:
            cancelled = await client.cancel_task(CancelTaskRequest(id=task.id))
            assert cancelled.status.state == TaskState.TASK_STATE_CANCELED
            await clerk.stopped.wait()


async def test_a_task_outlives_the_hub(tmp_path: Path, port: int) -> None:
    """Whoever waits for it waits on, and hears of its end."""
    async with contextlib.AsyncExitStack() as stack:
        hub = await stack.enter_async_context(Hub(port=port, data=tmp_path))
        url = hub.url
        clerk = await stack.enter_async_context(Clerk(url))
        client = await stack.enter_async_context(asking(url))
        waiting = asyncio.create_task(task_of(client, message({"b": 2}, skill="WORK")))
        await clerk.working.wait()
        await hub.close()
        async with Hub(port=port, data=tmp_path):
            await clerk.ready()
            clerk.go.set()
            assert results_of(await waiting) == [{"did": {"b": 2}}]


async def test_a_hub_that_has_forgotten_a_task_says_so(port: int) -> None:
    """A hub without a folder forgets with its process."""
    async with contextlib.AsyncExitStack() as stack:
        hub = await stack.enter_async_context(Hub(port=port))
        clerk = await stack.enter_async_context(Clerk(hub.url))
        client = await stack.enter_async_context(asking(hub.url, streaming=True))
        following = client.send_message(message({}, skill="WORK"))
        task = (await anext(following)).task
        await clerk.working.wait()
        await hub.close()
        with pytest.raises(InternalError, match="not_connected: there is no hub"):
            await got(client, task)
        async with Hub(port=port):
            with pytest.raises(TaskNotFoundError):
                await drained(following)
            with pytest.raises(TaskNotFoundError):
                await got(client, task)


async def test_texts_stay_texts_for_who_takes_nothing_else(mesh: InMemoryMesh) -> None:
    """At the next door, which was not told so."""
    asked = message({"c": 3}, skill="WORK")
    asked.configuration.accepted_output_modes.append("text/plain")
    async with Clerk(mesh) as clerk:
        clerk.go.set()
        async with asking(mesh) as client:
            task = await task_of(client, asked)
        async with asking(mesh) as client:
            (artifact,) = (await got(client, task)).artifacts
            assert artifact.parts[0].text == '{"did":{"c":3}}'


class ByName(Access):
    """Lets in whoever says a name, with all rights."""

    def authenticate(self, auth: Any, handshake: Handshake) -> Identity | Refusal:
        """Take the part of the token before the colon for a name."""
        name, _, _ = str((auth or {}).get("token") or "").partition(":")
        return Identity(usuario=name) if name else Refusal()


async def test_a_task_is_shown_to_whoever_has_begun_it_and_to_nobody_else() -> None:
    """Whatever token they have now, and whatever else they may ask; of what came by A2A."""

    def bearer(token: str) -> ClientCallContext:
        return ClientCallContext(service_parameters={"Authorization": f"Bearer {token}"})

    async with (
        Hub(port=0, access=ByName()) as hub,
        Clerk(hub.url, token="clerk:1") as clerk,
        AlephScriptClient(hub.url, token="ana:0") as ana,
        asking(hub.url, streaming=True, token="door:1") as client,
    ):
        asked = message({}, skill="WORK")
        task = (await anext(client.send_message(asked, context=bearer("ana:1")))).task
        await clerk.working.wait()
        assert (await got(client, task, bearer("ana:2"))).id == task.id
        by_other_means = await ana.submit("WORK", {}, room="OFFICE")
        for token, name in (("eva:1", task.id), ("ana:1", by_other_means.id)):
            context = bearer(token)
            with pytest.raises(TaskNotFoundError):
                await client.get_task(GetTaskRequest(id=name), context=context)
            with pytest.raises(TaskNotFoundError):
                await client.cancel_task(CancelTaskRequest(id=name), context=context)
            with pytest.raises(TaskNotFoundError):
                await anext(client.subscribe(SubscribeToTaskRequest(id=name), context=context))
        for token, count in (("ana:2", 1), ("eva:1", 0)):
            page = await client.list_tasks(ListTasksRequest(), context=bearer(token))
            assert page.total_size == count


async def test_what_a_hub_does_not_take_is_a_task_that_has_failed() -> None:
    """In the words of the hub."""
    async with (
        Hub(port=0, limits=Limits(requests_per_client=1)) as hub,
        Clerk(hub.url),
        asking(hub.url) as client,
    ):
        await begun(client, {}, skill="WORK")
        failed = await task_of(client, message({}, skill="WORK"))
        code, text = failure_of(failed)
        assert (code, "have not ended yet" in text) == ("overloaded", True)
        assert (await got(client, failed)).status == failed.status
        long = message({}, skill="WORK")
        long.message.context_id = "x" * (LONGEST_CONTEXT + 1)
        with pytest.raises(InvalidParamsError, match="at most 200"):
            await heard(client, long)


@given(st.text(min_size=1, max_size=LONGEST_CONTEXT), st.booleans())
def test_a_key_says_what_it_was_made_of(context: str, takes_data: bool) -> None:
    """Whatever a context is called; and it is short enough for a hub."""
    mark = Mark(context, takes_data)
    key = mark.write()
    assert len(key) <= MAX_NAME
    assert Mark.read(key) == mark
    assert key != mark.write()


@given(st.none() | st.text())
def test_keys_of_others_say_nothing(key: str | None) -> None:
    """Whatever they are."""
    assert Mark.read(key) is None


async def test_a_hub_that_keeps_no_tasks_is_asked_by_requests(
    mesh: InMemoryMesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As hubs of older versions are; a task is known here as long as this process is."""
    hub: Any = mesh._carriers["/runtime"].mesh
    hub = hub._mesh  # behind the faults
    find = hub._find_handler
    monkeypatch.setattr(
        hub, "_find_handler", lambda name: None if name.startswith("TASK_") else find(name)
    )
    async with Clerk(mesh) as clerk:
        async with asking(mesh) as client:
            working = asyncio.create_task(task_of(client, message({"d": 4}, skill="WORK")))
            await clerk.working.wait()
            clerk.go.set()
            done = await working
            assert results_of(done) == [{"did": {"d": 4}}]
            assert (await got(client, done)).context_id == done.context_id
            assert (await client.list_tasks(ListTasksRequest())).total_size == 1
        async with asking(mesh) as client:
            with pytest.raises(TaskNotFoundError):
                await got(client, done)


@pytest.mark.slow
async def test_door_and_hub_are_killed(start: Start, port: int, tmp_path: Path) -> None:
    """The door alone, then both at once; the task is there, in its context, and goes on."""
    command = ("-m", "alephscript", "hub", "--port", f"{port}", "--data", str(tmp_path))
    url = f"http://127.0.0.1:{port}"
    door = ("-m", "alephscript", "a2a", "--url", url, "--port", "0")
    hub = await start(*command, ready=b"listening on")
    async with Clerk(url, retry_open=True) as clerk:
        first = await start(*door, ready=b"listening on")
        async with client_of(first.url, streaming=False) as client:
            task = await begun(client, {"to": "Ana"}, skill="SEND", context_id="mine")
        first.send(signal.SIGKILL)
        second = await start(*door, ready=b"listening on")
        async with client_of(second.url, streaming=False) as client:
            found = await got(client, task)
            while found.status.state != TaskState.TASK_STATE_INPUT_REQUIRED:
                found = await got(client, task)
            assert found.context_id == "mine"
        for each in (hub, second):
            each.send(signal.SIGKILL)
        await hub.ended()
        await start(*command, ready=b"listening on")
        third = await start(*door, ready=b"listening on")
        await clerk.ready()
        async with client_of(third.url, streaming=False) as client:
            answer = message(Part(text="true"))
            answer.message.task_id = task.id
            done = await task_of(client, answer)
            assert (done.context_id, results_of(done)) == ("mine", [{"sent": True}])
