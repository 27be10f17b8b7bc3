"""The seeded mesh: virtual time, interleavings and faults that a seed draws, the same each time."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import os
import random
import secrets
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio.from_thread
import anyio.to_thread
import pytest
from hypothesis import Phase, given, settings, strategies as st

from alephscript import (
    AlephScriptClient,
    DeadlineExceeded,
    Request,
    RequestError,
    State,
    StateError,
    UnknownTask,
    capability,
)
from alephscript.testing import HubMesh, InMemoryMesh, SimulatedMesh, simulate
from alephscript.testing.surroundings import BEGINNING
from tests.support.tools import ROOT
from tests.support.world import live

PHASES = [Phase.generate, Phase.shrink]
Scenario = Callable[[SimulatedMesh], Awaitable[object]]


class Bot(AlephScriptClient):
    """Serves a room, in a loop and in threads."""

    rooms = ("R",)
    lock = threading.Lock()

    @capability("STEP", idempotent=True)
    async def step(self, payload: dict[str, Any]) -> dict[str, Any]:
        """Tell the room, and answer."""
        await self.broadcast("STEPPED", payload)
        return payload

    @capability("BLOCK")
    def block(self, seconds: float) -> float:
        """Block a thread."""
        time.sleep(seconds)
        return time.monotonic()

    @capability("GUARD")
    def guard(self, seconds: float) -> float:
        """Block a thread that others wait for."""
        with self.lock:
            time.sleep(seconds)
            return time.monotonic()

    @capability("REPORT")
    def report(self, request: Request[Any]) -> dict[str, Any]:
        """Use the loop from a thread."""
        request.progress(0.5, "half")
        who = anyio.from_thread.run(self.server_state)
        return {"clients": who["clients"]}


def at_once() -> Any:
    """Delays between attempts to reconnect: hardly any."""
    while True:
        yield 0.01


async def step_under_chaos(mesh: SimulatedMesh) -> None:
    """Something of everything."""
    bots = [lambda: Bot(mesh, backoff=at_once)]
    chaos = mesh.chaos(cuts=2, kills=1, crashes=1, takeovers=1, bots=bots, within=2)
    client = AlephScriptClient(mesh, backoff=at_once, retry_open=True)
    async with chaos, client:
        for n in range(6):
            names = [str(uuid.uuid4()), secrets.token_hex(8), str(random.random())]
            names += [str(random.Random().random()), str(random.SystemRandom().random())]
            try:
                await client.request("STEP", {"n": n, "names": names}, timeout=1)
                await client.request("BLOCK", random.choice((0.0, 0.2)), timeout=1)
            except RequestError:
                await asyncio.sleep(0.2)
        await chaos


def of(main: Callable[[SimulatedMesh], Awaitable[Any]], seed: int = 0) -> Any:
    """What a scenario returns."""
    results: list[Any] = []

    async def scenario(mesh: SimulatedMesh) -> None:
        results.append(await main(mesh))

    simulate(scenario, seed)
    return results[0]


# The same again


@pytest.mark.parametrize("times", [5, pytest.param(100, marks=pytest.mark.slow)])
def test_the_same_seed_gives_the_same_run_a_hundred_times(times: int) -> None:
    """And another seed another one."""
    digests = {simulate(step_under_chaos, 7).trace.digest for _ in range(times)}
    assert len(digests) == 1
    assert len({simulate(step_under_chaos, seed).trace.digest for seed in range(20)}) == 20


@pytest.mark.slow
def test_another_process_has_the_same_run() -> None:
    """Also where strings have other hashes."""
    code = (
        "from tests.testing.test_simulation import *\n"
        "print([simulate(step_under_chaos, seed).trace.digest for seed in range(5)])"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1")
    }
    assert len(said) == 1


def test_a_trace_shows_who_got_what_and_when() -> None:
    """In virtual seconds, with faults."""
    lines = simulate(step_under_chaos, 7).trace.lines()
    assert any("→ hub" in line and "CLIENT_REGISTER" in line for line in lines)
    assert any("** the hub is killed" in line for line in lines)
    times = [float(line.split()[0]) for line in lines]
    assert times == sorted(times)


# Time


def test_hours_pass_at_once_and_clocks_agree() -> None:
    """All that a bot may look at."""

    async def main(_: SimulatedMesh) -> None:
        loop = asyncio.get_running_loop()
        marks = loop.time(), time.time(), time.monotonic(), dt.datetime.now(dt.UTC)
        await asyncio.sleep(3 * 3600)
        time.sleep(60)  # noqa: ASYNC251 - nobody is kept waiting
        later = loop.time(), time.time(), time.monotonic(), dt.datetime.now(dt.UTC)
        passed = [b - a for a, b in zip(marks[:3], later[:3], strict=True)]
        assert [round(each) for each in passed] == [10860] * 3
        assert round((later[3] - marks[3]).total_seconds()) == 10860
        assert round(marks[1]) == round(marks[3].timestamp()) == BEGINNING

    real = time.time()
    of(main)
    assert 0 <= time.time() - real < 60
    assert abs(dt.datetime.now(dt.UTC).timestamp() - real) < 60


def test_other_threads_have_the_time_of_the_machine() -> None:
    """A test's timeout must not wait for virtual time."""
    seen: list[float] = []

    async def main(_: SimulatedMesh) -> None:
        thread = threading.Thread(target=lambda: seen.append(time.monotonic()))
        thread.start()
        thread.join()

    before = time.monotonic()
    of(main)
    assert before <= seen[0] <= time.monotonic()


def test_timers_that_were_set_first_ring_first() -> None:
    """Also where nothing lies between them."""

    async def main(_: SimulatedMesh) -> list[int]:
        rung: list[int] = []
        for n in range(50):
            asyncio.get_running_loop().call_later(1, rung.append, n)
        await asyncio.sleep(2)
        return rung

    assert of(main) == list(range(50))


def test_code_that_waits_by_turning_gets_somewhere() -> None:
    """Each turn of the loop takes a moment."""

    async def main(mesh: SimulatedMesh) -> None:
        async with Bot(mesh), AlephScriptClient(mesh) as client:
            asking = asyncio.create_task(client.request("BLOCK", 0.1))
            while not asking.done():  # noqa: ASYNC110 - as some tests do
                await asyncio.sleep(0)

    of(main)


def test_time_can_be_let_pass() -> None:
    """As on the other meshes."""

    async def main(mesh: SimulatedMesh) -> None:
        async with Bot(mesh), AlephScriptClient(mesh) as client:
            mesh.drop("GET_STEP")
            asking = asyncio.create_task(client.request("STEP", {}, timeout=3600))
            await client.server_state()
            mesh.advance(3601)
            with pytest.raises(DeadlineExceeded):
                await asking

    of(main)


def test_tasks_are_kept_in_virtual_time() -> None:
    """For a day."""

    async def main(mesh: SimulatedMesh) -> None:
        async with Bot(mesh), AlephScriptClient(mesh) as client:
            task = await client.submit("STEP", {"n": 1})
            assert await task.result() == {"n": 1}
            await asyncio.sleep(3600)
            assert (await task.status()).state == "done"
            await asyncio.sleep(2 * 86_400)
            with pytest.raises(UnknownTask):
                await task.status()

    of(main)


async def wait_for_nothing(mesh: SimulatedMesh) -> None:
    """Wait for ever."""
    async with Bot(mesh):
        await asyncio.Event().wait()


async def wait_while_something_ticks(_: SimulatedMesh) -> None:
    """Wait for ever, and look again."""
    while True:  # noqa: ASYNC110 - as some tests do
        await asyncio.sleep(100)


def test_a_test_that_waits_for_what_never_comes_fails_at_once() -> None:
    """Where it waits."""
    with pytest.raises(StateError, match="nothing is left that could happen") as caught:
        simulate(wait_for_nothing, 0)
    assert "wait_for_nothing" in [each.name for each in caught.traceback]


def test_a_test_that_waits_while_something_ticks_fails_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """After very many ticks."""
    monkeypatch.setattr("alephscript.testing.virtual._MOST_JUMPS", 1000)
    with pytest.raises(StateError, match=r"27\.\d virtual hours have passed"):
        simulate(wait_while_something_ticks, 0)


# Threads


def test_plain_methods_sleep_in_virtual_time_and_side_by_side() -> None:
    """And their deadlines pass."""

    async def main(mesh: SimulatedMesh) -> list[float]:
        async with Bot(mesh), AlephScriptClient(mesh) as client:
            began = time.monotonic()
            asked = [client.request("BLOCK", each, timeout=100) for each in (30, 20, 25)]
            ends = [answer["result"] - began for answer in await asyncio.gather(*asked)]
            with pytest.raises(DeadlineExceeded):
                await client.request("BLOCK", 10, timeout=5)
            return [round(each) for each in ends]

    real = time.monotonic()
    assert of(main) == [30, 20, 25]
    assert time.monotonic() - real < 20


def test_threads_that_wait_for_each_other_do_not_wait_for_ever() -> None:
    """One sleeps with the lock that the other one wants."""

    async def main(mesh: SimulatedMesh) -> list[float]:
        async with Bot(mesh), AlephScriptClient(mesh) as client:
            began = time.monotonic()
            asked = [client.request("GUARD", 10, timeout=100) for _ in range(2)]
            ends = [answer["result"] - began for answer in await asyncio.gather(*asked)]
            return [round(each) for each in sorted(ends)]

    assert of(main) == [10, 20]


def test_threads_may_use_the_loop_and_come_by_any_way() -> None:
    """A report, a call that waits for its result; anyio's threads, asyncio's, one of its own."""

    async def main(mesh: SimulatedMesh) -> tuple[Any, ...]:
        async with Bot(mesh), AlephScriptClient(mesh) as client:
            heard: list[Any] = []
            answer = await client.request("REPORT", {}, on_progress=heard.append)
            assert [each.fraction for each in heard] == [0.5]
            loop = asyncio.get_running_loop()
            done = loop.create_future()
            threading.Thread(
                target=lambda: loop.call_soon_threadsafe(done.set_result, "own")
            ).start()
            return (
                answer["clients"],
                await asyncio.to_thread(lambda: "asyncio"),
                await anyio.to_thread.run_sync(lambda: "anyio"),
                await done,
            )

    assert of(main) == (2, "asyncio", "anyio", "own")


# The outside


@pytest.mark.parametrize(
    "reach",
    [
        lambda: AlephScriptClient("http://localhost:3010").__aenter__(),
        lambda: HubMesh().__aenter__(),
        lambda: asyncio.create_subprocess_exec("true"),
        lambda: asyncio.start_server(lambda *_: None, "127.0.0.1", 0),
    ],
)
def test_sockets_and_processes_are_refused_in_a_sentence(reach: Callable[[], Any]) -> None:
    """They have no virtual time."""

    async def main(_: SimulatedMesh) -> None:
        with pytest.raises(StateError, match=r"no sockets and no other processes.*--mesh=real"):
            await reach()

    of(main)


@pytest.mark.anyio
async def test_a_simulated_mesh_needs_virtual_time() -> None:
    """A sentence says how to have it."""
    with pytest.raises(StateError, match="use simulate"):
        await SimulatedMesh().__aenter__()


def test_there_is_one_simulated_mesh_at_once() -> None:
    """Time is its own."""

    async def main(_: SimulatedMesh) -> None:
        with pytest.raises(StateError, match="there is a simulated mesh already"):
            await SimulatedMesh().__aenter__()

    of(main)
    of(main)


# Chaos


async def _insist(client: AlephScriptClient) -> None:
    """Ask until there is an answer: a link may be lost that nobody misses yet."""
    while True:
        with contextlib.suppress(RequestError):
            await client.request("STEP", {}, room="R", wait_for_master=True)
            return


@pytest.mark.anyio
@pytest.mark.parametrize("kind", [InMemoryMesh, HubMesh])
async def test_other_meshes_have_chaos_too(kind: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """At real moments that nobody can repeat."""
    monkeypatch.setattr("alephscript.testing.chaos._LONGEST_PAUSE", 0.02)
    async with kind() as mesh, AlephScriptClient(mesh, backoff=at_once, retry_open=True) as client:
        bots = [lambda: Bot(mesh, backoff=at_once)]
        async with mesh.chaos(cuts=2, crashes=1, takeovers=1, bots=bots, within=0.05) as chaos:
            await chaos
            [bot] = chaos.bots
            async with asyncio.timeout(10):
                await bot.ready()
                await _insist(client)
        assert bot.state is State.CLOSED
        killing = mesh.chaos(kills=1, within=0.01)
        await killing
        async with asyncio.timeout(10):
            await client.ready()


def test_chaos_begins_with_the_call_and_ends_with_its_block() -> None:
    """What was killed is there again by then."""

    async def main(mesh: SimulatedMesh) -> None:
        async with AlephScriptClient(mesh, backoff=at_once) as client:
            states = client.states()
            assert await anext(states) is State.READY
            mesh.chaos(cuts=1, within=5)
            assert await anext(states) is State.RECONNECTING
            assert await anext(states) is State.READY
            async with mesh.chaos(kills=3, within=1):
                await asyncio.sleep(0.5)
            await client.ready()
            await client.server_state()

    for seed in range(20):
        of(main, seed)


def test_only_bots_that_can_be_made_again_crash() -> None:
    """A sentence says how."""

    async def main(mesh: SimulatedMesh) -> None:
        with pytest.raises(StateError, match=r"bots=.lambda: MyBot"):
            mesh.chaos(crashes=1)

    of(main)


def test_a_bot_that_cannot_be_made_fails_the_test() -> None:
    """With its own error."""

    async def main(mesh: SimulatedMesh) -> None:
        def make() -> Any:
            raise LookupError("no configuration")

        async with mesh.chaos(bots=[make]):
            pass

    with pytest.raises(LookupError, match="no configuration"):
        of(main)


def test_a_small_world_keeps_its_laws() -> None:
    """tests/faults/test_planted.py breaks them, and looks at more seeds."""
    for seed in range(4):
        simulate(live, seed)


# Failures


async def count_in_two_places(mesh: SimulatedMesh) -> None:
    """A bug that comes now and then: reads, waits, and writes what it has read."""

    class Counter(AlephScriptClient):
        rooms = ("COUNT",)
        total = 0

        @capability("ADD", idempotent=True)
        async def add(self) -> None:
            total = self.total
            await self.broadcast("ADDED", total)
            self.total = total + 1

        @capability("ADD_SLOWLY")
        async def add_slowly(self) -> None:
            total = self.total
            await asyncio.sleep(0.004)
            self.total = total + 1

    async with Counter(mesh) as counter, AlephScriptClient(mesh) as a, AlephScriptClient(mesh) as b:
        await asyncio.gather(a.request("ADD_SLOWLY"), b.request("ADD_SLOWLY"))
        assert counter.total == 2


def test_a_failure_has_its_seed_and_its_trace() -> None:
    """As a note, which any runner shows."""
    failed: list[int] = []
    for seed in range(25):
        try:
            simulate(count_in_two_places, seed)
        except AssertionError as error:
            failed.append(seed)
            [note] = error.__notes__
            assert note.startswith(f"simulate(…, {seed})\nthe run in virtual seconds")
            assert "GET_ADD_SLOWLY" in note
    assert 2 < len(failed) < 25


def test_hypothesis_finds_a_failure_and_shrinks_it() -> None:
    """To one with as few delays as will do."""

    @settings(max_examples=200, database=None, deadline=None, phases=PHASES)
    @given(st.randoms(use_true_random=False))
    def run(chance: random.Random) -> None:
        simulate(count_in_two_places, chance)

    with pytest.raises(AssertionError) as caught:
        run()
    assert any("the run in virtual seconds" in note for note in caught.value.__notes__)


# pytest

TESTS = """
import asyncio, time
from alephscript import AlephScriptClient, capability

class Bot(AlephScriptClient):
    rooms = ("R",)

    @capability("STEP")
    async def step(self, payload: dict) -> dict:
        await self.broadcast("STEPPED", payload)
        return payload

async def test_an_hour(mesh):
    async with Bot(mesh), mesh.observer("R") as observer:
        await asyncio.sleep(3600)
        assert await observer.client.request("STEP", {"n": 1}) == {"n": 1}
        await observer.expect("STEPPED", n=1)
    print("kind", type(mesh).__name__)

async def test_on_a_hub(mesh_hub):
    async with Bot(mesh_hub.url):
        pass

async def test_that_fails(mesh):
    async with Bot(mesh), mesh.observer("R") as observer:
        await observer.client.request("STEP", {"n": 1})
        await observer.expect("STEPPED", n=2, within=60)

async def test_that_is_stuck(mesh):
    await asyncio.Event().wait()

def test_that_takes_none():
    assert time.time() > 1_770_000_000
"""


def run_pytest(folder: Path, *options: str) -> str:
    """What another project's pytest says."""
    (folder / "test_bot.py").write_text(TESTS)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-s", "-p", "alephscript.testing.plugin", *options],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        | {"PYTEST_ADDOPTS": "-p anyio", "PYTEST_PLUGINS": ""},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    return done.stdout + done.stderr


@pytest.mark.slow
def test_the_plugin_simulates_the_tests_of_another_project(tmp_path: Path) -> None:
    """Unchanged; what fails says how to have it again."""
    said = run_pytest(tmp_path, "--mesh=sim", "--mesh-seed=12")
    assert "mesh: --mesh=sim --mesh-seed=12\n" in said
    assert "2 failed, 3 passed" in said
    assert "kind SimulatedMesh" in said
    again = "the same run again: pytest --mesh=sim --mesh-seed=12 'test_bot.py::test_that_fails"
    assert again in said
    assert "STEPPED n=2 did not come within 60 s; this was heard instead:" in said
    assert "nothing is left that could happen" in said


@pytest.mark.slow
def test_a_test_that_failed_fails_alone_in_the_same_way(tmp_path: Path) -> None:
    """To the last packet."""
    said = run_pytest(tmp_path, "--mesh=sim", "--mesh-seed=12")
    alone = run_pytest(tmp_path, "--mesh=sim", "--mesh-seed=12", "-k", "test_that_fails")
    trace = said[said.index("the same run again: ") : said.index("_ test_that_is_stuck")]
    assert "→ hub" in trace
    assert trace.rpartition("\n_")[0].strip() in alone


@pytest.mark.slow
def test_the_plugin_draws_a_seed_and_says_which(tmp_path: Path) -> None:
    """Another one in each run."""
    heads = [
        next(line for line in run_pytest(tmp_path, "--mesh=sim", "-k", "hour").splitlines()
             if line.startswith("mesh: "))
        for _ in range(2)
    ]  # fmt: skip
    assert heads[0] != heads[1]


@pytest.mark.slow
def test_all_processes_of_a_run_have_its_seed(tmp_path: Path) -> None:
    """pytest-xdist's."""
    said = run_pytest(tmp_path, "-p", "xdist", "-n2", "--mesh=sim", "-k", "fails or stuck")
    [seed] = {word for word in said.split() if word.startswith("--mesh-seed=")}
    assert said.count(seed) == 3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--mesh-seed=3"], "--mesh-seed chooses a run of --mesh=sim: give that, too"),
        (["--mesh=sim", "--mesh-seed=-3"], "'-3' is not a whole number, 0 or more"),
        (["--mesh=sim", "--mesh-seed=many"], "'many' is not a whole number, 0 or more"),
    ],
)
def test_a_seed_that_makes_no_sense_is_refused(
    options: list[str], sentence: str, tmp_path: Path
) -> None:
    """Before any test runs."""
    assert sentence in run_pytest(tmp_path, *options)
