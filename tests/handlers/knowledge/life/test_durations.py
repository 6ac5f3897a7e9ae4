"""Durations as counts that add up."""

import random

from handlers.knowledge.life.durations import COUNT, LEAST_MS, PER_DOUBLING, column_of, quantile


def counted(durations: list[float]) -> list[int]:
    counts = [0] * COUNT
    for each in durations:
        counts[column_of(each)] += 1
    return counts


def test_nothing_has_no_quantile():
    assert quantile([0] * COUNT, 0.5) is None


def test_column_has_what_its_upper_bound_does_not_pass():
    for column in range(1, COUNT - 1):
        bound = LEAST_MS * 2 ** (column / PER_DOUBLING)
        assert column_of(bound) == column
        assert column_of(bound * 1.001) == column + 1
    assert column_of(0) == column_of(LEAST_MS) == 0
    assert column_of(1e9) == COUNT - 1


def test_quantiles_are_right_to_nine_percent():
    """Of any mix of durations, beside the nearest rank of the durations themselves."""
    rng = random.Random(8)
    durations = sorted(LEAST_MS + rng.lognormvariate(2, 1.2) for _ in range(999))
    counts = counted(durations)
    for share in (0.0, 0.5, 0.95, 0.99, 1.0):
        exact = durations[max(0, -(-int(share * 1000) * 999 // 1000) - 1)]
        found = quantile(counts, share)
        assert found is not None
        assert abs(found / exact - 1) < 0.095, share


def test_all_alike_is_what_each_was():
    found = quantile(counted([40.0] * 7), 0.95)
    assert found is not None
    assert abs(found / 40 - 1) < 0.095
