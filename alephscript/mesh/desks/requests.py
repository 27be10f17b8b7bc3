"""The desk of requests: what their askers and masters say of those that are open.

May go in: cancelling, parts and progress, questions back, and questions to one member. May not:
what becomes of a request (`requests`). The question itself is no event of a fixed name, and so
stands in `mesh`. Pure: no socket, no clock.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import msgspec

from alephscript.mesh.desks.desk import Handler, read_first
from alephscript.mesh.effects import Effect
from alephscript.mesh.federation import Federation
from alephscript.mesh.meta import NO_META, RequestMeta, is_part_count, parse_meta, parse_number
from alephscript.mesh.peers import Peer, acknowledge
from alephscript.mesh.reports import Reports
from alephscript.mesh.requests import Requests
from alephscript.mesh.rooms import Rooms
from alephscript.protocol import events
from alephscript.protocol.events import HubEvent
from alephscript.protocol.json import read_value

__all__ = ["RequestDesk"]

# Kept: a member of an enum costs 0.1 µs and more to look up where Python is older than 3.12.
_REQUEST_PART = HubEvent.REQUEST_PART


class RequestDesk:
    """What is said about requests.

    Args:
        rooms: Where members are found.
        requests: The open requests.
        reports: Says which members a peer may know of.

    Attributes:
        federation: The other hubs of this mesh, which have members, too; None if there are none.
    """

    def __init__(self, rooms: Rooms, requests: Requests, reports: Reports) -> None:
        self._rooms = rooms
        self._requests = requests
        self._reports = reports
        self.federation: Federation | None = None
        self.handlers: dict[str, Handler] = {
            HubEvent.CANCEL_REQUEST: self._cancel_request,
            HubEvent.REQUEST_MORE: self._grant_parts,
            HubEvent.REQUEST_PART: functools.partial(self._note, HubEvent.REQUEST_PART),
            HubEvent.REQUEST_PROGRESS: functools.partial(self._note, HubEvent.REQUEST_PROGRESS),
            HubEvent.REQUEST_CHECKPOINT: functools.partial(self._note, HubEvent.REQUEST_CHECKPOINT),
            HubEvent.GET_ASKER_ANSWER: self._ask_back,
            **{event: functools.partial(self._ask_member, event) for event in events.MEMBER_EVENTS},
        }

    def _cancel_request(self, peer: Peer, args: Sequence[Any], ack: int | None) -> list[Effect]:
        effects = acknowledge(peer, ack, {})
        request = peer.find_request(read_first(args))
        return effects if request is None else effects + self._requests.cancel(request, "cancelled")

    def _grant_parts(self, peer: Peer, args: Sequence[Any], ack: int | None) -> list[Effect]:
        effects = acknowledge(peer, ack, {})
        fields = read_first(args)
        request = peer.find_request(fields)
        if request is None or not is_part_count(fields.get("parts")):
            return effects
        return effects + self._requests.grant(request, fields["parts"])

    def _note(self, event: str, peer: Peer, args: Sequence[Any], ack: int | None) -> list[Effect]:
        """Pass on to an asker a part of its answer, or progress."""
        effects = acknowledge(peer, ack, {})
        meta = read_value(args[1]) if len(args) > 1 else None
        number = parse_number(meta.get("id") if isinstance(meta, dict) else None)
        request = None if number is None else peer.serving.get(number)
        if request is None:
            return effects
        if event == _REQUEST_PART:
            overrun = self._requests.spend(request)
            if overrun is not None:
                return effects + overrun
        if self._requests.recorder is not None:
            self._requests.recorder.noted(request, event, args[0])
        if request.meta.idle is not None:
            effects += self._requests.note_life(request, event)
        return effects + request.dialect.note(request, event, args[0])

    def _ask_back(self, peer: Peer, args: Sequence[Any], ack: int | None) -> list[Effect]:
        """Pass on a master's question to the asker of a request that the master serves."""
        unread = args[1] if len(args) > 1 and peer.reads_meta else None
        fields = read_value(unread)
        name = fields.get("id") if isinstance(fields, dict) else None
        number = parse_number(name)
        about = None if number is None else peer.serving.get(number)
        meta = RequestMeta(seconds=parse_meta(unread).seconds, extras={"chain": [name]})
        question = events.RoomMessage(HubEvent.GET_ASKER_ANSWER, "", args[0] if args else {}, {})
        return self._requests.ask_back(peer, question, about, ack, meta)

    def _ask_member(
        self, event: str, peer: Peer, args: Sequence[Any], ack: int | None
    ) -> list[Effect]:
        reads_meta = len(args) > 1 and peer.reads_meta
        meta = parse_meta(args[1]) if reads_meta else NO_META
        question = events.RoomMessage(event, "", args[0] if args else {}, {})
        member = self._find_member(peer, meta.member)
        if meta.room is not None:
            meta = msgspec.structs.replace(meta, room=None)  # any JSON, of which nothing is kept
        return self._requests.ask_member(peer, question, member, ack, meta)

    def _find_member(self, asker: Peer, sid: Any) -> Peer | None:
        """Find a member by its socket id, if the asker may know of it."""
        if not isinstance(sid, str):
            return None
        member = self._rooms.peers.get(sid)
        if member is None:
            return None if self.federation is None else self.federation.member(sid)
        return member if self._reports.sees(asker, member) else None
