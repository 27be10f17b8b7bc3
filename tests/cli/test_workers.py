"""``alephscript hub --workers N``: several processes on one port are one hub."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import ssl
import sys
from pathlib import Path
from typing import Any

import pytest

from alephscript import AlephScriptClient, capability, cli
from alephscript.errors import ConnectionRefused
from tests.support.processes import Start

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]


class Bot(AlephScriptClient):
    """Says what it is told."""

    rooms = ("R",)

    @capability("ECHO")
    async def echo(self, payload: Any) -> dict[str, Any]:
        """Say it again."""
        return {"said": payload}


def workers_of(process: int) -> list[int]:
    """The processes that it started."""
    children = Path(f"/proc/{process}/task/{process}/children").read_text()
    return [int(each) for each in children.split()]


async def test_workers_share_a_port_and_a_mesh(shared_redis: Any, start: Start) -> None:
    """Clients are spread over them and meet; one that is killed comes back; SIGTERM ends all."""
    arguments = ("--port", "0", "--workers", "2", "--redis", shared_redis.url())
    hub = await start("-m", "alephscript", "hub", *arguments, ready=b"listening on")
    async with Bot(hub.url, connect_timeout=5, retry_open=True):
        spread = set()
        for _ in range(16):
            async with AlephScriptClient(hub.url) as client:
                assert await client.request("ECHO", 1, timeout=5) == {"said": 1}
                state = await client.server_state()
                spread.add(state["socketId"].partition("~")[0])
        assert len(spread) == 2
        for _ in range(4):
            async with AlephScriptClient(hub.url, transports=("polling",)) as client:
                assert await client.request("ECHO", 1, timeout=10) == {"said": 1}
    first, second = workers_of(hub.pid)
    os.kill(first, signal.SIGKILL)
    async with asyncio.timeout(30):
        while len(now := workers_of(hub.pid)) < 2 or first in now:  # noqa: ASYNC110 - it says nothing
            await asyncio.sleep(0.05)
    assert second in now
    async with AlephScriptClient(hub.url, retry_open=True) as client:
        assert "rooms" in await client.server_state()
    hub.send(signal.SIGTERM)
    assert await hub.ended() == 0


@pytest.mark.slow
async def test_a_worker_that_hangs_is_ended_and_started_again(
    shared_redis: Any, start: Start
) -> None:
    """Its members come back at the others, or at its successor; the others stay."""
    arguments = ("--port", "0", "--workers", "2", "--redis", shared_redis.url())
    hub = await start("-m", "alephscript", "hub", *arguments, ready=b"listening on")
    first, second = workers_of(hub.pid)
    os.kill(first, signal.SIGSTOP)
    async with asyncio.timeout(60):
        while len(now := workers_of(hub.pid)) < 2 or first in now:  # noqa: ASYNC110 - it says nothing
            await asyncio.sleep(0.05)
    assert second in now
    async with (
        Bot(hub.url, connect_timeout=5, retry_open=True),
        AlephScriptClient(hub.url, retry_open=True) as client,
    ):
        assert await client.request("ECHO", 1, timeout=10) == {"said": 1}
    hub.send(signal.SIGTERM)
    assert await hub.ended() == 0


@pytest.mark.slow
async def test_workers_outlive_no_command(shared_redis: Any, start: Start) -> None:
    """However it was ended: else they would have its port, and nobody would look after them."""
    arguments = ("--workers", "2", "--redis", shared_redis.url())
    command = ("-m", "alephscript", "hub", *arguments)
    hub = await start(*command, "--port", "0", ready=b"listening on")
    hub.send(signal.SIGKILL)
    assert await hub.ended() == -signal.SIGKILL
    async with asyncio.timeout(30):
        while True:
            with socket.socket() as listener, contextlib.suppress(OSError):
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listener.bind(("127.0.0.1", int(hub.url.rpartition(":")[2])))
                break
            await asyncio.sleep(0.05)


@pytest.mark.slow
async def test_workers_with_a_certificate_say_where_they_listen_and_what_they_serve(
    shared_redis: Any, start: Start, certificate: Path
) -> None:
    """An encrypted poll does not tell to which of them it belongs."""
    files = ("--tls-cert", certificate / "cert.pem", "--tls-key", certificate / "key.pem")
    arguments = ("--workers", "2", "--redis", shared_redis.url(), *map(str, files))
    hub = await start("-m", "alephscript", "hub", "--port", "0", *arguments, ready=b"listening on")
    assert hub.url.startswith("https://")
    known = ssl.create_default_context(cafile=certificate / "cert.pem")
    async with Bot(hub.url, tls=known), AlephScriptClient(hub.url, tls=known) as client:
        assert await client.request("ECHO", 1, timeout=10) == {"said": 1}
    with pytest.raises(ConnectionRefused, match="serves websockets only"):
        await AlephScriptClient(hub.url, tls=known, transports=("polling",)).__aenter__()


@pytest.mark.parametrize("count", ["0", "-1", "1000000", "9" * 5000, "two", "1.5", "", "²"])
def test_a_number_of_workers_that_is_none_is_refused(
    count: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Instead of one hub, or of so many processes that nothing else runs."""
    with pytest.raises(SystemExit) as ended:
        cli.main(["hub", "--workers", count])
    assert ended.value.code == 2
    assert "no number from 1 to 256" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "--workers needs --redis"),
        (["--redis", "redis://127.0.0.1:1/0"], "a worker did not start"),
        (["--redis", "redis://127.0.0.1:1/0", "--port", "99999"], "cannot listen on"),
    ],
)
async def test_workers_that_cannot_be_end_the_command(arguments: list[str], said: str) -> None:
    """With a reason, instead of being started for ever."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "alephscript", "hub", "--port", "0", "--workers", "2", *arguments),
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(40):
        _, errors = await process.communicate()
    assert process.returncode == 1
    assert said in errors.decode()
