"""What a contract marks as a secret is in no copy, however deep it stands and whatever it is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, strategies as st

from alephscript.protocol.withholding import (
    WITHHELD,
    has_secrets,
    schemas_at,
    scrub,
    withhold,
    withhold_in_answer,
)

SECRET = {"type": "string", "x-secret": True}
LOGIN = {"type": "object", "properties": {"user": {"type": "string"}, "password": SECRET}}


@pytest.mark.parametrize(
    "mark", [{"x-secret": True}, {"writeOnly": True}, {"format": "password"}], ids=str
)
def test_each_mark_is_known(mark: dict[str, Any]) -> None:
    """Ours, and those of JSON Schema and OpenAPI."""
    schema = {"properties": {"pin": {"type": "integer", **mark}}}
    copy = withhold({"pin": 1234, "user": "ana"}, schema)
    assert copy.value == {"pin": WITHHELD, "user": "ana"}
    assert (copy.paths, copy.secrets) == ((("pin",),), ("1234",))


@pytest.mark.parametrize(
    "schema",
    [
        LOGIN,
        {"$ref": "#/$defs/Login", "$defs": {"Login": LOGIN}},
        {"anyOf": [{"type": "null"}, LOGIN]},
        {"allOf": [{"type": "object"}, {"oneOf": [LOGIN]}]},
        {"if": {}, "then": LOGIN},
        {"dependentSchemas": {"user": LOGIN}},
        {"properties": {"user": {"type": "string"}}, "additionalProperties": SECRET},
        {"properties": {"passWord": SECRET}},
    ],
    ids="-".join,
)
def test_a_secret_is_found_wherever_a_schema_says_it(schema: dict[str, Any]) -> None:
    """By reference, in a part of a union, in another spelling."""
    copy = withhold({"user": "ana", "password": "geheim"}, schema)
    assert copy.value == {"user": "ana", "password": WITHHELD}


@pytest.mark.parametrize(
    ("schema", "value", "expected"),
    [
        ({"items": LOGIN}, [{"password": "a"}, {}], [{"password": WITHHELD}, {}]),
        ({"prefixItems": [{}, SECRET]}, ["a", "b", "c"], ["a", WITHHELD, "c"]),
        ({"items": [{}, SECRET]}, ["a", "b"], ["a", WITHHELD]),
        ({"additionalProperties": {"items": SECRET}}, {"k": ["a"]}, {"k": [WITHHELD]}),
        (LOGIN, "ana:geheim", WITHHELD),
        (LOGIN, ["geheim"], ["geheim"]),
        (LOGIN, {"password": None}, {"password": None}),
        (LOGIN, {"password": {"old": "a"}}, {"password": WITHHELD}),
        ({"patternProperties": {"^p": SECRET}}, {"p": 1, "x": 1}, {"p": WITHHELD, "x": WITHHELD}),
        (SECRET, "a", WITHHELD),
        ({"type": "string"}, "a", "a"),
        (None, {"password": "a"}, {"password": "a"}),
        ("no schema", 1, 1),
        ({"$ref": "#/nowhere", "properties": {"p": SECRET}}, {"p": 1}, {"p": WITHHELD}),
    ],
)
def test_what_is_marked_goes_and_nothing_else(schema: Any, value: Any, expected: Any) -> None:
    """Items, values of other types, and schemas that are none."""
    assert withhold(value, schema).value == expected


def test_a_schema_that_holds_itself_is_walked_as_deep_as_the_value() -> None:
    """A tree of logins."""
    schema: dict[str, Any] = {
        "$ref": "#/$defs/Tree",
        "$defs": {
            "Tree": {"properties": {"key": SECRET, "inner": {"$ref": "#/$defs/Tree"}}},
        },
    }
    value: dict[str, Any] = {"key": "k0", "inner": {"key": "k1", "inner": {"key": "k2"}}}
    copy = withhold(value, schema)
    assert copy.paths == (("key",), ("inner", "key"), ("inner", "inner", "key"))
    assert schemas_at(schema, ("inner", "inner", "key"))[0] == SECRET


@pytest.mark.parametrize(
    "answer", [{"success": True, "password": "x"}, {"result": {"password": 1}}]
)
def test_an_answer_has_the_fields_of_its_reply_or_a_result(answer: dict[str, Any]) -> None:
    """As clients read answers."""
    assert WITHHELD in repr(withhold_in_answer(answer, LOGIN).value)
    assert withhold_in_answer({"success": True, "result": "x"}, SECRET).value == {
        "success": True,
        "result": WITHHELD,
    }


def test_a_secret_is_left_out_wherever_it_is_repeated() -> None:
    """In sentences, in keys, as a number."""
    copy = scrub({"error": "no geheim!", "geheim": [1234, 12345, True]}, ["geheim", "1234"])
    assert copy.value == {"error": f"no {WITHHELD}!", WITHHELD: [WITHHELD, 12345, True]}
    assert copy.paths == (("error",), (WITHHELD, 0))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(inner=JSON, steps=st.lists(st.sampled_from(["field", "item", "either", "any"]), max_size=6))
def test_no_depth_hides_a_secret(inner: Any, steps: list[str]) -> None:
    """Whatever stands there, and whatever is around."""
    schema: dict[str, Any] = {"x-secret": True}
    value: Any = {"marker": ["the secret", inner]}
    for step in steps:
        if step == "field":
            schema, value = {"properties": {"f": schema}}, {"f": value, "g": inner}
        elif step == "item":
            schema, value = {"items": schema}, [value]
        elif step == "either":
            schema = {"oneOf": [{"type": "string"}, schema]}
        else:
            schema, value = {"additionalProperties": schema}, {"k": value}
    assert has_secrets(schema)
    copy = withhold(value, schema)
    assert "the secret" not in json.dumps(copy.value)
    assert "the secret" in copy.secrets


@given(JSON, JSON)
def test_what_no_schema_marks_stays_as_it_is(value: Any, schema: Any) -> None:
    """Also beside a schema of nonsense."""
    if not has_secrets(schema):
        assert withhold(value, schema).value is value
