"""Contracts: strict reading, every problem with its path, one spelling on the wire."""

from __future__ import annotations

import json
import math
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta, timezone
from enum import StrEnum
from typing import Any, Generic, TypeVar

import attrs
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from alephscript import aaia
from alephscript.aaia import Percepto, RunState, SendPercepto, StepFIA, StepResult, TipoPercepto
from alephscript.contracts import (
    RequestFor,
    json_schema,
    prepare,
    read,
    read_reply,
    reply_type,
    structure,
    unstructure,
    wire_key,
    write,
)
from alephscript.errors import ContractError, DeclarationError
from alephscript.protocol.json import parse_json, write_json
from tests.support.properties import examples

T = TypeVar("T")

relaxed = settings(max_examples=examples(25), suppress_health_check=[HealthCheck.too_slow])


@attrs.frozen
class Inner:
    """Something within."""

    the_number: int
    a_flag: bool = False


@attrs.frozen
class Outer:
    """One attribute of every kind there is."""

    text: str
    inner: Inner
    many_inner: list[Inner]
    by_name: dict[str, Inner]
    ratio: float = 1.0
    maybe: int | None = None
    either: str | int = 0
    anything: Any = None
    two: tuple[int, ...] = ()
    when: datetime | None = None


@attrs.frozen
class Loose:
    """Unions that may also be nothing."""

    who: str | int | None


@attrs.define
class Filled:
    """Defaults that are made, private attributes, and one that nobody gives."""

    _hidden: str
    many: list[Inner] = attrs.Factory(list)
    pair: dict[str, Any] = attrs.field(factory=dict)
    ratios: list[float] | None = None
    made: int = attrs.field(init=False, default=7)


@attrs.frozen
class Node:
    """A contract within itself."""

    value: int
    children: list[Node]


@attrs.frozen
class Page(Generic[T]):
    """A contract of a type still to be named."""

    the_items: list[T]


@attrs.frozen
class Picky:
    """A contract with validators that raise what they like."""

    even: int = attrs.field()
    odd: int = attrs.field(default=1)
    small: int = attrs.field(default=0)

    @even.validator
    def _check_even(self, _: Any, value: int) -> None:
        if value % 2:
            raise ValueError("must be even")

    @odd.validator
    def _check_odd(self, _: Any, value: int) -> None:
        if value % 2 == 0:
            raise LookupError

    @small.validator
    def _check_small(self, _: Any, value: int) -> None:
        if value > 9:
            error = ValueError("must be small")
            error.add_note("nine is the largest digit")
            raise error


OUTER = {"text": "x", "inner": {"theNumber": 1}, "manyInner": [], "byName": {}}

AAIA = sorted(
    (
        value
        for name in aaia.__all__
        if isinstance(value := getattr(aaia, name), type) and attrs.has(value)
    ),
    key=lambda cls: cls.__name__,
)

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([10**400, 1684])
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=6,
)
# Milliseconds are what JavaScript's Date has, hence what the wire carries.
MOMENTS = st.integers(0, 4_102_444_800_000).map(
    lambda ms: datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=ms)
)


def values_of(kind: Any) -> st.SearchStrategy[Any]:
    """Values of a type as a contract's attribute declares it."""
    plain: dict[Any, st.SearchStrategy[Any]] = {
        str: st.text(max_size=6),
        int: st.integers(),
        float: st.floats(allow_nan=False, allow_infinity=False),
        bool: st.booleans(),
        datetime: MOMENTS,
        Any: JSON,
        type(None): st.none(),
    }
    if kind in plain:
        return plain[kind]
    arguments = typing.get_args(kind)
    match typing.get_origin(kind):
        case types.UnionType:
            return st.one_of([values_of(argument) for argument in arguments])
        case origin if origin is list:
            return st.lists(values_of(arguments[0]), max_size=3)
        case origin if origin is tuple:
            return st.lists(values_of(arguments[0]), max_size=3).map(tuple)
        case origin if origin is dict:
            return st.dictionaries(st.text(max_size=6), values_of(arguments[1]), max_size=3)
    if issubclass(kind, StrEnum):
        return st.sampled_from(list(kind))
    fields = [field for field in attrs.fields(attrs.resolve_types(kind)) if field.init]
    return st.builds(kind, **{field.alias: values_of(field.type) for field in fields})


def attempt(payload: Any, cls: Any) -> tuple[Any, list[dict[str, str]] | None]:
    """The decoded value, or the problems; anything else that is raised is a failure.

    The same comes of the payload's text, which is read in another way.
    """
    found = _attempt(structure, payload, cls)
    text = json.dumps(payload, ensure_ascii=False).encode()
    assert _attempt(read, text, cls) == found
    assert _attempt(read, msgspec.Raw(text), cls) == found
    if isinstance(payload, dict) and "success" not in payload:
        reply = read_reply(json.dumps([{"success": True, **payload}]).encode(), cls)
        assert reply is None or reply == found[0]
    return found


def _attempt(
    read: Callable[[Any, Any], Any], given: Any, cls: Any
) -> tuple[Any, list[dict[str, str]] | None]:
    try:
        return read(given, cls), None
    except ContractError as error:
        return None, error.problems


def problems(payload: Any, cls: Any) -> dict[str, str]:
    """What decoding complains about: messages by path."""
    with pytest.raises(ContractError) as caught:
        structure(payload, cls)
    return {problem["path"]: problem["message"] for problem in caught.value.problems}


# Properties, over everything that AAIA sends


@pytest.mark.parametrize("cls", AAIA, ids=lambda cls: cls.__name__)
@given(data=st.data())
@relaxed
def test_what_is_encoded_is_decoded_again(cls: type, data: st.DataObject) -> None:
    """Through the text on the wire, for every contract of AAIA."""
    value = data.draw(values_of(cls))
    payload = unstructure(value)
    assert isinstance(payload, dict)
    assert structure(parse_json(write_json(payload)), cls) == value
    assert read(write(value), cls) == value
    assert read_reply(write_json([{"success": True, **payload}]), cls) == value


def test_a_reply_of_any_length_is_read_in_one_pass() -> None:
    """Many brackets are no nesting."""
    reply = Outer("x", Inner(1), [Inner(n) for n in range(1000)], {})
    payload = json.dumps([{"success": True, **unstructure(reply)}]).encode()
    assert read_reply(payload, Outer) == reply


def _spots(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        inner = list(value.items())
    elif isinstance(value, list):
        inner = list(enumerate(value))
    return [path, *(spot for key, child in inner for spot in _spots(child, (*path, key)))]


def _replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copy = value.copy()
    copy[path[0]] = _replaced(value[path[0]], path[1:], new)
    return copy


@pytest.mark.parametrize("cls", [*AAIA, Outer, Loose, Filled], ids=lambda cls: cls.__name__)
@given(data=st.data())
@relaxed
def test_any_json_decodes_or_lists_its_problems(cls: type, data: st.DataObject) -> None:
    """Arbitrary JSON, and payloads spoilt in one spot: nothing but ContractError, with paths."""
    payload = data.draw(JSON | st.just(None), label="payload")
    if data.draw(st.booleans(), label="spoilt only"):
        good = unstructure(data.draw(values_of(cls)))
        spot = data.draw(st.sampled_from(_spots(good)), label="spot")
        payload = _replaced(good, spot, payload)
    value, found = attempt(payload, cls)
    if found is None:
        assert isinstance(value, cls)
        return
    assert found
    keys = {wire_key(field.name) for field in attrs.fields(cls)}
    for problem in found:
        assert set(problem) == {"path", "message"}
        assert problem["message"]
        if isinstance(payload, dict):
            assert problem["path"].partition(".")[0].partition("[")[0] in keys
    write_json(found)


@given(payload=JSON, kind=st.sampled_from([Outer, Loose, Node, Page[int], Picky, list[Inner]]))
@relaxed
def test_any_json_into_any_kind_raises_only_contract_errors(payload: Any, kind: Any) -> None:
    """Also where the contract is an application's."""
    _, found = attempt(payload, kind)
    assert found is None or found


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"[]",
        b"{}",
        b'[{"success":false,"sessionId":"s","fiaIndex":0}]',
        b'[{"success":1,"sessionId":"s","fiaIndex":0}]',
        b'[{"sessionId":"s","fiaIndex":0}]',
        b'[{"success":true,"sessionId":"s"}]',
        b'[{"success":true,"sessionId":"s","fiaIndex":0},2]',
        b'[{"success":true,"sessionId":"\xff","fiaIndex":0}]',
        b'[{"success":true,"sessionId":"s","fiaIndex":0,"more":%b}]' % (b"[" * 70 + b"]" * 70),
    ],
)
def test_what_is_no_plain_success_is_looked_at_more_closely(payload: bytes) -> None:
    """By whoever asked, who then learns what is wrong."""
    assert read_reply(payload, StepFIA) is None


# Spelling


@pytest.mark.parametrize(
    ("attribute", "key"),
    [("session_id", "sessionId"), ("tipo", "tipo"), ("last_used_at", "lastUsedAt")],
)
def test_snake_case_becomes_camel_case(attribute: str, key: str) -> None:
    """In one place only."""
    assert wire_key(attribute) == key


def test_a_request_is_spelt_as_upstream_spells_it() -> None:
    """The transcript's `{sessionId, fiaIndex}`."""
    assert unstructure(StepFIA(session_id="s1", fia_index=0)) == {"sessionId": "s1", "fiaIndex": 0}


def test_what_is_none_by_default_is_left_out() -> None:
    """Optional attributes are no keys; nullable ones without default are."""
    percepto = Percepto(TipoPercepto.SENSOR, {})
    assert unstructure(percepto) == {"tipo": "sensor", "payload": {}}
    thread = aaia.ThreadInfo(0, "F", "logica", RunState.STOP, None)
    assert unstructure(thread)["mundo"] is None


def test_other_defaults_are_sent() -> None:
    """The peer need not know them."""
    sent = unstructure(structure(OUTER, Outer))
    assert (sent["ratio"], sent["either"], sent["two"]) == (1.0, 0, [])
    assert sent["inner"] == {"theNumber": 1, "aFlag": False}
    assert "maybe" not in sent


# Strict reading


def test_unknown_keys_are_ignored() -> None:
    """Peers of other versions add what they like."""
    payload = {"sessionId": "s1", "fiaIndex": 0, "requestId": "q1", "fia_index": 9}
    assert structure(payload, StepFIA) == StepFIA("s1", 0)


@pytest.mark.parametrize("payload", [None, [], "x", 7, [["sessionId", "s1"]]])
def test_a_contract_is_an_object(payload: Any) -> None:
    """And nothing that merely looks like one."""
    (message,) = problems(payload, StepFIA).values()
    assert message.startswith("expected an object, got ")


def test_every_problem_is_listed_with_its_path() -> None:
    """At once, in the wire's spelling, however deep."""
    payload = {
        "text": 7,
        "inner": {"aFlag": 1},
        "manyInner": [{"theNumber": 1}, {"theNumber": "2"}, None],
        "byName": {"a": {"theNumber": True}},
        "ratio": "1",
        "maybe": "x",
        "either": [],
        "two": [1, None],
        "when": "yesterday",
    }
    assert problems(payload, Outer) == {
        "text": "expected a string, got number",
        "inner.theNumber": "missing",
        "inner.aFlag": "expected a boolean, got number",
        "manyInner[1].theNumber": "expected an integer, got string",
        "manyInner[2]": "expected an object, got null",
        "byName.a.theNumber": "expected an integer, got boolean",
        "ratio": "expected a number, got string",
        "maybe": "expected an integer, got string",
        "either": "expected a string or an integer, got array",
        "two[1]": "expected an integer, got null",
        "when": 'expected an ISO 8601 time with its offset, got "yesterday"',
    }


def test_the_error_reads_as_a_sentence() -> None:
    """The contract's name, then path and problem."""
    with pytest.raises(ContractError, match=r"^not a valid StepFIA: fiaIndex: missing$"):
        structure({"sessionId": "s1"}, StepFIA)
    with pytest.raises(ContractError, match=r"^not a valid list\[str\]: \[1\]: expected a string"):
        structure(["a", 1], list[str])


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (str, ["", "x"], [None, 7, True, [], {}]),
        (bool, [True, False], [None, 0, 1, "true", []]),
        (int, [0, -3, 10**400], [None, True, 1.5, "1", math.inf, []]),
        (float, [0, 1.5, -3], [None, True, "1", math.nan, math.inf, 10**400]),
        (list[int], [[], [1]], [None, "12", {"0": 1}, (1,), {1}, [None]]),
        (tuple[int, ...], [[1]], [None, "12", {"0": 1}]),
        (Sequence[str], [["ab"]], ["ab", {"a": 1}]),
        (dict[str, int], [{}, {"a": 1}], [None, [], [["a", 1]], "a", {"a": "1"}]),
        (Mapping[str, Any], [{"a": None}], [None, []]),
        (int | None, [None, 1], ["1", 1.5]),
        (str | int, ["a", 1], [None, 1.5, True]),
        (str | int | None, ["a", 1, None], [1.5, True, []]),
        (RunState, ["PLAY", "STOP"], [None, "play", "", 0, [], {}]),
    ],
    ids=str,
)
def test_json_types_are_taken_literally(kind: Any, good: list[Any], bad: list[Any]) -> None:
    """A string is no number, a boolean no integer, a string no array of characters."""
    for value in good:
        decoded = structure(value, kind)
        assert list(decoded) == value if isinstance(decoded, tuple) else decoded == value
    for value in bad:
        assert problems(value, kind)


def test_a_whole_float_is_an_integer() -> None:
    """JavaScript has one number type."""
    value = structure(3.0, int)
    assert (value, type(value)) == (3, int)
    assert type(structure(3, float)) is float


def test_an_enum_lists_what_it_takes() -> None:
    """So that the peer need not look it up."""
    payload = {"sessionId": "s", "percepto": {"tipo": "x", "payload": {}}}
    assert problems(payload, SendPercepto) == {
        "percepto.tipo": 'expected one of sensor, evento, comando, got "x"'
    }


def test_what_is_no_json_at_all_is_called_so() -> None:
    """In memory a peer may pass anything."""
    assert problems(object(), str) == {"": "expected a string, got object"}


@pytest.mark.parametrize("value", [None, "x", 7])
def test_a_nullable_union_takes_null(value: Any) -> None:
    """Three members are as good as two."""
    assert structure({"who": value}, Loose) == Loose(value)


def test_a_nullable_unions_complaint_is_about_its_members() -> None:
    """Nothing in it that the peer cannot act on."""
    assert problems({"who": []}, Loose) == {"who": "expected a string or an integer, got array"}


def test_validators_of_a_contract_are_problems_too() -> None:
    """With their own words if they have some."""
    assert problems({"even": 1}, Picky) == {"": "must be even"}
    assert problems({"even": 2, "odd": 2}, Picky) == {"": "not valid"}


def test_notes_of_a_validators_error_are_no_path() -> None:
    """Places alone say where."""
    assert problems([{"even": 2, "small": 10}], list[Picky]) == {"[0]": "must be small"}


def test_a_generic_contract_is_read_by_its_argument() -> None:
    """Page[int] holds integers."""
    assert structure({"theItems": [1]}, Page[int]) == Page([1])
    assert problems({"theItems": [1, "2"]}, Page[int]) == {
        "theItems[1]": "expected an integer, got string"
    }


def test_a_contract_may_hold_itself() -> None:
    """Trees are contracts."""
    tree = Node(1, [Node(2, [])])
    assert structure(unstructure(tree), Node) == tree
    assert list(problems({"value": 1, "children": [{"value": 2}]}, Node)) == [
        "children[0].children"
    ]


def test_a_contract_can_be_prepared_ahead_of_its_first_use() -> None:
    """So that a declaration that can never be read shows early."""
    prepare(Outer)
    prepare(list[StepFIA])
    with pytest.raises(DeclarationError, match="complex has no JSON form"):
        prepare(list[complex])
    with pytest.raises(DeclarationError, match="Nowhere"):
        prepare(attrs.frozen(type("Lost", (), {"__annotations__": {"x": "Nowhere"}})))


# Time


@pytest.mark.parametrize(
    "text",
    [
        *("2026-11-05T12:00:00.250Z", "2026-11-05T13:00:00.250+01:00", "2026-11-05T12:00:00.25Z"),
        1793880000250,
        1793880000250.0,
    ],
)
def test_a_time_is_read_in_every_spelling(text: Any) -> None:
    """toISOString(), an offset, Date.now()."""
    moment = structure(text, datetime)
    assert moment == datetime(2026, 11, 5, 12, 0, 0, 250_000, UTC)
    assert moment.tzinfo is not None


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        "",
        "noon",
        "12:00",
        "2026-11-05T12:00:00",
        [],
        10**400,
        10**18,
        math.nan,
        -math.inf,
    ],
)
def test_what_is_no_time_is_a_problem(value: Any) -> None:
    """Also when the number is beyond all calendars."""
    assert problems(value, datetime)


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (datetime(2026, 11, 5, 12, 0, 0, 250_000, UTC), "2026-11-05T12:00:00.250Z"),
        (datetime(2026, 11, 5, 12, 0, 0, 250_999, UTC), "2026-11-05T12:00:00.250999Z"),
        (
            datetime(2026, 11, 5, 13, 0, 0, 250_000, timezone(timedelta(hours=1))),
            "2026-11-05T12:00:00.250Z",
        ),
    ],
)
def test_a_time_is_written_as_javascript_writes_it(moment: datetime, text: str) -> None:
    """toISOString(): UTC, milliseconds, Z; finer only where there is something finer."""
    assert unstructure(moment) == text
    assert structure(text, datetime) == moment


def test_a_time_without_offset_is_refused() -> None:
    """Nobody knows which moment it is."""
    with pytest.raises(ContractError, match="give it a tzinfo"):
        unstructure(datetime(2026, 11, 5))  # noqa: DTZ001 - what a careless caller passes


# Writing


def test_contracts_are_encoded_wherever_they_are() -> None:
    """In lists, objects, and where the type says nothing."""
    step = StepFIA("s1", 0)
    spelt = {"sessionId": "s1", "fiaIndex": 0}
    assert unstructure([step, {"a": step}]) == [spelt, {"a": spelt}]
    assert unstructure(aaia.QueryResult(structure(MUNDO, aaia.MundoState), [step]))["result"] == [
        spelt
    ]
    assert unstructure({"s": RunState.PLAY, "t": (1, None)}) == {"s": "PLAY", "t": [1, None]}


class Opaque:
    """A value that has no JSON form."""

    def __repr__(self) -> str:
        return "Opaque()"


MUNDO = {"nombre": "m", "vivo": True, "runState": "PLAY", "modelo": {}, "fiasCount": 1}


@pytest.mark.parametrize(
    "value",
    [
        *(math.nan, math.inf, -math.inf, b"x", bytearray(b"x"), {1}, frozenset(), Opaque(), 1j),
        *([math.nan], {"a": b"x"}, Percepto(TipoPercepto.SENSOR, {"a": Opaque()})),
    ],
    ids=repr,
)
def test_what_has_no_json_form_is_refused_before_sending(value: Any) -> None:
    """Bytes, sets and NaN would harm the peers."""
    with pytest.raises(ContractError, match="has no JSON form"):
        unstructure(value)


def test_a_time_at_the_end_of_days_keeps_its_offset() -> None:
    """In UTC it would be a day that no datetime holds."""
    moment = datetime.max.replace(tzinfo=timezone(timedelta(hours=-1)))
    written = unstructure(moment)
    assert written == "9999-12-31T23:59:59.999999-01:00"
    assert structure(written, datetime) == moment


# Typed requests


def test_a_request_names_its_capability_and_its_reply() -> None:
    """`client.request(StepFIA(…))` knows what to ask and what comes back."""
    assert StepFIA.capability == "AAIA_STEP_FIA"
    assert reply_type(StepFIA) is StepResult


@pytest.mark.parametrize(
    "cls", [c for c in AAIA if issubclass(c, RequestFor)], ids=lambda c: c.__name__
)
def test_every_request_of_aaia_declares_a_contract_as_reply(cls: type[RequestFor[Any]]) -> None:
    """Each of the thirteen capabilities, with its answer."""
    assert attrs.has(reply_type(cls))
    assert cls.capability.startswith(("AAIA_", "GET_"))


def test_a_request_without_capability_is_refused_at_import() -> None:
    """With what to write instead."""
    with pytest.raises(DeclarationError, match=r"class Nameless\(RequestFor"):
        type("Nameless", (RequestFor,), {})


def test_a_request_without_reply_is_refused() -> None:
    """When it is first needed."""
    bare = type("Bare", (RequestFor,), {}, capability="X")
    with pytest.raises(DeclarationError, match="Bare does not say its reply"):
        reply_type(bare)


def test_a_request_may_be_derived_from_another() -> None:
    """It keeps capability and reply."""
    derived: Any = attrs.frozen(type("Derived", (StepFIA,), {}))
    assert derived.capability == "AAIA_STEP_FIA"
    assert reply_type(derived) is StepResult


# JSON Schema


def test_a_schema_is_spelt_as_the_wire_is() -> None:
    """For whoever writes requests without our classes."""
    schema = json_schema(StepFIA)
    assert schema["type"] == "object"
    assert schema["properties"] == {
        "sessionId": {
            "title": "Session id",
            "type": "string",
            "description": "The session's id.",
        },
        "fiaIndex": {
            "title": "Fia index",
            "type": "integer",
            "description": "The FIA's index in its session, from 0.",
        },
    }
    assert schema["required"] == ["sessionId", "fiaIndex"]
    assert "$defs" not in schema


def _references(schema: Any) -> set[str]:
    if isinstance(schema, list):
        return {ref for part in schema for ref in _references(part)}
    if not isinstance(schema, dict):
        return set()
    own = {schema["$ref"]} if isinstance(schema.get("$ref"), str) else set()
    return own | {ref for part in schema.values() for ref in _references(part)}


@pytest.mark.parametrize("cls", [*AAIA, Outer, Node, Page[int]], ids=str)
def test_a_schema_defines_whatever_it_refers_to(cls: Any) -> None:
    """Under `$defs`, also when it refers to itself."""
    schema = json_schema(cls)
    names = {f"#/$defs/{name}" for name in schema.get("$defs", {})}
    assert _references(schema) <= names
    write_json(schema)
    for part in (schema, *schema.get("$defs", {}).values()):
        assert not [key for key in part.get("properties", {}) if "_" in key]


def test_a_schema_of_any_type_can_be_had() -> None:
    """Not only of contracts."""
    assert json_schema(list[str]) == {"type": "array", "items": {"type": "string"}}
    assert json_schema(list[Inner])["$defs"]["Inner"]["required"] == ["theNumber"]


def test_a_type_without_schema_cannot_be_in_a_contract() -> None:
    """A mistake of the declaration, and named."""
    with pytest.raises(DeclarationError, match="complex has no JSON form"):
        json_schema(list[complex])
