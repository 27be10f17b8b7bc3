"""A websocket on the sans-I/O core of the websockets library, without ASGI in between."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, cast

from websockets.exceptions import InvalidState
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol

from alephscript.hub.admission import Admit
from alephscript.hub.engine import Engine
from alephscript.hub.websocket import Handover

__all__ = ["make_protocol"]

_quiet = logging.getLogger("alephscript.hub.websocket")


def make_protocol(server_state: Any, engine: Engine, admit: Admit) -> asyncio.Protocol:
    """The protocol of one websocket."""
    return _WebSocket(server_state.connections, engine, admit)


class _WebSocket(asyncio.Protocol):
    def __init__(self, connections: set[Any], engine: Engine, admit: Admit) -> None:
        self._connections = connections
        self._handover = Handover(engine, admit)
        self.take: Callable[[bytes], None]
        self._conn = ServerProtocol(max_size=2 * engine.limits.message_bytes, logger=_quiet)
        self._parts: list[bytes] = []
        self._open = False
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass
        self._connections.add(self)

    def data_received(self, data: bytes) -> None:
        self._conn.receive_data(data)
        for event in self._conn.events_received():
            if isinstance(event, Request):
                self._shake_hands(event)
            else:
                self._frame(event)
        self._send()

    def eof_received(self) -> None:
        self._conn.receive_eof()

    def connection_lost(self, _: Exception | None) -> None:
        self._connections.discard(self)
        if self._open:
            self._handover.closed()

    # WebSocket

    def write(self, data: bytes) -> None:
        if self._conn.state is State.OPEN and not self._transport.is_closing():
            self._transport.write(data)

    def backlog(self) -> int:
        return self._transport.get_write_buffer_size()

    def close(self, reason: str = "") -> None:
        try:
            self._conn.send_close(1000, reason)
            self._send()
        except InvalidState:
            pass
        if self.backlog():
            self._transport.abort()  # whoever does not read would keep it open for ever
        else:
            self._transport.close()

    def shutdown(self) -> None:
        """Uvicorn is stopping."""
        self.close()

    def _shake_hands(self, request: Request) -> None:
        headers = {name.lower(): value for name, value in request.headers.raw_items()}
        peer = self._transport.get_extra_info("peername")
        refusal = self._handover.refusal(request.path, headers, peer[0] if peer else "")
        if refusal is not None:
            status, reason = refusal
            self._conn.send_response(self._conn.reject(status, reason))
            return
        self._conn.send_response(self._conn.accept(request))
        self._open = self._conn.state is State.OPEN
        self._send()
        if self._open:
            self._handover.opened(self)

    def _frame(self, frame: Any) -> None:
        if not isinstance(frame, Frame):
            return
        if frame.opcode is Opcode.TEXT or (frame.opcode is Opcode.CONT and self._parts):
            self._parts.append(bytes(frame.data))
            if frame.fin:
                message, self._parts = b"".join(self._parts), []
                self.take(message)
        # Binary messages are attachments of what was refused; control frames are the library's.

    def _send(self) -> None:
        for data in self._conn.data_to_send():
            if data:
                self._transport.write(data)
            elif not self._transport.is_closing():
                self._transport.close()
