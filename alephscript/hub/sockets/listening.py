"""The port of a hub: sockets accepted into the lobby, one by one, and descriptors for them.

May go in: accepting, and what happens when there is no room. May not: how long a socket may stay
(`lobby`), what it says (`websocket`, `hub.http`).

asyncio's own server accepts whatever comes, counts nothing, and when descriptors run out it logs
the same line thousands of times a second and takes all of a core.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
import time
from collections.abc import Callable
from typing import Any, Protocol, cast

from alephscript.hub.options import HubError
from alephscript.hub.sockets.lobby import Arrival, Lobby
from alephscript.hub.turns import TURN_SECONDS, Turns
from alephscript.hub.workers.siblings import Siblings

__all__ = ["Listener", "bind", "counted", "raise_descriptor_limit"]

logger = logging.getLogger("alephscript.hub")

_BACKLOG = 4096
"""Connections that may wait to be accepted: a mesh that comes back comes at once, and whoever finds
no place here tries again a second later. The kernel may allow fewer."""

_PAUSE_SECONDS = 0.05
"""Seconds until it is looked again whether there is room."""

_SILENT_SECONDS = 5.0
"""Least seconds between two log lines about a lack of room."""

_ACCEPTS_A_TURN = 16
"""Sockets accepted before those who are in have their turn."""

_LONGEST_HEAD = 65_536
"""Bytes of a request's head; one of uvicorn's two parsers knows no bound of its own."""

_PIECE = 4_096
"""Bytes that uvicorn is given without a look at the clock: with a chunk for each byte of a body it
takes some 30 ms for them."""

_OTHER_DESCRIPTORS = 100
"""Descriptors that a hub needs besides its clients': its libraries', Redis's, the lobby's."""


def bind(host: str, port: int, *, is_shared: bool) -> socket.socket:
    """Make a listening socket.

    Args:
        host: The address.
        port: The port; 0 takes a free one.
        is_shared: Whether other processes may listen there, too.

    Raises:
        HubError: The port is none, or cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio turns Nagle's delays off only where the protocol is named, here for all accepted.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if is_shared:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        listener.bind((host, port))
        listener.listen(_BACKLOG)  # now: of two hubs that start at once, one must fail here
    except OverflowError:
        listener.close()
        raise HubError(f"{port} is no port; ports are 0 to 65535") from None
    except OSError as exc:
        listener.close()
        raise HubError(
            f"cannot listen on {host}:{port}: {exc.strerror}; "
            "is another hub running there? choose another --port"
        ) from exc
    return listener


class Listener:
    """A listening socket, and what becomes of the sockets that it accepts.

    Args:
        listener: The listening socket.
        lobby: The place where accepted sockets are counted and timed.
        make_protocol: Makes the protocol of an arrival.
        tls: Serves TLS with this; None serves plain sockets.
        handshake_seconds: Seconds that the handshake of TLS may take.
        siblings: Other processes on the same port, to which sockets may belong.
    """

    def __init__(
        self,
        listener: socket.socket,
        lobby: Lobby,
        make_protocol: Callable[[Arrival], asyncio.BaseProtocol],
        *,
        tls: ssl.SSLContext | None,
        handshake_seconds: float,
        siblings: Siblings | None = None,
    ) -> None:
        self._listener = listener
        self._lobby = lobby
        self._make_protocol = make_protocol
        self._tls: dict[str, Any] = {}
        if tls is not None:
            self._tls = {"ssl": tls, "ssl_handshake_timeout": handshake_seconds}
        self._siblings = siblings
        self._told_at = -_SILENT_SECONDS
        self._openings: set[asyncio.Task[None]] = set()  # a loop keeps no task alive
        listener.setblocking(False)  # noqa: FBT003 - the standard library's
        if siblings is not None:
            siblings.open(self._take)
        self._accepting = asyncio.get_running_loop().create_task(self._accept())

    def close(self) -> None:
        """Listen no longer; safe to call twice."""
        if self._listener.fileno() == -1:
            return
        # In the next turn: who is accepted in this one would be nobody's.
        asyncio.get_running_loop().call_soon(self._accepting.cancel)
        if self._siblings is not None:
            self._siblings.close()
        # At once, not when the task has ended: the port is free when the hub is closed.
        with contextlib.suppress(NotImplementedError):
            asyncio.get_running_loop().remove_reader(self._listener)
        self._listener.close()

    def end_openings(self) -> None:
        """End what was accepted and has no protocol yet."""
        for task in self._openings:
            task.cancel()

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        accepted = 0
        while self._listener.fileno() != -1:
            if not self._lobby.make_room():
                await asyncio.sleep(_PAUSE_SECONDS)
                continue
            try:
                client, _ = await loop.sock_accept(self._listener)
            except ConnectionError:
                continue  # the peer has hung up before it was its turn
            except OSError as exc:
                self._tell(exc)
                self._lobby.end_longest()
                await asyncio.sleep(_PAUSE_SECONDS)
                continue
            if self._listener.fileno() == -1:
                client.close()
                return
            self._open(client, self._siblings)
            accepted += 1
            if accepted % _ACCEPTS_A_TURN == 0:
                await asyncio.sleep(0)

    def _take(self, client: socket.socket) -> None:
        """Take a socket that a sibling accepted; without room for it, it is closed."""
        if self._lobby.make_room():
            self._open(client)
        else:
            client.close()

    def _open(self, client: socket.socket, siblings: Siblings | None = None) -> None:
        """Make a protocol for a socket, its handshake of TLS first; or pass it on to a sibling."""
        arrival = self._lobby.enter()
        task = asyncio.get_running_loop().create_task(self._hand_over(client, arrival, siblings))
        arrival.opening = task
        self._openings.add(task)
        task.add_done_callback(self._openings.discard)

    async def _hand_over(
        self, client: socket.socket, arrival: Arrival, siblings: Siblings | None
    ) -> None:
        try:
            if siblings is not None and await siblings.pass_on(client):
                arrival.leave()
                return
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: self._make_protocol(arrival), client, **self._tls
            )
        except OSError:  # no TLS that we understand, too slow, gone already
            arrival.leave()
            client.close()
        except asyncio.CancelledError:
            arrival.leave()
            client.close()
            raise

    def _tell(self, exc: OSError) -> None:
        now = time.monotonic()
        if now - self._told_at >= _SILENT_SECONDS:
            self._told_at = now
            logger.warning(
                "no further client can be accepted (%s); those who come wait until there is room",
                exc.strerror,
                extra={"error": exc.strerror},
            )


class _HttpProtocol(Protocol):
    """uvicorn's protocol, as far as it is used here; both of its kinds have this."""

    app_state: dict[str, Any]
    cycle: Any
    flow: Any
    transport: asyncio.Transport


def counted(base: type, turns: Turns) -> type:  # noqa: C901 - a class around another
    """Make of uvicorn's HTTP protocol one whose socket is an arrival (``app_state["arrival"]``).

    Args:
        base: uvicorn's protocol.
        turns: Where a socket waits to have more of its input read.
    """

    class Counted(base):  # type: ignore[misc]
        _head = 0  # bytes of a request that is not there yet

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self._left = bytearray()  # of a read that took its turn

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self._arrival: Arrival = cast(_HttpProtocol, self).app_state["arrival"]
            self._arrival.transport = cast(asyncio.Transport, transport)
            super().connection_made(transport)

        def connection_lost(self, exc: Exception | None) -> None:
            self._arrival.leave()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            self._arrival.is_silent = False
            if self._left:  # uvicorn reads on, since it can take more
                self._left += data
                self.transport.pause_reading()
            elif len(data) <= _PIECE:
                self._read(data)
            else:
                self._left += data
                if not self._go_on(time.monotonic() + TURN_SECONDS):
                    self.transport.pause_reading()
                    turns.wait(self._go_on)

        def _go_on(self, until: float) -> bool:
            left = self._left
            while left:
                self._read(bytes(left[:_PIECE]))
                del left[:_PIECE]
                if self.transport.is_closing() or self.transport.get_protocol() is not self:
                    left.clear()
                elif left and time.monotonic() >= until:
                    return False
            if not (self.flow.read_paused or self.transport.is_closing()):
                self.transport.resume_reading()
            return True

        def _read(self, data: bytes) -> None:
            super().data_received(data)
            if self.cycle is not None and not self.cycle.response_complete:
                self._head = 0
                return
            self._head += len(data)
            if self._head > _LONGEST_HEAD and self.transport.get_protocol() is self:
                self.transport.abort()

        def _get_upgrade(self) -> bytes | None:
            # uvicorn's own reads the last of several lines (RFC 9110, section 5.3).
            lines = dict.fromkeys((b"connection", b"upgrade"), b"")
            for name, value in self.headers:
                if name in lines:
                    lines[name] += b"," + value.lower()
            tokens = [token.strip() for token in lines[b"connection"].split(b",")]
            return lines[b"upgrade"].strip(b", \t") if b"upgrade" in tokens else None

    return Counted


def raise_descriptor_limit(clients: int) -> None:
    """Let this process open as many descriptors as so many clients need, or log why it cannot."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    needed = clients + _OTHER_DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    possible = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (possible, hard))
    except (OSError, ValueError):  # some systems have a further limit of their own
        possible = soft
    if possible < clients:
        logger.warning(
            "%d clients may connect and need %d file descriptors, but this process may open %d; "
            "raise that limit (ulimit -n) or lower Limits.connections (--limit connections=…)",
            clients,
            needed,
            possible,
            extra={"connections": clients, "needed": needed, "possible": possible},
        )
