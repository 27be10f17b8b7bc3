"""A2A -> mesh -> A2A, and mesh -> A2A -> mesh: the same results."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from a2a.types import Part
from google.protobuf.json_format import MessageToDict

from alephscript import AlephScriptClient, CapabilityError, NoAnswerer, Question
from alephscript.a2a import A2aMaster
from alephscript.testing import InMemoryMesh
from tests.a2a.test_server import Odd, Postman
from tests.support.a2a_agent import make_agent
from tests.support.a2a_peers import agents_of, client_of, heard, message, serving

pytestmark = pytest.mark.anyio


def parts_of(events: list[Any]) -> list[list[dict[str, Any]]]:
    """The parts of an answer, an artifact each, whatever it came in."""
    artifacts: dict[str, list[Any]] = {}
    for event in events:
        if event.WhichOneof("payload") == "message":
            artifacts[""] = [*event.message.parts]
        elif event.WhichOneof("payload") == "artifact_update":
            artifact = event.artifact_update.artifact
            artifacts.setdefault(artifact.artifact_id, []).extend(artifact.parts)
        for artifact in event.task.artifacts:
            artifacts[artifact.artifact_id] = [*artifact.parts]
    written = [[MessageToDict(part) for part in each] for each in artifacts.values()]
    for part in (part for parts in written for part in parts):
        if part.get("mediaType") == "application/json":  # which this door adds to what is data
            del part["mediaType"]
    return written


ASKED: list[tuple[str, list[Any]]] = [
    ("greet", ["you"]),
    ("greet", [Part(text="a"), Part(raw=b"x", filename="b")]),
    ("add", [{"a": 1, "b": 2.5}]),
    ("count", [{}]),
    ("files", [{}]),
]


@pytest.mark.parametrize("streaming", [True, False])
async def test_an_agent_gives_the_same_behind_a_mesh(
    mesh: InMemoryMesh, *, streaming: bool
) -> None:
    """Of parts and artifacts."""
    async with (
        serving(lambda url: make_agent(f"{url}/")) as url,
        A2aMaster(url, room="R", hub=mesh),
        agents_of(mesh) as door,
        client_of(url, streaming=streaming) as direct,
        client_of(f"{door}/rooms/R", streaming=streaming) as through,
    ):
        for skill, parts in ASKED:
            here = parts_of(await heard(direct, message(*parts, skill=skill)))
            there = parts_of(await heard(through, message(*parts, skill=skill.upper())))
            assert here == there
            assert here


async def test_a_capability_gives_the_same_behind_a2a(mesh: InMemoryMesh) -> None:
    """With the same schemas, parts and errors."""
    async with (
        asyncio.timeout(30),
        Odd(mesh),
        agents_of(mesh) as url,
        A2aMaster(f"{url}/rooms/ODD", room="R", hub=mesh),
        AlephScriptClient(mesh) as client,
    ):
        offers = {(each.room, each.capability): each for each in await client.discover()}
        for name in ("ADD", "TYPED", "SAY", "COUNT", "FAIL", "BIG"):
            here, there = offers["ODD", name], offers["R", name]
            for field in ("summary", "request", "reply", "idempotent", "streams"):
                assert getattr(here, field) == getattr(there, field), (name, field)
            assert bool(here.read_only) == bool(there.read_only)
        for name, payload in [
            ("ADD", [1, 2]),
            ("TYPED", {"numbers": [2**60 + 1, 1]}),
            ("SAY", "hello"),
            ("SAY", "17"),
            ("COUNT", 3),
            ("COUNT", 0),
            ("BIG", {}),
        ]:
            one, other = [await client.request(name, payload, room=room) for room in ("ODD", "R")]
            assert one == other, name
        for room in ("ODD", "R"):
            parts = [part async for part in client.stream("COUNT", 200, room=room)]
            assert parts == [{"number": number} for number in range(200)]
            with pytest.raises(CapabilityError) as error:
                await client.request("FAIL", {"a": 1}, room=room)
            assert (error.value.code, error.value.message, error.value.details) == (
                "not_mine",
                "there is nothing",
                [{"asked": {"a": 1}}],
            )


async def test_a_question_and_its_answer_go_through_both(mesh: InMemoryMesh) -> None:
    """And so does the word of whoever refuses."""
    told: list[Any] = []

    def answer(question: Question[dict[str, Any]]) -> bool:
        told.append((question.capability, question.payload))
        assert question.reply == {"type": "boolean"}
        if question["what"] == "Eva":
            raise CapabilityError("not_today", "ask again tomorrow")
        return True

    async with (
        asyncio.timeout(30),
        Postman(mesh),
        agents_of(mesh) as url,
        A2aMaster(f"{url}/rooms/POST", room="R", hub=mesh),
        AlephScriptClient(mesh) as client,
    ):
        for room in ("POST", "R"):
            sent = await client.request("SEND", {"to": "Ana"}, room=room, on_ask=answer)
            assert sent == {"sent": True}
            sent = await client.request("SEND", {"to": "Eva"}, room=room, on_ask=answer)
            assert sent == {"refused": "not_today"}
            with pytest.raises(NoAnswerer):
                await client.request("SEND", {"to": "Ana"}, room=room)
        assert told == [("APPROVE", {"what": "Ana"}), ("APPROVE", {"what": "Eva"})] * 2
