"""The dialects that hubs speak: one object each, chosen once a connection.

================  ===========================================================================
`native`          hubs of this package: documented, and the meta argument
`documented`      hubs that follow the design document: direct events, acknowledged
`core`            upstream's hubs: everything in ROOM_MESSAGE, nothing acknowledged
================  ===========================================================================

A further dialect is a further file with a subclass of `Dialect`, and a line in `find_dialect`.

May go in: whatever differs from hub to hub. May not: what is the same in all dialects
(`alephscript.client.session`), who serves a request (`alephscript.client.serving`).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from alephscript.client.dialects.channel import Channel
from alephscript.client.dialects.core import Core
from alephscript.client.dialects.dialect import Dialect
from alephscript.client.dialects.documented import Documented
from alephscript.client.dialects.native import Native
from alephscript.errors import DeadlineExceeded
from alephscript.protocol import events
from alephscript.protocol.events import HubEvent

__all__ = [
    "LONG_SILENCE",
    "SILENCE",
    "Channel",
    "Core",
    "Dialect",
    "Documented",
    "Native",
    "find_dialect",
]

logger = logging.getLogger("alephscript.client")

SILENCE = 1.0
"""Seconds after which a hub that has not acknowledged the registration speaks core."""

LONG_SILENCE = 5.0
"""The same for a hub that has acknowledged before: it is slow, rather than another one."""


async def find_dialect(
    channel: Channel,
    registration: Mapping[str, Any],
    *,
    acknowledges: bool | None,
    silence: float = SILENCE,
) -> Dialect:
    """Register, and choose the dialect by what comes of it (decision 0013).

    Args:
        channel: The connection.
        registration: Payload of CLIENT_REGISTER.
        acknowledges: Whether the hub acknowledges; None if that is to be found out.
        silence: Seconds after which it is found out not to.

    Raises:
        DeadlineExceeded: A hub that is known to acknowledge was silent.
        RequestError: The hub refused the registration.
    """
    if acknowledges is False:
        core = Core(channel)
        await core.tell(HubEvent.CLIENT_REGISTER, registration)
        return core
    documented = Documented(channel)
    patience = silence if acknowledges is None else events.DEFAULT_TIMEOUT
    try:
        answer = await documented.tell(HubEvent.CLIENT_REGISTER, registration, patience)
    except DeadlineExceeded:
        if acknowledges:
            raise
        logger.info(
            "the hub acknowledges nothing: speaking the core dialect",
            extra={"usuario": registration["usuario"]},
        )
        return Core(channel)
    return Native(channel) if answer.get("protocol") == events.PROTOCOL else documented
