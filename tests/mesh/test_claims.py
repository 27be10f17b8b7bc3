"""Declarations that come faster than the registry decides. No socket."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, strategies as st

from alephscript.errors import Overloaded
from alephscript.mesh.effects import Acknowledge, Claim, Effect, Release
from alephscript.mesh.federation import Entry, Federation
from alephscript.mesh.limits import Limits
from alephscript.mesh.mesh import Mesh
from alephscript.protocol import events
from alephscript.protocol.json import read_value


def federated(**limits: int) -> tuple[Mesh, Federation]:
    """A hub among others, with a peer A."""
    mesh = Mesh(limits=Limits(**limits))
    federation = mesh.federate("here")
    mesh.connected("here~A")
    return mesh, federation


def declare(mesh: Mesh, feature: str, ack: int | None = None, room: str = "R") -> list[Effect]:
    """A declares."""
    return mesh.received("here~A", "MAKE_MASTER", [{"room": room, "features": [feature]}], ack)


def resign(mesh: Mesh) -> list[Effect]:
    """A resigns."""
    return mesh.received("here~A", "MAKE_MASTER", [{"room": "R", "out": True}])


def decide(federation: Federation, claim: Claim, epoch: int = 1) -> list[Effect]:
    """The registry decides as it is asked to, and tells the hub so."""
    declared = events.parse_declaration(dict(claim.declared))
    entry = Entry("here", claim.sid, "A", declared, is_core=False)
    federation.apply_decision(claim.room, epoch, [entry])
    return federation.claimed(claim, epoch)


def answers(effects: list[Effect]) -> list[tuple[int, Any]]:
    """Which acknowledgements say what about capabilities, or which code."""
    told = [each for each in effects if isinstance(each, Acknowledge)]
    return [
        (each.ack, fields.get("features", fields.get("code")))
        for each in told
        if (fields := read_value(each.answer))
    ]


def claims(effects: list[Effect]) -> list[Claim]:
    """What is put forward."""
    return [each for each in effects if isinstance(each, Claim)]


def test_of_a_thousand_declarations_the_first_and_the_last_are_put_forward() -> None:
    """All are answered: the first by its own decision, the others by that about the last."""
    mesh, federation = federated()
    (claim,) = claims(declare(mesh, "F0", 0))
    assert not [each for n in range(1, 1000) for each in declare(mesh, f"F{n}", n)]
    effects = decide(federation, claim)
    assert answers(effects) == [(0, ["F0"])]
    (last,) = claims(effects)
    assert last.declared["features"] == ["F999"]
    effects = decide(federation, last, 2)
    assert answers(effects) == [(n, ["F999"]) for n in range(1, 1000)]
    assert not claims(effects)
    assert len(federation._claims) == 0


def test_who_resigns_meanwhile_masters_nothing_afterwards() -> None:
    """And whoever declares after that does."""
    mesh, federation = federated()
    (claim,) = claims(declare(mesh, "F", 1))
    declare(mesh, "G", 2)
    assert not claims(resign(mesh))
    effects = decide(federation, claim)
    assert answers(effects) == [(1, ["F"]), (2, ["F"])]
    assert Release("here~A", "R") in effects
    assert not mesh.rooms.peers["here~A"].mastered
    (claim,) = claims(declare(mesh, "F", 1))
    resign(mesh)
    declare(mesh, "H", 2)
    (again,) = claims(decide(federation, claim))
    decide(federation, again, 2)
    assert list(mesh.rooms.peers["here~A"].mastered) == ["R"]


def test_a_registry_out_of_reach_refuses_all_that_waited() -> None:
    """Each hears so once, and nothing is put forward later."""
    mesh, federation = federated()
    (claim,) = claims(declare(mesh, "F", 1))
    declare(mesh, "G", 2)
    effects = federation.unclaimed(claim, Overloaded("later"))
    assert answers(effects) == [(1, "overloaded"), (2, "overloaded")]
    assert len(effects) == 2
    assert len(federation._claims) == 0


def test_who_leaves_meanwhile_leaves_nothing_behind() -> None:
    """Neither here nor in the registry."""
    mesh, federation = federated()
    (claim,) = claims(declare(mesh, "F", 1))
    declare(mesh, "G", 2)
    mesh.disconnected("here~A")
    assert decide(federation, claim) == [Release("here~A", "R")]
    assert len(federation._claims) == 0


def test_what_is_not_decided_yet_counts_as_mastered() -> None:
    """Else a burst would master more rooms than one may."""
    mesh, federation = federated(rooms_per_client=3)
    for n in range(3):
        assert claims(declare(mesh, "F", 1, f"R{n}"))
    assert answers(declare(mesh, "F", 1, "R3")) == [(1, "limit_exceeded")]
    assert not answers(declare(mesh, "F", 1, "R2"))
    assert len(federation._claims) == 3


def test_who_masters_nothing_costs_the_registry_nothing_by_resigning() -> None:
    """However often."""
    mesh, _ = federated()
    assert not [each for _ in range(100) for each in resign(mesh)]


STEP = st.sampled_from(["declare", "resign", "decide"])


@given(steps=st.lists(STEP, max_size=30))
def test_in_the_end_the_last_word_counts_and_all_are_answered(steps: list[str]) -> None:
    """Whatever the peer says while the registry decides, and however slowly it does."""
    mesh, federation = federated()
    under_way: list[Claim] = []
    asked: list[int] = []
    told: list[int] = []
    commands = epoch = 0

    def settle() -> None:
        nonlocal epoch
        epoch += 1
        effects = decide(federation, under_way.pop(), epoch)
        told.extend(ack for ack, _ in answers(effects))
        under_way.extend(claims(effects))

    for step in steps:
        if step == "declare":
            asked.append(len(asked))
            under_way += claims(declare(mesh, f"F{len(asked)}", asked[-1]))
            commands += 1
        elif step == "resign":
            resign(mesh)
        elif under_way:
            settle()
        assert len(under_way) <= 1
    while under_way:
        settle()
    assert sorted(told) == asked
    words = [each for each in steps if each != "decide"]
    room = mesh.rooms.get("R")
    if words and words[-1] == "declare":
        assert room is not None
        assert [each.declared.features for each in room.masters] == [(f"F{len(asked)}",)]
    else:
        assert room is None
    assert len(federation._claims) == 0


@pytest.mark.parametrize("is_first", [True, False])
def test_a_declaration_without_acknowledgement_is_not_answered(*, is_first: bool) -> None:
    """But counts."""
    mesh, federation = federated()
    (claim,) = claims(declare(mesh, "F", None if is_first else 1))
    declare(mesh, "G", 1 if is_first else None)
    effects = decide(federation, claim)
    assert len(answers(effects)) == (not is_first)
    (last,) = claims(effects)
    assert len(answers(decide(federation, last, 2))) == is_first
