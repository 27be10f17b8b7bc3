"""Members on bare sockets: a thousand cost their process little, so that a hub meets many.

Each registers, joins rooms, answers heartbeats; nothing else of the protocol is here.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from typing import Any

from alephscript.protocol.websocket import (
    FrameReader,
    write_handshake,
    write_masked_text_frame,
)

__all__ = ["Member", "arrive"]

_KEY = bytes(16)
_TARGET = "/socket.io/?EIO=4&transport=websocket"
_NAMESPACE = b"/runtime,"
_MOST_BYTES = 1_000_000
_GOODBYE = b"\x88\x82" + bytes(4) + (1001).to_bytes(2)
"""A frame that closes, masked with zeros."""

_numbers = itertools.count(1)


class Member(asyncio.Protocol):
    """One connection.

    Attributes:
        lost: Set when it has ended.
    """

    def __init__(self, address: str) -> None:
        self.lost = asyncio.Event()
        self._address = address
        self._head = bytearray()
        self._reader: FrameReader | None = None
        self._acks = itertools.count(1)
        self._answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    async def call(self, event: str, data: dict[str, Any]) -> None:
        """Send an event and wait until the hub has said yes.

        Raises:
            ConnectionError: The connection ended, or the hub said no.
        """
        self._answer = asyncio.get_running_loop().create_future()
        head = f"42/runtime,{next(self._acks)}"
        self._send(f"{head}{json.dumps([event, data])}".encode())
        (said,) = await self._answer
        if not said["success"]:
            raise ConnectionError(said)

    async def entered(self) -> None:
        """Wait until the hub has let it into the namespace.

        Raises:
            ConnectionError: The connection ended.
        """
        await self._answer

    async def leave(self) -> None:
        """Say goodbye, and wait for the hub to end the connection."""
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(_GOODBYE)
        await asyncio.wait({self._answer})

    def abort(self) -> None:
        """End the connection without a word."""
        self._transport.abort()

    # asyncio's

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for a websocket."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(write_handshake(self._address, _TARGET, _KEY))

    def data_received(self, data: bytes) -> None:
        """Take what the hub says."""
        if self._reader is None:
            self._head += data
            head, end, data = bytes(self._head).partition(b"\r\n\r\n")
            if not end:
                return
            if not head.startswith(b"HTTP/1.1 101 "):
                self._transport.abort()
                return
            self._head.clear()
            self._reader = FrameReader(masked=False, max_bytes=_MOST_BYTES)
        for message in self._reader.read(data):
            self._take(message)
        if self._reader.closed:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail what waits."""
        self.lost.set()
        if not self._answer.done():
            self._answer.set_exception(ConnectionError("the hub ended the connection"))
            self._answer.exception()  # nobody may wait for it any more

    # Inside

    def _take(self, message: bytes) -> None:
        if message.startswith(b"2"):
            self._send(b"3")
        elif message.startswith(b"0"):
            self._send(b"40" + _NAMESPACE)
        elif message.startswith((b"40", b"43")) and not self._answer.done():
            start = message.find(b"[")
            self._answer.set_result(json.loads(message[start:]) if start >= 0 else None)

    def _send(self, packet: bytes) -> None:
        self._transport.write(write_masked_text_frame(packet))


async def arrive(host: str, port: int, *rooms: str) -> Member:
    """Open a member that is registered, and in rooms.

    Args:
        host: The hub's host.
        port: Its port.
        rooms: The rooms.

    Raises:
        OSError: The hub is not there, or ended the connection.
    """
    loop = asyncio.get_running_loop()
    _, member = await loop.create_connection(lambda: Member(f"{host}:{port}"), host, port)
    await member.entered()
    await member.call("CLIENT_REGISTER", {"usuario": f"bystander-{next(_numbers)}"})
    for room in rooms:
        await member.call("CLIENT_SUSCRIBE", {"room": room})
    return member
