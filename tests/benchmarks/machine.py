"""What the driver needs of the machine: processes, what they cost, free ports.

Linux only. Costs are read by the driver alone, so that measuring costs nothing where it is
measured.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import socket
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.benchmarks.work import HOST

ROOT = Path(__file__).parents[2]

_PROC = Path("/proc")
_POLL_SECONDS = 0.002
_QUIET_SECONDS = 0.1
_QUIET_SHARE = 0.02


class ProcessFailed(RuntimeError):
    """A process ended, or was silent, where it had to say something."""


class Process:
    """One process, talked to in lines of JSON; it ends with its block, or with this process.

    Args:
        arguments: What to run, from the project's root.
        name: What it is, for errors.
    """

    def __init__(self, arguments: Sequence[str], *, name: str) -> None:
        self.pid = 0
        self._arguments = arguments
        self._name = name
        self._process: asyncio.subprocess.Process | None = None
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process

    async def __aenter__(self) -> Self:
        # setpriv executes it in its own place: the pid is the program's.
        self._process = await asyncio.create_subprocess_exec(
            "setpriv",
            "--pdeathsig",
            "KILL",
            *self._arguments,
            cwd=ROOT,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=self._errors,
        )
        self.pid = self._process.pid
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()
        self._errors.close()

    async def read(self, timeout: float = 120) -> dict[str, Any]:
        """The next line.

        Raises:
            ProcessFailed: There was none within ``timeout`` seconds.
        """
        assert self._process is not None
        assert self._process.stdout is not None
        try:
            line = await asyncio.wait_for(self._process.stdout.readline(), timeout)
        except TimeoutError:
            raise ProcessFailed(f"{self._name} was silent for {timeout} s") from None
        if not line:
            raise self._ended()
        read: dict[str, Any] = json.loads(line)
        return read

    async def ask(self, command: str, **arguments: Any) -> dict[str, Any]:
        """Have it do something, and wait for what it says to that.

        Raises:
            ProcessFailed: It ended, or said nothing in two minutes.
        """
        assert self._process is not None
        assert self._process.stdin is not None
        line = json.dumps({"command": command, **arguments}) + "\n"
        self._process.stdin.write(line.encode())
        return await self.read()

    async def listening(self, port: int, timeout: float = 30) -> None:
        """Wait until it takes connections.

        Raises:
            ProcessFailed: It did not within ``timeout`` seconds.
        """
        assert self._process is not None
        until = time.monotonic() + timeout
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection((HOST, port), 1).close()
                return
            if self._process.returncode is not None:
                raise self._ended()
            if time.monotonic() > until:
                raise ProcessFailed(f"{self._name} took no connection for {timeout} s")
            await asyncio.sleep(_POLL_SECONDS)

    def cpu(self) -> float:
        """CPU seconds that it has used, all its threads.

        Raises:
            ProcessFailed: It ended.
        """
        try:
            # What clock_getcpuclockid(3) returns; /proc counts in hundredths of a second.
            return time.clock_gettime(~self.pid << 3 | 2)
        except OSError:
            raise self._ended() from None

    def resident(self) -> float:
        """Resident memory, kB.

        Raises:
            ProcessFailed: It ended.
        """
        return self._status("VmRSS")

    def peak(self) -> float:
        """The most resident memory since `forget_peak`, kB; raises as `resident`."""
        return self._status("VmHWM")

    def forget_peak(self) -> None:
        """Have `peak` begin anew; raises as `resident`."""
        try:
            (_PROC / str(self.pid) / "clear_refs").write_text("5")  # see proc(5)
        except OSError:
            raise self._ended() from None

    def _status(self, field: str) -> float:
        try:
            status = (_PROC / str(self.pid) / "status").read_text()
        except OSError:
            raise self._ended() from None
        (line,) = (each for each in status.splitlines() if each.startswith(field))
        return float(line.split()[1])

    async def quiet(self, timeout: float = 2) -> None:
        """Wait until it does next to nothing, or ``timeout`` seconds: heartbeats may not let it."""
        until = time.monotonic() + timeout
        while time.monotonic() < until:
            before = self.cpu()
            await asyncio.sleep(_QUIET_SECONDS)
            if self.cpu() - before < _QUIET_SECONDS * _QUIET_SHARE:
                return

    def _ended(self) -> ProcessFailed:
        self._errors.seek(0)
        said = self._errors.read().decode(errors="replace")[-2000:]
        return ProcessFailed(f"{self._name} ended: {said}")


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def raise_file_limit(most: int = 65_536) -> int:
    """Let this process and those that it starts open as many files as they may; how many.

    Args:
        most: Files to ask for where the hard limit is lower, which only root is granted.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < most:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
            return most
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


class Neighbours:
    """How much of the machine others use, its host included, from when this is made."""

    def __init__(self) -> None:
        self._since = (time.monotonic(), _busy(), _own())

    def share(self) -> float:
        """The share of all CPUs until now; right when the processes started here have ended."""
        began, busy, own = self._since
        others = _busy() - busy - (_own() - own)
        return max(0.0, others / (time.monotonic() - began) / (os.cpu_count() or 1))


def _busy() -> float:
    """CPU seconds since boot that somebody used, or that the host took."""
    fields = (_PROC / "stat").read_text().split(maxsplit=9)[1:9]
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, fields)
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def _own() -> float:
    """CPU seconds of this process and of those it started that have ended."""
    return sum(os.times()[:4])
