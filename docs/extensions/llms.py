"""``llms.txt`` and ``llms-full.txt``: the site for readers that are programs (https://llmstxt.org)."""  # noqa: INP001

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.writers.text import TextTranslator

__all__ = ["setup", "write"]


def write(app: Sphinx, failure: Exception | None) -> None:
    """See ``build-finished``: a list of the pages, and all of them as one text."""
    if failure is not None or app.builder.format != "html":
        return
    root = app.config.root_doc
    listed = [f"# {app.config.project}", f"> {_summary(app, root)}"]
    texts = []
    for page in _in_order(app, root):
        title, address = app.env.titles[page].astext(), app.builder.get_target_uri(page)
        if app.env.toctree_includes.get(page):
            listed.append(f"\n## {title}\n")
        summary = _summary(app, page)
        listed.append(f"- [{title}]({address})" + (f": {summary}" if summary else ""))
        doctree = app.env.get_and_resolve_doctree(page, app.builder)
        visitor = TextTranslator(doctree, app.builder)  # type: ignore[arg-type]  # any builder does
        doctree.walkabout(visitor)
        texts.append(f"<!-- {address} -->\n\n{visitor.body.strip()}\n")
    folder = Path(app.outdir)
    folder.joinpath("llms.txt").write_text("\n".join(listed) + "\n", encoding="utf-8")
    folder.joinpath("llms-full.txt").write_text("\n".join(texts), encoding="utf-8")


def _in_order(app: Sphinx, page: str) -> Iterator[str]:
    """List a page and those below it, as a reader meets them."""
    yield page
    for below in app.env.toctree_includes.get(page, ()):
        yield from _in_order(app, below)


def _summary(app: Sphinx, page: str) -> str:
    """Return the first paragraph of a page, or nothing if it has none."""
    first = next(iter(app.env.get_doctree(page).findall(nodes.paragraph)), None)
    return " ".join(first.astext().split()) if first is not None else ""


def setup(app: Sphinx) -> dict[str, Any]:
    """See Sphinx."""
    app.connect("build-finished", write)
    return {"parallel_read_safe": True}
