"""A journal of a million tasks that have ended: prints the seconds of a start, and of a look-up.

A start's seconds are those in which it has computed, a look-up's those of every second one: what
else the machine does is no matter.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import sqlite3
import sys
import time
from pathlib import Path

import msgspec

from alephscript.hub.store.sqlite import _SCHEMA, SqliteStore
from alephscript.mesh.effects import Look
from alephscript.mesh.records import Record

COUNT = 1_000_000
NAME = "task{}"


def fill(path: Path) -> None:
    """Write the tasks as the journal does, but for its care: all of them copies of one."""
    now = time.time()
    record = Record(
        NAME.format("X" * 24),
        "/runtime",
        "said me",
        "RUN",
        created=now,
        deadline=now + 60,
        key="X" * 24,
        room="R",
        state="done",
        updated=now,
        payload=msgspec.Raw(b'{"sessionId":"s1"}'),
        result=msgspec.Raw(b'{"ok":true}'),
    )
    fields = (
        "/runtime",
        "said me",
        "R",
        "done",
        now,
        now,
        record.size,
        msgspec.json.encode(record),
    )
    _version, table, *_ = _SCHEMA.split(";")
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode = OFF")
        database.execute("PRAGMA synchronous = OFF")
        database.execute(table)
        database.execute(
            """
            WITH RECURSIVE numbers (text, n) AS (
                SELECT printf('%024d', 0), 0
                UNION ALL SELECT printf('%024d', n + 1), n + 1 FROM numbers WHERE n + 1 < ?1
            )
            INSERT INTO tasks SELECT
                'task' || text, ?2, ?3, text, ?4, ?5, ?6 + n * 1e-6, ?7 + n * 1e-6, 1, ?8,
                CAST(replace(CAST(?9 AS TEXT), 'XXXXXXXXXXXXXXXXXXXXXXXX', text)
                    AS BLOB)
            FROM numbers
            """,
            (COUNT, *fields),
        )
        database.executescript(_SCHEMA)


async def main(folder: Path) -> None:
    """Measure."""
    fill(folder / "tasks.db")
    store = SqliteStore(folder)
    began = time.process_time()
    await store.open()
    opened = time.process_time() - began
    times = []
    for _ in range(200):
        found = asyncio.get_running_loop().create_future()
        began = time.perf_counter()
        name = NAME.format(f"{random.randrange(COUNT):024d}")
        store.look("/runtime", Look(1, id=name), lambda *said, f=found: f.set_result(said))
        records, _ = await found
        times.append(time.perf_counter() - began)
        assert records[0].id == name
    await store.close()
    sys.stdout.write(f"{opened} {sorted(times)[100]}\n")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
