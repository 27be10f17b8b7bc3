"""Who asks one hub by HTTP reaches the masters and the rooms of all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import httpx2
import pytest

from alephscript import AlephScriptClient, Request, capability
from alephscript.hub import Hub
from tests.support.peers import errors_logged
from tests.support.redis import RedisServer
from tests.support.sse import source

__all__ = ["errors_logged"]

pytestmark = [pytest.mark.anyio, pytest.mark.peers]


class Bot(AlephScriptClient):
    """Answers, counts, waits."""

    rooms = ("R",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.entered = asyncio.Event()
        self.cancelled = asyncio.Event()

    @capability("ECHO")
    async def echo(self, request: Request[Any]) -> dict[str, Any]:
        """Say it again."""
        return {"said": request.payload, "caller": request.caller}

    @capability("COUNT")
    async def count(self) -> AsyncGenerator[int, None]:
        """Say numbers."""
        for number in range(50):
            yield number

    @capability("WAIT")
    async def wait(self) -> None:
        """Wait to be cancelled."""
        self.entered.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise


@pytest.fixture
async def hubs(shared_redis: RedisServer) -> AsyncIterator[tuple[Hub, Hub]]:
    """Two hubs that are one mesh."""
    url = shared_redis.url()
    async with Hub(port=0, redis=url) as one, Hub(port=0, redis=url) as other:
        yield one, other


async def test_a_master_at_another_hub_is_asked(hubs: tuple[Hub, Hub]) -> None:
    """With answer, parts, and an end where its client hangs up."""
    here, there = hubs
    async with (
        Bot(there.url) as bot,
        AlephScriptClient(here.url) as client,
        httpx2.AsyncClient(base_url=here.url) as http,
    ):
        await client.request("ECHO", wait_for_master=True)  # this hub knows of the master
        response = await http.post("/mesh/rooms/R/ECHO", json={"n": 1})
        assert response.json() == {"success": True, "said": {"n": 1}, "caller": "http"}
        async with source(http, "/mesh/rooms/R/COUNT", {}) as stream:
            told = await stream.rest()
        assert [each.data for each in told[:-1]] == list(range(50))
        asking = asyncio.create_task(http.post("/mesh/rooms/R/WAIT", json={}))
        await bot.entered.wait()
        asking.cancel()
        async with asyncio.timeout(5):
            await bot.cancelled.wait()


async def test_rooms_are_told_and_heard_from_any_hub(hubs: tuple[Hub, Hub]) -> None:
    """Masters and members of others included."""
    here, there = hubs
    async with (
        Bot(there.url, usuario="Bot", sesion="-1") as bot,
        AlephScriptClient(here.url) as client,
        httpx2.AsyncClient(base_url=here.url) as http,
        source(http, "/mesh/rooms/R/events") as events,
    ):
        await client.request("ECHO", wait_for_master=True)
        room = (await http.get("/mesh/rooms/R")).json()
        assert (room["masterName"], room["socketCount"]) == ("Bot-1", 2)
        assert room["masterId"]
        assert set(room["capabilities"]) == {"ECHO", "COUNT", "WAIT"}
        told = (await http.get("/openapi.json")).json()
        assert "/mesh/rooms/R/ECHO" in told["paths"]
        await bot.broadcast("E", {"n": 1})
        while (heard := await events.next()).event != "E":
            assert heard.event == "MASTER_CHANGED"
        assert heard.data == {"n": 1}
        survey = await client.survey("ping", room="R")
        assert sorted(survey.answers) == ["Bot-1", "http"]


async def test_a_hub_that_is_adrift_says_so(own_redis: RedisServer) -> None:
    """And when to ask again; another hub may be asked at once."""
    async with (
        Hub(port=0, redis=own_redis.url()) as hub,
        Bot(hub.url) as bot,
        httpx2.AsyncClient(base_url=hub.url) as http,
    ):
        assert (await http.post("/mesh/rooms/R/ECHO", json={})).status_code == 200
        own_redis.kill()
        async with asyncio.timeout(20):
            while (await http.get("/readyz")).status_code == 200:
                pass
        response = await http.post("/mesh/rooms/R/ECHO", json={})
        assert (response.status_code, response.json()["code"]) == (503, "overloaded")
        assert response.headers["retry-after"]
        assert (await http.get("/mesh/health")).json()["status"] == "adrift"
        assert (await http.get("/mesh/rooms/R")).status_code == 200
        assert bot.state is not None
