"""Masters asked by HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import httpx2
import pytest

from alephscript import AlephScriptClient, CapabilityError, Request, capability
from alephscript.hub import Hub
from alephscript.hub.bearers import Bearers
from alephscript.hub.rest.paths import Page, Route
from alephscript.hub.rest.rest import Rest, Visit
from alephscript.hub.sockets.lobby import Arrival, Lobby
from tests.support.peers import Join, Raw, errors_logged, hub, join, raw
from tests.support.sse import JSON, Told, source

__all__ = ["errors_logged", "hub", "join", "raw"]

pytestmark = pytest.mark.anyio


class Bot(AlephScriptClient):
    """Answers in every way that there is."""

    rooms = ("R/Ñ",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.counted = 0
        self.entered = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.stopped = asyncio.Event()

    @capability("ECHO")
    async def echo(self, request: Request[Any]) -> dict[str, Any]:
        """What it was asked, and by whom."""
        return {"payload": request.payload, "caller": request.caller}

    @capability("NUMBER")
    async def number(self) -> int:
        """No object."""
        return 7

    @capability("TYPED")
    async def typed(self, count: int) -> int:
        """Takes a number."""
        return count

    @capability("FAIL")
    async def fail(self, request: Request[dict[str, str]]) -> None:
        """End as it is told."""
        match request.payload["code"]:
            case "internal":
                raise ZeroDivisionError
            case code:
                raise CapabilityError(code, "as told", [{"a": 1}])

    @capability("WAIT")
    async def wait(self) -> None:
        """Wait to be cancelled."""
        self.entered.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise

    @capability("COUNT")
    async def count(self, request: Request[dict[str, int]]) -> AsyncGenerator[int, None]:
        """Say numbers."""
        try:
            for number in range(request.payload["to"]):
                self.counted = number
                request.progress(number / request.payload["to"], f"at {number}")
                yield number
        finally:
            self.stopped.set()
        if request.payload.get("fail"):
            raise CapabilityError("out_of_numbers", "there are no more")


@pytest.fixture
async def bot(hub: Hub) -> AsyncIterator[Bot]:
    """A bot in its room."""
    async with Bot(hub.url) as bot:
        yield bot


@pytest.fixture
async def http(hub: Hub) -> AsyncIterator[httpx2.AsyncClient]:
    """A client by HTTP."""
    async with httpx2.AsyncClient(base_url=hub.url) as http:
        yield http


ROOM = "/mesh/rooms/R%2F%C3%91"
INVOKE = "/mesh/invoke/R%2F%C3%91"


async def test_both_paths_ask_the_same(bot: Bot, http: httpx2.AsyncClient) -> None:
    """By the capability's name, in either spelling; the answer is the mesh's envelope."""
    answer = {"success": True, "payload": {"a": [1, "ñ"]}, "caller": "http"}
    payload = {"a": [1, "ñ"]}
    for name in ("ECHO", "GET_ECHO"):
        direct = await http.post(f"{ROOM}/{name}", json=payload)
        named = await http.post(INVOKE, json={"capability": name, "payload": payload})
        for response in (direct, named):
            assert (response.status_code, response.json()) == (200, answer)
            assert response.headers["content-type"] == "application/json"


async def test_a_payload_is_any_json(bot: Bot, http: httpx2.AsyncClient) -> None:
    """As it is."""
    payloads: list[Any] = [0, "text", [], {}, [{"a": None}], 1.5, True]
    for payload in payloads:
        body = {"capability": "ECHO", "payload": payload}
        assert (await http.post(INVOKE, json=body)).json()["payload"] == payload
        direct = await http.post(f"{ROOM}/ECHO", content=json.dumps(payload), headers=JSON)
        assert direct.json()["payload"] == payload


async def test_what_is_no_object_stands_under_result(bot: Bot, http: httpx2.AsyncClient) -> None:
    """As on the mesh; a payload that is left out is an empty object."""
    response = await http.post(INVOKE, json={"capability": "NUMBER"})
    assert response.json() == {"success": True, "result": 7}


STATUSES = [
    ("TYPED", {"count": "x"}, 400, "invalid_payload"),
    ("NONE", {}, 404, "unknown_capability"),
    ("SERVER_STATE", {}, 404, "unknown_capability"),
    ("MEMBER_PING", {}, 404, "unknown_capability"),
    ("FAIL", {"code": "conflict"}, 409, "conflict"),
    ("FAIL", {"code": "permission_denied"}, 403, "permission_denied"),
    ("FAIL", {"code": "overloaded"}, 429, "overloaded"),
    ("FAIL", {"code": "payload_too_large"}, 413, "payload_too_large"),
    ("FAIL", {"code": "session_not_found"}, 422, "session_not_found"),
    ("FAIL", {"code": "internal"}, 500, "internal"),
    ("WAIT", {}, 504, "deadline_exceeded"),
]


async def test_a_status_says_what_the_code_says(
    bot: Bot, http: httpx2.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    """And the body has both, with a sentence and details; also where a stream is wanted."""
    for name, payload, status, code in STATUSES:
        for headers in ({}, {"accept": "text/event-stream"}):
            path = f"{ROOM}/{name}?timeoutMs={100 if name == 'WAIT' else 5000}"
            response = await http.post(path, json=payload, headers=headers)
            answer = response.json()
            assert (name, response.status_code, answer["code"]) == (name, status, code)
            assert answer["success"] is False
            assert answer["error"]
            assert {"retryable", "details"} <= answer.keys()
            assert ("retry-after" in response.headers) == (status == 429)
    caplog.clear()  # the bot has logged that it failed


async def test_a_room_without_a_master_is_not_found(http: httpx2.AsyncClient) -> None:
    """With the code that says so."""
    response = await http.post("/mesh/rooms/NOBODY/X", json={})
    assert (response.status_code, response.json()["code"]) == (404, "no_master")


async def test_a_master_that_goes_is_a_bad_gateway(hub: Hub, http: httpx2.AsyncClient) -> None:
    """And the body says that the request may have run."""
    async with Bot(hub.url) as bot:
        asking = asyncio.create_task(http.post(f"{ROOM}/WAIT", json={}))
        await bot.entered.wait()
        [connection] = hub._engine.connections.values()
        connection.close("cut")
        response = await asking
    assert (response.status_code, response.json()["code"]) == (502, "master_lost")
    assert response.json()["details"] == [{"delivered": True}]


async def test_a_stock_master_is_asked_as_any_other(
    join: Join, raw: Raw, http: httpx2.AsyncClient
) -> None:
    """Of the documented dialect, and of the core one, that answers by an event of its room."""
    documented = await join("Doc", "DOC")
    documented.serve("X", lambda payload: {"success": True, "got": payload})
    await documented.call("MAKE_MASTER", {"room": "DOC", "features": ["X"]})
    response = await http.post("/mesh/rooms/DOC/X", json={"n": 1})
    assert response.json() == {"success": True, "got": {"n": 1}}
    declaration = {"event": "MAKE_MASTER", "room": "CORE", "data": {"features": []}}
    await raw.ask("ROOM_MESSAGE", declaration)
    asking = asyncio.create_task(http.post("/mesh/rooms/CORE/Y", json={"n": 2}))
    assert '"data":{"n":2}' in await raw.recv()
    answer = {"event": "SET_Y", "room": "CORE", "data": {"success": True, "n": 3}}
    await raw.ask("ROOM_MESSAGE", answer)
    assert (await asking).json() == {"success": True, "n": 3}


# What is not taken


BODIES: list[str | bytes] = [
    *("x", "", " ", "{", "{}{}", '{"a":NaN}', '{"a":"\\ud800"}', b'{"a":"\xff"}', "[" * 100),
    "[" * 65 + "]" * 65,
]


async def test_a_body_that_is_no_json_is_refused(bot: Bot, http: httpx2.AsyncClient) -> None:
    """On both paths, with a sentence."""
    for body in BODIES:
        for path in (f"{ROOM}/ECHO", INVOKE):
            response = await http.post(path, content=body, headers=JSON)
            assert (body, response.status_code in (400, 413)) == (body, True)
            assert response.json()["code"] in ("invalid_payload", "payload_too_large")
            assert response.json()["error"]


INVOCATIONS: list[tuple[Any, str]] = [
    ([], ""),
    ("text", ""),
    (None, ""),
    ({}, "capability"),
    ({"capability": 7}, "capability"),
    ({"capability": ""}, "capability"),
    ({"capability": None}, "capability"),
    ({"capability": "ECHO", "payLoad": {}}, "payLoad"),
]
WRONG: list[Any] = ["5", -1, True, None, [], {}, -0.5]
INVOCATIONS += [({"capability": "ECHO", "timeoutMs": each}, "timeoutMs") for each in WRONG]


async def test_an_invocation_that_is_none_is_refused(bot: Bot, http: httpx2.AsyncClient) -> None:
    """And the key that is wrong is named."""
    for body, path in INVOCATIONS:
        response = await http.post(INVOKE, content=json.dumps(body), headers=JSON)
        answer = response.json()
        assert (body, response.status_code, answer["code"]) == (body, 400, "invalid_payload")
        assert [each["path"] for each in answer["details"]] == [path]


QUERIES = [
    *("timeoutMs=", "timeoutMs=x", "timeoutMs=-1", "timeoutMs=1.5", "timeoutMs=1e3"),
    *("timeoutMs=%D9%A1", "timeoutMs=" + "9" * 5000, "timeoutMs=1&timeoutMs=2", "timeoutMs=+1"),
]


async def test_a_timeout_that_is_none_is_refused(bot: Bot, http: httpx2.AsyncClient) -> None:
    """One whole number of milliseconds is one."""
    for query in QUERIES:
        response = await http.post(f"{ROOM}/ECHO?{query}", json={})
        answer = response.json()
        assert (query, response.status_code, answer["code"]) == (query, 400, "invalid_payload")


@pytest.mark.parametrize("milliseconds", [0, 1, 1.5])
async def test_a_deadline_is_kept_and_one_that_has_passed_asks_nobody(
    bot: Bot, http: httpx2.AsyncClient, milliseconds: float
) -> None:
    """A number of milliseconds from now."""
    body = {"capability": "WAIT", "timeoutMs": milliseconds}
    response = await http.post(INVOKE, json=body)
    assert (response.status_code, response.json()["code"]) == (504, "deadline_exceeded")
    assert response.json()["details"] == [{"delivered": milliseconds > 0}]


@pytest.mark.parametrize("milliseconds", ["86400001", "9" * 15])
async def test_a_long_deadline_is_a_day(
    bot: Bot, http: httpx2.AsyncClient, milliseconds: str
) -> None:
    """As on the mesh."""
    response = await http.post(f"{ROOM}/NUMBER?timeoutMs={milliseconds}", json={})
    assert response.status_code == 200


NAMES = [
    ("/mesh/rooms/%FF/X", 400, "invalid_payload"),
    ("/mesh/rooms/%0A/X", 400, "invalid_payload"),
    (f"/mesh/rooms/{'x' * 257}/X", 400, "invalid_payload"),
    ("/mesh/rooms/R/%00", 400, "unknown_event"),
    (f"/mesh/rooms/R/{'x' * 257}", 400, "unknown_event"),
    ("/mesh/rooms/%2E%2E/X", 404, "no_master"),
    ("/mesh/rooms/*/X", 404, "no_master"),
]


async def test_a_name_that_can_be_none_is_refused(http: httpx2.AsyncClient) -> None:
    """Of a room, or of a capability."""
    for path, status, code in NAMES:
        response = await http.post(path, json={})
        assert (path, response.status_code, response.json()["code"]) == (path, status, code)


async def test_only_json_is_taken(bot: Bot, http: httpx2.AsyncClient) -> None:
    """So that no page can ask without being asked first whether it may; JSON has several names."""
    others = ("text/plain", "application/x-www-form-urlencoded", "application/jsonp", "json", None)
    for kind in others:
        headers = {} if kind is None else {"content-type": kind}
        response = await http.post(f"{ROOM}/ECHO", content="{}", headers=headers)
        assert (response.status_code, response.json()["code"]) == (415, "unsupported_media_type")
    for kind in ("application/json; charset=utf-8", "Application/JSON", "application/ld+json"):
        headers = {"content-type": kind}
        response = await http.post(f"{ROOM}/ECHO", content="{}", headers=headers)
        assert response.status_code == 200


METHODS = [
    ("GET", "/mesh/invoke/R", "POST, OPTIONS"),
    ("PUT", "/mesh/rooms/R/X", "POST, OPTIONS"),
    ("GET", "/mesh/rooms/R/X", "POST, OPTIONS"),
    ("DELETE", "/mesh/rooms/R/events", "POST, GET, OPTIONS"),
    ("POST", "/mesh/rooms", "GET, HEAD, OPTIONS"),
    ("POST", "/mesh/rooms/R", "GET, HEAD, OPTIONS"),
    ("POST", "/mesh/capabilities", "GET, HEAD, OPTIONS"),
    ("PATCH", "/mesh/health", "GET, HEAD, OPTIONS"),
    ("POST", "/health", "GET, HEAD, OPTIONS"),
    ("POST", "/openapi.json", "GET, HEAD, OPTIONS"),
    ("ODD", "/openapi.json", "GET, HEAD, OPTIONS"),
]


async def test_a_wrong_method_is_told_the_right_ones(http: httpx2.AsyncClient) -> None:
    """In the header that is for that."""
    for method, path, allowed in METHODS:
        response = await http.request(method, path)
        assert (path, response.status_code, response.headers["allow"]) == (path, 405, allowed)
        assert response.json()["code"] == "method_not_allowed"
        options = await http.options(path)
        assert (options.status_code, options.headers["allow"]) == (204, allowed)


# Ends


@pytest.mark.parametrize("headers", [{}, {"accept": "text/event-stream"}])
async def test_a_client_that_hangs_up_cancels_its_request(
    hub: Hub, bot: Bot, http: httpx2.AsyncClient, headers: dict[str, str]
) -> None:
    """At its master, at once; the hub keeps nothing of it."""
    asking = asyncio.create_task(http.post(f"{ROOM}/WAIT", json={}, headers=headers))
    await bot.entered.wait()
    asking.cancel()
    async with asyncio.timeout(5):
        await bot.cancelled.wait()
    assert not hub._engine.visitors
    assert hub._engine.in_flight == 0
    assert hub._engine.meshes["/runtime"].clients == 1


async def test_a_hub_that_drains_says_when_to_come_again(
    hub: Hub, bot: Bot, http: httpx2.AsyncClient
) -> None:
    """What is open ends in peace."""
    asking = asyncio.create_task(http.post(f"{ROOM}/WAIT?timeoutMs=1500", json={}))
    await bot.entered.wait()
    # Two connections that are kept: a hub that drains takes no further ones.
    await asyncio.gather(*(http.get("/health") for _ in range(2)))
    draining = asyncio.create_task(hub.drain(30))
    await asyncio.sleep(0)
    refused = await http.post(f"{ROOM}/ECHO", json={})
    assert refused.status_code == 503
    assert int(refused.headers["retry-after"]) > 0
    assert refused.json()["details"] == [{"delivered": False}]
    health = await http.get("/mesh/health")
    assert (health.status_code, health.json()["status"]) == (503, "draining")
    assert (await asking).status_code == 504
    await draining


async def test_a_hub_that_closes_ends_what_is_open(http: httpx2.AsyncClient) -> None:
    """With a sentence that says that it may have run."""
    hub = Hub(port=0)
    async with hub, Bot(hub.url) as bot, httpx2.AsyncClient(base_url=hub.url) as client:
        asking = asyncio.create_task(client.post(f"{ROOM}/WAIT", json={}))
        await bot.entered.wait()
        async with asyncio.timeout(1.5):  # less than connections are waited for
            await hub.close()
        response = await asking
    assert (response.status_code, response.json()["code"]) == (503, "closed")
    assert response.json()["details"] == [{"delivered": True}]


# Streams


async def test_a_stream_that_its_hub_ends_says_so() -> None:
    """In its last event, as any failure of a stream."""
    async with (
        Hub(port=0) as hub,
        Bot(hub.url),
        httpx2.AsyncClient(base_url=hub.url) as http,
        source(http, f"{ROOM}/COUNT", {"to": 1_000_000}) as stream,
    ):
        await stream.next()
        await hub.close()
        last = (await stream.rest())[-1]
    assert (last.event, last.data["code"]) == ("answer", "closed")


async def test_parts_and_progress_come_as_they_are_said(bot: Bot, http: httpx2.AsyncClient) -> None:
    """And at last the answer; many more parts than are under way at a time."""
    async with source(http, f"{ROOM}/COUNT", {"to": 100}) as stream:
        assert stream.response.headers["content-type"] == "text/event-stream"
        told = await stream.rest()
    assert [each.data for each in told if each.event == "part"] == list(range(100))
    assert told[0] == Told("progress", {"fraction": 0.0, "message": "at 0"}, "")
    assert told[-1].event == "answer"
    assert told[-1].data["success"] is True


async def test_a_stream_that_fails_says_so_at_its_end(bot: Bot, http: httpx2.AsyncClient) -> None:
    """Its status was sent with its first part."""
    body = {"capability": "COUNT", "payload": {"to": 1, "fail": 1}}
    async with source(http, INVOKE, body) as stream:
        assert stream.response.status_code == 200
        told = await stream.rest()
    assert [each.event for each in told] == ["progress", "part", "answer"]
    assert told[-1].data["code"] == "out_of_numbers"


async def test_an_answer_without_parts_is_the_only_event(
    bot: Bot, http: httpx2.AsyncClient
) -> None:
    """Line ends that a master writes are its JSON's, not the stream's."""
    async with source(http, f"{ROOM}/ECHO", {"text": "a\nb"}) as stream:
        [told] = await stream.rest()
    assert told == Told(
        "answer", {"success": True, "payload": {"text": "a\nb"}, "caller": "http"}, ""
    )


async def test_who_takes_no_stream_gets_all_parts_at_once(
    bot: Bot, http: httpx2.AsyncClient
) -> None:
    """As any asker that knows no parts."""
    response = await http.post(f"{ROOM}/COUNT", json={"to": 3})
    assert response.json() == {"success": True, "result": [0, 1, 2]}


async def test_a_master_runs_no_further_ahead_than_its_reader_takes(hub: Hub, bot: Bot) -> None:
    """However long the stream; what waits for the reader is bounded by what was granted."""
    stuck = asyncio.Event()
    body = {"type": "http.request", "body": b'{"to": 1000000}'}

    async def receive() -> Any:
        if not body:
            await asyncio.Event().wait()
        return {"type": body.pop("type"), "body": body.pop("body")}

    async def send(event: Any) -> None:
        if b"event: part" in event.get("body", b""):
            stuck.set()
            await asyncio.Event().wait()

    engine = hub._engine
    scope = {"method": "POST", "query_string": b""}
    headers = {**JSON, "accept": "text/event-stream"}
    visit = Visit(scope, receive, headers, Arrival(Lobby(engine)), None)
    route = Route({"POST": Page.CAPABILITY}, "R/Ñ", "COUNT")
    asking = asyncio.create_task(Rest(engine, Bearers(engine)).answer(route, visit, send))
    async with asyncio.timeout(5):
        await stuck.wait()
        async with AlephScriptClient(hub.url) as client:
            for _ in range(50):  # the bot has had all the time that it could want
                await client.request("NUMBER", room="R/Ñ")
        assert bot.counted <= 16
        asking.cancel()
        await bot.stopped.wait()


async def test_a_stream_that_is_left_cancels_its_request(
    hub: Hub, bot: Bot, http: httpx2.AsyncClient
) -> None:
    """The master does not go on counting."""
    async with source(http, f"{ROOM}/COUNT", {"to": 1_000_000}) as stream:
        await stream.next()
    async with asyncio.timeout(5):
        await bot.stopped.wait()
    assert not hub._engine.visitors
    assert hub._engine.in_flight == 0
