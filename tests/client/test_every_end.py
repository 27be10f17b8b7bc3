"""Whatever an application's code raises, its asker hears of it at once, and the next is served."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import attrs
import pytest

from alephscript import (
    AlephScriptClient,
    CapabilityError,
    ConnectionRefused,
    Event,
    Internal,
    Progress,
    Request,
    RequestError,
    State,
    capability,
    on,
)
from alephscript.errors import error_from_answer
from alephscript.hub import Hub
from alephscript.testing import InMemoryMesh

pytestmark = pytest.mark.anyio

SECRET = "the password is 1234"


class Panic(BaseException):
    """A native extension's own, as some raise them."""


class Careless(CapabilityError, code="test_careless"):
    """Forgets its base's constructor."""

    def __init__(self, id: int) -> None:
        self.id = id


class Mute(CapabilityError, code="test_mute"):
    """Cannot be shown as text."""

    def __str__(self) -> str:
        raise Panic(SECRET)


class Broken(CapabilityError, code="test_broken"):
    """Breaks while it is written down."""

    def answer(self) -> dict[str, Any]:
        """Fail."""
        raise Panic(SECRET)


class Unfit(CapabilityError, code="test_unfit"):
    """Writes what is no failure."""

    def answer(self) -> dict[str, Any]:
        """Say that all is well."""
        return {"success": True}


class Computed(CapabilityError, code="test_computed"):
    """Has a property where its base has an attribute."""

    @property
    def details(self) -> list[Any]:  # type: ignore[override]
        """Fail, too."""
        raise KeyError(SECRET)


class Unspeakable(Exception):
    """Cannot be shown in any way."""

    def __str__(self) -> str:
        raise Panic(SECRET)

    __repr__ = __str__

    def __getattr__(self, name: str) -> Any:
        raise Panic(SECRET)


class Demanding(Exception):
    """Cannot be made again without its arguments."""

    def __init__(self, one: int, *, two: int) -> None:
        super().__init__()


class DemandingOwn(CapabilityError, code="test_demanding"):
    """The same, of ours."""

    def __init__(self, one: int, *, two: int) -> None:
        super().__init__(message=f"{one} {two}")


class OtherCancelled(BaseException):
    """As trio's Cancelled is: no Exception, and no asyncio.CancelledError."""

    def __init_subclass__(cls) -> None:
        raise TypeError


def _circle() -> BaseException:
    one, other = ValueError(SECRET), Panic(SECRET)
    one.__cause__, other.__cause__ = other, one
    return one


def _endless() -> BaseException:
    def call() -> None:
        call()

    try:
        call()
    except RecursionError as error:
        return error
    raise AssertionError


def _with_cause() -> BaseException:
    error = ValueError(SECRET)
    error.__cause__ = Panic(SECRET)
    return error


RAISED: dict[str, Callable[[], BaseException]] = {
    "panic": lambda: Panic(SECRET),
    "generator exit": lambda: GeneratorExit(SECRET),
    "stop": lambda: StopIteration(SECRET),
    "stop of many": lambda: StopAsyncIteration(SECRET),
    "group": lambda: ExceptionGroup(SECRET, [ValueError(SECRET)]),
    "group of panics": lambda: BaseExceptionGroup(SECRET, [Panic(SECRET), GeneratorExit()]),
    "cancelled by nobody": lambda: asyncio.CancelledError(SECRET),
    "out of memory": MemoryError,
    "cause": _with_cause,
    "unspeakable": Unspeakable,
    "demanding": lambda: Demanding(1, two=2),
    "demanding own": lambda: DemandingOwn(1, two=2),
    "another library's cancellation": OtherCancelled,
    "out of time": lambda: TimeoutError(SECRET),
    "recursion": _endless,
    "group of cancellations": lambda: BaseExceptionGroup(SECRET, [asyncio.CancelledError()]),
    "circle": _circle,
    "careless": lambda: Careless(5),
    "mute": lambda: Mute(message="oh"),
    "broken": Broken,
    "unfit": Unfit,
    "computed": lambda: Computed.__new__(Computed),
    "details": lambda: CapabilityError("c", "m", [object()]),
    "bytes for words": lambda: CapabilityError("c", b"m"),  # type: ignore[arg-type]
}
OWN_WORDS = {
    "demanding own": "test_demanding",
    "careless": "test_careless",
    "mute": "test_mute",
    "computed": "internal",
}


def make(kind: str) -> BaseException:
    """Make what is to be raised."""
    return RAISED[kind]()


class Bot(AlephScriptClient):
    """Raises what its askers want."""

    rooms = ("R",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.heard: dict[str, list[str]] = {"async": [], "def": [], "many": []}
        self.all_heard = asyncio.Event()

    @capability("ASYNC")
    async def in_task(self, kind: str) -> None:
        """Raise at once."""
        raise make(kind)

    @capability("LATER")
    async def later(self, kind: str) -> None:
        """Raise after having waited."""
        await asyncio.sleep(0)
        raise make(kind)

    @capability("DEF")
    def in_thread(self, kind: str) -> None:
        """Raise in a thread."""
        raise make(kind)

    @capability("PARTS")
    async def parts(self, kind: str) -> AsyncIterator[int]:
        """Raise after a part."""
        yield 1
        raise make(kind)

    @capability("FINE")
    async def fine(self) -> dict[str, Any]:
        """Serve."""
        return {"ok": 1}

    @capability("REPORT")
    async def report(self, request: Request[Any]) -> dict[str, Any]:
        """Report twice."""
        request.progress(0.1)
        request.progress(0.2)
        await asyncio.sleep(0)
        return {}

    @on("E")
    async def hear(self, event: Event[str]) -> None:
        """Raise at the first."""
        self._hear("async", event.data)

    @on("E")
    def hear_in_thread(self, event: Event[str]) -> None:
        """Raise at the first, in a thread."""
        self._hear("def", event.data)

    @on("E", ordered=False)
    async def hear_many(self, event: Event[str]) -> None:
        """Raise at the first, in a task of its own."""
        self._hear("many", event.data)

    def _hear(self, who: str, kind: str) -> None:
        if kind in RAISED:
            raise make(kind)
        self.heard[who].append(kind)


@pytest.fixture
async def bot() -> AsyncIterator[Bot]:
    """A bot on a mesh of its own."""
    async with InMemoryMesh() as mesh, Bot(mesh) as client:
        yield client


@pytest.mark.parametrize("way", ["ASYNC", "LATER", "DEF", "PARTS"])
@pytest.mark.parametrize("kind", RAISED)
async def test_whatever_a_method_raises_its_asker_hears_at_once(
    kind: str, way: str, bot: Bot, caplog: pytest.LogCaptureFixture
) -> None:
    """Without a deadline that could end the wait, and without a word of the exception."""
    with pytest.raises(RequestError) as raised:
        await bot.request(way, kind, timeout=None)
    assert raised.value.code == OWN_WORDS.get(kind, "internal")
    if raised.value.code == Internal.code:
        (record,) = [each for each in caplog.records if each.levelno == logging.ERROR]
        assert record.incident == raised.value.details[0]["incident"]  # type: ignore[attr-defined]
    assert await bot.request("FINE", timeout=None) == {"ok": 1}
    await bot.close()
    gc.collect()  # asyncio tells of an exception that ended a task when the task is forgotten
    assert [each for each in caplog.records if each.name == "asyncio"] == []
    assert SECRET not in str(raised.value.answer())


@pytest.mark.parametrize("kind", [each for each in RAISED if each != "computed"])
async def test_whatever_a_listener_raises_it_hears_the_next_event(
    kind: str, bot: Bot, caplog: pytest.LogCaptureFixture
) -> None:
    """In order, at once, in a thread."""
    await bot.broadcast("E", kind, room="R")
    await bot.broadcast("E", "next", room="R")
    async with asyncio.timeout(5):
        while list(bot.heard.values()) != [["next"]] * 3:  # noqa: ASYNC110 - threads, too
            await asyncio.sleep(0)
    failed = [each for each in caplog.records if "failed on an event" in each.message]
    assert len(failed) == 3


@pytest.mark.parametrize("kind", ["panic", "generator exit", "group of panics"])
async def test_a_callback_for_progress_may_raise_anything(kind: str, bot: Bot) -> None:
    """The link outlives it, and so does the request."""

    def fail(_: Progress) -> None:
        raise make(kind)

    assert await bot.request("REPORT", on_progress=fail, timeout=None) == {}
    assert await bot.request("FINE", timeout=None) == {"ok": 1}


@pytest.mark.parametrize("kind", ["panic", "generator exit", "group of panics"])
async def test_an_auth_provider_may_raise_anything(kind: str) -> None:
    """The client is refused, and says so."""

    def fail() -> dict[str, Any]:
        raise make(kind)

    async with InMemoryMesh() as mesh:
        with pytest.raises(ConnectionRefused, match="auth provider"):
            await AlephScriptClient(mesh, auth=fail).__aenter__()


def _panics() -> Iterator[float]:
    yield 0.0
    raise Panic


def _raises() -> Iterator[float]:
    raise Panic


@pytest.mark.parametrize(
    "backoff",
    [
        _panics,
        _raises,
        lambda: iter([float("nan")]),
        lambda: iter([-1.0]),
        lambda: iter(["soon"]),
        lambda: None,
    ],
)
async def test_a_backoff_that_fails_is_replaced(
    backoff: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client without one would be gone for good, and nobody told."""
    monkeypatch.setattr("alephscript.client.lifecycle.random.uniform", lambda *_: 0.0)
    async with InMemoryMesh() as mesh:
        await mesh.kill()
        client = AlephScriptClient(mesh, backoff=backoff, retry_open=True)
        opening = asyncio.ensure_future(client.__aenter__())
        async with asyncio.timeout(5):
            while "a backoff failed" not in caplog.text:  # noqa: ASYNC110
                await asyncio.sleep(0)
        await mesh.restart()
        await opening
        assert client.state is State.READY
        await client.close()


async def test_an_error_that_computes_what_the_wire_brings_is_raised_all_the_same() -> None:
    """As a plain CapabilityError."""
    error = error_from_answer({"success": False, "code": "test_computed", "error": "oh"})
    assert (type(error), error.code, error.message) == (CapabilityError, "test_computed", "oh")


class Given:
    """A result that breaks while it is written down."""

    def __getattr__(self, name: str) -> Any:
        raise Panic(SECRET)


def _fail(*_: Any) -> Any:
    raise Panic(SECRET)


@attrs.define
class Converted:
    """Breaks while it is read."""

    n: int = attrs.field(converter=_fail)


@attrs.define
class Validated:
    """Breaks while it is checked."""

    n: int = attrs.field(validator=_fail)


class Writer(AlephScriptClient):
    """Its methods never get to an end of their own."""

    rooms = ("R",)

    @capability("GIVEN")
    async def given(self) -> Any:
        """Return what cannot be written."""
        return {"a": Given()}

    @capability("GIVEN_PART")
    async def given_part(self) -> AsyncIterator[Any]:
        """Yield what cannot be written."""
        yield Given()

    @capability("CONVERTED")
    async def converted(self, payload: Converted) -> None:
        """Take what cannot be read."""

    @capability("VALIDATED")
    def validated(self, payload: Validated) -> None:
        """Take what cannot be checked."""

    @capability("MADE")
    async def made(self) -> Any:
        """Make what cannot be made."""
        return Validated(1)

    @capability("FINE")
    async def fine(self) -> dict[str, Any]:
        """Serve."""
        return {"ok": 1}


@pytest.mark.parametrize("where", ["memory", "websocket", "polling"])
@pytest.mark.parametrize("way", ["GIVEN", "GIVEN_PART", "CONVERTED", "VALIDATED", "MADE"])
async def test_code_around_a_method_may_raise_anything_too(way: str, where: str) -> None:
    """What reads a payload and what writes an answer, on every link."""
    async with contextlib.AsyncExitStack() as stack:
        if where == "memory":
            mesh: Any = await stack.enter_async_context(InMemoryMesh())
            bot = await stack.enter_async_context(Writer(mesh))
        else:
            hub = await stack.enter_async_context(Hub(port=0))
            bot = await stack.enter_async_context(Writer(hub.url, transports=(where,)))
        for ask in (bot.request, _read_all(bot)):
            with pytest.raises(RequestError) as raised:
                await ask(way, {"n": 1}, timeout=None)
            assert raised.value.code in ("internal", "invalid_payload")
            assert SECRET not in str(raised.value)
        assert await bot.request("FINE", timeout=None) == {"ok": 1}


def _read_all(bot: AlephScriptClient) -> Any:
    async def read(*args: Any, **options: Any) -> list[Any]:
        return [part async for part in bot.stream(*args, **options)]

    return read


@pytest.mark.parametrize("transports", [("websocket",), ("polling",)])
@pytest.mark.parametrize("way", ["ASYNC", "DEF", "PARTS"])
async def test_whatever_a_method_raises_is_answered_on_real_links(
    way: str, transports: tuple[str, ...]
) -> None:
    """All kinds, one after the other, on one link."""
    async with Hub(port=0) as hub, Bot(hub.url, transports=transports) as bot:
        for kind in RAISED:
            with pytest.raises(RequestError) as raised:
                await bot.request(way, kind, timeout=None)
            assert raised.value.code == OWN_WORDS.get(kind, "internal")
        assert await bot.request("FINE", timeout=None) == {"ok": 1}


@pytest.mark.parametrize("end", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("way", ["ASYNC", "LATER", "DEF", "E"])
def test_what_ends_a_program_passes(
    end: type[BaseException], way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Out of a method, a thread, a listener."""

    async def main() -> None:
        async with InMemoryMesh() as mesh, Bot(mesh) as bot:
            if way == "E":
                await bot.broadcast("E", "end", room="R")
                await asyncio.Event().wait()
            await bot.request(way, "end", timeout=None)

    monkeypatch.setitem(RAISED, "end", end)
    with pytest.raises(end):
        asyncio.run(main())
