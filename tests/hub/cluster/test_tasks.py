"""Tasks of which something is lost between hubs: each ends at once as its master has ended it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any

import pytest

from alephscript import AlephScriptClient, MasterLost, capability
from alephscript.hub import Hub
from tests.support.redis import RedisCluster, RedisServer

pytestmark = [pytest.mark.anyio, pytest.mark.peers, pytest.mark.slow]


class Bot(AlephScriptClient):
    """Counts how often it runs."""

    rooms = ("WORK",)
    ran = 0

    @capability("RUN")
    async def run(self, number: int) -> dict[str, Any]:
        """Say it again."""
        self.ran += 1
        return {"number": number}


@pytest.mark.parametrize("cut", ["the master's", "the task's", "both"])
async def test_a_result_that_is_lost_between_hubs_is_taken_when_they_meet_again(
    own_redis: RedisServer, cut: str
) -> None:
    """The link to Redis that is cut takes the answer along; the master has kept it."""
    url = own_redis.url()
    async with (
        Hub(port=0, redis=url) as one,
        Hub(port=0, redis=url) as other,
        Bot(one.url) as bot,
        AlephScriptClient(other.url, usuario="me") as me,
    ):
        clusters = [_cluster_of(hub) for hub in (one, other)]
        send, is_lost = clusters[0].send, asyncio.Event()

        def lose(hub: str, namespace: str, frame: Sequence[Any]) -> None:
            if frame[0] == "answer":
                is_lost.set()
            else:
                send(hub, namespace, frame)

        clusters[0].send = lose
        task = await me.submit("RUN", 1, timeout=60)
        async with asyncio.timeout(10):
            await is_lost.wait()
        clusters[0].send = send
        if cut == "both":  # with what they hear of the journal
            for kind in ("normal", "pubsub"):
                own_redis.command("client", "kill", "type", kind)
        else:
            clusters[cut == "the task's"]._registry._commands.fail(ConnectionError("cut"))
        assert await task.result(timeout=10) == {"number": 1}
        assert bot.ran == 1


async def test_tasks_go_on_where_the_slot_of_their_journal_moves(
    redis_cluster: RedisCluster,
) -> None:
    """Whatever is asked about them next: the former node sends all elsewhere."""
    async with (
        Hub(port=0, redis=redis_cluster.url) as one,
        Hub(port=0, redis=redis_cluster.url) as other,
        Bot(one.url),
        AlephScriptClient(other.url, usuario="me") as me,
    ):
        before = await me.submit("RUN", 1, timeout=60)
        assert await before.result(timeout=10) == {"number": 1}
        for to in (redis_cluster.nodes[1], redis_cluster.nodes[2]):
            await asyncio.to_thread(redis_cluster.move, "{alephscript:0}", to)
            assert before.id in {each.id for each in await me.tasks()}
            assert (await me.task(before.id).status()).result == {"number": 1}
            while True:
                after = await me.submit("RUN", 2, timeout=60)
                with contextlib.suppress(MasterLost):  # hubs have to find that node, too
                    assert await after.result(timeout=20) == {"number": 2}
                    break


def _cluster_of(hub: Hub) -> Any:
    assert hub._membership is not None
    return hub._membership.cluster
