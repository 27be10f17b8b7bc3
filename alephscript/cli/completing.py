"""``alephscript completion``: a script that lets a shell complete commands, options and names.

May go in: that command, and the one by which its script asks the hub for names. May not: the
options of others, which their parsers know.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import re

from alephscript.cli.options import Add, CliError, client
from alephscript.cli.printing import put_line
from alephscript.errors import AlephScriptError
from alephscript.protocol import events

__all__ = ["add_to"]

_SECONDS = 1.0
"""The time that a hub has for its names; a person has just pressed a key."""

_PLAIN = re.compile(r"\w[\w.:/-]*", re.ASCII)
"""Names that no shell does anything with; others, being strangers', are not completed."""

_NAMES = {"room": "rooms", "capability": "capabilities"}
"""Kinds of names, by the option or argument that takes one."""


def add_to(add: Add, add_on_mesh: Add, whole: argparse.ArgumentParser) -> None:
    """Add the commands, of which one completes all others."""

    def complete(options: argparse.Namespace) -> None:
        try:
            import shtab
        except ModuleNotFoundError as exc:
            raise CliError("completion needs shtab: pip install 'alephscript[cli]'") from exc
        _complete_names(whole, shtab)
        print(shtab.complete(whole, shell=options.shell))

    command = add("completion", "print a shell's completion script", complete)
    command.add_argument("shell", choices=["bash", "zsh", "tcsh", "fish"])
    names = add_on_mesh("names", "", _names)  # without a purpose, it is in no list of commands
    names.add_argument("kind", choices=_NAMES.values())


def _complete_names(parser: argparse.ArgumentParser, shtab: object) -> None:
    """Have a parser's arguments that name a room or a capability completed by the hub's names."""
    for action in parser._actions:  # noqa: SLF001 - argparse has no other way, nor has shtab
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            for each in action.choices.values():
                _complete_names(each, shtab)
        elif (kind := _NAMES.get(action.dest)) is not None and action.choices is None:
            action.complete = shtab.cmd(f"alephscript names {kind} 2>/dev/null")  # type: ignore[attr-defined]


async def _names(options: argparse.Namespace) -> None:
    """Print names of the mesh, a line each; nothing if there is no hub that tells."""
    with contextlib.suppress(AlephScriptError, CliError, TimeoutError):
        async with asyncio.timeout(_SECONDS), client(options) as asker:
            if options.kind == "rooms":
                state = await asker.server_state()
                found = [room["roomId"] for room in state["rooms"]]
                found = [name for name in found if name != events.EVERY_ROOM]
            else:
                found = [offer.capability for offer in await asker.discover()]
            for name in sorted(set(filter(_PLAIN.fullmatch, found))):
                put_line(name)
