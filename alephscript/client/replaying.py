"""Events since some time, then as they come: a stream that reads what it has not heard.

Theory of operation. A room's log numbers its events one by one. The stream reads page by page what
is not unread yet, and takes events as they come once it has read all. An event that is not the next
one, or for which there is no room, is left to the log: the stream reads on from where it was. So
nothing is dropped, heard twice or out of order, whatever becomes of links and hubs, and no more is
kept than a page and the buffer.

May go in: what such a stream takes, and what it reads. May not: streams of what comes alone
(`streams`), how a page is asked for (`dialects`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

from alephscript.client.messages import GAP, Event, Gap
from alephscript.client.streams import EventStream, Streams
from alephscript.errors import (
    Closed,
    DeadlineExceeded,
    LinkLost,
    NotConnected,
    Overloaded,
    UnknownEvent,
)
from alephscript.protocol.positions import Position, parse_duration

__all__ = ["LogStream", "ReadPage"]

_AGAIN_SECONDS = 0.5
"""How long a log that cannot be read is left alone."""

ReadPage = Callable[[Mapping[str, Any]], Awaitable[Mapping[str, Any]]]
"""Asks the hub for a page by GET_ROOM_LOG, when there is a link; raises what is then raised."""


class LogStream(EventStream):
    """Events of one room since some time, without a gap: ``async for event in stream``.

    Args:
        room: The room.
        since: What the hub is asked for first.
        read: Asks for a page.
        names: Names of the events that are wanted; none for all.
        buffer: Events that are kept unread, beside a page.
        streams: The client's streams.
    """

    def __init__(
        self,
        *,
        room: str,
        since: str,
        read: ReadPage,
        names: frozenset[str],
        buffer: int,
        streams: Streams,
    ) -> None:
        super().__init__(room=room, names=names, buffer=buffer, streams=streams)
        self._name = room
        self._since = since
        self._ago = parse_duration(since)
        self._began = time.monotonic()
        self._read = read
        self._place: Position | None = None  # how far events are unread here, or were read
        self._heard: Position | None = None  # of what was left to the log
        self._first: Position | None = None  # of what was heard before anything was read
        self._has_begun = False  # to read: what was said before comes first
        self._is_behind = True
        self._has_log = True
        self._unplaced = 0  # events without a position since the last that had one

    @property
    def listens_to(self) -> frozenset[str]:
        """All: an event of another name is the next one, too."""
        return frozenset()

    def offer(self, event: Event[Any]) -> None:
        """Take an event if it is the next one; see `EventStream.offer`."""
        if event.room != self._name or event.retained:
            return  # what was retained may have been said before
        position = event.position
        if event.name == GAP and self._has_log:
            self._leave_to_log()  # which shows what is missing
        elif position is None:
            self._unplaced += 1
            self._keep(event)
        elif self._place is not None and _is_behind(position, self._place):
            return  # what was read already
        elif self._is_next(position):
            self._place, self._unplaced = position, 0
            self._keep(event)
        elif self._heard is None or not _is_behind(position, self._heard):
            self._heard = position
            if self._place is None and self._first is None:
                self._first = position
            self._leave_to_log()

    async def wait(self) -> bool:
        """Wait until there is something unread, read from the log if need be.

        Raises:
            PermissionDenied: The client may not hear the room.
            RequestError: The hub does not tell.
        """
        while not (self._events and self._has_begun):
            if self._closed:
                return bool(self._events)
            if not self._is_behind:
                await self._sleep()
            elif not await self._read_on():
                return bool(self._events)
        return True

    @property
    def has_log(self) -> bool:
        """Whether the hub has a log of the room, as far as is known."""
        return self._has_log

    async def to_the_end(self) -> AsyncIterator[Event[Any]]:
        """Iterate over what the log has, until its end; raises as `wait`."""
        while True:
            while self._events:
                yield self._events.popleft()
            if self._closed or not self._is_behind or not await self._read_on():
                return

    def _wants(self, name: str) -> bool:
        return not self._names or name in self._names

    def _keep(self, event: Event[Any]) -> None:
        if len(self._events) >= self._bound:
            self.dropped += 1  # without a position: with one, the log has it
        elif self._wants(event.name):
            super().offer(event)

    def _leave_to_log(self) -> None:
        self._is_behind = True
        self._rouse()

    def _is_next(self, position: Position) -> bool:
        """Whether an event comes next, and there is room for it; note that others are behind."""
        place = self._place
        if self._is_behind or place is None or position.history != place.history:
            return False
        return position.number == place.number + 1 and len(self._events) < self._bound

    async def _read_on(self) -> bool:
        """Read a page; return whether there may be more."""
        since = self._since
        if self._place is not None:
            since = str(self._place)
        elif self._ago is not None:  # until the stream was made, and not until now
            since = f"{self._ago + time.monotonic() - self._began:.3f}s"
        try:
            answer = await self._read({"room": self._name, "since": since})
        except (LinkLost, NotConnected, DeadlineExceeded):
            return not self._closed
        except Overloaded:
            await asyncio.sleep(_AGAIN_SECONDS)
            return not self._closed
        except Closed:
            return False
        except UnknownEvent:  # a hub of another package
            answer = {"missed": None}
        heard = [] if self._has_begun else [*self._events]
        if heard:
            self._events.clear()
        self._has_begun = True
        self._take(answer)
        self._events.extend(heard)
        return True

    def _take(self, answer: Mapping[str, Any]) -> None:
        history, number = answer.get("history"), answer.get("number")
        missed = answer.get("missed")
        if missed != 0 and self._wants(GAP):
            self._put(GAP, Gap(missed if type(missed) is int else None))
        if not isinstance(history, str) or not isinstance(number, int):
            self._has_log = self._is_behind = False
            return
        if self._place is not None and self._place.history != history:
            # A log that was begun after that one was lost: nothing of it was heard with a place.
            self._place = Position(history, 0)
            return
        entries = answer.get("events") or ()
        for each in entries:
            self._take_entry(history, each)
        place = Position(history, number)
        if self._place is None and not entries and self._ago is None:
            # By the hub's clock that time, or that position, is still to come: what was said since
            # the stream was made was said from then on, too.
            first = self._first
            if first is not None and _is_behind(first, place):
                place = Position(history, first.number - 1)
        self._place = place
        heard, self._heard = self._heard, None
        # What was heard meanwhile may be behind the page.
        is_left = heard is not None and not _is_behind(heard, place)
        self._is_behind = is_left or place.number < number or answer.get("isEnd") is False

    def _take_entry(self, history: str, entry: Mapping[str, Any]) -> None:
        lost = entry.get("lost", 0)
        if lost:
            missed = lost - self._unplaced  # the others were heard as they came
            self._unplaced = 0
            if missed > 0 and self._wants(GAP):
                self._put(GAP, Gap(missed))
            return
        name, data = entry["event"], entry["data"]
        if name.startswith("SET_") and isinstance(data, dict):
            data.pop("sender", None)
        if self._wants(name):
            position = Position(history, entry["number"])
            self._put(name, data, entry["sender"], entry["at"] / 1000, position)

    def _put(
        self,
        name: str,
        data: Any,
        sender: str = "",
        sent: float = 0.0,
        position: Position | None = None,
    ) -> None:
        self._events.append(Event(self._name, name, data, sender, sent=sent, position=position))


def _is_behind(position: Position, place: Position) -> bool:
    """Whether a position is not beyond another one of the same log."""
    return position.history == place.history and position <= place
