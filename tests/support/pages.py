"""The documentation's pages as programs: code is run, and has to print the output shown."""

from __future__ import annotations

import ast
import contextlib
import inspect
import io
import re
import sys
import types
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from markdown_it import MarkdownIt

from tests.support.tools import ROOT

DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))

PORT = "3010"
"""The port on the pages; a test puts a free one in its place."""

VARYING = {
    r"(?m)^\d+\.\d+ m?s$": "1.25 ms",
    r"\d+\.\d+ m?s (then|now)": r"1.25 ms \1",
    r"\bin \d+\.\d\ds\b": "in 0.01s",
    r"\bseed \d+\b": "seed 7",
    r"\b[0-9a-f]{12}\b": "0123456789ab",
    r"\b\d\d:\d\d:\d\d\.\d{6}\b": "12:30:01.250000",
    r"\bcli[0-9a-f]{8}\b": "cli01234567",
    r'"(sesion|socketId)":"[\w-]+"': r'"\1":"0123456789"',
    r"← (connected|received) (?!cli)[\w-]{8}": r"← \1 01234567",
}
"""Patterns of text that differs from run to run, with what stands for each in comparisons."""


class Block(NamedTuple):
    """A fenced block.

    Attributes:
        language: ``python``, ``console`` …
        caption: What stands above it: a file's name, a terminal's; or nothing.
        text: What is in it.
        where: Page and line.
    """

    language: str
    caption: str
    text: str
    where: str


def blocks(page: Path) -> list[Block]:
    """List the blocks of a page, in order."""
    return list(_blocks(page))


def _blocks(page: Path) -> Iterator[Block]:
    for token in MarkdownIt("commonmark").parse(page.read_text(encoding="utf-8")):
        if token.type != "fence":
            continue
        line = (token.map or [0])[0] + 1
        directive = re.fullmatch(r"\{code-block\} *(\w+)", token.info.strip())
        if directive is None:
            yield Block(token.info.strip(), "", token.content, f"{page}:{line}")
            continue
        options, _, text = token.content.partition("\n\n")
        caption = re.fullmatch(r":caption: (.+)", options)
        assert caption is not None, f"{page}:{line} wants a caption and an empty line"
        yield Block(directive[1], caption[1], text, f"{page}:{line}")


def settled(text: str) -> str:
    """Replace in a text what differs from run to run."""
    for pattern, name in VARYING.items():
        text = re.sub(pattern, name, text)
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


async def run(
    page: Path, folder: Path, port: int, follow: Callable[[Block], Awaitable[None]] | None = None
) -> None:
    """Do what a page shows, from top to bottom.

    Blocks of Python are one program; a block of text after one of them is what it prints. A block
    with a file's name is written to that file.

    Args:
        page: The page.
        folder: Where files go.
        port: Stands for `PORT`.
        follow: Does what blocks of other languages show.
    """
    module = types.ModuleType("page")
    sys.modules["page"] = module  # where attrs looks up what annotations mean
    output: str | None = None  # of the block above
    try:
        for block in blocks(page):
            text = block.text.replace(PORT, str(port))
            if block.language == "text" and output is not None:
                assert settled(output) == settled(text), f"{block.where} is really:\n{output}"
                output = None
                continue
            assert not output, f"not shown before {block.where}:\n{output}"
            output = None
            if re.fullmatch(r"[\w./-]+\.\w+", block.caption):
                folder.joinpath(block.caption).write_text(text, encoding="utf-8")
            elif block.language == "python":
                output = await _execute(block, text, module)
            elif follow is not None:
                await follow(block._replace(text=text))
        assert not output, f"not shown at the end of {page}:\n{output}"
    finally:
        del sys.modules["page"]


async def _execute(block: Block, text: str, module: types.ModuleType) -> str:
    """Run a block, in which `await` may stand anywhere, and return what it prints."""
    path, _, line = block.where.rpartition(":")
    source = "\n" * int(line) + text
    code = compile(source, path, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        # `async with` at a module's top makes its code a coroutine.
        made = eval(code, module.__dict__)
        if inspect.isawaitable(made):
            await made
    return printed.getvalue()
