"""Who masters the rooms of a mesh: declared, decided, withdrawn, and who is told of that.

May go in: what a declaration changes, and its bounds. May not: which of several declarations counts
in a room (`masters`), what becomes of requests then (`requests`). Pure: no socket, no clock.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from alephscript.errors import LimitExceeded
from alephscript.mesh.budget import NO_MEMORY, ROOM_BYTES, weigh
from alephscript.mesh.effects import Effect, Release
from alephscript.mesh.masters import Change
from alephscript.mesh.peers import Master, Peer
from alephscript.mesh.rooms import Room, Rooms
from alephscript.mesh.speech import Speech
from alephscript.protocol import events
from alephscript.protocol.events import HubEvent

__all__ = ["Mastering"]

_FEATURE_BYTES = 600
"""What a declared name takes besides its text: in the declaration, and where offers are found."""


class Mastering:
    """The mastering of rooms.

    Args:
        rooms: The rooms.
        speech: Where rooms are told.
        most: How many rooms a peer may master.

    Attributes:
        report: Told of each room that other masters serve from now on.
    """

    def __init__(self, rooms: Rooms, speech: Speech, most: int) -> None:
        self.report: Callable[[Room], None] = lambda _: None
        self._rooms = rooms
        self._speech = speech
        self._most = most

    def check(self, master: Master, room: Room, claimed: Collection[str] = ()) -> None:
        """Raise if a peer that is to master a room masters too many; count what is kept of that.

        Args:
            master: The declaration.
            room: The room.
            claimed: Rooms that the peer is to master as well, which is not decided yet.

        Raises:
            LimitExceeded: The peer masters as many rooms as it may, or makes the hub keep too much.
        """
        peer = master.peer
        most = self._most
        if (
            not (room.name in peer.mastered or room.name in claimed)
            and len(peer.mastered) + len(peer.displaced) + len(claimed) >= most
            and room.name not in peer.displaced
            and len(peer.mastered.keys() | peer.displaced.keys() | set(claimed)) >= most
        ):
            raise self._exceeded(room, f"a client may master {most} rooms; resign from one first")
        declared = master.declared
        size = ROOM_BYTES + len(room.name) + weigh(declared.descriptions)
        size += weigh(declared.says) if declared.says else 0
        size += sum(_FEATURE_BYTES + len(each) for each in declared.features)
        if not peer.account.keep(("master", room.name), size):
            raise self._exceeded(room, NO_MEMORY)

    def _exceeded(self, room: Room, message: str) -> LimitExceeded:
        self._rooms.drop_if_empty(room)
        return LimitExceeded(message)

    def declare(self, room: Room, master: Master) -> tuple[list[Effect], Sequence[Peer]]:
        """Let a peer master a room from now on.

        Returns:
            The effects that tell others, and the peers that master the room no more.

        Raises:
            LimitExceeded: See `check`.
        """
        self.check(master, room)
        offered_before = room.masters.offers
        change = room.masters.declare(master)
        _note_masters(room, change)
        self._rooms.index_offers(room, offered_before)
        return self._announce(room, change, declared_by=[master.peer]), change.displaced

    def replace(
        self, room: Room, masters: Sequence[Master], epoch: int
    ) -> tuple[list[Effect], Sequence[Peer]]:
        """Let the masters that a registry has decided on master a room, and no others.

        Returns:
            As `declare`.
        """
        offered_before = room.masters.offers
        newcomers = [
            each.peer for each in masters if not each.peer.hub and each.peer.sid not in room.masters
        ]
        change = room.masters.replace(masters, epoch)
        _note_masters(room, change)
        self._rooms.index_offers(room, offered_before)
        effects = self._announce(room, change, declared_by=newcomers)
        return effects, (*change.displaced, *change.gone)

    def withdraw(self, peer: Peer, room: Room) -> list[Effect]:
        """Let a peer master a room no more, and tell others."""
        _unmaster(peer, room.name)
        offered_before = room.masters.offers
        if self._rooms.is_federated:
            room.masters.drop(peer.sid)
            self._rooms.index_offers(room, offered_before)
            return [Release(peer.sid, room.name)]
        change = room.masters.withdraw(peer.sid)
        _note_masters(room, change)
        self._rooms.index_offers(room, offered_before)
        return self._announce(room, change)

    def _announce(
        self, room: Room, change: Change, declared_by: Sequence[Peer] = ()
    ) -> list[Effect]:
        """Tell a room that others serve it now, and masters what that is to them."""
        if not change.is_new:
            return []
        room.active_at = self._rooms.now
        self.report(room)
        serving = room.masters.serving
        payload = {
            "room": room.name,
            "usuario": serving[0].peer.name if serving else None,
            "epoch": room.masters.epoch,
        }
        message = events.RoomMessage(HubEvent.MASTER_CHANGED, room.name, None, {})
        watching = self._rooms.members(events.EVERY_ROOM)
        to = dict.fromkeys([*room.members, *watching])
        for peer in (*declared_by, *change.displaced, *change.restored):
            to.pop(peer.sid, None)  # a declaration's acknowledgement says it
        effects = self._speech.tell(to, message, payload, "")
        number = room.history.last if room.history else None
        for peers, is_displaced in ((change.displaced, True), (change.restored, False)):
            told = {**payload, "displaced": is_displaced}
            sids = [peer.sid for peer in peers if peer.sid in self._rooms.peers]
            effects += self._speech.tell(sids, message, told, "", is_echo=True, number=number)
        return effects

    def tell_displaced(self, peer: Peer, room: Room, name: str) -> list[Effect]:
        """Tell a peer that a master of this name takes its place in a room."""
        payload = {"room": room.name, "usuario": name, "epoch": room.masters.epoch}
        message = events.RoomMessage(HubEvent.MASTER_CHANGED, room.name, None, {})
        return self._speech.tell(
            [peer.sid], message, {**payload, "displaced": True}, "", is_echo=True
        )


def _note_masters(room: Room, change: Change) -> None:
    """Have each peer know of which rooms it is a master, and in which it stands by."""
    for peer in change.gone:
        _unmaster(peer, room.name)
    for each in room.masters.acting:
        each.peer.mastered[room.name] = None
        each.peer.displaced.pop(room.name, None)
    for each in room.masters.displaced:
        each.peer.displaced[room.name] = None
        each.peer.mastered.pop(room.name, None)


def _unmaster(peer: Peer, name: str) -> None:
    peer.mastered.pop(name, None)
    peer.displaced.pop(name, None)
    peer.account.release(("master", name))
