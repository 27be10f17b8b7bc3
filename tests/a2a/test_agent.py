"""One connection to an agent, at moments that no real agent can be brought to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from a2a.types import CancelTaskRequest, SendMessageRequest, StreamResponse, Task

from alephscript.a2a.agent import Agent
from alephscript.a2a.foreign import Answer

pytestmark = pytest.mark.anyio


class Busy:
    """A client of an agent that begins with a task, and has its asker leave some turns later."""

    def __init__(self, turns: int) -> None:
        self.cancelled = asyncio.Queue[str]()
        self.leave = asyncio.Event()
        self._turns = turns

    async def send_message(self, _: SendMessageRequest) -> AsyncIterator[StreamResponse]:
        """Say which task it is."""
        yield StreamResponse(task=Task(id="T", context_id="C"))
        for _turn in range(self._turns):
            await asyncio.sleep(0)
        self.leave.set()
        await asyncio.Event().wait()

    async def cancel_task(self, request: CancelTaskRequest) -> None:
        """Take the cancellation."""
        self.cancelled.put_nowait(request.id)


@pytest.mark.parametrize("turns", range(6))
async def test_whoever_leaves_as_the_task_is_named_cancels_it(turns: int) -> None:
    """Also in the turn in which its name has come, and nobody has seen it yet."""
    async with httpx.AsyncClient() as http:
        agent = Agent(http, "http://127.0.0.1:9")
        client: Any = Busy(turns)
        agent._client = client

        async def ask() -> None:
            async for _ in agent.ask(SendMessageRequest(), Answer()):
                pass

        asking = asyncio.create_task(ask())
        await client.leave.wait()
        asking.cancel()
        async with asyncio.timeout(20):
            assert await client.cancelled.get() == "T"
        await agent.close()
