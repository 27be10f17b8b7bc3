"""The tutorial, word by word, from an empty folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.pages import DOCS, blocks, run
from tests.support.terminals import Desk

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300)]  # pip has to fetch what it installs


async def test_the_tutorial_works_word_by_word(tmp_path: Path, port: int) -> None:
    """Every file is written, every command typed, all that is shown is seen, to a green pytest."""
    page = DOCS / "tutorial" / "first-bot.md"
    (tmp_path / "alephscript").symlink_to(DOCS.parent)
    async with Desk(blocks(page), tmp_path, port) as desk:
        await run(page, tmp_path / "greeter", port, desk.follow)
