"""Random faults for a while, with a history of what happened: ``python -m tests.faults.soak``."""

from __future__ import annotations

import argparse
import asyncio
import random
import resource
import sys
from collections import Counter
from typing import Any

import attrs

from alephscript import AlephScriptClient, Event, RequestError, capability, master, observe, on
from alephscript.hub import Hub
from tests.support.lines import Line


@attrs.define
class History:
    """What was asked, what was run, what was heard, and how it ended.

    Attributes:
        ends: How each request ended, by its number; a list because it must be one.
        runs: How often each request was run.
        heard: By listener and speaker, the numbers heard, in order.
    """

    ends: dict[int, list[str]] = attrs.Factory(dict)
    runs: Counter[int] = attrs.Factory(Counter)
    heard: dict[tuple[str, str], list[int]] = attrs.Factory(dict)

    def faults(self) -> list[str]:
        """What must not have happened."""
        found = [
            f"request {number} ended {len(ends)} times"
            for number, ends in self.ends.items()
            if len(ends) != 1
        ]
        found += [
            f"request {number} ran {runs} times" for number, runs in self.runs.items() if runs > 1
        ]
        found += [
            f"{number} was answered and never run"
            for number, ends in self.ends.items()
            if ends == ["answered"] and not self.runs[number]
        ]
        for (listener, speaker), numbers in self.heard.items():
            if numbers != sorted(set(numbers)):
                found.append(f"{listener} heard {speaker} out of order or twice")
        return found


def at_once() -> Any:
    """Delays between attempts to reconnect: hardly any."""
    while True:
        yield random.uniform(0, 0.05)


class Worker(AlephScriptClient):
    """Notes what it runs."""

    rooms = master("WORK", group="shared")

    def __init__(self, url: str, history: History) -> None:
        super().__init__(url, backoff=at_once)
        self._history = history

    @capability("RUN", max_in_flight=20, queue=50)
    async def run_once(self, number: int) -> int:
        """Note the number, after a while."""
        self._history.runs[number] += 1
        await asyncio.sleep(random.uniform(0, 0.01))
        return number


class Listener(AlephScriptClient):
    """Notes what it hears."""

    rooms = observe("NEWS")

    def __init__(self, url: str, history: History, name: str) -> None:
        super().__init__(url, usuario=name, backoff=at_once)
        self._history = history

    @on("SAID")
    async def said(self, event: Event[dict[str, Any]]) -> None:
        """Note it."""
        key = (self.usuario, event.data["by"])
        self._history.heard.setdefault(key, []).append(event.data["n"])


class Asker(AlephScriptClient):
    """Asks and says, one after the other."""

    def __init__(self, url: str, history: History, name: str) -> None:
        super().__init__(url, usuario=name, backoff=at_once)
        self._history = history

    async def go_on(self, numbers: range) -> None:
        """Ask and say until there are no numbers left, or it is cancelled."""
        for number in numbers:
            ends = self._history.ends.setdefault(number, [])
            try:
                answer = await self.request("RUN", number, timeout=5)
                ends.append("answered" if answer == {"result": number} else "wrong")
                said = {"by": self.usuario, "n": number}
                await self.broadcast("SAID", said, room="NEWS")
            except RequestError as error:
                if not ends:
                    ends.append(error.code)
                await asyncio.sleep(0.01)
            except asyncio.CancelledError:
                if not ends:
                    ends.append("cancelled")
                raise


async def soak(seconds: float, seed: int) -> tuple[History, dict[str, Any]]:
    """Run a mesh on lines that are cut, stalled and closed at random.

    Returns:
        What happened, and figures of what is left.
    """
    rng = random.Random(seed)
    history = History()
    async with Hub(port=0, ping_interval=0.5, ping_timeout=0.5) as hub:
        lines = [Line(hub._port) for _ in range(4)]
        urls = [await line.open() for line in lines]
        clients: list[AlephScriptClient] = [Worker(url, history) for url in urls[:2]]
        clients += [Listener(url, history, f"l{n}") for n, url in enumerate(urls)]
        askers = [Asker(url, history, f"a{n}") for n, url in enumerate(urls)]
        clients += askers
        await asyncio.gather(*(each.__aenter__() for each in clients))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        going = [
            asyncio.create_task(asker.go_on(range(lane * 10**7, (lane + 1) * 10**7)))
            for asker in askers
            for lane in [askers.index(asker)]
        ]
        async with asyncio.timeout(seconds + 60):
            end = asyncio.get_running_loop().time() + seconds
            while asyncio.get_running_loop().time() < end:
                await asyncio.sleep(rng.uniform(0.02, 0.2))
                line = rng.choice(lines)
                fault = rng.choice(["cut", "cut", "stall", "replace"])
                if fault == "cut":
                    line.cut()
                elif fault == "stall":
                    line.stall()
                    asyncio.get_running_loop().call_later(rng.uniform(0.01, 1.5), line.flow)
                else:
                    await clients[0].close()
                    clients[0] = await Worker(rng.choice(urls), history).__aenter__()
            for line in lines:
                line.flow()
            for task in going:
                task.cancel()
            await asyncio.gather(*going, return_exceptions=True)
            await asyncio.gather(*(each.ready() for each in clients))
            for each in clients:
                while each._alephscript_service is not None and len(each._alephscript_service):  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            left = {
                "hub's open requests": hub._engine.in_flight,
                "pending": sum(
                    len(each._alephscript_session._channel.pending)
                    for each in clients
                    if each._alephscript_session
                ),
            }
        await asyncio.gather(*(each.close() for each in clients))
        for line in lines:
            await line.close()
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return history, {**left, "grown kB": grown}


def main() -> int:
    """Soak for some minutes."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    options = parser.parse_args()
    history, left = asyncio.run(soak(options.minutes * 60, options.seed))
    ends = Counter(end for each in history.ends.values() for end in each)
    print(f"seed {options.seed}: {dict(ends)}, left {left}")  # noqa: T201
    for fault in history.faults():
        print(fault)  # noqa: T201
    return bool(history.faults())


if __name__ == "__main__":
    sys.exit(main())
