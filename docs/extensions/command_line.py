"""The directive ``command-help``: the help text of a command."""  # noqa: INP001

from __future__ import annotations

import contextlib
import io
import os
from typing import Any, ClassVar
from unittest import mock

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from alephscript import cli

__all__ = ["CommandHelp", "setup"]


class CommandHelp(SphinxDirective):
    """``alephscript <arguments> --help``, as a terminal of 88 columns shows it."""

    optional_arguments: ClassVar[int] = 1

    def run(self) -> list[nodes.Node]:
        """See docutils."""
        printed = io.StringIO()
        with (
            # The environment of the build may name a mesh and a token.
            mock.patch.dict(os.environ, {"COLUMNS": "88"}, clear=True),
            contextlib.redirect_stdout(printed),
            contextlib.suppress(SystemExit),
        ):
            cli.main([*self.arguments, "--help"])
        return [nodes.literal_block(text=printed.getvalue().rstrip(), language="text")]


def setup(app: Any) -> dict[str, Any]:
    """See Sphinx."""
    app.add_directive("command-help", CommandHelp)
    return {"parallel_read_safe": True}
