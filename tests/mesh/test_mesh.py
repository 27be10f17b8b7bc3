"""The rules of docs/reference/protocol.md and docs/explanation/requests.md, each by example.

Sockets have letters in these tests: M masters, R asks, O watches, all in AAIA_ROOM; U is outside.
"""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from alephscript.errors import InvalidPayload, PayloadTooLarge, StateError
from alephscript.mesh.effects import Acknowledge, Deliver, Effect, Emit, Ended
from alephscript.mesh.mesh import Mesh
from alephscript.protocol import events
from alephscript.protocol.json import write_json

ROOM = "AAIA_ROOM"
STEP = "GET_AAIA_STEP_FIA"
STEPPED = "SET_AAIA_STEP_FIA"
ACK = 7


def enter(mesh: Mesh, sid: str, *rooms: str, ours: bool = False) -> None:
    """Connect, register as the transcript's clients do, and subscribe."""
    mesh.connected(sid, f"engine-{sid}")
    protocol = {"protocol": events.PROTOCOL} if ours else {}
    mesh.received(sid, "CLIENT_REGISTER", [{"usuario": sid, "sesion": f"s-{sid}", **protocol}])
    for room in rooms:
        mesh.received(sid, "CLIENT_SUSCRIBE", [{"room": room}])


@pytest.fixture
def mesh() -> Mesh:
    """M, R and O in AAIA_ROOM, U outside; nobody is master yet."""
    mesh = Mesh()
    for sid in "MRO":
        enter(mesh, sid, ROOM)
    enter(mesh, "U")
    return mesh


def direct_master(mesh: Mesh, sid: str = "M", room: str = ROOM, *features: str) -> list[Effect]:
    """Declare as DOC peers do."""
    payload = {"room": room, "features": list(features or ("AAIA_STEP_FIA",))}
    return mesh.received(sid, "MAKE_MASTER", [payload], 1)


def envelope_master(mesh: Mesh, sid: str = "M", room: str = ROOM, *features: str) -> list[Effect]:
    """Declare as CORE peers do."""
    data = {"features": list(features)}
    return mesh.received(sid, "ROOM_MESSAGE", [room_message("MAKE_MASTER", data, room)], 1)


def room_message(event: Any, data: Any = None, room: Any = ROOM, **extras: Any) -> dict[str, Any]:
    """An envelope."""
    return {"event": event, "room": room, "data": data, **extras}


def say(
    mesh: Mesh,
    sid: str,
    event: Any,
    data: Any = None,
    ack: int | None = None,
    *,
    room: Any = ROOM,
    **extras: Any,
) -> list[Effect]:
    """Send ROOM_MESSAGE."""
    return mesh.received(sid, "ROOM_MESSAGE", [room_message(event, data, room, **extras)], ack)


def state_for(mesh: Mesh, sid: str) -> dict[str, Any]:
    """SET_SERVER_STATE as one socket gets it."""
    return mesh.reports.state_for(mesh.rooms.peers[sid])


def heard(effects: list[Effect]) -> dict[str, list[tuple[Any, ...]]]:
    """What each socket receives, in order: the event and its arguments."""
    received: dict[str, list[tuple[Any, ...]]] = {}
    for effect in effects:
        if isinstance(effect, Emit) and effect.event != "MASTER_CHANGED":
            assert len(set(effect.to)) == len(effect.to) > 0
            for sid in effect.to:
                received.setdefault(sid, []).append((effect.event, *effect.args))
        elif isinstance(effect, Deliver):
            received.setdefault(effect.to, []).append((effect.event, *effect.args))
    return received


def answers(effects: list[Effect]) -> list[tuple[str, int, Any]]:
    """The acknowledgements."""
    return [(e.sid, e.ack, e.answer) for e in effects if isinstance(e, Acknowledge)]


def the_answer(effects: list[Effect], sid: str = "R", ack: int = ACK) -> dict[str, Any]:
    """The one acknowledgement there is."""
    answer: dict[str, Any]
    ((to, under, answer),) = answers(effects)
    assert (to, under) == (sid, ack)
    return answer


def the_failure(effects: list[Effect], sid: str = "R", ack: int = ACK) -> str:
    """The code of the one acknowledgement there is."""
    answer = the_answer(effects, sid, ack)
    assert answer["success"] is False
    assert isinstance(answer["error"], str)
    assert answer["error"]
    return str(answer["code"])


def number(effects: list[Effect]) -> int:
    """The number of the request that was born."""
    (asked,) = (effect for effect in effects if isinstance(effect, Deliver))
    assert asked.seconds is not None
    return asked.request


def deadline(effects: list[Effect]) -> float | None:
    """Seconds until the deadline of the request that was born."""
    (asked,) = (effect for effect in effects if isinstance(effect, Deliver))
    return asked.seconds


def ended(effects: list[Effect]) -> list[int]:
    """The numbers of the requests that ended."""
    return [effect.request for effect in effects if isinstance(effect, Ended)]


# Who is there: docs/reference/protocol.md, Client to hub


def test_a_registration_is_acknowledged_with_protocol_and_id(mesh: Mesh) -> None:
    """By the protocol a client of ours knows its hub; stock clients read `success`."""
    effects = mesh.received("R", "CLIENT_REGISTER", [{"usuario": "R", "sesion": "s-R"}], ACK)
    assert effects == [
        Acknowledge("R", ACK, {"success": True, "protocol": "alephscript/1", "socketId": "R"})
    ]


def test_a_registration_without_callback_is_silent(mesh: Mesh) -> None:
    """As on stock hubs."""
    assert mesh.received("R", "CLIENT_REGISTER", [{"usuario": "R"}]) == []


@pytest.mark.parametrize(
    ("event", "args"),
    [
        ("CLIENT_REGISTER", []),
        ("CLIENT_REGISTER", [None]),
        ("CLIENT_SUSCRIBE", [None]),
        ("CLIENT_SUSCRIBE", [{"room": ""}]),
        ("CLIENT_UNSUSCRIBE", [None]),
        ("MAKE_MASTER", [{"room": ROOM, "features": "X"}]),
        ("ROOM_MESSAGE", [None]),
        ("ROOM_MESSAGE", [{"event": "FIA_STEP"}]),
        ("ROOM_MESSAGE", [room_message("MAKE_MASTER", {"features": [7]})]),
    ],
)
def test_what_ends_the_upstream_hub_is_answered_here(
    mesh: Mesh, event: str, args: list[Any]
) -> None:
    """A null CLIENT_REGISTER, CLIENT_SUSCRIBE or ROOM_MESSAGE costs one error."""
    assert the_failure(mesh.received("R", event, args, ACK)) == "invalid_payload"
    assert mesh.received("R", event, args) == []


def test_an_id_is_used_once_at_a_time(mesh: Mesh) -> None:
    """Two sockets of one id would be a broken shell."""
    with pytest.raises(StateError, match="socket R is connected already"):
        mesh.connected("R")
    mesh.disconnected("R")
    assert mesh.connected("R") == []


def test_the_mesh_counts_its_sockets(mesh: Mesh) -> None:
    """Registered or not."""
    mesh.connected("N")
    assert mesh.clients == 5
    mesh.disconnected("N")
    assert mesh.clients == 4


def test_a_socket_that_is_not_there_has_no_effect(mesh: Mesh) -> None:
    """Whatever the shell still holds of it comes too late."""
    assert mesh.received("X", "CLIENT_SUSCRIBE", [{"room": ROOM}], ACK) == []
    assert mesh.refused("X", ACK, InvalidPayload("x")) == []
    assert mesh.disconnected("X") == []


def test_what_could_not_be_read_is_refused_once(mesh: Mesh) -> None:
    """The shell's own complaints go the same way."""
    effects = mesh.refused("R", ACK, PayloadTooLarge("too deep"))
    assert the_failure(effects) == "payload_too_large"
    assert mesh.refused("R", None, PayloadTooLarge("too deep")) == []


# Rooms: docs/reference/protocol.md, Client to hub


def test_subscribing_is_announced_and_acknowledged(mesh: Mesh) -> None:
    """R > CLIENT_SUSCRIBE with callback: SUSCRIBE_OK, room_joined, and the acknowledgement."""
    assert mesh.received("U", "CLIENT_SUSCRIBE", [{"room": ROOM}], ACK) == [
        Emit(("U",), "SUSCRIBE_OK", ({"room": ROOM},)),
        Emit(("U",), "room_joined", ({"room": ROOM},)),
        Acknowledge("U", ACK, {"success": True, "room": ROOM}),
    ]


def test_subscribing_twice_makes_one_member(mesh: Mesh) -> None:
    """Upstream lists it twice, and it hears everything twice."""
    assert mesh.received("R", "CLIENT_SUSCRIBE", [{"room": ROOM}], ACK)
    effects = say(mesh, "M", "FIA_STEP", 1, ACK)
    assert heard(effects)["R"] == [("FIA_STEP", 1)]
    assert the_answer(effects, "M")["members"] == 3


@pytest.mark.parametrize(
    ("event", "payload"),
    [
        ("CLIENT_SUSCRIBE", {"room": ROOM, "out": True}),
        ("CLIENT_UNSUSCRIBE", {"room": ROOM}),
    ],
)
@pytest.mark.parametrize("sid", ["R", "U"])
def test_leaving_is_announced_also_to_who_was_not_in(
    mesh: Mesh, sid: str, event: str, payload: dict[str, Any]
) -> None:
    """Both spellings, idempotent."""
    assert mesh.received(sid, event, [payload], ACK) == [
        Emit((sid,), "room_left", ({"room": ROOM},)),
        Acknowledge(sid, ACK, {"success": True, "room": ROOM}),
    ]
    assert sid not in heard(say(mesh, "M", "FIA_STEP"))


@pytest.mark.parametrize(
    "subscribe", ["CLIENT_SUSCRIBE", "MAKE_MASTER", "ROOM_MESSAGE"], ids=str.lower
)
def test_a_living_sockets_id_is_no_room(mesh: Mesh, subscribe: str) -> None:
    """U > CLIENT_SUSCRIBE {room: O.id}: upstream lets it read all that is sent to O."""
    payload = room_message("MAKE_MASTER", {"features": []}, "O")
    effects = mesh.received("U", subscribe, [payload], ACK)
    assert the_failure(effects, "U") == "invalid_payload"
    envelope_master(mesh, "O")
    effects = say(mesh, "R", "GET_SECRET", {}, ACK)
    assert set(heard(effects)) == {"O"}


def test_a_subscription_needs_no_callback(mesh: Mesh) -> None:
    """CORE clients ask for none and wait for SUSCRIBE_OK."""
    effects = mesh.received("U", "CLIENT_SUSCRIBE", [{"room": ROOM}])
    assert [event for event, *_ in heard(effects)["U"]] == ["SUSCRIBE_OK", "room_joined"]
    assert answers(effects) == []


# What is said in a room: docs/reference/protocol.md, Client to hub


def test_an_event_reaches_the_whole_room_and_its_sender(mesh: Mesh) -> None:
    """U > ROOM_MESSAGE {FIA_STEP, data:{n:1}}: M,R,O < {n:1}, unchanged, without sender."""
    effects = say(mesh, "U", "FIA_STEP", {"n": 1}, ACK)
    assert heard(effects) == {sid: [("FIA_STEP", {"n": 1})] for sid in "MRO"}
    assert the_answer(effects, "U") == {"success": True, "room": ROOM, "members": 3}
    assert heard(say(mesh, "R", "FIA_STEP", {"n": 2}))["R"] == [("FIA_STEP", {"n": 2})]


def test_an_event_without_data_carries_null(mesh: Mesh) -> None:
    """One argument in any case; python-socketio would send none for None."""
    effects = mesh.received("U", "ROOM_MESSAGE", [{"event": "FIA_STEP", "room": ROOM}])
    assert heard(effects)["R"] == [("FIA_STEP", None)]


@pytest.mark.parametrize("event", ["FIA_STEP", "SET_X", "RELEASE_MASTER"])
@pytest.mark.parametrize("ack", [ACK, None])
def test_an_event_said_by_its_own_name_is_as_one_in_an_envelope(
    event: str, ack: int | None
) -> None:
    """A native peer names the room in the meta: all else is the same."""
    by_envelope, directly = Mesh(history=2), Mesh(history=2)
    for mesh in (by_envelope, directly):
        enter(mesh, "U", ours=True)
        enter(mesh, "R", ROOM)
        enter(mesh, "O", ROOM, ours=True)
    data = msgspec.Raw(b'{"n":1}')
    args = [data, msgspec.Raw(write_json({"room": ROOM}))]
    effects = directly.received("U", event, args, ack)
    assert set(heard(effects)) == {"R", "O"}
    assert effects == say(by_envelope, "U", event, data, ack)


@pytest.mark.parametrize(
    "event", ["connect", "newListener", "SET_SERVER_STATE", "GAP", "", 7, None]
)
def test_no_reserved_event_is_said_by_its_own_name(event: Any) -> None:
    """Nobody can fake the hub's word."""
    mesh = Mesh()
    enter(mesh, "R", ROOM, ours=True)
    effects = mesh.received("R", event, [{}, {"room": ROOM}], ACK)
    assert heard(effects) == {}
    assert the_failure(effects) == "unknown_event"


@pytest.mark.parametrize("room", [7, "", "x" * 257, [ROOM]])
def test_an_event_said_by_its_own_name_needs_a_room_that_is_one(room: Any) -> None:
    """As one in an envelope does."""
    mesh = Mesh()
    enter(mesh, "R", ROOM, ours=True)
    effects = mesh.received("R", "FIA_STEP", [{}, {"room": room}], ACK)
    assert the_failure(effects) == "invalid_payload"


def test_an_event_said_by_its_own_name_is_nothing_without_a_meta(mesh: Mesh) -> None:
    """A peer that is not native sends no meta, and a meta may name no room."""
    enter(mesh, "N", ROOM, ours=True)
    for sid, args in (("R", [{}, {"room": ROOM}]), ("N", [{}, {}]), ("N", [{}])):
        assert the_failure(mesh.received(sid, "FIA_STEP", args, ACK), sid) == "unknown_event"


def test_an_event_to_an_empty_room_is_answered(mesh: Mesh) -> None:
    """Nobody hears it, and the sender learns so."""
    effects = say(mesh, "R", "FIA_STEP", {}, ACK, room="NOWHERE")
    assert heard(effects) == {}
    assert the_answer(effects)["members"] == 0


@pytest.mark.parametrize("declare", [direct_master, envelope_master])
@pytest.mark.parametrize("is_direct", [True, False])
def test_a_release_resigns(mesh: Mesh, declare: Any, *, is_direct: bool) -> None:
    """In whichever way it was declared; inside ROOM_MESSAGE the room hears it, as upstream."""
    declare(mesh)
    if is_direct:
        effects = mesh.received("M", "RELEASE_MASTER", [{"room": ROOM}], ACK)
        assert heard(effects) == {}
    else:
        effects = say(mesh, "M", "RELEASE_MASTER", ack=ACK)
        assert set(heard(effects)) == set("MRO")
    assert the_answer(effects, "M")["room"] == ROOM
    changes = [
        each.args[0]["usuario"]
        for each in effects
        if isinstance(each, Emit) and each.event == "MASTER_CHANGED"
    ]
    assert changes == [None] * len(changes) != []
    for asked in (say(mesh, "R", STEP, {}, ACK), mesh.received("R", STEP, [{}], ACK)):
        assert the_failure(asked) == "no_master"


def test_a_release_by_others_is_just_an_event(mesh: Mesh) -> None:
    """Nobody resigns for another, in no room."""
    envelope_master(mesh)
    envelope_master(mesh, "O", "B")
    assert set(heard(say(mesh, "R", "RELEASE_MASTER"))) == set("MRO")
    assert set(heard(say(mesh, "O", "RELEASE_MASTER"))) == set("MRO")
    mesh.received("R", "RELEASE_MASTER", [{"room": ROOM}])
    assert number(say(mesh, "R", "GET_X", {}, ACK))
    assert number(say(mesh, "R", "GET_X", {}, 8, room="B"))


@pytest.mark.parametrize("payload", [None, {}, {"room": 7}, [], "R"])
def test_a_release_of_no_room_is_refused(mesh: Mesh, payload: Any) -> None:
    """And changes nothing."""
    direct_master(mesh)
    refused = mesh.received("M", "RELEASE_MASTER", [payload], ACK)
    assert the_failure(refused, "M") == "invalid_payload"
    assert number(mesh.received("R", STEP, [{}], ACK))


def test_what_a_resigned_master_has_in_hand_it_may_finish(mesh: Mesh) -> None:
    """As with any other way to resign."""
    envelope_master(mesh)
    n = number(say(mesh, "R", STEP, {}, ACK))
    say(mesh, "M", "RELEASE_MASTER")
    assert ended(say(mesh, "M", STEPPED, {"n": 1})) == [n]


@pytest.mark.parametrize("event", ["connect", "disconnect", "newListener", "SET_SERVER_STATE"])
def test_reserved_events_reach_nobody(mesh: Mesh, event: str) -> None:
    """A JavaScript client that receives a reserved event drops its connection."""
    for effects in (say(mesh, "R", event, {}, ACK), mesh.received("R", event, [{}], ACK)):
        assert heard(effects) == {}
        assert the_failure(effects) == "unknown_event"


@pytest.mark.parametrize("event", [None, 7, [], {"a": 1}, ""])
def test_an_event_that_is_no_name_is_refused(mesh: Mesh, event: Any) -> None:
    """A non-string inner event ends the upstream hub."""
    for effects in (say(mesh, "R", event, {}, ACK), mesh.received("R", event, [{}], ACK)):
        assert effects
        assert the_failure(effects) == "unknown_event"


@pytest.mark.parametrize("event", ["HELLO", "FIA_STEP", "SET_X", "join-room", "room_message"])
def test_an_unknown_direct_event_is_not_broadcast(mesh: Mesh, event: str) -> None:
    """Broadcasting unknown events, as upstream's hubs do, would let anybody fake FIA_STEP."""
    effects = mesh.received("R", event, [{"a": 1}, 2], ACK)
    assert heard(effects) == {}
    assert the_failure(effects) == "unknown_event"
    assert mesh.received("R", event, [{"a": 1}, 2]) == []


@pytest.mark.parametrize(
    ("data", "fields"),
    [
        ({"success": True}, {"success": True}),
        ({"sender": "forged"}, {}),
        ([5, 6], {"0": 5, "1": 6}),
        ("ab", {"0": "a", "1": "b"}),
        (None, {}),
        (7, {}),
    ],
)
def test_a_set_event_reaches_the_others_with_its_sender(
    mesh: Mesh, data: Any, fields: dict[str, Any]
) -> None:
    """R > SET_X: M,O < {...data, sender:R.id}; arrays spread, and the sender is the hub's."""
    effects = say(mesh, "R", "SET_X", data, ACK)
    assert heard(effects) == {sid: [("SET_X", {**fields, "sender": "R"})] for sid in "MO"}
    assert the_answer(effects) == {"success": True, "room": ROOM, "members": 2}


def test_a_set_event_is_not_targeted(mesh: Mesh) -> None:
    """M > roomP with requester:R.id: everybody hears it all the same."""
    effects = say(mesh, "M", "SET_X", {"n": 1}, requester="R")
    assert set(heard(effects)) == {"R", "O"}


def test_a_set_event_may_come_from_outside(mesh: Mesh) -> None:
    """UIs send commands so."""
    effects = say(mesh, "U", "SET_DOMAIN_BASE_DATA", {"action": "SET_DATA"})
    assert set(heard(effects)) == set("MRO")
    assert say(mesh, "U", "SET_X", {}, room="NOWHERE") == []


def test_peers_of_ours_learn_room_and_speaker(mesh: Mesh) -> None:
    """As second argument; stock peers would not know what to do with one."""
    enter(mesh, "P", ROOM, ours=True)
    meta = {"room": ROOM, "sender": "Rs-R"}
    got = heard(say(mesh, "R", "FIA_STEP", {"n": 1}))
    assert got["O"] == [("FIA_STEP", {"n": 1})]
    assert got["P"] == [("FIA_STEP", {"n": 1}, meta)]
    assert heard(say(mesh, "R", "SET_X", {"n": 1}))["P"] == [
        ("SET_X", {"n": 1, "sender": "R"}, meta)
    ]


# Mastership: docs/reference/protocol.md, Masters


def test_both_declarations_are_acknowledged_and_the_others_are_told(mesh: Mesh) -> None:
    """M > MAKE_MASTER with callback: upstream broadcasts it and never acknowledges."""
    expected = {"success": True, "room": ROOM, "features": ["AAIA_STEP_FIA"], "epoch": 1}
    told = {"room": ROOM, "usuario": "Ms-M", "epoch": 1}
    assert direct_master(mesh) == [
        Acknowledge("M", 1, expected),
        Emit(("R", "O"), "MASTER_CHANGED", (told,)),
    ]
    # Who declares again serves as before.
    assert envelope_master(mesh) == [Acknowledge("M", 1, {**expected, "features": []})]


def test_the_last_declaration_wins(mesh: Mesh) -> None:
    """O > MAKE_MASTER, then R > GET_X: O, M no longer; both declarations were accepted."""
    envelope_master(mesh, "M")
    assert the_answer(envelope_master(mesh, "O"), "O", 1)["success"] is True
    assert set(heard(say(mesh, "R", "GET_X", {}, ACK))) == {"O"}


def test_a_master_need_not_be_a_member(mesh: Mesh) -> None:
    """U masters a room that it does not hear."""
    direct_master(mesh, "U")
    assert heard(say(mesh, "R", STEP, {"n": 1}, ACK)) == {"U": [(STEP, {"n": 1})]}
    assert "U" not in heard(say(mesh, "R", "FIA_STEP"))


def test_declaring_again_replaces_the_features(mesh: Mesh) -> None:
    """CORE clients declare twice: first nothing, then the real list."""
    envelope_master(mesh)
    envelope_master(mesh, "M", ROOM, "X", "GET_Y", "GET_X")
    assert number(mesh.received("U", "GET_X", [{}], ACK))
    assert number(mesh.received("U", "GET_Y", [{}], ACK))
    envelope_master(mesh, "M", ROOM, "Y")
    assert the_failure(mesh.received("U", "GET_X", [{}], ACK), "U") == "no_master"
    assert number(mesh.received("U", "GET_Y", [{}], ACK))


def test_a_displaced_masters_features_are_gone(mesh: Mesh) -> None:
    """Its successor is asked for what the successor declared."""
    direct_master(mesh, "M", ROOM, "X")
    direct_master(mesh, "O", ROOM, "Y")
    assert the_failure(mesh.received("R", "GET_X", [{}], ACK)) == "no_master"
    assert set(heard(mesh.received("R", "GET_Y", [{}], ACK))) == {"O"}


def test_what_a_displaced_master_holds_ends_at_once(mesh: Mesh) -> None:
    """It may have run; the answer of an old epoch is dropped and counted."""
    direct_master(mesh, "M")
    n = number(say(mesh, "R", STEP, {}, ACK))
    lost = [each for each in answers(direct_master(mesh, "O")) if each[0] == "R"]
    [(_, _, answer)] = lost
    assert (answer["code"], answer["details"]) == ("master_lost", [{"delivered": True}])
    assert mesh.acknowledged("M", n, [{"n": 1}]) == []
    assert mesh.late_answers == 1


def test_one_peer_may_master_several_rooms(mesh: Mesh) -> None:
    """PersefonBot masters three; its exit frees them all."""
    for room in (ROOM, "B", "C"):
        direct_master(mesh, "M", room, "X")
    assert set(heard(say(mesh, "R", "GET_X", {}, ACK, room="C"))) == {"M"}
    mesh.disconnected("M")
    for room in (ROOM, "B", "C"):
        assert the_failure(say(mesh, "R", "GET_X", {}, ACK, room=room)) == "no_master"


# A request in an envelope (docs/explanation/dialects.md)


def test_an_envelope_master_gets_the_whole_envelope(mesh: Mesh) -> None:
    """The transcript's GET_AAIA_STEP_FIA, with the hub's own requestId."""
    envelope_master(mesh)
    data = {"sessionId": "s1", "fiaIndex": 0, "requestId": "q1"}
    effects = say(mesh, "R", STEP, data, requestId="q1", extra=1)
    n = number(effects)
    assert heard(effects) == {
        "M": [
            (
                STEP,
                {
                    "event": STEP,
                    "room": ROOM,
                    "data": data,
                    "extra": 1,
                    "namespace": "runtime",
                    "requester": "R",
                    "requesterName": "Rs-R",
                    "requestId": str(n),
                },
            )
        ]
    }
    assert answers(effects) == []
    assert deadline(effects) == 10.0


def test_hub_fields_override_forged_ones(mesh: Mesh) -> None:
    """Nobody asks in another's name."""
    envelope_master(mesh)
    forged = {"requester": "O", "requesterName": "Os-O", "namespace": "x", "requestId": "999"}
    ((_, envelope),) = heard(say(mesh, "R", STEP, {}, ACK, **forged))["M"]
    assert envelope["requester"] == "R"
    assert envelope["requesterName"] == "Rs-R"
    assert envelope["namespace"] == "runtime"
    assert envelope["requestId"] != "999"


def test_the_unregistered_and_the_unsubscribed_are_served(mesh: Mesh) -> None:
    """Who never registered is called `--`."""
    envelope_master(mesh)
    mesh.connected("N")
    ((_, envelope),) = heard(say(mesh, "N", STEP, {}, ACK))["M"]
    assert envelope["requesterName"] == "--"


def test_an_envelope_needs_no_declared_feature(mesh: Mesh) -> None:
    """The room's master gets every GET_, declared or not."""
    envelope_master(mesh)
    assert number(say(mesh, "R", "GET_UNHEARD_OF", {}, ACK))


def test_envelope_numbers_are_unique_and_never_zero(mesh: Mesh) -> None:
    """An ack id 0 confuses stock peers."""
    envelope_master(mesh)
    numbers = [number(say(mesh, "R", STEP, {}, ack)) for ack in range(5)]
    assert len(set(numbers)) == 5
    assert 0 not in numbers


def test_a_direct_question_to_an_envelope_master_is_enveloped(mesh: Mesh) -> None:
    """Each master is spoken to in the dialect in which it declared itself."""
    envelope_master(mesh, "M", ROOM, "X")
    effects = mesh.received("R", "GET_X", [{"a": 1}], ACK)
    ((event, envelope),) = heard(effects)["M"]
    assert event == envelope["event"] == "GET_X"
    assert (envelope["room"], envelope["data"], envelope["requester"]) == (ROOM, {"a": 1}, "R")


def test_an_enveloped_question_to_a_direct_master_is_plain(mesh: Mesh) -> None:
    """DOC masters get the payload and acknowledge."""
    direct_master(mesh)
    effects = say(mesh, "R", STEP, {"fiaIndex": 0}, ACK)
    assert heard(effects) == {"M": [(STEP, {"fiaIndex": 0})]}
    answer = {"success": True, "eferencia": {}}
    assert mesh.acknowledged("M", number(effects), [answer]) == [
        Ended(number(effects), "AAIA_STEP_FIA", "ok"),
        Acknowledge("R", ACK, answer),
    ]


def test_a_master_hears_no_echo_of_its_own_question(mesh: Mesh) -> None:
    """As stock hubs; with a callback it is asked, because an acknowledgement is owed."""
    envelope_master(mesh)
    assert say(mesh, "M", STEP, {}) == []
    n = number(say(mesh, "M", STEP, {}, ACK))
    assert the_answer(mesh.acknowledged("M", n, [{}]), "M") == {"success": True}


def test_the_namespace_is_named_without_slash() -> None:
    """`runtime`, and nothing for `/`."""
    mesh = Mesh("/")
    enter(mesh, "M", ROOM)
    envelope_master(mesh)
    ((_, envelope),) = heard(say(mesh, "M", STEP, {}, ACK))["M"]
    assert envelope["namespace"] == ""


# A direct request (docs/explanation/dialects.md)


def test_a_direct_question_reaches_the_master_that_offers_it(mesh: Mesh) -> None:
    """R > GET_AAIA_STEP_FIA direct, with callback: upstream drops it for ever."""
    direct_master(mesh)
    effects = mesh.received("R", STEP, [{"fiaIndex": 0}], ACK)
    assert heard(effects) == {"M": [(STEP, {"fiaIndex": 0})]}
    answer = {"success": False, "error": "no"}
    assert the_failure(mesh.acknowledged("M", number(effects), [answer])) == "error"


def test_a_question_without_payload_asks_with_an_empty_one(mesh: Mesh) -> None:
    """`socket.emit("GET_X", callback)` is common."""
    direct_master(mesh)
    assert heard(mesh.received("R", STEP, [], ACK)) == {"M": [(STEP, {})]}


@pytest.mark.parametrize("feature", ["LIST", "GET_LIST"])
def test_features_may_be_declared_with_or_without_get(mesh: Mesh, feature: str) -> None:
    """X or GET_X."""
    direct_master(mesh, "M", ROOM, feature)
    assert number(mesh.received("R", "GET_LIST", [{}], ACK))


def test_the_askers_own_rooms_come_first(mesh: Mesh) -> None:
    """The asker's own rooms come before any other room that offers the capability."""
    direct_master(mesh, "O", "B", "X")
    direct_master(mesh, "M", ROOM, "X")
    assert set(heard(mesh.received("R", "GET_X", [{}], ACK))) == {"M"}
    mesh.received("U", "CLIENT_SUSCRIBE", [{"room": "EMPTY"}])
    mesh.received("U", "CLIENT_SUSCRIBE", [{"room": "B"}])
    assert set(heard(mesh.received("U", "GET_X", [{}], ACK))) == {"O"}


def test_any_room_that_offers_it_comes_second(mesh: Mesh) -> None:
    """The seed's client asks before it has subscribed."""
    direct_master(mesh, "M", ROOM, "X")
    assert set(heard(mesh.received("U", "GET_X", [{}], ACK))) == {"M"}


def test_several_masters_outside_the_askers_rooms_are_ambiguous(mesh: Mesh) -> None:
    """The rooms are named, for the asker to choose."""
    direct_master(mesh, "M", ROOM, "X")
    direct_master(mesh, "O", "B", "X")
    effects = mesh.received("U", "GET_X", [{}], ACK)
    assert the_failure(effects, "U") == "ambiguous_room"
    assert the_answer(effects, "U")["details"] == [ROOM, "B"]


def native_core_master(mesh: Mesh, sid: str, room: str, *features: str) -> list[Effect]:
    """Declare inside ROOM_MESSAGE, as a peer that acknowledges all the same."""
    native = {"usuario": sid, "protocol": events.PROTOCOL}
    mesh.received(sid, "CLIENT_REGISTER", [native])
    return envelope_master(mesh, sid, room, *features)


@pytest.mark.parametrize(
    ("masters", "expected"),
    [
        ([(direct_master, "M"), (envelope_master, "O")], "M"),
        ([(envelope_master, "O"), (direct_master, "M")], "M"),
        ([(envelope_master, "O"), (envelope_master, "R"), (direct_master, "M")], "M"),
        ([(envelope_master, "O"), (native_core_master, "M")], "M"),
        ([(envelope_master, "O")], "O"),
        ([(envelope_master, "O"), (envelope_master, "M")], None),
        ([(direct_master, "O"), (direct_master, "M"), (envelope_master, "R")], None),
    ],
)
def test_a_master_that_acknowledges_comes_before_one_that_only_tells_the_room(
    mesh: Mesh, masters: list[Any], expected: str | None
) -> None:
    """A browser tab of upstream's claims what the bot of another room offers, too."""
    for declare, sid in masters:
        declare(mesh, sid, f"{sid}'s room", "GET_X")
    effects = mesh.received("U", "GET_X", [{}], ACK)
    if expected is None:
        assert the_failure(effects, "U") == "ambiguous_room"
        assert f"{masters[0][1]}'s room" in the_answer(effects, "U")["details"]
        assert ("R's room" in the_answer(effects, "U")["details"]) is False
    else:
        assert set(heard(effects)) == {expected}


def test_the_askers_own_room_comes_before_all_that_acknowledge(mesh: Mesh) -> None:
    """It subscribed there because it means that one."""
    envelope_master(mesh, "M", ROOM, "X")
    direct_master(mesh, "O", "B", "X")
    assert set(heard(mesh.received("R", "GET_X", [{}], ACK))) == {"M"}


def test_one_master_of_several_rooms_is_not_ambiguous(mesh: Mesh) -> None:
    """A bot masters ENGINE_THREADS_ROOM and ENGINE_THREADS with the same features."""
    direct_master(mesh, "M", ROOM, "X")
    direct_master(mesh, "M", "B", "X")
    assert set(heard(mesh.received("U", "GET_X", [{}], ACK))) == {"M"}


def test_nobody_offering_it_is_said_at_once(mesh: Mesh) -> None:
    """No waiting for a timeout that is known already."""
    direct_master(mesh)
    for effects in (
        mesh.received("R", "GET_Y", [{}], ACK),
        say(mesh, "R", "GET_Y", {}, ACK, room="B"),
    ):
        assert the_failure(effects) == "no_master"
        assert the_answer(effects)["retryable"] is True
        assert heard(effects) == {}


def test_a_room_without_master_is_said_at_once(mesh: Mesh) -> None:
    """R > GET_X before M's MAKE_MASTER: upstream stays silent."""
    assert the_failure(say(mesh, "R", "GET_X", {}, ACK)) == "no_master"


# Peers of our protocol: docs/reference/protocol.md, Meta


def test_a_master_of_ours_gets_meta(mesh: Mesh) -> None:
    """Id, room, caller and remaining milliseconds, beside the payload."""
    enter(mesh, "P", ours=True)
    direct_master(mesh, "P")
    effects = mesh.received("R", STEP, [{"a": 1}, {"timeoutMs": 5}], ACK)
    n = number(effects)
    meta = {"id": str(n), "room": ROOM, "caller": "Rs-R", "timeoutMs": 10_000}
    assert heard(effects) == {"P": [(STEP, {"a": 1}, meta)]}


def test_an_asker_of_ours_names_room_and_deadline(mesh: Mesh) -> None:
    """The meta of a stock peer is no meta, only an argument too many."""
    enter(mesh, "P", ours=True)
    direct_master(mesh, "M", ROOM, "X")
    direct_master(mesh, "O", "B", "X")
    effects = mesh.received("P", "GET_UNDECLARED", [{}, {"room": "B", "timeoutMs": 1500}], ACK)
    assert heard(effects) == {"O": [("GET_UNDECLARED", {})]}
    assert deadline(effects) == 1.5
    stock = mesh.received("R", "GET_X", [{}, {"room": "B", "timeoutMs": 1500}], ACK)
    assert set(heard(stock)) == {"M"}
    assert deadline(stock) == 10.0


@pytest.mark.parametrize(
    ("meta", "code"),
    [
        ({"room": "NOWHERE"}, "no_master"),
        ({"room": 7}, "invalid_payload"),
        ({"room": ""}, "invalid_payload"),
        ({"timeoutMs": 0}, "deadline_exceeded"),
        ({"timeoutMs": -5}, "deadline_exceeded"),
        ({"timeoutMs": -(10**400)}, "deadline_exceeded"),
    ],
)
def test_bad_meta_is_an_error_at_once(mesh: Mesh, meta: dict[str, Any], code: str) -> None:
    """Nothing is delivered for it."""
    enter(mesh, "P", ours=True)
    direct_master(mesh)
    effects = mesh.received("P", STEP, [{}, meta], ACK)
    assert the_failure(effects, "P") == code
    assert [each for each in effects if not isinstance(each, Acknowledge)] == [Ended(0, None, code)]
    if code == "deadline_exceeded":
        assert the_answer(effects, "P")["details"] == [{"delivered": False}]


@pytest.mark.parametrize("meta", [None, 7, [], "x", {"timeoutMs": "5"}, {"timeoutMs": True}, {}])
def test_meta_of_the_wrong_type_means_the_default(mesh: Mesh, meta: Any) -> None:
    """Ten seconds, unless the hub says otherwise."""
    enter(mesh, "P", ours=True)
    direct_master(mesh)
    effects = mesh.received("P", STEP, [{}, meta], ACK)
    assert deadline(effects) == 10.0


@pytest.mark.parametrize("milliseconds", [10**400, 1e308, 10**30], ids=["huge", "1e308", "1e30"])
def test_a_deadline_beyond_all_clocks_does_not_break_the_hub(
    mesh: Mesh, milliseconds: float
) -> None:
    """JSON integers have no end, floats and clocks have."""
    enter(mesh, "P", ours=True)
    direct_master(mesh, "P")
    effects = mesh.received("P", STEP, [{}, {"timeoutMs": milliseconds}], ACK)
    assert len(answers(effects)) + len([e for e in effects if isinstance(e, Deliver)]) == 1


def test_a_hub_may_have_its_own_default() -> None:
    """For stock askers, which name no deadline."""
    mesh = Mesh(default_timeout=3)
    enter(mesh, "M", ROOM)
    direct_master(mesh)
    assert deadline(mesh.received("M", STEP, [{}], ACK)) == 3


def test_a_hub_may_want_askers_in_the_room() -> None:
    """Then the answer is not_subscribed, whichever way the request was sent."""
    mesh = Mesh(require_subscription=True)
    enter(mesh, "M", ROOM)
    enter(mesh, "R")
    direct_master(mesh)
    assert the_failure(mesh.received("R", STEP, [{}], ACK)) == "not_subscribed"
    assert the_failure(say(mesh, "R", STEP, {}, ACK)) == "not_subscribed"
    mesh.received("R", "CLIENT_SUSCRIBE", [{"room": ROOM}])
    assert number(mesh.received("R", STEP, [{}], ACK))


# How a request ends (docs/explanation/requests.md)


@pytest.mark.parametrize(
    ("args", "answer"),
    [
        ([], {"success": True, "result": None}),
        ([7], {"success": True, "result": 7}),
        ([{"apps": []}], {"success": True, "apps": []}),
        ([{"error": "x"}], {"success": False, "error": "x", "code": "error"}),
    ],
)
def test_the_masters_acknowledgement_ends_it(
    mesh: Mesh, args: list[Any], answer: dict[str, Any]
) -> None:
    """Normalised to one object; never undefined."""
    direct_master(mesh)
    n = number(mesh.received("R", STEP, [{}], ACK))
    code = "ok" if answer["success"] else answer["code"]
    assert mesh.acknowledged("M", n, args) == [
        Ended(n, "AAIA_STEP_FIA", code),
        Acknowledge("R", ACK, answer),
    ]


def test_only_the_masters_acknowledgement_counts(mesh: Mesh) -> None:
    """Whoever guesses a number answers nothing."""
    direct_master(mesh)
    n = number(mesh.received("R", STEP, [{}], ACK))
    assert mesh.acknowledged("O", n, [{"spoof": True}]) == []
    assert mesh.late_answers == 1
    assert the_answer(mesh.acknowledged("M", n, [{}])) == {"success": True}


def test_late_and_second_acknowledgements_are_counted_and_dropped(mesh: Mesh) -> None:
    """After one reconnect a stock bot answers everything twice."""
    direct_master(mesh)
    n = number(mesh.received("R", STEP, [{}], ACK))
    mesh.acknowledged("M", n, [{}])
    assert mesh.acknowledged("M", n, [{}]) == []
    n = number(mesh.received("R", STEP, [{}], ACK))
    mesh.expired(n)
    assert mesh.acknowledged("M", n, [{}]) == []
    assert mesh.expired(n) == []
    assert mesh.late_answers == 2


def test_the_deadline_ends_it(mesh: Mesh) -> None:
    """It was delivered, so it may have run."""
    direct_master(mesh)
    n = number(mesh.received("R", STEP, [{}], ACK))
    effects = mesh.expired(n)
    assert ended(effects) == [n]
    assert the_failure(effects) == "deadline_exceeded"
    assert the_answer(effects)["details"] == [{"delivered": True}]
    assert the_answer(effects)["retryable"] is True


def test_the_masters_loss_ends_it_at_once(mesh: Mesh) -> None:
    """The request ends as master_lost, not at its deadline."""
    direct_master(mesh)
    n = number(mesh.received("R", STEP, [{}], ACK))
    effects = mesh.disconnected("M")
    assert ended(effects) == [n]
    assert the_failure(effects) == "master_lost"
    assert the_answer(effects)["details"] == [{"delivered": True}]


def test_the_askers_loss_ends_it_silently(mesh: Mesh) -> None:
    """Nobody is left to hear; what the master still answers is late."""
    direct_master(mesh)
    n = number(mesh.received("R", STEP, [{}], ACK))
    assert mesh.disconnected("R") == [Ended(n, "AAIA_STEP_FIA", "asker_lost")]
    assert mesh.acknowledged("M", n, [{}]) == []
    assert mesh.late_answers == 1


def test_what_has_been_answered_does_not_end_again(mesh: Mesh) -> None:
    """Asker and master may go afterwards: nobody hears of it twice."""
    direct_master(mesh)
    n = number(mesh.received("R", STEP, [{}], ACK))
    mesh.acknowledged("M", n, [{}])
    assert mesh.disconnected("R") == []
    assert (answers(gone := mesh.disconnected("M")), ended(gone), heard(gone)) == ([], [], {})


def test_who_asked_itself_and_goes_ends_it_once(mesh: Mesh) -> None:
    """Asker and master in one."""
    direct_master(mesh)
    n = number(mesh.received("M", STEP, [{}], ACK))
    gone = mesh.disconnected("M")
    assert (ended(gone), answers(gone), heard(gone)) == ([n], [], {})


def test_a_room_outlives_its_master(mesh: Mesh) -> None:
    """O disconnects: upstream forgets the members; here R > GET_X is answered, at once."""
    envelope_master(mesh, "O")
    mesh.disconnected("O")
    assert set(heard(say(mesh, "U", "FIA_STEP"))) == {"M", "R"}
    assert the_failure(say(mesh, "R", "GET_X", {}, ACK)) == "no_master"
    state = the_answer(mesh.received("R", "GET_SERVER_STATE", [], ACK))
    assert [room["roomId"] for room in state["rooms"]] == [ROOM]


# A core master, which answers by SET_ (docs/explanation/dialects.md)


def test_a_set_of_the_master_ends_the_request_and_reaches_the_room(mesh: Mesh) -> None:
    """M > SET_AAIA_STEP_FIA: R,O < {…, sender:M.id}, M and U nothing; and R's callback."""
    envelope_master(mesh)
    n = number(say(mesh, "R", STEP, {}, ACK))
    effects = say(mesh, "M", STEPPED, {"success": True, "eferencia": 1})
    told = [(STEPPED, {"success": True, "eferencia": 1, "sender": "M"})]
    assert heard(effects) == {"R": told, "O": told}
    assert ended(effects) == [n]
    assert the_answer(effects) == {"success": True, "eferencia": 1}


@pytest.mark.parametrize("spoofer", ["R", "O", "U"])
def test_a_set_of_another_is_fanned_out_and_ends_nothing(mesh: Mesh, spoofer: str) -> None:
    """R > SET_AAIA_STEP_FIA {spoof:true}: M,O < {spoof:true, sender:R.id}."""
    envelope_master(mesh)
    n = number(say(mesh, "R", STEP, {}, ACK))
    effects = say(mesh, spoofer, STEPPED, {"spoof": True})
    assert set(heard(effects)) == set("MRO") - {spoofer}
    assert (ended(effects), answers(effects)) == ([], [])
    assert ended(mesh.expired(n)) == [n]


def test_a_set_of_another_name_ends_nothing(mesh: Mesh) -> None:
    """SET_X answers GET_X only."""
    envelope_master(mesh)
    say(mesh, "R", STEP, {}, ACK)
    assert ended(say(mesh, "M", "SET_OTHER", {})) == []


def test_a_set_in_another_room_ends_nothing(mesh: Mesh) -> None:
    """The master of two rooms answers in the one that was asked."""
    envelope_master(mesh)
    envelope_master(mesh, "M", "B")
    n = number(say(mesh, "R", STEP, {}, ACK))
    assert ended(say(mesh, "M", STEPPED, {}, room="B")) == []
    assert ended(say(mesh, "M", STEPPED, {})) == [n]


def test_a_master_may_answer_in_a_room_of_others(mesh: Mesh) -> None:
    """The stock PersefonBot masters AAIA_ROOM and answers in ENGINE_THREADS."""
    envelope_master(mesh)
    mesh.received("M", "CLIENT_SUSCRIBE", [{"room": "B"}])
    mesh.received("O", "CLIENT_SUSCRIBE", [{"room": "B"}])
    n = number(say(mesh, "R", STEP, {}, ACK))
    effects = say(mesh, "M", STEPPED, {"n": 1}, room="B")
    assert ended(effects) == [n]
    assert the_answer(effects) == {"success": True, "n": 1}
    assert heard(effects) == {"O": [(STEPPED, {"n": 1, "sender": "M"})]}
    assert ended(say(mesh, "M", STEPPED, {"n": 2}, room="B")) == []


def test_a_core_asker_hears_an_answer_from_another_room_once(mesh: Mesh) -> None:
    """Whether it is in that room or not."""
    envelope_master(mesh)
    mesh.received("O", "CLIENT_SUSCRIBE", [{"room": "B"}])
    for asker in "RO":
        say(mesh, asker, STEP, {})
        effects = say(mesh, "M", STEPPED, {"n": 1}, room="B")
        told = heard(effects)
        assert told.pop("O") == [(STEPPED, {"n": 1, "sender": "M"})]
        assert told == ({"R": [(STEPPED, {"n": 1, "sender": "M"})]} if asker == "R" else {})


def test_answers_of_several_rooms_are_not_guessed(mesh: Mesh) -> None:
    """Of one room the oldest is meant; of two nobody can say, unless the number is echoed."""
    envelope_master(mesh)
    envelope_master(mesh, "M", "A")
    first = number(say(mesh, "R", STEP, {}, 1))
    second = number(say(mesh, "R", STEP, {}, 2, room="A"))
    assert ended(say(mesh, "M", STEPPED, {}, room="B")) == []
    assert ended(say(mesh, "M", STEPPED, {}, room="B", requestId=str(second))) == [second]
    third = number(say(mesh, "R", STEP, {}, 3))
    assert ended(say(mesh, "M", STEPPED, {}, room="B")) == [first]
    assert ended(say(mesh, "M", STEPPED, {}, room="B")) == [third]


@pytest.mark.parametrize("sid", "RO")
def test_others_answer_nothing_in_another_room(mesh: Mesh, sid: str) -> None:
    """Only the master of the request does."""
    envelope_master(mesh)
    say(mesh, "R", STEP, {}, ACK)
    assert ended(say(mesh, sid, STEPPED, {}, room="B")) == []


def test_a_documented_master_answers_in_another_room_if_it_is_certain(mesh: Mesh) -> None:
    """As in its own."""
    direct_master(mesh)
    n = number(mesh.received("R", STEP, [{}], 1))
    assert ended(say(mesh, "M", STEPPED, {}, room="B")) == [n]
    mesh.received("R", STEP, [{}], 2)
    mesh.received("R", STEP, [{}], 3)
    assert ended(say(mesh, "M", STEPPED, {}, room="B")) == []


def test_an_echoed_request_id_says_which(mesh: Mesh) -> None:
    """roomP({...request, event, data}) echoes unknown envelope keys."""
    envelope_master(mesh)
    first = number(say(mesh, "R", STEP, {}, 1))
    second = number(say(mesh, "O", STEP, {}, 2))
    effects = say(mesh, "M", STEPPED, {"n": 2}, requestId=str(second))
    assert ended(effects) == [second]
    assert the_answer(effects, "O", 2) == {"success": True, "n": 2}
    assert ended(say(mesh, "M", STEPPED, {"n": 1}, requestId=str(first))) == [first]


def test_the_askers_own_request_id_says_which(mesh: Mesh) -> None:
    """The requestId stays in `data`, and a master that knows of it gives it back there."""
    envelope_master(mesh)
    say(mesh, "R", STEP, {"requestId": "q1"}, 1)
    second = number(say(mesh, "R", STEP, {"requestId": "q2"}, 2))
    effects = say(mesh, "M", STEPPED, {"n": 2, "requestId": "q2"})
    assert ended(effects) == [second]
    assert answers(effects) == [("R", 2, {"success": True, "n": 2, "requestId": "q2"})]


def test_the_hubs_id_says_more_than_the_askers_own(mesh: Mesh) -> None:
    """Two clients may count alike: both asked as "1", and the master echoes both ids."""
    envelope_master(mesh)
    say(mesh, "R", STEP, {"requestId": "1"}, 1)
    second = number(say(mesh, "O", STEP, {"requestId": "1"}, 2))
    effects = say(mesh, "M", STEPPED, {"requestId": "1"}, requestId=str(second))
    assert ended(effects) == [second]


def test_without_id_the_oldest_is_meant(mesh: Mesh) -> None:
    """Envelope masters answer in order."""
    envelope_master(mesh)
    numbers = [number(say(mesh, sid, STEP, {}, 1)) for sid in "RO"]
    assert ended(say(mesh, "M", STEPPED, {})) == numbers[:1]
    assert ended(say(mesh, "M", STEPPED, {})) == numbers[1:]
    assert ended(say(mesh, "M", STEPPED, {})) == []


def test_a_late_set_that_echoes_an_ended_request_ends_no_other(mesh: Mesh) -> None:
    """Late and doubled answers are dropped; upstream's BaseRoomManager answers everything twice."""
    envelope_master(mesh)
    first = number(say(mesh, "R", STEP, {"which": 1}, 1))
    second = number(say(mesh, "R", STEP, {"which": 2}, 2))
    say(mesh, "M", STEPPED, {"which": 1}, requestId=str(first))
    effects = say(mesh, "M", STEPPED, {"which": 1}, requestId=str(first))
    assert (ended(effects), answers(effects)) == ([], [])
    effects = say(mesh, "M", STEPPED, {"which": 2}, requestId=str(second))
    assert answers(effects) == [("R", 2, {"success": True, "which": 2})]


def test_a_set_that_carries_another_own_id_ends_no_other(mesh: Mesh) -> None:
    """An answer that carries another requestId belongs to another request."""
    envelope_master(mesh)
    first = number(say(mesh, "R", STEP, {"requestId": "q1"}, 1))
    mesh.expired(first)
    say(mesh, "R", STEP, {"requestId": "q2"}, 2)
    effects = say(mesh, "M", STEPPED, {"requestId": "q1"})
    assert (ended(effects), answers(effects)) == ([], [])


def test_an_answer_by_set_then_by_acknowledgement_is_one_answer(mesh: Mesh) -> None:
    """The envelope went out with an ack id: harmless."""
    envelope_master(mesh)
    n = number(say(mesh, "R", STEP, {}, ACK))
    assert len(answers(say(mesh, "M", STEPPED, {}))) == 1
    assert mesh.acknowledged("M", n, [{}]) == []


def test_a_set_answers_also_when_its_sender_asks_for_acknowledgement(mesh: Mesh) -> None:
    """Both acknowledgements, each to its own."""
    envelope_master(mesh)
    say(mesh, "R", STEP, {}, ACK)
    effects = say(mesh, "M", STEPPED, {"n": 1}, 3)
    assert answers(effects) == [
        ("R", ACK, {"success": True, "n": 1}),
        ("M", 3, {"success": True, "room": ROOM, "members": 2}),
    ]


def test_an_array_answers_as_result(mesh: Mesh) -> None:
    """The room sees it spread, the callback whole."""
    envelope_master(mesh)
    say(mesh, "R", STEP, {}, ACK)
    effects = say(mesh, "M", STEPPED, [5])
    assert heard(effects)["O"] == [(STEPPED, {"0": 5, "sender": "M"})]
    assert the_answer(effects) == {"success": True, "result": [5]}


# A stock master that acknowledges and also says SET_


def test_the_set_of_a_direct_master_ends_its_only_request(mesh: Mesh) -> None:
    """There is no doubt which it answers."""
    direct_master(mesh)
    n = number(say(mesh, "R", STEP, {}, ACK))
    effects = say(mesh, "M", STEPPED, {"n": 1})
    assert ended(effects) == [n]
    assert the_answer(effects) == {"success": True, "n": 1}


def test_the_set_of_a_direct_master_ends_none_of_several(mesh: Mesh) -> None:
    """It acknowledges in its own order: the acknowledgement will say."""
    direct_master(mesh)
    first = number(say(mesh, "R", STEP, {"which": 1}, 1))
    second = number(say(mesh, "R", STEP, {"which": 2}, 2))
    for _ in range(2):
        effects = say(mesh, "M", STEPPED, {"which": 2})
        assert set(heard(effects)) == {"R", "O"}
        assert (ended(effects), answers(effects)) == ([], [])
    assert the_answer(mesh.acknowledged("M", second, [{"which": 2}]), "R", 2)["which"] == 2
    assert the_answer(mesh.acknowledged("M", first, [{"which": 1}]), "R", 1)["which"] == 1


def test_an_echoed_id_ends_one_of_several_also_for_a_direct_master(mesh: Mesh) -> None:
    """Then it is certain."""
    direct_master(mesh)
    say(mesh, "R", STEP, {"requestId": "q1"}, 1)
    second = number(say(mesh, "R", STEP, {"requestId": "q2"}, 2))
    assert ended(say(mesh, "M", STEPPED, {"requestId": "q2"})) == [second]


def test_an_id_that_two_askers_use_is_not_certain(mesh: Mesh) -> None:
    """The acknowledgement will say which of them was meant."""
    direct_master(mesh)
    for sid in "RO":
        say(mesh, sid, STEP, {"requestId": "1"}, 1)
    effects = say(mesh, "M", STEPPED, {"requestId": "1"})
    assert (ended(effects), answers(effects)) == ([], [])


def test_an_echoed_id_ends_a_request_that_a_guess_had_marked(mesh: Mesh) -> None:
    """The first SET_ was taken for the oldest's; the second one says whose it is."""
    direct_master(mesh)
    first = number(say(mesh, "R", STEP, {"requestId": "q1"}, 1))
    say(mesh, "R", STEP, {"requestId": "q2"}, 2)
    assert ended(say(mesh, "M", STEPPED, {})) == []
    assert ended(say(mesh, "M", STEPPED, {"requestId": "q1"})) == [first]


def test_the_set_of_a_master_of_ours_ends_nothing(mesh: Mesh) -> None:
    """It always acknowledges; its SET_ is what the room is to see."""
    enter(mesh, "P", ROOM, ours=True)
    direct_master(mesh, "P")
    n = number(say(mesh, "R", STEP, {}, ACK))
    assert set(heard(say(mesh, "P", STEPPED, {"n": 0}))) == set("MRO")
    assert mesh.acknowledged("P", n, [{"n": 1}]) == [
        Ended(n, "AAIA_STEP_FIA", "ok"),
        Acknowledge("R", ACK, {"success": True, "n": 1}),
    ]


# Askers without callback hear one SET_ (docs/explanation/dialects.md)


@pytest.mark.parametrize("sid", ["R", "U"])
def test_an_acknowledged_answer_becomes_one_set_event(mesh: Mesh, sid: str) -> None:
    """To the room minus the master, and to the asker if it is outside."""
    direct_master(mesh)
    n = number(say(mesh, sid, STEP, {}))
    told = [(STEPPED, {"success": True, "n": 1, "sender": "M"})]
    effects = mesh.acknowledged("M", n, [{"n": 1}])
    assert ended(effects) == [n]
    assert heard(effects) == dict.fromkeys({"R", "O", sid}, told)


def test_members_of_ours_learn_who_answered(mesh: Mesh) -> None:
    """The hub's own SET_ carries meta as any other."""
    enter(mesh, "P", ROOM, ours=True)
    direct_master(mesh)
    n = number(say(mesh, "R", STEP, {}))
    got = heard(mesh.acknowledged("M", n, [{}]))
    meta = {"room": ROOM, "sender": "Ms-M"}
    assert got["P"] == [(STEPPED, {"success": True, "sender": "M"}, meta)]
    assert got["R"] == [(STEPPED, {"success": True, "sender": "M"})]


def test_a_deadline_becomes_one_set_event(mesh: Mesh) -> None:
    """Errors too."""
    envelope_master(mesh)
    effects = mesh.expired(number(say(mesh, "R", STEP, {})))
    ((event, answer),) = heard(effects)["R"]
    assert event == STEPPED
    assert (answer["success"], answer["code"]) == (False, "deadline_exceeded")


def test_a_lost_master_becomes_one_set_event(mesh: Mesh) -> None:
    """At once, as with a callback."""
    envelope_master(mesh)
    say(mesh, "U", STEP, {})
    ((event, answer),) = heard(mesh.disconnected("M"))["U"]
    assert event == STEPPED
    assert (answer["success"], answer["code"]) == (False, "master_lost")


@pytest.mark.parametrize("dialect", [direct_master, envelope_master])
@pytest.mark.parametrize("sid", ["R", "U"])
def test_the_masters_own_set_event_is_the_one(mesh: Mesh, dialect: Any, sid: str) -> None:
    """If the master emitted SET_X itself there is no second one; the asker hears it anywhere."""
    dialect(mesh)
    n = number(say(mesh, sid, STEP, {}))
    effects = say(mesh, "M", STEPPED, {"n": 1})
    told = [(STEPPED, {"n": 1, "sender": "M"})]
    assert heard(effects) == dict.fromkeys({"R", "O", sid}, told)
    assert ended(effects) == [n]
    assert mesh.acknowledged("M", n, [{"n": 1}]) == []


@pytest.mark.parametrize("sid", ["R", "U"])
def test_a_set_of_a_master_of_ours_is_the_visible_one(mesh: Mesh, sid: str) -> None:
    """The acknowledgement that follows is not told a second time."""
    enter(mesh, "P", ROOM, ours=True)
    direct_master(mesh, "P")
    n = number(say(mesh, sid, STEP, {}))
    assert heard(say(mesh, "P", STEPPED, {"n": 1}))[sid] == [(STEPPED, {"n": 1, "sender": "P"})]
    assert mesh.acknowledged("P", n, [{"n": 1}]) == [Ended(n, "AAIA_STEP_FIA", "ok")]


def test_several_askers_without_callback_hear_one_set_each(mesh: Mesh) -> None:
    """One SET_ and two acknowledgements make two SET_ events, for two requests."""
    direct_master(mesh)
    first, second = (number(say(mesh, "R", STEP, {})) for _ in range(2))
    told = [
        *heard(say(mesh, "M", STEPPED, {})).get("R", []),
        *heard(mesh.acknowledged("M", first, [{}])).get("R", []),
        *heard(mesh.acknowledged("M", second, [{}])).get("R", []),
    ]
    assert len(told) == 2


def test_a_question_that_cannot_be_served_is_answered_to_the_asker_alone(mesh: Mesh) -> None:
    """A silent hub is what stock clients suffer from."""
    for effects in (say(mesh, "R", STEP, {}), mesh.received("R", STEP, [{}])):
        ((event, answer),) = heard(effects)["R"]
        assert list(heard(effects)) == ["R"]
        assert event == STEPPED
        assert (answer["success"], answer["code"]) == (False, "no_master")


def test_a_direct_question_to_oneself_without_callback_is_answered(mesh: Mesh) -> None:
    """The asker is the master: it hears its own answer as SET_."""
    direct_master(mesh)
    n = number(mesh.received("M", STEP, [{}]))
    got = heard(mesh.acknowledged("M", n, [{"n": 1}]))
    assert got["M"] == [(STEPPED, {"success": True, "n": 1, "sender": "M"})]


def test_an_asker_whose_room_is_gone_still_hears_the_answer(mesh: Mesh) -> None:
    """All left and the master resigned: the request is the asker's, not the room's."""
    direct_master(mesh, "O", "B", "X")
    n = number(mesh.received("U", "GET_X", [{}]))
    mesh.received("O", "MAKE_MASTER", [{"room": "B", "out": True}])
    assert mesh.rooms.get("B") is None
    assert list(heard(mesh.acknowledged("O", n, [{}]))) == ["U"]


# GET_SERVER_STATE: docs/reference/protocol.md, Client to hub


@pytest.mark.parametrize("ask", ["direct", "envelope", "no room"])
def test_the_server_state_goes_to_its_asker_alone(mesh: Mesh, ask: str) -> None:
    """Asked either way, as event and as acknowledgement."""
    direct_master(mesh)
    mesh.connected("N")
    mesh.received("N", "CLIENT_SUSCRIBE", [{"room": ROOM}])
    mesh.received("U", "CLIENT_REGISTER", [{"usuario": "R", "sesion": "2", "type": "ui"}])
    if ask == "direct":
        effects = mesh.received("R", "GET_SERVER_STATE", [], ACK)
    elif ask == "envelope":
        effects = say(mesh, "R", "GET_SERVER_STATE", {}, ACK)
    else:
        effects = mesh.received("R", "ROOM_MESSAGE", [{"event": "GET_SERVER_STATE"}], ACK)
    state = {
        "action": "SET_SERVER_STATE",
        "socketId": "R",
        "clientId": "engine-R",
        "clients": 5,
        "sockets": [],
        "socketsPerNamespace": [
            {
                "name": "/runtime",
                "socketsCount": 5,
                "sockets": [{"id": "/Ms-M"}, {"id": "/Rs-R"}, {"id": "/Os-O"}, {"id": "/R2"}],
            }
        ],
        "miembros": [
            {"usuario": "M", "sesiones": ["s-M"]},
            {"usuario": "R", "sesiones": ["s-R", "2"]},
            {"usuario": "O", "sesiones": ["s-O"]},
        ],
        "rooms": [
            {
                "roomId": ROOM,
                "miembros": [
                    {"usuario": "M", "sesion": "s-M", "name": "Ms-M"},
                    {"usuario": "R", "sesion": "s-R", "name": "Rs-R"},
                    {"usuario": "O", "sesion": "s-O", "name": "Os-O"},
                ],
                "master": "Ms-M",
                "masters": ["Ms-M"],
                "epoch": 1,
                "features": ["AAIA_STEP_FIA"],
            }
        ],
    }
    assert effects == [
        Emit(("R",), "SET_SERVER_STATE", (state,)),
        Acknowledge("R", ACK, {"success": True, **state}),
    ]
    write_json(state)


def test_a_members_extras_are_shown_and_forge_nothing(mesh: Mesh) -> None:
    """Registration extras are kept; usuario, sesion and name are the hub's."""
    extras = {"type": "ui", "name": "admin"}
    mesh.received("R", "CLIENT_REGISTER", [{"usuario": "R", "sesion": "1", **extras}])
    (room,) = state_for(mesh, "R")["rooms"]
    assert room["miembros"][1] == {"type": "ui", "usuario": "R", "sesion": "1", "name": "R1"}
    assert room["master"] is None


def test_empty_rooms_are_not_shown(mesh: Mesh) -> None:
    """Neither members nor master: nothing is left of it."""
    mesh.received("U", "CLIENT_SUSCRIBE", [{"room": "B"}])
    direct_master(mesh, "U", "C")
    assert [room["roomId"] for room in state_for(mesh, "R")["rooms"]] == [ROOM, "B", "C"]
    mesh.disconnected("U")
    assert [room["roomId"] for room in state_for(mesh, "R")["rooms"]] == [ROOM]


def test_an_id_serves_for_the_transports_where_none_is_given() -> None:
    """The in-memory mesh has no transport."""
    mesh = Mesh()
    mesh.connected("R")
    assert state_for(mesh, "R")["clientId"] == "R"


# Arguments that the shell has not read


def raw(value: Any) -> msgspec.Raw:
    """An argument as it stands in the packet."""
    return msgspec.Raw(write_json(value))


UNREADABLE = [
    pytest.param(b"{", id="broken"),
    pytest.param(b'{"success":1e400}', id="out of range"),
    pytest.param(b'{"success":true,"a":' + b"[" * 99 + b"]" * 99 + b"}", id="too deep"),
    pytest.param(b'{"success":', id="truncated"),
    pytest.param(b'{"success":true,}', id="comma"),
]


def test_what_is_only_passed_on_is_not_read(mesh: Mesh) -> None:
    """Questions and room events leave as they came."""
    direct_master(mesh)
    payload = raw({"a": [1, 2]})
    assert heard(mesh.received("R", STEP, [payload], ACK))["M"] == [(STEP, payload)]
    message = raw(room_message("FIA_STEP", {"n": 1}))
    ((event, data),) = heard(mesh.received("R", "ROOM_MESSAGE", [message]))["O"]
    assert (event, bytes(data)) == ("FIA_STEP", b'{"n":1}')


def test_unread_events_mean_the_same(mesh: Mesh) -> None:
    """Registration, subscription, mastership, meta, question and both kinds of answer."""
    enter(mesh, "P")
    protocol = {"usuario": "P", "protocol": events.PROTOCOL}
    assert the_answer(mesh.received("P", "CLIENT_REGISTER", [raw(protocol)], ACK), "P")["success"]
    mesh.received("P", "CLIENT_SUSCRIBE", [raw({"room": ROOM})])
    declared = raw(room_message("MAKE_MASTER", {"features": ["X"]}))
    assert the_answer(mesh.received("M", "ROOM_MESSAGE", [declared], ACK), "M")["features"] == ["X"]
    meta = raw({"room": ROOM, "timeoutMs": 1500})
    assert deadline(mesh.received("P", "GET_X", [raw({}), meta], ACK)) == 1.5
    asked = raw(room_message(STEP, {"requestId": "q2"}, requestId="mine"))
    n = number(mesh.received("R", "ROOM_MESSAGE", [asked], ACK))
    said = raw(room_message(STEPPED, {"n": 2, "requestId": "q2"}))
    effects = mesh.received("M", "ROOM_MESSAGE", [said])
    assert ended(effects) == [n]
    assert the_answer(effects) == {"success": True, "n": 2, "requestId": "q2"}
    assert the_answer(mesh.acknowledged("M", 1, [raw({"error": "x"})]), "P")["code"] == "error"


@pytest.mark.parametrize("event", ["CLIENT_REGISTER", "MAKE_MASTER", "ROOM_MESSAGE"])
@pytest.mark.parametrize("text", [b"[]", b"null", b"{", b'{"room":'])
def test_unread_nonsense_is_refused_as_any(mesh: Mesh, event: str, text: bytes) -> None:
    """It is read where it matters."""
    effects = mesh.received("R", event, [msgspec.Raw(text)], ACK)
    assert the_failure(effects) == "invalid_payload"


def test_an_answer_of_a_master_of_ours_is_passed_on_unread(mesh: Mesh) -> None:
    """It has the shape of answers already; a stock master's is read and put in shape."""
    enter(mesh, "P", ours=True)
    direct_master(mesh, "P")
    answer = raw({"success": True, "n": 1})
    n = number(mesh.received("R", STEP, [{}], ACK))
    assert mesh.acknowledged("P", n, [answer])[-1] == Acknowledge("R", ACK, answer)
    n = number(mesh.received("R", STEP, [{}], ACK))
    shaped = {"success": True, "result": 7}
    assert mesh.acknowledged("P", n, [raw(7)])[-1] == Acknowledge("R", ACK, shaped)
    direct_master(mesh, "M")
    n = number(mesh.received("R", STEP, [{}], ACK))
    assert the_answer(mesh.acknowledged("M", n, [answer])) == {"success": True, "n": 1}


@pytest.mark.parametrize(
    ("said", "shaped"),
    [
        ({"success": 1, "n": 2}, {"success": True, "n": 2}),
        ({"success": False, "error": "x"}, {"success": False, "error": "x", "code": "error"}),
    ],
)
def test_an_answer_that_lacks_the_shape_is_put_in_shape_whoever_says_it(
    mesh: Mesh, said: Any, shaped: Any
) -> None:
    """Announcing our protocol is no proof of keeping to it."""
    enter(mesh, "P", ours=True)
    direct_master(mesh, "P")
    n = number(mesh.received("R", STEP, [{}], ACK))
    assert the_answer(mesh.acknowledged("P", n, [raw(said)])) == shaped


def test_an_unread_answer_becomes_one_set_event(mesh: Mesh) -> None:
    """Then it has to be read."""
    enter(mesh, "P", ours=True)
    direct_master(mesh, "P")
    n = number(say(mesh, "R", STEP, {}))
    got = heard(mesh.acknowledged("P", n, [raw({"success": True, "n": 1})]))
    assert got["R"] == [(STEPPED, {"success": True, "n": 1, "sender": "P"})]


@pytest.mark.parametrize("text", UNREADABLE)
@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("ours", [True, False])
def test_an_unreadable_answer_is_a_failure_to_the_asker_without_callback(
    mesh: Mesh, text: bytes, count: int, *, ours: bool
) -> None:
    """Nothing is raised, and the request is over."""
    enter(mesh, "P", ours=ours)
    direct_master(mesh, "P")
    n = number(say(mesh, "R", STEP, {}))
    effects = mesh.acknowledged("P", n, [msgspec.Raw(text)] * count)
    assert ended(effects) == [n]
    ((event, answer),) = heard(effects)["R"]
    assert (event, answer["success"]) == (STEPPED, False)
    assert answer["code"] in ("invalid_payload", "payload_too_large")


@pytest.mark.parametrize("text", UNREADABLE)
def test_an_unreadable_answer_of_a_stock_master_is_a_failure(mesh: Mesh, text: bytes) -> None:
    """With a callback as without."""
    direct_master(mesh)
    n = number(say(mesh, "R", STEP, {}, ACK))
    assert the_failure(mesh.acknowledged("M", n, [msgspec.Raw(text)])) in (
        "invalid_payload",
        "payload_too_large",
    )


@pytest.mark.parametrize("text", UNREADABLE)
def test_an_unreadable_question_is_refused_or_passed_on(mesh: Mesh, text: bytes) -> None:
    """One acknowledgement in the end, whoever finds out."""
    direct_master(mesh)
    effects = mesh.received("R", STEP, [msgspec.Raw(text)], ACK)
    assert len(answers(effects)) + len([e for e in effects if isinstance(e, Deliver)]) == 1


# One client's events are processed in order


def test_a_burst_is_served_in_order(mesh: Mesh) -> None:
    """Register, subscribe, master and 200 messages in one go."""
    enter(mesh, "B", "BURST")
    direct_master(mesh, "B", "BURST", "X")
    said = [heard(say(mesh, "B", "TICK", n, room="BURST"))["B"] for n in range(200)]
    assert said == [[("TICK", n)] for n in range(200)]
