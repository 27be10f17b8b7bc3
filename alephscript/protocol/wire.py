"""The way of every message, frames, packets and the check of JSON: in C where that was built.

May go in: the choice, once, when it is imported, and names to import. May not: code of its own: the
pure functions are in `websocket`, `packets` and `json`, the same in C in ``_wire.pyx``. Code that
each message passes by imports from here, all other from the pure modules (decision 0057).
"""

from __future__ import annotations

import os

__all__ = [
    "IS_COMPILED",
    "VARIABLE",
    "FrameReader",
    "is_plain",
    "is_shallow_utf8",
    "parse_packet",
    "split_event",
    "split_values",
    "write_json",
    "write_masked_text_frame",
    "write_numbered",
    "write_plain_json",
    "write_text_frame",
]

VARIABLE = "ALEPHSCRIPT_PURE"
"""The environment variable by which a process does without C, if it is ``1``."""

try:
    if os.environ.get(VARIABLE) == "1":
        raise ImportError(VARIABLE)  # noqa: TRY301 - one way to the pure functions
    from alephscript.protocol._wire import (
        FrameReader,
        is_plain,
        is_shallow_utf8,
        parse_packet,
        split_event,
        split_values,
        write_json,
        write_masked_text_frame,
        write_numbered,
        write_plain_json,
        write_text_frame,
    )
except ImportError:  # not built, or for another Python; also in a subinterpreter
    from alephscript.protocol.json import is_plain, is_shallow_utf8, write_json, write_plain_json
    from alephscript.protocol.packets import (
        parse_packet,
        split_event,
        split_values,
        write_numbered,
    )
    from alephscript.protocol.websocket import (
        FrameReader,
        write_masked_text_frame,
        write_text_frame,
    )

IS_COMPILED = FrameReader.__module__ == "alephscript.protocol._wire"
"""Whether frames, packets and JSON go through C in this process."""
