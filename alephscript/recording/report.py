"""What came of asking again: what differs, what was not compared, how long answers took.

May go in: that, as data. May not: how it is printed. Pure: no socket, no clock.
"""

from __future__ import annotations

from collections import Counter
from statistics import median

import attrs

__all__ = ["Difference", "Report", "Timing"]


@attrs.frozen
class Difference:
    """A place in which the new answer to a request differs from the recorded one.

    Attributes:
        request: The request's id in the recording.
        room: Its room.
        capability: What was asked.
        path: The place within the answer, dotted.
        then: What the recorded answer has there, as JSON; None if nothing.
        now: What the new answer has there, as JSON; None if nothing.
    """

    request: str
    room: str
    capability: str
    path: str
    then: str | None
    now: str | None


@attrs.define
class Timing:
    """How long the answers of a capability took, in seconds.

    Attributes:
        then: As recorded.
        now: Of the new version.
    """

    then: list[float] = attrs.field(factory=list, init=False)
    now: list[float] = attrs.field(factory=list, init=False)

    @property
    def medians(self) -> tuple[float, float]:
        """The medians, then and now."""
        return median(self.then or [0.0]), median(self.now or [0.0])


@attrs.define
class Report:
    """What came of asking again.

    Attributes:
        compared: How many answers were compared.
        differences: Where they differ.
        breaks: What in the schemas breaks users of the old version, a sentence each.
        not_compared: Why answers were not compared, and how many for each reason.
        timings: How long answers took, by capability.
        notes: What is to be known besides, a sentence each.
    """

    compared: int = attrs.field(default=0, init=False)
    differences: list[Difference] = attrs.field(factory=list, init=False)
    breaks: list[str] = attrs.field(factory=list, init=False)
    not_compared: dict[str, int] = attrs.field(factory=Counter, init=False)
    timings: dict[str, Timing] = attrs.field(factory=dict, init=False)
    notes: list[str] = attrs.field(factory=list, init=False)

    @property
    def is_same(self) -> bool:
        """Whether nothing differs, and nothing breaks."""
        return not self.differences and not self.breaks
