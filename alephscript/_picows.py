"""The link over our own codec and picows, a C extension ([fast] extra): websocket only.

No task, no queue and no timer a packet: what comes is handed over in the call that reads it,
what is sent in one turn of the loop leaves in one write.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import msgspec
import picows
from picows import WSFrame, WSListener, WSMsgType, WSTransport

from alephscript import frames, wire
from alephscript.errors import ConnectionRefused, NotConnected, RequestError
from alephscript.frames import Kind, ProtocolError
from alephscript.transport import Link, Receiver

__all__ = ["PicowsTransport"]

_CLOSE_SECONDS = 2.0
"""A stalled peer must not keep anybody from closing."""

_MAX_BYTES = 16_000_000
"""The largest message taken from a hub, which takes 1 MB itself but may gather."""

_quiet = logging.getLogger("alephscript.picows")
_quiet.setLevel(logging.CRITICAL)
logger = logging.getLogger("alephscript.client")


class PicowsTransport:
    """Makes websocket links.

    Args:
        url: The hub's address, ``http://127.0.0.1:3010``.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        parts = urlsplit(url)
        scheme = {"http": "ws", "https": "wss"}.get(parts.scheme, parts.scheme)
        path = parts.path.rstrip("/")
        self._target = f"{scheme}://{parts.netloc}{path}/socket.io/?EIO=4&transport=websocket"

    async def connect(
        self, receiver: Receiver, *, namespace: str, auth: Mapping[str, Any] | None, timeout: float
    ) -> Link:
        """Open a link; see `alephscript.transport.Transport.connect`."""
        link = _PicowsLink(receiver, namespace, auth)
        try:
            async with asyncio.timeout(timeout):
                await picows.ws_connect(
                    lambda: link,
                    self._target,
                    websocket_handshake_timeout=timeout,
                    max_frame_size=_MAX_BYTES,
                    logger_name=_quiet,
                )
                if not link.is_open:
                    # picows says nothing when the peer hangs up before the handshake is through.
                    raise ConnectionResetError("the hub hung up during the handshake")  # noqa: TRY301
                refusal = await link.joined
        except TimeoutError:
            link.abort()
            raise ConnectionRefused(self.url, f"the hub was silent for {timeout:g} s") from None
        except (OSError, picows.WSError, ValueError) as exc:
            link.abort()
            raise ConnectionRefused(self.url, str(exc) or type(exc).__name__) from exc
        except BaseException:
            link.abort()
            raise
        if refusal is not None:
            link.abort()
            raise ConnectionRefused(self.url, refusal, fatal=True)
        return link


class _PicowsLink(WSListener):  # type: ignore[misc]
    """See `alephscript.transport.Link`."""

    def __init__(self, receiver: Receiver, namespace: str, auth: Mapping[str, Any] | None) -> None:
        self._receiver = receiver
        self._namespace = namespace
        self._auth = auth
        self._loop = asyncio.get_running_loop()
        self.joined: asyncio.Future[str | None] = self._loop.create_future()
        self._gone = self._loop.create_future()
        self._is_up = False
        self._closing = False
        self._is_given_up = False
        self._out: list[bytes] = []
        self._parts: list[bytes] = []
        self._transport: WSTransport | None = None
        self._patience = 0.0
        self._heard = 0.0
        self._watch: asyncio.TimerHandle | None = None

    @property
    def is_open(self) -> bool:
        """Whether the websocket's handshake was completed."""
        return self._transport is not None

    # Link

    def send(self, event: str, args: Sequence[Any], ack: int | None = None) -> None:
        if not self._is_up or self._closing:
            raise NotConnected("the link to the hub is gone; nothing was sent")
        payload = wire.dumps([event, *args]).encode()
        self._put(frames.encode(Kind.EVENT, self._namespace, ack, payload))

    def acknowledge(self, ack: int, answer: Mapping[str, Any]) -> None:
        payload = wire.dumps([answer]).encode()
        if self._is_up:
            self._put(frames.encode(Kind.ACK, self._namespace, ack, payload))

    async def close(self) -> None:
        if self._is_up and not self._closing:
            self._closing = True
            self._put(frames.encode(Kind.DISCONNECT, self._namespace))
            self._put(frames.CLOSE)
            self._flush()
            if self._transport is not None:
                self._transport.disconnect()
        if self._transport is not None:
            await asyncio.wait({self._gone}, timeout=_CLOSE_SECONDS)
            self.abort()

    def abort(self) -> None:
        """End it at once, or as soon as there is something to end."""
        self._is_given_up = True
        if self._transport is not None and not self._gone.done():
            self._transport.underlying_transport.abort()

    # picows

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._transport = transport
        self._write = transport.underlying_transport.write
        if self._is_given_up:
            # picows goes on with a handshake whose ws_connect was cancelled.
            transport.underlying_transport.abort()

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        kind = frame.msg_type
        if kind is WSMsgType.CLOSE:
            transport.disconnect()
        elif kind is WSMsgType.TEXT or (kind is WSMsgType.CONTINUATION and self._parts):
            message = frame.get_payload_as_bytes()
            if not frame.fin or self._parts:
                self._parts.append(message)
                if not frame.fin:
                    return
                message, self._parts = b"".join(self._parts), []
            try:
                self._message(message)
            except (ProtocolError, msgspec.DecodeError) as error:
                logger.warning("the hub sent what is no packet (%s); reconnecting", error)
                transport.disconnect()

    def on_ws_disconnected(self, transport: WSTransport) -> None:  # noqa: ARG002 - picows' signature
        was_up, self._is_up = self._is_up, False
        if self._watch is not None:
            self._watch.cancel()
        self._gone.set_result(None)
        if self._is_given_up:
            self.joined.cancel()  # nobody waits
        elif not self.joined.done():
            self.joined.set_exception(ConnectionResetError("the hub closed the connection"))
        if was_up:
            self._receiver.lost("closed" if self._closing else "the connection to the hub ended")

    # Packets

    def _message(self, message: bytes) -> None:
        kind = message[:1]
        if kind == frames.MESSAGE:
            self._packet(frames.decode(message[1:]))
        elif kind == frames.PING:
            self._heard = self._loop.time()
            self._put(frames.PONG + message[1:])
        elif kind == frames.OPEN:
            opened = msgspec.json.decode(message[1:])
            self._patience = (opened["pingInterval"] + opened["pingTimeout"]) / 1000
            self._heard = self._loop.time()
            self._watch = self._loop.call_later(self._patience, self._check)
            auth = wire.dumps(dict(self._auth)).encode() if self._auth else b""
            self._put(frames.encode(Kind.CONNECT, self._namespace, payload=auth))
        elif kind == frames.CLOSE and self._transport is not None:
            self._transport.disconnect()

    def _packet(self, packet: frames.Packet) -> None:
        if packet.namespace != self._namespace:
            return
        if packet.kind is Kind.EVENT:
            self._event(packet)
        elif packet.kind is Kind.ACK:
            if packet.ack is not None:
                args = _values(packet.payload)
                self._receiver.acknowledged(packet.ack, args)
        elif packet.kind is Kind.CONNECT:
            self._is_up = True
            if not self.joined.done():
                self.joined.set_result(None)
        elif packet.kind is Kind.CONNECT_ERROR:
            said = msgspec.json.decode(packet.payload or b"null")
            message = said.get("message") if isinstance(said, dict) else said
            if not self.joined.done():
                self.joined.set_result(str(message or "the hub refused the connection"))
        elif packet.kind is Kind.DISCONNECT and self._transport is not None:
            self._transport.disconnect()

    def _event(self, packet: frames.Packet) -> None:
        try:
            values = wire.loads(packet.payload)
        except RequestError as error:
            if packet.ack is not None:
                self.acknowledge(packet.ack, error.answer())
            return
        if isinstance(values, list) and values and isinstance(values[0], str):
            self._receiver.received(values[0], values[1:], packet.ack)

    def _put(self, message: bytes) -> None:
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(frames.masked_text_frame(message))

    def _flush(self) -> None:
        out, self._out = self._out, []
        if out and not self._gone.done():
            self._write(out[0] if len(out) == 1 else b"".join(out))

    def _check(self) -> None:
        """End a link whose hub has not pinged in time; one timer, moved along."""
        left = self._heard + self._patience - self._loop.time()
        if left > 0:
            self._watch = self._loop.call_later(left, self._check)
        elif self._transport is not None:
            self._transport.underlying_transport.abort()


def _values(payload: bytes) -> list[Any]:
    try:
        values = wire.loads(payload)
    except RequestError as error:
        return [error.answer()]
    return values if isinstance(values, list) else [values]
