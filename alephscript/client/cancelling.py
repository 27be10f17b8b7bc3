"""Cancelling tasks of an application's code, which may swallow that.

May go in: how long a closing client waits for what it has cancelled. May not: what is cancelled.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection
from typing import Any

__all__ = ["cancel"]

logger = logging.getLogger("alephscript.client")

_SECONDS = 5.0
"""The time that cancelled tasks have to end."""


async def cancel(tasks: Collection[asyncio.Task[Any]], name: str) -> None:
    """Cancel tasks, and wait until they have ended, for a while; those that go on are logged.

    Args:
        tasks: The tasks.
        name: Name of the client whose tasks they are.
    """
    for task in tasks:
        task.cancel()
    if not tasks:
        return
    _, pending = await asyncio.wait(tasks, timeout=_SECONDS)
    if pending:
        logger.error(
            "%d tasks of %s ignore that they were cancelled, and are left alone",
            len(pending),
            name,
            extra={"tasks": len(pending), "usuario": name},
        )
