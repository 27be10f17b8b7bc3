"""Hubs that share a Redis, as processes of their own that can be killed and stopped."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from tests.support.processes import Process, Start, choose_port

HubStart = Callable[..., Awaitable[Process]]


@pytest.fixture
async def start_hub(start: Start) -> HubStart:
    """Starts a hub that shares a Redis, on a free port, which it can have again, or a given one."""

    async def on(redis: str, port: str = "") -> Process:
        arguments = ("hub", "--port", port or str(choose_port()), "--redis", redis)
        return await start("-m", "alephscript", *arguments, ready=b"listening on")

    return on
