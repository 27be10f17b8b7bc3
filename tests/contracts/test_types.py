"""One truth: what a type's schema takes is what its reader takes, whatever the type."""

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
from tests.support.properties import examples
from tests.support.types import JSON, NEAR, Sample, is_same, near, samples

# Of strategies of strategies, where a test fails.
pytestmark = pytest.mark.filterwarnings("ignore:Generating overly large repr")

Validator = jsonschema.Draft202012Validator

many = settings(
    max_examples=examples(int(__import__("os").environ.get("EX", "600"))),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def validator(kind: Any) -> Any:
    schema = contracts.json_schema(kind)
    Validator.check_schema(schema)
    return Validator(schema, format_checker=Validator.FORMAT_CHECKER)


def taken(payload: Any, kind: Any) -> bool:
    """Whether the reader takes JSON values, by the form and by the fast path."""
    try:
        value = contracts.structure(payload, kind)
    except ContractError as exc:
        assert exc.problems
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


@many
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


@many
@given(samples(models=False), st.data())
def test_the_schema_takes_what_the_reader_takes_and_nothing_else(
    sample: Sample, data: st.DataObject
) -> None:
    """Near values of the type, and far from them."""
    check = validator(sample.kind)
    written = json.loads(contracts.write(data.draw(sample.values), sample.kind))
    for payload in data.draw(st.lists(near(written) | near(written) | NEAR, max_size=6)):
        assert taken(payload, sample.kind) == check.is_valid(payload), payload


@many
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


@many
@given(samples(), JSON | NEAR)
def test_whatever_comes_is_a_value_or_an_error_of_ours(sample: Sample, payload: Any) -> None:
    """Models of pydantic, too."""
    try:
        value = contracts.structure(payload, sample.kind)
    except AlephScriptError:
        return
    written = contracts.unstructure(value, sample.kind)
    validator(sample.kind).validate(written)


@many
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
