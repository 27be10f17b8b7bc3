"""A hub that answers anything to anything, and says what it likes meanwhile.

Each question of a client ends in a value or in an error of this package, and the link outlives it.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from unittest import mock

import pytest
from hypothesis import given, settings, strategies as st

from alephscript import AlephScriptClient, AlephScriptError, Event, Request, State, capability, on
from alephscript.cli import main, options
from alephscript.links.transport import Link, Receiver
from alephscript.protocol import events
from alephscript.protocol.events import HubEvent
from alephscript.protocol.json import parse_json
from tests.support.properties import examples
from tests.support.strangers import JSON, OBEYED


class OddHub:
    """A transport to a hub that is fine until it has taken the client in.

    Args:
        answer: What each question is acknowledged with after that, a JSON array or anything.
        said: Events that it says before each answer.
        protocol: What it says that it speaks.
        join: What it answers to joining.
    """

    url = "http://127.0.0.1:1"

    def __init__(
        self, answer: Any, said: list[Any], protocol: Any = events.PROTOCOL, join: Any = None
    ) -> None:
        self._answer, self._said = answer, said
        self._welcome = {"success": True, "protocol": protocol}
        self._join = self._welcome if join is None else join
        self._closed = False

    async def connect(
        self, receiver: Receiver, *, namespace: str, auth: Any, timeout: float
    ) -> Link:
        """Open the only link."""
        self._receiver = receiver
        return self

    def send(self, payload: bytes, ack: int | None = None) -> None:
        """Answer in the next turn of the loop."""
        event = parse_json(payload)[0]
        asyncio.get_running_loop().call_soon(self._react, event, ack)

    def acknowledge(self, ack: int, payload: bytes) -> None:
        """Do not care."""

    async def close(self) -> None:
        """End."""
        if not self._closed:
            self._closed = True
            self._receiver.lost("closed")

    def _react(self, event: str, ack: int | None) -> None:
        answer = self._answer
        if event == HubEvent.CLIENT_REGISTER:
            answer = [self._welcome]
        elif event in (HubEvent.CLIENT_SUBSCRIBE, HubEvent.MAKE_MASTER):
            answer = [self._join]
        else:
            for number, each in enumerate(self._said):
                self._receiver.received(json.dumps(each).encode(), number)
        if ack is not None:
            self._receiver.acknowledged(ack, json.dumps(answer).encode())


class Bot(AlephScriptClient):
    """Offers and listens."""

    rooms = ("R",)

    @capability("X")
    async def x(self, request: Request[dict[str, Any]]) -> dict[str, Any]:
        """Serve."""
        request.progress(0.5)
        return {"got": request.payload}

    @on("E")
    async def hear(self, event: Event[Any]) -> None:
        """Hear."""


NAMES = st.sampled_from(
    [*HubEvent, "GET_X", "GET_MEMBER_INFO", "GET_MEMBER_STATS", "SET_X", "E", "GAP", "NEAR"]
)
KEYS = st.sampled_from(
    ["id", "room", "caller", "sender", "timeoutMs", "number", "request", "parts", "chain", "reason"]
)
META = st.dictionaries(KEYS, JSON | st.integers(-2, 3), max_size=6)
SAID = st.lists(
    st.tuples(NAMES, JSON | META, META | JSON).map(list)
    | st.tuples(NAMES, JSON | META).map(list)
    | JSON.map(lambda each: each if isinstance(each, list) else [each]),
    max_size=4,
)
FIELDS = st.sampled_from(["offers", "members", "rooms", "success", "error", "code", "omitted"])
_OF_OFFERS = ["room", "capability", "masters", "group", "epoch", "request", "reply", "summary"]
_OF_MEMBERS = ["id", "name", "usuario", "sesion", "capabilities"]
_OF_ROOMS = ["roomId", "miembros", "features", "master"]
_NAMED = st.dictionaries(st.sampled_from(["name", "id"]), JSON, max_size=2)
INNER = st.dictionaries(
    st.sampled_from([*_OF_OFFERS, *_OF_MEMBERS, *_OF_ROOMS]),
    JSON | st.lists(_NAMED, max_size=2),
    max_size=5,
)
ANSWERS = (
    st.dictionaries(FIELDS, JSON | st.lists(INNER | JSON, max_size=3), max_size=4).map(
        lambda each: [each]
    )
    | JSON
)
JOIN = st.dictionaries(
    st.sampled_from(["success", "history", "number", "missed", "protocol"]),
    JSON | st.sampled_from([True]),
    max_size=4,
)


async def _read_all(bot: AlephScriptClient) -> list[Any]:
    return [part async for part in bot.stream("X")]


ASKED: dict[str, Callable[[AlephScriptClient], Awaitable[Any]]] = {
    "request": lambda bot: bot.request("X", {"a": 1}),
    "stream": _read_all,
    "server_state": lambda bot: bot.server_state(),
    "discover": lambda bot: bot.discover(),
    "survey": lambda bot: bot.survey(),
    "survey of stats": lambda bot: bot.survey("stats"),
    "subscribe": lambda bot: bot.subscribe("R"),
    "unsubscribe": lambda bot: bot.unsubscribe("R"),
    "make_master": lambda bot: bot.make_master("R"),
    "resign": lambda bot: bot.resign("R"),
    "register": lambda bot: bot.register("other"),
}


@given(ANSWERS, SAID, JOIN, st.sampled_from([events.PROTOCOL, None, 5]))
@settings(max_examples=examples(400))
def test_each_question_ends_and_the_link_outlives_it(
    answer: Any, said: list[Any], join: Mapping[str, Any], protocol: Any
) -> None:
    """Whatever comes, in whichever dialect."""

    async def ask() -> None:
        failed: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, what: failed.append(what))
        bot = Bot(OddHub(answer, said, protocol, {**join, "success": True}), timeout=2)
        with contextlib.suppress(AlephScriptError):  # its word on joining may be no JSON
            async with asyncio.timeout(30), bot:
                for way in ASKED.values():
                    with contextlib.suppress(AlephScriptError):
                        await way(bot)
                    assert bot.state is State.READY
        assert failed == []

    asyncio.run(ask())


COMMANDS = [
    *(["state"], ["state", "--json"], ["capabilities"], ["capabilities", "--json"]),
    *(
        ["top", "--once"],
        ["request", "X"],
        ["request", "X", "--stream"],
        ["request", "X", "--wait"],
    ),
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@given(ANSWERS, SAID, st.sampled_from([events.PROTOCOL, None]))
@settings(max_examples=examples(100))
def test_each_command_prints_or_says_why_not(
    command: list[str], answer: Any, said: list[Any], protocol: Any
) -> None:
    """A hub of others is no traceback, and nothing that it says is obeyed."""

    def make(_: str, **given: Any) -> AlephScriptClient:
        return AlephScriptClient(OddHub(answer, said, protocol), **given)

    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
    with (
        mock.patch.object(options, "AlephScriptClient", make),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        code = main([*command, *(["--timeout", "2"] if command[0] == "request" else [])])
        out.flush()
        err.flush()
    printed = [stream.buffer.getvalue().decode() for stream in (out, err)]
    assert OBEYED.search("".join(printed).replace("\n", "")) is None
    assert (code == 0) == (printed[1] == ""), printed
    assert code == 0 or printed[1].count("\n") == 1
    assert sys.stdout is not out
