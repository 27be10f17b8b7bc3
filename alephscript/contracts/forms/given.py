"""Forms that an application gives: of a type of its own, or of plain JSON by a schema.

May go in: checking values by a schema that was written by hand. May not: schemas that are made.

Pure: no socket, no clock.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from alephscript.contracts.forms.form import Definitions, Form, Mismatch, Schema, with_article

__all__ = ["ByHand", "Custom", "JSONSchema", "Validator"]


@attrs.frozen(eq=False)
class JSONSchema:
    """Plain JSON that a schema describes, in place of a type.

    Attributes:
        schema: A JSON Schema (2020-12).
    """

    schema: Mapping[str, Any]


class Validator:
    """Checks values by a schema that was written by hand.

    Args:
        schema: A JSON Schema (2020-12).

    Raises:
        ValueError: The schema is none.
    """

    def __init__(self, schema: Any) -> None:
        # Loaded by those who give a schema: importing takes longer than the rest of this package.
        import jsonschema

        if not isinstance(schema, dict):
            raise ValueError("a schema is a dict")  # noqa: TRY004 - one error for all that is none
        try:
            jsonschema.Draft202012Validator.check_schema(schema)
        except jsonschema.SchemaError as exc:
            where = "/".join(map(str, exc.absolute_path))
            raise ValueError(f"no JSON Schema: {where}: {exc.message}") from None
        cls = jsonschema.Draft202012Validator
        self._validator = cls(schema, format_checker=cls.FORMAT_CHECKER)
        self.schema: Schema = dict(schema)

    def check(self, value: Any) -> None:
        """Check JSON values.

        Raises:
            Mismatch: The schema does not take them.
        """
        errors = itertools.islice(self._validator.iter_errors(value), _MOST_PROBLEMS)
        problems = [(tuple(error.absolute_path), f"{error.message:.200}") for error in errors]
        if problems:
            raise Mismatch(*problems)


_MOST_PROBLEMS = 20
"""Problems that are told: each quotes a value before the quotation is cut."""


class ByHand(Form):
    """Plain JSON that a schema describes.

    Args:
        validator: Of the schema.
        inner: Form of any JSON.
    """

    is_hashable = False

    def __init__(self, validator: Validator, inner: Form) -> None:
        self._validator = validator
        self._inner = inner
        self.kinds = kinds_of(validator.schema)

    def schema(self, definitions: Definitions) -> Schema:
        """As `Form.schema`."""
        return self._validator.schema

    def read(self, value: Any) -> Any:
        """As `Form.read`."""
        self._validator.check(value)
        return value

    def write(self, value: Any) -> Any:
        """As `Form.write`."""
        written = self._inner.write(value)
        self._validator.check(written)
        return written


class Custom(Form):
    """A type of an application.

    Args:
        cls: The type.
        encode: Makes JSON values of one.
        decode: Makes one of JSON values; raises a ValueError for those that it does not take.
        validator: Of the schema.
        inner: Form of any JSON.
    """

    def __init__(
        self,
        cls: type,
        encode: Callable[[Any], Any],
        decode: Callable[[Any], Any],
        validator: Validator,
        inner: Form,
    ) -> None:
        self._cls = cls
        self._encode = encode
        self._decode = decode
        self._validator = validator
        self._inner = inner
        self.kinds = kinds_of(validator.schema)
        self.is_hashable = cls.__hash__ is not None

    def schema(self, definitions: Definitions) -> Schema:
        """As `Form.schema`."""
        return dict(self._validator.schema)

    def read(self, value: Any) -> Any:
        """As `Form.read`."""
        self._validator.check(value)
        try:
            return self._decode(value)
        except Exception as exc:
            raise Mismatch.of(exc) from exc

    def write(self, value: Any) -> Any:
        """As `Form.write`."""
        name = self._cls.__qualname__
        if not isinstance(value, self._cls):
            raise Mismatch.here(f"expected {with_article(name)}, got {type(value).__qualname__}")
        try:
            written = self._inner.write(self._encode(value))
        except Exception as exc:
            raise Mismatch.of(exc) from exc
        self._validator.check(written)
        return written


def kinds_of(schema: Mapping[str, Any]) -> frozenset[str]:
    """Return the kinds of JSON values that a schema may take."""
    kind = schema.get("type")
    listed = [kind] if isinstance(kind, str) else kind
    if not isinstance(listed, list):
        return Form.kinds
    return frozenset("number" if each == "integer" else each for each in listed)
