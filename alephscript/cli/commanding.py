"""``alephscript serve``: a program of the shell as a capability.

May go in: the client that serves it, and what its outcome means to an asker. May not: how a
program is run and ended (`programs`).
"""

from __future__ import annotations

import argparse
import os
import shutil
from typing import Any

from alephscript.cli import a2a, mcp, programs
from alephscript.cli.options import Add, CliError, client
from alephscript.cli.running import serve_all, show_log
from alephscript.client.client import AlephScriptClient
from alephscript.client.declaring import capability
from alephscript.errors import CapabilityError, PayloadTooLarge, RequestError
from alephscript.protocol.json import parse_json, write_json

__all__ = ["add_to"]

_FAILED = "command_failed"
"""The code of an error."""


def add_to(add: Add) -> None:
    """Add the command."""
    command = add("serve", "serve a capability with a command of the shell", _serve)
    command.usage = (
        "alephscript serve [-h] [--debug TOPIC,…] [--url URL] [--namespace NAMESPACE]\n"
        "                         [--token TOKEN] CAPABILITY --room ROOM -- COMMAND [ARG …]"
        "\n       alephscript serve … --room ROOM --mcp ADDRESS"
        "\n       alephscript serve … --room ROOM --mcp -- COMMAND [ARG …]"
        "\n       alephscript serve … --room ROOM --a2a ADDRESS"
    )
    command.epilog = (
        "COMMAND gets the payload as JSON on stdin and prints the answer as JSON. Another exit "
        f"status than 0 is the error {_FAILED}, with status and the end of stderr in its details. "
        "A request that is cancelled ends the command, and all that it has started."
    )
    command.rest = "program"
    command.add_argument(
        "capability", nargs="?", metavar="CAPABILITY", help="name of the capability"
    )
    command.add_argument(
        "--mcp",
        nargs="?",
        const="",
        metavar="ADDRESS",
        help="serve the tools of an MCP server: the one at this address, or COMMAND",
    )
    command.add_argument(
        "--a2a", metavar="ADDRESS", help="serve the skills of the A2A agent at this address"
    )
    command.add_argument("--room", required=True, help="the room to master")


async def _serve(options: argparse.Namespace) -> None:
    if options.a2a is not None:
        await a2a.serve_skills(options)
        return
    if options.mcp is not None:
        await mcp.serve_tools(options)
        return
    if options.capability is None:
        raise CliError("name the capability, or write --mcp for the tools of an MCP server", 2)
    if not options.program:
        raise CliError(
            "write the command behind --: "
            f"alephscript serve {options.capability} --room {options.room} -- COMMAND",
            2,
        )
    if shutil.which(options.program[0]) is None:
        raise CliError(f"there is no program {options.program[0]}; check its name, or give a path")
    cls = make_class(options.capability, options.room, options.program)
    bot = client(options, cls, usuario=options.capability, retry_open=True)
    show_log()
    await serve_all([bot])


def make_class(name: str, room: str, command: list[str]) -> type[AlephScriptClient]:
    """Make the class of a client that serves one capability with a command.

    Raises:
        DeclarationError: The capability or the room cannot have that name.
    """

    @capability(name, max_in_flight=os.cpu_count() or 1)
    async def answer(_: AlephScriptClient, payload: Any) -> Any:
        return await _answer(name, command, payload)

    answer.__doc__ = f"Run {command[0]}."  # its arguments may hold a secret
    return type("Serve", (AlephScriptClient,), {"rooms": (room,), "answer": answer})


async def _answer(name: str, command: list[str], payload: Any) -> Any:
    """Run the command.

    Raises:
        CapabilityError: The command failed, or printed no JSON, or too much.
    """
    try:
        outcome = await programs.run(command, write_json(payload))
    except OSError as exc:
        raise CapabilityError(_FAILED, f"{name} cannot be run: {exc.strerror}") from exc
    except programs.OutputTooLarge as exc:
        message = f"{name} printed more than {programs.MOST_OUTPUT} bytes"
        raise CapabilityError(PayloadTooLarge.code, message) from exc
    details = [{"status": outcome.status, "stderr": outcome.errors}]
    if outcome.status != 0:
        raise CapabilityError(_FAILED, f"{name} ended with status {outcome.status}", details)
    if not outcome.output.strip():
        return None
    try:
        return parse_json(outcome.output)
    except RequestError as error:
        message = f"{name} printed what is {error.message}"
        raise CapabilityError(_FAILED, message, details) from error
