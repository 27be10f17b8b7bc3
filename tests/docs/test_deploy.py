"""What lies in docs/deploy fits the hub that it is about; others' files have their form."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
import yaml

from alephscript import AlephScriptClient, RequestError, cli
from alephscript.cli import starting
from alephscript.cli.demo import DemoBot
from alephscript.cli.describing import find_class
from alephscript.hub import Hub
from tests.support.pages import DOCS
from tests.support.tools import ROOT

DEPLOY = DOCS / "deploy"
GITHUB = ROOT / ".github"
FORMS = {
    **dict.fromkeys(GITHUB.glob("workflows/*.yml"), "vendor.github-workflows"),
    Path(starting.__file__).with_name("new-bot") / "test.yml": "vendor.github-workflows",
    GITHUB / "ISSUE_TEMPLATE" / "bug.yml": "vendor.github-issue-forms",
    GITHUB / "ISSUE_TEMPLATE" / "wish.yml": "vendor.github-issue-forms",
    GITHUB / "ISSUE_TEMPLATE" / "config.yml": "vendor.github-issue-config",
    DEPLOY / "compose.yaml": "vendor.compose-spec",
}


@pytest.mark.parametrize("file", FORMS, ids=lambda file: str(file.relative_to(ROOT)))
def test_a_file_for_others_has_their_form(file: Path) -> None:
    """By the schema that they publish."""
    command = (sys.executable, "-m", "check_jsonschema", "--builtin-schema", FORMS[file])
    done = subprocess.run((*command, file), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.anyio
async def test_the_dashboard_asks_for_figures_and_labels_that_the_hub_has() -> None:
    """All of them, and each family is shown."""
    async with Hub(port=0) as hub, DemoBot(hub.url), AlephScriptClient(hub.url) as client:
        await client.request("GREET", {"who": "you"})
        with pytest.raises(RequestError):
            await client.request("GREET", {})
        with await asyncio.to_thread(urllib.request.urlopen, f"{hub.url}/metrics") as answer:
            text = answer.read().decode()
    families = dict(re.findall(r"^# TYPE (alephscript_\w+) (\w+)", text, re.MULTILINE))
    samples = set(re.findall(r"^(alephscript_\w+)[{ ]", text, re.MULTILINE))
    # A counter without a label's value yet has no sample.
    samples |= {f"{each}_total" for each, kind in families.items() if kind == "counter"} | {
        each for each, kind in families.items() if kind == "counter" and each.endswith("_total")
    }
    labels = set(re.findall(r'[{,](\w+)="', text)) | {"reason", "event"}
    dashboard = (DEPLOY / "grafana-dashboard.json").read_text()
    panels = json.loads(dashboard)["panels"]
    queries = [target["expr"] for panel in panels for target in panel["targets"]]
    asked = set(re.findall(r"alephscript_\w+", " ".join(queries)))
    assert asked
    assert asked <= samples
    for family in families:
        assert any(name.startswith(family) for name in asked), family
    grouped = re.findall(r"by \(([\w, ]+)\)", " ".join(queries))
    named = re.findall(r'[{ ](\w+)(?:=~|!=|=)"', " ".join(queries))
    assert {label for group in grouped for label in group.split(", ")} | set(named) <= labels
    codes = set(re.findall(r'code="(\w+)"', text))
    assert "invalid_payload" in codes
    assert set(re.findall(r'code!="(\w+)"', " ".join(queries))) <= codes


def test_the_containers_run_commands_that_there_are() -> None:
    """And classes that there are; the same secret reaches hub, bot and Prometheus."""
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    assert services.keys() == {"redis", "hub", "bot", "prometheus"}
    image = (DEPLOY / "Containerfile").read_text()
    commands = [services["hub"]["command"], services["bot"]["command"]]
    commands.append(services["hub"]["healthcheck"]["test"][1:])
    commands += [json.loads(each) for each in re.findall(r"^CMD (.+)", image, re.MULTILINE)]
    for command in commands:
        assert command[0] == "alephscript", shlex.join(command)
        options = cli.parser().parse_args(command[1:])
        if command[1] == "run":
            assert issubclass(find_class(options.classes[0]), AlephScriptClient)
    for copied in re.findall(r"^COPY (?!--)(.+) /", image, re.MULTILINE):
        assert all((DOCS.parent / name).exists() for name in copied.split())
    scrape = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())["scrape_configs"][0]
    volumes = dict(each.split(":")[:2] for each in services["prometheus"]["volumes"])
    assert scrape["authorization"]["credentials_file"] in volumes.values()
    assert scrape["static_configs"][0]["targets"] == ["hub:3010"]
    assert scrape["metrics_path"] == "/metrics"
