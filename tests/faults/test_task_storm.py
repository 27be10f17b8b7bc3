"""Tasks while hub, master and submitter are killed at random moments: each ends, once."""

from __future__ import annotations

import asyncio
import random
import signal
from collections import Counter
from pathlib import Path

import pytest

from alephscript import AlephScriptClient, MasterLost
from tests.faults.task_master import at_once
from tests.support.processes import Process, Start, choose_port
from tests.support.redis import RedisServer

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300), pytest.mark.slow]

TASKS = 200
KILLS = 20


Program = tuple[tuple[str, ...], bytes]


def hub_of(port: int, *options: str) -> Program:
    """A hub."""
    return (("-m", "alephscript", "hub", "--port", str(port), *options), b"listening on")


async def play(start: Start, folder: Path, hubs: list[Program], urls: list[str]) -> None:
    """Kill programs at random while an asker submits, and look at what has become of all tasks."""
    runs, submitted = folder / "runs", folder / "submitted"
    programs: list[Program] = [
        *hubs,
        (("-m", "tests.faults.task_master", urls[0], str(runs)), b"is ready: "),
        (("-m", "tests.faults.task_asker", urls[-1], str(submitted), str(TASKS)), b"is ready"),
    ]
    alive: list[Process] = [await start(*command, ready=ready) for command, ready in programs]
    for _ in range(KILLS):
        await asyncio.sleep(random.uniform(0.1, 0.5))
        number = random.randrange(len(programs))
        alive[number].send(signal.SIGKILL)
        await alive[number].ended()
        command, ready = programs[number]
        alive[number] = await start(*command, ready=ready)
    ids: dict[int, str] = {}
    async with (
        asyncio.timeout(150),
        AlephScriptClient(urls[0], usuario="reader", backoff=at_once) as client,
    ):
        while len(ids) < TASKS:
            await asyncio.sleep(0.2)
            for line in submitted.read_text().splitlines():
                number_, id_ = line.split()
                assert ids.setdefault(int(number_), id_) == id_  # the same key, the same task
        ends: Counter[str] = Counter()
        for each, id_ in ids.items():
            try:
                answer = await client.task(id_).result()
            except MasterLost:
                ends["lost"] += 1
            else:
                assert answer["number"] == each
                ends["done"] += 1
        assert len(await client.tasks()) == TASKS
    assert ends["done"] + ends["lost"] == TASKS
    begun = Counter(line for line in runs.read_text().splitlines() if line.startswith("once"))
    assert max(begun.values()) == 1


async def test_two_hundred_tasks_under_twenty_kills_all_end_and_none_that_must_not_ran_twice(
    start: Start, port: int, tmp_path: Path
) -> None:
    """What was acknowledged is never lost, whoever is killed."""
    hub = hub_of(port, "--data", str(tmp_path / "data"))
    await play(start, tmp_path, [hub], [f"http://127.0.0.1:{port}"])


@pytest.mark.peers
async def test_two_hundred_tasks_under_twenty_kills_all_end_on_two_hubs_that_share_a_redis(
    start: Start, tmp_path: Path, shared_redis: RedisServer
) -> None:
    """A task whose hub dies goes on at the other one."""
    redis, ports = shared_redis.url(), [choose_port(), choose_port()]
    hubs = [hub_of(port, "--redis", redis) for port in ports]
    await play(start, tmp_path, hubs, [f"http://127.0.0.1:{port}" for port in ports])
