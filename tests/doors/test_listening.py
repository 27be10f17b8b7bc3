"""A door's port."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import pytest

from alephscript import a2a, mcp
from alephscript.cli import main
from alephscript.doors.listening import listen


def test_a_free_port_is_listened_on() -> None:
    """At either kind of loopback."""
    for host in ("127.0.0.1", "::1"):
        with listen(host, 0) as listening:
            assert listening.getsockname()[1] > 0


@pytest.mark.parametrize("serve", [a2a.MeshServer, mcp.MeshServer])
def test_a_port_that_cannot_be_had_is_an_error_before_anything_is_begun(
    serve: Callable[..., Any],
) -> None:
    """Taken, or none."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        for port in (taken.getsockname()[1], 70_000, -1):
            with pytest.raises(OSError, match=r"in use|no port"):
                asyncio.run(serve("http://127.0.0.1:1").serve_http(port))


@pytest.mark.parametrize("command", [("a2a", "--port"), ("mcp", "--http")])
def test_a_command_says_which_port_cannot_be_had(
    command: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """In a line."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert main([*command, port, "--url", "http://127.0.0.1:1"]) == 1
    told = capsys.readouterr().err.splitlines()[-1]
    assert told.startswith(f"alephscript: cannot listen on port {port}: Address already in use")
