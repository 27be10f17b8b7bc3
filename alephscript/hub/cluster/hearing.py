"""What comes by the channels that a hub subscribes to: whether it counts, and who gets it.

May go in: channels and signatures of what comes. May not: a connection (`redis`, `shards`), what a
message says (`frames`, `cluster`), or what a notice does (`notices`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from alephscript.hub.cluster.frames import (
    LOGGED,
    MALFORMED,
    find_sender,
    read_field,
    read_logged,
    write_field,
)
from alephscript.hub.cluster.registry import RegistryListener
from alephscript.hub.cluster.signing import Freshness, Seals, Untrusted
from alephscript.hub.cluster.subscriptions import Subscriptions

__all__ = ["Hearing"]

_ROOMS = b":in:"
"""What stands between the text that all channels begin with and a room."""

_MESSAGES, _SUBSCRIBED = (b"message", b"smessage"), (b"subscribe", b"ssubscribe")


class Hearing:
    """The channels of one hub.

    Args:
        seals: Looks at signatures.
        prefix: The text that channels begin with.
        subscriptions: The rooms that are heard.
        refuse: Told why something does not count.
        follow: Gets each notice.
        subscribed: Called with each channel that counts from now on.
        log: The rooms that have a log, whose entries a script puts and tells in one step; ``*``
            for all.

    Attributes:
        mine: The channel of what is for this hub alone.
        notices: The channel of what the registry has decided.
        home: The text that the channels begin with which are where the registry is.
        listener: Gets what other hubs say.
    """

    def __init__(
        self,
        seals: Seals,
        prefix: str,
        subscriptions: Subscriptions,
        refuse: Callable[[Exception], None],
        follow: Callable[[bytes], None],
        subscribed: Callable[[bytes], None],
        log: Collection[str],
    ) -> None:
        self.mine = b""
        self.notices = b""
        self.home = prefix.encode()
        self.listener: RegistryListener
        self._prefix = self.home
        self._log = log
        self._seals = seals
        self._has_key = bool(seals)
        self._subscriptions = subscriptions
        self._refuse = refuse
        self._follow = follow
        self._subscribed = subscribed
        self._messages_seen, self._logged_seen = Freshness(), Freshness()

    def channel_of(self, namespace: str, room: str) -> bytes:
        """Return the channel of a room."""
        log = self._log
        prefix = self.home if log and (room in log or "*" in log) else self._prefix
        return prefix + _ROOMS + write_field(namespace, room).encode()

    def take(self, message: list[Any]) -> None:
        """Take what comes by a channel."""
        kind, channel, data = message
        if kind in _MESSAGES:
            if channel == self.mine and not self._has_key and not data.startswith(b"*"):
                self.listener.handle_frames(data)
            elif channel == self.notices:
                self._follow(data)
            elif data.startswith(LOGGED):
                self._take_logged(channel, data)
            else:
                self.take_from_room(channel, data, self._messages_seen)
        elif kind in _SUBSCRIBED:
            self._subscribed(channel)

    def take_from_room(self, channel: bytes, data: bytes, seen: Freshness) -> None:
        """Take what a node of a cluster has of a room.

        Args:
            channel: The room's channel.
            data: The message.
            seen: The stamps that came by the same way.
        """
        if self._has_key or data.startswith(b"*"):
            try:
                stamp, data = self._seals.verify_once("message", channel, data)
                seen.take(find_sender(data), stamp)
            except Untrusted as exc:
                self._refuse(exc)
                return
        if channel == self.mine:
            self.listener.handle_frames(data)
        elif channel in self._subscriptions:
            namespace, room = read_field(_field_of(channel))
            self.listener.handle_announcements(namespace, room, data)

    def _take_logged(self, channel: bytes, data: bytes) -> None:
        """Take an entry of a log, which is signed as it stands there."""
        if channel not in self._subscriptions:
            return
        field = _field_of(channel)
        try:
            logged = read_logged(data, field, self._seals)
            self._logged_seen.take(logged.hub, logged.stamp)
        except MALFORMED as exc:
            self._refuse(exc)
        else:
            self.listener.handle_logged(*read_field(field), logged)


def _field_of(channel: bytes) -> str:
    return channel.partition(_ROOMS)[2].decode()
