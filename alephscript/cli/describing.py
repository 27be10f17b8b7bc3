"""``alephscript asyncapi``: the document of a class's interface."""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path
from typing import Any

from alephscript.cli.options import Add, CliError
from alephscript.client.client import AlephScriptClient

__all__ = ["add_to"]


def add_to(add: Add) -> None:
    """Add the command."""
    made = add("asyncapi", "the AsyncAPI document of classes, or what it breaks", _asyncapi)
    made.add_argument("classes", metavar="module:Class", nargs="+", help="client classes")
    made.add_argument("-o", "--output", metavar="FILE", help="write it there, not to stdout")
    made.add_argument("--diff", metavar="OLD", help="print what would break users of that document")
    made.add_argument("--title", default="AlephScript mesh", help="its title (%(default)s)")


def _asyncapi(options: argparse.Namespace) -> None:
    try:
        from alephscript import asyncapi
    except ModuleNotFoundError as exc:
        raise CliError(f"this needs {exc.name}: pip install 'alephscript[cli]'") from exc
    document = asyncapi.document(*map(_class, options.classes), title=options.title)
    if options.diff is not None:
        breaking = asyncapi.breaking_changes(_old(options.diff), document)
        for each in breaking:
            print(each)
        if breaking:
            raise CliError(f"{len(breaking)} breaking changes against {options.diff}")
        return
    text = asyncapi.dump(document)
    if options.output is None:
        sys.stdout.write(text)
    else:
        Path(options.output).write_text(text, encoding="utf-8")


def _class(named: str) -> type[AlephScriptClient]:
    module, _, name = named.partition(":")
    sys.path.insert(0, "")  # as python -m does
    try:
        found: Any = getattr(importlib.import_module(module), name)
    except (ImportError, ValueError, AttributeError) as exc:
        raise CliError(f"cannot find {named}, write it as package.module:Class: {exc}") from exc
    finally:
        sys.path.remove("")
    if not (isinstance(found, type) and issubclass(found, AlephScriptClient)):
        raise CliError(f"{named} is no AlephScriptClient class")
    return found


def _old(path: str) -> Any:
    from alephscript import asyncapi

    try:
        return asyncapi.load(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise CliError(f"cannot read {path}: {exc}") from exc
