"""The journals of tasks keep the same promises, each its own way."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from alephscript.errors import Overloaded, RequestError
from alephscript.hub import Hub
from alephscript.hub.cluster.cluster import Cluster
from alephscript.hub.store import redis, sqlite
from alephscript.hub.store.memory import MemoryStore
from alephscript.hub.store.redis import RedisStore
from alephscript.hub.store.redis_node import RedisNode
from alephscript.hub.store.sqlite import SqliteStore
from alephscript.hub.store.store import Store, StoreUnavailable
from alephscript.mesh.effects import Look
from alephscript.mesh.records import Record
from tests.support.redis import RedisServer
from tests.support.thrift import unmeasured

pytestmark = pytest.mark.anyio


@pytest.fixture
def errors_logged() -> None:
    """Log errors: what is wrong with a file is one."""


def record(id_: str, **fields: object) -> Record:
    """Make a record."""
    given = {"namespace": "/runtime", "owner": "me", "capability": "X", "updated": time.time()}
    whole = {
        "created": 1.0,
        "deadline": 1e12,
        "payload": msgspec.Raw(b'{"a":1}'),
        **given,
        **fields,
    }
    return Record(id_, **whole)  # type: ignore[arg-type]


async def keep(
    store: Store, what: Record, *, is_new: bool = False
) -> tuple[Record | None, RequestError | None]:
    """Keep a record, and return what is said of that."""
    kept = asyncio.get_running_loop().create_future()
    store.keep(what, lambda *said: kept.set_result(said), is_new=is_new)
    async with asyncio.timeout(10):
        standing, error = await kept
        return standing, error


async def look(store: Store, **query: object) -> Sequence[Record]:
    """Look records up."""
    found = asyncio.get_running_loop().create_future()
    store.look("/runtime", Look(1, **query), lambda *said: found.set_result(said))  # type: ignore[arg-type]
    async with asyncio.timeout(10):
        records, error = await found
    assert error is None
    return list(records)


async def ids(store: Store, **query: object) -> list[str]:
    """Name the records that are found."""
    return [each.id for each in await look(store, most=100, **query)]


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """A journal that is open."""
    made: Store = MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "data")
    assert await made.open() == []
    yield made
    await made.close()


@pytest.fixture(params=["memory", "sqlite", pytest.param("redis", marks=pytest.mark.peers)])
async def any_store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """A journal that is open, of each kind."""
    made: Store = MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "data")
    if request.param == "redis":
        made = RedisStore(request.getfixturevalue("shared_redis").url())
        made.hub = "hub"
    await made.open()
    yield made
    await made.close()


def again(store: Store) -> Store:
    """Return the same journal, as another process would open it."""
    if isinstance(store, SqliteStore):
        return SqliteStore(store._path.parent)
    return store


async def test_what_is_kept_is_found_and_outlives_the_journal(store: Store) -> None:
    """As it was kept, with all that is in it."""
    first = record("a", key="k", checkpoint=msgspec.Raw(b"[1]"), progress={"fraction": 0.5})
    assert await keep(store, first, is_new=True) == (None, None)
    (found,) = await look(store, id="a")
    assert msgspec.json.encode(found) == msgspec.json.encode(first)
    running = msgspec.structs.replace(first, state="running", room="R", run="secret")
    assert await keep(store, running) == (None, None)
    await store.close()
    second = again(store)
    (alive,) = await second.open()
    assert (alive.state, alive.run, bytes(alive.checkpoint)) == ("running", "secret", b"[1]")
    await second.close()


async def test_a_key_belongs_to_one_task_of_its_owner(any_store: Store) -> None:
    """Ended or not; another owner has keys of its own."""
    await keep(any_store, record("a", key="k"), is_new=True)
    standing, error = await keep(any_store, record("b", key="k"), is_new=True)
    assert error is None
    assert standing is not None
    assert standing.id == "a"
    assert await keep(any_store, record("c", key="k", owner="you"), is_new=True) == (None, None)
    await keep(any_store, record("a", key="k", state="done"))
    standing, _ = await keep(any_store, record("d", key="k"), is_new=True)
    assert standing is not None
    assert standing.state == "done"
    assert await ids(any_store) == ["c", "a"]


async def test_a_task_ends_once(any_store: Store) -> None:
    """What comes later changes nothing, and is told what stands."""
    await keep(any_store, record("a"), is_new=True)
    assert await keep(any_store, record("a", state="done", result=msgspec.Raw(b"{}"))) == (
        None,
        None,
    )
    standing, _ = await keep(any_store, record("a", state="failed"))
    assert standing is not None
    assert standing.state == "done"
    (found,) = await look(any_store, id="a")
    assert found.state == "done"


async def test_records_are_found_by_room_and_state_the_newest_first(any_store: Store) -> None:
    """And a page at a time."""
    for number in range(6):
        room, state = ("R", "S")[number % 2], ("queued", "running", "done")[number % 3]
        await keep(any_store, record(f"{number}", created=float(number), room=room), is_new=True)
        await keep(any_store, record(f"{number}", created=float(number), room=room, state=state))
    await keep(any_store, record("other", namespace="/", created=9.0), is_new=True)
    assert await ids(any_store) == ["5", "4", "3", "2", "1", "0"]
    assert await ids(any_store, room="R") == ["4", "2", "0"]
    assert await ids(any_store, state="done") == ["5", "2"]
    assert await ids(any_store, room="S", state="running") == ["1"]
    assert [each.id for each in await look(any_store, most=2, before=(4.0, "4"))] == ["3", "2"]
    assert await ids(any_store, id="nothing") == []


@pytest.mark.peers
async def test_what_ended_long_ago_leaves_nothing_in_redis(shared_redis: RedisServer) -> None:
    """In none of the tables by which tasks are found there."""
    url = shared_redis.url()
    store = RedisStore(url, keep_seconds=100)
    store.hub = "hub"
    await store.open()
    for room, state in (("", "queued"), ("R", "running"), ("R", "done")):
        old = record("old", key="k", room=room, state=state, run=state, updated=1.0)
        await keep(store, old, is_new=state == "queued")
    await store._node.execute([("forget", "2.0", 10**9, 10)])  # unless it has swept by itself
    await store.close()
    left = shared_redis.command("-n", url.rpartition("/")[2], "keys", "*")
    assert [key.rpartition(":")[2] for key in left.split()] == ["tasks-bytes"]


@pytest.mark.peers
async def test_what_redis_took_and_had_no_time_to_say_is_kept(
    shared_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is put again; what this hub has kept is not taken for that of another one."""
    stores, url = [], shared_redis.url()
    for name in ("one", "other"):
        store = RedisStore(url)
        store.hub = name
        await store.open()
        stores.append(store)
    one, other = stores
    await keep(one, record("a", updated=1.0), is_new=True)
    await keep(one, record("b", updated=1.0), is_new=True)
    execute = one._node.execute
    lost: list[Sequence[Any]] = []

    async def lose_an_answer(commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        results = await execute(commands)
        if not lost and commands[0][0] == "keep":
            lost.append(commands)
            await take(other, "run b")
            raise TimeoutError
        return results

    async def take(store: RedisStore, run: str) -> None:
        taken = asyncio.get_running_loop().create_future()
        store.take_runs([run], lambda *said: taken.set_result(said))
        await taken

    monkeypatch.setattr(one._node, "execute", lose_an_answer)
    running = record("b", state="running", run="run b", updated=2.0)
    said = await asyncio.gather(
        keep(one, record("a", state="running", updated=2.0)),
        keep(one, running),
        keep(one, record("a", state="done", updated=3.0)),
    )
    assert len(lost[0]) == 3
    assert [standing is None for standing, _ in said] == [True, False, True]
    assert [each.state for each in await look(other, id="a")] == ["done"]
    for store in stores:
        await store.close()


@pytest.mark.peers
@pytest.mark.parametrize("is_taken", [True, False])
@pytest.mark.parametrize("is_standing", [True, False])
async def test_the_key_of_a_task_that_was_refused_is_free(
    shared_redis: RedisServer, monkeypatch: pytest.MonkeyPatch, *, is_taken: bool, is_standing: bool
) -> None:
    """Whether Redis had taken the task or not; and a task that had the key before keeps it."""
    monkeypatch.setattr(redis, "_PATIENCE_SECONDS", 0.0)
    monkeypatch.setattr(redis, "_AGAIN_SECONDS", 0.0)
    store = RedisStore(shared_redis.url())
    store.hub = "hub"
    await store.open()
    if is_standing:
        await keep(store, record("first", key="k"), is_new=True)
    execute = store._node.execute
    lost: list[Sequence[Any]] = []

    async def fail_once(commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        if lost or commands[0][0] != "keep":
            return await execute(commands)
        lost.append(commands)
        if is_taken:
            await execute(commands)
        raise TimeoutError

    monkeypatch.setattr(store._node, "execute", fail_once)
    _, error = await keep(store, record("refused", key="k"), is_new=True)
    assert isinstance(error, Overloaded)
    standing, error = await keep(store, record("again", key="k"), is_new=True)
    assert error is None
    assert (standing and standing.id) == ("first" if is_standing else None)
    known = [each.id for each in await look(store, id="refused")]
    assert known == (["refused"] if is_taken and not is_standing else [])
    await store.close()


@pytest.mark.peers
async def test_a_journal_in_redis_that_is_closed_at_any_moment_ends(
    shared_redis: RedisServer,
) -> None:
    """While it connects, too, where redis-py may swallow that its task was cancelled."""
    for turns in range(60):
        store = RedisStore(shared_redis.url(), keep_seconds=100)
        store.hub = "hub"
        await store.open()
        for _ in range(turns):
            await asyncio.sleep(0)
        async with asyncio.timeout(20):
            await store.close()


async def test_a_record_that_nothing_waits_for_is_kept_before_the_journal_is_closed(
    store: Store,
) -> None:
    """Its place may be taken by the next one of its task, and never by one before it."""
    await keep(store, record("a"), is_new=True)
    store.keep(record("a", progress={"fraction": 0.1}), None, is_new=False)
    await keep(store, record("a", state="running"))
    store.keep(record("a", state="running", progress={"fraction": 0.9}), None, is_new=False)
    await store.close()
    second = again(store)
    (alive,) = await second.open()
    assert (alive.state, alive.progress) == ("running", {"fraction": 0.9})
    await second.close()


async def test_what_ended_long_ago_is_forgotten(tmp_path: Path) -> None:
    """And the oldest beyond the bytes that may be kept; never what has not ended."""
    memory = MemoryStore(keep_seconds=100)
    sqlite = SqliteStore(tmp_path, keep_seconds=100, keep_bytes=2500)
    for each in (memory, sqlite):
        await each.open()
        await keep(each, record("alive", updated=0.0), is_new=True)
        await keep(each, record("old", state="done", key="k", updated=time.time() - 200))
        for number in range(4):
            moment = time.time() - 50 + number
            await keep(each, record(f"{number}", created=2.0, state="done", updated=moment))
    assert await ids(memory) == ["3", "2", "1", "0", "alive"]
    assert await keep(memory, record("new", key="k"), is_new=True) == (None, None)
    with sqlite_of(sqlite) as database:
        sqlite._sweep(database)
    assert await ids(sqlite) == ["3", "2", "alive"]
    await sqlite.close()


def sqlite_of(store: SqliteStore) -> contextlib.closing[sqlite3.Connection]:
    """Open the file once more."""
    return contextlib.closing(sqlite3.connect(store._path, isolation_level=None))


# What goes wrong with a file


async def test_a_second_journal_in_one_folder_is_refused(tmp_path: Path) -> None:
    """Until the first is closed, or its process is gone, however it went."""
    first = SqliteStore(tmp_path)
    await first.open()
    with pytest.raises(StoreUnavailable, match="another hub works on"):
        await SqliteStore(tmp_path).open()
    await first.close()
    second = SqliteStore(tmp_path)
    await second.open()
    await second.close()


async def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    """With what to do instead."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreUnavailable, match="choose another folder"):
        await SqliteStore(tmp_path / "file" / "data").open()


async def test_a_file_that_cannot_be_opened_says_what_to_do(tmp_path: Path) -> None:
    """And is left as it is."""
    (tmp_path / "tasks.db").mkdir()
    with pytest.raises(StoreUnavailable, match=r"cannot keep tasks in .*tasks\.db: .*--data"):
        await SqliteStore(tmp_path).open()
    assert (tmp_path / "tasks.db").is_dir()


async def test_a_writer_that_has_failed_refuses_new_tasks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """At once, where nobody would ever be answered else; the log has the traceback."""
    store = SqliteStore(tmp_path)
    await store.open()

    def fail(*_: object) -> bool:
        raise ZeroDivisionError("a mistake of ours")

    monkeypatch.setattr(sqlite, "_put", fail)
    store.keep(record("a"), None, is_new=False)
    _, error = await keep(store, record("b"), is_new=True)
    assert isinstance(error, Overloaded)
    _, error = await keep(store, record("c"), is_new=True)
    assert isinstance(error, Overloaded)
    assert store.trouble == "the journal of tasks has ended: a mistake of ours"
    assert "the journal of tasks has ended" in caplog.text
    await store.close()


@pytest.mark.parametrize("damage", ["no database", "torn"])
async def test_a_damaged_file_is_put_aside_and_a_fresh_one_begun(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The hub says so, and starts."""
    first = SqliteStore(tmp_path)
    await first.open()
    for number in range(50):
        await keep(first, record(f"{number}"), is_new=True)
    await first.close()
    path = tmp_path / "tasks.db"
    whole = path.read_bytes()
    torn = whole[:100] + b"\xff" * 8000 + whole[8100:]
    path.write_bytes(b"no database at all" * 100 if damage == "no database" else torn)
    second = SqliteStore(tmp_path)
    await second.open()
    assert second.trouble is not None
    assert "put aside" in second.trouble
    assert "damaged" in caplog.text
    assert [name for name in _names(tmp_path) if name.startswith("tasks.db.damaged-")]
    assert await keep(second, record("new"), is_new=True) == (None, None)
    await second.close()


async def test_a_file_that_is_damaged_meanwhile_loses_no_task_that_has_not_ended(
    tmp_path: Path,
) -> None:
    """The fresh file has what this hub knows."""
    store = SqliteStore(tmp_path)
    await store.open()
    for number in range(200):
        await keep(store, record(f"{number}"), is_new=True)
    await keep(store, record("7", state="done"))
    with sqlite_of(store) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with (tmp_path / "tasks.db").open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 200_000)
    for number in range(200, 400):
        await keep(store, record(f"{number}"), is_new=True)
    assert store.trouble is not None
    await store.close()
    second = SqliteStore(tmp_path)
    alive = await second.open()
    assert {each.id for each in alive} == {f"{n}" for n in range(400) if n != 7}
    await second.close()


async def test_a_file_of_a_later_version_is_left_as_it_is(tmp_path: Path) -> None:
    """Whoever has put an older hub in its place may want it back."""
    first = SqliteStore(tmp_path)
    await first.open()
    await keep(first, record("a"), is_new=True)
    await first.close()
    with sqlite_of(first) as database:
        database.execute("PRAGMA user_version = 99")
    with pytest.raises(StoreUnavailable, match="later version; update"):
        await SqliteStore(tmp_path).open()
    with sqlite_of(first) as database:
        database.execute("PRAGMA user_version = 1")
    second = SqliteStore(tmp_path)
    assert [each.id for each in await second.open()] == ["a"]
    await second.close()


@pytest.mark.parametrize("what", ["the file", "the folder"])
async def test_a_file_that_is_removed_meanwhile_loses_no_task_that_has_not_ended(
    tmp_path: Path, what: str
) -> None:
    """SQLite alone would go on writing to what nobody finds any more."""
    store = SqliteStore(tmp_path / "data")
    await store.open()
    await keep(store, record("a"), is_new=True)
    await keep(store, record("b"), is_new=True)
    await keep(store, record("b", state="done"))
    if what == "the folder":
        shutil.rmtree(tmp_path / "data")
    else:
        (tmp_path / "data" / "tasks.db").unlink()
    assert await keep(store, record("c"), is_new=True) == (None, None)
    assert await ids(store) == ["c", "a"]
    assert store.trouble is not None
    assert "removed" in store.trouble
    await store.close()
    second = SqliteStore(tmp_path / "data")
    assert {each.id for each in await second.open()} == {"a", "c"}
    await second.close()


async def test_a_folder_that_cannot_be_made_again_refuses_tasks_until_it_can(
    tmp_path: Path,
) -> None:
    """No task hangs, and none is lost."""
    store = SqliteStore(tmp_path / "data")
    await store.open()
    await keep(store, record("a"), is_new=True)
    shutil.rmtree(tmp_path / "data")
    (tmp_path / "data").write_text("in the way")
    assert isinstance((await keep(store, record("b"), is_new=True))[1], Overloaded)
    ended = asyncio.ensure_future(keep(store, record("a", state="done")))
    assert isinstance((await keep(store, record("c"), is_new=True))[1], Overloaded)
    (tmp_path / "data").unlink()
    assert await ended == (None, None)
    assert await keep(store, record("d"), is_new=True) == (None, None)
    assert await ids(store) == ["d", "a"]
    await store.close()


async def test_a_clock_that_is_set_forgets_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What has ended is kept by the hub's own time, as deadlines are."""
    stores = MemoryStore(keep_seconds=100), SqliteStore(tmp_path, keep_seconds=100)
    for store in stores:
        await store.open()
        await keep(store, record("a", updated=time.time()), is_new=True)
        await keep(store, record("a", state="done", updated=time.time()))
    tomorrow = time.time() + 86_400
    monkeypatch.setattr(time, "time", lambda: tomorrow)
    with sqlite_of(stores[1]) as database:
        stores[1]._sweep(database)
    for store in stores:
        assert await ids(store) == ["a"]
        await store.close()


async def test_a_disk_that_is_full_refuses_new_tasks_and_keeps_the_others_waiting(
    tmp_path: Path,
) -> None:
    """Until there is room again."""
    store = SqliteStore(tmp_path)
    await store.open()
    await keep(store, record("a"), is_new=True)
    big = msgspec.Raw(b'"' + b"x" * 100_000 + b'"')
    full = _fill(store)
    standing, error = await keep(store, record("b", payload=big), is_new=True)
    assert standing is None
    assert isinstance(error, Overloaded)
    assert "cannot keep tasks" in error.message
    assert store.trouble is not None
    ended = asyncio.ensure_future(keep(store, record("a", state="done", result=big)))
    await asyncio.sleep(0.1)
    assert not ended.done()
    full()
    assert await ended == (None, None)
    assert await keep(store, record("c", payload=big), is_new=True) == (None, None)
    assert not store.trouble
    await store.close()


def _names(folder: Path) -> list[str]:
    return [each.name for each in folder.iterdir()]


def _fill(store: SqliteStore) -> Callable[[], None]:
    """Let the file grow no more; return what lets it grow again."""
    write, most = store._write, [0]

    def write_no_more(database: sqlite3.Connection, backlog: Any) -> sqlite3.Connection:
        if not most[0]:
            (most[0],) = database.execute("PRAGMA page_count").fetchone()
        database.execute(f"PRAGMA max_page_count = {most[0]}")
        return write(database, backlog)

    def free() -> None:
        most[0] = 1_000_000

    store._write = write_no_more  # type: ignore[method-assign]
    return free


@pytest.mark.peers
async def test_a_hub_whose_journal_opens_late_takes_over_what_others_have_left(
    shared_redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has joined them before, and knows who is gone."""
    load, take_now, take = RedisNode._load_scripts, Cluster._take_tasks_now, RedisStore.take_lost
    is_asked, is_taken = asyncio.Event(), asyncio.Event()

    async def load_late(self: Any) -> None:
        await is_asked.wait()
        await load(self)

    def ask(self: Any) -> None:
        take_now(self)
        is_asked.set()

    def note(self: Any, hubs: Any, done: Any) -> None:
        def found(records: Sequence[Record], error: RequestError | None) -> None:
            done(records, error)
            is_taken.set()

        take(self, hubs, found)

    monkeypatch.setattr(RedisNode, "_load_scripts", load_late)
    monkeypatch.setattr(Cluster, "_take_tasks_now", ask)
    monkeypatch.setattr(RedisStore, "take_lost", note)
    async with asyncio.timeout(20), Hub(port=0, redis=shared_redis.url()):
        await is_taken.wait()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_million_ended_tasks_cost_neither_a_start_nor_a_look(tmp_path: Path) -> None:
    """Less than 2 s, and less than 5 ms."""
    code = Path(__file__).with_name("million.py")
    command = [sys.executable, str(code), str(tmp_path)]
    done = subprocess.run(command, env=unmeasured(), capture_output=True, text=True, check=True)
    opened, looked = map(float, done.stdout.split())
    assert opened < 2.0
    assert looked < 0.005
