"""Masters that ask back, askers that want signs of life, priorities: as the mesh sees them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from alephscript.mesh.access import Access, Action, Handshake, Identity
from alephscript.mesh.effects import Acknowledge, ArmIdle, Deliver, Effect, Emit, ToHub
from alephscript.mesh.federation import Entry
from alephscript.mesh.mesh import Mesh
from alephscript.protocol import events
from alephscript.protocol.json import read_value

QUESTION = {"capability": "APPROVE", "payload": {"what": "send it"}}
ASK = "GET_ASKER_ANSWER"


def meet(*sids: str, **identities: Identity) -> Mesh:
    """Native peers, each the master of a room and a capability of its name."""
    mesh = Mesh()
    for sid in sids:
        mesh.connected(sid, sid, identities.get(sid))
        mesh.received(sid, "CLIENT_REGISTER", [{"usuario": sid, "protocol": events.PROTOCOL}])
        mesh.received(sid, "MAKE_MASTER", [{"room": f"of {sid}", "features": [sid]}])
    return mesh


def ask(mesh: Mesh, asker: str, whom: str, ack: int | None = 1, **meta: Any) -> dict[str, Any]:
    """One peer asks another; the meta that the master gets."""
    return delivered(mesh.received(asker, f"GET_{whom}", [{}, meta], ack))


def delivered(effects: list[Effect]) -> dict[str, Any]:
    """The meta of what is delivered."""
    [effect] = [each for each in effects if isinstance(each, Deliver)]
    meta: dict[str, Any] = effect.args[1]
    return meta


def ask_back(mesh: Mesh, master: str, id: Any, ack: int | None = 5, **meta: Any) -> list[Effect]:
    """A master asks the asker of a request."""
    return mesh.received(master, ASK, [QUESTION, {"id": id, **meta}], ack)


def codes(effects: list[Effect]) -> dict[str, str]:
    """How requests were answered, by asker."""
    return {
        each.sid: read_value(each.answer).get("code", "ok")
        for each in effects
        if isinstance(each, Acknowledge)
    }


def cancelled(effects: list[Effect]) -> list[str]:
    """Who is told that nobody waits any more."""
    return [
        sid
        for each in effects
        if isinstance(each, Emit) and each.event == "CANCEL_REQUEST"
        for sid in each.to
    ]


class TestQuestions:
    """Who may ask whom, and what ends a question."""

    def test_the_asker_gets_the_question_and_the_master_its_answer(self) -> None:
        """By the number that the asker knows; the answer is its acknowledgement."""
        mesh = meet("A", "M")
        served = ask(mesh, "A", "M", ack=3, answers=True, timeoutMs=9000)
        assert served["answers"] is True
        effects = ask_back(mesh, "M", served["id"], timeoutMs=600)
        [put] = [each for each in effects if isinstance(each, Deliver)]
        assert (put.to, put.event, put.args[0]) == ("A", ASK, QUESTION)
        meta = put.args[1]
        assert (meta["request"], meta["caller"], meta["timeoutMs"]) == (3, "M", 600)
        assert meta["chain"] == [served["id"]]
        answered = mesh.acknowledged("A", put.request, [{"success": True, "yes": True}])
        assert codes(answered) == {"M": "ok"}
        assert codes(mesh.acknowledged("M", int(served["id"]), [{}])) == {"A": "ok"}

    @pytest.mark.parametrize("id", ["7", "", "x", None, 1, ["1"], {"id": "1"}])
    def test_a_request_that_a_peer_does_not_serve_is_not_its_to_ask_about(self, id: Any) -> None:
        """Neither one of others, nor what is no number at all."""
        mesh = meet("A", "M", "N")
        served = ask(mesh, "A", "M", answers=True)
        assert codes(ask_back(mesh, "M", id)) == {"M": "no_answerer"}
        assert codes(ask_back(mesh, "N", served["id"])) == {"N": "no_answerer"}
        assert codes(ask_back(mesh, "A", served["id"])) == {"A": "no_answerer"}

    def test_whoever_takes_no_questions_is_asked_none(self) -> None:
        """Who does not say that it does, wants no acknowledgement, or is of another dialect."""
        mesh = meet("A", "M")
        for meta, ack in (({}, 1), ({"answers": 1}, 2), ({"answers": True}, None)):
            served = ask(mesh, "A", "M", ack=ack, **meta)
            assert codes(ask_back(mesh, "M", served["id"])) == {"M": "no_answerer"}
        served = ask(mesh, "A", "M", ack=3, answers=True)
        mesh.received("A", "CLIENT_REGISTER", [{"usuario": "A"}])
        assert codes(ask_back(mesh, "M", served["id"])) == {"M": "no_answerer"}

    def test_a_request_has_so_many_questions_at_once_and_no_more(self) -> None:
        """Each takes somebody's attention."""
        mesh = meet("A", "M")
        served = ask(mesh, "A", "M", answers=True)
        for ack in range(16):
            assert delivered(ask_back(mesh, "M", served["id"], ack))
        assert codes(ask_back(mesh, "M", served["id"], 16)) == {"M": "overloaded"}

    def test_a_question_has_no_more_time_than_its_request(self) -> None:
        """And no less than it wants."""
        mesh = meet("A", "M")
        mesh.requests.remaining = lambda _: 7.0
        served = ask(mesh, "A", "M", answers=True)
        for milliseconds, expected in ((5000, 5.0), (9000, 7.0), (None, 7.0)):
            effects = ask_back(mesh, "M", served["id"], None, timeoutMs=milliseconds)
            [put] = [each for each in effects if isinstance(each, Deliver)]
            assert put.seconds == expected

    def test_a_question_ends_with_its_request_whatever_ends_that(self) -> None:
        """The asker is told that nobody waits for its answer, the master that none will come."""
        ends: dict[str, Callable[[Mesh, int], list[Effect]]] = {
            "answer": lambda mesh, number: mesh.acknowledged("M", number, [{}]),
            "deadline": lambda mesh, number: mesh.expired(number),
            "cancel": lambda mesh, _: mesh.received("A", "CANCEL_REQUEST", [{"request": 1}]),
            "displaced": lambda mesh, _: mesh.received(
                "N", "MAKE_MASTER", [{"room": "of M", "features": ["M"]}]
            ),
        }
        for end in ends.values():
            mesh = meet("A", "M", "N")
            served = ask(mesh, "A", "M", answers=True)
            ask_back(mesh, "M", served["id"])
            effects = end(mesh, int(served["id"]))
            assert codes(effects)["M"] == "no_answerer"
            assert "A" in cancelled(effects)
            assert len(mesh.requests) == 0

    def test_who_is_gone_is_told_nothing(self) -> None:
        """Whether the asker goes, or the master, or both are one."""
        for gone, told in (("A", {"M": "no_answerer"}), ("M", {"A": "master_lost"})):
            mesh = meet("A", "M")
            ask_back(mesh, "M", ask(mesh, "A", "M", answers=True)["id"])
            effects = mesh.disconnected(gone)
            assert codes(effects) == told
            assert gone not in cancelled(effects)
            assert len(mesh.requests) == 0
        mesh = meet("A")
        ask_back(mesh, "A", ask(mesh, "A", "A", answers=True)["id"])
        assert (codes(mesh.disconnected("A")), len(mesh.requests)) == ({}, 0)

    def test_a_master_takes_a_question_back(self) -> None:
        """As any request of its own."""
        mesh = meet("A", "M")
        served = ask(mesh, "A", "M", answers=True)
        ask_back(mesh, "M", served["id"], 5)
        assert cancelled(mesh.received("M", "CANCEL_REQUEST", [{"request": 5}])) == ["A"]
        assert len(mesh.requests) == 1

    def test_the_next_master_of_an_idempotent_capability_asks_anew(self) -> None:
        """What the lost one asked is nobody's business any more."""
        mesh = meet("A", "N")
        declared = {
            "room": "R",
            "features": ["X"],
            "group": "standby",
            "descriptions": {"X": {"idempotent": True}},
        }
        mesh.connected("M")
        mesh.received("M", "CLIENT_REGISTER", [{"usuario": "M", "protocol": events.PROTOCOL}])
        mesh.received("M", "MAKE_MASTER", [declared])
        mesh.received("N", "MAKE_MASTER", [declared])
        served = ask(mesh, "A", "X", answers=True)
        ask_back(mesh, "M", served["id"])
        effects = mesh.disconnected("M")
        assert cancelled(effects) == ["A"]
        assert delivered(effects)["id"] == served["id"]
        assert delivered(ask_back(mesh, "N", served["id"]))["request"] == 1

    def test_a_question_that_leads_back_is_known_to_do_so(self) -> None:
        """What the asker asks for its answer has the request above it that waits for that."""
        mesh = meet("A", "M")
        served = ask(mesh, "A", "M", answers=True)
        question = delivered(ask_back(mesh, "M", served["id"]))
        again = ask(mesh, "A", "M", ack=2, chain=[question["id"]])
        assert again["chain"] == [served["id"], question["id"]]


class TestAcrossHubs:
    """Questions to askers at another hub, and from masters there."""

    @staticmethod
    def hub() -> Mesh:
        """A hub named here with a peer A, and a master M there."""
        mesh = Mesh()
        federation = mesh.federate("here")
        federation.resynchronise(["there"], {})
        mesh.connected("here~A")
        mesh.received("here~A", "CLIENT_REGISTER", [{"usuario": "A", "protocol": events.PROTOCOL}])
        declared = events.Declaration("R", ("X",))
        federation.apply_decision("R", 1, [Entry("there", "there~M", "M", declared, is_core=False)])
        return mesh

    @staticmethod
    def about(request: Any, sid: str = "there~M", **extras: Any) -> dict[str, Any]:
        """What the hub there says of its master that asks back."""
        return {
            "sid": sid,
            "name": "M",
            "identity": None,
            "meta": True,
            "seconds": 5,
            "extras": {"request": request, "chain": ["9"], **extras},
            "envelope": {},
        }

    def test_the_master_of_a_request_alone_may_ask_its_asker(self) -> None:
        """At its own hub, too, whatever the other one says."""
        mesh = self.hub()
        federation = mesh.federation
        assert federation is not None
        effects = mesh.received("here~A", "GET_X", [{}, {"answers": True}], 3)
        [frame] = [each for each in effects if isinstance(each, ToHub)]
        assert frame.frame[-1].extras["answers"] is True
        for request, sid, to in (
            (frame.request + 1, "there~M", "here~A"),
            (frame.request, "there~N", "here~A"),
            (frame.request, "there~M", "here~B"),
        ):
            question = ("ask", 9, to, None, ASK, QUESTION, self.about(request, sid))
            [answer] = [
                each for each in federation.received("there", question) if isinstance(each, ToHub)
            ]
            assert answer.frame[3]["code"] == "no_answerer"
        question = ("ask", 9, "here~A", None, ASK, QUESTION, self.about(frame.request))
        meta = delivered(federation.received("there", question))
        assert (meta["request"], meta["chain"]) == (3, ["there~9"])

    @pytest.mark.parametrize("request_number", ["1", None, 1.5, True, [1]])
    def test_what_is_no_number_of_a_request_changes_nothing(self, request_number: Any) -> None:
        """A frame of another version."""
        federation = self.hub().federation
        assert federation is not None
        about = self.about(request_number)
        with pytest.raises(Exception, match="asker"):
            federation.received("there", ("ask", 9, "here~A", None, ASK, QUESTION, about))


class TestPatience:
    """Askers that want signs of life."""

    def test_each_sign_of_life_begins_the_time_anew(self) -> None:
        """Progress and parts; nothing of that concerns other requests."""
        mesh = meet("A", "M")
        effects = mesh.received("A", "GET_M", [{}, {"idleMs": 500, "parts": 2}], 1)
        number = effects[0].request  # type: ignore[union-attr]
        assert effects[1:] == [ArmIdle(number, 0.5)]
        for event in ("REQUEST_PROGRESS", "REQUEST_PART"):
            effects = mesh.received("M", event, [{}, {"id": str(number)}])
            assert ArmIdle(number, 0.5) in effects
        plain = ask(mesh, "A", "M", ack=2)
        effects = mesh.received("M", "REQUEST_PROGRESS", [{}, {"id": plain["id"]}])
        assert not [each for each in effects if isinstance(each, ArmIdle)]

    def test_silence_ends_a_request_and_says_so(self) -> None:
        """The master is told, too."""
        mesh = meet("A", "M")
        effects = mesh.received("A", "GET_M", [{}, {"idleMs": 500}], 1)
        effects = mesh.idled(effects[0].request)  # type: ignore[union-attr]
        assert cancelled(effects) == ["M"]
        [answer] = [read_value(each.answer) for each in effects if isinstance(each, Acknowledge)]
        assert answer["code"] == "deadline_exceeded"
        assert answer["details"] == [{"delivered": True, "idle": True}]
        assert mesh.idled(99) == []

    def test_no_time_passes_while_it_is_the_asker_s_turn(self) -> None:
        """A question is open; or the master may send no further part."""
        mesh = meet("A", "M")
        effects = mesh.received("A", "GET_M", [{}, {"idleMs": 500, "answers": True}], 1)
        number = effects[0].request  # type: ignore[union-attr]
        effects = ask_back(mesh, "M", str(number))
        [put] = [each for each in effects if isinstance(each, Deliver)]
        assert ArmIdle(number, None) in effects
        effects = mesh.received("M", "REQUEST_PROGRESS", [{}, {"id": str(number)}])
        assert not [each for each in effects if isinstance(each, ArmIdle)]
        assert ArmIdle(number, 0.5) in mesh.acknowledged("A", put.request, [{}])

        effects = mesh.received("A", "GET_M", [{}, {"idleMs": 500, "parts": 1}], 2)
        number = effects[0].request  # type: ignore[union-attr]
        mesh.received("M", "REQUEST_PART", [{}, {"id": str(number)}])
        assert mesh.idled(number) == [ArmIdle(number, 0.5)]
        for arms in ([ArmIdle(number, 0.5)], []):  # the turn of its master begins, and goes on
            effects = mesh.received("A", "REQUEST_MORE", [{"request": 2, "parts": 1}])
            assert [each for each in effects if isinstance(each, ArmIdle)] == arms

    def test_a_request_that_waits_for_a_master_is_watched_as_well(self) -> None:
        """Nothing is heard of it either."""
        mesh = meet("A")
        effects = mesh.received("A", "GET_Z", [{}, {"idleMs": 500, "wait": True}], 1)
        assert any(isinstance(each, ArmIdle) for each in effects)
        [request] = mesh.rooms.peers["A"].requests.values()
        [answer] = [
            read_value(each.answer)
            for each in mesh.idled(request.number)
            if isinstance(each, Acknowledge)
        ]
        assert answer["details"] == [{"delivered": False, "idle": True}]


class TestPriority:
    """What a request may have."""

    @pytest.mark.parametrize(
        ("identity", "wanted", "expected"),
        [
            (None, 5, 0),
            (None, -5, -5),
            (None, -500, -9),
            (Identity(), 5, 0),
            (Identity(priority=3), 5, 3),
            (Identity(priority=3), 2, 2),
            (Identity(is_admin=True), 500, 9),
            (Identity(is_admin=True, priority=0), 5, 0),
            (None, True, None),
            (None, "5", None),
        ],
    )
    def test_a_hub_lowers_what_is_not_allowed(
        self, identity: Identity | None, wanted: Any, expected: int | None
    ) -> None:
        """Without a rule of access nobody goes before others; behind them anybody may go."""
        mesh = meet("A", "M", **({"A": identity} if identity else {}))
        assert ask(mesh, "A", "M", priority=wanted).get("priority") == expected

    def test_a_rule_of_access_need_not_know_of_priorities(self) -> None:
        """One that was written before there were any."""

        class Old(Access):
            def authenticate(self, auth: Any, handshake: Handshake) -> Identity:
                return Identity(usuario="ana")

            def authorize(self, identity: Identity, action: Action, room: str, name: str) -> bool:
                return True

        identity = Old().authenticate(None, Handshake("/", "", {}))
        assert identity.highest_priority == 0
