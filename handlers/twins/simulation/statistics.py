"""What many runs come to: means with intervals, changes by pairs of runs, bands of series. Rounded, so that bytes are stable."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Digits that are told: far fewer than two machines may differ in.
DIGITS = 6
# Of 100 means of so many runs, 95 such intervals hold the true one.
CONFIDENCE = 0.95
# Between these percentiles over runs is the band of a series.
LOW, HIGH = 5, 95

Estimate = dict[str, float | None]
Band = dict[str, Any]
# Of one series: a row a run.
Points = NDArray[np.float64]


def points_of(runs: Sequence[Sequence[float]]) -> Points:
    """Return one series of several runs."""
    return np.asarray(runs, dtype=np.float64)


def rounded(value: float) -> float | None:
    """Return `value` with DIGITS digits; None where it is no finite number, which JSON has no word for."""
    if not math.isfinite(value):
        return None
    # A zero has no sign.
    return float(f"{value:.{DIGITS}g}") + 0.0


def estimate(values: Sequence[float]) -> Estimate:
    """Return the mean, and the interval that Student's t gives; of one value there is none, so `low` and `high` are None.

    mean ± t(0.975, n - 1) * s / sqrt(n), s the standard deviation of the n values. Values that are not finite are not counted.
    """
    known = [value for value in values if math.isfinite(value)]
    if not known:
        return {"mean": None, "low": None, "high": None}
    mean = _mean(known)
    if len(known) == 1:
        return {"mean": rounded(mean), "low": None, "high": None}
    half = _t(len(known) - 1) * _deviation(known, mean) / math.sqrt(len(known))
    return {"mean": rounded(mean), "low": rounded(mean - half), "high": rounded(mean + half)}


def change(values: Mapping[int, float], baseline: Mapping[int, float]) -> Estimate:
    """Return the estimate of value less baseline, run by run: both draw the same, so that chance falls out of the difference."""
    return estimate([value - baseline[run] for run, value in values.items() if run in baseline])


def band(points: Points) -> Band:
    """Return mean, low and high of each point over runs; a point that is not finite in a run is None."""
    with np.errstate(all="ignore"):
        low, high = np.percentile(points, [LOW, HIGH], axis=0)
        mean = points.mean(axis=0)
    return {
        "mean": [rounded(float(each)) for each in mean],
        "low": [rounded(float(each)) for each in low],
        "high": [rounded(float(each)) for each in high],
    }


def effect_size(ours: Points, theirs: Points) -> float:
    """Return how far two series of the same runs are apart at most: in standard deviations of the differences.

    A hundredth of the greatest value is added to these, so that what does not vary is not infinitely apart.
    """
    with np.errstate(all="ignore"):
        differences = ours - theirs
        least = max(float(np.abs(ours).max()), float(np.abs(theirs).max())) / 100
        spread = np.hypot(differences.std(axis=0), least)
        sizes = np.abs(differences.mean(axis=0)) / np.where(spread > 0, spread, 1)
    return float(np.nan_to_num(sizes, nan=0, posinf=0).max())


def _mean(values: Sequence[float]) -> float:
    try:
        return math.fsum(values) / len(values)
    except OverflowError:
        return math.fsum(value / len(values) for value in values)


def _deviation(values: Sequence[float], mean: float) -> float:
    try:
        return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))
    except OverflowError:
        return math.inf


def _t(freedom: int) -> float:
    # Loaded with the first result: it takes as long as a fifth of the hub's start.
    from scipy.special import stdtrit

    return float(stdtrit(freedom, (1 + CONFIDENCE) / 2))
