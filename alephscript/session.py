"""One registered connection to a hub, from handshake to loss, in whichever dialect the hub speaks.

Our hub acknowledges everything. A stock hub acknowledges nothing: there a question goes out in
ROOM_MESSAGE and its answer is a SET_ event that the whole room sees, so questions of one name
are asked one at a time and marked with a ``requestId``. Which of the two it is shows in whether
the registration is acknowledged.

A session is never reused: what belongs to a link dies with it. Reconnecting is the client's.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

from alephscript import wire
from alephscript.errors import (
    AmbiguousRoom,
    Closed,
    ConnectionRefused,
    DeadlineExceeded,
    LinkLost,
    NotConnected,
    NotSubscribed,
    RequestError,
    error_from_answer,
)
from alephscript.transport import Link, Pending, Transport
from alephscript.wire import Answer, HubEvent

__all__ = ["Incoming", "Session"]

logger = logging.getLogger("alephscript.client")

_SILENCE = 1.0
"""Seconds after which a hub that has not acknowledged the registration is a stock one."""


class Incoming:
    """Something the hub sent: an event of a room, or a request to serve.

    Attributes:
        event: Name of the event.
        data: Its data, without the envelope that stock hubs wrap around a request.
        room: The room, empty where the hub does not say.
        sender: Who said or asks it, empty where the hub does not say.
        id: A request's number, empty where there is none.
        seconds: How long the asker waits, None if it does not say.
    """

    __slots__ = ("ack", "data", "event", "id", "own_id", "room", "seconds", "sender")

    def __init__(self, event: str, args: Sequence[Any], ack: int | None) -> None:
        meta = args[1] if len(args) > 1 and isinstance(args[1], dict) else {}
        self.event = event
        self.ack = ack
        self.data: Any = args[0] if args else None
        self.room = _text(meta.get("room"))
        self.sender = _text(meta.get("sender", meta.get("caller")))
        self.id = _text(meta.get("id"))
        self.own_id: Any = None
        timeout: Any = meta.get("timeoutMs")
        self.seconds = timeout / 1000 if type(timeout) in (int, float) else None

    def unwrap(self) -> None:
        """Take a stock hub's envelope off a request."""
        envelope = self.data
        if isinstance(envelope, dict) and "requester" in envelope:
            self.data = envelope.get("data")
            self.room = _text(envelope.get("room"))
            self.sender = _text(envelope.get("requesterName"))
            self.id = _text(envelope.get("requestId"))
        if isinstance(self.data, dict):
            self.own_id = self.data.get("requestId")


class Session:
    """A link, what waits on it, and how its hub is spoken to.

    Args:
        incoming: Called for every event and request, in order, once the session is replayed.

    Attributes:
        acknowledges: Whether the hub acknowledges what it is sent.
        gone: Set when the link is gone.
    """

    def __init__(self, incoming: Callable[[Session, Incoming], None]) -> None:
        self.acknowledges = True
        self.gone = asyncio.Event()
        self._incoming = incoming
        self._held: list[Incoming] | None = []
        self._pending = Pending()
        self._waiting: dict[str, tuple[str, asyncio.Future[Any]]] = {}
        self._turns: dict[str, asyncio.Lock] = {}
        self._rooms: dict[str, None] = {}
        self._link: Link | None = None

    async def open(
        self,
        transport: Transport,
        *,
        namespace: str,
        auth: Mapping[str, Any] | None,
        registration: Mapping[str, Any],
        rooms: Sequence[str],
        masters: Mapping[str, Sequence[str]],
        timeout: float,
        acknowledges: bool | None,
    ) -> None:
        """Connect, register, subscribe and make master; then let incoming things through.

        Raises:
            ConnectionRefused: No session could be had in the time.
            RequestError: The hub refused a room.
        """
        try:
            async with asyncio.timeout(timeout):
                self._link = await transport.connect(
                    self, namespace=namespace, auth=auth, timeout=timeout
                )
                await self._register(registration, acknowledges=acknowledges)
                for room in rooms:
                    await self.subscribe(room)
                for room, features in masters.items():
                    await self.make_master(room, features)
                if masters and not self.acknowledges:
                    await self._settle()
        except BaseException as exc:
            await self.close()
            if isinstance(exc, TimeoutError | LinkLost | NotConnected) and not isinstance(
                exc, ConnectionRefused
            ):
                reason = "the hub did not finish the registration"
                raise ConnectionRefused(_address(transport), reason) from exc
            raise

    def release(self) -> None:
        """Let through what came in while the session was being set up, and all that comes."""
        held, self._held = self._held or [], None
        for each in held:
            self._incoming(self, each)

    async def close(self) -> None:
        """End the link; what waits on it ends as closed."""
        self._end_all(Closed, "the client was closed")
        if self._link is not None:
            await self._link.close()

    # Saying things to the hub

    async def register(self, registration: Mapping[str, Any]) -> None:
        """Say who one is."""
        await self._tell(HubEvent.CLIENT_REGISTER, registration)

    async def subscribe(self, room: str) -> None:
        """Be in a room."""
        await self._tell(HubEvent.CLIENT_SUBSCRIBE, {"room": room})
        self._rooms[room] = None

    async def unsubscribe(self, room: str) -> None:
        """Leave a room."""
        self._rooms.pop(room, None)
        await self._tell(HubEvent.CLIENT_SUBSCRIBE, {"room": room, "out": True})

    async def make_master(self, room: str, features: Sequence[str]) -> None:
        """Become the master of a room."""
        if self.acknowledges:
            await self._tell(HubEvent.MAKE_MASTER, {"room": room, "features": list(features)})
        else:
            self.broadcast(room, HubEvent.MAKE_MASTER, {"features": list(features)})

    def broadcast(self, room: str, event: str, data: Any) -> None:
        """Say something in a room, without waiting."""
        self._send(HubEvent.ROOM_MESSAGE, {"event": event, "room": room, "data": data})

    async def server_state(self, timeout: float) -> Answer:
        """Who is where and who masters what, as the hub tells it."""
        if self.acknowledges:
            return await self._acknowledged(HubEvent.GET_SERVER_STATE, (), timeout)
        message = {"event": HubEvent.GET_SERVER_STATE, "room": "*"}
        return await self._answered_by_event(HubEvent.SET_SERVER_STATE, message, timeout)

    async def ask(
        self, event: str, payload: Any, *, room: str | None, timeout: float | None
    ) -> Answer:
        """Ask a room's master.

        Returns:
            The answer, failed ones included.

        Raises:
            RequestError: There was no answer, and why.
        """
        if self.acknowledges:
            meta: dict[str, Any] = {} if room is None else {"room": room}
            if timeout is not None:
                meta["timeoutMs"] = round(timeout * 1000)
            return await self._acknowledged(event, (payload, meta), timeout)
        own_id = uuid.uuid4().hex
        data = {**payload, "requestId": own_id} if isinstance(payload, dict) else payload
        message = {"event": event, "room": self._room_to_ask(room), "data": data}
        return await self._answered_by_event(wire.answer_event(event), message, timeout, own_id)

    def answer(self, request: Incoming, answer: Answer) -> None:
        """Answer a request that came in on this session."""
        if request.own_id is not None:
            answer = {**answer, "requestId": request.own_id}
        if request.ack is not None:
            assert self._link is not None
            self._link.acknowledge(request.ack, answer)
            return
        self.broadcast(request.room, wire.answer_event(request.event), answer)

    # Receiver

    def received(self, event: str, args: Sequence[Any], ack: int | None) -> None:
        """See `alephscript.transport.Receiver`."""
        incoming = Incoming(event, args, ack)
        if event.startswith("GET_"):
            if not self.acknowledges:
                incoming.unwrap()
        elif not self.acknowledges:
            if not incoming.room and len(self._rooms) == 1:
                incoming.room = next(iter(self._rooms))
            self._resolve_by_event(incoming)
        if self._held is None:
            self._incoming(self, incoming)
        else:
            self._held.append(incoming)

    def acknowledged(self, number: int, args: Sequence[Any]) -> None:
        """See `alephscript.transport.Receiver`."""
        self._pending.resolve(number, args)

    def lost(self, reason: str) -> None:
        """See `alephscript.transport.Receiver`."""
        self._end_all(LinkLost, f"the link to the hub is gone ({reason}); it may have run")
        self.gone.set()

    # How the two kinds of hub are spoken to

    async def _register(
        self, registration: Mapping[str, Any], *, acknowledges: bool | None
    ) -> None:
        if acknowledges is not None:
            self.acknowledges = acknowledges
            await self.register(registration)
            return
        try:
            await self._tell(HubEvent.CLIENT_REGISTER, registration, _SILENCE)
        except DeadlineExceeded:
            logger.info("the hub acknowledges nothing: speaking the stock dialect")
            self.acknowledges = False

    async def _tell(
        self, event: str, message: Mapping[str, Any], timeout: float = wire.DEFAULT_TIMEOUT
    ) -> None:
        if not self.acknowledges:
            self._send(event, message)
            return
        answer = await self._acknowledged(event, (message,), timeout)
        if wire.is_failure(answer):
            raise error_from_answer(answer)

    async def _acknowledged(self, event: str, args: Sequence[Any], timeout: float | None) -> Answer:
        assert self._link is not None
        number, future = self._pending.open()
        try:
            self._link.send(event, args, number)
            return wire.normalised(await _within(timeout, future, event))
        finally:
            self._pending.discard(number)

    async def _answered_by_event(
        self,
        answer_event: str,
        message: Mapping[str, Any],
        timeout: float | None,
        own_id: str = "",
    ) -> Answer:
        # The answer says neither room nor asker: two questions of one name would be mixed up.
        turn = self._turns.setdefault(answer_event, asyncio.Lock())
        async with _deadline(timeout, answer_event), turn:
            future = asyncio.get_running_loop().create_future()
            self._waiting[answer_event] = (own_id, future)
            try:
                self._send(HubEvent.ROOM_MESSAGE, message)
                return wire.normalised([await future])
            finally:
                self._waiting.pop(answer_event, None)

    def _resolve_by_event(self, incoming: Incoming) -> None:
        own_id, future = self._waiting.get(incoming.event, ("", None))
        if future is None or future.done():
            return
        data = incoming.data
        if isinstance(data, dict):
            if own_id and data.get("requestId", own_id) != own_id:
                return  # somebody else's answer
            data = {k: v for k, v in data.items() if k not in ("sender", "requestId")}
        future.set_result(data)

    def _room_to_ask(self, room: str | None) -> str:
        if room is None:
            if len(self._rooms) != 1:
                raise AmbiguousRoom(
                    "a stock hub has to be told which room to ask: pass room=", list(self._rooms)
                )
            return next(iter(self._rooms))
        if room not in self._rooms:
            raise NotSubscribed(f"a stock hub tells answers to the room only: subscribe to {room}")
        return room

    async def _settle(self) -> None:
        """Wait until a stock hub has seen the declarations, as far as it can be known."""
        with contextlib.suppress(DeadlineExceeded):
            await self.server_state(_SILENCE)

    def _send(self, event: str, message: Mapping[str, Any]) -> None:
        assert self._link is not None
        self._link.send(event, (message,))

    def _end_all(self, error: type[RequestError], message: str) -> None:
        self._pending.fail(error, message)
        for _, future in self._waiting.values():
            if not future.done():
                future.set_exception(error(message))


async def _within(
    timeout: float | None, future: asyncio.Future[Sequence[Any]], event: str
) -> Sequence[Any]:
    """Await a future; one timer serves, no task is made."""
    if timeout is None:
        return await future
    timer = asyncio.get_running_loop().call_later(timeout, _expire, future, event, timeout)
    try:
        return await future
    finally:
        timer.cancel()


def _expire(future: asyncio.Future[Any], event: str, timeout: float) -> None:
    if not future.done():
        future.set_exception(_too_late(event, timeout))


def _too_late(event: str, timeout: float) -> DeadlineExceeded:
    return DeadlineExceeded(f"no answer to {event} within {timeout:g} s", [{"delivered": None}])


@contextlib.asynccontextmanager
async def _deadline(timeout: float | None, event: str) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(timeout) as scope:
            yield
    except TimeoutError as exc:
        if scope.expired():
            raise _too_late(event, timeout or 0.0) from exc
        raise


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _address(transport: Transport) -> str:
    return str(getattr(transport, "url", "memory"))
