"""Commands on a pseudo-terminal of their own, and what stands on it."""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
import struct
import sys
import termios
from pathlib import Path
from typing import Self

COMMAND = Path(sys.executable).with_name("alephscript")

_SEQUENCE = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


class Screen:
    """A command whose stdin, stdout and stderr are one terminal.

    Args:
        arguments: The command's.
        size: Lines and columns.
        environment: Variables besides those of the test.
    """

    def __init__(
        self, *arguments: str, size: tuple[int, int] = (24, 80), **environment: str
    ) -> None:
        self._arguments = arguments
        self._size = size
        foreign = ("COLUMNS", "LINES", "NO_COLOR")
        own = {name: value for name, value in os.environ.items() if name not in foreign}
        self._environment = {**own, "TERM": "xterm", **environment}
        self._more = asyncio.Event()
        self.raw = b""

    async def __aenter__(self) -> Self:
        self._keyboard, terminal = os.openpty()
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", *self._size, 0, 0))
        self.process = await asyncio.create_subprocess_exec(
            COMMAND,
            *self._arguments,
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            env=self._environment,
            start_new_session=True,
        )
        os.close(terminal)
        asyncio.get_running_loop().add_reader(self._keyboard, self._read)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()
        asyncio.get_running_loop().remove_reader(self._keyboard)
        os.close(self._keyboard)

    def _read(self) -> None:
        try:
            self.raw += os.read(self._keyboard, 65536)
        except OSError:  # the last program that had the terminal has ended
            asyncio.get_running_loop().remove_reader(self._keyboard)
        self._more.set()

    def press(self, keys: str) -> None:
        """Press keys."""
        os.write(self._keyboard, keys.encode())

    def forget(self) -> None:
        """Look only at what is written from now on."""
        self.raw = b""

    @property
    def text(self) -> str:
        """What was written, without escape sequences."""
        return _SEQUENCE.sub("", self.raw.decode(errors="replace")).replace("\r\n", "\n")

    async def frame(self) -> str:
        """Wait for a screen to be drawn, from its upper left corner on; with its colours."""
        self.forget()
        while len(drawn := self.raw.split(b"\x1b[H")) < 3:
            self._more.clear()
            await self._more.wait()
        return drawn[1].decode().replace("\r\n", "\n")

    async def see(self, pattern: str) -> re.Match[str]:
        """Wait until a pattern stands in what was written."""
        while (found := re.search(pattern, self.text)) is None:
            self._more.clear()
            await self._more.wait()
        return found

    async def ended(self) -> int:
        """Wait for the command to end, and for all that it has written."""
        status = await self.process.wait()
        await asyncio.sleep(0)
        return status
