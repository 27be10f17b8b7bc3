"""The surroundings of a simulated run: what its code is told of the time, and of chance.

Only the threads of the run are told so; others, such as a test's timeout, see the machine's clock.

May go in: what Python's modules answer during a run. May not: when a run begins (`simulated`).
"""

from __future__ import annotations

import contextlib
import gc
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import anyio.to_thread

from alephscript.errors import StateError
from alephscript.testing.virtual import VirtualLoop

__all__ = ["BEGINNING", "surround"]

BEGINNING = 1_767_225_600.0
"""The time of the day at which a run begins: 2026, January 1st, in UTC."""

_present: set[VirtualLoop] = set()
"""The loop of the run that there is, if there is one."""


@contextmanager
def surround(loop: VirtualLoop, seed: int) -> Iterator[None]:
    """Have clocks tell virtual time, and chance depend on a seed, until the run is over.

    Args:
        loop: The run's loop.
        seed: Begins `random`, `uuid`, `secrets` and `os.urandom`.

    Raises:
        StateError: There is a simulated mesh already.
    """
    if _present:
        raise StateError("there is a simulated mesh already, and time is its own: close that first")
    chance = random.Random(seed)  # noqa: S311 - nothing is secret in a test
    state, collects = random.getstate(), gc.isenabled()
    calendar = _Calendar(loop)
    before: list[tuple[Any, str, Any]] = []

    def put(module: Any, name: str, function: Callable[..., Any]) -> None:
        before.append((module, name, getattr(module, name)))
        setattr(module, name, function)

    def told(real: Callable[[], Any], virtual: Callable[[], Any]) -> Callable[[], Any]:
        has, ident = loop.threads.has, threading.get_ident
        return lambda: virtual() if has(ident()) else real()

    def whole(seconds: Callable[[], float]) -> Callable[[], int]:
        return lambda: round(seconds() * 1e9)

    def day() -> float:
        return BEGINNING + loop.time()

    _present.add(loop)
    calendar.begin()  # first and last: it changes the functions that are there
    try:
        put(time, "time", told(time.time, day))
        put(time, "time_ns", told(time.time_ns, whole(day)))
        for name in ("monotonic", "perf_counter"):
            put(time, name, told(getattr(time, name), loop.time))
            put(time, f"{name}_ns", told(getattr(time, f"{name}_ns"), whole(loop.time)))
        put(time, "sleep", _sleep(loop, time.sleep))
        put(os, "urandom", chance.randbytes)
        put(random, "_urandom", chance.randbytes)  # what `secrets` draws from
        put(random.Random, "seed", _seed(chance, random.Random.seed))  # C asks the machine itself
        put(anyio.to_thread, "run_sync", _run_sync(loop, anyio.to_thread.run_sync))
        random.seed(seed)
        gc.disable()  # what it finds, and calls, would depend on what ran before
        yield
    finally:
        for module, name, function in reversed(before):
            setattr(module, name, function)
        calendar.end()
        random.setstate(state)
        if collects:
            gc.enable()
        _present.discard(loop)


def _seed(chance: random.Random, real: Callable[..., None]) -> Callable[..., None]:
    def seed(self: random.Random, a: Any = None, version: int = 2) -> None:
        real(self, chance.randbytes(32) if a is None else a, version)

    return seed


class _Calendar:
    """What `datetime` says, which asks no function of Python's for the time.

    The library time-machine, of the extra ``sim``, changes that; without it `datetime` tells the
    machine's time.
    """

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self._travel: Any = None

    def begin(self) -> None:
        with contextlib.suppress(ModuleNotFoundError):
            import time_machine

            self._travel = time_machine.travel(BEGINNING + self._loop.time(), tick=False)
            traveller = self._travel.start()
            self._loop.on_time = lambda now: traveller.move_to(BEGINNING + now)

    def end(self) -> None:
        self._loop.on_time = None
        if self._travel is not None:
            self._travel.stop()
            self._travel = None


def _sleep(loop: VirtualLoop, real: Callable[[float], None]) -> Callable[[float], None]:
    def sleep(seconds: float) -> None:
        threads = loop.threads
        if threads.is_loops():
            loop.advance(seconds)  # nothing else runs while the loop's thread sleeps
        elif threads.has(threading.get_ident()):
            threads.sleep(loop, seconds)
        else:
            real(seconds)

    return sleep


def _run_sync(loop: VirtualLoop, real: Callable[..., Any]) -> Callable[..., Any]:
    async def run_sync(func: Callable[..., Any], *args: Any, **options: Any) -> Any:
        if not loop.threads.is_loops():
            return await real(func, *args, **options)
        call = loop.threads.take_in(func)
        try:
            return await real(call, *args, **options)
        finally:
            loop.threads.drop(call)

    return run_sync
