"""Types of contracts, made by hypothesis: each with values of it, and JSON that is near to those.

May go in: what a contract may be. May not: what is expected of one (`tests/contracts`).
"""

from __future__ import annotations

import base64
import collections
import dataclasses
import enum
import itertools
import pathlib
import typing
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Annotated, Any, Generic, Literal, NamedTuple, NewType, TypedDict, TypeVar

import annotated_types
import attrs
import msgspec
import pydantic
from hypothesis import strategies as st
from typing_extensions import TypeAliasType

__all__ = ["JSON", "Sample", "is_same", "near", "samples"]

T = TypeVar("T")


class Sample(NamedTuple):
    """A type, and values of it.

    Attributes:
        kind: The type.
        values: Makes some.
        is_hashable: Whether they can stand in a set.
        has_model: Whether pydantic reads a part of it, which is laxer than a schema can say.
        family: What tells it from others in a union: the kind of its JSON, empty for several.
    """

    kind: Any
    values: st.SearchStrategy[Any]
    is_hashable: bool = True
    has_model: bool = False
    family: str = ""

    def __repr__(self) -> str:
        return f"<{self.kind}>"  # the strategy would fill pages


# Plain values

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
INTEGERS = st.integers(-(2**53), 2**53) | st.sampled_from([0, 1, -1, 2**63, 2**70, -(2**64)])
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | INTEGERS | FLOATS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
OFFSETS = st.integers(-23 * 60, 23 * 60).map(lambda n: timezone(timedelta(minutes=n)))
MOMENTS = st.datetimes(
    datetime(2, 1, 1), datetime(9998, 12, 31), timezones=OFFSETS | st.just(UTC)
) | st.sampled_from([datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)])
DECIMALS = st.decimals(allow_nan=False, allow_infinity=False)
PATHS = TEXTS.map(pathlib.Path)

# Enums, flags, new types, aliases


class Colour(enum.Enum):
    """Colours of a lamp."""

    RED = "red"
    GREEN = "green"
    BLUE = 3
    ALSO_RED = "red"


class Level(enum.StrEnum):
    LOW = enum.auto()
    HIGH = enum.auto()


class Rank(enum.IntEnum):
    ONE = 1
    TWO = 2
    TEN = 10


class Mode(str, enum.Enum):  # noqa: UP042 - as many write it
    ON = "on"
    OFF = "off"


class Ratio(float, enum.Enum):
    HALF = 0.5
    WHOLE = 1.0


class Rights(enum.Flag):
    READ = 1
    WRITE = 2
    RUN = 4
    ALL = 7


class Bits(enum.IntFlag):
    A = 1
    C = 4


class Sieve(enum.Flag, boundary=enum.STRICT):
    A = 2
    B = 8


UserId = NewType("UserId", int)
Tree = TypeAliasType("Tree", "dict[str, Tree] | int | None")
Rows = TypeAliasType("Rows", list[list[T]], type_params=(T,))


# Classes that hold themselves, and generic ones


@attrs.frozen
class Node:
    """A node of a tree."""

    the_value: int
    children: list[Node] = attrs.field(factory=list)
    parent: Node | None = None


@dataclasses.dataclass
class Chain:
    link_name: str
    next_link: Chain | None = None


class Branch(TypedDict, total=False):
    leaf: typing.Required[int]
    left: Branch
    right: Branch | None


class Cell(msgspec.Struct, rename="camel", frozen=True):
    the_head: int
    the_tail: Cell | None = None


@attrs.frozen
class Page(Generic[T]):
    """A page of items."""

    the_items: list[T]
    next_page: int | None = None


class IntPage(Page[int]):
    """A page of integers."""


@dataclasses.dataclass(frozen=True)
class Box(Generic[T]):
    content: T
    others: Mapping[str, T] = dataclasses.field(default_factory=dict)


class Slot(msgspec.Struct, Generic[T], frozen=True):
    content: T


class Entry(TypedDict, Generic[T]):
    the_key: str
    the_value: T


class Pair(NamedTuple, Generic[T]):
    left: T
    right: T


@attrs.frozen
class Cat:
    kind: Literal["cat"]
    lives: int = 9


@attrs.frozen
class Dog:
    kind: Literal["dog", "hound"]
    name: str


class Circle(msgspec.Struct, tag=True, frozen=True):
    radius: int


class Square(msgspec.Struct, tag=True, frozen=True):
    side: int


class Point(msgspec.Struct, array_like=True, frozen=True):
    x: int
    y: int = 0


class Sealed(msgspec.Struct, forbid_unknown_fields=True, rename="pascal"):
    some_key: int
    other_key: str = "x"


NODES = st.recursive(
    st.builds(Node, INTEGERS),
    lambda inner: st.builds(Node, INTEGERS, st.lists(inner, max_size=2), st.none() | inner),
    max_leaves=4,
)
CHAINS = st.recursive(
    st.builds(Chain, TEXTS), lambda inner: st.builds(Chain, TEXTS, inner), max_leaves=3
)
BRANCHES = st.recursive(
    st.fixed_dictionaries({"leaf": INTEGERS}),
    lambda inner: st.fixed_dictionaries(
        {"leaf": INTEGERS}, optional={"left": inner, "right": st.none() | inner}
    ),
    max_leaves=3,
)
CELLS = st.recursive(
    st.builds(Cell, INTEGERS), lambda inner: st.builds(Cell, INTEGERS, inner), max_leaves=3
)
TREES = st.recursive(
    st.none() | INTEGERS,
    lambda inner: st.dictionaries(TEXTS, inner, max_size=2),
    max_leaves=4,
)


def _members(cls: type[enum.Enum]) -> st.SearchStrategy[Any]:
    return st.sampled_from(list(cls))


LEAVES: list[Sample] = [
    Sample(str, TEXTS, family="string"),
    Sample(int, INTEGERS, family="number"),
    Sample(float, FLOATS, family="number"),
    Sample(int | float, INTEGERS | FLOATS, family="number"),
    Sample(bool, st.booleans(), family="boolean"),
    Sample(None, st.none(), family="null"),
    Sample(Any, JSON, is_hashable=False),
    Sample(dict, st.dictionaries(TEXTS, JSON, max_size=2), is_hashable=False, family="object"),
    Sample(list, st.lists(JSON, max_size=2), is_hashable=False, family="array"),
    Sample(bytes, st.binary(max_size=8), family="string"),
    Sample(datetime, MOMENTS),
    Sample(date, st.dates(), family="string"),
    Sample(time, st.times() | st.times(timezones=OFFSETS), family="string"),
    Sample(timedelta, st.timedeltas(), family="string"),
    Sample(uuid.UUID, st.uuids(), family="string"),
    Sample(Decimal, DECIMALS),
    Sample(pathlib.Path, PATHS, family="string"),
    Sample(pathlib.PurePosixPath, TEXTS.map(pathlib.PurePosixPath), family="string"),
    Sample(Literal["a", "b"], st.sampled_from(["a", "b"]), family="string"),
    Sample(Literal[1, 2, "x", None], st.sampled_from([1, 2, "x", None])),
    Sample(Literal[True, 2], st.sampled_from([True, 2])),
    Sample(Literal[Rank.TWO, Mode.ON], st.sampled_from([Rank.TWO, Mode.ON])),
    *(Sample(each, _members(each)) for each in (Colour, Level, Rank, Mode, Ratio)),
    Sample(Rights, st.integers(0, 7).map(Rights), family="number"),
    Sample(Bits, st.sampled_from([0, 1, 4, 5]).map(Bits), family="number"),
    Sample(Sieve, st.sampled_from([0, 2, 8, 10]).map(Sieve), family="number"),
    Sample(UserId, INTEGERS, family="number"),
    Sample(Tree, TREES, is_hashable=False),
    Sample(Rows[int], st.lists(st.lists(INTEGERS, max_size=2), max_size=2), is_hashable=False),
    Sample(Node, NODES, is_hashable=False, family="object"),
    Sample(Chain, CHAINS, is_hashable=False, family="object"),
    Sample(Branch, BRANCHES, is_hashable=False, family="object"),
    Sample(Cell, CELLS, family="object"),
    Sample(IntPage, st.builds(IntPage, st.lists(INTEGERS, max_size=2)), is_hashable=False),
    Sample(
        Cat | Dog,
        st.builds(Cat, st.just("cat")) | st.builds(Dog, st.sampled_from(["dog", "hound"]), TEXTS),
        family="object",
    ),
    Sample(
        Circle | Square,
        st.builds(Circle, INTEGERS) | st.builds(Square, INTEGERS),
        family="object",
    ),
    Sample(Point, st.builds(Point, INTEGERS, INTEGERS), family="array"),
    Sample(Sealed, st.builds(Sealed, INTEGERS, TEXTS), is_hashable=False, family="object"),
    Sample(Annotated[int, msgspec.Meta(gt=-3, le=10)], st.integers(-2, 10), family="number"),
    Sample(
        Annotated[int, annotated_types.Ge(0), annotated_types.MultipleOf(5)],
        st.integers(0, 40).map(lambda n: n * 5),
        family="number",
    ),
    Sample(
        Annotated[float, annotated_types.Interval(gt=0.0, lt=1.0)],
        st.floats(0, 1, exclude_min=True, exclude_max=True),
        family="number",
    ),
    Sample(
        Annotated[str, annotated_types.Len(1, 3)],
        st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=3),
        family="string",
    ),
    Sample(
        Annotated[str, msgspec.Meta(pattern="^[a-z]{1,4}$", max_length=3)],
        st.text("abcxyz", min_size=1, max_size=3),
        family="string",
    ),
    Sample(
        Annotated[list[int], annotated_types.MinLen(1)],
        st.lists(INTEGERS, min_size=1, max_size=3),
        is_hashable=False,
        family="array",
    ),
    Sample(
        Annotated[dict[str, int], annotated_types.MaxLen(1)],
        st.dictionaries(TEXTS, INTEGERS, max_size=1),
        is_hashable=False,
        family="object",
    ),
    Sample(Annotated[int | None, msgspec.Meta(ge=1)], st.none() | st.integers(1, 9)),
]

KEYS: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (str, TEXTS),
    (int, INTEGERS),
    (Level, _members(Level)),
    (Mode, _members(Mode)),
    (Rank, _members(Rank)),
    (uuid.UUID, st.uuids()),
    (date, st.dates()),
    (UserId, INTEGERS),
    (Literal["a", "b"], st.sampled_from(["a", "b"])),
]

# Types of types


def _arrays(inner: Sample) -> st.SearchStrategy[Sample]:
    kind, values, is_hashable, has_model, _ = inner
    lists = st.lists(values, max_size=3)
    array = Sample(None, lists, is_hashable=False, has_model=has_model, family="array")
    found = [
        array._replace(kind=list[kind]),
        array._replace(kind=Sequence[kind]),
        array._replace(kind=collections.deque[kind], values=lists.map(collections.deque)),
        array._replace(kind=tuple[kind, ...], values=lists.map(tuple), is_hashable=is_hashable),
        array._replace(
            kind=tuple[kind, int], values=st.tuples(values, INTEGERS), is_hashable=is_hashable
        ),
    ]
    if is_hashable:
        found += [
            array._replace(kind=set[kind], values=lists.map(set)),
            array._replace(kind=frozenset[kind], values=lists.map(frozenset), is_hashable=True),
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
            record._replace(kind=Page[kind], values=st.builds(Page, lists, st.none() | INTEGERS)),
            record._replace(
                kind=Box[kind],
                values=st.builds(Box, values, st.dictionaries(TEXTS, values, max_size=2)),
            ),
            record._replace(
                kind=Slot[kind], values=st.builds(Slot, values), is_hashable=is_hashable
            ),
            record._replace(
                kind=Entry[kind],
                values=st.fixed_dictionaries({"the_key": TEXTS, "the_value": values}),
            ),
            record._replace(
                kind=Pair[kind],
                values=st.builds(Pair, values, values),
                is_hashable=is_hashable,
                family="array",
            ),
            record._replace(kind=Rows[kind], values=st.lists(lists, max_size=2), family="array"),
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
    Sample(Level, _members(Level)),
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


# JSON near a value

NEAR_TEXTS = [
    *(
        "",
        " ",
        "0",
        "-0",
        "1",
        "01",
        "+1",
        "1.0",
        "1e5",
        "1_000",
        "½",
        "１２",
        "true",
        "null",
        "NaN",
    ),
    *("2026-02-28", "2026-02-29", "2024-02-29", "2026-02-30", "0000-01-01", "2026-01-01\n"),
    *("２０２６-01-01", "2026-1-1", "20260101", "2026-W01-1", "10000-01-01", "-001-01-01"),
    *("2026-01-01T00:00:00Z", "2026-01-01t00:00:00z", "2026-01-01 00:00:00Z"),
    *(
        "2026-01-01T24:00:00Z",
        "2026-01-01T23:59:60Z",
        "2026-01-01T00:00:00",
        "0001-01-01T00:00:00+23:59",
    ),
    *("9999-12-31T23:59:59.999999999-23:59", "2026-01-01T00:00:00.1234567891Z"),
    *("2026-01-01T00:00:00+24:00", "2026-01-01T00:00:00+01", "2026-01-01T00:00:00+01:00:30"),
    *(
        "00:00:00",
        "24:00:00",
        "23:59",
        "12:30:00.5",
        "12:30:00,5",
        "00:00:00Z",
        "12:00:00\n",
        "T12:00:00",
    ),
    *("P1D", "PT1S", "P", "PT", "P1DT", "-P1D", "P1W", "P1Y", "P1W1D", "PT1.5H", "P999999999D"),
    *("PT.5S", "PT1.1234567S", "-P999999999DT1S", "P1DT25H", "P99999999W", "PT999999999H", "P１D"),
    *("00000000-0000-0000-0000-000000000000", "{00000000-0000-0000-0000-000000000000}"),
    *("0" * 32, "urn:uuid:00000000-0000-0000-0000-000000000000"),
    *("ABCDEFAB-0000-0000-0000-00000000000g", "ABCDEFAB-0000-0000-0000-00000000000F"),
    *("AA==", "AAA=", "AAAA", "AB==", "AA", "A", "AA=", "AA==\n", "AA--", "A A=", "===="),
    *("1E5", "1.", ".5", "-1.50", "Infinity", "sNaN", "1e9999999", "1e999999", "--1", " 1", "1\n"),
    *("red", "RED", "low", "on", "1", "2", "10", "a", "b", "x", "c", "cat", "dog", "Circle"),
    *("abc", "abcd", "abc\n", "A", "\u0000", "\ud7ff", "\U0001f600", "é", "e\u0301"),
]
NEAR: st.SearchStrategy[Any] = st.one_of(
    JSON,
    st.sampled_from(NEAR_TEXTS),
    st.sampled_from(
        [0, 1, 2, 3, 4, 5, 7, 8, 10, -1, True, False, None, 0.0, -0.0, 1.0, 3.0, 0.5, 1e300, 2**53]
    ),
    st.sampled_from([-62_135_596_800_000, 253_402_300_799_999, 253_402_300_800_000, 2.0**63]),
    st.sampled_from([[], {}, [0], [[]], [None], {"kind": "cat"}, {"type": "Circle"}, {"": 0}]),
)


@st.composite
def near(draw: st.DrawFn, value: Any) -> Any:
    """Give JSON that is the value but for one spot."""
    if isinstance(value, list) and value and draw(st.integers(0, 3)):
        place = draw(st.integers(0, len(value) - 1))
        how = draw(st.sampled_from(["change", "change", "drop", "double", "float"]))
        if how == "change":
            return [*value[:place], draw(near(value[place])), *value[place + 1 :]]
        if how == "drop":
            return [*value[:place], *value[place + 1 :]]
        if how == "double":
            return [*value, value[place]]
        return [*value, _as_float(value[place])]
    if isinstance(value, dict) and value and draw(st.integers(0, 3)):
        key = draw(st.sampled_from(sorted(value)))
        how = draw(st.sampled_from(["change", "change", "change", "drop", "add", "rename"]))
        if how == "change":
            return {**value, key: draw(near(value[key]))}
        rest = {k: v for k, v in value.items() if k != key}
        if how == "drop":
            return rest
        if how == "rename":
            other = draw(st.sampled_from([key.upper(), f"{key}_", key[:-1], f"{key}\n"]))
            return {**rest, other: value[key]}
        return {**value, draw(TEXTS | st.sampled_from(NEAR_TEXTS)): draw(NEAR)}
    if isinstance(value, str) and value and draw(st.booleans()):
        place = draw(st.integers(0, len(value) - 1))
        letter = draw(st.sampled_from("0123456789-+:.TZPDSaAgé\n =/１"))
        return draw(
            st.sampled_from(
                [value + letter, value[:place] + letter + value[place + 1 :], value[:-1]]
            )
        )
    if isinstance(value, int | float) and draw(st.booleans()):
        return draw(st.sampled_from([value + 1, -value, _as_float(value), value / 2, bool(value)]))
    return draw(NEAR)


def _as_float(value: Any) -> Any:
    return float(value) if type(value) is int and abs(value) < 2**53 else value


def to_base64(value: bytes) -> str:
    """Spell bytes as the wire does."""
    return base64.b64encode(value).decode()
