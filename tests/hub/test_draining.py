"""A hub that drains takes nothing more, and lets what is open end."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from alephscript import AlephScriptClient, ConnectionRefused, LinkLost, Overloaded, capability
from alephscript.hub import Hub

pytestmark = pytest.mark.anyio


class Bot(AlephScriptClient):
    """Answers when it is let go."""

    rooms = ("WORK",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.entered = asyncio.Event()
        self.let_go = asyncio.Event()

    @capability("WAIT")
    async def wait(self) -> dict[str, Any]:
        """Wait to be let go."""
        self.entered.set()
        await self.let_go.wait()
        return {"waited": True}


async def test_open_requests_end_and_new_ones_are_refused() -> None:
    """Neither is anybody let in any more; then it closes."""
    async with Hub(port=0) as hub, Bot(hub.url) as bot, AlephScriptClient(hub.url) as client:
        url = hub.url
        waiting = asyncio.create_task(client.request("WAIT", timeout=30))
        await bot.entered.wait()
        draining = asyncio.create_task(hub.drain(30))
        await asyncio.sleep(0)  # it begins with its first turn
        with pytest.raises(Overloaded) as refused:
            await client.request("WAIT")
        assert refused.value.details == [{"delivered": False}]
        with pytest.raises(ConnectionRefused):
            await AlephScriptClient(url).__aenter__()
        assert not draining.done()
        bot.let_go.set()
        async with asyncio.timeout(5):
            assert await waiting == {"waited": True}
            await draining


async def test_what_does_not_end_in_time_ends_as_if_the_hub_were_lost() -> None:
    """Draining is bounded; afterwards the hub can be opened again, and takes requests."""
    hub = Hub(port=0)
    async with hub, Bot(hub.url) as bot, AlephScriptClient(hub.url) as client:
        waiting = asyncio.create_task(client.request("WAIT", timeout=30))
        await bot.entered.wait()
        await hub.drain(0.05)
        with pytest.raises(LinkLost):
            await waiting
        await hub.drain(1)  # of a hub that is closed: nothing
    async with hub, Bot(hub.url) as bot, AlephScriptClient(hub.url) as client:
        bot.let_go.set()
        assert await client.request("WAIT") == {"waited": True}
