"""A hub's websocket, as uvicorn's pluggable protocol: bytes to messages, without ASGI in between.

May go in: taking a socket over from uvicorn, the handshake's bytes, reading and writing frames. May
not: who may connect (`hub.sockets.handover`), what a message means (`hub.engine`).

The websockets library checks the handshake, `protocol.websocket` reads frames. Frames that are sent
are made by the connection, which can send one frame to many.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, cast

from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol

from alephscript.hub.admission import Admit
from alephscript.hub.backlogs import FREE
from alephscript.hub.engine import Engine
from alephscript.hub.senders import Senders
from alephscript.hub.sockets.handover import Handover
from alephscript.hub.turns import AT_ONCE, TURN_SECONDS
from alephscript.protocol.packets import Packet
from alephscript.protocol.websocket import FRAMES_A_WRITE, GOODBYE_CODES, write_close_frame
from alephscript.protocol.wire import FrameReader

__all__ = ["websocket_protocol"]

_OK = 1000
_GOODBYES = (b"\x88\0", *map(write_close_frame, GOODBYE_CODES))
"""How frames end that answer the close of a client that leaves of its own accord."""

_HIGH_WATER = 4_096
"""Bytes that a transport may keep in pieces of its own: each write goes through all of them."""

# websockets logs what peers send; a program that wants that lowers this logger's level.
_quiet = logging.getLogger("alephscript.hub.websocket")
_quiet.setLevel(logging.ERROR)


def websocket_protocol(
    engine: Engine, admit: Admit, senders: Senders
) -> Callable[..., asyncio.Protocol]:
    """Make what uvicorn calls for each request to upgrade to a websocket.

    Args:
        engine: The engine that holds the connections.
        admit: The rule about who may connect.
        senders: The rule about whose sessions they may take over.
    """
    return lambda *, server_state, app_state, **_: _WebSocket(
        server_state.connections, engine, Handover(engine, admit, senders, app_state["arrival"])
    )


class _WebSocket(asyncio.Protocol):
    """One websocket, from the request that uvicorn has read to the end of the socket.

    One object reads the handshake and the frames, since uvicorn makes this object the transport's
    protocol after it has fed it the request.

    Args:
        connections: uvicorn's set of what is open.
        engine: The engine that holds the connections.
        handover: The decisions about this websocket.

    Attributes:
        take: See `OpenWebSocket`.
        write: See `WebSocket`.
        backlog: See `WebSocket`.
    """

    def __init__(self, connections: set[Any], engine: Engine, handover: Handover) -> None:
        self.take: Callable[[bytes | Packet], None] = _ignore
        # From `connection_made` on, which is called first, the transport's own method, and nothing
        # waits: two calls less a write. Both change for as long as the peer does not read.
        self.write: Callable[[bytes], None] = _ignore
        self.backlog: Callable[[], int] = int
        self._connections = connections
        self._engine = engine
        self._handover = handover
        self._reader = FrameReader(masked=True, max_bytes=2 * engine.limits.message_bytes)
        # A kept method instead of a condition in each call; what uvicorn has read, the request,
        # comes in one piece.
        self._read: Callable[[bytes], Sequence[bytes | Packet]] = self._shake_hands
        self._open = False
        self._left: Iterator[bytes | Packet] | None = None  # messages of a read that took its turn
        self._is_half = False  # much of a message is there, but not all
        self._has_to_wait = False  # with that, for room
        self._is_goodbye = False
        # Of a peer that does not read: bytes that the transport has, and those that wait for it.
        self._stuck_bytes = 0
        self._held: list[bytes] = []  # pieces that others may wait for, too
        self._held_bytes = 0
        self._transport: asyncio.Transport  # from `connection_made` on, too

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass
        self._transport.set_write_buffer_limits(high=_HIGH_WATER)
        self.write = self._transport.write
        self._connections.add(self)

    def data_received(self, data: bytes) -> None:
        engine = self._engine
        # Until all of this piece is handled, what is to be sent waits: one write each connection.
        engine.is_reading = True
        try:
            messages = self._read(data)
            if len(messages) <= AT_ONCE and not self._is_half:
                for message in messages:
                    self.take(message)
            elif messages:
                self._left = iter(messages)
                if not self._is_half:  # a large one may take long, and waits for its turn
                    self._take_some(time.monotonic() + TURN_SECONDS)
        finally:
            engine.is_reading = False
            engine.flush()
        reader = self._reader
        if self._left is not None:
            self._transport.pause_reading()
            engine.turns.wait(self._go_on)
        elif reader.extras or reader.reply:
            self._attend()
        if reader.wanted or self._is_half:
            self._keep_half()

    def _take_some(self, until: float) -> None:
        """Hand over messages that are left until it is some time, or none is left."""
        assert self._left is not None
        while some := list(islice(self._left, AT_ONCE)):
            for message in some:
                self.take(message)
            if time.monotonic() >= until:
                return
        self._left = None

    def _go_on(self, until: float) -> bool:
        """Take a further turn; what was read with the messages has to wait for the last."""
        engine = self._engine
        engine.is_reading = True
        try:
            self._take_some(until)
        finally:
            engine.is_reading = False
            engine.flush()
        if self._left is not None:
            return False
        self._attend()
        self._read_on()
        return True

    def _keep_half(self) -> None:
        """Note what is there of a message that is not whole, if that is much."""
        size = self._reader.half_bytes()
        if size > FREE:
            self._is_half = True
            self._engine.halves.keep(self, size)
        elif self._is_half:
            self._is_half = False
            self._engine.halves.release(self)

    # Holder

    def pause(self) -> None:
        """Read no more: there is no room for more of a message that has begun."""
        self._has_to_wait = True
        self._transport.pause_reading()

    def resume(self) -> None:
        """Read on: there is room."""
        self._has_to_wait = False
        self._read_on()

    def _read_on(self) -> None:
        if self._left is None and not (self._has_to_wait or self._transport.is_closing()):
            self._transport.resume_reading()

    def end(self) -> None:
        """End the socket, whose message is not whole and takes the room of others."""
        self._engine.refusals["message_bytes"] += 1
        self._transport.abort()

    def _attend(self) -> None:
        """Count and answer the frames of a read that were no whole message."""
        reader = self._reader
        if reader.extras:
            self._handover.spend(reader.extras, reader.binaries)
            reader.extras = reader.binaries = 0
            self._keep_half()
        if reader.reply:
            # What a client closes with is echoed, unless it broke the rules.
            self._is_goodbye = reader.closed and reader.reply.endswith(_GOODBYES)
            self.write(reader.reply)
            reader.reply = b""
            if reader.closed and self._transport.get_write_buffer_size():
                self._transport.abort()  # see `close`
            elif reader.closed:
                self._transport.close()
            elif self.backlog() > self._engine.limits.backlog_bytes:
                self._transport.abort()

    def connection_lost(self, _: Exception | None) -> None:
        self._connections.discard(self)
        self._engine.halves.release(self)
        self._handover.end(is_goodbye=self._is_goodbye)

    # WebSocket

    def pause_writing(self) -> None:
        """Keep what is to be written here: asyncio's size of its own pieces is a sum over them."""
        self._stuck_bytes = self._transport.get_write_buffer_size()
        self.write, self.backlog = self._hold, self._count_backlog

    def resume_writing(self) -> None:
        """Write what was kept, until it is too much again."""
        held, self._held, self._held_bytes, self._stuck_bytes = self._held, [], 0, 0
        self.write, self.backlog = self._transport.write, int
        for start in range(0, len(held), FRAMES_A_WRITE):
            self.write(b"".join(held[start : start + FRAMES_A_WRITE]))

    def _hold(self, data: bytes) -> None:
        self._held.append(data)
        self._held_bytes += len(data)

    def _count_backlog(self) -> int:
        return self._stuck_bytes + self._held_bytes

    def close(self, reason: str = "") -> None:
        if self._held or self._transport.get_write_buffer_size():
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
            self._read = self._reader.read_packets
            self._handover.begin(self)
        else:
            self._transport.close()
        return []


def _ignore(data: object) -> None:
    """Do nothing: before a connection is made there is nothing to take and nowhere to write."""
