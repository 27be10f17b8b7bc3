"""Where a client is: its name, its rooms, the rooms that it masters, now and on later connections.

May go in: what a user calls to change that, with its documentation. May not: how a hub is told
(`dialects`), who masters a room meanwhile (`mastering`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from alephscript.client.arguments import check_position, names_of, unfit
from alephscript.client.declaring import Declarations, Group, Mastery
from alephscript.client.mastering import Mastering
from alephscript.client.tasks import Tasks
from alephscript.protocol import events
from alephscript.protocol.events import Position

__all__ = ["Membership", "write_registration"]


class Membership(Tasks):
    """The part of a client that is somewhere."""

    usuario: str
    sesion: str
    declarations: Declarations = Declarations((), {}, {})
    _alephscript_extras: dict[str, Any]
    _alephscript_rooms: dict[str, bool]
    _alephscript_masters: dict[str, Mastery]
    _alephscript_mastering: Mastering
    _alephscript_positions: dict[str, Position]

    async def register(self, usuario: str, sesion: str | None = None, **extras: Any) -> None:
        """Register under another name, now and on every later connection.

        Args:
            usuario: The name.
            sesion: Which instance of that name the client is; as before by default.
            extras: Further fields of the registration, in place of all that were given before,
                to the constructor too.

        Raises:
            RequestError: The hub refused the registration; the client is who it was.
        """
        sesion = sesion or self.sesion
        await self._alephscript_life.present_session().register(
            write_registration(usuario, sesion, extras)
        )
        self.usuario, self.sesion, self._alephscript_extras = usuario, sesion, extras

    async def subscribe(
        self, room: str, *, since: Position | None = None, presence: bool = False
    ) -> None:
        """Be in a room, now and on every later connection.

        The last values that are retained in the room come first (see `broadcast`), with each
        subscription. Where the hub keeps a history, events that were said while the link was lost
        come after the reconnection, in order; a `GAP` event stands for those that the hub no longer
        has.

        Args:
            room: The room.
            since: Hear first what was said since then; see `position`.
            presence: Hear from now on who comes into the room and who goes, until `unsubscribe`:
                MEMBER_JOINED and MEMBER_LEFT with ``room``, ``usuario``, ``sesion`` and, of the
                second, ``reason``. The client hears nothing of itself; who is there already,
                `members` tells. Stock hubs tell nothing of that.

        Raises:
            ContractError: ``since`` is no position.
            RequestError: The hub refused.
        """
        if since is not None:
            check_position("subscribe", since)
            self._alephscript_positions[events.check_room_name(room)] = since
        presence = presence or self._alephscript_rooms.get(room, False)
        session = self._alephscript_life.present_session()
        await session.subscribe(events.check_room_name(room), presence=presence)
        self._alephscript_rooms[room] = presence

    def position(self, room: str) -> Position | None:
        """Return how far a room was heard, for `subscribe`; None without a history."""
        return self._alephscript_positions.get(room)

    async def unsubscribe(self, room: str) -> None:
        """Leave a room; what the client masters, it goes on mastering."""
        self._alephscript_rooms.pop(room, None)
        self._alephscript_positions.pop(room, None)
        await self._alephscript_life.present_session().unsubscribe(events.check_room_name(room))

    async def make_master(
        self, room: str, features: tuple[str, ...] | None = None, *, group: Group = "single"
    ) -> None:
        """Become the master of a room, or one of its masters, now and on every later connection.

        Args:
            room: The room.
            features: Names of the capabilities to declare; by default the class's for that room.
            group: ``single``: the master before is displaced. ``standby``: the first of the
                members that stand by serves, the next takes over when that one goes. ``shared``:
                each request goes to the master with the fewest in flight. The last declaration
                decides which of these a room is; masters of another group are displaced.

        Raises:
            RequestError: The hub refused.
        """
        mastery = self.declarations.mastery(events.check_room_name(room), group)
        if features is not None:
            names = names_of(features)
            if names is None:
                raise unfit("make_master", "features", "a tuple of names of capabilities")
            mastery = attrs.evolve(mastery, features=names)
        session = self._alephscript_life.present_session()
        await session.dialect.make_master(room, mastery)
        self._alephscript_masters[room] = mastery
        self._alephscript_mastering.claimed(session, room)

    async def resign(self, room: str) -> None:
        """Master a room no more; requests that run are still answered.

        Raises:
            RequestError: The hub refused.
        """
        self._alephscript_masters.pop(room, None)
        self._alephscript_mastering.forget(room)
        await self._alephscript_life.present_session().dialect.resign(events.check_room_name(room))


def write_registration(usuario: str, sesion: str, extras: Mapping[str, Any]) -> dict[str, Any]:
    """Return the payload of CLIENT_REGISTER."""
    return {**extras, "usuario": usuario, "sesion": sesion, "protocol": events.PROTOCOL}
