"""Long strings are written to the byte as all other JSON is, whoever writes them."""

from __future__ import annotations

import copy
import sys
from typing import Any

import attrs
import msgspec
import pytest
from hypothesis import given, strategies as st

from alephscript import contracts
from alephscript.errors import AlephScriptError
from alephscript.protocol import long_strings
from alephscript.protocol.json import MAX_DEPTH, write_json
from alephscript.protocol.long_strings import LARGE, Habit, write_long_strings

pytest.importorskip("orjson")

SURROGATES = range(0xD800, 0xE000)
TEXTS = st.text(st.characters(codec="utf-8"))
LONG_TEXTS = st.builds(
    lambda unit, size: unit * (size // len(unit) + 1),
    TEXTS.filter(bool),
    st.sampled_from([LARGE, 131_070, 131_073, 300_000]),
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS
JSON = st.recursive(
    SCALARS.filter(lambda value: value not in (float("inf"), float("-inf"))) | LONG_TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=8,
)


@attrs.frozen
class Page:
    """A part of a document."""

    text: str
    number: int


@attrs.frozen
class Document:
    """A document, and whatever else there is."""

    title: str
    text: str
    size: float
    pages: list[Page]
    other: Any = None


@pytest.fixture(autouse=True)
def no_habit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is known of plain values."""
    monkeypatch.setattr(contracts, "_habit", Habit())


def test_each_character_is_written_alike() -> None:
    """All of Unicode but surrogates, which have no UTF-8."""
    text = "".join(chr(each) for each in range(sys.maxunicode + 1) if each not in SURROGATES)
    assert msgspec.json.encode(write_long_strings(text)) == msgspec.json.encode(text)


@given(JSON)
def test_values_are_written_alike(value: Any) -> None:
    """Around the long strings, too; and a value is left as it was."""
    before = copy.deepcopy(value)
    assert msgspec.json.encode(write_long_strings(value)) == msgspec.json.encode(value)
    assert value == before


@pytest.mark.parametrize("kind", [Any, Document, dict[str, Any]], ids=str)
@given(TEXTS, st.integers(), JSON)
def test_texts_of_one_kind_are_written_alike_after_a_long_one(
    kind: Any, unit: str, number: int, other: Any
) -> None:
    """The second and third are written in the other way, the fourth, as it is short, is not."""
    for times in (5_000, 5_000, 30_000, 1, 1):
        text = (unit + "x") * times
        document = Document("t", text, 1e23, [Page(text, number)], other)
        plain = contracts.unstructure(document)
        written = contracts.write(document if kind is Document else plain, kind)
        assert written == msgspec.json.encode(plain)


def test_who_writes_long_strings_once_writes_them_by_orjson_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A text that only looks as if it had some costs one look."""
    written: list[str] = []

    def write_string(text: str) -> bytes:
        written.append(text[-1:])
        return msgspec.json.encode(text)

    def write(*values: Any) -> str:
        written.clear()
        for value in values:
            contracts.write({"a": value, "b": 1})
        return "".join(written)

    monkeypatch.setattr(long_strings, "_write_string", write_string)
    assert write("x" * LARGE, "y" * LARGE, "y", "z" * LARGE, 1) == "y"
    assert write('say "' + "x" * LARGE, "y" * LARGE, 1) == "y"
    assert write([1] * LARGE, "x", ["x"] * LARGE, "x" * 4096) == ""


def test_without_orjson_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    """All is written by msgspec then."""
    monkeypatch.setattr(long_strings, "_write_string", None)
    value = {"a": "x" * LARGE}
    assert {contracts.write(value) for _ in range(3)} == {msgspec.json.encode(value)}


@pytest.mark.parametrize(
    "wrong", ["\ud800" * LARGE, {"a": b"x" * LARGE}, {"a": float("nan"), "b": "x" * LARGE}]
)
def test_what_has_no_json_form_is_refused_in_the_same_words(wrong: Any) -> None:
    """A lone surrogate, bytes, no number."""
    with pytest.raises(AlephScriptError) as first:
        contracts.write(wrong)
    contracts.write("x" * LARGE)
    with pytest.raises(AlephScriptError) as then:
        contracts.write(wrong)
    assert str(then.value) == str(first.value)


def test_depth_is_bounded_in_the_same_way() -> None:
    """Long strings that are too deep are not looked for, nor written."""
    value: Any = "x" * LARGE
    for _ in range(MAX_DEPTH):
        value = [value]
    assert contracts.write(value) == contracts.write(value) == write_json(value)
    for _ in range(2):
        with pytest.raises(AlephScriptError, match="nested deeper"):
            contracts.write([value])
