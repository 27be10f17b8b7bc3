"""Several hubs that are one mesh, as each of them sees it.

Theory of operation. A registry that all hubs share decides who masters a room: a hub puts forward
what its own peers declare (`Claim`, `Release`) and does what the registry decides
(`apply_decision`), in the order of the decisions (decision 0031). A master at another hub is a
`Peer` here, too, with that hub's name; what is put to it becomes a frame to its hub (decision
0032). There the asker is such a peer, and the request one like all others, so that everything holds
across hubs that holds at one: deadline, cancelling, parts, loss.

==========  ====================================================  ==============================
frame       fields                                                from … to
==========  ====================================================  ==============================
`ask`       number, master, room, event, data, about              the asker's hub, the master's;
                                                                  or the other way, to ask back
`cancel`    number, asker, reason                                 the same
`more`      number, asker, parts                                  the same
`answer`    number, master, answer, room that heard a SET_        the master's hub, the asker's
`moved`     number, master                                        the same: nothing was delivered
`lost`      number, master                                        the same: it may have run
`cut`       number, master                                        the same: a task's run goes on
`note`      number, master, event, data                           the same: a part, or progress
`task`      verb, task, answer                                    a hub whose peer cancels or
                                                                  answers a task, the task's
`kept`      master, payload                                       the task's hub, the master's
`watch`     room                                                  a hub that wants to know who is
                                                                  there (`presence`), all others
`unwatch`   room                                                  the same
`present`   room, members                                         another hub, that one
`joined`    room, usuario, sesion                                 the same
`left`      room, usuario, sesion, reason                         the same
`record`    rooms                                                 a hub whose peers record them
                                                                  (`recording`), all others
`recorded`  room, record                                          another hub, that one
==========  ====================================================  ==============================

Numbers are those of the asker's hub. What is said in a room goes to all hubs that subscribed to it
(`ToRoom`), without a kind: event, data, sender, and when. A frame about a request counts only if it
names the master that the request is at: what comes late from the one before is dropped.

May go in: what a hub does about other hubs; frames as they arrive. May not: what those about a
request bring about (`crossing`), how frames travel, nor how they are made (`dialects.Remote`).
Pure: no socket, no clock.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import attrs
import msgspec

from alephscript.errors import InvalidPayload, RequestError
from alephscript.mesh.budget import Budget
from alephscript.mesh.census import Censuses, count_peers, take_census
from alephscript.mesh.claims import Claims, make_claim
from alephscript.mesh.crossing import MARK, Crossing
from alephscript.mesh.dialects import Dialects
from alephscript.mesh.effects import (
    Acknowledge,
    Claim,
    Effect,
    Release,
    SurveyHubs,
)
from alephscript.mesh.foreign import read_kind, read_said
from alephscript.mesh.mastering import Mastering
from alephscript.mesh.peers import Master, Peer
from alephscript.mesh.recording import Recording
from alephscript.mesh.replicas import Replicas
from alephscript.mesh.reports import Reports
from alephscript.mesh.requests import Requests
from alephscript.mesh.rooms import Rooms
from alephscript.mesh.speech import Speech
from alephscript.protocol import events

__all__ = ["Entry", "Federation"]


@attrs.frozen
class Entry:
    """A master, as the registry has it.

    Attributes:
        hub: The name of the master's hub.
        sid: The master's socket id.
        name: What others see as the master's name.
        declared: The declaration.
        is_core: Whether the master declared inside ROOM_MESSAGE.
    """

    hub: str
    sid: str
    name: str
    declared: events.Declaration
    is_core: bool


class Federation:
    """The other hubs of a mesh.

    What returns effects is an input, and named by what has happened, as those of `Mesh` are.

    Args:
        hub: This hub's name.
        rooms: Its rooms and peers.
        speech: Where its rooms are told.
        mastering: Who masters them.
        requests: Its open requests.
        reports: The answers that it gives about itself.
        recording: Who records what happens in rooms.
        dialects: Where the dialects of peers at other hubs are found.
        budget: What may be kept for those.

    Attributes:
        hubs: The names of the other hubs; none while they cannot be reached.
        replicas: The retained values of all hubs, as this one has them.
        act_on_task: Does what a peer at another hub wants of a task here.
    """

    def __init__(
        self,
        hub: str,
        rooms: Rooms,
        speech: Speech,
        mastering: Mastering,
        requests: Requests,
        reports: Reports,
        recording: Recording,
        dialects: Dialects,
        budget: Budget,
    ) -> None:
        self.hub = hub
        self.hubs: set[str] = set()
        self.replicas = Replicas(hub, rooms, speech)
        speech.keep = self.replicas.take
        speech.keep_quietly = functools.partial(self.replicas.take, is_quiet=True)
        rooms.presences.hubs = recording.hubs = self.hubs
        recording.hub = hub
        self._rooms = rooms
        self._speech = speech
        self._mastering = mastering
        self._presences = rooms.presences
        self._requests = requests
        self._reports = reports
        self._dialects = dialects
        self._masters: dict[str, Peer] = {}  # of other hubs
        self._claims = Claims()
        crossing = Crossing(
            hub, self.hubs, rooms, requests, reports, dialects, budget, self._claims
        )
        self._crossing = crossing
        self._recording = recording
        self.act_on_task: Callable[[str, str, Any], list[Effect]] = lambda _verb, _id, _answer: []
        self._takers: Mapping[Any, Callable[..., list[Effect]]] = {
            **dict.fromkeys(("ask", "Ask"), crossing.on_ask),
            **dict.fromkeys(("cancel", "Cancel"), crossing.on_cancel),
            **dict.fromkeys(("more", "More"), crossing.on_more),
            **dict.fromkeys(("answer", "Answer"), crossing.on_answer),
            **dict.fromkeys(("moved", "Moved"), crossing.on_moved),
            **dict.fromkeys(("lost", "Lost"), crossing.on_lost),
            **dict.fromkeys(("cut", "Cut"), crossing.on_cut),
            **dict.fromkeys(("note", "Note"), crossing.on_note),
            "task": lambda _, verb, task, answer: self.act_on_task(verb, task, answer),
            "kept": self._on_kept,
            "watch": self._on_watch,
            "unwatch": self._presences.hub_unwatches,
            "present": self._presences.hub_has,
            "joined": self._on_joined,
            "left": self._on_left,
            "record": recording.hub_records,
            "recorded": recording.hub_told,
        }

    @property
    def prefix(self) -> str:
        """What socket ids of this hub begin with."""
        return self.hub + MARK

    @property
    def is_waiting(self) -> bool:
        """Whether a peer here waits for an answer from another hub."""
        return any(self._requests.open_at_hub(hub) for hub in self.hubs)

    # What the registry decides

    def apply_decision(self, name: str, epoch: int, entries: Sequence[Entry]) -> list[Effect]:
        """Let the registry's choice master a room from now on.

        Args:
            name: The room.
            epoch: Its epoch.
            entries: All declarations, as a stack whose top masters the room; none for a room that
                is mastered no more.
        """
        if name in self._rooms.peers:
            return []  # a hub to which this one was unknown took a socket's id for a room
        room = self._rooms.get_or_create(name) if entries else self._rooms.get(name)
        if room is None:
            return []
        masters = [
            Master(peer, entry.declared, entry.is_core)
            for entry in entries
            if (peer := self._find_peer(entry)) is not None
        ]
        effects, displaced = self._mastering.replace(room, masters, epoch)
        for peer in displaced:
            if not peer.hub:
                effects += self._requests.displace(peer, name)
            elif not (peer.mastered or peer.displaced):
                # The peer may have resigned, and still finish what it has: its hub will say.
                del self._masters[peer.sid]
        effects += self._requests.put_waiting(room)
        self._rooms.drop_if_empty(room)
        return effects

    def claim(self, master: Master, ack: int | None) -> list[Effect]:
        """Put forward a declaration of a peer here.

        Args:
            master: The declaration.
            ack: The peer's acknowledgement id, None if it wants no acknowledgement.
        """
        hub, mark, _ = master.declared.room.partition(MARK)
        if mark and (hub == self.hub or hub in self.hubs):
            detail = {"path": "room", "message": "is a socket's id"}
            raise InvalidPayload("a socket's id is no room", [detail])
        return self._put_forward(master, [] if ack is None else [ack])

    def _put_forward(self, master: Master, acks: list[int]) -> list[Effect]:
        if not self._claims.put(master, acks):
            return []  # what is under way is decided first
        room = self._rooms.get(master.declared.room)
        epoch = room.masters.epoch if room else 0
        return [make_claim(master, epoch, reclaiming=master.declared.yields)]

    def claimed_rooms(self, peer: Peer) -> Collection[str]:
        """The rooms that a peer has declared itself master of, undecided so far."""
        return self._claims.rooms(peer.sid)

    def resign(self, peer: Peer, room: str) -> None:
        """Let a claim of a peer that is under way come to nothing."""
        self._claims.resign(peer.sid, room)

    def claimed(self, claim: Claim, epoch: int) -> list[Effect]:
        """Tell a peer that its claim was decided, and put forward what it has declared since.

        Args:
            claim: The claim.
            epoch: The room's epoch.
        """
        decided = self._claims.settle(claim.sid, claim.room)
        peer = self._rooms.peers.get(claim.sid)
        if peer is None:
            return [Release(claim.sid, claim.room)]
        if decided is None:
            return []
        fields = {"room": claim.room, "features": claim.declared["features"], "epoch": epoch}
        if claim.room in peer.displaced:
            fields["displaced"] = True
        acks, successor = decided.acks, decided.successor
        if successor is None:
            acks += decided.waiting
        effects: list[Effect] = [
            Acknowledge(claim.sid, ack, events.make_success(fields)) for ack in acks
        ]
        if successor is not None:
            return effects + self._put_forward(successor, decided.waiting)
        return effects + self._withdraw(peer, claim.room) if decided.is_over else effects

    def unclaimed(self, claim: Claim, error: RequestError) -> list[Effect]:
        """Tell a peer that the registry could not be asked in time."""
        given_up = self._claims.settle(claim.sid, claim.room)
        peer = self._rooms.peers.get(claim.sid)
        if given_up is None or peer is None:
            return []
        if claim.room not in peer.mastered and claim.room not in peer.displaced:
            peer.account.release(("master", claim.room))
        acks = (*given_up.acks, *given_up.waiting)
        return [Acknowledge(claim.sid, ack, error.answer()) for ack in acks]

    def _withdraw(self, peer: Peer, name: str) -> list[Effect]:
        """Let a peer that has resigned meanwhile master a room no more."""
        room = self._rooms.get(name)
        if room is None or (name not in peer.mastered and name not in peer.displaced):
            peer.account.release(("master", name))
            return [Release(peer.sid, name)]
        effects = self._mastering.withdraw(peer, room)
        self._rooms.drop_if_empty(room)
        return effects

    # Whether the registry and the other hubs can be reached

    def hub_came(self, hub: str) -> list[Effect]:
        """Take notice of another hub, and ask it what is to be known here."""
        self.hubs.add(hub)
        return self._presences.hub_came(hub) + self._recording.hub_came(hub)

    def hub_gone(self, hub: str) -> list[Effect]:
        """Give up a hub and its askers; the registry removes its masters."""
        self.hubs.discard(hub)
        effects = self._presences.hub_gone(hub)
        self._recording.hub_gone(hub)
        effects += self._crossing.abandon(hub)
        for request in self._requests.open_at_hub(hub):
            effects += self._requests.lose(request, "the hub that it was asked at is gone")
        return effects

    def go_adrift(self) -> list[Effect]:
        """Give up all other hubs: what is at this hub goes on, what is elsewhere ends."""
        effects: list[Effect] = []
        for hub in list(self.hubs):
            effects += self.hub_gone(hub)
        for room in list(self._rooms):
            here = [each for each in room.masters if not each.peer.hub]
            if len(here) < len(room.masters):
                entries = [self._entry_of(each) for each in here]
                effects += self.apply_decision(room.name, room.masters.epoch, entries)
        return effects

    def resynchronise(
        self, hubs: Iterable[str], standings: Mapping[str, tuple[int, Sequence[Entry]]]
    ) -> list[Effect]:
        """Take over all that the registry knows, now that it can be reached.

        Args:
            hubs: The names of the other hubs.
            standings: Epoch and masters, by room.
        """
        self.hubs.clear()  # and no other set: who else looks at it sees the same
        self.hubs.update(hubs)
        effects: list[Effect] = []
        for hub in self.hubs:
            effects += self._presences.hub_came(hub) + self._recording.hub_came(hub)
        for room in list(self._rooms):
            if room.name not in standings and room.masters:
                effects += self.apply_decision(room.name, room.masters.epoch, ())
        for name, (epoch, entries) in standings.items():
            effects += self.apply_decision(name, epoch, entries)
        return effects

    def reclaims(self) -> list[Claim]:
        """List the masters at this hub, to be claimed again after an outage."""
        return [
            make_claim(each, room.masters.epoch, reclaiming=True)
            for room in self._rooms
            # One that is put below all others comes after them, the newest first.
            for each in (*room.masters.acting, *reversed(room.masters.displaced))
            if not each.peer.hub
        ]

    def hand_over(self, *, is_last: bool) -> list[Effect]:
        """Let masters at other hubs take over, as this hub will go; peers finish what they have.

        Args:
            is_last: Whether the rooms are given up, too, that nobody else masters.
        """
        effects: list[Effect] = []
        for room in list(self._rooms):
            masters, serving = list(room.masters), room.masters.serving
            here = [each for each in masters if not each.peer.hub]
            others = [each.peer.name for each in masters if each.peer.hub]
            if not here or not (others or is_last):
                continue
            for master in here:
                effects += self._mastering.withdraw(master.peer, room)
                if others and master in serving and master.declared.group == "single":
                    # So that it stands by when it is back, and takes nothing from the next one.
                    effects += self._mastering.tell_displaced(master.peer, room, others[-1])
            self._rooms.drop_if_empty(room)
        return effects

    # Who is there

    def census(self) -> list[msgspec.Raw]:
        """List the peers at this hub, as plain data for another one."""
        return take_census(self._rooms.peers.values())

    def count(self, censuses: Censuses) -> list[Peer]:
        """Make peers of what other hubs say of theirs; see `census`."""
        return count_peers(censuses, self._dialects)

    def surveyed(self, survey: SurveyHubs, others: Sequence[Peer]) -> list[Effect]:
        """Answer a peer that asked who is there, now that the other hubs have said.

        Args:
            survey: The question.
            others: The peers at the other hubs; see `count`.
        """
        asker = self._rooms.peers.get(survey.sid)
        if asker is None:
            return []
        return self._reports.answer_survey(asker, survey, others)

    # What other hubs say

    def received(self, hub: str, frame: Sequence[Any]) -> list[Effect]:
        """Take a frame for this hub.

        Args:
            hub: The name of the hub that sent it.
            frame: Its kind and its fields, read or unread.

        Raises:
            RequestError: The frame makes no sense; nothing has come of it.
        """
        return self.take(hub, *read_kind(frame))

    def take(self, hub: str, kind: str, fields: Sequence[Any]) -> list[Effect]:
        """Take a frame for this hub that was read; of its kind, or of the name of its record."""
        take = self._takers.get(kind)
        return [] if take is None else take(hub, *fields)

    def undelivered(self, hub: str, frame: Sequence[Any]) -> list[Effect]:
        """Act on a frame that could not be sent: its hub is gone, or all are out of reach."""
        return self._crossing.undelivered(hub, frame)

    def heard(self, name: str, event: Any, data: Any, sender: Any, at: Any = 0) -> list[Effect]:
        """Tell the members here what was said in a room at another hub."""
        event, sender, at = read_said(event, sender, at)
        message = events.RoomMessage(event, name, None, {})
        # All that other hubs say takes one share: they do not tell who of their clients says it.
        return self._speech.tell(self._rooms.members(name), message, data, sender, self.hub, at=at)

    def _on_kept(self, _: str, sid: str, payload: Any) -> list[Effect]:
        peer = self._rooms.peers.get(sid)
        return [] if peer is None else peer.dialect.confirm(peer, payload)

    def _on_watch(self, hub: str, room: str) -> list[Effect]:
        if hub not in self.hubs:
            return []  # nobody would say when that hub is gone
        return self._presences.hub_watches(hub, room, self._rooms.members(room))

    def _on_joined(self, hub: str, room: str, usuario: str, sesion: str) -> list[Effect]:
        return self._presences.hub_joined(hub, room, (usuario, sesion))

    def _on_left(self, hub: str, room: str, usuario: str, sesion: str, reason: str) -> list[Effect]:
        return self._presences.hub_left(hub, room, (usuario, sesion), reason)

    # Peers and requests by what frames say

    def member(self, sid: str) -> Peer | None:
        """Make a peer of a member at another hub, by its socket id.

        Its existence is not checked here: its hub answers `moved`.
        """
        hub, mark, _ = sid.partition(MARK)
        return self._remote(sid, hub) if mark and hub in self.hubs else None

    def _remote(self, sid: str, hub: str) -> Peer:
        # Its hub understands all that is said of requests here, whatever the peer speaks there.
        return Peer(sid, sid, self._dialects.choose_remote(reads_meta=True), hub=hub)

    def _find_peer(self, entry: Entry) -> Peer | None:
        """Find the peer that an entry means; None if it was at this hub and is gone."""
        if entry.hub == self.hub:
            return self._rooms.peers.get(entry.sid)
        peer = self._masters.get(entry.sid)
        if peer is None:
            peer = self._masters[entry.sid] = self._remote(entry.sid, entry.hub)
        peer.rename(entry.name)
        return peer

    def _entry_of(self, master: Master) -> Entry:
        peer = master.peer
        return Entry(peer.hub or self.hub, peer.sid, peer.name, master.declared, master.is_core)
