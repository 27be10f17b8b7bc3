"""The journal in a Redis that several hubs share: tasks outlive their hub, and go on at another.

Theory of operation. Each task is one hub's work at a time: what that hub keeps counts, and what
another one keeps that worked on it before is refused, and shows it what stands there. A hub takes
tasks over when theirs is gone, or when a master comes to it with their runs. What is kept is
published, for hubs at which somebody waits for it.

All that is to be kept goes through one queue, many records a round trip. While Redis is out of
reach new tasks are refused; all other records wait in order. Whether records outlive Redis itself
is a matter of its persistence.

May go in: what is particular to Redis. May not: what a journal is (`store`); the registry of
masters (`alephscript.hub.cluster.redis`), which has a connection of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence
from typing import Any

import msgspec

from alephscript.errors import Internal, Overloaded, RequestError
from alephscript.hub.cluster.signing import OPEN, Freshness, Seals, Untrusted
from alephscript.hub.settling import settle
from alephscript.hub.store.redis_node import TROUBLE, RedisNode
from alephscript.hub.store.store import (
    KEEP_BYTES,
    KEEP_SECONDS,
    Entry,
    Found,
    Kept,
    Notice,
    StoreUnavailable,
    make_clock,
    report_recovery,
    report_trouble,
    report_unreadable,
)
from alephscript.mesh.effects import Look
from alephscript.mesh.records import Record
from alephscript.protocol.tasks import CANCELLED

__all__ = ["RedisStore"]

logger = logging.getLogger("alephscript.hub")

_SCRIPTS = ("keep", "take", "forget")
_MOST_IN_A_BATCH = 500
_TIMEOUT_SECONDS = 5.0
_AGAIN_SECONDS = 0.3
_LAZY_SECONDS = 1.0
"""How long a record may wait that nothing waits for."""

_PATIENCE_SECONDS = 2.0
"""How long a new task waits for Redis before it is refused."""

_NOT_KEPT = {"error": "the task was not taken", "code": Overloaded.code, "details": []}
_SWEEP_SECONDS = 60.0
_CANCEL_SECONDS = 0.1
"""How long a task that was cancelled may take before that is said again."""

_LOOKS = 16
"""Questions that are put at once."""

_SWEEP_TASKS = 1000
_PAGE = 200
"""Records that are read at once for a list."""


class RedisStore:
    """Keeps records in Redis.

    Args:
        url: The address of the Redis.
        keep_seconds: How long tasks that have ended are kept.
        keep_bytes: How many bytes of them.
        prefix: The text that keys and channels begin with.
        seals: Signs what is written, and looks at what is read.

    Attributes:
        outlives_hub: True.
        trouble: What is wrong with the journal, None if nothing is.
        hub: The name of this hub; set before `open`.
        notice: Told of each record that any hub has kept; set before `open`.
        deaf: Called when notices may have been missed, and are heard again; set before `open`.
        refuse: Told why something does not count that others have written.
    """

    outlives_hub = True

    def __init__(
        self,
        url: str,
        *,
        keep_seconds: float = KEEP_SECONDS,
        keep_bytes: int = KEEP_BYTES,
        prefix: str = "alephscript",
        seals: Seals = OPEN,
    ) -> None:
        self.refuse: Callable[[Exception], None] = lambda _: None
        self._seals = seals
        self._kept_seen, self._taken_seen = Freshness(), Freshness()
        self._turn = asyncio.Semaphore(_LOOKS)  # each has a connection of its own
        self._taking = asyncio.Lock()  # whose signatures come in their order
        self.trouble: str | None = None
        self.hub = ""
        self.notice: Notice = lambda _namespace, _id, _hub: None
        self.deaf: Callable[[], None] = lambda: None
        self._node = RedisNode(url, _SCRIPTS, prefix)
        self._is_open = False
        self._keep_seconds = keep_seconds
        self._clock = make_clock()
        self._keep_bytes = keep_bytes
        self._entries: deque[Entry] = deque()
        self._lazy: dict[str, Record] = {}
        self._wake = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_closing = False

    async def open(self) -> Sequence[Record]:
        """See `Store.open`; tasks are taken from hubs that are gone, once it is known which."""
        self._is_closing = False
        try:
            await self._node.open()
        except TROUBLE as exc:
            raise StoreUnavailable(
                f"cannot keep tasks in Redis: {_say(exc)}; start one there"
            ) from exc
        self._is_open = True
        for work in (self._write(), self._hear(), self._sweep()):
            self._begin(work)
        return []

    def keep(self, record: Record, done: Kept | None, *, is_new: bool) -> None:
        """See `Store.keep`."""
        if done is None:
            if not self._lazy:
                asyncio.get_running_loop().call_later(_LAZY_SECONDS, self._ripen)
            self._lazy[record.id] = record
            return
        self._lazy.pop(record.id, None)  # which this one is newer than
        self._entries.append(Entry(record, done, is_new))
        self._wake.set()

    def _ripen(self) -> None:
        """Write what nothing waits for."""
        self._entries.extend(Entry(each, None, is_new=False) for each in self._lazy.values())
        self._lazy.clear()
        self._wake.set()

    def look(self, namespace: str, query: Look, done: Found) -> None:
        """See `Store.look`."""
        self._begin(self._look(namespace, query, done))

    def take_runs(self, runs: Sequence[str], done: Found) -> None:
        """Take over the tasks of these runs, whoever works on them; see `take_lost`."""
        self._begin(self._take(["runs", *runs], done))

    def take_lost(self, hubs: Collection[str], done: Found) -> None:
        """Take over the tasks that none of these hubs works on, to be this hub's from now on."""
        self._begin(self._take(["lost", *hubs], done))

    async def close(self) -> None:
        """See `Store.close`."""
        if not self._is_open:
            return
        self._is_open = False
        self._ripen()
        self._is_closing = True
        await settle(lambda: not self._entries, _TIMEOUT_SECONDS)
        while self._tasks:  # again: redis-py may swallow a cancellation
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(self._tasks, timeout=_CANCEL_SECONDS)
        with contextlib.suppress(*TROUBLE):
            await self._node.client.aclose()

    def _begin(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # What is kept

    async def _write(self) -> None:
        while not self._is_closing:
            await self._wake.wait()
            self._wake.clear()
            while self._entries:
                batch = list(self._entries)[:_MOST_IN_A_BATCH]
                try:
                    results = await self._node.execute([self._command(each) for each in batch])
                except TROUBLE as exc:
                    self._refuse_new(exc)
                    await asyncio.sleep(_AGAIN_SECONDS)
                    with contextlib.suppress(*TROUBLE):
                        await self._node.find()
                    continue
                if self.trouble is not None:
                    report_recovery("Redis")
                    self.trouble = None
                for entry, result in zip(batch, results, strict=True):
                    self._entries.popleft()
                    if entry.done is not None:
                        entry.done(*self._read_standing(entry.record, result))

    def _read_standing(
        self, kept: Record, text: bytes | None
    ) -> tuple[Record | None, RequestError | None]:
        """Read the record that stands in the place of one that was to be kept, if any does."""
        if not text:
            return None, None
        try:
            return self._read(text, lambda record: _stands_for(record, kept)), None
        except Untrusted as exc:
            self.refuse(exc)
            return None, Internal("another task stands there, which no hub has written")

    def _read(self, signed: bytes, is_meant: Callable[[Record], bool]) -> Record:
        """Read a record.

        Raises:
            Untrusted: No hub has written it, or not for this place.
        """
        record = _decode(self._seals.verify("task", "", signed))
        if self._seals and not is_meant(record):
            raise Untrusted("it is the record of something else")
        return record

    def _read_all(
        self, signed: Iterable[bytes | None], is_meant: Callable[[Record], bool]
    ) -> list[Record]:
        """Read records, without those that no hub has written."""
        records = []
        for text in signed:
            if text:
                try:
                    records.append(self._read(text, is_meant))
                except Untrusted as exc:
                    self.refuse(exc)
        return records

    def _command(self, entry: Entry) -> tuple[Any, ...]:
        record = entry.record
        mark = ""
        if record.key is not None:
            mark = f"{record.namespace}\n{record.owner}\n{record.key}"
        return (
            "keep",
            record.id,
            self._seals.sign("task", "", msgspec.json.encode(record)),
            self.hub,
            "new" if entry.is_new else "refused" if record.error is _NOT_KEPT else "next",
            mark,
            record.namespace,
            repr(record.created),
            repr(record.updated),
            int(record.has_ended),
            record.run,
            record.state,
            record.room,
            self._seals.sign_once("kept", f"{record.namespace}\n{record.id}\n{self.hub}"),
        )

    def _refuse_new(self, exc: BaseException) -> None:
        why = _say(exc)
        if self.trouble is None:
            self.trouble = report_trouble(why)
        late = time.monotonic() - _PATIENCE_SECONDS
        refused = [each for each in self._entries if each.is_new and each.at < late]
        self._entries = deque(each for each in self._entries if each not in refused)
        # Redis may have taken some, and have had no time to say so: nobody wants these now, and
        # their keys are free for the next attempt.
        ends = {"state": CANCELLED, "error": _NOT_KEPT, "key": None}
        self._entries.extend(
            Entry(msgspec.structs.replace(each.record, **ends), None, is_new=False)
            for each in refused
        )
        error = Overloaded(
            "the hub cannot keep tasks at the moment: Redis takes nothing", [{"delivered": False}]
        )
        for each in refused:
            if each.done is not None:
                each.done(None, error)

    # What is found

    async def _look(self, namespace: str, query: Look, done: Found) -> None:
        records: Sequence[Record] = ()
        error: RequestError | None = None
        try:
            async with self._turn:
                records = await self._node.ask(functools.partial(self._find, namespace, query))
        except (*TROUBLE, msgspec.DecodeError) as exc:
            error = report_unreadable(_say(exc))
        done(records, error)

    async def _find(self, namespace: str, query: Look, client: Any) -> Sequence[Record]:
        if query.id is None:
            return [each async for each in self._list(namespace, query, client)]
        name = f"{self._node.prefix}:task:{query.id}"
        text, hub = await client.hmget(name, "record", "hub")
        found = self._read_all([text], lambda record: record.id == query.id)
        return [msgspec.structs.replace(each, hub=hub.decode()) for each in found]

    async def _list(self, namespace: str, query: Look, client: Any) -> AsyncIterator[Record]:
        """List the records that a question means, the newest first."""
        key, begin, found = f"{self._node.prefix}:tasks-of:{namespace}", 0, 0
        if query.state is not None:
            key += f":state:{query.state}"
        elif query.room is not None:
            key += f":room:{query.room}"
        most = "+inf" if query.before is None else repr(query.before[0])
        while True:
            ids = await client.zrange(
                key, most, "-inf", desc=True, byscore=True, offset=begin, num=_PAGE
            )
            if not ids:
                return
            begin += len(ids)
            async with client.pipeline(transaction=False) as pipe:
                for each in ids:
                    pipe.hget(f"{self._node.prefix}:task:{each.decode()}", "record")
                texts = await pipe.execute()
            for record in self._read_all(texts, functools.partial(_is_one_of, ids)):
                if (
                    (query.room is None or record.room == query.room)
                    and (query.state is None or record.state == query.state)
                    and (query.before is None or (record.created, record.id) < query.before)
                ):
                    yield record
                    found += 1
                    if found >= query.most:
                        return

    async def _take(self, words: list[str], done: Found) -> None:
        try:
            async with self._taking:
                seal = self._seals.sign_once("taken", self.hub)
                (texts,) = await self._node.execute([("take", self.hub, seal, *words)])
            records = self._read_all(texts, lambda record: _is_to_be_taken(record, words))
        except (*TROUBLE, msgspec.DecodeError) as exc:
            done([], report_unreadable(_say(exc)))
        else:
            done([msgspec.structs.replace(each, hub=self.hub) for each in records], None)

    def _hear_notice(self, data: bytes) -> None:
        """Take a notice of a record that was kept, or taken over."""
        namespace, name, hub, *signed = _read_notice(data)
        seal, *taken = signed or [""]
        if taken:
            stamp, _ = self._seals.verify_once("taken", hub, seal.encode())
            self._taken_seen.take(hub, stamp, about="taken")
        else:
            place = f"{namespace}\n{name}\n{hub}"
            stamp, _ = self._seals.verify_once("kept", place, seal.encode())
            self._kept_seen.take(hub, stamp)
        self.notice(namespace, name, hub)

    async def _hear(self) -> None:
        """Hear what all hubs keep."""
        while not self._is_closing:
            try:
                async with self._node.client.pubsub() as pubsub:
                    await pubsub.subscribe(f"{self._node.prefix}:tasks")
                    async for message in pubsub.listen():
                        if message["type"] == "subscribe":  # redis-py may do so by itself
                            self.deaf()
                        elif message["type"] == "message":
                            try:
                                self._hear_notice(message["data"])
                            except (msgspec.DecodeError, ValueError) as exc:
                                self.refuse(exc)
            except TROUBLE as exc:
                logger.debug(
                    "the journal of tasks is not heard: %s", exc, extra={"error": str(exc)}
                )
            if not self._is_closing:
                await asyncio.sleep(_AGAIN_SECONDS)
                with contextlib.suppress(*TROUBLE):
                    await self._node.find()

    async def _sweep(self) -> None:
        """Forget tasks that ended long ago, and the oldest of those that take too much."""
        while not self._is_closing:
            count = 0
            with contextlib.suppress(*TROUBLE):
                since = repr(self._clock() - self._keep_seconds)
                command = ("forget", since, self._keep_bytes, _SWEEP_TASKS)
                (count,) = await self._node.execute([command])
            if not self._is_closing:
                await asyncio.sleep(0 if count == _SWEEP_TASKS else _SWEEP_SECONDS)


def _stands_for(record: Record, kept: Record) -> bool:
    """Whether a record is of the same task, or of one with the same key."""
    if record.id == kept.id:
        return True
    marks = [(each.namespace, each.owner, each.key) for each in (record, kept)]
    return marks[0] == marks[1]


def _is_one_of(ids: Collection[bytes], record: Record) -> bool:
    return record.id.encode() in ids


def _is_to_be_taken(record: Record, words: Sequence[str]) -> bool:
    return not record.has_ended and (words[0] == "lost" or record.run in words)


def _say(exc: BaseException) -> str:
    return str(exc) or type(exc).__name__


_decode: Callable[[bytes], Record] = msgspec.json.Decoder(Record).decode
_read_notice = msgspec.json.Decoder(list[str]).decode
