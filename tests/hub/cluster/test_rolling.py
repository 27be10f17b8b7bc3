"""Hubs are started again one after the other, under load, and nobody loses a request."""

from __future__ import annotations

import asyncio
import itertools
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from alephscript import AlephScriptClient, RequestError, State, capability

from .conftest import HubStart

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120), pytest.mark.peers, pytest.mark.slow]

RUN: Counter[int] = Counter()
"""How often each request has run."""


def at_once() -> Iterator[float]:
    """Delays between attempts to reconnect: hardly any."""
    return itertools.repeat(0.05)


class Bot(AlephScriptClient):
    """Answers, now and then after a while."""

    rooms = ("WORK",)

    @capability("ECHO")
    async def echo(self, number: int) -> dict[str, Any]:
        """Say it again."""
        RUN[number] += 1
        if number % 10 == 0:
            await asyncio.sleep(0.2)
        return {"number": number}


class Load:
    """Clients that ask one request after the other, and each again that was refused.

    Attributes:
        answered: How many requests were answered.
        refused: Why requests were refused, each of which was asked again.
    """

    def __init__(self) -> None:
        self.answered = 0
        self.refused: list[RequestError] = []
        self._numbers = itertools.count(1)
        self._goes_on = True

    async def ask(self, client: AlephScriptClient) -> None:
        """Ask until all end."""
        while self._goes_on:
            number = next(self._numbers)
            while not await self._is_answered(client, number):  # noqa: ASYNC110 - of its own
                await asyncio.sleep(0.05)
            self.answered += 1
            await asyncio.sleep(0.005)

    async def _is_answered(self, client: AlephScriptClient, number: int) -> bool:
        try:
            answer = await client.request("ECHO", number, room="WORK", timeout=20)
        except RequestError as error:
            self.refused.append(error)
            return False
        assert answer == {"number": number}
        return True

    async def more(self, count: int) -> None:
        """Wait until so many more are answered."""
        goal = self.answered + count
        while self.answered < goal:  # noqa: ASYNC110 - load says nothing
            await asyncio.sleep(0.01)

    def end(self) -> None:
        """Ask nothing new."""
        self._goes_on = False


async def test_a_rolling_restart_loses_no_request_and_no_master(
    shared_redis: Any, start_hub: HubStart
) -> None:
    """Each request is answered once and runs once; what is refused was not delivered.

    But for what a client has sent in the moment in which its hub went, of which nobody can say.
    """
    redis = shared_redis.url()
    hubs = await asyncio.gather(*(start_hub(redis) for _ in range(3)))
    RUN.clear()
    load = Load()
    async with AsyncExitStack() as stack:
        bots = [Bot(hub.url, usuario=f"bot{n}", backoff=at_once) for n, hub in enumerate(hubs)]
        clients = [AlephScriptClient(each.url, backoff=at_once) for each in hubs * 3]
        for each in (*bots, *clients):
            await stack.enter_async_context(each)
        loads = [asyncio.create_task(load.ask(client)) for client in clients]
        for number, hub in enumerate(hubs):
            await load.more(200)
            port = hub.url.rpartition(":")[2]
            hub.send(signal.SIGTERM)
            assert await hub.ended() == 0
            hubs[number] = await start_hub(redis, port)
            async with asyncio.timeout(20):  # as whoever restarts hubs waits for /readyz
                await bots[number]._alephscript_life.until(State.READY)
        await load.more(200)
        load.end()
        async with asyncio.timeout(20):
            await asyncio.gather(*loads)
    assert set(RUN.values()) == {1}
    assert {each.code for each in load.refused} <= {"overloaded", "not_connected", "link_lost"}
    for error in load.refused:
        assert error.code != "overloaded" or error.details == [{"delivered": False}]
