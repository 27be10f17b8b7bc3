"""Every link to a hub carries, ends and is refused alike, whatever it is made of."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from typing import Any

import pytest

from alephscript import (
    AlephScriptClient,
    ConnectionRefused,
    ContractError,
    InvalidPayload,
    NotConnected,
    PayloadTooLarge,
    State,
    wire,
)
from alephscript._picows import PicowsTransport
from alephscript._socketio import SocketIOTransport
from alephscript.hub import Hub
from alephscript.limits import Limits
from alephscript.transport import Transport

pytestmark = pytest.mark.anyio

Make = Callable[[str], Transport]
MAKERS: dict[str, Make] = {
    "picows": PicowsTransport,
    "websocket": SocketIOTransport,
    "polling": functools.partial(SocketIOTransport, transports=("polling",)),
    "upgrade": functools.partial(SocketIOTransport, transports=("polling", "websocket")),
}


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
        event, *args = wire.loads(payload)
        self.told.append((event, args, ack))

    def acknowledged(self, number: int, payload: bytes) -> None:
        """Note."""
        self.told.append((number, wire.loads(payload)))
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
    """Without the [fast] extra, it is python-socketio."""
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


async def test_what_is_larger_than_the_hub_takes_is_refused_before_it_is_sent() -> None:
    """The hub would end the link; python-socketio does not say how much it takes."""
    async with (
        Hub(port=0, limits=Limits(message_bytes=10_000)) as hub,
        AlephScriptClient(hub.url) as client,
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
