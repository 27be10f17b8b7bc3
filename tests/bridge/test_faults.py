"""What becomes of a bridge when hubs die, refuse, or are flooded."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from alephscript import AlephScriptClient, ConnectionRefused, MasterLost, NoMaster, State
from alephscript.bridge import Bridge, passage
from alephscript.hub import Access, Handshake, Hub, Identity, SharedToken
from alephscript.testing import InMemoryMesh
from tests.support.bridges import Member, Order, Shop, counted, make_bridge, offered
from tests.support.meshes import MeshUnderTest, Silent, at_once

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("dies", ["a", "b"])
async def test_a_hub_that_is_killed_is_found_again(
    a: MeshUnderTest, b: MeshUnderTest, dies: str
) -> None:
    """The other mesh hears so at once, and has everything again when it is back."""
    mesh = {"a": a, "b": b}[dies]
    there = await b.open(Member)
    shop = await a.open(Shop)
    options: dict[str, Any] = {"events": ["SAID", "DONE"], "capabilities": ["ORDER", "WAIT"]}
    async with make_bridge(a, b, **options) as bridge:
        await offered(there, "ORDER")
        waiting = asyncio.ensure_future(there.request("WAIT"))
        await shop.running.wait()
        await mesh.stop()
        with pytest.raises(ConnectionError):
            await waiting
        async with asyncio.timeout(10):
            await shop.stopped.wait()
        if dies == "a":
            await offered(there, "ORDER", is_there=False)
        await mesh.start()
        async with asyncio.timeout(20):
            for each in (shop, there, bridge):
                await each.ready()
        await offered(there, "ORDER")
        assert (await there.request("ORDER", Order("tea"), room="R"))["by"] == "Shop"
        await shop.broadcast("SAID", 1)
        await shop.broadcast("DONE")
        assert [each.data for each in await there.heard("DONE")] == [1]


async def test_a_link_that_is_lost_with_a_request_on_it_is_a_lost_master() -> None:
    """The bridge's links are no business of the asker's."""
    async with (
        InMemoryMesh() as a,
        InMemoryMesh() as b,
        Shop(a, backoff=at_once) as shop,
        AlephScriptClient(b) as asker,
        Bridge(a, b, room="R", capabilities=["WAIT"], backoff=at_once),
    ):
        await offered(asker, "WAIT")
        waiting = asyncio.ensure_future(asker.request("WAIT"))
        await shop.running.wait()
        a.cut()
        with pytest.raises(MasterLost) as lost:
            await waiting
        assert lost.value.details == [{"delivered": True}]


async def test_what_is_said_while_a_hub_is_away_comes_after(
    a: MeshUnderTest, b: MeshUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The latest of it, and the rest is counted."""
    monkeypatch.setattr(passage, "_MOST_WAITING", 10)
    monkeypatch.setattr(passage, "_BATCH", 3)
    here, there = await a.open(Member), await b.open(Member)
    async with make_bridge(a, b, events=["SAID", "DONE"]) as bridge:
        await b.stop()
        for n in range(30):
            await here.broadcast("SAID", n)
        await here.broadcast("OTHER")
        await here.heard("OTHER")
        while ("a_to_b", "OTHER", "not_allowed") not in counted(bridge):  # noqa: ASYNC110
            await asyncio.sleep(0)
        assert counted(bridge)["a_to_b", "SAID", "overrun"] == 20
        # Nobody is there to hear it before: the bridge is to come back last.
        link = bridge._b._alephscript_life
        connect, gate = link._establish, asyncio.Event()

        async def wait_to_connect() -> Any:
            await gate.wait()
            return await connect()

        link._establish = wait_to_connect
        await b.start()
        async with asyncio.timeout(20):
            await there.ready()
        gate.set()
        await here.broadcast("DONE")
        heard = await there.heard("DONE")
        assert [each.data for each in heard] == list(range(20 + 1, 30))
        assert counted(bridge)["a_to_b", "SAID", "overrun"] == 21


async def test_what_waits_is_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few large events are as much as many small ones."""
    monkeypatch.setattr(passage, "_MOST_WAITING_BYTES", 10_000)
    async with (
        InMemoryMesh() as a,
        InMemoryMesh() as b,
        Member(a) as here,
        Bridge(a, b, room="R", events=["SAID"], backoff=at_once) as bridge,
    ):
        await b.kill()
        for _ in range(10):
            await here.broadcast("SAID", "x" * 4000)
        await here.broadcast("END")
        await here.heard("END")
        while ("a_to_b", "END", "not_allowed") not in counted(bridge):  # noqa: ASYNC110
            await asyncio.sleep(0)
        assert counted(bridge)["a_to_b", "SAID", "overrun"] == 8


async def test_a_flood_crosses_in_portions(a: MeshUnderTest, b: MeshUnderTest) -> None:
    """No more is on its way than the other hub has acknowledged; nothing is said out of order."""
    here, there = await a.open(Member), await b.open(Member)
    async with make_bridge(a, b, events=["SAID", "DONE"]) as bridge:
        await bridge.ready()
        link = bridge._b._alephscript_life.session
        assert link is not None
        most = 0
        for n in range(2000):
            await here.broadcast("SAID", n)
            await asyncio.sleep(0)
            most = max(most, len(link._channel.pending))
        await here.broadcast("DONE")
        assert [each.data for each in await there.heard("DONE")] == list(range(2000))
        assert 0 < most <= passage._BATCH + 1
        assert counted(bridge) == {}


async def test_a_hub_that_takes_everything_and_says_nothing_is_sent_no_more_than_a_portion(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It acknowledges nothing, as no stock hub does that passes nothing on."""
    monkeypatch.setattr(passage, "_MOST_WAITING", 100)
    silent = Silent()
    async with (
        InMemoryMesh() as a,
        Member(a) as here,
        Bridge(a, silent, room="R", events=["SAID"], options_b={"acknowledges": False}) as bridge,
    ):
        for n in range(1000):
            await here.broadcast("SAID", n)
        await here.broadcast("END")
        await here.heard("END")
        while ("a_to_b", "END", "not_allowed") not in counted(bridge):  # noqa: ASYNC110
            await asyncio.sleep(0)
        assert counted(bridge)["a_to_b", "SAID", "overrun"] >= 1000 - 100 - passage._BATCH
        assert len(silent.sent) <= 10 + 2 * passage._BATCH


class Limited(Access):
    """Lets everybody in, but nobody speak or master."""

    def authenticate(self, auth: Any, handshake: Handshake) -> Identity:
        """Let them in."""
        return Identity(masters=frozenset())

    def authorize(self, identity: Identity, action: Any, room: str, name: str) -> bool:
        """Let them listen and ask."""
        return action in ("subscribe", "ask")


async def test_what_a_hub_refuses_is_counted_by_its_code() -> None:
    """Of events and of capabilities: nobody else is told."""
    async with (
        InMemoryMesh() as a,
        Hub(port=0, access=Limited()) as hub,
        Shop(a) as shop,
        Bridge(a, hub.url, room="R", events=["SAID"], capabilities=["ORDER"]) as bridge,
    ):
        await shop.broadcast("SAID", 1)
        expected = {
            ("a_to_b", "SAID", "permission_denied"): 1,
            ("b_to_a", "ORDER", "permission_denied"): 1,
        }
        async with asyncio.timeout(10):
            while counted(bridge) != expected:  # noqa: ASYNC110
                await asyncio.sleep(0.01)


async def test_what_is_too_large_for_the_other_hub_is_counted() -> None:
    """And costs nothing else."""
    async with (
        InMemoryMesh() as a,
        Hub(port=0) as hub,
        Member(a) as here,
        Member(hub.url) as there,
        Bridge(a, hub.url, room="R", events=["SAID", "DONE"]) as bridge,
    ):
        await here.broadcast("SAID", "x" * 2_000_000)
        await here.broadcast("SAID", 1)
        await here.broadcast("DONE")
        assert [each.data for each in await there.heard("DONE")] == [1]
        assert counted(bridge) == {("a_to_b", "SAID", "payload_too_large"): 1}


async def test_what_was_missed_is_counted() -> None:
    """Where the hub has kept some of it, and says how much it has not."""
    async with (
        InMemoryMesh(history=2) as a,
        InMemoryMesh() as b,
        Member(a, backoff=at_once) as here,
        Member(b) as there,
        Bridge(a, b, room="R", events=["SAID", "DONE"], backoff=at_once) as bridge,
    ):
        await here.broadcast("SAID", -1)
        await there.heard("SAID")
        link = bridge._a._alephscript_life
        connect, gate = link._establish, asyncio.Event()

        async def wait_to_connect() -> Any:
            await gate.wait()
            return await connect()

        link._establish = wait_to_connect
        a.cut()
        await asyncio.sleep(0)
        await here.ready()
        for n in range(5):
            await here.broadcast("SAID", n)
        await here.heard("SAID")
        gate.set()
        await bridge.ready()
        await here.broadcast("DONE")
        assert [each.data for each in await there.heard("DONE")] == [3, 4]
        assert counted(bridge) == {("a_to_b", "GAP", "missed"): 3}


async def test_each_side_has_a_secret_of_its_own() -> None:
    """A wrong one ends the bridge."""

    def refused(**tokens: str) -> Bridge:
        options = {f"options_{side}": {"token": token} for side, token in tokens.items()}
        return Bridge(one.url, other.url, room="R", **options)  # type: ignore[arg-type]

    async with (
        Hub(port=0, access=SharedToken("one")) as one,
        Hub(port=0, access=SharedToken("other")) as other,
    ):
        async with refused(a="one", b="other") as bridge:
            assert bridge.state is State.READY
        for tokens in ({"a": "one", "b": "one"}, {"a": "other", "b": "other"}):
            with pytest.raises(ConnectionRefused, match="unauthorized"):
                async with refused(**tokens):
                    pass
            with pytest.raises(ConnectionRefused, match="unauthorized"):
                await refused(**tokens).run_forever()


async def test_names_of_strangers_are_told_apart_up_to_a_bound() -> None:
    """The rest is one."""
    async with (
        InMemoryMesh() as a,
        InMemoryMesh() as b,
        Member(a) as here,
        Bridge(a, b, room="R", events=["SAID"]) as bridge,
    ):
        for n in range(1000):
            await here.broadcast(f"E{n}")
        await here.broadcast("END")
        await here.heard("END")
        while sum(counted(bridge).values()) < 1001:  # noqa: ASYNC110
            await asyncio.sleep(0)
        assert counted(bridge)["a_to_b", "(other)", "not_allowed"] == 901


@pytest.fixture
async def no_link() -> AsyncIterator[tuple[AlephScriptClient, Bridge]]:
    """An asker in a mesh whose bridge has lost the other one, and has not been told."""

    def never() -> Iterator[float]:
        while True:
            yield 60.0

    async with (
        InMemoryMesh() as a,
        InMemoryMesh() as b,
        Shop(a),
        AlephScriptClient(b) as asker,
        Bridge(a, b, room="R", capabilities=["ORDER"], options_a={"backoff": never}) as bridge,
    ):
        await offered(asker, "ORDER")
        offer = bridge._b.offer

        async def do_not(offers: Any) -> None:
            with contextlib.suppress(AttributeError):
                del offers
            await asyncio.sleep(0)

        bridge._b.offer = do_not  # type: ignore[method-assign]
        await a.kill()
        yield asker, bridge
        bridge._b.offer = offer  # type: ignore[method-assign]


async def test_a_request_without_a_link_to_the_other_mesh_ends_at_once(
    no_link: tuple[AlephScriptClient, Bridge],
) -> None:
    """As one without a master; it is counted."""
    asker, bridge = no_link
    with pytest.raises(NoMaster, match="no link to the other mesh") as failed:
        await asker.request("ORDER", Order("tea"), room="R")
    assert (failed.value.details, failed.value.retryable) == ([{"delivered": False}], True)
    assert counted(bridge) == {("b_to_a", "ORDER", "not_connected"): 1}
