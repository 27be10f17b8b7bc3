"""What is kept of sessions outlives the runtime: the file, and what a session is made of it."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from alephscript.aaia import Percepto, RunState, TipoPercepto
from examples.aaia_runtime import store as store_module
from examples.aaia_runtime.runtime import RoomChange, Runtime
from examples.aaia_runtime.store import SessionStore, StoreUnavailable
from tests.support.properties import examples

pytestmark = pytest.mark.anyio


async def hear(_: RoomChange) -> None:
    """Be a room that nobody listens in."""


async def never(_: float) -> None:
    """A pulse that does not beat."""
    await asyncio.Event().wait()


def runtime(folder: Path | None) -> Runtime:
    """A runtime without a pulse, its sessions in a folder."""
    store = None if folder is None else SessionStore(folder)
    return Runtime(tell=hear, store=store, ticker=never)


async def kept_in(folder: Path) -> list[str]:
    """What a folder has."""
    store = SessionStore(folder)
    kept = list(await store.open())
    await store.close()
    return kept


def put_aside(folder: Path) -> Path:
    """The one file that was put aside."""
    (aside,) = folder.glob("sessions.db.damaged-*")
    return aside


class TestFile:
    """How texts are kept."""

    @given(
        changes=st.lists(
            st.tuples(st.sampled_from("abcd"), st.none() | st.text(max_size=4)), max_size=12
        ),
        closes=st.sets(st.integers(0, 11), max_size=3),
    )
    @settings(
        max_examples=examples(30), suppress_health_check=[HealthCheck.function_scoped_fixture]
    )
    async def test_what_was_kept_last_is_there_in_the_order_of_making(
        self,
        tmp_path_factory: pytest.TempPathFactory,
        changes: list[tuple[str, str | None]],
        closes: set[int],
    ) -> None:
        """However often it changes, and the file is closed and opened again."""
        folder = tmp_path_factory.mktemp("kept")
        expected: dict[str, str] = {}
        store = SessionStore(folder)
        await store.open()
        for number, (key, text) in enumerate(changes):
            state = None if text is None else ascii(text)
            kept = store.keep(key, state)
            if state is None:
                expected.pop(key, None)
            else:
                expected[key] = state
            if number in closes:
                await store.close()
                await kept.wait()
                store = SessionStore(folder)
                assert list(await store.open()) == list(expected.values())
            else:
                await kept.wait()
        await store.close()
        assert await kept_in(folder) == list(expected.values())

    async def test_all_that_comes_at_once_shares_a_transaction(self, tmp_path: Path) -> None:
        """And each of them is told when it is on the disk."""
        store = SessionStore(tmp_path)
        await store.open()
        kept = [store.keep(str(number % 50), str(number)) for number in range(500)]
        for each in kept:
            await each.wait()
        await store.close()
        assert await kept_in(tmp_path) == [str(450 + number) for number in range(50)]

    async def test_a_folder_has_one_owner(self, tmp_path: Path) -> None:
        """The second is told so, and gets it when the first has gone."""
        first = SessionStore(tmp_path / "data")
        await first.open()
        with pytest.raises(StoreUnavailable, match="another bot works on"):
            await SessionStore(tmp_path / "data").open()
        await first.close()
        assert await kept_in(tmp_path / "data") == []

    async def test_a_damaged_file_is_put_aside_and_said(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Nothing of it is thrown away, and the bot starts."""
        (tmp_path / "sessions.db").write_bytes(b"no database at all" * 1000)
        assert await kept_in(tmp_path) == []
        aside = put_aside(tmp_path)
        assert aside.read_bytes().startswith(b"no database")
        assert str(aside) in caplog.text

    async def test_a_file_that_is_damaged_at_work_is_begun_anew_with_all_sessions(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Those that have not changed since, too."""
        store = SessionStore(tmp_path)
        await store.open()
        texts = {str(number): str(number) * 1000 for number in range(200)}
        await [store.keep(key, text) for key, text in texts.items()][-1].wait()
        with sqlite3.connect(tmp_path / "sessions.db") as database:
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        database.close()
        with (tmp_path / "sessions.db").open("r+b") as file:
            file.seek(4096)
            file.write(b"\xff" * 200_000)
        for key in [*texts][::2]:
            texts[key] = "changed"
            store.keep(key, texts[key])
        await store.close()
        assert "put aside" in caplog.text
        assert await kept_in(tmp_path) == list(texts.values())

    async def test_a_disk_that_takes_nothing_is_waited_for(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Nothing is said to be kept before, and all is afterwards."""
        caplog.set_level(logging.INFO)
        monkeypatch.setattr(store_module, "_AGAIN_SECONDS", 0.02)
        store = SessionStore(tmp_path)
        await store.open()
        other = sqlite3.connect(tmp_path / "sessions.db")
        full = "BEGIN SELECT RAISE(FAIL, 'the disk is full'); END"
        other.execute(f"CREATE TRIGGER full BEFORE INSERT ON sessions {full}")
        other.commit()
        kept = store.keep("a", "text")
        async with asyncio.timeout(10):
            while "cannot be kept" not in caplog.text:  # noqa: ASYNC110 - a thread says so
                await asyncio.sleep(0.01)
            assert not kept.is_set()
            other.execute("DROP TRIGGER full")
            other.commit()
            other.close()
            await kept.wait()
        await store.close()
        assert "are kept again" in caplog.text
        assert await kept_in(tmp_path) == ["text"]

    async def test_a_file_of_a_newer_bot_is_left_alone(self, tmp_path: Path) -> None:
        """Whoever goes back to an older bot loses nothing."""
        with sqlite3.connect(tmp_path / "sessions.db") as database:
            database.execute("PRAGMA user_version = 99")
        database.close()
        with pytest.raises(StoreUnavailable, match="newer bot"):
            await SessionStore(tmp_path).open()

    async def test_a_folder_that_cannot_be_made_is_named(self, tmp_path: Path) -> None:
        """With what to do."""
        (tmp_path / "file").write_text("")
        with pytest.raises(StoreUnavailable, match="choose another folder"):
            await SessionStore(tmp_path / "file" / "data").open()


PERCEPTOS: list[dict[str, Any]] = [
    {"hecho": "q(b).", "query": "p(X,Y)"},
    {"query": "q(X)"},
    {"regla": "s(X) := q(X)", "query": "s(X)"},
    {"temperatura": 35},
    {"humo": True},
    {"humo": False, "temperatura": 20, "ñ": "ü"},
    {"evento": "obstaculo"},
]
STEPS = st.lists(
    st.sampled_from(range(len(PERCEPTOS))).map(lambda number: ("percepto", number))
    | st.tuples(st.just("step"), st.integers(0, 1))
    | st.just(("restart", 0)),
    max_size=10,
)


@pytest.mark.parametrize("app_id", ["demo-hibrida", "demo-situada"])
@given(steps=STEPS)
@settings(max_examples=examples(15), deadline=None)
async def test_a_runtime_that_is_restarted_goes_on_as_one_that_is_not(
    tmp_path_factory: pytest.TempPathFactory, app_id: str, steps: list[tuple[str, int]]
) -> None:
    """Same sessions, same ids, same cycles, and engines that know what they knew."""
    folder = tmp_path_factory.mktemp("kept")
    assert await lives(app_id, steps, folder) == await lives(app_id, steps, None)


async def lives(app_id: str, steps: list[tuple[str, int]], folder: Path | None) -> list[Any]:
    """What is seen of a session, whose runtime is restarted if it has a folder."""
    seen: list[Any] = []
    session_id = ""
    rest = iter([*steps, ("restart", 0)])
    lives_on = True
    while lives_on:
        async with runtime(folder) as alive:
            session_id = session_id or (await alive.create_session(app_id)).session_id
            lives_on = False
            for what, number in rest:
                if what == "percepto":
                    sent = Percepto(tipo=TipoPercepto.COMANDO, payload=PERCEPTOS[number])
                    await alive.send_percepto(session_id, sent)
                elif what == "step":
                    index = number % (await alive.list_fias(session_id)).count
                    seen.append((await alive.step_fia(session_id, index)).eferencia)
                seen.append((await alive.query_mundo(session_id)).mundo)
                seen.append((await alive.list_fias(session_id)).fias)
                if what == "restart" and folder is not None:
                    lives_on = True
                    break
    return seen


async def test_a_restarted_runtime_has_the_same_sessions(tmp_path: Path) -> None:
    """All but those that were destroyed, in the order of their making."""
    async with runtime(tmp_path) as first:
        made = [await first.create_session("demo-logica") for _ in range(3)]
        await first.destroy_session(made[1].session_id)
        stepped = await first.step_fia(made[2].session_id, 0)
    async with runtime(tmp_path) as second:
        sessions = (await second.list_sessions()).sessions
        assert [each.session_id for each in sessions] == [made[0].session_id, made[2].session_id]
        assert [each.created_at for each in sessions] == [
            made[0].session.created_at,
            made[2].session.created_at,
        ]
        assert (await second.get_eferencia(made[2].session_id, 0)).eferencia == stepped.eferencia
        assert (await second.step_fia(made[2].session_id, 0)).cycles == 2


async def test_a_step_that_was_being_made_has_not_been(tmp_path: Path) -> None:
    """What had reached the FIA reaches it again, and the FIA is held."""
    async with runtime(tmp_path) as first:
        session_id = (await first.create_session("demo-logica")).session_id
        sent = Percepto(tipo=TipoPercepto.COMANDO, payload={"query": "q(X)"})
        await first.send_percepto(session_id, sent)
    (text,) = await kept_in(tmp_path)
    other = tmp_path / "other"
    store = SessionStore(other)
    await store.open()
    store.keep(session_id, text.replace('"runState":"STOP"', '"runState":"PLAY_STEP"'))
    await store.close()
    async with runtime(other) as second:
        (fia,) = (await second.list_fias(session_id)).fias
        assert fia.run_state is RunState.PAUSE
        step = await second.step_fia(session_id, 0)
        assert (step.cycles, step.eferencia.payload["meta"]["numSoluciones"]) == (1, 1)


async def test_a_mundo_that_ended_with_the_runtime_has_its_end(tmp_path: Path) -> None:
    """Whoever waits for the end of the run is not left waiting."""
    async with runtime(tmp_path) as first:
        session_id = (await first.create_session("demo-logica")).session_id
        await first.play_fia(session_id, 0)
    (text,) = await kept_in(tmp_path)
    store = SessionStore(tmp_path)
    await store.open()
    store.keep(session_id, text.replace('"dia":0', '"dia":1000'))
    await store.close()
    async with runtime(tmp_path) as second:
        assert [each async for each in second.play_run(session_id, 0, 1)] == []
        assert (await second.list_fias(session_id)).fias[0].run_state is RunState.STOP


async def test_a_session_that_cannot_be_served_stays_where_it_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its app may come back; the others are served."""
    async with runtime(tmp_path) as first:
        session_id = (await first.create_session("demo-logica")).session_id
    (text,) = await kept_in(tmp_path)
    store = SessionStore(tmp_path)
    await store.open()
    store.keep("gone", text.replace("FIALogica", "FIAOlvidada"))
    store.keep("odd", "{}")
    await store.close()
    async with runtime(tmp_path) as second:
        assert [e.session_id for e in (await second.list_sessions()).sessions] == [session_id]
    assert caplog.text.count("is not served") == 2
    assert len(await kept_in(tmp_path)) == 3
