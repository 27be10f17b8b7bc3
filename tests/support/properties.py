"""Sizes of property tests: a few examples in the minute's loop, all of them with everything else.

``--hypothesis-profile=ci`` chooses the full sizes. In CI the examples are the same each time, so
that no change is refused for what another one has brought; elsewhere each run tries other ones.
"""

from __future__ import annotations

import os
from typing import Final

from hypothesis import settings

FULL: Final = 100
"""Examples of a property that names no number, in a full run."""

# No deadlines: workers share the machine with each other.
_IS_CI: Final = "CI" in os.environ
settings.register_profile("fast", deadline=None, max_examples=15, derandomize=_IS_CI)
settings.register_profile("ci", deadline=None, max_examples=FULL, derandomize=_IS_CI)
settings.load_profile("fast")


def examples(number: int) -> int:
    """Scale a full run's number of examples to the profile that was chosen."""
    return max(3, number * settings().max_examples // FULL)
