"""One registered connection to a hub, from handshake to loss, in whichever dialect the hub speaks.

Our hub acknowledges everything. A stock hub acknowledges nothing: there a question goes out in
ROOM_MESSAGE and its answer is a SET_ event that the whole room sees, so questions of one name
are asked one at a time and marked with a ``requestId``. Which of the two it is shows in whether
the registration is acknowledged; whether cancelling, streaming and meta objects are understood,
in the ``protocol`` of that acknowledgement.

A session is never reused: what belongs to a link dies with it. Reconnecting is the client's.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import uuid
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from alephscript import contracts
from alephscript.client.declaring import Mastery
from alephscript.client.messages import GAP
from alephscript.errors import (
    AmbiguousRoom,
    Closed,
    ConnectionRefused,
    DeadlineExceeded,
    InvalidPayload,
    LinkLost,
    NotConnected,
    NotSubscribed,
    RequestError,
    error_from_answer,
)
from alephscript.links.pending import Pending
from alephscript.links.transport import Link, Transport
from alephscript.protocol import events, packets
from alephscript.protocol.events import Answer, HubEvent, Position
from alephscript.protocol.json import is_shallow_utf8, parse_json, read_value, write_json

__all__ = ["Call", "Delivery", "HubMeta", "HubSession", "Inbox", "read_answer"]

logger = logging.getLogger("alephscript.client")

_SILENCE = 1.0
"""Seconds after which a hub that has not acknowledged the registration is a stock one."""

_GRACE = 0.15
"""Seconds beyond a deadline that a hub which keeps it has to say so: it knows more about it."""

WINDOW = 64
"""Parts of a streamed answer that may be under way unread."""


class HubMeta(msgspec.Struct, rename=contracts.wire_key, frozen=True):
    """What a hub of our protocol says about an event or a request.

    Attributes:
        id: A request's number, empty where there is none.
        room: The room, empty where the hub does not say.
        caller: Who asks.
        sender: Who says it.
        timeout_ms: How long the asker waits, None if it does not say.
        number: The event's number in the history of its room.
        request: The own request that this is about.
        parts: How many parts of an answer the asker takes; 0 if it knows no parts.
        chain: Numbers of the requests that led to this one.
        traceparent: The trace that it belongs to, as W3C Trace Context says it.
        tracestate: What else there is to say about that.
    """

    id: str = ""
    room: str = ""
    caller: str = ""
    sender: str = ""
    timeout_ms: float | None = None
    number: int | None = None
    request: int | None = None
    parts: int = 0
    chain: tuple[str, ...] = ()
    traceparent: str | None = None
    tracestate: str | None = None

    @property
    def trace_context(self) -> dict[str, str]:
        """The keys of the trace, as they are on the wire."""
        said = {"traceparent": self.traceparent, "tracestate": self.tracestate}
        return {key: value for key, value in said.items() if value is not None}


_NO_META = HubMeta()


class Delivery(msgspec.Struct, eq=False):
    """Something the hub sent: an event of a room, or a request to serve.

    Attributes:
        event: Name of the event.
        data: Its data, without the envelope that stock hubs wrap around a request; what is asked
            on a hub of ours is unread (`msgspec.Raw`).
        ack: The number to acknowledge under, None if no acknowledgement is wanted.
        meta: What else the hub says about it.
        room: The room, empty where the hub does not say.
        sender: Who said or asks it, empty where the hub does not say.
        id: A request's number, empty where there is none.
        own_id: What a stock asker marked its question with.
    """

    event: str
    data: Any
    ack: int | None
    meta: HubMeta
    room: str
    sender: str
    id: str
    own_id: Any = None

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


class _Asked(msgspec.Struct, array_like=True, gc=False):
    """A request as a hub of our protocol sends it."""

    event: str
    data: msgspec.Raw = msgspec.Raw(b"null")
    meta: HubMeta = _NO_META


class _Told(msgspec.Struct, array_like=True):
    """An event as a hub of our protocol sends it."""

    event: str
    data: Any = None
    meta: HubMeta = _NO_META


def _taken_apart(payload: bytes, *, is_ours: bool) -> tuple[str, Any, HubMeta]:
    """An event's name, its data, and what a hub of our protocol says besides.

    What such a hub asks is left unread: whoever serves it reads what it declares.

    Raises:
        InvalidPayload: It is none.
        PayloadTooLarge: It is nested too deeply.
    """
    if is_ours and is_shallow_utf8(payload):
        try:
            packet = (_asked if payload.startswith(_ASKING) else _told)(payload)
        except (msgspec.DecodeError, RecursionError):
            pass
        else:
            return packet.event, packet.data, packet.meta
    event, args = packets.split_event(payload)
    if not isinstance(event, str):
        raise InvalidPayload("an event's name is a text")
    return event, read_value(args[0]) if args else None, _NO_META


_ASKING = b'["GET_'
_asked = msgspec.json.Decoder(_Asked).decode
_told = msgspec.json.Decoder(_Told).decode


class Inbox(Protocol):
    """Who is told what a session brings, in order; must not block."""

    def asked(self, session: HubSession, request: Delivery) -> None:
        """A request is to be served; see `HubSession.answer`."""
        ...

    def told(self, session: HubSession, event: Delivery) -> None:
        """Something was said in a room."""
        ...

    def cancelled(self, session: HubSession, id: str, reason: str) -> None:
        """Nobody waits any more for the answer to a request that is being served."""
        ...

    def wanted(self, session: HubSession, id: str, parts: int) -> None:
        """The asker of a streamed answer takes so many more parts."""
        ...


class Call(msgspec.Struct, frozen=True, eq=False):
    """What is to be asked.

    Attributes:
        event: ``GET_`` and the capability's name.
        data: JSON text of the payload.
        room: The room to ask; None leaves it to the hub.
        timeout: Seconds to wait, None for as long as the hub does.
        meta: What else the hub is told, where it understands that.
        on_progress: Called with what the master reports meanwhile.
    """

    event: str
    data: bytes
    room: str | None = None
    timeout: float | None = None
    meta: Mapping[str, Any] = {}
    on_progress: Callable[[Any], None] | None = None

    def with_meta(self, meta: Mapping[str, Any]) -> Call:
        """The same, with more to tell the hub."""
        return msgspec.structs.replace(self, meta={**self.meta, **meta})


class HubSession:
    """A link, what waits on it, and how its hub is spoken to.

    Args:
        inbox: Told what comes in, once the session is replayed.
        positions: How far each room was heard, kept up to date here and across sessions.

    Attributes:
        acknowledges: Whether the hub acknowledges what it is sent.
        speaks_meta: Whether the hub understands our protocol beyond that.
        gone: Set when the link is gone.
    """

    def __init__(self, inbox: Inbox, positions: dict[str, Position]) -> None:
        self.acknowledges = True
        self.speaks_meta = False
        self.gone = asyncio.Event()
        self._inbox = inbox
        self._positions = positions
        self._held: list[Delivery] = []
        self._hand_on: Callable[[Delivery], None] = self._held.append
        self._is_released = False
        self._pending = Pending()
        self._parts: dict[int | None, _Parts] = {}
        self._progress: dict[int | None, Callable[[Any], None]] = {}
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
        masters: Mapping[str, Mastery],
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
                for room, mastery in masters.items():
                    await self.make_master(room, mastery)
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
        self._is_released, self._hand_on = True, self._deliver
        for incoming in self._held:
            self._deliver(incoming)
        self._held.clear()

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
        """Be in a room; what was said since its position, if it has one, comes first."""
        position = self._positions.get(room)
        message: dict[str, Any] = {"room": room}
        if position is not None and self.speaks_meta:
            message["since"] = {"history": position.history, "number": position.number}
        answer = await self._tell(HubEvent.CLIENT_SUBSCRIBE, message)
        self._rooms[room] = None
        if "history" in answer:
            self._positions[room] = Position(answer["history"], answer["number"])
        else:
            self._positions.pop(room, None)
        if "since" in message and answer.get("missed") != 0:
            missed = {"missed": answer.get("missed")}
            self._hand_on(Delivery(GAP, missed, None, _NO_META, room, "", ""))

    async def unsubscribe(self, room: str) -> None:
        """Leave a room."""
        self._rooms.pop(room, None)
        await self._tell(HubEvent.CLIENT_SUBSCRIBE, {"room": room, "out": True})

    async def make_master(self, room: str, mastery: Mastery) -> None:
        """Become a master of a room."""
        message: dict[str, Any] = {"features": list(mastery.features)}
        if not self.acknowledges:
            self.broadcast(room, HubEvent.MAKE_MASTER, write_json(message))
            return
        message["room"] = room
        if self.speaks_meta:
            message["group"] = mastery.group
            message["descriptions"] = mastery.descriptions
        await self._tell(HubEvent.MAKE_MASTER, message)

    async def resign(self, room: str) -> None:
        """Master a room no more; a stock hub knows no such thing."""
        if self.speaks_meta:
            await self._tell(HubEvent.MAKE_MASTER, {"room": room, "out": True})

    def broadcast(self, room: str, event: str, data: bytes) -> None:
        """Say something, a JSON text, in a room, without waiting."""
        name, where = _json_text(event), _json_text(room)
        message = b'{"event":%b,"room":%b,"data":%b}' % (name, where, data)
        self._send(HubEvent.ROOM_MESSAGE, message)

    async def server_state(self, timeout: float) -> Answer:
        """Who is where and who masters what, as the hub tells it."""
        if self.acknowledges:
            return await self.ask(Call(HubEvent.GET_SERVER_STATE, b"null", timeout=timeout))
        message = {"event": HubEvent.GET_SERVER_STATE, "room": "*"}
        return await self._answered_by_event(HubEvent.SET_SERVER_STATE, message, timeout)

    async def ask(self, question: Call) -> Answer:
        """Ask a room's master, or the hub itself.

        Returns:
            The answer, failed ones included.

        Raises:
            RequestError: There was no answer, and why.
        """
        return read_answer(await self.ask_unread(question))

    async def ask_unread(self, question: Call) -> bytes:
        """As `ask`.

        Returns:
            The acknowledgement as it came, to be passed to `read_answer`.
        """
        if not self.acknowledges:
            return write_json([await self._ask_room(question)])
        number, future = self._pending.open(self._patience(question.timeout))
        if question.on_progress is not None:
            self._progress[number] = question.on_progress
        try:
            self._send(question.event, question.data, _meta(question), number)
            payload = await future
        except BaseException as exc:
            self._pending.discard(number)
            if isinstance(exc, asyncio.CancelledError):
                self._cancel(number)
            raise
        finally:
            if question.on_progress is not None:
                self._progress.pop(number, None)
        if payload is None:
            raise _too_late(question.event, question.timeout)
        return payload

    async def stream(self, question: Call) -> AsyncGenerator[Any, None]:
        """Ask for an answer in parts.

        Yields:
            Each part; an answer that has fields of its own is the last one.

        Raises:
            RequestError: It failed, and why.
        """
        if not self.speaks_meta:
            answer = await self.ask(question)
        else:
            number, future = self._pending.open(self._patience(question.timeout))
            parts = self._parts[number] = _Parts()
            future.add_done_callback(lambda _: parts.wake.set())
            if question.on_progress is not None:
                self._progress[number] = question.on_progress
            meta = _meta(question.with_meta({"parts": WINDOW}))
            try:
                self._send(question.event, question.data, meta, number)
                while parts.unread or not future.done():
                    if not parts.unread:
                        parts.wake.clear()
                        await parts.wake.wait()
                        continue
                    yield parts.unread.popleft()
                    parts.taken += 1
                    if parts.taken * 2 >= WINDOW and not future.done():
                        more = {"request": number, "parts": parts.taken}
                        self._to_hub(HubEvent.REQUEST_MORE, more)
                        parts.taken = 0
                payload = future.result()
            finally:
                if not future.done():
                    future.cancel()
                    self._cancel(number)
                self._pending.discard(number)
                self._parts.pop(number, None)
                self._progress.pop(number, None)
            if payload is None:
                raise _too_late(question.event, question.timeout)
            answer = read_answer(payload)
        if events.is_failure(answer):
            raise error_from_answer(answer)
        del answer["success"]
        if answer:
            yield answer

    def answer(self, request: Delivery, answer: bytes) -> None:
        """Answer a request that came in on this session, with the JSON text of an `Answer`."""
        if request.own_id is not None:
            answer = write_json({**parse_json(answer), "requestId": request.own_id})
        if request.ack is not None:
            assert self._link is not None
            self._link.acknowledge(request.ack, b"[%b]" % answer)
        else:
            self.broadcast(request.room, events.answer_event(request.event), answer)

    def part(self, request: Delivery, part: bytes) -> None:
        """Send a part of the answer to a request, a JSON text."""
        self._send(HubEvent.REQUEST_PART, part, write_json({"id": request.id}))

    def report(self, request: Delivery, progress: Mapping[str, Any]) -> None:
        """Tell the asker how far its request is."""
        self._to_hub(HubEvent.REQUEST_PROGRESS, progress, {"id": request.id})

    # Receiver

    def received(self, payload: bytes, ack: int | None) -> None:
        """See `alephscript.links.transport.Receiver`."""
        try:
            event, data, meta = _taken_apart(payload, is_ours=self.speaks_meta)
        except RequestError as error:
            if ack is not None and self._link is not None:
                self._link.acknowledge(ack, write_json([error.answer()]))
            return
        if event in _OF_REQUESTS:
            if self.speaks_meta:
                self._about_request(event, data, meta)
            return
        sender = meta.sender or meta.caller
        incoming = Delivery(event, data, ack, meta, meta.room, sender, meta.id)
        if not self.acknowledges:
            self._from_stock_hub(incoming)
        elif meta.number is not None:
            position = self._positions.get(meta.room)
            if position is not None:
                position.number = meta.number
        self._hand_on(incoming)

    def _deliver(self, incoming: Delivery) -> None:
        if incoming.event.startswith("GET_"):
            self._inbox.asked(self, incoming)
        else:
            self._inbox.told(self, incoming)

    def _from_stock_hub(self, incoming: Delivery) -> None:
        if incoming.event.startswith("GET_"):
            incoming.unwrap()
            return
        if len(self._rooms) == 1:
            incoming.room = next(iter(self._rooms))
        self._resolve_by_event(incoming)

    def acknowledged(self, number: int, payload: bytes) -> None:
        """See `alephscript.links.transport.Receiver`."""
        self._pending.resolve(number, payload)

    def lost(self, reason: str) -> None:
        """See `alephscript.links.transport.Receiver`."""
        self._end_all(LinkLost, f"the link to the hub is gone ({reason}); it may have run")
        self.gone.set()

    def _about_request(self, event: str, data: Any, meta: HubMeta) -> None:
        """What a hub of our protocol says about a request that is under way."""
        if event == HubEvent.REQUEST_PART:
            parts = self._parts.get(meta.request)
            if parts is not None:
                parts.unread.append(data)
                parts.wake.set()
        elif event == HubEvent.REQUEST_PROGRESS:
            report = self._progress.get(meta.request)
            if report is not None:
                report(data)
        elif event == HubEvent.REQUEST_MORE:
            self._inbox.wanted(self, data["id"], data["parts"])
        elif not self._is_released:
            self._held[:] = [each for each in self._held if each.id != data["id"]]
        else:
            self._inbox.cancelled(self, data["id"], data["reason"])

    # How the two kinds of hub are spoken to

    async def _register(
        self, registration: Mapping[str, Any], *, acknowledges: bool | None
    ) -> None:
        if acknowledges is False:
            self.acknowledges = False
            await self.register(registration)
            return
        patience = _SILENCE if acknowledges is None else events.DEFAULT_TIMEOUT
        try:
            answer = await self._tell(HubEvent.CLIENT_REGISTER, registration, patience)
        except DeadlineExceeded:
            if acknowledges:
                raise
            logger.info(
                "the hub acknowledges nothing: speaking the stock dialect",
                extra={"usuario": registration["usuario"]},
            )
            self.acknowledges = False
        else:
            self.speaks_meta = answer.get("protocol") == events.PROTOCOL

    async def _tell(
        self, event: str, message: Mapping[str, Any], timeout: float = events.DEFAULT_TIMEOUT
    ) -> Answer:
        if not self.acknowledges:
            self._to_hub(event, message)
            return {}
        answer = await self.ask(Call(event, write_json(message), timeout=timeout))
        if events.is_failure(answer):
            raise error_from_answer(answer)
        return answer

    async def _ask_room(self, question: Call) -> Answer:
        own_id = uuid.uuid4().hex
        payload = parse_json(question.data)
        data = {**payload, "requestId": own_id} if isinstance(payload, dict) else payload
        room = self._room_to_ask(question.room)
        message = {"event": question.event, "room": room, "data": data}
        event = events.answer_event(question.event)
        return await self._answered_by_event(event, message, question.timeout, own_id)

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
                self._to_hub(HubEvent.ROOM_MESSAGE, message)
                return events.normalise([await future])
            finally:
                self._waiting.pop(answer_event, None)

    def _resolve_by_event(self, incoming: Delivery) -> None:
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

    def _patience(self, timeout: float | None) -> float | None:
        return timeout + _GRACE if timeout is not None and self.speaks_meta else timeout

    def _cancel(self, number: int) -> None:
        """Tell the hub that nobody waits any more."""
        if self.speaks_meta:
            with contextlib.suppress(RequestError):
                self._to_hub(HubEvent.CANCEL_REQUEST, {"request": number})

    def _to_hub(self, event: str, *args: Mapping[str, Any]) -> None:
        assert self._link is not None
        self._link.send(write_json([event, *args]))

    def _send(self, event: str, data: bytes, meta: bytes = b"", number: int | None = None) -> None:
        assert self._link is not None
        name = _json_text(event)
        if meta:
            self._link.send(b"[%b,%b,%b]" % (name, data, meta), number)
        else:
            self._link.send(b"[%b,%b]" % (name, data), number)

    def _end_all(self, error: type[RequestError], message: str) -> None:
        self._pending.fail(error, message)
        for _, future in self._waiting.values():
            if not future.done():
                future.set_exception(error(message))


class _Parts:
    """Parts of an answer that nobody has read yet; the master sends no more than it was granted."""

    __slots__ = ("taken", "unread", "wake")

    def __init__(self) -> None:
        self.taken = 0
        self.unread: deque[Any] = deque()
        self.wake = asyncio.Event()


_OF_REQUESTS = frozenset(
    {
        HubEvent.CANCEL_REQUEST,
        HubEvent.REQUEST_MORE,
        HubEvent.REQUEST_PART,
        HubEvent.REQUEST_PROGRESS,
    }
)

_json_text = functools.lru_cache(write_json)


def _meta(question: Call) -> bytes:
    timeout = question.timeout
    milliseconds = 0 if timeout is None else round(min(timeout, events.LONGEST_TIMEOUT) * 1000)
    if question.room is None and not question.meta:
        return b"" if timeout is None else b'{"timeoutMs":%d}' % milliseconds
    meta = dict(question.meta)
    if question.room is not None:
        meta["room"] = question.room
    if timeout is not None:
        meta["timeoutMs"] = milliseconds
    return write_json(meta)


def read_answer(payload: bytes) -> Answer:
    """The answer that an acknowledgement brings, failed ones included; what is no JSON is one.

    Args:
        payload: A JSON array, unchecked.
    """
    try:
        args = parse_json(payload)
    except RequestError as error:
        return error.answer()
    return events.normalise(args if isinstance(args, list) else [args])


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _too_late(event: str, timeout: float | None) -> DeadlineExceeded:
    timeout = timeout or 0.0
    return DeadlineExceeded(f"no answer to {event} within {timeout:g} s", [{"delivered": None}])


@contextlib.asynccontextmanager
async def _deadline(timeout: float | None, event: str) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(timeout) as scope:
            yield
    except TimeoutError as exc:
        if scope.expired():
            raise _too_late(event, timeout) from exc
        raise


def _address(transport: Transport) -> str:
    return str(getattr(transport, "url", "memory"))
