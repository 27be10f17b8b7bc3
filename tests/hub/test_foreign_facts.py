"""What the hub takes for granted of uvicorn, websockets and stock clients.

Private names and habits of other libraries: a release that changes one shows here, in a sentence.
"""

from __future__ import annotations

import inspect
from typing import Any

import engineio.async_client
import engineio.payload
import pytest
import uvicorn
import uvicorn.server
from uvicorn.protocols.http import h11_impl
from websockets.server import ServerProtocol

from alephscript.hub import connection


def _parameters(function: Any) -> list[str]:
    return list(inspect.signature(function).parameters)


async def _no_app(scope: Any, receive: Any, send: Any) -> None:
    """An ASGI application that is never called."""


def test_uvicorn_serves_on_sockets_that_it_is_given() -> None:
    """The hub binds, because uvicorn exits the process when it cannot."""
    assert _parameters(uvicorn.Server.serve) == ["self", "sockets"]
    assert uvicorn.Server(uvicorn.Config(_no_app)).started is False


def test_uvicorn_leaves_its_signals_and_its_loop_to_subclasses() -> None:
    """``Server.capture_signals`` and ``Server.main_loop`` are replaced."""
    assert _parameters(uvicorn.Server.capture_signals) == ["self"]
    assert inspect.iscoroutinefunction(uvicorn.Server.main_loop)
    assert "self.capture_signals()" in inspect.getsource(uvicorn.Server.serve)
    assert "await self.main_loop()" in inspect.getsource(uvicorn.Server._serve)


def test_uvicorn_shuts_down_every_connection_that_is_in_its_set() -> None:
    """Our websockets put themselves in, take themselves out, and have a ``shutdown``."""
    assert uvicorn.server.ServerState().connections == set()
    source = inspect.getsource(uvicorn.Server.shutdown)
    assert "self.server_state.connections" in source
    assert "connection.shutdown()" in source


def _http_protocols() -> list[Any]:
    found: list[Any] = [h11_impl.H11Protocol]
    try:
        from uvicorn.protocols.http import httptools_impl
    except ModuleNotFoundError:
        return found  # an extra of uvicorn's
    return [*found, httptools_impl.HttpToolsProtocol]


@pytest.mark.parametrize("protocol", _http_protocols(), ids=lambda each: each.__name__)
def test_uvicorn_hands_a_websocket_over_with_what_it_has_read(protocol: Any) -> None:
    """A class of ours is made with three names, is connected, and gets the request as bytes."""
    source = "".join(inspect.getsource(protocol).split())
    made = "self.ws_protocol_class("
    assert made in source
    for given in (
        "config=self.config,",
        "server_state=self.server_state,",
        "app_state=self.app_state,",
    ):
        assert given in source.partition(made)[2]
    connected = source.index("protocol.connection_made(self.transport)")
    fed = source.index("protocol.data_received(b")
    assert connected < fed < source.index("self.transport.set_protocol(protocol)")


def test_websockets_has_a_core_without_sockets() -> None:
    """Fed with bytes, asked for events and for bytes."""
    assert {"max_size", "logger"} <= set(_parameters(ServerProtocol))
    for name in (
        "receive_data",
        "receive_eof",
        "events_received",
        "data_to_send",
        "send_response",
        "accept",
        "reject",
        "send_close",
    ):
        assert callable(getattr(ServerProtocol, name))


def test_stock_clients_drop_a_body_of_more_messages() -> None:
    """All of it, so a poll never holds more; a higher bound of theirs would do no harm."""
    most = engineio.payload.Payload.max_decode_packets
    assert most >= connection._POLL_MESSAGES
    with pytest.raises(ValueError, match="Too many packets"):
        engineio.payload.Payload(encoded_payload="\x1e".join(["6"] * (most + 1)))


def test_stock_clients_send_a_burst_in_one_body() -> None:
    """Without that bound: the hub takes as many as they fit into its largest message."""
    source = inspect.getsource(engineio.async_client.AsyncClient._write_loop)
    assert "max_decode_packets" not in source
