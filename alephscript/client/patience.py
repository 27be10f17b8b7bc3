"""How long a call may go on in silence.

May go in: the timer of one call, and what stops it. May not: what counts as a sign of life
(`dialects`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from alephscript.errors import RequestError

__all__ = ["Patience"]


class Patience:
    """Ends a call of which nothing was heard for too long.

    A sign of life costs a look at the clock; the timer is set anew only when it rings.

    Args:
        seconds: How long the silence may last.
        future: The call's acknowledgement, which gets the error.
        error: Makes the error.
        is_slow: Tells whether it is the asker that others wait for; None for never.
    """

    def __init__(
        self,
        seconds: float,
        future: asyncio.Future[bytes | None],
        error: Callable[[], RequestError],
        is_slow: Callable[[], bool] | None = None,
    ) -> None:
        self._is_slow = is_slow
        self._seconds = seconds
        self._future = future
        self._error = error
        self._loop = asyncio.get_running_loop()
        self._heard = self._loop.time()
        self._holds = 0
        self._timer = self._loop.call_at(self._heard + seconds, self._ring)

    def hear(self) -> None:
        """Take note of a sign of life."""
        self._heard = self._loop.time()

    def hold(self) -> None:
        """Let no time pass until `release`: it is the asker's turn."""
        self._holds += 1

    def release(self) -> None:
        """Let time pass again, from now on."""
        self._holds -= 1
        self.hear()

    def close(self) -> None:
        """Watch the call no more."""
        self._timer.cancel()

    def _ring(self) -> None:
        if self._holds or (self._is_slow is not None and self._is_slow()):
            self.hear()
        ends = self._heard + self._seconds
        if ends > self._loop.time():
            self._timer = self._loop.call_at(ends, self._ring)
        elif not self._future.done():
            self._future.set_exception(self._error())
