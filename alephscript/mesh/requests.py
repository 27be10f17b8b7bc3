"""Requests on their way: asked, passed on, cancelled, lost, ended. Each ends once.

Pure: no socket, no clock.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from alephscript.errors import (
    Conflict,
    DeadlineExceeded,
    MasterLost,
    NoMaster,
    Overloaded,
    RequestError,
)
from alephscript.mesh.effects import Acknowledge, Arm, Deliver, Effect, Emit, Ended, ToHub
from alephscript.mesh.masters import Master
from alephscript.mesh.rooms import Peer, Room, Rooms
from alephscript.protocol import events
from alephscript.protocol.events import Answer, HubEvent
from alephscript.protocol.json import parse_json, read_value

__all__ = [
    "NO_META",
    "OK",
    "OpenRequest",
    "RequestMeta",
    "Requests",
    "answer_of",
    "cancellation",
    "is_count",
    "meta_of",
    "request_of",
]


class OpenRequest(msgspec.Struct, eq=False):
    """A question on its way.

    Attributes:
        number: Its number, unique at this hub.
        key: Where it is in its asker's table.
        asker: Who asks.
        ack: The asker's acknowledgement id, None if it wants none.
        capability: What it asks for.
        question: What is passed on: its event, its payload, the envelope's further keys.
        wanted: The room that the asker named.
        meta: What the asker says about it, checked.
        room: The room that was asked, as far as it is known.
        master: Who is to answer it; None while it waits for somebody.
        answer_seen: Whether a SET_ of the master told the asker already.
    """

    number: int
    key: int
    asker: Peer
    ack: int | None
    capability: str
    question: events.RoomMessage
    wanted: Any
    meta: RequestMeta
    room: str
    master: Master[Peer] | None = None
    answer_seen: bool = False

    @property
    def event(self) -> str:
        """``GET_`` and the capability."""
        return self.question.event

    @property
    def own_id(self) -> Any:
        """What the asker marked its question with, for masters that know no numbers."""
        try:
            payload = read_value(self.question.data)
        except RequestError:
            return None
        return payload.get("requestId") if isinstance(payload, dict) else None


class RequestMeta(msgspec.Struct, frozen=True, eq=False):
    """What an asker says about its request.

    Attributes:
        room: The room to ask, any JSON.
        seconds: How long it waits, None for as long as the hub does.
        wait: Whether it waits for somebody who offers it.
        extras: What only its master reads.
        member: Socket id of the member that is asked about itself, any JSON.
    """

    room: Any = None
    seconds: float | None = None
    wait: bool = False
    extras: dict[str, Any] = {}
    member: Any = None


NO_META = RequestMeta()
OK = "ok"
"""How a request ended that was answered with a success."""

_MOST_PARTS = 1024
_LONGEST_CHAIN = 16
_OFTEN = 64
"""Bytes of a meta that others may repeat: a longer one has a chain or a trace of its own."""


class Requests:
    """The open requests of a mesh.

    Args:
        rooms: Where masters are found, and those who hear answers.
        namespace: The mesh's, as stock masters are told it.
        default_timeout: Seconds that a request may take when its asker names none.
        most: How many of one peer may wait for an answer.

    Attributes:
        closing: Whether no request is taken any more.
        remaining: Tells how many seconds a request has left; the shell's, as a mesh has no clock.
    """

    def __init__(self, rooms: Rooms, *, namespace: str, default_timeout: float, most: int) -> None:
        self._most = most
        self.closing = False
        self.remaining: Callable[[int], float] = lambda _: default_timeout
        self._rooms = rooms
        self._namespace = namespace.strip("/")
        self._default_timeout = default_timeout
        self._open: dict[int, OpenRequest] = {}
        self._waiting: dict[int, OpenRequest] = {}  # those of them that nobody was asked yet
        self._numbers = itertools.count(1)  # never 0: an ack id 0 confuses stock peers

    def __len__(self) -> int:
        return len(self._open)

    def get(self, number: int) -> OpenRequest | None:
        """An open request."""
        return self._open.get(number)

    def ask(
        self,
        peer: Peer,
        question: events.RoomMessage,
        wanted: Any,
        ack: int | None,
        meta: RequestMeta,
    ) -> list[Effect]:
        """A question came: pass it on, keep it until somebody comes, or refuse it.

        Args:
            peer: Who asks.
            question: What, and with which keys of an envelope.
            wanted: The room that was named, any JSON; None leaves it to the hub.
            ack: The asker's acknowledgement id, None if it wants none.
            meta: What else the asker says.
        """
        capability = events.capability_name(question.event)
        room = None
        try:
            room = self._rooms.that_answers(peer, capability, wanted)
        except NoMaster as error:
            if not meta.wait:
                return _refused(peer, question.event, ack, error)
        except RequestError as error:
            return _refused(peer, question.event, ack, error)
        seconds = self._default_timeout if meta.seconds is None else meta.seconds
        if seconds <= 0 or self.closing or meta.extras or len(peer.asked) >= self._most:
            refusal = self._refusal(peer, meta, seconds)
            if refusal is not None:
                return _refused(peer, question.event, ack, refusal)
        request = self._made(peer, ack, capability, question, wanted, meta)
        if room is None:
            self._waiting[request.number] = request
            return [Arm(request.number, seconds)]
        return [self._pass_on(request, room, seconds, seconds)]

    def ask_member(
        self,
        peer: Peer,
        question: events.RoomMessage,
        member: Peer | None,
        ack: int | None,
        meta: RequestMeta,
    ) -> list[Effect]:
        """Ask a member about itself; see `events.MEMBER_EVENTS`."""
        seconds = self._default_timeout if meta.seconds is None else meta.seconds
        refusal = self._refusal(peer, meta, seconds)
        if member is None or not member.speaks_meta:
            refusal = NoMaster("there is no such member, or it answers nothing about itself")
        if refusal is not None or member is None:
            return _refused(peer, question.event, ack, refusal or NoMaster())
        master = Master(member, events.Declaration("", ()), by_envelope=False)
        capability = events.capability_name(question.event)
        request = self._made(peer, ack, capability, question, None, meta)
        return [self._put(request, master, seconds, seconds)]

    def serve(
        self,
        peer: Peer,
        question: events.RoomMessage,
        master: Master[Peer],
        ack: int,
        meta: RequestMeta,
    ) -> list[Effect]:
        """Another hub's peer asks a master here, which its hub has chosen."""
        seconds = self._default_timeout if meta.seconds is None else meta.seconds
        refusal = self._refusal(peer, meta, seconds)
        if refusal is not None:
            answer = ("answer", ack, master.peer.sid, refusal.answer(), False)
            return [Ended(0, None, refusal.code), ToHub(peer.hub or "", answer)]
        capability = events.capability_name(question.event)
        request = self._made(peer, ack, capability, question, None, meta)
        return [self._put(request, master, seconds, seconds)]

    def _made(
        self,
        peer: Peer,
        ack: int | None,
        capability: str,
        question: events.RoomMessage,
        wanted: Any,
        meta: RequestMeta,
    ) -> OpenRequest:
        number, asked = next(self._numbers), peer.asked
        key = -number if ack is None or ack in asked else ack
        request = OpenRequest(
            number, key, peer, ack, capability, question, wanted, meta, question.room
        )
        self._open[number] = asked[key] = request
        return request

    def _refusal(self, peer: Peer, meta: RequestMeta, seconds: float) -> RequestError | None:
        if seconds <= 0:
            return DeadlineExceeded("the deadline had passed already", [{"delivered": False}])
        if self.closing:
            return Overloaded("the hub is closing", [{"delivered": False}])
        if len(peer.asked) >= self._most:
            message = f"{self._most} requests of this client wait for an answer already"
            return Overloaded(message, [{"delivered": False}])
        if len(meta.extras.get("chain", ())) > _LONGEST_CHAIN:
            return Conflict(f"more than {_LONGEST_CHAIN} requests inside each other: a loop?")
        return None

    def _pass_on(
        self, request: OpenRequest, room: Room, left: float, seconds: float | None
    ) -> Effect:
        """Ask a master of a room.

        Args:
            request: What is to be asked.
            room: A room with a master.
            left: Seconds until the deadline.
            seconds: The same, if the deadline is still to be set.
        """
        master = room.masters.pick(request.capability)
        assert master is not None
        request.room = room.name
        return self._put(request, master, left, seconds)

    def _put(
        self, request: OpenRequest, master: Master[Peer], left: float, seconds: float | None
    ) -> Effect:
        """Put a request to a master, here or at another hub; see `_pass_on`."""
        number, room, peer = request.number, request.room, master.peer
        question = request.question
        event = question.event
        request.master = master
        peer.serving[number] = request
        if peer.hub is not None:
            about = _about(request, left)
            frame = ("ask", number, peer.sid, room or None, event, question.data, about)
            return ToHub(peer.hub, frame, number, seconds)
        args: tuple[Any, ...]
        if peer.speaks_meta and not master.by_envelope:
            meta = {
                "id": str(number),
                "room": room,
                "caller": request.asker.caller,
                "timeoutMs": round(left * 1000),
            }
            if request.meta.extras:
                meta |= request.meta.extras
            args = (question.data, meta)
        else:
            args = (question.data,)
            if master.by_envelope:
                args = (
                    {
                        **question.extras,
                        "event": event,
                        "room": room,
                        "data": question.data,
                        "namespace": self._namespace,
                        "requester": request.asker.sid,
                        "requesterName": request.asker.name,
                        "requestId": str(number),
                    },
                )
        return Deliver(peer.sid, event, args, number, seconds)

    def at(self, hub: str) -> list[OpenRequest]:
        """The open requests that were put to peers of another hub."""
        return [
            each
            for each in self._open.values()
            if each.master is not None and each.master.peer.hub == hub
        ]

    def undelivered(self, request: OpenRequest) -> None:
        """Whoever was to be asked never was: keep it for who serves next."""
        assert request.master is not None
        request.master.peer.serving.pop(request.number, None)
        request.master = None
        self._waiting[request.number] = request

    def ask_who_waits(self) -> list[Effect]:
        """Others master a room now: pass on what they can answer, end what only waited to see."""
        effects: list[Effect] = []
        for request in list(self._waiting.values()):
            try:
                room = self._rooms.that_answers(request.asker, request.capability, request.wanted)
            except RequestError as error:
                if not request.meta.wait:
                    effects += self.end(request, error.answer())
                continue
            del self._waiting[request.number]
            left = self.remaining(request.number)
            effects.append(self._pass_on(request, room, left, None))
        return effects

    # How it ends

    def lost(self, request: OpenRequest, why: str) -> list[Effect]:
        """A request's master will not answer: ask the next one if that does no harm."""
        lost = request.master
        assert lost is not None
        if request.asker.hub is not None:
            # Its hub knows better whether, and whom, to ask again.
            frame = ("lost", request.ack, lost.peer.sid)
            return [*self.forget(request, "master_lost"), ToHub(request.asker.hub, frame)]
        lost.peer.serving.pop(request.number, None)
        request.master = None
        if lost.is_idempotent(request.capability):
            try:
                room = self._rooms.that_answers(request.asker, request.capability, request.wanted)
            except NoMaster:
                if request.meta.wait:
                    self._waiting[request.number] = request
                    return []
            except RequestError:
                pass
            else:
                return [self._pass_on(request, room, self.remaining(request.number), None)]
        error = MasterLost(f"{why}; {request.event} may have run", [{"delivered": True}])
        request.master = lost
        return self.end(request, error.answer())

    def end(self, request: OpenRequest, answer: Answer | msgspec.Raw) -> list[Effect]:
        """Answer a request, in the way its asker can hear."""
        effects = self.forget(request, code_of(answer))
        if request.asker.hub is not None:
            sid = request.master.peer.sid if request.master else ""
            frame = ("answer", request.ack, sid, answer, request.answer_seen)
            effects.append(ToHub(request.asker.hub, frame))
        elif request.ack is not None:
            effects.append(Acknowledge(request.asker.sid, request.ack, answer))
        elif not request.answer_seen:
            master = request.master
            master_sid = master.peer.sid if master else ""
            heard = [member for member in self._rooms.members(request.room) if member != master_sid]
            if request.asker.sid not in heard:
                heard.append(request.asker.sid)
            event = events.answer_event(request.event)
            message = events.RoomMessage(event, request.room, None, {})
            fields = {**read_value(answer), "sender": master_sid}
            effects += self._rooms.say(heard, message, fields, master.peer.name if master else "")
        return effects

    def forget(self, request: OpenRequest, code: str) -> list[Effect]:
        """A request has ended; nobody is told.

        Args:
            request: An open one.
            code: How it ended: ``ok``, or an error's code.
        """
        number, master = request.number, request.master
        del self._open[number]
        request.asker.asked.pop(request.key, None)
        capability = None
        if master is None:
            self._waiting.pop(number, None)
        else:
            master.peer.serving.pop(number, None)
            if request.capability in master.offers:
                capability = request.capability
        return [Ended(number, capability, code)]


def _refused(peer: Peer, event: str, ack: int | None, error: RequestError) -> list[Effect]:
    """Tell an asker, in the way it can hear, that nobody was asked."""
    told: Effect
    if ack is not None:
        told = Acknowledge(peer.sid, ack, error.answer())
    else:
        told = Emit((peer.sid,), events.answer_event(event), (error.answer(),))
    return [Ended(0, None, error.code), told]


def code_of(answer: Answer | msgspec.Raw) -> str:
    """How a request ended, by its answer; what is passed on unread is a success."""
    if isinstance(answer, msgspec.Raw) or answer.get("success") is True:
        return OK
    return str(answer.get("code"))


def meta_of(unread: Any) -> RequestMeta:
    """What an asker says about its request; what it says wrongly counts as not said."""
    if isinstance(unread, msgspec.Raw):
        text = bytes(unread)
        return _unread_meta(text) if len(text) <= _OFTEN else _checked_meta(parse_json(text))
    return _checked_meta(unread)


@functools.lru_cache(maxsize=1024)
def _unread_meta(text: bytes) -> RequestMeta:
    """Most askers say nothing but how long they wait, and that is mostly the same."""
    return _checked_meta(parse_json(text))


def _checked_meta(said: Any) -> RequestMeta:
    if not isinstance(said, dict):
        return NO_META
    timeout = said.get("timeoutMs")
    seconds = None
    if isinstance(timeout, int | float) and not isinstance(timeout, bool):
        # An integer has no end, on either side.
        seconds = max(0, min(timeout, events.LONGEST_TIMEOUT * 1000)) / 1000
    extras = _NOTHING
    if "parts" in said or "chain" in said:
        parts, chain = said.get("parts"), said.get("chain")
        extras = {"parts": parts} if is_count(parts) else {}
        if isinstance(chain, list) and all(isinstance(each, str) for each in chain):
            extras["chain"] = chain
    if "traceparent" in said:
        extras = {**extras, **events.parse_trace_context(said)}
    return RequestMeta(
        said.get("room"), seconds, said.get("wait") is True, extras, said.get("member")
    )


def is_count(parts: Any) -> bool:
    """Whether that many parts of an answer may be granted at once."""
    return type(parts) is int and 0 < parts <= _MOST_PARTS


def request_of(peer: Peer, said: Any) -> OpenRequest | None:
    """The request that an asker means by its own acknowledgement id."""
    number = said.get("request") if isinstance(said, dict) else None
    return peer.asked.get(number) if type(number) is int and number >= 0 else None


def _about(request: OpenRequest, left: float) -> dict[str, Any]:
    """What a master's hub has to know of a request besides."""
    asker = request.asker
    identity = None
    if asker.identity is not None:
        rooms = asker.identity.rooms
        identity = {
            "usuario": asker.identity.usuario,
            "rooms": None if rooms is None else sorted(rooms),
        }
    return {
        "sid": asker.sid,
        "name": asker.name,
        "identity": identity,
        "meta": asker.speaks_meta,
        "seconds": left,
        "extras": request.meta.extras,
        "envelope": {key: read_value(each) for key, each in request.question.extras.items()},
    }


def cancellation(request: OpenRequest, reason: str) -> list[Effect]:
    """Tell a master that nobody waits any more, if it understands that."""
    master = request.master
    if master is None:
        return []
    if master.peer.hub is not None:
        frame = ("cancel", request.number, request.asker.sid, reason)
        return [ToHub(master.peer.hub, frame)]
    if not master.peer.speaks_meta or master.by_envelope:
        return []
    told = {"id": str(request.number), "reason": reason}
    return [Emit((master.peer.sid,), HubEvent.CANCEL_REQUEST, (told,))]


def answer_of(request: OpenRequest, args: Sequence[Any]) -> Answer | msgspec.Raw:
    """What a master answered, in the shape of answers; a success of our own has it already."""
    master = request.master
    if request.ack is not None and master and master.peer.speaks_meta and len(args) == 1:
        (only,) = args
        if isinstance(only, msgspec.Raw) and bytes(only).startswith(_SHAPED):
            return only
    try:
        return events.normalise([read_value(each) for each in args])
    except RequestError as error:
        return error.answer()


_SHAPED = (b'{"success":true,', b'{"success":true}')

_NOTHING: dict[str, Any] = {}
