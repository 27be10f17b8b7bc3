"""A mesh that is read by HTTP, in upstream's shape."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest

from alephscript import AlephScriptClient, capability
from alephscript.hub import Hub, RoomSecrets, SharedToken
from tests.support.peers import errors_logged, hub, raw, raw_peer

__all__ = ["errors_logged", "hub", "raw"]

pytestmark = pytest.mark.anyio


class Bot(AlephScriptClient):
    """Offers two capabilities."""

    rooms = ("R",)

    @capability("ADD")
    async def add(self, numbers: list[int]) -> int:
        """Add."""
        return sum(numbers)

    @capability("SAY", idempotent=True)
    async def say(self, text: dict[str, str]) -> dict[str, str]:
        """Say."""
        return text


@pytest.fixture
async def bot(hub: Hub) -> AsyncIterator[Bot]:
    """A bot in its room."""
    async with Bot(hub.url, usuario="Bot", sesion="-1") as bot:
        yield bot


@pytest.fixture
async def http(hub: Hub) -> AsyncIterator[httpx2.AsyncClient]:
    """A client by HTTP."""
    async with httpx2.AsyncClient(base_url=hub.url) as http:
        yield http


async def get(http: httpx2.AsyncClient, path: str) -> Any:
    """What a page says."""
    response = await http.get(path)
    assert response.status_code == 200
    assert response.headers["cache-control"] == "no-store"
    return response.json()


async def test_rooms_have_the_keys_that_upstreams_have(
    hub: Hub, bot: Bot, http: httpx2.AsyncClient
) -> None:
    """Whose master is there, how many sockets, since when."""
    async with raw_peer(hub) as stranger, AlephScriptClient(hub.url) as member:
        await stranger.ask("CLIENT_SUSCRIBE", {"room": "R"})
        await member.subscribe("R")
        await member.subscribe("LONELY")
        told = await get(http, "/mesh/rooms")
        assert told.keys() == {"rooms", "count"}
        assert told["count"] == len(told["rooms"]) == 2
        room, lonely = sorted(told["rooms"], key=lambda each: str(each["id"]), reverse=True)
        assert room == await get(http, "/mesh/rooms/R")
        peers = hub._engine.meshes["/runtime"].rooms.peers
        [sid] = [sid for sid, peer in peers.items() if peer.mastered]
        assert {key: room[key] for key in room.keys() - {"createdAt", "lastActivity"}} == {
            "id": "R",
            "masterId": sid,
            "masterName": "Bot-1",
            "capabilities": ["ADD", "SAY"],
            "socketCount": 3,
        }
        assert {key: lonely[key] for key in ("masterId", "masterName", "capabilities")} == {
            "masterId": None,
            "masterName": None,
            "capabilities": [],
        }


async def test_a_room_tells_since_when_it_is_there_and_when_it_was_last_used(
    bot: Bot, http: httpx2.AsyncClient
) -> None:
    """Asked, spoken in, entered; looking at it is no use of it."""

    async def times() -> tuple[dt.datetime, dt.datetime]:
        room = await get(http, "/mesh/rooms/R")
        read = dt.datetime.fromisoformat
        return read(room["createdAt"]), read(room["lastActivity"])

    created, active = await times()
    assert created.tzinfo is not None
    assert created <= active <= dt.datetime.now(dt.UTC)
    assert await times() == (created, active)
    for use in (
        lambda: http.post("/mesh/rooms/R/SAY", json={"text": "x"}),
        lambda: bot.broadcast("E", {}, room="R"),
        lambda: bot.request("SAY", {"text": "x"}, room="R"),
    ):
        await asyncio.sleep(0.002)  # times are told in milliseconds
        await use()
        await bot.subscribe("FENCE")
        before, (since, active) = active, await times()
        assert since == created
        assert active > before


async def test_a_room_that_there_is_not_is_not_found(http: httpx2.AsyncClient) -> None:
    """In upstream's words."""
    response = await http.get("/mesh/rooms/NO%2FNE")
    assert (response.status_code, response.json()) == (404, {"error": "Room NO/NE not found"})


async def test_capabilities_have_their_schemas_beside(bot: Bot, http: httpx2.AsyncClient) -> None:
    """And all else that is declared of them."""
    told = await get(http, "/mesh/capabilities")
    assert told["count"] == 2
    add, say = told["capabilities"]
    assert (add["room"], add["capability"]) == ("R", "ADD")
    assert add["request"] == {"type": "array", "items": {"type": "integer"}}
    assert add["reply"] == {"type": "integer"}
    assert say["idempotent"] is True


async def test_the_health_of_a_mesh_has_upstreams_keys(
    hub: Hub, bot: Bot, http: httpx2.AsyncClient
) -> None:
    """Milliseconds, and counts."""
    told = await get(http, "/mesh/health")
    assert told.keys() == {"status", "meshId", "uptime", "rooms", "sockets"}
    assert (told["status"], told["rooms"], told["sockets"]) == ("healthy", 1, 1)
    assert told["meshId"] == (await get(http, "/mesh/health"))["meshId"]
    assert isinstance(told["uptime"], int)
    assert (await get(http, "/health")) == {"status": "ok"}


async def test_who_reads_leaves_nothing_behind(
    hub: Hub, bot: Bot, http: httpx2.AsyncClient
) -> None:
    """And is not told of itself as a member of a room."""
    for path in ("/mesh/rooms", "/mesh/capabilities", "/openapi.json", "/mesh/rooms/R"):
        head = await http.head(path)
        assert (head.status_code, head.content) == (200, b"")
        await get(http, path)
    assert not hub._engine.visitors
    assert hub._engine.meshes["/runtime"].clients == 1


PAGES = ["/mesh/rooms", "/mesh/rooms/R", "/mesh/capabilities", "/mesh/health", "/openapi.json"]


async def test_a_page_wants_the_token_that_sockets_want() -> None:
    """And says so as HTTP does; whether the hub is there is for all to know."""
    async with (
        Hub(port=0, access=SharedToken("secret")) as hub,
        httpx2.AsyncClient(base_url=hub.url) as http,
    ):
        for path in (*PAGES, "/mesh/rooms/R/events"):
            for token in (None, "Bearer wrong", "Basic secret", "Bearer"):
                headers = {} if token is None else {"authorization": token}
                response = await http.get(path, headers=headers)
                assert (path, response.status_code) == (path, 401)
                assert response.headers["www-authenticate"] == "Bearer"
                assert response.json()["code"] == "unauthorized"
        right = {"authorization": "Bearer secret"}
        for path in PAGES:
            response = await http.get(path, headers=right)
            assert response.status_code == (404 if path == "/mesh/rooms/R" else 200)
        assert (await http.get("/health")).status_code == 200


async def test_who_knows_one_room_reads_of_no_other() -> None:
    """With a secret a room, the room of the path is the one whose secret is looked at."""
    access = RoomSecrets({"R": "r", "S": "s"})
    async with (
        Hub(port=0, access=access) as hub,
        Bot(hub.url, auth={"token": "r", "room": "R"}),
        httpx2.AsyncClient(base_url=hub.url, headers={"authorization": "Bearer r"}) as http,
    ):
        assert (await get(http, "/mesh/rooms/R"))["id"] == "R"
        body = {"text": "x"}
        assert (await http.post("/mesh/rooms/R/SAY", json=body)).status_code == 200
        zone = await http.post("/mesh/rooms/R::z:north/SAY", json=body)
        assert zone.status_code == 404
        for path in ("/mesh/rooms/S", "/mesh/rooms"):
            assert (await http.get(path)).status_code == 401
        assert (await http.post("/mesh/rooms/S/SAY", json=body)).status_code == 401
