"""Retained values where there are several hubs: which one is the last, on all of them.

Theory of operation. Each hub has all values of all rooms, so that whoever enters a room gets them
from its own hub at once (decision 0049). A hub that takes a value tells its own members, and puts
the value to the registry (`Retain`); the registry decides in which order the values of all hubs
came, as it does with masters, and tells every hub (`decided`). Until then the value is pending, and
stands above what other hubs are heard to say: that will have been before. Members here who have
heard such a value after the pending one are told that again, so that the last value that anybody
hears is the last one.

A hub that was cut off compares its values with the registry's (`resynchronise`): a pending one is
put forward again unless another hub has decided meanwhile, any other gives way to the registry's.
A registry that has lost its data gets back what the hubs have, the later of two.

==================  =================================================================
a value's           is
==================  =================================================================
stamp               its name, of the hub that took it: whoever sees it knows it again
position            the number of the decision about it; of a pending one, of the value before it
==================  =================================================================

May go in: which value counts. May not: how many may be kept (`retained`), how they travel
(`hub.cluster`). Pure: no socket, no clock.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping

from alephscript.mesh.effects import Effect, Retain
from alephscript.mesh.retained import RetainedValue
from alephscript.mesh.rooms import Rooms
from alephscript.mesh.speech import Speech
from alephscript.protocol import events

__all__ = ["Decided", "Replicas"]

Decided = Mapping[tuple[str, str], RetainedValue]
"""The values that the registry has, by room and event, in the order of their positions."""


class Replicas:
    """This hub's copy of the values that all hubs share.

    What returns effects is an input, as in `alephscript.mesh.federation.Federation`.

    Args:
        hub: This hub's name.
        rooms: Its rooms.
        speech: Where the values are kept and told.
    """

    def __init__(self, hub: str, rooms: Rooms, speech: Speech) -> None:
        self._hub = hub
        self._rooms = rooms
        self._speech = speech
        self._retained = speech.retained
        self._numbers = itertools.count(1)

    def take(
        self, room: str, event: str, value: RetainedValue, *, is_quiet: bool = False
    ) -> list[Effect]:
        """Keep a value of a member here, and put it to the registry."""
        before = self._retained.get(room, event)
        value.stamp = f"{self._hub}.{next(self._numbers)}"
        value.position = 0 if before is None else before.position
        value.is_pending = True
        effects: list[Effect] = [Retain(room, event, value, is_quiet)]
        for other in self._retained.put(room, event, value):
            effects += self.take(*other, RetainedValue(None, ""), is_quiet=True)
        return effects

    def decided(
        self, room: str, event: str, value: RetainedValue, *, is_quiet: bool
    ) -> list[Effect]:
        """Take what the registry has decided about a value of some hub.

        Args:
            room: The room.
            event: The event.
            value: The value, with stamp and position; one without data is forgotten.
            is_quiet: Whether members here are told nothing.
        """
        before = self._retained.get(room, event)
        if before is not None and before.stamp == value.stamp:
            return self._confirm(room, event, before, value.position)
        is_ours = value.stamp.startswith(f"{self._hub}.")
        if before is not None and before.is_pending:
            before.position = value.position
            if is_ours or is_quiet:  # an earlier one of this hub, which members have heard
                return []
            before.is_contested = True
            return self._say(room, event, value)
        if before is not None and value.position <= before.position:
            return []
        # What is too much now its own hub has forgotten.
        self._retained.put(room, event, value)
        if is_quiet:
            return []
        if is_ours:  # decided after all, though this hub had given it up meanwhile
            return self._tell(room, event, value)
        return self._say(room, event, value)

    def resynchronise(self, decided: Decided, *, is_lost: bool) -> list[Effect]:
        """Compare what is kept here with what the registry has, now that it can be reached.

        Args:
            decided: All that the registry has.
            is_lost: Whether the registry has lost what it had when this hub last saw it.
        """
        effects: list[Effect] = []
        for room, event, value in list(self._retained):
            if (room, event) in decided:
                continue
            if value.is_pending or is_lost:
                effects.append(Retain(room, event, value))
            else:  # forgotten meanwhile
                effects += self._replace(room, event, RetainedValue(None, value.sender))
        for (room, event), value in decided.items():
            before = self._retained.get(room, event)
            if before is None:
                effects += self._replace(room, event, value)
            elif before.stamp == value.stamp:
                effects += self._confirm(room, event, before, value.position)
            elif value.position <= before.position:
                effects.append(Retain(room, event, before))
            else:
                effects += self._replace(room, event, value)
        return effects

    def _replace(self, room: str, event: str, value: RetainedValue) -> list[Effect]:
        """Keep what was decided while this hub could not hear of it, and tell it."""
        self._retained.put(room, event, value)
        return self._tell(room, event, value)

    def _confirm(self, room: str, event: str, value: RetainedValue, position: int) -> list[Effect]:
        """Count a value that is kept here as decided."""
        value.position = position
        is_contested = value.is_contested
        value.is_pending = value.is_contested = False
        if value.data is None:
            self._retained.drop(room, event)
        return self._tell(room, event, value) if is_contested else []

    def _say(self, room: str, event: str, value: RetainedValue) -> list[Effect]:
        """Tell the members here what was said at another hub just now."""
        message = events.RoomMessage(event, room, None, {})
        to, data = self._rooms.members(room), value.data
        if not to:
            return []
        speaker = value.stamp.partition(".")[0]
        effects = self._speech.tell(to, message, data, value.sender, speaker, at=value.at)
        self._speech.note_place(room, value)
        return effects

    def _tell(self, room: str, event: str, value: RetainedValue) -> list[Effect]:
        """Tell the members here a value that was said some time ago."""
        return self._speech.tell_value(self._rooms.members(room), room, event, value)
