"""Stocks cost and serve what inventory theory says, and feel changes as they should."""

import math
from itertools import pairwise
from statistics import fmean
from typing import Any

import pytest

from tests.handlers.twins.simulation.cases import check_mean, exponential, network, once, stock, values_of

SUPPLIER: dict[str, Any] = {"kind": "supplier"}


def demand(interval: Any = 1, quantity: Any = 1, **other: Any) -> dict[str, Any]:
    return {"kind": "demand", "stock": "shop", "interval": interval, "quantity": quantity, **other}


def poisson(mean: float, most: int = 200) -> list[float]:
    """Return the probabilities of 0, 1, ..."""
    return [math.exp(number * math.log(mean) - mean - math.lgamma(number + 1)) for number in range(most)]


def newsvendor(level: float) -> Any:
    """Each morning there are `level` papers; 1 for one that is left, 4 for one that is missing; demand is exponential, mean 100."""
    policy = {"policy": "s_S", "reorder_point": level, "order_up_to": level, "review": 1}
    return network(
        {
            "supplier": SUPPLIER,
            "shop": stock(policy, level, on_shortage="lost", holding_cost=1, shortage_cost=4),
            "people": demand(quantity=exponential(100)),
        },
        warm_up=1,
    )


def test_cost_of_a_newsvendor():
    """A day costs h (Q - m + m e^(-Q/m)) + p m e^(-Q/m), and no quantity costs less than that of the critical ratio."""
    best = 100 * math.log(1 + 4 / 1)
    missing = 100 * math.exp(-best / 100)
    days = 1000
    expected = {
        "shop.holding_cost": days * (best - 100 + missing),
        "shop.shortage_cost": days * 4 * missing,
        "total_cost": days * (best - 100 + 5 * missing),
    }
    check_mean(newsvendor(best), expected, horizon=days + 1)
    # The same customers for each quantity: the difference is exact where the means would not be.
    costs = [fmean(values_of(newsvendor(level), "total_cost", horizon=1001, runs=10)) for level in (110, best, 220)]
    assert costs[0] > costs[1] < costs[2]


def cost_of_s_S(low: int, high: int, mean: float, order: float, holding: float, shortage: float) -> float:
    """Return what a day costs under (s, S) with Poisson demand and no lead time.

    A cycle begins at S and ends at s or below; m(j) is the expected number of its days on which the stock is S - j:
    m = 1 at 0, and m(j) = sum of p(i) m(j - i). The cost of a cycle over its length is that of a day.
    """
    chances = poisson(mean)

    def of_a_day(stock: int) -> float:
        return sum(
            chance * (holding * max(0, stock - units) + shortage * max(0, units - stock))
            for units, chance in enumerate(chances)
        )

    days = [1 / (1 - chances[0])]
    for down in range(1, high - low):
        days.append(sum(chances[units] * days[down - units] for units in range(1, down + 1)) / (1 - chances[0]))
    return (order + sum(count * of_a_day(high - down) for down, count in enumerate(days))) / sum(days)


def test_cost_of_s_S():
    """The exact renewal computation, in each of its parts together."""
    policy = {"policy": "s_S", "reorder_point": 12, "order_up_to": 40, "review": 1}
    costs = {"holding_cost": 1, "order_cost": 64, "shortage_cost": 9}
    case = network(
        {
            "supplier": SUPPLIER,
            "shop": stock(policy, 40, **costs),
            "people": demand(quantity={"distribution": "poisson", "mean": 10}),
        },
        warm_up=101,
    )
    expected = cost_of_s_S(12, 40, 10, 64, 1, 9)
    check_mean(case, {"total_cost": 1000 * expected}, horizon=1101, precision=0.01)


@pytest.mark.parametrize("lead", [4, exponential(4)])
def test_base_stock(lead: Any):
    """What is on order is Poisson of rate times mean lead time, whatever the distribution of that (Palm)."""
    level, rate = 6, 1.0
    chances = poisson(rate * 4)
    case = network(
        {
            "supplier": {"kind": "supplier", "lead_time": lead},
            "shop": stock({"policy": "base_stock", "level": level}, level),
            "people": demand(exponential(1 / rate)),
        },
        warm_up=100,
    )
    check_mean(
        case,
        {
            "shop.service_level": sum(chances[:level]),
            "shop.in_stock": sum(chances[:level]),
            "shop.mean_stock": sum(chance * max(0, level - number) for number, chance in enumerate(chances)),
            "shop.mean_backlog": sum(chance * max(0, number - level) for number, chance in enumerate(chances)),
        },
        horizon=6000,
    )


def test_orders_of_s_Q():
    """The position is uniform on s + 1 ... s + Q: Q is the mean time between orders, and so many as it takes are sent."""
    case = network(
        {
            "supplier": {"kind": "supplier", "price": 3},
            "shop": stock({"policy": "s_Q", "reorder_point": 5, "quantity": 8}, 13, order_cost=2),
            "people": demand(quantity=21),
        }
    )
    found = once(case, 80.5).indicators
    # 80 times 21 are wanted: the position is 6 to 13 after each, so 210 orders of 8.
    assert (found["shop.orders"], found["supplier.ordered"]) == (210, 1680)
    assert found["total_cost"] == 210 * 2 + 1680 * 3


def test_one_after_the_other_leaves_a_supplier():
    """Orders wait for its capacity; closed, it sends nothing, and what began goes on when it opens."""
    nodes = {
        "supplier": {"kind": "supplier", "capacity": 2, "lead_time": 1},
        "shop": stock({"policy": "base_stock", "level": 10}, 0),
    }
    # Ten units at 2 a unit of time: away at 5, here at 6.
    assert once(network(nodes), 12).series["shop.stock"][59:62] == [0, 0, 10]
    closed = [{"node": "supplier", "what": "capacity", "factor": 0, "begin": 2, "end": 5}]
    assert once(network(nodes, closed), 12).series["shop.stock"][89:92] == [0, 0, 10]
    half = [{"node": "supplier", "what": "capacity", "factor": 0.5, "begin": 1}]
    # Two have left at 1, eight leave at 1 a unit of time: 9, and here at 10.
    assert once(network(nodes, half), 12).series["shop.stock"][99:102] == [0, 0, 10]


def test_stocks_behind_stocks_wait_in_turn():
    """Who is owed longest gets first, in parts; nothing is made or lost on the way."""
    nodes = {
        "supplier": {"kind": "supplier", "lead_time": 3},
        "warehouse": stock({"policy": "base_stock", "level": 5}, 5),
        "shop": stock({"policy": "base_stock", "level": 8}, 4, source="warehouse", lead_time=1),
        "people": demand(10, 6),
    }
    found = once(network(nodes), 40)
    # At 0 the shop orders 4, the warehouse has 5 and orders 4 again. At 10 six are wanted of 8: the shop orders 6 ...
    assert found.indicators["warehouse.stock_outs"] == 3
    assert found.indicators["shop.backlog_at_end"] == 0
    stocks = sum(found.series[f"{name}.stock"][-1] for name in ("warehouse", "shop"))
    # Nothing is on its way at the horizon.
    assert 5 + 4 + found.indicators["supplier.ordered"] == stocks + found.indicators["people.wanted"]


def test_lost_units_are_not_owed():
    """A customer who does not wait takes what is there."""
    nodes = {
        "shop": {"kind": "stock", "initial": 5, "policy": {"policy": "none"}, "on_shortage": "lost", "price": 2},
        "people": demand(1, 2),
    }
    found = once(network(nodes), 5.5).indicators
    assert (found["shop.lost"], found["shop.backlog_at_end"], found["shop.revenue"]) == (5, 0, 10)
    assert (found["shop.service_level"], found["shop.stock_outs"]) == (0.5, 1)


def test_demand_answers_the_price():
    """At 4 times the price and an elasticity of -0.5 half is wanted, and paid for at that price."""
    nodes = {
        "shop": {"kind": "stock", "initial": 1000, "policy": {"policy": "none"}, "price": 1},
        "people": demand(1, 8, elasticity=-0.5),
    }
    change = {"node": "shop", "what": "price", "factor": 4, "begin": 5.5, "end": 10.5}
    found = once(network(nodes, [change]), 20.5).indicators
    assert (found["people.wanted"], found["shop.revenue"]) == (15 * 8 + 5 * 4, 15 * 8 + 5 * 4 * 4)


def steady(change: dict[str, Any], level: float = 10) -> dict[str, float]:
    """Return what comes of a change where a unit a day is wanted and arrives after 4."""
    nodes = {
        "supplier": {"kind": "supplier", "lead_time": 4},
        "shop": stock({"policy": "base_stock", "level": level}, level),
        "people": demand(),
    }
    return once(network(nodes, [change]), 100).indicators


def test_recovery_from_more_demand():
    """Ten a day for three days: the last of them are here 4 after 52, and then nothing is owed and the stock as before."""
    found = steady({"node": "people", "what": "demand", "factor": 10, "begin": 49.5, "end": 52.5})
    assert found["shop.stock_outs"] == 1
    # Of 6 and one that comes each day 10 are wanted on three days.
    assert found["shop.most_backlog"] == 30 - 9
    # The mean before was a little over 6, as the first days had more; at 56, before its customer, there are 7.
    assert found["shop.recovery_time"] == 56 - 49.5


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"node": "people", "what": "demand", "factor": 1.1, "begin": 50, "end": 60}, 0),
        ({"node": "people", "what": "demand", "factor": 10, "begin": 50}, 50),
        ({"node": "people", "what": "demand", "factor": 10, "begin": 50, "end": 99}, 50),
    ],
)
def test_recovery_of_who_was_never_short_or_never_recovers(change: dict[str, Any], expected: float):
    """No time, or to the horizon."""
    assert steady(change)["shop.recovery_time"] == expected


def test_delay_that_is_felt_after_its_end():
    """A supplier that is closed for ten days is felt when what was ordered meanwhile does not come."""
    found = steady({"node": "supplier", "what": "capacity", "factor": 0, "begin": 50.5, "end": 60.5})
    # 6 until 54, as long as comes what was on its way; from 61 on units are owed; at 64.5 there are 6 again, at 65 for a moment 7.
    assert found["shop.stock_outs"] == 1
    assert found["shop.recovery_time"] == 65 - 50.5


def test_two_changes_multiply():
    """Three times and twice are six times, as long as both hold."""
    nodes = {"shop": {"kind": "stock", "initial": 1000, "policy": {"policy": "none"}}, "people": demand()}
    changes = [
        {"node": "people", "what": "demand", "factor": 3, "begin": 10, "end": 20},
        {"node": "people", "what": "demand", "factor": 2, "begin": 15, "end": 25},
    ]
    wanted = once(network(nodes, changes), 30, run=0).series["shop.stock"]
    given = [before - after for before, after in pairwise(wanted)]
    # A sample each quarter of a day, taken before what happens at its time.
    assert [given[4 * day] for day in (9, 10, 14, 15, 19, 20, 24, 25)] == [1, 3, 3, 6, 6, 2, 2, 1]
