"""Pending acknowledgements end once each, whoever ends them."""

from __future__ import annotations

import asyncio

import pytest

from alephscript.errors import LinkLost
from alephscript.links.pending import Pending

pytestmark = pytest.mark.anyio


async def test_an_acknowledgement_resolves_its_own_future() -> None:
    """Numbers are never given out twice."""
    pending = Pending()
    (first, one), (second, two) = pending.open(5), pending.open(5)
    assert first != second
    pending.resolve(second, b"b")
    pending.resolve(first, b"a")
    assert (await one, await two) == (b"a", b"b")
    assert len(pending) == len(pending._deadlines) == 0


async def test_late_unknown_and_duplicate_ones_are_counted() -> None:
    """They have nobody to go to."""
    pending = Pending()
    number, future = pending.open(5)
    pending.resolve(number, b"[]")
    pending.resolve(number, b"again")
    pending.resolve(999, b"[]")
    given_up, cancelled = pending.open(5)
    cancelled.cancel()
    pending.resolve(given_up, b"[]")
    assert await future == b"[]"
    assert pending.late == 3


async def test_failing_ends_all_with_exceptions_of_their_own() -> None:
    """One traceback must not be shared by many tasks."""
    pending = Pending()
    futures = [pending.open(5)[1] for _ in range(3)]
    futures[0].cancel()
    pending.fail(LinkLost, "gone")
    ended = await asyncio.gather(*futures[1:], return_exceptions=True)
    assert [type(each) for each in ended] == [LinkLost, LinkLost]
    assert ended[0] is not ended[1]
    assert len(pending) == 0


async def test_who_gives_up_leaves_nothing_behind() -> None:
    """Cancelled requests are not leaked."""
    pending = Pending()
    number, _ = pending.open(5)
    pending.discard(number)
    pending.discard(number)
    assert len(pending) == len(pending._deadlines) == 0


async def test_a_deadline_that_passes_resolves_to_none() -> None:
    """And what comes afterwards is late; without a timeout there is no deadline."""
    pending = Pending()
    number, future = pending.open(0.01)
    patient, other = pending.open(None)
    async with asyncio.timeout(5):
        assert await future is None
    pending.resolve(number, b"[]")
    assert pending.late == 1
    pending.resolve(patient, b"[1]")
    assert await other == b"[1]"
    assert len(pending) == 0
