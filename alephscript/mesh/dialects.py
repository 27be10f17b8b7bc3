"""The dialects of a mesh: how a peer of each is asked, told, cancelled, answered.

============  ==========================================================  =======================
dialect       who speaks it                                               how its master answers
============  ==========================================================  =======================
`Native`      peers that announced `events.PROTOCOL`: payload and meta    by acknowledgement
`Documented`  peers that send events directly: the payload alone          by acknowledgement, or
                                                                          by a SET_ that is certain
`Core`        peers that declared inside ROOM_MESSAGE: the whole          by a SET_, or by
              envelope; askers that want no acknowledgement: one SET_     acknowledgement
`Remote`      another hub, for its peers: a frame                         by a frame
`TaskDialect` a task, which asks as a peer does and outlives all of them  is never asked
============  ==========================================================  =======================

A further dialect is one more class here, made in `Dialects`, which chooses; nothing else in the
mesh asks which one a peer speaks.

May go in: what depends on a peer's dialect. May not: what is decided about a request, which is the
same in all of them (`requests`). Pure: no socket, no clock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn, Protocol

import msgspec

from alephscript.errors import RequestError, StateError
from alephscript.mesh.effects import Acknowledge, Deliver, Effect, Emit, Ended, ToHub
from alephscript.mesh.frames import About, AboutIdentity
from alephscript.mesh.peers import Dialect, Master, OpenRequest, Peer
from alephscript.mesh.rooms import Rooms
from alephscript.mesh.speech import Speech
from alephscript.protocol import events
from alephscript.protocol.events import Answer, HubEvent
from alephscript.protocol.json import read_value

__all__ = [
    "Core",
    "Dialects",
    "Documented",
    "Native",
    "NativeAsCore",
    "Remote",
    "TaskDialect",
    "TaskDiary",
]

_SHAPED = (b'{"success":true,', b'{"success":true}')
"""How a success begins that a native peer has written."""


class _AtThisHub(Dialect):
    """What is the same for all peers at this hub."""

    reads_meta = False

    def cancel(self, request: OpenRequest, master: Master, reason: str) -> list[Effect]:
        return []

    def grant(self, request: OpenRequest, master: Master, parts: int) -> list[Effect]:
        payload = {"id": str(request.number), "parts": parts}
        return [Emit((master.peer.sid,), HubEvent.REQUEST_MORE, (payload,))]

    def read_answer(self, request: OpenRequest, args: Sequence[Any]) -> Answer | msgspec.Raw:
        return _read_answer(args)

    def answer(self, request: OpenRequest, answer: Answer | msgspec.Raw) -> list[Effect]:
        assert request.ack is not None
        return [Acknowledge(request.asker.sid, request.ack, answer)]

    def refuse(
        self, asker: Peer, event: str, ack: int | None, error: RequestError, master_sid: str
    ) -> Effect:
        assert ack is not None
        return Acknowledge(asker.sid, ack, error.answer())

    def note(self, request: OpenRequest, event: str, data: Any) -> list[Effect]:
        return []

    def echo(
        self, request: OpenRequest, message: events.RoomMessage, data: Any, sender: str
    ) -> list[Effect]:
        return []

    def hand_back(self, request: OpenRequest) -> list[Effect]:
        return []


class Documented(_AtThisHub):
    """Peers that send events directly and acknowledge: a master gets the payload alone.

    Args:
        as_core: The dialect of these peers where they do as core peers do.
    """

    def __init__(self, as_core: Dialect) -> None:
        self.as_core = as_core

    def ask(
        self, request: OpenRequest, master: Master, left: float, seconds: float | None
    ) -> Effect:
        """Deliver the payload, and want an acknowledgement."""
        question = request.question
        return Deliver(master.peer.sid, question.event, (question.data,), request.number, seconds)

    def is_answered_by_event(self, *, is_certain: bool) -> bool:
        """Take a SET_ for the answer only if it can belong to no other request."""
        # The acknowledgement will come, and say which request it belongs to. To end the oldest
        # request by a guess would hand one asker the answer of another (decision 0011).
        return is_certain


class _ShapesAnswers(Dialect):
    """What is the same for peers whose successes have the shape of answers already."""

    def read_answer(self, request: OpenRequest, args: Sequence[Any]) -> Answer | msgspec.Raw:
        # Decided by its first bytes: what is not read stays bytes (decision 0004). Only an asker
        # that wants no acknowledgement needs the fields, for its SET_.
        if len(args) == 1 and request.ack is not None:
            (only,) = args
            if isinstance(only, msgspec.Raw) and bytes(only).startswith(_SHAPED):
                return only
        return _read_answer(args)


class Native(_ShapesAnswers, _AtThisHub):
    """Peers of this package and others that announced `events.PROTOCOL`: documented, and the meta.

    Args:
        as_core: The dialect of these peers where they do as core peers do.
    """

    reads_meta = True

    def __init__(self, as_core: Dialect) -> None:
        self.as_core = as_core

    def ask(
        self, request: OpenRequest, master: Master, left: float, seconds: float | None
    ) -> Effect:
        """Deliver the payload and the meta, and want an acknowledgement."""
        number, question = request.number, request.question
        meta = {
            "id": str(number),
            "room": request.room,
            "caller": request.asker.name,
            "timeoutMs": round(left * 1000),
        }
        if request.meta.extras:
            meta |= request.meta.extras
        return Deliver(master.peer.sid, question.event, (question.data, meta), number, seconds)

    def cancel(self, request: OpenRequest, master: Master, reason: str) -> list[Effect]:
        """Send CANCEL_REQUEST."""
        payload = {"id": str(request.number), "reason": reason}
        return [Emit((master.peer.sid,), HubEvent.CANCEL_REQUEST, (payload,))]

    def confirm(self, peer: Peer, payload: Mapping[str, Any]) -> list[Effect]:
        """Send TASK_KEPT."""
        return [Emit((peer.sid,), HubEvent.TASK_KEPT, (payload,))]

    def is_answered_by_event(self, *, is_certain: bool) -> bool:
        """Wait for the acknowledgement: a native master acknowledges each request."""
        return False

    def note(self, request: OpenRequest, event: str, data: Any) -> list[Effect]:
        """Send the event, with the asker's acknowledgement id in the meta."""
        return [Emit((request.asker.sid,), event, (data, {"request": request.ack}))]


class Core(_AtThisHub):
    """Peers that put everything into ROOM_MESSAGE, and askers that want no acknowledgement.

    A master gets the whole envelope and answers by a SET_ to its room; an asker hears of its answer
    by one SET_, whether it is in the room or not.

    Args:
        rooms: Where the members are found that hear a SET_.
        namespace: The mesh's, which the envelope names.
    """

    acknowledges = False

    def __init__(self, rooms: Rooms, speech: Speech, namespace: str) -> None:
        self.as_core = self
        self._rooms = rooms
        self._speech = speech
        self._namespace = namespace.strip("/")

    def ask(
        self, request: OpenRequest, master: Master, left: float, seconds: float | None
    ) -> Effect:
        """Deliver the whole envelope; an acknowledgement may come, and counts."""
        number, question, asker = request.number, request.question, request.asker
        envelope = {
            **question.extras,
            "event": question.event,
            "room": request.room,
            "data": question.data,
            "namespace": self._namespace,
            "requester": asker.sid,
            "requesterName": asker.name,
            "requestId": str(number),
        }
        return Deliver(master.peer.sid, question.event, (envelope,), number, seconds)

    def is_answered_by_event(self, *, is_certain: bool) -> bool:
        """Take any SET_ for an answer: there may be no acknowledgement."""
        return True

    def answer(self, request: OpenRequest, answer: Answer | msgspec.Raw) -> list[Effect]:
        """Tell the room and the asker one SET_, unless the master has sent its own."""
        if request.answer_room:
            return []
        master_sid = request.master_sid
        to = [sid for sid in self._rooms.members(request.room) if sid != master_sid]
        if request.asker.sid not in to:
            to.append(request.asker.sid)
        event = events.answer_event(request.event)
        message = events.RoomMessage(event, request.room, None, {})
        fields = {**read_value(answer), "sender": master_sid}
        if request.master is None:
            return self._speech.say(to, message, fields, "")
        peer = request.master.peer
        return self._speech.say(to, message, fields, peer.name, peer.account)

    def refuse(
        self,
        asker: Peer,
        event: str,
        ack: int | None,
        error: RequestError,
        master_sid: str,
    ) -> Effect:
        """Tell the asker alone the failure, as a SET_."""
        return Emit((asker.sid,), events.answer_event(event), (error.answer(),))

    def echo(
        self, request: OpenRequest, message: events.RoomMessage, data: Any, sender: str
    ) -> list[Effect]:
        """Tell the SET_ to the asker alone, if it is neither in the room nor the master."""
        sid = request.asker.sid
        if sid == request.master_sid or sid in self._rooms.members(message.room):
            return []
        return self._speech.tell([sid], message, data, sender, is_echo=True)


class NativeAsCore(Core):
    """Native peers that declared inside ROOM_MESSAGE: asked as core, yet they acknowledge."""

    acknowledges = True

    def is_answered_by_event(self, *, is_certain: bool) -> bool:
        """Wait for the acknowledgement."""
        return False


class Remote(_ShapesAnswers):
    """Peers at another hub, whatever they speak there: what is for them goes to it as a frame.

    Frames are listed in `alephscript.mesh.federation`.

    Args:
        reads_meta: Whether the peer itself reads the meta of events.
    """

    acknowledges = False  # its hub does; of the peer nothing is known but how it has declared

    def __init__(self, *, reads_meta: bool) -> None:
        self.reads_meta = reads_meta
        self.as_core = self

    def ask(
        self, request: OpenRequest, master: Master, left: float, seconds: float | None
    ) -> Effect:
        """Send `ask`."""
        number, question, peer = request.number, request.question, master.peer
        about = _describe(request, left)
        room = request.room or None
        frame = ("ask", number, peer.sid, room, question.event, question.data, about)
        return ToHub(peer.hub, frame, number, seconds)

    def cancel(self, request: OpenRequest, master: Master, reason: str) -> list[Effect]:
        """Send `cancel`."""
        frame = ("cancel", request.number, request.asker.sid, reason)
        return [ToHub(master.peer.hub, frame)]

    def grant(self, request: OpenRequest, master: Master, parts: int) -> list[Effect]:
        """Send `more`."""
        frame = ("more", request.number, request.asker.sid, parts)
        return [ToHub(master.peer.hub, frame)]

    def confirm(self, peer: Peer, payload: Mapping[str, Any]) -> list[Effect]:
        """Send `kept`."""
        return [ToHub(peer.hub, ("kept", peer.sid, payload))]

    def is_answered_by_event(self, *, is_certain: bool) -> bool:
        """Wait for the frame: the master's hub sees the event, and says that there was one."""
        return False

    def answer(self, request: OpenRequest, answer: Answer | msgspec.Raw) -> list[Effect]:
        """Send `answer`."""
        # `OpenRequest.master_sid`, without the call.
        sid = request.master.peer.sid if request.master else ""
        frame = ("answer", request.ack, sid, answer, request.answer_room)
        return [ToHub(request.asker.hub, frame)]

    def refuse(
        self,
        asker: Peer,
        event: str,
        ack: int | None,
        error: RequestError,
        master_sid: str,
    ) -> Effect:
        """Send `answer`, with the failure."""
        return ToHub(asker.hub, ("answer", ack, master_sid, error.answer(), ""))

    def note(self, request: OpenRequest, event: str, data: Any) -> list[Effect]:
        """Send `note`, if the asker can read what comes before an answer."""
        if not self.reads_meta:
            return []
        return [ToHub(request.asker.hub, ("note", request.ack, request.master_sid, event, data))]

    def echo(
        self, request: OpenRequest, message: events.RoomMessage, data: Any, sender: str
    ) -> list[Effect]:
        """Do nothing: the asker's hub learns with the answer that there was an event."""
        return []

    def hand_back(self, request: OpenRequest) -> list[Effect]:
        """Send `lost`, or `cut`: the asker's hub knows better whether, and whom, to ask again."""
        is_cut = request.master is not None and request.master.peer.is_cut
        kind = "cut" if is_cut and "task" in request.meta.extras else "lost"
        return [ToHub(request.asker.hub, (kind, request.ack, request.master_sid))]


class TaskDiary(Protocol):
    """The keeper of what becomes of the requests that tasks ask; see `alephscript.mesh.tasks`."""

    def answered(self, request: OpenRequest, answer: Answer | msgspec.Raw) -> list[Effect]:
        """Take the answer of a request that has ended."""
        ...

    def lost(self, request: OpenRequest) -> list[Effect]:
        """Take a request back that has lost its master."""
        ...

    def noted(self, request: OpenRequest, event: str, data: Any) -> list[Effect]:
        """Take what the master of a request says meanwhile."""
        ...

    def asked(self, question: OpenRequest, seconds: float) -> Effect:
        """Take what the master of a request asks back; the question is a request in turn."""
        ...

    def unasked(self, question: OpenRequest, reason: str) -> list[Effect]:
        """Take notice that nobody waits for the answer to a question any more, and why."""
        ...


class TaskDialect(Dialect):
    """Tasks, which ask as peers do: what they hear goes to the diary.

    Args:
        diary: The keeper of all tasks.
    """

    reads_meta = True
    acknowledges = False

    def __init__(self, diary: TaskDiary) -> None:
        self.as_core = self
        self._diary = diary

    def answer(self, request: OpenRequest, answer: Answer | msgspec.Raw) -> list[Effect]:
        """Give the answer to the diary."""
        return self._diary.answered(request, answer)

    def note(self, request: OpenRequest, event: str, data: Any) -> list[Effect]:
        """Give progress, or a checkpoint, to the diary."""
        return self._diary.noted(request, event, data)

    def hand_back(self, request: OpenRequest) -> list[Effect]:
        """Leave to the diary whether the next master is asked."""
        return self._diary.lost(request)

    def refuse(
        self, asker: Peer, event: str, ack: int | None, error: RequestError, master_sid: str
    ) -> Effect:
        """Do nothing: the task waits on."""
        return Ended(0, None, error.code)

    def echo(
        self, request: OpenRequest, message: events.RoomMessage, data: Any, sender: str
    ) -> list[Effect]:
        """Do nothing: the answer is what counts."""
        return []

    def ask(
        self, request: OpenRequest, master: Master, left: float, seconds: float | None
    ) -> Effect:
        """Give what a master asks back to the diary."""
        return self._diary.asked(request, left)

    def cancel(self, request: OpenRequest, master: Master, reason: str) -> list[Effect]:
        """Tell the diary that a question needs no answer any more."""
        return self._diary.unasked(request, reason)

    def grant(self, request: OpenRequest, master: Master, parts: int) -> NoReturn:
        """See `Dialect.grant`."""
        raise _never_asked()

    def read_answer(self, request: OpenRequest, args: Sequence[Any]) -> NoReturn:
        """See `Dialect.read_answer`."""
        raise _never_asked()

    def is_answered_by_event(self, *, is_certain: bool) -> NoReturn:
        """See `Dialect.is_answered_by_event`."""
        raise _never_asked()


def _never_asked() -> StateError:
    return StateError("a task masters no room, and sends no answers")


class Dialects:
    """The dialects of one mesh, one object each.

    Args:
        rooms: The mesh's rooms.
        speech: Where they are told.
        namespace: The mesh's namespace.

    Attributes:
        native: Of peers that announced `events.PROTOCOL`.
        documented: Of all others at this hub, and of those that have not registered yet.
    """

    def __init__(self, rooms: Rooms, speech: Speech, namespace: str) -> None:
        self.native = Native(NativeAsCore(rooms, speech, namespace))
        self.documented = Documented(Core(rooms, speech, namespace))
        self._remote = {each: Remote(reads_meta=each) for each in (False, True)}

    def choose(self, registration: events.Registration) -> Dialect:
        """Choose the dialect of a peer at this hub by what it registers as."""
        return self.native if registration.is_native else self.documented

    def choose_remote(self, *, reads_meta: bool) -> Dialect:
        """Choose the dialect of a peer at another hub."""
        return self._remote[reads_meta]


def _read_answer(args: Sequence[Any]) -> Answer:
    """Give what a master answered the shape of answers."""
    try:
        return events.normalise([read_value(each) for each in args])
    except RequestError as error:
        return error.answer()


def _describe(request: OpenRequest, left: float) -> About:
    """Describe a request and its asker to the hub of its master."""
    asker, envelope, known = request.asker, request.question.extras, request.asker.identity
    identity = None
    if known is not None:
        rooms = None if known.rooms is None else sorted(known.rooms)
        identity = AboutIdentity(known.usuario, rooms)
    return About(
        asker.sid,
        asker.name,
        asker.reads_meta,
        left,
        request.meta.extras,
        {key: read_value(each) for key, each in envelope.items()} if envelope else _NO_FIELDS,
        identity,
    )


_NO_FIELDS: dict[str, Any] = {}
