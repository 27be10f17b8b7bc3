"""Faults at moments that are drawn, as long as a test asks for them.

May go in: which faults there are, and when. May not: how one is done to a mesh (`memory`, `real`,
`simulated`).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Generator, Sequence
from types import TracebackType
from typing import Any, Protocol, Self

from alephscript.client.client import AlephScriptClient
from alephscript.errors import ConnectionRefused, RequestError, StateError

__all__ = ["Chaos", "MakeBot"]

MakeBot = Callable[[], AlephScriptClient]
"""A function that makes a bot, which is not open yet."""

_LONGEST_PAUSE = 1.0
"""Seconds that a killed hub or bot is away, at most."""

_STEPS = 1000
"""Moments that can be drawn."""


class Disturbed(Protocol):
    """A mesh that can have faults, as `alephscript.testing.faults.FaultInjector` is."""

    def pick(self, count: int) -> int:
        """Draw a number below another one."""
        ...

    async def kill(self) -> None:
        """Die."""
        ...

    async def restart(self) -> None:
        """Come back."""
        ...

    def present_links(self) -> Sequence[Any]:
        """Return what `cut_link` takes."""
        ...

    def cut_link(self, link: Any) -> None:
        """Cut one link."""
        ...

    def crash_client(self, client: AlephScriptClient) -> None:
        """Have a client hear and say nothing more, as a program that is killed."""
        ...


class Chaos:
    """Faults under way, as ``mesh.chaos(…)`` has asked for them.

    Attributes:
        bots: The bots that run at the moment, in the order of the functions that make them.
    """

    def __init__(
        self,
        mesh: Disturbed,
        *,
        cuts: int,
        kills: int,
        crashes: int,
        takeovers: int,
        bots: Sequence[MakeBot],
        within: float,
    ) -> None:
        if (crashes or takeovers) and not bots:
            raise StateError(
                "only bots that can be made again can be killed or taken over: give chaos "
                "functions that make them, as bots=[lambda: MyBot(mesh)]"
            )
        self.bots: list[AlephScriptClient] = []
        self._mesh = mesh
        self._makers = list(bots)
        kinds = {self._cut: cuts, self._kill: kills, self._crash: crashes, self._take: takeovers}
        self._faults = sorted(
            (mesh.pick(_STEPS) * within / _STEPS, number, act)
            for number, act in enumerate(act for act, n in kinds.items() for _ in range(n))
        )
        self._is_closed = False
        self._is_open, self._is_ending = asyncio.Event(), asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._run())
        self._task.add_done_callback(lambda _: self._is_open.set())

    @property
    def is_over(self) -> bool:
        """Whether all faults have happened."""
        return self._task.done()

    def __await__(self) -> Generator[Any, None, None]:
        """Wait until all faults have happened, and what was killed is back."""
        return asyncio.shield(self._task).__await__()

    async def __aenter__(self) -> Self:
        await self._is_open.wait()
        if self._task.done():
            self._task.result()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End it: no more faults, the hub is there, the bots are closed."""
        if self._is_closed:
            return
        self._is_closed = True
        self._is_ending.set()
        await asyncio.wait([self._task])
        bots, self.bots = self.bots, []
        for bot in bots:
            await bot.__aexit__(None, None, None)
        self._task.result()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        for make in self._makers:
            bot = make()
            await bot.__aenter__()
            self.bots.append(bot)
        self._is_open.set()
        began = loop.time()
        for moment, _, act in self._faults:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._is_ending.wait(), began + moment - loop.time())
                return
            await act()

    async def _cut(self) -> None:
        links = self._mesh.present_links()
        if links:
            self._mesh.cut_link(links[self._mesh.pick(len(links))])

    async def _kill(self) -> None:
        try:
            await self._mesh.kill()
            await self._pause()
        finally:
            await self._mesh.restart()

    async def _crash(self) -> None:
        turn = self._mesh.pick(len(self.bots))
        bot = self.bots[turn]
        self._mesh.crash_client(bot)
        await bot.__aexit__(None, None, None)
        await self._pause()
        self.bots[turn] = await self._start(turn)

    async def _take(self) -> None:
        turn = self._mesh.pick(len(self.bots))
        before = self.bots[turn]
        self.bots[turn] = await self._start(turn)
        await self._pause()
        await before.__aexit__(None, None, None)

    async def _start(self, turn: int) -> AlephScriptClient:
        while True:
            bot = self._makers[turn]()
            try:
                return await bot.__aenter__()
            except (ConnectionRefused, RequestError) as error:
                if isinstance(error, ConnectionRefused) and error.fatal:
                    raise
                await self._pause()  # its link was cut just now, or there is no hub

    async def _pause(self) -> None:
        await asyncio.sleep(self._mesh.pick(_STEPS) * _LONGEST_PAUSE / _STEPS)
