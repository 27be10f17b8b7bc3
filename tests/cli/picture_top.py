"""Takes the picture of ``alephscript top`` that the documentation shows.

Run it with ``python -m tests.cli.picture_top``: it writes docs/how-to/images/top.svg, of the
command's own terminal beside a mesh with a hundred members and thirty rooms, and takes a minute.
"""

from __future__ import annotations

import asyncio
import io
import re
import sys

from rich.console import Console
from rich.text import Text

from alephscript.hub import Hub
from tests.support.crowd import crowd
from tests.support.screens import Screen
from tests.support.tools import ROOT

IMAGES = ROOT / "docs" / "how-to" / "images"
SECONDS = 45.0
"""Of traffic before the picture, for its figures."""

SIZE = (24, 80)
_FONTS = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)
"""Fonts from elsewhere, which a picture does not load."""


async def main(seconds: float) -> None:
    """Let a mesh live for a while, and draw what stands on the screen then."""
    async with (
        Hub(port=0) as hub,
        crowd(hub.url, every=1.0),
        Screen("top", "--url", hub.url, size=SIZE) as screen,
    ):
        await asyncio.sleep(seconds)
        shown = await screen.frame()
    (IMAGES / "top.svg").write_text(draw(shown))


def draw(shown: str) -> str:
    """Draw a screen as SVG."""
    console = Console(record=True, width=SIZE[1], file=io.StringIO(), force_terminal=True)
    console.print(Text.from_ansi(shown))
    svg = console.export_svg(title="alephscript top", unique_id="top")
    return _FONTS.sub("", svg).replace("Fira Code,", "Fira Code, ui-monospace,")


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1]) if len(sys.argv) > 1 else SECONDS))
