"""What every test shares: asyncio is the only backend."""

from __future__ import annotations

import pytest


@pytest.fixture
def anyio_backend() -> str:
    """The SDK runs on asyncio, because python-socketio does."""
    return "asyncio"
