"""The rooms of a mesh: their members, their histories, and what is offered in them.

May go in: who is in a room, and which room is to answer a question. May not: how a peer comes to
master a room (`mastering`), who hears what is said there (`speech`), what becomes of a question
(`requests`). Pure: no socket, no clock.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from alephscript.errors import (
    AmbiguousRoom,
    InvalidPayload,
    LimitExceeded,
    NoMaster,
    NotSubscribed,
    PermissionDenied,
    RequestError,
)
from alephscript.mesh.access import Action, Identity
from alephscript.mesh.budget import NO_MEMORY, ROOM_BYTES
from alephscript.mesh.effects import Denied, Effect, SubscribeRoom, UnsubscribeRoom
from alephscript.mesh.history import Archive, History
from alephscript.mesh.limits import Limits
from alephscript.mesh.masters import Masters
from alephscript.mesh.peers import Peer
from alephscript.mesh.presence import Presences, Reason
from alephscript.protocol import events
from alephscript.protocol.events import HubEvent

__all__ = ["Authorize", "Room", "Rooms"]

Authorize = Callable[[Identity, Action, str, str], bool]
"""Whether an identity may do something in a room, to an event or capability; see `Access`."""

_MOST_FORGOTTEN = 1024
"""Rooms that stand empty whose history is kept for clients that come back."""


class Room:
    """A room: its members, its masters, its recent events.

    Args:
        name: The room's name.
        history: What was said in it; None where none is kept.
        now: Seconds since 1970.

    Attributes:
        created_at: When the room came to be, seconds since 1970.
        active_at: When the room was last entered, left, asked, spoken in or mastered.
    """

    __slots__ = ("active_at", "created_at", "history", "masters", "members", "name")

    def __init__(self, name: str, history: History | None, now: float) -> None:
        self.name = name
        self.created_at = self.active_at = now
        self.members: dict[str, None] = {}
        self.masters = Masters()
        self.history = history


class Rooms:
    """The rooms of a mesh.

    Args:
        require_subscription: Whether an asker has to be in the room that it asks.
        history: Events of each room that are kept for clients that reconnect; 0 keeps none.
        history_bytes: How many bytes of them are kept, of each room.
        limits: How much one peer may have.
        authorize: The rule of what each identity may do; None lets all do everything.
        incarnation: Names this hub's histories; see `alephscript.mesh.mesh.Mesh`.

    Attributes:
        peers: Connected peers, by socket id.
        presences: Who is in the rooms of which somebody wants to know that.
        has_histories: Whether rooms have a history, unless they have a log.
        has_log: Says whether a room has a log, and so no history.
        is_federated: Whether there may be other hubs, so that a registry decides who masters what.
        now: When the input came that is being handled, seconds since 1970; the shell says so. 0
            without a clock: then nobody is told when something was said.
    """

    def __init__(
        self,
        *,
        require_subscription: bool,
        history: int,
        history_bytes: int,
        limits: Limits,
        authorize: Authorize | None,
        incarnation: str = "",
    ) -> None:
        self._limits = limits
        self._authorize = authorize
        self.peers: dict[str, Peer] = {}
        self.presences = Presences(self.peers, self.milliseconds)
        self.has_histories = history > 0
        self.has_log: Callable[[str], bool] = lambda _room: False
        self._incarnation = incarnation
        self.is_federated = False
        self.now = 0.0
        self._require_subscription = require_subscription
        self._archive = Archive(
            events=history, room_bytes=history_bytes, most_bytes=limits.history_bytes
        )
        self._rooms: dict[str, Room] = {}
        self._offers: dict[str, dict[str, Room]] = {}  # capability -> rooms that offer it
        self._forgotten: OrderedDict[str, History] = OrderedDict()

    def __iter__(self) -> Iterator[Room]:
        return iter(self._rooms.values())

    def get(self, name: str) -> Room | None:
        """Get a room; None if it has neither members nor masters."""
        return self._rooms.get(name)

    def get_or_create(self, name: str) -> Room:
        """Get a room, created if there is none.

        Raises:
            InvalidPayload: The name is a connected socket's id.
        """
        if name in self.peers:
            # Upstream's hubs let a spy join, or master, the room of another socket.
            detail = {"path": "room", "message": "is a socket's id"}
            raise InvalidPayload("a socket's id is no room", [detail])
        room = self._rooms.get(name)
        if room is None:
            room = self._rooms[name] = Room(name, self._take_history(name), self.now)
        return room

    def drop_if_empty(self, room: Room) -> None:
        """Forget a room without members and masters, but not its history."""
        if room.members or room.masters or self._rooms.get(room.name) is not room:
            return
        del self._rooms[room.name]
        if room.history is None:
            return
        if room.history.last and not self.is_federated:
            self._forgotten[room.name] = room.history
            if len(self._forgotten) > _MOST_FORGOTTEN:
                _, forgotten = self._forgotten.popitem(last=False)
                _clear(forgotten)
        else:
            _clear(room.history)

    def forget_histories(self) -> None:
        """Begin all histories anew: events may have been said that were not heard here."""
        while self._forgotten:
            _, forgotten = self._forgotten.popitem()
            _clear(forgotten)
        for room in self:
            _clear(room.history)
            room.history = self._take_history(room.name)

    def _take_history(self, name: str) -> History | None:
        """Take up the history of a room that stood empty, or begin one, if any are kept."""
        forgotten = self._forgotten.pop(name, None)
        if forgotten is not None:
            return forgotten
        return None if self.has_log(name) else self._archive.open()

    def name_of(self, history: History) -> str:
        """Name a history, so that one of another hub is known as such."""
        return f"{self._incarnation}.{history.number}"

    # Permissions and limits

    @property
    def is_guarded(self) -> bool:
        """Whether there is a rule of what each identity may do."""
        return self._authorize is not None

    def is_allowed(self, peer: Peer, action: Action, room: str, name: str = "") -> bool:
        """Whether a peer may do something in a room (decision 0030)."""
        if self._authorize is None:
            return True
        return peer.identity is not None and self._authorize(peer.identity, action, room, name)

    def check(self, peer: Peer, action: Action, room: str, name: str = "") -> None:
        """Raise unless a peer may do something in a room.

        Raises:
            PermissionDenied: The peer may not; ``details`` name room and action.
        """
        # No call without a rule: each event in a room is checked.
        if self._authorize is not None and not self.is_allowed(peer, action, room, name):
            raise PermissionDenied(f"room not allowed: {room}", [{"room": room, "action": action}])

    def may_use_task(self, peer: Peer, room: str, capability: str) -> bool:
        """Whether a peer may ask a capability in a room, and so use the tasks of it."""
        if self._require_subscription and room not in peer.rooms:
            return False
        return self.is_allowed(peer, "ask", room, capability)

    def deny(self, peer: Peer, event: Any, error: RequestError) -> list[Effect]:
        """Tell a client what upstream's hubs tell one that may not do something, beside the answer.

        Two errors are told so: the client may not use the room that it named, or, on a hub with
        rules, it named no valid room.
        """
        action = "subscribe" if event == HubEvent.CLIENT_SUBSCRIBE else "room_message"
        if isinstance(error, PermissionDenied):
            (detail,) = error.details  # see `check`
            return [Denied(peer.sid, error.message, detail["room"], action)]
        if self.is_guarded and any(each.get("path") == "room" for each in error.details):
            return [Denied(peer.sid, "room required", None, action)]
        return []

    def _exceeded(self, room: Room, message: str) -> LimitExceeded:
        self.drop_if_empty(room)
        return LimitExceeded(message)

    # Members

    def members(self, name: str) -> dict[str, None]:
        """The socket ids of a room's members, in the order of entering."""
        room = self._rooms.get(name)
        return room.members if room else {}

    def enter(self, peer: Peer, room: Room) -> list[Effect]:
        """Make a peer a member of a room; a member that enters again stays one.

        Raises:
            LimitExceeded: The peer is in as many rooms as it may, or the room is full, or the peer
                makes the hub keep too much.
        """
        if peer.sid in room.members:
            return []
        most = self._limits.rooms_per_client
        if len(peer.rooms) >= most:
            raise self._exceeded(room, f"a client may be in {most} rooms; leave one first")
        if len(room.members) >= self._limits.members_per_room:
            raise self._exceeded(room, f"{room.name} is full: {len(room.members)} are there")
        if not peer.account.keep(("room", room.name), ROOM_BYTES + len(room.name)):
            raise self._exceeded(room, NO_MEMORY)
        is_first = not room.members
        room.active_at = self.now
        room.members[peer.sid] = None
        peer.rooms[room.name] = None
        # First: what comes after `SubscribeRoom` waits.
        effects = self.presences.entered(peer, room.name) if self.presences.rooms else []
        if is_first and self.is_federated:
            effects.append(SubscribeRoom(room.name))
        return effects

    def leave(self, peer: Peer, name: str, reason: Reason) -> list[Effect]:
        """Remove a peer from a room; one that is no member stays none."""
        peer.rooms.pop(name, None)
        peer.account.release(("room", name))
        room = self._rooms.get(name)
        if room is None or peer.sid not in room.members:
            return []
        del room.members[peer.sid]
        room.active_at = self.now
        effects = self.presences.left(peer, name, reason) if self.presences.rooms else []
        is_last = not room.members and self.is_federated
        if is_last and room.history is not None:
            # What other hubs say in the room is not heard here from now on.
            _clear(room.history)
            room.history = self._take_history(name)
        self.drop_if_empty(room)
        if is_last:
            effects.append(UnsubscribeRoom(name))
        return effects

    # Which room answers

    def choose_room(self, peer: Peer, capability: str, named_room: Any) -> Room:
        """Choose the room whose master is to answer.

        Args:
            peer: The asker.
            capability: The capability that it asks for.
            named_room: The room that it names, any JSON; None leaves the choice to the hub.

        Raises:
            NoMaster: No master offers the capability, or the named room has no master.
            AmbiguousRoom: Several masters that answer in the same way offer it in rooms that the
                asker is not in.
            NotSubscribed: The asker is not in the room, and the hub wants it to be.
            PermissionDenied: The asker may not ask there.
        """
        if named_room is not None:
            if self._authorize is not None:
                # First: whether there is such a room is not for everybody to know.
                self.check(peer, "ask", events.check_room_name(named_room), capability)
            # A name by which a room is found needs no further check.
            room = self._rooms.get(named_room) if type(named_room) is str else None
            if room is None or not room.masters.serving:
                name = events.check_room_name(named_room)
                raise NoMaster(f"{name} has no master")
        else:
            offering = self._offers.get(capability)
            if offering is not None and len(offering) == 1 and self._authorize is None:
                (room,) = offering.values()  # `_choose_offering`, without the call, as mostly
            else:
                room = self._choose_offering(peer, capability)
        if self._require_subscription and room.name not in peer.rooms:
            raise NotSubscribed(f"subscribe to {room.name} before asking it")
        return room

    def _choose_offering(self, peer: Peer, capability: str) -> Room:
        """Choose a room that offers a capability, the asker's own rooms first.

        Elsewhere a master that acknowledges comes before one that only tells its room: an app of
        upstream's that is open in some browser claims what the bot of another room offers, too.
        """
        offering = self._offers.get(capability)
        if offering is not None and self._authorize is not None:
            offering = {
                name: room
                for name, room in offering.items()
                if self.is_allowed(peer, "ask", name, capability)
            }
        if not offering:
            raise NoMaster(f"nobody offers {capability}")
        if len(offering) == 1:
            return next(iter(offering.values()))
        for name in peer.rooms:
            if name in offering:
                return offering[name]
        rooms = [
            room
            for room in offering.values()
            if any(each.acknowledges for each in room.masters.serving)
        ] or list(offering.values())
        if len({id(each.peer) for room in rooms for each in room.masters.serving}) > 1:
            names = [room.name for room in rooms]
            raise AmbiguousRoom(
                f"{capability} is offered in {', '.join(names)}: name the room", names
            )
        return rooms[0]

    def index_offers(self, room: Room, before: frozenset[str]) -> None:
        """Index a room by the capabilities that are offered in it now, and by no others."""
        for capability in before - room.masters.offers:
            rooms = self._offers[capability]
            del rooms[room.name]
            if not rooms:
                del self._offers[capability]
        for capability in room.masters.offers - before:
            self._offers.setdefault(capability, {})[room.name] = room

    @property
    def capabilities(self) -> Iterable[str]:
        """The names of the capabilities that are offered in any room."""
        return self._offers

    def offering(self, name: Any, capability: Any) -> Iterable[Room]:
        """Find the rooms whose masters may offer a capability.

        Args:
            name: The room, any JSON; None for all.
            capability: The capability, any JSON; None for any.
        """
        if name is not None:
            room = self._rooms.get(name) if isinstance(name, str) else None
            return [] if room is None else [room]
        if capability is None:
            return list(self._rooms.values())
        rooms = self._offers.get(capability, {}) if isinstance(capability, str) else {}
        return list(rooms.values())

    def milliseconds(self) -> int:
        """Tell `now` in milliseconds."""
        return int(self.now * 1000)

    def history_of(self, name: str) -> History | None:
        """Find the history of a room, if one is kept."""
        room = self._rooms.get(name)
        # A client that left an empty room for a moment is to hear what was said there, too.
        return self._forgotten.get(name) if room is None else room.history


def _clear(history: History | None) -> None:
    if history is not None:
        history.drop_until(history.last)
