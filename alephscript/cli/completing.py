"""``alephscript completion``: a script that lets a shell complete commands and options.

May go in: that command. May not: the options of others, which their parsers know.
"""

from __future__ import annotations

import argparse

from alephscript.cli.options import Add, CliError

__all__ = ["add_to"]


def add_to(add: Add, whole: argparse.ArgumentParser) -> None:
    """Add the command, which completes all of them."""

    def complete(options: argparse.Namespace) -> None:
        try:
            import shtab
        except ModuleNotFoundError as exc:
            raise CliError("completion needs shtab: pip install 'alephscript[cli]'") from exc
        print(shtab.complete(whole, shell=options.shell))

    command = add("completion", "print a shell's completion script", complete)
    command.add_argument("shell", choices=["bash", "zsh", "tcsh"])
