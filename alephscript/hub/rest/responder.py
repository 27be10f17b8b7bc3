"""Answers by HTTP: statuses, headers, and streams of server-sent events.

May go in: how an answer is written. May not: what it says.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from typing import Any

import msgspec

from alephscript.errors import AlephScriptError, RequestError, http_status
from alephscript.hub.rest.visitor import End, VisitEnded

__all__ = ["NotTaken", "Responder", "Send", "write_event"]

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_RETRY_SECONDS = b"2"
"""When to ask again: by then a queue has moved, and another hub may have taken over."""

_BESIDE = {
    401: (b"www-authenticate", b"Bearer"),
    429: (b"retry-after", _RETRY_SECONDS),
    503: (b"retry-after", _RETRY_SECONDS),
}
"""Headers that belong to a status."""

_METHODS = b"GET, HEAD, POST, OPTIONS"
_HEADERS = b"authorization, content-type, last-event-id, traceparent, tracestate"
_PREFLIGHT_SECONDS = b"600"

_COMMENT = b": \n\n"


class NotTaken(AlephScriptError):
    """A request by HTTP is not taken, before the mesh sees it.

    Attributes:
        status: The HTTP status.
        code: A word for the reason.
        message: A sentence for a person.
        headers: Headers that belong to the status.
    """

    def __init__(
        self, status: int, code: str, message: str, headers: Mapping[bytes, bytes] | None = None
    ) -> None:
        super().__init__(status, message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers or {}


class Responder:
    """The answer to one request.

    Args:
        send: ASGI's.
        origin: The origin of the page that asks, if it may; None for none.
        closes: Whether the server can be told to close the socket behind the answer.
        patience: Seconds that a client may take to read some of a stream.

    Attributes:
        is_begun: Whether something has been sent.
    """

    def __init__(self, send: Send, origin: str | None, *, closes: bool, patience: float) -> None:
        self._send = send
        self.is_begun = False
        self._closes = closes
        self._patience = patience
        self._shared = [(b"cache-control", b"no-store")]
        if origin is not None:
            self._shared += [
                (b"access-control-allow-origin", origin.encode("latin-1")),
                (b"access-control-allow-credentials", b"true"),
                (b"access-control-expose-headers", b"retry-after, www-authenticate"),
                (b"vary", b"Origin"),
            ]

    async def give(
        self,
        status: int,
        body: bytes,
        headers: Mapping[bytes, bytes] | None = None,
        *,
        last: bool = False,
    ) -> None:
        """Give an answer in JSON.

        Args:
            status: The HTTP status.
            body: The JSON text; empty for none.
            headers: Further headers.
            last: Whether the socket is of no use any more: the request's body was not all read.
        """
        fields = [*self._shared, *(headers or {}).items()]
        if body:
            fields.append((b"content-type", b"application/json"))
        if status != 204:  # noqa: PLR2004 - No Content
            fields.append((b"content-length", b"%d" % len(body)))
        if last and self._closes:
            fields.append((b"connection", b"close"))
        if status in _BESIDE:
            fields.append(_BESIDE[status])
        await self._begin(status, fields)
        await self._send({"type": "http.response.body", "body": body})

    async def _begin(self, status: int, fields: Sequence[tuple[bytes, bytes]]) -> None:
        self.is_begun = True
        await self._send({"type": "http.response.start", "status": status, "headers": fields})

    async def tell(self, value: Any, status: int = 200) -> None:
        """Give JSON values."""
        await self.give(status, msgspec.json.encode(value))

    async def fail(self, error: RequestError, status: int | None = None) -> None:
        """Give the failure that the mesh would answer."""
        body = msgspec.json.encode(error.answer())
        await self.give(http_status(error) if status is None else status, body)

    async def refuse(self, reason: NotTaken, *, last: bool = False) -> None:
        """Say why a request is not taken, in the shape of an answer."""
        body = {
            "success": False,
            "error": reason.message,
            "code": reason.code,
            "retryable": False,
            "details": [],
        }
        await self.give(reason.status, msgspec.json.encode(body), reason.headers, last=last)

    async def allow(self, methods: Sequence[str]) -> None:
        """Tell a browser, or anybody, which methods and headers there are."""
        await self.give(
            204,
            b"",
            {
                b"allow": ", ".join(methods).encode(),
                b"access-control-allow-methods": _METHODS,
                b"access-control-allow-headers": _HEADERS,
                b"access-control-max-age": _PREFLIGHT_SECONDS,
            },
        )

    async def begin_stream(self) -> None:
        """Begin a stream of server-sent events."""
        fields = [
            *self._shared,
            (b"content-type", b"text/event-stream"),
            (b"x-accel-buffering", b"no"),  # a proxy would keep events back
        ]
        await self._begin(200, fields)
        await self.write(_COMMENT)  # what comes first makes servers and proxies send the head

    async def write(self, data: bytes) -> None:
        """Write some of a stream; waits while the client does not read.

        Raises:
            VisitEnded: The client has read nothing for too long.
        """
        try:
            async with asyncio.timeout(self._patience):
                await self._send({"type": "http.response.body", "body": data, "more_body": True})
        except TimeoutError:
            raise VisitEnded(End.SLOW) from None

    async def keep_alive(self) -> None:
        """Write what means nothing, so that nobody takes the stream for dead."""
        await self.write(_COMMENT)

    async def end_stream(self) -> None:
        """End a stream."""
        await self._send({"type": "http.response.body", "body": b""})


def write_event(name: str, data: bytes | msgspec.Raw, id: str = "") -> bytes:
    """Write a server-sent event.

    Args:
        name: Its name, without line ends; empty for none.
        data: JSON text.
        id: Its id; empty for none.
    """
    # Line ends of JSON text are between values, where a space means the same.
    text = bytes(data).replace(b"\r", b" ").replace(b"\n", b" ")
    lines = [b"event: " + name.encode()] if name else []
    if id:
        lines.append(b"id: " + id.encode())
    if text:
        lines.append(b"data: " + text)
    return b"\n".join(lines) + b"\n\n"
