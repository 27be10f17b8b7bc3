"""What comes in while a session is being set up waits, unless nobody wants it any more."""

from __future__ import annotations

from typing import Any

import pytest

from alephscript.client.dialects import Native
from alephscript.client.session import HubSession
from alephscript.protocol.json import write_json

pytestmark = pytest.mark.anyio


class Noting:
    """Notes what a session brings."""

    def __init__(self) -> None:
        self.asked_for: list[str] = []
        self.told_of: list[str] = []
        self.ended: list[tuple[str, str]] = []

    def deliver(self, _: HubSession, delivery: Any) -> None:
        """Note it."""
        if delivery.event.startswith("GET_"):
            self.asked_for.append(delivery.id)
        else:
            self.told_of.append(delivery.event)

    def cancel(self, _: HubSession, id: str, reason: str) -> None:
        """Note it."""
        self.ended.append((id, reason))

    def grant(self, _: HubSession, id: str, parts: int) -> None:
        """Note it."""


async def test_what_is_cancelled_before_it_could_be_served_is_not_served() -> None:
    """The rest comes in its order once the session is ready."""
    inbox = Noting()
    session = HubSession(inbox, {})
    session.dialect = Native(session._channel)

    def comes(*packet: Any) -> None:
        session.received(write_json(packet), None)

    comes("GET_X", {}, {"id": "7"})
    comes("NEWS", 1)
    comes("GET_X", {}, {"id": "8"})
    comes("CANCEL_REQUEST", {"id": "7", "reason": "cancelled"})
    assert inbox.asked_for == inbox.told_of == []
    session.release()
    assert (inbox.asked_for, inbox.told_of, inbox.ended) == (["8"], ["NEWS"], [])
    comes("CANCEL_REQUEST", {"id": "8", "reason": "asker_lost"})
    assert inbox.ended == [("8", "asker_lost")]


async def test_what_is_no_event_is_passed_over() -> None:
    """A foreign hub may send anything."""
    inbox = Noting()
    session = HubSession(inbox, {})
    session.release()
    for text in (b"[]", b"[7]", b"{}", b"[", b'["CANCEL_REQUEST",{"id":"1","reason":"x"}]'):
        session.received(text, None)
    assert (inbox.asked_for, inbox.told_of, inbox.ended) == ([], [], [])
