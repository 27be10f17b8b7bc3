"""The interface of a dialect: how a hub is told, asked, answered and understood.

May go in: the questions that a client has for its hub's dialect, and what most dialects say to
them. May not: what one dialect alone says (a file each, beside this one).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Iterator, Mapping
from typing import Any

from alephscript.client.calls import NO_META, Call, Delivery, read_answer
from alephscript.client.declaring import Mastery
from alephscript.client.dialects.channel import Channel, json_text
from alephscript.client.messages import Gap
from alephscript.errors import InvalidPayload, RequestError, UnknownEvent, error_from_answer
from alephscript.protocol import events
from alephscript.protocol.events import Answer, HubEvent
from alephscript.protocol.json import read_value
from alephscript.protocol.wire import split_event

__all__ = ["CONTROLS", "Dialect", "last_part"]

CONTROLS = frozenset(
    {
        HubEvent.CANCEL_REQUEST,
        HubEvent.REQUEST_MORE,
        HubEvent.REQUEST_PART,
        HubEvent.REQUEST_PROGRESS,
        HubEvent.TASK_KEPT,
        HubEvent.TASK_RESUME,
    }
)
"""Events about a request that is under way."""

# Kept: a member of an enum costs 0.1 µs and more to look up where Python is older than 3.12.
_ROOM_MESSAGE = HubEvent.ROOM_MESSAGE


class Dialect(ABC):
    """The way in which one hub is told, asked, answered and understood.

    Args:
        channel: The connection to the hub.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    # Telling the hub

    @abstractmethod
    async def tell(
        self, event: str, message: Mapping[str, Any], timeout: float = events.DEFAULT_TIMEOUT
    ) -> Answer:
        """Tell the hub something about this client.

        Returns:
            The hub's answer, empty where hubs give none.

        Raises:
            RequestError: The hub refused, or there was no answer in ``timeout`` seconds.
        """

    def subscription(self, room: str) -> dict[str, Any]:
        """Return the payload of CLIENT_SUSCRIBE."""
        return {"room": room}

    @abstractmethod
    async def make_master(self, room: str, mastery: Mastery, *, yields: bool = False) -> bool:
        """Become a master of a room; raises as `tell`.

        Args:
            room: The room.
            mastery: What is declared.
            yields: Whether to stand by if others master the room, where hubs know such a thing.

        Returns:
            Whether the client is a master now, and does not stand by.
        """

    async def resign(self, room: str) -> None:  # noqa: B027 - one dialect knows this
        """Master a room no more, where hubs know such a thing; raises as `tell`."""

    def broadcast(self, room: str, event: str, data: bytes, *, retain: bool = False) -> None:
        """Say something, a JSON text, in a room, without waiting; raises as `Channel.send`.

        Args:
            room: The room.
            event: The event.
            data: Its data.
            retain: Whether the hub is to keep that, if it knows such a thing.
        """
        self._channel.send(_ROOM_MESSAGE, _write_envelope(room, event, data, retain=retain))

    async def say(
        self, room: str, event: str, data: bytes, *, retain: bool, timeout: float
    ) -> Answer:
        """Say something as `broadcast` does, and wait until the hub has it.

        Returns:
            The hub's answer, empty where hubs give none.

        Raises:
            RequestError: The hub refused, or there was no answer in ``timeout`` seconds.
        """
        message = _write_envelope(room, event, data, retain=retain)
        answer = read_answer(await self.ask(Call(_ROOM_MESSAGE, message, timeout=timeout)))
        if events.is_failure(answer):
            raise error_from_answer(answer)
        return answer

    async def settle(self) -> None:  # noqa: B027 - one dialect needs this
        """Wait until the hub has taken the declarations of masters, as far as that can be known."""

    # Asking

    @abstractmethod
    async def ask(self, call: Call) -> bytes:
        """Ask a room's master, or the hub itself.

        Returns:
            The acknowledgement as it came, a JSON array, to be passed to `read_answer`.

        Raises:
            RequestError: There was no answer; the subclass and ``code`` say why.
        """

    async def stream(self, call: Call) -> AsyncGenerator[Any, None]:
        """Ask for an answer in parts; where hubs know no parts, the answer is the only one.

        Yields:
            Each part; an answer that has fields of its own is the last one.

        Raises:
            RequestError: The request failed; the subclass and ``code`` say why.
        """
        for part in last_part(read_answer(await self.ask(call))):
            yield part

    @abstractmethod
    async def server_state(self, timeout: float) -> Answer:
        """Ask the hub which members are where, and which of them master what; raises as `ask`."""

    async def members(self, room: str, timeout: float) -> list[dict[str, Any]]:
        """Ask the hub who is in a room: ``{usuario, sesion}`` each; raises as `ask`."""
        state = await self.server_state(timeout)
        rooms, members = state.get("rooms"), list[dict[str, Any]]()
        for each in rooms if isinstance(rooms, list) else ():
            if isinstance(each, dict) and each.get("roomId") == room:
                members += filter(_is_member, each.get("miembros") or ())
        # Each once, as a hub of this package says it.
        named = dict.fromkeys((each["usuario"], each.get("sesion") or "") for each in members)
        return [{"usuario": usuario, "sesion": sesion} for usuario, sesion in named]

    async def ask_about_mesh(
        self,
        event: str,  # noqa: ARG002 - for the dialect that is able to
        query: Mapping[str, Any],  # noqa: ARG002
        timeout: float,  # noqa: ARG002
    ) -> dict[str, Any]:
        """Ask what only a native hub tells about its mesh: offers and members.

        Returns:
            The answer's fields without ``success``.

        Raises:
            UnknownEvent: The hub is no native one.
            RequestError: The hub does not tell.
        """
        raise UnknownEvent("this hub does not say who offers what; one of alephscript does")

    def fail_calls(self, error: type[RequestError], message: str) -> None:
        """End all calls that wait for an answer."""
        self._channel.pending.fail(error, message)

    # Answering

    def answer(self, request: Delivery, answer: bytes) -> None:
        """Answer a request with the JSON text of an `Answer`.

        Raises:
            NotConnected: The link is gone.
            PayloadTooLarge: The hub takes no message of that size; nothing was sent.
        """
        if request.ack is None:
            self.broadcast(request.room, events.answer_event(request.event), answer)
        else:
            assert self._channel.link is not None
            self._channel.link.acknowledge(request.ack, b"[%b]" % answer)

    def announce(self, request: Delivery, answer: bytes) -> None:
        """Tell the room an answer, beside its asker; raises as `answer`."""
        if request.room:
            self.broadcast(request.room, events.answer_event(request.event), answer)

    def send_part(self, request: Delivery, part: bytes) -> None:
        """Send a part of the answer, a JSON text, to an asker that said how many it takes."""
        raise NotImplementedError  # such askers are met through native hubs only

    def report_progress(  # noqa: B027 - one dialect passes this on
        self, request: Delivery, progress: Mapping[str, Any]
    ) -> None:
        """Tell the asker how far its request is, where hubs pass that on."""

    def send_checkpoint(self, request: Delivery, number: int, checkpoint: bytes) -> None:
        """Have the hub keep a checkpoint, a JSON text, of a task; a lost link is no matter.

        Raises:
            PayloadTooLarge: The hub takes no message of that size; nothing was sent.
        """
        raise NotImplementedError  # only native hubs say that a request is a task's

    # Understanding

    def read_gap(self, data: Any) -> Gap | None:  # noqa: ARG002 - one dialect knows this
        """Read a hub's word that it does not have all that a client wants to hear."""
        return None  # a stranger's

    def receive(self, payload: bytes, ack: int | None) -> Delivery | None:
        """Read what the hub sent.

        Args:
            payload: A JSON array, unchecked.
            ack: The number to acknowledge under, None if no acknowledgement is wanted.

        Returns:
            What is to be delivered; None if it was for this object alone.

        Raises:
            InvalidPayload: The payload is not a valid event.
            PayloadTooLarge: The payload is nested too deeply.
        """
        event, args = split_event(payload)
        if not isinstance(event, str):
            raise InvalidPayload("an event's name is a text")
        if event in CONTROLS:
            return None  # a native hub's word alone
        return Delivery(event, read_value(args[0]) if args else None, ack, NO_META, "", "", "")


def _write_envelope(room: str, event: str, data: bytes, *, retain: bool) -> bytes:
    return b'{"event":%b,"room":%b,"data":%b%b}' % (
        *(json_text(event), json_text(room), data),
        b',"retain":true' if retain else b"",
    )


def _is_member(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and isinstance(value.get("usuario"), str)
        and isinstance(value.get("sesion"), str | None)
    )


def last_part(answer: Answer) -> Iterator[dict[str, Any]]:
    """Give the fields of the answer that ends a stream, if it has any.

    Raises:
        RequestError: The answer is a failed one.
    """
    if events.is_failure(answer):
        raise error_from_answer(answer)
    del answer["success"]
    if answer:
        yield answer
