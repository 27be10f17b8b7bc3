"""An A2A agent on the SDK of its authors, for masters to reach: ``python FILE PORT``.

It greets, adds, counts, waits, asks back, fails and learns when it is told to.
"""

from __future__ import annotations

import asyncio
import os
import sys

import uvicorn
from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.events import EventQueue
from a2a.server.request_handlers import DefaultRequestHandler
from a2a.server.routes import create_agent_card_routes, create_jsonrpc_routes, create_rest_routes
from a2a.server.tasks import InMemoryTaskStore, TaskUpdater
from a2a.types import (
    AgentCapabilities,
    AgentCard,
    AgentInterface,
    AgentSkill,
    InvalidParamsError,
    Message,
    Part,
    Role,
    Task,
    TaskState,
    TaskStatus,
)
from google.protobuf.json_format import ParseDict
from starlette.applications import Starlette

SKILLS = (
    "greet",
    "Greet",
    "add",
    "count",
    "wait",
    "ask",
    "fail",
    "refuse",
    "files",
    "pid",
    "learn",
)


class Waits:
    """What became of tasks that wait."""

    def __init__(self) -> None:
        self.running = asyncio.Event()
        self.cancelled = asyncio.Event()


def data(value: object) -> Part:
    """A part that holds data."""
    part = Part()
    ParseDict({"data": value}, part)
    return part


class Trial(AgentExecutor):
    """Does what the skill says that a message names."""

    def __init__(self, card: AgentCard, waits: Waits) -> None:
        self._card = card
        self._waits = waits

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        """Serve a message."""
        message = context.message
        assert message is not None
        assert context.task_id is not None
        assert context.context_id is not None
        named = message.metadata.fields.get("skill")
        skill = named.string_value if named is not None else "greet"
        part = message.parts[0]
        if skill in ("greet", "Greet"):
            answer = Part(text=f"hello {part.text or 'you'}")
            said = Message(message_id="1", role=Role.ROLE_AGENT, parts=[answer])
            await event_queue.enqueue_event(said)
            return
        if skill == "refuse":
            raise InvalidParamsError("out of ink")
        if context.current_task is None:
            status = TaskStatus(state=TaskState.TASK_STATE_SUBMITTED)
            task = Task(id=context.task_id, context_id=context.context_id, status=status)
            await event_queue.enqueue_event(task)
        updater = TaskUpdater(event_queue, context.task_id, context.context_id)
        await self._work(skill, part, updater, goes_on=context.current_task is not None)

    async def _work(  # noqa: C901 - a branch for each skill
        self, skill: str, part: Part, updater: TaskUpdater, *, goes_on: bool
    ) -> None:
        if skill == "add":
            fields = part.data.struct_value.fields
            added = fields["a"].number_value + fields["b"].number_value
            await updater.add_artifact([data({"sum": added})])
        elif skill == "pid":
            await updater.add_artifact([data({"pid": os.getpid()})])
        elif skill == "count":
            for each in range(3):
                await updater.add_artifact(
                    [data(each)], artifact_id="numbers", append=each > 0, last_chunk=each == 2
                )
        elif skill == "files":
            await updater.add_artifact(
                [Part(raw=b"\0\1", filename="a"), Part(text="b")], name="two"
            )
            await updater.add_artifact([data({"c": 1})], name="one", artifact_id="3")
        elif skill == "wait":
            await updater.start_work(updater.new_agent_message([Part(text="half way")]))
            self._waits.running.set()
            await asyncio.Event().wait()
        elif skill == "ask" and goes_on:
            await updater.add_artifact([Part(text=f"then {part.text}")])
        elif skill == "ask":
            await updater.requires_input(updater.new_agent_message([Part(text="which one?")]))
            return
        elif skill == "fail":
            await updater.failed(updater.new_agent_message([Part(text="there is no ink")]))
            return
        elif skill == "learn":
            self._card.skills.append(
                AgentSkill(id="learned", name="x", description="x", tags=["x"])
            )
        await updater.complete()

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        """Cancel a task."""
        assert context.task_id is not None
        assert context.context_id is not None
        self._waits.cancelled.set()
        await TaskUpdater(event_queue, context.task_id, context.context_id).cancel()


def make_agent(url: str, waits: Waits | None = None, *, streaming: bool = True) -> Starlette:
    """Make the agent that is asked at an address."""
    card = AgentCard(
        name="trial",
        description="Tries.",
        version="1",
        supported_interfaces=[
            AgentInterface(url=url, protocol_binding=binding, protocol_version="1.0")
            for binding in ("JSONRPC", "HTTP+JSON")
        ],
        capabilities=AgentCapabilities(streaming=streaming),
        default_input_modes=["text/plain", "application/json"],
        default_output_modes=["text/plain", "application/json"],
        skills=[
            AgentSkill(id=each, name=each, description=f"Does {each}.", tags=["trial"])
            for each in SKILLS
        ],
    )
    executor = Trial(card, waits or Waits())
    handler = DefaultRequestHandler(executor, InMemoryTaskStore(), card)

    async def now(_: AgentCard) -> AgentCard:
        return card

    return Starlette(
        routes=[
            *create_agent_card_routes(card, now),
            *create_jsonrpc_routes(handler, "/"),
            *create_rest_routes(handler),
        ]
    )


if __name__ == "__main__":
    port = int(sys.argv[1])
    uvicorn.run(make_agent(f"http://127.0.0.1:{port}/"), port=port, log_level="error")
