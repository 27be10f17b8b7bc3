"""A mesh by HTTP where its hub is mounted in the server of another application."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx2
import pytest

from alephscript.hub import Hub, Limits
from tests.hub.rest.test_asking import ROOM, Bot
from tests.support.peers import errors_logged
from tests.support.servers import DOORS, hub_behind
from tests.support.sse import JSON, Told, source

__all__ = ["errors_logged"]

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("door", DOORS)]


@pytest.fixture
async def hub(door: str) -> AsyncIterator[Hub]:
    """A hub behind a door."""
    limits = Limits(join_seconds=1, message_bytes=100_000, backlog_bytes=200_000)
    async with hub_behind(door, limits=limits) as hub:
        yield hub


@pytest.fixture
async def bot(hub: Hub) -> AsyncIterator[Bot]:
    """A bot in its room."""
    async with Bot(hub.url) as bot:
        yield bot


@pytest.fixture
async def http(hub: Hub) -> AsyncIterator[httpx2.AsyncClient]:
    """A client by HTTP, below the place where the hub is."""
    async with httpx2.AsyncClient(base_url=hub.url) as http:
        yield http


async def test_a_master_is_asked(hub: Hub, bot: Bot, http: httpx2.AsyncClient) -> None:
    """With an answer, a failure, and parts; a room's name has its slash."""
    response = await http.post(f"{ROOM}/ECHO", json={"a": 1})
    assert response.json() == {"success": True, "payload": {"a": 1}, "caller": "http"}
    response = await http.post(f"{ROOM}/WAIT?timeoutMs=50", json={})
    assert (response.status_code, response.json()["code"]) == (504, "deadline_exceeded")
    async with source(http, f"{ROOM}/COUNT", {"to": 40}) as stream:
        told = await stream.rest()
    assert [each.data for each in told if each.event == "part"] == list(range(40))
    assert told[-1].event == "answer"


async def test_a_mount_named_as_the_folder_is_has_the_paths_of_the_folder(
    hub: Hub, bot: Bot, http: httpx2.AsyncClient, door: str
) -> None:
    """So that `app.mount("/mesh", hub.asgi())` gives upstream's addresses."""
    root = hub.url.removesuffix("/mesh")
    for path in ("/mesh/rooms", "/mesh/capabilities", ROOM):
        assert (await http.get(f"{root}{path}")).status_code == 200
    response = await http.post(f"{root}{ROOM}/ECHO", json={})
    assert response.status_code == 200
    document = (await http.get("/openapi.json")).json()
    [server] = document["servers"]
    path = next(each for each in document["paths"] if each.endswith("/ECHO"))
    where = root + server["url"].rstrip("/") + path
    assert (await http.post(where, json={})).status_code == 200
    assert server["url"] == ("/" if door == "own port" else "/mesh")


async def test_a_hang_up_cancels_the_request(hub: Hub, bot: Bot, http: httpx2.AsyncClient) -> None:
    """However its server tells."""
    asking = asyncio.create_task(http.post(f"{ROOM}/WAIT", json={}))
    await bot.entered.wait()
    asking.cancel()
    async with asyncio.timeout(5):
        await bot.cancelled.wait()


async def test_a_room_is_heard(hub: Hub, bot: Bot, http: httpx2.AsyncClient) -> None:
    """As it is said; who leaves is no member any more."""
    async with source(http, f"{ROOM}/events") as events:
        await bot.broadcast("E", {"n": 1}, room="R/Ñ")
        assert await events.next() == Told("E", {"n": 1}, "")
    async with asyncio.timeout(5):
        while hub._engine.visitors:
            await bot.subscribe("FENCE")


@pytest.mark.slow
async def test_bodies_are_bounded(hub: Hub, bot: Bot, http: httpx2.AsyncClient) -> None:
    """In bytes, and in time."""
    response = await http.post(f"{ROOM}/ECHO", content=b"1" * 150_000, headers=JSON)
    assert (response.status_code, response.json()["code"]) == (413, "payload_too_large")
    host, port = hub.url.removeprefix("http://").split("/")[0].split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    path = httpx2.URL(f"{hub.url}{ROOM}/ECHO").raw_path.decode()
    head = f"POST {path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\n"
    writer.write(f"{head}content-length: 9\r\n\r\n{{".encode())
    async with asyncio.timeout(10):
        assert (await reader.readline()).startswith(b"HTTP/1.1 408")
    writer.close()
    assert not hub._engine.visitors


async def test_a_slow_reader_is_cut_off(hub: Hub, bot: Bot) -> None:
    """What waits for it is bounded."""
    host, port = hub.url.removeprefix("http://").split("/")[0].split(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=1)
    path = httpx2.URL(f"{hub.url}{ROOM}/events").raw_path.decode()
    writer.write(f"GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n".encode())
    await reader.read(1)
    async with asyncio.timeout(20):
        while not hub._engine.refusals["backlog_bytes"]:
            await bot.broadcast("E", "x" * 50_000, room="R/Ñ")
            await bot.subscribe("FENCE")
        while hub._engine.visitors:
            await bot.subscribe("FENCE")
    writer.close()
