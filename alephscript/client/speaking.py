"""What a client says in rooms, and the streams by which it hears them.

May go in: what a user calls for that, with its documentation. May not: keeping what was said while
there is no link (`offline`), reading a log (`replaying`), listeners (`listening`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

from alephscript import contracts
from alephscript.client.arguments import check_count, check_since, unfit
from alephscript.client.calls import Call
from alephscript.client.lifecycle import State
from alephscript.client.membership import Membership
from alephscript.client.offline import OfflineBuffer
from alephscript.client.replaying import LogStream
from alephscript.client.streams import EventStream
from alephscript.errors import Closed, NotConnected, StateError
from alephscript.protocol import events
from alephscript.protocol.events import HubEvent, Position

__all__ = ["Speaker"]


class Speaker(Membership):
    """The part of a client that says and hears."""

    _alephscript_offline: OfflineBuffer

    async def broadcast(
        self,
        event: str,
        data: Any = None,
        *,
        room: str | None = None,
        retain: bool = False,
        confirm: bool = False,
    ) -> Position | None:
        """Tell a room what happened; all its members hear it, this client included if it is in it.

        Args:
            event: Name of the event.
            data: A contract or a JSON value.
            room: The room; by default the first of the client's.
            retain: Whether the hub keeps the data as the last value of the event in the room, and
                tells it to whoever subscribes later, as an event that is ``retained``; None as data
                has the hub forget it. What exceeds the hub's bounds is not said at all. Stock hubs
                tell the event to those who are there.
            confirm: Whether to return only when the hub has the event, and to hear of it if the
                hub refuses the event.

        Returns:
            Where the event stands in the history of the room, if it is confirmed and the hub keeps
            one.

        Raises:
            StateError: No room is given and the client is in none, or the client is not open.
            ContractError: The data has no wire form.
            UnknownEvent: The event's name is reserved, or no valid one.
            PayloadTooLarge: The data is nested too deeply, or too long for the hub.
            NotConnected: There is no link, and broadcasts do not wait for one; nothing was sent.
            Overloaded: There is no link, and the buffer of broadcasts that wait for it is full.
            Closed: The client is closed.
            RequestError: The event is to be confirmed, and was refused, or not confirmed in time.
        """
        if room is None:
            room = next(iter(self._alephscript_rooms), None)
            if room is None:
                raise StateError("this client is in no room; say which one: broadcast(…, room=…)")
        message = (events.check_room_name(room), events.check_event(event), contracts.write(data))
        if confirm:
            return await self._alephscript_say(*message, retain=retain)
        try:
            dialect = self._alephscript_life.present_session().dialect
            dialect.broadcast(*message, retain=retain)
        except NotConnected:
            if self._alephscript_when_offline == "fail":
                raise
        else:
            return None
        self._alephscript_offline.keep(*message, retain=retain)
        return None

    def events(
        self,
        room: str | None = None,
        *names: str,
        since: str | dt.datetime | Position | None = None,
        buffer: int = 1024,
    ) -> EventStream:
        """Return an async iterator over what is said from now on, also across reconnections.

        With ``since`` it begins with what was said since then, where the hub keeps a log of the
        room (``--log``), and goes on as the client hears the room, which it subscribes to before or
        after. Nothing of that is dropped, heard twice or out of order; what the hub no longer has
        is a `GAP` event, as everything is that was said before on a hub without a log.

        Args:
            room: Only this room; None for all that the client is in.
            names: Only events of these names; none for all.
            since: A duration until now, such as ``"10m"`` or ``"1.5h"``; a time, as a datetime (a
                local one without a zone) or in ISO 8601; or a position. It needs a room.
            buffer: How many unread events are kept before the oldest are dropped; with ``since``,
                before further ones are read from the log.

        Raises:
            ContractError: The buffer is no number of events, or ``since`` is none of these.
            StateError: The client was opened on another event loop.
        """
        check_count("events", "buffer", buffer, 1)
        self._alephscript_life.check_loop()
        if since is not None:
            if room is None:
                raise unfit("events", "since", "given together with a room")
            stream = LogStream(
                room=events.check_room_name(room),
                since=check_since("events", since),
                read=self._alephscript_read_log,
                names=frozenset(names),
                buffer=buffer,
                streams=self._alephscript_streams,
            )
            return self._alephscript_streams.add(stream)
        return self._alephscript_streams.open(room, frozenset(names), buffer)

    async def _alephscript_read_log(self, query: Mapping[str, Any]) -> dict[str, Any]:
        """Ask the hub for a page of a log, when there is a link."""
        if self._alephscript_life.state is State.CLOSED:
            raise Closed("this client is closed; make another one")
        session = await self._alephscript_life.ready()
        timeout = self._alephscript_timeout or events.DEFAULT_TIMEOUT
        return await session.dialect.ask_about_mesh(HubEvent.GET_ROOM_LOG, query, timeout)

    async def _alephscript_say(
        self, room: str, event: str, data: bytes, *, retain: bool
    ) -> Position | None:
        """Say something, and wait for the hub's word that it has it, and for a link if need be."""
        timeout = self._alephscript_timeout or events.DEFAULT_TIMEOUT
        session, call = await self._alephscript_session_for(Call(event, data, room, timeout))
        answer = await session.dialect.say(
            room, event, data, retain=retain, timeout=call.timeout or timeout
        )
        history, number = answer.get("history"), answer.get("number")
        if isinstance(history, str) and isinstance(number, int):
            return Position(history, number)
        return None
