"""``alephscript hub``: run a hub."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import sys

from alephscript.cli.options import Add
from alephscript.hub import Hub

__all__ = ["add_to"]

_DRAIN_SECONDS = 10.0
"""What open requests may take after a SIGTERM."""


def add_to(add: Add) -> None:
    """Add the command."""
    hub = add("hub", "run a hub until interrupted", _hub)
    hub.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    hub.add_argument("--port", type=int, default=3010, help="port, 0 for a free one (%(default)s)")
    hub.add_argument(
        "--insecure",
        action="store_true",
        help="listen beyond loopback although nobody is asked who they are",
    )
    hub.add_argument(
        "--history",
        type=int,
        default=0,
        metavar="N",
        help="events of each room that are kept for who was away for a moment (%(default)s)",
    )
    hub.add_argument(
        "--admin-ui",
        metavar="DIR",
        help="serve the installed @socket.io/admin-ui under /admin-ui (loopback only)",
    )


async def _hub(options: argparse.Namespace) -> None:
    hub = Hub(
        host=options.host,
        port=options.port,
        insecure=options.insecure,
        history=options.history,
        admin_ui=options.admin_ui,
    )
    this = asyncio.current_task()
    assert this is not None
    loop = asyncio.get_running_loop()
    draining: set[asyncio.Future[None]] = set()

    def drain() -> None:
        draining.add(asyncio.ensure_future(hub.drain(_DRAIN_SECONDS)))

    loop.add_signal_handler(signal.SIGINT, this.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        async with hub:
            loop.add_signal_handler(signal.SIGTERM, drain)
            print(f"alephscript hub listening on {hub.url}", file=sys.stderr, flush=True)
            await hub.serve_forever()
