# ruff: noqa: E501, F401 - rows are lines; what they name is imported
"""The table of the page about contracts: every kind of type, its schema, an example on the wire.

``python -m tests.contracts.table`` writes the table into the page. What stands in a row is code,
which is executed.

May go in: a row for each kind of type. May not: what is expected of a type beyond its row.
"""

from __future__ import annotations

import collections
import dataclasses
import enum
import pathlib
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import (
    Annotated,
    Any,
    Generic,
    Literal,
    NamedTuple,
    NewType,
    NotRequired,
    Optional,
    TypedDict,
    TypeVar,
)
from uuid import UUID

import attrs
import msgspec
import pydantic
from annotated_types import Gt, Len
from typing_extensions import TypeAliasType

from alephscript.contracts import json_schema, write
from tests.support.pages import DOCS

__all__ = ["BEGIN", "END", "PAGE", "ROWS", "Row", "kind_of", "render", "scope", "value_of"]

PAGE = DOCS / "reference" / "contracts.md"
BEGIN, END = "<!-- table of types -->", "<!-- end of the table -->"

T = TypeVar("T")


class Row(NamedTuple):
    """A row.

    Attributes:
        group: Heading of the rows that belong together.
        kind: The type, as code.
        value: An example, as code.
        definition: What has to be defined for both, as code; empty for nothing.
    """

    group: str
    kind: str
    value: str
    definition: str = ""


CLASSES, PLAIN, CHOICES = "Classes", "JSON's own", "Choices"
UNIONS, CONTAINERS, TEXTS, OTHERS = "Unions", "Containers", "As strings", "Others"

ROWS = [
    Row(CLASSES, "Sensor", "Sensor(sensor_id=7)", "@attrs.frozen\nclass Sensor:\n    sensor_id: int\n    name: str | None = None"),
    Row(CLASSES, "Reading", "Reading(sensor_id=7)", "@dataclasses.dataclass\nclass Reading:\n    sensor_id: int"),
    Row(CLASSES, "User", "User(full_name='Ada')", "class User(TypedDict):\n    full_name: str\n    age: NotRequired[int]"),
    Row(CLASSES, "Filter", "Filter(full_name='Ada')", "class Filter(TypedDict, total=False):\n    full_name: str"),
    Row(CLASSES, "Point", "Point(1, 2)", "class Point(NamedTuple):\n    x: int\n    y: int = 0"),
    Row(CLASSES, "Order", "Order(item_id=7)", "class Order(msgspec.Struct, rename='kebab', tag='order'):\n    item_id: int"),
    Row(CLASSES, "Account", "Account(ownerId=7)", "class Account(pydantic.BaseModel):\n    owner_id: int = pydantic.Field(alias='ownerId')"),
    Row(PLAIN, "str", "'x'"),
    Row(PLAIN, "int", "3"),
    Row(PLAIN, "float", "0.5"),
    Row(PLAIN, "bool", "True"),
    Row(PLAIN, "None", "None"),
    Row(PLAIN, "Any", "{'any': ['JSON', 1]}"),
    Row(PLAIN, "dict", "{'any': 'JSON'}"),
    Row(PLAIN, "list", "[1, 'x']"),
    Row(CHOICES, "Literal['on', 'off']", "'on'"),
    Row(CHOICES, "Literal[1, 2, None]", "2"),
    Row(CHOICES, "Colour", "Colour.RED", "class Colour(enum.Enum):\n    RED = 'red'\n    BLUE = 'blue'"),
    Row(CHOICES, "Mode", "Mode.FAST", "class Mode(enum.StrEnum):\n    FAST = 'fast'\n    SAFE = 'safe'"),
    Row(CHOICES, "Level", "Level.HIGH", "class Level(enum.IntEnum):\n    LOW = 1\n    HIGH = 2"),
    Row(CHOICES, "State", "State.ON", "class State(str, enum.Enum):\n    ON = 'on'\n    OFF = 'off'"),
    Row(CHOICES, "Rights", "Rights.READ | Rights.WRITE", "class Rights(enum.Flag):\n    READ = 1\n    WRITE = 2"),
    Row(UNIONS, "Optional[int]", "None"),
    Row(UNIONS, "int | str", "'x'"),
    Row(UNIONS, "Cat | Dog", "Cat('cat', 9)", "@attrs.frozen\nclass Cat:\n    kind: Literal['cat']\n    lives: int\n\n@attrs.frozen\nclass Dog:\n    kind: Literal['dog']"),
    Row(UNIONS, "Circle | Square", "Square(2)", "@attrs.frozen\nclass Circle:\n    radius: int\n\n@attrs.frozen\nclass Square:\n    side: int"),
    Row(CONTAINERS, "list[int]", "[1, 2]"),
    Row(CONTAINERS, "Sequence[int]", "[1, 2]"),
    Row(CONTAINERS, "tuple[int, ...]", "(1, 2)"),
    Row(CONTAINERS, "tuple[int, str]", "(1, 'x')"),
    Row(CONTAINERS, "set[int]", "{1, 2}"),
    Row(CONTAINERS, "frozenset[int]", "frozenset({1, 2})"),
    Row(CONTAINERS, "collections.deque[int]", "collections.deque([1, 2])"),
    Row(CONTAINERS, "dict[str, int]", "{'a': 1}"),
    Row(CONTAINERS, "Mapping[str, int]", "{'a': 1}"),
    Row(CONTAINERS, "dict[int, str]", "{7: 'x'}"),
    Row(CONTAINERS, "dict[Mode, int]", "{Mode.FAST: 1}"),
    Row(CONTAINERS, "dict[Level, int]", "{Level.HIGH: 1}"),
    Row(CONTAINERS, "dict[UUID, int]", "{UUID(int=1): 1}"),
    Row(TEXTS, "bytes", "b'\\x00\\xff'"),
    Row(TEXTS, "datetime", "datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)"),
    Row(TEXTS, "date", "date(2026, 1, 2)"),
    Row(TEXTS, "time", "time(3, 4, 5)"),
    Row(TEXTS, "timedelta", "timedelta(days=1, seconds=90)"),
    Row(TEXTS, "UUID", "UUID(int=1)"),
    Row(TEXTS, "Decimal", "Decimal('1.50')"),
    Row(TEXTS, "pathlib.Path", "pathlib.Path('a/b')"),
    Row(OTHERS, "UserId", "UserId(7)", "UserId = NewType('UserId', int)"),
    Row(OTHERS, "Annotated[int, Gt(0)]", "1"),
    Row(OTHERS, "Annotated[str, msgspec.Meta(pattern='^[a-z]+$')]", "'abc'"),
    Row(OTHERS, "Annotated[list[int], Len(1, 3)]", "[1]"),
    Row(OTHERS, "Page[int]", "Page([1])", "@attrs.frozen\nclass Page(Generic[T]):\n    items: list[T]"),
    Row(OTHERS, "Node", "Node([Node()])", "@attrs.frozen\nclass Node:\n    children: list['Node'] = attrs.field(factory=list)"),
    Row(OTHERS, "Tree", "{'a': {'b': 1}}", "Tree = TypeAliasType('Tree', 'dict[str, Tree] | int')"),
]  # fmt: skip


scope = globals()
for _row in ROWS:
    exec(_row.definition, scope)


def kind_of(row: Row) -> Any:
    """Return the type of a row."""
    return eval(row.kind, scope)


def value_of(row: Row) -> Any:
    """Return the example of a row."""
    return eval(row.value, scope)


def render() -> str:
    """Return the table as the page has it."""
    lines = []
    group = ""
    for row in ROWS:
        if row.group != group:
            group = row.group
            head = "| type | schema | example | on the wire |"
            lines += ["", f"### {group}", "", head, "| --- | --- | --- | --- |"]
        cells = (
            _code(row),
            _schema(kind_of(row)),
            row.value,
            write(value_of(row), kind_of(row)).decode(),
        )
        lines.append("| " + " | ".join(map(_cell, cells)) + " |")
    return "\n".join(lines).strip() + "\n"


def _code(row: Row) -> str:
    """Return the type as code; of a class its lines, too."""
    if not row.definition:
        return row.kind
    return row.definition.replace("\n\n", "\n")


def _cell(text: str) -> str:
    """Put lines of code into a cell of a table."""
    lines = [
        f"`{line.strip()}`" if line == line.lstrip() else f"\u2003`{line.strip()}`"
        for line in text.split("\n")
    ]
    return "<br>".join(lines).replace("|", "\\|")


def _schema(kind: Any) -> str:
    """Return the schema of a type, without titles and with long patterns cut."""
    return _json(_bare(json_schema(kind)))


def _bare(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_bare(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    bare: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "title" and isinstance(value, str):
            continue
        if key == "pattern" and len(value) > _LONGEST:
            bare[key] = "…"
        elif key == "type" and isinstance(value, list):
            bare[key] = sorted(value)  # int | str and str | int are one type
        elif key == "properties":
            bare[key] = {name: _bare(each) for name, each in value.items()}
        else:
            bare[key] = _bare(value)
    return bare


_LONGEST = 40
"""Characters of a pattern that the page shows."""


def _json(value: Any) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=0).decode()


def main() -> None:
    """Write the table into the page."""
    text = PAGE.read_text(encoding="utf-8")
    head, rest = text.split(f"{BEGIN}\n")
    _, tail = rest.split(END)
    PAGE.write_text(f"{head}{BEGIN}\n\n{render()}\n{END}{tail}", encoding="utf-8")


if __name__ == "__main__":
    main()
