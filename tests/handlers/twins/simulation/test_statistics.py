"""Means, intervals, pairs and bands: by hand, and by how often an interval holds the truth."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.twins.simulation.statistics import band, change, effect_size, estimate, points_of, rounded


def test_interval_is_that_of_students_t():
    """Of 1, 2, 3, 4, 5: s = sqrt(2.5), t(0.975, 4) = 2.776445, so 3 ± 1.963243."""
    assert estimate([1, 2, 3, 4, 5]) == {"mean": 3, "low": 1.03676, "high": 4.96324}


def test_one_run_has_no_interval():
    assert estimate([2]) == {"mean": 2, "low": None, "high": None}
    assert estimate([]) == {"mean": None, "low": None, "high": None}


def test_runs_that_are_equal_have_an_interval_without_width():
    assert estimate([0.1] * 7) == {"mean": 0.1, "low": 0.1, "high": 0.1}


def test_95_of_100_intervals_hold_the_mean():
    """Of 2,000 samples 1,900 are expected, give or take sqrt(2000 * 0.95 * 0.05) = 9.7: within four of these at this seed."""
    draws = np.random.Generator(np.random.PCG64(5)).normal(10, 3, (2000, 8))
    found = [estimate(list(sample)) for sample in draws]
    held = sum((each["low"] or 0) <= 10 <= (each["high"] or 0) for each in found)
    assert abs(held - 1900) < 4 * 9.8


def test_change_is_by_pairs():
    """What is drawn alike falls out of the difference: runs that vary by hundreds differ by one, always."""
    baseline = {run: 100.0 * run for run in range(10)}
    values = {run: value + 1 for run, value in baseline.items()}
    assert change(values, baseline) == {"mean": 1, "low": 1, "high": 1}


def test_runs_without_a_partner_are_left_out_of_the_change():
    assert change({0: 3.0, 1: 5.0, 2: 9.0}, {0: 1.0, 1: 3.0})["mean"] == 2


def test_band_has_the_5th_and_95th_percentile():
    found = band(points_of([[float(run), 1.0] for run in range(101)]))
    assert found == {"mean": [50, 1], "low": [5, 1], "high": [95, 1]}


@given(st.floats())
def test_rounded_is_finite_or_nothing(value: float):
    found = rounded(value)
    if math.isfinite(value):
        assert found == pytest.approx(value, rel=1e-5, abs=0)
        assert math.copysign(1, found or 1) == 1 or found != 0
    else:
        assert found is None


@given(st.lists(st.floats(), max_size=8))
def test_estimates_are_finite_or_nothing(values: list[float]):
    assert all(each is None or math.isfinite(each) for each in estimate(values).values())


@given(st.lists(st.lists(st.floats(), min_size=3, max_size=3), min_size=1, max_size=5))
def test_bands_and_effects_are_finite_or_nothing(runs: list[list[float]]):
    found = band(points_of(runs))
    assert all(each is None or math.isfinite(each) for name in ("mean", "low", "high") for each in found[name])
    assert math.isfinite(effect_size(points_of(runs), points_of(runs[::-1])))


def test_effect_is_greater_where_chance_is_smaller():
    steady = effect_size(points_of([[10.0], [10.1], [9.9]]), points_of([[8.0], [8.1], [8.0]]))
    shaky = effect_size(points_of([[10.0], [14.0], [6.0]]), points_of([[8.0], [5.0], [12.0]]))
    assert steady > shaky > 0
    assert effect_size(points_of([[1.0], [2.0]]), points_of([[1.0], [2.0]])) == 0
