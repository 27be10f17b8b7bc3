"""A bridge passes on what is allowed between a room of two meshes, and nothing else."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest

from alephscript import (
    AlephScriptClient,
    CapabilityError,
    ContractError,
    DeadlineExceeded,
    InvalidPayload,
    MasterLost,
    NoAnswerer,
    NoMaster,
    Progress,
    Question,
    State,
    StateError,
    UnknownCapability,
)
from alephscript.bridge import Allowed, Bridge, Count, bridge as bridge_module
from tests.bridge.conftest import OpenMesh
from tests.support.bridges import CAPABILITIES, Member, Order, Shop, counted, make_bridge, offered
from tests.support.meshes import MeshUnderTest

pytestmark = pytest.mark.anyio

STRANGE: list[Any] = [
    None,
    True,
    0,
    -0.0,
    1e-7,
    2**53 + 1,
    10**40,
    "",
    "\u2028\x00\x1b[2J",
    "🦤",
    [],
    [[[]]],
    {},
    {"": {"__proto__": {"constructor": None}}, "10": 1, "2": 2, "sender": "me"},
    {"_placeholder": True, "num": 0},
    {"success": False, "error": "no", "event": "X", "room": "S", "data": 1},
]


async def test_events_cross_as_they_were_said_once_and_in_order(
    a: MeshUnderTest, b: MeshUnderTest
) -> None:
    """Both ways; whoever is beside the one that says them hears them once, too."""
    here, there = await a.open(Member), await b.open(Member)
    async with make_bridge(a, b, events=["SAID", "DONE"]):
        for n, data in enumerate(STRANGE):
            await here.broadcast("SAID", [n, data])
        await here.broadcast("DONE")
        for member in (here, there):
            heard = await member.heard("DONE")
            assert [each.data for each in heard] == [[n, data] for n, data in enumerate(STRANGE)]
        await there.broadcast("SAID", "back")
        await there.broadcast("DONE")
        for member in (here, there):
            assert [each.data for each in await member.heard("DONE")] == ["back"]


async def test_what_a_room_remembers_is_not_said_again(a: MeshUnderTest, b: MeshUnderTest) -> None:
    """A retained value was said when the bridge was not there, or has crossed it."""
    here, there = await a.open(Member), await b.open(Member)
    await here.broadcast("SAID", "old", retain=True)
    await here.members("R")
    async with make_bridge(a, b, events=["SAID", "DONE"]):
        await here.broadcast("SAID", "new", retain=True)
        await here.broadcast("DONE")
        assert [each.data for each in await there.heard("DONE")] == ["new"]


async def test_what_is_not_allowed_is_counted_by_direction_name_and_reason(
    a: MeshUnderTest, b: MeshUnderTest
) -> None:
    """And read from a program, and as a capability in both meshes."""
    here, there = await a.open(Member), await b.open(Member)
    to_b = Allowed(events=["UP", "FENCE"])
    async with make_bridge(a, b, to_b=to_b, events=["BACK"]) as bridge:
        for name in ("DOWN", "UP", "DOWN", "FENCE"):
            await here.broadcast(name)
        assert [each.name for each in await there.heard("FENCE")] == ["UP"]
        await there.broadcast("UP")
        await there.broadcast("BACK")
        heard = await here.heard("BACK")
        assert [each.name for each in heard] == ["DOWN", "UP", "DOWN", "FENCE"]
        expected = [
            Count("a_to_b", "DOWN", "not_allowed", 2),
            Count("b_to_a", "UP", "not_allowed", 1),
        ]
        assert sorted(bridge.counts(), key=lambda each: each.name) == expected
        for member in (here, there):
            answer = await member.request("BRIDGE_COUNTS", room=bridge.name, wait_for_master=True)
            assert {(each["name"], each["count"]) for each in answer["counts"]} == {
                ("DOWN", 2),
                ("UP", 1),
            }


async def test_a_capability_is_offered_as_its_master_describes_it(
    a: MeshUnderTest, b: MeshUnderTest
) -> None:
    """With schemas, hints and timeout; only if it is allowed."""
    here, there = await a.open(Member), await b.open(Member)
    async with make_bridge(a, b, capabilities=["ORDER", "GET_COUNT"]):
        await a.open(Shop)
        await offered(there, "ORDER")
        [ours] = [each for each in await here.discover(room="R") if each.capability == "ORDER"]
        offers = {each.capability: each for each in await there.discover(room="R")}
        assert {*offers} == {"ORDER", "COUNT"}
        theirs = offers["ORDER"]
        for field in ("summary", "request", "reply", "timeout_ms", "idempotent", "destructive"):
            assert getattr(theirs, field) == getattr(ours, field)
        assert theirs.timeout_ms == 5000
        assert (offers["COUNT"].streams, offers["COUNT"].read_only) == (True, True)


async def test_a_request_crosses_with_all_that_belongs_to_it(
    a: MeshUnderTest, b: MeshUnderTest
) -> None:
    """Answers to the letter, errors with code, parts, progress, deadline, cancelling."""
    shop, asker = await a.open(Shop), await b.open()
    async with make_bridge(a, b, capabilities=CAPABILITIES):
        await offered(asker, "ORDER")
        answer = await asker.request("ORDER", Order("tea"), room="R")
        assert answer == {"item": "tea", "error": None, "by": "Shop"}
        for payload in STRANGE:
            expected = {} if payload is None else payload
            assert await asker.request("ECHO", payload, room="R") == {"echo": expected}
        with pytest.raises(InvalidPayload) as refused:
            await asker.request("ORDER", {"item": 1})
        assert refused.value.details[0]["path"] == "item"
        with pytest.raises(CapabilityError, match="there is none") as failed:
            await asker.request("FAIL")
        assert (failed.value.code, failed.value.details) == ("sold_out", [{"left": 0}])
        assert failed.value.retryable
        assert [part async for part in asker.stream("COUNT", 200)] == list(range(200))
        assert await asker.request("COUNT", 3) == {"result": [0, 1, 2]}
        told = asyncio.Queue[Progress]()
        waiting = asyncio.ensure_future(
            asker.request("WAIT", timeout=20, on_progress=told.put_nowait)
        )
        assert (await told.get()) == Progress(0.5, "20 s are left")
        waiting.cancel()
        async with asyncio.timeout(10):
            await shop.stopped.wait()
        shop.stopped.clear()
        with pytest.raises(DeadlineExceeded):
            await asker.request("WAIT", timeout=1.0)  # in which it begins
        async with asyncio.timeout(10):
            await shop.stopped.wait()


async def test_what_a_master_asks_back_crosses_and_so_does_the_answer(
    a: MeshUnderTest, b: MeshUnderTest
) -> None:
    """To the asker alone; one that takes no questions, or refuses, is known by its code."""
    await a.open(Shop)
    asker = await b.open()

    async def choose(question: Question[Any]) -> dict[str, Any]:
        assert question.capability == "WHICH"
        return {"chosen": question.payload["of"][0]}

    async def refuse(question: Question[Any]) -> None:
        raise CapabilityError("not_now", question.capability)

    async with make_bridge(a, b, capabilities=CAPABILITIES):
        await offered(asker, "ASK")
        answer = await asker.request("ASK", [1, 2], room="R", on_ask=choose)
        assert answer == {"answer": {"chosen": 1}}
        with pytest.raises(CapabilityError, match="WHICH") as refused:
            await asker.request("ASK", [1], room="R", on_ask=refuse)
        assert refused.value.code == "not_now"
        with pytest.raises(NoAnswerer):
            await asker.request("ASK", [1], room="R")


async def test_a_capability_comes_and_goes_with_its_master(
    a: MeshUnderTest, b: MeshUnderTest
) -> None:
    """A master that dies ends what it had in hand; without one a request ends at once."""
    asker = await b.open()
    async with make_bridge(a, b, capabilities=["WAIT", "ORDER"]):
        for _ in range(2):
            with pytest.raises(NoMaster):
                await asker.request("ORDER", Order("tea"), room="R")
            shop = await a.open(Shop)
            await offered(asker, "ORDER")
            waiting = asyncio.ensure_future(asker.request("WAIT"))
            await shop.running.wait()
            await shop.close()
            with pytest.raises(MasterLost) as lost:
                await waiting
            assert lost.value.details == [{"delivered": True}]
            await offered(asker, "ORDER", is_there=False)


async def test_a_master_of_the_room_goes_before_what_crosses(
    a: MeshUnderTest, b: MeshUnderTest
) -> None:
    """Whichever came first; the bridge serves again when it has gone, and never displaces it."""
    asker = await b.open()

    async def served_by() -> str:
        async with asyncio.timeout(20):
            answer = await asker.request("ORDER", Order("x"), room="R", wait_for_master=True)
        return str(answer["by"])

    first = await b.open(Shop, usuario="b1")
    await a.open(Shop, usuario="a1")
    async with make_bridge(a, b, capabilities=["ORDER"]):
        member = await a.open()
        assert (await member.request("ORDER", Order("x"), room="R"))["by"] == "a1"
        assert await served_by() == "b1"
        await first.close()
        assert await served_by() == "a1"
        second = await b.open(Shop, usuario="b2")
        assert await served_by() == "b2"
        await second.close()
        assert await served_by() == "a1"
        with pytest.raises(UnknownCapability):
            await asker.request("NONE", room="R")


async def test_bridges_beside_each_other_make_no_loop(a: MeshUnderTest, b: MeshUnderTest) -> None:
    """Each passes an event on once; one of them serves, and the other when that has gone."""
    here, there = await a.open(Member), await b.open(Member)
    options: dict[str, Any] = {"events": ["SAID", "FENCE"], "capabilities": ["ORDER"]}
    async with contextlib.AsyncExitStack() as stack:
        one = await stack.enter_async_context(make_bridge(a, b, **options))
        await stack.enter_async_context(make_bridge(b, a, **options))
        await a.open(Shop)
        await offered(there, "ORDER")
        for member, sign in ((here, 1), (there, -1)):
            for n in range(10):
                await member.broadcast("SAID", sign * n)
            await member.broadcast("FENCE")
        for member in (here, there):
            # One of its own, and what the others said by each of the bridges.
            parts = [await member.heard("FENCE") for _ in range(3)]
            heard = [each.data for part in parts for each in part]
            assert len(heard) == 30
            assert set(heard) == set(range(-9, 10))
        assert counted(one).keys() <= {
            (direction, name, "passed_before")
            for direction in ("a_to_b", "b_to_a")
            for name in ("SAID", "FENCE")
        }
        for offer in await here.discover(room="R"):
            assert offer.masters[0].startswith("Shop")
        assert (await there.request("ORDER", Order("tea"), room="R"))["by"] == "Shop"
        await one.close()
        answer = await there.request("ORDER", Order("tea"), room="R", wait_for_master=True)
        assert answer["by"] == "Shop"


async def test_a_ring_of_three_meshes_is_no_loop(open_mesh: OpenMesh) -> None:
    """Every member of each hears an event once, and may ask the one master."""
    meshes = [await open_mesh() for _ in range(3)]
    members = [await mesh.open(Member) for mesh in meshes]
    async with contextlib.AsyncExitStack() as stack:
        bridges = [
            await stack.enter_async_context(
                make_bridge(meshes[n - 1], mesh, events=["SAID", "FENCE"], capabilities=["ORDER"])
            )
            for n, mesh in enumerate(meshes)
        ]
        for n, member in enumerate(members):
            await member.broadcast("SAID", n)
        for n, member in enumerate(members):
            await member.broadcast("FENCE", n)
        for member in members:
            heard = [await member.heard("FENCE") for _ in members]
            assert sorted(each.data for part in heard for each in part) == [0, 1, 2]
        shop = await meshes[0].open(Shop)
        for member in members:
            await offered(member, "ORDER")
            answer = await member.request("ORDER", Order("tea"), room="R")
            assert answer["by"] == "Shop"
        await shop.close()
        for member in members:
            await offered(member, "ORDER", is_there=False)
        reasons = {reason for bridge in bridges for _, _, reason in counted(bridge)}
        assert reasons == {"passed_before", "not_allowed"}  # ORDERED is not allowed


async def test_a_request_crosses_one_bridge(a: MeshUnderTest, b: MeshUnderTest) -> None:
    """The mark of the asker is its name, which a hub tells."""
    await a.open(Shop)
    asker = await b.open(sesion="bridge-01234567")
    async with make_bridge(a, b, capabilities=["ORDER"]) as bridge:
        await offered(asker, "ORDER")
        with pytest.raises(NoMaster, match="has crossed a bridge"):
            await asker.request("ORDER", Order("tea"), room="R")
        assert counted(bridge) == {("b_to_a", "ORDER", "passed_before"): 1}


async def test_a_master_that_need_not_say_what_it_offers_is_asked(
    a: MeshUnderTest, b: MeshUnderTest
) -> None:
    """As upstream's masters may, whose first declaration is empty."""
    shop = await a.open(Shop)
    await shop.make_master("R", features=())
    asker = await b.open()
    async with make_bridge(a, b, capabilities=["ORDER"]):
        await offered(asker, "ORDER")
        answer = await asker.request("ORDER", Order("tea"), room="R")
        assert answer["by"] == "Shop"


async def test_what_a_master_declares_anew_is_found(
    a: MeshUnderTest, b: MeshUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though a hub tells who serves, and not what."""
    monkeypatch.setattr(bridge_module, "_LOOK_SECONDS", 0.05)
    shop, asker = await a.open(Shop), await b.open()
    async with make_bridge(a, b, capabilities=["ORDER", "ECHO"]):
        await offered(asker, "ECHO")
        await shop.make_master("R", features=("ORDER",))
        await offered(asker, "ECHO", is_there=False)
        await shop.make_master("R", features=("ORDER", "ECHO"))
        await offered(asker, "ECHO")


@pytest.mark.parametrize(
    ("options", "path"),
    [
        ({"room": ""}, "room"),
        ({"room": "*"}, "room"),
        ({"room": "a\nb"}, "room"),
        ({"events": "SAID"}, "events"),
        ({"events": ["GET_X"]}, "events"),
        ({"events": ["disconnect"]}, "events"),
        ({"events": ["MASTER_CHANGED"]}, "events"),
        ({"events": ["ROOM_MESSAGE"]}, "events"),
        ({"events": ["auth_error"]}, "events"),
        ({"events": ["BRIDGE_PASSES"]}, "events"),
        ({"events": [1]}, "events"),
        ({"capabilities": ["SERVER_STATE"]}, "capabilities"),
        ({"capabilities": ["GET_MEMBER_INFO"]}, "capabilities"),
        ({"capabilities": ["BRIDGE_COUNTS"]}, "capabilities"),
        ({"capabilities": ["a\x1b[2J"]}, "capabilities"),
        ({"to_a": ["SAID"]}, "to_a"),
        ({"to_b": Allowed(events="SAID")}, "to_b.events"),
    ],
)
def test_what_no_bridge_can_pass_on_is_refused(options: dict[str, Any], path: str) -> None:
    """Before anything is opened, and named."""
    with pytest.raises(ContractError) as refused:
        Bridge("http://127.0.0.1:1", "http://127.0.0.1:2", **{"room": "R", **options})
    assert [each["path"] for each in refused.value.problems] == [path]


def test_a_mesh_is_not_bridged_with_itself() -> None:
    """As far as that can be seen."""
    with pytest.raises(ContractError, match="one hub"):
        Bridge("http://127.0.0.1:1/runtime", "127.0.0.1:1", room="R")


async def test_a_bridge_has_one_life(a: MeshUnderTest, b: MeshUnderTest) -> None:
    """As a client has."""
    bridge = make_bridge(a, b)
    states = [bridge.state]
    running = asyncio.ensure_future(bridge.run_forever())
    await asyncio.sleep(0)
    await bridge.ready()
    states.append(bridge.state)
    with pytest.raises(StateError):
        await bridge.__aenter__()
    await bridge.drain(1)
    assert [*states, bridge.state] == [State.NEW, State.READY, State.CLOSED]
    async with asyncio.timeout(10):
        await running
    never = make_bridge(a, b)
    await never.close()
    client: AlephScriptClient = await a.open()
    assert (await client.server_state())["clients"] == 1
