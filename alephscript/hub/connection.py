"""One client of a hub, whatever its transport is at the moment.

Messages to a client wait until all that was read is done, and leave in one write to the websocket
or in one answer to the poll that waits. A packet is handled in the call that brings it: no task, no
queue, no timer of its own (decision 0002).

May go in: what concerns one client. May not: other clients and time (`engine`), getting into a
namespace (`joining`), or how bytes come and go (`sockets`, `http`), known here as a `WebSocket`
that takes framed bytes, and as a poll that waits. Over 500 lines, because what is on the way of
each packet stands in one place, without further calls.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, deque
from typing import Protocol

from alephscript.diagnostics.redaction import redacted
from alephscript.errors import Overloaded
from alephscript.hub.backlogs import FREE, Backlogs
from alephscript.hub.namespace import Namespace
from alephscript.mesh.access import Handshake
from alephscript.mesh.limits import Limits
from alephscript.protocol import packets
from alephscript.protocol.events import RUNTIME
from alephscript.protocol.packets import Kind, Packet, ProtocolError
from alephscript.protocol.websocket import FRAMES_A_WRITE
from alephscript.protocol.wire import parse_packet, write_text_frame

__all__ = ["Connection", "Host", "WebSocket"]

logger = logging.getLogger("alephscript.hub")

_LAST_POLL_SECONDS = 1.0
"""How long a client that polls may take to fetch the last words."""

_LONGEST_REASON = 40
"""Characters; a close frame takes 123 bytes."""

_FRAME_CREDIT = 5_000
"""Packets that are no events, control frames and fragments that a client may send a second, and as
many at once; answers that were asked for cost nothing. Honest ones are rare."""

_POLL_MESSAGES = 16
"""A python-engineio client drops a body of more messages than this, all of it (decision 0007)."""

# Kept: a member of an enum costs 0.1 µs and more to look up where Python is older than 3.12.
_EVENT, _ACK = Kind.EVENT, Kind.ACK


class WebSocket(Protocol):
    """A websocket, as far as a connection needs one."""

    def write(self, data: bytes) -> None:
        """Send framed bytes, without waiting."""
        ...

    def backlog(self) -> int:
        """Count the bytes written that the peer has not taken yet."""
        ...

    def close(self, reason: str = "") -> None:
        """Close the websocket, at once if it is stuck.

        Args:
            reason: A few words for the peer.
        """
        ...


class Host(Protocol):
    """The hub, as far as a connection needs it (`alephscript.hub.engine.Engine`).

    Attributes:
        limits: How much one client may take of the hub.
        refusals: How often something was refused, by what was wrong.
        namespaces: All that can be joined, by name.
        dirty: Connections that have something to send when what was read is done.
        is_reading: Whether what was read is being handled, after which `flush` is called.
        backlogs: Clients for which much waits.
    """

    limits: Limits
    refusals: Counter[str]
    namespaces: dict[str, Namespace]
    dirty: list[Connection]
    is_reading: bool
    backlogs: Backlogs

    def flush(self) -> None:
        """Call `Connection.flush` of those that are dirty."""
        ...

    def control(
        self, connection: Connection, kind: Kind, namespace: str, ack: int | None, payload: bytes
    ) -> None:
        """Handle a packet that is no event and no acknowledgement, or of a stranger there."""
        ...

    def forget(self, connection: Connection) -> None:
        """Keep nothing of a connection that has ended."""
        ...


class Connection:
    """One client: polling at first, or on a websocket for good.

    Invariant: `_polling` is there until a websocket is attached, and None from then on; only then
    `_websocket` is one and `_frames` hold what is to be written to it. Nothing leads back.

    Attributes:
        id: Engine.IO's id of the client.
        sids: Socket.IO's ids of the client, by namespace.
        closed: Whether the connection has ended; then nothing waits to be sent.
        heard_at: When the client last answered a ping, in the loop's time.
        opened_at: When the connection was opened, seconds since 1970.
        has_said_goodbye: Whether the client has ended the connection itself, by the rules.
        handshake: How the connection came about, where an `Access` asks that.
        sender: The address that requests of a client that polls have to come from; None for any.
        is_posting: Whether a body of a client that polls is on its way, or being handled.
    """

    __slots__ = (
        "_credit",
        "_credited_at",
        "_frame_credit",
        "_framed_at",
        "_frames",
        "_host",
        "_is_doomed",
        "_polling",
        "_websocket",
        "closed",
        "handshake",
        "has_said_goodbye",
        "heard_at",
        "id",
        "is_posting",
        "opened_at",
        "sender",
        "sids",
    )

    def __init__(self, host: Host, connection_id: str, handshake: Handshake | None) -> None:
        self.id = connection_id
        self.handshake = handshake
        self.sids: dict[str, str] = {}
        self.sender: str | None = None
        self.is_posting = False
        self.closed = False
        self.has_said_goodbye = False
        self.heard_at = 0.0
        self.opened_at = time.time()
        self._host = host
        self._credit = host.limits.events_per_second * 2  # events that may come at once
        self._credited_at = time.monotonic()
        self._frame_credit = _FRAME_CREDIT
        self._framed_at = self._credited_at
        self._polling: _Polling | None = _Polling(host.limits.message_bytes)
        self._websocket: WebSocket | None = None
        self._frames: list[bytes] = []
        self._is_doomed = False  # to be closed on the next turn of the loop

    @property
    def upgraded(self) -> bool:
        """Whether the client is on a websocket."""
        return self._polling is None

    # To the client

    def send(self, message: bytes, frame: bytes | None = None) -> None:
        """Send a message when what was read is done; over the bound, the client is cut off.

        Args:
            message: An Engine.IO message.
            frame: The same as one unmasked websocket text frame, if it was made for others, too.
        """
        if self.closed or self._is_doomed:
            return
        if self._polling is None:
            frames = self._frames
            if not frames:
                # `_mark`, without the call: the way of each message to a client.
                host = self._host
                if not host.dirty and not host.is_reading:
                    asyncio.get_running_loop().call_soon(host.flush)
                host.dirty.append(self)
            frames.append(frame or write_text_frame(message))
            if len(frames) >= FRAMES_A_WRITE:  # not all of a turn's (decision 0003)
                self.flush()
        else:
            if not self._polling.messages:
                self._mark()
            self._polling.put(message)
            if self._polling.size > FREE:
                self._lag(self._polling.size)

    def _mark(self) -> None:
        """See to it that `flush` is called when what was read is done."""
        host = self._host
        if not host.dirty and not host.is_reading:
            asyncio.get_running_loop().call_soon(host.flush)
        host.dirty.append(self)

    def flush(self) -> None:
        """Hand over what waits, if there is a way to."""
        if self._polling is not None:
            self._polling.flush()
            return
        frames = self._frames
        if not frames:
            return
        websocket = self._websocket
        assert websocket is not None
        self._frames = []
        if websocket.backlog():
            for frame in frames:  # each waits as the one object that others wait for, too
                websocket.write(frame)
        else:
            # One write is one system call; joining is spared the usual single frame.
            websocket.write(frames[0] if len(frames) == 1 else b"".join(frames))
        backlog = websocket.backlog()
        if backlog:
            self._lag(backlog)

    def backlog(self) -> int:
        """Count the bytes that wait for the client; none if it is gone."""
        if self.closed or self._is_doomed:
            return 0
        if self._polling is not None:
            return self._polling.size
        return 0 if self._websocket is None else self._websocket.backlog()

    def _lag(self, backlog: int) -> None:
        """Bound what waits for the client, for itself and among all."""
        if backlog > self._host.limits.backlog_bytes:
            self.cut_off()
        else:
            self._host.backlogs.note(self)

    # From the client

    def receive(self, message: bytes | Packet) -> None:  # noqa: C901, PLR0912 - hot: no call more
        """Handle one Engine.IO message; an invalid one closes the connection.

        Args:
            message: The message, or the packet that was read of it.
        """
        if self.closed or self._is_doomed:
            return  # the message came in one segment with a goodbye; a CONNECT would stay for ever
        host = self._host
        if isinstance(message, tuple):
            kind, namespace, ack, payload = message
            if len(payload) > host.limits.message_bytes - packets.LONGEST_HEAD:
                self.receive(packets.write_packet(kind, namespace, ack, payload))
                return
        else:
            if len(message) > host.limits.message_bytes:
                host.refusals["message_bytes"] += 1
                self.close("its message is too large")
                return
            if message[:1] != packets.MESSAGE:
                if self.spend(1):
                    self._receive_engine_message(message)
                return
            try:
                kind, namespace, ack, payload = parse_packet(message)
            except ProtocolError as error:
                self.close(str(error))
                return
        sid = self.sids.get(namespace)
        try:
            if sid is None or (kind is not _EVENT and kind is not _ACK):
                if self.spend(1):
                    host.control(self, kind, namespace, ack, payload)
            elif kind is _ACK:
                if not host.namespaces[namespace].acknowledged(sid, ack, payload):
                    self.spend(1)
            else:
                # Counted down, so that time is asked for only when the credit is used up.
                self._credit -= 1
                if self._credit < 0 and not self._earn_credit():
                    self._refuse_event(host.namespaces[namespace], sid, ack)
                else:
                    host.namespaces[namespace].received(sid, ack, payload)
        except Exception as exc:
            # Of a rule of access, or of this package. Where it would end, in asyncio or uvicorn,
            # it would be logged with its text.
            logger.error(
                "this hub failed at a packet of connection %s, which ends",
                self.id,
                exc_info=redacted(exc),
                extra={"connection_id": self.id},
            )
            self.close("the hub failed at its packet")

    def _receive_engine_message(self, message: bytes) -> None:
        """Handle a message that carries no Socket.IO packet."""
        kind = message[:1]
        if kind == packets.PONG:
            self.heard_at = asyncio.get_running_loop().time()
        elif kind == packets.PING:
            if message.isascii():
                self.send(packets.PONG + message[1:])
            else:
                self.close("a ping carries no text")
        elif kind == packets.CLOSE:
            self.has_said_goodbye = True
            self.probe()  # a poll that waits gets a noop, as Engine.IO's conformance suite wants
            self.close("the client closed it")
        elif kind == packets.BINARY and self._polling is not None:
            self.drop_binary(1)
        elif kind not in (packets.UPGRADE, packets.NOOP):
            self.close(f"no Engine.IO message begins with {kind!r}")

    def drop_binary(self, count: int) -> None:
        """Count so many binary messages, which nobody takes."""
        namespace = self._host.namespaces.get(next(iter(self.sids), RUNTIME))
        if namespace is not None:
            for _ in range(count):
                namespace.dropped("", "binary")

    def spend(self, packets: int) -> bool:
        """Count packets and frames that are no events; too many end the connection.

        Returns:
            Whether the connection goes on.
        """
        self._frame_credit -= packets
        if self._frame_credit >= 0:
            return True
        now = time.monotonic()
        earned = int((now - self._framed_at) * _FRAME_CREDIT)
        if earned > 0:
            self._frame_credit = min(self._frame_credit + earned, _FRAME_CREDIT)
            self._framed_at = now
        if self._frame_credit < 0:
            self._host.refusals["events_per_second"] += 1
            self.close("it sends too many packets a second")
        return not self.closed

    def _earn_credit(self) -> bool:
        """Take the credit of the time that has passed; say whether it is enough for one event."""
        now, rate = time.monotonic(), self._host.limits.events_per_second
        earned = int((now - self._credited_at) * rate)
        if earned > 0:
            self._credit = min(self._credit + earned, rate * 2)
            self._credited_at = now
        return self._credit >= 0

    def _refuse_event(self, namespace: Namespace, sid: str, ack: int | None) -> None:
        """Refuse an event that there is no credit for."""
        self._host.refusals["events_per_second"] += 1
        self._credit = 0
        if ack is None:
            self.close("it sends too many events a second")
        else:
            most = self._host.limits.events_per_second
            namespace.refused(sid, ack, Overloaded(f"a client may send {most} events a second"))

    # The transport

    async def poll(self, wait: float) -> bytes:
        """Answer a poll: with what waits, or with what comes; a noop if the transport changes.

        Args:
            wait: Seconds until the answer is a noop.

        Returns:
            The body of the answer.

        Raises:
            ProtocolError: Another poll waits already.
        """
        if self._polling is None:
            return packets.NOOP
        try:
            return await self._polling.poll(wait)
        except ProtocolError:
            self.close("two polls at once")
            raise

    def probe(self) -> None:
        """Hold what is to be sent: a websocket is tried out, and may become the transport."""
        if self._polling is not None:
            self._polling.hold()

    def unprobe(self) -> None:
        """Go on polling: the websocket that was tried out is gone."""
        if self._polling is not None:
            self._polling.release()

    def attach(self, websocket: WebSocket) -> None:
        """Be on a websocket from now on."""
        if self._polling is not None:
            self._frames = [write_text_frame(message) for message in self._polling.end()]
            self._polling = None
        self._websocket = websocket
        self.flush()

    # The end

    def close(self, reason: str) -> None:
        """End the connection, from whichever side; safe to call twice."""
        if self.closed:
            return
        self.closed = True
        logger.debug(
            "connection %s ended: %s",
            self.id,
            reason,
            extra={"connection_id": self.id, "reason": reason},
        )
        if self._polling is not None:
            self._polling.close()
        self._frames.clear()
        if self._websocket is not None:
            self._websocket.close(reason[:_LONGEST_REASON])
        self._host.forget(self)

    def close_soon(self, reason: str) -> None:
        """End the connection when what waits has been sent; a poll fetches it a moment later."""
        loop = asyncio.get_running_loop()
        if self._websocket is not None:
            loop.call_soon(self.close, reason)
        else:
            loop.call_later(_LAST_POLL_SECONDS, self.close, reason)

    def cut_off(self) -> None:
        """End the connection of a client that reads too slowly."""
        # On the next turn: the caller may be sending to several, this client among them.
        if not self._is_doomed:
            self._is_doomed = True
            self._host.refusals["backlog_bytes"] += 1
            asyncio.get_running_loop().call_soon(self.close, "it reads too slowly")


class _Polling:
    """The transport of a client that polls: messages wait for its next poll, or a poll for them.

    Args:
        max_bytes: The bytes of an answer, unless its only message is larger.

    Invariant: `size` is the sum of the bytes of `messages`. While a poll waits, there are
    `messages` only until the next `flush`, or while they are held.

    Attributes:
        messages: Engine.IO messages to be sent.
        size: Their bytes.
    """

    __slots__ = ("_is_held", "_max_bytes", "_waiting_poll", "messages", "size")

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self.messages: deque[bytes] = deque()
        self.size = 0
        self._waiting_poll: asyncio.Future[bytes] | None = None
        self._is_held = False

    def put(self, message: bytes) -> None:
        """Add a message."""
        self.messages.append(message)
        self.size += len(message)

    def flush(self) -> None:
        """Answer the poll that waits, if there are messages for it."""
        if self.messages and not self._is_held:
            self._answer(otherwise=packets.NOOP)

    async def poll(self, wait: float) -> bytes:
        """Answer a poll; see `Connection.poll`."""
        if self._waiting_poll is not None:
            raise ProtocolError("another poll is waiting")
        if self._is_held:
            return packets.NOOP
        if self.messages:
            return self._take()
        self._waiting_poll = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(wait):
                return await self._waiting_poll
        except TimeoutError:
            return packets.NOOP
        finally:
            self._waiting_poll = None

    def hold(self) -> None:
        """Keep messages until `release` or `end`; the poll that waits is answered."""
        self._is_held = True
        self._answer(otherwise=packets.NOOP)

    def release(self) -> None:
        """Hold messages no longer."""
        self._is_held = False
        self.flush()

    def end(self) -> list[bytes]:
        """Answer the poll that waits, and give back the messages that are left."""
        self._answer(otherwise=packets.NOOP)
        return list(self.messages)

    def close(self) -> None:
        """Answer the poll that waits with a goodbye, and forget the messages."""
        self.messages.clear()
        self.size = 0
        self._answer(otherwise=packets.CLOSE)

    def _answer(self, *, otherwise: bytes) -> None:
        """Answer the poll that waits, if one does: with messages, or otherwise."""
        poll = self._waiting_poll
        if poll is not None and not poll.done():
            poll.set_result(self._take() if self.messages else otherwise)

    def _take(self) -> bytes:
        """Take what one body may hold; the next poll comes at once for the rest."""
        messages, size = self.messages, 0
        body: list[bytes] = []
        while messages and len(body) < _POLL_MESSAGES:
            size += len(messages[0]) + 1
            if body and size > self._max_bytes:
                break
            body.append(messages.popleft())
            self.size -= len(body[-1])
        return packets.join_polling(body)
