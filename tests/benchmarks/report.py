"""What is made of the numbers: tables, ratios, goals, plots.

A ratio is taken within a round, where both sides had the same machine, and is then the median over
the rounds.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import attrs

from tests.benchmarks.regimes import Found

__all__ = [
    "GOALS",
    "Goal",
    "Rounds",
    "all_goals",
    "draw",
    "goals",
    "markdown",
    "measured_goals",
    "number",
    "ratio",
    "ratios",
    "values",
]

Rounds = Mapping[str, Sequence[Found]]
"""What was found, by contender and round; nothing for a round that failed."""

_LEVEL = 1.1
"""What two contenders may differ by and still be level: this machine does, with itself."""


@attrs.frozen
class Table:
    """Some of the metrics.

    Attributes:
        title: What they are about.
        columns: Heading by name of the metric; ``name@*`` is a column for each point of a curve.
        plot: What the points are, if they are worth a plot.
    """

    title: str
    columns: Mapping[str, str]
    plot: str = ""


_HUB_CPU = "hub CPU s/1k ↓"

TABLES = (
    Table(
        "Requests and events",
        {
            "p50_us@1": "p50 µs @1 ↓",
            "p99_us@1": "p99 µs @1 ↓",
            "rps@*": "req/s @{} ↑",
            "burst_per_s": "burst ev/s ↑",
        },
    ),
    Table(
        "CPU seconds for 1,000 requests, or delivered events",
        {
            "hub_cpu@*": "hub @{} ↓",
            "cpu@64": "all three @64 ↓",
            "master_cpu@64": "master @64 ↓",
            "requester_cpu@64": "requester @64 ↓",
            "burst_cpu": "hub, burst ↓",
            "paced_cpu": "hub, paced ↓",
        },
    ),
    Table("Bytes of a question: req/s ↑, 4 in flight", {"payload_rps@*": "{}"}, "bytes"),
    Table("Bytes of a question: " + _HUB_CPU, {"payload_cpu@*": "{}"}, "bytes"),
    Table(
        "Memory for each question in flight, in times of its bytes ↓",
        {
            "payload_hub_held@*": "hub, {} bytes",
            "payload_master_held@*": "master, {}",
            "payload_requester_held@*": "requester, {}",
        },
    ),
    Table("Observers in the room: burst ev/s ↑", {"room_size_per_s@*": "{}"}, "observers"),
    Table("Observers in the room: " + _HUB_CPU, {"room_size_cpu@*": "{}"}, "observers"),
    Table("Other rooms: req/s ↑, 64 in flight", {"rooms_rps@*": "{}"}, "rooms"),
    Table("Other rooms: " + _HUB_CPU, {"rooms_cpu@*": "{}"}, "rooms"),
    Table("Other connections: req/s ↑, 64 in flight", {"clients_rps@*": "{}"}, "connections"),
    Table("Other connections: " + _HUB_CPU, {"clients_cpu@*": "{}"}, "connections"),
    Table("Hub CPU µs for a connect ↓, beside so many connections", {"join_us@*": "{}"}),
    Table("Hub CPU µs for a disconnect ↓, of so many connections", {"leave_us@*": "{}"}),
    Table(
        "Many that come at once",
        {
            "storm_s@*": "all {} there, s ↓",
            "storm_worst_ms@*": "the others' slowest request, ms ↓ ({})",
        },
    ),
    Table(
        "Across two hubs, in times of one hub",
        {
            "across_p50": "p50 @1 ↓",
            "across_rps": "req/s @64 ↑",
            "across_cpu": "CPU of both hubs ↓",
            "across_frames": "frames a message ↑",
        },
    ),
    Table(
        "Memory of the hub ↓",
        {"hub_mb": "empty, MB", "idle_kb@*": "kB a connection @{}"},
    ),
    Table("Start ↓", {"start_ms": "hub, ms", "import_ms": "import of the client, ms"}),
)


@attrs.frozen
class Goal:
    """What one contender is to reach against another, as a ratio of a metric.

    Attributes:
        ours: The contender.
        peer: The one it is compared to; empty if the metric itself is to be reached.
        metric: The metric.
        least: The ratio is to be no less, None if less is better.
        most: The ratio is to be no more, None if more is better.
    """

    ours: str
    peer: str
    metric: str
    least: float | None = attrs.field(default=None, kw_only=True)
    most: float | None = attrs.field(default=None, kw_only=True)

    def sides(self) -> str:
        """Who by whom."""
        return f"{self.ours} / {self.peer}" if self.peer else self.ours

    def name(self) -> str:
        """All of it but the number."""
        return f"{self.sides()}: {self.metric}"

    def wanted(self) -> str:
        """In one sign and a number."""
        return f"≥ {self.least:g}" if self.least is not None else f"≤ {self.most:g}"

    def reached(self, measured: float) -> bool:
        """Whether a ratio is good enough."""
        if self.least is not None:
            return measured >= self.least
        assert self.most is not None
        return measured <= self.most


GOALS = (
    *(
        Goal("aleph", release, metric, least=least, most=most)
        for release in ("release", "release_lesser")
        for metric, least, most in (
            ("rps@64", 1, None),
            ("rps@256", 1, None),
            ("burst_per_s", 1, None),
            ("hub_cpu@64", None, 1),
            ("hub_cpu@256", None, 1),
            ("burst_cpu", None, 1),
        )
    ),
    # CPU of all three sides first: the steadiest figure.
    Goal("aleph", "node", "cpu@64", most=0.6),
    Goal("aleph", "nats", "cpu@64", most=1),
    Goal("aleph", "socketio", "cpu@64", most=0.1),
    Goal("aleph", "limit_ws", "cpu@64", most=1.6),
    Goal("aleph", "node", "hub_cpu@64", most=0.5),
    Goal("aleph", "node", "rps@64", least=1.2),
    Goal("aleph", "node", "burst_per_s", least=1.2),
    Goal("aleph", "nats", "burst_per_s", least=1),
    Goal("aleph", "node", "p50_us@1", most=1),
    Goal("aleph", "node", "p99_us@1", most=_LEVEL),
    Goal("aleph", "nats", "rps@64", least=1.2),
    Goal("aleph", "nats", "hub_cpu@64", most=2),
    Goal("aleph", "nats", "p50_us@1", most=_LEVEL),
    Goal("aleph", "socketio", "rps@64", least=10),
    Goal("aleph", "socketio", "hub_cpu@64", most=1 / 20),
    Goal("aleph", "socketio", "burst_per_s", least=12),
    Goal("aleph", "socketio", "p50_us@1", most=1 / 2),
    Goal("aleph", "socketio", "hub_cpu@1", most=1 / 4),
    Goal("aleph", "limit_ws", "rps@64", least=0.6),
    Goal("aleph", "limit_ws", "hub_cpu@64", most=_LEVEL),
    Goal("aleph", "limit_ws", "burst_per_s", least=0.9),
    Goal("aleph", "limit_ws", "p50_us@1", most=1.5),
    Goal("aleph+node", "node", "rps@64", least=1.2),
    Goal("aleph+py", "socketio", "hub_cpu@64", most=1 / 4),
    Goal("aleph_plain", "socketio", "rps@64", least=4),
    *(
        Goal("aleph", "socketio_tuned", f"payload_rps@{size}", least=1.3)
        for size in (100_000, 900_000)
    ),
    *(
        Goal("aleph", "", f"payload_{side}_held@900000", most=3)
        for side in ("hub", "master", "requester")
    ),
    *(Goal("aleph", "node", f"idle_kb@{count}", most=1) for count in (500, 5_000, 19_500)),
    Goal("aleph", "node", "join_us@10000", most=1),
    Goal("aleph", "node", "leave_us@10000", most=1),
    Goal("aleph", "", "storm_s@2000", most=10),
    Goal("aleph", "", "storm_worst_ms@2000", most=1_000),
    Goal("aleph", "", "across_p50", most=2.5),
    Goal("aleph", "", "across_rps", least=0.8),
    Goal("aleph", "", "across_cpu", most=1.5),
    Goal("aleph", "", "across_frames", least=20),
)
"""All that is to be reached; a run tells of those that it has measured."""


def values(rounds: Rounds) -> str:
    """The metrics, a table for each subject: medians over the rounds."""
    return _tables(rounds, {name: partial(_samples, rounds, name) for name in rounds})


def ratios(rounds: Rounds, base: str) -> str:
    """The same, one contender by each other."""
    others = [name for name in rounds if name != base]
    rows = {f"{base} / {name}": partial(ratio, rounds, base, name) for name in others}
    return _tables(rounds, rows)


def ratio(rounds: Rounds, ours: str, peer: str, metric: str) -> list[float]:
    """Ours by the peer's, in each round that has both; ours alone where there is no peer."""
    if not peer:
        return [mine[metric] for mine in rounds.get(ours, ()) if metric in mine]
    pairs = zip(rounds.get(ours, ()), rounds.get(peer, ()), strict=False)
    return [
        mine[metric] / other[metric]
        for mine, other in pairs
        if metric in mine and other.get(metric)
    ]


def measured_goals(rounds: Rounds) -> Iterator[tuple[str, list[float]]]:
    """Name each goal that there are figures for, with that of each round."""
    for goal in GOALS:
        if found := ratio(rounds, goal.ours, goal.peer, goal.metric):
            yield goal.name(), found


def all_goals() -> Iterator[tuple[str, str]]:
    """Name each goal, with what is wanted."""
    return ((goal.name(), goal.wanted()) for goal in GOALS)


def goals(rounds: Rounds) -> str:
    """What is wanted and what is reached."""
    rows = []
    known = dict(measured_goals(rounds))
    for goal in GOALS:
        found = known.get(goal.name())
        if not found:
            continue
        measured = statistics.median(found)
        span = f" ({number(min(found))} to {number(max(found))})" if len(found) > 1 else ""
        rows.append(
            [
                goal.sides(),
                goal.metric,
                goal.wanted(),
                number(measured) + span,
                "yes" if goal.reached(measured) else "**no**",
            ]
        )
    return markdown(["", "metric", "goal", "measured", "reached"], rows) if rows else ""


def draw(rounds: Rounds, folder: Path) -> list[Path]:
    """Plot each curve, a line for each contender; needs matplotlib."""
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot as plt

    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    for table in TABLES:
        (pattern, *_) = table.columns
        metrics = _expanded(rounds, pattern)
        if not table.plot or len(metrics) < 2:
            continue
        figure, axes = plt.subplots(figsize=(8, 5), layout="constrained")
        for name in rounds:
            line = [
                (_point(metric), statistics.median(samples))
                for metric in metrics
                if (samples := _samples(rounds, name, metric))
            ]
            if line:
                axes.plot(*zip(*line, strict=True), marker="o", label=name)
        axes.set(xscale="log", yscale="log", xlabel=table.plot, title=table.title)
        axes.grid(visible=True, alpha=0.3)
        axes.legend()
        path = folder / f"{pattern.removesuffix('@*')}.svg"
        figure.savefig(path)
        plt.close(figure)
        drawn.append(path)
    return drawn


def _tables(rounds: Rounds, rows: Mapping[str, Callable[[str], Sequence[float]]]) -> str:
    tables = []
    for table in TABLES:
        headings = {
            metric: heading.format(f"{_point(metric):,}" if pattern.endswith("*") else "")
            for pattern, heading in table.columns.items()
            for metric in _expanded(rounds, pattern)
        }
        cells = {name: [samples(metric) for metric in headings] for name, samples in rows.items()}
        body = [
            [name, *(number(statistics.median(each)) if each else "" for each in row)]
            for name, row in cells.items()
            if any(row)
        ]
        if body:
            tables.append(f"**{table.title}**\n\n{markdown(['', *headings.values()], body)}")
    return "\n\n".join(tables)


def _samples(rounds: Rounds, name: str, metric: str) -> list[float]:
    return [each[metric] for each in rounds[name] if metric in each]


def _expanded(rounds: Rounds, pattern: str) -> list[str]:
    """The metrics of a pattern that were measured, in order."""
    found = {metric for each in rounds.values() for one in each for metric in one}
    if not pattern.endswith("*"):
        return [pattern] if pattern in found else []
    return sorted((each for each in found if each.startswith(pattern[:-1])), key=_point)


def _point(metric: str) -> int:
    return int(metric.partition("@")[2])


def number(value: float | None) -> str:
    """Write a number in as many digits as mean something; none is empty."""
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def markdown(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Write a table."""
    ruler = ["---", *["---:"] * (len(headings) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (headings, ruler, *rows))
