"""Metrics of several processes as those of one: what one sends of itself, and how they add up.

    counters, histograms   summed; those of a worker that ended stay in the sum, so nothing ever goes down
    gauges                 summed, but for those in `LARGEST` and `LEAST`
    process_*              a series each, by the label `worker`: of memory and processor time one wants to know whose they are

A worker that did not answer counts with what it had counted when it did last; of it there are no gauges.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from prometheus_client.core import Metric

# A sum of these says nothing: all workers see the same, or the worst is what matters.
LARGEST = frozenset(
    {
        "hub_nodes",
        "hub_node",
        "hub_pressure",
        "hub_pressure_level",
        "hub_feed_positions_behind",
        "hub_relay_behind",
        "hub_chunks",
        "hub_documents",
        "hub_documents_bytes",
        "hub_ingestion_lag_seconds",
        "hub_jobs_queued",
        "hub_jobs_running",
        "hub_jobs_oldest_seconds",
        "hub_subscriptions",
        "hub_subscription_lag",
        "hub_subscription_worst_lag",
        "hub_subscription_outstanding",
        "hub_subscription_in_flight",
        "hub_subscription_dead_letters",
        "hub_subscription_oldest_seconds",
        "python_info",
    }
)
LEAST = frozenset({"hub_redis_connected"})
_OWN = "process_"

Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Part:
    """What one worker counted: `worker` is the number of its place; `fresh` says that it has answered now.

    `leaving` is a worker that was replaced, and still has connections.
    """

    worker: int
    leaving: bool
    fresh: bool
    body: bytes


class Totals:
    """Families that add up, in the order in which they were first seen."""

    def __init__(self) -> None:
        self._kinds: dict[str, tuple[str, str]] = {}
        self._values: dict[str, dict[tuple[str, Labels], float]] = {}

    def add(self, families: Iterable[Mapping[str, Any]], *, gauges: bool = True, worker: int | None = None) -> None:
        """Add what `packed` gave; without `gauges` only what never goes down. `worker` names the series of a process."""
        for family in families:
            name, kind = str(family["name"]), str(family["type"])
            is_own = name.startswith(_OWN)
            if (is_own and worker is None) or (not gauges and kind not in ("counter", "histogram")):
                continue
            self._kinds.setdefault(name, (kind, str(family["text"])))
            values = self._values.setdefault(name, {})
            more = {"worker": str(worker)} if is_own else {}
            for sample, labels, value in family["samples"]:
                key = (str(sample), tuple({**labels, **more}.items()))
                values[key] = value if is_own else _joined(name, values.get(key), value)

    def metrics(self) -> list[Metric]:
        """Return them as Prometheus' client has them."""
        made: list[Metric] = []
        for name, (kind, text) in self._kinds.items():
            metric = Metric(name, text, kind)
            for (sample, labels), value in self._values[name].items():
                metric.add_sample(sample, dict(labels), value)
            made.append(metric)
        return made


def plain(metrics: Iterable[Metric]) -> list[dict[str, Any]]:
    """Return metrics as plain values."""
    return [
        {
            "name": each.name,
            "type": each.type,
            "text": each.documentation,
            "samples": [[sample.name, dict(sample.labels), sample.value] for sample in each.samples],
        }
        for each in metrics
    ]


def packed(metrics: Iterable[Metric]) -> bytes:
    """Write metrics for another process."""
    return orjson.dumps(plain(metrics))


def unpacked(body: bytes) -> list[dict[str, Any]]:
    """Read what `packed` wrote; nothing of what another release may write otherwise."""
    try:
        return [{key: each[key] for key in ("name", "type", "text", "samples")} for each in orjson.loads(body)]
    except (ValueError, TypeError, KeyError):
        return []


def merged(parts: Sequence[Part]) -> Totals:
    """Add up what all workers counted."""
    totals = Totals()
    # Where two have one place, the series of the process are of the one that stays.
    for part in sorted(parts, key=lambda each: (not each.leaving, each.worker)):
        worker = None if part.leaving or not part.fresh else part.worker
        families = unpacked(part.body)
        totals.add(families, gauges=part.fresh, worker=worker)
        if part.fresh:
            totals.add(_by_worker(families, part.worker))
    return totals


def _by_worker(families: Iterable[Mapping[str, Any]], worker: int) -> Iterable[Mapping[str, Any]]:
    """Return how many streams a worker has, to see whether they are spread."""
    for each in families:
        if each["name"] == "hub_connections":
            samples = [["hub_worker_connections", {"worker": str(worker)}, value] for _, _, value in each["samples"]]
            yield {"name": "hub_worker_connections", "type": "gauge", "text": "Open streams.", "samples": samples}


def _joined(name: str, known: float | None, value: float) -> float:
    if known is None:
        return value
    if name in LARGEST or name.endswith("_info"):
        return max(known, value)
    return min(known, value) if name in LEAST else known + value
