"""What a hub tells about itself: who is connected, in which rooms, who offers what.

May go in: the contents of these answers, and who may see what. May not: any change of the mesh.
Pure: no socket, no clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from alephscript.mesh.effects import Effect, Emit
from alephscript.mesh.peers import Peer, acknowledge
from alephscript.mesh.rooms import Room, Rooms
from alephscript.protocol import events
from alephscript.protocol.events import HubEvent

__all__ = ["Reports"]


class Reports:
    """The answers that a hub gives about itself.

    Args:
        rooms: The mesh's rooms and peers.
        namespace: The mesh's namespace.
    """

    def __init__(self, rooms: Rooms, namespace: str) -> None:
        self._rooms = rooms
        self._namespace = namespace

    def sees(self, peer: Peer, other: Peer) -> bool:
        """Whether a peer may know of another: they may meet in a room that the other is in."""
        is_allowed = self._rooms.is_allowed
        if peer is other or is_allowed(peer, "subscribe", events.EVERY_ROOM):
            return True
        rooms = (*other.rooms, *other.mastered)
        return any(is_allowed(peer, "subscribe", name) for name in rooms)

    # GET_SERVER_STATE

    def tell_state(self, peer: Peer, ack: int | None, others: Sequence[Peer]) -> list[Effect]:
        """Answer GET_SERVER_STATE.

        Args:
            peer: The asker.
            ack: Its acknowledgement id, None if it wants no acknowledgement.
            others: Peers at other hubs.
        """
        state = self.state_for(peer, others)
        return [
            Emit((peer.sid,), HubEvent.SET_SERVER_STATE, (state,)),
            *acknowledge(peer, ack, state),
        ]

    def state_for(self, peer: Peer, others: Sequence[Peer] = ()) -> dict[str, Any]:
        """Describe the mesh, as SET_SERVER_STATE has it, to one peer.

        The keys are upstream's; ``master``, ``masters``, ``epoch`` and ``features`` are ours.
        """
        here = self._rooms.peers
        members: dict[str, list[Peer]] = {}
        for room in self._rooms:
            members[room.name] = [here[sid] for sid in room.members]
        for other in others:
            for name in other.rooms:
                members.setdefault(name, []).append(other)
        seen = [each for each in (*here.values(), *others) if self.sees(peer, each)]
        registered = [each.registration for each in seen if each.registration]
        sesiones: dict[str, list[str]] = {}
        for each in registered:
            sesiones.setdefault(each.usuario, []).append(each.sesion)
        return {
            "action": HubEvent.SET_SERVER_STATE.value,
            "socketId": peer.sid,
            "clientId": peer.engine_id,
            "clients": len(seen),
            "sockets": [],
            "socketsPerNamespace": [
                {
                    "name": self._namespace,
                    "socketsCount": len(seen),
                    "sockets": [{"id": f"/{each.name}"} for each in seen if each.registration],
                }
            ],
            "miembros": [{"usuario": u, "sesiones": s} for u, s in sesiones.items()],
            "rooms": [
                self._describe_room(name, inside)
                for name, inside in members.items()
                if self._rooms.is_allowed(peer, "subscribe", name)
            ],
        }

    def _describe_room(self, name: str, members: Sequence[Peer]) -> dict[str, Any]:
        room = self._rooms.get(name)
        serving = room.masters.serving if room else ()
        return {
            "roomId": name,
            "miembros": [
                {
                    **registration.extras,
                    "usuario": registration.usuario,
                    "sesion": registration.sesion,
                    "name": member.name,
                }
                for member in members
                if (registration := member.registration)
            ],
            "master": serving[0].peer.name if serving else None,
            "masters": [each.peer.name for each in serving],
            "epoch": room.masters.epoch if room else 0,
            "features": list(
                dict.fromkeys(name for each in serving for name in each.declared.features)
            ),
        }

    # GET_CAPABILITIES and GET_MEMBERS

    def tell_capabilities(self, peer: Peer, ack: int | None, query: Any) -> list[Effect]:
        """Answer GET_CAPABILITIES.

        Args:
            peer: The asker.
            ack: Its acknowledgement id, None if it wants no acknowledgement.
            query: ``{room?, capability?}``, any JSON; what is absent restricts nothing.
        """
        query = query if isinstance(query, dict) else {}
        offers = [
            offer
            for room in self._rooms
            if query.get("room") in (None, room.name)
            and self._rooms.is_allowed(peer, "ask", room.name)
            for offer in _describe_offers(room)
            if query.get("capability") in (None, offer["capability"])
        ]
        return acknowledge(peer, ack, {"offers": offers})

    def tell_members(
        self, peer: Peer, ack: int | None, room: str | None, others: Sequence[Peer]
    ) -> list[Effect]:
        """Answer GET_MEMBERS: the members that answer questions about themselves.

        Args:
            peer: The asker.
            ack: Its acknowledgement id, None if it wants no acknowledgement.
            room: The room that it asks about, None for all.
            others: Peers at other hubs.
        """
        here = self._rooms.peers
        sids = here if room is None else self._rooms.members(room)
        peers = [here[sid] for sid in sids]
        peers += [each for each in others if room is None or room in each.rooms]
        members = [
            {"id": each.sid, "name": each.name}
            for each in peers
            if each.reads_meta and self.sees(peer, each)
        ]
        return acknowledge(peer, ack, {"members": members})


def _describe_offers(room: Room) -> list[dict[str, Any]]:
    """Describe each capability that is offered in a room, and by whom."""
    offers: dict[str, dict[str, Any]] = {}
    for master in room.masters.serving:
        declared = master.declared
        for feature in declared.features:
            name = events.capability_name(feature)
            offer = offers.setdefault(
                name,
                {
                    "room": room.name,
                    "capability": name,
                    "masters": [],
                    "group": declared.group,
                    "epoch": room.masters.epoch,
                    **declared.descriptions.get(feature, {}),
                },
            )
            offer["masters"].append(master.peer.name)
    return list(offers.values())
