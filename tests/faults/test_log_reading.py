"""A million events are read back: page by page, in as much memory as a few take."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from alephscript import AlephScriptClient
from alephscript.hub.store.sqlite_log import SqliteLog
from tests.support.peers import Stock
from tests.support.processes import Start

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(200)]

COUNT = 1_000_000
LARGE, SIZE = 30_000, 2_000
GROWTH = 24_000_000
"""Bytes that a hub or a reader may grow by: some pages, and what an allocator keeps of them."""

ROOM = "AAIA_ROOM"


async def fill(folder: Path, count: int, size: int = 0) -> None:
    """Write a log of so many events as a hub would, in one transaction."""
    log = SqliteLog(folder)
    await log.open()
    await log.close()
    now = int(time.time() * 1000)
    with closing(sqlite3.connect(folder / "log.db")) as database, database:
        database.execute(
            "INSERT INTO rooms VALUES (1, '/runtime', ?, 1, ?, ?, -1)",
            (ROOM, count, count * (150 + size)),
        )
        database.executemany(
            "INSERT INTO events VALUES (? + (1 << 44), ?, 'TICK', 'said me', ?, NULL)",
            ((number, now, b"[%d%b]" % (number, b" " * size)) for number in range(1, count + 1)),
        )


def resident(pid: int | str) -> int:
    """Bytes of memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


async def test_a_million_events_are_read_in_constant_memory(start: Start, tmp_path: Path) -> None:
    """By a reader that takes them one by one, and by a stock peer that is told them."""
    await fill(tmp_path, COUNT)
    arguments = ("-m", "alephscript", "hub", "--port", "0", "--log", ROOM, "--data", str(tmp_path))
    hub = await start(*arguments, ready=b"listening on")
    async with AlephScriptClient(hub.url) as reader:
        stream, expected = reader.events(ROOM, since="1h"), 1
        async for event in stream:
            assert event.data == [expected]
            expected += 1
            if expected == 10_000:
                before = resident(hub.pid), resident("self")
            if expected > COUNT:
                break
        after = resident(hub.pid), resident("self")
    assert [now - then < GROWTH for now, then in zip(after, before, strict=True)] == [True, True]


async def test_a_peer_that_reads_slowly_is_told_no_faster(start: Start, tmp_path: Path) -> None:
    """A stock peer, told many events by its subscription, stops reading for a while."""
    await fill(tmp_path, LARGE, SIZE)
    arguments = ("-m", "alephscript", "hub", "--port", "0", "--log", ROOM, "--data", str(tmp_path))
    hub = await start(*arguments, ready=b"listening on")
    peer = Stock("/runtime")
    await peer.connect(hub.url, transports=["websocket"])
    try:
        before = resident(hub.pid)
        answer = await peer.call("CLIENT_SUSCRIBE", {"room": ROOM, "since": "1h"})
        assert answer["success"] is True
        for expected in range(1, 4_000):
            if expected % 1000 == 0:
                time.sleep(0.5)  # noqa: ASYNC251 - it is to be of no use to the hub
            assert await peer.next("TICK") == ("TICK", [expected])
        assert resident(hub.pid) - before < GROWTH
        assert not peer.gone.is_set()
    finally:
        await peer.leave()
