"""Engine.IO over plain HTTP, the upgrade to a websocket, and who may use either."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import aiohttp
import msgspec
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from alephscript.hub import Hub, Limits, SharedToken
from alephscript.hub.sockets import handover
from tests.hub.test_lobby import UPGRADE
from tests.support.peers import SEPARATOR, Poller, Raw, raw_peer
from tests.support.servers import DOORS, hub_behind

pytestmark = pytest.mark.anyio


@pytest.fixture(params=DOORS)
async def hub(request: pytest.FixtureRequest) -> AsyncIterator[Hub]:
    """A hub at a port of its own, or mounted in a server of others."""
    async with hub_behind(request.param) as hub:
        yield hub


@pytest.fixture
async def poller(hub: Hub) -> AsyncIterator[Poller]:
    """A polling client that has not begun yet."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as http:
        yield Poller(http, hub.url)


async def test_the_handshake_says_what_clients_must_know(poller: Poller) -> None:
    """In Engine.IO's words, milliseconds and bytes."""
    shaken = await poller.open()
    assert shaken == {
        "sid": shaken["sid"],
        "upgrades": ["websocket"],
        "pingInterval": 25_000,
        "pingTimeout": 20_000,
        "maxPayload": 1_000_000,
    }


async def test_several_messages_travel_in_one_body(poller: Poller) -> None:
    """Both ways."""
    await poller.join()
    await poller.post('42/runtime,1["NONE"]', "2", '42/runtime,2["NONE"]')
    first, second, third = await poller.get()
    assert first.startswith("43/runtime,1[")
    assert second == "3"
    assert third.startswith("43/runtime,2[")


async def test_a_poll_waits_for_what_comes(hub: Hub, poller: Poller) -> None:
    """It ends as soon as there is something."""
    await poller.join()
    await poller.post('42/runtime,1["CLIENT_SUSCRIBE",{"room":"R"}]')
    assert len(await poller.get()) == 3
    waiting = asyncio.ensure_future(poller.get())
    async with raw_peer(hub) as sender:
        await sender.ask("ROOM_MESSAGE", {"event": "E", "room": "R"})
    assert await waiting == ['42/runtime,["E",null]']


async def test_an_idle_poll_ends_with_a_ping() -> None:
    """Before any proxy loses patience."""
    async with (
        Hub(port=0, ping_interval=0.1, ping_timeout=5) as hub,
        aiohttp.ClientSession() as http,
    ):
        poller = Poller(http, hub.url)
        await poller.open()
        assert await poller.get() == ["2"]
        await poller.post("3")
        assert await poller.get() == ["2"]


async def test_a_poller_that_falls_silent_is_given_up() -> None:
    """Its last poll is told so, and its id is forgotten."""
    async with (
        Hub(port=0, ping_interval=0.3, ping_timeout=0.3) as hub,
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as http,
    ):
        poller = Poller(http, hub.url)
        await poller.open()
        heard = []
        while "1" not in heard:  # never a pong
            heard += await poller.get()
        said = [each for each in heard if each != "6"]  # a poll that was late has a noop
        assert said[0] == "2"
        assert await poller.request("GET") == (400, '{"code":1,"message":"Session ID unknown"}')


async def test_a_poller_that_fetches_too_little_is_cut_off() -> None:
    """What waits for its next poll counts as a backlog."""
    async with (
        Hub(port=0, limits=Limits(backlog_bytes=20_000)) as hub,
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as http,
        raw_peer(hub) as sender,
    ):
        poller = Poller(http, hub.url)
        await poller.join()
        await poller.post('42/runtime,1["CLIENT_SUSCRIBE",{"room":"R"}]')
        said = '42/runtime,["ROOM_MESSAGE",{"event":"E","room":"R","data":"%s"}]' % ("x" * 5_000)
        sender.send_at_once(*[said] * 10)
        await sender.fence()  # it may have been read with them, the cut is a turn later
        assert (await sender.ask("ROOM_MESSAGE", {"event": "E", "room": "R"}))["members"] == 0
        assert await poller.request("GET") == (400, '{"code":1,"message":"Session ID unknown"}')


REFUSED = [
    ("GET", {"EIO": "3"}, 5, "Unsupported protocol version"),
    ("GET", {"EIO": ""}, 5, "Unsupported protocol version"),
    ("GET", {"transport": "carrier pigeon"}, 0, "Transport unknown"),
    ("GET", {"sid": "nobody"}, 1, "Session ID unknown"),
    ("POST", {"sid": "nobody"}, 1, "Session ID unknown"),
    ("POST", {}, 3, "Bad request"),
    ("PUT", {}, 3, "Bad request"),
]


@pytest.mark.parametrize(("method", "query", "code", "message"), REFUSED)
async def test_what_is_no_engine_io_is_refused_in_its_words(
    hub: Hub, poller: Poller, method: str, query: dict[str, str], code: int, message: str
) -> None:
    """Stock clients show these."""
    status, body = await poller.request(method, **query)
    assert (status, msgspec.json.decode(body)) == (400, {"code": code, "message": message})
    assert not hub._engine.connections


@pytest.mark.parametrize("body", ["", "x", SEPARATOR, "2\x1e", "4999", "y" * 1_000_001])
async def test_a_body_that_is_none_ends_its_sender_only(
    hub: Hub, poller: Poller, body: str
) -> None:
    """Empty, no packet, over the limit."""
    await poller.join()
    status, answer = await poller.request("POST", body)
    assert (status, answer) in [(200, "ok"), (400, '{"code":3,"message":"Bad request"}')]
    assert (await poller.request("GET"))[0] == 400
    assert not hub._engine.connections
    assert hub._engine.meshes["/runtime"].clients == 0
    async with raw_peer(hub) as another:
        await another.fence()


async def test_a_goodbye_ends_the_body(hub: Hub, poller: Poller) -> None:
    """What stands behind it would join nobody."""
    await poller.open()
    await poller.post("1", "40/runtime,", '42/runtime,["CLIENT_SUSCRIBE",{"room":"GHOST"}]')
    assert hub._engine.meshes["/runtime"].clients == 0
    assert (await poller.request("GET"))[0] == 400


async def test_two_polls_at_once_end_the_connection(poller: Poller) -> None:
    """As every Engine.IO server has it: one of them would steal the other's messages."""
    await poller.join()
    polls = [asyncio.ensure_future(poller.request("GET")) for _ in range(2)]
    answers = sorted([await each for each in polls])
    assert answers[0] == (200, "1")
    assert answers[1][0] == 400


async def upgraded(poller: Poller, socket: Raw) -> None:
    """Do what a client does to change over."""
    await socket.send("2probe")
    assert await socket.recv() == "3probe"
    await socket.send("5")


async def test_the_upgrade_ends_the_poll_and_keeps_the_socket(hub: Hub, poller: Poller) -> None:
    """Rooms and socket id stay; polls and further websockets have no say any more."""
    await poller.join()
    await poller.post('42/runtime,1["GET_SERVER_STATE"]')
    before = await poller.get()
    waiting = asyncio.ensure_future(poller.get())
    async with connect(poller.upgrade_url(), compression=None) as websocket:
        peer = Raw(websocket)
        await upgraded(poller, peer)
        assert await waiting == ["6"]
        assert (await peer.ask("GET_SERVER_STATE"))["socketId"] in before[0]
        for method, body in (("GET", None), ("POST", "2")):
            assert (await poller.request(method, body))[0] == 400
        with pytest.raises(InvalidStatus):
            await connect(poller.upgrade_url(), compression=None)
        assert len(hub._engine.connections) == 1
    async with raw_peer(hub) as another:
        assert (await another.ask("GET_SERVER_STATE"))["clients"] == 1


async def test_what_is_said_during_the_upgrade_waits_for_its_end(hub: Hub, poller: Poller) -> None:
    """A probe that fails gives it to the next poll, one that succeeds to the websocket."""
    await poller.join()
    await poller.post('42/runtime,["CLIENT_SUSCRIBE",{"room":"R"}]')
    await poller.get()
    async with raw_peer(hub) as sender:
        for succeeds in (False, True):
            async with connect(poller.upgrade_url(), compression=None) as websocket:
                peer = Raw(websocket)
                await peer.send("2probe")
                assert await peer.recv() == "3probe"
                await sender.ask("ROOM_MESSAGE", {"event": "E", "room": "R", "data": succeeds})
                assert await poller.get() == ["6"]
                if succeeds:
                    await peer.send("5")
                    assert await peer.recv() == '42/runtime,["E",true]'
            if not succeeds:
                assert await poller.get() == ['42/runtime,["E",false]']


async def test_of_two_websockets_tried_out_the_first_wins(hub: Hub, poller: Poller) -> None:
    """The other is closed and takes nothing with it."""
    await poller.join()
    async with (
        connect(poller.upgrade_url(), compression=None) as one,
        connect(poller.upgrade_url(), compression=None) as two,
    ):
        first, second = Raw(one), Raw(two)
        await upgraded(poller, first)
        await first.fence()
        await second.send("2probe")
        await second.send("5")
        await second.until_closed()
        await first.fence()
        assert len(hub._engine.connections) == 1


@pytest.mark.parametrize("frame", ["40/runtime,", "2", "x", "1"])
async def test_a_websocket_that_is_tried_out_may_say_nothing_else(
    hub: Hub, poller: Poller, frame: str
) -> None:
    """It is closed; polling goes on."""
    await poller.join()
    async with connect(poller.upgrade_url(), compression=None) as socket:
        peer = Raw(socket)
        await peer.send(frame)
        await peer.until_closed()
    await poller.post("2")
    assert await poller.get() == ["3"]


async def test_a_websocket_that_is_never_used_is_closed(
    poller: Poller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After some seconds, here fewer."""
    monkeypatch.setattr(handover, "UPGRADE_SECONDS", 0.05)
    await poller.join()
    async with connect(poller.upgrade_url(), compression=None) as socket:
        await Raw(socket).until_closed()
    await poller.post("2")
    assert await poller.get() == ["3"]


async def test_closing_the_hub_ends_a_websocket_that_is_tried_out(hub: Hub, poller: Poller) -> None:
    """It is nobody's transport yet."""
    await poller.join()
    async with connect(poller.upgrade_url(), compression=None) as socket:
        peer = Raw(socket)
        await peer.send("2probe")
        assert await peer.recv() == "3probe"
        async with asyncio.timeout(5):
            await hub.close()
        await peer.until_closed()


async def test_a_poller_that_went_cannot_be_upgraded(poller: Poller) -> None:
    """Not even a websocket that was there before it went."""
    await poller.join()
    async with connect(poller.upgrade_url(), compression=None) as socket:
        await poller.post("1")
        peer = Raw(socket)
        await peer.send("5")
        await peer.until_closed()
    with pytest.raises(InvalidStatus):
        await connect(poller.upgrade_url(), compression=None)


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "/elsewhere/?EIO=4&transport=websocket",
        "/socket.io/?EIO=4&transport=polling",
        "/socket.io/?EIO=4",
        "/socket.io/?EIO=3&transport=websocket",
        "/socket.io/?EIO=4&transport=websocket&sid=nobody",
    ],
)
async def test_websockets_that_are_none_of_ours_are_refused(hub: Hub, target: str) -> None:
    """With an HTTP answer, before they are one."""
    with pytest.raises(InvalidStatus) as info:
        await connect(hub.url.replace("http", "ws") + target, compression=None)
    assert info.value.response.status_code == 400
    assert not hub._engine.connections


ORIGINS = [
    ((), "http://evil.example", False),
    ((), "null", False),
    ((), "OWN", True),
    (("http://good.example",), "http://good.example", True),
    (("http://good.example",), "http://evil.example", False),
    ("http://good.example", "http://good.example", True),
    ("*", "http://any.example", True),
]


@pytest.mark.parametrize(("origins", "origin", "welcome"), ORIGINS)
async def test_browsers_connect_from_welcome_origins_only(
    origins: tuple[str, ...] | str, origin: str, welcome: bool
) -> None:
    """Over either transport; a forged X-Forwarded-Host changes nothing."""
    async with (
        Hub(port=0, cors_origins=origins) as hub,
        aiohttp.ClientSession() as http,
    ):
        origin = hub.url if origin == "OWN" else origin
        headers = {"Origin": origin, "X-Forwarded-Host": "evil.example"}
        shake = f"{hub.url}/socket.io/?EIO=4&transport=polling"
        async with http.get(shake, headers=headers) as answer:
            assert answer.status == (200 if welcome else 400)
            assert answer.headers.get("access-control-allow-origin") == (
                origin if welcome else None
            )
        async with http.options(shake, headers=headers) as answer:
            assert answer.status == (204 if welcome else 400)
        async with http.get(f"{hub.url}/healthz", headers=headers) as answer:
            assert ("access-control-allow-origin" in answer.headers) == welcome
        url = shake.replace("http", "ws", 1).replace("polling", "websocket")
        opening = connect(url, additional_headers=headers, compression=None)
        if welcome:
            async with opening as socket:
                assert str(await socket.recv())[0] == "0"
        else:
            with pytest.raises(InvalidStatus):
                await opening


async def test_a_poll_that_waits_while_its_client_closes_gets_a_noop(
    hub: Hub, poller: Poller
) -> None:
    """As Engine.IO's conformance suite wants; then its id is forgotten."""
    await poller.join()
    (connection,) = hub._engine.connections.values()
    waiting = asyncio.ensure_future(poller.get())
    await poller.post("2")
    assert await waiting == ["3"]
    waiting = asyncio.ensure_future(poller.get())
    while getattr(connection._polling, "_waiting_poll", None) is None:  # noqa: ASYNC110 - the hub's own turn
        await asyncio.sleep(0)
    await poller.post("1")
    assert await waiting == ["6"]
    for method, body in (("GET", None), ("POST", "2")):
        assert (await poller.request(method, body))[0] == 400


async def test_a_poll_that_breaks_ends_its_session(hub: Hub, poller: Poller) -> None:
    """What its master had in hand is told at once, as stock hubs do."""
    await poller.join()
    await poller.post('42/runtime,1["MAKE_MASTER",{"room":"R","features":["X"]}]')
    while not any(each.startswith("43/runtime,1") for each in await poller.get()):
        pass
    async with raw_peer(hub) as asker:
        polling = asyncio.ensure_future(poller.get())
        await asker.send('42/runtime,7["GET_X",{},{"room":"R","timeoutMs":60000}]')
        assert "GET_X" in (await polling)[0]
        polling = asyncio.ensure_future(poller.get())
        await poller.post("2")
        await polling
        polling = asyncio.ensure_future(poller.get())
        (connection,) = (each for each in hub._engine.connections.values() if not each.upgraded)
        while getattr(connection._polling, "_waiting_poll", None) is None:  # noqa: ASYNC110 - the hub's own turn
            await asyncio.sleep(0)
        polling.cancel()
        assert (await asker.answer(7))["code"] == "master_lost"
        assert (await asker.ask("GET_X", {}, {"room": "R"}, ack=8))["code"] == "no_master"


async def test_a_body_that_breaks_off_is_no_message(hub: Hub, poller: Poller) -> None:
    """Its beginning would pass for the whole."""
    await poller.join()
    (connection,) = hub._engine.connections.values()
    _, writer = await asyncio.open_connection("127.0.0.1", urlsplit(hub.url).port)
    path = f"{urlsplit(hub.url).path}/socket.io/?EIO=4&transport=polling&sid={poller.query['sid']}"
    writer.write(f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 99\r\n\r\n2".encode())
    await writer.drain()
    writer.close()
    async with asyncio.timeout(5):
        while not connection.closed:  # noqa: ASYNC110 - the hub's own turn
            await asyncio.sleep(0)


async def test_binary_parts_are_refused_under_their_id_and_the_session_goes_on(
    hub: Hub, poller: Poller
) -> None:
    """As over websockets: what is dropped is counted, by event and reason."""
    await poller.join()
    await poller.post('451-/runtime,7["BLOB",{"_placeholder":true,"num":0}]', "bAAEC", "2")
    answer, pong = await poller.get()
    assert (answer[:13], pong) == ("43/runtime,7[", "3")
    assert '"invalid_payload"' in answer
    drops = hub._engine.meshes["/runtime"].drops.counts
    assert drops == {("BLOB", "binary"): 1, ("(nameless)", "binary"): 1}


async def test_two_bodies_at_once_end_the_connection(hub: Hub, poller: Poller) -> None:
    """As stock hubs have it; so one session has one body in the hub's memory."""
    await poller.join()
    (connection,) = hub._engine.connections.values()
    _, writer = await asyncio.open_connection("127.0.0.1", urlsplit(hub.url).port)
    path = f"{urlsplit(hub.url).path}/socket.io/?EIO=4&transport=polling&sid={poller.query['sid']}"
    writer.write(f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 99\r\n\r\n2".encode())
    async with asyncio.timeout(5):
        while not connection.is_posting:  # noqa: ASYNC110 - the hub's own turn
            await asyncio.sleep(0)
    assert (await poller.request("POST", "2"))[0] == 400
    assert connection.closed
    writer.close()


async def answers_from(hub: Hub, source: str, sid: str, *lines: str) -> list[int]:
    """The statuses of a poll's body, of a poll, and of an upgrade, sent from an address."""
    head = f"{urlsplit(hub.url).path}/socket.io/?EIO=4&sid={sid}&transport="
    common = "".join(f"{line}\r\n" for line in ("Host: 127.0.0.1", *lines))
    upgrade = UPGRADE.decode().removeprefix("Host: 127.0.0.1\r\n")
    statuses = []
    for request in (
        f"POST {head}polling HTTP/1.1\r\n{common}Content-Length: 1\r\n\r\n2",
        f"GET {head}polling HTTP/1.1\r\n{common}\r\n",
        f"GET {head}websocket HTTP/1.1\r\n{common}{upgrade}",
    ):
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", urlsplit(hub.url).port, local_addr=(source, 0)
        )
        writer.write(request.encode())
        async with asyncio.timeout(5):
            statuses.append(int((await reader.readline()).split()[1]))
        writer.close()
    return statuses


NEAR, ELSEWHERE = "X-Forwarded-For: 203.0.113.7", "X-Forwarded-For: 203.0.113.8"
SENDERS = {
    "the same": ("127.0.0.2", (), "127.0.0.2", (), True),
    "another address": ("127.0.0.2", (), "127.0.0.3", (), False),
    "another that says it is a proxy": ("127.0.0.2", (), "127.0.0.3", (NEAR,), False),
    "one that says it is the same": (
        "127.0.0.2",
        (),
        "127.0.0.3",
        ("X-Forwarded-For: 127.0.0.2",),
        False,
    ),
    "the same behind a trusted proxy": ("127.0.0.1", (NEAR,), "127.0.0.1", (NEAR,), True),
    "the same, from another port": ("127.0.0.1", (NEAR + ":1",), "127.0.0.1", (NEAR + ":2",), True),
    "another behind a trusted proxy": ("127.0.0.1", (NEAR,), "127.0.0.1", (ELSEWHERE,), False),
    "another that says it is the same": (
        "127.0.0.1",
        (NEAR,),
        "127.0.0.1",
        ("X-Forwarded-For: 203.0.113.7, 203.0.113.8",),
        False,
    ),
    "proxies that nobody trusts": ("127.0.0.2", (NEAR,), "127.0.0.3", (NEAR,), True),
}


@pytest.mark.parametrize("door", ["own port", "uvicorn"])  # both trust a proxy at 127.0.0.1
@pytest.mark.parametrize(
    ("opener", "opening", "sender", "lines", "is_taken"), SENDERS.values(), ids=SENDERS
)
async def test_an_id_alone_lets_nobody_speak_for_a_session(
    door: str,
    opener: str,
    opening: tuple[str, ...],
    sender: str,
    lines: tuple[str, ...],
    *,
    is_taken: bool,
) -> None:
    """Not by a body, a poll or an upgrade; whose it is goes on."""
    headers = dict(line.split(": ") for line in opening)
    connector = aiohttp.TCPConnector(local_addr=(opener, 0))
    async with (
        hub_behind(door, insecure=True) as hub,
        aiohttp.ClientSession(connector=connector, headers=headers) as http,
    ):
        poller = Poller(http, hub.url)
        await poller.open()
        statuses = await answers_from(hub, sender, poller.query["sid"], *lines)
        assert statuses == ([200, 200, 101] if is_taken else [400, 400, 400])
        if not is_taken:
            await poller.post("2")
            assert await poller.get() == ["3"]


async def test_where_somebody_has_to_prove_who_it_is_an_id_needs_the_same_header() -> None:
    """Of the same machine, too."""
    async with (
        Hub(port=0, access=SharedToken("s3cret")) as hub,
        aiohttp.ClientSession(headers={"Authorization": "Bearer s3cret"}) as http,
    ):
        poller = Poller(http, hub.url)
        await poller.open()
        sid = poller.query["sid"]
        for lines in ((), ("Authorization: Bearer other",)):
            assert await answers_from(hub, "127.0.0.1", sid, *lines) == [400, 400, 400]
        await poller.post("2")
        assert await poller.get() == ["3"]
