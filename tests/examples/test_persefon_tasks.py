"""AAIA_PLAY_FIA as a task, and sessions that outlive PersefonBot."""

from __future__ import annotations

import asyncio
import signal
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from alephscript import (
    AlephScriptClient,
    Cancelled,
    CapabilityError,
    Overloaded,
    Task,
    TaskStatus,
    aaia,
)
from alephscript.aaia import AAIA_ROOM, RunState
from alephscript.testing import InMemoryMesh
from examples.aaia_runtime import runtime
from examples.aaia_runtime.records import SessionRecord, read_record
from examples.aaia_runtime.store import StoreUnavailable
from examples.persefon_bot import PersefonBot
from tests.faults.task_master import at_once
from tests.support.processes import Process, Start

pytestmark = pytest.mark.anyio

FAST = {"pulso": 1}
"""A mundo that hardly waits."""

Played = tuple[AlephScriptClient, InMemoryMesh]


@pytest.fixture
async def mesh() -> AsyncIterator[InMemoryMesh]:
    """A mesh without sockets."""
    async with InMemoryMesh() as mesh:
        yield mesh


@pytest.fixture
async def client(mesh: InMemoryMesh) -> AsyncIterator[AlephScriptClient]:
    """A client whose requests wait for a master."""
    async with AlephScriptClient(mesh, usuario="ana") as client:
        await client.subscribe(AAIA_ROOM)
        yield client


@asynccontextmanager
async def a_session(
    mesh: InMemoryMesh, client: AlephScriptClient, data: Path | None = None, **modelo: Any
) -> AsyncIterator[str]:
    """A session of a bot."""
    async with PersefonBot(mesh, data=data, modelo={**FAST, **modelo}):
        yield (await client.request(aaia.CreateSession("demo-situada"))).session_id


async def states(client: AlephScriptClient, session_id: str) -> list[RunState]:
    """The states of a session's FIAs."""
    listed = await client.request(aaia.ListFIAs(session_id))
    return [fia.run_state for fia in listed.fias]


async def mundo_of(client: AlephScriptClient, session_id: str) -> dict[str, Any]:
    """A session's mundo."""
    return (await client.request(aaia.QueryMundo(session_id))).mundo.modelo


async def until(task: Task[Any], *, cycle: int) -> TaskStatus:
    """Wait until a task has said that it is at a cycle."""
    async for status in task.updates():
        if status.progress is not None and cycle_of(status) >= cycle:
            return status
    raise AssertionError("the task has ended before")


def cycle_of(status: TaskStatus) -> int:
    """The cycle that a task has said it is at."""
    assert status.progress is not None
    return int(status.progress.message.removeprefix("cycle "))


async def test_a_task_that_plays_ends_with_its_mundo(
    mesh: InMemoryMesh, client: AlephScriptClient
) -> None:
    """It says at each cycle how far it is, and has the state before and after."""
    async with a_session(mesh, client, muerte=5) as session_id:
        task = await client.submit(aaia.PlayFIA(session_id, 0), timeout=60)
        said = [each.progress async for each in task.updates() if each.progress is not None]
        assert said[-1].fraction == 1.0
        assert said[-1].message == "cycle 5"
        assert [each.fraction for each in said] == sorted(each.fraction for each in said)
        assert await task.result() == aaia.StateChange(0, RunState.STOP, RunState.STOP)
        modelo = await mundo_of(client, session_id)
        assert (modelo["dia"], modelo["ciclo"]) == (5, 5)


async def test_a_stop_ends_the_task_and_a_pause_does_not(
    mesh: InMemoryMesh, client: AlephScriptClient
) -> None:
    """A run is held, goes on, and ends; the next task begins another one."""
    async with a_session(mesh, client) as session_id:
        task = await client.submit(aaia.PlayFIA(session_id, 0), timeout=60)
        await until(task, cycle=2)
        await client.request(aaia.PauseFIA(session_id, 0))
        assert (await task.status()).state == "running"
        await client.request(aaia.PlayFIA(session_id, 0))
        await client.request(aaia.StopFIA(session_id, 0))
        assert (await task.result()).new_state is RunState.STOP
        another = await client.submit(aaia.PlayFIA(session_id, 0), timeout=60)
        await until(another, cycle=3)
        assert await states(client, session_id) == [RunState.PLAY]


async def test_a_task_that_is_cancelled_stops_its_fia(
    mesh: InMemoryMesh, client: AlephScriptClient
) -> None:
    """Nobody waits for the run any more."""
    async with a_session(mesh, client) as session_id, mesh.observer(AAIA_ROOM) as room:
        task = await client.submit(aaia.PlayFIA(session_id, 0), timeout=60)
        await until(task, cycle=1)
        await task.cancel()
        with pytest.raises(Cancelled):
            await task.result()
        while True:
            mundo = (await room.expect("MUNDO_STATE", within=5)).data["mundo"]
            if mundo["runState"] == "STOP":
                break
        assert await states(client, session_id) == [RunState.STOP]


async def test_a_task_ends_with_its_session(mesh: InMemoryMesh, client: AlephScriptClient) -> None:
    """Whether it is there no more, or never was."""
    async with a_session(mesh, client) as session_id:
        task = await client.submit(aaia.PlayFIA(session_id, 0), timeout=60)
        await until(task, cycle=1)
        await client.request(aaia.DestroySession(session_id))
        for each in (task, await client.submit(aaia.PlayFIA(session_id, 0))):
            with pytest.raises(CapabilityError) as caught:
                await each.result()
            assert caught.value.code == "session_not_found"


@pytest.mark.parametrize("leave", ["close", "drain"])
async def test_a_task_goes_on_at_the_bot_that_is_started_again(
    mesh: InMemoryMesh, client: AlephScriptClient, tmp_path: Path, leave: str
) -> None:
    """Leaving stops no run; each cycle is made once."""
    async with PersefonBot(mesh, data=tmp_path, modelo={**FAST, "muerte": 60}) as bot:
        opened = await client.request(aaia.CreateSession("demo-situada"))
        task = await client.submit(aaia.PlayFIA(opened.session_id, 0), timeout=60)
        await until(task, cycle=2)
        async with asyncio.timeout(5):
            await (bot.close() if leave == "close" else bot.drain())
    async with PersefonBot(mesh, data=tmp_path):
        assert await task.result() == aaia.StateChange(0, RunState.STOP, RunState.STOP)
        assert (await task.status()).attempts == 2
        modelo = await mundo_of(client, opened.session_id)
        assert (modelo["dia"], modelo["ciclo"]) == (60, 60)


async def test_a_run_that_ended_while_the_task_had_no_bot_is_not_begun_again(
    mesh: InMemoryMesh, client: AlephScriptClient, tmp_path: Path
) -> None:
    """What is asked by the number of its run finds that run."""
    async with PersefonBot(mesh, data=tmp_path, modelo=FAST) as bot:
        opened = await client.request(aaia.CreateSession("demo-situada"))
        task = await client.submit(aaia.PlayFIA(opened.session_id, 0), timeout=60)
        await until(task, cycle=2)
        await bot.close()
        await bot._runtime.stop_fia(opened.session_id, 0)
    async with PersefonBot(mesh, data=tmp_path):
        assert (await task.result()).new_state is RunState.STOP
        assert await states(client, opened.session_id) == [RunState.STOP]


async def test_a_plain_request_answers_at_once_and_the_fia_plays_on_after_a_restart(
    mesh: InMemoryMesh, client: AlephScriptClient, tmp_path: Path
) -> None:
    """As before; what it began is kept."""
    async with a_session(mesh, client, tmp_path) as session_id:
        played = await client.request(aaia.PlayFIA(session_id, 0))
        assert played == aaia.StateChange(0, RunState.STOP, RunState.PLAY)
    async with PersefonBot(mesh, data=tmp_path), mesh.observer(AAIA_ROOM) as room:
        await room.expect("FIA_STEP", session_id=session_id, run_state="PLAY", within=5)
        sessions = (await client.request(aaia.ListSessions())).sessions
        assert [each.session_id for each in sessions] == [session_id]


async def test_so_many_tasks_play_and_no_more(
    mesh: InMemoryMesh, client: AlephScriptClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Plain requests are answered all the same, the STOP that makes room among them."""
    monkeypatch.setattr(runtime, "MAX_PLAYED", 1)
    async with a_session(mesh, client) as session_id:
        task = await client.submit(aaia.PlayFIA(session_id, 0), timeout=60)
        await until(task, cycle=1)
        with pytest.raises(Overloaded, match="1 tasks play already"):
            await (await client.submit(aaia.PlayFIA(session_id, 0))).result()
        await client.request(aaia.PlayFIA(session_id, 0))
        await client.request(aaia.StopFIA(session_id, 0))
        await task.result()


async def test_a_second_bot_on_a_folder_is_refused(
    mesh: InMemoryMesh, client: AlephScriptClient, tmp_path: Path
) -> None:
    """The first goes on."""
    async with a_session(mesh, client, tmp_path) as session_id:
        with pytest.raises(StoreUnavailable, match="another bot works on"):
            await PersefonBot(mesh, data=tmp_path).__aenter__()
        assert await states(client, session_id) == [RunState.STOP]


class House:
    """A hub that keeps tasks, and a bot that keeps sessions, each in a process."""

    def __init__(self, start: Start, port: int, folder: Path) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.data = folder / "bot"
        self._start = start
        self._port = port
        self._folder = folder

    async def start_hub(self) -> Process:
        """Start the hub."""
        data = str(self._folder / "hub")
        command = ("-m", "alephscript", "hub", "--port", str(self._port), "--data", data)
        return await self._start(*command, ready=b"listening on")

    async def start_bot(self) -> Process:
        """Start the bot."""
        command = ("-m", "examples.persefon_bot", "--url", self.url, "--data", str(self.data))
        return await self._start(*command, ready=b"is ready: ")

    def kept(self) -> SessionRecord:
        """What is kept of the one session."""
        database = sqlite3.connect(self.data / "sessions.db")
        ((text,),) = database.execute("SELECT state FROM sessions").fetchall()
        database.close()
        return read_record(text)


async def kill(process: Process) -> None:
    """Kill a process, as nothing can be caught."""
    process.send(signal.SIGKILL)
    await process.ended()


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_a_task_whose_bot_is_killed_ends_with_each_cycle_made_once(
    start: Start, port: int, tmp_path: Path
) -> None:
    """Bot, hub and bot again are killed; the session, its id and its cycles are the same."""
    house = House(start, port, tmp_path)
    hub, bot = await house.start_hub(), await house.start_bot()
    heard: list[int] = []
    async with AlephScriptClient(house.url, backoff=at_once, retry_open=True) as client:
        await client.subscribe(AAIA_ROOM)
        steps = client.events(AAIA_ROOM, "FIA_STEP")
        opened = await client.request(aaia.CreateSession("demo-situada"))
        task = await client.submit(aaia.PlayFIA(opened.session_id, 0), timeout=600, key="night")
        reached = cycle_of(await until(task, cycle=2))
        await kill(bot)
        bot = await house.start_bot()
        reached = cycle_of(await until(task, cycle=reached + 2))
        await kill(hub)
        hub = await house.start_hub()
        reached = cycle_of(await until(task, cycle=reached + 2))
        await kill(bot)
        bot = await house.start_bot()
        await until(task, cycle=reached + 2)
        stopped = await client.request(
            aaia.StopFIA(opened.session_id, 0), room=AAIA_ROOM, wait_for_master=True
        )
        assert stopped.new_state is RunState.STOP
        assert await task.result() == aaia.StateChange(0, RunState.STOP, RunState.STOP)
        assert (await task.status()).attempts == 3
        again = await client.submit(aaia.PlayFIA(opened.session_id, 0), key="night")
        assert again.id == task.id
        while (step := steps.take()) is not None:
            heard.append(step.data["ciclo"])
    await kill(bot)
    kept = house.kept()
    (fia,) = kept.fias
    assert (kept.session_id, fia.run_state) == (opened.session_id, RunState.STOP)
    assert kept.modelo["dia"] == kept.modelo["ciclo"] == fia.cycles
    assert (fia.runs, fia.ended_runs) == (1, 1)
    assert heard == sorted(set(heard)), "no cycle is told twice"
    await kill(hub)


@pytest.mark.slow
async def test_the_command_refuses_a_folder_that_is_anothers(
    start: Start, port: int, tmp_path: Path
) -> None:
    """In one sentence, and with what to do."""
    house = House(start, port, tmp_path)
    await house.start_hub()
    await house.start_bot()
    command = ("-m", "examples.persefon_bot", "--url", house.url, "--data", str(house.data))
    second = await start(*command, ready=b"another bot works on")
    assert await second.ended() == 1


@pytest.mark.slow
async def test_a_bot_that_is_terminated_leaves_its_task_at_once(
    start: Start, port: int, tmp_path: Path
) -> None:
    """A run of an hour keeps no program from ending."""
    house = House(start, port, tmp_path)
    await house.start_hub()
    bot = await house.start_bot()
    async with AlephScriptClient(house.url) as client:
        opened = await client.request(aaia.CreateSession("demo-situada"))
        task = await client.submit(aaia.PlayFIA(opened.session_id, 0), timeout=3600)
        await until(task, cycle=1)
        bot.send(signal.SIGTERM)
        async with asyncio.timeout(8):  # and not the 10 s that requests are given to end
            assert await bot.ended() == 0
        assert house.kept().fias[0].run_state is RunState.PLAY
        assert (await task.status()).state == "queued"
