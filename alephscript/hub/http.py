"""What the hub serves over plain HTTP: Engine.IO's polling transport, and its pages."""

from __future__ import annotations

import mimetypes
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import msgspec

from alephscript import frames
from alephscript.errors import PayloadTooLarge
from alephscript.frames import ProtocolError
from alephscript.hub.engine import Connection, Engine
from alephscript.hub.pages import Headers, MeshPage

__all__ = ["HubApp", "admission"]

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Reply = tuple[int, bytes, bytes]

_TEXT = b"text/plain; charset=UTF-8"
_JSON = b"application/json"

# Engine.IO's error codes, as stock clients show them.
_UNKNOWN_TRANSPORT = (0, "Transport unknown")
_UNKNOWN_SID = (1, "Session ID unknown")
_BAD_REQUEST = (3, "Bad request")
_FORBIDDEN = (4, "Forbidden")
_OLD_PROTOCOL = (5, "Unsupported protocol version")


def admission(origins: Sequence[str] | str) -> Callable[[str | None, str | None], bool]:
    """Who may connect: whoever sends no Origin (no browser), the hub's own pages, ``origins``.

    Args:
        origins: Further origins; ``"*"`` for all.
    """
    allowed = {origins} if isinstance(origins, str) else set(origins)

    def admit(origin: str | None, host: str | None) -> bool:
        # Proxies' headers are not asked: anybody can send them.
        return (
            origin is None
            or "*" in allowed
            or origin in allowed
            or (host is not None and origin in (f"http://{host}", f"https://{host}"))
        )

    return admit


class HubApp:
    """The ASGI application.

    Args:
        engine: Where connections are.
        admit: Who may connect.
        admin_ui: Folder of the Admin UI's pages, served under ``/admin-ui``; None serves none.
        mesh_page: What is served at ``/``; None serves nothing there.
    """

    def __init__(
        self,
        engine: Engine,
        admit: Callable[[str | None, str | None], bool],
        admin_ui: Path | None = None,
        mesh_page: MeshPage | None = None,
    ) -> None:
        self._mesh_page = mesh_page
        self._admin_ui = admin_ui
        self._engine = engine
        self._admit = admit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        if self._mesh_page is not None:
            known = headers.get(b"if-none-match", "")
            page = self._mesh_page.answer(scope["path"], known)
            if page is not None:
                return await _send(send, *page)
        origin = headers.get(b"origin")
        admitted = self._admit(origin, headers.get(b"host"))
        if scope["path"].rstrip("/") != "/socket.io":
            status, kind, body = self._page(scope["path"])
        elif admitted:
            status, kind, body = await self._polling(scope, receive)
        else:
            status, kind, body = _refused(_FORBIDDEN)
        answer = [(b"content-type", kind), (b"cache-control", b"no-store")]
        if origin is not None and admitted:
            answer += [
                (b"access-control-allow-origin", origin.encode("latin-1")),
                (b"access-control-allow-credentials", b"true"),
                (b"access-control-allow-headers", b"content-type"),
                (b"vary", b"Origin"),
            ]
        await _send(send, status, answer, body)

    def _page(self, path: str) -> Reply:
        if path == "/healthz":
            body = {"status": "ok", "clients": len(self._engine.connections)}
            return 200, _JSON, msgspec.json.encode(body)
        if path == "/mesh":
            return 200, _JSON, msgspec.json.encode(self._engine.snapshot())
        if self._admin_ui is not None and path.startswith("/admin-ui"):
            return _file(self._admin_ui, path.removeprefix("/admin-ui"))
        return _NO_PAGE

    async def _polling(self, scope: Scope, receive: Receive) -> Reply:
        if scope["method"] == "OPTIONS":
            return 204, _TEXT, b""
        found = self._addressed(scope)
        if not isinstance(found, Connection):
            return _refused(found)
        try:
            if scope["method"] == "GET":
                wait = self._engine.ping_interval + self._engine.ping_timeout
                return 200, _TEXT, await found.poll(wait)
            body = await _body(receive, self._engine.max_bytes)
            for message in frames.split_polling(body):
                found.receive(message)
        except (ProtocolError, PayloadTooLarge) as error:
            found.close(str(error))
            return _refused(_BAD_REQUEST)
        return 200, _TEXT, b"ok"

    def _addressed(self, scope: Scope) -> Connection | tuple[int, str]:
        """The connection that a request is about, or why there is none."""
        query = parse_qs(scope["query_string"].decode("latin-1"))
        if query.get("EIO") != ["4"]:
            return _OLD_PROTOCOL
        if query.get("transport") != ["polling"]:
            return _UNKNOWN_TRANSPORT
        if scope["method"] not in ("GET", "POST"):
            return _BAD_REQUEST
        if "sid" in query:
            return self._engine.connections.get(query["sid"][0], _UNKNOWN_SID)
        if scope["method"] == "POST":
            return _BAD_REQUEST
        return self._engine.open(upgrades=("websocket",))


def _file(folder: Path, path: str) -> Reply:
    """A file of a folder, and of nothing outside it."""
    if not path:
        # Its pages name their parts relative to a folder.
        return 200, b"text/html", b'<meta http-equiv="refresh" content="0; url=/admin-ui/">'
    wanted = (folder / path.lstrip("/")).resolve()
    if wanted == folder:
        wanted /= "index.html"
    if not wanted.is_relative_to(folder) or not wanted.is_file():
        return _NO_PAGE
    kind, _ = mimetypes.guess_type(wanted.name)
    return 200, (kind or "application/octet-stream").encode(), wanted.read_bytes()


_NO_PAGE: Reply = (404, _JSON, msgspec.json.encode({"error": "there is no such page"}))


async def _send(send: Send, status: int, headers: Headers, body: bytes) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _body(receive: Receive, most: int) -> bytes:
    body = bytearray()
    while True:
        event = await receive()
        body += event.get("body", b"")
        if len(body) > most:
            raise PayloadTooLarge(f"a body is at most {most} bytes")
        if not event.get("more_body"):
            return bytes(body)


def _refused(reason: tuple[int, str]) -> Reply:
    code, message = reason
    return 400, _JSON, msgspec.json.encode({"code": code, "message": message})
