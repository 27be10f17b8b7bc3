"""Agents of others as capabilities: their skills, messages to them, and what their tasks answer.

All of it comes from an agent, which may be hostile: what goes on is bounded.

May go in: a card's skills, a payload as a message, a task as an answer. May not: the connection to
an agent (`agent`).

Pure: no socket, no clock.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import attrs
from a2a.types import (
    AgentCard,
    AgentSkill,
    Artifact,
    Message,
    Part,
    Role,
    SendMessageRequest,
    StreamResponse,
    TaskState,
    TaskStatus,
)

from alephscript.a2a.cards import SKILLS
from alephscript.a2a.parts import (
    JSON,
    PROGRESS,
    QUESTION,
    REFUSED,
    item_of_parts,
    part_of,
    read_failure,
    read_parts,
    result_of_artifacts,
    result_of_parts,
    struct_of,
    text_of,
    value_of,
    write_failure,
)
from alephscript.client.messages import Progress, Question
from alephscript.doors.names import is_name
from alephscript.doors.texts import as_json, shown
from alephscript.errors import Cancelled, CapabilityError, RequestError

__all__ = ["INPUT", "Answer", "ForeignSkill", "make_answer", "make_message", "read_skills"]

_MOST_SKILLS = 500
_MOST_CHARACTERS = 400_000
"""Characters of all descriptions: a hub takes a declaration of a megabyte."""
_LONGEST_SUMMARY = 500
_MOST_TAGS = 20
_MOST_BYTES = 16_000_000
"""Bytes of an answer that is put together of its parts."""
_KINDS: Mapping[str, type] = {
    "request": dict,
    "reply": dict,
    "idempotent": bool,
    "readOnly": bool,
    "destructive": bool,
    "streams": bool,
}
"""Fields that the extension of a card may describe a skill by, and their types."""
_MOST_ARTIFACTS = 1000

INPUT = "A2A_INPUT"
"""Name of what an agent asks back that gives it no name: ``{"text"}``."""

_MESSAGE_KEYS = {"parts", "taskId", "contextId"}
"""Keys of a payload that is a message of A2A."""


@attrs.frozen
class ForeignSkill:
    """A skill of an agent.

    Attributes:
        id: The skill's name at its agent.
        description: The skill as the description of a capability.
        is_known: Whether the skill is a capability of another mesh.
        takes_data: Whether the skill takes data, and not only text.
        takes_text: Whether a text goes to it as text.
    """

    id: str
    description: Mapping[str, Any]
    is_known: bool
    takes_data: bool
    takes_text: bool

    @property
    def streams(self) -> bool:
        """Whether the answer is a list of parts, as a capability's is that streams."""
        return bool(self.description.get("streams"))


def read_skills(card: AgentCard) -> list[ForeignSkill]:
    """Read the skills of a card; of a card with too many, the first."""
    described = _read_extension(card)
    budget = _MOST_CHARACTERS
    skills = []
    for skill in card.skills[:_MOST_SKILLS]:
        about = described.get(skill.id)
        description = _describe(skill, about if isinstance(about, dict) else {})
        size = len(as_json(description))
        if size > budget:
            description = {"summary": description["summary"]}
            size = len(as_json(description))
        budget = max(0, budget - size)
        # A mesh behind a card takes data as it is; it would read a text as JSON.
        modes = {each.lower() for each in (skill.input_modes or card.default_input_modes)[:100]}
        is_known = isinstance(about, dict)
        takes_data = is_known or not modes or bool(modes & {JSON, "*/*", "application/*", "data"})
        texts = {"text/plain", "text", "text/*", "*/*"}
        takes_text = not is_known and (not modes or bool(modes & texts))
        skills.append(
            ForeignSkill(
                skill.id,
                description,
                is_known=is_known,
                takes_data=takes_data,
                takes_text=takes_text or not takes_data,
            )
        )
    return skills


def _read_extension(card: AgentCard) -> dict[str, Any]:
    for extension in card.capabilities.extensions[:100]:
        if extension.uri == SKILLS:
            try:
                found = struct_of(extension.params).get("skills")
            except ValueError:
                return {}
            return found if isinstance(found, dict) else {}
    return {}


def _describe(skill: AgentSkill, about: Mapping[str, Any]) -> dict[str, Any]:
    """Describe a skill as a capability: in its own words, and by what the extension says."""
    words = shown(skill.description[:_LONGEST_SUMMARY] or skill.name[:_LONGEST_SUMMARY])
    tags = [shown(each[:100]) for each in skill.tags[:_MOST_TAGS]]
    known = {key: about[key] for key, kind in _KINDS.items() if type(about.get(key)) is kind}
    found = {"summary": words.split("\n\n")[0], "tags": tags, **known}
    return {key: value for key, value in found.items() if value or key == "summary"}


def make_message(payload: Any, skill: ForeignSkill) -> SendMessageRequest:
    """Make the message that a payload is for a skill.

    A text is a text, where the skill takes one; ``{"parts": […]}`` stands for these parts, with
    ``taskId`` and ``contextId`` beside them if the message goes on with a task; whatever else is
    data, or text that holds JSON.
    """
    message = Message(message_id=str(uuid.uuid4()), role=Role.ROLE_USER)
    message.metadata.update({"skill": skill.id})
    parts = None
    if not skill.is_known and isinstance(payload, dict) and payload.keys() <= _MESSAGE_KEYS:
        parts = read_parts(payload.get("parts"))
    if parts is not None:
        message.task_id, message.context_id = (
            each if isinstance(each := payload.get(key), str) else ""
            for key in ("taskId", "contextId")
        )
    elif isinstance(payload, str) and not skill.takes_text:
        parts = [part_of([payload])]
        parts[0].data.string_value = payload
    else:
        parts = [part_of(payload, takes_data=skill.takes_data)]
    message.parts.extend(parts)
    return SendMessageRequest(message=message)


def make_answer(value: Any, skill: ForeignSkill, answer: Answer) -> SendMessageRequest:
    """Make the message that answers what an agent asks: by a value, or by an error that refuses."""
    if isinstance(value, RequestError):
        request = make_message({}, skill)
        del request.message.parts[:]
        request.message.parts.append(write_failure(value))
        request.message.metadata.update({REFUSED: True})
    else:
        request = make_message(value, skill)
    ids = answer.ids()
    request.message.task_id, request.message.context_id = ids["taskId"], ids["contextId"]
    return request


class Answer:
    """What an agent has answered up to now.

    Args:
        in_parts: Whether the parts of artifacts are read as they come, and not kept.

    Attributes:
        task_id: The agent's task, empty before it is known.
        status: The last status of the task.
        is_message: Whether the agent answered with a message, which is its whole answer.
    """

    def __init__(self, *, in_parts: bool = False) -> None:
        self.task_id = ""
        self.status = TaskStatus()
        self._answered = TaskStatus()
        self.is_message = False
        self._in_parts = in_parts
        self._context_id = ""
        self._message: list[Part] = []
        self._artifacts: dict[str, Artifact] = {}
        self._counts: dict[str, int] = {}
        self._unread: list[Part] = []
        self._size = 0
        self._fraction = 0.0

    def take(self, event: StreamResponse) -> None:
        """Take what an agent says.

        Raises:
            CapabilityError: The answer is larger than any may be.
        """
        self.note(event)
        kind = event.WhichOneof("payload")
        if kind == "message":
            self._message = self._unread = list(event.message.parts)
        elif kind == "task":
            for artifact in event.task.artifacts:
                self._grow(artifact, self._counts.get(artifact.artifact_id, 0))
        elif kind == "artifact_update":
            update = event.artifact_update
            if not update.append:
                self._counts.pop(update.artifact.artifact_id, None)
                self._artifacts.pop(update.artifact.artifact_id, None)
            self._grow(update.artifact, 0)
        if self._size > _MOST_BYTES or len(self._counts) > _MOST_ARTIFACTS:
            raise CapabilityError(
                "agent_failed",
                f"the answer has more than {_MOST_BYTES} bytes, or {_MOST_ARTIFACTS} artifacts",
            )

    def _grow(self, artifact: Artifact, known: int) -> None:
        """Take the parts of an artifact that are not known."""
        name, new = artifact.artifact_id, artifact.parts[known:]
        self._counts[name] = self._counts.get(name, 0) + len(new)
        self._size += sum(part.ByteSize() for part in new)
        if self._in_parts:
            self._unread += new
        elif name in self._artifacts:
            self._artifacts[name].parts.extend(new)
        else:
            self._artifacts[name] = artifact

    def ids(self) -> dict[str, str]:
        """Return the names by which a message goes on with the task."""
        return {"taskId": self.task_id, "contextId": self._context_id}

    def question(self) -> Question[Any] | None:
        """Return what the agent asks, None if it asks nothing."""
        if self.is_message or self.status.state != TaskState.TASK_STATE_INPUT_REQUIRED:
            return None
        parts = self.status.message.parts
        for value in _objects(parts):
            if is_name(value.get(QUESTION)) and "payload" in value:
                request, reply = map(value.get, ("request", "reply"))
                return Question(
                    value[QUESTION],
                    value["payload"],
                    request=request if isinstance(request, dict) else None,
                    reply=reply if isinstance(reply, dict) else None,
                )
        return Question(INPUT, {"text": shown(text_of(parts))})

    def go_on(self) -> None:
        """Wait for what comes after an answer to the question."""
        self._answered, self.status = self.status, TaskStatus(state=TaskState.TASK_STATE_WORKING)

    def shadow(self) -> Answer:
        """Make an answer that knows of the same task, and nothing that was said."""
        made = Answer()
        made.task_id, made.status, made._answered = self.task_id, self.status, self._answered
        return made

    def note(self, event: StreamResponse) -> None:
        """Note the task and its status, and nothing of the answer."""
        kind = event.WhichOneof("payload")
        if kind == "message":
            self.is_message = True
        elif kind is not None:
            said = getattr(event, kind)
            self.task_id = (said.id if kind == "task" else said.task_id) or self.task_id
            self._context_id = said.context_id or self._context_id
            if kind != "artifact_update" and said.status != self._answered:
                self.status = said.status

    @property
    def is_over(self) -> bool:
        """Whether the agent has answered, or waits for more."""
        return self.is_message or self.status.state in _ENDS

    def progress(self) -> Progress | None:
        """Return how far the work is, None if the agent does not say."""
        parts = self.status.message.parts
        if self.status.state != TaskState.TASK_STATE_WORKING or not parts:
            return None
        for value in _objects(parts):
            fraction = value.get(PROGRESS)
            if isinstance(fraction, int | float) and 0 <= fraction <= 1:
                self._fraction = float(fraction)
        return Progress(self._fraction, shown(text_of(parts)))

    def items(self) -> Iterator[Any]:
        """Iterate over the parts of the answer that were not read yet.

        Raises:
            ValueError: A part is no JSON.
        """
        unread, self._unread, self._size = self._unread, [], 0
        for part in unread:
            yield item_of_parts([part])

    def result(self) -> Any:
        """Return the whole answer, as a mesh says it.

        Raises:
            CapabilityError: The agent failed, or wants to know more.
            ValueError: The answer is no JSON.
        """
        self.check()
        if self.is_message:
            return result_of_parts(self._message)
        if self._artifacts:
            return result_of_artifacts(list(self._artifacts.values()))
        return result_of_parts(self.status.message.parts)

    def check(self) -> None:
        """Find out whether the agent did what it was asked.

        Raises:
            CapabilityError: The agent failed, or wants to know more.
        """
        state, parts = self.status.state, self.status.message.parts
        if self.is_message or state == TaskState.TASK_STATE_COMPLETED:
            return
        text = shown(text_of(parts))
        if state in _QUESTIONS:
            code, default = _QUESTIONS[state]
            raise CapabilityError(code, text or default, [self.ids()])
        for value in _objects(parts):
            failure = read_failure(value, "agent_failed")
            if failure is not None:
                raise failure
        if state == TaskState.TASK_STATE_CANCELED:
            raise CapabilityError(Cancelled.code, text or "the agent cancelled its task")
        words = "rejected" if state == TaskState.TASK_STATE_REJECTED else "failed"
        raise CapabilityError("agent_failed", text or f"the agent {words}")


def _objects(parts: Iterable[Part]) -> Iterator[dict[str, Any]]:
    for part in parts:
        if part.WhichOneof("content") in ("data", "text"):
            try:
                value = value_of(part)
            except ValueError:
                continue
            if isinstance(value, dict):
                yield value


_QUESTIONS = {
    TaskState.TASK_STATE_INPUT_REQUIRED: ("input_required", "the agent wants to know more"),
    TaskState.TASK_STATE_AUTH_REQUIRED: ("auth_required", "the agent wants to know who asks"),
}

_ENDS = frozenset(
    {
        TaskState.TASK_STATE_COMPLETED,
        TaskState.TASK_STATE_CANCELED,
        TaskState.TASK_STATE_FAILED,
        TaskState.TASK_STATE_REJECTED,
        *_QUESTIONS,
    }
)
