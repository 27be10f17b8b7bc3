"""Calls that cannot be meant: each is refused with a sentence that says what to write."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import pytest

from alephscript import AlephScriptClient, AlephScriptError, RequestFor
from alephscript.testing import InMemoryMesh

pytestmark = pytest.mark.anyio


@attrs.frozen
class Reply:
    """A reply."""

    text: str


@attrs.frozen
class Q(RequestFor[Reply], capability="Q"):
    """A request."""

    who: str


async def _drain(stream: Any) -> None:
    async for _ in stream:
        pass


CALLS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "a class": (lambda c: c.request(Q), "Q is a class: give an instance of it, Q(…)"),
    "a class, streamed": (
        lambda c: _drain(c.stream(Q)),
        "Q is a class: give an instance of it, Q(…)",
    ),
    "nothing": (
        lambda c: c.request(None),
        "a request is the name of a capability, or an instance of a RequestFor, and not None",
    ),
    "a number": (
        lambda c: c.request(5),
        "a request is the name of a capability, or an instance of a RequestFor, and not an int",
    ),
    "text seconds": (
        lambda c: c.request("Q", timeout="5"),
        "not a valid request: timeout: a number of seconds, or None, and not a str",
    ),
    "text seconds, streamed": (
        lambda c: _drain(c.stream("Q", timeout="5")),
        "not a valid request: timeout: a number of seconds, or None, and not a str",
    ),
    "text seconds of a survey": (
        lambda c: c.survey(timeout="5"),
        "not a valid survey: timeout: a number of seconds, or None, and not a str",
    ),
    "text seconds of a drain": (
        lambda c: c.drain("5"),
        "not a valid drain: timeout: a number of seconds, or None, and not a str",
    ),
    "a duration in place of a position": (
        lambda c: c.subscribe("R", since="10m"),
        "not a valid subscribe: since: a Position, and not a str; events(room, since=…) takes more",
    ),
}


@pytest.mark.parametrize("name", CALLS)
async def test_a_call_that_cannot_be_meant_says_what_to_write(name: str) -> None:
    """At once, and sends nothing."""
    call, sentence = CALLS[name]
    async with InMemoryMesh() as mesh, AlephScriptClient(mesh) as client:
        with pytest.raises(AlephScriptError) as caught:
            await call(client)
    assert str(caught.value) == sentence


@pytest.mark.parametrize("option", ["timeout", "connect_timeout"])
def test_text_seconds_are_refused_by_the_constructor(option: str) -> None:
    """Before they meet a clock."""
    with pytest.raises(AlephScriptError, match=f"{option}: a number of seconds"):
        AlephScriptClient(**{option: "5"})  # type: ignore[arg-type]


@pytest.mark.parametrize("option", ["usuario", "sesion"])
def test_a_name_is_a_text(option: str) -> None:
    """Before it is put together with another one."""
    with pytest.raises(AlephScriptError, match=f"{option}: a text, and not an int"):
        AlephScriptClient(**{option: 5})  # type: ignore[arg-type]
