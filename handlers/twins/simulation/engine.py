"""One run of a case: the same seed and number of the run give the same bytes, in whatever process, and whatever ran before."""

import math

from handlers.twins.simulation.checks import Problem, problems, problems_of_changes
from handlers.twins.simulation.flows import run_flows
from handlers.twins.simulation.model import Case, Network
from handlers.twins.simulation.network.run import run_network
from handlers.twins.simulation.replication import Replication, SimulationError


def replicate(case: Case, *, horizon: float, seed: int, run: int) -> Replication:
    """Run the case once, from 0 to `horizon`. `seed` and `run` are not negative.

    SimulationError VALIDATION_ERROR where the case has problems (the first is told) or an expression has no value, LIMIT_EXCEEDED
    where the run takes more steps, or holds more, than one may.
    """
    _refuse([*problems(case.model, horizon=horizon), *problems_of_changes(case)])
    model = case.model
    if isinstance(model, Network):
        result = run_network(case, model, horizon=float(horizon), seed=seed, run=run)
    else:
        result = run_flows(case, model, horizon=float(horizon), seed=seed, run=run)
    for name, value in result.indicators.items():
        if not math.isfinite(value):
            raise SimulationError("VALIDATION_ERROR", f"{name} grows beyond what a number can be")
    return result


def _refuse(found: list[Problem]) -> None:
    if found:
        raise SimulationError("VALIDATION_ERROR", f"{found[0].place}: {found[0].message}")
