"""An event loop on virtual time: while nothing can happen now, its clock jumps to what comes next.

A run is the same each time: no socket and no other process has a say, and threads that plain
functions run in have their turns one after the other (`threads`).

May go in: the loop and its clock. May not: what is drawn by a seed (`simulated`), the clocks of
other modules (`surroundings`).
"""

from __future__ import annotations

import asyncio
import itertools
import selectors
from collections.abc import Callable, Mapping
from contextvars import Context
from typing import Any, NoReturn

from alephscript.errors import StateError
from alephscript.testing.threads import Threads

__all__ = ["VirtualLoop", "refuse_outside"]

_TURN_SECONDS = 1e-5
"""What a turn of the loop takes, so that code that waits by turning gets somewhere."""

_LOOK_SECONDS = 1e-9
"""What a look at the clock takes: of timers set one after the other the first rings first."""

_MOST_JUMPS = 200_000
"""Jumps of the clock of a test that waits for what never comes, while something ticks."""

_TURNS_FOR_THREADS = 100
"""Turns without a pause after which threads have theirs all the same."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time is its own.

    Attributes:
        threads: The turns of worker threads.
        on_time: Called with the time, in seconds, at each turn of the loop.
        waiting: The task that is told when nothing can happen any more; None tells the caller of
            the loop.
    """

    def __init__(self) -> None:
        self._now = 0.0
        self._jumps = 0
        self._busy_turns = 0
        self.on_time: Callable[[float], None] | None = None
        self.waiting: asyncio.Task[Any] | None = None
        self.threads = Threads()
        super().__init__(_NoSelector(self._turn))
        numbers = itertools.count()
        self._numbers = numbers
        self.set_task_factory(_make_task)

    def time(self) -> float:
        """Return the virtual time in seconds, 0 when the loop was made."""
        self._now += _LOOK_SECONDS
        return self._now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._now += seconds
        if self.on_time is not None:
            self.on_time(self._now)

    def create_future(self) -> asyncio.Future[Any]:
        """Make a future that has its place in sets by its number; see `_Numbered`."""
        return _Future(loop=self)

    def number(self) -> int:
        """Return the next number of a task or future."""
        return next(self._numbers)

    # Threads

    def call_soon_threadsafe(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """Call a function soon; for a worker thread that has its turn, when that is over."""
        if self.threads.is_loops():
            return self.call_soon(callback, *args, context=context)
        self._check_closed()  # type: ignore[attr-defined]
        handle = asyncio.Handle(callback, args, self, context)
        self.threads.post(handle)
        return handle

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        """Run a function in a thread of an executor; its turn comes when the loop has a pause."""
        return super().run_in_executor(executor, self.threads.take_in(func), *args)

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:  # noqa: ARG002 - as asyncio has it
        """Let threads go that sleep, and wait for all, in real time: the other passes at once."""
        self.threads.release()
        await super().shutdown_default_executor()

    def close(self) -> None:
        """Close the loop, and let threads go that sleep."""
        self.threads.release()
        super().close()

    # Time

    def _turn(self, timeout: float | None) -> None:
        """Take the place of waiting for sockets."""
        self._pass_time(timeout)
        if self.on_time is not None:
            self.on_time(self._now)

    def _pass_time(self, timeout: float | None) -> None:
        ready = self._ready  # type: ignore[attr-defined]
        posts = self.threads.take_posts()
        if timeout == 0 or posts:
            ready.extend(posts)
            self._now += _TURN_SECONDS
            self._busy_turns += 1
            if self._busy_turns % _TURNS_FOR_THREADS == 0:
                ready.extend(self.threads.have_turns())
            return
        self._busy_turns = 0
        posts = self.threads.have_turns()
        if posts or ready:
            ready.extend(posts)
        elif timeout is None:
            ready.extend(self.threads.wait_for_post())
            if not ready:
                self._give_up("nothing is left that could happen, and the test still waits")
        else:
            self._jumps += 1
            self._now += timeout
            if self._jumps > _MOST_JUMPS:
                self._jumps = 0
                hours = self._now / 3600
                self._give_up(f"{hours:.1f} virtual hours have passed, and the test still waits")

    def _give_up(self, reason: str) -> None:
        error = StateError(f"{reason}; the traceback shows for what")
        waited: Any = self.waiting
        # The innermost of the futures for which the test waits, whose traceback tells most.
        while isinstance(waited, asyncio.Task):
            waited = getattr(waited, "_fut_waiter", None)
        if not isinstance(waited, asyncio.Future) or waited.done():
            raise error
        waited.set_exception(error)

    # Sockets

    async def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise _no_outside()

    getaddrinfo = getnameinfo = _refuse
    create_connection = create_server = create_datagram_endpoint = _refuse
    create_unix_connection = create_unix_server = connect_accepted_socket = _refuse
    connect_read_pipe = connect_write_pipe = subprocess_exec = subprocess_shell = _refuse


def refuse_outside() -> None:
    """Refuse sockets where time is virtual.

    Raises:
        StateError: It is.
    """
    if isinstance(asyncio.get_running_loop(), VirtualLoop):
        raise _no_outside()


def _no_outside() -> StateError:
    return StateError(
        "on virtual time there are no sockets and no other processes: give clients the mesh, not "
        "an address, or run this test with --mesh=real"
    )


class _Numbered:
    """A task or future whose place in a set is by its number.

    By default that is by its address, so that a set of tasks is cancelled in another order in each
    run, as asyncio's own task groups do.
    """

    _number: int

    def __hash__(self) -> int:
        return self._number


class _Future(_Numbered, asyncio.Future[Any]):
    def __init__(self, *, loop: VirtualLoop) -> None:
        self._number = loop.number()
        super().__init__(loop=loop)


class _Task(_Numbered, asyncio.Task[Any]):
    def __init__(self, coro: Any, *, loop: VirtualLoop, **options: Any) -> None:
        self._number = loop.number()
        super().__init__(coro, loop=loop, **options)


def _make_task(loop: Any, coro: Any, **options: Any) -> asyncio.Task[Any]:
    return _Task(coro, loop=loop, **options)


class _NoSelector(selectors.BaseSelector):
    """A selector that knows the loop's own pipe only, and lets time pass instead of waiting."""

    def __init__(self, turn: Callable[[float | None], None]) -> None:
        self._turn = turn
        self._keys: dict[Any, selectors.SelectorKey] = {}

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        if self._keys:
            raise _no_outside()
        key = self._keys[fileobj] = selectors.SelectorKey(fileobj, -1, events, data)
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._keys.pop(fileobj)

    def select(self, timeout: float | None = None) -> list[Any]:
        self._turn(timeout)
        return []

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._keys

    def get_key(self, fileobj: Any) -> selectors.SelectorKey:
        return self._keys[fileobj]

    def close(self) -> None:
        self._keys.clear()
