"""PersefonBot on the seeded mesh: its sessions keep their laws in any interleaving."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

import pytest

from alephscript import AlephScriptClient, CapabilityError, Event, RequestError, aaia
from alephscript.aaia import AAIA_ROOM, RunState
from alephscript.client.streams import EventStream
from alephscript.testing import SimulatedMesh, simulate
from examples.persefon_bot import PersefonBot

FEW, MANY = 3, 60


def soon() -> Iterator[float]:
    """Delays between attempts to reconnect: short."""
    while True:
        yield 0.05


class Driver:
    """Drives a session of its own, and holds what it hears against what it did."""

    def __init__(self, mesh: SimulatedMesh, name: str) -> None:
        self.client = AlephScriptClient(
            mesh, usuario=name, backoff=soon, retry_open=True, acknowledges=True
        )
        self.session = ""
        self.least = self.most = 0
        self.heard: list[Event[Any]] = []

    async def listen(self, stream: EventStream) -> None:
        """Note what the room is told."""
        async for event in stream:
            self.heard.append(event)

    async def open(self) -> None:
        """Make a session; what may have been made twice is no harm."""
        opened = await self._insist(aaia.CreateSession(app_id="demo-logica"))
        self.session = opened.session_id

    async def drive(self) -> None:
        """Stimulate, step, look."""
        percepto = aaia.Percepto(tipo=aaia.TipoPercepto.COMANDO, payload={"query": "p(X,Y)"})
        await self._insist(aaia.SendPercepto(session_id=self.session, percepto=percepto))
        for _ in range(5):
            self.most += 1
            with contextlib.suppress(RequestError):
                step = await self._ask(aaia.StepFIA(session_id=self.session, fia_index=0))
                self.least += 1
                assert self.least <= step.cycles <= self.most
            await asyncio.sleep(0.2)
        with contextlib.suppress(RequestError):
            played = await self._ask(aaia.PlayFIA(session_id=self.session, fia_index=0))
            assert played.new_state is RunState.PLAY
        with contextlib.suppress(RequestError):
            await self._ask(aaia.PauseFIA(session_id=self.session, fia_index=0))

    async def end(self) -> None:
        """All that was asked for has happened, once; then nothing of the session is left."""
        fias = await self._insist(aaia.ListFIAs(session_id=self.session))
        assert [each.index for each in fias.fias] == [0]
        threads = await self._insist(aaia.GetListOfThreads())
        assert len(threads.threads) >= 1
        await self._insist(aaia.StopFIA(session_id=self.session, fia_index=0))
        with contextlib.suppress(
            CapabilityError
        ):  # it may have been heard before, and its answer not
            await self._insist(aaia.DestroySession(session_id=self.session))
        sessions = await self._insist(aaia.ListSessions())
        assert self.session not in {each.session_id for each in sessions.sessions}

    async def _ask(self, request: Any) -> Any:
        room = aaia.ENGINE_THREADS_ROOM if isinstance(request, aaia.GetListOfThreads) else AAIA_ROOM
        return await self.client.request(request, room=room, timeout=3, wait_for_master=True)

    async def _insist(self, request: Any) -> Any:
        for _ in range(60):
            try:
                return await self._ask(request)
            except CapabilityError:
                raise
            except RequestError:
                await asyncio.sleep(0.3)
        raise AssertionError(f"{type(request).__name__} is never answered")

    def check_heard(self) -> None:
        """Each session's events came in order: made first, cycles that grow, destroyed last."""
        gone: set[str] = set()
        cycles: dict[str, int] = defaultdict(int)
        counts: Counter[tuple[str, str]] = Counter()
        for event in self.heard:
            session = event.data.get("sessionId") if isinstance(event.data, dict) else None
            if not isinstance(session, str):
                continue
            assert session not in gone, f"{event.name} of {session}, which is gone"
            counts[session, event.name] += 1
            assert counts[session, "SESSION_CREATED"] <= 1
            if event.name == "SESSION_DESTROYED":
                gone.add(session)
            elif event.name == "MUNDO_STATE":
                cycle = event.data["mundo"]["modelo"].get("ciclo", 0)
                assert cycle >= cycles[session]
                cycles[session] = cycle


async def drive_sessions(mesh: SimulatedMesh) -> None:
    """Two drivers, one bot, which keeps its sessions whatever becomes of its links and its hub."""
    async with contextlib.AsyncExitStack() as stack:
        bot = await stack.enter_async_context(PersefonBot(mesh, backoff=soon))
        drivers = [Driver(mesh, name) for name in ("ana", "bo")]
        for each in drivers:
            await stack.enter_async_context(each.client)
            listening = each.listen(each.client.events(AAIA_ROOM))
            stack.callback(asyncio.create_task(listening).cancel)
            await each.client.subscribe(AAIA_ROOM)
        chaos = mesh.chaos(cuts=4, kills=1, within=3)
        await asyncio.gather(*(each.open() for each in drivers))
        await asyncio.gather(*(each.drive() for each in drivers))
        await chaos
        await asyncio.sleep(25)
        await bot.ready()
        await asyncio.gather(*(each.end() for each in drivers))
        for each in drivers:
            each.check_heard()


@pytest.fixture(autouse=True)
def _without_log() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


SEEDS = [range(FEW), pytest.param(range(FEW, MANY), marks=pytest.mark.slow)]


@pytest.mark.parametrize("seeds", SEEDS)
def test_sessions_keep_their_laws_whatever_becomes_of_links_and_hub(seeds: range) -> None:
    """A step counts once, whether its answer arrived or not; the room hears all in order."""
    for seed in seeds:
        simulate(drive_sessions, seed)


def test_a_run_of_it_is_the_same_each_time() -> None:
    """Threads and clocks included."""
    assert len({simulate(drive_sessions, 5).trace.digest for _ in range(3)}) == 1
