"""Things that commands share: what a command is, a client from its options.

May go in: what several commands need. May not: any one of them.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeVar, overload

from alephscript.cli.parsing import CommandParser
from alephscript.client.client import AlephScriptClient
from alephscript.errors import AlephScriptError, ContractError
from alephscript.protocol.names import did_you_mean, find_near

__all__ = ["EXIT_CODES", "NO_HUB", "Add", "CliError", "Run", "auth_of", "client", "which_room"]

EXIT_CODES = {
    "invalid_payload": 3,
    "payload_too_large": 3,
    "unknown_capability": 4,
    "unknown_event": 4,
    "unknown_task": 4,
    "no_master": 5,
    "ambiguous_room": 6,
    "not_subscribed": 6,
    "no_answerer": 6,
    "deadline_exceeded": 7,
    "master_lost": 8,
    "link_lost": 8,
    "not_connected": 9,
    "closed": 9,
    "overloaded": 10,
    "limit_exceeded": 10,
    "permission_denied": 11,
    "internal": 12,
    "conflict": 13,
    "cancelled": 14,
}
"""By error code. Besides: 0 done, 1 the command cannot be carried out, 2 wrong usage, 9 no hub,
20 the capability failed with a code of its own, 130 interrupted."""

Run = Callable[[argparse.Namespace], Coroutine[Any, Any, None] | None]

NO_HUB = 9
"""Exit code when there is no hub, or none could be at that address."""


class Add(Protocol):
    """Adds a command: its name, its purpose, and the function that carries it out."""

    def __call__(self, name: str, help: str, run: Run) -> CommandParser:
        """Add a command, and return the parser that its options are added to."""
        ...


class CliError(Exception):
    """A command cannot be carried out; the text says why, and what to do.

    Attributes:
        exit_code: The process's exit code.
    """

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def auth_of(options: argparse.Namespace) -> dict[str, str] | None:
    """Return the handshake's ``auth`` with the token that the options have, if any."""
    return None if options.token is None else {"token": options.token}


async def which_room(asker: AlephScriptClient, room: str) -> str:
    """Return the question which room was meant; empty if that one is there, or none is near."""
    try:
        state = await asker.server_state()
    except AlephScriptError:  # of a hub that does not tell
        return ""
    known = [each["roomId"] for each in state["rooms"]]
    return "" if room in known else did_you_mean(find_near(room, known))


T = TypeVar("T", bound=AlephScriptClient)


@overload
def client(options: argparse.Namespace) -> AlephScriptClient: ...
@overload
def client(options: argparse.Namespace, cls: Callable[..., T], **given: Any) -> T: ...
def client(
    options: argparse.Namespace,
    cls: Callable[..., AlephScriptClient] = AlephScriptClient,
    **given: Any,
) -> AlephScriptClient:
    """Make a client of the hub that the options name.

    Args:
        options: Those of a command on a mesh.
        cls: The client's class, or what makes one.
        given: Further arguments of the class.

    Raises:
        CliError: The address, the namespace or the token cannot be one.
    """
    arguments = {"usuario": "cli", "connect_timeout": 5, **given}
    try:
        return cls(options.url, namespace=options.namespace, auth=auth_of(options), **arguments)
    except ContractError as error:
        reasons = "; ".join(f"{each['path']}: {each['message']}" for each in error.problems)
        raise CliError(f"cannot connect: {reasons}", NO_HUB) from None
