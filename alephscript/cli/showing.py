"""``alephscript state`` and ``capabilities``: what a mesh is.

May go in: what a mesh tells once. May not: figures that change (`top`), asking (`asking`).
"""

from __future__ import annotations

import argparse
import json
from typing import Any

from alephscript.cli.examples import example
from alephscript.cli.options import Add, client
from alephscript.cli.printing import (
    Style,
    make_cell,
    make_console,
    make_line,
    put,
    put_parts,
    write_command,
)
from alephscript.client.discovery import Offer
from alephscript.protocol.names import short_name

__all__ = ["add_to", "example"]


def add_to(add: Add) -> None:
    """Add the commands."""
    state = add("state", "who is where, and who masters what", _state)
    state.add_argument("--json", action="store_true", help="print JSON, as the hub answers")
    offers = add("capabilities", "what is offered, with an example call of each", _capabilities)
    offers.add_argument("--json", action="store_true", help="print JSON, with schemas")
    offers.add_argument("--room", help="only offers of this room")


async def _state(options: argparse.Namespace) -> None:
    console = None if options.json else make_console()
    async with client(options) as asker:
        mesh_state = await asker.server_state()
    if console is None:
        put(mesh_state, pretty=True)
        return
    table = _table("room", "master", "epoch", "offers", "members")
    known = {
        f"{each['usuario']}{sesion}": short_name(each["usuario"], sesion)
        for each in mesh_state.get("miembros", ())
        for sesion in each["sesiones"]
    }
    for room in mesh_state["rooms"]:
        members = ", ".join(
            make_line(known.get(member["name"]) or short_name(member["name"]))
            for member in room["miembros"]
        )
        names = room.get("masters") or [room.get("master") or "-"]
        masters = ", ".join(make_line(known.get(name) or short_name(name)) for name in names)
        table.add_row(
            make_cell(room["roomId"]),
            make_cell(masters, most=None),
            make_cell(room.get("epoch", "")),
            make_cell(*room.get("features", ())),
            make_cell(members, most=None),
        )
    if mesh_state.get("omitted"):
        table.caption = f"{mesh_state['omitted']} more rooms and members, too many for one answer"
    console.print(table)


async def _capabilities(options: argparse.Namespace) -> None:
    async with client(options) as asker:
        offers = await asker.discover(room=options.room)
    if options.json:
        put(offers, pretty=True)
        return
    for offer in offers:
        put_parts((offer.capability, Style.BOLD), (offer.room, Style.CYAN))
        if summary := " ".join(_summary(offer).split()):
            put_parts((f"  {summary}", Style.PLAIN))
        put_parts((f"  {_call(offer)}", Style.PLAIN))  # one line, however long: to be copied


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
        return write_command(*words, f"--room={offer.room}", "--", offer.capability, payload)
    return write_command(*words, offer.capability, payload, "--room", offer.room)
