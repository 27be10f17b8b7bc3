"""C is taken where it was compiled, unless a process does without it."""

from __future__ import annotations

import runpy
import sys

import pytest

from alephscript.protocol import wire
from tests.support.ways import COMPILED, IS_BUILT, PURE, Way


def chosen() -> Way:
    """What is chosen when a process begins."""
    fresh = runpy.run_path(wire.__file__)
    assert fresh["IS_COMPILED"] is (fresh["FrameReader"] is not PURE.FrameReader)
    return Way(*(fresh[name] for name in Way._fields))


def test_c_is_taken_where_it_was_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of it; the variable means nothing but by 1."""
    for value in ("0", ""):
        monkeypatch.setenv(wire.VARIABLE, value)
        assert chosen() == (COMPILED if IS_BUILT else PURE)


def test_a_process_can_do_without(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a variable."""
    monkeypatch.setenv(wire.VARIABLE, "1")
    assert chosen() == PURE


def test_what_was_compiled_for_another_python_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is there any need of it."""
    monkeypatch.delenv(wire.VARIABLE, raising=False)
    monkeypatch.setitem(sys.modules, "alephscript.protocol._wire", None)
    assert chosen() == PURE
