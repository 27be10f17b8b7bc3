"""Requests as tasks: what is kept of them, for whom, and how much."""

from __future__ import annotations

import asyncio

import pytest
from a2a.types import (
    Artifact,
    InvalidParamsError,
    ListTasksRequest,
    Message,
    Part,
    Task,
    TaskArtifactUpdateEvent,
    TaskState,
    TaskStatusUpdateEvent,
)
from hypothesis import given, settings, strategies as st

from alephscript.a2a import tasks
from alephscript.a2a.tasks import Event, KnownTask, Owner, Tasks, page_of
from alephscript.errors import Overloaded, PayloadTooLarge
from tests.support.properties import examples

pytestmark = pytest.mark.anyio

ME = Owner("me", "")
WORKING, COMPLETED = TaskState.TASK_STATE_WORKING, TaskState.TASK_STATE_COMPLETED


def known(name: str, owner: Owner = ME) -> KnownTask:
    """A task that was asked for."""
    return KnownTask(owner, Message(message_id="m", task_id=name, context_id="c"))


def artifact(text: str) -> Artifact:
    """An artifact of a text."""
    return Artifact(artifact_id="a", parts=[Part(text=text)])


def test_a_task_that_is_over_stays_as_it_is() -> None:
    """Whatever comes later."""
    task = known("1")
    task.become(COMPLETED)
    task.become(TaskState.TASK_STATE_FAILED)
    assert task.write().status.state == COMPLETED


def test_the_oldest_that_are_over_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that run never are; as many as may be run, and no more."""
    monkeypatch.setattr(tasks, "_MOST_KNOWN", 3)
    monkeypatch.setattr(tasks, "_MOST_RUNNING", 3)
    all_ = Tasks()
    ended = [known(name) for name in ("a", "b", "c")]
    for each in ended:
        all_.add(each)
    with pytest.raises(Overloaded):
        all_.add(known("d"))
    ended[1].become(COMPLETED)
    all_.add(known("d"))
    assert all_.find("b", ME) is None
    assert all_.find("a", ME) is ended[0]


def test_artifacts_of_a_task_and_of_all_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """In bytes."""
    monkeypatch.setattr(tasks, "_MOST_BYTES_OF_ONE", 1000)
    monkeypatch.setattr(tasks, "_MOST_BYTES", 1500)
    all_ = Tasks()
    for name in ("a", "b"):
        task = known(name)
        all_.add(task)
        task.add(artifact("x" * 800))
        with pytest.raises(PayloadTooLarge):
            task.add(artifact("x" * 800))
        task.become(COMPLETED)
    all_.add(known("c"))
    assert all_.find("a", ME) is None


def test_pages_are_those_of_the_owner() -> None:
    """Each once, the latest first; a token of another kind is refused."""
    all_ = Tasks()
    for number in range(7):
        all_.add(known(f"{number}", Owner("me", "R" if number % 2 else "S")))
    all_.add(known("other", Owner("other", "R")))
    names, token = [], ""
    while True:
        page = page_of(all_.of(ME), ListTasksRequest(page_size=2, page_token=token))
        names += [each.id for each in page.tasks]
        token = page.next_token
        if not token:
            break
    assert sorted(names) == [f"{number}" for number in range(7)]
    assert page_of(all_.of(Owner("me", "R")), ListTasksRequest()).total == 3
    with pytest.raises(InvalidParamsError):
        page_of(all_.of(ME), ListTasksRequest(page_token="none"))
    with pytest.raises(InvalidParamsError):
        page_of(all_.of(ME), ListTasksRequest(page_size=1000))


STEPS = st.lists(st.sampled_from(["part", "status"]), max_size=40)


async def read(task: KnownTask, heard: list[Event]) -> None:
    """Follow a task until it is over."""
    heard += [each async for each in task.follow()]


def texts_of(heard: list[Event]) -> list[str]:
    """The texts of artifacts."""
    artifacts: list[Artifact] = []
    for event in heard:
        if isinstance(event, Task):
            artifacts += event.artifacts
        elif isinstance(event, TaskArtifactUpdateEvent):
            artifacts.append(event.artifact)
    return [part.text for each in artifacts for part in each.parts]


@given(STEPS, st.integers(0, 40), st.integers(1, 5))
@settings(max_examples=examples(200))
def test_whoever_follows_a_task_misses_nothing_of_it(
    steps: list[str], begin: int, pace: int
) -> None:
    """However slow, from whenever on: what was followed adds up to the task, in order."""

    async def follow() -> None:
        task, heard = known("1"), list[Event]()
        reading = None
        for number, step in enumerate(steps):
            if number == begin:
                reading = asyncio.ensure_future(read(task, heard))
            if number % pace == 0:
                await asyncio.sleep(0)
            if step == "part":
                task.add(artifact(f"{number}"), append="part" in steps[:number])
            else:
                task.become(WORKING)
        task.become(COMPLETED)
        await (reading or read(task, heard))
        assert texts_of(heard) == [f"{at}" for at, step in enumerate(steps) if step == "part"]
        assert not isinstance(heard[-1], TaskArtifactUpdateEvent)
        assert heard[-1].status.state == COMPLETED

    asyncio.run(follow())


async def test_a_reader_who_is_slow_hears_the_last_statuses() -> None:
    """And the end."""
    task = known("1")
    following = task.follow()
    await anext(following)
    for _ in range(1000):
        task.become(WORKING)
    task.become(COMPLETED)
    heard = [each async for each in following]
    assert len(heard) <= 256
    assert isinstance(heard[-1], TaskStatusUpdateEvent)
    assert heard[-1].status.state == COMPLETED
