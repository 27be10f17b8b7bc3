"""Text of strangers on its way through a door: bounded, without characters that a reader obeys.

May go in: writing what a mesh says as text. May not: names (`names`), schemas (`schemas`).

Pure: no socket, no clock.
"""

from __future__ import annotations

import json
from typing import Any

from alephscript.protocol.text import printable

__all__ = ["as_json", "shown"]

_LONGEST_TEXT = 4000


def as_json(value: Any) -> str:
    """JSON on one line, without control characters."""
    return printable(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def shown(text: str) -> str:
    """A stranger's text, made fit for a model to read: bounded, without controls but line ends."""
    return "\n".join(map(printable, text[:_LONGEST_TEXT].splitlines()))
