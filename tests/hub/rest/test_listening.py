"""Rooms that are heard by HTTP, as server-sent events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from alephscript import AlephScriptClient
from alephscript.hub import Hub, Limits
from tests.support.peers import errors_logged, hub, raw_peer
from tests.support.sse import Told, source

__all__ = ["errors_logged", "hub"]

pytestmark = pytest.mark.anyio

EVENTS = "/mesh/rooms/R/events"


@pytest.fixture
async def http(hub: Hub) -> AsyncIterator[httpx2.AsyncClient]:
    """A client by HTTP."""
    async with httpx2.AsyncClient(base_url=hub.url) as http:
        yield http


async def test_what_is_said_in_a_room_is_heard(hub: Hub, http: httpx2.AsyncClient) -> None:
    """By its name, with its data, from whatever peer; in other rooms nothing."""
    async with (
        source(http, EVENTS) as events,
        AlephScriptClient(hub.url) as client,
        raw_peer(hub) as stranger,
    ):
        assert events.response.headers["content-type"] == "text/event-stream"
        await client.broadcast("E", {"n": 1}, room="R")
        await client.broadcast("E", {"n": 2}, room="S")
        await client.broadcast("ñ E", None, room="R")
        assert await events.next() == Told("E", {"n": 1}, "")
        assert await events.next() == Told("ñ E", None, "")
        spaced = '42/runtime,["ROOM_MESSAGE",{"event":"F","room":"R","data":[1,\r\n\n2]}]'
        await stranger.send(spaced)
        assert await events.next() == Told("F", [1, 2], "")
        assert await client.survey("ping", room="R") is not None


async def test_a_listener_is_a_member_that_says_who_it_is(
    hub: Hub, http: httpx2.AsyncClient
) -> None:
    """To who surveys the room; and it leaves with its connection."""
    async with AlephScriptClient(hub.url) as client:
        async with source(http, EVENTS):
            for topic in ("ping", "info", "stats"):
                survey = await client.survey(topic, room="R")
                assert (list(survey.answers), survey.missing) == (["http"], ())
            room = (await http.get("/mesh/rooms/R")).json()
            assert room["socketCount"] == 1
        async with asyncio.timeout(5):
            while hub._engine.visitors:
                await client.subscribe("FENCE")
        assert (await http.get("/mesh/rooms/R")).status_code == 404


async def test_who_comes_again_hears_what_it_has_missed() -> None:
    """From the event after ``Last-Event-ID``, on a hub with a history."""
    async with (
        Hub(port=0, history=3) as hub,
        httpx2.AsyncClient(base_url=hub.url) as http,
        AlephScriptClient(hub.url) as client,
    ):
        await client.subscribe("R")  # the room stays
        await client.broadcast("E", 0, room="R")
        async with source(http, EVENTS) as events:
            await client.broadcast("E", 1, room="R")
            heard = await events.next()
            assert heard.data == 1
            await client.broadcast("E", 2, room="R")
            await client.broadcast("E", 3, room="R")
            await events.next()
        async with source(http, EVENTS, headers={"last-event-id": heard.id}) as events:
            assert [(await events.next()).data for _ in range(2)] == [2, 3]
            await client.broadcast("E", 4, room="R")
            last = await events.next()
            assert last.data == 4
        for number in range(5, 10):
            await client.broadcast("E", number, room="R")
        await client.subscribe("FENCE")
        async with source(http, EVENTS, headers={"last-event-id": last.id}) as events:
            assert await events.next() == Told("GAP", {"room": "R", "missed": 2}, "")
            assert [(await events.next()).data for _ in range(3)] == [7, 8, 9]


async def test_who_has_heard_nothing_yet_has_a_place_to_come_back_to() -> None:
    """An id comes before the first event."""
    async with (
        Hub(port=0, history=3) as hub,
        httpx2.AsyncClient(base_url=hub.url) as http,
        AlephScriptClient(hub.url) as client,
    ):
        await client.subscribe("R")
        async with source(http, EVENTS) as events:
            lines = events.response.aiter_lines()
            ids = [line async for line in _until(lines, "id: ")]
        await client.broadcast("E", 1, room="R")
        await client.subscribe("FENCE")
        headers = {"last-event-id": ids[-1].removeprefix("id: ")}
        async with source(http, EVENTS, headers=headers) as events:
            assert (await events.next()).data == 1


async def _until(lines: AsyncIterator[str], start: str) -> AsyncIterator[str]:
    async with asyncio.timeout(5):
        async for line in lines:
            yield line
            if line.startswith(start):
                return


@pytest.mark.parametrize("history", [0, 5])
async def test_an_id_that_means_nothing_here_is_a_gap(history: int) -> None:
    """Of which nobody knows how long it is."""
    async with (
        Hub(port=0, history=history) as hub,
        httpx2.AsyncClient(base_url=hub.url) as http,
    ):
        for last in ("x", "x.y", "..", "0.1", "." + "9" * 50, "-1", "history.7"):
            async with source(http, EVENTS, headers={"last-event-id": last}) as events:
                assert (await events.next())[:2] == ("GAP", {"room": "R", "missed": None})


async def test_a_room_that_can_be_none_is_not_heard(hub: Hub, http: httpx2.AsyncClient) -> None:
    """With the status of an answer."""
    response = await http.get("/mesh/rooms/%0A/events")
    assert (response.status_code, response.json()["code"]) == (400, "invalid_payload")
    assert hub._engine.meshes["/runtime"].clients == 0


async def test_a_room_that_is_full_takes_no_listener() -> None:
    """Nor does a hub."""
    async with (
        Hub(port=0, limits=Limits(members_per_room=1, connections=2)) as hub,
        httpx2.AsyncClient(base_url=hub.url) as http,
        source(http, EVENTS),
    ):
        response = await http.get(EVENTS)
        assert (response.status_code, response.json()["code"]) == (429, "limit_exceeded")
        async with source(http, "/mesh/rooms/S/events"):
            response = await http.get("/mesh/rooms/T/events")
            assert (response.status_code, response.json()["code"]) == (503, "overloaded")
            assert response.headers["retry-after"]


async def test_who_reads_too_slowly_is_cut_off() -> None:
    """What waits for it is bounded, and counted as of any client; the room goes on."""
    async with (
        Hub(port=0, limits=Limits(backlog_bytes=100_000)) as hub,
        raw_peer(hub) as speaker,
        AlephScriptClient(hub.url) as member,
    ):
        host, port = hub.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port), limit=1)
        writer.write(f"GET {EVENTS} HTTP/1.1\r\nhost: {host}\r\n\r\n".encode())
        await reader.read(1)
        said = {"event": "E", "room": "R", "data": "x" * 50_000}
        async with asyncio.timeout(20):
            while not hub._engine.refusals["backlog_bytes"]:
                await speaker.ask("ROOM_MESSAGE", said)
        assert (await member.survey("ping", room="R")).answers == {}
        async with asyncio.timeout(10):
            while hub._engine.visitors:
                await speaker.fence()
            while await reader.read(1 << 20):
                pass
        writer.close()


async def test_who_reads_nothing_does_not_stay() -> None:
    """Although nothing more is said: what is written has to be read within a heartbeat."""
    limits = Limits(backlog_bytes=100_000_000)  # more than is said
    async with (
        Hub(port=0, ping_interval=0.5, ping_timeout=0.5, limits=limits) as hub,
        raw_peer(hub) as speaker,
    ):
        host, port = hub.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port), limit=1)
        writer.write(f"GET {EVENTS} HTTP/1.1\r\nhost: {host}\r\n\r\n".encode())
        await reader.read(1)
        said = {"event": "E", "room": "R", "data": "x" * 900_000}
        for _ in range(30):  # more than kernels keep
            await speaker.ask("ROOM_MESSAGE", said)
            await speaker.send("3")
        async with asyncio.timeout(10):
            while hub._engine.visitors:
                await speaker.fence()
                await speaker.send("3")
        writer.close()


async def test_a_hub_that_closes_ends_its_streams() -> None:
    """As streams end, so that their readers come again."""
    hub = Hub(port=0)
    async with hub, httpx2.AsyncClient(base_url=hub.url) as http, source(http, EVENTS) as events:
        async with asyncio.timeout(1.5):
            await hub.close()
        assert await events.rest() == []


async def test_who_comes_again_hears_what_it_has_missed_from_a_log(tmp_path: Path) -> None:
    """By the same id, after the hub was started again, and however much it is."""
    ids = ""
    for begin in (0, 1000):
        async with (
            Hub(port=0, log=["R"], data=tmp_path) as hub,
            httpx2.AsyncClient(base_url=hub.url) as http,
            AlephScriptClient(hub.url) as client,
        ):
            if ids:
                for number in range(begin, begin + 999):
                    await client.broadcast("E", number, room="R")
                await client.broadcast("E", begin + 999, room="R", confirm=True)
            headers = {"last-event-id": ids} if ids else {}
            async with source(http, EVENTS, headers=headers) as events:
                if not ids:
                    await client.broadcast("E", 0, room="R", confirm=True)
                    heard = await events.next()
                    assert heard.data == 0
                    ids = heard.id
                else:
                    told = [await events.next() for _ in range(1000)]
                    assert [each.data for each in told] == list(range(1000, 2000))
                    assert len({each.id for each in told}) == 1000
