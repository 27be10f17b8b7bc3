"""The link of a master is lost in a run of a task, for a moment; master and hub live on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from alephscript import AlephScriptClient, MasterLost, Request, State, capability
from alephscript.mesh.tasks import returning
from tests.support.lines import Line
from tests.support.meshes import HUBS, MeshUnderTest

pytestmark = [
    pytest.mark.anyio,
    # A poll that is cut is no link that is lost.
    pytest.mark.parametrize("mesh", ["memory", "websocket", HUBS], indirect=True),
]


class Bot(AlephScriptClient):
    """Does what takes a while."""

    rooms = ("WORK",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.begun: asyncio.Queue[Any] = asyncio.Queue()
        self.go = asyncio.Event()

    @capability("ONCE")
    async def once(self, request: Request[Any]) -> dict[str, Any]:
        """Do something that must not be done twice."""
        await request.checkpoint({"aimed": True})
        await self.begun.put(None)
        await self.go.wait()
        return {"done": True}

    @capability("AGAIN", idempotent=True)
    async def again(self, request: Request[Any]) -> dict[str, Any]:
        """Do something that may be done twice."""
        await self.begun.put(None)
        await self.go.wait()
        return {"done": True}

    @capability("SEND")
    async def send(self, request: Request[Any]) -> dict[str, Any]:
        """Send something if somebody agrees."""
        return await request.ask("APPROVE", {"what": "send it"})


@pytest.fixture
async def bot(mesh: MeshUnderTest) -> AsyncIterator[tuple[Bot, Callable[[], None]]]:
    """A master, and what cuts its link."""
    if mesh.kind == "memory":
        bot = await mesh.open(Bot)

        def cut_link() -> None:
            session = bot._alephscript_session
            assert session is not None
            mesh.hub.cut_link(session._channel.link)

        yield bot, cut_link
        return
    line = Line(int(mesh.hub.rpartition(":")[2]))
    await line.open()
    async with Bot(line.url, **mesh.options) as bot:
        yield bot, line.cut
    await line.close()


async def cut(bot: Bot, wire: Callable[[], None]) -> None:
    """Cut a master's link, and wait until the master is back."""
    states = bot.states()
    assert await anext(states) is State.READY
    wire()
    async for state in states:
        if state is State.READY:
            return


@pytest.mark.parametrize("name", ["ONCE", "AGAIN"])
async def test_a_run_goes_on_without_its_link(
    mesh: MeshUnderTest, bot: tuple[Bot, Callable[[], None]], name: str
) -> None:
    """The same run, whose result is taken, whether running twice does harm or not."""
    client = await mesh.open()
    task = await client.submit(name)
    await bot[0].begun.get()
    await cut(*bot)
    await cut(*bot)
    bot[0].go.set()
    assert await task.result() == {"done": True}
    assert (await task.status()).attempts == 1
    assert bot[0].begun.empty()


async def test_a_result_waits_for_the_link(
    mesh: MeshUnderTest, bot: tuple[Bot, Callable[[], None]]
) -> None:
    """What the run ended with in the meantime counts."""
    client = await mesh.open()
    task = await client.submit("ONCE")
    await bot[0].begun.get()
    bot[0].go.set()
    bot[1]()
    assert await task.result() == {"done": True}


async def test_a_question_waits_for_the_link(
    mesh: MeshUnderTest, bot: tuple[Bot, Callable[[], None]]
) -> None:
    """And may be answered meanwhile."""
    client = await mesh.open()
    task = await client.submit("SEND")
    async for status in task.updates():
        if status.state == "asking":
            break
    bot[1]()
    assert (await task.answer({"yes": True})).state != "failed"
    assert await task.result() == {"yes": True}


async def test_a_master_that_does_not_come_back_is_lost(
    mesh: MeshUnderTest, bot: tuple[Bot, Callable[[], None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After some seconds, and with its last checkpoint."""
    monkeypatch.setattr(returning, "_CUT_SECONDS", 0.05)
    client = await mesh.open()
    task = await client.submit("ONCE")
    await bot[0].begun.get()
    bot[0]._alephscript_life._backoff = lambda: iter([10.0])
    bot[1]()
    with pytest.raises(MasterLost) as caught:
        await task.result()
    assert caught.value.details[0]["checkpoint"] == {"aimed": True}
