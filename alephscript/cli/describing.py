"""``alephscript asyncapi``: the document of a class's interface.

May go in: that command. May not: the document itself (`alephscript.asyncapi`).
"""

from __future__ import annotations

import argparse
import importlib
import sys
import traceback
from pathlib import Path
from typing import Any

from alephscript.cli.options import Add, CliError
from alephscript.cli.printing import put_line
from alephscript.client.client import AlephScriptClient
from alephscript.protocol.names import did_you_mean, find_near

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
        found = vars(importlib.import_module(module))
    except (ImportError, ValueError) as exc:
        raise CliError(f"cannot find {path}, {_FORM}: {exc}{_place_of(exc)}") from exc
    except Exception as exc:
        reason = f"{type(exc).__name__}: {exc}{_place_of(exc)}"
        raise CliError(f"{module} cannot be imported: {reason}") from exc
    finally:
        sys.path.remove("")
    value = found.get(name)
    if value is None:
        known = [each for each, held in found.items() if _is_client(held)]
        near = find_near(name, known) if name else known[:3]
        meant = did_you_mean(f"{module}:{each}" for each in near)
        raise CliError(f"cannot find {path}, {_FORM}{meant}")
    if not _is_client(value):
        raise CliError(f"{path} is no AlephScriptClient class")
    client: type[AlephScriptClient] = value
    return client


_FORM = "write it as package.module:Class"


def _is_client(value: object) -> bool:
    is_class = isinstance(value, type) and issubclass(value, AlephScriptClient)
    return is_class and value is not AlephScriptClient


def _place_of(error: Exception) -> str:
    """Tell where a module failed that was imported; a SyntaxError tells that itself."""
    frames = traceback.extract_tb(error.__traceback__)
    inside = [
        each for each in frames if each.filename != __file__ and "importlib" not in each.filename
    ]
    if not inside or isinstance(error, SyntaxError):
        return ""
    return f" ({Path(inside[-1].filename).name}, line {inside[-1].lineno})"


def _read_document(path: str) -> Any:
    from alephscript import asyncapi

    try:
        return asyncapi.load(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise CliError(f"cannot read {path}: {exc}") from exc
