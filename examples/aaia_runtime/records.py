"""What is kept of a session: data, and how it becomes text and a session again.

May go in: the shape of what is kept. May not: where (`store`), what a session does (`sessions`).
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import attrs

from alephscript.aaia import AppInfo, Eferencia, Percepto, RunState
from alephscript.contracts import structure, unstructure

__all__ = ["FIARecord", "SessionRecord", "read_record", "write_record"]


@attrs.frozen
class FIARecord:
    """What is kept of a FIA; the attributes are those of `fia.FIA`."""

    run_state: RunState
    cycles: int
    runs: int
    ended_runs: int
    aferencia: Percepto | None = None
    ultima: Eferencia | None = None
    memory: Any = None


@attrs.frozen
class SessionRecord:
    """What is kept of a session; ``app`` as it was when the session was made of it."""

    session_id: str
    app: AppInfo
    created_at: datetime
    modelo: dict[str, Any]
    fias: list[FIARecord]


def write_record(record: SessionRecord) -> str:
    """A record as text.

    Raises:
        ContractError, ValueError, TypeError: The mundo has something in it that is no JSON.
    """
    # ASCII, and NaN: whatever a mundo has come to, its text can be written and read.
    return json.dumps(unstructure(record), separators=(",", ":"))


def read_record(text: str) -> SessionRecord:
    """A record that was written.

    Raises:
        ContractError, ValueError: The text is none.
    """
    return structure(json.loads(text), SessionRecord)
