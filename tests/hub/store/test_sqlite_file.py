"""A fresh file is begun where one is damaged, and for no other reason."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from alephscript.hub.store.sqlite_file import connect, connect_or_begin_anew, put_aside


def test_a_damaged_file_is_begun_anew(tmp_path: Path) -> None:
    """What is no file of SQLite is told to whoever puts it aside."""
    path = tmp_path / "some.db"
    path.write_bytes(b"no database at all" * 100)
    told: list[sqlite3.Error] = []

    def begin_anew(exc: sqlite3.Error) -> sqlite3.Connection:
        told.append(exc)
        assert put_aside(path) is not None
        return connect(path)

    database = connect_or_begin_anew(lambda: connect(path), begin_anew)
    database.execute("CREATE TABLE some (name TEXT)")
    database.close()
    assert len(told) == 1


@pytest.mark.parametrize(
    "error", [sqlite3.OperationalError, sqlite3.InternalError, sqlite3.ProgrammingError]
)
def test_a_file_that_is_not_damaged_is_left_alone(error: type[sqlite3.Error]) -> None:
    """A full disk, a lock, or a mistake of ours costs nobody what was kept."""

    def fail() -> sqlite3.Connection:
        raise error("not of the file")

    def begin_anew(exc: sqlite3.Error) -> sqlite3.Connection:
        raise AssertionError(f"begun anew for {exc}")

    with pytest.raises(error, match="not of the file"):
        connect_or_begin_anew(fail, begin_anew)
