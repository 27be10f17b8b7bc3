"""What every test shares: asyncio is the only backend; fixtures come from tests/support/."""

from __future__ import annotations

import pytest

pytest_plugins = [
    "tests.support.thrift",  # first: it spares the others' costs
    "tests.support.tools",
    "tests.support.properties",
    "tests.support.sorting",
    "tests.support.lines",
    "tests.support.meshes",
    "tests.support.node",
    "tests.support.processes",
    "tests.support.redis",
]


@pytest.fixture
def anyio_backend() -> str:
    """The SDK runs on asyncio, because python-socketio does."""
    return "asyncio"
