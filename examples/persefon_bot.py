"""PersefonBot, the MASTER of AAIA_ROOM: it translates between the room and the AAIA runtime.

Run it with ``python -m examples.persefon_bot [--url http://127.0.0.1:3010]``.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import logging
import sys
from collections.abc import Mapping
from types import TracebackType
from typing import Any, ClassVar, Self

from alephscript import (
    DEFAULT_URL,
    AlephScriptClient,
    AlephScriptError,
    NotConnected,
    Transport,
    aaia,
    capability,
)
from alephscript.protocol.text import printable
from examples.aaia_runtime.runtime import RoomChange, Runtime

ROOM_EVENTS: dict[type[RoomChange], str] = {
    aaia.SessionCreated: "SESSION_CREATED",
    aaia.SessionDestroyed: "SESSION_DESTROYED",
    aaia.FIAStep: "FIA_STEP",
    aaia.EferenciaEmitted: "EFERENCIA",
    aaia.MundoChanged: "MUNDO_STATE",
    aaia.PerceptoSent: "PERCEPTO",
}
THREAD_ROOMS = (aaia.ENGINE_THREADS_ROOM, aaia.ENGINE_THREADS)


class PersefonBot(AlephScriptClient):
    """Drives FIAs in mundos for whoever asks, and tells AAIA_ROOM what happened.

    The aliases are the names that upstream's clients ask by.
    """

    rooms = (aaia.AAIA_ROOM, *THREAD_ROOMS)
    says: ClassVar[Mapping[str, Any]] = {event: told for told, event in ROOM_EVENTS.items()}

    def __init__(self, hub: str | Transport = DEFAULT_URL, **options: Any) -> None:
        options.setdefault("sesion", hashlib.md5(b"PersefonBot", usedforsecurity=False).hexdigest())
        super().__init__(hub, **options)
        self._runtime = Runtime(tell=self._tell)

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
        return await self._runtime.step_fia(request.session_id, request.fia_index)

    @capability
    async def play_fia(self, request: aaia.PlayFIA) -> aaia.StateChange:
        """Run a FIA by its mundo's pulse."""
        return await self._runtime.play_fia(request.session_id, request.fia_index)

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

    async def _tell(self, change: RoomChange) -> None:
        # What happens while the hub is away happens all the same; nobody is there to hear it.
        with contextlib.suppress(NotConnected):
            await self.broadcast(ROOM_EVENTS[type(change)], change, room=aaia.AAIA_ROOM)


def main() -> int:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(prog="python -m examples.persefon_bot", description=__doc__)
    parser.add_argument(
        "--url", default=DEFAULT_URL, help="the hub (%(default)s); also ALEPHSCRIPT_URL"
    )
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")
    try:
        PersefonBot(options.url, retry_open=True).run()
    except AlephScriptError as error:
        print(printable(f"persefon_bot: {error}"), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
