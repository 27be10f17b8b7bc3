"""The README's commands, code and output are what a reader gets."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap

from tests.support.tools import ROOT

README = (ROOT / "README.md").read_text()

VARYING = {
    r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}": "UUID",
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z": "TIME",
    r"127\.0\.0\.1:\d+": "HUB",
    r"\"\d{4}-[-\dT:.]*…": "TIME…",
}


def blocks(language: str) -> list[str]:
    """The fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def settled(text: str) -> list[str]:
    """Lines without what differs from run to run."""
    for pattern, name in VARYING.items():
        text = re.sub(pattern, name, text)
    return text.strip().splitlines()


def test_the_commands_stand_on_the_first_screen() -> None:
    """A stranger copies them; strangers' programs run the last two."""
    assert blocks("bash")[:3] == [
        """\
pip install "alephscript[hub,cli]"
alephscript demo # a hub, a bot and its page; prints what to type next
""",
        'pip install -e ".[examples]" && python -m examples.quickstart\n',
        'pip install -e ".[dev]" && python -m pytest\n',
    ]


def test_the_code_runs_and_does_what_it_says() -> None:
    """All Python blocks together are a program."""
    declarations, use, later = blocks("python")
    program = "\n".join(
        [
            declarations,
            "import asyncio",
            "from alephscript.hub import Hub",
            "async def main():",
            textwrap.indent(use, "    "),
            "    assert greeting == Greeting(text='hello you'), greeting",
            "    assert fields == {'text': 'hello you'}, fields",
            textwrap.indent(later, "    "),
            "    assert greeting == Greeting(text='hello you'), greeting",
            "asyncio.run(main())",
        ]
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=30
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["LOBBY you", "LOBBY you"]


def test_the_output_shown_is_the_quickstarts() -> None:
    """If this fails, run the quickstart and put its output into the README."""
    done = subprocess.run(
        [sys.executable, "-m", "examples.quickstart"],
        capture_output=True,
        text=True,
        check=True,
        timeout=50,
    )
    [shown] = [block for block in blocks("text") if block.startswith("hub ")]
    assert settled(shown) == settled(done.stdout)
