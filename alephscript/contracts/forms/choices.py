"""Values out of a list: Literal, enums and flags.

May go in: types whose wire values are known one by one, or by their bits. May not: unions.

Pure: no socket, no clock.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Iterable
from typing import Any

from alephscript.contracts.forms.form import (
    Definitions,
    Fast,
    Form,
    Mismatch,
    Schema,
    choice_key,
    describe,
)

__all__ = ["SCALARS", "Bits", "Choices"]

SCALARS = (str, int, float, bool, type(None))
"""Types of wire values that can be listed."""


class Choices(Form):
    """One of some values.

    Args:
        pairs: The Python value and the wire value of each.
        cls: The class of the values, for the schema's title; None for a Literal.
    """

    def __init__(self, pairs: Iterable[tuple[Any, Any]], cls: type | None = None) -> None:
        self.pairs = pairs = list(pairs)
        self.cls = cls
        self.wire = [wire for _, wire in pairs]
        self._by_wire = {choice_key(wire): value for value, wire in pairs}
        # By type, too: True == 1, and a member of a (str, Enum) equals its own value.
        self._by_value = {(type(value), value): wire for value, wire in pairs}
        self.kinds = frozenset(_kind(wire) for wire in self.wire)
        shown = ", ".join(each if type(each) is str else json.dumps(each) for each in self.wire)
        self._expected = f"expected one of {shown}" if len(pairs) > 1 else f"expected {shown}"

    def schema(self, definitions: Definitions) -> Schema:
        """As `Form.schema`."""
        schema: Schema = {"enum": list(self.wire)}
        if len(self.kinds) == 1 and (kind := next(iter(self.kinds))) != "number":
            schema = {"type": kind, **schema}
        if self.cls is None:
            return schema
        cls = self.cls
        described = describe_class(cls)
        return definitions.refer(
            cls,
            cls.__name__,
            cls.__module__,
            lambda: {"title": cls.__name__, **described, **schema},
        )

    def read(self, value: Any) -> Any:
        """As `Form.read`."""
        try:
            return self._by_wire[choice_key(value)]
        except (KeyError, TypeError):
            raise Mismatch.here(f"{self._expected}, got {describe(value)}") from None

    def write(self, value: Any) -> Any:
        """As `Form.write`."""
        try:
            return self._by_value[type(value), value]
        except (KeyError, TypeError):
            raise Mismatch.here(f"{self._expected}, got {describe(value)}") from None

    def fast(self) -> Fast:
        """As `Form.fast`."""
        # Through our own table: msgspec asks a class for what is missing, which may give more.
        return Fast(str if self.kinds == {"string"} else Any, self.read)

    def choices(self) -> dict[Any, Any]:
        """As `Form.choices`."""
        return {choice_key(wire): wire for wire in self.wire}


class Bits(Form):
    """A flag: any combination of its members, as the sum of their values.

    Args:
        cls: The class.
    """

    kinds = frozenset({"number"})

    def __init__(self, cls: type[enum.Flag]) -> None:
        self._cls = cls
        self._mask = 0
        for member in cls:  # members of one bit each; combinations are made of them
            self._mask |= int(member.value)
        for member in cls.__members__.values():
            self._mask |= int(member.value)
        self._is_open = getattr(cls, "_boundary_", None) is enum.KEEP

    def schema(self, definitions: Definitions) -> Schema:
        """As `Form.schema`."""
        cls = self._cls
        return definitions.refer(cls, cls.__name__, cls.__module__, self._schema)

    def _schema(self) -> Schema:
        names = ", ".join(f"{m.value} {name}" for name, m in self._cls.__members__.items())
        schema: Schema = {
            "title": self._cls.__name__,
            "description": f"A sum of: {names}.",
            "type": "integer",
            "minimum": 0,
        }
        if self._is_open:
            return schema
        schema["maximum"] = self._mask
        missing = [bit for bit in range(self._mask.bit_length()) if not self._mask >> bit & 1]
        if missing:
            # The numbers between that would set a bit of no member.
            schema["enum"] = _sums(self._mask)
        return schema

    def read(self, value: Any) -> Any:
        """As `Form.read`."""
        if type(value) is float and value.is_integer():
            value = int(value)
        if type(value) is not int or value < 0 or (value & ~self._mask and not self._is_open):
            names = ", ".join(f"{m.value} {name}" for name, m in self._cls.__members__.items())
            raise Mismatch.here(f"expected a sum of {names}, got {describe(value)}")
        return self._cls(value)

    def write(self, value: Any) -> Any:
        """As `Form.write`."""
        if not isinstance(value, self._cls):
            raise Mismatch.here(f"expected a {self._cls.__name__}, got {describe(value)}")
        number = int(value.value)
        self.read(number)
        return number

    @property
    def bits(self) -> int:
        """Number of bits that may be set or not, where the schema has to list all sums; else 0."""
        has_gaps = self._mask & (self._mask + 1)
        return self._mask.bit_count() if has_gaps and not self._is_open else 0


def _sums(mask: int) -> list[int]:
    sums = [0]
    for bit in range(mask.bit_length()):
        if mask >> bit & 1:
            sums += [each | 1 << bit for each in sums]
    return sorted(sums)


def _kind(wire: Any) -> str:
    if wire is None:
        return "null"
    if isinstance(wire, bool):
        return "boolean"
    return "string" if isinstance(wire, str) else "number"


def describe_class(cls: type) -> Schema:
    """Return the description of an enum's schema, as far as its class has one of its own."""
    text = (cls.__dict__.get("__doc__") or "").strip()
    return {} if not text or text == "An enumeration." else {"description": text}
