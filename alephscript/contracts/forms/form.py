"""The form of a type, a mismatch with it, and the definitions that schemas refer to.

May go in: what all forms share. May not: a form of its own type.

Pure: no socket, no clock.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

__all__ = [
    "MOST_PROBLEMS",
    "Definitions",
    "Fast",
    "Form",
    "JSONKind",
    "Later",
    "Mismatch",
    "Schema",
    "choice_key",
    "describe",
    "json_type",
    "with_article",
]

Schema = dict[str, Any]

JSONKind = str
"""``null``, ``boolean``, ``number``, ``string``, ``array`` or ``object``."""

EVERY_KIND = frozenset({"null", "boolean", "number", "string", "array", "object"})


MOST_PROBLEMS = 100
"""Problems that are told of one value: a list of a million wrong ones has no more to say."""


class Fast(NamedTuple):
    """How msgspec may read a form from JSON text, refusing at least what the form refuses.

    Attributes:
        kind: The type to give to msgspec.
        make: Makes the value of what msgspec gives; None to take that as it is.
    """

    kind: Any
    make: Callable[[Any], Any] | None = None


class Mismatch(ValueError):
    """A value does not have the form.

    Attributes:
        problems: Pairs of a path (keys and indices, outermost first) and a sentence for the peer.
    """

    def __init__(self, *problems: tuple[tuple[str | int, ...], str]) -> None:
        super().__init__(*problems)
        self.problems = problems

    @classmethod
    def here(cls, message: str) -> Mismatch:
        """Make the mismatch of the value itself."""
        return cls(((), message))

    @classmethod
    def of(cls, exc: Exception) -> Mismatch:
        """Make the mismatch of what a class raised while a value of it was made."""
        if isinstance(exc, Mismatch):
            return exc
        first = exc.args[0] if isinstance(exc, ValueError | TypeError) and exc.args else None
        return cls.here(first if isinstance(first, str) and first else "not valid")

    def at(self, step: str | int) -> Iterator[tuple[tuple[str | int, ...], str]]:
        """Give the problems as they are seen from one level further out."""
        for path, message in self.problems:
            yield (step, *path), message


class Form:
    """The form that values of a type have on the wire.

    Attributes:
        kinds: Kinds of JSON values that it may be.
        is_hashable: Whether what it reads can stand in a set, or be a key.
        has_name: Whether its schema is a definition, which others refer to.
    """

    kinds: frozenset[JSONKind] = EVERY_KIND
    is_hashable: bool = True
    has_name: bool = False

    def schema(self, definitions: Definitions) -> Schema:
        """Return the JSON Schema (2020-12)."""
        raise NotImplementedError

    def read(self, value: Any) -> Any:
        """Make the Python value of JSON values.

        Raises:
            Mismatch: The values do not have this form.
        """
        raise NotImplementedError

    def write(self, value: Any) -> Any:
        """Make JSON values of the Python value.

        Raises:
            Mismatch: The value is none of this type, or has no JSON form.
        """
        raise NotImplementedError

    def fast(self) -> Fast:
        """Return how msgspec may read it; by default as any JSON, which is read then."""
        return Fast(Any, self.read)

    def choices(self) -> dict[Any, Any] | None:
        """Return its wire values by `choice_key`, if these are few and known; else None."""
        return None

    def takes(self, value: Any) -> bool:
        """Return whether JSON values have this form."""
        try:
            self.read(value)
        except Mismatch:
            return False
        return True


class Later(Form):
    """The form of a type that holds itself, while it is being found.

    Args:
        name: Name of the alias that holds itself, empty for a class: that names itself.
        module: Module of the alias.

    Attributes:
        target: The form, as soon as it is there.
    """

    def __init__(self, name: str = "", module: str = "") -> None:
        self.target: Form | None = None
        self._name, self._module = name, module

    def _found(self) -> Form:
        assert self.target is not None
        return self.target

    def found(self) -> Form | None:
        """Return the form behind all that came later, None if there is none yet."""
        form: Form | None = self
        seen = set()
        while isinstance(form, Later) and form not in seen:
            seen.add(form)
            form = form.target
        return None if isinstance(form, Later) else form

    def schema(self, definitions: Definitions) -> Schema:
        """As `Form.schema`."""
        target = self._found()
        if not self._name or target.has_name:
            return target.schema(definitions)
        # An alias that holds itself would be written without end.
        return definitions.refer(self, self._name, self._module, lambda: target.schema(definitions))

    def read(self, value: Any) -> Any:
        """As `Form.read`."""
        return self._found().read(value)

    def write(self, value: Any) -> Any:
        """As `Form.write`."""
        return self._found().write(value)


class Definitions:
    """Schemas that others refer to, each under a name of its own.

    Args:
        where: The JSON pointer of the object that holds them.
    """

    def __init__(self, where: str = "#/$defs/") -> None:
        self._where = where
        self._names: dict[Any, str] = {}
        self.schemas: dict[str, Schema] = {}

    def refer(self, key: Any, name: str, module: str, make: Callable[[], Schema]) -> Schema:
        """Return a reference to a schema, which is made unless it is there.

        Args:
            key: What the schema is of; equal keys share it.
            name: The name that it gets, if that is free.
            module: Module of the class, for a name that is not free.
            make: Makes the schema.
        """
        known = self._names.get(key)
        if known is None:
            known = self._names[key] = self._free(_legal(name), _legal(module))
            self.schemas[known] = {}  # taken, for classes that hold themselves
            self.schemas[known] = make()
        return {"$ref": self._where + known}

    def _free(self, name: str, module: str) -> str:
        names = (name, *(f"{module}.{name}{n}" for n in ("", *map(str, range(2, 1000)))))
        return next(each for each in names if each not in self.schemas)


def _legal(name: str) -> str:
    """Return a name in the characters that AsyncAPI and OpenAPI allow for a component."""
    return re.sub(r"[^a-zA-Z0-9._-]+", "_", name).strip("_") or "Schema"


_JSON_TYPES: dict[type, str] = {
    dict: "object",
    list: "array",
    tuple: "array",
    str: "string",
    bool: "boolean",
    int: "number",
    float: "number",
    type(None): "null",
}


def json_type(value: Any) -> str:
    """Name the type of a value for whoever sent it: JSON's own name, or that of the class."""
    return _JSON_TYPES.get(type(value)) or type(value).__qualname__


def describe(value: Any) -> str:
    """Show a value for a message: short ones themselves, others by their type."""
    if type(value) is str and len(value) <= _SHOWN:
        return json.dumps(value)
    if type(value) in (int, float, bool) and abs(value) < 10**_SHOWN:
        return json.dumps(value)
    return json_type(value)


_SHOWN = 40
"""Characters of a value that a message may show."""


def with_article(name: str) -> str:
    """Put the indefinite article before a name."""
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"


def choice_key(value: Any) -> Any:
    """Return what two JSON scalars share exactly if JSON Schema calls them equal.

    There 1 and 1.0 are equal, as in Python, but 1 and true are not.
    """
    return (bool, value) if isinstance(value, bool) else value
