"""One truth: what a type's schema takes is what its reader takes, whatever the type.

Differences between the two that remain, each with its reason:

- Checks in Python (validators of attrs, ``__post_init__``, predicates, what ``decode`` of a
  registered type raises, bounds of types that are strings on the wire) have no keyword: the reader
  refuses more.
- Models of pydantic follow pydantic: its schema tells less than its rules, which take "5" for an
  int.
- Numbers beyond 64 bits are no float, integers beyond 4300 digits are not read by Python, text has
  to be UTF-8: no JSON text of the mesh carries the others.
- Sets and keys of more than 64 items with one hash are refused: reading them could take hours.
- Values nested deeper than 64 levels are refused as a whole.
"""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from alephscript import contracts
from alephscript.errors import AlephScriptError, ContractError
from alephscript.protocol.json import write_json
from tests.support.kinds import JSON, LEAVES, Sample
from tests.support.near import NEAR, NEAR_TEXTS, near
from tests.support.properties import examples
from tests.support.typed import is_same, samples

Validator = jsonschema.Draft202012Validator

pytestmark = [
    # Of strategies of strategies, where a test fails.
    pytest.mark.filterwarnings("ignore:Generating overly large repr"),
    pytest.mark.timeout(600),  # in a full run
]


def types(number: int) -> settings:
    """Return the settings of a property that a full run tries on some number of types."""
    slow = [HealthCheck.too_slow, HealthCheck.data_too_large]
    return settings(max_examples=examples(number), suppress_health_check=slow)


def validator(kind: Any) -> Any:
    """Return what judges by the schema of a type."""
    schema = contracts.json_schema(kind)
    Validator.check_schema(schema)
    return Validator(schema, format_checker=Validator.FORMAT_CHECKER)


def taken(payload: Any, kind: Any) -> bool:
    """Whether the reader takes JSON values, by the form and by the fast path."""
    try:
        value = contracts.structure(payload, kind)
    except ContractError:
        form = False
    else:
        form = True
    text = write_json(payload)
    try:
        fast = contracts.read(text, kind)
    except ContractError:
        assert not form, (payload, kind)
    else:
        assert form, (payload, kind)
        assert is_same(value, fast), (value, fast)
    return form


@types(500)
@given(samples(), st.data())
def test_what_is_written_is_read_again_equal_and_of_the_same_type(
    sample: Sample, data: st.DataObject
) -> None:
    """And the schema takes it."""
    value = data.draw(sample.values)
    written = contracts.unstructure(value, sample.kind)
    text = contracts.write(value, sample.kind)
    assert json.loads(text) == written
    validator(sample.kind).validate(written)
    assert is_same(contracts.structure(written, sample.kind), value)
    assert is_same(contracts.read(text, sample.kind), value)
    assert is_same(contracts.read(msgspec.Raw(text), sample.kind), value)


@types(500)
@given(samples(models=False), st.data())
def test_the_schema_takes_what_the_reader_takes_and_nothing_else(
    sample: Sample, data: st.DataObject
) -> None:
    """Near values of the type, and far from them."""
    check = validator(sample.kind)
    written = json.loads(contracts.write(data.draw(sample.values), sample.kind))
    for payload in data.draw(st.lists(near(written) | near(written) | NEAR, max_size=6)):
        assert taken(payload, sample.kind) == check.is_valid(payload), payload


@types(150)
@given(samples(), st.data())
def test_a_reply_is_read_from_its_answer_as_it_was_written(
    sample: Sample, data: st.DataObject
) -> None:
    """Whether beside success or under result, by the fast path and without."""
    value = data.draw(sample.values)
    text, standing = contracts.write_reply(value, sample.kind)
    fields = {"result": json.loads(text)} if standing == "under" else json.loads(text)
    if standing == "loose" and fields.keys() & {"success", "error", "result"}:
        return  # a plain dict says itself whether it is a success
    answer = {"success": True, **fields}
    assert is_same(contracts.structure_reply(fields, sample.kind), value)
    fast = contracts.read_reply(write_json([answer]), sample.kind)
    assert fast is None or is_same(fast, value)


@types(150)
@given(samples(), JSON | NEAR)
def test_whatever_comes_is_a_value_or_an_error_of_ours(sample: Sample, payload: Any) -> None:
    """Models of pydantic, too."""
    try:
        value = contracts.structure(payload, sample.kind)
    except AlephScriptError:
        return
    written = contracts.unstructure(value, sample.kind)
    validator(sample.kind).validate(written)


@types(150)
@given(samples(), samples(), st.data())
def test_a_value_of_another_type_is_written_as_this_one_or_not_at_all(
    sample: Sample, other: Sample, data: st.DataObject
) -> None:
    """Never as what the schema does not take."""
    value = data.draw(other.values)
    try:
        text = contracts.write(value, sample.kind)
    except AlephScriptError:
        return
    written = json.loads(text)
    validator(sample.kind).validate(written)
    contracts.structure(written, sample.kind)


@pytest.mark.parametrize("sample", [each for each in LEAVES if not each.has_model], ids=repr)
def test_texts_that_look_like_a_value_are_one_or_are_none_to_both(sample: Sample) -> None:
    """All of them with each type, since chance seldom brings the two together."""
    check = validator(sample.kind)
    for text in NEAR_TEXTS:
        assert taken(text, sample.kind) == check.is_valid(text), text
        if check.is_valid(text):
            value = contracts.structure(text, sample.kind)
            assert contracts.read(contracts.write(value, sample.kind), sample.kind) == value
