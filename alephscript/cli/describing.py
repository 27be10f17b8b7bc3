"""``alephscript asyncapi``: the document of a class's interface.

May go in: that command. May not: the document itself (`alephscript.asyncapi`).
"""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path
from typing import Any

from alephscript.cli.options import Add, CliError
from alephscript.cli.printing import put_line
from alephscript.client.client import AlephScriptClient

__all__ = ["add_to", "find_class"]


def add_to(add: Add) -> None:
    """Add the command."""
    command = add(
        "asyncapi", "print the AsyncAPI document of classes, or its breaking changes", _asyncapi
    )
    command.add_argument("classes", metavar="module:Class", nargs="+", help="client classes")
    command.add_argument(
        "-o", "--output", metavar="FILE", help="write the document to FILE, not to stdout"
    )
    command.add_argument(
        "--diff", metavar="OLD", help="print what would break users of the document OLD"
    )
    command.add_argument(
        "--title", default="AlephScript mesh", help="title of the document (%(default)s)"
    )


def _asyncapi(options: argparse.Namespace) -> None:
    try:
        from alephscript import asyncapi
    except ModuleNotFoundError as exc:
        raise CliError(f"this needs {exc.name}: pip install 'alephscript[cli]'") from exc
    document = asyncapi.document(*map(find_class, options.classes), title=options.title)
    if options.diff is not None:
        breaking = asyncapi.breaking_changes(_read_document(options.diff), document)
        for each in breaking:
            put_line(each)
        if breaking:
            raise CliError(f"{len(breaking)} breaking changes against {options.diff}")
        return
    text = asyncapi.dump(document)
    if options.output is None:
        sys.stdout.write(text)
    else:
        Path(options.output).write_text(text, encoding="utf-8")


def find_class(path: str) -> type[AlephScriptClient]:
    """Import a client class by its path, ``module:Class``.

    Raises:
        CliError: There is no such class, or its module cannot be imported.
    """
    module, _, name = path.partition(":")
    sys.path.insert(0, "")  # as python -m does
    try:
        value: Any = getattr(importlib.import_module(module), name)
    except (ImportError, ValueError, AttributeError) as exc:
        raise CliError(f"cannot find {path}, write it as package.module:Class: {exc}") from exc
    finally:
        sys.path.remove("")
    if not (isinstance(value, type) and issubclass(value, AlephScriptClient)):
        raise CliError(f"{path} is no AlephScriptClient class")
    return value


def _read_document(path: str) -> Any:
    from alephscript import asyncapi

    try:
        return asyncapi.load(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise CliError(f"cannot read {path}: {exc}") from exc
