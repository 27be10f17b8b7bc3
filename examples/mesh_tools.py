"""The capabilities of a mesh as tools of a model.

All of it comes from masters, which are strangers: no name, text or schema of one master may cost a
model the tools of another, and servers of models refuse a whole question for one odd schema.

May go in: an `Offer` as a `Tool`, and its use by a client. May not: a model
(`aaia_runtime/conexionista`).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from jsonschema import Draft202012Validator, SchemaError

from alephscript import AlephScriptClient, AlephScriptError, Offer
from alephscript.protocol.text import printable
from examples.aaia_runtime.thoughts import Attendant, Tool

__all__ = ["MAX_RESULT", "MAX_TOOLS", "MeshTools", "make_tools"]

MAX_TOOLS = 100
"""Tools of one model; many servers take no more than 128."""

MAX_RESULT = 10_000
"""Characters of a tool's answer that a model reads."""

TOOL_SECONDS = 120.0
"""How long a tool may take."""

_MAX_SCHEMA = 20_000
_MAX_DESCRIPTION = 1000
_LONGEST_NAME = 64
_ANYTHING: Mapping[str, Any] = {"type": "object", "additionalProperties": True}


class MeshTools:
    """What the other masters of a mesh offer, by a client that is a member of it.

    What the client itself serves is a tool only where that changes nothing: a FIA that makes FIAs
    step would wait for itself.

    Args:
        client: The client.
        own: The rooms that it masters.
    """

    def __init__(self, client: AlephScriptClient, own: Collection[str]) -> None:
        self._client = client
        self._own = own

    async def find(self) -> Sequence[Tool]:
        """The tools that there are now; none on hubs that do not say, and while there is no hub."""
        try:
            offers = await self._client.discover()
        except AlephScriptError:
            return ()
        return make_tools(each for each in offers if each.room not in self._own or each.read_only)

    async def use(self, tool: Tool, payload: Any, attendant: Attendant | None) -> str:
        """Ask a tool's master, and write the answer as JSON.

        Raises:
            AlephScriptError: There is no answer, or it is an error.
        """
        answer = await self._client.request(
            tool.capability,
            payload,
            room=tool.room,
            timeout=TOOL_SECONDS,
            on_ask=None if attendant is None else attendant.answer,
        )
        text = printable(json.dumps(answer, ensure_ascii=False))
        more = len(text) - MAX_RESULT
        return text if more <= 0 else f"{text[:MAX_RESULT]} … and {more} characters more"


def make_tools(offers: Iterable[Offer]) -> list[Tool]:
    """The tools of offers, `MAX_TOOLS` at the most, in an order that stays."""
    ordered = sorted(offers, key=lambda each: (each.room, each.capability))[:MAX_TOOLS]
    plain = [_name(each.capability) for each in ordered]
    users = Counter(plain)
    tools = []
    for offer, name in zip(ordered, plain, strict=True):
        schema, wraps_payload = _as_object(offer.request)
        tool = Tool(
            # What two rooms offer under one name is nobody's: the name says which of them is meant.
            name=name if users[name] == 1 else _unique(offer),
            description=printable(_describe(offer), _MAX_DESCRIPTION),
            schema=schema,
            room=offer.room,
            capability=offer.capability,
            is_dangerous=offer.destructive is True,
            wraps_payload=wraps_payload,
        )
        tools.append(tool)
    return tools


def _describe(offer: Offer) -> str:
    return f"{offer.summary or offer.capability} ({offer.capability} of the room {offer.room})"


def _name(text: str) -> str:
    # Shorter than a unique name is: no name can be taken for one of those.
    return re.sub(r"[^A-Za-z0-9_-]", "_", text)[: _LONGEST_NAME - 1]


def _unique(offer: Offer) -> str:
    mark = hashlib.sha256(json.dumps([offer.room, offer.capability]).encode()).hexdigest()
    head = _name(f"{offer.room}_{offer.capability}")[:31]
    return f"{head:_<31}_{mark[:32]}"


def _as_object(schema: Any) -> tuple[dict[str, Any], bool]:
    """Make a schema that is sound, and an object's, of one that may be anything.

    Returns:
        The schema, and whether what it was the schema of is one argument, ``payload``.
    """
    if not _is_sound(schema):
        return dict(_ANYTHING), False
    if schema.get("type") == "object":
        return schema, False
    inner = {key: value for key, value in schema.items() if key != "$defs"}
    made = {"type": "object", "properties": {"payload": inner}, "required": ["payload"]}
    return ({**made, "$defs": schema["$defs"]} if "$defs" in schema else made), True


def _is_sound(schema: Any) -> bool:
    if not isinstance(schema, dict):
        return False
    try:
        text = json.dumps(schema, allow_nan=False)
        if len(text) > _MAX_SCHEMA:
            return False
        Draft202012Validator.check_schema(schema)
    except (ValueError, TypeError, RecursionError, SchemaError):
        return False
    # References elsewhere would not stand where they stood.
    references = re.findall(r'"\$(?:dynamic|recursive)?[Rr]ef": "([^"]*)"', text)
    is_near = all(re.fullmatch(r"#/\$defs/[^/]+", each) for each in references)
    known = {f"#/$defs/{key}" for key in schema.get("$defs", {})}
    return is_near and known.issuperset(references)
