"""`Bridge`: one room of two meshes, by a client in each.

May go in: both sides put together, from opening to closing. May not: what one side does (`side`),
how an event gets across (`passage`).
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from types import TracebackType
from typing import Any, Self

import attrs

from alephscript.bridge.counts import Count, Counts
from alephscript.bridge.marks import ANNOUNCEMENT, make_sesion
from alephscript.bridge.passage import Passage
from alephscript.bridge.side import COUNTS, Side
from alephscript.client.arguments import names_of
from alephscript.client.lifecycle import State
from alephscript.errors import AlephScriptError, ContractError, RequestError, StateError
from alephscript.links.transport import Transport
from alephscript.protocol import events
from alephscript.protocol.events import HubEvent
from alephscript.protocol.text import printable

__all__ = ["Allowed", "Bridge"]

logger = logging.getLogger("alephscript.bridge")

_LOOK_SECONDS = 5.0
"""The time between two looks at what masters offer: hubs tell who serves, and not what."""

_A_TO_B, _B_TO_A = "a_to_b", "b_to_a"


@attrs.frozen
class Allowed:
    """What may cross a bridge in one direction.

    Attributes:
        events: Names of events.
        capabilities: Names of capabilities, which are offered where the direction leads to.
    """

    events: Collection[str] = ()
    capabilities: Collection[str] = ()


class Bridge:
    """One room of two meshes: events and capabilities that are allowed, and nothing else.

    ::

        async with Bridge(url_a, url_b, room="LOBBY", events=["GREETED"], capabilities=["GREET"]):
            ...

    Events that members say in the room of one mesh are said in the room of the other. A capability
    that a master of the room offers in one mesh is offered by the bridge in the other, with its
    schemas, description, hints and timeout, for as long as there is that master, and unless the
    room has a master of its own there. Requests keep their deadline, progress, parts, cancellation
    and errors.

    What one bridge has passed on, no other bridge passes on: bridges beside each other and in rings
    make no loop, and none is a way to a third mesh.

    Args:
        a: The hub of the one mesh, as for `alephscript.AlephScriptClient`.
        b: The hub of the other.
        room: The room, in both meshes.
        events: Names of events that are passed on in both directions.
        capabilities: Names of capabilities that are offered in both directions.
        to_a: What is passed on to ``a`` besides.
        to_b: What is passed on to ``b`` besides.
        options_a: Options of the client of ``a``, such as ``token``.
        options_b: Options of the client of ``b``.
        options: Options of both clients.

    Raises:
        ContractError: An argument is not what it has to be.

    Attributes:
        name: The bridge's sesion in both meshes, and the room of its capability BRIDGE_COUNTS.
    """

    def __init__(
        self,
        a: str | Transport,
        b: str | Transport,
        *,
        room: str,
        events: Collection[str] = (),
        capabilities: Collection[str] = (),
        to_a: Allowed = Allowed(),
        to_b: Allowed = Allowed(),
        options_a: Mapping[str, Any] | None = None,
        options_b: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        _check_room(room)
        both = Allowed(
            _check("events", events, _check_event),
            _check("capabilities", capabilities, _check_capability),
        )
        to_a, to_b = _check_allowed("to_a", to_a, both), _check_allowed("to_b", to_b, both)
        self.name = make_sesion()
        self._room = room
        self._counts = Counts(self._report)
        self._changed = asyncio.Event()
        sides = {"a": (a, to_a, _A_TO_B, options_a), "b": (b, to_b, _B_TO_A, options_b)}
        self._a, self._b = (
            self._make_side(
                name,
                hub,
                {**options, **(own or {})},
                room=room,
                allowed=allowed.capabilities,
                direction=direction,
            )
            for name, (hub, allowed, direction, own) in sides.items()
        )
        if isinstance(a, str) and isinstance(b, str) and self._a.address == self._b.address:
            raise _unfit("b", "both addresses are of one hub")
        self._a.other, self._b.other = self._b, self._a
        self._to_a, self._to_b = to_a, to_b
        self._tasks: set[asyncio.Task[None]] = set()

    def _make_side(
        self, name: str, hub: str | Transport, options: Mapping[str, Any], **known: Any
    ) -> Side:
        """Make the client of one side; what is wrong with it is said of that side."""
        known |= {"sesion": self.name, "counts": self._counts, "changed": self._changed.set}
        try:
            return Side(hub, **known, **options)
        except ContractError as error:
            problems = [
                {
                    **each,
                    "path": name if each["path"] == "hub" else f"options_{name}.{each['path']}",
                }
                for each in error.problems
            ]
            raise ContractError("Bridge", problems) from None

    # Life

    @property
    def state(self) -> State:
        """The state of that side which is further from being ready."""
        states = {self._a.state, self._b.state}
        order = (State.CLOSED, State.NEW, State.CONNECTING, State.RECONNECTING, State.READY)
        return next(each for each in order if each in states)

    async def __aenter__(self) -> Self:
        a, b = self._a, self._b
        if self.state is not State.NEW:
            raise StateError(f"this bridge is {self.state.value} already; make another one")
        passages = [
            Passage(a, b, allowed=self._to_b.events, direction=_A_TO_B, counts=self._counts),
            Passage(b, a, allowed=self._to_a.events, direction=_B_TO_A, counts=self._counts),
        ]
        opening = [asyncio.ensure_future(each.__aenter__()) for each in (a, b)]
        try:
            await asyncio.gather(*opening)
        except BaseException:
            for each in opening:
                each.cancel()
            await asyncio.wait(opening)
            await self.close()
            raise
        for passage in passages:
            self._begin(passage.hear)
            self._begin(passage.speak)
        for side in (a, b):
            self._begin(functools.partial(self._follow, side))
        self._begin(self._keep_offering)
        logger.info(
            "%s bridges %s between %s and %s: %s",
            self.name,
            printable(self._room),
            a.address,
            b.address,
            self._describe(),
            extra={"bridge": self.name, "room": self._room},
        )
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def ready(self) -> None:
        """Wait until there is a link to both meshes.

        Raises:
            ConnectionRefused: One of the hubs refused the bridge, for good.
            StateError: The bridge is not open.
        """
        await asyncio.gather(self._a.ready(), self._b.ready())

    async def run_forever(self) -> None:
        """Serve until closed, cancelled or refused for good; opens the bridge if it is new.

        Raises:
            ConnectionRefused: One of the hubs refused the bridge, for good.
        """
        if self.state is State.NEW:
            async with self:
                await self.run_forever()
            return
        running = [asyncio.ensure_future(each.run_forever()) for each in (self._a, self._b)]
        both = [*running, *self._tasks]
        try:
            done, _ = await asyncio.wait(both, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            for each in running:
                each.cancel()
        for each in done:
            if not each.cancelled():  # by closing the bridge
                each.result()

    async def drain(self, timeout: float | None = None) -> None:
        """Leave both meshes in peace: take no more requests, finish those that run, then close.

        Args:
            timeout: Seconds that those may take, None for as long as they need.
        """
        await asyncio.gather(*(each.drain(timeout) for each in (self._a, self._b)))
        await self.close()

    async def close(self) -> None:
        """Leave both meshes."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        opened = [each for each in (self._a, self._b) if each.state is not State.NEW]
        await asyncio.gather(*(each.close() for each in opened))

    # Reading

    def counts(self) -> list[Count]:
        """Return what was not passed on, by direction, name and reason.

        The capability BRIDGE_COUNTS, in the room `name` of both meshes, answers the same.
        """
        return self._counts.snapshot()

    # Inside

    def _begin(self, work: Callable[[], Awaitable[None]]) -> None:
        async def run() -> None:
            # A side that is closed or refused ends `run_forever`, which says why.
            with contextlib.suppress(AlephScriptError):
                await work()

        self._tasks.add(asyncio.create_task(run()))

    async def _follow(self, side: Side) -> None:
        async for state in side.states():
            if state is State.RECONNECTING:
                side.lose()
            self._changed.set()

    async def _keep_offering(self) -> None:
        while True:
            self._changed.clear()
            # First what is known for certain: then what a hub that tells nothing may have.
            first, second = sorted((self._a, self._b), key=lambda each: not each.tells_masters)
            if first.tells_masters:  # else a request could go round
                await second.offer(await first.look())
                await first.offer(await second.look())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_SECONDS):
                    await self._changed.wait()

    def _describe(self) -> str:
        """Write what may cross."""
        if self._to_a == self._to_b:
            return _listed(self._to_a)
        return f"to a {_listed(self._to_a)}; to b {_listed(self._to_b)}"

    def _report(self, direction: str, name: str, reason: str) -> None:
        logger.info(
            "%s is not passed on from %s: %s; %s counts such",
            printable(name),
            direction.replace("_", " "),
            printable(reason),
            COUNTS,
            extra={"bridge": self.name, "direction": direction, "name_": name, "reason": reason},
        )


def _listed(allowed: Allowed) -> str:
    names = [*allowed.events, *allowed.capabilities]
    return printable(", ".join(names)) if names else "nothing"


def _check_allowed(argument: str, allowed: Any, both: Allowed) -> Allowed:
    if not isinstance(allowed, Allowed):
        raise _unfit(argument, "write Allowed(events=…, capabilities=…)")
    said = _check(f"{argument}.events", allowed.events, _check_event)
    asked = _check(f"{argument}.capabilities", allowed.capabilities, _check_capability)
    return Allowed(
        tuple(dict.fromkeys((*both.events, *said))),
        tuple(dict.fromkeys((*both.capabilities, *asked))),
    )


def _check(argument: str, names: Any, check: Callable[[str], str]) -> tuple[str, ...]:
    checked = names_of(names)
    if checked is None:
        raise _unfit(argument, "a sequence of names")
    try:
        return tuple(check(each) for each in checked)
    except RequestError as error:
        raise _unfit(argument, error.message) from None


def _check_event(name: str) -> str:
    if events.check_event(name) in _OF_HUBS or name.startswith("GET_"):
        raise _unfit("events", f"{printable(name)} means something else to hubs")
    return name


def _check_capability(name: str) -> str:
    event = events.request_event(name)
    if event in events.ANSWERED_BY_HUB or events.capability_name(name) == COUNTS:
        raise _unfit("capabilities", f"{printable(name)} is answered by hubs, or by the bridge")
    return events.capability_name(name)


def _check_room(room: Any) -> None:
    try:
        events.check_room_name(room)
    except RequestError as error:
        raise _unfit("room", error.message) from None
    if room == events.EVERY_ROOM:
        raise _unfit("room", "a bridge is of one room")


def _unfit(argument: str, message: str) -> ContractError:
    return ContractError("Bridge", [{"path": argument, "message": message}])


_OF_HUBS = frozenset(HubEvent) | {ANNOUNCEMENT}
