"""The drawings of docs/simulation-models.md: `python -m handlers.twins.simulation.plots` writes them, a test compares them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from handlers.twins.simulation.engine import replicate
from handlers.twins.simulation.plot import svg
from handlers.twins.simulation.results import Result, result
from handlers.twins.simulation.scenarios import Built, built

FOLDER = Path(__file__).parents[3] / "docs" / "plots"
RUNS = 40
SEED = 1


@dataclass(frozen=True, eq=False, slots=True)
class Drawing:
    """One file: a scenario on the sample of a type."""

    name: str
    title: str
    type: str
    scenario: str
    parameters: Mapping[str, Any]


DRAWINGS = (
    Drawing("demand_spike", "30 % more demand for 18 days", "logistics", "demand_spike", {"increase_percentage": 30}),
    Drawing("supply_disruption", "The supplier sends nothing for 18 days", "logistics", "supply_disruption", {}),
    Drawing(
        "lead_time_change", "Lead times are half as long again", "logistics", "lead_time_change", {"percentage": 50}
    ),
    Drawing(
        "capacity_change", "A quarter of the capacity is gone", "production", "capacity_change", {"percentage": -25}
    ),
    Drawing("price_change", "A price lowered by 10 %", "logistics", "price_change", {"percentage": -10}),
    Drawing(
        "policy_change",
        "The warehouse orders later",
        "logistics",
        "policy_change",
        {"stock": "warehouse", "policy": {"policy": "s_S", "reorder_point": 240, "order_up_to": 380}},
    ),
    Drawing(
        "what_if",
        "An epidemic with a third fewer contacts",
        "epidemic",
        "what_if",
        {"patch": {"model": {"parameters": {"contact_rate": 0.2}}}},
    ),
    Drawing("growth", "A market that shrinks by a quarter", "growth", "capacity_change", {"percentage": -25}),
)


def simulated(case: Built, *, runs: int, seed: int) -> Result:
    """Run a case and its baseline in this process, and return what they come to."""
    ours, usual = (
        [replicate(each, horizon=case.horizon, seed=seed, run=run) for run in range(runs)]
        for each in (case.case, case.baseline)
    )
    return result(case, ours, usual, horizon=case.horizon, seed=seed)


@cache
def outcome(drawing: Drawing) -> Result:
    """Return what a drawing shows."""
    case = built({"type": drawing.type}, drawing.scenario, drawing.parameters)
    return simulated(case, runs=RUNS, seed=SEED)


def drawn() -> Iterator[tuple[str, str]]:
    """Yield the name and the SVG of each."""
    for each in DRAWINGS:
        yield f"{each.name}.svg", svg(outcome(each).as_object(), title=each.title)


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in drawn():
        (FOLDER / name).write_text(text)
