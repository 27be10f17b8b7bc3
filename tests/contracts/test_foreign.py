"""Schemas of strangers become trees that are small, well formed, and without references."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs
import pytest
from hypothesis import example, given, settings
from jsonschema import Draft202012Validator

from alephscript.contracts import json_schema
from alephscript.contracts.foreign import MOST_CHARACTERS, MOST_SCHEMAS, bounded_schema
from tests.support.properties import examples
from tests.support.strangers import ODD_SCHEMAS, SCHEMAS


def parts(tree: Any) -> Iterator[Any]:
    """All values in a tree, itself included."""
    yield tree
    inner = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ()
    for each in inner:
        yield from parts(each)


def check(tree: dict[str, Any]) -> None:
    """A tree is what whoever draws it relies on."""
    Draft202012Validator.check_schema(tree)
    found = list(parts(tree))
    assert sum(isinstance(each, dict) for each in found) <= 2 * MOST_SCHEMAS
    assert sum(len(each) for each in found if isinstance(each, str)) <= 2 * MOST_CHARACTERS
    # A property may be called so; a reference is a text.
    assert not any(isinstance(each, dict) and isinstance(each.get("$ref"), str) for each in found)


@pytest.mark.parametrize("name", SCHEMAS)
def test_any_schema_becomes_a_bounded_tree(name: str) -> None:
    """However it grows."""
    check(bounded_schema(SCHEMAS[name]))


@given(ODD_SCHEMAS)
@example({"properties": {"$ref": "object"}})
@settings(max_examples=examples(300))
def test_what_is_no_schema_becomes_one(schema: Any) -> None:
    """Of any JSON."""
    check(bounded_schema(schema))


@attrs.frozen
class Inner:
    """Held by another one."""

    names: list[str]
    share: float


@attrs.frozen
class Outer:
    """Holds another one."""

    inner: Inner
    by_name: dict[str, Inner]
    text: str | None = None


def test_an_honest_schema_takes_the_same_values() -> None:
    """Only its references are gone."""
    inner: dict[str, Any] = {"names": ["a"], "share": 0.5}
    schema = json_schema(Outer)
    values: list[Any] = [
        {"inner": inner, "byName": {"a": inner}},
        {"inner": inner, "byName": {"a": {}}},
        {"inner": {}, "byName": {}},
        {"inner": inner, "byName": {}, "text": None},
        {"inner": inner, "byName": {}, "text": 5},
        5,
    ]
    for value in values:
        expected = Draft202012Validator(schema).is_valid(value)
        assert Draft202012Validator(bounded_schema(schema)).is_valid(value) is expected


def test_required_fields_are_the_first_to_be_kept() -> None:
    """Of an object that has too many."""
    names = [f"f{number}" for number in range(1000)]
    schema = {"type": "object", "properties": {name: {} for name in names}, "required": names[-2:]}
    assert bounded_schema(schema)["properties"] == {"f998": {}, "f999": {}}
