"""Lives that nobody planned: left from within or by signals, used from elsewhere, no numbers."""

from __future__ import annotations

import asyncio
import functools
import math
import os
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, cast

import pytest

from alephscript import (
    AlephScriptClient,
    ContractError,
    DeclarationError,
    Event,
    NoMaster,
    Overloaded,
    Progress,
    Request,
    State,
    StateError,
    capability,
    on,
)
from alephscript.client import cancelling
from alephscript.client.threads import ThreadRun
from alephscript.sync import AlephScriptClient as BlockingClient
from alephscript.testing import InMemoryMesh

pytestmark = pytest.mark.anyio


class Bot(AlephScriptClient):
    """Leaves in every way, and lets itself be held."""

    rooms = ("R",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.begun = asyncio.Event()
        self.may_end = asyncio.Event()
        self.gate = threading.Event()
        self.entered = threading.Semaphore(0)

    @capability("OK")
    async def ok(self) -> dict[str, Any]:
        """Serve."""
        return {"ok": 1}

    @capability("HOLD")
    async def hold(self) -> dict[str, Any]:
        """Run until told."""
        self.begun.set()
        await self.may_end.wait()
        return {"held": 1}

    @capability("STOP")
    async def stop(self) -> dict[str, Any]:
        """Drain from within."""
        await self.drain()
        return {"stopped": 1}

    @capability("STOP_BY_TASK")
    async def stop_by_task(self) -> dict[str, Any]:
        """Drain by a task of its own."""
        await asyncio.create_task(self.drain())
        return {"stopped": 1}

    @capability("STUBBORN")
    async def stubborn(self) -> dict[str, Any]:
        """Swallow whatever cancels it, until told."""
        self.begun.set()
        while not self.may_end.is_set():
            try:
                await self.may_end.wait()
            except asyncio.CancelledError:
                continue
        return {}

    @capability("BLOCK", max_in_flight=1, queue=0)
    def block(self) -> dict[str, Any]:
        """Hold a thread until told."""
        self.entered.release()
        self.gate.wait(10)
        return {"blocked": 1}

    @capability("REPORT")
    def report(self, request: Request[Any]) -> dict[str, Any]:
        """Report, and say whether that was heard before the end."""
        request.progress(0.5)
        return {"heard": self.gate.wait(10)}

    @capability("REPORT_THRICE")
    async def report_thrice(self, request: Request[Any]) -> dict[str, Any]:
        """Report, each once it was told."""
        for share in (0.1, 0.2, 0.3):
            request.progress(share)
            await asyncio.sleep(0)
        return {}

    @capability("REPORT_WHAT")
    async def report_what(self, request: Request[Any]) -> None:
        """Report what is no number."""
        request.progress(math.nan)

    @on("STOP")
    async def hear_stop(self, _: Event[Any]) -> None:
        """Drain from a listener."""
        await self.drain()


@pytest.fixture
async def mesh() -> AsyncIterator[InMemoryMesh]:
    """A mesh in memory."""
    async with InMemoryMesh() as hub:
        yield hub


@pytest.fixture
async def asker(mesh: InMemoryMesh) -> AsyncIterator[AlephScriptClient]:
    """Asks the bot."""
    async with AlephScriptClient(mesh, usuario="asker", timeout=None) as client:
        yield client


@pytest.fixture
async def bot(mesh: InMemoryMesh) -> AsyncIterator[Bot]:
    """A bot, whatever becomes of it."""
    async with Bot(mesh) as client:
        yield client
        client.may_end.set()
        client.gate.set()


class TestLeaving:
    """From within."""

    @pytest.mark.parametrize("way", ["STOP", "STOP_BY_TASK"])
    async def test_a_capability_drains_its_own_client(
        self, way: str, mesh: InMemoryMesh, asker: AlephScriptClient
    ) -> None:
        """Its asker has the answer, and what ran for ever ends."""
        bot = Bot(mesh)
        running = asyncio.ensure_future(bot.run_forever())
        await bot._alephscript_life.until(State.READY)
        async with asyncio.timeout(5):
            assert await asker.request(way) == {"stopped": 1}
            await running
        assert bot.state is State.CLOSED
        with pytest.raises(NoMaster):
            await asker.request("OK")

    async def test_others_are_finished_first(self, bot: Bot, asker: AlephScriptClient) -> None:
        """And the drainer's answer is not lost to its own closing."""
        held = asyncio.ensure_future(asker.request("HOLD"))
        await bot.begun.wait()
        stops = [asyncio.ensure_future(asker.request("STOP")) for _ in range(2)]
        while bot._alephscript_masters:  # noqa: ASYNC110
            await asyncio.sleep(0)
        assert not any(each.done() for each in (held, *stops))
        bot.may_end.set()
        async with asyncio.timeout(5):
            assert await held == {"held": 1}
            answers = await asyncio.gather(*stops, return_exceptions=True)
            await bot.run_forever()
        assert {"stopped": 1} in answers

    async def test_a_listener_drains_its_client(self, bot: Bot, asker: AlephScriptClient) -> None:
        """It is not waited for, either."""
        await asker.broadcast("STOP", room="R")
        async with asyncio.timeout(5):
            await bot.run_forever()

    async def test_what_ignores_its_cancellation_does_not_hold_up_the_closing(
        self,
        bot: Bot,
        asker: AlephScriptClient,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """It is logged, and left alone."""
        monkeypatch.setattr(cancelling, "_SECONDS", 0.01)
        asking = asyncio.ensure_future(asker.request("STUBBORN"))
        await bot.begun.wait()
        async with asyncio.timeout(5):
            await bot.close()
        assert "ignore that they were cancelled" in caplog.text
        assert bot.state is State.CLOSED
        bot.may_end.set()
        await asyncio.gather(asking, return_exceptions=True)


class TestThreads:
    """Plain methods."""

    async def test_a_thread_that_still_runs_has_its_place(
        self, bot: Bot, asker: AlephScriptClient
    ) -> None:
        """Whatever became of its request."""
        asking = asyncio.ensure_future(asker.request("BLOCK"))
        await asyncio.to_thread(bot.entered.acquire)
        asking.cancel()
        service = bot._alephscript_service
        assert service is not None
        while len(service):  # noqa: ASYNC110
            await asyncio.sleep(0)
        assert service.stats()["BLOCK"].in_flight == 1
        with pytest.raises(Overloaded):
            await asker.request("BLOCK")
        bot.gate.set()
        async with asyncio.timeout(5):
            while service.stats()["BLOCK"].in_flight:  # noqa: ASYNC110 - a thread ends
                await asyncio.sleep(0)
            assert await asker.request("BLOCK") == {"blocked": 1}

    async def test_a_run_that_was_given_up_before_its_thread_began_never_begins(self) -> None:
        """Else it would run uncounted."""
        ran: list[int] = []
        run = ThreadRun(ran.append, 1)
        assert not run.is_left_running(lambda: None)
        await run.result()
        assert not ran

    @pytest.mark.parametrize("debug", [False, True])
    async def test_what_a_thread_reports_arrives_at_once(
        self, debug: bool, bot: Bot, asker: AlephScriptClient
    ) -> None:
        """The method waits for it to be heard."""
        asyncio.get_running_loop().set_debug(debug)
        try:
            answer = await asker.request("REPORT", on_progress=lambda _: bot.gate.set())
        finally:
            asyncio.get_running_loop().set_debug(False)
        assert answer == {"heard": True}


class TestCallbacks:
    """Those that are given with a request."""

    async def test_an_async_callback_is_refused(self, asker: AlephScriptClient) -> None:
        """However it is one; nothing is sent, nothing stays."""

        async def told(_: Progress) -> None: ...

        class Told:
            async def __call__(self, _: Progress) -> None: ...

        wrong: list[Any] = [told, Told(), functools.partial(told), Told().__call__, 5, "told"]
        for each in wrong:
            with pytest.raises(DeclarationError):
                await asker.request("REPORT_THRICE", on_progress=each)
            with pytest.raises(DeclarationError):
                await anext(asker.stream("REPORT_THRICE", on_progress=each))
        assert len(asker._alephscript_session._channel.pending) == 0  # type: ignore[union-attr]

    async def test_what_a_callback_gives_is_awaited(
        self, bot: Bot, asker: AlephScriptClient
    ) -> None:
        """A lambda does not show that it gives a coroutine."""
        heard: list[float] = []

        async def told(progress: Progress) -> None:
            heard.append(progress.fraction)

        await asker.request("REPORT_THRICE", on_progress=lambda each: told(each))  # type: ignore[arg-type]  # noqa: PLW0108
        async with asyncio.timeout(5):
            while len(heard) < 3:  # noqa: ASYNC110
                await asyncio.sleep(0)
        assert heard == [0.1, 0.2, 0.3]


NO_NUMBERS: list[Any] = [math.nan, math.inf, -math.inf, "5", b"5", [5], True, object()]


class TestNumbers:
    """What is none is refused, by name, and leaves nothing."""

    @pytest.mark.parametrize("value", NO_NUMBERS)
    async def test_of_methods(self, value: Any, bot: Bot) -> None:
        """Each that takes one."""
        ways: dict[str, Callable[[], Awaitable[Any]]] = {
            "request": lambda: bot.request("OK", timeout=value),
            "stream": lambda: anext(bot.stream("OK", timeout=value)),
            "survey": lambda: bot.survey(timeout=value),
            "drain": lambda: bot.drain(value),
        }
        for name, way in ways.items():
            with pytest.raises(ContractError, match="timeout"):
                await way()
            assert bot.state is State.READY, name
        with pytest.raises(ContractError, match="buffer"):
            bot.events(buffer=value)
        assert len(bot._alephscript_session._channel.pending) == 0  # type: ignore[union-attr]
        assert await bot.request("OK") == {"ok": 1}

    @pytest.mark.parametrize(
        "name", ["timeout", "connect_timeout", "offline_buffer", "max_in_flight"]
    )
    @pytest.mark.parametrize("value", NO_NUMBERS)
    def test_of_the_constructor(self, value: Any, name: str) -> None:
        """While the client is made."""
        options: dict[str, Any] = {name: value}
        with pytest.raises(ContractError, match=name):
            AlephScriptClient(InMemoryMesh(), **options)

    @pytest.mark.parametrize("buffer", [0, -1, 1.5])
    async def test_a_buffer_holds_something(self, buffer: Any, bot: Bot) -> None:
        """One of nothing cannot drop its oldest."""
        with pytest.raises(ContractError, match="buffer"):
            bot.events(buffer=buffer)

    async def test_of_progress(self, bot: Bot, caplog: pytest.LogCaptureFixture) -> None:
        """A mistake of the method."""
        with pytest.raises(Exception, match="failed at its master"):
            await bot.request("REPORT_WHAT")
        assert "ContractError" in caplog.text


ELSEWHERE: dict[str, Callable[[Bot], Awaitable[Any]]] = {
    "request": lambda bot: bot.request("OK"),
    "stream": lambda bot: anext(bot.stream("OK")),
    "broadcast": lambda bot: bot.broadcast("E", 1, room="R"),
    "ready": lambda bot: bot.ready(),
    "close": lambda bot: bot.close(),
    "drain": lambda bot: bot.drain(),
    "run_forever": lambda bot: bot.run_forever(),
    "subscribe": lambda bot: bot.subscribe("Q"),
    "unsubscribe": lambda bot: bot.unsubscribe("Q"),
    "make_master": lambda bot: bot.make_master("Q"),
    "resign": lambda bot: bot.resign("Q"),
    "register": lambda bot: bot.register("other"),
    "discover": lambda bot: bot.discover(),
    "survey": lambda bot: bot.survey(),
    "server_state": lambda bot: bot.server_state(),
    "watch_masters": lambda bot: anext(bot.watch_masters()),
    "states": lambda bot: anext(bot.states()),
    "events": lambda bot: anext(bot.events()),
}


@pytest.mark.parametrize("name", ELSEWHERE)
async def test_a_client_is_used_on_its_own_loop_alone(name: str, bot: Bot) -> None:
    """Another thread is told so at once, and the owner's goes on."""

    async def use() -> None:
        await ELSEWHERE[name](bot)

    with pytest.raises(StateError, match=r"alephscript\.sync"):
        await asyncio.to_thread(asyncio.run, use())
    assert (bot.state, bot.usuario) == (State.READY, "Bot")
    assert set(bot._alephscript_masters) == set(bot._alephscript_rooms) == {"R"}
    assert await bot.request("OK") == {"ok": 1}


async def test_events_are_not_had_without_a_loop(bot: Bot) -> None:
    """From a thread that blocks."""
    with pytest.raises(StateError, match=r"alephscript\.sync"):
        await asyncio.to_thread(bot.events)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks here")
def test_a_blocking_client_is_not_its_forked_childs() -> None:
    """Each call says so at once, its thread being the parent's."""
    script = """
import asyncio, os
from alephscript.sync import AlephScriptClient
from alephscript.testing import InMemoryMesh
hub = InMemoryMesh()
asyncio.run(hub.restart())
client = AlephScriptClient(hub)
client.open()
events = client.events()
ways = [client.server_state, client.ready, client.close, client.open, lambda: client.state,
        lambda: client.request("X"), lambda: next(client.stream("X")), client.events, events.next,
        events.close, lambda: client.position("R"), lambda: client.broadcast("E", room="R")]
pid = os.fork()
if pid == 0:
    for way in ways:
        try:
            way()
        except Exception as error:
            print(type(error).__name__, "open one here" in str(error), flush=True)
    os._exit(0)
os.waitpid(pid, 0)
print(client.state.value)
client.close()
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.stdout.split("\n") == ["StateError True"] * 12 + ["ready", ""], done.stderr


@pytest.mark.parametrize("value", NO_NUMBERS)
def test_a_blocking_client_waits_for_a_number_of_seconds(value: Any) -> None:
    """For events, too."""
    hub = InMemoryMesh()
    asyncio.run(hub.restart())
    with BlockingClient(cast(str, hub)) as client, pytest.raises(ContractError, match="timeout"):
        client.events().next(timeout=value)


LOOPS = {
    "uvloop": "",
    "asyncio": "import sys; sys.modules['uvloop'] = None\n",
}
BLOCKING = """
import asyncio, time
from alephscript import AlephScriptClient, capability
from alephscript.testing import InMemoryMesh

class Bot(AlephScriptClient):
    rooms = ("R",)
    async def ready(self):
        await super().ready()
        self.asking = asyncio.ensure_future(self.request("BLOCK", timeout=None))
        self.asking.add_done_callback(lambda _: print("cancelled", flush=True))
    @capability("BLOCK")
    def block(self):
        print("blocking", flush=True)
        time.sleep(60)

hub = InMemoryMesh()
asyncio.run(hub.restart())
Bot(hub).run()
"""
HANDLERS = """
import asyncio, signal
from alephscript import AlephScriptClient
from alephscript.testing import InMemoryMesh

class Bot(AlephScriptClient):
    async def ready(self):
        await super().ready()
        print("ready", flush=True)

def own(number, frame): ...

hub = InMemoryMesh()
asyncio.run(hub.restart())
signal.signal(signal.SIGTERM, own)
before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
Bot(hub).run()
after = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
print(before == after, flush=True)
"""
HUBLESS = """
from alephscript import AlephScriptClient
from alephscript.testing import InMemoryMesh
def auth():
    print("trying", flush=True)
AlephScriptClient(InMemoryMesh(), retry_open=True, auth=auth).run()
print("done", flush=True)
"""


class TestSignals:
    """In a program that `run` runs, on each loop."""

    @pytest.mark.parametrize("loop", LOOPS)
    def test_a_second_sigint_ends_a_program_whose_method_blocks(self, loop: str) -> None:
        """And the handlers are those from before when `run` is over."""
        with _program(LOOPS[loop] + BLOCKING) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "blocking\n"
            process.send_signal(signal.SIGINT)
            assert process.stdout.readline() == "cancelled\n"
            process.send_signal(signal.SIGINT)
            assert process.wait(15) == -signal.SIGINT

    @pytest.mark.parametrize("loop", LOOPS)
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_handlers_are_those_from_before(self, loop: str, number: signal.Signals) -> None:
        """When `run` is over, whatever ended it."""
        with _program(LOOPS[loop] + HANDLERS) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            process.send_signal(number)
            out, err = process.communicate(timeout=15)
            assert (process.returncode, out, err) == (0, "True\n", "")

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    @pytest.mark.parametrize("loop", LOOPS)
    def test_a_program_ends_that_has_found_no_hub_yet(
        self, loop: str, number: signal.Signals
    ) -> None:
        """In peace: with 0, and without a word."""
        with _program(LOOPS[loop] + HUBLESS) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "trying\n"
            process.send_signal(number)
            out, err = process.communicate(timeout=15)
            assert (process.returncode, out.splitlines()[-1], err) == (0, "done", "")

    async def test_run_wants_no_loop(self, mesh: InMemoryMesh) -> None:
        """It says what to await instead."""
        with pytest.raises(StateError, match="await run_forever"):
            Bot(mesh).run()

    async def test_run_wants_the_main_thread(self, mesh: InMemoryMesh) -> None:
        """No other hears signals."""
        with pytest.raises(StateError, match="main thread"):
            await asyncio.to_thread(Bot(mesh).run)


def _program(script: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    timer = threading.Timer(30, process.kill)
    timer.daemon = True
    timer.start()
    return process
