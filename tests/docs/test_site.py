"""The site builds without a warning, and its reference leaves nothing out."""

from __future__ import annotations

import ast
import html
import importlib
import re
import subprocess
import sys
import tomllib
from collections.abc import Collection
from pathlib import Path

import pytest
from sphinx.util.inventory import InventoryFile

import alephscript
from alephscript import GAP, cli, contracts, errors
from alephscript.protocol import events
from alephscript.protocol.vocabulary import MetaKey
from examples.aaia_runtime import errors as runtime_errors
from examples.persefon_bot import ROOM_EVENTS
from tests.support.pages import DOCS
from tests.support.thrift import unmeasured

pytestmark = pytest.mark.timeout(300)  # the site is built once, by whichever test is first


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, freshly built."""
    built = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-n", DOCS, built],
        env=unmeasured(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return built


def test_every_public_name_is_documented(site: Path) -> None:
    """By the name that it is imported by: a public module's, or the package's own."""
    documented = {name for kind in inventory(site).values() for name in kind}
    for module in map(importlib.import_module, public_modules(site)):
        for name in module.__all__:
            paths = {f"{module.__name__}.{name}"}
            if getattr(alephscript, name, None) is getattr(module, name):
                paths.add(f"alephscript.{name}")
            assert paths & documented, f"{module.__name__}.{name} is on no page"


def test_no_other_module_is_documented(site: Path) -> None:
    """The reference describes the modules that it calls public."""
    assert set(inventory(site)["py:module"]) == set(public_modules(site)) - {"alephscript"}


def test_every_error_code_has_its_row(site: Path) -> None:
    """With its exception, whether asking again may help, and its exit code."""
    text = table(site, "error-codes")
    public = [getattr(errors, name) for name in errors.__all__]
    classes = [each for each in public if isinstance(each, type)]
    ends = [cls for cls in classes if issubclass(cls, errors.RequestError) and cls.code]
    assert ends
    for cls in ends:
        [row] = [row for row in text if row[0] == cls.code]
        exit_code = str(cli.EXIT_CODES.get(cls.code, 20))
        assert row[1].split()[0] == cls.__name__
        assert row[3:] == ["yes" if cls.default_retryable else "no", exit_code]
    own = {getattr(runtime_errors, name).code for name in runtime_errors.__all__}
    assert own - {""} <= {row[0] for row in text}


def test_every_command_is_shown_with_its_options(site: Path) -> None:
    """What `alephscript --help` lists has a section of its own."""
    text = (site / "reference" / "command-line.html").read_text()
    listed = re.findall(r"^    (\w+)", cli.parser().format_help(), re.MULTILINE)
    assert listed
    for command in listed:
        assert f"usage: alephscript {command} [-h]" in text


def test_every_event_has_its_row(site: Path) -> None:
    """What the hub says, what AAIA_ROOM is told."""
    named = {row[0] for row in table(site, "events")}
    assert {*events.CONFIRMATIONS, events.HubEvent.MASTER_CHANGED, GAP} <= named
    assert set(ROOM_EVENTS.values()) <= named


def test_the_protocol_page_has_every_event_code_and_key_of_the_meta(site: Path) -> None:
    """An author of another implementation needs all of them."""
    named = {row[0] for row in table(site, "protocol")}
    local = {"not_connected", "link_lost", "closed"}
    codes = {cls.code for cls in errors.RequestError.__subclasses__() if cls.code}
    assert {*events.HubEvent, *MetaKey} | (codes - local) <= named
    assert {"GET_CAPABILITIES", "GET_MEMBERS", "auth_error", "limit_exceeded", "member"} <= named


def test_the_glossary_says_how_things_are_called_on_the_wire_and_in_python(site: Path) -> None:
    """A term, its meaning, its key and its attribute, each spelt from the other."""
    text = (site / "reference" / "glossary.html").read_text()
    heads = re.findall(r"<th[^>]*><p>(.*?)</p></th>", text)
    assert heads == ["term", "meaning", "wire key", "attribute"] * text.count("<table")
    rows = table(site, "glossary")
    assert all(term and meaning for term, meaning, *_ in rows)
    assert {"native", "documented", "core"} <= {term for term, *_ in rows}
    named = [row[-2:] for row in rows if row[-1]]  # what has no attribute has none to spell
    keys = {key: attribute for key, attribute in named if re.fullmatch(r"[a-z]\w*", key)}
    assert {"usuario", "sesion", "sessionId", "runState", "percepto", "eferencia"} <= keys.keys()
    assert [contracts.wire_key(attribute) for attribute in keys.values()] == list(keys)


def test_defaults_are_shown_as_values(site: Path) -> None:
    """A literal, a call with its values, or a public name."""
    spans = {
        html.unescape(re.sub(r"<[^>]+>", "", span))
        for page in (site / "reference").glob("*.html")
        for span in re.findall(r'class="default_value">(.*?)</span></em>', page.read_text())
    }
    assert {"'http://127.0.0.1:3010'", "'/runtime'", "Limits()"} <= spans
    for shown in spans - {*alephscript.__all__, "Any"}:
        if not re.fullmatch(r"\w+\(.*\)", shown):
            ast.literal_eval(shown)


def test_readers_that_are_programs_get_every_page(site: Path) -> None:
    """A list of them, and all of them as one text."""
    pages = {str(page.relative_to(DOCS).with_suffix(".html")) for page in DOCS.rglob("*.md")}
    listed = (site / "llms.txt").read_text()
    assert listed.startswith("# alephscript\n")
    assert set(re.findall(r"^- \[.+?\]\((.+?)\)", listed, re.MULTILINE)) == pages
    whole = (site / "llms-full.txt").read_text()
    assert set(re.findall(r"^<!-- (.+) -->$", whole, re.MULTILINE)) == pages
    assert "async with Hub(port=0) as hub" in whole
    assert "Raises" in whole  # the reference as it is rendered, not its directives


def test_the_site_says_its_version_and_what_has_changed(site: Path) -> None:
    """In the title of each page, and on a page of its own."""
    assert f"alephscript {alephscript.__version__}" in (site / "index.html").read_text()
    assert "Unreleased" in (site / "changelog.html").read_text()


def test_sequences_are_drawn_into_their_page_and_told_to_readers_of_text(site: Path) -> None:
    """With a title for those who do not see the picture."""
    page = (site / "explanation" / "requests.html").read_text()
    assert "<title>A master that dies while it works" in page
    assert page.count('role="img"') == 2
    assert "x master\nhub -> asker: acknowledgement, master_lost" in (
        (site / "llms-full.txt").read_text()
    )


def test_each_page_can_be_edited_where_the_source_is_public(site: Path) -> None:
    """By the address that the metadata has, if it has one."""
    project = tomllib.loads((DOCS.parent / "pyproject.toml").read_text())["project"]
    source = project.get("urls", {}).get("Source")
    page = (site / "how-to" / "install.html").read_text()
    assert ("/edit/main/docs/how-to/install.md" in page) is (source is not None)


def test_code_can_be_copied(site: Path) -> None:
    """By a script of the site's own."""
    page = (site / "index.html").read_text()
    assert "_static/copy.js" in page
    assert (site / "_static" / "copy.js").is_file()


def test_the_site_asks_nobody_else_for_anything(site: Path) -> None:
    """No font, script or picture comes from elsewhere."""
    for page in site.rglob("*.html"):
        text = page.read_text()
        loaded = re.findall(r'<(?:script|img|link)[^>]* (?:src|href)="(https?:[^"]*)', text)
        assert loaded == [], page


def public_modules(site: Path) -> list[str]:
    """The modules that the reference's first page lists."""
    return [row[0] for row in table(site, "index")]


def inventory(site: Path) -> dict[str, Collection[str]]:
    """The names of Python that have a place of their own, by kind."""
    kinds = InventoryFile.loads((site / "objects.inv").read_bytes(), uri="").data
    return {kind: names.keys() for kind, names in kinds.items() if kind.startswith("py:")}


def table(site: Path, page: str) -> list[list[str]]:
    """The rows of a page's tables, as text."""
    text = (site / "reference" / f"{page}.html").read_text()
    return [
        [
            html.unescape(re.sub(r"<[^>]+>", "", cell)).strip()
            for cell in re.findall(r"<td>(.*?)</td>", row, re.DOTALL)
        ]
        for row in re.findall(r"<tr[^>]*>(.*?)</tr>", text, re.DOTALL)
        if "<td>" in row
    ]
