"""``alephscript state``, ``capabilities`` and ``top``: a mesh in tables.

May go in: tables. May not: asking a capability (`asking`).
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Mapping
from typing import Any

from alephscript.cli.options import Add, CliError, client, put, rich_console
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
    console = None if options.json else rich_console()
    async with client(options) as asker:
        mesh_state = await asker.server_state()
    if console is None:
        put(mesh_state, pretty=True)
        return
    table = _table("room", "master", "epoch", "offers", "members")
    for room in mesh_state["rooms"]:
        members = ", ".join(member["name"] for member in room["miembros"])
        masters = ", ".join(room.get("masters") or [room.get("master") or "-"])
        table.add_row(
            room["roomId"],
            masters,
            str(room.get("epoch", "")),
            "\n".join(room.get("features", ())),
            members,
        )
    if mesh_state.get("omitted"):
        table.caption = f"{mesh_state['omitted']} more rooms and members, too many for one answer"
    console.print(table)


async def _capabilities(options: argparse.Namespace) -> None:
    console = None if options.json else rich_console()
    async with client(options) as asker:
        offers = await asker.discover(room=options.room)
    if console is None:
        put(offers, pretty=True)
        return
    table = _table("capability", "room", "summary", "try it")
    for offer in offers:
        table.add_row(offer.capability, offer.room, offer.summary or "", _call(offer))
    console.print(table)


async def _top(options: argparse.Namespace) -> None:
    if options.interval <= 0:
        raise CliError("an interval is more than 0 seconds")
    console = rich_console()
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
            errors = ", ".join(f"{code} {count}" for code, count in stats.errors.items())
            table.add_row(
                ", ".join(rooms.get((name, events.capability_name(capability)), ())),
                name,
                capability,
                f"{rate:.0f}",
                str(stats.in_flight),
                "" if stats.p50_ms is None else f"{stats.p50_ms:g}",
                "" if stats.p95_ms is None else f"{stats.p95_ms:g}",
                errors,
            )
    for name in survey.missing:
        table.add_row("", name, "(no answer)", "", "", "", "", "")
    return table


def _table(*columns: str) -> Any:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_lines=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _call(offer: Offer) -> str:
    payload = json.dumps(example(offer.request or {}), ensure_ascii=False)
    return f"alephscript request {offer.capability} '{payload}' --room {offer.room}"


def example(schema: Mapping[str, Any]) -> Any:
    """Make a small value that fits a JSON Schema, with all that is required and nothing else."""
    return _example(schema, schema.get("$defs", {}))


def _example(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Any:
    if "$ref" in schema:
        return _example(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    if "enum" in schema:
        return schema["enum"][0]
    if "anyOf" in schema:
        return _example(schema["anyOf"][0], definitions)
    kind = schema.get("type")
    if kind == "object" or "properties" in schema:
        properties = schema.get("properties", {})
        return {
            key: _example(properties.get(key, {}), definitions)
            for key in schema.get("required", ())
        }
    simple: dict[Any, Any] = {"string": "…", "integer": 0, "number": 0.5, "boolean": True}
    if kind == "array":
        return []
    return simple.get(kind)
