"""How FIAs run: single steps, the pulse, and what the room is told of them.

The pulse is a ticker that the test beats; nothing waits for a real second.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from alephscript import StateError, aaia
from alephscript.aaia import AppFIA, AppInfo, Eferencia, MundoConfig, Percepto, RunState
from examples.aaia_runtime.apps import DEMOS, FIA_CLASSES
from examples.aaia_runtime.errors import FIANotFound, InvalidState, SessionNotFound
from examples.aaia_runtime.fia import FIA
from examples.aaia_runtime.mundo import EL_MUNDO_ACABARA, Mundo
from examples.aaia_runtime.runtime import RoomChange, Runtime

pytestmark = pytest.mark.anyio

STEP = [aaia.FIAStep, aaia.EferenciaEmitted, aaia.MundoChanged]


class Room:
    """Remembers what it is told, and lets a test wait for it."""

    def __init__(self) -> None:
        self.told: list[RoomChange] = []
        self._more = anyio.Event()

    async def __call__(self, change: RoomChange) -> None:
        self.told.append(change)
        self._more.set()

    @property
    def kinds(self) -> list[type]:
        """The classes of what it was told."""
        return [type(change) for change in self.told]

    async def until(self, kind: type, count: int = 1) -> Any:
        """The count-th change of a kind."""
        with anyio.fail_after(5):
            while True:
                found = [change for change in self.told if isinstance(change, kind)]
                if len(found) >= count:
                    return found[count - 1]
                self._more = anyio.Event()
                await self._more.wait()


class Ticker:
    """A pulse that beats when the test says so."""

    def __init__(self) -> None:
        self.asked: list[float] = []
        self._waiting = anyio.Event()
        self._beats = anyio.Semaphore(0)

    async def __call__(self, seconds: float) -> None:
        self.asked.append(seconds)
        self._waiting.set()
        await self._beats.acquire()

    async def beat(self) -> None:
        """Let one waiting pulse go, and wait until it is back for the next, or done."""
        await self.waited_for()
        self._waiting = anyio.Event()
        self._beats.release()
        await anyio.wait_all_tasks_blocked()

    async def waited_for(self) -> None:
        """Until a mundo waits for its pulse."""
        with anyio.fail_after(5):
            await self._waiting.wait()


class Pensador(FIA):
    """Reasons until it is let go, to be caught in the act."""

    paradigma: ClassVar[str] = "otro"
    capacidades: ClassVar[tuple[str, ...]] = ()
    go: ClassVar[threading.Event]
    began: ClassVar[threading.Semaphore]
    at_once: ClassVar[list[int]]

    def reason(self, mundo: Mundo, aferencia: Percepto | None) -> Eferencia:
        """Wait, then say what reached it."""
        self.at_once.append(self.at_once[-1] + 1)
        self.began.release()
        assert self.go.wait(10)
        self.at_once.append(self.at_once[-1] - 1)
        mundo.modelo["pensado"] = mundo.modelo.get("pensado", 0) + 1
        payload = self.report(mundo, de=aferencia.payload if aferencia else None)
        return Eferencia(tipo=aaia.TipoEferencia.DATO, payload=payload)


class Torpe(FIA):
    """Fails at whatever reaches it, and at nothing else."""

    paradigma: ClassVar[str] = "otro"
    capacidades: ClassVar[tuple[str, ...]] = ()

    def reason(self, mundo: Mundo, aferencia: Percepto | None) -> Eferencia:
        """Fail, or not."""
        mundo.modelo["torpe"] = True
        if aferencia is not None:
            raise ZeroDivisionError
        return Eferencia(tipo=aaia.TipoEferencia.NOOP, payload=self.report(mundo))


class Destructor(FIA):
    """Spoils its mundo."""

    paradigma: ClassVar[str] = "otro"
    capacidades: ClassVar[tuple[str, ...]] = ()

    def reason(self, mundo: Mundo, aferencia: Percepto | None) -> Eferencia:
        """Make the pulse something that is no number."""
        mundo.modelo["pulso"] = "nunca"
        return Eferencia(tipo=aaia.TipoEferencia.NOOP, payload={})


def app_of(*clases: str) -> AppInfo:
    """An app of FIAs of those classes, its id their names."""
    fias = [AppFIA(nombre=clase, paradigma="otro", clase=clase) for clase in clases]
    return AppInfo("+".join(clases), "Test", "otro", fias, MundoConfig("m", {}, "texto"))


APPS: Sequence[AppInfo] = (
    *DEMOS,
    app_of("Pensador"),
    app_of("Pensador", "Pensador"),
    app_of("Torpe"),
    app_of("Torpe", "Torpe"),
    app_of("Destructor"),
)
CLASSES: dict[str, type[FIA]] = {
    **FIA_CLASSES,
    "Pensador": Pensador,
    "Torpe": Torpe,
    "Destructor": Destructor,
}


@pytest.fixture
def room() -> Room:
    """Who is told."""
    return Room()


@pytest.fixture
def ticker() -> Ticker:
    """The pulse."""
    return Ticker()


@pytest.fixture(autouse=True)
def pensador(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Pensador]]:
    """The class, its brakes fresh; at the end whoever still thinks is let go."""
    monkeypatch.setattr(Pensador, "go", threading.Event(), raising=False)
    monkeypatch.setattr(Pensador, "began", threading.Semaphore(0), raising=False)
    monkeypatch.setattr(Pensador, "at_once", [0], raising=False)
    yield Pensador
    Pensador.go.set()


@pytest.fixture
async def runtime(room: Room, ticker: Ticker) -> AsyncIterator[Runtime]:
    """An open runtime that beats by hand; its mundos have three days."""
    options: dict[str, Any] = {"apps": APPS, "classes": CLASSES, "modelo": {"muerte": 3}}
    async with Runtime(tell=room, ticker=ticker, **options) as runtime:
        yield runtime


async def open_session(runtime: Runtime, room: Room, app_id: str = "demo-logica") -> str:
    """A fresh session's id; what the room was told of it is forgotten."""
    opened = await runtime.create_session(app_id)
    room.told.clear()
    return opened.session_id


async def state(runtime: Runtime, session_id: str, index: int = 0) -> RunState:
    """What a FIA is doing."""
    return (await runtime.list_fias(session_id)).fias[index].run_state


async def modelo(runtime: Runtime, session_id: str) -> dict[str, Any]:
    """The mundo's model."""
    return (await runtime.query_mundo(session_id)).mundo.modelo


async def begun() -> None:
    """Until a Pensador thinks."""
    with anyio.fail_after(5):
        assert await anyio.to_thread.run_sync(Pensador.began.acquire)


@asynccontextmanager
async def thinking(runtime: Runtime, session_id: str) -> AsyncIterator[asyncio.Task[Any]]:
    """While a step of a Pensador is under way; afterwards it may end."""
    task = asyncio.create_task(runtime.step_fia(session_id, 0))
    await begun()
    yield task
    Pensador.go.set()


def percepto(**payload: Any) -> Percepto:
    """A percepto of that payload."""
    return Percepto(tipo=aaia.TipoPercepto.SENSOR, payload=payload)


class TestSingleStep:
    """One step, as AAIA_STEP_FIA asks for it."""

    async def test_is_made_in_play_step_and_leaves_the_fia_in_pause(
        self, runtime: Runtime, room: Room
    ) -> None:
        """The answer and FIA_STEP say the one, MUNDO_STATE and the list the other."""
        session_id = await open_session(runtime, room)
        await runtime.send_percepto(session_id, percepto(query="p(X,Y)"))
        room.told.clear()
        result = await runtime.step_fia(session_id, 0)
        assert (result.run_state, result.cycles) == (RunState.PLAY_STEP, 1)
        assert result.eferencia.payload["meta"]["numSoluciones"] == 3
        assert result.execution_time_ms > 0
        assert room.kinds == STEP
        step, emitted, changed = room.told
        assert isinstance(step, aaia.FIAStep)
        assert isinstance(emitted, aaia.EferenciaEmitted)
        assert isinstance(changed, aaia.MundoChanged)
        assert (step.run_state, step.ciclo) == (RunState.PLAY_STEP, 2)
        assert step.eferencia == emitted.eferencia == result.eferencia
        assert changed.mundo.run_state is RunState.PAUSE
        assert changed.mundo.modelo["ciclo"] == result.eferencia.payload["ciclo"] == 2
        assert await state(runtime, session_id) is RunState.PAUSE

    async def test_uses_up_what_reached_the_fia(self, runtime: Runtime, room: Room) -> None:
        """The next step has nothing to reason about."""
        session_id = await open_session(runtime, room)
        await runtime.send_percepto(session_id, percepto(query="q(a)"))
        first = await runtime.step_fia(session_id, 0)
        second = await runtime.step_fia(session_id, 0)
        assert first.eferencia.payload["exito"]
        assert not second.eferencia.payload["exito"]
        assert second.cycles == 2
        last = await runtime.get_eferencia(session_id, 0)
        assert last.eferencia == second.eferencia
        kept = (await modelo(runtime, session_id))["ultimaEferencia"]
        assert kept["payload"] == second.eferencia.payload

    async def test_takes_a_playing_fia_out_of_its_run(
        self, runtime: Runtime, room: Room, ticker: Ticker
    ) -> None:
        """From there it goes on step by step."""
        session_id = await open_session(runtime, room)
        await runtime.play_fia(session_id, 0)
        assert (await runtime.step_fia(session_id, 0)).run_state is RunState.PLAY_STEP
        assert await state(runtime, session_id) is RunState.PAUSE
        room.told.clear()
        await ticker.beat()
        assert room.told == []
        assert (await modelo(runtime, session_id))["dia"] == 0

    async def test_is_in_play_step_while_it_is_made(self, runtime: Runtime, room: Room) -> None:
        """Whoever looks meanwhile sees it."""
        session_id = await open_session(runtime, room, "Pensador")
        async with thinking(runtime, session_id) as step:
            assert await state(runtime, session_id) is RunState.PLAY_STEP
        await step
        assert await state(runtime, session_id) is RunState.PAUSE

    @pytest.mark.parametrize("last_word", [RunState.STOP, RunState.PLAY, RunState.PAUSE])
    async def test_leaves_the_last_word_to_whoever_changed_the_state_meanwhile(
        self, runtime: Runtime, room: Room, last_word: RunState
    ) -> None:
        """A step does not undo a stop."""
        session_id = await open_session(runtime, room, "Pensador")
        async with thinking(runtime, session_id) as step:
            change = getattr(runtime, f"{last_word.value.lower()}_fia")
            assert (await change(session_id, 0)).previous_state is RunState.PLAY_STEP
        assert (await step).run_state is RunState.PLAY_STEP
        assert await state(runtime, session_id) is last_word

    async def test_steps_of_one_session_are_made_one_by_one(
        self, runtime: Runtime, room: Room
    ) -> None:
        """Its FIAs live in one mundo."""
        session_id = await open_session(runtime, room, "Pensador+Pensador")
        Pensador.go.set()
        async with asyncio.TaskGroup() as tasks:
            for index in (0, 1, 0, 1):
                tasks.create_task(runtime.step_fia(session_id, index))
        assert max(Pensador.at_once) == 1
        assert (await modelo(runtime, session_id))["pensado"] == 4
        assert room.kinds == STEP * 4

    async def test_sessions_do_not_wait_for_each_other(self, runtime: Runtime, room: Room) -> None:
        """Nor does the loop."""
        busy = await open_session(runtime, room, "Pensador")
        idle = await open_session(runtime, room)
        async with thinking(runtime, busy) as step:
            await runtime.send_percepto(idle, percepto(query="q(a)"))
            assert (await runtime.step_fia(idle, 0)).eferencia.payload["exito"]
            assert not step.done()
        await step

    async def test_a_percepto_that_comes_meanwhile_is_for_the_next_step(
        self, runtime: Runtime, room: Room
    ) -> None:
        """Nothing that was sent is lost."""
        session_id = await open_session(runtime, room, "Pensador")
        async with thinking(runtime, session_id) as step:
            sending = asyncio.create_task(runtime.send_percepto(session_id, percepto(x=1)))
            await anyio.wait_all_tasks_blocked()
        assert (await step).eferencia.payload["de"] is None
        await sending
        assert (await runtime.step_fia(session_id, 0)).eferencia.payload["de"] == {"x": 1}
        assert (await modelo(runtime, session_id))["ciclo"] == 3

    async def test_that_fails_leaves_no_trace_but_the_pause(
        self, runtime: Runtime, room: Room
    ) -> None:
        """The mundo is as it was, and what made the FIA fail does not do so again."""
        session_id = await open_session(runtime, room, "Torpe")
        await runtime.send_percepto(session_id, percepto(x=1))
        room.told.clear()
        with pytest.raises(ZeroDivisionError):
            await runtime.step_fia(session_id, 0)
        assert room.kinds == [aaia.MundoChanged]
        assert await state(runtime, session_id) is RunState.PAUSE
        assert "torpe" not in await modelo(runtime, session_id)
        assert (await runtime.get_eferencia(session_id, 0)).eferencia is None
        assert (await runtime.step_fia(session_id, 0)).cycles == 1


class TestStates:
    """What is asked of a FIA, and what it is doing then."""

    async def test_every_change_says_before_and_after_and_is_told(
        self, runtime: Runtime, room: Room
    ) -> None:
        """START is PLAY."""
        session_id = await open_session(runtime, room)
        changes = [
            await runtime.start_fia(session_id, 0),
            await runtime.pause_fia(session_id, 0),
            await runtime.play_fia(session_id, 0),
            await runtime.stop_fia(session_id, 0),
        ]
        assert [(each.previous_state.value, each.new_state.value) for each in changes] == [
            ("STOP", "PLAY"),
            ("PLAY", "PAUSE"),
            ("PAUSE", "PLAY"),
            ("PLAY", "STOP"),
        ]
        told = [
            change.mundo.run_state for change in room.told if isinstance(change, aaia.MundoChanged)
        ]
        assert told == [each.new_state for each in changes]

    @pytest.mark.parametrize("verb", ["play", "stop"])
    async def test_what_changes_nothing_is_no_error_and_not_told(
        self, runtime: Runtime, room: Room, verb: str
    ) -> None:
        """Playing twice, stopping twice."""
        session_id = await open_session(runtime, room)
        await getattr(runtime, f"{verb}_fia")(session_id, 0)
        room.told.clear()
        again = await getattr(runtime, f"{verb}_fia")(session_id, 0)
        assert again.previous_state is again.new_state
        assert room.told == []

    async def test_a_stopped_fia_cannot_be_held(self, runtime: Runtime, room: Room) -> None:
        """There is nothing to hold."""
        session_id = await open_session(runtime, room)
        with pytest.raises(InvalidState, match="LogicaFIA is stopped") as caught:
            await runtime.pause_fia(session_id, 0)
        assert caught.value.code == "invalid_state"

    @pytest.mark.parametrize("index", [-1, 2, 10**9])
    @pytest.mark.parametrize("verb", ["start", "stop", "play", "pause", "step"])
    async def test_an_index_out_of_range_names_the_range(
        self, runtime: Runtime, room: Room, verb: str, index: int
    ) -> None:
        """Negative ones do not count from the end."""
        session_id = await open_session(runtime, room, "demo-hibrida")
        with pytest.raises(FIANotFound, match="the session has 0 to 1") as caught:
            await getattr(runtime, f"{verb}_fia")(session_id, index)
        assert caught.value.code == "fia_not_found"


class TestPulse:
    """The run of a mundo, day by day."""

    async def test_each_pulse_is_a_day_and_a_step_of_each_fia_in_play(
        self, runtime: Runtime, room: Room, ticker: Ticker
    ) -> None:
        """The one that is held does not reason."""
        session_id = await open_session(runtime, room, "demo-hibrida")
        await runtime.play_fia(session_id, 0)
        await runtime.pause_fia(session_id, 0)
        await runtime.play_fia(session_id, 1)
        room.told.clear()
        await ticker.beat()
        step = await room.until(aaia.FIAStep)
        assert (step.fia_index, step.run_state) == (1, RunState.PLAY)
        await room.until(aaia.MundoChanged)
        assert room.kinds == STEP
        assert (await modelo(runtime, session_id))["dia"] == 1
        await runtime.play_fia(session_id, 0)
        await ticker.beat()
        assert (await room.until(aaia.FIAStep, 3)).fia_index == 1
        assert (await modelo(runtime, session_id))["dia"] == 2

    async def test_beats_as_often_as_the_mundo_says(self, room: Room, ticker: Ticker) -> None:
        """The pulse is in milliseconds, the ticker counts seconds."""
        async with Runtime(tell=room, ticker=ticker, modelo={"pulso": 1500}) as runtime:
            session_id = await open_session(runtime, room)
            await runtime.play_fia(session_id, 0)
            await ticker.waited_for()
        assert ticker.asked == [1.5]

    async def test_a_fia_in_play_reasons_about_what_is_sent(
        self, runtime: Runtime, room: Room, ticker: Ticker
    ) -> None:
        """At the next pulse."""
        session_id = await open_session(runtime, room)
        await runtime.play_fia(session_id, 0)
        await runtime.send_percepto(session_id, percepto(query="p(X,Y)"))
        await ticker.beat()
        step = await room.until(aaia.FIAStep)
        assert step.eferencia.payload["meta"]["numSoluciones"] == 3

    @pytest.mark.parametrize("verb", ["pause", "stop"])
    async def test_no_day_passes_while_nothing_is_in_play(
        self, runtime: Runtime, room: Room, ticker: Ticker, verb: str
    ) -> None:
        """And from where it stood the mundo goes on."""
        session_id = await open_session(runtime, room)
        await runtime.play_fia(session_id, 0)
        await getattr(runtime, f"{verb}_fia")(session_id, 0)
        await ticker.beat()
        assert (await modelo(runtime, session_id))["dia"] == 0
        assert len(ticker.asked) == 1
        await runtime.play_fia(session_id, 0)
        await ticker.beat()
        await room.until(aaia.FIAStep)
        assert (await modelo(runtime, session_id))["dia"] == 1

    async def test_after_its_last_day_the_mundo_is_over(
        self, runtime: Runtime, room: Room, ticker: Ticker
    ) -> None:
        """Its FIAs are stopped, elMundoAcabara is told, and nothing lives in it any more."""
        session_id = await open_session(runtime, room, "demo-situada")
        await runtime.play_fia(session_id, 0)
        for day in (1, 2, 3):
            await ticker.beat()
            await room.until(aaia.FIAStep, day)
        last: aaia.MundoChanged = await room.until(aaia.MundoChanged, 5)
        assert room.told.index(last) == len(room.told) - 1
        assert (last.mundo.vivo, last.mundo.run_state) == (False, RunState.STOP)
        assert last.mundo.modelo["estado"] == EL_MUNDO_ACABARA
        for refused in (runtime.play_fia, runtime.start_fia, runtime.pause_fia, runtime.step_fia):
            with pytest.raises(InvalidState, match="the mundo is over"):
                await refused(session_id, 0)
        with pytest.raises(InvalidState):
            await runtime.send_percepto(session_id, percepto(x=1))
        assert (await runtime.stop_fia(session_id, 0)).new_state is RunState.STOP
        assert (await runtime.query_mundo(session_id, "modelo.dia")).result == 3
        assert (await runtime.get_eferencia(session_id, 0)).eferencia is not None

    async def test_a_fia_that_fails_is_held_and_the_mundo_goes_on(
        self, runtime: Runtime, room: Room, ticker: Ticker, caplog: pytest.LogCaptureFixture
    ) -> None:
        """One bad step is not the end."""
        session_id = await open_session(runtime, room, "Torpe")
        await runtime.play_fia(session_id, 0)
        await runtime.send_percepto(session_id, percepto(x=1))
        await ticker.beat()
        held = await room.until(aaia.MundoChanged, 3)
        assert held.mundo.run_state is RunState.PAUSE
        assert "Torpe failed at a pulse and is held" in caplog.text
        await runtime.play_fia(session_id, 0)
        await ticker.beat()
        await room.until(aaia.FIAStep)

    async def test_a_fia_that_fails_does_not_keep_the_others_from_their_step(
        self, runtime: Runtime, room: Room, ticker: Ticker
    ) -> None:
        """Neither in the same pulse nor in the next."""
        session_id = await open_session(runtime, room, "Torpe+Torpe")
        await runtime.send_percepto(session_id, percepto(x=1))
        await runtime.play_fia(session_id, 0)
        with pytest.raises(ZeroDivisionError):  # the second has nothing left to fail at
            await runtime.step_fia(session_id, 1)
        await runtime.play_fia(session_id, 1)
        room.told.clear()
        await ticker.beat()
        step = await room.until(aaia.FIAStep)
        assert (step.fia_index, step.run_state) == (1, RunState.PLAY)
        await room.until(aaia.MundoChanged, 2)
        assert room.kinds == [aaia.MundoChanged, *STEP]
        assert [await state(runtime, session_id, index) for index in (0, 1)] == [
            RunState.PAUSE,
            RunState.PLAY,
        ]
        await ticker.beat()
        assert (await room.until(aaia.FIAStep, 2)).fia_index == 1

    async def test_a_spoilt_mundo_ends_its_own_pulse_only(
        self, runtime: Runtime, room: Room, ticker: Ticker, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Other sessions live on."""
        other = await open_session(runtime, room)
        session_id = await open_session(runtime, room, "Destructor")
        await runtime.play_fia(session_id, 0)
        await ticker.beat()
        await room.until(aaia.FIAStep)
        await anyio.wait_all_tasks_blocked()
        assert f"the pulse of session {session_id} has ended" in caplog.text
        assert await state(runtime, session_id) is RunState.STOP
        assert (await runtime.step_fia(other, 0)).cycles == 1


class TestCancellation:
    """Those who ask may go away at any time."""

    async def test_a_step_whose_asker_gave_up_is_made_and_told_all_the_same(
        self, runtime: Runtime, room: Room
    ) -> None:
        """And the next one waits for it: the deadlines of the SDK cancel askers just so."""
        session_id = await open_session(runtime, room, "Pensador")
        step = asyncio.create_task(runtime.step_fia(session_id, 0))
        await begun()
        step.cancel()
        with pytest.raises(asyncio.CancelledError):
            await step
        following = asyncio.create_task(runtime.step_fia(session_id, 0))
        await anyio.wait_all_tasks_blocked()
        Pensador.go.set()
        assert (await following).cycles == 2
        assert max(Pensador.at_once) == 1
        assert room.kinds == STEP * 2

    async def test_a_step_that_was_given_up_before_it_began_is_not_made(
        self, runtime: Runtime, room: Room
    ) -> None:
        """Its asker is not there to want it, and the turn goes on."""
        session_id = await open_session(runtime, room, "Pensador")
        async with thinking(runtime, session_id) as step:
            waiting = asyncio.create_task(runtime.step_fia(session_id, 0))
            await anyio.wait_all_tasks_blocked()
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
        assert (await step).cycles == 1
        assert (await runtime.step_fia(session_id, 0)).cycles == 2

    async def test_a_session_destroyed_during_a_step_is_told_of_no_more(
        self, runtime: Runtime, room: Room
    ) -> None:
        """SESSION_DESTROYED is the last of it."""
        session_id = await open_session(runtime, room, "Pensador")
        async with thinking(runtime, session_id) as step:
            await runtime.destroy_session(session_id)
        with pytest.raises(SessionNotFound):
            await step
        assert room.kinds == [aaia.SessionDestroyed]

    async def test_a_session_destroyed_during_a_pulse_is_told_of_no_more(
        self, runtime: Runtime, room: Room, ticker: Ticker, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Neither of the step that was being made nor of those to come; it is no failure."""
        session_id = await open_session(runtime, room, "Pensador+Pensador")
        await runtime.play_fia(session_id, 0)
        await runtime.play_fia(session_id, 1)
        await ticker.waited_for()
        beating = asyncio.create_task(ticker.beat())
        await begun()
        room.told.clear()
        await runtime.destroy_session(session_id)
        Pensador.go.set()
        await beating
        await anyio.wait_all_tasks_blocked()
        assert room.kinds == [aaia.SessionDestroyed]
        assert Pensador.at_once == [0, 1, 0]
        assert "failed" not in caplog.text

    async def test_what_waits_for_its_turn_learns_that_the_session_is_gone(
        self, runtime: Runtime, room: Room
    ) -> None:
        """Steps and perceptos alike."""
        session_id = await open_session(runtime, room, "Pensador")
        async with thinking(runtime, session_id) as step:
            late = [
                asyncio.create_task(runtime.step_fia(session_id, 0)),
                asyncio.create_task(runtime.send_percepto(session_id, percepto(x=1))),
            ]
            await anyio.wait_all_tasks_blocked()
            await runtime.destroy_session(session_id)
        with anyio.fail_after(5):
            outcomes = await asyncio.gather(step, *late, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [SessionNotFound] * 3

    async def test_leaving_the_runtime_waits_for_the_thread_and_tells_nothing(
        self, room: Room, ticker: Ticker
    ) -> None:
        """Whoever waits for the step is not left waiting."""
        async with Runtime(tell=room, ticker=ticker, apps=APPS, classes=CLASSES) as runtime:
            session_id = await open_session(runtime, room, "Pensador")
            async with thinking(runtime, session_id) as step:
                pass
        with pytest.raises((SessionNotFound, StateError)):
            await step
        assert Pensador.at_once[-1] == 0
        assert room.told == []

    async def test_leaving_the_runtime_leaves_nobody_waiting_for_a_turn(
        self, room: Room, ticker: Ticker
    ) -> None:
        """However many wait, and whatever for: they learn that the session is gone."""
        async with Runtime(tell=room, ticker=ticker, apps=APPS, classes=CLASSES) as runtime:
            session_id = await open_session(runtime, room, "Pensador")
            async with thinking(runtime, session_id) as step:
                waiting: list[asyncio.Task[Any]] = []
                for _ in range(3):
                    # Perceptos take their turn and return it in their askers' tasks: when the
                    # step behind them has its own, the runtime has ended.
                    for _ in range(3):
                        sending = runtime.send_percepto(session_id, percepto(x=1))
                        waiting.append(asyncio.create_task(sending))
                    waiting.append(asyncio.create_task(runtime.step_fia(session_id, 0)))
                await anyio.wait_all_tasks_blocked()
        with anyio.fail_after(5):
            outcomes = await asyncio.gather(step, *waiting, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {SessionNotFound}

    async def test_leaving_the_runtime_ends_what_waits_to_be_told(self) -> None:
        """A room that never listens holds nobody for ever."""
        stuck = anyio.Event()

        async def never(change: RoomChange) -> None:
            if isinstance(change, aaia.FIAStep):
                stuck.set()
                await anyio.sleep_forever()

        async with Runtime(tell=never) as runtime:
            session_id = (await runtime.create_session("demo-logica")).session_id
            step = asyncio.create_task(runtime.step_fia(session_id, 0))
            with anyio.fail_after(5):
                await stuck.wait()
        with pytest.raises(StateError, match="closed during the step"):
            await step

    async def test_leaving_the_runtime_ends_the_pulse(self, room: Room, ticker: Ticker) -> None:
        """No task and no FIA in play is left behind."""
        before = asyncio.all_tasks()
        async with Runtime(tell=room, ticker=ticker) as runtime:
            session_id = await open_session(runtime, room)
            await runtime.play_fia(session_id, 0)
            await ticker.waited_for()
        assert asyncio.all_tasks() == before


class TestTelling:
    """What the room hears, and what it cannot spoil."""

    async def test_a_room_that_cannot_be_told_stops_nothing(
        self, ticker: Ticker, caplog: pytest.LogCaptureFixture
    ) -> None:
        """What happens, happens; the log says that nobody heard of it."""

        async def deaf(_: RoomChange) -> None:
            raise ConnectionError

        async with Runtime(tell=deaf, ticker=ticker, modelo={"muerte": 1}) as runtime:
            session_id = (await runtime.create_session("demo-situada")).session_id
            await runtime.play_fia(session_id, 0)
            await ticker.beat()
            with anyio.fail_after(5):
                while (await runtime.query_mundo(session_id, "vivo")).result:
                    await anyio.wait_all_tasks_blocked()
            await runtime.destroy_session(session_id)
        assert "the room was not told of a SessionCreated" in caplog.text
        assert all(record.levelno == logging.ERROR for record in caplog.records if record.exc_info)

    async def test_tells_in_the_order_in_which_things_happened(self, ticker: Ticker) -> None:
        """However long each telling takes."""
        told: list[RunState] = []
        patience = iter(range(100, 0, -10))

        async def slow(change: RoomChange) -> None:
            if isinstance(change, aaia.MundoChanged):
                for _ in range(next(patience)):
                    await anyio.lowlevel.checkpoint()
                told.append(change.mundo.run_state)

        async with Runtime(tell=slow, ticker=ticker) as runtime:
            session_id = (await runtime.create_session("demo-logica")).session_id
            async with asyncio.TaskGroup() as tasks:
                for change in (runtime.play_fia, runtime.pause_fia) * 5:
                    tasks.create_task(change(session_id, 0))
        assert told == [RunState.PLAY, RunState.PAUSE] * 5

    async def test_what_the_room_does_to_what_it_is_told_changes_nothing(
        self, runtime: Runtime, room: Room
    ) -> None:
        """A mundo that was told of is a picture of it."""
        session_id = await open_session(runtime, room)
        await runtime.play_fia(session_id, 0)
        (changed,) = room.told
        assert isinstance(changed, aaia.MundoChanged)
        changed.mundo.modelo["dominio"]["base"].append("mine")
        assert (await modelo(runtime, session_id))["dominio"] == {"base": []}
