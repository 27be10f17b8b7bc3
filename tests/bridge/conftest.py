"""Meshes that are not of one hub, and members that say what they hear."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest

from tests.support.meshes import MeshUnderTest

OpenMesh = Callable[[], Awaitable[MeshUnderTest]]


@pytest.fixture(params=["memory", "websocket"])
async def open_mesh(request: pytest.FixtureRequest) -> AsyncIterator[OpenMesh]:
    """Return a function that opens meshes; the fixture ends them."""
    async with AsyncExitStack() as meshes:

        async def open_mesh() -> MeshUnderTest:
            mesh = MeshUnderTest(request.param)
            await mesh.start()
            meshes.push_async_callback(mesh.end)
            return mesh

        yield open_mesh


@pytest.fixture
async def a(open_mesh: OpenMesh) -> MeshUnderTest:
    """The mesh on the one side."""
    return await open_mesh()


@pytest.fixture
async def b(open_mesh: OpenMesh) -> MeshUnderTest:
    """The mesh on the other."""
    return await open_mesh()
