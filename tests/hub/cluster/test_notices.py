"""What a hub finds in Redis and does not understand: skipped and logged; a hub never drops out."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from typing import Any

import pytest
from redis import Redis

from alephscript import AlephScriptClient, capability
from alephscript.hub import Hub, HubError
from alephscript.hub.cluster import redis as registries
from alephscript.hub.cluster.addresses import show_address
from alephscript.hub.cluster.frames import MALFORMED, read_notice, read_notice_number

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]


class Bot(AlephScriptClient):
    """Says what it is told."""

    rooms = ("R",)

    @capability("X")
    async def x(self, payload: Any) -> dict[str, Any]:
        """Say it again."""
        return {"said": payload}


DEEP = "[" * 90_000 + "]" * 90_000

RECORD = '{"kind": "room", "seq": SEQ, "field": "/runtime\\nR", "record": RECORD}'
MASTER = '{"epoch": 1, "masters": [["h", "s", "single", "ENTRY"]]}'
NOTICES: dict[str, str | bytes] = {
    "nothing": "",
    "no JSON": "{",
    "no UTF-8": b"\xff\xfe{}",
    "truncated": '{"kind": "room", "seq": 5, "field": "/runt',
    "too deep": DEEP,
    "too deep within": '{"kind": "room", "seq": 5, "field": ' + DEEP + "}",
    "a list": "[]",
    "a number": "5",
    "without all": "{}",
    "without kind": '{"seq": SEQ}',
    "without number": '{"kind": "gone", "hub": "zz"}',
    "of an unknown kind": '{"kind": "moved", "hub": "HUB", "seq": SEQ}',
    "of a kind that is a list": '{"kind": ["gone"], "hub": "HUB", "seq": SEQ}',
    "of a kind that is null": '{"kind": null, "hub": "HUB", "seq": SEQ}',
    "a number that is a text": '{"kind": "gone", "hub": "HUB", "seq": "5"}',
    "a number that is true": '{"kind": "gone", "hub": "HUB", "seq": true}',
    "a number that is none": '{"kind": "gone", "hub": "HUB", "seq": -1}',
    "a number beyond": '{"kind": "moved", "hub": "HUB", "seq": 9007199254740991}',
    "a hub that is a number": '{"kind": "gone", "hub": 5, "seq": SEQ}',
    "a hub that is a list": '{"kind": "came", "hub": [], "seq": SEQ}',
    "no hub": '{"kind": "came", "seq": SEQ}',
    "no field": '{"kind": "room", "seq": SEQ, "record": {"epoch": 1, "masters": []}}',
    "a field of one part": '{"kind": "room", "seq": SEQ, "field": "R", "record": {}}',
    "no record": '{"kind": "room", "seq": SEQ, "field": "/runtime\\nR"}',
    **{
        f"record {number}": RECORD.replace("RECORD", record)
        for number, record in enumerate(
            (
                "5",
                "[]",
                '{"epoch": "1", "masters": []}',
                '{"epoch": -1, "masters": []}',
                '{"epoch": 1.5, "masters": []}',
                '{"epoch": 1, "masters": 5}',
                '{"epoch": 1, "masters": [5]}',
                '{"epoch": 1, "masters": [[]]}',
                MASTER.replace('"ENTRY"', "5"),
                MASTER.replace("ENTRY", "{"),
                MASTER.replace("ENTRY", DEEP),
                MASTER.replace("ENTRY", '[5, false, {\\"room\\": \\"R\\"}]'),
                MASTER.replace("ENTRY", '[\\"n\\", 5, {\\"room\\": \\"R\\"}]'),
                MASTER.replace("ENTRY", '[\\"n\\", false, {\\"room\\": 5}]'),
                MASTER.replace("ENTRY", '[\\"n\\", false, {\\"room\\": \\"R\\"}]').replace(
                    '"s"', "5"
                ),
            )
        )
    },
}
"""What Redis may publish to all hubs and no hub of this version writes."""

FRAMES = {
    "deep": '["zz", "/runtime", "ask", 1, ' + DEEP + "]",
    "no JSON": "[",
    "no list": "{}",
    "short": '["zz"]',
    "of no namespace": '["zz", "/nowhere", "lost", 1, "s"]',
    "of an unknown kind": '["zz", "/runtime", "gone", "HUB"]',
    "of a namespace that is a list": '["zz", [], "lost", 1, "s"]',
    "wrong fields": '["zz", "/runtime", "ask", 1, 2, 3, 4, 5, 6]',
    "a census that is none": '["zz", "/runtime", "census", 1, 5]',
    "a survey without number": '["zz", "/runtime", "survey"]',
}
ANNOUNCEMENTS = {
    "deep": '["zz", "E", ' + DEEP + ', "s"]',
    "no JSON": "[",
    "short": '["zz", "E"]',
    "an event that is none": '["zz", 5, {}, "s"]',
    "an event that no peer survives": '["zz", "disconnect", {}, "s"]',
    "a sender that is none": '["zz", "E", {}, 5]',
}

CASES = [
    *(pytest.param("notices", text, id=f"notice {name}") for name, text in NOTICES.items()),
    *(pytest.param("to:HUB", text, id=f"frame {name}") for name, text in FRAMES.items()),
    *(
        pytest.param("in:/runtime\nR", text, id=f"announcement {name}")
        for name, text in ANNOUNCEMENTS.items()
    ),
]


def publish(client: Redis, database: str, hub: str, channel: str, text: str | bytes) -> None:
    """Write something for a hub, as a decision of its own if it is one."""
    prefix = f"alephscript:{database}"
    data = text if isinstance(text, bytes) else text.replace("HUB", hub).encode()
    if b"SEQ" in data:
        data = data.replace(b"SEQ", str(client.incr(f"{prefix}:seq")).encode())
    assert client.publish(f"{prefix}:{channel.replace('HUB', hub)}", data) == 1


@pytest.mark.peers
@pytest.mark.parametrize(("channel", "text"), CASES)
async def test_what_is_not_understood_is_logged_and_skipped(
    shared_redis: Any, caplog: pytest.LogCaptureFixture, channel: str, text: str | bytes
) -> None:
    """Once each, and what comes after that is followed without joining again."""
    url = shared_redis.url()
    database = url.rpartition("/")[2]
    async with Hub(port=0, redis=url) as hub, AlephScriptClient(hub.url) as client:
        await client.subscribe("R")
        assert hub._cluster is not None
        with Redis(port=shared_redis.port, db=int(database)) as writer:
            publish(writer, database, hub._cluster.hub, channel, text)
        # Both go through Redis, behind what was written.
        async with Bot(hub.url, sesion="2"):
            assert await client.request("X", 1) == {"said": 1}
        assert hub._engine.why_not_ready is None
        assert hub._engine.refusals == {"hub_garbage": 1}
    records = [each for each in caplog.records if each.name.startswith("alephscript.hub.")]
    assert [each.levelno for each in records] == [logging.ERROR]
    assert all("makes no sense" in each.getMessage() for each in records)
    caplog.clear()


@pytest.mark.parametrize("text", NOTICES.values(), ids=NOTICES)
def test_a_notice_of_no_sense_is_none(text: str | bytes) -> None:
    """The same without a Redis, and whatever of it is cut off."""
    data = text if isinstance(text, bytes) else text.replace("SEQ", "7").encode()
    for end in (len(data), len(data) // 2, len(data) // 3):
        with pytest.raises(MALFORMED):
            read_notice(data[:end])
        assert read_notice_number(data[:end]) in {None, 7, 9007199254740991}


@pytest.mark.peers
@pytest.mark.parametrize("text", [None, '{"kind": "room", "seq": SEQ, "field": "/runt'])
async def test_a_decision_that_is_missing_is_noticed(
    shared_redis: Any, caplog: pytest.LogCaptureFixture, text: str | None
) -> None:
    """What makes no sense is no gap, but for a notice of which not even the number is known."""
    url = shared_redis.url()
    database = url.rpartition("/")[2]
    async with Hub(port=0, redis=url) as hub, AlephScriptClient(hub.url) as client:
        assert hub._cluster is not None
        with Redis(port=shared_redis.port, db=int(database)) as writer:
            if text is None:
                writer.incr(f"alephscript:{database}:seq")
            else:
                publish(writer, database, hub._cluster.hub, "notices", text)
        async with Bot(hub.url, sesion="2"):
            assert await client.request("X", 1) == {"said": 1}
    assert "adrift: a decision of the registry was missed; local work goes on" in caplog.messages
    assert "joined again" in caplog.messages
    caplog.clear()


@pytest.mark.peers
@pytest.mark.parametrize(
    "record",
    [
        "",
        "{",
        "5",
        "{}",
        '{"epoch": 1}',
        '{"epoch": 1, "masters": [5]}',
        '{"epoch": [], "masters": []}',
    ],
)
async def test_what_stands_in_redis_and_makes_no_sense_is_overwritten(
    shared_redis: Any, caplog: pytest.LogCaptureFixture, record: str
) -> None:
    """A hub comes all the same, and its members master the room."""
    url = shared_redis.url()
    database = url.rpartition("/")[2]
    with Redis(port=shared_redis.port, db=int(database)) as writer:
        for field in ("/runtime\nR", "no field"):
            writer.hset(f"alephscript:{database}:rooms", field, record)
        writer.sadd(f"alephscript:{database}:hubs", b"\xff")
        async with Hub(port=0, redis=url) as hub, Bot(hub.url) as bot:
            assert await bot.request("X", 1) == {"said": 1}
            kept = writer.hget(f"alephscript:{database}:rooms", "/runtime\nR")
            assert isinstance(kept, bytes)
            assert json.loads(kept)["masters"]
    assert "a decision of the registry makes no sense" in caplog.messages
    assert not [each for each in caplog.messages if "adrift" in each]
    caplog.clear()


# The task that keeps a hub in the cluster


async def until(true: Callable[[], bool]) -> None:
    """Wait until it is so."""
    async with asyncio.timeout(15):
        while not true():  # noqa: ASYNC110 - nobody says when
            await asyncio.sleep(0.01)


@pytest.mark.peers
async def test_a_task_that_ends_begins_anew_and_readyz_tells_the_truth(
    shared_redis: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever ended it; masters are there again afterwards, and so is the lease."""
    async with Hub(port=0, redis=shared_redis.url()) as hub, Bot(hub.url) as bot:
        assert hub._cluster is not None
        registry: Any = hub._cluster._registry
        task = registry._task
        task.cancel()
        await until(lambda: registry._task is not task)
        assert hub._engine.why_not_ready == "adrift"
        await until(lambda: hub._engine.why_not_ready is None)
        assert await bot.request("X", 1) == {"said": 1}
        assert "adrift: the task of the registry has ended" in caplog.messages
        assert "joined again" in caplog.messages
    assert registry._task is None
    caplog.clear()


@pytest.mark.peers
@pytest.mark.parametrize("error", [RecursionError, AttributeError, asyncio.CancelledError])
@pytest.mark.parametrize("at", ["_hear", "_beat", "_write", "_join"])
async def test_what_nobody_foresaw_sets_a_hub_adrift_for_a_moment(
    shared_redis: Any,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    error: type[BaseException],
    at: str,
) -> None:
    """In any of its tasks, or while it joins again; then it is in as before."""
    original = getattr(registries.RedisRegistry, at)
    raised = asyncio.Event()

    async def fail(self: Any) -> None:
        if not raised.is_set():
            raised.set()
            raise error
        await original(self)

    async with Hub(port=0, redis=shared_redis.url()) as hub, Bot(hub.url) as bot:
        assert hub._cluster is not None
        registry: Any = hub._cluster._registry
        monkeypatch.setattr(registries.RedisRegistry, at, fail)
        registry._go_adrift()
        registry._task.cancel()
        async with asyncio.timeout(15):
            await raised.wait()
        # While it joins again the error is one attempt more; afterwards, once more adrift.
        joined = 1 if at == "_join" else 2
        await until(lambda: caplog.messages.count("joined again") == joined)
        assert hub._engine.why_not_ready is None
        assert await bot.request("X", 1) == {"said": 1}
    caplog.clear()


# What an address says to those who read it

SECRET = "hunter2"
ADDRESSES = [
    "redis://:SECRET@127.0.0.1:1/0",
    "redis://me:SECRET@127.0.0.1:1",
    "rediss://me:SECRET@127.0.0.1:1/0",
    "redis://me:SECRET@[::1]:1/0",
    "redis://me:a@SECRET@127.0.0.1:1/0",
    "redis://me:a@SECRET@b@127.0.0.1:1/0",
    "redis://me:SECRET/x@127.0.0.1:1/0",
    "redis://me:a/SECRET@127.0.0.1:1/0",
    "redis://me:1/SECRET@127.0.0.1:1/0",
    "redis://me:1?SECRET@127.0.0.1:1/0",
    "redis://me:a#SECRET@127.0.0.1:1/0",
    "redis://me:SECRET#@127.0.0.1:1/0",
    "redis://127.0.0.1:1/0?password=SECRET",
    "redis://127.0.0.1:1/0?username=me&password=SECRET",
    "redis://127.0.0.1:1/0?socket_timeout=SECRET",
    "redis://127.0.0.1:1/0?max_connections=SECRET",
    "redis://me:[SECRET@127.0.0.1:1/0",
    "redis://me:SECRET@127.0.0.1:port/0",
    "unix://me:SECRET@/nowhere.sock",
    "http://me:SECRET@127.0.0.1:1",
    "me:SECRET@127.0.0.1:1",
    "//me:SECRET@127.0.0.1:1",
    "SECRET",
]
"""Addresses with a password somewhere, of which some are none; nobody answers at any of them."""


@pytest.mark.parametrize("address", ADDRESSES)
async def test_no_text_has_the_password_of_a_redis(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, address: str
) -> None:
    """Neither the error, nor what it is raised from, nor the log."""
    url = address.replace("SECRET", SECRET)
    with pytest.raises(HubError) as caught:
        async with Hub(port=0, redis=url):
            pass
    shown: BaseException | None = caught.value
    while shown is not None:
        assert SECRET not in f"{shown} {shown!r}"
        shown = shown.__cause__ or (None if shown.__suppress_context__ else shown.__context__)
    assert SECRET not in caplog.text
    assert SECRET not in "".join(capsys.readouterr())
    assert SECRET not in (show_address(url) or "")


def test_an_address_is_shown_as_far_as_it_helps() -> None:
    """Host, port and database, which one looks for who cannot reach it."""
    assert show_address("redis://me:a@b@127.0.0.1:6379/0?x=1") == "redis://127.0.0.1:6379/0"
    assert show_address("rediss://redis.example.org") == "rediss://redis.example.org"
    assert show_address("redis://:a@[::1]:6379") == "redis://[::1]:6379"
    assert show_address("redis://a/b@c") is None
