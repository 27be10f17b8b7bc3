"""A hub is restarted, and all come back at once: nobody is left out, and who is there is served."""

from __future__ import annotations

import asyncio
import resource
import signal
from collections.abc import Iterator
from contextlib import AsyncExitStack

import pytest

from alephscript import AlephScriptClient, State, capability
from tests.support.herd import arrive
from tests.support.processes import Start

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]

CROWD = 2_000
OURS = 50
DEADLINE = 10.0


@pytest.fixture(autouse=True)
def files() -> Iterator[None]:
    """Let this process have a socket for each, in front of the hub's."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, CROWD * 2 + 1_000), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Echo(AlephScriptClient):
    """Answers."""

    rooms = ("R",)

    @capability("ECHO")
    async def echo(self, payload: int) -> int:
        """Say it again."""
        return payload


async def until_ready(client: AlephScriptClient) -> None:
    """Wait until a client is back."""
    states = client.states()
    while client.state is not State.READY:
        await anext(states)


async def test_all_come_back_at_once_and_who_is_there_is_served(start: Start, port: int) -> None:
    """Members on bare sockets without any pause, our clients with theirs."""
    hub = ("-m", "alephscript", "hub", "--port", str(port))
    url = f"http://127.0.0.1:{port}"
    running = await start(*hub, ready=b"listening on")
    async with AsyncExitStack() as stack, asyncio.timeout(150):
        master = await stack.enter_async_context(Echo(url))
        ours = [await stack.enter_async_context(AlephScriptClient(url)) for _ in range(OURS)]
        before = await asyncio.gather(*(arrive("127.0.0.1", port, "CROWD") for _ in range(CROWD)))
        running.send(signal.SIGKILL)
        await running.ended()
        await asyncio.gather(*(each.lost.wait() for each in before))
        await start(*hub, ready=b"listening on")
        await until_ready(ours[0])
        coming = asyncio.gather(*(arrive("127.0.0.1", port, "CROWD") for _ in range(CROWD)))
        asked = 0
        while not coming.done():
            answer = await ours[0].request("ECHO", asked, wait_for_master=True, timeout=DEADLINE)
            assert answer == {"result": asked}
            asked += 1
        await asyncio.gather(coming, *map(until_ready, (master, *ours)))
        assert asked > 0
        rooms = {each["roomId"]: each for each in (await ours[0].server_state())["rooms"]}
        crowd = rooms["CROWD"]
        assert len(crowd["miembros"]) + crowd.get("omitted", 0) == CROWD
        for member in coming.result():
            member.abort()
