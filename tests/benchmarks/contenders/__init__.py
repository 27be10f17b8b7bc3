"""Who is compared: a hub, the clients around it, and bystanders; one file for each kind.

A file has what it has to offer, each with a connection of its own:

- a hub: ``hub(port, options)``, the arguments of a program, or ``serve(port, options)``, a
  coroutine to be run in a process of its own;
- clients: ``clients(role, port, options)``, the arguments of a program that answers like
  `tests.benchmarks.roles`, or coroutines ``requester(port, options) -> Ask``,
  ``master(port, options) -> Say`` and ``observer(port, options, heard)``;
- bystanders: a coroutine ``bystander(port, options) -> Bystander``.

To add one, write the file and a line in `CONTENDERS`.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import shutil
import sys
from collections.abc import Awaitable, Callable, Mapping
from types import ModuleType
from typing import Any, Protocol

import attrs

from tests.benchmarks.machine import ROOT

__all__ = [
    "CONTENDERS",
    "NODE_PEERS",
    "Ask",
    "Bystander",
    "Contender",
    "Options",
    "Say",
    "Side",
    "interpreter",
    "released",
    "which",
]

Options = Mapping[str, Any]
Ask = Callable[[int, str], Awaitable[bool]]
"""Asks question number ``paso`` with a filling; whether the answer was that question's."""
Say = Callable[[int], Awaitable[None]]
"""Says event number ``paso`` to the room."""

NODE_PEERS = ROOT / "tests" / "node"


class Bystander(Protocol):
    """A connection that is there, does nothing and costs its own process little."""

    async def join(self, room: str) -> None:
        """Be in a room."""
        ...

    async def master(self, room: str) -> None:
        """Offer something in a room that nobody asks for."""
        ...

    async def leave(self) -> None:
        """End the connection and wait for the hub to end it, too."""
        ...


def which(name: str) -> str | None:
    """Where a program is, those for administrators included."""
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"]))


@attrs.frozen
class Tool:
    """Something that a contender needs.

    Attributes:
        name: What it is called.
        recipe: How to get it.
        is_there: Whether it is there.
    """

    name: str
    recipe: str
    is_there: Callable[[], bool] = attrs.field(repr=False)


def _module(name: str, recipe: str) -> Tool:
    return Tool(name, recipe, lambda: importlib.util.find_spec(name) is not None)


def _program(name: str, recipe: str) -> Tool:
    return Tool(name, recipe, lambda: which(name) is not None)


@attrs.frozen
class Side:
    """A file of this package.

    Attributes:
        file: Its name.
        tools: What it needs.
        options: What it is told. Understood by all: ``uvloop``, to run on it; ``without``,
            modules that are to be as if not installed; and ``python``, another environment's
            interpreter.
    """

    file: str
    tools: tuple[Tool, ...] = ()
    options: Options = attrs.field(factory=dict, hash=False)

    def module(self) -> ModuleType:
        """The file; it imports what it needs."""
        return importlib.import_module(f"{__name__}.{self.file}")


def interpreter(options: Options) -> list[str]:
    """How the Python of a side is started, from the project's root.

    One of another environment is kept from this project's package: it sees its own alone.
    """
    python = options.get("python")
    return [sys.executable] if python is None else [python, "-I"]


_MASKING = _module("websockets", "pip install 'alephscript[fast]'")
_UVLOOP = _module("uvloop", "pip install 'alephscript[fast]'")
_ORJSON = _module("orjson", "pip install 'alephscript[fast]'")

_ON_UVLOOP = {"uvloop": True}

_ALEPH = Side("aleph", (_MASKING, _UVLOOP, _ORJSON), _ON_UVLOOP)
_PLAIN = Side("aleph", options={"without": ["uvloop", "orjson"]})
_SOCKETIO = Side("socketio")
_TUNED = Side("socketio", (_UVLOOP, _ORJSON), {"orjson": True, **_ON_UVLOOP})
_NODE = Side(
    "node",
    (
        _program("node", "apt-get install nodejs npm"),
        Tool("socket.io", "npm ci --prefix tests/node", (NODE_PEERS / "node_modules").is_dir),
    ),
)
_NATS = Side(
    "nats",
    (
        _program("nats-server", "apt-get install nats-server"),
        _module("nats", "pip install nats-py"),
        _UVLOOP,
        _ORJSON,
    ),
    _ON_UVLOOP,
)
_LIMIT_WS = Side("limit_ws", (_MASKING, _UVLOOP, _ORJSON), _ON_UVLOOP)


@attrs.frozen
class Contender:
    """What is measured as one.

    Attributes:
        hub: Its hub.
        clients: Its clients.
        note: What it is, for a reader.
        imports: What a program with such clients imports, if that is to be compared.
        bystanders: Who merely stays connected; the same for all hubs of a protocol.
    """

    hub: Side
    clients: Side
    note: str
    imports: str = ""
    bystanders: Side = Side("light")

    def missing(self) -> list[Tool]:
        """What is not installed."""
        tools = dict.fromkeys((*self.hub.tools, *self.clients.tools))
        return [tool for tool in tools if not tool.is_there()]

    def program(self, role: str, port: int) -> list[str]:
        """What to run for a role: ``hub``, ``bystanders`` or one of the clients'."""
        side = {"hub": self.hub, "bystanders": self.bystanders}.get(role, self.clients)
        module = side.module()
        if role == "hub" and hasattr(module, "hub"):
            return list(module.hub(port, side.options))
        if role != "hub" and hasattr(module, "clients"):
            return list(module.clients(role, port, side.options))
        options = json.dumps(dict(side.options))
        program = ["-m", "tests.benchmarks.roles"]
        if "python" in side.options:
            program = ["-c", _ROLES_ELSEWHERE, str(ROOT)]
        return [*interpreter(side.options), *program, side.file, role, str(port), options]


_ROLES_ELSEWHERE = """
import runpy, sys
sys.path.append(sys.argv.pop(1))  # the last one: the package is the environment's
runpy.run_module("tests.benchmarks.roles", run_name="__main__", alter_sys=True)
"""


def released(python: str | None) -> dict[str, Contender]:
    """An earlier version of ours, to hold this one against.

    Args:
        python: The interpreter of an environment that has it installed, None if there is none.
    """
    given = Tool("an earlier version", "--release REF_OR_FOLDER", lambda: python is not None)
    whole = Side("aleph", (given,), {**_ON_UVLOOP, "python": python})
    # Versions that could use picows are what one without is held against, with it and without.
    lesser = Side("aleph", (given,), {**whole.options, "without": ["picows", "aiofastnet"]})
    return {
        "release": Contender(whole, whole, "an earlier version of ours: --release", "alephscript"),
        "release_lesser": Contender(lesser, lesser, "the same as if picows were not installed"),
    }


CONTENDERS = {
    "aleph": Contender(_ALEPH, _ALEPH, "our hub, our clients", "alephscript"),
    "aleph_plain": Contender(_PLAIN, _PLAIN, "the same without [fast]: on asyncio's own loop"),
    **released(None),
    "aleph+py": Contender(_ALEPH, _SOCKETIO, "our hub, unmodified python-socketio clients"),
    "aleph+node": Contender(_ALEPH, _NODE, "our hub, unmodified Node clients"),
    "socketio": Contender(
        _SOCKETIO, _SOCKETIO, "python-socketio, all defaults, a relay hub", "socketio, aiohttp"
    ),
    "socketio_tuned": Contender(_TUNED, _TUNED, "the same with uvloop and orjson on all sides"),
    "node": Contender(_NODE, _NODE, "socket.io and socket.io-client on Node, the same relay"),
    "nats": Contender(
        _NATS, _NATS, "nats-server; nats-py with uvloop and orjson", "nats", bystanders=_NATS
    ),
    "limit_ws": Contender(
        _LIMIT_WS,
        _LIMIT_WS,
        "a relay on bare frames, a send a frame",
        "alephscript.links.handshake",
        bystanders=_LIMIT_WS,
    ),
}
