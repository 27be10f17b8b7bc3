"""The native dialect: documented, and the meta argument, between members of this package.

With it come cancelling, progress, answers in parts, groups of masters, what a room said while a
client was away, and what a mesh tells about itself (decision 0012).

May go in: what needs a hub that announces `alephscript.protocol.events.PROTOCOL`. May not: what
others understand, too (`documented`).
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any

import msgspec

from alephscript import contracts
from alephscript.client.calls import (
    NO_META,
    Call,
    Delivery,
    HubMeta,
    make_late_error,
    read_answer,
)
from alephscript.client.declaring import Mastery
from alephscript.client.dialects.channel import Channel, json_text
from alephscript.client.dialects.dialect import CONTROLS, last_part
from alephscript.client.dialects.documented import Documented, write_meta, write_plain_meta
from alephscript.client.messages import Gap
from alephscript.client.patience import Patience
from alephscript.errors import DeadlineExceeded, NoAnswerer, NotConnected, RequestError
from alephscript.protocol.events import HubEvent, Position
from alephscript.protocol.json import parse_json
from alephscript.protocol.wire import is_shallow_utf8, write_json

__all__ = ["Native"]

_GRACE = 0.15
"""Seconds beyond a deadline in which a hub may say itself that it has passed: the hub knows
whether the request was delivered."""

_WINDOW = 64
"""Parts of a streamed answer that may be under way unread (decision 0021)."""

# Kept: a member of an enum costs 0.1 µs and more to look up where Python is older than 3.12.
_PART, _QUESTION = HubEvent.REQUEST_PART, HubEvent.GET_ASKER_ANSWER


class Native(Documented):
    """The documented dialect and the meta argument, between members and hubs of this package."""

    def __init__(self, channel: Channel) -> None:
        super().__init__(channel)
        self._parts: dict[int | None, _Parts] = {}
        self._progress: dict[int | None, Callable[[Any], None]] = {}
        self._watches: dict[int | None, _Watch] = {}

    def subscription(self, room: str) -> dict[str, Any]:
        """Return the payload of CLIENT_SUSCRIBE, with how far the room was heard before."""
        position = self._channel.positions.get(room)
        if position is None:
            return {"room": room}
        since = {"history": position.history, "number": position.number}
        return {"room": room, "since": since}

    async def make_master(self, room: str, mastery: Mastery, *, yields: bool = False) -> bool:
        """See `Dialect.make_master`."""
        message: dict[str, Any] = {
            "features": list(mastery.features),
            "room": room,
            "group": mastery.group,
            "descriptions": mastery.descriptions,
        }
        if mastery.says:
            message["says"] = dict(mastery.says)
        if yields:
            message["yields"] = True
        answer = await self.tell(HubEvent.MAKE_MASTER, message)
        return answer.get("displaced") is not True

    async def resign(self, room: str) -> None:
        """See `Dialect.resign`."""
        await self.tell(HubEvent.MAKE_MASTER, {"room": room, "out": True})

    def broadcast(self, room: str, event: str, data: bytes, *, retain: bool = False) -> None:
        """See `Dialect.broadcast`; by the event's own name, the room in the meta."""
        if not _is_said_directly(event):
            super().broadcast(room, event, data, retain=retain)
        elif retain:
            self._channel.send(event, data, b'{"room":%b,"retain":true}' % json_text(room))
        else:
            self._channel.send(event, data, b'{"room":%b}' % json_text(room))

    async def ask(self, call: Call) -> bytes:
        """See `Dialect.ask`; a call that its task gives up is cancelled at the master, too."""
        pending, timeout = self._channel.pending, call.timeout
        number, future = pending.open(None if timeout is None else timeout + _GRACE)
        is_plain = call.on_progress is None and call.idle is None and call.answers is None
        if not is_plain:
            self._attend(call, number, future)
        try:
            if pending.is_single:  # nobody else asks just now
                self._channel.hurry()
            # The second as `write_meta`, without the call.
            meta = write_meta(call) if call.meta else write_plain_meta(call.room, call.timeout)
            self._channel.send(call.event, call.data, meta, number)
            call.data = b""
            payload = await future
        except BaseException as exc:
            pending.discard(number)
            if isinstance(exc, asyncio.CancelledError | DeadlineExceeded):
                self._cancel(number)
            raise
        finally:
            if not is_plain:
                self._forget(number)
        if payload is None:
            raise make_late_error(call.event, timeout)
        return payload

    async def stream(self, call: Call) -> AsyncGenerator[Any, None]:
        """See `Dialect.stream`."""
        pending, timeout = self._channel.pending, call.timeout
        number, future = pending.open(None if timeout is None else timeout + _GRACE)
        parts = self._parts[number] = _Parts()
        future.add_done_callback(lambda _: parts.wake.set())
        self._attend(call, number, future, parts)
        try:
            meta = write_meta(call.with_meta({"parts": _WINDOW}))
            self._channel.send(call.event, call.data, meta, number)
            call.data = b""
            while parts.unread or not future.done():
                if not parts.unread:
                    watch = self._watches.get(number)
                    if watch is not None:
                        watch.hear()  # no time has passed while parts waited to be read
                    parts.wake.clear()
                    await parts.wake.wait()
                    continue
                yield parts.unread.popleft()
                parts.taken += 1
                # By half windows: a message for each part would double the traffic.
                if parts.taken * 2 >= _WINDOW and not future.done():
                    grant = {"request": number, "parts": parts.taken}
                    self._channel.send_values(HubEvent.REQUEST_MORE, grant)
                    parts.taken = 0
            payload = future.result()
        except DeadlineExceeded:
            self._cancel(number)
            raise
        finally:
            if not future.done():
                future.cancel()
                self._cancel(number)
            pending.discard(number)
            self._parts.pop(number, None)
            self._forget(number)
        if payload is None:
            raise make_late_error(call.event, timeout)
        for part in last_part(read_answer(payload)):
            yield part

    def _attend(
        self,
        call: Call,
        number: int,
        future: asyncio.Future[bytes | None],
        parts: _Parts | None = None,
    ) -> None:
        """Attend to what comes of a call before its answer."""
        if call.on_progress is not None:
            self._progress[number] = call.on_progress
        if call.idle is not None or call.answers is not None:
            self._watches[number] = _Watch(call, future, parts)

    def _forget(self, number: int) -> None:
        """Attend no more to a call, which has ended."""
        self._progress.pop(number, None)
        watch = self._watches.pop(number, None)
        if watch is not None:
            watch.close()

    async def ask_about_mesh(
        self, event: str, query: Mapping[str, Any], timeout: float
    ) -> dict[str, Any]:
        """See `Dialect.ask_about_mesh`."""
        answer = await self.tell(event, query, timeout)
        del answer["success"]
        return answer

    async def members(self, room: str, timeout: float) -> list[dict[str, Any]]:
        """See `Dialect.members`."""
        query = {"room": room, "presence": True}
        reply = await self.ask_about_mesh(HubEvent.GET_MEMBERS, query, timeout)
        return contracts.structure(reply.get("members"), list[dict[str, Any]])

    def read_gap(self, data: Any) -> Gap | None:
        """See `Dialect.read_gap`; no member can say such an event at a native hub."""
        missed = data.get("missed") if isinstance(data, dict) else None
        return Gap(missed if type(missed) is int else None)

    def send_part(self, request: Delivery, part: bytes) -> None:
        """See `Dialect.send_part`."""
        self._channel.send(_PART, part, write_json({"id": request.id}))

    def report_progress(self, request: Delivery, progress: Mapping[str, Any]) -> None:
        """See `Dialect.report_progress`."""
        with contextlib.suppress(RequestError):
            self._channel.send_values(HubEvent.REQUEST_PROGRESS, progress, {"id": request.id})

    def send_checkpoint(self, request: Delivery, number: int, checkpoint: bytes) -> None:
        """See `Dialect.send_checkpoint`."""
        data = b'{"number":%d,"checkpoint":%b}' % (number, checkpoint)
        with contextlib.suppress(NotConnected):
            self._channel.send(HubEvent.REQUEST_CHECKPOINT, data, write_json({"id": request.id}))

    def receive(self, payload: bytes, ack: int | None) -> Delivery | None:
        """See `Dialect.receive`; requests are left unread, for who knows their contract."""
        if not is_shallow_utf8(payload):
            parse_json(payload)
        try:
            if payload.startswith(b'["GET_'):
                packet: Any = _cut_request(payload) if len(payload) > _LARGE else None
                if packet is None:
                    packet = _read_request(payload)
            else:
                packet = _read_event(payload)
        except (msgspec.DecodeError, RecursionError):
            # No array, or a meta that no hub of this package writes: the rest may still be read.
            return super().receive(payload, ack)
        meta = packet.meta
        if packet.event in CONTROLS:
            self._control(packet.event, packet.data, meta)
            return None
        if meta.number is not None:
            if meta.room in self._channel.entering:
                self._channel.entering[meta.room] = meta.number
            position = self._channel.positions.get(meta.room)
            if position is not None:
                history = meta.history or position.history
                self._channel.positions[meta.room] = Position(history, meta.number)
        sender = meta.sender or meta.caller
        delivery = Delivery(packet.event, packet.data, ack, meta, meta.room, sender, meta.id)
        if packet.event == _QUESTION:
            self._take_question(delivery)
            return None
        return delivery

    def _take_question(self, question: Delivery) -> None:
        """Have a call answer what its master asks back."""
        watch = self._watches.get(question.meta.request)

        def send(answer: bytes | None) -> None:
            if answer is not None:
                with contextlib.suppress(RequestError):  # the link is gone
                    self.answer(question, answer)

        if watch is None or not watch.take(question, send):
            send(write_json(NoAnswerer("nobody here answers that").answer()))

    def _control(self, event: str, data: Any, meta: HubMeta) -> None:
        """Take the hub's word about a request that is under way, in either direction."""
        watch = self._watches.get(meta.request)
        if watch is not None:
            watch.hear()
        if event == _PART:
            parts = self._parts.get(meta.request)
            if parts is not None:
                parts.unread.append(data)
                parts.wake.set()
        elif event == HubEvent.REQUEST_PROGRESS:
            report = self._progress.get(meta.request)
            if report is not None:
                report(data)
        elif isinstance(data, dict):  # as each hub of this package writes it
            self._control_served(event, data)

    def _control_served(self, event: str, data: dict[str, Any]) -> None:
        """Take the hub's word about a request that is served here."""
        if event in (HubEvent.TASK_KEPT, HubEvent.TASK_RESUME):
            self._channel.take_kept(data)
        elif not isinstance(data.get("id"), str):
            return  # what no hub of this package writes
        elif event == HubEvent.REQUEST_MORE:
            parts = data.get("parts")
            self._channel.grant(data["id"], parts if isinstance(parts, int) else 0)
        else:
            for watch in self._watches.values():
                if watch.cancel(data["id"]):
                    return
            self._channel.cancel(data["id"], str(data.get("reason")))

    def _cancel(self, number: int) -> None:
        """Tell the hub that nobody waits for an answer any more."""
        with contextlib.suppress(RequestError):
            self._channel.send_values(HubEvent.CANCEL_REQUEST, {"request": number})


@functools.lru_cache  # a client says the same few events over and over
def _is_said_directly(event: str) -> bool:
    """Whether an event means nothing else to a native hub where it comes by its own name."""
    return not event.startswith("GET_") and event not in _OF_HUB


_OF_HUB = frozenset(HubEvent)


class _Parts:
    """Parts of an answer that nobody has read yet, no more than the master was granted.

    Attributes:
        unread: Those parts, oldest first.
        taken: How many parts were read since more were last granted.
        wake: Set when there is something to read, or the answer is complete.
    """

    __slots__ = ("taken", "unread", "wake")

    def __init__(self) -> None:
        self.unread: deque[Any] = deque()
        self.taken = 0
        self.wake = asyncio.Event()


class _Watch:
    """A call under way that has to give signs of life, or whose master may ask back.

    Args:
        call: The call.
        future: Its acknowledgement.
        parts: The parts of its answer, if it is streamed.
    """

    __slots__ = ("_answers", "_patience")

    def __init__(
        self, call: Call, future: asyncio.Future[bytes | None], parts: _Parts | None = None
    ) -> None:
        self._answers = call.answers
        self._patience = None
        if call.idle is not None:
            is_slow = None if parts is None else lambda: bool(parts.unread)
            self._patience = Patience(call.idle + _GRACE, future, call.make_idle_error, is_slow)

    def hear(self) -> None:
        """Take note of a sign of life."""
        if self._patience is not None:
            self._patience.hear()

    def take(self, question: Delivery, send: Callable[[bytes | None], None]) -> bool:
        """Have a question answered; return whether anybody does that."""
        if self._answers is None:
            return False
        patience = self._patience
        if patience is None:
            self._answers.take(question, send)
            return True
        patience.hold()

        def send_and_release(answer: bytes | None) -> None:
            patience.release()
            send(answer)

        self._answers.take(question, send_and_release)
        return True

    def cancel(self, id: str) -> bool:
        """Stop answering a question; return whether it was one of these."""
        return self._answers is not None and self._answers.cancel(id)

    def close(self) -> None:
        """Watch the call no more."""
        if self._patience is not None:
            self._patience.close()
        if self._answers is not None:
            self._answers.close()


class _RequestPacket(msgspec.Struct, array_like=True, gc=False):
    """A request as a native hub sends it."""

    event: str
    data: msgspec.Raw = msgspec.Raw(b"null")
    meta: HubMeta = NO_META


class _EventPacket(msgspec.Struct, array_like=True):
    """An event as a native hub sends it."""

    event: str
    data: Any = None
    meta: HubMeta = NO_META


_read_request = msgspec.json.Decoder(_RequestPacket).decode
_read_event = msgspec.json.Decoder(_EventPacket).decode


def _cut_request(payload: bytes) -> _RequestPacket | None:
    """Cut a large request into its three values without reading the second; None if that fails.

    Between a name without escapes and a whole meta at the end there is either one JSON value or
    none, since JSON is read in one way only: whoever reads the data sees which.
    """
    name_end = payload.find(b'"', 2)
    meta_start = payload.rfind(b",{", -_LONGEST_META)
    name = payload[2:name_end]
    is_usual = payload.startswith(b'",', name_end) and name_end + 1 < meta_start
    if not is_usual or b"\\" in name or not payload.endswith(b"]"):
        return None
    try:
        meta = _read_meta(payload[meta_start + 1 : -1])
    except (msgspec.DecodeError, RecursionError):
        return None
    data = msgspec.Raw(memoryview(payload)[name_end + 2 : meta_start])
    return _RequestPacket(name.decode(), data, meta)


_LARGE = 65_536
_LONGEST_META = 4_096

_read_meta = msgspec.json.Decoder(HubMeta).decode
