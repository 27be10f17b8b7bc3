"""What a hub keeps of a client, and that it keeps nothing of one that has gone."""

from __future__ import annotations

import asyncio
import gc
import weakref

import pytest

from alephscript.hub.connection import Connection
from alephscript.hub.engine import Engine
from alephscript.mesh.access import Handshake
from alephscript.mesh.limits import Limits
from alephscript.mesh.mesh import Mesh

pytestmark = pytest.mark.anyio


class _Connection(Connection):
    __slots__ = ("__weakref__",)


async def test_a_connection_that_is_gone_is_kept_by_nobody() -> None:
    """Not until the next heartbeat either, which does not come when nobody else is there."""
    engine = Engine({"/runtime": Mesh()}, ping_interval=3600, ping_timeout=3600)
    engine.make_connection = _Connection
    gone = []
    for number in range(20):
        connection = engine.open(Handshake("/runtime", "127.0.0.1", {"cookie": "x" * 1000}))
        if number % 2:
            await asyncio.sleep(0)  # what it was to be sent has been flushed
        gone.append(weakref.ref(connection))
        connection.close("it has gone")
        del connection
    await asyncio.sleep(0)
    gc.collect()
    assert [each for each in gone if each() is not None] == []
    engine.close()


async def test_a_client_that_answers_no_ping_ends_however_often_it_is_pinged() -> None:
    """A ping of later does not give it more time; one that answers stays."""
    limits = Limits(join_seconds=3600)
    engine = Engine({"/runtime": Mesh()}, ping_interval=10, ping_timeout=35, limits=limits)
    loop = asyncio.get_running_loop()
    silent, answering = engine.open(), engine.open()
    began = loop.time()
    now = [began]
    loop_time, loop.time = loop.time, lambda: now[0]  # type: ignore[method-assign]
    try:
        lived = 0
        for second in range(0, 200, 5):
            now[0] = began + second
            engine._beat()
            answering.receive(b"3")
            lived += 5 * (not silent.closed)
        assert 35 <= lived <= 50
        assert not answering.closed
        assert engine.refusals == {"ping_timeout": 1}
    finally:
        loop.time = loop_time  # type: ignore[method-assign]
        engine.close()
