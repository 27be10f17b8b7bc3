"""Schemas of strangers, put into a document of OpenAPI."""

from __future__ import annotations

import time
from typing import Any

import jsonschema
import pytest
from hypothesis import given, strategies as st
from openapi_spec_validator import OpenAPIV31SpecValidator

from alephscript.hub.rest.openapi import make_document
from alephscript.hub.rest.schemas import is_sound
from examples.persefon_bot import PersefonBot

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(-2, 2) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)
KEYWORDS = [
    *("type", "title", "description", "format", "enum", "const", "default", "examples", "pattern"),
    *("minimum", "maxLength", "multipleOf", "required", "uniqueItems", "$ref", "$id", "$schema"),
    *("discriminator", "xml", "nullable", "example", "$anchor", "readOnly", "dependentRequired"),
]
SCHEMAS_IN = ["items", "not", "if", "additionalProperties", "contains", "contentSchema"]
VALUES = (
    JSON
    | st.sampled_from(["string", "object", "array", "null", "#/$defs/A", "#/$defs/B", "#", "["])
    | st.sampled_from([["string", "null"], ["a", "b"], {"a": ["b"]}, "date-time", 7, True])
)
SCHEMAS: st.SearchStrategy[Any] = st.recursive(
    st.booleans() | JSON | st.dictionaries(st.sampled_from(KEYWORDS), VALUES, max_size=4),
    lambda inner: st.one_of(
        st.dictionaries(st.sampled_from(SCHEMAS_IN), inner, max_size=2),
        st.fixed_dictionaries(
            {"properties": st.dictionaries(st.sampled_from([*KEYWORDS, "a", "b"]), inner)},
            optional={"default": JSON, "required": st.just(["a"]), "type": st.just("object")},
        ),
        st.dictionaries(
            st.sampled_from(["anyOf", "allOf", "prefixItems"]), st.lists(inner, max_size=3)
        ),
        st.fixed_dictionaries(
            {"$defs": st.dictionaries(st.sampled_from("ABC"), inner), "$ref": st.just("#/$defs/A")},
        ),
    ),
    max_leaves=8,
)


def document_of(*offers: dict[str, Any]) -> dict[str, Any]:
    """The document of these offers, found valid."""
    made = make_document(offers, version="1", server="/", is_guarded=False)
    OpenAPIV31SpecValidator(made).validate()
    return made


@given(request=SCHEMAS, reply=SCHEMAS, streams=st.booleans())
def test_whatever_masters_declare_the_document_is_valid(
    request: Any, reply: Any, *, streams: bool
) -> None:
    """Of several masters, whose definitions have the same names."""
    offers = [
        {"room": room, "capability": "X", "request": first, "reply": second, "streams": streams}
        for room, first, second in (("R", request, reply), ("S", reply, request))
        if isinstance(first, dict) and isinstance(second, dict)
    ]
    document_of(*offers)


@given(SCHEMAS)
def test_what_is_sound_is_a_schema(schema: Any) -> None:
    """By the rules of JSON Schema."""
    if is_sound(schema):
        plain = {key: value for key, value in schema.items() if key != "$schema"}
        jsonschema.Draft202012Validator.check_schema(plain)


def operation(document: dict[str, Any], path: str) -> dict[str, Any]:
    """The operation at a path."""
    made: dict[str, Any] = document["paths"][path]["post"]
    return made


def body_of(document: dict[str, Any], path: str) -> Any:
    """The schema of what an operation takes."""
    return operation(document, path)["requestBody"]["content"]["application/json"]["schema"]


def answer_of(document: dict[str, Any], path: str) -> Any:
    """The schema of what an operation gives."""
    return operation(document, path)["responses"]["200"]["content"]["application/json"]["schema"]


KEPT = [
    {"type": "object", "properties": {"default": {"type": "string", "pattern": "^a+$"}}},
    {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1},
    {"enum": ["$ref", 1, None]},
    {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None},
    {"type": "integer", "default": 3, "x-own": {"any": ["thing"]}},
    {"type": "object", "properties": {"$ref": {"type": "string"}}, "required": ["$ref"]},
    {"const": {"$ref": "#/$defs/NONE"}},
]


@pytest.mark.parametrize("schema", KEPT)
def test_a_schema_goes_on_to_the_letter(schema: dict[str, Any]) -> None:
    """With keys that this package does not know."""
    document = document_of({"room": "R", "capability": "X", "request": schema})
    assert body_of(document, "/mesh/rooms/R/X") == schema


def test_definitions_are_components() -> None:
    """Shared where they are the same, apart where they are not."""
    one = {"$ref": "#/$defs/A", "$defs": {"A": {"items": {"$ref": "#/$defs/B"}}, "B": {}}}
    other = {"$ref": "#/$defs/A", "$defs": {**one["$defs"], "B": {"type": "string"}}}  # type: ignore[dict-item]
    draft = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "$ref": "#/definitions/A",
        "definitions": {
            "A": {"items": {"$ref": "#/definitions/B"}},
            "B": {"title": "of a draft"},
        },
    }
    offers = [
        {"room": "R", "capability": name, "request": schema}
        for name, schema in (("X", one), ("Y", one), ("Z", other), ("D", draft))
    ]
    document = document_of(*offers)
    refs = [body_of(document, f"/mesh/rooms/R/{name}")["$ref"] for name in "XYZD"]
    assert refs[0] == refs[1] == "#/components/schemas/A"
    assert len({*refs}) == 3
    schemas = document["components"]["schemas"]
    assert schemas["A"] == {"items": {"$ref": "#/components/schemas/B"}}
    assert schemas["B"] == {}
    assert {"A_2", "B_2", "A_3", "B_3", "Failure"} <= schemas.keys()


UNSOUND = [
    {"$ref": "http://elsewhere.example/schema"},
    {"$ref": "#/$defs/A", "$defs": {"A": {"$ref": "#/$defs/B"}, "B": {"$ref": "#/$defs/A"}}},
    {"$ref": "#"},
    {"type": "nonsense", "properties": {"a": {"type": "string"}}},
    {"properties": []},
    {"$id": "http://elsewhere.example", "type": "string"},
    {"pattern": "("},
    {"pattern": "[[a]"},
    {"required": "a"},
    {"discriminator": 7},
]


@pytest.mark.parametrize("schema", UNSOUND)
def test_one_that_is_not_sound_is_replaced_by_one_that_allows_as_much(
    schema: dict[str, Any],
) -> None:
    """And keeps what can be understood of it."""
    document = document_of({"room": "R", "capability": "X", "request": schema})
    body = body_of(document, "/mesh/rooms/R/X")
    assert body != schema
    assert body.get("properties", {}) == (
        {"a": {"type": "string"}} if "nonsense" in schema.values() else {}
    )


HOSTILE = [
    {"pattern": "(a+)+$", "default": "a" * 50_000 + "b"},
    {"required": [str(n) for n in range(50_000)] + [1]},
    {"type": [[]] * 50_000},
    {"uniqueItems": True, "default": [{"a": n} for n in range(20_000)]},
    {"$defs": {f"A{n}": {"anyOf": [{"$ref": f"#/$defs/A{n + 1}"}] * 9} for n in range(1000)}},
    {"properties": {str(n): {"$ref": "#/$defs/A"} for n in range(10_000)}, "$defs": {"A": {}}},
]


@pytest.mark.parametrize("schema", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_schema_takes_no_time(schema: dict[str, Any]) -> None:
    """No pattern is matched, no value compared with another."""
    began = time.process_time()
    made = make_document(
        [{"room": "R", "capability": "X", "request": schema, "reply": schema}],
        version="1",
        server="/",
        is_guarded=True,
    )
    assert made["security"] == [{"bearer": []}]
    assert time.process_time() - began < 5


REPLIES: list[tuple[Any, list[Any], list[Any]]] = [
    (None, [{}, {"any": 1}], []),
    ({"type": "integer"}, [{"result": 1}], [{"result": "x"}]),
    (
        {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]},
        [{"a": 1}],
        [{"a": "x"}, {}],
    ),
    (
        {
            "type": "object",
            "properties": {"a": {"type": "integer"}},
            "additionalProperties": False,
        },
        [{"a": 1}, {}],
        [{"a": "x"}],
    ),
    (
        {"type": "object", "additionalProperties": {"type": "integer"}},
        [{"a": 1}, {"result": {"success": 1}}],
        [],
    ),
    ({"anyOf": [{"type": "string"}, {"type": "object"}]}, [{"result": "x"}, {"a": 1}], []),
    (
        {"$ref": "#/$defs/A", "$defs": {"A": {"type": "array", "items": {"type": "null"}}}},
        [{"result": [None]}],
        [{"result": [1]}],
    ),
]


@pytest.mark.parametrize(("reply", "right", "wrong"), REPLIES, ids=range(len(REPLIES)))
def test_an_answer_is_described_as_it_stands_in_its_envelope(
    reply: Any, right: list[Any], wrong: list[Any]
) -> None:
    """Beside ``success``, or under ``result``."""
    document = document_of({"room": "R", "capability": "X", "reply": reply})
    schema = answer_of(document, "/mesh/rooms/R/X")
    validator = jsonschema.Draft202012Validator({**schema, "components": document["components"]})
    for fields in right:
        validator.validate({"success": True, **fields})
    for fields in wrong:
        assert not validator.is_valid({"success": True, **fields})
    assert not validator.is_valid({"success": False, **(right[0])})


def test_a_stream_gives_a_list_to_who_takes_no_stream() -> None:
    """Of its parts."""
    offer = {"room": "R", "capability": "X", "reply": {"type": "integer"}, "streams": True}
    result = answer_of(document_of(offer), "/mesh/rooms/R/X")["properties"]["result"]
    assert result == {"type": "array", "items": {"type": "integer"}}


def test_the_document_of_a_bot_has_its_schemas() -> None:
    """An operation a capability, named by room and capability."""
    offers = [
        {"room": "AAIA_ROOM", "capability": each.name, **each.description()}
        for each in PersefonBot.declarations.offered("AAIA_ROOM")
    ]
    document = document_of(*offers)
    assert len(document["paths"]) == len(offers) > 10
    step = operation(document, "/mesh/rooms/AAIA_ROOM/AAIA_STEP_FIA")
    assert step["operationId"] == "AAIA_ROOM/AAIA_STEP_FIA"
    assert body_of(document, "/mesh/rooms/AAIA_ROOM/AAIA_STEP_FIA")["required"] == [
        "sessionId",
        "fiaIndex",
    ]


def test_odd_names_have_operations_of_their_own() -> None:
    """Slashes, dots and braces are no others' paths."""
    names = ["A/B", "A", "A.B", "{A}", "ñ", "..", "?", "#"]
    offers = [{"room": room, "capability": name} for room in names for name in names]
    document = document_of(*offers)
    assert len(document["paths"]) == len(offers)
    ids = {each["post"]["operationId"] for each in document["paths"].values()}
    assert len(ids) == len(offers)
