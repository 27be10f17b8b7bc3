"""The wire: names verbatim, parsers that take any JSON, one shape of answer."""

from __future__ import annotations

import json
import math
import time
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from alephscript.errors import InvalidPayload, PayloadTooLarge, RequestError, UnknownEvent
from alephscript.protocol import events
from alephscript.protocol.events import (
    Declaration,
    HubEvent,
    Registration,
    RoomMessage,
    Subscription,
)
from alephscript.protocol.json import (
    MAX_DEPTH,
    is_plain,
    is_shallow_utf8,
    parse_json,
    read_value,
    write_json,
)
from tests.support.properties import examples

if TYPE_CHECKING:
    from collections.abc import Callable

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([10**400, -(10**400)])
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)
FIELDS = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(
        [
            *("usuario", "sesion", "room", "out", "features", "capabilities"),
            *("event", "data", "args"),
        ],
        JSON,
    ),
)
LONG = "x" * (events.MAX_NAME + 1)

relaxed = settings(max_examples=examples(80), suppress_health_check=[HealthCheck.too_slow])


def nested(levels: int, core: Any = 0) -> Any:
    """A value under so many arrays."""
    for _ in range(levels):
        core = [core]
    return core


# Names


def test_confirmations_are_events_that_only_a_hub_sends() -> None:
    """Of what a hub tells one client about itself."""
    assert set(events.CONFIRMATIONS) == {
        *("SUSCRIBE_OK", "room_joined", "room_left", "SET_SERVER_STATE")
    }


def test_names_are_spelt_as_peers_spell_them() -> None:
    """CLIENT_SUSCRIBE is not a typing error here."""
    assert {event.value for event in HubEvent} == {
        "TASK_SUBMIT",
        "TASK_GET",
        "TASK_CANCEL",
        "TASK_LIST",
        "TASK_ANSWER",
        "TASK_CHANGED",
        "TASK_RESUME",
        "TASK_KEPT",
        "REQUEST_CHECKPOINT",
        "CLIENT_REGISTER",
        "CLIENT_SUSCRIBE",
        "CLIENT_UNSUSCRIBE",
        "MAKE_MASTER",
        "RELEASE_MASTER",
        "ROOM_MESSAGE",
        "GET_SERVER_STATE",
        "SET_SERVER_STATE",
        "SUSCRIBE_OK",
        "room_joined",
        "room_left",
        "auth_error",
        # of this package's own peers
        "GET_CAPABILITIES",
        "GET_MEMBERS",
        "GET_ROOM_LOG",
        "GET_MEMBER_PING",
        "GET_MEMBER_INFO",
        "GET_MEMBER_STATS",
        "GET_ASKER_ANSWER",
        "MASTER_CHANGED",
        "MEMBER_JOINED",
        "MEMBER_LEFT",
        "CANCEL_REQUEST",
        "REQUEST_PART",
        "REQUEST_MORE",
        "REQUEST_PROGRESS",
        "RECORD_ROOMS",
        "ROOM_RECORD",
    }
    assert events.NAMESPACES == ("/runtime", "/")
    assert events.PROTOCOL == "alephscript/1"


def test_a_hub_waits_ten_seconds_when_nobody_says() -> None:
    """Below any stock client's patience."""
    assert events.DEFAULT_TIMEOUT == 10


@pytest.mark.parametrize(
    ("declared", "asked", "answered"),
    [
        ("AAIA_STEP_FIA", "GET_AAIA_STEP_FIA", "SET_AAIA_STEP_FIA"),
        ("GET_LIST_OF_THREADS", "GET_LIST_OF_THREADS", "SET_LIST_OF_THREADS"),
        ("AAIA_GET_APPS", "GET_AAIA_GET_APPS", "SET_AAIA_GET_APPS"),
    ],
)
def test_a_capability_has_one_asking_and_one_answering_event(
    declared: str, asked: str, answered: str
) -> None:
    """Whether it was declared as X or as GET_X."""
    assert events.capability_event(declared) == asked
    assert events.answer_event(asked) == answered
    assert events.capability_name(declared) == events.capability_name(asked)


@pytest.mark.parametrize("event", ["FIA_STEP", "x", "x" * events.MAX_NAME, "ROOM_MESSAGE"])
def test_any_other_event_name_is_good(event: str) -> None:
    """What peers survive is theirs to choose."""
    assert events.check_event(event) == event


@pytest.mark.parametrize(
    "event",
    [*sorted(events.RESERVED), "SET_SERVER_STATE", "", LONG, None, 7, True, ["GET_X"], {"a": 1}],
)
def test_an_event_name_that_breaks_peers_is_refused(event: Any) -> None:
    """A JavaScript client that receives a reserved event drops its connection."""
    with pytest.raises(UnknownEvent):
        events.check_event(event)


def test_the_reserved_events_are_those_of_the_javascript_parser() -> None:
    """socket.io-parser has the same list."""
    assert sorted(events.RESERVED) == [
        *("connect", "connect_error", "disconnect", "disconnecting"),
        *("newListener", "removeListener"),
    ]


# CLIENT_REGISTER


def test_a_registration_keeps_its_extras() -> None:
    """ZEUS peers add type, features and peerCard."""
    got = events.parse_registration(
        {"usuario": "Bot", "sesion": ">1684", "type": "bot", "features": []}
    )
    assert got == Registration("Bot", ">1684", {"type": "bot", "features": []})
    assert got.name == "Bot>1684"
    assert not got.is_native


def test_a_peer_of_ours_announces_the_protocol() -> None:
    """Only that very version counts."""
    assert events.parse_registration({"usuario": "a", "protocol": events.PROTOCOL}).is_native
    assert not events.parse_registration({"usuario": "a", "protocol": "alephscript/2"}).is_native
    assert not events.parse_registration({"usuario": "a", "protocol": [events.PROTOCOL]}).is_native


@pytest.mark.parametrize(
    ("sesion", "kept"), [(None, ""), ("", ""), ("s-R", "s-R"), (1684, "1684"), (1.5, "1.5")]
)
def test_a_session_may_be_missing_or_a_number(sesion: Any, kept: str) -> None:
    """Hand-written clients send what they have."""
    assert events.parse_registration({"usuario": "R", "sesion": sesion}).sesion == kept
    assert events.parse_registration({"usuario": "R"}).sesion == ""


@pytest.mark.parametrize(
    ("payload", "path"),
    [
        (None, ""),
        ([], ""),
        ("Bot", ""),
        ({}, "usuario"),
        ({"usuario": ""}, "usuario"),
        ({"usuario": 7}, "usuario"),
        ({"usuario": LONG}, "usuario"),
        ({"usuario": "R", "sesion": True}, "sesion"),
        ({"usuario": "R", "sesion": ["s"]}, "sesion"),
        ({"usuario": "R", "sesion": LONG}, "sesion"),
        ({"usuario": "R", "sesion": 10**400}, "sesion"),
    ],
)
def test_a_bad_registration_is_refused_with_its_path(payload: Any, path: str) -> None:
    """A null CLIENT_REGISTER ends the upstream hub; here it is an answer."""
    with pytest.raises(InvalidPayload) as caught:
        events.parse_registration(payload)
    assert [problem["path"] for problem in caught.value.details] == [path]
    assert str(caught.value).startswith(f"{path or 'payload'}: ")


# CLIENT_SUSCRIBE


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        ({"room": "AAIA_ROOM"}, Subscription("AAIA_ROOM", out=False)),
        ({"room": "AAIA_ROOM", "out": True}, Subscription("AAIA_ROOM", out=True)),
        ({"room": "AAIA_ROOM", "out": "true"}, Subscription("AAIA_ROOM", out=False)),
        ({"room": "SALA::z:norte", "zone": "norte"}, Subscription("SALA::z:norte", out=False)),
    ],
)
def test_a_subscription_names_a_room(payload: Any, expected: Subscription) -> None:
    """Only a true `out` leaves."""
    assert events.parse_subscription(payload) == expected


@pytest.mark.parametrize("payload", [None, [], "AAIA_ROOM", {}, {"room": ""}, {"room": 7}])
def test_a_subscription_without_room_is_refused(payload: Any) -> None:
    """A null CLIENT_SUSCRIBE ends both upstream hubs."""
    with pytest.raises(InvalidPayload):
        events.parse_subscription(payload)


@pytest.mark.parametrize("room", [None, "", LONG, 7, ["R"]])
def test_a_room_is_a_short_string(room: Any) -> None:
    """The only thing that a room can be called."""
    with pytest.raises(InvalidPayload):
        events.check_room_name(room)
    assert events.check_room_name("AAIA_ROOM") == "AAIA_ROOM"


# MAKE_MASTER


@pytest.mark.parametrize(
    ("payload", "room", "expected"),
    [
        ({"room": "R", "features": ["X", "GET_Y"]}, None, Declaration("R", ("X", "GET_Y"))),
        ({"room": "R", "features": []}, None, Declaration("R", ())),
        ({"room": "R"}, None, Declaration("R", ())),
        ({"room": "R", "capabilities": ["X"]}, None, Declaration("R", ("X",))),
        ({"room": "R", "features": ["X"], "capabilities": ["Y"]}, None, Declaration("R", ("X",))),
        ({"room": "R", "features": ["X", "Y", "X"]}, None, Declaration("R", ("X", "Y"))),
        ({"features": ["X"], "metadata": {}}, "S", Declaration("S", ("X",))),
        ({"room": "R", "features": []}, "S", Declaration("S", ())),
        (None, "S", Declaration("S", ())),
    ],
)
def test_a_declaration_names_room_and_features(
    payload: Any, room: Any, expected: Declaration
) -> None:
    """Features may be empty; the envelope's room wins."""
    assert events.parse_declaration(payload, room=room) == expected


SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}}
CARD: dict[str, Any] = {
    "id": "THREAD_STEP",
    "description": "One step.",
    "inputSchema": SCHEMA,
    "outputSchema": SCHEMA,
    "tags": ["threads", "step"],
}
DESCRIBED = {"summary": "One step.", "request": SCHEMA, "reply": SCHEMA, "tags": CARD["tags"]}
NO_METADATA: list[Any] = [None, [], 7, {}, {"capabilities": None}, {"capabilities": ["X"]}]
ODD = {"id": "Z", "description": 7, "inputSchema": "s", "tags": ["a", 1]}


@pytest.mark.parametrize(
    ("payload", "features", "descriptions"),
    [
        ({"metadata": {"capabilities": [CARD]}}, ["THREAD_STEP"], {"THREAD_STEP": DESCRIBED}),
        ({"capabilities": [CARD]}, ["THREAD_STEP"], {"THREAD_STEP": DESCRIBED}),
        (
            {"features": ["GET_THREAD_STEP", "X"], "metadata": {"capabilities": [CARD]}},
            ["GET_THREAD_STEP", "X"],
            {"GET_THREAD_STEP": DESCRIBED},
        ),
        (
            {"features": ["X"], "metadata": {"capabilities": [CARD, {"id": "Y"}, {}, {"id": 7}]}},
            ["X", "THREAD_STEP", "Y"],
            {"THREAD_STEP": DESCRIBED, "Y": {}},
        ),
        (
            {"metadata": {"capabilities": [CARD]}, "descriptions": {"THREAD_STEP": {}}},
            ["THREAD_STEP"],
            {"THREAD_STEP": {}},
        ),
        ({"metadata": {"capabilities": [ODD]}}, ["Z"], {"Z": {}}),
        *(({"features": ["X"], "metadata": odd}, ["X"], {}) for odd in NO_METADATA),
    ],
)
def test_masters_of_upstream_describe_themselves_in_metadata(
    payload: dict[str, Any], features: list[str], descriptions: dict[str, Any]
) -> None:
    """What does not fit says nothing, and refuses no declaration: features alone are enough."""
    declared = events.parse_declaration({"room": "R", **payload})
    assert list(declared.features) == features
    assert declared.descriptions == descriptions
    # Other hubs read what this one has read.
    again = {"room": "R", "features": features, "descriptions": descriptions}
    assert events.parse_declaration(again) == declared


@pytest.mark.parametrize(
    ("payload", "path"),
    [
        (None, ""),
        ("R", ""),
        ({"features": []}, "room"),
        ({"room": "R", "features": "X"}, "features"),
        ({"room": "R", "features": {"0": "X"}}, "features"),
        ({"room": "R", "features": ["X", 7]}, "features"),
        ({"room": "R", "features": [""]}, "features"),
        ({"room": "R", "capabilities": "X"}, "features"),
    ],
)
def test_a_bad_declaration_is_refused_with_its_path(payload: Any, path: str) -> None:
    """The declaring bot learns why it is not master."""
    with pytest.raises(InvalidPayload) as caught:
        events.parse_declaration(payload)
    assert [problem["path"] for problem in caught.value.details] == [path]


# ROOM_MESSAGE


def test_a_room_message_keeps_the_envelopes_further_keys() -> None:
    """A master of the core dialect receives the whole envelope."""
    payload = {"event": "GET_X", "room": "R", "data": {"n": 1}, "requestId": "q1", "from": "me"}
    assert events.parse_room_message(payload) == RoomMessage(
        "GET_X", "R", {"n": 1}, {"requestId": "q1", "from": "me"}
    )


@pytest.mark.parametrize(
    ("fields", "data"),
    [
        ({}, None),
        ({"data": None}, None),
        ({"args": [1]}, [1]),
        ({"data": {"n": 1}, "args": [1]}, {"n": 1}),
        ({"data": None, "args": [1]}, None),
        ({"data": 0}, 0),
    ],
)
def test_args_stand_in_for_data(fields: dict[str, Any], data: Any) -> None:
    """The MCPChannels documents write `args`; where both are, `data` is meant."""
    got = events.parse_room_message({"event": "FIA_STEP", "room": "R", **fields})
    assert got == RoomMessage("FIA_STEP", "R", data, {})


def test_the_server_state_may_be_asked_without_room() -> None:
    """The state is the hub's, not a room's."""
    assert events.parse_room_message({"event": "GET_SERVER_STATE"}).event == "GET_SERVER_STATE"
    assert events.parse_room_message({"event": "GET_SERVER_STATE", "room": "R"}).room == "R"


@pytest.mark.parametrize("payload", [None, [], "x", {"event": "X"}, {"event": "X", "room": 1}])
def test_a_room_message_without_room_is_refused(payload: Any) -> None:
    """A null ROOM_MESSAGE ends the upstream hub."""
    with pytest.raises(RequestError) as caught:
        events.parse_room_message(payload)
    assert isinstance(caught.value, InvalidPayload if payload else RequestError)


@pytest.mark.parametrize("event", [None, 7, [], {}, "", "disconnect", "SET_SERVER_STATE"])
def test_a_room_message_of_an_impossible_event_is_refused(event: Any) -> None:
    """Non-string and reserved inner events end upstream hubs."""
    with pytest.raises(UnknownEvent):
        events.parse_room_message({"event": event, "room": "R"})


# Answers


@pytest.mark.parametrize(
    ("fields", "answer"),
    [
        (None, {"success": True}),
        ({}, {"success": True}),
        ({"room": "R"}, {"success": True, "room": "R"}),
        ([1], {"success": True, "result": [1]}),
        (0, {"success": True, "result": 0}),
    ],
)
def test_a_success_is_one_object(fields: Any, answer: dict[str, Any]) -> None:
    """What is no object goes under `result`."""
    assert events.make_success(fields) == answer


@pytest.mark.parametrize(
    ("args", "answer"),
    [
        ([], {"success": True, "result": None}),
        ([None], {"success": True, "result": None}),
        ([7], {"success": True, "result": 7}),
        (["ok"], {"success": True, "result": "ok"}),
        ([[1, 2]], {"success": True, "result": [1, 2]}),
        ([1, 2], {"success": True, "result": [1, 2]}),
        ([{}, {}], {"success": True, "result": [{}, {}]}),
        ([{}], {"success": True}),
        ([{"apps": []}], {"success": True, "apps": []}),
        ([{"success": True, "error": "warned"}], {"success": True, "error": "warned"}),
        ([{"error": "boom"}], {"success": False, "error": "boom", "code": "error"}),
        (
            [{"success": False}],
            {"success": False, "error": "the master reported a failure", "code": "error"},
        ),
        (
            [{"success": False, "error": "x", "code": "conflict"}],
            {"success": False, "error": "x", "code": "conflict"},
        ),
        (
            [{"success": 0, "error": {"message": "x"}, "code": 7}],
            {"success": False, "error": "the master reported a failure", "code": "error"},
        ),
        ([{"success": 1, "n": 2}], {"success": True, "n": 2}),
        (
            [{"success": None}],
            {"success": False, "error": "the master reported a failure", "code": "error"},
        ),
    ],
)
def test_whatever_a_master_answers_becomes_one_answer(
    args: list[Any], answer: dict[str, Any]
) -> None:
    """No object becomes `result`; an object without `success` failed if it has `error`."""
    assert events.normalise(args) == answer
    assert events.is_failure(answer) is (not answer["success"])


def test_normalising_leaves_the_masters_object_alone() -> None:
    """It may be somebody's own in memory."""
    value = {"error": "x"}
    events.normalise([value])
    assert value == {"error": "x"}


@given(args=st.lists(JSON | FIELDS | st.fixed_dictionaries({"success": JSON}), max_size=3))
@relaxed
def test_a_normalised_answer_is_always_well_formed(args: list[Any]) -> None:
    """Success is a boolean, and a failure has text and code: `response.error` never lacks."""
    answer = events.normalise(args)
    assert type(answer["success"]) is bool
    if events.is_failure(answer):
        assert isinstance(answer["error"], str)
        assert isinstance(answer["code"], str)
    assert events.normalise([answer]) == answer


@pytest.mark.parametrize(
    ("data", "fields"),
    [
        ({"a": 1}, {"a": 1}),
        ([5, 6], {"0": 5, "1": 6}),
        ("ab", {"0": "a", "1": "b"}),
        ([], {}),
        (None, {}),
        (7, {}),
        (True, {}),
    ],
)
def test_data_spreads_as_javascript_spreads_it(data: Any, fields: dict[str, Any]) -> None:
    """Arrays spread to their indices, strings to characters, the rest to nothing."""
    assert events.spread(data) == fields


# Parsers and arbitrary JSON


@pytest.mark.parametrize(
    "parse",
    [
        events.parse_registration,
        events.parse_subscription,
        events.parse_declaration,
        events.parse_room_message,
        events.check_room_name,
        events.check_event,
    ],
)
@given(payload=JSON | FIELDS)
@relaxed
def test_a_parser_raises_nothing_but_request_errors(
    parse: Callable[[Any], Any], payload: Any
) -> None:
    """Whatever arrives becomes a message or an answer."""
    try:
        parse(payload)
    except RequestError as error:
        answer = error.answer()
        assert answer["success"] is False
        assert parse_json(write_json(answer)) == answer


@given(payload=JSON | FIELDS, room=JSON)
@relaxed
def test_an_enveloped_declaration_raises_nothing_but_request_errors(
    payload: Any, room: Any
) -> None:
    """Also with the envelope's room at hand."""
    try:
        declared = events.parse_declaration(payload, room=room)
    except RequestError:
        return
    assert isinstance(declared.room, str)
    assert all(isinstance(feature, str) for feature in declared.features)


# What has not been read yet


def test_an_unread_value_is_read_where_it_is_looked_at() -> None:
    """And a read one is itself."""
    assert read_value(msgspec.Raw(b'{"a":1}')) == {"a": 1}
    assert read_value({"a": 1}) == {"a": 1}
    assert read_value(None) is None


def test_of_an_unread_room_message_event_and_room_are_read() -> None:
    """The rest leaves as it came."""
    got = events.parse_room_message(
        msgspec.Raw(b'{"event":"GET_X","room":"R","data":[1e400],"k":{}}')
    )
    assert (got.event, got.room) == ("GET_X", "R")
    assert (bytes(got.data), bytes(got.extras["k"])) == (b"[1e400]", b"{}")


@pytest.mark.parametrize("text", [b"[]", b"null", b"7", b'"x"', b"{", b"", b'{"event":}', b"\xff"])
def test_an_unread_room_message_that_is_none_is_refused(text: bytes) -> None:
    """Not an object, or not even JSON."""
    with pytest.raises(InvalidPayload):
        events.parse_room_message(msgspec.Raw(text))


@given(payload=JSON | FIELDS)
@relaxed
def test_an_unread_room_message_means_what_the_read_one_means(payload: Any) -> None:
    """Same parts, or the same error."""

    def parsed(value: Any) -> Any:
        try:
            got = events.parse_room_message(value)
        except RequestError as error:
            return error.answer()
        extras = {key: read_value(extra) for key, extra in got.extras.items()}
        return got.event, got.room, read_value(got.data), extras

    assert parsed(msgspec.Raw(write_json(payload))) == parsed(payload)


# Text


@given(value=JSON)
@relaxed
def test_json_survives_the_wire(value: Any) -> None:
    """What was dumped is what is loaded, and what everybody else loads."""
    text = write_json(value)
    assert parse_json(text) == value
    assert parse_json(text.decode()) == value
    assert json.loads(text) == value


@given(text=st.text() | st.binary() | st.text(alphabet='[]{}",:0123456789.eE-ntruefalsNI \\ud8'))
@relaxed
def test_any_text_is_json_or_refused(text: str | bytes) -> None:
    """Nothing but a RequestError comes out of the parser."""
    try:
        parse_json(text)
    except RequestError:
        return


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "nope", "NaN", "Infinity", "-Infinity", "1e400", "[1,]", "1 2", "'x'"),
        *('"\\ud800"', "\ud800", b"\xff", "9" * 5000),
    ],
)
def test_text_that_breaks_other_peers_is_refused(text: str | bytes) -> None:
    """NaN and its like disconnect every JavaScript member of the room."""
    with pytest.raises(InvalidPayload, match="not valid JSON"):
        parse_json(text)


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        float("inf"),
        [-float("inf")],
        b"bytes",
        {"a": {1, 2}},
        object(),
        {(1, 2): 3},
        "\ud800",
    ],
)
def test_values_without_json_form_are_refused(value: Any) -> None:
    """Refused here, not at the peer that chokes on them; bytes too: members that poll get text."""
    with pytest.raises(InvalidPayload, match="no JSON form"):
        write_json(value)


@pytest.mark.parametrize("core", [0, [], {}], ids=["number", "empty array", "empty object"])
def test_nesting_ends_at_the_limit(core: Any) -> None:
    """Arrays and objects count, what they hold does not; an empty one is a level as well."""
    levels = MAX_DEPTH - (0 if core == 0 else 1)
    fits, deeper = nested(levels, core), nested(levels + 1, core)
    assert parse_json(write_json(fits)) == fits
    with pytest.raises(PayloadTooLarge):
        write_json(deeper)
    with pytest.raises(PayloadTooLarge):
        parse_json(json.dumps(deeper))


TRICKY = st.text(st.sampled_from('[]{}"\\\\\\,:a\u00f1'), max_size=8)
"""Strings of what could be taken for nesting, or for the end of a string."""


def depth_of(value: Any) -> int:
    """Levels of nesting, counted in the value."""
    levels, level = 0, [value]
    while level := [each for each in level if isinstance(each, dict | list)]:
        levels += 1
        level = [
            child for each in level for child in (each.values() if isinstance(each, dict) else each)
        ]
    return levels


@given(
    core=st.recursive(
        TRICKY | st.integers(),
        lambda inner: st.lists(inner, max_size=9) | st.dictionaries(TRICKY, inner, max_size=9),
        max_leaves=40,
    ),
    keys=st.lists(TRICKY | st.none(), max_size=MAX_DEPTH + 2)
    | st.lists(TRICKY | st.none(), min_size=MAX_DEPTH - 5, max_size=MAX_DEPTH + 2),
    siblings=st.lists(TRICKY | st.just([]) | st.just({}), max_size=3),
    is_ascii=st.booleans(),
    separators=st.sampled_from([(",", ":"), (" ,\n", " : ")]),
)
def test_nesting_is_counted_in_the_text_as_in_the_value(
    core: Any,
    keys: list[str | None],
    siblings: list[Any],
    is_ascii: bool,
    separators: tuple[str, str],
) -> None:
    """Whatever strings hold, and however they are escaped."""
    value = core
    for key in keys:
        value = [*siblings, value, *siblings] if key is None else {"[": siblings, key: value}
    text = json.dumps(value, ensure_ascii=is_ascii, separators=separators).encode()
    assert is_shallow_utf8(text) is (depth_of(value) <= MAX_DEPTH)
    large = b'["%b",%b]' % (b"x" * 10_000, text)
    assert is_shallow_utf8(large) is (depth_of([value]) <= MAX_DEPTH)


def test_lists_of_any_length_are_read_in_one_pass() -> None:
    """Nesting that is not there costs no second reading."""
    message = {"texto": 'dice "[{" \\', "eferencias": [{"tipo": "x"}] * 10_000}
    assert is_shallow_utf8(json.dumps(["E", message]).encode())


@pytest.mark.parametrize(
    "text",
    [
        b"[" * 500_000 + b"]" * 500_000,
        b"[" + b",".join([b"[" * 63 + b"]" * 63] * 8000) + b"]",
        b"[[]," * 65 + b'"' + b"\\\\" * 250_000 + b'\\""' + b"]" * 65,
        b'["[",[]' * 100_000,
        b"]" * 500_000 + b"[" * 500_000,
        b'"' * 500_001 + b"[]" * 100,
    ],
    ids=["deep", "deep again and again", "backslashes", "strings", "upside down", "quotes"],
)
def test_a_text_made_to_be_slow_is_looked_at_in_passing(text: bytes) -> None:
    """A megabyte of anything takes less than a second, here a twentieth of it."""
    began = time.process_time()
    is_shallow_utf8(text)
    assert time.process_time() - began < 1


@pytest.mark.parametrize("levels", [1000, 100_000])
def test_any_nesting_is_refused_without_recursion(levels: int) -> None:
    """Deep nesting raises inside other parsers, and the acknowledgement is never sent."""
    with pytest.raises(PayloadTooLarge, match="64 levels"):
        parse_json("[" * levels + "]" * levels)
    with pytest.raises(PayloadTooLarge, match="64 levels"):
        write_json(nested(levels))


def test_text_is_compact_and_not_escaped() -> None:
    """As JSON.stringify writes it."""
    assert write_json({"sesión": [1, None, True]}).decode() == '{"sesión":[1,null,true]}'


@given(
    value=st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.text()
        | st.binary(max_size=2)
        | st.just("\ud800"),
        lambda inner: (
            st.lists(inner) | st.tuples(inner) | st.dictionaries(st.text() | st.integers(), inner)
        ),
        max_leaves=6,
    )
)
def test_what_is_plain_is_written_as_the_strict_encoder_writes_it(value: Any) -> None:
    """And what is not plain is refused, or means the same, but is never passed on wrongly."""
    try:
        strict = json.loads(json.dumps(value, allow_nan=False))
        json.dumps(value, ensure_ascii=False).encode()
    except (TypeError, ValueError):
        with pytest.raises((InvalidPayload, PayloadTooLarge)):
            write_json(value)
    else:
        assert parse_json(write_json(value)) == strict


def test_what_only_looks_plain_is_not() -> None:
    """Msgspec would write some of it in its own way, in silence."""

    class Word(str):
        __slots__ = ()

    for value in (math.nan, [math.inf], {"x": b"raw"}, {1: "one"}, Word("w"), {1, 2}, [object()]):
        assert not is_plain(value)
    assert is_plain({"x": [1, 2.5, True, None, "y", ("z",)]})
    assert write_json({1: Word("one")}) == b'{"1":"one"}'


@pytest.mark.parametrize("extras", [{"x": "y" * 5000}, {"x": json.loads("[" * 40 + "]" * 40)}])
def test_a_registration_says_no_more_than_can_be_repeated(extras: dict[str, Any]) -> None:
    """Everybody's state repeats it: one client must not make it too large for all."""
    with pytest.raises(PayloadTooLarge):
        events.parse_registration({"usuario": "u", **extras})
    assert events.parse_registration({"usuario": "u", "x": {"y": [1]}}).extras == {"x": {"y": [1]}}
