"""``alephscript request`` and ``alephscript watch``: ask a mesh, listen to it.

May go in: commands of an asker or a listener. May not: tables (`showing`).
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import json
import sys
from pathlib import Path
from typing import Any

import msgspec

from alephscript.cli.options import EXIT_CODES, Add, CliError, client
from alephscript.cli.printing import complain, put, put_line
from alephscript.errors import RequestError
from alephscript.protocol.json import parse_json

__all__ = ["add_to"]


def add_to(add: Add) -> None:
    """Add the commands."""
    request = add("request", "ask a capability and print its answer as JSON", _request)
    request.add_argument(
        "capability", metavar="CAP", help="name of the capability, with or without GET_"
    )
    request.add_argument(
        "payload",
        metavar="JSON",
        nargs="?",
        default="{}",
        help="payload of the request: JSON, - for stdin, @file for a file ({})",
    )
    request.add_argument("--room", help="room to ask; by default a room that offers CAP")
    request.add_argument("--timeout", type=float, default=10.0, help="seconds (%(default)s)")
    request.add_argument(
        "--stream", action="store_true", help="print the parts of the answer, a line each"
    )
    request.add_argument(
        "--wait", action="store_true", help="wait up to the timeout for a master that offers CAP"
    )
    watch = add("watch", "print what is said in a room", _watch)
    watch.add_argument("room", metavar="ROOM", help="the room; * for changes of masters in any")
    watch.add_argument("events", metavar="EVENT", nargs="*", help="only these; all without")
    watch.add_argument("--json", action="store_true", help="one JSON object a line")
    watch.add_argument("--count", type=int, default=0, help="end after so many (0: never)")


async def _request(options: argparse.Namespace) -> None:
    payload = _payload(options.payload)
    async with client(options) as asker:
        if options.stream:
            async for part in asker.stream(
                options.capability, payload, room=options.room, timeout=options.timeout
            ):
                put(part)
        else:
            answer = await asker.request(
                options.capability,
                payload,
                room=options.room,
                timeout=options.timeout,
                wait_for_master=options.wait,
            )
            put(answer, pretty=True)


async def _watch(options: argparse.Namespace) -> None:
    async with client(options) as watcher:
        with contextlib.closing(watcher.events(None, *options.events)) as stream:
            await watcher.subscribe(options.room)
            complain(f"watching {options.room} on {options.url}")
            seen = 0
            async for event in stream:
                if options.json:
                    put(msgspec.structs.asdict(event))
                else:
                    at = dt.datetime.now().astimezone().strftime("%H:%M:%S")
                    data = json.dumps(event.data, ensure_ascii=False, default=str)
                    put_line(f"{at} {event.name} {data}")
                seen += 1
                if seen == options.count:
                    return


def _payload(text: str) -> Any:
    """Read the payload from its argument, from stdin or from a file.

    Raises:
        CliError: The payload is no JSON, or the file cannot be read.
    """
    try:
        if text == "-":
            text = sys.stdin.read()
        elif text.startswith("@"):
            text = Path(text[1:]).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise CliError(f"cannot read {text}: {exc}") from exc
    try:
        return parse_json(text)
    except RequestError as error:
        advice = """write it as '{"key": "value"}'"""
        code = EXIT_CODES["invalid_payload"]
        raise CliError(f"the payload is {error.message}; {advice}", code) from error
