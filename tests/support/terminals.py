"""Terminals in which tests do what a page shows."""

from __future__ import annotations

import asyncio
import os
import pty
import sys
import termios
from collections.abc import Iterable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import NamedTuple, Self

from tests.support.pages import Block, settled

PROMPT = b"\x1f"
"""A prompt that no program prints."""

FOREIGN = (
    *("ALEPHSCRIPT", "BUILD_NUMBER", "CI", "COV", "FORCE_COLOR", "PYTEST", "PYTHON", "PY_COLORS"),
    "VIRTUAL_ENV",
)
"""Beginnings of the variables that a test run has and a reader has not."""

OPEN = 'exec bash --noprofile --norc --noediting -i <"$0" >"$0" 2>&1'
"""A shell that opens its own terminal as a session's leader: so Ctrl+C reaches its programs."""


def environment(home: Path, port: int) -> dict[str, str]:
    """Return a reader's environment, with this Python and a hub of the test's own."""
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)},
        "ALEPHSCRIPT_URL": f"http://127.0.0.1:{port}",  # what is the default may be taken
        "COLUMNS": "80",
        "HOME": str(home),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PS1": PROMPT.decode(),
        "TERM": "dumb",
        "VIRTUAL_ENV_DISABLE_PROMPT": "1",
    }


class Step(NamedTuple):
    """A line to type, or none, and the output that follows."""

    typed: str
    shown: str


def steps(text: str) -> list[Step]:
    """Split a block of a terminal into steps: lines after ``$`` and ``^C`` are typed."""
    found: list[Step] = []
    for line in text.splitlines():
        if line.startswith("$ "):
            found.append(Step(line[2:], ""))
        elif line == "^C":
            found.append(Step(line, ""))
        elif found:
            found[-1] = found[-1]._replace(shown=f"{found[-1].shown}{line}\n")
        else:
            found.append(Step("", f"{line}\n"))
    return found


class Terminal:
    """A pseudo-terminal with a shell in it.

    Args:
        folder: Where the shell starts.
        port: Where the mesh is.
    """

    def __init__(self, folder: Path, port: int) -> None:
        self._folder = folder
        self._port = port
        self._seen = b""
        self._more = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._keyboard, self._screen = pty.openpty()
        attributes = termios.tcgetattr(self._screen)
        attributes[1] &= ~termios.OPOST  # lines end as programs end them
        attributes[3] &= ~termios.ECHO  # what is typed is known
        termios.tcsetattr(self._screen, termios.TCSANOW, attributes)
        asyncio.get_running_loop().add_reader(self._keyboard, self._read)
        self._shell = await asyncio.create_subprocess_exec(
            *("sh", "-c", OPEN, os.ttyname(self._screen)),
            cwd=self._folder,
            env=environment(self._folder, self._port),
            start_new_session=True,
        )
        await self._until_prompt()
        return self

    async def __aexit__(self, *_: object) -> None:
        asyncio.get_running_loop().remove_reader(self._keyboard)
        os.close(self._screen)
        os.close(self._keyboard)  # hangs up on all that runs in it
        await self._shell.wait()

    async def do(self, step: Step, *, stays: bool) -> None:
        """Type something, and see what is shown.

        Args:
            step: What is typed, and what is to be seen.
            stays: Whether what is typed goes on after that.
        """
        if step.typed:
            typed = "\x03" if step.typed == "^C" else f"{step.typed}\n"
            os.write(self._keyboard, typed.encode())
        if stays:
            await self._until_shown(step)
        else:
            seen = await self._until_prompt()
            assert settled(seen) == settled(step.shown), f"{step.typed} shows:\n{seen}"

    async def _until_prompt(self) -> str:
        while PROMPT not in self._seen:
            await self._wait()
        seen, _, self._seen = self._seen.partition(PROMPT)
        return seen.decode()

    async def _until_shown(self, step: Step) -> None:
        for line in step.shown.splitlines():
            while b"\n" not in self._seen:
                assert PROMPT not in self._seen, f"{step.typed} has ended: {self._seen!r}"
                await self._wait()
            seen, _, self._seen = self._seen.partition(b"\n")
            assert settled(seen.decode()) == settled(line), f"{step.typed} shows {seen!r}"

    async def _wait(self) -> None:
        self._more.clear()
        await self._more.wait()

    def _read(self) -> None:
        self._seen += os.read(self._keyboard, 65536)
        self._more.set()


class Desk:
    """The terminals of a page, by the captions of its ``console`` blocks.

    Args:
        shown: The page's blocks.
        folder: Where the terminals start.
        port: Where the mesh is.
    """

    def __init__(self, shown: Iterable[Block], folder: Path, port: int) -> None:
        self._folder = folder
        self._port = port
        self._terminals: dict[str, Terminal] = {}
        self._stack = AsyncExitStack()
        self._typed: dict[str, list[str]] = {}
        for block in shown:
            if block.language == "console":
                typed = (step.typed for step in steps(block.text))
                self._typed.setdefault(block.caption, []).extend(typed)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def follow(self, block: Block) -> None:
        """Do what a block shows, if it shows a terminal."""
        if block.language != "console":
            return
        terminal = self._terminals.get(block.caption)
        if terminal is None:
            terminal = Terminal(self._folder, self._port)
            self._terminals[block.caption] = await self._stack.enter_async_context(terminal)
        to_come = self._typed[block.caption]
        for step in steps(block.text):
            to_come.pop(0)
            # What shows more later, or is interrupted, goes on until then.
            await terminal.do(step, stays=to_come[:1] in (["^C"], [""]))
