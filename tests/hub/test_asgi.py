"""A hub as an ASGI application: where it may be, whom it serves, when it begins and ends."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import msgspec
import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from alephscript import (
    AlephScriptClient,
    ConnectionRefused,
    Overloaded,
    Request,
    StateError,
    capability,
    sync,
)
from alephscript.hub import Hub, HubError, SharedToken
from alephscript.hub.asgi import HubAsgi, find_path
from alephscript.links._socketio import SocketIOTransport
from alephscript.links.websocket import WebSocketTransport
from tests.support.peers import Poller, Stock
from tests.support.servers import SERVERS, Serve, mounted, serve_hypercorn, serve_uvicorn

pytestmark = pytest.mark.anyio

NEAR, FAR = "127.0.0.1", "192.0.2.7"

THERE = [
    "uvicorn",
    pytest.param("hypercorn", marks=pytest.mark.slow),
    pytest.param("granian", marks=pytest.mark.slow),
]


@pytest.fixture(params=THERE)
def serve(request: pytest.FixtureRequest) -> Serve:
    """A server of others."""
    return SERVERS[request.param]


class Answer(NamedTuple):
    """What plain HTTP was answered with."""

    status: int
    headers: dict[str, str]
    body: bytes


async def ask(
    app: HubAsgi,
    path: str,
    *,
    root_path: str = "",
    client: tuple[str, int] | None = (NEAR, 5),
    method: str = "GET",
    headers: dict[str, str] | None = None,
    query: str = "",
) -> Answer:
    """Ask an application as a server would."""
    told: list[Any] = []
    asked = asyncio.Event()

    async def receive() -> dict[str, Any]:
        if asked.is_set():
            await asyncio.Event().wait()
        asked.set()
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        told.append(message)

    lines = {"host": "127.0.0.1:8000", **(headers or {})}
    scope: dict[str, Any] = {
        "type": "http",
        "method": method,
        "path": path,
        "root_path": root_path,
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in lines.items()],
        "client": client,
    }
    await app(scope, receive, send)
    fields = {name.decode(): value.decode() for name, value in told[0]["headers"]}
    return Answer(told[0]["status"], fields, b"".join(each["body"] for each in told[1:]))


async def open_websocket(
    app: HubAsgi, *, client: tuple[str, int] | None = (NEAR, 5), tells_why: bool = True
) -> list[Any]:
    """Open a websocket as a server would, and hang up; return what the application sent."""
    told: list[Any] = []
    events = iter(["websocket.connect", "websocket.disconnect"])

    async def receive() -> dict[str, Any]:
        return {"type": next(events)}

    async def send(message: Any) -> None:
        told.append(message)

    scope: dict[str, Any] = {
        "type": "websocket",
        "path": "/socket.io/",
        "query_string": b"EIO=4&transport=websocket",
        "headers": [(b"host", b"127.0.0.1")],
        "client": client,
        "extensions": {"websocket.http.response": {}} if tells_why else None,
    }
    await app(scope, receive, send)
    return told


class Life:
    """The lifespan of an application, told by hand."""

    def __init__(self, app: HubAsgi) -> None:
        self._told: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._heard: asyncio.Queue[Any] = asyncio.Queue()
        scope = {"type": "lifespan"}
        self._task = asyncio.ensure_future(app(scope, self._told.get, self._heard.put))

    async def begin(self) -> Any:
        """Start; return the answer."""
        return await self._tell("startup")

    async def end(self) -> Any:
        """Shut down; return the answer."""
        answer = await self._tell("shutdown")
        await self._task
        return answer

    async def _tell(self, what: str) -> Any:
        self._told.put_nowait({"type": f"lifespan.{what}"})
        async with asyncio.timeout(10):
            return await self._heard.get()


class Bot(AlephScriptClient):
    """Answers, or waits to be let go."""

    rooms = ("WORK",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.entered = asyncio.Event()
        self.let_go = asyncio.Event()

    @capability("ECHO")
    async def echo(self, request: Request[dict[str, Any]]) -> dict[str, Any]:
        """Answer with the payload."""
        return request.payload

    @capability("WAIT")
    async def wait(self) -> dict[str, Any]:
        """Wait to be let go."""
        self.entered.set()
        await self.let_go.wait()
        return {"waited": True}


# Where it may be


LINKS: dict[str, Callable[[str], Any]] = {
    "websocket": WebSocketTransport,
    "python-socketio": SocketIOTransport,
    "polling": lambda url: SocketIOTransport(url, transports=("polling",)),
    "upgrade": lambda url: SocketIOTransport(url, transports=("polling", "websocket")),
}


@pytest.mark.parametrize("link", LINKS)
async def test_our_client_reaches_it_by_its_prefix_on_every_link(serve: Serve, link: str) -> None:
    """As if the hub had a port of its own."""
    async with (
        asyncio.timeout(20),
        mounted(serve) as hub,
        Bot(hub.url),
        AlephScriptClient(LINKS[link](hub.url)) as client,
    ):
        assert await client.request("ECHO", {"text": "ñ ☃"}) == {"text": "ñ ☃"}


@pytest.mark.parametrize("end", ["", "/", "/runtime", "/runtime/", "/socket.io/"])
@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_its_address_may_end_as_that_of_any_hub(transport: str, end: str) -> None:
    """With the namespace, or Socket.IO's path."""
    async with (
        mounted() as hub,
        Bot(hub.url),
        AlephScriptClient(hub.url + end, transports=(transport,)) as client,
    ):
        assert await client.request("ECHO", {}) == {}


async def test_a_blocking_client_reaches_it_by_its_prefix() -> None:
    """From a thread."""

    def run(url: str) -> Any:
        with sync.AlephScriptClient(f"{url}/runtime") as client:
            return client.request("ECHO", {"n": 1})

    async with mounted() as hub, Bot(hub.url):
        assert await asyncio.to_thread(run, hub.url) == {"n": 1}


async def test_a_fastapi_application_has_it_beside_its_own_routes(serve: Serve) -> None:
    """At the root of a server, too; and the application's lifespan is its own."""
    hub, began = Hub(), asyncio.Event()

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        began.set()
        yield
        await hub.close()

    app = FastAPI(lifespan=lifespan)
    app.mount("/deep/er/mesh", hub.asgi())

    @app.get("/hello")
    async def hello() -> str:
        return "hello"

    async with serve(app) as url, aiohttp.ClientSession() as http:
        await began.wait()
        async with http.get(f"{url}/hello") as answer:
            assert await answer.json() == "hello"
        async with Bot(f"{url}/deep/er/mesh"), AlephScriptClient(f"{url}/deep/er/mesh") as client:
            assert await client.request("ECHO", {"n": 1}) == {"n": 1}
        with pytest.raises(ConnectionRefused):
            await AlephScriptClient(url).__aenter__()
    assert hub._loop is None


async def test_pages_work_below_the_prefix(serve: Serve) -> None:
    """All that the mesh page fetches is relative to where it is."""
    async with mounted(serve) as hub, aiohttp.ClientSession() as http:
        pages = {
            "": (200, "text/html"),
            "/": (200, "text/html"),
            "/page.mjs": (200, "text/javascript"),
            "/mesh": (200, "application/json"),
            "/mesh/live": (200, "application/json"),
            "/mesh/members": (200, "application/json"),
            "/live": (200, "application/json"),
            "/metrics": (200, "text/plain"),
            "/healthz": (200, "application/json"),
            "/readyz": (200, "application/json"),
            "/nowhere": (404, "application/json"),
        }
        for path, expected in pages.items():
            async with http.get(hub.url + path) as answer:
                assert (answer.status, answer.content_type) == expected, path
                await answer.read()


PATHS = {
    ("", "/socket.io/"): "/socket.io/",
    ("", "/mesh"): "/mesh",
    ("/mesh", "/mesh/socket.io/"): "/socket.io/",  # by the specification
    ("/mesh", "/socket.io/"): "/socket.io/",  # where the prefix is left out
    ("/mesh/", "/mesh/socket.io/"): "/socket.io/",
    ("/api/mesh", "/api/mesh/socket.io/"): "/socket.io/",
    ("/api/mesh", "/mesh/socket.io/"): "/socket.io/",  # behind a proxy that cuts /api off
    ("/api/mesh", "/socket.io/"): "/socket.io/",
    ("/me", "/mesh"): "/mesh",  # no part of a name is a prefix
    ("/m", "/m"): "",
    ("/m", "/m/"): "/",
    ("/m", "/m/mesh/live"): "/mesh/live",
    ("/mesh", "/mesh/mesh/live"): "/mesh/live",
    ("/mesh", "/mesh/live"): "/mesh/live",  # in either way
    ("/mesh", "/mesh/rooms/R"): "/mesh/rooms/R",
    ("/mesh", "/mesh/healthz"): "/healthz",
    ("/mesh", "/mesh/live.mjs"): "/live.mjs",
    ("/a/b", "/c/a/b/x"): "/c/a/b/x",
}


@pytest.mark.parametrize(("root_path", "path"), PATHS)
def test_the_path_below_the_prefix_is_found_as_servers_tell_it(root_path: str, path: str) -> None:
    """With the prefix in front or without."""
    assert find_path({"path": path, "root_path": root_path}) == PATHS[root_path, path]


async def test_without_a_slash_the_page_is_elsewhere() -> None:
    """The page names its parts relative to a folder; the place says where that is."""
    app = Hub().asgi()
    answer = await ask(app, "/deep/er", root_path="/deep/er")
    assert (answer.status, answer.headers["location"]) == (307, "er/")


@pytest.mark.parametrize("with_prefix", [True, False])
async def test_a_proxy_may_cut_the_prefix_off(*, with_prefix: bool) -> None:
    """The server is told of it; or it is not, and there is none."""
    hub = Hub()
    options = {"root_path": "/deep"} if with_prefix else {}
    for serve in (serve_uvicorn, serve_hypercorn):
        async with serve(hub.asgi(), **options) as url, Bot(url), AlephScriptClient(url) as client:
            assert await client.request("ECHO", {"n": 1}) == {"n": 1}


async def test_several_hubs_in_one_application_do_not_hear_each_other() -> None:
    """And the same hub twice is one mesh with two addresses."""
    first, second = Hub(), Hub()
    app = Starlette(
        routes=[
            Mount("/one", app=first.asgi()),
            Mount("/two", app=second.asgi()),
            Mount("/one-too", app=first.asgi()),
        ]
    )
    async with serve_uvicorn(app) as url:
        async with (
            Bot(f"{url}/one"),
            AlephScriptClient(f"{url}/one-too") as near,
            AlephScriptClient(f"{url}/two") as other,
        ):
            assert await near.request("ECHO", {"n": 1}) == {"n": 1}
            assert await other.discover() == []
            assert len(await near.discover()) == 2
        await first.close()
        await second.close()
    assert first.asgi() is first.asgi()


async def test_a_hub_may_have_a_port_of_its_own_besides() -> None:
    """One mesh through both doors; closing it closes both."""
    hub = Hub(port=0)
    app = Starlette(routes=[Mount("/mesh", app=hub.asgi())])
    async with serve_uvicorn(app) as url:
        async with hub, Bot(hub.url), AlephScriptClient(f"{url}/mesh") as client:
            assert await client.request("ECHO", {"n": 1}) == {"n": 1}
            life = Life(hub.asgi())
            await life.begin()
            await life.end()
            assert await client.request("ECHO", {"n": 2}) == {"n": 2}
        assert (await ask(hub.asgi(), "/healthz")).status == 503


async def test_what_a_port_needs_is_refused_and_a_hub_itself_is_no_application() -> None:
    """In sentences that say what to write."""
    with pytest.raises(StateError, match=r'app\.mount\("/mesh", hub\.asgi\(\)\)'):
        await Hub()({}, None, None)
    port_options: list[dict[str, Any]] = [
        {"tls": ssl.create_default_context()},
        {"reuse_port": True},
    ]
    for options in port_options:
        with pytest.raises(HubError, match="leave them to the server"):
            Hub(**options).asgi()
    hub = Hub()
    hub.asgi()
    with pytest.raises(StateError, match="no address of its own"):
        hub.url  # noqa: B018 - that is what raises


async def test_an_admin_ui_that_all_would_see_is_refused(tmp_path: Any) -> None:
    """As on a port."""
    (tmp_path / "index.html").write_text("<title>Admin</title>")
    with pytest.raises(HubError, match="needs access="):
        Hub(insecure=True, admin_ui=tmp_path).asgi()
    app = Hub(admin_ui=tmp_path).asgi()
    assert (await ask(app, "/m/admin-ui", root_path="/m")).body.endswith(b'url=admin-ui/">')
    assert b"Admin" in (await ask(app, "/m/admin-ui/", root_path="/m")).body


# Whom it serves


REFUSED = "this hub serves its own machine only; access=SharedToken(...) lets in others"
PAGES = ("/", "/mesh", "/metrics", "/mesh/live", "/socket.io/")
POLLING = "EIO=4&transport=polling"


async def statuses(app: HubAsgi, **options: Any) -> list[int]:
    """The statuses of all pages, and of a websocket."""
    answers = [(await ask(app, path, query=POLLING, **options)).status for path in PAGES]
    headers = options.pop("headers", {})
    if not headers:
        told = await open_websocket(app, **options)
        answers.append(101 if told[0]["type"] == "websocket.accept" else told[0]["status"])
    return answers


async def test_without_a_rule_of_access_only_this_machine_is_served(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What shows that it was passed on is of another; this is logged once."""
    app = Hub().asgi()
    served, refused = [200, 200, 200, 200, 200, 101], [403, 403, 403, 403, 400, 403]
    assert await statuses(app) == served
    assert await statuses(app, client=("::1", 5)) == served
    assert await statuses(app, client=("::ffff:127.0.0.1", 5)) == served
    assert await statuses(app, client=(FAR, 5)) == refused
    assert await statuses(app, client=("testclient", 5)) == refused
    assert await statuses(app, client=None) == refused
    for header in ("x-forwarded-for", "forwarded", "x-real-ip"):
        assert await statuses(app, headers={header: NEAR}) == refused[:5]
    answer = await ask(app, "/mesh", client=(FAR, 5))
    assert msgspec.json.decode(answer.body) == {"error": REFUSED}
    assert [each.args for each in caplog.records] == [("127.0.0.1:8000",)]
    assert (await ask(app, "/healthz", client=(FAR, 5))).status == 200


async def test_insecure_is_for_all_and_shows_nobody_the_whole_hub() -> None:
    """As beyond loopback on a port."""
    app = Hub(insecure=True).asgi()
    for client in ((FAR, 5), (NEAR, 5), None):
        assert await statuses(app, client=client) == [404, 401, 401, 401, 200, 101]
    assert (await ask(app, "/mesh", headers={"host": "evil.example"})).status == 403


async def test_with_a_rule_of_access_all_may_come_and_prove_who_they_are() -> None:
    """From wherever, by whatever name."""
    app = Hub(access=SharedToken("s3cret")).asgi()
    for client in ((FAR, 5), (NEAR, 5), None):
        assert await statuses(app, client=client) == [200, 401, 401, 401, 200, 101]
        headers = {"authorization": "Bearer s3cret", "host": "mesh.example", "x-real-ip": FAR}
        assert await statuses(app, client=client, headers=headers) == [200] * 5
    async with mounted(access=SharedToken("s3cret")) as hub:
        with pytest.raises(ConnectionRefused, match="unauthorized"):
            await AlephScriptClient(hub.url).__aenter__()
        async with AlephScriptClient(hub.url, token="s3cret") as member:
            assert member.usuario


async def test_pages_of_elsewhere_may_not_ask() -> None:
    """Neither by an origin of their own nor by a name that points to this machine."""
    app = Hub(allowed_hosts=["mesh.example"], cors_origins=["https://ui.example"]).asgi()
    for headers, status in (
        ({"host": "evil.example"}, 403),
        ({"origin": "https://evil.example"}, 403),
        ({"host": "mesh.example"}, 200),
        ({"origin": "https://ui.example"}, 200),
        ({"origin": "http://127.0.0.1:8000"}, 200),
        ({"origin": "http://localhost:5173"}, 200),
    ):
        assert (await ask(app, "/mesh", headers=headers)).status == status, headers
    guarded = Hub(access=SharedToken("s3cret")).asgi()
    headers = {"origin": "http://localhost:5173", "authorization": "Bearer s3cret"}
    assert (await ask(guarded, "/mesh", headers=headers)).status == 200
    assert (await ask(guarded, "/mesh", headers=headers, client=(FAR, 5))).status == 403


async def test_who_is_refused_hears_why(serve: Serve) -> None:
    """Our client says what the hub said."""
    async with mounted(serve) as hub:
        assert (await open_websocket(hub.asgi(), client=(FAR, 5), tells_why=False))[0] == {
            "type": "websocket.close",
            "code": 1008,
            "reason": REFUSED,
        }
        async with aiohttp.ClientSession(headers={"x-forwarded-for": "192.0.2.1"}) as http:
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await http.ws_connect(f"{hub.url}/socket.io/?EIO=4&transport=websocket")
            assert refused.value.status == 403
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await http.ws_connect(f"{hub.url}/elsewhere")
            assert refused.value.status == 400


@pytest.mark.parametrize(
    ("options", "address"),
    [({}, "203.0.113.7"), ({"forwarded_allow_ips": ""}, "127.0.0.1")],
    ids=["trusted", "not trusted"],
)
async def test_forwarded_addresses_are_believed_as_the_server_is_told(
    options: dict[str, Any], address: str
) -> None:
    """In who is there; and a session that polls belongs to that address."""
    hub = Hub(access=SharedToken("s3cret"))
    async with serve_uvicorn(hub.asgi(), **options) as url:
        peer = Stock("/runtime")
        headers = {"x-forwarded-for": "203.0.113.7", "authorization": "Bearer s3cret"}
        await peer.sio.connect(
            url, headers=headers, auth={"token": "s3cret"}, namespaces=["/runtime"]
        )
        async with aiohttp.ClientSession(headers=headers) as http:
            async with http.get(f"{url}/mesh/members") as answer:
                (member,) = (await answer.json())["members"]
            poller = Poller(http, url)
            await poller.open()
            session = hub._engine.connections[poller.query["sid"]]
            assert session.sender == ("203.0.113.7" if not options else None)
        assert member["address"] == address
        await peer.leave()


# When it begins and ends


async def test_the_lifespan_of_a_server_is_the_hubs(serve: Serve) -> None:
    """Open before the first request, closed after the last."""
    hub = Hub()
    async with serve(hub.asgi()) as url:
        while hub._loop is None:  # noqa: ASYNC110 - hypercorn does not tell when it has begun
            await asyncio.sleep(0)
        async with Bot(url), AlephScriptClient(url) as client:
            assert await client.request("ECHO", {}) == {}
    assert hub._loop is None


async def test_it_begins_with_the_lifespan_and_ends_with_the_last() -> None:
    """A hub that is mounted twice is told twice."""
    hub = Hub()
    app = hub.asgi()
    first, second = Life(app), Life(app)
    assert await first.begin() == {"type": "lifespan.startup.complete"}
    assert hub._loop is not None
    assert await second.begin() == {"type": "lifespan.startup.complete"}
    assert await first.end() == {"type": "lifespan.shutdown.complete"}
    assert (await ask(app, "/healthz")).status == 200
    assert await second.end() == {"type": "lifespan.shutdown.complete"}
    closed = await ask(app, "/healthz")
    assert (closed.status, closed.headers["retry-after"]) == (503, "1")
    assert msgspec.json.decode(closed.body) == {"error": "this hub is closed"}
    again = Life(app)
    await again.begin()
    assert (await ask(app, "/healthz")).status == 200
    await again.end()


async def test_it_begins_with_the_first_request_where_nobody_tells_it() -> None:
    """With several at once, too; and does not begin again once it was closed."""
    hub = Hub()
    app = hub.asgi()
    answers = await asyncio.gather(*[ask(app, "/readyz") for _ in range(5)])
    assert {each.status for each in answers} == {200}
    await hub.close()
    await hub.close()
    assert (await ask(app, "/readyz")).status == 503
    assert (await open_websocket(app))[0]["status"] == 503


async def test_a_hub_that_cannot_start_says_so_to_its_operator_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The server does not start; a request is told to come again, and not where Redis would be."""
    hub = Hub(redis="redis://127.0.0.1:1/0")
    app = hub.asgi()
    failed = await Life(app).begin()
    assert failed["type"] == "lifespan.startup.failed"
    assert "cannot reach Redis" in failed["message"]
    answers = await asyncio.gather(*[ask(app, "/readyz") for _ in range(3)])
    answers.append(await ask(app, "/readyz"))
    assert {each.status for each in answers} == {503}
    assert {each.body for each in answers} == {
        b'{"error":"the hub cannot start; its log says why"}'
    }
    said = [each.getMessage() for each in caplog.records]
    assert 1 <= len(said) <= 3
    caplog.clear()


async def test_closing_lets_everybody_know(serve: Serve) -> None:
    """Websockets and polls end with it, at once; the server goes on."""
    async with mounted(serve) as hub, asyncio.timeout(10):
        websocket, polling = Stock("/runtime"), Stock("/runtime")
        await websocket.connect(hub.url, transports=["websocket"])
        await polling.connect(hub.url, transports=["polling"])
        await hub.close()
        await websocket.gone.wait()
        await polling.gone.wait()
        with pytest.raises(ConnectionRefused):
            await AlephScriptClient(hub.url).__aenter__()
        await websocket.leave()
        await polling.leave()


async def test_a_server_that_ends_takes_its_clients_off() -> None:
    """Although nobody has told the hub."""
    hub = Hub()
    app = Starlette(routes=[Mount("/mesh", app=hub.asgi())])
    peer = Stock("/runtime")
    async with asyncio.timeout(15):
        async with serve_uvicorn(app) as url:
            await peer.connect(f"{url}/mesh", transports=["websocket"])
        await peer.gone.wait()
        await peer.leave()
        while hub._engine.connections:  # noqa: ASYNC110 - the hub's own turn
            await asyncio.sleep(0)


async def test_open_requests_end_while_it_drains() -> None:
    """Nobody new is let in, on either transport."""
    async with mounted() as hub, Bot(hub.url) as bot, AlephScriptClient(hub.url) as client:
        waiting = asyncio.create_task(client.request("WAIT", timeout=30))
        await bot.entered.wait()
        draining = asyncio.create_task(hub.drain(30))
        await asyncio.sleep(0)  # it begins with its first turn
        with pytest.raises(Overloaded):
            await client.request("WAIT")
        for transports in (("websocket",), ("polling",)):
            with pytest.raises(ConnectionRefused, match=r"[Tt]he hub is closing"):
                await AlephScriptClient(hub.url, transports=transports).__aenter__()
        assert (await ask(hub.asgi(), "/readyz")).status == 503
        assert not draining.done()
        bot.let_go.set()
        async with asyncio.timeout(5):
            assert await waiting == {"waited": True}
            await draining


def in_a_loop_of_its_own(*runs: Callable[[], Awaitable[Any]]) -> list[Any]:
    """Run each in an event loop that ends with it, in a thread without one."""
    results: list[Any] = []

    async def run(each: Callable[[], Awaitable[Any]]) -> Any:
        return await each()

    def run_all() -> None:
        results.extend(asyncio.run(run(each)) for each in runs)

    thread = threading.Thread(target=run_all)
    thread.start()
    thread.join(20)
    return results


def test_where_its_event_loop_has_ended_it_begins_anew_in_the_next() -> None:
    """As under a test client, which has a loop for each request."""
    app = Hub().asgi()

    async def open_session() -> Any:
        body = (await ask(app, "/socket.io/", query=POLLING)).body
        health = await ask(app, "/healthz")
        return msgspec.json.decode(body[1:])["sid"], msgspec.json.decode(health.body)["clients"]

    (one, clients), (two, as_many) = in_a_loop_of_its_own(open_session, open_session)
    assert one != two
    assert clients == as_many == 1


def test_its_journal_goes_with_it_to_the_next_event_loop(tmp_path: Path) -> None:
    """Nobody else has the folder meanwhile; several requests may be the first there."""
    hub = Hub(data=tmp_path)
    app = hub.asgi()

    async def look() -> set[int]:
        return {
            each.status for each in await asyncio.gather(*[ask(app, "/readyz") for _ in range(5)])
        }

    async def end() -> set[int]:
        statuses = await look()
        await hub.close()
        return statuses

    assert in_a_loop_of_its_own(look, look, end) == [{200}] * 3
    assert not [each for each in threading.enumerate() if each.name.startswith("alephscript-")]


@pytest.mark.slow
def test_a_program_ends_although_nobody_has_closed_its_hub(tmp_path: Path) -> None:
    """What was said until then is kept."""
    program = """if True:
        import asyncio, sys
        from alephscript.hub import Hub
        from tests.hub.test_asgi import ask
        app = Hub(data=sys.argv[1]).asgi()
        print(asyncio.run(ask(app, "/readyz")).status)
    """
    command = [sys.executable, "-c", program, str(tmp_path)]
    for _ in range(2):  # the second finds the folder free
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, "200\n", "")


def test_a_test_client_reaches_it_on_both_transports() -> None:
    """By a name that is allowed and an address of this machine, as the documentation says."""
    hub = Hub(allowed_hosts=["testserver"])
    app = Starlette(routes=[Mount("/mesh", app=hub.asgi())])
    for client in (
        TestClient(app, client=("127.0.0.1", 50_000)),
        TestClient(app, client=("127.0.0.1", 50_000)),
    ):
        with client:
            path = "/mesh/socket.io/?EIO=4&transport=websocket"
            with client.websocket_connect(path) as websocket:
                assert websocket.receive_text().startswith('0{"sid":')
                websocket.send_text("40/runtime,")
                assert websocket.receive_text().startswith('40/runtime,{"sid":')
                assert client.get("/mesh/mesh").json()["hub"]["clients"] == 1


async def test_a_second_event_loop_beside_the_first_is_refused() -> None:
    """Its connections belong to one; the sentence says what to do."""
    app = Hub().asgi()
    assert (await ask(app, "/healthz")).status == 200
    results = await asyncio.to_thread(in_a_loop_of_its_own, lambda: ask(app, "/healthz"))
    assert [each.status for each in results] == [503]
    assert b"a Hub for each loop" in results[0].body
    assert (await ask(app, "/healthz")).status == 200


@pytest.mark.parametrize("kind", ["http", "websocket"])
async def test_who_comes_while_it_closes_does_not_stay(kind: str) -> None:
    """A request that was accepted before is answered or refused."""
    hub = Hub()
    app = hub.asgi()
    await ask(app, "/healthz")
    closing = asyncio.ensure_future(hub.close())
    await asyncio.sleep(0)
    if kind == "http":
        assert (await ask(app, "/socket.io/", query=POLLING)).status == 503
    else:
        assert (await open_websocket(app))[0]["status"] == 503
    await closing


async def test_scopes_that_nobody_knows_are_refused() -> None:
    """As ASGI wants it."""
    with pytest.raises(StateError, match="carrier pigeon"):
        await Hub().asgi()({"type": "carrier pigeon"}, None, None)  # type: ignore[arg-type]
