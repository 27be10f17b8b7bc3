"""What a client tells of its own life in the log: that it is ready, and what it waits for.

May go in: sentences about a client's life, and when a client that waits says so. May not: the life
(`lifecycle`), what is logged of requests and events (`answers`, `listening`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

from alephscript.client.declaring import Declarations
from alephscript.errors import ConnectionRefused

__all__ = ["Patience", "describe_place", "name_cause"]

logger = logging.getLogger("alephscript.client")

FIRST_SECONDS = 2.0
"""How long a client waits for its hub before it says so; a hub that restarts takes less."""

AGAIN_SECONDS = 60.0
"""How long a client that has said so waits before it says so again."""

_MOST_NAMES = 20
"""Names that one list of the log has."""


class Patience:
    """Says that a client waits for its hub: soon, and then once a minute.

    Args:
        name: The client's, for the log.
        address: The hub's.
        redact: Whether the log may not have the texts of exceptions.
    """

    def __init__(self, name: str, address: str, *, redact: bool) -> None:
        self._name = name
        self._address = address
        self._redact = redact
        self._timer: asyncio.TimerHandle | None = None
        self._cause = ""

    def begin(self) -> None:
        """Wait from now on, for a hub that has not answered yet."""
        self.end()
        self._cause = "no answer yet"
        self._timer = asyncio.get_running_loop().call_later(FIRST_SECONDS, self._tell)

    def fail(self, error: Exception) -> None:
        """Note why the last attempt was in vain."""
        if self._redact:
            self._cause = name_cause(error)
        elif isinstance(error, ConnectionRefused):
            self._cause = f"{error.reason}; {error.advice}"
        else:
            self._cause = str(error)

    def end(self) -> None:
        """Wait no more; a second time is no error."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tell(self) -> None:
        logger.warning(
            "%s waits for its hub at %s: %s",
            self._name,
            self._address,
            self._cause,
            extra={"usuario": self._name, "address": self._address, "cause": self._cause},
        )
        self._timer = asyncio.get_running_loop().call_later(AGAIN_SECONDS, self._tell)


def name_cause(error: BaseException) -> str:
    """Name an error and its cause, without their texts (decision 0026)."""
    cause = error.__cause__
    return type(error).__name__ + (f" from {type(cause).__name__}" if cause else "")


def describe_place(
    address: str, *, rooms: Iterable[str], masters: Iterable[str], declared: Declarations
) -> str:
    """Write where a client is, in which rooms, and what can be asked of it.

    Args:
        address: The hub's, and the namespace.
        rooms: The rooms that the client is in.
        masters: Those of them that it masters.
        declared: What its class offers and listens to.
    """
    masters = list(masters)
    offered = dict.fromkeys(name for room in masters for name in declared.features(room))
    parts = [
        address,
        _listed("in", [room for room in rooms if room not in masters]),
        _listed("masters", masters),
        _listed("offers", list(offered)),
    ]
    place = ", ".join(filter(None, parts))
    names = [each for each in declared.roomless() if each not in offered]
    if not names or masters:
        return place
    why = "it only observes its rooms" if any(declared.rooms) else "its class has no `rooms`"
    return f"{place}; no room offers {', '.join(names)}: {why}"


def _listed(what: str, names: list[str]) -> str:
    if not names:
        return ""
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return f"{what} {', '.join(names[:_MOST_NAMES])}{more}"
