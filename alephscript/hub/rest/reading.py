"""What a mesh tells about itself by HTTP, in the shape that upstream's orchestration layer has.

May go in: the shape of these pages. May not: who may see what, which is the mesh's own answer to a
visitor (`mesh.reports`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

from alephscript.hub.engine import Engine
from alephscript.hub.rest.visitor import Visitor
from alephscript.mesh.rooms import Rooms
from alephscript.protocol import events
from alephscript.protocol.events import HubEvent

__all__ = ["tell_capabilities", "tell_health", "tell_rooms"]


async def tell_rooms(visitor: Visitor, rooms: Rooms) -> dict[str, Any]:
    """Tell the rooms that a visitor may know of: ``{rooms, count}``.

    Args:
        visitor: The asker.
        rooms: The mesh's rooms, of which the visitor is told some.
    """
    visitor.ask(HubEvent.GET_SERVER_STATE, {})
    state = await visitor.answer()
    told = [
        _describe(each, rooms) for each in state["rooms"] if each["roomId"] != events.EVERY_ROOM
    ]
    return {"rooms": told, "count": len(told), **_omitted(state)}


async def tell_capabilities(visitor: Visitor) -> dict[str, Any]:
    """Tell the capabilities that a visitor may ask: ``{capabilities, count}``."""
    visitor.ask(HubEvent.GET_CAPABILITIES, {})
    answer = await visitor.answer()
    offers: Sequence[Mapping[str, Any]] = answer["offers"]
    return {"capabilities": offers, "count": len(offers), **_omitted(answer)}


def tell_health(engine: Engine) -> dict[str, Any]:
    """Tell how the hub does: ``{status, meshId, uptime, rooms, sockets}``."""
    rooms = engine.meshes[events.RUNTIME].rooms
    return {
        "status": engine.why_not_ready or "healthy",
        "meshId": engine.instance,
        "uptime": round(engine.about()["uptime"] * 1000),
        "rooms": sum(each.name != events.EVERY_ROOM for each in rooms),
        "sockets": len(engine.connections),
    }


def _describe(state: Mapping[str, Any], rooms: Rooms) -> dict[str, Any]:
    """Describe a room that a hub's state has."""
    name = state["roomId"]
    room = rooms.get(name)
    serving = () if room is None else room.masters.serving
    peers = rooms.peers
    # The state names those that have registered, here and at other hubs.
    strangers = [sid for sid in rooms.members(name) if peers[sid].registration is None]
    # A room where only members of other hubs are has no beginning that this hub knows of.
    created_at, active_at = (
        (rooms.now, rooms.now) if room is None else (room.created_at, room.active_at)
    )
    return {
        "id": name,
        "masterId": serving[0].peer.sid if serving else None,
        "masterName": state["master"],
        "capabilities": list(dict.fromkeys(map(events.capability_name, state["features"]))),
        "socketCount": len(state["miembros"]) + len(strangers),
        "createdAt": _write_time(created_at),
        "lastActivity": _write_time(active_at),
    }


def _omitted(answer: Mapping[str, Any]) -> dict[str, Any]:
    return {key: answer[key] for key in ("omitted",) if key in answer}


def _write_time(seconds: float) -> str:
    moment = dt.datetime.fromtimestamp(seconds, dt.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
