"""The whole SDK as its users have it: `alephscript hub`, typed requests, `@capability`, `@on`.

With modules to do ``without``, as it is where the ``[fast]`` extra is not installed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import attrs

from alephscript import AlephScriptClient, Event, RequestFor, capability, observe, on
from tests.benchmarks import work
from tests.benchmarks.contenders import Ask, Options, Say, interpreter


def hub(port: int, options: Options) -> list[str]:
    """The command line; see `tests.benchmarks.contenders`."""
    program = "import sys; from alephscript.cli import main; sys.exit(main())"
    if "without" in options:
        program = f"import sys; sys.modules.update(dict.fromkeys({options['without']})); {program}"
    command = [*interpreter(options), "-c", program]
    return [*command, "hub", "--host", work.HOST, "--port", str(port)]


@attrs.frozen
class Eferencia:
    """What a step did."""

    tipo: str
    paso: int
    accion: str


@attrs.frozen
class Avance:
    """The answer of `work.answer`."""

    session_id: str
    fia_index: int
    run_state: str
    eferencia: Eferencia
    relleno: str | None = None


@attrs.frozen
class Avanzar(RequestFor[Avance], capability=work.CAPABILITY):
    """The question of `work.question`."""

    session_id: str
    fia_index: int
    paso: int
    relleno: str | None = None


class Maestro(AlephScriptClient):
    """The master of the room."""

    rooms = (work.ROOM,)

    @capability
    async def avanzar(self, asked: Avanzar) -> Avance:
        """As `work.answer`, typed."""
        return Avance(
            session_id=asked.session_id,
            fia_index=asked.fia_index,
            run_state="PLAY_STEP",
            eferencia=Eferencia("accion", asked.paso, "girar a la derecha"),
            relleno=asked.relleno,
        )


class Observador(AlephScriptClient):
    """A member of the room."""

    rooms = observe(work.ROOM)

    def __init__(self, hub: str, heard: Callable[[], None]) -> None:
        super().__init__(hub)
        self._heard = heard

    @on(work.EVENT)
    async def avance(self, event: Event[Any]) -> None:
        """Count it, once it is seen to be decoded."""
        assert event.data["eferencia"]
        self._heard()


async def requester(port: int, options: Options) -> Ask:
    """See `tests.benchmarks.contenders`."""
    client = AlephScriptClient(_url(port))
    await _open(client)

    async def ask(paso: int, relleno: str) -> bool:
        answered = await client.request(Avanzar(work.SESSION, 0, paso, relleno or None), timeout=60)
        return answered.eferencia.paso == paso and (answered.relleno or "") == relleno

    return ask


async def master(port: int, options: Options) -> Say:
    """See `tests.benchmarks.contenders`."""
    client = Maestro(_url(port))
    await _open(client)

    async def say(paso: int) -> None:
        await client.broadcast(work.EVENT, work.event(paso))

    return say


async def observer(port: int, options: Options, heard: Callable[[], None]) -> None:
    """See `tests.benchmarks.contenders`."""
    await _open(Observador(_url(port), heard))


async def _open(client: AlephScriptClient) -> None:
    # Never left: the process ends with its clients connected.
    await contextlib.AsyncExitStack().enter_async_context(client)


def _url(port: int) -> str:
    return f"http://{work.HOST}:{port}"
