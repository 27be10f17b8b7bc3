"""Rooms of a class, and what instances are in each: its master, or merely there.

May go in: what a class says of its rooms. May not: what it offers in them (`declaring`).

Pure: no socket, no clock.
"""

from __future__ import annotations

import typing
from typing import Literal

import attrs

from alephscript.errors import DeclarationError

__all__ = ["Group", "RoomRole", "master", "observe"]

Group = Literal["single", "standby", "shared"]


@attrs.frozen
class RoomRole:
    """A room of a class, and the class's role there.

    Attributes:
        name: The room's name.
        mastered: Whether instances are its master, or merely there.
        group: How they share the room with other masters.
        presence: Whether instances hear who comes into the room and who goes.
    """

    name: str
    mastered: bool
    group: Group = "single"
    presence: bool = False


def master(*rooms: str, group: Group = "single") -> tuple[RoomRole, ...]:
    """Name rooms to master together with others.

    ::

        class Worker(AlephScriptClient):
            rooms = master("WORK", group="shared")

    Args:
        rooms: Their names.
        group: ``single``, ``standby`` or ``shared``; see `AlephScriptClient.make_master`.

    Raises:
        DeclarationError: The group is none of these.
    """
    if group not in typing.get_args(Group):
        raise DeclarationError(f'a group is "single", "standby" or "shared", not {group!r}')
    return tuple(RoomRole(name, mastered=True, group=group) for name in rooms)


def observe(*rooms: str, presence: bool = False) -> tuple[RoomRole, ...]:
    """Name rooms to be in without mastering them.

    ::

        class Watcher(AlephScriptClient):
            rooms = observe("AAIA_ROOM")

    Args:
        rooms: Their names.
        presence: Whether to hear who comes and goes there; see `AlephScriptClient.subscribe`.
    """
    return tuple(RoomRole(name, mastered=False, presence=presence) for name in rooms)
