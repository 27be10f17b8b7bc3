"""``alephscript state`` and ``capabilities``: what a mesh is.

May go in: what a mesh tells once. May not: figures that change (`top`), asking (`asking`).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from typing import Any

from alephscript.cli.examples import example
from alephscript.cli.options import Add, CliError, client
from alephscript.cli.printing import (
    Style,
    make_cell,
    make_console,
    make_line,
    make_table,
    put,
    put_parts,
    write_command,
)
from alephscript.client.discovery import Offer
from alephscript.protocol import events
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
    if not isinstance(mesh_state.get("rooms"), list):
        raise CliError("the hub's answer has no rooms; --json prints all that it has")
    table = make_table("room", "master", "epoch", "offers", "members")
    known = {
        f"{each.get('usuario')}{sesion}": short_name(str(each.get("usuario")), str(sesion))
        for each in _objects(mesh_state, "miembros")
        for sesion in _list(each, "sesiones")
    }

    def show(name: Any) -> str:
        return make_line(known.get(str(name)) or short_name(str(name)))

    for room in _objects(mesh_state, "rooms"):
        members = ", ".join(show(member.get("name", "-")) for member in _objects(room, "miembros"))
        masters = ", ".join(map(show, _list(room, "masters") or [room.get("master") or "-"]))
        table.add_row(
            make_cell(room.get("roomId", "-")),
            make_cell(masters, most=None),
            make_cell(room.get("epoch", "")),
            make_cell(*_list(room, "features")),
            make_cell(members, most=None),
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
