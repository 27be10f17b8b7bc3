"""Where a hub keeps tasks, and how long: what it is told, and what makes no sense."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from alephscript import AlephScriptClient, Request, Task, UnknownTask, capability
from alephscript.hub import Hub, HubError

pytestmark = pytest.mark.anyio


class Bot(AlephScriptClient):
    """Answers at once."""

    rooms = ("WORK",)

    @capability("DO")
    async def do(self) -> None:
        """Do nothing."""

    @capability("ASK")
    async def ask(self, request: Request[Any]) -> Any:
        """Ask, and wait."""
        return await request.ask("HOW")


async def poll(task: Task[Any]) -> None:
    """Ask as long as there is an answer."""
    while True:
        await task.status()


def test_a_folder_and_a_redis_together_are_refused(tmp_path: Path) -> None:
    """There is one journal; the message says which of the two to leave out."""
    with pytest.raises(HubError, match=r"leave data \(--data\) out"):
        Hub(data=tmp_path, redis="redis://127.0.0.1:6379")


def test_an_empty_name_is_no_folder() -> None:
    """It comes of a variable that is not set: files would be strewn about."""
    with pytest.raises(HubError, match=r"\(--data\) names no folder"):
        Hub(data="")


@pytest.mark.parametrize("room", ["", "A\nB", "x" * 300])
def test_a_log_is_of_rooms(room: str) -> None:
    """An empty name comes of a variable that is not set: nothing would be kept."""
    with pytest.raises(HubError, match=r"\(--log\) is no room"):
        Hub(log=["AAIA_ROOM", room])


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
def test_tasks_are_kept_for_more_than_no_time(seconds: float) -> None:
    """A submitter would never see how its task has ended."""
    with pytest.raises(HubError, match="--keep-tasks"):
        Hub(keep_tasks=seconds)


async def test_tasks_that_have_ended_are_kept_so_long_and_no_longer() -> None:
    """Then they are as unknown as any other."""
    async with Hub(port=0, keep_tasks=0.3) as hub, Bot(hub.url), AlephScriptClient(hub.url) as me:
        task = await me.submit("DO")
        await task.result()
        with pytest.raises(UnknownTask):
            await poll(task)


async def test_a_hub_that_closes_waits_for_no_run_of_a_task(tmp_path: Path) -> None:
    """Nor for what one asks: both go on at the next hub."""
    async with Hub(port=0, data=tmp_path) as hub, Bot(hub.url), AlephScriptClient(hub.url) as me:
        task = await me.submit("ASK")
        async for status in task.updates():
            if status.state == "asking":
                break
        async with asyncio.timeout(20):
            await hub.drain(60)
