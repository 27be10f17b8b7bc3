"""A message of an A2A client as a request: which skill it means, and with which payload.

A2A has no word for either. A message names the skill, in this order: by the key ``skill`` (or
``skillId``, ``capability``) of its metadata, of its only part's, or of the request's; by an object
``{"skill": …, "payload": …}`` for data; by a text that begins with the skill's name; or by no
means, where the agent has one skill. The payload is the data, or the text: as JSON, else as a text.

May go in: reading messages. May not: asking the mesh (`handler`).

Pure: no socket, no clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from a2a.types import (
    ContentTypeNotSupportedError,
    InvalidParamsError,
    Message,
    Part,
    SendMessageRequest,
)
from google.protobuf.struct_pb2 import Struct

from alephscript.a2a.cards import Skill, Skills
from alephscript.a2a.parts import JSON, as_dict, struct_of, value_of
from alephscript.errors import RequestError
from alephscript.protocol.json import parse_json
from alephscript.protocol.text import printable

__all__ = ["read_message", "read_value", "takes_data"]

_NAMES = ("skill", "skillId", "capability")
"""Keys under which a message names a skill."""
_PAYLOAD = "payload"
_ROOM = "room"


def read_message(params: SendMessageRequest, skills: Skills) -> tuple[Skill, Any]:
    """Read which skill a message means, and the payload for it.

    Raises:
        InvalidParamsError: The message means no skill, or says no payload; the text says what to
            write.
        ContentTypeNotSupportedError: The message has parts that the skill does not take.
    """
    message = params.message
    skill = _named(params, skills)
    if skill is None:
        skill, payload = _name_in(message, skills)
        if skill is not None:
            return skill, payload
        if len(skills.by_id) != 1:
            raise InvalidParamsError(f"The message names no skill. {skills.advice()}")
        skill = next(iter(skills.by_id.values()))
    return skill, read_value(message, skill.offer.request, skill.id)


def takes_data(params: SendMessageRequest) -> bool:
    """Whether a client takes data parts, and not only texts.

    Raises:
        ContentTypeNotSupportedError: The client takes neither.
    """
    modes = [each.lower() for each in params.configuration.accepted_output_modes]
    if not modes or any(each in (JSON, "*/*", "application/*", "data") for each in modes):
        return True
    if any(each in ("text", "text/plain", "text/*") for each in modes):
        return False
    raise ContentTypeNotSupportedError(f"This agent answers with {JSON} or text/plain.")


def _named(params: SendMessageRequest, skills: Skills) -> Skill | None:
    """Find the skill that metadata name; None where they name none."""
    message = params.message
    said: list[Struct] = [message.metadata, params.metadata]
    if len(message.parts) == 1:
        said.insert(1, message.parts[0].metadata)
    for each in said:
        try:
            found = _find(struct_of(each), skills)
        except ValueError as error:
            raise InvalidParamsError(f"The metadata are no JSON: {error}.") from None
        if found is not None:
            return found
    return None


def _find(fields: Mapping[str, Any], skills: Skills) -> Skill | None:
    """Find the skill that an object names; None where it names none.

    Raises:
        InvalidParamsError: There is no such skill.
    """
    name = next((fields[key] for key in _NAMES if key in fields), None)
    if name is None:
        return None
    room = fields.get(_ROOM)
    if not isinstance(name, str) or not (room is None or isinstance(room, str)):
        raise InvalidParamsError(f"A skill is named by a text. {skills.advice()}")
    skill = skills.find(name, room)
    if skill is None:
        raise InvalidParamsError(
            f"There is no skill {printable(name, 100)} here. {skills.advice(name)}"
        )
    return skill


def _name_in(message: Message, skills: Skills) -> tuple[Skill | None, Any]:
    """Find the skill that the content of a message names, and the payload beside the name."""
    if len(message.parts) != 1:
        return None, None
    part = message.parts[0]
    if part.WhichOneof("content") == "text" and part.media_type != JSON:
        name, _, rest = part.text.strip().partition(" ")
        skill = skills.find(name.rstrip(":")) if name else None
        if skill is not None:
            schema = skill.offer.request
            return skill, _read_text(rest.strip(), schema, skill.id) if rest.strip() else None
    value = _value(part) if part.WhichOneof("content") in ("text", "data") else None
    if isinstance(value, str):
        value = _read_json(value)
    if isinstance(value, dict) and value.keys() <= {*_NAMES, _PAYLOAD, _ROOM}:
        skill = _find(value, skills)
        if skill is not None:
            return skill, value.get(_PAYLOAD)
    return None, None


def read_value(message: Message, schema: Mapping[str, Any] | None, name: str) -> Any:
    """Read the value that a message has for a skill, or as an answer.

    Data is the value where there is some, and texts beside it are words about it. A message of
    another kind is passed on as A2A writes its parts, where any JSON is taken.

    Args:
        message: The message.
        schema: The value's JSON Schema, None where any JSON is taken.
        name: The name of the skill, or of the question.

    Raises:
        InvalidParamsError: The message says no value; the text says what to write.
        ContentTypeNotSupportedError: The message has parts that are not taken.
    """
    data = [each for each in message.parts if each.WhichOneof("content") == "data"]
    texts = [each for each in message.parts if each.WhichOneof("content") == "text"]
    if len(data) + len(texts) == len(message.parts):
        if len(data) == 1:
            return _value(data[0])
        if not data and len(texts) == 1:
            value = _value(texts[0])
            return _read_text(value, schema, name) if isinstance(value, str) else value
    if schema is None:
        try:
            return {"parts": [as_dict(each) for each in message.parts]}
        except ValueError as error:
            raise InvalidParamsError(f"The parts are no JSON: {error}.") from None
    raise ContentTypeNotSupportedError(
        f"{name} takes one data part, or one text part that holds JSON; no files."
    )


def _value(part: Part) -> Any:
    try:
        return value_of(part)
    except ValueError as error:
        raise InvalidParamsError(f"A part holds no JSON: {error}.") from None


def _read_text(text: str, schema: Mapping[str, Any] | None, name: str) -> Any:
    """Read a text as a value: as JSON, unless a text is taken."""
    kind = (schema or {}).get("type")
    if kind == "string":
        return text
    value = _read_json(text)
    if value is not None or text.strip() == "null":
        return value
    if kind is None or (isinstance(kind, list) and "string" in kind):
        return text
    raise InvalidParamsError(
        f"{name} takes JSON ({printable(str(kind))}), and the text is none: write it into a data "
        f"part, or into a text part after {name}."
    )


def _read_json(text: str) -> Any:
    """Read a text as JSON; None for a text that is none."""
    try:
        return parse_json(text)
    except RequestError:
        return None
