"""The mesh for MCP clients of an AAIA runtime: `alephscript.mcp.MeshServer` with AAIA's own words.

Run it with ``python -m examples.mcp_observer [--url …] [--http PORT]``: on stdio, or as streamable
HTTP at ``http://127.0.0.1:PORT/mcp``.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from mcp_types import (
    GetPromptResult,
    Prompt,
    PromptArgument,
    PromptMessage,
    Resource,
    TextContent,
    Tool,
    ToolAnnotations,
)

from alephscript import DEFAULT_URL, InvalidPayload, Offer
from alephscript.aaia import (
    AAIA_ROOM,
    ENGINE_THREADS,
    PerceptoProcessed,
    StateChange,
    StepResult,
)
from alephscript.contracts import json_schema
from alephscript.mcp import Context, MeshServer, OwnTool

EVENTS = "aaia://events"
PARADIGMS = [
    {"id": "logica", "name": "Lógica", "description": "resolves a query against facts and rules"},
    {"id": "sbr", "name": "Sistema basado en reglas", "description": "fires production rules"},
    {"id": "situada", "name": "Situada", "description": "an automaton in the state of its mundo"},
]
RESOURCES = {
    "aaia://sessions": "The sessions there are.",
    "aaia://apps/catalog": "The apps that sessions can be made of.",
    "aaia://paradigms": "The ways of reasoning that FIAs have.",
}
STATES = {
    "PLAY": "AAIA_PLAY_FIA",
    "PAUSE": "AAIA_PAUSE_FIA",
    "STOP": "AAIA_STOP_FIA",
    "PLAY_STEP": "AAIA_STEP_FIA",
}
IN_OTHER_WORDS = {"AAIA_SEND_PERCEPTO", "AAIA_START_FIA", *STATES.values()} - {"AAIA_STEP_FIA"}
"""Capabilities that the server's own tools ask, in the arguments that AAIA's users know."""

SESSION = {"type": "string", "description": "The session's sessionId."}
FIA = {"type": "integer", "description": "The FIA's index in its session, from 0."}


class ObserverServer(MeshServer):
    """The mesh's tools under the names that AAIA's users know, with their resources and prompts."""

    def __init__(self, hub: Any = DEFAULT_URL, **options: Any) -> None:
        super().__init__(
            hub, observed=[AAIA_ROOM], name="aaia-mcp-server", usuario="mcp-observer", **options
        )

    def tool_name(self, offer: Offer) -> str:
        """Return the seed's name: ``aaia_step_fia`` for AAIA_STEP_FIA."""
        if offer.room != AAIA_ROOM:
            return offer.capability
        return offer.capability.lower().replace("aaia_get_apps", "aaia_list_apps")

    def shows(self, offer: Offer) -> bool:
        """Hide what the server's own tools ask, and a room that is another name of one."""
        if offer.room == ENGINE_THREADS:
            return False
        return offer.room != AAIA_ROOM or offer.capability not in IN_OTHER_WORDS

    def own_tools(self) -> Sequence[OwnTool]:
        """Return the tools whose arguments are not those of one capability."""
        percepto = Tool(
            name="aaia_send_percepto",
            description="Give a percepto, that is a stimulus, to the FIAs of a session.",
            input_schema={
                "type": "object",
                "properties": {
                    "sessionId": SESSION,
                    "tipo": {
                        "enum": ["sensor", "evento", "comando"],
                        "description": "Where the percepto comes from.",
                    },
                    "fuente": {
                        "type": "string",
                        "default": "mcp",
                        "description": "Who gives the percepto.",
                    },
                    "payload": {"type": "object", "description": "What the percepto says."},
                },
                "required": ["sessionId", "tipo", "payload"],
            },
            output_schema=json_schema(PerceptoProcessed),
            annotations=ToolAnnotations(destructive_hint=False),
        )
        state = Tool(
            name="aaia_set_fia_state",
            description="Bring a FIA into a run state.",
            input_schema={
                "type": "object",
                "properties": {
                    "sessionId": SESSION,
                    "fiaIndex": FIA,
                    "state": {"enum": list(STATES), "description": "The run state."},
                },
                "required": ["sessionId", "fiaIndex", "state"],
            },
            output_schema={"type": "object", **json_schema(StateChange | StepResult)},
            annotations=ToolAnnotations(idempotent_hint=True, destructive_hint=False),
        )
        return [
            *super().own_tools(),
            OwnTool(percepto, self._send_percepto),
            OwnTool(state, self._set_state),
        ]

    async def _send_percepto(self, arguments: dict[str, Any], ctx: Context) -> dict[str, Any]:
        session, percepto = arguments.pop("sessionId", None), {"fuente": "mcp", **arguments}
        payload = {"sessionId": session, "percepto": percepto}
        return await self.ask("AAIA_SEND_PERCEPTO", payload, ctx, room=AAIA_ROOM)

    async def _set_state(self, arguments: dict[str, Any], ctx: Context) -> dict[str, Any]:
        capability = STATES.get(str(arguments.pop("state", None)))
        if capability is None:
            problem = {"path": "state", "message": f"expected one of {', '.join(STATES)}"}
            raise InvalidPayload("these are no arguments of aaia_set_fia_state", [problem])
        return await self.ask(capability, arguments, ctx, room=AAIA_ROOM)

    def events_uri(self, room: str) -> str:  # noqa: ARG002 - it is AAIA_ROOM
        """Return the seed's address of the events."""
        return EVENTS

    def resources(self) -> Sequence[Resource]:
        """Return the events, sessions, apps and paradigms."""
        return [
            *super().resources(),
            *(
                Resource(uri=uri, name=uri, description=text, mime_type="application/json")
                for uri, text in RESOURCES.items()
            ),
        ]

    async def read(self, uri: str) -> Any:
        """Return a resource as JSON values."""
        if uri == "aaia://sessions":
            return (await self.ask("AAIA_LIST_SESSIONS", {}, room=AAIA_ROOM))["sessions"]
        if uri == "aaia://apps/catalog":
            return (await self.ask("AAIA_GET_APPS", {}, room=AAIA_ROOM))["apps"]
        return PARADIGMS if uri == "aaia://paradigms" else await super().read(uri)

    def prompts(self) -> Sequence[Prompt]:
        """Return the seed's prompts."""
        app = PromptArgument(name="appId", description="The app; demo-logica by default.")
        session = PromptArgument(name="sessionId", description="The session.", required=True)
        fia = PromptArgument(name="fiaIndex", description="The FIA's index.", required=True)
        return [
            Prompt(
                name="aaia_create_session",
                description="Make a session and look at its FIAs.",
                arguments=[app],
            ),
            Prompt(
                name="aaia_step_cycle",
                description="Percepto in, a step, eferencia out.",
                arguments=[session, fia],
            ),
            Prompt(name="aaia_paradigms_guide", description="Which way of reasoning suits what."),
        ]

    def prompt(self, name: str, arguments: Mapping[str, str]) -> GetPromptResult:
        """Return a prompt with its arguments filled in."""
        if name == "aaia_create_session":
            text = (
                f"Make a session of the app {arguments.get('appId', 'demo-logica')} with "
                "aaia_create_session, then say what its FIAs are with aaia_list_fias."
            )
        elif name == "aaia_step_cycle":
            text = (
                f"In the session {arguments['sessionId']}: give a percepto with "
                f"aaia_send_percepto, run FIA {arguments['fiaIndex']} one step with "
                "aaia_step_fia, and explain its eferencia."
            )
        elif name == "aaia_paradigms_guide":
            listed = "\n".join(f"- {each['name']}: {each['description']}" for each in PARADIGMS)
            text = f"A FIA reasons in one of these ways:\n{listed}\nWhich one suits my problem?"
        else:
            raise LookupError(name)
        content = TextContent(type="text", text=text)
        return GetPromptResult(messages=[PromptMessage(role="user", content=content)])


def main() -> int:
    """Serve until interrupted, or until stdin ends."""
    parser = argparse.ArgumentParser(prog="python -m examples.mcp_observer", description=__doc__)
    parser.add_argument(
        "--url", default=DEFAULT_URL, help="the hub (%(default)s); also ALEPHSCRIPT_URL"
    )
    parser.add_argument("--http", type=int, metavar="PORT", help="streamable HTTP, not stdio")
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    server = ObserverServer(options.url)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(
            server.serve_stdio()
            if options.http is None
            else server.serve_http(options.http, ready=_say_where)
        )
    return 0


def _say_where(url: str) -> None:
    print(f"mcp-observer listening on {url}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
