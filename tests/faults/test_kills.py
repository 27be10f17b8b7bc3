"""Processes are killed at random moments under load: each request ends, and soon."""

from __future__ import annotations

import asyncio
import random
import signal
import statistics
import time
from collections import Counter
from typing import Any

import pytest

from alephscript import AlephScriptClient, LinkLost, NotConnected, RequestError, State
from alephscript.hub import Hub
from tests.support.processes import Start

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(180)]

IN_FLIGHT = 200
KILLS = 20


def at_once() -> Any:
    """Delays between attempts to reconnect: hardly any."""
    while True:
        yield 0.02


class Load:
    """So many requests in flight, one after the other; and how each of them ended.

    Attributes:
        answered: How many had the right answer.
        failed: How many ended otherwise, by code.
        last_end: When the last one failed.
    """

    def __init__(self, client: AlephScriptClient) -> None:
        self._client = client
        self._going = True
        self.asked = 0
        self.answered = 0
        self.failed: Counter[str] = Counter()
        self.last_end = 0.0
        self._loops = [asyncio.create_task(self._ask()) for _ in range(IN_FLIGHT)]

    async def _ask(self) -> None:
        while self._going:
            self.asked += 1
            number = self.asked
            try:
                answer = await self._client.request("ECHO", number, timeout=30)
            except RequestError as error:
                self.failed[error.code] += 1
                self.last_end = time.monotonic()
                await asyncio.sleep(0.01)
            else:
                assert answer == {"number": number}
                self.answered += 1

    async def answers(self, more: int) -> None:
        """Wait until so many more were answered."""
        goal = self.answered + more
        async with asyncio.timeout(30):
            while self.answered < goal:  # noqa: ASYNC110 - it is load, it says nothing
                await asyncio.sleep(0.005)

    async def stop(self) -> None:
        """Let what is in flight end."""
        self._going = False
        async with asyncio.timeout(40):
            await asyncio.gather(*self._loops)


async def test_a_master_killed_twenty_times_under_load_loses_no_answer(start: Start) -> None:
    """Each request ends in its answer or a reason, within a second after the kill.

    But for where the machine itself has stalled, which it does now and then.
    """
    async with Hub(port=0) as hub, AlephScriptClient(hub.url) as client:
        load, took = None, list[float]()
        for _ in range(KILLS):
            worker = await start("-m", "tests.faults.worker", hub.url, ready=b"is ready: ")
            load = load or Load(client)
            await load.answers(random.randint(1, 3 * IN_FLIGHT))
            in_flight = set(client._alephscript_session._channel.pending._futures)  # type: ignore[union-attr]
            killed = time.monotonic()
            worker.send(signal.SIGKILL)
            async with asyncio.timeout(20):
                while in_flight & client._alephscript_session._channel.pending._futures.keys():  # type: ignore[union-attr]  # noqa: ASYNC110
                    await asyncio.sleep(0.001)
            took.append(time.monotonic() - killed)
        assert load is not None
        assert statistics.median(took) < 1.0
        await load.stop()
        assert load.answered + load.failed.total() == load.asked
        assert set(load.failed) <= {"master_lost", "no_master"}
        assert load.failed["master_lost"] >= KILLS
        assert len(client._alephscript_session._channel.pending) == 0  # type: ignore[union-attr]
        assert hub._engine.in_flight == 0


async def test_a_hub_killed_under_load_ends_every_request_and_all_come_back(
    start: Start, port: int
) -> None:
    """As lost links at once; then the restarted hub has its master again."""
    command = ("-m", "alephscript", "hub", "--port", str(port))
    url = f"http://127.0.0.1:{port}"
    hub = await start(*command, ready=b"listening on")
    worker = await start("-m", "tests.faults.worker", url, ready=b"is ready: ")
    async with AlephScriptClient(url, backoff=at_once) as client:
        load = Load(client)
        for _ in range(3):
            await load.answers(IN_FLIGHT)
            pending = list(client._alephscript_session._channel.pending._futures.values())  # type: ignore[union-attr]
            hub.send(signal.SIGKILL)
            async with asyncio.timeout(10):  # long before a heartbeat is missed
                await client._alephscript_life.until(State.RECONNECTING)
            ends = {type(each.exception()) for each in pending if not each.cancelled()}
            assert ends <= {LinkLost, type(None)}
            await hub.ended()
            hub = await start(*command, ready=b"listening on")
            await load.answers(IN_FLIGHT)  # the worker, too, came back by itself
        await load.stop()
        assert load.answered + load.failed.total() == load.asked
        assert set(load.failed) <= {"link_lost", "not_connected", "no_master", "master_lost"}
    worker.send(signal.SIGTERM)
    assert await worker.ended() == 0


async def test_a_stopped_hub_is_noticed_by_its_silence(start: Start, port: int) -> None:
    """SIGSTOP closes no socket: the heartbeat ends it; afterwards all goes on."""
    code = (
        "import asyncio, sys\n"
        "from alephscript.hub import Hub\n"
        "async def main():\n"
        f"    async with Hub(port={port}, ping_interval=1, ping_timeout=1) as hub:\n"
        "        print('listening', file=sys.stderr, flush=True)\n"
        "        await hub.serve_forever()\n"
        "asyncio.run(main())\n"
    )
    hub = await start("-c", code, ready=b"listening")
    async with AlephScriptClient(f"http://127.0.0.1:{port}", backoff=at_once) as client:
        hub.send(signal.SIGSTOP)
        waiting = asyncio.create_task(client.request("ECHO", 1, timeout=30, wait_for_master=True))
        async with asyncio.timeout(10):
            await client._alephscript_life.until(State.RECONNECTING)
            with pytest.raises(LinkLost):
                await waiting
        with pytest.raises(NotConnected):
            await client.request("ECHO")
        hub.send(signal.SIGCONT)
        async with asyncio.timeout(20):
            await client.ready()
            assert (await client.server_state())["clients"] >= 1


async def test_sigterm_under_load_leaves_no_accepted_request_unanswered(
    start: Start, port: int
) -> None:
    """Of a master, then of the hub: both end with 0."""
    url = f"http://127.0.0.1:{port}"
    hub = await start("-m", "alephscript", "hub", "--port", str(port), ready=b"listening on")
    worker = await start("-m", "tests.faults.worker", url, ready=b"is ready: ")
    async with AlephScriptClient(url, backoff=at_once) as client:
        load = Load(client)
        await load.answers(IN_FLIGHT)
        worker.send(signal.SIGTERM)
        assert await worker.ended() == 0
        assert set(load.failed) <= {"no_master", "overloaded"}
        hub.send(signal.SIGTERM)
        assert await hub.ended() == 0
        await load.stop()
        assert load.answered + load.failed.total() == load.asked
        assert "master_lost" not in load.failed
