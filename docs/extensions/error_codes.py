"""The directives ``error-codes`` and ``wire-codes``: what ends a request, from the classes."""  # noqa: INP001

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any, ClassVar

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective

from alephscript import errors
from alephscript.cli import EXIT_CODES

__all__ = ["ErrorCodes", "WireCodes", "setup"]

_LOCAL = {errors.NotConnected, errors.LinkLost, errors.Closed}
"""Raised by the client about its own link; no peer sends them."""


class ErrorCodes(SphinxDirective):
    """One row a class: code, exception, meaning, whether asking again may help, exit code."""

    has_content: ClassVar[bool] = False

    def run(self) -> list[nodes.Node]:
        """See docutils."""
        head = ("code", "raised as", "meaning", "retryable", "exit code")
        return _table(self, head, map(_row, _classes()))


class WireCodes(SphinxDirective):
    """One row a code that a peer sends: the code, when, whether asking again may help."""

    has_content: ClassVar[bool] = False

    def run(self) -> list[nodes.Node]:
        """See docutils."""
        rows = [
            (f"`{cls.code}`", _meaning(cls), "yes" if cls.default_retryable else "no")
            for cls in _classes()
            if cls.code and cls not in _LOCAL
        ]
        return _table(self, ("code", "when", "retryable"), rows)


def _table(
    directive: SphinxDirective, head: tuple[str, ...], rows: Iterable[tuple[str, ...]]
) -> list[nodes.Node]:
    lines = [f"| {' | '.join(row)} |" for row in (head, ("---",) * len(head), *rows)]
    parsed = nodes.container()
    directive.state.nested_parse(StringList(lines, "error-codes"), 0, parsed)
    return list(parsed.children)


def _meaning(cls: type[errors.RequestError]) -> str:
    """The first paragraph of the class's docstring."""
    text = " ".join(inspect.cleandoc(cls.__doc__ or "").partition("\n\n")[0].split())
    return text.replace("``", "`")


def _classes() -> Iterable[type[errors.RequestError]]:
    """List the package's own classes; applications document theirs."""
    return (
        each for each in errors.RequestError.__subclasses__() if each.__module__ == errors.__name__
    )


def _row(cls: type[errors.RequestError]) -> tuple[str, ...]:
    code = f"`{cls.code}`" if cls.code else "its own"
    builtins = [base.__name__ for base in cls.__bases__ if base.__module__ == "builtins"]
    also = f" (a `{builtins[0]}`, too)" if builtins else ""
    return (
        code,
        f"{{py:exc}}`~alephscript.{cls.__name__}`{also}",
        _meaning(cls),
        "yes" if cls.default_retryable else "no",
        str(EXIT_CODES.get(cls.code, 20)),
    )


def setup(app: Any) -> dict[str, Any]:
    """See Sphinx."""
    app.add_directive("error-codes", ErrorCodes)
    app.add_directive("wire-codes", WireCodes)
    return {"parallel_read_safe": True}
