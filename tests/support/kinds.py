# ruff: noqa: D101 - a docstring is a part of the schema
"""Classes and types that contracts are made of, each with values of it.

May go in: types of a kind that no other one here is. May not: types made of types (`types`).
"""

from __future__ import annotations

import dataclasses
import enum
import pathlib
import typing
import uuid
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Annotated, Any, Generic, Literal, NamedTuple, NewType, TypedDict, TypeVar

import annotated_types
import attrs
import msgspec
from hypothesis import strategies as st
from typing_extensions import TypeAliasType

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
    datetime(2, 1, 1),  # noqa: DTZ001 - offsets are drawn
    datetime(9998, 12, 31),  # noqa: DTZ001
    timezones=OFFSETS | st.just(UTC),
) | st.sampled_from([datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)])
DECIMALS = st.decimals(allow_nan=False, allow_infinity=False)
PATHS = TEXTS.map(pathlib.Path)

# Enums, flags, new types, aliases


class Colour(enum.Enum):
    """Colours of a lamp."""

    RED = "red"
    GREEN = "green"
    BLUE = 3
    ALSO_RED = "red"  # noqa: PIE796 - an alias


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


def members(cls: type[enum.Enum]) -> st.SearchStrategy[Any]:
    """Give the members of an enum."""
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
    Sample(
        Literal[1, 2, "x", None],  # noqa: PYI061 - both are taken
        st.sampled_from([1, 2, "x", None]),
    ),
    Sample(Literal[True, 2], st.sampled_from([True, 2])),
    Sample(Literal[Rank.TWO, Mode.ON], st.sampled_from([Rank.TWO, Mode.ON])),
    *(Sample(each, members(each)) for each in (Colour, Level, Rank, Mode, Ratio)),
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
    Sample(
        Annotated[float, msgspec.Meta(multiple_of=0.25)], st.integers(-9, 9).map(lambda n: n / 4)
    ),
    Sample(
        Annotated[set[int], annotated_types.MinLen(1)],
        st.sets(INTEGERS, min_size=1, max_size=3),
        is_hashable=False,
        family="array",
    ),
]

KEYS: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (str, TEXTS),
    (int, INTEGERS),
    (Level, members(Level)),
    (Mode, members(Mode)),
    (Rank, members(Rank)),
    (uuid.UUID, st.uuids()),
    (date, st.dates()),
    (UserId, INTEGERS),
    (Literal["a", "b"], st.sampled_from(["a", "b"])),
]
