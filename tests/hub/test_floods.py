"""Floods below Socket.IO's events: they end their sender, and nothing of them stays."""

from __future__ import annotations

import asyncio
import tracemalloc
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest

from alephscript.hub import Hub, Limits
from alephscript.hub.senders import Senders
from alephscript.hub.sockets.lobby import Lobby
from alephscript.hub.sockets.websocket import websocket_protocol
from alephscript.protocol.websocket import FrameReader, write_masked_text_frame
from tests.hub.test_lobby import GET_WEBSOCKET
from tests.support.peers import SEPARATOR, Poller, raw_peer

pytestmark = pytest.mark.anyio

CONNECT = write_masked_text_frame(b"40/runtime,")


def masked(first: int, payload: bytes = b"") -> bytes:
    """A frame of any kind."""
    return bytes((first,)) + write_masked_text_frame(payload)[1:]


FLOODS = {
    "websocket pings": (b"", masked(0x89, b"p" * 125)),
    "websocket pongs": (b"", masked(0x8A)),
    "empty fragments": (masked(0x01), masked(0x00)),
    "fragments of two bytes": (masked(0x01, b"xy"), masked(0x00, b"xy")),
    "binary fragments": (masked(0x02), masked(0x00)),
    "binary messages": (b"", masked(0x82, b"x")),
    "pings": (b"", write_masked_text_frame(b"2")),
    "pongs": (b"", write_masked_text_frame(b"3")),
    "noops": (b"", write_masked_text_frame(b"6")),
    "answers nobody asked for": (CONNECT, write_masked_text_frame(b"43/runtime,1[]")),
    "answers without a number": (CONNECT, write_masked_text_frame(b"43/runtime,[]")),
    "binary answers": (CONNECT, write_masked_text_frame(b"461-/runtime,1[]")),
    "binary events": (CONNECT, write_masked_text_frame(b'451-/runtime,["E"]')),
    "joining again": (CONNECT, CONNECT),
    "joining nowhere": (b"", write_masked_text_frame(b"40/nowhere,")),
    "joining and leaving": (b"", CONNECT + write_masked_text_frame(b"41/runtime,")),
    "events of nobody": (b"", write_masked_text_frame(b'42/runtime,["E"]')),
}


@pytest.mark.parametrize("reads", [True, False], ids=["read", "unread"])
@pytest.mark.parametrize(("first", "piece"), FLOODS.values(), ids=FLOODS)
async def test_a_flood_ends_its_sender(first: bytes, piece: bytes, *, reads: bool) -> None:
    """A member is served meanwhile."""
    async with Hub(port=0) as hub, raw_peer(hub) as member, asyncio.timeout(20):
        address = urlsplit(hub.url)
        reader, writer = await asyncio.open_connection("127.0.0.1", address.port, limit=1_000)
        writer.write(GET_WEBSOCKET)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(first)
        sent, reading = 0, asyncio.ensure_future(reader.read() if reads else asyncio.sleep(0))
        try:
            while len(hub._engine.connections) == 2:
                writer.write(piece * 500)
                sent += 500
                await writer.drain()
                await member.fence()
        except ConnectionError:
            pass
        assert sent < 50_000
        await member.fence()
        assert len(hub._engine.connections) == 1
        writer.transport.abort()
        await asyncio.gather(reading, return_exceptions=True)


async def test_a_flood_of_polling_pings_ends_its_sender() -> None:
    """In the first body; nothing of it is kept."""
    async with Hub(port=0) as hub, aiohttp.ClientSession() as http:
        poller = Poller(http, hub.url)
        await poller.open()
        await poller.request("POST", SEPARATOR.join(["2a"] * 300_000))
        assert not hub._engine.connections


async def test_answers_that_are_asked_for_cost_nothing() -> None:
    """However many."""
    async with Hub(port=0) as hub, raw_peer(hub) as master, raw_peer(hub) as asker:
        await master.ask("MAKE_MASTER", {"room": "R", "features": ["X"]})
        (connection, _) = hub._engine.connections.values()
        before = connection._frame_credit
        for number in range(10):
            await asker.send(f'42/runtime,{number}["GET_X",{{}},{{"room":"R"}}]')
            asked = (await master.recv()).removeprefix("42/runtime,").partition("[")[0]
            await master.send(f'43/runtime,{asked}[{{"success":true}}]')
            await asker.answer(number)
        assert connection._frame_credit == before


def test_fragments_take_the_memory_of_their_bytes() -> None:
    """However small they are."""
    reader = FrameReader(masked=True, max_bytes=1_000_000)
    reader.read(masked(0x01, b"xy"))
    block = masked(0x00, b"xy") * 1_000
    tracemalloc.start()
    try:
        for _ in range(200):
            reader.read(block)
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size < 1_000_000
    (whole,) = reader.read(masked(0x80, b"z"))
    assert whole == b"xy" * 200_001 + b"z"
    assert reader.extras == 200_002


class Unread(asyncio.Transport):
    """A transport whose peer reads nothing; a look at its size goes through all pieces."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[bytes] = []
        self.looked_at = 0
        self.protocol: Any = None
        self.is_paused = False

    def write(self, data: Any) -> None:
        self.pieces.append(bytes(data))
        if not self.is_paused and sum(map(len, self.pieces)) > self.high:
            self.is_paused = True
            self.protocol.pause_writing()

    def get_write_buffer_size(self) -> int:
        self.looked_at += len(self.pieces)
        return sum(map(len, self.pieces))

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.high = high or 0

    def is_closing(self) -> bool:
        return False


async def test_bytes_that_wait_are_counted_without_going_through_them() -> None:
    """Asyncio's own count is a sum over the pieces since Python 3.12."""
    async with Hub(port=0, limits=Limits(backlog_bytes=4_000_000)) as hub:
        engine, transport = hub._engine, Unread()
        arrival = Lobby(engine).enter()
        make = websocket_protocol(engine, hub._admit, Senders())
        websocket: Any = make(server_state=hub._state, app_state={"arrival": arrival})
        transport.protocol = websocket
        websocket.connection_made(transport)
        for _ in range(100_000):
            websocket.write(b"\x81\x01" + b"3")
            websocket.backlog()
        assert websocket.backlog() == 300_000
        assert transport.looked_at < 5_000
        waiting, transport.pieces, transport.is_paused = transport.pieces, [], False
        websocket.resume_writing()
        assert len(b"".join(waiting + transport.pieces)) + websocket._held_bytes == 300_000
        assert len(transport.pieces) < 100
        websocket.connection_lost(None)
