"""What is asked of every HTTP request before A2A reads it: bounded, of JSON, from no strange page.

May go in: refusals that need no A2A. May not: who asks (`members`), what is asked (`handler`).
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.responses import JSONResponse

from alephscript.protocol.json import is_shallow_utf8

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["Guard", "is_loopback", "refuse"]

_MOST_BYTES = 4_000_000
"""Bytes of a body."""
_MOST_SECONDS = 20.0
"""Seconds that a body may take."""
_WRITE_TYPE = "the body is JSON: write Content-Type: application/json"


class Guard:
    """An ASGI application around another one, which sees bodies whole or not at all.

    Args:
        app: The application.
        is_private: Whether only names of this machine may be asked, as any page can give its own
            name this machine's address (DNS rebinding).
    """

    def __init__(self, app: ASGIApp, *, is_private: bool) -> None:
        self._app = app
        self._is_private = is_private

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = scope["headers"]
        headers = {name.decode("latin-1"): each.decode("latin-1") for name, each in given}
        refusal = self._look(headers)
        if refusal is None and scope["method"] not in ("GET", "HEAD"):
            try:
                body = await _take(receive, headers)
            except ConnectionError:
                return
            if isinstance(body, bytes):
                receive = _give(body, receive)
            else:
                refusal = body
        await (refusal or self._app)(scope, receive, send)

    def _look(self, headers: Mapping[str, str]) -> JSONResponse | None:
        host, origin = headers.get("host", ""), headers.get("origin")
        if self._is_private and not is_loopback(_name(host)):
            return refuse(403, "this address answers to names of this machine only")
        if origin is not None and origin not in (f"http://{host}", f"https://{host}"):
            return refuse(403, "pages of other origins cannot ask here")
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind not in ("", "application/json", "application/a2a+json"):
            return refuse(415, _WRITE_TYPE)
        return None


async def _take(receive: Receive, headers: Mapping[str, str]) -> bytes | JSONResponse:
    """Read a body, or make the response that refuses it.

    Raises:
        ConnectionError: The request broke off.
    """
    try:
        async with asyncio.timeout(_MOST_SECONDS):
            body = await _read(receive)
    except TimeoutError:
        return refuse(408, f"a body has to be here within {_MOST_SECONDS:g} s")
    except _TooLarge:
        return refuse(413, f"a body has at most {_MOST_BYTES} bytes")
    if body and not headers.get("content-type", "").strip():
        return refuse(415, _WRITE_TYPE)
    if not is_shallow_utf8(body):
        return refuse(400, "a body is UTF-8, and nested no deeper than 64 levels")
    return body


def _give(body: bytes, receive: Receive) -> Receive:
    """Make what gives a body that was read, and then what else comes."""
    is_given = False

    async def give() -> Message:
        nonlocal is_given
        if is_given:
            return await receive()
        is_given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return give


def refuse(status: int, why: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """Make a response that says why a request is refused."""
    return JSONResponse({"error": why}, status, headers)


class _TooLarge(Exception):
    pass


async def _read(receive: Receive) -> bytes:
    """Read a body.

    Raises:
        _TooLarge: The body is larger than any may be.
        ConnectionError: The request broke off.
    """
    body = bytearray()
    while True:
        event = await receive()
        if event["type"] == "http.disconnect":
            raise ConnectionError
        body += event.get("body", b"")
        if len(body) > _MOST_BYTES:
            raise _TooLarge
        if not event.get("more_body"):
            return bytes(body)


def _name(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def is_loopback(name: str) -> bool:
    """Whether a host is this machine, by a name that nobody else can have."""
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
