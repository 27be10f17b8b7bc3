"""A hub that asks who they are: over sockets, on both transports and both websocket libraries."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import jwt
import pytest
import socketio
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from alephscript import AlephScriptClient, Request, RequestError, State, capability
from alephscript.errors import ConnectionRefused, PermissionDenied
from alephscript.hub import (
    Access,
    Handshake,
    Hub,
    Identity,
    JsonWebToken,
    Limits,
    Refusal,
    RoomSecrets,
    SharedToken,
)
from alephscript.hub.engine import Engine
from alephscript.links.websocket import WebSocketTransport
from tests.support.peers import Stock, quiet, raw_peer

pytestmark = pytest.mark.anyio

KEY = "a key of at least thirty-two bytes, as HS256 wants it"
TRANSPORTS = [("websocket",), ("polling",)]


class Bot(AlephScriptClient):
    """Masters a room and tells who asks."""

    rooms = ("AAIA_ROOM",)

    @capability("WHO")
    async def who(self, request: Request[dict[str, Any]]) -> dict[str, Any]:
        """The caller's name."""
        await self.broadcast("ASKED", {"secret": request.payload})
        return {"caller": request.caller}


@pytest.fixture
async def guarded() -> AsyncIterator[Hub]:
    """A hub with one secret for all, and a bot in it."""
    async with (
        Hub(port=0, access=SharedToken("open sesame")) as hub,
        Bot(hub.url, auth={"token": "open sesame"}),
    ):
        yield hub


@pytest.mark.parametrize("transports", TRANSPORTS, ids="+".join)
@pytest.mark.parametrize("auth", [None, {"token": "wrong"}, {"token": ["open sesame"]}])
async def test_a_client_without_the_token_is_refused_for_good(
    guarded: Hub, auth: Any, transports: tuple[str, ...]
) -> None:
    """It is not tried again: nothing would change."""
    tried = 0

    def provider() -> Any:
        nonlocal tried
        tried += 1
        return auth

    client = AlephScriptClient(guarded.url, auth=provider, transports=transports)
    with pytest.raises(ConnectionRefused, match="unauthorized") as caught:
        async with client:
            pass
    assert (caught.value.fatal, tried) == (True, 1)


@pytest.mark.parametrize("transports", TRANSPORTS, ids="+".join)
async def test_a_client_with_the_token_is_at_home(
    guarded: Hub, transports: tuple[str, ...]
) -> None:
    """On either transport."""
    async with AlephScriptClient(
        guarded.url,
        usuario="Ana",
        sesion="-1",
        auth={"token": "open sesame"},
        transports=transports,
    ) as client:
        assert await client.request("WHO", {}) == {"caller": "Ana-1"}


@pytest.mark.parametrize("transports", TRANSPORTS, ids="+".join)
async def test_a_stock_client_is_told_unauthorized_and_put_out(
    guarded: Hub, transports: tuple[str, ...]
) -> None:
    """As a CONNECT_ERROR; its connection does not stay."""
    refused: asyncio.Queue[Any] = asyncio.Queue()
    sio = socketio.AsyncClient(reconnection=False, logger=quiet, engineio_logger=quiet)
    sio.on("connect_error", refused.put, namespace="/runtime")
    with pytest.raises(socketio.exceptions.ConnectionError):
        await sio.connect(
            guarded.url, namespaces=["/runtime"], transports=list(transports), wait_timeout=5
        )
    assert await refused.get() == {"message": "unauthorized"}
    engine = guarded._engine
    await until_alone(engine)
    await sio.shutdown()
    assert engine.refusals["unauthorized"] == 1


async def test_without_the_token_nothing_is_heard_and_nothing_is_learned(guarded: Hub) -> None:
    """Not one event, not the name of one room: by no packet, on no page."""
    url = f"ws{guarded.url[4:]}/socket.io/?EIO=4&transport=websocket"
    heard: list[str] = []
    async with connect(url, compression=None) as stranger:
        for frame in (
            '42/runtime,1["CLIENT_SUSCRIBE",{"room":"AAIA_ROOM"}]',
            '42/runtime,2["GET_SERVER_STATE"]',
            '42/runtime,3["GET_CAPABILITIES"]',
            '42/runtime,4["GET_WHO",{}]',
            '42["CLIENT_SUSCRIBE",{"room":"AAIA_ROOM"}]',
            '40/admin,{"token":"wrong"}',
            '40/runtime,{"token":"wrong"}',
            '42/runtime,5["GET_SERVER_STATE"]',
            '40,{"username":"admin","password":"wrong"}',
        ):
            await stranger.send(frame)
        async with AlephScriptClient(guarded.url, auth={"token": "open sesame"}) as friend:
            await friend.subscribe("AAIA_ROOM")
            events = friend.events("AAIA_ROOM")
            await friend.request("WHO", {"n": 1})
            assert (await anext(events)).name == "ASKED"
        heard.extend([str(frame) async for frame in stranger])
    assert heard[0].startswith("0{")
    said = [frame for frame in heard[1:] if frame != "2"]
    assert said
    assert {frame[:2] for frame in said} == {"44"}
    assert all("AAIA_ROOM" not in frame and "ASKED" not in frame for frame in heard)
    for page in ("/mesh", "/metrics", "/", "/healthz", "/readyz", "/admin-ui/", "/socket.io/"):
        _, body = await fetched(guarded.url + page)
        assert b"AAIA" not in body
        assert b"WHO" not in body


async def until_alone(engine: Engine) -> None:
    """Wait until nobody but the bot is connected."""
    async with asyncio.timeout(20):
        while len(engine.connections) > 1:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.01)


async def fetched(url: str, token: str | None = None, **headers: str) -> tuple[int, bytes]:
    """A page's status and body."""
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    request = urllib.request.Request(url, headers=headers)

    def fetch() -> tuple[int, bytes]:
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    return await anyio.to_thread.run_sync(fetch)


async def test_pages_that_show_the_hub_want_the_token(guarded: Hub) -> None:
    """In the header that such pages are asked with."""
    for page in ("/mesh", "/metrics"):
        assert (await fetched(guarded.url + page))[0] == 401
        assert (await fetched(guarded.url + page, "wrong"))[0] == 401
        assert (await fetched(guarded.url + page, Authorization="Basic b3Blbg=="))[0] == 401
        assert (await fetched(guarded.url + page, "open sesame"))[0] == 200


async def test_the_admin_namespace_is_for_who_may_see_all(tmp_path: Path) -> None:
    """With the token as password, as its pages ask for one; a room's secret is not enough."""
    rules: list[tuple[Access, dict[str, str], bool]] = [
        (SharedToken("s"), {"username": "me", "password": "s"}, True),
        (SharedToken("s"), {"token": "s"}, True),
        (SharedToken("s"), {"username": "me", "password": "t"}, False),
        (RoomSecrets({"A": "a"}), {"token": "a", "room": "A"}, False),
    ]
    (tmp_path / "index.html").write_text("<title>Admin</title>")
    for access, auth, welcome in rules:
        async with Hub(port=0, access=access, admin_ui=tmp_path) as hub:
            admin = Stock("/admin")
            if welcome:
                await admin.sio.connect(hub.url, auth=auth, namespaces=["/admin"])
                assert (await admin.next())[0] == "config"
            else:
                with pytest.raises(socketio.exceptions.ConnectionError):
                    await admin.sio.connect(hub.url, auth=auth, namespaces=["/admin"])
            await admin.leave()


async def test_rooms_have_secrets_as_upstreams_hubs_want_them() -> None:
    """Refusals in its words, auth_error for what is outside the grant, usuario from auth.user."""
    secrets = RoomSecrets({"AAIA_ROOM": "a", "OTHER": "o"})
    async with Hub(port=0, access=secrets) as hub:
        for auth, reason in (
            ({"token": "a"}, "room required"),
            ({"token": "a", "room": "NONE"}, "unauthorized"),
            ({"token": "o", "room": "AAIA_ROOM"}, "unauthorized"),
        ):
            with pytest.raises(ConnectionRefused, match=reason):
                async with AlephScriptClient(hub.url, auth=auth):
                    pass
        stock = Stock("/runtime")
        await stock.sio.connect(
            hub.url,
            auth={"token": "a", "room": "AAIA_ROOM", "user": "Zoe"},
            namespaces=["/runtime"],
            transports=["websocket"],
        )
        try:
            await stock.emit("CLIENT_REGISTER", {})
            await stock.emit("CLIENT_SUSCRIBE", {"room": "OTHER"})
            _, told = await stock.next("auth_error")
            assert told.pop("timestamp").startswith("20")
            assert told == {
                "reason": "room not allowed: OTHER",
                "room": "OTHER",
                "action": "subscribe",
            }
            await stock.emit("ROOM_MESSAGE", {"event": "X", "data": 1})
            _, told = await stock.next("auth_error")
            assert (told["reason"], told["action"]) == ("room required", "room_message")
            assert (await stock.call("CLIENT_SUSCRIBE", {"room": "AAIA_ROOM"}))["success"]
            state = await stock.call("GET_SERVER_STATE", {})
            assert [room["roomId"] for room in state["rooms"]] == ["AAIA_ROOM"]
            assert [each["usuario"] for each in state["miembros"]] == ["Zoe"]
        finally:
            await stock.leave()


def token(**claims: Any) -> dict[str, str]:
    """A handshake's auth with a valid token."""
    return {"token": jwt.encode({"exp": time.time() + 60, **claims}, KEY)}


async def test_a_token_proves_who_asks() -> None:
    """Whatever the asker registers as, and whatever it sends as its name."""
    async with (
        Hub(port=0, access=JsonWebToken(KEY)) as hub,
        Bot(hub.url, auth=token(sub="bot")),
        AlephScriptClient(
            hub.url, usuario="bot", sesion="", auth=token(sub="mallory", rooms=["AAIA_ROOM"])
        ) as asker,
    ):
        assert await asker.request("WHO", {"caller": "bot"}) == {"caller": "mallory"}
        with pytest.raises(PermissionDenied, match="room not allowed: ELSEWHERE"):
            await asker.subscribe("ELSEWHERE")


async def test_a_token_that_expires_ends_its_connection_and_a_new_one_is_asked_for() -> None:
    """By the provider, on every connect."""
    tokens = [token(sub="ana", exp=int(time.time()) + 3), token(sub="ana")]  # in whole seconds
    asked: list[dict[str, str]] = []

    async def provider() -> dict[str, str]:
        asked.append(tokens[min(len(asked), 1)])
        return asked[-1]

    async with Hub(port=0, access=JsonWebToken(KEY)) as hub:
        client = AlephScriptClient(hub.url, auth=provider, backoff=lambda: iter([0.0] * 9))
        async with client, asyncio.timeout(20):
            states = client.states()
            while len(asked) < 2 or client.state is not State.READY:
                await anext(states)
            assert "miembros" in await client.server_state()
    assert asked == tokens


class Lasting(Access):
    """Lets in everybody for as many seconds as they say."""

    def authenticate(self, auth: Any, handshake: Handshake) -> Identity:
        """The token is a number."""
        return Identity(expires_at=time.time() + auth["token"])


async def show(socket: Any, namespace: str, seconds: float) -> None:
    """Join a namespace with a token for so many seconds."""
    name = "" if namespace == "/" else f"{namespace},"
    await socket.send(f'40{name}{{"token":{seconds}}}')
    assert str(await socket.recv()).startswith(f"40{name}")


@pytest.mark.parametrize("shown", [(0.5, 3600), (3600, 0.5), (0.5, 1e9)])
async def test_a_token_shown_elsewhere_does_not_prolong_another(shown: tuple[float, ...]) -> None:
    """Each ends at its own time, whichever namespace it was shown for, and in whichever order."""
    async with Hub(port=0, access=Lasting()) as hub, asyncio.timeout(20):
        url = f"{hub.url.replace('http', 'ws')}/socket.io/?EIO=4&transport=websocket"
        async with connect(url) as socket:
            await socket.recv()
            for namespace, seconds in zip(("/runtime", "/"), shown, strict=True):
                await show(socket, namespace, seconds)
            async for _ in socket:  # until the hub ends it
                pass
            assert "expired" in (socket.close_reason or "")


async def test_a_token_counts_no_more_where_its_bearer_has_left() -> None:
    """So that a client may renew it without a new connection; nothing of the first is kept."""
    async with Hub(port=0, access=Lasting()) as hub, asyncio.timeout(20):
        url = f"{hub.url.replace('http', 'ws')}/socket.io/?EIO=4&transport=websocket"
        async with connect(url) as socket:
            await socket.recv()
            for seconds in (10, 3600):
                await show(socket, "/runtime", seconds)
                assert len(hub._engine.entrance._expiries) == 1
                await socket.send("41/runtime,")
            await show(socket, "/", 10)
            assert len(hub._engine.entrance._expiries) == 1
        await until_alone(hub._engine)
        assert not len(hub._engine.entrance._expiries)


async def test_a_provider_that_never_answers_is_given_up() -> None:
    """In the time that connecting may take."""

    async def never() -> dict[str, str]:
        await asyncio.Event().wait()
        return {}

    async with Hub(port=0) as hub:
        client = AlephScriptClient(hub.url, auth=never, connect_timeout=0.2)
        with pytest.raises(ConnectionRefused, match="auth provider said nothing for"):
            async with client:
                pass


class Asked(Access):
    """Asks somebody else, who takes his time, or fails."""

    def __init__(self) -> None:
        self.saw: list[Handshake] = []
        self.answer: asyncio.Future[Identity | Refusal] = asyncio.Future()

    async def authenticate(self, auth: Any, handshake: Handshake) -> Identity | Refusal:
        self.saw.append(handshake)
        return await self.answer


async def test_a_rule_may_ask_elsewhere_and_is_told_how_somebody_came() -> None:
    """The connection waits for it; headers and address are those of the handshake."""
    access = Asked()
    async with Hub(port=0, access=access) as hub:
        asyncio.get_running_loop().call_soon(access.answer.set_result, Identity(usuario="ana"))
        async with AlephScriptClient(hub.url) as client:
            state = await client.server_state()
        assert [each["usuario"] for each in state["miembros"]] == ["ana"]
        (saw,) = access.saw
        assert (saw.namespace, saw.address) == ("/runtime", "127.0.0.1")
        assert saw.headers["host"] == hub.url.removeprefix("http://")


class AskedTwice(Access):
    """Decides about each set of credentials when it is told to."""

    def __init__(self) -> None:
        self.answers: dict[Any, asyncio.Future[Identity | Refusal]] = {}
        self.asked = asyncio.Event()

    async def authenticate(self, auth: Any, handshake: Handshake) -> Identity | Refusal:
        answer = self.answers[auth] = asyncio.Future()
        self.asked.set()
        return await answer


@pytest.mark.parametrize("between", [[], ["41/runtime,"]], ids=["again", "withdrawn"])
@pytest.mark.parametrize("order", [("old", "new"), ("new", "old")])
async def test_of_two_connects_the_last_one_is_decided_about(
    between: list[str], order: tuple[str, str]
) -> None:
    """Browsers send another one when their page thought better of it; each has one answer."""
    access = AskedTwice()
    async with (
        Hub(port=0, access=access) as hub,
        raw_peer(hub, namespace=None) as peer,
        asyncio.timeout(10),
    ):
        for packets in (['40/runtime,"old"'], [*between, '40/runtime,"new"']):
            access.asked.clear()
            for packet in packets:
                await peer.send(packet)
            await access.asked.wait()
        verdicts = {"old": Identity(usuario="old"), "new": Identity(usuario="new")}
        for auth in order:
            if not access.answers[auth].done():
                access.answers[auth].set_result(verdicts[auth])
        assert (await peer.recv()).startswith('40/runtime,{"sid"')
        await peer.ask("CLIENT_REGISTER", {"usuario": "any", "sesion": ""})
        state = await peer.ask("GET_SERVER_STATE")
        assert [each["usuario"] for each in state["miembros"]] == ["new"]


async def test_a_connect_that_is_withdrawn_lets_nobody_in() -> None:
    """Though the rule says yes, later."""
    access = AskedTwice()
    async with Hub(port=0, access=access) as hub, raw_peer(hub, namespace=None) as peer:
        await peer.send('40/runtime,"old"')
        await peer.send("41/runtime,")
        await peer.send("2")
        assert await peer.recv() == "3"
        for answer in access.answers.values():
            answer.cancel()
        assert not hub._engine.entrance._decisions
        assert hub._engine.carriers["/runtime"].mesh.clients == 0


async def test_a_rule_that_takes_too_long_lets_nobody_in() -> None:
    """It is bounded like everything before joining; the socket does not stay."""
    access = Asked()
    limits = Limits(join_seconds=0.2)
    async with Hub(port=0, access=access, limits=limits) as hub:
        client = AlephScriptClient(hub.url, connect_timeout=5)
        with pytest.raises(ConnectionRefused):
            async with client:
                pass
        assert not hub._engine.connections
        access.answer.set_result(Identity())


@pytest.mark.parametrize("errors_logged", [None])
async def test_a_rule_that_fails_lets_nobody_in(
    errors_logged: None, caplog: pytest.LogCaptureFixture
) -> None:
    """And the log says so; what it said stays there."""
    access = Asked()
    access.answer.set_exception(ZeroDivisionError("of the rule"))
    async with Hub(port=0, access=access) as hub:
        with pytest.raises(ConnectionRefused, match="unauthorized"):
            async with AlephScriptClient(hub.url):
                pass
    assert "Asked.authenticate failed" in caplog.text


async def test_a_page_of_elsewhere_cannot_take_this_machines_name() -> None:
    """A hub that asks nobody who they are looks at the name it is called by."""
    async with Hub(port=0) as hub:
        for page in ("/mesh", "/metrics", "/socket.io/?EIO=4&transport=polling"):
            status, body = await fetched(hub.url + page, Host="evil.example:3010")
            assert status in (400, 403)
            assert b"sid" not in body
            assert (await fetched(hub.url + page, Host="localhost:1"))[0] == 200
        path, port = "/socket.io/?EIO=4&transport=websocket", hub.url.rpartition(":")[2]
        with pytest.raises(InvalidStatus, match="403"):
            async with connect(f"ws://evil.example{path}", host="127.0.0.1", port=int(port)):
                pass
        assert (await fetched(hub.url + "/mesh", Host=f"[::1]:{port}"))[0] == 200
        assert (await fetched(hub.url + "/healthz", Host="evil.example"))[0] == 200
    async with Hub(port=0, allowed_hosts=["mesh.example"]) as hub:
        assert (await fetched(hub.url + "/mesh", Host="mesh.example"))[0] == 200
        assert (await fetched(hub.url + "/mesh", Host="evil.example"))[0] == 403
    async with Hub(port=0, access=SharedToken("s")) as hub:
        assert (await fetched(hub.url + "/mesh", "s", Host="mesh.example"))[0] == 200


async def test_beyond_loopback_the_hub_shows_itself_to_nobody_unasked() -> None:
    """Where nobody is asked who they are, pages that show it are off."""
    async with Hub(host="0.0.0.0", port=0, insecure=True) as hub:
        url = hub.url.replace("0.0.0.0", "127.0.0.1")
        assert (await fetched(url + "/mesh"))[0] == 401
        assert (await fetched(url + "/"))[0] == 404
        assert (await fetched(url + "/healthz"))[0] == 200
    async with Hub(host="0.0.0.0", port=0, access=SharedToken("s")) as hub:
        url = hub.url.replace("0.0.0.0", "127.0.0.1")
        assert (await fetched(url + "/mesh", "s"))[0] == 200
        assert (await fetched(url + "/"))[0] == 200  # it asks for the token itself


@pytest.mark.parametrize("transports", TRANSPORTS, ids="+".join)
async def test_a_hub_serves_tls(certificate: Path, transports: tuple[str, ...]) -> None:
    """On both transports, to a client that knows its certificate and to no other."""
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    known = ssl.create_default_context(cafile=certificate / "cert.pem")
    async with Hub(port=0, tls=server) as hub:
        assert hub.url.startswith("https://")
        async with (
            Bot(hub.url, tls=known, transports=transports),
            AlephScriptClient(hub.url, tls=known, transports=transports) as client,
        ):
            assert "caller" in await client.request("WHO", {"x": "y" * 100_000})
        with pytest.raises(ConnectionRefused):
            async with AlephScriptClient(hub.url, transports=transports):
                pass


async def test_a_client_takes_a_certificate_that_it_knows_and_no_other(certificate: Path) -> None:
    """By the context that its transport is given, or by the system's."""
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    known = ssl.create_default_context(cafile=certificate / "cert.pem")
    async with Hub(port=0, tls=server) as hub:
        async with (
            Bot(WebSocketTransport(hub.url, tls=known)),
            AlephScriptClient(WebSocketTransport(hub.url, tls=known)) as client,
        ):
            assert "caller" in await client.request("WHO", {"x": "y" * 100_000})
        with pytest.raises(ConnectionRefused, match="certificate"):
            async with AlephScriptClient(WebSocketTransport(hub.url)):
                pass


# Limits, at their edges


async def test_a_hub_takes_so_many_clients_and_no_more() -> None:
    """Who comes then may come again later."""
    async with Hub(port=0, limits=Limits(connections=2)) as hub:
        async with AlephScriptClient(hub.url), AlephScriptClient(hub.url):
            for transports in TRANSPORTS:
                with pytest.raises(ConnectionRefused) as caught:
                    async with AlephScriptClient(hub.url, transports=transports):
                        pass
                assert not caught.value.fatal
            assert (await fetched(hub.url + "/readyz"))[0] == 503
            assert hub._engine.refusals["connections"] >= 2
        async with AlephScriptClient(hub.url):
            assert (await fetched(hub.url + "/readyz"))[0] == 200


async def test_a_client_may_send_so_many_events_a_second_and_no_more() -> None:
    """What wants an answer gets one; others are not troubled, and time heals it."""
    async with (
        Hub(port=0, limits=Limits(events_per_second=20)) as hub,
        AlephScriptClient(hub.url) as client,
        AlephScriptClient(hub.url) as other,
        asyncio.timeout(20),
    ):
        sent = [client.request("NOBODY", {}) for _ in range(60)]
        ends = await asyncio.gather(*sent, return_exceptions=True)
        codes = [end.code for end in ends if isinstance(end, RequestError)]
        assert len(codes) == 60
        assert set(codes) == {"no_master", "overloaded"}
        # Twice a second's worth, less what it took to connect, and what a slow second earns.
        assert 30 <= codes.count("no_master") < 60
        assert hub._engine.refusals["events_per_second"] == codes.count("overloaded")
        await other.server_state()
        while True:
            try:
                await client.server_state()
            except RequestError:
                continue
            break


async def test_a_message_may_have_so_many_bytes_and_no_more() -> None:
    """One more ends its sender, with a reason, and is counted; far more is not even read."""
    async with Hub(port=0, limits=Limits(message_bytes=2000)) as hub:
        url = f"ws{hub.url[4:]}/socket.io/?EIO=4&transport=websocket"
        head, tail = '42/runtime,1["GET_X","', '"]'
        for size, refused in ((2000, False), (2001, True), (4000, True), (50_000, True)):
            async with connect(url, compression=None) as peer, asyncio.timeout(5):
                assert str(await peer.recv()).startswith("0")
                await peer.send("40/runtime,")
                assert str(await peer.recv()).startswith("40")
                await peer.send(head + "x" * (size - len(head) - len(tail)) + tail)
                if not refused:
                    assert "no_master" in str(await peer.recv())
                else:
                    await peer.wait_closed()
                if size in (2001, 4000):
                    assert peer.close_reason == "its message is too large"
        assert set(hub._engine.refusals) == {"message_bytes"}
        assert hub._engine.refusals["message_bytes"] == 2


async def test_who_never_joins_or_answers_no_ping_is_put_out_and_counted() -> None:
    """An idle poller as well as an idle websocket."""
    limits = Limits(join_seconds=0.5)
    async with Hub(port=0, limits=limits, ping_interval=0.4, ping_timeout=0.4) as hub:
        await fetched(hub.url + "/socket.io/?EIO=4&transport=polling")
        url = f"ws{hub.url[4:]}/socket.io/?EIO=4&transport=websocket"
        async with connect(url, compression=None) as idle, asyncio.timeout(5):
            await idle.wait_closed()
            assert idle.close_reason == "the client joins no namespace"
        async with connect(url, compression=None) as mute, asyncio.timeout(5):
            await mute.send("40/runtime,")
            await mute.wait_closed()
            assert mute.close_reason == "the client does not answer its ping"
        engine = hub._engine
        async with asyncio.timeout(5):
            while engine.connections:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.01)
        assert engine.refusals == {"join_seconds": 2, "ping_timeout": 1}


async def test_who_sends_too_much_and_wants_no_answer_is_put_out() -> None:
    """With a reason, on a websocket."""
    async with Hub(port=0, limits=Limits(events_per_second=5)) as hub:
        url = f"ws{hub.url[4:]}/socket.io/?EIO=4&transport=websocket"
        async with connect(url, compression=None) as flood, asyncio.timeout(5):
            await flood.send("40/runtime,")
            for _ in range(50):
                await flood.send('42/runtime,["ROOM_MESSAGE",{"room":"R","event":"X"}]')
            await flood.wait_closed()
            assert flood.close_reason == "it sends too many events a second"
        assert hub._engine.refusals["events_per_second"] == 1


async def test_a_hub_survives_a_thousand_connections_that_send_garbage(guarded: Hub) -> None:
    """Each is put out or ignored; nothing of them stays, and friends are served meanwhile."""
    garbage: list[str | bytes] = [
        b"\xff\xfe",
        "x" * 1000,
        "40",
        "4",
        "459999999999-",
        "[]",
        "0",
        '42/runtime,["a"',
        "",
    ]
    raw = [b"GET / HTTP/9\r\n\r\n", b"\x16\x03\x01\x02\x00", b"\x00" * 500, b"POST" * 200]
    host, _, port = guarded.url.removeprefix("http://").partition(":")
    url = f"ws{guarded.url[4:]}/socket.io/?EIO=4&transport=websocket"

    async def by_websocket(number: int) -> None:
        async with connect(url, compression=None, open_timeout=30) as peer:
            await peer.send(garbage[number % len(garbage)])

    async def by_hand(number: int) -> None:
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(raw[number % len(raw)])
        writer.close()

    async with AlephScriptClient(guarded.url, auth={"token": "open sesame"}) as friend:
        for batch in range(10):
            made = [by_websocket(batch + n) if n % 2 else by_hand(batch + n) for n in range(100)]
            await asyncio.gather(*made)
            assert "caller" in await friend.request("WHO", {})
    engine = guarded._engine
    await until_alone(engine)


# Metrics


async def test_metrics_tell_by_capability_and_code_and_never_who(guarded: Hub) -> None:
    """As Prometheus reads them."""
    from prometheus_client.parser import text_string_to_metric_families

    async with AlephScriptClient(
        guarded.url, usuario="mallory", auth={"token": "open sesame"}
    ) as client:
        await client.request("WHO", {})
        with pytest.raises(RequestError):
            await client.request("NOT_THERE", {})
        status, body = await fetched(guarded.url + "/metrics", "open sesame")
    assert status == 200
    assert b"mallory" not in body
    assert b"NOT_THERE" not in body
    families = {each.name: each for each in text_string_to_metric_families(body.decode())}
    ended = {
        (s.labels["namespace"], s.labels["capability"], s.labels["code"]): s.value
        for s in families["alephscript_requests"].samples
    }
    assert ended == {("/runtime", "WHO", "ok"): 1, ("/runtime", "(other)", "no_master"): 1}
    counts = [
        s.value
        for s in families["alephscript_request_seconds"].samples
        if s.name.endswith("_count") and s.labels["capability"] == "WHO"
    ]
    assert counts == [1]
    (connections,) = families["alephscript_connections"].samples
    assert connections.value == 2
    assert json.loads((await fetched(guarded.url + "/mesh", "open sesame"))[1])["hub"]
