"""Printing for a terminal: strangers' text escaped, in the encoding that the output has.

May go in: how text, JSON, cells of tables and lines to copy get to stdout and stderr. May not: what
a command has to say.
"""

from __future__ import annotations

import io
import json
import shlex
import sys
from typing import Any

from alephscript import contracts
from alephscript.cli.options import CliError
from alephscript.protocol.text import ESCAPED, printable

__all__ = [
    "complain",
    "make_cell",
    "make_console",
    "make_line",
    "prepare",
    "put",
    "put_line",
    "write_command",
]

_LONGEST = 1000
"""Characters of a text that a cell of a table shows."""


def prepare() -> None:
    """Have stdout and stderr escape what their encodings have not, in place of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=ESCAPED)


def put(value: Any, *, pretty: bool = False) -> None:
    """Print a value as JSON; what is escaped is the same JSON."""
    encoded = contracts.unstructure(value)
    indent = 2 if pretty and sys.stdout.isatty() else None
    text = json.dumps(encoded, ensure_ascii=False, indent=indent)
    print("\n".join(map(printable, text.split("\n"))), flush=True)


def put_line(text: str) -> None:
    """Print one line to stdout."""
    print(printable(text), flush=True)


def complain(text: str) -> None:
    """Print one line to stderr."""
    print(printable(text), file=sys.stderr, flush=True)


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
