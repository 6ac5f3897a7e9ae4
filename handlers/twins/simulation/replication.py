"""What one run of a model gives, and what is asked of a worker."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

# Of a series: the horizon is cut into so many steps.
POINTS = 120
# Of a model with more, those of its first nodes are told.
MOST_SERIES = 100
MOST_NOTABLE = 200

Happening = Literal["change_begins", "change_ends", "queue_empty", "queue_full", "stock_out", "stock_restored"]


@dataclass(frozen=True, slots=True)
class Notable:
    """Something that a planner wants to know of, in simulated time."""

    time: float
    what: Happening
    node: str
    value: float = 0.0


@dataclass(frozen=True, slots=True)
class Replication:
    """One run: `run` is its number, from 0. Its draws depend on the seed and its number alone.

    indicators  one value each, such as `warehouse.service_level`, `total_cost`
    series      POINTS + 1 values each, at equal steps from 0 to the horizon, such as `warehouse.stock`
    steps       events that the engine took, or evaluations of the equations
    """

    run: int
    indicators: dict[str, float]
    series: Mapping[str, Sequence[float]]
    notable: list[Notable] = field(default_factory=list[Notable])
    steps: int = 0


class SimulationError(Exception):
    """A run that cannot go on: `code` of the catalogue, and what a person is told."""

    def __init__(self, code: Literal["LIMIT_EXCEEDED", "VALIDATION_ERROR"], message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
