"""What a client by HTTP may have of a hub, and who may be one."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from random import Random
from typing import Any

import httpx2
import jwt
import msgspec
import pytest

from alephscript import AlephScriptClient, Request, capability
from alephscript.hub import Access, Handshake, Hub, Identity, JsonWebToken, Limits, SharedToken
from alephscript.hub.rest.clients import Clients
from tests.support.peers import errors_logged
from tests.support.sse import JSON, source

__all__ = ["errors_logged"]

pytestmark = pytest.mark.anyio

KEY = "a key of at least thirty-two bytes, as HS256 wants it"


class Bot(AlephScriptClient):
    """Waits, and says who asks."""

    rooms = ("R",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.entered = asyncio.Semaphore(0)

    @capability("WHO")
    async def who(self, request: Request[Any]) -> dict[str, Any]:
        """The caller."""
        return {"caller": request.caller}

    @capability("WAIT")
    async def wait(self) -> None:
        """Wait to be cancelled."""
        self.entered.release()
        await asyncio.Event().wait()


async def answers(hub: Hub, *pieces: bytes) -> bytes:
    """What a hub says to a request that comes in pieces, until it hangs up."""
    host, port = hub.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        async with asyncio.timeout(10):
            return await reader.read()
    finally:
        writer.close()


def head(length: int) -> bytes:
    """The beginning of a request whose body has so many bytes."""
    return (
        b"POST /mesh/rooms/R/WHO HTTP/1.1\r\nhost: 127.0.0.1\r\n"
        b"content-type: application/json\r\ncontent-length: %d\r\n\r\n" % length
    )


async def test_a_body_that_is_too_large_is_refused_and_its_sender_told() -> None:
    """Before it is read if it says its length, or where it exceeds; the socket can go on."""
    limits = Limits(message_bytes=10_000)
    async with (
        Hub(port=0, limits=limits) as hub,
        Bot(hub.url),
        httpx2.AsyncClient(base_url=hub.url) as http,
    ):

        async def chunks() -> AsyncIterator[bytes]:
            for _ in range(10):
                yield b"x" * 5_000

        for content in (b"x" * 50_000, chunks()):
            response = await http.post("/mesh/rooms/R/WHO", content=content, headers=JSON)
            assert (response.status_code, response.json()["code"]) == (413, "payload_too_large")
        assert hub._engine.refusals["message_bytes"] == 2
        assert (await http.post("/mesh/rooms/R/WHO", json={})).status_code == 200


async def test_a_body_without_end_is_read_no_further() -> None:
    """Its sender is told, and the socket closed."""
    async with Hub(port=0, limits=Limits(message_bytes=10_000)) as hub:
        said = await answers(hub, head(10**12), *([b"x" * 50_000] * 5))
    assert said.startswith(b"HTTP/1.1 413 ")
    assert b"connection: close" in said.lower()


async def test_who_asks_first_whether_its_body_is_taken_is_told_at_once() -> None:
    """And sends nothing of it."""
    expecting = head(10**9).replace(b"\r\n\r\n", b"\r\nexpect: 100-continue\r\n\r\n")
    async with Hub(port=0) as hub:
        assert (await answers(hub, expecting)).startswith(b"HTTP/1.1 413 ")


async def test_a_body_that_does_not_come_is_not_waited_for() -> None:
    """A status says so."""
    async with Hub(port=0, limits=Limits(join_seconds=0.2)) as hub:
        said = await answers(hub, head(100), b"{")
        assert said.startswith(b"HTTP/1.1 408 ")
        assert b'"code":"request_timeout"' in said
        assert hub._engine.refusals["join_seconds"] == 1
        assert not hub._engine.visitors


async def test_who_hangs_up_in_its_body_is_forgotten() -> None:
    """Nobody was asked."""
    async with Hub(port=0) as hub, httpx2.AsyncClient(base_url=hub.url) as http:
        host, port = hub.url.removeprefix("http://").split(":")
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(head(100) + b"{")
        await writer.drain()
        async with asyncio.timeout(5):
            while not hub._engine.visitors:
                await http.get("/health")
            writer.close()
            while hub._engine.visitors:
                await http.get("/health")


async def test_an_address_has_the_credit_of_a_client() -> None:
    """Over however many connections; then it is told to come again."""
    async with Hub(port=0, limits=Limits(events_per_second=2)) as hub:
        statuses = []
        for _ in range(6):
            async with httpx2.AsyncClient(base_url=hub.url) as http:
                response = await http.post("/mesh/rooms/R/WHO", json={})
                statuses.append(response.status_code)
        assert statuses[:4] == [404] * 4
        assert 429 in statuses[4:]
        assert response.status_code == 404 or response.headers["retry-after"]
        assert hub._engine.refusals["events_per_second"] > 0


def test_credit_grows_with_time_and_is_no_more_than_all_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of so many addresses as are remembered."""
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    clients = Clients(Limits(events_per_second=2))
    assert [clients.spend("a") for _ in range(5)] == [True] * 4 + [False]
    assert clients.spend("b")
    now[0] = 0.5
    assert [clients.spend("a") for _ in range(2)] == [True, False]
    now[0] = 1000.0
    assert [clients.spend("a") for _ in range(5)] == [True] * 4 + [False]
    for number in range(20_000):
        clients.spend(str(number))
    assert len(clients._credits) == 10_000


async def test_so_many_requests_of_a_client_wait_and_no_more() -> None:
    """As of a client with a connection."""
    async with (
        Hub(port=0, limits=Limits(requests_per_client=2)) as hub,
        Bot(hub.url) as bot,
        httpx2.AsyncClient(base_url=hub.url) as http,
    ):
        waiting = [asyncio.create_task(http.post("/mesh/rooms/R/WAIT", json={})) for _ in range(2)]
        for _ in waiting:
            await bot.entered.acquire()
        response = await http.post("/mesh/rooms/R/WHO", json={})
        assert (response.status_code, response.json()["code"]) == (429, "overloaded")
        for each in waiting:
            each.cancel()
        await asyncio.wait(waiting)
        async with asyncio.timeout(5):
            while hub._engine.visitors:
                await http.get("/health")
        assert (await http.post("/mesh/rooms/R/WHO", json={})).status_code == 200


async def test_who_asks_by_http_takes_the_place_of_a_client() -> None:
    """On a hub that is full there is none."""
    async with (
        Hub(port=0, limits=Limits(connections=2)) as hub,
        Bot(hub.url) as bot,
        httpx2.AsyncClient(base_url=hub.url) as http,
    ):
        waiting = asyncio.create_task(http.post("/mesh/rooms/R/WAIT?timeoutMs=1000", json={}))
        await bot.entered.acquire()
        response = await http.post("/mesh/rooms/R/WHO", json={})
        assert (response.status_code, response.json()["code"]) == (503, "overloaded")
        assert response.headers["retry-after"]
        assert (await http.get("/readyz")).json() == {"status": "full"}
        assert (await waiting).status_code == 504


async def test_what_a_request_makes_the_hub_keep_is_bounded() -> None:
    """As of every peer."""
    limits = Limits(kept_bytes=20_000)
    async with (
        Hub(port=0, limits=limits) as hub,
        Bot(hub.url),
        httpx2.AsyncClient(base_url=hub.url) as http,
    ):
        response = await http.post("/mesh/rooms/R/WHO", json="x" * 30_000)
        assert (response.status_code, response.json()["code"]) == (429, "overloaded")
        assert hub._engine.meshes["/runtime"].budget.left == limits.kept_bytes_of_all


PARTS = [
    "mesh",
    "rooms",
    "invoke",
    "events",
    "R",
    "WHO",
    "%2F",
    "%00",
    "%FF",
    "..",
    "*",
    "",
    "x" * 300,
]
BODIES = [b"{}", b"null", b"[]", b'{"capability":"WHO"}', b"\xff", b"{", b"[" * 99, b"1e999", b"\0"]
HEADERS: dict[str, list[str]] = {
    "content-type": ["application/json", "application/json", "text/plain", ""],
    "accept": ["text/event-stream", "*/*"],
    "origin": ["http://localhost:1", "http://evil.example"],
    "last-event-id": ["x.1", ""],
    "traceparent": ["x", "00-" + "a" * 32 + "-" + "b" * 16 + "-01"],
}


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_is_asked_has_a_status_and_a_sentence(seed: int) -> None:
    """And the hub keeps nothing of it, and logs no error."""
    random = Random(seed)
    async with (
        Hub(port=0, history=3) as hub,
        Bot(hub.url),
        httpx2.AsyncClient(base_url=hub.url) as http,
    ):
        for _ in range(100):
            where = random.choice(["/mesh/rooms/R/", "/mesh/invoke/", "/mesh/rooms/", "/"])
            path = where + "/".join(random.choices(PARTS, k=random.randint(0, 3)))
            method = random.choice(["GET", "POST", "POST", "PUT", "OPTIONS", "DELETE"])
            headers = {name: random.choice(each) for name, each in HEADERS.items()}
            async with http.stream(
                method, path, headers=headers, content=random.choice(BODIES)
            ) as response:
                assert response.status_code < 500
                if response.headers.get("content-type") == "application/json":
                    said = msgspec.json.decode(await response.aread())
                    assert response.status_code < 400 or said["error"]
        async with asyncio.timeout(5):
            while hub._engine.visitors:
                await http.get("/health")
        assert hub._engine.in_flight == 0
        assert hub._engine.meshes["/runtime"].clients == 1


# Who may


async def test_a_request_needs_the_token_that_sockets_need() -> None:
    """And its answer says so; nothing of the body is looked at before."""
    async with (
        Hub(port=0, access=SharedToken("secret")) as hub,
        Bot(hub.url, token="secret"),
        httpx2.AsyncClient(base_url=hub.url) as http,
    ):
        for token in (None, "Bearer wrong", "Basic secret", "secret"):
            headers = {} if token is None else {"authorization": token}
            response = await http.post("/mesh/rooms/R/WHO", json={}, headers=headers)
            assert (response.status_code, response.json()["code"]) == (401, "unauthorized")
            assert response.headers["www-authenticate"] == "Bearer"
        assert hub._engine.refusals["unauthorized"] == 4
        right = {"authorization": "Bearer secret"}
        response = await http.post("/mesh/rooms/R/WHO", json={}, headers=right)
        assert response.json() == {"success": True, "caller": "http"}


def token_of(seconds: float, **claims: Any) -> dict[str, str]:
    """The header of somebody whose token lasts so long."""
    claims = {"sub": "ann", "exp": time.time() + seconds, **claims}
    return {"authorization": f"Bearer {jwt.encode(claims, KEY, 'HS256')}"}


async def test_a_caller_by_http_is_proven_and_may_what_its_token_says() -> None:
    """In the rooms of its token, and nowhere else."""
    async with (
        Hub(port=0, access=JsonWebToken(KEY, algorithms=["HS256"])) as hub,
        Bot(hub.url, token=token_of(60, sub="bot")["authorization"].split()[1]),
        httpx2.AsyncClient(base_url=hub.url) as http,
    ):
        response = await http.post("/mesh/rooms/R/WHO", json={}, headers=token_of(60))
        assert response.json() == {"success": True, "caller": "ann"}
        elsewhere = token_of(60, rooms=["S"])
        response = await http.post("/mesh/rooms/R/WHO", json={}, headers=elsewhere)
        assert (response.status_code, response.json()["code"]) == (403, "permission_denied")
        response = await http.get("/mesh/rooms/R/events", headers=elsewhere)
        assert (response.status_code, response.json()["code"]) == (403, "permission_denied")
        assert (await http.get("/mesh/rooms", headers=elsewhere)).json()["rooms"] == []
        assert (await http.get("/openapi.json", headers=elsewhere)).json()["paths"] == {}


async def test_a_visit_ends_with_its_token() -> None:
    """A request is told so, a stream ends."""
    async with (
        Hub(port=0, access=JsonWebToken(KEY, algorithms=["HS256"])) as hub,
        Bot(hub.url, token=token_of(60, sub="bot")["authorization"].split()[1]),
        httpx2.AsyncClient(base_url=hub.url) as http,
    ):
        asking = http.post("/mesh/rooms/R/WAIT", json={}, headers=token_of(1.5))
        async with source(http, "/mesh/rooms/R/events", headers=token_of(1.5)) as events:
            assert await events.rest() == []
        response = await asking
        assert (response.status_code, response.json()["code"]) == (401, "unauthorized")


class Broken(Access):
    """A rule that fails where something is to be done."""

    def authenticate(self, auth: Any, handshake: Handshake) -> Identity:
        """Let everybody in."""
        return Identity()

    def authorize(self, identity: Identity, action: str, room: str, name: str) -> bool:
        """Fail."""
        raise ZeroDivisionError(room)


async def test_a_rule_that_fails_is_an_error_of_the_hub(caplog: pytest.LogCaptureFixture) -> None:
    """Which the log has, without its text, and the asker is told of nothing else."""
    async with (
        Hub(port=0, access=Broken()) as hub,
        httpx2.AsyncClient(base_url=hub.url, headers={"authorization": "Bearer x"}) as http,
    ):
        response = await http.post("/mesh/rooms/SECRET/WHO", json={})
        assert (response.status_code, response.json()["code"]) == (500, "internal")
        assert not hub._engine.visitors
        assert hub._engine.meshes["/runtime"].clients == 0
    [record] = [each for each in caplog.records if each.levelname == "ERROR"]
    assert record.getMessage() == "this hub failed at a request by HTTP (CAPABILITY)"
    assert "SECRET" not in caplog.text
    caplog.clear()


ORIGINS = ["http://evil.example", "null", "http://localhost.evil.example"]
ASKED = [
    ("POST", "/mesh/rooms/R/X"),
    ("POST", "/mesh/invoke/R"),
    ("OPTIONS", "/mesh/rooms/R/X"),
    ("GET", "/mesh/rooms"),
    ("GET", "/mesh/rooms/R/events"),
    ("GET", "/openapi.json"),
]


async def test_a_page_of_elsewhere_asks_and_reads_nothing() -> None:
    """Whatever the method; its browser is not told that it may, either."""
    async with Hub(port=0) as hub, httpx2.AsyncClient(base_url=hub.url) as http:
        for origin, (method, path) in itertools.product(ORIGINS, ASKED):
            headers = {"origin": origin, **JSON}
            response = await http.request(method, path, headers=headers)
            assert (path, response.status_code) == (path, 403)
            assert response.json()["error"]
            assert "access-control-allow-origin" not in response.headers


@pytest.mark.parametrize("origin", ["https://app.example", "http://localhost:5173"])
async def test_a_page_that_may_connect_may_ask(origin: str) -> None:
    """One of this machine, or one that is allowed; its browser is told all that it asks."""
    async with (
        Hub(port=0, cors_origins=["https://app.example"]) as hub,
        Bot(hub.url),
        httpx2.AsyncClient(base_url=hub.url, headers={"origin": origin}) as http,
    ):
        asked = {
            "access-control-request-method": "POST",
            "access-control-request-headers": "authorization,content-type",
        }
        told = (await http.options("/mesh/rooms/R/WHO", headers=asked)).headers
        assert told["access-control-allow-origin"] == origin
        assert "POST" in told["access-control-allow-methods"]
        assert {"authorization", "content-type"} <= {
            each.strip() for each in told["access-control-allow-headers"].split(",")
        }
        response = await http.post("/mesh/rooms/R/WHO", json={})
        assert response.status_code == 200
        assert response.headers["access-control-allow-origin"] == origin
        async with source(http, "/mesh/rooms/R/events") as events:
            assert events.response.headers["access-control-allow-origin"] == origin


async def test_a_name_that_points_here_is_not_this_hubs() -> None:
    """DNS rebinding."""
    async with Hub(port=0) as hub, httpx2.AsyncClient(base_url=hub.url) as http:
        headers = {"host": "evil.example"}
        response = await http.post("/mesh/rooms/R/X", json={}, headers=headers)
        assert response.status_code == 403


# What is counted


async def test_requests_by_http_are_counted_as_all_are() -> None:
    """By capability and code, in the same figures."""
    async with (
        Hub(port=0) as hub,
        Bot(hub.url),
        httpx2.AsyncClient(base_url=hub.url) as http,
    ):
        await http.post("/mesh/rooms/R/WHO", json={})
        await http.post("/mesh/rooms/R/WAIT?timeoutMs=10", json={})
        figures = (await http.get("/mesh")).json()["namespaces"]["/runtime"]
        assert {each["capability"]: each["ended"] for each in figures["capabilities"]} == {
            "WHO": {"ok": 1},
            "WAIT": {"deadline_exceeded": 1},
        }
        [who, wait] = (await http.get("/mesh/live")).json()["requests"]["list"] or [{}, {}]
        assert (who, wait) == ({}, {})  # the journal is opened by the first look
        await http.post("/mesh/rooms/R/WHO", json={})
        [entry] = (await http.get("/mesh/live")).json()["requests"]["list"]
        assert (entry["capability"], entry["asker"], entry["code"]) == ("WHO", "http", "ok")
