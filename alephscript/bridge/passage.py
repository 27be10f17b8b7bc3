"""Events on their way from one side of a bridge to the other.

May go in: which events are passed on, and what waits while the other side takes none. May not: how
an event is said (`side`), what is counted (`counts`).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Collection, Iterable

from alephscript import contracts
from alephscript.bridge.counts import Counts
from alephscript.bridge.side import Side
from alephscript.client.messages import GAP, Event, Gap
from alephscript.errors import NotConnected

__all__ = ["Passage"]

_MOST_WAITING = 4096
"""Events that wait at the most; the oldest are dropped for more."""

_MOST_WAITING_BYTES = 8_000_000
_BATCH = 256
"""Events that are said before the hub has taken the first."""

_BATCH_BYTES = 1_000_000

_STREAM_BUFFER = 65_536
"""Events that one turn of the loop may bring: they are read in the next one."""

Said = tuple[str, bytes]
"""An event's name, and its data as JSON text."""


class Passage:
    """One direction of a bridge.

    Args:
        source: The side on which events are heard.
        target: The side on which they are said.
        allowed: Names of events that are passed on.
        direction: Name of the direction, as it is counted.
        counts: Where what is not passed on is counted.
    """

    def __init__(
        self,
        source: Side,
        target: Side,
        *,
        allowed: Collection[str],
        direction: str,
        counts: Counts,
    ) -> None:
        self._source = source
        self._target = target
        self._allowed = frozenset(allowed)
        self._direction = direction
        self._counts = counts
        self._waiting: deque[Said] = deque()
        self._waiting_bytes = 0
        self._wake = asyncio.Event()
        self._stream = source.events(source.room, buffer=_STREAM_BUFFER)

    async def hear(self) -> None:
        """Take what is said on the one side, until that is closed."""
        dropped = 0
        async with self._stream as stream:
            async for event in stream:
                if stream.dropped > dropped:
                    self._count(event.name, "overrun", stream.dropped - dropped)
                    dropped = stream.dropped
                if isinstance(event.data, Gap):
                    self._count(GAP, "missed", event.data.missed or 1)
                elif not self._source.hear(event):
                    self._take(event)

    async def speak(self) -> None:
        """Say on the other side what was taken, until that is closed."""
        while True:
            await self._wake.wait()
            session = await self._target.session()
            batch = self._take_batch()
            outcomes = await self._target.say(session, batch)
            unsaid = []
            for said, code in zip(batch, outcomes, strict=True):
                if code == NotConnected.code:
                    unsaid.append(said)
                elif code:
                    self._count(said[0], code)
            self._put_back(unsaid)

    def _take(self, event: Event[object]) -> None:
        origin = self._source.origin(event)
        if origin == "itself" or event.retained:  # said before: passed on then, if it was to be
            return
        if origin == "bridge":
            self._count(event.name, "passed_before")
        elif event.name not in self._allowed:
            self._count(event.name, "not_allowed")
        else:
            self._put(event.name, contracts.write(event.data))

    def _put(self, name: str, text: bytes) -> None:
        self._waiting.append((name, text))
        self._waiting_bytes += len(text)
        while len(self._waiting) > _MOST_WAITING or self._waiting_bytes > _MOST_WAITING_BYTES:
            oldest, dropped = self._waiting.popleft()
            self._waiting_bytes -= len(dropped)
            self._count(oldest, "overrun")
        self._wake.set()

    def _take_batch(self) -> list[Said]:
        batch: list[Said] = []
        size = 0
        while self._waiting and len(batch) < _BATCH and size < _BATCH_BYTES:
            batch.append(self._waiting.popleft())
            size += len(batch[-1][1])
        self._waiting_bytes -= size
        if not self._waiting:
            self._wake.clear()
        return batch

    def _put_back(self, unsaid: Iterable[Said]) -> None:
        """Say these first when there is a link again."""
        for said in reversed(list(unsaid)):
            self._waiting.appendleft(said)
            self._waiting_bytes += len(said[1])
            self._wake.set()

    def _count(self, name: str, reason: str, by: int = 1) -> None:
        self._counts.count(self._direction, name, reason, by)
