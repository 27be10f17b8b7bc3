"""Unions: the members of one, without those that another member holds anyway.

May go in: making a union of forms. May not: telling its members apart (`forms.unions`).

Pure: no socket, no clock.
"""

from __future__ import annotations

import typing
from typing import Any

from alephscript.contracts import fields
from alephscript.contracts.forms import choices, models, scalars, texts
from alephscript.contracts.forms.form import Form, Mismatch, choice_key
from alephscript.contracts.forms.records import Record
from alephscript.contracts.forms.unions import Ambiguous, Union, join
from alephscript.contracts.places import Place, refusal

__all__ = ["join_members", "union_of"]


def union_of(members: tuple[Any, ...]) -> Any:
    """Return the union of some types."""
    return typing.Union[members]  # noqa: UP007 - made of a tuple


def join_members(members: tuple[Any, ...], found: list[Form], place: Place) -> Form:
    """Return the form of a union of forms, without those that another one holds anyway."""
    forms: list[Form] = []
    for form in found:
        if type(form) is scalars.AnyJSON:
            return form
        inner = form.members if isinstance(form, Union) else (form,)
        forms += [each for each in inner if each not in forms]
    kinds = {type(each) for each in forms}
    if {scalars.Integer, scalars.Number} <= kinds:
        plain = (scalars.Integer, scalars.Number)
        forms = [scalars.Numeric(), *(each for each in forms if type(each) not in plain)]
    forms = _merge_literals(forms)
    if any(map(_has_none, forms)):
        forms = [each for each in forms if not isinstance(each, scalars.Null)]
    try:
        return join(forms)
    except Ambiguous as exc:
        names = " and ".join(_form_name(forms[n]) for n in exc.args)
        raise refusal(
            union_of(members),
            place,
            f'no value tells {names} apart: give each a field `kind: Literal["…"]` of its own, '
            "or require in each what the other does not have",
        ) from None


def _has_none(form: Form) -> bool:
    """Return whether None is a value of a form that is more than that."""
    try:
        return not isinstance(form, scalars.Null) and form.read(form.write(None)) is None
    except Mismatch:
        return False


def _merge_literals(forms: list[Form]) -> list[Form]:
    """Make one Literal of all, without values that another member holds: as PEP 586 has it."""
    literals = [each for each in forms if isinstance(each, choices.Choices) and each.cls is None]
    if not literals:
        return forms
    kinds = {type(each) for each in forms}
    held = {
        str: scalars.String in kinds,
        int: bool(kinds & {scalars.Integer, scalars.Numeric}),
        float: bool(kinds & {scalars.Number, scalars.Numeric}),
        bool: scalars.Boolean in kinds,
        type(None): scalars.Null in kinds,
    }
    pairs = {
        (type(value), value): (value, wire)
        for each in literals
        for value, wire in each.pairs
        if not held.get(type(value), False)
    }
    others = [each for each in forms if each not in literals]
    if not pairs:
        return others
    if len({choice_key(wire) for _, wire in pairs.values()}) < len(pairs):
        return forms  # of an enum and its value: told apart by nothing
    # Where the first of them stood, as problems are told in that order.
    place = sum(each not in literals for each in forms[: forms.index(literals[0])])
    return [*others[:place], choices.Choices(pairs.values()), *others[place:]]


def _form_name(form: Form) -> str:
    if isinstance(form, Record):
        return form.shape.name
    if isinstance(form, models.Model):
        return fields.name_of(form.cls)
    if isinstance(form, choices.Choices) and form.cls is not None:
        return form.cls.__qualname__
    return form.expected if isinstance(form, texts.Text) else type(form).__name__.lower()
