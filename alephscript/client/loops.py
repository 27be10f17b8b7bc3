"""The event loop that programs of this package run on, the signals that end them, their last words.

May go in: choosing a loop, hearing signals, the last sentence. May not: what runs on it.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import threading
import types
from collections.abc import Callable, Coroutine
from typing import Any

from alephscript.errors import StateError
from alephscript.protocol.text import printable

__all__ = ["check_free", "end_program", "end_with_sentence", "ignore", "listen", "run"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def check_free() -> None:
    """Refuse a place where no program can be run.

    Raises:
        StateError: An event loop runs in this thread, or this is not the main thread.
    """
    if threading.current_thread() is not threading.main_thread():
        raise StateError(
            "run() handles signals, which the main thread alone hears; run run_forever()"
        )
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise StateError("an event loop runs here already; await run_forever()")


def end_program(number: int, _: object) -> None:
    """Handle a signal as if no handler were there: at once, whatever blocks."""
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)


def end_with_sentence(name: str, error: Exception) -> None:
    """Have an error that nobody catches end the program with its sentence alone.

    Args:
        name: What the sentence begins with.
        error: The error; all others are shown as before.
    """
    before = sys.excepthook

    def show(
        kind: type[BaseException], exc: BaseException, trace: types.TracebackType | None
    ) -> None:
        if exc is error:
            sys.stderr.write(printable(f"{name}: {exc}") + "\n")
        else:
            before(kind, exc, trace)

    sys.excepthook = show


def listen(number: signal.Signals, callback: Callable[[], object]) -> None:
    """Have the running loop call a function for a signal, on Windows, too."""
    loop = asyncio.get_running_loop()
    try:
        loop.add_signal_handler(number, callback)
    except NotImplementedError:  # a loop of Windows; only Python itself hears signals there
        signal.signal(number, lambda *_: loop.call_soon_threadsafe(callback))


def ignore(number: signal.Signals) -> None:
    """Undo `listen`, before a handler of another kind is set."""
    with contextlib.suppress(NotImplementedError):
        asyncio.get_running_loop().remove_signal_handler(number)


def run(main: Coroutine[Any, Any, None], last: Callable[[], None] | None = None) -> None:
    """Run a program, on uvloop where the ``[fast]`` extra is installed.

    After it the handlers of SIGINT and SIGTERM are what they were before.

    Args:
        main: The program.
        last: Called when the loop has ended, while signals are still handled as in the program.
    """
    try:
        import uvloop
    except ModuleNotFoundError:
        factory = None
    else:
        factory = uvloop.new_event_loop
    # Loops take signals for themselves, and do not all give them back.
    is_main = threading.current_thread() is threading.main_thread()
    before = {each: signal.getsignal(each) for each in _SIGNALS} if is_main else {}
    try:
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(main)
        if last is not None:
            last()
    finally:
        for number, handler in before.items():
            if handler is not None:  # else it was not set by Python
                signal.signal(number, handler)
