"""A client left in every way at once: each way ends, and no answer is lost."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from alephscript import AlephScriptClient, Event, RequestError, State, capability, on
from alephscript.testing import InMemoryMesh

pytestmark = pytest.mark.anyio


class Bot(AlephScriptClient):
    """Leaves as its asker wants."""

    rooms = ("R",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.calls: list[asyncio.Future[Any]] = []

    @capability("LEAVE")
    async def leave(self, way: str) -> dict[str, Any]:
        """Leave from within."""
        await WAYS[way](self)
        for _ in range(20):  # an answer may take its time
            await asyncio.sleep(0)
        return {"left": way}

    @on("LEAVE")
    async def hear(self, event: Event[str]) -> None:
        """Leave from a listener."""
        await WAYS[event.data](self)


async def _twice(bot: Bot, leave: Callable[[], Awaitable[None]]) -> None:
    await leave()
    await leave()


async def _in_tasks(bot: Bot) -> None:
    bot.calls += [asyncio.ensure_future(bot.drain()) for _ in range(3)]


async def _in_callbacks(bot: Bot) -> None:
    loop = asyncio.get_running_loop()
    loop.call_soon(lambda: bot.calls.append(asyncio.ensure_future(bot.close())))
    loop.call_soon(lambda: bot.calls.append(asyncio.ensure_future(bot.drain())))
    await asyncio.sleep(0)


async def _cancelled_drain(bot: Bot) -> None:
    task = asyncio.ensure_future(bot.drain())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


WAYS: dict[str, Callable[[Bot], Awaitable[None]]] = {
    "drain": lambda bot: bot.drain(),
    "drain at once": lambda bot: bot.drain(0.01),
    "drain twice": lambda bot: _twice(bot, bot.drain),
    "drains in tasks": _in_tasks,
    "drain, then cancelled": _cancelled_drain,
    "close": lambda bot: bot.close(),
    "close twice": lambda bot: _twice(bot, bot.close),
    "both in callbacks": _in_callbacks,
}
ANSWERED = ("drain", "drain twice", "drains in tasks")


@pytest.mark.parametrize("outer", WAYS)
@pytest.mark.parametrize("inner", WAYS)
@pytest.mark.parametrize("where", ["capability", "listener"])
async def test_all_ways_to_leave_at_once_end(inner: str, outer: str, where: str) -> None:
    """From within and from outside; whoever only drains still answers what runs."""
    async with InMemoryMesh() as mesh, AlephScriptClient(mesh, usuario="asker") as asker:
        bot = Bot(mesh)
        running = asyncio.ensure_future(bot.run_forever())
        await bot._alephscript_life.until(State.READY)
        async with asyncio.timeout(10):
            if where == "listener":
                await asker.broadcast("LEAVE", inner, room="R")
            asked = asyncio.ensure_future(asker.request("LEAVE", inner, timeout=8, room="R"))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            await WAYS[outer](bot)
            answer = (await asyncio.gather(asked, return_exceptions=True))[0]
            await bot.close()
            await running
            await asyncio.gather(*bot.calls, return_exceptions=True)
        assert bot.state is State.CLOSED
        assert isinstance(answer, RequestError) or answer == {"left": inner}
        assert getattr(answer, "code", "") != "deadline_exceeded"


@pytest.mark.parametrize("inner", ANSWERED)
@pytest.mark.parametrize("turns", range(8))
async def test_who_drains_from_both_sides_loses_no_answer(inner: str, turns: int) -> None:
    """Whichever of the two comes first."""
    async with InMemoryMesh() as mesh, AlephScriptClient(mesh, usuario="asker") as asker:
        bot = Bot(mesh)
        running = asyncio.ensure_future(bot.run_forever())
        await bot._alephscript_life.until(State.READY)
        async with asyncio.timeout(10):
            asked = asyncio.ensure_future(asker.request("LEAVE", inner, timeout=8, room="R"))
            while not bot._alephscript_service:  # noqa: ASYNC110 - it has begun
                await asyncio.sleep(0)
            for _ in range(turns):
                await asyncio.sleep(0)
            await bot.drain()
            assert await asked == {"left": inner}
            await running


async def test_two_that_drain_both_answer() -> None:
    """Though each closes the client when it has ended."""
    async with InMemoryMesh() as mesh, AlephScriptClient(mesh, usuario="asker") as asker:
        bot = Bot(mesh)
        running = asyncio.ensure_future(bot.run_forever())
        await bot._alephscript_life.until(State.READY)
        async with asyncio.timeout(10):
            asked = [
                asyncio.ensure_future(asker.request("LEAVE", way, timeout=8, room="R"))
                for way in ANSWERED
            ]
            assert await asyncio.gather(*asked) == [{"left": way} for way in ANSWERED]
            await running


@pytest.mark.parametrize("raised", [ValueError, asyncio.CancelledError, ExceptionGroup])
@pytest.mark.parametrize("way", WAYS)
async def test_a_client_is_left_by_an_exception_as_well(
    way: str, raised: type[BaseException]
) -> None:
    """Which passes, whatever has left it before."""
    error = ExceptionGroup("g", [ValueError()]) if raised is ExceptionGroup else raised()
    async with InMemoryMesh() as mesh:
        bot = Bot(mesh)

        async def use() -> None:
            async with asyncio.timeout(10), bot:
                await WAYS[way](bot)
                raise error

        with pytest.raises(type(error)):
            await use()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*bot.calls, return_exceptions=True)
        assert bot.state is State.CLOSED
