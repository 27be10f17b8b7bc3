"""What a hub counts."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

import anyio
import pytest

from alephscript import AlephScriptClient, CapabilityError, capability
from alephscript.errors import NoMaster
from alephscript.hub import Hub
from alephscript.hub.metering import BOUNDS, OTHER, Meter

pytestmark = pytest.mark.anyio


class Master(AlephScriptClient):
    """Adds one."""

    rooms = ("AAIA_ROOM",)

    @capability("ADD")
    async def add(self, payload: dict[str, Any]) -> dict[str, Any]:
        """What is asked, and one."""
        if "a" not in payload:
            raise CapabilityError(code="nothing_to_add", message="there is nothing to add")
        return {"sum": payload["a"] + 1}


def test_a_duration_is_counted_in_the_first_bucket_that_holds_it() -> None:
    """Bounds belong to their bucket, as Prometheus has it."""
    meter = Meter()
    for seconds in (0.0, BOUNDS[0], BOUNDS[0] * 1.01, 3600.0):
        meter.count("X", "ok", seconds)
    (counted,) = meter.snapshot()
    buckets = counted["seconds"]["buckets"]
    assert buckets[:2] == [[BOUNDS[0], 2], [BOUNDS[1], 3]]
    assert buckets[-2:] == [[BOUNDS[-2], 3], [None, 4]]
    assert counted["seconds"]["count"] == 4
    assert counted["seconds"]["sum"] == pytest.approx(3600 + BOUNDS[0] * 2.01)


def test_names_and_codes_of_strangers_are_told_apart_up_to_a_bound() -> None:
    """Else whoever makes them up fills the hub's memory."""
    meter = Meter()
    for number in range(5000):
        meter.count(f"C{number}", "ok", 0)
        meter.count("C0", f"code_{number}", 0)
    assert len(meter.tallies) == 1001
    assert sum(meter.tallies[OTHER].ended.values()) == 4000
    assert len(meter.tallies["C0"].ended) == 51
    assert sum(meter.tallies["C0"].ended.values()) == 5001


async def test_a_hub_says_how_requests_ended_and_how_long_they_took() -> None:
    """By capability and code, for each namespace."""
    async with Hub(port=0) as hub, Master(hub.url), AlephScriptClient(hub.url) as asker:
        for number in range(3):
            assert await asker.request("ADD", {"a": number}) == {"sum": number + 1}
        with pytest.raises(CapabilityError):
            await asker.request("ADD", {})
        with pytest.raises(NoMaster):
            await asker.request("SUBTRACT", {"a": 1})
        mesh = await anyio.to_thread.run_sync(_mesh, hub.url)
    assert mesh["hub"]["clients"] == 2
    runtime = mesh["namespaces"]["/runtime"]
    assert runtime["in_flight"] == 0
    by_name = {each["capability"]: each for each in runtime["capabilities"]}
    assert by_name["ADD"]["ended"] == {"ok": 3, "nothing_to_add": 1}
    assert by_name["ADD"]["seconds"]["count"] == 4
    assert 0 < by_name["ADD"]["seconds"]["sum"] < 60
    # What nobody declared has no name of its own: strangers make names up.
    assert by_name[OTHER]["ended"] == {"no_master": 1}
    assert mesh["namespaces"]["/"]["capabilities"] == []


def _mesh(url: str) -> Any:
    with urllib.request.urlopen(f"{url}/mesh", timeout=5) as answer:
        return json.load(answer)


async def test_ends_of_tasks_are_counted_by_state_and_code() -> None:
    """In `GET /metrics`, beside those that have not ended."""
    async with Hub(port=0) as hub, Master(hub.url), AlephScriptClient(hub.url) as client:
        await (await client.submit("ADD", {"a": 1})).result()
        with pytest.raises(CapabilityError):
            await (await client.submit("ADD", {})).result()
        await (await client.submit("NOBODY", {}, room="ELSEWHERE")).cancel()
        await client.submit("NOBODY", {}, room="ELSEWHERE")
        with await anyio.to_thread.run_sync(urllib.request.urlopen, f"{hub.url}/metrics") as page:
            metrics = page.read().decode()
    for state, code in (("done", "ok"), ("failed", "nothing_to_add"), ("cancelled", "cancelled")):
        said = [each for each in metrics.splitlines() if f'state="{state}"' in each]
        assert len(said) == 1
        assert f'code="{code}"' in said[0]
        assert said[0].endswith(" 1.0")
    assert 'alephscript_tasks{namespace="/runtime",state="queued"} 1.0' in metrics
