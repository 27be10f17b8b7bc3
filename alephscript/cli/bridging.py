"""``alephscript bridge``: one room of two meshes.

May go in: options, and what `alephscript.bridge` makes of them. May not: what crosses a bridge.
"""

from __future__ import annotations

import argparse
import os
from typing import Any

from alephscript.bridge import Bridge
from alephscript.cli.options import Add, CliError
from alephscript.cli.running import serve_all, show_log
from alephscript.errors import ContractError

__all__ = ["add_to"]

_WRONG_USAGE = 2


def add_to(add: Add) -> None:
    """Add the command."""
    command = add("bridge", "pass on what is allowed between a room of two meshes", _bridge)
    command.add_argument("a", metavar="URL_A", help="address of the hub of one mesh")
    command.add_argument("b", metavar="URL_B", help="address of the hub of the other")
    command.add_argument("--room", required=True, metavar="ROOM", help="the room, in both meshes")
    command.add_argument(
        "--event",
        action="append",
        default=[],
        metavar="EVENT",
        help="pass on this event, both ways; may be repeated",
    )
    command.add_argument(
        "--capability",
        action="append",
        default=[],
        metavar="CAPABILITY",
        help="offer this capability in the mesh whose room has no master; may be repeated",
    )
    command.add_argument(
        "--token",
        action="append",
        metavar="TOKEN",
        help="shared secret of both hubs, or, given twice, of A and of B; prefer "
        "ALEPHSCRIPT_TOKEN, ALEPHSCRIPT_TOKEN_A and ALEPHSCRIPT_TOKEN_B, which ps does not show",
    )


async def _bridge(options: argparse.Namespace) -> None:
    token_a, token_b = _tokens(options.token or [])
    try:
        bridge = Bridge(
            options.a,
            options.b,
            room=options.room,
            events=options.event,
            capabilities=options.capability,
            options_a=_options("A", token_a, options.room),
            options_b=_options("B", token_b, options.room),
            retry_open=True,
        )
    except ContractError as error:
        reasons = "; ".join(f"{each['path']}: {each['message']}" for each in error.problems)
        raise CliError(f"cannot bridge: {reasons}", _WRONG_USAGE) from None
    show_log()
    await serve_all([bridge])


def _tokens(given: list[str]) -> tuple[str | None, str | None]:
    """Return the token of each hub, None for what the environment says.

    Raises:
        CliError: There are more tokens than hubs.
    """
    if len(given) > 2:  # noqa: PLR2004 - hubs
        raise CliError("a bridge has two hubs: write --token twice at the most", _WRONG_USAGE)
    return (given[0], given[-1]) if given else (None, None)


def _options(side: str, token: str | None, room: str) -> dict[str, Any]:
    """Return the options of the client of one hub."""
    if token is None:
        token = os.environ.get(f"ALEPHSCRIPT_TOKEN_{side}", os.environ.get("ALEPHSCRIPT_TOKEN"))
    # With the room, for hubs with a secret a room; an empty token stands for none.
    return {"auth": {"token": token, "room": room} if token else {}}
