"""``alephscript replay``: what was said in a room, from its log.

May go in: reading a log to its end, and when each line is printed. May not: escaping (`printing`),
what is said from now on (`watching`).
"""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
from typing import Any

from alephscript.cli.options import Add, CliError, client, which_room
from alephscript.cli.printing import complain, put
from alephscript.cli.watching import put_event
from alephscript.client.messages import GAP, Event
from alephscript.client.replaying import LogStream
from alephscript.errors import InvalidPayload
from alephscript.protocol.positions import Since, parse_since

__all__ = ["add_to"]

_BEGINNING = "1970-01-01"


def add_to(add: Add) -> None:
    """Add the command."""
    replay = add("replay", "print what was said in a room, from its log", _replay)
    replay.add_argument("room", metavar="ROOM", help="the room, of a hub with --log ROOM")
    replay.add_argument(
        "--since",
        metavar="10m|TIME",
        help="from then on: so long ago, a time in ISO 8601 (UTC without a zone), or a position; "
        "all that there is without",
    )
    replay.add_argument("--until", metavar="TIME", help="up to then; to the end of the log without")
    replay.add_argument(
        "--speed",
        type=_speed,
        metavar="N",
        help="N times as fast as it was said; as fast as it can be read without",
    )
    replay.add_argument("--json", action="store_true", help="one JSON object a line")


def _speed(text: str) -> float:
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 0 < speed < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no speed; write 1, 2.5 or 100")
    return speed


def _time(name: str, text: str | None) -> Since | None:
    try:
        return None if text is None else parse_since(text)
    except InvalidPayload as error:
        raise CliError(f"{name} {text}: {error.message.partition(': ')[2]}") from None


async def _replay(options: argparse.Namespace) -> None:
    _time("--since", options.since)
    until = _time("--until", options.until)
    if until is not None and until.position is not None:
        raise CliError("--until is a time, and not a position")
    end = None if until is None else until.resolve(dt.datetime.now(dt.UTC).timestamp())
    async with client(options) as reader:
        pace = _Pace(options.speed)
        stream = reader.events(options.room, since=options.since or _BEGINNING)
        assert isinstance(stream, LogStream)
        async for event in stream.to_the_end():
            if not stream.has_log:
                break
            if event.name == GAP:
                count = "some" if event.data.missed is None else f"{event.data.missed:,}"
                complain(f"{count} events are missing here: the log does not have them")
                continue
            if end is not None and event.sent * 1000 > end:
                break
            await pace.wait(event)
            if options.json:
                put(_as_json(event))
            else:
                put_event(event, has_room=False)
        if not stream.has_log:
            near = await which_room(reader, options.room)
            raise CliError(
                f"the hub keeps no log of {options.room}; start it with --log {options.room}{near}"
            )


class _Pace:
    """The times between events, as they were or faster.

    Args:
        speed: How many times as fast; None for no waiting.
    """

    def __init__(self, speed: float | None) -> None:
        self._speed = speed
        self._said: float | None = None
        self._due = 0.0

    async def wait(self, event: Event[Any]) -> None:
        """Wait until an event has its turn."""
        if self._speed is None:
            return
        now = asyncio.get_running_loop().time()
        if self._said is None:
            self._due = now
        else:  # a clock that was set back meanwhile makes nobody wait
            self._due += max(0.0, event.sent - self._said) / self._speed
        self._said = event.sent
        await asyncio.sleep(max(0.0, self._due - now))


def _as_json(event: Event[Any]) -> dict[str, Any]:
    return {
        "event": event.name,
        "data": event.data,
        "at": event.at.isoformat(timespec="milliseconds"),
        "position": str(event.position),
        "sender": event.sender,
    }
