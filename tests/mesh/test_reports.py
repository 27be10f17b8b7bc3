"""What a hub tells about itself has so many bytes at the most, whatever its members did."""

from __future__ import annotations

from typing import Any

import pytest

from alephscript.hub import Limits
from alephscript.mesh.access import Identity
from alephscript.mesh.effects import Acknowledge, Effect, Resume
from alephscript.mesh.mesh import Mesh
from alephscript.protocol import events
from alephscript.protocol.json import write_json

ACK = 7
LONG = "n" * 250
WIDE = "ñ" * 200


def enter(mesh: Mesh, name: str, *rooms: str, **extras: Any) -> None:
    """Connect and register a native peer."""
    mesh.connected(name[:20])
    about = {"usuario": name, "sesion": "", "protocol": events.PROTOCOL, **extras}
    mesh.received(name[:20], "CLIENT_REGISTER", [about])
    for room in rooms:
        mesh.received(name[:20], "CLIENT_SUSCRIBE", [{"room": room}])


def asked(mesh: Mesh, event: str, query: Any = None) -> dict[str, Any]:
    """The answer that a member gets."""
    effects = mesh.received("looker", event, [query], ACK)
    while any(isinstance(each, Resume) for each in effects[-1:]):
        effects[-1:] = mesh.resumed()
    (answer,) = [each.answer for each in effects if isinstance(each, Acknowledge)]
    assert isinstance(answer, dict)
    assert answer["success"] is True
    return answer


def many_extras(mesh: Mesh) -> None:
    """Two members, in many rooms, say much of themselves."""
    for name in ("a", "b"):
        enter(mesh, name, *(f"r{i}" for i in range(1000)), x="y" * 3900)


def many_names(mesh: Mesh) -> None:
    """Members with long names, in a few rooms."""
    for i in range(800):
        enter(mesh, f"{i} {LONG}", "r0", "r1")


def wide_names(mesh: Mesh) -> None:
    """Names of more bytes than characters."""
    for i in range(500):
        enter(mesh, f"{i} {WIDE}", "r0", "r1", "r2")


def many_rooms(mesh: Mesh) -> None:
    """Rooms with long names."""
    for k in range(6):
        enter(mesh, f"m{k}", *(f"{k}.{i} {LONG}"[:256] for i in range(1000)))


def many_features(mesh: Mesh) -> None:
    """A master offers much, in several rooms."""
    enter(mesh, "m")
    for k in range(4):
        features = [f"{i}.{k} {LONG}"[:256] for i in range(2000)]
        mesh.received("m", "MAKE_MASTER", [{"room": f"r{k}", "features": features}])


def long_descriptions(mesh: Mesh) -> None:
    """A master describes what it offers at length."""
    enter(mesh, "d")
    for k in range(4):
        descriptions = {f"F{k}": {"summary": "s" * 400_000, "idempotent": True}}
        declared = {"room": f"d{k}", "features": [f"F{k}"], "descriptions": descriptions}
        mesh.received("d", "MAKE_MASTER", [declared])


def many_masters(mesh: Mesh) -> None:
    """Masters with long names share rooms."""
    for i in range(600):
        enter(mesh, f"{i} {LONG}")
        for k in range(4):
            declared = {"room": f"r{k}", "features": [f"F{k}"], "group": "shared"}
            mesh.received(f"{i} {LONG}"[:20], "MAKE_MASTER", [declared])


@pytest.mark.parametrize(
    "fill",
    [
        many_extras,
        many_names,
        wide_names,
        many_rooms,
        many_features,
        long_descriptions,
        many_masters,
    ],
)
@pytest.mark.parametrize("backlog", [4_000_000, 400_000])
def test_an_answer_is_never_too_large_for_its_asker(fill: Any, backlog: int) -> None:
    """Several of them may wait for it, and it is not cut off."""
    mesh = Mesh(limits=Limits(backlog_bytes=backlog, kept_bytes=10**9, kept_bytes_of_all=10**9))
    enter(mesh, "looker")
    fill(mesh)
    for event in ("GET_SERVER_STATE", "GET_CAPABILITIES", "GET_MEMBERS"):
        assert len(write_json(asked(mesh, event))) <= backlog // 6


def test_names_of_all_come_before_what_some_say_besides() -> None:
    """A state that is too large loses its members' further fields, and says so."""
    mesh = Mesh()
    enter(mesh, "looker", "first", colour="red")
    before = asked(mesh, "GET_SERVER_STATE")
    assert before["rooms"][0]["miembros"][0]["colour"] == "red"
    assert "omitted" not in before
    many_extras(mesh)
    state = asked(mesh, "GET_SERVER_STATE")
    assert state["omitted"] == 0
    assert len(state["rooms"]) == 1001
    assert all(len(room["miembros"]) == 2 for room in state["rooms"][1:])
    assert "colour" not in state["rooms"][0]["miembros"][0]


def test_what_is_left_out_is_counted() -> None:
    """Nobody takes a part for the whole."""
    mesh = Mesh()
    enter(mesh, "looker")
    many_rooms(mesh)
    state = asked(mesh, "GET_SERVER_STATE")
    assert 0 < len(state["rooms"]) < 6000
    assert len(state["rooms"]) + state["omitted"] >= 6000
    mesh = Mesh()
    enter(mesh, "looker")
    many_names(mesh)
    many_names_left = asked(mesh, "GET_MEMBERS")
    assert "omitted" not in many_names_left
    assert len(many_names_left["members"]) == 801


def test_who_asks_for_one_room_or_capability_hears_of_it_however_much_others_offer() -> None:
    """What is offered in other rooms takes no room, and no description is left out."""
    mesh = Mesh()
    enter(mesh, "looker")
    many_features(mesh)
    long_descriptions(mesh)
    enter(mesh, "honest")
    declared = {"room": "H", "features": ["HELP"], "descriptions": {"HELP": {"summary": "helps"}}}
    mesh.received("honest", "MAKE_MASTER", [declared])
    assert asked(mesh, "GET_CAPABILITIES")["omitted"] > 0
    for query in ({"room": "H"}, {"capability": "HELP"}, {"room": "H", "capability": "HELP"}):
        answer = asked(mesh, "GET_CAPABILITIES", query)
        assert [offer["summary"] for offer in answer["offers"]] == ["helps"]
        assert "omitted" not in answer
    nothing: list[Any] = [{"room": "X"}, {"capability": "X"}, {"room": [1]}, {"capability": {}}]
    for query in nothing:
        assert asked(mesh, "GET_CAPABILITIES", query)["offers"] == []


def test_descriptions_go_before_offers_do() -> None:
    """Of all offers there are at least the names."""
    mesh = Mesh()
    enter(mesh, "looker")
    long_descriptions(mesh)
    answer = asked(mesh, "GET_CAPABILITIES")
    assert [offer["capability"] for offer in answer["offers"]] == ["F0", "F1", "F2", "F3"]
    assert all("summary" not in offer for offer in answer["offers"])


def test_what_is_left_out_says_nothing_of_rooms_that_are_not_the_askers() -> None:
    """Not even how many there are."""
    mesh = Mesh(authorize=lambda identity, _, room, __: identity.rooms is None or room == "mine")
    mesh.connected("looker", identity=Identity(rooms=frozenset({"mine"})))
    mesh.connected("all", identity=Identity())
    for name in ("looker", "all"):
        mesh.received(name, "CLIENT_REGISTER", [{"usuario": name, "x": "y" * 3900}])
        mesh.received(name, "CLIENT_SUSCRIBE", [{"room": "mine"}])
    for i in range(900):
        mesh.received("all", "CLIENT_SUSCRIBE", [{"room": f"{i} {LONG}"[:256]}])
    state = asked(mesh, "GET_SERVER_STATE")
    assert [room["roomId"] for room in state["rooms"]] == ["mine"]
    assert "omitted" not in state


@pytest.mark.parametrize("event", ["GET_SERVER_STATE", "GET_CAPABILITIES", "GET_MEMBERS"])
def test_many_questions_at_once_are_answered_in_turns(event: str) -> None:
    """A short question has a long answer: others are served in between."""
    mesh = Mesh()
    enter(mesh, "looker")
    enter(mesh, "other")
    {"GET_SERVER_STATE": many_rooms, "GET_CAPABILITIES": many_features, "GET_MEMBERS": many_names}[
        event
    ](mesh)
    effects: list[Effect] = []
    for number in range(100):
        effects += mesh.received("looker", event, [None], number)
    effects += mesh.received("other", event, [None], ACK)
    turns = []
    while effects:
        turns.append(sum(isinstance(each, Acknowledge) and _is_success(each) for each in effects))
        assert sum(isinstance(each, Resume) for each in effects) <= 1
        refused = [
            each for each in effects if isinstance(each, Acknowledge) and not _is_success(each)
        ]
        assert len(refused) == (0 if len(turns) > 1 else 100 - 16 - turns[0])
        effects = mesh.resumed() if any(isinstance(each, Resume) for each in effects) else []
    assert max(turns) <= 2
    assert sum(turns) == 16 + turns[0] + 1


def _is_success(acknowledged: Acknowledge) -> bool:
    assert isinstance(acknowledged.answer, dict)
    return acknowledged.answer["success"] is True


def test_a_peer_that_is_gone_gets_no_answer() -> None:
    """What it asked for is not even made."""
    mesh = Mesh()
    enter(mesh, "looker")
    many_rooms(mesh)
    for number in range(5):
        mesh.received("looker", "GET_SERVER_STATE", [None], number)
    mesh.disconnected("looker")
    assert mesh.resumed() == []
