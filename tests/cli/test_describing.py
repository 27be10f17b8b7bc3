"""Finding a class by what somebody has typed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from alephscript.cli.describing import find_class
from alephscript.cli.options import CliError

FILES = {
    "bots_there": "import alephscript\nclass Greeter(alephscript.AlephScriptClient):\n    pass\n",
    "bots_that_fail": "value = {}\n\nvalue['needle']\n",
    "bots_half_written": "class Greeter(\n",
    "bots_that_lack": "import alephscript\nimport no_such_package\n",
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Modules in the working directory."""
    for name, text in FILES.items():
        (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    yield
    for name in FILES:
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("path", "says"),
    [
        (
            "bots_there:Gretter",
            "write it as package.module:Class; did you mean bots_there:Greeter?",
        ),
        ("bots_there", "write it as package.module:Class; did you mean bots_there:Greeter?"),
        ("bots_there:Other", "cannot find bots_there:Other, write it as package.module:Class"),
        ("bots_there:alephscript", "bots_there:alephscript is no AlephScriptClient class"),
        ("bots_here:Greeter", "write it as package.module:Class: No module named 'bots_here'"),
        (
            "bots_that_fail:Greeter",
            "bots_that_fail cannot be imported: KeyError: 'needle' (bots_that_fail.py, line 3)",
        ),
        ("bots_half_written:Greeter", "'(' was never closed (bots_half_written.py, line 1)"),
        ("bots_that_lack:Greeter", "No module named 'no_such_package' (bots_that_lack.py, line 2)"),
        (":Greeter", "cannot find :Greeter, write it as package.module:Class: Empty module name"),
    ],
)
def test_what_is_not_found_is_said_with_the_place_or_the_name_that_was_meant(
    path: str, says: str
) -> None:
    """In one sentence."""
    with pytest.raises(CliError) as caught:
        find_class(path)
    assert str(caught.value).endswith(says)
    assert "\n" not in str(caught.value)


def test_what_is_found_is_the_class() -> None:
    """Of the working directory, which stays out of the path."""
    before = list(sys.path)
    assert find_class("bots_there:Greeter").__name__ == "Greeter"
    assert sys.path == before
