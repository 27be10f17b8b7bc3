"""Claims that a registry has not decided yet, or of whose decision the hub has not heard.

May go in: how long a claim waits, and what ends it. May not: how one is put to a registry
(`redis`), or what a decision brings about (`mesh.federation`).
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Callable, Iterator

from alephscript.mesh.effects import Claim

__all__ = ["OpenClaim", "OpenClaims"]

_CLAIM_SECONDS = 5.0
"""How long a declaration may wait for a registry that cannot be reached."""


class OpenClaim:
    """A claim until the hub has been told of the decision about it.

    Attributes:
        number: Its number.
        namespace: The room's namespace.
        claim: The claim.
        done: Called with the room's epoch, or None.
        seq: The number of the decision, None while there is none.
        epoch: The room's epoch by that decision.
    """

    __slots__ = ("claim", "done", "epoch", "namespace", "number", "seq", "timer")

    def __init__(
        self,
        number: int,
        namespace: str,
        claim: Claim,
        done: Callable[[int | None], None],
        timer: asyncio.TimerHandle,
    ) -> None:
        self.number = number
        self.namespace = namespace
        self.claim = claim
        self.done = done
        self.timer = timer
        self.seq: int | None = None
        self.epoch = 0


class OpenClaims:
    """The open claims of a hub."""

    def __init__(self) -> None:
        self._open: dict[int, OpenClaim] = {}
        self._numbers = itertools.count()
        self._decided: deque[OpenClaim] = deque()  # in the order of their decisions

    def __iter__(self) -> Iterator[OpenClaim]:
        return iter(list(self._open.values()))

    def add(self, namespace: str, claim: Claim, done: Callable[[int | None], None]) -> OpenClaim:
        """Let a claim wait for its decision, for a while."""
        number = next(self._numbers)
        timer = asyncio.get_running_loop().call_later(_CLAIM_SECONDS, self._give_up, number)
        waiting = self._open[number] = OpenClaim(number, namespace, claim, done, timer)
        return waiting

    def decide(self, waiting: OpenClaim, seq: int, epoch: int) -> None:
        """Take the number of a claim's decision, and the room's epoch."""
        waiting.seq, waiting.epoch = seq, epoch
        self._decided.append(waiting)

    def finish(self, seq: int) -> None:
        """Finish the claims whose decisions the hub has been told of, up to this one."""
        while self._decided and (number := self._decided[0].seq) is not None and number <= seq:
            waiting = self._decided.popleft()
            if self._open.pop(waiting.number, None) is not None:
                waiting.timer.cancel()
                waiting.done(waiting.epoch)

    def reset(self) -> None:
        """Let all claims wait for decisions anew."""
        self._decided.clear()

    def close(self) -> None:
        """Forget all claims."""
        for waiting in self._open.values():
            waiting.timer.cancel()
        self._open.clear()
        self._decided.clear()

    def _give_up(self, number: int) -> None:
        self._open.pop(number).done(None)
