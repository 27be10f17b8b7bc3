"""The runtime's face: sessions, their isolation, what can be asked of them, and their end."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from alephscript import CapabilityError, StateError, aaia
from alephscript.aaia import Percepto, RunState, TipoPercepto
from alephscript.contracts import unstructure
from examples.aaia_runtime.errors import (
    AppNotFound,
    PathNotFound,
    PerceptoTooDeep,
    SessionNotFound,
    TooManySessions,
)
from examples.aaia_runtime.runtime import RoomChange, Runtime
from examples.aaia_runtime.sessions import MAX_SESSIONS
from tests.support.properties import examples

pytestmark = pytest.mark.anyio


class Clock:
    """Stands still until the test moves it."""

    def __init__(self) -> None:
        self.time = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.time

    def advance(self, **delta: float) -> None:
        """Let time pass."""
        self.time += timedelta(**delta)


@pytest.fixture
def clock() -> Clock:
    """The runtime's clock."""
    return Clock()


@pytest.fixture
def told() -> list[RoomChange]:
    """What the room was told."""
    return []


def telling(told: list[RoomChange]) -> Any:
    """A tell that remembers."""

    async def tell(change: RoomChange) -> None:
        told.append(change)

    return tell


async def never(_: float) -> None:
    """A pulse that does not beat."""
    await asyncio.Event().wait()


@pytest.fixture
async def runtime(clock: Clock, told: list[RoomChange]) -> AsyncIterator[Runtime]:
    """An open runtime whose time stands still."""
    async with Runtime(tell=telling(told), now=clock, ticker=never) as runtime:
        yield runtime


def percepto(**payload: Any) -> Percepto:
    """A comando of that payload."""
    return Percepto(tipo=TipoPercepto.COMANDO, payload=payload)


class TestSessions:
    """How they come and go."""

    async def test_a_session_is_described_when_it_is_made(
        self, runtime: Runtime, clock: Clock, told: list[RoomChange]
    ) -> None:
        """A uuid, the app, a living mundo and its FIAs in STOP; the room is told."""
        opened = await runtime.create_session("demo-hibrida")
        session = opened.session
        assert str(uuid.UUID(session.session_id)) == opened.session_id == session.session_id
        assert uuid.UUID(session.session_id).version == 4
        assert (session.app_id, opened.app_id, opened.fias_count) == ("demo-hibrida",) * 2 + (2,)
        assert session.created_at == session.last_used_at == clock()
        assert (session.mundo.vivo, session.mundo.run_state) == (True, RunState.STOP)
        assert [(fia.index, fia.nombre, fia.run_state.value) for fia in session.fias] == [
            (0, "LogicaFIA", "STOP"),
            (1, "SBRFIA", "STOP"),
        ]
        assert told == [aaia.SessionCreated(session.session_id, "demo-hibrida", clock(), 2)]

    async def test_every_demo_runs(self, runtime: Runtime) -> None:
        """Each FIA of each app reasons."""
        apps = await runtime.list_apps()
        assert apps.count == len(apps.apps) == 4
        for app in apps.apps:
            opened = await runtime.create_session(app.id)
            for index in range(opened.fias_count):
                step = await runtime.step_fia(opened.session_id, index)
                assert step.eferencia.payload["fiaIndex"] == index

    async def test_an_unknown_app_makes_no_session(self, runtime: Runtime) -> None:
        """Its name is in the error."""
        with pytest.raises(AppNotFound, match="App not found: nope"):
            await runtime.create_session("nope")
        assert (await runtime.list_sessions()).count == 0

    async def test_lists_sessions_with_their_age(self, runtime: Runtime, clock: Clock) -> None:
        """The oldest first."""
        first = (await runtime.create_session("demo-logica")).session_id
        clock.advance(minutes=1, seconds=30)
        second = (await runtime.create_session("demo-sbr")).session_id
        sessions = await runtime.list_sessions()
        assert sessions.count == 2
        assert [(each.session_id, each.age_minutes) for each in sessions.sessions] == [
            (first, 1.5),
            (second, 0.0),
        ]

    async def test_a_destroyed_session_is_gone(
        self, runtime: Runtime, clock: Clock, told: list[RoomChange]
    ) -> None:
        """For everybody, at once."""
        session_id = (await runtime.create_session("demo-logica")).session_id
        gone = await runtime.destroy_session(session_id)
        assert (gone.session_id, bool(gone.message)) == (session_id, True)
        assert told[-1] == aaia.SessionDestroyed(session_id, clock())
        with pytest.raises(SessionNotFound):
            await runtime.destroy_session(session_id)
        assert (await runtime.list_threads()).threads == []

    async def test_a_session_destroyed_as_soon_as_it_was_made_leaves_no_pulse(
        self, runtime: Runtime
    ) -> None:
        """Even if the pulse had not begun."""
        before = asyncio.all_tasks()
        for _ in range(3):
            session_id = (await runtime.create_session("demo-logica")).session_id
            await runtime.play_fia(session_id, 0)
            await runtime.destroy_session(session_id)
        async with asyncio.timeout(5):
            while asyncio.all_tasks() - before:
                await asyncio.wait(asyncio.all_tasks() - before)

    @pytest.mark.parametrize(
        "method",
        [
            "start_fia",
            "stop_fia",
            "play_fia",
            "pause_fia",
            "step_fia",
            "get_eferencia",
            "list_fias",
            "destroy_session",
            "query_mundo",
            "send_percepto",
        ],
    )
    async def test_an_unknown_session_is_an_error_of_its_own(
        self, runtime: Runtime, method: str
    ) -> None:
        """Whatever is asked of it."""
        rest: dict[str, tuple[Any, ...]] = {
            "list_fias": (),
            "destroy_session": (),
            "query_mundo": (),
            "send_percepto": (percepto(x=1),),
        }
        with pytest.raises(SessionNotFound) as caught:
            await getattr(runtime, method)("nobody", *rest.get(method, (0,)))
        assert caught.value.code == "session_not_found"
        assert "nobody" in caught.value.message

    async def test_a_list_of_sessions_leaves_out_what_was_sent_to_them(
        self, runtime: Runtime
    ) -> None:
        """It goes to its asker in one message, however busy they are."""
        session_id = (await runtime.create_session("demo-logica")).session_id
        await runtime.send_percepto(session_id, percepto(query="q(a)", x="x" * 90_000))
        await runtime.step_fia(session_id, 0)
        (listed,) = (await runtime.list_sessions()).sessions
        whole = (await runtime.query_mundo(session_id)).mundo
        assert {"ultimoPercepto", "ultimaEferencia"} < set(whole.modelo)
        assert listed.mundo_state.modelo == {
            key: value for key, value in whole.modelo.items() if not key.startswith("ultim")
        }

    async def test_there_are_so_many_sessions_and_no_more(
        self, runtime: Runtime, clock: Clock
    ) -> None:
        """One that ends, or is forgotten, makes room; the list of all fits into a message."""
        for _ in range(MAX_SESSIONS):
            session_id = (await runtime.create_session("demo-situada")).session_id
        with pytest.raises(TooManySessions) as caught:
            await runtime.create_session("demo-situada")
        assert (caught.value.code, caught.value.retryable) == ("overloaded", True)
        assert len(json.dumps(unstructure(await runtime.list_sessions()))) < 900_000
        await runtime.destroy_session(session_id)
        await runtime.create_session("demo-situada")
        clock.advance(hours=1)
        await runtime.create_session("demo-situada")
        assert (await runtime.list_sessions()).count == 1


class TestIdleness:
    """How long they stay when nobody comes."""

    async def test_a_session_that_nobody_used_for_an_hour_is_destroyed(
        self, runtime: Runtime, clock: Clock, told: list[RoomChange]
    ) -> None:
        """Even for the one who comes a moment too late; the room is told once."""
        session_id = (await runtime.create_session("demo-logica")).session_id
        clock.advance(hours=1)
        with pytest.raises(SessionNotFound):
            await runtime.list_fias(session_id)
        assert (await runtime.list_sessions()).count == 0
        await runtime.create_session("demo-logica")
        destroyed = [each for each in told if isinstance(each, aaia.SessionDestroyed)]
        assert [each.session_id for each in destroyed] == [session_id]

    async def test_it_is_destroyed_even_if_nobody_asks_for_anything(
        self, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The runtime looks for such sessions by itself."""
        monkeypatch.setattr("examples.aaia_runtime.runtime._SWEEP", 0.0)
        destroyed = asyncio.Event()

        async def tell(change: RoomChange) -> None:
            if isinstance(change, aaia.SessionDestroyed):
                destroyed.set()

        async with Runtime(tell=tell, now=clock, ticker=never) as runtime:
            await runtime.create_session("demo-logica")
            clock.advance(minutes=60)
            async with asyncio.timeout(5):
                await destroyed.wait()

    async def test_every_use_counts(self, runtime: Runtime, clock: Clock) -> None:
        """An hour after the last one."""
        session_id = (await runtime.create_session("demo-logica")).session_id
        for _ in range(3):
            clock.advance(minutes=59)
            await runtime.get_eferencia(session_id, 0)
        (session,) = (await runtime.list_sessions()).sessions
        assert session.last_used_at == clock()

    async def test_being_listed_is_no_use(self, runtime: Runtime, clock: Clock) -> None:
        """Whoever watches all sessions does not keep them."""
        await runtime.create_session("demo-logica")
        clock.advance(minutes=59)
        assert (await runtime.list_sessions()).count == 1
        assert len((await runtime.list_threads()).threads) == 1
        clock.advance(minutes=1)
        assert (await runtime.list_threads()).threads == []

    async def test_a_mundo_whose_days_pass_is_in_use(self, clock: Clock) -> None:
        """A FIA in PLAY is not taken away."""
        days = asyncio.Semaphore(0)
        stepped = asyncio.Event()

        async def ticker(_: float) -> None:
            await days.acquire()

        async def tell(change: RoomChange) -> None:
            if isinstance(change, aaia.FIAStep):
                stepped.set()

        async with Runtime(tell=tell, now=clock, ticker=ticker) as runtime:
            session_id = (await runtime.create_session("demo-logica")).session_id
            await runtime.play_fia(session_id, 0)
            clock.advance(minutes=59)
            days.release()
            async with asyncio.timeout(5):
                await stepped.wait()
            clock.advance(minutes=59)
            assert (await runtime.list_sessions()).count == 1


class TestQuestions:
    """What can be sent to a session and asked of it."""

    async def test_a_percepto_reaches_every_fia_and_is_kept(
        self, runtime: Runtime, clock: Clock, told: list[RoomChange]
    ) -> None:
        """Stopped ones too: they may be stepped."""
        session_id = (await runtime.create_session("demo-hibrida")).session_id
        sent = percepto(query="p(a,a)", temperatura=40)
        told.clear()
        answer = await runtime.send_percepto(session_id, sent)
        assert answer.processed_by == [0, 1]
        perceived, changed = told
        assert perceived == aaia.PerceptoSent(session_id, sent, [0, 1], clock())
        assert isinstance(changed, aaia.MundoChanged)
        assert changed.mundo.modelo["ciclo"] == 1
        assert changed.mundo.modelo["ultimoPercepto"]["payload"] == sent.payload
        logica = await runtime.step_fia(session_id, 0)
        sbr = await runtime.step_fia(session_id, 1)
        assert logica.eferencia.payload["meta"]["numSoluciones"] == 2
        assert sbr.eferencia.payload["acciones"][0]["tipo"] == "ventilar"

    async def test_what_its_sender_does_to_a_percepto_afterwards_changes_nothing(
        self, runtime: Runtime
    ) -> None:
        """It was sent as it was."""
        session_id = (await runtime.create_session("demo-logica")).session_id
        sent = percepto(query="q(a)")
        await runtime.send_percepto(session_id, sent)
        sent.payload["query"] = "q(b)"
        assert (await runtime.step_fia(session_id, 0)).eferencia.payload["exito"]

    async def test_a_percepto_that_is_nested_too_deeply_is_an_invalid_payload(
        self, runtime: Runtime, told: list[RoomChange]
    ) -> None:
        """The asker is told where."""
        session_id = (await runtime.create_session("demo-logica")).session_id
        told.clear()
        payload: dict[str, Any] = {}
        for _ in range(40):
            payload = {"a": payload}
        with pytest.raises(PerceptoTooDeep) as caught:
            await runtime.send_percepto(session_id, percepto(x=payload))
        assert isinstance(caught.value, CapabilityError)
        assert caught.value.answer()["code"] == "invalid_payload"
        assert caught.value.details[0]["path"] == "percepto.payload"
        assert told == []

    async def test_there_is_no_eferencia_before_the_first_step(self, runtime: Runtime) -> None:
        """None, and no error."""
        session_id = (await runtime.create_session("demo-logica")).session_id
        assert (await runtime.get_eferencia(session_id, 0)).eferencia is None

    async def test_the_mundo_is_asked_by_a_dotted_path(self, runtime: Runtime) -> None:
        """Nothing asked is nothing found, ``*`` is all of it."""
        session_id = (await runtime.create_session("demo-logica")).session_id
        await runtime.send_percepto(session_id, percepto(query="q(X)"))
        await runtime.step_fia(session_id, 0)
        nothing = await runtime.query_mundo(session_id)
        assert (nothing.result, nothing.mundo.modelo["ciclo"]) == (None, 2)
        assert (await runtime.query_mundo(session_id, "modelo.ciclo")).result == 2
        whole = (await runtime.query_mundo(session_id, "*")).result
        assert (whole["vivo"], whole["fiasCount"], whole["runState"]) == (True, 1, "PAUSE")
        bound = "modelo.ultimaEferencia.payload.acciones.0.payload.bindings.X"
        assert (await runtime.query_mundo(session_id, bound)).result == "a"
        with pytest.raises(PathNotFound) as caught:
            await runtime.query_mundo(session_id, "modelo.nada")
        assert caught.value.code == "path_not_found"

    async def test_threads_are_counted_over_all_sessions(self, runtime: Runtime) -> None:
        """In the order in which they were made."""
        await runtime.create_session("demo-hibrida")
        second = (await runtime.create_session("demo-situada")).session_id
        await runtime.play_fia(second, 0)
        threads = (await runtime.list_threads()).threads
        assert [(each.index, each.nombre, each.run_state.value) for each in threads] == [
            (0, "LogicaFIA", "STOP"),
            (1, "SBRFIA", "STOP"),
            (2, "SituadaFIA", "PLAY"),
        ]
        assert threads[2].mundo == "Mundo de Demo Situada"


class TestLife:
    """The runtime's own."""

    async def test_outside_its_life_it_says_so(self, told: list[RoomChange]) -> None:
        """Before, twice and after."""
        runtime = Runtime(tell=telling(told))
        with pytest.raises(StateError, match="async with"):
            await runtime.create_session("demo-logica")
        async with runtime:
            session_id = (await runtime.create_session("demo-logica")).session_id
            with pytest.raises(StateError, match="open already"):
                await runtime.__aenter__()
        with pytest.raises(SessionNotFound):
            await runtime.list_fias(session_id)
        with pytest.raises(StateError):
            await runtime.create_session("demo-logica")

    async def test_an_exception_within_leaves_it_as_it_was_raised(
        self, told: list[RoomChange]
    ) -> None:
        """Not wrapped in a group."""
        with pytest.raises(ZeroDivisionError):
            async with Runtime(tell=telling(told)):
                raise ZeroDivisionError

    async def test_two_runtimes_share_nothing(self, told: list[RoomChange]) -> None:
        """There is no singleton behind them."""
        async with Runtime(tell=telling(told)) as first, Runtime(tell=telling(told)) as second:
            session_id = (await first.create_session("demo-logica")).session_id
            assert (await second.list_sessions()).count == 0
            with pytest.raises(SessionNotFound):
                await second.list_fias(session_id)


ACTIONS = st.tuples(
    st.sampled_from(["step", "play", "pause", "stop", "percepto"]),
    st.sampled_from(
        [
            {"hecho": "q(z)."},
            {"regla": "p(X,X) := q(X)."},
            {"query": "p(X,Y)"},
            {"temperatura": 50, "humo": True},
            {},
        ]
    ),
    st.integers(0, 1),
)


async def act(runtime: Runtime, session_id: str, action: tuple[str, dict[str, Any], int]) -> None:
    """Do one thing to a session; being refused is a way to be done."""
    verb, payload, index = action
    try:
        if verb == "percepto":
            await runtime.send_percepto(session_id, percepto(**payload))
        else:
            await getattr(runtime, f"{verb}_fia")(session_id, index)
    except CapabilityError:
        pass


async def picture(runtime: Runtime, session_id: str) -> Any:
    """Everything that can be seen of a session."""
    return (
        await runtime.query_mundo(session_id, "*"),
        await runtime.list_fias(session_id),
        [await runtime.get_eferencia(session_id, index) for index in (0, 1)],
    )


@settings(max_examples=examples(25))
@given(mine=st.lists(ACTIONS, max_size=8), others=st.lists(ACTIONS, max_size=8))
def test_what_is_done_to_one_session_is_not_seen_in_another(
    mine: list[tuple[str, dict[str, Any], int]], others: list[tuple[str, dict[str, Any], int]]
) -> None:
    """A session ends up the same whether it is alone or beside a busy one."""

    async def alone() -> Any:
        async with Runtime(tell=telling([]), ticker=never) as runtime:
            session_id = (await runtime.create_session("demo-hibrida")).session_id
            for action in mine:
                await act(runtime, session_id, action)
            return await picture(runtime, session_id)

    async def beside() -> Any:
        async with Runtime(tell=telling([]), ticker=never) as runtime:
            session_id = (await runtime.create_session("demo-hibrida")).session_id
            other = (await runtime.create_session("demo-hibrida")).session_id

            async def disturb() -> None:
                for action in others:
                    await act(runtime, other, action)

            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(disturb())
                for action in mine:
                    await act(runtime, session_id, action)
            return await picture(runtime, session_id)

    assert asyncio.run(alone()) == asyncio.run(beside())
