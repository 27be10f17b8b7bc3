"""Who masters a room: a stack of declarations, of which the top serves and the rest stands by."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from alephscript.mesh.dialects import Dialects
from alephscript.mesh.effects import Deliver, Effect, Emit
from alephscript.mesh.masters import Masters
from alephscript.mesh.mesh import Mesh
from alephscript.mesh.peers import Master, Peer
from alephscript.protocol.events import PROTOCOL, Declaration
from tests.support.properties import examples

MESH = Mesh()
PEERS = {
    sid: Peer(sid, sid, Dialects(MESH.rooms, MESH.speech, "/runtime").documented) for sid in "ABCDE"
}
STEPS = st.tuples(
    st.sampled_from("ABCDE"), st.sampled_from(["single", "standby", "shared", ""]), st.booleans()
)


def step(masters: Masters, sid: str, group: str, *, yields: bool = False) -> Any:
    """Declare, or withdraw with an empty group."""
    if not group:
        return masters.withdraw(sid)
    return masters.declare(
        Master(PEERS[sid], Declaration("R", ("X",), group, yields=yields), is_core=False)
    )


def acting(masters: Masters) -> str:
    """Those that master the room."""
    return "".join(each.peer.sid for each in masters.acting)


@pytest.mark.parametrize(
    ("steps", "masters"),
    [
        ("A1 B1", "B"),
        ("A1 B1 B0", "A"),
        ("A1 B1 C1 C0", "B"),  # newest first
        ("A1 B1 C1 B0 C0", "A"),
        ("A1 B1 A1", "A"),  # one that declares again takes over, as a new one does
        ("A1 B1 A1 A0", "B"),
        ("A2 B2 A2", "AB"),  # seniority is kept
        ("A2 B2 C1", "C"),
        ("A2 B2 C1 C0", "AB"),
        ("A3 B1 C3 B0", "AC"),
        ("A1 B1 A-", "B"),  # a displaced one that comes back yields
        ("B1 A-", "B"),
        ("A- B1", "B"),
        ("A- B-", "A"),
        ("A1 B0", "A"),
    ],
)
def test_who_masters_a_room_after(steps: str, masters: str) -> None:
    """1, 2, 3: declared single, standby, shared; 0 gone; - declared single, and yields."""
    room = Masters()
    groups = {"1": "single", "2": "standby", "3": "shared", "0": "", "-": "single"}
    for each in steps.split():
        sid, kind = each[0], each[1]
        step(room, sid, groups[kind], yields=kind == "-")
    assert acting(room) == masters


@given(st.lists(STEPS, max_size=20))
@settings(max_examples=examples(300), deadline=None)
def test_nobody_is_forgotten_and_no_room_is_without_a_master(steps: list[Any]) -> None:
    """While anybody is declared; masters share a group, and each change tells what has changed."""
    masters, declared = Masters(), dict[str, str]()
    for sid, group, yields in steps:
        before, epoch = acting(masters), masters.epoch
        serving = [each.peer for each in masters.serving]
        known = set(declared)
        change = step(masters, sid, group, yields=yields)
        declared.pop(sid, None)
        if group:
            declared[sid] = group
        now = acting(masters)
        assert {each.peer.sid for each in masters} == set(declared)
        assert {each.peer.sid for each in masters.displaced} == set(declared) - set(now)
        assert bool(now) == bool(declared)
        assert len({declared[each] for each in now}) <= 1
        assert len(now) <= 1 or declared[now[0]] != "single"
        others = known - {sid}
        assert {p.sid for p in change.displaced} - {sid} == (set(before) - set(now)) & others
        assert {p.sid for p in change.restored} - {sid} == (set(now) - set(before)) & others
        assert change.is_new == ([each.peer for each in masters.serving] != serving)
        assert masters.epoch == epoch + change.is_new
        if yields and group and before and sid not in known:
            assert set(before) <= set(now)  # nobody is displaced by one that yields


def enter(mesh: Mesh, sid: str, *, ours: bool = False) -> None:
    """Connect and register."""
    mesh.connected(sid)
    extras = {"protocol": PROTOCOL} if ours else {}
    mesh.received(sid, "CLIENT_REGISTER", [{"usuario": sid, "sesion": "", **extras}])


def declare(mesh: Mesh, sid: str, dialect: str, **fields: Any) -> list[Effect]:
    """Declare in a dialect."""
    data = {"features": ["X"], **fields}
    if dialect == "core":
        envelope = {"event": "MAKE_MASTER", "room": "R", "data": data}
        return mesh.received(sid, "ROOM_MESSAGE", [envelope])
    return mesh.received(sid, "MAKE_MASTER", [{"room": "R", **data}], 1)


def told(effects: list[Effect], sid: str) -> list[Any]:
    """What a socket is told of masters."""
    return [
        each.args[0]
        for each in effects
        if isinstance(each, Emit) and each.event == "MASTER_CHANGED" and sid in each.to
    ]


@pytest.mark.parametrize("dialect", ["native", "documented", "core"])
@pytest.mark.parametrize("how", ["gone", "resigned"])
def test_a_displaced_master_of_any_dialect_serves_again(dialect: str, how: str) -> None:
    """The other is gone, or resigned; what waited for a master is put to the displaced one."""
    mesh = Mesh()
    enter(mesh, "M", ours=dialect == "native")
    enter(mesh, "N", ours=True)
    enter(mesh, "A", ours=True)
    declare(mesh, "M", dialect)
    displacing = {"room": "R", "usuario": "N", "epoch": 2, "displaced": True}
    assert told(declare(mesh, "N", "native", features=["Y"]), "M") == [displacing]
    peer = mesh.rooms.peers["M"]
    assert (list(peer.mastered), list(peer.displaced)) == ([], ["R"])
    waiting = mesh.received("A", "GET_X", [{}, {"wait": True}], 1)
    assert not any(isinstance(each, Deliver) for each in waiting)
    if how == "gone":
        effects = mesh.disconnected("N")
    else:
        effects = mesh.received("N", "MAKE_MASTER", [{"room": "R", "out": True}], 2)
    again = {"room": "R", "usuario": "M", "epoch": 3, "displaced": False}
    assert told(effects, "M") == [again]
    assert [each.to for each in effects if isinstance(each, Deliver)] == ["M"]
    assert (list(peer.mastered), list(peer.displaced)) == (["R"], [])


def test_a_displaced_master_that_goes_leaves_nothing() -> None:
    """Neither what it declared, nor its room."""
    mesh = Mesh()
    for sid in "MN":
        enter(mesh, sid)
        declare(mesh, sid, "documented")
    assert told(mesh.disconnected("M"), "N") == []
    mesh.disconnected("N")
    assert list(mesh.rooms) == []


def test_a_displaced_master_that_resigns_stays_away() -> None:
    """When the other goes, nobody serves."""
    mesh = Mesh()
    for sid in "MN":
        enter(mesh, sid, ours=True)
        declare(mesh, sid, "native")
    before = mesh.rooms.peers["M"].account.kept
    mesh.received("M", "MAKE_MASTER", [{"room": "R", "out": True}], 2)
    assert mesh.rooms.peers["M"].account.kept < before
    mesh.disconnected("N")
    assert list(mesh.rooms) == []


def test_a_displaced_master_is_told_in_one_event_with_the_others_number() -> None:
    """A member hears once of a change, and a history counts once."""
    mesh = Mesh(history=10, incarnation="h")
    for sid in "MNO":
        enter(mesh, sid, ours=True)
        mesh.received(sid, "CLIENT_SUSCRIBE", [{"room": "R"}])
    declare(mesh, "M", "native")
    effects = declare(mesh, "N", "native")
    emits = [each for each in effects if isinstance(each, Emit)]
    assert [(each.to, each.args[1]["number"]) for each in emits] == [(("O",), 2), (("M",), 2)]
