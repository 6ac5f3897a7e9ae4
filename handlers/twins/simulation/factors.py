"""Values that are otherwise at times: a factor that is constant between the begins and ends of changes."""

import math
from bisect import bisect_right
from collections.abc import Iterable

from handlers.twins.simulation.model import Change, Changed
from handlers.twins.simulation.replication import SimulationError

# Of the product of all changes at a time.
MOST_FACTOR = 1e12


class Factor:
    """By what a value is multiplied at a time: the changes that hold then, together. It holds at its begin, not at its end."""

    __slots__ = ("_begins", "_values")

    def __init__(self, begins: list[float], values: list[float]) -> None:
        """Take values from their begins on; the first begins at 0. SimulationError where one is beyond MOST_FACTOR."""
        if any(not value <= MOST_FACTOR for value in values):
            raise SimulationError(
                "VALIDATION_ERROR", f"Changes may multiply a value by at most {MOST_FACTOR:g} together"
            )
        self._begins = begins
        self._values = values

    @property
    def times(self) -> list[float]:
        """From when on the factor is another."""
        return self._begins[1:]

    def at(self, time: float) -> float:
        """Return the factor at `time`, which is not negative."""
        return self._values[bisect_right(self._begins, time) - 1]

    def reached(self, time: float, amount: float, rate: float = 1.0) -> float:
        """Return when `amount` is done that begins at `time`, done at `rate` times the factor; infinity: never.

        At an infinite rate it is done as soon as the factor is not zero.
        """
        place = bisect_right(self._begins, time) - 1
        while True:
            factor = self._values[place]
            end = self._begins[place + 1] if place + 1 < len(self._begins) else math.inf
            if factor > 0:
                needed = amount / factor / rate
                if time + needed <= end:
                    return time + needed
                amount -= (end - time) * rate * factor
            if end == math.inf:
                return math.inf
            place, time = place + 1, end

    def joined(self, other: "Factor", power: float) -> "Factor":
        """Return this, times `other` to the power. SimulationError where that has no value."""
        begins = sorted({0.0, *self.times, *other.times})
        try:
            return Factor(begins, [self.at(time) * other.at(time) ** power for time in begins])
        except ArithmeticError:
            raise SimulationError("VALIDATION_ERROR", "Demand has no answer to a price of almost nothing") from None


def factor_of(changes: Iterable[Change], node: str, what: Changed) -> Factor | None:
    """Return the factor of a value; None: always 1."""
    held = [change for change in changes if change.node == node and change.what == what]
    if not held:
        return None
    ends = (change.end for change in held if change.end is not None)
    begins = sorted({0.0, *(float(change.begin) for change in held), *(float(end) for end in ends)})
    return Factor(begins, [math.prod(change.factor for change in held if holds(change, time)) for time in begins])


def holds(change: Change, time: float) -> bool:
    """Tell whether the change is on at `time`."""
    return change.begin <= time and (change.end is None or time < change.end)
