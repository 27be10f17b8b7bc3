"""The ways of a message: pure, and compiled where that was built; `WAYS` runs a test on both.

Where that was not built, there is no such parameter, and nothing is skipped; in CI, where nothing
may be left out, that is an error.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec
import pytest

from alephscript.protocol import json, packets, websocket

try:
    from alephscript.protocol import _wire
except ImportError:
    if os.environ.get("ALEPHSCRIPT_REQUIRE_TOOLS"):
        raise
    IS_BUILT = False
else:
    IS_BUILT = True


class Way(NamedTuple):
    """The functions of `alephscript.protocol.wire`."""

    FrameReader: type[websocket.FrameReader]
    is_plain: Callable[[Any], bool]
    is_shallow_utf8: Callable[[bytes], bool]
    parse_packet: Callable[[bytes], packets.Packet]
    split_event: Callable[[bytes], tuple[Any, Sequence[msgspec.Raw]]]
    split_values: Callable[[bytes], list[msgspec.Raw]]
    write_json: Callable[[Any], bytes]
    write_masked_text_frame: Callable[[bytes], bytes]
    write_plain_json: Callable[[Any], bytes]
    write_numbered: Callable[[bytes, int, bytes], bytes]
    write_text_frame: Callable[[bytes], bytes]


def _gather(*modules: Any) -> Way:
    found = {name: value for module in modules for name, value in vars(module).items()}
    return Way(*(found[name] for name in Way._fields))


PURE = _gather(json, packets, websocket)
COMPILED = _gather(_wire) if IS_BUILT else PURE

WAYS = pytest.mark.parametrize(
    "way",
    [PURE, COMPILED] if IS_BUILT else [PURE],
    ids=["pure", "compiled"] if IS_BUILT else ["pure"],
)
