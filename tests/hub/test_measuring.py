"""What a hub keeps of what it has counted."""

from __future__ import annotations

from alephscript.hub.measuring import STEP_SECONDS, STEPS, Measurements
from alephscript.hub.metering import OTHER, Meter


def test_a_step_has_what_was_counted_in_it() -> None:
    """How many ended, how many of these failed, how many are open, and how long they took."""
    meter = Meter()
    meter.count("BEFORE", "ok", 1)
    measurements = Measurements(meter)
    measurements.take(100, 0)
    meter.count("A", "ok", 0)
    meter.count("B", "no_master", 3600)
    meter.count(OTHER, "ok", 0)  # members that are asked how they do
    measurements.take(100 + STEP_SECONDS / 2, 9)
    measurements.take(100 + STEP_SECONDS, 5)
    (step,) = measurements.after(0)
    assert step[:3] == [2, 1, 5]
    assert step[3][0] == step[3][-1] == 1
    assert sum(step[3]) == 2


def test_steps_in_which_nobody_looked_are_there_and_empty() -> None:
    """So that the last of them is always now."""
    meter = Meter()
    measurements = Measurements(meter)
    measurements.take(0, 0)
    meter.count("A", "ok", 0)
    measurements.take(STEP_SECONDS * 4.5, 0)
    assert [step[0] for step in measurements.after(0)] == [1, 0, 0, 0]
    meter.count("A", "ok", 0)
    measurements.take(STEP_SECONDS * 5, 0)
    assert [step[0] for step in measurements.after(3)] == [0, 1]


def test_of_the_past_so_much_is_kept() -> None:
    """However long nobody was there."""
    measurements = Measurements(Meter())
    measurements.take(0, 0)
    measurements.take(STEP_SECONDS * STEPS * 100, 0)
    measurements.take(STEP_SECONDS * (STEPS * 100 + 1), 7)
    kept = measurements.after(0)
    assert len(kept) == STEPS
    assert kept[-1][2] == 7
    assert measurements.after(measurements.last) == measurements.after(measurements.last + 9) == []
