"""What the link takes for granted of python-socketio; a release that changes it shows here."""

from __future__ import annotations

import asyncio
import inspect

import engineio
import engineio.packet
import pytest
import socketio
import socketio.packet

from alephscript.links._socketio import _Client, _Engine, _Packet

pytestmark = pytest.mark.anyio


class Nobody:
    """A receiver that is never told anything."""

    def received(self, payload: bytes, ack: int | None) -> None:
        """Take."""

    def acknowledged(self, number: int, payload: bytes) -> None:
        """Take."""

    def lost(self, reason: str) -> None:
        """Take."""


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("_handle_event", ["self", "namespace", "id", "data"]),
        ("_handle_ack", ["self", "namespace", "id", "data"]),
        ("_handle_error", ["self", "namespace", "data"]),
        ("_handle_disconnect", ["self", "namespace"]),
        ("_handle_eio_disconnect", ["self", "reason"]),
    ],
)
async def test_the_overridden_methods_are_there_with_their_parameters(
    name: str, parameters: list[str]
) -> None:
    """Overriding what nobody calls would lose every packet in silence."""
    method = getattr(socketio.AsyncClient, name)
    assert list(inspect.signature(method).parameters) == parameters
    assert inspect.iscoroutinefunction(method)


async def test_the_library_asks_for_addresses_by_the_methods_that_are_overridden() -> None:
    """Else polling would ask at another place than websockets."""
    client = _Client(Nobody(), "/runtime")
    assert inspect.signature(socketio.AsyncClient._engineio_client_class).parameters.keys() == {
        "self"
    }
    assert isinstance(client.eio, _Engine)
    parameters = inspect.signature(engineio.AsyncClient._get_engineio_url).parameters
    assert list(parameters) == ["self", "url", "engineio_path", "transport"]


async def test_the_client_decodes_with_the_class_that_it_was_given() -> None:
    """And another client in the process goes on with its own."""
    assert _Client(Nobody(), "/runtime").packet_class is _Packet
    assert socketio.AsyncClient(handle_sigint=False).packet_class is socketio.packet.Packet
    assert _Packet(2, ["E", {"a": 1}], "/runtime", 3).encode() == '2/runtime,3["E",{"a":1}]'


async def test_no_signal_handler_is_installed() -> None:
    """The library's own cancels every task of the program."""
    assert _Client(Nobody(), "/").handle_sigint is False


async def test_what_the_link_reads_of_engineio_is_there() -> None:
    """State, queue and loops are what the end of a link is read from."""
    eio = _Client(Nobody(), "/").eio
    assert isinstance(eio, engineio.AsyncClient)
    assert eio.state == "disconnected"
    assert isinstance(eio.queue, asyncio.Queue)
    assert (eio.read_loop_task, eio.write_loop_task, eio.http) == (None, None, None)
