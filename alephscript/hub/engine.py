"""The hub's own Engine.IO and Socket.IO session, above any websocket library and below the mesh.

A `Connection` is one client, whatever its transport is at the moment. What is put to it waits
until what was read is done and leaves in one write, to the websocket or to the poll that
waits. A packet is handled in the call that brings it: no task, no queue, no timer of its own.

Knows sockets by two words only: a `WebSocket` that takes framed bytes, and a waiting poll.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import logging
import secrets
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import attrs
import msgspec

from alephscript.errors import InvalidPayload, Overloaded, RequestError
from alephscript.hub.admission import identify
from alephscript.hub.carrier import Carrier
from alephscript.links.deadlines import Deadlines
from alephscript.mesh.access import Access, Handshake, Identity, Refusal
from alephscript.mesh.effects import Acknowledge
from alephscript.mesh.limits import DEFAULT_LIMITS, Limits
from alephscript.mesh.mesh import Mesh
from alephscript.protocol import packets
from alephscript.protocol.json import parse_json
from alephscript.protocol.packets import Kind, ProtocolError
from alephscript.protocol.websocket import FRAMES_A_WRITE, write_text_frame

__all__ = ["Connection", "Engine", "WebSocket"]

logger = logging.getLogger("alephscript.hub")

_LAST_POLL_SECONDS = 1.0
_LONGEST_REASON = 40
"""Characters; a close frame takes 123 bytes."""
_NOOP = packets.NOOP
_POLL_MESSAGES = 16
"""A python-engineio client drops a body of more messages than this, all of it."""


class WebSocket(Protocol):
    """What the session needs of a websocket."""

    def write(self, data: bytes) -> None:
        """Send framed bytes, without waiting."""
        ...

    def backlog(self) -> int:
        """Bytes written that the peer has not taken yet."""
        ...

    def close(self, reason: str = "") -> None:
        """Close it, at once if it is stuck; a reason of few words is told the peer."""
        ...


class Namespace(Protocol):
    """A namespace, as the session sees it."""

    def joined(self, sid: str, connection: Connection, identity: Identity | None) -> None:
        """A socket is in it from now on; whose, if the hub asks that."""
        ...

    def left(self, sid: str) -> None:
        """It is not any more, however it went."""
        ...

    def received(self, sid: str, ack: int | None, payload: bytes) -> None:
        """It sent an event: the JSON text of an array, unchecked."""
        ...

    def acknowledged(self, sid: str, ack: int | None, payload: bytes) -> None:
        """It acknowledged one."""
        ...

    def refused(self, sid: str, ack: int | None, error: RequestError) -> None:
        """It sent what is not taken."""
        ...

    def close(self) -> None:
        """The hub is closing."""
        ...


class Engine:
    """All connections of a hub.

    Args:
        meshes: By namespace.
        ping_interval: Seconds between heartbeats.
        ping_timeout: Seconds that a client may take to answer one.
        limits: What one client may take of it.
        access: Who may come in; None lets in everybody.

    Attributes:
        refusals: How often something was refused, by what was wrong.
        carriers: The meshes at work, by namespace.
        namespaces: Those, and whatever else there is to join.
        sid_prefix: What socket ids begin with, where there are several hubs.
        connection: The class of a client.
        is_reading: Whether a websocket's messages are being handed over; whoever does that calls
            `flush` after the last of them, which spares the loop a turn.
        why_unready: Says why no clients should be sent here just now, None if they may come.
    """

    def __init__(
        self,
        meshes: Mapping[str, Mesh],
        *,
        ping_interval: float,
        ping_timeout: float,
        limits: Limits = DEFAULT_LIMITS,
        access: Access | None = None,
    ) -> None:
        self.limits = limits
        self.access = access
        self.refusals: Counter[str] = Counter()
        self.sid_prefix = ""
        self.connection = Connection
        self.why_unready: Callable[[], str | None] = lambda: None
        self.ping_interval = ping_interval
        self.ping_timeout = ping_timeout
        self.connections: dict[str, Connection] = {}
        self.meshes = meshes
        self.carriers = {namespace: _Carrier(mesh) for namespace, mesh in meshes.items()}
        self.namespaces: dict[str, Namespace] = {**self.carriers}
        self._began = time.monotonic()
        self._asking: set[asyncio.Task[None]] = set()
        self._expiries: Deadlines[Connection] = Deadlines(_expire)
        self._dirty: list[Connection] = []
        self.is_reading = False
        self._heart: asyncio.TimerHandle | None = None
        self._to_ping: deque[tuple[float, Connection]] = deque()
        self._to_hear: deque[tuple[float, Connection]] = deque()
        self._to_join: deque[tuple[float, Connection]] = deque()

    @property
    def is_full(self) -> bool:
        """Whether no further client is taken."""
        return len(self.connections) >= self.limits.connections

    def open(
        self, handshake: Handshake | None = None, *, upgrades: tuple[str, ...] = ()
    ) -> Connection:
        """A new connection, its handshake waiting to be sent.

        Args:
            handshake: How it came about; needed only where there is an `Access`.
            upgrades: The transports that it may change to.
        """
        connection = self.connection(self, secrets.token_urlsafe(15), handshake)
        self.connections[connection.id] = connection
        connection.send(
            packets.open_packet(
                connection.id,
                upgrades=upgrades,
                ping_interval=self.ping_interval,
                ping_timeout=self.ping_timeout,
                max_bytes=self.limits.message_bytes,
            )
        )
        loop = asyncio.get_running_loop()
        self._to_ping.append((loop.time() + self.ping_interval, connection))
        self._to_join.append((loop.time() + self.limits.join_seconds, connection))
        if self._heart is None:
            self._heart = loop.call_later(self._beat_seconds(), self._beat)
        return connection

    def close(self) -> None:
        """Close every connection; clients see a transport that went, and come again."""
        if self._heart is not None:
            self._heart.cancel()
            self._heart = None
        for connection in list(self.connections.values()):
            connection.close("the hub is closing")
        for namespace in self.namespaces.values():
            namespace.close()
        for task in self._asking:
            task.cancel()
        self._expiries.close()
        self._to_ping.clear()
        self._to_hear.clear()
        self._to_join.clear()

    def take_requests(self, *, take: bool) -> None:
        """Whether requests are taken; those that are open may end."""
        for mesh in self.meshes.values():
            mesh.requests.closing = not take

    def inhabit(self, name: str, namespace: Namespace) -> None:
        """Serve a further namespace."""
        self.namespaces[name] = namespace

    @property
    def in_flight(self) -> int:
        """How many requests wait for an answer."""
        return sum(len(mesh.requests) for mesh in self.meshes.values())

    @property
    def why_not_ready(self) -> str | None:
        """Why no clients should be sent here just now; None if they may come."""
        if any(mesh.requests.closing for mesh in self.meshes.values()):
            return "draining"
        return "full" if self.is_full else self.why_unready()

    def snapshot(self) -> dict[str, Any]:
        """What is going on, as plain data: see docs/reference/hub.md, "GET /mesh"."""
        return {
            "hub": {
                "version": importlib.metadata.version("alephscript"),
                "uptime": time.monotonic() - self._began,
                "clients": len(self.connections),
                "refusals": dict(self.refusals),
            },
            "namespaces": {
                namespace: {
                    "clients": carrier.mesh.clients,
                    "in_flight": len(carrier.mesh.requests),
                    "late_answers": carrier.mesh.late_answers,
                    "capabilities": carrier.meter.snapshot(),
                }
                for namespace, carrier in self.carriers.items()
            },
        }

    def mark(self, connection: Connection) -> None:
        """Remember a connection that has something to send when what was read is done."""
        if not self._dirty and not self.is_reading:
            asyncio.get_running_loop().call_soon(self.flush)
        self._dirty.append(connection)

    def flush(self) -> None:
        """Send what waits to be sent."""
        dirty, self._dirty = self._dirty, []
        for connection in dirty:
            connection.flush()

    def control(
        self, connection: Connection, kind: Kind, namespace: str, ack: int | None, payload: bytes
    ) -> None:
        """A packet came that is no event and no acknowledgement, or for where one is not joined."""
        sid = connection.sids.get(namespace)
        if sid is None:
            # Whoever is not joined there hears nothing, as from stock hubs.
            if kind is Kind.CONNECT:
                self._connect(connection, namespace, payload)
            return
        inhabited = self.namespaces[namespace]
        if kind is Kind.DISCONNECT:
            del connection.sids[namespace]
            inhabited.left(sid)
        elif kind is Kind.BINARY_EVENT:
            error = InvalidPayload("binary payloads are not accepted; send JSON")
            inhabited.refused(sid, ack, error)
        elif kind is Kind.BINARY_ACK:
            inhabited.acknowledged(sid, ack, b"[]")
        elif kind is Kind.CONNECT_ERROR:
            connection.close("a client sends no CONNECT_ERROR")

    def gone(self, connection: Connection) -> None:
        """A connection has ended: nothing of it stays."""
        self.connections.pop(connection.id, None)
        self._expiries.forget(connection)
        for namespace, sid in connection.sids.items():
            self.namespaces[namespace].left(sid)
        connection.sids.clear()

    def _connect(self, connection: Connection, namespace: str, payload: bytes) -> None:
        inhabited = self.namespaces.get(namespace)
        if inhabited is None:
            self._refuse(connection, namespace, "Invalid namespace")
        elif namespace in connection.joining:
            pass
        elif self.access is None:
            self._join(connection, namespace, inhabited, None)
        else:
            assert connection.handshake is not None  # whoever opens it for an `Access` says how
            handshake = attrs.evolve(connection.handshake, namespace=namespace)
            connection.joining |= {namespace}
            asking = self._ask_access(connection, inhabited, self.access, payload, handshake)
            task = asyncio.get_running_loop().create_task(asking)
            self._asking.add(task)
            task.add_done_callback(self._asking.discard)

    async def _ask_access(
        self,
        connection: Connection,
        inhabited: Namespace,
        access: Access,
        payload: bytes,
        handshake: Handshake,
    ) -> None:
        """Let somebody in, or not; whoever takes too long is cut off as one that never joins."""
        try:
            said = parse_json(payload) if payload else None
        except RequestError:
            verdict: Identity | Refusal = Refusal()
        else:
            verdict = await identify(access, said, handshake)
        namespace = handshake.namespace
        connection.joining -= {namespace}
        if connection.closed:
            return
        if isinstance(verdict, Refusal):
            self._refuse(connection, namespace, verdict.reason)
            self.refusals["unauthorized"] += 1
            if not connection.sids:
                connection.close_soon("it was not let in")
            return
        self._join(connection, namespace, inhabited, verdict)
        if verdict.expires_at is not None:
            self._expiries.set(connection, max(0.0, verdict.expires_at - time.time()))

    def _join(
        self,
        connection: Connection,
        namespace: str,
        inhabited: Namespace,
        identity: Identity | None,
    ) -> None:
        sid = connection.sids[namespace] = self.sid_prefix + secrets.token_urlsafe(15)
        accepted = msgspec.json.encode({"sid": sid})
        connection.send(packets.write_packet(Kind.CONNECT, namespace, payload=accepted))
        inhabited.joined(sid, connection, identity)

    def _refuse(self, connection: Connection, namespace: str, reason: str) -> None:
        refusal = msgspec.json.encode({"message": reason})
        connection.send(packets.write_packet(Kind.CONNECT_ERROR, namespace, payload=refusal))

    def too_many(
        self, connection: Connection, inhabited: Namespace, sid: str, ack: int | None
    ) -> None:
        """An event came that one has no credit for."""
        self.refusals["events_per_second"] += 1
        connection.credit = 0
        if ack is None:
            connection.close("it sends too many events a second")
        else:
            most = self.limits.events_per_second
            inhabited.refused(sid, ack, Overloaded(f"a client may send {most} events a second"))

    def _beat_seconds(self) -> float:
        return min(1.0, self.ping_interval / 4, self.ping_timeout / 4, self.limits.join_seconds / 4)

    def _beat(self) -> None:
        """Ping whose turn it is, and end who did not answer; two queues in order of time."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        while self._to_hear and self._to_hear[0][0] + self.ping_timeout <= now:
            pinged_at, connection = self._to_hear.popleft()
            if connection.heard_at < pinged_at:
                self.refusals["ping_timeout"] += 1
                connection.close("the client does not answer its ping")
        while self._to_join and self._to_join[0][0] <= now:
            _, connection = self._to_join.popleft()
            if not connection.sids:
                self.refusals["join_seconds"] += 1
                connection.close("the client joins no namespace")
        while self._to_ping and self._to_ping[0][0] <= now:
            _, connection = self._to_ping.popleft()
            if connection.closed:
                continue
            connection.send(packets.PING)
            self._to_hear.append((now, connection))
            self._to_ping.append((now + self.ping_interval, connection))
        self._heart = (
            loop.call_later(self._beat_seconds(), self._beat) if self.connections else None
        )


class Connection:
    """One client.

    Attributes:
        id: Engine.IO's id of it.
        sids: Socket.IO's ids of it, by namespace.
        closed: Whether it has ended.
        heard_at: When it last answered a ping, in the loop's time.
        opened_at: When it was opened, seconds since 1970.
        upgraded: Whether it is on a websocket for good.
        handshake: How it came about, if anybody asks that.
        joining: The namespaces that it is about to be let into.
        credit: Events that it may send before time has to pass.
    """

    __slots__ = (
        "_credited_at",
        "_doomed",
        "_engine",
        "_out",
        "_poll",
        "_upgrading",
        "_waiting",
        "_websocket",
        "closed",
        "credit",
        "handshake",
        "heard_at",
        "id",
        "joining",
        "opened_at",
        "sids",
        "upgraded",
    )

    def __init__(self, engine: Engine, connection_id: str, handshake: Handshake | None) -> None:
        self.id = connection_id
        self.handshake = handshake
        self.joining: frozenset[str] = frozenset()
        self.credit = engine.limits.events_per_second * 2
        self._credited_at = time.monotonic()
        self.sids: dict[str, str] = {}
        self.closed = False
        self.heard_at = 0.0
        self.opened_at = time.time()
        self.upgraded = False
        self._engine = engine
        self._out: list[bytes] = []  # frames on a websocket, else messages
        self._waiting = 0  # bytes in _out, as long as they are messages
        self._websocket: WebSocket | None = None
        self._poll: asyncio.Future[bytes] | None = None
        self._upgrading = False
        self._doomed = False

    def send(self, message: bytes, frame: bytes | None = None) -> None:
        """Send a message when what was read is done; over the bound, the client is cut off.

        Args:
            message: An Engine.IO message.
            frame: The same as one unmasked websocket text frame, if it was made for others, too.
        """
        if self.closed or self._doomed:
            return
        out = self._out
        if not out:
            self._engine.mark(self)
        if self._websocket is None:
            out.append(message)
            self._waiting += len(message)
            if self._waiting > self._engine.limits.backlog_bytes:
                self._cut()
        else:
            out.append(frame or write_text_frame(message))
            if len(out) >= FRAMES_A_WRITE:
                self.flush()

    def flush(self) -> None:
        """Hand over what waits, if there is a way to."""
        out = self._out
        if not out or self.closed or self._upgrading:
            return
        websocket = self._websocket
        if websocket is not None:
            self._out = []
            websocket.write(out[0] if len(out) == 1 else b"".join(out))
            if websocket.backlog() > self._engine.limits.backlog_bytes:
                self._cut()
        elif self._poll is not None and not self._poll.done():
            self._poll.set_result(self._take())

    def receive(self, message: bytes) -> None:
        """An Engine.IO message came; what is none ends the connection."""
        if self.closed:
            return  # it came in one segment with a goodbye; whoever joined now would never leave
        engine = self._engine
        if len(message) > engine.limits.message_bytes:
            engine.refusals["message_bytes"] += 1
            self.close("its message is too large")
            return
        if message[:1] != packets.MESSAGE:
            self._control(message)
            return
        try:
            kind, namespace, ack, payload = packets.parse_packet(message)
        except ProtocolError as error:
            self.close(str(error))
            return
        sid = self.sids.get(namespace)
        if sid is None or (kind is not Kind.EVENT and kind is not Kind.ACK):
            engine.control(self, kind, namespace, ack, payload)
        elif kind is Kind.ACK:
            engine.namespaces[namespace].acknowledged(sid, ack, payload)
        else:
            self.credit -= 1
            if self.credit < 0 and not self.earn():
                engine.too_many(self, engine.namespaces[namespace], sid, ack)
            else:
                engine.namespaces[namespace].received(sid, ack, payload)

    def _control(self, message: bytes) -> None:
        """A message that carries no packet."""
        kind = message[:1]
        if kind == packets.PONG:
            self.heard_at = asyncio.get_running_loop().time()
        elif kind == packets.PING:
            if message.isascii():
                self.send(packets.PONG + message[1:])
            else:
                self.close("a ping carries no text")
        elif kind == packets.CLOSE:
            self.close("the client closed it")
        elif kind not in (packets.UPGRADE, packets.NOOP):
            self.close(f"no Engine.IO message begins with {kind!r}")

    def attach(self, websocket: WebSocket) -> None:
        """Be on a websocket from now on."""
        self._end_poll()
        self._websocket = websocket
        self.upgraded = True
        self._upgrading = False
        self._out = [write_text_frame(message) for message in self._out]
        self.flush()

    def probe(self) -> None:
        """A websocket was tried out: hold what is to be sent until it is clear where to."""
        self._upgrading = True
        self._end_poll()

    def unprobe(self) -> None:
        """The try came to nothing: polling goes on."""
        self._upgrading = False
        self.flush()

    async def poll(self, wait: float) -> bytes:
        """The body of a poll: what waits, or what comes; a noop when the transport changes.

        Raises:
            ProtocolError: Another poll waits already.
        """
        if self._poll is not None:
            self.close("two polls at once")
            raise ProtocolError("another poll is waiting")
        if self.upgraded or self._upgrading:
            return _NOOP
        if self._out:
            return self._take()
        self._poll = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(wait):
                return await self._poll
        except TimeoutError:
            return _NOOP
        finally:
            self._poll = None

    def close(self, reason: str) -> None:
        """End it, from whichever side; safe to call twice."""
        if self.closed:
            return
        self.closed = True
        logger.debug(
            "connection %s ended: %s",
            self.id,
            reason,
            extra={"connection_id": self.id, "reason": reason},
        )
        if self._poll is not None and not self._poll.done():
            self._poll.set_result(packets.CLOSE)
        self._out.clear()
        if self._websocket is not None:
            self._websocket.close(reason[:_LONGEST_REASON])
        self._engine.gone(self)

    def close_soon(self, reason: str) -> None:
        """End it when what waits has been sent; a poll fetches it a moment later."""
        loop = asyncio.get_running_loop()
        if self._websocket is not None:
            loop.call_soon(self.close, reason)
        else:
            loop.call_later(_LAST_POLL_SECONDS, self.close, reason)

    def earn(self) -> bool:
        """Take the credit of the time that has passed, and whether that is enough for one event."""
        now, rate = time.monotonic(), self._engine.limits.events_per_second
        earned = int((now - self._credited_at) * rate)
        if earned > 0:
            self.credit = min(self.credit + earned, rate * 2)
            self._credited_at = now
        return self.credit >= 0

    def _cut(self) -> None:
        # On the next turn: whoever is sending just now may have more for it and for others.
        if not self._doomed:
            self._doomed = True
            self._engine.refusals["backlog_bytes"] += 1
            asyncio.get_running_loop().call_soon(self.close, "it reads too slowly")

    def _take(self) -> bytes:
        """What a poll's body holds of what waits; the next poll comes at once for the rest."""
        out, self._out = self._out[:_POLL_MESSAGES], self._out[_POLL_MESSAGES:]
        self._waiting = sum(map(len, self._out))
        return packets.join_polling(out)

    def _end_poll(self) -> None:
        if self._poll is not None and not self._poll.done():
            self._poll.set_result(self._take() if self._out else _NOOP)


class _Carrier(Carrier):
    """One namespace's mesh, on connections."""

    def __init__(self, mesh: Mesh) -> None:
        super().__init__(mesh)
        self._connections: dict[str, Connection] = {}
        self._event = packets.packet_head(Kind.EVENT, mesh.namespace)
        self._ack = packets.packet_head(Kind.ACK, mesh.namespace)

    def joined(self, sid: str, connection: Connection, identity: Identity | None) -> None:
        self._connections[sid] = connection
        self.carry(self.mesh.connected(sid, connection.id, identity))

    def left(self, sid: str) -> None:
        del self._connections[sid]
        self.carry(self.mesh.disconnected(sid))

    def received(self, sid: str, ack: int | None, payload: bytes) -> None:
        try:
            name, args = packets.split_event(payload)
        except RequestError as error:
            self.refused(sid, ack, error)
        else:
            self.carry(self.mesh.received(sid, name, args, ack))

    def refused(self, sid: str, ack: int | None, error: RequestError) -> None:
        self.carry(self.mesh.refused(sid, ack, error))

    def acknowledged(self, sid: str, ack: int | None, payload: bytes) -> None:
        if ack is None:
            return
        try:
            values = packets.split_values(payload)
        except RequestError as error:
            values = [msgspec.Raw(_encode(error.answer()))]
        self.carry(self.mesh.acknowledged(sid, ack, values))

    def emit(self, to: Iterable[str], event: str, args: tuple[Any, ...]) -> None:
        message = self._event + _encode((event, *args))
        frame = write_text_frame(message)
        connections = self._connections
        for sid in to:
            connections[sid].send(message, frame)

    def ask(self, to: str, event: str, args: tuple[Any, ...], request: int) -> None:
        payload = _encode((event, *args))
        self._connections[to].send(b"%b%d%b" % (self._event, request, payload))

    def acknowledge(self, effect: Acknowledge) -> None:
        payload = _encode((effect.answer,))
        self._connections[effect.sid].send(b"%b%d%b" % (self._ack, effect.ack, payload))


def _expire(connection: Connection) -> None:
    connection.close("its identity has expired")


# What is unread stays the bytes it came as; all values here came from the wire, so are its own.
_encode = msgspec.json.Encoder().encode
