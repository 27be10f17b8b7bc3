"""Which path by HTTP is which question about the mesh, and by which methods.

May go in: reading paths. May not: answering them. Pure: no socket, no clock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum, auto
from typing import Any
from urllib.parse import quote, unquote_to_bytes

import attrs

from alephscript.errors import InvalidPayload

__all__ = ["EVENTS", "Page", "Route", "capability_path", "find_route"]

EVENTS = "events"
"""What stands behind a room whose events are heard."""

_READ = ("GET", "HEAD")
_FOLDER = "mesh"
_IN_FOLDER = ("rooms", "capabilities", "invoke")
"""What a hub that is mounted at ``/mesh`` has right there, too."""


class Page(Enum):
    """The questions."""

    HEALTH = auto()
    MESH_HEALTH = auto()
    ROOMS = auto()
    ROOM = auto()
    EVENTS = auto()
    CAPABILITIES = auto()
    OPENAPI = auto()
    INVOKE = auto()
    CAPABILITY = auto()


@attrs.frozen
class Route:
    """A path that was read.

    Attributes:
        pages: The questions that the path stands for, by method.
        room: The room that it names, empty if none.
        capability: The capability that it names, empty if none.
    """

    pages: Mapping[str, Page]
    room: str = ""
    capability: str = ""


_FIXED = {
    ("health",): Page.HEALTH,
    ("openapi.json",): Page.OPENAPI,
    ("mesh", "health"): Page.MESH_HEALTH,
    ("mesh", "rooms"): Page.ROOMS,
    ("mesh", "capabilities"): Page.CAPABILITIES,
}


def find_route(scope: Mapping[str, Any]) -> Route | None:
    """Find what the path of an ASGI scope asks; None if it is about no mesh.

    Names are read from the path as it was sent, so that a room may have a slash in its name.

    Raises:
        InvalidPayload: A name in the path is no UTF-8.
    """
    match _split(scope):
        case ["mesh", "rooms", room]:
            return Route(_reads(Page.ROOM), _read(room))
        case ["mesh", "rooms", room, capability]:
            pages = {"POST": Page.CAPABILITY}
            if capability == EVENTS:
                pages["GET"] = Page.EVENTS
            return Route(pages, _read(room), _read(capability))
        case ["mesh", "invoke", room]:
            return Route({"POST": Page.INVOKE}, _read(room))
        case others:
            page = _FIXED.get(tuple(others))
            return None if page is None else Route(_reads(page))


def capability_path(room: str, capability: str) -> str:
    """Write the path of a capability."""
    return f"/mesh/rooms/{quote(room, safe='')}/{quote(capability, safe='')}"


def _split(scope: Mapping[str, Any]) -> Sequence[str]:
    """Split a path into its parts, escapes and all; what the application is mounted at is left out.

    A slash at the end means nothing.
    """
    raw = scope.get("raw_path")
    path = quote(scope["path"]) if raw is None else raw.partition(b"?")[0].decode("latin-1")
    parts = path.removesuffix("/").split("/")[1:]
    above = [unquote_to_bytes(each) for each in scope.get("root_path", "").split("/") if each]
    while above:  # as `alephscript.hub.asgi.find_path`
        if [unquote_to_bytes(each) for each in parts[: len(above)]] == above:
            below = parts[len(above) :]
            is_short = above[-1] == _FOLDER.encode() and below[:1] and below[0] in _IN_FOLDER
            return [_FOLDER, *below] if is_short else below
        del above[0]
    return parts


def _reads(page: Page) -> dict[str, Page]:
    return dict.fromkeys(_READ, page)


def _read(part: str) -> str:
    try:
        return unquote_to_bytes(part).decode()
    except UnicodeDecodeError:
        raise InvalidPayload("the path holds a name that is no UTF-8") from None
