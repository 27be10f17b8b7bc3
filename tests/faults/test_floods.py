"""Floods take little of a hub's memory, and honest requests are answered meanwhile."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from tests.faults.floods import FLOODS, MB, suffer

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(90)]


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
@pytest.mark.parametrize("name", FLOODS)
async def test_a_flood_has_little_of_the_hub(
    name: str, record_property: Callable[[str, object], None]
) -> None:
    """64 MB at the most, however many connections take part; all that is asked is answered."""
    outcome = await suffer(name)
    record_property("slowest honest request, s", outcome.slowest)
    assert outcome.grown < 64 * MB
