"""The samples: whole, named by types, and what a planner expects of them."""

from functools import cache
from typing import Any

import pytest

from handlers.twins.simulation.checks import problems
from handlers.twins.simulation.plots import simulated
from handlers.twins.simulation.results import Result
from handlers.twins.simulation.samples import SAMPLES, Sample, sample_of
from handlers.twins.simulation.scenarios import built


@cache
def spike() -> Result:
    """Return 30 runs of 30 % more demand in the supply chain."""
    case = built({"type": "logistics", "data_source": "erp_system"}, "demand_spike", {"increase_percentage": 30})
    return simulated(case, runs=30, seed=7)


def told(name: str) -> dict[str, Any]:
    return spike().summary["indicators"][name]


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
def test_samples_can_be_run(sample: Sample):
    assert problems(sample.model) == []


def test_types_have_their_sample():
    assert {
        kind: sample_of(kind).name
        for kind in ("logistics", "erp_system", "generic", "production", "epidemic", "Growth")
    } == {
        "logistics": "supply_chain",
        "erp_system": "supply_chain",
        "generic": "supply_chain",
        "production": "production_line",
        "epidemic": "epidemic",
        "Growth": "growth",
    }


def test_a_demand_spike_brings_stock_outs():
    for node in ("store", "warehouse"):
        outs = told(f"{node}.stock_outs")
        assert outs["baseline"]["mean"] < 0.7
        assert outs["change"]["low"] > 0
        level = told(f"{node}.service_level")
        assert level["baseline"]["mean"] > 0.99
        assert level["mean"] < level["baseline"]["mean"]
    # At the store it is seldom, and then much: 30 runs are too few to be sure of the level there.
    assert told("warehouse.service_level")["change"]["high"] < 0


def test_a_demand_spike_brings_a_backlog_that_is_worked_off():
    backlog = told("warehouse.most_backlog")
    assert backlog["mean"] > 3 * backlog["baseline"]["mean"]
    assert backlog["change"]["low"] > 0
    series = spike().series["indicators"]["warehouse.backlog"]["mean"]
    times = spike().series["times"]
    worst = times[max(range(len(series)), key=series.__getitem__)]
    # It grows as long as the spike lasts, from day 60 to 78, and for the lead time after.
    assert 60 < worst < 95
    assert series[-1] < max(series) / 4


def test_a_demand_spike_is_recovered_from_after_it_is_over():
    recovery = told("warehouse.recovery_time")
    assert recovery["baseline"]["mean"] == 0
    assert recovery["low"] > 0
    assert recovery["high"] < 120


def test_a_demand_spike_sells_more():
    """30 % more on 18 of 180 days is 3 % more, run by run: what is drawn is the same in the baseline."""
    wanted = told("store.wanted")
    assert wanted["change"]["mean"] / wanted["baseline"]["mean"] == pytest.approx(0.03, rel=0.1)
    assert wanted["change"]["high"] - wanted["change"]["low"] < 0.02 * wanted["mean"]


def test_a_demand_spike_is_told_in_sentences():
    found = spike().summary["findings"]
    assert any(text.startswith("The warehouse runs out ") and "(baseline 0." in text for text in found)
    assert any(text.startswith("The store has recovered on average ") for text in found)
    assert any(text.startswith("The profit is ") for text in found)


def test_a_demand_spike_is_among_the_notable():
    changes = [(each["what"], each["time"], each["share"]) for each in spike().notable if "change" in each["what"]]
    assert changes == [("change_begins", 60, 1), ("change_ends", 78, 1)]
    baseline = spike().baseline
    assert baseline is not None
    outs = {each["node"]: each["share"] for each in spike().notable if each["what"] == "stock_out"}
    usual = {each["node"]: each["share"] for each in baseline["notable"] if each["what"] == "stock_out"}
    assert outs["warehouse"] > usual["warehouse"]


def test_a_worse_spike_is_worse():
    """More demand, longer: fewer units are given at once."""
    levels = [
        simulated(built({"type": "logistics"}, "demand_spike", parameters), runs=10, seed=7).summary["indicators"]
        for parameters in (
            {"increase_percentage": 10},
            {"increase_percentage": 60},
            {"increase_percentage": 60, "length": 60},
        )
    ]
    means = [each["store.service_level"]["mean"] for each in levels]
    assert means == sorted(means, reverse=True)
