"""Declarations: what a client class offers and listens to, by decorators, collected per class.

`@capability` and `@on` leave the method as it is: they attach a record, so that decorated
methods stay callable, typed and testable. Mistakes show while the class body runs.

May go in: decorators, their records, and what a class collects of them. May not: running a method
(`worker`, `listening`), reading its signature (`signatures`). Over 500 lines, because each mistake
of a declaration is refused where that is made.

Pure: no socket, no clock.
"""

from __future__ import annotations

import functools
import inspect
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, TypeVar, overload

import attrs

from alephscript import contracts
from alephscript.client.arguments import is_count, is_number, names_of
from alephscript.client.messages import GAP, Event, Request
from alephscript.client.methods import attach, check_names, find_records
from alephscript.client.roles import Group, RoomRole, master, observe
from alephscript.client.signatures import (
    DeclaredTypes,
    check_events,
    checked_type,
    find_reply,
    inspect_method,
)
from alephscript.errors import DeclarationError, RequestError
from alephscript.protocol import events
from alephscript.protocol.withholding import has_secrets

__all__ = [
    "Capability",
    "Declarations",
    "Group",
    "Listener",
    "Mastery",
    "RoomRole",
    "capability",
    "collect",
    "master",
    "observe",
    "on",
    "summary",
]

F = TypeVar("F", bound=Callable[..., Any])

OnAskerLost = Literal["cancel", "finish"]

_FROM_THE_HUB = (
    GAP,
    events.HubEvent.MASTER_CHANGED,
    events.HubEvent.MEMBER_JOINED,
    events.HubEvent.MEMBER_LEFT,
)
"""Events that nobody else can say, and that a class may listen to."""


@attrs.frozen
class Capability:
    """A method that is offered to the mesh, as `@capability` found it.

    Attributes:
        name: The capability's name, as declared to the hub.
        attribute: Name of the method: looked up at each run, so that overriding it works.
        rooms: Rooms that it is offered in; empty means the first room that the class masters.
        aliases: Further names under which it answers, not declared to the hub.
        timeout: Most seconds that one run may take, None for the asker's deadline alone.
        announce: Whether the room is told the answer, too.
        idempotent: Whether running twice does no harm, so that the next master may be asked again
            when one is lost.
        read_only: Whether a run changes nothing, for those who decide whether to ask.
        destructive: Whether a run may undo or delete what others keep, for the same.
        on_asker_lost: ``cancel`` or ``finish``, when the asker's link is lost.
        max_in_flight: Most runs at once; None leaves it to the client's bound.
        queue: Most requests that wait for their turn; over it, they are refused.
        streams: Whether the method is a generator, its parts sent as they come.
        payload: The type of its payload; None takes any JSON as it comes.
        reply: The type that it returns, or of its parts; None for any JSON as it comes.
        wants_request: Whether the method takes a `Request` rather than the payload.
        takes_payload: Whether the method takes an argument at all.
        blocking: Whether the method is a plain function, to be run in a worker thread.
        wrapped: Whether another decorator is around the method, so that what a call gives (a
            result, an awaitable, a generator) is known only then.
        doc: The method's docstring.
    """

    name: str
    attribute: str
    rooms: tuple[str, ...]
    aliases: tuple[str, ...]
    timeout: float | None
    announce: bool
    idempotent: bool
    on_asker_lost: OnAskerLost
    max_in_flight: int | None
    queue: int
    streams: bool
    payload: Any
    reply: Any
    wants_request: bool
    takes_payload: bool
    blocking: bool
    wrapped: bool = False
    doc: str = ""
    read_only: bool = False
    destructive: bool = False

    def description(self) -> dict[str, Any]:
        """Return what its master tells the hub of it, as it stands on the wire."""
        fields = {
            "summary": summary(self.doc),
            "request": _schema(self.payload),
            "reply": _schema(self.reply),
            "timeoutMs": None if self.timeout is None else round(self.timeout * 1000),
            "idempotent": self.idempotent,
            "readOnly": self.read_only,
            "destructive": self.destructive,
            "streams": self.streams,
        }
        return {key: value for key, value in fields.items() if value}


def summary(docstring: str | None) -> str:
    """Return a docstring's first paragraph, in one line."""
    return " ".join(inspect.cleandoc(docstring or "").split("\n\n")[0].split())


@functools.cache
def _schema(declared: Any) -> dict[str, Any] | None:
    return None if declared is None else contracts.json_schema(declared)


@attrs.frozen
class Listener:
    """A method that hears events, as `@on` found it.

    Attributes:
        event: Name of the event.
        attribute: Name of the method.
        room: The only room to listen to, None for any.
        ordered: Whether one event is handled after the other.
        data: The type of the event's data; None takes any JSON as it comes.
        blocking: Whether the method is a plain function, to be run in a worker thread.
        wrapped: As in `Capability`.
    """

    event: str
    attribute: str
    room: str | None
    ordered: bool
    data: Any
    blocking: bool
    wrapped: bool = False


@attrs.frozen
class Mastery:
    """The declaration of a master to a room.

    Attributes:
        features: Names of the capabilities.
        group: How the master shares the room with others.
        descriptions: By capability, what is told to native hubs alone; see
            `Capability.description`.
        says: By event, the schema of what the master says in the room, where that marks secrets;
            told to native hubs alone.
    """

    features: tuple[str, ...]
    group: Group
    descriptions: Mapping[str, Mapping[str, Any]]
    says: Mapping[str, Mapping[str, Any]] = types.MappingProxyType({})


@attrs.frozen
class Declarations:
    """Everything that a class declares.

    Attributes:
        rooms: Rooms of its instances on every connection, in order.
        capabilities: By canonical name, aliases included.
        listeners: By event.
        secret_events: By event that it says, the schema of its data, where that marks secrets.
    """

    rooms: tuple[RoomRole, ...]
    capabilities: Mapping[str, Capability]
    listeners: Mapping[str, tuple[Listener, ...]]
    secret_events: Mapping[str, Mapping[str, Any]] = types.MappingProxyType({})

    def features(self, room: str) -> tuple[str, ...]:
        """Return the names of the capabilities offered in a room, in order of declaration."""
        return tuple(self._offered(room))

    def offered(self, room: str) -> tuple[Capability, ...]:
        """Return the capabilities offered in a room, in order of declaration."""
        return tuple(self._offered(room).values())

    def roomless(self) -> tuple[str, ...]:
        """Return the names of the capabilities that no room offers, in order of declaration."""
        offered = {
            name for room in self.rooms if room.mastered for name in self._offered(room.name)
        }
        names = dict.fromkeys(each.name for each in self.capabilities.values())
        return tuple(name for name in names if name not in offered)

    def mastery(self, room: str, group: Group) -> Mastery:
        """Return the declaration for a room."""
        offered = self._offered(room)
        descriptions = {name: each.description() for name, each in offered.items()}
        return Mastery(tuple(offered), group, descriptions, self.secret_events)

    def _offered(self, room: str) -> dict[str, Capability]:
        mastered = [each.name for each in self.rooms if each.mastered]
        is_home = room not in mastered or room == mastered[0]
        return {
            each.name: each
            for each in self.capabilities.values()
            if room in each.rooms or (not each.rooms and is_home)
        }


@overload
def capability(name: F, /) -> F: ...
@overload
def capability(
    name: str | None = None,
    /,
    *,
    room: str | Iterable[str] = (),
    aliases: Iterable[str] = (),
    timeout: float | None = None,
    announce: bool = False,
    idempotent: bool = False,
    read_only: bool = False,
    destructive: bool = False,
    on_asker_lost: OnAskerLost = "cancel",
    max_in_flight: int | None = None,
    queue: int = 1024,
    strict: bool = False,
    request_schema: Mapping[str, Any] | None = None,
    reply_schema: Mapping[str, Any] | None = None,
) -> Callable[[F], F]: ...
def capability(
    name: Any = None,
    /,
    *,
    room: str | Iterable[str] = (),
    aliases: Iterable[str] = (),
    timeout: float | None = None,
    announce: bool = False,
    idempotent: bool = False,
    read_only: bool = False,
    destructive: bool = False,
    on_asker_lost: OnAskerLost = "cancel",
    max_in_flight: int | None = None,
    queue: int = 1024,
    strict: bool = False,
    request_schema: Mapping[str, Any] | None = None,
    reply_schema: Mapping[str, Any] | None = None,
) -> Any:
    """Offer a method to the mesh.

    The method takes the payload (of the type that it annotates, read and checked; or any JSON if it
    is not annotated), or a `Request` of it, or nothing. It returns what it annotates, or any JSON
    value; what is no object is sent as ``result``. A plain ``def`` runs in a worker thread. An
    async generator answers in parts, each sent as it is yielded, to askers that use
    `AlephScriptClient.stream`; others get them all as the list ``result``.

    Args:
        name: The capability's name, as declared to the hub and asked as ``GET_<name>``. May be
            left out, together with the parentheses, when the payload is a `RequestFor` that names
            it.
        room: The room, or rooms, to offer it in; by default the first that the class masters.
        aliases: Further names under which it answers.
        timeout: Most seconds that one run may take; None leaves them to the asker's deadline.
        announce: Whether the room is told each successful answer as ``SET_<name>``, for UIs that
            watch it.
        idempotent: Whether running twice does no harm: when its master is lost, the next master of
            the room is asked, instead of failing with `MasterLost`.
        read_only: Whether a run changes nothing. This and the next are hints for those who decide
            whether to ask, such as a model's client (`alephscript.mcp`); nothing enforces them.
        destructive: Whether a run may undo or delete what others keep.
        on_asker_lost: Whether a run is cancelled or finished when its asker's link is lost. An
            asker that cancels always cancels.
        max_in_flight: Most runs at once; None leaves them to the client's own bound.
        queue: Most requests that wait for their turn; further ones are `Overloaded` at once.
        strict: Whether a payload with an unknown key is refused, rather than read without the key.
        request_schema: JSON Schema (2020-12) of the payload, for a method that takes plain JSON.
        reply_schema: JSON Schema (2020-12) of the answer, for a method that returns plain JSON.

    Raises:
        DeclarationError: The decorated function, or an option, can never serve.
    """
    if callable(name):
        return capability()(name)
    if name is not None and not (isinstance(name, str) and name):
        raise DeclarationError(f'{name!r} is no capability name; write @capability("NAME")')
    if timeout is not None and not (is_number(timeout) and timeout > 0):
        raise DeclarationError(f"a timeout is more than 0 seconds, as a number, not {timeout!r}")
    if read_only and destructive:
        raise DeclarationError("a capability is read_only or destructive, not both")
    if on_asker_lost not in typing.get_args(OnAskerLost):
        raise DeclarationError(f'on_asker_lost is "cancel" or "finish", not {on_asker_lost!r}')
    is_bound = max_in_flight is None or is_count(max_in_flight, 1)
    if not (is_bound and is_count(queue, 0)):
        raise DeclarationError("max_in_flight is 1 or more, queue 0 or more")
    options = {
        "rooms": _names("room", (room,) if isinstance(room, str) else room),
        "aliases": _names("aliases", aliases),
        "timeout": timeout,
        "announce": announce,
        "idempotent": idempotent,
        "read_only": read_only,
        "destructive": destructive,
        "on_asker_lost": on_asker_lost,
        "max_in_flight": max_in_flight,
        "queue": queue,
    }
    types_ = DeclaredTypes(strict, request_schema, reply_schema)
    return lambda function: _capability(function, name, types_, options)


def _names(option: str, value: Any) -> tuple[str, ...]:
    names = names_of(value)
    if names is None:
        raise DeclarationError(f"{option} is a sequence of names, not {value!r}")
    return names


def _capability(function: F, name: str | None, types_: DeclaredTypes, options: dict[str, Any]) -> F:
    annotation, takes_payload, reply = inspect_method(function)
    wants_request = typing.get_origin(annotation) is Request or annotation is Request
    payload = (typing.get_args(annotation) or (None,))[0] if wants_request else annotation
    if name is None:
        name = getattr(payload, "capability", None)
        if not isinstance(name, str):
            raise DeclarationError(
                f"{function.__qualname__}: name the capability, or take a RequestFor that does"
            )
    for each in (name, *options["aliases"]):
        event = events.capability_event(each)
        _check_name(event, function)
        if event in events.ANSWERED_BY_HUB:
            raise DeclarationError(f"{function.__qualname__}: {event} is answered by the hub")
    inner = inspect.unwrap(function)
    streams = inspect.isasyncgenfunction(inner)
    if streams:
        reply = (typing.get_args(reply) or (None,))[0]  # AsyncIterator[Part]
    record = Capability(
        name=name,
        attribute=function.__name__,
        doc=function.__doc__ or "",
        streams=streams,
        payload=types_.payload(payload, function),
        reply=types_.reply(find_reply(reply, payload, function), function),
        wants_request=wants_request,
        takes_payload=takes_payload,
        blocking=not streams and not any(map(inspect.iscoroutinefunction, (function, inner))),
        wrapped=inner is not function,
        **options,
    )
    attach(function, record)
    return function


def on(event: str, /, *, room: str | None = None, ordered: bool = True) -> Callable[[F], F]:
    """Call a method for each event of a name.

    The method takes an `Event`, with data decoded if it declares ``Event[Contract]``. An exception
    of the method is logged and costs nothing but that event.

    Args:
        event: Name of the event.
        room: Listen to this room only.
        ordered: Whether events are handled one after the other, in order of arrival, or at once.

    Raises:
        DeclarationError: The decorated function can never listen.
    """
    if not isinstance(event, str):
        raise DeclarationError('write @on("EVENT"), with the name of an event')
    if room is not None:
        _names("room", (room,))

    def decorate(function: F) -> F:
        if event not in _FROM_THE_HUB:
            _check_name(event, function)
        inner = inspect.unwrap(function)
        if inspect.isasyncgenfunction(inner):
            raise DeclarationError(
                f"{function.__qualname__} is a generator; listeners answer nothing"
            )
        annotation, takes_event, _ = inspect_method(function)
        if not takes_event:
            raise DeclarationError(f"{function.__qualname__} takes no argument: it gets an Event")
        data: Any = None
        if typing.get_origin(annotation) is Event:
            data = typing.get_args(annotation)[0]
        elif annotation is not None and annotation is not Event:
            raise DeclarationError(f"{function.__qualname__}: annotate its argument as Event[…]")
        record = Listener(
            event=event,
            attribute=function.__name__,
            room=room,
            ordered=ordered,
            data=checked_type(data, function),
            blocking=not any(map(inspect.iscoroutinefunction, (function, inner))),
            wrapped=inner is not function,
        )
        attach(function, record)
        return function

    return decorate


def collect(cls: type, base: type | None = None) -> Declarations:
    """Collect what a class declares, its bases included; an unmarked override withdraws a method.

    Args:
        cls: The class.
        base: The client class under it, whose names are taken.

    Raises:
        DeclarationError: Two methods claim one name, rooms and capabilities do not fit, or
            something takes a name of the base.
    """
    if base is not None:
        check_names(cls, base)
    records: dict[str, list[Capability | Listener]] = {}
    for owner in reversed(cls.__mro__):
        for attribute, value in vars(owner).items():
            records.pop(attribute, None)
            marks, is_wrapped = find_records(owner, attribute, value)
            if marks:
                # Under the name it has in the class, which may not be the function's own.
                records[attribute] = [
                    attrs.evolve(mark, attribute=attribute, wrapped=mark.wrapped or is_wrapped)
                    for mark in marks
                ]
    check_events(cls)
    capabilities: dict[str, Capability] = {}
    listeners: dict[str, list[Listener]] = {}
    for record in (each for group in records.values() for each in group):
        if isinstance(record, Listener):
            listeners.setdefault(record.event, []).append(record)
            continue
        for name in map(events.capability_name, (record.name, *record.aliases)):
            taken = capabilities.setdefault(name, record)
            if taken is not record:
                raise DeclarationError(
                    f"{cls.__qualname__}.{record.attribute} and .{taken.attribute} "
                    f"both offer {name}"
                )
    declared = Declarations(
        rooms=_rooms(cls),
        capabilities=types.MappingProxyType(capabilities),
        listeners=types.MappingProxyType({k: tuple(v) for k, v in listeners.items()}),
        secret_events=types.MappingProxyType(_secret_events(cls)),
    )
    _check_rooms(cls, declared)
    return declared


def _secret_events(cls: type) -> dict[str, Mapping[str, Any]]:
    schemas = {
        event: contracts.json_schema(contract)
        for event, contract in (getattr(cls, "says", None) or {}).items()
        if contract is not None
    }
    return {event: schema for event, schema in schemas.items() if has_secrets(schema)}


def _rooms(cls: type) -> tuple[RoomRole, ...]:
    rooms = getattr(cls, "rooms", ())
    if isinstance(rooms, str | RoomRole):
        raise DeclarationError(f"{cls.__qualname__}.rooms: write a tuple, ({rooms!r},)")
    if isinstance(rooms, bytes | Mapping) or not isinstance(rooms, Iterable):
        raise DeclarationError(f"{cls.__qualname__}.rooms: a tuple of names, not {rooms!r}")
    roles: dict[str, RoomRole] = {}
    for each in rooms:
        role = each if isinstance(each, RoomRole) else RoomRole(each, mastered=True)
        try:
            events.check_room_name(role.name)
        except RequestError as error:
            raise DeclarationError(f"{cls.__qualname__}.rooms: {error.message}") from None
        roles[role.name] = role
    return tuple(roles.values())


def _check_rooms(cls: type, declared: Declarations) -> None:
    mastered = [room.name for room in declared.rooms if room.mastered]
    for room in mastered:
        # Taking a room over without serving it would silence the master that does (decision 0014).
        if "rooms" in vars(cls) and not declared.features(room):
            raise DeclarationError(
                f"{cls.__qualname__} masters {room} but offers nothing there; "
                f"to be in it only, write rooms = observe({room!r})"
            )
    for each in declared.capabilities.values():
        if strays := [room for room in each.rooms if mastered and room not in mastered]:
            raise DeclarationError(
                f"{cls.__qualname__}.{each.attribute} is offered in {strays[0]}, "
                f"which is not among the rooms that the class masters"
            )


def _check_name(event: str, function: Callable[..., Any]) -> None:
    try:
        events.check_event(event)
    except RequestError as error:
        raise DeclarationError(f"{function.__qualname__}: {error.message}") from None
