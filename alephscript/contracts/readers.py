"""Contracts read straight from JSON text, as far as msgspec can compile that.

For a contract made of JSON's own types a `msgspec.Struct` with the wire's keys is compiled, its
mirror: msgspec fills it in the pass that reads the text, and the contract is built of it. Whatever
a mirror does not take, or a class has no mirror for, is left to the converter (`contracts`), which
is as strict and says why: a mirror may refuse more than it, and never takes more.

Pure: no socket, no clock.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

import attrs
import msgspec
from msgspec import UNSET, UnsetType

__all__ = ["Reader", "reader"]

Reader = Callable[[Any], Any]
"""Makes a value of what a mirror holds."""


def reader(
    cls: Any,
    *,
    key_of: Callable[[str], str],
    structure: Callable[[Any, Any], Any],
    besides: Mapping[str, Any] = types.MappingProxyType({}),
) -> tuple[type[msgspec.Struct], Reader] | None:
    """A contract's mirror, and what makes the contract of it.

    Args:
        cls: The contract.
        key_of: The wire's spelling of an attribute.
        structure: The converter's, for parts that no mirror can hold.
        besides: Further keys that have to be there, and their types.

    Returns:
        None if only the converter can read it.
    """
    try:
        return _Compiler(key_of, structure).mirror(cls, besides)
    except _Unfit:
        return None


_PLAIN = (str, int, float, bool, Any)


class _Unfit(Exception):
    """Only the converter reads it."""


class _Compiler:
    def __init__(self, key_of: Callable[[str], str], structure: Callable[[Any, Any], Any]) -> None:
        self._key_of = key_of
        self._structure = structure
        self._above: list[Any] = []

    def mirror(self, cls: Any, besides: Mapping[str, Any]) -> tuple[type[msgspec.Struct], Reader]:
        if not isinstance(cls, type) or not attrs.has(cls) or cls in self._above:
            raise _Unfit
        self._above.append(cls)
        try:
            return self._compiled(cls, besides)
        finally:
            self._above.pop()

    def _compiled(
        self, cls: type, besides: Mapping[str, Any]
    ) -> tuple[type[msgspec.Struct], Reader]:
        fields: list[Any] = list(besides.items())
        arguments: list[str] = []
        known: dict[str, Any] = {"cls": cls, "UNSET": UNSET}
        for each in attrs.fields(attrs.resolve_types(cls)):
            if not each.init:
                continue
            name, key = each.name, self._key_of(each.name)
            if key in besides:
                raise _Unfit
            kind, make = self._field(each.type)
            given = f"mirror.{name}"
            if make is not None:
                known[f"make_{name}"] = make
                given = f"make_{name}({given})"
            if each.default is attrs.NOTHING:
                fields.append((name, kind, msgspec.field(name=key)))
            else:
                fields.append((name, kind | UnsetType, msgspec.field(default=UNSET, name=key)))
                given = f"({self._default(each, known)} if mirror.{name} is UNSET else {given})"
            arguments.append(f"{each.alias}={given}")
        mirror = msgspec.defstruct(cls.__name__, fields, kw_only=True, gc=False)
        # The text is made of names of attributes alone, as attrs and cattrs make theirs.
        return mirror, eval(f"lambda mirror: cls({', '.join(arguments)})", known)  # noqa: S307

    def _default(self, attribute: Any, known: dict[str, Any]) -> str:
        """The text that makes an attribute's default."""
        name, default = f"default_{attribute.name}", attribute.default
        known[name] = getattr(default, "factory", default)
        if known[name] is default:
            return name
        if default.takes_self:
            raise _Unfit
        return f"{name}()"

    def _field(self, kind: Any) -> tuple[Any, Reader | None]:
        """The mirror's type of a field, and what makes the field's value of it; None: it is it."""
        if kind in _PLAIN or (isinstance(kind, type) and issubclass(kind, StrEnum)):
            return kind, None
        origin, arguments = typing.get_origin(kind), typing.get_args(kind)
        if kind is dict or (origin is dict and arguments == (str, Any)):
            return dict[str, Any], None
        if origin is list or (origin is tuple and arguments[1:] == (...,)):
            return self._array(origin, arguments[0])
        if origin in (typing.Union, types.UnionType) and arguments[1:] == (type(None),):
            inner, make = self._field(arguments[0])
            return inner | None, make and (lambda value: None if value is None else make(value))
        try:
            return self.mirror(kind, {})
        except _Unfit:
            return Any, lambda value: self._structure(value, kind)

    def _array(self, origin: type, kind: Any) -> tuple[Any, Reader | None]:
        inner: Any
        inner, make = self._field(kind)
        if origin is list:
            return list[inner], make and (lambda items: [make(each) for each in items])
        return tuple[inner, ...], make and (lambda items: tuple(map(make, items)))
