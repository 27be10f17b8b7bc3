"""A language model that says what a test has written, for pydantic-ai and as a server of HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import attrs
from pydantic_ai import ModelMessage
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, FunctionModel

__all__ = ["Call", "ModelServer", "Script", "scripted"]


@attrs.frozen
class Call:
    """A tool that a model uses; arguments as text need not be JSON."""

    name: str
    arguments: Any = attrs.field(factory=dict)

    @property
    def text(self) -> str:
        """The arguments as the model writes them."""
        return self.arguments if isinstance(self.arguments, str) else json.dumps(self.arguments)


Turn = Sequence[str | Call]


@attrs.define
class Script:
    """What a model says, one turn after the other, and what it was told before each.

    Attributes:
        turns: What it says: pieces of text, and tools.
        told: What it was told, as text.
        tools: The names of the tools that it was offered.
    """

    turns: Sequence[Turn]
    told: list[str] = attrs.field(factory=list)
    tools: list[list[str]] = attrs.field(factory=list)
    _next: int = 0

    def next_turn(self) -> Turn:
        """What the model says now."""
        self._next += 1
        return self.turns[self._next - 1]


def scripted(script: Script) -> FunctionModel:
    """The model in this process, for pydantic-ai."""

    async def say(
        messages: list[ModelMessage], info: AgentInfo
    ) -> AsyncIterator[str | dict[int, DeltaToolCall]]:
        script.told.append(repr(messages[-1]))
        script.tools.append([tool.name for tool in info.function_tools])
        for place, piece in enumerate(script.next_turn()):
            if isinstance(piece, str):
                yield piece
            else:
                text, half = piece.text, len(piece.text) // 2
                yield {place: DeltaToolCall(piece.name, text[:half], tool_call_id=f"c{place}")}
                yield {place: DeltaToolCall(json_args=text[half:])}

    return FunctionModel(stream_function=say, model_name="scripted")


class ModelServer:
    """A server of OpenAI's chat completions, streaming only, one answer a connection.

    Args:
        script: What its model says.

    Attributes:
        asked: The questions, as they came.
        status: What it answers with instead of an answer, if that is not 200.
        spoil: Changes each chunk before it is sent.
    """

    def __init__(self, script: Script) -> None:
        self.script = script
        self.asked: list[dict[str, Any]] = []
        self.status = 200
        self.spoil: Callable[[bytes], bytes] = lambda chunk: chunk
        self.url = ""

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[ModelServer]:
        """Serve on a free port of this machine."""
        server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        async with server:
            yield self

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            length = int(head.partition("content-length: ")[2].partition("\r\n")[0])
            asked = json.loads(await reader.readexactly(length))
            assert head.startswith("post /v1/chat/completions ")
            assert asked["stream"] is True
            self.asked.append(asked)
            if self.status != 200:
                writer.write(b"HTTP/1.1 %d No\r\nconnection: close\r\n\r\n{}" % self.status)
                return
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n")
            writer.write(b"connection: close\r\n\r\n")
            for chunk in self._chunks():
                writer.write(self.spoil(b"data: %b\n\n" % json.dumps(chunk).encode()))
                await writer.drain()
            writer.write(b"data: [DONE]\n\n")
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the asker has left
        finally:
            writer.close()

    def _chunks(self) -> Iterable[dict[str, Any]]:
        self.script.told.append(json.dumps(self.asked[-1]["messages"][-1], ensure_ascii=False))
        turn = self.script.next_turn()
        calls = [each for each in turn if isinstance(each, Call)]
        yield self._chunk({"role": "assistant", "content": ""})
        for piece in turn:
            if isinstance(piece, str):
                yield self._chunk({"content": piece})
        for index, call in enumerate(calls):
            half = len(call.text) // 2
            function = {"name": call.name, "arguments": call.text[:half]}
            begun = {"index": index, "id": f"c{index}", "type": "function", "function": function}
            yield self._chunk({"tool_calls": [begun]})
            rest = {"index": index, "function": {"arguments": call.text[half:]}}
            yield self._chunk({"tool_calls": [rest]})
        yield self._chunk({}, finish="tool_calls" if calls else "stop")
        usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
        yield {**self._chunk({}), "choices": [], "usage": usage}

    def _chunk(self, delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        return {
            "id": "chatcmpl-1",
            "object": "chat.completion.chunk",
            "created": 1_700_000_000,
            "model": self.asked[-1]["model"],
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
        }
