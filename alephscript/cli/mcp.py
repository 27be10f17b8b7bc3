"""``alephscript mcp`` and ``serve --mcp``: a mesh for MCP clients, an MCP server for a mesh.

May go in: options, and what `alephscript.mcp` makes of them. May not: what MCP is about.
"""

from __future__ import annotations

import argparse
import os
import shutil
from typing import TYPE_CHECKING, Any

from alephscript.cli.doors import import_door, listening_on
from alephscript.cli.options import NO_HUB, Add, CliError, auth_of, client
from alephscript.cli.running import serve_all, show_log
from alephscript.errors import ContractError

if TYPE_CHECKING:
    from alephscript.mcp import McpMaster

__all__ = ["add_to", "serve_tools"]


def add_to(add: Add) -> None:
    """Add the command."""
    command = add("mcp", "be an MCP server whose tools are the capabilities of a mesh", _mcp)
    command.add_argument(
        "--http",
        type=int,
        metavar="PORT",
        help="serve streamable HTTP at http://127.0.0.1:PORT/mcp, and not stdin and stdout",
    )
    command.add_argument(
        "--room",
        action="append",
        default=[],
        metavar="ROOM",
        help="only tools of this room, and its events as a resource; may be repeated",
    )


async def _mcp(options: argparse.Namespace) -> None:
    mcp = import_door("mcp")
    try:
        server = mcp.MeshServer(
            options.url,
            rooms=options.room,
            namespace=options.namespace,
            auth=auth_of(options),
        )
    except ContractError as error:
        reasons = "; ".join(f"{each['path']}: {each['message']}" for each in error.problems)
        raise CliError(f"cannot connect: {reasons}", NO_HUB) from None
    show_log()
    if options.http is None:
        await server.serve_stdio()
    else:
        with listening_on(options.http, "mcp") as ready:
            await server.serve_http(options.http, ready=ready)


async def serve_tools(options: argparse.Namespace) -> None:
    """Serve the tools of an MCP server as capabilities, until interrupted.

    Raises:
        CliError: The options name no MCP server, or two.
    """
    address, command = options.mcp, options.program
    if options.capability is not None:
        raise CliError("--mcp serves all tools of a server: leave the CAPABILITY out", 2)
    if bool(address) == bool(command):
        raise CliError(
            "write the address of an MCP server behind --mcp, or its command behind --: "
            f"alephscript serve --room {options.room} --mcp -- COMMAND",
            2,
        )
    if command and shutil.which(command[0]) is None:
        raise CliError(f"there is no program {command[0]}; check its name, or give a path")
    mcp = import_door("mcp")
    server = address
    if command:
        from mcp import StdioServerParameters

        # As a shell would start it, without what is for the hub alone.
        given = {key: each for key, each in os.environ.items() if key != "ALEPHSCRIPT_TOKEN"}
        server = StdioServerParameters(command=command[0], args=command[1:], env=given)

    def make(hub: str, **rest: Any) -> McpMaster:
        made: McpMaster = mcp.McpMaster(server, room=options.room, hub=hub, **rest)
        return made

    name = (command[0] if command else address).rpartition("/")[2] or "mcp"
    master = client(options, make, usuario=name, retry_open=True)
    show_log()
    await serve_all([master])
