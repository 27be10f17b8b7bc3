"""The hub's websockets, as uvicorn's pluggable protocol: on picows where it is installed, else with
websockets' handshake and our own frames. Both take a handshake that uvicorn has recognised, check
it, and hand whole text messages to a `Connection`; framing out is the session's.

Behaviour is the same on both, and the same tests run on both.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

from alephscript.hub.admission import Admit
from alephscript.hub.connection import Connection
from alephscript.hub.engine import Engine
from alephscript.mesh.access import Handshake
from alephscript.protocol import packets
from alephscript.protocol.websocket import write_text_frame

__all__ = ["Handover", "libraries"]

_quiet = logging.getLogger("alephscript.hub.websocket")
_quiet.setLevel(logging.ERROR)

PATH = "/socket.io/"
UPGRADE_SECONDS = 10.0
"""How long a websocket that is tried out may take to become the transport."""


class Handover:
    """One websocket between its handshake and its connection.

    Args:
        engine: Where connections are.
        admit: Who may connect.
    """

    def __init__(self, engine: Engine, admit: Admit) -> None:
        self._engine = engine
        self._admit = admit
        self._connection: Connection | None = None
        self._handshake: Handshake | None = None
        self._probing = False
        self._timer: asyncio.TimerHandle | None = None

    def refusal(
        self, target: str, headers: Mapping[str, str], address: str
    ) -> tuple[int, str] | None:
        """Why a handshake is refused, as status and sentence; None if it is welcome.

        Args:
            target: The request's path and query.
            headers: Its headers, by lower-case name.
            address: Where it comes from.
        """
        url = urlsplit(target)
        query = parse_qs(url.query)
        if url.path.rstrip("/") != PATH.rstrip("/") or query.get("transport") != ["websocket"]:
            return 400, "there is no websocket here"
        if query.get("EIO") != ["4"]:
            return 400, "Engine.IO 4 is spoken here"
        refused = self._admit(headers)
        if refused is not None:
            return 403, refused
        if "sid" in query:
            self._connection = self._engine.connections.get(query["sid"][0])
            if self._connection is None or self._connection.upgraded:
                return 400, "there is no such connection to upgrade"
            self._probing = True
        elif self._engine.is_full:
            self._engine.refusals["connections"] += 1
            return 503, "the hub is full"
        elif self._engine.access is not None:
            self._handshake = Handshake("", address, headers)
        return None

    def opened(self, websocket: Any) -> None:
        """The handshake is done; ``websocket.take`` is where whole text messages go from now on."""
        if self._probing:
            websocket.take = functools.partial(self._probe, websocket)
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(UPGRADE_SECONDS, websocket.close)
        else:
            self._connection = self._engine.open(self._handshake)
            websocket.take = self._connection.receive
            self._connection.attach(websocket)

    def _probe(self, websocket: Any, message: bytes) -> None:
        """A message of a websocket that is tried out."""
        assert self._connection is not None
        if self._connection.closed or self._connection.upgraded:
            websocket.close()  # it is gone, or another websocket was first
        elif message == packets.PING + packets.PROBE:
            websocket.write(write_text_frame(packets.PONG + packets.PROBE))
            self._connection.probe()
        elif message == packets.UPGRADE:
            self._settle()
            websocket.take = self._connection.receive
            self._connection.attach(websocket)
        else:
            websocket.close()

    def closed(self) -> None:
        """The websocket is gone."""
        if self._connection is None:
            return
        if self._probing:
            self._settle()
            self._connection.unprobe()
        else:
            self._connection.close("its websocket is gone")

    def _settle(self) -> None:
        self._probing = False
        if self._timer is not None:
            self._timer.cancel()


def libraries(
    engine: Engine, admit: Admit, *, name: str | None = None
) -> tuple[Callable[..., asyncio.BaseProtocol], Callable[..., Awaitable[asyncio.Server]]]:
    """What is made of each websocket, and what listens: ``create_server(loop, factory, …)``.

    Args:
        engine: Where connections are.
        admit: Who may connect.
        name: ``picows`` or ``websockets``; None takes picows if it is installed.

    Raises:
        ModuleNotFoundError: The library is not installed.
    """
    if name != "websockets":
        try:
            from alephscript.hub.sockets._picows import create_server, make_protocol as make
        except ModuleNotFoundError:
            if name == "picows":
                raise
        else:
            return lambda server_state, **_: make(server_state, engine, admit), create_server
    from alephscript.hub.sockets._websockets import make_protocol

    return (
        lambda server_state, **_: make_protocol(server_state, engine, admit),
        lambda loop, *args, **options: loop.create_server(*args, **options),
    )
