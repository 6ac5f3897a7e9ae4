"""Distributions that cannot be drawn from."""

from collections.abc import Iterator

from handlers.twins.simulation.draws import mean_of
from handlers.twins.simulation.model import Distribution, LogNormal, Triangular, Uniform
from handlers.twins.simulation.problem import Problem

# Deviation over mean: beyond, nearly all values are nearly nothing, and the rest is beyond all bounds.
MOST_SPREAD = 1e6


def problems_of_distribution(place: str, distribution: Distribution) -> Iterator[Problem]:
    """Yield what is wrong with a distribution that stands at `place`."""
    match distribution:
        case Uniform() if distribution.high < distribution.low:
            yield Problem(f"{place}.high", "VALUE_OUT_OF_RANGE", "`high` is below `low`")
        case Triangular() if distribution.high < distribution.low:
            yield Problem(f"{place}.high", "VALUE_OUT_OF_RANGE", "`high` is below `low`")
        case Triangular() if not distribution.low <= distribution.mode <= distribution.high:
            yield Problem(f"{place}.mode", "VALUE_OUT_OF_RANGE", "`mode` is not between `low` and `high`")
        case LogNormal() if distribution.deviation / distribution.mean > MOST_SPREAD:
            yield Problem(f"{place}.deviation", "VALUE_OUT_OF_RANGE", f"At most {MOST_SPREAD:g} times the mean")
        case _:
            pass


def problems_of_interval(place: str, distribution: Distribution) -> Iterator[Problem]:
    """Yield what is wrong with the times between events: they may not all be zero, or there is no end of events at once."""
    found = list(problems_of_distribution(place, distribution))
    yield from found
    if not found and mean_of(distribution) <= 0:
        yield Problem(place, "VALUE_OUT_OF_RANGE", "Its mean is 0: events would have no end")
