"""The role ``name``: a Python object by as much of its name as is clear."""  # noqa: INP001

from __future__ import annotations

from typing import Any

from docutils import nodes
from sphinx.domains.python import PyXRefRole
from sphinx.environment import BuildEnvironment

__all__ = ["Name", "setup"]


class Name(PyXRefRole):
    """`stop` is the class's own, then the module's, then the only one there is anywhere."""

    def process_link(
        self,
        env: BuildEnvironment,
        refnode: nodes.Element,
        has_explicit_title: bool,  # noqa: FBT001 - Sphinx's signature
        title: str,
        target: str,
    ) -> tuple[str, str]:
        """See Sphinx."""
        title, target = super().process_link(env, refnode, has_explicit_title, title, target)
        for attribute, value in (("refdomain", "py"), ("reftype", "obj"), ("refspecific", True)):
            refnode[attribute] = value
        # A decorator is the package's, whatever else has its name.
        return title, target.replace("@", "alephscript.")


def setup(app: Any) -> dict[str, Any]:
    """See Sphinx."""
    app.add_role("name", Name())
    return {"parallel_read_safe": True}
