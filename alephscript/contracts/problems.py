"""Mismatches as the error that a caller gets: each problem with its path in one text.

May go in: how a path is written. May not: what a problem says (`forms`).

Pure: no socket, no clock.
"""

from __future__ import annotations

from typing import Any

from alephscript.contracts.fields import name_of
from alephscript.contracts.finding import Strict
from alephscript.contracts.forms.form import Mismatch
from alephscript.contracts.forms.given import JSONSchema
from alephscript.errors import AlephScriptError, ContractError, PayloadTooLarge
from alephscript.protocol.json import MAX_DEPTH

__all__ = ["contract_error"]


def contract_error(exc: Mismatch | RecursionError, cls: Any) -> AlephScriptError:
    """Make the error of a value that does not fit its type."""
    if isinstance(exc, RecursionError):
        return PayloadTooLarge(f"nested deeper than {MAX_DEPTH} levels")
    problems = [{"path": _path(path), "message": message} for path, message in exc.problems]
    if isinstance(cls, JSONSchema):
        return ContractError(str(cls.schema.get("title", "payload")), problems)
    return ContractError(name_of(cls.kind if isinstance(cls, Strict) else cls), problems)


def _path(steps: tuple[str | int, ...]) -> str:
    # A key of a peer may be of any length, and one that was to be written may be no text.
    text = "".join(
        f"[{step}]" if isinstance(step, int) else f".{step:.{_LONGEST_KEY}}" for step in steps
    )
    return text.removeprefix(".").encode(errors="backslashreplace").decode()


_LONGEST_KEY = 100
"""Characters of a key that a path shows."""
