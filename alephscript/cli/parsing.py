"""The parser of the command line: argparse, which says in addition what was meant.

May go in: what the parser tells of wrong usage. May not: which commands and options there are.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from typing import Any, NoReturn

from alephscript.protocol.names import did_you_mean, find_near

__all__ = ["Parser"]

_UNKNOWN = re.compile(r"(?:unrecognized arguments:|invalid choice:) '?([^\s'=]+)")


class Parser(argparse.ArgumentParser):
    """A parser that names the option or the command that may have been meant."""

    def error(self, message: str) -> NoReturn:
        """Print a message, the usage, and end with status 2."""
        unknown = _UNKNOWN.search(message)
        near = find_near(unknown[1], dict.fromkeys(_names(self))) if unknown else ()
        super().error(message + did_you_mean(near))

    def _get_values(self, action: argparse.Action, arg_strings: list[str]) -> Any:
        """Take ``--option=--`` as written, at which Python before 3.12.5 fails."""
        if action.option_strings and action.nargs is None and arg_strings == ["--"]:
            return "--"
        return super()._get_values(action, arg_strings)


def _names(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Give the options and commands of a parser, and those below."""
    for action in parser._actions:  # noqa: SLF001 - argparse has no other way to list them
        yield from action.option_strings
        if isinstance(action.choices, dict):
            yield from action.choices
            for below in action.choices.values():
                yield from _names(below)
