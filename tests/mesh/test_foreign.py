"""Frames of other hubs: what makes no sense changes nothing, whatever is wrong with it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, strategies as st
from msgspec.structs import astuple

from alephscript.errors import RequestError
from alephscript.mesh.census import read_census
from alephscript.mesh.effects import Acknowledge, Claim
from alephscript.mesh.federation import Entry, Federation
from alephscript.mesh.foreign import (
    read_announcement,
    read_fields,
    read_frame,
    read_kind,
    read_said,
)
from alephscript.mesh.frames import read_frames, read_said as room_message
from alephscript.mesh.mesh import Mesh
from alephscript.protocol import events
from alephscript.protocol.json import read_value

ABOUT: dict[str, Any] = {
    "sid": "there~B",
    "name": "B",
    "identity": None,
    "meta": True,
    "seconds": 5.0,
    "extras": {},
    "envelope": {},
}


def federated() -> tuple[Mesh, Federation]:
    """A hub that masters H, and has asked a master of another hub for X under number 1."""
    mesh = Mesh()
    federation = mesh.federate("here")
    federation.resynchronise(["there"], {})
    mesh.connected("here~A")
    mesh.received("here~A", "CLIENT_REGISTER", [{"usuario": "A", "protocol": events.PROTOCOL}])
    for hub, sid, room, name in (("here", "here~A", "H", "Y"), ("there", "there~M", "R", "X")):
        declared = events.Declaration(room, (name,))
        federation.apply_decision(room, 1, [Entry(hub, sid, sid, declared, is_core=False)])
    mesh.received("here~A", "GET_X", [{}], 7)
    return mesh, federation


FRAMES: dict[str, tuple[Any, ...]] = {
    "ask": (5, "here~A", "H", "GET_Y", {}, ABOUT),
    "cancel": (5, "there~B", "cancelled"),
    "more": (5, "there~B", 3),
    "answer": (1, "there~M", {"success": True}, ""),
    "moved": (1, "there~M"),
    "lost": (1, "there~M"),
    "cut": (1, "there~M"),
    "note": (1, "there~M", "REQUEST_PROGRESS", {}),
}
"""A frame of each kind that makes sense."""

PASSED_ON = {("ask", 4), ("answer", 2), ("note", 3)}
"""Fields that hold what peers say to each other, so any JSON."""

WRONG: tuple[Any, ...] = (
    None,
    True,
    -1,
    1.5,
    "",
    "x" * 300,
    [],
    {},
    [[]],
    {"sid": 1},
    msgspec.Raw(b"[" * 90_000),
)


def wrongs(value: Any) -> list[Any]:
    """Values of other types than a field's own, and texts that are nobody's name."""
    wrong = [each for each in WRONG if type(each) is not type(value)]
    return wrong if isinstance(value, str) else [each for each in wrong if each != 1]


CASES = [
    pytest.param(
        (kind, *fields[:place], wrong, *fields[place + 1 :]), id=f"{kind}-{place}-{number}"
    )
    for kind, fields in FRAMES.items()
    for place, field in enumerate(fields)
    if (kind, place) not in PASSED_ON
    for number, wrong in enumerate(wrongs(field))
    if not (kind == "ask" and place == 2 and wrong is None)  # a member is asked, of no room
]
CASES += [
    pytest.param((kind, *fields[:-1]), id=f"{kind}-truncated") for kind, fields in FRAMES.items()
]
CASES += [pytest.param((kind, *fields, 1), id=f"{kind}-longer") for kind, fields in FRAMES.items()]
CASES += [
    pytest.param(("ask", *FRAMES["ask"][:5], {**ABOUT, key: wrong}), id=f"about-{key}-{number}")
    for key, value in ABOUT.items()
    for number, wrong in enumerate(wrongs(value))
    if not (key == "identity" and wrong is None) and not isinstance(wrong, msgspec.Raw)
    if not (key == "seconds" and type(wrong) is int)
]
KINDS: tuple[Any, ...] = ("gone", "", 5, None, [], {"lost": 1})
CASES += [pytest.param((each, 1, "there~M"), id=f"kind-{n}") for n, each in enumerate(KINDS)]


@pytest.mark.parametrize("frame", CASES)
def test_a_frame_that_makes_no_sense_changes_nothing(frame: tuple[Any, ...]) -> None:
    """It is refused before anything has come of it, and the next one counts."""
    mesh, federation = federated()
    with pytest.raises(RequestError):
        federation.received("there", frame)
    assert len(mesh.requests) == 1
    assert federation._crossing._askers == {}
    effects = federation.received("there", ("answer", *FRAMES["answer"]))
    assert [each for each in effects if isinstance(each, Acknowledge)]


@pytest.mark.parametrize("kind", FRAMES)
def test_a_frame_that_makes_sense_is_taken(kind: str) -> None:
    """Read or unread."""
    _, federation = federated()
    federation.received("there", (kind, *FRAMES[kind]))
    unread = [msgspec.Raw(msgspec.json.encode(each)) for each in (kind, *FRAMES[kind])]
    federation.received("there", unread)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=8,
)
FIELD = JSON | st.sampled_from([1, "there~M", "there~B", "here~A", "H", "GET_Y", ABOUT, False])


@given(
    kind=st.sampled_from([*FRAMES, "census", "survey"]) | JSON, fields=st.lists(FIELD, max_size=7)
)
def test_any_frame_is_taken_or_refused(kind: Any, fields: list[Any]) -> None:
    """There is no third way, such as an error that nobody expects."""
    mesh, federation = federated()
    try:
        federation.received("there", (kind, *fields))
    except RequestError:
        assert len(mesh.requests) == 1


@given(
    census=JSON | st.lists(st.fixed_dictionaries({"sid": FIELD, "rooms": JSON, "masters": JSON}))
)
def test_any_census_is_counted_as_far_as_it_makes_sense(census: Any) -> None:
    """What cannot be a peer is left out, and the others are told."""
    mesh, federation = federated()
    try:
        counted = read_census(census)
    except RequestError:
        counted = []
    good = {"sid": "there~B", "rooms": ["R"], "masters": [], "registration": {"usuario": "B"}}
    others = federation.count([("there", [*counted, good])])
    assert others[-1].sid == "there~B"
    assert mesh.reports.state_for(mesh.rooms.peers["here~A"], others)


@pytest.mark.parametrize(
    ("event", "sender"),
    [(5, "x"), ("connect", "x"), ("", "x"), ("MASTER_CHANGED", "x"), ("E", 5), ("E", None)],
)
def test_what_no_member_may_say_is_not_heard_from_another_hub(event: Any, sender: Any) -> None:
    """Else one hub of another version would cut off the JavaScript peers of all."""
    mesh, federation = federated()
    mesh.received("here~A", "CLIENT_SUSCRIBE", [{"room": "R"}])
    with pytest.raises(RequestError):
        federation.heard("R", event, {}, sender)
    assert federation.heard("R", "E", {}, "x")


def test_a_census_has_room_for_so_much_and_no_more() -> None:
    """Redis cuts a hub off that has too much to read, and the others would take it for dead."""
    mesh, federation = federated()
    for number in range(3000):
        mesh.connected(f"here~{number}")
        registered = {"usuario": f"{number}", "x": "y" * 3900}
        mesh.received(f"here~{number}", "CLIENT_REGISTER", [registered])
    census = msgspec.json.encode(federation.census())
    assert 3_900_000 < len(census) < 4_100_000
    assert len(federation.count([("there", read_census(msgspec.Raw(census)))])) > 900


def test_a_room_cannot_be_called_as_a_socket_of_another_hub() -> None:
    """There it would be refused, and one hub alone would have it mastered."""
    mesh, federation = federated()
    for name in ("there~M", "here~B"):
        (refusal,) = mesh.received("here~A", "MAKE_MASTER", [{"room": name, "features": []}], 1)
        assert isinstance(refusal, Acknowledge)
        assert not read_value(refusal.answer)["success"]
    (claim,) = mesh.received("here~A", "MAKE_MASTER", [{"room": "a~b", "features": []}], 1)
    assert isinstance(claim, Claim)
    declared = events.Declaration("here~A", ("X",))
    entry = Entry("there", "there~M", "M", declared, is_core=False)
    assert federation.apply_decision("here~A", 2, [entry]) == []


ANY_JSON = st.recursive(
    st.sampled_from([None, True, 0, 1, 2, -1, 1.0, 5.5, 2**53, 2**53 + 1, "", "R", "GET_X", "E"])
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)


def outcome(read: Any, *args: Any) -> Any:
    """What is read, as plain values; None if that makes no sense."""
    try:
        return [read_value(each) if isinstance(each, msgspec.Raw) else each for each in read(*args)]
    except (RequestError, msgspec.DecodeError, UnicodeError):
        return None


def texts(values: Any) -> list[msgspec.Raw]:
    """Values, unread."""
    return [msgspec.Raw(msgspec.json.encode(each)) for each in values]


def in_one_go(frame: Any) -> Any:
    """What a frame is in a message that is read in one go."""
    message = msgspec.json.encode([["zz", "/runtime"], [frame]])
    sender, (read,) = read_frames(message)
    assert sender == ("zz", "/runtime")
    assert type(read).__name__.lower() == frame[0]
    return astuple(read)


@given(st.data())
def test_a_frame_that_is_read_in_one_go_says_what_its_fields_say(data: st.DataObject) -> None:
    """Of any kind, with any of its fields, or keys of the description of its asker, exchanged."""
    kind = data.draw(st.sampled_from(sorted(FRAMES)))
    fields = list(FRAMES[kind])
    for _ in range(data.draw(st.integers(0, 2))):
        at = data.draw(st.integers(0, len(fields)))
        value = data.draw(ANY_JSON)
        if at == len(fields):
            fields = data.draw(st.sampled_from([fields[:-1], [*fields, value]]))
        elif isinstance(fields[at], dict) and kind == "ask" and at == len(fields) - 1:
            key = data.draw(st.sampled_from([*ABOUT, "more"]))
            fields[at] = {**fields[at], key: value}
        else:
            fields[at] = value
    whole = outcome(in_one_go, [kind, *fields])
    assert whole == outcome(read_fields, kind, texts(fields))
    for read, text in ((read_kind, [kind, *fields]), (read_frame, ["/runtime", kind, *fields])):
        one_by_one = outcome(lambda read=read, text=text: read(msgspec.json.encode(text))[-1])
        assert whole == one_by_one


@pytest.mark.parametrize("key", ["extras", "envelope"])
def test_what_is_passed_on_of_an_asker_is_nested_no_deeper_than_peers_read(key: str) -> None:
    """In one go, too, where nothing else would look at it."""
    deep: Any = {}
    for _ in range(70):
        deep = {"x": deep}
    for value in ({"x": 1}, deep):
        frame = ["ask", *FRAMES["ask"][:5], {**ABOUT, key: value}]
        assert (outcome(in_one_go, frame) is None) is (value is deep)


@given(st.lists(ANY_JSON, min_size=3, max_size=4))
def test_an_announcement_that_is_read_in_one_go_says_the_same(said: list[Any]) -> None:
    """As its fields one by one."""

    def one_by_one(event: Any, data: Any, sender: Any, at: Any = 0) -> Any:
        event, sender, at = read_said(event, sender, at)
        return event, data, sender, at

    message = msgspec.json.encode(["zz", [said]])
    whole = outcome(lambda: one_by_one(*read_announcement(msgspec.json.encode(said))))
    assert whole == outcome(one_by_one, *texts(said))
    assert whole == outcome(lambda: one_by_one(*astuple(room_message(message)[1][0])))
