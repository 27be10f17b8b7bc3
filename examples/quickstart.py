"""The whole mesh in one process: a hub, PersefonBot, an observer and a client that asks.

Run it with ``python -m examples.quickstart``: it prints each request with its answer, and
between them what the observer saw in AAIA_ROOM. It needs no running hub and takes a free port.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from alephscript import AlephScriptClient, AlephScriptError, EventStream, contracts, observe
from alephscript.aaia import (
    AAIA_ROOM,
    CreateSession,
    DestroySession,
    GetApps,
    GetEferencia,
    GetListOfThreads,
    Percepto,
    QueryMundo,
    SendPercepto,
    StepFIA,
    TipoPercepto,
)
from alephscript.hub import Hub
from examples.persefon_bot import PersefonBot

WIDTH = 84


class Observer(AlephScriptClient):
    """Is in AAIA_ROOM and only listens."""

    rooms = observe(AAIA_ROOM)


class Story:
    """Asks one thing after the other and prints what came of it."""

    def __init__(self, client: AlephScriptClient, seen: EventStream) -> None:
        self._client = client
        self._seen = seen

    async def ask(
        self, request: contracts.RequestFor[Any], *, events: int = 0, room: str | None = None
    ) -> Any:
        """Print a request, its answer and as many events as the observer sees of it."""
        print(f"ask     {request.capability} {_short(request)}")
        answer = await self._client.request(request, room=room)
        print(f"answer  {_short(answer)}")
        for _ in range(events):
            async with asyncio.timeout(5):
                event = await anext(self._seen)
            print(f"  seen  {event.name} {_short(event.data)}")
        return answer


def _short(value: Any) -> str:
    text = json.dumps(contracts.unstructure(value), ensure_ascii=False)
    return text if len(text) <= WIDTH else f"{text[: WIDTH - 1]}…"


async def run() -> None:
    """The seed's flow, from an empty mesh to the list of threads."""
    async with Hub(port=0) as hub:
        print(f"hub     {hub.url}/runtime")
        async with PersefonBot(hub.url) as bot, Observer(hub.url) as observer:
            print(f"master  {bot.usuario} of {AAIA_ROOM}")
            async with (
                AlephScriptClient(hub.url, usuario="MyClient") as client,
                observer.events(AAIA_ROOM) as seen,
            ):
                await client.subscribe(AAIA_ROOM)
                await _tell(Story(client, seen))


async def _tell(story: Story) -> None:
    # get_apps is announced to the room by PersefonBot, as the seed's bot does.
    await story.ask(GetApps(), events=1)
    opened = await story.ask(CreateSession(app_id="demo-logica"), events=1)
    session_id = opened.session_id
    question = Percepto(tipo=TipoPercepto.COMANDO, payload={"query": "p(X,Y)"}, fuente="quickstart")
    await story.ask(SendPercepto(session_id=session_id, percepto=question), events=2)
    step = await story.ask(StepFIA(session_id=session_id, fia_index=0), events=3)
    if not step.eferencia.payload["exito"]:
        raise AlephScriptError(f"the FIA found no solution: {step.eferencia.payload['errores']}")
    for action in step.eferencia.payload["acciones"]:
        print(f"solved  p(X,Y) with {_short(action['payload']['bindings'])}")
    await story.ask(GetEferencia(session_id=session_id, fia_index=0))
    await story.ask(QueryMundo(session_id=session_id, query="modelo.ciclo"))
    await story.ask(GetListOfThreads())
    await story.ask(DestroySession(session_id=session_id), events=1)
    threads = await story.ask(GetListOfThreads())
    if threads.threads:
        raise AlephScriptError("the destroyed session left threads behind")


def main() -> int:
    """Run the story."""
    try:
        asyncio.run(run())
    except (AlephScriptError, TimeoutError) as error:
        why = str(error) or "the observer did not see what happened"
        print(f"quickstart failed: {why}", file=sys.stderr)
        return 1
    print("done")
    return 0


if __name__ == "__main__":
    sys.exit(main())
