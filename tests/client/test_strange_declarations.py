"""What a class declares works, or is refused while it is made; nothing is lost in silence."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import types
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any

import pytest

from alephscript import (
    AlephScriptClient,
    ContractError,
    DeclarationError,
    Event,
    StateError,
    capability,
    observe,
    on,
)
from alephscript.testing import InMemoryMesh

pytestmark = pytest.mark.anyio


async def answer_of(cls: type[AlephScriptClient], payload: Any = None) -> Any:
    """Ask an instance for X."""
    async with InMemoryMesh() as mesh, cls(mesh) as bot:
        return await bot.request("X", payload, timeout=None)


def public_names() -> list[str]:
    """All that the client has, but for what classes are meant to set, and for `run`."""
    client = AlephScriptClient(InMemoryMesh())
    own = {*dir(AlephScriptClient), *vars(client)} - set(dir(object))
    return sorted(each for each in own if each not in ("__annotations__", "__dict__", "run"))


def class_with(**attributes: Any) -> type[AlephScriptClient]:
    """Make a class of these attributes."""
    return type("Bot", (AlephScriptClient,), {"rooms": ("R",), **attributes})


def offered(name: str = "offered") -> Any:
    """Make a capability."""

    async def method(self: Any) -> dict[str, Any]:
        return {"ok": 1}

    method.__name__ = name
    return capability("X")(method)


async def plain_method(self: Any, event: Event[Any]) -> None:
    """Hear an event."""


class TestNames:
    """What the client needs, its subclasses do not take."""

    @pytest.mark.parametrize("name", public_names())
    def test_no_decorated_method_takes_the_name_of_anything_of_the_client(self, name: str) -> None:
        """Of a method, a property, an attribute, a private one."""
        with pytest.raises(DeclarationError, match=name):
            class_with(**{name: offered(name)})

    @pytest.mark.parametrize("name", public_names())
    def test_nor_by_a_mixin(self, name: str) -> None:
        """On either side of the client."""
        mixin = type("Mixin", (), {name: offered(name)})
        for bases in ((mixin, AlephScriptClient), (AlephScriptClient, mixin)):
            with pytest.raises(DeclarationError, match=name):
                type("Bot", bases, {"rooms": observe("R")})

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("state", {}),
            ("state", lambda self: 1),
            ("request", None),
            ("close", 5),
            ("events", ["E"]),
            ("usuario", lambda self: "me"),
            ("sesion", property(lambda self: "1")),
            ("declarations", {}),
            ("rooms", {"R": 1}),
            ("rooms", b"R"),
            ("rooms", 5),
            ("rooms", lambda self: ()),
        ],
    )
    def test_nor_does_another_attribute(self, name: str, value: Any) -> None:
        """A value where the client has a method, and the other way round."""
        with pytest.raises(DeclarationError):
            type("Bot", (AlephScriptClient,), {name: value})

    async def test_a_decorated_method_may_be_called_run(self) -> None:
        """Only programs call that one of the client, and they can say whose they mean."""
        for cls in (
            class_with(run=offered("run")),
            class_with(run=on("E")(plain_method), x=offered()),
        ):
            async with InMemoryMesh() as mesh:
                bot = cls(mesh)
                serving = asyncio.ensure_future(bot.run_forever())
                async with AlephScriptClient(mesh) as client:
                    assert await client.request("X", wait_for_master=True) == {"ok": 1}
                await bot.close()
                await serving
            with pytest.raises(StateError):  # it got as far as that a loop runs here
                AlephScriptClient.run(bot)
        with pytest.raises(DeclarationError, match="run"):
            class_with(run=5)

    async def test_overriding_a_method_is_meant(self) -> None:
        """As documented: `ready`, `close` and the others may be extended."""
        seen = []

        class Bot(AlephScriptClient):
            rooms = ("R",)
            usuario = "me"
            x = offered()

            async def ready(self) -> None:
                seen.append("ready")
                await super().ready()

        assert await answer_of(Bot) == {"ok": 1}
        assert seen == ["ready"]

    @pytest.mark.parametrize("name", ["close", "request", "ready", "events", "_alephscript_close"])
    async def test_nor_does_an_attribute_of_an_instance(self, name: str) -> None:
        """Before there is a link: closing would fail, or wait."""

        class Bot(AlephScriptClient):
            def __init__(self, *args: Any, **kwargs: Any) -> None:
                super().__init__(*args, **kwargs)
                setattr(self, name, 5)

        async with InMemoryMesh() as mesh:
            with pytest.raises(DeclarationError, match=f"self.{name}"):
                await Bot(mesh).__aenter__()

    async def test_no_private_attribute_of_an_instance_is_the_clients(self) -> None:
        """Whatever a subclass sets, the client has names of its own."""
        names = [
            each.removeprefix("_alephscript")
            for each in vars(AlephScriptClient(InMemoryMesh()))
            if each.startswith("_")
        ]
        assert len(names) > 10

        class Bot(AlephScriptClient):
            rooms = ("R",)
            x = offered()

            def __init__(self, *args: Any, **kwargs: Any) -> None:
                super().__init__(*args, **kwargs)
                for name in names:
                    setattr(self, name, "mine")
                self._session = self._close = self._ready = "mine"

        assert await answer_of(Bot) == {"ok": 1}

    def test_names_with_the_clients_prefix_are_refused(self) -> None:
        """There is nothing to be had there."""
        with pytest.raises(DeclarationError, match="_alephscript_"):
            class_with(_alephscript_life=5)


def plain(method: Any) -> Any:
    """Wrap as a trace decorator may: plainly."""

    @functools.wraps(method)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return method(*args, **kwargs)

    return wrapper


def asynchronous(method: Any) -> Any:
    """Wrap as a retry decorator may."""

    @functools.wraps(method)
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        result = method(*args, **kwargs)
        return await result if isinstance(result, Awaitable) else result

    return wrapper


def nameless(method: Any) -> Any:
    """Wrap without functools.wraps."""

    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        result = method(*args, **kwargs)
        return await result if isinstance(result, Awaitable) else result

    return wrapper


def nameless_method(method: Any) -> Any:
    """Wrap without functools.wraps, and with a self."""

    def wrapper(self: Any, *args: Any, **kwargs: Any) -> Any:
        return method(self, *args, **kwargs)

    return wrapper


class Descriptor:
    """Wraps a method as an object does."""

    def __init__(self, method: Any) -> None:
        self.method = method

    def __get__(self, instance: Any, owner: Any) -> Any:
        return functools.partial(self.method, instance)


class SlottedDescriptor:
    """Wraps a method as an object does, and has no dictionary."""

    __slots__ = ("func",)

    def __init__(self, method: Any) -> None:
        self.func = method

    def __get__(self, instance: Any, owner: Any) -> Any:
        return functools.partial(self.func, instance)


WRAPPERS: list[Callable[[Any], Any]] = [
    plain,
    asynchronous,
    nameless,
    nameless_method,
    Descriptor,
    SlottedDescriptor,
    functools.partialmethod,
    staticmethod,
    classmethod,
    property,
    functools.cached_property,
    functools.partial,
    functools.cache,
    functools.lru_cache(maxsize=5),
    functools.singledispatch,
    functools.singledispatchmethod,
    contextlib.contextmanager,
    contextlib.asynccontextmanager,
    lambda method: plain(asynchronous(method)),
]


async def in_task(self: Any, payload: dict[str, Any]) -> dict[str, Any]:
    """Serve in a task."""
    return {"got": payload["n"]}


def in_thread(self: Any, payload: dict[str, Any]) -> dict[str, Any]:
    """Serve in a thread."""
    return {"got": payload["n"]}


def in_parts(self: Any, payload: dict[str, Any]) -> Any:
    """Serve by what another method makes."""
    return in_task(self, payload)


async def parts(self: Any, payload: dict[str, Any]) -> AsyncIterator[Any]:
    """Serve in parts."""
    yield payload["n"]


@pytest.mark.parametrize("above", [True, False], ids=["above", "below"])
@pytest.mark.parametrize("wrap", WRAPPERS)
@pytest.mark.parametrize("method", [in_task, in_thread, in_parts, parts])
async def test_a_wrapped_method_works_or_is_refused(method: Any, wrap: Any, above: bool) -> None:
    """In whatever it is wrapped, on whichever side of the decorator."""
    body = types.FunctionType(
        method.__code__, globals(), "x", method.__defaults__, method.__closure__
    )
    body.__annotations__ = dict(method.__annotations__)
    body.__qualname__ = "Bot.x"
    try:
        decorated = wrap(capability("X")(body)) if above else capability("X")(wrap(body))
        cls = class_with(x=decorated, fine=capability("FINE")(offered()))
    except DeclarationError:
        return
    answer = await answer_of(cls, {"n": 5})
    assert answer in ({"got": 5}, {"result": [5]})


@pytest.mark.parametrize("above", [True, False], ids=["above", "below"])
@pytest.mark.parametrize("wrap", WRAPPERS)
async def test_a_wrapped_listener_hears_or_is_refused(wrap: Any, above: bool) -> None:
    """No event is lost to a coroutine that nobody awaits."""
    heard: list[int] = []

    done = asyncio.Event()

    async def hear(self: Any, event: Event[int]) -> None:
        heard.append(event.data)
        done.set()

    hear.__qualname__ = "Bot.hear"
    try:
        decorated = wrap(on("E")(hear)) if above else on("E")(wrap(hear))
        cls = type("Bot", (AlephScriptClient,), {"rooms": observe("R"), "hear": decorated})
    except DeclarationError:
        return
    async with InMemoryMesh() as mesh, cls(mesh) as bot:
        await bot.broadcast("E", 5, room="R")
        async with asyncio.timeout(5):
            await done.wait()
    assert heard == [5]


def _no_self() -> None: ...
def _only_keywords(*, payload: Any) -> None: ...
def _variadic(self: Any, *args: Any) -> None: ...
def _all_variadic(*args: Any, **kwargs: Any) -> None: ...


@pytest.mark.parametrize("method", [_no_self, _only_keywords, _variadic, _all_variadic])
def test_a_signature_that_does_not_tell_is_refused(method: Any) -> None:
    """As a capability and as a listener."""
    for decorate in (capability("X"), on("E")):
        with pytest.raises(DeclarationError):
            decorate(method)


@pytest.mark.parametrize(
    "options",
    [
        {"aliases": "STEP"},
        {"aliases": {"A": 1}},
        {"aliases": [5]},
        {"aliases": None},
        {"aliases": [""]},
        {"room": {"R": 1}},
        {"room": b"R"},
        {"room": 5},
        {"room": [["R"]]},
        {"timeout": float("nan")},
        {"timeout": float("inf")},
        {"timeout": "5"},
        {"timeout": True},
        {"max_in_flight": 1.5},
        {"max_in_flight": float("nan")},
        {"max_in_flight": "2"},
        {"queue": float("inf")},
        {"queue": None},
        {"queue": True},
    ],
)
def test_an_option_of_another_kind_is_refused(options: dict[str, Any]) -> None:
    """By the decorator, as a mistake of the declaration."""

    async def method(self: Any) -> None: ...

    with pytest.raises(DeclarationError):
        capability("X", **options)(method)


@pytest.mark.parametrize("room", [5, ["R"], b"R", "", {"R": 1}])
def test_a_listeners_room_is_one_name(room: Any) -> None:
    """As written."""
    with pytest.raises(DeclarationError):
        on("E", room=room)


@pytest.mark.parametrize("features", ["STEP", b"STEP", {"STEP": 1}, [5], 5, [""]])
async def test_features_are_a_sequence_of_names(features: Any) -> None:
    """A text would be as many capabilities as it has letters."""
    async with InMemoryMesh() as mesh, AlephScriptClient(mesh) as client:
        with pytest.raises(ContractError, match="features"):
            await client.make_master("R", features)
        assert await client.discover() == []


@pytest.mark.parametrize("features", [("A",), ["A"], {"A"}, (each for each in "A")])
async def test_any_sequence_of_names_will_do(features: Iterable[str]) -> None:
    """Lists, sets and generators, too."""
    async with InMemoryMesh() as mesh, AlephScriptClient(mesh) as client:
        await client.make_master("R", features)  # type: ignore[arg-type]
        assert [offer.capability for offer in await client.discover()] == ["A"]


class Roomless(AlephScriptClient):
    """Offers something nowhere."""

    x = offered()


class Observing(Roomless):
    """Offers something nowhere, either: it only looks at a room."""

    rooms = observe("HALL")


@pytest.mark.parametrize(
    ("cls", "told"),
    [
        (Roomless, "memory/runtime; no room offers X: its class has no `rooms`"),
        (Observing, "memory/runtime, in HALL; no room offers X: it only observes its rooms"),
    ],
)
async def test_capabilities_that_no_room_offers_are_told(
    cls: type[AlephScriptClient], told: str, caplog: pytest.LogCaptureFixture
) -> None:
    """In the line that says that the client is ready."""
    caplog.set_level(logging.INFO, "alephscript.client")
    async with InMemoryMesh() as mesh, cls(mesh):
        pass
    (line,) = [each.message for each in caplog.records if "is ready" in each.message]
    assert line == f"{cls.__name__} is ready: {told}"
    caplog.clear()
    assert await answer_of(class_with(x=offered())) == {"ok": 1}
    (line,) = [each.message for each in caplog.records if "is ready" in each.message]
    assert line == "Bot is ready: memory/runtime, masters R, offers X"
