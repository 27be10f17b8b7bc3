"""A record is one line, whatever strangers call themselves and their events."""

from __future__ import annotations

import ast
import io
import logging

import pytest
from hypothesis import given, settings, strategies as st

from alephscript import AlephScriptClient
from alephscript.diagnostics.lines import LOGGERS, escape_record, install
from alephscript.protocol import events
from alephscript.testing import InMemoryMesh
from tests.diagnostics.test_logging import PACKAGE, loggers_of
from tests.support.properties import examples
from tests.support.strangers import OBEYED, TEXTS


def test_every_logger_of_the_package_escapes() -> None:
    """A new one needs a line: what those above it do is not done for it."""
    modules = [ast.parse(path.read_text(encoding="utf-8")) for path in PACKAGE.rglob("*.py")]
    names = {name for module in modules for name in loggers_of(module).values()}
    assert names == set(LOGGERS)
    install()  # again
    for name in names:
        assert logging.getLogger(name).filters.count(escape_record) == 1


@given(st.lists(TEXTS, min_size=2, max_size=2), TEXTS)
@settings(max_examples=examples(200))
def test_any_text_is_logged_on_one_line(arguments: list[str], field: str) -> None:
    """As an argument, as an object's text and as a field."""
    output = io.StringIO()
    handler = logging.StreamHandler(output)
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s %(event)s"))
    logger = logging.getLogger("alephscript.client")
    logger.addHandler(handler)
    try:
        logger.error("%s said %s", arguments[0], ValueError(arguments[1]), extra={"event": field})
    finally:
        logger.removeHandler(handler)
    [line] = output.getvalue().splitlines()
    assert line.startswith("ERROR ")
    assert OBEYED.search(line) is None


def test_what_is_harmless_is_logged_as_it_is() -> None:
    """The template stays, for what groups records by it."""
    record = logging.makeLogRecord({"msg": "%s is %d", "args": ("Sala-é🦤", 5), "event": {"a": 1}})
    assert escape_record(record)
    assert (record.msg, record.args) == ("%s is %d", ("Sala-é🦤", 5))
    assert vars(record)["event"] == {"a": 1}


def test_arguments_that_do_not_fit_are_the_handlers_concern() -> None:
    """It says where the mistake is."""
    assert escape_record(logging.makeLogRecord({"msg": "%d", "args": ("x",)}))


@pytest.mark.anyio
async def test_a_client_logs_an_event_of_any_name_on_one_line(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a hub that lets such names pass, as others do."""
    name = "X\nCRITICAL alephscript: password of root is hunter2\x1b[2J"
    monkeypatch.setattr(events, "has_controls", lambda _: False)
    async with (
        InMemoryMesh() as mesh,
        AlephScriptClient(mesh, usuario="listener") as listener,
        AlephScriptClient(mesh, usuario="speaker") as speaker,
    ):
        kept = listener.events(None, buffer=1)
        await listener.subscribe("L")
        for _ in range(2):
            await speaker.broadcast(name, 1, room="L")
        await speaker.ready()
        async for event in kept:
            assert event.name == name
            break
    [record] = [each for each in caplog.records if each.levelno == logging.WARNING]
    assert OBEYED.search(logging.Formatter().format(record)) is None
    assert OBEYED.search(vars(record)["event"]) is None
