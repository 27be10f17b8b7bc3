"""A websocket on picows, a C extension ([fast] extra): the same with a third of the CPU."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

# picows' own transports write at once, where uvloop's wait for the end of the turn.
from aiofastnet import create_server
from picows import WSAutoPingStrategy, WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport
from picows.common import WSUpgradeResponse, WSUpgradeResponseWithListener
from picows.picows import WSProtocol  # type: ignore[attr-defined]  # not in its stub

from alephscript.hub.engine import Engine
from alephscript.hub.websocket import Admit, Handover

__all__ = ["create_server", "make_protocol"]

_quiet = logging.getLogger("alephscript.hub.websocket")

_TEXT = WSMsgType.TEXT

_READ_BUFFER = 2048
"""Bytes that each idle client costs; the buffer grows with the messages."""


def make_protocol(server_state: Any, engine: Engine, admit: Admit) -> asyncio.BaseProtocol:
    """The protocol of one websocket."""
    return _HandedOver(server_state.connections, engine, admit)


class _HandedOver(WSProtocol):  # type: ignore[misc]
    """picows' protocol, begun with the bytes that uvicorn has read already."""

    def __init__(self, connections: set[Any], engine: Engine, admit: Admit) -> None:
        super().__init__(
            None,  # host and port
            None,  # path
            False,  # noqa: FBT003 - the server's side
            lambda request: _accept(request, engine, admit),
            _quiet,
            True,  # noqa: FBT003 - disconnect on exception
            5.0,  # seconds for the handshake
            False,  # noqa: FBT003 - Engine.IO has its own pings
            10.0,
            10.0,
            WSAutoPingStrategy.PING_WHEN_IDLE,
            True,  # noqa: FBT003 - answer pings
            engine.max_bytes,
            None,  # extra headers
            _READ_BUFFER,
        )
        self._connections = connections

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.discard(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """What came before the protocols were changed."""
        while data:
            buffer = self.get_buffer(len(data))
            taken = min(len(buffer), len(data))
            buffer[:taken] = data[:taken]
            self.buffer_updated(taken)
            data = data[taken:]

    def shutdown(self) -> None:
        """Uvicorn is stopping."""
        if self.transport is not None:
            self.transport.disconnect()


def _accept(request: Any, engine: Engine, admit: Admit) -> Any:
    handover = Handover(engine, admit)
    headers = request.headers
    refusal = handover.refusal(request.path.decode(), headers.get("Origin"), headers.get("Host"))
    if refusal is not None:
        response = WSUpgradeResponse.create_error_response(400, refusal.encode())
        return WSUpgradeResponseWithListener(response, None)
    return _Listener(handover, engine.max_bytes)


class _Listener(WSListener):  # type: ignore[misc]
    def __init__(self, handover: Handover, max_bytes: int) -> None:
        self._handover = handover
        self._parts: list[bytes] = []
        self._left = self._max_bytes = max_bytes
        self._transport: WSTransport

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._transport = transport
        self._raw: asyncio.Transport = transport.underlying_transport
        self.write = self._raw.write
        self._handover.opened(self)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        kind = frame.msg_type
        if kind is _TEXT and frame.fin:
            self._handover.text(self, frame.get_payload_as_bytes())
        elif kind is _TEXT or (kind is WSMsgType.CONTINUATION and self._parts):
            self._part(frame)
        elif kind is WSMsgType.CLOSE:
            transport.send_close(WSCloseCode.OK)
            transport.disconnect()

    def on_ws_disconnected(self, transport: WSTransport) -> None:  # noqa: ARG002 - picows' signature
        self._handover.closed()

    def backlog(self) -> int:
        return self._raw.get_write_buffer_size()

    def close(self) -> None:
        # Whoever does not read would keep it open for ever.
        if self.backlog():
            self._raw.abort()
        else:
            self._transport.send_close(WSCloseCode.OK)  # its default is no code that may be sent
            self._transport.disconnect()

    def _part(self, frame: WSFrame) -> None:
        self._parts.append(frame.get_payload_as_bytes())
        self._left -= len(self._parts[-1])
        if self._left < 0:
            self._transport.disconnect()
        elif frame.fin:
            message, self._parts, self._left = b"".join(self._parts), [], self._max_bytes
            self._handover.text(self, message)
