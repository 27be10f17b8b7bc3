"""A master's methods are called from afar by the names that they have there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Protocol

import attrs
import pytest

from alephscript import (
    AlephScriptClient,
    DeadlineExceeded,
    DeclarationError,
    NoMaster,
    RequestFor,
    capability,
)

pytestmark = pytest.mark.anyio


@attrs.frozen
class Sum:
    """A sum."""

    total: int


@attrs.frozen
class Add(RequestFor[Sum], capability="ADD"):
    """Add."""

    a: int
    b: int


class Abacus(AlephScriptClient):
    """Adds and counts."""

    rooms = ("SUMS",)

    @capability
    async def add(self, request: Add) -> Sum:
        """Add two numbers."""
        return Sum(request.a + request.b)

    @capability("COUNT")
    async def count(self, to: int) -> AsyncIterator[Sum]:
        """Count."""
        for number in range(to):
            yield Sum(number)

    @capability("TALK")
    async def talk(self) -> dict[str, Any]:
        """Say something."""
        return {"text": "hello"}

    @capability("SLEEP")
    async def sleep(self) -> None:
        """Never answer."""
        await asyncio.Event().wait()

    async def hidden(self) -> None:
        """Not for others."""


class Adding(Protocol):
    """What somebody who has not got the class knows of it."""

    async def add(self, request: Add) -> Sum:
        """Add."""
        ...

    @capability("TALK")
    async def say(self) -> dict[str, Any]:
        """Say something."""
        ...


async def test_methods_ask_and_give_what_the_master_declares(mesh: Any) -> None:
    """Typed, untyped and in parts."""
    await mesh.open(Abacus)
    bot = (await mesh.open()).proxy(Abacus)
    assert await bot.add(Add(1, 2)) == Sum(3)
    assert await bot.talk() == {"text": "hello"}
    assert [part async for part in bot.count(3)] == [Sum(0), Sum(1), Sum(2)]


async def test_a_protocol_does_without_the_class(mesh: Any) -> None:
    """It may have names of its own."""
    await mesh.open(Abacus)
    bot = (await mesh.open()).proxy(Adding)
    assert await bot.add(Add(2, 2)) == Sum(4)
    assert await bot.say() == {"text": "hello"}


async def test_room_and_timeout_hold_for_every_call(mesh: Any) -> None:
    """As in request."""
    await mesh.open(Abacus)
    client = await mesh.open()
    with pytest.raises(NoMaster):
        await client.proxy(Abacus, room="ELSEWHERE").talk()
    with pytest.raises(DeadlineExceeded):
        await client.proxy(Abacus, timeout=0.05).sleep()


async def test_what_is_no_capability_is_no_attribute(mesh: Any) -> None:
    """Said with the class's name; and what is there can be listed."""
    bot = (await mesh.open()).proxy(Abacus)
    with pytest.raises(AttributeError, match="Abacus offers no capability by a method 'hidden'"):
        await bot.hidden()
    assert dir(bot) == ["add", "count", "sleep", "talk"]


def test_what_offers_nothing_is_refused() -> None:
    """At once, not at the first call."""

    class Silent(Protocol):
        async def what(self, request: int) -> int: ...

    client = AlephScriptClient()
    with pytest.raises(DeclarationError, match="offers nothing"):
        client.proxy(AlephScriptClient)
    with pytest.raises(DeclarationError, match="RequestFor"):
        client.proxy(Silent)  # type: ignore[type-abstract]
