"""Tasks on two hubs that share a Redis, while hubs and Redis are killed."""

from __future__ import annotations

import asyncio
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from alephscript import AlephScriptClient, Overloaded
from alephscript.hub import Hub
from tests.faults.task_master import at_once
from tests.faults.test_task_kills import kill, payload
from tests.support.processes import Process, Start
from tests.support.redis import RedisServer

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.timeout(120),
    pytest.mark.peers,
    pytest.mark.slow,
]


def reader(hub: Hub) -> AlephScriptClient:
    """A client that comes back at once."""
    return AlephScriptClient(hub.url, usuario="reader", backoff=at_once)


class Other:
    """A hub in a process of its own, and the runs of a master that is on it, or not."""

    def __init__(self, start: Start, redis: str, port: int, folder: Path) -> None:
        self._start = start
        self._command = ("-m", "alephscript", "hub", "--port", str(port), "--redis", redis)
        self.url = f"http://127.0.0.1:{port}"
        self.process: Process
        self.log = folder / "runs"

    async def start(self) -> None:
        """Start the hub, or start it again."""
        self.process = await self._start(*self._command, ready=b"listening on")

    async def start_master(self, url: str) -> Process:
        """Start a master on a hub."""
        command = ("-m", "tests.faults.task_master", url, str(self.log))
        return await self._start(*command, ready=b"is ready: ")

    async def until_begun(self, count: int) -> None:
        """Wait until so many runs have begun."""
        while self.count() < count:  # noqa: ASYNC110 - another process says nothing
            await asyncio.sleep(0.01)

    def count(self) -> int:
        """Count the runs that have begun."""
        if not self.log.exists():
            return 0
        return sum(line.startswith("once") for line in self.log.read_text().splitlines())


@pytest.fixture
async def redis(shared_redis: RedisServer) -> str:
    """The address of a Redis."""
    return shared_redis.url()


@pytest.fixture
async def here(redis: str) -> AsyncIterator[Hub]:
    """A hub that nobody kills."""
    async with Hub(port=0, redis=redis) as hub:
        yield hub


@pytest.fixture
async def other(start: Start, redis: str, port: int, here: Hub, tmp_path: Path) -> Other:
    """A hub of the same mesh that is there, to be killed."""
    assert here.url
    other = Other(start, redis, port, tmp_path)
    await other.start()
    return other


async def test_a_task_whose_hub_is_killed_goes_on_at_another_one(here: Hub, other: Other) -> None:
    """Whether its run ends at a master there, or nobody has begun with it."""
    async with AlephScriptClient(other.url) as client:
        queued = await client.submit("NOBODY_DOES", {}, timeout=60)
        await other.start_master(here.url)
        running = await client.submit("ONCE", payload(2.0, 1))
        await other.until_begun(1)
        await kill(other.process)
    async with reader(here) as client:
        assert await client.task(running.id).result() == {"number": 1}
        assert other.count() == 1
        assert {each.attempts for each in await client.tasks(state="done")} == {1}
        async with asyncio.timeout(10):
            while True:
                try:
                    status = await client.task(queued.id).cancel()
                except Overloaded:  # until another hub has taken it over
                    await asyncio.sleep(0.05)
                else:
                    break
        assert status.state == "cancelled"


async def test_a_run_whose_masters_hub_is_killed_is_taken_when_the_master_is_back(
    here: Hub, other: Other
) -> None:
    """Although the hub of the task is another one, and there all the time."""
    await other.start_master(other.url)
    async with reader(here) as client:
        task = await client.submit("ONCE", payload(1.5, 2))
        await other.until_begun(1)
        await kill(other.process)
        await asyncio.sleep(0.5)
        await other.start()
        assert await task.result() == {"number": 2}
        assert (await task.status()).attempts == 1
        assert other.count() == 1


async def test_a_master_at_another_hub_is_cancelled_asked_and_watched_from_anywhere(
    here: Hub, other: Other
) -> None:
    """By a client at a hub that has neither the task nor its master."""
    await other.start_master(other.url)
    async with AlephScriptClient(other.url) as submitter, reader(here) as client:
        task = await submitter.submit("ONCE", payload(60.0, 3))
        await other.until_begun(1)
        states = []
        async for status in client.task(task.id).updates():
            states.append(status.state)
            if status.state == "running":
                await client.task(task.id).cancel()
        assert states[-1] == "cancelled"
        assert (await task.status()).state == "cancelled"


@pytest.fixture
def lasting_redis(redis_program: str) -> Iterator[RedisServer]:
    """Start a Redis that writes down what it has, before it says so."""
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer(redis_program, folder)
        server._command += ["--appendonly", "yes", "--appendfsync", "always"]
        server.start()
        yield server
        server.kill()


async def test_a_redis_that_is_killed_loses_no_task_if_it_writes_them_down(
    lasting_redis: RedisServer, tmp_path: Path, start: Start
) -> None:
    """New ones are refused meanwhile, plain requests go on, and so do runs."""
    async with Hub(port=0, redis=f"redis://127.0.0.1:{lasting_redis.port}/0") as hub:
        log = tmp_path / "runs"
        command = ("-m", "tests.faults.task_master", hub.url, str(log))
        await start(*command, ready=b"is ready: ")
        async with reader(hub) as client:
            task = await client.submit("ONCE", payload(1.0, 4))
            while not log.exists():  # noqa: ASYNC110 - another process says nothing
                await asyncio.sleep(0.01)
            lasting_redis.kill()
            with pytest.raises(Overloaded, match="cannot keep tasks"):
                await client.submit("ONCE", payload(0.0, 5))
            assert (await client.request("AGAIN", payload(0.0, 6)))["number"] == 6
            await asyncio.sleep(1.0)  # the run ends
            lasting_redis.start()
            assert await task.result() == {"number": 4}
            assert (await (await client.submit("ONCE", payload(0.0, 7))).result())["number"] == 7
            assert {each.state for each in await client.tasks()} <= {"done", "cancelled"}


async def test_a_stalled_hub_that_comes_back_finds_its_tasks_with_another(
    here: Hub, other: Other
) -> None:
    """And does not end them a second time."""
    await other.start_master(here.url)
    async with AlephScriptClient(other.url, backoff=at_once) as client:
        task = await client.submit("ONCE", payload(4.0, 8))
        await other.until_begun(1)
        other.process.send(signal.SIGSTOP)
        async with reader(here) as there:
            assert await there.task(task.id).result() == {"number": 8}
            other.process.send(signal.SIGCONT)
            assert await task.result() == {"number": 8}
            assert (await there.task(task.id).status()).attempts == 1
    assert other.count() == 1
