"""A hub with PersefonBot on real sockets, and a client in AAIA_ROOM."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from alephscript import AlephScriptClient, aaia
from alephscript.testing import HubMesh
from examples.persefon_bot import PersefonBot


@pytest.fixture
async def hub() -> AsyncIterator[HubMesh]:
    """A hub on a free port."""
    async with HubMesh() as hub:
        yield hub


@pytest.fixture
async def bot(hub: HubMesh) -> AsyncIterator[PersefonBot]:
    """PersefonBot, master of AAIA_ROOM."""
    async with PersefonBot(hub.url) as bot:
        yield bot


@pytest.fixture
async def client(hub: HubMesh, bot: PersefonBot) -> AsyncIterator[AlephScriptClient]:
    """A client in AAIA_ROOM."""
    async with AlephScriptClient(hub.url, usuario="tester") as client:
        await client.subscribe(aaia.AAIA_ROOM)
        yield client
