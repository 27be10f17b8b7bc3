"""JSON values as parts and back, and whatever strangers write for messages and cards."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from a2a.types import AgentCard, Artifact, Message, Part, SendMessageRequest, StreamResponse, Task
from a2a.utils.errors import A2AError
from google.protobuf.json_format import MessageToJson, ParseDict
from google.protobuf.struct_pb2 import Value
from hypothesis import given, settings, strategies as st

from alephscript import CapabilityError, Offer
from alephscript.a2a.agent import BadCard, read_card
from alephscript.a2a.asking import read_message
from alephscript.a2a.cards import Skill, Skills, describe, make_card
from alephscript.a2a.foreign import Answer, ForeignSkill, make_message, read_skills
from alephscript.a2a.parts import (
    artifacts_of,
    data_of,
    item_of_parts,
    part_of,
    parts_of,
    result_of_artifacts,
    value_of,
)
from alephscript.protocol.json import write_json
from tests.support.properties import examples
from tests.support.strangers import JSON, ODD_SCHEMAS, SCHEMAS, TEXTS

OWN = ("artifacts", "parts", "_artifact", "success")
"""Keys of answers that mean something to a mesh, or to the door."""

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
"""JSON that any peer can read."""
KEYS = st.text() | st.sampled_from(["result", "error", "skill", "payload"])
ANSWERS = st.dictionaries(KEYS, PLAIN, max_size=4)


def offer(capability: str, request: Any = None, **about: Any) -> Offer:
    """An offer of a single master."""
    return Offer("R", capability, (), "single", 1, request=request, **about)


def skill_of(name: str, offered: Offer) -> Skill:
    """A skill of an offer."""
    return Skill(name, offered, describe(offered))


def on_the_wire(message: Any) -> Any:
    """A message as its reader gets it."""
    read = type(message)()
    ParseDict(json.loads(MessageToJson(message)), read)
    return read


@given(ANSWERS, st.booleans())
@settings(max_examples=examples(300))
def test_an_answer_comes_back_as_it_was(answer: dict[str, Any], takes_data: bool) -> None:
    """Through artifacts, whatever it holds."""
    artifacts = artifacts_of(answer, takes_data=takes_data)
    back = result_of_artifacts([on_the_wire(each) for each in artifacts])
    fields = {} if back is None else back if isinstance(back, dict) else {"result": back}
    if "result" in answer and isinstance(answer["result"], str) and not takes_data:
        return  # a text that nothing tells from a text
    assert fields == answer


@given(PLAIN)
@settings(max_examples=examples(300))
def test_a_part_of_a_stream_comes_back_as_it_was(value: Any) -> None:
    """Alone in its chunk."""
    assert item_of_parts([on_the_wire(each) for each in parts_of(value)]) == value


@given(PLAIN)
@settings(max_examples=examples(300))
def test_a_payload_comes_through_as_it_was(payload: Any) -> None:
    """From a mesh to the agent of another one, by whichever skill."""
    skills = Skills([skill_of("X", offer("X")), skill_of("Y", offer("Y"))])
    known = ForeignSkill("X", {}, is_known=True, takes_data=True, takes_text=False)
    skill, read = read_message(on_the_wire(make_message(payload, known)), skills)
    assert (skill.id, read) == ("X", payload)


@pytest.mark.parametrize("payload", ["hello", 17, {"a": [1]}, None])
def test_an_agent_that_takes_texts_gets_texts(payload: Any) -> None:
    """A text as it is, and JSON of anything else."""
    skill = ForeignSkill("x", {}, is_known=False, takes_data=False, takes_text=True)
    (part,) = make_message(payload, skill).message.parts
    assert part.WhichOneof("content") == "text"
    assert value_of(part) == payload


WORDS = st.sampled_from(["X", "Y Z", "X {}", '{"skill": "X", "payload": 1}', "skill", "X:", ""])
PARTS = st.one_of(
    st.builds(lambda text: Part(text=text), st.text() | WORDS),
    st.builds(lambda raw: Part(raw=raw), st.binary(max_size=5)),
    st.builds(lambda url: Part(url=url), st.text()),
    st.builds(part_of, PLAIN | st.fixed_dictionaries({"skill": WORDS, "payload": PLAIN})),
    st.just(Part()),
    st.just(Part(data=Value(number_value=float("nan")))),
    st.just(Part(text="{", media_type="application/json")),
)


@given(
    st.lists(PARTS, max_size=3),
    st.dictionaries(st.sampled_from(["skill", "capability", "room", "a"]), WORDS | st.none()),
    st.sampled_from([None, {"type": "string"}, {"type": "object"}, {"type": ["string", "null"]}]),
)
@settings(max_examples=examples(300))
def test_any_message_is_a_request_or_a_refusal_in_words(
    parts: list[Part], metadata: dict[str, Any], schema: Any
) -> None:
    """Whose payload the mesh can carry."""
    message = Message(message_id="1", parts=parts)
    message.metadata.update(metadata)
    skills = Skills([skill_of("X", offer("X", schema)), skill_of("Y", offer("Y", schema))])
    try:
        _, payload = read_message(SendMessageRequest(message=message), skills)
    except A2AError as error:
        assert str(error)  # noqa: PT017 - an error is one of two good ends
    else:
        write_json(payload)


@given(st.lists(st.tuples(TEXTS, ODD_SCHEMAS, TEXTS), max_size=4))
@settings(max_examples=examples(100))
def test_any_capability_makes_a_skill(offers: list[tuple[str, Any, str]]) -> None:
    """Whatever its master says of it; the card can be read, and says the same."""
    skills = [
        skill_of(f"s{number}", offer(name, schema, reply=schema, summary=words, tags=(words,)))
        for number, (name, schema, words) in enumerate(offers)
    ]
    card = make_card(skills, name="n", description="d", url="http://h/", is_guarded=False)
    read = read_card(MessageToJson(card).encode(), "http://h")
    assert [each.id for each in read_skills(read)] == [each.id for each in skills]


@pytest.mark.parametrize("name", SCHEMAS)
def test_no_schema_is_a_burden_for_a_card(name: str) -> None:
    """Nor one that others would choke on."""
    skills = [skill_of("X", offer("X", SCHEMAS[name], reply=SCHEMAS[name]))] * 3
    card = make_card(skills, name="n", description="d", url="http://h/", is_guarded=True)
    assert card.ByteSize() < 1_500_000
    assert read_skills(read_card(MessageToJson(card).encode(), "http://h"))


CARD_KEYS = st.sampled_from(
    [
        *("name", "skills", "id", "supportedInterfaces", "url", "protocolBinding", "params"),
        *("capabilities", "extensions", "uri", "tags", "streaming", "securitySchemes", "security"),
        *("preferredTransport", "additionalInterfaces", "protocolVersion", "signatures"),
    ]
)
ODD_CARDS = st.recursive(
    JSON | st.sampled_from(["http://h/", "JSONRPC", "urn:alephscript:a2a:skills:1"]),
    lambda inner: st.dictionaries(CARD_KEYS, inner, max_size=6) | st.lists(inner, max_size=3),
    max_leaves=30,
)


@given(ODD_CARDS)
@settings(max_examples=examples(300))
def test_any_card_is_read_or_refused_in_words(card: Any) -> None:
    """Whatever it has in which place."""
    with contextlib.suppress(UnicodeEncodeError):  # half a character, which is no JSON of anybody
        content = json.dumps(card, ensure_ascii=False).encode()
        try:
            read = read_card(content, "http://h")
        except BadCard as error:
            assert str(error)  # noqa: PT017 - an error is one of two good ends
        else:
            for skill in read_skills(read):
                write_json(dict(skill.description))


STATES = st.sampled_from(
    [
        *("TASK_STATE_WORKING", "TASK_STATE_COMPLETED", "TASK_STATE_FAILED"),
        *("TASK_STATE_CANCELED", "TASK_STATE_INPUT_REQUIRED", "TASK_STATE_REJECTED"),
        "TASK_STATE_UNSPECIFIED",
    ]
)
STATUSES = st.builds(
    lambda state, parts: {"state": state, "message": Message(parts=parts)}, STATES, st.lists(PARTS)
)
ARTIFACTS = st.builds(
    lambda name, parts: Artifact(artifact_id=name, parts=parts),
    st.sampled_from(["a", "b", ""]),
    st.lists(PARTS, max_size=3),
)
EVENTS = st.one_of(
    st.builds(lambda parts: StreamResponse(message=Message(parts=parts)), st.lists(PARTS)),
    st.builds(
        lambda status, artifacts: StreamResponse(
            task={"id": "1", "status": status, "artifacts": artifacts}
        ),
        STATUSES,
        st.lists(ARTIFACTS, max_size=2),
    ),
    st.builds(lambda status: StreamResponse(status_update={"status": status}), STATUSES),
    st.builds(
        lambda artifact, append: StreamResponse(
            artifact_update={"artifact": artifact, "append": append}
        ),
        ARTIFACTS,
        st.booleans(),
    ),
    st.just(StreamResponse()),
)


@given(st.lists(EVENTS, max_size=6), st.booleans())
@settings(max_examples=examples(300))
def test_whatever_an_agent_says_is_an_answer_or_an_error(
    said: list[StreamResponse], in_parts: bool
) -> None:
    """Which the mesh can carry."""
    answer = Answer(in_parts=in_parts)
    for event in said:
        answer.take(event)
        answer.progress()
        with contextlib.suppress(ValueError):
            write_json(list(answer.items()))
    try:
        write_json(answer.result())
    except (CapabilityError, ValueError) as error:
        assert str(error)  # noqa: PT017 - an error is one of two good ends


@given(st.lists(st.lists(st.text(max_size=3), max_size=3), max_size=6), st.sampled_from("ust"))
@settings(max_examples=examples(100))
def test_parts_come_once_whether_they_were_told_of_or_looked_up(
    chunks: list[list[str]], how: str
) -> None:
    """By updates, by snapshots of the task, or by both."""
    answer, whole = Answer(in_parts=True), Answer()
    task = Task(id="1", status={"state": "TASK_STATE_COMPLETED"})
    heard: list[str] = []
    task.artifacts.append(Artifact(artifact_id="a"))
    for number, chunk in enumerate(chunks):
        parts = [Part(text=text) for text in chunk]
        task.artifacts[0].parts.extend(parts)
        update = {"artifact": Artifact(artifact_id="a", parts=parts), "append": number > 0}
        updated, snapshot = StreamResponse(artifact_update=update), StreamResponse(task=task)
        for event in {"u": [updated], "s": [snapshot], "t": [updated, snapshot]}[how]:
            answer.take(event)
            whole.take(event)
        heard += answer.items()
    assert heard == [text for chunk in chunks for text in chunk]
    if how != "u" and heard:
        result = whole.result()
        kept = [result] if len(heard) == 1 else result["artifacts"][0]["parts"]
        assert [each if len(heard) == 1 else each["text"] for each in kept] == heard


def test_a_value_that_json_has_not_is_none() -> None:
    """Where protobuf has it."""
    with pytest.raises(ValueError, match="finite"):
        data_of(Value(number_value=float("inf")))
    with pytest.raises(BadCard):
        read_card(MessageToJson(AgentCard()).encode(), "http://h")
