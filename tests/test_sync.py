"""The blocking client, against a real hub in a process of its own."""

from __future__ import annotations

import asyncio
import inspect
import os
import signal
import subprocess
import sys
import threading
import typing
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import attrs
import pytest

from alephscript import (
    AlephScriptClient as AsyncClient,
    AlephScriptError,
    CapabilityError,
    Conflict,
    ConnectionRefused,
    NoMaster,
    RequestFor,
    State,
    StateError,
    capability,
)
from alephscript.hub import Hub
from alephscript.sync import AlephScriptClient
from tests.support.tools import ROOT


@attrs.frozen
class Sum:
    """What comes of it."""

    total: int


@attrs.frozen
class Add(RequestFor[Sum], capability="ADD"):
    """Two numbers."""

    a: int
    b: int


class Bot(AsyncClient):
    """Adds, counts, fails and hangs."""

    rooms = ("R",)

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.hanging = threading.Event()
        self.stopped = threading.Event()

    @capability
    async def add(self, request: Add) -> Sum:
        """Their sum, told to the room."""
        await self.broadcast("ADDED", {"total": request.a + request.b})
        return Sum(request.a + request.b)

    @capability("COUNT")
    async def count(self, payload: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """As far as it is asked, then it fails if it is told to."""
        try:
            for number in range(payload["to"]):
                yield {"number": number}
            if payload.get("fail"):
                raise CapabilityError(code="enough", message="that is enough")
        finally:
            self.stopped.set()

    @capability("HANG")
    async def hang(self, payload: dict[str, Any]) -> dict[str, Any]:
        """Never answer."""
        self.hanging.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.stopped.set()
        return payload


class Mesh:
    """A hub and a bot on a loop of their own."""

    def __init__(self) -> None:
        self.bot: Bot
        self.url = ""
        self._up = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        self._thread.start()
        assert self._up.wait(20)

    async def _serve(self) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        async with Hub(port=0, history=10) as hub, Bot(hub.url) as self.bot:
            self.url = hub.url
            self._up.set()
            await self._end.wait()

    def end(self) -> None:
        """Close both."""
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(20)


@pytest.fixture
def mesh() -> Iterator[Mesh]:
    """A hub with a bot."""
    mesh = Mesh()
    yield mesh
    mesh.end()


@pytest.fixture
def client(mesh: Mesh) -> Iterator[AlephScriptClient]:
    """A blocking client of it."""
    with AlephScriptClient(mesh.url, usuario="script", sesion="-1") as client:
        yield client


def test_its_names_are_those_of_the_asynchronous_one() -> None:
    """With their parameters; what serves, or is there for watching, stays asynchronous."""

    def names(cls: type) -> set[str]:
        return {name for name in dir(cls) if not name.startswith("_")}

    def parameters(method: Any) -> list[list[str]]:
        ways = typing.get_overloads(method) or [method]
        return [list(inspect.signature(way).parameters) for way in ways]

    serving = {"declarations", "drain", "make_master", "resign", "rooms", "run", "run_forever"}
    serving |= {"says", "middleware", "on_closing", "on_connected", "on_displaced"}
    watching = {"proxy", "states", "watch_masters"}
    assert names(AsyncClient) - names(AlephScriptClient) == serving | watching
    assert names(AlephScriptClient) - names(AsyncClient) == {"open"}
    for name in names(AlephScriptClient) - {"open", "state"}:
        blocking, asynchronous = (getattr(cls, name) for cls in (AlephScriptClient, AsyncClient))
        assert parameters(blocking) == parameters(asynchronous), name


def test_it_asks_by_name_and_by_contract(client: AlephScriptClient) -> None:
    """And raises what the asynchronous one raises."""
    assert client.state is State.READY
    assert client.request("ADD", {"a": 1, "b": 2}, timeout=5) == {"total": 3}
    assert client.request("ADD", {"a": 1, "b": 2}, reply=Sum) == Sum(3)
    assert client.request(Add(a=2, b=3)) == Sum(5)
    with pytest.raises(NoMaster):
        client.request("SUBTRACT", {})


def test_parts_come_one_by_one_and_leaving_the_loop_cancels(
    mesh: Mesh, client: AlephScriptClient
) -> None:
    """What the stream ends with is raised where it is read."""
    assert [part["number"] for part in client.stream("COUNT", {"to": 200})] == list(range(200))
    with pytest.raises(CapabilityError, match="enough"):
        list(client.stream("COUNT", {"to": 3, "fail": True}))
    mesh.bot.stopped.clear()
    for part in client.stream("COUNT", {"to": 10**9}):
        if part["number"] == 3:
            break
    assert mesh.bot.stopped.wait(10)


def test_a_task_is_submitted_watched_and_found_again(client: AlephScriptClient) -> None:
    """By the same names, without ``await``."""
    task = client.submit(Add(a=1, b=2), key="k")
    assert [each.state for each in task.updates()][-1] == "done"
    assert task.result(timeout=5) == Sum(3)
    assert client.task(task.id).status().result == {"total": 3}
    assert client.submit(Add(a=1, b=2), key="k").id == task.id
    waiting = client.submit("NOBODY_DOES", {})
    with pytest.raises(TimeoutError):
        waiting.result(timeout=0.01)
    with pytest.raises(Conflict):
        waiting.answer(1)
    assert waiting.cancel().state == "cancelled"
    assert [each.id for each in client.tasks()] == [waiting.id, task.id]


def test_events_are_read_as_they_come(client: AlephScriptClient) -> None:
    """In order; none in time is a TimeoutError, a closed stream ends."""
    client.subscribe("R")
    events = client.events("R", "ADDED")
    with pytest.raises(TimeoutError):
        events.next(timeout=0.01)
    for number in range(3):
        client.request(Add(a=number, b=0))
    assert [next(iter(events)).data for _ in range(3)] == [{"total": n} for n in range(3)]
    client.broadcast("ADDED", {"total": 99}, room="R")
    event = events.next(timeout=5)
    assert event is not None
    assert event.data == {"total": 99}
    events.close()
    assert list(events) == []
    client.unsubscribe("R")


def test_what_was_missed_is_heard_from_where_it_was_left(client: AlephScriptClient) -> None:
    """On a hub with a history, as with the asynchronous client."""
    client.ready()
    client.subscribe("R")
    events = client.events("R", "ADDED")
    client.request(Add(a=1, b=0))
    assert next(iter(events)).data == {"total": 1}
    left = client.position("R")
    client.unsubscribe("R")
    client.request(Add(a=2, b=0))
    client.subscribe("R", since=left)
    assert next(iter(events)).data == {"total": 2}


def test_it_finds_out_what_there_is(client: AlephScriptClient) -> None:
    """Offers, members, the hub's state; and may be somebody else."""
    assert {offer.capability for offer in client.discover(room="R")} == {"ADD", "COUNT", "HANG"}
    assert "script-1" in client.survey("ping").answers
    client.register("other", "-2")
    assert "other" in {each["usuario"] for each in client.server_state()["miembros"]}


def test_it_is_used_when_it_is_open_and_not_otherwise(mesh: Mesh) -> None:
    """Each mistake has its message; closing twice is none."""
    client = AlephScriptClient(mesh.url)
    with pytest.raises(StateError, match="not open"):
        client.request("ADD")
    client.open()
    with pytest.raises(StateError, match="open already"):
        client.open()
    client.close()
    client.close()
    with pytest.raises(StateError, match="not open"):
        client.server_state()
    client.open()
    assert client.request(Add(a=1, b=1)) == Sum(2)
    client.close()


def test_without_a_hub_it_is_refused_and_no_thread_stays() -> None:
    """As the asynchronous one is."""
    before = threading.active_count()
    with pytest.raises(ConnectionRefused), AlephScriptClient("http://127.0.0.1:1"):
        pass
    assert threading.active_count() == before


def test_on_a_running_loop_it_says_what_to_use_instead(client: AlephScriptClient) -> None:
    """It would stop that loop, and in a notebook everything."""

    async def main() -> None:
        with pytest.raises(StateError, match="await"):
            client.request("ADD")
        with pytest.raises(StateError, match="await"):
            AlephScriptClient().open()

    asyncio.run(main())


def test_twenty_threads_share_it_and_all_end_when_it_is_closed(mesh: Mesh) -> None:
    """In the middle of their calls, with a reason."""
    client = AlephScriptClient(mesh.url)
    client.open()

    def work(number: int) -> BaseException:
        try:
            for n in range(10):
                assert client.request(Add(a=number, b=n)) == Sum(number + n)
            client.request("HANG", {}, timeout=60)
        except (AlephScriptError, RuntimeError) as error:
            return error
        raise AssertionError("it cannot have been answered")

    with ThreadPoolExecutor(20) as threads:
        working = [threads.submit(work, number) for number in range(20)]
        assert mesh.bot.hanging.wait(20)
        client.close()
        ends = [each.result(20) for each in working]
    assert all(isinstance(end, AlephScriptError) for end in ends), ends


SCRIPT = """
import sys
from alephscript.sync import AlephScriptClient
client = AlephScriptClient(sys.argv[1])
client.open()
if sys.argv[2] == "forget":
    print(client.request("ADD", {"a": 1, "b": 2}), flush=True)
else:
    with client:
        try:
            client.request("HANG", {}, timeout=60)
        except KeyboardInterrupt:
            print("interrupted", flush=True)
            sys.stdin.read()
"""


def test_ctrl_c_cancels_what_was_asked_at_the_master(mesh: Mesh) -> None:
    """The script goes on where it was interrupted."""
    script = SCRIPT.replace("client.open()\n", "", 1)
    process = subprocess.Popen(
        [sys.executable, "-c", script, mesh.url, "hang"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        assert process.stdout is not None
        assert mesh.bot.hanging.wait(20)
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == b"interrupted\n"
        assert mesh.bot.stopped.wait(10)  # while the client is still there
        process.communicate(timeout=20)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0


def test_ctrl_c_before_it_waits_cancels_too(
    mesh: Mesh, client: AlephScriptClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was asked is on its way by then."""
    assert client._portal is not None
    begin = client._portal.start_task_soon

    def interrupted(*arguments: Any) -> None:
        begin(*arguments)
        assert mesh.bot.hanging.wait(20)
        raise KeyboardInterrupt

    monkeypatch.setattr(client._portal, "start_task_soon", interrupted)
    with pytest.raises(KeyboardInterrupt):
        client.request("HANG", {}, timeout=60)
    assert mesh.bot.stopped.wait(10)


def test_a_client_that_was_forgotten_keeps_nobody_from_ending(mesh: Mesh) -> None:
    """Its thread is a daemon."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, mesh.url, "forget"],
        capture_output=True,
        timeout=20,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.stdout == b"{'total': 3}\n"
