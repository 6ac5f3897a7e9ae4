"""Equations give what their solutions say; what has no solution is told with its place."""

import math
from typing import Any

import pytest

from handlers.twins.simulation.model import Case
from handlers.twins.simulation.replication import SimulationError
from tests.handlers.twins.simulation.cases import flows, once

# The integrator's tolerance is 1e-8 of a value a step; over some hundred steps that comes to less.
CLOSE = 1e-5


def test_logistic_growth():
    """N(t) = K / (1 + (K / N0 - 1) e^(-r t)), at each point of the series."""
    case = flows(
        stocks={"fish": {"initial": 10}},
        parameters={"r": 0.5, "most": 1000},
        flows={"births": {"target": "fish", "rate": "r * fish * (1 - fish / most)"}},
    )
    series = once(case, 40).series["fish"]
    assert len(series) == 121
    exact = [1000 / (1 + 99 * math.exp(-0.5 * 40 * point / 120)) for point in range(121)]
    assert series == pytest.approx(exact, rel=CLOSE)


def epidemic(**parameters: Any) -> dict[str, Any]:
    return {
        "stocks": {"S": {"initial": 9990}, "I": {"initial": 10}, "R": {"initial": 0}},
        "parameters": {"beta": 0.5, "gamma": 0.2, **parameters},
        "variables": {"force": "beta * I / total", "total": "S + I + R"},
        "flows": {
            "infection": {"source": "S", "target": "I", "rate": "force * S"},
            "recovery": {"source": "I", "target": "R", "rate": "gamma * I"},
        },
    }


def test_peak_of_an_epidemic():
    """SIR: at the peak S = N / R0, so that I = S0 + I0 - N / R0 (1 + ln(R0 S0 / N)); nobody is lost."""
    found = once(flows(**epidemic()), 120)
    ratio = 0.5 / 0.2
    peak = 10_000 - 10_000 / ratio * (1 + math.log(ratio * 0.999))
    # The greatest of 1,200 values: near a peak of that width the nearest is within 1e-4 of it.
    assert found.indicators["I.most"] == pytest.approx(peak, rel=1e-4)
    assert sum(found.indicators[f"{name}.at_end"] for name in "SIR") == pytest.approx(10_000, rel=1e-9)
    at = found.indicators["I.time_of_most"]
    assert found.series["S"][round(at)] == pytest.approx(10_000 / ratio, rel=0.05)


def test_parameter_that_changes_for_a_while():
    """Decay at 0.1, at 0.3 from 10.3 to 15.7, and at 0.1 again: the exponent adds up, whatever the points of the series."""
    case = flows(
        [{"node": "rate", "what": "parameter", "factor": 3, "begin": 10.3, "end": 15.7}],
        stocks={"mass": {"initial": 100}},
        parameters={"rate": 0.1},
        flows={"decay": {"source": "mass", "rate": "rate * mass"}},
    )
    found = once(case, 20)
    assert found.indicators["mass.at_end"] == pytest.approx(100 * math.exp(-2 - 0.2 * 5.4), rel=CLOSE)
    assert [(one.what, one.time) for one in found.notable] == [("change_begins", 10.3), ("change_ends", 15.7)]


def test_rate_that_is_otherwise_for_a_moment():
    """A pulse of an hundredth of the horizon is not stepped over, however calm it was before."""
    rate = "if(t >= 50, if(t < 51, 100, 0), 0)"
    case = flows(stocks={"tank": {"initial": 0}}, flows={"pulse": {"target": "tank", "rate": rate}})
    assert once(case, 100).indicators["tank.at_end"] == pytest.approx(100, rel=1e-3)


def test_stiff_equations():
    """Rates of a million beside one of 1 cost no million steps."""
    case = flows(
        stocks={"fast": {"initial": 1}, "slow": {"initial": 1}},
        flows={
            "follow": {"target": "fast", "rate": "1000000 * (slow - fast)"},
            "decay": {"source": "slow", "rate": "slow"},
        },
    )
    found = once(case, 5)
    assert found.indicators["fast.at_end"] == pytest.approx(math.exp(-5), rel=1e-4)
    assert found.steps < 5000


def test_parameters_are_drawn_once_a_run():
    """Each run has its own, and the same one again."""
    drawn = {"distribution": "uniform", "low": 0.4, "high": 0.6}
    case = flows(**epidemic(beta=drawn))
    first, second = once(case, 50, run=0), once(case, 50, run=1)
    assert first.indicators["I.most"] != second.indicators["I.most"]
    assert first == once(case, 50, run=0)


def broken(rate: str) -> Case:
    return flows(stocks={"x": {"initial": 1}}, flows={"f": {"target": "x", "rate": rate}})


@pytest.mark.parametrize(
    ("rate", "message"),
    [
        ("1 / (t - t)", "flows.f.rate: Column 3: division by zero at t = 0"),
        ("sqrt(0.5 - t)", "flows.f.rate: Column 1: no such value at t = "),
        ("0 * exp(1000 * t)", "flows.f.rate: Column 5: overflow at t = "),
        ("x ^ 2", ""),
        ("1000000000000 * x", ""),
    ],
)
def test_equations_without_a_value_are_named(rate: str, message: str):
    """The flow, the column and the time; a value that leaves all bounds, or that the integrator cannot follow."""
    with pytest.raises(SimulationError) as raised:
        once(broken(rate), 100)
    assert raised.value.code in ("VALIDATION_ERROR", "LIMIT_EXCEEDED")
    assert raised.value.message.startswith(message)


def test_equations_that_take_too_long():
    """An oscillation of a million a unit of time would take as many steps."""
    case = flows(
        stocks={"x": {"initial": 1}, "v": {"initial": 0}},
        flows={"a": {"target": "x", "rate": "1000000 * v"}, "b": {"source": "v", "rate": "1000000 * x"}},
    )
    with pytest.raises(SimulationError) as raised:
        once(case, 100)
    assert raised.value.code == "LIMIT_EXCEEDED"
