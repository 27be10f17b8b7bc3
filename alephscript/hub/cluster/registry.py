"""The registry that the hubs of one mesh share, as a hub sees it: two protocols.

May go in: what any registry has to offer and to tell. May not: how one does it (`redis`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

from alephscript.mesh.effects import (
    Claim,
    Release,
)
from alephscript.mesh.federation import Entry

__all__ = ["Registry", "RegistryListener", "Standings"]

Standings = Mapping[tuple[str, str], tuple[int, Sequence[Entry]]]
"""Epoch and masters, by namespace and room."""


class RegistryListener(Protocol):
    """What a registry tells a hub, in the order in which it was decided."""

    def apply_decision(
        self, namespace: str, room: str, epoch: int, entries: Sequence[Entry]
    ) -> None:
        """Who masters a room from now on."""
        ...

    def hub_came(self, hub: str) -> None:
        """There is another hub."""
        ...

    def hub_gone(self, hub: str) -> None:
        """Another hub is gone; its masters were removed."""
        ...

    def frame(self, data: bytes) -> None:
        """Another hub says something to this one."""
        ...

    def said(self, namespace: str, room: str, data: bytes) -> None:
        """Another hub says something to a room that is attended here."""
        ...

    def reclaims(self) -> list[tuple[str, Claim]]:
        """The masters here, by namespace, to be put forward again."""
        ...

    def go_adrift(self) -> None:
        """Neither registry nor hubs can be reached."""
        ...

    def resynchronise(self, hubs: Collection[str], standings: Standings) -> None:
        """They can be reached, and this is all that the registry knows."""
        ...


class Registry(Protocol):
    """What the hubs of one mesh share. Nothing here waits; order is kept.

    Attributes:
        busy: Asked for whether somebody at another hub is waited for, so that its loss is to be
            noticed soon.
    """

    busy: Callable[[], bool]

    async def open(self, hub: str, listener: RegistryListener) -> None:
        """Join.

        Raises:
            OSError: The registry cannot be reached.
        """
        ...

    async def close(self) -> None:
        """Leave: what was claimed from here is given up."""
        ...

    def claim(self, namespace: str, claim: Claim, done: Callable[[int | None], None]) -> None:
        """Make a peer master; ``done`` gets the room's epoch when that was told the listener.

        It gets None if the registry could not be asked in time.
        """
        ...

    def release(self, namespace: str, release: Release) -> None:
        """A peer masters a room no more."""
        ...

    def send(self, hub: str, data: bytes, undelivered: Callable[[], None] | None) -> None:
        """Send a frame; ``undelivered`` is called if nobody was there to take it."""
        ...

    def say(self, namespace: str, room: str, data: bytes) -> None:
        """Send something to all hubs that attend a room."""
        ...

    def attend(self, namespace: str, room: str, done: Callable[[], None]) -> None:
        """Hear what is said in a room from now on; ``done`` when that is so."""
        ...

    def abandon(self, namespace: str, room: str) -> None:
        """Do not any more."""
        ...
