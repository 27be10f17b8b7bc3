"""Several hubs that are one mesh, as each of them sees it.

Theory of operation. A registry that all hubs share decides who masters a room: a hub puts forward
what its own peers declare (`Claim`, `Release`) and does what the registry says (`settled`), in the
order in which the registry says it. A master at another hub is a `Peer` here, too, with that hub's
name; what is put to it becomes a frame to its hub. There the asker is such a peer, and the request
one like all others, so that everything holds across hubs that holds at one: deadline, cancelling,
parts, loss.

==========  ====================================================  ==============================
frame       fields                                                from … to
==========  ====================================================  ==============================
`ask`       number, master, room, event, data, about              the asker's hub, the master's
`cancel`    number, asker, reason                                 the same
`more`      number, asker, parts                                  the same
`answer`    number, master, answer, whether it was a SET_         the master's hub, the asker's
`moved`     number, master                                        the same: nothing was delivered
`lost`      number, master                                        the same: it may have run
`note`      number, master, event, data                           the same: a part, or progress
==========  ====================================================  ==============================

Numbers are those of the asker's hub. What is said in a room goes to all hubs that attend it
(`ToRoom`), without a kind: event, data, sender. A frame about a request counts only if it names the
master that the request is at: what comes late from the one before is dropped.

Pure: no socket, no clock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from alephscript.errors import NoMaster, RequestError
from alephscript.mesh.access import Identity
from alephscript.mesh.effects import Acknowledge, Claim, Effect, Emit, Release, SurveyHubs, ToHub
from alephscript.mesh.masters import Master
from alephscript.mesh.requests import (
    OpenRequest,
    RequestMeta,
    Requests,
    answer_of,
    cancellation,
    is_count,
)
from alephscript.mesh.rooms import Peer
from alephscript.protocol import events
from alephscript.protocol.json import read_value

if TYPE_CHECKING:
    from alephscript.mesh.mesh import Mesh

__all__ = ["Entry", "Federation"]

_MARK = "~"


@attrs.frozen
class Entry:
    """A master, as the registry has it.

    Attributes:
        hub: Its hub's name.
        sid: Its socket id.
        name: What others see as its name.
        declared: What it declared.
        by_envelope: Whether it declared inside ROOM_MESSAGE.
    """

    hub: str
    sid: str
    name: str
    declared: events.Declaration
    by_envelope: bool


class Federation:
    """The other hubs of a mesh.

    Args:
        mesh: This hub's part of it.
        hub: This hub's name.

    Attributes:
        hubs: The names of the others; none while they cannot be reached.
    """

    def __init__(self, mesh: Mesh, hub: str) -> None:
        self.hub = hub
        self.hubs: set[str] = set()
        self._mesh = mesh
        self._masters: dict[str, Peer] = {}  # of other hubs
        self._askers: dict[str, Peer] = {}
        self._claiming: dict[tuple[str, str], Master[Peer]] = {}  # by socket id and room
        self._many = 64

    @property
    def _requests(self) -> Requests:
        return self._mesh.requests

    @property
    def prefix(self) -> str:
        """What socket ids of this hub begin with."""
        return self.hub + _MARK

    # What the registry decides

    def settled(self, name: str, epoch: int, entries: Sequence[Entry]) -> list[Effect]:
        """Who masters a room from now on.

        Args:
            name: The room.
            epoch: Its epoch.
            entries: All masters, by seniority; none for a room that is mastered no more.
        """
        rooms = self._mesh.rooms
        room = rooms.made(name) if entries else rooms.get(name)
        if room is None:
            return []
        masters = [
            Master(peer, entry.declared, entry.by_envelope)
            for entry in entries
            if (peer := self._peer_of(entry)) is not None
        ]
        effects, displaced = rooms.replace(room, masters, epoch)
        for peer in displaced:
            if peer.hub is None:
                for request in [each for each in peer.serving.values() if each.room == name]:
                    effects += cancellation(request, "displaced")
                    effects += self._requests.lost(request, f"another master took over {name}")
            elif not peer.masters:
                # It may have resigned, and finish what it has: its hub will say.
                del self._masters[peer.sid]
        effects += self._requests.ask_who_waits()
        rooms.drop_if_empty(room)
        return effects

    def claim(self, master: Master[Peer], ack: int | None) -> list[Effect]:
        """Put forward what a peer here has declared.

        Args:
            master: The declaration.
            ack: What it wants acknowledged, None if nothing.
        """
        self._claiming[master.peer.sid, master.declared.room] = master
        room = self._mesh.rooms.get(master.declared.room)
        epoch = room.masters.epoch if room else 0
        return [_claim(master, ack, epoch, gently=False)]

    def claimed(self, claim: Claim, epoch: int) -> list[Effect]:
        """What a peer claimed was settled; it is told.

        Args:
            claim: What was claimed.
            epoch: The room's.
        """
        self._claiming.pop((claim.sid, claim.room), None)
        if claim.sid not in self._mesh.rooms.peers:
            return [Release(claim.sid, claim.room)]
        if claim.ack is None:
            return []
        answer = {"room": claim.room, "features": claim.declared["features"], "epoch": epoch}
        return [Acknowledge(claim.sid, claim.ack, events.make_success(answer))]

    def unclaimed(self, claim: Claim, error: RequestError) -> list[Effect]:
        """The registry could not be asked in time."""
        self._claiming.pop((claim.sid, claim.room), None)
        return self._mesh.refused(claim.sid, claim.ack, error)

    def hub_gone(self, hub: str) -> list[Effect]:
        """Another hub is gone, and whoever asked from there; its masters the registry removes."""
        self.hubs.discard(hub)
        effects: list[Effect] = []
        for peer in [each for each in self._askers.values() if each.hub == hub]:
            effects += self._mesh.abandoned(peer)
            self._askers.pop(peer.sid, None)
        for request in self._requests.at(hub):
            effects += self._requests.lost(request, "the hub that it was asked at is gone")
        return effects

    def adrift(self) -> list[Effect]:
        """Others cannot be reached: what is at this hub goes on, what is elsewhere ends."""
        effects: list[Effect] = []
        for hub in list(self.hubs):
            effects += self.hub_gone(hub)
        for room in list(self._mesh.rooms):
            here = [each for each in room.masters if each.peer.hub is None]
            if len(here) < len(list(room.masters)):
                entries = [self._entry(each) for each in here]
                effects += self.settled(room.name, room.masters.epoch, entries)
        return effects

    def census(self) -> list[dict[str, Any]]:
        """Who is at this hub, as plain data for another one."""
        return [
            {
                "sid": peer.sid,
                "rooms": list(peer.rooms),
                "masters": list(peer.masters),
                "registration": peer.registration
                and {
                    **peer.registration.extras,
                    "usuario": peer.registration.usuario,
                    "sesion": peer.registration.sesion,
                },
            }
            for peer in self._mesh.rooms.peers.values()
        ]

    def surveyed(self, survey: SurveyHubs, others: Iterable[tuple[str, Any]]) -> list[Effect]:
        """Other hubs have said who is there.

        Args:
            survey: Who wanted to know.
            others: Each hub's name, and its `census`.
        """
        asker = self._mesh.rooms.peers.get(survey.sid)
        if asker is None:
            return []
        peers = [_counted(hub, each) for hub, census in others for each in census]
        if survey.event == events.HubEvent.GET_MEMBERS:
            return self._mesh.tell_members(asker, survey.ack, survey.room, peers)
        return self._mesh.tell_state(asker, survey.ack, peers)

    def found(
        self, hubs: Iterable[str], standings: Mapping[str, tuple[int, Sequence[Entry]]]
    ) -> list[Effect]:
        """The registry can be reached, and this is all that it knows.

        Args:
            hubs: The names of the others.
            standings: Epoch and masters, by room.
        """
        self.hubs = set(hubs)
        effects: list[Effect] = []
        for room in list(self._mesh.rooms):
            if room.name not in standings and room.masters:
                effects += self.settled(room.name, room.masters.epoch, ())
        for name, (epoch, entries) in standings.items():
            effects += self.settled(name, epoch, entries)
        return effects

    def own(self) -> list[Claim]:
        """The masters at this hub, to be claimed again after a time adrift."""
        return [
            _claim(each, None, room.masters.epoch, gently=True)
            for room in self._mesh.rooms
            for each in room.masters
            if each.peer.hub is None
        ]

    @property
    def is_waiting(self) -> bool:
        """Whether somebody here waits for an answer from another hub."""
        return any(self._requests.at(hub) for hub in self.hubs)

    # What other hubs say

    def received(self, hub: str, frame: Sequence[Any]) -> list[Effect]:
        """A frame came for this hub; one that makes no sense is dropped.

        Args:
            hub: Where from.
            frame: Its kind and its fields, read or unread.
        """
        kind, *fields = frame
        handlers: dict[Any, Callable[..., list[Effect]]] = {
            "ask": self._asked,
            "cancel": self._cancelled,
            "more": self._wanted,
            "answer": self._answered,
            "moved": self._moved,
            "lost": self._lost_there,
            "note": self._noted,
        }
        handle = handlers.get(read_value(kind))
        return [] if handle is None else handle(hub, *fields)

    def heard(self, name: str, event: Any, data: Any, sender: Any) -> list[Effect]:
        """Something was said in a room at another hub."""
        message = events.RoomMessage(read_value(event), name, None, {})
        rooms = self._mesh.rooms
        return rooms.tell(rooms.members(name), message, data, read_value(sender))

    def undelivered(self, hub: str, frame: Sequence[Any]) -> list[Effect]:
        """A frame could not be sent: that hub is gone, or all of them are out of reach."""
        if frame[0] != "ask":
            return []
        return self._moved(hub, frame[1], frame[2])

    def _asked(
        self,
        hub: str,
        number: Any,
        sid: Any,
        name: Any,
        event: Any,
        data: Any,
        about: Any,
    ) -> list[Effect]:
        number, sid, name, event, about = map(read_value, (number, sid, name, event, about))
        peer = self._mesh.rooms.peers.get(sid)
        room = self._mesh.rooms.get(name) if name else None
        master = None
        if peer is not None and name:
            if room is not None:
                master = next((each for each in room.masters if each.peer is peer), None)
            # The registry may have told the asker's hub first.
            master = master or self._claiming.get((sid, name))
        asker = self._asker(hub, about)
        if peer is not None and not name and peer.speaks_meta and self._mesh.sees(asker, peer):
            master = Master(peer, events.Declaration("", ()), by_envelope=False)
        if master is None:
            return [ToHub(hub, ("moved", number, sid))]
        meta = RequestMeta(room=name or None, seconds=about["seconds"], extras=about["extras"])
        question = events.RoomMessage(event, name or "", data, about["envelope"])
        return self._requests.serve(asker, question, master, number, meta)

    def _cancelled(self, hub: str, number: Any, sid: Any, reason: Any) -> list[Effect]:
        request = self._of(hub, number, sid)
        if request is None:
            return []
        told = str(read_value(reason))
        return cancellation(request, told) + self._requests.forget(request, told)

    def _wanted(self, hub: str, number: Any, sid: Any, parts: Any) -> list[Effect]:
        request, parts = self._of(hub, number, sid), read_value(parts)
        if request is None or request.master is None or not is_count(parts):
            return []
        told = {"id": str(request.number), "parts": parts}
        return [Emit((request.master.peer.sid,), events.HubEvent.REQUEST_MORE, (told,))]

    def _answered(self, hub: str, number: Any, sid: Any, answer: Any, seen: Any) -> list[Effect]:
        request = self._at(hub, number, sid)
        if request is None:
            self._mesh.late_answers += 1
            return []
        effects: list[Effect] = []
        if read_value(seen) and request.ack is None:
            request.answer_seen = True
            rooms, asker = self._mesh.rooms, request.asker.sid
            if asker not in rooms.members(request.room):
                # The others heard the SET_ already; it alone was outside.
                message = events.RoomMessage(
                    events.answer_event(request.event), request.room, None, {}
                )
                said = {**read_value(answer), "sender": read_value(sid)}
                effects += rooms.tell([asker], message, said, "", is_echo=True)
        return effects + self._requests.end(request, answer_of(request, [answer]))

    def _moved(self, hub: str, number: Any, sid: Any) -> list[Effect]:
        """Nobody was asked: ask who serves now, or wait for the registry to say who does."""
        request = self._at(hub, number, sid)
        if request is None or request.master is None:
            return []
        if not request.room:
            return self._requests.end(request, NoMaster("that member is gone").answer())
        is_settled = request.room not in request.master.peer.masters
        self._requests.undelivered(request)
        return self._requests.ask_who_waits() if is_settled else []

    def _lost_there(self, hub: str, number: Any, sid: Any) -> list[Effect]:
        request = self._at(hub, number, sid)
        if request is None:
            return []
        return self._requests.lost(request, f"the master of {request.room} is gone")

    def _noted(self, hub: str, number: Any, sid: Any, event: Any, data: Any) -> list[Effect]:
        request = self._at(hub, number, sid)
        if request is None or not request.asker.speaks_meta or request.ack is None:
            return []
        return [Emit((request.asker.sid,), read_value(event), (data, {"request": request.ack}))]

    # Who is who

    def member(self, sid: str) -> Peer | None:
        """A member that is at another hub, by its socket id; whether it is there shows."""
        hub, mark, _ = sid.partition(_MARK)
        return _remote(sid, hub) if mark and hub in self.hubs else None

    def _peer_of(self, entry: Entry) -> Peer | None:
        if entry.hub == self.hub:
            return self._mesh.rooms.peers.get(entry.sid)
        peer = self._masters.get(entry.sid)
        if peer is None:
            peer = self._masters[entry.sid] = _remote(entry.sid, entry.hub)
        peer.name = entry.name
        return peer

    def _entry(self, master: Master[Peer]) -> Entry:
        peer = master.peer
        return Entry(peer.hub or self.hub, peer.sid, peer.name, master.declared, master.by_envelope)

    def _asker(self, hub: str, about: Mapping[str, Any]) -> Peer:
        sid = about["sid"]
        if len(self._askers) >= self._many:
            for idle in [each for each in self._askers.values() if not each.asked]:
                del self._askers[idle.sid]
            self._many = 64 + 2 * len(self._askers)
        asker = self._askers.get(sid)
        if asker is None:
            asker = self._askers[sid] = Peer(sid, sid, _identity(about["identity"]), hub=hub)
        asker.name = about["name"]
        asker.speaks_meta = about["meta"]
        return asker

    def _of(self, hub: str, number: Any, sid: Any) -> OpenRequest | None:
        """A request of another hub's peer that is at a master here."""
        asker = self._askers.get(read_value(sid))
        if asker is None or asker.hub != hub:
            return None
        return asker.asked.get(read_value(number))

    def _at(self, hub: str, number: Any, sid: Any) -> OpenRequest | None:
        """A request of a peer here that is at that master of another hub."""
        request = self._mesh.requests.get(read_value(number))
        if request is None or request.master is None:
            return None
        peer = request.master.peer
        return request if peer.hub == hub and peer.sid == read_value(sid) else None


def _remote(sid: str, hub: str) -> Peer:
    peer = Peer(sid, sid, hub=hub)
    peer.speaks_meta = True  # its hub understands all that we say of requests
    return peer


def _claim(master: Master[Peer], ack: int | None, epoch: int, *, gently: bool) -> Claim:
    peer, declared = master.peer, master.declared
    told = {
        "room": declared.room,
        "features": list(declared.features),
        "group": declared.group,
        "descriptions": declared.descriptions,
    }
    return Claim(
        sid=peer.sid,
        name=peer.name,
        ack=ack,
        room=declared.room,
        declared=told,
        by_envelope=master.by_envelope,
        epoch=epoch,
        gently=gently,
    )


def _counted(hub: str, told: Mapping[str, Any]) -> Peer:
    """Somebody of another hub, as its census says."""
    peer = Peer(told["sid"], told["sid"], hub=hub)
    peer.rooms = dict.fromkeys(told["rooms"])
    peer.masters = dict.fromkeys(told["masters"])
    if told["registration"] is not None:
        peer.registration = events.parse_registration(told["registration"])
        peer.name = peer.registration.name
        peer.speaks_meta = peer.registration.speaks_meta
    return peer


def _identity(told: Mapping[str, Any] | None) -> Identity | None:
    if told is None:
        return None
    rooms = told["rooms"]
    return Identity(usuario=told["usuario"], rooms=None if rooms is None else frozenset(rooms))
