"""What a client needs of a link to a hub, and the table of what waits for an acknowledgement.

A link carries events and acknowledgements, in order, until it is lost; then it is done for.
It knows no room, no capability and no request, never reconnects and never blocks in `send`.
Reconnecting, registering and giving things a meaning is the client's.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from alephscript.errors import RequestError

__all__ = ["Link", "Pending", "Receiver", "Transport"]


class Receiver(Protocol):
    """Who is told what a link brings; all of it is called on the event loop and must not block."""

    def received(self, event: str, args: Sequence[Any], ack: int | None) -> None:
        """The hub sent an event; ``ack`` is to be passed to `Link.acknowledge` if not None."""
        ...

    def acknowledged(self, number: int, args: Sequence[Any]) -> None:
        """The hub acknowledged what was sent under ``number``."""
        ...

    def lost(self, reason: str) -> None:
        """The link is gone, whoever ended it; the last call, exactly once."""
        ...


class Link(Protocol):
    """One living connection to one namespace of a hub."""

    def send(self, event: str, args: Sequence[Any], ack: int | None = None) -> None:
        """Send an event, asking for acknowledgement under a number if one is given.

        Raises:
            NotConnected: The link is gone.
            InvalidPayload: An argument has no JSON form.
        """
        ...

    def acknowledge(self, ack: int, answer: Mapping[str, Any]) -> None:
        """Answer an event that asked for it; on a lost link, nothing happens.

        Raises:
            InvalidPayload: The answer has no JSON form.
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

    Every future ends: by `resolve`, by `fail` of all, or by whoever waits giving up and calling
    `discard`.

    Attributes:
        late: Acknowledgements that nobody waited for any more.
    """

    def __init__(self) -> None:
        self.late = 0
        self._futures: dict[int, asyncio.Future[Sequence[Any]]] = {}
        self._numbers = itertools.count(1)

    def __len__(self) -> int:
        return len(self._futures)

    def open(self) -> tuple[int, asyncio.Future[Sequence[Any]]]:
        """A fresh number and the future of its acknowledgement's arguments."""
        number = next(self._numbers)
        future = asyncio.get_running_loop().create_future()
        self._futures[number] = future
        return number, future

    def resolve(self, number: int, args: Sequence[Any]) -> None:
        """An acknowledgement came; one that nobody waits for is counted and dropped."""
        future = self._futures.pop(number, None)
        if future is None or future.done():
            self.late += 1
        else:
            future.set_result(args)

    def discard(self, number: int) -> None:
        """Nobody waits for this number any more."""
        self._futures.pop(number, None)

    def fail(self, error: type[RequestError], message: str) -> None:
        """End all that wait, each with an exception of its own."""
        futures, self._futures = self._futures, {}
        for future in futures.values():
            if not future.done():
                future.set_exception(error(message))
