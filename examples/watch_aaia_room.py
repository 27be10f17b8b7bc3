"""Watch a room: every event that is said in it, a line each.

Run it with ``python -m examples.watch_aaia_room [--url …] [--room AAIA_ROOM] [--json]``.
"""

from __future__ import annotations

import argparse
import io
import json
import logging
import sys
import time
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.text import Text

from alephscript import DEFAULT_URL, AlephScriptClient, AlephScriptError, Event, Transport
from alephscript.aaia import AAIA_ROOM
from alephscript.protocol.text import ESCAPED, printable

Show = Callable[[Event[Any]], None]


class Watcher(AlephScriptClient):
    """Shows what is said in one room until it is interrupted; hubs may come and go meanwhile."""

    def __init__(self, hub: str | Transport, *, room: str, show: Show, **options: Any) -> None:
        super().__init__(hub, retry_open=True, **options)
        self._room = room
        self._show = show

    async def run_forever(self) -> None:
        """Show events until closed."""
        async with self, self.events(self._room) as events:
            await self.subscribe(self._room)
            async for event in events:
                self._show(event)


def as_json(event: Event[Any]) -> None:
    """One JSON object a line."""
    line = {"room": event.room, "event": event.name, "sender": event.sender, "data": event.data}
    print(printable(json.dumps(line, ensure_ascii=False)), flush=True)


def readable(event: Event[Any]) -> None:
    """One line for a person, coloured on a terminal."""
    line = Text.assemble(
        (time.strftime("%H:%M:%S "), "dim"),
        (printable(f"{event.name:<18}"), "bold cyan"),
        (printable(json.dumps(event.data, ensure_ascii=False)), ""),
    )
    Console(soft_wrap=True).print(line)


def main() -> int:
    """Watch until interrupted."""
    parser = argparse.ArgumentParser(prog="python -m examples.watch_aaia_room", description=__doc__)
    parser.add_argument(
        "--url", default=DEFAULT_URL, help="the hub (%(default)s); also ALEPHSCRIPT_URL"
    )
    parser.add_argument("--room", default=AAIA_ROOM, help="the room to watch (%(default)s)")
    parser.add_argument("--json", action="store_true", help="print one JSON object a line")
    options = parser.parse_args()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors=ESCAPED)  # names in other letters than the terminal has
    logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")
    show = as_json if options.json else readable
    try:
        Watcher(options.url, room=options.room, show=show).run()
    except AlephScriptError as error:
        print(printable(f"watch_aaia_room: {error}"), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
