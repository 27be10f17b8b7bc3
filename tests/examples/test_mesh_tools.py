"""What strangers offer becomes tools that every server of models takes."""

from __future__ import annotations

import json
import re
from typing import Any

from hypothesis import given, settings, strategies as st
from jsonschema import Draft202012Validator

from alephscript import Offer
from examples.mesh_tools import MAX_TOOLS, make_tools
from tests.support.properties import examples

TEXT = st.text(max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
SCHEMAS = (
    st.none()
    | st.dictionaries(TEXT, JSON, max_size=3)
    | st.fixed_dictionaries(
        {},
        optional={
            "type": st.sampled_from(["object", "array", "string", 7]),
            "properties": JSON | st.dictionaries(TEXT, st.just({"type": "integer"}), max_size=2),
            "$ref": st.sampled_from(["#/$defs/A", "#/properties/a", "http://127.0.0.1/x", "#"]),
            "$defs": st.just({"A": {"type": "string"}}),
            "items": st.just({"$ref": "#/$defs/A"}),
        },
    )
)


def offer(room: str, capability: str, request: Any = None, **fields: Any) -> Offer:
    """An offer."""
    return Offer(room, capability, ("M",), "single", 1, request=request, **fields)


OFFERS = st.lists(
    st.builds(
        offer,
        st.sampled_from(["R", "S", "R_A"]) | TEXT,
        st.sampled_from(["A", "A_B", "B", "x" * 80]) | st.text(min_size=1, max_size=80),
        SCHEMAS,
        summary=st.none() | TEXT,
        destructive=st.none() | st.booleans(),
    ),
    max_size=8,
    unique_by=lambda each: (each.room, each.capability),
)


@given(offers=OFFERS)
@settings(max_examples=examples(50))
def test_each_offer_is_a_tool_that_any_server_takes(offers: list[Offer]) -> None:
    """A name of its own, and a valid schema of an object, whatever the master has declared."""
    tools = make_tools(offers)
    assert len(tools) == len(offers)
    assert len({tool.name for tool in tools}) == len(tools)
    of = {(each.room, each.capability): each for each in offers}
    for tool in tools:
        assert re.fullmatch(r"[A-Za-z0-9_-]{1,64}", tool.name)
        assert tool.schema["type"] == "object"
        Draft202012Validator.check_schema(tool.schema)
        Draft202012Validator(tool.schema).is_valid({"payload": {}})  # no reference leads astray
        json.dumps(tool.schema)
        assert tool.is_dangerous is (of[tool.room, tool.capability].destructive is True)


@given(offers=OFFERS, data=st.data())
@settings(max_examples=examples(25))
def test_the_order_of_offers_changes_no_tool(offers: list[Offer], data: st.DataObject) -> None:
    """A model that has been told of a tool finds it again."""
    assert make_tools(data.draw(st.permutations(offers))) == make_tools(offers)


def test_a_schema_that_is_sound_goes_on_to_the_letter() -> None:
    """And what is no object is one argument."""
    request = {"type": "object", "properties": {"a": {"$ref": "#/$defs/A"}}, "$defs": {"A": {}}}
    (tool,) = make_tools([offer("R", "X", request)])
    assert (tool.name, tool.schema, tool.wraps_payload) == ("X", request, False)
    (tool,) = make_tools([offer("R", "X", {"type": "array", "items": {"type": "integer"}})])
    assert tool.wraps_payload
    assert tool.schema["properties"]["payload"]["type"] == "array"


def test_two_rooms_with_one_name_have_two_tools() -> None:
    """Neither has the plain name, which would be one room's by chance."""
    tools = make_tools([offer("KITCHEN", "LIGHT"), offer("ATTIC", "LIGHT")])
    assert [tool.name[:13] for tool in tools] == ["ATTIC_LIGHT__", "KITCHEN_LIGHT"]


def test_a_large_mesh_has_no_more_tools_than_a_model_can_have() -> None:
    """Servers of models refuse what is beyond."""
    assert len(make_tools(offer("R", f"C{number}") for number in range(500))) == MAX_TOOLS
