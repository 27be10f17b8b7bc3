"""Schemas as flat forms, and the values that are filled in."""

from __future__ import annotations

import contextlib
import enum
from typing import Any, Literal

import attrs
import pytest
from hypothesis import given, strategies as st

from alephscript import InvalidPayload, contracts
from alephscript.contracts.entries import make_entries, read_entries
from tests.support.kinds import JSON


class Size(enum.Enum):
    """How large."""

    SMALL = "small"
    LARGE = "large"


@attrs.frozen
class Order:
    """What a person fills in."""

    is_wanted: bool
    how_many: int
    size: Size
    pace: Literal["slow", "fast"] | None = None
    note: str = "none"
    weights: list[float] | None = None


def test_the_fields_of_a_contract_are_entries_each_of_its_kind() -> None:
    """What has no simple form is given as JSON."""
    entries = {each.name: each for each in make_entries(contracts.json_schema(Order))}
    assert {name: each.kind for name, each in entries.items()} == {
        "isWanted": "boolean",
        "howMany": "integer",
        "size": "string",
        "pace": "string",
        "note": "string",
        "weights": "json",
    }
    assert entries["size"].choices == ("small", "large")
    assert entries["pace"].choices == ("slow", "fast")
    assert [name for name, each in entries.items() if each.is_required] == [
        "isWanted",
        "howMany",
        "size",
    ]


def test_what_was_filled_in_is_a_value_of_the_contract() -> None:
    """Entries that were left out have their defaults."""
    schema = contracts.json_schema(Order)
    filled = {"isWanted": True, "howMany": 3, "size": "large", "weights": "[1, 2.5]", "pace": None}
    order = contracts.structure(read_entries(schema, filled), Order)
    assert order == Order(is_wanted=True, how_many=3, size=Size.LARGE, weights=[1, 2.5])
    with pytest.raises(InvalidPayload, match="weights"):
        read_entries(schema, {**filled, "weights": "[1,"})


@pytest.mark.parametrize(
    ("cls", "kind", "filled", "value"),
    [
        (bool, "boolean", True, True),
        (str, "string", "yes", "yes"),
        (list[int], "json", "[1]", [1]),
        (int | None, "integer", None, None),
    ],
)
def test_a_value_that_is_no_object_is_one_entry(
    cls: Any, kind: str, filled: Any, value: Any
) -> None:
    """Called as the field of an answer is in which such a value stands."""
    schema = contracts.json_schema(cls)
    [entry] = make_entries(schema)
    assert (entry.name, entry.kind) == ("result", kind)
    assert read_entries(schema, {"result": filled}) == value


def test_of_what_nothing_is_known_is_a_text() -> None:
    """A question without a type of its answer."""
    [entry] = make_entries(None)
    assert (entry.name, entry.kind) == ("result", "string")
    assert read_entries(None, {"result": "hello"}) == "hello"


@given(JSON, st.dictionaries(st.text(max_size=3), JSON, max_size=3))
def test_any_schema_makes_a_form(schema: Any, filled: dict[str, Any]) -> None:
    """Of anybody, whatever is filled in."""
    for entry in make_entries(schema):
        assert entry.kind in ("boolean", "string", "integer", "number", "json")
    with contextlib.suppress(InvalidPayload):
        read_entries(schema, filled)
