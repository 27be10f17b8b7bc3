"""What peers say of requests, and the hub knows better: chains, and credit of streams."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from alephscript.mesh.effects import Acknowledge, Deliver, Effect, Emit, Ended, ToHub
from alephscript.mesh.federation import Entry
from alephscript.mesh.mesh import Mesh
from alephscript.protocol import events
from alephscript.protocol.json import read_value
from tests.support.properties import examples

PARTS = {"parts": 2}


def meet(*sids: str) -> Mesh:
    """Native peers, each the master of a room and a capability of its name."""
    mesh = Mesh()
    for sid in sids:
        mesh.connected(sid)
        mesh.received(sid, "CLIENT_REGISTER", [{"usuario": sid, "protocol": events.PROTOCOL}])
        mesh.received(sid, "MAKE_MASTER", [{"room": f"of {sid}", "features": [sid]}])
    return mesh


def ask(mesh: Mesh, asker: str, whom: str, ack: int, **meta: Any) -> list[Effect]:
    """One peer asks another."""
    return mesh.received(asker, f"GET_{whom}", [{}, meta], ack)


def delivered(effects: list[Effect]) -> dict[str, Any]:
    """The meta that the master gets."""
    [effect] = effects
    assert isinstance(effect, Deliver)
    meta: dict[str, Any] = effect.args[1]
    return meta


def codes(effects: list[Effect]) -> list[str]:
    """How requests were answered."""
    return [
        read_value(each.answer).get("code", "ok")
        for each in effects
        if isinstance(each, Acknowledge)
    ]


# Chains


@pytest.mark.parametrize(
    "chain",
    [["1"], ["2", "1"], ["0"], ["-1"], [""], ["1.0"], ["x"], ["9" * 400], ["1"] * 100, [], "1", 7],
)
def test_an_asker_is_not_believed_a_request_that_it_does_not_serve(chain: Any) -> None:
    """Neither one of others, nor one of its own, nor what is no number at all."""
    mesh = meet("A", "B", "C")
    assert delivered(ask(mesh, "C", "A", 1))["id"] == "1"  # B's to name it is not, nor C's
    for asker in "BC":
        assert "chain" not in delivered(ask(mesh, asker, "A", 9, chain=chain))


def test_a_chain_is_what_the_hub_knows_of_it() -> None:
    """A asks B, B asks C, C asks A: each says what it likes about those above."""
    mesh = meet("A", "B", "C")
    first = delivered(ask(mesh, "A", "B", 1))
    second = delivered(ask(mesh, "B", "C", 1, chain=["77", first["id"]]))
    assert second["chain"] == [first["id"]]
    third = delivered(ask(mesh, "C", "A", 1, chain=[second["id"]]))
    assert third["chain"] == [first["id"], second["id"]]
    # A method that goes on after its request has ended may still stand inside an earlier one.
    assert delivered(ask(mesh, "C", "B", 2, chain=[second["id"], "88"]))["chain"] == [
        first["id"],
        second["id"],
    ]


def test_an_ended_request_leads_to_nothing() -> None:
    """Its number may be named for ever, and by whoever has read it."""
    mesh = meet("A", "B", "C")
    first = delivered(ask(mesh, "A", "B", 1))
    mesh.acknowledged("B", int(first["id"]), [{"success": True}])
    assert "chain" not in delivered(ask(mesh, "B", "C", 1, chain=[first["id"]]))


def test_sixteen_requests_inside_each_other_are_enough() -> None:
    """By the hub's count: leaving out what is above helps nobody."""
    mesh = meet("A", "B")
    above: list[str] = []
    for step in range(17):
        asker, whom = "AB" if step % 2 == 0 else "BA"
        effects = ask(mesh, asker, whom, step, chain=above[-1:])
        above.append(delivered(effects)["id"])
    assert codes(ask(mesh, "B", "A", 99, chain=above[-1:])) == ["conflict"]


def test_a_number_of_another_hub_means_no_request_of_this_one() -> None:
    """Hubs count alike: 1 there is not 1 here; what began here is known when it comes back."""
    mesh = Mesh()
    federation = mesh.federate("here")
    federation.resynchronise(["there"], {})
    for sid in ("here~A", "here~C"):
        mesh.connected(sid)
        mesh.received(sid, "CLIENT_REGISTER", [{"usuario": sid, "protocol": events.PROTOCOL}])
    for room, hub, sid in (("A", "here", "here~A"), ("B", "there", "there~B")):
        declared = events.Declaration(room, (room,))
        federation.apply_decision(room, 1, [Entry(hub, sid, room, declared, is_core=False)])
    first = delivered(ask(mesh, "here~C", "A", 1))
    [asked] = ask(mesh, "here~A", "B", 1, chain=[first["id"]])
    assert isinstance(asked, ToHub)
    extras = asked.frame[-1].extras
    assert extras["chain"] == [first["id"]]

    # What the other hub makes of it.
    theirs = Mesh()
    other = theirs.federate("there")
    other.resynchronise(["here"], {})
    theirs.connected("there~B")
    theirs.received("there~B", "CLIENT_REGISTER", [{"usuario": "B", "protocol": events.PROTOCOL}])
    for room, hub, sid in (("A", "here", "here~A"), ("B", "there", "there~B")):
        declared = events.Declaration(room, (room,))
        other.apply_decision(room, 1, [Entry(hub, sid, room, declared, is_core=False)])
    second = delivered(other.received("here", asked.frame))
    assert second["chain"] == ["here~1"]
    assert second["id"] == first["id"] == "1"
    [back] = ask(theirs, "there~B", "A", 1, chain=[second["id"]])
    assert isinstance(back, ToHub)
    third = delivered(federation.received("there", back.frame))
    assert third["chain"] == [first["id"], "there~1"]


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["ask", "answer"]),
        st.sampled_from("ABC"),
        st.sampled_from("ABC"),
        st.lists(st.integers(0, 9).map(str), max_size=4),
    ),
    max_size=30,
)


@settings(max_examples=examples(200))
@given(STEPS)
def test_what_masters_read_of_a_chain_is_true(steps: list[tuple[str, str, str, list[str]]]) -> None:
    """Whoever asks whom, and claims what: each link was asked by the master of the one before."""
    mesh = meet("A", "B", "C")
    asked: dict[str, tuple[str, str]] = {}  # asker and master, by number
    running: list[str] = []
    for ack, (what, asker, whom, claims) in enumerate(steps):
        if what == "answer":
            if running:
                number = running.pop(0)
                mesh.acknowledged(asked[number][1], int(number), [{"success": True}])
            continue
        effects = ask(mesh, asker, whom, ack, chain=claims)
        meta = delivered(effects)
        number = meta["id"]
        chain = meta.get("chain", [])
        if chain:
            assert chain[-1] in running
        for above, below in itertools.pairwise([*chain, number]):
            by = asker if below == number else asked[below][0]
            assert asked[above][1] == by
        asked[number] = (asker, whom)
        running.append(number)


# Credit


def part(mesh: Mesh, number: str) -> list[Effect]:
    """The master B sends one part."""
    return mesh.received("B", "REQUEST_PART", ["z", {"id": number}])


def test_a_master_that_sends_more_than_was_granted_has_its_request_ended() -> None:
    """The asker hears of it at once, the master is told, and what comes later reaches nobody."""
    mesh = meet("A", "B")
    number = delivered(ask(mesh, "A", "B", 1, **PARTS))["id"]
    assert [len(part(mesh, number)) for _ in range(2)] == [1, 1]
    mesh.received("A", "REQUEST_MORE", [{"request": 1, "parts": 1}])
    assert len(part(mesh, number)) == 1
    effects = part(mesh, number)
    assert codes(effects) == ["internal"]
    assert Ended(int(number), "B", "internal") in effects
    told = {"id": number, "reason": "overrun"}
    assert Emit(("B",), "CANCEL_REQUEST", (told,)) in effects
    assert part(mesh, number) == []


@pytest.mark.parametrize("grant", [0, -1, 1025, 1e9, None, "9", True, {}])
def test_credit_that_is_none_grants_nothing(grant: Any) -> None:
    """Of whatever type."""
    mesh = meet("A", "B")
    number = delivered(ask(mesh, "A", "B", 1, **PARTS))["id"]
    assert mesh.received("A", "REQUEST_MORE", [{"request": 1, "parts": grant}]) == []
    part(mesh, number)
    part(mesh, number)
    assert codes(part(mesh, number)) == ["internal"]


def test_nobody_grants_for_another() -> None:
    """The acknowledgement id counts for its asker alone."""
    mesh = meet("A", "B", "C")
    number = delivered(ask(mesh, "A", "B", 1, **PARTS))["id"]
    assert mesh.received("C", "REQUEST_MORE", [{"request": 1, "parts": 9}]) == []
    part(mesh, number)
    part(mesh, number)
    assert codes(part(mesh, number)) == ["internal"]


def test_an_asker_that_knows_no_parts_is_sent_none() -> None:
    """It has granted none."""
    mesh = meet("A", "B")
    number = delivered(ask(mesh, "A", "B", 1))["id"]
    assert codes(part(mesh, number)) == ["internal"]
