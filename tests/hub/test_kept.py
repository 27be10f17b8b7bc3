"""What a hub keeps of a client, and that it keeps nothing of one that has gone."""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import weakref

import pytest

from alephscript import AlephScriptClient
from alephscript.hub import Hub
from alephscript.hub.connection import Connection
from alephscript.hub.engine import Engine
from alephscript.mesh.access import Handshake
from alephscript.mesh.limits import Limits
from alephscript.mesh.mesh import Mesh
from tests.support.peers import raw_peer

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


async def test_who_looks_at_a_full_mesh_is_not_thrown_out() -> None:
    """Two members within all limits fill a thousand rooms each; the state can be had."""
    async with Hub(port=0) as hub, asyncio.timeout(40):
        for name in ("a", "b"):
            _fill(hub, name)
        async with AlephScriptClient(hub.url) as looker:
            for _ in range(3):
                state = await looker.server_state()
                assert len(state["rooms"]) == 2000
            assert await looker.discover() == []
        command = ("-m", "alephscript", "state", "--json", "--url", hub.url)
        process = await asyncio.create_subprocess_exec(
            sys.executable, *command, stdout=asyncio.subprocess.PIPE
        )
        out, _ = await process.communicate()
        assert process.returncode == 0
        assert len(json.loads(out)["rooms"]) == 2000


def _fill(hub: Hub, name: str) -> None:
    """Be in a thousand rooms, with as much to say of oneself as is taken."""
    carrier = hub._engine.carriers["/runtime"]
    recipient = _Nobody()
    carrier.joined(name, recipient, None)
    about = {"usuario": name, "sesion": "", "x": "y" * 3900}
    carrier.received(name, None, json.dumps(["CLIENT_REGISTER", about]).encode())
    for number in range(1000):
        room = {"room": f"{name}.{number}"}
        carrier.received(name, None, json.dumps(["CLIENT_SUSCRIBE", room]).encode())


class _Nobody:
    id = "nobody"

    def send(self, message: bytes, frame: bytes | None = None) -> None:
        """Hear nothing."""

    def backlog(self) -> int:
        """Nothing waits."""
        return 0


@pytest.mark.parametrize("kind", ["waiting", "history"])
async def test_a_flood_of_large_messages_is_not_kept(kind: str) -> None:
    """150 requests of 0.9 MB that wait for a master; as much into each of a hundred rooms."""
    text = "x" * 900_000
    async with Hub(port=0, history=100) as hub, raw_peer(hub) as peer, asyncio.timeout(50):
        mesh = hub._engine.meshes["/runtime"]
        await peer.ask("CLIENT_REGISTER", {"usuario": "x", "protocol": "alephscript/1"})
        for number in range(10, 110):
            room = {"room": f"r{number}"}
            if kind == "waiting":
                meta = {"wait": True, "timeoutMs": 86_400_000}
                packet = f"{number}" + json.dumps(["GET_NOBODY", text, meta])
            else:
                await peer.ask("CLIENT_SUSCRIBE", room)
                packet = json.dumps(["ROOM_MESSAGE", {"event": "E", "data": text, **room}])
            await peer.send(f"42/runtime,{packet}")
        await peer.ask("GET_MEMBERS", {}, ack=2)
        kept = sum(each.account.kept for each in mesh.rooms.peers.values())
        assert kept + mesh.rooms._archive._bytes <= 17_000_000
        assert (len(mesh.requests) > 5) == (kind == "waiting")
