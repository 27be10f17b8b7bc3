"""The metas that travel are those of the page about the wire."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from sphinx.pycode import ModuleAnalyzer

from alephscript.protocol import events, vocabulary
from alephscript.protocol.vocabulary import MetaKey
from alephscript.testing import InMemoryMesh

pytestmark = pytest.mark.anyio

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
QUESTION = {
    "room": "R",
    "member": "nobody",
    "timeoutMs": 1000,
    "idleMs": 1000,
    "priority": -1,
    "answers": True,
    "wait": True,
    "parts": 1,
    "chain": ["1"],
    "traceparent": TRACEPARENT,
    "tracestate": "a=b",
}


class Recorder:
    """A peer that keeps the events it is sent."""

    def __init__(self) -> None:
        self.events: dict[str, list[Any]] = {}

    def received(self, payload: bytes, ack: int | None) -> None:
        """See `alephscript.Receiver`."""
        del ack
        name, *args = json.loads(payload)
        self.events[name] = args

    def acknowledged(self, number: int, payload: bytes) -> None:
        """See `alephscript.Receiver`."""
        [answer] = json.loads(payload)
        assert answer["success"] is True, number

    def lost(self, reason: str) -> None:
        """See `alephscript.Receiver`."""


def keys(place: str) -> set[str]:
    """The keys of the meta that are said to be in a question, a request or an event."""
    documented = ModuleAnalyzer.for_module(vocabulary.__name__).find_attr_docs()
    return {
        key.value
        for key in MetaKey
        if place in documented["MetaKey", key.name][0].partition(":")[0].split(", ")
    }


async def test_the_metas_have_the_keys_that_the_page_lists() -> None:
    """From an asker to the hub, on to a master, and beside an event of a room."""
    assert keys("question") == QUESTION.keys()
    native = {"usuario": "peer", "protocol": events.PROTOCOL}
    async with InMemoryMesh(log=["R"]) as mesh:
        recorder = Recorder()
        link = await mesh.connect(recorder, namespace="/runtime", auth=None, timeout=1)
        for number, sent in enumerate(
            [
                ["CLIENT_REGISTER", native],
                ["CLIENT_SUSCRIBE", {"room": "R"}],
                ["MAKE_MASTER", {"room": "R", "features": ["X"]}],
                ["ROOM_MESSAGE", {"event": "SAID", "room": "R", "data": 1}],
                ["GET_X", {}],  # the request 1, which the next may name: the peer is its master
                ["GET_X", {}, QUESTION],
            ]
        ):
            link.send(json.dumps(sent).encode(), number)
        await asyncio.sleep(0.01)
        assert recorder.events["GET_X"][1].keys() == keys("request")
        assert recorder.events["SAID"][1].keys() == keys("event")
        retained: list[object] = ["SAID", 2, {"room": "R"} | dict.fromkeys(keys("broadcast"), True)]
        for number, again in enumerate([retained, ["CLIENT_SUSCRIBE", {"room": "R"}]]):
            link.send(json.dumps(again).encode(), 10 + number)
        await asyncio.sleep(0.01)
        told = keys("event") - {"history", "number"} | keys("retained event")
        assert recorder.events["SAID"][1].keys() == told
