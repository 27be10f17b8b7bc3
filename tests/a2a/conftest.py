"""A mesh in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from alephscript.testing import InMemoryMesh


@pytest.fixture
async def mesh() -> AsyncIterator[InMemoryMesh]:
    """A mesh without anybody."""
    async with InMemoryMesh() as mesh:
        yield mesh
