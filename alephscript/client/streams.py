"""Events as an async iterator, with a buffer that is bounded and says what it dropped.

May go in: which reader takes an event, and how much is kept for it. May not: where events come
from (`inbox`), calling listeners (`listening`).
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from types import TracebackType
from typing import Any, Self, TypeVar

from alephscript.client.messages import Event

__all__ = ["EventStream", "Streams"]

logger = logging.getLogger("alephscript.client")

Stream = TypeVar("Stream", bound="EventStream")


class EventStream:
    """Events of one room, or of all, as they come: ``async for event in stream``.

    A stream takes events from the moment it is made, keeps unread ones up to its bound and then
    drops the oldest. It ends when it or its client is closed. For one reader.

    Attributes:
        dropped: How many events were dropped because nobody read them in time.
    """

    def __init__(
        self,
        *,
        room: str | None,
        names: frozenset[str],
        buffer: int,
        streams: Streams,
    ) -> None:
        self.dropped = 0
        self._room = room
        self._names = names
        self._events: deque[Event[Any]] = deque()
        self._bound = buffer
        # Not an `asyncio.Event`, which is four calls of Python for each event that is waited for.
        self._wake: asyncio.Future[None] | None = None
        self._closed = False
        self._streams = streams

    @property
    def listens_to(self) -> frozenset[str]:
        """Names of the events that the stream is offered; none for all."""
        return self._names

    @property
    def names(self) -> frozenset[str]:
        """Names of the events that the stream takes; none for all."""
        return self._names

    def offer(self, event: Event[Any]) -> None:
        """Take an event of one of its names if it is of its room."""
        # A core hub does not say the room: then any may be meant.
        if self._closed or (self._room is not None and event.room not in ("", self._room)):
            return
        if len(self._events) >= self._bound:
            self._events.popleft()
            self.dropped += 1
            if self.dropped == 1:
                logger.warning(
                    "a reader of %s is too slow: dropping its oldest",
                    event.name,
                    extra={"event": event.name, "room": event.room},
                )
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)
        self._events.append(event)

    def close(self) -> None:
        """End the stream after what it holds."""
        self._closed = True
        self._rouse()
        self._streams.forget(self)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event[Any]:
        if not await self.wait():
            raise StopAsyncIteration
        return self._events.popleft()

    async def wait(self) -> bool:
        """Wait until there is something unread; False if there will be nothing more."""
        while not self._events:
            if self._closed:
                return False
            # As `_sleep`, which is one coroutine more for each event that is waited for.
            self._wake = asyncio.get_running_loop().create_future()
            try:
                await self._wake
            finally:
                self._wake = None
        return True

    async def _sleep(self) -> None:
        """Wait until something has come, or the stream has ended."""
        self._wake = asyncio.get_running_loop().create_future()
        try:
            await self._wake
        finally:
            self._wake = None

    def _rouse(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    def __len__(self) -> int:
        return len(self._events)

    def take(self) -> Event[Any] | None:
        """Take the oldest unread event; None if there is none."""
        return self._events.popleft() if self._events else None


class Streams:
    """A client's streams, found by the name of an event."""

    def __init__(self) -> None:
        self._by_name: dict[str, list[EventStream]] = {}
        self._of_all: list[EventStream] = []
        self._closed = False

    def open(self, room: str | None, names: frozenset[str], buffer: int) -> EventStream:
        """Make a stream that takes events from now on, and has ended if its client has."""
        return self.add(EventStream(room=room, names=names, buffer=buffer, streams=self))

    def add(self, stream: Stream) -> Stream:
        """Have a stream take events from now on."""
        names = stream.listens_to
        for name in names:
            self._by_name.setdefault(name, []).append(stream)
        if not names:
            self._of_all.append(stream)
        if self._closed:
            stream.close()
        return stream

    def listening(self, name: str) -> list[EventStream]:
        """Return the streams that take events of a name; not to be kept or changed."""
        # The lists themselves where that will do: nothing is built for an event.
        named = self._by_name.get(name)
        if named is None:
            return self._of_all
        return [*named, *self._of_all] if self._of_all else named

    def forget(self, stream: EventStream) -> None:
        """Give no more events to a stream, which has ended."""
        for name in stream.listens_to:
            listening = self._by_name.get(name, [])
            if stream in listening:
                listening.remove(stream)
                if not listening:
                    del self._by_name[name]
        if stream in self._of_all:
            self._of_all.remove(stream)

    def close(self) -> None:
        """End every stream, and all that are opened later."""
        self._closed = True
        for stream in {
            *self._of_all,
            *(each for named in self._by_name.values() for each in named),
        }:
            stream.close()
