"""Logs of rooms, in memory and in a file: what each keeps, and what goes wrong with one."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from alephscript import GAP, AlephScriptClient, Gap, Overloaded
from alephscript.errors import RequestError
from alephscript.hub import Hub
from alephscript.hub.store.logs import MOST_ROOMS, Log, MemoryLog
from alephscript.hub.store.sqlite_log import SqliteLog
from alephscript.hub.store.store import StoreUnavailable
from alephscript.mesh.effects import ReadLog
from alephscript.mesh.pages import LogEntry, LogPage

pytestmark = pytest.mark.anyio

RUNTIME = "/runtime"
ROOM = "AAIA_ROOM"
NOW = int(time.time() * 1000)
Make = Callable[..., Log]


@pytest.fixture(autouse=True)
def errors_logged() -> None:
    """What goes wrong with a disk is an error of the hub's log."""


@pytest.fixture(params=["memory", "file"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """Makes a log of each kind."""

    def make(**options: Any) -> Log:
        if request.param == "memory":
            return MemoryLog(**options)
        return SqliteLog(tmp_path, **options)

    return make


def entry(number: int, at: int | None = None, size: int = 0) -> LogEntry:
    """An event whose data is a number, and so many bytes."""
    data = msgspec.json.encode([number, "x" * size])
    return LogEntry(0, "TICK", msgspec.Raw(data), "said me", NOW + (number if at is None else at))


async def append(log: Log, *entries: LogEntry, room: str = ROOM) -> list[tuple[str, int, Any]]:
    """Put entries into a log, and return what is told of each."""
    told: list[asyncio.Future[tuple[str, int, RequestError | None]]] = []
    for each in entries:
        future = asyncio.get_running_loop().create_future()
        told.append(future)

        def done(name: str, number: int, error: RequestError | None, future: Any = future) -> None:
            future.set_result((name, number, error))

        log.append(RUNTIME, room, each, done)
    return await asyncio.gather(*told)


async def read(log: Log, room: str = ROOM, most: int = 1000, **query: Any) -> LogPage:
    """Read a page."""
    future: asyncio.Future[LogPage | None] = asyncio.get_running_loop().create_future()
    log.read(RUNTIME, ReadLog(1, "sid", room, most, **query), future.set_result)
    page = await future
    assert page is not None
    return page


def numbers(entries: Sequence[LogEntry]) -> list[int]:
    """What was said."""
    return [msgspec.json.decode(each.data)[0] for each in entries]


async def test_entries_are_numbered_one_by_one_and_read_from_any_place(make: Make) -> None:
    """Forwards from a number or a time, back from a number, and from the end."""
    log = make()
    await log.open()
    told = await append(log, *(entry(number, at=10 * number) for number in range(1, 11)))
    assert [number for _, number, _ in told] == list(range(1, 11))
    assert len({name for name, _, _ in told}) == 1
    page = await read(log, after=3)
    assert (page.history, page.begin, page.first, page.last) == (told[0][0], 3, 1, 10)
    assert numbers(page.entries) == [4, 5, 6, 7, 8, 9, 10]
    assert [each.number for each in page.entries] == [4, 5, 6, 7, 8, 9, 10]
    assert numbers((await read(log, after=0, most=2)).entries) == [1, 2]
    for at, first in ((0, 1), (45, 5), (50, 5), (100, 10), (101, 11)):
        page = await read(log, at=NOW + at)
        assert numbers(page.entries) == list(range(first, 11))
        assert page.begin == first - 1
    page = await read(log, before=6, most=2)
    assert (numbers(page.entries), page.begin) == ([4, 5], 3)
    assert numbers((await read(log, before=99)).entries) == list(range(1, 11))
    assert (await read(log, before=1)).entries == []
    page = await read(log, most=0)
    assert (page.entries, page.begin, page.last) == ([], 10, 10)
    nothing = await read(log, room="OTHER", after=0)
    assert (nothing.entries, nothing.last) == ([], 0)
    assert nothing.history != page.history
    await log.close()


async def test_a_page_has_so_many_bytes_or_one_entry(make: Make) -> None:
    """Large events do not make a page large."""
    log = make()
    await log.open()
    await append(log, *(entry(number, size=100_000) for number in range(5)))
    assert len((await read(log, after=0)).entries) == 2
    assert numbers((await read(log, before=6)).entries) == [3, 4]
    await append(log, entry(5, size=900_000))
    assert numbers((await read(log, after=5)).entries) == [5]
    await log.close()


async def test_what_is_too_much_the_largest_room_loses(make: Make) -> None:
    """Its oldest first; the other rooms keep theirs."""
    log = make(keep_bytes=40_000)
    await log.open()
    await append(log, *(entry(number) for number in range(3)), room="SMALL")
    for begin in range(0, 2000, 100):
        await append(log, *(entry(number) for number in range(begin, begin + 100)))
    await append(log, entry(2000))
    page = await read(log, after=0)
    assert page.first == 2002 - len(page.entries)
    assert 100 < len(page.entries) < 400
    assert numbers(page.entries)[-1] == 2000
    assert numbers((await read(log, room="SMALL", after=0)).entries) == [0, 1, 2]
    assert (await read(log, at=NOW)).has_lost
    assert not (await read(log, at=page.entries[0].at)).has_lost
    await log.close()


async def test_what_is_too_old_is_dropped(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """The numbers go on."""
    monkeypatch.setattr("alephscript.hub.store.sqlite_log._SWEEP_SECONDS", 0.0)
    log = make(keep_seconds=3600)
    await log.open()
    await append(log, *(entry(number, at=number - NOW) for number in range(5)))
    await append(log, entry(5))
    page = await read(log, after=0)
    while len(page.entries) > 1:
        await append(log, entry(6), room="OTHER")
        page = await read(log, after=0)
    assert (numbers(page.entries), page.first, page.last) == ([5], 6, 6)
    assert (await read(log, at=4)).has_lost
    assert not (await read(log, at=5)).has_lost
    await log.close()


async def test_a_clock_that_jumps_moves_no_position(make: Make) -> None:
    """Numbers count on, and what was said since a time is found."""
    log = make()
    await log.open()
    times = [1000, 5000, 1001, 1002, 9000, 1003]
    told = await append(log, *(entry(number, at=at) for number, at in enumerate(times)))
    assert [number for _, number, _ in told] == [1, 2, 3, 4, 5, 6]
    assert numbers((await read(log, at=NOW + 1000)).entries) == [0, 1, 2, 3, 4, 5]
    assert numbers((await read(log, after=2)).entries) == [2, 3, 4, 5]
    await log.close()


async def test_there_are_so_many_rooms(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name costs a stranger nothing, and the log a count that it keeps."""
    assert MOST_ROOMS > 1000
    for module in ("logs", "sqlite_log"):
        monkeypatch.setattr(f"alephscript.hub.store.{module}.MOST_ROOMS", 3)
    log = make()
    await log.open()
    for number in range(3):
        await append(log, entry(number), room=f"{number}")
    ((_, number, error),) = await append(log, entry(3), room="3")
    assert number == 0
    assert isinstance(error, Overloaded)
    assert (await append(log, entry(4), room="1"))[0][1] == 2
    await log.close()


async def test_a_file_goes_on_where_it_was(tmp_path: Path) -> None:
    """With the same name and the next number; what was dropped does not come back."""
    log = SqliteLog(tmp_path, keep_bytes=20_000)
    await log.open()
    for begin in range(0, 500, 50):
        before = await append(log, *(entry(number) for number in range(begin, begin + 50)))
    first = (await read(log, after=0)).first
    await log.close()
    log = SqliteLog(tmp_path, keep_bytes=20_000)
    await log.open()
    ((name, number, error),) = await append(log, entry(500))
    assert (name, number, error) == (before[0][0], 501, None)
    page = await read(log, after=0)
    assert page.first >= first
    assert page.last == 501
    await log.close()


def put_aside(folder: Path) -> list[Path]:
    """The files that were put aside as damaged."""
    return list(folder.glob("log.db.damaged-*"))


async def full(log: SqliteLog, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Let the disk take nothing; return what lets it take something again."""
    put = SqliteLog._put
    is_full = [True]

    def put_if(self: SqliteLog, *arguments: Any) -> None:
        put(self, *arguments)
        if is_full[0]:
            raise sqlite3.OperationalError("database or disk is full")

    def free() -> None:
        is_full[0] = False

    monkeypatch.setattr("alephscript.hub.store.sqlite_log._AGAIN_SECONDS", 0.01)
    monkeypatch.setattr(SqliteLog, "_put", put_if)
    return free


async def test_a_full_disk_makes_a_hole_of_so_many_events(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which is an entry in their place, as soon as there is room again."""
    log = SqliteLog(tmp_path)
    await log.open()
    await append(log, entry(1))
    free = await full(log, monkeypatch)
    for number in range(2, 6):
        ((_, place, error),) = await append(log, entry(number))
        assert place == 0
        assert isinstance(error, Overloaded)
        assert "full" in error.message
        assert error.details == [{"delivered": True}]
    assert "full" in str(log.trouble)
    free()
    while log.trouble is not None:  # noqa: ASYNC110 - it says nothing
        await asyncio.sleep(0.01)
    assert (await append(log, entry(6)))[0][1] == 3
    page = await read(log, after=0)
    assert [each.lost for each in page.entries] == [0, 4, 0]
    assert numbers([page.entries[0], page.entries[2]]) == [1, 6]
    await log.close()


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[Hub]:
    """A hub with a log in a file."""
    async with Hub(port=0, data=tmp_path, log=["*"]) as hub:
        yield hub


async def test_events_go_on_while_the_disk_is_full_and_the_log_says_where_its_hole_is(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hub tells that it has trouble, and whoever heard the events live misses nothing."""
    async with (
        AlephScriptClient(hub.url) as speaker,
        AlephScriptClient(hub.url) as listener,
        AlephScriptClient(hub.url) as reader,
        aiohttp.ClientSession() as http,
        asyncio.timeout(20),
    ):
        await listener.subscribe(ROOM)
        live, since = listener.events(ROOM), listener.events(ROOM, since="1h")
        await speaker.broadcast("TICK", 1, room=ROOM, confirm=True)
        assert [(await anext(each)).data for each in (live, since)] == [1, 1]
        log = hub._engine.log
        assert isinstance(log, SqliteLog)
        free = await full(log, monkeypatch)
        with pytest.raises(Overloaded, match="has heard the event, but the log cannot keep it"):
            await speaker.broadcast("TICK", 2, room=ROOM, confirm=True)
        await speaker.broadcast("TICK", 3, room=ROOM)
        for stream in (live, since):
            events = [await anext(stream) for _ in range(2)]
            assert [(each.data, each.position) for each in events] == [(2, None), (3, None)]
        async with http.get(f"{hub.url}/readyz") as answer:
            assert (answer.status, (await answer.json())["journal"]) == (200, "trouble")
        free()
        while log.trouble is not None:  # noqa: ASYNC110 - it says nothing
            await asyncio.sleep(0.01)
        async with http.get(f"{hub.url}/readyz") as answer:
            assert "journal" not in await answer.json()
        await speaker.broadcast("TICK", 4, room=ROOM, confirm=True)
        assert [(await anext(each)).data for each in (live, since)] == [4, 4]
        late = reader.events(ROOM, since="1h")
        assert [(await anext(late)).data for _ in range(3)] == [1, Gap(2), 4]
        assert (await anext(reader.events(ROOM, GAP, since="1h"))).name == GAP


@pytest.mark.parametrize("damage", ["no database", "torn"])
async def test_a_damaged_file_is_put_aside(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A fresh log is begun, which has another name: old positions are known as another log's."""
    log = SqliteLog(tmp_path)
    await log.open()
    before = await append(log, *(entry(number) for number in range(300)))
    await log.close()
    path = tmp_path / "log.db"
    torn = path.read_bytes()[:5000]
    path.write_bytes(b"no database at all" * 100 if damage == "no database" else torn)
    log = SqliteLog(tmp_path)
    await log.open()
    ((name, number, error),) = await append(log, entry(1))
    while error is not None:  # the damage is seen when something is written
        ((name, number, error),) = await append(log, entry(1))
    assert name != before[0][0]
    assert number == 1
    assert "damaged" in str(log.trouble)
    assert "damaged" in caplog.text
    assert put_aside(tmp_path)
    assert numbers((await read(log, after=0)).entries) == [1]
    await log.close()


async def test_a_folder_that_cannot_be_used_is_said_in_a_sentence(tmp_path: Path) -> None:
    """With what to do."""
    with pytest.raises(StoreUnavailable, match=r"cannot keep a log in .*--data"):
        await SqliteLog(tmp_path / "nowhere").open()


async def test_a_confirmed_event_is_on_the_disk(tmp_path: Path) -> None:
    """Another process that opens the file finds it as soon as the confirmation is there."""
    async with Hub(port=0, data=tmp_path, log=[ROOM]) as hub, AlephScriptClient(hub.url) as speaker:
        for number in range(20):
            await speaker.broadcast("TICK", number, room=ROOM, confirm=True)
            with closing(sqlite3.connect(tmp_path / "log.db")) as database:
                (count,) = database.execute("SELECT count(*) FROM events").fetchone()
            assert count == number + 1
