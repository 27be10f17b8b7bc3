"""Bursts of what is cheap to say: how much reaches Redis and the other hubs, and what stays."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any

import pytest
from hypothesis import given, strategies as st
from redis import Redis

from alephscript import AlephScriptClient
from alephscript.hub import Hub
from alephscript.hub.cluster import frames
from alephscript.hub.cluster.commands import Command, CommandQueue
from alephscript.hub.cluster.deciding import OpenClaims
from alephscript.hub.cluster.pace import Pace
from alephscript.hub.cluster.subscriptions import SUBSCRIBE, UNSUBSCRIBE, Subscriptions
from alephscript.hub.cluster.surveys import Surveys
from alephscript.mesh.effects import Claim, SurveyHubs
from alephscript.protocol.events import HubEvent
from tests.support.peers import Raw, raw_peer

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]

Reach = Callable[..., Awaitable[Raw]]


@pytest.fixture
async def reach() -> AsyncIterator[Reach]:
    """Connects raw peers to hubs, and takes them off again."""
    async with AsyncExitStack() as stack:

        async def connect(hub: Hub) -> Raw:
            return await stack.enter_async_context(raw_peer(hub))

        yield connect


def question(sid: str) -> SurveyHubs:
    """Somebody asks who is there."""
    return SurveyHubs(sid, 1, HubEvent.GET_SERVER_STATE, None)


class Asked:
    """Surveys of two hubs, and what came of them."""

    def __init__(self, *hubs: str) -> None:
        self.hubs = hubs
        self.begun: list[int] = []
        self.finished: list[tuple[list[str], list[str]]] = []
        self.surveys = Surveys(self.begin, self.finish)

    def begin(self, number: int) -> tuple[str, ...]:
        """Ask the hubs."""
        self.begun.append(number)
        return self.hubs

    def finish(self, questions: Any, censuses: Any) -> None:
        """Take the answers."""
        self.finished.append(([each.sid for each in questions], [hub for hub, _ in censuses]))


async def test_askers_of_a_burst_share_two_surveys() -> None:
    """The one that was under way when they asked may be older than what they have to see."""
    asked = Asked("x", "y")
    for number in range(400):
        asked.surveys.ask(question(str(number)))
    assert asked.begun == [1]
    for hub in ("x", "x", "z", "y"):
        asked.surveys.answer(1, hub, ())
    assert asked.finished == [(["0"], ["x", "y"])]
    while len(asked.begun) < 2:  # noqa: ASYNC110 - a pause, so that surveys do not take all time
        await asyncio.sleep(0)
    asked.surveys.answer(1, "x", ())  # late
    asked.surveys.answer(2, "x", ())
    asked.surveys.lose("y")
    assert asked.finished[1:] == [([str(n) for n in range(1, 400)], ["x", "y"])]
    assert asked.begun == [1, 2]


async def test_all_who_ask_are_answered_when_the_hub_closes_or_drifts() -> None:
    """With what has come by then."""
    asked = Asked("x", "y")
    for sid in ("a", "b"):
        asked.surveys.ask(question(sid))
    asked.surveys.answer(1, "x", ())
    asked.surveys.close()
    assert asked.finished == [(["a", "b"], ["x"])]
    asked.surveys.close()
    assert len(asked.finished) == 1


async def test_where_no_other_hub_is_the_answer_comes_at_once() -> None:
    """There is nobody to wait for."""
    asked = Asked()
    asked.surveys.ask(question("a"))
    assert asked.finished == [(["a"], [])]


def nothing(_: Any, __: Any) -> None:
    """Nobody was there."""


def test_a_sign_of_life_goes_before_all_that_waits() -> None:
    """Else a full queue would have a hub taken for dead."""
    queue = CommandQueue(nothing)
    for number in range(2000):
        queue.put(("CLAIM", number), None)
    assert len(queue.take()) == 500
    queue.put_first(("BEAT",), lambda _: None)
    assert [each.words for each in queue.take(500)] == [("BEAT",)]
    assert [each.words for each in queue.take(499)] == [("CLAIM", 500)]
    assert len(queue.take_all()) == 1499
    assert not queue


def test_large_commands_go_one_by_one() -> None:
    """Redis keeps what it passes on until the other hub has read it, up to a bound."""
    queue = CommandQueue(nothing)
    for number in range(5):
        queue.put(("PUBLISH", number, b"x" * 900_000), None)
    assert len(queue.take()) == 2
    assert queue.take(2, 1_800_000) == []
    assert len(queue.take(1, 900_000)) == 1
    assert len(queue.take()) == 2
    assert queue.take_all() == []


def test_the_commands_that_wait_are_bounded_in_bytes() -> None:
    """Whatever their count; where some have gone, there is room again."""
    queue = CommandQueue(nothing)
    command = ("PUBLISH", "channel", b"x" * 900_000)

    def fill() -> int:
        count = 0
        while not queue.is_full:
            queue.put(command, None)
            count += 1
        return count

    assert fill() * 900_000 < 64_000_000
    queue.take()
    assert fill() == 2
    queue.take_all()
    assert fill() > 2


def test_a_burst_of_nonsense_is_no_burst_of_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line a second at the most."""
    now = [100.0]
    monkeypatch.setattr("alephscript.hub.cluster.pace.time.monotonic", lambda: now[0])
    pace = Pace()
    assert [pace.is_due() for _ in range(1000)].count(True) == 1
    now[0] += 1.5
    assert [pace.is_due() for _ in range(1000)].count(True) == 1


async def test_claims_are_finished_in_the_order_of_decisions_without_looking_at_others() -> None:
    """A decision costs what it finishes."""
    claims = OpenClaims()
    told: list[tuple[int, int | None]] = []

    def tell(number: int) -> Callable[[int | None], None]:
        return lambda epoch: told.append((number, epoch))

    claim = Claim("s", "n", "R", {}, is_core=False, epoch=0, reclaiming=False)
    waiting = [claims.add("/", claim, tell(n)) for n in range(5)]
    for number, each in enumerate(waiting[:3]):
        claims.decide(each, 10 + number, number)
    claims.finish(9)
    assert told == []
    claims.finish(11)
    assert told == [(0, 0), (1, 1)]
    claims.reset()
    claims.finish(12)
    assert [each.number for each in claims] == [2, 3, 4]
    claims.close()
    assert not list(claims)


# Rooms that are entered and left


class Rooms:
    """A hub that enters and leaves one room, and a Redis that confirms in order."""

    channel = b"c"

    def __init__(self) -> None:
        self.subscriptions = Subscriptions()
        self.entered = 0
        self.told: Counter[int] = Counter()
        self.queue: list[tuple[str, bytes]] = []
        self.link: list[str] = []  # on its way to Redis, and back
        self.is_subscribed = False
        self.is_reset = False

    def tell(self, number: int) -> None:
        """Tell somebody who has entered: nothing is missed from now on."""
        self.told[number] += 1
        if self.channel in self.subscriptions and not self.is_reset:
            assert self.is_subscribed
            assert UNSUBSCRIBE not in self.link

    def enter(self) -> None:
        """Enter, unless somebody is inside."""
        if self.channel in self.subscriptions:
            return
        number, self.entered = self.entered, self.entered + 1
        self.subscriptions.wait(self.channel, lambda: self.tell(number))
        self.queue.append((SUBSCRIBE, self.channel))

    def leave(self) -> None:
        """Leave."""
        if self.channel in self.subscriptions:
            self.subscriptions.remove(self.channel)
            self.queue.append((UNSUBSCRIBE, self.channel))

    def send(self) -> None:
        """Send what the steps come to."""
        joined, left = self.subscriptions.reduce(self.queue)
        assert len(joined) + len(left) == bool(self.queue)
        self.link += [SUBSCRIBE] * len(joined) + [UNSUBSCRIBE] * len(left)
        self.queue = []

    def confirm(self) -> None:
        """Hear of the next step that Redis has made."""
        if self.link:
            self.is_subscribed = self.link.pop(0) == SUBSCRIBE
            if self.is_subscribed:
                self.subscriptions.confirm(self.channel)

    def reset(self) -> None:
        """Lose the link, and subscribe anew to what is left."""
        self.is_reset = True
        self.subscriptions.reset()
        self.is_reset = False
        self.queue, self.link = [], []
        self.is_subscribed = self.channel in self.subscriptions


@given(steps=st.lists(st.sampled_from(["enter", "leave", "send", "confirm", "reset"]), max_size=40))
def test_whoever_enters_a_room_is_told_once_and_misses_nothing(steps: list[str]) -> None:
    """Told when Redis has confirmed it, and no step is under way that ends the subscription."""
    rooms = Rooms()
    for step in steps:
        getattr(rooms, step)()
    rooms.send()
    while rooms.link:
        rooms.confirm()
    assert rooms.told == Counter(range(rooms.entered))


# With a Redis


def sent(hub: Hub) -> Counter[str]:
    """Counts the commands that a hub sends from now on, by name, and the frames, by kind."""
    assert hub._cluster is not None
    registry: Any = hub._cluster._registry
    scripts = {sha: name for name, sha in registry._scripts._shas.items()}
    counts: Counter[str] = Counter()
    original = registry._commands.send

    def send(commands: Sequence[Command]) -> None:
        for each in commands:
            verb, *rest = each.words
            counts[scripts.get(rest[0], verb) if rest else verb] += 1
            if verb == "PUBLISH":
                counts["survey"] += rest[1].count(b'"survey"')
        original(commands)

    registry._commands.send = send
    return counts


async def answer_to(raw: Raw, number: int) -> str:
    """The acknowledgement with that number; what comes before it is left out."""
    async with asyncio.timeout(20):
        while True:
            text = str(await raw.websocket.recv())
            if text == "2":
                await raw.send("3")
            if text.startswith(f"43/runtime,{number}["):
                return text


@pytest.mark.peers
async def test_a_burst_of_questions_costs_the_other_hub_two_surveys(
    shared_redis: Any, reach: Reach
) -> None:
    """All are answered, and an innocent request across hubs goes on."""
    url = shared_redis.url()
    async with (
        Hub(port=0, redis=url) as one,
        Hub(port=0, redis=url) as two,
        AlephScriptClient(two.url, usuario="there") as there,
    ):
        await there.subscribe("R")
        counts = sent(one)
        noisy = await reach(one)
        noisy.send_at_once(*(f'42/runtime,{n}["GET_SERVER_STATE"]' for n in range(1, 401)))
        for number in (1, 200, 400):
            assert '"clients":2' in await answer_to(noisy, number)
        assert 1 <= counts["survey"] <= 3
        for hub in (one, two):
            assert hub._engine.why_not_ready is None


@pytest.mark.peers
async def test_a_burst_of_declarations_costs_redis_two(shared_redis: Any, reach: Reach) -> None:
    """The last one counts, each is answered, and another peer's is not behind them."""
    url = shared_redis.url()
    async with Hub(port=0, redis=url) as hub:
        counts = sent(hub)
        noisy = await reach(hub)
        declared = [
            f'42/runtime,{n}["MAKE_MASTER",{{"room":"R","features":["F{n}"]}}]'
            for n in range(1, 8001)
        ]
        noisy.send_at_once(*declared)
        assert '"features":["F1"]' in await answer_to(noisy, 1)
        assert "F8000" in await answer_to(noisy, 8000)
        assert counts["claim"] <= 80  # as many turns as the socket took
        resigned = (f'42/runtime,{n}["MAKE_MASTER",{{"room":"R","out":true}}]' for n in range(9000))
        noisy.send_at_once(*resigned)
        await answer_to(noisy, 8999)
        assert counts["release"] <= 2
        assert hub._engine.why_not_ready is None


@pytest.mark.peers
async def test_to_declare_the_same_again_is_news_to_nobody(shared_redis: Any, reach: Reach) -> None:
    """No decision is published, so the other hubs have nothing to do."""
    url = shared_redis.url()
    database = url.rpartition("/")[2]
    with Redis(port=shared_redis.port, db=int(database)) as reader:
        async with Hub(port=0, redis=url) as hub:
            peer = await reach(hub)
            answers, numbers = set(), set()
            for n in range(1, 6):
                await peer.send(f'42/runtime,{n}["MAKE_MASTER",{{"room":"R","features":["F"]}}]')
                answers.add((await answer_to(peer, n)).partition("[")[2])
                numbers.add(reader.get(f"alephscript:{database}:seq"))
            assert len(answers) == len(numbers) == 1


@pytest.mark.peers
async def test_what_was_declared_is_released_with_its_master(
    shared_redis: Any, reach: Reach
) -> None:
    """At both hubs and in Redis, however large and however often it changed."""
    url = shared_redis.url()
    database = url.rpartition("/")[2]
    gc.collect()
    before = len(frames._declarations)
    with Redis(port=shared_redis.port, db=int(database)) as reader:
        async with (
            Hub(port=0, redis=url) as one,
            Hub(port=0, redis=url) as two,
            AlephScriptClient(two.url) as there,
        ):
            peer = await reach(one)
            for n in range(1, 21):
                text = f"{n}" + "x" * 10_000
                declared = (
                    f'{{"room":"R","features":["F"],"descriptions":{{"F":{{"summary":"{text}"}}}}}}'
                )
                await peer.send(f'42/runtime,{n}["MAKE_MASTER",{declared}]')
                assert '"success":true' in await answer_to(peer, n)
            (offer,) = await there.discover()
            assert offer.capability == "F"
            gc.collect()
            assert len(frames._declarations) - before <= 2  # the last, and the one before
            await peer.websocket.close()
            async with asyncio.timeout(10):
                while await there.discover():  # noqa: ASYNC110 - the other hub says when
                    await asyncio.sleep(0.01)
            gc.collect()
            assert len(frames._declarations) == before
            kept = {each.decode() for each in reader.scan_iter()}
            prefix = f"alephscript:{database}:"
            assert not [
                each for each in kept if each.startswith((f"{prefix}claims", f"{prefix}rooms"))
            ]


@pytest.mark.peers
async def test_a_displaced_master_leaves_nothing_when_its_link_is_lost(
    shared_redis: Any, reach: Reach
) -> None:
    """Until then it is kept, to serve again."""
    url = shared_redis.url()
    database = url.rpartition("/")[2]
    with Redis(port=shared_redis.port, db=int(database)) as reader:
        async with Hub(port=0, redis=url) as one, Hub(port=0, redis=url) as two:
            assert one._cluster is not None
            for number, hub in enumerate((one, two), 1):
                peer = await reach(hub)
                declared = '{"room":"R","features":["F"]}'
                await peer.send(f'42/runtime,{number}["MAKE_MASTER",{declared}]')
                assert '"success":true' in await answer_to(peer, number)
                if hub is one:
                    displaced = peer
            claims = f"alephscript:{database}:claims:{one._cluster.hub}"
            assert reader.scard(claims) == 1
            await displaced.websocket.close()
            async with asyncio.timeout(10):
                while reader.scard(claims):  # noqa: ASYNC110 - Redis does not say when
                    await asyncio.sleep(0.01)
