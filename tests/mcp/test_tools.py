"""Capabilities as tools, whatever strangers call and describe them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from jsonschema import Draft202012Validator

from alephscript import Offer, RequestError
from alephscript.doors.texts import as_json, shown
from alephscript.mcp.tools import make_tool, write_failure
from tests.support.properties import examples
from tests.support.strangers import OBEYED, ODD_SCHEMAS, SCHEMAS, TEXTS


def offer(room: str, capability: str, **about: Any) -> Offer:
    """An offer of a single master."""
    return Offer(room, capability, (), "single", 1, **about)


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_tool_takes_an_object_whatever_its_schema(name: str) -> None:
    """A schema that a client does not take would cost the model all tools."""
    made = make_tool(offer("R", "X", request=SCHEMAS[name], reply=SCHEMAS[name]), "X").tool
    for schema in (made.input_schema, made.output_schema):
        assert schema is None or schema["type"] == "object"
        if schema is not None:
            Draft202012Validator.check_schema(schema)
            Draft202012Validator(schema).is_valid({"payload": {}, "result": {}})
        assert len(as_json(schema)) < 200_000


@given(ODD_SCHEMAS)
@settings(max_examples=examples(200))
def test_any_schema_makes_a_tool(schema: Any) -> None:
    """That any client can take."""
    for streams in (False, True):
        about = {"request": schema, "reply": schema, "streams": streams}
        made = make_tool(offer("R", "X", **about), "X").tool
        assert made.input_schema["type"] == "object"
        assert made.output_schema is None or made.output_schema["type"] == "object"
        Draft202012Validator.check_schema(made.input_schema)


def test_a_sound_schema_of_an_object_goes_on_to_the_letter() -> None:
    """With what no contract of this package has."""
    schema = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "type": "object",
        "properties": {
            "a": {"type": "string", "pattern": "^x", "description": "An a.\nOf two lines."},
            "b": {"$ref": "#/$defs/b"},
        },
        "allOf": [{"required": ["a"]}],
        "additionalProperties": False,
        "$defs": {"b": {"type": "array", "items": {"$ref": "#/properties/a"}}},
    }
    made = make_tool(offer("R", "X", request=schema, reply=schema), "X")
    assert (made.tool.input_schema, made.tool.output_schema) == (schema, schema)
    assert (made.wraps_payload, made.wraps_result) == (False, False)


@pytest.mark.parametrize(
    ("schema", "value", "needs"),
    [
        ({"type": "array", "items": {"$ref": "#/$defs/i"}, "$defs": {"i": {}}}, [1], True),
        ({"type": "string"}, "x", True),
        ({"anyOf": [{"type": "object"}, {"type": "null"}]}, None, False),
        ({"type": ["object", "null"]}, {"a": 1}, False),
    ],
)
def test_a_payload_that_is_no_object_is_one_argument(schema: Any, value: Any, needs: bool) -> None:
    """Which may be left out where the payload may be nothing."""
    made = make_tool(offer("R", "X", request=schema), "X")
    taken = made.tool.input_schema
    assert taken["type"] == "object"
    assert taken.get("required", []) == (["payload"] if needs else [])
    Draft202012Validator(taken).validate({"payload": value})
    assert made.payload_of({"payload": value}) == value


@pytest.mark.parametrize(
    ("reply", "streams", "answer"),
    [
        ({"type": "array"}, False, {"result": [1]}),
        ({"type": "string"}, False, {"result": "x"}),
        ({"anyOf": [{"type": "object"}, {"type": "null"}]}, False, {"a": 1}),
        ({"anyOf": [{"type": "object"}, {"type": "null"}]}, False, {}),
        ({"type": "integer"}, True, {"result": [1, 2]}),
        ({"type": "object", "properties": {"a": {}}}, False, {"a": 1}),
    ],
)
def test_an_answer_fits_the_output_schema(reply: Any, streams: bool, answer: Any) -> None:
    """With one field where it is no object."""
    made = make_tool(offer("R", "X", reply=reply, streams=streams), "X")
    result = made.result_of(answer)
    assert made.tool.output_schema is not None
    Draft202012Validator(made.tool.output_schema).validate(result.structured_content)
    assert json.loads(as_json(result.structured_content)) == result.structured_content


@given(TEXTS, ODD_SCHEMAS)
@settings(max_examples=examples(100))
def test_a_model_reads_no_control_characters(text: str, schema: Any) -> None:
    """In what strangers say, but line ends."""
    made = make_tool(offer("R", "X", summary=text, request=schema), "X").tool
    failure = write_failure(RequestError(text, [text]))
    said = (shown(text), as_json({text: [text, schema]}), as_json(made.input_schema))
    for each in (*said, made.description, failure.content[0].text):  # type: ignore[union-attr]
        assert OBEYED.search((each or "").replace("\n", " ")) is None


def test_hints_are_those_that_were_declared() -> None:
    """And no others."""
    made = make_tool(offer("R", "X", destructive=True, idempotent=True), "X").tool
    assert made.annotations is not None
    assert made.annotations.model_dump(exclude_none=True) == {
        "destructive_hint": True,
        "idempotent_hint": True,
    }
