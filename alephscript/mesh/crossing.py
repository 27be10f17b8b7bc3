"""Requests that cross hubs: what the frames about them bring about, at either end.

A request is open at both hubs (decision 0058). At its master's hub the asker is a peer of another
hub, made of what the frame says of it; at the asker's hub the master is one.

May go in: frames about requests, as `federation` lists them; askers at other hubs. May not: all
other frames, masters at other hubs (`federation`), how frames are made (`dialects.Remote`) or read
(`frames`, `foreign`). Pure: no socket, no clock.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from alephscript.errors import InvalidPayload, NoMaster, Overloaded
from alephscript.mesh.access import Identity
from alephscript.mesh.budget import Account, Budget
from alephscript.mesh.claims import Claims
from alephscript.mesh.dialects import Dialects
from alephscript.mesh.effects import Effect, Emit, ToHub
from alephscript.mesh.frames import About, AboutIdentity
from alephscript.mesh.meta import RequestMeta, is_part_count
from alephscript.mesh.peers import Master, OpenRequest, Peer
from alephscript.mesh.reports import Reports
from alephscript.mesh.requests import Requests, stand_in
from alephscript.mesh.rooms import Rooms
from alephscript.protocol import events
from alephscript.protocol.json import read_value

__all__ = ["MARK", "Crossing"]

MARK = "~"
"""What stands between the name of a hub and the rest of a socket id."""

_FEW_ASKERS = 64
"""Askers at other hubs that are kept before those without an open request are looked for."""


class Crossing:
    """The requests between this hub and others.

    What returns effects is an input, and named by the frame that it takes.

    Args:
        hub: This hub's name.
        hubs: The names of the others, as they come and go.
        rooms: Its rooms and peers.
        requests: Its open requests.
        reports: Says which member may know of which.
        dialects: Where the dialects of peers at other hubs are found.
        budget: What may be kept for those.
        claims: Declarations of peers here that are not decided yet.
    """

    def __init__(
        self,
        hub: str,
        hubs: Collection[str],
        rooms: Rooms,
        requests: Requests,
        reports: Reports,
        dialects: Dialects,
        budget: Budget,
        claims: Claims,
    ) -> None:
        self._hub = hub
        self._hubs = hubs
        self._rooms = rooms
        self._requests = requests
        self._reports = reports
        self._dialects = dialects
        self._budget = budget
        self._claims = claims
        self._askers: dict[str, Peer] = {}
        self._most_askers = _FEW_ASKERS
        self._accounts: dict[str, Account] = {}  # by hub

    def abandon(self, hub: str) -> list[Effect]:
        """Give up the askers of a hub that is gone."""
        effects: list[Effect] = []
        for peer in [each for each in self._askers.values() if each.hub == hub]:
            effects += self._let_tasks_go(peer)
            effects += self._requests.abandon(peer)
            self._askers.pop(peer.sid, None)
        self._accounts.pop(hub, None)
        for peer in self._rooms.peers.values():
            # Also those that have answered all: of the last results nobody knows whether they
            # have reached that hub.
            if peer.has_runs and peer.reads_meta:
                effects.append(Emit((peer.sid,), events.HubEvent.TASK_RESUME, ({},)))
        return effects

    def _let_tasks_go(self, peer: Peer) -> list[Effect]:
        """Let the runs of a task go on whose hub is gone: their masters offer them to this one."""
        effects: list[Effect] = []
        for request in list(peer.requests.values()):
            if request.master is not None and "task" in request.meta.extras:
                for question in list((request.questions or {}).values()):
                    effects += self._requests.forget(question, "moved")
                effects += self._requests.forget(request, "moved")
        return effects

    def undelivered(self, hub: str, frame: Sequence[Any]) -> list[Effect]:
        """Act on a frame that could not be sent: its hub is gone, or all are out of reach."""
        if frame[0] != "ask":
            return []
        return self.on_moved(hub, frame[1], frame[2])

    def on_ask(
        self,
        hub: str,
        number: int,
        sid: str,
        name: str | None,
        event: str,
        data: Any,
        about: About,
    ) -> list[Effect]:
        """Put what a peer at another hub asks to a master, a member or an asker here."""
        asker = self._askers.get(about.sid)
        if (
            asker is None
            or asker.name != about.name
            or asker.reads_meta is not about.meta
            or asker.hub != hub
        ):
            asker = self._remember_asker(hub, about)
        if event == events.HubEvent.GET_ASKER_ANSWER:
            return self._on_question(hub, number, sid, asker, data, about)
        master = self._find_master(sid, name) if name else self._find_member(asker, sid)
        if master is None:
            return [ToHub(hub, ("moved", number, sid))]
        extras = about.extras
        if extras:
            extras = self._own_chain(hub, extras)
            if "task" in extras:
                master.peer.has_runs = True
        meta = RequestMeta(name or None, about.seconds, extras=extras)
        question = events.RoomMessage(event, name or "", data, about.envelope)
        return self._requests.ask_master(asker, question, master, number, meta)

    def _on_question(
        self, hub: str, number: int, sid: str, master: Peer, data: Any, about: About
    ) -> list[Effect]:
        """Ask a peer here what the master of its request asks back."""
        extras = self._own_chain(hub, about.extras)
        request = self._request_at(hub, extras.get("request", 0), master.sid)
        if request is not None and request.asker.sid != sid:
            request = None
        meta = RequestMeta(seconds=about.seconds, extras={"chain": extras.get("chain", [])})
        question = events.RoomMessage(events.HubEvent.GET_ASKER_ANSWER, "", data, {})
        return self._requests.ask_back(master, question, request, number, meta)

    def on_cancel(self, hub: str, number: int, sid: str, reason: str) -> list[Effect]:
        """End a request whose asker waits no more."""
        request = self._request_from(hub, number, sid)
        return [] if request is None else self._requests.cancel(request, reason)

    def on_more(self, hub: str, number: int, sid: str, parts: int) -> list[Effect]:
        """Let a master here send further parts."""
        request = self._request_from(hub, number, sid)
        if request is None or not is_part_count(parts):
            return []
        return self._requests.grant(request, parts)

    def on_answer(self, hub: str, number: int, sid: str, answer: Any, room: Any) -> list[Effect]:
        """End a request with what its master at another hub has answered."""
        # `_request_at`, without the call.
        request = self._requests.get(number)
        master = None if request is None else request.master
        if request is None or master is None or master.peer.hub != hub or master.peer.sid != sid:
            self._requests.late_answers += 1
            return []
        effects: list[Effect] = []
        if room and isinstance(room, str) and request.ack is None:
            # The room heard the SET_ already, at each of the hubs.
            fields = {**events.spread(read_value(answer)), "sender": sid}
            request.answer_room = room
            event = events.answer_event(request.event)
            message = events.RoomMessage(event, room, None, {})
            effects += request.dialect.echo(request, message, fields, "")
        shaped = master.peer.dialect.read_answer(request, (answer,))
        ended = self._requests.end(request, shaped)
        return effects + ended if effects else ended

    def on_moved(self, hub: str, number: int, sid: str) -> list[Effect]:
        """Put a request that reached nobody to the next, or let it wait for a decision."""
        request = self._request_at(hub, number, sid)
        if request is None or request.master is None:
            return []
        if not request.room:
            return self._requests.end(request, NoMaster("that member is gone").answer())
        if "task" in request.meta.extras:
            # Which waits for the next master by itself, and whose run has not begun.
            error = Overloaded("the master has gone before", [{"delivered": False}])
            return self._requests.end(request, error.answer())
        is_decided = request.room not in request.master.peer.mastered
        self._requests.take_back(request)
        return self._requests.put_or_end(request) if is_decided else []

    def on_cut(self, hub: str, number: int, sid: str) -> list[Effect]:
        """Act on the run of a task whose master at another hub has lost its link."""
        request = self._request_at(hub, number, sid)
        if request is not None and request.master is not None:
            request.master.peer.is_cut = True
        return self.on_lost(hub, number, sid)

    def on_lost(self, hub: str, number: int, sid: str) -> list[Effect]:
        """Act on a request that has lost its master at another hub."""
        request = self._request_at(hub, number, sid)
        if request is None:
            return []
        return self._requests.lose(request, f"the master of {request.room} is gone")

    def on_note(self, hub: str, number: int, sid: str, event: str, data: Any) -> list[Effect]:
        """Tell an asker here what its master says before the answer."""
        request = self._request_at(hub, number, sid)
        if request is None:
            return []
        if self._requests.recorder is not None:
            self._requests.recorder.noted(request, event, data)
        if request.meta.idle is not None:
            effects = self._requests.note_life(request, event)
            return effects + request.dialect.note(request, event, data)
        return request.dialect.note(request, event, data)

    # Peers and requests by what frames say

    def _own_chain(self, hub: str, extras: Mapping[str, Any]) -> dict[str, Any]:
        """Name the requests of a chain as this hub does: its own by number, others with their hub.

        Hubs count alike: a number of another hub alone would mean some request of this one.
        """
        fields = dict(extras)
        if "chain" in fields:
            chain = (each if MARK in each else f"{hub}{MARK}{each}" for each in fields["chain"])
            fields["chain"] = [each.removeprefix(self._hub + MARK) for each in chain]
        return fields

    def _find_master(self, sid: str, room_name: str) -> Master | None:
        """Find the declaration of a peer here, even one that is not decided yet."""
        peer, room = self._rooms.peers.get(sid), self._rooms.get(room_name)
        if peer is None:
            return None
        master = None if room is None else room.masters.find(peer)
        # The registry may have told the asker's hub first.
        return master or self._claims.find(sid, room_name)

    def _find_member(self, asker: Peer, sid: str) -> Master | None:
        """Find a member here that answers about itself, and that the asker may know of."""
        peer = self._rooms.peers.get(sid)
        if peer is None or not peer.reads_meta or not self._reports.sees(asker, peer):
            return None
        return stand_in(peer)

    def _remember_asker(self, hub: str, about: About) -> Peer:
        """Find or make the peer of an asker at another hub, and keep what the frame says of it."""
        if len(self._askers) >= self._most_askers:
            # No hub says that an asker is gone: those without a request are forgotten, when there
            # are twice as many as last time, so that looking costs nothing a frame.
            for idle in [each for each in self._askers.values() if not each.requests]:
                del self._askers[idle.sid]
            self._most_askers = _FEW_ASKERS + 2 * len(self._askers)
        sid, reads_meta, name = about.sid, about.meta, about.name
        asker = self._askers.get(sid)
        if asker is None:
            dialect = self._dialects.choose_remote(reads_meta=reads_meta)
            known = hub if hub in self._hubs else ""
            account = self._accounts.get(known)
            if account is None:
                account = self._accounts[known] = self._budget.open_for_hub()
            asker = Peer(sid, sid, dialect, _identity(about.identity), hub=hub, account=account)
            self._askers[sid] = asker
        elif asker.hub != hub:
            raise InvalidPayload("an asker of another hub")
        elif asker.reads_meta is not reads_meta:
            asker.speak(self._dialects.choose_remote(reads_meta=reads_meta))
        if asker.name != name:
            asker.rename(name)
        return asker

    def _request_from(self, hub: str, number: int, sid: str) -> OpenRequest | None:
        """Find a request of a peer at another hub that is at a master here."""
        asker = self._askers.get(sid)
        if asker is None or asker.hub != hub:
            return None
        return asker.requests.get(number)

    def _request_at(self, hub: str, number: int, sid: str) -> OpenRequest | None:
        """Find a request of a peer here that is at a certain master of another hub."""
        request = self._requests.get(number)
        if request is None or request.master is None:
            return None
        peer = request.master.peer
        return request if peer.hub == hub and peer.sid == sid else None


def _identity(known: AboutIdentity | None) -> Identity | None:
    if known is None:
        return None
    rooms = None if known.rooms is None else frozenset(known.rooms)
    return Identity(usuario=known.usuario, rooms=rooms)
