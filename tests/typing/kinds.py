"""The static types of what is asked, for each kind of type that a contract may be.

Checked by mypy and basedpyright, never run. The rows are those of docs/reference/contracts.md.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import (
    Annotated,
    Any,
    Generic,
    Literal,
    NamedTuple,
    NewType,
    TypedDict,
    TypeVar,
    assert_type,
)
from uuid import UUID

import attrs
import msgspec
from msgspec import Meta
from pydantic import BaseModel

from alephscript import AlephScriptClient, RequestFor, capability

T = TypeVar("T")


class Colour(enum.Enum):
    RED = "red"


class Mood(enum.StrEnum):
    GOOD = "good"


class Level(enum.IntEnum):
    LOW = 1


class Kind(str, enum.Enum):  # noqa: UP042 - as many write it
    CAT = "cat"


class Permission(enum.Flag):
    READ = 1


@attrs.frozen
class Item:
    unit_price: float


@attrs.frozen
class Cat:
    kind: Literal["cat"] = "cat"


@attrs.frozen
class Dog:
    kind: Literal["dog"] = "dog"


@dataclass
class Reading:
    sensor_id: str


class Person(TypedDict):
    full_name: str


class Point(NamedTuple):
    x: int
    y: int


class Cell(msgspec.Struct):
    row_no: int


class Model(BaseModel):
    first_name: str


@attrs.frozen
class Page(Generic[T]):
    items: list[T]


@attrs.frozen
class Tree:
    children: list[Tree]


UserId = NewType("UserId", str)


class Ask0(RequestFor[str], capability="ASK_0"): ...


class Ask1(RequestFor[int], capability="ASK_1"): ...


class Ask2(RequestFor[float], capability="ASK_2"): ...


class Ask3(RequestFor[bool], capability="ASK_3"): ...


class Ask4(RequestFor[None], capability="ASK_4"): ...


class Ask5(RequestFor[Any], capability="ASK_5"): ...


class Ask6(RequestFor[dict[str, Any]], capability="ASK_6"): ...


class Ask7(RequestFor[list[int]], capability="ASK_7"): ...


class Ask8(RequestFor[list[Item]], capability="ASK_8"): ...


class Ask9(RequestFor[tuple[int, ...]], capability="ASK_9"): ...


class Ask10(RequestFor[tuple[int, str]], capability="ASK_10"): ...


class Ask11(RequestFor[set[int]], capability="ASK_11"): ...


class Ask12(RequestFor[frozenset[str]], capability="ASK_12"): ...


class Ask13(RequestFor[deque[int]], capability="ASK_13"): ...


class Ask14(RequestFor[Sequence[str]], capability="ASK_14"): ...


class Ask15(RequestFor[Mapping[str, Item]], capability="ASK_15"): ...


class Ask16(RequestFor[dict[Kind, int]], capability="ASK_16"): ...


class Ask17(RequestFor[dict[UUID, int]], capability="ASK_17"): ...


class Ask18(RequestFor[Literal["a", "b"]], capability="ASK_18"): ...


class Ask19(RequestFor[Colour], capability="ASK_19"): ...


class Ask20(RequestFor[Mood], capability="ASK_20"): ...


class Ask21(RequestFor[Level], capability="ASK_21"): ...


class Ask22(RequestFor[Kind], capability="ASK_22"): ...


class Ask23(RequestFor[Permission], capability="ASK_23"): ...


class Ask24(RequestFor[int | None], capability="ASK_24"): ...


class Ask25(RequestFor[int | str], capability="ASK_25"): ...


class Ask26(RequestFor[Cat | Dog], capability="ASK_26"): ...


class Ask27(RequestFor[Item | None], capability="ASK_27"): ...


class Ask28(RequestFor[bytes], capability="ASK_28"): ...


class Ask29(RequestFor[datetime], capability="ASK_29"): ...


class Ask30(RequestFor[date], capability="ASK_30"): ...


class Ask31(RequestFor[time], capability="ASK_31"): ...


class Ask32(RequestFor[timedelta], capability="ASK_32"): ...


class Ask33(RequestFor[UUID], capability="ASK_33"): ...


class Ask34(RequestFor[Decimal], capability="ASK_34"): ...


class Ask35(RequestFor[Path], capability="ASK_35"): ...


class Ask36(RequestFor[UserId], capability="ASK_36"): ...


class Ask37(RequestFor[Annotated[int, Meta(gt=0)]], capability="ASK_37"): ...


class Ask38(RequestFor[Item], capability="ASK_38"): ...


class Ask39(RequestFor[Reading], capability="ASK_39"): ...


class Ask40(RequestFor[Person], capability="ASK_40"): ...


class Ask41(RequestFor[Point], capability="ASK_41"): ...


class Ask42(RequestFor[Cell], capability="ASK_42"): ...


class Ask43(RequestFor[Model], capability="ASK_43"): ...


class Ask44(RequestFor[Page[Item]], capability="ASK_44"): ...


class Ask45(RequestFor[Tree], capability="ASK_45"): ...


class Bot(AlephScriptClient):
    rooms = ("R",)

    @capability
    async def ask_0(self, request: Ask0) -> str:
        raise NotImplementedError

    @capability
    async def ask_1(self, request: Ask1) -> int:
        raise NotImplementedError

    @capability
    async def ask_2(self, request: Ask2) -> float:
        raise NotImplementedError

    @capability
    async def ask_3(self, request: Ask3) -> bool:
        raise NotImplementedError

    @capability
    async def ask_4(self, request: Ask4) -> None:
        raise NotImplementedError

    @capability
    async def ask_5(self, request: Ask5) -> Any:
        raise NotImplementedError

    @capability
    async def ask_6(self, request: Ask6) -> dict[str, Any]:
        raise NotImplementedError

    @capability
    async def ask_7(self, request: Ask7) -> list[int]:
        raise NotImplementedError

    @capability
    async def ask_8(self, request: Ask8) -> list[Item]:
        raise NotImplementedError

    @capability
    async def ask_9(self, request: Ask9) -> tuple[int, ...]:
        raise NotImplementedError

    @capability
    async def ask_10(self, request: Ask10) -> tuple[int, str]:
        raise NotImplementedError

    @capability
    async def ask_11(self, request: Ask11) -> set[int]:
        raise NotImplementedError

    @capability
    async def ask_12(self, request: Ask12) -> frozenset[str]:
        raise NotImplementedError

    @capability
    async def ask_13(self, request: Ask13) -> deque[int]:
        raise NotImplementedError

    @capability
    async def ask_14(self, request: Ask14) -> Sequence[str]:
        raise NotImplementedError

    @capability
    async def ask_15(self, request: Ask15) -> Mapping[str, Item]:
        raise NotImplementedError

    @capability
    async def ask_16(self, request: Ask16) -> dict[Kind, int]:
        raise NotImplementedError

    @capability
    async def ask_17(self, request: Ask17) -> dict[UUID, int]:
        raise NotImplementedError

    @capability
    async def ask_18(self, request: Ask18) -> Literal["a", "b"]:
        raise NotImplementedError

    @capability
    async def ask_19(self, request: Ask19) -> Colour:
        raise NotImplementedError

    @capability
    async def ask_20(self, request: Ask20) -> Mood:
        raise NotImplementedError

    @capability
    async def ask_21(self, request: Ask21) -> Level:
        raise NotImplementedError

    @capability
    async def ask_22(self, request: Ask22) -> Kind:
        raise NotImplementedError

    @capability
    async def ask_23(self, request: Ask23) -> Permission:
        raise NotImplementedError

    @capability
    async def ask_24(self, request: Ask24) -> int | None:
        raise NotImplementedError

    @capability
    async def ask_25(self, request: Ask25) -> int | str:
        raise NotImplementedError

    @capability
    async def ask_26(self, request: Ask26) -> Cat | Dog:
        raise NotImplementedError

    @capability
    async def ask_27(self, request: Ask27) -> Item | None:
        raise NotImplementedError

    @capability
    async def ask_28(self, request: Ask28) -> bytes:
        raise NotImplementedError

    @capability
    async def ask_29(self, request: Ask29) -> datetime:
        raise NotImplementedError

    @capability
    async def ask_30(self, request: Ask30) -> date:
        raise NotImplementedError

    @capability
    async def ask_31(self, request: Ask31) -> time:
        raise NotImplementedError

    @capability
    async def ask_32(self, request: Ask32) -> timedelta:
        raise NotImplementedError

    @capability
    async def ask_33(self, request: Ask33) -> UUID:
        raise NotImplementedError

    @capability
    async def ask_34(self, request: Ask34) -> Decimal:
        raise NotImplementedError

    @capability
    async def ask_35(self, request: Ask35) -> Path:
        raise NotImplementedError

    @capability
    async def ask_36(self, request: Ask36) -> UserId:
        raise NotImplementedError

    @capability
    async def ask_37(self, request: Ask37) -> Annotated[int, Meta(gt=0)]:
        raise NotImplementedError

    @capability
    async def ask_38(self, request: Ask38) -> Item:
        raise NotImplementedError

    @capability
    async def ask_39(self, request: Ask39) -> Reading:
        raise NotImplementedError

    @capability
    async def ask_40(self, request: Ask40) -> Person:
        raise NotImplementedError

    @capability
    async def ask_41(self, request: Ask41) -> Point:
        raise NotImplementedError

    @capability
    async def ask_42(self, request: Ask42) -> Cell:
        raise NotImplementedError

    @capability
    async def ask_43(self, request: Ask43) -> Model:
        raise NotImplementedError

    @capability
    async def ask_44(self, request: Ask44) -> Page[Item]:
        raise NotImplementedError

    @capability
    async def ask_45(self, request: Ask45) -> Tree:
        raise NotImplementedError

    @capability("PARTS")
    async def parts(self) -> AsyncIterator[Item]:
        yield Item(1)


async def use(client: AlephScriptClient) -> None:  # noqa: C901, PLR0912, PLR0915 - a row each
    bot = client.proxy(Bot)
    assert_type(await client.request(Ask0()), str)
    assert_type(await bot.ask_0(Ask0()), str)
    async for part_0 in client.stream(Ask0()):
        assert_type(part_0, str)
    assert_type(await client.request(Ask1()), int)
    assert_type(await bot.ask_1(Ask1()), int)
    async for part_1 in client.stream(Ask1()):
        assert_type(part_1, int)
    assert_type(await client.request(Ask2()), float)
    assert_type(await bot.ask_2(Ask2()), float)
    async for part_2 in client.stream(Ask2()):
        assert_type(part_2, float)
    assert_type(await client.request(Ask3()), bool)
    assert_type(await bot.ask_3(Ask3()), bool)
    async for part_3 in client.stream(Ask3()):
        assert_type(part_3, bool)
    assert_type(await client.request(Ask4()), None)
    assert_type(await bot.ask_4(Ask4()), None)
    async for part_4 in client.stream(Ask4()):
        assert_type(part_4, None)
    assert_type(await client.request(Ask5()), Any)
    assert_type(await bot.ask_5(Ask5()), Any)
    async for part_5 in client.stream(Ask5()):
        assert_type(part_5, Any)
    assert_type(await client.request(Ask6()), dict[str, Any])
    assert_type(await bot.ask_6(Ask6()), dict[str, Any])
    async for part_6 in client.stream(Ask6()):
        assert_type(part_6, dict[str, Any])
    assert_type(await client.request(Ask7()), list[int])
    assert_type(await bot.ask_7(Ask7()), list[int])
    async for part_7 in client.stream(Ask7()):
        assert_type(part_7, list[int])
    assert_type(await client.request(Ask8()), list[Item])
    assert_type(await bot.ask_8(Ask8()), list[Item])
    async for part_8 in client.stream(Ask8()):
        assert_type(part_8, list[Item])
    assert_type(await client.request(Ask9()), tuple[int, ...])
    assert_type(await bot.ask_9(Ask9()), tuple[int, ...])
    async for part_9 in client.stream(Ask9()):
        assert_type(part_9, tuple[int, ...])
    assert_type(await client.request(Ask10()), tuple[int, str])
    assert_type(await bot.ask_10(Ask10()), tuple[int, str])
    async for part_10 in client.stream(Ask10()):
        assert_type(part_10, tuple[int, str])
    assert_type(await client.request(Ask11()), set[int])
    assert_type(await bot.ask_11(Ask11()), set[int])
    async for part_11 in client.stream(Ask11()):
        assert_type(part_11, set[int])
    assert_type(await client.request(Ask12()), frozenset[str])
    assert_type(await bot.ask_12(Ask12()), frozenset[str])
    async for part_12 in client.stream(Ask12()):
        assert_type(part_12, frozenset[str])
    assert_type(await client.request(Ask13()), deque[int])
    assert_type(await bot.ask_13(Ask13()), deque[int])
    async for part_13 in client.stream(Ask13()):
        assert_type(part_13, deque[int])
    assert_type(await client.request(Ask14()), Sequence[str])
    assert_type(await bot.ask_14(Ask14()), Sequence[str])
    async for part_14 in client.stream(Ask14()):
        assert_type(part_14, Sequence[str])
    assert_type(await client.request(Ask15()), Mapping[str, Item])
    assert_type(await bot.ask_15(Ask15()), Mapping[str, Item])
    async for part_15 in client.stream(Ask15()):
        assert_type(part_15, Mapping[str, Item])
    assert_type(await client.request(Ask16()), dict[Kind, int])
    assert_type(await bot.ask_16(Ask16()), dict[Kind, int])
    async for part_16 in client.stream(Ask16()):
        assert_type(part_16, dict[Kind, int])
    assert_type(await client.request(Ask17()), dict[UUID, int])
    assert_type(await bot.ask_17(Ask17()), dict[UUID, int])
    async for part_17 in client.stream(Ask17()):
        assert_type(part_17, dict[UUID, int])
    assert_type(await client.request(Ask18()), Literal["a", "b"])
    assert_type(await bot.ask_18(Ask18()), Literal["a", "b"])
    async for part_18 in client.stream(Ask18()):
        assert_type(part_18, Literal["a", "b"])
    assert_type(await client.request(Ask19()), Colour)
    assert_type(await bot.ask_19(Ask19()), Colour)
    async for part_19 in client.stream(Ask19()):
        assert_type(part_19, Colour)
    assert_type(await client.request(Ask20()), Mood)
    assert_type(await bot.ask_20(Ask20()), Mood)
    async for part_20 in client.stream(Ask20()):
        assert_type(part_20, Mood)
    assert_type(await client.request(Ask21()), Level)
    assert_type(await bot.ask_21(Ask21()), Level)
    async for part_21 in client.stream(Ask21()):
        assert_type(part_21, Level)
    assert_type(await client.request(Ask22()), Kind)
    assert_type(await bot.ask_22(Ask22()), Kind)
    async for part_22 in client.stream(Ask22()):
        assert_type(part_22, Kind)
    assert_type(await client.request(Ask23()), Permission)
    assert_type(await bot.ask_23(Ask23()), Permission)
    async for part_23 in client.stream(Ask23()):
        assert_type(part_23, Permission)
    assert_type(await client.request(Ask24()), int | None)
    assert_type(await bot.ask_24(Ask24()), int | None)
    async for part_24 in client.stream(Ask24()):
        assert_type(part_24, int | None)
    assert_type(await client.request(Ask25()), int | str)
    assert_type(await bot.ask_25(Ask25()), int | str)
    async for part_25 in client.stream(Ask25()):
        assert_type(part_25, int | str)
    assert_type(await client.request(Ask26()), Cat | Dog)
    assert_type(await bot.ask_26(Ask26()), Cat | Dog)
    async for part_26 in client.stream(Ask26()):
        assert_type(part_26, Cat | Dog)
    assert_type(await client.request(Ask27()), Item | None)
    assert_type(await bot.ask_27(Ask27()), Item | None)
    async for part_27 in client.stream(Ask27()):
        assert_type(part_27, Item | None)
    assert_type(await client.request(Ask28()), bytes)
    assert_type(await bot.ask_28(Ask28()), bytes)
    async for part_28 in client.stream(Ask28()):
        assert_type(part_28, bytes)
    assert_type(await client.request(Ask29()), datetime)
    assert_type(await bot.ask_29(Ask29()), datetime)
    async for part_29 in client.stream(Ask29()):
        assert_type(part_29, datetime)
    assert_type(await client.request(Ask30()), date)
    assert_type(await bot.ask_30(Ask30()), date)
    async for part_30 in client.stream(Ask30()):
        assert_type(part_30, date)
    assert_type(await client.request(Ask31()), time)
    assert_type(await bot.ask_31(Ask31()), time)
    async for part_31 in client.stream(Ask31()):
        assert_type(part_31, time)
    assert_type(await client.request(Ask32()), timedelta)
    assert_type(await bot.ask_32(Ask32()), timedelta)
    async for part_32 in client.stream(Ask32()):
        assert_type(part_32, timedelta)
    assert_type(await client.request(Ask33()), UUID)
    assert_type(await bot.ask_33(Ask33()), UUID)
    async for part_33 in client.stream(Ask33()):
        assert_type(part_33, UUID)
    assert_type(await client.request(Ask34()), Decimal)
    assert_type(await bot.ask_34(Ask34()), Decimal)
    async for part_34 in client.stream(Ask34()):
        assert_type(part_34, Decimal)
    assert_type(await client.request(Ask35()), Path)
    assert_type(await bot.ask_35(Ask35()), Path)
    async for part_35 in client.stream(Ask35()):
        assert_type(part_35, Path)
    assert_type(await client.request(Ask36()), UserId)
    assert_type(await bot.ask_36(Ask36()), UserId)
    async for part_36 in client.stream(Ask36()):
        assert_type(part_36, UserId)
    assert_type(await client.request(Ask37()), int)
    assert_type(await bot.ask_37(Ask37()), int)
    async for part_37 in client.stream(Ask37()):
        assert_type(part_37, int)
    assert_type(await client.request(Ask38()), Item)
    assert_type(await bot.ask_38(Ask38()), Item)
    async for part_38 in client.stream(Ask38()):
        assert_type(part_38, Item)
    assert_type(await client.request(Ask39()), Reading)
    assert_type(await bot.ask_39(Ask39()), Reading)
    async for part_39 in client.stream(Ask39()):
        assert_type(part_39, Reading)
    assert_type(await client.request(Ask40()), Person)
    assert_type(await bot.ask_40(Ask40()), Person)
    async for part_40 in client.stream(Ask40()):
        assert_type(part_40, Person)
    assert_type(await client.request(Ask41()), Point)
    assert_type(await bot.ask_41(Ask41()), Point)
    async for part_41 in client.stream(Ask41()):
        assert_type(part_41, Point)
    assert_type(await client.request(Ask42()), Cell)
    assert_type(await bot.ask_42(Ask42()), Cell)
    async for part_42 in client.stream(Ask42()):
        assert_type(part_42, Cell)
    assert_type(await client.request(Ask43()), Model)
    assert_type(await bot.ask_43(Ask43()), Model)
    async for part_43 in client.stream(Ask43()):
        assert_type(part_43, Model)
    assert_type(await client.request(Ask44()), Page[Item])
    assert_type(await bot.ask_44(Ask44()), Page[Item])
    async for part_44 in client.stream(Ask44()):
        assert_type(part_44, Page[Item])
    assert_type(await client.request(Ask45()), Tree)
    assert_type(await bot.ask_45(Ask45()), Tree)
    async for part_45 in client.stream(Ask45()):
        assert_type(part_45, Tree)
