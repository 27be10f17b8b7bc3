"""What hubs cost each other as there are more of them, counted with up to fifty in virtual time.

Counts, no times: commands of the registry, messages, frames and bytes. The figures are those of
docs/explanation/scale.md.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from redis import Redis

import alephscript
from tests.support.simulation import (
    Member,
    SimulatedCluster,
    SimulatedHub,
    SimulatedRedis,
    cluster_of,
    run,
)

pytestmark = pytest.mark.timeout(60)

HUBS = (2, 10, 50)
"""How many hubs there are, in turn."""

PACKAGE = str(Path(alephscript.__file__).parent)
MOST_CALLS = 61
"""Of Python's functions, for a request from one hub to another and its answer."""

ASKED = 20
"""Requests that each hub's members ask at once."""


async def populated(cluster: SimulatedCluster) -> tuple[list[Member], list[Member]]:
    """Have at each hub a master of a room of its own, and an asker that is in all of them."""
    count = len(cluster.hubs)
    members = await cluster.members(2, lambda at, number: [f"R{at}"] if number == 0 else ["ALL"])
    masters, askers = members[::2], members[1::2]
    for at in range(count):
        await masters[at].call("MAKE_MASTER", {"room": f"R{at}", "features": ["X"]})
    await asyncio.sleep(0.1)
    return masters, askers


async def ask(askers: list[Member], step: int) -> None:
    """Each asker asks at other hubs: all of one if the step is 0, else each time another one."""
    count = len(askers)
    answers = await asyncio.gather(
        *(
            each.call("GET_X", {"a": 1}, {"room": f"R{(at + 1 + number * step) % count}"})
            for at, each in enumerate(askers)
            for number in range(ASKED)
            if number * step % count != count - 1
        )
    )
    assert all(each["success"] for each in answers)


async def costs_of(count: int) -> dict[str, Counter[str]]:
    """Measure all with so many hubs."""
    async with cluster_of(count) as cluster:
        masters, askers = await populated(cluster)
        first = askers[0]

        async def look() -> None:
            await asyncio.gather(*(first.call("GET_SERVER_STATE") for _ in range(30)))

        declared = {"room": "NEW", "features": ["X"]}
        costs = {
            "to one": await cluster.cost(lambda: ask(askers, 0)),
            "to all": await cluster.cost(lambda: ask(askers, 1)),
            "said here": await cluster.cost(lambda: masters[0].say("R0", "E", 1)),
            "said everywhere": await cluster.cost(lambda: masters[0].say("ALL", "F", 1)),
            "declared": await cluster.cost(lambda: masters[0].call("MAKE_MASTER", declared)),
            "looked": await cluster.cost(look),
            "come": await cluster.cost(
                lambda: cluster.members(20, lambda at, _: ["ALL", f"R{at}"])
            ),
        }
        assert all(each.heard["F"] == 1 for each in askers)
        costs["looked again"] = await cluster.cost(look)
        before = cluster.redis.count()
        await asyncio.sleep(10)
        costs["rest"] = cluster.redis.count()
        costs["rest"].subtract(before)
        last = cluster.hubs.pop()
        costs["gone"] = await cluster.cost(last.cluster.close)
        last.engine.close()
        costs["came"] = await cluster.cost(lambda: cluster.grow(count))
        return costs


Costs = dict[int, dict[str, Counter[str]]]


@pytest.fixture(scope="module")
def costs() -> Costs:
    """What things cost, by the number of hubs."""
    return {count: run(costs_of(count)) for count in HUBS}


@pytest.mark.slow
def test_a_request_across_costs_the_same_however_many_hubs_there_are(costs: Costs) -> None:
    """Two frames, and as many bytes; what each hub sends to another one is one message."""
    for count, each in costs.items():
        cost, requests = each["to one"], count * ASKED
        assert cost["frames to"] == 2 * requests
        assert cost["PUBLISH"] == cost["delivered to"] == 2 * count
        assert set(cost) == {
            *("PUBLISH", "delivered to", "frames to", "bytes from hubs", "bytes to hubs")
        }
        assert 200 <= cost["bytes to hubs"] / requests <= 300


@pytest.mark.slow
def test_requests_to_many_hubs_are_more_messages_and_no_more_frames(costs: Costs) -> None:
    """The more hubs there are the fewer frames share a message, down to one."""
    shared = []
    for count, each in costs.items():
        cost = each["to all"]
        assert cost["PUBLISH"] <= 2 * count * min(count - 1, ASKED)
        shared.append(cost["frames to"] / cost["PUBLISH"])
    assert shared == sorted(shared, reverse=True)
    assert shared[0] == ASKED / 2
    assert shared[-1] >= 1


@pytest.mark.slow
def test_an_event_goes_to_the_hubs_that_have_members_and_to_no_others(costs: Costs) -> None:
    """One command, whatever the number of hubs; a room of one hub is nobody else's work."""
    for count, each in costs.items():
        assert (each["said here"]["PUBLISH"], each["said here"]["delivered in"]) == (1, 1)
        cost = each["said everywhere"]
        assert (cost["PUBLISH"], cost["delivered in"]) == (1, count)
        assert cost["bytes to hubs"] / count < 180


@pytest.mark.slow
def test_a_declaration_is_heard_by_all_hubs(costs: Costs) -> None:
    """Two commands, and one notice to each hub, as large as the room has masters."""
    for count, each in costs.items():
        cost = each["declared"]
        assert (cost["claim"], cost["PING"], cost["PUBLISH"]) == (1, 1, 0)
        assert cost["delivered notices"] == count
        assert cost["bytes to hubs"] / count < 450


@pytest.mark.slow
def test_who_asks_for_the_state_asks_all_hubs(costs: Costs) -> None:
    """Two frames for each other hub, which grow with its members; a burst shares two surveys."""
    for count, each in costs.items():
        assert each["looked"]["frames to"] == 2 * 2 * (count - 1)
        assert each["looked again"]["frames to"] == 2 * 2 * (count - 1)
        few, many = (each[name]["bytes to hubs"] for name in ("looked", "looked again"))
        assert 5 < many / few < 11  # of 2 members a hub, and of 22


@pytest.mark.slow
def test_a_hub_gives_one_sign_of_life_however_many_others_there_are(costs: Costs) -> None:
    """Twice a second; Redis looks after all others in it."""
    for count, each in costs.items():
        cost = each["rest"]
        assert count * 19 <= cost["beat"] <= count * 21
        assert cost["delivered to"] == cost["delivered notices"] == cost["PUBLISH"] == 0
        assert cost["bytes from hubs"] / cost["beat"] < 200


@pytest.mark.slow
def test_hubs_that_come_and_go_are_heard_of_by_all(costs: Costs) -> None:
    """With one notice for each room that they have mastered, and one for the hub."""
    for count, each in costs.items():
        assert each["gone"]["leave"] == 1
        assert each["gone"]["delivered notices"] in {2 * count, 2 * (count - 1)}
        assert each["came"]["join"] == each["came"]["dump"] == 1
        assert each["came"]["delivered notices"] == count


@pytest.mark.slow
def test_members_cost_other_hubs_nothing(costs: Costs) -> None:
    """However many come to rooms that their hubs have members in."""
    for each in costs.values():
        assert set(each["come"]) <= {"bytes from hubs", "bytes to hubs"}  # of signs of life


@pytest.mark.slow
def test_a_request_across_takes_so_many_calls() -> None:
    """Of Python's functions in this package, at both hubs, where twenty are asked at once."""

    async def main() -> float:
        async with cluster_of(2) as cluster:
            _, askers = await populated(cluster)
            await ask(askers, 0)
            count = 0

            def look(frame: FrameType, event: str, _: Any) -> None:
                nonlocal count
                is_ours = frame.f_code.co_filename.startswith(PACKAGE)
                count += event == "call" and is_ours

            sys.setprofile(look)
            try:
                await ask(askers, 0)
            finally:
                sys.setprofile(None)
            return count / (2 * ASKED)

    assert run(main()) <= MOST_CALLS


# The simulation beside Redis itself


async def play(cluster: SimulatedCluster) -> None:
    """Have masters come, displace each other, share, go, and take a hub with them."""
    members = await cluster.members(2, lambda *_: [])
    for number, (room, group) in enumerate(
        [
            *(("A", "single"), ("A", "single"), ("B", "shared"), ("B", "shared"), ("C", "standby")),
            *(("C", "standby"), ("A", "shared"), ("D", "single"), ("B", "shared")),
        ]
    ):
        declared = {"room": room, "features": ["X"], "group": group}
        await members[number % 6].call("MAKE_MASTER", declared)
    await members[2].call("RELEASE_MASTER", {"room": "B"})
    last = cluster.hubs.pop()
    await last.cluster.close()
    last.engine.close()
    await asyncio.sleep(0.1)


def table(cluster: SimulatedCluster, rooms: dict[str, Any]) -> dict[str, Any]:
    """What stands in a registry, by the numbers of hubs."""
    names = [each.cluster.hub for each in cluster.hubs]
    return {
        field: (
            record["epoch"],
            [(names.index(hub), sid.split("~")[1], group) for hub, sid, group, _ in masters],
        )
        for field, record in rooms.items()
        for masters in [record["masters"]]
    }


def simulated() -> tuple[dict[str, Any], int]:
    """Play with the simulation."""

    async def main() -> tuple[dict[str, Any], int]:
        async with cluster_of(3) as cluster:
            await play(cluster)
            return table(cluster, cluster.redis.rooms), cluster.redis.seq

    return run(main())


@pytest.mark.peers
def test_the_simulation_decides_as_redis_does(shared_redis: Any) -> None:
    """The same masters, epochs and decisions."""
    url = shared_redis.url()
    database = int(url.rpartition("/")[2])

    async def main() -> tuple[dict[str, Any], int]:
        cluster = SimulatedCluster(SimulatedRedis())
        for _ in range(3):
            hub = SimulatedHub(url)
            await hub.cluster.open()
            cluster.hubs.append(hub)
        await play(cluster)
        with Redis(port=shared_redis.port, db=database) as reader:
            kept: Any = reader.hgetall(f"alephscript:{database}:rooms")
            seq: Any = reader.get(f"alephscript:{database}:seq")
        rooms = {field.decode(): json.loads(record) for field, record in kept.items()}
        found = table(cluster, rooms), int(seq)
        for hub in cluster.hubs:
            hub.engine.close()
            await hub.cluster.close()
        return found

    assert asyncio.run(main()) == simulated()
