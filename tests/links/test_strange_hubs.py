"""Every link among strangers: bursts, binary parts, answers of no form, hubs of other versions."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
import socketio
import uvicorn
from websockets.asyncio.server import ServerConnection, serve

from alephscript import AlephScriptClient, ConnectionRefused, PayloadTooLarge, capability
from alephscript.client.calls import read_answer
from alephscript.hub import Hub, Limits
from alephscript.links._socketio import SocketIOTransport, _Client, _Packet
from alephscript.links.transport import OLD_PROTOCOL, Transport
from alephscript.links.websocket import WebSocketTransport
from tests.links.test_links import Noting, answering
from tests.support.peers import Poller, raw_peer

pytestmark = pytest.mark.anyio

Make = Callable[[str], Transport]
MAKERS: dict[str, Make] = {
    "websocket": WebSocketTransport,
    "polling": functools.partial(SocketIOTransport, transports=("polling",)),
    "upgrade": functools.partial(SocketIOTransport, transports=("polling", "websocket")),
}
TRANSPORTS = [("websocket",), ("polling",), ("polling", "websocket")]


@pytest.fixture(params=MAKERS)
def make(request: pytest.FixtureRequest) -> Make:
    """Makes transports of one kind."""
    return MAKERS[request.param]


class Doubler(AlephScriptClient):
    """A master that takes whatever comes."""

    rooms = ("R",)

    @capability("X", max_in_flight=1000)
    async def x(self, payload: dict[str, Any]) -> dict[str, Any]:
        return {"n": payload["n"]}


@pytest.mark.parametrize("transports", TRANSPORTS, ids="+".join)
@pytest.mark.parametrize(("count", "size"), [(300, 5_000), (40, 1), (17, 60_000), (3, 900_000)])
async def test_a_burst_of_any_size_arrives(
    transports: tuple[str, ...], count: int, size: int
) -> None:
    """Requests to the hub and from the hub, in order, none lost."""
    async with (
        Hub(port=0) as hub,
        Doubler(hub.url, transports=transports),
        AlephScriptClient(hub.url, usuario="asker", transports=transports) as asker,
        asyncio.timeout(60),
    ):
        events = asker.events("Q", "E", buffer=count)
        await asker.subscribe("Q")
        asked = [
            asker.request("X", {"n": n, "p": "é" * (size // 2)}, timeout=60) for n in range(count)
        ]
        assert await asyncio.gather(*asked) == [{"n": n} for n in range(count)]
        for n in range(count):
            await asker.broadcast("E", n, room="Q")
        assert [(await anext(events)).data for _ in range(count)] == list(range(count))


async def test_a_body_holds_no_more_than_a_polling_peer_takes() -> None:
    """Sixteen messages, and the bytes of the largest one."""
    async with (
        Hub(port=0, limits=Limits(message_bytes=5_000)) as hub,
        aiohttp.ClientSession() as http,
        raw_peer(hub) as sender,
    ):
        poller = Poller(http, hub.url)
        await poller.join()
        await poller.post('42/runtime,["CLIENT_SUSCRIBE",{"room":"R"}]')
        sizes = [1] * 40 + [2_000] * 5 + [4_900] * 2
        said = '42/runtime,["ROOM_MESSAGE",{"event":"E","room":"R","data":"%s"}]'
        sender.send_at_once(*(said % ("x" * size) for size in sizes))
        heard: list[int] = []
        while len(heard) < len(sizes):
            body = [each for each in await poller.get() if '"E"' in each]
            assert len(body) <= 16
            assert sum(map(len, body)) <= 5_000 or len(body) == 1
            heard += [len(each) - len('42/runtime,["E",""]') for each in body]
        assert heard == sizes


@pytest.mark.parametrize("make", ["websocket", "polling"], indirect=True)
async def test_a_link_knows_how_large_a_message_the_hub_takes(make: Make) -> None:
    """What is larger is refused here; what was sent before and after arrives."""
    async with Hub(port=0, limits=Limits(message_bytes=2_000)) as hub, asyncio.timeout(10):
        noting = Noting()
        link = await make(hub.url).connect(noting, namespace="/runtime", auth=None, timeout=5)
        with pytest.raises(PayloadTooLarge):
            link.send(b'["E","%s"]' % (b"x" * 2_000), 1)
        link.send(b'["NONE"]', 2)
        await noting.answered.wait()
        await link.close()


@asynccontextmanager
async def stock_hub(sids: list[str]) -> AsyncIterator[tuple[socketio.AsyncServer, str]]:
    """A stock Python hub, and its address."""
    server = socketio.AsyncServer(async_mode="asgi")

    async def connect(sid: str, environ: Any, auth: Any = None) -> None:
        sids.append(sid)

    server.on("connect", connect, namespace="/runtime")
    stock = uvicorn.Server(
        uvicorn.Config(socketio.ASGIApp(server), port=0, log_level="critical", lifespan="off")
    )
    stock.capture_signals = contextlib.nullcontext
    serving = asyncio.ensure_future(stock.serve())
    while not stock.started:  # noqa: ASYNC110 - of uvicorn, without event
        await asyncio.sleep(0)
    try:
        yield server, f"http://127.0.0.1:{stock.servers[0].sockets[0].getsockname()[1]}"
    finally:
        stock.should_exit = stock.force_exit = True
        await serving


@pytest.mark.parametrize(
    "payload", [b"x", {"a": b"x"}, {"a": [b"x", b"y"], "b": {"c": b"z"}}], ids=repr
)
async def test_a_binary_event_that_wants_an_answer_gets_one(
    make: Make, payload: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """It is a failure, and the link goes on."""
    sids: list[str] = []
    async with stock_hub(sids) as (server, url), asyncio.timeout(20):
        noting = Noting()
        link = await make(url).connect(noting, namespace="/runtime", auth=None, timeout=5)
        call = functools.partial(server.call, to=sids[0], namespace="/runtime", timeout=5)
        answer = await call("GET_X", payload)
        assert (answer["success"], answer["code"]) == (False, "invalid_payload")
        assert [each.msg for each in caplog.records if "binary" in each.msg]
        await link.close()
        assert not any(each[0] == "received" and b"GET_X" in each[1] for each in noting.told)


@pytest.mark.parametrize("text", [b"", b"null", b"5", b'{"success":true}', b'"x"', b"[", b"[\xff]"])
def test_an_answer_of_no_form_is_a_failure_with_a_reason(text: bytes) -> None:
    """Whatever is left of it."""
    answer = read_answer(text)
    assert answer["success"] is False
    assert answer["code"]
    assert answer["error"]


@pytest.mark.parametrize(
    "reply",
    [
        '461-/runtime,%d[{"success":true,"b":{"_placeholder":true}}]',
        "46/runtime,%d[]",
        "43/runtime,%d",
        '43/runtime,%d{"success":true}',
        "43/runtime,%d[",
    ],
)
async def test_a_masters_answer_of_no_form_is_a_failure_with_a_reason(reply: str) -> None:
    """At a hub."""
    async with Hub(port=0) as hub, raw_peer(hub) as master, raw_peer(hub) as asker:
        await master.ask("MAKE_MASTER", {"room": "R", "features": ["X"]})
        await asker.send('42/runtime,7["GET_X",{},{"room":"R"}]')
        asked = await master.recv()
        number = int(asked.removeprefix("42/runtime,").partition("[")[0])
        await master.send(reply % number)
        answer = await asker.answer(7)
        assert answer["success"] is False
        assert answer["code"]


OLD_POLLING = b'96:0{"sid":"a","upgrades":[],"pingInterval":25000,"pingTimeout":5000}2:40'
REFUSED = b'{"code":5,"message":"Unsupported protocol version"}'


def _response(status: str, body: bytes) -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    return head.encode() + body


async def test_a_hub_of_an_older_protocol_is_named() -> None:
    """On both links: Socket.IO 2 lets in whoever knocks, and then is not understood."""

    async def old(websocket: ServerConnection) -> None:
        await websocket.send('0{"sid":"a","upgrades":[],"pingInterval":25000,"pingTimeout":5000}')
        await websocket.send("40")
        assert await websocket.recv() == "40/runtime,"
        await websocket.send("40/runtime")
        await websocket.wait_closed()

    async with asyncio.timeout(10):
        async with serve(old, "127.0.0.1", 0) as server:
            url = f"http://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"
            with pytest.raises(ConnectionRefused, match=OLD_PROTOCOL) as caught:
                await WebSocketTransport(url).connect(
                    Noting(), namespace="/runtime", auth=None, timeout=5
                )
            assert caught.value.fatal
        async with answering(_response("200 OK", OLD_POLLING)) as url:
            with pytest.raises(ConnectionRefused, match=OLD_PROTOCOL):
                await MAKERS["polling"](url).connect(
                    Noting(), namespace="/runtime", auth=None, timeout=5
                )


async def test_a_hub_of_a_newer_protocol_is_named(make: Make) -> None:
    """As it says itself."""
    async with answering(_response("400 Bad Request", REFUSED)) as url:
        with pytest.raises(ConnectionRefused, match="Unsupported protocol version"):
            await make(url).connect(Noting(), namespace="/runtime", auth=None, timeout=5)


async def test_the_queue_is_the_one_that_the_library_empties() -> None:
    """By `get` for the first packet of a body, by `get_nowait` for all others."""
    client = _Client(Noting(), "/")
    queue = client.eio.create_queue()
    for _ in range(20):
        queue.put_nowait(None)
    await queue.get()
    for _ in range(15):
        queue.get_nowait()
    with pytest.raises(asyncio.QueueEmpty):
        queue.get_nowait()
    assert client.eio.queue_empty is asyncio.QueueEmpty
    assert _Packet(encoded_packet="51-[1]").add_attachment(b"x")
