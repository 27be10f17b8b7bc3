"""Rooms that a client masters, and those in which another master has displaced the client.

A hub of this package says which it is, and lets a displaced master serve again by itself. A stock
hub says nothing, and forgets who was displaced; there masters of this package tell the room that
they have come, and a displaced one looks at the hub's state until the other is gone, and then
declares itself again (decision 0039).

May go in: what displaced a client, and when the client may declare itself again. May not: how a
declaration is written (`dialects`), the hub's side of it (`alephscript.mesh.masters`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Collection, Mapping
from typing import Any

from alephscript.client.declaring import Mastery
from alephscript.client.dialects import Native
from alephscript.client.discovery import MasterChange
from alephscript.client.session import HubSession
from alephscript.errors import AlephScriptError
from alephscript.protocol.events import HubEvent
from alephscript.protocol.json import write_json
from alephscript.protocol.names import short_name
from alephscript.protocol.text import printable

__all__ = ["Mastering"]

logger = logging.getLogger("alephscript.client")

_LOOK_SECONDS = 5.0
"""The time between two looks at the state of a hub that does not tell of masters."""

_STATE_SECONDS = 2.0
"""The time that such a hub has to show its state."""


class Mastering:
    """The rooms of a client's masteries.

    Args:
        masters: What the client declares, by room; kept up to date by the client.
        rooms: The rooms that the client is in; kept up to date by the client.
        who: Gives the client's usuario and sesion.
        displaced: Called with each change by which the client is displaced.
    """

    def __init__(
        self,
        masters: Mapping[str, Mastery],
        rooms: Collection[str],
        *,
        who: Callable[[], tuple[str, str]],
        displaced: Callable[[MasterChange], object],
    ) -> None:
        self._masters = masters
        self._rooms = rooms
        self._who = who
        self._tell = displaced
        # By room: the names of those that have taken it; on a stock hub all that have since.
        self._displaced: dict[str, set[str]] = {}
        self._watching: asyncio.Task[None] | None = None

    @property
    def displaced(self) -> Collection[str]:
        """The rooms in which the client stands by, since another master has displaced it."""
        return self._displaced.keys()

    def begin(self, session: HubSession) -> None:
        """Take up a new session, in which the client has declared itself."""
        for room in [each for each in self._displaced if each not in session.standing_by]:
            self._restore(room)
        for room in self._masters:
            if room not in self._displaced:
                self.claimed(session, room)
            else:
                self._watch(session)

    def claimed(self, session: HubSession, room: str) -> None:
        """Take notice that the client has declared itself, whoever masters the room."""
        self._displaced.pop(room, None)
        if not isinstance(session.dialect, Native):
            self._announce(session, room)
        self._watch(session)

    def forget(self, room: str) -> None:
        """Take notice that the client is no master of a room any more."""
        self._displaced.pop(room, None)

    def end(self) -> None:
        """Stop looking at the state of a hub to which the link is gone."""
        if self._watching is not None:
            self._watching.cancel()
            self._watching = None

    def hear(self, session: HubSession, data: Any) -> None:
        """Take what a room is told of its master, with MASTER_CHANGED."""
        if not isinstance(data, dict):
            return
        room, usuario, epoch = data.get("room"), data.get("usuario"), data.get("epoch")
        if not isinstance(room, str) or not isinstance(epoch, int) or room not in self._masters:
            return
        is_displaced = data.get("displaced")
        if not isinstance(session.dialect, Native):
            # No word of the hub's, but of the masters', in the order in which they came. A client
            # hears its own, too: when two have claimed a room at once, the last word counts.
            is_displaced = isinstance(usuario, str) and usuario != self._name()
        if is_displaced is True:
            if isinstance(session.dialect, Native):
                self._displaced.pop(room, None)  # the hub knows who stands by behind whom
            self._displace(MasterChange(room, epoch, usuario, displaced=True))
        elif is_displaced is False and room in self._displaced:
            self._restore(room)

    def _name(self) -> str:
        return "".join(self._who())

    def _displace(self, change: MasterChange) -> None:
        names = self._displaced.setdefault(change.room, set())
        if change.usuario is not None:
            names.add(change.usuario)
        usuario = self._who()[0]
        logger.warning(
            "%s was displaced as the master of %s by %s, and stands by",
            short_name(*self._who()),
            change.room,
            printable(short_name(change.usuario)) if change.usuario else "a master without a name",
            extra={"usuario": usuario, "room": change.room},
        )
        self._tell(change)

    def _restore(self, room: str) -> None:
        del self._displaced[room]
        logger.info(
            "%s masters %s again: the master that had displaced it is gone",
            short_name(*self._who()),
            room,
            extra={"usuario": self._who()[0], "room": room},
        )

    # On hubs that tell nothing

    def _announce(self, session: HubSession, room: str) -> None:
        """Tell a room who masters it now, as hubs of this package do."""
        change = {"room": room, "usuario": self._name(), "epoch": 0}
        with contextlib.suppress(AlephScriptError):  # the link is lost: see the next session
            session.dialect.broadcast(room, HubEvent.MASTER_CHANGED, write_json(change))

    def _watch(self, session: HubSession) -> None:
        """Look at the hub's state from now on, if the hub does not tell of masters itself."""
        if self._watching is None and not isinstance(session.dialect, Native):
            self._watching = asyncio.create_task(self._keep_looking(session))

    async def _keep_looking(self, session: HubSession) -> None:
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            try:
                state = await session.dialect.server_state(_STATE_SECONDS)
                members, connected = _read_members(state)
                for room in [each for each in self._masters if each in self._rooms]:
                    await self._look(session, room, members.get(room, set()), connected)
            except AlephScriptError as error:
                logger.debug(
                    "the hub's state says nothing of masters: %s",
                    type(error).__name__,
                    extra={"error": type(error).__name__},
                )

    async def _look(
        self, session: HubSession, room: str, members: set[str], connected: set[str]
    ) -> None:
        """Look for a master, in a room of which a stock hub forgets all members when that goes."""
        is_listed, others = self._name() in members, members - {self._name()}
        if room not in self._displaced:
            if is_listed:
                return
            # Forgotten: some master has taken the room in silence, and is gone.
            self._displace(MasterChange(room, 0, None, displaced=True))
        displacers = self._displaced[room]
        # A master that came meanwhile must keep the room. There is none for certain if the room is
        # empty, or if its members were forgotten when the last master went that was known.
        may_have_master = others and (is_listed or not displacers)
        if may_have_master or displacers & connected:
            return
        await session.subscribe(room)  # so that it is seen when the members are forgotten again
        await session.dialect.make_master(room, self._masters[room])
        self._restore(room)
        self._announce(session, room)


def _read_members(state: Mapping[str, Any]) -> tuple[dict[str, set[str]], set[str]]:
    """Read the names of a stock hub's clients: of those in each room, and of all."""
    rooms = {
        str(room.get("roomId")): {
            f"{each.get('usuario')}{each.get('sesion') or ''}"
            for each in _objects(room.get("miembros"))
        }
        for room in _objects(state.get("rooms"))
    }
    connected = {
        f"{each.get('usuario')}{sesion or ''}"
        for each in _objects(state.get("miembros"))
        for sesion in _list(each.get("sesiones"))
    }
    return rooms, connected.union(*rooms.values())


def _objects(value: Any) -> list[dict[str, Any]]:
    return [each for each in _list(value) if isinstance(each, dict)]


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
