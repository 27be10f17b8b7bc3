"""A client's life: opening, being somebody somewhere, reconnecting, closing, running."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from typing import Any

import pytest

from alephscript import (
    AlephScriptClient,
    AlephScriptError,
    Closed,
    ConnectionRefused,
    Event,
    InvalidPayload,
    NoMaster,
    NotConnected,
    Request,
    State,
    StateError,
    capability,
    observe,
    on,
)
from alephscript.testing import InMemoryMesh
from tests.support.meshes import HUBS

pytestmark = pytest.mark.anyio


async def until(client: AlephScriptClient, state: State) -> None:
    """Wait for a client to be in a state."""
    async with asyncio.timeout(5):
        await client._alephscript_life.until(state)


class Bot(AlephScriptClient):
    """Masters a room, listens in another."""

    rooms = ("WORK", *observe("NEWS"))

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.runs = 0
        self.heard: list[Any] = []
        self.hears = asyncio.Event()

    @capability("RUN")
    async def go(self, request: Request[Any]) -> dict[str, Any]:
        """Count the runs, and tell who asked."""
        self.runs += 1
        return {"runs": self.runs, "caller": request.caller, "by": self.usuario}

    @capability("LEAVE")
    async def leave(self) -> None:
        """Close the client from within."""
        await self.close()

    @on("NEWS")
    async def news(self, event: Event[Any]) -> None:
        """Note the news."""
        self.heard.append(event.data)
        self.hears.set()


class Roomless(AlephScriptClient):
    """Offers something, nowhere yet."""

    @capability("ONE")
    async def one(self) -> dict[str, Any]:
        """Count."""
        return {"n": 1}

    @capability("TWO")
    async def two(self) -> dict[str, Any]:
        """Count on."""
        return {"n": 2}


class Provider:
    """Gives credentials, and notes that it was asked."""

    def __init__(self, *, failures: int = 0) -> None:
        self.asked = 0
        self.failures = failures
        self.changed = asyncio.Event()

    def __call__(self) -> dict[str, Any]:
        """Give them, or fail."""
        self.asked += 1
        self.changed.set()
        if self.asked <= self.failures:
            raise OSError("the vault is closed")
        return {"token": self.asked}

    async def later(self) -> dict[str, Any]:
        """Give them after a turn of the loop."""
        await asyncio.sleep(0)
        return self()

    async def was_asked(self, count: int) -> None:
        """Wait until it was asked so often."""
        async with asyncio.timeout(5):
            while self.asked < count:
                self.changed.clear()
                await self.changed.wait()


# Opening


async def test_opening_without_a_hub_is_refused(mesh: Any) -> None:
    """Not for good: a hub may come. The client is closed all the same."""
    await mesh.stop()
    client = mesh.make()
    async with asyncio.timeout(5):
        with pytest.raises(ConnectionRefused, match="is a hub running there") as caught:
            await client.__aenter__()
    assert not caught.value.fatal
    assert client.state is State.CLOSED


async def test_opening_with_retry_waits_for_the_hub(mesh: Any) -> None:
    """Services start in any order."""
    await mesh.stop()
    provider = Provider()
    opening = asyncio.create_task(mesh.open(Bot, retry_open=True, auth=provider))
    await provider.was_asked(3)
    assert not opening.done()
    await mesh.start()
    async with asyncio.timeout(5):
        bot = await opening
        assert (await bot.request("RUN"))["runs"] == 1


async def test_opening_may_be_given_up(mesh: Any) -> None:
    """Cancelling it leaves a closed client."""
    await mesh.stop()
    provider = Provider()
    client = mesh.make(retry_open=True, auth=provider)
    opening = asyncio.create_task(client.__aenter__())
    await provider.was_asked(2)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    assert client.state is State.CLOSED


@pytest.mark.parametrize("retry_open", [False, True])
async def test_a_namespace_that_is_not_there_is_refused_for_good(
    mesh: Any, retry_open: bool
) -> None:
    """Trying again would be pointless."""
    client = mesh.make(namespace="/nowhere", retry_open=retry_open)
    async with asyncio.timeout(5):
        with pytest.raises(ConnectionRefused, match="namespace") as caught:
            await client.__aenter__()
    assert caught.value.fatal
    with pytest.raises(ConnectionRefused):
        await client.run_forever()


async def test_the_root_namespace_is_a_mesh_of_its_own(mesh: Any) -> None:
    """Who is there sees nothing of ``/runtime``."""
    await mesh.open(Bot)
    client = await mesh.open(namespace="/")
    with pytest.raises(NoMaster):
        await client.request("RUN")


@pytest.mark.parametrize(
    "options",
    [
        {"usuario": "x" * 300},
        {"usuario": "x" * 300, "acknowledges": True},
        {"extras": {"what": object()}},
        {"extras": {"what": float("nan")}},
        {"auth": lambda: ["no", "mapping"]},
        {"auth": lambda: 5},
    ],
    ids=["name", "name-acknowledged", "object", "nan", "list", "number"],
)
async def test_opening_as_nobody_fails_at_once(mesh: Any, options: dict[str, Any]) -> None:
    """What the hub does not take, or JSON, is no session, and no silence either."""
    client = mesh.make(**options)
    async with asyncio.timeout(5):
        with pytest.raises(AlephScriptError):
            await client.__aenter__()
    assert client.state is State.CLOSED


async def test_a_transport_that_fails_unexpectedly_fails_the_opening() -> None:
    """A defect in it is no reason to wait for ever."""

    class Broken:
        async def connect(self, *_: Any, **__: Any) -> Any:
            raise ZeroDivisionError

    async with asyncio.timeout(5):
        with pytest.raises(ConnectionRefused, match="ZeroDivisionError"):
            await AlephScriptClient(Broken()).__aenter__()


async def test_a_client_is_opened_once(mesh: Any) -> None:
    """Neither again while it is open, nor after."""
    client = await mesh.open()
    with pytest.raises(StateError, match="ready already"):
        await client.__aenter__()
    await client.close()
    with pytest.raises(StateError, match="closed already; make another one"):
        await client.__aenter__()


async def test_before_it_is_open_a_client_says_so(mesh: Any) -> None:
    """Whatever is asked of it."""
    client = mesh.make()
    assert client.state is State.NEW
    for call in (
        client.request("X"),
        client.broadcast("X", room="R"),
        client.subscribe("R"),
        client.make_master("R", ("X",)),
        client.server_state(),
        client.ready(),
    ):
        with pytest.raises(StateError, match="not open"):
            await call


async def test_after_it_is_closed_a_client_says_so(mesh: Any) -> None:
    """Closing again is no error; waiting for it to be ready is."""
    client = await mesh.open()
    await asyncio.gather(client.close(), client.close())
    await client.close()
    for call in (
        client.request("X"),
        client.broadcast("X", room="R"),
        client.subscribe("R"),
        client.server_state(),
    ):
        with pytest.raises(Closed, match="closed"):
            await call
    with pytest.raises(StateError, match="closed"):
        await client.ready()
    await client.run_forever()


# Being somebody somewhere


async def test_a_master_may_be_made_at_run_time(mesh: Any) -> None:
    """With what the class offers, or with what is said."""
    bot = await mesh.open(Roomless)
    client = await mesh.open()
    with pytest.raises(NoMaster):
        await client.request("ONE")
    await bot.make_master("SOME", ("ONE",))
    assert await client.request("ONE") == {"n": 1}
    with pytest.raises(NoMaster):
        await client.request("TWO")
    await bot.make_master("ALL")
    assert await client.request("TWO") == {"n": 2}


async def test_the_last_master_wins(mesh: Any) -> None:
    """A bot that was started anew takes over."""
    await mesh.open(Bot, usuario="first")
    await mesh.open(Bot, usuario="second")
    client = await mesh.open()
    assert (await client.request("RUN"))["by"] == "second"


async def test_the_server_state_tells_who_is_where(mesh: Any) -> None:
    """As the hub tells it, without ``success``."""
    await mesh.open(Bot, usuario="worker", sesion="7", extras={"version": 3})
    client = await mesh.open()
    state = await client.server_state()
    assert "success" not in state
    assert "worker" in str(state)
    assert "WORK" in str(state)


async def test_a_client_may_register_as_somebody_else(mesh: Any) -> None:
    """From now on, and on the next connection, too."""
    await mesh.open(Bot)
    client = await mesh.open(usuario="ada", sesion="1")
    await client.register("grace", "2")
    assert (await client.request("RUN"))["caller"] == "grace2"
    await client.register("edith")
    await mesh.stop()
    await until(client, State.RECONNECTING)
    await mesh.start()
    async with asyncio.timeout(5):
        await client.ready()
        assert "edith" in str(await client.server_state())


async def test_registering_anew_replaces_all_further_fields(mesh: Any) -> None:
    """Those of the constructor, too; and they never stand for the name."""
    client = await mesh.open(usuario="ada", extras={"version": "first", "usuario": "nobody"})
    await client.subscribe("ROOM")
    assert "first" in str(await client.server_state())
    await client.register("ada", role="second")
    state = str(await client.server_state())
    assert "second" in state
    assert "first" not in state
    assert "nobody" not in state


async def test_a_refused_registration_changes_nothing(mesh: Any) -> None:
    """The client stays who it was."""
    client = await mesh.open(usuario="ada", sesion="1")
    with pytest.raises(InvalidPayload):
        await client.register("x" * 300, "2")
    assert (client.usuario, client.sesion) == ("ada", "1")


async def test_a_refused_room_is_not_remembered(mesh: Any) -> None:
    """Neither to be in nor to master."""
    client = await mesh.open()
    for call in (client.subscribe("x" * 300), client.make_master("", ("X",))):
        with pytest.raises(InvalidPayload):
            await call
    await mesh.stop()
    await until(client, State.RECONNECTING)
    await mesh.start()
    async with asyncio.timeout(5):
        await client.ready()


# Reconnecting


async def test_a_client_comes_back_with_its_hub(mesh: Any) -> None:
    """Registered, subscribed and mastering before it is ready; each request runs once."""
    bot = await mesh.open(Bot, usuario="bot", sesion="1")
    await bot.subscribe("LATER")
    client = await mesh.open(usuario="asker", sesion="1")
    stream = bot.events("LATER")
    assert (await client.request("RUN"))["runs"] == 1
    for lives in (2, 3):
        await mesh.stop()
        await until(bot, State.RECONNECTING)
        await until(client, State.RECONNECTING)
        await mesh.start()
        async with asyncio.timeout(5):
            await asyncio.gather(bot.ready(), client.ready())
            answer = await client.request("RUN")
            await client.broadcast("PING", lives, room="LATER")
            event = await anext(stream)
        assert answer == {"runs": lives, "caller": "asker1", "by": "bot"}
        assert (event.data, event.sender) == (lives, "asker1")
    bot.hears.clear()
    await client.broadcast("NEWS", "once", room="NEWS")
    async with asyncio.timeout(5):
        await bot.hears.wait()
    assert bot.heard == ["once"]


async def test_while_the_hub_is_down_nothing_is_sent(mesh: Any) -> None:
    """And it is said so, rather than waited."""
    client = await mesh.open()
    await mesh.stop()
    await until(client, State.RECONNECTING)
    for call in (
        client.request("RUN"),
        client.broadcast("X", room="R"),
        client.subscribe("R"),
        client.server_state(),
    ):
        with pytest.raises(NotConnected, match="nothing was sent"):
            await call


async def test_what_was_left_stays_left_after_a_reconnection(mesh: Any) -> None:
    """Unsubscribing is remembered like subscribing."""
    bot = await mesh.open(Bot)
    await bot.unsubscribe("NEWS")
    await mesh.stop()
    await until(bot, State.RECONNECTING)
    await mesh.start()
    stream = bot.events()
    async with asyncio.timeout(5):
        await bot.ready()
        await bot.broadcast("NEWS", room="NEWS")
        await bot.broadcast("LAST", room="WORK")
        assert (await anext(stream)).name == "LAST"


async def test_a_client_may_close_while_the_hub_is_down(mesh: Any) -> None:
    """It stops trying."""
    client = await mesh.open()
    await mesh.stop()
    await until(client, State.RECONNECTING)
    async with asyncio.timeout(5):
        await client.close()
    assert client.state is State.CLOSED


@pytest.mark.parametrize("kind", ["plain", "async"])
async def test_credentials_are_asked_for_at_each_connection(mesh: Any, kind: str) -> None:
    """They may have expired in the meantime."""
    provider = Provider()
    client = await mesh.open(auth=provider if kind == "plain" else provider.later)
    assert provider.asked == 1
    await mesh.stop()
    await until(client, State.RECONNECTING)
    await mesh.start()
    async with asyncio.timeout(5):
        await client.ready()
    assert provider.asked >= 2


async def test_credentials_may_be_fixed(mesh: Any) -> None:
    """A mapping is sent as it is."""
    client = await mesh.open(auth={"token": "t"})
    assert client.state is State.READY


async def test_a_provider_that_fails_is_asked_again(
    mesh: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Its failure is logged, and costs one attempt."""
    provider = Provider(failures=2)
    async with asyncio.timeout(5):
        await mesh.open(auth=provider.later, retry_open=True)
    assert provider.asked == 3
    assert "the vault is closed" in caplog.text


async def test_a_provider_that_fails_at_opening_refuses_the_connection(mesh: Any) -> None:
    """Who does not want to retry learns it at once."""
    with pytest.raises(ConnectionRefused, match="auth provider failed"):
        await mesh.open(auth=Provider(failures=1))


# Running


async def test_running_for_ever_ends_when_it_is_closed(mesh: Any) -> None:
    """A new client is opened by it."""
    bot = mesh.make(Bot)
    running = asyncio.create_task(bot.run_forever())
    await until(bot, State.READY)
    await bot.close()
    async with asyncio.timeout(5):
        await running
    assert bot.state is State.CLOSED


async def test_a_capability_may_close_its_client(mesh: Any) -> None:
    """From within, without waiting for itself."""
    bot = mesh.make(Bot)
    running = asyncio.create_task(bot.run_forever())
    await until(bot, State.READY)
    client = await mesh.open()
    async with asyncio.timeout(5):
        with pytest.raises(AlephScriptError):
            await client.request("LEAVE")
        await running


SCRIPT = """
import asyncio, sys
from alephscript import AlephScriptClient
from alephscript.testing import InMemoryMesh

class Bot(AlephScriptClient):
    async def __aenter__(self):
        await super().__aenter__()
        print("ready", flush=True)
        return self

    async def __aexit__(self, *args):
        await super().__aexit__(*args)
        print("closed", flush=True)

hub, transport = sys.argv[1:]
if hub == "memory":
    hub = InMemoryMesh()
    asyncio.run(hub.restart())
Bot(hub, transports=(transport,)).run()
print("done", flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("mesh", ["memory", "websocket", "polling", HUBS], indirect=True)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_script_ends_well_on_a_signal(mesh: Any, number: signal.Signals) -> None:
    """It leaves the mesh, goes on after run(), and exits with 0, silently."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-W", "error", "-c", SCRIPT),
        *(mesh.hub if mesh.kind != "memory" else "memory", mesh.transport),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(15):
            assert process.stdout is not None
            assert await process.stdout.readline() == b"ready\n"
            process.send_signal(number)
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    assert (process.returncode, out) == (0, b"closed\ndone\n")
    # A slow beginning alone is told, as is meant.
    assert all(b" waits for its hub at " in line for line in err.splitlines()), err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_run_ends_on_a_signal(number: signal.Signals) -> None:
    """In this process, too."""

    class Brief(AlephScriptClient):
        async def ready(self) -> None:
            await super().ready()
            os.kill(os.getpid(), number)

    hub = InMemoryMesh()
    asyncio.run(hub.restart())
    client = Brief(hub)
    client.run()
    assert client.state is State.CLOSED


def test_run_without_a_hub_is_refused() -> None:
    """A script is told why it ends."""
    with pytest.raises(ConnectionRefused):
        AlephScriptClient(InMemoryMesh()).run()
