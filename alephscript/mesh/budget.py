"""How many bytes each peer makes a hub keep: open requests, declarations, rooms, registration.

Theory of operation. An `Account` is what one peer makes the hub keep. A small share of it is free
to each peer, whatever others do; all beyond is lent by the hub's one `Budget`, by the chunk, up to
a bound for each peer and a bound for all together. So one client cannot fill the memory, nor can
one with many connections, and those who keep little never notice.

An open request costs what its message took, since its payload is a view of that; what was parsed
costs what its objects take.

May go in: counting bytes. May not: what is kept, or what is done about a peer that may not keep
more. Pure: no socket, no clock.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from alephscript.mesh.limits import DEFAULT_LIMITS, Limits

__all__ = ["NO_MEMORY", "REQUEST_BYTES", "ROOM_BYTES", "Account", "Budget", "weigh"]

REQUEST_BYTES = 800
"""What an open request takes besides its message: itself, its places in tables, its deadline."""

NO_MEMORY = "what this client makes the hub keep takes too much memory already"
"""Says why a client is refused that has too much kept already."""

ROOM_BYTES = 1000
"""What a room takes besides its name."""

_FREE = 64_000
"""Bytes that each peer may have kept, however much others have."""

_CHUNK = 256_000
"""Bytes that an account borrows at once: an ordinary request asks the budget nothing."""

_OF_HUB = 4
"""How many times what all peers here may borrow all peers of another hub may have kept here."""

_UNLIMITED = 1 << 60


class Budget:
    """What all peers of a hub together may have kept, beyond what is free to each.

    Args:
        limits: Where the bounds are found.

    Attributes:
        left: Bytes that can still be lent.
        message_bytes: Bytes of the message that is being handled; the shell says so, since values
            that are not read are views of it.
    """

    __slots__ = ("_most_of_hub", "left", "message_bytes", "most")

    def __init__(self, limits: Limits = DEFAULT_LIMITS) -> None:
        self.left = limits.kept_bytes_of_all
        self.most = limits.kept_bytes
        self.message_bytes = 0
        self._most_of_hub = _OF_HUB * limits.kept_bytes_of_all

    def open(self) -> Account:
        """Open the account of a peer."""
        return Account(self)

    def open_for_hub(self) -> Account:
        """Open the account of another hub, for all of its peers together.

        That hub has counted what each of them keeps, and bounded it; this bound is for a hub that
        does not.
        """
        budget = Budget()
        budget.left = budget.most = self._most_of_hub
        return Account(budget)


class Account:
    """What one peer makes the hub keep.

    A request is counted where it begins and ends, without a call: `kept` grows, and where it would
    exceed `granted`, `borrow` is asked; `kept` falls, and below `enough`, `give_back` is called.

    Args:
        budget: The hub's; None for peers of other hubs, which count them.

    Attributes:
        kept: Bytes that are kept.
        granted: Bytes that may be kept without asking again.
        enough: Bytes below which some that were borrowed are not needed.
    """

    __slots__ = ("_budget", "_things", "enough", "granted", "kept")

    def __init__(self, budget: Budget | None = None) -> None:
        self._budget = budget
        self._things: dict[Hashable, int] = {}
        self.kept = 0
        self.granted = _UNLIMITED if budget is None else min(_FREE, budget.most)
        self.enough = -1

    def borrow(self, size: int) -> bool:
        """Borrow what is needed to keep so many bytes more; return whether there were as many."""
        budget = self._budget
        if budget is None:
            return True
        wanted = self.kept + size - self.granted
        if wanted <= 0:
            return True
        chunk = max(wanted, min(_CHUNK, budget.left, budget.most - self.granted))
        if chunk > budget.left or self.granted + chunk > budget.most:
            return False
        budget.left -= chunk
        self.granted += chunk
        self._set_enough()
        return True

    def give_back(self) -> None:
        """Give back what was borrowed and is not needed; some may stay, for the next thing."""
        budget = self._budget
        if budget is None:
            return
        needed = free = min(_FREE, budget.most)
        if self.kept > free // 2:
            needed = max(free, self.kept + _CHUNK // 2)
        if needed < self.granted:
            budget.left += self.granted - needed
            self.granted = needed
        self._set_enough()

    def keep(self, thing: Hashable, size: int) -> bool:
        """Count a thing in place of what is counted under its name; return whether it may be kept.

        If not, nothing has changed.
        """
        more = size - self._things.get(thing, 0)
        if self.kept + more > self.granted and not self.borrow(more):
            return False
        self._things[thing] = size
        self.kept += more
        if self.kept < self.enough:
            self.give_back()
        return True

    def release(self, thing: Hashable) -> None:
        """Count a thing no more; one that is not counted is no error."""
        self.kept -= self._things.pop(thing, 0)
        if self.kept < self.enough:
            self.give_back()

    def close(self) -> None:
        """Give back everything: the peer is gone, and what it made the hub keep is, too."""
        self._things.clear()
        self.kept = 0
        self.give_back()
        if self._budget is not None:
            self._budget.left += self.granted - min(_FREE, self._budget.most)
            self._budget = None

    def _set_enough(self) -> None:
        assert self._budget is not None
        free = min(_FREE, self._budget.most)
        # What is free to everybody was not borrowed; below half of that nothing else is needed.
        self.enough = -1 if self.granted <= free else max(free // 2, self.granted - 2 * _CHUNK)


def weigh(value: Any) -> int:
    """Estimate the bytes that a JSON value takes in memory, which can be twenty times its text."""
    size = 0
    left = [value]
    while left:
        each = left.pop()
        if isinstance(each, dict):
            size += 64 if not each else 200 + 100 * len(each)
            for key, child in each.items():
                size += len(key)
                left.append(child)
        elif isinstance(each, list | tuple):
            size += 64 + 8 * len(each)
            left.extend(each)
        elif isinstance(each, str):
            size += 50 + (len(each) if each.isascii() else 4 * len(each))
        elif isinstance(each, int | float):
            size += 32
        elif each is not None:
            size += 64 + len(each)  # unread
    return size
