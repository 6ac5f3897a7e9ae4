"""Models for tests, and how a run is held against a formula.

A mean over independent runs is nearly normal, and its standard error follows from the variance between the runs. An expected value
must lie within four of them: with 30 runs (Student's t, 29 degrees) a right engine misses that for one seed of 2,500, and the seeds
are fixed. So that the interval says something, a standard error must also be small beside the expected value.
"""

import math
from statistics import fmean, stdev
from typing import Any

from handlers.twins.simulation.engine import replicate
from handlers.twins.simulation.model import Case
from handlers.twins.simulation.replication import Replication

SEED = 11
ERRORS = 4

Nodes = dict[str, dict[str, Any]]


def network(nodes: Nodes, changes: list[dict[str, Any]] | None = None, **model: Any) -> Case:
    return Case.model_validate({"model": {"engine": "network", "nodes": nodes, **model}, "changes": changes or []})


def flows(changes: list[dict[str, Any]] | None = None, **model: Any) -> Case:
    return Case.model_validate({"model": {"engine": "flows", **model}, "changes": changes or []})


def exponential(mean: float) -> dict[str, Any]:
    return {"distribution": "exponential", "mean": mean}


def arrivals(to: str, mean: float = 1.0) -> dict[str, Any]:
    return {"kind": "arrivals", "to": to, "interval": exponential(mean)}


def queue(mean: float, **other: Any) -> dict[str, Any]:
    return {"kind": "queue", "service": exponential(mean), "capacity": 100_000, **other}


def stock(policy: dict[str, Any], initial: float = 0, **other: Any) -> dict[str, Any]:
    return {"kind": "stock", "initial": initial, "policy": policy, "source": "supplier", **other}


def once(case: Case, horizon: float, seed: int = SEED, run: int = 0) -> Replication:
    return replicate(case, horizon=horizon, seed=seed, run=run)


def values_of(case: Case, name: str, *, horizon: float, runs: int) -> list[float]:
    return [once(case, horizon, run=run).indicators[name] for run in range(runs)]


def check_mean(
    case: Case, expected: dict[str, float], *, horizon: float, runs: int = 30, precision: float = 0.03
) -> None:
    """See that the mean of each indicator over the runs is within ERRORS standard errors, each at most `precision` of it."""
    found = [once(case, horizon, run=run).indicators for run in range(runs)]
    for name, value in expected.items():
        sample = [one[name] for one in found]
        error = stdev(sample) / math.sqrt(runs)
        assert error <= precision * value, f"{name}: {error} says little of {value}"
        assert abs(fmean(sample) - value) <= ERRORS * error, f"{name}: {fmean(sample)} for {value}, by {error}"
