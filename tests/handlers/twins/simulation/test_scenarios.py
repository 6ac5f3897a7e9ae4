"""Scenarios: what they do to a model, what they are told, and what they refuse by name."""

from collections.abc import Mapping
from typing import Any

import jsonschema
import pytest

from core.errors import HubError
from handlers.twins.simulation.engine import replicate
from handlers.twins.simulation.model import Network, Stock
from handlers.twins.simulation.samples import SUPPLY_CHAIN
from handlers.twins.simulation.scenarios import Built, built, listed
from handlers.twins.simulation.standard import STANDARD

LOGISTICS: dict[str, Any] = {"type": "logistics"}
FLOWS: dict[str, Any] = {"type": "epidemic"}
OF_DEMAND: dict[str, Any] = {
    "model": {
        "engine": "flows",
        "stocks": {"stock": {"initial": 100}},
        "parameters": {"demand_rate": 3, "Price": 10, "other": 1},
        "flows": {"sold": {"source": "stock", "rate": "demand_rate * other"}},
    }
}


def chain(**nodes: Mapping[str, Any]) -> dict[str, Any]:
    """Return a twin with the supply chain, some of whose nodes are otherwise."""
    model = SUPPLY_CHAIN.model.model_dump(mode="json")
    for name, more in nodes.items():
        model["nodes"][name] = {**model["nodes"].get(name, {}), **more}
    return {"model": model}


def refused(document: Mapping[str, Any], scenario: str, parameters: Mapping[str, Any], **more: Any) -> dict[str, str]:
    """Return fields and codes of a refusal."""
    with pytest.raises(HubError) as caught:
        built(document, scenario, parameters, **more)
    assert caught.value.code == "VALIDATION_ERROR"
    return {each.field: each.code for each in caught.value.details}


def changes_of(case: Built) -> list[tuple[str, str, float, float, float | None]]:
    return [(each.node, each.what, each.factor, each.begin, each.end) for each in case.case.changes]


def test_demand_spike_is_by_default_thirty_percent_from_a_third_for_a_tenth():
    case = built(LOGISTICS, "demand_spike", {})
    assert changes_of(case) == [("customers", "demand", 1.3, 60, 78)]
    assert case.parameters == {"increase_percentage": 30, "nodes": ["customers"], "begin": 60, "length": 18}
    assert case.baseline.changes == ()
    assert case.baseline.model == case.case.model
    assert case.horizon == 180


def test_horizon_of_the_request_moves_the_defaults():
    case = built(LOGISTICS, "demand_spike", {}, horizon=90)
    assert changes_of(case) == [("customers", "demand", 1.3, 30, 39)]
    assert case.horizon == case.baseline.model.horizon == 90


def test_demand_spike_of_arrivals_is_of_their_rate():
    case = built({"type": "production"}, "demand_spike", {"increase_percentage": 50, "begin": 10, "length": 5})
    assert changes_of(case) == [("parts", "demand", 1.5, 10, 15)]


def test_supply_disruption_closes_the_only_supplier():
    assert changes_of(built(LOGISTICS, "supply_disruption", {})) == [("supplier", "capacity", 0, 60, 78)]


def test_supply_disruption_of_a_part_takes_so_much_of_the_capacity():
    case = built(LOGISTICS, "supply_disruption", {"severity": 0.25, "begin": 0, "length": 10})
    assert changes_of(case) == [("supplier", "capacity", 0.75, 0, 10)]


def test_supply_disruption_without_a_capacity_lengthens_lead_times():
    """What is infinite has no half: then all that comes from there takes twice as long."""
    case = built(chain(supplier={"capacity": None}), "supply_disruption", {"severity": 0.5})
    assert [change[:3] for change in changes_of(case)] == [
        ("supplier", "lead_time", 2),
        ("warehouse", "lead_time", 2),
    ]


def test_supply_disruption_asks_which_of_two_suppliers():
    two = chain(other={"kind": "supplier"})
    assert refused(two, "supply_disruption", {}) == {"parameters.supplier": "MISSING_REQUIRED_FIELD"}
    assert refused(two, "supply_disruption", {"supplier": "store"}) == {"parameters.supplier": "VALUE_OUT_OF_RANGE"}
    assert changes_of(built(two, "supply_disruption", {"supplier": "other"}))[0][0] == "other"


def test_lead_time_change_is_of_all_that_take_time_and_lasts_to_the_end():
    case = built(LOGISTICS, "lead_time_change", {"factor": 2})
    assert changes_of(case) == [("warehouse", "lead_time", 2, 60, None), ("store", "lead_time", 2, 60, None)]


def test_capacity_change_is_of_queues_resources_and_suppliers_that_have_one():
    case = built({"type": "production"}, "capacity_change", {})
    assert [change[:3] for change in changes_of(case)] == [
        ("workers", "capacity", 0.75),
        ("machining", "capacity", 0.75),
        ("testing", "capacity", 0.75),
    ]
    assert case.parameters["factor"] == 0.75
    assert refused(chain(supplier={"capacity": None}), "capacity_change", {}) == {"scenario": "VALUE_OUT_OF_RANGE"}


def test_price_change_is_of_stocks_and_a_supplier_where_it_is_named():
    assert changes_of(built(LOGISTICS, "price_change", {}))[0][:3] == ("store", "price", 1.1)
    named = built(LOGISTICS, "price_change", {"nodes": ["supplier"], "percentage": 20})
    assert changes_of(named)[0][:3] == ("supplier", "price", 1.2)
    assert refused(LOGISTICS, "price_change", {"percentage": -100}) == {"parameters.percentage": "VALUE_OUT_OF_RANGE"}


def test_price_change_is_answered_by_demand():
    """Demand * factor ^ elasticity: at a tenth less and -1.2, 13.5 % more is wanted."""
    case = built(LOGISTICS, "price_change", {"percentage": -10, "begin": 0})
    run = replicate(case.case, horizon=180, seed=1, run=0)
    usual = replicate(case.baseline, horizon=180, seed=1, run=0)
    wanted = run.indicators["store.wanted"] / usual.indicators["store.wanted"]
    assert wanted == pytest.approx(0.9**-1.2, rel=1e-6)


def test_policy_change_is_of_the_model():
    case = built(LOGISTICS, "policy_change", {"stock": "store", "policy": {"policy": "base_stock", "level": 80}})
    assert isinstance(case.case.model, Network)
    store = case.case.model.nodes["store"]
    assert isinstance(store, Stock)
    assert store.policy.model_dump() == {"policy": "base_stock", "level": 80}
    assert case.baseline.model == SUPPLY_CHAIN.model
    assert refused(LOGISTICS, "policy_change", {}) == {"parameters.policy": "MISSING_REQUIRED_FIELD"}


def test_flows_change_the_parameters_that_are_called_so():
    assert changes_of(built(OF_DEMAND, "demand_spike", {}))[0][:3] == ("demand_rate", "parameter", 1.3)
    assert changes_of(built(OF_DEMAND, "price_change", {}))[0][:3] == ("Price", "parameter", 1.1)
    named = built(FLOWS, "demand_spike", {"nodes": ["contact_rate"]})
    assert changes_of(named)[0][:3] == ("contact_rate", "parameter", 1.3)


def test_flows_refuse_what_makes_no_sense_by_name():
    policy = {"policy": {"policy": "none"}}
    assert refused(FLOWS, "supply_disruption", {}) == {"scenario": "VALUE_OUT_OF_RANGE"}
    assert refused(FLOWS, "policy_change", policy) == {"scenario": "VALUE_OUT_OF_RANGE"}
    assert refused(FLOWS, "price_change", {}) == {"parameters.nodes": "VALUE_OUT_OF_RANGE"}


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"increase_percentage": "30"}, {"parameters.increase_percentage": "INVALID_FORMAT"}),
        ({"increase_percentage": True}, {"parameters.increase_percentage": "INVALID_FORMAT"}),
        ({"increase_percentage": float("nan")}, {"parameters.increase_percentage": "VALUE_OUT_OF_RANGE"}),
        ({"increase_percentage": -101}, {"parameters.increase_percentage": "VALUE_OUT_OF_RANGE"}),
        ({"percentage": 30}, {"parameters.percentage": "INVALID_FORMAT"}),
        ({"nodes": ["warehouse"]}, {"parameters.nodes[0]": "VALUE_OUT_OF_RANGE"}),
        ({"nodes": []}, {"parameters.nodes": "VALUE_OUT_OF_RANGE"}),
        ({"nodes": "customers"}, {"parameters.nodes": "INVALID_FORMAT"}),
        ({"begin": 180}, {"parameters.begin": "VALUE_OUT_OF_RANGE"}),
        (
            {"begin": -1, "length": 0},
            {"parameters.begin": "VALUE_OUT_OF_RANGE", "parameters.length": "VALUE_OUT_OF_RANGE"},
        ),
    ],
)
def test_parameters_are_refused_with_their_place(parameters: dict[str, Any], expected: dict[str, str]):
    assert refused(LOGISTICS, "demand_spike", parameters) == expected


def test_places_do_not_name_what_a_part_could_have_been():
    """Pydantic has the tag of a union in its paths, which is in no document."""
    policy = {"policy": {"policy": "s_S", "order_up_to": -1}}
    assert refused(LOGISTICS, "policy_change", policy) == {
        "parameters.policy.reorder_point": "MISSING_REQUIRED_FIELD",
        "parameters.policy.order_up_to": "VALUE_OUT_OF_RANGE",
    }
    lead_time = {"distribution": "normal", "mean": -3, "deviation": 1}
    assert refused(chain(store={"lead_time": lead_time}), "demand_spike", {}) == {
        "model.nodes.store.lead_time.mean": "VALUE_OUT_OF_RANGE"
    }
    assert refused(chain(store={"lead_time": -1}), "demand_spike", {}) == {
        "model.nodes.store.lead_time": "VALUE_OUT_OF_RANGE"
    }


def test_unknown_scenario_is_told_those_that_there_are():
    with pytest.raises(HubError) as caught:
        built(LOGISTICS, "demand_spikes", {})
    (detail,) = caught.value.details
    assert detail.field == "scenario"
    assert "demand_spike, supply_disruption" in detail.message


@pytest.mark.parametrize("horizon", [0, -1, 100_001, float("nan")])
def test_horizons_are_bounded(horizon: float):
    assert refused(LOGISTICS, "demand_spike", {}, horizon=horizon) == {"horizon": "VALUE_OUT_OF_RANGE"}


def test_models_that_cannot_run_are_refused_with_their_place():
    """What one part alone does not show: here the store is filled up from itself."""
    assert set(refused(chain(store={"source": "nobody"}), "demand_spike", {})) == {"model.nodes.store.source"}


def test_listed_are_those_that_can_be_run_with_schemas_that_hold():
    found = {each.name: each for each in listed(LOGISTICS)}
    assert set(found) == {*STANDARD, "what_if"}
    spike = found["demand_spike"].parameters
    assert spike["properties"]["begin"]["default"] == 60
    assert spike["properties"]["nodes"]["items"]["enum"] == ["customers"]
    assert spike["properties"]["increase_percentage"]["default"] == 30
    jsonschema.validate({"increase_percentage": 30}, spike)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"increase_percentage": "30"}, spike)
    assert {each.name for each in listed(FLOWS)} == set(STANDARD) - {"supply_disruption", "policy_change"} | {"what_if"}


def test_defaults_of_a_schema_are_what_is_run():
    """Who sends back what the list says gets what who says nothing gets."""
    for each in listed(LOGISTICS):
        properties = each.parameters["properties"]
        defaults = {name: told["default"] for name, told in properties.items() if "default" in told}
        if "policy" not in properties and "patch" not in properties:
            assert built(LOGISTICS, each.name, defaults).case == built(LOGISTICS, each.name, {}).case


def test_built_travels_as_json():
    case = built(LOGISTICS, "demand_spike", {})
    assert Built.model_validate_json(case.model_dump_json()) == case
