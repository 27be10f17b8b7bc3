"""Asking a capability: what arrives, and what comes back."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import attrs
import pytest

from alephscript import (
    AlephScriptClient,
    AmbiguousRoom,
    CapabilityError,
    Request,
    RequestFor,
    capability,
)

pytestmark = pytest.mark.anyio


@attrs.frozen
class Greeting:
    """What a greeter answers."""

    the_text: str


@attrs.frozen
class Greet(RequestFor[Greeting], capability="GREET_TYPED"):
    """Ask to greet somebody."""

    who_is_it: str


@attrs.frozen
class Work:
    """Something to do."""

    number: int


class Desk(AlephScriptClient):
    """Offers one of everything."""

    rooms = ("DESK",)

    @capability("GREET")
    async def greet(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answer with an object."""
        return {"text": f"hello {request['who']}"}

    @capability
    async def greet_typed(self, request: Greet) -> Greeting:
        """Answer with a contract."""
        return Greeting(the_text=f"hello {request.who_is_it}")

    @capability("NOTHING")
    async def nothing(self) -> None:
        """Answer that it is done."""

    @capability("ANY")
    async def anything(self, value: Any) -> Any:
        """Answer with what was asked, inside a list."""
        return [value]

    @capability("OLD", aliases=("OLDER", "OLDEST"))
    async def old(self) -> dict[str, Any]:
        """Have three names."""
        return {"age": 100}

    @capability("WHO")
    async def who(self, request: Request[Work]) -> dict[str, Any]:
        """Tell what the request says of itself."""
        return {
            "number": request.payload.number,
            "room": request.room,
            "caller": request.caller,
            "remaining": request.time_remaining(),
            "name": request.capability,
        }

    @capability("THREAD")
    def thread(self, request: dict[str, Any]) -> dict[str, Any]:
        """Say where a plain function runs."""
        return {"main": threading.current_thread() is threading.main_thread()}

    @capability("DOUBLE")
    async def double(self, work: Work) -> dict[str, Any]:
        """Let the others run first, the later the sooner."""
        for _ in range(100 - work.number):
            await asyncio.sleep(0)
        return {"double": work.number * 2}


async def test_a_name_and_an_object_get_an_object(mesh: Any) -> None:
    """What is asked and answered are JSON objects, without ``success``."""
    await mesh.open(Desk)
    client = await mesh.open()
    assert await client.request("GREET", {"who": "you"}) == {"text": "hello you"}
    assert await client.request("GET_GREET", {"who": "you"}) == {"text": "hello you"}


async def test_a_name_and_a_contract_get_the_reply_that_is_asked_for(mesh: Any) -> None:
    """``reply=`` decodes the answer."""
    await mesh.open(Desk)
    client = await mesh.open()
    answer = await client.request("GREET_TYPED", Greet("you"), reply=Greeting)
    assert answer == Greeting("hello you")


async def test_a_typed_request_gets_its_reply(mesh: Any) -> None:
    """The request says whom to ask and what comes back."""
    await mesh.open(Desk)
    client = await mesh.open()
    assert await client.request(Greet("you")) == Greeting("hello you")


async def test_what_is_no_object_comes_as_result(mesh: Any) -> None:
    """None is success and nothing else; other JSON values are in ``result``."""
    await mesh.open(Desk)
    client = await mesh.open()
    assert await client.request("NOTHING") == {}
    assert await client.request("ANY", 5) == {"result": [5]}
    assert await client.request("ANY", "ñ") == {"result": ["ñ"]}


async def test_an_alias_answers_like_the_name(mesh: Any) -> None:
    """An alias is not declared, so the room has to be named."""
    await mesh.open(Desk)
    client = await mesh.open()
    for name in ("OLD", "OLDER", "OLDEST"):
        assert await client.request(name, room="DESK") == {"age": 100}


async def test_a_handler_sees_who_asks_and_how_long(mesh: Any) -> None:
    """``Request[…]`` carries payload, room, caller and time."""
    await mesh.open(Desk)
    client = await mesh.open(usuario="asker", sesion="1")
    seen = await client.request("WHO", Work(7), timeout=5)
    assert 0 < seen.pop("remaining") <= 5
    assert seen == {"number": 7, "room": "DESK", "caller": "asker1", "name": "WHO"}


async def test_a_plain_function_runs_in_a_thread(mesh: Any) -> None:
    """It may block without holding up the client."""
    await mesh.open(Desk)
    client = await mesh.open()
    assert await client.request("THREAD") == {"main": False}


async def test_each_of_fifty_askers_gets_its_own_answer(mesh: Any) -> None:
    """Answers come in another order than the questions, from two askers."""
    await mesh.open(Desk)
    askers = [await mesh.open(), await mesh.open()]
    async with asyncio.timeout(5):
        answers = await asyncio.gather(
            *(askers[n % 2].request("DOUBLE", Work(n)) for n in range(50))
        )
    assert answers == [{"double": n * 2} for n in range(50)]


class Tower(AlephScriptClient):
    """Asks others while it serves; a base, without a room of its own."""

    async def pass_on(self, name: str, request: Request[dict[str, Any]]) -> dict[str, Any]:
        """Ask the other tower, until the count is down."""
        count = request.payload["count"]
        if count == 0:
            return {"remaining": [request.time_remaining()]}
        answer = await self.request(name, {"count": count - 1}, timeout=60)
        return {"remaining": [request.time_remaining(), *answer["remaining"]]}


class East(Tower):
    """Asks the west."""

    rooms = ("EAST",)

    @capability("EAST")
    async def east(self, request: Request[dict[str, Any]]) -> dict[str, Any]:
        """Pass on to the west."""
        return await self.pass_on("WEST", request)


class West(Tower):
    """Asks the east."""

    rooms = ("WEST",)

    @capability("WEST")
    async def west(self, request: Request[dict[str, Any]]) -> dict[str, Any]:
        """Pass on to the east."""
        return await self.pass_on("EAST", request)


async def test_towers_that_ask_each_other_do_not_block_each_other(mesh: Any) -> None:
    """A asks B, which asks A, which asks B, all of them waiting."""
    await mesh.open(West)
    east = await mesh.open(East)
    async with asyncio.timeout(5):
        answer = await east.request("WEST", {"count": 4})
    assert len(answer["remaining"]) == 5


async def test_what_is_asked_meanwhile_gets_at_most_what_remains(mesh: Any) -> None:
    """The first asker's three seconds bound every request down the line, whatever they ask for."""
    await mesh.open(West)
    await mesh.open(East)
    client = await mesh.open()
    answer = await client.request("WEST", {"count": 3}, timeout=3)
    assert all(0 < remaining <= 3 for remaining in answer["remaining"])


async def test_the_room_says_whose_capability_is_asked(mesh: Any) -> None:
    """Two rooms offer one name: the asker has to say which."""

    class There(AlephScriptClient):
        rooms = ("THERE",)

        @capability("GREET")
        async def greet(self) -> dict[str, Any]:
            return {"text": "from there"}

    await mesh.open(Desk)
    await mesh.open(There)
    client = await mesh.open()
    assert await client.request("GREET", room="THERE") == {"text": "from there"}
    assert await client.request("GREET", {"who": "x"}, room="DESK") == {"text": "hello x"}
    with pytest.raises(AmbiguousRoom) as caught:
        await client.request("GREET")
    assert sorted(caught.value.details) == ["DESK", "THERE"]


async def test_an_announced_answer_is_told_to_the_room(mesh: Any) -> None:
    """Who watches the room hears SET_; a failure is the asker's alone."""

    class Crier(AlephScriptClient):
        rooms = ("SQUARE",)

        @capability("NEWS", announce=True)
        async def news(self, what: dict[str, Any]) -> dict[str, Any]:
            if not what:
                raise CapabilityError("no_news", "there is none")
            return {"told": what["what"]}

    await mesh.open(Crier)
    client = await mesh.open()
    watcher = await mesh.open()
    await watcher.subscribe("SQUARE")
    async with asyncio.timeout(5), watcher.events() as heard:
        with pytest.raises(CapabilityError):
            await client.request("NEWS")
        assert await client.request("NEWS", {"what": "peace"}) == {"told": "peace"}
        event = await anext(heard)
    assert (event.room, event.name, event.data["told"]) == ("SQUARE", "SET_NEWS", "peace")


async def test_what_an_override_does_is_what_is_asked(mesh: Any) -> None:
    """A decorated override replaces the base's method; options are the client's own."""

    class Polite(Desk):
        @capability("GREET")
        async def greet(self, request: dict[str, Any]) -> dict[str, Any]:
            return {"text": f"good day {request['who']}"}

    await mesh.open(Polite)
    client = await mesh.open()
    assert await client.request("GREET", {"who": "you"}) == {"text": "good day you"}
