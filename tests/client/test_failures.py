"""How a request fails: by the capability, the payload, the time, the master, the hub, the asker."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import attrs
import pytest

from alephscript import (
    AlephScriptClient,
    CapabilityError,
    Closed,
    ContractError,
    DeadlineExceeded,
    Internal,
    InvalidPayload,
    LinkLost,
    MasterLost,
    NoMaster,
    RequestError,
    RequestFor,
    UnknownCapability,
    UnknownEvent,
    capability,
)
from alephscript.errors import AlephScriptError

pytestmark = pytest.mark.anyio

SECRET = "the password is 1234"


@attrs.frozen
class Order:
    """What is ordered."""

    amount: int
    what: str


@attrs.frozen
class Bill:
    """What it costs."""

    total: int


@attrs.frozen
class Pay(RequestFor[Bill], capability="PAY"):
    """Asks for a bill."""

    amount: int


class SoldOut(CapabilityError, code="test_sold_out"):
    """An application's own error."""


def nested(depth: int) -> Any:
    """A list in a list, so many times."""
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


class Shop(AlephScriptClient):
    """Fails in every way."""

    rooms = ("SHOP",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.orders: list[Order] = []
        self.serving = asyncio.Event()
        self.cancelled = asyncio.Event()

    @capability("FAIL")
    async def fail(self) -> None:
        """Fail in the application's words."""
        raise CapabilityError("out_of_tea", "no tea", [{"cups": 0}], retryable=True)

    @capability("SELL")
    async def sell(self) -> None:
        """Fail by the application's own class."""
        raise SoldOut(message="come tomorrow", details=["closed"])

    @capability("CRASH")
    async def crash(self) -> None:
        """Fail in a way that is nobody's business."""
        raise ValueError(SECRET)

    @capability("CRASH_THREAD")
    def crash_in_thread(self) -> None:
        """Fail in a thread."""
        raise ValueError(SECRET)

    @capability("ASK_NOBODY")
    async def ask_nobody(self) -> dict[str, Any]:
        """Fail because another request failed."""
        return await self.request("NOBODY_HAS_THIS")

    @capability("ORDER")
    async def order(self, order: Order) -> None:
        """Note an order."""
        self.orders.append(order)

    @capability("BAD")
    async def bad(self, what: dict[str, str]) -> Any:
        """Return what has no form on the wire."""
        return {
            "nan": {"x": math.nan},
            "bytes": {"x": b"raw"},
            "deep": {"x": nested(80)},
            "set": {1, 2},
            "object": object(),
        }[what["kind"]]

    @capability("PAY")
    async def pay(self, pay: Pay) -> Bill:
        """Return another type than it declares."""
        return {"total": pay.amount}  # type: ignore[return-value]

    @capability("BILL_AS_TEXT")
    async def bill_as_text(self) -> dict[str, Any]:
        """Return what an asker's contract does not take."""
        return {"total": "much"}

    @capability("FOREVER")
    async def forever(self) -> None:
        """Never answer."""
        await self._never()

    @capability("BRIEF", timeout=0.3)
    async def brief(self) -> None:
        """Never answer, in a time that the shop sets itself."""
        await self._never()

    async def _never(self) -> None:
        self.serving.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.cancelled.set()


async def asked(client: AlephScriptClient, shop: Shop, name: str = "FOREVER") -> asyncio.Task[Any]:
    """A request that the shop is serving by now."""
    task = asyncio.create_task(client.request(name, timeout=30))
    async with asyncio.timeout(5):
        await shop.serving.wait()
    return task


async def failed(task: asyncio.Task[Any], error: type[RequestError]) -> RequestError:
    """How it failed, soon."""
    async with asyncio.timeout(5):
        with pytest.raises(error) as caught:
            await task
    return caught.value


async def test_a_capability_error_crosses_as_it_was_raised(mesh: Any) -> None:
    """Code, message, details and retryable are the application's."""
    await mesh.open(Shop)
    client = await mesh.open()
    with pytest.raises(CapabilityError, match="no tea") as caught:
        await client.request("FAIL")
    assert caught.value.answer() == {
        "success": False,
        "error": "no tea",
        "code": "out_of_tea",
        "retryable": True,
        "details": [{"cups": 0}],
    }


async def test_an_application_s_own_error_is_caught_as_its_class(mesh: Any) -> None:
    """The code finds the class on the asker's side."""
    await mesh.open(Shop)
    client = await mesh.open()
    with pytest.raises(SoldOut, match="come tomorrow") as caught:
        await client.request("SELL")
    assert caught.value.code == "test_sold_out"
    assert caught.value.details == ["closed"]


@pytest.mark.parametrize("name", ["CRASH", "CRASH_THREAD", "ASK_NOBODY"])
async def test_another_exception_crosses_as_an_incident(
    mesh: Any, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The asker learns a number; the number is in the master's log with the traceback."""
    await mesh.open(Shop)
    client = await mesh.open()
    with pytest.raises(Internal) as caught:
        await client.request(name)
    incident = caught.value.details[0]["incident"]
    assert SECRET not in str(caught.value.answer())
    assert "NOBODY_HAS_THIS" not in str(caught.value.answer())
    assert incident in caplog.text
    assert "Traceback" in caplog.text
    assert ("NOBODY_HAS_THIS" if name == "ASK_NOBODY" else SECRET) in caplog.text


async def test_an_invalid_payload_lists_every_problem_and_is_not_served(mesh: Any) -> None:
    """Both fields are wrong, both are named, the method did not run."""
    shop = await mesh.open(Shop)
    client = await mesh.open()
    with pytest.raises(InvalidPayload) as caught:
        await client.request("ORDER", {"amount": "three"})
    assert {problem["path"] for problem in caught.value.details} == {"amount", "what"}
    with pytest.raises(InvalidPayload):
        await client.request("ORDER", [1, 2])
    assert shop.orders == []


@pytest.mark.parametrize("kind", ["nan", "bytes", "deep", "set", "object"])
async def test_a_result_without_a_wire_form_is_internal(mesh: Any, kind: str) -> None:
    """The asker is answered, and the client serves on."""
    shop = await mesh.open(Shop)
    client = await mesh.open()
    with pytest.raises(Internal) as caught:
        await client.request("BAD", {"kind": kind})
    assert caught.value.details[0]["incident"]
    await client.request("ORDER", {"amount": 1, "what": "tea"})
    assert shop.orders == [Order(1, "tea")]


async def test_a_result_of_another_type_than_declared_is_internal(mesh: Any) -> None:
    """A contract is what the annotation promises."""
    await mesh.open(Shop)
    client = await mesh.open()
    with pytest.raises(Internal):
        await client.request(Pay(3))


async def test_an_answer_that_does_not_fit_the_reply_is_a_contract_error(mesh: Any) -> None:
    """It is the asker that finds it."""
    await mesh.open(Shop)
    client = await mesh.open()
    with pytest.raises(ContractError, match="total"):
        await client.request("BILL_AS_TEXT", reply=Bill)


@pytest.mark.parametrize("payload", [{"x": math.nan}, {"x": b"raw"}, {1, 2}, {"x": nested(80)}])
async def test_a_payload_without_a_wire_form_is_never_sent(mesh: Any, payload: Any) -> None:
    """It fails where it is asked, and nothing is left waiting."""
    shop = await mesh.open(Shop)
    client = await mesh.open()
    with pytest.raises((ContractError, RequestError)):
        await client.request("ORDER", payload)
    assert len(client._alephscript_session._channel.pending) == 0
    assert shop.orders == []


async def test_an_event_name_that_peers_do_not_survive_is_refused(mesh: Any) -> None:
    """Requests and broadcasts alike."""
    client = await mesh.open()
    with pytest.raises(UnknownEvent):
        await client.request("X" * 300)
    with pytest.raises(UnknownEvent):
        await client.broadcast("disconnect", room="R")


async def test_a_name_that_the_master_does_not_have_is_unknown(mesh: Any) -> None:
    """The room has a master, and the master says so."""
    await mesh.open(Shop)
    client = await mesh.open()
    with pytest.raises(UnknownCapability, match="STEAL"):
        await client.request("STEAL", room="SHOP")


async def test_a_name_that_nobody_offers_has_no_master(mesh: Any) -> None:
    """Without a room, and in a room that nobody masters."""
    client = await mesh.open()
    with pytest.raises(NoMaster):
        await client.request("STEAL")
    with pytest.raises(NoMaster):
        await client.request("STEAL", room="NOWHERE")


async def test_the_asker_s_time_ends_a_request(mesh: Any) -> None:
    """It is told so, and the capability is told, too."""
    shop = await mesh.open(Shop)
    client = await mesh.open()
    async with asyncio.timeout(5):
        with pytest.raises(DeadlineExceeded):
            await client.request("FOREVER", timeout=0.5)  # in which it begins
        await shop.cancelled.wait()


async def test_the_client_s_time_is_for_requests_that_name_none(mesh: Any) -> None:
    """``timeout=`` of the constructor."""
    await mesh.open(Shop)
    client = await mesh.open(timeout=0.05)
    async with asyncio.timeout(5):
        with pytest.raises(DeadlineExceeded):
            await client.request("FOREVER")


async def test_a_capability_s_own_time_ends_it(mesh: Any) -> None:
    """However long the asker would wait; with None, that is as long as the hub does."""
    shop = await mesh.open(Shop)
    client = await mesh.open()
    async with asyncio.timeout(5):
        with pytest.raises(DeadlineExceeded, match="BRIEF") as caught:
            await client.request("BRIEF", timeout=None)
        await shop.cancelled.wait()
    assert caught.value.details == [{"delivered": True}]


async def test_a_master_that_closes_while_serving_is_lost(mesh: Any) -> None:
    """The asker hears at once, the capability is cancelled."""
    shop = await mesh.open(Shop)
    client = await mesh.open()
    waiting = await asked(client, shop)
    await shop.close()
    error = await failed(waiting, MasterLost)
    assert error.details == [{"delivered": True}]
    assert shop.cancelled.is_set()


async def test_a_hub_that_stops_while_one_waits_is_a_lost_link(mesh: Any) -> None:
    """Whether it ran, nobody knows."""
    shop = await mesh.open(Shop)
    client = await mesh.open()
    waiting = await asked(client, shop)
    await mesh.stop()
    await failed(waiting, LinkLost)


async def test_closing_ends_what_waits_as_closed(mesh: Any) -> None:
    """The asker's own close."""
    shop = await mesh.open(Shop)
    client = await mesh.open()
    waiting = await asked(client, shop)
    await client.close()
    await failed(waiting, Closed)


async def test_a_cancelled_request_leaves_nothing_behind(mesh: Any) -> None:
    """Its late answer is nobody's."""
    shop = await mesh.open(Shop)
    client = await mesh.open()
    waiting = await asked(client, shop)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert len(client._alephscript_session._channel.pending) == 0
    await client.request("ORDER", {"amount": 1, "what": "tea"})
    assert len(client._alephscript_session._channel.pending) == 0


async def test_every_failure_is_an_alephscript_error(mesh: Any) -> None:
    """One except clause takes them all."""
    client = await mesh.open()
    with pytest.raises(AlephScriptError):
        await client.request("STEAL")


@pytest.mark.parametrize(
    "kind", ["surrogate", "keys", "details", "deep details", "raise surrogate", "raise object"]
)
async def test_what_json_refuses_only_at_the_last_moment_is_internal_too(
    mesh: Any, kind: str
) -> None:
    """Whether in a result or in an error's details, the asker is not left waiting."""

    class Odd(AlephScriptClient):
        rooms = ("ODD",)

        @capability("ODD", announce=True)
        async def odd(self, what: dict[str, Any]) -> Any:
            if what["kind"] == "surrogate":
                return {"x": "\ud800"}
            if what["kind"] == "keys":
                return {"x": {(1, 2): 3}}
            message = "\ud800" if what["kind"] == "raise surrogate" else "x"
            details = {"details": math.nan, "deep details": nested(80), "raise object": object()}
            raise CapabilityError("odd", message, [details.get(what["kind"])])

    await mesh.open(Odd)
    client = await mesh.open()
    async with asyncio.timeout(5):
        with pytest.raises(Internal) as caught:
            await client.request("ODD", {"kind": kind}, timeout=60)
    assert caught.value.details[0]["incident"]


async def test_a_capability_whose_own_waiting_was_cancelled_is_internal(mesh: Any) -> None:
    """Nobody cancelled the request, so it is answered."""

    class Waiter(AlephScriptClient):
        rooms = ("WAIT",)

        @capability("WAIT")
        async def wait(self) -> None:
            inner = asyncio.get_running_loop().create_future()
            inner.cancel()
            await inner

    await mesh.open(Waiter)
    client = await mesh.open()
    async with asyncio.timeout(5):
        with pytest.raises(Internal):
            await client.request("WAIT", timeout=60)


async def test_who_has_no_time_left_asks_nobody(mesh: Any) -> None:
    """A capability that is out of time may clean up, but not by asking others."""
    found: list[BaseException] = []

    class Late(AlephScriptClient):
        rooms = ("LATE",)

        @capability("LATE", timeout=0.3)
        async def late(self) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                try:
                    await self.request("LATE")
                except DeadlineExceeded as error:
                    found.append(error)

    await mesh.open(Late)
    client = await mesh.open()
    async with asyncio.timeout(5):
        with pytest.raises(DeadlineExceeded):
            await client.request("LATE")
    assert "no time is left" in str(found[0])
