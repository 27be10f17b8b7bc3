"""What one client may have of the hub by HTTP, where no connection says who one client is.

Requests count for the address that they come from: so many at the same time, and so many a second,
as for a client with a connection.

May go in: counting. May not: what follows (`rest`).
"""

from __future__ import annotations

import time
from collections import Counter, OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

from alephscript.errors import Overloaded
from alephscript.mesh.limits import Limits

__all__ = ["Clients"]

_MOST = 10_000
"""Addresses whose credit is remembered; those that come back after long have all of theirs."""


class Clients:
    """The clients by HTTP, by address.

    Args:
        limits: What each may have.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._credits: OrderedDict[str, tuple[float, float]] = OrderedDict()  # credit, at
        self._open: Counter[str] = Counter()

    def spend(self, address: str) -> bool:
        """Count a request; return whether its sender had the credit for it."""
        now, rate = time.monotonic(), self._limits.events_per_second
        credit, at = self._credits.pop(address, (2.0 * rate, now))
        credit = min(credit + (now - at) * rate, 2.0 * rate)
        is_covered = credit >= 1
        self._credits[address] = (credit - 1 if is_covered else credit, now)
        if len(self._credits) > _MOST:
            self._credits.popitem(last=False)
        return is_covered

    @contextmanager
    def open(self, address: str) -> Iterator[None]:
        """Count a request as open as long as the block runs.

        Raises:
            Overloaded: Its sender has as many open requests as a client may have.
        """
        most = self._limits.requests_per_client
        if self._open[address] >= most:
            message = f"{most} requests of this client wait for an answer already"
            raise Overloaded(message, [{"delivered": False}])
        self._open[address] += 1
        try:
            yield
        finally:
            self._open[address] -= 1
            if not self._open[address]:
                del self._open[address]
