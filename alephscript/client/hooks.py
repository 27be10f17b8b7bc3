"""Hooks: methods of an application that a client calls when its life takes a turn.

May go in: running a hook, and what becomes of its exceptions. May not: when a life takes a turn
(`client`, `lifecycle`), events of rooms (`listening`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from alephscript.client.cancelling import cancel
from alephscript.client.jobs import current_job
from alephscript.diagnostics.redaction import as_logged, ends_program

__all__ = ["Hooks"]

logger = logging.getLogger("alephscript.client")

_CLOSING_SECONDS = 5.0
"""The time that the hook for the closing may take, as a method has that ignores its cancelling."""


class Hooks:
    """A client's hooks at work; an exception is logged and costs nothing else.

    Args:
        name: The client's, for the log.
        redact: Whether the log may not have the texts of exceptions.
    """

    def __init__(self, name: str, *, redact: bool) -> None:
        self._name = name
        self._redact = redact
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, hook: str, method: Callable[[], Awaitable[Any]]) -> asyncio.Task[None]:
        """Run a hook in a task of its own."""
        task = asyncio.create_task(self._run(hook, method))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def run_last(self, hook: str, method: Callable[[], Awaitable[Any]]) -> None:
        """Run the last hook, for a few seconds; it may be the one that closes the client."""
        await asyncio.wait({self.start(hook, method)}, timeout=_CLOSING_SECONDS)

    async def close(self, *, spare: asyncio.Task[Any] | None) -> None:
        """Cancel what runs.

        Args:
            spare: The task that closes, which may be one of them.
        """
        await cancel(self._tasks - {spare}, self._name)

    async def _run(self, hook: str, method: Callable[[], Awaitable[Any]]) -> None:
        current_job.set(None)  # a client may have been opened by a method that serves a request
        try:
            await method()
        except BaseException as exc:
            task = asyncio.current_task()
            is_cancelled = task is not None and task.cancelling() > 0
            if ends_program(exc) or (isinstance(exc, asyncio.CancelledError) and is_cancelled):
                raise
            with contextlib.suppress(Exception):  # of an application's handlers and filters
                logger.error(
                    "%s.%s failed",
                    self._name,
                    hook,
                    exc_info=as_logged(exc, redact=self._redact),
                    extra={"usuario": self._name, "hook": hook},
                )
