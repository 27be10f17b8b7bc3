"""A websocket without C: the websockets library shakes hands, `protocol.websocket` reads.

No ASGI in between. Frames out are the session's.
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

__all__ = ["make_protocol"]

_OK = 1000

_quiet = logging.getLogger("alephscript.hub.websocket")


def make_protocol(server_state: Any, engine: Engine, admit: Admit) -> asyncio.Protocol:
    """The protocol of one websocket."""
    return _WebSocket(server_state.connections, engine, admit)


class _WebSocket(asyncio.Protocol):
    def __init__(self, connections: set[Any], engine: Engine, admit: Admit) -> None:
        self._connections = connections
        self._engine = engine
        self._handover = Handover(engine, admit)
        self.take: Callable[[bytes], None]
        self._reader = FrameReader(masked=True, max_bytes=2 * engine.limits.message_bytes)
        # What uvicorn has read comes in one piece: the request.
        self._read: Callable[[bytes], list[bytes]] = self._shake_hands
        self._open = False
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass
        self._connections.add(self)

    def data_received(self, data: bytes) -> None:
        engine = self._engine
        engine.is_reading = True
        try:
            for message in self._read(data):
                self.take(message)
        finally:
            engine.is_reading = False
            engine.flush()
        if self._reader.reply:
            self._answer()

    def connection_lost(self, _: Exception | None) -> None:
        self._connections.discard(self)
        if self._open:
            self._handover.closed()

    # WebSocket

    def write(self, data: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(data)

    def backlog(self) -> int:
        return self._transport.get_write_buffer_size()

    def close(self, reason: str = "") -> None:
        if self.backlog():
            self._transport.abort()  # whoever does not read would keep it open for ever
        else:
            self.write(write_close_frame(_OK, reason))
            self._transport.close()

    def shutdown(self) -> None:
        """Uvicorn is stopping."""
        self.close()

    def _shake_hands(self, data: bytes) -> list[bytes]:
        protocol = ServerProtocol(logger=_quiet)
        protocol.receive_data(data)
        request = next(iter(protocol.events_received()), None)
        if isinstance(request, Request):
            headers = {name.lower(): value for name, value in request.headers.raw_items()}
            peer = self._transport.get_extra_info("peername")
            refusal = self._handover.refusal(request.path, headers, peer[0] if peer else "")
            protocol.send_response(
                protocol.accept(request) if refusal is None else protocol.reject(*refusal)
            )
        self._open = protocol.state is State.OPEN
        for piece in protocol.data_to_send():
            self.write(piece)
        if self._open:
            self._read = self._reader.read
            self._handover.opened(self)
        else:
            self._transport.close()
        return []

    def _answer(self) -> None:
        self.write(self._reader.reply)
        self._reader.reply = b""
        if self._reader.closed:
            self._transport.close()
