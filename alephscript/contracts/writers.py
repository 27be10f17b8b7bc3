"""Contracts written straight as JSON text, as far as msgspec can do that.

For a class made of JSON's own types a `msgspec.Struct` with the wire's keys is made, its mirror:
`msgspec.convert` fills one from the attributes of a value, checking their types in C, and the
encoder writes it. What a mirror does not take is left to the form, which says why: a mirror may
refuse more than the form, and never writes more (decision 0022).

May go in: making mirrors to write. May not: rules that the form does not have.

Pure: no socket, no clock.
"""

from __future__ import annotations

import enum
import sys
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

import msgspec

from alephscript.contracts.fillers import compile_filler
from alephscript.contracts.forms.choices import Choices
from alephscript.contracts.forms.containers import Array
from alephscript.contracts.forms.form import Form
from alephscript.contracts.forms.records import ABSENT, Record
from alephscript.contracts.forms.scalars import AnyJSON, Boolean, Integer, Null, Number, String
from alephscript.contracts.forms.unions import Union
from alephscript.protocol.long_strings import LARGE, Habit, write_long_strings
from alephscript.protocol.wire import is_plain, write_plain_json

__all__ = ["Writer", "compile_writer"]

Writer = Callable[[Any], bytes | None]
"""Writes a value; None if that is left to the form."""


class _Plan(NamedTuple):
    """How msgspec writes values of a form.

    Attributes:
        kind: The type to convert to.
        is_fit: Tells what the conversion does not: exact classes, plain values; None for nothing.
        is_open: Whether any JSON may be in it, nested as deeply as that likes.
    """

    kind: Any
    is_fit: Callable[[Any], bool] | None = None
    is_open: bool = False


_Checks = list[tuple[str, Callable[[Any], bool]]]
"""Names of attributes, and what tells whether their values are fit."""


class _Unfit(Exception):
    """A form that only itself can write."""


def compile_writer(form: Form) -> Writer | None:  # noqa: C901 - one function, see below
    """Return what writes values of a form, None if only the form can."""
    if not isinstance(form, Record):
        return None
    try:
        mirror, checks, is_open = _mirror(form, ())
    except _Unfit:
        return None
    cls, convert = form.shape.cls, msgspec.convert
    # Else no deeper than its class, which does not hold itself.
    encode = write_plain_json if is_open else _encode
    habit, fill = Habit(), compile_filler(form)

    # One function, without calls of its own that could be left out: each request is written so.
    def write(value: Any) -> bytes | None:
        if type(value) is not cls:
            return None
        try:
            made = fill(value)
            if made is None:
                for name, fits in checks:
                    if not fits(getattr(value, name)):
                        return None
                made = convert(value, mirror, from_attributes=True)
            if habit.is_long:
                write_long_strings(made)
            text = encode(made)
        except Exception:  # noqa: BLE001 - the form says what is wrong, if anything is
            return None
        if habit.is_long or len(text) > LARGE:
            habit.note(text)
        return text

    return write


_encode = msgspec.json.Encoder().encode


def _plan(form: Form, above: tuple[Form, ...]) -> _Plan:
    plain = _PLAIN.get(type(form))
    if plain is not None:
        return plain
    if isinstance(form, Record):
        return _plan_record(form, above)
    if isinstance(form, Union):
        return _plan_union(form, above)
    if isinstance(form, Choices) and form.cls is not None and issubclass(form.cls, enum.Enum):
        cls = form.cls
        return _Plan(Any, lambda value: type(value) is cls)
    if isinstance(form, Array) and form.is_list:
        kind, is_fit, is_open = _plan(form.items, above)
        if is_fit is None:
            return _Plan(list[kind], lambda items: type(items) is list)  # type: ignore[valid-type]
        return _Plan(
            list[kind],  # type: ignore[valid-type]
            lambda items: type(items) is list and all(map(is_fit, items)),
            is_open,
        )
    raise _Unfit


_PLAIN: dict[type, _Plan] = {
    String: _Plan(str),
    Integer: _Plan(int),
    Boolean: _Plan(bool),
    # The bounds are there for NaN and the infinities, for which msgspec would write null.
    Number: _Plan(Annotated[float, msgspec.Meta(ge=-sys.float_info.max, le=sys.float_info.max)]),
    Null: _Plan(type(None)),
    AnyJSON: _Plan(Any, is_plain, is_open=True),
}


def _plan_union(form: Union, above: tuple[Form, ...]) -> _Plan:
    others = [each for each in form.members if not isinstance(each, Null)]
    if len(others) > 1:
        raise _Unfit
    kind, is_fit, is_open = _plan(others[0], above)
    if is_fit is None:
        return _Plan(kind | None)
    return _Plan(kind | None, lambda value: value is None or is_fit(value), is_open)


def _plan_record(form: Record, above: tuple[Form, ...]) -> _Plan:
    mirror, checks, is_open = _mirror(form, above)
    cls = form.shape.cls

    def is_fit(value: Any) -> bool:
        return type(value) is cls and all(fits(getattr(value, name)) for name, fits in checks)

    return _Plan(mirror, is_fit, is_open)


def _mirror(form: Record, above: tuple[Form, ...]) -> tuple[Any, _Checks, bool]:
    """Make the mirror of a class, with what is to be checked before, and whether it is open."""
    shape = form.shape
    if shape.is_dict or shape.is_array or shape.tag or form in above:
        raise _Unfit
    fields: list[Any] = []
    checks: _Checks = []
    is_open = False
    for field in shape.fields:
        kind, is_fit, is_inner_open = _plan(field.form, (*above, form))
        is_open = is_open or is_inner_open
        if is_fit is not None:
            checks.append((field.name, is_fit))
        if field.omitted is ABSENT:
            fields.append((field.name, kind, msgspec.field(name=field.key)))
        elif field.omitted is None:
            fields.append((field.name, kind | None, msgspec.field(name=field.key, default=None)))
        else:
            raise _Unfit
    try:
        mirror = msgspec.defstruct("Mirror", fields, kw_only=True, gc=False, omit_defaults=True)
    except (TypeError, ValueError):  # a name that a Struct cannot have
        raise _Unfit from None
    return mirror, checks, is_open
