"""Telling the room what happened: in order, to the end, and at no cost to what happens next."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

import anyio
from anyio.abc import TaskGroup

from alephscript import aaia

__all__ = ["RoomChange", "Tell", "Teller"]

RoomChange = (
    aaia.SessionCreated
    | aaia.SessionDestroyed
    | aaia.FIAStep
    | aaia.EferenciaEmitted
    | aaia.MundoChanged
    | aaia.PerceptoSent
)
"""What the room is told."""

Tell = Callable[[RoomChange], Awaitable[None]]

logger = logging.getLogger("aaia")


class Teller:
    """Calls a `Tell` with one change after the other.

    What happened is told even if whoever made it happen has been cancelled meanwhile; that is
    why the calls are made in tasks of their own. A call that fails costs the room one message.

    Args:
        tasks: Where the calls are made.
        tell: What to call. It must not wait for what waits for its own telling.
    """

    def __init__(self, tasks: TaskGroup, tell: Tell) -> None:
        self._tasks = tasks
        self._tell = tell
        self._order = anyio.Lock()

    def tell(self, *changes: RoomChange, kept: asyncio.Event | None = None) -> anyio.Event:
        """Tell of changes after all that were told of before.

        Args:
            changes: What has happened.
            kept: What is set when that cannot be lost any more: nothing is told of before.

        Returns:
            What is set when it has been done, or will not be done any more.
        """
        told = anyio.Event()
        self._tasks.start_soon(self._deliver, changes, kept, told)
        return told

    async def _deliver(
        self, changes: tuple[RoomChange, ...], kept: asyncio.Event | None, told: anyio.Event
    ) -> None:
        try:
            async with self._order:
                if kept is not None:
                    await kept.wait()
                for change in changes:
                    try:
                        await self._tell(change)
                    except Exception:
                        logger.exception("the room was not told of a %s", type(change).__name__)
        finally:
            told.set()
