"""Runs are the same for the same seed, differ by what is changed alone, and end: by the horizon, or by a named error."""

import json
import subprocess
import sys
from dataclasses import asdict
from typing import Any

import pytest

from handlers.twins.simulation.indicators import INDICATORS, SERIES
from handlers.twins.simulation.model import Case
from handlers.twins.simulation.network import queueing, world
from handlers.twins.simulation.replication import MOST_NOTABLE, POINTS, Replication, SimulationError
from tests.handlers.twins.simulation.cases import Nodes, arrivals, exponential, flows, network, once, queue, stock

NODES: Nodes = {
    "supplier": {"kind": "supplier", "lead_time": exponential(3), "price": 2},
    "shop": stock({"policy": "base_stock", "level": 8}, 8, price=5, holding_cost=1),
    "people": {
        "kind": "demand",
        "stock": "shop",
        "interval": exponential(0.5),
        "quantity": {"distribution": "poisson", "mean": 1},
    },
    "in": arrivals("desk"),
    "desk": queue(0.8, next={"desk": 0.1}, resource="crew"),
    "crew": {"kind": "resource", "capacity": 1},
}
CHANGES: list[dict[str, Any]] = [{"node": "supplier", "what": "lead_time", "factor": 2, "begin": 30, "end": 60}]
PROGRAM = """
import json, sys
from dataclasses import asdict
from handlers.twins.simulation.engine import replicate
from handlers.twins.simulation.model import Case
case = Case.model_validate_json(sys.stdin.read())
print(json.dumps([asdict(replicate(case, horizon=90, seed=5, run=run)) for run in (1, 0)]))
"""


def in_a_process(case: Case, hash_seed: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM],
        input=case.model_dump_json(),
        env={"PYTHONHASHSEED": hash_seed, "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def told(result: Replication) -> str:
    return json.dumps(asdict(result))


def test_the_same_in_every_process():
    """Whatever ran before, whatever the order of hashes, and of the nodes in the document."""
    case = network(NODES, CHANGES)
    here = json.dumps([asdict(once(case, 90, seed=5, run=run)) for run in (1, 0)]) + "\n"
    assert in_a_process(case, "1") == here
    assert in_a_process(network(dict(reversed(NODES.items())), CHANGES), "2") == here


def test_runs_and_seeds_differ():
    """Each run has its own draws."""
    case = network(NODES)
    found = {told(once(case, 90, seed=seed, run=run)).partition("indicators")[2] for seed in (0, 1) for run in (0, 1)}
    assert len(found) == 4


def test_a_change_moves_no_other_draws():
    """Case and baseline have the same customers, at the same times, and the queue beside them does not notice."""
    case, baseline = once(network(NODES, CHANGES), 90), once(network(NODES), 90)
    assert case.indicators["shop.service_level"] < baseline.indicators["shop.service_level"]
    for same in ("people.wanted", "desk.mean_wait", "in.left"):
        assert case.indicators[same] == baseline.indicators[same]
    assert case.series["desk.queue"] == baseline.series["desk.queue"]
    # Until the change begins nothing differs: 30 of 90, and the point itself.
    assert case.series["shop.stock"][:41] == baseline.series["shop.stock"][:41]
    assert case.series["shop.stock"] != baseline.series["shop.stock"]


def test_a_node_more_moves_no_other_draws():
    """A stream is of its node's name, not of its place."""
    more: Nodes = {**NODES, "aside": {"kind": "demand", "stock": "shelf", "interval": exponential(1)}}
    more["shelf"] = {"kind": "stock", "initial": 3, "policy": {"policy": "none"}}
    found, before = once(network(more), 90).indicators, once(network(NODES), 90).indicators
    assert {name: found[name] for name in before if "total" not in name} == {
        name: value for name, value in before.items() if "total" not in name
    }


def test_what_one_orders_moves_no_draws_of_another():
    """Two stocks of one supplier: more customers of one change nothing for the other."""
    nodes: Nodes = {**NODES, "shelf": stock({"policy": "base_stock", "level": 5}, 5)}
    nodes["others"] = {"kind": "demand", "stock": "shelf", "interval": exponential(1)}
    before = once(network(nodes), 90).series
    found = once(network(nodes, [{"node": "others", "what": "demand", "factor": 3}]), 90).series
    assert found["shelf.stock"] != before["shelf.stock"]
    assert found["shop.stock"] == before["shop.stock"]


def test_every_indicator_and_series_is_described():
    """The table says what a run gives, for each kind of node, in its order."""
    found = once(network(NODES), 90)
    for name, node in NODES.items():
        given_ones = [key.partition(".")[2] for key in found.indicators if key.startswith(f"{name}.")]
        assert given_ones == [one.name for one in INDICATORS[node["kind"]]]
        series = [key.partition(".")[2] for key in found.series if key.startswith(f"{name}.")]
        assert series == [one.name for one in SERIES.get(node["kind"], ())]
    assert [key for key in found.indicators if "." not in key] == [one.name for one in INDICATORS["model"]]
    flow = once(flows(stocks={"x": {"initial": 1}}), 10)
    assert list(flow.indicators) == [f"x.{one.name}" for one in INDICATORS["flow"]]
    assert all(len(values) == POINTS + 1 for values in (*found.series.values(), *flow.series.values()))


def test_after_the_warm_up_only():
    """What is counted from 50 on is what a run counts less what it had counted until then."""
    whole, late = once(network(NODES), 90).indicators, once(network(NODES, warm_up=50), 90).indicators
    until = once(network(NODES), 50).indicators
    for name in (
        "people.wanted",
        "in.arrived",
        "desk.served",
        "shop.holding_cost",
        "supplier.purchase_cost",
        "total_cost",
    ):
        assert late[name] == pytest.approx(whole[name] - until[name], rel=1e-9)
    assert late["desk.utilisation"] * 40 == pytest.approx(
        whole["desk.utilisation"] * 90 - until["desk.utilisation"] * 50
    )


def refused(case: Case, horizon: float = 100) -> SimulationError:
    with pytest.raises(SimulationError) as raised:
        once(case, horizon)
    return raised.value


def test_a_model_with_problems_is_not_run():
    """The first one is told."""
    error = refused(network({"shop": stock({"policy": "base_stock", "level": 1})}))
    assert error.code == "VALIDATION_ERROR"
    assert error.message == "nodes.shop.source: There is no node 'supplier': name a stock or supplier"
    assert refused(network(NODES), 1e6).code == "VALIDATION_ERROR"


def test_a_run_has_a_bound_of_events(monkeypatch: pytest.MonkeyPatch):
    """A change may make more of them than were expected beforehand."""
    monkeypatch.setattr(world, "MOST_STEPS", 2000)
    many = network(NODES, [{"node": "in", "what": "demand", "factor": 1000, "begin": 10}])
    assert refused(many).code == "LIMIT_EXCEEDED"


def test_a_run_has_a_bound_of_what_it_holds(monkeypatch: pytest.MonkeyPatch):
    """Goods on their way that never arrive, and who waits for a server."""
    for module in (world, queueing):
        monkeypatch.setattr(module, "MOST_ENTITIES", 2000)
    people = {"kind": "demand", "stock": "shop", "interval": 1e-3}
    far: Nodes = {**NODES, "people": people, "supplier": {"kind": "supplier", "lead_time": 1e9}}
    assert refused(network({name: far[name] for name in ("supplier", "shop", "people")}), 3).code == "LIMIT_EXCEEDED"
    waiting: Nodes = {
        **{f"in{number}": {"kind": "arrivals", "to": f"desk{number}", "interval": 1e-3} for number in range(3)},
        **{f"desk{number}": {"kind": "queue", "service": 1e9, "capacity": 100_000} for number in range(3)},
    }
    assert refused(network(waiting), 1).code == "LIMIT_EXCEEDED"


def test_changes_are_told_however_much_happens():
    """Stock-outs leave room for them."""
    nodes: Nodes = {
        **NODES,
        "people": {"kind": "demand", "stock": "shop", "interval": 2, "quantity": 100},
        "supplier": {"kind": "supplier", "lead_time": 0.5},
    }
    late = [{"node": "people", "what": "demand", "factor": 2, "begin": 900, "end": 950}]
    notable = once(network(nodes, late), 1000).notable
    assert len(notable) <= MOST_NOTABLE
    assert [one.time for one in notable if one.node == "people"] == [900, 950]


def test_values_beyond_all_bounds():
    """Factors that multiply to more than a value may be, a price of nothing with an elasticity."""
    change = {"node": "people", "what": "demand", "factor": 1e12}
    assert refused(network(NODES, [change, change])).code == "VALIDATION_ERROR"
    nodes: Nodes = {**NODES, "people": {**NODES["people"], "elasticity": -2}}
    assert refused(network(nodes, [{"node": "shop", "what": "price", "factor": 0}])).code == "VALIDATION_ERROR"
