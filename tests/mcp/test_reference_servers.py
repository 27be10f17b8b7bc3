"""MCP -> mesh -> MCP for the reference servers: the same schemas, the same results."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from mcp import StdioServerParameters
from mcp.client.client import Client
from mcp_types import CallToolResult, ElicitResult, TextContent, Tool

from alephscript import AlephScriptClient, Question
from alephscript.mcp import McpMaster
from alephscript.testing import InMemoryMesh
from tests.support.mcp_peers import client_of, tools_of
from tests.support.tools import ROOT, skip_for_lack_of

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

FOLDER = ROOT / "tests/node/mcp/node_modules/.bin"

CALLS: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "mcp-server-everything": [
        ("echo", {"message": "x"}),
        ("get-sum", {"a": 1, "b": 2}),
        ("get-structured-content", {"location": "New York"}),
        ("get-tiny-image", {}),
        ("get-annotated-message", {"messageType": "error", "includeImage": True}),
        ("get-resource-links", {"count": 2}),
        ("get-sum", {"a": "x"}),
    ],
    "mcp-server-memory": [("read_graph", {}), ("search_nodes", {"query": "x"})],
    "mcp-server-filesystem": [
        ("read_text_file", {"path": "FOLDER/text"}),
        ("list_directory", {"path": "FOLDER"}),
        ("read_text_file", {"path": "/etc/hostname"}),
    ],
    "mcp-server-time": [
        ("get_current_time", {"timezone": "No/Where"}),
        ("convert_time", {"source_timezone": "UTC", "time": "12:00", "target_timezone": "UTC"}),
    ],
}


def command(name: str, folder: Path) -> StdioServerParameters:
    """The command of a server, with a folder of its own."""
    program = shutil.which(name) or shutil.which(name, path=FOLDER)
    if program is None:
        skip_for_lack_of(f"`npm ci` in tests/node/mcp, or pip install {name}")
    arguments = {"mcp-server-everything": ["stdio"], "mcp-server-filesystem": [str(folder)]}
    environment = {**os.environ, "MEMORY_FILE_PATH": str(folder / "memory.json")}
    return StdioServerParameters(
        command=program, args=arguments.get(name, []), env=environment, cwd=folder
    )


def upper(name: str) -> str:
    """The name of a tool behind the mesh."""
    return name.upper().removeprefix("GET_")


def described(tool: Tool) -> tuple[object, ...]:
    """What is the same before and behind the mesh."""
    hints = tool.annotations
    told = hints and (hints.read_only_hint, hints.destructive_hint, bool(hints.idempotent_hint))
    return tool.description, tool.input_schema, tool.output_schema, told


def said(result: CallToolResult) -> list[object]:
    """The content, JSON in it read: white space is not the same."""

    def value(text: str) -> Any:
        try:
            return json.loads(text)
        except ValueError:
            return text

    return [
        value(each.text) if isinstance(each, TextContent) and each.annotations is None else each
        for each in result.content
    ]


async def declines(context: object, params: object) -> ElicitResult:
    """Answer no question."""
    return ElicitResult(action="decline")


@pytest.mark.peers
async def test_a_reference_server_asks_whoever_has_asked(
    mesh: InMemoryMesh, tmp_path: Path
) -> None:
    """By a form, which is answered, or declined by whoever takes no questions."""

    def answer(question: Question[dict[str, str]]) -> dict[str, Any]:
        assert question.reply is not None
        return {"name": "Ana", "check": True}

    server = command("mcp-server-everything", tmp_path)
    async with (
        asyncio.timeout(50),
        McpMaster(server, room="R", hub=mesh),
        AlephScriptClient(mesh) as client,
    ):
        name = "TRIGGER-ELICITATION-REQUEST"
        answered = await client.request(name, {}, on_ask=answer)
        assert "Name: Ana" in answered["content"][1]["text"]
        declined = await client.request(name, {})
        assert "declined" in declined["content"][0]["text"]


@pytest.mark.peers
@pytest.mark.parametrize("name", CALLS)
async def test_a_round_trip_changes_nothing(mesh: InMemoryMesh, name: str, tmp_path: Path) -> None:
    """Of what a tool is, takes and gives."""
    (tmp_path / "text").write_text("some text", encoding="utf-8")
    server = command(name, tmp_path)
    async with (
        asyncio.timeout(50),
        McpMaster(server, room="R", hub=mesh),
        Client(server, elicitation_callback=declines) as direct,  # else it offers fewer tools
        client_of(mesh) as through,
    ):
        here, there = await tools_of(direct), await tools_of(through)
        assert {upper(each) for each in here} == {*there} - {"MCP_READ_RESOURCE", "MCP_GET_PROMPT"}
        for tool in here.values():
            assert described(there[upper(tool.name)]) == described(tool)
        for tool_name, arguments in CALLS[name]:
            given = {
                key: each.replace("FOLDER", str(tmp_path)) if isinstance(each, str) else each
                for key, each in arguments.items()
            }
            one = await direct.call_tool(tool_name, given)
            other = await through.call_tool(upper(tool_name), given)
            assert one.is_error == other.is_error, tool_name
            if not one.is_error:
                assert one.structured_content == other.structured_content, tool_name
                assert said(one) == said(other), tool_name
