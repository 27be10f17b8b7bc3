"""Constraints of `typing.Annotated`: enforced when read and when written, and published.

Those of `msgspec.Meta`, of the package ``annotated-types`` and of pydantic's ``Field`` are known;
they are told by their classes' names and attributes, so that none of these packages is needed. What
other packages put there means nothing here, as PEP 593 has it.

May go in: what a constraint checks, and its keyword in a schema. May not: the forms themselves.

Pure: no socket, no clock.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sized
from fractions import Fraction
from typing import Any

import attrs
import msgspec

from alephscript.contracts.forms.containers import Array, Object, Row
from alephscript.contracts.forms.form import Definitions, Fast, Form, Mismatch, Schema
from alephscript.contracts.forms.scalars import Integer, Null, Number, Numeric, String
from alephscript.contracts.forms.unions import Union

__all__ = ["Constrained", "Constraint", "Secret", "annotations_of", "constraints_of"]


@attrs.frozen
class Secret:
    """A mark of a field that nobody else may see: ``password: Annotated[str, Secret()]``.

    The field is read and written as any other. Whoever records a room finds ``[redacted]`` in its
    place (`alephscript.recording`); the schema says ``x-secret: true``. Fields whose schema says
    ``format: password`` or ``writeOnly: true``, as of pydantic's ``SecretStr``, are secrets, too.
    """


@attrs.frozen
class Constraint:
    """A condition that values have to meet.

    Attributes:
        keyword: The schema's keyword.
        bound: The keyword's value.
        message: Says what was expected.
        holds: Whether a value meets it.
    """

    keyword: str
    bound: Any
    message: str
    holds: Callable[[Any], bool]


class Constrained(Form):
    """A form with constraints.

    Args:
        inner: The form.
        constraints: The conditions.
        annotations: Further keys of the schema: title, description, examples.
    """

    def __init__(
        self,
        inner: Form,
        constraints: tuple[Constraint, ...],
        annotations: Mapping[str, Any],
    ) -> None:
        self.inner = inner
        self._constraints = constraints
        self._annotations = dict(annotations)
        self.kinds = inner.kinds
        self.is_hashable = inner.is_hashable

    def schema(self, definitions: Definitions) -> Schema:
        """As `Form.schema`."""
        schema = dict(self.inner.schema(definitions))
        is_direct = _is_direct(self.inner)
        words = []
        for each in self._constraints:
            keyword = _keyword(each, self.kinds) if is_direct else ""
            if not keyword:
                words.append(each.message)
            elif keyword in schema:
                schema.setdefault("allOf", []).append({keyword: each.bound})
            else:
                schema[keyword] = each.bound
        schema |= self._annotations
        if words:
            schema["description"] = "; ".join([*filter(None, [schema.get("description")]), *words])
        return schema

    def read(self, value: Any) -> Any:
        """As `Form.read`."""
        result = self.inner.read(value)
        self._check(result)
        return result

    def write(self, value: Any) -> Any:
        """As `Form.write`."""
        written = self.inner.write(value)
        self._check(value)
        return written

    def _check(self, value: Any) -> None:
        for each in self._constraints:
            if not each.holds(value):
                raise Mismatch.here(f"expected {each.message}")

    def fast(self) -> Fast:
        """As `Form.fast`."""
        if not self._constraints:
            return self.inner.fast()
        kind, make = self.inner.fast()
        check = self._check

        def checked(value: Any) -> Any:
            if make is not None:
                value = make(value)
            check(value)
            return value

        return Fast(kind, checked)

    def choices(self) -> dict[Any, Any] | None:
        """As `Form.choices`."""
        return self.inner.choices()


def _is_direct(form: Form) -> bool:
    """Return whether a value stands on the wire as it is, so that both have one length."""
    if isinstance(form, Constrained):
        return _is_direct(form.inner)
    if isinstance(form, Union):
        return all(isinstance(each, Null) or _is_direct(each) for each in form.members)
    return type(form) in (String, Integer, Number, Numeric, Array, Row, Object)


_KINDS = {
    "minimum": "number",
    "maximum": "number",
    "exclusiveMinimum": "number",
    "exclusiveMaximum": "number",
    "multipleOf": "number",
    "pattern": "string",
    "minLength": "string",
    "maxLength": "string",
}
_LENGTHS = {
    "min": {"string": "minLength", "array": "minItems", "object": "minProperties"},
    "max": {"string": "maxLength", "array": "maxItems", "object": "maxProperties"},
}


def _keyword(constraint: Constraint, kinds: frozenset[str]) -> str:
    """Return the schema's keyword, empty where a constraint can be told in words alone."""
    kinds = kinds - {"null"}
    if constraint.keyword in _LENGTHS:
        return _LENGTHS[constraint.keyword].get(next(iter(kinds)), "") if len(kinds) == 1 else ""
    wanted = _KINDS.get(constraint.keyword)
    if wanted == "number" and not isinstance(constraint.bound, int | float):
        return ""
    return constraint.keyword if wanted in kinds and len(kinds) == 1 else ""


def constraints_of(metadata: Any) -> Iterator[Constraint]:
    """Give the constraints of one item of ``Annotated``'s metadata.

    Raises:
        ValueError: The item is of a package that is known, and cannot be enforced.
    """
    if isinstance(metadata, msgspec.Meta):
        facts = {name: getattr(metadata, name) for name in _OF_META}
        if metadata.tz is False:
            raise ValueError("a datetime without offset is refused")
        yield from _of_facts({name: bound for name, bound in facts.items() if bound is not None})
        return
    module = type(metadata).__module__.partition(".")[0]
    name = type(metadata).__name__
    if module == "annotated_types":
        yield from _of_annotated_types(name, metadata)
    elif module == "pydantic" and name == "FieldInfo":
        for each in metadata.metadata:
            yield from constraints_of(each)
    elif module == "pydantic" and hasattr(metadata, "__dict__"):
        # Its general metadata: Field(pattern=…) and the like.
        yield from _of_facts(
            {k: v for k, v in vars(metadata).items() if k in _OF_META and v is not None}
        )


_OF_META = ("gt", "ge", "lt", "le", "multiple_of", "pattern", "min_length", "max_length")


def _of_annotated_types(name: str, metadata: Any) -> Iterator[Constraint]:
    one = {
        "Gt": "gt",
        "Ge": "ge",
        "Lt": "lt",
        "Le": "le",
        "MultipleOf": "multiple_of",
        "MinLen": "min_length",
        "MaxLen": "max_length",
    }
    if name in one:
        fact = one[name]
        yield from _of_facts({fact: getattr(metadata, fact)})
    elif name in ("Interval", "Len"):
        facts = {each: getattr(metadata, each, None) for each in _OF_META}
        if facts["min_length"] == 0:
            facts["min_length"] = None
        yield from _of_facts({each: bound for each, bound in facts.items() if bound is not None})
    elif name in ("Predicate", "Not"):
        negate, check = name == "Not", metadata.func
        says = getattr(check, "__qualname__", repr(check))
        yield Constraint(
            "",
            None,
            f"a value that is {'not ' * negate}{says}",
            lambda value: bool(check(value)) != negate,
        )
    elif name == "Timezone":
        if metadata.tz is not ...:
            raise ValueError("only Timezone(...) is known, any offset")
    elif name not in ("DocInfo", "Unit", "LowerCase"):
        raise ValueError(f"{name} is not known here")


def _of_facts(facts: Mapping[str, Any]) -> Iterator[Constraint]:
    for name, bound in facts.items():
        keyword, words, make = _CONSTRAINTS[name]
        _check_bound(name, bound)
        yield Constraint(keyword, bound, words.format(bound), make(bound))


def _check_bound(name: str, bound: Any) -> None:
    """Raise a ValueError for a bound that means nothing."""
    if name in ("min_length", "max_length") and (type(bound) is not int or bound < 0):
        raise ValueError("a length is an integer from 0")
    if name == "multiple_of" and not (isinstance(bound, int | float) and bound > 0):
        raise ValueError("a value can be a multiple of a positive number alone")
    if isinstance(bound, float) and not math.isfinite(bound):
        raise ValueError(f"{bound} has no JSON form")
    if name == "pattern":
        try:
            re.compile(bound)
        except (re.error, TypeError) as exc:
            raise ValueError(f"no pattern: {exc}") from None


def _if_number(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """Apply a check to what can be compared: a union may hold a string or None, too."""

    def holds(value: Any) -> bool:
        try:
            return bool(check(value))
        except TypeError:
            return True

    return holds


def _make_multiple(bound: Any) -> Callable[[Any], bool]:
    def holds(value: Any) -> bool:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return True
        if not isinstance(bound, float):
            return bool(value % bound == 0)
        # As validators of JSON Schema count: the quotient has to be whole.
        try:
            quotient = value / bound
            return int(quotient) == quotient
        except OverflowError:
            return Fraction(value) % Fraction(bound) == 0

    return holds


def _make_pattern(bound: str) -> Callable[[Any], bool]:
    search = re.compile(bound).search
    return lambda value: not isinstance(value, str) or search(value) is not None


def _has_length(check: Callable[[int], bool]) -> Callable[[Any], bool]:
    return lambda value: not isinstance(value, Sized) or check(len(value))


_CONSTRAINTS: dict[str, tuple[str, str, Callable[[Any], Callable[[Any], bool]]]] = {
    "gt": ("exclusiveMinimum", "more than {}", lambda bound: _if_number(lambda v: v > bound)),
    "ge": ("minimum", "at least {}", lambda bound: _if_number(lambda v: v >= bound)),
    "lt": ("exclusiveMaximum", "less than {}", lambda bound: _if_number(lambda v: v < bound)),
    "le": ("maximum", "at most {}", lambda bound: _if_number(lambda v: v <= bound)),
    "multiple_of": ("multipleOf", "a multiple of {}", _make_multiple),
    "pattern": ("pattern", "a string that matches {}", _make_pattern),
    "min_length": ("min", "a length of at least {}", lambda n: _has_length(lambda v: v >= n)),
    "max_length": ("max", "a length of at most {}", lambda n: _has_length(lambda v: v <= n)),
}
"""By name: keyword, words, and what makes the check of a bound."""


def annotations_of(metadata: Any) -> Schema:
    """Return the keys that an item of ``Annotated``'s metadata adds to a schema for its readers."""
    keys: Schema = {}
    if isinstance(metadata, Secret) or metadata is Secret:
        keys["x-secret"] = True
    elif isinstance(metadata, msgspec.Meta) or type(metadata).__name__ == "FieldInfo":
        for name in ("title", "description", "examples"):
            if (value := getattr(metadata, name, None)) is not None:
                keys[name] = value
        keys |= getattr(metadata, "extra_json_schema", None) or {}
    elif (
        type(metadata).__name__ == "Doc" or type(metadata).__name__ == "DocInfo"
    ):  # of typing_extensions, or annotated_doc
        keys["description"] = metadata.documentation
    return keys
