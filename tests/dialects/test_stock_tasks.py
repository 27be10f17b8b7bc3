"""Tasks of stock peers: python-socketio and Node clients that know nothing but the wire."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from alephscript import AlephScriptClient, capability
from alephscript.hub import Hub
from tests.support.node import line_of, node_process
from tests.support.peers import Join

pytestmark = pytest.mark.anyio


class Bot(AlephScriptClient):
    """Echoes when it may."""

    rooms = ("R",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.go = asyncio.Event()

    @capability("ECHO")
    async def echo(self, payload: dict[str, Any]) -> dict[str, Any]:
        """Say it again."""
        await self.go.wait()
        return {"echo": payload}


async def tell(node: str, hub: Hub, event: str, payload: Any) -> dict[str, Any]:
    """Have a stock Node client send one event, and return the answer."""
    arguments = ("--url", hub.url, "--event", event, "--payload", json.dumps(payload))
    async with node_process(node, "tasks.mjs", *arguments) as process:
        answer: dict[str, Any] = json.loads(await line_of(process))
        return answer


@pytest.mark.peers
async def test_a_node_client_submits_and_goes_and_another_one_reads_the_result(
    hub: Hub, node: str
) -> None:
    """By the events of the wire alone."""
    async with Bot(hub.url) as bot:
        submitted = await tell(
            node, hub, "TASK_SUBMIT", {"capability": "ECHO", "payload": {"n": 1}}
        )
        assert submitted["success"] is True
        task = submitted["task"]
        assert (task["capability"], task["room"], task["state"]) == ("ECHO", "R", "queued")
        listed = await tell(node, hub, "TASK_LIST", {})
        assert [each["id"] for each in listed["tasks"]] == [task["id"]]
        bot.go.set()
        read = await tell(node, hub, "TASK_GET", {"id": task["id"], "waitMs": 5000})
    assert read["success"] is True
    assert read["task"]["state"] == "done"
    assert read["task"]["result"] == {"echo": {"n": 1}}
    assert read["task"].keys() == {
        *("id", "capability", "room", "state", "progress", "question", "attempts", "created"),
        *("updated", "result"),
    }


async def test_a_stock_submitter_hears_of_its_task_and_a_stock_master_runs_it(join: Join) -> None:
    """Without being in the room; a member of the room hears of it without the result."""
    master = await join("M")
    master.serve("X", lambda payload: {"success": True, "n": payload})
    await master.call("MAKE_MASTER", {"room": "R", "features": ["X"]})
    asker, member = await join("A"), await join("B", "R")
    told: asyncio.Queue[Any] = asyncio.Queue()
    heard: asyncio.Queue[Any] = asyncio.Queue()
    asker.sio.on("TASK_CHANGED", told.put, namespace=asker.namespace)
    member.sio.on("TASK_CHANGED", heard.put, namespace=member.namespace)
    answer = await asker.call("TASK_SUBMIT", {"capability": "X", "payload": 7, "room": "R"})
    changes = [await told.get() for _ in range(3)]
    assert {each["task"]["id"] for each in changes} == {answer["task"]["id"]}
    assert [each["task"]["state"] for each in changes] == ["queued", "running", "done"]
    assert changes[-1]["task"]["result"] == {"n": 7}
    public = [await heard.get() for _ in range(3)]
    assert [each["task"]["state"] for each in public] == ["queued", "running", "done"]
    assert not any({"payload", "result"} & each["task"].keys() for each in public)


async def test_a_stock_submitter_that_comes_back_hears_of_its_tasks_again(join: Join) -> None:
    """By its name, whatever its session; nobody else does."""
    first = await join("A")
    task = (await first.call("TASK_SUBMIT", {"capability": "X", "room": "R"}))["task"]
    await first.sio.disconnect()
    told: asyncio.Queue[Any] = asyncio.Queue()
    again, other = await join("A"), await join("B")
    again.sio.on("TASK_CHANGED", told.put, namespace=again.namespace)
    other.sio.on("TASK_CHANGED", lambda _: told.put("other"), namespace=other.namespace)
    await other.call("TASK_CANCEL", {"id": task["id"]})
    await other.call("TASK_GET", {"id": task["id"]})
    assert (await told.get())["task"]["state"] == "cancelled"
    assert told.empty()


async def test_a_stock_peer_cancels_waits_and_is_told_what_is_wrong(join: Join) -> None:
    """Each event is acknowledged."""
    asker = await join("A")
    task = (await asker.call("TASK_SUBMIT", {"capability": "X", "key": "k"}))["task"]
    again = (await asker.call("TASK_SUBMIT", {"capability": "X", "key": "k"}))["task"]
    assert again["id"] == task["id"]
    waited = await asker.call("TASK_GET", {"id": task["id"], "waitMs": 50})
    assert waited["success"] is True
    assert waited["task"]["state"] == "queued"
    refused = await asker.call("TASK_ANSWER", {"id": task["id"], "payload": {}})
    assert refused["code"] == "conflict"
    assert (await asker.call("TASK_GET", {"id": "f" * 32}))["code"] == "unknown_task"
    cancelled = await asker.call("TASK_CANCEL", {"id": task["id"]})
    assert cancelled["task"]["state"] == "cancelled"
    assert cancelled["task"]["error"]["code"] == "cancelled"
    assert (await asker.call("TASK_RESUME", {"runs": []}))["code"] == "unknown_event"
