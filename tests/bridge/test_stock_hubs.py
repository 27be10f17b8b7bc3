"""A bridge between a hub of this package and a stock Node hub, which tells nothing."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from alephscript import AlephScriptClient, CapabilityError, DeadlineExceeded, NoMaster
from alephscript.bridge import Bridge
from alephscript.hub import Hub
from tests.bridge.test_bridge import STRANGE
from tests.support.bridges import CAPABILITIES, Member, Order, Shop, counted, offered
from tests.support.meshes import at_once
from tests.support.node import json_of, line_of, node_process

pytestmark = pytest.mark.anyio


@pytest.fixture
async def hub() -> AsyncIterator[Hub]:
    """A hub of this package."""
    async with Hub(port=0) as hub:
        yield hub


def make_bridge(hub: Hub, stock: str, **options: Any) -> Bridge:
    """A bridge of room R between both."""
    stocks = {"acknowledges": False, **options.pop("options_b", {})}
    return Bridge(hub.url, stock, room="R", backoff=at_once, options_b=stocks, **options)


def stock_member(url: str, **options: Any) -> Member:
    """A member of the room at a stock hub."""
    return Member(url, acknowledges=False, usuario="stock-member", **options)


async def test_node_peers_hear_and_say_what_crosses(hub: Hub, stock_hub: str, node: str) -> None:
    """To the letter: a stock observer hears one plain argument, and nothing of the bridge's own."""
    arguments = ("--url", stock_hub, "--room", "R")
    async with (
        Member(hub.url) as member,
        stock_member(stock_hub) as speaker,
        node_process(node, "observer.mjs", *arguments) as observer,
        make_bridge(hub, stock_hub, events=["SAID", "DONE"]) as bridge,
    ):
        await json_of(observer, until=lambda line: line.get("ready") is True)
        await member.broadcast("SAID", {"n": 1})
        await member.broadcast("OTHER")
        await member.broadcast("DONE")
        heard = [await json_of(observer, until=lambda _: True) for _ in range(2)]
        assert heard == [{"event": "SAID", "args": [{"n": 1}]}, {"event": "DONE", "args": [None]}]
        assert [each.name for each in await member.heard("DONE")] == ["SAID", "OTHER"]
        await speaker.broadcast("SAID", "back", room="R")
        await speaker.broadcast("DONE", room="R")
        assert [each.data for each in await member.heard("DONE")] == ["back"]
        assert counted(bridge) == {("a_to_b", "OTHER", "not_allowed"): 1}


async def test_what_was_said_does_not_come_back(hub: Hub, stock_hub: str) -> None:
    """Whatever JavaScript makes of it, and though the hub names no sender."""
    async with (
        Member(hub.url) as member,
        stock_member(stock_hub) as other,
        make_bridge(hub, stock_hub, events=["SAID", "SET_SAID", "DONE"]) as bridge,
    ):
        for data in STRANGE:
            await member.broadcast("SAID", data)
            await member.broadcast("SET_SAID", data)
        await member.broadcast("DONE")
        await other.heard("DONE")
        await other.broadcast("DONE", room="R")
        await other.heard("DONE")
        await member.heard("DONE")
        assert await member.heard("DONE") == []
        assert counted(bridge) == {}


async def test_bridges_beside_each_other_make_no_loop(hub: Hub, stock_hub: str) -> None:
    """Between the same hubs, and from a second mesh."""
    async with contextlib.AsyncExitStack() as stack:
        enter = stack.enter_async_context
        third = await enter(Hub(port=0))
        options: dict[str, Any] = {"events": ["SAID", "SET_SAID", "DONE"]}
        bridges = [
            await enter(make_bridge(each, stock_hub, **options)) for each in (hub, hub, third)
        ]
        member, far = await enter(Member(hub.url)), await enter(Member(third.url))
        other = await enter(stock_member(stock_hub))
        for n in range(5):
            await member.broadcast("SAID", {"n": n})
            await member.broadcast("SET_SAID", {"n": n})
        await member.broadcast("DONE")
        parts = [await other.heard("DONE") for _ in range(2)]
        assert sum(map(len, parts)) == 2 * 2 * 5
        await other.broadcast("DONE", room="R")
        await other.heard("DONE")
        assert await far.heard("DONE") == []  # said once on the stock hub, and nothing before it
        parts = [await member.heard("DONE") for _ in range(3)]
        assert [len(each) for each in parts][1:] == [0, 0]
        for bridge in bridges:
            assert {reason for _, _, reason in counted(bridge)} <= {"passed_before"}


async def test_a_stock_master_is_asked_from_our_mesh(hub: Hub, stock_hub: str, node: str) -> None:
    """By a name that is allowed: nobody says what such a master offers."""
    arguments = ("--url", stock_hub, "--dialect", "core", "--room", "R")
    async with (
        node_process(node, "master.mjs", *arguments) as master,
        AlephScriptClient(hub.url) as asker,
        make_bridge(hub, stock_hub, capabilities=["ECHO"]),
    ):
        await json_of(master, until=lambda line: line.get("ready") is True)
        await offered(asker, "ECHO")
        answer = await asker.request("ECHO", {"a": 1}, room="R")
        assert answer["echo"]["a"] == 1
        with pytest.raises(CapabilityError, match="asked to fail"):
            await asker.request("ECHO", {"fail": True}, room="R")
        with pytest.raises(DeadlineExceeded):
            await asker.request("ECHO", {"silent": True}, room="R", timeout=0.2)


async def test_our_master_serves_askers_of_a_stock_hub(hub: Hub, stock_hub: str) -> None:
    """While it is there; after that the bridge says so at once, as the hub does not."""
    async with (
        stock_member(stock_hub) as asker,
        make_bridge(hub, stock_hub, capabilities=CAPABILITIES) as bridge,
    ):
        async with Shop(hub.url):
            async with asyncio.timeout(20):
                while True:
                    with contextlib.suppress(DeadlineExceeded, NoMaster):
                        answer = await asker.request("ORDER", Order("tea"), room="R", timeout=0.5)
                        break
            assert answer["by"] == "Shop"
            with pytest.raises(CapabilityError, match="there is none") as failed:
                await asker.request("FAIL", room="R")
            assert failed.value.code == "sold_out"
        with pytest.raises(NoMaster):
            await asker.request("ORDER", Order("tea"), room="R", timeout=10)
        async with Shop(hub.url):
            await asker.request("ORDER", Order("tea"), room="R", timeout=10)
        assert all(reason != "passed_before" for _, _, reason in counted(bridge))


async def test_no_request_goes_round_between_a_stock_hub_and_ours(hub: Hub, stock_hub: str) -> None:
    """Two bridges of which each serves where the other asks."""
    async with (
        AlephScriptClient(hub.url) as asker,
        stock_member(stock_hub) as far,
        make_bridge(hub, stock_hub, capabilities=["ORDER"]),
        make_bridge(hub, stock_hub, capabilities=["ORDER"]),
    ):
        async with Shop(hub.url):
            async with asyncio.timeout(20):
                while True:
                    with contextlib.suppress(DeadlineExceeded, NoMaster):
                        await far.request("ORDER", Order("tea"), room="R", timeout=0.5)
                        break
        outcomes = set()
        for _ in range(5):
            with pytest.raises((NoMaster, DeadlineExceeded)) as failed:
                await asker.request("ORDER", Order("tea"), room="R", timeout=0.3)
            outcomes.add(failed.value.code)
        assert outcomes <= {"no_master", "deadline_exceeded"}


async def test_a_guarded_stock_hub_is_bridged_by_its_room(hub: Hub, node: str) -> None:
    """Where bridges cannot meet elsewhere, they meet in the room itself."""
    arguments = ("--port", "0", "--dialect", "zeus", "--token", "secret")
    auth = {"token": "secret", "room": "R"}
    async with node_process(node, "upstream_hub.mjs", *arguments) as process:
        stock = f"http://127.0.0.1:{(await line_of(process)).removeprefix('listening ')}"
        options: dict[str, Any] = {"events": ["SAID", "DONE"], "options_b": {"auth": auth}}
        async with (
            Member(hub.url) as member,
            stock_member(stock, auth=auth) as other,
            make_bridge(hub, stock, **options),
            make_bridge(hub, stock, **options),
        ):
            await member.broadcast("SAID", 1)
            await member.broadcast("DONE")
            parts = [await other.heard("DONE") for _ in range(2)]
            assert sorted(
                each.name for part in parts for each in part if each.name != "auth_error"
            ) == [
                *["BRIDGE_PASSES"] * 4,
                "SAID",
                "SAID",
            ]
            await other.broadcast("DONE", room="R")
            heard = [await member.heard("DONE") for _ in range(3)]
            assert [each.data for part in heard for each in part] == [1]


@pytest.mark.slow
async def test_a_stock_hub_that_is_killed_is_found_again(
    hub: Hub, stock_hub: str, node: str, processes: AsyncExitStack
) -> None:
    """What is said meanwhile comes after; capabilities are offered again."""
    async with (
        Member(hub.url) as member,
        Shop(hub.url),
        make_bridge(hub, stock_hub, events=["SAID", "DONE"], capabilities=["ORDER"]) as bridge,
    ):
        await processes.aclose()
        for n in range(20):
            await member.broadcast("SAID", n)
        port = stock_hub.rsplit(":", 1)[1]
        async with node_process(node, "upstream_hub.mjs", "--port", port) as process:
            await line_of(process)
            async with stock_member(stock_hub) as other:
                async with asyncio.timeout(20):
                    await bridge.ready()
                    while True:
                        with contextlib.suppress(DeadlineExceeded, NoMaster):
                            await other.request("ORDER", Order("tea"), room="R", timeout=0.5)
                            break
                await member.broadcast("DONE")
                await other.heard("DONE")
