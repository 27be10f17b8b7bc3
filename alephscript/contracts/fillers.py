"""Mirrors of values whose parts have the very types that their fields name, as nearly all have.

A function is made for each class that compares types, and makes the mirror in the same go: a third
of the time of `msgspec.convert`, which takes whatever JSON could be made of. A value that is not so
exact is left to that (`writers`).

May go in: which types are exact, and the source of such a function. May not: what is written of a
mirror.

Pure: no socket, no clock.
"""

from __future__ import annotations

import enum
import keyword
import math
from collections.abc import Callable
from typing import Any

import msgspec

from alephscript.contracts.forms.choices import Choices
from alephscript.contracts.forms.containers import Array
from alephscript.contracts.forms.form import Form
from alephscript.contracts.forms.records import ABSENT, Record
from alephscript.contracts.forms.scalars import AnyJSON, Boolean, Integer, Null, Number, String
from alephscript.contracts.forms.unions import Union
from alephscript.contracts.sources import make_function
from alephscript.protocol.json import is_plain

__all__ = ["compile_filler"]

_EXACT: dict[type[Form], type] = {String: str, Integer: int, Boolean: bool, Null: type(None)}


def compile_filler(form: Record) -> Callable[[Any], Any]:
    """Return what makes a mirror of a value, None of one that is not exact.

    Args:
        form: A record that does not hold itself, and whose fields have names.
    """
    source = _Source()
    try:
        filled = source.fill(form, "value")
    except _NotExact:
        return lambda _: None
    return make_function("value", [*source.lines, f"return {filled}"], source.names)


class _NotExact(Exception):
    """A form of whose values it takes more to see than their types."""


class _Source:
    """The source of one function: its statements, and all that they name."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.names: dict[str, Any] = {
            "isfinite": math.isfinite,
            "is_plain": is_plain,
            "null": type(None),
        }

    def fill(self, form: Record, value: str) -> str:
        """Add what tells whether a value is exact; return the expression of its mirror."""
        shape = form.shape
        if shape.is_dict or shape.is_array or shape.tag:
            raise _NotExact
        self._demand(f"type({value}) is {self._name(shape.cls)}")
        fields: list[Any] = []
        arguments: list[str] = []
        for field in shape.fields:
            if not field.name.isidentifier() or keyword.iskeyword(field.name):
                raise _NotExact
            if field.omitted is not ABSENT and field.omitted is not None:
                raise _NotExact
            # All have a default, so that all can be given by place; nothing equals that object.
            default = _NOTHING if field.omitted is ABSENT else None
            fields.append((f"f{len(fields)}", Any, msgspec.field(name=field.key, default=default)))
            item = self._name(None)
            self.lines.append(f"{item} = {value}.{field.name}")
            arguments.append(self._item(field.form, item))
        mirror = msgspec.defstruct("Mirror", fields, gc=False, omit_defaults=True)
        return f"{self._name(mirror)}({', '.join(arguments)})"

    def _item(self, form: Form, item: str) -> str:
        """As `fill`, of a part of a value, which has a name."""
        if isinstance(form, Union):
            others = [each for each in form.members if not isinstance(each, Null)]
            if len(others) > 1:
                raise _NotExact
            return self._optional(others[0], item)
        if isinstance(form, Record):
            return self.fill(form, item)
        if type(form) is Array and form.is_list:
            return self._list(form.items, item)
        self._demand(self._condition(form, item))
        return item

    def _optional(self, form: Form, item: str) -> str:
        if isinstance(form, Record):
            fill = self._name(compile_filler(form))
            self.lines.append(f"{item}_filled = None if {item} is None else {fill}({item})")
            self._demand(f"{item} is None or {item}_filled is not None")
            return f"{item}_filled"
        self._demand(f"{item} is None or {self._condition(form, item)}")
        return item

    def _list(self, form: Form, items: str) -> str:
        self._demand(f"type({items}) is list")
        if type(form) in _EXACT:
            kinds = self._name(frozenset({_EXACT[type(form)]}))
            self._demand(f"{kinds}.issuperset(map(type, {items}))")
            return items
        if not isinstance(form, Record):
            raise _NotExact
        fill = self._name(compile_filler(form))
        self.lines.append(f"{items}_filled = [*map({fill}, {items})]")
        self._demand(f"None not in {items}_filled")
        return f"{items}_filled"

    def _condition(self, form: Form, item: str) -> str:
        exact = _EXACT.get(type(form))
        if exact is not None:
            return f"type({item}) is {self._name(exact)}"
        if type(form) is Number:
            return f"type({item}) is {self._name(float)} and isfinite({item})"
        if type(form) is AnyJSON:
            return f"is_plain({item})"
        if isinstance(form, Choices) and form.cls is not None and issubclass(form.cls, enum.Enum):
            return f"type({item}) is {self._name(form.cls)}"
        raise _NotExact

    def _demand(self, condition: str) -> None:
        self.lines.append(f"if not ({condition}): return None")

    def _name(self, value: Any) -> str:
        name = f"n{len(self.names)}"
        self.names[name] = value
        return name


_NOTHING = object()
