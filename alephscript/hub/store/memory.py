"""The journal in memory: tasks outlive masters and submitters, and not the hub's process.

May go in: records in dicts, and their bounds. May not: what another journal shares with it
(`store`).
"""

from __future__ import annotations

import asyncio
import itertools
from collections import OrderedDict
from collections.abc import Sequence

from alephscript.hub.store.store import KEEP_SECONDS, Found, Kept, make_clock
from alephscript.mesh.effects import Look
from alephscript.mesh.records import Record

__all__ = ["MemoryStore"]

_MOST_BYTES = 64_000_000
"""Bytes of tasks that have ended; beyond, those that ended first are forgotten."""


class MemoryStore:
    """Keeps records in memory.

    Args:
        keep_seconds: How long tasks that have ended are kept.

    Attributes:
        outlives_hub: False.
        trouble: None, always.
    """

    outlives_hub = False
    trouble: str | None = None

    def __init__(self, keep_seconds: float = KEEP_SECONDS) -> None:
        self._keep_seconds = keep_seconds
        self._clock = make_clock()
        self._records: dict[str, Record] = {}  # in the order of submitting
        self._ended: OrderedDict[str, None] = OrderedDict()  # in the order of ending
        self._keys: dict[tuple[str, str, str], str] = {}
        self._bytes = 0

    async def open(self) -> Sequence[Record]:
        """See `Store.open`."""
        return [each for each in self._records.values() if not each.has_ended]

    def keep(self, record: Record, done: Kept | None, *, is_new: bool) -> None:
        """See `Store.keep`."""
        standing = self._standing(record, is_new=is_new)
        if standing is None:
            self._put(record)
        if done is not None:
            asyncio.get_running_loop().call_soon(done, standing, None)

    def look(self, namespace: str, query: Look, done: Found) -> None:
        """See `Store.look`."""
        self._forget_old()
        if query.id is not None:
            record = self._records.get(query.id)
            found = iter(() if record is None else (record,))
        else:
            found = (
                each
                for each in reversed(self._records.values())
                if each.namespace == namespace
                and (query.room is None or each.room == query.room)
                and (query.state is None or each.state == query.state)
                and (query.before is None or (each.created, each.id) < query.before)
            )
        records = list(itertools.islice(found, query.most))
        asyncio.get_running_loop().call_soon(done, records, None)

    async def close(self) -> None:
        """See `Store.close`."""

    def _standing(self, record: Record, *, is_new: bool) -> Record | None:
        if is_new:
            if record.key is None:
                return None
            name = self._keys.get((record.namespace, record.owner, record.key))
            return None if name is None else self._records[name]
        present = self._records.get(record.id)
        return present if present is not None and present.has_ended else None

    def _put(self, record: Record) -> None:
        self._records[record.id] = record
        if record.key is not None:
            self._keys[record.namespace, record.owner, record.key] = record.id
        if record.has_ended:
            self._ended[record.id] = None
            self._bytes += record.size
            self._forget_old()

    def _forget_old(self) -> None:
        since = self._clock() - self._keep_seconds
        while self._ended:
            record = self._records[next(iter(self._ended))]
            if record.updated >= since and self._bytes <= _MOST_BYTES:
                return
            del self._ended[record.id], self._records[record.id]
            self._bytes -= record.size
            if record.key is not None:
                del self._keys[record.namespace, record.owner, record.key]
