"""The link over asyncio alone: websocket, taken where picows is not installed.

aiohttp's websocket, which is partly C, takes twice the time to read a message: it queues each one
for a task to fetch.
"""

from __future__ import annotations

import asyncio
import os
from typing import cast
from urllib.parse import urlsplit

from alephscript.links.websocket import MAX_BYTES, WebSocketLink, WebSocketTransport
from alephscript.protocol.websocket import FrameReader, check_handshake, write_handshake

__all__ = ["AsyncioTransport"]

_LONGEST_HEAD = 65_536


class AsyncioTransport(WebSocketTransport):
    """Makes websocket links by asyncio; see `WebSocketTransport`."""

    async def _open(self, link: WebSocketLink, timeout: float) -> None:  # noqa: ARG002 - the caller's
        parts = urlsplit(self._target)
        secure = parts.scheme == "wss"
        host = parts.netloc.rpartition("@")[2].encode("idna").decode()
        handshake = _Handshake(link, host, f"{parts.path}?{parts.query}")
        try:
            await asyncio.get_running_loop().create_connection(
                lambda: handshake,
                parts.hostname or "",
                parts.port or (443 if secure else 80),
                ssl=(self._tls or True) if secure else None,
            )
            await handshake.done
        except BaseException:
            handshake.give_up()
            raise


class _Handshake(asyncio.Protocol):
    """Asks for a websocket, and hands it over when it is granted."""

    def __init__(self, link: WebSocketLink, host: str, target: str) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._link = link
        self._key = os.urandom(16)
        self._request = write_handshake(host, target, self._key)
        self._head = b""
        self._transport: asyncio.Transport | None = None

    def give_up(self) -> None:
        """Nobody waits for it any more."""
        self.done.cancel()
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if self.done.done() or self._transport is None:
            return  # it was refused, or nobody waits
        head, end, rest = (self._head + data).partition(b"\r\n\r\n")
        if not end:
            self._head = head
            if len(head) > _LONGEST_HEAD:
                self.done.set_exception(ConnectionError("the answer to the handshake has no end"))
            return
        try:
            check_handshake(head, self._key)
        except ConnectionError as exc:
            self.done.set_exception(exc)
            return
        self.done.set_result(None)
        reading = _Reading(self._link, self._transport)
        self._transport.set_protocol(reading)
        self._link.opened(self._transport)
        reading.data_received(rest)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(
                exc or ConnectionResetError("the hub hung up during the handshake")
            )


class _Reading(asyncio.Protocol):
    """Has the link take the messages of a websocket."""

    def __init__(self, link: WebSocketLink, transport: asyncio.Transport) -> None:
        self._link = link
        self._take = link.take
        self._transport = transport
        self._reader = FrameReader(masked=False, max_bytes=MAX_BYTES)
        self._read = self._reader.read

    def data_received(self, data: bytes) -> None:
        take = self._take
        for message in self._read(data):
            take(message)
        if self._reader.reply:
            self._answer()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self._link.ended()

    def _answer(self) -> None:
        self._transport.write(self._reader.reply)
        self._reader.reply = b""
        if self._reader.closed:
            self._link.hang_up()
