"""Faults planted into the package, which the simulated mesh has to find; and the package without.

Each is a fault that somebody could have made: a line forgotten, a condition turned round.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from alephscript.client.mastering import Mastering
from alephscript.client.session import HubSession
from alephscript.links.deadlines import Deadlines
from alephscript.links.pending import Pending
from alephscript.mesh.masters import Change, Masters
from alephscript.mesh.peers import Master
from alephscript.mesh.presence import Presences
from alephscript.mesh.requests import Requests
from alephscript.mesh.retained import Retained
from alephscript.mesh.tasks.dispatch import Dispatch
from alephscript.testing import simulate
from tests.support.world import live

Plant = Callable[[pytest.MonkeyPatch], None]
PLANTS: dict[str, Plant] = {}


def plant(function: Plant) -> Plant:
    """Add a fault to those that are to be found."""
    PLANTS[function.__name__] = function
    return function


@pytest.fixture(autouse=True)
def _without_log() -> Iterator[None]:
    """Thousands of lost links are not worth a line each."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@plant
def a_takeover_is_lost(patch: pytest.MonkeyPatch) -> None:
    """Whoever stands by is not made master."""

    def withdraw(self: Any, sid: str) -> Change:
        self.drop(sid)
        return Change((), (), (), is_new=False)

    patch.setattr(Masters, "withdraw", withdraw)


@plant
def what_must_not_run_twice_does(patch: pytest.MonkeyPatch) -> None:
    """The next master is asked, whatever is asked."""
    patch.setattr(Master, "is_idempotent", lambda *_: True)


@plant
def events_come_out_of_order(patch: pytest.MonkeyPatch) -> None:
    """What a session has held comes after what comes then."""

    def release(self: Any) -> None:
        held, self._held = self._held, []
        before(self)
        for delivery in held:
            asyncio.get_running_loop().call_later(0.3, self._hand_on, delivery)

    before = HubSession.release
    patch.setattr(HubSession, "release", release)


@plant
def a_request_is_leaked(patch: pytest.MonkeyPatch) -> None:
    """The requests of an asker that is gone stay open."""
    patch.setattr(Requests, "abandon", lambda *_: [])


@plant
def a_deadline_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    """Of deadlines at the same time one passes."""

    def ring(self: Any, number: int) -> None:
        grain = self._grains.pop(number)
        if grain is self._newest:
            self._newest = None
        for key in list(grain.keys)[:1]:
            del self._grain_of[key]
            self._passed(key)

    patch.setattr(Deadlines, "_ring", ring)


@plant
def a_deadline_outlives_its_request(patch: pytest.MonkeyPatch) -> None:
    """It is not forgotten when the request has ended."""
    patch.setattr(Deadlines, "forget", lambda *_: None)


@plant
def a_cancel_is_not_passed_on(patch: pytest.MonkeyPatch) -> None:
    """Masters go on with what nobody waits for."""
    patch.setattr(Requests, "_tell_cancelled", lambda *_: [])


@plant
def a_late_answer_is_taken_for_another(patch: pytest.MonkeyPatch) -> None:
    """Numbers are used again as soon as they are free."""

    def open_number(self: Any, timeout: float | None) -> Any:
        free = (each for each in itertools.count(1) if each not in self._futures)
        self._numbers = iter([next(free)])
        return before(self, timeout)

    before = Pending.open
    patch.setattr(Pending, "open", open_number)


@plant
def a_bot_does_not_hear_that_it_serves_again(patch: pytest.MonkeyPatch) -> None:
    """It goes on standing by."""

    def hear(self: Any, session: Any, data: Any) -> None:
        if data.get("displaced") is not False:
            before(self, session, data)

    before = Mastering.hear
    patch.setattr(Mastering, "hear", hear)


@plant
def a_retained_value_is_stale_after_a_takeover(patch: pytest.MonkeyPatch) -> None:
    """Only the member that has said it first can say it anew."""

    def put(self: Any, room: str, event: str, value: Any) -> Any:
        old = self.get(room, event)
        return before(self, room, event, old if old and old.sender != value.sender else value)

    before = Retained.put
    patch.setattr(Retained, "put", put)


@plant
def a_member_leaves_twice(patch: pytest.MonkeyPatch) -> None:
    """Its sockets are not counted."""

    def remove(self: Any, room: str, member: Any, reason: Any, sid: str = "") -> Any:
        presence = self.rooms.get(room)
        if presence is not None and member in presence.here:
            presence.here[member] = 1
            effects = before(self, room, member, reason, sid)
            presence.here[member] = 1
            return effects
        return []

    before = Presences._remove
    patch.setattr(Presences, "_remove", remove)


@plant
def a_task_runs_twice(patch: pytest.MonkeyPatch) -> None:
    """Although it is not idempotent, the next master gets it."""
    patch.setattr(Dispatch, "lose", lambda self, task: self.queue_again(task, is_counted=True))


@plant
def a_call_outlives_its_link(patch: pytest.MonkeyPatch) -> None:
    """What waits for an answer is not told that the link is gone."""
    patch.setattr(HubSession, "lost", lambda self, _: self.is_gone.set())


@plant
def an_epoch_is_used_again(patch: pytest.MonkeyPatch) -> None:
    """Whoever serves again does so under its old epoch."""

    def withdraw(self: Any, sid: str) -> Change:
        epoch = self.epoch
        change = before(self, sid)
        self.epoch = epoch
        return change

    before = Masters.withdraw
    patch.setattr(Masters, "withdraw", withdraw)


def find(seeds: range) -> int | None:
    """Return the first seed whose run breaks a law, or an assumption of the code itself."""
    for seed in seeds:
        try:
            simulate(live, seed)
        except Exception:  # noqa: BLE001 - whatever it is, it was planted
            return seed
    return None


def test_without_a_planted_fault_the_laws_hold() -> None:
    """Whatever is drawn."""
    for seed in range(150):
        simulate(live, seed)


@pytest.mark.parametrize("fault", PLANTS)
def test_a_planted_fault_is_found_within_a_thousand_seeds(
    fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mostly within the first few."""
    PLANTS[fault](monkeypatch)
    assert find(range(1000)) is not None


def test_there_are_at_least_twelve() -> None:
    """Of all kinds: requests, deadlines, masters, events, tasks, presence, retained values."""
    assert len(PLANTS) >= 12
