"""The documented dialect: direct events, each acknowledged, as the design document says.

May go in: what hubs of other authors understand that follow that document, and native ones, too.
May not: what takes the meta argument (`native`).
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from alephscript.client.calls import Call, read_answer
from alephscript.client.declaring import Mastery
from alephscript.client.dialects.dialect import Dialect
from alephscript.errors import error_from_answer
from alephscript.protocol import events
from alephscript.protocol.events import Answer, HubEvent
from alephscript.protocol.wire import write_json

__all__ = ["Documented", "write_meta", "write_plain_meta"]


class Documented(Dialect):
    """Direct events, each acknowledged."""

    async def tell(
        self, event: str, message: Mapping[str, Any], timeout: float = events.DEFAULT_TIMEOUT
    ) -> Answer:
        """See `Dialect.tell`."""
        answer = read_answer(await self.ask(Call(event, write_json(message), timeout=timeout)))
        if events.is_failure(answer):
            raise error_from_answer(answer)
        return answer

    async def make_master(self, room: str, mastery: Mastery, *, yields: bool = False) -> bool:
        """See `Dialect.make_master`."""
        if yields:  # whether another one masters the room, such a hub does not say
            return False
        message = {"features": list(mastery.features), "room": room}
        await self.tell(HubEvent.MAKE_MASTER, message)
        return True

    async def ask(self, call: Call) -> bytes:
        """See `Dialect.ask`."""
        pending = self._channel.pending
        # A hub of this dialect gives no signs of life.
        seconds = call.timeout if call.idle is None else call.patience
        number, future = pending.open(seconds)
        try:
            self._channel.send(call.event, call.data, write_meta(call), number)
            call.data = b""
            payload = await future
        except BaseException:
            pending.discard(number)
            raise
        if payload is None:
            raise call.make_late_error()
        return payload

    async def server_state(self, timeout: float) -> Answer:
        """See `Dialect.server_state`."""
        call = Call(HubEvent.GET_SERVER_STATE, b"null", timeout=timeout)
        return read_answer(await self.ask(call))


def write_meta(call: Call) -> bytes:
    """Write the meta of a call as JSON text, empty for none."""
    if not call.meta:
        return write_plain_meta(call.room, call.timeout)
    meta = dict(call.meta)
    if call.room is not None:
        meta["room"] = call.room
    if call.timeout is not None:
        meta["timeoutMs"] = _milliseconds(call.timeout)
    return write_json(meta)


@functools.lru_cache  # a client asks in few rooms, with few timeouts
def write_plain_meta(room: str | None, timeout: float | None) -> bytes:
    """Write the meta of a call that has nothing but a room and a timeout, as nearly all."""
    meta: dict[str, Any] = {}
    if room is not None:
        meta["room"] = room
    if timeout is not None:
        meta["timeoutMs"] = _milliseconds(timeout)
    return write_json(meta) if meta else b""


def _milliseconds(seconds: float) -> int:
    return round(min(seconds, events.LONGEST_TIMEOUT) * 1000)
