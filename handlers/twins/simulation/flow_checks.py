"""What is wrong with stocks and flows: names, expressions, and variables that need each other."""

from collections import Counter
from collections.abc import Iterator

from handlers.twins.simulation.drawable import problems_of_distribution
from handlers.twins.simulation.expressions import FUNCTIONS, ExpressionError, compiled, names_in
from handlers.twins.simulation.model import Flows
from handlers.twins.simulation.problem import Problem

# What a name cannot be: it means something in every expression.
RESERVED = frozenset({"t", *FUNCTIONS})


def names_of(model: Flows) -> list[str]:
    """Return what expressions may name, in the order of their values."""
    return [*sorted(model.stocks), *sorted(model.parameters), *sorted(model.variables), "t"]


def order_of_variables(model: Flows) -> tuple[list[str], list[str]]:
    """Return the variables, each after those it names, and those that have no order as they name each other.

    ExpressionError where one cannot be read.
    """
    waiting = {name: names_in(text).intersection(model.variables) for name, text in model.variables.items()}
    ordered: list[str] = []
    while ready := sorted(name for name, needed in waiting.items() if not needed):
        ordered += ready
        waiting = {name: needed.difference(ready) for name, needed in waiting.items() if needed}
    return ordered, sorted(waiting)


def problems_of_flows(model: Flows) -> Iterator[Problem]:
    """Yield what is wrong with the model."""
    yield from _of_names(model)
    for name, value in model.parameters.items():
        if not isinstance(value, float | int):
            yield from problems_of_distribution(f"parameters.{name}", value)
    unread = list(_of_expressions(model))
    yield from unread
    if not unread:
        for name in order_of_variables(model)[1]:
            yield Problem(
                f"variables.{name}", "INVALID_FORMAT", "It needs itself, or variables that need it, to be known"
            )
    yield from _of_ends(model)


def _of_names(model: Flows) -> Iterator[Problem]:
    parts = {"stocks": model.stocks, "parameters": model.parameters, "variables": model.variables}
    times = Counter(name for part in parts.values() for name in part)
    for part, names in parts.items():
        for name in names:
            if name in RESERVED:
                yield Problem(
                    f"{part}.{name}", "INVALID_FORMAT", f"{name!r} has a meaning in expressions: use another name"
                )
            elif times[name] > 1 and part != "stocks":
                yield Problem(f"{part}.{name}", "INVALID_FORMAT", "Another part of the model has this name")


def _of_expressions(model: Flows) -> Iterator[Problem]:
    names = names_of(model)
    written = {f"variables.{name}": text for name, text in model.variables.items()}
    written |= {f"flows.{name}.rate": flow.rate for name, flow in model.flows.items()}
    for place, text in written.items():
        try:
            compiled(text, names)
        except ExpressionError as error:
            yield Problem(place, "INVALID_FORMAT", str(error))


def _of_ends(model: Flows) -> Iterator[Problem]:
    for name, flow in model.flows.items():
        if flow.source is None and flow.target is None:
            yield Problem(f"flows.{name}.target", "MISSING_REQUIRED_FIELD", "A flow has a source, a target, or both")
        for end, stock in (("source", flow.source), ("target", flow.target)):
            if stock is not None and stock not in model.stocks:
                yield Problem(f"flows.{name}.{end}", "INVALID_FORMAT", f"There is no stock {stock!r}")
