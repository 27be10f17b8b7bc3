"""The API as users write it; checked by mypy and basedpyright, never run."""

from __future__ import annotations

from typing import Any, assert_type

import attrs

from alephscript import (
    AlephScriptClient,
    Event,
    Question,
    Request,
    RequestFor,
    Task,
    TaskStatus,
    capability,
    observe,
    on,
)
from alephscript.aaia import FIAStep, StepFIA, StepResult
from alephscript.hub import Hub
from alephscript.sync import AlephScriptClient as BlockingClient
from alephscript.testing import FaultInjector, InMemoryMesh


@attrs.frozen
class Greeting:
    text: str


@attrs.frozen
class Greet(RequestFor[Greeting], capability="GREET"):
    who: str


class Greeter(AlephScriptClient):
    rooms = ("LOBBY", *observe("STREET"))

    @capability
    async def greet(self, request: Greet) -> Greeting:
        return Greeting(text=request.who)

    @capability("COUNT", timeout=3, aliases=("NUMBER",))
    def count(self, request: Request[Greet]) -> int:
        assert_type(request.payload, Greet)
        assert_type(request.time_remaining(), float)
        return 1

    @capability("RUN")
    async def run(self, request: Request[Greet]) -> Greeting:
        return Greeting(text=request.payload.who)

    @capability("SEND")
    async def send(self, request: Request[Greet]) -> bool:
        assert_type(await request.ask(Greet(who="you"), timeout=1), Greeting)
        assert_type(await request.ask("WHO", {"is": "it"}), dict[str, Any])
        assert_type(await request.ask("WHO", reply=Greeting), Greeting)
        return True

    @on("FIA_STEP", room="STREET")
    async def stepped(self, event: Event[FIAStep]) -> None:
        assert_type(event.data.fia_index, int)


async def answer(question: Question[Greet]) -> Greeting:
    assert_type(question.payload, Greet)
    return Greeting(text=question.payload.who)


async def use(mesh: InMemoryMesh) -> None:
    async with Hub(port=0) as hub, Greeter(hub.url) as greeter, Greeter(mesh):
        assert_type(greeter, Greeter)
        assert_type(await greeter.greet(Greet(who="you")), Greeting)
        assert_type(await greeter.request(Greet(who="you"), timeout=1), Greeting)
        assert_type(await greeter.request(StepFIA(session_id="", fia_index=0)), StepResult)
        assert_type(await greeter.request("GREET", {"who": "you"}), dict[str, Any])
        assert_type(await greeter.submit(Greet(who="you"), key="k"), Task[Greeting])
        assert_type(await (await greeter.submit(Greet(who="you"))).result(), Greeting)
        assert_type(await greeter.submit("GREET", {"who": "you"}), Task[dict[str, Any]])
        assert_type(await greeter.tasks(state="done"), list[TaskStatus])
        assert_type(await greeter.request("GREET", reply=Greeting, timeout=None), Greeting)
        await greeter.request("SEND", on_ask=answer, idle_timeout=1, priority=-1)
        await greeter.request(Greet(who="you"), on_ask=lambda question: question["who"])
        async for event in greeter.events("LOBBY", "GREETED"):
            assert_type(event, Event[Any])


def block(client: BlockingClient) -> None:
    assert_type(client.request(Greet(who="you"), timeout=1), Greeting)
    assert_type(client.request("GREET", {"who": "you"}), dict[str, Any])
    assert_type(client.request("GREET", reply=Greeting, timeout=None), Greeting)
    client.request("SEND", on_ask=answer, idle_timeout=1, priority=-1)
    for part in client.stream(StepFIA(session_id="", fia_index=0), on_progress=print):
        assert_type(part, StepResult)
    assert_type(client.events("LOBBY").next(timeout=1), Event[Any] | None)


async def test(mesh: FaultInjector) -> None:
    async with Greeter(mesh), mesh.observer("LOBBY") as observer:
        assert_type(await observer.expect("GREETED", who="you", within=1), Event[Any])
