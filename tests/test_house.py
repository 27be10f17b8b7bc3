"""The house: which folder of the package may import which, and no circle between modules."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from importlib.util import resolve_name

import pytest

from tests.support.tools import ROOT

Graph = dict[str, set[str]]

PROTOCOL = {"errors", "protocol"}
SHARED = PROTOCOL | {"contracts", "links", "diagnostics"}
CLIENT = SHARED | {"client"}
ARROWS = {
    "errors": set(),
    "protocol": {"errors"},
    "contracts": PROTOCOL,
    "mesh": PROTOCOL,
    "links": PROTOCOL,
    "diagnostics": PROTOCOL | {"links"},
    "client": SHARED,
    "hub": SHARED | {"mesh"},
    "aaia": CLIENT,
    "asyncapi": CLIENT,
    "sync": CLIENT,
    "alephscript": CLIENT,
    "doors": CLIENT,
    "mcp": CLIENT | {"doors"},
    "a2a": CLIENT | {"doors"},
    "bridge": CLIENT,
    "recording": CLIENT | {"asyncapi"},
    "testing": CLIENT | {"mesh", "hub"},
    "cli": CLIENT
    | {"mesh", "hub", "asyncapi", "mcp", "a2a", "bridge", "testing", "alephscript", "recording"},
    "__main__": {"cli"},
}
"""What each folder, or module beside them, may import besides itself.

`alephscript` stands for the package's own `__init__`. A new folder needs a line.
"""


@cache
def read_imports() -> Graph:
    """Read what each module of the package imports from it, for types alone included."""
    files = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in ROOT.glob("alephscript/**/*.py")
        if "new-bot" not in path.parts  # a project of its own
    }

    def names(module: str) -> Iterator[str]:
        path = files[module]
        package = module if path.stem == "__init__" else module.rpartition(".")[0]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                origin = resolve_name("." * node.level + (node.module or ""), package)
                for alias in node.names:
                    whole = f"{origin}.{alias.name}"
                    yield whole if whole in files else origin

    return {module: files.keys() & set(names(module)) for module in files}


def find_wrong_arrows(graph: Graph) -> list[str]:
    """Name the imports that `ARROWS` does not allow."""

    def folder(module: str) -> str:
        return module.removeprefix("alephscript.").partition(".")[0]

    return [
        f"{module} imports {imported}"
        for module, imports in graph.items()
        for imported in sorted(imports)
        if folder(imported) not in ARROWS[folder(module)] | {folder(module)}
    ]


def test_imports_follow_the_arrows() -> None:
    """docs/explanation/architecture.md draws them."""
    assert find_wrong_arrows(read_imports()) == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Imports for types alone count: a circle of types is a circle to its reader."""
    TopologicalSorter(read_imports()).prepare()


@pytest.mark.parametrize(
    ("module", "imported"),
    [
        ("client.client", "mesh.mesh"),
        ("client.client", "hub.server"),
        ("mesh.mesh", "links.transport"),
        ("mesh.mesh", "contracts"),
        ("protocol.events", "contracts"),
        ("hub.server", "client.client"),
        ("hub.server", "cli"),
        ("mcp.server", "hub.server"),
        ("client.client", "mcp.master"),
        ("doors.master", "mcp.master"),
        ("a2a.server", "mcp.tools"),
    ],
)
def test_a_turned_arrow_is_found(module: str, imported: str) -> None:
    """Besides those that there are."""
    turned = {f"alephscript.{module}": {f"alephscript.{imported}"}}
    assert find_wrong_arrows(turned) == [f"alephscript.{module} imports alephscript.{imported}"]


def test_a_circle_is_found() -> None:
    """Of any length."""
    with pytest.raises(CycleError):
        TopologicalSorter({"a": {"b"}, "b": {"c"}, "c": {"a"}}).prepare()
