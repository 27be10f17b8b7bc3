"""What a client takes from its environment, where no argument says otherwise.

The variables are those of the command line, so that a bot, a script and a command that stand beside
each other are of one mesh.

May go in: which variable stands for which argument. May not: what an argument means (`connecting`).
"""

from __future__ import annotations

import os
from typing import Any, TypeVar

from alephscript.protocol import events

__all__ = ["DEFAULT_HUB", "REDACT", "TOKEN", "URL", "choose_hub", "default_auth", "redacts"]

H = TypeVar("H")


class _Default(str):
    """The hub where none is named; ``ALEPHSCRIPT_URL`` takes the place of this one alone."""

    __slots__ = ()


DEFAULT_HUB: str = _Default(events.DEFAULT_URL)
"""The hub of a client that is given none; ``ALEPHSCRIPT_URL`` takes its place."""

URL = "ALEPHSCRIPT_URL"
"""The address of the hub."""

TOKEN = "ALEPHSCRIPT_TOKEN"  # noqa: S105 - the variable's name
"""The shared secret to connect with."""

REDACT = "ALEPHSCRIPT_REDACT"
"""``1`` keeps the texts of exceptions out of the log."""


def choose_hub(hub: H) -> H | str:
    """Return the hub that a client was given, or else the one that its environment names."""
    return (os.environ.get(URL) or events.DEFAULT_URL) if hub is DEFAULT_HUB else hub


def default_auth() -> dict[str, Any] | None:
    """Return the credentials of a client that is given none."""
    token = os.environ.get(TOKEN)
    return {"token": token} if token else None


def redacts() -> bool:
    """Return whether a client keeps texts out of the log that is not told."""
    return os.environ.get(REDACT, "0").strip().lower() not in ("", "0", "false", "no")
