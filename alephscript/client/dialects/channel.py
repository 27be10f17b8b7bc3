"""A link to a hub, and what belongs to it in every dialect.

May go in: what each dialect needs of a connection. May not: how a hub is spoken to (`dialects`),
when a link is opened and closed (`session`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

from alephscript.links.pending import Pending
from alephscript.links.transport import Link
from alephscript.protocol.events import Position
from alephscript.protocol.json import write_json

__all__ = ["Channel", "json_text"]

json_text = functools.lru_cache(write_json)
"""JSON text of a name, cached: a client says the same few events and rooms over and over."""


class Channel:
    """A link, the acknowledgements that are awaited on it, and where its client is.

    Args:
        positions: How far each room was heard; kept up to date here, and across sessions.
        cancel: Called with the number of a request that is served here and the reason why nobody
            waits for its answer any more.
        grant: Called with the number of a request that is served here and how many more parts
            its asker takes.
        take_kept: Called with what the hub says it has kept of a task that is served here.

    Attributes:
        link: The link, None until it is open.
        hurry: Tells the link that the next message is the last for now; see there.
        pending: The acknowledgements that are awaited.
        rooms: The rooms that the client is in, in the order in which it subscribed.
        positions: As given.
        entering: The number of the last event of each room that the session is subscribing to:
            what comes right behind the answer is read before that is.
        cancel: As given.
        grant: As given.
        take_kept: As given.
    """

    def __init__(
        self,
        positions: dict[str, Position],
        *,
        cancel: Callable[[str, str], None],
        grant: Callable[[str, int], None],
        take_kept: Callable[[Mapping[str, Any]], None] = lambda _: None,
    ) -> None:
        self.link: Link | None = None
        self.hurry: Callable[[], None] = _nothing
        self.pending = Pending()
        self.rooms: dict[str, None] = {}
        self.positions = positions
        self.entering: dict[str, int] = {}
        self.cancel = cancel
        self.grant = grant
        self.take_kept = take_kept

    def take(self, link: Link) -> None:
        """Have this link from now on."""
        self.link = link
        self.hurry = getattr(link, "hurry", _nothing)

    def send(self, event: str, data: bytes, meta: bytes = b"", number: int | None = None) -> None:
        """Send an event, its data and its meta given as JSON texts.

        Args:
            event: Name of the event.
            data: Its data.
            meta: Its meta, empty for none.
            number: The number to be acknowledged under, None for no acknowledgement.

        Raises:
            NotConnected: The link is gone.
            PayloadTooLarge: The hub takes no message of that size; nothing was sent.
        """
        assert self.link is not None
        # Put together as text: the data was written once already, at the caller's.
        if meta:
            self.link.send(b"[%b,%b,%b]" % (json_text(event), data, meta), number)
        else:
            self.link.send(b"[%b,%b]" % (json_text(event), data), number)

    def send_values(self, event: str, *args: Mapping[str, Any]) -> None:
        """Send an event that wants no acknowledgement; raises as `send`."""
        assert self.link is not None
        self.link.send(write_json([event, *args]))


def _nothing() -> None:
    """Do nothing: such a link is always in a hurry."""
