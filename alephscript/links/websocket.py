"""A websocket to a hub: what it carries, its heartbeat, its beginning and its end.

May go in: packets sent and received over an open websocket. May not: the handshake
(`links.handshake`), how frames and packets look (`protocol`), what an event means (`client`).

No task, no queue and no timer a packet: what comes is handed over in the call that reads it,
what is sent in one turn of the loop leaves in one write. aiohttp's websocket, which is partly C,
takes twice the time to read a message: it queues each one for a task to fetch.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from alephscript.errors import ConnectionRefused, NotConnected, PayloadTooLarge
from alephscript.links.address import parse_address
from alephscript.links.binary import FORMLESS_ANSWER, refuse_event
from alephscript.links.handshake import advise, open_websocket
from alephscript.links.transport import CLOSE_SECONDS, OLD_PROTOCOL, Link, Receiver
from alephscript.protocol import packets
from alephscript.protocol.json import write_json
from alephscript.protocol.packets import Kind, ProtocolError
from alephscript.protocol.websocket import FRAMES_A_WRITE
from alephscript.protocol.wire import (
    FrameReader,
    parse_packet,
    write_masked_text_frame,
    write_numbered,
)

__all__ = ["MAX_BYTES", "WebSocketLink", "WebSocketTransport"]

MAX_BYTES = 16_000_000
"""The largest message taken from a hub, which takes 1 MB itself but may gather."""

_LARGE = 65_536
"""Bytes of a message from which on a copy costs more than a write of its own."""

logger = logging.getLogger("alephscript.client")

# Kept: a member of an enum costs 0.1 µs and more to look up where Python is older than 3.12.
_EVENT, _ACK = Kind.EVENT, Kind.ACK


class WebSocketTransport:
    """The maker of websocket links to one hub.

    Args:
        url: The hub's address, ``http://127.0.0.1:3010``.
        tls: The context that an ``https`` hub's certificate is checked with.

    Attributes:
        url: The address as it may be shown.

    Raises:
        ContractError: The address is none of a hub.
    """

    def __init__(self, url: str, *, tls: ssl.SSLContext | None = None) -> None:
        address = parse_address(url)
        self.url = str(address)
        self._tls = tls
        self._path = address.path
        self._websocket_url = address.endpoint("websocket")

    async def connect(
        self, receiver: Receiver, *, namespace: str, auth: Mapping[str, Any] | None, timeout: float
    ) -> Link:
        """Open a link; see `alephscript.links.transport.Transport.connect`."""

        def make_link(transport: asyncio.Transport) -> WebSocketLink:
            return WebSocketLink(transport, receiver, namespace, auth)

        try:
            async with asyncio.timeout(timeout):
                link = await open_websocket(self._websocket_url, self._tls, make_link)
                try:
                    refusal = await link.joined
                except BaseException:
                    link.abort()
                    raise
        except TimeoutError:
            raise ConnectionRefused(self.url, f"the hub was silent for {timeout:g} s") from None
        except (OSError, ValueError) as exc:
            reason = str(exc) or type(exc).__name__
            raise ConnectionRefused(self.url, reason, advise(exc, self._path)) from exc
        if refusal is not None:
            link.abort()
            raise ConnectionRefused(self.url, refusal.reason, fatal=refusal.is_final)
        return link


class _Refusal(NamedTuple):
    """The reason why a hub did not let a link in, and whether another try is pointless."""

    reason: str
    is_final: bool


class _Opened(msgspec.Struct, rename="camel"):
    """The first that a hub says of itself; times are milliseconds."""

    ping_interval: float
    ping_timeout: float
    max_payload: int = MAX_BYTES


class WebSocketLink(asyncio.Protocol):
    """A link over a websocket that is open; see `alephscript.links.transport.Link`.

    Args:
        transport: What frames are written to, and what this object is the protocol of.
        receiver: The object that is told what comes.
        namespace: The Socket.IO namespace to join.
        auth: The credentials to join with.

    Attributes:
        joined: None when the hub has let the link in, else why it did not.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        receiver: Receiver,
        namespace: str,
        auth: Mapping[str, Any] | None,
    ) -> None:
        self._transport = transport
        # Bound methods, kept: looked up once a link instead of once a packet.
        self._received = receiver.received
        self._acknowledged = receiver.acknowledged
        self._lost = receiver.lost
        self._reader = FrameReader(masked=False, max_bytes=MAX_BYTES)
        self._read = self._reader.read_packets
        self._write = transport.write
        self._namespace = namespace
        self._event = packets.packet_head(Kind.EVENT, namespace)
        self._ack = packets.packet_head(Kind.ACK, namespace)
        self._auth = auth
        self._loop = asyncio.get_running_loop()
        self.joined: asyncio.Future[_Refusal | None] = self._loop.create_future()
        self._gone: asyncio.Future[None] = self._loop.create_future()
        self._is_up = False
        self._closing = False
        self._out: list[bytes] = []
        self._is_last = False
        self._max_bytes = MAX_BYTES
        self._patience = 0.0
        self._heard = 0.0
        self._watch: asyncio.TimerHandle | None = None

    # Link

    def send(self, payload: bytes, ack: int | None = None) -> None:
        """See `alephscript.links.transport.Link`."""
        if not self._is_up or self._closing:
            raise NotConnected("the link to the hub is gone; nothing was sent")
        if ack is None:
            self._put(self._event + payload)
        else:
            self._put(write_numbered(self._event, ack, payload))

    def acknowledge(self, ack: int, payload: bytes) -> None:
        """See `alephscript.links.transport.Link`."""
        if self._is_up:
            self._put(write_numbered(self._ack, ack, payload))

    def hurry(self) -> None:
        """See `alephscript.links.transport.Link`."""
        self._is_last = True

    async def close(self) -> None:
        """See `alephscript.links.transport.Link`."""
        if self._is_up and not self._closing:
            self._closing = True
            self._put(packets.write_packet(Kind.DISCONNECT, self._namespace))
            self._put(packets.CLOSE)
            self._flush()
            self._hang_up()
        await asyncio.wait({self._gone}, timeout=CLOSE_SECONDS)
        self.abort()

    def abort(self) -> None:
        """End the link at once; what was sent may be lost."""
        if not self._gone.done():
            self._transport.abort()

    def _hang_up(self) -> None:
        """End the link when what was sent is out."""
        self._transport.close()

    # asyncio.Protocol

    def data_received(self, data: bytes) -> None:  # noqa: C901 - hot: no call more
        """Handle every message that is whole with this piece."""
        for message in self._read(data):
            try:
                if isinstance(message, tuple):  # first, as most are where the reader is C
                    kind, namespace, ack, payload = message
                elif message[:1] == packets.MESSAGE:
                    kind, namespace, ack, payload = parse_packet(message)
                else:
                    self._control(message)
                    continue
                if namespace != self._namespace:
                    pass
                elif kind is _EVENT:  # first, as most are
                    self._received(payload, ack)
                elif kind is not _ACK:
                    self._packet(kind, ack, payload)
                elif ack is not None:
                    self._acknowledged(ack, payload)
            except (ProtocolError, msgspec.DecodeError) as error:
                self._leave(error)
        if self._reader.reply:
            self._write(self._reader.reply)
            self._reader.reply = b""
            if self._reader.closed:
                self._hang_up()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Tell everybody that the websocket is gone."""
        was_up, self._is_up = self._is_up, False
        if self._watch is not None:
            self._watch.cancel()
        self._gone.set_result(None)
        if not self.joined.done():
            self.joined.set_result(_Refusal("the hub closed the connection", is_final=False))
        if was_up:
            self._lost("closed" if self._closing else "the connection to the hub ended")

    # Packets

    def _leave(self, error: Exception) -> None:
        """End the link, since a message is no packet."""
        name = type(error).__name__
        logger.warning(
            "the hub sent what is no packet (%s); reconnecting", name, extra={"error": name}
        )
        self._hang_up()

    def _packet(self, kind: Kind, ack: int | None, payload: bytes) -> None:
        if kind is Kind.BINARY_EVENT:
            refuse_event(self.acknowledge, ack)
        elif kind is Kind.BINARY_ACK and ack is not None:
            self._acknowledged(ack, FORMLESS_ANSWER)
        elif kind is Kind.CONNECT:
            # Since version 5 of Socket.IO's protocol a hub tells the socket's id here.
            self._is_up = bool(payload)
            if not self.joined.done():
                refusal = None if payload else _Refusal(OLD_PROTOCOL, is_final=True)
                self.joined.set_result(refusal)
        elif kind is Kind.CONNECT_ERROR:
            error = msgspec.json.decode(payload or b"null")
            message = error.get("message") if isinstance(error, dict) else error
            reason = str(message or "the hub refused the connection")
            if not self.joined.done():
                self.joined.set_result(_Refusal(reason, is_final=True))
        elif kind is Kind.DISCONNECT:
            self._hang_up()

    def _control(self, message: bytes) -> None:
        kind = message[:1]
        if kind == packets.PING:
            self._heard = self._loop.time()
            self._put(packets.PONG + message[1:])
        elif kind == packets.OPEN:
            opened = msgspec.json.decode(message[1:], type=_Opened)
            self._patience = (opened.ping_interval + opened.ping_timeout) / 1000
            self._max_bytes = opened.max_payload
            self._heard = self._loop.time()
            self._watch = self._loop.call_later(self._patience, self._check)
            auth = write_json(dict(self._auth)) if self._auth else b""
            self._put(packets.write_packet(Kind.CONNECT, self._namespace, payload=auth))
        elif kind == packets.CLOSE:
            self._hang_up()

    def _put(self, message: bytes) -> None:
        if len(message) > self._max_bytes:
            raise PayloadTooLarge(f"the hub takes messages of {self._max_bytes} bytes at most")
        out = self._out
        if len(message) > _LARGE:  # not to be copied once more
            self._flush()
            self._write(write_masked_text_frame(message))
            return
        out.append(write_masked_text_frame(message))
        if len(out) >= FRAMES_A_WRITE or self._is_last:
            self._is_last = False
            self._flush()
        elif len(out) == 1:
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        out, self._out = self._out, []
        if out and not self._gone.done():
            self._write(out[0] if len(out) == 1 else b"".join(out))

    def _check(self) -> None:
        """End a link whose hub has not pinged in time; one timer, moved along."""
        left = self._heard + self._patience - self._loop.time()
        if left > 0:
            self._watch = self._loop.call_later(left, self._check)
        else:
            self._transport.abort()
