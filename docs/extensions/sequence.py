"""The directive ``sequence``: a sequence diagram, drawn into the page in its own colours."""  # noqa: INP001

from __future__ import annotations

import html
import re
from typing import Any, ClassVar

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

__all__ = ["Sequence", "setup"]

_COLUMN, _ROW, _HEAD = 260, 40, 50


class Sequence(SphinxDirective):
    """Lines like ``asker -> hub: GET_GREET``; ``x hub`` ends a column."""

    has_content: ClassVar[bool] = True
    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        """See docutils."""
        text = "\n".join(self.content)
        return [
            nodes.raw("", _draw(self.arguments[0], list(self.content)), format="html"),
            nodes.raw(text, text, format="text"),
        ]


def _draw(title: str, lines: list[str]) -> str:
    """Draw the peers as columns, in the order in which they are named, and each line as a row."""
    steps = [re.fullmatch(r"(?:(\w+) -> (\w+): (.+)|x (\w+))", line) for line in lines]
    peers = list(dict.fromkeys(name for step in steps if step for name in step.group(1, 2) if name))
    place = {name: _COLUMN * (index + 0.5) for index, name in enumerate(peers)}
    height = _HEAD + _ROW * (len(lines) + 1)
    ends = dict.fromkeys(peers, height)
    drawn: list[str] = []
    for row, (line, step) in enumerate(zip(lines, steps, strict=True), start=1):
        if step is None:
            raise ValueError(f"neither `a -> b: text` nor `x a`: {line}")
        y = _HEAD + _ROW * row
        if gone := step[4]:
            ends[gone] = y
            drawn.append(_text(place[gone], y + 5, "✕"))
            continue
        begin, end = place[step[1]], place[step[2]]
        back = -8 if end > begin else 8
        drawn.append(
            f'<line x1="{begin:g}" y1="{y}" x2="{end:g}" y2="{y}"/>'
            f'<path d="M{end:g},{y}l{back},-4v8z" fill="currentColor"/>'
        )
        drawn.append(_text((begin + end) / 2, y - 7, step[3]))
    for name, x in place.items():
        drawn.append(_text(x, 20, name, weight="bold"))
        drawn.append(
            f'<line x1="{x:g}" y1="32" x2="{x:g}" y2="{ends[name]}" stroke-dasharray="3 4"/>'
        )
    width = _COLUMN * len(peers)
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" style="max-width: {width}px; width: 100%" '
        'stroke="currentColor" font-size="14" font-family="sans-serif">'
        f"<title>{html.escape(title)}</title>{''.join(drawn)}</svg>"
    )


def _text(x: float, y: float, text: str, weight: str = "normal") -> str:
    return (
        f'<text x="{x:g}" y="{y:g}" text-anchor="middle" stroke="none" fill="currentColor" '
        f'font-weight="{weight}">{html.escape(text)}</text>'
    )


def setup(app: Any) -> dict[str, Any]:
    """See Sphinx."""
    app.add_directive("sequence", Sequence)
    return {"parallel_read_safe": True}
