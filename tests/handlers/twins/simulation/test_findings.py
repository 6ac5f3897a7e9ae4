"""Sentences: what differs beyond chance, in numbers that people read."""

from typing import Any

from handlers.twins.simulation.findings import MOST_FINDINGS, findings
from handlers.twins.simulation.samples import EPIDEMIC, PRODUCTION_LINE, SUPPLY_CHAIN


def told(mean: float, baseline: float | None = None, *, width: float = 0.1) -> dict[str, Any]:
    found: dict[str, Any] = {"mean": mean, "low": mean - width, "high": mean + width}
    if baseline is not None:
        found["baseline"] = {"mean": baseline, "low": baseline, "high": baseline}
        change = mean - baseline
        found["change"] = {"mean": change, "low": change - width, "high": change + width}
    return found


def test_what_differs_is_told_with_the_baseline():
    indicators = {"warehouse.stock_outs": told(2.1, 0.2), "warehouse.service_level": told(0.874, 0.99, width=0.01)}
    assert findings(SUPPLY_CHAIN.model, indicators, runs=30) == [
        "The warehouse runs out 2.1 times (baseline 0.2).",
        "The warehouse gives 87.4 % of what is wanted at once (baseline 99.0 %).",
    ]


def test_what_may_be_chance_is_not_told():
    indicators = {"warehouse.stock_outs": told(2.1, 2.0, width=0.5)}
    assert findings(SUPPLY_CHAIN.model, indicators, runs=30) == [
        "Nothing differs from the baseline beyond chance, in 30 runs."
    ]


def test_what_no_reader_could_see_is_not_told():
    indicators = {"susceptible.most": told(9990.0001, 9990, width=0)}
    assert findings(EPIDEMIC.model, indicators, runs=1) == [
        "Nothing differs from the baseline beyond chance, in 1 run."
    ]


def test_without_a_baseline_all_that_matters_is_told():
    assert findings(SUPPLY_CHAIN.model, {"store.lost": told(1234.4)}, runs=30) == [
        "The store loses sales of 1,234 units."
    ]


def test_times_have_the_unit_of_the_model():
    assert findings(PRODUCTION_LINE.model, {"testing.mean_wait": told(2.5, 1)}, runs=9) == [
        "The mean wait at testing is 2.5 hours (baseline 1.0)."
    ]
    recovery = {"store.recovery_time": told(18.86, 0)}
    assert findings(SUPPLY_CHAIN.model, recovery, runs=9) == [
        "The store has recovered on average 18.9 days after the change began."
    ]


def test_the_whole_is_told_last_and_is_never_crowded_out():
    indicators = {f"node{number}.stock_outs": told(2, 1) for number in range(50)} | {"profit": told(900, 1000)}
    found = findings(SUPPLY_CHAIN.model, indicators, runs=9)
    assert len(found) == MOST_FINDINGS
    assert found[-1] == "The profit is 900 (baseline 1,000)."
