"""The table of types in the documentation says what is so."""

from __future__ import annotations

import json

import jsonschema
import pytest

from alephscript.contracts import json_schema, read, structure, unstructure, write
from tests.contracts.table import BEGIN, END, PAGE, ROWS, Row, kind_of, render, value_of
from tests.support.typed import is_same


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.kind)
def test_each_row_comes_back_equal_and_of_the_same_type(row: Row) -> None:
    """And its schema takes what is written."""
    kind, value = kind_of(row), value_of(row)
    text = write(value, kind)
    schema = json_schema(kind)
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(json.loads(text))
    assert is_same(read(text, kind), value)
    assert is_same(structure(unstructure(value, kind), kind), value)


def test_the_page_shows_the_table() -> None:
    """``python -m tests.contracts.table`` writes it there."""
    text = PAGE.read_text(encoding="utf-8")
    assert text.partition(f"{BEGIN}\n")[2].partition(END)[0].strip() == render().strip()
