"""How a mesh speaks to a peer of each dialect: one table of dialects and what is said in them."""

from __future__ import annotations

from collections.abc import Mapping

import attrs
import msgspec
import pytest

from alephscript.errors import NoMaster
from alephscript.mesh.dialects import Dialects
from alephscript.mesh.effects import Acknowledge, Deliver, Effect, Emit, ToHub, ToRoom
from alephscript.mesh.frames import About
from alephscript.mesh.limits import DEFAULT_LIMITS
from alephscript.mesh.meta import RequestMeta
from alephscript.mesh.peers import Dialect, Master, OpenRequest, Peer
from alephscript.mesh.rooms import Rooms
from alephscript.mesh.speech import Speech
from alephscript.protocol import events

ANSWER = {"success": True, "n": 2}
UNREAD = msgspec.Raw(b'{"success":true,"n":2}')
FAILURE = NoMaster("R has no master").answer()
META = {"id": "1", "room": "R", "caller": "Asker", "timeoutMs": 1500}
ENVELOPE = {
    "own": True,
    "event": "GET_X",
    "room": "R",
    "data": {"n": 1},
    "namespace": "runtime",
    "requester": "asker",
    "requesterName": "Asker",
    "requestId": "1",
}
SET_X = {**ANSWER, "sender": "master"}


def about(*, meta: bool) -> About:
    """What a hub tells another one of a request."""
    return About("asker", "Asker", meta, 1.5, extras={}, envelope={"own": True})


@attrs.frozen
class Phrases:
    """What is said in one dialect.

    Attributes:
        asked: The master is asked.
        cancelled: The master hears that nobody waits any more.
        granted: The master may send three more parts.
        answered: The asker hears the answer.
        refused: The asker hears that nobody was asked.
        noted: The asker hears of progress.
        echoed: The asker, outside the room, hears a SET_ that the room has heard.
        handed_back: The asker's hub hears that the master is lost.
        told: A member hears an event of its room.
        unread: Whether a success that is acknowledged is passed on unread.
        unread: Whether a success that is acknowledged is passed on unread.
        set_counts: Whether a SET_ of the master ends a request: if that may be another one's, and
            if it can be no other one's.
    """

    asked: Effect
    answered: list[Effect]
    refused: Effect
    told: list[Effect]
    set_counts: tuple[bool, bool]
    cancelled: list[Effect] = attrs.Factory(list)
    granted: list[Effect] = attrs.Factory(
        lambda: [Emit(("master",), "REQUEST_MORE", ({"id": "1", "parts": 3},))]
    )
    noted: list[Effect] = attrs.Factory(list)
    echoed: list[Effect] = attrs.Factory(list)
    handed_back: list[Effect] = attrs.Factory(list)
    unread: bool = False


SPEECHES: Mapping[str, Phrases] = {
    "native": Phrases(
        asked=Deliver("master", "GET_X", ({"n": 1}, META), 1, 1.5),
        cancelled=[Emit(("master",), "CANCEL_REQUEST", ({"id": "1", "reason": "why"},))],
        answered=[Acknowledge("asker", 7, ANSWER)],
        refused=Acknowledge("asker", 7, FAILURE),
        noted=[Emit(("asker",), "REQUEST_PROGRESS", (0.5, {"request": 7}))],
        told=[Emit(("asker",), "NEWS", (1, {"room": "R", "sender": "Someone"}))],
        unread=True,
        set_counts=(False, False),
    ),
    "documented": Phrases(
        asked=Deliver("master", "GET_X", ({"n": 1},), 1, 1.5),
        answered=[Acknowledge("asker", 7, ANSWER)],
        refused=Acknowledge("asker", 7, FAILURE),
        told=[Emit(("asker",), "NEWS", (1,))],
        set_counts=(False, True),
    ),
    "core": Phrases(
        asked=Deliver("master", "GET_X", (ENVELOPE,), 1, 1.5),
        answered=[Emit(("member", "asker"), "SET_X", (SET_X,))],
        refused=Emit(("asker",), "SET_X", (FAILURE,)),
        echoed=[Emit(("asker",), "SET_X", (SET_X,))],
        told=[Emit(("asker",), "NEWS", (1,))],
        set_counts=(True, True),
    ),
    "native as core": Phrases(
        asked=Deliver("master", "GET_X", (ENVELOPE,), 1, 1.5),
        answered=[
            Emit(("member",), "SET_X", (SET_X,)),
            Emit(("asker",), "SET_X", (SET_X, {"room": "R", "sender": "Master"})),
        ],
        refused=Emit(("asker",), "SET_X", (FAILURE,)),
        echoed=[Emit(("asker",), "SET_X", (SET_X, {"room": "R", "sender": "Master"}))],
        told=[Emit(("asker",), "NEWS", (1, {"room": "R", "sender": "Someone"}))],
        unread=True,
        set_counts=(False, False),
    ),
    "native at another hub": Phrases(
        asked=ToHub(
            "there", ("ask", 1, "master", "R", "GET_X", {"n": 1}, about(meta=True)), 1, 1.5
        ),
        cancelled=[ToHub("there", ("cancel", 1, "asker", "why"))],
        granted=[ToHub("there", ("more", 1, "asker", 3))],
        answered=[ToHub("there", ("answer", 7, "master", ANSWER, ""))],
        refused=ToHub("there", ("answer", 7, "master", FAILURE, "")),
        noted=[ToHub("there", ("note", 7, "master", "REQUEST_PROGRESS", 0.5))],
        handed_back=[ToHub("there", ("lost", 7, "master"))],
        told=[ToRoom("R", ("NEWS", 1, "Someone"))],
        unread=True,
        set_counts=(False, False),
    ),
    "documented at another hub": Phrases(
        asked=ToHub(
            "there", ("ask", 1, "master", "R", "GET_X", {"n": 1}, about(meta=False)), 1, 1.5
        ),
        cancelled=[ToHub("there", ("cancel", 1, "asker", "why"))],
        granted=[ToHub("there", ("more", 1, "asker", 3))],
        answered=[ToHub("there", ("answer", 7, "master", ANSWER, ""))],
        refused=ToHub("there", ("answer", 7, "master", FAILURE, "")),
        handed_back=[ToHub("there", ("lost", 7, "master"))],
        told=[ToRoom("R", ("NEWS", 1, "Someone"))],
        unread=True,
        set_counts=(False, False),
    ),
}


class Exchange:
    """A master and an asker of one dialect, a room with a member, and a request between them."""

    def __init__(self, name: str) -> None:
        self.rooms = Rooms(
            require_subscription=False,
            history=0,
            history_bytes=0,
            limits=DEFAULT_LIMITS,
            authorize=None,
        )
        self.speech = Speech(self.rooms, 0, {})
        dialects = Dialects(self.rooms, self.speech, "/runtime")
        dialect: Dialect = {
            "native": dialects.native,
            "documented": dialects.documented,
            "core": dialects.documented,
            "native as core": dialects.native,
            "native at another hub": dialects.choose_remote(reads_meta=True),
            "documented at another hub": dialects.choose_remote(reads_meta=False),
        }[name]
        is_core, hub = name.endswith("core"), "there" if name.endswith("hub") else ""
        self.asker, peer = (Peer(sid, sid, dialect, hub=hub) for sid in ("asker", "master"))
        self.asker.rename("Asker")
        peer.rename("Master")
        member = Peer("member", "member", dialects.documented)
        self.rooms.peers |= {each.sid: each for each in (self.asker, peer, member) if not each.hub}
        self.rooms.enter(member, self.rooms.get_or_create("R"))
        self.rooms.is_federated = bool(hub)
        self.master = Master(peer, events.Declaration("R", ("X",)), is_core=is_core)
        question = events.RoomMessage("GET_X", "R", {"n": 1}, {"own": True})
        self.request = OpenRequest(
            number=1,
            key=7,
            asker=self.asker,
            ack=None if is_core else 7,
            capability="X",
            question=question,
            named_room="R",
            meta=RequestMeta(),
            room="R",
            master=self.master,
        )


@pytest.fixture(params=SPEECHES)
def name(request: pytest.FixtureRequest) -> str:
    """The name of a dialect."""
    return str(request.param)


@pytest.fixture
def speech(name: str) -> Phrases:
    """What is said in it."""
    return SPEECHES[name]


@pytest.fixture
def exchange(name: str) -> Exchange:
    """Two peers that speak it."""
    return Exchange(name)


def test_a_master_is_asked_cancelled_granted(exchange: Exchange, speech: Phrases) -> None:
    """By the dialect of its declaration."""
    request, master = exchange.request, exchange.master
    assert master.dialect.ask(request, master, 1.5, 1.5) == speech.asked
    assert master.dialect.cancel(request, master, "why") == speech.cancelled
    assert master.dialect.grant(request, master, 3) == speech.granted


def test_an_asker_is_answered_refused_noted(exchange: Exchange, speech: Phrases) -> None:
    """By the dialect of its request."""
    request, dialect = exchange.request, exchange.request.dialect
    message = events.RoomMessage("SET_X", "R", None, {})
    assert dialect.answer(request, ANSWER) == speech.answered
    error = NoMaster("R has no master")
    refused = dialect.refuse(exchange.asker, "GET_X", request.ack, error, "master")
    assert refused == speech.refused
    assert dialect.note(request, "REQUEST_PROGRESS", 0.5) == speech.noted
    assert dialect.echo(request, message, SET_X, "Master") == speech.echoed
    assert dialect.hand_back(request) == speech.handed_back


def test_a_member_is_told(exchange: Exchange, speech: Phrases) -> None:
    """By the dialect of the peer; those at another hub by way of it."""
    message = events.RoomMessage("NEWS", "R", None, {})
    here = [] if exchange.asker.hub else [exchange.asker.sid]
    assert exchange.speech.say(here, message, 1, "Someone") == speech.told


@pytest.mark.parametrize("unread", [True, False], ids=["unread", "read"])
def test_an_acknowledgement_is_read_unless_it_has_the_shape_of_answers(
    exchange: Exchange, speech: Phrases, unread: bool
) -> None:
    """By the dialect of the peer; what it says is the same."""
    request, peer = exchange.request, exchange.master.peer
    request.ack = 7
    answer = peer.dialect.read_answer(request, [UNREAD if unread else ANSWER])
    passes = unread and speech.unread
    assert (answer is UNREAD) is passes
    assert passes or answer == ANSWER
    request.ack = None
    assert peer.dialect.read_answer(request, [UNREAD]) == ANSWER


def test_a_set_event_ends_a_request_of_masters_that_may_not_acknowledge(
    exchange: Exchange, speech: Phrases
) -> None:
    """A documented one will acknowledge, so only a SET_ that is certain counts."""
    dialect = exchange.master.dialect
    counts = [dialect.is_answered_by_event(is_certain=each) for each in (False, True)]
    assert tuple(counts) == speech.set_counts


def test_an_answer_that_was_heard_is_not_said_again() -> None:
    """A core asker hears exactly one SET_; in the room, the master's own."""
    exchange = Exchange("core")
    exchange.request.answer_room = "R"
    assert exchange.request.dialect.answer(exchange.request, ANSWER) == []
    message = events.RoomMessage("SET_X", "R", None, {})
    exchange.rooms.enter(exchange.asker, exchange.rooms.get_or_create("R"))
    assert exchange.request.dialect.echo(exchange.request, message, SET_X, "Master") == []


def test_a_registration_chooses_the_dialect_even_of_what_was_declared_before() -> None:
    """Clients buffer events: a declaration may come before the registration."""
    exchange = Exchange("documented")
    dialects = Dialects(exchange.rooms, exchange.speech, "/runtime")
    registration = events.parse_registration({"usuario": "m", "protocol": events.PROTOCOL})
    exchange.master.peer.register(registration, dialects.choose(registration))
    assert exchange.master.dialect is dialects.native
    plain = events.parse_registration({"usuario": "m"})
    assert dialects.choose(plain) is dialects.documented
