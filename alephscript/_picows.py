"""The link over our own codec and picows, a C extension ([fast] extra): websocket only.

No task, no queue and no timer a packet: what comes is handed over in the call that reads it,
what is sent in one turn of the loop leaves in one write.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec
import picows
from picows import WSFrame, WSListener, WSMsgType, WSTransport

from alephscript import frames, wire
from alephscript.errors import ConnectionRefused, NotConnected, PayloadTooLarge
from alephscript.frames import Kind, ProtocolError
from alephscript.transport import Link, Receiver

__all__ = ["PicowsTransport"]

_CLOSE_SECONDS = 2.0
"""A stalled peer must not keep anybody from closing."""

_MAX_BYTES = 16_000_000
"""The largest message taken from a hub, which takes 1 MB itself but may gather."""

_BATCH = 8
"""Messages that are written at once: with one write a turn of the loop, the processes of a mesh
work by turns, not side by side."""

_TEXT = WSMsgType.TEXT

_quiet = logging.getLogger("alephscript.picows")
_quiet.setLevel(logging.CRITICAL)
logger = logging.getLogger("alephscript.client")


class PicowsTransport:
    """Makes websocket links.

    Args:
        url: The hub's address, ``http://127.0.0.1:3010``.
        tls: What an ``https`` hub's certificate is checked with.
    """

    def __init__(self, url: str, *, tls: ssl.SSLContext | None = None) -> None:
        self.url = url
        self._tls = tls
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
                    ssl_context=self._tls,
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
        self._max_bytes = _MAX_BYTES
        self._patience = 0.0
        self._heard = 0.0
        self._watch: asyncio.TimerHandle | None = None

    @property
    def is_open(self) -> bool:
        """Whether the websocket's handshake was completed."""
        return self._transport is not None

    # Link

    def send(self, payload: bytes, ack: int | None = None) -> None:
        if not self._is_up or self._closing:
            raise NotConnected("the link to the hub is gone; nothing was sent")
        self._put_packet(Kind.EVENT, payload, ack)

    def acknowledge(self, ack: int, payload: bytes) -> None:
        if self._is_up:
            self._put_packet(Kind.ACK, payload, ack)

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
        if kind is _TEXT and frame.fin:
            self._whole(frame.get_payload_as_bytes())
        elif kind is _TEXT or (kind is WSMsgType.CONTINUATION and self._parts):
            self._parts.append(frame.get_payload_as_bytes())
            if frame.fin:
                message, self._parts = b"".join(self._parts), []
                self._whole(message)
        elif kind is WSMsgType.CLOSE:
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

    def _whole(self, message: bytes) -> None:
        try:
            self._message(message)
        except (ProtocolError, msgspec.DecodeError) as error:
            kind = type(error).__name__
            logger.warning(
                "the hub sent what is no packet (%s); reconnecting", kind, extra={"error": kind}
            )
            if self._transport is not None:
                self._transport.disconnect()

    def _message(self, message: bytes) -> None:
        kind = message[:1]
        if kind == frames.MESSAGE:
            self._packet(frames.decode(message))
        elif kind == frames.PING:
            self._heard = self._loop.time()
            self._put(frames.PONG + message[1:])
        elif kind == frames.OPEN:
            opened = msgspec.json.decode(message[1:])
            self._patience = (opened["pingInterval"] + opened["pingTimeout"]) / 1000
            self._max_bytes = opened.get("maxPayload", _MAX_BYTES)
            self._heard = self._loop.time()
            self._watch = self._loop.call_later(self._patience, self._check)
            auth = wire.dumps(dict(self._auth)) if self._auth else b""
            self._put(frames.encode(Kind.CONNECT, self._namespace, payload=auth))
        elif kind == frames.CLOSE and self._transport is not None:
            self._transport.disconnect()

    def _packet(self, packet: frames.Packet) -> None:
        kind, namespace, ack, payload = packet
        if namespace != self._namespace:
            return
        if kind is Kind.EVENT:
            self._receiver.received(payload, ack)
        elif kind is Kind.ACK:
            if ack is not None:
                self._receiver.acknowledged(ack, payload)
        elif kind is Kind.CONNECT:
            self._is_up = True
            if not self.joined.done():
                self.joined.set_result(None)
        elif kind is Kind.CONNECT_ERROR:
            said = msgspec.json.decode(payload or b"null")
            message = said.get("message") if isinstance(said, dict) else said
            if not self.joined.done():
                self.joined.set_result(str(message or "the hub refused the connection"))
        elif kind is Kind.DISCONNECT and self._transport is not None:
            self._transport.disconnect()

    def _put_packet(self, kind: Kind, payload: bytes, ack: int | None) -> None:
        message = frames.encode(kind, self._namespace, ack, payload)
        if len(message) > self._max_bytes:
            raise PayloadTooLarge(f"the hub takes messages of {self._max_bytes} bytes at most")
        self._put(message)

    def _put(self, message: bytes) -> None:
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(frames.masked_text_frame(message))
        if len(self._out) >= _BATCH:
            self._flush()

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
