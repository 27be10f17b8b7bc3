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
from tests.support.processes import Process, Start

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300), pytest.mark.slow]

TASKS = 200
KILLS = 20


async def test_two_hundred_tasks_under_twenty_kills_all_end_and_none_that_must_not_ran_twice(
    start: Start, port: int, tmp_path: Path
) -> None:
    """What was acknowledged is never lost, whoever is killed."""
    url = f"http://127.0.0.1:{port}"
    runs, submitted = tmp_path / "runs", tmp_path / "submitted"
    hub = ("-m", "alephscript", "hub", "--port", str(port), "--data", str(tmp_path / "data"))
    programs = {
        "hub": (hub, b"listening on"),
        "master": (("-m", "tests.faults.task_master", url, str(runs)), b"is ready: "),
        "asker": (("-m", "tests.faults.task_asker", url, str(submitted), str(TASKS)), b"is ready"),
    }
    alive: dict[str, Process] = {}
    for name, (command, ready) in programs.items():
        alive[name] = await start(*command, ready=ready)
    for _ in range(KILLS):
        await asyncio.sleep(random.uniform(0.1, 0.5))
        name = random.choice(list(programs))
        alive[name].send(signal.SIGKILL)
        await alive[name].ended()
        command, ready = programs[name]
        alive[name] = await start(*command, ready=ready)
    ids: dict[int, str] = {}
    async with (
        asyncio.timeout(150),
        AlephScriptClient(url, usuario="reader", backoff=at_once) as client,
    ):
        while len(ids) < TASKS:
            await asyncio.sleep(0.2)
            for line in submitted.read_text().splitlines():
                number, id_ = line.split()
                assert ids.setdefault(int(number), id_) == id_  # the same key, the same task
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
