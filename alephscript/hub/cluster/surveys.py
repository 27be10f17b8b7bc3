"""Surveys of who is at the other hubs, which askers share.

One survey is under way at a time. Those that ask meanwhile share the next one, which begins later
than they asked, so that each sees what was there when it asked. A burst of questions costs the
other hubs two surveys.

May go in: when a survey begins and ends, and who shares it. May not: how a hub is asked
(`cluster`), what an asker is told (`mesh.reports`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from alephscript.mesh.census import Censuses
from alephscript.mesh.effects import SurveyHubs

__all__ = ["Surveys"]

_SURVEY_SECONDS = 1.0
"""How long other hubs may take to answer a survey; those that take longer are left out."""

_PAUSE = 4
"""Between two surveys lie so many times what the last one took: a fifth of all time is theirs."""

_LONGEST_PAUSE = 0.25


class Surveys:
    """The surveys of one namespace.

    Args:
        begin: Asks the other hubs under a number, and returns their names.
        finish: Gets the questions that shared a survey, and the censuses that have come.
    """

    def __init__(
        self,
        begin: Callable[[int], Collection[str]],
        finish: Callable[[Sequence[SurveyHubs], Censuses], None],
    ) -> None:
        self._begin = begin
        self._finish = finish
        self._asking: list[SurveyHubs] = []
        self._next: list[SurveyHubs] = []
        self._number = 0
        self._expected: set[str] = set()
        self._censuses: list[tuple[str, Sequence[Mapping[str, Any]]]] = []
        self._timer: asyncio.TimerHandle | None = None  # of the survey, or of the next one
        self._began = self._not_before = 0.0

    def ask(self, question: SurveyHubs) -> None:
        """Have a question answered by the next survey."""
        self._next.append(question)
        if self._timer is None:
            self._wait_for_turn()

    def answer(self, number: int, hub: str, census: Sequence[Mapping[str, Any]]) -> None:
        """Take a hub's answer; the last one ends the survey."""
        if number == self._number and hub in self._expected:
            self._expected.discard(hub)
            self._censuses.append((hub, census))
            if not self._expected:
                self._end()

    def lose(self, hub: str) -> None:
        """Wait for a hub no more."""
        self.answer(self._number, hub, ())

    def close(self) -> None:
        """End all surveys with the answers that have come."""
        while self._timer is not None:
            self._asking += self._next
            self._next = []
            self._end()

    def _wait_for_turn(self) -> None:
        loop = asyncio.get_running_loop()
        pause = self._not_before - loop.time()
        if pause > 0:
            self._timer = loop.call_later(pause, self._start)
        else:
            self._start()

    def _start(self) -> None:
        loop = asyncio.get_running_loop()
        self._asking, self._next = self._next, []
        self._number += 1
        self._began = loop.time()
        self._timer = loop.call_later(_SURVEY_SECONDS, self._end)
        self._expected = set(self._begin(self._number))
        if not self._expected:
            self._end()

    def _end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        questions, self._asking = self._asking, []
        censuses, self._censuses = self._censuses, []
        self._expected.clear()
        now = asyncio.get_running_loop().time()
        self._not_before = now + min(_LONGEST_PAUSE, _PAUSE * (now - self._began))
        if self._next:
            self._wait_for_turn()
        self._finish(questions, censuses)
