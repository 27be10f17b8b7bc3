"""Redis servers: one that a session of tests shares, and ones that a test may kill."""

from __future__ import annotations

import itertools
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.processes import choose_port
from tests.support.tools import skip_for_lack_of


class RedisServer:
    """A redis-server on a port of its own, to be killed, stalled and started again."""

    def __init__(self, program: str, folder: str) -> None:
        self.port = choose_port()
        self._command = [
            *(program, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", folder),
            *("--save", "", "--appendonly", "no"),
        ]
        self._databases = itertools.cycle(range(16))
        self._process: subprocess.Popen[bytes] | None = None

    def url(self) -> str:
        """Return the address of an empty database that no other test uses just now."""
        database = next(self._databases)
        url = f"redis://127.0.0.1:{self.port}/{database}"
        self.command("-n", str(database), "flushdb")
        return url

    def command(self, *words: str) -> str:
        """Run redis-cli, and return its output."""
        arguments = ["redis-cli", "-p", str(self.port), *words]
        return subprocess.run(arguments, check=True, capture_output=True, text=True).stdout.strip()

    def start(self) -> None:
        """Start the server, without data."""
        self._process = subprocess.Popen(
            self._command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if b"Ready to accept connections" in line:
                return
        raise AssertionError("redis-server ended before it was ready")

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the server."""
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """Kill the server, as kill -9 does."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


@pytest.fixture(scope="session")
def redis_program() -> str:
    """Find redis-server, or skip the test; in CI, fail."""
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    return program or skip_for_lack_of("redis-server (apt-get install redis-server)")


@pytest.fixture(scope="session")
def shared_redis(redis_program: str) -> Iterator[RedisServer]:
    """Start a Redis for all tests that neither stop nor fill it."""
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer(redis_program, folder)
        server.start()
        yield server
        server.kill()


@pytest.fixture
def own_redis(redis_program: str, tmp_path: Path) -> Iterator[RedisServer]:
    """Start a Redis for one test, which may stop it."""
    server = RedisServer(redis_program, str(tmp_path))
    server.start()
    yield server
    server.kill()
