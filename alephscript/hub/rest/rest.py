"""The mesh by HTTP: which request is taken, and what answers it.

In this order: where a request comes from, what it asks, whether its sender has credit and a token,
whether the hub takes requests, and then the question.

May go in: what makes a request one that is taken, and its end, however it comes. May not: what is
asked (`asking`, `listening`, `reading`), how an answer is written (`responder`).
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import importlib.metadata
import logging
from collections.abc import AsyncIterator, Mapping
from typing import Any

import attrs
import msgspec

from alephscript.diagnostics.redaction import redacted
from alephscript.errors import (
    CapabilityError,
    Closed,
    Internal,
    InvalidPayload,
    Overloaded,
    PayloadTooLarge,
    RequestError,
)
from alephscript.hub.bearers import Bearers
from alephscript.hub.bodies import Body, Receive
from alephscript.hub.engine import Engine
from alephscript.hub.rest import reading
from alephscript.hub.rest.asking import (
    Question,
    answer,
    put,
    read_invocation,
    read_question,
    write_answer,
)
from alephscript.hub.rest.clients import Clients
from alephscript.hub.rest.listening import listen
from alephscript.hub.rest.openapi import make_document
from alephscript.hub.rest.paths import Page, Route
from alephscript.hub.rest.responder import NotTaken, Responder, Send
from alephscript.hub.rest.visitor import End, VisitEnded, Visitor
from alephscript.hub.sockets.lobby import Arrival
from alephscript.mesh.access import Handshake, Identity
from alephscript.protocol import events
from alephscript.protocol.packets import ProtocolError

__all__ = ["Rest", "Visit"]

logger = logging.getLogger("alephscript.hub")

_OPTIONS = "OPTIONS"
_UNAUTHORIZED = "this needs `Authorization: Bearer TOKEN` of one who may"
_ASKS = (Page.INVOKE, Page.CAPABILITY)
_PAGE_SECONDS = 10.0
"""Seconds that the hub, and others, may take to tell about themselves."""


@attrs.frozen
class Visit:
    """A request by HTTP.

    Attributes:
        scope: ASGI's.
        receive: ASGI's.
        headers: Its headers, by lower-case name.
        arrival: The socket that it came by.
        refusal: Why no request from there is taken; None if they are.
    """

    scope: Mapping[str, Any]
    receive: Receive
    headers: Mapping[str, str]
    arrival: Arrival
    refusal: str | None

    @property
    def address(self) -> str:
        """The address that it came from."""
        client = self.scope.get("client")
        return client[0] if client else ""


class Rest:
    """The mesh by HTTP.

    Args:
        engine: The hub.
        bearers: Says whose token a request has.
    """

    def __init__(self, engine: Engine, bearers: Bearers) -> None:
        self._engine = engine
        self._bearers = bearers
        self._clients = Clients(engine.limits)
        self._mesh = engine.meshes[events.RUNTIME]

    async def answer(self, route: Route, visit: Visit, send: Send) -> None:
        """Answer a request."""
        origin = visit.headers.get("origin") if visit.refusal is None else None
        closes = visit.scope.get("http_version", "1.1") < "2"
        # As long as a client with a connection may not answer.
        patience = self._engine.ping_interval + self._engine.ping_timeout
        responder = Responder(send, origin, closes=closes, patience=patience)
        visit.arrival.pause()
        try:
            await self._answer(route, visit, responder)
        except NotTaken as reason:
            await responder.refuse(reason)
        except RequestError as error:
            await responder.fail(error)
        except VisitEnded as ended:
            await self._end(ended.end, route, visit, responder)
        except Exception as exc:
            # Of a rule of access, or of this package; the server would log it with its text.
            logger.error(
                "this hub failed at a request by HTTP (%s)",
                name := route.pages[visit.scope["method"]].name,
                exc_info=redacted(exc),
                extra={"page": name},
            )
            if responder.is_begun:
                visit.arrival.end()
            else:
                await responder.fail(Internal("the hub failed at this request"))

    async def _answer(self, route: Route, visit: Visit, responder: Responder) -> None:
        method = visit.scope["method"]
        methods = (*route.pages, _OPTIONS)
        if visit.refusal is not None:
            raise NotTaken(403, "origin_refused", visit.refusal)
        if method == _OPTIONS:
            await responder.allow(methods)
            return
        page = route.pages.get(method)
        if page is None:
            allowed = ", ".join(methods)
            raise NotTaken(
                405,
                "method_not_allowed",
                f"{method} means nothing here; there are {allowed}",
                {b"allow": allowed.encode()},
            )
        if page is Page.HEALTH:
            await responder.tell({"status": "ok"})
            return
        if not self._clients.spend(visit.address):
            self._engine.refusals["events_per_second"] += 1
            most = self._engine.limits.events_per_second
            raise _overload(f"a client may send {most} requests a second")
        identity = await self._identify(visit, route.room)
        if page is Page.MESH_HEALTH:
            health = reading.tell_health(self._engine)
            await responder.tell(health, 200 if health["status"] == "healthy" else 503)
            return
        why_not = self._find_obstacle(page)
        if why_not is not None:
            message = f"this hub is {why_not}; come again, or to another hub"
            await responder.fail(_overload(message), 503)
        elif page in _ASKS:
            await self._ask(page, route, visit, responder, identity)
        elif page is Page.EVENTS:
            await self._listen(route.room, visit, responder, identity)
        else:
            body, status = await self._read(page, route.room, visit, identity)
            await responder.give(status, body)

    async def _identify(self, visit: Visit, room: str) -> Identity | None:
        if self._engine.access is None:
            return None
        handshake = Handshake(events.RUNTIME, visit.address, visit.headers)
        identity = await self._bearers.find(handshake, room)
        if identity is None:
            self._engine.refusals["unauthorized"] += 1
            raise NotTaken(401, "unauthorized", _UNAUTHORIZED)
        return identity

    def _find_obstacle(self, page: Page) -> str | None:
        """Find out why no visitor is let in just now; None if they are."""
        if self._engine.is_full:
            self._engine.refusals["connections"] += 1
            return "full"
        return self._engine.why_not_ready if page in _ASKS else None

    # Questions

    async def _ask(
        self,
        page: Page,
        route: Route,
        visit: Visit,
        responder: Responder,
        identity: Identity | None,
    ) -> None:
        kind = visit.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json" and not (
            kind.startswith("application/") and kind.endswith("+json")
        ):
            raise NotTaken(
                415, "unsupported_media_type", "send JSON, as content-type: application/json"
            )
        streams = _takes_streams(visit)
        with self._clients.open(visit.address):
            async with Visitor(self._engine, identity) as visitor:
                body = await self._read_body(visit, responder)
                if body is None:
                    return
                question = self._read_question(page, route, visit, body)
                put(visitor, question, visit.headers, streams=streams)
                del body, question  # the mesh has what it needs of it, and has counted that
                async with _watch(visit.receive, visitor):
                    reply = await answer(visitor, responder, streams=streams)
        if reply is not None:
            await responder.give(*reply)

    def _read_question(self, page: Page, route: Route, visit: Visit, body: bytes) -> Question:
        if page is Page.INVOKE:
            question = read_invocation(route.room, body)
        else:
            query = visit.scope["query_string"]
            question = read_question(route.room, route.capability, query, body)
        if question.is_null and self._wants_object(question):
            raise InvalidPayload(
                "payload: expected an object, got null",
                [{"path": "", "message": "expected an object, got null"}],
            )
        return question

    def _wants_object(self, question: Question) -> bool:
        """Whether masters that are asked declare that their payload is an object.

        To members of this package null is no payload, which may be an object without fields. By
        HTTP a document says what is taken, and null is not.
        """
        room = self._mesh.rooms.get(question.meta["room"])
        spellings = (question.event, events.capability_name(question.event))
        return room is not None and any(
            each.declared.descriptions.get(name, {}).get("request", {}).get("type") == "object"
            for each in room.masters.serving
            for name in spellings
        )

    async def _read_body(self, visit: Visit, responder: Responder) -> bytes | None:
        """Read the body of a request; None if it was answered instead."""
        reader, limits = Body(self._engine, visit.arrival), self._engine.limits
        try:
            async with asyncio.timeout(limits.join_seconds):
                try:
                    return await reader.read(visit.receive, visit.headers)
                except PayloadTooLarge as error:
                    self._engine.refusals["message_bytes"] += 1
                    # Who waits to be told to go on is not told to.
                    is_read = "expect" not in visit.headers and await reader.discard(visit.receive)
                    body = msgspec.json.encode(error.answer())
                    await responder.give(413, body, last=not is_read)
        except TimeoutError:
            self._engine.refusals["join_seconds"] += 1
            seconds = limits.join_seconds
            slow = NotTaken(408, "request_timeout", f"the body took longer than {seconds:g} s")
            await responder.refuse(slow, last=True)
        except ProtocolError:
            pass  # nobody is there any more
        return None

    async def _listen(
        self, room: str, visit: Visit, responder: Responder, identity: Identity | None
    ) -> None:
        with self._clients.open(visit.address):
            async with Visitor(self._engine, identity) as visitor, _watch(visit.receive, visitor):
                visitor.join()
                await listen(visitor, room, visit.headers, responder)

    async def _read(
        self, page: Page, room: str, visit: Visit, identity: Identity | None
    ) -> tuple[bytes, int]:
        """Read a page about the mesh; return its body and status."""
        async with Visitor(self._engine, identity) as visitor:
            visitor.join()
            try:
                async with asyncio.timeout(_PAGE_SECONDS):
                    if page in (Page.CAPABILITIES, Page.OPENAPI):
                        told = await reading.tell_capabilities(visitor)
                    else:
                        told = await reading.tell_rooms(visitor, self._mesh.rooms)
            except TimeoutError:
                raise _overload("the mesh does not tell about itself just now") from None
        if page is Page.OPENAPI:
            server = visit.scope.get("root_path", "") or "/"
            offers = msgspec.json.encode(told["capabilities"])
            is_guarded = self._engine.access is not None
            write = functools.partial(_write_document, offers, server, is_guarded=is_guarded)
            # In a thread: many large schemas take a while.
            return await asyncio.to_thread(write), 200
        if page is not Page.ROOM:
            return msgspec.json.encode(told), 200
        for each in told["rooms"]:
            if each["id"] == room:
                return msgspec.json.encode(each), 200
        return msgspec.json.encode({"error": f"Room {room} not found"}), 404

    # Ends

    async def _end(self, end: End, route: Route, visit: Visit, responder: Responder) -> None:
        """Say why a visit has ended, if there is anybody, and a way, to hear it."""
        if end is End.SLOW:
            self._engine.refusals["backlog_bytes"] += 1
            visit.arrival.end()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await _wait_for_hang_up(visit.receive)
        if end in (End.SLOW, End.HUNG_UP):
            return
        error: RequestError = Closed(
            "the hub is closing; the request may have run", [{"delivered": True}]
        )
        if end is End.EXPIRED:
            error = CapabilityError("unauthorized", "the token has expired meanwhile")
        if not responder.is_begun:
            await responder.fail(error)
            return
        if route.pages[visit.scope["method"]] in _ASKS:
            await responder.write(write_answer(msgspec.json.encode(error.answer())))
        await responder.end_stream()


@contextlib.asynccontextmanager
async def _watch(receive: Receive, visitor: Visitor) -> AsyncIterator[None]:
    """End a visit when its client hangs up."""

    async def watch() -> None:
        await _wait_for_hang_up(receive)
        visitor.end(End.HUNG_UP)

    watching = asyncio.get_running_loop().create_task(watch())
    try:
        yield
    finally:
        watching.cancel()


async def _wait_for_hang_up(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _takes_streams(visit: Visit) -> bool:
    """Whether a client wants server-sent events."""
    kinds = visit.headers.get("accept", "").lower().split(",")
    return any(each.partition(";")[0].strip() == "text/event-stream" for each in kinds)


def _overload(message: str) -> Overloaded:
    """Make the failure of a request that never came to the mesh."""
    return Overloaded(message, [{"delivered": False}])


@functools.lru_cache(maxsize=8)
def _write_document(offers: bytes, server: str, *, is_guarded: bool) -> bytes:
    """Write the OpenAPI document; kept, since a mesh changes less often than it is asked."""
    version = importlib.metadata.version("alephscript")
    document = make_document(
        msgspec.json.decode(offers), version=version, server=server, is_guarded=is_guarded
    )
    return msgspec.json.encode(document)
