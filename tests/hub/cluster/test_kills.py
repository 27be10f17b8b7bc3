"""Hubs, masters and Redis are killed and stopped: every request ends, no room has two masters."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from alephscript import AlephScriptClient, MasterLost, NoMaster, RequestError, State, capability
from alephscript.hub import Hub, HubError
from tests.support.processes import Start

from .conftest import HubStart

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]


def at_once() -> Iterator[float]:
    """Delays between attempts to reconnect: hardly any."""
    while True:
        yield 0.05


class Bot(AlephScriptClient):
    """Answers, or does not."""

    rooms = ("WORK",)

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{"backoff": at_once, **options})
        self.began = asyncio.Event()
        self.stopped = asyncio.Event()

    @capability("ECHO")
    async def echo(self, number: Any) -> dict[str, Any]:
        """Say it again."""
        return {"number": number, "by": self.usuario}

    @capability("HANG")
    async def hang(self, payload: dict[str, Any]) -> dict[str, Any]:
        """Never answer."""
        self.began.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.stopped.set()
        return payload


@pytest.fixture
async def opened() -> AsyncIterator[Callable[..., Awaitable[Any]]]:
    """Opens clients, and closes them when the test ends."""
    async with AsyncExitStack() as stack:

        async def enter(cls: type[AlephScriptClient], url: str, **options: Any) -> Any:
            client = cls(url, backoff=at_once, connect_timeout=5, **options)
            return await stack.enter_async_context(client)

        yield enter


async def until(true: Callable[[], Awaitable[bool]], seconds: float = 15) -> None:
    """Try until it is so."""
    async with asyncio.timeout(seconds):
        while not await true():  # noqa: ASYNC110 - other processes say nothing
            await asyncio.sleep(0.02)


async def answers(client: AlephScriptClient, by: str | None = None) -> bool:
    """Whether WORK has a master that answers: this one, if it is named."""
    try:
        answer = await client.request("ECHO", 7, timeout=2)
    except RequestError:
        return False
    return by is None or answer["by"] == by


async def test_a_redis_that_is_not_there_is_said_in_a_sentence(
    redis_program: str,
) -> None:
    """With what to do, without its password."""
    with pytest.raises(HubError, match=r"cannot reach Redis at redis://127\.0\.0\.1:1/0") as caught:
        async with Hub(port=0, redis="redis://me:secret@127.0.0.1:1/0"):
            pass
    assert "secret" not in str(caught.value)
    with pytest.raises(HubError, match="is no address of a Redis"):
        async with Hub(port=0, redis="http://127.0.0.1:1"):
            pass


async def test_a_killed_hub_ends_what_its_masters_had_at_once(
    shared_redis: Any, start_hub: HubStart, opened: Any
) -> None:
    """Long before its lease has run out; whoever stands by elsewhere takes over."""
    redis = shared_redis.url()
    one, two = await start_hub(redis), await start_hub(redis)
    bot = await opened(Bot, two.url, usuario="bot")
    asker = await opened(AlephScriptClient, one.url)
    hanging = [asyncio.create_task(asker.request("HANG", {}, timeout=60)) for _ in range(100)]
    await bot.began.wait()
    async with asyncio.timeout(5):
        two.send(signal.SIGKILL)
        ends = await asyncio.gather(*hanging, return_exceptions=True)
    # What had not left its hub by then was never delivered.
    assert MasterLost in {type(end) for end in ends} <= {MasterLost, NoMaster}
    with pytest.raises(NoMaster):
        await asker.request("ECHO", 1)
    await opened(Bot, one.url, usuario="next")
    assert await answers(asker, "next")


async def test_a_killed_master_ends_what_it_had_across_hubs(
    shared_redis: Any, start_hub: HubStart, start: Start, opened: Any
) -> None:
    """As at its own hub."""
    redis = shared_redis.url()
    one, two = await start_hub(redis), await start_hub(redis)
    worker = await start("-m", "tests.hub.cluster.worker", two.url, "worker", ready=b"is ready: ")
    asker = await opened(AlephScriptClient, one.url)
    waiting = [asyncio.create_task(asker.request("HANG", {}, timeout=60)) for _ in range(20)]
    assert await answers(asker, "worker")  # they are there by now: order is kept
    async with asyncio.timeout(10):
        worker.send(signal.SIGKILL)
        ends = await asyncio.gather(*waiting, return_exceptions=True)
    assert {type(end) for end in ends} == {MasterLost}


async def test_a_killed_asker_or_its_hub_cancels_at_the_master(
    shared_redis: Any, start_hub: HubStart, opened: Any
) -> None:
    """Nothing runs on for who is gone."""
    redis = shared_redis.url()
    one, two = await start_hub(redis), await start_hub(redis)
    bot = await opened(Bot, two.url)
    asker = await opened(AlephScriptClient, one.url)
    asking = asyncio.create_task(asker.request("HANG", {}, timeout=60))
    await bot.began.wait()
    assert not bot.stopped.is_set()
    one.send(signal.SIGKILL)
    with pytest.raises(RequestError):
        await asking
    async with asyncio.timeout(10):
        await bot.stopped.wait()


async def test_redis_is_killed_and_comes_back_empty(
    own_redis: Any, start_hub: HubStart, opened: Any
) -> None:
    """Local work goes on; remote work ends at once, with a reason; then all is as it was."""
    redis = own_redis.url()
    one, two = await start_hub(redis), await start_hub(redis)
    bot = await opened(Bot, two.url, usuario="bot")
    here, there = await opened(AlephScriptClient, two.url), await opened(AlephScriptClient, one.url)
    epoch = (await here.discover())[0].epoch
    hanging = asyncio.create_task(there.request("HANG", {}, timeout=60))
    await bot.began.wait()
    own_redis.kill()
    async with asyncio.timeout(10):
        with pytest.raises(MasterLost):
            await hanging
        with pytest.raises((NoMaster, MasterLost)):
            await there.request("ECHO", 1)
    assert await answers(here, "bot")
    own_redis.start()
    await until(lambda: answers(there, "bot"))
    assert await answers(here, "bot")
    (offer,) = [each for each in await there.discover() if each.capability == "ECHO"]
    assert offer.masters == (bot.usuario + bot.sesion,)
    assert offer.epoch > epoch


async def test_a_stalled_redis_ends_remote_work_and_heals(
    own_redis: Any, start_hub: HubStart, opened: Any
) -> None:
    """It takes connections and says nothing: noticed by its silence."""
    redis = own_redis.url()
    one, two = await start_hub(redis), await start_hub(redis)
    bot = await opened(Bot, two.url, usuario="bot")
    here, there = await opened(AlephScriptClient, two.url), await opened(AlephScriptClient, one.url)
    hanging = asyncio.create_task(there.request("HANG", {}, timeout=60))
    await bot.began.wait()
    own_redis.send(signal.SIGSTOP)
    try:
        async with asyncio.timeout(10):
            with pytest.raises(MasterLost):
                await hanging
        assert await answers(here, "bot")
    finally:
        own_redis.send(signal.SIGCONT)
    await until(lambda: answers(there, "bot"))


async def test_a_hub_that_was_stopped_for_a_while_comes_back_to_what_was_decided(
    shared_redis: Any, start_hub: HubStart, opened: Any
) -> None:
    """Its lease ran out and somebody else masters its room: its old name counts no more."""
    redis = shared_redis.url()
    one, two = await start_hub(redis), await start_hub(redis)
    await opened(Bot, two.url, usuario="old")
    asker = await opened(AlephScriptClient, one.url)
    assert await answers(asker, "old")
    two.send(signal.SIGSTOP)

    async def is_vacant() -> bool:
        return not await asker.discover()

    await until(is_vacant)
    await opened(Bot, one.url, usuario="new")
    assert await answers(asker, "new")
    two.send(signal.SIGCONT)
    at_two = await opened(AlephScriptClient, two.url)
    await until(lambda: answers(at_two, "new"))
    assert await answers(asker, "new")
    for client in (asker, at_two):
        (offer,) = [each for each in await client.discover() if each.capability == "ECHO"]
        assert len(offer.masters) == 1


async def test_three_hubs_thirty_masters_and_three_hundred_clients_survive_random_kills(  # noqa: C901, PLR0915
    shared_redis: Any, start_hub: HubStart, opened: Any
) -> None:
    """Every request ends, no room ends with two masters, nothing is left in Redis."""
    redis = shared_redis.url()
    hubs = [await start_hub(redis) for _ in range(3)]
    urls = [each.url for each in hubs]
    masters: list[AlephScriptClient] = []
    for number in range(30):
        made = type("Master", (Bot,), {"rooms": (f"ROOM_{number}",)})
        masters.append(await opened(made, urls[number % 3], usuario=f"bot{number}"))
    clients = [await opened(AlephScriptClient, urls[number % 3]) for number in range(300)]
    ends: Counter[str] = Counter()
    asked = 0
    going = True

    async def load(client: AlephScriptClient) -> None:
        nonlocal asked
        while going:
            room, number = f"ROOM_{random.randrange(30)}", random.randrange(10**6)
            asked += 1
            try:
                answer = await client.request("ECHO", number, room=room, timeout=10)
            except RequestError as error:
                ends[error.code] += 1
                await asyncio.sleep(0.2)
            else:
                assert answer["number"] == number
                ends["ok"] += 1
                await asyncio.sleep(random.uniform(0.1, 0.3))

    loads = [asyncio.create_task(load(client)) for client in clients]
    for victim in (2, 1):
        goal = ends["ok"] + 1000
        while ends["ok"] < goal:  # noqa: ASYNC110 - load says nothing
            await asyncio.sleep(0.02)
        killed = time.monotonic()
        port = urls[victim].rpartition(":")[2]
        hubs[victim].send(signal.SIGKILL)
        await hubs[victim].ended()
        assert time.monotonic() - killed < 30
        hubs[victim] = await start_hub(redis, port)
    for client in (*masters, *clients):
        async with asyncio.timeout(30):
            await client._alephscript_life.until(State.READY)
    goal = ends["ok"] + 1000
    while ends["ok"] < goal:  # noqa: ASYNC110 - load says nothing
        await asyncio.sleep(0.02)
    going = False
    async with asyncio.timeout(30):
        await asyncio.gather(*loads)
    assert ends.total() == asked
    assert set(ends) <= {
        *("ok", "master_lost", "no_master", "link_lost", "not_connected", "deadline_exceeded")
    }
    for url in urls:
        seen = await opened(AlephScriptClient, url)
        offers = [each for each in await seen.discover() if each.capability == "ECHO"]
        assert sorted(each.room for each in offers) == sorted(f"ROOM_{n}" for n in range(30))
        assert all(len(each.masters) == 1 for each in offers)
    for master in masters:
        await master.close()
    await _nothing_is_left_of_the_killed(shared_redis, redis, hubs=3)


async def _nothing_is_left_of_the_killed(server: Any, redis: str, *, hubs: int) -> None:
    """The registry holds the hubs that live, and no master."""
    database = redis.rpartition("/")[2]
    prefix = f"alephscript:{database}"

    async def is_clean() -> bool:
        return bool(server.command("-n", database, "keys", "*:rooms") == "")

    await until(is_clean)
    alive = server.command("-n", database, "smembers", f"{prefix}:hubs").splitlines()
    assert len(alive) == hubs
    kept = set(server.command("-n", database, "keys", "*").splitlines())
    assert kept == {f"{prefix}:seq", f"{prefix}:hubs", *(f"{prefix}:hub:{each}" for each in alive)}
