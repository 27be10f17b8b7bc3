"""The same classes on a stock hub that acknowledges nothing and knows no direct requests."""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import AsyncExitStack
from typing import Any

import attrs
import pytest
import socketio

from alephscript import (
    AlephScriptClient,
    AmbiguousRoom,
    CapabilityError,
    ConnectionRefused,
    DeadlineExceeded,
    Event,
    InvalidPayload,
    MasterChange,
    NotSubscribed,
    RequestFor,
    State,
    capability,
    observe,
    on,
)
from alephscript.client import mastering
from examples.persefon_bot import PersefonBot
from tests.support.node import json_of, line_of, node_process
from tests.support.servers import DOORS, hub_behind

pytestmark = pytest.mark.anyio


@attrs.frozen
class Twice:
    """An answer."""

    value: int


@attrs.frozen
class Double(RequestFor[Twice], capability="DOUBLE"):
    """A request."""

    value: int


class Doubler(AlephScriptClient):
    """A master of room R."""

    rooms = ("R",)

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.heard: asyncio.Queue[Event[Any]] = asyncio.Queue()

    @capability
    async def double(self, request: Double) -> Twice:
        """Double."""
        await self.broadcast("DOUBLED", {"value": request.value})
        return Twice(value=2 * request.value)

    @capability("FAIL")
    async def fail(self) -> None:
        """Fail."""
        raise CapabilityError("broken", "as asked", [1])

    @capability("ECHO")
    async def echo(self, payload: Any) -> Any:
        """Echo."""
        return {"echo": payload}

    @on("SAID")
    async def said(self, event: Event[Any]) -> None:
        """Hear."""
        self.heard.put_nowait(event)


async def test_master_asker_and_observer_work_without_acknowledgements(stock_hub: str) -> None:
    """Typed request, typed answer, and the room hears what happened."""
    async with (
        Doubler(stock_hub) as master,
        AlephScriptClient(stock_hub, usuario="asker") as asker,
        AlephScriptClient(stock_hub, usuario="observer") as observer,
    ):
        assert (master.state, asker.state) == (State.READY, State.READY)
        await asker.subscribe("R")
        await observer.subscribe("R")
        stream = observer.events("R", "DOUBLED")
        assert await asker.request(Double(value=21)) == Twice(value=42)
        async with asyncio.timeout(5):
            event = await anext(stream)
        assert (event.room, event.data) == ("R", {"value": 21})
        await asker.broadcast("SAID", {"n": 1}, room="R")
        async with asyncio.timeout(5):
            assert (await master.heard.get()).data == {"n": 1}


async def test_failures_cross_with_their_codes(stock_hub: str) -> None:
    """An answer by event says as much as one by acknowledgement."""
    async with Doubler(stock_hub), AlephScriptClient(stock_hub) as asker:
        await asker.subscribe("R")
        with pytest.raises(CapabilityError, match="as asked") as failed:
            await asker.request("FAIL")
        assert (failed.value.code, failed.value.details) == ("broken", [1])
        with pytest.raises(InvalidPayload) as refused:
            await asker.request("DOUBLE", {"value": "x"})
        assert refused.value.details[0]["path"] == "value"


async def test_everybody_gets_the_answer_to_his_own_question(stock_hub: str) -> None:
    """The whole room hears every answer; each asker takes his."""
    async with (
        Doubler(stock_hub),
        AlephScriptClient(stock_hub, usuario="one") as one,
        AlephScriptClient(stock_hub, usuario="two") as two,
    ):
        for asker in (one, two):
            await asker.subscribe("R")
        answers = await asyncio.gather(
            *[asker.request(Double(value=n)) for n in range(10) for asker in (one, two)]
        )
        assert answers == [Twice(value=2 * n) for n in range(10) for _ in range(2)]


async def test_nobody_answering_ends_at_the_deadline(stock_hub: str) -> None:
    """A stock hub drops the question silently; the asker does not hang."""
    async with AlephScriptClient(stock_hub) as asker:
        await asker.subscribe("R")
        with pytest.raises(DeadlineExceeded):
            await asker.request("DOUBLE", {"value": 1}, timeout=0.2)


async def test_what_a_stock_hub_cannot_answer_is_said_before_asking(stock_hub: str) -> None:
    """Answers go to the room: one has to be in it, and to say which."""
    async with AlephScriptClient(stock_hub) as asker:
        with pytest.raises(AmbiguousRoom):
            await asker.request("DOUBLE", {"value": 1})
        with pytest.raises(NotSubscribed):
            await asker.request("DOUBLE", {"value": 1}, room="R")


async def test_a_stock_master_is_asked_and_a_python_master_serves_stock_askers(
    stock_hub: str, node: str
) -> None:
    """A Node master of the CORE dialect answers by SET_, as does ours."""
    arguments = ("--url", stock_hub, "--dialect", "core", "--room", "NODE_ROOM")
    async with node_process(node, "master.mjs", *arguments) as master:
        await json_of(master, until=lambda line: line.get("ready") is True)
        async with AlephScriptClient(stock_hub) as asker:
            await asker.subscribe("NODE_ROOM")
            answer = await asker.request("ECHO", {"a": 1}, timeout=5)
            assert answer["echo"]["a"] == 1
            with pytest.raises(CapabilityError, match="asked to fail"):
                await asker.request("ECHO", {"fail": True}, timeout=5)


async def test_finds_its_rooms_again_when_the_hub_was_replaced(
    stock_hub: str, node: str, processes: AsyncExitStack
) -> None:
    """On the next hub, ours or a stock one, everything is as before."""
    async with Doubler(stock_hub) as master, AlephScriptClient(stock_hub) as asker:
        await asker.subscribe("R")
        await processes.aclose()  # the hub is gone
        port = stock_hub.rsplit(":", 1)[1]
        async with node_process(node, "upstream_hub.mjs", "--port", port) as hub:
            await line_of(hub)
            async with asyncio.timeout(20):
                while True:
                    try:
                        assert await asker.request(Double(value=1), timeout=1) == Twice(value=2)
                        break
                    except (ConnectionError, DeadlineExceeded):
                        await asyncio.gather(master.ready(), asker.ready())


async def test_persefon_bot_serves_on_a_stock_hub(stock_hub: str) -> None:
    """The example is no special case of our hub."""
    async with PersefonBot(stock_hub), AlephScriptClient(stock_hub) as asker:
        await asker.subscribe("AAIA_ROOM")
        opened = await asker.request("AAIA_CREATE_SESSION", {"appId": "demo-logica"})
        session_id = opened["session"]["sessionId"]
        step = await asker.request("AAIA_STEP_FIA", {"sessionId": session_id, "fiaIndex": 0})
        assert step["cycles"] == 1
        assert (await asker.request("AAIA_GET_APPS"))["count"] >= 4


@pytest.mark.parametrize("dialect", ["doc", "core"])
@pytest.mark.parametrize("transport", ["websocket", "polling", "default"])
@pytest.mark.parametrize("door", DOORS)
async def test_stock_masters_are_asked_through_our_hub(
    node: str, door: str, dialect: str, transport: str
) -> None:
    """Unmodified socket.io-client, both dialects, every transport, wherever the hub is."""
    async with hub_behind(door) as hub, AlephScriptClient(hub.url) as asker:
        arguments = ("--url", hub.url, "--dialect", dialect, "--transport", transport)
        async with node_process(node, "master.mjs", *arguments) as master:
            await json_of(master, until=lambda line: line.get("ready") is True)
            answer = await asker.request("ECHO", {"a": 1}, room="AAIA_ROOM")
            assert answer["echo"] == {"a": 1}
            with pytest.raises(CapabilityError, match="asked to fail"):
                await asker.request("ECHO", {"fail": True}, room="AAIA_ROOM")
            with pytest.raises(DeadlineExceeded):
                await asker.request("ECHO", {"silent": True}, room="AAIA_ROOM", timeout=0.2)


@pytest.mark.parametrize("door", DOORS)
async def test_stock_observers_hear_our_masters_through_our_hub(node: str, door: str) -> None:
    """An event reaches a Node observer as one plain argument."""
    async with (
        hub_behind(door) as hub,
        Doubler(hub.url),
        AlephScriptClient(hub.url) as asker,
        node_process(node, "observer.mjs", "--url", hub.url, "--room", "R") as observer,
    ):
        await json_of(observer, until=lambda line: line.get("ready") is True)
        assert await asker.request(Double(value=3)) == Twice(value=6)
        heard = await json_of(observer, until=lambda line: line.get("event") == "DOUBLED")
        assert heard["args"] == [{"value": 3}]


async def test_a_stock_hubs_refusal_is_fatal(node: str) -> None:
    """Asking again with the same wrong token would be pointless."""
    arguments = ("--port", "0", "--token", "secret")
    async with node_process(node, "upstream_hub.mjs", *arguments) as process:
        url = f"http://127.0.0.1:{(await line_of(process)).removeprefix('listening ')}"
        with pytest.raises(ConnectionRefused, match="unauthorized") as refused:
            async with AlephScriptClient(url, auth={"token": "wrong", "room": "R"}):
                pass
        assert refused.value.fatal
        async with AlephScriptClient(url, auth={"token": "secret", "room": "R"}) as client:
            assert client.state is State.READY


class Asker(AlephScriptClient):
    """Is in the room, as those have to be that ask on a stock hub."""

    rooms = observe("R")


class Named(Doubler):
    """A master that says which instance it is, and notes who displaces it."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.changes: asyncio.Queue[MasterChange] = asyncio.Queue()

    @capability("WHO")
    async def who(self) -> str:
        """Who serves."""
        return self.sesion

    async def on_displaced(self, change: MasterChange) -> None:
        """Note it."""
        self.changes.put_nowait(change)


async def _until_serves(asker: AlephScriptClient, sesion: str) -> None:
    async with asyncio.timeout(20):
        while True:
            with contextlib.suppress(DeadlineExceeded):
                if (await asker.request("WHO", room="R", timeout=0.3))["result"] == sesion:
                    return


@pytest.mark.parametrize("stock_hub", ["core"], indirect=True)
async def test_a_displaced_master_declares_itself_again_when_the_other_is_gone(
    stock_hub: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Core has forgotten it, and shows its state; the newest comes first, a live one keeps all."""
    monkeypatch.setattr(mastering, "_LOOK_SECONDS", 0.05)
    async with (
        Asker(stock_hub) as asker,
        Named(stock_hub, sesion="1") as first,
        Named(stock_hub, sesion="2") as second,
    ):
        async with asyncio.timeout(10):
            assert (await first.changes.get()).usuario == "Named2"
        looked = asyncio.create_task(_until_serves(asker, "1"))
        done, _ = await asyncio.wait({looked}, timeout=0.5)
        assert not done
        looked.cancel()
        await _until_serves(asker, "2")
        third = await Named(stock_hub, sesion="3").__aenter__()
        async with asyncio.timeout(10):
            assert (await second.changes.get()).usuario == "Named3"
        await third.close()
        await _until_serves(asker, "2")
        await second.close()
        await _until_serves(asker, "1")


@pytest.mark.parametrize("stock_hub", ["core"], indirect=True)
async def test_a_room_is_claimed_again_that_a_stock_master_took_in_silence(
    stock_hub: str, node: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hub has forgotten the room's members with it, which is how its going shows."""
    monkeypatch.setattr(mastering, "_LOOK_SECONDS", 0.05)
    async with Named(stock_hub, sesion="1") as bot, Asker(stock_hub) as asker:
        other = socketio.AsyncClient(reconnection=False)
        await other.connect(stock_hub, namespaces=["/runtime"])
        declared = {"event": "MAKE_MASTER", "room": "R", "data": {"features": ["WHO"]}}
        await other.emit("ROOM_MESSAGE", declared, namespace="/runtime")
        with pytest.raises(DeadlineExceeded):  # noqa: PT012
            while True:  # the hub may hear of it later than of a question
                await asker.request("WHO", room="R", timeout=0.5)
        assert bot.changes.empty()
        await other.disconnect()
        await _until_serves(asker, "1")
        assert (await bot.changes.get()).usuario is None
