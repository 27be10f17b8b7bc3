"""A short soak: random faults, and a history that must hold."""

from __future__ import annotations

import random

import pytest

from .soak import soak

pytestmark = pytest.mark.anyio


async def test_a_short_soak_holds() -> None:
    """Each request ends once and runs at most once, each speaker is heard in order."""
    seed = random.randrange(10**6)
    history, left = await soak(6, seed)
    assert history.faults() == [], f"seed {seed}"
    assert (left["pending"], left["hub's open requests"]) == (0, 0), f"seed {seed}"
    ends = [end for each in history.ends.values() for end in each]
    assert ends.count("answered") > 100, f"seed {seed}"
    assert left["grown kB"] < 100_000
