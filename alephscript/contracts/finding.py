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
from alephscript.contracts.classes import enum_form, literal_form, model_form
from alephscript.contracts.forms import constraints, containers, models, scalars, texts
from alephscript.contracts.forms.form import (
    Form,
    Later,
    Mismatch,
    json_type,
    with_article,
)
from alephscript.contracts.forms.given import ByHand, Custom, JSONSchema, Validator
from alephscript.contracts.forms.records import Record
from alephscript.contracts.joining import join_members, union_of
from alephscript.contracts.keys import NoKey, as_key
from alephscript.contracts.places import Place, refusal
from alephscript.errors import DeclarationError
from alephscript.protocol.json import MAX_DEPTH

__all__ = ["Strict", "find_form", "register_type", "write_any"]


@attrs.frozen
class Strict:
    """A type of which no unknown key is taken.

    Attributes:
        kind: The type.
    """

    kind: Any


_forms: dict[Any, Form] = {}
_custom: dict[type, Form] = {}


def find_form(kind: Any) -> Form:
    """Return the form of a type, found once.

    Raises:
        DeclarationError: The type has no JSON form.
    """
    try:
        known = _forms.get(kind)
    except (TypeError, RecursionError):  # metadata that cannot be hashed, a type without an end
        return _Finder().find_whole(kind)
    if known is None:
        known = _Finder().find_whole(kind)
        _forms[kind] = known
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
    form: Form = _ANY
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
    typing.LiteralString: scalars.String(),
}


class _AnyKey(scalars.String):
    """A key of any type that a key may have."""

    def write(self, value: Any) -> str:
        """As `Form.write`."""
        if type(value) is str:
            return super().write(value)
        try:
            return str(as_key(find_form(type(value))).write(value))
        except (DeclarationError, NoKey):
            raise Mismatch.here(f"expected a string as a key, got {json_type(value)}") from None


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
"""By type: the class that is made, those that are written, whether each item is there once."""

_MAPPINGS = (dict, collections.abc.Mapping, collections.abc.MutableMapping)

_INSTEAD: dict[type, str] = {
    object: "write typing.Any",
    **dict.fromkeys(
        (collections.OrderedDict, collections.defaultdict, collections.Counter), "take a dict"
    ),
    **dict.fromkeys(
        (
            collections.abc.Iterator,
            collections.abc.Generator,
            collections.abc.AsyncIterator,
            collections.abc.AsyncIterable,
            collections.abc.AsyncGenerator,
            range,
        ),
        "take a list",
    ),
    bytearray: "take bytes",
    memoryview: "take bytes",
}
"""By type that many try first: the way out."""


_DEEPEST = 2 * MAX_DEPTH
"""Steps of a path; a field that is a list takes two, and two levels of JSON."""


class _Finder:
    """Finds the form of one type, and of the types in it."""

    def __init__(self) -> None:
        self._pending: dict[Any, Later] = {}
        self._postponed: list[Callable[[], None]] = []

    def find_whole(self, kind: Any) -> Form:
        """Return the form of a type, and settle what had to wait for the forms in it."""
        try:
            form = self.find(kind, Place())
            while self._postponed:
                self._postponed.pop(0)()
            if any(each.found() is None for each in self._pending.values()):
                raise refusal(kind, Place(), "an alias stands for itself; say what it is")
            if isinstance(form, Later):
                form = form.found() or form
        except RecursionError:
            raise refusal(
                kind, Place(), "it holds itself with other arguments each time, without an end"
            ) from None
        return form

    def find(self, kind: Any, place: Place) -> Form:
        """Return the form of a type."""
        if len(place.path) > _DEEPEST:
            raise refusal(kind, place.cut(), f"nothing is nested deeper than {MAX_DEPTH} levels")
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
        if isinstance(kind, typing.TypeVar | typing_extensions.TypeVar) or kind is typing.Self:
            return self._variable(kind, place)
        if isinstance(kind, str | typing.ForwardRef):
            return self._forward(kind, place)
        if isinstance(kind, type) and not typing.get_args(kind):
            return self._class(kind, place)
        return self._special(kind, place)

    # What is no class

    def _variable(self, variable: Any, place: Place) -> Form:
        if variable in place.variables:
            # An argument may name a variable of the place outside, never itself.
            argument = place.variables[variable]
            return _ANY if argument is variable else self.find(argument, place)
        if variable is typing.Self:
            raise refusal(variable, place, "name the class")
        if variable.__constraints__:
            return self._union(variable.__constraints__, place)
        return _ANY if variable.__bound__ is None else self.find(variable.__bound__, place)

    def _forward(self, reference: Any, place: Place) -> Form:
        name = reference if isinstance(reference, str) else reference.__forward_arg__
        module = getattr(reference, "__forward_module__", None) or place.module
        scope = (
            vars(sys.modules[module]) if isinstance(module, str) and module in sys.modules else {}
        )
        if not isinstance(module, str):
            scope = vars(module)
        key = (name, place.module, place.is_strict)
        if key in self._pending:
            return self._pending[key].found() or self._pending[key]
        later = self._pending[key] = Later(name, place.module)
        try:
            # An annotation that was written as a string, in the namespace where that stands.
            kind = eval(name, dict(scope), {})  # noqa: S307
        except Exception:  # noqa: BLE001 - a name that is not there, or no expression
            raise refusal(
                name, place, "define it at module level, outside `if TYPE_CHECKING`"
            ) from None
        later.target = self.find(kind, place)
        return later.target

    def _special(self, kind: Any, place: Place) -> Form:
        origin, arguments = typing.get_origin(kind), typing.get_args(kind)
        if isinstance(kind, typing.NewType):
            return self.find(kind.__supertype__, place)
        if isinstance(kind, _ALIASES):
            return self._alias(kind, kind, place)
        if isinstance(origin, _ALIASES):
            return self._alias(_concrete(kind, place.variables), origin, place)
        if origin is typing.Annotated:
            return self._annotated(kind, place)
        if origin in (typing.Union, types.UnionType):
            return self._union(arguments, place)
        if origin is typing.Literal:
            return literal_form(kind, place)
        if origin in (typing.Final, typing.ClassVar, *_QUALIFIERS):
            return self.find(arguments[0], place)
        return self._generic(kind, origin, arguments, place)

    def _generic(self, kind: Any, origin: Any, arguments: tuple[Any, ...], place: Place) -> Form:
        if origin is tuple:
            return self._tuple(arguments, place)
        if origin in _CONTAINERS or origin in _MAPPINGS:
            return self._container(origin, arguments, place)
        if isinstance(origin, type):
            return self._class(origin, place, kind)
        raise refusal(kind, place)

    def _alias(self, kind: Any, alias: Any, place: Place) -> Form:
        key = (kind, place.is_strict)
        if key in self._pending:
            return self._pending[key].found() or self._pending[key]
        module = getattr(alias, "__module__", None) or place.module
        later = self._pending[key] = Later(fields.name_of(kind), module)
        arguments = typing.get_args(kind)
        variables = dict(zip(alias.__type_params__, arguments, strict=False))
        inner = attrs.evolve(place, variables=variables, module=module)
        later.target = self.find(alias.__value__, inner)
        return later.target

    def _annotated(self, kind: Any, place: Place) -> Form:
        inner = self.find(kind.__origin__, place)
        conditions: list[constraints.Constraint] = []
        annotations: dict[str, Any] = {}
        for each in kind.__metadata__:
            try:
                conditions += constraints.constraints_of(each)
            except ValueError as exc:
                raise refusal(kind, place, f"leave {each!r} out: {exc}") from None
            annotations |= constraints.annotations_of(each)
        if not conditions and not annotations:
            return inner
        return constraints.Constrained(inner, tuple(conditions), annotations)

    def _union(self, members: tuple[Any, ...], place: Place) -> Form:
        # UNSET is absent, which is no value.
        forms = [self.find(each, place) for each in members if each is not msgspec.UnsetType]
        if not any(isinstance(each, Later) for each in forms):
            return join_members(members, forms, place)
        later = Later()

        def settle() -> None:
            found = [each.found() if isinstance(each, Later) else each for each in forms]
            whole = [each for each in found if each is not None]
            if len(whole) < len(found):
                raise refusal(union_of(members), place, "it is a member of itself; leave that out")
            later.target = join_members(members, whole, place)

        self._postponed.append(settle)
        return later

    def _tuple(self, arguments: tuple[Any, ...], place: Place) -> Form:
        if arguments[1:] == (...,):
            items = self.find(arguments[0], place.step("[]"))
            return containers.Array(tuple, (tuple,), items, is_unique=False)
        return containers.Row(
            [self.find(each, place.step(f"[{n}]")) for n, each in enumerate(arguments)]
        )

    def _container(self, origin: Any, arguments: tuple[Any, ...], place: Place) -> Form:
        if origin in _MAPPINGS:
            key_type, value_type = arguments or (str, Any)
            try:
                keys = as_key(self.find(key_type, place.step("{}")))
            except NoKey:
                raise refusal(
                    key_type, place, "keys are str, int, UUID or an enum of str or int"
                ) from None
            return containers.Object(keys, self.find(value_type, place.step("{}")))
        made, written, is_unique = _CONTAINERS[origin]
        items = self.find(arguments[0], place.step("[]")) if arguments else _ANY
        if is_unique and items is _ANY:
            items = scalars.AnyScalar(write_any)
        if is_unique:
            self._check_hashable(items, arguments[0] if arguments else Any, place)
        return containers.Array(made, written, items, is_unique=is_unique)

    def _check_hashable(self, items: Form, kind: Any, place: Place) -> None:
        found = items.found() if isinstance(items, Later) else items
        if found is None:  # a class that holds a set of itself
            self._postponed.append(lambda: self._check_hashable(items, kind, place))
        elif not found.is_hashable:
            raise refusal(kind, place, "what stands in a set has to be hashable; take a list")

    # Classes

    def _class(self, cls: Any, place: Place, alias: Any = None) -> Form:
        for base in cls.__mro__:
            if base in _custom:
                return _custom[base]
        if cls in texts.TEXTS:
            return texts.TEXTS[cls]
        if cls is tuple:
            return self._tuple((Any, ...), place)
        if cls in _CONTAINERS or cls in _MAPPINGS:
            return self._container(cls, (), place)
        if issubclass(cls, enum.Enum):
            return enum_form(cls, place)
        if issubclass(cls, pathlib.PurePath):
            return texts.FilePath(cls)
        if models.is_model(cls) and not dataclasses.is_dataclass(cls):
            return model_form(alias or cls, place)
        if fields.is_record(cls):
            return self._record(cls, alias or cls, place)
        raise refusal(alias or cls, place, _INSTEAD.get(cls, ""))

    def _record(self, cls: Any, key: Any, place: Place) -> Form:
        pending = (key if not place.variables else _concrete(key, place.variables), place.is_strict)
        if pending in self._pending:
            return self._pending[pending].found() or self._pending[pending]
        later = self._pending[pending] = Later()
        name = fields.name_of(pending[0])

        def find(kind: Any, field: str, module: str, variables: Mapping[Any, Any]) -> Form:
            inner = Place((*(place.path or (name,)), field), module, variables, place.is_strict)
            return self.find(kind, inner)

        try:
            shape = fields.shape_of(cls, pending[0], find, is_strict=place.is_strict)
        except fields.Refused as exc:
            inner = Place((*(place.path or (name,)), *exc.field))
            raise DeclarationError(f"{inner}: {exc.reason}") from exc.__cause__
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
