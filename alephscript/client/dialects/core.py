"""The core dialect: upstream's hubs, which take everything in ROOM_MESSAGE and acknowledge nothing.

May go in: how upstream's stock hubs and their masters are spoken to (decision 0013). May not: what
is acknowledged (`documented`).
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Mapping
from typing import Any

from alephscript.client.calls import Call, Delivery, make_late_error
from alephscript.client.declaring import Mastery
from alephscript.client.dialects.channel import Channel
from alephscript.client.dialects.dialect import Dialect
from alephscript.errors import AmbiguousRoom, DeadlineExceeded, NotSubscribed, RequestError
from alephscript.protocol import events
from alephscript.protocol.events import Answer, HubEvent
from alephscript.protocol.json import parse_json, write_json

__all__ = ["Core"]

_SETTLE_SECONDS = 1.0
"""The time in which a hub may say that it has taken the declarations."""


class Core(Dialect):
    """Everything in ROOM_MESSAGE, nothing acknowledged (decision 0013).

    An answer says neither room nor asker, so two calls of one name would be mixed up: each waits
    for its turn. A call is not repeated: "no master yet" and "slow master" look the same here,
    and repeating would run it twice.
    """

    def __init__(self, channel: Channel) -> None:
        super().__init__(channel)
        # By SET_ event: the call that has its turn, by its requestId, and what the others wait for.
        self._waiting: dict[str, tuple[str, asyncio.Future[Any]]] = {}
        self._turns: dict[str, asyncio.Lock] = {}

    async def tell(
        self,
        event: str,
        message: Mapping[str, Any],
        timeout: float = events.DEFAULT_TIMEOUT,  # noqa: ARG002 - nothing is waited for
    ) -> Answer:
        """See `Dialect.tell`."""
        self._channel.send_values(event, message)
        return {}

    async def make_master(self, room: str, mastery: Mastery, *, yields: bool = False) -> bool:
        """See `Dialect.make_master`."""
        if yields:  # whether another one masters the room, such a hub does not say
            return False
        message = write_json({"features": list(mastery.features)})
        self.broadcast(room, HubEvent.MAKE_MASTER, message)
        return True

    async def settle(self) -> None:
        """See `Dialect.settle`: a hub works in order, so that its answer to a question says it."""
        with contextlib.suppress(DeadlineExceeded):
            await self.server_state(_SETTLE_SECONDS)

    async def say(
        self, room: str, event: str, data: bytes, *, retain: bool, timeout: float
    ) -> Answer:
        """See `Dialect.say`; the hub's answer to a question says it, as far as it answers."""
        self.broadcast(room, event, data, retain=retain)
        with contextlib.suppress(DeadlineExceeded):
            await self.server_state(min(timeout, _SETTLE_SECONDS))
        return {}

    async def ask(self, call: Call) -> bytes:
        """See `Dialect.ask`."""
        own_id = uuid.uuid4().hex
        answer_event = events.answer_event(call.event)
        try:  # there are no signs of life to wait for
            # No name here for the message, which may be large: nothing keeps it once it is sent.
            answer = await self._ask_room(
                answer_event, self._make_message(call, own_id), call.patience, own_id
            )
        except DeadlineExceeded:
            raise call.make_late_error() from None
        return write_json([answer])

    def _make_message(self, call: Call, own_id: str) -> dict[str, Any]:
        payload = parse_json(call.data)
        call.data = b""
        data = {**payload, "requestId": own_id} if isinstance(payload, dict) else payload
        return {"event": call.event, "room": self._room_to_ask(call.room), "data": data}

    async def server_state(self, timeout: float) -> Answer:
        """See `Dialect.server_state`."""
        message = {"event": HubEvent.GET_SERVER_STATE, "room": "*"}
        return await self._ask_room(HubEvent.SET_SERVER_STATE, message, timeout)

    def fail_calls(self, error: type[RequestError], message: str) -> None:
        """See `Dialect.fail_calls`."""
        super().fail_calls(error, message)
        for _, future in self._waiting.values():
            if not future.done():
                future.set_exception(error(message))

    def answer(self, request: Delivery, answer: bytes) -> None:
        """See `Dialect.answer`; the asker's mark is repeated, for it to recognise its answer."""
        if request.own_id is not None:
            answer = write_json({**parse_json(answer), "requestId": request.own_id})
        super().answer(request, answer)

    def announce(self, request: Delivery, answer: bytes) -> None:
        """Do nothing: the answer is told to the room anyway."""

    def receive(self, payload: bytes, ack: int | None) -> Delivery | None:
        """See `Dialect.receive`."""
        delivery = super().receive(payload, ack)
        if delivery is None:
            return None
        if delivery.event.startswith("GET_"):
            _unwrap(delivery)
            return delivery
        if len(self._channel.rooms) == 1:
            delivery.room = next(iter(self._channel.rooms))
        self._end_call(delivery)
        return delivery

    async def _ask_room(
        self,
        answer_event: str,
        message: Mapping[str, Any],
        timeout: float | None,
        own_id: str = "",
    ) -> Answer:
        turn = self._turns.setdefault(answer_event, asyncio.Lock())
        async with _deadline(timeout, answer_event), turn:
            future = asyncio.get_running_loop().create_future()
            self._waiting[answer_event] = (own_id, future)
            try:
                self._channel.send_values(HubEvent.ROOM_MESSAGE, message)
                del message
                return events.normalise([await future])
            finally:
                self._waiting.pop(answer_event, None)

    def _end_call(self, delivery: Delivery) -> None:
        """End the call that a SET_ event answers, if there is one."""
        own_id, future = self._waiting.get(delivery.event, ("", None))
        if future is None or future.done():
            return
        data = delivery.data
        if isinstance(data, dict):
            if own_id and data.get("requestId", own_id) != own_id:
                return  # somebody else's answer
            data = {k: v for k, v in data.items() if k not in ("sender", "requestId")}
        future.set_result(data)

    def _room_to_ask(self, room: str | None) -> str:
        rooms = self._channel.rooms
        if room is None:
            if len(rooms) != 1:
                raise AmbiguousRoom(
                    "a stock hub has to be told which room to ask: pass room=", list(rooms)
                )
            return next(iter(rooms))
        if room not in rooms:
            raise NotSubscribed(f"a stock hub tells answers to the room only: subscribe to {room}")
        return room


def _unwrap(request: Delivery) -> None:
    """Take a core hub's envelope off a request."""
    envelope = request.data
    if isinstance(envelope, dict) and "requester" in envelope:
        request.data = envelope.get("data")
        request.room = _text(envelope.get("room"))
        request.sender = _text(envelope.get("requesterName"))
        request.id = _text(envelope.get("requestId"))
    if isinstance(request.data, dict):
        request.own_id = request.data.get("requestId")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


@contextlib.asynccontextmanager
async def _deadline(timeout: float | None, event: str) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(timeout) as scope:
            yield
    except TimeoutError as exc:
        if scope.expired():
            raise make_late_error(event, timeout) from exc
        raise
