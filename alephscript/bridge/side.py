"""One side of a bridge: a client of one of the two hubs.

May go in: what a bridge does at one hub: who says what, what masters offer, offering what the other
side has, saying what was said there. May not: which of it is passed on (`passage`, `bridge`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from typing import Any, Literal

from alephscript.bridge.counts import Counts
from alephscript.bridge.marks import (
    ANNOUNCEMENT,
    BRIDGES,
    Announced,
    Announcement,
    digest,
    is_bridge,
)
from alephscript.client.calls import Call, read_answer
from alephscript.client.client import AlephScriptClient
from alephscript.client.declaring import Declarations, RoomRole
from alephscript.client.described import describe_capability
from alephscript.client.dialects import Core, Native
from alephscript.client.discovery import Offer
from alephscript.client.jobs import current_job
from alephscript.client.messages import Event, Progress, Question, Request
from alephscript.client.session import HubSession
from alephscript.errors import (
    AlephScriptError,
    CapabilityError,
    Closed,
    LinkLost,
    MasterLost,
    NoMaster,
    NotConnected,
    PayloadTooLarge,
    RequestError,
)
from alephscript.links.transport import Transport
from alephscript.protocol import events
from alephscript.protocol.events import HubEvent
from alephscript.protocol.json import parse_json, write_json
from alephscript.protocol.text import printable

__all__ = ["COUNTS", "Offers", "Origin", "Side"]

logger = logging.getLogger("alephscript.bridge")

COUNTS = "BRIDGE_COUNTS"
"""The bridge's own capability, in a room that is called as the bridge's sesion."""

Offers = Mapping[str, Mapping[str, Any]]
"""Descriptions of capabilities as on the wire, by name."""

Origin = Literal["member", "itself", "bridge"]
"""From whom an event comes: from a member, from this bridge, from another bridge."""

_COUNTS_DESCRIBED = {
    "summary": "Tell what this bridge did not pass on, by direction, name and reason.",
    "readOnly": True,
    "idempotent": True,
}
_ECHO_SECONDS = 5.0
"""The time in which a hub that acknowledges nothing repeats what was announced."""


class Side(AlephScriptClient):
    """An ordinary client, which is in the room, and its master where the other side has one.

    Args:
        hub: The hub, as for `AlephScriptClient`.
        room: The room.
        sesion: The bridge's sesion, on both sides.
        allowed: Names of the other side's capabilities that may be offered here.
        direction: The way of requests that come in here, as it is counted.
        counts: Where what is not passed on is counted.
        changed: Called when masters of this side, or its link, may have changed.
        options: Further options of the client.

    Attributes:
        room: As given.
        allowed: As given.
        other: The other side.
    """

    other: Side

    def __init__(
        self,
        hub: str | Transport,
        *,
        room: str,
        sesion: str,
        allowed: Collection[str],
        direction: str,
        counts: Counts,
        changed: Callable[[], None],
        **options: Any,
    ) -> None:
        self.room = room
        self.allowed = frozenset(allowed)
        self.declarations = Declarations((RoomRole(room, mastered=False),), {}, {})
        super().__init__(hub, **{"usuario": "alephscript", **options, "sesion": sesion})
        self._direction = direction
        self._counts = counts
        self._changed = changed
        self._announced = Announced()
        self._announcing = BRIDGES
        self._said = 0
        self._echo: asyncio.Future[None] | None = None
        self._met: HubSession | None = None
        self._meeting: asyncio.Task[None]
        # What is known of one session: what its hub was told, and who serves the room.
        self._known: HubSession | None = None
        self._told: Offers = {}
        self._refused: Offers | None = None
        self._server: str | None = None
        self._knows_server = False
        self._found: Offers = {}
        self._alephscript_declare(self._declare({}))

    @property
    def address(self) -> str:
        """The hub's address and namespace."""
        return self._alephscript_connector.address

    @property
    def tells_masters(self) -> bool:
        """Whether the hub says who masters what; False while there is no link."""
        session = self._alephscript_session
        return session is not None and isinstance(session.dialect, Native)

    async def session(self) -> HubSession:
        """Wait for a session; raises as `ready`."""
        return await self._alephscript_life.ready()

    # Hearing

    def hear(self, event: Event[Any]) -> bool:
        """Take an event if it is for this side itself; return whether it is."""
        if event.name == ANNOUNCEMENT:
            self._hear_announcement(Announcement.read(event.data))
        elif event.name == HubEvent.MASTER_CHANGED:
            usuario = event.data.get("usuario") if isinstance(event.data, dict) else None
            self._server = usuario if isinstance(usuario, str) else None
            self._knows_server = True
            self._changed()
        elif event.name == HubEvent.AUTH_ERROR:
            if isinstance(event.data, dict) and event.data.get("room") == BRIDGES:
                # A guarded hub lets a client into one room; there bridges are met in that room.
                self._announcing = self.room
                self._end_echo()
        else:
            return False
        return True

    def origin(self, event: Event[Any]) -> Origin:
        """Tell from whom an event comes."""
        if event.sender:
            if not is_bridge(event.sender):
                return "member"
            return "itself" if event.sender.endswith(self.sesion) else "bridge"
        now = asyncio.get_running_loop().time()
        bridge = self._announced.take(event.name, digest(event.name, event.data), now)
        if bridge is None:
            return "member"
        return "itself" if bridge == self.sesion else "bridge"

    def _hear_announcement(self, announcement: Announcement | None) -> None:
        if announcement is None:
            return
        if announcement.bridge == self.sesion:
            if announcement.number == self._said:
                self._end_echo()
            if announcement.event.startswith("SET_"):
                return  # a stock hub repeats these to the others only
        if announcement.event:
            self._announced.add(announcement, asyncio.get_running_loop().time())

    # Saying

    async def say(self, session: HubSession, said: Sequence[tuple[str, bytes]]) -> list[str]:
        """Say events in the room, and wait until the hub has taken them.

        Args:
            session: The session to say them on.
            said: Names and JSON texts.

        Returns:
            Of each the code of the error that kept it from the hub, empty where there was none.
        """
        dialect = session.dialect
        if not isinstance(dialect, Native):
            await self._meet(session)
        outcomes: list[str | asyncio.Task[str]] = []
        for name, text in said:
            try:
                if not isinstance(dialect, Native):
                    self._announce(session, name, text)
                if isinstance(dialect, Core):
                    dialect.broadcast(self.room, name, text)
                    outcomes.append("")
                    continue
            except RequestError as error:
                outcomes.append(error.code)
                continue
            message = b'{"event":%b,"room":%b,"data":%b}' % (
                write_json(name),
                write_json(self.room),
                text,
            )
            call = Call(HubEvent.ROOM_MESSAGE, message, timeout=events.DEFAULT_TIMEOUT)
            # Tasks begin in the order in which they are made, and so do they send.
            outcomes.append(asyncio.create_task(_taken(dialect.ask(call))))
        if isinstance(dialect, Core):
            await self._wait_for_echo(session)
        return [each if isinstance(each, str) else await each for each in outcomes]

    def _meet(self, session: HubSession) -> asyncio.Task[None]:
        """Be where other bridges are met; begun once a session."""
        if self._met is not session:
            self._met = session
            self._meeting = asyncio.create_task(self._find_others(session))
        return self._meeting

    async def _find_others(self, session: HubSession) -> None:
        self._announcing = BRIDGES
        try:
            await session.subscribe(BRIDGES)
            if isinstance(session.dialect, Core):  # whose refusal may come, or never
                self._announce(session, "", b"null")
                await self._wait_for_echo(session)
        except RequestError:
            self._announcing = self.room

    def _announce(self, session: HubSession, name: str, text: bytes) -> None:
        """Announce an event that is said next."""
        self._said += 1
        told = Announcement(self.sesion, self._said, name, digest(name, parse_json(text)))
        self._echo = asyncio.get_running_loop().create_future()
        session.dialect.broadcast(self._announcing, ANNOUNCEMENT, write_json(told.write()))

    async def _wait_for_echo(self, session: HubSession) -> None:
        """Wait until a hub that acknowledges nothing has come as far as the last announcement."""
        assert self._echo is not None
        gone = asyncio.create_task(session.is_gone.wait())
        either: set[asyncio.Future[Any]] = {self._echo, gone}
        try:
            await asyncio.wait(either, timeout=_ECHO_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()

    def _end_echo(self) -> None:
        if self._echo is not None and not self._echo.done():
            self._echo.set_result(None)

    # What masters of this side offer

    async def look(self) -> Offers:
        """Find out what masters offer in the room that the other side may offer, too.

        A hub that tells nothing of masters may have one of everything, unless this bridge is the
        last that has declared itself there.
        """
        session, wanted = self._present(), self.other.allowed
        if session is None:
            return {}
        if not isinstance(session.dialect, Native):
            return {} if self._told else {name: {} for name in sorted(wanted)}
        try:
            offers = await self.discover(room=self.room)
            found = {
                each.capability: _describe(each)
                for each in offers
                if each.capability in wanted and not all(map(is_bridge, each.masters))
            }
            if not offers and await self._find_server():
                # Masters of upstream need not say what they offer.
                found = {name: {} for name in sorted(wanted)}
        except NotConnected:
            return {}
        except AlephScriptError:
            return self._found  # the next look may know more
        self._found = found
        return found

    async def _find_server(self) -> str | None:
        """Return the name of the member that serves the room, if it is no bridge."""
        if not self._knows_server:
            state = await self.server_state()
            rooms = state.get("rooms")
            for each in rooms if isinstance(rooms, list) else ():
                if isinstance(each, dict) and each.get("roomId") == self.room:
                    master = each.get("master")
                    self._server = master if isinstance(master, str) else None
            self._knows_server = True
        return None if self._server is None or is_bridge(self._server) else self._server

    # What is offered at this side

    async def offer(self, offers: Offers) -> None:
        """Offer these capabilities in the room, and no others, unless a member masters it.

        A hub that knows no resigning is told of those that come, and not of those that go: they
        are answered by what the other side says then.
        """
        session, told = self._present(), self._told
        if session is None:
            return
        is_native = isinstance(session.dialect, Native)
        if not is_native:
            offers = {**told, **offers}
        if offers == told:
            return
        declared = self._declare(offers)
        try:
            if not is_native:
                self._alephscript_declare(declared)
                await self.make_master(self.room)
            else:
                await self._tell_native(session, declared, has_declared=bool(told))
        except AlephScriptError as error:
            code = error.code if isinstance(error, RequestError) else type(error).__name__
            if offers != self._refused:
                self._refused = offers
                for name in offers.keys() - told.keys():
                    self._counts.count(self._direction, name, code)
            return
        if session is self._alephscript_session:
            self._told = offers
        for name in sorted(offers.keys() ^ told.keys()):
            logger.info(
                "%s is %s at %s",
                printable(name),
                "offered" if name in offers else "not offered any more",
                self.address,
                extra={"capability": name, "room": self.room, "address": self.address},
            )

    async def _tell_native(
        self, session: HubSession, declared: Declarations, *, has_declared: bool
    ) -> None:
        dialect = session.dialect
        if not declared.features(self.room):
            await dialect.resign(self.room)
            self._alephscript_declare(declared)
            return
        self._alephscript_declare(declared)
        mastery = declared.mastery(self.room, "single")
        steps = [dialect.make_master(self.room, mastery, yields=True)]
        # Hubs tell who serves, and not what: in one go, so that no request falls between.
        resigning = [dialect.resign(self.room)] if has_declared else []
        await asyncio.gather(*resigning, *steps)

    def _declare(self, offers: Offers) -> Declarations:
        own = self.sesion
        named = {
            COUNTS: describe_capability(COUNTS, "tell_counts", _COUNTS_DESCRIBED, rooms=(own,))
        }
        for name, described in offers.items():
            streams = described.get("streams") is True
            method = "pass_stream" if streams else "pass_request"
            named[name] = describe_capability(
                name, method, described, rooms=(self.room,), streams=streams
            )
        rooms = (RoomRole(self.room, mastered=bool(offers)), RoomRole(own, mastered=True))
        return Declarations(rooms, named, {})

    # Serving

    async def tell_counts(self, request: Request[Any]) -> dict[str, Any]:  # noqa: ARG002
        """Answer BRIDGE_COUNTS."""
        counts = self._counts.snapshot()
        return {
            "counts": [
                {
                    "direction": each.direction,
                    "name": each.name,
                    "reason": each.reason,
                    "count": each.count,
                }
                for each in counts
            ]
        }

    async def pass_request(self, request: Request[Any]) -> dict[str, Any]:
        """Answer a request by what the other side answers."""
        with self._crossing(request) as options:
            answer = await self.other.request(request.capability, request.payload, **options)
            return {"success": True, **answer}

    async def pass_stream(self, request: Request[Any]) -> AsyncIterator[Any]:
        """Answer a request by the parts that the other side gives."""
        with self._crossing(request) as options:
            parts = self.other.stream(request.capability, request.payload, **options)
            async with contextlib.aclosing(parts):  # type: ignore[type-var]
                async for part in parts:
                    yield part

    @contextlib.contextmanager
    def _crossing(self, request: Request[Any]) -> Any:
        """Give the options of a request to the other side, and have its failure cross, too."""
        if is_bridge(request.caller):
            self._counts.count(self._direction, request.capability, "passed_before")
            message = f"{request.capability} has crossed a bridge, and crosses no other"
            raise CapabilityError(NoMaster.code, message, retryable=False)

        def report(progress: Progress) -> None:
            request.progress(progress.fraction, progress.message)

        async def answer(question: Question[Any]) -> dict[str, Any]:
            try:
                answer = await request.ask(question.capability, question.payload)
            except RequestError as error:
                raise _as_answered(error) from None
            return {"success": True, **answer}

        # What led to the request is known by numbers of this side's hub, which mean others there.
        current_job.set(None)
        remaining = request.time_remaining()
        timeout = None if math.isinf(remaining) else remaining
        try:
            yield {
                "room": self.room,
                "timeout": timeout,
                "on_progress": report,
                "on_ask": answer,
            }
        except RequestError as error:
            if isinstance(error, NotConnected | PayloadTooLarge):
                self._counts.count(self._direction, request.capability, error.code)
            raise _as_answered(error) from None

    # Life

    async def on_connected(self) -> None:
        """Be where other bridges are met, and where the counts can be asked for."""
        session = self._present()
        if session is not None and not isinstance(session.dialect, Native):
            await self._meet(session)
        with contextlib.suppress(AlephScriptError):  # a guarded hub may not want that room
            await self.make_master(self.sesion)

    def lose(self) -> None:
        """Take notice that the link is lost.

        Nothing is declared again before the other side was asked what it has by then.
        """
        self._alephscript_masters.pop(self.room, None)

    def _present(self) -> HubSession | None:
        """Return the present session, of which nothing is known if it is new."""
        session = self._alephscript_session
        if session is not self._known:
            self._known = session
            self._told, self._refused, self._knows_server = {}, None, False
        return session


async def _taken(asking: Any) -> str:
    """Wait for an acknowledgement, and return the code of a failed one."""
    try:
        answer = read_answer(await asking)
    except RequestError as error:
        return error.code
    return str(answer.get("code", "error")) if events.is_failure(answer) else ""


def _describe(offer: Offer) -> dict[str, Any]:
    fields = {
        "summary": offer.summary,
        "request": offer.request,
        "reply": offer.reply,
        "timeoutMs": offer.timeout_ms,
        "idempotent": offer.idempotent or None,
        "readOnly": offer.read_only,
        "destructive": offer.destructive,
        "streams": offer.streams or None,
        "tags": list(offer.tags) or None,
    }
    return {key: value for key, value in fields.items() if value is not None}


def _as_answered(error: RequestError) -> CapabilityError:
    """Make the error that crosses: a link of the bridge's is no business of the asker's."""
    if isinstance(error, NotConnected):
        details = [{"delivered": False}]
        message = "the bridge has no link to the other mesh"
        return CapabilityError(NoMaster.code, message, details, retryable=True)
    if isinstance(error, LinkLost | Closed):
        details = [{"delivered": True}]
        message = "the bridge has lost its link to the other mesh"
        return CapabilityError(MasterLost.code, message, details, retryable=True)
    return CapabilityError(error.code, error.message, error.details, retryable=error.retryable)
