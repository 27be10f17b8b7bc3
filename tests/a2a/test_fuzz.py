"""Bodies of strangers, near those that A2A knows: each is answered, by a status and JSON."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
from hypothesis import given, settings, strategies as st
from starlette.responses import Response

from alephscript import AlephScriptClient, CapabilityError, DeadlineExceeded
from alephscript.a2a import A2aMaster
from alephscript.testing import InMemoryMesh
from tests.a2a.test_master import card, odd_agent
from tests.a2a.test_server import Odd
from tests.support.a2a_peers import agents_of, serving
from tests.support.properties import examples
from tests.support.strangers import JSON

METHODS = st.sampled_from(
    [
        *("SendMessage", "SendStreamingMessage", "GetTask", "ListTasks", "CancelTask"),
        *("SubscribeToTask", "CreateTaskPushNotificationConfig", "GetExtendedAgentCard"),
        *("message/send", "message/stream", "tasks/get", "tasks/cancel", "tasks/resubscribe"),
        *("tasks/pushNotificationConfig/set", "none", ""),
    ]
)
KEYS = st.sampled_from(
    [
        *("message", "messageId", "role", "parts", "text", "data", "raw", "kind", "metadata"),
        *("skill", "taskId", "contextId", "id", "configuration", "historyLength", "pageSize"),
        *("acceptedOutputModes", "returnImmediately", "pageToken", "status", "tenant"),
    ]
)
WORDS = st.sampled_from(["ROLE_USER", "user", "ADD", "ADD [1]", "text", "TASK_STATE_WORKING"])
NEAR = st.recursive(
    JSON | WORDS,
    lambda inner: st.dictionaries(KEYS, inner, max_size=6) | st.lists(inner, max_size=3),
    max_leaves=20,
)
MESSAGES = st.fixed_dictionaries(
    {
        "message": st.fixed_dictionaries(
            {"messageId": WORDS, "role": WORDS, "parts": st.lists(NEAR, max_size=3)},
            optional={"metadata": NEAR, "taskId": WORDS, "kind": st.just("message")},
        )
    },
    optional={"configuration": NEAR, "metadata": NEAR},
)
CALLS = st.fixed_dictionaries(
    {"jsonrpc": st.just("2.0"), "method": METHODS, "params": MESSAGES | NEAR},
    optional={"id": JSON},
)
PATHS = st.sampled_from(
    [
        *("/", "/rooms/ODD", "/rooms/ODD/", "/rooms/%00", "/message:send", "/message:stream"),
        *("/rooms/ODD/message:send", "/tasks/x:cancel", "/tasks/x:subscribe"),
        "/tasks/x/pushNotificationConfigs",
    ]
)


INTERNAL = -32603
GOOD = {"message": {"messageId": "1", "role": "ROLE_USER", "parts": [{"text": "ADD [1]"}]}}


def code_of(said: Any) -> Any:
    """The code of an error of JSON-RPC, if it is one."""
    error = said.get("error") if isinstance(said, dict) else None
    return error.get("code") if isinstance(error, dict) else None


@given(st.lists(st.tuples(PATHS, CALLS | MESSAGES | NEAR), min_size=1, max_size=20))
@settings(max_examples=examples(40))
def test_any_body_is_answered(asked: list[tuple[str, Any]]) -> None:
    """And the next request is served."""

    async def ask() -> None:
        headers = {"Content-Type": "application/json"}
        async with (
            InMemoryMesh() as mesh,
            Odd(mesh),
            agents_of(mesh) as url,
            httpx.AsyncClient(timeout=20, headers=headers) as http,
        ):
            for path, body in asked:
                content = json.dumps(body, ensure_ascii=True).encode()
                response = await http.post(url + path, content=content)
                assert response.status_code < 500, response.text
                if response.headers["content-type"].startswith("application/json"):
                    assert code_of(response.json()) != INTERNAL, response.text
            good = await http.post(f"{url}/message:send", json=GOOD)
            assert good.json()["task"]["status"]["state"] == "TASK_STATE_COMPLETED"

    asyncio.run(ask())


SAID_KEYS = st.sampled_from(
    [
        *("task", "message", "statusUpdate", "artifactUpdate", "id", "taskId", "contextId"),
        *("status", "state", "artifacts", "artifactId", "parts", "text", "data", "raw", "append"),
        *("messageId", "role", "metadata", "timestamp", "artifact", "lastChunk", "history"),
    ]
)
SAID_WORDS = st.sampled_from(["1", "TASK_STATE_COMPLETED", "TASK_STATE_WORKING", "ROLE_AGENT"])
RESULTS = st.recursive(
    JSON | SAID_WORDS,
    lambda inner: st.dictionaries(SAID_KEYS, inner, max_size=5) | st.lists(inner, max_size=3),
    max_leaves=20,
)
TASKS = st.fixed_dictionaries(
    {
        "task": st.fixed_dictionaries(
            {"id": SAID_WORDS, "status": st.fixed_dictionaries({"state": SAID_WORDS})},
            optional={"artifacts": st.lists(RESULTS, max_size=2), "contextId": SAID_WORDS},
        )
    }
)
PIECES = st.builds(
    lambda result, key: {"jsonrpc": "2.0", key: result},
    TASKS | RESULTS,
    st.sampled_from(["result", "result", "result", "error", "x"]),
)


@given(st.lists(st.tuples(st.lists(PIECES, max_size=4), st.booleans()), min_size=1, max_size=8))
@settings(max_examples=examples(40))
def test_any_answer_is_an_answer_or_an_error(said: list[tuple[list[Any], bool]]) -> None:
    """Of JSON or in a stream; and the agent stays a master."""
    turn = 0

    def answer(_: Any) -> Response:
        pieces, is_stream = said[turn]
        texts = [json.dumps(piece) for piece in pieces]
        if is_stream:
            body = "".join(f"data: {text}\n\n" for text in texts)
            return Response(body, media_type="text/event-stream")
        return Response("".join(texts[:1]), media_type="application/json")

    async def ask() -> None:
        nonlocal turn
        async with (
            InMemoryMesh() as mesh,
            serving(lambda url: odd_agent(json.dumps(card(f"{url}/")).encode(), answer)) as url,
            A2aMaster(url, room="R", hub=mesh),
            AlephScriptClient(mesh) as client,
        ):
            for turn in range(len(said)):  # noqa: B007 - `answer` reads it
                try:
                    assert isinstance(await client.request("X", {"a": 1}, timeout=0.2), dict)
                except DeadlineExceeded:
                    pass  # the agent says that its task goes on
                except CapabilityError as error:
                    assert error.code != "internal"  # noqa: PT017 - one of two good ends
            assert [each.capability for each in await client.discover()] == ["X"]

    asyncio.run(ask())
