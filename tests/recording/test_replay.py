"""What was recorded is asked again: on a mesh in memory, on our hub, on stock hubs of Node."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import attrs
import pytest

from alephscript import (
    AlephScriptClient,
    AlephScriptError,
    CapabilityError,
    Event,
    Request,
    Secret,
    aaia,
    capability,
    on,
)
from alephscript.recording import Recording, Report, read_recording, record, replay
from alephscript.testing import HubMesh, InMemoryMesh
from examples.persefon_bot import PersefonBot

pytestmark = pytest.mark.anyio

Flow = Callable[[AlephScriptClient], Awaitable[None]]


@attrs.frozen
class Login:
    """Somebody comes."""

    user: str
    password: Annotated[str, Secret()]


@attrs.frozen
class Opened:
    """Somebody is there."""

    session_id: str
    token: Annotated[str, Secret()]
    greeting: str


@attrs.frozen
class Sparse:
    """Less is told."""

    session_id: str


class Shop(AlephScriptClient):
    """A shop whose answers depend on what was before."""

    rooms = ("SHOP",)
    price = 3
    greeting = "hello"

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.sessions: dict[str, list[str]] = {}
        self.heard = 0
        self.gate = asyncio.Event()

    @on("RAIN")
    async def rain(self, _: Event[Any]) -> None:
        """It rains."""
        self.heard += 1

    @capability("LOGIN")
    async def login(self, request: Login) -> Opened:
        """Come in."""
        session = uuid.uuid4().hex[:12]
        self.sessions[session] = []
        await self.broadcast("OPENED", {"sessionId": session})
        return Opened(session, "secret-token", f"{self.greeting} {request.user}")

    @capability("BUY")
    async def buy(self, request: dict[str, Any]) -> dict[str, Any]:
        """Buy something."""
        if request["sessionId"] not in self.sessions:
            raise CapabilityError("no_session", f"there is no session {request['sessionId']}")
        self.sessions[request["sessionId"]].append(request["what"])
        return {"price": self.price, "all": self.sessions[request["sessionId"]]}

    @capability("WEATHER")
    async def weather(self) -> dict[str, int]:
        """How often it has rained."""
        return {"rained": self.heard}

    @capability("COUNT")
    async def count(self, request: dict[str, int]) -> Any:
        """Count."""
        for number in range(request["to"]):
            yield number

    @capability("CONFIRM")
    async def confirm(self, request: Request[Any]) -> dict[str, Any]:
        """Ask back."""
        answer = await request.ask("SURE", {"about": "it"})
        return {"is_sure": answer["sure"]}

    @capability("WAIT")
    async def wait(self) -> dict[str, Any]:
        """Wait for somebody who opens."""
        await self.gate.wait()
        return {"waited": True}

    @capability("OPEN")
    async def open(self) -> dict[str, Any]:
        """Let those go on who wait."""
        self.gate.set()
        return {}


@pytest.fixture
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait no longer for events that do not come."""
    monkeypatch.setattr("alephscript.recording.player._EVENT_SECONDS", 0.05)


async def recorded(flow: Flow, *bots: type[AlephScriptClient]) -> Recording:
    """A recording of what a client did with bots."""
    lines: list[bytes] = []
    began = asyncio.Event()
    async with InMemoryMesh() as mesh:
        recording = asyncio.ensure_future(
            record(mesh, ["*"], lines.append, opened=lambda _: began.set())
        )
        try:
            await asyncio.wait_for(began.wait(), 5)
            opened = [await cls(mesh).__aenter__() for cls in bots]
            async with AlephScriptClient(mesh, usuario="ana", sesion="1") as client:
                await flow(client)
            for bot in opened:
                await bot.close()
        finally:
            recording.cancel()
            await asyncio.gather(recording, return_exceptions=True)
    return read_recording(lines)


async def verified(recording: Recording, cls: type[AlephScriptClient], **options: Any) -> Report:
    """What comes of asking a class in memory."""
    async with InMemoryMesh() as mesh:
        return await replay(recording, cls, mesh, **options)


async def visit(client: AlephScriptClient) -> None:
    """Most of what can be asked of a shop."""
    opened = await client.request("LOGIN", {"user": "ana", "password": "geheim"})
    session = {"sessionId": opened["sessionId"]}
    await client.request("BUY", {**session, "what": "tea"})
    await asyncio.gather(*[client.request("BUY", {**session, "what": each}) for each in "abc"])
    with pytest.raises(CapabilityError):
        await client.request("BUY", {"sessionId": "nobody's", "what": "tea"})
    await client.broadcast("RAIN", {}, room="SHOP")
    await client.request("WEATHER", {})
    assert [part async for part in client.stream("COUNT", {"to": 3})] == [0, 1, 2]
    await client.request("CONFIRM", {}, on_ask=lambda _: {"sure": True})
    waiting = asyncio.ensure_future(client.request("WAIT", {}))
    await asyncio.sleep(0)
    await client.request("OPEN", {})
    await waiting


async def test_the_same_class_answers_the_same() -> None:
    """Sessions have new names, a secret is not known, some wait for others: no difference."""
    report = await verified(await recorded(visit, Shop), Shop)
    assert (report.differences, report.breaks, report.notes) == ([], [], [])
    assert (report.compared, report.not_compared) == (11, {})
    assert {*report.timings} == {"LOGIN", "BUY", "WEATHER", "COUNT", "CONFIRM", "WAIT", "OPEN"}


async def test_a_version_that_answers_otherwise_is_found() -> None:
    """By request and place; what is to be ignored is no difference."""

    class Dearer(Shop):
        price = 4

        @capability("COUNT")
        async def count(self, request: dict[str, int]) -> Any:
            yield 0
            yield 2

    recording = await recorded(visit, Shop)
    report = await verified(recording, Dearer)
    found = [(each.capability, each.path, each.then, each.now) for each in report.differences]
    assert found == [
        *[("BUY", "price", "3", "4")] * 4,
        ("COUNT", "parts.1", "1", "2"),
        ("COUNT", "parts.2", "2", None),
    ]
    report = await verified(recording, Dearer, ignore=["price", "parts"])
    assert report.is_same


async def test_no_secret_is_in_a_recording() -> None:
    """Of requests, of answers, of what repeats them."""

    class Talkative(Shop):
        @capability("LOGIN")
        async def login(self, request: Login) -> Opened:
            raise CapabilityError("wrong", f"{request.password}?", [{"tried": request.password}])

    async def come(client: AlephScriptClient) -> None:
        with pytest.raises(CapabilityError):
            await client.request("LOGIN", {"user": "ana", "password": "geheim"})

    for recording in (await recorded(visit, Shop), await recorded(come, Talkative)):
        text = repr(recording.records)
        assert "geheim" not in text
        assert "secret-token" not in text
        assert "[redacted]" in text


@pytest.mark.usefixtures("hurry")
async def test_an_answer_that_hangs_on_a_secret_is_not_compared() -> None:
    """Since another secret was asked."""

    class Strict(Shop):
        @capability("LOGIN")
        async def login(self, request: Login) -> Opened:
            if request.password != "geheim":
                raise CapabilityError("wrong", "wrong password")
            return await super().login(request)

    async def come(client: AlephScriptClient) -> None:
        await client.request("LOGIN", {"user": "ana", "password": "geheim"})

    report = await verified(await recorded(come, Strict), Strict)
    assert report.is_same
    assert report.not_compared == {"a secret of the request is not in the recording": 1}


@pytest.mark.usefixtures("hurry")
async def test_breaks_in_schemas_are_found() -> None:
    """A field that is asked for, one that is gone, a capability that is gone."""

    class Other(AlephScriptClient):
        rooms = ("SHOP",)

        @capability("LOGIN")
        async def login(self, request: Login) -> Sparse:
            return Sparse("1")

    async def come(client: AlephScriptClient) -> None:
        await client.request("LOGIN", {"user": "ana", "password": "geheim"})

    report = await verified(await recorded(come, Shop), Other)
    assert "SET_LOGIN has no greeting any more" in report.breaks
    assert "SHOP has no BUY any more" in report.breaks
    assert not report.is_same


async def test_what_a_class_asks_others_is_answered_as_it_was() -> None:
    """By a stand-in, so that the class needs no other program."""

    class Bank(AlephScriptClient):
        rooms = ("BANK",)

        @capability("CHARGE")
        async def charge(self, request: dict[str, int]) -> dict[str, Any]:
            if request["amount"] > 10:
                raise CapabilityError("too_dear", "that is too much")
            return {"receipt": f"r-{request['amount']}"}

    class Till(AlephScriptClient):
        rooms = ("TILL",)
        opened = ""

        async def on_connected(self) -> None:
            receipt = await self.request("CHARGE", {"amount": 7}, wait_for_master=True)
            self.opened = receipt["receipt"]

        @capability("PAY")
        async def pay(self, request: dict[str, int]) -> dict[str, Any]:
            try:
                return await self.request("CHARGE", {"amount": request["amount"]})
            except CapabilityError as error:
                return {"failed": error.code, "opened": self.opened}

    async def pay(client: AlephScriptClient) -> None:
        for amount in (1, 20, 3):
            await client.request("PAY", {"amount": amount})
        with pytest.raises(CapabilityError):
            await client.request("CHARGE", {"amount": 20})

    report = await verified(await recorded(pay, Bank, Till), Till)
    assert (report.differences, report.compared) == ([], 3)
    assert report.not_compared == {f"{Till.__qualname__} does not master the room": 1}


async def test_cancelled_and_lost_requests_are_not_compared() -> None:
    """Nobody knows what they would have been answered."""

    async def give_up(client: AlephScriptClient) -> None:
        waiting = asyncio.ensure_future(client.request("WAIT", {}))
        await asyncio.sleep(0)
        await client.request("WEATHER", {})
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await client.request("WEATHER", {})

    report = await verified(await recorded(give_up, Shop), Shop)
    assert (report.compared, report.is_same) == (2, True)
    assert report.not_compared == {"it had no answer then: cancelled": 1}


@pytest.mark.usefixtures("hurry")
async def test_events_that_are_said_no_more_are_noted() -> None:
    """They are no difference: answers are."""

    class Silent(Shop):
        async def broadcast(self, event: str, *args: Any, **options: Any) -> Any:
            return None

    async def come(client: AlephScriptClient) -> None:
        await client.request("LOGIN", {"user": "ana", "password": "geheim"})

    report = await verified(await recorded(come, Shop), Silent)
    assert report.is_same
    assert report.notes == ["OPENED was said 1 times more often than now"]


async def test_whoever_asked_and_said_has_the_same_name() -> None:
    """A class may answer by it."""

    class Polite(AlephScriptClient):
        rooms = ("SHOP",)
        speaker = ""

        @on("RAIN")
        async def rain(self, event: Event[Any]) -> None:
            self.speaker = event.sender

        @capability("GREET")
        async def greet(self, request: Request[Any]) -> dict[str, str]:
            return {"hello": request.caller, "spoke": self.speaker}

    async def greet(client: AlephScriptClient) -> None:
        await client.broadcast("RAIN", {}, room="SHOP")
        assert (await client.request("GREET", {}))["spoke"] == "ana1"

    report = await verified(await recorded(greet, Polite), Polite)
    assert (report.differences, report.compared) == ([], 1)


async def test_a_task_is_asked_as_a_request() -> None:
    """Its hub had asked for it."""

    async def submit(client: AlephScriptClient) -> None:
        task = await client.submit("WEATHER", {})
        assert await task.result() == {"rained": 0}

    report = await verified(await recorded(submit, Shop), Shop)
    assert (report.differences, report.compared) == ([], 1)


async def test_a_recording_in_which_nothing_was_asked_is_refused() -> None:
    """A comparison of nothing would pass for a good one."""

    async def say(client: AlephScriptClient) -> None:
        await client.broadcast("RAIN", {}, room="SHOP")

    with pytest.raises(AlephScriptError, match="no request in it"):
        await verified(await recorded(say, Shop), Shop)


async def test_a_class_of_other_rooms_is_refused() -> None:
    """With the rooms that were recorded."""

    class Elsewhere(AlephScriptClient):
        rooms = ("OTHER",)

        @capability("X")
        async def x(self) -> None:
            """Nothing."""

    recording = await recorded(visit, Shop)
    with pytest.raises(AlephScriptError, match="masters none of the rooms recorded: SHOP"):
        await verified(recording, Elsewhere)


async def seeds_flow(client: AlephScriptClient) -> None:
    """The seed's flow: apps, session, FIA, percepto, eferencia, mundo, the end."""
    await client.request(aaia.GetApps())
    opened = await client.request(aaia.CreateSession(app_id="demo-logica"))
    session = opened.session_id
    await client.request(aaia.ListSessions())
    await client.request(aaia.ListFIAs(session_id=session))
    percepto = aaia.Percepto(tipo=aaia.TipoPercepto.COMANDO, payload={"query": "mortal(X)"})
    await client.request(aaia.SendPercepto(session_id=session, percepto=percepto))
    await client.request(aaia.StepFIA(session_id=session, fia_index=0))
    await client.request(aaia.GetEferencia(session_id=session, fia_index=0))
    await client.request(aaia.QueryMundo(session_id=session))
    await client.request(aaia.DestroySession(session_id=session))


async def test_the_seeds_flow_is_the_same_in_memory_and_on_our_hub() -> None:
    """PersefonBot, recorded and asked again."""
    recording = await recorded(seeds_flow, PersefonBot)
    async with InMemoryMesh() as memory, HubMesh() as hub:
        for mesh in (memory, hub):
            report = await replay(recording, PersefonBot, mesh)
            assert (report.differences, report.breaks, report.not_compared) == ([], [], {})
            assert report.compared == 9


@pytest.mark.peers
async def test_the_seeds_flow_is_the_same_on_stock_hubs(stock_hub: str) -> None:
    """Of Node, in either dialect of theirs."""
    recording = await recorded(seeds_flow, PersefonBot)
    report = await replay(recording, PersefonBot, stock_hub)
    assert (report.differences, report.breaks, report.not_compared) == ([], [], {})
    assert report.compared == 9


async def test_what_others_say_is_not_taken_for_the_words_of_the_class() -> None:
    """Of one name: an asker may have waited for that of the class."""

    class Ticking(AlephScriptClient):
        rooms = ("SHOP",)
        ticks = 0

        @on("TICK")
        async def tick(self, event: Event[Any]) -> None:
            if event.data["by"] == "ana":
                await asyncio.sleep(0.02)
                self.ticks += 1
                await self.broadcast("TICK", {"by": "shop"})

        @capability("TICKS")
        async def count(self) -> int:
            return self.ticks

    async def tick(client: AlephScriptClient) -> None:
        await client.subscribe("SHOP")
        for _ in range(3):
            stream = client.events("SHOP", "TICK")
            await client.broadcast("TICK", {"by": "ana"}, room="SHOP")
            assert [(await anext(stream)).data["by"] for _ in range(2)] == ["ana", "shop"]
            await client.request("TICKS", {})
            stream.close()

    report = await verified(await recorded(tick, Ticking), Ticking)
    assert (report.differences, report.notes, report.compared) == ([], [], 3)
