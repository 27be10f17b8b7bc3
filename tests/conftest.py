"""What every test shares: asyncio is the only backend; fixtures come from tests/support/."""

from __future__ import annotations

from typing import Any

import pytest

pytest_plugins = [
    "tests.support.thrift",  # first: it spares the others' costs
    "tests.support.hangs",
    "tests.support.tools",
    "tests.support.properties",
    "tests.support.sorting",
    "tests.support.lines",
    "tests.support.processes",  # before those that import from it
    "tests.support.meshes",
    "tests.support.node",
    "tests.support.redis",
]


@pytest.fixture
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    """The SDK runs on asyncio, because python-socketio does; what is simulated on virtual time."""
    chosen = getattr(request.node, "callspec", None)
    if chosen is not None and chosen.params.get("mesh") == "simulated":
        from alephscript.testing.virtual import VirtualLoop

        return ("asyncio", {"loop_factory": VirtualLoop})
    return "asyncio"
