"""What cannot be run is told beforehand, at its place."""

from typing import Any

import pytest

from handlers.twins.simulation.checks import changeable, problems, problems_of_changes
from tests.handlers.twins.simulation.cases import arrivals, flows, network, queue, stock

BASE = {"policy": "base_stock", "level": 5}
SHOP: dict[str, dict[str, Any]] = {"supplier": {"kind": "supplier"}, "shop": stock(BASE)}


def people(**other: Any) -> dict[str, Any]:
    return {"kind": "demand", "stock": "shop", "interval": 1, **other}


def told(case: Any) -> list[tuple[str, str]]:
    return [(one.place, one.code) for one in problems(case.model)]


def test_a_right_model_has_no_problems():
    """One of each kind of node."""
    nodes = {
        **SHOP,
        "people": people(quantity={"distribution": "empirical", "values": [1, 2]}),
        "in": arrivals("desk"),
        "desk": queue(0.5, next={"desk": 0.5}, resource="crew"),
        "crew": {"kind": "resource", "capacity": 2},
    }
    assert told(network(nodes)) == []


NONE: dict[str, Any] = {"policy": "none"}


@pytest.mark.parametrize(
    ("nodes", "place", "code"),
    [
        ({"shop": stock(BASE)}, "nodes.shop.source", "INVALID_FORMAT"),
        ({"shop": {**stock(BASE), "source": None}}, "nodes.shop.source", "MISSING_REQUIRED_FIELD"),
        ({**SHOP, "other": stock(BASE, source="people"), "people": people()}, "nodes.other.source", "INVALID_FORMAT"),
        ({"people": people()}, "nodes.people.stock", "INVALID_FORMAT"),
        ({**SHOP, "people": people(stock="supplier")}, "nodes.people.stock", "INVALID_FORMAT"),
        ({**SHOP, "in": arrivals("shop")}, "nodes.in.to", "INVALID_FORMAT"),
        ({"desk": queue(1, next={"other": 0.5})}, "nodes.desk.next.other", "INVALID_FORMAT"),
        ({"desk": queue(1, resource="desk")}, "nodes.desk.resource", "INVALID_FORMAT"),
        ({"a": queue(1, next={"a": 0.6, "b": 0.6}), "b": queue(1)}, "nodes.a.next", "VALUE_OUT_OF_RANGE"),
        ({**SHOP, "people": people(interval=0)}, "nodes.people.interval", "VALUE_OUT_OF_RANGE"),
        (
            {**SHOP, "people": people(interval={"distribution": "empirical", "values": [0, 0]})},
            "nodes.people.interval",
            "VALUE_OUT_OF_RANGE",
        ),
        (
            {**SHOP, "people": people(quantity={"distribution": "uniform", "low": 2, "high": 1})},
            "nodes.people.quantity.high",
            "VALUE_OUT_OF_RANGE",
        ),
        (
            {"desk": queue(1) | {"service": {"distribution": "triangular", "low": 1, "mode": 5, "high": 2}}},
            "nodes.desk.service.mode",
            "VALUE_OUT_OF_RANGE",
        ),
        (
            {"s": {"kind": "supplier", "lead_time": {"distribution": "lognormal", "mean": 1e-9, "deviation": 1}}},
            "nodes.s.lead_time.deviation",
            "VALUE_OUT_OF_RANGE",
        ),
        (
            {"supplier": {"kind": "supplier"}, "a": stock({"policy": "s_S", "reorder_point": 9, "order_up_to": 8})},
            "nodes.a.policy.order_up_to",
            "VALUE_OUT_OF_RANGE",
        ),
    ],
)
def test_what_is_wrong_with_a_node(nodes: dict[str, dict[str, Any]], place: str, code: str):
    """References that lead nowhere or to the wrong kind, values that do not fit each other."""
    assert told(network(nodes)) == [(place, code)]


def test_stocks_that_supply_each_other():
    """Each of the circle is told; one that only hangs on it is not."""
    nodes = {
        "a": stock(BASE, source="c"),
        "b": stock(BASE, source="a"),
        "c": stock(BASE, source="b"),
        "d": stock(BASE, source="a"),
        "e": stock(BASE, source="e"),
    }
    found = problems(network(nodes).model)
    assert [one.place for one in found] == [f"nodes.{name}.source" for name in "abce"]
    assert found[0].message == "Stocks supply each other in a circle: a from c from b from a"


def test_stocks_too_many_behind_each_other():
    """An order goes up through all at once: Python goes only so deep."""
    nodes = {"supplier": {"kind": "supplier"}, "s0": stock(BASE)}
    nodes |= {f"s{number}": stock(BASE, source=f"s{number - 1}") for number in range(1, 52)}
    assert told(network(nodes)) == [
        ("nodes.s50.source", "VALUE_OUT_OF_RANGE"),
        ("nodes.s51.source", "VALUE_OUT_OF_RANGE"),
    ]


def test_ways_that_never_leave():
    """`b` and `c` send to each other; from `a` some leave. Ten tenths are one."""
    tenths = {f"q{number}": 0.1 for number in range(10)}
    nodes = {
        "a": queue(1, next={"b": 0.5}),
        "b": queue(1, next={"c": 1}),
        "c": queue(1, next={"b": 1}),
        **{name: queue(1, next=tenths) for name in tenths},
    }
    assert [place for place, _ in told(network(nodes))] == [f"nodes.{name}.next" for name in ("b", "c", *tenths)]


@pytest.mark.parametrize(
    ("nodes", "place"),
    [
        ({**SHOP, "people": people(interval=1e-5)}, "nodes.people.interval"),
        ({"in": arrivals("desk", 1e-4), "desk": queue(0)}, None),
        ({"in": arrivals("desk", 1e-3), "desk": queue(1, next={"desk": 0.999})}, "nodes.in.interval"),
        ({"in": arrivals("desk"), "desk": queue(1, next={"desk": 0.99999999})}, "nodes.in.interval"),
        (
            {
                "supplier": {"kind": "supplier"},
                "s": stock({"policy": "s_S", "reorder_point": 1, "order_up_to": 2, "review": 1e-6}),
            },
            "nodes.s.policy",
        ),
    ],
)
def test_more_events_than_a_run_may_have(nodes: dict[str, dict[str, Any]], place: str | None):
    """Estimated beforehand by means; what makes most of them is told."""
    if place is None:
        nodes = {**nodes, "desk": {**nodes["desk"], "service": 0}}
        assert told(network(nodes, horizon=90)) == []
    else:
        assert told(network(nodes, horizon=180)) == [(place, "VALUE_OUT_OF_RANGE")]


def test_times():
    """A horizon has a bound, and the warm-up ends before it, also where a shorter one is asked for."""
    assert told(network(SHOP, horizon=100_001)) == [("horizon", "VALUE_OUT_OF_RANGE")]
    case = network(SHOP, horizon=100, warm_up=50)
    assert told(case) == []
    assert [one.place for one in problems(case.model, horizon=50)] == ["warm_up"]


def equations(**other: Any) -> Any:
    model: dict[str, Any] = {"stocks": {"x": {"initial": 1}}, "parameters": {"k": 2}, "flows": {}}
    return flows(**{**model, **other})


@pytest.mark.parametrize(
    ("model", "found"),
    [
        ({"flows": {"f": {"target": "x", "rate": "k * x + t"}}}, []),
        ({"flows": {"f": {"target": "x", "rate": "k *"}}}, [("flows.f.rate", "INVALID_FORMAT")]),
        ({"flows": {"f": {"target": "x", "rate": "y"}}}, [("flows.f.rate", "INVALID_FORMAT")]),
        ({"flows": {"f": {"target": "y", "rate": "1"}}}, [("flows.f.target", "INVALID_FORMAT")]),
        ({"flows": {"f": {"rate": "1"}}}, [("flows.f.target", "MISSING_REQUIRED_FIELD")]),
        ({"variables": {"x": "1"}}, [("variables.x", "INVALID_FORMAT")]),
        ({"parameters": {"t": 1}}, [("parameters.t", "INVALID_FORMAT")]),
        ({"stocks": {"min": {"initial": 1}}}, [("stocks.min", "INVALID_FORMAT")]),
        (
            {"variables": {"a": "b", "b": "c", "c": "b + k"}},
            [(f"variables.{name}", "INVALID_FORMAT") for name in "abc"],
        ),
        ({"variables": {"a": "a"}}, [("variables.a", "INVALID_FORMAT")]),
        (
            {"parameters": {"k": {"distribution": "uniform", "low": 2, "high": 1}}},
            [("parameters.k.high", "VALUE_OUT_OF_RANGE")],
        ),
    ],
)
def test_equations(model: dict[str, Any], found: list[tuple[str, str]]):
    """Names, expressions, ends of flows, and variables that need themselves."""
    assert told(equations(**model)) == found


def test_column_of_an_expression_is_told():
    """As compilers do."""
    case = equations(flows={"f": {"target": "x", "rate": "k * __import__"}})
    assert problems(case.model)[0].message == "'_' is not part of an expression (column 5)"


def test_changes():
    """Of a node that is there, of what it has, and for a while."""
    nodes = {**SHOP, "people": people()}
    changes: list[dict[str, Any]] = [
        {"node": "people", "what": "demand", "factor": 1.3, "begin": 1, "end": 2},
        {"node": "nobody", "what": "demand", "factor": 1},
        {"node": "shop", "what": "demand", "factor": 1},
        {"node": "supplier", "what": "price", "factor": 1, "begin": 2, "end": 2},
    ]
    found = problems_of_changes(network(nodes, changes))
    assert [one.place for one in found] == ["changes.1.node", "changes.2.what", "changes.3.end"]
    assert found[1].message == "Of 'shop' there is no demand: lead_time, price can change"
    assert changeable(equations().model, "k") == ("parameter",)
    assert changeable(equations().model, "x") == ()
