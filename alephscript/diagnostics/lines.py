"""Log records that are one line each, whatever the names in them are.

The names of events, rooms, members and errors come from strangers, and reach the log as arguments
and fields of records. They are escaped for all loggers of the package at one place, so that no call
that logs has to think of it, and at no cost for what is not logged.

May go in: what is done to each record. May not: what is logged, and when; tracebacks (`redaction`).
"""

from __future__ import annotations

import logging
from typing import Any

from alephscript.protocol.text import printable

__all__ = ["LOGGERS", "escape_record", "install"]

LOGGERS = (
    "alephscript.client",
    "alephscript.hub",
    "alephscript.hub.cluster",
    "alephscript.hub.redis",
    "alephscript.hub.websocket",
    "alephscript.doors",
    "alephscript.bridge",
    "alephscript.socketio",
)
"""The loggers of the package; a filter of a logger does not see what those below it log."""

_STANDARD = frozenset(vars(logging.makeLogRecord({})))
"""What each record has; all else are fields that the call named."""


def install() -> None:
    """Have all loggers of the package escape what they log; safe to call twice."""
    for name in LOGGERS:
        logging.getLogger(name).addFilter(escape_record)


def escape_record(record: logging.LogRecord) -> bool:
    """Escape a record's arguments and fields; a filter that lets every record pass."""
    if isinstance(record.args, tuple):
        record.args = tuple(map(_escape, record.args))
    for key in vars(record).keys() - _STANDARD:
        setattr(record, key, _escape(getattr(record, key)))
    try:
        message = record.getMessage()
    except (TypeError, ValueError):
        return True  # the handler complains about a message whose arguments do not fit
    if not message.isprintable():
        record.msg, record.args = printable(message), ()
    return True


def _escape(value: Any) -> Any:
    return printable(value) if isinstance(value, str) else value
