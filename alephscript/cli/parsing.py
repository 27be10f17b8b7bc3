"""The parser of the command line: argparse, which says in addition what was meant.

May go in: what the parser tells of wrong usage. May not: which commands and options there are.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from typing import Any, NoReturn

from alephscript.protocol.names import did_you_mean, find_near

__all__ = ["CommandParser"]

_UNKNOWN = re.compile(r"unrecognized arguments: (-[^\s=]+)")


class CommandParser(argparse.ArgumentParser):
    """A parser that names what may have been meant, and may leave the words after ``--`` alone.

    Attributes:
        rest: The option under which those words are put, as they are; None for a ``--`` that only
            ends the options.
    """

    rest: str | None = None

    def error(self, message: str) -> NoReturn:
        """Print a message, the usage, and end with status 2."""
        unknown = _UNKNOWN.search(message)
        near = find_near(unknown[1], dict.fromkeys(_options(self))) if unknown else ()
        super().error(message + did_you_mean(near))

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Refuse what is no choice, naming those that are for people, and the one that was meant.

        Raises:
            ArgumentError: The value is no choice.
        """
        if action.choices is None or value in action.choices:
            return
        for_people = getattr(action, "_choices_actions", None)  # commands that have a purpose
        shown = [each.dest for each in for_people] if for_people else action.choices
        near = did_you_mean(find_near(str(value), shown))
        message = f"invalid choice: {value!r} (choose from {', '.join(shown)}){near}"
        raise argparse.ArgumentError(action, message)

    def _get_values(self, action: argparse.Action, arg_strings: list[str]) -> Any:
        """Take ``--option=--`` as written, at which Python before 3.12.5 fails."""
        if action.option_strings and action.nargs is None and arg_strings == ["--"]:
            return "--"
        return super()._get_values(action, arg_strings)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """See argparse."""
        if self.rest is None:
            return super().parse_known_args(args, namespace)
        # Not left to argparse, which has changed its mind about -- with each of Python's versions.
        words = list(args)
        at = words.index("--") if "--" in words else len(words)
        parsed, unknown = super().parse_known_args(words[:at], namespace)
        setattr(parsed, self.rest, words[at + 1 :])
        return parsed, unknown


def _options(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Give the options of a parser, and those of its commands."""
    for action in parser._actions:  # noqa: SLF001 - argparse has no other way to list them
        yield from action.option_strings
        if isinstance(action.choices, dict):
            for below in action.choices.values():
                if isinstance(below, argparse.ArgumentParser):
                    yield from _options(below)
