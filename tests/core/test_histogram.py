"""Histograms, and what fills them."""

from core.histogram import Histogram
from core.operations.timings import Timings


def test_value_on_a_bound_belongs_to_it():
    """A bucket is "at or below"."""
    histogram = Histogram((0.1, 1.0))
    for value in (0.05, 0.1, 0.5, 1.0, 7.0):
        histogram.add(value)
    assert histogram.cumulative() == [("0.1", 2), ("1.0", 4), ("+Inf", 5)]
    assert abs(histogram.total - 8.65) < 1e-9


def test_timings_are_apart_by_operation_and_outcome():
    """A refusal that is quick does not make the successes look quick."""
    timings = Timings()
    timings.note("agents.get", "ok", 0.2)
    timings.note("agents.get", "RESOURCE_NOT_FOUND", 0.001)
    timings.note("agents.get", "ok", 0.3)
    assert {key: sum(each.counts) for key, each in timings.by_operation.items()} == {
        ("agents.get", "ok"): 2,
        ("agents.get", "RESOURCE_NOT_FOUND"): 1,
    }
