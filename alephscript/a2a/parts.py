"""Parts of A2A messages and artifacts <-> JSON values of a mesh.

A2A holds data in protobuf's values: each number is a double, and nesting has a limit below that of
a mesh. A value that would not come through as it is goes as text, of the media type of JSON.

May go in: what a part says. May not: which capability is asked by it (`asking`).

Pure: no socket, no clock.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from a2a.types import Artifact, Message, Part
from google.protobuf.json_format import Error, MessageToDict, ParseDict
from google.protobuf.message import Message as ProtoMessage
from google.protobuf.struct_pb2 import Struct, Value

from alephscript.doors.texts import as_json
from alephscript.errors import CapabilityError, RequestError
from alephscript.protocol.events import MAX_NAME
from alephscript.protocol.json import is_plain, parse_json, write_plain_json

__all__ = [
    "JSON",
    "PROGRESS",
    "QUESTION",
    "REFUSED",
    "RESULT",
    "artifacts_of",
    "as_dict",
    "data_of",
    "fits_data",
    "item_of_parts",
    "part_of",
    "parts_of",
    "read_failure",
    "read_parts",
    "result_of_artifacts",
    "result_of_parts",
    "struct_of",
    "text_of",
    "value_of",
    "write_failure",
]

JSON = "application/json"

_LARGEST = 2**53
"""Beyond it a double does not hold every integer."""
_DEEPEST = 24
"""Levels of a value that any reader of protobuf's JSON takes, in a message that is in a task."""
_MOST_ARTIFACTS = 1000

RESULT = "result"
"""Name of the artifact that an answer is, and key of an answer that is no object."""

PROGRESS = "progress"
"""Key of data in a working task's status: the share that is done, 0 to 1."""

QUESTION = "question"
"""Key of data in the status of a task that asks: the name of what is asked, its payload and its
schemas beside it."""

REFUSED = "refused"
"""Key of a message's metadata: its data is the error of somebody who does not answer a question."""

ARTIFACT = "_artifact"
"""Key of an answer beside its fields: what an agent's artifact says beside its data."""


def data_of(value: Value) -> Any:
    """Read a value; a number that is whole is an integer, as JSON has it.

    Raises:
        ValueError: The value holds a number that JSON has not.
    """
    kind = value.WhichOneof("kind")
    if kind == "number_value":
        number: float = value.number_value
        if not math.isfinite(number):
            raise ValueError("a number of JSON is finite")
        return int(number) if number.is_integer() and abs(number) <= _LARGEST else number
    if kind == "struct_value":
        return struct_of(value.struct_value)
    if kind == "list_value":
        return [data_of(each) for each in value.list_value.values]
    return None if kind in (None, "null_value") else getattr(value, kind)


def struct_of(struct: Struct) -> dict[str, Any]:
    """Read an object; see `data_of`."""
    return {key: data_of(each) for key, each in struct.fields.items()}


def fits_data(value: Any) -> bool:
    """Whether a JSON value comes through protobuf's values as it is."""
    return is_plain(value, _DEEPEST) and _are_numbers_small(value) and _is_text(value)


def _is_text(value: Any) -> bool:
    """Whether all texts of a plain value have UTF-8, as half a character has not."""
    try:
        write_plain_json(value)
    except RequestError:
        return False
    return True


def _are_numbers_small(value: Any) -> bool:
    if isinstance(value, dict):
        return all(map(_are_numbers_small, value.values()))
    if isinstance(value, list | tuple):
        return all(map(_are_numbers_small, value))
    return type(value) is not int or abs(value) <= _LARGEST


def part_of(value: Any, *, takes_data: bool = True) -> Part:
    """Make a part of a JSON value: a text of a text, else data.

    Args:
        value: The value.
        takes_data: Whether its reader takes data; else it is text that holds JSON.
    """
    if isinstance(value, str) and _is_text(value):
        return Part(text=value)
    if takes_data and fits_data(value):
        return Part(data=ParseDict(value, Value()), media_type=JSON)
    return Part(text=as_json(value), media_type=JSON)


def text_of(parts: Iterable[Part]) -> str:
    """Return the texts of parts, a line each."""
    return "\n".join(part.text for part in parts if part.WhichOneof("content") == "text")


def value_of(part: Part) -> Any:
    """Return the value that a part stands for: its text, or its data.

    Raises:
        ValueError: The part is a file or an address, or holds no JSON although it says so.
    """
    kind = part.WhichOneof("content")
    if kind == "data":
        return data_of(part.data)
    if kind == "text":
        if part.media_type != JSON:
            return part.text
        try:
            return parse_json(part.text)
        except RequestError as error:
            raise ValueError(error.message) from None
    raise ValueError("a part is text or data here, and no file")


def _is_bare(part: Part) -> bool:
    """Whether a part says nothing beside its value."""
    return not part.filename and not part.metadata.fields and part.media_type in ("", JSON)


def result_of_artifacts(artifacts: Sequence[Artifact]) -> Any:
    """Return the answer that a task's artifacts stand for.

    Returns:
        The object that is the only data of the only artifact, with what else this artifact says
        under `ARTIFACT`; the only text, or data that is no object; else ``{"artifacts": […]}`` as
        A2A writes them.
    """
    if not artifacts:
        return None
    if len(artifacts) == 1 and len(artifacts[0].parts) == 1:
        about = as_dict(artifacts[0])
        about = {key: each for key, each in about.items() if key not in ("artifactId", "parts")}
        simple = _simple(artifacts[0].parts[0])
        if simple is not None and not about:
            return simple[0]
        if simple is not None and isinstance(simple[0], dict):
            return {**simple[0], ARTIFACT: about}
    return {"artifacts": [as_dict(each) for each in artifacts]}


def result_of_parts(parts: Sequence[Part]) -> Any:
    """Return the answer that parts stand for, else ``{"parts": […]}`` as A2A writes them."""
    if not parts:
        return None
    if len(parts) == 1 and (simple := _simple(parts[0])) is not None:
        return simple[0]
    return {"parts": [as_dict(each) for each in parts]}


def item_of_parts(parts: Sequence[Part]) -> Any:
    """Return the part of a streamed answer that parts stand for."""
    if len(parts) == 1 and _is_bare(parts[0]):
        try:
            value = value_of(parts[0])
        except ValueError:
            pass
        else:
            if not isinstance(value, dict) or value.keys() != {"parts"}:
                return value
    return {"parts": [as_dict(each) for each in parts]}


def _simple(part: Part) -> tuple[Any] | None:
    """Return the value of a part that a mesh can say in its own words; None for others."""
    if not _is_bare(part):
        return None
    try:
        value = value_of(part)
    except ValueError:
        return None
    if isinstance(value, dict):
        return (value,) if _means_itself(value) else None
    if isinstance(value, str) and part.WhichOneof("content") == "data":
        return None
    return None if value is None else (value,)


def _is_object(value: Any) -> bool:
    """Whether a value can be a whole answer: an object, or nothing."""
    return value is None or isinstance(value, dict)


def _means_itself(answer: dict[str, Any]) -> bool:
    """Whether an answer means nothing else to a mesh, or to this door, than it says."""
    if not answer or "success" in answer or ARTIFACT in answer:
        return False
    if answer.keys() == {RESULT}:
        return _is_object(answer[RESULT])
    if answer.keys() == {"artifacts"}:
        return _read_artifacts(answer["artifacts"]) is None
    return answer.keys() != {"parts"} or read_parts(answer["parts"]) is None


def as_dict(message: ProtoMessage) -> dict[str, Any]:
    """Write a message as A2A's JSON.

    Raises:
        ValueError: The message holds a number that JSON has not.
    """
    try:
        return dict(_whole(MessageToDict(message)))
    except Error as error:
        raise ValueError(str(error)) from None


def _whole(value: Any) -> Any:
    """Return a value with its whole numbers as integers, as they were before protobuf."""
    if isinstance(value, dict):
        return {key: _whole(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_whole(each) for each in value]
    if isinstance(value, float) and value.is_integer() and abs(value) <= _LARGEST:
        return int(value)
    return value


def artifacts_of(answer: Mapping[str, Any], *, takes_data: bool = True) -> list[Artifact]:
    """Make the artifacts of a task of the answer to its request.

    Args:
        answer: The answer's fields.
        takes_data: As for `part_of`.
    """
    if answer.keys() == {"artifacts"}:
        artifacts = _read_artifacts(answer["artifacts"])
        if artifacts is not None:
            return artifacts
    if not answer:
        return []
    made = None
    if isinstance(answer.get(ARTIFACT), dict) and len(answer) > 1:
        made = _read(Artifact(), answer[ARTIFACT], [1])
    if made is None:
        made = Artifact()
    else:
        answer = {key: each for key, each in answer.items() if key != ARTIFACT}
    made.artifact_id = RESULT
    del made.parts[:]
    value: Any = dict(answer)
    if answer.keys() == {RESULT} and not _is_object(answer[RESULT]):
        value = answer[RESULT]
    made.parts.extend(parts_of(value, takes_data=takes_data))
    return [made]


def parts_of(value: Any, *, takes_data: bool = True) -> list[Part]:
    """Make the parts of a JSON value: those that ``{"parts": […]}`` lists, else one."""
    if isinstance(value, dict) and value.keys() == {"parts"}:
        parts = read_parts(value["parts"])
        if parts is not None:
            return parts
    return [part_of(value, takes_data=takes_data)]


def read_parts(listed: Any) -> list[Part] | None:
    """Read parts as A2A writes them, None if they are none."""
    message = _read(Message(), {"parts": listed}, listed)
    if message is None or not all(each.WhichOneof("content") for each in message.parts):
        return None
    return list(message.parts)


def _read_artifacts(listed: Any) -> list[Artifact] | None:
    """Read artifacts as A2A writes them, None if they are none."""
    if not isinstance(listed, list) or len(listed) > _MOST_ARTIFACTS:
        return None
    found = [_read(Artifact(), each, [each]) for each in listed]
    artifacts = [each for each in found if each is not None and each.artifact_id and each.parts]
    return artifacts if artifacts and len(artifacts) == len(listed) else None


def write_failure(error: RequestError) -> Part:
    """Write an error as data: its code, its message, its details."""
    return part_of({"code": error.code, "message": error.message, "details": error.details})


def read_failure(value: Any, default: str) -> CapabilityError | None:
    """Read an error that stands as data, None if it is none.

    Args:
        value: The data.
        default: The code of an error that has an empty one.
    """
    if not isinstance(value, dict):
        return None
    code, message, details = map(value.get, ("code", "message", "details"))
    if not (isinstance(code, str) and isinstance(message, str)):
        return None
    given = details if isinstance(details, list) else ()
    return CapabilityError(code[:MAX_NAME] or default, message, given)


def _read(message: Any, written: Any, listed: Any) -> Any:
    if not isinstance(listed, list) or not listed or not isinstance(written, Mapping):
        return None
    if not is_plain(written, _DEEPEST + 8) or not _are_numbers_small(written):
        return None
    try:
        return ParseDict(written, message)
    except (Error, ValueError, TypeError, AttributeError):
        return None
