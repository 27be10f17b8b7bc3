"""The hub's plain HTTP: Engine.IO's polling transport, and pages.

May go in: which answer a request gets. May not: what a client's messages mean (`connection`), or
whose requests are taken (`admission`).
"""

from __future__ import annotations

import mimetypes
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import msgspec

from alephscript.errors import InvalidPayload, PayloadTooLarge
from alephscript.hub import live, metrics
from alephscript.hub.admission import Admit
from alephscript.hub.bearers import Bearers
from alephscript.hub.bodies import Body, Receive
from alephscript.hub.connection import Connection
from alephscript.hub.engine import Engine
from alephscript.hub.pages import Headers, MeshPage
from alephscript.hub.rest.paths import find_route
from alephscript.hub.rest.rest import Rest, Visit
from alephscript.hub.senders import Senders
from alephscript.hub.sockets.lobby import Arrival
from alephscript.hub.turns import AT_ONCE, TURN_SECONDS
from alephscript.mesh.access import Handshake
from alephscript.protocol import events, packets
from alephscript.protocol.json import write_json
from alephscript.protocol.packets import ProtocolError

__all__ = ["HubApp"]

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Reply = tuple[int, bytes, bytes]

_TEXT = b"text/plain; charset=UTF-8"
_JSON = b"application/json"

# Engine.IO's error codes, as stock clients show them.
_UNKNOWN_TRANSPORT = (0, "Transport unknown")
_NO_POLLING = (0, "Transport unknown: this hub serves websockets only")
_UNKNOWN_SID = (1, "Session ID unknown")
_BAD_REQUEST = (3, "Bad request")
_FORBIDDEN = (4, "Forbidden")
_OLD_PROTOCOL = (5, "Unsupported protocol version")
_FULL = (3, "The hub is full")
_DRAINING = (3, "The hub is closing")


class HubApp:
    """The ASGI application.

    Args:
        engine: The hub's connections.
        admit: Says whose requests are taken; see `alephscript.hub.admission`.
        senders: Says of which session's program a request is.
        polling: Whether polling is served.
        admin_ui: Folder of the Admin UI's pages, served under ``/admin-ui``; None serves none.
        mesh_page: The page that is served at ``/``; None serves nothing there.
        is_private: Whether only programs on this machine can ask, so that all may be shown.
    """

    def __init__(
        self,
        engine: Engine,
        admit: Admit,
        senders: Senders,
        *,
        polling: bool = True,
        admin_ui: Path | None = None,
        mesh_page: MeshPage | None = None,
        is_private: bool = True,
    ) -> None:
        self._mesh_page = mesh_page
        self._polls = polling
        self._admin_ui = admin_ui
        self._engine = engine
        self._admit = admit
        self._senders = senders
        self._is_private = is_private
        self._bearers = Bearers(engine)
        self._rest = Rest(engine, self._bearers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        arrival: Arrival = scope["state"]["arrival"]
        try:
            await self._answer(scope, receive, send, arrival)
        finally:
            arrival.rest()

    async def _answer(self, scope: Scope, receive: Receive, send: Send, arrival: Arrival) -> None:
        headers = {
            name.decode("latin-1").lower(): value.decode("latin-1")
            for name, value in scope["headers"]
        }
        origin = headers.get("origin")
        refusal = self._admit(headers)
        is_last = False  # of this socket
        if self._mesh_page is not None and refusal is None:
            page = self._mesh_page.answer(scope["path"], headers.get("if-none-match", ""))
            if page is not None:
                await _send(send, *page)
                return
        if scope["path"].rstrip("/") != "/socket.io":
            try:
                route = find_route(scope)
            except InvalidPayload as error:
                await _send(send, 400, [(b"content-type", _JSON)], write_json(error.answer()))
                return
            if route is not None:
                visit = Visit(scope, receive, headers, arrival, refusal)
                await self._rest.answer(route, visit, send)
                return
            arrival.pause()
            status, kind, body = await self._page(scope, headers, refusal)
            arrival.resume()
        elif refusal is None:
            status, kind, body = await self._polling(scope, receive, headers, arrival)
            is_last = bool(self._engine.id_mark)
        else:
            status, kind, body = _refuse(_FORBIDDEN)
        answer = [(b"content-type", kind), (b"cache-control", b"no-store")]
        if is_last:  # the next one may be of a session of another worker
            answer.append((b"connection", b"close"))
        if status == _UNAUTHORIZED[0]:
            answer.append((b"www-authenticate", b"Bearer"))
        if origin is not None and refusal is None:
            answer += [
                (b"access-control-allow-origin", origin.encode("latin-1")),
                (b"access-control-allow-credentials", b"true"),
                (b"access-control-allow-headers", b"content-type"),
                (b"vary", b"Origin"),
            ]
        await _send(send, status, answer, body)

    async def _page(self, scope: Scope, headers: Mapping[str, str], refusal: str | None) -> Reply:
        path = scope["path"]
        if path == "/healthz":
            body = {"status": "ok", "clients": len(self._engine.connections)}
            return 200, _JSON, msgspec.json.encode(body)
        if path == "/readyz":
            why_not = self._engine.why_not_ready
            body = {"status": "ready"} if why_not is None else {"status": why_not}
            if self._engine.trouble is not None:
                body["journal"] = "trouble"  # which one is not for everybody: see /mesh
            return 200 if why_not is None else 503, _JSON, msgspec.json.encode(body)
        if refusal is not None:
            return 403, _JSON, msgspec.json.encode({"error": refusal})
        if path in ("/mesh", "/mesh/members", "/metrics"):
            if not await self._may_see(scope, headers):
                return _UNAUTHORIZED
            if path == "/metrics":
                return 200, *metrics.page(self._engine)
            is_whole = path == "/mesh"
            told = self._engine.snapshot() if is_whole else live.tell_members(self._engine)
            return 200, _JSON, msgspec.json.encode(told)
        if path == "/mesh/live":
            return await self._live(scope, headers)
        if self._admin_ui is not None and path.startswith("/admin-ui"):
            return _file(self._admin_ui, path.removeprefix("/admin-ui"))
        return _NO_PAGE

    async def _live(self, scope: Scope, headers: Mapping[str, str]) -> Reply:
        """Answer with what is new, as far as the sender of a request may see it."""
        access = self._engine.access
        identity = None
        if access is not None:
            identity = await self._bearers.find(Handshake(events.RUNTIME, _address(scope), headers))
            is_known, has_figures = identity is not None, identity is not None and identity.is_admin
        else:
            is_known = has_figures = self._is_private
        if not is_known:
            return _UNAUTHORIZED
        query = parse_qs(scope["query_string"].decode("latin-1"))
        sight = live.make_sight(access, identity)
        told = live.tell_live(self._engine, query, sight, has_figures=has_figures)
        return 200, _JSON, msgspec.json.encode(told)

    async def _may_see(self, scope: Scope, headers: Mapping[str, str]) -> bool:
        """Say whether the sender of a request may see the whole hub."""
        access = self._engine.access
        if access is None:
            return self._is_private
        handshake = Handshake("/admin", _address(scope), headers)
        return await self._bearers.find(handshake) is not None

    async def _polling(
        self, scope: Scope, receive: Receive, headers: Mapping[str, str], arrival: Arrival
    ) -> Reply:
        if scope["method"] == "OPTIONS":
            return 204, _TEXT, b""
        connection = self._find_connection(scope, headers, arrival)
        if not isinstance(connection, Connection):
            return _refuse(connection)
        arrival.session = connection
        try:
            if scope["method"] == "GET":
                wait = self._engine.ping_interval + self._engine.ping_timeout
                arrival.is_polling = True
                arrival.pause()
                body = await connection.poll(wait)
                arrival.resume()
                return 200, _TEXT, body
            connection.is_posting = True
            body = await Body(self._engine, arrival).read(receive)
            await self._take(connection, packets.split_polling(body))
            connection.is_posting = False
        except (ProtocolError, PayloadTooLarge) as error:
            if isinstance(error, PayloadTooLarge):
                self._engine.refusals["message_bytes"] += 1
            connection.close(str(error))
            return _refuse(_BAD_REQUEST)
        return 200, _TEXT, b"ok"

    async def _take(self, connection: Connection, messages: list[bytes]) -> None:
        """Hand over messages, in turns; a closed connection takes nothing."""
        until = time.monotonic() + TURN_SECONDS
        for start in range(0, len(messages), AT_ONCE):
            if start and time.monotonic() >= until:
                until = await self._engine.turns.come()
            if connection.closed:
                return
            for message in messages[start : start + AT_ONCE]:
                connection.receive(message)

    def _find_connection(
        self, scope: Scope, headers: Mapping[str, str], arrival: Arrival
    ) -> Connection | tuple[int, str]:
        """Find or open the connection that a request is about; or return why there is none."""
        query = parse_qs(scope["query_string"].decode("latin-1"))
        if query.get("EIO") != ["4"]:
            return _OLD_PROTOCOL
        if query.get("transport") != ["polling"]:
            return _UNKNOWN_TRANSPORT
        if not self._polls:
            return _NO_POLLING
        if scope["method"] not in ("GET", "POST"):
            return _BAD_REQUEST
        if "sid" in query:
            return self._find_session(query["sid"][0], scope, headers, arrival)
        if scope["method"] == "POST":
            return _BAD_REQUEST
        if self._engine.is_draining:
            return _DRAINING
        if self._engine.is_full:
            self._engine.refusals["connections"] += 1
            return _FULL
        handshake = None
        if self._engine.access is not None:
            handshake = Handshake("", _address(scope), headers)
        opened = self._engine.open(handshake, upgrades=("websocket",))
        opened.sender = self._senders.find(arrival.address, headers)
        return opened

    def _find_session(
        self, sid: str, scope: Scope, headers: Mapping[str, str], arrival: Arrival
    ) -> Connection | tuple[int, str]:
        connection = self._engine.connections.get(sid)
        if connection is None:
            return _UNKNOWN_SID
        if not self._senders.is_of(connection, arrival.address, headers):
            self._engine.refusals["sender"] += 1
            return _UNKNOWN_SID  # the same words: they tell nobody that there is one
        if scope["method"] == "POST" and connection.is_posting:
            connection.close("two bodies at once")  # as stock hubs do
        is_open = not (connection.closed or connection.upgraded)
        return connection if is_open else _BAD_REQUEST


def _file(folder: Path, path: str) -> Reply:
    """Answer with a file of a folder; files outside it are not found."""
    if not path:
        # Its pages name their parts relative to a folder.
        return 200, b"text/html", b'<meta http-equiv="refresh" content="0; url=admin-ui/">'
    file = (folder / path.lstrip("/")).resolve()
    if file == folder:
        file /= "index.html"
    if not file.is_relative_to(folder) or not file.is_file():
        return _NO_PAGE
    kind, _ = mimetypes.guess_type(file.name)
    return 200, (kind or "application/octet-stream").encode(), file.read_bytes()


def _address(scope: Scope) -> str:
    client = scope.get("client")
    return client[0] if client else ""


_UNAUTHORIZED: Reply = (
    401,
    _JSON,
    msgspec.json.encode({"error": "this needs `Authorization: Bearer TOKEN` of one who may"}),
)
_NO_PAGE: Reply = (404, _JSON, msgspec.json.encode({"error": "there is no such page"}))


async def _send(send: Send, status: int, headers: Headers, body: bytes) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _refuse(reason: tuple[int, str]) -> Reply:
    code, message = reason
    return 400, _JSON, msgspec.json.encode({"code": code, "message": message})
