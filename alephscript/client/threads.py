"""Plain functions in worker threads, which may outlast what waits for them.

May go in: calling a function in a thread, and knowing when the thread has done with it. May not:
which function (`worker`, `listening`), how many at once (`serving`).
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Any

import anyio.to_thread

__all__ = ["ThreadRun", "wait_for_threads"]

_left: set[ThreadRun] = set()
"""Runs that nothing waits for any more, and that still run, of the whole process."""

_changed = threading.Condition()
"""Notified when a run leaves `_left`."""


def wait_for_threads() -> None:
    """Block until the functions have ended that nothing else waits for any more."""
    with _changed:
        while _left:
            _changed.wait()


class ThreadRun:
    """One call of a plain function in a worker thread.

    A thread cannot be cancelled: what waits for it may give up, and the function goes on.

    Args:
        function: The function.
        args: Its arguments.
    """

    def __init__(self, function: Callable[..., Any], *args: Any) -> None:
        self._function = function
        self._args = args
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._is_running = False
        self._is_abandoned = False
        self._ended: Callable[[], None] | None = None

    async def result(self) -> Any:
        """Call the function; return or raise what it gives."""
        return await anyio.to_thread.run_sync(self._call, abandon_on_cancel=True)

    def is_left_running(self, ended: Callable[[], None]) -> bool:
        """Give the run up, and return whether the function still runs.

        Args:
            ended: Called on the loop when it has ended, if it still runs.
        """
        with self._lock:
            self._is_abandoned = True
            if self._is_running:
                self._ended = ended
                with _changed:
                    _left.add(self)
            return self._is_running

    def _call(self) -> Any:
        with self._lock:
            if self._is_abandoned:  # before the thread had come to it
                return None
            self._is_running = True
        try:
            return self._function(*self._args)
        finally:
            with self._lock:
                self._is_running = False
                ended = self._ended
            if ended is not None:
                with _changed:
                    _left.discard(self)
                    _changed.notify_all()
                with contextlib.suppress(RuntimeError):  # the loop has ended
                    self._loop.call_soon_threadsafe(ended)
