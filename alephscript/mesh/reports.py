"""What a hub tells about itself: who is connected, in which rooms, who offers what.

Each answer has so many bytes at the most (`_Space`), whatever others have registered or declared,
so that whoever asks can read it. What it has no room for is counted in ``omitted``, a key that is
there only then: at first all that is said of things besides their names goes, then things.

A large answer is a lot of work for a short question. So there are so many bytes of answers a turn;
questions beyond wait for the next one, after others have been served.

May go in: the contents of these answers, and who may see what. May not: any change of the mesh.
Pure: no socket, no clock.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from alephscript.errors import Overloaded
from alephscript.mesh.effects import Effect, Emit, Resume, SurveyHubs
from alephscript.mesh.peers import Peer, acknowledge
from alephscript.mesh.presence import member_of
from alephscript.mesh.rooms import Room, Rooms
from alephscript.protocol import events
from alephscript.protocol.events import HubEvent
from alephscript.protocol.json import write_json

__all__ = ["Reports"]

_MOST_BYTES = 500_000
"""JSON of an answer, some of it estimated; GET_SERVER_STATE gives its answer twice."""

_TURN_BYTES = 250_000
"""Answers of so many bytes, and the one that exceeds them, are given in one turn."""

_MOST_POSTPONED = 16
"""Questions of one peer that may wait for another turn."""


class _Space:
    """Bytes that are left of an answer.

    Attributes:
        used: Bytes that were taken.
        omitted: How many things there was no room for.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self.used = 0
        self.omitted = 0

    def take(self, size: int) -> bool:
        """Take room for a thing; what comes after one that had none has none, either."""
        if self.omitted or size > self._most - self.used:
            self.omitted += 1
            return False
        self.used += size
        return True

    def omit(self, count: int) -> None:
        """Leave out further things, unseen."""
        self.omitted += count

    def tell(self) -> dict[str, int]:
        """Tell how many things were left out, if any were."""
        return {"omitted": self.omitted} if self.omitted else {}


class Reports:
    """The answers that a hub gives about itself.

    Args:
        rooms: The mesh's rooms and peers.
        namespace: The mesh's namespace.
        backlog_bytes: Bytes that may wait for a peer; an answer is an eighth of them at the most.
    """

    def __init__(self, rooms: Rooms, namespace: str, backlog_bytes: int) -> None:
        self._most_bytes = min(_MOST_BYTES, backlog_bytes // 8)
        self._rooms = rooms
        self._namespace = namespace
        self._spent = 0  # bytes of answers in this turn
        self._postponed: deque[tuple[Peer, Callable[[], list[Effect]]]] = deque()
        self._is_resuming = False

    def give(self, peer: Peer, tell: Callable[[], list[Effect]]) -> list[Effect]:
        """Give an answer now, or when it is its turn.

        Args:
            peer: The asker.
            tell: Gives the answer.

        Raises:
            Overloaded: Too many questions of this peer wait already.
        """
        if self._spent < _TURN_BYTES:
            return tell() + self._left_for_later()
        if sum(each is peer for each, _ in self._postponed) >= _MOST_POSTPONED:
            raise Overloaded("too many questions of this client about the hub wait for an answer")
        self._postponed.append((peer, tell))
        return self._left_for_later()

    def resume(self) -> list[Effect]:
        """Begin a turn, with what was left for later."""
        self._spent = 0
        self._is_resuming = False
        effects: list[Effect] = []
        while self._postponed and self._spent < _TURN_BYTES:
            peer, tell = self._postponed.popleft()
            if self._rooms.peers.get(peer.sid) is peer:
                effects += tell()
        return effects + self._left_for_later()

    def _left_for_later(self) -> list[Effect]:
        if self._is_resuming or self._spent < _TURN_BYTES:
            return []
        self._is_resuming = True
        return [Resume()]

    def sees(self, peer: Peer, other: Peer) -> bool:
        """Whether a peer may know of another: they may meet in a room that the other is in."""
        is_allowed = self._rooms.is_allowed
        if peer is other or is_allowed(peer, "subscribe", events.EVERY_ROOM):
            return True
        rooms = (*other.rooms, *other.mastered)
        return any(is_allowed(peer, "subscribe", name) for name in rooms)

    def answer_survey(self, peer: Peer, survey: SurveyHubs, others: Sequence[Peer]) -> list[Effect]:
        """Answer a question about who is there.

        Args:
            peer: The asker.
            survey: The question.
            others: Peers at other hubs.
        """
        if survey.event != HubEvent.GET_MEMBERS:
            return self.tell_state(peer, survey.ack, others)
        if survey.presence and survey.room is not None:
            return self.tell_presence(peer, survey.ack, survey.room, others)
        return self.tell_members(peer, survey.ack, survey.room, others)

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
        space = _Space(self._most_bytes)
        state = self._describe(peer, others, space, has_extras=True)
        if space.omitted:
            # Names of all tell more than all that some of them say besides.
            space = _Space(self._most_bytes)
            state = self._describe(peer, others, space, has_extras=False)
            state["omitted"] = space.omitted
        self._spent += 2 * space.used
        return state

    def _describe(
        self, peer: Peer, others: Sequence[Peer], space: _Space, *, has_extras: bool
    ) -> dict[str, Any]:
        here = self._rooms.peers
        members: dict[str, list[Peer]] = {}
        for other in others:
            for name in other.rooms:
                members.setdefault(name, []).append(other)
        rooms = []
        names = [room.name for room in self._rooms]
        names += [name for name in members if self._rooms.get(name) is None]
        names = [name for name in names if self._rooms.is_allowed(peer, "subscribe", name)]
        for index, name in enumerate(names):
            sids = self._rooms.members(name)
            inside = itertools.chain((here[sid] for sid in sids), members.get(name, ()))
            rooms.append(self._describe_room(name, inside, space, has_extras=has_extras))
            if space.omitted:
                space.omit(len(names) - index - 1)
                break
        seen = [each for each in (*here.values(), *others) if self.sees(peer, each)]
        registered = [
            (each.name, registration)
            for each in seen
            # Named thrice: as a socket, as a member, and by its session.
            if (registration := each.registration)
            and space.take(3 * _size_of(registration.name) + 40)
        ]
        sesiones: dict[str, list[str]] = {}
        for _, registration in registered:
            sesiones.setdefault(registration.usuario, []).append(registration.sesion)
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
                    "sockets": [{"id": f"/{name}"} for name, _ in registered],
                }
            ],
            "miembros": [{"usuario": u, "sesiones": s} for u, s in sesiones.items()],
            "rooms": rooms,
        }

    def _describe_room(
        self, name: str, members: Iterable[Peer], space: _Space, *, has_extras: bool
    ) -> dict[str, Any]:
        room = self._rooms.get(name)
        serving = room.masters.serving if room else ()
        space.take(_size_of(name) + 100)
        masters = [each.peer.name for each in serving if space.take(_size_of(each.peer.name) + 3)]
        features = [
            each
            for each in dict.fromkeys(
                itertools.chain.from_iterable(each.declared.features for each in serving)
            )
            if space.take(_size_of(each) + 3)
        ]
        miembros = []
        for member in members:
            registration = member.registration
            if not registration:
                continue
            size = 2 * _size_of(registration.name) + 50
            if has_extras:
                size += registration.extras_bytes
            if space.take(size):
                miembros.append(
                    {
                        **(registration.extras if has_extras else {}),
                        "usuario": registration.usuario,
                        "sesion": registration.sesion,
                        "name": member.name,
                    }
                )
            elif has_extras:
                break  # all of it is done anew
        return {
            "roomId": name,
            "miembros": miembros,
            "master": serving[0].peer.name if serving else None,
            "masters": masters,
            "epoch": room.masters.epoch if room else 0,
            "features": features,
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
        name, capability = query.get("room"), query.get("capability")
        rooms = [
            room
            for room in self._rooms.offering(name, capability)
            if self._rooms.is_allowed(peer, "ask", room.name)
        ]
        for has_descriptions in (True, False):
            space = _Space(self._most_bytes)
            offers: list[dict[str, Any]] = []
            for room in rooms:
                offers += _describe_offers(
                    room, capability, space, has_descriptions=has_descriptions
                )
                if space.omitted and has_descriptions:
                    break
            else:
                break
        self._spent += space.used
        return acknowledge(peer, ack, {"offers": offers, **space.tell()})

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
        elsewhere = (each for each in others if room is None or room in each.rooms)
        space = _Space(self._most_bytes)
        members = [
            {"id": each.sid, "name": each.name}
            for each in itertools.chain((here[sid] for sid in sids), elsewhere)
            if each.reads_meta
            and self.sees(peer, each)
            and space.take(_size_of(each.sid) + _size_of(each.name) + 20)
        ]
        self._spent += space.used
        return acknowledge(peer, ack, {"members": members, **space.tell()})

    def tell_presence(
        self, peer: Peer, ack: int | None, room: str, others: Sequence[Peer]
    ) -> list[Effect]:
        """Answer GET_MEMBERS with ``presence``: all members of a room, each once.

        Args:
            peer: The asker, who may know who is in the room.
            ack: Its acknowledgement id, None if it wants no acknowledgement.
            room: The room.
            others: Peers at other hubs.
        """
        here = (self._rooms.peers[sid] for sid in self._rooms.members(room))
        elsewhere = (each for each in others if room in each.rooms)
        space = _Space(self._most_bytes)
        members = [
            {"usuario": usuario, "sesion": sesion}
            for usuario, sesion in dict.fromkeys(map(member_of, itertools.chain(here, elsewhere)))
            if space.take(_size_of(usuario) + _size_of(sesion) + 26)
        ]
        self._spent += space.used
        return acknowledge(peer, ack, {"members": members, **space.tell()})


def _describe_offers(
    room: Room, capability: Any, space: _Space, *, has_descriptions: bool
) -> list[dict[str, Any]]:
    """Describe each capability that is offered in a room, or the one, and by whom."""
    offers: dict[str, dict[str, Any] | None] = {}
    for master in room.masters.serving:
        declared = master.declared
        size = _size_of(master.peer.name) + 3
        for feature in declared.features:
            name = events.capability_name(feature)
            if capability not in (None, name):
                continue
            if name in offers:
                offer = offers[name]
                if offer is not None and space.take(size):
                    offer["masters"].append(master.peer.name)
                continue
            if space.omitted:
                offers[name] = None
                space.omit(1)
                continue
            offer = {
                "room": room.name,
                "capability": name,
                "masters": [],
                "group": declared.group,
                "epoch": room.masters.epoch,
                **(declared.descriptions.get(feature, {}) if has_descriptions else {}),
            }
            if space.take(len(write_json(offer)) + size):
                offers[name] = offer
                offer["masters"].append(master.peer.name)
            else:
                offers[name] = None
    return [each for each in offers.values() if each is not None]


def _size_of(name: str) -> int:
    """Estimate the bytes of a name in JSON, without writing it."""
    return len(name) if name.isascii() else 4 * len(name)
