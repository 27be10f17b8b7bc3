"""The frames of which there are many, all of a message read in one go.

A message of frames is one JSON text; a decoder that knows the kinds makes records of all its frames
in a single call, where reading them one by one, field by field, took most of what a request across
hubs costs. `foreign` says the same of each frame, and which one of a message is wrong.

May go in: the form of the kinds that requests are made of. May not: what a frame brings about
(`federation`), all other kinds (`foreign`), how messages travel. Pure: no socket, no clock.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Annotated, Any

import msgspec

from alephscript.errors import InvalidPayload
from alephscript.protocol import events
from alephscript.protocol.events import HubEvent
from alephscript.protocol.json import MAX_DEPTH, is_plain
from alephscript.protocol.tasks import LONGEST_TASK

__all__ = [
    "LARGEST",
    "NOTES",
    "About",
    "AboutIdentity",
    "Answer",
    "Ask",
    "Cancel",
    "Cut",
    "Frame",
    "Lost",
    "More",
    "Moved",
    "Note",
    "Said",
    "check_about",
    "read_frames",
    "read_said",
]

LARGEST = 2**53
"""The last whole number up to which all JSON readers agree."""

NOTES = (HubEvent.REQUEST_PART, HubEvent.REQUEST_PROGRESS, HubEvent.REQUEST_CHECKPOINT)
"""Events about a request that its master may say before the answer."""

_Number = Annotated[int, msgspec.Meta(gt=0, le=LARGEST)]


class AboutIdentity(msgspec.Struct, gc=False):
    """An asker's identity, as its hub knows it."""

    usuario: str | None
    rooms: list[str] | None


class About(msgspec.Struct, gc=False):
    """What an asker's hub says of the asker and the request.

    Attributes:
        sid: The asker's socket id.
        name: What others see as its name.
        meta: Whether it reads the meta.
        seconds: Seconds until the deadline.
        extras: Keys of the meta that only the master reads.
        envelope: Further keys of an envelope.
        identity: The asker's identity, None if its hub asks for none.
    """

    sid: str
    name: str
    meta: bool
    seconds: Annotated[float, msgspec.Meta(le=LONGEST_TASK)]
    extras: dict[str, Any]
    envelope: dict[str, Any]
    identity: AboutIdentity | None = None


class _Extras(msgspec.Struct):
    chain: list[str] = []
    priority: int = 0
    request: int = 0


class _Frame(
    msgspec.Struct,
    array_like=True,
    forbid_unknown_fields=True,
    gc=False,
    tag=lambda name: name.lower(),
):
    number: _Number
    sid: str


class Ask(_Frame):
    """A question; see the table in `alephscript.mesh.federation`, as for all of these."""

    room: str | None
    event: str
    data: msgspec.Raw
    about: About

    def __post_init__(self) -> None:
        _check_question(self.room, self.event)
        about = self.about
        if about.extras or about.envelope:
            check_about(about)


class Answer(_Frame):
    """What a master has answered."""

    answer: msgspec.Raw
    room: str


class Note(_Frame):
    """What a master says of a request before the answer."""

    event: str
    data: msgspec.Raw

    def __post_init__(self) -> None:
        if self.event not in NOTES:
            raise InvalidPayload("not an event about a request")


class More(_Frame):
    """Credit for parts of an answer."""

    parts: _Number


class Cancel(_Frame):
    """An asker waits no more."""

    reason: str


class Moved(_Frame):
    """A request has reached nobody."""


class Lost(_Frame):
    """A request has lost its master."""


class Cut(_Frame):
    """The master of a task's run has lost its link, and may come back with the run."""


Frame = Ask | Answer | Note | More | Cancel | Moved | Lost | Cut


class Said(msgspec.Struct, array_like=True, forbid_unknown_fields=True, gc=False):
    """What was said in a room: an announcement."""

    event: str
    data: msgspec.Raw
    sender: str
    at: Annotated[int, msgspec.Meta(ge=0, le=LARGEST)] = 0


def check_about(about: About) -> None:
    """Check what of an asker's description is passed on to the master.

    Raises:
        InvalidPayload: A key has no value of its type, or is nested too deeply.
    """
    try:
        msgspec.convert(about.extras, _Extras)
    except msgspec.ValidationError:
        raise InvalidPayload("not the description of an asker") from None
    if not is_plain(about.extras, MAX_DEPTH - 1) or not is_plain(about.envelope, MAX_DEPTH - 1):
        raise InvalidPayload("the description of an asker is nested too deeply")


@functools.lru_cache(maxsize=1024)
def _check_question(room: str | None, event: str) -> None:
    """Check room and event of an `ask`; a mesh uses few of them."""
    if room is not None:
        events.check_room_name(room)
    events.check_event(event)
    if not event.startswith("GET_"):
        raise InvalidPayload("not a question")


read_frames: Callable[[bytes], tuple[tuple[str, str], list[Frame]]]
read_frames = msgspec.json.Decoder(tuple[tuple[str, str], list[Frame]]).decode
"""Reads a message of frames, if all of them are of these kinds and make sense: the sender's name,
the namespace, and the frames."""

read_said: Callable[[bytes], tuple[str, list[Said]]]
read_said = msgspec.json.Decoder(tuple[str, list[Said]]).decode
"""Reads a message to a room, if all of it makes sense: the sender's name, and what was said."""
