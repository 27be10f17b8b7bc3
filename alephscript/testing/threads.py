"""Worker threads on virtual time: one runs at once, and none while the loop does.

A thread has its turn when the loop has nothing else to do, and keeps it until its function has
ended, sleeps, or waits for somebody else; what it posts to the loop is taken after that. So its
function takes no virtual time, except where it sleeps.

May go in: whose turn it is. May not: what runs in threads, the loop (`virtual`).
"""

from __future__ import annotations

import asyncio
import functools
import sys
import threading
from collections import deque
from collections.abc import Callable
from enum import Enum
from time import monotonic  # the machine's, whatever the module says meanwhile
from typing import Any

__all__ = ["Run", "Threads"]

_POLL_SECONDS = 0.001  # real ones, as all here
_PATIENCE_SECONDS = 0.2
"""How long a thread is waited for that has not begun, or that may wait for a lock of another."""

_STRANGERS_SECONDS = 0.5
"""How long threads are waited for that are not counted, before nothing is left that can happen."""

_WAIT = threading.Condition.wait.__code__
"""What futures, events and queues wait in."""


class _State(Enum):
    GIVEN = "given"  # to a thread that has not begun
    READY = "ready"
    RUNNING = "running"
    WAITING = "waiting"  # for somebody else, as far as can be seen
    ASLEEP = "asleep"
    ENDED = "ended"  # and has not told the loop yet


class Run:
    """A function that some thread will call, and that waits for its turn then.

    Args:
        threads: Whose turn it is.
        function: The function.
    """

    def __init__(self, threads: Threads, function: Callable[..., Any]) -> None:
        self._threads = threads
        self._function = function
        self.state = _State.GIVEN
        self.thread = 0
        self.turn = threading.Semaphore(0)

    def __call__(self, *args: Any) -> Any:
        """Call the function, in the thread that is to run it."""
        self._threads.begin(self)
        try:
            return self._function(*args)
        finally:
            self._threads.end(self)


class Threads:
    """The turns of worker threads of one loop."""

    def __init__(self) -> None:
        self._changed = threading.Condition()  # around all of these
        self._runs: list[Run] = []
        self._of_thread: dict[int, Run] = {}
        self._posts: deque[asyncio.Handle] = deque()
        self._is_over = False
        self._loops = threading.get_ident()

    def is_loops(self) -> bool:
        """Return whether the calling thread is the loop's."""
        return threading.get_ident() == self._loops

    def has(self, thread: int) -> bool:
        """Return whether a thread is the loop's, or one of those that have turns."""
        return thread == self._loops or thread in self._of_thread

    def take_in(self, function: Callable[..., Any]) -> Run:
        """Have a function, which some thread will call, wait for its turn."""
        run = Run(self, function)
        with self._changed:
            self._runs.append(run)
        return run

    def drop(self, run: Run) -> None:
        """Forget a function that no thread has begun, since none will."""
        with self._changed:
            if run.state is _State.GIVEN and run in self._runs:
                self._runs.remove(run)

    def begin(self, run: Run) -> None:
        """Have the calling thread wait for its turn."""
        with self._changed:
            run.thread = threading.get_ident()
            run.state = _State.READY
            self._of_thread[run.thread] = run
            self._changed.notify_all()
            if self._is_over:
                run.turn.release()
        run.turn.acquire()

    def end(self, run: Run) -> None:
        """Take notice that a function has ended; its thread tells the loop next."""
        with self._changed:
            run.state = _State.ENDED
            self._changed.notify_all()

    def sleep(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        """Have the calling thread, which has the turn, sleep in virtual time."""
        run = self._of_thread[threading.get_ident()]
        wake = functools.partial(loop.call_later, seconds, self._wake, run)
        with self._changed:
            if self._is_over:
                return
            self._posts.append(asyncio.Handle(wake, (), loop))
            run.state = _State.ASLEEP
            self._changed.notify_all()
        run.turn.acquire()

    def _wake(self, run: Run) -> None:
        with self._changed:
            run.state = _State.READY

    def post(self, handle: asyncio.Handle) -> None:
        """Take what a thread wants called on the loop."""
        with self._changed:
            self._posts.append(handle)
            run = self._of_thread.get(threading.get_ident())
            if run is not None and run.state is _State.ENDED:
                self._forget(run)
            self._changed.notify_all()

    def take_posts(self) -> list[asyncio.Handle]:
        """Take what threads want called on the loop, if none of them is counted."""
        if not self._posts:
            return []
        with self._changed:
            if self._runs:
                return []
            return self._take()

    def have_turns(self) -> list[asyncio.Handle]:
        """Give each thread its turn, and return what is to be called afterwards."""
        if not self._runs:
            return []
        with self._changed:
            for run in list(self._runs):
                self._give_turn(run)
            return self._take()

    def wait_for_post(self) -> list[asyncio.Handle]:
        """Wait a while for threads that nobody counts, or of which nobody knows what they do."""
        with self._changed:
            self._changed.wait_for(lambda: self._posts, _STRANGERS_SECONDS)
            return self._take()

    def release(self) -> None:
        """Let all threads go on at once: the loop that they belong to has ended."""
        with self._changed:
            self._is_over = True
            for run in self._runs:
                run.turn.release()

    def _take(self) -> list[asyncio.Handle]:
        posts = list(self._posts)
        self._posts.clear()
        return posts

    def _forget(self, run: Run) -> None:
        if run in self._runs:
            self._runs.remove(run)
        if self._of_thread.get(run.thread) is run:
            del self._of_thread[run.thread]

    def _give_turn(self, run: Run) -> None:
        """Let a thread run until it has ended, sleeps or waits."""
        if run.state is _State.GIVEN:
            self._changed.wait_for(lambda: run.state is not _State.GIVEN, _PATIENCE_SECONDS)
        if run.state is _State.READY:
            run.state = _State.RUNNING
            run.turn.release()
        elif run.state is _State.WAITING:
            run.state = _State.RUNNING  # unless it still waits
        before, since = None, monotonic()
        while run.state in (_State.RUNNING, _State.ENDED) and run in self._runs:
            if self._changed.wait(_POLL_SECONDS):
                continue
            place = self._place(run)
            if run.state is _State.ENDED and monotonic() - since > _PATIENCE_SECONDS:
                self._forget(run)  # its executor tells the loop nothing
            elif place == before and self._may_wait(place, since):
                run.state = _State.WAITING
            elif place != before:
                before, since = place, monotonic()

    def _may_wait(self, place: Any, since: float) -> bool:
        """Return whether a thread that stays where it is waits for somebody else there."""
        if place is None or place[0] is _WAIT:
            return True
        # For a lock that a thread holds that sleeps or waits? Nothing tells, so time does.
        others = any(each.state in (_State.WAITING, _State.ASLEEP) for each in self._runs)
        return others and monotonic() - since > _PATIENCE_SECONDS

    @staticmethod
    def _place(run: Run) -> Any:
        frame = sys._current_frames().get(run.thread)  # noqa: SLF001 - documented, in spite of its name
        if frame is None:
            return None
        waiter = frame.f_locals.get("waiter") if frame.f_code is _WAIT else None
        if waiter is not None and not waiter.locked():
            return (frame, object())  # it was woken, and is about to run
        return (frame.f_code, frame.f_lasti)
