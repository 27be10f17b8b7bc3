"""The desk of reports: what is asked about the hub and what happened in its rooms.

May go in: who may ask what about the hub, and recording. May not: what is answered (`reports`,
`recording`, `log`). Pure: no socket, no clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from alephscript.errors import LimitExceeded, PermissionDenied
from alephscript.mesh.budget import ROOM_BYTES
from alephscript.mesh.desks.desk import Handler, read_first
from alephscript.mesh.effects import Effect, SurveyHubs
from alephscript.mesh.federation import Federation
from alephscript.mesh.log import Logs
from alephscript.mesh.peers import Peer, acknowledge
from alephscript.mesh.recording import Recording
from alephscript.mesh.reports import Reports
from alephscript.mesh.rooms import Rooms
from alephscript.protocol import events
from alephscript.protocol.events import HubEvent

__all__ = ["ReportDesk"]


class ReportDesk:
    """What is asked about the hub.

    Args:
        rooms: The rooms, and the rules of access.
        logs: The rooms of which all is kept.
        reports: What the hub tells about itself.
        recording: Who records what happens in rooms.

    Attributes:
        federation: The other hubs of this mesh, which are asked, too; None if there are none.
    """

    def __init__(self, rooms: Rooms, logs: Logs, reports: Reports, recording: Recording) -> None:
        self._rooms = rooms
        self._logs = logs
        self._reports = reports
        self._recording = recording
        self.federation: Federation | None = None
        self.handlers: dict[str, Handler] = {
            HubEvent.GET_SERVER_STATE: self.report_state,
            HubEvent.GET_CAPABILITIES: self._report_capabilities,
            HubEvent.GET_MEMBERS: self._report_members,
            HubEvent.GET_ROOM_LOG: self._read_log,
            HubEvent.RECORD_ROOMS: self._record,
        }

    def report_state(self, peer: Peer, _: Sequence[Any], ack: int | None) -> list[Effect]:
        """Answer how the hub is, and all hubs with it."""
        question = SurveyHubs(peer.sid, ack, HubEvent.GET_SERVER_STATE, None)
        if self.federation is not None and self.federation.hubs:
            return [question]
        return self._reports.give(peer, lambda: self._reports.answer_survey(peer, question, []))

    def _report_capabilities(
        self, peer: Peer, args: Sequence[Any], ack: int | None
    ) -> list[Effect]:
        query = read_first(args)
        return self._reports.give(peer, lambda: self._reports.tell_capabilities(peer, ack, query))

    def _report_members(self, peer: Peer, args: Sequence[Any], ack: int | None) -> list[Effect]:
        query = read_first(args)
        query = query if isinstance(query, dict) else {}
        room, presence = query.get("room"), query.get("presence") is True
        if room is not None or presence:
            self._rooms.check(peer, "subscribe", events.check_room_name(room))
        question = SurveyHubs(peer.sid, ack, HubEvent.GET_MEMBERS, room, presence)
        if self.federation is not None and self.federation.hubs:
            return [question]
        return self._reports.give(peer, lambda: self._reports.answer_survey(peer, question, []))

    def _read_log(self, peer: Peer, args: Sequence[Any], ack: int | None) -> list[Effect]:
        return self._logs.ask(peer, ack, read_first(args))

    def _record(self, peer: Peer, args: Sequence[Any], ack: int | None) -> list[Effect]:
        """Let a peer record rooms: what others ask and are answered, which is an admin's to see."""
        rooms = events.parse_recording(read_first(args))
        for room in rooms:
            self._rooms.check(peer, "subscribe", room)
            if self._rooms.is_guarded and not (peer.identity and peer.identity.is_admin):
                detail = {"room": room, "action": "record"}
                raise PermissionDenied(f"only an admin may record: {room}", [detail])
        if not peer.account.keep("record", sum(ROOM_BYTES + len(each) for each in rooms)):
            raise LimitExceeded("what this client makes the hub keep takes too much memory already")
        answer = acknowledge(peer, ack, {"rooms": list(rooms)})
        return answer + self._recording.record(peer, rooms)
