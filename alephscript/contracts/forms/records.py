"""Classes with named fields: attrs classes, dataclasses, TypedDicts, named tuples, Structs.

May go in: reading, writing and describing a record field by field. May not: which fields a class
has, and under which keys (`alephscript.contracts.fields`).

Pure: no socket, no clock.
"""

from __future__ import annotations

import difflib
import operator
import re
from collections.abc import Callable, Mapping, Set as AbstractSet
from typing import Any

import attrs
import msgspec

from alephscript.contracts.forms.form import (
    Definitions,
    Fast,
    Form,
    Mismatch,
    Schema,
    choice_key,
    json_type,
    with_article,
)
from alephscript.contracts.sources import make_function

__all__ = ["ABSENT", "Field", "Record"]


class _Absent:
    """No value at all: a field without a default, a key that is not there."""

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT: Any = _Absent()


@attrs.frozen
class Field:
    """A field of a record.

    Attributes:
        name: The attribute, or the key of a TypedDict.
        argument: The argument of the class that gives it; None if the class sets it by itself.
        key: The key on the wire.
        form: Form of its values.
        default: Its default, `ABSENT` for none.
        factory: Makes its default; None for none.
        is_required: Whether the key has to be there.
        is_by_name: Whether the class takes the argument by name alone.
        omitted: A value that is left out when written, `ABSENT` for none.
        annotations: Further keys of its schema: title, description, examples.
    """

    name: str
    argument: str
    key: str
    form: Form
    default: Any = ABSENT
    factory: Callable[[], Any] | None = None
    is_required: bool = True
    is_by_name: bool = False
    omitted: Any = ABSENT
    annotations: Mapping[str, Any] = attrs.field(factory=dict)


@attrs.frozen
class Shape:
    """What is to be known of a record's class.

    Attributes:
        cls: The class.
        key: The class, or its alias with arguments: what its schema is of.
        name: Its name, for schemas and messages.
        fields: Its fields, in order.
        description: For the schema, empty for none.
        is_array: Whether it stands as an array on the wire.
        is_dict: Whether its values are dicts: a TypedDict.
        is_strict: Whether a key that it does not know is refused.
        tag: A key and its constant value, which a Struct's values have on the wire.
    """

    cls: Any
    key: Any
    name: str
    fields: tuple[Field, ...]
    description: str = ""
    is_array: bool = False
    is_dict: bool = False
    is_strict: bool = False
    tag: tuple[str, Any] | None = None


class Record(Form):
    """A class with named fields.

    Args:
        shape: What is to be known of the class.
        write_other: Writes a value of another class, by that.
    """

    has_name = True

    def __init__(self, shape: Shape, write_other: Callable[[Any], Any]) -> None:
        self.shape = shape
        self._write_other = write_other
        self.kinds = frozenset({"array" if shape.is_array else "object"})
        self._keys = [field.key for field in shape.fields] + ([shape.tag[0]] if shape.tag else [])
        self.is_hashable = (
            not shape.is_dict
            and shape.cls.__hash__ is not None
            and all(field.form.is_hashable for field in shape.fields)
        )

    @property
    def keys(self) -> list[str]:
        """Its keys on the wire."""
        return self._keys

    def schema(self, definitions: Definitions) -> Schema:
        """As `Form.schema`."""
        shape = self.shape
        return definitions.refer(
            (shape.key, shape.is_strict),
            shape.name,
            shape.cls.__module__,
            lambda: self._schema(definitions),
        )

    def _schema(self, definitions: Definitions) -> Schema:
        shape = self.shape
        schema: Schema = {"title": shape.name}
        if shape.description:
            schema["description"] = shape.description
        schema["type"] = "array" if shape.is_array else "object"
        parts = {field.key: _field_schema(field, definitions) for field in shape.fields}
        required = [field.key for field in shape.fields if field.is_required]
        if shape.tag:
            key, value = shape.tag
            parts = {key: {"const": value, "title": _title(key)}, **parts}
            required.insert(0, key)
        if shape.is_array:
            schema["prefixItems"] = list(parts.values())
            schema |= {"items": False, "minItems": len(required), "maxItems": len(parts)}
            if not parts:
                del schema["prefixItems"]
            return schema
        schema["properties"] = parts
        if required:
            schema["required"] = required
        if shape.is_strict:
            schema["additionalProperties"] = False
        return schema

    def read(self, value: Any) -> Any:
        """As `Form.read`."""
        shape = self.shape
        if shape.is_array:
            value = self._by_key(value)
        elif type(value) is not dict:
            raise Mismatch.here(f"expected an object, got {json_type(value)}")
        arguments: dict[str, Any] = {}
        problems: list[tuple[tuple[str | int, ...], str]] = []
        if shape.tag:
            problems += self._check_tag(value, *shape.tag)
        for field in shape.fields:
            item = value.get(field.key, ABSENT)
            if item is ABSENT:
                if field.is_required:
                    problems.append(((field.key,), self._missing(field.key, value)))
                continue
            try:
                arguments[field.argument] = field.form.read(item)
            except Mismatch as mismatch:
                problems += mismatch.at(field.key)
        if shape.is_strict:
            problems += self._unknown(value)
        if problems:
            raise Mismatch(*self._placed(problems))
        return self._make(arguments)

    def _make(self, arguments: dict[str, Any]) -> Any:
        if self.shape.is_dict:
            return arguments
        try:
            return self.shape.cls(**arguments)
        except Exception as exc:
            raise self._blame(Mismatch.of(exc), exc) from exc

    def _blame(self, mismatch: Mismatch, exc: Exception) -> Mismatch:
        """Name the field of which a class complains, as validators of attrs do."""
        message = mismatch.problems[0][1]
        names = [each.name for each in exc.args[1:] if isinstance(each, attrs.Attribute)]
        if quoted := re.match(r"'(\w+)' ", message):
            names.append(quoted[1])
        for field in self.shape.fields:
            if field.name in names:
                return Mismatch(*mismatch.at(field.key))
        return mismatch

    def _by_key(self, value: Any) -> dict[str, Any]:
        if type(value) is not list:
            raise Mismatch.here(f"expected an array, got {json_type(value)}")
        most = len(self._ordered_keys())
        if len(value) > most:
            raise Mismatch.here(f"expected an array of at most {most}, got one of {len(value)}")
        return dict(zip(self._ordered_keys(), value, strict=False))

    def _ordered_keys(self) -> list[str]:
        tag = self.shape.tag
        return [*([tag[0]] if tag else []), *(field.key for field in self.shape.fields)]

    def _placed(self, problems: list[Any]) -> list[Any]:
        """Name places, not keys, where the record is an array."""
        if not self.shape.is_array:
            return problems
        places = {key: place for place, key in enumerate(self._ordered_keys())}
        return [((places[path[0]], *path[1:]), message) for path, message in problems]

    @staticmethod
    def _check_tag(value: Mapping[str, Any], key: str, tag: Any) -> list[Any]:
        if key not in value:
            return [((key,), "missing")]
        found = value[key]
        if isinstance(found, str | int | float) and choice_key(found) == choice_key(tag):
            return []
        return [((key,), f"expected {tag}, got {json_type(found)}")]

    def _missing(self, key: str, value: Mapping[str, Any]) -> str:
        others = [each for each in value if each not in self._keys]
        near = _nearest(key, others)
        return f"missing; is it `{near}`, which is unknown?" if near else "missing"

    def _unknown(self, value: Mapping[str, Any]) -> list[Any]:
        problems: list[Any] = []
        for key in value:
            if key not in self._keys:
                near = _nearest(key, self._keys)
                advice = (
                    f"; did you mean `{near}`?" if near else f"; {self.shape.name} has no such key"
                )
                problems.append(((key,), f"unknown key{advice}"))
                if len(problems) == _MOST_UNKNOWN:
                    break
        return problems

    def write(self, value: Any) -> Any:
        """As `Form.write`."""
        shape = self.shape
        if not isinstance(value, dict if shape.is_dict else shape.cls):
            raise Mismatch.here(f"expected {with_article(shape.name)}, got {json_type(value)}")
        if not shape.is_dict and type(value) is not shape.cls:
            return self._write_other(value)  # of a subclass, with its own fields
        get: Callable[[Any, str], Any] = _get_item if shape.is_dict else getattr
        written: dict[str, Any] = {shape.tag[0]: shape.tag[1]} if shape.tag else {}
        problems: list[tuple[tuple[str | int, ...], str]] = []
        for field in shape.fields:
            item = get(value, field.name)
            if item is field.omitted:
                if field.is_required:
                    problems.append(((field.key,), "missing"))
                continue
            try:
                written[field.key] = field.form.write(item)
            except Mismatch as mismatch:
                problems += mismatch.at(field.key)
        if shape.is_dict and len(value) > len(written):
            problems += self._write_rest(value, written)
        if problems:
            raise Mismatch(*self._placed(problems))
        return list(written.values()) if shape.is_array else written

    def _write_rest(self, value: Mapping[str, Any], written: dict[str, Any]) -> list[Any]:
        """Write what a dict has beside the keys of its TypedDict: a narrower one may have more."""
        problems: list[Any] = []
        for key, item in value.items():
            if key in written or any(key == field.name for field in self.shape.fields):
                continue
            if type(key) is not str:
                problems.append(((str(key),), f"expected a string as a key, got {json_type(key)}"))
                continue
            try:
                written[key] = self._write_other(item)
            except Mismatch as mismatch:
                problems += mismatch.at(key)
        return problems

    def fast(self) -> Fast:
        """As `Form.fast`."""
        if self.shape.is_array or self.shape.tag:
            return Fast(Any, self.read)
        return self.mirror({})

    def mirror(self, besides: Mapping[str, Any]) -> Fast:
        """Compile a Struct with the wire's keys, and what makes a value of one.

        msgspec fills the Struct in the pass that reads the text.

        Args:
            besides: Further keys that have to be there, and their types.
        """
        fields: list[Any] = [(f"besides_{n}", kind, msgspec.field(name=key))
                             for n, (key, kind) in enumerate(besides.items())]  # fmt: skip
        makers: dict[int, Callable[[Any], Any]] = {}
        optional: set[int] = set()
        for place, field in enumerate(self.shape.fields):
            kind, make = field.form.fast()
            default: Any = msgspec.NODEFAULT
            if not field.is_required:
                if make is None and type(field.default) in _PLAIN:
                    default = field.default  # msgspec fills it in
                else:
                    optional.add(place)
                    kind, default = kind | msgspec.UnsetType, msgspec.UNSET
            fields.append((f"f{place}", kind, msgspec.field(name=field.key, default=default)))
            if make is not None:
                makers[place] = make
        mirror = msgspec.defstruct(
            _identifier(self.shape.name),
            fields,
            kw_only=True,
            gc=False,
            forbid_unknown_fields=self.shape.is_strict,
        )
        return Fast(mirror, self._maker(makers, optional))

    def _maker(
        self, makers: Mapping[int, Callable[[Any], Any]], optional: AbstractSet[int]
    ) -> Callable[[Any], Any]:
        """Return what makes a value of a mirror: it is on the way of every request.

        Args:
            makers: What makes the value of a field of what the mirror has, where that is another.
            optional: The fields that a mirror may not have.
        """
        fields = self.shape.fields
        defaults = [each for each in fields if not each.is_required]
        if (
            self.shape.is_dict
            or any(each.is_by_name for each in fields)
            # The class alone makes such a default, of its other fields.
            or any(each.default is ABSENT and each.factory is None for each in defaults)
        ):
            names = [f"f{place}" for place in range(len(fields))]
            return self._maker_by_name(_getter(names), list(makers.items()))
        given: dict[str, Any] = {"cls": self.shape.cls, "unset": msgspec.UNSET}
        arguments: list[str] = []
        for place, field in enumerate(fields):
            found = value = f"mirror.f{place}"
            if place in makers:
                given[f"make{place}"] = makers[place]
                value = f"make{place}({found})"
            if place in optional:
                given[f"default{place}"] = field.default if field.factory is None else field.factory
                default = f"default{place}" if field.factory is None else f"default{place}()"
                value = f"{default} if {found} is unset else {value}"
            arguments.append(value)
        return make_function("mirror", [f"return cls({', '.join(arguments)})"], given)

    def _maker_by_name(
        self, get: Callable[[Any], tuple[Any, ...]], makers: list[tuple[int, Callable[[Any], Any]]]
    ) -> Callable[[Any], Any]:
        arguments = tuple(field.argument for field in self.shape.fields)
        make, unset = self._make, msgspec.UNSET

        def make_by_name(mirror: Any) -> Any:
            values = list(get(mirror))
            for place, convert in makers:
                if values[place] is not unset:
                    values[place] = convert(values[place])
            given = zip(arguments, values, strict=True)
            return make({name: value for name, value in given if value is not unset})

        return make_by_name


_PLAIN = (type(None), bool, int, float, str)
"""Types of defaults that msgspec may set."""


def _getter(names: list[str]) -> Callable[[Any], tuple[Any, ...]]:
    if len(names) > 1:
        return operator.attrgetter(*names)
    if not names:
        return lambda _: ()
    get = operator.attrgetter(*names)
    return lambda mirror: (get(mirror),)


def _get_item(value: Mapping[str, Any], name: str) -> Any:
    return value.get(name, ABSENT)


def _field_schema(field: Field, definitions: Definitions) -> Schema:
    schema = field.form.schema(definitions)
    annotations = dict(field.annotations)
    if "$ref" not in schema and "title" not in schema:
        annotations = {"title": _title(field.key), **annotations}
    return {**annotations, **schema, **field.annotations}


def _title(key: str) -> str:
    """Return a key as words: ``fiaIndex`` is ``Fia index``."""
    words = "".join(f" {c.lower()}" if c.isupper() else c for c in key.replace("_", " ")).strip()
    return words[:1].upper() + words[1:]


def _nearest(key: str, others: list[str]) -> str:
    """Return the key that is nearest to another, empty if none is near."""
    if len(key) > _LONGEST_KEY:
        return ""
    near = [each for each in others[:_MOST_UNKNOWN] if len(each) <= _LONGEST_KEY]
    return next(iter(difflib.get_close_matches(key, near, 1, 0.6)), "")


_LONGEST_KEY = 64
_MOST_UNKNOWN = 32
"""Keys that are looked at: what a peer sends must not cost more than reading it."""


def _identifier(name: str) -> str:
    return "".join(c if c.isalnum() else "_" for c in name) or "Mirror"
