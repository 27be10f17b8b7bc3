"""A mesh in memory on virtual time, whose delays and faults are drawn by a seed.

Each link has a line each way: what is on it comes in order, and when is drawn; between lines any
order is possible. When a link is cut, what still arrives is drawn, and when either end notices.

May go in: links that draw, what was delivered. May not: the clock (`virtual`, `surroundings`),
which faults a test asks for (`chaos`), rules, which are the mesh's.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self

from alephscript.errors import NotConnected, StateError
from alephscript.hub.carrier import Carrier
from alephscript.hub.store.memory import MemoryStore
from alephscript.links.transport import Receiver
from alephscript.mesh.presence import Reason
from alephscript.protocol.json import parse_json
from alephscript.protocol.packets import Kind
from alephscript.testing.memory import InMemoryMesh
from alephscript.testing.surroundings import surround
from alephscript.testing.trace import Trace
from alephscript.testing.virtual import VirtualLoop

__all__ = ["SimulatedMesh", "simulate"]

_DELAYS = (0.0, 0.0, 0.0, 1e-4, 2e-4, 5e-4, 1e-3, 1e-3, 2e-3, 3e-3, 4e-3, 5e-3, 6e-3, 8e-3, 1e-2)
"""Seconds that a packet takes, one as likely as the other."""

_ROUGH_DELAYS = (*_DELAYS, 0.05, 0.2, 1.0)
"""The same in chaos."""

_NOTICES = (0.0, 0.0, 1e-3, 1e-2, 0.1, 1.0, 20.0)
"""Seconds until an end of a cut link notices; the longest is a heartbeat that stays away."""


_AT_ONCE = 0.01
"""The part of it that a client takes to notice a hub that ends links by itself."""


class SimulatedMesh(InMemoryMesh):
    """A hub in memory, whose deliveries are drawn: each seed is another run, and always the same.

    It needs an event loop on virtual time: `simulate` runs one, and so does pytest with
    ``--mesh=sim``.

    Args:
        seed: A number; or what draws, such as ``hypothesis.strategies.randoms()`` gives.
        options: As those of `InMemoryMesh`.

    Attributes:
        trace: What was delivered, and what went wrong.
        refusal: The exception with which what draws would draw no more; None mostly.
    """

    def __init__(self, seed: int | random.Random = 0, **options: Any) -> None:
        super().__init__(**options)
        self._random = random.Random(seed) if isinstance(seed, int) else seed  # noqa: S311
        self._end: Any = None
        self.trace = Trace()
        self.refusal: BaseException | None = None

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        if not isinstance(loop, VirtualLoop):
            raise StateError(
                "a simulated mesh needs virtual time: use simulate(…), or pytest --mesh=sim with "
                "the fixture anyio_backend that comes with anyio"
            )
        surroundings = surround(loop, self.pick(2**32))
        surroundings.__enter__()
        self._end = surroundings.__exit__
        self.trace.clock = loop.time
        loop.waiting = asyncio.current_task()
        for carrier in self._carriers.values():
            carrier.keeper.store = MemoryStore()  # whose clock begins with it
        try:
            return await super().__aenter__()
        except BaseException:
            self._end(None, None, None)
            raise

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            await super().__aexit__(exc_type, exc, traceback)
        finally:
            self._end(None, None, None)

    def advance(self, seconds: float) -> None:
        """Let time pass, for all that runs on this event loop."""
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        loop.advance(seconds)

    async def kill(self) -> None:
        """Die: cut every link and take no more until `restart`; wait until all have noticed."""
        if self._is_open:
            self.trace.note("the hub is killed")
        for link in self.present_links():
            link.fall_silent()  # before the mesh loses one after the other, which nobody is told
        await super().kill()
        await asyncio.sleep(_NOTICES[-1] * _AT_ONCE)  # until all clients have noticed

    async def restart(self) -> None:
        """Come back, with an empty mesh, but with the tasks that had not ended."""
        self.trace.note("the hub is there")
        await super().restart()

    async def _reach(self) -> None:
        await asyncio.sleep(self.draw_delay())

    def _make_link(self, carrier: Carrier, receiver: Receiver, sid: str) -> Any:
        return _SimulatedLink(self, carrier, receiver, sid)

    def cut_link(self, link: Any) -> None:
        """Cut one link."""
        link.cut()

    # What links draw

    def pick(self, count: int) -> int:
        """Draw a number below another one."""
        if self.refusal is None:
            try:
                return self._random.randrange(count)
            except BaseException as exc:  # noqa: BLE001 - raised again by `simulate`
                # Not here, in the midst of some task: what searches for a run has seen enough.
                self.refusal = exc
        return 0

    def draw_delay(self) -> float:
        """Draw how long a packet takes."""
        delays = _ROUGH_DELAYS if self._is_rough else _DELAYS
        return delays[self.pick(len(delays))]

    def draw_notice(self) -> float:
        """Draw how long an end of a link does not notice that it was cut."""
        return _NOTICES[self.pick(len(_NOTICES))]


_STEP = 1e-9
"""Seconds between two packets of a line, whose order a heap would not keep without."""


class _Line:
    """One way of a link: packets come in order, each when it was drawn to.

    Args:
        mesh: What draws.
        arrow: The line in the trace; set when it is known whose it is.
    """

    def __init__(self, mesh: SimulatedMesh) -> None:
        self.arrow = ""
        self._mesh = mesh
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[tuple[Callable[[], object], str, bytes]] = deque()
        self._last = 0.0  # the time at which the last one arrives
        self._is_whole = True

    def put(self, act: Callable[[], object], what: str, payload: bytes) -> None:
        """Have a packet arrive, unless the line is cut."""
        if self._is_whole:
            self._waiting.append((act, what, payload))
            self._later(self._mesh.draw_delay(), self._arrive)

    def cut(self, notice: float, end: Callable[[], object], *, keeps: bool) -> None:
        """Lose what is put from now on, and some of what is on its way; then end.

        Args:
            notice: Seconds until the end is noticed, at least.
            end: Called when it is.
            keeps: Whether all that is on its way arrives: its sender has ended in peace, or died.
        """
        if self._is_whole:
            self._is_whole = False
            arrive = len(self._waiting) if keeps else self._mesh.pick(len(self._waiting) + 1)
            while len(self._waiting) > arrive:
                self._waiting.pop()
        self._later(notice, end)

    def lose_all(self) -> None:
        """Lose what is on its way, too: nobody is at the other end."""
        self._is_whole = False
        self._waiting.clear()

    def _later(self, delay: float, act: Callable[[], object]) -> None:
        self._last = max(self._last + _STEP, self._loop.time() + delay)
        self._loop.call_at(self._last, act)

    def _arrive(self) -> None:
        if self._waiting:
            act, what, payload = self._waiting.popleft()
            self._mesh.trace.deliver(self.arrow, what, payload)
            act()


class _SimulatedLink:
    """Both ends of a link: the client's (`alephscript.links.transport.Link`), and the hub's."""

    def __init__(self, mesh: SimulatedMesh, carrier: Carrier, receiver: Receiver, sid: str) -> None:
        self._mesh = mesh
        self._links = mesh._links  # noqa: SLF001 - of its mesh
        self._carrier = carrier
        self._receiver = receiver
        self._sid = sid
        self._up, self._down = _Line(mesh), _Line(mesh)
        self._is_up = True  # as the client knows
        self._name(sid)
        self._links[sid] = self  # as the hub knows

    @property
    def is_up(self) -> bool:
        """Whether the client has not noticed that the link is gone."""
        return self._is_up

    # The client's end

    def send(self, payload: bytes, ack: int | None = None) -> None:
        if not self._is_up:
            raise NotConnected("the link to the hub is gone; nothing was sent")
        if payload.startswith(_REGISTER):
            self._name(_name_in(payload) or self._sid)
        what = "" if ack is None else f"#{ack} "
        self._up.put(lambda: self._carrier.received(self._sid, ack, payload), what, payload)

    def acknowledge(self, ack: int, payload: bytes) -> None:
        if self._is_up:
            what = f"ack {ack} "
            self._up.put(lambda: self._carrier.acknowledged(self._sid, ack, payload), what, payload)

    async def close(self) -> None:
        await asyncio.sleep(0)
        self._up.cut(0.0, lambda: self._left("disconnected"), keeps=True)
        self._lost("closed", in_peace=True)

    # Both

    def drop(self, reason: str, told: Reason = "link_lost") -> None:
        """End the link at the hub, now; the client notices later."""
        self._up.lose_all()
        self._left(told)
        self.fall_silent(reason)

    def fall_silent(self, reason: str = "the hub is gone") -> None:
        """Send nothing more to the client, which notices later."""
        self._down.cut(self._mesh.draw_notice() * _AT_ONCE, lambda: self._lost(reason), keeps=False)

    def cut(self) -> None:
        """Cut the link: either end notices when it does."""
        mesh = self._mesh
        mesh.trace.note(f"the link of {self._label} is cut")
        self._up.cut(mesh.draw_notice(), lambda: self._left("link_lost"), keeps=False)
        self._down.cut(mesh.draw_notice(), lambda: self._lost("it was cut"), keeps=False)

    def crash(self) -> None:
        """End as a program that is killed: what it has sent arrives, it hears nothing more."""
        self._mesh.trace.note(f"{self._label} is killed")
        self._up.cut(0.0, lambda: self._left("link_lost"), keeps=True)
        self._down.lose_all()

    def _lost(self, reason: str, *, in_peace: bool = False) -> None:
        if self._is_up:
            self._is_up = False
            if not in_peace:
                self._up.lose_all()  # a client that gives a link up resets it
            self._down.lose_all()
            self._mesh.trace.note(f"{self._label} has lost its link ({reason})")
            self._receiver.lost(reason)

    def _left(self, told: Reason) -> None:
        if self._links.pop(self._sid, None) is not None:
            self._mesh.trace.note(f"the hub has lost {self._label} ({told})")
            self._carrier.left(self._sid, told)

    # The hub's end

    def deliver(self, kind: Kind, ack: int | None, payload: bytes) -> None:
        """Hand a packet of the mesh to the client."""
        receiver = self._receiver
        if kind is Kind.EVENT:
            what = "" if ack is None else f"#{ack} "
            self._down.put(lambda: receiver.received(payload, ack), what, payload)
        elif ack is not None:
            self._down.put(lambda: receiver.acknowledged(ack, payload), f"ack {ack} ", payload)

    def _name(self, label: str) -> None:
        self._label = label
        self._up.arrow, self._down.arrow = f"{label} → hub", f"hub → {label}"


_REGISTER = b'["CLIENT_REGISTER"'


def _name_in(registration: bytes) -> str:
    fields = parse_json(registration)[1]
    return f"{fields.get('usuario', '')}-{fields.get('sesion', '')}"


def simulate(
    scenario: Callable[[SimulatedMesh], Awaitable[object]],
    seed: int | random.Random,
    **options: Any,
) -> SimulatedMesh:
    """Run a scenario on virtual time, in the interleaving that a seed chooses.

    Args:
        scenario: Called with a mesh without members.
        seed: A number; or what draws, such as ``hypothesis.strategies.randoms()`` gives: then a
            failure is shrunk to one with as few delays and faults as will do.
        options: As those of `InMemoryMesh`.

    Returns:
        The mesh, which is closed, with its trace.

    Raises:
        BaseException: What the scenario raises; a note has the seed and the end of the trace.
    """
    mesh = SimulatedMesh(seed, **options)

    async def main() -> None:
        async with mesh:
            await scenario(mesh)

    try:
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            runner.run(main())
    except BaseException as exc:
        if mesh.refusal is not None:
            raise mesh.refusal from None
        again = f"simulate(…, {seed})\n" if isinstance(seed, int) else ""
        exc.add_note(f"{again}{mesh.trace.tail()}")
        raise
    if mesh.refusal is not None:
        raise mesh.refusal
    return mesh
