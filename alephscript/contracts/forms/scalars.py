"""JSON's own scalars, and any JSON.

May go in: str, int, float, bool, None, Any. May not: what is written as a string (`texts`).

Pure: no socket, no clock.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable
from typing import Any

from alephscript.contracts.forms.form import Definitions, Fast, Form, Mismatch, Schema, json_type

__all__ = ["AnyJSON", "AnyScalar", "Boolean", "Integer", "Null", "Number", "Numeric", "String"]


class String(Form):
    """A str."""

    kinds = frozenset({"string"})

    def schema(self, definitions: Definitions) -> Schema:
        """As `Form.schema`."""
        return {"type": "string"}

    def read(self, value: Any) -> str:
        """As `Form.read`."""
        if type(value) is not str:
            raise Mismatch.here(f"expected a string, got {json_type(value)}")
        return value

    def write(self, value: Any) -> str:
        """As `Form.write`."""
        if type(value) is not str:
            if not isinstance(value, str):
                raise Mismatch.here(f"expected a string, got {json_type(value)}")
            value = str.__str__(value.value if isinstance(value, enum.Enum) else value)
        try:
            value.encode()
        except UnicodeEncodeError:
            raise Mismatch.here("expected text, got a lone surrogate, which has no UTF-8") from None
        text: str = value
        return text

    def fast(self) -> Fast:
        """As `Form.fast`."""
        return Fast(str)


class Integer(Form):
    """An int; also 3.0, an integer for JSON Schema, since JavaScript has one type of numbers."""

    kinds = frozenset({"number"})

    def schema(self, definitions: Definitions) -> Schema:
        """As `Form.schema`."""
        return {"type": "integer"}

    def read(self, value: Any) -> int:
        """As `Form.read`."""
        if type(value) is float and value.is_integer():
            return int(value)
        if type(value) is not int:
            got = "a number with a fraction" if type(value) is float else json_type(value)
            raise Mismatch.here(f"expected an integer, got {got}")
        return value

    def write(self, value: Any) -> int:
        """As `Form.write`."""
        if isinstance(value, int) and not isinstance(value, bool):
            # Comparing costs less than counting digits: almost all are less than 64 bits.
            if not -_LARGEST < value < _LARGEST:
                raise Mismatch.here(f"expected an integer of at most {_DIGITS} digits")
            return int(value)
        raise Mismatch.here(f"expected an integer, got {json_type(value)}")

    def fast(self) -> Fast:
        """As `Form.fast`."""
        return Fast(int)


_DIGITS = 4300
_LARGEST = 10**_DIGITS
"""What Python reads, by default."""


class Number(Form):
    """A float; also an int, which becomes a float."""

    kinds = frozenset({"number"})

    def schema(self, definitions: Definitions) -> Schema:
        """As `Form.schema`."""
        return {"type": "number"}

    def read(self, value: Any) -> Any:
        """As `Form.read`."""
        if type(value) not in (int, float):
            raise Mismatch.here(f"expected a number, got {json_type(value)}")
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            raise Mismatch.here("expected a number, got one beyond 64 bits")
        return number

    def write(self, value: Any) -> Any:
        """As `Form.write`."""
        if type(value) is int:
            self.read(value)
            return value
        if not isinstance(value, float):
            if isinstance(value, int) and not isinstance(value, bool):
                return int(value)
            raise Mismatch.here(f"expected a number, got {json_type(value)}")
        if not math.isfinite(value):
            raise Mismatch.here(f"expected a finite number, got {value}: it has no JSON form")
        return float(value)

    def fast(self) -> Fast:
        """As `Form.fast`."""
        return Fast(float)


class Numeric(Number):
    """An ``int | float``: each stays the one that it is."""

    def read(self, value: Any) -> Any:
        """As `Form.read`."""
        super().read(value)
        return value

    def fast(self) -> Fast:
        """As `Form.fast`."""
        return Fast(Any, self.read)


class Boolean(Form):
    """A bool."""

    kinds = frozenset({"boolean"})

    def schema(self, definitions: Definitions) -> Schema:
        """As `Form.schema`."""
        return {"type": "boolean"}

    def read(self, value: Any) -> bool:
        """As `Form.read`."""
        if type(value) is not bool:
            raise Mismatch.here(f"expected a boolean, got {json_type(value)}")
        return value

    write = read

    def fast(self) -> Fast:
        """As `Form.fast`."""
        return Fast(bool)

    def choices(self) -> dict[Any, Any]:
        """As `Form.choices`."""
        return {(bool, True): True, (bool, False): False}


class Null(Form):
    """A None."""

    kinds = frozenset({"null"})

    def schema(self, definitions: Definitions) -> Schema:
        """As `Form.schema`."""
        return {"type": "null"}

    def read(self, value: Any) -> None:
        """As `Form.read`."""
        if value is not None:
            raise Mismatch.here(f"expected null, got {json_type(value)}")

    write = read

    def fast(self) -> Fast:
        """As `Form.fast`."""
        return Fast(type(None))

    def choices(self) -> dict[Any, Any]:
        """As `Form.choices`."""
        return {None: None}


class AnyJSON(Form):
    """Any JSON as it comes; what is written is written by its own type.

    Args:
        write: Writes a value by its own type.
    """

    is_hashable = False

    def __init__(self, write: Callable[[Any], Any]) -> None:
        self._write = write

    def schema(self, definitions: Definitions) -> Schema:
        """As `Form.schema`."""
        return {}

    def read(self, value: Any) -> Any:
        """As `Form.read`."""
        return value

    def write(self, value: Any) -> Any:
        """As `Form.write`."""
        return self._write(value)

    def fast(self) -> Fast:
        """As `Form.fast`."""
        return Fast(Any)


class AnyScalar(AnyJSON):
    """Any JSON that can stand in a set."""

    kinds = frozenset({"string", "number", "boolean", "null"})
    is_hashable = True

    def schema(self, definitions: Definitions) -> Schema:
        """As `Form.schema`."""
        return {"type": sorted(self.kinds)}

    def read(self, value: Any) -> Any:
        """As `Form.read`."""
        if type(value) in (list, dict):
            raise Mismatch.here(
                f"expected a string, a number, a boolean or null, got {json_type(value)}"
            )
        return value

    def write(self, value: Any) -> Any:
        """As `Form.write`."""
        return self.read(self._write(value))

    def fast(self) -> Fast:
        """As `Form.fast`."""
        return Fast(Any, self.read)
