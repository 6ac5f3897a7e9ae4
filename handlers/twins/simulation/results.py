"""What a simulation comes to: indicators with intervals beside the baseline's, series, what happened, and what that means."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from handlers.twins.simulation.findings import findings
from handlers.twins.simulation.indicators import INDICATORS, SERIES
from handlers.twins.simulation.model import Change, Flows, Model
from handlers.twins.simulation.replication import MOST_NOTABLE, MOST_SERIES, POINTS, Replication
from handlers.twins.simulation.scenarios import Built
from handlers.twins.simulation.statistics import Points, band, change, effect_size, estimate, points_of, rounded

# Of a model with more, those of its first nodes are told.
MOST_INDICATORS = 1_000


@dataclass(frozen=True, slots=True)
class Result:
    """All of it as JSON values, never NaN or infinite; the same for the same runs, byte for byte.

    summary   {"indicators": {name: {unit, mean, low, high, baseline, change}}, "findings": [...]}
    series    {"time_unit", "times", "changes": [{begin, end}], "main", "indicators": {name: {unit, mean, low, high}}}
    baseline  {"series": ..., "notable": ...} as those; None where there was none
    notable   [{time, earliest, latest, what, node, share, times}], in the order of `time`
    """

    summary: dict[str, Any]
    series: dict[str, Any]
    baseline: dict[str, Any] | None
    notable: list[dict[str, Any]]

    def as_object(self) -> dict[str, Any]:
        """Return what an answer holds of it."""
        return {"summary": self.summary, "series": self.series, "baseline": self.baseline, "notable": self.notable}


def result(
    built: Built, runs: Sequence[Replication], baseline: Sequence[Replication] | None, *, horizon: float, seed: int
) -> Result:
    """Return what `runs` of the case come to, with the `baseline` beside them, whose runs had the same numbers and `seed`.

    A thousand runs of a hundred series take seconds: call it off the loop.
    """
    del seed  # It is in the runs: nothing is drawn here.
    ordered = sorted(runs, key=lambda run: run.run)
    beside = sorted(baseline, key=lambda run: run.run) if baseline else []
    model = built.case.model
    indicators = _indicators(model, ordered, beside)
    summary = {"indicators": indicators, "findings": findings(model, indicators, runs=len(ordered))}
    ours, theirs = _paths(ordered), _paths(beside)
    series = _series(model, ours, horizon, built.case.changes)
    if not beside:
        return Result(summary, series, None, _notable(ordered))
    series["main"] = _main(ours, theirs, ordered, beside)
    usual = _series(built.baseline.model, theirs, horizon, ())
    return Result(summary, series, {"series": usual, "notable": _notable(beside)}, _notable(ordered))


def _indicators(
    model: Model, runs: Sequence[Replication], baseline: Sequence[Replication]
) -> dict[str, dict[str, Any]]:
    ours, theirs = _by_run(runs), _by_run(baseline)
    found: dict[str, dict[str, Any]] = {}
    for name in list(ours)[:MOST_INDICATORS]:
        told: dict[str, Any] = {"unit": unit_of(model, name), **estimate(list(ours[name].values()))}
        if name in theirs:
            told["baseline"] = estimate(list(theirs[name].values()))
            told["change"] = change(ours[name], theirs[name])
        found[name] = told
    return found


def _by_run(runs: Sequence[Replication]) -> dict[str, dict[int, float]]:
    found: dict[str, dict[int, float]] = {}
    for run in runs:
        for name, value in run.indicators.items():
            found.setdefault(name, {})[run.run] = value
    return found


def unit_of(model: Model, name: str) -> str:
    """Return the unit of an indicator, or of a series: `count`, `money`, `share`, `time` or `units`."""
    node, _, measure = name.rpartition(".")
    if not node:
        node, measure = (measure, "") if isinstance(model, Flows) else ("", measure)
    kind = kind_of(model, node)
    known = (*INDICATORS.get(kind, ()), *SERIES.get(kind, ()))
    return next((each.unit for each in known if each.name == measure), "units")


def kind_of(model: Model, node: str) -> str:
    """Return the kind of a node; `flow` of what flows change, `model` of the whole."""
    if not node:
        return "model"
    return "flow" if isinstance(model, Flows) else model.nodes[node].kind


def _paths(runs: Sequence[Replication]) -> dict[str, Points]:
    names = list(runs[0].series)[:MOST_SERIES] if runs else []
    return {name: points_of([run.series[name] for run in runs]) for name in names}


def _series(model: Model, paths: Mapping[str, Points], horizon: float, changes: Sequence[Change]) -> dict[str, Any]:
    times = [rounded(horizon * point / POINTS) for point in range(POINTS + 1)]
    spans = dict.fromkeys((each.begin, horizon if each.end is None else min(each.end, horizon)) for each in changes)
    return {
        "time_unit": model.time_unit,
        "times": times,
        "changes": [{"begin": rounded(begin), "end": rounded(end)} for begin, end in spans],
        "main": next(iter(paths), None),
        "indicators": {name: {"unit": unit_of(model, name), **band(points)} for name, points in paths.items()},
    }


def _main(
    ours: Mapping[str, Points],
    theirs: Mapping[str, Points],
    runs: Sequence[Replication],
    baseline: Sequence[Replication],
) -> str | None:
    """Return the series that differs most from the baseline, by pairs of runs; the first of those that differ as much."""
    numbers = {run.run for run in runs} & {run.run for run in baseline}
    mine, other = ([each.run in numbers for each in many] for many in (runs, baseline))

    def apart(name: str) -> float:
        if not numbers or name not in theirs:
            return 0.0
        # Rounded, so that those as far apart as each other stay in the order of the model.
        return round(effect_size(ours[name][mine], theirs[name][other]), 4)

    return max(ours, key=apart, default=None)


def _notable(runs: Sequence[Replication]) -> list[dict[str, Any]]:
    """Join what happened over runs: when it did first, in how many, how often."""
    times: dict[tuple[str, str], dict[int, list[float]]] = {}
    for run in runs:
        for each in run.notable:
            times.setdefault((each.what, each.node), {}).setdefault(run.run, []).append(each.time)
    found = [_happening(what, node, by_run, len(runs)) for (what, node), by_run in times.items()]
    return sorted(found, key=lambda each: (each["time"], each["what"], each["node"]))[:MOST_NOTABLE]


def _happening(what: str, node: str, times: Mapping[int, Iterable[float]], runs: int) -> dict[str, Any]:
    by_run = [sorted(each) for each in times.values()]
    first = [each[0] for each in by_run]
    return {
        "time": rounded(sum(first) / len(first)),
        "earliest": rounded(min(first)),
        "latest": rounded(max(first)),
        "what": what,
        "node": node,
        "share": rounded(len(first) / runs),
        "times": rounded(sum(len(each) for each in by_run) / runs),
    }
