"""The seed's flow, run by the SDK's own client."""

from __future__ import annotations

from typing import Any

import pytest
from a2a.client import Client
from google.protobuf.json_format import MessageToDict

from alephscript.aaia import AAIA_ROOM
from alephscript.testing import InMemoryMesh
from examples.persefon_bot import PersefonBot
from tests.support.a2a_peers import agents_of, client_of, message, results_of, task_of

pytestmark = pytest.mark.anyio


async def ask(client: Client, skill: str, **payload: Any) -> dict[str, Any]:
    """The answer of a capability."""
    (answer,) = results_of(await task_of(client, message(payload, skill=skill)))
    assert isinstance(answer, dict), MessageToDict(answer)
    return answer


@pytest.mark.parametrize("binding", ["JSONRPC", "HTTP+JSON"])
async def test_a_session_is_created_stepped_told_and_asked(
    mesh: InMemoryMesh, binding: str
) -> None:
    """At the agent of the room."""
    options = {"streaming": False, "supported_protocol_bindings": [binding]}
    async with (
        PersefonBot(mesh),
        agents_of(mesh) as url,
        client_of(f"{url}/rooms/{AAIA_ROOM}", **options) as client,
    ):
        created = await ask(client, "AAIA_CREATE_SESSION", appId="demo-logica")
        sid = created["session"]["sessionId"]
        percepto = {"tipo": "comando", "payload": {"query": "p(X,Y)"}, "origen": "a2a"}
        await ask(client, "AAIA_SEND_PERCEPTO", sessionId=sid, percepto=percepto)
        step = await ask(client, "AAIA_STEP_FIA", sessionId=sid, fiaIndex=0)
        assert step["eferencia"]["payload"]["meta"]["numSoluciones"] == 3
        mundo = await ask(client, "AAIA_QUERY_MUNDO", sessionId=sid, query="*")
        assert mundo["mundo"]["nombre"]
        await ask(client, "AAIA_DESTROY_SESSION", sessionId=sid)
