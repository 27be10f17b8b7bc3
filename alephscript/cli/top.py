"""``alephscript top``: who is busy, live.

May go in: asking for figures again and again, the screen, the keys. May not: rates (`rates`).
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
from collections.abc import Sequence
from typing import Any

import attrs

from alephscript.cli import keys
from alephscript.cli.options import Add, CliError, client
from alephscript.cli.printing import make_cell, make_console, make_line
from alephscript.cli.rates import SORTS, Rates, Row, choose, opened_at, write_age
from alephscript.client.client import AlephScriptClient

__all__ = ["add_to"]

_AROUND = 4
"""Lines of the screen that are no capabilities: totals, heads, keys, and a free one."""

_NAMES_WIDTH = 41
"""Columns that names have where the terminal has 80."""

_LEAST_WIDTHS = (14, 8, 16)
"""Columns that each name has at the least, if it has as many characters."""


def add_to(add: Add) -> None:
    """Add the command."""
    top = add("top", "capabilities, rates and latencies, live, the busy ones first", _top)
    top.add_argument("--interval", type=float, default=1.0, help="seconds (%(default)s)")
    top.add_argument("--once", action="store_true", help="print one table and end")
    top.add_argument(
        "--sort", choices=SORTS, default="busy", help="what comes first (%(default)s); key s"
    )
    top.add_argument("--filter", metavar="TEXT", default="", help="only names with TEXT; key /")


@attrs.frozen
class _Figures:
    """What a mesh said of itself at one time.

    Attributes:
        clients: How many are connected.
        members: How many of them told their figures.
        rows: A row for each capability of a member.
        missing: How many members did not answer.
    """

    clients: int
    members: int
    rows: Sequence[Row]
    missing: int


@attrs.define
class _View:
    """What a person has chosen to see.

    Attributes:
        order: The name of an order.
        wanted: A text that names must have.
        is_typing: Whether keys go into that text.
        changed: Set for each change.
        has_ended: Whether the person has seen enough.
    """

    order: str
    wanted: str
    is_typing: bool = False
    changed: asyncio.Event = attrs.field(factory=asyncio.Event)
    has_ended: bool = False

    def press(self, key: str) -> None:
        """Obey a key."""
        if self.is_typing:
            if key in ("\r", "\n"):
                self.is_typing = False
            elif key == "\x1b":
                self.is_typing, self.wanted = False, ""
            elif key in ("\x7f", "\b"):
                self.wanted = self.wanted[:-1]
            elif key.isprintable():
                self.wanted += key
        elif key == "q":
            self.has_ended = True
        elif key == "s":
            names = list(SORTS)
            self.order = names[(names.index(self.order) + 1) % len(names)]
        elif key == "/":
            self.is_typing, self.wanted = True, ""
        elif key == "\x1b":
            self.wanted = ""
        self.changed.set()


async def _top(options: argparse.Namespace) -> None:
    if not options.interval > 0:
        raise CliError("an interval is more than 0 seconds")
    console = make_console()
    from rich.live import Live

    view = _View(options.sort, options.filter)
    async with client(options) as asker:
        source = _Source(asker, options.interval)
        figures = await source.look()
        if options.once:
            console.print(_draw(figures, view, most=None))
            return
        loop = asyncio.get_running_loop()
        due = loop.time() + options.interval
        with (
            Live(console=console, auto_refresh=False, screen=console.is_terminal) as live,
            keys.listen(view.press),
        ):
            while not view.has_ended:
                most = max(1, console.height - _AROUND) if console.is_terminal else None
                live.update(_draw(figures, view, most=most), refresh=True)
                view.changed.clear()
                try:
                    async with asyncio.timeout_at(due):
                        await view.changed.wait()
                except TimeoutError:
                    due = loop.time() + options.interval
                    figures = await source.look()


class _Source:
    """Where the figures come from.

    Args:
        asker: A client of the mesh.
        interval: Seconds between two looks.
    """

    def __init__(self, asker: AlephScriptClient, interval: float) -> None:
        self._asker = asker
        self._timeout = min(1.0, interval)
        self._rates = Rates()
        self._opened: dict[str, float] = {}
        self._looked_at = asyncio.get_running_loop().time()

    async def look(self) -> _Figures:
        """Ask the mesh for its figures."""
        asker, clock = self._asker, asyncio.get_running_loop().time
        survey = await asker.survey("stats", timeout=self._timeout)
        now = clock()
        if not survey.answers.keys() <= self._opened.keys():
            infos = await asker.survey("info", timeout=self._timeout)
            self._opened = opened_at(infos.answers, clock())
        offers = await asker.discover()
        state = await asker.server_state()
        ages = {name: now - at for name, at in self._opened.items()}
        seconds = max(now - self._looked_at, 0.001)
        self._looked_at = now
        rows = self._rates.rows(survey.answers, ages, offers, seconds)
        clients = int(state.get("clients", 0))
        return _Figures(clients, len(survey.answers), rows, len(survey.missing))


def _draw(figures: _Figures, view: _View, *, most: int | None) -> Any:
    """Make the screen: totals, so many capabilities at the most, a line each, and the keys."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    rows = choose(figures.rows, view.order, view.wanted)
    is_screen = most is not None
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="underline")
    widths = _name_widths(rows) if is_screen else (None, None, None)
    for name, width in zip(("capability", "room", "member"), widths, strict=True):
        table.add_column(name, no_wrap=True, overflow="ellipsis", width=width)
    for name in ("up", "req/s", "run", "p50 ms", "p95 ms", "failed"):
        table.add_column(name, no_wrap=True, justify="right")
    for row in rows[:most]:
        errors = ", ".join(f"{code} {count}" for code, count in row.errors.items())
        table.add_row(
            make_cell(row.capability),
            make_cell(row.room),
            make_cell(row.member),
            write_age(row.age),
            f"{row.rate:.0f}",
            str(row.in_flight),
            _write_ms(row.p50),
            _write_ms(row.p95),
            make_cell(row.failed if is_screen else errors or 0),
            style="dim" if is_screen and not row.rate and not row.in_flight else None,
        )
    parts = [
        f"{figures.clients} clients",
        f"{figures.members} members",
        f"{len(figures.rows)} capabilities",
        f"{sum(row.rate for row in figures.rows):.0f} req/s",
        f"{sum(row.in_flight for row in figures.rows)} running",
        f"{sum(row.failed for row in figures.rows)} errors",
    ]
    if figures.missing:
        parts.append(f"{figures.missing} silent")
    totals = Text(", ".join(parts), no_wrap=True, overflow="ellipsis")
    if most is None:
        return Group(totals, table)
    hidden = len(rows) - len(rows[:most])
    if view.is_typing:
        hint = f"filter: {make_line(view.wanted)}_  Enter keeps it, Esc ends it"
    else:
        hint = f"q quits  s sorts ({view.order} first)  / filters"
        if view.wanted:
            hint += f" ({make_line(view.wanted)})"
        if hidden:
            hint += f"  {hidden} more"
    return Group(totals, table, Text(hint, style="dim", no_wrap=True, overflow="ellipsis"))


def _name_widths(rows: Sequence[Row]) -> Sequence[int]:
    """Share a screen's columns out among the names of rows, by need."""
    widths = [
        min(60, max([len(name), *(len(getattr(row, name)) for row in rows)]))
        for name in ("capability", "room", "member")
    ]
    spare = shutil.get_terminal_size().columns - 80
    while sum(widths) > _NAMES_WIDTH + max(0, spare):
        longest = max(
            (at for at in range(3) if widths[at] > _LEAST_WIDTHS[at]),
            key=lambda at: widths[at] - _LEAST_WIDTHS[at],
            default=None,
        )
        if longest is None:
            break
        widths[longest] -= 1
    return widths


def _write_ms(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"
