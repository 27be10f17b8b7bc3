"""The pytest plugin: fixtures ``mesh`` and ``mesh_hub``, option ``--mesh=real|memory``.

A test that takes one of them needs neither a marker nor a fixture ``anyio_backend``: anyio's
plugin, which comes with alephscript, runs it on asyncio. Other tests are left alone.

The plugin is loaded in every run of pytest where alephscript is installed, so it imports nothing
before a fixture is used.

May go in: fixtures and options. May not: an import of the rest of the package at the top.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator
from typing import Any

import pytest

__all__ = [
    "mesh",
    "mesh_hub",
    "pytest_addoption",
    "pytest_pycollect_makeitem",
]

_FIXTURES = {"mesh", "mesh_hub"}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--mesh``."""
    parser.getgroup("alephscript").addoption(
        "--mesh",
        choices=["memory", "real"],
        default="memory",
        help="what the fixture mesh is: a mesh in memory, or a hub on a free port",
    )


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
    if is_anyios and not any("anyio_backend" in each.args for each in marks):
        pytest.mark.parametrize("anyio_backend", ["asyncio"], scope="module")(obj)


def _is_auto(config: pytest.Config) -> bool:
    """Whether pytest-asyncio takes all async tests and fixtures."""
    if not config.pluginmanager.hasplugin("asyncio"):
        return False
    mode = config.getoption("asyncio_mode", None) or config.getini("asyncio_mode")
    return str(mode) == "auto"


@pytest.fixture
async def mesh(request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    """Open a mesh without members: in memory, or with --mesh=real on a hub."""
    from alephscript.testing import HubMesh, InMemoryMesh

    closed: Any = HubMesh() if request.config.getoption("--mesh") == "real" else InMemoryMesh()
    async with closed as opened:
        yield opened


@pytest.fixture
async def mesh_hub() -> AsyncIterator[Any]:
    """Open a hub on a free port, without members."""
    from alephscript.testing import HubMesh

    async with HubMesh() as opened:
        yield opened
