"""Hubs that ask, or say, more than a hub has time and memory for: bounded, and counted."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given, strategies as st
from redis import Redis

from alephscript import AlephScriptClient, capability
from alephscript.hub import Hub, Limits
from alephscript.hub.cluster import credit
from alephscript.hub.cluster.credit import SurveyCredit

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]


class Bot(AlephScriptClient):
    """Answers, or takes long."""

    rooms = ("R",)

    @capability("X")
    async def x(self, number: int) -> dict[str, Any]:
        """Say it again."""
        return {"number": number}

    @capability("SLOW")
    async def slow(self, _: dict[str, Any]) -> None:
        """Take longer than anybody waits."""
        await asyncio.Event().wait()


@given(st.lists(st.floats(0, 0.06), min_size=1, max_size=100))
def test_a_hub_that_keeps_to_its_pauses_is_always_answered(took: list[float]) -> None:
    """However long answers take, as it waits four times as long before it asks again."""
    left, now = SurveyCredit(), 0.0
    for seconds in took:
        assert left.has("x", now)
        now += seconds
        left.spend("x", seconds, now)
        now += 4 * seconds


@given(st.lists(st.tuples(st.floats(0, 0.01), st.floats(0.001, 0.1)), max_size=200))
def test_a_hub_that_floods_has_a_quarter_of_the_time(asked: list[tuple[float, float]]) -> None:
    """And others are answered meanwhile."""
    left, now, taken = SurveyCredit(), 0.0, 0.0
    for pause, seconds in asked:
        if left.has("x", now):
            now += seconds
            taken += seconds
            left.spend("x", seconds, now)
        now += pause
        assert taken <= 0.5 + now / 4 + 0.1
        assert left.has("y", now)
    left.forget("x")
    assert left.has("x", now)


@pytest.mark.peers
async def test_a_flood_of_surveys_is_counted_and_the_others_are_served(
    shared_redis: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A hub of whatever name takes so much time for its questions and no more."""
    monkeypatch.setattr(credit, "_MOST_SECONDS", 0.001)
    url = shared_redis.url()
    async with (
        Hub(port=0, redis=url) as one,
        Hub(port=0, redis=url) as two,
        Bot(two.url),
        AlephScriptClient(one.url) as asker,
    ):
        assert two._cluster is not None
        with Redis(port=shared_redis.port) as writer:
            channel = f"alephscript:{url.rpartition('/')[2]}:to:{two._cluster.hub}"
            for number in range(1, 11):
                frames = ",".join(f'["survey",{number * 500 + each}]' for each in range(500))
                writer.publish(channel, f'[["m{number}","/runtime"],[{frames}]]')
        assert await asker.request("X", 7, timeout=20) == {"number": 7}
        assert 0 < two._engine.refusals["hub_flood"] < 5_000
        assert len((await asker.server_state())["rooms"]) >= 1
        assert one._engine.why_not_ready is two._engine.why_not_ready is None
    told = [each for each in caplog.messages if "asks who is here" in each]
    assert 1 <= len(told) <= 10
    caplog.clear()


@pytest.mark.peers
async def test_a_flood_of_requests_is_bounded_in_bytes_and_answered_as_overload(
    shared_redis: Any,
) -> None:
    """Whatever names its askers have; those of other hubs have their own share."""
    url = shared_redis.url()
    limits = Limits(kept_bytes=100_000, kept_bytes_of_all=100_000)
    async with (
        Hub(port=0, redis=url) as one,
        Hub(port=0, redis=url, limits=limits) as two,
        Bot(two.url),
        AlephScriptClient(one.url) as asker,
    ):
        assert two._cluster is not None
        mesh = two._engine.carriers["/runtime"].mesh
        [bot] = [each for each in mesh.rooms.peers.values() if each.mastered]
        prefix = f"alephscript:{url.rpartition('/')[2]}"
        with Redis(port=shared_redis.port) as writer:
            channels = writer.pubsub(ignore_subscribe_messages=True)
            channels.subscribe(f"{prefix}:to:mzz")
            assert channels.get_message(timeout=5) is None
            for number in range(1, 21):
                frames = ",".join(
                    f'["ask",{number * 100 + each},"{bot.sid}","R","GET_SLOW",{{}},'
                    f'{{"sid":"mzz~{number * 100 + each}","name":"zz","meta":true,"seconds":60,'
                    '"extras":{},"envelope":{}}]'
                    for each in range(100)
                )
                writer.publish(
                    f"{prefix}:to:{two._cluster.hub}", f'[["mzz","/runtime"],[{frames}]]'
                )
            assert await asker.request("X", 7, timeout=20) == {"number": 7}
            refused, expected = 0, 2_000 - len(mesh.requests)
            async with asyncio.timeout(10):
                while refused < expected:
                    await asyncio.sleep(0)
                    if message := channels.get_message(timeout=0.01):
                        refused += message["data"].count(b'"overloaded"')
            channels.close()
        assert 100 < len(mesh.requests) < 600
        assert refused == expected
