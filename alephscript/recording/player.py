"""A recording asked again: the same requests, of a new version, on any mesh.

Requests are asked in the order in which they were, by clients of the same names. One that was asked
before another one had its answer is asked before that again; one that was asked after it waits for
it. What others said is said again, and what the class itself said is waited for, as an asker may
have. What the class asks others is answered by `standins`.

May go in: the order of things, who asks and says what. May not: what counts as the same
(`comparing`), which mesh it is.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter, deque
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import attrs

from alephscript.asyncapi.changes import broken_schemas
from alephscript.client.client import AlephScriptClient
from alephscript.client.dialects import Native
from alephscript.client.messages import Question
from alephscript.errors import AlephScriptError, NoAnswerer, RequestError
from alephscript.protocol import events
from alephscript.protocol.json import write_json
from alephscript.protocol.withholding import withhold, withhold_in_answer
from alephscript.recording.comparing import MISSING, Comparison, parse_path, write_path
from alephscript.recording.filling import fill
from alephscript.recording.lines import Record, Recording
from alephscript.recording.report import Difference, Report, Timing
from alephscript.recording.standins import make_standins, reply_of

__all__ = ["replay"]

_EVENT_SECONDS = 0.5
"""The time in which the class says an event, beyond the time that it took when recorded."""

_LONGEST_GAP = 2.0
"""The most of that time, in seconds."""

_ALL_EVENTS_SECONDS = 30.0
"""The time that is spent on all events together: a class may say one each second, for hours."""

_PATIENCE = 10
_PATIENCE_SECONDS = 30.0
"""An answer may take so many times as long as when it was recorded, and so much longer."""

_PAUSE_SECONDS = 0.05
"""The time, at the most, that the class is left to act on an event before the next request."""

_OF_THE_MESH = frozenset(
    {"master_lost", "link_lost", "overloaded", "no_master", "not_connected", "closed"}
)
"""Codes of failures that come of how a mesh was at the time, and say nothing of a master."""


@attrs.define
class _Asked:
    """A request that is asked again.

    Attributes:
        record: The request in the recording.
        why_not: Why its answer is not compared; empty if it is.
        task: Brings its answer; None if it is not asked.
        answers: What its master asked back in the recording, by name, and was answered.
        parts: Parts of its answer in the recording.
        left_out: Places in the parts that are not in the recording.
        new_parts: Parts of its new answer.
        seconds: How long the new answer took.
    """

    record: Record
    why_not: str = ""
    task: asyncio.Task[dict[str, Any]] | None = None
    answers: list[tuple[str, Any]] = attrs.field(factory=list)
    parts: list[Any] = attrs.field(factory=list)
    left_out: list[tuple[str | int, ...]] = attrs.field(factory=list)
    new_parts: list[Any] = attrs.field(factory=list)
    seconds: float = 0.0


async def replay(
    recording: Recording, cls: type[AlephScriptClient], mesh: Any, *, ignore: Iterable[str] = ()
) -> Report:
    """Ask a class what was asked in a recording, and compare the answers.

    ::

        async with InMemoryMesh() as mesh:
            report = await replay(recording, PersefonBot, mesh)
        assert report.is_same, report.differences

    Args:
        recording: The recording.
        cls: The class of the client that is asked.
        mesh: A mesh without other masters of its rooms, or the address of its hub.
        ignore: Dotted paths within answers that may differ.

    Raises:
        AlephScriptError: Nothing was asked, the class masters none of the rooms that were, or it
            cannot be opened.
    """
    rooms = {room.name for room in cls.declarations.rooms if room.mastered}
    asked = [each for each in recording.records if each["kind"] == "request"]
    if not asked:
        raise AlephScriptError("there is no request in it: nothing to ask, and nothing to compare")
    if not any(each["room"] in rooms for each in asked):
        named = ", ".join(sorted({each["room"] for each in asked})[:10])
        raise AlephScriptError(f"{cls.__qualname__} masters none of the rooms recorded: {named}")
    async with contextlib.AsyncExitStack() as stack:
        masters = {  # by the names that the class had
            each["usuario"]
            for each in recording.records
            if each["kind"] == "master" and each["room"] in rooms
        }
        for standin in make_standins(recording.records, rooms, masters):
            await stack.enter_async_context(standin(mesh))
        await stack.enter_async_context(cls(mesh))
        player = _Player(recording, cls, rooms, masters, mesh, stack, ignore)
        await player.play()
        return player.report


class _Player:
    def __init__(
        self,
        recording: Recording,
        cls: type[AlephScriptClient],
        rooms: Collection[str],
        masters: Collection[str],
        mesh: Any,
        stack: contextlib.AsyncExitStack,
        ignore: Iterable[str],
    ) -> None:
        self.report = Report()
        self.report.notes += recording.notes
        self._records = recording.records
        self._cls = cls
        self._rooms = rooms
        self._mesh = mesh
        self._stack = stack
        self._comparison = Comparison(map(parse_path, ignore))
        self._descriptions = _describe(cls)
        self._clients: dict[str, AlephScriptClient] = {}
        self._masters = masters
        self._asked: dict[str, _Asked] = {}
        self._answers = _find_answers(recording.records)
        self._heard: dict[str, deque[Any]] = {}
        self._hearing = asyncio.Event()
        self._silent: Counter[str] = Counter()
        self._patience = _ALL_EVENTS_SECONDS
        self._took = _measure(recording.records)

    async def play(self) -> None:
        """Ask, say and compare all that is in the recording."""
        self._compare_schemas()
        listening = await self._listen()
        at = 0.0
        try:
            for record in self._records:
                await self._go_on(record, at)
                at = record["at"]
            await self._give_up()
        finally:
            listening.cancel()
            tasks = [each.task for each in self._asked.values() if each.task is not None]
            for task in tasks:
                task.cancel()
            await asyncio.gather(listening, *tasks, return_exceptions=True)
        for event, count in self._silent.items():
            self.report.notes.append(f"{event} was said {count} times more often than now")

    async def _go_on(self, record: Record, before: float) -> None:
        kind = record["kind"]
        if kind == "request":
            await self._ask(record)
        elif kind == "event":
            await self._say(record, record["at"] - before)
        elif kind in ("part", "answer", "end"):
            asked = self._asked.get(record["id"])
            if asked is not None:
                await self._settle(asked, record)
        elif kind == "refused" and record.get("room") in self._rooms:
            self.report.not_compared["no master was asked then"] += 1

    # Asking

    async def _ask(self, record: Record) -> None:
        if record.get("inside") in self._asked or record["from"] in self._masters:
            return  # the class asks that itself
        if record["room"] not in self._rooms:
            self.report.not_compared[f"{self._cls.__qualname__} does not master the room"] += 1
            return
        answers = self._answers.get(record["id"], [])
        asked = self._asked[record["id"]] = _Asked(record, answers=answers)
        if "payload" not in record:
            asked.why_not = "the payload was too large for the recording"
            return
        described = self._descriptions.get(record["capability"], {})
        payload = self._comparison.translate(record["payload"])
        if record.get("redacted"):
            payload = fill(payload, record["redacted"], described.get("request"))
            asked.why_not = "a secret of the request is not in the recording"
        client = await self._client(record["usuario"], record["sesion"])
        asked.task = asyncio.ensure_future(self._put(client, asked, payload))
        await asyncio.sleep(0)  # it is on its way before anything else is done

    async def _put(self, client: AlephScriptClient, asked: _Asked, payload: Any) -> dict[str, Any]:
        """Ask, and return the answer as it stands on the wire."""
        record = asked.record
        timeout = record.get("timeoutMs", events.DEFAULT_TIMEOUT * 1000) / 1000
        # A stream may have a day.
        timeout = min(timeout, self._took.get(record["id"], 0) * _PATIENCE + _PATIENCE_SECONDS)

        async def answer(question: Question[Any]) -> Any:
            for index, (name, answer) in enumerate(asked.answers):
                if name == question.capability:
                    del asked.answers[index]
                    return reply_of(self._comparison.translate(answer))
            raise NoAnswerer("this was not asked back when it was recorded")

        options: dict[str, Any] = {"room": record["room"], "timeout": timeout, "on_ask": answer}
        began = time.perf_counter()
        try:
            if record.get("streams"):
                async for part in client.stream(record["capability"], payload, **options):
                    asked.new_parts.append(part)
                return {"success": True}
            return {
                "success": True,
                **await client.request(record["capability"], payload, **options),
            }
        except RequestError as error:
            return error.answer()
        finally:
            asked.seconds = time.perf_counter() - began

    async def _client(self, usuario: str, sesion: str) -> AlephScriptClient:
        """Return the client of that name."""
        name = usuario + sesion
        if name not in self._clients:
            if not sesion:  # a stock peer's; others see both as one name
                usuario, sesion = usuario[:-1], usuario[-1:]
            client = AlephScriptClient(
                self._mesh, usuario=usuario or "recorded", sesion=sesion or None
            )
            self._clients[name] = await self._stack.enter_async_context(client)
            session = client._alephscript_life.present_session()  # noqa: SLF001 - of one package
            if not isinstance(session.dialect, Native):
                for room in self._rooms:
                    await client.subscribe(room)  # a stock hub tells answers to members alone
        return self._clients[name]

    # Answers

    async def _settle(self, asked: _Asked, record: Record) -> None:
        if record["kind"] == "part":
            place = ("parts", len(asked.parts))
            asked.parts.append(record.get("data"))
            asked.left_out += [(*place, *path) for path in record.get("redacted", ())]
            if "data" not in record:
                asked.left_out.append(place)
            return
        if asked.task is None:
            self.report.not_compared[asked.why_not] += 1
            return
        if record["kind"] == "end":
            asked.task.cancel()
            await asyncio.gather(asked.task, return_exceptions=True)
            self.report.not_compared[f"it had no answer then: {record['code']}"] += 1
            return
        self._compare(asked, record, await asked.task)

    def _compare(self, asked: _Asked, record: Record, answer: dict[str, Any]) -> None:
        then = record.get("answer")
        if not isinstance(then, dict):
            asked.why_not = asked.why_not or "the answer was too large for the recording"
            then = {}
        elif then.get("code") in _OF_THE_MESH and then.get("success") is False:
            asked.why_not = asked.why_not or f"the mesh failed it then: {then['code']}"
        reply = self._descriptions.get(asked.record["capability"], {}).get("reply")
        copy = withhold_in_answer(answer, reply)
        left_out = [*map(tuple, record.get("redacted", ())), *copy.paths]
        changes = self._comparison.compare(then, copy.value, left_out)
        parts = withhold({"parts": asked.new_parts}, _schema_of_parts(reply))
        left_out = [*asked.left_out, *parts.paths]
        changes += self._comparison.compare({"parts": asked.parts}, parts.value, left_out)
        if changes and asked.why_not:
            self.report.not_compared[asked.why_not] += 1
            return
        self.report.compared += 1
        name = asked.record["capability"]
        timing = self.report.timings.setdefault(name, Timing())
        timing.then.append(self._took[asked.record["id"]])
        timing.now.append(asked.seconds)
        for each in changes:
            self.report.differences.append(
                Difference(
                    request=asked.record["id"],
                    room=asked.record["room"],
                    capability=name,
                    path=write_path(each.path),
                    then=_show(each.then),
                    now=_show(each.now),
                )
            )

    async def _give_up(self) -> None:
        """Leave what has no answer in the recording."""
        await asyncio.sleep(0)
        ended = {each["id"] for each in self._records if each["kind"] in ("answer", "end")}
        unanswered = [name for name in self._asked if name not in ended]
        if unanswered:
            self.report.not_compared["the recording has no answer"] += len(unanswered)

    # Events

    async def _listen(self) -> asyncio.Task[None]:
        """Hear what the class says."""
        listener = AlephScriptClient(self._mesh, usuario="verifier")
        stream = listener.events(buffer=1_000_000)
        await self._stack.enter_async_context(listener)
        for room in self._rooms:
            await listener.subscribe(room)

        async def listen() -> None:
            async for event in stream:
                if event.sender in self._clients:
                    continue  # said by this player, in place of another
                self._heard.setdefault(event.name, deque()).append(event.data)
                self._hearing.set()

        return asyncio.ensure_future(listen())

    async def _say(self, record: Record, gap: float) -> None:
        room, event = record.get("room"), record["event"]
        if room not in self._rooms or "data" not in record:
            return
        if record["from"] in self._masters:
            await self._hear(event, record["data"], gap)
            return
        usuario = record.get("usuario") or record["from"]
        client = await self._client(usuario, record.get("sesion", ""))
        data = self._comparison.translate(record["data"])
        with contextlib.suppress(RequestError):
            await client.broadcast(event, data, room=room, retain=record.get("retain") is True)
        pause = min(max(gap, 0.0), _PAUSE_SECONDS, max(self._patience, 0.0))
        self._patience -= pause
        await asyncio.sleep(pause)

    async def _hear(self, event: str, data: Any, gap: float) -> None:
        """Wait for an event that the class says, but not for one that it says no more."""
        seconds = min(min(gap, _LONGEST_GAP) + _EVENT_SECONDS, self._patience)
        began = time.monotonic()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0 if self._silent[event] else seconds):
                while not self._heard.get(event):
                    self._hearing.clear()
                    await self._hearing.wait()
        self._patience -= time.monotonic() - began
        if self._heard.get(event):
            self._comparison.learn(data, self._heard[event].popleft())
        else:
            self._silent[event] += 1

    # Schemas

    def _compare_schemas(self) -> None:
        """Compare what the masters of then offered with what the class offers."""
        seen = set()
        for record in self._records:
            if record["kind"] != "master" or record["room"] not in self._rooms:
                continue
            offered = {each.name for each in self._cls.declarations.offered(record["room"])}
            offered = set(map(events.capability_name, offered))
            for name, described in record["capabilities"].items():
                text = write_json([record["room"], name, described])
                if text in seen:
                    continue
                seen.add(text)
                if name not in offered:
                    self.report.breaks.append(f"{record['room']} has no {name} any more")
                elif isinstance(described, dict):
                    self.report.breaks += _find_breaks(name, described, self._descriptions[name])


def _find_breaks(name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    breaks = []
    for word, event, is_request in (("request", "GET_", True), ("reply", "SET_", False)):
        before, after = old.get(word), new.get(word)
        if isinstance(before, dict) and isinstance(after, dict):
            with contextlib.suppress(AlephScriptError):  # a stranger's schema that leads nowhere
                breaks += broken_schemas(before, after, event + name, is_request=is_request)
    if old.get("streams") and not new.get("streams"):
        breaks.append(f"{name} does not answer in parts any more")
    return breaks


def _describe(cls: type[AlephScriptClient]) -> dict[str, dict[str, Any]]:
    return {
        name: capability.description() for name, capability in cls.declarations.capabilities.items()
    }


def _measure(records: Iterable[Record]) -> dict[str, float]:
    """Measure how many seconds each request took, by its id."""
    began: dict[str, float] = {}
    took: dict[str, float] = {}
    for record in records:
        if record["kind"] == "request":
            began[record["id"]] = record["at"]
        elif record["kind"] == "answer" and record["id"] in began:
            took[record["id"]] = max(0.0, record["at"] - began[record["id"]])
    return took


def _schema_of_parts(reply: Any) -> dict[str, Any]:
    """Make the schema of an object with the parts of an answer."""
    definitions = reply.get("$defs", {}) if isinstance(reply, dict) else {}
    return {"$defs": definitions, "properties": {"parts": {"items": reply}}}


def _find_answers(records: Iterable[Record]) -> dict[str, list[tuple[str, Any]]]:
    """Find what masters asked back, by name, and were answered, by the request in question."""
    questions: dict[str, tuple[str, str]] = {}
    found: dict[str, list[tuple[str, Any]]] = {}
    for record in records:
        if record["kind"] == "question" and isinstance(record.get("data"), dict):
            questions[record["id"]] = (record["about"], str(record["data"].get("capability")))
        elif record["kind"] == "answer" and record["id"] in questions:
            about, name = questions[record["id"]]
            found.setdefault(about, []).append((name, record.get("answer")))
    return found


def _show(value: Any) -> str | None:
    return None if value is MISSING else write_json(value).decode()
