"""A websocket on picows, a C extension ([fast] extra): the same with a third of the CPU."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import aiofastnet
from picows import WSAutoPingStrategy, WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport
from picows.common import WSUpgradeResponse, WSUpgradeResponseWithListener
from picows.picows import WSProtocol  # type: ignore[attr-defined]  # not in its stub

from alephscript.hub.admission import Admit
from alephscript.hub.engine import Engine
from alephscript.hub.sockets.handover import Handover

__all__ = ["create_server", "make_protocol"]

_quiet = logging.getLogger("alephscript.hub.websocket")

_TEXT = WSMsgType.TEXT

_READ_BUFFER = 2048
"""Bytes that each idle client costs; the buffer grows with the messages."""


async def create_server(
    loop: asyncio.AbstractEventLoop, *args: Any, ssl: Any = None, **options: Any
) -> asyncio.Server:
    """As the loop's own."""
    if ssl is None:
        # Its transports write at once, where uvloop's wait for the end of the turn.
        server: asyncio.Server = await aiofastnet.create_server(loop, *args, **options)
        return server
    # aiofastnet 1.2 reports each handshake that fails as an error of the loop.
    return await loop.create_server(*args, ssl=ssl, **options)


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
            lambda request: _accept(request, engine, admit, self._address),
            _quiet,
            True,  # noqa: FBT003 - disconnect on exception
            5.0,  # seconds for the handshake
            False,  # noqa: FBT003 - Engine.IO has its own pings
            10.0,
            10.0,
            WSAutoPingStrategy.PING_WHEN_IDLE,
            True,  # noqa: FBT003 - answer pings
            2 * engine.limits.message_bytes,
            None,  # extra headers
            _READ_BUFFER,
        )
        self._connections = connections
        self._engine = engine

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        peer = transport.get_extra_info("peername")
        self._address = peer[0] if peer else ""
        super().connection_made(transport)
        self._connections.add(self)

    def buffer_updated(self, size: int) -> None:
        """Something was read; all of it is done when this returns."""
        engine = self._engine
        engine.is_reading = True
        try:
            super().buffer_updated(size)
        finally:
            engine.is_reading = False
            engine.flush()

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


def _accept(request: Any, engine: Engine, admit: Admit, address: str) -> Any:
    handover = Handover(engine, admit)
    headers = {name.lower(): value for name, value in request.headers.items()}
    refusal = handover.refusal(request.path.decode(), headers, address)
    if refusal is not None:
        status, reason = refusal
        response = WSUpgradeResponse.create_error_response(status, reason.encode())
        return WSUpgradeResponseWithListener(response, None)
    return _Listener(handover, 2 * engine.limits.message_bytes)


class _Listener(WSListener):  # type: ignore[misc]
    def __init__(self, handover: Handover, max_bytes: int) -> None:
        self._handover = handover
        self._parts: list[bytes] = []
        self._left = self._max_bytes = max_bytes
        self._transport: WSTransport
        self.take: Callable[[bytes], None]

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._transport = transport
        self._raw: asyncio.Transport = transport.underlying_transport
        self.write = self._raw.write
        self._handover.opened(self)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        kind = frame.msg_type
        if kind is _TEXT and frame.fin:
            self.take(frame.get_payload_as_bytes())
        elif kind is _TEXT or (kind is WSMsgType.CONTINUATION and self._parts):
            self._part(frame)
        elif kind is WSMsgType.CLOSE:
            transport.send_close(WSCloseCode.OK)
            transport.disconnect()

    def on_ws_disconnected(self, transport: WSTransport) -> None:  # noqa: ARG002 - picows' signature
        self._handover.closed()

    def backlog(self) -> int:
        return self._raw.get_write_buffer_size()

    def close(self, reason: str = "") -> None:
        # Whoever does not read would keep it open for ever.
        if self.backlog():
            self._raw.abort()
        else:
            self._transport.send_close(WSCloseCode.OK, reason.encode())
            self._transport.disconnect()

    def _part(self, frame: WSFrame) -> None:
        self._parts.append(frame.get_payload_as_bytes())
        self._left -= len(self._parts[-1])
        if self._left < 0:
            self._transport.disconnect()
        elif frame.fin:
            message, self._parts, self._left = b"".join(self._parts), [], self._max_bytes
            self.take(message)
