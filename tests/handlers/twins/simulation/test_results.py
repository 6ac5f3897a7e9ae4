"""What runs come to: by hand-made ones, whose numbers are known."""

from typing import Any

import orjson
import pytest

from handlers.twins.simulation.engine import replicate
from handlers.twins.simulation.plots import simulated
from handlers.twins.simulation.replication import POINTS, Happening, Notable, Replication
from handlers.twins.simulation.results import MOST_SERIES, Result, result, unit_of
from handlers.twins.simulation.samples import EPIDEMIC, PRODUCTION_LINE, SUPPLY_CHAIN
from handlers.twins.simulation.scenarios import Built, built


@pytest.fixture
def case() -> Built:
    return built({"type": "logistics"}, "demand_spike", {})


def run(number: int, *, stock_outs: float = 0, level: float = 10, notable: list[Notable] | None = None) -> Replication:
    return Replication(
        run=number,
        indicators={"warehouse.stock_outs": stock_outs, "profit": 1000.0},
        series={"warehouse.stock": [level] * (POINTS + 1), "store.stock": [5.0] * (POINTS + 1)},
        notable=notable or [],
    )


def of(case: Built, runs: list[Replication], baseline: list[Replication] | None = None) -> Result:
    return result(case, runs, baseline, horizon=180, seed=1)


def happened(time: float, what: Happening, node: str = "store") -> Notable:
    return Notable(time, what, node)


def test_indicators_have_the_baseline_and_the_change_beside_them(case: Built):
    found = of(case, [run(0, stock_outs=2), run(1, stock_outs=4)], [run(0), run(1, stock_outs=2)])
    told = found.summary["indicators"]["warehouse.stock_outs"]
    assert told["unit"] == "count"
    assert told["mean"] == 3
    assert told["baseline"]["mean"] == 1
    assert told["change"] == {"mean": 2, "low": 2, "high": 2}


def test_runs_are_taken_in_the_order_of_their_numbers(case: Built):
    """They come from several processes as they are done."""
    runs = [run(number, stock_outs=number / 7, level=number) for number in range(9)]
    there, back = (orjson.dumps(of(case, each, each).as_object()) for each in (runs, runs[::-1]))
    assert there == back


def test_without_a_baseline_there_is_none(case: Built):
    found = of(case, [run(0), run(1)])
    assert found.baseline is None
    assert set(found.summary["indicators"]["profit"]) == {"unit", "mean", "low", "high"}
    assert found.series["main"] == "warehouse.stock"


def test_series_have_times_units_and_changes(case: Built):
    found = of(case, [run(0, level=1), run(1, level=3)]).series
    assert found["times"][0] == 0
    assert found["times"][-1] == 180
    assert len(found["times"]) == POINTS + 1
    assert found["time_unit"] == "day"
    assert found["changes"] == [{"begin": 60, "end": 78}]
    assert found["indicators"]["warehouse.stock"]["mean"] == [2] * (POINTS + 1)
    assert found["indicators"]["warehouse.stock"]["unit"] == "units"


def test_main_is_the_series_that_differs_most(case: Built):
    runs, baseline = [run(0, level=8), run(1, level=8)], [run(0), run(1)]
    assert of(case, runs, baseline).series["main"] == "warehouse.stock"


def test_what_happened_is_joined_over_runs(case: Built):
    runs = [
        run(0, notable=[happened(70, "stock_out"), happened(90, "stock_out")]),
        run(1, notable=[happened(80, "stock_out")]),
        run(2, notable=[happened(60, "change_begins", "customers")]),
        run(3),
    ]
    assert of(case, runs).notable == [
        {
            "time": 60,
            "earliest": 60,
            "latest": 60,
            "what": "change_begins",
            "node": "customers",
            "share": 0.25,
            "times": 0.25,
        },
        {"time": 75, "earliest": 70, "latest": 80, "what": "stock_out", "node": "store", "share": 0.5, "times": 0.75},
    ]


def test_nothing_that_is_not_finite_is_told(case: Built):
    """JSON has no word for it."""
    runs = [run(number, stock_outs=float("nan"), level=float("inf")) for number in range(3)]
    found = of(case, runs, runs).as_object()
    assert found["summary"]["indicators"]["warehouse.stock_outs"]["mean"] is None
    assert found["series"]["indicators"]["warehouse.stock"]["mean"][0] is None
    # orjson writes NaN as null: what is read back would differ.
    assert orjson.loads(orjson.dumps(found)) == found


def test_series_are_bounded(case: Built):
    many = {f"warehouse.s{number}": [0.0] * (POINTS + 1) for number in range(MOST_SERIES + 5)}
    found = of(case, [Replication(0, {}, many), Replication(1, {}, many)])
    assert len(found.series["indicators"]) == MOST_SERIES


def test_one_run_is_told_without_intervals(case: Built):
    found = of(case, [run(0, stock_outs=2)], [run(0)])
    assert found.summary["indicators"]["warehouse.stock_outs"]["low"] is None
    assert found.summary["findings"][0] == "The warehouse runs out 2.0 times (baseline 0.0)."


@pytest.mark.parametrize(
    ("name", "unit"),
    [("store.service_level", "share"), ("store.recovery_time", "time"), ("profit", "money"), ("store.stock", "units")],
)
def test_units_are_those_of_the_engines(name: str, unit: str):
    assert unit_of(SUPPLY_CHAIN.model, name) == unit


def test_units_of_queues_and_flows():
    assert unit_of(PRODUCTION_LINE.model, "testing.queue") == "count"
    assert unit_of(PRODUCTION_LINE.model, "testing.mean_wait") == "time"
    assert unit_of(EPIDEMIC.model, "infectious.time_of_most") == "time"
    assert unit_of(EPIDEMIC.model, "infectious") == "units"


@pytest.mark.parametrize(
    ("kind", "scenario", "parameters"),
    [
        ("logistics", "supply_disruption", {}),
        ("production", "capacity_change", {}),
        ("epidemic", "what_if", {"patch": {"model": {"parameters": {"contact_rate": 0.2}}}}),
    ],
)
def test_the_same_seed_is_the_same_bytes(kind: str, scenario: str, parameters: dict[str, Any]):
    case = built({"type": kind}, scenario, parameters)
    first, second, other = (orjson.dumps(simulated(case, runs=3, seed=seed).as_object()) for seed in (4, 4, 5))
    assert first == second
    assert (first == other) == (kind == "epidemic")


def test_a_patch_that_adds_a_node_has_no_baseline_of_it():
    extra = {"kind": "demand", "stock": "store", "interval": 10}
    case = built({"type": "logistics"}, "what_if", {"patch": {"model": {"nodes": {"extra": extra}}}})
    runs, baseline = ([replicate(each, horizon=180, seed=1, run=0)] for each in (case.case, case.baseline))
    told = of(case, runs, baseline).summary["indicators"]
    assert "baseline" not in told["extra.wanted"]
    assert "baseline" in told["store.wanted"]
