"""Masters as A2A agents: which skills each has, and the card that tells of them.

A card has no place for schemas. They stand in an extension (`SKILLS`), by which another mesh, or
any client that knows it, learns what a skill takes and gives.

May go in: an `Offer` as a skill, offers as a card. May not: HTTP (`server`).

Pure: no socket, no clock.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs
from a2a.server.request_handlers.response_helpers import agent_card_to_dict
from a2a.types import (
    AgentCapabilities,
    AgentCard,
    AgentExtension,
    AgentInterface,
    AgentSkill,
    HTTPAuthSecurityScheme,
    SecurityRequirement,
    SecurityScheme,
    StringList,
)
from google.protobuf.json_format import ParseDict

from alephscript.a2a.parts import JSON, fits_data
from alephscript.client.discovery import Offer
from alephscript.contracts.foreign import bounded_schema
from alephscript.doors.schemas import is_sound
from alephscript.doors.texts import as_json, shown
from alephscript.protocol import events
from alephscript.protocol.names import did_you_mean, find_near
from alephscript.protocol.text import printable

__all__ = ["SKILLS", "Skill", "Skills", "WrittenCard", "describe", "make_card", "write_card"]

SKILLS = "urn:alephscript:a2a:skills:1"
"""URI of the extension of a card whose parameters describe its skills, as capabilities."""

_MOST_NAMED = 10
_MOST_CHARACTERS = 1_000_000
"""Characters of all descriptions in a card."""
_LONGEST_SHOWN_SCHEMA = 1000
"""Characters of a schema that stands in the words of a skill, for readers of words."""

_HOW = (
    'Say which skill is meant: metadata {"skill": "ID"} of the message, with the payload as a data '
    'part or as JSON in a text part; or one data part {"skill": "ID", "payload": …}; or one text '
    "that begins with the ID."
)


@attrs.frozen
class Skill:
    """A capability as a skill.

    Attributes:
        id: The skill's name at its agent.
        offer: The capability.
        about: The capability as the extension `SKILLS` describes it.
    """

    id: str
    offer: Offer
    about: Mapping[str, Any]


def describe(offer: Offer) -> dict[str, Any]:
    """Describe a capability for the extension; looking through its schemas takes milliseconds."""
    fields = {
        "room": printable(offer.room),
        "capability": printable(offer.capability),
        "request": _passable(offer.request),
        "reply": _passable(offer.reply),
        "timeoutMs": offer.timeout_ms,
        "idempotent": offer.idempotent,
        "readOnly": offer.read_only,
        "destructive": offer.destructive,
        "streams": offer.streams,
    }
    return {key: value for key, value in fields.items() if value not in (None, False)}


class Skills:
    """The skills of an agent.

    Args:
        skills: All of them; ids are unique.
    """

    def __init__(self, skills: Iterable[Skill]) -> None:
        self.by_id = {each.id: each for each in skills}

    def find(self, name: str, room: str | None = None) -> Skill | None:
        """Find the skill that a name means: its id, or the name of a capability of one room."""
        skill = self.by_id.get(name)
        if skill is not None and room in (None, skill.offer.room):
            return skill
        capability = events.capability_name(name)
        meant = [
            each
            for each in self.by_id.values()
            if each.offer.capability == capability and room in (None, each.offer.room)
        ]
        return meant[0] if len(meant) == 1 else None

    def advice(self, name: str = "") -> str:
        """Say what there is to be asked, and how."""
        ids = list(self.by_id)
        if not ids:
            return "this agent has no skills at the moment; its master is not there"
        listed = ", ".join(ids[:_MOST_NAMED])
        if len(ids) > _MOST_NAMED:
            listed += f" and {len(ids) - _MOST_NAMED} more"
        meant = did_you_mean(find_near(name, ids)) if name else ""
        return f"{meant.removeprefix('; ')} This agent's skills are {listed}. {_HOW}".strip()


def make_card(
    skills: Sequence[Skill],
    *,
    name: str,
    description: str,
    url: str,
    is_guarded: bool,
) -> AgentCard:
    """Make the card of an agent.

    Args:
        skills: The skills.
        name: The agent's name.
        description: The agent's purpose.
        url: The agent's address.
        is_guarded: Whether its askers need a token.
    """
    extensions = []
    made, described = _describe_all(skills)
    if described:
        extension = AgentExtension(
            uri=SKILLS, description="Schemas of the skills, as capabilities of a mesh."
        )
        ParseDict({"skills": described}, extension.params)
        extensions.append(extension)
    card = AgentCard(
        name=name,
        description=f"{description} {_HOW}",
        version=importlib.metadata.version("alephscript"),
        supported_interfaces=[
            AgentInterface(url=url, protocol_binding=binding, protocol_version=version)
            for binding, version in (("JSONRPC", "1.0"), ("HTTP+JSON", "1.0"), ("JSONRPC", "0.3"))
        ],
        capabilities=AgentCapabilities(
            streaming=True,
            push_notifications=False,
            extended_agent_card=is_guarded,
            extensions=extensions,
        ),
        default_input_modes=[JSON, "text/plain"],
        default_output_modes=[JSON, "text/plain"],
        skills=made,
    )
    if is_guarded:
        scheme = HTTPAuthSecurityScheme(scheme="bearer", description="A token of the mesh.")
        card.security_schemes["bearer"].CopyFrom(SecurityScheme(http_auth_security_scheme=scheme))
        card.security_requirements.append(SecurityRequirement(schemes={"bearer": StringList()}))
    return card


@attrs.frozen
class WrittenCard:
    """A card as it is sent.

    Attributes:
        body: Its JSON.
        tag: An ETag of it.
    """

    body: bytes
    tag: str


def write_card(card: AgentCard) -> WrittenCard:
    """Write a card, for clients of the version before, too."""
    # Protobuf's maps have no order.
    body = json.dumps(agent_card_to_dict(card), sort_keys=True, ensure_ascii=False).encode()
    return WrittenCard(body, f'"{hashlib.sha256(body).hexdigest()}"')


def _describe_all(
    skills: Sequence[Skill],
) -> tuple[list[AgentSkill], dict[str, Any]]:
    """Describe skills in words, and by their schemas, as far as these are no burden."""
    made: list[AgentSkill] = []
    described: dict[str, Any] = {}
    budget = _MOST_CHARACTERS
    for skill in skills:
        size = len(as_json(skill.about))
        if size <= budget:
            budget -= size
            described[skill.id] = skill.about
        made.append(_make_skill(skill))
    return made, described


def _passable(schema: Any) -> dict[str, Any] | None:
    """Return a schema as it is, or a bounded tree in its place."""
    if schema is None:
        return None
    if not is_sound(schema) or not fits_data(schema):
        schema = bounded_schema(schema)
    return schema if fits_data(schema) else None


def _make_skill(skill: Skill) -> AgentSkill:
    offer = skill.offer
    said = shown(offer.summary or f"{offer.capability} of {offer.room}.")
    if skill.id != offer.capability:
        said += f"\n\n{printable(offer.capability)} in the room {printable(offer.room)}."
    if offer.request is not None:
        schema = as_json(offer.request)
        if len(schema) <= _LONGEST_SHOWN_SCHEMA:
            said += f"\n\nThe payload's JSON Schema: {schema}"
    tags = [printable(each, 100) for each in offer.tags[:20]] or [printable(offer.room, 100)]
    return AgentSkill(id=skill.id, name=printable(offer.capability), description=said, tags=tags)
