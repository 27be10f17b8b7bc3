"""Names that a hub takes: none that a terminal, a log or a reader's eye would obey."""

from __future__ import annotations

from typing import Any

import pytest

from alephscript.hub import Access, Handshake, Hub, Identity, Refusal
from alephscript.hub.admission import identify
from tests.support.peers import raw_peer

pytestmark = pytest.mark.anyio

NAME = "X\n\x1b[2J\u202e"


@pytest.mark.parametrize(
    ("event", "payload", "code"),
    [
        ("CLIENT_REGISTER", {"usuario": NAME}, "invalid_payload"),
        ("CLIENT_REGISTER", {"usuario": "a", "sesion": NAME}, "invalid_payload"),
        ("CLIENT_SUSCRIBE", {"room": NAME}, "invalid_payload"),
        ("CLIENT_UNSUSCRIBE", {"room": NAME}, "invalid_payload"),
        ("MAKE_MASTER", {"room": NAME}, "invalid_payload"),
        ("MAKE_MASTER", {"room": "R", "features": [NAME]}, "invalid_payload"),
        ("MAKE_MASTER", {"room": "R", "capabilities": [NAME]}, "invalid_payload"),
        ("MAKE_MASTER", {"room": "R", "descriptions": {NAME: {}}}, "invalid_payload"),
        ("ROOM_MESSAGE", {"room": NAME, "event": "E"}, "invalid_payload"),
        ("ROOM_MESSAGE", {"room": "R", "event": NAME}, "unknown_event"),
        ("GET_MEMBERS", {"room": NAME}, "invalid_payload"),
        (f"GET_{NAME}", {}, "unknown_event"),
        (NAME, {}, "unknown_event"),
    ],
)
async def test_names_with_control_characters_are_refused(
    hub: Hub, event: str, payload: dict[str, Any], code: str
) -> None:
    """By a sentence that does not repeat them; the sender stays."""
    async with raw_peer(hub) as peer:
        answer = await peer.ask(event, payload)
        assert (answer["success"], answer["code"]) == (False, code)
        assert answer["error"].isprintable()
        assert (await peer.ask("CLIENT_REGISTER", {"usuario": "honest"}))["success"]


class Named(Access):
    """Knows everybody by one name."""

    def __init__(self, name: str | None) -> None:
        self._name = name

    def authenticate(self, auth: Any, handshake: Handshake) -> Identity | Refusal:
        """Let all in."""
        return Identity(usuario=self._name)


@pytest.mark.parametrize(("name", "is_in"), [("a", True), (None, True), (NAME, False)])
async def test_a_proven_name_is_fit_to_be_shown(name: str | None, is_in: bool) -> None:
    """Else its bearer stays outside."""
    handshake = Handshake("/runtime", "127.0.0.1", {})
    verdict = await identify(Named(name), None, handshake)
    assert isinstance(verdict, Identity) is is_in
