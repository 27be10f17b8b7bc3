"""``alephscript demo``: a hub and a bot to try the other commands on.

May go in: the bot of the demonstration, and what to type next. May not: anything that a mesh of
one's own would need.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import signal
from collections.abc import AsyncIterator

import attrs

from alephscript.cli.options import Add, CliError
from alephscript.cli.printing import complain, write_command
from alephscript.client import loops
from alephscript.client.client import AlephScriptClient
from alephscript.client.declaring import capability
from alephscript.client.messages import Request
from alephscript.contracts import RequestFor
from alephscript.protocol import events

__all__ = ["DemoBot", "add_to"]


@attrs.frozen
class Greeting:
    """An answer."""

    text: str


@attrs.frozen
class Greet(RequestFor[Greeting], capability="GREET"):
    """A request, answered at once."""

    who: str


@attrs.frozen
class Step:
    """A part of an answer that comes in parts."""

    number: int


@attrs.frozen
class Count(RequestFor[Step], capability="COUNT"):
    """A request, answered in parts."""

    to: int = attrs.field(validator=(attrs.validators.ge(0), attrs.validators.le(100)))


@attrs.frozen
class Roll:
    """Dice that were rolled."""

    dice: list[int]
    total: int


@attrs.frozen
class RollDice(RequestFor[Roll], capability="ROLL_DICE"):
    """A request with a default."""

    dice: int = attrs.field(default=2, validator=(attrs.validators.ge(1), attrs.validators.le(20)))


class DemoBot(AlephScriptClient):
    """Greets, counts and rolls dice, and tells its room the time."""

    rooms = ("DEMO",)

    @capability
    async def greet(self, request: Greet) -> Greeting:
        """Greet somebody by name, and tell the room."""
        await self.broadcast("GREETED", {"who": request.who})
        return Greeting(text=f"hello {request.who}")

    @capability
    async def count(self, request: Request[Count]) -> AsyncIterator[Step]:
        """Count, two numbers a second, and say how far it is."""
        last = request.payload.to
        for number in range(1, last + 1):
            request.progress(number / last, f"{number} of {last}")
            yield Step(number)
            await asyncio.sleep(0.5)

    @capability
    async def roll_dice(self, request: RollDice) -> Roll:
        """Roll dice."""
        dice = [random.randint(1, 6) for _ in range(request.dice)]  # noqa: S311 - nobody bets
        return Roll(dice, sum(dice))

    async def tick(self) -> None:
        """Say an event a second."""
        number = 0
        while True:
            number += 1
            await self.broadcast("TICK", {"number": number})
            await asyncio.sleep(1)


def add_to(add: Add) -> None:
    """Add the command."""
    command = add("demo", "run a hub and a bot to try the other commands on", _demo)
    command.add_argument(
        "--port", type=int, default=3010, help="port, 0 for a free one (%(default)s)"
    )


async def _demo(options: argparse.Namespace) -> None:
    try:
        from alephscript.hub import Hub
    except ModuleNotFoundError as exc:
        raise CliError(f"this needs {exc.name}: pip install 'alephscript[hub,cli]'") from exc
    this = asyncio.current_task()
    assert this is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        loops.listen(number, this.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        async with Hub(port=options.port) as hub, DemoBot(hub.url) as bot:
            _explain(hub.url)
            await bot.tick()


def _explain(url: str) -> None:
    """Print where the mesh is, and what to type."""
    named = os.environ.get("ALEPHSCRIPT_URL", events.DEFAULT_URL)
    hub = () if url == named else ("--url", url)
    complain(f"alephscript demo: a hub and a bot; its page is {url}")
    complain("Type in another terminal:")
    for words in (
        ("request", "GREET", '{"who": "you"}'),
        ("request", "COUNT", '{"to": 5}', "--stream"),
        ("watch", "DEMO"),
    ):
        complain(f"  {write_command('alephscript', *words, *hub)}")
    complain("Ctrl+C ends it.")
