"""The desk of masters: declaring, and giving up.

May go in: what MAKE_MASTER means, as a desk of its own or said in a room. May not: who serves next
(`masters`), what hubs agree upon (`federation`), what becomes of requests (`requests`). Pure: no
socket, no clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from alephscript.mesh.desks.desk import Handler, read_first
from alephscript.mesh.effects import Effect
from alephscript.mesh.federation import Federation
from alephscript.mesh.mastering import Mastering
from alephscript.mesh.peers import Master, Peer, acknowledge
from alephscript.mesh.requests import Requests
from alephscript.mesh.rooms import Room, Rooms
from alephscript.protocol import events
from alephscript.protocol.events import HubEvent

__all__ = ["MasterDesk"]


class MasterDesk:
    """What masters declare.

    Args:
        rooms: The rooms.
        mastering: Who masters them.
        requests: The open requests.

    Attributes:
        federation: The other hubs of this mesh, which have a say; None if there are none.
    """

    def __init__(self, rooms: Rooms, mastering: Mastering, requests: Requests) -> None:
        self._rooms = rooms
        self._mastering = mastering
        self._requests = requests
        self.federation: Federation | None = None
        self.handlers: dict[str, Handler] = {HubEvent.MAKE_MASTER: self._make_master}

    def _make_master(self, peer: Peer, args: Sequence[Any], ack: int | None) -> list[Effect]:
        declared = events.parse_declaration(read_first(args))
        return self.declare(Master(peer, declared, is_core=False), ack)

    def declare(self, master: Master, ack: int | None) -> list[Effect]:
        """Let a peer be a master of a room, or no longer, as it declares."""
        peer, declared = master.peer, master.declared
        if declared.out:
            return self.resign(peer, declared.room, ack)
        self._rooms.check(peer, "master", declared.room)
        room = self._rooms.get_or_create(declared.room)
        if self.federation is not None:
            self._mastering.check(master, room, self.federation.claimed_rooms(peer))
            self._rooms.drop_if_empty(room)
            return self.federation.claim(master, ack)
        announced, displaced = self._mastering.declare(room, master)
        fields: dict[str, Any] = {
            "room": room.name,
            "features": list(declared.features),
            "epoch": room.masters.epoch,
        }
        if room.name in peer.displaced:
            fields["displaced"] = True
        effects = acknowledge(peer, ack, fields) + announced
        for each in displaced:
            effects += self._requests.displace(each, room.name)
        return effects + self._requests.put_waiting(room)

    def resign(self, peer: Peer, name: str, ack: int | None) -> list[Effect]:
        """Let a peer be no master of a room any more."""
        effects = acknowledge(peer, ack, {"room": name})
        if self.federation is not None:
            self.federation.resign(peer, name)  # a claim may be on its way
        room = self._rooms.get(name)
        if room is not None and (name in peer.mastered or name in peer.displaced):
            effects += self._mastering.withdraw(peer, room) + self.after_withdrawal(room)
        return effects

    def after_withdrawal(self, room: Room) -> list[Effect]:
        """Let a master that takes over have what waits for one; forget a room without any."""
        effects = self._requests.put_waiting(room) if room.masters.serving else []
        self._rooms.drop_if_empty(room)
        return effects
