"""Hub, master and submitter are killed, one at a time: each guarantee of tasks, one by one.

The table of guarantees in docs/how-to/tasks.md names these tests.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from alephscript import (
    AlephScriptClient,
    Conflict,
    DeadlineExceeded,
    MasterLost,
    NotConnected,
    Request,
    Task,
    capability,
)
from alephscript.hub import Hub
from tests.faults.task_master import at_once
from tests.support.processes import Process, Start

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120), pytest.mark.slow]


class House:
    """A hub with a folder, masters of its tasks, and a reader, each but the last in a process."""

    def __init__(self, start: Start, port: int, folder: Path) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._start = start
        self._folder = folder
        self.hub: Process
        self._runs = folder / "runs"

    async def start_hub(self) -> None:
        """Start the hub, or start it again."""
        port = self.url.rpartition(":")[2]
        data = str(self._folder / "data")
        command = ("-m", "alephscript", "hub", "--port", port, "--data", data)
        self.hub = await self._start(*command, ready=b"listening on")

    async def kill_hub(self) -> None:
        """Kill the hub, as nothing can be caught."""
        self.hub.send(signal.SIGKILL)
        await self.hub.ended()

    async def start_master(self) -> Process:
        """Start a master."""
        command = ("-m", "tests.faults.task_master", self.url, str(self._runs))
        return await self._start(*command, ready=b"is ready: ")

    def runs(self, what: str) -> int:
        """Count the runs that have begun."""
        if not self._runs.exists():
            return 0
        return sum(line.startswith(what) for line in self._runs.read_text().splitlines())

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for something that another process does."""
        while not condition():  # noqa: ASYNC110 - the process says nothing
            await asyncio.sleep(0.01)

    def client(self, usuario: str = "reader") -> AlephScriptClient:
        """A client that comes back at once."""
        return AlephScriptClient(self.url, usuario=usuario, backoff=at_once, retry_open=True)


@pytest.fixture
async def house(start: Start, port: int, tmp_path: Path) -> House:
    """A house whose hub is there."""
    house = House(start, port, tmp_path)
    await house.start_hub()
    return house


async def kill(process: Process) -> None:
    """Kill a process."""
    process.send(signal.SIGKILL)
    await process.ended()


def payload(seconds: float = 0.0, number: int = 1, **more: Any) -> dict[str, Any]:
    """Make a payload of the master's capabilities."""
    return {"number": number, "seconds": seconds, **more}


async def test_what_was_acknowledged_as_submitted_is_never_lost(house: House) -> None:
    """Though the hub is killed in the moment after; and the tasks run as soon as they can."""
    async with house.client() as client:
        tasks = [await client.submit("ONCE", payload(number=each)) for each in range(20)]
        await house.kill_hub()
        await house.start_hub()
        assert {each.id for each in await after(client.tasks)} == {each.id for each in tasks}
        assert {each.state for each in await client.tasks()} == {"queued"}
        await house.start_master()
        assert [(await each.result())["number"] for each in tasks] == list(range(20))


async def after(ask: Callable[[], Any]) -> Any:
    """Ask what a client without a link refuses, until there is a link."""
    while True:
        try:
            return await ask()
        except NotConnected:
            await asyncio.sleep(0.01)


async def test_a_run_goes_on_without_its_hub_and_its_result_is_taken_afterwards(
    house: House, tmp_path: Path
) -> None:
    """Once, whether it ends while there is no hub, or later."""
    await house.start_master()
    async with house.client() as client:
        short = await client.submit("ONCE", payload(0.3, 0))
        go = tmp_path / "go"
        long = await client.submit("ONCE", payload(number=1, go=str(go)))
        await house.until(lambda: house.runs("kept") == 2)
        await house.kill_hub()
        await house.until(lambda: house.runs("end 0") == 1)
        await house.start_hub()
        assert await short.result() == {"number": 0}
        assert (await long.status()).state == "running"
        go.touch()
        assert await long.result() == {"number": 1}
        assert house.runs("once") == 2
        assert {each.attempts for each in await client.tasks()} == {1}


async def test_a_task_that_must_not_run_twice_is_lost_with_its_master(house: House) -> None:
    """At once, and with its last checkpoint."""
    master = await house.start_master()
    async with house.client() as client:
        task = await client.submit("ONCE", payload(60.0, 7))
        await house.until(lambda: house.runs("kept") == 1)
        await kill(master)
        async with asyncio.timeout(5):
            with pytest.raises(MasterLost) as caught:
                await task.result()
        assert caught.value.details[0]["checkpoint"] == {"reached": 7}
        await house.start_master()
        assert (await task.status()).state == "failed"
        assert house.runs("once") == 1


async def test_an_idempotent_task_goes_on_at_the_next_master_from_its_checkpoint(
    house: House, tmp_path: Path
) -> None:
    """Under the same id."""
    master = await house.start_master()
    async with house.client() as client:
        go = tmp_path / "go"
        task = await client.submit("AGAIN", payload(0.4, 3, go=str(go)))
        await house.until(lambda: house.runs("step 1") == 1)
        await kill(master)
        go.touch()
        await house.start_master()
        answer = await task.result()
        assert answer == {"number": 3, "first": 2}
        status = await task.status()
        assert (status.id, status.attempts) == (task.id, 2)
        assert house.runs("again") == 2


async def test_a_task_outlives_its_submitter(start: Start, house: House, tmp_path: Path) -> None:
    """Who is killed, and asks anew by the key: there is one task, with one result."""
    log = tmp_path / "submitted"
    asker = ("-m", "tests.faults.task_asker", house.url, str(log), "2")
    first = await start(*asker, ready=b"asker is ready")
    await house.until(lambda: log.exists() and len(log.read_text().splitlines()) == 2)
    await kill(first)
    await house.start_master()
    await start(*asker, ready=b"asker is ready")
    await house.until(lambda: len(log.read_text().splitlines()) == 4)
    async with house.client() as client:
        ids = [line.split()[1] for line in log.read_text().splitlines()]
        assert ids[:2] == ids[2:]
        assert (await client.task(ids[1]).result())["number"] == 1
        assert house.runs("once") == 1


async def test_hub_and_master_are_killed_together(house: House) -> None:
    """The hub waits for the master to come back with its runs, and then counts it as lost."""
    master = await house.start_master()
    async with house.client() as client:
        once = await client.submit("ONCE", payload(60.0, 1))
        again = await client.submit("AGAIN", payload(0.8, 2))
        await house.until(lambda: house.runs("step 0") == house.runs("kept") == 1)
        await house.kill_hub()
        await kill(master)
        await house.start_hub()
        await house.start_master()
        async with asyncio.timeout(40):
            assert (await again.result())["number"] == 2
            with pytest.raises(MasterLost) as caught:
                await once.result()
        assert caught.value.details[0]["checkpoint"] == {"reached": 1}
        assert house.runs("once") == 1


async def test_a_deadline_is_the_tasks_also_over_a_restart(house: House) -> None:
    """Counted from when it was submitted."""
    async with house.client() as client:
        began = time.monotonic()
        task = await client.submit("ONCE", payload(), timeout=4.0)
        await house.kill_hub()
        await house.start_hub()
        with pytest.raises(DeadlineExceeded):
            await task.result()
        assert 3.5 < time.monotonic() - began < 12


async def test_a_hub_that_is_stopped_in_peace_leaves_its_tasks_as_they_are(
    house: House, tmp_path: Path
) -> None:
    """A SIGTERM is no end of them."""
    await house.start_master()
    async with house.client() as client:
        go = tmp_path / "go"
        task = await client.submit("ONCE", payload(number=4, go=str(go)))
        await house.until(lambda: house.runs("kept") == 1)
        house.hub.send(signal.SIGTERM)
        assert await house.hub.ended() == 0
        assert house.runs("end") == 0
        await house.start_hub()
        go.touch()
        assert await task.result() == {"number": 4}
        assert house.runs("once") == 1


async def asks(client: AlephScriptClient, task: Task[Any], attempts: int = 1) -> None:
    """Wait until a run of a task has asked back."""
    while True:
        status = await after(client.task(task.id).status)
        if status.state == "asking" and status.attempts == attempts:
            assert status.question["payload"] == {"what": "send it"}
            return
        await asyncio.sleep(0.01)


async def test_a_question_outlives_its_hub_and_is_answered_while_its_master_is_away(
    house: House,
) -> None:
    """The answer waits for the master, which asks it only once."""
    master = await house.start_master()
    async with house.client() as client:
        task = await client.submit("SEND", payload())
        await asks(client, task)
        master.send(signal.SIGSTOP)
        await house.kill_hub()
        await house.start_hub()
        await asks(client, task)
        assert (await task.answer({"yes": True})).state == "running"
        await house.kill_hub()
        await house.start_hub()
        master.send(signal.SIGCONT)
        assert await task.result() == {"sent": {"yes": True}}
        assert house.runs("send") == 1


async def test_a_question_dies_with_its_master_and_is_asked_by_the_next(house: House) -> None:
    """The answer that is given then is that run's."""
    master = await house.start_master()
    async with house.client() as client:
        task = await client.submit("SEND", payload())
        await asks(client, task)
        await kill(master)
        while (await task.status()).state != "queued":  # noqa: ASYNC110 - a hub that notices
            await asyncio.sleep(0.01)
        with pytest.raises(Conflict):
            await task.answer({"yes": False})
        await house.start_master()
        await asks(client, task, attempts=2)
        await task.answer({"yes": True})
        assert await task.result() == {"sent": {"yes": True}}


class Patient(AlephScriptClient):
    """Waits until it is cancelled, and notes when that was."""

    rooms = ("WORK",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.begun = asyncio.Event()
        self.stopped: list[float] = []

    @capability("WAIT")
    async def wait(self, _: Request[dict[str, Any]]) -> None:
        """Wait."""
        self.begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.stopped.append(time.perf_counter())


async def test_cancelling_reaches_the_method_in_less_than_a_tenth_of_a_second(
    tmp_path: Path,
) -> None:
    """Although the end of the task has to be on the disk before it is told."""
    async with (
        Hub(port=0, data=tmp_path) as hub,
        AlephScriptClient(hub.url) as client,
        Patient(hub.url) as master,
    ):
        times = []
        for _ in range(5):
            master.begun.clear()
            task = await client.submit("WAIT", {})
            await master.begun.wait()
            began = time.perf_counter()
            assert (await task.cancel()).state == "cancelled"
            times.append(master.stopped[-1] - began)
        assert min(times) < 0.1
