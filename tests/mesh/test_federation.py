"""Several hubs as one of them sees it: what is kept, what waits, what is given up. No socket."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from alephscript.errors import InvalidPayload
from alephscript.hub import Limits, SharedToken
from alephscript.mesh.effects import Acknowledge, Claim, Deliver, Effect, Emit, Release, ToHub
from alephscript.mesh.federation import Entry, Federation
from alephscript.mesh.frames import About
from alephscript.mesh.mesh import Mesh
from alephscript.protocol import events
from alephscript.protocol.json import read_value

ACK = 7


@pytest.fixture
def mesh() -> Mesh:
    """A hub named here, which knows one named there, and has a peer A of our protocol."""
    mesh = Mesh()
    mesh.federate("here").resynchronise(["there"], {})
    mesh.connected("here~A")
    mesh.received("here~A", "CLIENT_REGISTER", [{"usuario": "A", "protocol": events.PROTOCOL}])
    return mesh


@pytest.fixture
def federation(mesh: Mesh) -> Federation:
    """What that hub knows of others."""
    assert mesh.federation is not None
    return mesh.federation


def entry(hub: str, sid: str) -> Entry:
    """A master of room R with the capability X."""
    return Entry(hub, f"{hub}~{sid}", sid, events.Declaration("R", ("X",)), is_core=False)


def put(effects: list[Effect]) -> ToHub:
    """The one frame that asks."""
    (frame,) = [each for each in effects if isinstance(each, ToHub) and each.frame[0] == "ask"]
    return frame


def code(effects: list[Effect]) -> Any:
    """How the asker was answered."""
    (answer,) = [each.answer for each in effects if isinstance(each, Acknowledge)]
    return read_value(answer).get("code", "ok")


def test_a_claim_of_somebody_who_has_gone_is_released(mesh: Mesh, federation: Federation) -> None:
    """Else its room would be mastered by nobody, and by nobody else."""
    (claim,) = mesh.received("here~A", "MAKE_MASTER", [{"room": "R", "features": ["X"]}], 1)
    assert isinstance(claim, Claim)
    assert mesh.disconnected("here~A") == []
    assert federation.claimed(claim, 1) == [Release("here~A", "R")]


def test_what_reached_nobody_is_asked_of_whoever_serves_next(
    mesh: Mesh, federation: Federation
) -> None:
    """Nothing ran, so that does no harm; the deadline goes on."""
    federation.apply_decision("R", 1, [entry("there", "M")])
    asked = put(mesh.received("here~A", "GET_X", [{}], ACK))
    assert federation.undelivered("there", asked.frame) == []
    again = put(federation.apply_decision("R", 2, [entry("third", "N")]))
    assert (again.hub, again.request, again.seconds) == ("third", asked.request, None)
    assert federation.received("there", ("moved", asked.request, "there~M")) == []
    answer = ("answer", asked.request, "third~N", {"success": True}, "")
    assert code(federation.received("third", answer)) == "ok"


def test_what_reached_nobody_ends_when_nobody_serves_any_more(
    mesh: Mesh, federation: Federation
) -> None:
    """At once, and nothing of it stays."""
    federation.apply_decision("R", 1, [entry("there", "M")])
    asked = put(mesh.received("here~A", "GET_X", [{}], ACK))
    assert federation.received("there", ("moved", asked.request, "there~M")) == []
    assert code(federation.apply_decision("R", 2, [])) == "no_master"
    assert len(mesh.requests) == 0


def test_a_refusal_that_comes_after_the_decision_is_acted_on_at_once(
    mesh: Mesh, federation: Federation
) -> None:
    """No further decision will come."""
    federation.apply_decision("R", 1, [entry("there", "M")])
    asked = put(mesh.received("here~A", "GET_X", [{}], ACK))
    assert not [e for e in federation.apply_decision("R", 2, []) if isinstance(e, Acknowledge)]
    moved = federation.received("there", ("moved", asked.request, "there~M"))
    assert code(moved) == "no_master"


def test_a_lost_hub_ends_what_it_had_and_only_that(mesh: Mesh, federation: Federation) -> None:
    """Of masters and of members that were asked about themselves."""
    federation.hubs.add("third")
    federation.apply_decision("R", 1, [entry("third", "N")])
    other = put(mesh.received("here~A", "GET_X", [{}], 1))
    pinged = mesh.received("here~A", "GET_MEMBER_PING", [{}, {"member": "there~P"}], 2)
    assert put(pinged).hub == "there"
    assert code(federation.hub_gone("there")) == "master_lost"
    assert federation.is_waiting
    assert len(mesh.requests) == 1
    assert code(federation.hub_gone("third")) == "master_lost"
    assert mesh.requests.get(other.request) is None
    assert not federation.is_waiting


def test_members_of_hubs_that_there_are_not_leave_nothing_behind(
    mesh: Mesh, federation: Federation
) -> None:
    """Whoever makes up their ids is told at once, and no other hub hears of it."""
    for number in range(1000):
        member = {"member": f"made-up~{number}"}
        effects = mesh.received("here~A", "GET_MEMBER_PING", [{}, member], ACK)
        assert code(effects) == "no_master"
        assert not [each for each in effects if isinstance(each, ToHub)]
    for number in range(1000):
        member = {"member": f"there~{number}"}
        asked = put(mesh.received("here~A", "GET_MEMBER_PING", [{}, member], ACK))
        federation.undelivered("there", asked.frame)
    assert len(mesh.requests) == 0
    assert federation._masters == {}


def test_adrift_a_hub_goes_on_with_its_own(mesh: Mesh, federation: Federation) -> None:
    """What is elsewhere ends, what is here stays, and the state is told without asking others."""
    mesh.received("here~A", "MAKE_MASTER", [{"room": "H", "features": ["Y"]}])
    here = Entry("here", "here~A", "A", events.Declaration("H", ("Y",)), is_core=False)
    federation.apply_decision("H", 1, [here])
    federation.apply_decision("R", 1, [entry("there", "M")])
    mesh.connected("here~B")
    mesh.received("here~B", "GET_X", [{}], 1)
    asked = mesh.received("here~B", "GET_Y", [{}], 2)
    assert code(federation.go_adrift()) == "master_lost"
    assert mesh.rooms.get("R") is None
    room = mesh.rooms.get("H")
    assert room is not None
    assert len(list(room.masters)) == 1
    assert len(asked) == len(mesh.requests) == 1
    assert code(mesh.received("here~B", "GET_SERVER_STATE", [], 3)) == "ok"


def test_what_a_hub_has_its_askers_keep_here_is_bounded_for_all_of_them_together() -> None:
    """Beyond, they are told so; each hub has its own share, and what has ended is given back."""
    mesh = Mesh(limits=Limits(kept_bytes_of_all=100_000))
    federation = mesh.federate("here")
    federation.resynchronise(["there", "third"], {})
    mesh.connected("here~A")
    own = attrs.evolve(entry("here", "A"), declared=events.Declaration("R", ("X",)))
    federation.apply_decision("R", 1, [own])
    mesh.budget.message_bytes = 1_000
    about = About("there~1", "B", meta=True, seconds=5.0, extras={}, envelope={})
    put_by_there: tuple[Any, ...] = ("ask", 7, "here~A", "R", "GET_X", {}, about)

    def asked(hub: str, number: int) -> list[Effect]:
        about = About(f"{hub}~{number}", "B", meta=True, seconds=5.0, extras={}, envelope={})
        return federation.received(hub, ("ask", number, "here~A", "R", "GET_X", {}, about))

    put = [each for number in range(1, 1000) for each in asked("there", number)]
    delivered = [each for each in put if isinstance(each, Deliver)]
    assert len(delivered) == len(mesh.requests) == 400_000 // 1_800
    refused = [each for each in put if isinstance(each, ToHub)]
    assert {each.frame[3]["code"] for each in refused} == {"overloaded"}
    assert isinstance(asked("third", 1)[0], Deliver)
    for each in delivered:
        mesh.acknowledged("here~A", each.request, [{"success": True}])
    assert isinstance(asked("there", 1)[0], Deliver)
    with pytest.raises(InvalidPayload):  # who names an asker of another hub
        federation.received("third", put_by_there)
    federation.hub_gone("there")
    assert len(mesh.requests) == 1


def test_who_has_not_been_identified_may_do_nothing_where_that_is_asked() -> None:
    """A hub that asks who they are must not trust one that does not."""
    mesh = Mesh(authorize=SharedToken("s").authorize)
    mesh.connected("x")
    effects = mesh.received("x", "CLIENT_SUSCRIBE", [{"room": "R"}], ACK)
    assert code(effects) == "permission_denied"


def test_a_hub_that_goes_hands_its_rooms_over(mesh: Mesh, federation: Federation) -> None:
    """Where others stand by at once, elsewhere when all is done; what masters have they finish."""
    for room in ("R", "S"):
        (claim,) = mesh.received("here~A", "MAKE_MASTER", [{"room": room, "features": ["X"]}], 1)
        assert isinstance(claim, Claim)
        own = attrs.evolve(entry("here", "A"), declared=events.Declaration(room, ("X",)))
        federation.apply_decision(room, 1, [entry("there", "M"), own] if room == "R" else [own])
        federation.claimed(claim, 1)
    about = {"sid": "there~B", "name": "B", "identity": None, "meta": True, "seconds": 5.0}
    ask: Any = ("ask", 1, "here~A", "R", "GET_X", {}, {**about, "extras": {}, "envelope": {}})
    (asked,) = federation.received("there", ask)
    assert isinstance(asked, Deliver)
    release, told = federation.hand_over(is_last=False)
    assert release == Release("here~A", "R")
    assert isinstance(told, Emit)
    assert (told.to, told.event) == (("here~A",), "MASTER_CHANGED")
    # What comes late goes on to the next one, and what is there is answered.
    assert federation.received("there", ("ask", 2, *ask[2:])) == [
        ToHub("there", ("moved", 2, "here~A"))
    ]
    federation.apply_decision("R", 2, [entry("there", "M")])
    answered = mesh.acknowledged("here~A", asked.request, [{"success": True}])
    (answer,) = [each for each in answered if isinstance(each, ToHub)]
    assert answer.frame[:3] == ("answer", 1, "here~A")
    assert federation.hand_over(is_last=False) == []
    assert federation.hand_over(is_last=True) == [Release("here~A", "S")]
    mesh.requests.closing = True  # its own members hear of that, not of rooms without a master
    assert code(mesh.received("here~A", "GET_X", [{}, {"room": "S"}], ACK)) == "overloaded"
