"""Events as an async iterator, with a buffer that is bounded and says what it dropped."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from alephscript.capabilities import Event

__all__ = ["EventStream"]

logger = logging.getLogger("alephscript.client")


class EventStream:
    """Events of one room, or of all, as they come: ``async for event in stream``.

    It takes events from the moment it is made, keeps what is not yet read up to its bound and
    then drops the oldest. It ends when it or its client is closed. For one reader.

    Attributes:
        dropped: How many events were dropped because nobody read them in time.
    """

    def __init__(
        self,
        *,
        room: str | None,
        names: frozenset[str],
        buffer: int,
        on_close: Callable[[EventStream], None],
    ) -> None:
        self.dropped = 0
        self._room = room
        self._names = names
        self._events: deque[Event[Any]] = deque()
        self._bound = buffer
        self._wake = asyncio.Event()
        self._closed = False
        self._on_close = on_close

    def offer(self, event: Event[Any]) -> None:
        """Take an event if it is one of this stream's."""
        if self._closed or (self._names and event.name not in self._names):
            return
        # A stock hub does not say the room: then any may be meant.
        if self._room is not None and event.room not in ("", self._room):
            return
        if len(self._events) >= self._bound:
            self._events.popleft()
            self.dropped += 1
            if self.dropped == 1:
                logger.warning("a reader of %s is too slow: dropping its oldest", event.name)
        self._events.append(event)
        self._wake.set()

    def close(self) -> None:
        """End the stream after what it holds."""
        self._closed = True
        self._wake.set()
        self._on_close(self)

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
        while not self._events:
            if self._closed:
                raise StopAsyncIteration
            self._wake.clear()
            await self._wake.wait()
        return self._events.popleft()
