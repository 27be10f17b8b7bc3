"""``alephscript new``: a project to begin with.

The project is a copy, under another name, of ``new-bot/`` beside this file, which is itself a
project whose bot runs and whose test passes.

May go in: copying and naming. May not: what a new project contains, which is in ``new-bot/``.
"""

from __future__ import annotations

import argparse
import importlib.util
import keyword
import re
from importlib import resources
from pathlib import Path

from alephscript.cli.options import Add, CliError
from alephscript.cli.printing import complain

__all__ = ["FILES", "add_to"]

FILES = {
    "README.md": "README.md",
    "pyproject.toml": "pyproject.toml",
    "new_bot.py": "new_bot.py",
    "tests/test_new_bot.py": "tests/test_new_bot.py",
    "Containerfile": "Containerfile",
    "new-bot.service": "new-bot.service",
    # Under other names in the package: builders and hosts of repositories would obey them there.
    "gitignore": ".gitignore",
    "test.yml": ".github/workflows/test.yml",
}
"""Files of the template, and where each is in a project."""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:[-_][A-Za-z0-9]+)*")


def add_to(add: Add) -> None:
    """Add the command."""
    command = add("new", "make a project: a bot, its test, how to run them", _new)
    command.add_argument("name", metavar="NAME", help="name of the project and of its folder")


def _new(options: argparse.Namespace) -> None:
    project = resources.files("alephscript.cli") / "new-bot"
    texts = {path: project.joinpath(path).read_text(encoding="utf-8") for path in FILES}
    spellings = _spellings(options.name, others=texts["new_bot.py"].replace("NewBot", ""))

    def rename(text: str) -> str:
        return re.sub("|".join(spellings), lambda match: spellings[match[0]], text)

    folder = Path(options.name)
    try:
        folder.mkdir()
        for path, text in texts.items():
            file = folder / rename(FILES[path])
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(rename(text), encoding="utf-8")
    except FileExistsError as exc:
        raise CliError(f"{folder} exists already; choose another name") from exc
    except OSError as exc:
        raise CliError(f"cannot make {folder}: {exc.strerror}") from exc
    complain(f"{folder} is made; {folder / 'README.md'} says how to run and test it")


def _spellings(name: str, others: str) -> dict[str, str]:
    """Spell a project's name in place of the template's: as it is, as module, room and class.

    Raises:
        CliError: The name cannot be that of a project, a module or a class.
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
