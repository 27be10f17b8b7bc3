"""``alephscript a2a`` and ``serve --a2a``: a mesh for A2A clients, an A2A agent for a mesh.

May go in: options, and what `alephscript.a2a` makes of them. May not: what A2A is about.
"""

from __future__ import annotations

import argparse
import logging
from typing import TYPE_CHECKING, Any

from alephscript.cli.doors import import_door, listening_on
from alephscript.cli.options import Add, CliError, client
from alephscript.cli.running import serve_all, show_log

if TYPE_CHECKING:
    from alephscript.a2a import A2aMaster

__all__ = ["add_to", "serve_skills"]


def add_to(add: Add) -> None:
    """Add the command."""
    command = add("a2a", "be A2A agents whose skills are the capabilities of a mesh", _a2a)
    command.add_argument(
        "--port",
        type=int,
        default=3008,
        metavar="PORT",
        help="serve at http://127.0.0.1:PORT, 0 for a free one (%(default)s)",
    )


async def _a2a(options: argparse.Namespace) -> None:
    a2a = import_door("a2a")
    client(options)  # refuses an address, a namespace or a token that cannot be one
    server = a2a.MeshServer(options.url, token=options.token, namespace=options.namespace)
    show_log()
    with listening_on(options.port, "a2a") as ready:
        await server.serve_http(options.port, ready=ready)


async def serve_skills(options: argparse.Namespace) -> None:
    """Serve the skills of an A2A agent as capabilities, until interrupted.

    Raises:
        CliError: The options ask for more than that.
    """
    if options.capability is not None or options.program or options.mcp is not None:
        raise CliError("--a2a serves all skills of an agent: leave all but --room out", 2)
    if not options.a2a.startswith(("http://", "https://")):
        raise CliError("write the address of an A2A agent behind --a2a: http://127.0.0.1:9999", 2)
    a2a = import_door("a2a")

    def make(hub: str, **rest: Any) -> A2aMaster:
        made: A2aMaster = a2a.A2aMaster(options.a2a, room=options.room, hub=hub, **rest)
        return made

    master = client(options, make, usuario=f"a2a-{options.room}"[:100], retry_open=True)
    show_log()
    logging.getLogger("httpx").setLevel(logging.WARNING)  # else a line each look at the card
    await serve_all([master])
