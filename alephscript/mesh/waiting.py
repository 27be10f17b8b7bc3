"""Requests that wait at the hub for a master, found by what would end their waiting.

A declaration of one room concerns the requests that named this room, and those that left the
choice to the hub and want what is offered there: all others are not looked at. Of one asker those
of one capability are looked at together, since one answer holds for all of them.

May go in: which requests wait for what. May not: whether a master serves them (`rooms`), or what
becomes of them (`requests`). Pure: no socket, no clock.
"""

from __future__ import annotations

from collections.abc import Iterator

from alephscript.mesh.peers import OpenRequest, Peer
from alephscript.mesh.rooms import Room

__all__ = ["Group", "Waiting"]

Group = dict[int, OpenRequest]
"""Waiting requests by number that one master or none serves: of one asker, capability, place."""

_Key = tuple[Peer, str, bool]
_Groups = dict[_Key, Group]
_Place = tuple[str, str]


class Waiting:
    """The requests that wait for a master."""

    def __init__(self) -> None:
        self._requests: dict[int, tuple[_Place, ...]] = {}
        self._places: dict[_Place, _Groups] = {}

    def __len__(self) -> int:
        return len(self._requests)

    def __contains__(self, request: OpenRequest) -> bool:
        return request.number in self._requests

    def add(self, request: OpenRequest) -> None:
        """Add a request that has no master."""
        places = self._requests[request.number] = _places_of(request)
        for place in places:
            groups = self._places.setdefault(place, {})
            group = groups.setdefault(_key_of(request), {})
            group[request.number] = request

    def remove(self, request: OpenRequest) -> None:
        """Remove a request; one that does not wait is no error."""
        key = _key_of(request)
        for place in self._requests.pop(request.number, ()):
            groups = self._places[place]
            group = groups[key]
            del group[request.number]
            if not group:
                del groups[key]
                if not groups:
                    del self._places[place]

    def find(self, room: Room) -> Iterator[Group]:
        """Find the requests that a room's masters may serve, or that waited to learn of them."""
        yield from self._groups_at(("room", room.name))
        # Whichever is shorter: what is offered, or what is waited for.
        offers = room.masters.offers
        if len(offers) < len(self._places):
            places = [("capability", each) for each in sorted(offers)]  # in any process the same
        else:
            places = [each for each in self._places if each[0] != "room" and each[1] in offers]
        for place in places:
            yield from self._groups_at(place)

    def _groups_at(self, place: _Place) -> Iterator[Group]:
        # Copies of what is short: groups, not requests; whoever iterates may remove any.
        return iter(list(self._places.get(place, {}).values()))


def _key_of(request: OpenRequest) -> _Key:
    return request.asker, request.capability, request.meta.wait


def _places_of(request: OpenRequest) -> tuple[_Place, ...]:
    """List where a request is looked for: a room's declaration, or a capability's."""
    place = ("capability", request.capability)
    if isinstance(request.named_room, str):
        place = ("room", request.named_room)
    if request.room and place != ("room", request.room):
        return (place, ("room", request.room))  # of which it waits for the decision
    return (place,)
