"""The parser of the command line: argparse, which says in addition what was meant.

May go in: what the parser tells of wrong usage. May not: which commands and options there are.
"""

from __future__ import annotations

import argparse
from typing import Any

from alephscript.protocol.names import did_you_mean, find_near

__all__ = ["CommandParser"]


class CommandParser(argparse.ArgumentParser):
    """A parser that names what may have been meant, and may leave the words after ``--`` alone.

    Attributes:
        rest: The option under which those words are put, as they are; None for a ``--`` that only
            ends the options.
    """

    rest: str | None = None

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse arguments; what is unknown is refused by the command, with its usage and options.

        Raises:
            SystemExit: There are unknown ones.
        """
        parsed, unknown = self.parse_known_args(args, namespace)
        if unknown:
            choices = [each.choices for each in self._actions]  # argparse lists them nowhere else
            commands = next((each for each in choices if isinstance(each, dict)), {})
            parser = commands.get(parsed.command, self)
            options = [name for each in parser._actions for name in each.option_strings]  # noqa: SLF001
            name = unknown[0].partition("=")[0]
            near = did_you_mean(find_near(name, options) if name.startswith("--") else ())
            parser.error(f"unrecognized arguments: {' '.join(unknown)}{near}")
        return parsed

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
