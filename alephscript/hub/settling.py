"""Waiting for what a hub that closes has under way, for a bounded time.

May go in: the waiting. May not: what is waited for (`server`, `cluster`, `store`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

__all__ = ["settle"]

_LOOK_SECONDS = 0.005


async def settle(is_settled: Callable[[], object], seconds: float) -> None:
    """Wait until something is true, or until the time is over; once in a hub's life.

    Also in a task that was cancelled. There `asyncio.timeout` raises no TimeoutError before Python
    3.11.3, so that whatever is to be closed afterwards stays open.

    Args:
        is_settled: Looked at again and again, since nobody says when.
        seconds: The time.
    """
    clock = asyncio.get_running_loop().time
    until = clock() + seconds
    while not is_settled() and clock() < until:  # noqa: ASYNC110 - as above
        await asyncio.sleep(_LOOK_SECONDS)
