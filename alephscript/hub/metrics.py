"""``GET /metrics``, as Prometheus reads it; alone knows prometheus-client.

Labels are namespace, capability and code, each told apart up to a bound (`metering`); never the
asker.

May go in: how figures are written for Prometheus. May not: counting (`metering`, `engine`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from alephscript.protocol.tasks import ENDED, STATES

if TYPE_CHECKING:
    from alephscript.hub.engine import Engine

__all__ = ["page"]


def page(engine: Engine) -> tuple[bytes, bytes]:
    """Return the page's content type and body."""
    # Imported here: a hub that is never asked for metrics needs none of it.
    from prometheus_client import CollectorRegistry
    from prometheus_client.exposition import CONTENT_TYPE_PLAIN_1_0_0, generate_latest

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(engine))
    return CONTENT_TYPE_PLAIN_1_0_0.encode(), generate_latest(registry)


class _Collector:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def collect(self) -> Iterator[Any]:
        from prometheus_client.core import (
            CounterMetricFamily,
            GaugeMetricFamily,
            HistogramMetricFamily,
        )

        snapshot = self._engine.snapshot()
        yield GaugeMetricFamily(
            "alephscript_connections", "Clients that are connected.", snapshot["hub"]["clients"]
        )
        refusals = CounterMetricFamily(
            "alephscript_refusals", "What was refused, by what was wrong.", labels=["reason"]
        )
        for reason, count in snapshot["hub"]["refusals"].items():
            refusals.add_metric([reason], count)
        clients = GaugeMetricFamily(
            "alephscript_clients", "Clients of a namespace.", labels=["namespace"]
        )
        in_flight = GaugeMetricFamily(
            "alephscript_requests_in_flight",
            "Requests that wait for an answer.",
            labels=["namespace"],
        )
        late = CounterMetricFamily(
            "alephscript_late_answers",
            "Answers that came when their request had ended.",
            labels=["namespace"],
        )
        ended = CounterMetricFamily(
            "alephscript_requests",
            "Requests that ended, by how.",
            labels=["namespace", "capability", "code"],
        )
        seconds = HistogramMetricFamily(
            "alephscript_request_seconds",
            "How long requests were open.",
            labels=["namespace", "capability"],
        )
        dropped = CounterMetricFamily(
            "alephscript_dropped",
            "Events that were not taken, and whose senders wanted no answer that would say so.",
            labels=["namespace", "event", "reason"],
        )
        tasks = GaugeMetricFamily(
            "alephscript_tasks",
            "Tasks that have not ended, by state.",
            labels=["namespace", "state"],
        )
        ended_tasks = CounterMetricFamily(
            "alephscript_tasks_ended",
            "Tasks that have ended at this hub, by state and code.",
            labels=["namespace", "state", "code"],
        )
        for namespace, about in snapshot["namespaces"].items():
            for state in STATES:
                if state not in ENDED:
                    tasks.add_metric([namespace, state], about["tasks"]["now"].get(state, 0))
            for each in about["tasks"]["ended"]:
                labels = [namespace, each["state"], each["code"]]
                ended_tasks.add_metric(labels, each["count"])
            for each in about["dropped"]:
                dropped.add_metric([namespace, each["event"], each["reason"]], each["count"])
            clients.add_metric([namespace], about["clients"])
            in_flight.add_metric([namespace], about["in_flight"])
            late.add_metric([namespace], about["late_answers"])
            for each in about["capabilities"]:
                labels = [namespace, each["capability"]]
                for code, count in each["ended"].items():
                    ended.add_metric([*labels, code], count)
                buckets = [
                    ("+Inf" if bound is None else str(bound), count)
                    for bound, count in each["seconds"]["buckets"]
                ]
                seconds.add_metric(labels, buckets, sum_value=each["seconds"]["sum"])
        yield from (refusals, clients, in_flight, late, ended, seconds, dropped)
        yield from (tasks, ended_tasks)
