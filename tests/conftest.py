"""What every test shares: asyncio is the only backend; programs of ours and of others."""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import NoReturn

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture
def anyio_backend() -> str:
    """The SDK runs on asyncio, because python-socketio does."""
    return "asyncio"


def lacking(wanted: str) -> NoReturn:
    """Skip a test that needs a tool that is not there; in CI that is a failure."""
    if os.environ.get("ALEPHSCRIPT_REQUIRE_TOOLS"):
        pytest.fail(f"this run must skip nothing, and lacks {wanted}")
    pytest.skip(f"needs {wanted}")


@pytest.fixture
def port() -> int:
    """A free one."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        found: int = server.getsockname()[1]
        return found


@pytest.fixture(scope="session")
def node() -> str:
    """Node with the peers' packages; missing, a test is skipped, in CI it fails."""
    found = shutil.which("node")
    missing = [
        folder
        for folder in ("tests/node", "tests/node/asyncapi", "examples/js")
        if not (ROOT / folder / "node_modules").is_dir()
    ]
    if found and not missing:
        return found
    lacking("Node 20" if not found else f"`npm ci` in {' and '.join(missing)}")


class Process:
    """A program of ours in a process of its own, that can be killed, stopped and started again."""

    def __init__(self, *arguments: str, ready: bytes) -> None:
        self._arguments = arguments
        self._ready = ready
        self._process: asyncio.subprocess.Process | None = None
        self._line = b""

    @property
    def url(self) -> str:
        """Where it listens, if it is a hub: the last word by which it says that it is ready."""
        return self._line.decode().split()[-1]

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None
        return self._process.pid

    async def start(self) -> bytes:
        """Start it; the line by which it says that it is ready."""
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            *self._arguments,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        assert self._process.stderr is not None
        async with asyncio.timeout(20):
            async for line in self._process.stderr:
                if self._ready in line:
                    self._line = line
                    return line
        raise AssertionError(f"{self._arguments} ended before it was ready")

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    async def ended(self) -> int:
        """Its exit code, when it has ended."""
        assert self._process is not None
        async with asyncio.timeout(20):
            await self._process.communicate()
        assert self._process.returncode is not None
        return self._process.returncode

    async def end(self) -> None:
        """Kill it if it still is there."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.communicate()


Start = Callable[..., Awaitable[Process]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Starts processes, and leaves none behind."""
    async with AsyncExitStack() as processes:

        async def start(*arguments: str, ready: bytes) -> Process:
            process = Process(*arguments, ready=ready)
            processes.push_async_callback(process.end)
            await process.start()
            return process

        yield start


class RedisServer:
    """A real redis-server on a port of its own, that can be killed, stalled and started again."""

    def __init__(self, program: str, folder: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        self._command = [
            *(program, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", folder),
            *("--save", "", "--appendonly", "no"),
        ]
        self._databases = itertools.cycle(range(16))
        self._process: subprocess.Popen[bytes] | None = None

    def url(self) -> str:
        """An address with an empty database that nobody else uses just now."""
        database = next(self._databases)
        url = f"redis://127.0.0.1:{self.port}/{database}"
        self.command("-n", str(database), "flushdb")
        return url

    def command(self, *words: str) -> str:
        """What redis-cli says."""
        arguments = ["redis-cli", "-p", str(self.port), *words]
        return subprocess.run(arguments, check=True, capture_output=True, text=True).stdout.strip()

    def start(self) -> None:
        """Start it, empty."""
        self._process = subprocess.Popen(
            self._command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if b"Ready to accept connections" in line:
                return
        raise AssertionError("redis-server ended before it was ready")

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """Kill it, as kill -9."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


@pytest.fixture(scope="session")
def redis_program() -> str:
    """A redis-server; missing, a test is skipped, in CI it fails."""
    found = shutil.which("redis-server") or shutil.which("valkey-server")
    return found or lacking("redis-server (apt-get install redis-server)")


@pytest.fixture(scope="session")
def shared_redis(redis_program: str) -> Iterator[RedisServer]:
    """A Redis for all tests that leave it alone."""
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer(redis_program, folder)
        server.start()
        yield server
        server.kill()


@pytest.fixture
def own_redis(redis_program: str, tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis for a test that does something to it."""
    server = RedisServer(redis_program, str(tmp_path))
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="session")
def nginx() -> str:
    """An nginx; missing, a test is skipped, in CI it fails."""
    found = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
    return found or lacking("nginx (apt-get install nginx-light)")


@pytest.fixture(scope="session")
def browser() -> str:
    """Chromium, and what drives it; missing, a test is skipped, in CI it fails."""
    found = shutil.which("chromium")
    if found and (ROOT / "tests/node/browser/node_modules").is_dir():
        return found
    lacking("Chromium (apt-get install chromium) and `npm ci` in tests/node/browser")


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for this machine, with its key."""
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-keyout", folder / "key.pem", "-out", folder / "cert.pem"),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"),
        ],
        check=True,
        capture_output=True,
    )
    return folder
