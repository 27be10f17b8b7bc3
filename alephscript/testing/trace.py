"""The trace of a simulated run: what was delivered when, and what went wrong.

May go in: what is kept of a run, and how it is shown. May not: what happens in it (`simulated`).
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable

__all__ = ["Trace"]

_MOST = 2000
_SHOWN = 40
_WIDTH = 110


class Trace:
    """What was delivered in a run, and what went wrong; the last entries, and a digest of all.

    Attributes:
        clock: Tells the virtual time, in seconds.
    """

    def __init__(self) -> None:
        self.clock: Callable[[], float] = float
        self._entries: deque[tuple[float, str, str, bytes]] = deque(maxlen=_MOST)
        self._count = 0
        self._digest = hashlib.blake2b(digest_size=16)

    def deliver(self, arrow: str, what: str, payload: bytes) -> None:
        """Note a packet."""
        at = self.clock()
        self._count += 1
        self._entries.append((at, arrow, what, payload))
        self._digest.update(f"{at!r}{arrow}{what}".encode())
        self._digest.update(payload)

    def note(self, text: str) -> None:
        """Note something else."""
        self.deliver("", text, b"")

    @property
    def digest(self) -> str:
        """The digest of all entries; runs that have the same were the same."""
        return self._digest.hexdigest()

    def lines(self) -> list[str]:
        """Return the last entries, a line each: seconds, from whom to whom, the packet."""
        return [
            f"{at:11.6f}  {f'{arrow}  ' if arrow else '** '}"
            f"{what}{payload[:_WIDTH].decode(errors='replace')}{'…' * (len(payload) > _WIDTH)}"
            for at, arrow, what, payload in self._entries
        ]

    def tail(self) -> str:
        """Return the last lines, as a failure shows them."""
        lines = self.lines()[-_SHOWN:]
        before = self._count - len(lines)
        return "\n".join(
            [
                f"the run in virtual seconds{f' ({before} entries before)' if before else ''}:",
                *lines,
            ]
        )
