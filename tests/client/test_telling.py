"""What a client tells of its own life: that it waits for its hub, that it is ready, why it ends."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from alephscript import AlephScriptClient, ConnectionRefused, Event, capability, observe, on
from alephscript.client import telling
from alephscript.client.declaring import collect, master
from alephscript.client.telling import describe_place, name_cause
from alephscript.hub import Hub, SharedToken
from alephscript.testing import InMemoryMesh

pytestmark = pytest.mark.anyio


@contextmanager
def port_of_nobody() -> Iterator[int]:
    """A port at which nothing listens, and nothing will."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@contextmanager
def port_of_mute() -> Iterator[int]:
    """A port at which somebody listens, and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


class Warned(logging.Handler):
    """Notes warnings, and tells when there are enough."""

    def __init__(self, enough: int, cause: str) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []
        self.are_enough = asyncio.Event()
        self._enough = enough
        self._cause = cause

    def emit(self, record: logging.LogRecord) -> None:
        """Note it."""
        line = record.getMessage()
        self.lines.append(line)
        if len(self.lines) >= self._enough and self._cause in line:
            self.are_enough.set()


@contextmanager
def warned(enough: int, cause: str = "") -> Iterator[Warned]:
    """What clients warn of, until there are enough, the last of them for a cause."""
    handler = Warned(enough, cause)
    logger = logging.getLogger("alephscript.client")
    logger.addHandler(handler)
    try:
        yield handler
    finally:
        logger.removeHandler(handler)


def test_a_client_that_waits_says_so_soon_and_then_each_minute() -> None:
    """The first time within three seconds."""
    assert telling.FIRST_SECONDS < 3
    assert telling.AGAIN_SECONDS == 60


@pytest.mark.parametrize("redact", [False, True])
@pytest.mark.parametrize("find_port", [port_of_nobody, port_of_mute])
async def test_a_client_says_for_which_hub_it_waits_and_why(
    find_port: type, redact: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the address; with the cause as far as an attempt has failed; again and again."""
    monkeypatch.setattr(telling, "FIRST_SECONDS", 0.05)
    monkeypatch.setattr(telling, "AGAIN_SECONDS", 0.01)
    ends = {
        (port_of_mute, False): "no answer yet",
        (port_of_mute, True): "no answer yet",
        (port_of_nobody, False): "is a hub running there? `alephscript hub` starts one",
        (port_of_nobody, True): "ConnectionRefused from ConnectionRefusedError",
    }
    end = ends[find_port, redact]
    with find_port() as port, warned(3, end) as heard:
        client = AlephScriptClient(
            f"http://127.0.0.1:{port}", usuario="bot", retry_open=True, redact_errors=redact
        )
        opening = asyncio.create_task(client.run_forever())
        async with asyncio.timeout(10):
            await heard.are_enough.wait()
            await client.close()
            await opening  # in peace
        begin = f"bot waits for its hub at http://127.0.0.1:{port}/runtime: "
        assert all(line.startswith(begin) for line in heard.lines)
        assert ("Errno" in heard.lines[-1]) is (end.startswith("is a hub"))
        assert client._alephscript_life._patience._timer is None


async def test_a_client_that_has_lost_its_hub_says_so_until_there_is_one(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """And not after that."""
    caplog.set_level(logging.INFO, "alephscript.client")
    with warned(1) as heard:
        async with (
            InMemoryMesh() as mesh,
            AlephScriptClient(mesh, backoff=lambda: iter([0.01])) as client,
        ):
            monkeypatch.setattr(telling, "FIRST_SECONDS", 0.0)
            await mesh.kill()
            async with asyncio.timeout(10):
                await heard.are_enough.wait()
                await mesh.restart()
                await client.ready()
    [line] = heard.lines
    assert line.startswith("AlephScriptClient waits for its hub at memory/runtime: ")


SCRIPT = """
import logging, sys
import alephscript.links.websocket
from alephscript import AlephScriptClient
logging.basicConfig(level=logging.INFO, format="%(message)s")
from alephscript.client import telling
telling.FIRST_SECONDS = 0.05 if "waits" in sys.argv else 2.0
class Bot(AlephScriptClient):
    pass
Bot(sys.argv[1], retry_open="waits" in sys.argv).run()
"""


def start(*arguments: str) -> subprocess.Popen[str]:
    """A bot in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, *arguments], stderr=subprocess.PIPE, text=True
    )


def test_a_bot_that_waits_ends_well_on_sigterm() -> None:
    """With status 0, and nothing but its warning."""
    with port_of_nobody() as port, start(f"127.0.0.1:{port}", "waits") as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        assert line.startswith(f"Bot waits for its hub at http://127.0.0.1:{port}/runtime: ")
        process.send_signal(signal.SIGTERM)
        _, rest = process.communicate(timeout=20)
        assert (process.returncode, rest) == (0, "")


def test_a_bot_without_a_hub_ends_with_a_sentence() -> None:
    """And a status, and no traceback."""
    with port_of_nobody() as port, start(f"127.0.0.1:{port}") as process:
        _, told = process.communicate(timeout=20)
    [line] = told.splitlines()
    assert process.returncode == 1
    assert line.startswith(f"Bot: cannot connect to http://127.0.0.1:{port}: ")


async def test_a_bot_that_is_refused_ends_with_a_sentence() -> None:
    """Even one that would wait: no hub takes it back."""
    async with Hub(port=0, access=SharedToken("s3cret")) as hub:
        process = start(hub.url, "waits")
        _, told = await asyncio.to_thread(process.communicate, timeout=20)
        line = told.splitlines()[-1]
        assert process.returncode == 1
        assert "Traceback" not in told
        assert line.startswith(f"Bot: cannot connect to {hub.url}: unauthorized; check the cred")


class Everything(AlephScriptClient):
    """Has rooms of each kind."""

    rooms = (*master("A", "B", group="shared"), *observe("C", "D"))

    @capability("X", room=("A", "B"))
    async def x(self) -> None:
        """Do nothing."""

    @capability("Y")
    async def y(self) -> None:
        """Do nothing."""


async def test_a_client_that_is_ready_says_where_and_for_what(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Hub, rooms, rooms that it masters, capabilities."""
    caplog.set_level(logging.INFO, "alephscript.client")
    async with InMemoryMesh() as mesh, Everything(mesh):
        pass
    [line] = [each.getMessage() for each in caplog.records if "ready" in each.getMessage()]
    assert line == "Everything is ready: memory/runtime, in C, D, masters A, B, offers X, Y"


def test_a_long_list_is_cut() -> None:
    """And says how much is missing."""
    rooms = [f"R{each}" for each in range(1000)]
    declared = collect(AlephScriptClient)
    told = describe_place("there", rooms=rooms, masters=[], declared=declared)
    assert told.endswith(", R18, R19 and 980 more")


def test_a_cause_is_named_without_a_word_of_it() -> None:
    """By its class, and that of what led to it."""
    error = ConnectionRefused("there", "s3cret")
    assert name_cause(error) == "ConnectionRefused"
    error.__cause__ = OSError("s3cret")
    assert name_cause(error) == "ConnectionRefused from OSError"


class Listener(AlephScriptClient):
    """Listens to one event that is said, and to one that nobody says."""

    rooms = observe("HALL")

    @on("SAID")
    async def hear(self, event: Event[Any]) -> None:
        """Do nothing."""

    @on("SIAD")
    async def mishear(self, event: Event[Any]) -> None:
        """Do nothing."""


async def test_what_nobody_hears_or_says_is_told_to_who_looks(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """An event said in a room without anybody; a listener that was never called."""
    caplog.set_level(logging.DEBUG, "alephscript")
    async with InMemoryMesh() as mesh, Listener(mesh) as client:
        with contextlib.closing(client.events(None, "SAID")) as events:
            await client.broadcast("SAID", 1, room="HAL")
            await client.broadcast("SAID", 1, room="HALL")
            async for _ in events:
                break
        await client.server_state()
    told = [each.getMessage() for each in caplog.records if each.levelno == logging.DEBUG]
    assert told == [
        "SAID was said in HAL, where nobody is",
        "Listener.mishear never heard SIAD",
    ]
