"""Retained values at one hub: who is told them when, what is kept, and how much of it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, strategies as st

from alephscript.errors import LimitExceeded
from alephscript.hub import Limits
from alephscript.mesh.access import Identity
from alephscript.mesh.effects import Acknowledge, Effect, Emit
from alephscript.mesh.mesh import Mesh
from alephscript.mesh.retained import Retained, RetainedValue, make_value, parse_rules
from alephscript.protocol import events
from alephscript.protocol.json import read_value, write_json

ROOM = "R"
ACK = 1


def connect(mesh: Mesh, name: str, *rooms: str, native: bool = True) -> None:
    """Connect and register a peer."""
    mesh.connected(name)
    about = {"usuario": name, "sesion": "", **({"protocol": events.PROTOCOL} if native else {})}
    mesh.received(name, "CLIENT_REGISTER", [about])
    for room in rooms:
        enter(mesh, name, room)


def enter(mesh: Mesh, name: str, room: str = ROOM, **options: Any) -> list[Effect]:
    """Subscribe; what comes of it."""
    return mesh.received(name, "CLIENT_SUSCRIBE", [{"room": room, **options}], ACK)


def retain(mesh: Mesh, name: str, event: str, data: Any, room: str = ROOM) -> list[Effect]:
    """Say something in an envelope that is to be kept."""
    message = {"event": event, "room": room, "data": data, "retain": True}
    return mesh.received(name, "ROOM_MESSAGE", [message], ACK)


def told(effects: list[Effect], name: str) -> list[tuple[Any, ...]]:
    """What a peer hears, but for the confirmations of the hub."""
    return [
        (each.event, *map(read_value, each.args))
        for each in effects
        if isinstance(each, Emit) and name in each.to and each.event not in events.CONFIRMATIONS
    ]


def code(effects: list[Effect]) -> Any:
    """How the sender was answered."""
    (answer,) = [each.answer for each in effects if isinstance(each, Acknowledge)]
    return read_value(answer).get("code", "ok")


def states(effects: list[Effect], name: str) -> dict[str, Any]:
    """The retained values that a native peer was told, by event."""
    said = told(effects, name)
    assert all(meta["retained"] is True for _, _, meta in said)
    return {event: data for event, data, _ in said}


@pytest.fixture
def mesh() -> Mesh:
    """A mesh with an authority in the room."""
    mesh = Mesh()
    connect(mesh, "authority", ROOM)
    return mesh


@pytest.mark.parametrize("native", [True, False], ids=["native", "stock"])
def test_whoever_subscribes_is_told_the_last_values_before_the_answer(
    mesh: Mesh, native: bool
) -> None:
    """In the order in which they were said, in every dialect; natives are told that they are."""
    for number in range(3):
        assert told(retain(mesh, "authority", "STATE", number), "authority")
        retain(mesh, "authority", "OTHER", {"n": number})
    retain(mesh, "authority", "STATE", 3)
    connect(mesh, "late", native=native)
    effects = enter(mesh, "late")
    meta = {"room": ROOM, "sender": "authority", "retained": True}
    last = [("OTHER", {"n": 2}), ("STATE", 3)]
    assert told(effects, "late") == ([(*each, meta) for each in last] if native else last)
    # A core peer knows by SUSCRIBE_OK that it is there.
    kinds = [each.event if isinstance(each, Emit) else "ack" for each in effects]
    assert kinds == ["OTHER", "STATE", "SUSCRIBE_OK", "room_joined", "ack"]


def test_the_event_itself_is_heard_as_any_other(mesh: Mesh) -> None:
    """By those who are there, at once, without a mark."""
    heard = told(retain(mesh, "authority", "STATE", 1), "authority")
    assert heard == [("STATE", 1, {"room": ROOM, "sender": "authority"})]


def test_a_native_peer_says_it_by_the_events_name(mesh: Mesh) -> None:
    """With the room and the wish in the meta."""
    mesh.received("authority", "STATE", [7, {"room": ROOM, "retain": True}])
    mesh.received("authority", "STATE", [8, {"room": ROOM, "retain": "yes"}])
    mesh.received("authority", "NEWS", [9, {"room": ROOM}])
    connect(mesh, "late")
    assert states(enter(mesh, "late"), "late") == {"STATE": 7}


@pytest.mark.parametrize("null", [None, msgspec.Raw(b"null")], ids=["read", "unread"])
def test_null_forgets_and_is_heard(mesh: Mesh, null: Any) -> None:
    """By those who had the value."""
    retain(mesh, "authority", "STATE", 1)
    retain(mesh, "authority", "OTHER", 1)
    assert [each[:2] for each in told(retain(mesh, "authority", "STATE", null), "authority")] == [
        ("STATE", None)
    ]
    connect(mesh, "late")
    assert states(enter(mesh, "late"), "late") == {"OTHER": 1}


def test_a_value_outlives_its_sender_and_its_room(mesh: Mesh) -> None:
    """The room may stand empty."""
    retain(mesh, "authority", "STATE", 1)
    mesh.disconnected("authority")
    assert mesh.rooms.get(ROOM) is None
    connect(mesh, "late")
    assert states(enter(mesh, "late"), "late") == {"STATE": 1}


def test_each_subscription_is_told_the_values_of_its_room_alone(mesh: Mesh) -> None:
    """Again if a member subscribes again: it may have begun to listen only now."""
    retain(mesh, "authority", "STATE", 1)
    retain(mesh, "authority", "STATE", 2, room="ELSEWHERE")
    assert states(enter(mesh, "authority"), "authority") == {"STATE": 1}
    assert states(enter(mesh, "authority"), "authority") == {"STATE": 1}
    assert states(enter(mesh, "authority", "NOWHERE"), "authority") == {}


def test_an_answer_is_kept_as_it_was_told(mesh: Mesh) -> None:
    """With the sender's socket beside the fields, as user interfaces expect it of SET_."""
    retain(mesh, "authority", "SET_SCENE", {"n": 1})
    connect(mesh, "late")
    assert states(enter(mesh, "late"), "late") == {"SET_SCENE": {"n": 1, "sender": "authority"}}


def test_rules_retain_what_authorities_know_nothing_of() -> None:
    """One event of a room, or all that are no answers; nothing is kept in other rooms."""
    mesh = Mesh(retain=parse_rules(["R:STATE", "ALL:*", "R::z:Z:MOVE"]))
    connect(mesh, "stock", native=False)
    for room in ("R", "ALL", "R::z:Z", "OTHER"):
        for event in ("STATE", "MOVE", "SET_X"):
            message = {"event": event, "room": room, "data": room}
            mesh.received("stock", "ROOM_MESSAGE", [message])
    connect(mesh, "late")
    kept = {room: list(states(enter(mesh, "late", room), "late")) for room in ("R", "ALL", "OTHER")}
    assert kept == {"R": ["STATE"], "ALL": ["STATE", "MOVE"], "OTHER": []}
    assert list(states(enter(mesh, "late", "R::z:Z"), "late")) == ["MOVE"]


@pytest.mark.parametrize("rule", ["R", ":E", "R:", "", "*:E"])
def test_a_rule_names_a_room_and_an_event(rule: str) -> None:
    """Else nothing would be kept, and nobody would know why."""
    with pytest.raises(ValueError, match="is not ROOM:EVENT"):
        parse_rules([rule])


def test_who_may_not_enter_a_room_is_told_nothing() -> None:
    """Nor may whoever may not speak there leave anything."""
    mesh = Mesh(authorize=lambda _, action, room, __: (action, room) == ("speak", ROOM))
    mesh.connected("s", identity=Identity())
    assert code(retain(mesh, "s", "STATE", 1)) == "ok"
    assert code(retain(mesh, "s", "STATE", 1, room="OTHER")) == "permission_denied"
    effects = enter(mesh, "s")
    assert (code(effects), told(effects, "s")[:-1]) == ("permission_denied", [])


# With a history


def test_what_a_history_repeats_is_not_told_twice() -> None:
    """Values from before come first; those that the history has lost are among them."""
    mesh = Mesh(history=2, incarnation="h")
    connect(mesh, "authority", ROOM)
    connect(mesh, "member", ROOM)
    retain(mesh, "authority", "OLD", 1)
    (answer,) = [each.answer for each in enter(mesh, "member") if isinstance(each, Acknowledge)]
    position = {key: read_value(answer)[key] for key in ("history", "number")}
    mesh.disconnected("member")
    retain(mesh, "authority", "LOST", 2)
    retain(mesh, "authority", "KEPT", 3)
    mesh.received("authority", "NEWS", [4, {"room": ROOM}])
    connect(mesh, "member")
    heard = told(enter(mesh, "member", since=position), "member")
    assert [(event, data, "retained" in meta) for event, data, meta in heard] == [
        ("OLD", 1, True),
        ("LOST", 2, True),
        ("KEPT", 3, False),
        ("NEWS", 4, False),
    ]


def test_what_is_told_later_has_the_time_at_which_it_was_said() -> None:
    """A value, and what a history repeats; the hub's clock is the only one."""
    mesh = Mesh(history=9, incarnation="h")
    mesh.rooms.now = 1.5
    connect(mesh, "authority", ROOM)
    assert told(retain(mesh, "authority", "STATE", 1), "authority")[0][2]["at"] == 1500
    mesh.received("authority", "NEWS", [2, {"room": ROOM}])
    mesh.rooms.now = 9.0
    connect(mesh, "late")
    assert told(enter(mesh, "late"), "late")[0][2]["at"] == 1500
    connect(mesh, "back")
    heard = told(enter(mesh, "back", since={"history": "h.0", "number": 0}), "back")
    assert [(event, meta["at"]) for event, _, meta in heard] == [("STATE", 1500), ("NEWS", 1500)]


# Bounds


def test_a_room_keeps_so_many_bytes() -> None:
    """What exceeds them is refused, and not said; less of it, or in another room, is taken."""
    mesh = Mesh(limits=Limits(retained_bytes=100_000))
    connect(mesh, "s", ROOM)
    assert code(retain(mesh, "s", "A", "x" * 60_000)) == "ok"
    refused = retain(mesh, "s", "B", "x" * 60_000)
    assert (code(refused), told(refused, "s")) == ("limit_exceeded", [])
    assert code(retain(mesh, "s", "A", "y" * 90_000)) == "ok"
    assert code(retain(mesh, "s", "B", "x" * 60_000, room="OTHER")) == "ok"
    assert code(retain(mesh, "s", "A", None)) == "ok"
    assert code(retain(mesh, "s", "B", "x" * 60_000)) == "ok"


def test_a_member_fills_its_share_and_no_more() -> None:
    """However many rooms it goes to, and by however many connections of one name."""
    mesh = Mesh(limits=Limits(retained_bytes=100_000))
    codes = []
    for number in range(8):
        connect(mesh, f"s{number}")
        mesh.received(f"s{number}", "CLIENT_REGISTER", [{"usuario": "loud"}])
        codes.append(code(retain(mesh, f"s{number}", "A", "x" * 90_000, room=f"r{number}")))
        mesh.disconnected(f"s{number}")
    assert codes == ["ok"] * 4 + ["limit_exceeded"] * 4
    connect(mesh, "other")
    assert code(retain(mesh, "other", "A", "x" * 90_000, room="r7")) == "ok"
    # Who takes over a value takes over its weight.
    assert code(retain(mesh, "other", "A", "y", room="r0")) == "ok"
    connect(mesh, "again")
    mesh.received("again", "CLIENT_REGISTER", [{"usuario": "loud"}])
    assert code(retain(mesh, "again", "A", "x" * 90_000, room="r6")) == "ok"


def test_all_rooms_together_forget_the_oldest() -> None:
    """Else rooms that nobody uses any more would fill the memory in the end."""
    mesh = Mesh(limits=Limits(retained_bytes=10_000))
    for number in range(100):
        connect(mesh, f"s{number}")
        retain(mesh, f"s{number}", "A", "x" * 8_000, room=f"r{number}")
        mesh.disconnected(f"s{number}")
        assert mesh.speech.retained._bytes <= 160_000
    connect(mesh, "late")
    kept = [number for number in range(100) if states(enter(mesh, "late", f"r{number}"), "late")]
    assert kept == list(range(100 - len(kept), 100))
    assert len(kept) > 10


def test_by_a_rule_what_exceeds_the_bounds_is_said_and_not_kept() -> None:
    """Nor is what was kept before: that is not the last value any more."""
    mesh = Mesh(limits=Limits(retained_bytes=10_000), retain=parse_rules(["R:A"]))
    connect(mesh, "s", ROOM)
    for size in (5_000, 50_000):
        message = {"event": "A", "room": ROOM, "data": "x" * size}
        assert len(told(mesh.received("s", "ROOM_MESSAGE", [message]), "s")) == 1
    connect(mesh, "late")
    assert states(enter(mesh, "late"), "late") == {}


def test_a_message_is_not_kept_for_the_sake_of_its_data() -> None:
    """The data is copied: a view would keep all of the text that it stands in."""
    whole = b"[" + b" " * 50_000 + b"7]"
    (view,) = msgspec.json.decode(whole, type=list[msgspec.Raw])
    value = make_value(view, "s", 0)
    assert value.data is not None
    assert bytes(value.data) == b"7"
    assert msgspec.json.encode([value.data]) == b"[7]"
    del view, whole


NAMES = st.sampled_from(["a", "b", "c"])


@given(
    st.lists(
        st.tuples(NAMES, NAMES, NAMES, st.none() | st.integers(0, 2500)), min_size=1, max_size=60
    )
)
def test_what_is_kept_is_the_last_of_each_and_counted(
    steps: list[tuple[str, str, str, int | None]],
) -> None:
    """Whoever says how much where, in whichever order; what is refused changes nothing."""
    retained, last = Retained(4_000, {}), dict[tuple[str, str], tuple[str, int]]()
    for room, event, sender, size in steps:
        value = make_value(None if size is None else "x" * size, sender, 0)
        try:
            retained.check(room, event, value)
        except LimitExceeded:
            continue
        assert retained.put(room, event, value) == []  # three rooms hold less than sixteen
        last.pop((room, event), None)
        if size is not None:
            last[room, event] = (sender, size)
        assert all(count <= 4_000 for count in retained._by_room.values())
        assert all(count <= 16_000 for count in retained._by_sender.values())
    kept = {(room, event): (v.sender, len(v.data or b"") - 2) for room, event, v in retained}
    assert list(kept.items()) == list(last.items())
    for room in "abc":
        assert [event for event, _ in retained.of(room)] == [e for r, e in last if r == room]
    assert retained._bytes == sum(retained._by_room.values()) == sum(retained._by_sender.values())
    retained.clear()
    assert not retained._bytes
    assert not any((retained._rooms, retained._order, retained._by_room, retained._by_sender))


def test_a_value_is_written_once_and_told_as_it_stands() -> None:
    """Bytes, not objects, which would take twenty times as much."""
    value = make_value({"a": [1, 2]}, "s", 5)
    assert isinstance(value, RetainedValue)
    assert value.data is not None
    assert bytes(value.data) == write_json({"a": [1, 2]})
