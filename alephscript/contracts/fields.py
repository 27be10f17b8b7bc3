"""Fields of a class: their keys on the wire, their types, their defaults, their words.

Attributes are snake_case; the keys of attrs classes and dataclasses are camelCase, and `wire_key`
alone knows that. TypedDicts and Structs say their keys themselves.

May go in: reading a class. May not: the form of a type (`finding`).

Pure: no socket, no clock.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import re
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import attrs
import msgspec
import typing_extensions

from alephscript.contracts.forms.form import Form
from alephscript.contracts.forms.records import ABSENT, Field, Shape

__all__ = ["Refused", "is_record", "name_of", "shape_of", "wire_key"]

Find = Callable[[Any, str, str, Mapping[Any, Any]], Form]
"""Finds the form of a field's type, given its name, its module and the arguments of its class."""


class Refused(Exception):
    """A class cannot be a contract.

    Attributes:
        reason: Says why, and the way out.
        field: The name of the field that is to blame, if it is one.
    """

    def __init__(self, reason: str, *field: str) -> None:
        super().__init__(reason, *field)
        self.reason = reason
        self.field = field


@functools.cache
def wire_key(attribute: str) -> str:
    """Return the wire's spelling of an attribute: ``session_id`` is ``sessionId`` there."""
    head, *rest = attribute.split("_")
    return head + "".join(word[:1].upper() + word[1:] for word in rest)


def is_record(cls: Any) -> bool:
    """Return whether a class has named fields."""
    return isinstance(cls, type) and (
        attrs.has(cls)
        or dataclasses.is_dataclass(cls)
        or typing_extensions.is_typeddict(cls)
        or issubclass(cls, msgspec.Struct)
        or (issubclass(cls, tuple) and hasattr(cls, "_fields"))
    )


def name_of(key: Any) -> str:
    """Return the name of a type, with those of its arguments: ``Page[Item]``, ``int | None``."""
    arguments = typing.get_args(key)
    origin = typing.get_origin(key)
    if origin in (typing.Union, types.UnionType):
        return " | ".join("None" if each is type(None) else name_of(each) for each in arguments)
    if origin is typing.Literal:
        return str(key).removeprefix("typing.")
    if origin is None or not isinstance(origin, type) or not arguments:
        return getattr(key, "__name__", None) or str(key).replace("typing.", "")
    return f"{origin.__name__}[{', '.join(map(name_of, arguments))}]"


def shape_of(cls: Any, key: Any, find: Find, *, is_strict: bool) -> Shape:
    """Read a class.

    Args:
        cls: The class.
        key: The class, or its alias with arguments.
        find: Finds the form of a field's type.
        is_strict: Whether unknown keys are refused.

    Raises:
        Refused: The class cannot be a contract.
        DeclarationError: The type of a field has no JSON form.
    """
    reading = _Reading(cls, key, find)
    if typing_extensions.is_typeddict(cls):
        made = reading.typed_dict()
    elif issubclass(cls, msgspec.Struct):
        made = reading.struct()
    elif issubclass(cls, tuple):
        made = reading.named_tuple()
    else:
        made = reading.attributes()
    found = list(made)
    taken: dict[str, str] = {}
    for field in found:
        other = taken.setdefault(field.key, field.name)
        if other != field.name:
            raise Refused(
                f"{other} and {field.name} are both `{field.key}` on the wire; rename one"
            )
    config = getattr(cls, "__struct_config__", None)
    return Shape(
        cls=cls,
        key=key,
        name=name_of(key),
        fields=tuple(found),
        description=_description(cls),
        is_array=issubclass(cls, tuple) or bool(config and config.array_like),
        is_dict=typing_extensions.is_typeddict(cls),
        is_strict=is_strict or bool(config and config.forbid_unknown_fields),
        tag=(config.tag_field, config.tag) if config and config.tag is not None else None,
    )


class _Reading:
    """The reading of one class."""

    def __init__(self, cls: Any, key: Any, find: Find) -> None:
        self._cls = cls
        self._key = key
        self._find = find
        self._variables = dict(_variables_by_owner(key))
        self._hints = _read_hints(cls)
        self._words = _attribute_docs(cls)

    def _form(self, name: str, declared: Any = None) -> Form:
        kind = self._hints.get(name, Any if declared is None else declared)
        owner = next(
            (each for each in self._cls.__mro__ if name in vars(each).get("__annotations__", ())),
            self._cls,
        )
        variables = self._variables.get(owner) or self._variables.get(self._cls, {})
        variables = {**variables, typing.Self: self._key}
        return self._find(kind, name, owner.__module__, variables)

    def _annotations(self, name: str) -> dict[str, Any]:
        words = self._words.get(name)
        return {"description": words} if words else {}

    def attributes(self) -> Iterator[Field]:
        """Give the fields of an attrs class, or of a dataclass."""
        if attrs.has(self._cls):
            listed: Any = [(a, a.alias, a.kw_only, a.type) for a in attrs.fields(self._cls)]
        else:
            for name, each in self._cls.__dataclass_fields__.items():
                if each._field_type is dataclasses._FIELD_INITVAR:  # type: ignore[attr-defined]  # noqa: SLF001
                    raise Refused("an InitVar, which no value keeps; make it a field", name)
            listed = [(f, f.name, f.kw_only, f.type) for f in dataclasses.fields(self._cls)]
        for each, argument, is_by_name, declared in listed:
            if not each.init:
                continue
            default, factory = _default(each)
            has_default = (
                each.default is not attrs.NOTHING and each.default is not dataclasses.MISSING
            )
            has_default = has_default or factory is not None
            yield Field(
                name=each.name,
                argument=argument,
                key=wire_key(each.name),
                form=self._form(each.name, declared),
                default=default,
                factory=factory,
                is_required=not has_default,
                is_by_name=bool(is_by_name),
                omitted=None if default is None else ABSENT,
                annotations=self._annotations(each.name),
            )

    def typed_dict(self) -> Iterator[Field]:
        """Give the keys of a TypedDict."""
        required = self._cls.__required_keys__
        for name, kind in self._hints.items():
            qualifiers = list(_qualifiers(kind))
            is_required = name in required
            if typing.NotRequired in qualifiers:
                is_required = False
            elif typing.Required in qualifiers:
                is_required = True
            yield Field(
                name=name,
                argument=name,
                key=name,
                form=self._form(name),
                is_required=is_required,
                annotations=self._annotations(name),
            )

    def named_tuple(self) -> Iterator[Field]:
        """Give the places of a named tuple."""
        defaults = self._cls._field_defaults
        for name in self._cls._fields:
            yield Field(
                name=name,
                argument=name,
                key=name,
                form=self._form(name),
                default=defaults.get(name, ABSENT),
                is_required=name not in defaults,
                annotations=self._annotations(name),
            )

    def struct(self) -> Iterator[Field]:
        """Give the fields of a Struct."""
        for each in msgspec.structs.fields(self._cls):
            if each.default is msgspec.UNSET and self._cls.__struct_config__.array_like:
                raise Refused("no place of an array can be unset; take None", each.name)
            default = each.default if each.default is not msgspec.NODEFAULT else ABSENT
            factory = None if each.default_factory is msgspec.NODEFAULT else each.default_factory
            yield Field(
                name=each.name,
                argument=each.name,
                key=each.encode_name,
                form=self._form(each.name),
                default=default,
                factory=factory,
                is_required=each.required,
                is_by_name=True,
                omitted=default if default is msgspec.UNSET else ABSENT,
                annotations=self._annotations(each.name),
            )


def _read_hints(cls: Any) -> dict[str, Any]:
    """Return the types of a class's fields, of which each may be written as a string.

    Raises:
        Refused: An annotation means nothing where the class is.
    """
    try:
        return typing_extensions.get_type_hints(cls, include_extras=True)
    except NameError as exc:
        name = str(exc.name)
        reason = f"{name} is not known here; define it at module level, outside `if TYPE_CHECKING`"
        raise Refused(reason, *_who_says(cls, name)) from exc
    except Exception as exc:  # an annotation may be any expression
        raise Refused(f"an annotation cannot be read: {exc}; write it without quotes") from exc


def _who_says(cls: Any, name: str) -> Iterator[str]:
    """Give the first field whose annotation names something."""
    for owner in getattr(cls, "__mro__", (cls,)):
        for field, kind in vars(owner).get("__annotations__", {}).items():
            said = getattr(kind, "__forward_arg__", kind)
            if re.search(rf"\b{re.escape(name)}\b", str(said)):
                yield field
                return


def _default(field: Any) -> tuple[Any, Callable[[], Any] | None]:
    """Return the default of an attribute and what makes it; neither, if only its class can."""
    default = field.default
    if isinstance(default, attrs.Factory):  # type: ignore[arg-type]  # a class, declared as a function
        return ABSENT, None if default.takes_self else default.factory
    factory = getattr(field, "default_factory", dataclasses.MISSING)
    if factory is not dataclasses.MISSING:
        return ABSENT, factory
    return (ABSENT if default in (attrs.NOTHING, dataclasses.MISSING) else default), None


def _qualifiers(kind: Any) -> Iterator[Any]:
    """Give what stands around the type of a key: Required, NotRequired, ReadOnly."""
    origin = typing.get_origin(kind)
    while origin in (
        typing.Required,
        typing.NotRequired,
        typing.Annotated,
        typing_extensions.ReadOnly,
        getattr(typing, "ReadOnly", typing_extensions.ReadOnly),
    ):
        yield origin
        kind = typing.get_args(kind)[0]
        origin = typing.get_origin(kind)


def _variables_by_owner(key: Any) -> Iterator[tuple[Any, dict[Any, Any]]]:
    """Give, for a class and each generic base of it, the arguments of its variables."""
    origin = typing.get_origin(key) or key
    parameters = getattr(origin, "__parameters__", ()) or getattr(origin, "__type_params__", ())
    arguments = typing.get_args(key)
    variables = dict(zip(parameters, arguments, strict=False))
    yield origin, variables
    for base in getattr(origin, "__orig_bases__", ()):
        inner = typing.get_args(base)
        if typing.get_origin(base) is typing.Generic or not isinstance(
            typing.get_origin(base) or base, type
        ):
            continue
        if inner:
            bound = tuple(_substitute(each, variables) for each in inner)
            base = typing.get_origin(base)[bound]  # noqa: PLW2901
        yield from _variables_by_owner(base)


def _substitute(kind: Any, variables: Mapping[Any, Any]) -> Any:
    parameters = getattr(kind, "__parameters__", ())
    if kind in variables:
        return variables[kind]
    if not parameters or not typing.get_args(kind):
        return kind
    return kind[tuple(variables.get(each, each) for each in parameters)]


def _description(cls: Any) -> str:
    """Return a class's docstring without its section of attributes, empty if it has none."""
    text = inspect.cleandoc(cls.__doc__ or "")
    # Dataclasses and named tuples are given their signature for a docstring.
    if text.startswith(f"{cls.__name__}(") or "__doc__" not in vars(cls):
        return ""
    return re.split(r"^(?:Attributes|Args):$", text, maxsplit=1, flags=re.MULTILINE)[0].strip()


def _attribute_docs(cls: Any) -> dict[str, str]:
    """Return what the docstrings of a class and its bases say of each attribute."""
    docs: dict[str, str] = {}
    for owner in reversed(getattr(cls, "__mro__", (cls,))):
        text = inspect.cleandoc(vars(owner).get("__doc__") or "")
        section = re.split(r"^Attributes:$", text, maxsplit=1, flags=re.MULTILINE)[1:]
        name = ""
        for line in section[0].splitlines() if section else ():
            if line and not line[0].isspace():
                break  # the next section
            if match := re.match(r" {2,4}(\w+)(?: \([^)]*\))?: (.*)", line):
                name, words = match.groups()
                docs[name] = words.strip()
            elif name and line.strip():
                docs[name] += f" {line.strip()}"
    return docs
