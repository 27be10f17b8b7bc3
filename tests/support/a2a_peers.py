"""A2A clients of a mesh, on the SDK's own client, and ASGI applications on a port."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import uvicorn
from a2a.client import Client, ClientCallContext, ClientConfig, create_client
from a2a.types import Message, Part, Role, SendMessageRequest, StreamResponse, Task, TaskState
from google.protobuf.json_format import MessageToDict
from starlette.types import ASGIApp

from alephscript.a2a import MeshServer
from alephscript.a2a.parts import part_of, value_of
from alephscript.testing import InMemoryMesh
from tests.support.meshes import at_once
from tests.support.servers import address_of, listening_socket


@contextlib.asynccontextmanager
async def serving(make: Callable[[str], ASGIApp]) -> AsyncIterator[str]:
    """Serve the application that is made for an address, on a free port."""
    with listening_socket() as listening:
        url = address_of(listening)
        config = uvicorn.Config(make(url), log_level="error", timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        server.capture_signals = contextlib.nullcontext
        running = asyncio.create_task(server.serve(sockets=[listening]))
        try:
            yield url
        finally:
            server.should_exit = True
            await asyncio.wait({running})


@contextlib.asynccontextmanager
async def agents_of(mesh: InMemoryMesh | str, **options: Any) -> AsyncIterator[str]:
    """The address of a mesh's agents."""
    server = MeshServer(mesh, backoff=at_once, **options)
    async with asyncio.timeout(40), serving(lambda _: server) as url:
        yield url


@contextlib.asynccontextmanager
async def client_of(url: str, **options: Any) -> AsyncIterator[Client]:
    """The SDK's client of an agent."""
    async with await create_client(url, ClientConfig(**options)) as client:
        yield client


def message(*parts: Any, skill: str | None = None, **fields: Any) -> SendMessageRequest:
    """A message of values, of which a text is a text, and others are data."""
    made = [each if isinstance(each, Part) else part_of(each) for each in parts]
    said = Message(message_id="m", role=Role.ROLE_USER, parts=made)
    if skill is not None:
        said.metadata.update({"skill": skill})
    return SendMessageRequest(message=said, **fields)


async def heard(
    client: Client, request: SendMessageRequest, context: ClientCallContext | None = None
) -> list[StreamResponse]:
    """All that comes of a message."""
    return [each async for each in client.send_message(request, context=context)]


async def task_of(
    client: Client, request: SendMessageRequest, context: ClientCallContext | None = None
) -> Task:
    """The task of a message that is answered by one event."""
    (event,) = await heard(client, request, context)
    return event.task


def results_of(task: Task) -> list[Any]:
    """The values of a task that is complete."""
    assert task.status.state == TaskState.TASK_STATE_COMPLETED, MessageToDict(task)
    return [value_of(part) for artifact in task.artifacts for part in artifact.parts]


def failure_of(task: Task) -> tuple[str, str]:
    """The code of a task that failed, and its words."""
    assert task.status.state == TaskState.TASK_STATE_FAILED, MessageToDict(task)
    text, about = task.status.message.parts
    return value_of(about)["code"], text.text
