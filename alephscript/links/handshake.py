"""Opening a websocket to a hub: its socket, and the handshake over it.

May go in: how a websocket is asked for and granted. May not: frames (`protocol.websocket`), what is
done with an open websocket (`links.websocket`).

Redirects are not followed: a client's credentials are meant for the hub that it was given.
"""

from __future__ import annotations

import asyncio
import os
import re
import ssl
from collections.abc import Callable
from typing import Generic, TypeVar, cast
from urllib.parse import urlsplit

from alephscript.protocol.events import NAMESPACES
from alephscript.protocol.names import did_you_mean, find_near
from alephscript.protocol.websocket import check_handshake, write_handshake

__all__ = ["advise", "open_websocket", "reason_in"]

_LONGEST_HEAD = 65_536
"""Bytes of an answer to the handshake; more of them come from no websocket server."""

P = TypeVar("P", bound=asyncio.Protocol)


async def open_websocket(
    url: str, tls: ssl.SSLContext | None, make_protocol: Callable[[asyncio.Transport], P]
) -> P:
    """Open a websocket and hand its transport over.

    Args:
        url: Its address, ``ws://…`` or ``wss://…``.
        tls: The context that a certificate is checked with; None takes Python's default.
        make_protocol: Called with the transport when the websocket is granted. The protocol that
            it returns is then fed with what follows the handshake.

    Returns:
        That protocol.

    Raises:
        OSError: Nothing listens there, or what listens grants no websocket.
        ValueError: The address is not valid.
    """
    address = urlsplit(url)
    secure = address.scheme == "wss"
    host = address.netloc.rpartition("@")[2].encode("idna").decode()
    handshake = _Handshake(host, f"{address.path}?{address.query}", make_protocol)
    try:
        await asyncio.get_running_loop().create_connection(
            lambda: handshake,
            address.hostname or "",
            address.port or (443 if secure else 80),
            ssl=(tls or True) if secure else None,
        )
        return await handshake.granted
    except BaseException:
        handshake.abort()
        raise


class _Handshake(asyncio.Protocol, Generic[P]):
    """Asks for a websocket, and makes another protocol of the transport when that is granted.

    Attributes:
        granted: The other protocol, or why there is none.
    """

    def __init__(
        self, host: str, target: str, make_protocol: Callable[[asyncio.Transport], P]
    ) -> None:
        self.granted: asyncio.Future[P] = asyncio.get_running_loop().create_future()
        self._make_protocol = make_protocol
        self._key = os.urandom(16)
        self._request = write_handshake(host, target, self._key)
        self._head = b""
        self._transport: asyncio.Transport | None = None

    def abort(self) -> None:
        """Close the socket, whatever became of the handshake."""
        self.granted.cancel()
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is no subclass
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if self.granted.done() or self._transport is None:
            return  # the handshake has failed already, or was given up
        head, end, rest = (self._head + data).partition(b"\r\n\r\n")
        if not end:
            self._head = head
            if len(head) > _LONGEST_HEAD:
                self.granted.set_exception(
                    ConnectionError("the answer to the handshake has no end")
                )
            return
        try:
            check_handshake(head, self._key)
        except ConnectionError as exc:
            self.granted.set_exception(ConnectionError(f"{exc}{reason_in(rest)}"))
            return
        protocol = self._make_protocol(self._transport)
        self._transport.set_protocol(protocol)
        self.granted.set_result(protocol)
        protocol.data_received(rest)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.granted.done():
            self.granted.set_exception(
                exc or ConnectionResetError("the hub hung up during the handshake")
            )


def advise(error: object, path: str = "") -> str:
    """Say what to do about an error of an address, by its text; empty for any other error.

    Args:
        error: The error with which opening ended.
        path: The path of the hub's address.
    """
    text = str(error)
    if path and re.search(r"\b40[04]\b", text):
        near = did_you_mean(find_near(path, NAMESPACES))
        return (
            near[2:] or f"there is no hub under the path {path}; a namespace is given as namespace="
        )
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return "give the authority that signed its certificate as tls=ssl.create_default_context(…)"
    return "a hub without TLS is there: try http://" if "[SSL" in text else ""


def reason_in(body: bytes) -> str:
    """Read why an opening was refused, as Engine.IO's hubs tell it; empty if it does not say."""
    match = re.search(rb'"message":"([ -!#-\[\]-~]{1,100})"', body)
    return "" if match is None else f" ({match[1].decode()})"
