"""A journal of a million tasks that have ended: prints the seconds of a start, and of a look-up."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from alephscript.hub.store.sqlite import SqliteStore
from alephscript.mesh.effects import Look
from alephscript.mesh.records import Record

COUNT = 1_000_000


def fill(path: Path) -> None:
    """Write the tasks as the journal does, in one transaction."""
    database = sqlite3.connect(path)
    payload, result = msgspec.Raw(b'{"sessionId":"s1","fiaIndex":0}'), msgspec.Raw(b'{"ok":true}')

    def rows() -> Iterator[tuple[Any, ...]]:
        now = time.time()
        for number in range(COUNT):
            record = Record(
                f"{number:032x}",
                "/runtime",
                "said me",
                "RUN",
                payload,
                now,
                now + 60,
                key=f"{number}",
                room="R",
                state="done",
                updated=now,
                result=result,
            )
            yield (
                record.id,
                record.namespace,
                record.owner,
                record.key,
                record.room,
                record.state,
                record.created,
                record.updated,
                True,
                record.size,
                msgspec.json.encode(record),
            )

    with database:
        database.executemany("INSERT INTO tasks VALUES (?,?,?,?,?,?,?,?,?,?,?)", rows())
    database.close()


async def main(folder: Path) -> None:
    """Measure."""
    store = SqliteStore(folder)
    await store.open()
    await store.close()
    fill(folder / "tasks.db")
    store = SqliteStore(folder)
    began = time.perf_counter()
    await store.open()
    opened = time.perf_counter() - began
    times = []
    for _ in range(200):
        found = asyncio.get_running_loop().create_future()
        began = time.perf_counter()
        name = f"{random.randrange(COUNT):032x}"
        store.look("/runtime", Look(1, id=name), lambda *said, f=found: f.set_result(said))
        records, _ = await found
        times.append(time.perf_counter() - began)
        assert records[0].id == name
    await store.close()
    sys.stdout.write(f"{opened} {sorted(times)[190]}\n")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
