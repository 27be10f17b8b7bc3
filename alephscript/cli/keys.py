"""Keys that are pressed in a terminal, one by one, without Enter.

May go in: reading a terminal. May not: what a key means.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Callable, Iterator

__all__ = ["listen"]


@contextlib.contextmanager
def listen(pressed: Callable[[str], object]) -> Iterator[None]:
    """Have a function called for each key; never where stdin is no terminal of this kind."""
    try:
        import termios
        import tty
    except ModuleNotFoundError:  # Windows
        yield
        return
    if not sys.stdin.isatty():
        yield
        return
    terminal = sys.stdin.fileno()

    def read() -> None:
        # An arrow's escape sequence is one key, and none of ours.
        text = os.read(terminal, 64).decode(errors="ignore")
        for key in (text,) if text.startswith("\x1b") else text:
            pressed(key)

    before = termios.tcgetattr(terminal)
    tty.setcbreak(terminal)
    loop = asyncio.get_running_loop()
    loop.add_reader(terminal, read)
    try:
        yield
    finally:
        loop.remove_reader(terminal)
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)
