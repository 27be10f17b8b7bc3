"""What a client needs of a link to a hub, and the table of what waits for an acknowledgement.

A link carries JSON texts, in order, until it is lost; then it is done for. It knows no event, no
room and no request, never reconnects and never blocks in `send`. Reading what it brings is the
session's, reconnecting the client's.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping
from typing import Any, Protocol

from alephscript.deadlines import Deadlines
from alephscript.errors import RequestError

__all__ = ["Link", "Pending", "Receiver", "Transport"]


class Receiver(Protocol):
    """Who is told what a link brings; all of it is called on the event loop and must not block."""

    def received(self, payload: bytes, ack: int | None) -> None:
        """The hub sent an event.

        Args:
            payload: JSON array of its name and its arguments, unchecked.
            ack: To be passed to `Link.acknowledge`, None if the hub wants no acknowledgement.
        """
        ...

    def acknowledged(self, number: int, payload: bytes) -> None:
        """The hub acknowledged what was sent under ``number`` with a JSON array, unchecked."""
        ...

    def lost(self, reason: str) -> None:
        """The link is gone, whoever ended it; the last call, exactly once."""
        ...


class Link(Protocol):
    """One living connection to one namespace of a hub."""

    def send(self, payload: bytes, ack: int | None = None) -> None:
        """Send an event, asking for acknowledgement under a number if one is given.

        Args:
            payload: JSON array of the event's name and its arguments.
            ack: The number.

        Raises:
            NotConnected: The link is gone.
            PayloadTooLarge: The hub takes no message of that size; nothing was sent.
        """
        ...

    def acknowledge(self, ack: int, payload: bytes) -> None:
        """Answer an event that asked for it, with a JSON array; on a lost link, nothing happens.

        Raises:
            PayloadTooLarge: The hub takes no message of that size; nothing was sent.
        """
        ...

    async def close(self) -> None:
        """End the link when what was sent is out; bounded in time, safe to call twice."""
        ...


class Transport(Protocol):
    """Makes links to one hub."""

    async def connect(
        self, receiver: Receiver, *, namespace: str, auth: Mapping[str, Any] | None, timeout: float
    ) -> Link:
        """Open a link.

        Raises:
            ConnectionRefused: There is no hub, or it said no, or it was silent for ``timeout`` s.
        """
        ...


class Pending:
    """Numbers given out and the futures that their acknowledgements resolve.

    Every future ends: by `resolve`, by its deadline, by `fail` of all, or by whoever waits giving
    up and calling `discard`.

    Attributes:
        late: Acknowledgements that nobody waited for any more.
    """

    def __init__(self) -> None:
        self.late = 0
        self._loop = asyncio.get_running_loop()
        self._futures: dict[int, asyncio.Future[bytes | None]] = {}
        self._numbers = itertools.count(1)
        self._deadlines = Deadlines(self._expire)

    def __len__(self) -> int:
        return len(self._futures)

    def open(self, timeout: float | None) -> tuple[int, asyncio.Future[bytes | None]]:
        """A fresh number and the future of its acknowledgement, None when the time has passed."""
        number = next(self._numbers)
        future = self._futures[number] = self._loop.create_future()
        if timeout is not None:
            self._deadlines.set(number, timeout)
        return number, future

    def resolve(self, number: int, payload: bytes) -> None:
        """An acknowledgement came; one that nobody waits for is counted and dropped."""
        future = self._futures.pop(number, None)
        if future is None:
            self.late += 1
            return
        self._deadlines.forget(number)
        if future.done():
            self.late += 1
        else:
            future.set_result(payload)

    def discard(self, number: int) -> None:
        """Nobody waits for this number any more."""
        self._futures.pop(number, None)
        self._deadlines.forget(number)

    def fail(self, error: type[RequestError], message: str) -> None:
        """End all that wait, each with an exception of its own."""
        futures, self._futures = self._futures, {}
        self._deadlines.close()
        for future in futures.values():
            if not future.done():
                future.set_exception(error(message))

    def _expire(self, number: int) -> None:
        future = self._futures.pop(number, None)
        if future is not None and not future.done():
            future.set_result(None)
