"""Binary parts of packets, which no peer of the mesh needs: refused, with a reason.

May go in: what becomes of a packet with binary parts, on every kind of link. May not: how a kind of
link tells that there are some.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from alephscript.errors import InvalidPayload
from alephscript.protocol.json import write_json

__all__ = ["FORMLESS_ANSWER", "refuse_event"]

logger = logging.getLogger("alephscript.client")

FORMLESS_ANSWER = write_json(
    [InvalidPayload("the answer is no JSON array, or has binary parts").answer()]
)
"""The acknowledgement that is read in place of one with binary parts, or of no form: a failure, as
what is left of the answer may look like a success."""

_REFUSAL = write_json([InvalidPayload("binary payloads are not accepted; send JSON").answer()])


def refuse_event(acknowledge: Callable[[int, bytes], None], ack: int | None) -> None:
    """Answer an event that has binary parts, if an answer is wanted, and log that it came.

    Args:
        acknowledge: Answers on the link that brought the event.
        ack: The number to answer under; None if no answer is wanted.
    """
    logger.warning(
        "the hub sent an event with binary parts, which are not accepted",
        extra={"is_answered": ack is not None},
    )
    if ack is not None:
        acknowledge(ack, _REFUSAL)
