"""Values that change at times: what holds when, and when something is done at a rate that changes."""

import math
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.twins.simulation.factors import Factor, factor_of
from handlers.twins.simulation.model import Change
from handlers.twins.simulation.replication import SimulationError


def change(factor: float, begin: float = 0, end: float | None = None, **other: Any) -> Change:
    return Change.model_validate({"node": "a", "what": "demand", "factor": factor, "begin": begin, "end": end, **other})


def test_several_changes():
    """They multiply where they hold together; begins count, ends do not; those of others do not matter."""
    factor = factor_of([change(2, 1, 3), change(5, 2), change(7, node="b"), change(7, what="price")], "a", "demand")
    assert factor is not None
    assert [factor.at(time) for time in (0, 0.9, 1, 2, 2.9, 3, 99)] == [1, 1, 2, 10, 10, 5, 5]
    assert factor.times == [1, 2, 3]
    assert factor_of([change(2)], "b", "demand") is None


def test_done_at_a_rate_that_changes():
    """What is closed waits, what is fast is done sooner, and what never opens is never done."""
    factor = Factor([0, 2, 4], [1, 0, 0.5])
    assert factor.reached(1, 1) == 2
    assert factor.reached(1, 1.5) == 5
    assert factor.reached(3, 1, rate=2) == 5
    assert factor.reached(3, 1, rate=math.inf) == 4
    assert Factor([0, 2], [1, 0]).reached(1, 5) == math.inf


@given(
    st.lists(st.tuples(st.floats(0.1, 5), st.just(0.0) | st.floats(0.01, 3)), min_size=1, max_size=6),
    st.floats(0, 20),
    st.floats(0.01, 10),
)
def test_what_is_done_adds_up(parts: list[tuple[float, float]], begin: float, amount: float):
    """The integral of the factor until then is the amount."""
    begins = [0.0]
    for length, _ in parts[:-1]:
        begins.append(begins[-1] + length)
    factor = Factor(begins, [value for _, value in parts])
    end = factor.reached(begin, amount)
    if end == math.inf:
        assert parts[-1][1] == 0
        return
    edges = sorted({begin, end, *(time for time in begins if begin < time < end)})
    done = sum((after - before) * factor.at(before) for before, after in pairwise(edges))
    assert done == pytest.approx(amount, rel=1e-6)


def test_answers_to_a_price():
    """The factor of the demand, times that of the price to the elasticity."""
    joined = Factor([0, 5], [1, 2]).joined(Factor([0, 7], [1, 4]), -0.5)
    assert [joined.at(time) for time in (0, 5, 7)] == [1, 2, 1]
    with pytest.raises(SimulationError):
        Factor([0], [1]).joined(Factor([0], [0]), -1)


def test_more_than_a_value_may_be():
    """Named, not infinite."""
    with pytest.raises(SimulationError):
        factor_of([change(1e12), change(10)], "a", "demand")
