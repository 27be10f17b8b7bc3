"""The directives ``hub-events`` and ``meta-keys``: tables of the wire, from what the code says."""  # noqa: INP001

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import StrEnum
from typing import Any, ClassVar

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.pycode import ModuleAnalyzer
from sphinx.util.docutils import SphinxDirective

from alephscript.protocol.vocabulary import HubEvent, MetaKey

__all__ = ["HubEvents", "MetaKeys", "setup"]


class HubEvents(SphinxDirective):
    """One row an event: name, who sends it to whom, payload, what comes of it."""

    has_content: ClassVar[bool] = False

    def run(self) -> list[nodes.Node]:
        """See docutils."""
        rows = []
        for event in HubEvent:
            way, text = _described(event)
            # A payload that the hub translates has two forms, with an arrow between.
            payload = re.match(r"`[^`]*`(?: → `[^`]*`)?", text)
            assert payload is not None, f"{event} does not say its payload"
            meaning = text[payload.end() :].strip()
            rows.append((f"`{event}`", way, payload[0].replace("`any`", "any JSON"), meaning))
        return _table(self, ("event", "from → to", "payload", "meaning"), rows)


class MetaKeys(SphinxDirective):
    """One row a key: name, with what it is found, what it says."""

    has_content: ClassVar[bool] = False

    def run(self) -> list[nodes.Node]:
        """See docutils."""
        rows = []
        for key in MetaKey:
            places, text = _described(key)
            unknown = set(places.split(", ")) - _PLACES.keys()
            assert not unknown, f"{key} is in {unknown}"
            where = ", ".join(_PLACES[each] for each in places.split(", "))
            rows.append((f"`{key}`", where, text))
        return _table(self, ("key", "with", "meaning"), rows)


_PLACES = {
    "question": "question to the hub",
    "request": "request to a master",
    "run": "run of a task",
    "event": "event of a room",
    "retained event": "retained event",
    "broadcast": "event that is to be said",
}
"""Where a key of the meta is found, and the words of the table for that."""


def _described(member: StrEnum) -> tuple[str, str]:
    """What stands before the first colon of an enum member's docstring, and what after it."""
    documented = ModuleAnalyzer.for_module(type(member).__module__).find_attr_docs()
    lines = documented[type(member).__name__, member.name]
    head, colon, text = " ".join(lines).replace("``", "`").strip().partition(": ")
    assert colon, f"{member!r} does not say where it belongs"
    return head, text


def _table(
    directive: SphinxDirective, head: tuple[str, ...], rows: Iterable[tuple[str, ...]]
) -> list[nodes.Node]:
    lines = [f"| {' | '.join(row)} |" for row in (head, ("---",) * len(head), *rows)]
    parsed = nodes.container()
    directive.state.nested_parse(StringList(lines, "wire-tables"), 0, parsed)
    return list(parsed.children)


def setup(app: Any) -> dict[str, Any]:
    """See Sphinx."""
    app.add_directive("hub-events", HubEvents)
    app.add_directive("meta-keys", MetaKeys)
    return {"parallel_read_safe": True}
