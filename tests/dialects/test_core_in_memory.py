"""A client that takes its hub for one that acknowledges nothing: ROOM_MESSAGE and SET_ events."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from alephscript import (
    AlephScriptClient,
    AmbiguousRoom,
    CapabilityError,
    Closed,
    ConnectionRefused,
    DeadlineExceeded,
    LinkLost,
    NotSubscribed,
    Request,
    State,
    capability,
    observe,
)
from alephscript.client.dialects import Core, Native
from alephscript.protocol.json import parse_json, write_json
from alephscript.testing import SimulatedMesh, simulate
from tests.support.meshes import Silent, at_once

pytestmark = pytest.mark.anyio


class Master(AlephScriptClient):
    """Serves in the envelope dialect."""

    rooms = ("OLD",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.serving = asyncio.Event()

    @capability("DOUBLE", announce=True)
    async def double(self, request: Request[Any]) -> dict[str, Any]:
        """Double a number."""
        return {"double": request.payload["n"] * 2, "room": request.room}

    @capability("FAIL")
    async def fail(self) -> None:
        """Fail in its own words."""
        raise CapabilityError("no_tea", "no tea")

    @capability("ECHO")
    async def echo(self, what: Any) -> Any:
        """Return what is no object."""
        return what

    @capability("FOREVER")
    async def forever(self) -> None:
        """Never answer."""
        self.serving.set()
        await asyncio.Event().wait()


class Asker(AlephScriptClient):
    """Is in the room, as who asks on a stock hub has to be."""

    rooms = observe("OLD")


async def both(mesh: Any) -> tuple[Master, Asker]:
    """A master and an asker that expect no acknowledgement."""
    master = await mesh.open(Master, acknowledges=False)
    return master, await mesh.open(Asker, acknowledges=False)


async def test_requests_are_answered_without_acknowledgements(mesh: Any) -> None:
    """Objects, failures and other values; the only room need not be named."""
    _, asker = await both(mesh)
    async with asyncio.timeout(5):
        assert (await asker.request("DOUBLE", {"n": 2}))["double"] == 4
        assert (await asker.request("DOUBLE", {"n": 3}, room="OLD"))["double"] == 6
        assert await asker.request("ECHO", 5) == {"result": 5}
        with pytest.raises(CapabilityError, match="no tea"):
            await asker.request("FAIL")


async def test_questions_of_one_name_are_asked_one_after_the_other(mesh: Any) -> None:
    """Two askers at once, each with its own numbers."""
    _, asker = await both(mesh)
    other = await mesh.open(Asker, acknowledges=False)
    async with asyncio.timeout(5):
        answers = await asyncio.gather(
            *((asker, other)[n % 2].request("DOUBLE", {"n": n}) for n in range(20))
        )
    assert [answer["double"] for answer in answers] == [n * 2 for n in range(20)]


async def test_both_dialects_are_served_at_once(mesh: Any) -> None:
    """Who acknowledges asks who does not, and the other way round."""
    master, asker = await both(mesh)
    modern = await mesh.open()
    async with asyncio.timeout(5):
        assert (await modern.request("DOUBLE", {"n": 1}))["double"] == 2
        await master.close()
        await mesh.open(Master)
        assert (await asker.request("DOUBLE", {"n": 2}))["double"] == 4


async def test_the_answers_are_heard_by_the_room(mesh: Any) -> None:
    """That is how UIs follow a mesh."""
    _, asker = await both(mesh)
    stream = asker.events(None, "SET_DOUBLE")
    async with asyncio.timeout(5):
        await asker.request("DOUBLE", {"n": 2})
        event = await anext(stream)
    assert (event.room, event.data["double"]) == ("OLD", 4)


async def test_who_asks_has_to_be_in_the_room(mesh: Any) -> None:
    """Else the answer would never reach it; in several rooms it has to say which."""
    _, asker = await both(mesh)
    with pytest.raises(NotSubscribed):
        await asker.request("DOUBLE", {"n": 1}, room="OTHER")
    await asker.subscribe("OTHER")
    with pytest.raises(AmbiguousRoom):
        await asker.request("DOUBLE", {"n": 1})
    await asker.unsubscribe("OTHER")
    async with asyncio.timeout(5):
        assert (await asker.request("DOUBLE", {"n": 1}))["double"] == 2


async def test_the_server_state_comes_as_an_event(mesh: Any) -> None:
    """And says the same."""
    _, asker = await both(mesh)
    async with asyncio.timeout(5):
        assert "Master" in str(await asker.server_state())


async def test_a_late_question_gives_way_to_the_next(mesh: Any) -> None:
    """The time includes waiting for its turn."""
    await both(mesh)
    asker = await mesh.open(Asker, acknowledges=False)
    async with asyncio.timeout(5):
        late = [asker.request("FOREVER", timeout=0.05) for _ in range(2)]
        ended = await asyncio.gather(*late, return_exceptions=True)
        assert [type(each) for each in ended] == [DeadlineExceeded] * 2
        assert (await asker.request("DOUBLE", {"n": 1}, timeout=None))["double"] == 2
    assert asker._alephscript_session.dialect._waiting == {}


async def test_what_waits_ends_with_the_link_or_the_client(mesh: Any) -> None:
    """As where acknowledgements are."""
    master, asker = await both(mesh)
    closing = await mesh.open(Asker, acknowledges=False)
    waiting = [
        asyncio.create_task(asker.request("FOREVER", timeout=60)),
        asyncio.create_task(closing.request("FOREVER", timeout=60)),
    ]
    async with asyncio.timeout(5):
        await master.serving.wait()
        await closing.close()
        with pytest.raises(Closed):
            await waiting[1]
        await mesh.stop()
        with pytest.raises(LinkLost):
            await waiting[0]


@pytest.mark.slow
async def test_a_hub_that_does_not_acknowledge_the_registration_is_a_stock_one() -> None:
    """It is found out by its silence, and told the rest in its dialect."""
    hub = Silent()
    async with asyncio.timeout(5), Master(hub) as client:
        assert client._alephscript_session is not None
        assert isinstance(client._alephscript_session.dialect, Core)
    assert hub.sent == ["CLIENT_REGISTER", "CLIENT_SUSCRIBE", *["ROOM_MESSAGE"] * 3]


def test_a_hub_that_was_slow_once_is_no_stock_hub() -> None:
    """When its acknowledgement comes after all, the client connects anew; next time it waits."""

    async def open_and_come_back(mesh: SimulatedMesh) -> None:
        mesh.delay(1.5)
        async with Master(mesh, backoff=at_once) as master:
            assert type(master._alephscript_session.dialect) is Native  # type: ignore[union-attr]
            mesh.cut()
            await master._alephscript_life.until(State.RECONNECTING)
            session = await master._alephscript_life.ready()
            assert type(session.dialect) is Native

    simulate(open_and_come_back, 0)


def test_a_hub_that_says_after_a_while_that_it_is_none_is_spoken_to_anew() -> None:
    """Also where the client has begun to serve by then."""

    async def be_slow(mesh: SimulatedMesh) -> None:
        mesh.delay(4)
        async with Master(mesh, backoff=at_once, acknowledges=None) as master:
            mesh.delay(0)
            await master._alephscript_life.until(State.RECONNECTING)
            session = await master._alephscript_life.ready()
            assert type(session.dialect) is Native

    simulate(be_slow, 0)


def test_a_dead_link_makes_no_stock_hub_of_one_that_has_acknowledged() -> None:
    """What is confirmed then would have been lost; a hub whose next link is silent, too, is one."""

    async def lose(mesh: SimulatedMesh) -> None:
        async with Master(mesh, backoff=at_once) as master:
            life = master._alephscript_life
            for dialect in (Native, Core):
                mesh.drop("CLIENT_REGISTER")
                mesh.cut()
                await life.until(State.RECONNECTING)
                await asyncio.sleep(8)
                assert life.state is State.RECONNECTING
                if dialect is Native:
                    mesh.drop()
                session = await life.ready()
                assert type(session.dialect) is dialect

    simulate(lose, 0)


async def test_a_hub_that_says_nothing_in_the_time_is_refused() -> None:
    """One that is told to acknowledge, and does not."""
    client = AlephScriptClient(Silent(), acknowledges=True, connect_timeout=0.05)
    async with asyncio.timeout(5):
        with pytest.raises(ConnectionRefused, match="did not finish the registration"):
            await client.__aenter__()


async def test_a_hub_that_goes_during_the_registration_is_refused() -> None:
    """The next attempt may find it in a better state."""
    client = AlephScriptClient(Silent(goes=True))
    with pytest.raises(ConnectionRefused, match="did not finish the registration"):
        await client.__aenter__()
    assert client.state is State.CLOSED


async def test_an_event_that_wants_an_acknowledgement_gets_one() -> None:
    """A foreign hub may ask for it; nobody's event is said to be so."""
    hub = Silent()
    answers: list[tuple[int, bool]] = []
    hub.acknowledge = lambda ack, payload: answers.append((ack, parse_json(payload)[0]["success"]))  # type: ignore[method-assign]
    async with asyncio.timeout(5), AlephScriptClient(hub, acknowledges=False) as client:
        hub.receiver.received(write_json(["NOBODY", 1]), 1)
        stream = client.events()
        hub.receiver.received(write_json(["SET_X", {"a": 1, "sender": "s"}]), 2)
        event = await anext(stream)
    assert answers == [(1, False), (2, True)]
    assert (event.name, event.data) == ("SET_X", {"a": 1})
