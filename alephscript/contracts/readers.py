"""Contracts read straight from JSON text, as far as msgspec can compile that.

For a contract made of JSON's own types a `msgspec.Struct` with the wire's keys is compiled, its
mirror: msgspec fills the mirror in the pass that reads the text, and the contract is built of it.
Text that a mirror does not take, and classes that have none, are left to the converter
(`contracts`), which is as strict and says why: a mirror may refuse more than the converter, and
never takes more (decision 0022).

May go in: compiling mirrors. May not: rules that the converter does not have.

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

__all__ = ["Reader", "find_reader"]

Reader = Callable[[Any], Any]
"""Makes a value from JSON text, from a mirror, or from a field of one."""

_Parts = tuple[type[msgspec.Struct], str, dict[str, Any]]
"""A mirror, the source text that makes the contract of one called ``mirror``, and the values of the
names in that text."""


def find_reader(
    cls: Any,
    *,
    key_of: Callable[[str], str],
    structure: Callable[[Any, Any], Any],
    besides: Mapping[str, Any] = types.MappingProxyType({}),
    in_array: bool = False,
) -> Reader | None:
    """Compile what reads a contract from its JSON text.

    Args:
        cls: The contract.
        key_of: Gives the wire's spelling of an attribute.
        structure: The converter's, for parts that no mirror can hold.
        besides: Further keys that have to be there, and their types.
        in_array: Whether the text is that of an array which holds the contract alone.

    Returns:
        None if only the converter can read the class.
    """
    try:
        mirror, source, names = _Compiler(key_of, structure).parts(cls, besides)
    except _Unfit:
        return None
    kind: Any = tuple[mirror] if in_array else mirror  # type: ignore[valid-type]  # made just now
    names["read"] = msgspec.json.Decoder(kind).decode
    filled = "read(text)[0]" if in_array else "read(text)"
    # One function rather than one that calls another: each request is read so, and each reply. The
    # condition is never true; it is the form in which an expression gives a name.
    return _evaluate(f"lambda text: None if (mirror := {filled}) is None else {source}", names)


_PLAIN = (str, int, float, bool, Any)


def _evaluate(source: str, names: dict[str, Any]) -> Reader:
    # Nothing that a peer says gets into the text: it is made of names of attributes alone, which
    # are identifiers, as attrs and cattrs make the text of their methods.
    function: Reader = eval(source, names)  # noqa: S307
    return function


class _Unfit(Exception):
    """A class, or the type of a field, has no mirror: only the converter reads it."""


class _Compiler:
    """Compiles the mirror of one contract, and those of the contracts in its fields.

    A class that holds itself has no mirror: `_above` are the classes that are being compiled.
    """

    def __init__(self, key_of: Callable[[str], str], structure: Callable[[Any, Any], Any]) -> None:
        self._key_of = key_of
        self._structure = structure
        self._above: list[Any] = []

    def mirror(self, cls: Any) -> tuple[type[msgspec.Struct], Reader]:
        """Compile the mirror of a field's contract, and what makes the contract of one."""
        mirror, source, names = self.parts(cls, {})
        return mirror, _evaluate(f"lambda mirror: {source}", names)

    def parts(self, cls: Any, besides: Mapping[str, Any]) -> _Parts:
        if not isinstance(cls, type) or not attrs.has(cls) or cls in self._above:
            raise _Unfit
        self._above.append(cls)
        try:
            return self._compile(cls, besides)
        finally:
            self._above.pop()

    def _compile(self, cls: type, besides: Mapping[str, Any]) -> _Parts:
        """Compile a mirror, and one call of the class: ``cls(a=mirror.a, …)``.

        That call is made as source text and evaluated, because one that is written out takes a
        quarter less time than one with a dict of arguments that is filled in a loop. `names` are
        the values that the text refers to: the class, defaults, and what makes a field's value.
        """
        fields: list[Any] = list(besides.items())
        arguments: list[str] = []
        names: dict[str, Any] = {"cls": cls, "UNSET": UNSET}
        for each in attrs.fields(attrs.resolve_types(cls)):
            if not each.init:
                continue
            name, key = each.name, self._key_of(each.name)
            if key in besides:
                raise _Unfit
            kind, make = self._field(each.type)
            value = f"mirror.{name}"
            if make is not None:
                names[f"make_{name}"] = make
                value = f"make_{name}({value})"
            if each.default is attrs.NOTHING:
                fields.append((name, kind, msgspec.field(name=key)))
            else:
                fields.append((name, kind | UnsetType, msgspec.field(default=UNSET, name=key)))
                value = f"({self._default(each, names)} if mirror.{name} is UNSET else {value})"
            arguments.append(f"{each.alias}={value}")
        mirror = msgspec.defstruct(cls.__name__, fields, kw_only=True, gc=False)
        return mirror, f"cls({', '.join(arguments)})", names

    def _default(self, attribute: Any, names: dict[str, Any]) -> str:
        """Return the source text that makes an attribute's default."""
        name, default = f"default_{attribute.name}", attribute.default
        names[name] = getattr(default, "factory", default)
        if names[name] is default:
            return name
        if default.takes_self:
            raise _Unfit
        return f"{name}()"

    def _field(self, kind: Any) -> tuple[Any, Reader | None]:
        """Return a field's type in the mirror, and what makes its value; None to take it as is."""
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
            return self.mirror(kind)
        except _Unfit:
            return Any, lambda value: self._structure(value, kind)

    def _array(self, origin: type, kind: Any) -> tuple[Any, Reader | None]:
        inner: Any
        inner, make = self._field(kind)
        if origin is list:
            return list[inner], make and (lambda items: [make(each) for each in items])
        return tuple[inner, ...], make and (lambda items: tuple(map(make, items)))
