"""`MeshServer`: a mesh as A2A agents, one for each room, and one for the whole.

May go in: paths, tokens of requests, the life of the server. May not: what A2A's operations do
(`handler`), cards (`cards`).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from urllib.parse import quote

from a2a.server.context import ServerCallContext
from a2a.server.routes import create_rest_routes
from a2a.server.routes.common import DefaultServerCallContextBuilder
from a2a.server.routes.jsonrpc_dispatcher import JsonRpcDispatcher
from a2a.utils.constants import AGENT_CARD_WELL_KNOWN_PATH, PROTOCOL_VERSION_1_0, VERSION_HEADER
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from alephscript.a2a.guard import Guard, is_loopback, refuse
from alephscript.a2a.handler import AGENT, MeshHandler
from alephscript.a2a.members import Agent, Member, Members, Unauthorized
from alephscript.client import environment, loops
from alephscript.client.client import AlephScriptClient
from alephscript.doors.listening import address_of, listen
from alephscript.errors import ConnectionRefused, Overloaded, StateError
from alephscript.links.transport import Transport
from alephscript.protocol.events import DEFAULT_URL

__all__ = ["MeshServer"]

_TIMEOUT = 300.0
"""Seconds that a task may take by default."""
_GRACE = 5
"""Seconds that responses may take when the server is to end."""
_MOST_CONNECTIONS = 1000
_MEMBER = "alephscript.member"


class MeshServer:
    """A mesh as A2A agents: an ASGI application.

    ::

        server = MeshServer("http://127.0.0.1:3010")
        asyncio.run(server.serve_http(3008))

    The agent at ``/`` has all capabilities of the mesh as its skills, the one at ``/rooms/ROOM``
    those of a room; each has its card under ``/.well-known/agent-card.json``, and ``GET /`` lists
    them. A message is a request, as a task; progress is the task's status, the answer its artifact.

    Args:
        hub: The hub, as for `alephscript.AlephScriptClient`.
        token: The shared secret to connect with, by default ``ALEPHSCRIPT_TOKEN``. With one,
            requests need one, too: the bearer of a request is the token with which the mesh is
            asked.
        options: Further options of the clients that ask; ``timeout`` is 300 s by default.
    """

    def __init__(
        self, hub: str | Transport = DEFAULT_URL, *, token: str | None = None, **options: Any
    ) -> None:
        given = {"usuario": "a2a-server", "timeout": _TIMEOUT, **options}

        def make_client(token: str | None, **rest: Any) -> AlephScriptClient:
            return AlephScriptClient(hub, token=token, **{**given, **rest})

        if token is None:
            token = os.environ.get(environment.TOKEN) or None
        self._handler = MeshHandler(given["timeout"])
        self._members = Members(make_client, token, self._handler.is_busy)
        self._app = self._make_app()
        self._guarded = Guard(self._app, is_private=not self._members.is_guarded)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as an ASGI application, which has to be told of its lifespan."""
        await self._guarded(scope, receive, send)

    async def serve_http(
        self, port: int, *, host: str = "127.0.0.1", ready: Callable[[str], None] | None = None
    ) -> None:
        """Serve HTTP from the main thread, until SIGINT or SIGTERM.

        Args:
            port: The port, 0 for a free one.
            host: The address to listen on; others than loopback need a token.
            ready: Called with the address as soon as it can be asked.

        Raises:
            OSError: The port cannot be had.
            ConnectionRefused: The hub refuses the token.
            StateError: Others than this machine could ask, without a token.
        """
        import uvicorn

        if not is_loopback(host) and not self._members.is_guarded:
            raise StateError(
                f"{host} is open to others, and nobody has to prove who they are: give a token, or "
                "listen on 127.0.0.1"
            )
        listening = listen(host, port)
        config = uvicorn.Config(
            self,
            access_log=False,
            log_level="warning",
            limit_concurrency=_MOST_CONNECTIONS,
            timeout_graceful_shutdown=_GRACE,
        )
        server = uvicorn.Server(config)
        ending: set[asyncio.Future[None]] = set()

        def drain() -> None:
            server.should_exit = True

        def stop() -> None:
            server.should_exit = True
            ending.add(asyncio.ensure_future(self._handler.close()))  # ends streams, too

        # Its own handlers would end the process by the signal that they were given.
        server.capture_signals = contextlib.nullcontext
        loops.listen(signal.SIGINT, stop)
        loops.listen(signal.SIGTERM, drain)
        with listening:
            if ready is not None:
                ready(address_of(listening))
            serving = asyncio.create_task(server.serve(sockets=[listening]))
            watching = asyncio.create_task(self._members.watch())
            try:
                await asyncio.wait({serving, watching}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                stop()
                await asyncio.wait({serving})
                await asyncio.gather(*ending)
                watching.cancel()
            serving.result()
            if watching.done():
                watching.result()

    # Inside

    def _make_app(self) -> Starlette:
        dispatcher = JsonRpcDispatcher(self._handler, _ContextBuilder(), enable_v0_3_compat=True)

        async def answer(request: Request) -> Response:
            return await dispatcher.handle_requests(request)

        routes = [Route("/", self._for_member(_list_agents), methods=["GET"])]
        for prefix in ("/rooms/{room:path}", ""):  # a room's name may have slashes
            card = prefix + AGENT_CARD_WELL_KNOWN_PATH
            routes.append(Route(card, self._show_card, methods=["GET"]))
            routes += [
                Route(each.path, self._for_member(each.endpoint), methods=list(each.methods or ()))
                for each in create_rest_routes(self._handler, _ContextBuilder(), path_prefix=prefix)
                if isinstance(each, Route)
            ]
            routes.append(Route(prefix or "/", self._for_member(answer), methods=["POST"]))
        return Starlette(routes=routes, lifespan=self._lifespan)

    @contextlib.asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        async with self._members.open():
            try:
                yield
            finally:
                await self._handler.close()

    def _for_member(
        self, answer: Callable[[Request], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        """Have requests of known members answered, and others refused."""

        async def admit(request: Request) -> Response:
            try:
                member = await self._members.find(_bearer_of(request))
            except Unauthorized as error:
                advice = "Authorization: Bearer TOKEN"
                headers = {"WWW-Authenticate": "Bearer"}
                return refuse(401, f"{error}; write {advice}", headers)
            except ConnectionRefused:
                return refuse(503, "there is no hub at the moment", {"Retry-After": "1"})
            except Overloaded as error:
                return refuse(503, error.message, {"Retry-After": "5"})
            request.scope[_MEMBER] = self._agent(request, member)
            await _choose_version(request)
            return await answer(request)

        return admit

    def _agent(self, request: Request, member: Member | None) -> Agent:
        room = request.path_params.get("room", "")
        return Agent(member, room, _url_of(request, room), is_guarded=self._members.is_guarded)

    async def _show_card(self, request: Request) -> Response:
        """Show an agent's card; of a guarded mesh without skills to who has no token."""
        bearer = _bearer_of(request)
        if bearer is None and self._members.is_guarded:
            return await _send_card(request, self._agent(request, None))
        return await self._for_member(_show_full_card)(request)


async def _list_agents(request: Request) -> Response:
    whole: Agent = request.scope[_MEMBER]
    await whole.first_look()
    agents = []
    for room, skills in (("", whole.skills), *sorted(whole.rooms.items())):
        url = _url_of(request, room)
        agents.append(
            {
                "room": room or None,
                "url": url,
                "card": url.rstrip("/") + AGENT_CARD_WELL_KNOWN_PATH,
                "skills": list(skills.by_id),
            }
        )
    return JSONResponse({"agents": agents, "count": len(agents)})


async def _show_full_card(request: Request) -> Response:
    agent: Agent = request.scope[_MEMBER]
    await agent.first_look()
    if agent.room and not agent.skills.by_id:
        return refuse(404, "no master is in this room; GET / lists the agents")
    return await _send_card(request, agent)


async def _send_card(request: Request, agent: Agent) -> Response:
    """Answer with a card, or with nothing to who has it."""
    card = await agent.write_card()
    headers = {"ETag": card.tag}
    if request.headers.get("if-none-match") == card.tag:
        return Response(status_code=304, headers=headers)
    return Response(card.body, headers=headers, media_type="application/json")


class _ContextBuilder(DefaultServerCallContextBuilder):
    """Says to the handler which agent is asked."""

    def build(self, request: Request) -> ServerCallContext:
        context = super().build(request)
        context.state[AGENT] = request.scope[_MEMBER]
        return context


async def _choose_version(request: Request) -> None:
    """Take requests that name no version for those of this one, unless their method is older."""
    if request.headers.get(VERSION_HEADER):
        return
    if request.method == "POST":
        with contextlib.suppress(ValueError):
            body = await request.json()
            method = body.get("method") if isinstance(body, dict) else None
            if isinstance(method, str) and "/" in method:
                return
    request.scope["headers"] = [
        *(each for each in request.scope["headers"] if each[0] != VERSION_HEADER.lower().encode()),
        (VERSION_HEADER.lower().encode(), PROTOCOL_VERSION_1_0.encode()),
    ]
    del request._headers  # noqa: SLF001 - Starlette has read them once


def _bearer_of(request: Request) -> str | None:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def _url_of(request: Request, room: str) -> str:
    base = str(request.base_url).rstrip("/")
    return f"{base}/rooms/{quote(room, safe='')}" if room else f"{base}/"
