"""Retained values in a file: what a hub that is started again has, whatever became of the file."""

from __future__ import annotations

import asyncio
import logging
import signal
import sqlite3
from pathlib import Path
from typing import Any

import msgspec
import pytest

from alephscript import AlephScriptClient
from alephscript.hub import Hub
from alephscript.hub.store.store import StoreUnavailable
from alephscript.hub.store.values import ValueStore
from alephscript.mesh.retained import RetainedValue
from tests.support.processes import Start

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]

ROOM = "AAIA_ROOM"


@pytest.fixture(autouse=True)
def errors_logged() -> None:
    """Errors are what most of these tests want to see logged."""


async def retain(url: str, **values: Any) -> None:
    """Say events that are to be kept; the hub has them when this returns."""
    async with AlephScriptClient(url, usuario="authority", sesion="1") as client:
        for event, data in values.items():
            await client.broadcast(event, data, room=ROOM, retain=True)
        await client.server_state()


async def kept_at(url: str) -> list[tuple[str, Any, str]]:
    """What somebody who comes now is told, in order."""
    async with AlephScriptClient(url) as late:
        stream = late.events(ROOM)
        await late.subscribe(ROOM)
        events = [stream.take() for _ in range(len(stream))]
        return [(each.name, each.data, each.sender) for each in events if each is not None]


def value(data: Any, sender: str = "s") -> RetainedValue:
    """A value as a mesh keeps it; None forgets."""
    return RetainedValue(None if data is None else msgspec.Raw(msgspec.json.encode(data)), sender)


async def read(folder: Path) -> dict[str, Any]:
    """What is in the file of a folder, by event."""
    store = ValueStore(folder)
    values = await store.open()
    await store.close()
    return {event: msgspec.json.decode(each.data or b"") for _, _, event, each in values}


async def test_a_hub_that_is_started_again_has_the_last_values(tmp_path: Path) -> None:
    """In the order in which they were said, with who said them and when; not the forgotten."""
    async with Hub(port=0, data=tmp_path) as hub:
        await retain(hub.url, OLD=1, STATE={"tick": 1}, GONE=1, WEATHER="rain")
        await retain(hub.url, STATE={"tick": 2}, GONE=None, NEVER=None)
    async with Hub(port=0, data=tmp_path) as hub:
        assert await kept_at(hub.url) == [
            ("OLD", 1, "authority1"),
            ("WEATHER", "rain", "authority1"),
            ("STATE", {"tick": 2}, "authority1"),
        ]
        await retain(hub.url, OLD=None)
    async with Hub(port=0, data=tmp_path) as hub:
        assert [event for event, *_ in await kept_at(hub.url)] == ["WEATHER", "STATE"]


async def test_without_a_folder_a_hub_forgets() -> None:
    """Its memory is its process."""
    async with Hub(port=0) as hub:
        await retain(hub.url, STATE=1)
    async with Hub(port=0) as hub:
        assert await kept_at(hub.url) == []


@pytest.mark.slow
async def test_a_killed_hub_has_what_was_written(tmp_path: Path, start: Start) -> None:
    """All but what was said in the moment before."""
    arguments = ("hub", "--port", "0", "--data", str(tmp_path))
    hub = await start("-m", "alephscript", *arguments, ready=b"listening on")
    await retain(hub.url, STATE=1, OTHER=2)
    async with asyncio.timeout(10):
        while count(tmp_path) < 2:  # noqa: ASYNC110 - a file says nothing
            await asyncio.sleep(0.01)
    hub.send(signal.SIGKILL)
    await hub.ended()
    hub = await start("-m", "alephscript", *arguments, ready=b"listening on")
    assert [event for event, *_ in await kept_at(hub.url)] == ["STATE", "OTHER"]


def put_aside(folder: Path) -> list[Path]:
    """The files that were put aside as damaged."""
    return list(folder.glob("*damaged*"))


def count(folder: Path) -> int:
    """How many values are in the file."""
    database = sqlite3.connect(folder / "retained.db")
    try:
        (number,) = database.execute("SELECT count(*) FROM retained").fetchone()
    finally:
        database.close()
    return int(number)


async def test_a_value_is_written_once_however_often_it_changes(tmp_path: Path) -> None:
    """The last one counts, also of what was forgotten in between."""
    store = ValueStore(tmp_path)
    assert await store.open() == []
    for number in range(10_000):
        store.keep("/", ROOM, f"E{number % 3}", value(number))
    store.keep("/", ROOM, "E0", value(None))
    store.keep("/runtime", ROOM, "E3", value("x"))
    await store.close()
    assert await read(tmp_path) == {"E2": 9998, "E1": 9997, "E3": "x"} | {"E2": 9998}


async def test_a_damaged_file_is_put_aside(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The hub goes on, and says so; the file is there for whoever can mend it."""
    (tmp_path / "retained.db").write_bytes(b"no database at all" * 1000)
    async with Hub(port=0, data=tmp_path) as hub:
        await retain(hub.url, STATE=1)
        assert "damaged" in str(hub._engine.trouble)
    (aside,) = put_aside(tmp_path)
    assert aside.read_bytes().startswith(b"no database")
    assert await read(tmp_path) == {"STATE": 1}
    assert [each.levelno for each in caplog.records if "put aside" in each.getMessage()] == [
        logging.ERROR
    ]


async def test_a_file_that_is_damaged_while_a_hub_works_is_written_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With all that the hub has, whatever was in it."""
    store = ValueStore(tmp_path)
    await store.open()
    store.keep("/", ROOM, "EARLY", value(1))
    await settled(store)
    with monkeypatch.context() as patch:
        patch.setattr("alephscript.hub.store.values._write", tear)
        store.keep("/", ROOM, "LATE", value(2))
        await has_trouble(store, "put aside")
    await store.close()
    assert await read(tmp_path) == {"EARLY": 1, "LATE": 2}
    assert len([each for each in put_aside(tmp_path) if each.suffix[-1].isdecimal()]) == 1


async def test_a_full_disk_costs_nothing_but_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What waits for it is written when there is room, and what there is too much of, anew."""
    monkeypatch.setattr("alephscript.hub.store.values._AGAIN_SECONDS", 0.01)
    monkeypatch.setattr("alephscript.hub.store.values._MOST_WAITING", 50)
    store = ValueStore(tmp_path)
    await store.open()
    store.keep("/", ROOM, "BEFORE", value(0))
    await settled(store)
    with monkeypatch.context() as patch:
        patch.setattr("alephscript.hub.store.values._write", fail)
        store.keep("/", ROOM, "BEFORE", value(None))
        for number in range(200):
            store.keep("/", ROOM, f"E{number % 100}", value(number))
        await has_trouble(store, "disk is full")
    await has_trouble(store, "None")
    await store.close()
    assert await read(tmp_path) == {f"E{number}": number + 100 for number in range(100)}
    said = [each.getMessage() for each in caplog.records if each.levelno == logging.ERROR]
    assert said == ["retained values cannot be kept: database or disk is full"]


async def test_what_cannot_be_kept_when_the_hub_ends_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The hub ends all the same."""
    store = ValueStore(tmp_path)
    await store.open()
    monkeypatch.setattr("alephscript.hub.store.values._write", fail)
    store.keep("/", ROOM, "E", value(1))
    await store.close()
    assert "1 retained values could not be kept" in [each.getMessage() for each in caplog.records]


async def test_a_folder_that_cannot_be_used_is_said_in_a_sentence(tmp_path: Path) -> None:
    """With what to do."""
    with pytest.raises(StoreUnavailable, match=r"cannot keep values in .*--data"):
        await ValueStore(tmp_path / "nowhere").open()


def fail(*_: object, **__: object) -> None:
    """What SQLite raises where there is no room."""
    raise sqlite3.OperationalError("database or disk is full")


def tear(*_: object, **__: object) -> None:
    """What SQLite raises where a file is damaged."""
    error = sqlite3.DatabaseError("database disk image is malformed")
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    raise error


async def has_trouble(store: ValueStore, words: str) -> None:
    """Wait until the store says so."""
    async with asyncio.timeout(10):
        while words not in str(store.trouble):  # noqa: ASYNC110 - of another thread
            await asyncio.sleep(0.01)


async def settled(store: ValueStore) -> None:
    """All that waits is written."""
    async with asyncio.timeout(10):
        while count(store._path.parent) < len(store._all):  # noqa: ASYNC110 - of another thread
            await asyncio.sleep(0.01)
