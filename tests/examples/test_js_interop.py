"""The seed's client and test script for Node, unmodified socket.io-client, against hub and bot."""

from __future__ import annotations

import asyncio
import json

import pytest

from alephscript.aaia import AAIA_ROOM
from alephscript.testing import HubMesh
from examples.persefon_bot import PersefonBot
from tests.support.servers import mounted
from tests.support.tools import ROOT

pytestmark = pytest.mark.anyio

SCRIPT = ROOT / "examples" / "js" / "test-socketio.mjs"


async def run_script(node: str, *arguments: str) -> tuple[int | None, str, str]:
    """Exit code, stdout and stderr of the script."""
    process = await asyncio.create_subprocess_exec(
        node,
        str(SCRIPT),
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(40):
        out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


@pytest.mark.parametrize("transport", ["websocket", "polling", "default"])
async def test_the_seeds_script_sees_its_flow(
    node: str, hub: HubMesh, bot: PersefonBot, transport: str
) -> None:
    """Websocket only, polling only, and polling that upgrades to websocket; so does Python."""
    arguments = ("--url", hub.url, "--transport", transport, "--json")
    async with hub.observer(AAIA_ROOM) as observer:
        code, out, err = await run_script(node, *arguments)
        assert code == 0, err
        told = await observer.expect("FIA_STEP", fia_index=0)
        await observer.expect("SESSION_DESTROYED", session_id=told.data["sessionId"])
    lines = [json.loads(line) for line in out.splitlines()]
    answers = {line["request"]: line["response"] for line in lines if "request" in line}
    assert all(answer["success"] is True for answer in answers.values())
    step = answers["AAIA_STEP_FIA"]
    assert step["eferencia"]["payload"]["meta"]["numSoluciones"] == 3
    assert told.data["eferencia"] == step["eferencia"]
    events = {line["event"] for line in lines if "event" in line}
    assert {"SESSION_CREATED", "PERCEPTO", "FIA_STEP", "EFERENCIA", "MUNDO_STATE"} <= events
    assert lines[-1] == {"done": True}


async def test_the_seeds_flow_is_seen_through_a_mounted_hub(node: str) -> None:
    """By its prefix; the socket.io-client is unmodified."""
    async with mounted() as hub, PersefonBot(hub.url):
        code, out, err = await run_script(node, "--url", hub.url, "--json")
    assert code == 0, err
    lines = [json.loads(line) for line in out.splitlines()]
    assert all(line["response"]["success"] is True for line in lines if "request" in line)
    assert lines[-1] == {"done": True}


async def test_the_script_says_in_one_sentence_that_nobody_is_there(node: str) -> None:
    """No hub: exit 1, a sentence, no stack trace."""
    code, _, err = await run_script(node, "--url", "http://127.0.0.1:9")
    assert code == 1
    assert len(err.strip().splitlines()) == 1
