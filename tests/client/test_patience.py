"""Askers that wait as long as there are signs of life."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from alephscript import AlephScriptClient, DeadlineExceeded, Question, Request, capability
from alephscript.client.patience import Patience
from tests.support.meshes import MeshUnderTest, mesh

__all__ = ["mesh"]

pytestmark = pytest.mark.anyio

SHORT = 0.6
"""Seconds of silence that an asker bears: more than a busy machine stalls."""

SIGNS = 7
"""Signs of life, each well within that time, all together far beyond it."""


class Slow(AlephScriptClient):
    """Works long, and says so or not."""

    rooms = ("SLOW",)
    was_cancelled: asyncio.Event

    @capability("REPORT")
    async def report(self, request: Request[Any]) -> str:
        """Report all the time, or fall silent after the first report."""
        for sign in range(SIGNS):
            request.progress(sign / SIGNS)
            if request.payload.get("silent"):
                await self.wait_for_ever()
            await asyncio.sleep(SHORT / 6)
        return "done"

    @capability("PARTS")
    async def parts(self, payload: dict[str, Any]) -> AsyncIterator[int]:
        """Give parts all the time, or fall silent after the first one."""
        for sign in range(SIGNS):
            yield sign
            if payload.get("silent"):
                await self.wait_for_ever()
            await asyncio.sleep(SHORT / 6)

    @capability("FLOOD")
    async def flood(self) -> AsyncIterator[int]:
        """Give as many parts as are taken, at once."""
        for part in range(200):
            yield part

    @capability("ASK")
    async def ask_back(self, request: Request[Any]) -> Any:
        """Ask something that takes long to answer."""
        return await request.ask("WHETHER")

    async def wait_for_ever(self) -> None:
        """Wait until the request is cancelled."""
        try:
            await asyncio.Event().wait()
        finally:
            self.was_cancelled.set()


async def opened(mesh: MeshUnderTest) -> tuple[Slow, AlephScriptClient]:
    """A slow master and an asker."""
    slow = await mesh.open(Slow)
    slow.was_cancelled = asyncio.Event()
    return slow, await mesh.open(usuario="asker")


async def test_progress_and_parts_let_a_request_go_on(mesh: MeshUnderTest) -> None:
    """Longer than nothing may be heard."""
    _, asker = await opened(mesh)
    assert await asker.request("REPORT", idle_timeout=SHORT, timeout=30) == {"result": "done"}
    parts = [part async for part in asker.stream("PARTS", idle_timeout=SHORT)]
    assert parts == list(range(SIGNS))


async def test_silence_ends_a_request_and_its_method(mesh: MeshUnderTest) -> None:
    """Long before its deadline; the details say that it was silence."""
    slow, asker = await opened(mesh)
    with pytest.raises(DeadlineExceeded) as caught:
        await asker.request("REPORT", {"silent": True}, idle_timeout=SHORT, timeout=60)
    assert caught.value.details == [{"delivered": True, "idle": True}]
    await asyncio.wait_for(slow.was_cancelled.wait(), 5)
    slow.was_cancelled.clear()
    parts = asker.stream("PARTS", {"silent": True}, idle_timeout=SHORT)
    assert await anext(parts) == 0
    with pytest.raises(DeadlineExceeded) as caught:
        await anext(parts)
    assert caught.value.details[0]["idle"] is True
    await asyncio.wait_for(slow.was_cancelled.wait(), 5)


async def test_the_deadline_holds_whatever_is_heard(mesh: MeshUnderTest) -> None:
    """And is not called silence."""
    _, asker = await opened(mesh)
    with pytest.raises(DeadlineExceeded) as caught:
        await asker.request("REPORT", idle_timeout=10, timeout=SHORT / 2)
    assert "idle" not in caught.value.details[0]


async def test_a_slow_reader_is_not_taken_for_silence(mesh: MeshUnderTest) -> None:
    """Its master waits until it may send more."""
    _, asker = await opened(mesh)
    count = 0
    async for _ in asker.stream("FLOOD", idle_timeout=SHORT):
        if count == 70:
            await asyncio.sleep(SHORT * 2)
        count += 1
    assert count == 200


async def test_no_time_passes_while_a_question_is_open(mesh: MeshUnderTest) -> None:
    """It is the asker's turn."""
    _, asker = await opened(mesh)

    async def consider(_: Question[Any]) -> dict[str, Any]:
        await asyncio.sleep(SHORT * 2)
        return {"well": True}

    assert await asker.request("ASK", on_ask=consider, idle_timeout=SHORT) == {"well": True}


async def test_a_timer_is_set_anew_only_when_it_rings() -> None:
    """Signs of life cost a look at the clock each."""
    future: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
    patience = Patience(0.05, future, DeadlineExceeded)
    patience.hold()
    await asyncio.sleep(0.1)
    assert not future.done()
    patience.release()
    with pytest.raises(DeadlineExceeded):
        await asyncio.wait_for(future, 5)
    patience.close()
