"""A link that is cut costs what was on it, at once and nothing more; the hub lives on."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

from alephscript import (
    AlephScriptClient,
    ConnectionRefused,
    Event,
    LinkLost,
    MasterLost,
    NoMaster,
    NotConnected,
    RequestError,
    State,
    StateError,
    capability,
    observe,
    on,
)
from alephscript.links._socketio import SocketIOTransport
from alephscript.links.websocket import WebSocketTransport
from tests.support.meshes import C, MeshUnderTest, at_once

pytestmark = pytest.mark.anyio


LIBRARIES: dict[str, Any] = {
    "websocket": WebSocketTransport,
    "python-socketio": SocketIOTransport,
}


class Relay:
    """A wire to a hub that can be cut: what it carries is lost, and both ends see a reset.

    Args:
        port: The hub's port.

    Attributes:
        url: Its address.
        broken: Whether it cuts each connection as soon as it has taken it.
        posts: Whether it lets HTTP POSTs pass.
    """

    def __init__(self, port: int) -> None:
        self.url = ""
        self.broken = False
        self.posts = True
        self._to = port
        self._writers: set[asyncio.StreamWriter] = set()
        self._pumps: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Take connections."""
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def cut(self) -> None:
        """Reset every connection; new ones are taken."""
        for writer in self._writers:
            writer.transport.abort()

    async def close(self) -> None:
        """Cut it for good."""
        assert self._server is not None
        self._server.close()
        self.cut()
        if self._pumps:
            await asyncio.wait(self._pumps)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._pumps.add(task)
        task.add_done_callback(self._pumps.discard)
        if self.broken:
            writer.transport.abort()
            return
        there, out = await asyncio.open_connection("127.0.0.1", self._to)
        ends = {writer, out}
        self._writers |= ends
        await asyncio.gather(self._pump(reader, out), self._pump(there, writer))
        self._writers -= ends

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                if data.startswith(b"POST") and not self.posts:
                    break
                writer.write(data)
        except OSError:
            pass
        writer.transport.close()


class Wires:
    """A mesh whose clients are each on a link of their own that can be cut.

    Polling is not among them: there a cut costs a connection, not the link.

    Args:
        kind: ``memory``, or the library that makes the links.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.mesh = MeshUnderTest("memory" if kind == "memory" else "websocket")
        self._relays: list[Relay] = []
        self._relay_of: dict[AlephScriptClient, Relay] = {}

    async def relay(self) -> Relay:
        """A wire to the hub."""
        relay = Relay(int(self.mesh.hub.rpartition(":")[2]))
        await relay.open()
        self._relays.append(relay)
        return relay

    def make(self, relay: Relay, cls: type[C] = AlephScriptClient, **options: Any) -> C:  # type: ignore[assignment]
        """A client at the end of a wire that is not open yet."""
        return cls(LIBRARIES[self.kind](relay.url), **{"backoff": at_once, **options})

    async def open(self, cls: type[C], **options: Any) -> C:
        """A client that is ready."""
        if self.kind == "memory":
            return await self.mesh.open(cls, **options)
        relay = await self.relay()
        client = self.make(relay, cls, **options)
        self._relay_of[client] = relay
        return await self.enter(client)

    async def enter(self, client: C) -> C:
        """Open a client, which is closed when the test ends."""
        await self.mesh._clients.enter_async_context(client)
        return client

    def cut(self, *clients: AlephScriptClient) -> None:
        """Cut these clients' links."""
        for client in clients:
            if self.kind != "memory":
                self._relay_of[client].cut()
            elif client._alephscript_session is not None:
                client._alephscript_session._channel.link.drop("cut")  # type: ignore[union-attr]

    async def end(self) -> None:
        """Close every client, the hub, and the wires."""
        await self.mesh.end()
        for relay in self._relays:
            await relay.close()


@pytest.fixture(params=["memory", *LIBRARIES])
async def wires(request: pytest.FixtureRequest) -> AsyncIterator[Wires]:
    """A mesh whose links can be cut one by one."""
    async with _started(request.param) as wires:
        yield wires


@pytest.fixture(params=LIBRARIES)
async def wired(request: pytest.FixtureRequest) -> AsyncIterator[Wires]:
    """One with wires to cut while links are being made; in memory that is one step."""
    async with _started(request.param) as wires:
        yield wires


@asynccontextmanager
async def _started(kind: str) -> AsyncIterator[Wires]:
    wires = Wires(kind)
    await wires.mesh.start()
    try:
        yield wires
    finally:
        await wires.end()


class Watched(AlephScriptClient):
    """Notes the states that it goes through."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.seen: list[State] = []
        self.noted = asyncio.Event()
        become = self._alephscript_life._become

        def note(state: State) -> None:
            self.seen.append(state)
            self.noted.set()
            become(state)

        self._alephscript_life._become = note  # type: ignore[method-assign]

    async def through(self, count: int, state: State = State.READY) -> None:
        """Wait until it was in a state so often."""
        async with asyncio.timeout(5):
            while self.seen.count(state) < count:
                self.noted.clear()
                await self.noted.wait()


class Worker(Watched):
    """Masters a room and counts what it does; hears what is said in another."""

    rooms = ("WORK", *observe("NEWS"))

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.runs: list[int] = []
        self.serving = 0
        self.changed = asyncio.Condition()
        self.heard: list[int] = []

    @capability("RUN")
    async def run_once(self, number: dict[str, int]) -> dict[str, int]:
        """Note the number, and say it again."""
        self.runs.append(number["n"])
        return number

    @capability("FOREVER")
    async def forever(self) -> None:
        """Never answer."""
        async with self.changed:
            self.serving += 1
            self.changed.notify_all()
        await asyncio.Event().wait()

    @on("NEWS")
    async def news(self, event: Event[int]) -> None:
        """Note the news."""
        async with self.changed:
            self.heard.append(event.data)
            self.changed.notify_all()

    async def is_serving(self, count: int) -> None:
        """Wait until it serves so many that never end."""
        async with asyncio.timeout(5), self.changed:
            await self.changed.wait_for(lambda: self.serving >= count)

    async def has_heard(self, number: int) -> None:
        """Wait until it has heard a number."""
        async with asyncio.timeout(5), self.changed:
            await self.changed.wait_for(lambda: number in self.heard)


def sockets() -> int:
    """How many sockets this process has open."""
    files = Path("/proc/self/fd").iterdir()
    return sum(each.is_socket() for each in files)


async def test_a_hundred_requests_on_a_cut_link_end_at_once(wires: Wires) -> None:
    """With an exception each, and nothing is left waiting."""
    worker = await wires.open(Worker)
    asker = await wires.open(Watched)
    session = asker._alephscript_session
    asked = [asyncio.create_task(asker.request("FOREVER", timeout=60)) for _ in range(100)]
    await worker.is_serving(100)
    wires.cut(asker)
    async with asyncio.timeout(10):  # long before a heartbeat is missed
        ended = await asyncio.gather(*asked, return_exceptions=True)
    assert {type(each) for each in ended} == {LinkLost}
    assert len({id(each) for each in ended}) == 100
    assert session is not None
    assert len(session._channel.pending) == 0
    await asker.through(2)
    async with asyncio.timeout(5):
        assert await asker.request("RUN", {"n": 1}) == {"n": 1}
    assert worker.runs == [1]


async def test_a_master_whose_link_is_cut_is_lost_to_its_askers_at_once(wires: Wires) -> None:
    """They are told that it may have run; it comes back and serves, once each."""
    worker = await wires.open(Worker)
    asker = await wires.open(Watched)
    asked = asyncio.create_task(asker.request("FOREVER", timeout=60))
    await worker.is_serving(1)
    wires.cut(worker)
    async with asyncio.timeout(10):
        with pytest.raises(MasterLost) as caught:
            await asked
    assert caught.value.details == [{"delivered": True}]
    await worker.through(2)
    async with asyncio.timeout(5):
        assert await asker.request("RUN", {"n": 1}) == {"n": 1}
        await asker.broadcast("NEWS", 1, room="NEWS")
        await worker.has_heard(1)
    assert (worker.runs, worker.heard) == ([1], [1])
    assert asker.seen == [State.CONNECTING, State.READY]


async def test_a_cut_link_is_made_anew_and_the_states_say_so(wires: Wires) -> None:
    """Registered, in its rooms and their master whenever it is ready; closed at the end."""
    worker = await wires.open(Worker, usuario="worker", sesion="1")
    for times in (2, 3, 4):
        wires.cut(worker)
        await worker.through(times)
        assert "worker" in str(await worker.server_state())
        assert await worker.request("RUN", {"n": times}, timeout=5) == {"n": times}
    await worker.close()
    again = [State.RECONNECTING, State.READY]
    assert worker.seen == [State.CONNECTING, State.READY, *again * 3, State.CLOSED]
    assert worker.runs == [2, 3, 4]


async def test_who_asks_again_at_once_waits_for_the_link(wires: Wires) -> None:
    """In the turn of the loop that ends the request, too: a loop around it would spin for ever."""
    worker = await wires.open(Worker)
    asker = await wires.open(Watched)

    async def ask_twice() -> Any:
        with pytest.raises(LinkLost):
            await asker.request("FOREVER", timeout=60)
        return await asker.request("RUN", {"n": 1}, wait_for_master=True, timeout=5)

    asked = asyncio.create_task(ask_twice())
    await worker.is_serving(1)
    wires.cut(asker)
    assert await asked == {"n": 1}


async def test_what_is_asked_between_the_links_is_not_sent(wires: Wires) -> None:
    """It fails as not connected, or, where the cut was not noticed yet, as lost."""
    worker = await wires.open(Worker, backoff=lambda: itertools.repeat(0.05))
    wires.cut(worker)
    async with asyncio.timeout(5):
        with pytest.raises((NotConnected, LinkLost)):
            await worker.request("RUN", {"n": 1})
        await worker.through(2)
    assert worker.runs == []


async def test_a_link_that_is_cut_while_it_opens_is_tried_again(wired: Wires) -> None:
    """At whatever moment of the opening; at the end there is one link, and no ghost."""
    relay = await wired.relay()
    worker = wired.make(relay, Worker, retry_open=True)
    opening = asyncio.create_task(wired.enter(worker))
    chance = random.Random(1)
    async with asyncio.timeout(20):
        for _ in range(40):
            await asyncio.wait({opening}, timeout=chance.uniform(0, 0.02))
            relay.cut()
        await opening
        asker = await wired.mesh.open()
        answer: Any = None
        while answer is None:
            await worker.ready()
            try:
                answer = await asker.request("RUN", {"n": 1})
            except (ConnectionError, NoMaster):
                continue  # the last cut had not been noticed
        assert (await asker.server_state())["clients"] == 2
    assert answer == {"n": 1}
    assert worker.runs in ([1], [1, 1])


async def test_closing_while_a_link_is_being_made_leaves_nothing(wired: Wires) -> None:
    """Neither a task nor a socket, nor somebody that the hub takes for a member."""
    relay = await wired.relay()
    tasks, open_sockets = asyncio.all_tasks(), sockets()
    for moment in range(40):
        client = wired.make(relay, Worker)
        opening = asyncio.create_task(client.__aenter__())
        async with asyncio.timeout(10):
            await asyncio.wait({opening}, timeout=moment / 2000)
            await client.close()
            await asyncio.gather(opening, return_exceptions=True)
        assert client.state is State.CLOSED
    async with asyncio.timeout(5):
        while sockets() > open_sockets or asyncio.all_tasks() - tasks:  # noqa: ASYNC110
            await asyncio.sleep(0.01)  # the hub's side has no event for it


async def test_a_hub_that_hangs_up_at_once_is_not_pestered(wired: Wires) -> None:
    """Opening fails soon; who goes on trying keeps to the delays."""
    relay = await wired.relay()
    relay.broken = True
    client = wired.make(relay)
    async with asyncio.timeout(5):
        with pytest.raises(ConnectionRefused) as caught:
            await client.__aenter__()
    assert not caught.value.fatal
    assert client.state is State.CLOSED
    attempts: list[float] = []

    def note() -> dict[str, Any]:
        attempts.append(0)
        return {}

    patient = wired.make(
        relay,
        retry_open=True,
        auth=note,
        backoff=lambda: iter([0.0, 0.0, 60.0]),
    )
    opening = asyncio.create_task(patient.__aenter__())
    async with asyncio.timeout(5):
        while len(attempts) < 3:
            await asyncio.wait({opening}, timeout=0.01)
        await asyncio.wait({opening}, timeout=0.2)  # time enough to be a nuisance
        await patient.close()
        with pytest.raises(StateError, match="closed"):
            await opening
    assert len(attempts) == 3


@pytest.mark.parametrize("mesh", ["polling"], indirect=True)  # the only one with two ways
async def test_a_link_that_hears_but_cannot_speak_is_given_up(mesh: Any) -> None:
    """A poll that goes on is no sign of life once a POST has failed."""
    relay = Relay(int(mesh.hub.rpartition(":")[2]))
    await relay.open()
    transport = SocketIOTransport(relay.url, transports=("polling",))
    async with Watched(transport, backoff=at_once) as client:
        relay.posts = False
        await client.broadcast("LOST", room="R")
        await client.through(1, State.RECONNECTING)
        relay.posts = True
        await client.through(2)
    await relay.close()


@pytest.mark.parametrize("transport", LIBRARIES.values(), ids=LIBRARIES)
async def test_a_hub_that_falls_silent_before_it_lets_one_in_is_refused(transport: Any) -> None:
    """Its own word on how often it pings counts, before the time for connecting is over."""

    async def greet(websocket: ServerConnection) -> None:
        await websocket.send(
            '0{"sid":"x","upgrades":[],"pingInterval":100,"pingTimeout":100,"maxPayload":1000}'
        )
        await websocket.wait_closed()

    async with serve(greet, "127.0.0.1", 0) as server, asyncio.timeout(5):
        port = next(iter(server.sockets)).getsockname()[1]
        client = AlephScriptClient(transport(f"http://127.0.0.1:{port}"), connect_timeout=60)
        with pytest.raises(ConnectionRefused) as caught:
            await client.__aenter__()
    assert not caught.value.fatal


async def test_opening_without_a_hub_leaves_nothing(mesh: Any) -> None:
    """Neither a task nor a socket."""
    await mesh.stop()
    tasks, open_sockets = asyncio.all_tasks(), sockets()
    for _ in range(5):
        with pytest.raises(ConnectionRefused):
            await mesh.make().__aenter__()
    assert asyncio.all_tasks() - tasks == set()
    assert sockets() <= open_sockets


async def test_across_cuts_nothing_comes_twice_or_out_of_order(wires: Wires) -> None:
    """What is said while a link is down is lost, and nothing else is."""
    worker = await wires.open(Worker)
    speaker = await wires.mesh.open()
    numbers = itertools.count(1)
    for times in (2, 3, 4):
        for _ in range(30):
            await speaker.broadcast("NEWS", next(numbers), room="NEWS")
        wires.cut(worker)
        for _ in range(30):
            await speaker.broadcast("NEWS", next(numbers), room="NEWS")
        await worker.through(times)
        mark = next(numbers)
        await speaker.broadcast("NEWS", mark, room="NEWS")
        await worker.has_heard(mark)
    assert worker.heard == sorted(set(worker.heard))


@pytest.mark.parametrize("seed", [1, 2])
async def test_under_random_cuts_every_request_ends_and_runs_at_most_once(
    wires: Wires, seed: int
) -> None:
    """With its own answer, or with an error that says whether it may have run."""
    chance = random.Random(seed)
    worker = await wires.open(Worker)
    askers = [await wires.open(Watched) for _ in range(3)]
    ended: dict[int, Any] = {}

    async def ask(number: int) -> None:
        asker = chance.choice(askers)
        await asker.ready()
        try:
            ended[number] = await asker.request("RUN", {"n": number}, timeout=3)
        except RequestError as error:
            ended[number] = error

    async with asyncio.timeout(20):
        for batch in range(30):
            asking = [asyncio.create_task(ask(batch * 10 + n)) for n in range(10)]
            for _ in range(chance.randrange(4)):
                await asyncio.sleep(0)
            if chance.random() < 0.4:
                wires.cut(chance.choice([worker, *askers]))
            await asyncio.gather(*asking)
    assert len(ended) == 300
    assert len(worker.runs) == len(set(worker.runs))
    for number, end in ended.items():
        if isinstance(end, RequestError):
            assert isinstance(end, LinkLost | MasterLost | NoMaster | NotConnected), end
            assert number not in worker.runs or isinstance(end, LinkLost | MasterLost)
        else:
            assert end == {"n": number}
            assert number in worker.runs
