"""A disk that is full in the middle of runs: what is refused, what waits, and what goes on."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Any

import pytest

from alephscript import AlephScriptClient, Overloaded, Request, Task, capability
from tests.support.processes import Start

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120), pytest.mark.slow]

BIG = "x" * 150_000


class Worker(AlephScriptClient):
    """Keeps much, and answers plain requests."""

    rooms = ("WORK",)

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.go = asyncio.Event()
        self.reached: asyncio.Queue[str] = asyncio.Queue()

    @capability("KEEP", idempotent=True)
    async def keep(self, request: Request[dict[str, Any]]) -> dict[str, Any]:
        """Keep something before the disk is full, and something then."""
        await request.checkpoint("first")
        await self.reached.put("first")
        await self.go.wait()
        for number in range(4):
            await request.checkpoint([number, BIG])
        await self.reached.put("last")
        return {"kept": True}

    @capability("ECHO")
    async def echo(self, request: Request[dict[str, Any]]) -> dict[str, Any]:
        """Answer."""
        return request.payload


async def fill(client: AlephScriptClient, taken: list[Task[Any]]) -> None:
    """Submit tasks that nobody runs."""
    while True:
        taken.append(await client.submit("NOBODY", {"x": BIG}))


async def test_a_full_disk_refuses_tasks_keeps_runs_waiting_and_lets_plain_requests_go_on(
    start: Start, port: int, tmp_path: Path
) -> None:
    """Until there is room again, when nothing that was taken is missing."""
    options = ("--port", str(port), "--data", str(tmp_path / "data"))
    hub = await start("-m", "tests.faults.full_hub", "400000", *options, ready=b"listening on")
    async with Worker(hub.url) as worker, AlephScriptClient(hub.url) as client:
        running = await client.submit("KEEP")
        assert await worker.reached.get() == "first"
        taken: list[Task[Any]] = []
        with pytest.raises(Overloaded, match="cannot keep tasks at the moment") as refused:
            await fill(client, taken)
        assert refused.value.details[0]["delivered"] is False
        worker.go.set()
        assert await client.request("ECHO", {"a": 1}) == {"a": 1}
        assert (await running.status()).state == "running"
        assert worker.reached.empty()
        hub.send(signal.SIGUSR1)
        assert await worker.reached.get() == "last"
        assert await running.result() == {"kept": True}
        taken.append(await client.submit("NOBODY", {"x": BIG}))
        listed = {each.id for each in await client.tasks()}
        assert listed == {running.id, *(each.id for each in taken)}
    hub.send(signal.SIGTERM)
    assert await hub.ended() == 0
