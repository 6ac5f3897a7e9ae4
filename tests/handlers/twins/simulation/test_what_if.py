"""The scenario what_if: patches of model and data, and what they leave alone."""

from typing import Any

import pytest

from core.errors import HubError
from handlers.twins.simulation.model import Network, Stock
from handlers.twins.simulation.scenarios import Built, built

DATA: dict[str, Any] = {"stock": {"widgets": 42}, "orders": {"widgets": 60}}


def store_of(case: Built, name: str = "store") -> Stock:
    assert isinstance(case.case.model, Network)
    store = case.case.model.nodes[name]
    assert isinstance(store, Stock)
    return store


def refused(patch: Any, document: dict[str, Any] | None = None) -> list[str]:
    with pytest.raises(HubError) as caught:
        built(document or {"type": "logistics"}, "what_if", {"patch": patch})
    return [each.field for each in caught.value.details]


def test_a_distribution_of_another_kind_replaces_the_former_whole():
    """A merge alone would leave its low and high behind, which the other does not have."""
    patch = {"model": {"nodes": {"warehouse": {"lead_time": {"distribution": "constant", "value": 2}}}}}
    lead_time = store_of(built({"type": "logistics"}, "what_if", {"patch": patch}), "warehouse").lead_time
    assert not isinstance(lead_time, int | float)
    assert lead_time.model_dump() == {"distribution": "constant", "value": 2}


def test_a_part_of_the_same_kind_is_merged():
    patch = {"model": {"nodes": {"store": {"policy": {"order_up_to": 200}}}}}
    policy = store_of(built({"type": "logistics"}, "what_if", {"patch": patch})).policy
    assert policy.model_dump() == {"policy": "s_S", "reorder_point": 60, "order_up_to": 200, "review": 0}


def test_null_takes_a_node_away():
    patch = {"model": {"nodes": {"customers": None}}}
    case = built({"type": "logistics"}, "what_if", {"patch": patch})
    assert isinstance(case.case.model, Network)
    assert set(case.case.model.nodes) == {"supplier", "warehouse", "store"}
    assert isinstance(case.baseline.model, Network)
    assert "customers" in case.baseline.model.nodes


def test_patched_data_makes_another_model():
    case = built({"data": DATA}, "what_if", {"patch": {"data": {"stock": {"widgets": 7}}}})
    assert store_of(case, "stock_widgets").initial == 7
    assert isinstance(case.baseline.model, Network)
    before = case.baseline.model.nodes["stock_widgets"]
    assert isinstance(before, Stock)
    assert before.initial == 42


def test_data_is_not_read_where_there_is_a_model():
    document = {"model": {"engine": "network", "nodes": {"s": {"kind": "supplier"}}}, "data": DATA}
    case = built(document, "what_if", {"patch": {"data": {"stock": {"widgets": 7}}}})
    assert case.case.model == case.baseline.model
    assert any("its data is not read" in note for note in case.notes)


@pytest.mark.parametrize("patch", [{}, {"name": "x"}, "model", [1], None])
def test_patches_of_something_else_are_refused(patch: Any):
    assert refused(patch) == ["parameters.patch"]


def test_what_a_patch_breaks_is_told_with_its_place():
    assert refused({"model": {"nodes": {"store": {"source": 3}}}}) == ["parameters.patch.model.nodes.store.source"]
    assert refused({"model": {"nodes": {"store": {"source": "x"}}}}) == ["parameters.patch.model.nodes.store.source"]
    assert refused({"model": {"horizon": 3}}) == ["parameters.patch.model.horizon"]
    assert refused({"model": None}) == ["parameters.patch.model"]
    assert refused({"data": None}, {"data": DATA}) == ["parameters.patch.data"]
