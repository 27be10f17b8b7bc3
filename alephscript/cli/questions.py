"""What a capability asks back, asked at the terminal.

May go in: a question shown, lines read, the answer made of them. May not: asking the capability
(`asking`).
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from typing import Any

from alephscript.cli.printing import complain
from alephscript.client.messages import Question
from alephscript.contracts.entries import Entry, make_entries, read_entries
from alephscript.errors import CapabilityError, RequestError
from alephscript.protocol.json import write_json
from alephscript.protocol.text import printable

__all__ = ["can_ask", "make_on_ask"]

_YES, _NO = ("y", "yes", "true", "1"), ("n", "no", "false", "0")


def can_ask() -> bool:
    """Whether somebody sits at a terminal who can be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def make_on_ask(clear: Callable[[], None]) -> Callable[[Question[Any]], Any]:
    """Make the callable that answers questions by asking whoever sits at the terminal.

    Args:
        clear: Takes away the line that shows how far the request is.
    """
    turn = asyncio.Lock()

    async def answer(question: Question[Any]) -> Any:
        async with turn:
            clear()
            return await _ask(question)

    return answer


async def _ask(question: Question[Any]) -> Any:
    payload = write_json(question.payload).decode()
    complain(f"{question.capability} {payload}")
    if question.summary:
        complain(question.summary)
    entries = make_entries(question.reply)
    while True:
        given = {each.name: await _ask_for(each) for each in entries}
        try:
            return read_entries(question.reply, given)
        except RequestError as error:
            complain(error.message)


async def _ask_for(entry: Entry) -> Any:
    """Ask for one entry until it is one; None if it is left out."""
    while True:
        try:
            text = (await _read_line(_prompt(entry))).strip()
        except EOFError:
            raise CapabilityError("declined", "nobody answered") from None
        if not text:
            if not entry.is_required or entry.default is not None:
                return entry.default
            if entry.kind == "string" and not entry.choices:
                return ""
        elif (value := _read(entry, text)) is not None:
            return value
        complain(f"{entry.name}: {_hint(entry)}, please")


def _prompt(entry: Entry) -> str:
    default = "" if entry.default is None else f" [{write_json(entry.default).decode()}]"
    about = f" ({entry.about})" if entry.about else ""
    return f"{entry.name}{about}, {_hint(entry)}{default}: "


def _hint(entry: Entry) -> str:
    if entry.choices:
        return " or ".join(entry.choices)
    return {
        "boolean": "y or n",
        "string": "a text",
        "integer": "a whole number",
        "number": "a number",
        "json": "JSON",
    }[entry.kind]


def _read(entry: Entry, text: str) -> Any:
    """Read what was typed; None if the entry takes something else."""
    if entry.choices:
        return text if text in entry.choices else None
    try:
        match entry.kind:
            case "boolean":
                return True if text.lower() in _YES else False if text.lower() in _NO else None
            case "integer":
                return int(text)
            case "number":
                return float(text)
            case _:
                return text
    except ValueError:
        return None


async def _read_line(prompt: str) -> str:
    """Read a line from the terminal, without keeping the loop.

    Raises:
        EOFError: The terminal has no more.
    """
    print(printable(prompt), end="", file=sys.stderr, flush=True)
    if os.name == "nt":  # whose loops watch no terminal
        return await asyncio.to_thread(input)
    terminal, loop = sys.stdin.fileno(), asyncio.get_running_loop()
    line: asyncio.Future[str] = loop.create_future()

    def read() -> None:
        # A terminal gives one line at a time.
        text = os.read(terminal, 4096)
        if not line.done():
            line.set_result(text.decode(sys.stdin.encoding, "replace"))

    loop.add_reader(terminal, read)
    try:
        text = await line
    finally:
        loop.remove_reader(terminal)
    if not text:
        raise EOFError
    return text
