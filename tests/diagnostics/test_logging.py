"""What is logged is documented, has fields, and is nobody's secret."""

from __future__ import annotations

import ast
import gc
import logging
import re
import traceback
from pathlib import Path
from typing import Any, NamedTuple

import attrs
import pytest

import alephscript
from alephscript import (
    AlephScriptClient,
    CapabilityError,
    Event,
    LinkLost,
    RequestError,
    capability,
    on,
)
from alephscript.diagnostics.redaction import as_logged, redacted
from alephscript.hub import Access, Handshake, Hub, Identity
from alephscript.testing import InMemoryMesh
from tests.support.meshes import MeshUnderTest
from tests.support.strangers import OBEYED

pytestmark = pytest.mark.anyio

PACKAGE = Path(alephscript.__file__).parent
TABLE = PACKAGE.parent / "docs" / "reference" / "logging.md"
LEVELS = ("debug", "info", "warning", "error", "critical", "exception", "log")
TOKEN, MARK = "TOKEN-c0ffee", "MARK-5ca1ab1e"


class Logged(NamedTuple):
    """A call that logs, or the line of the table that tells of it."""

    level: str
    logger: str
    message: str
    fields: tuple[str, ...]


def loggers_of(module: ast.Module) -> dict[str, str]:
    """The loggers of a module, by the name of the variable."""
    return {
        node.targets[0].id: node.value.args[0].value  # type: ignore[attr-defined]
        for node in ast.walk(module)
        if isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Call)
        and ast.unparse(node.value.func) == "logging.getLogger"
    }


def calls_of(path: Path) -> list[Logged]:
    """What a module logs."""
    gc.disable()  # what it runs meanwhile can confuse the parser of CPython 3.11 (gh-106905)
    try:
        module = ast.parse(path.read_text(encoding="utf-8"))
    finally:
        gc.enable()
    loggers = loggers_of(module)
    assert all(name.startswith("alephscript.") for name in loggers.values())
    found = []
    for node in ast.walk(module):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        asked = ast.unparse(node.func.value)
        if node.func.attr not in LEVELS or asked not in {*loggers, "logging"}:
            continue
        where = f"{path}:{node.lineno}"
        assert asked in loggers, f"{where} logs to nobody's logger"
        message = ast.literal_eval(node.args[0])
        given = {each.arg: each.value for each in node.keywords}
        fields = given.get("extra")
        assert isinstance(fields, ast.Dict), f"{where} has no fields"
        told = given.get("exc_info")
        # A client may tell what its own exceptions say; a hub may not, and what runs in it.
        fit = "as_logged(" if "client" in path.parts else "redacted("
        assert told is None or ast.unparse(told).startswith(fit), f"{where} tells all"
        names = tuple(str(each.value) for each in fields.keys if isinstance(each, ast.Constant))
        level = node.func.attr.upper()
        found.append(Logged(level, loggers[asked], message, names))
    return found


def test_the_table_tells_of_every_call_that_logs() -> None:
    """And of none that is not there."""
    called = [call for path in sorted(PACKAGE.rglob("*.py")) for call in calls_of(path)]
    line = re.compile(r"^\| ([A-Z]+) \| `(.+)` \| `(.+)` \| (.+) \|$", re.MULTILINE)
    told = [
        Logged(level, logger, message, tuple(re.findall(r"`(\w+)`", fields)))
        for level, logger, message, fields in line.findall(TABLE.read_text())
    ]
    assert sorted(told) == sorted(called)


@attrs.frozen
class Order:
    """What has a shape."""

    count: int
    note: str


class Shop(AlephScriptClient):
    """Does what can be done wrong with an order."""

    rooms = ("SHOP",)

    @capability("TAKE")
    async def take(self, order: Order) -> dict[str, Any]:
        """Say it back."""
        return {"note": order.note}

    @capability("REFUSE")
    async def refuse(self, order: Order) -> None:
        """Quote it."""
        raise CapabilityError("refused", f"not {order}", [{"note": order.note}])

    @capability("BREAK")
    async def fail(self, order: Order) -> None:
        """Quote it by mistake."""
        raise ValueError(f"cannot handle {order}") from KeyError(order.note)

    @on("SAID")
    async def hear(self, event: Event[Any]) -> None:
        """Quote that, too."""
        raise ValueError(event.data)


def all_that_is_told(record: logging.LogRecord) -> str:
    """Everything that a handler can make of a record."""
    return f"{logging.Formatter().format(record)} {record.args!r} {record.__dict__!r}"


async def test_no_record_tells_a_payload_or_a_token(
    mesh: MeshUnderTest,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Whatever becomes of the request, at the lowest level, if its master redacts."""
    caplog.set_level(logging.DEBUG, "alephscript")
    await mesh.open(Shop, auth={"token": TOKEN}, redact_errors=True)
    asker: AlephScriptClient = await mesh.open(auth=lambda: {"token": TOKEN})
    order = {"count": 1, "note": MARK}
    assert await asker.request("TAKE", order) == {"note": MARK}
    codes = []
    for name, payload in (
        ("REFUSE", order),
        ("BREAK", order),
        ("TAKE", {"count": MARK, "note": 1}),
        ("TAKE", MARK),
        ("NOTHING", order),
    ):
        with pytest.raises(RequestError) as caught:
            await asker.request(name, payload)
        codes.append(caught.value.code)
    assert codes == ["refused", "internal", "invalid_payload", "invalid_payload", "no_master"]
    await mesh.end()
    records = [each for each in caplog.records if each.name.startswith("alephscript")]
    levels = {each.levelname for each in records}
    assert levels >= ({"ERROR", "INFO"} if mesh.kind == "memory" else {"ERROR", "INFO", "DEBUG"})
    for record in records:
        told = all_that_is_told(record)
        assert TOKEN not in told
        assert MARK not in told


async def test_a_failure_says_which_request_it_was(
    mesh: MeshUnderTest,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """By fields, with the number that its asker was told."""
    await mesh.open(Shop)
    asker: AlephScriptClient = await mesh.open()
    with pytest.raises(RequestError) as caught:
        await asker.request("BREAK", {"count": 1, "note": MARK})
    [record] = [each for each in caplog.records if each.levelno == logging.ERROR]
    incident = caught.value.details[0]["incident"]
    assert record.getMessage() == f"BREAK failed (ValueError), incident {incident}"
    told = record.__dict__
    assert (told["capability"], told["room"], told["incident"], told["code"]) == (
        "BREAK",
        "SHOP",
        incident,
        "internal",
    )
    assert told["request_id"].isdecimal()
    formatted = logging.Formatter().format(record)
    assert f"\nKeyError: '{MARK}'\n" in formatted
    assert 'raise ValueError(f"cannot handle {order}")' in formatted
    assert formatted.endswith(f"\nValueError: cannot handle Order(count=1, note='{MARK}')")
    assert MARK not in str(caught.value.answer())


@pytest.mark.parametrize(
    ("variable", "argument", "redacts"),
    [
        (None, None, False),
        ("0", None, False),
        ("", None, False),
        ("1", None, True),
        ("yes", None, True),
        ("1", False, False),
        (None, True, True),
        ("0", True, True),
    ],
)
async def test_a_log_that_may_not_have_texts_is_told_once(
    variable: str | None,
    argument: bool | None,
    redacts: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """By the environment, or by the client, which is asked first."""
    monkeypatch.delenv("ALEPHSCRIPT_REDACT", raising=False)
    if variable is not None:
        monkeypatch.setenv("ALEPHSCRIPT_REDACT", variable)
    async with InMemoryMesh() as mesh, Shop(mesh, redact_errors=argument) as shop:
        with pytest.raises(RequestError):
            await shop.request("BREAK", {"count": 1, "note": MARK})
        await shop.broadcast("SAID", MARK)
        with pytest.raises(RequestError):
            await shop.request("NOTHING")  # the event has been heard by then
        await shop.close()
    failed = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert [each.getMessage().partition(" (")[0] for each in failed] == [
        "BREAK failed",
        "Shop.hear failed on an event",
    ]
    for record in failed:
        assert ("Traceback" in logging.Formatter().format(record)) is True
        assert (MARK not in all_that_is_told(record)) is redacts


async def test_a_provider_that_fails_says_why(caplog: pytest.LogCaptureFixture) -> None:
    """In the log; the error that its client raises has the type alone."""

    def provide() -> dict[str, Any]:
        raise RuntimeError(f"{TOKEN} has expired")

    with pytest.raises(alephscript.ConnectionRefused) as caught:
        async with AlephScriptClient("http://127.0.0.1:1", auth=provide):
            pass
    assert str(caught.value).endswith("the auth provider failed (RuntimeError); the log says where")
    [record] = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert logging.Formatter().format(record).endswith(f"\nRuntimeError: {TOKEN} has expired")


async def test_a_provider_that_fails_tells_no_token(caplog: pytest.LogCaptureFixture) -> None:
    """Where the log may have no texts: an exception may quote what it was about to give."""

    def provide() -> dict[str, Any]:
        raise RuntimeError(f"{TOKEN} has expired")

    with pytest.raises(alephscript.ConnectionRefused):
        async with AlephScriptClient("http://127.0.0.1:1", auth=provide, redact_errors=True):
            pass
    [record] = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert record.getMessage() == "the auth provider of AlephScriptClient failed"
    assert "RuntimeError" in all_that_is_told(record)
    assert TOKEN not in all_that_is_told(record)


def lines_of(exc: BaseException) -> str:
    """A traceback, as a log shows it."""
    return "".join(traceback.format_exception(redacted(exc)))


def test_a_traceback_shows_groups_without_what_they_say() -> None:
    """A task group's exception is of no use without its members."""
    group = BaseExceptionGroup(MARK, [ValueError(MARK), ExceptionGroup(MARK, [OSError(MARK)])])
    told = lines_of(group)
    assert "ValueError" in told
    assert "OSError" in told
    assert MARK not in told


def test_a_traceback_of_exceptions_in_a_circle_ends() -> None:
    """As those of retries can be, if somebody puts them together by hand."""
    one, other = ValueError(MARK), KeyError(MARK)
    one.__context__, other.__context__ = other, one
    told = lines_of(one)
    assert "KeyError" in told
    assert MARK not in told


def plain_lines(exc: BaseException) -> list[str]:
    """A traceback with its texts, as a log shows it."""
    shown = as_logged(exc, redact=False)
    return "".join(traceback.format_exception(shown)).splitlines()


def test_an_exception_that_is_fit_to_be_shown_is_itself() -> None:
    """For what looks at its class: debuggers, services that collect errors."""
    error = ExceptionGroup("two", [KeyError("a\nb"), OSError(2, "no such file")])
    error.__cause__ = ValueError("é🦤")
    assert as_logged(error, redact=False) is error


def broken() -> Exception:
    """An exception whose text cannot be made."""

    class Broken(Exception):
        """Fails once more."""

        def __str__(self) -> str:
            raise RuntimeError

    return Broken("\x1b[2J")


def noted() -> Exception:
    """An exception to which somebody has added what a stranger says."""
    error = ValueError("harmless")
    error.add_note("one\nCRITICAL forged\x1b[2J")
    return error


def unread() -> Exception:
    """An exception that a traceback shows together with the line that cannot be read."""
    with pytest.raises(SyntaxError) as caught:
        ast.parse("x = \x1b[2J\nCRITICAL forged")
    return caught.value


def endless() -> Exception:
    """An exception at the end of a long chain, whose beginning is hostile."""
    error = ValueError("\x1b[2J")
    for _ in range(40):
        following = ValueError("harmless")
        following.__context__ = error
        error = following
    return error


@pytest.mark.parametrize(
    "error",
    [
        ValueError("needle\nCRITICAL forged\x1b[2J"),
        ExceptionGroup("g\x1b[2J", [OSError("one\r\nCRITICAL forged\x9b2J")]),
        broken(),
        noted(),
        unread(),
        endless(),
    ],
)
def test_no_text_of_an_exception_is_obeyed_or_passes_for_a_record(error: Exception) -> None:
    """It is what strangers sent: escaped, and its later lines are indented."""
    lines = plain_lines(error)
    assert not any(line.startswith("CRITICAL") for line in lines)
    assert OBEYED.search("".join(lines)) is None
    assert any(type(error).__name__ in line for line in lines)
    assert ("needle" in repr(error)) is any("ValueError: needle" in line for line in lines)


class Failing(Access):
    """Lets everybody in, and fails at whatever they do."""

    def authenticate(self, auth: Any, handshake: Handshake) -> Identity:
        """Let them in."""
        return Identity()

    def authorize(self, identity: Identity, action: str, room: str, name: str) -> bool:
        """Quote it by mistake."""
        raise ValueError(f"{MARK} {name}")


@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_a_rule_that_fails_ends_the_connection_and_tells_no_text(
    transport: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Not by the loggers of asyncio and uvicorn, either."""
    caplog.set_level(logging.INFO)
    async with (
        Hub(port=0, access=Failing()) as hub,
        AlephScriptClient(hub.url, transports=(transport,)) as client,
    ):
        with pytest.raises(LinkLost):
            await client.request("X", room="R")
    [record] = [each for each in caplog.records if each.levelno == logging.ERROR]
    formatted = logging.Formatter().format(record)
    assert record.name == "alephscript.hub"
    assert "in authorize" in formatted
    assert formatted.endswith("\nValueError")
    assert MARK not in f"{caplog.text} {formatted}"
