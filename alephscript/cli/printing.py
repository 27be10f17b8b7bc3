"""Printing for a terminal: strangers' text escaped, in the encoding that the output has.

May go in: how text, JSON, cells of tables, progress and lines to copy get to stdout and stderr. May
not: what a command has to say.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shlex
import shutil
import sys
import time
from collections.abc import Iterator
from enum import Enum
from typing import Any, TextIO

from alephscript import contracts
from alephscript.cli.options import CliError
from alephscript.client.messages import Progress
from alephscript.protocol.json import is_plain
from alephscript.protocol.text import ESCAPED, printable

__all__ = [
    "Style",
    "Waiting",
    "abandon_output",
    "complain",
    "make_cell",
    "make_console",
    "make_line",
    "make_table",
    "prepare",
    "put",
    "put_line",
    "put_parts",
    "waiting",
    "write_command",
    "write_duration",
]

_LONGEST = 1000
"""Characters of a text that a cell of a table shows."""

_BAR = 20
"""Characters of a bar."""


def prepare() -> None:
    """Have stdout and stderr escape what their encodings have not, in place of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=ESCAPED)


def abandon_output() -> None:
    """Print nothing more to a stdout that failed: Python would say so again when it flushes it."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def put(value: Any, *, pretty: bool = False) -> None:
    """Print a value as JSON; what is escaped is the same JSON."""
    # What a peer sent is JSON already, whatever its texts hold; the rest is ours.
    encoded = value if is_plain(value) else contracts.unstructure(value)
    indent = 2 if pretty and sys.stdout.isatty() else None
    text = json.dumps(encoded, ensure_ascii=False, indent=indent)
    print("\n".join(map(printable, text.split("\n"))), flush=True)


def put_line(text: str) -> None:
    """Print one line to stdout."""
    print(printable(text), flush=True)


def complain(text: str) -> None:
    """Print one line to stderr."""
    print(printable(text), file=sys.stderr, flush=True)


class Style(Enum):
    """How a part of a line looks on a terminal: the parameter of its escape sequence."""

    PLAIN = ""
    BOLD = "1"
    DIM = "2"
    GREEN = "32"
    CYAN = "36"


def put_parts(*parts: tuple[str, Style]) -> None:
    """Print a line of parts that are not empty, with their styles where there is a terminal."""
    coloured = _has_styles(sys.stdout)
    shown = ((printable(text), style) for text, style in parts if text)
    texts = (
        f"\x1b[{style.value}m{text}\x1b[0m" if coloured and style.value else text
        for text, style in shown
    )
    print(" ".join(texts), flush=True)


def _has_styles(stream: TextIO) -> bool:
    """Whether colours and moving lines may go to a stream: to a terminal that has them."""
    is_plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return stream.isatty() and not is_plain


class Waiting:
    """The line on stderr that shows how far a request is; nothing without a terminal."""

    def __init__(self) -> None:
        self._is_shown = False

    def show(self, progress: Progress) -> None:
        """Show how far the work is, in place of what was shown before."""
        if not _has_styles(sys.stderr):
            return
        share = min(1.0, max(0.0, progress.fraction))
        bar = "#" * round(share * _BAR)
        text = f"[{bar:{_BAR}}] {share:4.0%} {printable(progress.message, _LONGEST)}"
        width = shutil.get_terminal_size().columns - 1
        print(f"\r\x1b[K{text[:width]}", end="", file=sys.stderr, flush=True)
        self._is_shown = True

    def clear(self) -> None:
        """Show it no more."""
        if self._is_shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
            self._is_shown = False


@contextlib.contextmanager
def waiting() -> Iterator[Waiting]:
    """Show on a terminal's stderr how far a request is, and how long one that succeeds took."""
    began = time.monotonic()
    line = Waiting()
    try:
        yield line
    finally:
        line.clear()
    if sys.stderr.isatty():
        print(write_duration(time.monotonic() - began), file=sys.stderr, flush=True)


def write_duration(seconds: float) -> str:
    """Write a time as a person reads it: ``1.25 ms``, ``3.1 s``."""
    return f"{seconds * 1000:.2f} ms" if seconds < 1 else f"{seconds:.1f} s"


def make_console() -> Any:
    """Make Rich's console on stdout.

    Raises:
        CliError: Rich is not installed.
    """
    try:
        from rich.console import Console
    except ModuleNotFoundError as exc:
        raise CliError("tables need rich: pip install 'alephscript[cli]', or pass --json") from exc
    # In a pipe, lines are cut for no screen.
    return Console(width=None if sys.stdout.isatty() else 200)


def make_table(*columns: str) -> Any:
    """Make a table of Rich's, with these columns."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_lines=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def make_line(text: Any, most: int | None = _LONGEST) -> str:
    """Make one line of a stranger's text, in characters that stdout has.

    Args:
        text: A value of any type.
        most: The characters of it that are shown, None for all.
    """
    text, encoding = str(text), sys.stdout.encoding or "utf-8"
    is_cut = most is not None and len(text) > most
    return printable(text, most, encoding=encoding) + ("..." if is_cut else "")


def make_cell(*lines: Any, most: int | None = _LONGEST) -> Any:
    """Make a cell of a table: text as it is, without markup.

    Args:
        lines: The lines of the cell, of any type.
        most: The characters shown of each line, None for all.
    """
    from rich.text import Text

    # Escaped here and not by the stream, so that Rich knows the width.
    return Text("\n".join(make_line(each, most) for each in lines))


def write_command(*words: str) -> str:
    """Write a command to be copied into a shell, which takes each word as it is."""
    encoding = sys.stdout.encoding or "utf-8"
    return shlex.join(printable(each, encoding=encoding) for each in words)
