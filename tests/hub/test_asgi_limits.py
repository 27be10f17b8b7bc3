"""Limits of a hub whose sockets belong to an ASGI server."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest
from websockets.exceptions import ConnectionClosed

from alephscript.hub import Hub, Limits, connection as connections
from alephscript.hub.sockets import asgi
from alephscript.protocol.packets import PING, PROBE
from alephscript.protocol.websocket import write_masked_text_frame
from tests.hub.test_lobby import UPGRADE
from tests.support.peers import SEPARATOR, Poller, raw_peer
from tests.support.servers import SERVERS, MountedHub, Serve, mounted

pytestmark = pytest.mark.anyio

CLOSE = b"\x88"
"""The first byte of a frame that closes a websocket; its server waits for ours or the end."""


@pytest.fixture(
    params=[
        "uvicorn",
        pytest.param("hypercorn", marks=pytest.mark.slow),
        pytest.param("granian", marks=pytest.mark.slow),
    ]
)
def serve(request: pytest.FixtureRequest) -> Serve:
    """A server of others."""
    return SERVERS[request.param]


async def opened(hub: Hub, **options: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A socket at the server's port."""
    return await asyncio.open_connection("127.0.0.1", urlsplit(hub.url).port, **options)


def get_websocket(query: str = "") -> bytes:
    """A request for a websocket."""
    return (
        b"GET /mesh/socket.io/?EIO=4&transport=websocket%b HTTP/1.1\r\n" % query.encode() + UPGRADE
    )


@pytest.fixture
async def hub(serve: Serve) -> AsyncIterator[MountedHub]:
    """A hub that is impatient, and takes little."""
    limits = Limits(join_seconds=0.5, connections=4, message_bytes=20_000, backlog_bytes=300_000)
    async with mounted(serve, limits=limits) as hub, asyncio.timeout(50):
        yield hub


async def until(condition: Any) -> None:
    """Wait for the hub's own turn."""
    while not condition():  # noqa: ASYNC110 - what is looked at has no event
        await asyncio.sleep(0.001)


def is_idle(hub: Hub, *, but_for: int = 0) -> bool:
    """Whether the hub serves no more requests and websockets than that, and keeps nothing."""
    serving = hub._serving
    return serving is not None and len(serving.clocks) == but_for and not len(hub._lobby)


async def test_a_websocket_that_joins_nothing_does_not_stay(hub: MountedHub) -> None:
    """It is told why, and the socket is closed."""
    async with raw_peer(hub, None) as raw:
        await raw.until_closed()
        assert raw.websocket.close_reason in ("the client joins no namespace", "")
    assert hub._engine.refusals["join_seconds"] == 1
    await until(lambda: is_idle(hub))


async def test_a_websocket_that_is_tried_out_and_left_does_not_stay(hub: MountedHub) -> None:
    """The session goes on."""
    async with aiohttp.ClientSession() as http:
        poller = Poller(http, hub.url)
        await poller.join()
        reader, writer = await opened(hub)
        writer.write(get_websocket(f"&sid={poller.query['sid']}"))
        await reader.readuntil(b"\r\n\r\n")
        writer.write(write_masked_text_frame(PING + PROBE))
        await reader.readuntil(CLOSE)
        writer.close()
        await poller.post("2")
        assert "3" in await poller.get()


@pytest.mark.parametrize("sent", [0, 1, 9_000])
async def test_a_body_that_does_not_come_ends_its_request(hub: MountedHub, sent: int) -> None:
    """However much of it is there; others are served meanwhile."""
    async with aiohttp.ClientSession() as http:
        poller = Poller(http, hub.url)
        await poller.open()
        reader, writer = await opened(hub)
        head = f"POST /mesh/socket.io/?EIO=4&transport=polling&sid={poller.query['sid']} HTTP/1.1"
        writer.write(f"{head}\r\nHost: 127.0.0.1\r\nContent-Length: 9999\r\n\r\n".encode())
        writer.write(b"x" * sent)
        assert (await reader.readline()).split()[1] == b"408"
        await reader.read()  # until the server hangs up
        writer.close()
        await until(lambda: is_idle(hub))


async def test_a_hub_takes_so_many_and_no_more(hub: MountedHub) -> None:
    """Websockets and sessions that poll; who comes too late hears so."""
    async with AsyncExitStack() as stack, aiohttp.ClientSession() as http:
        for _ in range(3):
            await stack.enter_async_context(raw_peer(hub))
        await Poller(http, hub.url).join()
        status, body = await Poller(http, hub.url).request("GET")
        assert (status, json.loads(body)["message"]) == (400, "The hub is full")
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await http.ws_connect(f"{hub.url}/socket.io/?EIO=4&transport=websocket")
        assert refused.value.status == 503
        assert hub._engine.refusals["connections"] == 2


async def test_too_large_a_message_ends_its_sender(hub: MountedHub) -> None:
    """On either transport."""
    async with raw_peer(hub) as raw:
        await raw.send("42/runtime," + json.dumps(["E", "x" * 30_000]))
        await raw.until_closed()
    async with aiohttp.ClientSession() as http:
        poller = Poller(http, hub.url)
        await poller.join()
        assert (await poller.request("POST", "2" + "x" * 30_000))[0] == 400
    assert hub._engine.refusals["message_bytes"] == 2
    await until(lambda: not hub._engine.connections)


async def test_who_does_not_read_is_cut_off_and_the_others_are_served(hub: MountedHub) -> None:
    """What waits for it in the hub is bounded; its server has little of it."""
    reader, writer = await opened(hub, limit=1_000)
    writer.write(get_websocket())
    await reader.readuntil(b"\r\n\r\n")
    for packet in (b"40/runtime,", b'42/runtime,["CLIENT_SUSCRIBE",{"room":"R"}]'):
        writer.write(write_masked_text_frame(packet))
    async with raw_peer(hub) as sender:
        await until(lambda: len(hub._engine.meshes["/runtime"].rooms.members("R")) == 1)
        (slow,) = (
            each
            for each in hub._engine.connections.values()
            if each.sids["/runtime"] in hub._engine.meshes["/runtime"].rooms.members("R")
        )
        event = {"event": "E", "room": "R", "data": "x" * 15_000}
        most = sent = 0
        while not slow.closed:
            await sender.ask("ROOM_MESSAGE", event)
            most, sent = max(most, slow.backlog()), sent + 1
        assert most <= 300_000
        assert sent < 2_000
        assert hub._engine.refusals["backlog_bytes"] == 1
        await sender.fence()
        await until(lambda: is_idle(hub, but_for=1))
    writer.transport.abort()


@pytest.mark.parametrize("serve", [SERVERS["uvicorn"]], ids=["uvicorn"])
async def test_an_answer_that_nobody_reads_ends(
    hub: MountedHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A piece at a time is given to the server, and each has its time."""
    monkeypatch.setattr(asgi, "_PIECE", 1_000)
    _, writer = await opened(hub, limit=1_000)
    writer.write(b"GET /mesh/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * 2_000)
    await until(lambda: hub._serving is not None)
    await until(lambda: is_idle(hub))
    writer.transport.abort()


async def test_a_poll_whose_client_is_gone_ends_its_session(hub: MountedHub) -> None:
    """At once, and not when a heartbeat was missed."""
    async with aiohttp.ClientSession() as http:
        poller = Poller(http, hub.url)
        await poller.join()
        polling = asyncio.create_task(poller.get())
        (connection,) = hub._engine.connections.values()
        await until(lambda: getattr(connection._polling, "_waiting_poll", None) is not None)
        polling.cancel()
        await until(lambda: connection.closed)


@pytest.mark.parametrize("serve", [SERVERS["uvicorn"]], ids=["uvicorn"])
async def test_a_flood_is_handled_in_slices_and_ends_its_sender(
    hub: MountedHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pings, binary messages, much in one body; the other servers are slower than a flood."""
    monkeypatch.setattr(connections, "_FRAME_CREDIT", 100)  # so that any machine is fast enough
    async with raw_peer(hub) as member, aiohttp.ClientSession() as http:
        for piece in ("2", b"x"):
            async with raw_peer(hub) as raw:
                (_, connection) = hub._engine.connections.values()
                with contextlib.suppress(ConnectionClosed):
                    while not connection.closed:
                        for _ in range(500):
                            await raw.send(piece)
                        await member.fence()
                raw.websocket.transport.abort()  # it reads nothing, and would wait for the goodbye
        poller = Poller(http, hub.url)
        await poller.open()
        await poller.request("POST", SEPARATOR.join(["2"] * 9_000))
        await until(lambda: len(hub._engine.connections) == 1)
        await member.fence()


async def test_binary_messages_are_dropped_and_counted(hub: MountedHub) -> None:
    """As on the hub's own port; and any text is read as its bytes."""
    async with raw_peer(hub) as raw:
        await raw.send(b"\x00\x01")
        await raw.send('42/runtime,7["ROOM_MESSAGE",{"room":"R\u2603","event":"E"}]')
        assert (await raw.answer(7))["room"] == "R\u2603"
    drops = hub._engine.meshes["/runtime"].drops.counts
    assert drops == {("(nameless)", "binary"): 1}
