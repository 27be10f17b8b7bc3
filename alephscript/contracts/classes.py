"""Classes that are values out of a list, or models: enums, flags, models of pydantic.

May go in: which of them can be contracts. May not: classes with fields of ours to read (`fields`).

Pure: no socket, no clock.
"""

from __future__ import annotations

import enum
import typing
from typing import Any

from alephscript.contracts.forms import choices, models
from alephscript.contracts.forms.form import Form, choice_key
from alephscript.contracts.places import Place, refusal

__all__ = ["enum_form", "literal_form", "model_form"]


def _flag_form(cls: type[enum.Flag], place: Place) -> Form:
    if not cls.__members__:
        raise refusal(cls, place, "give the flag members")
    if any(member.value < 0 for member in cls.__members__.values()):
        raise refusal(cls, place, "give its members positive values")
    bits = choices.Bits(cls)
    if bits.bits > _MOST_BITS:
        raise refusal(cls, place, "give its members the bits 1, 2, 4 … without a gap")
    return bits


_MOST_BITS = 8
"""Bits of a flag whose sums a schema lists."""


def enum_form(cls: type[enum.Enum], place: Place) -> Form:
    """Return the form of an enum, or of a flag.

    Raises:
        DeclarationError: It has no members, or some whose values have no JSON form.
    """
    if issubclass(cls, enum.Flag):
        return _flag_form(cls, place)
    members = list(cls)
    if not members:
        raise refusal(cls, place, "give the enum members")
    pairs = [(each, _plain(each.value)) for each in members]
    if any(type(wire) not in choices.SCALARS for _, wire in pairs):
        raise refusal(cls, place, "give its members values of str, int, float or bool")
    if any(type(wire) is float and not abs(wire) < float("inf") for _, wire in pairs):
        raise refusal(cls, place, "NaN and infinities have no JSON form")
    return _listed(cls, pairs, place, cls)


def literal_form(kind: Any, place: Place) -> Form:
    """Return the form of a Literal.

    Raises:
        DeclarationError: One of its values has no JSON form, or two have the same one.
    """
    pairs = []
    for value in typing.get_args(kind):
        wire = _plain(value.value) if isinstance(value, enum.Enum) else value
        if type(wire) not in choices.SCALARS:
            raise refusal(
                kind, place, "take a Literal of str, int, bool, None or an enum's members"
            )
        pairs.append((value, wire))
    return _listed(kind, pairs, place, None)


def _plain(value: Any) -> Any:
    """Return the value of a member as JSON's own type: a member may be made of a subclass."""
    for base in (str, int, float):
        if isinstance(value, base) and type(value) not in (base, bool):
            return base(value)
    return value


def _listed(kind: Any, pairs: list[tuple[Any, Any]], place: Place, cls: type | None) -> Form:
    wires = {choice_key(wire) for _, wire in pairs}
    if len(wires) < len(pairs):
        raise refusal(kind, place, "two of its values are one on the wire; leave one out")
    try:
        for wire in wires:
            str(wire).encode()
    except UnicodeEncodeError:
        raise refusal(kind, place, "a lone surrogate has no UTF-8") from None
    return choices.Choices(pairs, cls)


def model_form(cls: Any, place: Place) -> Form:
    """Return the form of a model of pydantic.

    Raises:
        DeclarationError: pydantic cannot describe it, or takes keys that are to be refused.
    """
    config = getattr(cls, "model_config", {})
    if place.is_strict and config.get("extra") != "forbid":
        advice = 'a model has rules of its own: give it `model_config = {"extra": "forbid"}`'
        raise refusal(cls, place, advice)
    try:
        return models.Model(cls)
    except Exception as exc:
        reason = str(exc).partition("\n")[0]
        raise refusal(cls, place, f"pydantic has no schema of it: {reason:.200}") from exc
