"""A hub's log of those whom it refused: who and why, no secret, no flood."""

from __future__ import annotations

import logging

import aiohttp
import pytest

from alephscript import AlephScriptClient, ConnectionRefused
from alephscript.hub import Hub, SharedToken
from alephscript.hub.refusals import RefusalLog

pytestmark = pytest.mark.anyio

SECRET, WRONG = "s3cret-c0ffee", "wr0ng-5ca1ab1e"


def refused(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was logged of refusals."""
    return [each.getMessage() for each in caplog.records if each.getMessage()[:7] == "refused"]


@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_who_was_refused_is_logged_with_address_and_reason(
    transport: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Once, however often the same client comes; and nothing of what was shown."""
    caplog.set_level(logging.DEBUG, "alephscript.hub")
    async with Hub(port=0, access=SharedToken(SECRET)) as hub:
        for _ in range(3):
            client = AlephScriptClient(hub.url, token=WRONG, transports=(transport,))
            with pytest.raises(ConnectionRefused):
                await client.__aenter__()
    end = "(and 0 like this since the last line)"
    assert refused(caplog) == [f"refused 127.0.0.1 at /runtime: unauthorized {end}"]
    for record in caplog.records:
        assert WRONG not in f"{record.getMessage()} {vars(record)}"
        assert SECRET not in f"{record.getMessage()} {vars(record)}"


async def test_a_page_that_was_refused_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """If it showed a token; without one it only asks."""
    async with Hub(port=0, access=SharedToken(SECRET)) as hub, aiohttp.ClientSession() as session:
        for headers in ({}, {"Authorization": f"Bearer {WRONG}"}):
            async with session.get(f"{hub.url}/mesh", headers=headers) as answer:
                assert answer.status == 401
    [line] = refused(caplog)
    assert line.startswith("refused 127.0.0.1 at a page: invalid credentials ")


async def test_a_namespace_that_is_not_there_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """With its name, cut."""
    async with Hub(port=0) as hub:
        client = AlephScriptClient(hub.url, namespace="/" + "x" * 200)
        with pytest.raises(ConnectionRefused):
            await client.__aenter__()
    [line] = refused(caplog)
    assert line.startswith(f"refused a client at /{'x' * 127}: Invalid namespace ")


def test_a_flood_of_refusals_fills_no_log(caplog: pytest.LogCaptureFixture) -> None:
    """Twenty lines a minute; the next line says how many there were beside."""
    now = 0.0
    log = RefusalLog(lambda: now)
    for each in range(10_000):
        log.note(f"10.0.{each // 250}.{each % 250}", "/runtime", "unauthorized")
    assert len(refused(caplog)) == 20
    now = 60.0
    log.note("10.0.0.1", "/runtime", "unauthorized")
    assert refused(caplog)[20:] == [
        "refused 10.0.0.1 at /runtime: unauthorized (and 9980 like this since the last line)"
    ]


def test_the_same_client_may_be_refused_for_two_reasons(caplog: pytest.LogCaptureFixture) -> None:
    """Each is worth a line."""
    log = RefusalLog(lambda: 0.0)
    for reason in ("unauthorized", "room required", "unauthorized"):
        log.note("10.0.0.1", "/runtime", reason)
    assert len(refused(caplog)) == 2
