"""The benchmarks do their work; how fast is for people to read, not for a test."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks import history
from tests.support.thrift import unmeasured
from tests.support.tools import ROOT, skip_for_lack_of

CONTENDERS = [
    "aleph",
    "aleph_plain",
    "aleph+py",
    "aleph+node",
    "socketio",
    "socketio_tuned",
    "node",
    "nats",
    "limit_ws",
]
pytestmark = pytest.mark.timeout(300)  # whole programs, on a machine that has others to run

REQUESTS = ["p50_us@1", "p99_us@1", "rps@64", "hub_cpu@64", "burst_per_s", "paced_cpu"]
CURVES = [
    "payload_rps@900000",
    "payload_hub_held@900000",
    "payload_master_held@900000",
    "payload_requester_held@900000",
    "room_size_per_s@2",
    "rooms_rps@4",
    "clients_rps@2",
    "join_us@2",
    "leave_us@2",
    "idle_kb@4",
    "storm_s@20",
    "storm_worst_ms@20",
    "start_ms",
]


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Python at the project's root, where the benchmarks are run."""
    command = [sys.executable, *arguments]
    return subprocess.run(
        command,
        cwd=ROOT,
        env=unmeasured(),
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )


def measured(contender: str, regimes: str, folder: Path) -> tuple[dict[str, Any], str]:
    """What a tiny run found of a contender, and what it printed.

    A contender whose tools are missing is skipped, and fails where nothing may be.
    """
    written = folder / "benchmarks.json"
    ran = python(
        *("-m", "tests.benchmarks", "--tiny", "--json", str(written)),
        *("--contenders", contender, "--regimes", regimes),
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    results = json.loads(written.read_text())
    if missing := results["missing"].get(contender):
        skip_for_lack_of(missing)
    (found,) = results["rounds"][contender]
    return found, ran.stdout


@pytest.mark.parametrize("contender", CONTENDERS)
def test_each_contender_answers_and_tells(contender: str, tmp_path: Path) -> None:
    """Every answer was that of its question, every event was heard, and all of it is in a table."""
    found, printed = measured(contender, "main", tmp_path)
    assert found["checked"] > 0
    assert all(math.isfinite(found[metric]) and found[metric] > 0 for metric in REQUESTS)
    assert f"{found['checked']:,} answers, each checked" in printed
    assert f"| {contender} | " in printed


@pytest.mark.parametrize("contender", ["aleph", "nats", "limit_ws"])
def test_curves_are_measured_beside_each_kind_of_bystander(contender: str, tmp_path: Path) -> None:
    """Payload, rooms, connections, memory, storms and start."""
    found, printed = measured(contender, "payload,rooms,clients,memory,storm,start", tmp_path)
    assert found["checked"] > 0
    assert all(math.isfinite(found[metric]) for metric in CURVES)
    assert f"| {contender} | " in printed


def test_two_hubs_are_held_against_one(redis_program: str, tmp_path: Path) -> None:
    """As shares of what a request costs at one of them."""
    found, printed = measured("aleph", "across", tmp_path)
    assert all(found[f"across_{metric}"] > 0 for metric in ("p50", "rps", "cpu", "frames"))
    assert "| aleph | across_rps | ≥ 0.8 | " in printed


def test_what_was_reached_is_kept_by_commit_and_told_side_by_side(tmp_path: Path) -> None:
    """Ratios, the median of the rounds; a commit that nobody has measured is said."""
    file = tmp_path / "history.jsonl"
    for commit, rates in (("aaaa1", (20.0, 30.0, 25.0)), ("bbbb2+", (36.0,))):
        rounds = {"aleph": [{"rps@64": rate} for rate in rates], "node": [{"rps@64": 20.0}] * 3}
        history.keep(file, rounds, {"commit": commit})
    runs = history.load(file)
    assert runs[0]["metrics"]["aleph"] == {"rps@64": 25.0}
    told = history.compare(runs, ["bbbb", "aaaa1"]).splitlines()
    assert told[0] == "|  | goal | bbbb2+ | aaaa1 |"
    assert told[2] == "| aleph / node: rps@64 | ≥ 1.2 | 1.8 | 1.25 |"
    assert history.compare(runs).splitlines()[0] == "|  | goal | aaaa1 | bbbb2+ |"
    with pytest.raises(LookupError, match="no run of cccc is kept"):
        history.compare(runs, ["cccc"])
    assert history.load(tmp_path / "none") == []


def test_an_earlier_version_is_held_against_this_one() -> None:
    """It runs in the environment that it is given, and goals are told for it."""
    ran = python(
        *("-m", "tests.benchmarks", "--tiny", "--contenders", "aleph,release,release_lesser"),
        *("--release", sys.executable),
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    for name in ("release", "release_lesser"):
        assert f"| aleph / {name} | rps@64 | ≥ 1 | " in ran.stdout
        assert f"| aleph / {name} | hub_cpu@64 | ≤ 1 | " in ran.stdout


def test_an_earlier_version_does_not_see_this_one(tmp_path: Path) -> None:
    """Its processes run in this project's root, and yet import their environment's package."""
    venv = tmp_path / "venv"
    python("-m", "venv", "--without-pip", str(venv)).check_returncode()
    (site,) = venv.glob("lib/*/site-packages")
    (site / "others.pth").write_text(sysconfig.get_path("purelib"))
    (site / "alephscript").mkdir()
    (site / "alephscript" / "__init__.py").write_text("raise SystemExit('the earlier one')")
    environment = unmeasured() | {"PYTHONPATH": str(ROOT)}
    program = """
import subprocess, sys
from tests.benchmarks.contenders import released

contender = released(sys.argv[1])["release"]
for role in ("hub", "requester"):
    subprocess.run(contender.program(role, 1))
"""
    command = [sys.executable, "-c", program, str(venv / "bin" / "python")]
    ran = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=250, check=False
    )
    assert ran.stderr.split("\n")[:2] == ["the earlier one"] * 2


def test_calls_are_counted_by_role_and_function() -> None:
    """All that a request and an event cost in calls, the same in every run."""
    command = ("-m", "tests.benchmarks.calls", "--count", "100", "--functions")
    first, second = (
        [line for line in python(*command).stdout.splitlines() if line.endswith(".00 |")]
        for _ in range(2)
    )
    assert any(line.endswith(" Connection.receive | 2.00 |") for line in first)
    assert sorted(first) == sorted(second)


def test_a_mounted_hub_is_held_against_one_with_a_port_of_its_own() -> None:
    """In each server, as a share."""
    ran = python("-m", "tests.benchmarks.mounted", "--rounds", "1", "--seconds", "0.2")
    rows = [line.strip("| ").split(" | ") for line in ran.stdout.splitlines()[2:]]
    assert [row[0] for row in rows] == ["own port", "uvicorn", "hypercorn", "granian"]
    assert rows[0][2::2] == ["1.00"] * 3
    assert all(float(cell) > 0 for row in rows for cell in row[2::2])


def test_an_answer_to_another_question_ends_the_measurement() -> None:
    """What is measured are right answers only."""
    ran = python(
        "-c",
        """
import asyncio, types
from tests.benchmarks import roles, work

async def requester(port, options):
    async def ask(paso, relleno):
        await asyncio.sleep(0)
        other = paso + 1 if paso == 3 else paso
        return work.fits(work.answer(work.question(other, relleno)), paso, relleno)
    return ask

async def main():
    role = roles.Requester(types.SimpleNamespace(requester=requester), 0, {})
    await role.connect()
    await role.ask(in_flight=2, seconds=50, size=1_000)

asyncio.run(main())
""",
    )
    assert "WrongAnswer: question 3 got another's answer" in ran.stderr


def test_a_ratio_is_that_of_a_round() -> None:
    """A machine that was slow in one round was slow for both."""
    ran = python(
        "-c",
        """
from tests.benchmarks import report

rounds = {
    "aleph": [{"rps@64": 10.0}, {"rps@64": 300.0}, {"rps@64": 30.0}],
    "node": [{"rps@64": 10.0}, {"rps@64": 100.0}, {}],
}
print(report.goals(rounds))
""",
    )
    assert "| aleph / node | rps@64 | ≥ 1.2 | 2 (1 to 3) | yes |" in ran.stdout


def test_a_failed_contender_costs_the_others_nothing() -> None:
    """It is said what failed, in words of the process that did, and by the exit code."""
    ran = python(
        "-c",
        """
import sys
from tests.benchmarks import __main__, contenders

class Broken(contenders.Side):
    def module(self):
        return self
    def hub(self, port, options):
        return [sys.executable, "-c", "raise SystemExit('no such luck')"]

broken = Broken("broken")
contenders.CONTENDERS["node"] = contenders.Contender(broken, broken, "")
sys.argv[1:] = ["--tiny", "--contenders", "node,socketio"]
sys.exit(__main__.main())
""",
    )
    assert ran.returncode == 1
    assert "Not measured: node, main, round 1: the hub ended: no such luck" in ran.stdout
    assert "| socketio | " in ran.stdout
