"""Presence: who comes into a room and who goes, for those who asked to be told.

Theory of operation. A member of a room is a ``usuario`` with a ``sesion``, at whichever hub and by
however many sockets: the first of its sockets joins, the last one leaves, so that a session that
comes back before the loss of its link was noticed has never left. A room's members are counted
only while somebody wants to know (`Presence`), so that a crowd that nobody watches costs nothing.

Where there are several hubs, one with watchers asks the others to tell it (``watch``), and gets
what they have (``present``), then each change among *their* members (``joined``, ``left``), in
order; ``unwatch`` ends that. A watcher's subscription is confirmed when all have answered: who
comes after that is told, whoever was there before is not. When a hub is gone so are its members.

May go in: who is told what of whom. May not: who is in a room (`rooms`), how a frame travels. Pure:
no socket, no clock.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence, Set as AbstractSet
from typing import Literal

from alephscript.mesh.effects import Effect, Emit, ToHub
from alephscript.mesh.peers import Peer
from alephscript.protocol.events import HubEvent

__all__ = ["Member", "Presence", "Presences", "Reason", "member_of"]

Member = tuple[str, str]
"""``usuario`` and ``sesion``."""

Reason = Literal["unsubscribed", "disconnected", "link_lost", "hub_lost", "renamed"]
"""Why a member is in a room no more."""


def member_of(peer: Peer) -> Member:
    """Return the member that a peer is, or one of whose sockets it is."""
    registration = peer.registration
    return (peer.name, "") if registration is None else (registration.usuario, registration.sesion)


class Presence:
    """Who is in a room.

    Attributes:
        watchers: Socket ids of the members here that want to be told.
        hubs: Other hubs that want to be told of members here.
        here: Members here, and how many sockets each has.
        there: Members at other hubs, by hub.
        asked: Hubs that have not answered the first question of this hub.
        waiting: Socket ids, and effects that they get when all hubs have answered.
    """

    __slots__ = ("asked", "here", "hubs", "there", "waiting", "watchers")

    def __init__(self, members: Iterable[Member]) -> None:
        self.watchers: dict[str, None] = {}
        self.hubs: dict[str, None] = {}
        self.here = Counter(members)
        self.there: dict[str, set[Member]] = {}
        self.asked: set[str] = set()
        self.waiting: list[tuple[str, Sequence[Effect]]] = []

    def __contains__(self, member: Member) -> bool:
        return member in self.here or any(member in each for each in self.there.values())


class Presences:
    """All rooms of which somebody wants to know who is there.

    Args:
        peers: The peers at this hub, by socket id.
        now: Tells the time in milliseconds since 1970; 0 leaves out when something was told.

    Attributes:
        rooms: Those rooms, by name.
        hubs: The other hubs that can be asked.
    """

    def __init__(self, peers: Mapping[str, Peer], now: Callable[[], int]) -> None:
        self.rooms: dict[str, Presence] = {}
        self.hubs: AbstractSet[str] = frozenset()
        self._peers = peers
        self._now = now

    # At this hub

    def watch(self, peer: Peer, room: str, members: Iterable[str]) -> list[Effect]:
        """Tell a peer from now on who comes into a room and who goes.

        Args:
            peer: The peer, a member of the room.
            room: The room.
            members: Socket ids of those who are in it here.
        """
        presence = self._open(room, members)
        is_first = not presence.watchers
        presence.watchers[peer.sid] = None
        if not is_first:
            return []
        presence.asked = set(self.hubs)
        return [ToHub(hub, ("watch", room)) for hub in sorted(self.hubs)]

    def when_known(self, peer: Peer, room: str, effects: Sequence[Effect]) -> Sequence[Effect]:
        """Return effects for a watcher, or keep them until all hubs have said who is there."""
        presence = self.rooms[room]
        if not presence.asked:
            return effects
        presence.waiting.append((peer.sid, effects))
        return []

    def entered(self, peer: Peer, room: str) -> list[Effect]:
        """Count a socket that has entered a room, and tell of it if its member is new there."""
        return self._add(room, member_of(peer), peer.sid)

    def left(self, peer: Peer, room: str, reason: Reason) -> list[Effect]:
        """Count a socket no more that has left a room; it is told nothing of that room."""
        presence = self.rooms.get(room)
        if presence is None:
            return []
        effects: list[Effect] = []
        if peer.sid in presence.watchers:
            del presence.watchers[peer.sid]
            if not presence.watchers:
                presence.there.clear()
                presence.asked.clear()
                presence.waiting.clear()
                effects += [ToHub(hub, ("unwatch", room)) for hub in sorted(self.hubs)]
        effects += self._remove(room, member_of(peer), reason)
        self._close_if_unwatched(room)
        return effects

    def renamed(self, peer: Peer, before: Member) -> list[Effect]:
        """Tell that a peer has registered as somebody else."""
        member, effects = member_of(peer), list[Effect]()
        if member != before:
            for room in peer.rooms:
                effects += self._remove(room, before, "renamed", peer.sid)
                effects += self._add(room, member, peer.sid)
        return effects

    def _add(self, room: str, member: Member, sid: str = "") -> list[Effect]:
        presence = self.rooms.get(room)
        if presence is None:
            return []
        effects = self._tell_if_new(room, presence, member, sid)
        if member not in presence.here:
            effects += [ToHub(hub, ("joined", room, *member)) for hub in presence.hubs]
        presence.here[member] += 1
        return effects

    def _remove(self, room: str, member: Member, reason: Reason, sid: str = "") -> list[Effect]:
        presence = self.rooms.get(room)
        if presence is None or member not in presence.here:
            return []
        presence.here[member] -= 1
        if presence.here[member]:
            return []
        del presence.here[member]
        effects: list[Effect] = [
            ToHub(hub, ("left", room, *member, reason)) for hub in presence.hubs
        ]
        return effects + self._tell_if_gone(room, presence, member, reason, sid)

    # At other hubs

    def hub_came(self, hub: str) -> list[Effect]:
        """Ask a hub who is in the rooms that are watched here."""
        return [ToHub(hub, ("watch", room)) for room, each in self.rooms.items() if each.watchers]

    def hub_gone(self, hub: str) -> list[Effect]:
        """Tell that the members of a hub are gone, and tell that hub nothing any more."""
        effects: list[Effect] = []
        for room, presence in list(self.rooms.items()):
            presence.hubs.pop(hub, None)
            for member in sorted(presence.there.pop(hub, ())):
                effects += self._tell_if_gone(room, presence, member, "hub_lost")
            effects += self._settle(presence, hub)
            self._close_if_unwatched(room)
        return effects

    def hub_watches(self, hub: str, room: str, members: Iterable[str]) -> list[Effect]:
        """Tell a hub who is in a room here, and who comes and goes from now on."""
        presence = self._open(room, members)
        presence.hubs[hub] = None
        return [ToHub(hub, ("present", room, list(presence.here)))]

    def hub_unwatches(self, hub: str, room: str) -> list[Effect]:
        """Tell a hub nothing of a room any more."""
        presence = self.rooms.get(room)
        if presence is not None:
            presence.hubs.pop(hub, None)
            self._close_if_unwatched(room)
        return []

    def hub_has(self, hub: str, room: str, members: Iterable[Member]) -> list[Effect]:
        """Take who is in a room at a hub; what was known of that before counts no more."""
        presence = self.rooms.get(room)
        if presence is None or not presence.watchers:
            return [ToHub(hub, ("unwatch", room))]  # whoever wanted to know has gone meanwhile
        before, now = presence.there.get(hub, set()), set(members)
        effects: list[Effect] = []
        if hub not in presence.asked:  # else all that were there when the watcher came
            for member in sorted(now - before):
                effects += self._tell_if_new(room, presence, member)
        presence.there[hub] = now
        for member in sorted(before - now):
            effects += self._tell_if_gone(room, presence, member, "link_lost")
        return effects + self._settle(presence, hub)

    def hub_joined(self, hub: str, room: str, member: Member) -> list[Effect]:
        """Take a member that has come at a hub which has said who is there."""
        presence = self.rooms.get(room)
        if presence is None or hub not in presence.there:
            return []
        effects = self._tell_if_new(room, presence, member)
        presence.there[hub].add(member)
        return effects

    def hub_left(self, hub: str, room: str, member: Member, reason: str) -> list[Effect]:
        """Take a member that has gone at a hub which has said who is there."""
        presence = self.rooms.get(room)
        if presence is None or member not in presence.there.get(hub, ()):
            return []
        presence.there[hub].remove(member)
        return self._tell_if_gone(room, presence, member, reason)

    def _settle(self, presence: Presence, hub: str) -> list[Effect]:
        """Wait for a hub's answer no more; confirm what waited for the last one."""
        presence.asked.discard(hub)
        if presence.asked:
            return []
        waiting, presence.waiting = presence.waiting, []
        return [each for sid, effects in waiting if sid in presence.watchers for each in effects]

    # Inside

    def _open(self, room: str, members: Iterable[str]) -> Presence:
        presence = self.rooms.get(room)
        if presence is None:
            presence = Presence(member_of(self._peers[sid]) for sid in members)
            self.rooms[room] = presence
        return presence

    def _close_if_unwatched(self, room: str) -> None:
        presence = self.rooms[room]
        if not (presence.watchers or presence.hubs):
            del self.rooms[room]

    def _tell_if_new(
        self, room: str, presence: Presence, member: Member, sid: str = ""
    ) -> list[Effect]:
        """Tell of a member that is about to come, unless it is there already."""
        if member in presence:
            return []
        payload = {"room": room, "usuario": member[0], "sesion": member[1]}
        return self._tell(presence, HubEvent.MEMBER_JOINED, payload, sid)

    def _tell_if_gone(
        self, room: str, presence: Presence, member: Member, reason: str, sid: str = ""
    ) -> list[Effect]:
        """Tell of a member that has gone, unless it is still there in another way."""
        if member in presence:
            return []
        payload = {"room": room, "usuario": member[0], "sesion": member[1], "reason": reason}
        return self._tell(presence, HubEvent.MEMBER_LEFT, payload, sid)

    def _tell(
        self, presence: Presence, event: str, payload: Mapping[str, str], sid: str
    ) -> list[Effect]:
        """Tell those who watch a room, but not the socket that it is about."""
        to = [each for each in presence.watchers if each != sid]
        plain = tuple(each for each in to if not self._peers[each].reads_meta)
        native = tuple(each for each in to if self._peers[each].reads_meta)
        effects: list[Effect] = []
        if plain:
            effects.append(Emit(plain, event, (payload,)))
        if native:
            at = self._now()
            meta = {"room": payload["room"], **({"at": at} if at else {})}
            effects.append(Emit(native, event, (payload, meta)))
        return effects
