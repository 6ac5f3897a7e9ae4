"""How much a simulation holds until it has its result: the runs' series. What would be too much is refused before it begins."""

from core.errors import Detail, HubError
from handlers.twins.simulation.indicators import SERIES
from handlers.twins.simulation.model import Flows, Model
from handlers.twins.simulation.replication import POINTS
from handlers.twins.simulation.scenarios import Built

# Runs, those of the baseline too, times series times points: 80 MB.
MOST_POINTS = 10_000_000


def check_size(built: Built, runs: int, *, baseline: bool) -> None:
    """Raise HubError VALIDATION_ERROR, at `runs`, where so many of what is built have more than MOST_POINTS points."""
    models = (built.case.model, built.baseline.model) if baseline else (built.case.model,)
    of_a_run = (POINTS + 1) * sum(map(_series_of, models))
    if runs * of_a_run > MOST_POINTS:
        message = f"At most {MOST_POINTS // of_a_run} of this model: so many have {MOST_POINTS:,} points of series"
        raise HubError("VALIDATION_ERROR", details=[Detail("runs", "VALUE_OUT_OF_RANGE", message)])


def _series_of(model: Model) -> int:
    if isinstance(model, Flows):
        return len(model.stocks)
    return sum(len(SERIES.get(node.kind, ())) for node in model.nodes.values())
