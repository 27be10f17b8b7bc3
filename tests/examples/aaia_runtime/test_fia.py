"""Runs of a FIA: each begins with a PLAY, ends with a STOP, and has a number that stays."""

from __future__ import annotations

from hypothesis import given, settings, strategies as st

from alephscript.aaia import RunState
from examples.aaia_runtime.apps import DEMOS, AppsService
from tests.support.properties import examples


@given(states=st.lists(st.sampled_from(RunState), max_size=20))
@settings(max_examples=examples(100))
def test_a_run_lasts_from_its_play_to_the_next_stop(states: list[RunState]) -> None:
    """A pause, or a single step, ends none; a second PLAY begins none in one."""
    (fia,) = AppsService().make_fias(DEMOS[0])
    begun, ended, is_running = 0, 0, False
    for state in states:
        planned = fia.next_run
        fia.change(state)
        if state is RunState.PLAY:
            begun += not is_running
            is_running = True
            assert fia.runs == planned
        elif state is RunState.STOP:
            ended += is_running
            is_running = False
        assert (fia.runs, fia.ended_runs) == (begun, ended)
