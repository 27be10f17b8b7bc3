"""Contracts: attrs classes on the Python side, JSON objects on the wire, one converter between.

A contract is an `attrs.frozen` class. Its attributes are snake_case; their wire keys are
camelCase, and nothing but this module knows that. Reading is strict (a string is no number,
a boolean no integer), ignores unknown keys and reports *every* problem with its path. An
attribute whose default is None is optional on the wire: left out when None (decision 0023).

Four verbs: `structure` makes a contract of JSON values and `unstructure` the reverse, as in cattrs;
`read` makes a contract of JSON text and `write` the reverse.

May go in: what a contract may hold, its wire form, its schema. May not: which contract an event or
a capability has (`alephscript.client`); reading JSON itself (`alephscript.protocol.json`).

Pure: no socket, no clock.
"""

from __future__ import annotations

import functools
import math
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, ClassVar, Generic, Literal, TypeVar, cast

import attrs
import cattrs
import msgspec
from cattrs import AttributeValidationNote, IterableValidationNote
from cattrs.cols import (
    homogenous_tuple_structure_factory,
    is_any_set,
    is_mapping,
    is_mutable_sequence,
    is_sequence,
    list_structure_factory,
    mapping_structure_factory,
)
from cattrs.fns import identity
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override

from alephscript.contracts import readers
from alephscript.errors import ContractError, DeclarationError
from alephscript.protocol.json import is_plain, is_shallow_utf8, parse_json, write_plain_json

__all__ = [
    "RequestFor",
    "is_contract",
    "json_schema",
    "prepare",
    "read",
    "read_reply",
    "reply_type",
    "structure",
    "unstructure",
    "wire_key",
    "write",
]

Reply = TypeVar("Reply", covariant=True)  # noqa: PLC0105 - read as RequestFor[Reply]
T = TypeVar("T")


class RequestFor(Generic[Reply]):
    """Base of typed requests: names the capability it asks and the type of the answer.

    ::

        @attrs.frozen
        class StepFIA(RequestFor[StepResult], capability="AAIA_STEP_FIA"):
            session_id: str
            fia_index: int

        step = await client.request(StepFIA(session_id=sid, fia_index=0))  # a StepResult

    Attributes:
        capability: Name of the capability, without ``GET_``.
    """

    __slots__ = ()
    capability: ClassVar[str]

    def __init_subclass__(cls, capability: str = "") -> None:
        super().__init_subclass__()
        # attrs builds slotted classes a second time, then without class keywords.
        if capability:
            cls.capability = capability
        elif not getattr(cls, "capability", ""):
            raise DeclarationError(
                f"{cls.__qualname__} does not say what it asks: "
                f'write `class {cls.__name__}(RequestFor[…], capability="…")`'
            )


def reply_type(cls: type[RequestFor[T]]) -> type[T]:
    """Return the type of the answer that a typed request declares.

    Raises:
        DeclarationError: `RequestFor` was subclassed without its ``[Reply]``.
    """
    known: type[T] | None = _reply_types.get(cls)  # each request asks: no `cast`, a call
    if known is not None:
        return known
    for owner in cls.__mro__:
        for base in owner.__dict__.get("__orig_bases__", ()):
            if typing.get_origin(base) is RequestFor:
                reply = _reply_types[cls] = typing.get_args(base)[0]
                return cast("type[T]", reply)
    raise DeclarationError(f"{cls.__qualname__} does not say its reply: subclass RequestFor[Reply]")


_reply_types: dict[type, Any] = {}
"""By request class: found once, since walking the bases takes longer than asking."""


def is_contract(cls: object) -> bool:
    """Return whether values of the class cross the wire through this module."""
    return isinstance(cls, type) and attrs.has(cls)


@functools.cache
def wire_key(attribute: str) -> str:
    """Return the wire's spelling of an attribute: ``session_id`` is ``sessionId`` there."""
    head, *rest = attribute.split("_")
    return head + "".join(word[:1].upper() + word[1:] for word in rest)


def unstructure(value: Any) -> Any:
    """Turn a contract, or anything made of contracts and JSON values, into JSON values.

    Raises:
        ContractError: A part of the value has no JSON form.
    """
    cls: Any = type(value)
    try:
        return _unstructure_hook(cls)(value)
    except Exception as exc:
        message = str(exc) if isinstance(exc, _NoJSONForm) else f"cannot be encoded: {exc!r}"
        raise ContractError(type(value).__name__, [{"path": "", "message": message}]) from exc


def write(value: Any) -> bytes:
    """Write a contract, or anything made of contracts and JSON values, as JSON text.

    Raises:
        ContractError: A part of the value has no JSON form.
        InvalidPayload: A text in the value has no UTF-8.
        PayloadTooLarge: The value is nested too deeply.
    """
    # Contracts are most of what is written: no call to see that one is no JSON value.
    is_json = type(value) in _JSON_TYPES and is_plain(value)
    return write_plain_json(value if is_json else unstructure(value))


_JSON_TYPES = frozenset({dict, list, tuple, str, int, float, bool, type(None), msgspec.Raw})


@functools.cache
def _unstructure_hook(cls: Any) -> Callable[[Any], Any]:
    return _converter().get_unstructure_hook(cls)


def structure(payload: Any, cls: type[T]) -> T:
    """Turn JSON values into a contract.

    Args:
        payload: The values.
        cls: The contract, or any type made of contracts and JSON types.

    Raises:
        ContractError: The values do not fit; every problem is listed.
    """
    try:
        return _converter().structure(payload, cls)
    except Exception as exc:  # noqa: BLE001 - validators of contracts may raise what they like
        name = getattr(cls, "__name__", str(cls))
        problems = [{**p, "path": p["path"].removeprefix(".")} for p in _problems(exc, "")]
        raise ContractError(name, problems) from None


def read(text: bytes | msgspec.Raw, cls: type[T]) -> T:
    """Read a contract from its JSON text, in one pass where that can be; else as `structure` does.

    Args:
        text: The text; a `msgspec.Raw` was checked for depth when it came.
        cls: The contract, or any type made of contracts and JSON types.

    Raises:
        ContractError: The text does not fit; every problem is listed.
        InvalidPayload: The text is no JSON.
        PayloadTooLarge: The text is nested too deeply.
    """
    kind: Any = cls  # as a plain object, for the cache: mypy takes no type[T] there
    read = _reader(kind)
    if read is not None and (isinstance(text, msgspec.Raw) or is_shallow_utf8(text)):
        try:
            value: T = read(text)
        except Exception:  # noqa: BLE001, S110 - the converter says what is wrong, if anything is
            pass
        else:
            return value
    return structure(parse_json(text), cls)


def read_reply(payload: bytes, cls: type[T]) -> T | None:
    """Read a reply from the JSON text of an acknowledgement, if that is a plain success.

    Args:
        payload: A JSON array, unchecked.
        cls: The contract of the reply.

    Returns:
        None if the acknowledgement is none, or has to be looked at more closely.
    """
    kind: Any = cls
    read = _reply_reader(kind)
    if read is None or not is_shallow_utf8(payload):
        return None
    try:
        value: T = read(payload)
    except Exception:  # noqa: BLE001 - the converter says what is wrong, if anything is
        return None
    return value


def prepare(cls: Any) -> None:
    """Compile the reading of a type ahead of its first use.

    Raises:
        Exception: The type has no JSON form; cattrs raises one of many classes.
    """
    _converter().get_structure_hook(cls)
    _reader(cls)


@functools.cache
def _reader(cls: Any) -> Callable[[bytes | msgspec.Raw], Any] | None:
    return readers.find_reader(cls, key_of=wire_key, structure=_converter().structure)


@functools.cache
def _reply_reader(cls: Any) -> Callable[[bytes], Any] | None:
    # The answer's ``success`` is a key of the mirror, so that a failure does not fit it.
    return readers.find_reader(
        cls,
        key_of=wire_key,
        structure=_converter().structure,
        besides={"success": Literal[True]},
        in_array=True,
    )


def json_schema(cls: Any) -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a contract as it stands on the wire.

    Classes that the contract refers to are under ``$defs``.
    """
    (schema,), components = msgspec.json.schema_components(
        [cls], ref_template="#/$defs/{name}", schema_hook=_schema_of
    )
    definitions = {name: _with_wire_keys(part) for name, part in components.items()}
    root = schema.get("$ref", "").removeprefix("#/$defs/")
    # A class that holds itself is still referred to from within, and stays a definition.
    if root and not any(_refers(part, schema["$ref"]) for part in definitions.values()):
        schema = definitions.pop(root)
    return {**schema, "$defs": definitions} if definitions else dict(schema)


class _Mismatch(ValueError):
    """A value of the wrong JSON type; its text is meant for the peer."""


class _NoJSONForm(TypeError):
    """A value that JSON cannot carry."""


def _json_type(value: Any) -> str:
    names: dict[type, str] = {dict: "object", list: "array", str: "string", bool: "boolean"}
    if value is None:
        return "null"
    return names.get(type(value), "number" if isinstance(value, int | float) else "no JSON value")


def _expect(kind: type, name: str) -> Callable[[Any, Any], Any]:
    def hook(value: Any, _: Any) -> Any:
        if type(value) is not kind:
            raise _Mismatch(f"expected {name}, got {_json_type(value)}")
        return value

    return hook


def _structure_int(value: Any, _: Any) -> int:
    # JavaScript has one number type: 3.0 is how some encoders write 3.
    if type(value) is float and value.is_integer():
        return int(value)
    if type(value) is not int:
        raise _Mismatch(f"expected an integer, got {_json_type(value)}")
    return value


def _structure_float(value: Any, _: Any) -> float:
    if type(value) not in (int, float) or not math.isfinite(value):
        raise _Mismatch(f"expected a number, got {_json_type(value)}")
    return float(value)


def _structure_enum(value: Any, cls: Any) -> Any:
    members = [member.value for member in cls]
    if type(value) is not str or value not in members:
        raise _Mismatch(f"expected one of {', '.join(members)}")
    return cls(value)


def _structure_datetime(value: Any, _: Any) -> datetime:
    if type(value) in (int, float):  # Date.now()
        try:
            return datetime.fromtimestamp(value / 1000, UTC)
        except (OverflowError, OSError, ValueError):
            raise _Mismatch("expected milliseconds since 1970") from None
    if type(value) is not str:
        raise _Mismatch(f"expected an ISO 8601 time, got {_json_type(value)}")
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise _Mismatch("expected an ISO 8601 time") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _unstructure_datetime(value: datetime) -> str:
    # As JavaScript's toISOString() spells it, so that both sides' logs compare.
    moment = value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _unstructure_float(value: float) -> float:
    if not math.isfinite(value):
        raise _NoJSONForm(f"{value} has no JSON form")
    return value


def _refuse(value: Any) -> Any:
    raise _NoJSONForm(f"a {type(value).__qualname__} has no JSON form")


def _structure_union(value: Any, union: Any) -> Any:
    """Read a plain union (``str | int``): the first member that takes the value."""
    members = typing.get_args(union)
    if value is None and type(None) in members:
        return None
    complaints: list[str] = []
    for member in members:
        if member is type(None):
            continue
        try:
            return _converter().structure(value, member)
        except Exception as exc:  # noqa: BLE001
            complaints += [p["message"] for p in _problems(exc, "")]
    raise _Mismatch(" or ".join(dict.fromkeys(complaints)))


def _is_plain_union(cls: Any) -> bool:
    members = [arg for arg in typing.get_args(cls) if arg is not type(None)]
    return typing.get_origin(cls) in (typing.Union, types.UnionType) and len(members) > 1


def _strict(kind: type, name: str, factory: Callable[..., Any]) -> Callable[..., Any]:
    """Refuse what merely iterates like the container: a string is no array of characters."""

    def strict_factory(cls: Any, conv: cattrs.Converter) -> Callable[[Any, Any], Any]:
        inner = factory(cls, conv)

        def hook(value: Any, _: Any) -> Any:
            if type(value) is not kind:
                raise _Mismatch(f"expected {name}, got {_json_type(value)}")
            return inner(value, cls)

        return hook

    return strict_factory


def _mapping_structure_factory(cls: Any, conv: cattrs.Converter) -> Callable[[Any, Any], Any]:
    if typing.get_args(cls) in ((), (str, Any)):
        return lambda value, _: value  # what JSON gave has no other keys
    return mapping_structure_factory(cls, conv)


def _structure_contract(cls: Any, conv: cattrs.Converter) -> Callable[[Any, Any], Any]:
    keys: Any = {a.name: override(rename=wire_key(a.name)) for a in _fields(cls)}
    return make_dict_structure_fn(cls, conv, **keys)


def _unstructure_contract(cls: Any, conv: cattrs.Converter) -> Callable[[Any], Any]:
    keys: Any = {
        a.name: override(rename=wire_key(a.name), omit_if_default=a.default is None)
        for a in _fields(cls)
    }
    return make_dict_unstructure_fn(cls, conv, **keys)


def _unless_plain(general: Callable[[Any], Callable[[Any], Any]], cls: Any) -> Callable[[Any], Any]:
    """Make a hook that leaves containers alone that are JSON already, as most are."""
    hook = general(cls)
    return lambda value: value if is_plain(value) else hook(value)


def _fields(cls: Any) -> tuple[Any, ...]:
    contract = typing.get_origin(cls) or cls
    return tuple(attrs.fields(attrs.resolve_types(contract)))


@functools.cache
def _converter() -> cattrs.Converter:
    conv = cattrs.Converter(unstructure_fallback_factory=lambda _: _refuse)
    conv.register_structure_hook(str, _expect(str, "a string"))
    conv.register_structure_hook(bool, _expect(bool, "a boolean"))
    conv.register_structure_hook(int, _structure_int)
    conv.register_structure_hook(float, _structure_float)
    conv.register_structure_hook(datetime, _structure_datetime)
    conv.register_structure_hook(StrEnum, _structure_enum)
    conv.register_structure_hook_func(_is_plain_union, _structure_union)
    for matches, kind, name, factory in (
        (is_sequence, list, "an array", homogenous_tuple_structure_factory),
        (is_mutable_sequence, list, "an array", list_structure_factory),
        (is_mapping, dict, "an object", _mapping_structure_factory),
        (_is_contract_type, dict, "an object", _structure_contract),
    ):
        conv.register_structure_hook_factory(matches, _strict(kind, name, factory))
    conv.register_unstructure_hook(datetime, _unstructure_datetime)
    conv.register_unstructure_hook(float, _unstructure_float)
    conv.register_unstructure_hook(StrEnum, lambda value: value.value)
    for plain in (str, int, bool, type(None)):
        conv.register_unstructure_hook(plain, identity)  # known to cattrs: it leaves the call out
    conv.register_unstructure_hook(bytes, _refuse)
    conv.register_unstructure_hook_func(is_any_set, _refuse)
    conv.register_unstructure_hook_factory(_is_contract_type, _unstructure_contract)
    for matches, general in (
        (is_mapping, conv.gen_unstructure_mapping),
        (is_mutable_sequence, conv.gen_unstructure_iterable),
    ):
        conv.register_unstructure_hook_factory(matches, functools.partial(_unless_plain, general))
    return conv


def _is_contract_type(cls: Any) -> bool:
    return is_contract(typing.get_origin(cls) or cls)


def _problems(exc: BaseException, path: str) -> Iterator[dict[str, str]]:
    """Give every problem in an exception of cattrs, outermost first."""
    if isinstance(exc, BaseExceptionGroup):
        for inner in exc.exceptions:
            yield from _problems(inner, path + _step(inner))
    elif isinstance(exc, KeyError):
        yield {"path": path, "message": "missing"}
    elif isinstance(exc, ValueError | TypeError) and exc.args:
        yield {"path": path, "message": str(exc)}
    else:
        yield {"path": path, "message": "not valid"}


def _step(exc: BaseException) -> str:
    for note in getattr(exc, "__notes__", ()):
        if isinstance(note, AttributeValidationNote):
            return f".{wire_key(note.name)}"
        if isinstance(note, IterableValidationNote):
            return f"[{note.index}]" if isinstance(note.index, int) else f".{note.index}"
    return ""


def _refers(schema: Any, target: str) -> bool:
    if isinstance(schema, dict):
        return schema.get("$ref") == target or any(_refers(v, target) for v in schema.values())
    return isinstance(schema, list) and any(_refers(each, target) for each in schema)


def _schema_of(cls: type) -> dict[str, Any]:
    raise DeclarationError(f"{cls.__qualname__} has no JSON form, a contract cannot hold it")


def _with_wire_keys(schema: Mapping[str, Any]) -> dict[str, Any]:
    renamed = dict(schema)
    if "properties" in renamed:
        renamed["properties"] = {wire_key(k): v for k, v in renamed["properties"].items()}
    if "required" in renamed:
        renamed["required"] = [wire_key(k) for k in renamed["required"]]
    return renamed
