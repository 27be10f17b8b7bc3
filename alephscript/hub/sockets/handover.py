"""The decisions about a websocket: who may open one, and which connection its messages go to.

May go in: what Engine.IO says of handshakes and upgrades. May not: bytes and frames
(`hub.sockets.websocket`), packets on an open connection (`hub.engine`).
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Mapping
from typing import Protocol
from urllib.parse import parse_qs, urlsplit

from alephscript.hub.admission import Admit
from alephscript.hub.connection import Connection, WebSocket
from alephscript.hub.engine import Engine
from alephscript.hub.senders import Senders
from alephscript.hub.sockets.lobby import Arrival
from alephscript.mesh.access import Handshake
from alephscript.protocol import packets
from alephscript.protocol.packets import Packet
from alephscript.protocol.websocket import write_text_frame

__all__ = ["Handover", "OpenWebSocket"]

PATH = "/socket.io/"
UPGRADE_SECONDS = 10.0
"""How long a websocket that is tried out may take to become the transport."""


class OpenWebSocket(WebSocket, Protocol):
    """A websocket whose messages are handed over.

    Attributes:
        take: The function that each whole text message is passed to.
    """

    take: Callable[[bytes | Packet], None]


class Handover:
    """One websocket's way from its handshake to its connection.

    Args:
        engine: The engine that holds the connections.
        admit: The rule about who may connect.
        senders: The rule about whose sessions they may take over.
        arrival: The socket, which stays in the lobby until it is the session's transport.
    """

    def __init__(self, engine: Engine, admit: Admit, senders: Senders, arrival: Arrival) -> None:
        self._engine = engine
        self._admit = admit
        self._senders = senders
        self._arrival = arrival
        self._is_begun = False
        self._connection: Connection | None = None
        self._handshake: Handshake | None = None
        self._probing = False
        self._timer: asyncio.TimerHandle | None = None

    def check(
        self, target: str, headers: Mapping[str, str], address: str
    ) -> tuple[int, str] | None:
        """Decide upon a handshake.

        Args:
            target: The request's path and query.
            headers: The request's headers, by lower-case name.
            address: The peer's IP address.

        Returns:
            None if the websocket is welcome, else the status and the sentence to refuse it with.
        """
        url = urlsplit(target)
        query = parse_qs(url.query)
        if url.path.rstrip("/") != PATH.rstrip("/") or query.get("transport") != ["websocket"]:
            return 400, "there is no websocket here"
        if query.get("EIO") != ["4"]:
            return 400, "Engine.IO 4 is spoken here"
        refusal = self._admit(headers)
        if refusal is not None:
            return 403, refusal
        if "sid" in query:
            self._connection = self._engine.connections.get(query["sid"][0])
            if (
                self._connection is None
                or self._connection.upgraded
                or not self._senders.is_of(self._connection, address, headers)
            ):
                return 400, "there is no such connection to upgrade"
            self._probing = True
        elif self._engine.is_draining:
            return 503, "the hub is closing"
        elif self._engine.is_full:
            self._engine.refusals["connections"] += 1
            return 503, "the hub is full"
        elif self._engine.access is not None:
            self._handshake = Handshake("", address, headers)
        return None

    def begin(self, websocket: OpenWebSocket) -> None:
        """Choose where the messages of a websocket go, now that its handshake is done."""
        self._is_begun = True
        if self._probing:
            websocket.take = functools.partial(self._probe, websocket)
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(UPGRADE_SECONDS, websocket.close)
        else:
            self._connection = self._engine.open(self._handshake)
            self._attach(self._connection, websocket)

    def end(self, *, is_goodbye: bool) -> None:
        """Tell the lobby and the connection, if there is one, that the websocket is gone.

        Args:
            is_goodbye: Whether the client has closed the websocket by the rules.
        """
        self._arrival.leave()
        if self._connection is None or not self._is_begun:
            return
        if self._probing:
            self._stop_probing()
            self._connection.unprobe()
        else:
            self._connection.has_said_goodbye |= is_goodbye
            self._connection.close("its websocket is gone")

    def spend(self, frames: int, binaries: int) -> None:
        """Count frames that were no whole text; too many end the connection."""
        if self._connection is not None and self._connection.spend(frames) and binaries:
            self._connection.drop_binary(binaries)

    def _probe(self, websocket: OpenWebSocket, message: bytes | Packet) -> None:
        """Handle a message of a websocket that a polling client tries out."""
        assert self._connection is not None
        self._connection.spend(1)
        if self._connection.closed or self._connection.upgraded:
            websocket.close()  # the client is gone, or another websocket was first
        elif message == packets.PING + packets.PROBE:
            websocket.write(write_text_frame(packets.PONG + packets.PROBE))
            self._connection.probe()
        elif message == packets.UPGRADE:
            self._stop_probing()
            self._attach(self._connection, websocket)
        else:
            websocket.close()

    def _attach(self, connection: Connection, websocket: OpenWebSocket) -> None:
        # The connection's own method, so that nothing stands between it and the bytes from now on.
        self._arrival.leave()
        websocket.take = connection.receive
        connection.attach(websocket)

    def _stop_probing(self) -> None:
        self._probing = False
        if self._timer is not None:
            self._timer.cancel()
