"""Stocks and flows: ordinary differential equations, integrated by scipy between the times at which a parameter changes."""

import warnings
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from numpy import float64
from numpy.typing import NDArray
from scipy.integrate import solve_ivp

from handlers.twins.simulation.draws import draws_of
from handlers.twins.simulation.expressions import Evaluated, compiled
from handlers.twins.simulation.factors import factor_of
from handlers.twins.simulation.flow_checks import names_of, order_of_variables
from handlers.twins.simulation.model import Case, Change, Flows
from handlers.twins.simulation.replication import POINTS, Notable, Replication, SimulationError

# Of the equations, and of the characters of all their expressions: what one evaluation costs follows from its length.
MOST_EVALUATIONS = 100_000
MOST_CHARACTERS = 50_000_000
# A value beyond has left what a model can mean.
MOST_VALUE = 1e15
# The greatest value is looked for at so many times between two points of the series.
_FINER = 10
_RELATIVE, _ABSOLUTE = 1e-8, 1e-9

_Array = NDArray[float64]


class Equations:
    """What changes each stock at a time. Counts how often it was asked."""

    def __init__(self, model: Flows) -> None:
        self._stocks = sorted(model.stocks)
        names = names_of(model)
        self._variables: list[tuple[str, int, Evaluated]] = [
            (f"variables.{name}", names.index(name), compiled(model.variables[name], names))
            for name in order_of_variables(model)[0]
        ]
        self._flows: list[tuple[str, Evaluated, int | None, int | None]] = [
            (f"flows.{name}.rate", compiled(flow.rate, names), self._place(flow.source), self._place(flow.target))
            for name, flow in sorted(model.flows.items())
        ]
        self._blank = [0.0] * len(model.variables)
        written = (*model.variables.values(), *(flow.rate for flow in model.flows.values()))
        self._most = min(MOST_EVALUATIONS, MOST_CHARACTERS // (1 + sum(map(len, written))))
        self.evaluations = 0
        self.parameters: list[float] = []

    def _place(self, stock: str | None) -> int | None:
        return None if stock is None else self._stocks.index(stock)

    def __call__(self, time: float, stocks: _Array) -> list[float]:
        """Return the rate of change of each stock. SimulationError where an expression has no value, or after too many."""
        self.evaluations += 1
        if self.evaluations > self._most:
            raise SimulationError("LIMIT_EXCEEDED", f"The equations were evaluated {self._most:,} times until {time:g}")
        levels: list[float] = stocks.tolist()
        self._check(levels, time)
        values = [*levels, *self.parameters, *self._blank, float(time)]
        for place, number, variable in self._variables:
            values[number] = _value(place, variable, values)
        rates = [0.0] * len(levels)
        for place, rate, source, target in self._flows:
            _move(rates, _value(place, rate, values), source, target)
        return rates

    def _check(self, levels: Sequence[float], time: float) -> None:
        for name, level in zip(self._stocks, levels, strict=True):
            if not -MOST_VALUE <= level <= MOST_VALUE:
                raise SimulationError("VALIDATION_ERROR", f"stocks.{name}: goes beyond {MOST_VALUE:g} at t = {time:g}")


def _value(place: str, expression: Evaluated, values: list[float]) -> float:
    """Return its value. SimulationError that names the place and the time, which is the last of the values."""
    try:
        return expression(values)
    except SimulationError as error:
        raise SimulationError("VALIDATION_ERROR", f"{place}: {error.message} at t = {values[-1]:g}") from None


def _move(rates: list[float], rate: float, source: int | None, target: int | None) -> None:
    if source is not None:
        rates[source] -= rate
    if target is not None:
        rates[target] += rate


class _Parameters:
    """The values of parameters at a time: drawn once a run, and changed by the case."""

    def __init__(self, model: Flows, changes: Sequence[Change], seed: int, run: int) -> None:
        names = sorted(model.parameters)
        given = model.parameters
        # A parameter may be negative, which no distribution is.
        self._values = [
            float(value)
            if isinstance(value := given[name], float | int)
            else draws_of(value, seed, run, name, "value")()
            for name in names
        ]
        self._factors = [factor_of(changes, name, "parameter") for name in names]

    def at(self, time: float) -> list[float]:
        return [
            value if factor is None else value * factor.at(time)
            for value, factor in zip(self._values, self._factors, strict=True)
        ]

    def times(self, horizon: float) -> list[float]:
        """Return 0, the times at which one is another, and the horizon."""
        changed = {time for factor in self._factors if factor is not None for time in factor.times}
        return sorted({0.0, *(time for time in changed if time < horizon), horizon})


def run_flows(case: Case, model: Flows, *, horizon: float, seed: int, run: int) -> Replication:
    """Return one run of the equations of a case. SimulationError where they cannot be integrated."""
    equations = Equations(model)
    parameters = _Parameters(model, case.changes, seed, run)
    names = sorted(model.stocks)
    times = np.linspace(0.0, horizon, POINTS * _FINER + 1)
    values = np.empty((len(names), len(times)))
    level = np.array([float(model.stocks[name].initial) for name in names])
    for begin, end in pairwise(parameters.times(horizon)):
        equations.parameters = parameters.at(begin)
        within = (times >= begin) & (times <= end)
        values[:, within], level = _integrated(equations, level, (begin, end), times[within], horizon / POINTS)
    series = {name: values[place, ::_FINER].tolist() for place, name in enumerate(names)}
    indicators = dict(_indicators(names, times, values))
    return Replication(run, indicators, series, _notable(case.changes, horizon), equations.evaluations)


def _integrated(
    equations: Equations, level: _Array, span: tuple[float, float], times: _Array, longest: float
) -> tuple[_Array, _Array]:
    """Return the values at these times, and at the end.

    No step is longer than a point of the series is from the next: a rate that is otherwise for a while is not stepped over.
    """
    asked = times if times.size and times[-1] == span[1] else np.append(times, span[1])
    with warnings.catch_warnings():
        # What the integrator has to say is in `success`.
        warnings.simplefilter("ignore")
        found = solve_ivp(
            equations, span, level, method="LSODA", t_eval=asked, rtol=_RELATIVE, atol=_ABSOLUTE, max_step=longest
        )
    values = np.asarray(found.y, dtype=float64)
    if not found.success or values.shape != (len(level), len(asked)) or not np.isfinite(values).all():
        reached = span[0] if not len(found.t) else float(found.t[-1])
        raise SimulationError("VALIDATION_ERROR", f"The equations cannot be integrated beyond t = {reached:g}")
    return values[:, : len(times)], values[:, -1]


def _indicators(names: list[str], times: _Array, values: _Array) -> Iterator[tuple[str, float]]:
    for place, name in enumerate(names):
        most = int(values[place].argmax())
        yield f"{name}.at_end", float(values[place, -1])
        yield f"{name}.most", float(values[place, most])
        yield f"{name}.time_of_most", float(times[most])


def _notable(changes: Sequence[Change], horizon: float) -> list[Notable]:
    """Return the begins and ends of changes until the horizon, in the order of time."""
    found = [Notable(change.begin, "change_begins", change.node, change.factor) for change in changes]
    found += [
        Notable(change.end, "change_ends", change.node, change.factor) for change in changes if change.end is not None
    ]
    return sorted((one for one in found if one.time < horizon), key=lambda one: (one.time, one.node))
