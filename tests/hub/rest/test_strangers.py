"""Strangers' programs that ask by HTTP: schemathesis by the document, curl and httpx by hand."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings

from alephscript.hub import Hub
from examples.persefon_bot import PersefonBot
from tests.support.peers import errors_logged, hub
from tests.support.properties import examples
from tests.support.sse import source
from tests.support.tools import skip_for_lack_of

__all__ = ["errors_logged", "hub"]

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


@pytest.fixture
async def persefon(hub: Hub) -> AsyncIterator[PersefonBot]:
    """The bot of the seed."""
    async with PersefonBot(hub.url) as bot:
        yield bot


@pytest.mark.parametrize("mode", ["positive", "negative"])
async def test_the_document_says_what_the_hub_does(
    hub: Hub, persefon: PersefonBot, mode: str
) -> None:
    """Each answer to whatever fits it, or does not, has a status and a shape that it describes."""
    import schemathesis  # takes a second, which each process would pay that only lists tests
    from schemathesis.generation import GenerationMode
    from schemathesis.specs.openapi.checks import positive_data_acceptance

    def run() -> None:
        schema = schemathesis.openapi.from_url(f"{hub.url}/openapi.json")
        operations = list(schema.get_all_operations())
        assert len(operations) > 10
        for each in operations:
            operation: Any = each.ok()  # type: ignore[union-attr]

            @settings(
                max_examples=examples(15),
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
            )
            @given(case=operation.as_strategy(generation_mode=GenerationMode(mode)))
            def ask(case: Any) -> None:
                # That an app is not there is no matter of schemas.
                case.call_and_validate(excluded_checks=[positive_data_acceptance])

            ask()

    await asyncio.to_thread(run)


async def ask_by_curl(url: str, capability: str, payload: Any) -> tuple[int, Any]:
    """What curl prints: the answer, and its status behind it."""
    process = await asyncio.create_subprocess_exec(
        shutil.which("curl") or skip_for_lack_of("curl"),
        *("--silent", "--show-error", "--write-out", "\n%{http_code}", "--json", "@-"),
        f"{url}/mesh/rooms/AAIA_ROOM/{capability}",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate(json.dumps(payload).encode())
    body, _, status = out.decode().rpartition("\n")
    return int(status), json.loads(body)


async def ask_by_httpx(url: str, capability: str, payload: Any) -> tuple[int, Any]:
    """What httpx gets, by the path that upstream has."""
    async with httpx2.AsyncClient(base_url=url) as http:
        body = {"capability": capability, "payload": payload}
        response = await http.post("/mesh/invoke/AAIA_ROOM", json=body)
    return response.status_code, response.json()


@pytest.mark.parametrize("ask", [ask_by_curl, ask_by_httpx])
async def test_the_seeds_flow_runs_by_http(hub: Hub, persefon: PersefonBot, ask: Any) -> None:
    """Create, percepto, step, eferencia, mundo, destroy; and the room is heard meanwhile."""
    async with (
        httpx2.AsyncClient(base_url=hub.url) as http,
        source(http, "/mesh/rooms/AAIA_ROOM/events") as events,
    ):

        async def answer(capability: str, **payload: Any) -> Any:
            status, told = await ask(hub.url, capability, payload)
            assert (status, told["success"]) == (200, True)
            return told

        apps = await answer("AAIA_GET_APPS")
        assert "demo-logica" in [each["id"] for each in apps["apps"]]
        opened = await answer("AAIA_CREATE_SESSION", appId="demo-logica")
        session = {"sessionId": opened["session"]["sessionId"]}
        percepto = {"tipo": "comando", "payload": {"query": "p(X,Y)"}}
        sent = await answer("AAIA_SEND_PERCEPTO", **session, percepto=percepto)
        assert sent["processedBy"] == [0]
        step = await answer("AAIA_STEP_FIA", **session, fiaIndex=0)
        assert step["eferencia"]["payload"]["meta"]["numSoluciones"] == 3
        last = await answer("AAIA_GET_EFERENCIA", **session, fiaIndex=0)
        assert last["eferencia"] == step["eferencia"]
        mundo = await answer("AAIA_QUERY_MUNDO", **session, query="modelo.ciclo")
        assert mundo["result"] == 2
        await answer("AAIA_DESTROY_SESSION", **session)
        status, gone = await ask(hub.url, "AAIA_STEP_FIA", {**session, "fiaIndex": 0})
        assert (status, gone["code"]) == (422, "session_not_found")
        heard = []
        while "SESSION_DESTROYED" not in heard:
            heard.append((await events.next()).event)
        assert heard == [
            "SET_AAIA_GET_APPS",
            "SESSION_CREATED",
            "PERCEPTO",
            "MUNDO_STATE",
            "FIA_STEP",
            "EFERENCIA",
            "MUNDO_STATE",
            "SESSION_DESTROYED",
        ]
