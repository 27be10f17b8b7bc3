"""Arrays and objects whose members are of one form each, or of one form by place.

May go in: list, tuple, set, frozenset, deque, dict and their abstract classes. May not: classes
with named fields (`records`).

Pure: no socket, no clock.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from alephscript.contracts.forms.form import (
    MOST_PROBLEMS,
    Definitions,
    Fast,
    Form,
    Mismatch,
    Schema,
    describe,
    json_type,
)
from alephscript.contracts.forms.scalars import AnyJSON, String

__all__ = ["Array", "IntegerKey", "Object", "Row", "collect"]


def collect(
    items: Iterable[tuple[str | int, Any]], convert: Callable[[Any, Any], Any]
) -> list[Any]:
    """Convert each item, and gather the problems of all before any is raised.

    Raises:
        Mismatch: Some items do not have their forms.
    """
    results: list[Any] = []
    problems: list[tuple[tuple[str | int, ...], str]] = []
    for step, item in items:
        try:
            results.append(convert(step, item))
        except Mismatch as mismatch:
            problems += mismatch.at(step)
            if len(problems) >= MOST_PROBLEMS:
                break
    if problems:
        raise Mismatch(*problems)
    return results


class Array(Form):
    """An array of any length.

    Args:
        python: The class that is made of the items: list, tuple, set, frozenset or deque.
        accepted: Classes that are written.
        items: Form of each item.
        is_unique: Whether no item may occur twice.
    """

    kinds = frozenset({"array"})

    def __init__(
        self,
        python: Callable[[Any], Any],
        accepted: tuple[type, ...],
        items: Form,
        *,
        is_unique: bool,
    ) -> None:
        self._python = python
        self._accepted = accepted
        self.items = items
        self.is_list = accepted == (list,)
        self._is_unique = is_unique
        self.is_hashable = python in (tuple, frozenset) and items.is_hashable

    def schema(self, definitions: Definitions) -> Schema:
        """As `Form.schema`."""
        schema: Schema = {"type": "array"}
        if items := self.items.schema(definitions):
            schema["items"] = items
        return {**schema, "uniqueItems": True} if self._is_unique else schema

    def read(self, value: Any) -> Any:
        """As `Form.read`."""
        if type(value) is not list:
            raise Mismatch.here(f"expected an array, got {json_type(value)}")
        if self._is_unique:
            _check_unique(value)
        read = self.items.read
        items = collect(enumerate(value), lambda _, item: read(item))
        if self._is_unique:
            _check_spread(items)
        return self._python(items)

    def write(self, value: Any) -> Any:
        """As `Form.write`."""
        if not isinstance(value, self._accepted) or isinstance(value, str | bytes | bytearray):
            raise Mismatch.here(f"expected an array, got {json_type(value)}")
        write = self.items.write
        items: Any = value
        return collect(enumerate(items), lambda _, item: write(item))

    def fast(self) -> Fast:
        """As `Form.fast`."""
        if self._is_unique:
            return Fast(Any, self.read)
        kind, make = self.items.fast()
        python = self._python
        if make is None:
            return Fast(list[kind], None if python is list else python)  # type: ignore[valid-type]
        if python is list:
            return Fast(list[kind], lambda items: [make(each) for each in items])  # type: ignore[valid-type]
        return Fast(list[kind], lambda items: python(map(make, items)))  # type: ignore[valid-type]


class Row(Form):
    """A tuple with a form for each place.

    Args:
        places: Form of each.
    """

    kinds = frozenset({"array"})

    def __init__(self, places: Sequence[Form]) -> None:
        self.places = tuple(places)
        self.is_hashable = all(each.is_hashable for each in places)

    def schema(self, definitions: Definitions) -> Schema:
        """As `Form.schema`."""
        count = len(self.places)
        schema: Schema = {"type": "array", "items": False, "minItems": count, "maxItems": count}
        if count:
            schema["prefixItems"] = [each.schema(definitions) for each in self.places]
        return schema

    def read(self, value: Any) -> Any:
        """As `Form.read`."""
        if type(value) is not list:
            raise Mismatch.here(f"expected an array, got {json_type(value)}")
        return self._each(value, "read")

    def write(self, value: Any) -> Any:
        """As `Form.write`."""
        if not isinstance(value, tuple):
            raise Mismatch.here(f"expected a tuple, got {json_type(value)}")
        return list(self._each(value, "write"))

    def _each(self, items: Sequence[Any], verb: str) -> tuple[Any, ...]:
        places = self.places
        if len(items) != len(places):
            raise Mismatch.here(f"expected an array of {len(places)}, got one of {len(items)}")
        return tuple(collect(enumerate(items), lambda n, item: getattr(places[int(n)], verb)(item)))


class IntegerKey(Form):
    """An int as a key."""

    kinds = frozenset({"string"})
    _PATTERN = "^(?:0|-?[1-9][0-9]{0,399})$(?!\\n)"

    def schema(self, definitions: Definitions) -> Schema:
        """As `Form.schema`."""
        return {"type": "string", "pattern": self._PATTERN}

    def read(self, value: Any) -> int:
        """As `Form.read`."""
        if not re.search(self._PATTERN, value):
            raise Mismatch.here(f"expected an integer as a key, got {describe(value)}")
        return int(value)

    def write(self, value: Any) -> str:
        """As `Form.write`."""
        if not isinstance(value, int) or isinstance(value, bool) or abs(value) >= 10**400:
            raise Mismatch.here(f"expected an integer as a key, got {json_type(value)}")
        return str(int(value))


class Object(Form):
    """An object of any keys.

    Args:
        keys: Form of each key, whose wire form is a string.
        values: Form of each value.
    """

    kinds = frozenset({"object"})
    is_hashable = False

    def __init__(self, keys: Form, values: Form) -> None:
        self._keys = keys
        self._values = values
        self._is_plain_keys = type(keys) is String
        self.is_loose = self._is_plain_keys and type(values) is AnyJSON

    def schema(self, definitions: Definitions) -> Schema:
        """As `Form.schema`."""
        schema: Schema = {"type": "object"}
        if not self._is_plain_keys:
            schema["propertyNames"] = self._keys.schema(definitions)
        if values := self._values.schema(definitions):
            schema["additionalProperties"] = values
        return schema

    def read(self, value: Any) -> Any:
        """As `Form.read`."""
        if type(value) is not dict:
            raise Mismatch.here(f"expected an object, got {json_type(value)}")
        keys, values = self._keys.read, self._values.read
        if self.is_loose:
            return value  # what JSON gave has no other keys
        pairs = collect(value.items(), lambda key, item: (keys(key), values(item)))
        if not self._is_plain_keys:
            _check_spread([key for key, _ in pairs])
        return dict(pairs)

    def write(self, value: Any) -> Any:
        """As `Form.write`."""
        if not isinstance(value, Mapping):
            raise Mismatch.here(f"expected an object, got {json_type(value)}")
        written: dict[str, Any] = {}
        problems: list[tuple[tuple[str | int, ...], str]] = []
        for key, item in value.items():
            try:
                name = self._keys.write(key)
                written[name] = self._values.write(item)
            except Mismatch as mismatch:
                problems += mismatch.at(str(key))
        if problems:
            raise Mismatch(*problems[:MOST_PROBLEMS])
        if len(written) < len(value):
            raise Mismatch.here("has two keys that are one on the wire")
        return written

    def fast(self) -> Fast:
        """As `Form.fast`."""
        if not self._is_plain_keys:
            return Fast(Any, self.read)
        kind, make = self._values.fast()
        if make is None:
            return Fast(dict[str, kind])  # type: ignore[valid-type]
        return Fast(dict[str, kind], lambda items: {k: make(v) for k, v in items.items()})  # type: ignore[valid-type]


def _check_unique(items: Collection[Any]) -> None:
    seen: set[Any] = set()
    alike: dict[int, int] = {}
    for index, item in enumerate(items):
        key = _identity(item)
        if key in seen:
            raise Mismatch(((index,), "is there already; each item may occur once"))
        seen.add(key)
        number = hash(key)
        alike[number] = count = alike.get(number, 0) + 1
        if count > _MOST_COLLISIONS:
            raise Mismatch.here(_ALIKE)


def _check_spread(keys: Sequence[Any]) -> None:
    """Refuse keys of one hash, as which numbers can be chosen: a set of these takes hours.

    Raises:
        Mismatch: Too many have the same one.
    """
    if len(keys) <= _MOST_COLLISIONS:
        return
    hashes = sorted(map(hash, keys))
    if any(map(operator.eq, hashes, hashes[_MOST_COLLISIONS:])):
        raise Mismatch.here(_ALIKE)


_ALIKE = "has too many items that Python's sets do not tell apart quickly"
_MOST_COLLISIONS = 64


def _identity(value: Any) -> Any:
    """Return what two JSON values share exactly if JSON Schema calls them equal."""
    if isinstance(value, dict):
        return dict, frozenset((key, _identity(item)) for key, item in value.items())
    if isinstance(value, list):
        return list, tuple(map(_identity, value))
    return (bool, value) if isinstance(value, bool) else value
