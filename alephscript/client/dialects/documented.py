"""The documented dialect: direct events, each acknowledged, as the design document says.

May go in: what hubs of other authors understand that follow that document, and native ones, too.
May not: what takes the meta argument (`native`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from alephscript.client.calls import Call, read_answer
from alephscript.client.declaring import Mastery
from alephscript.client.dialects.channel import json_text
from alephscript.client.dialects.dialect import Dialect
from alephscript.errors import error_from_answer
from alephscript.protocol import events
from alephscript.protocol.events import Answer, HubEvent
from alephscript.protocol.wire import write_json

__all__ = ["Documented", "write_meta"]


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
    """Write the meta of a call as JSON text, empty for none.

    Put together by hand where there is nothing but a room and a timeout, as with nearly all.
    """
    timeout, room = call.timeout, call.room
    milliseconds = 0 if timeout is None else round(min(timeout, events.LONGEST_TIMEOUT) * 1000)
    if not call.meta:
        if room is None:
            return b"" if timeout is None else b'{"timeoutMs":%d}' % milliseconds
        if timeout is None:
            return b'{"room":%b}' % json_text(room)
        return b'{"room":%b,"timeoutMs":%d}' % (json_text(room), milliseconds)
    meta = dict(call.meta)
    if room is not None:
        meta["room"] = room
    if timeout is not None:
        meta["timeoutMs"] = milliseconds
    return write_json(meta)
