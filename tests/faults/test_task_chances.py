"""Tasks on the simulated mesh: links are cut, the hub dies, masters go and come, as a seed draws.

Quicker than with processes that are killed (`test_task_storm`), so that many more interleavings
are tried; and each of them can be tried again.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import Any, ClassVar

import pytest

from alephscript import AlephScriptClient, MasterLost, Request, RequestError, Task, capability
from alephscript.testing import SimulatedMesh, simulate

pytestmark = pytest.mark.slow


class Worker(AlephScriptClient):
    """Runs tasks, and counts which it has begun."""

    rooms = ("R",)
    begun: ClassVar[Counter[int]] = Counter()

    @capability("ONCE")
    async def once(self, request: Request[dict[str, Any]]) -> dict[str, Any]:
        """Do what must not be done twice."""
        self.begun[request.payload["number"]] += 1
        await request.checkpoint("half")
        await asyncio.sleep(request.payload["seconds"])
        return {"number": request.payload["number"]}

    @capability("AGAIN", idempotent=True)
    async def again(self, request: Request[dict[str, Any]]) -> dict[str, Any]:
        """Go on from the last checkpoint."""
        for step in range(request.checkpoint_data or 0, 4):
            await asyncio.sleep(request.payload["seconds"] / 4)
            await request.checkpoint(step + 1)
        return {"number": request.payload["number"]}

    @capability("ASK")
    async def ask(self, request: Request[dict[str, Any]]) -> dict[str, Any]:
        """Ask three things, two of them at once."""
        self.begun[request.payload["number"]] += 1
        answers = [await request.ask("HOW", {"which": 0})]
        answers += await asyncio.gather(*(request.ask("HOW", {"which": n}) for n in (1, 2)))
        assert answers == [{"about": n} for n in range(3)]
        return {"number": request.payload["number"]}


async def submit(client: AlephScriptClient, name: str, number: int, seconds: float) -> Task[Any]:
    """Submit a task until the hub has it."""
    payload = {"number": number, "seconds": seconds}
    while True:
        try:
            return await client.submit(name, payload, key=str(number), timeout=300)
        except RequestError:
            await asyncio.sleep(0.3)


async def answer(client: AlephScriptClient) -> None:
    """Answer whatever is asked, once each."""
    while True:
        try:
            for each in await client.tasks(state="asking"):
                assert each.question is not None
                which = each.question["payload"]["which"]
                await client.task(each.id).answer({"about": which})
        except RequestError:
            pass
        await asyncio.sleep(0.3)


async def disturb(mesh: SimulatedMesh, chance: random.Random, workers: list[Worker]) -> None:
    """Have some mishaps; in the end there is a master."""
    for _ in range(chance.randint(2, 6)):
        await asyncio.sleep(chance.random() * 2)
        what = chance.choice(["link", "link", "links", "hub", "leave", "come"])
        links = mesh.present_links()
        if what == "link" and links:
            mesh.cut_link(chance.choice(links))
        elif what == "links":
            mesh.cut()
        elif what == "hub":
            await mesh.kill()
            await asyncio.sleep(chance.random() * 2)
            await mesh.restart()
        elif what == "leave" and workers:
            await workers.pop().close()
        elif what == "come":
            workers.append(await Worker(mesh, usuario="w").__aenter__())
    if not workers:
        workers.append(await Worker(mesh, usuario="w").__aenter__())


@pytest.mark.parametrize("seed", range(30))
def test_each_task_ends_and_has_the_answers_to_its_own_questions(seed: int) -> None:
    """What must not run twice does not, and is lost with its master alone."""
    chance = random.Random(seed)
    Worker.begun.clear()

    async def live(mesh: SimulatedMesh) -> None:
        async with AlephScriptClient(mesh, usuario="me", when_offline="wait") as client:
            workers = [await Worker(mesh, usuario="w").__aenter__()]
            answering = asyncio.create_task(answer(client))
            disturbing = asyncio.create_task(disturb(mesh, chance, workers))
            tasks = []
            for number in range(9):
                name = chance.choice(["ONCE", "AGAIN", "ASK"])
                tasks.append((name, await submit(client, name, number, chance.random() * 3)))
                await asyncio.sleep(chance.random() / 2)
            for number, (name, task) in enumerate(tasks):
                try:
                    assert await task.result(timeout=280) == {"number": number}
                except MasterLost:
                    assert name != "AGAIN"
                assert name == "AGAIN" or Worker.begun[number] <= 1
            await disturbing
            answering.cancel()
            for worker in workers:
                await worker.close()

    simulate(live, seed)
