"""An asker on one hub, a master on the other, observers on both, in every dialect."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from alephscript import AlephScriptClient, capability
from alephscript.errors import ConnectionRefused, PermissionDenied
from alephscript.hub import Hub, RoomSecrets
from tests.support.peers import Stock

pytestmark = pytest.mark.anyio

ANSWER = {"success": True, "n": 1}


class Bot(AlephScriptClient):
    """A master of ours."""

    rooms = ("R",)

    @capability("X")
    async def x(self, payload: dict[str, Any]) -> dict[str, Any]:
        """Say it again, and tell the room."""
        await self.broadcast("HAPPENED", payload)
        return payload


@pytest.fixture
async def hubs(shared_redis: Any) -> AsyncIterator[tuple[Hub, Hub]]:
    """Two hubs that are one mesh."""
    redis = shared_redis.url()
    async with Hub(port=0, redis=redis) as one, Hub(port=0, redis=redis) as two:
        yield one, two


@pytest.fixture
async def join() -> AsyncIterator[Callable[..., Awaitable[Stock]]]:
    """Makes stock peers, and takes them off again."""
    async with AsyncExitStack() as stack:

        async def join(hub: Hub, usuario: str, *rooms: str) -> Stock:
            peer = Stock("/runtime")
            await peer.sio.connect(hub.url, namespaces=["/runtime"], transports=["websocket"])
            stack.push_async_callback(peer.leave)
            await peer.call("CLIENT_REGISTER", {"usuario": usuario, "sesion": "-1"})
            for room in rooms:
                await peer.call("CLIENT_SUSCRIBE", {"room": room})
            return peer

        yield join


async def master(dialect: str, hub: Hub, join: Any, stack: AsyncExitStack) -> None:
    """A master of room R with the capability X, declared in a dialect."""
    if dialect == "ours":
        await stack.enter_async_context(Bot(hub.url))
        return
    peer = await join(hub, "M", "R")
    if dialect == "direct":

        async def x(payload: Any) -> Any:
            return {"success": True, **payload}

        peer.sio.on("GET_X", x, namespace="/runtime")
        await peer.call("MAKE_MASTER", {"room": "R", "features": ["X"]})
    else:

        async def answer(envelope: Any) -> None:
            data = {"success": True, **envelope["data"]}
            await peer.emit("ROOM_MESSAGE", {"event": "SET_X", "room": "R", "data": data})

        peer.sio.on("GET_X", answer, namespace="/runtime")
        declared = {"event": "MAKE_MASTER", "room": "R", "data": {"features": ["X"]}}
        await peer.call("ROOM_MESSAGE", declared)


@pytest.mark.parametrize("dialect", ["ours", "direct", "envelope"])
async def test_an_asker_with_callback_is_answered_from_the_other_hub(
    hubs: tuple[Hub, Hub], join: Any, dialect: str
) -> None:
    """Whether it asks directly or inside ROOM_MESSAGE, and whichever package it is of."""
    one, two = hubs
    async with AsyncExitStack() as stack:
        await master(dialect, two, join, stack)
        stock = await join(one, "A")
        assert await stock.call("GET_X", {"n": 1}) == ANSWER
        question = {"event": "GET_X", "room": "R", "data": {"n": 1}}
        assert await stock.call("ROOM_MESSAGE", question) == ANSWER
        asker = await stack.enter_async_context(AlephScriptClient(one.url))
        assert await asker.request("X", {"n": 1}) == {"n": 1}


@pytest.mark.parametrize("dialect", ["ours", "direct", "envelope"])
@pytest.mark.parametrize("inside", [True, False], ids=["in the room", "outside"])
async def test_an_asker_without_callback_and_observers_on_both_hubs_hear_one_set(
    hubs: tuple[Hub, Hub], join: Any, dialect: str, *, inside: bool
) -> None:
    """Exactly one each; what is said afterwards comes afterwards."""
    one, two = hubs
    async with AsyncExitStack() as stack:
        await master(dialect, two, join, stack)
        here, there = await join(one, "O1", "R"), await join(two, "O2", "R")
        asker = await join(one, "A", *(["R"] if inside else []))
        question = {"event": "GET_X", "room": "R", "data": {"n": 1}}
        await asker.emit("ROOM_MESSAGE", question)
        hearing = [here, there, asker]
        for peer in hearing:
            _, said = await peer.next("SET_X")
            assert said.pop("sender")
            assert said == ANSWER
        end = {"event": "THE_END", "room": "R", "data": 1}
        assert (await asker.call("ROOM_MESSAGE", end))["success"]
        for peer in hearing if inside else hearing[:2]:
            name, *_ = await peer.next("SET_X", "THE_END")
            assert name == "THE_END"


async def test_what_a_master_tells_before_its_answer_is_heard_before_it(
    hubs: tuple[Hub, Hub], join: Any
) -> None:
    """Order holds across hubs."""
    one, two = hubs
    async with Bot(two.url), AlephScriptClient(one.url) as asker:
        await asker.subscribe("R")
        events = asker.events("R", "HAPPENED")
        for n in range(50):
            assert await asker.request("X", {"n": n}) == {"n": n}
            assert (await anext(events)).data == {"n": n}


async def test_the_last_declaration_wins_wherever_it_is_made(hubs: tuple[Hub, Hub]) -> None:
    """The displaced master is told, and so are observers on both hubs; epochs grow."""
    one, two = hubs
    async with (
        AlephScriptClient(one.url) as here,
        AlephScriptClient(two.url) as there,
        Bot(two.url, usuario="first") as first,
    ):
        watches = [client.events("R", "MASTER_CHANGED") for client in (here, there, first)]
        for client in (here, there):
            await client.subscribe("R")
        async with Bot(one.url, usuario="second", sesion="2") as second, asyncio.timeout(5):
            told = [(await anext(watch)).data for watch in watches]
            assert {each["usuario"] for each in told} == {"second2"}
            assert {each["epoch"] for each in told} == {2}
            assert second.usuario == "second"
            assert await there.request("X", {"n": 1}) == {"n": 1}
        async with asyncio.timeout(5):
            again = [(await anext(watch)).data for watch in watches]
        assert {each["usuario"] for each in again} == {f"first{first.sesion}"}
        assert again[2]["displaced"] is False
        assert await there.request("X", {"n": 1}) == {"n": 1}


async def test_the_mesh_is_seen_whole_from_either_hub(hubs: tuple[Hub, Hub], join: Any) -> None:
    """Members, rooms, masters; and who is asked about itself answers."""
    one, two = hubs
    async with (
        Bot(two.url, usuario="bot", sesion="-1"),
        AlephScriptClient(one.url, usuario="asker", sesion="-1") as asker,
        AlephScriptClient(two.url, usuario="other", sesion="-1") as other,
    ):
        stock = await join(two, "stock", "ELSEWHERE")
        for client in (asker, other):
            state = await client.server_state()
            assert state["clients"] == 4
            assert {each["usuario"] for each in state["miembros"]} == {
                *("bot", "asker", "other", "stock")
            }
            rooms = {room["roomId"]: room for room in state["rooms"]}
            assert set(rooms) == {"R", "ELSEWHERE"}
            assert (rooms["R"]["master"], rooms["R"]["features"]) == ("bot-1", ["X"])
            assert [each["usuario"] for each in rooms["ELSEWHERE"]["miembros"]] == ["stock"]
            survey = await client.survey()
            assert not survey.missing
            assert set(survey.answers) == {"bot-1", "asker-1", "other-1"}
        assert (await stock.call("GET_SERVER_STATE", {}))["clients"] == 4


async def test_what_each_may_do_holds_across_hubs(shared_redis: Any) -> None:
    """A room's secret is good for that room, wherever it is mastered."""
    redis, secrets = shared_redis.url(), RoomSecrets({"R": "r", "S": "s"})
    async with (
        Hub(port=0, redis=redis, access=secrets) as one,
        Hub(port=0, redis=redis, access=secrets) as two,
        Bot(two.url, auth={"token": "r", "room": "R"}),
        AlephScriptClient(one.url, auth={"token": "r", "room": "R"}) as friend,
        AlephScriptClient(one.url, auth={"token": "s", "room": "S"}) as stranger,
    ):
        assert await friend.request("X", {"n": 1}) == {"n": 1}
        with pytest.raises(PermissionDenied):
            await stranger.request("X", {"n": 1}, room="R")
        state = await stranger.server_state()
        assert (state["clients"], state["rooms"]) == (1, [])
        assert (await friend.server_state())["clients"] == 2
        with pytest.raises(ConnectionRefused, match="unauthorized"):
            async with AlephScriptClient(one.url, auth={"token": "s", "room": "R"}):
                pass


async def test_a_hub_that_was_taken_for_dead_joins_again(shared_redis: Any) -> None:
    """Its lease is of another generation: others may have decided something meanwhile."""
    redis = shared_redis.url()
    database = redis.rpartition("/")[2]
    async with Hub(port=0, redis=redis) as hub, Bot(hub.url) as bot:
        assert hub._cluster is not None
        lease = f"alephscript:{database}:hub:{hub._cluster.hub}"
        shared_redis.command("-n", database, "set", lease, "of another")
        async with asyncio.timeout(10):
            while shared_redis.command("-n", database, "get", lease) in ("of another", ""):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            while not (offers := await bot.discover()):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert [offer.capability for offer in offers] == ["X"]
