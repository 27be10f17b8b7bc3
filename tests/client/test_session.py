"""What comes in while a session is being set up waits, unless nobody wants it any more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from alephscript.client.dialects import Dialect, Documented, Native
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

    def take_kept(self, _: HubSession, message: Mapping[str, Any]) -> None:
        """No tasks here."""

    async def resume(self, session: HubSession) -> None:
        """Nor runs of them."""

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


class Sent:
    """A link that notes what is sent."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def send(self, payload: bytes, _: int | None = None) -> None:
        """Note it."""
        self.events.append(payload.decode())


@pytest.mark.parametrize(
    ("event", "dialect", "sent"),
    [
        ("NEWS", Native, '["NEWS",1,{"room":"R"}]'),
        ("SET_X", Native, '["SET_X",1,{"room":"R"}]'),
        ("NEWS", Documented, '["ROOM_MESSAGE",{"event":"NEWS","room":"R","data":1}]'),
        ("GET_X", Native, '["ROOM_MESSAGE",{"event":"GET_X","room":"R","data":1}]'),
        ("MAKE_MASTER", Native, '["ROOM_MESSAGE",{"event":"MAKE_MASTER","room":"R","data":1}]'),
    ],
)
async def test_an_event_travels_by_its_own_name_where_the_hub_understands_that(
    event: str, dialect: type[Dialect], sent: str
) -> None:
    """But not one that has a meaning of its own to a hub."""
    session, link = HubSession(Noting(), {}), Sent()
    session._channel.link = link  # type: ignore[assignment]
    dialect(session._channel).broadcast("R", event, b"1")
    assert link.events == [sent]
