"""A visitor: an asker or a listener by HTTP, as a peer of the mesh.

A visitor comes with a request and goes with it (decision 0048). To the mesh it is a native peer
like all others, so that rules of access, limits, deadlines, what is cancelled and what is counted
are the same. A visitor has no connection: messages of the mesh are kept here until the request's
answer takes them, as long as they are not too many.

May go in: being a peer, without a socket. May not: what is asked or heard (`asking`, `listening`),
or how it is written (`responder`).
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import secrets
import time
from collections import deque
from collections.abc import Mapping
from enum import Enum, auto
from types import TracebackType
from typing import Any, NamedTuple, Self

import msgspec

from alephscript.errors import AlephScriptError, UnknownCapability, error_from_answer
from alephscript.hub.backlogs import FREE
from alephscript.hub.engine import Engine
from alephscript.mesh.access import Identity
from alephscript.protocol import events, packets
from alephscript.protocol.events import HubEvent
from alephscript.protocol.json import read_value, write_json
from alephscript.protocol.packets import Kind

__all__ = ["End", "Heard", "VisitEnded", "Visitor"]

_USUARIO = "http"
"""The name of visitors that have no proven one."""

_LOOK_SECONDS = 0.02
"""Seconds in which a client that reads has taken a large event; see `alephscript.hub.backlogs`."""

_ACK = 1
"""The acknowledgement id of all questions: there is one at a time."""

_NOTHING = msgspec.Raw(b"null")


class End(Enum):
    """Why a visit ended before its answer."""

    HUNG_UP = auto()
    SLOW = auto()
    EXPIRED = auto()
    CLOSING = auto()


class VisitEnded(AlephScriptError):
    """A visit ended before its answer.

    Attributes:
        end: Why.
    """

    def __init__(self, end: End) -> None:
        super().__init__(end)
        self.end = end


class Heard(NamedTuple):
    """What the mesh has sent: an event, or, without a name, the answer to what was asked."""

    event: str
    data: msgspec.Raw
    meta: Mapping[str, Any]

    def outcome(self) -> dict[str, Any]:
        """Return an answer that is a success.

        Raises:
            RequestError: The answer is a failure.
        """
        answer: dict[str, Any] = read_value(self.data)
        if events.is_failure(answer):
            raise error_from_answer(answer)
        return answer


class Visitor:
    """A peer of ``/runtime`` without a connection (`alephscript.hub.namespace.Recipient`).

    ::

        async with Visitor(engine, identity) as visitor:
            visitor.join()

    Leaving the block takes the visitor out of the mesh, which cancels what it has asked.

    Args:
        engine: The hub.
        identity: The visitor's identity; None where the hub has no `Access`.

    Raises:
        VisitEnded: Out of the block, where the visit has ended meanwhile.

    Attributes:
        id: See `Recipient`.
        sid: Its socket id.
    """

    def __init__(self, engine: Engine, identity: Identity | None) -> None:
        self.id = secrets.token_urlsafe(15)
        self.sid = engine.entrance.sid_prefix + secrets.token_urlsafe(15)
        self._engine = engine
        self._identity = identity
        self._carrier = engine.carriers[events.RUNTIME]
        self._inbox: deque[tuple[Kind, bytes]] = deque()
        self._size = 0  # bytes of events in the inbox
        self._wakes = asyncio.Event()
        self._life = asyncio.timeout(None)
        self._end: End | None = None
        self._is_joined = False
        self._is_lagging = False
        self._began = time.monotonic()

    async def __aenter__(self) -> Self:
        self._engine.visitors[self.sid] = self._close
        await self._life.__aenter__()
        expires_at = None if self._identity is None else self._identity.expires_at
        if expires_at is not None:
            now = asyncio.get_running_loop().time()
            self._life.reschedule(now + max(0.0, expires_at - time.time()))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._leave()
        try:
            await self._life.__aexit__(kind, exc, traceback)
        except TimeoutError:
            raise VisitEnded(self._end or End.EXPIRED) from None
        finally:
            self._end = self._end or End.HUNG_UP  # nobody listens any more
            self._engine.visitors.pop(self.sid, None)

    def end(self, end: End) -> None:
        """End the visit, from whichever side; safe to call twice."""
        if self._end is None:
            self._end = end
            self._leave()
            if not self._life.expired():
                self._life.reschedule(asyncio.get_running_loop().time())

    def _close(self, _: str) -> None:
        """End the visit because the hub is closing, unless its answer is there."""
        if all(kind is Kind.EVENT for kind, _ in self._inbox):
            self.end(End.CLOSING)

    def _leave(self) -> None:
        if self._is_joined:
            self._is_joined = False
            self._carrier.left(self.sid, "disconnected")
        self._inbox.clear()
        self._size = 0

    # To the mesh

    def join(self) -> None:
        """Become a peer.

        Raises:
            RequestError: The hub keeps nothing for one more.
        """
        self._is_joined = True
        self._carrier.joined(self.sid, self, self._identity)
        registration = {"usuario": _USUARIO, "protocol": events.PROTOCOL}
        self.ask(HubEvent.CLIENT_REGISTER, registration)
        _, payload = self._inbox.popleft()  # the mesh answers this at once
        Heard("", msgspec.Raw(payload[1:-1]), {}).outcome()

    def ask(self, event: str, payload: Any, meta: Mapping[str, Any] | None = None) -> None:
        """Send an event; `hear` brings its answer. There is one question at a time.

        Args:
            event: The event's name.
            payload: Its payload, JSON values or unread.
            meta: Its meta.
        """
        args = (payload,) if meta is None else (payload, meta)
        self._carrier.received(self.sid, _ACK, _encode((event, *args)))

    def grant(self, parts: int) -> None:
        """Let the master that is asked send so many further parts of its answer."""
        grant = {"request": _ACK, "parts": parts}
        self._carrier.received(self.sid, None, _encode((HubEvent.REQUEST_MORE, grant)))

    # From the mesh

    def send(self, message: bytes, frame: bytes | None = None) -> None:  # noqa: ARG002 - a protocol's
        """See `Recipient`."""
        if self._end is not None:
            return
        kind, _, ack, payload = packets.parse_packet(message)
        if kind is Kind.EVENT and ack is not None:
            # On the next turn: the mesh is carrying out effects just now.
            asyncio.get_running_loop().call_soon(self._describe_itself, ack, payload)
            return
        self._inbox.append((kind, payload))
        self._wakes.set()
        if kind is Kind.EVENT:
            self._size += len(payload)
            if self._size > FREE:
                self._lag()

    async def hear(self, seconds: float | None = None) -> Heard | None:
        """Wait for what the mesh sends next; None if nothing comes within so many seconds."""
        while not self._inbox:
            self._wakes.clear()
            try:
                async with asyncio.timeout(seconds):
                    await self._wakes.wait()
            except TimeoutError:
                return None
        kind, payload = self._inbox.popleft()
        if kind is not Kind.EVENT:
            return Heard("", msgspec.Raw(payload[1:-1]), {})
        self._size -= len(payload)
        name, args = packets.split_event(payload)
        meta = read_value(args[1]) if len(args) > 1 else {}
        return Heard(name, args[0] if args else _NOTHING, meta)

    async def answer(self) -> dict[str, Any]:
        """Wait for the answer to what was asked, past all events.

        Raises:
            RequestError: The answer is a failure.
        """
        while True:
            heard = await self.hear()
            assert heard is not None
            if not heard.event:
                return heard.outcome()

    def _describe_itself(self, ack: int, payload: bytes) -> None:
        """Answer what every native peer answers about itself."""
        if not self._is_joined:
            return
        event, _ = packets.split_event(payload)
        name = (self._identity and self._identity.usuario) or _USUARIO
        answer = events.make_success({"usuario": name, "sesion": ""})
        match event:
            case HubEvent.GET_MEMBER_PING:
                answer = events.make_success()
            case HubEvent.GET_MEMBER_STATS:
                answer |= {"capabilities": {}}
            case HubEvent.GET_MEMBER_INFO:
                answer |= {
                    "version": importlib.metadata.version("alephscript"),
                    "capabilities": [],
                    "summary": "Somebody who asks or listens by HTTP.",
                    "uptimeMs": round((time.monotonic() - self._began) * 1000),
                }
            case _:
                answer = UnknownCapability("who asks by HTTP is asked nothing").answer()
        self._carrier.acknowledged(self.sid, ack, write_json([answer]))

    # Laggard

    def backlog(self) -> int:
        """Count the bytes that wait."""
        return self._size

    def cut_off(self) -> None:
        """End a visit whose client reads too slowly."""
        self.end(End.SLOW)

    def _lag(self) -> None:
        """Bound what waits for the client, for itself and among all."""
        self._engine.backlogs.note(self)
        if not self._is_lagging and self._size > self._engine.limits.backlog_bytes:
            self._is_lagging = True
            asyncio.get_running_loop().call_later(_LOOK_SECONDS, self._look)

    def _look(self) -> None:
        self._is_lagging = False
        if self._size > self._engine.limits.backlog_bytes:
            self.cut_off()


# What is unread stays the bytes it came as.
_encode = msgspec.json.Encoder().encode
