"""What a client class offers and listens to, declared by decorators and collected per class.

`@capability` and `@on` leave the method as it is: they attach a record, so that decorated
methods stay callable, typed and testable. Mistakes show while the class body runs.

Pure: no socket, no clock. Running a handler is the client's business.
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
from alephscript.client.messages import GAP, Event, Request
from alephscript.errors import DeclarationError, RequestError
from alephscript.protocol import events

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

Group = Literal["single", "standby", "shared"]
OnAskerLost = Literal["cancel", "finish"]

_RECORDS = "__alephscript_records__"


@attrs.frozen
class RoomRole:
    """A room that a class is in.

    Attributes:
        name: The room's name.
        mastered: Whether the class is its master, or merely there.
        group: How it shares the room with other masters.
    """

    name: str
    mastered: bool
    group: Group = "single"


def master(*rooms: str, group: Group = "single") -> tuple[RoomRole, ...]:
    """Rooms to master together with others.

    ::

        class Worker(AlephScriptClient):
            rooms = master("WORK", group="shared")

    Args:
        rooms: Their names.
        group: ``single``, ``standby`` or ``shared``; see `AlephScriptClient.make_master`.

    Raises:
        DeclarationError: There is no such group.
    """
    if group not in typing.get_args(Group):
        raise DeclarationError(f'a group is "single", "standby" or "shared", not {group!r}')
    return tuple(RoomRole(name, mastered=True, group=group) for name in rooms)


def observe(*rooms: str) -> tuple[RoomRole, ...]:
    """Rooms to be in without mastering them.

    ::

        class Watcher(AlephScriptClient):
            rooms = observe("AAIA_ROOM")
    """
    return tuple(RoomRole(name, mastered=False) for name in rooms)


@attrs.frozen
class Capability:
    """What `@capability` knows of a method.

    Attributes:
        name: As declared to the hub.
        attribute: Name of the method, so that overriding it works.
        rooms: Where it is offered; empty means the first room that the class masters.
        aliases: Further names under which it answers, not declared to the hub.
        timeout: Most seconds that one run may take, None for the asker's deadline alone.
        announce: Whether the room is told the answer, too.
        idempotent: Whether running twice does no harm, so that it is asked again of the next
            master when one is lost.
        on_asker_lost: ``cancel`` or ``finish``, when the asker's link is lost.
        max_in_flight: Most runs at once; None leaves it to the client's bound.
        queue: Most requests that wait for their turn; over it, they are refused.
        streams: Whether the method is a generator, its parts sent as they come.
        payload: The type of its payload; None takes any JSON as it comes.
        reply: The contract that it returns, None if it returns JSON values or nothing.
        wants_request: Whether the method takes a `Request` rather than the payload.
        takes_payload: Whether the method takes an argument at all.
        blocking: Whether it is a plain function, to be run in a worker thread.
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
    doc: str = ""

    def description(self) -> dict[str, Any]:
        """What its master tells of it, as it stands on the wire."""
        told = {
            "summary": summary(self.doc),
            "request": _schema(self.payload),
            "reply": _schema(self.reply),
            "timeoutMs": None if self.timeout is None else round(self.timeout * 1000),
            "idempotent": self.idempotent,
            "streams": self.streams,
        }
        return {key: value for key, value in told.items() if value}


def summary(docstring: str | None) -> str:
    """A docstring's first paragraph, in one line."""
    return " ".join(inspect.cleandoc(docstring or "").split("\n\n")[0].split())


@functools.cache
def _schema(declared: Any) -> dict[str, Any] | None:
    if declared is None:
        return None
    try:
        return contracts.json_schema(declared)
    except (DeclarationError, TypeError, NameError):  # it can be read, but not described
        return None


@attrs.frozen
class Listener:
    """What `@on` knows of a method.

    Attributes:
        event: Name of the event.
        attribute: Name of the method.
        room: The only room to listen to, None for any.
        ordered: Whether one event is handled after the other.
        data: The type of the event's data; None takes any JSON as it comes.
        blocking: Whether it is a plain function, to be run in a worker thread.
    """

    event: str
    attribute: str
    room: str | None
    ordered: bool
    data: Any
    blocking: bool


@attrs.frozen
class Mastery:
    """What a master declares to a room.

    Attributes:
        features: Names of the capabilities.
        group: How it shares the room with other masters.
        descriptions: By capability, what a hub of this package wants to know of it.
    """

    features: tuple[str, ...]
    group: Group
    descriptions: Mapping[str, Mapping[str, Any]]


@attrs.frozen
class Declarations:
    """Everything that a class declares.

    Attributes:
        rooms: Where it is on every connection, in order.
        capabilities: By canonical name, aliases included.
        listeners: By event.
    """

    rooms: tuple[RoomRole, ...]
    capabilities: Mapping[str, Capability]
    listeners: Mapping[str, tuple[Listener, ...]]

    def features(self, room: str) -> tuple[str, ...]:
        """Names of the capabilities offered in a room, in order of declaration."""
        return tuple(self._offered(room))

    def offered(self, room: str) -> tuple[Capability, ...]:
        """The capabilities offered in a room, in order of declaration."""
        return tuple(self._offered(room).values())

    def mastery(self, room: str, group: Group) -> Mastery:
        """What to declare to a room."""
        offered = self._offered(room)
        told = {name: each.description() for name, each in offered.items()}
        return Mastery(tuple(offered), group, told)

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
    on_asker_lost: OnAskerLost = "cancel",
    max_in_flight: int | None = None,
    queue: int = 1024,
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
    on_asker_lost: OnAskerLost = "cancel",
    max_in_flight: int | None = None,
    queue: int = 1024,
) -> Any:
    """Offer a method to the mesh.

    The method takes the payload (an attrs class, decoded and checked; or any JSON if it is not
    annotated), or a `Request` of it, or nothing. It returns a contract, a JSON object, any
    JSON value (sent as ``result``) or None. A plain ``def`` runs in a worker thread. An async
    generator answers in parts, each sent as it is yielded, to askers that use
    `AlephScriptClient.stream`; others get them all as the list ``result``.

    Args:
        name: As declared to the hub, asked as ``GET_<name>``. May be left out, together with
            the parentheses, when the payload is a `RequestFor` that names it.
        room: Where it is offered; by default in the first room that the class masters.
        aliases: Further names under which it answers.
        timeout: Most seconds that one run may take.
        announce: Tell the room each successful answer as ``SET_<name>``, for UIs that watch it.
        idempotent: Running it twice does no harm: when its master is lost, the next one of the
            room is asked instead of failing with `MasterLost`.
        on_asker_lost: Whether a run is cancelled or finished when its asker's link is lost. An
            asker that cancels always cancels.
        max_in_flight: Most runs at once; None leaves it to the client's own bound.
        queue: Most requests that wait for their turn; over it they are `Overloaded` at once.

    Raises:
        DeclarationError: What is decorated can never serve.
    """
    if callable(name):
        return capability()(name)
    if name is not None and not (isinstance(name, str) and name):
        raise DeclarationError(f'{name!r} is no capability name; write @capability("NAME")')
    if timeout is not None and timeout <= 0:
        raise DeclarationError(f"a timeout of {timeout} s leaves no time to run")
    if on_asker_lost not in typing.get_args(OnAskerLost):
        raise DeclarationError(f'on_asker_lost is "cancel" or "finish", not {on_asker_lost!r}')
    if (max_in_flight is not None and max_in_flight < 1) or queue < 0:
        raise DeclarationError("max_in_flight is 1 or more, queue 0 or more")
    options = {
        "rooms": (room,) if isinstance(room, str) else tuple(room),
        "aliases": tuple(aliases),
        "timeout": timeout,
        "announce": announce,
        "idempotent": idempotent,
        "on_asker_lost": on_asker_lost,
        "max_in_flight": max_in_flight,
        "queue": queue,
    }
    return lambda function: _capability(function, name, options)


def _capability(function: F, name: str | None, options: dict[str, Any]) -> F:
    annotation, takes_payload, reply = _signature(function)
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
    streams = inspect.isasyncgenfunction(function)
    if streams:
        reply = (typing.get_args(reply) or (None,))[0]  # AsyncIterator[Part]
    record = Capability(
        name=name,
        attribute=function.__name__,
        doc=function.__doc__ or "",
        streams=streams,
        payload=_checked_type(payload, function),
        reply=reply if contracts.is_contract(typing.get_origin(reply) or reply) else None,
        wants_request=wants_request,
        takes_payload=takes_payload,
        blocking=not streams and not inspect.iscoroutinefunction(function),
        **options,
    )
    return _attach(function, record)


def on(event: str, /, *, room: str | None = None, ordered: bool = True) -> Callable[[F], F]:
    """Call a method for each event of a name.

    The method takes an `Event`, with data decoded if it declares ``Event[Contract]``. What it
    raises is logged and costs nothing but that event.

    Args:
        event: Name of the event.
        room: Listen to this room only.
        ordered: Handle one after the other, in order of arrival; False handles them at once.

    Raises:
        DeclarationError: What is decorated can never listen.
    """
    if not isinstance(event, str):
        raise DeclarationError('write @on("EVENT"), with the name of an event')

    def decorate(function: F) -> F:
        if event not in (GAP, events.HubEvent.MASTER_CHANGED):
            _check_name(event, function)
        if inspect.isasyncgenfunction(function):
            raise DeclarationError(
                f"{function.__qualname__} is a generator; listeners answer nothing"
            )
        annotation, takes_event, _ = _signature(function)
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
            data=_checked_type(data, function),
            blocking=not inspect.iscoroutinefunction(function),
        )
        return _attach(function, record)

    return decorate


def collect(cls: type) -> Declarations:
    """What a class declares, its bases included; an unmarked override withdraws a method.

    Raises:
        DeclarationError: Two methods claim one name, or rooms and capabilities do not fit.
    """
    records: dict[str, list[Capability | Listener]] = {}
    for owner in reversed(cls.__mro__):
        for attribute, value in vars(owner).items():
            records.pop(attribute, None)
            if marks := getattr(value, _RECORDS, None):
                # Under the name it has in the class, which may not be the function's own.
                records[attribute] = [attrs.evolve(mark, attribute=attribute) for mark in marks]
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
    )
    _check_rooms(cls, declared)
    return declared


def _rooms(cls: type) -> tuple[RoomRole, ...]:
    rooms = getattr(cls, "rooms", ())
    if isinstance(rooms, str | RoomRole):
        raise DeclarationError(f"{cls.__qualname__}.rooms: write a tuple, ({rooms!r},)")
    found: dict[str, RoomRole] = {}
    for each in rooms:
        room = each if isinstance(each, RoomRole) else RoomRole(each, mastered=True)
        try:
            events.check_room_name(room.name)
        except RequestError as error:
            raise DeclarationError(f"{cls.__qualname__}.rooms: {error.message}") from None
        found[room.name] = room
    return tuple(found.values())


def _check_rooms(cls: type, declared: Declarations) -> None:
    mastered = [room.name for room in declared.rooms if room.mastered]
    for room in mastered:
        # Taking a room over without serving it would silence whoever does.
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


def _attach(function: F, record: Capability | Listener) -> F:
    setattr(function, _RECORDS, (*getattr(function, _RECORDS, ()), record))
    return function


def _check_name(event: str, function: Callable[..., Any]) -> None:
    try:
        events.check_event(event)
    except RequestError as error:
        raise DeclarationError(f"{function.__qualname__}: {error.message}") from None


def _checked_type(declared: Any, function: Callable[..., Any]) -> Any:
    """The type to decode to; None for whatever comes."""
    if declared in (None, Any) or isinstance(declared, TypeVar):
        return None
    try:
        contracts.prepare(declared)
    except Exception as exc:
        raise DeclarationError(
            f"{function.__qualname__}: {declared!r} cannot be read from JSON"
        ) from exc
    return declared


def _signature(function: Callable[..., Any]) -> tuple[Any, bool, Any]:
    """Annotation of the argument after self, whether there is one, and of the result."""
    if isinstance(function, staticmethod | classmethod) or not inspect.isfunction(function):
        raise DeclarationError(f"{function!r} is no method; decorate a def or async def")
    if inspect.isgeneratorfunction(function):
        raise DeclarationError(
            f"{function.__qualname__} is a generator; return one result, or make it async"
        )
    parameters = list(inspect.signature(function).parameters.values())[1:]
    required = [p for p in parameters if p.default is p.empty and p.kind not in _VARIADIC]
    if len(required) > 1 or any(p.kind is p.KEYWORD_ONLY for p in required):
        raise DeclarationError(f"{function.__qualname__} takes more than self and one argument")
    hints = _hints(function)
    argument = next((p for p in parameters if p.kind not in _VARIADIC), None)
    annotation = hints.get(argument.name) if argument else None
    return annotation, argument is not None, hints.get("return")


_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function)
    except NameError as exc:
        raise DeclarationError(
            f"{function.__qualname__}: {exc.name} is not known where the class is defined; "
            "import it outside `if TYPE_CHECKING`, and define contracts at module level"
        ) from exc
