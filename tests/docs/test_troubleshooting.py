"""The messages on the page about troubles are those that the package makes."""

from __future__ import annotations

import ast
import asyncio
import logging
import re
from collections.abc import Awaitable

import attrs
import pytest

from alephscript import AlephScriptClient, RequestFor, capability, sync
from alephscript.hub import Hub, SharedToken
from tests.support.pages import DOCS
from tests.support.tools import ROOT

pytestmark = pytest.mark.anyio

PAGE = (DOCS / "how-to" / "troubleshoot.md").read_text(encoding="utf-8")
MESSAGES = re.findall(r"^### `(.+)`$", PAGE, re.MULTILINE)

READ = (
    # Minutes, floods, browsers and missing packages: these are looked up where they are made.
    "… waits for its hub at …: …",
    "refused a page: its … is …; … adds one",
    "a hub needs …; install it with …",
    "there is no link to the hub at the moment; nothing was sent [not_connected]",
    "a reader of … is too slow: dropping its oldest",
    "an event … was dropped (…), its sender not told; GET /mesh counts such events",
)


@attrs.frozen
class Greet(RequestFor[str], capability="GREET"):
    """Asks for a greeting."""

    who: str


class Greeter(AlephScriptClient):
    """Fails, or never answers, if asked to."""

    rooms = ("LOBBY",)

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.has_begun = asyncio.Event()

    @capability
    async def greet(self, request: Greet) -> str:
        """Greet somebody."""
        if request.who == "needle":
            raise ValueError(request.who)
        if request.who == "lost":
            self.has_begun.set()
        await asyncio.Event().wait()
        return ""


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """The only one that there is."""
    return "asyncio"


@pytest.fixture(scope="module")
async def said() -> list[str]:
    """All that is said when everything goes wrong, in errors and in logs."""
    records = _Lines()
    logger = logging.getLogger("alephscript")
    logger.addHandler(records)
    errors = [await _refusal(doing) for doing in _troubles()]
    async with Hub(port=0) as hub:
        errors += [await _refusal(doing) for doing in _mistakes(hub)]
        async with Greeter(hub.url) as bot, AlephScriptClient(hub.url) as client:
            errors += [await _refusal(doing) for doing in _requests(client)]
            lost = asyncio.ensure_future(client.request(Greet("lost"), timeout=30))
            await bot.has_begun.wait()
            await bot.close()
            errors.append(await _refusal(lost))
        errors.append(await _refusal(client.request("GREET")))
    logger.removeHandler(records)
    return [*errors, *records.texts]


async def _open(*arguments: object, **options: object) -> None:
    async with AlephScriptClient(*arguments, **options):  # type: ignore[arg-type]
        pass


async def _guarded() -> None:
    async with Hub(port=0, access=SharedToken("a secret of some length")) as hub:
        await _open(hub.url)


async def _elsewhere(host: str, port: int) -> None:
    async with Hub(host=host, port=port):
        pass


def _troubles() -> list[Awaitable[object]]:
    """Without a hub, or with one that refuses."""
    return [
        _open("http://127.0.0.1:9"),
        _open(3010),
        _guarded(),
        _elsewhere("0.0.0.0", 0),
    ]


def _mistakes(hub: Hub) -> list[Awaitable[object]]:
    """With a hub that would take a member."""

    async def call(function: object) -> None:
        assert callable(function)
        function()

    port = int(hub.url.rpartition(":")[2])
    return [
        _open(hub.url, namespace="/runtme"),
        _open(f"{hub.url}/elsewhere"),
        _open(hub.url.replace("http:", "https:")),
        _elsewhere("127.0.0.1", port),
        call(Greeter(hub.url).run),
        call(sync.AlephScriptClient(hub.url).open),
        AlephScriptClient(hub.url).request("GREET"),
    ]


def _requests(client: AlephScriptClient) -> list[Awaitable[object]]:
    """With a bot that is asked wrongly."""
    return [
        client.request("OTHER"),
        client.request("GRET"),
        client.request("GREET", {"who": "you"}, room="LOBY"),
        client.request("GRET", room="LOBBY"),
        client.request("GREET", {"wo": "you"}),
        client.request(Greet("slow"), timeout=0.1),
        client.request(Greet("needle")),
        client.request(Greet),  # type: ignore[call-overload]
    ]


async def _refusal(doing: Awaitable[object]) -> str:
    try:
        await doing
    except Exception as error:  # noqa: BLE001 - whatever a user would see
        return str(error)
    raise AssertionError(f"{doing} went well")


class _Lines(logging.Handler):
    """Keeps what is logged, without tracebacks."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


@pytest.mark.parametrize("message", [each for each in MESSAGES if each not in READ])
async def test_a_message_on_the_page_is_one_that_is_seen(message: str, said: list[str]) -> None:
    """Word by word, but for what differs."""
    pattern = re.compile(".*".join(map(re.escape, message.split("…"))), re.DOTALL)
    assert any(map(pattern.fullmatch, said)), said


@pytest.mark.parametrize("message", READ)
def test_a_message_that_takes_minutes_is_in_the_source(message: str) -> None:
    """As one literal, with what is put in."""
    assert message in MESSAGES
    text = re.sub(r" \[\w+\]$", "", message)  # the code is its class's
    pattern = re.compile(".*".join(map(re.escape, text.split("…"))))
    assert any(pattern.match(each) for each in _literals())


def _literals() -> list[str]:
    found = []
    for file in (ROOT / "alephscript").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                found.append(
                    "".join(
                        str(part.value) if isinstance(part, ast.Constant) else "…"
                        for part in node.values
                    )
                )
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return found
