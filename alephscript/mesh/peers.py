"""The peers of a mesh, what they have declared and asked, and what any dialect has to offer.

`Peer`, `Master`, `OpenRequest` and `Dialect` know each other, hence one module.

May go in: what a peer, a declaration, an open request *is*. May not: what is decided about them
(`rooms`, `masters`, `requests`), nor how one dialect does what `Dialect` asks (`dialects`). Pure:
no socket, no clock.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import msgspec

from alephscript.errors import RequestError
from alephscript.mesh.access import Identity
from alephscript.mesh.budget import Account
from alephscript.mesh.effects import Acknowledge, Effect
from alephscript.mesh.meta import RequestMeta
from alephscript.mesh.serving import Serving
from alephscript.protocol import events
from alephscript.protocol.events import Answer
from alephscript.protocol.json import read_value

__all__ = ["Dialect", "Master", "OpenRequest", "Peer", "acknowledge"]

_MOST_HINTS = 100
"""Near names that a peer is told in its life; see `alephscript.mesh.hints`."""


class Peer:
    """A socket, and what a mesh keeps of it.

    Args:
        sid: Its socket id.
        engine_id: The id of its transport.
        dialect: The dialect in which the peer is spoken to until it registers.
        identity: Its identity, as far as the hub asks for one.
        hub: The name of the hub that it is at, empty for this one.
        account: What it makes the hub keep; None for a peer of another hub, which counts that.

    Attributes:
        hints: How many near names the peer may still be told.
        is_cut: Whether its link was lost, so that the peer may come back with the runs of tasks.
        reads_meta: As `Dialect.reads_meta` of its dialect.
        registration: What the peer registered as; None before that.
        name: What other members see as its name: an authenticated ``usuario`` alone, since a
            ``sesion`` behind it could make the name of somebody else of both; else both.
        rooms: Names of the rooms that it is in, in the order of subscribing.
        mastered: Names of the rooms that it masters.
        displaced: Names of the rooms that it would master if nobody had displaced it there.
        requests: Its open requests, by acknowledgement id, or by minus their number.
        serving: Open requests that it is to answer, by number.
        served: The same by what they ask, if that was ever needed; see `find_served`.
        has_runs: Whether it was asked for a task of another hub, and may have the result.
    """

    __slots__ = (
        "account",
        "dialect",
        "displaced",
        "engine_id",
        "has_runs",
        "hints",
        "hub",
        "identity",
        "is_cut",
        "mastered",
        "name",
        "reads_meta",
        "registration",
        "requests",
        "rooms",
        "served",
        "serving",
        "sid",
    )

    def __init__(
        self,
        sid: str,
        engine_id: str,
        dialect: Dialect,
        identity: Identity | None = None,
        *,
        hub: str = "",
        account: Account | None = None,
    ) -> None:
        self.sid = sid
        self.account = account or Account()
        self.hub = hub
        self.hints = _MOST_HINTS
        self.is_cut = False
        self.engine_id = engine_id
        self.identity = identity
        self.registration: events.Registration | None = None
        self.rooms: dict[str, None] = {}
        self.mastered: dict[str, None] = {}
        self.displaced: dict[str, None] = {}
        self.requests: dict[int, OpenRequest] = {}
        self.serving: dict[int, OpenRequest] = {}
        self.served: Serving | None = None
        self.has_runs = False
        self.speak(dialect)
        self.rename("--")

    def speak(self, dialect: Dialect) -> None:
        """Take a dialect."""
        self.dialect = dialect
        # Kept beside it: an event of a room looks at this of each member.
        self.reads_meta = dialect.reads_meta

    def rename(self, name: str) -> None:
        """Take a name, unless the peer has an authenticated one."""
        # Kept, not computed: each request names its asker.
        self.name = (self.identity and self.identity.usuario) or name

    def register(self, registration: events.Registration, dialect: Dialect) -> None:
        """Take a registration, and the dialect that it announces."""
        self.registration = registration
        self.speak(dialect)
        self.rename(registration.name)

    def find_served(self) -> Serving:
        """Find the open requests that this peer is to answer by what they ask."""
        if self.served is None:
            self.served = Serving(self.serving.values())
        return self.served

    def find_request(self, fields: Any) -> OpenRequest | None:
        """Find the open request of this peer that ``{request: <its acknowledgement id>}`` means."""
        number = fields.get("request") if isinstance(fields, dict) else None
        return self.requests.get(number) if type(number) is int and number >= 0 else None


@attrs.define(eq=False)
class Master:
    """A declaration: a peer masters a room.

    Attributes:
        peer: The peer that declared.
        declared: Its declaration.
        is_core: Whether the peer declared as core peers do, inside ROOM_MESSAGE.
        offers: Names of the capabilities that it declared.
    """

    peer: Peer
    declared: events.Declaration
    is_core: bool
    offers: frozenset[str] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.offers = frozenset(map(events.capability_name, self.declared.features))

    @property
    def dialect(self) -> Dialect:
        """The dialect in which this master is asked."""
        # Looked up, not kept: the peer may register after its declaration.
        dialect = self.peer.dialect
        return dialect.as_core if self.is_core else dialect

    @property
    def acknowledges(self) -> bool:
        """Whether this master answers by acknowledgement, not only by telling its room."""
        return not self.is_core or self.dialect.acknowledges

    def is_idempotent(self, capability: str) -> bool:
        """Whether running a capability twice does no harm."""
        return self.declared.descriptions.get(capability, {}).get("idempotent") is True


class OpenRequest(msgspec.Struct, eq=False):
    """A request between its event and its end.

    Attributes:
        number: Its number, unique at this hub.
        key: Where it stands in `Peer.requests` of its asker.
        asker: The peer that asks.
        ack: The asker's acknowledgement id, None if it wants no acknowledgement.
        capability: The capability that is asked for.
        question: What is passed on: event, payload, further keys of the envelope.
        named_room: The room that the asker named, any JSON; None leaves the choice to the hub.
        meta: What the asker says about the request.
        room: The room that was asked, as far as it is known.
        master: The declaration that is to answer it; None while the request waits for one.
        answer_room: The room that has heard a SET_ event of the master, and the asker with it;
            empty before.
        credit: Parts of the answer that the asker has granted and the master has not sent.
        losses: How many masters have been lost that were to answer it.
        size: Bytes that its asker's account has for it.
        about: The request that this one is a question about, if a master asks back by it.
        questions: The open requests by which its master asks back, by number; None mostly.
    """

    number: int
    key: int
    asker: Peer
    ack: int | None
    capability: str
    question: events.RoomMessage
    named_room: Any
    meta: RequestMeta
    room: str
    master: Master | None = None
    answer_room: str = ""
    credit: int = 0
    losses: int = 0
    size: int = 0
    about: OpenRequest | None = None
    questions: dict[int, OpenRequest] | None = None

    @property
    def answer_seen(self) -> bool:
        """Whether a SET_ event of the master has told the asker already."""
        return self.answer_room != ""

    @property
    def event(self) -> str:
        """``GET_`` and the capability."""
        return self.question.event

    @property
    def dialect(self) -> Dialect:
        """The dialect in which the asker hears of this request."""
        # An asker that wants no acknowledgement can hear of the answer only as core peers do.
        dialect = self.asker.dialect
        return dialect.as_core if self.ack is None else dialect

    @property
    def master_sid(self) -> str:
        """Socket id of the peer that is to answer, empty while there is none."""
        return self.master.peer.sid if self.master else ""

    @property
    def payload_id(self) -> Any:
        """``requestId`` in the payload: the mark of an asker for masters that know no numbers."""
        try:
            payload = read_value(self.question.data)
        except RequestError:
            return None
        return payload.get("requestId") if isinstance(payload, dict) else None


class Dialect(abc.ABC):
    """How a peer is spoken to: asked, told, cancelled, answered.

    A peer has one from its registration on (`Peer.dialect`): in that it is told events, and its
    acknowledgements are read. A declaration inside ROOM_MESSAGE is asked in another one
    (`Master.dialect`), and a request that wants no acknowledgement is answered in another one
    (`OpenRequest.dialect`): see `as_core`. All dialects stand in `alephscript.mesh.dialects`.

    Attributes:
        reads_meta: Whether the peer sends and understands the meta, an event's second argument;
            only such a peer is told in which room an event was said, and by whom.
        acknowledges: Whether the peer is known to acknowledge what it is asked.
        as_core: The dialect of the same peer where it does as core peers do.
    """

    reads_meta: bool
    acknowledges = True
    as_core: Dialect

    # To a master

    @abc.abstractmethod
    def ask(
        self, request: OpenRequest, master: Master, left: float, seconds: float | None
    ) -> Effect:
        """Put a request to a master.

        Args:
            request: The request.
            master: The declaration that is to answer it.
            left: Seconds until the deadline.
            seconds: The same, if the deadline is still to be set.
        """

    @abc.abstractmethod
    def cancel(self, request: OpenRequest, master: Master, reason: str) -> list[Effect]:
        """Tell a master that nobody waits for a request any more, if that has a form."""

    @abc.abstractmethod
    def grant(self, request: OpenRequest, master: Master, parts: int) -> list[Effect]:
        """Let a master send further parts of an answer."""

    def confirm(self, peer: Peer, payload: Mapping[str, Any]) -> list[Effect]:  # noqa: ARG002
        """Tell a peer that something of a task is kept, if that has a form; see TASK_KEPT."""
        return []

    @abc.abstractmethod
    def read_answer(self, request: OpenRequest, args: Sequence[Any]) -> Answer | msgspec.Raw:
        """Read what a master acknowledged with; an answer of the right shape may stay unread."""

    @abc.abstractmethod
    def is_answered_by_event(self, *, is_certain: bool) -> bool:
        """Whether a SET_ event of a master ends the request that it seems to answer.

        Args:
            is_certain: Whether the event can belong to no other request.
        """

    # To an asker

    @abc.abstractmethod
    def answer(self, request: OpenRequest, answer: Answer | msgspec.Raw) -> list[Effect]:
        """Tell an asker the answer of a request that has ended."""

    @abc.abstractmethod
    def refuse(
        self, asker: Peer, event: str, ack: int | None, error: RequestError, master_sid: str
    ) -> Effect:
        """Tell an asker that nobody was asked.

        Args:
            asker: The peer that asks.
            event: The event that it sent.
            ack: Its acknowledgement id, None if it wants no acknowledgement.
            error: Why nobody was asked.
            master_sid: Socket id of the master that the asker's hub had chosen, empty if none was.
        """

    @abc.abstractmethod
    def note(self, request: OpenRequest, event: str, data: Any) -> list[Effect]:
        """Tell an asker what the master says of a request before its answer: a part, progress."""

    @abc.abstractmethod
    def echo(
        self, request: OpenRequest, message: events.RoomMessage, data: Any, sender: str
    ) -> list[Effect]:
        """Tell an asker a SET_ event that its room has heard, if it waits for that elsewhere.

        Args:
            request: The request that the event answers.
            message: The event and its room.
            data: What the room was told.
            sender: Name of the master.
        """

    @abc.abstractmethod
    def hand_back(self, request: OpenRequest) -> list[Effect]:
        """Leave the decision about a request without its master to the asker's hub.

        Returns:
            Nothing if the asker is at this hub, which decides then.
        """


def acknowledge(peer: Peer, ack: int | None, fields: Mapping[str, Any]) -> list[Effect]:
    """Acknowledge an event of a peer with a success, if the peer wants an acknowledgement."""
    return [] if ack is None else [Acknowledge(peer.sid, ack, events.make_success(fields))]
