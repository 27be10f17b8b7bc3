"""Sockets that belong to an ASGI server: requests and websockets as the rest of the hub knows them.

May go in: ASGI's messages on one side, an `Arrival` and a `WebSocket` on the other. May not: where
the hub is mounted and whose requests are taken (`hub.asgi`), what a message means (`hub.engine`).

A hub's own sockets never come here: `hub.sockets.websocket` reads and writes their bytes without
ASGI in between.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import msgspec

from alephscript.hub.backlogs import FREE
from alephscript.hub.engine import Engine
from alephscript.hub.sockets.handover import Handover
from alephscript.hub.sockets.lobby import Arrival, Lobby
from alephscript.hub.turns import AT_ONCE
from alephscript.protocol.packets import Packet
from alephscript.protocol.websocket import GOODBYE_CODES
from alephscript.protocol.wire import FrameReader

__all__ = ["AsgiArrival", "AsgiWebSocket", "Receive", "Scope", "Send", "refuse_websocket"]

# As Starlette's `Mount` wants them.
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_PIECE = 65_536
"""Bytes of a body that a server is given at once; each has as long as a stranger has."""

_CLOSE_SECONDS = 2.0
"""Longest wait for a server to take the last words to a websocket."""

_END_SECONDS = 0.2
"""Longest wait for a server to take the end of a websocket that is nobody's yet."""

_ENDLESS = 1 << 62
_OK, _REFUSED, _NO_CODE = 1000, 1008, 1005

_HTTP_RESPONSE = "websocket.http.response"
"""ASGI's extension by which a websocket can be refused with a status and a reason."""

_GONE = (OSError, RuntimeError)
"""Errors by which servers say that nobody is there any more."""


class AsgiArrival(Arrival):
    """One request in the lobby: not its socket is ended but its answer, by a clock.

    Args:
        lobby: The lobby.
        address: The address of the program that asks, as the server tells it.
        clock: A timeout around the answer.

    Attributes:
        has_answered: Whether the answer has begun.
    """

    __slots__ = ("_address", "_clock", "_is_paused", "has_answered")

    def __init__(self, lobby: Lobby, address: str, clock: asyncio.Timeout) -> None:
        super().__init__(lobby)
        self._address = address
        self._clock = clock
        self._is_paused = False
        self.has_answered = False
        self.is_silent = False

    @property
    def address(self) -> str:
        """The address of the program that asks; empty if the server does not know it."""
        return self._address

    def pause(self) -> None:
        """Stop the clock; see `Arrival.pause`."""
        self._is_paused = True
        super().pause()

    def resume(self) -> None:
        """Start the clock anew; see `Arrival.resume`."""
        self._is_paused = False
        self.is_polling = False  # the server may say that the peer is gone once it has the answer
        super().resume()

    def go_on(self) -> None:
        """Start the clock anew, unless it stands: a piece of the answer has been taken."""
        if not self._is_paused:
            self._lobby.wait(self)

    def rest(self) -> None:
        """Be no more: the server has the socket, and the next request on it arrives by itself."""
        self.session, self.is_polling = None, False
        self.leave()

    def end(self) -> None:
        """End the answer at once."""
        self._lobby.forget(self)
        _end_at(self._clock, 0)

    def _is_open(self) -> bool:
        return True

    def sliced(self, send: Send) -> Send:
        """Return a ``send`` that hands a large body over in pieces, as they are taken."""

        async def send_sliced(message: MutableMapping[str, Any]) -> None:
            self.has_answered = True
            body = message.get("body", b"")
            if len(body) <= _PIECE:
                await send(message)
                return
            for start in range(0, len(body), _PIECE):
                end = start + _PIECE
                has_more = end < len(body) or message.get("more_body", False)
                await send({**message, "body": body[start:end], "more_body": has_more})
                self.go_on()

        return send_sliced


async def refuse_websocket(scope: Scope, send: Send, status: int, reason: str) -> None:
    """Refuse a websocket that was not accepted, with a reason if the server can tell one."""
    if _HTTP_RESPONSE not in (scope.get("extensions") or {}):
        await send({"type": "websocket.close", "code": _REFUSED, "reason": reason})
        return
    body = msgspec.json.encode({"message": reason})
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
    ]
    await send({"type": f"{_HTTP_RESPONSE}.start", "status": status, "headers": headers})
    await send({"type": f"{_HTTP_RESPONSE}.body", "body": body})


class AsgiWebSocket:
    """One websocket of an ASGI server; an `OpenWebSocket` while it is open.

    Args:
        engine: The engine that holds the connections.
        handover: The decisions about this websocket.
        clock: A timeout around `serve`, by which it is ended.
        receive: ASGI's.
        send: ASGI's.

    Attributes:
        take: See `OpenWebSocket`.
    """

    def __init__(
        self,
        engine: Engine,
        handover: Handover,
        clock: asyncio.Timeout,
        receive: Receive,
        send: Send,
    ) -> None:
        self.take: Callable[[bytes | Packet], None] = _ignore
        self._engine = engine
        self._handover = handover
        self._clock = clock
        self._receive = receive
        self._send = send
        # A connection makes frames, which it can share; a server makes its own.
        self._frames = FrameReader(masked=False, max_bytes=_ENDLESS)
        self._waiting: deque[bytes] = deque()  # messages
        self._backlog = 0  # their bytes, and those of the one that the server is given just now
        self._has_news = asyncio.Event()
        self._is_gone = False
        self._is_goodbye = False
        self._reason: str | None = None  # for which it is to be closed

    async def serve(self) -> None:
        """Carry messages until either side closes."""
        await self._send({"type": "websocket.accept"})
        self._handover.begin(self)
        reading = asyncio.create_task(self._read())
        try:
            await self._write_all()
        except _GONE:
            pass
        except asyncio.CancelledError:
            if not self._is_gone and self._reason is None:
                await self._send_end()
            raise
        finally:
            self._is_gone = True
            reading.cancel()
            self._handover.end(is_goodbye=self._is_goodbye)
            await asyncio.wait({reading})

    async def _send_end(self) -> None:
        """Close a websocket that is nobody's yet; not every server does when its task ends."""
        with contextlib.suppress(*_GONE, TimeoutError):
            async with asyncio.timeout(_END_SECONDS):
                await self._send({"type": "websocket.close", "code": _OK, "reason": ""})

    # WebSocket

    def write(self, data: bytes) -> None:
        """Send framed bytes, without waiting."""
        if self._is_gone or self._reason is not None:
            return
        for message in self._frames.read(data):
            self._waiting.append(message)
            self._backlog += len(message)
        self._has_news.set()

    def backlog(self) -> int:
        """Count the bytes that the server has not taken, if they are many."""
        return self._backlog if self._backlog > FREE else 0

    def close(self, reason: str = "") -> None:
        """Close the websocket, at once if it is stuck; what waits is sent before."""
        if self._is_gone or self._reason is not None:
            return
        self._reason = reason
        self._has_news.set()
        is_stuck = self.backlog() > 0
        now = asyncio.get_running_loop().time()
        _end_at(self._clock, now if is_stuck else now + _CLOSE_SECONDS)

    async def _write_all(self) -> None:
        while not self._is_gone:
            while self._waiting:
                message = self._waiting.popleft()
                await self._send({"type": "websocket.send", "text": message.decode()})
                self._backlog -= len(message)
            if self._reason is not None:
                await self._send({"type": "websocket.close", "code": _OK, "reason": self._reason})
                return
            await self._has_news.wait()
            self._has_news.clear()

    async def _read(self) -> None:
        """Hand over what comes, until the peer is gone."""
        engine, taken = self._engine, 0
        try:
            while (event := await self._receive())["type"] == "websocket.receive":
                text = event.get("text")
                if text is None:
                    self._handover.spend(1, 1)
                else:
                    engine.is_reading = True  # what is to be sent needs no turn of its own
                    try:
                        self.take(text.encode(errors="surrogatepass"))
                    finally:
                        engine.is_reading = False
                        engine.flush()
                taken += 1
                if taken % AT_ONCE == 0:  # a server may have many more at hand
                    await asyncio.sleep(0)
            self._is_goodbye = event.get("code", _NO_CODE) in (*GOODBYE_CODES, _NO_CODE)
        except _GONE:
            pass
        finally:
            self._is_gone = True
            self._has_news.set()
            # A server that does not end what it was sending for a peer that is gone is left alone.
            _end_at(self._clock, asyncio.get_running_loop().time() + _CLOSE_SECONDS)


def _end_at(clock: asyncio.Timeout, when: float) -> None:
    with contextlib.suppress(RuntimeError):  # it has just expired, or what it was around has ended
        clock.reschedule(when)


def _ignore(data: object) -> None:
    """Do nothing: before a websocket is open there is nothing to take."""
