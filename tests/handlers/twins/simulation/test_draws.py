"""Distributions have the means they say, and each node and purpose its own stream."""

import math
from itertools import islice
from statistics import fmean, pstdev
from typing import Any

import pytest
from pydantic import TypeAdapter

from handlers.twins.simulation.draws import draws_of, mean_of, uniform_of
from handlers.twins.simulation.model import Distribution

SIZE = 40_000
READ: TypeAdapter[Any] = TypeAdapter(Distribution)


def drawn(distribution: Any, node: str = "a", purpose: str = "p", run: int = 0, size: int = SIZE) -> list[float]:
    draw = draws_of(READ.validate_python(distribution), 3, run, node, purpose)
    return list(islice(iter(draw, None), size))


@pytest.mark.parametrize(
    ("distribution", "mean", "deviation"),
    [
        ({"distribution": "exponential", "mean": 4}, 4, 4),
        ({"distribution": "normal", "mean": 50, "deviation": 5}, 50, 5),
        # Half of a normal distribution.
        (
            {"distribution": "normal", "mean": 0, "deviation": 2},
            2 * math.sqrt(2 / math.pi),
            2 * math.sqrt(1 - 2 / math.pi),
        ),
        ({"distribution": "uniform", "low": 2, "high": 8}, 5, math.sqrt(3)),
        ({"distribution": "triangular", "low": 0, "mode": 3, "high": 6}, 3, math.sqrt(1.5)),
        ({"distribution": "lognormal", "mean": 7, "deviation": 3}, 7, 3),
        ({"distribution": "poisson", "mean": 2.5}, 2.5, math.sqrt(2.5)),
        ({"distribution": "empirical", "values": [1, 1, 4]}, 2, math.sqrt(2)),
    ],
)
def test_means_and_deviations(distribution: dict[str, Any], mean: float, deviation: float):
    """The mean of so many is within four of its standard errors; the deviation within 4 %."""
    values = drawn(distribution)
    assert min(values) >= 0
    assert mean_of(READ.validate_python(distribution)) == pytest.approx(mean)
    assert abs(fmean(values) - mean) < 4 * deviation / math.sqrt(SIZE)
    assert pstdev(values) == pytest.approx(deviation, rel=0.04)


@pytest.mark.parametrize(
    "distribution",
    [
        3,
        3.0,
        {"distribution": "constant", "value": 3},
        {"distribution": "uniform", "low": 3, "high": 3},
        {"distribution": "triangular", "low": 3, "mode": 3, "high": 3},
        {"distribution": "normal", "mean": 3, "deviation": 0},
        {"distribution": "lognormal", "mean": 3, "deviation": 0},
    ],
)
def test_what_is_always_the_same(distribution: Any):
    """However it is said."""
    assert drawn(distribution, size=3) == pytest.approx([3, 3, 3])
    assert mean_of(READ.validate_python(distribution)) == 3


def test_streams():
    """They differ by node, purpose and run, and are the same again."""
    exponential = {"distribution": "exponential", "mean": 1}
    ways = [("a", "p", 0), ("b", "p", 0), ("a", "q", 0), ("a", "p", 1)]
    found = [drawn(exponential, *way, size=100) for way in ways]
    assert found == [drawn(exponential, *way, size=100) for way in ways]
    assert len({tuple(values) for values in found}) == 4


def test_uniform_numbers():
    """For what is decided by probability: at least 0, below 1."""
    draw = uniform_of(1, 0, "a", "next")
    values = [draw() for _ in range(1000)]
    assert 0 <= min(values) < 0.01 < 0.99 < max(values) < 1
