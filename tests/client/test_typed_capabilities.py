"""Types of capabilities from end to end: what a method declares comes back as itself."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypedDict
from uuid import UUID

import attrs
import msgspec
import pydantic
import pytest

from alephscript import (
    AlephScriptClient,
    ContractError,
    DeclarationError,
    Event,
    Internal,
    InvalidPayload,
    capability,
    on,
)
from alephscript.contracts import JSONSchema, structure

pytestmark = pytest.mark.anyio


@attrs.frozen
class Item:
    """A thing."""

    name: str
    note: str | None = None


@attrs.frozen
class Empty:
    """A contract that is ``{}`` on the wire when nothing is known."""

    known: int | None = None


class Person(TypedDict, total=False):
    """Keys as they are written."""

    full_name: str


class Point(NamedTuple):
    """An array."""

    x: int
    y: int = 3


class Cell(msgspec.Struct, rename="camel", tag="cell"):
    """Keys as the Struct renames them."""

    row_no: int


class Model(pydantic.BaseModel):
    """Keys by alias."""

    first_name: str = pydantic.Field(alias="firstName")


@dataclass
class Reading:
    """Keys in camelCase."""

    sensor_id: str
    ids: list[UUID]
    at: datetime


NUMBERS = {
    "type": "object",
    "properties": {"count": {"type": "integer", "maximum": 9}},
    "required": ["count"],
}

MODEL = Model(firstName="a")
READING = Reading("s", [UUID(int=3)], datetime(2026, 1, 2, tzinfo=UTC))

VALUES: list[tuple[Any, Any]] = [
    (Item, Item("a")),
    (Item | None, None),
    (Item | None, Item("a")),
    (Empty | None, Empty()),
    (list[int] | Item, [1]),
    (list[int] | Item, Item("a")),
    (dict[str, int], {"success": 1, "result": 2, "error": 3}),
    (dict[str, Item] | None, {"result": Item("a")}),
    (dict[int, Point], {1: Point(2)}),
    (bool, False),
    (str, ""),
    (list[list[int]], [[], [1]]),
    (Person, {"full_name": "x"}),
    (Person, {}),
    (Point, Point(1)),
    (Cell, Cell(1)),
    (Model, MODEL),
    (Reading, READING),
    (type(None), None),
]


def echo_of(kind: Any) -> tuple[type[AlephScriptClient], list[Any]]:
    """A master that gives back what it is given, and keeps what it hears."""
    heard: list[Any] = []

    async def echo(self: Any, request: Any) -> Any:
        return request

    async def parts(self: Any, request: Any) -> Any:
        yield request

    async def hear(self: Any, event: Any) -> None:
        heard.append(event.data)

    echo.__annotations__ = {"request": kind, "return": kind}
    parts.__annotations__ = {"request": kind, "return": AsyncIterator[kind]}
    hear.__annotations__ = {"event": Event[kind]}
    methods = {
        "echo": capability("ECHO")(echo),
        "parts": capability("PARTS")(parts),
        "hear": on("SAID")(hear),
    }
    return type("Echo", (AlephScriptClient,), {"rooms": ("R",), **methods}), heard


@pytest.mark.parametrize(("kind", "value"), VALUES, ids=lambda each: str(each)[:40])
async def test_what_is_sent_comes_back_as_itself(mesh: Any, kind: Any, value: Any) -> None:
    """By every way to ask, and by an event."""
    echo, heard = echo_of(kind)
    await mesh.open(echo)
    asker = await mesh.open()
    await asker.subscribe("R")
    listener = asker.events("R", "SAID")
    bot: Any = asker.proxy(echo)
    answers = [
        await asker.request("ECHO", value, reply=kind),
        await bot.echo(value),
        *[part async for part in asker.stream("PARTS", value, reply=kind)],
        *[part async for part in bot.parts(value)],
    ]
    assert answers == [value] * 4
    assert {type(each) for each in answers} == {type(value)}
    await asker.broadcast("SAID", value, room="R")
    await anext(listener)
    await asker.request("ECHO", value)  # the master has heard what came before
    assert heard == [value]


class Bot(AlephScriptClient):
    """Takes and gives by schemas, and strictly."""

    rooms = ("R",)

    @capability("STRICT", strict=True)
    async def strict(self, request: Item) -> Item:
        """Take known keys alone."""
        return request

    @capability(
        "COUNT",
        request_schema=NUMBERS,
        reply_schema={"type": "array", "items": {"type": "integer"}},
    )
    async def count(self, request: Any) -> Any:
        """Count, or say what no count is."""
        return tuple(range(request["count"])) if request["count"] < 5 else ["five"]

    @capability("NOTHING")
    async def nothing(self, request: list[int] | None = None) -> None:
        """Say nothing, of nothing."""
        assert request is None


async def test_a_strict_capability_names_the_key_that_was_meant(mesh: Any) -> None:
    """And its schema says that there are no others."""
    await mesh.open(Bot)
    asker = await mesh.open()
    assert await asker.request("STRICT", {"name": "a"}) == {"name": "a"}
    with pytest.raises(InvalidPayload, match="nme: unknown key; did you mean `name`"):
        await asker.request("STRICT", {"name": "a", "nme": "b"})
    with pytest.raises(InvalidPayload, match="zzz: unknown key; Item has no such key"):
        await asker.request("STRICT", {"name": "a", "zzz": "b"})
    [offer] = [each for each in await asker.discover() if each.capability == "STRICT"]
    assert offer.request is not None
    assert offer.request["additionalProperties"] is False


async def test_schemas_by_hand_are_held_on_both_sides(mesh: Any) -> None:
    """What the asker sends, and what the method returns."""
    await mesh.open(Bot)
    asker = await mesh.open()
    assert await asker.request("COUNT", {"count": 2}) == {"result": [0, 1]}
    assert await asker.proxy(Bot).count({"count": 2}) == [0, 1]
    for wrong in ({}, {"count": "2"}, {"count": 10}):
        with pytest.raises(InvalidPayload):
            await asker.request("COUNT", wrong)
    with pytest.raises(Internal):
        await asker.request("COUNT", {"count": 7})
    [offer] = [each for each in await asker.discover() if each.capability == "COUNT"]
    assert offer.request == NUMBERS


def test_of_a_million_wrong_values_the_first_ones_are_told() -> None:
    """Each problem quotes its value: all of them would be told for minutes."""
    declared: Any = JSONSchema({"type": "array", "items": {"type": "integer"}})
    with pytest.raises(ContractError) as told:
        structure(["x"] * 1_000_000, declared)
    assert [each["path"] for each in told.value.problems] == [f"[{n}]" for n in range(20)]
    with pytest.raises(ContractError) as told:
        structure({"numbers": ["x"] * 1_000}, Many)
    assert len(told.value.problems) == 100
    with pytest.raises(ContractError) as told:
        structure(["x"] * 1_000_000, list[int])
    assert len(told.value.problems) == 100


async def test_nothing_is_none_both_ways(mesh: Any) -> None:
    """No payload where None is taken; no reply where None is declared."""
    await mesh.open(Bot)
    asker = await mesh.open()
    assert await asker.request("NOTHING") == {}
    await asker.proxy(Bot).nothing()
    nothing: Any = type(None)
    assert await asker.request("NOTHING", None, reply=nothing) is None


async def test_what_has_no_form_is_refused_before_it_is_sent(mesh: Any) -> None:
    """With its place."""
    asker = await mesh.open()
    with pytest.raises(ContractError, match=r"list: \[0\].name: expected a string"):
        await asker.request("X", [Item(5)])  # type: ignore[arg-type]


class Forbidding(pydantic.BaseModel, extra="forbid"):
    """A model that refuses unknown keys by itself."""

    a: int


class Many(pydantic.BaseModel):
    """A model with many places for mistakes."""

    numbers: list[int]


async def method(self: Any, request: Any) -> dict[str, Any]:
    """Take anything."""
    return {}


@pytest.mark.parametrize(
    ("options", "annotation", "message"),
    [
        ({"strict": True}, Any, "annotate it with a contract"),
        ({"strict": True}, Model, "model_config"),
        ({"request_schema": {"type": "thing"}}, Any, "no JSON Schema"),
        ({"request_schema": NUMBERS}, Item, "a schema of its own"),
    ],
)
def test_what_cannot_be_held_is_refused_at_declaration(
    options: dict[str, Any], annotation: Any, message: str
) -> None:
    """With what to do instead."""
    method.__annotations__ = {"request": annotation}
    with pytest.raises(DeclarationError, match=message):
        capability("X", **options)(method)
    method.__annotations__ = {"request": Forbidding}
    capability("X", strict=True)(method)
