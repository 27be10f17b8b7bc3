"""The rooms of a mesh: their members, their masters, and what was said in them.

May go in: who is in a room, who masters one, who hears an event, and which room is to answer a
question. May not: what becomes of the question (`requests`). Pure: no socket, no clock.
Over 500 lines, because who is in a room, who masters one and who hears of it change together.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import (
    Callable,
    Collection,
    Hashable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
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
from alephscript.mesh.budget import ROOM_BYTES, weigh
from alephscript.mesh.effects import (
    Denied,
    Effect,
    Emit,
    Release,
    Retain,
    SubscribeRoom,
    ToRoom,
    UnsubscribeRoom,
)
from alephscript.mesh.history import Archive, History
from alephscript.mesh.limits import Limits
from alephscript.mesh.masters import Change, Masters
from alephscript.mesh.peers import Master, Peer
from alephscript.mesh.presence import Presences, Reason
from alephscript.mesh.retained import Retained, RetainedValue, is_told_again, make_value
from alephscript.protocol import events
from alephscript.protocol.events import HubEvent
from alephscript.protocol.positions import Since

__all__ = ["Authorize", "Room", "Rooms"]

Authorize = Callable[[Identity, Action, str, str], bool]
"""Whether an identity may do something in a room, to an event or capability; see `Access`."""

_FEATURE_BYTES = 600
"""What a declared name takes besides its text: in the declaration, and where offers are found."""

_NO_MEMORY = "what this client makes the hub keep takes too much memory already"

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
        retain: Events that are retained whoever says them; see `Retained`.
        incarnation: Names this hub's histories; see `alephscript.mesh.mesh.Mesh`.

    Attributes:
        peers: Connected peers, by socket id.
        retained: The last values of events, for those who subscribe later.
        presences: Who is in the rooms of which somebody wants to know that.
        report_masters: Told of each room that other masters serve from now on.
        keep: Keeps a value of a room in place of the one before; `put_value`, unless hubs agree.
        keep_quietly: The same where the room hears of the value in another way.
        has_log: Says whether a room has a log, and so no history.
        is_kept: Whether retained values outlive this hub, so that somebody wants to hear of them.
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
        retain: Mapping[str, frozenset[str]] | None = None,
        incarnation: str = "",
    ) -> None:
        self._limits = limits
        self._authorize = authorize
        self.peers: dict[str, Peer] = {}
        self.retained = Retained(limits.retained_bytes, retain or {})
        self.presences = Presences(self.peers, self.milliseconds)
        self.report_masters: Callable[[Room], None] = lambda _: None
        self.keep: Callable[[str, str, RetainedValue], list[Effect]] = self.put_value
        self.keep_quietly = self.keep
        self.has_log: Callable[[str], bool] = lambda _room: False
        self._incarnation = incarnation
        self.is_kept = False
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

    def check_mastering(self, master: Master, room: Room, claimed: Collection[str] = ()) -> None:
        """Raise if a peer that is to master a room masters too many; count what is kept of that.

        Args:
            master: The declaration.
            room: The room.
            claimed: Rooms that the peer is to master as well, which is not decided yet.

        Raises:
            LimitExceeded: The peer masters as many rooms as it may, or makes the hub keep too much.
        """
        peer = master.peer
        most = self._limits.rooms_per_client
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
            raise self._exceeded(room, _NO_MEMORY)

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
            raise self._exceeded(room, _NO_MEMORY)
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

    # Masters

    def declare(self, room: Room, master: Master) -> tuple[list[Effect], Sequence[Peer]]:
        """Let a peer master a room from now on.

        Returns:
            The effects that tell others, and the peers that master the room no more.

        Raises:
            LimitExceeded: See `check_mastering`.
        """
        self.check_mastering(master, room)
        offered_before = room.masters.offers
        change = room.masters.declare(master)
        _note_masters(room, change)
        self._index_offers(room, offered_before)
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
        self._index_offers(room, offered_before)
        effects = self._announce(room, change, declared_by=newcomers)
        return effects, (*change.displaced, *change.gone)

    def withdraw(self, peer: Peer, room: Room) -> list[Effect]:
        """Let a peer master a room no more, and tell others."""
        _unmaster(peer, room.name)
        offered_before = room.masters.offers
        if self.is_federated:
            room.masters.drop(peer.sid)
            self._index_offers(room, offered_before)
            return [Release(peer.sid, room.name)]
        change = room.masters.withdraw(peer.sid)
        _note_masters(room, change)
        self._index_offers(room, offered_before)
        return self._announce(room, change)

    def _index_offers(self, room: Room, before: frozenset[str]) -> None:
        """Index a room by the capabilities that are offered in it now, and by no others."""
        for capability in before - room.masters.offers:
            rooms = self._offers[capability]
            del rooms[room.name]
            if not rooms:
                del self._offers[capability]
        for capability in room.masters.offers - before:
            self._offers.setdefault(capability, {})[room.name] = room

    def _announce(
        self, room: Room, change: Change, declared_by: Sequence[Peer] = ()
    ) -> list[Effect]:
        """Tell a room that others serve it now, and masters what that is to them."""
        if not change.is_new:
            return []
        room.active_at = self.now
        self.report_masters(room)
        serving = room.masters.serving
        payload = {
            "room": room.name,
            "usuario": serving[0].peer.name if serving else None,
            "epoch": room.masters.epoch,
        }
        message = events.RoomMessage(HubEvent.MASTER_CHANGED, room.name, None, {})
        watching = self.members(events.EVERY_ROOM)
        to = dict.fromkeys([*room.members, *watching])
        for peer in (*declared_by, *change.displaced, *change.restored):
            to.pop(peer.sid, None)  # a declaration's acknowledgement says it
        effects = self.tell(to, message, payload, "")
        number = room.history.last if room.history else None
        for peers, is_displaced in ((change.displaced, True), (change.restored, False)):
            told = {**payload, "displaced": is_displaced}
            sids = [peer.sid for peer in peers if peer.sid in self.peers]
            effects += self.tell(sids, message, told, "", is_echo=True, number=number)
        return effects

    def tell_displaced(self, peer: Peer, room: Room, name: str) -> list[Effect]:
        """Tell a peer that a master of this name takes its place in a room."""
        payload = {"room": room.name, "usuario": name, "epoch": room.masters.epoch}
        message = events.RoomMessage(HubEvent.MASTER_CHANGED, room.name, None, {})
        return self.tell([peer.sid], message, {**payload, "displaced": True}, "", is_echo=True)

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

    # What is said

    def say(
        self,
        to: Iterable[str],
        message: events.RoomMessage,
        data: Any,
        sender: str,
        speaker: Hashable = None,
    ) -> list[Effect]:
        """Say something to members here, and to the room at all other hubs; see `tell`."""
        if not self.is_federated:
            return self.tell(to, message, data, sender, speaker)
        at = self.milliseconds()
        effects = self.tell(to, message, data, sender, speaker, at=at)
        said = (message.event, data, sender)
        effects.append(ToRoom(message.room, (*said, at) if at else said))
        return effects

    def say_and_retain(
        self,
        to: Iterable[str],
        message: events.RoomMessage,
        data: Any,
        sender: str,
        speaker: Hashable = None,
        *,
        is_asked: bool = True,
    ) -> list[Effect]:
        """Say something as `say` does, and keep it for those who enter the room later.

        Raises:
            LimitExceeded: Too much is kept already, and the speaker has asked for it; nothing was
                said. Without having asked a speaker is heard, and nothing is kept.
        """
        value, at = self.make_value(message, data, sender, is_asked=is_asked), self.milliseconds()
        effects = self.tell(to, message, data, sender, speaker, at=at)
        self.note_place(message.room, value)
        return effects + self.keep(message.room, message.event, value)

    def make_value(
        self, message: events.RoomMessage, data: Any, sender: str, *, is_asked: bool
    ) -> RetainedValue:
        """Make the value that is kept of an event; arguments and errors as `say_and_retain`."""
        value = make_value(data, sender, self.milliseconds())
        try:
            self.retained.check(message.room, message.event, value)
        except LimitExceeded:
            if is_asked:
                raise
            # What is kept is the last value, or none; never one before the last.
            value = RetainedValue(None, sender, value.at)
        return value

    def note_place(self, room: str, value: RetainedValue) -> None:
        """Note where the history of a room has the event of a value, which was said just now."""
        history = self.history_of(room)
        if history is not None:
            value.place = (history.number, history.last)

    def put_value(self, room: str, event: str, value: RetainedValue) -> list[Effect]:
        """Keep a value at this hub alone, and have older ones forgotten for it."""
        if value.data is None and self.retained.get(room, event) is None:
            return []
        changes = [(room, event, value)]
        for other in self.retained.put(room, event, value):
            self.retained.drop(*other)
            changes.append((*other, RetainedValue(None, "")))
        return [Retain(*each) for each in changes] if self.is_kept else []

    def tell_retained(
        self, peer: Peer, room: Room, since: int | None, log_since: Since | None = None
    ) -> list[Effect]:
        """Tell a peer the last values of a room.

        Args:
            peer: The peer.
            room: The room.
            since: The number in the room's history after which events are told anyway; None if
                none are.
            log_since: From where they are told from the room's log; None if none are.
        """
        effects: list[Effect] = []
        for event, value in self.retained.of(room.name):
            if log_since is not None and is_told_again(value, log_since, self.now):
                continue
            if since is None or not _is_kept_after(value, room.history, since):
                effects += self.tell_value([peer.sid], room.name, event, value)
        return effects

    def tell_value(
        self, to: Iterable[str], room: str, event: str, value: RetainedValue
    ) -> list[Effect]:
        """Tell members here the last value of an event, as one that was said before."""
        message = events.RoomMessage(event, room, None, {})
        at, data = value.at, value.data
        return self.tell(to, message, data, value.sender, is_echo=True, at=at, is_retained=True)

    def milliseconds(self) -> int:
        """Tell `now` in milliseconds."""
        return int(self.now * 1000)

    def tell(
        self,
        to: Iterable[str],
        message: events.RoomMessage,
        data: Any,
        sender: str,
        speaker: Hashable = None,
        *,
        is_echo: bool = False,
        number: int | None = None,
        at: int = 0,
        is_retained: bool = False,
        history: str = "",
    ) -> list[Effect]:
        """Tell members here an event of a room.

        Peers that read the meta also learn which room it is and who says it (decision 0012).

        Args:
            to: Socket ids of those who hear it.
            message: The event and the room.
            data: What is said.
            sender: Name of the peer that says it.
            speaker: Whose share of the room's history it takes; None for the hub itself.
            is_echo: Whether it was said before, to others.
            number: The number under which the room's history has it, if it was said before.
            at: When the event was said, in milliseconds since 1970; 0 for now.
            is_retained: Whether it is told as the last value of what was said before.
            history: Name of the room's log, if that has the event.
        """
        # Two events however many hear one: each is written as JSON and framed once.
        plain: list[str] = []
        with_meta: list[str] = []
        peers = self.peers
        for sid in to:
            (with_meta if peers[sid].reads_meta else plain).append(sid)
        keeps = self._archive.events and not is_echo  # no call where no history is kept
        if keeps:
            at = at or self.milliseconds()
            number = self._remember(message, data, sender, speaker, at)
        effects: list[Effect] = []
        if plain:
            effects.append(Emit(tuple(plain), message.event, (data,)))
        if with_meta:
            meta: dict[str, Any] = {"room": message.room, "sender": sender}
            if number is not None:
                meta["number"] = number
            if at:
                meta["at"] = at
            elif self.now:
                meta["at"] = int(self.now * 1000)
            if is_retained:
                meta["retained"] = True
            if history:
                meta["history"] = history
            effects.append(Emit(tuple(with_meta), message.event, (data, meta)))
        return effects

    def _remember(
        self, message: events.RoomMessage, data: Any, sender: str, speaker: Hashable, at: int
    ) -> int | None:
        """Keep an event in the history of its room, if there is one, and return its number."""
        history = self.history_of(message.room)
        return None if history is None else history.add(message.event, data, sender, speaker, at)

    def history_of(self, name: str) -> History | None:
        """Find the history of a room, if one is kept."""
        room = self._rooms.get(name)
        # A client that left an empty room for a moment is to hear what was said there, too.
        return self._forgotten.get(name) if room is None else room.history


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


def _is_kept_after(value: RetainedValue, history: History | None, since: int) -> bool:
    """Whether a history has the event of a value, after a number."""
    if history is None or value.place is None or value.place[0] != history.number:
        return False
    number = value.place[1]
    return number > since and number > since + history.missed(since)


def _clear(history: History | None) -> None:
    if history is not None:
        history.drop_until(history.last)
