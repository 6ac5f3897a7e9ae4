"""What a run tells of each kind of node: the one table of indicators. All but `recovery_time` count after the warm-up."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

# Of what kind a value is: a part of 1, how many, units of goods, a time in the model's unit, money.
Unit = Literal["count", "money", "share", "time", "units"]


@dataclass(frozen=True, slots=True)
class Indicator:
    """One value of a run: `<node>.<name>`, or the name alone for those of the whole model."""

    name: str
    unit: Unit
    meaning: str


def _table(*rows: tuple[str, Unit, str]) -> tuple[Indicator, ...]:
    return tuple(Indicator(*row) for row in rows)


INDICATORS: Mapping[str, tuple[Indicator, ...]] = {
    "supplier": _table(
        ("ordered", "units", "Units that were ordered here."),
        ("purchase_cost", "money", "What they cost, at the price of the moment of the order."),
    ),
    "stock": _table(
        (
            "service_level",
            "share",
            "Units that were given at once, of those that were wanted; 1 where nothing was wanted.",
        ),
        ("in_stock", "share", "The share of time in which there was something."),
        ("mean_stock", "units", "Units on hand, on average over time."),
        ("stock_outs", "count", "How often it began that less was there than was wanted."),
        ("mean_backlog", "units", "Units that were owed, on average over time."),
        ("most_backlog", "units", "The most units that were owed at a time."),
        ("backlog_at_end", "units", "Units that are owed at the horizon."),
        ("wanted", "units", "Units that customers and other stocks wanted."),
        ("lost", "units", "Units that customers wanted and did not wait for."),
        ("orders", "count", "Orders at the source."),
        ("ordered", "units", "Units of these orders."),
        ("holding_cost", "money", "`holding_cost` for each unit on hand and unit of time."),
        ("order_cost", "money", "`order_cost` for each order."),
        (
            "shortage_cost",
            "money",
            "`shortage_cost` for each unit that is owed and unit of time, and for each that is lost.",
        ),
        ("revenue", "money", "What customers paid, at the price of the moment they were given the units."),
        (
            "recovery_time",
            "time",
            "From the begin of the first change until, once all have ended, backlog and stock are as before; 0: never short.",
        ),
    ),
    "demand": _table(("wanted", "units", "Units that these customers wanted.")),
    "arrivals": _table(
        ("arrived", "count", "How many came."),
        ("left", "count", "How many of them were served everywhere they went."),
        ("mean_time_in_system", "time", "From coming to leaving, on average over those that left."),
    ),
    "queue": _table(
        ("arrived", "count", "How many came, those turned away among them."),
        ("served", "count", "Services that ended."),
        ("turned_away", "count", "How many found no place to wait."),
        ("mean_wait", "time", "From arriving to the begin of the service, on average over services that began."),
        (
            "mean_time_in_system",
            "time",
            "From arriving to the end of the service, on average over services that ended.",
        ),
        ("mean_queue", "count", "How many waited, on average over time."),
        ("utilisation", "share", "The share of servers that were taken, by who waited for a resource as well."),
    ),
    "resource": _table(("utilisation", "share", "The share that was in use.")),
    "flow": _table(
        ("at_end", "units", "The value at the horizon."),
        ("most", "units", "The greatest value."),
        ("time_of_most", "time", "When that was first."),
    ),
    "model": _table(
        ("total_cost", "money", "All costs of stocks and suppliers."),
        ("total_revenue", "money", "All that customers paid."),
        ("profit", "money", "Revenue less cost."),
    ),
}

# Series of each kind of node: values at equal times, those of the moment before anything happens at it.
SERIES: Mapping[str, tuple[Indicator, ...]] = {
    "stock": _table(("stock", "units", "Units on hand."), ("backlog", "units", "Units that are owed.")),
    "queue": _table(("queue", "count", "How many wait."), ("busy", "count", "Servers that are taken.")),
    "flow": _table(("", "units", "The value; its series has the stock's name alone.")),
}
