"""Hubs of two versions in one cluster: what the last release wrote is recorded beside this file.

The record was made with two hubs of commit 94d3484 by `record` below: a request across, an event, a
retained value, a cancellation, who is there, presence, hubs that come and go.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from alephscript import AlephScriptClient, capability
from alephscript.hub import Hub
from alephscript.hub.cluster import cluster
from alephscript.hub.cluster.frames import (
    HubNotice,
    read_message,
    read_notice,
    read_standings,
    read_values,
)
from alephscript.hub.cluster.signing import OPEN
from alephscript.hub.engine import Engine
from alephscript.mesh.foreign import read_announcement, read_frame

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]

FILE = Path(__file__).parent / "recorded/messages.json"
RECORDED: dict[str, Any] = json.loads(FILE.read_text())


class Bot(AlephScriptClient):
    """Answers, tells the room, and takes long."""

    rooms = ("R",)

    @capability("X")
    async def x(self, number: int) -> dict[str, Any]:
        """Say it again."""
        await self.broadcast("HAPPENED", number)
        return {"number": number}

    @capability("SLOW")
    async def slow(self, number: int) -> dict[str, Any]:
        """Take longer than anybody waits."""
        await asyncio.sleep(60)
        return {"number": number}


def published(channels: Any) -> list[tuple[str, str]]:
    """What was published since the last time, without the prefix of its channel."""
    found = []
    while (message := channels.get_message(timeout=0.2)) is not None:
        found.append((message["channel"].decode().split(":", 2)[2], message["data"].decode()))
    return found


async def record(server: Any, url: str) -> dict[str, Any]:
    """Have two hubs of this version do what the record is of."""
    database = int(url.rpartition("/")[2])
    with Redis(port=server.port, db=database) as reader:
        pubsub: Any = reader.pubsub
        channels = pubsub(ignore_subscribe_messages=True)
        channels.psubscribe(f"alephscript:{database}:*")
        assert channels.get_message(timeout=5) is None  # it is subscribed
        async with (
            Hub(port=0, redis=url) as one,
            Hub(port=0, redis=url) as two,
            Bot(two.url, usuario="bot", sesion="1"),
        ):
            async with AlephScriptClient(one.url, usuario="asker", sesion="2") as asker:
                await asker.subscribe("R", presence=True)
                await asker.request("X", 7)
                await asker.broadcast("STATE", {"a": 1}, room="R", retain=True)
                waiting = asyncio.create_task(asker.request("SLOW", 1, timeout=20))
                await asker.server_state()
                waiting.cancel()
                await asker.members("R")
                tables = {
                    name: {
                        key.decode(): value.decode()
                        for key, value in reader.hgetall(f"alephscript:{database}:{name}").items()
                    }
                    for name in ("rooms", "retained")
                }
            # Else the bot's leave is told, too, which is not in the record.
            watched = two._engine.meshes["/runtime"].rooms.presences.rooms
            while "R" in watched:  # noqa: ASYNC110 - there is no event
                await asyncio.sleep(0.01)
        messages = published(channels)
        channels.close()
    return {"messages": messages, **tables}


def form(value: Any) -> Any:
    """The form of a value: texts that are JSON are looked into, and lists by their members."""
    if isinstance(value, dict):
        return {key: form(each) for key, each in value.items()}
    if isinstance(value, list):
        return [form(each) for each in value]
    if isinstance(value, str) and value[:1] in {"[", "{"}:
        return form(json.loads(value))
    return value if value in EVENTS else type(value).__name__


EVENTS = (
    *("ask", "answer", "cancel", "survey", "census", "watch", "unwatch", "present"),
    *("came", "gone", "room", "value"),
)


def forms(messages: list[Any]) -> set[str]:
    """The forms of all that was published: of each frame and announcement, and of each notice."""
    found = set()
    for channel, text in messages:
        value = json.loads(text)
        if channel.endswith("notices"):
            value.pop("version", None)  # which no reader of before looks at
            found.add(json.dumps(form(value), sort_keys=True))
        else:
            _, items = value
            kind = channel.split(":")[0]
            found |= {f"{kind} {json.dumps(form(each), sort_keys=True)}" for each in items}
    return found


def test_what_the_last_release_wrote_is_understood() -> None:
    """All of it: frames, what is said in rooms, notices, and what stands in the registry."""
    failures: list[Exception] = []
    kinds = set()
    for channel, text in RECORDED["messages"]:
        if channel.endswith("notices"):
            notice, _ = read_notice(text.encode(), OPEN, failures.append)
            kinds.add(type(notice).__name__)
            assert not isinstance(notice, HubNotice) or notice.version == ""
            continue
        _, items = read_message(text.encode())
        for item in items:
            kinds.add(
                read_announcement(item)[0] if channel.startswith("in:") else read_frame(item)[1]
            )
    assert kinds == {
        *("HubNotice", "RoomNotice", "ValueNotice", "HAPPENED", "ask", "answer", "cancel"),
        *("survey", "census", "watch", "unwatch", "present"),
    }
    for name, read in (("rooms", read_standings), ("retained", read_values)):
        pairs = [each.encode() for pair in RECORDED[name].items() for each in pair]
        assert read(pairs, OPEN, failures.append)
    assert failures == []


@pytest.mark.peers
async def test_what_this_version_writes_the_last_release_reads(
    shared_redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each frame, notice and record for a hub of such a name has a form of the last release."""
    monkeypatch.setattr(cluster, "make_hub_name", lambda: f"m{secrets.token_hex(6)}")
    url = shared_redis.url()
    now = await record(shared_redis, url)
    assert forms(now["messages"]) == forms(RECORDED["messages"])
    assert form(now["rooms"]) == form(RECORDED["rooms"])
    assert [form(each.split(" ", 1)[-1]) for each in now["retained"].values()] == [
        form(each.split(" ", 1)[-1]) for each in RECORDED["retained"].values()
    ]


@pytest.mark.peers
async def test_a_hub_of_another_version_is_named_as_one(
    shared_redis: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the hubs that are there when it comes; one of the same version is not worth a line."""
    caplog.set_level("INFO", "alephscript.hub.redis")
    url = shared_redis.url()
    async with Hub(port=0, redis=url) as here:
        async with Hub(port=0, redis=url):
            pass
        assert not [each for each in caplog.messages if "has come" in each]
        monkeypatch.setattr(Engine, "about", lambda _: {"version": "9.9"})
        async with Hub(port=0, redis=url) as newer:
            assert newer._cluster is not None
            name = newer._cluster.hub
        with Redis(port=shared_redis.port, db=int(url.rpartition("/")[2])) as writer:
            key = f"alephscript:{url.rpartition('/')[2]}"
            older = {"kind": "came", "hub": "0123456789ab", "seq": writer.incr(f"{key}:seq")}
            writer.publish(f"{key}:notices", json.dumps(older))
        async with asyncio.timeout(10):
            while len([each for each in caplog.messages if "has come" in each]) < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    newer_line, older_line = (each for each in caplog.messages if "has come" in each)
    assert f"hub {name} has come, of version 9.9; this hub is of version" in newer_line
    assert "hub 0123456789ab has come, of version unknown, an earlier one" in older_line
    assert here._cluster is not None
