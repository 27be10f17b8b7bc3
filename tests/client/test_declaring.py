"""What a class declares is collected by name, and what can never work fails at import."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any, ClassVar

import attrs
import pytest
from hypothesis import given, strategies as st

from alephscript import AlephScriptClient, Event, Request, RequestFor, capability, observe, on
from alephscript.client.declaring import RoomRole, collect, master
from alephscript.errors import DeclarationError


@attrs.frozen
class Sum:
    """An answer."""

    total: int


@attrs.frozen
class Add(RequestFor[Sum], capability="ADD"):
    """A request."""

    left: int
    right: int


class Adder(AlephScriptClient):
    """Offers one capability, listens to one event."""

    rooms: ClassVar[tuple[str | RoomRole, ...]] = ("SUMS",)

    @capability
    async def add(self, request: Add) -> Sum:
        """Add."""
        return Sum(total=request.left + request.right)

    @on("RESET", room="SUMS")
    def reset(self, event: Event[dict[str, Any]]) -> None:
        """Hear."""


def test_a_decorated_method_stays_the_method_it_was() -> None:
    """It can be called in a unit test, without a mesh."""
    assert Adder.add.__name__ == "add"
    coroutine = Adder("http://127.0.0.1:1").add(Add(left=1, right=2))
    with pytest.raises(StopIteration) as ended:
        coroutine.send(None)
    assert ended.value.value == Sum(total=3)


def test_a_bare_capability_takes_its_name_from_the_request() -> None:
    """The contract names the capability and its reply."""
    record = Adder.declarations.capabilities["ADD"]
    assert (record.name, record.attribute, record.payload, record.reply) == ("ADD", "add", Add, Sum)
    assert not record.blocking


def test_a_plain_function_runs_in_a_thread() -> None:
    """Only coroutine functions run on the loop."""
    [listener] = Adder.declarations.listeners["RESET"]
    assert (listener.blocking, listener.room, listener.ordered) == (True, "SUMS", True)


def test_get_names_are_declared_as_they_are_and_found_either_way() -> None:
    """GET_LIST_OF_THREADS is asked as itself, not as GET_GET_LIST_OF_THREADS."""

    class Lister(AlephScriptClient):
        @capability("GET_LIST", aliases=("ALL",))
        async def list(self) -> list[int]:
            """List."""
            return []

    assert set(Lister.declarations.capabilities) == {"LIST", "ALL"}
    assert Lister.declarations.features("ANY") == ("GET_LIST",)


def test_subclasses_inherit_replace_and_withdraw() -> None:
    """A re-marked override replaces a capability, an unmarked one withdraws it."""

    class Louder(Adder):
        @capability("ADD_LOUDLY")
        async def add(self, request: Add) -> Sum:
            """Add."""
            return await super().add(request)

    class Silent(Adder):
        async def add(self, request: Add) -> Sum:
            """Add."""
            return await super().add(request)

        rooms = observe("SUMS")

    assert set(Louder.declarations.capabilities) == {"ADD_LOUDLY"}
    assert set(Silent.declarations.capabilities) == set()
    assert set(Silent.declarations.listeners) == {"RESET"}


def test_a_method_is_bound_under_the_name_it_has_in_the_class() -> None:
    """Assigning a decorated function gives it another attribute."""

    class Renamed(AlephScriptClient):
        plus = Adder.add

    assert Renamed.declarations.capabilities["ADD"].attribute == "plus"


def test_capabilities_live_in_the_first_mastered_room_unless_they_say() -> None:
    """Others name their rooms; rooms taken at run time get what names none."""

    class Many(AlephScriptClient):
        rooms = ("A", "B", "C", *observe("D"))

        @capability("HOME")
        async def home(self) -> None:
            """Serve."""

        @capability("AWAY", room="B")
        async def away(self) -> None:
            """Serve."""

        @capability("BOTH", room=("B", "C"))
        async def both(self) -> None:
            """Serve."""

    declared = Many.declarations
    assert [declared.features(room) for room in "ABC"] == [("HOME",), ("AWAY", "BOTH"), ("BOTH",)]
    assert declared.features("TAKEN LATER") == ("HOME",)
    assert declared.rooms[-1] == RoomRole("D", mastered=False)


def test_a_handler_may_take_the_whole_request() -> None:
    """Request[Payload] hands over caller, room and deadline with the payload."""

    class Curious(AlephScriptClient):
        @capability
        async def add(self, request: Request[Add]) -> Sum:
            """Add."""
            return Sum(total=0)

        @capability("RAW")
        async def raw(self, request: Request[dict[str, Any]]) -> None:
            """Take."""

        @capability("PLAIN")
        async def plain(self, request: Any) -> None:
            """Take."""

    records = Curious.declarations.capabilities
    assert (records["ADD"].wants_request, records["ADD"].payload) == (True, Add)
    assert records["RAW"].wants_request
    assert (records["PLAIN"].wants_request, records["PLAIN"].payload) == (False, None)


def declare(**members: Any) -> type:
    """A client class made of these members, inside one that is named in complaints."""
    return type("Declared", (AlephScriptClient,), members)


async def method(self: Any, request: dict[str, Any]) -> None:
    """A fitting method."""


async def nothing(self: Any) -> None:
    """A method without argument."""


async def too_many(self: Any, one: int, two: int) -> None:
    """A method with one too many."""


async def keyword_only(self: Any, *, one: int) -> None:
    """A method that cannot be called by position."""


def generator(self: Any) -> Any:
    """A generator that would block the loop."""
    yield 1


async def asynchronous_generator(self: Any) -> Any:
    """A method that answers in parts."""
    yield 1


async def unreadable(self: Any, request: object) -> None:
    """Takes what JSON cannot say."""


async def unknown_name(self: Any, request: NotDefinedAnywhere) -> None:  # type: ignore[name-defined]  # noqa: F821
    """Names a type that is not there."""


async def no_event(self: Any, event: int) -> None:
    """A listener that takes no Event."""


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: capability("")(method), "no capability name"),
        (lambda: capability(7)(method), "no capability name"),  # type: ignore[call-overload]
        (lambda: capability(method), "name the capability"),
        (lambda: capability("X", timeout=0)(method), "more than 0 seconds"),
        (lambda: capability("x" * 300)(method), "1 to 256 characters"),
        (lambda: capability("X")(too_many), "more than self and one"),
        (lambda: capability("X")(keyword_only), "more than self and one"),
        (lambda: capability("X")(generator), "make it async"),
        (lambda: on("E")(asynchronous_generator), "listeners answer nothing"),
        (lambda: capability("X", on_asker_lost="wait")(method), "on_asker_lost"),  # type: ignore[call-overload]
        (lambda: capability("X", max_in_flight=0)(method), "max_in_flight"),
        (lambda: capability("X", queue=-1)(method), "queue"),
        (lambda: capability("SERVER_STATE")(method), "answered by the hub"),
        (lambda: master("A", group="many"), "shared"),  # type: ignore[arg-type]
        (lambda: capability("X")(staticmethod(nothing)), "no method"),
        (lambda: capability("X")(unreadable), "has no JSON form"),
        (lambda: capability("X")(unknown_name), "NotDefinedAnywhere is not known"),
        (lambda: on("connect")(method), "reserved"),
        (lambda: on(method), "name of an event"),  # type: ignore[arg-type]
        (lambda: on("E")(nothing), "takes no argument"),
        (lambda: on("E")(no_event), "Event"),
        (
            lambda: declare(
                one=capability("X")(lambda self: None), two=capability("X")(lambda self: None)
            ),
            r"two.*one.*both offer X",
        ),
        (lambda: declare(rooms="A"), "write a tuple"),
        (lambda: declare(rooms=RoomRole("A", mastered=True)), "write a tuple"),
        (lambda: declare(rooms=("",)), "rooms"),
        (lambda: declare(rooms=("A",)), r"offers nothing there.*observe\('A'\)"),
        (
            lambda: declare(
                rooms=("A",),
                one=capability("X")(lambda self: None),
                two=capability("Y", room="B")(lambda self: None),
            ),
            "offered in B",
        ),
    ],
)
def test_what_can_never_work_is_said_at_import(make: Any, complaint: str) -> None:
    """The class body is where the mistake is, so that is where it shows."""
    with pytest.raises(DeclarationError, match=complaint):
        make()


class Left:
    """A mixin, which need not be a client."""

    @capability("X")
    async def left(self) -> None:
        """Serve."""


class Right:
    """Another."""

    @capability("GET_X")
    async def right(self) -> None:
        """Serve."""


@pytest.mark.parametrize(
    "make",
    [
        lambda: declare(left=Left.left, right=Right.right),
        lambda: type("Declared", (Left, Right, AlephScriptClient), {}),
        lambda: type("Declared", (Left, AlephScriptClient), {"right": Right.right}),
        lambda: declare(
            left=capability("A", aliases=("B",))(lambda self: None),
            right=capability("B")(lambda self: None),
        ),
        lambda: declare(
            left=capability("A", aliases=("C",))(lambda self: None),
            right=capability("B", aliases=("GET_C",))(lambda self: None),
        ),
    ],
    ids=["X and GET_X", "two bases", "base and class", "alias and name", "two aliases"],
)
def test_two_methods_that_claim_one_name_are_both_named(make: Any) -> None:
    """However they came by it, whoever reads it knows where to look."""
    with pytest.raises(DeclarationError, match="both offer") as caught:
        make()
    assert {"left", "right"} <= set(re.split(r"\W+", str(caught.value)))


def test_the_nearest_declaration_of_a_method_is_the_one_that_counts() -> None:
    """An override is no rival of what it overrides, in whichever order the bases come."""

    class Nearer(Left):
        @capability("X", timeout=3)
        async def left(self) -> None:
            """Serve."""

    class Both(Nearer, Left, AlephScriptClient):
        """Inherits it twice."""

    class Without(Nearer, AlephScriptClient):
        left = None  # type: ignore[assignment]

    assert Both.declarations.capabilities["X"].timeout == 3
    assert dict(Without.declarations.capabilities) == {}


def test_one_method_may_offer_and_hear_several_things() -> None:
    """Each decorator adds a record; an unmarked override withdraws them all."""

    class Many(AlephScriptClient):
        @capability("A")
        @capability("B")
        async def do(self, what: Any) -> None:
            """Do."""

        @on("E")
        @on("F", ordered=False)
        async def hear(self, event: Event[Any]) -> None:
            """Hear."""

    class Quiet(Many):
        async def do(self, what: Any) -> None:
            """Do."""

        async def hear(self, event: Event[Any]) -> None:
            """Hear."""

    assert set(Many.declarations.capabilities) == {"A", "B"}
    assert set(Many.declarations.listeners) == {"E", "F"}
    assert not Quiet.declarations.capabilities
    assert not Quiet.declarations.listeners


def test_a_name_given_twice_by_one_method_is_no_conflict() -> None:
    """X is asked as GET_X anyway."""

    class Doubly(AlephScriptClient):
        @capability("X", aliases=("GET_X", "X"))
        async def do(self) -> None:
            """Do."""

    assert Doubly.declarations.features("R") == ("X",)


@given(
    rooms=st.lists(st.sampled_from("ABCD"), min_size=1, unique=True),
    offers=st.lists(st.lists(st.sampled_from("ABCD"), unique=True), min_size=1, max_size=6),
)
def test_every_capability_is_declared_where_it_is_offered(
    rooms: list[str], offers: list[list[str]]
) -> None:
    """In the rooms that it names, else in the first; in the order of the class body."""
    members = {
        f"m{n}": capability(f"N{n}", room=where)(lambda self: None)
        for n, where in enumerate(offers)
    }
    expected = {
        room: tuple(f"N{n}" for n, where in enumerate(offers) if room in (where or [rooms[0]]))
        for room in rooms
    }
    strays = {room for where in offers for room in where} - set(rooms)
    if strays or not all(expected.values()):
        with pytest.raises(DeclarationError):
            declare(rooms=tuple(rooms), **members)
    else:
        declared = declare(rooms=tuple(rooms), **members).declarations  # type: ignore[attr-defined]
        assert {room: declared.features(room) for room in rooms} == expected


def test_a_request_must_say_what_it_asks_and_what_it_gets() -> None:
    """Half a contract helps nobody."""
    with pytest.raises(DeclarationError, match="does not say what it asks"):

        class Nameless(RequestFor[Sum]):
            """No capability."""

    from alephscript.contracts import reply_type

    @attrs.frozen
    class Replyless(RequestFor, capability="X"):  # type: ignore[type-arg]
        """No reply."""

    with pytest.raises(DeclarationError, match="does not say its reply"):
        reply_type(Replyless)

    async def replies(self: Any, request: Replyless) -> None: ...

    replies.__annotations__["request"] = Replyless
    with pytest.raises(DeclarationError, match="does not say its reply"):
        capability(replies)


def test_collecting_a_class_without_declarations_finds_none() -> None:
    """The base client offers nothing."""
    declared = collect(AlephScriptClient)
    assert (declared.rooms, dict(declared.capabilities), dict(declared.listeners)) == ((), {}, {})


def test_options_of_a_capability_are_kept() -> None:
    """And told to the mesh, where they matter to it."""

    class Worker:
        rooms = master("WORK", group="shared")

        @capability("COUNT", idempotent=True, max_in_flight=2, queue=3, on_asker_lost="finish")
        async def count(self, to: int) -> AsyncIterator[int]:
            """Count.

            Slowly.
            """
            yield to

        @capability("PLAIN", timeout=1.5)
        async def plain(self) -> None:
            pass

    declared = collect(Worker)
    record = declared.capabilities["COUNT"]
    assert (record.streams, record.blocking, record.idempotent) == (True, False, True)
    assert (record.max_in_flight, record.queue, record.on_asker_lost) == (2, 3, "finish")
    mastery = declared.mastery("WORK", declared.rooms[0].group)
    assert (mastery.features, mastery.group) == (("COUNT", "PLAIN"), "shared")
    assert mastery.descriptions == {
        "COUNT": {
            "summary": "Count.",
            "request": {"type": "integer"},
            "reply": {"type": "integer"},
            "idempotent": True,
            "streams": True,
        },
        "PLAIN": {"reply": {"type": "null"}, "timeoutMs": 1500},
    }
