"""Environments of their own for earlier versions of the package."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.benchmarks.machine import ROOT

__all__ = ["holding"]

_EXTRAS = "[hub,fast]"


@contextmanager
def holding(version: str) -> Iterator[Path]:
    """The interpreter of an environment that holds a version of the package and its extras.

    It is made for the block, by pip from where that takes packages, and gone after.

    Args:
        version: What git knows the version by, a folder with its source, or an interpreter that
            has it already.
    """
    given = Path(version)
    if given.is_file() and os.access(given, os.X_OK):
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="alephscript-release-") as name:
        folder = Path(name)
        source = given.resolve() if given.is_dir() else _checked_out(version, folder / "source")
        venv.create(folder / "venv", with_pip=True, symlinks=True)
        python = folder / "venv" / "bin" / "python"
        sys.stderr.write(f"installing {version} in an environment of its own\n")
        install = [str(python), "-m", "pip", "install", "--quiet", f"{source}{_EXTRAS}"]
        subprocess.run(install, check=True)
        yield python


def _checked_out(ref: str, folder: Path) -> Path:
    folder.mkdir()
    archive = folder.with_suffix(".tar")
    archived = ["git", "archive", "--output", str(archive), ref, "--"]
    subprocess.run(archived, cwd=ROOT, check=True)
    subprocess.run(["tar", "-xf", str(archive), "-C", str(folder)], check=True)
    return folder
