"""``alephscript new``: a project to begin with.

What is written is ``new-bot/`` beside this file, itself a project whose bot runs and whose test
passes, under another name.
"""

from __future__ import annotations

import argparse
import importlib.util
import keyword
import re
import sys
from importlib import resources
from pathlib import Path

from alephscript.cli.options import Add, CliError

__all__ = ["FILES", "add_to"]

FILES = ("README.md", "pyproject.toml", "new_bot.py", "tests/test_new_bot.py")
"""Of the template."""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:[-_][A-Za-z0-9]+)*")


def add_to(add: Add) -> None:
    """Add the command."""
    made = add("new", "make a project: a bot, its test, how to run them", _new)
    made.add_argument("name", metavar="NAME", help="its name, and the folder's to make it in")


def _new(options: argparse.Namespace) -> None:
    project = resources.files("alephscript.cli") / "new-bot"
    texts = {path: project.joinpath(path).read_text(encoding="utf-8") for path in FILES}
    spellings = _spellings(options.name, others=texts["new_bot.py"].replace("NewBot", ""))

    def named(text: str) -> str:
        return re.sub("|".join(spellings), lambda found: spellings[found[0]], text)

    folder = Path(options.name)
    try:
        folder.mkdir()
        for path, text in texts.items():
            file = folder / named(path)
            file.parent.mkdir(exist_ok=True)
            file.write_text(named(text), encoding="utf-8")
    except FileExistsError as exc:
        raise CliError(f"{folder} exists already; choose another name") from exc
    except OSError as exc:
        raise CliError(f"cannot make {folder}: {exc.strerror}") from exc
    print(f"{folder} is made; {folder / 'README.md'} says how to run and test it", file=sys.stderr)


def _spellings(name: str, others: str) -> dict[str, str]:
    """A project's name where the template's stands: as it is, as module, room and class.

    Raises:
        CliError: A project, a module or a class cannot be called so.
    """
    if not _NAME.fullmatch(name):
        raise CliError(
            f"{name!r} is no project's name: write letters, digits and single hyphens, "
            "a letter first, as in my-bot"
        )
    module = name.replace("-", "_").lower()
    in_code = "".join(part[0].upper() + part[1:] for part in re.split("[-_]", name))
    if keyword.iskeyword(module) or keyword.iskeyword(in_code):
        raise CliError(f"{name} is a word of Python; choose another name")
    if importlib.util.find_spec(module) is not None:
        raise CliError(f"{name} would hide the module {module}; choose another name")
    if re.search(rf"\b{in_code}\b", others):
        raise CliError(f"{name} would hide {in_code}, which bots use; choose another name")
    return {"new-bot": name, "new_bot": module, "NewBot": in_code, "NEW_BOT": module.upper()}
