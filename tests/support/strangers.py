"""Text and schemas of somebody of bad will, for property tests and tables."""

from __future__ import annotations

import re
from typing import Any

from hypothesis import strategies as st

OBEYED = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""What a terminal, a log or a reader's eye obeys."""

TEXTS = st.text(
    st.sampled_from(
        "\x00\x07\n\r\x1b\x7f\x85\x9b\u2028\u202e\u2066\u200d\ud800\U000e0001é🦤[/]'\"\\-$a"
    )
    | st.characters(),
    max_size=40,
)
"""Any text, halves of characters included."""


def deep(fields: int, levels: int) -> dict[str, Any]:
    """Write a schema with so many fields at each level."""
    names = [f"f{number}" for number in range(fields)]
    definitions: dict[str, Any] = {f"A{levels}": {"type": "string"}}
    for level in range(levels):
        properties = {name: {"$ref": f"#/$defs/A{level + 1}"} for name in names}
        definitions[f"A{level}"] = {"type": "object", "required": names, "properties": properties}
    return {"$ref": "#/$defs/A0", "$defs": definitions}


def _own_kind(fields: int) -> dict[str, Any]:
    names = [f"f{number}" for number in range(fields)]
    whole = {
        "type": "object",
        "properties": {name: {"$ref": "#/$defs/A"} for name in names},
        "required": names,
    }
    return {"$ref": "#/$defs/A", "$defs": {"A": whole}}


_LONG = "x" * 900_000
_MANY = [f"c{number}" for number in range(100_000)]
_SHARED = {
    "type": "object",
    "properties": {f"f{number}": {"$ref": "#/$defs/B"} for number in range(200)},
}

SCHEMAS: dict[str, Any] = {
    "reference to itself": {"$ref": "#/$defs/A", "$defs": {"A": {"$ref": "#/$defs/A"}}},
    "references in a circle": {
        "$ref": "#/$defs/A",
        "$defs": {"A": {"$ref": "#/$defs/B"}, "B": {"$ref": "#/$defs/A"}},
    },
    "reference to nothing": {"$ref": "#/$defs/A"},
    "reference of another type": {"$ref": 5, "$defs": []},
    "definitions of another type": {"$ref": "#/$defs/A", "$defs": [1]},
    "enum of another type": {"enum": 5},
    "enum of nothing": {"enum": []},
    "properties of another type": {"type": "object", "properties": [1], "required": [1]},
    "required of another type": {"type": "object", "properties": {"a": 1}, "required": 7},
    "required that is odd": {"type": "object", "required": [1, None, [], {}, "a"]},
    "anyOf of another type": {"anyOf": 5},
    "anyOf of nothing": {"anyOf": []},
    "anyOf of itself": {"$ref": "#/$defs/A", "$defs": {"A": {"anyOf": [{"$ref": "#/$defs/A"}]}}},
    "type of another type": {"type": {"a": 1}},
    "several types": {"type": ["string", "null"]},
    "types that are none": {"type": [[], 5]},
    "items of itself": {"$ref": "#/$defs/A", "$defs": {"A": {"items": {"$ref": "#/$defs/A"}}}},
    "20 fields six deep": deep(20, 6),
    "100 fields six deep": deep(100, 6),
    "24 fields of its own kind": _own_kind(24),
    "255 fields of its own kind": _own_kind(255),
    "one field of its own kind": _own_kind(1),
    "10,000 fields": _own_kind(10_000),
    "a long name": {"type": "object", "properties": {_LONG: {}}, "required": [_LONG]},
    "a long reference": {"$ref": f"#/$defs/{_LONG}", "$defs": {_LONG: {"type": "string"}}},
    "a long description 200 times": {**_SHARED, "$defs": {"B": {"description": _LONG}}},
    "a long default 200 times": {**_SHARED, "$defs": {"B": {"type": "string", "default": _LONG}}},
    "many choices 200 times": {**_SHARED, "$defs": {"B": {"enum": _MANY}}},
    "many keys 200 times": {**_SHARED, "$defs": {"B": dict.fromkeys(_MANY, 1)}},
    "many fields 200 times": {
        **_SHARED,
        "$defs": {
            "B": {"type": "object", "properties": {name: {} for name in _MANY}, "required": _MANY}
        },
    },
    "many alternatives 200 times": {**_SHARED, "$defs": {"B": {"anyOf": [{}] * 100_000}}},
    "deep values": {"type": "object", "default": [[[[[[]]]]]], "const": {"a": [{}]}},
    "controls": {
        "type": "object",
        "properties": {"a\x1b\u202e": {"enum": ["\x1b]0;owned\x07"], "description": "\n\u2028"}},
        "required": ["a\x1b\u202e"],
    },
}
"""Schemas that strangers declare, by what is odd about them."""

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)

_KEYWORDS = st.sampled_from(
    [
        *("$ref", "$defs", "type", "properties", "required", "enum", "const", "anyOf", "items"),
        *("prefixItems", "additionalProperties", "description", "default", "minimum", "title"),
    ]
)
ODD_SCHEMAS = st.recursive(
    JSON | st.sampled_from(["object", "array", "string", "#/$defs/A", "#/$defs/B"]),
    lambda inner: (
        st.dictionaries(_KEYWORDS | st.sampled_from(["A", "B"]), inner, max_size=5)
        | st.lists(inner, max_size=4)
    ),
    max_leaves=30,
)
"""What nearly is a schema."""
