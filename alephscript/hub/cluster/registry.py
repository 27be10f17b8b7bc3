"""The registry that the hubs of one mesh share, as a hub sees it: two protocols.

A registry decides who masters which room, in one order for all hubs, and carries what hubs send
each other (decision 0031).

May go in: what any registry offers and reports. May not: how one does that (`redis`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Protocol

import attrs

from alephscript.mesh.effects import Claim, Release, Retain
from alephscript.mesh.federation import Entry
from alephscript.mesh.pages import LogEntry
from alephscript.mesh.retained import RetainedValue

__all__ = ["Logged", "Registry", "RegistryListener", "Standings", "Values"]

Standings = Mapping[tuple[str, str], tuple[int, Sequence[Entry]]]
"""Epoch and masters, by namespace and room."""

Values = Mapping[tuple[str, str, str], RetainedValue]
"""Retained values, by namespace, room and event."""


@attrs.frozen
class Logged:
    """An entry of a log, as its stream has it, and as hubs are told of it.

    Attributes:
        log: Name of the log.
        entry: The entry.
        hub: The hub that has put it there.
        ticket: That hub's number of its `Append`.
        stamp: That hub's stamp; 0 where nothing is signed.
    """

    log: str
    entry: LogEntry
    hub: str
    ticket: int
    stamp: int


class RegistryListener(Protocol):
    """A hub, to which a registry reports in the order of its decisions."""

    def apply_decision(
        self, namespace: str, room: str, epoch: int, entries: Sequence[Entry]
    ) -> None:
        """Do what was decided about a room.

        Args:
            namespace: The room's namespace.
            room: The room.
            epoch: Its epoch.
            entries: Its masters from now on, by seniority.
        """
        ...

    def apply_value(
        self, namespace: str, room: str, event: str, value: RetainedValue, *, is_quiet: bool
    ) -> None:
        """Do what was decided about a retained value; see `Replicas.decided`."""
        ...

    def hub_came(self, hub: str) -> None:
        """Take notice of another hub."""
        ...

    def hub_gone(self, hub: str) -> None:
        """Take leave of another hub; its masters were removed."""
        ...

    def undelivered(self, hub: str, namespace: str, frame: Sequence[Any]) -> None:
        """Take back a request that was sent to another hub, where nobody was to take it."""
        ...

    def handle_frames(self, data: bytes) -> None:
        """Handle a message of another hub: one frame, or several."""
        ...

    def handle_announcements(self, namespace: str, room: str, data: bytes) -> None:
        """Handle a message of another hub to a room that this hub subscribed to."""
        ...

    def handle_logged(self, namespace: str, room: str, logged: Logged) -> None:
        """Handle an entry of the log of a room that this hub subscribed to, its own included."""
        ...

    def reclaims(self) -> list[tuple[str, Claim]]:
        """Return the claims of the masters here, by namespace, to be made again."""
        ...

    def go_adrift(self) -> None:
        """Go on alone: neither registry nor hubs can be reached."""
        ...

    def resynchronise(
        self, hubs: Collection[str], standings: Standings, values: Values, *, is_lost: bool
    ) -> None:
        """Go on with the others, who can be reached again.

        Args:
            hubs: The names of the others.
            standings: All that the registry has decided of masters.
            values: The retained values that it has.
            is_lost: Whether the registry has lost the values that it had when last seen.
        """
        ...


class Registry(Protocol):
    """The registry that the hubs of one mesh share. Only `open` and `close` wait; order is kept.

    Attributes:
        is_busy: Says whether a request here waits for another hub, so that the loss of that hub is
            to be noticed soon.
        refuse: Told why something does not count that others have written.
        call_when_read: Calls when what this hub reads now is handled.
    """

    is_busy: Callable[[], bool]
    refuse: Callable[[Exception], None]
    call_when_read: Callable[[Callable[[], None]], Any]

    async def open(self, hub: str, listener: RegistryListener) -> None:
        """Join the hubs of the mesh.

        Args:
            hub: This hub's name.
            listener: Gets the registry's reports.

        Raises:
            OSError: The registry cannot be reached.
        """
        ...

    async def close(self) -> None:
        """Leave: the masters here are given up."""
        ...

    def claim(self, namespace: str, claim: Claim, done: Callable[[int | None], None]) -> None:
        """Make a peer master of a room.

        Args:
            namespace: The room's namespace.
            claim: The peer, the room and the declaration.
            done: Called with the room's epoch, when the listener has been told of the decision;
                with None if the registry could not be asked in time.
        """
        ...

    def release(self, namespace: str, release: Release) -> None:
        """Make a peer master of a room no longer."""
        ...

    def retain(
        self,
        namespace: str,
        effect: Retain,
        undone: Callable[[], None],
    ) -> None:
        """Decide that a value is the last one of its event, and tell all hubs.

        Args:
            namespace: The room's namespace.
            effect: The value; one that is not pending counts only if it was decided later than
                the one that the registry has.
            undone: Called if the registry could not be asked.
        """
        ...

    def send(self, hub: str, namespace: str, frame: Sequence[Any]) -> None:
        """Send a frame to another hub, maybe in one message with others.

        Args:
            hub: That hub's name.
            namespace: The namespace that the frame is about.
            frame: Its kind and its fields. A request comes back to the listener if nobody was
                there to take it (`RegistryListener.undelivered`).
        """
        ...

    def say(self, namespace: str, room: str, data: bytes) -> None:
        """Send an announcement, a JSON array, to all hubs that subscribed to a room."""
        ...

    def subscribe(self, namespace: str, room: str, done: Callable[[], None]) -> None:
        """Receive from now on what other hubs say in a room.

        Args:
            namespace: The room's namespace.
            room: The room.
            done: Called once, when nothing can be missed any more.
        """
        ...

    def unsubscribe(self, namespace: str, room: str) -> None:
        """Stop receiving what other hubs say in a room."""
        ...
