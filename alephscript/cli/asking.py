"""``alephscript request`` and ``alephscript say``: ask a mesh, tell it something.

May go in: commands that send a payload. May not: tables (`showing`), listening (`watching`).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from alephscript.cli.options import EXIT_CODES, Add, CliError, client, which_room
from alephscript.cli.printing import complain, put, put_line, waiting
from alephscript.cli.questions import can_ask, make_on_ask
from alephscript.client.client import AlephScriptClient
from alephscript.errors import NoAnswerer, RequestError
from alephscript.protocol import events
from alephscript.protocol.json import parse_json

__all__ = ["add_to", "read_payload"]


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
    say = add("say", "say an event in a room, and print how many heard it", _say)
    say.add_argument("room", metavar="ROOM", help="the room")
    say.add_argument("event", metavar="EVENT", help="name of the event")
    say.add_argument(
        "data", metavar="JSON", nargs="?", default="null", help="its data, as of request (null)"
    )


async def _request(options: argparse.Namespace) -> None:
    payload = read_payload(options.payload)
    async with client(options) as asker:
        try:
            await _ask(asker, options, payload)
        except NoAnswerer as error:
            if can_ask():
                raise
            advice = "run this at a terminal to be asked"
            raise CliError(f"{error}; {advice}", EXIT_CODES[error.code]) from error


async def _ask(asker: AlephScriptClient, options: argparse.Namespace, payload: Any) -> None:
    with waiting() as wait:
        on_ask = make_on_ask(wait.clear) if can_ask() else None
        if options.stream:
            async for part in asker.stream(
                options.capability,
                payload,
                room=options.room,
                timeout=options.timeout,
                on_progress=wait.show,
                on_ask=on_ask,
            ):
                wait.clear()
                put(part)
        else:
            answer = await asker.request(
                options.capability,
                payload,
                room=options.room,
                timeout=options.timeout,
                wait_for_master=options.wait,
                on_progress=wait.show,
                on_ask=on_ask,
            )
            wait.clear()
            put(answer, pretty=True)


class _Speaker(AlephScriptClient):
    """A client that is told how many heard what it says."""

    async def say(self, room: str, event: str, data: Any) -> int | None:
        """Say an event, and return how many members heard it; None if the hub does not tell."""
        message = {
            "event": events.check_event(event),
            "room": events.check_room_name(room),
            "data": data,
        }
        dialect = self._alephscript_life.present_session().dialect
        answer = await dialect.tell(events.HubEvent.ROOM_MESSAGE, message)
        return answer.get("members")


async def _say(options: argparse.Namespace) -> None:
    data = read_payload(options.data)
    async with client(options, _Speaker) as speaker:
        heard = await speaker.say(options.room, options.event, data)
        near = await which_room(speaker, options.room) if heard == 0 else ""
    if heard is None:
        complain("said; this hub does not tell how many heard it")
    else:
        put_line(f"{heard} heard it")
        if near:
            complain(f"there is no room {options.room}{near}")


def read_payload(text: str) -> Any:
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
