"""Scenarios that a twin brings: expressions of its parameters, a patch of the model, refusals with their place."""

from typing import Any

import pytest

from core.errors import HubError
from handlers.twins.simulation.model import Network, Stock
from handlers.twins.simulation.scenarios import built, listed

PROMOTION: dict[str, Any] = {
    "description": "A promotion, prepared for",
    "parameters": {"lift": {"default": 1.5, "minimum": 1, "maximum": 3}, "days": {"default": 14}},
    "changes": [
        {"node": "customers", "what": "demand", "factor": "lift", "begin": "horizon / 2", "end": "horizon / 2 + days"},
        {"node": "store", "what": "price", "factor": 0.9, "begin": 90, "end": None},
    ],
    "patch": {"nodes": {"store": {"initial": 150}}},
}


def twin(**scenarios: dict[str, Any]) -> dict[str, Any]:
    return {"type": "logistics", "scenarios": scenarios}


def refused(document: dict[str, Any], parameters: dict[str, Any]) -> dict[str, str]:
    with pytest.raises(HubError) as caught:
        built(document, "promotion", parameters)
    return {each.field: each.message for each in caught.value.details}


def with_change(**more: Any) -> dict[str, Any]:
    return twin(promotion={**PROMOTION, "changes": [{**PROMOTION["changes"][0], **more}]})


def test_expressions_are_of_parameters_and_the_horizon():
    case = built(twin(promotion=PROMOTION), "promotion", {"lift": 2})
    assert [(each.node, each.factor, each.begin, each.end) for each in case.case.changes] == [
        ("customers", 2, 90, 104),
        ("store", 0.9, 90, None),
    ]
    assert case.parameters == {"lift": 2, "days": 14}


def test_the_patch_is_of_the_case_alone():
    case = built(twin(promotion=PROMOTION), "promotion", {})
    stocks: list[float] = []
    for model in (case.case.model, case.baseline.model):
        assert isinstance(model, Network)
        store = model.nodes["store"]
        assert isinstance(store, Stock)
        stocks.append(store.initial)
    assert stocks == [150, 90]


def test_own_scenarios_go_before_others_of_the_same_name():
    case = built(twin(demand_spike=PROMOTION), "demand_spike", {"days": 1})
    assert case.parameters == {"lift": 1.5, "days": 1}
    assert [each.own for each in listed(twin(demand_spike=PROMOTION)) if each.name == "demand_spike"] == [True]


def test_parameters_are_held_against_their_bounds():
    document = twin(promotion=PROMOTION)
    assert refused(document, {"lift": 4}) == {"parameters.lift": "1 to 3"}
    assert list(refused(document, {"lift": "2"})) == ["parameters.lift"]
    assert list(refused(document, {"lift": True})) == ["parameters.lift"]
    assert list(refused(document, {"lift": float("inf")})) == ["parameters.lift"]
    assert refused(document, {"lifts": 2}) == {"parameters.lifts": "No such parameter: there are lift, days"}


def test_expressions_that_cannot_be_read_are_refused_with_place_and_column():
    place = "scenarios.promotion.changes[0]"
    assert "column 1" in refused(with_change(factor="__import__('os')"), {})[f"{place}.factor"]
    assert "column 5" in refused(with_change(begin="days.real"), {})[f"{place}.begin"]
    assert "division by zero" in refused(with_change(factor="1 / (days - 14)"), {})[f"{place}.factor"]
    assert list(refused(with_change(factor="-lift"), {})) == [f"{place}.factor"]


def test_changes_of_what_is_not_there_are_refused():
    place = "scenarios.promotion.changes[0]"
    assert list(refused(with_change(node="nobody"), {})) == [f"{place}.node"]
    assert list(refused(with_change(what="capacity"), {})) == [f"{place}.what"]
    assert list(refused(with_change(end="1"), {})) == [f"{place}.end"]


def test_a_patch_that_breaks_the_model_is_refused():
    broken = {**PROMOTION, "patch": {"nodes": {"store": {"source": "nobody"}}}}
    assert list(refused(twin(promotion=broken), {})) == ["scenarios.promotion.patch.nodes.store.source"]
    wrong = {**PROMOTION, "patch": {"nodes": {"store": {"initial": -1}}}}
    assert list(refused(twin(promotion=wrong), {})) == ["scenarios.promotion.patch.nodes.store.initial"]


def test_listed_with_the_schema_of_their_parameters():
    (own,) = [each for each in listed(twin(promotion=PROMOTION)) if each.own]
    assert own.description == "A promotion, prepared for"
    assert own.parameters == {
        "type": "object",
        "properties": {
            "lift": {"type": "number", "default": 1.5, "minimum": 1, "maximum": 3},
            "days": {"type": "number", "default": 14},
        },
        "additionalProperties": False,
    }
