"""Requests on their way: asked, put to a master, cancelled, lost, ended. Each ends once.

What holds of an open request: it stands in `Requests._open`, and under its key in the asker's
`Peer.requests`. It has a master, and stands in the `Peer.serving` of that, or it has none, and
stands in `Requests._waiting`.

Work that grows with the requests that others left is done in slices, so that others are served in
between: what is beyond a slice is kept here, and goes on when the shell has carried out `Resume`.

May go in: what becomes of a request. May not: which room answers (`rooms`), nor how a peer is told
(`dialects`). Pure: no socket, no clock. Over 500 lines, because all ends of a request stand here:
that each request has one is seen by reading them together.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec

from alephscript.errors import (
    DeadlineExceeded,
    Internal,
    MasterLost,
    NoAnswerer,
    NoMaster,
    Overloaded,
    RequestError,
)
from alephscript.mesh.believed import with_allowed_priority, with_known_chain
from alephscript.mesh.budget import REQUEST_BYTES, Budget
from alephscript.mesh.effects import Arm, ArmIdle, Effect, Ended, Resume
from alephscript.mesh.hints import with_hint
from alephscript.mesh.meta import RequestMeta
from alephscript.mesh.peers import Master, OpenRequest, Peer
from alephscript.mesh.rooms import Room, Rooms
from alephscript.mesh.waiting import Group, Waiting
from alephscript.mesh.witnesses import Recorder, Witness
from alephscript.protocol import events
from alephscript.protocol.events import Answer, HubEvent

__all__ = ["OK", "Requests", "stand_in"]

OK = "ok"
"""The code of a request that was answered with a success."""

_MOST_LOSSES = 3
"""Masters that a request may lose and still be asked of the next one: each time is dear for a hub,
and cheap for masters that take over from each other by turns."""

_MOST_QUESTIONS = 16
"""Questions that a master may have open about one request: each takes its asker's attention."""

_SLICE = 256
"""Requests that one input puts to a new master, or takes from an old one, before others' turn."""


class Requests:
    """The open requests of a mesh.

    Args:
        rooms: Where masters are found.
        budget: What may be kept of them.
        default_timeout: Seconds that a request may take when its asker names no deadline.
        most: How many requests of one peer may be open.

    Attributes:
        closing: Whether no request is taken any more.
        remaining: Tells how many seconds a request has left; the shell's, as a mesh has no clock
            (decision 0019).
        witness: The one who is told how requests end; None mostly.
        recorder: The one who is told all that becomes of them; None mostly.
        put_tasks: Puts tasks that wait for a master to those of a room.
        late_answers: Answers dropped because their request had ended, or was never their sender's.
    """

    def __init__(self, rooms: Rooms, budget: Budget, *, default_timeout: float, most: int) -> None:
        self.closing = False
        self.remaining: Callable[[int], float] = lambda _: default_timeout
        self.late_answers = 0
        self.witness: Witness | None = None
        self.recorder: Recorder | None = None
        self.put_tasks: Callable[[Room], list[Effect]] = lambda _: []
        self._most = most
        self._rooms = rooms
        self._budget = budget
        self._default_timeout = default_timeout
        self._open: dict[int, OpenRequest] = {}
        self._waiting = Waiting()
        self._ready: dict[int, Group] = {}  # waiting ones that can be put, by id of the group
        self._displaced: deque[tuple[OpenRequest, Master]] = deque()  # beyond a slice, too
        self._is_resuming = False
        self._numbers = itertools.count(1)  # never 0: an ack id 0 confuses other peers

    def __len__(self) -> int:
        return len(self._open)

    def get(self, number: int) -> OpenRequest | None:
        """Get an open request."""
        return self._open.get(number)

    def open_at_hub(self, hub: str) -> list[OpenRequest]:
        """List the open requests that were put to peers of another hub."""
        return [each for each in self._open.values() if each.master and each.master.peer.hub == hub]

    # How a request begins

    def ask(
        self,
        peer: Peer,
        question: events.RoomMessage,
        capability: str,
        named_room: Any,
        ack: int | None,
        meta: RequestMeta,
    ) -> list[Effect]:
        """Put a question to a master, let it wait for one, or refuse it.

        Args:
            peer: The asker.
            question: Event and payload, and further keys of an envelope.
            capability: The capability that the event asks for.
            named_room: The room that was named, any JSON; None leaves the choice to the hub.
            ack: The asker's acknowledgement id, None if it wants no acknowledgement.
            meta: What the asker says besides.
        """
        seconds = self._default_timeout if meta.seconds is None else meta.seconds
        room = None
        try:
            try:
                room = self._rooms.choose_room(peer, capability, named_room)
            except NoMaster as error:
                # A hub that closes has handed its masters over, and refuses what it is asked below.
                if not (meta.wait or self.closing):
                    raise with_hint(error, self._rooms, peer, capability, named_room) from None
            request = self._begin(peer, question, capability, named_room, ack, meta, seconds)
        except RequestError as error:
            return self._refuse(peer, question.event, named_room, ack, error)
        if room is None:
            self._waiting.add(request)
            effects: list[Effect] = [Arm(request.number, seconds)]
            return effects if meta.idle is None else [*effects, ArmIdle(request.number, meta.idle)]
        serving = room.masters.serving
        # No call where there is nothing to pick, as mostly.
        master = serving[0] if len(serving) == 1 else room.masters.pick(capability)
        assert master is not None
        request.room = room.name
        room.active_at = self._rooms.now
        if meta.idle is not None:
            put = self._put(request, master, seconds, seconds)
            return [put, ArmIdle(request.number, meta.idle)]
        return [self._put(request, master, seconds, seconds)]

    def ask_member(
        self,
        peer: Peer,
        question: events.RoomMessage,
        member: Peer | None,
        ack: int | None,
        meta: RequestMeta,
    ) -> list[Effect]:
        """Ask a member about itself; see `events.MEMBER_EVENTS`.

        Args:
            peer: The asker.
            question: Event and payload.
            member: The member, None if there is none that the asker may know of.
            ack: The asker's acknowledgement id, None if it wants no acknowledgement.
            meta: What the asker says besides.
        """
        if member is None or not member.reads_meta:
            error = NoMaster("there is no such member, or it answers nothing about itself")
            return self._refuse(peer, question.event, None, ack, error)
        return self.ask_master(peer, question, stand_in(member), ack, meta)

    def ask_master(
        self,
        peer: Peer,
        question: events.RoomMessage,
        master: Master,
        ack: int | None,
        meta: RequestMeta,
    ) -> list[Effect]:
        """Put a question to a master that is chosen already.

        Args:
            peer: The asker.
            question: Event and payload, and further keys of an envelope.
            master: The declaration that is to answer it.
            ack: The asker's acknowledgement id, None if it wants no acknowledgement.
            meta: What the asker says besides.
        """
        seconds = self._default_timeout if meta.seconds is None else meta.seconds
        # `events.capability_name`, without the call.
        capability = question.event.removeprefix("GET_")
        try:
            request = self._begin(peer, question, capability, None, ack, meta, seconds)
        except RequestError as error:
            room = master.declared.room
            return self._refuse(peer, question.event, room, ack, error, master.peer.sid)
        return [self._put(request, master, seconds, seconds)]

    def ask_back(
        self,
        peer: Peer,
        question: events.RoomMessage,
        about: OpenRequest | None,
        ack: int | None,
        meta: RequestMeta,
    ) -> list[Effect]:
        """Put a question of a master to the asker of a request that the master serves.

        A question is a request in the other direction, so that deadline, cancelling and loss hold
        of it as of any (decision 0042). It ends with the request that it is about.

        Args:
            peer: The master.
            question: Event and payload.
            about: The request; None if the master serves none of that name.
            ack: The master's acknowledgement id, None if it wants no acknowledgement.
            meta: What the master says besides.
        """
        try:
            if about is None:
                raise NoAnswerer("the request that the question is about has ended")
            takes_questions = "answers" in about.meta.extras and about.asker.reads_meta
            if about.ack is None or not takes_questions:
                raise NoAnswerer(f"the asker of {about.event} takes no questions")
            if about.questions is None:
                about.questions = {}
            if len(about.questions) >= _MOST_QUESTIONS:
                message = f"{_MOST_QUESTIONS} questions about this request are open already"
                raise Overloaded(message, _NOT_DELIVERED)
            # The asker's number of the request; and what the asker asks to find its answer leads
            # back here, and must not wait for the end of what waits for it.
            extras = {"request": about.ack, "chain": meta.extras["chain"]}
            left = self.remaining(about.number)
            seconds = left if meta.seconds is None else min(meta.seconds, left)
            meta = RequestMeta(seconds=seconds, extras=extras)
            capability = events.capability_name(question.event)
            request = self._begin(peer, question, capability, None, ack, meta, seconds)
        except RequestError as error:
            return self._refuse(peer, question.event, None, ack, error)
        request.about = about
        about.questions[request.number] = request
        effects: list[Effect] = [self._put(request, stand_in(about.asker), seconds, seconds)]
        if about.meta.idle is not None:
            effects.append(ArmIdle(about.number, None))
        return effects

    def take_up(
        self,
        peer: Peer,
        question: events.RoomMessage,
        master: Master,
        ack: int,
        meta: RequestMeta,
    ) -> list[Effect]:
        """Open a request that its master has already, from before another hub, or link, was lost.

        Args:
            peer: The asker.
            question: Event, room and payload.
            master: The declaration that is to answer it.
            ack: The asker's acknowledgement id.
            meta: What the asker says besides, the remaining seconds in any case.
        """
        capability = events.capability_name(question.event)
        seconds = meta.seconds
        assert seconds is not None
        request = self._begin(peer, question, capability, None, ack, meta, seconds)
        self._put(request, master, seconds, seconds)
        return [Arm(request.number, seconds)]

    def _begin(
        self,
        peer: Peer,
        question: events.RoomMessage,
        capability: str,
        named_room: Any,
        ack: int | None,
        meta: RequestMeta,
        seconds: float,
    ) -> OpenRequest:
        """Open a request, yet without a master.

        Raises:
            DeadlineExceeded: The deadline has passed already.
            Overloaded: The hub is closing, or the asker has too many open requests, or they take
                too much memory.
            Conflict: Too many requests stand inside each other.
        """
        requests = peer.requests
        if seconds <= 0:
            raise DeadlineExceeded("the deadline had passed already", [{"delivered": False}])
        if self.closing:
            raise Overloaded("the hub is closing", [{"delivered": False}])
        if len(requests) >= self._most:
            message = f"{self._most} requests of this client wait for an answer already"
            raise Overloaded(message, [{"delivered": False}])
        if meta.extras:
            if "chain" in meta.extras:
                meta = with_known_chain(peer, meta)
            if "priority" in meta.extras:
                meta = with_allowed_priority(peer, meta)
        # Counted here, and in `forget`, without a call: see `Account`.
        account, size = peer.account, REQUEST_BYTES + self._budget.message_bytes
        kept = account.kept + size
        if kept > account.granted and not account.borrow(size):
            message = "what waits of this client's requests takes too much memory already"
            raise Overloaded(message, [{"delivered": False}])
        account.kept = kept
        number = next(self._numbers)
        # An asker's own number is not trusted to be new. Without one, a negative key: no
        # acknowledgement id is negative, so nobody can cancel by it.
        key = -number if ack is None or ack in requests else ack
        request = OpenRequest(
            number, key, peer, ack, capability, question, named_room, meta, question.room
        )
        request.size = size
        self._open[number] = requests[key] = request
        return request

    def _put(
        self, request: OpenRequest, master: Master, left: float, seconds: float | None
    ) -> Effect:
        """Put a request to a master; see `Dialect.ask`."""
        peer = master.peer
        request.master = master
        peer.serving[request.number] = request
        if peer.served is not None:
            peer.served.add(request)
        if request.meta.extras:
            request.credit = request.meta.extras.get("parts", 0)
        if self.recorder is not None:
            self.recorder.put(request)
        # `Master.dialect`, without the call.
        dialect = peer.dialect.as_core if master.is_core else peer.dialect
        return dialect.ask(request, master, left, seconds)

    # How it waits

    def put_waiting(self, room: Room) -> list[Effect]:
        """Put waiting requests to the masters of a room that were declared or decided just now.

        Requests that only waited for that decision end if nobody serves them.
        """
        effects = self.put_tasks(room)
        for group in self._waiting.find(room):
            self._ready[id(group)] = group
        # What is under way already goes on when others have had their turn.
        return effects if self._is_resuming else effects + self.resume()

    def resume(self) -> list[Effect]:
        """Go on with what was left for later: the next slice of it."""
        self._is_resuming = False
        effects: list[Effect] = []
        left = _SLICE
        while self._displaced and left:
            left -= 1
            request, master = self._displaced.popleft()
            if request.master is master and request.number in self._open:
                effects += self._displace(request)
        while self._ready and left:
            key, group = next(iter(self._ready.items()))
            requests = list(itertools.islice(group.values(), left))
            left -= len(requests)
            for request in requests:
                effects += self._put_ready(request)
                if request in self._waiting:
                    # Nobody serves this one, and so none of the group.
                    requests.clear()
                    break
            if not requests or not group:
                del self._ready[key]
        return effects + self._left_for_later()

    def _left_for_later(self) -> list[Effect]:
        if self._is_resuming or not (self._displaced or self._ready):
            return []
        self._is_resuming = True
        return [Resume()]

    def _put_ready(self, request: OpenRequest) -> list[Effect]:
        try:
            return [self._put_again(request)]
        except RequestError as error:
            if request.meta.wait and isinstance(error, NoMaster):
                return []
            return self.end(request, error.answer())  # a master came that the asker may not ask

    def put_or_end(self, request: OpenRequest) -> list[Effect]:
        """Put a request that was taken back; without `wait` it ends if there is no master."""
        return self._put_ready(request)

    def take_back(self, request: OpenRequest) -> None:
        """Keep a request that never reached its master, for the next one."""
        assert request.master is not None
        _release(request, request.master.peer)
        request.master = None
        self._waiting.add(request)

    def _put_again(self, request: OpenRequest) -> Effect:
        """Put a request to the master that serves now, until the deadline that it has.

        Raises:
            RequestError: No master serves it; see `Rooms.choose_room`. Nothing has changed.
        """
        number, capability = request.number, request.capability
        room = self._rooms.choose_room(request.asker, capability, request.named_room)
        if request.master is not None:
            _release(request, request.master.peer)
        self._waiting.remove(request)
        master = room.masters.pick(capability)
        assert master is not None
        request.room = room.name
        return self._put(request, master, self.remaining(number), None)

    # What is said meanwhile

    def grant(self, request: OpenRequest, parts: int) -> list[Effect]:
        """Let the master of a request send so many further parts of its answer."""
        if request.master is None:
            return []
        was_slow, request.credit = request.credit <= 0, request.credit + parts
        effects = request.master.dialect.grant(request, request.master, parts)
        if was_slow and request.meta.idle is not None and not request.questions:
            # The turn of its master begins, with all its time.
            return [*effects, ArmIdle(request.number, request.meta.idle)]
        return effects

    def spend(self, request: OpenRequest) -> list[Effect] | None:
        """Count a part that a master here sends; end the request if nobody has granted the part.

        Returns:
            None if the part was granted; else the effects of the end. An asker keeps what it has
            not read yet, so that a master that does not wait for credit would fill its memory.
        """
        request.credit -= 1
        if request.credit >= 0:
            return None
        error = Internal(f"{request.room} sent more parts of {request.event} than it was granted")
        return self._tell_cancelled(request, "overrun") + self.end(request, error.answer())

    # How it ends

    def lose(self, request: OpenRequest, why: str) -> list[Effect]:
        """End a request whose master will not answer, or put it to the next if that does no harm.

        Args:
            request: The request.
            why: Why the master will not answer, the beginning of a sentence.
        """
        master = request.master
        if request.number not in self._open:
            return []  # it ended with another one, just now
        assert master is not None
        handed_back = request.dialect.hand_back(request)
        if handed_back:
            return [*self.forget(request, MasterLost.code), *handed_back]
        if request.about is not None:
            return self.end(request, NoAnswerer("the asker is gone").answer())
        effects = self._end_questions(request) if request.questions else []
        request.losses += 1
        # Nothing else runs twice (decision 0020), and nothing as often as somebody wants.
        if master.is_idempotent(request.capability) and request.losses <= _MOST_LOSSES:
            try:
                return [*effects, self._put_again(request)]
            except NoMaster:
                if request.meta.wait:
                    self.take_back(request)
                    return effects
            except RequestError:
                pass
        error = MasterLost(f"{why}; {request.event} may have run", [{"delivered": True}])
        return effects + self.end(request, error.answer())

    def displace(self, peer: Peer, room: str) -> list[Effect]:
        """Lose the requests of a room that a peer was to answer: another master took over."""
        effects: list[Effect] = []
        for request in peer.find_served().in_room(room) if peer.serving else ():
            if len(effects) < _SLICE:
                effects += self._displace(request)
            elif request.master is not None:
                self._displaced.append((request, request.master))
        return effects + self._left_for_later()

    def _displace(self, request: OpenRequest) -> list[Effect]:
        why = f"another master took over {request.room}"
        return self._tell_cancelled(request, "displaced") + self.lose(request, why)

    def abandon(self, peer: Peer) -> list[Effect]:
        """Cancel the requests of an asker that is gone."""
        effects: list[Effect] = []
        for request in list(peer.requests.values()):
            if request.number not in self._open:
                continue  # a question about one of its others, which it has asked itself
            if request.questions:
                effects += self._end_questions(request, peer)
            if request.master is not None and request.master.peer is peer:
                effects += self.forget(request, "asker_lost")  # there is no master to be told
            else:
                effects += self.cancel(request, "asker_lost")
        return effects

    def cancel(self, request: OpenRequest, reason: str) -> list[Effect]:
        """End a request that nobody waits for any more, and tell its master."""
        return self._tell_cancelled(request, reason) + self.forget(request, reason)

    def expire(self, request: OpenRequest) -> list[Effect]:
        """End a request whose deadline has passed, and tell both sides."""
        if request.about is not None:
            message = f"the asker of {request.about.event} did not answer the question in time"
        elif request.master is None:
            message = f"nobody came in time to answer {request.event}"
        else:
            message = f"{request.room} did not answer {request.event} in time"
        error = DeadlineExceeded(message, [{"delivered": request.master is not None}])
        return self._tell_cancelled(request, "deadline") + self.end(request, error.answer())

    def note_life(self, request: OpenRequest, event: str) -> list[Effect]:
        """Let a request go on of which its asker wants a sign of life, and that has given one.

        Args:
            request: A request with `RequestMeta.idle`.
            event: The sign, a part or progress.
        """
        if (
            event == HubEvent.REQUEST_PART
            and request.master is not None
            and request.master.peer.hub
        ):
            request.credit -= 1  # the hub of its master counts, too, but tells nobody
        return [] if request.questions else [ArmIdle(request.number, request.meta.idle)]

    def give_up(self, request: OpenRequest) -> list[Effect]:
        """End a request that has given no sign of life for too long, and tell both sides."""
        idle = request.meta.idle
        if "parts" in request.meta.extras and request.credit <= 0:
            return [ArmIdle(request.number, idle)]  # its asker is slow: the next part is for later
        where = request.room or "a master"
        message = f"{where} gave no sign of life of {request.event} for {idle:g} s"
        details = [{"delivered": request.master is not None, "idle": True}]
        answer = DeadlineExceeded(message, details).answer()
        return self._tell_cancelled(request, "deadline") + self.end(request, answer)

    def end(self, request: OpenRequest, answer: Answer | msgspec.Raw) -> list[Effect]:
        """End a request with an answer; one that is passed on unread is a success."""
        if isinstance(answer, msgspec.Raw) or answer.get("success") is True:
            code = OK
        else:
            code = str(answer.get("code"))
        if self.recorder is not None:
            self.recorder.answered(request, answer)
        effects = self.forget(request, code)
        # `OpenRequest.dialect`, without the call.
        dialect = request.asker.dialect
        if request.ack is None:
            dialect = dialect.as_core
        effects += dialect.answer(request, answer)
        return effects

    def forget(self, request: OpenRequest, code: str) -> list[Effect]:
        """End a request, and tell nobody.

        Args:
            request: An open request.
            code: How it ended: ``ok``, or an error's code.
        """
        number, master = request.number, request.master
        if self.witness is not None:
            self.witness.ended(request, code)
        if self.recorder is not None:
            self.recorder.ended(request, code)
        del self._open[number]
        account = request.asker.account
        account.kept -= request.size
        if account.kept < account.enough:
            account.give_back()
        request.asker.requests.pop(request.key, None)
        capability = None
        if master is None:
            self._waiting.remove(request)
        else:
            # `_release`, without the call.
            peer = master.peer
            peer.serving.pop(number, None)
            if peer.served is not None:
                _unlist(request, peer)
            if request.capability in master.offers:
                capability = request.capability
        about = request.about
        if about is not None:
            assert about.questions is not None
            del about.questions[number]
            if about.meta.idle is not None and not about.questions:
                return [Ended(number, capability, code), ArmIdle(about.number, about.meta.idle)]
        elif request.questions:
            return [*self._end_questions(request), Ended(number, capability, code)]
        return [Ended(number, capability, code)]

    def _end_questions(self, request: OpenRequest, gone: Peer | None = None) -> list[Effect]:
        """End what a master asks about a request that it serves no more.

        Args:
            request: The request.
            gone: The peer that cannot be told anything any more, if it is one of the two.
        """
        assert request.questions is not None
        questions, request.questions = request.questions, None
        effects: list[Effect] = []
        answer = NoAnswerer("the request that the question is about has ended").answer()
        for question in questions.values():
            question.about = None
            if request.asker is not gone:
                effects += self._tell_cancelled(question, "cancelled")
            if question.asker is gone:
                effects += self.forget(question, "asker_lost")
            else:
                effects += self.end(question, answer)
        return effects

    def _refuse(
        self,
        peer: Peer,
        event: str,
        named_room: Any,
        ack: int | None,
        error: RequestError,
        master_sid: str = "",
    ) -> list[Effect]:
        """Tell an asker that nobody was asked; see `Dialect.refuse`."""
        if self.witness is not None:
            self.witness.refused(peer, event, named_room, error.code)
        if self.recorder is not None:
            self.recorder.refused(peer, event, named_room, error.code)
        dialect = peer.dialect.as_core if ack is None else peer.dialect
        return [Ended(0, None, error.code), dialect.refuse(peer, event, ack, error, master_sid)]

    def _tell_cancelled(self, request: OpenRequest, reason: str) -> list[Effect]:
        master = request.master
        return [] if master is None else master.dialect.cancel(request, master, reason)


_NOT_DELIVERED = [{"delivered": False}]


def stand_in(member: Peer) -> Master:
    """Make the declaration of a member that is asked about itself: of no room, offering nothing."""
    return Master(member, events.Declaration("", ()), is_core=False)


def _release(request: OpenRequest, peer: Peer) -> None:
    """Have a peer not answer a request any more."""
    peer.serving.pop(request.number, None)
    if peer.served is not None:
        _unlist(request, peer)


def _unlist(request: OpenRequest, peer: Peer) -> None:
    assert peer.served is not None
    peer.served.remove(request)
    if not peer.serving:
        peer.served = None
