"""Who is where: the peers of a mesh, its rooms, their masters, and what was said in them.

Pure: no socket, no clock. Knows of requests only that peers have some.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from alephscript.errors import (
    AmbiguousRoom,
    InvalidPayload,
    LimitExceeded,
    NoMaster,
    NotSubscribed,
    PermissionDenied,
)
from alephscript.mesh.access import Action, Identity
from alephscript.mesh.effects import Abandon, Attend, Effect, Emit, Release, ToRoom
from alephscript.mesh.history import History
from alephscript.mesh.limits import Limits
from alephscript.mesh.masters import Master, Masters
from alephscript.protocol import events
from alephscript.protocol.events import HubEvent
from alephscript.protocol.json import write_json

if TYPE_CHECKING:
    from alephscript.mesh.requests import OpenRequest

__all__ = ["Authorize", "Peer", "Room", "Rooms"]

Authorize = Callable[[Identity, Action, str, str], bool]
"""Whether somebody may do something in a room, to an event or capability; see `Access`."""

_MOST_FORGOTTEN = 1024
"""Rooms without anybody whose history is kept for who comes back."""


class Peer:
    """A socket, and what there is of it.

    Attributes:
        identity: Who it is, as far as the hub asks that.
        hub: The hub that it is at; None for this one.
        asked: Its open requests, by their acknowledgement id, or by minus their number.
        serving: Open requests that it is to answer, by number.
    """

    __slots__ = (
        "asked",
        "engine_id",
        "hub",
        "identity",
        "masters",
        "name",
        "registration",
        "rooms",
        "serving",
        "sid",
        "speaks_meta",
    )

    def __init__(
        self,
        sid: str,
        engine_id: str,
        identity: Identity | None = None,
        *,
        hub: str | None = None,
    ) -> None:
        self.sid = sid
        self.hub = hub
        self.engine_id = engine_id
        self.identity = identity
        self.registration: events.Registration | None = None
        self.name = (identity and identity.usuario) or "--"
        self.speaks_meta = False
        self.rooms: dict[str, None] = {}
        self.masters: dict[str, None] = {}
        self.asked: dict[int, OpenRequest] = {}
        self.serving: dict[int, OpenRequest] = {}

    @property
    def caller(self) -> str:
        """Who it is to whoever it asks: proven, where the hub asks for proof."""
        identity = self.identity
        return self.name if identity is None else identity.usuario or self.name


class Room:
    """A room: who is in it, who masters it, what was said in it of late."""

    __slots__ = ("history", "masters", "members", "name")

    def __init__(self, name: str, history: History | None) -> None:
        self.name = name
        self.members: dict[str, None] = {}
        self.masters: Masters[Peer] = Masters()
        self.history = history


class Rooms:
    """The rooms of a mesh.

    Args:
        require_subscription: Whether an asker has to be in the room that it asks.
        history: Events of each room that are kept for who was away; 0 keeps none.
        history_bytes: How many bytes of them, of each room.
        limits: How much one peer may have.
        authorize: What each may do; None lets all do everything.

    Attributes:
        peers: Who is connected, by socket id.
        is_federated: Whether there may be other hubs, so that a registry decides who masters what.
    """

    def __init__(
        self,
        *,
        require_subscription: bool,
        history: int,
        history_bytes: int,
        limits: Limits,
        authorize: Authorize | None,
    ) -> None:
        self._limits = limits
        self._authorize = authorize
        self.peers: dict[str, Peer] = {}
        self.is_federated = False
        self._require_subscription = require_subscription
        self._history = history
        self._history_bytes = history_bytes
        self._rooms: dict[str, Room] = {}
        self._offers: dict[str, dict[str, Room]] = {}  # capability -> rooms that offer it
        self._histories = itertools.count()
        self._forgotten: OrderedDict[str, History] = OrderedDict()

    def __iter__(self) -> Iterator[Room]:
        return iter(self._rooms.values())

    def get(self, name: str) -> Room | None:
        """A room, if somebody is or masters there."""
        return self._rooms.get(name)

    def made(self, name: str) -> Room:
        """A room, made if there is none.

        Raises:
            InvalidPayload: The name is a connected socket's id.
        """
        if name in self.peers:
            # Stock hubs let a spy join, or master, another socket's own room.
            raise InvalidPayload("a socket's id is no room", [_at("room", "is a socket's id")])
        room = self._rooms.get(name)
        if room is None:
            room = self._rooms[name] = Room(name, self._history_of(name))
        return room

    def _history_of(self, name: str) -> History | None:
        if not self._history:
            return None
        forgotten = self._forgotten.pop(name, None)
        if forgotten is not None:
            return forgotten
        return History(events=self._history, size=self._history_bytes, number=next(self._histories))

    def forget_histories(self) -> None:
        """Something may have been said that was not heard here: begin anew."""
        self._forgotten.clear()
        for room in self:
            room.history = self._history_of(room.name)

    @property
    def is_guarded(self) -> bool:
        """Whether not everybody may do everything."""
        return self._authorize is not None

    def may(self, peer: Peer, action: Action, room: str, name: str = "") -> bool:
        """Whether a peer may do something in a room."""
        if self._authorize is None:
            return True
        return peer.identity is not None and self._authorize(peer.identity, action, room, name)

    def check(self, peer: Peer, action: Action, room: str, name: str = "") -> None:
        """Let pass only what a peer may do.

        Raises:
            PermissionDenied: It may not; ``details`` name room and action.
        """
        if not self.may(peer, action, room, name):
            raise PermissionDenied(f"room not allowed: {room}", [{"room": room, "action": action}])

    def enter(self, peer: Peer, room: Room) -> list[Effect]:
        """A peer is in a room from now on; entering twice is once.

        Raises:
            LimitExceeded: The peer is in too many, or the room is full.
        """
        if peer.sid in room.members:
            return []
        most = self._limits.rooms_per_client
        if len(peer.rooms) >= most:
            raise self._too_much(room, f"a client may be in {most} rooms; leave one first")
        if len(room.members) >= self._limits.members_per_room:
            raise self._too_much(room, f"{room.name} is full: {len(room.members)} are there")
        is_first = not room.members
        room.members[peer.sid] = None
        peer.rooms[room.name] = None
        return [Attend(room.name)] if is_first and self.is_federated else []

    def check_mastering(self, peer: Peer, room: Room) -> None:
        """Let nobody master too much.

        Raises:
            LimitExceeded: It masters too many.
        """
        most = self._limits.rooms_per_client
        if room.name not in peer.masters and len(peer.masters) >= most:
            raise self._too_much(room, f"a client may master {most} rooms; resign from one first")

    def _too_much(self, room: Room, message: str) -> LimitExceeded:
        self.drop_if_empty(room)
        return LimitExceeded(message)

    def leave(self, peer: Peer, name: str) -> list[Effect]:
        """A peer is in a room no more."""
        peer.rooms.pop(name, None)
        room = self._rooms.get(name)
        if room is None or peer.sid not in room.members:
            return []
        del room.members[peer.sid]
        is_last = not room.members and self.is_federated
        if is_last and room.history is not None:
            # Nobody here will hear what is said there from now on.
            room.history = self._history_of(name)
        self.drop_if_empty(room)
        return [Abandon(name)] if is_last else []

    def drop_if_empty(self, room: Room) -> None:
        """Forget a room that nobody is or masters in, but not what was said there."""
        if room.members or room.masters or self._rooms.get(room.name) is not room:
            return
        del self._rooms[room.name]
        if room.history is not None and room.history.last and not self.is_federated:
            self._forgotten[room.name] = room.history
            if len(self._forgotten) > _MOST_FORGOTTEN:
                self._forgotten.popitem(last=False)

    def members(self, name: str) -> dict[str, None]:
        """Who is in a room, by socket id."""
        found = self._rooms.get(name)
        return found.members if found else {}

    # Who serves

    def declare(self, room: Room, master: Master[Peer]) -> tuple[list[Effect], Sequence[Peer]]:
        """A peer masters a room from now on: who is told, and whom it has displaced.

        Raises:
            LimitExceeded: It masters too many.
        """
        self.check_mastering(master.peer, room)
        before = room.masters.offers
        change = room.masters.declare(master)
        master.peer.masters[room.name] = None
        for displaced in change.displaced:
            displaced.masters.pop(room.name, None)
        self._index(room, before)
        told: list[Effect] = []
        if change.is_new:
            told = self._tell_of_masters(room, change.displaced, declared_by=[master.peer])
        return told, change.displaced

    def replace(
        self, room: Room, masters: Sequence[Master[Peer]], epoch: int
    ) -> tuple[list[Effect], Sequence[Peer]]:
        """A registry has decided who masters a room: who is told, and who does no more."""
        before, came = room.masters.offers, [each.peer for each in masters]
        came = [peer for peer in came if peer.hub is None and peer.sid not in room.masters]
        change = room.masters.replace(masters, epoch)
        for each in masters:
            each.peer.masters[room.name] = None
        for displaced in change.displaced:
            displaced.masters.pop(room.name, None)
        self._index(room, before)
        if not change.is_new:
            return [], change.displaced
        here = [peer for peer in change.displaced if peer.hub is None]
        return self._tell_of_masters(room, here, declared_by=came), change.displaced

    def withdraw(self, peer: Peer, room: Room) -> list[Effect]:
        """A peer masters a room no more: who is told."""
        peer.masters.pop(room.name, None)
        before = room.masters.offers
        if self.is_federated:
            room.masters.drop(peer.sid)
            self._index(room, before)
            return [Release(peer.sid, room.name)]
        change = room.masters.withdraw(peer.sid)
        self._index(room, before)
        return self._tell_of_masters(room) if change.is_new else []

    def that_answers(self, peer: Peer, capability: str, wanted: Any) -> Room:
        """The room whose master is to answer.

        Args:
            peer: Who asks.
            capability: What for.
            wanted: The room that it names, any JSON; None leaves it to the hub.

        Raises:
            NoMaster: Nobody offers it, or the room that was named has no master.
            AmbiguousRoom: Several masters offer it in rooms that the asker is not in.
            NotSubscribed: The hub wants askers in the room.
            PermissionDenied: The asker may not ask there.
        """
        if wanted is not None:
            if self._authorize is not None:
                # Before it is looked for: whether there is such a room is nobody else's business.
                self.check(peer, "ask", events.check_room_name(wanted), capability)
            room = self._rooms.get(events.check_room_name(wanted))
            if room is None or not room.masters.serving:
                raise NoMaster(f"{wanted} has no master")
        else:
            room = self._that_offers(peer, capability)
        if self._require_subscription and room.name not in peer.rooms:
            raise NotSubscribed(f"subscribe to {room.name} before asking it")
        return room

    def _that_offers(self, peer: Peer, capability: str) -> Room:
        offering = self._offers.get(capability)
        if offering is not None and self._authorize is not None:
            offering = {
                name: room
                for name, room in offering.items()
                if self.may(peer, "ask", name, capability)
            }
        if not offering:
            raise NoMaster(f"nobody offers {capability}")
        if len(offering) == 1:
            return next(iter(offering.values()))
        for name in peer.rooms:
            if name in offering:
                return offering[name]
        rooms = list(offering.values())
        if len({id(each.peer) for room in rooms for each in room.masters.serving}) > 1:
            names = [room.name for room in rooms]
            raise AmbiguousRoom(
                f"{capability} is offered in {', '.join(names)}: name the room", names
            )
        return rooms[0]

    def _index(self, room: Room, before: frozenset[str]) -> None:
        """Find the room by what is offered in it now, and by nothing else."""
        for capability in before - room.masters.offers:
            rooms = self._offers[capability]
            del rooms[room.name]
            if not rooms:
                del self._offers[capability]
        for capability in room.masters.offers - before:
            self._offers.setdefault(capability, {})[room.name] = room

    def _tell_of_masters(
        self, room: Room, displaced: Sequence[Peer] = (), declared_by: Sequence[Peer] = ()
    ) -> list[Effect]:
        """Tell the room, and whoever was displaced, that others serve it now."""
        serving = room.masters.serving
        told = {
            "room": room.name,
            "usuario": serving[0].peer.name if serving else None,
            "epoch": room.masters.epoch,
        }
        message = events.RoomMessage(HubEvent.MASTER_CHANGED, room.name, None, {})
        watching = self.members(events.EVERY_ROOM)
        to = dict.fromkeys([*room.members, *watching, *(peer.sid for peer in displaced)])
        for peer in declared_by:
            to.pop(peer.sid, None)  # its acknowledgement says it
        return self.tell(to, message, told, "")

    # What is said

    def say(
        self, to: Iterable[str], message: events.RoomMessage, data: Any, sender: str
    ) -> list[Effect]:
        """Say something to those who hear it here, and to the room at all other hubs."""
        told = self.tell(to, message, data, sender)
        if self.is_federated:
            told.append(ToRoom(message.room, (message.event, data, sender)))
        return told

    def tell(
        self,
        to: Iterable[str],
        message: events.RoomMessage,
        data: Any,
        sender: str,
        *,
        is_echo: bool = False,
    ) -> list[Effect]:
        """Say something in a room; peers of our protocol also learn which room and who said it.

        Args:
            to: Who hears it.
            message: Its event and its room.
            data: What is said.
            sender: Who says it.
            is_echo: Whether it was said already, to others.
        """
        stock: list[str] = []
        ours: list[str] = []
        peers = self.peers
        for sid in to:
            (ours if peers[sid].speaks_meta else stock).append(sid)
        number = None if is_echo else self._remember(message, data, sender)
        told: list[Effect] = []
        if stock:
            told.append(Emit(tuple(stock), message.event, (data,)))
        if ours:
            meta: dict[str, Any] = {"room": message.room, "sender": sender}
            if number is not None:
                meta["number"] = number
            told.append(Emit(tuple(ours), message.event, (data, meta)))
        return told

    def _remember(self, message: events.RoomMessage, data: Any, sender: str) -> int | None:
        room = self._rooms.get(message.room)
        # Who left an empty room for a moment wants to hear what was said there, too.
        history = self._forgotten.get(message.room) if room is None else room.history
        if history is None:
            return None
        size = len(bytes(data)) if isinstance(data, msgspec.Raw) else len(write_json(data))
        return history.add(message.event, data, sender, size)


def _at(path: str, message: str) -> dict[str, str]:
    return {"path": path, "message": message}
