"""Contracts: Python types on one side, JSON on the wire, one description of each between.

A contract is a class with named fields: an attrs class, a dataclass, a TypedDict, a NamedTuple, a
`msgspec.Struct`, or a model of pydantic. Its schema, its reading and its writing come from one form
(`alephscript.contracts.forms`), so that the schema says what is taken, and nothing else. Reading is
strict (a string is no number, a boolean no integer), ignores unknown keys and reports *every*
problem with its path. An attribute whose default is None is optional on the wire: left out when
None (decision 0023).

Four verbs: `structure` makes a contract of JSON values and `unstructure` the reverse; `read` makes
a contract of JSON text and `write` the reverse.

May go in: what crosses the wire, and how. May not: which contract an event or a capability has
(`alephscript.client`); reading JSON itself (`alephscript.protocol.json`).

Pure: no socket, no clock.
"""

from __future__ import annotations

from typing import Any, TypeVar, cast

import msgspec

from alephscript.contracts import replies
from alephscript.contracts.fields import wire_key
from alephscript.contracts.finding import Strict, find_form, register_type
from alephscript.contracts.forms.constraints import Secret
from alephscript.contracts.forms.form import Definitions, Form, Mismatch, Schema
from alephscript.contracts.forms.given import JSONSchema
from alephscript.contracts.problems import contract_error
from alephscript.contracts.requests import RequestFor, find_reply_type, reply_type
from alephscript.contracts.writers import Writer, compile_writer
from alephscript.errors import DeclarationError, InvalidPayload
from alephscript.protocol.json import parse_json
from alephscript.protocol.long_strings import LARGE, Habit, write_long_strings
from alephscript.protocol.wire import is_plain, is_shallow_utf8, write_plain_json

__all__ = [
    "Definitions",
    "JSONSchema",
    "RequestFor",
    "Secret",
    "Strict",
    "find_reply_type",
    "json_schema",
    "prepare",
    "read",
    "read_nothing",
    "read_reply",
    "register_type",
    "reply_type",
    "structure",
    "structure_reply",
    "unstructure",
    "wire_key",
    "write",
    "write_reply",
]

T = TypeVar("T")


def unstructure(value: Any, cls: Any = Any) -> Any:
    """Turn a value into JSON values.

    Args:
        value: The value.
        cls: The type that it was declared as; by default it is written by its own.

    Raises:
        ContractError: A part of the value has no JSON form, or is not of its type.
    """
    try:
        return find_form(cls).write(value)
    except (Mismatch, RecursionError) as exc:
        raise contract_error(exc, type(value) if cls is Any else cls) from None


def write(value: Any, cls: Any = Any) -> bytes:  # noqa: C901 - hot: no call more
    """Write a value as JSON text.

    Args:
        value: The value.
        cls: The type that it was declared as; by default it is written by its own.

    Raises:
        ContractError: A part of the value has no JSON form, or is not of its type.
        PayloadTooLarge: The value is nested too deeply.
    """
    kind = cls
    if cls is Any:
        kind = type(value)
        if kind in _JSON_TYPES and is_plain(value):  # contracts are most of what is written
            try:  # no `suppress`, which is three calls
                text = write_plain_json(write_long_strings(value) if _habit.is_long else value)
            except InvalidPayload:
                pass
            else:
                if _habit.is_long or len(text) > LARGE:
                    _habit.note(text)
                return text
    try:
        encode = _writers[kind]
    except KeyError:
        encode = _find_writer(kind)
    except TypeError:  # metadata that cannot be hashed
        encode = None
    if encode is not None:
        made = encode(value)
        if made is not None:
            return made
    value = unstructure(value, cls)
    text = write_plain_json(write_long_strings(value) if _habit.is_long else value)
    if _habit.is_long or len(text) > LARGE:
        _habit.note(text)
    return text


_habit = Habit()

_JSON_TYPES = frozenset({dict, list, tuple, str, int, float, bool, type(None), msgspec.Raw})


_writers: dict[Any, Writer | None] = {}


def _find_writer(cls: Any) -> Writer | None:
    try:
        made = compile_writer(find_form(cls))
    except DeclarationError:
        made = None  # the form that is found for the value itself says so
    _writers[cls] = made
    return made


def structure(payload: Any, cls: type[T]) -> T:
    """Turn JSON values into a contract.

    Args:
        payload: The values.
        cls: The contract, or any type with a JSON form.

    Raises:
        ContractError: The values do not fit; every problem is listed.
    """
    form = find_form(cls)
    try:
        value: T = form.read(payload)
    except (Mismatch, RecursionError) as exc:
        raise contract_error(exc, cls) from None
    return value


def read(text: bytes | msgspec.Raw, cls: type[T]) -> T:
    """Read a contract from its JSON text, in one pass where that can be; else as `structure` does.

    Args:
        text: The text; a `msgspec.Raw` was checked for depth when it came.
        cls: The contract, or any type with a JSON form.

    Raises:
        ContractError: The text does not fit; every problem is listed.
        InvalidPayload: The text is no JSON.
        PayloadTooLarge: The text is nested too deeply.
    """
    kind: Any = cls  # as a plain object, for the cache: mypy takes no type[T] there
    try:  # as `reader`, without the call
        decode = replies.readers[kind]
    except (KeyError, TypeError):
        decode = replies.reader(kind)
    if decode is not None and (isinstance(text, msgspec.Raw) or is_shallow_utf8(text)):
        try:
            value: T = decode(text)
        except Exception:  # noqa: BLE001, S110 - the form says what is wrong, if anything is
            pass
        else:
            return value
    return structure(parse_json(text), cls)


def read_nothing(cls: type[T]) -> T:
    """Return what a type makes of no payload: None where it takes None, else its defaults.

    Raises:
        ContractError: The type demands something.
    """
    form = find_form(cls)
    if "null" in form.kinds and form.takes(None):
        value: T = form.read(None)
        return value
    if "object" in form.kinds:
        return structure({}, cls)
    raise contract_error(Mismatch.here("missing: nothing was sent"), cls)


def read_reply(payload: bytes, cls: type[T]) -> T | None:
    """Read a reply from the JSON text of an acknowledgement, if that is a plain success.

    Args:
        payload: A JSON array, unchecked.
        cls: The type of the reply.

    Returns:
        None if the acknowledgement is none, or has to be looked at more closely.
    """
    kind: Any = cls
    try:  # as `reply_reader`, without the call
        decode = replies.reply_readers[kind]
    except (KeyError, TypeError):
        decode = replies.reply_reader(kind)
    if decode is None or not is_shallow_utf8(payload):
        return None
    try:
        value: T = decode(payload)
    except Exception:  # noqa: BLE001 - the form says what is wrong, if anything is
        return None
    return value


def structure_reply(answer: dict[str, Any], cls: type[T]) -> T:
    """Turn the fields of an answer, without its ``success``, into a reply.

    Raises:
        ContractError: The fields do not fit; every problem is listed.
    """
    form = find_form(cls)
    try:
        value: T = form.read(replies.unwrap(answer, form))
    except (Mismatch, RecursionError) as exc:
        raise contract_error(exc, cls) from None
    return value


def write_reply(value: Any, cls: Any) -> tuple[bytes, replies.Standing]:
    """Write a reply as JSON text.

    Returns:
        The text, and where it is to stand in the answer.

    Raises:
        ContractError: A part of the value has no JSON form, or is not of its type.
        PayloadTooLarge: The value is nested too deeply.
    """
    # Most replies are records, which stand beside ``success`` whatever is in them.
    encode = _record_writers.get(cls) if type(cls) is type else None
    if encode is not None:
        text = encode(value)
        if text is not None:
            return text, "beside"
    form = find_form(cls)
    made = write(value, cls)
    if replies.is_always_beside(form) and _writers.get(cls) is not None:
        _record_writers[cls] = cast("Writer", _writers[cls])
    return made, replies.standing(made, form)


_record_writers: dict[Any, Writer] = {}


def prepare(cls: Any) -> None:
    """Compile the reading of a type ahead of its first use.

    Raises:
        DeclarationError: The type has no JSON form; says which field, and the way out.
    """
    find_form(cls)
    replies.reader(cls)


def json_schema(cls: Any, definitions: Definitions | None = None) -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a type as it stands on the wire.

    Args:
        cls: The type.
        definitions: Where classes that it refers to go; by default under ``$defs``.

    Raises:
        DeclarationError: The type has no JSON form.
    """
    form: Form = find_form(cls)
    if definitions is not None:
        return form.schema(definitions)
    definitions = Definitions()
    schema = form.schema(definitions)
    parts = definitions.schemas
    root = schema.get("$ref", "").removeprefix("#/$defs/") if set(schema) == {"$ref"} else ""
    # A class that holds itself is still referred to from within, and stays a definition.
    if root and not any(_refers(part, schema["$ref"]) for part in parts.values()):
        schema = parts.pop(root)
    return {**schema, "$defs": parts} if parts else dict(schema)


def _refers(schema: Schema | list[Any] | Any, target: str) -> bool:
    if isinstance(schema, dict):
        return schema.get("$ref") == target or any(_refers(v, target) for v in schema.values())
    return isinstance(schema, list) and any(_refers(each, target) for each in schema)
