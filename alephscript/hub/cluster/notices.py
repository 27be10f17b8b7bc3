"""What a registry has decided, followed in the order of its numbers, none of which may be missed.

Every decision is published to all hubs with its number, so that a hub knows that it has missed
none.

May go in: which notice counts, what it tells this hub, and what each other hub reads by its name.
May not: how a notice is written (`frames`), or what follows from a decision (`cluster`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from alephscript.diagnostics.redaction import redacted
from alephscript.hub.cluster.frames import (
    MALFORMED,
    HubNotice,
    RoomNotice,
    ValueNotice,
    read_notice,
    read_notice_number,
    reads_kinds,
    reads_messages,
)
from alephscript.hub.cluster.pace import Pace
from alephscript.hub.cluster.registry import RegistryListener
from alephscript.hub.cluster.signing import Freshness, Seals, Untrusted

__all__ = ["Adrift", "Notices", "Uncertain"]

logger = logging.getLogger("alephscript.hub.redis")

_MOST_SKIPPED = 1000
"""Decisions of no sense that are remembered, so that none of them counts as missed."""


class Adrift(Exception):
    """This hub is cut off from the others, and has to join again."""


class Uncertain(Adrift):
    """This hub was cut off before Redis has said whether a command was carried out."""


class Notices:
    """The decisions that this hub is told of.

    Args:
        seals: Looks at signatures.
        version: This hub's version; a hub of another one is named.
        refuse: Told why something does not count.
        followed: Called with the number of a decision about a room that has been done.

    Attributes:
        hub: This hub's name.
        seq: The number of the last decision.
        source: Names the data in which the registry keeps values.
        before: Hubs that read no messages of several.
        earlier: Those, and hubs whose frames begin with a namespace.
    """

    def __init__(
        self,
        seals: Seals,
        version: str,
        refuse: Callable[[Exception], None],
        followed: Callable[[int], None],
    ) -> None:
        self.hub = ""
        self.seq = 0
        self.source = ""
        self.before: set[str] = set()
        self.earlier: set[str] = set()
        self.listener: RegistryListener
        self._seals = seals
        self._version = version
        self._refuse = refuse
        self._followed = followed
        self._seen = Freshness()
        self._skipped: set[int] = set()  # numbers of decisions that made no sense
        self._skips_told = Pace()

    def begin(self, seq: int, hubs: Iterable[str]) -> None:
        """Go on from a decision, with the other hubs that there are by then."""
        self.seq = seq
        self._skipped.clear()
        self.before.clear()
        self.earlier.clear()
        for hub in hubs:
            self._note_reader(hub)

    def skip(self, exc: Exception) -> None:
        """Count, and log now and then, what makes no sense."""
        self._refuse(exc)
        if not isinstance(exc, Untrusted) and self._skips_told.is_due():
            logger.error(
                "a decision of the registry makes no sense",
                exc_info=redacted(exc),
                extra={"hub": self.hub},
            )

    def follow(self, data: bytes) -> None:
        """Do what was decided, in the order of the numbers.

        Raises:
            Adrift: A decision was missed, or this hub was taken for dead.
        """
        try:
            notice, signature = read_notice(data, self._seals, self.skip)
            self._seen.take(signature.by, signature.stamp, signature.about)
        except MALFORMED as exc:
            self.skip(exc)
            number = read_notice_number(data)
            if number is not None and len(self._skipped) < _MOST_SKIPPED:
                self._skipped.add(number)
            return
        if notice.seq <= self.seq:
            return  # made before this hub joined, and part of what it was told then
        self._count_up(notice.seq)
        if isinstance(notice, RoomNotice):
            self.listener.apply_decision(
                notice.namespace, notice.room, notice.epoch, notice.entries
            )
            self._followed(self.seq)
        elif isinstance(notice, ValueNotice):
            self.source = notice.source
            self.listener.apply_value(
                notice.namespace, notice.room, notice.event, notice.value, is_quiet=notice.is_quiet
            )
        else:
            self._follow_hub(notice)

    def _follow_hub(self, notice: HubNotice) -> None:
        """Take notice of a hub that comes or goes."""
        hub = notice.hub
        if hub == self.hub:
            if notice.is_gone:
                raise Adrift("others took this hub for dead")
        elif notice.is_gone:
            self.before.discard(hub)
            self.earlier.discard(hub)
            self.listener.hub_gone(hub)
        else:
            self._note_reader(hub)
            if notice.version != self._version:
                logger.info(
                    "hub %s has come, of version %s; this hub is of version %s",
                    hub,
                    notice.version or "unknown, an earlier one",
                    self._version,
                    extra={"hub": hub, "version": notice.version},
                )
            self.listener.hub_came(hub)

    def _note_reader(self, hub: str) -> None:
        if not reads_messages(hub):
            self.before.add(hub)
        if not reads_kinds(hub):
            self.earlier.add(hub)

    def _count_up(self, seq: int) -> None:
        """Take the number of a decision, which has to be the next one that makes sense."""
        while self.seq + 1 < seq and self.seq + 1 in self._skipped:
            self.seq += 1
        if seq != self.seq + 1:
            raise Adrift("a decision of the registry was missed")
        self.seq = seq
        if self._skipped:
            self._skipped = {each for each in self._skipped if each > seq}
