"""A small world to be simulated: members that ask, serve, tell and hand over, and its laws.

Whatever is drawn, the laws hold: each request ends, once and with its own answer; what must not
run twice does not; nobody hears events out of order; nothing is left when all is quiet.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter, defaultdict
from typing import Any

from alephscript import (
    AlephScriptClient,
    AlephScriptError,
    Event,
    RequestError,
    State,
    capability,
    master,
)
from alephscript.client.streams import EventStream
from alephscript.client.tasks import Task
from alephscript.testing import SimulatedMesh

ROOM = "WORKS"
LONGEST = 60.0
"""Virtual seconds within which anything in the world ends, with room to spare."""


def soon() -> Any:
    """Delays between attempts to reconnect: short."""
    while True:
        yield 0.05


_AWAY: Event[Any] = Event("", "AWAY", None)


class Ledger:
    """What has happened outside of the mesh."""

    def __init__(self) -> None:
        self.runs: Counter[str] = Counter()
        self.held: Counter[str] = Counter()
        self.tasks: Counter[str] = Counter()
        self.number = 0


class Clerk(AlephScriptClient):
    """Serves the room, alone or with another one that stands by."""

    def __init__(self, mesh: SimulatedMesh, ledger: Ledger, sesion: str | None = None) -> None:
        super().__init__(mesh, sesion=sesion, backoff=soon)
        self.ledger = ledger

    @capability("ADD")
    async def add(self, key: str) -> dict[str, str]:
        """Must not run twice."""
        self.ledger.runs[key] += 1
        await asyncio.sleep(random.choice((0.0, 0.0, 0.01, 0.1, 0.5)))
        return {"key": key}

    @capability("LOOK", idempotent=True)
    async def look(self, key: str) -> dict[str, str]:
        """May run as often as it likes."""
        await asyncio.sleep(random.choice((0.0, 0.01, 0.1)))
        return {"key": key}

    @capability("HOLD", idempotent=True)
    async def hold(self, key: str) -> None:
        """Goes on until it is told to stop."""
        self.ledger.held[key] += 1
        try:
            await asyncio.sleep(100 * LONGEST)
        finally:
            self.ledger.held[key] -= 1

    @capability("WORK")
    async def work(self, key: str) -> dict[str, str]:
        """Takes a while; must not run twice."""
        self.ledger.tasks[key] += 1
        await asyncio.sleep(0.2)
        return {"key": key}

    @capability("SAY")
    async def say(self) -> None:
        """Say how things stand, for those who come later."""
        self.ledger.number += 1
        await self.broadcast("STANDS", self.ledger.number, room=ROOM, retain=True)


class Single(Clerk):
    """Serves alone: the last one to come takes over."""

    rooms = (ROOM,)


class Standby(Clerk):
    """Serves if it came first."""

    rooms = master(ROOM, group="standby")


class Member:
    """An asker, which notes what becomes of its requests, and all that it hears."""

    def __init__(self, client: AlephScriptClient) -> None:
        self.client = client
        self.heard: list[Event[Any]] = []
        self.succeeded: list[str] = []
        self.tasks: list[tuple[str, Task[Any]]] = []
        self._listening: list[asyncio.Task[None]] = []
        self._number = 0
        self._lost_at = 0.0

    def listen(self) -> None:
        """Note from now on what is said, and when the client is back after a lost link."""
        stream = self.client.events(buffer=10_000)
        self._listening = [
            asyncio.create_task(self._listen(stream)),
            asyncio.create_task(self._note_returns()),
        ]

    async def _note_returns(self) -> None:
        async for state in self.client.states():
            if state is State.RECONNECTING:
                self.heard.append(_AWAY)
                self._lost_at = asyncio.get_running_loop().time()

    async def _listen(self, stream: EventStream) -> None:
        async for event in stream:
            self.heard.append(event)

    async def live(self, name: str, steps: int) -> None:
        """Ask, tell and hand over for a while."""
        for step in range(steps):
            await asyncio.sleep(random.choice((0.0, 0.05, 0.3)))
            await self._act(f"{name}-{step}")

    async def _act(self, key: str) -> None:
        act = random.randrange(8)
        if act < 2:
            await self.ask("ADD", key)
        elif act == 2:
            await asyncio.gather(*(self.ask("LOOK", f"{key}-{each}", 0.3) for each in range(3)))
        elif act == 3:
            await self.ask("HOLD", key, 0.5)
        elif act == 4:
            await self._give_up(random.choice(("HOLD", "LOOK", "ADD")), key)
        elif act == 5:
            for _ in range(3):
                self._number += 1
                with contextlib.suppress(RequestError):
                    await self.client.broadcast("TICK", self._number, room=ROOM)
        elif act == 6:
            await self._submit(key)
        else:
            await self.ask("SAY", key)

    async def ask(self, name: str, key: str, timeout: float = 5.0) -> bool:
        """Ask, and hold the answer against the question."""
        waits = key == "last" or random.randrange(2) == 0
        asked = self.client.request(name, key, room=ROOM, timeout=timeout, wait_for_master=waits)
        before = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(LONGEST):
                answer = await asked
        except RequestError:
            return False
        except TimeoutError:
            raise AssertionError(f"{name} of {key} did not end") from None
        finally:
            now = asyncio.get_running_loop().time()
            took, on_lost = now - before, now - self._lost_at
            assert waits or before > self._lost_at or on_lost < 1, (
                f"{name} of {key} outlived its link"
            )
            assert took < timeout + 2, f"{name} of {key} took {took:.1f} s, not {timeout}"
        assert answer.get("key", key) == key, f"{key} got the answer to {answer}"
        self.succeeded += [key] if name == "ADD" else []
        return True

    async def _give_up(self, name: str, key: str) -> None:
        asking = asyncio.create_task(self.ask(name, key, 50 * LONGEST))
        await asyncio.sleep(random.choice((0.0, 0.01, 0.02, 0.2)))
        asking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asking

    async def _submit(self, key: str) -> None:
        with contextlib.suppress(RequestError):
            task = await self.client.submit("WORK", key, room=ROOM, timeout=20, key=key)
            self.tasks.append((key, task))


async def live(mesh: SimulatedMesh) -> None:
    """Live through whatever is drawn, and keep the laws."""
    ledger = Ledger()
    kind = random.choice((Single, Standby))
    names = random.choice(((None, None), ("a", "b")))  # whether who comes again has its old name

    def make(sesion: str | None) -> Any:
        return lambda: kind(mesh, ledger, sesion)

    hub_dies = random.randrange(3) == 0
    members = [
        Member(
            AlephScriptClient(mesh, usuario=name, backoff=soon, retry_open=True, acknowledges=True)
        )
        for name in ("ana", "bo")
    ]
    watcher = Member(
        AlephScriptClient(mesh, usuario="watcher", backoff=soon, retry_open=True, acknowledges=True)
    )
    chaos = mesh.chaos(
        cuts=random.randrange(5),
        kills=int(hub_dies),
        crashes=random.randrange(3),
        takeovers=random.randrange(3),
        bots=[make(each) for each in names],
        within=3,
    )
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(chaos)
        for each in (watcher, *members):
            await _open(stack, each.client)
            each.listen()
            await _insist(each.client.subscribe, ROOM, presence=each is watcher)
        lives = [each.live(str(each.client.usuario), 8) for each in members]
        await asyncio.gather(*lives)
        await chaos
        await _quiet([watcher, *members], chaos.bots)
        await _check_rest(mesh, ledger, members, watcher)
        await _check_retained(mesh, stack, members[0])
        _check_heard(mesh, [watcher, *members], watcher)
        _check_tables(mesh, [watcher, *members], chaos.bots, ledger)
        _check_masters(mesh, chaos.bots)
        await chaos.bots[random.randrange(2)].close()
        assert await members[0].ask("LOOK", "last"), "nobody takes over from a bot that closes"


async def _open(stack: contextlib.AsyncExitStack, client: AlephScriptClient) -> None:
    await stack.enter_async_context(client)


async def _insist(act: Any, *args: Any, **options: Any) -> Any:
    """Do what may fail while links are cut, until it succeeds."""
    for _ in range(300):
        with contextlib.suppress(RequestError):
            return await act(*args, **options)
        await asyncio.sleep(0.2)
    raise AssertionError(f"{act.__name__}{args} never succeeds")


async def _quiet(members: list[Member], bots: list[AlephScriptClient]) -> None:
    """Wait until everybody has noticed everything."""
    await asyncio.sleep(LONGEST)
    for client in (*(each.client for each in members), *bots):
        assert client.state is State.READY, f"{client.usuario} is {client.state.value}"


async def _check_rest(
    mesh: SimulatedMesh, ledger: Ledger, members: list[Member], watcher: Member
) -> None:
    for each in members:
        assert await each.ask("LOOK", "last"), "nobody serves although all is quiet"
        for key in each.succeeded:
            assert ledger.runs[key], f"{key} was answered, and never ran"
        for key, task in each.tasks:
            status = await task.status()
            assert status.has_ended, f"the task {key} is {status.state}"
            assert ledger.tasks[key] <= 1, f"the task {key} ran {ledger.tasks[key]} times"
            assert status.state != "done" or ledger.tasks[key], f"{key} is done, and never ran"
    twice = {key: runs for key, runs in ledger.runs.items() if runs > 1}
    assert not twice, f"ran more than once: {twice}"
    ends = Counter[str]()
    for event in watcher.heard:
        if event.name != "TASK_CHANGED":
            continue
        if event.data.get("state") in ("done", "failed", "cancelled"):
            ends[event.data["id"]] += 1
    assert all(count == 1 for count in ends.values()), f"tasks ended more than once: {ends}"


async def _check_retained(
    mesh: SimulatedMesh, stack: contextlib.AsyncExitStack, member: Member
) -> None:
    """Whoever comes later hears the last value."""
    assert await member.ask("SAY", "last"), "nobody says how things stand"
    await asyncio.sleep(1)
    said = [event.data for event in member.heard if event.name == "STANDS"]
    late = Member(AlephScriptClient(mesh, usuario="late", acknowledges=True))
    await stack.enter_async_context(late.client)
    late.listen()
    await late.client.subscribe(ROOM)
    await asyncio.sleep(1)
    told = [event.data for event in late.heard if event.name == "STANDS"]
    assert told == said[-1:], f"who came late heard {told}, not {said[-1:]}"


def _check_heard(mesh: SimulatedMesh, members: list[Member], watcher: Member) -> None:
    for each in members:
        ticks: dict[str, list[int]] = defaultdict(list)
        for event in each.heard:
            if event.name == "TICK":
                ticks[event.sender].append(event.data)
        for sender, numbers in ticks.items():
            assert numbers == sorted(set(numbers)), f"{sender} was heard in order {numbers}"
        _check_epochs(each.heard)
    present: dict[str, bool] = {}
    for event in watcher.heard:
        if event is _AWAY:
            present.clear()
        if event.name in ("MEMBER_JOINED", "MEMBER_LEFT"):
            who, comes = f"{event.data['usuario']}-{event.data['sesion']}", event.name[7] == "J"
            assert present.get(who) is not comes, f"{who} was twice {event.name}"
            present[who] = comes


def _check_epochs(heard: list[Event[Any]]) -> None:
    """Epochs grow, as long as the hub is the same."""
    epoch = 0
    for event in heard:
        if event is _AWAY:
            epoch = 0
        elif event.name == "MASTER_CHANGED":
            assert event.data["epoch"] > epoch, f"after epoch {epoch} came {event.data}"
            epoch = event.data["epoch"]


def _check_tables(
    mesh: SimulatedMesh, members: list[Member], bots: list[AlephScriptClient], ledger: Ledger
) -> None:
    held = {key: count for key, count in ledger.held.items() if count}
    assert not held, f"still run, and nobody waits for them: {held}"
    for carrier in mesh._carriers.values():
        requests = carrier.mesh.requests
        assert len(requests) == 0, f"{len(requests)} requests are still open at the hub"
        assert len(requests._waiting) == 0
        assert len(carrier._deadlines) == len(carrier._opened_at) == 0
        assert carrier.mesh.tasks.at_masters == 0
    for client in (*(each.client for each in members), *bots):
        session = client._alephscript_life.session
        assert session is not None
        left = len(session._channel.pending)
        assert left == 0, f"{client.usuario} still waits for {left} acknowledgements"


def _check_masters(mesh: SimulatedMesh, bots: list[AlephScriptClient]) -> None:
    """Who serves, and who thinks so, is the same."""
    room = mesh._carriers["/runtime"].mesh.rooms.get(ROOM)
    assert room is not None
    acting = {each.peer.name for each in room.masters.acting}
    for bot in bots:
        name = f"{bot.usuario}{bot.sesion}"
        is_displaced = ROOM in bot._alephscript_mastering.displaced
        assert (name in acting) is not is_displaced, f"{name} is wrong about whether it masters"


__all__ = ["LONGEST", "ROOM", "AlephScriptError", "live"]
