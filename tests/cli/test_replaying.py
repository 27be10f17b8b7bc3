"""A room as it was, from a shell."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from alephscript import AlephScriptClient, Position
from alephscript.cli.replaying import _Pace
from alephscript.client.messages import Event
from alephscript.hub import Hub
from tests.support.tools import ROOT

pytestmark = pytest.mark.anyio

ROOM = "AAIA_ROOM"


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[Hub]:
    """A hub that keeps one room, in which something was said."""
    async with (
        Hub(port=0, data=tmp_path, log=[ROOM]) as hub,
        AlephScriptClient(hub.url, usuario="speaker", sesion="-1") as speaker,
    ):
        for number in range(3):
            await speaker.broadcast("FIA_STEP", {"n": number}, room=ROOM, confirm=True)
        yield hub


async def replay(
    hub: Hub, *arguments: str, out: int = asyncio.subprocess.PIPE
) -> tuple[int, str, str]:
    """Run the command; its exit status, and what it has printed."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "alephscript", "replay", *arguments, "--url", hub.url),
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=out,
        stderr=asyncio.subprocess.PIPE,
    )
    printed, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, (printed or b"").decode(), err.decode()


async def test_each_line_is_an_event_as_it_was(hub: Hub) -> None:
    """With its time, its position and who said it; for people it is shorter."""
    status, out, err = await replay(hub, ROOM, "--json")
    assert (status, err) == (0, "")
    said: list[dict[str, Any]] = [json.loads(line) for line in out.splitlines()]
    assert [each["data"] for each in said] == [{"n": 0}, {"n": 1}, {"n": 2}]
    for each in said:
        assert {*each} == {"event", "data", "at", "position", "sender"}
        assert (each["event"], each["sender"]) == ("FIA_STEP", "speaker-1")
        assert dt.datetime.fromisoformat(each["at"]).tzinfo is not None
    assert Position.parse(said[0]["position"]) < Position.parse(said[2]["position"])
    _, out, _ = await replay(hub, ROOM, "--since", said[1]["position"])
    assert out.endswith('FIA_STEP {"n": 2}\n')
    assert len(out.splitlines()) == 1


async def test_a_replay_has_a_beginning_an_end_and_a_speed(hub: Hub) -> None:
    """As durations and times; what is none is said in a sentence."""
    later = (dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)).isoformat()
    for arguments, count in (
        (("--since", "10m", "--until", later, "--speed", "1000"), 3),
        (("--until", "1h"), 0),
        (("--since", later), 0),
    ):
        status, out, err = await replay(hub, ROOM, *arguments)
        assert (status, len(out.splitlines()), err) == (0, count, "")
    for arguments, sentence in (
        (("--since", "soon"), "expected a duration"),
        (("--until", "x"), "expected a duration"),
        (("--speed", "0"), "is no speed"),
    ):
        status, out, err = await replay(hub, ROOM, *arguments)
        assert status != 0
        assert sentence in err


async def test_a_room_without_a_log_is_said(hub: Hub) -> None:
    """With the option that gives it one."""
    status, out, err = await replay(hub, "OTHER")
    assert (status, out) == (1, "")
    assert err == "alephscript: the hub keeps no log of OTHER; start it with --log OTHER\n"


async def test_a_full_disk_is_said_in_a_sentence(hub: Hub) -> None:
    """Of what is printed, as of what is read; there is no traceback."""
    full = os.open("/dev/full", os.O_WRONLY)
    status, _, err = await replay(hub, ROOM, out=full)
    os.close(full)
    assert (status, err) == (1, "alephscript: [Errno 28] No space left on device\n")


async def test_events_come_as_far_apart_as_they_were_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the speed; a clock that was set back makes nobody wait."""
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    pace = _Pace(2.0)
    for at in (100.0, 104.0, 50.0, 51.0):
        await pace.wait(Event(ROOM, "E", None, sent=at))
    assert [round(each, 1) for each in slept] == [0.0, 2.0, 2.0, 2.5]
    await _Pace(None).wait(Event(ROOM, "E", None, sent=1.0))
    assert len(slept) == 4
