"""The parts of a client that take what its session brings: requests, events, questions on itself.

May go in: deciding by an event's name. May not: serving a request (`serving`), running a listener
(`listening`), reading packets (`dialects`).
"""

from __future__ import annotations

from time import time

from alephscript.client.calls import Delivery
from alephscript.client.mastering import Mastering
from alephscript.client.messages import GAP, Event, Gap
from alephscript.client.serving import Service
from alephscript.client.session import HubSession
from alephscript.client.streams import Streams
from alephscript.client.surveying import SelfDescription
from alephscript.errors import UnknownEvent
from alephscript.protocol import events
from alephscript.protocol.json import write_json

__all__ = ["Inbox"]

_MASTER_CHANGED = events.HubEvent.MASTER_CHANGED.value


class Inbox:
    """Hands over what sessions bring; see `alephscript.client.session.DeliveryHandler`.

    Args:
        service: Takes requests.
        streams: Take events.
        description: Answers what members are asked about themselves.
        mastering: Takes what is said of masters.
    """

    def __init__(
        self,
        service: Service,
        streams: Streams,
        description: SelfDescription,
        mastering: Mastering,
    ) -> None:
        self._service = service
        self._streams = streams
        self._description = description
        self._mastering = mastering
        self.cancel = service.cancel
        self.grant = service.grant
        self.take_kept = service.runs.take
        self.resume = service.runs.resume

    def deliver(  # noqa: C901, PLR0912 - one call for an event
        self, session: HubSession, delivery: Delivery
    ) -> None:
        """See `alephscript.client.session.DeliveryHandler`."""
        name = delivery.event
        if name.startswith("GET_"):
            if name in events.MEMBER_EVENTS:
                answer = self._description.answer(name, session.registration)
                session.dialect.answer(delivery, answer)
            else:
                self._service.take(session, delivery)
            return
        # An event of a room; in no method of its own, as each is one call then.
        if name in events.CONFIRMATIONS:
            return
        if name == _MASTER_CHANGED:
            self._mastering.hear(session, delivery.data)
        streams = self._streams.listening(name)
        if delivery.ack is not None:
            reply = events.make_success() if streams else UnknownEvent("nobody listens").answer()
            session.dialect.answer(delivery, write_json(reply))
        if not streams:
            return
        data = delivery.data
        if name == GAP:
            if not isinstance(data, Gap):  # the session's own word, or the hub's
                data = session.dialect.read_gap(data)
            if data is None:
                return
        elif name.startswith("SET_") and isinstance(data, dict):
            data.pop("sender", None)
        meta = delivery.meta
        sent = time() if meta.at is None else meta.at / 1000
        position = None
        if meta.number is not None:
            position = session.position(delivery.room, meta.number, meta.history)
        event = Event(delivery.room, name, data, delivery.sender, meta.retained, sent, position)
        for stream in streams:
            stream.offer(event)
