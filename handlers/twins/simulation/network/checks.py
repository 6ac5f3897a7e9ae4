"""What is wrong with a network: references, cycles, policies, routing, and more events than a run may have."""

from collections.abc import Iterator
from typing import get_args

from handlers.twins.simulation.drawable import problems_of_distribution, problems_of_interval
from handlers.twins.simulation.model import (
    Arrivals,
    Demand,
    Network,
    Node,
    NoPolicy,
    OrderUpTo,
    Queue,
    Shared,
    Stock,
    Supplier,
)
from handlers.twins.simulation.network.load import chain, events_a_time
from handlers.twins.simulation.network.world import MOST_STEPS
from handlers.twins.simulation.problem import Problem

# Stocks behind each other: an order goes up through all of them at once.
MOST_STOCKS_DEEP = 50
# Sums of shares such as 0.1 are off by less.
_DUST = 1e-9


def problems_of_network(model: Network, horizon: float) -> list[Problem]:
    """Return what is wrong with the model where it is run so long."""
    found = [*_of_times(model, horizon)]
    for name, node in model.nodes.items():
        found += _of_node(model, f"nodes.{name}", node)
    if not found:
        found += [*_of_cycles(model), *_of_routing(model)]
    if not found:
        found += _of_load(model, horizon)
    return found


def _of_times(model: Network, horizon: float) -> Iterator[Problem]:
    if model.warm_up >= horizon:
        yield Problem("warm_up", "VALUE_OUT_OF_RANGE", f"The warm-up ends before the horizon, which is {horizon:g}")


def _of_node(model: Network, place: str, node: Node) -> Iterator[Problem]:
    match node:
        case Supplier():
            yield from problems_of_distribution(f"{place}.lead_time", node.lead_time)
        case Stock():
            yield from problems_of_distribution(f"{place}.lead_time", node.lead_time)
            yield from _of_stock(model, place, node)
        case Demand():
            yield from problems_of_interval(f"{place}.interval", node.interval)
            yield from problems_of_distribution(f"{place}.quantity", node.quantity)
            yield from _refers(model, f"{place}.stock", node.stock, Stock)
        case Arrivals():
            yield from problems_of_interval(f"{place}.interval", node.interval)
            yield from _refers(model, f"{place}.to", node.to, Queue)
        case Queue():
            yield from _of_queue(model, place, node)
        case Shared():
            pass


def _of_stock(model: Network, place: str, node: Stock) -> Iterator[Problem]:
    if node.source is not None:
        yield from _refers(model, f"{place}.source", node.source, Stock, Supplier)
    elif not isinstance(node.policy, NoPolicy):
        yield Problem(
            f"{place}.source", "MISSING_REQUIRED_FIELD", "A stock that orders has a source: a supplier or a stock"
        )
    if isinstance(node.policy, OrderUpTo) and node.policy.order_up_to < node.policy.reorder_point:
        message = "`order_up_to` is below `reorder_point`"
        yield Problem(f"{place}.policy.order_up_to", "VALUE_OUT_OF_RANGE", message)


def _of_queue(model: Network, place: str, node: Queue) -> Iterator[Problem]:
    yield from problems_of_distribution(f"{place}.service", node.service)
    for target in node.next:
        yield from _refers(model, f"{place}.next.{target}", target, Queue)
    if sum(node.next.values()) > 1 + _DUST:
        yield Problem(f"{place}.next", "VALUE_OUT_OF_RANGE", "The probabilities are more than 1 together")
    if node.resource is not None:
        yield from _refers(model, f"{place}.resource", node.resource, Shared)


def _refers(model: Network, place: str, name: str, *kinds: type[Node]) -> Iterator[Problem]:
    node = model.nodes.get(name)
    wanted = " or ".join(str(get_args(kind.model_fields["kind"].annotation)[0]) for kind in kinds)
    if node is None:
        yield Problem(place, "INVALID_FORMAT", f"There is no node {name!r}: name a {wanted}")
    elif not isinstance(node, kinds):
        yield Problem(place, "INVALID_FORMAT", f"{name!r} is of kind {node.kind!r}: name a {wanted}")


def _of_cycles(model: Network) -> Iterator[Problem]:
    """Yield the stocks that are supplied by themselves, over others or not, and those too many stocks are behind."""
    for name, node in model.nodes.items():
        if not isinstance(node, Stock):
            continue
        above = chain(model, name)
        last = model.nodes[above[-1]]
        if isinstance(last, Stock) and last.source == name:
            message = f"Stocks supply each other in a circle: {' from '.join([*above, name])}"
            yield Problem(f"nodes.{name}.source", "INVALID_FORMAT", message)
        elif len(above) > MOST_STOCKS_DEEP:
            message = f"At most {MOST_STOCKS_DEEP} stocks are supplied one by the other"
            yield Problem(f"nodes.{name}.source", "VALUE_OUT_OF_RANGE", message)


def _of_routing(model: Network) -> Iterator[Problem]:
    """Yield the queues out of which nobody can get."""
    queues = {name: node for name, node in model.nodes.items() if isinstance(node, Queue)}
    out = {name for name, node in queues.items() if sum(node.next.values()) < 1 - _DUST}
    while more := {name for name, node in queues.items() if name not in out and out.intersection(node.next)}:
        out |= more
    for name in queues:
        if name not in out:
            message = "Who comes here never leaves: the probabilities on all ways from here are 1 together"
            yield Problem(f"nodes.{name}.next", "VALUE_OUT_OF_RANGE", message)


def _of_load(model: Network, horizon: float) -> Iterator[Problem]:
    expected = {place: rate * horizon for place, rate in events_a_time(model).items()}
    if sum(expected.values()) > MOST_STEPS:
        place = max(expected, key=lambda place: expected[place])
        message = (
            f"About {sum(expected.values()):.3g} events are expected until {horizon:g}, most of them by this; "
            f"a run has at most {MOST_STEPS:,}"
        )
        yield Problem(place, "VALUE_OUT_OF_RANGE", message)
