"""What a case says that cannot be run, each at its place, before anything runs. What a single value may be stands in model.py."""

from collections.abc import Iterator

from handlers.twins.simulation.flow_checks import problems_of_flows
from handlers.twins.simulation.model import (
    MOST_HORIZON,
    Arrivals,
    Case,
    Change,
    Changed,
    Demand,
    Flows,
    Model,
    Network,
    Node,
    Queue,
    Shared,
    Stock,
    Supplier,
)
from handlers.twins.simulation.network.checks import problems_of_network
from handlers.twins.simulation.problem import Problem

__all__ = ["Problem", "changeable", "problems", "problems_of_changes"]

_CHANGEABLE: dict[type[Node], tuple[Changed, ...]] = {
    Arrivals: ("demand",),
    Demand: ("demand",),
    Queue: ("capacity",),
    Shared: ("capacity",),
    Stock: ("lead_time", "price"),
    Supplier: ("capacity", "lead_time", "price"),
}


def problems(model: Model, *, horizon: float | None = None) -> list[Problem]:
    """Return what is wrong with the model where it is run to `horizon` (None: its own).

    Its cost is bounded by the bounds of a model: well under a second for 400 expressions of 500 characters.
    """
    until = model.horizon if horizon is None else horizon
    if not 0 < until <= MOST_HORIZON:
        return [
            Problem("horizon", "VALUE_OUT_OF_RANGE", f"More than 0 and at most {MOST_HORIZON:,} {model.time_unit}s")
        ]
    if isinstance(model, Network):
        return problems_of_network(model, until)
    return list(problems_of_flows(model))


def changeable(model: Model, node: str) -> tuple[Changed, ...]:
    """Return what of this node (of `flows`: parameter) a change may be of; nothing where there is none of this name."""
    if isinstance(model, Flows):
        return ("parameter",) if node in model.parameters else ()
    found = model.nodes.get(node)
    return () if found is None else _CHANGEABLE[type(found)]


def problems_of_changes(case: Case) -> list[Problem]:
    """Return what is wrong with the changes of a case: who they are of, and when."""
    return [found for number, change in enumerate(case.changes) for found in _of_change(case.model, number, change)]


def _of_change(model: Model, number: int, change: Change) -> Iterator[Problem]:
    place = f"changes.{number}"
    able = changeable(model, change.node)
    if not able:
        yield Problem(f"{place}.node", "INVALID_FORMAT", f"There is nothing {change.node!r} that can change")
    elif change.what not in able:
        message = f"Of {change.node!r} there is no {change.what}: {', '.join(able)} can change"
        yield Problem(f"{place}.what", "INVALID_FORMAT", message)
    if change.end is not None and change.end <= change.begin:
        yield Problem(f"{place}.end", "VALUE_OUT_OF_RANGE", "The change ends before it begins")
