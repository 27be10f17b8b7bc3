"""Counts the Python calls that a request and an event make: ``python -m tests.benchmarks.calls``.

::

    python -m tests.benchmarks.calls --functions
    python -m tests.benchmarks.calls --package ../last/ --in-flight 64

What calls cost differs from run to run by tens of per cent, how many there are does not: a change
of a hot path shows here to the call. Hub, asker, master and members run in threads of this
process, each on an event loop of its own, and each is counted by itself. Calls are those of
functions in Python, coroutines that go on among them; of the standard library's those that the
package calls, and none of the programs' own.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import importlib.util
import sys
import sysconfig
import threading
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import Any, Self

from tests.benchmarks.contenders import CONTENDERS

__all__ = ["events", "requests"]

HIDDEN = ("picows", "aiofastnet")
"""Modules to do without, so that older versions that would use them are counted without them."""

_DAY = 86_400.0
_MEMBERS = 2
_WARM = 50

Calls = Counter[str]


class Role:
    """A thread with an event loop, and the calls that are made on it while it is counted."""

    def __init__(self, name: str) -> None:
        self.calls: Calls = Counter()
        self._runner = asyncio.Runner(loop_factory=_loop_factory())
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)
        self._is_over = asyncio.Event()

    def __enter__(self) -> Self:
        self._loop = self._runner.get_loop()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._is_over.set)
        self._thread.join()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run something on the loop, and wait for what comes of it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    def count(self, *, counting: bool) -> None:
        """Count from now on, or no more."""

        async def switch() -> None:
            sys.setprofile(self._note if counting else None)

        self.run(switch())

    def _serve(self) -> None:
        with self._runner as runner:
            runner.run(self._over())

    async def _over(self) -> None:
        await self._is_over.wait()

    def _note(self, frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            self.calls[_function(frame)] += 1


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    if importlib.util.find_spec("uvloop") is None:
        return None
    import uvloop

    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


def _function(frame: FrameType) -> str:
    """A function by file and name; nothing if it is not to be counted."""
    code = frame.f_code
    if code.co_filename.startswith("<"):
        # What attrs has generated: its class is all that says where.
        return f"{code.co_filename.strip('<>').rpartition(' ')[2]} {code.co_name}"
    caller = frame.f_back
    if _is_own(code.co_filename) or (
        _is_standard(code.co_filename)
        and (caller is None or _is_own(at := caller.f_code.co_filename) or _is_standard(at))
    ):
        return ""
    *_, folder, file = Path(code.co_filename).parts
    return f"{folder}/{file} {code.co_qualname}"


@functools.cache
def _is_own(file: str) -> bool:
    """Whether it is a file of the benchmarks."""
    return Path(file).is_relative_to(Path(__file__).parent)


@functools.cache
def _is_standard(file: str) -> bool:
    """Whether it is a file of the standard library."""
    path = Path(file)
    return path.is_relative_to(_STANDARD) and not path.is_relative_to(_INSTALLED)


_STANDARD, _INSTALLED = sysconfig.get_path("stdlib"), sysconfig.get_path("purelib")


def requests(count: int, in_flight: int) -> dict[str, Calls]:
    """The calls of some requests, by role.

    Args:
        count: How many requests are asked.
        in_flight: How many of them wait for their answers at any time.
    """
    aleph = CONTENDERS["aleph"].clients.module()
    with ExitStack() as stack:
        hub, asker, master = (
            stack.enter_context(Role(name)) for name in ("hub", "asker", "master")
        )
        port = hub.run(_listening())
        master.run(aleph.master(port, {}))
        ask = asker.run(aleph.requester(port, {}))

        async def several(times: int) -> None:
            numbers = iter(range(times))

            async def keep_asking() -> None:
                for number in numbers:
                    assert await ask(number, "")

            await asyncio.gather(*(keep_asking() for _ in range(in_flight)))

        roles = {"asker": asker, "hub": hub, "master": master}
        asker.run(several(_WARM))
        _count(roles, lambda: asker.run(several(count)))
    return {name: role.calls for name, role in roles.items()}


def events(count: int) -> dict[str, Calls]:
    """The calls of some events to two members, one event after the other, by role."""
    aleph = CONTENDERS["aleph"].clients.module()
    with ExitStack() as stack:
        hub, sender, members = (
            stack.enter_context(Role(name)) for name in ("hub", "sender", "members")
        )
        port = hub.run(_listening())
        say = sender.run(aleph.master(port, {}))
        heard = threading.Semaphore(0)
        for _ in range(_MEMBERS):
            members.run(aleph.observer(port, {}, heard.release))

        def several(times: int) -> None:
            for number in range(times):
                sender.run(say(number))
                for _ in range(_MEMBERS):
                    assert heard.acquire(timeout=60)

        roles = {"sender": sender, "hub": hub, "members": members}
        several(_WARM)
        _count(roles, lambda: several(count))
    return {name: role.calls for name, role in roles.items()}


async def _listening() -> int:
    from alephscript.hub import Hub

    # Heartbeats would be counted, and never left: the process ends with its hub.
    hub = await Hub(port=0, ping_interval=_DAY).__aenter__()
    return int(hub.url.rpartition(":")[2])


def _count(roles: dict[str, Role], work: Callable[[], None]) -> None:
    for role in roles.values():
        role.count(counting=True)
    work()
    for role in roles.values():
        role.count(counting=False)


def table(title: str, roles: dict[str, Calls], count: int, *, functions: bool) -> str:
    """A line for each role, and one for each of its functions if that is wanted."""
    lines = [f"| {title} | calls |", "| --- | ---: |"]
    total = 0.0
    for name, calls in roles.items():
        calls.pop("", None)
        each = calls.total() / count
        total += each
        lines.append(f"| **{name}** | **{each:.1f}** |")
        if functions:
            lines += [
                f"| {function} | {made / count:.2f} |"
                for function, made in calls.most_common()
                if made / count >= _SELDOM
            ]
    lines.append(f"| **all** | **{total:.1f}** |")
    return "\n".join(lines)


_SELDOM = 0.02


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.calls",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--package", type=Path, help="the folder that holds another version")
    parser.add_argument("--count", type=int, default=500, help="requests, and events; 500")
    parser.add_argument("--in-flight", type=int, default=1, help="requests at a time; 1")
    parser.add_argument("--functions", action="store_true", help="count each function, too")
    options = parser.parse_args()
    sys.modules.update(dict.fromkeys(HIDDEN))  # type: ignore[arg-type]  # None says: not there
    if options.package is not None:
        sys.path.insert(0, str(options.package.resolve()))
    count, functions = options.count, options.functions
    asked = requests(count, options.in_flight)
    sys.stdout.write(table("a request", asked, count, functions=functions) + "\n\n")
    said = events(count)
    sys.stdout.write(table("an event to two members", said, count, functions=functions) + "\n")


if __name__ == "__main__":
    main()
