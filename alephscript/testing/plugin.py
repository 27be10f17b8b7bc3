"""The pytest plugin: fixtures ``mesh`` and ``mesh_hub``, options ``--mesh=real|memory|sim``.

A test that takes one of them needs neither a marker nor a fixture ``anyio_backend``: anyio's
plugin, which comes with alephscript, runs it on asyncio. Other tests are left alone.

The plugin is loaded in every run of pytest where alephscript is installed, so it imports nothing
before a fixture is used.

May go in: fixtures and options. May not: an import of the rest of the package at the top.
"""

from __future__ import annotations

import argparse
import inspect
import random
from collections.abc import AsyncIterator, Generator
from typing import Any

import pytest

__all__ = [
    "mesh",
    "mesh_hub",
    "pytest_addoption",
    "pytest_configure",
    "pytest_configure_node",
    "pytest_pycollect_makeitem",
    "pytest_report_header",
    "pytest_runtest_makereport",
]

_FIXTURES = {"mesh", "mesh_hub"}

_MOST_SEEDS = 2**32
_SEED = "alephscript_mesh_seed"

_simulated = pytest.StashKey[Any]()
"""The simulated mesh that a test has had."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--mesh`` and ``--mesh-seed``."""
    group = parser.getgroup("alephscript")
    group.addoption(
        "--mesh",
        choices=["memory", "real", "sim"],
        default="memory",
        help="what the fixture mesh is: a mesh in memory, a hub on a free port, or a simulation on "
        "virtual time",
    )
    group.addoption(
        "--mesh-seed",
        type=_read_seed,
        metavar="N",
        help="with --mesh=sim: the number of the run to be simulated; drawn by default",
    )


def _read_seed(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number, 0 or more")
    return int(text)


def pytest_configure(config: pytest.Config) -> None:
    """Draw a seed, if none is given; processes of pytest-xdist are given this one, too.

    Raises:
        UsageError: There is a seed, and nothing that it could be for.
    """
    if not _is_simulated(config):
        if config.getoption("--mesh-seed") is not None:
            raise pytest.UsageError("--mesh-seed chooses a run of --mesh=sim: give that, too")
    elif config.getoption("--mesh-seed") is None:
        drawn = random.SystemRandom().randrange(_MOST_SEEDS)
        config.option.mesh_seed = getattr(config, "workerinput", {}).get(_SEED, drawn)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Give a process of pytest-xdist the seed, which is told with its own options only."""
    node.workerinput[_SEED] = node.config.getoption("--mesh-seed")


def pytest_report_header(config: pytest.Config) -> str | None:
    """Name the seed."""
    return f"mesh: {_options(config)}" if _is_simulated(config) else None


def _is_simulated(config: pytest.Config) -> bool:
    return bool(config.getoption("--mesh") == "sim")


def _options(config: pytest.Config) -> str:
    return f"--mesh=sim --mesh-seed={config.getoption('--mesh-seed')}"


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, None]:
    """Show with a failure how to have it again, and what came before it."""
    report = (yield).get_result()
    mesh = item.stash.get(_simulated, None)
    if mesh is not None and report.failed:
        again = f"the same run again: pytest {_options(item.config)} {item.nodeid!r}"
        report.sections.append(("simulated mesh", f"{again}\n{mesh.trace.tail()}"))


def pytest_pycollect_makeitem(collector: Any, name: str, obj: Any) -> None:
    """Have anyio's plugin run an async test that takes a mesh, without a marker.

    Raises:
        CollectError: The test is marked for pytest-asyncio, which does not open the fixtures.
    """
    if not inspect.iscoroutinefunction(obj) or not collector.istestfunction(obj, name):
        return
    if not collector.config.pluginmanager.hasplugin("anyio"):
        return
    # No public way tells which fixtures a test takes by way of others, and whose they are.
    manager = collector.session._fixturemanager  # noqa: SLF001
    info = manager.getfixtureinfo(collector, obj, getattr(collector, "cls", None))
    if not _FIXTURES & {*info.names_closure} or _is_auto(collector.config):
        return
    marks = [*getattr(obj, "pytestmark", ()), *collector.iter_markers()]
    if any(each.name == "asyncio" for each in marks):
        raise collector.CollectError(
            f"{name} takes a mesh, which anyio's plugin opens and closes: leave the marker asyncio "
            "out, or open an InMemoryMesh in the test"
        )
    pytest.mark.usefixtures("anyio_backend")(obj)
    found = manager.getfixturedefs("anyio_backend", collector)
    is_anyios = found and found[-1].func.__module__ == "anyio.pytest_plugin"
    is_said = any("anyio_backend" in each.args for each in marks)
    if _is_simulated(collector.config) and _is_ours(info.name2fixturedefs) and not is_said:
        from alephscript.testing.virtual import VirtualLoop

        backend = pytest.param(("asyncio", {"loop_factory": VirtualLoop}), id="asyncio")
        pytest.mark.parametrize("anyio_backend", [backend], scope="function")(obj)
    elif is_anyios and not is_said:
        pytest.mark.parametrize("anyio_backend", ["asyncio"], scope="module")(obj)


def _is_ours(fixtures: Any) -> bool:
    """Whether the fixture ``mesh`` that a test takes is the one of this plugin."""
    found = fixtures.get("mesh")
    return bool(found) and found[-1].func.__module__ == __name__


def _is_auto(config: pytest.Config) -> bool:
    """Whether pytest-asyncio takes all async tests and fixtures."""
    if not config.pluginmanager.hasplugin("asyncio"):
        return False
    mode = config.getoption("asyncio_mode", None) or config.getini("asyncio_mode")
    return str(mode) == "auto"


@pytest.fixture
async def mesh(request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    """Open a mesh without members: in memory, on a hub (--mesh=real), or simulated (--mesh=sim)."""
    async with _make_mesh(request) as opened:
        yield opened


def _make_mesh(request: pytest.FixtureRequest) -> Any:
    from alephscript.testing import HubMesh, InMemoryMesh, SimulatedMesh

    config = request.config
    if not _is_simulated(config):
        return HubMesh() if config.getoption("--mesh") == "real" else InMemoryMesh()
    mesh = SimulatedMesh(config.getoption("--mesh-seed"))
    request.node.stash[_simulated] = mesh
    return mesh


@pytest.fixture
async def mesh_hub() -> AsyncIterator[Any]:
    """Open a hub on a free port, without members."""
    from alephscript.testing import HubMesh

    async with HubMesh() as opened:
        yield opened
