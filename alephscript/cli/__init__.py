"""The ``alephscript`` command: a hub, and a mesh seen from a shell.

Nothing but data goes to stdout, sentences for a person go to stderr. Exit codes are in
`EXIT_CODES`.

May go in: which commands there are, and how errors become exit codes. May not: what a command does,
which is in one file a group of commands.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence

from alephscript import __version__
from alephscript.cli import (
    a2a,
    asking,
    bridging,
    commanding,
    completing,
    demo,
    describing,
    mcp,
    measuring,
    printing,
    recording,
    replaying,
    running,
    serving,
    showing,
    starting,
    tasks,
    top,
    watching,
)
from alephscript.cli.options import EXIT_CODES, NO_HUB, Add, CliError, Run
from alephscript.cli.parsing import CommandParser
from alephscript.client import loops
from alephscript.diagnostics import debugging
from alephscript.errors import AlephScriptError, ConnectionRefused, ContractError, RequestError
from alephscript.protocol import events

__all__ = ["EXIT_CODES", "main", "parser"]

_OTHER_CODE = 20
_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: Without the program's name; the process's own by default.

    Returns:
        The exit code; argparse exits with 2 by itself.
    """
    printing.prepare()
    whole = parser()
    options = whole.parse_args(arguments)
    if options.command is None:
        whole.print_help()
        return 0
    return _run(options)


def _run(options: argparse.Namespace) -> int:
    """Carry out a command, and return the exit code."""
    run: Run = options.run
    if options.debug is not None:
        os.environ[debugging.VARIABLE] = options.debug  # read by what the command makes
    try:
        debugging.topics()
        work = run(options)
        if work is not None:
            loops.run(work)
    except RequestError as error:
        return _report(error, EXIT_CODES.get(error.code, _OTHER_CODE))
    except ConnectionRefused as error:
        return _report(error, NO_HUB)
    except ContractError as error:
        return _report(error, EXIT_CODES["invalid_payload"])
    except CliError as error:
        return _report(error, error.exit_code)
    except AlephScriptError as error:
        return _report(error, 1)
    except KeyboardInterrupt:
        return _INTERRUPTED
    except OSError as error:
        # The reader of our output has enough, or the disk that it goes to is full.
        printing.abandon_output()
        return 0 if isinstance(error, BrokenPipeError) else _report(error, 1)
    return 0


def parser() -> argparse.ArgumentParser:
    """Make the parser of all commands and their options."""
    whole = CommandParser(prog="alephscript", description="AlephScript meshes.")
    whole.add_argument("--version", action="version", version=f"alephscript {__version__}")
    _add_debug(whole, default=None)
    commands = whole.add_subparsers(dest="command", metavar="COMMAND")

    def add(name: str, help: str, run: Run) -> CommandParser:
        if help:
            about = help[0].upper() + help[1:] + "."
            command = commands.add_parser(name, help=help, description=about)
        else:  # for programs: in no list
            command = commands.add_parser(name)
        command.set_defaults(run=run)
        _add_debug(command, default=argparse.SUPPRESS)  # else it would undo the one before
        return command

    starting.add_to(add)
    serving.add_to(add)
    demo.add_to(add)
    bridging.add_to(add)
    for module in (
        *(running, commanding, mcp, a2a, asking, tasks, watching, replaying),
        *(showing, top, measuring),
    ):
        module.add_to(_on_a_mesh(add))
    recording.add_to(_on_a_mesh(add))
    recording.add_verify_to(add)
    describing.add_to(add)
    completing.add_to(add, _on_a_mesh(add), whole)
    return whole


def _add_debug(parser: argparse.ArgumentParser, default: str | None) -> None:
    parser.add_argument(
        "--debug",
        default=default,
        metavar="TOPIC,…",
        help=f"print to stderr what happens: {', '.join(debugging.TOPICS)}; "
        f"also {debugging.VARIABLE}",
    )


def _on_a_mesh(add: Add) -> Add:
    """Make what adds commands that connect to a hub."""

    def add_with_hub(name: str, help: str, run: Run) -> CommandParser:
        command = add(name, help, run)
        hub = command.add_argument_group("the hub")
        hub.add_argument(
            "--url",
            default=os.environ.get("ALEPHSCRIPT_URL", events.DEFAULT_URL),
            help="address of the hub (%(default)s); also ALEPHSCRIPT_URL",
        )
        hub.add_argument("--namespace", default=events.RUNTIME, help="namespace (%(default)s)")
        hub.add_argument(
            "--token",
            default=os.environ.get("ALEPHSCRIPT_TOKEN"),
            help="shared secret to connect with; prefer ALEPHSCRIPT_TOKEN, which ps does not show",
        )
        return command

    return add_with_hub


def _report(error: Exception, code: int) -> int:
    """Print an error, and return the exit code."""
    printing.complain(f"alephscript: {error}")
    return code
