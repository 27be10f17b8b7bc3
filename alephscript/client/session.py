"""One registered connection to a hub, from handshake to loss, in whichever dialect the hub speaks.

Opening it replays what a client is: registered, in its rooms, their master. What comes in
meanwhile is held until the client says that it is ready. A session is never reused: what belongs
to a link dies with it (decision 0009).

May go in: the beginning and the end of a connection, what is held, how far rooms were heard. May
not: how a hub is told, asked and answered (`dialects`), reconnecting (`lifecycle`), who serves
(`serving`).
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable, Collection, Mapping
from typing import Any, Protocol

from alephscript.client.calls import NO_META, Call, Delivery, read_answer
from alephscript.client.declaring import Mastery
from alephscript.client.dialects import Channel, Core, Dialect, Documented, find_dialect
from alephscript.client.messages import GAP, Gap
from alephscript.errors import Closed, ConnectionRefused, LinkLost, NotConnected, RequestError
from alephscript.links.transport import Transport
from alephscript.protocol.events import Answer, HubEvent, Position
from alephscript.protocol.json import write_json

__all__ = ["DeliveryHandler", "HubSession"]

logger = logging.getLogger("alephscript.client")


class DeliveryHandler(Protocol):
    """The taker of what a session brings, in order of arrival; must not block."""

    def deliver(self, session: HubSession, delivery: Delivery) -> None:
        """Take a request to serve (its event begins with ``GET_``), or an event of a room."""
        ...

    def cancel(self, session: HubSession, id: str, reason: str) -> None:
        """Stop a request: nobody waits for its answer any more."""
        ...

    def grant(self, session: HubSession, id: str, parts: int) -> None:
        """Let a streamed answer go on for so many more parts."""
        ...

    def take_kept(self, session: HubSession, message: Mapping[str, Any]) -> None:
        """Take note of what the hub has kept of a task; of nothing, if it asks for the runs."""
        ...

    async def resume(self, session: HubSession) -> None:
        """Go on with runs of tasks that came by an earlier session."""
        ...


class HubSession:
    """A link, its dialect, and what is held until the client is ready.

    Args:
        handler: What comes in is handed over to it, once the session is released.
        positions: How far each room was heard, kept up to date here and across sessions.
        redacts: Whether the log may not have the texts of exceptions.

    Attributes:
        redacts: As given.
        dialect: How the hub is spoken to; documented until the registration shows which it is.
        registration: Payload of the last CLIENT_REGISTER that the hub took.
        standing_by: The rooms in which another master had displaced the client, and still does.
        has_acknowledged: Whether the hub has acknowledged the registration, be it late.
        is_gone: Set when the link is gone.
        when_gone: Called as soon as the link is gone.
        hurry: Tells the link that the next message is the last for now.
    """

    def __init__(
        self, handler: DeliveryHandler, positions: dict[str, Position], *, redacts: bool = False
    ) -> None:
        self.redacts = redacts
        self.registration: Mapping[str, Any] = {}
        self.standing_by: set[str] = set()
        self.has_acknowledged = False
        self._ending: asyncio.Task[None] | None = None
        self.is_gone = asyncio.Event()
        self.when_gone: Callable[[], None] = _nothing
        self.hurry: Callable[[], None] = _nothing
        self._handler = handler
        self._channel = Channel(
            positions, cancel=self._cancel, grant=self._grant, take_kept=self._take_kept
        )
        self.dialect: Dialect = Documented(self._channel)
        self._held: list[Delivery] = []
        self._is_released = False
        self._hand_on: Callable[[Delivery], None] = self._held.append
        # See `alephscript.links.transport.Receiver`: the table itself, no method in between.
        self.acknowledged: Callable[[int, bytes], None] = self._channel.pending.resolve

    async def open(
        self,
        transport: Transport,
        *,
        namespace: str,
        auth: Mapping[str, Any] | None,
        registration: Mapping[str, Any],
        rooms: Mapping[str, bool],
        masters: Mapping[str, Mastery],
        displaced: Collection[str],
        timeout: float,
        acknowledges: bool | None,
        silence: float,
    ) -> None:
        """Connect, register, subscribe and make master, but of no room that another has taken.

        Raises:
            ConnectionRefused: There is no hub, it refused, or it did not finish in the time.
            RequestError: The hub refused a room.
        """
        try:
            async with asyncio.timeout(timeout):
                link = await transport.connect(
                    self, namespace=namespace, auth=auth, timeout=timeout
                )
                self._channel.take(link)
                self.hurry = self._channel.hurry
                self.dialect = await find_dialect(
                    self._channel, registration, acknowledges=acknowledges, silence=silence
                )
                if not isinstance(self.dialect, Core):
                    self.has_acknowledged = True
                elif acknowledges is None:
                    self._channel.pending.came_late = self._acknowledge_late
                self.registration = registration
                for room, presence in rooms.items():
                    await self.subscribe(room, presence=presence)
                # First, as the hub may not have noticed yet that the link before is gone: whoever
                # masters a room anew displaces what seems to be another one, with all its runs.
                await self._handler.resume(self)
                for room, mastery in masters.items():
                    yields = room in displaced
                    if not await self.dialect.make_master(room, mastery, yields=yields):
                        self.standing_by.add(room)
                if masters:
                    await self.dialect.settle()
        except BaseException as exc:
            await self.close()
            if isinstance(exc, TimeoutError | LinkLost | NotConnected) and not isinstance(
                exc, ConnectionRefused
            ):
                address = str(getattr(transport, "url", "memory"))
                reason = "the hub did not finish the registration"
                raise ConnectionRefused(address, reason) from exc
            raise

    def release(self) -> None:
        """Let through what came in while the session was being set up, and all that comes."""
        self._is_released = True
        # A partial rather than a method: one Python call less for each packet.
        self._hand_on = functools.partial(self._handler.deliver, self)
        for delivery in self._held:
            self._hand_on(delivery)
        self._held.clear()

    async def close(self) -> None:
        """End the link; calls that wait on it end as closed."""
        self.dialect.fail_calls(Closed, "the client was closed")
        if self._channel.link is not None:
            await self._channel.link.close()

    async def register(self, registration: Mapping[str, Any]) -> None:
        """Tell the hub anew who this client is; raises as `Dialect.tell`."""
        await self.dialect.tell(HubEvent.CLIENT_REGISTER, registration)
        self.registration = registration

    async def subscribe(self, room: str, *, presence: bool = False) -> None:
        """Be in a room; what was said there since the client was last heard comes first.

        Args:
            room: The room.
            presence: Whether to hear who comes and goes, where hubs tell.

        Raises:
            RequestError: The hub refused.
        """
        message = self.dialect.subscription(room)
        if presence:
            message["presence"] = True
        answer = await self.dialect.tell(HubEvent.CLIENT_SUBSCRIBE, message)
        self._channel.rooms[room] = None
        history, number = answer.get("history"), answer.get("number")
        if isinstance(history, str) and isinstance(number, int):
            self._channel.positions[room] = Position(history, number)
        else:
            self._channel.positions.pop(room, None)
        missed = answer.get("missed")
        if "since" in message and missed != 0:
            gap = Gap(missed if isinstance(missed, int) else None)
            self._hand_on(Delivery(GAP, gap, None, NO_META, room, "", ""))

    def position(self, room: str, number: int, history: str = "") -> Position | None:
        """Return the position of an event of a room by its number, if the history is known."""
        if history:
            return Position(history, number)
        known = self._channel.positions.get(room)
        return None if known is None else Position(known.history, number)

    async def unsubscribe(self, room: str) -> None:
        """Leave a room; raises as `subscribe`."""
        self._channel.rooms.pop(room, None)
        await self.dialect.tell(HubEvent.CLIENT_SUBSCRIBE, {"room": room, "out": True})

    async def ask(self, call: Call) -> Answer:
        """Ask a room's master, or the hub itself.

        Returns:
            The answer, failed ones included.

        Raises:
            RequestError: There was no answer; the subclass and ``code`` say why.
        """
        return read_answer(await self.dialect.ask(call))

    # What a link brings: `alephscript.links.transport.Receiver`

    def received(self, payload: bytes, ack: int | None) -> None:
        """See `alephscript.links.transport.Receiver`."""
        try:
            delivery = self.dialect.receive(payload, ack)
        except RequestError as error:
            if ack is not None and self._channel.link is not None:
                self._channel.link.acknowledge(ack, write_json([error.answer()]))
            return
        if delivery is not None:
            self._hand_on(delivery)

    def lost(self, reason: str) -> None:
        """See `alephscript.links.transport.Receiver`."""
        message = f"the link to the hub is gone ({reason}); it may have run"
        self.dialect.fail_calls(LinkLost, message)
        self.is_gone.set()
        when_gone, self.when_gone = self.when_gone, _nothing
        when_gone()

    def _acknowledge_late(self) -> None:
        """End a session in the core dialect whose hub speaks more, but was slow (decision 0013)."""
        if self._ending is None and self._channel.link is not None:
            self.has_acknowledged = True
            logger.info(
                "the hub acknowledges after all: connecting anew, to speak its dialect",
                extra={"usuario": self.registration.get("usuario", "")},
            )
            self._ending = asyncio.create_task(self._channel.link.close())

    def _cancel(self, id: str, reason: str) -> None:
        held = [each for each in self._held if each.id == id]
        if held:
            self._held[:] = [each for each in self._held if each.id != id]
        else:
            self._handler.cancel(self, id, reason)  # a run that came by an earlier session, too

    def _take_kept(self, message: Mapping[str, Any]) -> None:
        self._handler.take_kept(self, message)

    def _grant(self, id: str, parts: int) -> None:
        self._handler.grant(self, id, parts)


def _nothing() -> None:
    """Do nothing: nobody wants to be told."""
