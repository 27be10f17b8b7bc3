"""Routing, whatever arrives in whatever order.

A `RuleBasedStateMachine` plays every kind of peer against one `Mesh` and keeps its own, much
simpler books: which acknowledgements are owed, which requests are open, who is alive.
"""

from __future__ import annotations

import itertools
import math
from collections import deque
from enum import Enum
from typing import TYPE_CHECKING, Any

import attrs
import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from alephscript.mesh.effects import Acknowledge, Arm, Deliver, Effect, Emit, Ended, Keep, Look
from alephscript.mesh.mesh import Mesh
from alephscript.protocol import events
from alephscript.protocol.json import read_value, write_json
from tests.support.properties import examples

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

pytestmark = pytest.mark.timeout(300)  # the lives of the full run take a minute where CI is busy

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.sampled_from([10**400, -(10**400)])
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=5,
)
ROOMS = ("AAIA_ROOM", "B", "C")
FEATURES = ("X", "Y", "GET_Z")
ASKED = ("GET_X", "GET_Y", "GET_Z")
EVENTS = (
    *(event for event in events.HubEvent if not event.startswith("TASK_")),  # a journal's matter
    *ASKED,
    "GET_UNHEARD_OF",
    "GET_",
    "SET_X",
    "SET_",
    "FIA_STEP",
    "connect",
)
IDS = ("q1", "q2")

# Payloads that are almost right: every key that the hub reads, with anything in it.
ALMOST = st.fixed_dictionaries(
    {},
    optional={
        "usuario": JSON | st.just("u"),
        "sesion": JSON | st.just("s"),
        "protocol": JSON | st.just(events.PROTOCOL),
        "room": JSON | st.sampled_from(ROOMS),
        "out": JSON,
        "group": JSON | st.sampled_from(events.GROUPS),
        "features": JSON | st.lists(st.sampled_from(FEATURES), max_size=3),
        "event": JSON | st.sampled_from(EVENTS),
        "data": JSON | st.fixed_dictionaries({"requestId": JSON | st.sampled_from(IDS)}),
        "args": JSON,
        "requestId": JSON | st.sampled_from(IDS),
        "timeoutMs": JSON | st.sampled_from([0, -1, 1500, 1e308]),
    },
)


@attrs.define
class Question:
    """A request as the machine knows it, from the effects alone."""

    number: int
    asker: str
    ack: int | None
    master: str
    event: str
    room: str | None
    alone: bool
    """Nobody else ever asks this event, so what is heard of it can only be about this one."""
    set_seen: bool = False
    takes_questions: bool = False
    is_watched: bool = False
    """Its asker wants signs of life."""
    about: int | None = None
    """Of a question that a master asks back: the number of the request that it is about."""

    @property
    def answer_event(self) -> str:
        """What a stock asker waits for."""
        return events.answer_event(self.event)


def unread(args: Sequence[Any]) -> list[msgspec.Raw]:
    """Arguments as they stand in the packet."""
    return [msgspec.Raw(write_json(arg)) for arg in args]


def strings_in(thing: Any, seen: set[int]) -> Iterator[str]:
    """Every string that can be reached from an object."""
    if isinstance(thing, str):
        yield str(thing)
        return
    if id(thing) in seen:
        return
    seen.add(id(thing))
    inner: list[Any] = []
    if isinstance(thing, dict):
        inner = [*thing.keys(), *thing.values()]
    elif isinstance(thing, list | tuple | set | frozenset | deque):
        inner = list(thing)
    elif attrs.has(type(thing)):
        inner = [getattr(thing, field.name) for field in attrs.fields(type(thing))]
    elif type(thing).__module__.startswith("alephscript."):
        names = [*getattr(type(thing), "__slots__", ()), *getattr(thing, "__dict__", ())]
        inner = [getattr(thing, name) for name in names]
    elif not callable(thing):  # a new kind of thing in the mesh has to be looked into as well
        assert thing is None or isinstance(
            thing, int | float | Enum | itertools.count | msgspec.Raw
        )
    for part in inner:
        yield from strings_in(part, seen)


def look_up(mesh: Mesh, effects: list[Effect]) -> list[Effect]:
    """Be a journal of tasks that has none, and keeps all."""
    settled: list[Effect] = []
    for effect in effects:
        if isinstance(effect, Look):
            settled += look_up(mesh, mesh.tasks.found(effect.number, []))
        elif isinstance(effect, Keep):
            settled += look_up(mesh, mesh.tasks.kept(effect.number))
        else:
            settled.append(effect)
    return settled


class Peers(RuleBasedStateMachine):
    """Stock, DOC, CORE and our own peers, honest ones and others, around one mesh."""

    def __init__(self) -> None:
        super().__init__()
        self.mesh = Mesh()
        self.alive: dict[str, bool] = {}  # sid -> whether it announced our protocol
        self.gone: set[str] = set()
        self.owed: set[tuple[str, int]] = set()
        self.open: dict[int, Question] = {}
        self.born = 0
        self.acks = 0

    # The books

    def check(self, effects: list[Effect]) -> tuple[list[Question], list[Question]]:  # noqa: C901
        """What holds of any list of effects; the requests that were born and that ended."""
        asked = {e.request: e for e in effects if isinstance(e, Deliver)}
        born = list(asked)
        ended: list[Question] = []
        for effect in effects:
            match effect:
                case Emit():
                    assert effect.to
                    assert len(set(effect.to)) == len(effect.to)
                    assert set(effect.to) <= self.alive.keys()
                    assert effect.event not in events.RESERVED
                    assert effect.args
                    if effect.event == "SET_SERVER_STATE":
                        assert len(effect.to) == 1
                case Acknowledge():
                    self.owed.remove((effect.sid, effect.ack))
                    answer = read_value(effect.answer)
                    assert type(answer["success"]) is bool
                    if not answer["success"]:
                        assert isinstance(answer["error"], str)
                        assert isinstance(answer["code"], str)
                case Deliver():
                    assert effect.to in self.alive
                    assert effect.request > self.born
                    assert effect.seconds is not None  # nothing is idempotent, nothing waits
                    assert 0 < effect.seconds < math.inf
                    self.born = effect.request
                case Arm():
                    raise AssertionError("nothing waits here")
                case Ended():
                    if effect.request:
                        ended.append(self.open.pop(effect.request))
        for question in ended:
            if question.ack is not None:
                assert (question.asker, question.ack) not in self.owed
        return [self.question(asked[number]) for number in born], ended

    def arrived(self, args: Sequence[Any]) -> Sequence[Any]:
        """Arguments as the shell hands them over: read."""
        return args

    @staticmethod
    def question(asked: Deliver) -> Question:
        """What the effect says of a request; the rest is filled in by who sent it."""
        return Question(asked.request, "", None, asked.to, asked.event, None, alone=False)

    def send(
        self, sid: str, event: Any, args: Sequence[Any], *, ack: bool
    ) -> tuple[list[Effect], list[Question]]:
        """Send an event; every acknowledgement asked for is given at once or owed by a request."""
        under = None
        if ack:
            under = self.acks
            self.acks += 1
            self.owed.add((sid, under))
        effects = look_up(self.mesh, self.mesh.received(sid, event, self.arrived(args), under))
        born, ended = self.check(effects)
        for question in born:
            question.asker, question.ack = sid, under
            self.open[question.number] = question
        if under is not None:
            assert ((sid, under) in self.owed) == bool(born)
        assert len(born) <= 1
        return effects, ended

    @staticmethod
    def heard(effects: list[Effect], sid: str, event: str) -> int:
        """How often a socket hears an event."""
        return sum(
            effect.event == event and sid in effect.to
            for effect in effects
            if isinstance(effect, Emit)
        )

    def told_by_the_hub(self, question: Question, effects: list[Effect]) -> None:
        """The end of one request, other than by a SET_: its asker hears it exactly once."""
        told = self.heard(effects, question.asker, question.answer_event)
        if question.ack is not None:
            assert told == 0
        elif question.alone:
            assert told == (not question.set_seen)
        else:
            assert told <= 1
            assert told == 1 or question.set_seen

    def ends_with(self, question: Question) -> list[Question]:
        """What ends when a request does: what its master asks back, and the request itself."""
        about = [each for each in self.open.values() if each.about == question.number]
        return [*sorted(about, key=lambda each: each.number), question]

    def somebody(self, data: st.DataObject) -> str:
        """A living socket."""
        return data.draw(st.sampled_from(sorted(self.alive)), label="sid")

    def a_room(self, data: st.DataObject) -> str:
        """A room, sometimes one called like a living socket."""
        names = st.sampled_from((*ROOMS, ROOMS[0], ROOMS[0]))
        if data.draw(st.integers(0, 4), label="spying?") == 0:
            names = st.sampled_from(sorted(self.alive))
        return data.draw(names, label="room")

    # Life

    @initialize(
        kinds=st.lists(st.booleans(), min_size=2, max_size=4),
        direct=st.booleans(),
        room=st.booleans(),
    )
    def begins(self, kinds: list[bool], direct: bool, room: bool) -> None:
        """Most meshes have members and a master before anything interesting happens."""
        for ours in kinds:
            self.connects("ours" if ours else "stock", ROOMS[0])
        self.declares(min(self.alive), ROOMS[0], list(FEATURES), direct=direct, ack=True)
        if room:
            self.declares(max(self.alive), ROOMS[1], list(FEATURES), direct=not direct, ack=False)

    @rule(kind=st.sampled_from(["unregistered", "stock", "ours"]), room=st.sampled_from(ROOMS))
    @precondition(lambda self: len(self.alive) < 6)
    def connects(self, kind: str, room: str) -> None:
        """Somebody comes, registers, and mostly subscribes."""
        sid = f"sid-{len(self.alive) + len(self.gone)}"
        assert self.mesh.connected(sid, f"engine-of-{sid}") == []
        self.alive[sid] = False
        if kind != "unregistered":
            self.registers(sid, ours=kind == "ours")
            self.send(sid, "CLIENT_SUSCRIBE", [{"room": room}], ack=False)

    def registers(self, sid: str, *, ours: bool) -> None:
        """CLIENT_REGISTER, acknowledged."""
        extras = {"protocol": events.PROTOCOL} if ours else {"type": "ui"}
        self.send(sid, "CLIENT_REGISTER", [{"usuario": "u", "sesion": "s", **extras}], ack=True)
        self.alive[sid] = ours

    @rule(data=st.data(), ours=st.booleans())
    @precondition(lambda self: self.alive)
    def registers_again(self, data: st.DataObject, ours: bool) -> None:
        """Stock clients register at each connect, some twice."""
        self.registers(self.somebody(data), ours=ours)

    @rule(data=st.data(), ack=st.booleans(), event=st.sampled_from(["in", "out", "off"]))
    @precondition(lambda self: self.alive)
    def subscribes(self, data: st.DataObject, ack: bool, event: str) -> None:
        """Joins or leaves, in both spellings."""
        name = "CLIENT_UNSUSCRIBE" if event == "off" else "CLIENT_SUSCRIBE"
        payload = {"room": self.a_room(data), "out": event == "out"}
        self.send(self.somebody(data), name, [payload], ack=ack)

    @rule(
        data=st.data(),
        ack=st.booleans(),
        direct=st.booleans(),
        features=st.lists(st.sampled_from(FEATURES), max_size=3),
        group=st.sampled_from(events.GROUPS),
    )
    @precondition(lambda self: self.alive)
    def makes_master(
        self,
        data: st.DataObject,
        ack: bool,
        direct: bool,
        features: list[str],
        group: str,
    ) -> None:
        """Declares, as DOC or as CORE do, alone or with others."""
        sid, room = self.somebody(data), self.a_room(data)
        self.declares(sid, room, features, direct=direct, ack=ack, group=group)

    @rule(data=st.data(), room=st.sampled_from(ROOMS), ack=st.booleans())
    @precondition(lambda self: self.alive)
    def resigns(self, data: st.DataObject, room: str, ack: bool) -> None:
        """Masters a room no more, and still answers what it was asked."""
        before = set(self.open)
        self.send(self.somebody(data), "MAKE_MASTER", [{"room": room, "out": True}], ack=ack)
        assert set(self.open) == before

    @rule(data=st.data(), ack=st.booleans())
    @precondition(lambda self: any(q.ack is not None for q in self.open.values()))
    def the_asker_cancels(self, data: st.DataObject, ack: bool) -> None:
        """That request ends, unanswered, and its master is told if it understands."""
        asked = [q for q in self.open.values() if q.ack is not None]
        question = data.draw(st.sampled_from(sorted(asked, key=lambda q: q.number)))
        self.owed.discard((question.asker, question.ack or 0))
        cancel, expected = {"request": question.ack}, self.ends_with(question)
        effects, ended = self.send(question.asker, "CANCEL_REQUEST", [cancel], ack=ack)
        assert ended == expected
        told = self.heard(effects, question.master, "CANCEL_REQUEST")
        # Of what it asked back, too, where a peer asks itself.
        answerable = [each for each in ended if each.master == question.master]
        assert told <= self.alive[question.master] * len(answerable)

    def declares(
        self,
        sid: str,
        room: str,
        features: list[str],
        *,
        direct: bool,
        ack: bool,
        group: str = "single",
    ) -> None:
        """MAKE_MASTER, by itself or in an envelope."""
        declared: dict[str, Any] = {"room": room, "features": features, "group": group}
        if direct:
            self.send(sid, "MAKE_MASTER", [declared], ack=ack)
        else:
            message = {"event": "MAKE_MASTER", "room": room, "data": declared}
            self.send(sid, "ROOM_MESSAGE", [message], ack=ack)

    @rule(data=st.data())
    @precondition(lambda self: len(self.alive) > 2 or self.open)
    def disconnects(self, data: st.DataObject) -> None:
        """Somebody goes: what it asked and what it was asked ends now."""
        self.leaves(self.somebody(data))

    def leaves(self, sid: str) -> None:
        """Disconnect, and check what the others hear of it."""
        del self.alive[sid]
        self.gone.add(sid)
        self.owed = {owed for owed in self.owed if owed[0] != sid}
        concerned = {n for n, q in self.open.items() if sid in (q.asker, q.master)}
        effects = self.mesh.disconnected(sid)
        _, ended = self.check(effects)
        assert {question.number for question in ended} == concerned
        for question in ended:
            if question.alone and question.asker != sid:
                self.told_by_the_hub(question, effects)
        self.no_trace_of_the_gone_stays()

    # Questions

    @rule(
        data=st.data(),
        ack=st.booleans(),
        alone=st.booleans(),
        event=st.sampled_from(ASKED),
        own=st.none() | st.sampled_from(IDS),
        payload=JSON,
    )
    @precondition(lambda self: self.alive)
    def asks_by_envelope(
        self,
        data: st.DataObject,
        ack: bool,
        alone: bool,
        event: str,
        own: str | None,
        payload: Any,
    ) -> None:
        """ROOM_MESSAGE GET_X."""
        for sid in data.draw(st.lists(st.sampled_from(sorted(self.alive)), min_size=1, max_size=4)):
            room = self.a_room(data)
            name = f"GET_ALONE_{self.acks}_{self.born}" if alone else event
            message = {
                "event": name,
                "room": room,
                "data": payload if own is None else {"requestId": own},
                "requestId": own,
            }
            before = set(self.open)
            effects, _ = self.send(sid, "ROOM_MESSAGE", [message], ack=ack)
            born = set(self.open) - before
            for number in born:
                self.open[number].room = room
                self.open[number].alone = alone
                assert self.open[number].event == name
            if not born and not ack and effects:
                told = [effect for effect in effects if not isinstance(effect, Ended)]
                assert told == [e for e in told if isinstance(e, Emit) and e.to == (sid,)]
                assert self.heard(effects, sid, events.answer_event(name)) == 1

    @rule(
        data=st.data(),
        ack=st.booleans(),
        event=st.sampled_from(ASKED),
        args=st.lists(JSON | ALMOST, max_size=3),
        room=st.none() | st.sampled_from(ROOMS),
        answers=st.booleans(),
    )
    @precondition(lambda self: self.alive)
    def asks_directly(
        self,
        data: st.DataObject,
        ack: bool,
        event: str,
        args: list[Any],
        room: str | None,
        answers: bool,
    ) -> None:
        """GET_X, sometimes with meta that names the room, and says that questions are answered."""
        sid = self.somebody(data)
        if room is not None:
            args = [{}, {"room": room, "answers": answers, "idleMs": 1000}]
        born_before = self.born
        effects, _ = self.send(sid, event, args, ack=ack)
        if self.born != born_before and room is not None:
            self.open[self.born].is_watched = self.alive[sid]
            self.open[self.born].takes_questions = answers and ack and self.alive[sid]
        if self.born == born_before and not ack:
            assert self.heard(effects, sid, events.answer_event(event)) == 1
            assert [type(effect) for effect in effects] in ([Emit], [Ended, Emit])

    @rule(data=st.data(), ack=st.booleans(), payload=JSON)
    @precondition(lambda self: any(q.takes_questions for q in self.open.values()))
    def a_master_asks_back(self, data: st.DataObject, ack: bool, payload: Any) -> None:
        """About a request that it serves, or about another one: only who asked is asked."""
        numbers = sorted(n for n, q in self.open.items() if q.takes_questions)
        about = self.open[data.draw(st.sampled_from(numbers), label="about")]
        sid = data.draw(st.sampled_from([about.master, about.master, self.somebody(data)]))
        born_before, is_one_more = self.born, len(self.ends_with(about)) <= 16
        meta = {"id": str(about.number), "timeoutMs": 1500}
        effects, _ = self.send(sid, "GET_ASKER_ANSWER", [payload, meta], ack=ack)
        may_ask = sid == about.master and self.alive[sid] and self.alive[about.asker]
        assert (self.born != born_before) == (may_ask and is_one_more)
        if self.born == born_before:
            return
        self.open[self.born].about = about.number
        [put] = [each for each in effects if isinstance(each, Deliver)]
        assert put.to == about.asker
        assert put.args[1]["request"] == about.ack

    # Answers

    @rule(data=st.data(), args=st.lists(JSON, max_size=2))
    @precondition(lambda self: self.open)
    def the_master_acknowledges(self, data: st.DataObject, args: list[Any]) -> None:
        """The end of the request, and of nothing else."""
        number = data.draw(st.sampled_from(sorted(self.open)), label="request")
        question = self.open[number]
        expected = self.ends_with(question)
        effects = self.mesh.acknowledged(question.master, number, self.arrived(args))
        assert self.check(effects) == ([], expected)
        self.told_by_the_hub(question, effects)

    @rule(data=st.data(), args=st.lists(JSON, max_size=2))
    @precondition(lambda self: self.alive)
    def a_wrong_acknowledgement_comes(self, data: st.DataObject, args: list[Any]) -> None:
        """From another socket, too late, a second time, or of a number never given."""
        sid = self.somebody(data)
        number = data.draw(st.integers(-1, self.born + 2), label="request")
        question = self.open.get(number)
        if question is not None and question.master == sid:
            return
        late = self.mesh.late_answers
        assert self.mesh.acknowledged(sid, number, self.arrived(args)) == []
        assert self.mesh.late_answers == late + 1

    @rule(
        data=st.data(), to=st.sampled_from(["its", "its", "any"]), echo=st.booleans(), payload=JSON
    )
    @precondition(lambda self: self.open)
    def somebody_says_set(
        self,
        data: st.DataObject,
        to: str,
        echo: bool,
        payload: Any,
    ) -> None:
        """SET_X: by the master as answer, or by anybody, with an echoed id or without."""
        question = self.open[data.draw(st.sampled_from(sorted(self.open)), label="request")]
        sid = question.master if to == "its" else self.somebody(data)
        room = question.room or self.a_room(data)
        message: dict[str, Any] = {"event": question.answer_event, "room": room, "data": payload}
        if echo:
            message["requestId"] = str(data.draw(st.integers(0, self.born), label="echo"))
        # A native peer may say it by its own name, which carries no further keys.
        name, args = "ROOM_MESSAGE", [message]
        if self.alive[sid] and not echo and data.draw(st.booleans(), label="direct"):
            name, args = question.answer_event, [payload, {"room": room}]
        served = [q for q in self.open.values() if (q.master, q.event) == (sid, question.event)]
        is_guest = room not in self.mesh.rooms.peers[sid].mastered
        rivals = [
            q
            for q in served
            # Where the room is a guess, so is the one of the requests that the event answers; and
            # a number that is echoed says which, wherever the event is said. Who masters another
            # room may answer here what it was asked there.
            if question.room is None
            or q.room in (room, None)
            or message.get("requestId") == str(q.number)
            or (is_guest and room not in {each.room for each in served})
        ]
        effects, ended = self.send(sid, name, args, ack=data.draw(st.booleans()))
        if ended:
            *about, answered = ended
            assert {each.about for each in about} <= {answered.number}
            assert not self.alive[sid]
            assert answered in rivals
            if answered.ack is None and answered.asker != sid:
                assert answered.set_seen or self.heard(
                    effects, answered.asker, answered.answer_event
                )
        for other in self.alive:
            assert self.heard(effects, other, question.answer_event) <= 1
        for rival in rivals:
            if echo and message["requestId"] != str(rival.number):
                rival.alone = False  # whether it was meant is the mesh's guess
            rival.set_seen = True

    @rule(data=st.data())
    @precondition(lambda self: self.born)
    def a_deadline_passes(self, data: st.DataObject) -> None:
        """Of an open request, or of one that has ended in the meantime."""
        self.expires(data.draw(st.integers(1, self.born), label="request"))

    def expires(self, number: int) -> None:
        """Let a deadline pass."""
        question = self.open.get(number)
        expected = [] if question is None else self.ends_with(question)
        effects = self.mesh.expired(number)
        if question is None:
            assert effects == []
        else:
            assert self.check(effects) == ([], expected)
            self.told_by_the_hub(question, effects)

    @rule(data=st.data())
    @precondition(lambda self: any(q.is_watched for q in self.open.values()))
    def nothing_is_heard_for_too_long(self, data: st.DataObject) -> None:
        """Of a request whose asker wants signs of life."""
        watched = [q for q in self.open.values() if q.is_watched]
        question = data.draw(st.sampled_from(watched), label="request")
        expected = self.ends_with(question)
        effects = self.mesh.idled(question.number)
        assert self.check(effects) == ([], expected)
        self.told_by_the_hub(question, effects)

    # Everything else

    @rule(data=st.data(), ack=st.booleans(), payload=JSON, event=st.text(max_size=8))
    @precondition(lambda self: self.alive)
    def somebody_tells_a_room(
        self,
        data: st.DataObject,
        ack: bool,
        payload: Any,
        event: str,
    ) -> None:
        """Any event to any room."""
        sid, room = self.somebody(data), self.a_room(data)
        message = {"event": event, "room": room, "data": payload}
        effects, _ = self.send(sid, "ROOM_MESSAGE", [message], ack=ack)
        told = {other: self.heard(effects, other, event) for other in self.alive}
        # By its own name, too: the same for a native peer, and nothing for any other.
        effects, _ = self.send(sid, event, [payload, {"room": room}], ack=ack)
        again = {other: self.heard(effects, other, event) for other in self.alive}
        assert again == (told if self.alive[sid] else dict.fromkeys(told, 0))

    @rule(
        data=st.data(),
        ack=st.booleans(),
        event=st.sampled_from(EVENTS) | JSON,
        args=st.lists(JSON | ALMOST, max_size=3),
    )
    @precondition(lambda self: self.alive)
    def nonsense_arrives(
        self,
        data: st.DataObject,
        ack: bool,
        event: Any,
        args: list[Any],
    ) -> None:
        """Any JSON as event name and as arguments."""
        sid = self.somebody(data)
        if event != "CLIENT_REGISTER":  # what that does to the protocol is another rule's matter
            self.send(sid, event, args, ack=ack)
        for question in self.open.values():
            question.set_seen |= not question.alone  # it may have been a SET_ of a common name

    @rule(data=st.data(), event=st.sampled_from(EVENTS), args=st.lists(ALMOST, max_size=2))
    @precondition(lambda self: self.gone)
    def the_gone_are_ignored(self, data: st.DataObject, event: str, args: list[Any]) -> None:
        """What the shell still holds of a lost socket has no effect."""
        sid = data.draw(st.sampled_from(sorted(self.gone)), label="sid")
        assert self.mesh.received(sid, event, args, 0) == []
        assert self.mesh.disconnected(sid) == []

    # What always holds

    @invariant()
    def nothing_is_owed_but_by_open_requests(self) -> None:
        """Everything else was answered at once; an open request has asker and master alive."""
        waiting = [(q.asker, q.ack) for q in self.open.values() if q.ack is not None]
        assert len(set(waiting)) == len(waiting)
        assert set(waiting) == self.owed
        for question in self.open.values():
            assert {question.asker, question.master} <= self.alive.keys()

    @invariant()
    def a_room_has_one_master_unless_it_is_shared(self) -> None:
        """And is found by what those who serve offer, and by nothing else."""
        offered: dict[str, set[str]] = {}
        for room in self.mesh.rooms:
            serving = room.masters.serving
            shared = bool(serving) and serving[0].declared.group == "shared"
            assert shared or len(serving) <= 1
            for master in serving:
                for feature in master.declared.features:
                    offered.setdefault(events.capability_name(feature), set()).add(room.name)
        assert {name: set(rooms) for name, rooms in self.mesh.rooms._offers.items()} == offered

    @invariant()
    def no_trace_of_the_gone_stays(self) -> None:
        """Nowhere in all that the mesh remembers."""
        remembered = set(strings_in(self.mesh, set()))
        # A master may have answered into a room that is called like somebody; the request, as long
        # as it is open, knows where.
        remembered -= {each.answer_room for each in self.mesh.requests._open.values()}
        assert not remembered & (self.gone | {f"engine-of-{sid}" for sid in self.gone})

    def teardown(self) -> None:
        """When all deadlines have passed nothing is owed; when all are gone nothing is left."""
        for number in list(self.open):
            self.expires(number)
        assert not self.owed
        for sid in list(self.alive):
            self.leaves(sid)
        for part in (self.mesh, self.mesh.rooms, self.mesh.requests):
            assert not [value for value in vars(part).values() if isinstance(value, dict) and value]


class UnreadPeers(Peers):
    """The same behind a shell that reads no more than it has to."""

    def arrived(self, args: Sequence[Any]) -> Sequence[Any]:
        """Arguments as the shell hands them over: text."""
        return unread(args)


lives = settings(
    max_examples=examples(150),
    stateful_step_count=50,
    suppress_health_check=[HealthCheck.too_slow],  # of a busy machine, not of the strategies
    # Shrinking a whole life takes minutes: take this out to have it.
    phases=[phase for phase in Phase if phase is not Phase.shrink],
)
TestPeers = Peers.TestCase
TestPeers.settings = lives
TestUnreadPeers = UnreadPeers.TestCase
TestUnreadPeers.settings = lives


@given(
    event=st.sampled_from(EVENTS) | JSON,
    args=st.lists(JSON | ALMOST, max_size=3),
    ack=st.none() | st.integers(0, 3),
    ours=st.booleans(),
    text=st.booleans(),
)
@settings(max_examples=examples(400), suppress_health_check=[HealthCheck.too_slow])
def test_any_json_is_answered_or_asked_on(
    event: Any,
    args: list[Any],
    ack: int | None,
    ours: bool,
    text: bool,
) -> None:
    """One event into a mesh with masters: nothing is raised, no acknowledgement lost."""
    args = unread(args) if text else args
    mesh = Mesh()
    for sid in ("asker", "master"):
        mesh.connected(sid)
        protocol = {"protocol": events.PROTOCOL} if ours else {}
        mesh.received(sid, "CLIENT_REGISTER", [{"usuario": sid, **protocol}])
        mesh.received(sid, "CLIENT_SUSCRIBE", [{"room": ROOMS[0]}])
    mesh.received("master", "MAKE_MASTER", [{"room": ROOMS[0], "features": list(FEATURES)}])
    effects = look_up(mesh, mesh.received("asker", event, args, ack))
    acknowledged = [e for e in effects if isinstance(e, Acknowledge)]
    armed = [e for e in effects if isinstance(e, Deliver)]
    assert len(acknowledged) + len(armed) == (ack is not None) or (not acknowledged and ack is None)
    for arm in armed:
        ended = mesh.acknowledged("master", arm.request, args)
        assert arm.request in [each.request for each in ended if isinstance(each, Ended)]
        assert [e.ack for e in ended if isinstance(e, Acknowledge)] == [ack] * (ack is not None)
