"""PersefonBot, the MASTER of AAIA_ROOM: it translates between the room and the AAIA runtime.

Run it with ``python -m examples.persefon_bot [--url http://127.0.0.1:3010] [--data DIR]``.

AAIA_PLAY_FIA as a task ends when the FIA's run has ended: by AAIA_STOP_FIA, or with its mundo. With
``--data`` sessions and runs outlive the bot, and so does such a task. With ``--model`` there are
FIAs that think with a language model.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import logging
import sys
from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

from alephscript import (
    DEFAULT_URL,
    AlephScriptClient,
    AlephScriptError,
    CallNext,
    CapabilityError,
    Closed,
    NotConnected,
    Request,
    RequestError,
    Transport,
    aaia,
    capability,
)
from alephscript.protocol.text import printable
from examples.aaia_runtime.apps import DEMOS, FIA_CLASSES, MakeFIA
from examples.aaia_runtime.runtime import MAX_PLAYED, RoomChange, Runtime
from examples.aaia_runtime.store import SessionStore
from examples.attending import Asker

ROOM_EVENTS: dict[type[RoomChange], str] = {
    aaia.SessionCreated: "SESSION_CREATED",
    aaia.SessionDestroyed: "SESSION_DESTROYED",
    aaia.FIAStep: "FIA_STEP",
    aaia.EferenciaEmitted: "EFERENCIA",
    aaia.MundoChanged: "MUNDO_STATE",
    aaia.PerceptoSent: "PERCEPTO",
}
THREAD_ROOMS = (aaia.ENGINE_THREADS_ROOM, aaia.ENGINE_THREADS)

_served: ContextVar[Request[Any] | None] = ContextVar("persefon_request", default=None)


async def note_request(request: Request[Any], call_next: CallNext) -> Any:
    """Middleware by which methods that take payloads know the request, too."""
    _served.set(request)
    return await call_next(request)


def served() -> Request[Any] | None:
    """The request whose method runs here; None where a method was called by hand."""
    return _served.get()


class PersefonBot(AlephScriptClient):
    """Drives FIAs in mundos for whoever asks, and tells AAIA_ROOM what happened.

    The aliases are the names that upstream's clients ask by.

    Args:
        hub: The hub, as for `AlephScriptClient`.
        data: A folder that this bot has for itself, where sessions outlive it; None for memory.
        apps: The catalogue.
        classes: What FIAs are made of, by the catalogue's ``clase``.
        modelo: What every mundo's model begins with, over the app's own: ``pulso``, ``muerte`` …
        options: As for `AlephScriptClient`.
    """

    rooms = (aaia.AAIA_ROOM, *THREAD_ROOMS)
    middleware = (note_request,)
    says: ClassVar[Mapping[str, Any]] = {event: told for told, event in ROOM_EVENTS.items()}

    def __init__(
        self,
        hub: str | Transport = DEFAULT_URL,
        *,
        data: Path | None = None,
        apps: Iterable[aaia.AppInfo] = DEMOS,
        classes: Mapping[str, MakeFIA] = FIA_CLASSES,
        modelo: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        options.setdefault("sesion", hashlib.md5(b"PersefonBot", usedforsecurity=False).hexdigest())
        # Tasks that play leave the others their turns.
        options.setdefault("max_in_flight", MAX_PLAYED + 1024)
        super().__init__(hub, **options)
        self._runtime = Runtime(
            tell=self._tell,
            apps=apps,
            classes=classes,
            store=None if data is None else SessionStore(data),
            modelo=modelo,
        )
        self._plays: set[asyncio.Task[Any]] = set()
        self._is_leaving = False

    async def __aenter__(self) -> Self:
        await self._runtime.__aenter__()
        try:
            return await super().__aenter__()
        except BaseException:
            await self._runtime.__aexit__(*sys.exc_info())
            raise

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await super().__aexit__(exc_type, exc, traceback)
        await self._runtime.__aexit__(exc_type, exc, traceback)

    @capability(aliases=("AAIA_APPS",), announce=True, read_only=True)
    async def get_apps(self, _: aaia.GetApps) -> aaia.Apps:
        """The apps that sessions can be made of."""
        return await self._runtime.list_apps()

    @capability
    async def create_session(self, request: aaia.CreateSession) -> aaia.SessionOpened:
        """Make a session of an app."""
        return await self._runtime.create_session(request.app_id)

    @capability(aliases=("AAIA_SESSIONS",), read_only=True)
    async def list_sessions(self, _: aaia.ListSessions) -> aaia.Sessions:
        """The sessions there are."""
        return await self._runtime.list_sessions()

    @capability(destructive=True)
    async def destroy_session(self, request: aaia.DestroySession) -> aaia.SessionGone:
        """End a session."""
        return await self._runtime.destroy_session(request.session_id)

    @capability(read_only=True)
    async def list_fias(self, request: aaia.ListFIAs) -> aaia.FIAs:
        """The FIAs of a session."""
        return await self._runtime.list_fias(request.session_id)

    @capability
    async def start_fia(self, request: aaia.StartFIA) -> aaia.StateChange:
        """Run a FIA by its mundo's pulse."""
        return await self._runtime.start_fia(request.session_id, request.fia_index)

    @capability
    async def stop_fia(self, request: aaia.StopFIA) -> aaia.StateChange:
        """End a FIA's run."""
        return await self._runtime.stop_fia(request.session_id, request.fia_index)

    @capability(aliases=("AAIA_STEP",), timeout=30)
    async def step_fia(self, request: aaia.StepFIA) -> aaia.StepResult:
        """One reasoning step of a FIA."""
        asked = served()
        asker = None if asked is None else Asker(asked)
        return await self._runtime.step_fia(request.session_id, request.fia_index, asker)

    @capability(idempotent=True)
    async def play_fia(self, request: aaia.PlayFIA) -> aaia.StateChange:
        """Run a FIA by its mundo's pulse; as a task, until the run has ended."""
        task = served()
        if task is None or not task.is_task:
            return await self._runtime.play_fia(request.session_id, request.fia_index)
        return await self._play_run(request.session_id, request.fia_index, task)

    @capability
    async def pause_fia(self, request: aaia.PauseFIA) -> aaia.StateChange:
        """Hold a FIA."""
        return await self._runtime.pause_fia(request.session_id, request.fia_index)

    @capability
    async def send_percepto(self, request: aaia.SendPercepto) -> aaia.PerceptoProcessed:
        """Stimulate a session's mundo."""
        return await self._runtime.send_percepto(request.session_id, request.percepto)

    @capability(read_only=True)
    async def get_eferencia(self, request: aaia.GetEferencia) -> aaia.EferenciaOf:
        """The last output of a FIA."""
        return await self._runtime.get_eferencia(request.session_id, request.fia_index)

    @capability(read_only=True)
    async def query_mundo(self, request: aaia.QueryMundo) -> aaia.QueryResult:
        """A session's mundo, or a part of it."""
        return await self._runtime.query_mundo(request.session_id, request.query)

    @capability(room=THREAD_ROOMS, announce=True, read_only=True)
    async def get_list_of_threads(self, _: aaia.GetListOfThreads) -> aaia.Threads:
        """Every FIA of every session."""
        return await self._runtime.list_threads()

    async def _play_run(
        self, session_id: str, fia_index: int, task: Request[Any]
    ) -> aaia.StateChange:
        """Play until the run has ended, whoever of bot and hub is restarted meanwhile.

        The run has its number before it begins, so that the bot that is put to the task after a
        restart finds the same one: it begins that run if nobody has, waits for it if it goes on,
        and has the answer if it has ended.
        """
        runtime = self._runtime
        known = task.checkpoint_data
        if known is None:
            known = runtime.plan_run(session_id, fia_index)
            await task.checkpoint(known)
        this = asyncio.current_task()
        assert this is not None
        self._plays.add(this)
        try:
            cycles = runtime.play_run(session_id, fia_index, known["run"], Asker(task))
            async with contextlib.aclosing(cycles):
                async for cycle, share in cycles:
                    task.progress(share, f"cycle {cycle}")
                    # What counts is what the runtime has kept: a hub that cannot is no harm.
                    with contextlib.suppress(RequestError):
                        await task.checkpoint({**known, "cycle": cycle})
        except asyncio.CancelledError:
            if not self._is_leaving:
                with contextlib.suppress(CapabilityError):  # the session has gone before
                    await runtime.stop_fia(session_id, fia_index)
            raise
        finally:
            self._plays.discard(this)
        before = aaia.RunState(known["previousState"])
        return aaia.StateChange(fia_index, previous_state=before, new_state=aaia.RunState.STOP)

    async def drain(self, timeout: float | None = None) -> None:
        """Leave in peace: tasks that play go on at the next bot, all else is finished first."""
        self._let_go()
        await super().drain(timeout)

    async def on_closing(self) -> None:
        """Leave tasks that play to the next bot."""
        self._let_go()

    def _let_go(self) -> None:
        self._is_leaving = True
        for task in self._plays:
            task.cancel()

    async def _tell(self, change: RoomChange) -> None:
        # What happens while the hub is away, or the bot leaves, happens all the same; nobody is
        # there to hear it.
        with contextlib.suppress(NotConnected, Closed):
            await self.broadcast(ROOM_EVENTS[type(change)], change, room=aaia.AAIA_ROOM)


def make_bot(options: argparse.Namespace) -> PersefonBot:
    """The bot that the options of a command line mean."""
    if options.model is None:
        return PersefonBot(options.url, data=options.data, retry_open=True)
    try:
        from examples.aaia_runtime.conexionista import make_model
        from examples.thinking_bot import ThinkingBot
    except ModuleNotFoundError as error:
        raise SystemExit(
            f"a model needs {error.name}; install it with pip install 'alephscript[examples,llm]'"
        ) from None
    try:
        model = make_model(options.model, options.model_url)
    except RuntimeError:  # pydantic-ai's
        raise SystemExit(
            "persefon_bot: OpenAI needs a key (OPENAI_API_KEY); name another server by --model-url"
        ) from None
    return ThinkingBot(options.url, model=model, data=options.data, retry_open=True)


def main() -> int:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(prog="python -m examples.persefon_bot", description=__doc__)
    parser.add_argument(
        "--url", default=DEFAULT_URL, help="the hub (%(default)s); also ALEPHSCRIPT_URL"
    )
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help="a folder in which sessions outlive the bot"
    )
    parser.add_argument(
        "--model",
        metavar="NAME",
        help="a language model that FIAs think with; 'test' is one without weights",
    )
    parser.add_argument(
        "--model-url",
        metavar="URL",
        help="where the model is: the address of any server that speaks OpenAI's chat "
        "completions, up to /v1; also OPENAI_BASE_URL. The key is OPENAI_API_KEY",
    )
    options = parser.parse_args()
    if options.model_url and not options.model:
        parser.error("--model-url needs the name of a model, too (--model)")
    logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")
    try:
        make_bot(options).run()
    except AlephScriptError as error:
        print(printable(f"persefon_bot: {error}"), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
