"""Every link to a hub carries, ends and is refused alike, whatever it is made of."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

from alephscript import (
    AlephScriptClient,
    ConnectionRefused,
    ContractError,
    InvalidPayload,
    NotConnected,
    PayloadTooLarge,
    State,
)
from alephscript.hub import Hub, Limits
from alephscript.links._socketio import SocketIOTransport
from alephscript.links.transport import Transport
from alephscript.links.websocket import WebSocketLink, WebSocketTransport
from alephscript.protocol.json import parse_json

pytestmark = pytest.mark.anyio

Make = Callable[[str], Transport]
MAKERS: dict[str, Make] = {
    "websocket": WebSocketTransport,
    "python-socketio": SocketIOTransport,
    "polling": functools.partial(SocketIOTransport, transports=("polling",)),
    "upgrade": functools.partial(SocketIOTransport, transports=("polling", "websocket")),
}


OURS = ("websocket",)
"""Those with our own handshake, frames, packets and heartbeat."""


@pytest.fixture(params=MAKERS)
def make(request: pytest.FixtureRequest) -> Make:
    """Makes transports of one kind."""
    return MAKERS[request.param]


class Noting:
    """A receiver that notes what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.answered = asyncio.Event()
        self.gone = asyncio.Event()

    def received(self, payload: bytes, ack: int | None) -> None:
        """Note."""
        event, *args = parse_json(payload)
        self.told.append((event, args, ack))

    def acknowledged(self, number: int, payload: bytes) -> None:
        """Note."""
        self.told.append((number, parse_json(payload)))
        self.answered.set()

    def lost(self, reason: str) -> None:
        """Note."""
        self.told.append(("lost", reason))
        self.gone.set()


async def test_a_link_brings_what_it_is_sent_and_says_once_that_it_ended(
    make: Make,
) -> None:
    """Events, acknowledgements, and the hub's end."""
    receiver = Noting()
    async with Hub(port=0) as hub, asyncio.timeout(20):
        transport = make(hub.url)
        link = await transport.connect(receiver, namespace="/", auth=None, timeout=5)
        link.send(b'["CLIENT_SUSCRIBE",{"room":"R"}]', 7)
        await receiver.answered.wait()
        await hub.close()
        await receiver.gone.wait()
    with pytest.raises(NotConnected):
        link.send(b'["LATE"]')
    link.acknowledge(1, b'[{"success":true}]')
    await link.close()
    await link.close()
    assert receiver.told[:3] == [
        ("SUSCRIBE_OK", [{"room": "R"}], None),
        ("room_joined", [{"room": "R"}], None),
        (7, [{"success": True, "room": "R"}]),
    ]
    assert [each[0] for each in receiver.told].count("lost") == 1


async def test_a_client_runs_on_any_transport_that_it_is_given(make: Make) -> None:
    """Which one it takes by itself depends on what is installed."""
    async with Hub(port=0) as hub:
        transport = make(hub.url)
        async with AlephScriptClient(transport) as client:
            assert client.state is State.READY
            await client.subscribe("R")
            stream = client.events("R")
            await client.broadcast("E", {"n": 1})
            async with asyncio.timeout(5):
                assert (await anext(stream)).data == {"n": 1}


async def test_refusal_silence_and_absence_are_told_apart(make: Make) -> None:
    """Only a hub that says no is not worth asking again."""
    async with Hub(port=0) as hub:
        with pytest.raises(ConnectionRefused, match="Invalid namespace") as refused:
            await make(hub.url).connect(Noting(), namespace="/nowhere", auth=None, timeout=5)
        assert refused.value.fatal
    with pytest.raises(ConnectionRefused) as absent:
        await make(hub_of_nobody()).connect(Noting(), namespace="/", auth=None, timeout=5)
    assert not absent.value.fatal
    left = asyncio.Event()

    async def be_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()  # everything, until the peer gives up
        writer.close()
        await writer.wait_closed()
        left.set()

    server = await asyncio.start_server(be_silent, "127.0.0.1", 0)
    async with server, asyncio.timeout(10):
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(ConnectionRefused, match="silent") as silent:
            await make(f"http://127.0.0.1:{port}").connect(
                Noting(), namespace="/", auth=None, timeout=0.2
            )
        await left.wait()
    assert not silent.value.fatal


def hub_of_nobody() -> str:
    """An address where nobody listens."""
    return "http://127.0.0.1:9"


async def test_what_has_no_wire_form_is_refused_before_it_is_sent(make: Make) -> None:
    """And the link goes on."""
    async with Hub(port=0) as hub, AlephScriptClient(make(hub.url)) as client:
        for hopeless in (float("nan"), b"bytes", "\ud800", {1, 2}):
            with pytest.raises((ContractError, InvalidPayload)):
                await client.broadcast("X", hopeless, room="R")
        assert (await client.server_state())["clients"] == 1


@pytest.mark.parametrize("make", OURS, indirect=True)
async def test_what_is_larger_than_the_hub_takes_is_refused_before_it_is_sent(make: Make) -> None:
    """The hub would end the link; python-socketio does not say how much it takes."""
    async with (
        Hub(port=0, limits=Limits(message_bytes=10_000)) as hub,
        AlephScriptClient(make(hub.url)) as client,
    ):
        with pytest.raises(PayloadTooLarge, match="10000"):
            await client.broadcast("X", "x" * 10_000, room="R")
        assert (await client.server_state())["clients"] == 1


async def test_large_messages_cross_both_ways(make: Make) -> None:
    """Up to the hub's megabyte, in one piece."""
    text = "ñ" * 400_000
    async with Hub(port=0) as hub, AlephScriptClient(make(hub.url)) as client:
        await client.subscribe("R")
        stream = client.events("R")
        await client.broadcast("E", text)
        async with asyncio.timeout(10):
            assert (await anext(stream)).data == text


@pytest.mark.slow
async def test_a_link_that_is_too_quiet_is_given_up(make: Make) -> None:
    """A hub whose pings stop coming is gone, though its socket is open."""
    async with Hub(port=0, ping_interval=0.2, ping_timeout=0.2) as hub:
        receiver = Noting()
        link = await make(hub.url).connect(receiver, namespace="/", auth=None, timeout=5)
        if hub._engine._heart is not None:
            hub._engine._heart.cancel()  # the hub falls silent
        async with asyncio.timeout(15):
            await receiver.gone.wait()
        await link.close()


# Hubs that misbehave, to the links that read frames themselves

GREETING = (
    '0{"sid":"x","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}'
)


@asynccontextmanager
async def scripted(serve_one: Callable[[ServerConnection], Awaitable[Any]]) -> AsyncIterator[str]:
    """A hub that lets everybody in and then does as it is told; its address."""

    async def greet(websocket: ServerConnection) -> None:
        await websocket.send(GREETING)
        assert await websocket.recv() == "40"
        await websocket.send('40{"sid":"y"}')
        await serve_one(websocket)

    async with serve(greet, "127.0.0.1", 0) as server, asyncio.timeout(10):
        yield f"http://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"


@asynccontextmanager
async def answering(*pieces: bytes) -> AsyncIterator[str]:
    """What answers each handshake with some bytes and hangs up; its address."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for piece in pieces:
            writer.write(piece)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server, asyncio.timeout(10):
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.mark.parametrize("make", OURS, indirect=True)
@pytest.mark.parametrize("stage", ["handshake", "namespace"])
async def test_an_opening_that_is_given_up_keeps_no_socket(make: Make, stage: str) -> None:
    """Cancelled before the websocket is granted, or before the hub has let the link in."""
    asked, left = asyncio.Event(), asyncio.Event()

    async def be_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()
        left.set()

    async def grant(websocket: ServerConnection) -> None:
        await websocket.send(GREETING)
        assert await websocket.recv() == "40"
        asked.set()
        await websocket.wait_closed()
        left.set()

    async with asyncio.timeout(10):
        server = (
            await asyncio.start_server(be_silent, "127.0.0.1", 0)
            if stage == "handshake"
            else await serve(grant, "127.0.0.1", 0)
        )
        async with server:
            url = f"http://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"
            opening = asyncio.ensure_future(
                make(url).connect(Noting(), namespace="/", auth=None, timeout=60)
            )
            await asked.wait()
            opening.cancel()
            await left.wait()
            await asyncio.wait({opening})
    assert opening.cancelled()


@pytest.mark.parametrize("make", OURS, indirect=True)
@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 101 Switching",
        b"HTTP/1.1 403 Forbidden\r\n\r\nno",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"x" * 100_000,
    ],
    ids=["nothing", "half an answer", "a refusal", "no key", "no HTTP", "no end"],
)
async def test_a_handshake_that_fails_is_refused_at_once_and_worth_another_try(
    make: Make, answer: bytes
) -> None:
    """Who answered may be a proxy of a hub that is just starting."""
    async with answering(answer) as url:
        with pytest.raises(ConnectionRefused) as refused:
            await make(url).connect(Noting(), namespace="/", auth=None, timeout=60)
    assert not refused.value.fatal


async def test_a_redirect_is_not_followed(make: Make) -> None:
    """Credentials are the named hub's: no other host is sent them, or anything else."""
    visitors = []

    async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        visitors.append(await reader.readline())
        writer.close()
        await writer.wait_closed()

    elsewhere = await asyncio.start_server(note, "127.0.0.1", 0)
    port = elsewhere.sockets[0].getsockname()[1]
    for status in (301, 302, 303, 307, 308):
        head = f"HTTP/1.1 {status} Elsewhere\r\nLocation: http://127.0.0.1:{port}/socket.io/"
        async with elsewhere, answering(f"{head}\r\nContent-Length: 0\r\n\r\n".encode()) as url:
            with pytest.raises(ConnectionRefused) as refused:
                await make(url).connect(
                    Noting(), namespace="/", auth={"token": "secret"}, timeout=5
                )
        assert not refused.value.fatal
    assert visitors == []


@pytest.mark.parametrize("make", OURS, indirect=True)
@pytest.mark.parametrize("url", ["http://", "http://127.0.0.1:x", "http://127.0.0.1:99999"])
def test_an_address_that_is_none_is_refused(make: Make, url: str) -> None:
    """As what it is, not as a bug, and before anybody connects."""
    with pytest.raises(ContractError, match="host or port"):
        make(url)


@pytest.mark.parametrize("make", OURS, indirect=True)
async def test_fragments_are_one_message_and_pings_are_answered(make: Make) -> None:
    """What the hub's library, or a proxy's, may do with frames."""

    async def cut_up(websocket: ServerConnection) -> None:
        await websocket.send(['42["E",', '"x', '"]'])
        await websocket.send(b"nobody speaks binary")
        await (await websocket.ping(b"there?"))
        await websocket.send("2")
        assert await websocket.recv() == "3"
        await websocket.send('42["AFTER"]')
        assert [await websocket.recv(), await websocket.recv()] == ["41", "1"]
        await websocket.wait_closed()

    receiver = Noting()
    async with scripted(cut_up) as url:
        link = await make(url).connect(receiver, namespace="/", auth=None, timeout=5)
        while ("AFTER", [], None) not in receiver.told:  # noqa: ASYNC110 - a receiver has no event
            await asyncio.sleep(0)
        await link.close()
    assert receiver.told == [("E", ["x"], None), ("AFTER", [], None), ("lost", "closed")]


@pytest.mark.parametrize("make", OURS, indirect=True)
@pytest.mark.parametrize("garbage", ["4x", "49[]", '44{"message"', "0{}"])
async def test_what_is_no_packet_ends_the_link(
    make: Make, garbage: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Told once as lost, and logged, without what was sent."""

    async def babble(websocket: ServerConnection) -> None:
        await websocket.send(garbage)
        await websocket.wait_closed()

    receiver = Noting()
    async with scripted(babble) as url:
        link = await make(url).connect(receiver, namespace="/", auth=None, timeout=5)
        with caplog.at_level(logging.WARNING, "alephscript.client"):
            await receiver.gone.wait()
        await link.close()
    assert receiver.told == [("lost", "the connection to the hub ended")]
    (said,) = [each.getMessage() for each in caplog.records if "no packet" in each.getMessage()]
    assert garbage not in said


_MEGABYTE = b"\x7f" + (1_000_000).to_bytes(8) + bytes(1_000_000)
NO_FRAMES = {
    "no frame": b"\xff\x00",
    "compressed": b"\xc1\x01x",
    "too large": b"\x81\x7f" + (1 << 40).to_bytes(8),
    "too large in fragments": b"\x01" + _MEGABYTE + (b"\x00" + _MEGABYTE) * 16,
}


@pytest.mark.parametrize("make", OURS, indirect=True)
@pytest.mark.parametrize("how", ["1", "41", "close", *NO_FRAMES])
async def test_a_hub_that_ends_it_is_believed(make: Make, how: str) -> None:
    """By Engine.IO's word or Socket.IO's, by a close, by what is no frame."""

    async def end(websocket: ServerConnection) -> None:
        if how == "close":
            await websocket.close()
        elif how in NO_FRAMES:
            websocket.transport.write(NO_FRAMES[how])
        else:
            await websocket.send(how)
        await websocket.wait_closed()

    receiver = Noting()
    async with scripted(end) as url:
        link = await make(url).connect(receiver, namespace="/", auth=None, timeout=5)
        await receiver.gone.wait()
        await link.close()
    assert receiver.told == [("lost", "the connection to the hub ended")]


@pytest.mark.slow
@pytest.mark.parametrize("make", OURS, indirect=True)
async def test_closing_waits_two_seconds_for_a_hub_that_does_not_read(make: Make) -> None:
    """What is not taken by then is lost, and so is the link."""
    stalled, left = asyncio.Event(), asyncio.Event()

    async def stall(websocket: ServerConnection) -> None:
        websocket.transport.pause_reading()
        stalled.set()
        await left.wait()
        websocket.transport.abort()

    receiver = Noting()
    async with scripted(stall) as url:
        link = await make(url).connect(receiver, namespace="/", auth=None, timeout=5)
        await stalled.wait()
        for _ in range(20):
            link.send(b'["MUCH","%s"]' % (b"x" * 900_000))
        async with asyncio.timeout(4):
            await link.close()
            await receiver.gone.wait()
        left.set()
    assert receiver.told == [("lost", "closed")]


async def test_who_hurries_has_all_that_waits_written_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Else it is written at the end of the turn; either way in one write."""
    async with Hub(port=0) as hub:
        receiver = Noting()
        transport = WebSocketTransport(hub.url)
        link = await transport.connect(receiver, namespace="/runtime", auth=None, timeout=5)
        assert isinstance(link, WebSocketLink)
        written: list[Any] = []
        monkeypatch.setattr(link, "_write", written.append)
        link.send(b'["A"]')
        assert written == []
        await asyncio.sleep(0)
        assert len(written) == 1
        link.send(b'["B"]')
        link.hurry()
        link.send(b'["C"]')
        assert len(written) == 2
        link.send(b'["D"]')
        await asyncio.sleep(0)
        assert len(written) == 3
        link.abort()
        await receiver.gone.wait()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("transports", "expected"),
    [
        (("websocket",), "alephscript.links.websocket"),
        (("polling",), "alephscript.links._socketio"),
        (("polling", "websocket"), "alephscript.links._socketio"),
    ],
)
def test_a_link_is_made_of_the_fastest_that_there_is(
    transports: tuple[str, ...], expected: str
) -> None:
    """And nothing else is imported for it: aiohttp takes longer than the SDK."""
    program = (
        "import sys\n"
        "from alephscript.links import transport_to\n"
        f"made = transport_to('http://hub', {transports})\n"
        "print(type(made).__module__, 'aiohttp' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stdout.split() == [expected, str(expected == "alephscript.links._socketio")]
