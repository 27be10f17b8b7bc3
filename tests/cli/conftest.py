"""Nothing that a peer does to a hub of a command is logged as an error."""

from __future__ import annotations

from tests.support.peers import errors_logged

__all__ = ["errors_logged"]
