"""What becomes of a test that hangs: it fails by its name, says where, and the others go on.

When the time is up, pytest-timeout raises what `pytest.fail` raises. anyio takes that for the
outcome of a coroutine and lets it run on; the end of its fixtures waits for it, and no signal comes
again. Here signals come again and again, and each is to anyio an interruption, by which it cancels.
"""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import signal
from collections.abc import Generator
from typing import Any, Final

import pytest
from anyio import pytest_plugin
from pytest_timeout import is_debugging

AGAIN: Final = 10.0
"""Most seconds between two interruptions of what does not end."""


class Hung(BaseException):
    """A test takes more time than it may."""


class Watch:
    """Interrupts a test, again and again, once its time is over.

    Args:
        name: The test's name.
        seconds: The test's time.

    Attributes:
        waiting: Where each task waited when it was interrupted first.
    """

    def __init__(self, name: str, seconds: float) -> None:
        self.waiting = ""
        self._name = name
        self._seconds = seconds

    def begin(self) -> None:
        """Count from now on."""
        again = min(AGAIN, self._seconds)
        signal.signal(signal.SIGALRM, self._interrupt)
        signal.setitimer(signal.ITIMER_REAL, again if self.waiting else self._seconds, again)

    def end(self) -> None:
        """Interrupt no more."""
        signal.setitimer(signal.ITIMER_REAL, 0)

    def _interrupt(self, *_: object) -> None:
        if not is_debugging():
            self.waiting = self.waiting or tell_tasks()
            raise Hung(f"{self._name} takes more than {self._seconds:g} s")


def tell_tasks() -> str:
    """Tell where each task of each loop waits, from what waits to what is waited for."""
    told = ["Tasks:"]
    for task in gc.get_objects():
        if not isinstance(task, asyncio.Task) or task.done():
            continue
        told.append(task.get_name())
        coro: Any = task.get_coro()
        while (frame := getattr(coro, "cr_frame", None)) is not None:
            told.append(f"  {frame.f_code.co_filename}:{frame.f_lineno} {coro.__qualname__}")
            coro = coro.cr_await
    return "\n".join(told)


@pytest.hookimpl(tryfirst=True)
def pytest_timeout_set_timer(item: Any, settings: Any) -> bool | None:
    """Watch a test in place of pytest-timeout."""
    if not hasattr(signal, "setitimer"):
        return None  # Windows, where a thread ends the process
    item.watch = Watch(item.nodeid, settings.timeout)
    item.watch.begin()
    item.cancel_timeout = item.watch.end
    return True


@pytest.hookimpl(trylast=True)  # after a debugger
def pytest_exception_interact(node: Any) -> None:
    """Watch what comes after a failure, too."""
    if hasattr(node, "watch"):
        node.watch.begin()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: Any, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Tell where a test has hung."""
    if call.excinfo is not None and hasattr(item, "watch"):
        item.watch.end()  # lest pytest itself is interrupted, while it tells of it
    # Nor by the collector: garbage that complains is told of by a parser within pytest's own, which
    # Python 3.11 takes for too deep a nesting. The whole run would end with that.
    gc.disable()
    try:
        report = yield
    finally:
        gc.enable()
    if call.excinfo is not None and call.excinfo.errisinstance(Hung):
        report.sections.append(("where it waited", item.watch.waiting))
        if not pytest_plugin._runner_leases:  # else a loop that could not be closed serves the rest
            pytest_plugin._current_runner = None
    return report


def pytest_unconfigure(config: pytest.Config) -> None:
    """End the process if a thread that hangs keeps it alive; workers are ended by their runner."""
    if not hasattr(config, "workerinput"):
        faulthandler.dump_traceback_later(3 * AGAIN, exit=True)
