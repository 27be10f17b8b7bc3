"""`alephscript`, the command line: nothing but data on stdout, sentences on stderr."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import sys
from collections.abc import Sequence

from alephscript import loops
from alephscript.errors import AlephScriptError
from alephscript.hub import Hub

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: Without the program's name; the process's own by default.

    Returns:
        The exit code: 0, 1 when it cannot be done; argparse exits with 2 by itself.
    """
    options = _parser().parse_args(arguments)
    try:
        loops.run(_hub(options.host, options.port, insecure=options.insecure))
    except AlephScriptError as error:
        print(f"alephscript: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="alephscript", description="AlephScript meshes.")
    commands = parser.add_subparsers(dest="command", required=True)
    hub = commands.add_parser("hub", help="run a hub until interrupted")
    hub.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    hub.add_argument("--port", type=int, default=3010, help="port, 0 for a free one (%(default)s)")
    hub.add_argument(
        "--insecure",
        action="store_true",
        help="listen beyond loopback although nobody is asked who they are",
    )
    return parser


async def _hub(host: str, port: int, *, insecure: bool) -> None:
    this = asyncio.current_task()
    assert this is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, this.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        async with Hub(host=host, port=port, insecure=insecure) as hub:
            print(f"alephscript hub listening on {hub.url}", file=sys.stderr, flush=True)
            await hub.serve_forever()
