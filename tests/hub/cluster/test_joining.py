"""A hub that joins the others again, and what its members do in that moment."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from alephscript import AlephScriptClient, NoMaster, capability
from alephscript.hub import Hub
from alephscript.hub.cluster.resp import Commands
from tests.support.redis import RedisCluster, RedisServer

pytestmark = [pytest.mark.anyio, pytest.mark.peers]


@pytest.mark.parametrize(
    "way", ["alone", "logged", pytest.param("a cluster", marks=pytest.mark.slow)]
)
async def test_a_room_that_is_entered_while_a_hub_joins_is_heard(
    request: pytest.FixtureRequest, way: str
) -> None:
    """And one that is left meanwhile costs nothing any more."""
    if way == "a cluster":
        cluster: RedisCluster = request.getfixturevalue("redis_cluster")
        url = cluster.url
    else:
        shared: RedisServer = request.getfixturevalue("shared_redis")
        url = shared.url()
    log = ["EARLY", "LATE"] if way == "logged" else []
    async with (
        Hub(port=0, redis=url, log=log) as one,
        Hub(port=0, redis=url, log=log) as other,
        AlephScriptClient(one.url) as here,
        AlephScriptClient(other.url) as there,
    ):
        await here.subscribe("EARLY")
        registry: Any = one._membership and one._membership.cluster._registry
        load, is_loaded = registry._scripts.load, asyncio.Event()

        async def load_later(commands: Any) -> None:
            await here.subscribe("LATE")
            await here.unsubscribe("EARLY")
            await load(commands)
            is_loaded.set()

        registry._scripts.load = load_later
        registry._commands.fail(ConnectionError("cut"))
        async with asyncio.timeout(10):
            await is_loaded.wait()
            while one._engine.why_not_ready:  # noqa: ASYNC110 - nobody says when
                await asyncio.sleep(0.01)
        events = here.events("LATE")
        async with asyncio.timeout(10):
            while True:
                await there.broadcast("SAID", None, room="LATE")
                try:
                    async with asyncio.timeout(0.1):
                        assert (await anext(events)).name == "SAID"
                except TimeoutError:
                    continue
                break
        assert list(registry._subscriptions) == [registry._hearing.channel_of("/runtime", "LATE")]


class Bot(AlephScriptClient):
    """Masters a room."""

    rooms = ("WORK",)

    @capability("X")
    async def x(self, payload: Any) -> dict[str, Any]:
        """Answer."""
        return {"said": payload}


async def test_a_master_that_goes_while_its_hub_joins_is_no_master_any_more(
    shared_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was put forward already; who asks is told at once that there is nobody."""
    url = shared_redis.url()
    async with (
        Hub(port=0, redis=url) as one,
        Hub(port=0, redis=url) as other,
        AlephScriptClient(other.url) as there,
        Bot(one.url) as bot,
    ):
        assert await there.request("X", 1, timeout=5) == {"said": 1}
        registry: Any = one._membership and one._membership.cluster._registry
        execute, is_gone = Commands.execute, asyncio.Event()

        async def execute_later(self: Commands, commands: Any, **options: Any) -> Any:
            if len(commands) > 1:  # claims, and the question what all have decided
                await bot.close()
                await asyncio.sleep(0.05)
                is_gone.set()
            return await execute(self, commands, **options)

        monkeypatch.setattr(Commands, "execute", execute_later)
        registry._commands.fail(ConnectionError("cut"))
        async with asyncio.timeout(10):
            await is_gone.wait()
            while one._engine.why_not_ready:  # noqa: ASYNC110 - nobody says when
                await asyncio.sleep(0.01)
        with pytest.raises(NoMaster):
            await there.request("X", 1, room="WORK", timeout=5)
