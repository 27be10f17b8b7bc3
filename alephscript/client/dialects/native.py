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
from alephscript.client.dialects.documented import Documented, write_meta
from alephscript.errors import NotConnected, RequestError
from alephscript.protocol.events import HubEvent
from alephscript.protocol.json import is_shallow_utf8, parse_json, write_json

__all__ = ["Native"]

_GRACE = 0.15
"""Seconds beyond a deadline in which a hub may say itself that it has passed: the hub knows
whether the request was delivered."""

_WINDOW = 64
"""Parts of a streamed answer that may be under way unread (decision 0021)."""

# Kept: a member of an enum costs 0.1 µs and more to look up where Python is older than 3.12.
_PART = HubEvent.REQUEST_PART


class Native(Documented):
    """The documented dialect and the meta argument, between members and hubs of this package."""

    def __init__(self, channel: Channel) -> None:
        super().__init__(channel)
        self._parts: dict[int | None, _Parts] = {}
        self._progress: dict[int | None, Callable[[Any], None]] = {}

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
        if yields:
            message["yields"] = True
        answer = await self.tell(HubEvent.MAKE_MASTER, message)
        return answer.get("displaced") is not True

    async def resign(self, room: str) -> None:
        """See `Dialect.resign`."""
        await self.tell(HubEvent.MAKE_MASTER, {"room": room, "out": True})

    def broadcast(self, room: str, event: str, data: bytes) -> None:
        """See `Dialect.broadcast`; by the event's own name, the room in the meta."""
        if _is_said_directly(event):
            self._channel.send(event, data, b'{"room":%b}' % json_text(room))
        else:
            super().broadcast(room, event, data)

    async def ask(self, call: Call) -> bytes:
        """See `Dialect.ask`; a call that its task gives up is cancelled at the master, too."""
        pending, timeout = self._channel.pending, call.timeout
        number, future = pending.open(None if timeout is None else timeout + _GRACE)
        if call.on_progress is not None:
            self._progress[number] = call.on_progress
        try:
            self._channel.send(call.event, call.data, write_meta(call), number)
            payload = await future
        except BaseException as exc:
            pending.discard(number)
            if isinstance(exc, asyncio.CancelledError):
                self._cancel(number)
            raise
        finally:
            if call.on_progress is not None:
                self._progress.pop(number, None)
        if payload is None:
            raise make_late_error(call.event, timeout)
        return payload

    async def stream(self, call: Call) -> AsyncGenerator[Any, None]:
        """See `Dialect.stream`."""
        pending, timeout = self._channel.pending, call.timeout
        number, future = pending.open(None if timeout is None else timeout + _GRACE)
        parts = self._parts[number] = _Parts()
        future.add_done_callback(lambda _: parts.wake.set())
        if call.on_progress is not None:
            self._progress[number] = call.on_progress
        try:
            meta = write_meta(call.with_meta({"parts": _WINDOW}))
            self._channel.send(call.event, call.data, meta, number)
            while parts.unread or not future.done():
                if not parts.unread:
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
        finally:
            if not future.done():
                future.cancel()
                self._cancel(number)
            pending.discard(number)
            self._parts.pop(number, None)
            self._progress.pop(number, None)
        if payload is None:
            raise make_late_error(call.event, timeout)
        for part in last_part(read_answer(payload)):
            yield part

    async def ask_about_mesh(
        self, event: str, query: Mapping[str, Any], timeout: float
    ) -> dict[str, Any]:
        """See `Dialect.ask_about_mesh`."""
        answer = await self.tell(event, query, timeout)
        del answer["success"]
        return answer

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
            packet = (_read_request if payload.startswith(b'["GET_') else _read_event)(payload)
        except (msgspec.DecodeError, RecursionError):
            # No array, or a meta that no hub of this package writes: the rest may still be read.
            return super().receive(payload, ack)
        meta = packet.meta
        if packet.event in CONTROLS:
            self._control(packet.event, packet.data, meta)
            return None
        if meta.number is not None:
            position = self._channel.positions.get(meta.room)
            if position is not None:
                position.number = meta.number
        sender = meta.sender or meta.caller
        return Delivery(packet.event, packet.data, ack, meta, meta.room, sender, meta.id)

    def _control(self, event: str, data: Any, meta: HubMeta) -> None:
        """Take the hub's word about a request that is under way, in either direction."""
        if event == _PART:
            parts = self._parts.get(meta.request)
            if parts is not None:
                parts.unread.append(data)
                parts.wake.set()
        elif event == HubEvent.REQUEST_PROGRESS:
            report = self._progress.get(meta.request)
            if report is not None:
                report(data)
        elif event == HubEvent.TASK_KEPT and isinstance(data, dict):
            self._channel.take_kept(data)
        elif not isinstance(data, dict) or not isinstance(data.get("id"), str):
            return  # what no hub of this package writes
        elif event == HubEvent.REQUEST_MORE:
            parts = data.get("parts")
            self._channel.grant(data["id"], parts if isinstance(parts, int) else 0)
        else:
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
