"""Types of contracts, made by hypothesis: classes, containers and unions of others.

May go in: how types are put together. May not: what is expected of one (`tests/contracts`).
"""

from __future__ import annotations

import collections
import dataclasses
import itertools
import typing
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Annotated, Any, Literal, NamedTuple, TypedDict

import attrs
import msgspec
import pydantic
from hypothesis import strategies as st

from tests.support.kinds import (
    FLOATS,
    INTEGERS,
    KEYS,
    LEAVES,
    TEXTS,
    Box,
    Entry,
    Level,
    Page,
    Pair,
    Rows,
    Sample,
    Slot,
    members,
)

__all__ = ["is_same", "samples"]

# Types of types


def _filled(generic: Any, *arguments: Any) -> Any:
    """Give a generic type its arguments, which no checker knows."""
    return generic[arguments if len(arguments) > 1 else arguments[0]]


def _arrays(inner: Sample) -> st.SearchStrategy[Sample]:
    kind, values, is_hashable, has_model, _ = inner
    lists = st.lists(values, max_size=3)
    array = Sample(None, lists, is_hashable=False, has_model=has_model, family="array")
    found = [
        array._replace(kind=_filled(list, kind)),
        array._replace(kind=_filled(Sequence, kind)),
        array._replace(kind=_filled(collections.deque, kind), values=lists.map(collections.deque)),
        array._replace(
            kind=_filled(tuple, kind, ...), values=lists.map(tuple), is_hashable=is_hashable
        ),
        array._replace(
            kind=_filled(tuple, kind, int),
            values=st.tuples(values, INTEGERS),
            is_hashable=is_hashable,
        ),
    ]
    if is_hashable:
        found += [
            array._replace(kind=_filled(set, kind), values=lists.map(set)),
            array._replace(
                kind=_filled(frozenset, kind), values=lists.map(frozenset), is_hashable=True
            ),
        ]
    return st.sampled_from(found)


def _mappings(inner: Sample) -> st.SearchStrategy[Sample]:
    mapping = inner._replace(is_hashable=False, family="object")
    return st.sampled_from(
        [
            mapping._replace(
                kind=outer[key, inner.kind], values=st.dictionaries(keys, inner.values, max_size=3)
            )
            for outer in (dict, Mapping)
            for key, keys in KEYS
        ]
    )


def _optional(inner: Sample) -> Sample:
    return inner._replace(
        kind=typing.Optional[inner.kind],  # noqa: UP045 - made of a value
        values=st.none() | inner.values,
        family="",
    )


def _unions(inner: st.SearchStrategy[Sample]) -> st.SearchStrategy[Sample]:
    def join(members: list[Sample]) -> Sample:
        return Sample(
            typing.Union[tuple(each.kind for each in members)],  # noqa: UP007 - made of a tuple
            st.one_of([each.values for each in members]),
            is_hashable=all(each.is_hashable for each in members),
            has_model=any(each.has_model for each in members),
        )

    told_apart = st.lists(
        inner.filter(lambda each: bool(each.family)),
        min_size=2,
        max_size=3,
        unique_by=lambda each: each.family,
    )
    return told_apart.map(join)


def _generics(inner: Sample) -> st.SearchStrategy[Sample]:
    kind, values, is_hashable, has_model, _ = inner
    lists = st.lists(values, max_size=2)
    record = Sample(None, values, is_hashable=False, has_model=has_model, family="object")
    return st.sampled_from(
        [
            record._replace(
                kind=_filled(Page, kind), values=st.builds(Page, lists, st.none() | INTEGERS)
            ),
            record._replace(
                kind=_filled(Box, kind),
                values=st.builds(Box, values, st.dictionaries(TEXTS, values, max_size=2)),
            ),
            record._replace(
                kind=_filled(Slot, kind), values=st.builds(Slot, values), is_hashable=is_hashable
            ),
            record._replace(
                kind=_filled(Entry, kind),
                values=st.fixed_dictionaries({"the_key": TEXTS, "the_value": values}),
            ),
            record._replace(
                kind=_filled(Pair, kind),
                values=st.builds(Pair, values, values),
                is_hashable=is_hashable,
                family="array",
            ),
            record._replace(
                kind=_filled(Rows, kind), values=st.lists(lists, max_size=2), family="array"
            ),
        ]
    )


# Classes

_numbers = itertools.count(1)

NAMES = (
    *("v", "some_name", "a_b_c", "x2", "id", "kind", "items", "keys", "type", "result", "error"),
    *("content_type", "_hidden", "self_", "args", "value", "from_", "f0", "ñu", "camelCase", "URL"),
)

Made = tuple[Any, Callable[..., Any]]
Makes = Callable[[str, dict[str, Sample], dict[str, Any]], Made]


def _attrs(name: str, fields: dict[str, Sample], defaults: dict[str, Any]) -> Made:
    body = {
        key: attrs.field(default=defaults.get(key, attrs.NOTHING), kw_only=True) for key in fields
    }
    notes = {key: each.kind for key, each in fields.items()}
    cls = type(name, (), {**body, "__annotations__": notes})
    cls = attrs.define(cls, slots=bool(len(fields) % 2), frozen="v" in fields)
    aliases = {each.name: each.alias for each in attrs.fields(cls)}
    return cls, lambda **given: cls(**{str(aliases[k]): v for k, v in given.items()})


def _dataclass(name: str, fields: dict[str, Sample], defaults: dict[str, Any]) -> Made:
    def default(key: str) -> Any:
        if key not in defaults:
            return dataclasses.field()
        value = defaults[key]
        return dataclasses.field(default_factory=lambda: value)

    body = [(key, each.kind, default(key)) for key, each in fields.items()]
    cls = dataclasses.make_dataclass(name, body, kw_only=True, slots=bool(len(fields) % 2))
    return cls, cls


def _typed_dict(name: str, fields: dict[str, Sample], defaults: dict[str, Any]) -> Made:
    wrap: Any = typing.NotRequired
    body = {k: wrap[each.kind] if k in defaults else each.kind for k, each in fields.items()}
    return TypedDict(name, body), dict  # type: ignore[operator]  # made of a value


def _named_tuple(name: str, fields: dict[str, Sample], defaults: dict[str, Any]) -> Made:
    del defaults
    cls: Any = NamedTuple(  # type: ignore[misc]  # made of a value
        name, [(k.lstrip("_"), each.kind) for k, each in fields.items()]
    )
    return cls, lambda **given: cls(**{k.lstrip("_"): v for k, v in given.items()})


def _struct(name: str, fields: dict[str, Sample], defaults: dict[str, Any]) -> Made:
    body = [
        (k, each.kind, msgspec.field(default_factory=lambda v=defaults[k]: v))  # type: ignore[misc]
        if k in defaults
        else (k, each.kind)
        for k, each in fields.items()
    ]
    number = len(fields)
    cls = msgspec.defstruct(
        name,
        body,
        kw_only=True,
        rename=(None, "camel", "kebab", "pascal")[number % 4],
        tag=("" if number % 3 else name) or None,
        array_like=number == 2,
        forbid_unknown_fields=number % 2 == 0,
        omit_defaults=number == 4,
    )
    return cls, cls


STYLES: tuple[Makes, ...] = (_attrs, _dataclass, _typed_dict, _named_tuple, _struct)


@st.composite
def _records(draw: st.DrawFn, inner: st.SearchStrategy[Sample]) -> Sample:
    names = draw(st.lists(st.sampled_from(NAMES), max_size=4, unique=True))
    fields = {name: draw(inner) for name in names}
    optional = [name for name in names if draw(st.booleans())]
    defaults = {name: draw(fields[name].values) for name in optional}
    make = draw(st.sampled_from(STYLES))
    kind, build = make(f"Made{next(_numbers)}", fields, defaults)
    given = {name: each.values for name, each in fields.items()}
    absent = {} if make is _named_tuple else {k: given.pop(k) for k in optional}
    values = st.fixed_dictionaries(given, optional=absent).map(lambda each: build(**each))
    return Sample(
        kind,
        values,
        is_hashable=False,
        has_model=any(each.has_model for each in fields.values()),
        family="array"
        if make is _named_tuple or (make is _struct and len(names) == 2)
        else "object",
    )


MODEL_FIELDS = [
    Sample(str, TEXTS),
    Sample(int, st.integers(-(2**53), 2**53)),
    Sample(bool, st.booleans()),
    Sample(float, FLOATS),
    Sample(date, st.dates()),
    Sample(uuid.UUID, st.uuids()),
    Sample(Level, members(Level)),
    Sample(list[int], st.lists(st.integers(-9, 9), max_size=2)),
    Sample(str | None, st.none() | TEXTS),
    Sample(Annotated[int, pydantic.Field(ge=1)], st.integers(1, 9)),
    Sample(Literal["a", 1], st.sampled_from(["a", 1])),
]


@st.composite
def _models(draw: st.DrawFn) -> Sample:
    names = draw(st.lists(st.sampled_from(["v", "some_name", "kind", "x2"]), unique=True))
    fields = {name: draw(st.sampled_from(MODEL_FIELDS)) for name in names}
    alias = draw(st.booleans())
    body: Any = {
        name: (each.kind, pydantic.Field(alias=f"{name}-alias" if alias else None))
        for name, each in fields.items()
    }
    config = pydantic.ConfigDict(populate_by_name=True)
    cls: Any = pydantic.create_model(f"Model{next(_numbers)}", __config__=config, **body)
    values = {name: each.values for name, each in fields.items()}
    return Sample(
        cls,
        st.fixed_dictionaries(values).map(lambda each: cls(**each)),
        is_hashable=False,
        has_model=True,
        family="object",
    )


def _grow(inner: st.SearchStrategy[Sample]) -> st.SearchStrategy[Sample]:
    return st.one_of(
        inner.flatmap(_arrays),
        inner.flatmap(_mappings),
        inner.map(_optional),
        _unions(inner),
        inner.flatmap(_generics),
        _records(inner),
    )


@st.composite
def samples(draw: st.DrawFn, *, models: bool = True) -> Sample:
    """Give types, most of them classes of several fields."""
    return draw(_WITH_MODELS if models else _WITHOUT_MODELS)


def _of(base: st.SearchStrategy[Sample]) -> st.SearchStrategy[Sample]:
    return st.one_of(base, st.recursive(base, _grow, max_leaves=5), _records(_grow(base)))


_LEAVES = st.sampled_from(LEAVES)
_WITHOUT_MODELS = _of(_LEAVES)
_WITH_MODELS = _of(st.one_of(_LEAVES, _LEAVES, _LEAVES, _models()))


# Equality


def is_same(one: Any, other: Any) -> bool:
    """Whether two values are equal and of the same types all through."""
    if type(one) is not type(other):
        return False
    if isinstance(one, list | tuple | collections.deque):
        return len(one) == len(other) and all(map(is_same, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(is_same(v, other[k]) for k, v in one.items())
    if isinstance(one, set | frozenset):
        return bool(one == other)
    if attrs.has(type(one)):
        return all(
            is_same(getattr(one, a.name), getattr(other, a.name)) for a in attrs.fields(type(one))
        )
    if dataclasses.is_dataclass(one):
        return all(
            is_same(getattr(one, f.name), getattr(other, f.name)) for f in dataclasses.fields(one)
        )
    if isinstance(one, msgspec.Struct):
        return all(is_same(getattr(one, n), getattr(other, n)) for n in one.__struct_fields__)
    return bool(one == other)
