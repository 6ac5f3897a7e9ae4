"""How many events a run of a network is expected to have, by the means of its distributions: an upper estimate, beforehand."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from handlers.twins.simulation.draws import mean_of
from handlers.twins.simulation.model import (
    Arrivals,
    BaseStock,
    Demand,
    Network,
    NoPolicy,
    OrderQuantity,
    OrderUpTo,
    Queue,
    Stock,
)


@dataclass(slots=True)
class _Flow:
    """What a stock is asked for in a unit of time: how often, and how much."""

    requests: float = 0.0
    units: float = 0.0


def events_a_time(model: Network) -> dict[str, float]:
    """Return the events in a unit of time that come of each place which makes them. References are right, and without cycles."""
    found = {f"nodes.{name}.interval": rate for name, rate in _comers(model)}
    found |= _of_stocks(model)
    visits = _visits(model)
    for name, node in model.nodes.items():
        if isinstance(node, Arrivals):
            found[f"nodes.{name}.interval"] *= 1 + visits[node.to]
    return found


def _comers(model: Network) -> Iterator[tuple[str, float]]:
    for name, node in model.nodes.items():
        if isinstance(node, Arrivals | Demand):
            yield name, 1 / mean_of(node.interval)


def _visits(model: Network) -> dict[str, float]:
    """Return how many services follow one arrival at each queue, its own counted: (1 - P) v = 1, P where it goes from there.

    Each makes one event, its end. Infinity where nearly nobody leaves.
    """
    names = [name for name, node in model.nodes.items() if isinstance(node, Queue)]
    places = {name: place for place, name in enumerate(names)}
    leaving = np.eye(len(names))
    for name in names:
        node = model.nodes[name]
        for target, share in node.next.items() if isinstance(node, Queue) else ():
            leaving[places[name], places[target]] -= share
    try:
        found: list[float] = np.linalg.solve(leaving, np.ones(len(names))).tolist() if names else []
    except np.linalg.LinAlgError:
        found = [math.inf] * len(names)
    # Below 1 only where the digits do not suffice: nearly nobody leaves.
    return {name: value if value >= 0.5 else math.inf for name, value in zip(names, found, strict=True)}


def _of_stocks(model: Network) -> dict[str, float]:
    """Return the deliveries and reviews of each stock; orders go up from the customers."""
    asked = {name: _Flow() for name, node in model.nodes.items() if isinstance(node, Stock)}
    for node in model.nodes.values():
        if isinstance(node, Demand):
            rate = 1 / mean_of(node.interval)
            asked[node.stock].requests += rate
            asked[node.stock].units += rate * mean_of(node.quantity)
    found: dict[str, float] = {}
    for name in _downstream_first(model):
        stock = model.nodes[name]
        if not isinstance(stock, Stock) or stock.source is None or isinstance(stock.policy, NoPolicy):
            continue
        orders, reviews = _orders(stock, asked[name])
        found[f"nodes.{name}.policy"] = orders + reviews
        if stock.source in asked:
            asked[stock.source].requests += orders
            asked[stock.source].units += asked[name].units
    return found


def _orders(stock: Stock, asked: _Flow) -> tuple[float, float]:
    """Return orders and reviews in a unit of time."""
    match stock.policy:
        case OrderUpTo() as policy if policy.review > 0:
            return min(asked.requests, 1 / policy.review), 1 / policy.review
        case OrderUpTo() as policy:
            return _limited(asked, policy.order_up_to - policy.reorder_point), 0.0
        case OrderQuantity() as policy:
            return _limited(asked, policy.quantity), 0.0
        case BaseStock() | NoPolicy():
            return asked.requests, 0.0


def _limited(asked: _Flow, size: float) -> float:
    """Orders are not more than requests, nor than units make of this size."""
    return min(asked.requests, asked.units / size) if size > 0 else asked.requests


def _downstream_first(model: Network) -> list[str]:
    """Return the stocks, those first from which nobody orders."""
    depth = {name: len(chain(model, name)) for name, node in model.nodes.items() if isinstance(node, Stock)}
    return sorted(depth, key=lambda name: -depth[name])


def chain(model: Network, name: str) -> list[str]:
    """Return the stock and those above it, up to one that has no stock as its source, or that is there already."""
    found: list[str] = []
    at: str | None = name
    while at is not None and at not in found:
        node = model.nodes.get(at)
        if not isinstance(node, Stock):
            break
        found.append(at)
        at = node.source
    return found
