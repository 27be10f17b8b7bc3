"""The link over python-socketio's AsyncClient, for polling (decision 0009).

May go in: everything that concerns python-socketio; no other file of a client imports it. May not:
what also holds for other links.

The library's transport, handshake and packets are used. Its acknowledgement table, its handler
tasks and its reconnection are not: they lose requests when the link drops, hide failures and die
silently. A fresh AsyncClient serves each link. The link has ended when its
disconnect event comes or when one of its loops ends, whichever is first: the event can be missing,
and a loop can wait for the other in vain.

Foreign private names used here (each has a test in ``tests/links/test_socketio_facts.py``):
``_handle_event``, ``_handle_ack``, ``_handle_error``, ``_handle_disconnect``,
``_handle_eio_disconnect``, ``packet_class``, ``_engineio_client_class``, ``_get_engineio_url``, and
of asyncio's queue ``_queue``.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import ssl
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import aiohttp
import engineio
import engineio.packet
import socketio
import socketio.exceptions
import socketio.packet

from alephscript.errors import ConnectionRefused, NotConnected, PayloadTooLarge, RequestError
from alephscript.links.address import parse_address
from alephscript.links.binary import FORMLESS_ANSWER, refuse_event
from alephscript.links.handshake import advise, reason_in
from alephscript.links.transport import CLOSE_SECONDS, OLD_PROTOCOL, Link, Receiver
from alephscript.protocol import packets
from alephscript.protocol.json import parse_json, write_json
from alephscript.protocol.packets import Kind

__all__ = ["SocketIOTransport"]

# python-socketio logs every payload at INFO; a program that wants that lowers this logger's level.
_quiet = logging.getLogger("alephscript.socketio")
_quiet.setLevel(logging.ERROR)


class SocketIOTransport:
    """The maker of links by python-socketio to one hub.

    Args:
        url: The hub's address, ``http://127.0.0.1:3010``.
        transports: ``websocket``, ``polling`` or both, tried polling first.
        tls: The context that an ``https`` hub's certificate is checked with.
    """

    def __init__(
        self,
        url: str,
        *,
        transports: Sequence[str] = ("websocket",),
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._address = parse_address(url)
        self.url = str(self._address)
        self._tls = tls
        self._transports = list(transports)

    async def connect(
        self, receiver: Receiver, *, namespace: str, auth: Mapping[str, Any] | None, timeout: float
    ) -> Link:
        """Open a link; see `alephscript.links.transport.Transport.connect`."""
        client = _Client(receiver, namespace, self._tls)
        opening = asyncio.ensure_future(
            client.connect(
                self._address.url,
                auth=dict(auth or {}),
                transports=self._transports,
                namespaces=[namespace],
                wait_timeout=timeout,
            )
        )
        # The library waits for a namespace even when the connection under it is gone.
        ended = asyncio.ensure_future(client.ended.wait())
        # Not asyncio.timeout: python-engineio swallows cancellation in places.
        try:
            await asyncio.wait(
                {opening, ended}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED
            )
        except asyncio.CancelledError:
            await client.abandon(opening)
            raise
        finally:
            ended.cancel()
        done = opening.done() and not opening.cancelled()
        error = opening.exception() if done else None
        hung_up = client.ended.is_set()
        if done and error is None:
            return _SocketIOLink(client)
        await client.abandon(opening)
        if client.has_old_hub:
            raise ConnectionRefused(self.url, OLD_PROTOCOL, fatal=True) from error
        if client.refusal is not None:
            raise ConnectionRefused(self.url, client.refusal, fatal=True) from error
        silence = f"the hub was silent for {timeout:g} s"
        reason = error or ("the hub closed the connection" if hung_up else silence)
        advice = advise(error, self._address.path)
        raise ConnectionRefused(self.url, f"{reason}{client.reason}", advice) from error


_OLD_GREETING = re.compile(rb"[0-9]+:0\{")
"""The first answer of a hub of Engine.IO 3, which counts the characters of each message."""
_MAX_PAYLOAD = re.compile(rb'"maxPayload":([0-9]{1,15})')

_IDLE_SECONDS = 3.0
"""Seconds that an idle socket is kept: fewer than a server's five. A request that meets a socket
which the server is just closing is lost."""

_POST_MESSAGES = 16
"""A python-engineio server drops a body of more messages, all of it (decision 0007)."""


class _Queue(asyncio.Queue[Any]):
    """The queue of packets to be sent, which the library empties into one body.

    After as many as a hub takes in one body the queue pretends to be empty.

    Args:
        engine: The client, which knows how much a body may hold.
    """

    def __init__(self, engine: _Engine) -> None:
        super().__init__()
        self._engine = engine
        self._packets = self._bytes = 0

    async def get(self) -> Any:
        self._packets = self._bytes = 0
        return await super().get()

    def get_nowait(self) -> Any:
        if self.empty():
            raise asyncio.QueueEmpty
        first = self._queue[0]  # type: ignore[attr-defined]
        size = 0 if first is None else len(first.encode(b64=True).encode()) + 1
        if self._packets and (
            self._packets == _POST_MESSAGES or self._bytes + size > self._engine.max_bytes
        ):
            raise asyncio.QueueEmpty
        self._packets += 1
        self._bytes += size
        return super().get_nowait()


class _Engine(engineio.AsyncClient):  # type: ignore[misc]
    """The library's Engine.IO client; it asks where all other links do.

    Its bodies are as large as the hub takes them, no larger.
    """

    max_bytes = 1_000_000  # the default of stock hubs

    def create_queue(self, *_: Any, **__: Any) -> _Queue:
        return _Queue(self)

    def _get_engineio_url(
        self,
        url: str,
        engineio_path: str,  # noqa: ARG002 - the library's signature
        transport: Literal["websocket", "polling"],
    ) -> str:
        return parse_address(url).endpoint(transport)


class _Client(socketio.AsyncClient):  # type: ignore[misc]
    """An AsyncClient that hands packets over instead of running handlers."""

    def __init__(
        self, receiver: Receiver, namespace: str, tls: ssl.SSLContext | None = None
    ) -> None:

        async def make_http_session() -> aiohttp.ClientSession:
            connector = aiohttp.TCPConnector(
                ssl=True if tls is None else tls, keepalive_timeout=_IDLE_SECONDS
            )
            return aiohttp.ClientSession(
                connector=connector, middlewares=(_refuse_redirect, self._read_greeting)
            )

        super().__init__(
            http_session=make_http_session,
            reconnection=False,
            handle_sigint=False,
            logger=_quiet,
            engineio_logger=_quiet,
            serializer=_Packet,
        )
        self.receiver = receiver
        self.namespace = namespace
        self.refusal: str | None = None
        self.ended = asyncio.Event()
        self.has_old_hub = False
        self.reason = ""
        self._ending: asyncio.Future[None] | None = None

    @property
    def max_bytes(self) -> int:
        """The largest message that the hub takes, and the largest body."""
        return int(self.eio.max_bytes)

    def _engineio_client_class(self) -> type[engineio.AsyncClient]:
        return _Engine

    async def _read_greeting(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        """Read of a hub's first answer what the library does not."""
        response = await handler(request)
        if "sid" not in request.url.query and "websocket" not in request.url.query.values():
            greeting = await response.read()  # kept by the response for the library
            self.reason = reason_in(greeting)
            self.has_old_hub = _OLD_GREETING.match(greeting) is not None
            size = _MAX_PAYLOAD.search(greeting)
            if size is not None:
                self.eio.max_bytes = int(size[1])
        elif request.method == "POST":
            await response.read()  # the library does not, and an answer in two pieces stays open
        return response

    async def _handle_event(self, namespace: str | None, id: int | None, data: Any) -> None:
        if (namespace or "/") != self.namespace:
            return
        if data is _BINARY:
            refuse_event(self.acknowledge, id)
        else:
            self.receiver.received(write_json(data), id)

    async def _handle_ack(self, namespace: str | None, id: int, data: Any) -> None:
        if (namespace or "/") == self.namespace:
            has_form = isinstance(data, list)  # neither unreadable nor `_BINARY`
            self.receiver.acknowledged(id, write_json(data) if has_form else FORMLESS_ANSWER)

    def acknowledge(self, ack: int, payload: bytes) -> None:
        """Answer an event; see `alephscript.links.transport.Link`."""
        if self.eio.state == "connected":
            self.put(Kind.ACK, payload, ack)

    def put(self, kind: Kind, payload: bytes, ack: int | None) -> None:
        """Queue a packet.

        Raises:
            PayloadTooLarge: The hub takes no message of that size; nothing was sent.
        """
        message = packets.write_packet(kind, self.namespace, ack, payload)
        if len(message) > self.max_bytes:
            raise PayloadTooLarge(f"the hub takes messages of {self.max_bytes} bytes at most")
        # The library writes Engine.IO's 4 itself.
        packet = engineio.packet.Packet(engineio.packet.MESSAGE, data=message[1:].decode())
        self.eio.queue.put_nowait(packet)

    async def _handle_error(self, namespace: str | None, data: Any) -> None:
        message = data.get("message") if isinstance(data, dict) else data
        self.refusal = str(message or "the hub refused the connection")
        await super()._handle_error(namespace, data)

    async def _handle_disconnect(self, _: str | None) -> None:
        # The library ignores a kick that comes before its own connect() has returned.
        await self.eio.disconnect()

    async def _handle_eio_disconnect(self, reason: str) -> None:
        await super()._handle_eio_disconnect(reason)
        self.ended.set()

    async def until_ended(self) -> None:
        """Wait for the end of an established link."""
        # Without its write loop, which a POST that fails ends, polling goes on in silence.
        loops = (self.eio.read_loop_task, self.eio.write_loop_task)
        if all(loops):
            signs = {asyncio.ensure_future(self.ended.wait()), *loops}
            await asyncio.wait(signs, return_when=asyncio.FIRST_COMPLETED)
        self.ended.set()

    async def abandon(self, opening: asyncio.Future[None]) -> None:
        """End a connection attempt, whatever state it is in."""
        opening.cancel()
        await asyncio.wait({opening}, timeout=CLOSE_SECONDS)
        await self.end()

    async def end(self) -> None:
        """Close, in the given time at the most, and leave no task and no socket behind."""
        if self._ending is None:
            # Once: a second one would cancel what the first waits for.
            self._ending = asyncio.ensure_future(self._end())
        await asyncio.shield(self._ending)

    async def _end(self) -> None:
        with contextlib.suppress(Exception):
            async with asyncio.timeout(CLOSE_SECONDS):
                if self.eio.state == "connected":
                    # disconnect() closes the socket over what is still queued.
                    await self.eio.queue.join()
                await self.disconnect()
        loops = {t for t in (self.eio.read_loop_task, self.eio.write_loop_task) if t}
        for task in loops:
            task.cancel()
        if loops:
            await asyncio.wait(loops, timeout=CLOSE_SECONDS)
        # The library forgets the websocket where a ping was missed or a namespace refused.
        if self.eio.ws is not None and not self.eio.ws.closed:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await self.eio.ws.close()
        if self.eio.http is not None and not self.eio.http.closed:
            await self.eio.http.close()


async def _refuse_redirect(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Let a request fail that aiohttp would repeat elsewhere: it may hold credentials of this hub.

    Raises:
        ClientConnectionError: The response is a redirect.
    """
    response = await handler(request)
    if response.status in _REDIRECTS:
        response.close()
        raise aiohttp.ClientConnectionError(f"the hub redirects ({response.status})")
    return response


_REDIRECTS = (301, 302, 303, 307, 308)


class _SocketIOLink:
    """See `alephscript.links.transport.Link`."""

    def __init__(self, client: _Client) -> None:
        self._client = client
        self._closing = False
        self._watch = asyncio.ensure_future(self._until_lost())

    def send(self, payload: bytes, ack: int | None = None) -> None:
        if self._closing or self._client.eio.state != "connected":
            raise NotConnected("the link to the hub is gone; nothing was sent")
        self._client.put(Kind.EVENT, payload, ack)

    def acknowledge(self, ack: int, payload: bytes) -> None:
        self._client.acknowledge(ack, payload)

    async def close(self) -> None:
        self._closing = True
        await self._client.end()
        await self._watch

    async def _until_lost(self) -> None:
        await self._client.until_ended()
        self._client.receiver.lost("closed" if self._closing else "the connection to the hub ended")
        if not self._closing:
            await self._client.end()


class _Codec:
    """The mesh's JSON in the shape that python-socketio wants a JSON module in."""

    @staticmethod
    def dumps(value: Any, **_: Any) -> str:
        return write_json(value).decode()

    @staticmethod
    def loads(text: str | bytes) -> Any:
        try:
            return parse_json(text)
        except RequestError:
            return None  # what a hub sends unreadably is dropped, not fatal to the link


_BINARY = object()
"""The data of a packet that has binary parts."""


class _Packet(socketio.packet.Packet):  # type: ignore[misc]
    uses_binary_events = False
    json = _Codec

    def add_attachment(self, attachment: Any) -> bool:  # noqa: ARG002 - the library's
        self.attachments.append(b"")
        is_whole = bool(self.attachment_count <= len(self.attachments))
        if is_whole:
            self.data = _BINARY
        return is_whole
