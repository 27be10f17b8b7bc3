"""What is public is what `__all__` says, and importing it costs nothing heavy."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys

import pytest

import alephscript

MODULES = sorted(
    name
    for _, name, _ in pkgutil.walk_packages(alephscript.__path__, "alephscript.")
    if not name.endswith("__main__")
)


def test_the_packages_names_are_unique_and_there() -> None:
    """`from alephscript import *` gives exactly these."""
    names = alephscript.__all__
    assert len(names) == len(set(names))
    assert all(hasattr(alephscript, name) for name in names)


@pytest.mark.parametrize("module", MODULES)
def test_each_modules_names_are_there(module: str) -> None:
    """A name in `__all__` that does not exist breaks a star import."""
    loaded = importlib.import_module(module)
    assert all(hasattr(loaded, name) for name in loaded.__all__)
    assert len(loaded.__all__) == len(set(loaded.__all__))


def test_importing_the_package_imports_nothing_heavy() -> None:
    """Transports and servers are imported by whoever opens one."""
    heavy = {"socketio", "engineio", "aiohttp", "uvicorn", "websockets", "uvloop"}
    program = f"import sys, alephscript, alephscript.testing; print({heavy!r} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stdout.strip() == "set()"


def test_importing_the_package_imports_no_side_of_a_hub() -> None:
    """A client needs neither the rules of a mesh nor the server that runs them."""
    program = (
        "import sys, alephscript, alephscript.sync; "
        "print([name for name in sys.modules "
        "if name.startswith(('alephscript.mesh', 'alephscript.hub', 'alephscript.testing'))])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stdout.strip() == "[]"
