"""``alephscript state``, ``capabilities`` and ``top``: a mesh in tables.

May go in: tables. May not: asking a capability (`asking`).
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Mapping
from typing import Any

from alephscript.cli.examples import example
from alephscript.cli.options import Add, CliError, client
from alephscript.cli.printing import make_cell, make_console, make_line, put, write_command
from alephscript.client.client import AlephScriptClient
from alephscript.client.discovery import Offer
from alephscript.protocol import events

__all__ = ["add_to", "example"]


def add_to(add: Add) -> None:
    """Add the commands."""
    state = add("state", "who is where, and who masters what", _state)
    state.add_argument("--json", action="store_true", help="print JSON, as the hub answers")
    offers = add("capabilities", "what is offered, with an example call of each", _capabilities)
    offers.add_argument("--json", action="store_true", help="print JSON, with schemas")
    offers.add_argument("--room", help="only offers of this room")
    top = add("top", "rooms, masters and rates, live", _top)
    top.add_argument("--interval", type=float, default=1.0, help="seconds (%(default)s)")
    top.add_argument("--once", action="store_true", help="print one table and end")


async def _state(options: argparse.Namespace) -> None:
    console = None if options.json else make_console()
    async with client(options) as asker:
        mesh_state = await asker.server_state()
    if console is None:
        put(mesh_state, pretty=True)
        return
    if not isinstance(mesh_state.get("rooms"), list):
        raise CliError("the hub's answer has no rooms; --json prints all that it has")
    table = _table("room", "master", "epoch", "offers", "members")
    for room in _objects(mesh_state, "rooms"):
        members = [member.get("name", "-") for member in _objects(room, "miembros")]
        masters = _list(room, "masters") or [room.get("master") or "-"]
        table.add_row(
            make_cell(room.get("roomId", "-")),
            make_cell(", ".join(map(make_line, masters)), most=None),
            make_cell(room.get("epoch", "")),
            make_cell(*_list(room, "features")),
            make_cell(", ".join(map(make_line, members)), most=None),
        )
    if mesh_state.get("omitted"):
        omitted = make_line(mesh_state["omitted"])
        table.caption = make_cell(f"{omitted} more rooms and members, too many for one answer")
    console.print(table)


def _list(answer: Mapping[str, Any], key: str) -> list[Any]:
    """Return a list of a hub's answer; hubs of others may write anything there."""
    value = answer.get(key)
    return value if isinstance(value, list) else []


def _objects(answer: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    return [each for each in _list(answer, key) if isinstance(each, dict)]


async def _capabilities(options: argparse.Namespace) -> None:
    console = None if options.json else make_console()
    async with client(options) as asker:
        offers = await asker.discover(room=options.room)
    if console is None:
        put(offers, pretty=True)
        return
    table = _table("capability", "room", "summary", "try it")
    for offer in offers:
        table.add_row(
            make_cell(offer.capability),
            make_cell(offer.room),
            make_cell(" ".join(_summary(offer).split())),
            make_cell(_call(offer), most=None),
        )
    console.print(table)


async def _top(options: argparse.Namespace) -> None:
    if options.interval <= 0:
        raise CliError("an interval is more than 0 seconds")
    console = make_console()
    from rich.live import Live

    async with client(options) as asker:
        before: dict[tuple[str, str], int] = {}
        rows = await _rows(asker, before, options.interval)
        if options.once:
            console.print(rows)
            return
        with Live(rows, console=console, auto_refresh=False) as live:
            while True:
                await asyncio.sleep(options.interval)
                live.update(await _rows(asker, before, options.interval), refresh=True)


async def _rows(
    asker: AlephScriptClient, before: dict[tuple[str, str], int], seconds: float
) -> Any:
    """Make the table, a row for each capability of a member.

    Args:
        asker: A client of the mesh.
        before: The counts of the last call, which are replaced.
        seconds: The time since then.
    """
    survey = await asker.survey("stats", timeout=min(1.0, seconds))
    rooms: dict[tuple[str, str], list[str]] = {}
    for offer in await asker.discover():
        for name in offer.masters:
            rooms.setdefault((name, offer.capability), []).append(offer.room)
    measures = ("requests/s", "in flight", "p50 ms", "p95 ms", "errors")
    table = _table("rooms", "member", "capability", *measures)
    for name, member in survey.answers.items():
        for capability, stats in member.capabilities.items():
            key = (name, capability)
            rate = (stats.requests - before.get(key, stats.requests)) / seconds
            before[key] = stats.requests
            errors = ", ".join(f"{make_line(code)} {count}" for code, count in stats.errors.items())
            offered_in = rooms.get((name, events.capability_name(capability)), ())
            table.add_row(
                make_cell(", ".join(map(make_line, offered_in)), most=None),
                make_cell(name),
                make_cell(capability),
                make_cell(f"{rate:.0f}"),
                make_cell(stats.in_flight),
                make_cell("" if stats.p50_ms is None else f"{stats.p50_ms:g}"),
                make_cell("" if stats.p95_ms is None else f"{stats.p95_ms:g}"),
                make_cell(errors, most=None),
            )
    for name in survey.missing:
        table.add_row("", make_cell(name), "(no answer)", "", "", "", "", "")
    return table


def _table(*columns: str) -> Any:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_lines=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _summary(offer: Offer) -> str:
    tags = f"({', '.join(offer.tags)})" if offer.tags else ""
    return " ".join(filter(None, (offer.summary, tags)))


def _call(offer: Offer) -> str:
    """Write the command that asks a capability, as a line to copy into a shell."""
    payload = json.dumps(example(offer.request or {}), ensure_ascii=False)
    words = ("alephscript", "request")
    if offer.capability.startswith("-") or offer.room.startswith("-"):
        # A name is no option, whatever it looks like.
        name = events.capability_event(offer.capability)  # `--` alone would be taken for a mark
        return write_command(*words, f"--room={offer.room}", "--", name, payload)
    return write_command(*words, offer.capability, payload, "--room", offer.room)
