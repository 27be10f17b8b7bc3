"""Classes as people write them: names, defaults, checks and inheritance of every kind."""
# ruff: noqa: D101 - a docstring is a part of the schema

from __future__ import annotations

import collections
import dataclasses
import enum
import re
import typing
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, NamedTuple, NotRequired, TypedDict, TypeVar
from zoneinfo import ZoneInfo

import annotated_types
import attr
import attrs
import jsonschema
import msgspec
import pytest
from typing_extensions import TypeAliasType

from alephscript import contracts
from alephscript.contracts import Strict, json_schema, read, structure, unstructure, write
from alephscript.errors import AlephScriptError, ContractError, DeclarationError
from tests.support.typed import is_same

T = TypeVar("T")


def comes_back(value: Any, kind: Any = None) -> bytes:
    """Write a value, check it by the schema, read it again; return its text."""
    kind = type(value) if kind is None else kind
    written = unstructure(value, kind)
    jsonschema.Draft202012Validator(json_schema(kind)).validate(written)
    text = write(value, kind)
    assert is_same(read(text, kind), value)
    assert is_same(structure(written, kind), value)
    return text


def getitem(generic: Any, arguments: Any) -> Any:
    """Give a generic type its arguments, which no checker knows."""
    return generic[arguments]


def problem(call: Callable[[], Any]) -> tuple[str, str]:
    """Return path and message of the one problem of a call."""
    with pytest.raises(ContractError) as caught:
        call()
    [found] = caught.value.problems
    return found["path"], found["message"]


NAMES = [
    "self",
    "cls",
    "class",
    "import",
    "mro",
    "items",
    "keys",
    "f0",
    "besides_0",
    "name",
    "True",
]
NAMES += [
    "value",
    "count",
    "index",
    "ñandú",
    "_private",
    "__dunder__",
    "a-b",
    "a b",
    "$ref",
    "type",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_field_may_have_any_name_that_its_class_takes(name: str) -> None:
    """Keywords, names of methods, names that our own code uses."""
    makes: list[Callable[[], Any]] = [
        lambda: attrs.define(type("Made", (), {"__annotations__": {name: int}})),
        lambda: dataclasses.make_dataclass("Made", [(name, int)]),
        lambda: TypedDict("Made", {name: int}),  # type: ignore[operator]  # a variable
        lambda: NamedTuple("Made", [(name, int)]),
        lambda: msgspec.defstruct("Made", [(name, int)]),
    ]
    made = 0
    for make in makes:
        try:
            cls = make()
            value = cls(**{name: 5}) if typing.is_typeddict(cls) else cls(5)
        except (TypeError, ValueError, SyntaxError):
            continue  # the class itself does not take it
        comes_back(value, cls)
        made += 1
    assert made


@attrs.define
class Nothing:
    pass


@attrs.define(kw_only=True)
class ByName:
    a: int
    b: str = "x"


@attrs.define
class Converted:
    a: int = attrs.field(converter=int)
    b: list[Any] = attrs.field(factory=list, converter=list)


@attrs.define
class OfItself:
    a: int
    b: list[int] = attrs.field()
    made: int = attrs.field(init=False, default=7)

    @b.default
    def _make_b(self) -> list[int]:
        return [self.a]


@attr.s
class Old:  # type: ignore[no-untyped-def]  # the constructor that attrs makes
    a = attr.ib()  # type: ignore[var-annotated]  # as it was once written
    b = attr.ib(type=int, default=3)


@dataclasses.dataclass(slots=True, frozen=True)
class Positive:
    a: int
    b: int = dataclasses.field(init=False, default=2)

    def __post_init__(self) -> None:
        if self.a < 0:
            raise ValueError("a has to be positive")


@attrs.define
class Checked:
    bound: int = attrs.field(validator=attrs.validators.ge(3), default=3)
    pattern: str = attrs.field(validator=attrs.validators.matches_re("a+"), default="a")
    choice: str = attrs.field(validator=attrs.validators.in_(["x", "y"]), default="x")


class Optional(TypedDict):
    a: NotRequired[int | None]
    b: typing.Required[str]


class Me(msgspec.Struct):
    name: str
    friends: list[typing.Self] = []


VALUES: list[Any] = [
    Nothing(),
    ByName(a=1),
    Converted(1, [1, 2]),  # type: ignore[list-item]  # what mypy makes of `converter=list`
    OfItself(1),
    Old("x"),
    Positive(1),
    Checked(),
    Me("a", [Me("b")]),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_every_way_to_write_a_class_comes_back(value: Any) -> None:
    """Attrs and dataclasses with all that they have."""
    comes_back(value)


def test_a_default_that_only_its_class_can_make_is_made_by_it() -> None:
    """Of the other fields, by the form and by the fast path."""
    assert structure({"a": 4}, OfItself) == read(b'{"a":4}', OfItself) == OfItself(4, [4])


@pytest.mark.parametrize(
    ("payload", "path", "says"),
    [
        ({"bound": 1}, "bound", "'bound' must be >= 3: 1"),
        ({"pattern": "b"}, "pattern", "'pattern' must match regex 'a+' ('b' doesn't)"),
        ({"choice": "z"}, "choice", "'choice' must be in ['x', 'y'] (got 'z')"),
    ],
)
def test_validators_of_attrs_say_which_field(payload: Any, path: str, says: str) -> None:
    """These are written in Python: no schema has them."""
    assert problem(lambda: structure(payload, Checked)) == (path, says)


def test_what_a_class_raises_is_a_problem_of_the_value() -> None:
    """Its words go to the peer, where they are meant to be read."""
    assert problem(lambda: read(b'{"a":-1}', Positive)) == ("", "a has to be positive")


def test_an_init_var_is_refused() -> None:
    """No value keeps it, so that none could be written."""

    @dataclasses.dataclass
    class Made:
        a: int
        b: dataclasses.InitVar[int]

    with pytest.raises(DeclarationError, match=r"^Made\.b: an InitVar, .*; make it a field$"):
        json_schema(Made)


# Inheritance and generics


@attrs.define
class Base:
    a: int = 1


@attrs.define
class Wider(Base):
    b: int = 2


@attrs.define
class Holder:
    one: Base
    many: list[Base]
    maybe: Base | None = None


@attrs.define
class Page(Generic[T]):
    items: list[T]


class Numbers(Page[int]):
    pass


class Mixed(Page[T]):
    pass


def test_a_subclass_in_a_field_of_its_base_is_written_as_it_is() -> None:
    """By the fast path, too."""
    value = Holder(Wider(), [Wider(3, 4)])
    assert unstructure(value) == {"one": {"a": 1, "b": 2}, "many": [{"a": 3, "b": 4}]}
    assert write(value) == b'{"one":{"a":1,"b":2},"many":[{"a":3,"b":4}]}'


def test_a_generic_class_keeps_its_arguments_in_its_subclasses() -> None:
    """Named by the subclass, or given to it."""
    comes_back(Numbers([1]))
    comes_back(Mixed(["x"]), Mixed[str])
    expected = ("items[0]", "expected an integer, got string")
    assert problem(lambda: structure({"items": ["x"]}, Numbers)) == expected
    assert problem(lambda: structure({"items": ["x"]}, Mixed[int])) == expected


# Enums


class Lenient(enum.Enum):
    A = "a"

    @classmethod
    def _missing_(cls, value: object) -> Any:
        return cls.A


class Labelled(str, enum.Enum):  # noqa: UP042 - with a value made by __new__
    A = ("a", "first")

    def __new__(cls, value: str, label: str) -> Any:
        made = str.__new__(cls, value)
        made._value_, made.label = value, label  # type: ignore[attr-defined]
        return made


class Auto(enum.Enum):
    X = enum.auto()
    Y = True + 1
    YES = True + 2


class Pair(enum.Enum):
    A = (1, 2)


class Signs(enum.IntFlag):
    A = -1


@pytest.mark.parametrize("value", [Lenient.A, Labelled.A, Auto.X, Auto.Y, Auto.YES])
def test_members_come_back_as_themselves(value: enum.Enum) -> None:
    """Whatever makes their values."""
    comes_back(value)


def test_a_member_for_what_is_missing_is_no_choice_of_the_wire() -> None:
    """The schema knows nothing of it."""
    assert problem(lambda: read(b'"b"', Lenient)) == ("", 'expected a, got "b"')


@pytest.mark.parametrize("kind", [Pair, Signs, Literal[b"a"], enum.Enum])
def test_choices_without_a_json_form_are_refused(kind: Any) -> None:
    """With the way out."""
    with pytest.raises(DeclarationError, match=r"has no JSON form; (give|take) "):
        json_schema(kind)


# Types of the standard library at their edges

AT_THE_EDGE: list[tuple[Any, Any, bytes]] = [
    (datetime(2026, 1, 1, tzinfo=ZoneInfo("Europe/Madrid")), datetime, b"2025-12-31T23:00:00.000Z"),
    (datetime(1, 1, 1, tzinfo=UTC), datetime, b"0001-01-01T00:00:00.000Z"),
    (datetime.max.replace(tzinfo=UTC), datetime, b"9999-12-31T23:59:59.999999Z"),
    (
        datetime.min.replace(tzinfo=timezone(timedelta(hours=3))),
        datetime,
        b"0001-01-01T00:00:00.000+03:00",
    ),
    (time.max, time, b"23:59:59.999999"),
    (date.min, date, b"0001-01-01"),
    (timedelta.min, timedelta, b"-P999999999D"),
    (timedelta.max, timedelta, b"P999999999DT23H59M59.999999S"),
    (timedelta(0), timedelta, b"P0D"),
    (Decimal("-0"), Decimal, b"-0"),
    (Decimal("1E+3"), Decimal, b"1E+3"),
    (b"", bytes, b""),
]


@pytest.mark.parametrize(("value", "kind", "text"), AT_THE_EDGE)
def test_the_first_and_the_last_value_come_back(value: Any, kind: Any, text: bytes) -> None:
    """As ISO 8601 and its like spell them."""
    assert write(value, kind) == b'"%b"' % text
    assert read(b'"%b"' % text, kind) == value


UNWRITABLE: list[tuple[Any, Any]] = [
    (datetime(2026, 1, 1), datetime),  # noqa: DTZ001 - naive
    (time(1, tzinfo=timezone(timedelta(seconds=61))), time),
    (Decimal("NaN"), Decimal),
    (Decimal("Infinity"), Decimal),
    (float("nan"), float),
    (10**5000, int),
    (10**5000, float),
    (Path("a\udc80"), Path),
    ("a\udc80", str),
    ({"a\udc80": 1}, dict[str, int]),
    ({1: 1}, dict[str, int]),
    ([object()], list),
    (True, int),
    ("1", int),
]


@pytest.mark.parametrize(
    ("value", "kind"), UNWRITABLE, ids=[str(n) for n in range(len(UNWRITABLE))]
)
def test_what_could_not_be_read_again_is_refused_where_it_is_written(value: Any, kind: Any) -> None:
    """Before anything is sent."""
    path, message = problem(lambda: write({"x": value}, dict[str, kind]))
    assert path.startswith("x")
    assert message.startswith("expected ") or message == "an object has no JSON form"
    str(path).encode()


# What is refused


@pytest.mark.parametrize(
    ("kind", "way_out"),
    [
        (collections.OrderedDict[str, int], "take a dict"),
        (collections.defaultdict[str, int], "take a dict"),
        (typing.Counter[str], "take a dict"),
        (Iterator[int], "take a list"),
        (bytearray, "take bytes"),
        (complex, r"register_type\(complex, …\)"),
        (Callable[[], int], "register_type"),
        (dict[float, int], "keys are str, int, UUID or an enum"),
        (dict[Any, int], "keys are str, int, UUID or an enum"),
        (set[list[int]], "take a list"),
        (list[int] | set[int], "no value tells"),
        (Base | Wider, "no value tells Base and Wider apart"),
        (str | date, "no value tells"),
        (Annotated[datetime, msgspec.Meta(tz=False)], "leave .* out"),
        (Annotated[int, annotated_types.MultipleOf(0)], "leave .* out"),
        (Annotated[float, annotated_types.Gt(float("nan"))], "leave .* out"),
    ],
)
def test_a_field_without_a_json_form_is_refused_with_its_path_and_the_way_out(
    kind: Any, way_out: str
) -> None:
    """While the class is made, however deep it stands."""
    inner = attrs.make_class("Inner", {"odd_one": attrs.field(type=list[kind])})
    outer = attrs.make_class("Outer", {"inner": attrs.field(type=getitem(dict, (str, inner)))})
    with pytest.raises(DeclarationError) as caught:
        contracts.prepare(outer)
    assert str(caught.value).startswith("Outer.inner{}.odd_one[]")
    assert re.search(way_out, str(caught.value))


def test_a_name_that_is_not_known_is_told_with_its_field() -> None:
    """A class within a function, or under TYPE_CHECKING."""

    @attrs.define
    class Here:
        a: int
        there: list[There]  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(DeclarationError, match=r"^Here\.there: There is not known here; define it"):
        json_schema(Here)


def test_a_type_without_an_end_is_refused() -> None:
    """A class that holds itself with other arguments, and lists of lists of lists."""

    class Growing(msgspec.Struct, Generic[T]):
        inner: Any

    Growing.__annotations__["inner"] = Growing[list[T]] | None  # type: ignore[valid-type]
    kind: Any = int
    for _ in range(2000):
        kind = list[kind]
    for endless in (Growing[int], kind):
        with pytest.raises(DeclarationError):
            json_schema(endless)


# Metadata, unions within


Endless = TypeAliasType("Endless", "Endless")  # type: ignore[misc]  # as mypy says, too
Within = TypeAliasType("Within", "Within | None")  # type: ignore[misc]  # the same


@pytest.mark.parametrize("kind", [Endless, Within])
def test_an_alias_of_itself_is_refused(kind: Any) -> None:
    """Nothing says what it is."""
    with pytest.raises(DeclarationError):
        json_schema(list[kind])


class Tagged(msgspec.Struct, tag_field="kind", tag=3):
    a: int


def test_a_tag_that_is_a_number_is_told_as_json_schema_tells_numbers() -> None:
    """3.0 is 3 there; and the name of a class is no attribute that is called kind."""
    assert (
        structure({"kind": 3.0, "a": 1}, Tagged) == read(b'{"kind":3,"a":1}', Tagged) == Tagged(1)
    )
    with pytest.raises(ContractError, match=r"^not a valid Tagged: kind: expected 3, got boolean"):
        structure({"kind": True, "a": 1}, Tagged)


@attrs.frozen
class Leaf:
    kind: Literal["leaf"]


@attrs.frozen
class Branch:
    kind: Literal["branch"]
    parts: tuple[Leaf | Branch, ...] = ()


def test_members_of_a_union_are_told_apart_within_one_of_them() -> None:
    """Where the class is not yet complete."""
    value = Branch("branch", (Leaf("leaf"), Branch("branch")))
    comes_back(value)
    comes_back(value, Leaf | Branch)
    either: Any = Leaf | Branch
    with pytest.raises(ContractError, match=r"^not a valid Leaf \| Branch: "):
        structure({"kind": "twig"}, either)


def test_metadata_that_cannot_be_hashed_is_no_matter() -> None:
    """Of other packages, which mean something else."""
    comes_back([3], list[Annotated[int, annotated_types.Gt(1), {"unit": ["m"]}]])


def test_unions_stand_anywhere() -> None:
    """In a list, in a dict, in a key that may be absent."""
    comes_back(
        {"a": [1, None, "x", {"b": None}]}, dict[str, list[int | str | dict[str, None] | None]]
    )
    for value in ({"b": "x"}, {"a": None, "b": "x"}, {"a": 1, "b": "x"}):
        comes_back(value, Optional)


@pytest.mark.parametrize(
    ("kind", "value", "keyword"),
    [
        (Annotated[int, annotated_types.Gt(0)], 0, "exclusiveMinimum"),
        (Annotated[int, msgspec.Meta(gt=0)], 0, "exclusiveMinimum"),
        (Annotated[str, msgspec.Meta(pattern="^a$")], "b", "pattern"),
        (Annotated[list[int], annotated_types.Len(1, 2)], [], "minItems"),
        (Annotated[dict[str, int], annotated_types.MaxLen(0)], {"a": 1}, "maxProperties"),
        # What the wire's value cannot tell is told in words.
        (Annotated[bytes, annotated_types.MinLen(3)], "AA==", "description"),
        (Annotated[date, annotated_types.Gt(date(2026, 1, 1))], "2025-01-01", "description"),
        (annotated_types.LowerCase[str], "A", "description"),
    ],
)
def test_constraints_are_enforced_and_published(kind: Any, value: Any, keyword: str) -> None:
    """Both ways."""
    assert keyword in json_schema(kind)
    assert problem(lambda: structure(value, kind))[1].startswith("expected ")


# Hostile values


@attrs.define
class Node:
    value: int = 0
    children: list[Node] = attrs.Factory(list)
    anything: Any = None


@attrs.define
class Plain:
    name: str
    number: int = 0
    numbers: set[int] = attrs.Factory(set)


def nested(levels: int) -> Any:
    """Return a node within nodes, as JSON."""
    value: dict[str, Any] = {}
    for _ in range(levels):
        value = {"children": [value]}
    return value


HUGE = "x" * 10_000_000
strict: Any = Strict(Plain)


@pytest.mark.parametrize(
    "call",
    [
        lambda: structure(nested(5000), Node),
        lambda: read(b'{"children":[' * 100_000 + b"]}" * 100_000, Node),
        lambda: read(b'{"name":"x","number":' + b"9" * 100_000 + b"}", Plain),
        lambda: read(b'{"name":"x","number":1e400}', Plain),
        lambda: read(b'{"name":"\\ud800"}', Plain),
        lambda: read(b'{"name":"\xed\xa0\x80"}', Plain),
        lambda: read(b'{"name":"x","name":5}', Plain),
        lambda: structure({"name": "x", "number": HUGE}, Plain),
        lambda: structure({"name": "x", HUGE: 1}, strict),
        lambda: structure({f"name{n}": 1 for n in range(100_000)}, strict),
        lambda: structure({"name": "x", "numbers": ["x"] * 1_000_000}, Plain),
        # All of one hash: a set of these would take hours.
        lambda: structure([n * (2**61 - 1) for n in range(100_000)], set[int]),
        lambda: structure({str(n * (2**61 - 1)): 1 for n in range(100_000)}, dict[int, int]),
        lambda: structure({"9" * 5000: 1}, dict[int, int]),
        lambda: structure(HUGE, datetime),
        lambda: structure("P" + "1" * 10_000_000, timedelta),
        lambda: structure("1" * 10_000_000, Decimal),
        lambda: structure("A" * 9_999_999, bytes),
    ],
)
def test_what_is_hostile_is_one_of_our_errors_and_says_it_briefly(call: Any) -> None:
    """In bounded time: the whole of this takes seconds."""
    with pytest.raises(AlephScriptError) as caught:
        call()
    assert len(str(caught.value)) < 20_000


def test_values_that_hold_themselves_are_refused_where_they_are_written() -> None:
    """By the fast path and by the form."""
    node = Node()
    node.children.append(node)
    around: list[Any] = []
    around.append(around)
    for value in (node, [node], around, Node(anything=around), Node(anything=node)):
        for verb in (write, unstructure):
            with pytest.raises(AlephScriptError, match="nested deeper than 64 levels"):
                verb(value)


def test_the_last_of_two_equal_keys_counts() -> None:
    """For the fast path as for any other reader of JSON."""
    assert read(b'{"name":5,"name":"x"}', Plain) == Plain("x")
