"""A hub's websocket, as uvicorn's pluggable protocol: bytes to messages, without ASGI in between.

May go in: taking a socket over from uvicorn, the handshake's bytes, reading and writing frames. May
not: who may connect (`hub.sockets.handover`), what a message means (`hub.engine`).

The websockets library checks the handshake, `protocol.websocket` reads frames. Frames that are sent
are made by the connection, which can send one frame to many.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, cast

from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol

from alephscript.hub.admission import Admit
from alephscript.hub.engine import Engine
from alephscript.hub.sockets.handover import Handover
from alephscript.protocol.websocket import FrameReader, write_close_frame

__all__ = ["websocket_protocol"]

_OK = 1000

# websockets logs what peers send; a program that wants that lowers this logger's level.
_quiet = logging.getLogger("alephscript.hub.websocket")
_quiet.setLevel(logging.ERROR)


def websocket_protocol(engine: Engine, admit: Admit) -> Callable[..., asyncio.Protocol]:
    """Make what uvicorn calls for each request to upgrade to a websocket.

    Args:
        engine: The engine that holds the connections.
        admit: The rule about who may connect.
    """
    return lambda *, server_state, **_: _WebSocket(server_state.connections, engine, admit)


class _WebSocket(asyncio.Protocol):
    """One websocket, from the request that uvicorn has read to the end of the socket.

    One object reads the handshake and the frames, since uvicorn makes this object the transport's
    protocol after it has fed it the request.

    Args:
        connections: uvicorn's set of what is open.
        engine: The engine that holds the connections.
        admit: The rule about who may connect.

    Attributes:
        take: See `OpenWebSocket`.
        write: See `WebSocket`.
        backlog: See `WebSocket`.
    """

    def __init__(self, connections: set[Any], engine: Engine, admit: Admit) -> None:
        self.take: Callable[[bytes], None] = _ignore
        # From `connection_made` on, which is called first, the transport's own methods: two calls
        # less a write.
        self.write: Callable[[bytes], None] = _ignore
        self.backlog: Callable[[], int] = int
        self._connections = connections
        self._engine = engine
        self._handover = Handover(engine, admit)
        self._reader = FrameReader(masked=True, max_bytes=2 * engine.limits.message_bytes)
        # A kept method instead of a condition in each call; what uvicorn has read, the request,
        # comes in one piece.
        self._read: Callable[[bytes], list[bytes]] = self._shake_hands
        self._open = False
        self._transport: asyncio.Transport  # from `connection_made` on, too

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass
        self.write = self._transport.write
        self.backlog = self._transport.get_write_buffer_size
        self._connections.add(self)

    def data_received(self, data: bytes) -> None:
        engine = self._engine
        # Until all of this piece is handled, what is to be sent waits: one write each connection.
        engine.is_reading = True
        try:
            for message in self._read(data):
                self.take(message)
        finally:
            engine.is_reading = False
            engine.flush()
        if self._reader.reply:
            self.write(self._reader.reply)
            self._reader.reply = b""
            if self._reader.closed:
                self._transport.close()

    def connection_lost(self, _: Exception | None) -> None:
        self._connections.discard(self)
        if self._open:
            self._handover.end()

    # WebSocket

    def close(self, reason: str = "") -> None:
        if self.backlog():
            self._transport.abort()  # a peer that does not read would keep the socket for ever
        elif not self._transport.is_closing():
            self.write(write_close_frame(_OK, reason))
            self._transport.close()

    # uvicorn

    def shutdown(self) -> None:
        """Close, since the hub is stopping."""
        self.close()

    def _shake_hands(self, data: bytes) -> list[bytes]:
        """Answer the request for a websocket; there are no messages yet."""
        protocol = ServerProtocol(logger=_quiet)
        protocol.receive_data(data)
        request = next(iter(protocol.events_received()), None)
        if isinstance(request, Request):
            headers = {name.lower(): value for name, value in request.headers.raw_items()}
            peer = self._transport.get_extra_info("peername")
            refusal = self._handover.check(request.path, headers, peer[0] if peer else "")
            protocol.send_response(
                protocol.accept(request) if refusal is None else protocol.reject(*refusal)
            )
        self._open = protocol.state is State.OPEN
        for piece in protocol.data_to_send():
            self.write(piece)
        if self._open:
            self._read = self._reader.read
            self._handover.begin(self)
        else:
            self._transport.close()
        return []


def _ignore(data: bytes) -> None:
    """Do nothing: before a connection is made there is nothing to take and nowhere to write."""
