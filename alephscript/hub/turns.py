"""Turns: what one client sends at once is handled in slices, between which others are served.

A read brings up to 256 kB, which can be thousands of messages; each may be for a thousand members.

May go in: how long a turn is, and whose turn is next. May not: what is done in a turn (`http`,
`sockets`).
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable

__all__ = ["AT_ONCE", "TURN_SECONDS", "GoOn", "Turns"]

AT_ONCE = 16
"""Messages that are handled without a look at the clock; most reads bring fewer."""

TURN_SECONDS = 0.005
"""Seconds that the input of one client may be handled in one go."""

GoOn = Callable[[float], bool]
"""Goes on until about the given time (`time.monotonic`), and says whether nothing is left."""


class Turns:
    """Clients whose input is not all handled: each turn of the loop, the next one goes on."""

    def __init__(self) -> None:
        self._waiting: deque[GoOn] = deque()

    def wait(self, go_on: GoOn) -> None:
        """Go on later, as often as it takes."""
        self._waiting.append(go_on)
        if len(self._waiting) == 1:
            asyncio.get_running_loop().call_soon(self._run)

    async def come(self) -> float:
        """Wait for a turn; return the time at which it is over."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def begin(_: float) -> bool:
            if not turn.done():
                turn.set_result(None)
            return True

        self.wait(begin)
        await turn
        return time.monotonic() + TURN_SECONDS

    def _run(self) -> None:
        # One each turn of the loop: many that flood delay the others no more than one does.
        go_on, is_over = self._waiting[0], True
        try:
            is_over = go_on(time.monotonic() + TURN_SECONDS)
        finally:
            self._waiting.popleft()
            if not is_over:
                self._waiting.append(go_on)
            if self._waiting:
                asyncio.get_running_loop().call_soon(self._run)
