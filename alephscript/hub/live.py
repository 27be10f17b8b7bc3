"""What the mesh page asks its hub for by HTTP: the last requests, the past of figures, members.

May go in: which of it is told to whom, as plain data. May not: how it comes about (`journal`,
`measuring`), or who somebody is (`admission`).
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from alephscript.hub.measuring import STEP_SECONDS, STEPS
from alephscript.hub.metering import BOUNDS
from alephscript.mesh.access import Access, Identity
from alephscript.protocol import events

if TYPE_CHECKING:
    from alephscript.hub.engine import Engine

__all__ = ["make_sight", "tell_live", "tell_members"]

_MOST_DIGITS = 18
"""Of a number in a query."""

Sight = Callable[[str], bool]
"""Whether somebody may know of requests in a room; of those that no room is known of by ``*``."""


def make_sight(access: Access | None, identity: Identity | None) -> Sight:
    """Make the rule that shows the requests of those rooms whose events somebody may hear."""
    if access is None:
        return lambda room: True  # noqa: ARG005
    return lambda room: identity is not None and access.authorize(identity, "subscribe", room, "")


def tell_live(
    engine: Engine, query: Mapping[str, Sequence[str]], sight: Sight, *, has_figures: bool
) -> dict[str, Any]:
    """Tell what has happened since somebody asked last.

    Args:
        engine: The hub's connections and meshes.
        query: ``requests`` and ``steps``: the numbers that were told last.
        sight: Which rooms' requests are told.
        has_figures: Whether the asker may know of figures of the whole hub.
    """
    carrier = engine.carriers[events.RUNTIME]
    journal, measurements = carrier.journal, carrier.measurements
    asked, seen = _number(query, "requests"), {}
    entries = []
    for entry in journal.read(asked, asyncio.get_running_loop().time()):
        room = entry.room or events.EVERY_ROOM
        if room not in seen:
            seen[room] = sight(room)
        if seen[room]:
            entries.append(entry)
    told: dict[str, Any] = {
        "instance": engine.instance,
        "requests": {"last": journal.last, "list": msgspec.to_builtins(entries)},
    }
    if has_figures:
        told["hub"] = engine.about() | {"in_flight": len(carrier.mesh.requests)}
        told["steps"] = {
            "last": measurements.last,
            "list": measurements.after(_number(query, "steps")),
            "seconds": STEP_SECONDS,
            "most": STEPS,
            "bounds": [None if bound == math.inf else bound for bound in BOUNDS],
        }
    return told


def tell_members(engine: Engine) -> dict[str, Any]:
    """Tell since when each socket of ``/runtime`` has been connected, from where, and how."""
    members = []
    for connection in engine.connections.values():
        sid = connection.sids.get(events.RUNTIME)
        if sid is not None:
            handshake = connection.handshake
            members.append(
                {
                    "id": sid,
                    "name": engine.meshes[events.RUNTIME].rooms.peers[sid].name,
                    "since": connection.opened_at,
                    "address": "" if handshake is None else handshake.address,
                    "transport": "websocket" if connection.upgraded else "polling",
                }
            )
    return {"members": members}


def _number(query: Mapping[str, Sequence[str]], name: str) -> int:
    """Read a number of a query; what is none is 0."""
    text = query.get(name, ["0"])[0]
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS else 0
