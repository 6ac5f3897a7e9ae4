"""What a simulation holds is bounded: by what is refused before it begins, and by how runs are held."""

from array import array

import pytest

from core.clock import SystemClock
from core.errors import HubError
from handlers.twins.simulation.engine import replicate
from handlers.twins.simulation.model import MOST_NODES
from handlers.twins.simulation.pool import Limits, Simulators
from handlers.twins.simulation.replication import MOST_SERIES, POINTS
from handlers.twins.simulation.scenarios import Built, built
from handlers.twins.simulation.size import MOST_POINTS, check_size


def shops(count: int) -> Built:
    """Return what is run of so many stocks, each with a supplier of its own."""
    nodes = {
        name: node
        for number in range(count)
        for name, node in (
            (f"supplier{number}", {"kind": "supplier", "lead_time": 2}),
            (
                f"shop{number}",
                {
                    "kind": "stock",
                    "source": f"supplier{number}",
                    "initial": 10,
                    "policy": {"policy": "base_stock", "level": 10},
                },
            ),
        )
    }
    model = {"engine": "network", "horizon": 5, "nodes": nodes}
    return built({"model": model}, "lead_time_change", {"percentage": 50})


def test_product_of_runs_and_series_is_bounded():
    """Of both the case and the baseline; the refusal tells how many there can be."""
    large = shops(MOST_NODES // 2)
    most = MOST_POINTS // (2 * MOST_NODES * (POINTS + 1))
    check_size(large, most, baseline=True)
    check_size(large, 2 * most, baseline=False)
    with pytest.raises(HubError) as caught:
        check_size(large, most + 1, baseline=True)
    assert [(each.field, each.code) for each in caught.value.details] == [("runs", "VALUE_OUT_OF_RANGE")]
    assert str(most) in caught.value.details[0].message


def test_flows_and_small_models_take_all_runs():
    for type in ("logistics", "production", "epidemic", "growth"):
        check_size(built({"type": type}, "what_if", {"patch": {"model": {}}}), 1000, baseline=True)


async def test_hub_holds_doubles_of_the_series_that_are_told():
    """Values are those of the engine; of what nobody is told nothing leaves the process that simulates."""
    case = shops(MOST_NODES // 2).case
    simulators = Simulators(1, Limits(), SystemClock())
    try:
        (held,) = await simulators.run(case, horizon=5, runs=1, seed=3, seconds=60, progress=lambda _: None)
    finally:
        await simulators.close()
    made = replicate(case, horizon=5, seed=3, run=0)
    assert len(made.series) == MOST_NODES > len(held.series) == MOST_SERIES
    assert all(isinstance(values, array) and values.itemsize == 8 for values in held.series.values())
    assert {name: list(values) for name, values in held.series.items()} == dict(list(made.series.items())[:MOST_SERIES])
