"""Types of an application: a form that it gives them."""
# ruff: noqa: D101 - a docstring is a part of the schema

from __future__ import annotations

import fractions
from typing import Any

import attrs
import pytest

import alephscript
from alephscript.contracts import json_schema, read, structure, unstructure, write
from alephscript.errors import ContractError, DeclarationError


class Money:
    """An amount in some currency."""

    def __init__(self, cents: int, currency: str) -> None:
        if cents < 0:
            raise ValueError("no debts")
        self.cents, self.currency = cents, currency

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Money) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((self.cents, self.currency))


class Tip(Money):
    pass


SCHEMA = {"type": "string", "pattern": "^-?[0-9]+ [A-Z]{3}$"}


def decode(text: str) -> Money:
    """Make money of its text."""
    cents, currency = text.split()
    return Money(int(cents), currency)


alephscript.register_type(
    Money, encode=lambda value: f"{value.cents} {value.currency}", decode=decode, schema=SCHEMA
)


@attrs.frozen
class Bill:
    total: Money
    parts: dict[str, set[Money]] = attrs.Factory(dict)
    tip: Money | None = None


def test_a_registered_type_is_read_and_written_wherever_it_stands() -> None:
    """As a field, in containers, in a union, and alone."""
    bill = Bill(Money(5, "EUR"), {"a": {Money(1, "EUR")}}, Money(1, "USD"))
    written = {"total": "5 EUR", "parts": {"a": ["1 EUR"]}, "tip": "1 USD"}
    assert unstructure(bill) == written
    assert structure(written, Bill) == read(write(bill), Bill) == bill
    assert read(write(Money(5, "EUR")), Money) == Money(5, "EUR")


def test_its_schema_is_published() -> None:
    """As it was given."""
    assert json_schema(Money) == SCHEMA
    assert json_schema(Bill)["properties"]["total"] == {"title": "Total", **SCHEMA}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("5", f"'5' does not match '{SCHEMA['pattern']}'"),
        (5, "5 is not of type 'string'"),
        ("-5 EUR", "no debts"),
    ],
)
def test_its_problems_have_their_path(value: Any, message: str) -> None:
    """Those of the schema, and those that decode raises."""
    with pytest.raises(ContractError) as caught:
        structure({"total": value}, Bill)
    assert caught.value.problems == [{"path": "total", "message": message}]


def test_a_value_of_another_type_is_not_written() -> None:
    """Nor one that encode makes nothing of that the schema takes."""
    for total in ("5 EUR", Money(5, "euro")):
        with pytest.raises(ContractError, match=r"total: ") as caught:
            unstructure(Bill(total))  # type: ignore[arg-type]
        assert caught.value.problems[0]["path"] == "total"


def test_a_subclass_is_written_by_it() -> None:
    """Where the type is declared, and alone."""
    assert unstructure(Bill(Tip(5, "EUR"))) == {"total": "5 EUR"} | {"parts": {}}
    assert write(Tip(5, "EUR")) == b'"5 EUR"'


def test_a_class_that_was_refused_is_taken_after_its_type_is_registered() -> None:
    """As the refusal says."""

    class Share(fractions.Fraction):
        pass

    @attrs.define
    class Recipe:
        share: Share

    Recipe.__annotations__["share"] = Share  # no name of a module

    with pytest.raises(DeclarationError, match=r"Recipe\.share: .*register_type\(.*Share, …\)"):
        json_schema(Recipe)
    alephscript.register_type(Share, encode=str, decode=Share, schema={"type": "string"})
    value = Recipe(Share(1, 3))
    assert write(value) == b'{"share":"1/3"}'
    assert read(b'{"share":"1/3"}', Recipe) == value
    with pytest.raises(ContractError, match="share: "):
        read(b'{"share":"a third"}', Recipe)


@pytest.mark.parametrize(
    ("kind", "schema"),
    [
        (5, {}),
        (int, {}),
        (list, {}),
        (Tip, {"type": "nothing"}),
        (Tip, "string"),
        (Tip, {"$ref": 1}),
    ],
)
def test_what_cannot_be_registered_is_refused_at_once(kind: Any, schema: Any) -> None:
    """A type with a form of its own, and a schema that is none."""
    with pytest.raises(DeclarationError):
        alephscript.register_type(kind, encode=str, decode=str, schema=schema)
