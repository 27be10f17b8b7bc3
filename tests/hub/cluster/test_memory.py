"""Hubs and Redis are killed: last values are the same everywhere, and whoever leaves is missed."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from alephscript import AlephScriptClient, Event, EventStream, Member, observe
from alephscript.hub import Hub

from .conftest import HubStart

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]

ROOM = "AAIA_ROOM"

Open = Callable[..., Awaitable[Any]]


class There(AlephScriptClient):
    """Is in the room."""

    rooms = observe(ROOM)


@pytest.fixture
async def opened() -> AsyncIterator[Open]:
    """Opens clients, and closes them when the test ends."""
    async with AsyncExitStack() as stack:

        async def enter(url: str, cls: Any = AlephScriptClient, **options: Any) -> Any:
            client = cls(url, backoff=lambda: iter([0.05] * 999), connect_timeout=5, **options)
            return await stack.enter_async_context(client)

        yield enter


async def until(true: Callable[[], Awaitable[bool]]) -> None:
    """Try until it is so."""
    async with asyncio.timeout(20):
        while not await true():  # noqa: ASYNC110 - other processes say nothing
            await asyncio.sleep(0.02)


async def kept_at(url: str) -> dict[str, Any]:
    """What somebody who comes now is told at a hub, by the end of its subscription."""
    async with AlephScriptClient(url) as late:
        stream = late.events(ROOM)
        await late.subscribe(ROOM)
        events = [stream.take() for _ in range(len(stream))]
        return {each.name: each.data for each in events if each is not None and each.retained}


async def keep_at(url: str, kept: dict[str, Any]) -> None:
    """Wait until a hub has this, and nothing else."""

    async def is_so() -> bool:
        return await kept_at(url) == kept

    await until(is_so)


async def change(stream: EventStream, of: str = "") -> tuple[str, str]:
    """The next that comes or goes, if it is of this name."""
    async with asyncio.timeout(20):
        while True:
            event: Event[Any] = await anext(stream)
            if of in ("", event.data["usuario"]):
                return event.data.get("reason", "+"), event.data["usuario"]


async def test_a_killed_hubs_members_are_said_to_have_left_by_the_others(
    shared_redis: Any, start_hub: HubStart, opened: Open
) -> None:
    """At each of them, once each, within a moment; those of other hubs stay."""
    redis = shared_redis.url()
    hubs = [await start_hub(redis) for _ in range(3)]
    streams = []
    for hub in hubs[:2]:
        watcher = await opened(hub.url, usuario="watcher")
        streams.append(watcher.events(ROOM, "MEMBER_JOINED", "MEMBER_LEFT"))
        await watcher.subscribe(ROOM, presence=True)
    assert await change(streams[0]) == ("+", "watcher")
    for number in range(5):
        await opened(hubs[2].url, There, usuario=f"lost{number}")
    stays = await opened(hubs[1].url, There, usuario="stays", sesion="1")
    lost = {f"lost{number}" for number in range(5)}
    for stream in streams:
        assert {await change(stream) for _ in range(6)} == {
            ("+", each) for each in (*lost, "stays")
        }
    hubs[2].send(signal.SIGKILL)
    for stream in streams:
        assert {await change(stream) for _ in range(5)} == {("hub_lost", each) for each in lost}
    assert Member("stays", "1") in await stays.members(ROOM)
    assert not {each.usuario for each in await stays.members(ROOM)} & lost
    await stays.close()
    for stream in streams:
        assert await change(stream) == ("disconnected", "stays")
        assert len(stream) == 0


async def test_values_outlive_all_hubs_but_not_what_was_forgotten(
    shared_redis: Any, start_hub: HubStart, opened: Open
) -> None:
    """Each hub is killed and started again, in turn and then all of them."""
    redis = shared_redis.url()
    one, two = await start_hub(redis), await start_hub(redis)
    authority = await opened(one.url)
    for number in range(3):
        await authority.broadcast("MUNDO_STATE", number, room=ROOM, retain=True)
        await authority.broadcast("WEATHER", number, room=ROOM, retain=True)
    await keep_at(two.url, {"MUNDO_STATE": 2, "WEATHER": 2})
    one.send(signal.SIGKILL)
    await one.ended()
    other = await opened(two.url)
    await other.broadcast("WEATHER", None, room=ROOM, retain=True)
    await other.broadcast("MUNDO_STATE", 3, room=ROOM, retain=True)
    await keep_at(two.url, {"MUNDO_STATE": 3})
    port = one.url.rpartition(":")[2]
    one = await start_hub(redis, port)
    assert await kept_at(one.url) == {"MUNDO_STATE": 3}
    for each in (one, two):
        each.send(signal.SIGKILL)
        await each.ended()
    one = await start_hub(redis, port)
    assert await kept_at(one.url) == {"MUNDO_STATE": 3}


async def test_redis_comes_back_empty_and_gets_the_values_from_the_hubs(
    own_redis: Any, start_hub: HubStart, opened: Open
) -> None:
    """What was said meanwhile, too; and members that were out of reach have left, and come."""
    redis = own_redis.url()
    one, two = await start_hub(redis), await start_hub(redis)
    here, there = await opened(one.url, usuario="here"), await opened(two.url, There, usuario="far")
    stream = here.events(ROOM, "MEMBER_JOINED", "MEMBER_LEFT")
    await here.subscribe(ROOM, presence=True)
    assert len(await here.members(ROOM)) == 2
    await here.broadcast("MUNDO_STATE", 1, room=ROOM, retain=True)
    await here.broadcast("WEATHER", 1, room=ROOM, retain=True)
    await keep_at(two.url, {"MUNDO_STATE": 1, "WEATHER": 1})
    own_redis.kill()
    assert await change(stream, "far") == ("hub_lost", "far")
    await here.broadcast("MUNDO_STATE", 2, room=ROOM, retain=True)
    await keep_at(one.url, {"MUNDO_STATE": 2, "WEATHER": 1})
    assert await kept_at(two.url) == {"MUNDO_STATE": 1, "WEATHER": 1}
    said = there.events(ROOM, "MUNDO_STATE")
    own_redis.start()
    assert await change(stream, "far") == ("+", "far")
    for url in (one.url, two.url):
        await keep_at(url, {"MUNDO_STATE": 2, "WEATHER": 1})
    async with asyncio.timeout(10):
        assert (await anext(said)).data == 2
    assert await kept_at((await start_hub(redis)).url) == {"MUNDO_STATE": 2, "WEATHER": 1}


async def test_two_authorities_at_once_end_with_one_value(shared_redis: Any, opened: Open) -> None:
    """Whatever each of them has heard in between, the last that all hear is the same."""
    redis = shared_redis.url()
    async with Hub(port=0, redis=redis) as one, Hub(port=0, redis=redis) as two:
        authorities = [await opened(hub.url, There) for hub in (one, two)]
        streams = [each.events(ROOM, "MUNDO_STATE") for each in authorities]
        for number in range(200):
            for name, authority in zip("ab", authorities, strict=True):
                await authority.broadcast("MUNDO_STATE", f"{name}{number}", room=ROOM, retain=True)
            if number % 20 == 0:
                await asyncio.sleep(0.001)

        async def is_decided() -> bool:
            """Whether each hub has the value, and nothing of what was said is under way."""
            said = [await each.server_state() for each in authorities]
            meshes = [each._engine.meshes["/runtime"] for each in (one, two)]
            pending = [v.is_pending for mesh in meshes for *_, v in mesh.speech.retained]
            return len(said) == len(pending) and not any(pending)

        await until(is_decided)
        kept = await kept_at(one.url)
        assert kept == await kept_at(two.url)
        for authority, stream in zip(authorities, streams, strict=True):
            await authority.members(ROOM)
            last = [stream.take() for _ in range(len(stream))][-1]
            assert last is not None
            assert {"MUNDO_STATE": last.data} == kept
