"""Workers of one port pass sockets on to each other.

Without a Redis each of them is a mesh of its own here, so that a member finds its master only if
both came to the same worker.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from alephscript import AlephScriptClient, NoMaster, capability, observe
from alephscript.hub.sockets.lobby import Lobby
from alephscript.hub.workers.pulse import Pulse
from alephscript.hub.workers.worker import Worker
from alephscript.mesh.limits import Limits

pytestmark = pytest.mark.anyio

ROOMS = tuple(f"ROOM_{number}" for number in range(8))


class Bot(AlephScriptClient):
    """Says what it is told."""

    @capability("ECHO")
    async def echo(self, payload: Any) -> dict[str, Any]:
        """Say it again."""
        return {"said": payload}


def member_of(base: type[AlephScriptClient], room: str) -> type[AlephScriptClient]:
    """A class of members of a room."""
    return type(base.__name__, (base,), {"rooms": (room,) if base is Bot else observe(room)})


@pytest.fixture
async def workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[list[Worker]]:
    """Three workers on one port, none of them busy."""
    monkeypatch.setattr(Pulse, "load", lambda self, worker: 0.0)  # the whole process is
    async with AsyncExitStack() as stack:
        port, opened = 0, []
        for number in range(3):
            worker = Worker(tmp_path, number, 3, port=port)
            opened.append(await stack.enter_async_context(worker))
            port = int(worker.url.rpartition(":")[2])
        yield opened


def clients_of(worker: Worker) -> int:
    """How many clients a worker has."""
    return worker._engine.clients


@pytest.mark.parametrize("transports", [("websocket",), ("polling",), ("polling", "websocket")])
async def test_members_of_a_room_meet_at_one_worker(
    workers: list[Worker], transports: tuple[str, ...]
) -> None:
    """Whichever worker the system gave their sockets to; and rooms are at several workers."""
    url = workers[0].url
    async with AsyncExitStack() as stack:
        for room in ROOMS:
            await stack.enter_async_context(member_of(Bot, room)(url))
        for room in ROOMS:
            client = member_of(AlephScriptClient, room)(url, transports=transports)
            await stack.enter_async_context(client)
            for number in range(3):  # with polling each comes and goes by a socket of its own
                asked = client.request("ECHO", number, room=room, timeout=10)
                assert await asked == {"said": number}
        assert sum(clients_of(each) > 0 for each in workers) > 1


async def test_a_polling_client_is_served_by_whichever_worker_opened_its_session(
    workers: list[Worker],
) -> None:
    """Without a room, too; each of its requests may come to another worker."""
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(
                AlephScriptClient(workers[0].url, transports=("polling",))
            )
            for _ in range(6)
        ]
        for client in clients:
            with pytest.raises(NoMaster):
                await client.request("ECHO", 1, timeout=10)
        assert sum(clients_of(each) for each in workers) == len(clients)


async def test_a_busy_worker_is_sent_no_members(
    workers: list[Worker], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They stay where they came."""
    monkeypatch.setattr(Pulse, "load", lambda self, worker: 1.0)
    async with AsyncExitStack() as stack:
        for _ in range(16):
            client = member_of(AlephScriptClient, "R")(workers[0].url)
            await stack.enter_async_context(client)
        assert sum(clients_of(each) > 0 for each in workers) > 1


async def test_a_room_whose_worker_is_gone_is_served_by_the_others(workers: list[Worker]) -> None:
    """Members meet again when that worker is back; until then they are served all the same."""
    await workers[1].close()
    for room in ROOMS:
        async with member_of(AlephScriptClient, room)(workers[0].url) as client:
            assert await client.server_state()
    assert clients_of(workers[1]) == 0


async def test_a_socket_that_says_nothing_is_ended_as_by_any_hub(tmp_path: Path) -> None:
    """It has not asked for anything yet, so nobody else gets it either."""
    async with Worker(tmp_path, 0, 1, port=0, limits=Limits(join_seconds=0.2)) as worker:
        host, _, port = worker.url.removeprefix("http://").partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        async with asyncio.timeout(20):
            assert await reader.read() == b""
        writer.close()


async def test_sockets_that_are_passed_on_need_room_too(
    workers: list[Worker], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or whoever knows a worker's number could have it hold any number of sockets."""
    monkeypatch.setattr(Lobby, "make_room", lambda lobby: lobby is not workers[2]._lobby)
    host, _, port = workers[0].url.removeprefix("http://").partition(":")
    loop = asyncio.get_running_loop()
    told = []
    for _ in range(16):  # some come to another worker
        with socket.create_connection((host, int(port))) as client:
            client.setblocking(False)  # noqa: FBT003 - the standard library's
            await loop.sock_sendall(client, b"GET /socket.io/?EIO=4&sid=2.x HTTP/1.1\r\n\r\n")
            with contextlib.suppress(TimeoutError):  # it waits where there is no room
                async with asyncio.timeout(0.2):
                    try:
                        told.append(await loop.sock_recv(client, 100))
                    except ConnectionResetError:  # what was sent is unread
                        told.append(b"")
    assert b"" in told


async def test_garbage_among_workers_harms_none(workers: list[Worker], tmp_path: Path) -> None:
    """Bytes without a socket, and a link that ends at once."""
    for path in (tmp_path / "0", tmp_path / "1"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
            link.connect(str(path))
            link.send(b"xyz")
    await test_members_of_a_room_meet_at_one_worker(workers, ("websocket",))


async def test_a_worker_that_was_killed_and_has_its_number_again_is_reached(
    workers: list[Worker], tmp_path: Path
) -> None:
    """The others' links to its predecessor are of no use: they open new ones."""
    url = workers[0].url
    await test_members_of_a_room_meet_at_one_worker(workers, ("websocket",))
    await workers[2].close()
    port = int(url.rpartition(":")[2])
    async with Worker(tmp_path, 2, 3, port=port) as again:
        await test_members_of_a_room_meet_at_one_worker([*workers[:2], again], ("websocket",))
