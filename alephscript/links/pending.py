"""Which acknowledgement belongs to which request: numbers, futures and deadlines of one link.

May go in: matching answers to what waits for them. May not: what is asked, or how it is sent.
"""

from __future__ import annotations

import asyncio
import itertools

from alephscript.errors import RequestError
from alephscript.links.deadlines import Deadlines

__all__ = ["Pending"]


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
