"""Measures the SDK side by side with its peers, in one run, in interleaved rounds.

::

    python -m tests.benchmarks --quick
    python -m tests.benchmarks --contenders aleph,node,nats --regimes main,payload --plots out/

From the project's root, on Linux. Each contender's hub, master, requester, observers and bystanders
are processes of their own on 127.0.0.1; each answer is checked against its question; requests are
warmed up before they are measured. Contenders whose tools are missing are left out, and it is said
how to get them. All of them::

    pip install -e ".[dev]" matplotlib
    apt-get install nodejs npm nats-server redis-server && npm ci --prefix tests/node

Against an earlier version of the package, which gets an environment of its own::

    python -m tests.benchmarks --contenders aleph,release --release v0.1.0 --rounds 5

What earlier commits reached is kept (``--keep``) and told by
``python -m tests.benchmarks.history``.

How to read it: compare within one run only, by ratios, and not what was measured while others used
the machine, which is said at the end; a machine differs more from itself than contenders do. CPU
for 1,000 requests is the steadiest figure, p99 the weakest. With 64 and more in flight a hub that
batches what it sends gains by it; ``@1`` and paced events show what it costs where there is
nothing to batch.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import random
import sys
import time
from contextlib import ExitStack
from importlib import metadata
from pathlib import Path
from typing import Any

import attrs

from tests.benchmarks import environments, history, report
from tests.benchmarks.contenders import CONTENDERS, released
from tests.benchmarks.machine import Neighbours, ProcessFailed, raise_file_limit
from tests.benchmarks.regimes import FULL, HUB_ONLY, OURS_ONLY, QUICK, REGIMES, TINY, Found, Scale

_PACKAGES = ("python-socketio", "uvicorn", "websockets", "uvloop", "orjson", "nats-py", "msgspec")
_DISTURBED = 0.1


def main() -> int:
    """Run the command line.

    Returns:
        0, or 1 when something could not be measured.
    """
    options = _options()
    scale: Scale = options.scale
    if options.rounds:
        scale = attrs.evolve(scale, rounds=options.rounds)
    if options.seconds:
        scale = attrs.evolve(scale, seconds=options.seconds)
    raise_file_limit()
    machine = _machine()
    with ExitStack() as stack:
        if options.release:
            python = stack.enter_context(environments.holding(options.release))
            CONTENDERS.update(released(str(python)))
        contenders, missing = _present(options.contenders)
        rounds, failures = asyncio.run(_measure(contenders, options.regimes, scale))

    _print("\n\n".join(_sections(rounds, options.base, missing, failures, machine)))
    if options.json:
        written = {
            "machine": machine,
            "scale": attrs.asdict(scale),
            "missing": missing,
            "failures": failures,
            "rounds": rounds,
        }
        options.json.write_text(json.dumps(written, indent=1) + "\n")
    if options.keep:
        about = {"commit": history.present_commit(), "machine": machine}
        history.keep(history.FILE, rounds, {**about, "scale": attrs.asdict(scale)})
    if options.plots:
        report.draw(rounds, options.plots)
    return 1 if failures else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="contenders:\n"
        + "\n".join(f"  {name:16}{each.note}" for name, each in CONTENDERS.items()),
    )
    parser.add_argument(
        "--contenders", type=_names(CONTENDERS), default=list(CONTENDERS), help="by comma; all"
    )
    parser.add_argument(
        "--regimes", type=_names(REGIMES), default=["main"], help=f"of {','.join(REGIMES)}; main"
    )
    parser.add_argument("--rounds", type=int, help="of all of it")
    parser.add_argument("--seconds", type=float, help="that requests are asked, each time")
    scale = parser.add_mutually_exclusive_group()
    scale.add_argument(
        "--quick",
        dest="scale",
        action="store_const",
        const=QUICK,
        default=FULL,
        help="one round, shorter, fewer clients",
    )
    scale.add_argument(
        "--tiny",
        dest="scale",
        action="store_const",
        const=TINY,
        help="see that it works; the numbers mean nothing",
    )
    parser.add_argument("--base", choices=CONTENDERS, default="aleph", help="who ratios are of")
    parser.add_argument(
        "--release",
        metavar="REF_OR_FOLDER",
        help="what `release` is: known to git, in a folder, or a Python that has it",
    )
    parser.add_argument("--json", type=Path, help="write every number to this file")
    parser.add_argument(
        "--keep", action="store_true", help="add the run to the history, by its commit"
    )
    parser.add_argument("--plots", type=Path, help="draw the curves in this folder, as SVG")
    return parser.parse_args()


def _names(known: Any) -> Any:
    def names(text: str) -> list[str]:
        given = text.split(",")
        if unknown := [each for each in given if each not in known]:
            raise argparse.ArgumentTypeError(f"{', '.join(unknown)} is none of {', '.join(known)}")
        return given

    return names


def _present(names: list[str]) -> tuple[list[str], dict[str, list[str]]]:
    """Contenders that have all they need; of the others, what they lack and how to get it."""
    lacking = {name: CONTENDERS[name].missing() for name in names}
    missing = {
        name: [f"{tool.name}: {tool.recipe}" for tool in tools]
        for name, tools in lacking.items()
        if tools
    }
    return [name for name in names if name not in missing], missing


async def _measure(
    contenders: list[str], regimes: list[str], scale: Scale
) -> tuple[dict[str, list[Found]], list[str]]:
    rounds: dict[str, list[Found]] = {name: [] for name in contenders}
    failures = []
    began = time.monotonic()
    for number in range(scale.rounds):
        for each in rounds.values():
            each.append({})
        for regime in regimes:
            order = [
                name
                for name in contenders
                if (regime not in HUB_ONLY or CONTENDERS[name].hub is CONTENDERS[name].clients)
                and (regime not in OURS_ONLY or name == "aleph")
            ]
            # Who comes first does so on a rested machine; that is to be nobody's advantage.
            random.Random(f"{number} {regime}").shuffle(order)
            for name in order:
                elapsed = time.monotonic() - began
                _log(f"[{elapsed:5.0f} s] round {number + 1}/{scale.rounds} {regime} {name}")
                found = rounds[name][number]
                neighbours = Neighbours()
                try:
                    await REGIMES[regime](CONTENDERS[name], scale, found)
                except ProcessFailed as exc:
                    failures.append(f"{name}, {regime}, round {number + 1}: {exc}")
                    _log(failures[-1])
                found[f"others_{regime}"] = neighbours.share()
    return rounds, failures


def _sections(
    rounds: dict[str, list[Found]],
    base: str,
    missing: dict[str, list[str]],
    failures: list[str],
    machine: dict[str, Any],
) -> list[str]:
    sections = [f"## Measured\n\n{report.values(rounds)}"]
    if base in rounds and len(rounds) > 1:
        sections.append(f"## Ratios of {base} to the others\n\n{report.ratios(rounds, base)}")
    if reached := report.goals(rounds):
        sections.append(f"## Goals\n\n{reached}")
    checked = sum(int(found.get("checked", 0)) for each in rounds.values() for found in each)
    notes = [f"{checked:,} answers, each checked against its question.", _sentence(machine)]
    notes += _disturbed(rounds)
    notes += [f"Missing for {name}: {'; '.join(tools)}." for name, tools in missing.items()]
    notes += [f"Not measured: {each}" for each in failures]
    return [*sections, "\n".join(f"- {each}" for each in notes)]


def _disturbed(rounds: dict[str, list[Found]]) -> list[str]:
    """What was measured while others used much of the machine: such numbers say little."""
    return [
        f"Others used {share:.0%} of the machine: {name}, {metric[7:]}, round {number}."
        for name, each in rounds.items()
        for number, found in enumerate(each, start=1)
        for metric, share in found.items()
        if metric.startswith("others_") and share > _DISTURBED
    ]


def _machine() -> dict[str, Any]:
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return {
        "cpus": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": versions,
    }


def _sentence(machine: dict[str, Any]) -> str:
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    return f"{machine['cpus']} CPUs; {machine['system']}; Python {machine['python']}; {packages}."


def _log(line: str) -> None:
    sys.stderr.write(line + "\n")


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    sys.exit(main())
