"""Events of rooms of late, as a resource, and as a tool for MCP clients that cannot listen.

May go in: what is kept of a room, and how it is read. May not: hearing it (`server`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

from mcp_types import Tool, ToolAnnotations

from alephscript import contracts
from alephscript.client.messages import Event
from alephscript.doors.texts import as_json
from alephscript.errors import InvalidPayload
from alephscript.mcp.tools import Context, OwnTool

__all__ = ["RecentEvents", "recent_events"]

_MOST = 1000
_MOST_CHARACTERS = 4_000_000
"""Characters of the events that are kept of one room."""


class RecentEvents:
    """Events of a room of late, numbered."""

    def __init__(self) -> None:
        self._kept: deque[tuple[int, dict[str, Any], int]] = deque()
        self._number = 0
        self._characters = 0

    def note(self, event: Event[Any]) -> None:
        """Keep an event, and forget those for which there is no room any more."""
        self._number += 1
        said = {
            "number": self._number,
            "event": event.name,
            "data": contracts.unstructure(event.data),
            "sender": event.sender,
        }
        size = len(as_json(said))
        self._kept.append((self._number, said, size))
        self._characters += size
        while len(self._kept) > _MOST or self._characters > _MOST_CHARACTERS:
            self._characters -= self._kept.popleft()[2]

    def since(self, number: int) -> list[dict[str, Any]]:
        """Return the events after the one of a number, oldest first."""
        return [said for each, said, _ in self._kept if each > number]


def recent_events(rooms: Mapping[str, RecentEvents]) -> OwnTool:
    """Make the tool that reads the events of rooms."""
    first = next(iter(rooms))
    tool = Tool(
        name="recent_events",
        description="Read what was said in a room of late, for clients that cannot listen.",
        input_schema={
            "type": "object",
            "properties": {
                "room": {
                    "type": "string",
                    "enum": list(rooms),
                    "default": first,
                    "description": "The room.",
                },
                "since": {
                    "type": "integer",
                    "default": 0,
                    "description": "The number of the last event that is known already.",
                },
            },
        },
        output_schema={
            "type": "object",
            "properties": {"events": {"type": "array", "items": {"type": "object"}}},
            "required": ["events"],
        },
        annotations=ToolAnnotations(read_only_hint=True),
    )

    async def run(arguments: dict[str, Any], ctx: Context) -> dict[str, Any]:  # noqa: ARG001
        room, since = arguments.get("room", first), arguments.get("since", 0)
        problems = []
        if not isinstance(room, str) or room not in rooms:
            problems.append({"path": "room", "message": f"expected one of {', '.join(rooms)}"})
        if type(since) is not int:
            problems.append({"path": "since", "message": "expected an integer"})
        if problems:
            raise InvalidPayload("these are no arguments of recent_events", problems)
        return {"events": rooms[room].since(since)}

    return OwnTool(tool, run)
