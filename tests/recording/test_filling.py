"""Something stands in place of a secret, which a contract takes."""

from __future__ import annotations

from typing import Annotated, Any

import attrs
import msgspec
import pytest

from alephscript import Secret, contracts
from alephscript.protocol.withholding import WITHHELD, withhold
from alephscript.recording.filling import fill


@attrs.frozen
class Many:
    """Secrets of many kinds."""

    user: str
    word: Annotated[str, Secret(), msgspec.Meta(min_length=30, max_length=40)]
    pin: Annotated[int, Secret, msgspec.Meta(ge=1000)]
    keys: list[Annotated[str, Secret()]]
    yes: Annotated[bool, Secret()] = True


def test_a_payload_with_placeholders_is_taken() -> None:
    """By the contract that marks them."""
    schema = contracts.json_schema(Many)
    payload = {"user": "ana", "word": "x" * 30, "pin": 1234, "keys": ["a", "b"], "yes": False}
    copy = withhold(payload, schema)
    assert copy.value["user"] == "ana"
    assert {copy.value[name] for name in ("word", "pin", "yes")} == {WITHHELD}
    filled = fill(copy.value, copy.paths, schema)
    assert contracts.structure(filled, Many).pin == 1000


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        (None, WITHHELD),
        ({"const": 7}, 7),
        ({"enum": ["a", "b"]}, "a"),
        ({"examples": ["e"]}, "e"),
        ({"type": ["integer", "null"], "exclusiveMinimum": 2}, 3),
        ({"type": "array"}, []),
        ({"format": "date"}, "2000-01-01"),
        ({"maxLength": 3}, WITHHELD[:3]),
    ],
)
def test_a_placeholder_is_what_its_schema_says(schema: Any, expected: Any) -> None:
    """Constants, choices and examples first."""
    whole = None if schema is None else {"properties": {"s": schema}}
    assert fill({"s": WITHHELD}, [["s"]], whole) == {"s": expected}
    assert fill(WITHHELD, [[]], schema) == expected


@pytest.mark.parametrize("path", [["a", "b"], [0], ["s", 0, "x"]])
def test_a_path_that_leads_nowhere_fills_nothing(path: list[Any]) -> None:
    """Of a recording that somebody has edited."""
    assert fill({"s": "x"}, [path], None) == {"s": "x"}
