"""Which channels a hub subscribes to, and who waits for that.

May go in: what a burst of entering and leaving comes to, and when a subscription counts. May not: a
connection (`redis`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator

__all__ = ["SUBSCRIBE", "UNSUBSCRIBE", "Subscriptions"]

SUBSCRIBE, UNSUBSCRIBE = "SUBSCRIBE", "UNSUBSCRIBE"


class Subscriptions:
    """The channels that a hub subscribes to."""

    def __init__(self) -> None:
        self._waiting: dict[bytes, list[Callable[[], None]]] = {}
        # By channel: how often the hub has subscribed and was not told so. Only the last
        # confirmation counts: between two, the hub may have unsubscribed.
        self._unconfirmed: Counter[bytes] = Counter()

    def __contains__(self, channel: bytes) -> bool:
        return channel in self._waiting

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._waiting)

    def add(self, channel: bytes) -> None:
        """Take a channel, without a word to anybody."""
        self._waiting.setdefault(channel, [])

    def wait(self, channel: bytes, done: Callable[[], None]) -> None:
        """Take a channel that is being subscribed to.

        Args:
            channel: The channel.
            done: Called once, when the subscription is confirmed or not wanted any more.
        """
        self._waiting.setdefault(channel, []).append(done)
        self._unconfirmed[channel] += 1

    def remove(self, channel: bytes) -> None:
        """Forget a channel, and tell those that wait for it: nothing of it can be missed."""
        for done in self._waiting.pop(channel, ()):
            done()

    def confirm(self, channel: bytes) -> None:
        """Tell those that wait for a channel, if no other confirmation is to come."""
        if self._unconfirmed[channel] > 1:
            self._unconfirmed[channel] -= 1
            return
        del self._unconfirmed[channel]
        if channel in self._waiting:
            waiting, self._waiting[channel] = self._waiting[channel], []
            for done in waiting:
                done()

    def reduce(self, steps: Iterable[tuple[str, bytes]]) -> tuple[list[bytes], list[bytes]]:
        """Reduce steps to what they come to: of those about a channel the last one counts.

        Args:
            steps: `SUBSCRIBE` or `UNSUBSCRIBE`, and the channel, in their order.

        Returns:
            The channels to subscribe to, and those to unsubscribe from.
        """
        last: dict[bytes, str] = {}
        for verb, channel in steps:
            last[channel] = verb
            self._unconfirmed[channel] -= verb == SUBSCRIBE
        joined = [channel for channel, verb in last.items() if verb == SUBSCRIBE]
        for channel in joined:
            self._unconfirmed[channel] += 1
        return joined, [channel for channel in last if last[channel] != SUBSCRIBE]

    def reset(self) -> None:
        """Tell all that wait, as the link is gone: `__iter__` has what to subscribe to again."""
        self._unconfirmed.clear()
        for channel, waiting in list(self._waiting.items()):
            if channel in self._waiting:
                self._waiting[channel] = []
            for done in waiting:
                done()
