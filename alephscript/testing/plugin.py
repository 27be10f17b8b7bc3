"""The pytest plugin: fixtures ``mesh`` and ``mesh_hub``, option ``--mesh=real|memory``.

The plugin is loaded in every run of pytest where alephscript is installed, so it imports nothing
before a fixture is used.

May go in: fixtures and options. May not: an import of the rest of the package at the top.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

__all__ = ["mesh", "mesh_hub", "pytest_addoption"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--mesh``."""
    parser.getgroup("alephscript").addoption(
        "--mesh",
        choices=["memory", "real"],
        default="memory",
        help="what the fixture mesh is: a mesh in memory, or a hub on a free port",
    )


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
