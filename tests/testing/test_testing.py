"""The test kit for projects that subclass a client: faults, expectations, the pytest plugin."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import uvloop

from alephscript import (
    AlephScriptClient,
    DeadlineExceeded,
    LinkLost,
    MasterLost,
    NotConnected,
    State,
    StateError,
    capability,
)
from alephscript.testing import HubMesh, InMemoryMesh
from tests.support.tools import ROOT

pytestmark = pytest.mark.anyio


class Bot(AlephScriptClient):
    """Tells what it is asked."""

    rooms = ("R",)

    @capability("STEP")
    async def step(self, payload: dict[str, Any]) -> dict[str, Any]:
        """Tell the room, and answer."""
        await self.broadcast("STEPPED", {"fiaIndex": payload.get("n", 0), "who": "Ada"})
        return payload


@pytest.fixture(params=[InMemoryMesh, HubMesh], ids=["memory", "real"])
async def mesh(request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    """Both kinds of mesh: what can be done to one can be done to the other."""
    async with request.param() as mesh:
        yield mesh


def at_once() -> Any:
    """Delays between attempts to reconnect: hardly any."""
    while True:
        yield 0.01


async def test_what_is_expected_is_found_among_what_is_said(mesh: Any) -> None:
    """By name, by data in either spelling, by a condition; others are passed over, and noted."""
    async with Bot(mesh), mesh.observer("R") as observer:
        for n in range(4):
            await observer.client.request("STEP", {"n": n})
        event = await observer.expect("STEPPED", fia_index=1, who="Ada")
        assert event.data["fiaIndex"] == 1
        await observer.expect("STEPPED", fiaIndex=2)
        await observer.expect("STEPPED", where=lambda event: event.data["fiaIndex"] > 2)
        assert [each.data["fiaIndex"] for each in observer.seen] == [0, 1, 2, 3]
        await observer.expect_nothing("STEPPED", within=0.01)


async def test_a_failed_expectation_says_what_came_instead(mesh: Any) -> None:
    """In order, readable."""
    async with Bot(mesh, usuario="bot", sesion="-1"), mesh.observer("R") as observer:
        with pytest.raises(AssertionError, match=r"within 0\.01 s; nothing was heard meanwhile"):
            await observer.expect("STEPPED", within=0.01)
        await observer.client.request("STEP", {"n": 7})
        with pytest.raises(AssertionError) as caught:
            await observer.expect("STEPPED", fia_index=8, within=0.1)
        assert str(caught.value) == (
            "STEPPED fia_index=8 did not come within 0.1 s; this was heard instead:\n"
            '  1. STEPPED {"fiaIndex": 7, "who": "Ada"} in R, by bot-1'
        )
        await observer.client.request("STEP", {"n": 9})
        with pytest.raises(AssertionError, match=r'"fiaIndex": 9.* came, and was not to come'):
            await observer.expect_nothing("STEPPED", within=5)


async def test_what_is_dropped_never_arrives(mesh: Any) -> None:
    """Requests end at their deadline; events are not heard; until it is over."""
    async with Bot(mesh), mesh.observer("R") as observer:
        mesh.drop("GET_STEP", "NEWS")
        with pytest.raises(DeadlineExceeded):
            await observer.client.request("STEP", {}, timeout=0.05)
        await observer.client.broadcast("OTHER", room="R")
        mesh.drop()
        await observer.client.request("STEP", {"n": 1})
        assert [each.name for each in observer.seen] == []
        await observer.expect("STEPPED", fia_index=1)
        assert [each.name for each in observer.seen] == ["OTHER", "STEPPED"]


async def test_what_is_delayed_arrives_later_and_in_order(mesh: Any) -> None:
    """A deadline passes on the way; without the delay it holds."""
    async with Bot(mesh), mesh.observer("R") as observer:
        mesh.delay(0.2)
        with pytest.raises(DeadlineExceeded):
            await observer.client.request("STEP", {}, timeout=0.05)
        mesh.delay(0)
        assert await observer.client.request("STEP", {"n": 1}, timeout=5) == {"n": 1}


async def test_a_cut_ends_what_is_open_and_clients_come_back(mesh: Any) -> None:
    """As a lost line does."""
    async with Bot(mesh, backoff=at_once), AlephScriptClient(mesh, backoff=at_once) as client:
        states = client.states()
        assert await anext(states) is State.READY
        mesh.drop("GET_STEP")
        waiting = asyncio.create_task(client.request("STEP", {}, timeout=30))
        await client.server_state()
        mesh.cut()
        with pytest.raises((LinkLost, MasterLost)):
            await waiting
        mesh.drop()
        async with asyncio.timeout(10):
            await client.ready()
            assert await client.request("STEP", {}, wait_for_master=True) == {}


async def test_a_killed_mesh_comes_back_empty(mesh: Any) -> None:
    """And its members with it."""
    async with Bot(mesh, backoff=at_once), AlephScriptClient(mesh, backoff=at_once) as client:
        await mesh.kill()
        async with asyncio.timeout(10):
            await client._alephscript_life.until(State.RECONNECTING)
            with pytest.raises(NotConnected):
                await client.request("STEP")
            await mesh.restart()
            await client.ready()
            assert await client.request("STEP", {}, wait_for_master=True) == {}


async def test_time_passes_at_will(mesh: Any) -> None:
    """An hour's deadline ends at once, and no link with it."""
    async with Bot(mesh), AlephScriptClient(mesh) as client:
        states = client.states()
        mesh.drop("GET_STEP")
        waiting = asyncio.create_task(client.request("STEP", {}, timeout=3600))
        await client.server_state()
        mesh.advance(3599)
        await client.server_state()
        assert not waiting.done()
        mesh.advance(5)
        async with asyncio.timeout(5):
            with pytest.raises(DeadlineExceeded):
                await waiting
        mesh.drop()
        assert await client.request("STEP", {"n": 1}) == {"n": 1}
        assert await anext(states) is client.state is State.READY


def test_time_that_cannot_be_set_is_said() -> None:
    """Rather than not passing."""

    async def main() -> None:
        async with InMemoryMesh() as mesh:
            with pytest.raises(StateError, match="use asyncio's"):
                mesh.advance(1)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


TESTS = """
import pytest
from alephscript import AlephScriptClient, capability

class Bot(AlephScriptClient):
    rooms = ("R",)

    @capability("STEP")
    async def step(self, payload: dict) -> dict:
        await self.broadcast("STEPPED", payload)
        return payload


async def test_on_the_mesh(mesh):
    async with Bot(mesh), mesh.observer("R") as observer:
        assert await observer.client.request("STEP", {"n": 1}) == {"n": 1}
        await observer.expect("STEPPED", n=1)
    print("kind", type(mesh).__name__)


async def test_on_a_hub(mesh_hub):
    async with Bot(mesh_hub.url), AlephScriptClient(mesh_hub.url) as client:
        assert await client.request("STEP", {"n": 2}) == {"n": 2}


async def test_that_fails(mesh):
    async with Bot(mesh), mesh.observer("R") as observer:
        await observer.client.request("STEP", {"n": 1})
        await observer.expect("STEPPED", n=2, within=0.05)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("option", "kind"),
    [([], "InMemoryMesh"), (["--mesh=memory"], "InMemoryMesh"), (["--mesh=real"], "HubMesh")],
)
def test_the_plugin_gives_another_project_its_fixtures(
    option: list[str], kind: str, tmp_path: Path
) -> None:
    """The same tests in memory and on a hub; a failed expectation shows what was said."""
    (tmp_path / "test_bot.py").write_text(TESTS)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-s", "-p", "alephscript.testing.plugin", *option],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        | {"PYTEST_ADDOPTS": "-p anyio", "PYTEST_PLUGINS": ""},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert "1 failed, 2 passed" in done.stdout, done.stdout + done.stderr
    assert f"kind {kind}" in done.stdout
    assert "STEPPED n=2 did not come within 0.05 s; this was heard instead:" in done.stdout
    assert '1. STEPPED {"n": 1} in R, by Bot' in done.stdout


@pytest.mark.slow
def test_the_plugin_refuses_a_test_of_another_runner(tmp_path: Path) -> None:
    """pytest-asyncio does not open the fixtures in its strict mode; a sentence says what to do."""
    marked = "@pytest.mark.asyncio\nasync def test_it(mesh):\n    pass\n"
    (tmp_path / "test_marked.py").write_text(f"import pytest\n\n{marked}")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "alephscript.testing.plugin"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        | {"PYTEST_ADDOPTS": "-p anyio", "PYTEST_PLUGINS": ""},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert "leave the marker asyncio out" in done.stdout


@pytest.mark.slow
def test_the_plugin_costs_other_runs_of_pytest_hardly_anything() -> None:
    """It imports neither a hub nor a client before a fixture is used."""
    code = (
        "import sys, alephscript.testing.plugin\n"
        "print([name for name in ('alephscript.hub', 'alephscript.testing.memory', 'socketio') "
        "if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
