"""Finding the form of a type: one dispatch over everything that an annotation may be.

A type that has no form is refused with the path of the field, the type, and the way out.

May go in: which form a type has. May not: what a form does (`forms`), the fields of a class
(`fields`).

Pure: no socket, no clock.
"""

from __future__ import annotations

import collections
import collections.abc
import contextlib
import dataclasses
import enum
import pathlib
import sys
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any

import attrs
import msgspec
import typing_extensions

from alephscript.contracts import fields
from alephscript.contracts.forms import choices, constraints, containers, models, scalars, texts
from alephscript.contracts.forms.form import Form, Later, Mismatch, json_type, with_article
from alephscript.contracts.forms.given import ByHand, Custom, JSONSchema, Validator
from alephscript.contracts.forms.records import Record
from alephscript.contracts.forms.unions import Ambiguous, Union, join
from alephscript.errors import DeclarationError

__all__ = ["Strict", "find_form", "register_type", "write_any"]


@attrs.frozen
class Strict:
    """A type of which no unknown key is taken.

    Attributes:
        kind: The type.
    """

    kind: Any


@attrs.frozen
class _Place:
    """Where a type stands.

    Attributes:
        path: Names of the class and of the fields that lead there.
        module: Module whose names a forward reference may use.
        variables: Arguments of the generic classes around it.
        is_strict: Whether unknown keys are refused.
    """

    path: tuple[str, ...] = ()
    module: str = ""
    variables: Mapping[Any, Any] = attrs.field(factory=dict, eq=False)
    is_strict: bool = False

    def step(self, name: str) -> _Place:
        return attrs.evolve(self, path=(*self.path, name))


_forms: dict[Any, Form] = {}
_custom: dict[type, Form] = {}


def find_form(kind: Any) -> Form:
    """Return the form of a type, found once.

    Raises:
        DeclarationError: The type has no JSON form.
    """
    try:
        known = _forms.get(kind)
    except TypeError:  # metadata that cannot be hashed
        return _Finder().find(kind, _Place())
    if known is None:
        known = _forms[kind] = _Finder().find(kind, _Place())
    return known


def register_type(
    kind: type,
    /,
    *,
    encode: Callable[[Any], Any],
    decode: Callable[[Any], Any],
    schema: Mapping[str, Any],
) -> None:
    """Give a type of an application its form on the wire.

    Register before the first class is made that uses the type.

    Args:
        kind: The type. Its subclasses are written by it, too.
        encode: Makes JSON values of a value.
        decode: Makes a value of JSON values that the schema takes. A ValueError says, in its
            text, why a value is not taken.
        schema: The JSON Schema (2020-12) of the JSON values; checked on both sides.

    Raises:
        DeclarationError: The type is none, the schema is none, or the type has a form of its own.
    """
    if not isinstance(kind, type):
        raise DeclarationError(f"{kind!r} is no class; register_type takes one")
    if kind in scalars_by_type or kind in texts.TEXTS or kind in _CONTAINERS:
        raise DeclarationError(
            f"{kind.__qualname__} has a form already; register a class of your own"
        )
    try:
        validator = Validator(schema)
    except ValueError as exc:
        raise DeclarationError(f"the schema of {kind.__qualname__} is {exc}") from None
    _forms.clear()  # of classes that were refused, or would be read otherwise
    _custom[kind] = Custom(kind, encode, decode, validator, _ANY)


def write_any(value: Any) -> Any:
    """Make JSON values of a value, by its own type.

    Raises:
        Mismatch: A part of the value has no JSON form.
    """
    kind = type(value)
    if kind is float:
        return scalars_by_type[float].write(value)
    if kind is str:
        return value if value.isascii() else scalars_by_type[str].write(value)
    if kind in _AS_IS:
        return value
    if isinstance(value, collections.abc.Mapping):
        return containers.Object(_AnyKey(), _ANY).write(value)
    if kind in (list, tuple):
        return containers.collect(enumerate(value), lambda _, item: write_any(item))
    if isinstance(value, str | int | float) and not isinstance(value, enum.Enum):
        base = next(each for each in (bool, str, int, float) if isinstance(value, each))
        return scalars_by_type[base].write(value)
    form = _ANY
    if kind not in _DECLARED:
        with contextlib.suppress(DeclarationError):
            form = find_form(kind)
    if form is _ANY:
        raise Mismatch.here(f"{with_article(kind.__qualname__)} has no JSON form")
    return form.write(value)


_DECLARED = (bytes, set, frozenset, collections.deque)
"""Types that would come back as others, where no declaration says what they are."""

_AS_IS = (int, bool, type(None), msgspec.Raw)

_ANY = scalars.AnyJSON(write_any)

scalars_by_type: dict[Any, Form] = {
    str: scalars.String(),
    int: scalars.Integer(),
    float: scalars.Number(),
    bool: scalars.Boolean(),
    type(None): scalars.Null(),
    None: scalars.Null(),
    Any: _ANY,
}


class _AnyKey(scalars.String):
    """A key of any type that a key may have."""

    def write(self, value: Any) -> str:
        """As `Form.write`."""
        if type(value) is str:
            return super().write(value)
        try:
            return str(_as_key(find_form(type(value))).write(value))
        except (DeclarationError, _NoKey):
            raise Mismatch.here(f"expected a string as a key, got {json_type(value)}") from None


class _NoKey(Exception):
    """A form cannot be that of a key."""


def _as_key(form: Form) -> Form:
    """Return the form that a type has as a key.

    Raises:
        _NoKey: Its values would not be told apart as keys.
    """
    if type(form) is scalars.Integer:
        return containers.IntegerKey()
    if isinstance(form, texts.Identifier):
        return texts.Identifier(is_key=True)
    if isinstance(form, choices.Choices):
        if form.kinds == {"string"}:
            return form
        if form.kinds == {"number"} and all(type(wire) is int for wire in form.wire):
            return choices.Choices([(value, str(wire)) for value, wire in form.pairs])
    if isinstance(form, constraints.Constrained) and type(form.inner) is scalars.String:
        return form
    if type(form) is scalars.String or type(form) in (texts.Date, texts.FilePath):
        return form
    raise _NoKey


_CONTAINERS: dict[Any, tuple[Any, tuple[type, ...], bool]] = {
    list: (list, (list,), False),
    collections.abc.Sequence: (list, (collections.abc.Sequence,), False),
    collections.abc.MutableSequence: (list, (collections.abc.MutableSequence,), False),
    collections.abc.Collection: (list, (collections.abc.Collection,), False),
    collections.abc.Iterable: (list, (list, tuple, set, frozenset, collections.deque), False),
    collections.deque: (collections.deque, (collections.deque,), False),
    set: (set, (set,), True),
    frozenset: (frozenset, (frozenset,), True),
    collections.abc.Set: (frozenset, (collections.abc.Set,), True),
    collections.abc.MutableSet: (set, (collections.abc.MutableSet,), True),
}
"""By type: the class that is made, the classes that are written, whether each item is there once."""

_MAPPINGS = (dict, collections.abc.Mapping, collections.abc.MutableMapping)


class _Finder:
    """Finds the form of one type, and of the types in it."""

    def __init__(self) -> None:
        self._pending: dict[Any, Later] = {}

    def find(self, kind: Any, place: _Place) -> Form:
        """Return the form of a type."""
        if isinstance(kind, Strict):
            return self.find(kind.kind, attrs.evolve(place, is_strict=True))
        if isinstance(kind, JSONSchema):
            try:
                return ByHand(Validator(dict(kind.schema)), _ANY)
            except ValueError as exc:
                raise DeclarationError(f"{'.'.join(place.path) or 'the schema'}: {exc}") from None
        try:
            plain = scalars_by_type.get(kind)
        except TypeError:
            plain = None
        if plain is not None:
            return plain
        if isinstance(kind, typing.TypeVar | typing_extensions.TypeVar):
            return self._variable(kind, place)
        if isinstance(kind, str | typing.ForwardRef):
            return self._forward(kind, place)
        if isinstance(kind, type) and not typing.get_args(kind):
            return self._class(kind, place)
        return self._special(kind, place)

    # What is no class

    def _variable(self, variable: Any, place: _Place) -> Form:
        if variable in place.variables:
            # An argument may name a variable of the place outside, never itself.
            argument = place.variables[variable]
            return _ANY if argument is variable else self.find(argument, place)
        if variable.__constraints__:
            return self._union(variable.__constraints__, place)
        return _ANY if variable.__bound__ is None else self.find(variable.__bound__, place)

    def _forward(self, reference: Any, place: _Place) -> Form:
        name = reference if isinstance(reference, str) else reference.__forward_arg__
        module = getattr(reference, "__forward_module__", None) or place.module
        scope = (
            vars(sys.modules[module]) if isinstance(module, str) and module in sys.modules else {}
        )
        if not isinstance(module, str):
            scope = vars(module)
        key = (name, place.module)
        if key in self._pending:
            return self._pending[key]
        later = self._pending[key] = Later()
        try:
            # An annotation that was written as a string, in the namespace where that stands.
            kind = eval(name, dict(scope), {})  # noqa: S307
        except Exception:  # noqa: BLE001 - a name that is not there, or no expression
            raise _refusal(
                name, place, "define it at module level, outside `if TYPE_CHECKING`"
            ) from None
        later.target = self.find(kind, place)
        return later.target

    def _special(self, kind: Any, place: _Place) -> Form:
        origin, arguments = typing.get_origin(kind), typing.get_args(kind)
        if isinstance(kind, typing.NewType):
            return self.find(kind.__supertype__, place)
        if isinstance(kind, _ALIASES):
            return self._alias(kind, kind, {}, place)
        if isinstance(origin, _ALIASES):
            return self._alias(
                kind, origin, dict(zip(origin.__type_params__, arguments, strict=False)), place
            )
        if origin is typing.Annotated:
            return self._annotated(kind, place)
        if origin in (typing.Union, types.UnionType):
            return self._union(arguments, place)
        if origin is typing.Literal:
            return self._literal(kind, arguments, place)
        if origin in (typing.Final, typing.ClassVar, *_QUALIFIERS):
            return self.find(arguments[0], place)
        if origin is tuple:
            return self._tuple(arguments, place)
        if origin in _CONTAINERS or origin in _MAPPINGS:
            return self._container(origin, arguments, place)
        if isinstance(origin, type):
            return self._class(origin, place, kind)
        raise _refusal(kind, place)

    def _alias(self, key: Any, alias: Any, variables: dict[Any, Any], place: _Place) -> Form:
        key = (key, place.is_strict)
        if key in self._pending:
            return self._pending[key]
        later = self._pending[key] = Later()
        module = getattr(alias, "__module__", None) or place.module
        inner = attrs.evolve(place, variables={**place.variables, **variables}, module=module)
        later.target = self.find(alias.__value__, inner)
        return later.target

    def _annotated(self, kind: Any, place: _Place) -> Form:
        inner = self.find(kind.__origin__, place)
        conditions: list[constraints.Constraint] = []
        annotations: dict[str, Any] = {}
        for each in kind.__metadata__:
            try:
                conditions += constraints.constraints_of(each)
            except ValueError as exc:
                raise _refusal(kind, place, f"leave {each!r} out: {exc}") from None
            annotations |= constraints.annotations_of(each)
        if not conditions and not annotations:
            return inner
        return constraints.Constrained(inner, tuple(conditions), annotations)

    def _literal(self, kind: Any, values: tuple[Any, ...], place: _Place) -> Form:
        pairs = []
        for value in values:
            wire = value.value if isinstance(value, enum.Enum) else value
            if type(wire) not in choices.SCALARS:
                raise _refusal(
                    kind, place, "take a Literal of str, int, bool, None or an enum's members"
                )
            pairs.append((value, wire))
        return choices.Choices(pairs)

    def _union(self, members: tuple[Any, ...], place: _Place) -> Form:
        forms: list[Form] = []
        for member in members:
            if member is msgspec.UnsetType:
                continue  # absent, which is no value
            form = self.find(member, place)
            if form is _ANY:
                return _ANY
            inner = form.members if isinstance(form, Union) else (form,)
            forms += [each for each in inner if each not in forms]
        types_ = [type(each) for each in forms]
        if scalars.Integer in types_ and scalars.Number in types_:
            plain = (scalars.Integer, scalars.Number)
            forms = [scalars.Numeric(), *(each for each in forms if type(each) not in plain)]
        if scalars.String in types_:
            forms = [each for each in forms if not _is_literal_of(each, str)]
        if scalars.Integer in types_ and scalars.Number not in types_:
            forms = [each for each in forms if not _is_literal_of(each, int)]
        try:
            return join(forms)
        except Ambiguous as exc:
            names = " and ".join(_name(_form_name(forms[n])) for n in exc.args)
            raise _refusal(
                typing.Union[members],  # noqa: UP007 - made of a tuple
                place,
                f'no value tells {names} apart: give each a field `kind: Literal["…"]` of its own, '
                "or require in each what the other does not have",
            ) from None

    def _tuple(self, arguments: tuple[Any, ...], place: _Place) -> Form:
        if not arguments:
            arguments = (Any, ...)
        if arguments[1:] == (...,):
            items = self.find(arguments[0], place.step("[]"))
            return containers.Array(tuple, (tuple,), items, is_unique=False)
        if arguments == ((),):
            arguments = ()
        return containers.Row(
            [self.find(each, place.step(f"[{n}]")) for n, each in enumerate(arguments)]
        )

    def _container(self, origin: Any, arguments: tuple[Any, ...], place: _Place) -> Form:
        if origin in _MAPPINGS:
            key_type, value_type = arguments or (str, Any)
            try:
                keys = _as_key(self.find(key_type, place.step("{}")))
            except _NoKey:
                raise _refusal(
                    key_type, place, "keys are str, int, UUID or an enum of str or int"
                ) from None
            return containers.Object(keys, self.find(value_type, place.step("{}")))
        made, written, is_unique = _CONTAINERS[origin]
        items = self.find(arguments[0], place.step("[]")) if arguments else _ANY
        if is_unique and items is _ANY:
            items = scalars.AnyScalar(write_any)
        if is_unique and not items.is_hashable:
            raise _refusal(
                arguments[0], place, "what stands in a set has to be hashable; take a list"
            )
        return containers.Array(made, written, items, is_unique=is_unique)

    # Classes

    def _class(self, cls: Any, place: _Place, alias: Any = None) -> Form:
        for base in cls.__mro__:
            if base in _custom:
                return _custom[base]
        if cls in texts.TEXTS:
            return texts.TEXTS[cls]
        if cls is tuple:
            return self._tuple((), place)
        if cls in _CONTAINERS or cls in _MAPPINGS:
            return self._container(cls, (), place)
        if issubclass(cls, enum.Flag):
            return self._flag(cls, place)
        if issubclass(cls, enum.Enum):
            return self._enum(cls, place)
        if issubclass(cls, pathlib.PurePath):
            return texts.FilePath(cls)
        if models.is_model(cls) and not dataclasses.is_dataclass(cls):
            return self._model(alias or cls, place)
        if fields.is_record(cls):
            return self._record(cls, alias or cls, place)
        raise _refusal(alias or cls, place, "write typing.Any" if cls is object else "")

    def _flag(self, cls: type[enum.Flag], place: _Place) -> Form:
        if not cls.__members__:
            raise _refusal(cls, place, "give the flag members")
        bits = choices.Bits(cls)
        if bits.bits > _MOST_BITS:
            raise _refusal(cls, place, "give its members the bits 1, 2, 4 … without a gap")
        return bits

    def _enum(self, cls: type[enum.Enum], place: _Place) -> Form:
        members = list(cls)
        if not members:
            raise _refusal(cls, place, "give the enum members")
        if any(type(each.value) not in choices.SCALARS for each in members):
            raise _refusal(cls, place, "give its members values of str, int, float or bool")
        if any(each.value != each.value for each in members):
            raise _refusal(cls, place, "NaN has no JSON form")
        return choices.Choices([(each, each.value) for each in members], cls)

    def _model(self, cls: Any, place: _Place) -> Form:
        try:
            return models.Model(cls)
        except Exception as exc:
            raise _refusal(cls, place, f"pydantic has no schema of it: {exc!s:.200}") from exc

    def _record(self, cls: Any, key: Any, place: _Place) -> Form:
        pending = (key if not place.variables else _concrete(key, place.variables), place.is_strict)
        if pending in self._pending:
            return self._pending[pending]
        later = self._pending[pending] = Later()
        name = fields.name_of(pending[0])

        def find(kind: Any, field: str, module: str, variables: Mapping[Any, Any]) -> Form:
            inner = _Place((*(place.path or (name,)), field), module, variables, place.is_strict)
            return self.find(kind, inner)

        try:
            shape = fields.shape_of(cls, pending[0], find, is_strict=place.is_strict)
        except NameError as exc:
            raise _refusal(
                exc.name, place.step(name), "define it at module level, outside `if TYPE_CHECKING`"
            ) from exc
        except fields.Refused as exc:
            path = place.path or (name,)
            raise DeclarationError(f"{'.'.join(path)}: {exc}") from None
        later.target = Record(shape, write_any)
        return later.target


_ALIASES: tuple[Any, ...] = tuple(
    {
        typing_extensions.TypeAliasType,
        getattr(typing, "TypeAliasType", typing_extensions.TypeAliasType),
    }
)
_QUALIFIERS = (
    typing.Required,
    typing.NotRequired,
    typing_extensions.ReadOnly,
    getattr(typing, "ReadOnly", typing_extensions.ReadOnly),
    dataclasses.InitVar,
)
_MOST_BITS = 8
"""Bits of a flag whose sums a schema lists."""


def _concrete(key: Any, variables: Mapping[Any, Any]) -> Any:
    """Return a class with the arguments that its variables have where it stands."""
    parameters = getattr(key, "__parameters__", ())
    if not parameters or not typing.get_args(key):
        return key
    arguments = tuple(variables.get(each, each) for each in parameters)
    try:
        return key[arguments]
    except TypeError:
        return key


def _is_literal_of(form: Form, kind: type) -> bool:
    return (
        isinstance(form, choices.Choices)
        and form.cls is None
        and all(type(w) is kind for w in form.wire)
    )


def _form_name(form: Form) -> Any:
    if isinstance(form, Record):
        return form.shape.name
    if isinstance(form, choices.Choices) and form.cls is not None:
        return form.cls
    return form.expected if isinstance(form, texts.Text) else type(form).__name__.lower()


def _name(kind: Any) -> str:
    return kind.__qualname__ if isinstance(kind, type) else str(kind)


def _refusal(kind: Any, place: _Place, advice: str = "") -> DeclarationError:
    where = f"{'.'.join(place.path)}: " if place.path else ""
    name = _name(kind)
    advice = advice or (
        f"take an attrs class, a dataclass, or give it a form by alephscript.register_type({name}, …)"
    )
    return DeclarationError(
        f"{where.replace('.[', '[').replace('.{', '{')}{name} has no JSON form; {advice}"
    )
