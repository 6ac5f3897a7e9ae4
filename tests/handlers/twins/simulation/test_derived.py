"""Models made of business data: under which names it is understood, what is assumed, and that no data breaks it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.twins.simulation import erp
from handlers.twins.simulation.checks import problems
from handlers.twins.simulation.derived import derived, modelled
from handlers.twins.simulation.model import Constant, Demand, Empirical, Exponential, Network, OrderUpTo, Stock

NAMES = sorted(
    {*erp.PRODUCTS, *erp.STOCKS, *erp.ORDERS, *erp.SUPPLIERS, "sku", "quantity", "date", "lines", "lead_time", "price"}
)


def network(data: Any) -> Network:
    found = modelled({"data": data})
    assert found.origin == "data"
    assert isinstance(found.model, Network)
    assert problems(found.model) == []
    return found.model


def stock(model: Network, name: str) -> Stock:
    found = model.nodes[f"stock_{name}"]
    assert isinstance(found, Stock)
    return found


def demand(model: Network, name: str) -> Demand:
    found = model.nodes[f"demand_{name}"]
    assert isinstance(found, Demand)
    return found


def a_day(model: Network, name: str) -> float:
    """Return the units a day that customers want."""
    found = demand(model, name)
    assert isinstance(found.interval, Exponential)
    quantity = found.quantity
    if isinstance(quantity, Constant):
        return quantity.value / found.interval.mean
    assert isinstance(quantity, Empirical)
    return sum(quantity.values) / len(quantity.values) / found.interval.mean


def test_a_number_of_orders_and_a_stock_are_enough():
    """What an ERP connector sends first: `{"orders": 120, "stock": {"widgets": 42}}`."""
    document = {"type": "erp_system", "data": {"orders": 120, "stock": {"widgets": 42}}}
    model = network(document["data"])
    assert stock(model, "widgets").initial == 42
    assert a_day(model, "widgets") == pytest.approx(4)
    notes = modelled(document).notes
    assert "The 120 orders are taken as those of 30 days, of one unit each." in notes
    assert "widgets: no lead time is told, so it is 7 days." in notes


def test_orders_over_time_with_lines():
    orders = [
        {"id": 1, "orderDate": "2026-01-01", "lines": [{"sku": "A-1", "qty": 3}, {"sku": "B", "qty": "5"}]},
        {"id": 2, "orderDate": "2026-01-04T12:00:00Z", "lines": [{"sku": "A-1", "qty": 4}]},
        {"id": 3, "orderDate": "2026-01-09", "lines": [{"sku": "A-1", "qty": 5}]},
    ]
    model = network({"orders": orders})
    quantity = demand(model, "A_1").quantity
    assert isinstance(quantity, Empirical)
    assert quantity.values == (3, 4, 5)
    # Three orders in eight days have two gaps of four days.
    assert a_day(model, "A_1") == pytest.approx(4 / 4)


def test_suppliers_products_and_stock_as_records():
    model = network(
        {
            "products": [{"sku": "A", "unitPrice": 10, "unit_cost": 3.65, "vendor": "ACME", "Reorder Point": 12}],
            "inventory": [
                {"sku": "A", "warehouse": "north", "on_hand": 5},
                {"sku": "A", "warehouse": "south", "on_hand": 2},
            ],
            "vendors": [{"name": "ACME", "lead_time_days": 4}, {"name": "Other", "lead_time_days": 9}],
            "sales": [{"item": "A", "quantity": 2, "date": day} for day in range(10)],
        }
    )
    found = stock(model, "A")
    assert (found.initial, found.lead_time, found.price, found.source) == (7, 4, 10, "supplier_ACME")
    assert isinstance(found.policy, OrderUpTo)
    assert found.policy.reorder_point == 12
    # A fifth of the cost a year.
    assert found.holding_cost == pytest.approx(0.2 * 3.65 / 365)
    assert demand(model, "A").elasticity == -1


def test_names_of_sap_are_understood():
    model = network(
        {
            "materials": [{"MATNR": "100-200", "PLIFZ": 5, "NETPR": "12.50"}],
            "stock": [{"MATNR": "100-200", "LABST": 80}],
            "sales_orders": [{"MATNR": "100-200", "KWMENG": 4, "ERDAT": f"2026010{day}"} for day in range(1, 9)],
        }
    )
    found = stock(model, "100_200")
    assert (found.initial, found.lead_time, found.price) == (80, 5, 12.5)
    assert a_day(model, "100_200") == pytest.approx(4)


def test_stock_by_places_is_one():
    assert stock(network({"stock": {"north": {"widgets": 4}, "south": {"widgets": 3}}}), "widgets").initial == 7


def test_stock_alone_is_taken_to_last_a_month():
    model = network({"stock_levels": {"widgets": 60}})
    assert a_day(model, "widgets") == pytest.approx(2)


def test_reorder_points_cover_lead_times():
    """Lead time * demand + 1.645 * sqrt(orders a day * E[quantity ^ 2] * lead time): 4 * 7 + 1.645 * sqrt(28), rounded up."""
    policy = stock(network({"orders": 120, "stock": {"widgets": 42}}), "widgets").policy
    assert policy.model_dump() == {"policy": "s_S", "reorder_point": 37, "order_up_to": 65, "review": 0}


def test_of_many_products_the_largest_are_simulated():
    orders = {f"p{number}": number for number in range(1, 51)}
    model = network({"orders": orders})
    stocks = [name for name, node in model.nodes.items() if isinstance(node, Stock)]
    assert stocks == [f"stock_p{number}" for number in range(50, 30, -1)]
    assert (
        "Of 50 products the 20 with most units ordered are simulated." in modelled({"data": {"orders": orders}}).notes
    )


def test_many_orders_a_day_are_bundled():
    orders = [{"sku": "A", "quantity": 1, "day": number / 1000} for number in range(5000)]
    model = network({"orders": orders})
    interval = demand(model, "A").interval
    assert isinstance(interval, Exponential)
    assert interval.mean == pytest.approx(1 / 50)
    assert a_day(model, "A") == pytest.approx(1000, rel=0.01)


def test_names_become_those_of_nodes_and_stay_apart():
    model = network({"stock": {"Größe M": 1, "Gr e M": 2, "": 3, "x" * 300: 4}})
    assert sum(isinstance(node, Stock) for node in model.nodes.values()) == 4


@pytest.mark.parametrize(
    "data", [None, 3, "orders", [], {}, {"a": 1}, {"orders": 0}, {"orders": []}, {"stock": "full"}]
)
def test_data_that_tells_of_no_business_is_no_model(data: Any):
    assert derived(data) is None
    found = modelled({"type": "production", "data": data})
    assert found.origin == "sample"
    assert "production_line" in found.notes[0]


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=12)
    | st.sampled_from(["2026-01-01", "1e9", "20260101", "2026-01-01T00:00:00Z", "nan", "9" * 400])
)
KEYS = st.sampled_from(NAMES) | st.text(max_size=8)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(KEYS, inner, max_size=6), max_leaves=40
)


@given(st.dictionaries(KEYS, JSON, max_size=6))
def test_any_json_makes_a_model_that_can_run_or_none(data: dict[str, Any]):
    """Data comes from other systems: it may say anything."""
    found = derived(data)
    if found is not None:
        assert problems(found.model) == []
        assert type(found.model).model_validate_json(found.model.model_dump_json()) == found.model
