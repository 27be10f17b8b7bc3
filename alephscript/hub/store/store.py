"""The interfaces of a journal of tasks and of one of retained values, and what goes wrong with one.

May go in: what each journal does. May not: how one of them does it (a file each, beside this one).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Sequence
from typing import Protocol, runtime_checkable

import attrs

from alephscript.errors import AlephScriptError, Internal, RequestError
from alephscript.mesh.effects import Look
from alephscript.mesh.records import Record
from alephscript.mesh.retained import RetainedValue

__all__ = [
    "KEEP_BYTES",
    "KEEP_SECONDS",
    "Entry",
    "Found",
    "Kept",
    "KeptValue",
    "Notice",
    "SharedStore",
    "Store",
    "StoreUnavailable",
    "Values",
    "make_clock",
    "report_recovery",
    "report_trouble",
    "report_unreadable",
]

logger = logging.getLogger("alephscript.hub")

KEEP_SECONDS = 24 * 3600.0
"""How long tasks that have ended are kept."""

KEEP_BYTES = 4_000_000_000
"""Bytes of tasks that have ended on a disk; beyond, those that ended first are forgotten."""

Kept = Callable[[Record | None, RequestError | None], None]
"""Told, on the event loop, that a record is kept; or which stands in its place, or why none is."""

Found = Callable[[Sequence[Record], RequestError | None], None]
"""Told, on the event loop, which records were found, or why none could be looked for."""


KeptValue = tuple[str, str, str, RetainedValue]
"""Namespace, room, event and value."""

Notice = Callable[[str, str, str], None]
"""Told that a record was kept: its namespace, the task's id, and the hub that works on it."""


@attrs.frozen(eq=False)
class Entry:
    """A record that is to be kept; see `Store.keep`."""

    record: Record
    done: Kept | None
    is_new: bool
    at: float = attrs.field(factory=time.monotonic)


def make_clock() -> Callable[[], float]:
    """Make a clock that goes on from the time of the day as it is now, whatever that is set to."""
    ahead = time.time() - time.monotonic()
    return lambda: ahead + time.monotonic()


def report_trouble(why: object) -> str:
    """Log that a journal takes nothing, and return the sentence."""
    logger.error("the journal of tasks takes nothing: %s", why, extra={"error": str(why)})
    return f"the journal of tasks takes nothing: {why}"


def report_recovery(where: object) -> None:
    """Log that a journal takes records again."""
    logger.info("the journal of tasks takes records again", extra={"file": str(where)})


def report_unreadable(why: object) -> RequestError:
    """Log that a journal cannot be read, and return what its asker gets."""
    logger.error("the journal of tasks cannot be read: %s", why, extra={"error": str(why)})
    return Internal("the hub cannot read its journal of tasks")


class StoreUnavailable(AlephScriptError, OSError):
    """A journal cannot be opened; the message says why, and what to do."""


class Store(Protocol):
    """A journal of tasks.

    Attributes:
        outlives_hub: Whether what is kept is there after the hub's process has ended.
        trouble: What is wrong with it, a sentence for whoever runs the hub; None if nothing is.
    """

    outlives_hub: bool
    trouble: str | None

    async def open(self) -> Sequence[Record]:
        """Open the journal, and return the records of tasks that have not ended.

        Raises:
            StoreUnavailable: It cannot be opened.
        """
        ...

    def keep(self, record: Record, done: Kept | None, *, is_new: bool) -> None:
        """Keep a record; those of one task in order.

        A record of a task that has ended in the journal changes nothing, and neither does a new
        one whose owner has a task with the same key: `done` is told which stands there.

        Args:
            record: The record.
            done: Told when it cannot be lost any more; None lets the next one take its place.
            is_new: Whether the task is a new one, which is not kept if there is no room. All others
                are kept as soon as there is.
        """
        ...

    def look(self, namespace: str, query: Look, done: Found) -> None:
        """Look up records, the newest first."""
        ...

    async def close(self) -> None:
        """Keep what is still to be kept, as far as that is possible, and close the journal."""
        ...


class Values(Protocol):
    """A journal of retained values.

    Attributes:
        trouble: As in `Store`.
    """

    trouble: str | None

    async def open(self) -> Sequence[KeptValue]:
        """Open the journal, and return the values that are in it, the oldest first.

        Raises:
            StoreUnavailable: It cannot be opened.
        """
        ...

    def keep(self, namespace: str, room: str, event: str, value: RetainedValue) -> None:
        """Keep a value in place of the one before, soon; one without data is forgotten."""
        ...

    async def close(self) -> None:
        """Keep what is still to be kept, as far as that is possible, and close the journal."""
        ...


@runtime_checkable
class SharedStore(Store, Protocol):
    """A journal that several hubs share, of which each works on tasks of its own.

    Attributes:
        hub: The name of this hub; set before `open`.
        notice: Told of each record that any hub has kept; set before `open`.
        deaf: Called when notices may have been missed, and are heard again; set before `open`.
    """

    hub: str
    notice: Notice
    deaf: Callable[[], None]

    def take_runs(self, runs: Sequence[str], done: Found) -> None:
        """Take over the tasks of these runs, whoever works on them."""
        ...

    def take_lost(self, hubs: Collection[str], done: Found) -> None:
        """Take over the tasks that none of these hubs works on."""
        ...
