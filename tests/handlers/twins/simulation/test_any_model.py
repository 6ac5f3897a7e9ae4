"""Whatever a model says: a run whose values are finite and not negative, or an error that says what is wrong."""

import json
from dataclasses import asdict
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from handlers.twins.simulation.checks import problems, problems_of_changes
from handlers.twins.simulation.engine import replicate
from handlers.twins.simulation.model import Case
from handlers.twins.simulation.replication import Replication, SimulationError
from tests.handlers.twins.simulation.cases import flows, network

Strategy = st.SearchStrategy[Any]

VALUES = st.sampled_from([0, 0.25, 1, 3.7, 40, 1e12])
FEW = st.sampled_from([0.5, 1, 3])


def drawn(distribution: str, **values: Strategy) -> Strategy:
    return st.fixed_dictionaries({"distribution": st.just(distribution), **values})


def kind(name: str, **values: Strategy) -> Strategy:
    return st.fixed_dictionaries({"kind": st.just(name), **values})


def policy(name: str, **values: Strategy) -> Strategy:
    return st.fixed_dictionaries({"policy": st.just(name), **values})


DRAWN = (
    VALUES
    | drawn("exponential", mean=FEW)
    | drawn("normal", mean=VALUES, deviation=VALUES)
    | drawn("uniform", low=VALUES, high=VALUES)
    | drawn("lognormal", mean=FEW, deviation=VALUES)
    | drawn("triangular", low=st.just(0), mode=FEW, high=st.just(4))
    | drawn("poisson", mean=VALUES)
    | drawn("empirical", values=st.lists(VALUES, min_size=1, max_size=3))
)
INTERVAL = FEW | drawn("exponential", mean=FEW) | drawn("empirical", values=st.just([0, 0, 2])) | DRAWN
POLICY = (
    policy("none")
    | policy("base_stock", level=VALUES)
    | policy("s_S", reorder_point=FEW, order_up_to=st.sampled_from([2, 5, 1e12]), review=st.sampled_from([0, 0.1, 7]))
    | policy("s_Q", reorder_point=VALUES, quantity=FEW)
)
STOCK: dict[str, Strategy] = {
    "initial": VALUES,
    "policy": POLICY,
    "lead_time": DRAWN,
    "on_shortage": st.sampled_from(["backlog", "lost"]),
    "holding_cost": VALUES,
    "order_cost": VALUES,
    "shortage_cost": VALUES,
    "price": VALUES,
}
QUEUE: dict[str, Strategy] = {
    "service": DRAWN,
    "servers": st.integers(1, 3),
    "capacity": st.integers(0, 3),
    "next": st.dictionaries(st.sampled_from(["first", "second"]), st.sampled_from([0.2, 0.5]), max_size=2),
    "resource": st.sampled_from([None, "crew"]),
}
NODES = st.fixed_dictionaries(
    {
        "supplier": kind("supplier", lead_time=DRAWN, capacity=st.sampled_from([None, 0.5, 20]), price=VALUES),
        "warehouse": kind("stock", source=st.sampled_from(["supplier", "supplier", "shop"]), **STOCK),
        "shop": kind("stock", source=st.sampled_from(["supplier", "warehouse", None]), **STOCK),
        "people": kind(
            "demand", stock=st.just("shop"), interval=INTERVAL, quantity=DRAWN, elasticity=st.sampled_from([0, -2])
        ),
        "others": kind("demand", stock=st.just("warehouse"), interval=INTERVAL, quantity=DRAWN),
        "door": kind("arrivals", to=st.sampled_from(["first", "second"]), interval=INTERVAL),
        "first": kind("queue", **QUEUE),
        "second": kind("queue", **QUEUE),
        "crew": kind("resource", capacity=st.integers(1, 3)),
    }
)
WHAT = {
    "supplier": ["capacity", "lead_time", "price"],
    "shop": ["lead_time", "price"],
    "people": ["demand"],
    "door": ["demand"],
    "first": ["capacity"],
    "crew": ["capacity"],
}
CHANGE = st.fixed_dictionaries(
    {
        "of": st.sampled_from([(node, what) for node, able in WHAT.items() for what in able]),
        "factor": st.sampled_from([0, 0.3, 2, 30, 1e12]),
        "begin": st.sampled_from([0, 4, 19, 500]),
        "end": st.sampled_from([None, 5, 12.5, 20, 1000]),
    }
)


def outcome(case: Case) -> Replication | SimulationError:
    try:
        return replicate(case, horizon=20, seed=1, run=0)
    except SimulationError as error:
        return error


@settings(max_examples=200, deadline=None)
@given(NODES, st.lists(CHANGE, max_size=3), st.sampled_from([0, 5]))
def test_any_network_runs_or_is_refused(nodes: dict[str, Any], changes: list[dict[str, Any]], warm_up: int):
    """Most of these run: references are right, values are the edges."""
    given_changes = [
        {"node": (of := dict(change).pop("of"))[0], "what": of[1]} | _without_of(change) for change in changes
    ]
    case = network(nodes, given_changes, warm_up=warm_up)
    wrong = [*problems(case.model, horizon=20), *problems_of_changes(case)]
    found = outcome(case)
    if isinstance(found, SimulationError):
        assert found.message
        return
    assert not wrong
    json.dumps(asdict(found), allow_nan=False)
    assert all(value >= 0 for name, value in found.indicators.items() if name != "profit")
    shares = [
        value
        for name, value in found.indicators.items()
        if name.endswith((".service_level", ".utilisation", ".in_stock"))
    ]
    assert all(share <= 1 + 1e-9 for share in shares)
    # The last sample is of the horizon, before anything that happens at it.
    assert found.indicators["shop.backlog_at_end"] == found.series["shop.backlog"][-1]


def _without_of(change: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in change.items() if name != "of"}


RATE = st.recursive(
    st.sampled_from(["x", "y", "k", "v", "t", "0", "1", "0.01", "1e12"]),
    lambda inner: (
        st.tuples(inner, st.sampled_from(["+", "-", "*", "/", "^", "<"]), inner).map(
            lambda three: f"({' '.join(three)})"
        )
        | inner.map(lambda one: f"exp({one})")
        | inner.map(lambda one: f"sqrt({one})")
        | st.tuples(inner, inner).map(lambda two: f"if({two[0]}, {two[1]}, 1)")
    ),
    max_leaves=6,
)


@settings(max_examples=60, deadline=None)
@given(st.tuples(RATE, RATE, RATE), st.sampled_from([0, 1, -3, 1e12]), st.sampled_from([0.2, -5, 1e12]))
def test_any_equations_run_or_are_refused(rates: tuple[str, str, str], initial: float, parameter: float):
    """Stiff, growing, undefined, oscillating."""
    case = flows(
        [{"node": "k", "what": "parameter", "factor": 2, "begin": 5}],
        stocks={"x": {"initial": initial}, "y": {"initial": 1}},
        parameters={"k": parameter},
        variables={"v": rates[0].replace("v", "k")},
        flows={"f": {"source": "x", "target": "y", "rate": rates[1]}, "g": {"target": "x", "rate": rates[2]}},
    )
    assert problems(case.model) == []
    found = outcome(case)
    if isinstance(found, Replication):
        json.dumps(asdict(found), allow_nan=False)
    else:
        assert found.code in ("LIMIT_EXCEEDED", "VALIDATION_ERROR")
