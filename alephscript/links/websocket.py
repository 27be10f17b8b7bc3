"""A websocket to a hub, whatever reads it: what it carries, its heartbeat, beginning and end.

No task, no queue and no timer a packet: what comes is handed over in the call that reads it,
what is sent in one turn of the loop leaves in one write. Knows asyncio's transports, and frames
only to write them; reading them is the library's.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec

from alephscript.errors import ConnectionRefused, NotConnected, PayloadTooLarge
from alephscript.links.transport import Link, Receiver
from alephscript.protocol import packets
from alephscript.protocol.json import write_json
from alephscript.protocol.packets import Kind, ProtocolError
from alephscript.protocol.websocket import write_masked_text_frame

__all__ = ["MAX_BYTES", "WebSocketLink", "WebSocketTransport"]

MAX_BYTES = 16_000_000
"""The largest message taken from a hub, which takes 1 MB itself but may gather."""

_BATCH = 16
"""Messages that are written at once: with one write a turn of the loop, the processes of a mesh
work by turns, not side by side."""

_CLOSE_SECONDS = 2.0
"""A stalled peer must not keep anybody from closing."""

logger = logging.getLogger("alephscript.client")


class WebSocketTransport(ABC):
    """Makes websocket links.

    Args:
        url: The hub's address, ``http://127.0.0.1:3010``.
        tls: What an ``https`` hub's certificate is checked with.

    Attributes:
        url: As given.
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
        """Open a link; see `alephscript.links.transport.Transport.connect`."""
        link = WebSocketLink(receiver, namespace, auth)
        try:
            async with asyncio.timeout(timeout):
                await self._open(link, timeout)
                refusal = await link.joined
        except TimeoutError:
            link.abort()
            raise ConnectionRefused(self.url, f"the hub was silent for {timeout:g} s") from None
        except (OSError, ValueError) as exc:
            link.abort()
            raise ConnectionRefused(self.url, str(exc) or type(exc).__name__) from exc
        except BaseException:
            link.abort()
            raise
        if refusal is not None:
            link.abort()
            raise ConnectionRefused(self.url, refusal, fatal=True)
        return link

    @abstractmethod
    async def _open(self, link: WebSocketLink, timeout: float) -> None:
        """Shake hands and have the link `WebSocketLink.opened`; from then on it is told all.

        Raises:
            OSError: There is no hub, or it takes no websocket here.
            ValueError: The address is none.
        """


class _Opened(msgspec.Struct, rename="camel"):
    """What a hub says of itself first; times are milliseconds."""

    ping_interval: float
    ping_timeout: float
    max_payload: int = MAX_BYTES


class WebSocketLink:
    """See `alephscript.links.transport.Link`.

    Whoever reads the websocket calls `opened` once, `take` with each whole text message, and
    `ended` once if it was opened.

    Attributes:
        joined: Done when the hub has let it in: None, or why it did not.
    """

    def __init__(self, receiver: Receiver, namespace: str, auth: Mapping[str, Any] | None) -> None:
        self._received = receiver.received
        self._acknowledged = receiver.acknowledged
        self._lost = receiver.lost
        self._namespace = namespace
        self._event = packets.packet_head(Kind.EVENT, namespace)
        self._ack = packets.packet_head(Kind.ACK, namespace)
        self._auth = auth
        self._loop = asyncio.get_running_loop()
        self.joined: asyncio.Future[str | None] = self._loop.create_future()
        self._gone: asyncio.Future[None] = self._loop.create_future()
        self._is_up = False
        self._closing = False
        self._is_given_up = False
        self._out: list[bytes] = []
        self._transport: asyncio.Transport | None = None
        self._max_bytes = MAX_BYTES
        self._patience = 0.0
        self._heard = 0.0
        self._watch: asyncio.TimerHandle | None = None

    @property
    def is_open(self) -> bool:
        """Whether the websocket's handshake was completed."""
        return self._transport is not None

    # Link

    def send(self, payload: bytes, ack: int | None = None) -> None:
        """See `alephscript.links.transport.Link`."""
        if not self._is_up or self._closing:
            raise NotConnected("the link to the hub is gone; nothing was sent")
        if ack is None:
            self._put(self._event + payload)
        else:
            self._put(b"%b%d%b" % (self._event, ack, payload))

    def acknowledge(self, ack: int, payload: bytes) -> None:
        """See `alephscript.links.transport.Link`."""
        if self._is_up:
            self._put(b"%b%d%b" % (self._ack, ack, payload))

    async def close(self) -> None:
        """See `alephscript.links.transport.Link`."""
        if self._is_up and not self._closing:
            self._closing = True
            self._put(packets.write_packet(Kind.DISCONNECT, self._namespace))
            self._put(packets.CLOSE)
            self._flush()
            self.hang_up()
        if self._transport is not None:
            await asyncio.wait({self._gone}, timeout=_CLOSE_SECONDS)
            self.abort()

    def abort(self) -> None:
        """End it at once, or as soon as there is something to end."""
        self._is_given_up = True
        if self._transport is not None and not self._gone.done():
            self._transport.abort()

    def hang_up(self) -> None:
        """End it when what was sent is out."""
        if self._transport is not None:
            self._transport.close()

    # The websocket

    def opened(self, transport: asyncio.Transport) -> None:
        """The handshake is done; frames go to this transport."""
        self._transport = transport
        self._write = transport.write
        if self._is_given_up:
            transport.abort()  # a library may go on with a handshake that nobody waits for

    def take(self, message: bytes) -> None:
        """A whole text message came; what is no packet ends the link."""
        try:
            if message[:1] == packets.MESSAGE:
                kind, namespace, ack, payload = packets.parse_packet(message)
                if namespace != self._namespace:
                    pass
                elif kind is Kind.EVENT:
                    self._received(payload, ack)
                elif kind is not Kind.ACK:
                    self._packet(kind, payload)
                elif ack is not None:
                    self._acknowledged(ack, payload)
            else:
                self._control(message)
        except (ProtocolError, msgspec.DecodeError) as error:
            name = type(error).__name__
            logger.warning(
                "the hub sent what is no packet (%s); reconnecting", name, extra={"error": name}
            )
            self.hang_up()

    def ended(self) -> None:
        """The websocket is gone."""
        was_up, self._is_up = self._is_up, False
        if self._watch is not None:
            self._watch.cancel()
        self._gone.set_result(None)
        if self._is_given_up:
            self.joined.cancel()  # nobody waits
        elif not self.joined.done():
            self.joined.set_exception(ConnectionResetError("the hub closed the connection"))
        if was_up:
            self._lost("closed" if self._closing else "the connection to the hub ended")

    # Packets

    def _packet(self, kind: Kind, payload: bytes) -> None:
        if kind is Kind.CONNECT:
            self._is_up = True
            if not self.joined.done():
                self.joined.set_result(None)
        elif kind is Kind.CONNECT_ERROR:
            said = msgspec.json.decode(payload or b"null")
            message = said.get("message") if isinstance(said, dict) else said
            if not self.joined.done():
                self.joined.set_result(str(message or "the hub refused the connection"))
        elif kind is Kind.DISCONNECT:
            self.hang_up()

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
            self.hang_up()

    def _put(self, message: bytes) -> None:
        if len(message) > self._max_bytes:
            raise PayloadTooLarge(f"the hub takes messages of {self._max_bytes} bytes at most")
        out = self._out
        if not out:
            self._loop.call_soon(self._flush)
        out.append(write_masked_text_frame(message))
        if len(out) >= _BATCH:
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
            self._transport.abort()
