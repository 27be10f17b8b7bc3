"""Who is where: the peers of a mesh, its rooms, their masters, and what was said in them.

Pure: no socket, no clock. Knows of requests only that peers have some.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from alephscript import wire
from alephscript.access import Action, Identity
from alephscript.effects import Effect, Emit
from alephscript.errors import (
    AmbiguousRoom,
    InvalidPayload,
    LimitExceeded,
    NoMaster,
    NotSubscribed,
    PermissionDenied,
)
from alephscript.history import History
from alephscript.limits import Limits
from alephscript.masters import Master, Masters
from alephscript.wire import HubEvent

if TYPE_CHECKING:
    from alephscript.requests import Request

__all__ = ["Authorize", "Peer", "Room", "Rooms"]

Authorize = Callable[[Identity, Action, str, str], bool]
"""Whether somebody may do something in a room, to an event or capability; see `Access`."""

_MOST_FORGOTTEN = 1024
"""Rooms without anybody whose history is kept for who comes back."""


class Peer:
    """A socket, and what there is of it.

    Attributes:
        identity: Who it is, as far as the hub asks that.
        asked: Its open requests, by their acknowledgement id, or by minus their number.
        serving: Open requests that it is to answer, by number.
    """

    __slots__ = (
        "asked",
        "engine_id",
        "identity",
        "masters",
        "name",
        "registration",
        "rooms",
        "serving",
        "sid",
        "speaks_meta",
    )

    def __init__(self, sid: str, engine_id: str, identity: Identity | None = None) -> None:
        self.sid = sid
        self.engine_id = engine_id
        self.identity = identity
        self.registration: wire.Registration | None = None
        self.name = (identity and identity.usuario) or "--"
        self.speaks_meta = False
        self.rooms: dict[str, None] = {}
        self.masters: dict[str, None] = {}
        self.asked: dict[int, Request] = {}
        self.serving: dict[int, Request] = {}

    @property
    def caller(self) -> str:
        """Who it is to whoever it asks: proven, where the hub asks for proof."""
        return (self.identity and self.identity.usuario) or self.name


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
        self._require_subscription = require_subscription
        self._history = history
        self._history_bytes = history_bytes
        self._rooms: dict[str, Room] = {}
        self._offers: dict[str, dict[str, None]] = {}  # capability -> rooms that offer it
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
            history = None
            if self._history:
                history = self._forgotten.pop(name, None) or History(
                    events=self._history, size=self._history_bytes
                )
            room = self._rooms[name] = Room(name, history)
        return room

    @property
    def is_guarded(self) -> bool:
        """Whether not everybody may do everything."""
        return self._authorize is not None

    def may(self, peer: Peer, action: Action, room: str, name: str = "") -> bool:
        """Whether a peer may do something in a room."""
        if self._authorize is None or peer.identity is None:
            return True
        return self._authorize(peer.identity, action, room, name)

    def check(self, peer: Peer, action: Action, room: str, name: str = "") -> None:
        """Let pass only what a peer may do.

        Raises:
            PermissionDenied: It may not; ``details`` name room and action.
        """
        if not self.may(peer, action, room, name):
            raise PermissionDenied(f"room not allowed: {room}", [{"room": room, "action": action}])

    def enter(self, peer: Peer, room: Room) -> None:
        """A peer is in a room from now on; entering twice is once.

        Raises:
            LimitExceeded: The peer is in too many, or the room is full.
        """
        if peer.sid in room.members:
            return
        most = self._limits.rooms_per_client
        if len(peer.rooms) >= most:
            raise self._too_much(room, f"a client may be in {most} rooms; leave one first")
        if len(room.members) >= self._limits.members_per_room:
            raise self._too_much(room, f"{room.name} is full: {len(room.members)} are there")
        room.members[peer.sid] = None
        peer.rooms[room.name] = None

    def _too_much(self, room: Room, message: str) -> LimitExceeded:
        self.drop_if_empty(room)
        return LimitExceeded(message)

    def leave(self, peer: Peer, name: str) -> None:
        """A peer is in a room no more."""
        peer.rooms.pop(name, None)
        room = self._rooms.get(name)
        if room is not None:
            room.members.pop(peer.sid, None)
            self.drop_if_empty(room)

    def drop_if_empty(self, room: Room) -> None:
        """Forget a room that nobody is or masters in, but not what was said there."""
        if room.members or room.masters or self._rooms.get(room.name) is not room:
            return
        del self._rooms[room.name]
        if room.history is not None and room.history.last:
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
        most = self._limits.rooms_per_client
        if room.name not in master.peer.masters and len(master.peer.masters) >= most:
            raise self._too_much(room, f"a client may master {most} rooms; resign from one first")
        before = room.masters.offers
        change = room.masters.declare(master)
        master.peer.masters[room.name] = None
        for displaced in change.displaced:
            displaced.masters.pop(room.name, None)
        self._index(room, before)
        told: list[Effect] = []
        if change.is_new:
            told = self._tell_of_masters(room, change.displaced, declared_by=master.peer)
        return told, change.displaced

    def withdraw(self, peer: Peer, room: Room) -> list[Effect]:
        """A peer masters a room no more: who is told."""
        peer.masters.pop(room.name, None)
        before = room.masters.offers
        change = room.masters.withdraw(peer.sid)
        self._index(room, before)
        return self._tell_of_masters(room) if change.is_new else []

    def that_answers(self, peer: Peer, event: str, wanted: Any) -> Room:
        """The room whose master is to answer.

        Raises:
            NoMaster: Nobody offers it, or the room that was named has no master.
            AmbiguousRoom: Several masters offer it in rooms that the asker is not in.
            NotSubscribed: The hub wants askers in the room.
            PermissionDenied: The asker may not ask there.
        """
        if wanted is not None:
            if self._authorize is not None:
                # Before it is looked for: whether there is such a room is nobody else's business.
                self.check(peer, "ask", wire.room_name(wanted), wire.capability_name(event))
            room = self._rooms.get(wire.room_name(wanted))
            if room is None or not room.masters.serving:
                raise NoMaster(f"{wanted} has no master")
        else:
            room = self._that_offers(peer, event)
        if self._require_subscription and room.name not in peer.rooms:
            raise NotSubscribed(f"subscribe to {room.name} before asking it")
        return room

    def _that_offers(self, peer: Peer, event: str) -> Room:
        capability = wire.capability_name(event)
        offering = self._offers.get(capability)
        if offering is not None and self._authorize is not None:
            offering = {name: None for name in offering if self.may(peer, "ask", name, capability)}
        if not offering:
            raise NoMaster(f"nobody offers {capability}")
        if len(offering) == 1:
            return self._rooms[next(iter(offering))]
        for name in peer.rooms:
            if name in offering:
                return self._rooms[name]
        rooms = [self._rooms[name] for name in offering]
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
            self._offers.setdefault(capability, {})[room.name] = None

    def _tell_of_masters(
        self, room: Room, displaced: Sequence[Peer] = (), declared_by: Peer | None = None
    ) -> list[Effect]:
        """Tell the room, and whoever was displaced, that others serve it now."""
        serving = room.masters.serving
        told = {
            "room": room.name,
            "usuario": serving[0].peer.name if serving else None,
            "epoch": room.masters.epoch,
        }
        message = wire.RoomMessage(HubEvent.MASTER_CHANGED, room.name, None, {})
        watching = self.members(wire.EVERY_ROOM)
        to = dict.fromkeys([*room.members, *watching, *(peer.sid for peer in displaced)])
        if declared_by is not None:
            to.pop(declared_by.sid, None)  # its acknowledgement says it
        return self.tell(to, message, told, "")

    # What is said

    def tell(
        self,
        to: Iterable[str],
        message: wire.RoomMessage,
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

    def _remember(self, message: wire.RoomMessage, data: Any, sender: str) -> int | None:
        room = self._rooms.get(message.room)
        # Who left an empty room for a moment wants to hear what was said there, too.
        history = self._forgotten.get(message.room) if room is None else room.history
        if history is None:
            return None
        size = len(bytes(data)) if isinstance(data, msgspec.Raw) else len(wire.dumps(data))
        return history.add(message.event, data, sender, size)


def _at(path: str, message: str) -> dict[str, str]:
    return {"path": path, "message": message}
