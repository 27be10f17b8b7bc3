"""Which acknowledgement belongs to which request: numbers, futures and deadlines of one link.

May go in: matching answers to what waits for them. May not: what is asked, or how it is sent.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable

from alephscript.errors import RequestError
from alephscript.links.deadlines import Deadlines

__all__ = ["Pending"]


class Pending:
    """The numbers that are open on a link, and the futures of their acknowledgements.

    Every future ends: by `resolve`, by its deadline, by `fail` of all, or because the waiting code
    gives up and calls `discard`.

    Attributes:
        late: Count of acknowledgements that came after their number was closed.
        came_late: Called when one has come like that; None for nobody.
        is_single: Whether the number that was opened last was the only one then.
    """

    def __init__(self) -> None:
        self.late = 0
        self.came_late: Callable[[], None] | None = None
        self.is_single = False
        self._loop = asyncio.get_running_loop()
        self._futures: dict[int, asyncio.Future[bytes | None]] = {}
        self._numbers = itertools.count(1)
        self._deadlines = Deadlines(self._expire)

    def __len__(self) -> int:
        return len(self._futures)

    def open(self, timeout: float | None) -> tuple[int, asyncio.Future[bytes | None]]:
        """Open a new number.

        Args:
            timeout: Seconds until the future's result is None; None for no deadline.

        Returns:
            The number, and the future of its acknowledgement.
        """
        number = next(self._numbers)
        self.is_single = not self._futures
        future = self._futures[number] = self._loop.create_future()
        if timeout is not None:
            self._deadlines.set(number, timeout)
        return number, future

    def resolve(self, number: int, payload: bytes) -> None:
        """Take an acknowledgement; one whose number is not open is counted and dropped."""
        future = self._futures.pop(number, None)
        if future is None:
            self.late += 1
            if self.came_late is not None:
                self.came_late()
            return
        self._deadlines.forget(number)
        if future.done():
            self.late += 1
        else:
            future.set_result(payload)

    def discard(self, number: int) -> None:
        """Close a number whose acknowledgement is not waited for any more."""
        self._futures.pop(number, None)
        self._deadlines.forget(number)

    def fail(self, error: type[RequestError], message: str) -> None:
        """Close all numbers, each future with an exception of its own."""
        futures, self._futures = self._futures, {}
        self._deadlines.close()
        for future in futures.values():
            if not future.done():
                future.set_exception(error(message))

    def _expire(self, number: int) -> None:
        future = self._futures.pop(number, None)
        if future is not None and not future.done():
            future.set_result(None)
