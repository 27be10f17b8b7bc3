"""Which path by HTTP is which question."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, unquote

import pytest
from hypothesis import given, strategies as st

from alephscript.errors import InvalidPayload
from alephscript.hub.rest.paths import Page, Route, capability_path, find_route

NAMES = st.text(min_size=1, max_size=20).filter(lambda name: name.isprintable())


def scope_of(raw: str, root: str = "") -> dict[str, Any]:
    """A scope as servers make it: the application's root stands before the path."""
    return {"path": unquote(raw), "raw_path": raw.encode(), "root_path": root}


@given(room=NAMES, capability=NAMES.filter(lambda name: name != "events"))
def test_any_room_and_any_capability_have_a_path(room: str, capability: str) -> None:
    """Slashes, dots, questions and all."""
    route = find_route(scope_of(capability_path(room, capability)))
    assert route == Route({"POST": Page.CAPABILITY}, room, capability)


@given(room=NAMES, root=st.sampled_from(["", "/api", "/a/b/", "/ñ", "/mesh"]))
def test_what_an_application_is_mounted_at_is_no_part_of_its_paths(room: str, root: str) -> None:
    """Whether a server puts it before the path, or not."""
    path = f"/mesh/rooms/{quote(room, safe='')}"
    for before in (quote(root.rstrip("/")), ""):
        found = find_route(scope_of(before + path, root))
        assert found is not None
        assert found.room == room


READS = {
    "/health": Page.HEALTH,
    "/openapi.json": Page.OPENAPI,
    "/mesh/health": Page.MESH_HEALTH,
    "/mesh/rooms": Page.ROOMS,
    "/mesh/rooms/": Page.ROOMS,
    "/mesh/rooms/R": Page.ROOM,
    "/mesh/capabilities": Page.CAPABILITIES,
}


@pytest.mark.parametrize(("path", "page"), READS.items())
def test_pages_are_read(path: str, page: Page) -> None:
    """And nothing else is done to them."""
    route = find_route(scope_of(path))
    assert route is not None
    assert route.pages == {"GET": page, "HEAD": page}


def test_the_events_of_a_room_are_heard_and_a_capability_of_that_name_is_asked() -> None:
    """By different methods."""
    route = find_route(scope_of("/mesh/rooms/R/events"))
    assert route == Route({"POST": Page.CAPABILITY, "GET": Page.EVENTS}, "R", "events")


@pytest.mark.parametrize(
    "path", ["/", "/mesh", "/mesh/live", "/mesh/invoke", "/mesh/rooms/a/b/c", "/rooms", "//health"]
)
def test_other_paths_are_others_business(path: str) -> None:
    """Of the hub, or of nobody."""
    assert find_route(scope_of(path)) is None


def test_a_server_that_tells_no_raw_path_is_understood() -> None:
    """ASGI leaves it out if it likes; then a slash in a name cannot be told from others."""
    found = find_route({"path": "/mesh/rooms/Ñ ?%", "root_path": ""})
    assert found is not None
    assert found.room == "Ñ ?%"


def test_a_name_that_is_no_text_is_refused() -> None:
    """With a sentence."""
    with pytest.raises(InvalidPayload, match="UTF-8"):
        find_route(scope_of("/mesh/rooms/%FF"))
