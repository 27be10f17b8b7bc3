"""uvicorn's HTTP protocol, as the sockets of a hub's own port have it.

May go in: what uvicorn is told, and what of it is used. May not: the port (`listening`), answers to
requests (`hub.http`).

Of uvicorn, its HTTP protocol is what serves; its server owns signals, wakes ten times a second and
takes a tenth of a second to stop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import uvicorn
from uvicorn.server import ServerState

from alephscript.hub.admission import Admit
from alephscript.hub.engine import Engine
from alephscript.hub.http import HubApp
from alephscript.hub.senders import Senders
from alephscript.hub.sockets.listening import counted
from alephscript.hub.sockets.lobby import Arrival
from alephscript.hub.sockets.websocket import websocket_protocol

__all__ = ["make_factory"]


def make_factory(
    app: HubApp, engine: Engine, admit: Admit, senders: Senders
) -> tuple[Callable[[Arrival], asyncio.BaseProtocol], Any]:
    """Make the factory of each socket's protocol, and uvicorn's list of what is open.

    Args:
        app: The plain HTTP.
        engine: The engine that holds the connections.
        admit: The rule about who may connect.
        senders: The rule about of which session's program a request is; the proxies that uvicorn
            trusts are told to it.
    """
    config = uvicorn.Config(
        app,
        ws=websocket_protocol(engine, admit, senders),
        # Later than the lobby, which knows how long an idle socket may stay.
        timeout_keep_alive=round(engine.ping_interval + engine.ping_timeout) + 1,
        log_config=None,
        log_level="warning",
        access_log=False,
        date_header=False,
        server_header=False,
    )
    config.load()
    senders.trusted = config.loaded_app.trusted_hosts  # of uvicorn's own middleware
    state = ServerState()
    state.default_headers = config.encoded_headers

    protocol_class = counted(config.http_protocol_class, engine.turns)

    def make_protocol(arrival: Arrival) -> asyncio.BaseProtocol:
        protocol: asyncio.BaseProtocol = protocol_class(
            config=config, server_state=state, app_state={"arrival": arrival}
        )
        return protocol

    return make_protocol, state
