"""The mesh for MCP clients: AAIA_ROOM observed, and every capability of the mesh as a tool.

Run it with ``python -m examples.mcp_observer [--url …] [--http PORT]``: on stdio, or as streamable
HTTP at ``http://127.0.0.1:PORT/mcp``.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import re
import sys
from collections import deque
from collections.abc import AsyncIterator, Collection
from typing import Any, Literal

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.subscriptions import InMemorySubscriptionBus, ResourceUpdated, ToolsListChanged
from mcp_types import CallToolResult, TextContent, Tool

from alephscript import (
    DEFAULT_URL,
    AlephScriptClient,
    Event,
    NotConnected,
    Offer,
    Progress,
    RequestError,
    State,
    contracts,
    observe,
)
from alephscript.aaia import AAIA_ROOM
from alephscript.contracts.foreign import bounded_schema
from alephscript.protocol.text import printable

AnyContext = Context[Any, Any]

EVENTS = "aaia://events"
PARADIGMS = [
    {"id": "logica", "name": "Lógica", "description": "resolves a query against facts and rules"},
    {"id": "sbr", "name": "Sistema basado en reglas", "description": "fires production rules"},
    {"id": "situada", "name": "Situada", "description": "an automaton in the state of its mundo"},
]
OWN_TOOLS = (
    "aaia_list_apps",
    "aaia_create_session",
    "aaia_list_sessions",
    "aaia_list_fias",
    "aaia_step_fia",
    "aaia_get_eferencia",
    "aaia_send_percepto",
    "aaia_query_mundo",
    "aaia_set_fia_state",
    "aaia_destroy_session",
    "recent_events",
)
"""Names that no capability of the mesh can take."""
MOST_TOOLS = 500
LONGEST = 1000
OBJECT = {"type": "object"}
_STATES = {
    "PLAY": "AAIA_PLAY_FIA",
    "PAUSE": "AAIA_PAUSE_FIA",
    "STOP": "AAIA_STOP_FIA",
    "PLAY_STEP": "AAIA_STEP_FIA",
}


class MCPObserver(AlephScriptClient):
    """Observes AAIA_ROOM and knows what the mesh offers.

    Attributes:
        bus: Where MCP clients hear what has changed.
        offers: Capabilities of the mesh, by the name of their tool.
    """

    rooms = observe(AAIA_ROOM)

    def __init__(self, hub: Any = DEFAULT_URL, **options: Any) -> None:
        super().__init__(hub, usuario="mcp-observer", retry_open=True, **options)
        self.bus = InMemorySubscriptionBus()
        self.offers: dict[str, Offer] = {}
        self._said: deque[dict[str, Any]] = deque(maxlen=1000)
        self._number = 0

    def recent(self, since: int = 0) -> list[dict[str, Any]]:
        """What was said in AAIA_ROOM of late, numbered; only what came after ``since``."""
        return [each for each in self._said if each["number"] > since]

    async def observing(self) -> None:
        """Note what is said and what is offered, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._note_events())
            tasks.create_task(self._note_masters())
            tasks.create_task(self._note_states())

    async def _note_events(self) -> None:
        async for event in self.events(AAIA_ROOM):
            self._note(event)
            await self.bus.publish(ResourceUpdated(uri=EVENTS))

    def _note(self, event: Event[Any]) -> None:
        self._number += 1
        said = {
            "number": self._number,
            "event": event.name,
            "data": contracts.unstructure(event.data),
        }
        self._said.append({**said, "sender": event.sender})

    async def _note_states(self) -> None:
        async for state in self.states():
            if state is State.READY:
                await self._look()
            elif state is State.RECONNECTING:
                await self._offer({})

    async def _note_masters(self) -> None:
        await self.ready()
        async for _ in self.watch_masters():
            await self._look()

    async def _look(self) -> None:
        with contextlib.suppress(RequestError):
            found: dict[str, Offer] = {}
            for offer in (await self.discover())[:MOST_TOOLS]:
                found[tool_name(offer, {*OWN_TOOLS, *found})] = offer
            await self._offer(found)

    async def _offer(self, offers: dict[str, Offer]) -> None:
        if offers != self.offers:
            self.offers = offers
            await self.bus.publish(ToolsListChanged())


class ObserverServer(MCPServer):
    """An MCP server whose tools are its own, and those that the mesh offers at the moment."""

    def __init__(self, observer: MCPObserver) -> None:
        self.observer = observer
        super().__init__("aaia-mcp-server", lifespan=_lifespan, subscriptions=observer.bus)
        _add_tools(self)
        _add_resources(self)
        _add_prompts(self)

    async def list_tools(self) -> list[Tool]:
        """Its own, then one for each capability of the mesh."""
        offered = [
            Tool(
                name=name,
                description=shown(_description(offer)),
                input_schema=input_schema(offer.request),
                output_schema=_output_schema(offer),
            )
            for name, offer in self.observer.offers.items()
        ]
        return [*await super().list_tools(), *offered]

    async def call_tool(
        self, name: str, arguments: dict[str, Any], context: AnyContext | None = None
    ) -> Any:
        """Call one of its own, or ask the mesh."""
        offer = self.observer.offers.get(name)
        if offer is None:
            return await super().call_tool(name, arguments, context)
        answer = await asked(self.observer, offer.capability, arguments, context, room=offer.room)
        text = TextContent(type="text", text=as_json(answer))
        return CallToolResult(content=[text], structured_content=answer)


def _description(offer: Offer) -> str:
    text = offer.summary or f"{offer.capability} of {offer.room}"
    return f"{text} ({', '.join(offer.tags)})" if offer.tags else text


def _output_schema(offer: Offer) -> dict[str, Any] | None:
    """Return the schema of an answer, where that is one object: MCP knows no other."""
    is_object = offer.reply is not None and offer.reply.get("type") == "object"
    return offer.reply if is_object and not offer.streams else None


async def asked(
    observer: MCPObserver,
    capability: str,
    payload: dict[str, Any],
    context: AnyContext | None = None,
    *,
    room: str | None = AAIA_ROOM,
) -> dict[str, Any]:
    """Ask the mesh; what goes wrong becomes an error that the model can read.

    Cancelling the tool's call cancels the request; its progress is passed on.

    Raises:
        ToolError: The request failed, with its code.
    """
    reports: set[asyncio.Task[None]] = set()

    def report(progress: Progress) -> None:
        assert context is not None
        told = context.report_progress(progress.fraction, 1.0, progress.message)
        task = asyncio.ensure_future(told)
        reports.add(task)
        task.add_done_callback(reports.discard)

    listen = None if context is None else report
    try:
        return await observer.request(capability, payload, room=room, on_progress=listen)
    except NotConnected as error:
        raise ToolError("there is no hub at the moment; `alephscript hub` starts one") from error
    except RequestError as error:
        text = f"{shown(error.code)}: {shown(error.message)} {as_json(error.details)}"
        raise ToolError(text) from error


def as_json(value: Any) -> str:
    """JSON as people write it, on one line and without control characters."""
    return printable(json.dumps(value, ensure_ascii=False))


def shown(text: str) -> str:
    """A stranger's text, made fit for a model to read: short, on one line."""
    return printable(" ".join(text.split()), LONGEST)


def tool_name(offer: Offer, taken: Collection[str]) -> str:
    """A name as MCP clients take it, and as no other tool has it."""
    name = _plain(offer.capability)[:60]
    if name in taken:
        name = _plain(f"{offer.room}_{name}")[:60]
    names = (name, *(f"{name}_{number}" for number in range(2, MOST_TOOLS + 2)))
    return next(each for each in names if each not in taken)


def _plain(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "_", text) or "_"


def input_schema(schema: Any) -> dict[str, Any]:
    """A schema as MCP clients take it: of an object, small and well formed."""
    bounded = bounded_schema(schema)
    return {**bounded, "type": "object"} if bounded.get("type", "object") == "object" else OBJECT


@contextlib.asynccontextmanager
async def _lifespan(server: Any) -> AsyncIterator[MCPObserver]:
    """One client of the mesh for all that are connected; a hub that is down may come later."""
    observer: MCPObserver = server.observer
    opening = asyncio.ensure_future(observer.run_forever())
    await asyncio.sleep(0)
    observing = asyncio.ensure_future(observer.observing())
    try:
        yield observer
    finally:
        observing.cancel()
        await observer.close()
        await asyncio.wait({opening, observing})


def _add_tools(server: ObserverServer) -> None:  # noqa: C901 - a list of them
    observer = server.observer

    @server.tool()
    async def aaia_list_apps(ctx: AnyContext) -> str:
        """The apps that sessions can be made of."""
        return as_json(await asked(observer, "AAIA_GET_APPS", {}, ctx))

    @server.tool()
    async def aaia_create_session(appId: str, ctx: AnyContext) -> str:
        """Make a session of an app."""
        return as_json(await asked(observer, "AAIA_CREATE_SESSION", {"appId": appId}, ctx))

    @server.tool()
    async def aaia_list_sessions(ctx: AnyContext) -> str:
        """The sessions there are."""
        return as_json(await asked(observer, "AAIA_LIST_SESSIONS", {}, ctx))

    @server.tool()
    async def aaia_list_fias(sessionId: str, ctx: AnyContext) -> str:
        """The FIAs of a session."""
        return as_json(await asked(observer, "AAIA_LIST_FIAS", {"sessionId": sessionId}, ctx))

    @server.tool()
    async def aaia_step_fia(sessionId: str, fiaIndex: int, ctx: AnyContext) -> str:
        """One reasoning step of a FIA; its eferencia."""
        fia = {"sessionId": sessionId, "fiaIndex": fiaIndex}
        return as_json(await asked(observer, "AAIA_STEP_FIA", fia, ctx))

    @server.tool()
    async def aaia_get_eferencia(sessionId: str, fiaIndex: int, ctx: AnyContext) -> str:
        """What a FIA last put out."""
        fia = {"sessionId": sessionId, "fiaIndex": fiaIndex}
        return as_json(await asked(observer, "AAIA_GET_EFERENCIA", fia, ctx))

    @server.tool()
    async def aaia_send_percepto(
        sessionId: str,
        tipo: str,
        payload: dict[str, Any],
        ctx: AnyContext,
        fuente: str = "mcp",
    ) -> str:
        """Give a percepto to the FIAs of a session."""
        percepto = {"tipo": tipo, "fuente": fuente, "payload": payload}
        told = {"sessionId": sessionId, "percepto": percepto}
        return as_json(await asked(observer, "AAIA_SEND_PERCEPTO", told, ctx))

    @server.tool()
    async def aaia_query_mundo(sessionId: str, ctx: AnyContext, query: str = "*") -> str:
        """The mundo of a session, or a part of it by its dotted path."""
        wanted = {"sessionId": sessionId, "query": query}
        return as_json(await asked(observer, "AAIA_QUERY_MUNDO", wanted, ctx))

    @server.tool()
    async def aaia_set_fia_state(
        sessionId: str,
        fiaIndex: int,
        state: Literal["PLAY", "PAUSE", "STOP", "PLAY_STEP"],
        ctx: AnyContext,
    ) -> str:
        """Bring a FIA into a run state."""
        fia = {"sessionId": sessionId, "fiaIndex": fiaIndex}
        return as_json(await asked(observer, _STATES[state], fia, ctx))

    @server.tool()
    async def aaia_destroy_session(sessionId: str, ctx: AnyContext) -> str:
        """End a session."""
        return as_json(await asked(observer, "AAIA_DESTROY_SESSION", {"sessionId": sessionId}, ctx))

    @server.tool()
    async def recent_events(since: int = 0) -> str:
        """What was said in AAIA_ROOM after the event of that number."""
        return as_json(observer.recent(since))


def _add_resources(server: ObserverServer) -> None:
    observer = server.observer

    @server.resource(EVENTS, mime_type="application/json")
    async def events() -> str:
        """What was said in AAIA_ROOM of late; listen to it for updates."""
        return as_json(observer.recent())

    @server.resource("aaia://sessions", mime_type="application/json")
    async def sessions() -> str:
        """The sessions there are."""
        return as_json((await asked(observer, "AAIA_LIST_SESSIONS", {}))["sessions"])

    @server.resource("aaia://apps/catalog", mime_type="application/json")
    async def catalog() -> str:
        """The apps that sessions can be made of."""
        return as_json((await asked(observer, "AAIA_GET_APPS", {}))["apps"])

    @server.resource("aaia://paradigms", mime_type="application/json")
    async def paradigms() -> str:
        """The ways of reasoning that FIAs have."""
        return as_json(PARADIGMS)


def _add_prompts(server: ObserverServer) -> None:
    @server.prompt(name="aaia_create_session")
    def create_session(appId: str = "demo-logica") -> str:
        """Make a session and look at its FIAs."""
        return (
            f"Make a session of the app {appId} with aaia_create_session, "
            "then say what its FIAs are with aaia_list_fias."
        )

    @server.prompt(name="aaia_step_cycle")
    def step_cycle(sessionId: str, fiaIndex: str) -> str:
        """Percepto in, a step, eferencia out."""
        return (
            f"In the session {sessionId}: give a percepto with aaia_send_percepto, run FIA "
            f"{fiaIndex} one step with aaia_step_fia, and explain its eferencia."
        )

    @server.prompt(name="aaia_paradigms_guide")
    def paradigms_guide() -> str:
        """Which way of reasoning suits what."""
        listed = "\n".join(f"- {each['name']}: {each['description']}" for each in PARADIGMS)
        return f"A FIA reasons in one of these ways:\n{listed}\nWhich one suits my problem?"


def main() -> int:
    """Serve until interrupted, or until stdin ends."""
    parser = argparse.ArgumentParser(prog="python -m examples.mcp_observer", description=__doc__)
    parser.add_argument("--url", default=DEFAULT_URL, help="the hub's address (%(default)s)")
    parser.add_argument("--http", type=int, metavar="PORT", help="streamable HTTP, not stdio")
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    server = ObserverServer(MCPObserver(options.url))
    with contextlib.suppress(KeyboardInterrupt):
        if options.http is None:
            server.run("stdio")
        else:
            server.run("streamable-http", host="127.0.0.1", port=options.http)
    return 0


if __name__ == "__main__":
    sys.exit(main())
